//! RIS Live session: JSON texts in, route events out.
//!
//! One decoder for all formats: the BGP message of `raw` is decoded as it is; without it the JSON is
//! encoded to UPDATEs first, one for each next hop. The time of an event is the text's own, set by
//! the collector at receipt. AS numbers have four octets unless only two read well.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashMap;
use schemas::batch::PeerState;
use schemas::bgp::{Asn, PathAttributes, PeerHeader, Prefix};
use schemas::time::Timestamp;

use super::bmp::path_width;
use super::peers::{ListMemory, PeerTable};
use super::update::{AddPath, Envelope, UpdateCounts};
use super::{RouteSink, SessionEvent};
use crate::decode::bgp::Message;
use crate::decode::ris_live::{JsonRoutes, RisError, RisKind, RisMessage, RisText};
use crate::decode::{Cursor, DecodeError};
use crate::encode::bgp::{Update, update};

/// Prefixes put into one UPDATE at most: of IPv6, with their attributes, they fit its length.
const PREFIXES_MAX: usize = 1_000;
/// Peers kept apart at most; RIS has about two thousand.
const PEERS_MAX: usize = 100_000;

/// What became of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RisTold {
    /// A message of a peer was taken.
    Message(RisKind),
    /// The server refuses something, in its words: for the log.
    ServerError(String),
    /// Nothing of routes.
    Other,
}

/// What a session has met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RisCounts {
    /// Texts given.
    pub texts: u64,
    /// What its UPDATEs were.
    pub updates: UpdateCounts,
    /// Texts refused, by reason.
    pub refused: BTreeMap<&'static str, u64>,
    /// UPDATEs decoded from `raw`.
    pub raw_updates: u64,
    /// UPDATEs put together from JSON.
    pub json_updates: u64,
    /// State changes.
    pub states: u64,
    /// OPENs.
    pub opens: u64,
    /// KEEPALIVEs, and messages without a type.
    pub keepalives: u64,
    /// NOTIFICATIONs.
    pub notifications: u64,
    /// Errors that the server told.
    pub server_errors: u64,
    /// Texts of other types.
    pub others: u64,
}

/// The state of one feed.
#[derive(Debug, Default)]
pub struct RisSession {
    peers: PeerTable,
    /// Ids by collector, address and AS number, so that a header is made once.
    ids: HashMap<String, HashMap<(IpAddr, Asn), u32>>,
    counts: RisCounts,
}

impl RisSession {
    /// A session that has met nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The peers met, by id.
    #[must_use]
    pub const fn peers(&self) -> &PeerTable {
        &self.peers
    }

    /// What was met.
    #[must_use]
    pub const fn counts(&self) -> &RisCounts {
        &self.counts
    }

    /// Takes one text. An error refuses it and is counted already.
    ///
    /// # Errors
    /// [`RisError`]: the next text is not touched by it.
    pub fn text(&mut self, text: &[u8], sink: &mut impl RouteSink) -> Result<RisTold, RisError> {
        self.counts.texts += 1;
        let taken = match RisText::read(text) {
            Ok(RisText::Message(message)) => self.message(&message, sink),
            Ok(RisText::Error(words)) => {
                self.counts.server_errors += 1;
                Ok(RisTold::ServerError(words))
            }
            Ok(RisText::Other) => {
                self.counts.others += 1;
                Ok(RisTold::Other)
            }
            Err(error) => Err(error),
        };
        if let Err(error) = &taken {
            *self.counts.refused.entry(error.reason()).or_default() += 1;
        }
        taken
    }

    /// Takes one message, read before.
    ///
    /// # Errors
    /// [`RisError`]: not counted here.
    fn message(
        &mut self,
        message: &RisMessage<'_>,
        sink: &mut impl RouteSink,
    ) -> Result<RisTold, RisError> {
        let kind = message.kind();
        match kind {
            RisKind::Update => self.update(message, sink)?,
            RisKind::State => self.state(message, sink)?,
            RisKind::Open => self.counts.opens += 1,
            RisKind::Keepalive => self.counts.keepalives += 1,
            RisKind::Notification => self.counts.notifications += 1,
            RisKind::Other => self.counts.others += 1,
        }
        Ok(RisTold::Message(kind))
    }

