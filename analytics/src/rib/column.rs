//! The routes of one peer and family: prefix ids in, attribute numbers out.
//!
//! A peer that holds a good part of all prefixes has a column, four bytes for each id. One that
//! holds few has a map. Routes with a path identifier (RFC 7911) lie beside both. The upper bit of
//! a number says that the route is stale.

use hashbrown::HashTable;
use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

use super::attributes::AttributeId;
use super::prefixes::{PrefixId, mixed};
use crate::state::raw::Raw;

/// No route.
const NONE: u32 = u32::MAX;
/// The route waits for a refresh (RFC 4724 §4.2).
const STALE: u32 = 1 << 31;
/// A map becomes a column when it holds this share of all ids: one in ...
const DENSE_FROM: usize = 4;
/// A column becomes a map when it holds less than this share of its length: one in ...
const SPARSE_BELOW: usize = 8;

/// A route as it lies here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Held {
    /// Its prefix.
    pub(super) prefix: PrefixId,
    /// Its path identifier.
    pub(super) path_id: Option<u32>,
    /// Its attributes.
    pub(super) attributes: AttributeId,
    /// Whether it waits for a refresh.
    pub(super) is_stale: bool,
}

impl Held {
    const fn of(prefix: PrefixId, path_id: Option<u32>, word: u32) -> Self {
        Self { prefix, path_id, attributes: word & !STALE, is_stale: word & STALE != 0 }
    }
}

/// A route with a path identifier.
#[derive(Clone, Copy, Debug)]
struct Path {
    prefix: PrefixId,
    path_id: u32,
    word: u32,
}

#[derive(Debug)]
enum Column {
    Map(HashTable<(PrefixId, u32)>),
    Dense(Vec<u32>),
}

/// All routes of one peer in one family.
#[derive(Debug)]
pub(super) struct Routes {
    column: Column,
    /// Routes in the column.
    in_column: usize,
    paths: HashTable<Path>,
}

impl Default for Routes {
    fn default() -> Self {
        Self { column: Column::Map(HashTable::new()), in_column: 0, paths: HashTable::new() }
    }
}

