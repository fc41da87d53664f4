//! Histogram buckets: microseconds in, HdrHistogram buckets out, and back as nearest-rank quantiles.
//!
//! The arithmetic is that of HdrHistogram for 1 us to 60 s with two significant digits: 256
//! sub-buckets, of which the lower half repeats the bucket below. A *slot* is the position of a
//! bucket, a *bucket* its highest equivalent value in microseconds: what stands in `hist_bucket`.
//! No IO, no state beyond [`Counts`]. Windows and samples are the business of its neighbours; the
//! SQL functions over the two lists are [`crate::sql`].

/// Largest round trip that is told apart; a larger one counts as this.
pub const RTT_MAX_US: u32 = 60_000_000;

/// Number of slots from 0 us to [`RTT_MAX_US`].
pub const SLOTS: usize = slot(RTT_MAX_US) + 1;

/// Highest value of the last slot: no `hist_bucket` is larger.
pub const BUCKET_MAX_US: u32 = highest(RTT_MAX_US);

/// log2 of half the sub-buckets: within one octave there are 128 slots.
const HALF_BITS: u32 = 7;
const HALF: u32 = 1 << HALF_BITS;

/// How far the values of one slot are apart, as a shift: 0 below 256 us.
const fn shift_of(value_us: u32) -> u32 {
    (value_us | (2 * HALF - 1)).ilog2() - HALF_BITS
}

const fn slot(value_us: u32) -> usize {
    let shift = shift_of(value_us);
    (shift * HALF + (value_us >> shift)) as usize
}

const fn highest(value_us: u32) -> u32 {
    value_us | ((1 << shift_of(value_us)) - 1)
}

/// Slots that are found side by side.
const BLOCK: usize = 64;
/// Buckets that are looked at twice while they are near.
const NEAR: usize = 2048;

/// The same as [`slot`] without a shift that depends on the value, so that four fit into one step: the
/// exponent of a double and the upper bits of its mantissa are the octave and the slot within it.
fn slot_by_exponent(value_us: u32) -> u32 {
    // The exponent is biased by 1023, and the octave that begins at HALF is the first.
    const BELOW: u32 = (1023 + HALF_BITS - 1) << HALF_BITS;
    let bits = f64::from(value_us.max(HALF)).to_bits() >> (f64::MANTISSA_DIGITS - 1 - HALF_BITS);
    let slot = bits as u32 - BELOW;
    if value_us < HALF { value_us } else { slot }
}

fn saturating_sum<N: Copy + Into<u64>>(counts: &[N]) -> u64 {
    counts.iter().fold(0, |sum: u64, count| sum.saturating_add((*count).into()))
}

/// The slot of a value; above [`RTT_MAX_US`] the last one.
#[must_use]
pub fn index_of(value_us: u32) -> usize {
    slot(value_us.min(BUCKET_MAX_US))
}

/// The largest value that shares the slot of this one: what `hist_bucket` holds.
#[must_use]
pub fn highest_equivalent(value_us: u32) -> u32 {
    highest(value_us.min(BUCKET_MAX_US))
}

/// The smallest value that shares the slot of this one.
#[must_use]
pub fn lowest_equivalent(value_us: u32) -> u32 {
    let value_us = value_us.min(BUCKET_MAX_US);
    value_us & !((1 << shift_of(value_us)) - 1)
}

/// The largest value of a slot; past the last slot that of the last.
#[must_use]
pub fn slot_value(index: usize) -> u32 {
    let index = u32::try_from(index.min(SLOTS - 1)).unwrap_or(u32::MAX);
    let shift = (index >> HALF_BITS).saturating_sub(1);
    let sub = index - shift * HALF;
    (sub << shift) | ((1 << shift) - 1)
}

/// Samples by slot: dense from the lowest slot that was ever used to the highest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Slot of the first element of `slots`.
    first: usize,
    slots: Vec<u64>,
    total: u64,
}

impl Counts {
    /// Adds `count` samples to the slot of `bucket`, any value of which may be given.
    pub fn add(&mut self, bucket: u32, count: u64) {
        if count > 0 {
            let index = index_of(bucket);
            self.reach(index, index);
            if let Some(slot) = self.slots.get_mut(index - self.first) {
                *slot = slot.saturating_add(count);
            }
            self.total = self.total.saturating_add(count);
        }
    }

    /// Adds the samples of many buckets, given as two slices of one length, and says the largest bucket that
    /// was among them. Faster than one by one: room is made once for many, whatever their order, and
    /// the slots of a block are found side by side.
    pub fn add_all<N: Copy + Into<u64>>(&mut self, buckets: &[u32], counts: &[N]) -> u32 {
        let mut largest = 0;
        for (buckets, counts) in buckets.chunks(NEAR).zip(counts.chunks(NEAR)) {
            let (Some(low), Some(high)) = (buckets.iter().min(), buckets.iter().max()) else {
                break;
            };
            largest = largest.max(*high);
            self.reach(index_of(*low), index_of(*high));
            self.add_near(buckets, counts);
        }
        largest
    }

