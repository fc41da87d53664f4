//! A table from addresses to the value of the longest prefix that holds them, at the speed of memory.
//!
//! Built once, read many times, replaced whole: it answers addresses only, of which samples are many.
//! IPv4 is DIR-24-8 (Gupta, Lin, McKeown, "Routing Lookups in Hardware at Memory Access Speeds",
//! INFOCOM 1998): one word for each /24, and a block of 256 for those /24 that longer prefixes divide.
//! IPv6 is cut into spans without overlap, found by a search that the first 16 bits begin. The IPv4
//! words are 64 MiB of address space, of which the system gives what is touched.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Family, Prefix};

/// Set in a word that names a block instead of a value.
const BLOCK: u32 = 1 << 31;
/// Words of a block.
const BLOCK_WORDS: usize = 256;
/// IPv4 words.
const WORDS: usize = 1 << 24;
/// Values at most: one bit says "block", and zero "none".
const VALUE_MAX: u32 = BLOCK - 2;

/// Values by address.
#[derive(Clone, Debug, Default)]
pub struct AddressTable {
    /// By the first 24 bits: value + 1, or a block; empty without an IPv4 prefix.
    words: Vec<u32>,
    blocks: Vec<u32>,
    /// First address of each IPv6 span, ascending, and its value + 1 (0 for none).
    span_first: Vec<u128>,
    span_value: Vec<u32>,
    /// By the first 16 bits of an IPv6 address: how many spans begin before them; one more at the end.
    span_index: Vec<u32>,
}

impl FromIterator<(Prefix, u32)> for AddressTable {
    /// Of equal prefixes the last one given counts. Values above 2^31 - 3 are left out.
    fn from_iter<I: IntoIterator<Item = (Prefix, u32)>>(pairs: I) -> Self {
        let pairs = pairs.into_iter().filter(|(_, value)| *value <= VALUE_MAX);
        let (mut v4, mut v6): (Vec<_>, Vec<_>) =
            pairs.partition(|(prefix, _)| prefix.family() == Family::Ipv4);
        let mut table = Self::default();
        // Stable: the last of equal ones is written last. Longer ones are written over shorter ones.
        v4.sort_by_key(|(prefix, _)| prefix.length());
        if !v4.is_empty() {
            table.words = vec![0; WORDS];
        }
        for (prefix, value) in v4 {
            table.put_v4(&prefix, value + 1);
        }
        v6.sort_by_key(|(prefix, _)| *prefix);
        table.put_v6(&v6);
        table
    }
}

impl AddressTable {
    /// The value of the longest prefix that holds the address. An IPv4-mapped address is IPv4.
    #[inline]
    #[must_use]
    pub fn get(&self, address: IpAddr) -> Option<u32> {
        match address {
            IpAddr::V4(address) => self.get_v4(address),
            IpAddr::V6(address) => match address.to_ipv4_mapped() {
                Some(address) => self.get_v4(address),
                None => self.get_v6(address),
            },
        }
    }

    /// The value of the longest IPv4 prefix that holds the address.
    #[inline]
    #[must_use]
    pub fn get_v4(&self, address: Ipv4Addr) -> Option<u32> {
        let bits = address.to_bits();
        let word = *self.words.get((bits >> 8) as usize)?;
        let word = match word & BLOCK {
            0 => word,
            _ => {
                let base = (word ^ BLOCK) as usize * BLOCK_WORDS;
                *self.blocks.get(base + (bits & 0xff) as usize)?
            }
        };
        word.checked_sub(1)
    }

    fn get_v6(&self, address: Ipv6Addr) -> Option<u32> {
        let bits = address.to_bits();
        let high = usize::try_from(bits >> 112).ok()?;
        // The span that holds it begins at the last first address that is not above it.
        let low = *self.span_index.get(high)? as usize;
        let end = *self.span_index.get(high + 1)? as usize;
        let inside = self.span_first.get(low..end)?.partition_point(|first| *first <= bits);
        self.span_value.get((low + inside).checked_sub(1)?)?.checked_sub(1)
    }

    /// Bytes it holds, those of IPv4 counted whole.
    #[must_use]
    pub fn bytes(&self) -> usize {
        (self.words.len() + self.blocks.len() + self.span_value.len() + self.span_index.len()) * 4
            + self.span_first.len() * 16
    }

    fn put_v4(&mut self, prefix: &Prefix, value: u32) {
        let IpAddr::V4(address) = prefix.address() else { return };
        let bits = address.to_bits();
        let first = (bits >> 8) as usize;
        if let Some(shorter) = 24_u8.checked_sub(prefix.length()) {
            let words = self.words.get_mut(first..first + (1 << shorter));
            words.unwrap_or_default().fill(value);
            return;
        }
        let Some(word) = self.words.get_mut(first) else { return };
        if *word & BLOCK == 0 {
            let block = u32::try_from(self.blocks.len() / BLOCK_WORDS).unwrap_or(VALUE_MAX);
            self.blocks.resize(self.blocks.len() + BLOCK_WORDS, *word);
            *word = block | BLOCK;
        }
        let start = (*word ^ BLOCK) as usize * BLOCK_WORDS + (bits & 0xff) as usize;
        let slots = 1_usize << (32 - prefix.length().min(32));
        self.blocks.get_mut(start..start + slots).unwrap_or_default().fill(value);
    }

