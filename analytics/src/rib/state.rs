//! The routing state as bytes, and back. What it counts and looks things up by is made anew.

use std::sync::Arc;

use schemas::bgp::PeerHeader;
use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};

use super::attributes::AttributeTable;
use super::column::Routes;
use super::prefixes::PrefixTable;
use super::{Peer, Rib};

impl Serialize for Peer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { header, domain: _, ipv4, ipv6 } = self;
        (header, ipv4, ipv6).serialize(serializer)
    }
}

impl Serialize for Rib {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self {
            ids: _,
            last: _,
            peers,
            domains: _,
            ipv4,
            ipv6,
            attributes,
            routes: _,
            routes_max,
            refused,
        } = self;
        (routes_max, refused, (ipv4, ipv6, attributes), peers).serialize(serializer)
    }
}

type Peers = Vec<(Arc<PeerHeader>, Routes, Routes)>;
type Tables = (PrefixTable<u32>, PrefixTable<[u8; 16]>, AttributeTable);

impl<'de> Deserialize<'de> for Rib {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (routes_max, refused, tables, peers): (_, _, Tables, Peers) =
            Deserialize::deserialize(deserializer)?;
        let mut rib = Self::new(routes_max);
        rib.refused = refused;
        (rib.ipv4, rib.ipv6, rib.attributes) = tables;
        for (number, (header, ipv4, ipv6)) in (0..).zip(peers) {
            if rib.peer_id(&header) != number {
                return Err(D::Error::custom("a peer that stands there twice"));
            }
            rib.routes += (ipv4.len() + ipv6.len()) as u64;
            if let Some(peer) = rib.peers.last_mut() {
                (peer.ipv4, peer.ipv6) = (ipv4, ipv6);
            }
        }
        rib.last = None;
        Ok(rib)
    }
}

impl Rib {
    /// Bytes that it takes as a state, about.
    pub(crate) fn state_bytes(&self) -> usize {
        let memory = self.memory();
        let bytes = memory.bytes_columns
            + memory.bytes_paths
            + memory.bytes_prefix_table
            + memory.bytes_attributes / 2;
        usize::try_from(bytes).unwrap_or(0)
    }
}
