//! Baselines: the minute percentiles of past hours in, what is usual at this hour of the week out.
//!
//! For each series and each of the 168 hours of the week: the median of the minute medians (and of the
//! minute 95th percentiles) of the same hour one and two weeks before, which is all that 14 days
//! hold of it, and their median absolute deviation. The hour in which a window lies never counts for
//! it. Hours are of event time, in UTC.
//!
//! An hour is kept as the multiset of its at most 60 values in HdrHistogram slots, [packed](pack):
//! nothing but the position within a slot is lost. A baseline is therefore within 0.4 % of the median
//! of the minutes themselves (of an even number the mean of the two in the middle), its deviation within 0.8 % of the baseline
//! (`docs/decisions/0015-baselines.md` has the bytes a series).
//!
//! - A minute counts for the median from one sample on, for the 95th percentile from 20 on.
//! - There is no baseline before [`MINUTES_MIN`] minutes of such hours are known.
//! - The order of the minutes within an hour does not matter; a minute counts once; a minute of an
//!   hour that is over for its series is refused.
//!
//! What may be learnt (nothing from a backfill) is decided by the caller.

mod pack;

use hashbrown::HashMap;
use schemas::bgp::Prefix;
use schemas::pool;
use schemas::sample::Statistic;
use schemas::tables::Text;
use schemas::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::histogram::{highest_equivalent, index_of, lowest_equivalent, slot_value};
use pack::Kept;

/// Minutes that must be known before there is a baseline; the two hours hold 120.
pub const MINUTES_MIN: usize = 20;
/// Samples from which the 95th percentile of a minute counts.
pub const P95_SAMPLES_MIN: u32 = 20;

const HOUR_SECS: i64 = 3600;
const MINUTE_SECS: i64 = 60;
const WEEK_HOURS: i64 = 168;
/// Weeks that count.
const WEEKS: i64 = 2;

/// Names a series by what does not change when the registry does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SeriesName {
    /// Logical name of the connection.
    #[serde(deserialize_with = "pool::text")]
    pub connection: Text,
    /// The registered prefix.
    pub prefix: Prefix,
    /// Who measured.
    #[serde(deserialize_with = "pool::text")]
    pub source: Text,
    /// What the values are.
    pub statistic: Statistic,
}

/// What is usual at an hour of the week, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Median of the minute medians: `baseline_p50_us`.
    pub p50_us: u32,
    /// Their median absolute deviation.
    pub p50_mad_us: u32,
    /// Median of the minute 95th percentiles: `baseline_p95_us`; none where too few were thick enough.
    pub p95_us: Option<u32>,
    /// Their median absolute deviation.
    pub p95_mad_us: Option<u32>,
    /// Past hours it comes from: 1 or 2.
    pub hours: u8,
}

/// The baselines of all series of one fold.
#[derive(Debug)]
pub struct Baselines {
    series: HashMap<SeriesName, Series>,
    series_max: usize,
    /// Minutes that were not learnt because there were too many series.
    refused: u64,
}

/// One series.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Series {
    /// Hours that are over.
    kept: Kept,
    open: OpenHour,
    /// The answer for one hour: it is asked for each of its minutes.
    #[serde(skip)]
    known: Known,
}

/// The newest hour of a series, whose minutes are still coming.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct OpenHour {
    hour: i64,
    /// Minutes that were learnt, one bit each.
    minutes: u64,
    /// Slots of the minute medians, ascending.
    p50: Vec<u16>,
    /// Slots of the minute 95th percentiles, ascending.
    p95: Vec<u16>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Known(Option<(i64, Option<Expected>)>);

/// What is remembered of an answer is no part of the state.
impl PartialEq for Known {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Known {}

impl Baselines {
    /// Nothing is known. Of more than `series_max` series the later ones get no baseline.
    #[must_use]
    pub fn new(series_max: usize) -> Self {
        Self { series: HashMap::new(), series_max, refused: 0 }
    }

    /// What is usual for the hour of the week in which this window begins; none until enough past
    /// hours are known.
    pub fn expected(&mut self, series: &SeriesName, window_start: Timestamp) -> Option<Expected> {
        self.series.get_mut(series)?.expected(hour_of(window_start))
    }

    /// Learns a minute's median and, from [`P95_SAMPLES_MIN`] samples on, its 95th percentile. Says no
    /// if it does not count: no sample, known already, its hour over, or one series too many.
    pub fn learn(
        &mut self,
        series: &SeriesName,
        window_start: Timestamp,
        p50_us: u32,
        p95_us: u32,
        samples: u32,
    ) -> bool {
        if samples == 0 {
            return false;
        }
        if !self.series.contains_key(series) {
            if self.series.len() >= self.series_max {
                self.refused = self.refused.saturating_add(1);
                return false;
            }
            self.series.insert(series.clone(), Series::default());
        }
        let p95_us = (samples >= P95_SAMPLES_MIN).then_some(p95_us);
        let learns = |of: &mut Series| of.learn(window_start, p50_us, p95_us);
        self.series.get_mut(series).is_some_and(learns)
    }

    /// Drops the series of which nothing was heard in the 14 days before `now`, an event time.
    pub fn forget(&mut self, now: Timestamp) {
        let oldest = hour_of(now) - WEEKS * WEEK_HOURS;
        self.series.retain(|_, series| series.open.hour >= oldest);
        self.series.shrink_to(self.series.len() * 2);
    }

