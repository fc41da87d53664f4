//! Pulses: the figures of a registration minute by minute in, slow minutes that last out.
//!
//! A minute is slow if its median exceeds that of the half hour before by 5 ms, a tenth and four
//! deviations, and what is usual at this hour of the week by as much; or, from 100 samples on, its 95th
//! percentile the other's by half, 5 ms and four deviations. Three slow minutes of five are a shift, five in a
//! row that are not end it. While it lasts the half hour before it began is what it is compared with.

use std::collections::VecDeque;

use schemas::time::{TimeWindow, Timestamp};
use serde::{Deserialize, Serialize};

use super::compare::SHIFT_MIN_US;
use super::watch::BEFORE_SECS;
use crate::latency::baseline::{Expected, median_of};

/// Minutes before, of which so many must be known.
const KNOWN_MIN: usize = 10;
/// Minutes remembered: the half hour before, and those of a shift that is not yet one.
const RECENT_MAX: usize = 36;
/// Samples from which a minute's median counts.
const P50_SAMPLES_MIN: u64 = 10;
/// Samples from which its 95th percentile counts.
const P95_SAMPLES_MIN: u64 = 100;
/// Slow minutes that make a shift, of the last five.
const SLOW_MIN: u32 = 3;
const SLOW_MASK: u8 = 0b1_1111;
/// Minutes in a row that are not slow and end a shift.
const CLEAN_MIN: u32 = 5;
/// A normal standard deviation by a median absolute deviation, times four.
const FOUR_DEVIATIONS: f64 = 4.0 * 1.4826;

/// One minute of a registration.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Minute {
    pub(crate) start: Timestamp,
    pub(crate) p50_us: u32,
    pub(crate) p95_us: u32,
    pub(crate) samples: u64,
    /// The median above which it is unusual at this hour of the week; none without a baseline.
    pub(crate) usual_max_us: Option<u32>,
}

/// What a minute makes of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beat {
    /// Too thin, or nothing to compare with.
    Unknown,
    /// Not slow.
    Clean,
    /// Slow.
    Slow,
}

/// The last minutes of a registration.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Pulse {
    recent: VecDeque<Minute>,
    slow: u8,
    clean: u32,
    /// Start of the first slow minute of those that count.
    since: Option<Timestamp>,
    /// What a shift that was told is compared with: medians and percentiles above which a minute is slow.
    held: Option<(u32, u32)>,
}

impl Pulse {
    /// Takes a minute later than those before.
    pub(crate) fn beat(&mut self, minute: Minute) -> Beat {
        if self.recent.back().is_some_and(|last| last.start >= minute.start) {
            return Beat::Unknown;
        }
        if minute.samples < P50_SAMPLES_MIN {
            return Beat::Unknown;
        }
        let limits = self.held.or_else(|| self.limits(minute.start));
        self.recent.push_back(minute);
        if self.recent.len() > RECENT_MAX {
            self.recent.pop_front();
        }
        let Some((p50_max, p95_max)) = limits else { return Beat::Unknown };
        let p50_max = p50_max.max(minute.usual_max_us.unwrap_or(0));
        let is_slow = minute.p50_us > p50_max
            || (minute.samples >= P95_SAMPLES_MIN && minute.p95_us > p95_max);
        self.slow = (self.slow << 1 | u8::from(is_slow)) & SLOW_MASK;
        self.clean = if is_slow { 0 } else { self.clean + 1 };
        if is_slow {
            self.since.get_or_insert(minute.start);
            return Beat::Slow;
        }
        if self.slow == 0 && self.held.is_none() {
            self.since = None;
        }
        Beat::Clean
    }

    /// When slow minutes that last began, unless that was told.
    pub(crate) fn shift(&self) -> Option<Timestamp> {
        self.since.filter(|_| self.held.is_none() && self.slow.count_ones() >= SLOW_MIN)
    }

    /// Start of the first slow minute of those that count.
    pub(crate) const fn since(&self) -> Option<Timestamp> {
        self.since
    }

    /// Something else tells of the slow minutes so far.
    pub(crate) const fn forgive(&mut self) {
        self.slow = 0;
    }

    /// The shift is told: what it is compared with stays as it is.
    pub(crate) fn hold(&mut self) {
        let since = self.since.unwrap_or(Timestamp::MIN);
        self.held = self.limits(since);
    }

    /// Whether a shift that was told is over; then it is forgotten.
    pub(crate) fn is_over(&mut self) -> bool {
        let is_over = self.held.is_some() && self.clean >= CLEAN_MIN;
        if is_over {
            (self.held, self.since, self.slow) = (None, None, 0);
        }
        is_over
    }

