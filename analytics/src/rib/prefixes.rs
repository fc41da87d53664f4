//! The prefix table: a prefix in, a dense id out, as long as somebody holds a route for it.
//!
//! One table a family, so that an IPv4 prefix costs 8 bytes and its place in the index 5 to 6. The
//! index is one open-addressed array of ids: the upper byte of a slot is a tag of the hash, so that
//! a probe that leads elsewhere seldom looks at the prefix. Ids of prefixes that nobody holds any
//! more are given away again.

use std::hash::BuildHasher;

use hashbrown::DefaultHashBuilder;
use schemas::bgp::Prefix;
use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};

use crate::state::raw::{Raw, Word};

/// Dense number of a prefix within its family.
pub(super) type PrefixId = u32;

/// Prefixes of a family at most: what 24 bits of a slot number, without the empty slot's.
pub(super) const PREFIXES_MAX: usize = (1 << ID_BITS) - 1;

const ID_BITS: u32 = 24;
const ID_MASK: u32 = (1 << ID_BITS) - 1;
const EMPTY: u32 = u32::MAX;
/// Prefixes that are fetched at once when the index grows.
const HASHED_AT_ONCE: usize = 32;
/// Odd and without a pattern: 2^64 over the golden ratio.
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

/// Mixes a number into 64 bits that all depend on all of it.
pub(super) const fn mixed(value: u64) -> u64 {
    let product = value as u128 * MIX as u128;
    (product >> 64) as u64 ^ product as u64
}

/// First address of a prefix, in as many bytes as its family needs.
pub(super) trait Address: Copy + Eq {
    /// Of a prefix of this family.
    fn of(prefix: &Prefix) -> Self;
    /// The prefix again.
    fn prefix(self, length: u8) -> Prefix;
    /// A hash of address and length.
    fn hash(self, length: u8, seed: u64) -> u64;
}

impl Address for u32 {
    fn of(prefix: &Prefix) -> Self {
        (prefix.first() & u128::from(Self::MAX)) as Self
    }

    fn prefix(self, length: u8) -> Prefix {
        Prefix::v4(self.to_be_bytes(), length)
    }

    fn hash(self, length: u8, seed: u64) -> u64 {
        mixed((u64::from(self) << 8 | u64::from(length)) ^ seed)
    }
}

impl Address for [u8; 16] {
    fn of(prefix: &Prefix) -> Self {
        prefix.first_octets()
    }

    fn prefix(self, length: u8) -> Prefix {
        Prefix::v6(self, length)
    }

