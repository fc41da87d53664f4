//! Peers: a [`PeerHeader`] in, a small number out, and what is remembered of each peer's lists.
//!
//! Ids are dense and count from 0, so that a store per peer is a vector. A table only grows: a
//! peer that went away keeps its id.
//!
//! A peer with ADD-PATH (RFC 7911) puts an identifier before each prefix. A record subtype should
//! say so (RFC 8050 §3), but real archives hold such lists under the plain subtypes, and read as
//! plain ones they make up prefixes such as 0.0.0.0/0. One list alone often reads well both ways:
//! [`ListMemory::settle`] reads the whole list, looks twice only at odd ones, and remembers per
//! peer, family and direction what the last clear case was.

use std::sync::Arc;

use hashbrown::HashMap;
use schemas::bgp::{Family, PeerHeader};
use serde::{Deserialize, Serialize};

use crate::decode::DecodeError;
use crate::decode::bgp::{MpList, NlriFacts, nlri};

/// What the last list that reads well in only one way said of the lists of a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Memory {
    /// There was none, or it was plain.
    #[default]
    Plain,
    /// It had path identifiers under a subtype without.
    AddPath,
}

/// How a list reads to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// How many prefixes it holds.
    pub prefixes: u32,
    /// Whether they have path identifiers.
    pub has_path_ids: bool,
    /// Whether that is against its label.
    pub is_guess: bool,
}

/// What is remembered of one peer's lists: by family, multicast or not, direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListMemory([Memory; 8]);

impl ListMemory {
    /// Reads a list to its end, with or without path identifiers. `is_labelled` is what the record
    /// says of that; `is_local` that the collector sent the message itself.
    pub fn settle(
        &mut self,
        list: &MpList<'_>,
        is_labelled: bool,
        is_local: bool,
    ) -> Result<Reading, DecodeError> {
        let slot = usize::from(list.family == Family::Ipv6)
            | usize::from(list.is_multicast) << 1
            | usize::from(is_local) << 2;
        let mut unused = Memory::default();
        let memory = self.0.get_mut(slot).unwrap_or(&mut unused);
        match nlri::check(list.nlri, list.family, is_labelled) {
            Ok(facts) if is_labelled || !facts.is_suspicious() && *memory == Memory::Plain => {
                let prefixes = facts.prefixes;
                Ok(Reading { prefixes, has_path_ids: is_labelled, is_guess: false })
            }
            as_labelled => look_twice(list, is_labelled, as_labelled, memory),
        }
    }
}

/// All peers of a run: their numbers, and what is remembered of their lists.
#[derive(Debug, Default)]
pub struct PeerTable {
    ids: HashMap<Arc<PeerHeader>, u32>,
    peers: Vec<Arc<PeerHeader>>,
    memories: Vec<ListMemory>,
}

impl PeerTable {
    /// A table without peers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The id of a peer, a new one for a peer not met before.
    pub fn intern(&mut self, peer: PeerHeader) -> u32 {
        if let Some(id) = self.ids.get(&peer) {
            return *id;
        }
        // A collector has hundreds of peers; past four thousand million they share the last id.
        let id = u32::try_from(self.peers.len()).unwrap_or(u32::MAX);
        let peer = Arc::new(peer);
        self.peers.push(Arc::clone(&peer));
        self.memories.push(ListMemory::default());
        self.ids.insert(peer, id);
        id
    }

    /// The peer with this id.
    #[must_use]
    pub fn get(&self, id: u32) -> Option<&Arc<PeerHeader>> {
        self.peers.get(usize::try_from(id).ok()?)
    }

    /// All peers in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<PeerHeader>> {
        self.peers.iter()
    }

    /// What is remembered of the lists of each peer, in the order of their ids.
    pub fn memories(&self) -> impl Iterator<Item = &ListMemory> {
        self.memories.iter()
    }

    /// How many peers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// A peer, and what is remembered of its lists.
    #[inline]
    pub fn peer_mut(&mut self, id: u32) -> Option<(&Arc<PeerHeader>, &mut ListMemory)> {
        let place = usize::try_from(id).ok()?;
        Some((self.peers.get(place)?, self.memories.get_mut(place)?))
    }
}