impl Routes {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.in_column + self.paths.len()
    }

    /// Bytes of the column or map.
    pub(super) fn bytes_column(&self) -> usize {
        match &self.column {
            Column::Map(map) => map.allocation_size(),
            Column::Dense(words) => words.capacity() * size_of::<u32>(),
        }
    }

    /// Bytes of the routes with a path identifier.
    pub(super) fn bytes_paths(&self) -> usize {
        self.paths.allocation_size()
    }

    /// Whether there is a route for this prefix, with whatever path identifier.
    pub(super) fn holds(&self, prefix: PrefixId) -> bool {
        self.word(prefix).is_some()
            || self.paths.find(hash(prefix), |path| path.prefix == prefix).is_some()
    }

    /// Whether there is this very route.
    pub(super) fn holds_path(&self, prefix: PrefixId, path_id: Option<u32>) -> bool {
        match path_id {
            None => self.word(prefix).is_some(),
            Some(path_id) => self.paths.find(hash(prefix), is_path(prefix, path_id)).is_some(),
        }
    }

    /// Places a fresh route; the attributes of the one that it replaces.
    pub(super) fn set(
        &mut self,
        prefix: PrefixId,
        path_id: Option<u32>,
        attributes: AttributeId,
        ids: usize,
    ) -> Option<AttributeId> {
        let before = match path_id {
            None => self.set_word(prefix, attributes, ids),
            Some(path_id) => self.set_path(Path { prefix, path_id, word: attributes }),
        };
        before.map(|word| word & !STALE)
    }

    /// Takes a route away; its attributes.
    pub(super) fn remove(&mut self, prefix: PrefixId, path_id: Option<u32>) -> Option<AttributeId> {
        let before = match path_id {
            None => self.remove_word(prefix),
            Some(path_id) => {
                let found = self.paths.find_entry(hash(prefix), is_path(prefix, path_id));
                found.ok().map(|entry| entry.remove().0.word)
            }
        };
        before.map(|word| word & !STALE)
    }

    /// Marks every route as stale.
    pub(super) fn mark_stale(&mut self) {
        match &mut self.column {
            Column::Map(map) => map.iter_mut().for_each(|(_, word)| *word |= STALE),
            Column::Dense(words) => words.iter_mut().for_each(|word| *word |= STALE),
        }
        self.paths.iter_mut().for_each(|path| path.word |= STALE);
    }

    /// All routes, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Held> {
        let (map, dense) = match &self.column {
            Column::Map(map) => (Some(map), None),
            Column::Dense(words) => (None, Some(words)),
        };
        let of_map = map.into_iter().flatten().copied();
        let of_column = dense.into_iter().flatten().zip(0..).map(|(word, prefix)| (prefix, *word));
        let plain = of_map.chain(of_column).filter(|(_, word)| *word != NONE);
        let plain = plain.map(|(prefix, word)| Held::of(prefix, None, word));
        plain.chain(self.paths.iter().map(Path::held))
    }

    /// The routes for one prefix, in the order of their path identifiers, the one without first.
    pub(super) fn of_prefix(&self, prefix: PrefixId, mut visit: impl FnMut(Held)) {
        if let Some(word) = self.word(prefix) {
            visit(Held::of(prefix, None, word));
        }
        if self.paths.is_empty() {
            return;
        }
        let of_prefix = self.paths.iter_hash(hash(prefix)).filter(|path| path.prefix == prefix);
        let mut held: Vec<Held> = of_prefix.map(Path::held).collect();
        held.sort_unstable();
        held.into_iter().for_each(visit);
    }

    /// The attributes of the route without path identifier.
    pub(super) fn plain(&self, prefix: PrefixId) -> Option<AttributeId> {
        self.word(prefix).map(|word| word & !STALE)
    }

    fn word(&self, prefix: PrefixId) -> Option<u32> {
        match &self.column {
            Column::Map(map) => map.find(hash(prefix), |entry| entry.0 == prefix).map(|e| e.1),
            Column::Dense(words) => words.get(prefix as usize).copied().filter(|w| *w != NONE),
        }
    }

    fn set_word(&mut self, prefix: PrefixId, word: u32, ids: usize) -> Option<u32> {
        self.choose_for(prefix, ids);
        let before = match &mut self.column {
            Column::Map(map) => match map.find_mut(hash(prefix), |entry| entry.0 == prefix) {
                Some((_, held)) => Some(std::mem::replace(held, word)),
                None => {
                    map.insert_unique(hash(prefix), (prefix, word), |entry| hash(entry.0));
                    None
                }
            },
            Column::Dense(words) => {
                let place = prefix as usize;
                if place >= words.len() {
                    reserve_for(words, place, ids);
                    words.resize(place + 1, NONE);
                }
                let held = words.get_mut(place)?;
                Some(std::mem::replace(held, word)).filter(|before| *before != NONE)
            }
        };
        self.in_column += usize::from(before.is_none());
        before
    }

    fn remove_word(&mut self, prefix: PrefixId) -> Option<u32> {
        let before = match &mut self.column {
            Column::Map(map) => {
                let found = map.find_entry(hash(prefix), |entry| entry.0 == prefix);
                found.ok().map(|entry| entry.remove().0.1)
            }
            Column::Dense(words) => words
                .get_mut(prefix as usize)
                .map(|held| std::mem::replace(held, NONE))
                .filter(|before| *before != NONE),
        }?;
        self.in_column -= 1;
        if let Column::Dense(words) = &self.column
            && self.in_column * SPARSE_BELOW < words.len()
        {
            self.make_map();
        }
        Some(before)
    }

    /// Turns a map into a column or the other way round, if that is smaller from here on.
    fn choose_for(&mut self, prefix: PrefixId, ids: usize) {
        let place = prefix as usize;
        match &self.column {
            Column::Map(_) if (self.in_column + 1) * DENSE_FROM >= ids => self.make_dense(ids),
            Column::Dense(words)
                if place >= words.len() && (self.in_column + 1) * SPARSE_BELOW <= place =>
            {
                self.make_map();
            }
            _ => {}
        }
    }

    fn make_dense(&mut self, ids: usize) {
        let Column::Map(map) = &self.column else { return };
        let mut words = vec![NONE; ids];
        for (prefix, word) in map {
            if let Some(held) = words.get_mut(*prefix as usize) {
                *held = *word;
            }
        }
        self.column = Column::Dense(words);
    }

    fn make_map(&mut self) {
        let Column::Dense(words) = &self.column else { return };
        let mut map = HashTable::with_capacity(self.in_column + 1);
        for (word, prefix) in words.iter().zip(0..).filter(|(word, _)| **word != NONE) {
            map.insert_unique(hash(prefix), (prefix, *word), |entry| hash(entry.0));
        }
        self.column = Column::Map(map);
    }

    fn set_path(&mut self, path: Path) -> Option<u32> {
        let hash_of = hash(path.prefix);
        if let Some(held) = self.paths.find_mut(hash_of, is_path(path.prefix, path.path_id)) {
            return Some(std::mem::replace(&mut held.word, path.word));
        }
        self.paths.insert_unique(hash_of, path, |path| hash(path.prefix));
        None
    }
}

