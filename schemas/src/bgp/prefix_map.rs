//! A map from prefixes to values that answers longest match, covering and covered.
//!
//! Built once, read many times, replaced whole. The prefixes lie sorted; a prefix stands before all
//! it covers, so the nesting is a tree in preorder: each entry knows its parent, a covered range is
//! contiguous, and a search ends in one climb. No allocation on a lookup. Most lookups are for
//! prefixes of others: a [`PrefixFilter`] answers those with one bit.

use std::net::IpAddr;

use super::Prefix;
use super::prefix_filter::PrefixFilter;

/// Values by prefix, nested.
#[derive(Clone, Debug)]
pub struct PrefixMap<T> {
    entries: Vec<Entry<T>>,
    filter: PrefixFilter,
}

#[derive(Clone, Debug)]
struct Entry<T> {
    prefix: Prefix,
    parent: Option<u32>,
    value: T,
}

impl<T> Default for PrefixMap<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), filter: PrefixFilter::default() }
    }
}

impl<T> FromIterator<(Prefix, T)> for PrefixMap<T> {
    /// Of equal prefixes the last one given stays.
    fn from_iter<I: IntoIterator<Item = (Prefix, T)>>(pairs: I) -> Self {
        let mut pairs: Vec<(Prefix, T)> = pairs.into_iter().collect();
        pairs.sort_by_key(|(prefix, _)| *prefix);
        let mut entries: Vec<Entry<T>> = Vec::with_capacity(pairs.len());
        let mut nest: Vec<(u32, Prefix)> = Vec::new();
        for (prefix, value) in pairs {
            if let Some(last) = entries.last_mut().filter(|last| last.prefix == prefix) {
                last.value = value;
                continue;
            }
            while nest.last().is_some_and(|(_, outer)| !outer.covers(&prefix)) {
                nest.pop();
            }
            let parent = nest.last().map(|(index, _)| *index);
            nest.push((u32::try_from(entries.len()).unwrap_or(u32::MAX), prefix));
            entries.push(Entry { prefix, parent, value });
        }
        let filter = entries.iter().map(|entry| entry.prefix).collect();
        Self { entries, filter }
    }
}

impl<T> PrefixMap<T> {
    /// How many prefixes it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// False if no prefix in it covers `prefix` or lies inside it. If true, one may.
    #[inline]
    #[must_use]
    pub fn may_touch(&self, prefix: &Prefix) -> bool {
        self.filter.may_touch(prefix)
    }

    /// All prefixes with their values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Prefix, &T)> {
        self.entries.iter().map(|entry| (entry.prefix, &entry.value))
    }

    /// The value of exactly this prefix.
    #[must_use]
    pub fn get(&self, prefix: &Prefix) -> Option<&T> {
        let index = self.entries.binary_search_by_key(prefix, |entry| entry.prefix).ok()?;
        self.entries.get(index).map(|entry| &entry.value)
    }

    /// The prefixes that cover `prefix`, itself among them, the longest first.
    pub fn covering(&self, prefix: &Prefix) -> impl Iterator<Item = (Prefix, &T)> + use<'_, T> {
        let target = *prefix;
        let after = self.entries.partition_point(|entry| entry.prefix <= target);
        let mut next = after.checked_sub(1);
        std::iter::from_fn(move || {
            let entry = self.entries.get(next?)?;
            next = entry.parent.map(|parent| parent as usize);
            Some(entry)
        })
        .filter(move |entry| entry.prefix.covers(&target))
        .map(|entry| (entry.prefix, &entry.value))
    }

    /// The prefixes that lie inside `prefix` and differ from it, in order.
    pub fn covered(&self, prefix: &Prefix) -> impl Iterator<Item = (Prefix, &T)> + use<'_, T> {
        let outer = *prefix;
        let start = self.entries.partition_point(|entry| entry.prefix <= outer);
        self.entries
            .iter()
            .skip(start)
            .take_while(move |entry| outer.covers(&entry.prefix))
            .map(|entry| (entry.prefix, &entry.value))
    }

    /// The longest prefix that holds the address.
    #[must_use]
    pub fn longest_match(&self, address: IpAddr) -> Option<(Prefix, &T)> {
        self.covering(&Prefix::of(address, u8::MAX)).next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn short_prefix() -> impl Strategy<Value = Prefix> {
        (any::<bool>(), 0u8..4, 0u8..16, 0u8..=24).prop_map(|(v4, high, low, length)| {
            if v4 {
                Prefix::v4([high, low << 4, low, 0], length)
            } else {
                let mut octets = [0; 16];
                octets[0] = high;
                octets[1] = low << 4;
                Prefix::v6(octets, length)
            }
        })
    }

    proptest! {
        #[test]
        fn answers_are_those_of_a_search_through_all(
            prefixes in prop::collection::vec(short_prefix(), 0..60),
            asked in prop::collection::vec(short_prefix(), 1..20),
        ) {
            let map: PrefixMap<usize> = prefixes.iter().copied().zip(0..).collect();
            let mut all = prefixes.clone();
            all.sort();
            all.dedup();
            for prefix in asked {
                let mut covering: Vec<_> = all.iter().filter(|p| p.covers(&prefix)).copied().collect();
                covering.reverse();
                let covered: Vec<_> =
                    all.iter().filter(|p| prefix.covers(p) && **p != prefix).copied().collect();
                prop_assert_eq!(map.covering(&prefix).map(|(p, _)| p).collect::<Vec<_>>(), covering);
                prop_assert_eq!(map.covered(&prefix).map(|(p, _)| p).collect::<Vec<_>>(), covered);
                prop_assert_eq!(map.get(&prefix).is_some(), all.contains(&prefix));
                let touches = all.iter().any(|p| p.covers(&prefix) || prefix.covers(p));
                prop_assert!(map.may_touch(&prefix) || !touches);
            }
        }
    }

    #[test]
    fn of_equal_prefixes_the_last_value_stays() {
        let prefix: Prefix = "192.0.2.0/24".parse().unwrap();
        let map: PrefixMap<u8> = [(prefix, 1), (prefix, 2)].into_iter().collect();
        assert_eq!((map.len(), map.get(&prefix)), (1, Some(&2)));
        assert!(map.longest_match("198.51.100.1".parse().unwrap()).is_none());
    }
}
