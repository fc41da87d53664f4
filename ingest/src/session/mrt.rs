//! MRT session: whole archive records in, route events out (RFC 6396, RFC 8050).
//!
//! Keeps the PEER_INDEX_TABLE that gives the indexes of RIB entries a meaning, the ids of the
//! peers met, and what [`super::peers`] remembers of their lists. What is damaged is refused and
//! counted, its neighbours stay: a bad RIB entry is not a bad record, a bad record is not a bad
//! file. The time of an event is the time of its record, in tables too.
//!
//! How bytes become records is [`crate::decode::mrt::frame`]; who reads files is
//! [`crate::source`].

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashMap;
use schemas::batch::PeerState;
use schemas::bgp::{Asn, Family, PeerHeader};
use schemas::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::peers::{ListMemory, PeerTable};
use super::update::{AddPath, Envelope, UpdateCounts, UpdateKind};
use super::{RouteSink, Routes, SessionEvent};
use crate::decode::bgp::{AsnWidth, Attributes, Message, Walk, code};
use crate::decode::mrt::{Bgp4mp, Bgp4mpContent, MrtRecord, RawAddress, kind};
use crate::decode::tables::{Rib, TableDump, read_peer_index_table};
use crate::decode::{Cursor, DecodeError};

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// An UPDATE with prefixes, or without any.
    Update,
    /// The end of a peer's table (RFC 4724 §2).
    EndOfRib,
    /// Routes of a table.
    Rib,
    /// The peers of the table that follows.
    PeerIndexTable,
    /// A session's change of state.
    StateChange,
    /// OPEN, NOTIFICATION, KEEPALIVE, ROUTE-REFRESH: nothing of routes.
    OtherMessage,
    /// Not opened, and counted so.
    Skipped,
}

/// What a session has met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MrtCounts {
    /// Records given.
    pub records: u64,
    /// What its UPDATEs and table routes were.
    pub updates: UpdateCounts,
    /// Records, or entries of records, that were refused, by [`DecodeError::reason`].
    pub refused: BTreeMap<&'static str, u64>,
    /// Records that are not opened, by type and subtype.
    pub skipped: BTreeMap<(u16, u16), u64>,
    /// BGP messages that are no UPDATE.
    pub other_messages: u64,
    /// Bytes after the end of a message or table, inside its record.
    pub trailing_bytes: u64,
}

impl MrtCounts {
    #[cold]
    fn refuse(&mut self, error: &DecodeError) {
        *self.refused.entry(error.reason()).or_default() += 1;
    }

    #[cold]
    fn skip(&mut self, record: &MrtRecord<'_>) -> RecordKind {
        *self.skipped.entry((record.kind, record.subtype)).or_default() += 1;
        RecordKind::Skipped
    }
}

/// What an archive has said so far that its next records need.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MrtState {
    /// The peers met, by id, and what is remembered of their lists.
    pub peers: Vec<(PeerHeader, ListMemory)>,
    /// Ids by peer index.
    pub index_table: Vec<u32>,
}

/// State of an established session (RFC 6396 §4.4.1).
const ESTABLISHED: u16 = 6;
/// Address bits; family and AS number.
type PeerKey = (u128, u64);

#[inline]
fn key_of(address: RawAddress, asn: Asn) -> PeerKey {
    let is_v6 = u64::from(address.family == Family::Ipv6);
    (address.bits, is_v6 << 32 | u64::from(asn.0))
}

/// How many peers have a slot of their own: most collectors have fewer than 256.
const RECENT_BITS: u32 = 8;
/// An odd number without pattern (the golden ratio), to spread keys over slots.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// The state of one archive, or of all archives of one collector, read in order.
#[derive(Debug)]
pub struct MrtSession {
    collector: Arc<str>,
    peers: PeerTable,
    /// Ids by what a record says of a peer: a [`PeerHeader`] takes longer to look up.
    ids: HashMap<PeerKey, u32>,
    /// Some of those ids, where a look takes no hashing; a slot not yet used matches no peer.
    recent: Vec<(PeerKey, u32)>,
    /// Ids by peer index.
    index_table: Vec<u32>,
    counts: MrtCounts,
}

impl MrtSession {
    /// A session that has met nothing. `collector` names the collector of all its peers.
    #[must_use]
    pub fn new(collector: Arc<str>) -> Self {
        Self {
            collector,
            peers: PeerTable::new(),
            ids: HashMap::new(),
            recent: vec![((0, u64::MAX), 0); 1 << RECENT_BITS],
            index_table: Vec::new(),
            counts: MrtCounts::default(),
        }
    }

