//! The attribute table: a set of path attributes in, its number out, the same for equal sets.
//!
//! Sets are counted by the routes that carry them; a number that none carries is given away again.

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashTable};
use schemas::bgp::{AsSegment, Asn, Community, PathAttributes};
use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};

use super::prefixes::are_free;
use crate::state::raw::Raw;

/// Number of an attribute set; below [`ATTRIBUTES_MAX`].
pub(super) type AttributeId = u32;

/// Sets at most: the upper bit of a number marks a stale route, all bits set that there is none.
pub(super) const ATTRIBUTES_MAX: usize = (1 << 31) - 1;

#[derive(Debug)]
struct Slot {
    set: Option<Arc<PathAttributes>>,
    routes: u32,
}

/// All attribute sets that routes carry.
#[derive(Debug, Default)]
pub(super) struct AttributeTable {
    slots: Vec<Slot>,
    free: Vec<AttributeId>,
    index: HashTable<AttributeId>,
    hasher: DefaultHashBuilder,
    /// The prefixes of an UPDATE share one set: it is hashed once.
    last: Option<(Arc<PathAttributes>, AttributeId)>,
    heap_bytes: usize,
}

impl AttributeTable {
    /// How many different sets there are.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Bytes that it occupies, the sets with it.
    pub(super) fn bytes(&self) -> usize {
        self.heap_bytes
            + self.slots.capacity() * size_of::<Slot>()
            + self.free.capacity() * size_of::<AttributeId>()
            + self.index.allocation_size()
    }

    /// The number of a set, for one more route. None if all are taken.
    pub(super) fn intern(&mut self, set: &Arc<PathAttributes>) -> Option<AttributeId> {
        let id = match &self.last {
            Some((last, id)) if Arc::ptr_eq(last, set) => *id,
            _ => self.find_or_insert(set)?,
        };
        let slot = self.slots.get_mut(id as usize)?;
        slot.routes = slot.routes.saturating_add(1);
        Some(id)
    }

    /// The set of that number.
    pub(super) fn get(&self, id: AttributeId) -> Option<&Arc<PathAttributes>> {
        self.slots.get(id as usize)?.set.as_ref()
    }

    /// One route carries it no more; its set.
    pub(super) fn release(&mut self, id: AttributeId) -> Option<Arc<PathAttributes>> {
        let slot = self.slots.get_mut(id as usize)?;
        if slot.routes < u32::MAX {
            slot.routes = slot.routes.saturating_sub(1);
        }
        if slot.routes > 0 {
            return slot.set.clone();
        }
        let set = slot.set.take()?;
        if let Ok(entry) = self.index.find_entry(self.hasher.hash_one(&*set), |held| *held == id) {
            entry.remove();
        }
        self.last = self.last.take().filter(|(_, last)| *last != id);
        self.heap_bytes -= heap_bytes(&set);
        self.free.push(id);
        Some(set)
    }

    fn find_or_insert(&mut self, set: &Arc<PathAttributes>) -> Option<AttributeId> {
        let Self { slots, free, index, hasher, last, heap_bytes: bytes } = self;
        let hash = hasher.hash_one(&**set);
        let is_equal = |id: &AttributeId| {
            slots.get(*id as usize).and_then(|slot| slot.set.as_deref()) == Some(&**set)
        };
        let id = match index.find(hash, is_equal).copied() {
            Some(id) => id,
            None => {
                let slot = Slot { set: Some(Arc::clone(set)), routes: 0 };
                let id = match free.pop() {
                    Some(id) => {
                        *slots.get_mut(id as usize)? = slot;
                        id
                    }
                    None => {
                        let id = u32::try_from(slots.len()).ok();
                        let id = id.filter(|id| (*id as usize) < ATTRIBUTES_MAX)?;
                        slots.push(slot);
                        id
                    }
                };
                index.insert_unique(hash, id, |id| {
                    let set = slots.get(*id as usize).and_then(|slot| slot.set.as_deref());
                    set.map_or(0, |set| hasher.hash_one(set))
                });
                *bytes += heap_bytes(set);
                id
            }
        };
        *last = Some((Arc::clone(set), id));
        Some(id)
    }
}

/// The sets by their numbers, how many routes carry each, and the numbers that are free.
impl Serialize for AttributeTable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Sets<'a>(&'a [Slot]);

        impl Serialize for Sets<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_seq(self.0.iter().map(|slot| &slot.set))
            }
        }

        let Self { slots, free, index: _, hasher: _, last: _, heap_bytes: _ } = self;
        let routes = Raw(slots.iter().map(|slot| slot.routes).collect());
        (Sets(slots), routes, Raw(free.clone())).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for AttributeTable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        type Sets = Vec<Option<Arc<PathAttributes>>>;
        let (sets, Raw(routes), Raw(free)): (Sets, Raw<u32>, _) =
            Deserialize::deserialize(deserializer)?;
        let fits = sets.len() <= ATTRIBUTES_MAX
            && sets.len() == routes.len()
            && are_free(&free, sets.iter().map(Option::is_none));
        if !fits {
            return Err(D::Error::custom("numbers of attribute sets that are free and are not"));
        }
        let heap = sets.iter().flatten().map(|set| heap_bytes(set)).sum();
        let hasher = DefaultHashBuilder::default();
        let hash = |id: &AttributeId| {
            let set = sets.get(*id as usize).and_then(Option::as_deref);
            set.map_or(0, |set| hasher.hash_one(set))
        };
        let mut index = HashTable::with_capacity(sets.len() - free.len());
        for (id, _) in (0..).zip(&sets).filter(|(_, set)| set.is_some()) {
            index.insert_unique(hash(&id), id, hash);
        }
        let slots = sets.into_iter().zip(routes).map(|(set, routes)| Slot { set, routes });
        Ok(Self { slots: slots.collect(), free, index, hasher, last: None, heap_bytes: heap })
    }
}

/// Bytes of a set and of what it points at, without the allocator's.
fn heap_bytes(set: &PathAttributes) -> usize {
    let segments = &set.as_path.segments;
    let asns: usize = segments.iter().map(|segment| segment.asns.capacity()).sum();
    let unknown: usize = set.unknown.iter().map(|(_, _, value)| value.capacity()).sum();
    // An Arc keeps two counts before its value.
    2 * size_of::<usize>()
        + size_of::<PathAttributes>()
        + segments.capacity() * size_of::<AsSegment>()
        + asns * size_of::<Asn>()
        + set.communities.capacity() * size_of::<Community>()
        + set.cluster_list.capacity() * size_of::<u32>()
        + set.unknown.capacity() * size_of::<(u8, u8, Vec<u8>)>()
        + unknown
}
