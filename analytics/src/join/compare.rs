//! Before and after: two sets of round trips in, whether and by how much the second is slower out.
//!
//! The second is slower if the lower end of the interval of the difference of medians exceeds
//! 5 ms and a tenth of the usual median and the test of Mann and Whitney agrees (z over 3.3), or if its
//! 95th percentile is half as high again, and 5 ms more, with 100 samples on each side. What siblings
//! without a change of their own did in the same minutes is subtracted first. Pure; the tests are
//! [`crate::latency::change`], the reasons `docs/decisions/0023-before-and-after.md`.

use serde::{Deserialize, Serialize};

use crate::latency::change::{Confidence, MedianShift, mann_whitney, median_shift};
use crate::latency::histogram::Counts;

/// Samples that each side needs.
pub(crate) const SAMPLES_MIN: u64 = 30;
/// Samples that each side needs for its 95th percentile.
const P95_SAMPLES_MIN: u64 = 100;
/// A shift below this is none, in microseconds.
pub(crate) const SHIFT_MIN_US: f64 = 5_000.0;
/// Nor is one below this share of the usual median.
const SHIFT_SHARE: f64 = 0.1;
/// What the test of Mann and Whitney must exceed.
const Z_MIN: f64 = 3.3;
/// How much higher the 95th percentile must be.
const P95_RATIO_MIN: f64 = 1.5;

/// The figures of both sides.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Compared {
    /// Median and 95th percentile before.
    pub(crate) before: (u32, u32),
    /// Median and 95th percentile after.
    pub(crate) after: (u32, u32),
    /// The difference of medians with its 95 % interval.
    pub(crate) shift: MedianShift,
    /// Whether the second is slower.
    pub(crate) is_slower: bool,
}

/// What siblings did meanwhile: their median shift, and by how much their 95th percentiles rose.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Control {
    pub(crate) shift_us: f64,
    pub(crate) p95_ratio: f64,
}

impl Default for Control {
    fn default() -> Self {
        Self { shift_us: 0.0, p95_ratio: 1.0 }
    }
}

/// Compares; none where a side has fewer than [`SAMPLES_MIN`] samples.
pub(crate) fn compare(
    before: &Counts,
    after: &Counts,
    usual_p50_us: Option<u32>,
    control: Control,
) -> Option<Compared> {
    if before.total().min(after.total()) < SAMPLES_MIN {
        return None;
    }
    let figures = |of: &Counts| Some((of.quantile(0.5)?, of.quantile(0.95)?));
    let (a, b) = (figures(before)?, figures(after)?);
    let shift = median_shift(before, after, Confidence::P95)?;
    // Three looks at one change: the interval that decides is wider than the one that is told.
    let decides = median_shift(before, after, Confidence::P99_OF_THREE)?;
    let z = mann_whitney(before, after)?.z;
    let usual = f64::from(usual_p50_us.unwrap_or(a.0));
    let net = decides.low_us - control.shift_us.max(0.0);
    let median_is = net > SHIFT_MIN_US.max(SHIFT_SHARE * usual) && z > Z_MIN;
    let (p95, p95_now) = (f64::from(a.1), f64::from(b.1));
    let expected = p95 * control.p95_ratio.max(1.0);
    let tail_is = before.total().min(after.total()) >= P95_SAMPLES_MIN
        && p95_now >= P95_RATIO_MIN * expected
        && p95_now > expected + SHIFT_MIN_US;
    Some(Compared { before: a, after: b, shift, is_slower: median_is || tail_is })
}

