//! The collector: samples one by one into a [`SampleSet`], and what became of each.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use hashbrown::HashMap;
use schemas::batch::Account;
use schemas::bgp::Prefix;
use schemas::registry::ConnectionId;
use schemas::sample::{Statistic, Target};
use schemas::tables::Text;
use schemas::time::Timestamp;

use super::owners::Owners;
use super::{SampleRow, SampleSet, Series};
use crate::decode::rtt::{SampleError, SampleLine};

/// Samples of one input at most: 16 bytes each are held.
pub const SAMPLES_MAX: usize = 100_000_000;
/// A jump ahead of more than this is a bad clock if the next sample falls back behind it.
const JUMP_SECS_MAX: i64 = 3_600;
/// The year 2000: nothing in an archive is older. What is live is judged by [`SampleSet::settle`].
const OLDEST: Timestamp = Timestamp::from_secs(946_684_800);
/// Refused samples that are told in words.
const REFUSALS_TOLD_MAX: usize = 5;
/// Seconds that may lie between the first sample and the last for the quick way to order them.
const SPAN_SECS_MAX: i64 = 4_000_000;

/// Longest name of a source.
pub(super) const SOURCE_BYTES_MAX: usize = 256;
/// Reason of samples of the link test (169.254.0.0/16): kept out of every percentile.
pub const LINK_TEST: &str = "link_test";
/// Reason of samples on prefixes of a tenant that the sender does not speak for.
pub const OTHER_TENANT: &str = "other_tenant";

/// Whose samples are taken, and how their clocks are judged.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Only connections of this tenant count; the others own nothing.
    pub tenant: Option<Text>,
    /// Of a live log: clocks are judged by its time, see [`SampleSet::settle`], and not by each other.
    pub is_live: bool,
}

/// What identifies a series: registered prefix, source, and the connection that is named (+ 1).
type SeriesKey = (u32, u32, u32, Statistic);

/// Takes samples of one input.
pub struct Collector<'o> {
    owners: &'o Owners,
    scope: Scope,
    set: SampleSet,
    sources: HashMap<Text, u32>,
    /// The source of the last sample: most follow another of the same.
    last_source: Option<(Text, u32)>,
    /// None: nobody of the scope counts it.
    series: HashMap<SeriesKey, Option<u32>>,
    reasons: BTreeMap<&'static str, u64>,
    /// Latest time that was taken.
    latest: Option<Timestamp>,
    /// What it was before a jump, while the next sample may show that the jump was a bad clock.
    before_jump: Option<Option<Timestamp>>,
}

impl<'o> Collector<'o> {
    /// Nothing was taken yet.
    #[must_use]
    pub fn new(owners: &'o Owners, scope: Scope) -> Self {
        Self {
            owners,
            scope,
            set: SampleSet {
                registry: Arc::clone(owners.registry()),
                rows: Vec::new(),
                series: Vec::new(),
                owners: Vec::new(),
                sources: Vec::new(),
                latest: None,
                account: Account::default(),
                damage: None,
                refusals: Vec::new(),
            },
            sources: HashMap::new(),
            last_source: None,
            series: HashMap::new(),
            reasons: BTreeMap::new(),
            latest: None,
            before_jump: None,
        }
    }

    /// Room for so many more samples.
    pub(super) fn reserve(&mut self, samples: usize) {
        self.set.rows.reserve(samples.min(SAMPLES_MAX - self.set.rows.len().min(SAMPLES_MAX)));
    }

    /// Counts and keeps what a line gave.
    #[inline]
    pub fn outcome(&mut self, sample: Result<SampleLine<'_>, SampleError>, number: u64) {
        match sample {
            Ok(sample) if sample.source.len() > SOURCE_BYTES_MAX => {
                self.refuse_line("malformed_field", number, "source is longer than 256 bytes");
            }
            Ok(sample) => {
                let source = self.source(&sample.source);
                let named = sample.connection.as_deref().and_then(|name| self.connection(name));
                self.keep(
                    sample.time,
                    &sample.target,
                    sample.rtt_us,
                    source,
                    named,
                    sample.statistic,
                );
            }
            Err(error) => {
                self.set.account.read += 1;
                self.refuse(error.reason(), number, &error.to_string());
            }
        }
    }