impl Path {
    fn held(&self) -> Held {
        Held::of(self.prefix, Some(self.path_id), self.word)
    }
}

/// A column as it lies, a map in the order of its ids; so the paths.
#[derive(serde::Serialize, serde::Deserialize)]
enum Saved {
    Map(Raw<[u32; 2]>),
    Dense(Raw<u32>),
}

impl Serialize for Routes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { column, in_column: _, paths } = self;
        let column = match column {
            Column::Map(map) => {
                let mut words: Vec<_> = map.iter().map(|(prefix, word)| [*prefix, *word]).collect();
                words.sort_unstable();
                Saved::Map(Raw(words))
            }
            Column::Dense(words) => Saved::Dense(Raw(words.clone())),
        };
        let of_path = |path: &Path| [path.prefix, path.path_id, path.word];
        let mut paths: Vec<[u32; 3]> = paths.iter().map(of_path).collect();
        paths.sort_unstable();
        (column, Raw(paths)).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Routes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (column, Raw(paths)): (Saved, Raw<[u32; 3]>) = Deserialize::deserialize(deserializer)?;
        let (column, in_column) = match column {
            Saved::Map(Raw(words)) => {
                let mut map = HashTable::with_capacity(words.len());
                for [prefix, word] in words {
                    map.insert_unique(hash(prefix), (prefix, word), |entry| hash(entry.0));
                }
                let in_column = map.len();
                (Column::Map(map), in_column)
            }
            Saved::Dense(Raw(words)) => {
                let in_column = words.iter().filter(|word| **word != NONE).count();
                (Column::Dense(words), in_column)
            }
        };
        let mut routes = Self { column, in_column, ..Self::default() };
        routes.paths.reserve(paths.len(), |path| hash(path.prefix));
        for [prefix, path_id, word] in paths {
            routes.set_path(Path { prefix, path_id, word });
        }
        Ok(routes)
    }
}

fn hash(prefix: PrefixId) -> u64 {
    mixed(u64::from(prefix))
}

fn is_path(prefix: PrefixId, path_id: u32) -> impl Fn(&Path) -> bool {
    move |path| path.prefix == prefix && path.path_id == path_id
}

/// Room up to `place`: as far as ids go, else a sixteenth more. Doubling would cost more than it saves.
fn reserve_for(words: &mut Vec<u32>, place: usize, ids: usize) {
    if place >= words.capacity() {
        let wanted = (place + 1 + place / 16).min(ids.max(place + 1 + 16));
        words.reserve_exact(wanted.saturating_sub(words.len()));
    }
}
