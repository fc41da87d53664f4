//! One window's figures out of its samples: nearest-rank percentiles, interval, jitter, histogram.

use serde::{Deserialize, Serialize};

use super::histogram;
use super::interval::Intervals;

/// Samples from which a percentile is not thin (`docs/concepts/latency.md`).
const P50_SAMPLES_MIN: u32 = 10;
const P95_SAMPLES_MIN: u32 = 20;
const P99_SAMPLES_MIN: u32 = 100;

/// The percentiles of at least one sample, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percentiles {
    /// Smallest.
    pub min: u32,
    /// Median.
    pub p50: u32,
    /// 90th percentile.
    pub p90: u32,
    /// 95th percentile.
    pub p95: u32,
    /// 99th percentile.
    pub p99: u32,
    /// Largest.
    pub max: u32,
    /// Mean, rounded down.
    pub mean: u32,
    /// Mean absolute difference of neighbours in event time; none below two samples.
    pub jitter: Option<u32>,
    /// 95 % interval of the median; none where the window is too thin.
    pub p50_interval: Option<(u32, u32)>,
    /// 95 % interval of the 95th percentile; none where the window is too thin.
    pub p95_interval: Option<(u32, u32)>,
}

/// What adds up over windows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Answered probes.
    pub samples: u32,
    /// Unanswered probes.
    pub lost: u32,
    /// Smallest round trip; 0 without an answer.
    pub min: u32,
    /// Largest round trip.
    pub max: u32,
    /// All round trips added up.
    pub sum: u64,
    /// Absolute differences of neighbours in event time added up.
    pub jitter_sum: u64,
    /// How many differences there are.
    pub jitter_steps: u32,
}

impl Figures {
    /// Adds the figures of other samples.
    pub fn merge(&mut self, other: &Self) {
        if other.samples > 0 {
            self.min = if self.samples == 0 { other.min } else { self.min.min(other.min) };
            self.max = self.max.max(other.max);
        }
        self.samples = self.samples.saturating_add(other.samples);
        self.lost = self.lost.saturating_add(other.lost);
        self.sum = self.sum.saturating_add(other.sum);
        self.jitter_sum = self.jitter_sum.saturating_add(other.jitter_sum);
        self.jitter_steps = self.jitter_steps.saturating_add(other.jitter_steps);
    }

    fn of(in_order: &[u32], probes: usize) -> Self {
        let pairs = in_order.iter().zip(in_order.iter().skip(1));
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Self {
            samples: count(in_order.len()),
            lost: count(probes - in_order.len()),
            min: in_order.iter().copied().min().unwrap_or(0),
            max: in_order.iter().copied().max().unwrap_or(0),
            sum: in_order.iter().map(|rtt| u64::from(*rtt)).sum(),
            jitter_sum: pairs.map(|(a, b)| u64::from(a.abs_diff(*b))).sum(),
            jitter_steps: count(in_order.len().saturating_sub(1)),
        }
    }

    /// Mean absolute difference of neighbours; none below two samples.
    fn jitter(&self) -> Option<u32> {
        let mean = self.jitter_sum.checked_div(self.jitter_steps.into())?;
        u32::try_from(mean).ok()
    }
}

/// A window's figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// What adds up.
    pub figures: Figures,
    /// None without an answer.
    pub percentiles: Option<Percentiles>,
    /// Highest equivalent value of each non-empty bucket, ascending.
    pub hist_bucket: Vec<u32>,
    /// Samples in each of these.
    pub hist_count: Vec<u32>,
    /// Whether the percentiles come from all samples and not from the histogram.
    pub exact: bool,
}

impl Summary {
    /// Which percentiles are thin: the column `quality`.
    #[must_use]
    pub const fn quality(&self) -> &'static str {
        match self.figures.samples {
            0 => "silent",
            n if n < P50_SAMPLES_MIN => "low_n:p50",
            n if n < P95_SAMPLES_MIN => "low_n:p95",
            n if n < P99_SAMPLES_MIN => "low_n:p99",
            _ => "ok",
        }
    }
}

/// Computes summaries; remembers interval ranks and reuses its buffer.
#[derive(Debug)]
pub struct Summariser {
    buffer: Vec<u32>,
    p50: Intervals,
    p95: Intervals,
}

impl Default for Summariser {
    fn default() -> Self {
        Self { buffer: Vec::new(), p50: Intervals::new(0.5), p95: Intervals::new(0.95) }
    }
}

