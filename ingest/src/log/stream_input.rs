//! One input of the archive log that is no MRT: a BMP stream, OpenBMP values, a capture, RIS Live
//! texts. Its records count from the running maximum of their times, as those of MRT do.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemas::batch::Account;
use schemas::log::LogError;
use schemas::tables::Text;
use schemas::time::Timestamp;

use super::input::{InputReport, report};
use crate::batcher::{Batcher, Outlet};
use crate::intake::Intake;
use crate::source::elements::{Elements, StreamDamage};

/// A file being read.
pub(super) struct StreamInput {
    source: Text,
    elements: Elements,
    next: Option<Timestamp>,
    reached: Option<Timestamp>,
    account: Account,
    reasons: BTreeMap<&'static str, u64>,
    damage: Vec<String>,
}

impl StreamInput {
    pub(super) fn new(source: Text, elements: Elements) -> Self {
        let mut input = Self {
            source: Arc::clone(&source),
            elements,
            next: None,
            reached: None,
            account: Account::default(),
            reasons: BTreeMap::new(),
            damage: Vec::new(),
        };
        input.advance();
        input
    }

    /// When the next record counts; none at the end.
    pub(super) const fn next_time(&self) -> Option<Timestamp> {
        self.next
    }

    fn advance(&mut self) {
        self.next = match self.elements.load() {
            Ok(time) => time.map(|time| self.reached.map_or(time, |reached| reached.max(time))),
            Err(damage) => {
                self.damaged(&damage);
                None
            }
        };
        self.reached = self.next.or(self.reached);
    }

    fn damaged(&mut self, damage: &StreamDamage) {
        self.account.read += 1;
        self.account.refused += 1;
        *self.reasons.entry(damage.reason()).or_default() += 1;
        self.damage.push(damage.to_string());
    }

    /// Appends what the loaded record says and loads the next one.
    pub(super) fn append<O: Outlet>(&mut self, intake: &mut Intake<O>) -> Result<(), LogError> {
        let Some(log_time) = self.next else { return Ok(()) };
        let (number, offset) = (self.elements.records(), self.elements.offset());
        let mut sink = intake.record(&self.source, number, log_time, &mut self.account);
        let refusal = self.elements.hand_over(&mut sink);
        sink.finish()?;
        if let Some(words) = refusal
            && self.damage.is_empty()
        {
            self.damage.push(format!("record {number} at offset {offset}: {words}"));
        }
        self.advance();
        Ok(())
    }

    /// Says what came of it.
    pub(super) fn close<O: Outlet>(
        mut self,
        now: Timestamp,
        batcher: &mut Batcher<O>,
    ) -> Result<InputReport, LogError> {
        for (reason, count) in self.elements.counts().refused {
            self.account.read += count;
            self.account.refused += count;
            *self.reasons.entry(reason).or_default() += count;
        }
        self.account.last_offset = self.elements.records().saturating_sub(1);
        let reasons = std::mem::take(&mut self.reasons).into_iter();
        self.account.reasons = reasons.map(|(reason, count)| (reason.to_owned(), count)).collect();
        report(self.source, self.account, self.damage, now, batcher)
    }
}