    fn hash(self, length: u8, seed: u64) -> u64 {
        let bits = u128::from_be_bytes(self);
        let high = mixed((bits >> 64) as u64 ^ seed);
        mixed(high ^ bits as u64).wrapping_add(mixed(high ^ u64::from(length)))
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry<A> {
    first: A,
    length: u8,
    /// Routes that are held for it; 0: the id is free; the largest number stays what it is.
    holders: u16,
}

/// The prefixes of one family.
#[derive(Debug)]
pub(super) struct PrefixTable<A> {
    entries: Vec<Entry<A>>,
    slots: Vec<u32>,
    free: Vec<PrefixId>,
    /// Nobody who chooses prefixes knows which of them meet in a slot.
    seed: u64,
}

impl<A> Default for PrefixTable<A> {
    fn default() -> Self {
        let seed = DefaultHashBuilder::default().hash_one(MIX);
        Self { entries: Vec::new(), slots: Vec::new(), free: Vec::new(), seed }
    }
}

impl<A: Address> PrefixTable<A> {
    /// How many prefixes somebody holds.
    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// All ids are below this.
    pub(super) fn ids(&self) -> usize {
        self.entries.len()
    }

    /// Bytes that it occupies.
    pub(super) fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry<A>>()
            + (self.slots.capacity() + self.free.capacity()) * size_of::<u32>()
    }

    /// The id of a prefix, if somebody holds it.
    pub(super) fn find(&self, prefix: &Prefix) -> Option<PrefixId> {
        let (first, length) = (A::of(prefix), prefix.length());
        let hash = first.hash(length, self.seed);
        let mut place = self.home(hash);
        loop {
            let slot = *self.slots.get(place)?;
            if slot == EMPTY {
                return None;
            }
            if slot >> ID_BITS == tag(hash) {
                let id = slot & ID_MASK;
                let entry = self.entries.get(id as usize)?;
                if entry.first == first && entry.length == length {
                    return Some(id);
                }
            }
            place = self.next(place);
        }
    }

    /// An id for a prefix that has none. It must be held at once. None if all are taken.
    pub(super) fn insert(&mut self, prefix: &Prefix) -> Option<PrefixId> {
        if (self.len() + 1) * 5 > self.slots.len() * 4 {
            self.grow();
        }
        let entry = Entry { first: A::of(prefix), length: prefix.length(), holders: 0 };
        let id = match self.free.pop() {
            Some(id) => {
                *self.entries.get_mut(id as usize)? = entry;
                id
            }
            None => {
                let id = u32::try_from(self.entries.len()).ok();
                let id = id.filter(|id| (*id as usize) < PREFIXES_MAX)?;
                reserve_slowly(&mut self.entries);
                self.entries.push(entry);
                id
            }
        };
        self.place(id, entry.first.hash(entry.length, self.seed));
        Some(id)
    }

    /// One more route is held for it.
    pub(super) fn hold(&mut self, id: PrefixId) {
        if let Some(entry) = self.entries.get_mut(id as usize) {
            entry.holders = entry.holders.saturating_add(1);
        }
    }

    /// One route less is held for it; with the last one goes the id.
    pub(super) fn release(&mut self, id: PrefixId) {
        let Some(entry) = self.entries.get_mut(id as usize) else { return };
        if entry.holders < u16::MAX {
            entry.holders = entry.holders.saturating_sub(1);
        }
        if entry.holders == 0 {
            let hash = entry.first.hash(entry.length, self.seed);
            self.take_out(id, hash);
            self.free.push(id);
        }
    }

    /// The prefix of that id, if somebody holds it.
    pub(super) fn prefix(&self, id: PrefixId) -> Option<Prefix> {
        let entry = self.entries.get(id as usize).filter(|entry| entry.holders > 0)?;
        Some(entry.first.prefix(entry.length))
    }

    /// All prefixes that somebody holds, by id.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Prefix, PrefixId)> {
        let held = self.entries.iter().zip(0..).filter(|(entry, _)| entry.holders > 0);
        held.map(|(entry, id)| (entry.first.prefix(entry.length), id))
    }

    /// Where a search for this hash starts.
    fn home(&self, hash: u64) -> usize {
        (((hash >> 32) * self.slots.len() as u64) >> 32) as usize
    }

    fn next(&self, place: usize) -> usize {
        if place + 1 < self.slots.len() { place + 1 } else { 0 }
    }

    /// How far `to` lies after `from`.
    fn distance(&self, from: usize, to: usize) -> usize {
        if from <= to { to - from } else { to + self.slots.len() - from }
    }

    fn place(&mut self, id: PrefixId, hash: u64) {
        let mut place = self.home(hash);
        while self.slots.get(place).is_some_and(|slot| *slot != EMPTY) {
            place = self.next(place);
        }
        if let Some(slot) = self.slots.get_mut(place) {
            *slot = tag(hash) << ID_BITS | id;
        }
    }

    /// A third more, so that between 60 and 80 % of the slots are used. The new places come in nearly
    /// the order of the old ones, so that they are written one after the other; the prefixes lie all
    /// over, so that some are fetched at once.
    fn grow(&mut self) {
        let wanted = (self.slots.len() + self.slots.len() / 3).max(16);
        let old = std::mem::replace(&mut self.slots, vec![EMPTY; wanted]);
        let mut hashes = [0; HASHED_AT_ONCE];
        for slots in old.chunks(HASHED_AT_ONCE) {
            for (hash, slot) in hashes.iter_mut().zip(slots) {
                *hash = self.hash_of((slot & ID_MASK) as usize);
            }
            for (hash, slot) in hashes.iter().zip(slots).filter(|(_, slot)| **slot != EMPTY) {
                self.place(slot & ID_MASK, *hash);
            }
        }
    }

