//! The wire: tables and news in, real MRT bytes out (RFC 6396), through `ingest::encode`.
//!
//! A peer's routes carry what its owner tagged them with and, on the session of a connection, the
//! community of the edge where they enter: large, `65551:1:N`, N as in the edge catalogue. Nothing
//! is decided here.

use std::net::{IpAddr, Ipv6Addr};

use ingest::encode::bgp::{Update, update};
use ingest::encode::mrt;
use schemas::bgp::{AsPath, Asn, Community, Family, Origin, PathAttributes, Prefix};
use schemas::time::Timestamp;

use super::random::Random;
use super::scenario::{COLLECTOR_ADDRESS, COLLECTOR_ASN};
use super::timeline::PrefixTimeline;
use super::topology::Topology;
use super::vantage::{News, PeerNews, VantagePoint};

/// The name of the collector's view.
const VIEW: &str = "peerscope-simulator";

/// The community of the edge of this number.
#[must_use]
pub const fn edge_community(number: u32) -> Community {
    Community::Large(COLLECTOR_ASN.0, 1, number)
}

fn attributes(
    point: &VantagePoint,
    prefix: Prefix,
    path: &[Asn],
    tags: &[Community],
) -> PathAttributes {
    let next_hop = match prefix.family() {
        Family::Ipv4 => IpAddr::V4(point.address),
        Family::Ipv6 => IpAddr::V6(next_hop_v6(point)),
    };
    let edge = point.edge.map(|edge| edge_community(edge.number()));
    PathAttributes {
        origin: Some(Origin::Igp),
        as_path: AsPath::sequence(path.iter().map(|asn| asn.0)),
        next_hop: Some(next_hop),
        communities: tags.iter().copied().chain(edge).collect(),
        ..PathAttributes::default()
    }
}

fn next_hop_v6(point: &VantagePoint) -> Ipv6Addr {
    let [.., host] = point.address.octets();
    Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, u16::from(host))
}

/// The collector's table at `time`, by prefix: what every peer shows before anything happens.
#[must_use]
pub fn table(
    topology: &Topology,
    points: &[VantagePoint],
    timelines: &[PrefixTimeline],
    time: Timestamp,
    random: &mut Random,
) -> Vec<u8> {
    let mut out = Vec::new();
    let peers: Vec<(IpAddr, Asn)> =
        points.iter().map(|point| (IpAddr::V4(point.address), point.asn)).collect();
    mrt::peer_index_table(&mut out, time, COLLECTOR_ADDRESS.to_bits(), VIEW, &peers);
    let mut sequence = 0;
    for timeline in timelines {
        let Some((_, routes)) = timeline.states.first() else {
            continue;
        };
        let shown: Vec<(u16, PathAttributes)> = (0..)
            .zip(points)
            .filter_map(|(peer, point)| {
                let path = point.shown(topology, &timeline.prefix, routes)?;
                Some((peer, attributes(point, timeline.prefix, &path, &timeline.communities)))
            })
            .collect();
        if shown.is_empty() {
            continue;
        }
        let entries: Vec<mrt::RibEntry<'_>> = shown
            .iter()
            .map(|(peer_index, attributes)| mrt::RibEntry {
                peer_index: *peer_index,
                originated: time.plus_secs(-(random.between(3_600, 900_000) as i64)),
                attributes,
            })
            .collect();
        mrt::rib(&mut out, time, sequence, timeline.prefix, &entries);
        sequence += 1;
    }
    out
}

/// The news as BGP messages and state changes, in the order given.
#[must_use]
pub fn updates(
    points: &[VantagePoint],
    timelines: &[PrefixTimeline],
    news: &[PeerNews],
) -> Vec<u8> {
    let mut out = Vec::new();
    for one in news {
        let Some(point) = points.get(usize::from(one.peer)) else {
            continue;
        };
        let session = mrt::Session {
            peer_address: IpAddr::V4(point.address),
            peer_asn: point.asn,
            local_address: IpAddr::V4(COLLECTOR_ADDRESS),
            local_asn: COLLECTOR_ASN,
        };
        match &one.news {
            News::State { old, new } => mrt::state_change(&mut out, one.time, &session, *old, *new),
            News::Route { prefix, path: None } => {
                let gone = Update { withdrawn: &[*prefix], announced: &[], attributes: None };
                mrt::message(&mut out, one.time, &session, &update(&gone));
            }
            News::Route { prefix, path: Some(path) } => {
                let found = timelines.binary_search_by_key(prefix, |timeline| timeline.prefix);
                let timeline = found.ok().and_then(|place| timelines.get(place));
                let tags = timeline.map_or(&[][..], |timeline| &timeline.communities);
                let attributes = attributes(point, *prefix, path, tags);
                let told =
                    Update { withdrawn: &[], announced: &[*prefix], attributes: Some(&attributes) };
                mrt::message(&mut out, one.time, &session, &update(&told));
            }
        }
    }
    out
}