    /// A session that goes on where another one was.
    #[must_use]
    pub fn restored(collector: Arc<str>, state: &MrtState) -> Self {
        let mut session = Self::new(collector);
        for (peer, memory) in &state.peers {
            let id = session.peers.intern(peer.clone());
            if let Some((_, lists)) = session.peers.peer_mut(id) {
                *lists = *memory;
            }
            session.ids.insert(key_of(RawAddress::from(peer.address), peer.asn), id);
        }
        session.index_table.clone_from(&state.index_table);
        session
    }

    /// What the records after those read so far need.
    #[must_use]
    pub fn state(&self) -> MrtState {
        let peers = self.peers.iter().zip(self.peers.memories());
        MrtState {
            peers: peers.map(|(peer, memory)| (PeerHeader::clone(peer), *memory)).collect(),
            index_table: self.index_table.clone(),
        }
    }

    /// The peers met, by id.
    #[must_use]
    pub const fn peers(&self) -> &PeerTable {
        &self.peers
    }

    /// What was met.
    #[must_use]
    pub const fn counts(&self) -> &MrtCounts {
        &self.counts
    }

    /// Takes one whole record. An error refuses the record, or the rest of it: what was good
    /// before the damage has been handed over. It is counted already.
    #[inline]
    pub fn record(
        &mut self,
        record: &MrtRecord<'_>,
        sink: &mut impl RouteSink,
    ) -> Result<RecordKind, DecodeError> {
        self.counts.records += 1;
        let result = match record.kind {
            kind::BGP4MP | kind::BGP4MP_ET => self.bgp4mp(record, sink),
            kind::TABLE_DUMP_V2 if record.subtype == 1 => self.peer_index_table(record),
            kind::TABLE_DUMP_V2 => self.rib(record, sink),
            kind::TABLE_DUMP => self.table_dump(record, sink),
            kind::BGP => self.legacy(record, sink),
            _ => Ok(self.counts.skip(record)),
        };
        if let Err(error) = &result {
            self.counts.refuse(error);
        }
        result
    }

    #[inline]
    fn peer_id(&mut self, address: RawAddress, asn: Asn) -> u32 {
        let key = key_of(address, asn);
        let spread = (key.0 as u64 ^ (key.0 >> 64) as u64 ^ key.1).wrapping_mul(SPREAD);
        let slot = usize::try_from(spread >> (64 - RECENT_BITS)).unwrap_or(0);
        match self.recent.get(slot) {
            Some((recent, id)) if *recent == key => *id,
            _ => self.peer_id_by_table(key, slot, address, asn),
        }
    }

    fn peer_id_by_table(
        &mut self,
        key: PeerKey,
        slot: usize,
        address: RawAddress,
        asn: Asn,
    ) -> u32 {
        let id = match self.ids.get(&key) {
            Some(id) => *id,
            None => self.new_peer_id(key, address.address(), asn),
        };
        if let Some(recent) = self.recent.get_mut(slot) {
            *recent = (key, id);
        }
        id
    }

    #[cold]
    fn new_peer_id(&mut self, key: PeerKey, address: IpAddr, asn: Asn) -> u32 {
        let id = self.peers.intern(PeerHeader::public(Arc::clone(&self.collector), address, asn));
        self.ids.insert(key, id);
        id
    }

    #[inline]
    fn bgp4mp(
        &mut self,
        record: &MrtRecord<'_>,
        sink: &mut impl RouteSink,
    ) -> Result<RecordKind, DecodeError> {
        let Some(opened) = Bgp4mp::read(record)? else {
            return Ok(self.counts.skip(record));
        };
        let peer = self.peer_id(opened.peer_address, opened.peer_asn);
        let mut input = match opened.content {
            Bgp4mpContent::Message(input) => input,
            Bgp4mpContent::StateChange(old, new) => {
                return Ok(self.state_change(record.time, peer, (old, new), sink));
            }
        };
        let message = Message::read(&mut input)?;
        self.counts.trailing_bytes += input.left() as u64;
        match message {
            Message::Update(body) => self.update(record.time, peer, &opened, body, sink),
            Message::Other(_) => {
                self.counts.other_messages += 1;
                Ok(RecordKind::OtherMessage)
            }
        }
    }

    /// A record of type 5: no BGP header, one subtype for each kind of message.
    fn legacy(
        &mut self,
        record: &MrtRecord<'_>,
        sink: &mut impl RouteSink,
    ) -> Result<RecordKind, DecodeError> {
        match Bgp4mp::read_legacy(record)? {
            Some(opened) => {
                let peer = self.peer_id(opened.peer_address, opened.peer_asn);
                match opened.content {
                    Bgp4mpContent::Message(body) => {
                        self.update(record.time, peer, &opened, body, sink)
                    }
                    Bgp4mpContent::StateChange(old, new) => {
                        Ok(self.state_change(record.time, peer, (old, new), sink))
                    }
                }
            }
            None if matches!(record.subtype, 5..=7) => {
                self.counts.other_messages += 1;
                Ok(RecordKind::OtherMessage)
            }
            None => Ok(self.counts.skip(record)),
        }
    }