    /// Another limit from here on: the settings have changed.
    pub const fn limit(&mut self, series_max: usize) {
        self.series_max = series_max;
    }

    /// Number of series.
    #[must_use]
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// Whether nothing was learnt.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Minutes that were not learnt because there were too many series: to be told in `ledger`.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// Bytes held, names aside.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let table = self.series.capacity() * size_of::<(SeriesName, Series)>();
        table + self.series.values().map(Series::heap_bytes).sum::<usize>()
    }
}

impl Series {
    fn learn(&mut self, window_start: Timestamp, p50_us: u32, p95_us: Option<u32>) -> bool {
        let hour = hour_of(window_start);
        let is_first = self.open.minutes == 0;
        if hour < self.open.hour && !is_first {
            return false;
        }
        if hour > self.open.hour || is_first {
            self.enter(hour);
        }
        let minute = 1_u64 << (window_start.secs().rem_euclid(HOUR_SECS) / MINUTE_SECS);
        if self.open.minutes & minute != 0 {
            return false;
        }
        self.open.minutes |= minute;
        insert(&mut self.open.p50, p50_us);
        if let Some(p95_us) = p95_us {
            insert(&mut self.open.p95, p95_us);
        }
        true
    }

    /// A later hour begins: the open one is over, and what is older than two weeks goes.
    fn enter(&mut self, hour: i64) {
        if self.open.minutes != 0 {
            self.kept.push(self.open.hour, &self.open.p50, &self.open.p95);
        }
        self.kept.drop_before(hour - WEEKS * WEEK_HOURS);
        self.open.hour = hour;
        self.open.minutes = 0;
        self.open.p50.clear();
        self.open.p95.clear();
        self.known = Known(None);
    }

    fn expected(&mut self, hour: i64) -> Option<Expected> {
        if let Known(Some((known, expected))) = self.known
            && known == hour
        {
            return expected;
        }
        let expected = self.compute(hour);
        // An hour ahead of the open one may still get minutes that count for it.
        if self.open.hour == hour {
            self.known = Known(Some((hour, expected)));
        }
        expected
    }

    fn compute(&self, hour: i64) -> Option<Expected> {
        let (mut p50, mut p95, mut hours) = (Vec::new(), Vec::new(), 0);
        for week in 1..=WEEKS {
            let past = hour - week * WEEK_HOURS;
            if past == self.open.hour && self.open.minutes != 0 {
                p50.extend_from_slice(&self.open.p50);
                p95.extend_from_slice(&self.open.p95);
                hours += 1;
            } else if self.kept.read(past, &mut p50, &mut p95) {
                hours += 1;
            }
        }
        let (p50_us, p50_mad_us) = median_and_deviation(&p50)?;
        let p95 = median_and_deviation(&p95);
        Some(Expected {
            p50_us,
            p50_mad_us,
            p95_us: p95.map(|p95| p95.0),
            p95_mad_us: p95.map(|p95| p95.1),
            hours,
        })
    }

    fn heap_bytes(&self) -> usize {
        let open = self.open.p50.capacity() + self.open.p95.capacity();
        self.kept.heap_bytes() + open * size_of::<u16>()
    }
}

/// The median and the median absolute deviation; none of too few.
fn median_and_deviation(slots: &[u16]) -> Option<(u32, u32)> {
    if slots.len() < MINUTES_MIN {
        return None;
    }
    let mut values: Vec<u32> = slots.iter().map(|slot| middle(*slot)).collect();
    let median = median_of(&mut values)?;
    for value in &mut values {
        *value = value.abs_diff(median);
    }
    Some((median, median_of(&mut values)?))
}

/// The middle value; of an even number the mean of the two in the middle, rounded down.
pub(crate) fn median_of(values: &mut [u32]) -> Option<u32> {
    if values.is_empty() {
        return None;
    }
    let is_even = values.len().is_multiple_of(2);
    let (below, middle, _) = values.select_nth_unstable(values.len() / 2);
    let lower = below.iter().max().filter(|_| is_even).copied();
    Some(u32::midpoint(lower.unwrap_or(*middle), *middle))
}

/// The middle of a slot: within 0.4 % of whatever fell into it.
fn middle(slot: u16) -> u32 {
    let high = slot_value(usize::from(slot));
    u32::midpoint(lowest_equivalent(high), highest_equivalent(high))
}

fn insert(slots: &mut Vec<u16>, value_us: u32) {
    let slot = u16::try_from(index_of(value_us)).unwrap_or(u16::MAX);
    slots.insert(slots.partition_point(|other| *other < slot), slot);
}

/// Hours since 1970-01-01T00:00:00Z. Equal modulo 168 means the same hour of the week.
fn hour_of(time: Timestamp) -> i64 {
    time.secs().div_euclid(HOUR_SECS)
}

/// The series in the order of their names: the same state is the same bytes.
impl Serialize for Baselines {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut series: Vec<_> = self.series.iter().collect();
        series.sort_unstable_by_key(|(name, _)| *name);
        (self.series_max, self.refused, series).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Baselines {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (series_max, refused, series): (_, _, Vec<(SeriesName, Series)>) =
            Deserialize::deserialize(deserializer)?;
        Ok(Self { series: series.into_iter().collect(), series_max, refused })
    }
}

#[cfg(test)]
mod tests;
