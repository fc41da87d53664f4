//! BMP session: bytes of one stream in, route events out (RFC 7854, RFC 8671, RFC 9069).
//!
//! [`BmpSession::feed`] takes bytes cut anywhere, [`BmpSession::message`] one whole message. The
//! session keeps what a message does not say of itself: the router's name, who is up, what the
//! OPENs agreed on ([`neighbour`]). It does no IO and reads no clock: the time of an event is the
//! time of receipt that the caller gives; what the router's clock says stands beside it and decides
//! nothing.
//!
//! Routers are survived as they are: a Peer Down for a peer that never was up, routes without a
//! Peer Up, withdrawals of routes that nobody announced. One bad message costs itself. Only a
//! stream that cannot be framed any more is an error of [`BmpSession::feed`].
//!
//! Why a session ends stale and not withdrawn, and other choices:
//! `docs/decisions/0011-bmp-sessions.md`.

mod counts;
mod neighbour;
mod options;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use hashbrown::HashMap;
use schemas::batch::PeerState;
use schemas::bgp::{PeerHeader, RibView};
use schemas::time::Timestamp;

use super::peers::PeerTable;
use super::update::{AddPath, Envelope};
use super::{RouteSink, SessionEvent};
use crate::decode::bgp::Message;
use crate::decode::bmp::{
    DownReason, Frame, FrameError, PerPeer, RawMessage, Tlvs, VERSION, frame, kind,
    termination_words, tlv,
};
use crate::decode::bmp_stats::{self, TableSizes};
use crate::decode::{Cursor, DecodeError};

pub use counts::{BmpCounts, MessageCounts};
pub(crate) use neighbour::path_width;
use neighbour::{Neighbour, NeighbourKey, PeerEvent, PeerUp, place_of};
pub use options::{BmpOptions, RoutingDomains, sanitised};
pub use state::{BmpState, NeighbourState};

/// Why a message was refused. The stream goes on behind it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BmpError {
    /// Bytes that do not hold together.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// One peer more than the session keeps.
    #[error("the router reports more than {peers_max} peers")]
    TooManyPeers {
        /// How many it keeps.
        peers_max: u32,
    },
}

impl BmpError {
    /// The `reason` label of `peerscope_ingest_decode_errors_total`: a closed set.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Decode(error) => error.reason(),
            Self::TooManyPeers { .. } => "too_many_peers",
        }
    }
}

/// The state of one BMP stream, or of all streams of one router, one after another.
#[derive(Debug)]
pub struct BmpSession {
    collector: Arc<str>,
    router: Arc<str>,
    description: Option<String>,
    options: BmpOptions,
    /// The beginning of a message whose end has not come yet.
    buffer: Vec<u8>,
    peers: PeerTable,
    neighbours: HashMap<NeighbourKey, Neighbour>,
    counts: BmpCounts,
    refusal: Option<BmpError>,
}

impl BmpSession {
    /// A session that has met nothing. `collector` names who collects, `router` the router until it
    /// says its own name.
    #[must_use]
    pub fn new(collector: Arc<str>, router: &str, options: BmpOptions) -> Self {
        Self {
            collector,
            router: sanitised(router.as_bytes()).into(),
            description: None,
            options,
            buffer: Vec::new(),
            peers: PeerTable::new(),
            neighbours: HashMap::new(),
            counts: BmpCounts::default(),
            refusal: None,
        }
    }

    /// The peers met, by id: one for each table of each neighbour of the router.
    #[must_use]
    pub const fn peers(&self) -> &PeerTable {
        &self.peers
    }

    /// What was met.
    #[must_use]
    pub const fn counts(&self) -> &BmpCounts {
        &self.counts
    }

    /// The router's name: its own, else the one given.
    #[must_use]
    pub const fn router(&self) -> &Arc<str> {
        &self.router
    }

    /// What the router says it is (sysDescr).
    #[must_use]
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// Neighbours of the router that are up now.
    #[must_use]
    pub fn peers_up(&self) -> usize {
        self.neighbours.values().filter(|neighbour| neighbour.is_up).count()
    }

    /// Bytes of a message whose end has not come yet.
    #[must_use]
    pub const fn buffered_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Forgets the beginning of a message whose end was lost.
    pub(crate) fn forget_partial(&mut self) {
        self.buffer.clear();
    }