    #[inline]
    fn update(
        &mut self,
        time: Timestamp,
        peer: u32,
        opened: &Bgp4mp<'_>,
        body: Cursor<'_>,
        sink: &mut impl RouteSink,
    ) -> Result<RecordKind, DecodeError> {
        let Some((header, memory)) = self.peers.peer_mut(peer) else {
            return Ok(RecordKind::Update);
        };
        let envelope = Envelope {
            time,
            router_time: None,
            peer,
            header,
            width: opened.width,
            is_local: opened.is_local,
            add_path: AddPath::both(opened.has_path_ids),
            is_snapshot: false,
            reporter: None,
        };
        let kind = self.counts.updates.update(&envelope, body, memory, sink)?;
        Ok(match kind {
            UpdateKind::Update => RecordKind::Update,
            UpdateKind::EndOfRib => RecordKind::EndOfRib,
        })
    }

    /// A step of a session from state to state (RFC 6396 §4.4.1).
    fn state_change(
        &self,
        time: Timestamp,
        peer: u32,
        codes: (u16, u16),
        sink: &mut impl RouteSink,
    ) -> RecordKind {
        let state = match codes {
            (_, ESTABLISHED) => PeerState::Up,
            (ESTABLISHED, _) => PeerState::Down,
            (_, other) => PeerState::Other(other),
        };
        if let Some(header) = self.peers.get(peer) {
            sink.session(&SessionEvent {
                time,
                peer,
                header,
                state,
                codes: Some(codes),
                local_ip: None,
                reason: None,
                prefixes_accepted: None,
            });
        }
        RecordKind::StateChange
    }

    /// A damaged table keeps the peers before the damage: the table before it means other peers.
    fn peer_index_table(&mut self, record: &MrtRecord<'_>) -> Result<RecordKind, DecodeError> {
        let mut index_table = std::mem::take(&mut self.index_table);
        index_table.clear();
        let result = read_peer_index_table(record.body, |address, asn| {
            index_table.push(self.peer_id(address, asn));
        });
        self.index_table = index_table;
        result.map(|()| RecordKind::PeerIndexTable)
    }

    fn rib(
        &mut self,
        record: &MrtRecord<'_>,
        sink: &mut impl RouteSink,
    ) -> Result<RecordKind, DecodeError> {
        let Some(mut rib) = Rib::read(record)? else {
            return Ok(self.counts.skip(record));
        };
        while let Some(entry) = rib.next_entry()? {
            let Some(peer) = self.index_table.get(usize::from(entry.peer_index)) else {
                let (peer_index, peers) = (entry.peer_index, self.index_table.len());
                self.counts.refuse(&DecodeError::UnknownPeer { peer_index, peers });
                continue;
            };
            let routes = Routes::One(rib.prefix, entry.path_id);
            self.table_route(record.time, *peer, (entry.attributes, AsnWidth::Four), routes, sink);
        }
        Ok(RecordKind::Rib)
    }

    fn table_dump(
        &mut self,
        record: &MrtRecord<'_>,
        sink: &mut impl RouteSink,
    ) -> Result<RecordKind, DecodeError> {
        let Some(mut table) = TableDump::read(record)? else {
            return Ok(self.counts.skip(record));
        };
        while let Some(entry) = table.next_entry()? {
            let peer = self.peer_id(entry.peer_address, entry.peer_asn);
            let routes = Routes::One(entry.prefix, None);
            self.table_route(record.time, peer, (entry.attributes, AsnWidth::Two), routes, sink);
        }
        Ok(RecordKind::Rib)
    }

    /// Hands over one route of a table. Attributes that are missing are not held against it: some
    /// routers dump their own routes without any.
    #[inline]
    fn table_route(
        &mut self,
        time: Timestamp,
        peer: u32,
        (block, width): (Cursor<'_>, AsnWidth),
        routes: Routes<'_>,
        sink: &mut impl RouteSink,
    ) {
        let Some(header) = self.peers.get(peer) else { return };
        let (mut walk, mut attributes) = (Walk::default(), Attributes::new(width));
        match walk.read(block, true, &mut attributes) {
            Ok(()) => {
                attributes.take_mp_hop(walk.has(code::MP_REACH_NLRI));
                let envelope = Envelope {
                    time,
                    router_time: None,
                    peer,
                    header,
                    width,
                    is_local: false,
                    add_path: AddPath::default(),
                    is_snapshot: true,
                    reporter: None,
                };
                self.counts.updates.hand_over(attributes.disposition(), 1, 0);
                sink.update(&envelope.view(&attributes, routes));
            }
            Err(error) => self.counts.refuse(&error),
        }
    }
}
