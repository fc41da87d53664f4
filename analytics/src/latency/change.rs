//! Changes: two sets of round trips in, whether and by how much the second is slower out.
//!
//! - [`median_shift`]: the difference of two medians with its confidence interval, free of any
//!   distribution: Price & Bonett, "Distribution-free confidence intervals for difference and ratio
//!   of medians", J. Statist. Comput. Simul. 72 (2002) 119-124. The variance of each median is read
//!   off its own order statistics: with `c = (n + 1) / 2 - sqrt(n)`, the c-th from below and the c-th
//!   from above are `2 z` standard errors apart, where `z` belongs to the binomial probability of
//!   their ranks. Schlinker et al. judged the edge of Facebook with it (IMC 2019).
//! - [`mann_whitney`]: whether values of the second set tend to be larger: Mann & Whitney, Ann. Math.
//!   Statist. 18 (1947) 50-60, in the normal approximation with the correction for ties (Lehmann,
//!   Nonparametrics, 1975, §1.4).
//! - [`Cusum`]: a shift that nobody announced, minute by minute: Page, Biometrika 41 (1954) 100-115.
//!
//! Sets are given as [`Counts`] or as ascending slices; a histogram's buckets are ties, and the
//! interval is widened by what a bucket hides. How often each of them is wrong is tested below on
//! known distributions and told in `docs/decisions/0016-change-tests.md`. Which sets are compared,
//! and what follows, is the caller's business.

use schemas::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::baseline::Expected;
use super::histogram::{Counts, lowest_equivalent};

/// Fewest values on each side from which the tests are good: below it `median_shift` is silent.
pub const SHIFT_SAMPLES_MIN: u64 = 10;

/// How sure an interval is, as the standard normal quantile of its upper end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Confidence(f64);

impl Confidence {
    /// 95 %.
    pub const P95: Self = Self(1.959_963_984_540_054);
    /// 99 %.
    pub const P99: Self = Self(2.575_829_303_548_901);
    /// 1 - 0.01 / 3: each of three looks at one change whose total error is 1 % (Bonferroni).
    pub const P99_OF_THREE: Self = Self(2.935_199_468_866_699);
}

/// Equal values, or values of one bucket.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// The least value that they may have.
    pub low: u32,
    /// The greatest.
    pub high: u32,
    /// How many they are.
    pub count: u64,
}

impl Run {
    fn middle(self) -> f64 {
        f64::midpoint(f64::from(self.low), f64::from(self.high))
    }

    fn half(self) -> f64 {
        f64::from(self.high - self.low) / 2.0
    }
}

/// A set of values, ascending.
pub trait Values {
    /// Number of values.
    fn total(&self) -> u64;
    /// Runs of values that cannot be told apart.
    fn runs(&self) -> impl Iterator<Item = Run>;
}

impl Values for Counts {
    fn total(&self) -> u64 {
        Self::total(self)
    }

    fn runs(&self) -> impl Iterator<Item = Run> {
        self.iter().map(|(high, count)| Run { low: lowest_equivalent(high), high, count })
    }
}

/// An ascending slice: the caller has sorted it.
impl Values for [u32] {
    fn total(&self) -> u64 {
        self.len() as u64
    }

    fn runs(&self) -> impl Iterator<Item = Run> {
        debug_assert!(self.is_sorted(), "the slice must be ascending");
        let runs = self.chunk_by(|a, b| a == b);
        runs.filter_map(|run| {
            let value = *run.first()?;
            Some(Run { low: value, high: value, count: run.len() as u64 })
        })
    }
}

/// How much larger the median after is than the median before, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MedianShift {
    /// Difference of the medians.
    pub shift_us: f64,
    /// Lower end of the interval.
    pub low_us: f64,
    /// Upper end of the interval.
    pub high_us: f64,
}

/// The difference of two medians with its interval; none where a side has fewer than
/// [`SHIFT_SAMPLES_MIN`] values.
#[must_use]
pub fn median_shift<V: Values + ?Sized>(
    before: &V,
    after: &V,
    confidence: Confidence,
) -> Option<MedianShift> {
    let (before, after) = (median(before)?, median(after)?);
    let shift_us = after.value - before.value;
    let half = confidence.0 * before.error.hypot(after.error) + before.slack + after.slack;
    Some(MedianShift { shift_us, low_us: shift_us - half, high_us: shift_us + half })
}

/// A median with its standard error, and how far the true one may be off because of its bucket.
struct Median {
    value: f64,
    error: f64,
    slack: f64,
}

fn median<V: Values + ?Sized>(values: &V) -> Option<Median> {
    if values.total() < SHIFT_SAMPLES_MIN {
        return None;
    }
    let n = values.total() as f64;
    let c = (f64::midpoint(n, 1.0) - n.sqrt()).round().max(1.0);
    // P(B < c) for binomial (n, 1/2) by its normal approximation with continuity: within 4 % of the
    // exact z from n = 10 on, and to the side of a wider interval.
    let z = (n + 1.0 - 2.0 * c) / n.sqrt();
    let (low, _) = order_statistic(values, c)?;
    let (high, _) = order_statistic(values, n + 1.0 - c)?;
    let (lower, slack) = order_statistic(values, (n / 2.0).ceil())?;
    let (upper, _) = order_statistic(values, (n / 2.0).floor() + 1.0)?;
    Some(Median { value: f64::midpoint(lower, upper), error: (high - low) / (2.0 * z), slack })
}

