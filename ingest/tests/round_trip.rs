//! Encode then decode is the identity: any routes, both families, both widths of AS numbers, with
//! path identifiers and without, in as many messages as it takes.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs
)]

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ingest::decode::bgp::AsnWidth;
use ingest::decode::mrt::{Frame, frame};
use ingest::encode::messages::{EncodeError, News, Path, messages};
use ingest::encode::mrt::{self, Session};
use ingest::session::{Action, MrtSession, RouteSink, SessionEvent, UpdateView};
use proptest::prelude::*;
use schemas::bgp::{AsPath, AsSegment, Asn, Community, Disposition, Family, Origin};
use schemas::bgp::{PathAttributes, Prefix, SegmentKind};
use schemas::time::Timestamp;

/// What a session tells: routes with the attributes of those that are announced, and states.
#[derive(Debug, Default)]
struct Told {
    routes: Vec<(Action, Prefix, Option<u32>, Option<PathAttributes>)>,
    states: Vec<(Timestamp, IpAddr, u16, u16)>,
    times: BTreeSet<Timestamp>,
    peers: BTreeSet<IpAddr>,
}

impl RouteSink for Told {
    fn update(&mut self, update: &UpdateView<'_>) {
        self.times.insert(update.time);
        self.peers.insert(update.header.address);
        let attributes = update.attributes.decode();
        assert_eq!(attributes.disposition, Disposition::Accepted);
        update.for_each_prefix(|action, prefix, path_id| {
            let attributes = (action == Action::Announce).then(|| attributes.clone());
            self.routes.push((action, prefix, path_id, attributes));
        });
    }

    fn session(&mut self, event: &SessionEvent<'_>) {
        if let Some((old, new)) = event.codes {
            let address = peer_of(self.states.len()).peer_address;
            self.states.push((event.time, address, old, new));
        }
    }
}

fn read(mut bytes: &[u8]) -> Told {
    let (mut session, mut told) = (MrtSession::new(Arc::from("archive")), Told::default());
    while !bytes.is_empty() {
        let Ok(Frame::Whole { record, bytes: used }) = frame(bytes) else { panic!("{bytes:?}") };
        session.record(&record, &mut told).unwrap();
        bytes = &bytes[used..];
    }
    assert_eq!(session.counts().updates.add_path_guesses, 0);
    told
}

fn peer_of(number: usize) -> Session {
    let (peer_address, local_address) = match number % 2 {
        0 => ([192, 0, 2, 7].into(), [192, 0, 2, 8].into()),
        _ => ("2001:db8::7".parse().unwrap(), "2001:db8::8".parse().unwrap()),
    };
    Session { peer_address, peer_asn: Asn(64_500), local_address, local_asn: Asn(64_511) }
}

/// Numbers of either size, `AS_TRANS` left out: it means something else.
fn asn() -> impl Strategy<Value = Asn> {
    prop_oneof![1..=23_455_u32, 23_457..=65_535_u32, any::<u32>()].prop_map(Asn)
}

/// A path as two octets can tell it too: confederations at its front only, of small numbers.
fn as_path() -> impl Strategy<Value = AsPath> {
    let of = |kinds: [SegmentKind; 2], asns: BoxedStrategy<Asn>| {
        let asns = prop::collection::vec(asns, 1..40);
        let kinds = prop::sample::select(kinds.to_vec());
        (kinds, asns).prop_map(|(kind, asns)| AsSegment { kind, asns })
    };
    let small = (1..=23_455_u32).prop_map(Asn).boxed();
    let confederation = of([SegmentKind::ConfedSequence, SegmentKind::ConfedSet], small);
    let plain = of([SegmentKind::Sequence, SegmentKind::Set], asn().boxed());
    let parts = (prop::collection::vec(confederation, 0..2), prop::collection::vec(plain, 1..4));
    parts.prop_map(|(front, back)| AsPath { segments: [front, back].concat() })
}