    /// Cuts sorted prefixes (a prefix stands before all it covers) into spans.
    fn put_v6(&mut self, sorted: &[(Prefix, u32)]) {
        let mut nest: Vec<(u128, u32)> = Vec::new();
        for (prefix, value) in sorted {
            let (first, last) = (prefix.first(), prefix.last());
            self.close_spans(&mut nest, Some(first));
            self.span(first, value + 1);
            nest.push((last, value + 1));
        }
        self.close_spans(&mut nest, None);
        if self.span_first.is_empty() {
            return;
        }
        self.span_index = (0..=1_u32 << 16)
            .map(|high| match u128::from(high).checked_shl(112).filter(|_| high < 1 << 16) {
                Some(least) => self.span_first.partition_point(|first| *first < least),
                None => self.span_first.len(),
            })
            .map(|spans| u32::try_from(spans).unwrap_or(u32::MAX))
            .collect();
    }

    /// Ends the spans of the prefixes that end before an address: what is around them goes on.
    fn close_spans(&mut self, nest: &mut Vec<(u128, u32)>, before: Option<u128>) {
        while let Some((last, _)) = nest.last().copied() {
            if before.is_some_and(|before| last >= before) {
                return;
            }
            nest.pop();
            if let Some(next) = last.checked_add(1) {
                self.span(next, nest.last().map_or(0, |(_, value)| *value));
            }
        }
    }

    fn span(&mut self, first: u128, value: u32) {
        if self.span_first.last() == Some(&first) {
            self.span_first.pop();
            self.span_value.pop();
        }
        self.span_first.push(first);
        self.span_value.push(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bgp::PrefixMap;
    use proptest::prelude::*;

    fn prefix() -> impl Strategy<Value = Prefix> {
        // Few high bits, so that prefixes nest and touch.
        let v4 = (0..4_u32, any::<u32>(), 0..=32_u8).prop_map(|(high, low, length)| {
            Prefix::v4((high << 30 | low >> 7).to_be_bytes(), length)
        });
        let v6 = (0..4_u128, any::<u128>(), 0..=128_u8).prop_map(|(high, low, length)| {
            Prefix::v6((high << 120 | low >> 9).to_be_bytes(), length)
        });
        prop_oneof![v4, v6]
    }

    proptest! {
        #[test]
        fn it_answers_what_the_map_answers(
            prefixes in prop::collection::vec(prefix(), 0..60),
            strangers in prop::collection::vec(any::<u128>(), 0..20),
        ) {
            let pairs = || prefixes.iter().copied().zip(0_u32..);
            let (table, map): (AddressTable, PrefixMap<u32>) = (pairs().collect(), pairs().collect());
            let around = prefixes.iter().flat_map(|prefix| {
                let (first, last) = (prefix.address(), last_address(prefix));
                [first, last, next(last), before(first)]
            });
            let strangers = strangers.iter().flat_map(|bits| {
                let v4 = Ipv4Addr::from_bits(*bits as u32);
                [IpAddr::V6(Ipv6Addr::from_bits(*bits)), IpAddr::V4(v4)]
            });
            for address in around.chain(strangers) {
                let canonical = address.to_canonical();
                let wanted = map.longest_match(canonical).map(|(_, value)| *value);
                prop_assert_eq!(table.get(address), wanted, "{}", address);
            }
        }
    }

    fn last_address(prefix: &Prefix) -> IpAddr {
        match prefix.family() {
            Family::Ipv4 => Ipv4Addr::from_bits(prefix.last() as u32).into(),
            Family::Ipv6 => Ipv6Addr::from_bits(prefix.last()).into(),
        }
    }

    fn next(address: IpAddr) -> IpAddr {
        match address {
            IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits().wrapping_add(1)).into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits().wrapping_add(1)).into(),
        }
    }

    fn before(address: IpAddr) -> IpAddr {
        match address {
            IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits().wrapping_sub(1)).into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits().wrapping_sub(1)).into(),
        }
    }

    #[test]
    fn an_empty_table_knows_nobody() {
        let table = AddressTable::default();
        assert_eq!(table.get("192.0.2.1".parse().unwrap()), None);
        assert_eq!(table.get("2001:db8::1".parse().unwrap()), None);
        assert_eq!(table.bytes(), 0);
    }

    #[test]
    fn a_mapped_address_is_ipv4() {
        let table: AddressTable = [("192.0.2.0/24".parse().unwrap(), 7)].into_iter().collect();
        assert_eq!(table.get("::ffff:192.0.2.1".parse().unwrap()), Some(7));
    }
}