    /// Above what a minute is slow: by the half hour before it, or before the slow ones began.
    fn limits(&self, start: Timestamp) -> Option<(u32, u32)> {
        let end = self.since.unwrap_or(start).min(start);
        let span = TimeWindow { start: end.plus_secs(-BEFORE_SECS), end };
        let known = || self.recent.iter().filter(|minute| span.contains(minute.start));
        let mut p50: Vec<u32> = known().map(|minute| minute.p50_us).collect();
        if p50.len() < KNOWN_MIN {
            return None;
        }
        let mut p95: Vec<u32> = known().map(|minute| minute.p95_us).collect();
        let (p50, p50_mad) = median_and_deviation(&mut p50)?;
        let (p95, p95_mad) = median_and_deviation(&mut p95)?;
        let tail = (f64::from(p95) / 2.0).max(SHIFT_MIN_US);
        Some((above(p50, p50_mad), over(p95, tail.max(FOUR_DEVIATIONS * f64::from(p95_mad)))))
    }
}

/// The median above which a minute is unusual at this hour of the week.
pub(crate) fn usual_max(expected: &Expected) -> u32 {
    above(expected.p50_us, expected.p50_mad_us)
}

fn above(median: u32, deviation: u32) -> u32 {
    let share = f64::from(median) / 10.0;
    over(median, SHIFT_MIN_US.max(share).max(FOUR_DEVIATIONS * f64::from(deviation)))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
fn over(value: u32, by: f64) -> u32 {
    (f64::from(value) + by) as u32
}

fn median_and_deviation(values: &mut [u32]) -> Option<(u32, u32)> {
    let median = median_of(values)?;
    for value in &mut *values {
        *value = value.abs_diff(median);
    }
    Some((median, median_of(values)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Story(Pulse, i64);

    impl Story {
        fn quiet(minutes: i64) -> Self {
            let mut story = Self(Pulse::default(), 0);
            (0..minutes).for_each(|_| {
                story.minute(20_000, 25_000, 100);
            });
            story
        }

        fn minute(&mut self, p50_us: u32, p95_us: u32, samples: u64) -> Beat {
            self.1 += 1;
            let start = Timestamp::from_secs(self.1 * 60);
            self.0.beat(Minute { start, p50_us, p95_us, samples, usual_max_us: None })
        }
    }

    #[test]
    fn nothing_is_slow_before_ten_minutes_are_known() {
        let mut story = Story::quiet(9);
        assert_eq!(story.minute(90_000, 99_000, 100), Beat::Unknown);
        let mut story = Story::quiet(10);
        assert_eq!(story.minute(90_000, 99_000, 9), Beat::Unknown, "too thin");
        assert_eq!(story.minute(90_000, 99_000, 10), Beat::Slow);
    }

    #[test]
    fn three_slow_minutes_of_five_are_a_shift_and_five_clean_ones_end_it() {
        let mut story = Story::quiet(30);
        let began = story.1 + 1;
        assert_eq!(story.minute(24_900, 30_000, 100), Beat::Clean, "less than 5 ms");
        for (p50, is_shift) in [(26_000, false), (20_000, false), (26_000, false), (26_000, true)] {
            story.minute(p50, 32_000, 100);
            assert_eq!(story.0.shift().is_some(), is_shift);
        }
        assert_eq!(story.0.shift(), Some(Timestamp::from_secs((began + 1) * 60)));
        story.0.hold();
        assert_eq!(story.0.shift(), None, "told");
        // However long it lasts, it is compared with what was before.
        (0..60).for_each(|_| assert_eq!(story.minute(26_000, 32_000, 100), Beat::Slow));
        for _ in 0..4 {
            assert_eq!(
                (story.minute(20_000, 25_000, 100), story.0.is_over()),
                (Beat::Clean, false)
            );
        }
        story.minute(20_000, 25_000, 100);
        assert!(story.0.is_over() && !story.0.is_over());
    }

    #[test]
    fn one_slow_minute_is_forgotten_after_five() {
        let mut story = Story::quiet(30);
        assert_eq!(story.minute(90_000, 99_000, 100), Beat::Slow);
        (0..5).for_each(|_| {
            story.minute(20_000, 25_000, 100);
        });
        assert_eq!(story.0.since, None);
    }

    #[test]
    fn a_tail_that_grows_is_slow_from_a_hundred_samples_on() {
        let mut story = Story::quiet(30);
        assert_eq!(story.minute(20_000, 60_000, 99), Beat::Clean);
        assert_eq!(story.minute(20_000, 37_000, 100), Beat::Clean, "less than half as high again");
        assert_eq!(story.minute(20_000, 38_000, 100), Beat::Slow);
    }

    #[test]
    fn what_is_usual_at_this_hour_is_not_slow() {
        let mut story = Story::quiet(30);
        let start = Timestamp::from_secs(60 * 31);
        let expected = Expected {
            p50_us: 40_000,
            p50_mad_us: 1_000,
            p95_us: None,
            p95_mad_us: None,
            hours: 2,
        };
        let usual_max_us = Some(usual_max(&expected));
        assert_eq!(usual_max_us, Some(45_930));
        let minute = Minute { start, p50_us: 45_000, p95_us: 36_000, samples: 50, usual_max_us };
        assert_eq!(story.0.beat(minute), Beat::Clean);
    }
}