    /// Makes the index of all prefixes that somebody holds.
    fn index(&mut self) {
        while self.len() * 5 > self.slots.len() * 4 {
            self.grow();
        }
        for id in (0..).take(self.entries.len()) {
            if let Some(entry) = self.entries.get(id as usize).filter(|entry| entry.holders > 0) {
                self.place(id, entry.first.hash(entry.length, self.seed));
            }
        }
    }

    /// The hash of the prefix of that id; of an id that is none, any.
    fn hash_of(&self, id: usize) -> u64 {
        let last = self.entries.len().saturating_sub(1);
        let entry = self.entries.get(id.min(last));
        entry.map_or(0, |entry| entry.first.hash(entry.length, self.seed))
    }

    /// Empties the slot of an id and moves those behind it up, so that no search ends early.
    fn take_out(&mut self, id: PrefixId, hash: u64) {
        let mut hole = self.home(hash);
        while self.slots.get(hole).is_some_and(|slot| *slot & ID_MASK != id || *slot == EMPTY) {
            hole = self.next(hole);
        }
        let mut place = self.next(hole);
        while let Some(slot) = self.slots.get(place).copied().filter(|slot| *slot != EMPTY) {
            let Some(entry) = self.entries.get((slot & ID_MASK) as usize) else { break };
            let home = self.home(entry.first.hash(entry.length, self.seed));
            if self.distance(home, place) >= self.distance(hole, place) {
                if let Some(empty) = self.slots.get_mut(hole) {
                    *empty = slot;
                }
                hole = place;
            }
            place = self.next(place);
        }
        if let Some(empty) = self.slots.get_mut(hole) {
            *empty = EMPTY;
        }
    }
}

/// The prefixes by their ids, and the ids that are free. The index is made anew: its seed is not the
/// same twice.
impl<A: Address + Word> Serialize for PrefixTable<A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { entries, slots: _, free, seed: _ } = self;
        let firsts = Raw(entries.iter().map(|entry| entry.first).collect());
        let lengths = Raw(entries.iter().map(|entry| entry.length).collect());
        let holders = Raw(entries.iter().map(|entry| entry.holders).collect());
        (firsts, lengths, holders, Raw(free.clone())).serialize(serializer)
    }
}

impl<'de, A: Address + Word> Deserialize<'de> for PrefixTable<A> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        type Parts<A> = (Raw<A>, Raw<u8>, Raw<u16>, Raw<PrefixId>);
        let (Raw(firsts), Raw(lengths), Raw(holders), Raw(free)): Parts<A> =
            Deserialize::deserialize(deserializer)?;
        let fits = firsts.len() <= PREFIXES_MAX
            && firsts.len() == lengths.len()
            && firsts.len() == holders.len()
            && lengths.iter().all(|length| usize::from(*length) <= 8 * A::BYTES)
            && are_free(&free, holders.iter().map(|holders| *holders == 0));
        if !fits {
            return Err(D::Error::custom("ids of prefixes that are free and are not"));
        }
        let entries = firsts.into_iter().zip(lengths).zip(holders);
        let entries = entries.map(|((first, length), holders)| Entry { first, length, holders });
        let mut table = Self { entries: entries.collect(), free, ..Self::default() };
        table.index();
        Ok(table)
    }
}

/// Whether the ids that are listed as free are those that nothing has.
pub(super) fn are_free(free: &[u32], is_free: impl Iterator<Item = bool>) -> bool {
    let mut listed = free.to_vec();
    listed.sort_unstable();
    listed.into_iter().eq((0..).zip(is_free).filter(|(_, is_free)| *is_free).map(|(id, _)| id))
}

const fn tag(hash: u64) -> u32 {
    (hash & 0xff) as u32
}

/// Makes room for one more by a sixteenth: doubling would cost more than the values.
pub(super) fn reserve_slowly<T>(values: &mut Vec<T>) {
    if values.len() == values.capacity() {
        values.reserve_exact((values.len() / 16).max(16));
    }
}
