//! Attribute sets: the bytes of a block in, a small number and the decoded set out, each set once.
//!
//! Most UPDATEs repeat attributes that were sent before (real ones 6 to 8 times), so a block is
//! looked up by its bytes and decoded only on first sight. The table is bounded: a full one starts
//! over, and what batches hold of it stays.

use std::hash::BuildHasher as _;
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashTable};
use schemas::bgp::PathAttributes;

use crate::decode::bgp::{AsnWidth, Attributes};

/// Sets at most.
const SETS_MAX: usize = 1 << 20;
/// Bytes of their keys at most.
const KEY_BYTES_MAX: usize = 256 << 20;

/// Sets by their bytes.
#[derive(Debug, Default)]
pub struct AttributeTable {
    hasher: DefaultHashBuilder,
    ids: HashTable<u32>,
    sets: Vec<Set>,
    keys: Vec<u8>,
    scratch: Vec<u8>,
    /// Counts how often it started over: an id counts within one generation.
    pub generation: u32,
}

#[derive(Debug)]
struct Set {
    hash: u64,
    key_end: usize,
    key_bytes: u32,
    width: AsnWidth,
    /// Whether the path is stripped, whether the next hop of `MP_REACH_NLRI` counts.
    reading: (bool, bool),
    decoded: Arc<PathAttributes>,
}

impl AttributeTable {
    /// The number of a set, within a generation.
    #[inline]
    pub fn intern(&mut self, attributes: &Attributes<'_>) -> u32 {
        let key = attributes.key(&mut self.scratch);
        let width = attributes.width();
        let reading = (attributes.is_stripped(), attributes.takes_mp_hop());
        let hash = self.hasher.hash_one((key, width == AsnWidth::Four, reading));
        let (sets, keys) = (&self.sets, &self.keys);
        let is_same = |id: &u32| {
            sets.get(*id as usize).is_some_and(|set| {
                set.hash == hash
                    && set.width == width
                    && set.reading == reading
                    && set.key(keys) == Some(key)
            })
        };
        match self.ids.find(hash, is_same) {
            Some(id) => *id,
            None => self.insert(attributes, hash),
        }
    }

    #[cold]
    fn insert(&mut self, attributes: &Attributes<'_>, hash: u64) -> u32 {
        let mut scratch = std::mem::take(&mut self.scratch);
        let key = attributes.key(&mut scratch);
        if self.sets.len() >= SETS_MAX || self.keys.len() + key.len() > KEY_BYTES_MAX {
            self.ids.clear();
            self.sets.clear();
            self.keys.clear();
            self.generation += 1;
        }
        let id = u32::try_from(self.sets.len()).unwrap_or(u32::MAX);
        self.keys.extend_from_slice(key);
        self.sets.push(Set {
            hash,
            key_end: self.keys.len(),
            key_bytes: u32::try_from(key.len()).unwrap_or(u32::MAX),
            width: attributes.width(),
            reading: (attributes.is_stripped(), attributes.takes_mp_hop()),
            decoded: Arc::new(attributes.decode()),
        });
        let sets = &self.sets;
        self.ids.insert_unique(hash, id, |id| sets.get(*id as usize).map_or(0, |set| set.hash));
        self.scratch = scratch;
        id
    }

    /// The decoded set of a number of this generation.
    #[inline]
    #[must_use]
    pub fn get(&self, id: u32) -> Option<&Arc<PathAttributes>> {
        self.sets.get(id as usize).map(|set| &set.decoded)
    }

    /// How many sets it holds.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.sets.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }
}

impl Set {
    #[inline]
    fn key<'k>(&self, keys: &'k [u8]) -> Option<&'k [u8]> {
        keys.get(self.key_end - self.key_bytes as usize..self.key_end)
    }
}