    /// Counts a sample that could not be read. `number` counts from 0.
    #[cold]
    pub(super) fn refuse(&mut self, reason: &'static str, number: u64, words: &str) {
        *self.reasons.entry(reason).or_default() += 1;
        self.set.account.refused += 1;
        if self.set.refusals.len() < REFUSALS_TOLD_MAX {
            self.set.refusals.push(format!("line {}: {words}", number + 1));
        }
    }

    /// Counts a sample whose line could not even be cut out.
    #[cold]
    pub fn refuse_line(&mut self, reason: &'static str, number: u64, words: &str) {
        self.set.account.read += 1;
        self.refuse(reason, number, words);
    }

    /// Tells that the input ends before its end.
    pub(super) fn damage(&mut self, words: String) {
        self.set.damage.get_or_insert(words);
    }

    /// The number of a source.
    #[inline]
    pub(super) fn source(&mut self, name: &str) -> u32 {
        match &self.last_source {
            Some((last, index)) if last.as_ref() == name => *index,
            _ => self.source_by_table(name),
        }
    }

    fn source_by_table(&mut self, name: &str) -> u32 {
        let index = match self.sources.get(name) {
            Some(index) => *index,
            None => {
                let index = u32::try_from(self.set.sources.len()).unwrap_or(u32::MAX);
                let name: Text = name.into();
                self.set.sources.push(name.clone());
                self.sources.insert(name, index);
                index
            }
        };
        if let Some(name) = self.set.sources.get(index as usize) {
            self.last_source = Some((name.clone(), index));
        }
        index
    }

    /// The connection of that name.
    #[inline]
    pub(super) fn connection(&self, name: &str) -> Option<ConnectionId> {
        self.owners.registry().id_of(name)
    }

    /// The first of these targets that somebody owns, else the first there is.
    pub(super) fn registered(&self, targets: &[Option<Target>]) -> Option<Target> {
        let all = || targets.iter().flatten();
        all().find(|target| self.owners.find(target, None).is_some()).or(all().next()).copied()
    }

    /// Counts a sample, and keeps it if somebody counts it.
    #[inline]
    pub(super) fn keep(
        &mut self,
        time: Timestamp,
        target: &Target,
        rtt_us: Option<NonZeroU32>,
        source: u32,
        named: Option<ConnectionId>,
        statistic: Statistic,
    ) {
        self.set.account.read += 1;
        if let Some(reason) = self.quarantine_reason(time, target) {
            return self.quarantine(reason);
        }
        if let Some(before) = self.before_jump.take() {
            self.drop_bad_clock(time, before);
        }
        let Some(set) = self.owners.find(target, named) else { return self.unmatched(time) };
        let key = (set, source, named.map_or(0, |id| id + 1), statistic);
        let series = match self.series.get(&key) {
            Some(series) => *series,
            None => self.new_series(key, named),
        };
        let Some(series) = series else {
            *self.reasons.entry(OTHER_TENANT).or_default() += 1;
            return self.unmatched(time);
        };
        if self.set.rows.len() >= SAMPLES_MAX {
            let number = self.set.account.read - 1;
            return self.refuse("samples_max", number, "too many samples, split the file");
        }
        self.set.account.accepted += 1;
        if self.latest.is_none_or(|latest| latest < time) {
            let jumps = |latest| time.secs_since(latest) > JUMP_SECS_MAX;
            if !self.scope.is_live && self.latest.is_none_or(jumps) {
                self.before_jump = Some(self.latest);
            }
            self.latest = Some(time);
        }
        self.set.rows.push(SampleRow { time, series, rtt_us });
    }

    fn unmatched(&mut self, time: Timestamp) {
        self.set.latest = self.set.latest.max(Some(time));
        self.set.account.unmatched += 1;
    }