fn communities() -> impl Strategy<Value = Vec<Community>> {
    let kinds = (
        prop::collection::vec(any::<u32>().prop_map(Community::Standard), 0..80),
        prop::collection::vec(any::<[u8; 8]>().prop_map(Community::Extended), 0..3),
        prop::collection::vec(any::<[u8; 20]>().prop_map(Community::ExtendedIpv6), 0..3),
        prop::collection::vec(any::<[u32; 3]>(), 0..30),
    );
    kinds.prop_map(|(standard, extended, ipv6, large)| {
        let large = large.into_iter().map(|[a, b, c]| Community::Large(a, b, c)).collect();
        [standard, extended, ipv6, large].concat()
    })
}

fn next_hop() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u32>().prop_map(|bits| Ipv4Addr::from_bits(bits).into()),
        any::<u128>().prop_map(|bits| Ipv6Addr::from_bits(bits | 1 << 127).into()),
    ]
}

fn attributes() -> impl Strategy<Value = PathAttributes> {
    let origin = prop_oneof![Just(Origin::Igp), Just(Origin::Egp), Just(Origin::Incomplete)];
    let aggregator = prop::option::of((asn(), any::<[u8; 4]>()));
    let clusters = prop::collection::vec(any::<u32>(), 0..4);
    let unknown = prop::collection::vec(any::<u8>(), 0..300);
    let rest = (any::<bool>(), aggregator, clusters, any::<Option<u64>>(), 36..=255_u8, unknown);
    let main = (origin, as_path(), communities(), any::<[Option<u32>; 4]>(), next_hop());
    (main, rest).prop_map(|((origin, as_path, communities, numbers, next_hop), rest)| {
        let [med, local_pref, originator_id, otc] = numbers;
        let (atomic_aggregate, aggregator, cluster_list, aigp, code, value) = rest;
        let flags = if value.len() > 255 { 0xd0 } else { 0xc0 };
        PathAttributes {
            origin: Some(origin),
            as_path,
            next_hop: Some(next_hop),
            med,
            local_pref,
            atomic_aggregate,
            aggregator: aggregator.map(|(asn, octets)| (asn, IpAddr::from(octets))),
            communities,
            originator_id,
            cluster_list,
            aigp,
            otc: otc.map(Asn),
            unknown: vec![(flags, code, value)],
            disposition: Disposition::Accepted,
        }
    })
}

/// Prefixes of both families, the default route not among them: beside others it is doubted.
fn paths(most: usize) -> impl Strategy<Value = Vec<Prefix>> {
    let prefix = (any::<bool>(), any::<u128>(), 1..=128_u8).prop_map(|(is_v4, bits, length)| {
        if is_v4 {
            Prefix::of(Ipv4Addr::from_bits(bits as u32).into(), 1 + length % 32)
        } else {
            Prefix::of(Ipv6Addr::from_bits(bits).into(), length)
        }
    });
    prop::collection::vec(prefix, 0..most)
}

/// The next hop as it comes back: IPv4 lies mapped in IPv6 for a prefix of IPv6 (RFC 4798).
fn hop_of(prefix: Prefix, hop: IpAddr) -> IpAddr {
    match hop {
        IpAddr::V4(address) if prefix.family() == Family::Ipv6 => address.to_ipv6_mapped().into(),
        hop => hop,
    }
}