    fn peer(&mut self, message: &RisMessage<'_>) -> Result<u32, RisError> {
        let (collector, key) = (message.collector(), (message.peer()?, message.peer_asn()?));
        if let Some(id) = self.ids.get(collector).and_then(|ids| ids.get(&key)) {
            return Ok(*id);
        }
        if self.peers.len() >= PEERS_MAX {
            return Err(RisError::field("peer", "one more than are kept"));
        }
        let name: Arc<str> = super::bmp::sanitised(collector.as_bytes()).into();
        let id = self.peers.intern(PeerHeader::public(name, key.0, key.1));
        self.ids.entry(collector.to_owned()).or_default().insert(key, id);
        Ok(id)
    }

    fn state(
        &mut self,
        message: &RisMessage<'_>,
        sink: &mut impl RouteSink,
    ) -> Result<(), RisError> {
        let (time, peer) = (message.time()?, self.peer(message)?);
        let state = match message.state() {
            Some("connected" | "up") => PeerState::Up,
            Some("down") => PeerState::Down,
            other => return Err(RisError::field("state", other.unwrap_or_default())),
        };
        self.counts.states += 1;
        let Some(header) = self.peers.get(peer) else { return Ok(()) };
        sink.session(&SessionEvent {
            time,
            peer,
            header,
            state,
            codes: None,
            local_ip: None,
            reason: None,
            prefixes_accepted: None,
        });
        Ok(())
    }

    fn update(
        &mut self,
        message: &RisMessage<'_>,
        sink: &mut impl RouteSink,
    ) -> Result<(), RisError> {
        let (time, raw) = (message.time()?, message.raw()?);
        if let Some(raw) = raw {
            let peer = self.peer(message)?;
            self.counts.raw_updates += 1;
            self.bgp(&raw, time, peer, false, sink)?;
            return Ok(());
        }
        let routes = message.routes()?;
        let peer = self.peer(message)?;
        self.counts.json_updates += 1;
        let is_left = routes.prefixes().next().is_some()
            && self.peers.get(peer).is_some_and(|header| {
                !routes.prefixes().any(|prefix| sink.may_keep(header, prefix))
            });
        if is_left {
            let announced: usize =
                routes.announced.iter().map(|(_, prefixes)| prefixes.len()).sum();
            self.counts.updates.announced += announced as u64;
            self.counts.updates.withdrawn += routes.withdrawn.len() as u64;
            sink.leave((announced + routes.withdrawn.len()) as u64);
            return Ok(());
        }
        for bytes in encoded(&routes, &message.attributes()?) {
            self.bgp(&bytes, time, peer, true, sink)?;
        }
        Ok(())
    }

    /// Decodes one BGP message; `is_ours` says that it was put together here.
    fn bgp(
        &mut self,
        bytes: &[u8],
        time: Timestamp,
        peer: u32,
        is_ours: bool,
        sink: &mut impl RouteSink,
    ) -> Result<(), DecodeError> {
        let Message::Update(body) = Message::read(&mut Cursor::new(bytes))? else {
            self.counts.others += 1;
            return Ok(());
        };
        let Some((header, memory)) = self.peers.peer_mut(peer) else { return Ok(()) };
        let envelope = Envelope {
            time,
            router_time: None,
            peer,
            header,
            width: path_width(body),
            is_local: false,
            add_path: AddPath::default(),
            is_snapshot: false,
            reporter: None,
        };
        let mut unused = ListMemory::default();
        let memory = if is_ours { &mut unused } else { memory };
        self.counts.updates.update(&envelope, body, memory, sink)?;
        Ok(())
    }
}

/// The UPDATEs that say what the JSON says: withdrawals, then each next hop with its prefixes.
fn encoded(routes: &JsonRoutes, attributes: &PathAttributes) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    for withdrawn in routes.withdrawn.chunks(PREFIXES_MAX) {
        messages.push(update(&Update { withdrawn, ..Update::default() }));
    }
    for (next_hop, prefixes) in &routes.announced {
        let attributes = PathAttributes { next_hop: Some(*next_hop), ..attributes.clone() };
        let (ipv4, ipv6): (Vec<Prefix>, Vec<Prefix>) =
            prefixes.iter().partition(|prefix| prefix.address().is_ipv4());
        for of_family in [ipv4, ipv6] {
            for announced in of_family.chunks(PREFIXES_MAX) {
                let attributes = Some(&attributes);
                messages.push(update(&Update { withdrawn: &[], announced, attributes }));
            }
        }
    }
    messages
}
