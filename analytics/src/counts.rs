//! Counts: how often each thing is there. What is there no more is forgotten.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Things by how often they are there.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound(deserialize = "K: Deserialize<'de> + Ord"))]
pub(crate) struct Counts<K>(BTreeMap<K, u32>);

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Copy + Ord> Counts<K> {
    /// It is there once more.
    pub(crate) fn add(&mut self, thing: K) {
        *self.0.entry(thing).or_default() += 1;
    }

    /// It is there once less.
    pub(crate) fn remove(&mut self, thing: K) {
        if let Some(count) = self.0.get_mut(&thing) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.0.remove(&thing);
            }
        }
    }

    /// How many different things there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, u32)> {
        self.0.iter().map(|(thing, count)| (*thing, *count))
    }

    /// Nothing is there.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_no_more_is_forgotten() {
        let mut counts = Counts::default();
        counts.add('a');
        counts.add('a');
        counts.add('b');
        counts.remove('b');
        counts.remove('c');
        assert!(counts.iter().eq([('a', 2)]));
        counts.remove('a');
        assert_eq!((counts.len(), counts.is_empty()), (1, false));
        counts.clear();
        assert!(counts.is_empty());
    }
}
