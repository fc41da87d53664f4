//! Neighbour: what a BMP session knows of one BGP neighbour of its router, and of its tables.
//!
//! A Peer Up is for the neighbour; routes come by table (before and after policy, in and out), and
//! each table is a peer of its own in the rows. What the two OPENs agreed on says how its lists are
//! to be read: four-octet AS numbers, path identifiers by family and direction.

use std::net::IpAddr;

use schemas::batch::PeerState;
use schemas::bgp::{Asn, RibView};
use schemas::time::Timestamp;

use crate::decode::Cursor;
use crate::decode::bgp::as_path::is_well_formed;
use crate::decode::bgp::open::{Open, OpenFacts};
use crate::decode::bgp::{AsnWidth, RawAttribute, UpdateBody, code};
use crate::decode::bmp::{PeerKind, PerPeer, address};
use crate::session::update::{AddPath, Reporter};

/// How many tables a neighbour can have: one a [`RibView`].
pub(super) const VIEWS: usize = 5;

/// What tells neighbours apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct NeighbourKey {
    pub(super) kind: PeerKind,
    pub(super) distinguisher: u64,
    pub(super) address: IpAddr,
    pub(super) asn: Asn,
}

impl NeighbourKey {
    pub(super) const fn of(per_peer: &PerPeer) -> Self {
        let PerPeer { kind, distinguisher, address, asn, .. } = *per_peer;
        Self { kind, distinguisher, address, asn }
    }
}

/// One table of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Table {
    /// Its id among the peers of the session.
    pub(super) peer: u32,
    /// Whether it was heard, or told to be up, since it was last down.
    pub(super) is_live: bool,
}

/// A neighbour of the router.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Neighbour {
    /// Whether a Peer Up was heard and no Peer Down behind it.
    pub(super) is_up: bool,
    pub(super) views: [Option<Table>; VIEWS],
    /// Path identifiers in what the neighbour sends.
    pub(super) add_path_in: AddPath,
    /// Path identifiers in what the router sends.
    pub(super) add_path_out: AddPath,
    /// Path identifiers in a table of the router's own.
    pub(super) add_path_local: AddPath,
    /// What both OPENs say of AS numbers.
    pub(super) agreed_width: Option<AsnWidth>,
    /// The router's own number, by the OPEN that it sent.
    pub(super) router_asn: Option<Asn>,
    /// The router's end of the session.
    pub(super) local_ip: Option<IpAddr>,
    /// Its ports, at the router and at the peer.
    pub(super) ports: Option<(u16, u16)>,
    pub(super) prefixes_accepted: Option<u64>,
}

/// A session event before its peer is looked up.
#[derive(Clone, Copy, Debug)]
pub(super) struct PeerEvent {
    pub(super) peer: u32,
    pub(super) state: PeerState,
    pub(super) time: Timestamp,
    pub(super) local_ip: Option<IpAddr>,
    pub(super) prefixes_accepted: Option<u64>,
}

/// What a Peer Up says, as far as it holds together (RFC 7854 §4.10).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PeerUp {
    local_ip: Option<IpAddr>,
    ports: Option<(u16, u16)>,
    sent: Option<OpenFacts>,
    received: Option<OpenFacts>,
    /// Whether an OPEN in it does not hold together.
    pub(super) is_malformed: bool,
}

impl PeerUp {
    pub(super) fn read(per_peer: &PerPeer, input: Cursor<'_>) -> Self {
        let mut up = Self::default();
        let whole = up.fill(per_peer, input).is_some();
        let is_lying = |open: &OpenFacts| open.is_malformed;
        up.is_malformed = !whole || up.sent.iter().chain(&up.received).any(is_lying);
        up
    }

