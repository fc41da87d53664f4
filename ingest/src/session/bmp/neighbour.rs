//! Neighbour: what a BMP session knows of one BGP neighbour of its router, and of its tables.
//!
//! A Peer Up is for the neighbour; routes come by table (before and after policy, in and out), and
//! each table is a peer of its own in the rows. What the two OPENs agreed on says how its lists are
//! to be read: four-octet AS numbers, path identifiers by family and direction.

use std::net::IpAddr;

use schemas::batch::PeerState;
use schemas::bgp::{Asn, RibView};
use schemas::time::Timestamp;

use super::PeerEvent;
use crate::decode::Cursor;
use crate::decode::bgp::as_path::is_well_formed;
use crate::decode::bgp::open::{Open, OpenFacts};
use crate::decode::bgp::{AsnWidth, RawAttribute, UpdateBody, code};
use crate::decode::bmp::{PeerKind, PerPeer, address};
use crate::session::update::AddPath;

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
    pub(super) prefixes_accepted: Option<u64>,
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

    /// Takes the body of a Peer Up (RFC 7854 §4.10); false if an OPEN in it does not hold together.
    /// What is not known then is guessed list by list.
    pub(super) fn come_up(&mut self, per_peer: &PerPeer, mut input: Cursor<'_>) -> bool {
        let views = self.views.map(|table| table.map(|table| Table { is_live: false, ..table }));
        *self = Self { is_up: true, views, ..Self::default() };
        let Ok(octets) = input.array::<16>("local address") else { return false };
        let local = address(octets, per_peer.is_ipv6());
        self.local_ip = Some(local).filter(|address| !address.is_unspecified());
        if input.take("ports", 4).is_err() {
            return false;
        }
        let Ok(sent) = Open::read(&mut input) else { return false };
        let sent = sent.facts();
        self.router_asn = Some(sent.asn).filter(|asn| asn.0 != 0);
        let Ok(received) = Open::read(&mut input) else { return false };
        let received = received.facts();
        self.agree(&sent, &received);
        !sent.is_malformed && !received.is_malformed
    }

    fn agree(&mut self, sent: &OpenFacts, received: &OpenFacts) {
        let has_four = sent.has_four_octets && received.has_four_octets;
        self.agreed_width = Some(if has_four { AsnWidth::Four } else { AsnWidth::Two });
        let both = |receiver: (bool, bool), sender: (bool, bool)| receiver.0 && sender.1;
        self.add_path_in = AddPath {
            ipv4: both(sent.add_path_ipv4, received.add_path_ipv4),
            ipv6: both(sent.add_path_ipv6, received.add_path_ipv6),
        };
        self.add_path_out = AddPath {
            ipv4: both(received.add_path_ipv4, sent.add_path_ipv4),
            ipv6: both(received.add_path_ipv6, sent.add_path_ipv6),
        };
        // RFC 9069 §5.1: the OPENs are made up to say how the table is written.
        let named =
            |one: (bool, bool), other: (bool, bool)| (one.0 || one.1) && (other.0 || other.1);
        self.add_path_local = AddPath {
            ipv4: named(sent.add_path_ipv4, received.add_path_ipv4),
            ipv6: named(sent.add_path_ipv6, received.add_path_ipv6),
        };
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
