//! A small deterministic generator: a seed in, the same numbers on every machine out.
//!
//! The generator is SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number
//! Generators", OOPSLA 2014; constants of Vigna's public-domain `splitmix64.c`). It passes the
//! usual statistical batteries, needs one word of state and splits into independent streams. It is
//! no secret generator and must guard nothing.
//!
//! What is drawn from it: [`super::topology`], [`super::vantage`] and [`super::rtt`].

/// A stream of pseudo-random numbers.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

/// The golden ratio as a fraction of 2^64: the step of SplitMix64.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Random {
    /// The stream of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A stream of its own for one use: what another use draws does not move it.
    #[must_use]
    pub fn fork(&self, label: u64) -> Self {
        let mut other = Self { state: self.state ^ label.wrapping_mul(STEP).rotate_left(17) };
        Self { state: other.word() }
    }

    /// The next 64 bits.
    pub const fn word(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number in `0..limit` by multiplication; 0 for an empty range. The bias is under
    /// `limit / 2^64`.
    pub const fn below(&mut self, limit: u64) -> u64 {
        ((self.word() as u128 * limit as u128) >> 64) as u64
    }

    /// A number in `low..=high`; `low` if they are the wrong way round.
    pub const fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True in `permille` of 1000 draws.
    pub const fn chance(&mut self, permille: u32) -> bool {
        self.below(1000) < permille as u64
    }

    /// One of the items, none of an empty slice.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(usize::try_from(self.below(items.len() as u64)).unwrap_or(0))
    }

    /// About a standard normal number: twelve 16-bit uniforms added up (Irwin and Hall), so that
    /// only exact additions are used. Never beyond plus or minus 6.
    pub fn normal(&mut self) -> f64 {
        let mut sum = 0;
        for _ in 0..3 {
            let word = self.word();
            sum += (word & 0xffff) + (word >> 16 & 0xffff) + (word >> 32 & 0xffff) + (word >> 48);
        }
        sum as f64 / 65_535.0 - 6.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first numbers of seed 1234567 as published with the reference implementation.
    #[test]
    fn the_stream_is_that_of_the_reference() {
        let mut random = Random::new(1_234_567);
        let words: Vec<u64> = (0..3).map(|_| random.word()).collect();
        let published =
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!(words, published);
    }

    #[test]
    fn forks_differ_and_do_not_move_their_parent() {
        let parent = Random::new(7);
        assert_ne!(parent.fork(1).word(), parent.fork(2).word());
        assert_eq!(parent.fork(1).word(), parent.fork(1).word());
    }

    #[test]
    fn ranges_are_kept_and_empty_ones_harmless() {
        let mut random = Random::new(1);
        assert!((0..1000).all(|_| (3..=5).contains(&random.between(3, 5))));
        assert_eq!((random.below(0), random.between(9, 2)), (0, 9));
        assert_eq!(random.pick::<u8>(&[]), None);
        assert!((0..100).all(|_| !random.chance(0) && random.chance(1000)));
    }

    #[test]
    fn the_normal_numbers_have_mean_0_and_deviation_1() {
        let mut random = Random::new(3);
        let draws: Vec<f64> = (0..20_000).map(|_| random.normal()).collect();
        let mean = draws.iter().sum::<f64>() / 20_000.0;
        let variance = draws.iter().map(|x| x * x).sum::<f64>() / 20_000.0;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
    }
}
