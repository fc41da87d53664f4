//! Confidence intervals of a quantile by order statistics: exact, free of any distribution.
//!
//! Of `n` samples the number below the true quantile `q` is binomial (n, q). The interval from the
//! l-th to the u-th smallest sample holds the quantile with the probability of `l <= B < u`
//! (David & Nagaraja, Order Statistics, §7.1). Each tail is kept at 2.5 % or less.

use std::collections::HashMap;

/// Probability left in each tail.
const TAIL: f64 = 0.025;
/// Terms smaller than this share of the largest add nothing.
const NEGLIGIBLE: f64 = 1e-18;
/// Sample counts remembered.
const REMEMBERED_MAX: usize = 1 << 16;

/// Ranks (from 1) between which a quantile lies with 95 %; none where the samples are too few.
pub type Ranks = Option<(u32, u32)>;

/// Ranks by sample count for one quantile, computed once each.
#[derive(Debug)]
pub struct Intervals {
    quantile: f64,
    known: HashMap<u32, Ranks>,
}

impl Intervals {
    /// Intervals of this quantile, between 0 and 1.
    #[must_use]
    pub fn new(quantile: f64) -> Self {
        Self { quantile, known: HashMap::new() }
    }

    /// The ranks for `n` samples.
    pub fn ranks(&mut self, n: u32) -> Ranks {
        if self.known.len() >= REMEMBERED_MAX {
            self.known.clear();
        }
        *self.known.entry(n).or_insert_with(|| ranks(n, self.quantile))
    }
}

/// The ranks for `n` samples and the quantile `q`, from the binomial distribution.
fn ranks(n: u32, q: f64) -> Ranks {
    if n == 0 {
        return None;
    }
    let (first, weights) = binomial_weights(n, q);
    let total: f64 = weights.iter().sum();
    let mut below = 0.0;
    let mut low = 0;
    let mut high = None;
    for (count, weight) in (first..).zip(&weights) {
        // `below` is P(B < count).
        if below <= TAIL {
            low = count;
        }
        if high.is_none() && below >= 1.0 - TAIL {
            high = Some(count);
        }
        below += weight / total;
    }
    let high = high.unwrap_or(first + u32::try_from(weights.len()).unwrap_or(u32::MAX));
    (low >= 1 && high <= n).then_some((low, high))
}

/// The binomial weights around the mode, up to a factor, with the count of the first.
fn binomial_weights(n: u32, q: f64) -> (u32, Vec<f64>) {
    let odds = q / (1.0 - q);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 <= mode <= n")]
    let mode = ((f64::from(n) + 1.0) * q).floor().min(f64::from(n)) as u32;
    let mut down = Vec::new();
    let mut weight = 1.0;
    for k in (1..=mode).rev() {
        weight *= f64::from(k) / (f64::from(n - k + 1) * odds);
        if weight < NEGLIGIBLE {
            break;
        }
        down.push(weight);
    }
    let first = mode - u32::try_from(down.len()).unwrap_or(mode);
    down.reverse();
    down.push(1.0);
    let mut weight = 1.0;
    for k in mode + 1..=n {
        weight *= f64::from(n - k + 1) / f64::from(k) * odds;
        if weight < NEGLIGIBLE {
            break;
        }
        down.push(weight);
    }
    (first, down)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ranks_are_those_of_the_tables() {
        // Conover, Practical Nonparametric Statistics, table of binomial intervals for the median.
        assert_eq!(ranks(6, 0.5), Some((1, 6)));
        assert_eq!(ranks(10, 0.5), Some((2, 9)));
        assert_eq!(ranks(25, 0.5), Some((8, 18)));
        assert_eq!(ranks(100, 0.5), Some((40, 61)));
        assert_eq!(ranks(5, 0.5), None, "five samples cannot give 95 %");
        assert_eq!(ranks(60, 0.95), None, "the largest of sixty is not high enough");
        assert!(ranks(100, 0.95).is_some() && ranks(1_000_000, 0.95).is_some());
    }

    #[test]
    fn the_interval_holds_the_quantile_as_often_as_it_says() {
        // Ranks of a uniform sample: P(l <= B < u) summed exactly must reach 95 %.
        for n in [10u32, 37, 120, 500] {
            for q in [0.5, 0.95] {
                let Some((low, high)) = ranks(n, q) else { continue };
                let (first, weights) = binomial_weights(n, q);
                let total: f64 = weights.iter().sum();
                let inside: f64 = (first..)
                    .zip(&weights)
                    .filter(|(count, _)| (low..high).contains(count))
                    .map(|(_, weight)| weight / total)
                    .sum();
                assert!(inside >= 0.95, "n {n} q {q}: {inside}");
            }
        }
    }
}
