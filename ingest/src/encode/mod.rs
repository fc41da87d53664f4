//! Encoding: routes in, real wire bytes out. The simulator writes its world with it, and the tests
//! hold the decoders against it.
//!
//! [`bgp`] makes an UPDATE (RFC 4271, 4760), [`messages`] as many as it takes (RFC 7911, 6793),
//! [`mrt`] the records around them and tables (RFC 6396), [`bmp`] what a router reports (RFC 7854),
//! [`open`] the OPENs in it, [`bgpdump`] the lines that bgpdump prints; [`rtr`] what a router asks a cache of VRPs.

pub mod bgp;
pub mod bgpdump;
pub mod bmp;
pub mod messages;
pub mod mrt;
pub mod open;
pub mod rtr;

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    use std::sync::Arc;

    use proptest::prelude::*;
    use schemas::bgp::{AsPath, AsSegment, Asn, Community, Family, Origin, PathAttributes, Prefix};
    use schemas::bgp::{Disposition, SegmentKind};
    use schemas::time::Timestamp;

    use super::mrt::{RibEntry, Session};
    use super::{bgp, mrt};
    use crate::decode::mrt::{Frame, frame};
    use crate::session::{Action, MrtSession, RouteSink, UpdateView};

    type Told = (Timestamp, IpAddr, bool, PathAttributes, Vec<(Action, Prefix)>);

    /// What a session tells of a stream, peers by address.
    #[derive(Default)]
    struct Listener(Vec<(u32, Told)>);

    impl RouteSink for Listener {
        fn update(&mut self, update: &UpdateView<'_>) {
            let mut routes = vec![];
            update.for_each_prefix(|action, prefix, path_id| {
                assert_eq!(path_id, None);
                routes.push((action, prefix));
            });
            let (nobody, attributes) = (Ipv4Addr::UNSPECIFIED.into(), update.attributes.decode());
            let told = (update.time, nobody, update.is_snapshot, attributes, routes);
            self.0.push((update.peer, told));
        }
    }

    fn told(mut bytes: &[u8]) -> Vec<Told> {
        let (mut session, mut listener) = (MrtSession::new(Arc::from("test")), Listener::default());
        while !bytes.is_empty() {
            let Ok(Frame::Whole { record, bytes: used }) = frame(bytes) else {
                panic!("{bytes:?}")
            };
            session.record(&record, &mut listener).unwrap();
            bytes = &bytes[used..];
        }
        let address = |id| session.peers().get(id).unwrap().address;
        let named = |(id, told): (u32, Told)| (told.0, address(id), told.2, told.3, told.4);
        listener.0.into_iter().map(named).collect()
    }

    fn communities() -> impl Strategy<Value = Vec<Community>> {
        let kinds = (
            prop::collection::vec(any::<u32>().prop_map(Community::Standard), 0..4),
            prop::collection::vec(any::<[u8; 8]>().prop_map(Community::Extended), 0..3),
            prop::collection::vec(any::<[u8; 20]>().prop_map(Community::ExtendedIpv6), 0..3),
            prop::collection::vec(any::<[u32; 3]>(), 0..30),
        );
        kinds.prop_map(|(standard, extended, ipv6, large)| {
            let large = large.into_iter().map(|[a, b, c]| Community::Large(a, b, c)).collect();
            [standard, extended, ipv6, large].concat()
        })
    }

    fn as_path() -> impl Strategy<Value = AsPath> {
        let segment = (1..=4_u8, prop::collection::vec(any::<u32>().prop_map(Asn), 1..40));
        let segment = segment.prop_map(|(kind, asns)| {
            let kind = SegmentKind::from_wire(kind).unwrap();
            AsSegment { kind, asns }
        });
        prop::collection::vec(segment, 0..4).prop_map(|segments| AsPath { segments })
    }

    /// Attributes without a next hop, which depends on the family.
    fn attributes() -> impl Strategy<Value = PathAttributes> {
        let origin = prop_oneof![Just(Origin::Igp), Just(Origin::Egp), Just(Origin::Incomplete)];
        let numbers = any::<[Option<u32>; 4]>();
        let aggregator = prop::option::of((any::<u32>(), any::<[u8; 4]>()));
        let clusters = prop::collection::vec(any::<u32>(), 0..4);
        let unknown = prop::collection::vec(any::<u8>(), 0..300);
        let rest =
            (any::<bool>(), aggregator, clusters, any::<Option<u64>>(), 36..=255_u8, unknown);
        (origin, as_path(), communities(), numbers, rest).prop_map(
            |(origin, as_path, communities, [med, local_pref, originator_id, otc], rest)| {
                let (atomic_aggregate, aggregator, cluster_list, aigp, code, value) = rest;
                let flags = if value.len() > 255 { 0xd0 } else { 0xc0 };
                PathAttributes {
                    origin: Some(origin),
                    as_path,
                    next_hop: None,
                    med,
                    local_pref,
                    atomic_aggregate,
                    aggregator: aggregator.map(|(asn, octets)| (Asn(asn), IpAddr::from(octets))),
                    communities,
                    originator_id,
                    cluster_list,
                    aigp,
                    otc: otc.map(Asn),
                    unknown: vec![(flags, code, value)],
                    disposition: Disposition::Accepted,
                }
            },
        )
    }

    fn prefixes(family: Family) -> impl Strategy<Value = Vec<Prefix>> {
        // Not the default route: twice in a list it is taken for a path identifier.
        let prefix = (any::<[u8; 16]>(), 1..=family.bits()).prop_map(move |(octets, length)| {
            let octets = Ipv6Addr::from(octets);
            match family {
                Family::Ipv4 => {
                    Prefix::of(Ipv4Addr::from_bits(octets.to_bits() as u32).into(), length)
                }
                Family::Ipv6 => Prefix::of(octets.into(), length),
            }
        });
        prop::collection::vec(prefix, 0..20)
    }

    fn next_hop(family: Family) -> IpAddr {
        match family {
            Family::Ipv4 => Ipv4Addr::new(192, 0, 2, 1).into(),
            Family::Ipv6 => "2001:db8::1".parse().unwrap(),
        }
    }

    fn session() -> Session {
        let (peer_asn, local_asn) = (Asn(64_500), Asn(4_200_000_000));
        let [peer_address, local_address] = [[192, 0, 2, 7], [192, 0, 2, 8]].map(IpAddr::from);
        Session { peer_address, peer_asn, local_address, local_asn }
    }

    proptest! {
        #[test]
        fn an_update_says_the_same_after_the_wire(
            mut attributes in attributes(),
            lists in prop_oneof![
                (prefixes(Family::Ipv4), prefixes(Family::Ipv4)),
                (prefixes(Family::Ipv6), prefixes(Family::Ipv6)),
                (prefixes(Family::Ipv4), prefixes(Family::Ipv6)),
            ],
            hop in prop_oneof![Just(Family::Ipv4), Just(Family::Ipv6)],
            micros in 0_i64..2_000_000_000_000_000,
        ) {
            let (withdrawn, announced) = lists;
            prop_assume!(!withdrawn.is_empty() || !announced.is_empty());
            // A next hop of IPv4 for IPv6 is mapped on the wire (RFC 4798).
            let family = announced.first().map_or(hop, |prefix| prefix.family());
            let hop = if family == Family::Ipv6 { family } else { hop };
            attributes.next_hop = (!announced.is_empty()).then(|| next_hop(hop));
            let update = bgp::Update { withdrawn: &withdrawn, announced: &announced, attributes: Some(&attributes) };
            let (mut bytes, time) = (vec![], Timestamp(micros));
            mrt::message(&mut bytes, time, &session(), &bgp::update(&update));
            let withdrawn = withdrawn.iter().map(|prefix| (Action::Withdraw, *prefix));
            let announced = announced.iter().map(|prefix| (Action::Announce, *prefix));
            let routes = withdrawn.chain(announced).collect();
            prop_assert_eq!(told(&bytes), [(time, session().peer_address, false, attributes, routes)]);
        }

        #[test]
        fn a_table_says_the_same_after_the_wire(
            mut routes in prop::collection::vec((attributes(), prefixes(Family::Ipv4), prefixes(Family::Ipv6)), 1..4),
        ) {
            let peers: Vec<(IpAddr, Asn)> = vec![
                (Ipv4Addr::new(192, 0, 2, 1).into(), Asn(64_500)),
                ("2001:db8::2".parse().unwrap(), Asn(4_200_000_000)),
            ];
            let (mut bytes, mut want) = (vec![], vec![]);
            let time = Timestamp::from_secs(1_400_000_000);
            mrt::peer_index_table(&mut bytes, time, 7, "view", &peers);
            for (attributes, v4, v6) in &mut routes {
                for prefix in v4.iter().chain(v6.iter()) {
                    attributes.next_hop = Some(next_hop(prefix.family()));
                    let entries = [1, 0].map(|peer_index| RibEntry { peer_index, originated: time, attributes });
                    mrt::rib(&mut bytes, time, 3, *prefix, &entries);
                    for peer in [1, 0] {
                        let routes = vec![(Action::Announce, *prefix)];
                        want.push((time, peers[peer].0, true, attributes.clone(), routes));
                    }
                }
            }
            prop_assert_eq!(told(&bytes), want);
        }
    }

    #[test]
    fn a_long_message_is_cut_where_it_ends_and_still_reads() {
        let many: Vec<Prefix> =
            (0..30_000_u32).map(|n| Prefix::v4((n << 8).to_be_bytes(), 24)).collect();
        let bytes = bgp::update(&bgp::Update { withdrawn: &many, ..bgp::Update::default() });
        assert_eq!((bytes.len(), &bytes[16..18]), (65_535, &[0xff, 0xff][..]));
    }
}