    fn fill(&mut self, per_peer: &PerPeer, mut input: Cursor<'_>) -> Option<()> {
        let local = address(input.array("local address").ok()?, per_peer.is_ipv6());
        self.local_ip = Some(local).filter(|address| !address.is_unspecified());
        self.ports = Some((input.u16("local port").ok()?, input.u16("remote port").ok()?));
        self.sent = Some(Open::read(&mut input).ok()?.facts());
        self.received = Some(Open::read(&mut input).ok()?.facts());
        Some(())
    }
}

/// Where the table of a view lies in [`Neighbour::views`].
pub(super) const fn place_of(view: RibView) -> usize {
    match view {
        RibView::AdjRibInPre => 0,
        RibView::AdjRibInPost => 1,
        RibView::AdjRibOutPre => 2,
        RibView::AdjRibOutPost => 3,
        RibView::LocRib => 4,
    }
}

impl Neighbour {
    /// Gives the id of a table that was not known.
    pub(super) fn know(&mut self, place: usize, peer: u32) {
        if let Some(table) = self.views.get_mut(place) {
            *table = Some(Table { peer, is_live: false });
        }
    }

    pub(super) fn set_live(&mut self, place: usize, is_live: bool) {
        if let Some(Some(table)) = self.views.get_mut(place) {
            table.is_live = is_live;
        }
    }

    pub(super) fn has_live(&self) -> bool {
        self.views.iter().flatten().any(|table| table.is_live)
    }

    /// An event of one table.
    pub(super) fn event(&self, place: usize, state: PeerState, time: Timestamp) -> PeerEvent {
        let table = self.views.get(place).copied().flatten();
        let peer = table.map_or(u32::MAX, |table| table.peer);
        let Self { local_ip, prefixes_accepted, .. } = *self;
        PeerEvent { peer, state, time, local_ip, prefixes_accepted }
    }

    /// An event of every live table.
    pub(super) fn all_events(&self, state: PeerState, time: Timestamp) -> Vec<PeerEvent> {
        let places = self.views.iter().enumerate();
        let live = places.filter(|(_, table)| table.is_some_and(|table| table.is_live));
        live.map(|(place, _)| self.event(place, state, time)).collect()
    }

    pub(super) fn is_live(&self, place: usize) -> bool {
        self.views.get(place).copied().flatten().is_some_and(|table| table.is_live)
    }

    /// Whether a Peer Up is of the session that is up: the same ends of it.
    pub(super) fn is_same_session(&self, up: &PeerUp) -> bool {
        self.ports.is_some() && (self.ports, self.local_ip) == (up.ports, up.local_ip)
    }

    /// A session began: what it agreed on is known as far as the Peer Up holds together; what is not
    /// known is guessed list by list.
    pub(super) fn come_up(&mut self, up: &PeerUp) {
        self.go_down();
        self.is_up = true;
        self.ports = up.ports;
        self.local_ip = up.local_ip;
        self.learn(up);
    }

    /// Takes what the OPENs of a Peer Up say; another one of the same session adds to it.
    pub(super) fn learn(&mut self, up: &PeerUp) {
        let Some(sent) = &up.sent else { return };
        self.router_asn = Some(sent.asn).filter(|asn| asn.0 != 0);
        if let Some(received) = &up.received {
            self.agree(sent, received);
        }
    }

    fn agree(&mut self, sent: &OpenFacts, received: &OpenFacts) {
        let has_four = sent.has_four_octets && received.has_four_octets;
        self.agreed_width = Some(if has_four { AsnWidth::Four } else { AsnWidth::Two });
        let (ours, theirs) = (sent, received);
        let both = |receiver: (bool, bool), sender: (bool, bool)| receiver.0 && sender.1;
        self.add_path_in.ipv4 |= both(ours.add_path_ipv4, theirs.add_path_ipv4);
        self.add_path_in.ipv6 |= both(ours.add_path_ipv6, theirs.add_path_ipv6);
        self.add_path_out.ipv4 |= both(theirs.add_path_ipv4, ours.add_path_ipv4);
        self.add_path_out.ipv6 |= both(theirs.add_path_ipv6, ours.add_path_ipv6);
        // RFC 9069 §5.1: the OPENs are made up to say how the table is written.
        let named =
            |one: (bool, bool), other: (bool, bool)| (one.0 || one.1) && (other.0 || other.1);
        self.add_path_local.ipv4 |= named(ours.add_path_ipv4, theirs.add_path_ipv4);
        self.add_path_local.ipv6 |= named(ours.add_path_ipv6, theirs.add_path_ipv6);
    }