    /// Why a sample is put aside: a clock that cannot be right, or a link test.
    #[inline]
    fn quarantine_reason(&self, time: Timestamp, target: &Target) -> Option<&'static str> {
        if time < OLDEST && !self.scope.is_live {
            return Some("clock_behind");
        }
        match target {
            Target::Address(IpAddr::V4(address)) if address.is_link_local() => Some(LINK_TEST),
            Target::Prefix(prefix) if is_link_test(prefix) => Some(LINK_TEST),
            Target::Address(_) | Target::Prefix(_) => None,
        }
    }

    #[cold]
    fn quarantine(&mut self, reason: &'static str) {
        *self.reasons.entry(reason).or_default() += 1;
        self.set.account.quarantined += 1;
    }

    /// A jump ahead is a bad clock if what follows falls back behind it.
    fn drop_bad_clock(&mut self, next: Timestamp, before: Option<Timestamp>) {
        if self.latest.is_some_and(|latest| latest.secs_since(next) > JUMP_SECS_MAX) {
            self.set.rows.pop();
            self.set.account.accepted -= 1;
            self.quarantine("clock_ahead");
            self.latest = before;
        }
    }

    #[cold]
    fn new_series(&mut self, key: SeriesKey, named: Option<ConnectionId>) -> Option<u32> {
        let series = self.owners.set(key.0).and_then(|(prefix, owners)| {
            let registry = self.owners.registry();
            let of_scope = |id: &&ConnectionId| match &self.scope.tenant {
                Some(tenant) => registry
                    .connection(**id)
                    .is_some_and(|connection| connection.tenant.as_str() == tenant.as_ref()),
                None => true,
            };
            let first = self.set.owners.len();
            match named {
                Some(id) if owners.contains(&id) => {
                    self.set.owners.extend(Some(&id).filter(of_scope));
                }
                _ => self.set.owners.extend(owners.iter().filter(of_scope)),
            }
            let count = self.set.owners.len() - first;
            let number = u32::try_from(self.set.series.len()).ok().filter(|_| count > 0)?;
            self.set.series.push(Series {
                prefix: *prefix,
                source: key.1,
                statistic: key.3,
                first_owner: u32::try_from(first).ok()?,
                owners: u32::try_from(count).ok()?,
            });
            Some(number)
        });
        self.series.insert(key, series);
        series
    }

    /// All that was taken, second by second.
    #[must_use]
    pub fn finish(self) -> SampleSet {
        let Self { mut set, reasons, latest, .. } = self;
        by_second(&mut set.rows);
        set.latest = set.latest.max(latest);
        set.account.last_offset = set.account.read.saturating_sub(1);
        let reasons = reasons.into_iter();
        set.account.reasons = reasons.map(|(reason, count)| (reason.to_owned(), count)).collect();
        set
    }
}

/// Whether a prefix is of the link test, whose targets are link-local (RFC 3927).
fn is_link_test(prefix: &Prefix) -> bool {
    Prefix::v4([169, 254, 0, 0], 16).covers(prefix)
}

/// Orders by second; equal ones stay as they came.
fn by_second(rows: &mut Vec<SampleRow>) {
    if rows.is_sorted_by_key(|row| row.time.secs()) {
        return;
    }
    let secs = || rows.iter().map(|row| row.time.secs());
    let (Some(first), Some(last)) = (secs().min(), secs().max()) else { return };
    if last - first > SPAN_SECS_MAX {
        rows.sort_by_key(|row| row.time.secs());
        return;
    }
    // By counting: each second's rows go to their place in one pass.
    let bin = |row: &SampleRow| usize::try_from(row.time.secs() - first).unwrap_or(0);
    let mut starts = vec![0_usize; usize::try_from(last - first).unwrap_or(0) + 2];
    for row in &*rows {
        if let Some(count) = starts.get_mut(bin(row) + 1) {
            *count += 1;
        }
    }
    let mut sum = 0;
    for start in &mut starts {
        sum += *start;
        *start = sum;
    }
    let mut ordered = rows.clone();
    for row in &*rows {
        let Some(start) = starts.get_mut(bin(row)) else { continue };
        if let Some(place) = ordered.get_mut(*start) {
            *place = *row;
        }
        *start += 1;
    }
    *rows = ordered;
}
