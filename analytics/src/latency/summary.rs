//! One window's figures out of its samples: nearest-rank percentiles, interval, jitter, histogram.

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

/// A window's figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Answered probes.
    pub samples: u32,
    /// Unanswered probes.
    pub lost: u32,
    /// None without an answer.
    pub percentiles: Option<Percentiles>,
    /// Highest equivalent value of each non-empty bucket, ascending.
    pub hist_bucket: Vec<u32>,
    /// Samples in each of these.
    pub hist_count: Vec<u32>,
}

impl Summary {
    /// Which percentiles are thin: the column `quality`.
    #[must_use]
    pub const fn quality(&self) -> &'static str {
        match self.samples {
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
        self.buffer.clear();
        self.buffer.extend(rtts);
        let samples = u32::try_from(self.buffer.len()).unwrap_or(u32::MAX);
        let lost = u32::try_from(probes - self.buffer.len()).unwrap_or(u32::MAX);
        let jitter = jitter(&self.buffer);
        self.buffer.sort_unstable();
        let percentiles = self.percentiles(samples, jitter);
        let (hist_bucket, hist_count) = histogram_of(&self.buffer);
        Summary { samples, lost, percentiles, hist_bucket, hist_count }
    }

    fn percentiles(&mut self, samples: u32, jitter: Option<u32>) -> Option<Percentiles> {
        let sorted = self.buffer.as_slice();
        let at_rank = |rank: u32| sorted.get(rank as usize - 1).copied();
        let sum: u64 = sorted.iter().map(|rtt| u64::from(*rtt)).sum();
        let interval = |ranks: Option<(u32, u32)>| {
            let (low, high) = ranks?;
            Some((at_rank(low)?, at_rank(high)?))
        };
        Some(Percentiles {
            min: *sorted.first()?,
            p50: at_rank(nearest_rank(samples, 50))?,
            p90: at_rank(nearest_rank(samples, 90))?,
            p95: at_rank(nearest_rank(samples, 95))?,
            p99: at_rank(nearest_rank(samples, 99))?,
            max: *sorted.last()?,
            mean: u32::try_from(sum / u64::from(samples)).ok()?,
            jitter,
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

fn jitter(in_order: &[u32]) -> Option<u32> {
    let pairs = in_order.iter().zip(in_order.iter().skip(1));
    let sum: u64 = pairs.map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    let steps = in_order.len().checked_sub(1).filter(|steps| *steps > 0)?;
    u32::try_from(sum / steps as u64).ok()
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
        assert_eq!((summary.samples, summary.lost, summary.quality()), (1, 2, "low_n:p50"));
        assert_eq!((figures.jitter, figures.p50_interval), (None, None));
    }

    #[test]
    fn a_window_without_an_answer_has_no_figures() {
        let summary = Summariser::default().summarise([].into_iter(), 4);
        assert_eq!((summary.percentiles, summary.lost), (None, 4));
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
