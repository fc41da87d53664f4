//! One input of the archive log: a cursor that says when its next record counts, and appends it.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use schemas::batch::{Account, Control};
use schemas::log::LogError;
use schemas::tables::Text;
use schemas::time::Timestamp;

use crate::batcher::{Batcher, Outlet};
use crate::intake::Intake;
use crate::samples::SampleFeed;
use crate::session::mrt::MrtSession;
use crate::source::mrt_file::{Damage, MrtStream};

/// The number of the archive among the inputs of its log: windows close by its progress.
pub(super) const ARCHIVE_INPUT: u32 = 0;
/// A jump ahead of more than this is a bad clock if the next record falls back.
const JUMP_SECS_MAX: i64 = 3_600;
/// Places of damage that are told in words; all are counted.
const DAMAGE_TOLD_MAX: usize = 8;

/// What came of an input at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputReport {
    /// The input.
    pub source: Text,
    /// Its counts.
    pub account: Account,
    /// Where it ends before its end, and the first things refused, in words.
    pub damage: Vec<String>,
}

/// An MRT file being read.
pub(super) struct MrtInput {
    source: Text,
    collector: Text,
    is_rib: bool,
    stream: MrtStream<Box<dyn Read + Send>>,
    session: MrtSession,
    /// Bytes of the loaded record and the time from which it counts.
    next: Option<(usize, Timestamp)>,
    reached: Option<Timestamp>,
    ordinal: u64,
    account: Account,
    reasons: BTreeMap<&'static str, u64>,
    damage: Vec<String>,
}

impl MrtInput {
    pub(super) fn open(
        source: Text,
        collector: Text,
        is_rib: bool,
        reader: Box<dyn Read + Send>,
    ) -> Self {
        let mut input = Self {
            source,
            session: MrtSession::new(Arc::clone(&collector)),
            collector,
            is_rib,
            stream: MrtStream::new(reader),
            next: None,
            reached: None,
            ordinal: 0,
            account: Account::default(),
            reasons: BTreeMap::new(),
            damage: Vec::new(),
        };
        input.advance();
        input
    }

    /// When the next record counts; none at the end.
    pub(super) fn next_time(&self) -> Option<Timestamp> {
        self.next.map(|(_, time)| time)
    }

    /// Loads the next record and passes over those of a bad clock.
    fn advance(&mut self) {
        self.next = None;
        loop {
            let bytes = match self.stream.load() {
                Ok(Some(bytes)) => bytes,
                Ok(None) => return,
                Err(damage) => {
                    self.damaged(&damage);
                    continue;
                }
            };
            let Some(time) = self.stream.record().map(|record| record.time) else { return };
            if self.is_bad_clock(time, bytes) {
                self.account.read += 1;
                self.account.quarantined += 1;
                *self.reasons.entry("clock_ahead").or_default() += 1;
                self.stream.consume(bytes);
                self.ordinal += 1;
                continue;
            }
            let counts_from = self.reached.map_or(time, |reached| reached.max(time));
            self.reached = Some(counts_from);
            self.next = Some((bytes, counts_from));
            return;
        }
    }

    fn is_bad_clock(&mut self, time: Timestamp, bytes: usize) -> bool {
        let jumps = self.reached.is_none_or(|reached| time.secs_since(reached) > JUMP_SECS_MAX);
        jumps
            && self
                .stream
                .time_after(bytes)
                .is_some_and(|after| time.secs_since(after) > JUMP_SECS_MAX)
    }

    /// Counts the damage as a record that is refused, and goes on behind it if there is more.
    fn damaged(&mut self, damage: &Damage) {
        self.account.read += 1;
        self.account.refused += 1;
        self.ordinal += 1;
        *self.reasons.entry(damage.reason()).or_default() += 1;
        let told = match self.stream.resync() {
            Some(bytes) => format!("{damage}; reading goes on {bytes} bytes behind it"),
            None => damage.to_string(),
        };
        if self.damage.len() < DAMAGE_TOLD_MAX {
            self.damage.push(told);
        }
    }

    /// Appends what the loaded record says and loads the next one.
    pub(super) fn append<O: Outlet>(&mut self, intake: &mut Intake<O>) -> Result<(), LogError> {
        let Some((bytes, log_time)) = self.next else { return Ok(()) };
        if let Some(record) = self.stream.record() {
            let mut sink = intake.record(&self.source, self.ordinal, log_time, &mut self.account);
            let read = self.session.record(&record, &mut sink);
            sink.finish()?;
            if let Err(error) = read {
                let offset = self.stream.offset();
                self.account.read += 1;
                self.account.refused += 1;
                *self.reasons.entry(error.reason()).or_default() += 1;
                if self.damage.is_empty() {
                    let number = self.ordinal;
                    self.damage.push(format!("record {number} at offset {offset}: {error}"));
                }
            }
        }
        self.stream.consume(bytes);
        self.ordinal += 1;
        self.advance();
        Ok(())
    }

    /// Appends what counts at the end of the file and says what came of it.
    pub(super) fn close<O: Outlet>(
        mut self,
        now: Timestamp,
        batcher: &mut Batcher<O>,
    ) -> Result<InputReport, LogError> {
        if self.is_rib {
            let collector = Arc::clone(&self.collector);
            batcher.broadcast(now, |_| Control::EndOfRib {
                collector: Arc::clone(&collector),
                event_time: now,
            })?;
        }
        self.account.last_offset = self.ordinal.saturating_sub(1);
        self.account.reasons = std::mem::take(&mut self.reasons)
            .into_iter()
            .map(|(reason, count)| (reason.to_owned(), count))
            .collect();
        report(self.source, self.account, self.damage, now, batcher)
    }
}

/// A file of samples: read whole, and appended second by second.
pub(super) struct RttInput {
    source: Text,
    feed: SampleFeed,
}

impl RttInput {
    pub(super) const fn new(source: Text, feed: SampleFeed) -> Self {
        Self { source, feed }
    }

    pub(super) fn next_time(&self) -> Option<Timestamp> {
        self.feed.next_second()
    }

    /// The time that ranks a file without a matched sample.
    pub(super) const fn latest(&self) -> Option<Timestamp> {
        self.feed.set.latest
    }

    /// Appends the samples of the next second.
    pub(super) fn append<O: Outlet>(&mut self, batcher: &mut Batcher<O>) -> Result<(), LogError> {
        self.feed.append_second(batcher)
    }

    pub(super) fn close<O: Outlet>(
        self,
        now: Timestamp,
        batcher: &mut Batcher<O>,
    ) -> Result<InputReport, LogError> {
        let set = self.feed.set;
        let damage = set.damage.into_iter().chain(set.refusals).collect();
        report(self.source, set.account, damage, now, batcher)
    }
}

/// The account of an input goes to partition 0, which writes what goes to all.
pub(super) fn report<O: Outlet>(
    source: Text,
    account: Account,
    damage: Vec<String>,
    now: Timestamp,
    batcher: &mut Batcher<O>,
) -> Result<InputReport, LogError> {
    batcher.append(0, now, |place| {
        let source = place.source(&source);
        let control = Control::Ledger { source, account: account.clone(), event_time: now };
        place.control(control)
    })?;
    Ok(InputReport { source, account, damage })
}
