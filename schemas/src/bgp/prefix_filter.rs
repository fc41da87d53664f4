//! A filter of prefixes: says no to most that neither cover nor lie in any of a set, by one bit.
//!
//! IPv4 prefixes fall into slots by their first bits, IPv6 prefixes by a hash of their first 32.
//! A slot is marked if a prefix of the set has addresses in it. A prefix that is shorter than a slot
//! may touch anything.

use super::{Family, Prefix};

/// Bits of a slot's number: at least, at most, and beyond the bits of the size of the set, so that
/// about one slot in 64 is marked. At most 32 KiB a family.
const SLOT_BITS_MIN: u32 = 12;
const SLOT_BITS_MAX: u32 = 18;
const SPARE_BITS: u32 = 6;
/// First bits of an IPv6 address that count: who has one such block has what is in it.
const IPV6_BITS: u32 = 32;
/// Slots that a short IPv6 prefix marks one by one; a shorter one marks all.
const IPV6_SLOTS_MAX: u64 = 4_096;
/// An odd number without pattern (the golden ratio), to spread IPv6 blocks over slots.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// The filter of one set.
#[derive(Clone, Debug, Default)]
pub(super) struct PrefixFilter {
    slot_bits: u32,
    ipv4: Vec<u64>,
    ipv6: Vec<u64>,
}

impl FromIterator<Prefix> for PrefixFilter {
    fn from_iter<I: IntoIterator<Item = Prefix>>(prefixes: I) -> Self {
        let prefixes: Vec<Prefix> = prefixes.into_iter().collect();
        let slot_bits = (prefixes.len().checked_ilog2().unwrap_or(0) + SPARE_BITS)
            .clamp(SLOT_BITS_MIN, SLOT_BITS_MAX);
        let words = 1 << (slot_bits - u64::BITS.ilog2());
        let mut filter = Self { slot_bits, ..Self::default() };
        for prefix in prefixes {
            let slots = match prefix.family() {
                Family::Ipv4 => &mut filter.ipv4,
                Family::Ipv6 => &mut filter.ipv6,
            };
            slots.resize(words, 0);
            let (first, last) = (
                block_of(&prefix, prefix.first(), slot_bits),
                block_of(&prefix, prefix.last(), slot_bits),
            );
            if prefix.family() == Family::Ipv6 && last - first >= IPV6_SLOTS_MAX {
                slots.fill(u64::MAX);
                continue;
            }
            for block in first..=last {
                let slot = slot_of(&prefix, block, slot_bits);
                if let Some(word) = slots.get_mut(slot >> 6) {
                    *word |= 1 << (slot & 63);
                }
            }
        }
        filter
    }
}

impl PrefixFilter {
    /// False if no prefix of the set covers `prefix` or lies inside it.
    #[inline]
    pub(super) fn may_touch(&self, prefix: &Prefix) -> bool {
        let (slots, bits) = match prefix.family() {
            Family::Ipv4 => (&self.ipv4, self.slot_bits),
            Family::Ipv6 => (&self.ipv6, IPV6_BITS),
        };
        if u32::from(prefix.length()) < bits {
            return !slots.is_empty();
        }
        let slot =
            slot_of(prefix, block_of(prefix, prefix.first(), self.slot_bits), self.slot_bits);
        slots.get(slot >> 6).is_some_and(|word| word >> (slot & 63) & 1 == 1)
    }
}

/// The number of the block that an address of the family of `prefix` lies in.
#[inline]
fn block_of(prefix: &Prefix, address: u128, slot_bits: u32) -> u64 {
    match prefix.family() {
        Family::Ipv4 => u64::from(address as u32 >> (32 - slot_bits)),
        Family::Ipv6 => (address >> (128 - IPV6_BITS)) as u64,
    }
}

/// The slot of a block.
#[inline]
fn slot_of(prefix: &Prefix, block: u64, slot_bits: u32) -> usize {
    let slot = match prefix.family() {
        Family::Ipv4 => block,
        Family::Ipv6 => block.wrapping_mul(SPREAD) >> (64 - slot_bits),
    };
    usize::try_from(slot).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(texts: &[&str]) -> PrefixFilter {
        texts.iter().map(|text| text.parse::<Prefix>().unwrap()).collect()
    }

    #[test]
    fn others_are_told_apart_by_their_first_bits() {
        let filter = filter(&["192.0.2.0/24", "2001:db8:1::/48"]);
        let asked = |text: &str| filter.may_touch(&text.parse().unwrap());
        assert!(asked("192.0.2.128/25") && asked("192.0.2.0/24") && asked("192.0.0.0/16"));
        assert!(asked("0.0.0.0/0") && asked("2001:db8:1:2::/64") && asked("2000::/3"));
        assert!(!asked("198.51.100.0/24") && !asked("203.0.113.0/24") && !asked("2001:db9::/48"));
    }

    #[test]
    fn what_covers_much_marks_much_and_nothing_marks_nothing() {
        let all = filter(&["0.0.0.0/0", "::/0"]);
        let none = filter(&[]);
        for text in ["192.0.2.0/24", "2001:db8::/32", "0.0.0.0/0", "::/0"] {
            let prefix = text.parse().unwrap();
            assert!(all.may_touch(&prefix) && !none.may_touch(&prefix), "{text}");
        }
        assert!(filter(&["2001:db8::/29"]).may_touch(&"2001:dbf:1::/48".parse().unwrap()));
    }
}