/// The value of a rank (from 1), and half the width of its bucket.
///
/// A run of ties stands for values spread evenly to half the way to the nearer of its neighbours, as
/// the median of grouped data is taken: otherwise round trips told in whole milliseconds would have
/// a median without any error. A value alone stays as it is.
fn order_statistic<V: Values + ?Sized>(values: &V, rank: f64) -> Option<(f64, f64)> {
    let mut runs = values.runs().peekable();
    let (mut before, mut up_to) = (None::<Run>, 0.0);
    while let Some(run) = runs.next() {
        let count = run.count as f64;
        if up_to + count >= rank {
            let neighbours = before.zip(runs.peek());
            let gap = neighbours.map_or(0.0, |(before, after)| {
                (run.middle() - before.middle()).min(after.middle() - run.middle())
            });
            let half = run.half().max(gap / 2.0);
            let position = (rank - up_to - 0.5) / count;
            return Some((run.middle() + (2.0 * position - 1.0) * half, run.half()));
        }
        up_to += count;
        before = Some(run);
    }
    None
}

/// What the test of Mann and Whitney says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MannWhitney {
    /// Standard normal where both sets come from one distribution; positive where the second tends
    /// to be larger. 0 where all values are equal.
    pub z: f64,
    /// Probability that a value of the second is larger than one of the first, ties counted half:
    /// 0.5 where there is no difference.
    pub effect: f64,
}

/// Compares two sets; none where one is empty.
#[must_use]
pub fn mann_whitney<V: Values + ?Sized>(before: &V, after: &V) -> Option<MannWhitney> {
    let (n, m) = (before.total() as f64, after.total() as f64);
    if n == 0.0 || m == 0.0 {
        return None;
    }
    let (mut a, mut b) = (before.runs().peekable(), after.runs().peekable());
    let (mut below, mut u, mut ties) = (0.0, 0.0, 0.0);
    loop {
        let value = match (a.peek(), b.peek()) {
            (Some(a), Some(b)) => a.high.min(b.high),
            (Some(run), None) | (None, Some(run)) => run.high,
            (None, None) => break,
        };
        let mine = a.next_if(|run| run.high == value).map_or(0.0, |run| run.count as f64);
        let theirs = b.next_if(|run| run.high == value).map_or(0.0, |run| run.count as f64);
        u += theirs * (below + mine / 2.0);
        below += mine;
        let tied = mine + theirs;
        ties += tied * (tied * tied - 1.0);
    }
    let all = n + m;
    let variance = n * m / 12.0 * (all + 1.0 - ties / (all * (all - 1.0)).max(1.0));
    let z = if variance > 0.0 { (u - n * m / 2.0) / variance.sqrt() } else { 0.0 };
    Some(MannWhitney { z, effect: u / (n * m) })
}

/// What is subtracted from each minute's score: half the shift to be found, in standard deviations.
const CUSUM_K: f64 = 0.5;
/// The sum above which there is a shift, in standard deviations.
const CUSUM_H: f64 = 5.0;
/// A minute counts for at most this: none alone is a shift (after Lucas & Crosier, "Robust CUSUM",
/// Commun. Statist. Theory Methods 11 (1982) 2669-2687).
const SCORE_MAX: f64 = 4.0;
/// Standard deviation of the logarithm that is assumed at least: about one bucket.
const SIGMA_MIN: f64 = 0.01;
/// A normal standard deviation by a median absolute deviation (Hampel, JASA 69 (1974) 383-393).
const SIGMA_BY_MAD: f64 = 1.482_602_218_505_602;
/// The sum is kept in these parts of a standard deviation, so that every encoding keeps it.
const PARTS: f64 = 1_048_576.0;

/// One-sided CUSUM on minute medians: the logarithm of the median less that of the expected one, in
/// standard deviations; the sum of what exceeds `k` = 0.5, shift above `h` = 5. Eight bytes and a time;
/// the same in every encoding.
///
/// On independent normal scores it is wrong once in 930 minutes, and needs 10.4 minutes for a shift
/// of one standard deviation, 4 for two (Montgomery, Statistical Quality Control, table 9.3). Minutes
/// are not independent: a caller asks for more than this before it speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Cusum {
    parts: u32,
    since: Option<Timestamp>,
}

/// A shift that [`Cusum`] found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shift {
    /// The first minute of those that add up to it: when it began, as far as one can tell.
    pub since: Timestamp,
    /// The sum, in standard deviations.
    pub sum: f64,
}

impl Cusum {
    /// Takes the median of a minute; says that there is a shift, and begins anew, when the sum
    /// exceeds `h`. A minute without a median or a baseline is not given.
    pub fn push(
        &mut self,
        window_start: Timestamp,
        p50_us: u32,
        expected: &Expected,
    ) -> Option<Shift> {
        let median = f64::from(expected.p50_us.max(1));
        let sigma = (SIGMA_BY_MAD * f64::from(expected.p50_mad_us) / median).max(SIGMA_MIN);
        self.score(window_start, (f64::from(p50_us.max(1)) / median).ln() / sigma)
    }

    fn score(&mut self, window_start: Timestamp, score: f64) -> Option<Shift> {
        let before = f64::from(self.parts) / PARTS;
        let sum = before + score.min(SCORE_MAX) - CUSUM_K;
        if sum <= 0.0 {
            *self = Self::default();
            return None;
        }
        let since = *self.since.get_or_insert(window_start);
        if sum > CUSUM_H {
            *self = Self::default();
            return Some(Shift { since, sum });
        }
        self.parts = parts(sum);
        None
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 < sum <= CUSUM_H")]
fn parts(sum: f64) -> u32 {
    (sum * PARTS).round() as u32
}

#[cfg(test)]
mod tests;
