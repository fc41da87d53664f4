//! What a BMP session must remember over a restart, as serde types: the router's name and what is
//! known of each neighbour. Counts, and half a message in the buffer, are not of it.

use std::net::IpAddr;

use schemas::bgp::{Asn, RibView};
use serde::{Deserialize, Serialize};

use super::neighbour::place_of;
use super::{BmpSession, sanitised};
use crate::decode::bgp::AsnWidth;
use crate::decode::bmp::{PeerKind, PerPeer};
use crate::session::update::AddPath;

/// Tables of a neighbour in the order of the bits of [`NeighbourState::live_views`].
const VIEWS: [RibView; 5] = [
    RibView::AdjRibInPre,
    RibView::AdjRibInPost,
    RibView::AdjRibOutPre,
    RibView::AdjRibOutPost,
    RibView::LocRib,
];

/// The memory of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BmpState {
    /// The router's name.
    pub router: String,
    /// Its neighbours that are up, or were heard.
    pub neighbours: Vec<NeighbourState>,
}

/// The memory of a neighbour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeighbourState {
    /// Peer type of its header.
    pub kind: u8,
    /// Route distinguisher.
    pub distinguisher: u64,
    /// Its address.
    pub address: IpAddr,
    /// Its AS number.
    pub asn: u32,
    /// Whether a Peer Up was heard.
    pub is_up: bool,
    /// Its tables that were heard, a bit each.
    pub live_views: u8,
    /// Octets of AS numbers that the OPENs agreed on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asn_octets: Option<u8>,
    /// Path identifiers: what it sends, what the router sends, the router's own table; IPv4 and IPv6
    /// a bit each.
    pub add_path: u8,
    /// The router's AS number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router_asn: Option<u32>,
    /// The router's end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_ip: Option<IpAddr>,
    /// Ports of its session, at the router and at the peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<(u16, u16)>,
    /// Prefixes accepted, by its newest statistics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefixes_accepted: Option<u64>,
}

impl BmpSession {
    /// What must be remembered, in an order of its own.
    #[must_use]
    pub fn state(&self) -> BmpState {
        let mut neighbours: Vec<_> = self
            .neighbours
            .iter()
            .filter(|(_, neighbour)| neighbour.is_up || neighbour.has_live())
            .collect();
        neighbours.sort_by_key(|(key, _)| **key);
        let states = neighbours.into_iter().map(|(key, neighbour)| {
            let live = |place: &usize| {
                neighbour.views.get(*place).copied().flatten().is_some_and(|table| table.is_live)
            };
            let bits = (0..VIEWS.len()).filter(live).fold(0, |bits, place| bits | 1 << place);
            let paths = [neighbour.add_path_in, neighbour.add_path_out, neighbour.add_path_local];
            let flags = paths.into_iter().flat_map(|path| [path.ipv4, path.ipv6]);
            NeighbourState {
                kind: key.kind.to_wire(),
                distinguisher: key.distinguisher,
                address: key.address,
                asn: key.asn.0,
                is_up: neighbour.is_up,
                live_views: bits,
                asn_octets: neighbour.agreed_width.map(|width| match width {
                    AsnWidth::Two => 2,
                    AsnWidth::Four => 4,
                }),
                add_path: flags.zip(0..).fold(0, |all, (flag, bit)| all | u8::from(flag) << bit),
                router_asn: neighbour.router_asn.map(|asn| asn.0),
                local_ip: neighbour.local_ip,
                ports: neighbour.ports,
                prefixes_accepted: neighbour.prefixes_accepted,
            }
        });
        BmpState { router: self.router.to_string(), neighbours: states.collect() }
    }

    /// Takes up what was remembered. For a session that has met nothing yet; neighbours beyond the
    /// limit, and of kinds that are not known, are left.
    pub fn restore(&mut self, state: &BmpState) {
        self.router = sanitised(state.router.as_bytes()).into();
        for saved in &state.neighbours {
            let Some(kind) = PeerKind::from_wire(saved.kind) else { continue };
            let per_peer = PerPeer {
                kind,
                flags: 0,
                distinguisher: saved.distinguisher,
                address: saved.address,
                asn: Asn(saved.asn),
                bgp_id: 0,
                time: None,
            };
            for (place, view) in VIEWS.into_iter().enumerate() {
                if saved.live_views >> place & 1 == 1 && self.view(&per_peer, view).is_err() {
                    return;
                }
            }
            let bit = |place: u8| saved.add_path >> place & 1 == 1;
            let Ok(neighbour) = self.neighbour(&per_peer) else { return };
            for view in VIEWS {
                neighbour.set_live(place_of(view), true);
            }
            neighbour.is_up = saved.is_up;
            neighbour.add_path_in = AddPath { ipv4: bit(0), ipv6: bit(1) };
            neighbour.add_path_out = AddPath { ipv4: bit(2), ipv6: bit(3) };
            neighbour.add_path_local = AddPath { ipv4: bit(4), ipv6: bit(5) };
            neighbour.agreed_width = match saved.asn_octets {
                Some(2) => Some(AsnWidth::Two),
                Some(4) => Some(AsnWidth::Four),
                _ => None,
            };
            neighbour.router_asn = saved.router_asn.map(Asn);
            neighbour.local_ip = saved.local_ip;
            neighbour.ports = saved.ports;
            neighbour.prefixes_accepted = saved.prefixes_accepted;
        }
    }
}