    /// Who reports a route of this neighbour, and may have put itself in front of its path: in what
    /// the neighbour announced, and in the router's own table. What the router announces itself
    /// begins with its number by right.
    pub(super) fn reporter(
        &self,
        per_peer: &PerPeer,
        strips: bool,
        configured: Option<Asn>,
    ) -> Reporter {
        match per_peer.rib_view() {
            RibView::AdjRibInPre | RibView::AdjRibInPost if strips => Reporter {
                asn: self.router_asn.or(configured),
                neighbour: Some(per_peer.asn),
                guesses: self.router_asn.is_none(),
            },
            // RFC 9069 §4.2: the AS number in the header is the router's.
            RibView::LocRib if strips => {
                Reporter { asn: Some(per_peer.asn), neighbour: None, guesses: false }
            }
            _ => Reporter::default(),
        }
    }

    /// Nothing of it is live any more. What was agreed on ends with the session.
    pub(super) fn go_down(&mut self) {
        let views = self.views.map(|table| table.map(|table| Table { is_live: false, ..table }));
        *self = Self { views, ..Self::default() };
    }

    /// What is agreed on of path identifiers in the lists of a table.
    pub(super) const fn add_path(&self, view: RibView) -> AddPath {
        match view {
            RibView::AdjRibInPre | RibView::AdjRibInPost => self.add_path_in,
            RibView::AdjRibOutPre | RibView::AdjRibOutPost => self.add_path_out,
            RibView::LocRib => self.add_path_local,
        }
    }

    /// A list could not be read as agreed: until the next Peer Up every list is judged by itself.
    pub(super) const fn doubt_add_path(&mut self, view: RibView) {
        let none = AddPath { ipv4: false, ipv6: false };
        match view {
            RibView::AdjRibInPre | RibView::AdjRibInPost => self.add_path_in = none,
            RibView::AdjRibOutPre | RibView::AdjRibOutPost => self.add_path_out = none,
            RibView::LocRib => self.add_path_local = none,
        }
    }

    /// Width of the AS numbers of an UPDATE: as its header says, unless the OPENs say otherwise and
    /// the path reads well in their way only.
    pub(super) fn width(&self, labelled: AsnWidth, body: Cursor<'_>) -> AsnWidth {
        match self.agreed_width {
            Some(agreed) if agreed != labelled => {
                if as_path(body).is_some_and(|path| {
                    !is_well_formed(path, labelled) && is_well_formed(path, agreed)
                }) {
                    agreed
                } else {
                    labelled
                }
            }
            _ => labelled,
        }
    }
}

/// Width of the AS numbers of an UPDATE of which nothing else is known: four octets, unless the path
/// reads well in two only.
pub(crate) fn path_width(body: Cursor<'_>) -> AsnWidth {
    let is_two = as_path(body).is_some_and(|path| {
        !is_well_formed(path, AsnWidth::Four) && is_well_formed(path, AsnWidth::Two)
    });
    if is_two { AsnWidth::Two } else { AsnWidth::Four }
}

/// The value of `AS_PATH` in the body of an UPDATE.
fn as_path(body: Cursor<'_>) -> Option<&[u8]> {
    let mut block = UpdateBody::read(body).ok()?.attributes;
    loop {
        let attribute = RawAttribute::next(&mut block).ok()?;
        if attribute.code == code::AS_PATH {
            return Some(attribute.value);
        }
    }
}