proptest! {
    #[test]
    fn any_routes_say_the_same_after_the_wire(
        attributes in attributes(),
        withdrawn in paths(600),
        announced in paths(600),
        path_id in prop::option::of(any::<u32>()),
        is_narrow in any::<bool>(),
        micros in 0_i64..4_000_000_000_000_000,
        is_v6_peer in any::<bool>(),
    ) {
        let identified = |prefixes: &[Prefix]| -> Vec<Path> {
            let number = |(place, prefix): (usize, &Prefix)| {
                (*prefix, path_id.map(|first| first.wrapping_add(place as u32)))
            };
            prefixes.iter().enumerate().map(number).collect()
        };
        let (withdrawn, announced) = (identified(&withdrawn), identified(&announced));
        let width = if is_narrow { AsnWidth::Two } else { AsnWidth::Four };
        let news = News {
            withdrawn: &withdrawn,
            announced: &announced,
            attributes: Some(&attributes),
            width,
            has_path_ids: path_id.is_some(),
            message_bytes_max: 4_096,
        };
        let subtype = match (is_narrow, path_id) {
            (true, None) => 1,
            (false, None) => 4,
            (true, Some(_)) => 8,
            (false, Some(_)) => 9,
        };
        let (time, peer) = (Timestamp(micros), peer_of(is_v6_peer.into()));
        let mut stream = vec![];
        for message in messages(&news).unwrap() {
            prop_assert!(message.len() <= 4_096);
            mrt::message_of(&mut stream, time, &peer, subtype, &message);
        }
        let told = read(&stream);
        let mut want = vec![];
        for (action, paths) in [(Action::Withdraw, &withdrawn), (Action::Announce, &announced)] {
            for family in [Family::Ipv4, Family::Ipv6] {
                for (prefix, path_id) in paths.iter().filter(|(prefix, _)| prefix.family() == family) {
                    let said = (action == Action::Announce).then(|| PathAttributes {
                        next_hop: attributes.next_hop.map(|hop| hop_of(*prefix, hop)),
                        ..attributes.clone()
                    });
                    want.push((action, *prefix, *path_id, said));
                }
            }
        }
        prop_assert_eq!(told.routes, want);
        prop_assert!(told.times.iter().all(|told| *told == time));
        prop_assert!(told.peers.iter().all(|told| *told == peer.peer_address));
    }

    #[test]
    fn a_state_change_says_the_same_after_the_wire(
        states in prop::collection::vec((0..2_000_000_000_i64, 1..=8_u16, 1..=8_u16), 1..5),
    ) {
        let (mut stream, mut want) = (vec![], vec![]);
        for (number, (secs, old, new)) in states.into_iter().enumerate() {
            let (time, peer) = (Timestamp::from_secs(secs), peer_of(number));
            mrt::state_change(&mut stream, time, &peer, old, new);
            want.push((time, peer.peer_address, old, new));
        }
        prop_assert_eq!(read(&stream).states, want);
    }
}

#[test]
fn attributes_that_leave_no_room_are_refused_and_not_cut() {
    let prefix: Prefix = "192.0.2.0/24".parse().unwrap();
    let mut attributes = PathAttributes {
        next_hop: Some([192, 0, 2, 1].into()),
        unknown: vec![(0xd0, 99, vec![0; 4_040])],
        ..PathAttributes::default()
    };
    let announced = [(prefix, None)];
    let encode = |attributes: Option<&PathAttributes>, message_bytes_max| {
        let (width, has_path_ids) = (AsnWidth::Four, false);
        messages(&News {
            withdrawn: &[],
            announced: &announced,
            attributes,
            width,
            has_path_ids,
            message_bytes_max,
        })
    };
    assert_eq!(encode(Some(&attributes), 4_096).map(|all| all.len()), Ok(1));
    attributes.unknown[0].2.resize(4_060, 0);
    let refused = encode(Some(&attributes), 4_096).unwrap_err();
    assert!(matches!(refused, EncodeError::AttributesTooLong { .. }), "{refused}");
    assert_eq!(encode(Some(&attributes), u16::MAX).map(|all| all.len()), Ok(1));
    assert_eq!(encode(None, 4_096), Err(EncodeError::NoAttributes { prefixes: 1 }));
}

#[test]
fn thirty_thousand_prefixes_take_as_many_messages_as_they_need() {
    let many: Vec<Path> =
        (0..30_000_u32).map(|n| (Prefix::v4((n << 8).to_be_bytes(), 24), None)).collect();
    let attributes = PathAttributes {
        origin: Some(Origin::Igp),
        next_hop: Some([192, 0, 2, 1].into()),
        ..PathAttributes::default()
    };
    let news = News {
        withdrawn: &many,
        announced: &many,
        attributes: Some(&attributes),
        width: AsnWidth::Four,
        has_path_ids: false,
        message_bytes_max: u16::MAX,
    };
    let mut stream = vec![];
    for message in messages(&news).unwrap() {
        mrt::message(&mut stream, Timestamp::from_secs(1), &peer_of(0), &message);
    }
    let told = read(&stream).routes;
    let prefixes = |wanted| -> Vec<Path> {
        let all = told.iter().filter(|(action, ..)| *action == wanted);
        all.map(|(_, prefix, path_id, _)| (*prefix, *path_id)).collect()
    };
    assert!(prefixes(Action::Withdraw) == many && prefixes(Action::Announce) == many);
}