    /// Adds buckets for all of which there is room.
    fn add_near<N: Copy + Into<u64>>(&mut self, buckets: &[u32], counts: &[N]) {
        let first = u32::try_from(self.first).unwrap_or(u32::MAX);
        let slots = self.slots.as_mut_slice();
        let (mut total, mut found) = (self.total, [0; BLOCK]);
        for (buckets, counts) in buckets.chunks(BLOCK).zip(counts.chunks(BLOCK)) {
            for (index, bucket) in found.iter_mut().zip(buckets) {
                *index = slot_by_exponent((*bucket).min(BUCKET_MAX_US)).wrapping_sub(first);
            }
            // A sum of 64 numbers below 2^57 cannot overflow.
            let (mut sum, mut bits) = (0_u64, 0_u64);
            for (index, count) in found.iter().zip(counts) {
                let count: u64 = (*count).into();
                if let Some(slot) = slots.get_mut(*index as usize) {
                    *slot = slot.saturating_add(count);
                }
                sum = sum.wrapping_add(count);
                bits |= count;
            }
            let is_small = bits.leading_zeros() > BLOCK.ilog2();
            total = total.saturating_add(if is_small { sum } else { saturating_sum(counts) });
        }
        self.total = total;
    }

    /// Adds all samples of another histogram. Nothing is lost by it.
    pub fn merge(&mut self, other: &Self) {
        if let Some(last) = other.slots.len().checked_sub(1) {
            self.reach(other.first, other.first + last);
            let offset = other.first - self.first;
            for (slot, count) in self.slots.iter_mut().skip(offset).zip(&other.slots) {
                *slot = slot.saturating_add(*count);
            }
            self.total = self.total.saturating_add(other.total);
        }
    }

    /// Makes room for the slots `low` to `high`. Room grows downwards by a third of an octave at
    /// a time, since low values come late and one by one.
    fn reach(&mut self, low: usize, high: usize) {
        if self.slots.is_empty() {
            self.first = low;
        } else if low < self.first {
            let from = low.saturating_sub(HALF as usize / 3);
            self.slots.splice(0..0, std::iter::repeat_n(0, self.first - from));
            self.first = from;
        }
        let len = high + 1 - self.first;
        if len > self.slots.len() {
            self.slots.resize(len, 0);
        }
    }

    /// Number of samples.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Nearest rank: the lowest bucket at which the samples so far reach `ceil(q * total)`, as its
    /// highest equivalent value. None without a sample. The comparison is one of doubles, so that
    /// plain SQL over the two lists gives the same.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<u32> {
        let target = target(q, self.total);
        let mut up_to = 0_u64;
        self.iter()
            .find(|(_, count)| {
                up_to += count;
                up_to as f64 >= target
            })
            .map(|(bucket, _)| bucket)
    }

    /// The non-empty buckets, ascending, with their samples.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u64)> {
        let filled = self.slots.iter().enumerate().filter(|(_, count)| **count > 0);
        filled.map(|(offset, count)| (slot_value(self.first + offset), *count))
    }

    /// Bytes held on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<u64>()
    }
}