/// Reads the list the other way too and takes what fits: the only reading that gets to the end (and
/// is not odd, where the label failed), else the only one that is not odd, else what this peer did
/// last. A label that says ADD-PATH is doubted only if the list cannot be read so.
#[cold]
fn look_twice(
    list: &MpList<'_>,
    is_labelled: bool,
    as_labelled: Result<NlriFacts, DecodeError>,
    memory: &mut Memory,
) -> Result<Reading, DecodeError> {
    let otherwise = nlri::check(list.nlri, list.family, !is_labelled);
    let (is_guess, is_clear, facts) = match (as_labelled, otherwise) {
        (Err(error), Err(_)) => return Err(error),
        // Damage reads well the other way by chance now and then, but seldom without oddities.
        (Err(error), Ok(other)) if other.is_odd() && *memory == Memory::Plain => return Err(error),
        (Ok(labelled), Err(_)) => (false, true, labelled),
        (Err(_), Ok(other)) => (true, true, other),
        (Ok(labelled), Ok(other)) => match (labelled.is_odd(), other.is_odd()) {
            (true, false) => (true, true, other),
            (false, true) => (false, true, labelled),
            _ if *memory == Memory::AddPath => (true, false, other),
            _ => (false, false, labelled),
        },
    };
    if is_clear && !is_labelled {
        *memory = if is_guess { Memory::AddPath } else { Memory::Plain };
    }
    let has_path_ids = is_labelled != is_guess;
    Ok(Reading { prefixes: facts.prefixes, has_path_ids, is_guess })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Cursor;

    /// How lists of one peer are read, in order: prefixes, and whether they have path identifiers.
    fn settle(memory: &mut ListMemory, bytes: &[u8], is_labelled: bool) -> Option<(u32, bool)> {
        let nlri = Cursor::new(bytes);
        let list = MpList { family: Family::Ipv4, is_multicast: false, nlri };
        let read = memory.settle(&list, is_labelled, false).ok()?;
        assert_eq!(read.is_guess, read.has_path_ids != is_labelled);
        Some((read.prefixes, read.has_path_ids))
    }

    /// 192.0.2.0/24 and 198.51.100.0/24: four octets each, so every second length may as well be
    /// the last octet of a path identifier.
    const BOTH_WAYS: &[u8] = &[24, 192, 0, 2, 24, 198, 51, 100];
    /// 192.0.2.0/24 with path identifier 720.
    const ADD_PATH: &[u8] = &[0, 0, 2, 208, 24, 192, 0, 2];
    /// 203.0.113.0/24 alone.
    const PLAIN: &[u8] = &[24, 203, 0, 113];

    #[test]
    fn a_list_that_reads_both_ways_is_plain_until_the_peer_has_sent_add_path() {
        let mut memory = ListMemory::default();
        assert_eq!(settle(&mut memory, BOTH_WAYS, false), Some((2, false)));
        assert_eq!(settle(&mut memory, ADD_PATH, false), Some((1, true)));
        assert_eq!(settle(&mut memory, BOTH_WAYS, false), Some((1, true)), "as the last clear one");
        assert_eq!(settle(&mut memory, PLAIN, false), Some((1, false)), "reads in no other way");
        assert_eq!(settle(&mut memory, BOTH_WAYS, false), Some((2, false)));
    }

    #[test]
    fn the_same_default_route_many_times_is_a_path_identifier_of_zeros() {
        let mut memory = ListMemory::default();
        assert_eq!(settle(&mut memory, &[0, 0, 0, 0, 24, 192, 0, 2], false), Some((1, true)));
    }

    #[test]
    fn a_label_is_doubted_only_where_it_cannot_be_true() {
        let mut memory = ListMemory::default();
        assert_eq!(settle(&mut memory, ADD_PATH, true), Some((1, true)));
        assert_eq!(settle(&mut memory, BOTH_WAYS, true), Some((1, true)));
        assert_eq!(
            settle(&mut memory, PLAIN, true),
            Some((1, false)),
            "BIRD labels whole sessions"
        );
        assert_eq!(
            settle(&mut memory, BOTH_WAYS, false),
            Some((2, false)),
            "labels leave no memory"
        );
        assert_eq!(settle(&mut memory, &[33, 0, 0, 0, 0, 0], false), None);
    }

    #[test]
    fn families_and_directions_are_remembered_apart() {
        let mut memory = ListMemory::default();
        assert_eq!(settle(&mut memory, ADD_PATH, false), Some((1, true)));
        let list = |is_multicast| {
            let nlri = Cursor::new(BOTH_WAYS);
            MpList { family: Family::Ipv4, is_multicast, nlri }
        };
        assert!(!memory.settle(&list(true), false, false).unwrap().has_path_ids);
        assert!(!memory.settle(&list(false), false, true).unwrap().has_path_ids);
        assert!(memory.settle(&list(false), false, false).unwrap().has_path_ids);
    }
}