/// The control of siblings: the medians of what they did.
pub(crate) fn control(siblings: &[(Counts, Counts)]) -> Control {
    let enough =
        siblings.iter().filter(|(before, after)| before.total().min(after.total()) >= SAMPLES_MIN);
    let figures = |of: &Counts| Some((of.quantile(0.5)?, of.quantile(0.95)?));
    let moved = enough.filter_map(|(before, after)| Some((figures(before)?, figures(after)?)));
    let (mut shifts, mut ratios) = (Vec::new(), Vec::new());
    for (before, after) in moved {
        shifts.push(f64::from(after.0) - f64::from(before.0));
        ratios.push(f64::from(after.1) / f64::from(before.1.max(1)));
    }
    let none = Control::default();
    Control {
        shift_us: median(&mut shifts).unwrap_or(none.shift_us),
        p95_ratio: median(&mut ratios).unwrap_or(none.p95_ratio),
    }
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let upper = values.len() / 2;
    let lower = if values.len().is_multiple_of(2) { upper.checked_sub(1)? } else { upper };
    Some(f64::midpoint(*values.get(lower)?, *values.get(upper)?))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use rand_distr::{Distribution, LogNormal};

    use super::*;

    /// Round trips about a median; `tail` of a hundred are 100 ms longer.
    fn counts(seed: u64, n: usize, median_us: f64, tail: usize) -> Counts {
        let mut random = StdRng::seed_from_u64(seed);
        let around = LogNormal::new(median_us.ln(), 0.1).unwrap();
        let mut counts = Counts::default();
        for i in 0..n {
            let rtt: f64 = around.sample(&mut random);
            counts.add(rtt as u32 + if i % 100 < tail { 100_000 } else { 0 }, 1);
        }
        counts
    }

    fn is_slower(before: &Counts, after: &Counts, control: Control) -> bool {
        compare(before, after, None, control).unwrap().is_slower
    }

    #[test]
    fn too_few_samples_on_either_side_are_no_answer() {
        let (few, many) = (counts(1, 29, 20_000.0, 0), counts(2, 30, 20_000.0, 0));
        assert_eq!(compare(&few, &many, None, Control::default()), None);
        assert_eq!(compare(&many, &few, None, Control::default()), None);
        assert!(compare(&many, &many, None, Control::default()).is_some());
    }

    #[test]
    fn a_median_that_moves_by_more_than_five_milliseconds_is_seen_and_a_smaller_one_is_not() {
        let before = counts(1, 3_000, 20_000.0, 0);
        let found = compare(&before, &counts(2, 100, 30_000.0, 0), None, Control::default());
        let found = found.unwrap();
        assert!(found.is_slower && found.shift.low_us < 10_000.0 && found.shift.high_us > 9_500.0);
        assert!(found.before.0.abs_diff(20_000) < 300 && found.after.0.abs_diff(30_000) < 900);
        assert!(!is_slower(&before, &counts(3, 100, 24_000.0, 0), Control::default()));
        assert!(!is_slower(&before, &counts(4, 100, 12_000.0, 0), Control::default()), "faster");
        // A tenth of the usual median of 100 ms is 10 ms.
        let far = counts(5, 3_000, 100_000.0, 0);
        assert!(!is_slower(&far, &counts(6, 1_000, 108_000.0, 0), Control::default()));
        assert!(is_slower(&far, &counts(7, 1_000, 120_000.0, 0), Control::default()));
    }

    #[test]
    fn one_in_eight_that_goes_round_is_seen_in_the_tail_from_a_hundred_samples_on() {
        let before = counts(1, 3_000, 20_000.0, 0);
        assert!(is_slower(&before, &counts(2, 100, 20_000.0, 12), Control::default()));
        assert!(!is_slower(&before, &counts(2, 99, 20_000.0, 12), Control::default()));
        assert!(!is_slower(&before, &counts(2, 1_000, 20_000.0, 4), Control::default()));
    }

    #[test]
    fn what_siblings_did_too_is_not_the_change() {
        let (before, after) = (counts(1, 3_000, 20_000.0, 0), counts(2, 300, 30_000.0, 0));
        let siblings: Vec<_> = (3..6)
            .map(|seed| (counts(seed, 3_000, 40_000.0, 0), counts(seed + 10, 300, 50_000.0, 0)))
            .collect();
        let all = control(&siblings);
        assert!((all.shift_us - 10_000.0).abs() < 1_000.0, "{all:?}");
        assert!(is_slower(&before, &after, Control::default()) && !is_slower(&before, &after, all));
        let thin = control(&[(counts(1, 10, 1_000.0, 0), counts(2, 10, 90_000.0, 0))]);
        assert_eq!(thin, Control::default(), "too thin to say anything");
    }

    /// Of 2,000 pairs of sets from one distribution none is slower, of 2,000 that are 12 ms slower all.
    #[test]
    fn it_errs_as_seldom_as_it_says() {
        let slower = |shift: f64| {
            (0..2_000)
                .filter(|seed| {
                    let before = counts(2 * seed, 1_000, 25_000.0, 2);
                    let after = counts(2 * seed + 1, 115, 25_000.0 + shift, 2);
                    is_slower(&before, &after, Control::default())
                })
                .count()
        };
        assert_eq!((slower(0.0), slower(12_000.0)), (0, 2_000));
    }
}