    /// The first refusal since this was last asked: one to tell, while the counts have all.
    pub const fn take_refusal(&mut self) -> Option<BmpError> {
        self.refusal.take()
    }

    /// Takes bytes of the stream, cut anywhere. What a message says is told as soon as it is whole.
    ///
    /// # Errors
    /// [`FrameError`] if the stream cannot be followed any further; what came before it has been
    /// told. The caller ends the stream and calls [`Self::close`].
    pub fn feed(
        &mut self,
        bytes: &[u8],
        received: Timestamp,
        sink: &mut impl RouteSink,
    ) -> Result<(), FrameError> {
        if self.buffer.is_empty() {
            let used = self.take_whole(bytes, received, sink)?;
            self.buffer.extend_from_slice(bytes.get(used..).unwrap_or_default());
            return Ok(());
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.extend_from_slice(bytes);
        let used = self.take_whole(&buffer, received, sink)?;
        buffer.drain(..used);
        self.buffer = buffer;
        Ok(())
    }

    /// Takes the whole messages at the front of `bytes`; how many bytes they have. What is left is
    /// shorter than the longest message.
    fn take_whole(
        &mut self,
        bytes: &[u8],
        received: Timestamp,
        sink: &mut impl RouteSink,
    ) -> Result<usize, FrameError> {
        let mut used = 0;
        loop {
            let rest = bytes.get(used..).unwrap_or_default();
            match frame(rest, self.options.message_bytes_max) {
                Ok(Frame::Whole { message, bytes }) => {
                    sink.next_record();
                    // Counted, and kept for whoever asks; the stream goes on.
                    let _ = self.message(&message, received, sink);
                    used += bytes;
                }
                Ok(Frame::NeedMore { .. }) => return Ok(used),
                Err(error) => {
                    self.counts.refuse(error.reason());
                    return Err(error);
                }
            }
        }
    }

    /// Takes one whole message. An error refuses it and is counted already.
    ///
    /// # Errors
    /// [`BmpError`]: the next message is not touched by it.
    pub fn message(
        &mut self,
        message: &RawMessage<'_>,
        received: Timestamp,
        sink: &mut impl RouteSink,
    ) -> Result<(), BmpError> {
        let taken = self.dispatch(message, received, sink);
        if let Err(error) = &taken {
            self.counts.refuse(error.reason());
            self.refusal.get_or_insert_with(|| error.clone());
        }
        taken
    }

    fn dispatch(
        &mut self,
        message: &RawMessage<'_>,
        received: Timestamp,
        sink: &mut impl RouteSink,
    ) -> Result<(), BmpError> {
        let mut input = Cursor::new(message.body);
        if message.version != VERSION {
            self.counts.draft_messages += 1;
            return Ok(());
        }
        self.counts.messages.count(message.kind);
        match message.kind {
            kind::INITIATION => {
                self.initiation(Tlvs(input), received, sink);
                Ok(())
            }
            kind::TERMINATION => {
                let words = termination_words(message.body);
                self.close(received, &format!("the router ends the BMP session: {words}"), sink);
                Ok(())
            }
            kind::ROUTE_MONITORING => {
                let per_peer = PerPeer::read(&mut input)?;
                self.route_monitoring(&per_peer, input, received, sink)
            }
            kind::STATISTICS_REPORT => {
                let per_peer = PerPeer::read(&mut input)?;
                self.statistics(&per_peer, input)
            }
            kind::PEER_UP => {
                let per_peer = PerPeer::read(&mut input)?;
                self.peer_up(&per_peer, input, received, sink)
            }
            kind::PEER_DOWN => {
                let per_peer = PerPeer::read(&mut input)?;
                self.peer_down(&per_peer, input, received, sink)
            }
            kind::ROUTE_MIRRORING => {
                PerPeer::read(&mut input)?;
                self.counts.mirroring(Tlvs(input));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The name that counts is the first one, if it comes before any peer: peers carry it.
    fn initiation(&mut self, tlvs: Tlvs<'_>, received: Timestamp, sink: &mut impl RouteSink) {
        self.counts.trailing_bytes += tlvs.torn_bytes() as u64;
        if self.options.restarts_on_initiation {
            self.close(received, "the router began a new BMP session", sink);
        }
        if let Some(value) = tlvs.first(tlv::SYS_DESCR) {
            self.description = Some(sanitised(value));
        }
        let name = tlvs.first(tlv::SYS_NAME).map(sanitised).filter(|name| !name.is_empty());
        match name {
            Some(name) if *name == *self.router => {}
            Some(name) if self.peers.is_empty() => self.router = name.into(),
            Some(_) => self.counts.renamed += 1,
            None => {}
        }
    }

    /// The neighbour of a header; a new one if there is room.
    fn neighbour(&mut self, per_peer: &PerPeer) -> Result<&mut Neighbour, BmpError> {
        let key = NeighbourKey::of(per_peer);
        let peers_max = self.options.peers_max;
        let is_full = self.neighbours.len() >= usize::try_from(peers_max).unwrap_or(usize::MAX);
        match self.neighbours.entry(key) {
            hashbrown::hash_map::Entry::Occupied(entry) => Ok(entry.into_mut()),
            hashbrown::hash_map::Entry::Vacant(_) if is_full => {
                Err(BmpError::TooManyPeers { peers_max })
            }
            hashbrown::hash_map::Entry::Vacant(entry) => Ok(entry.insert(Neighbour::default())),
        }
    }

    /// The id of one table of a neighbour, given on first sight, and whether it was live.
    fn view(&mut self, per_peer: &PerPeer, view: RibView) -> Result<(u32, bool), BmpError> {
        let place = place_of(view);
        if let Some(known) = self.neighbour(per_peer)?.views.get(place).copied().flatten() {
            return Ok((known.peer, known.is_live));
        }
        let domain = self.options.domains.of(&self.router, per_peer.distinguisher);
        let peer = self.peers.intern(PeerHeader {
            collector: Arc::clone(&self.collector),
            router: Some(Arc::clone(&self.router)),
            address: per_peer.address,
            asn: per_peer.asn,
            rib_view: view,
            distinguisher: per_peer.distinguisher,
            routing_domain: domain,
        });
        self.neighbour(per_peer)?.know(place, peer);
        Ok((peer, false))
    }

    fn route_monitoring(
        &mut self,
        per_peer: &PerPeer,
        mut input: Cursor<'_>,
        received: Timestamp,
        sink: &mut impl RouteSink,
    ) -> Result<(), BmpError> {
        let view = per_peer.rib_view();
        let (peer, was_live) = self.view(per_peer, view)?;
        if !was_live {
            self.first_route(per_peer, view, received, sink)?;
        }
        let message = Message::read(&mut input)?;
        self.counts.trailing_bytes += input.left() as u64;
        let Message::Update(body) = message else {
            self.counts.other_messages += 1;
            return Ok(());
        };
        let Some(neighbour) = self.neighbours.get_mut(&NeighbourKey::of(per_peer)) else {
            return Ok(());
        };
        let Some((header, memory)) = self.peers.peer_mut(peer) else { return Ok(()) };
        let labelled = per_peer.asn_width();
        let width = neighbour.width(labelled, body);
        self.counts.width_guesses += u64::from(width != labelled);
        let add_path = neighbour.add_path(view);
        let strips = self.options.strips_reporter;
        let reporter = neighbour.reporter(per_peer, strips, self.options.router_asn);
        let envelope = Envelope {
            time: received,
            router_time: per_peer.time,
            peer,
            header,
            width,
            is_local: false,
            add_path,
            is_snapshot: false,
            reporter: Some(reporter),
        };
        let guesses_before = self.counts.updates.add_path_guesses;
        self.counts.updates.update(&envelope, body, memory, sink)?;
        if add_path != AddPath::default() && self.counts.updates.add_path_guesses > guesses_before {
            // Some routers agree on path identifiers with the peer and report without them.
            neighbour.doubt_add_path(view);
        }
        Ok(())
    }

    /// A table is heard for the first time since the neighbour came up, or without that.
    fn first_route(
        &mut self,
        per_peer: &PerPeer,
        view: RibView,
        received: Timestamp,
        sink: &mut impl RouteSink,
    ) -> Result<(), BmpError> {
        let neighbour = self.neighbour(per_peer)?;
        neighbour.set_live(place_of(view), true);
        if neighbour.is_up {
            let up = neighbour.event(place_of(view), PeerState::Up, received);
            self.tell(up, None, sink);
        } else {
            self.counts.routes_without_peer_up += 1;
        }
        Ok(())
    }

    fn statistics(&mut self, per_peer: &PerPeer, input: Cursor<'_>) -> Result<(), BmpError> {
        let (mut sizes, mut unknown) = (TableSizes::default(), Vec::new());
        let facts = bmp_stats::for_each(input, |statistic| {
            sizes.take(&statistic);
            if bmp_stats::words(statistic.kind).is_none() {
                unknown.push(statistic.kind);
            }
        })?;
        self.counts.statistics += u64::from(facts.numbers);
        self.counts.opaque_statistics += u64::from(facts.opaque);
        self.counts.torn_reports += u64::from(facts.is_torn);
        unknown.into_iter().for_each(|kind| self.counts.unknown_statistic(kind));
        let view = per_peer.rib_view();
        let neighbour = self.neighbour(per_peer)?;
        neighbour.prefixes_accepted = sizes.accepted(view).or(neighbour.prefixes_accepted);
        Ok(())
    }

    fn peer_up(
        &mut self,
        per_peer: &PerPeer,
        input: Cursor<'_>,
        received: Timestamp,
        sink: &mut impl RouteSink,
    ) -> Result<(), BmpError> {
        let view = per_peer.rib_view();
        self.view(per_peer, view)?;
        let neighbour = self.neighbour(per_peer)?;
        let read = PeerUp::read(per_peer, input);
        let is_known = neighbour.is_up && neighbour.is_same_session(&read);
        self.counts.malformed_opens += u64::from(read.is_malformed);
        if is_known {
            // Huawei sends one for each table and family of the same session.
            self.counts.ups_repeated += 1;
            let neighbour = self.neighbour(per_peer)?;
            neighbour.learn(&read);
            if neighbour.is_live(place_of(view)) {
                return Ok(());
            }
        } else {
            let neighbour = self.neighbour(per_peer)?;
            let stale = neighbour.all_events(PeerState::Stale, received);
            neighbour.come_up(&read);
            self.counts.ups_without_down += u64::from(!stale.is_empty());
            stale.into_iter().for_each(|event| {
                self.tell(event, Some("the router reports a new session of the peer"), sink);
            });
        }
        let neighbour = self.neighbour(per_peer)?;
        neighbour.set_live(place_of(view), true);
        let up = neighbour.event(place_of(view), PeerState::Up, received);
        self.tell(up, None, sink);
        Ok(())
    }

    fn peer_down(
        &mut self,
        per_peer: &PerPeer,
        input: Cursor<'_>,
        received: Timestamp,
        sink: &mut impl RouteSink,
    ) -> Result<(), BmpError> {
        let reason = DownReason::read(input)?;
        let view = per_peer.rib_view();
        self.view(per_peer, view)?;
        let neighbour = self.neighbour(per_peer)?;
        let was_heard = neighbour.is_up || neighbour.has_live();
        if !was_heard {
            neighbour.set_live(place_of(view), true);
        }
        // RFC 7854 §4.9: with reason 5 the peer has not gone down, nobody tells of it any more.
        let state = match reason {
            DownReason::NotMonitored => PeerState::Stale,
            _ => PeerState::Down,
        };
        let down = neighbour.all_events(state, received);
        neighbour.go_down();
        self.counts.downs_without_up += u64::from(!was_heard);
        let words = reason.words();
        down.into_iter().for_each(|event| self.tell(event, Some(&words), sink));
        Ok(())
    }

    /// The stream is over: every table that was heard is as it was last heard, or not. The session
    /// can take another stream of the same router; ids stay.
    pub fn close(&mut self, received: Timestamp, reason: &str, sink: &mut impl RouteSink) {
        self.buffer.clear();
        let mut stale = Vec::new();
        for neighbour in self.neighbours.values_mut() {
            stale.extend(neighbour.all_events(PeerState::Stale, received));
            neighbour.go_down();
        }
        // The order of a hash map is none.
        stale.sort_by_key(|event| event.peer);
        stale.into_iter().for_each(|event| self.tell(event, Some(reason), sink));
    }

    fn tell(&self, event: PeerEvent, reason: Option<&str>, sink: &mut impl RouteSink) {
        let Some(header) = self.peers.get(event.peer) else { return };
        sink.session(&SessionEvent {
            time: event.time,
            peer: event.peer,
            header,
            state: event.state,
            codes: None,
            local_ip: event.local_ip,
            reason,
            prefixes_accepted: event.prefixes_accepted,
        });
    }
}