impl Summariser {
    /// The summary of a window with these answered round trips (microseconds, in event time) and
    /// `probes` probes in all.
    pub fn summarise(&mut self, rtts: impl Iterator<Item = u32>, probes: usize) -> Summary {
        let mut sorted = std::mem::take(&mut self.buffer);
        sorted.clear();
        sorted.extend(rtts);
        let figures = Figures::of(&sorted, probes);
        sorted.sort_unstable();
        let at_rank = |rank: u32| sorted.get(rank as usize - 1).copied();
        let percentiles = self.percentiles(&figures, at_rank);
        let (hist_bucket, hist_count) = histogram_of(&sorted);
        self.buffer = sorted;
        Summary { figures, percentiles, hist_bucket, hist_count, exact: true }
    }

    /// The summary of a histogram: the value at a rank is the highest of its bucket, and the smallest
    /// and the largest sample are known.
    pub fn of_histogram(
        &mut self,
        figures: Figures,
        hist_bucket: Vec<u32>,
        hist_count: Vec<u32>,
    ) -> Summary {
        let mut reached = 0_u64;
        let upto: Vec<u64> = hist_count
            .iter()
            .map(|count| {
                reached += u64::from(*count);
                reached
            })
            .collect();
        let at_rank = |rank: u32| {
            let place = upto.partition_point(|upto| *upto < u64::from(rank));
            hist_bucket.get(place).copied()
        };
        let percentiles = self.percentiles(&figures, at_rank);
        Summary { figures, percentiles, hist_bucket, hist_count, exact: false }
    }

    /// `at_rank` gives the sample of a rank, counting from 1.
    fn percentiles(
        &mut self,
        figures: &Figures,
        at_rank: impl Fn(u32) -> Option<u32>,
    ) -> Option<Percentiles> {
        let samples = figures.samples;
        let interval = |ranks: Option<(u32, u32)>| {
            let (low, high) = ranks?;
            Some((at_rank(low)?, at_rank(high)?))
        };
        Some(Percentiles {
            min: figures.min,
            p50: at_rank(nearest_rank(samples, 50))?,
            p90: at_rank(nearest_rank(samples, 90))?,
            p95: at_rank(nearest_rank(samples, 95))?,
            p99: at_rank(nearest_rank(samples, 99))?,
            max: figures.max,
            mean: u32::try_from(figures.sum.checked_div(samples.into())?).ok()?,
            jitter: figures.jitter(),
            p50_interval: interval(self.p50.ranks(samples)),
            p95_interval: interval(self.p95.ranks(samples)),
        })
    }
}

/// The nearest rank of a percentile: the smallest r with r / n >= percent / 100, at least 1.
#[must_use]
pub const fn nearest_rank(n: u32, percent: u32) -> u32 {
    let rank = (n as u64 * percent as u64).div_ceil(100);
    if rank == 0 { 1 } else { rank as u32 }
}

fn histogram_of(sorted: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let mut buckets = Vec::new();
    let mut counts: Vec<u32> = Vec::new();
    let mut rest = sorted;
    while let Some(first) = rest.first() {
        let bucket = histogram::highest_equivalent(*first);
        let inside = rest.partition_point(|rtt| *rtt <= bucket);
        buckets.push(bucket);
        counts.push(u32::try_from(inside).unwrap_or(u32::MAX));
        rest = rest.get(inside..).unwrap_or_default();
    }
    (buckets, counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_sample_is_every_percentile() {
        let summary = Summariser::default().summarise([7].into_iter(), 3);
        let figures = summary.percentiles.unwrap();
        assert_eq!((figures.min, figures.p50, figures.p99, figures.max), (7, 7, 7, 7));
        let told = (summary.figures.samples, summary.figures.lost, summary.quality());
        assert_eq!(told, (1, 2, "low_n:p50"));
        assert_eq!((figures.jitter, figures.p50_interval), (None, None));
    }

    #[test]
    fn a_window_without_an_answer_has_no_figures() {
        let summary = Summariser::default().summarise([].into_iter(), 4);
        assert_eq!((summary.percentiles, summary.figures.lost), (None, 4));
        assert!(summary.hist_bucket.is_empty());
    }

    proptest! {
        #[test]
        fn percentiles_are_nearest_rank_and_the_histogram_counts_all(
            rtts in prop::collection::vec(1u32..60_000_000, 1..400)
        ) {
            let summary = Summariser::default().summarise(rtts.iter().copied(), rtts.len());
            let mut sorted = rtts.clone();
            sorted.sort_unstable();
            let figures = summary.percentiles.unwrap();
            for (percent, value) in [(50, figures.p50), (90, figures.p90), (95, figures.p95), (99, figures.p99)] {
                let rank = (1..=sorted.len()).find(|r| r * 100 >= percent * sorted.len()).unwrap();
                prop_assert_eq!(value, sorted[rank - 1]);
            }
            prop_assert_eq!(summary.hist_count.iter().sum::<u32>() as usize, rtts.len());
            prop_assert!(summary.hist_bucket.is_sorted());
        }
    }
}