/// The rank that a quantile needs, as SQL computes it: `ceil(q * total)` in doubles.
#[must_use]
pub fn target(q: f64, total: u64) -> f64 {
    (q * total as f64).ceil()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::Histogram;
    use proptest::prelude::*;

    fn reference() -> Histogram<u64> {
        Histogram::new_with_bounds(1, u64::from(RTT_MAX_US), 2).unwrap()
    }

    #[test]
    fn every_edge_of_every_bucket_is_where_hdrhistogram_has_it() {
        let reference = reference();
        for index in 0..SLOTS {
            let edge = slot_value(index);
            assert_eq!(index_of(edge), index, "slot {index}");
            for value in [edge.saturating_sub(1), edge, edge + 1] {
                assert_eq!(slot_by_exponent(value) as usize, slot(value), "{value} us");
                let value = value.min(RTT_MAX_US);
                let expected = reference.highest_equivalent(u64::from(value));
                assert_eq!(u64::from(highest_equivalent(value)), expected, "{value} us");
                assert_eq!(slot_value(index_of(value)), highest_equivalent(value), "{value} us");
                let lowest = reference.lowest_equivalent(u64::from(value));
                assert_eq!(u64::from(lowest_equivalent(value)), lowest, "{value} us");
            }
        }
        assert_eq!(slot_value(SLOTS - 1), BUCKET_MAX_US);
        assert_eq!(reference.highest_equivalent(u64::from(RTT_MAX_US)), u64::from(BUCKET_MAX_US));
    }

    #[test]
    fn a_value_above_the_range_counts_in_the_last_slot() {
        for value in [RTT_MAX_US, BUCKET_MAX_US, BUCKET_MAX_US + 1, u32::MAX] {
            assert_eq!((index_of(value), highest_equivalent(value)), (SLOTS - 1, BUCKET_MAX_US));
        }
        assert_eq!(slot_value(usize::MAX), BUCKET_MAX_US);
    }

    #[test]
    fn a_quantile_of_nothing_is_nothing() {
        let mut counts = Counts::default();
        counts.add(25_000, 0);
        assert_eq!((counts.total(), counts.quantile(0.5)), (0, None));
        assert_eq!(counts.iter().count(), 0);
        counts.merge(&Counts::default());
        assert_eq!(counts, Counts::default());
    }

    #[test]
    fn the_rank_is_the_whole_number_where_the_product_is_one() {
        for total in 1..=2_000_000_u64 {
            for (q, percent) in [(0.5, 50), (0.9, 90), (0.95, 95), (0.99, 99)] {
                let exact = (total * percent).div_ceil(100);
                assert_eq!(target(q, total), exact as f64, "{q} of {total}");
            }
        }
    }

    fn values() -> impl Strategy<Value = Vec<u32>> {
        let value = prop_oneof![1..300_u32, 10_000..60_000_u32, 1..=RTT_MAX_US];
        prop::collection::vec(value, 1..400)
    }

    proptest! {
        #[test]
        fn quantiles_are_those_of_hdrhistogram(values in values(), q in 0.0..=1.0_f64) {
            let (mut counts, mut reference) = (Counts::default(), reference());
            for value in &values {
                counts.add(*value, 1);
                reference.record(u64::from(*value)).unwrap();
            }
            for q in [q, 0.0, 0.5, 0.95, 0.99, 1.0] {
                // The crate keeps the exact maximum and the neighbour of a whole rank; we do not.
                let rank = target(q, counts.total()).max(1.0);
                let at_rank = reference.value_at_quantile((rank - 0.5) / values.len() as f64);
                let expected = reference.highest_equivalent(at_rank);
                prop_assert_eq!(counts.quantile(q).map(u64::from), Some(expected), "q {}", q);
            }
        }

        #[test]
        fn a_quantile_of_a_merged_histogram_is_within_0_8_percent_of_the_exact_nearest_rank(
            parts in prop::collection::vec(values(), 1..6),
            q in 0.0..=1.0_f64,
        ) {
            let mut merged = Counts::default();
            for part in &parts {
                let mut counts = Counts::default();
                part.iter().for_each(|value| counts.add(*value, 1));
                merged.merge(&counts);
            }
            let mut all: Vec<u32> = parts.concat();
            all.sort_unstable();
            prop_assert_eq!(merged.total(), all.len() as u64);
            let exact = all[(target(q, merged.total()) as usize).max(1) - 1];
            let found = merged.quantile(q).unwrap();
            prop_assert!(found >= exact, "{} of {}", found, exact);
            prop_assert!(f64::from(found - exact) <= 0.008 * f64::from(exact));
        }

        #[test]
        fn many_at_once_are_the_same_as_one_by_one(
            buckets in values(),
            seed in 1..u64::MAX,
            before in values(),
        ) {
            let counts: Vec<u64> = (1..).map(|i| seed.wrapping_mul(i) >> (seed % 50)).take(buckets.len()).collect();
            let (mut one_by_one, mut at_once) = (Counts::default(), Counts::default());
            at_once.add_all(&before, &vec![1_u32; before.len()]);
            before.iter().for_each(|bucket| one_by_one.add(*bucket, 1));
            at_once.add_all(&buckets, &counts);
            buckets.iter().zip(&counts).for_each(|(bucket, count)| one_by_one.add(*bucket, *count));
            prop_assert_eq!(at_once.total(), one_by_one.total());
            prop_assert_eq!(at_once.iter().collect::<Vec<_>>(), one_by_one.iter().collect::<Vec<_>>());
        }

        #[test]
        fn the_order_of_merging_does_not_matter(a in values(), b in values()) {
            let counts = |values: &[u32]| {
                let mut counts = Counts::default();
                values.iter().for_each(|value| counts.add(*value, 3));
                counts
            };
            let (mut ab, mut ba) = (counts(&a), counts(&b));
            ab.merge(&counts(&b));
            ba.merge(&counts(&a));
            prop_assert_eq!(ab.iter().collect::<Vec<_>>(), ba.iter().collect::<Vec<_>>());
            prop_assert_eq!(ab.iter().collect::<Vec<_>>(), counts(&[a, b].concat()).iter().collect::<Vec<_>>());
        }
    }
}
