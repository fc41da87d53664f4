//! Stories of the routing state, and the same random words told to it and to a plain map.

use std::collections::BTreeMap;

use proptest::prelude::*;
use schemas::bgp::{AsPath, Asn, RibView};
use schemas::registry::Registry;
use schemas::time::Timestamp;

use super::snapshot::Hours;
use super::*;

mod state;

fn peer_of(number: u8, rib_view: RibView) -> Arc<PeerHeader> {
    Arc::new(PeerHeader {
        collector: "archive".into(),
        router: None,
        address: std::net::Ipv4Addr::new(203, 0, 113, number).into(),
        asn: Asn(64_500 + u32::from(number)),
        rib_view,
        distinguisher: 0,
        routing_domain: "public".into(),
    })
}

fn peer(number: u8) -> Arc<PeerHeader> {
    peer_of(number, RibView::AdjRibInPre)
}

fn route(origin: u32) -> Arc<PathAttributes> {
    let as_path = AsPath::sequence([64_500, origin]);
    Arc::new(PathAttributes { as_path, ..PathAttributes::default() })
}

fn origin_of(route: Option<&Arc<PathAttributes>>) -> Option<u32> {
    Some(route?.as_path.origin()?.0)
}

/// A prefix of a small world of both families, by number.
fn prefix(number: u16) -> Prefix {
    let [high, low] = number.to_be_bytes();
    match number % 3 {
        0 => Prefix::v6([0x20, 1, 0xd, 0xb8, high, low, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 48),
        1 => Prefix::v4([192, high, 2, low], 32),
        _ => Prefix::v4([198, high, low, 0], 24),
    }
}

/// A peer and the numbers of prefixes that it announces, all of one origin.
fn announce(rib: &mut Rib, peer: PeerId, numbers: impl IntoIterator<Item = u16>, origin: u32) {
    for number in numbers {
        rib.apply(peer, prefix(number), None, Some(route(origin)));
    }
}

#[test]
fn equal_attributes_lie_once_and_go_with_the_last_route_that_carries_them() {
    let mut rib = Rib::default();
    let (one, two) = (rib.peer_id(&peer(1)), rib.peer_id(&peer(2)));
    announce(&mut rib, one, 0..60, 64_510);
    announce(&mut rib, two, 0..60, 64_510);
    assert_eq!((rib.memory().attribute_sets, rib.memory().routes), (1, 120));
    announce(&mut rib, two, 0..60, 64_511);
    assert_eq!(rib.memory().attribute_sets, 2);
    for (prefix, path_id) in rib.held_by(two) {
        rib.apply(two, prefix, path_id, None);
    }
    assert_eq!((rib.memory().attribute_sets, rib.memory().routes), (1, 60));
}

#[test]
fn a_prefix_that_nobody_holds_gives_its_id_away() {
    let mut rib = Rib::default();
    let id = rib.peer_id(&peer(1));
    announce(&mut rib, id, 0..1_000, 64_510);
    let full = rib.memory().bytes_prefix_table;
    for round in 1..20 {
        for (prefix, path_id) in rib.held_by(id) {
            rib.apply(id, prefix, path_id, None);
        }
        assert_eq!(rib.memory().prefixes, 0);
        announce(&mut rib, id, round * 1_000..round * 1_000 + 1_000, 64_510);
    }
    let now = rib.memory();
    assert_eq!(now.prefixes, 1_000);
    assert!(now.bytes_prefix_table <= 2 * full, "{now:?} grew from {full}");
}

#[test]
fn a_peer_with_few_routes_costs_no_column() {
    let mut rib = Rib::default();
    let (full, sparse) = (rib.peer_id(&peer(1)), rib.peer_id(&peer(2)));
    announce(&mut rib, full, 0..20_000, 64_510);
    let before = rib.memory().bytes_columns;
    announce(&mut rib, sparse, [0, 19_999], 64_510);
    assert!(rib.memory().bytes_columns - before < 500, "{:?}", rib.memory());
    announce(&mut rib, sparse, 0..20_000, 64_511);
    assert!(rib.memory().bytes_columns < 2 * before + 20_000, "{:?}", rib.memory());
    for number in 2..20_000 {
        rib.apply(sparse, prefix(number), None, None);
    }
    assert_eq!(rib.held_by(sparse).len(), 2);
    assert!(rib.memory().bytes_columns - before < 40_000, "a map again: {:?}", rib.memory());
}

#[test]
fn beyond_the_bound_new_routes_are_refused_and_held_ones_still_change() {
    let mut rib = Rib::new(2);
    let id = rib.peer_id(&peer(1));
    announce(&mut rib, id, 0..3, 64_510);
    assert_eq!((rib.memory().routes, rib.refused), (2, 1));
    let refused = rib.apply(id, prefix(9), None, Some(route(64_510)));
    assert!(refused.after.is_none() && rib.refused == 2, "what is not held is not told");
    let changed = rib.apply(id, prefix(0), None, Some(route(64_511)));
    assert_eq!(origin_of(changed.before.as_ref()), Some(64_510));
    rib.apply(id, prefix(0), None, None);
    announce(&mut rib, id, [9], 64_510);
    assert_eq!((rib.memory().routes, rib.refused), (2, 2), "there is room again");
}

/// RFC 4724: the routes of a peer that restarts stay, and fall when it has told all it has.
#[test]
fn after_a_restart_what_is_not_told_again_falls_at_the_end_of_rib() {
    let mut rib = Rib::default();
    let id = rib.peer_id(&peer(1));
    announce(&mut rib, id, 0..9, 64_510);
    rib.stale(id);
    rib.up(id);
    announce(&mut rib, id, [0, 1, 2, 3], 64_511);
    assert_eq!(rib.held_by(id).len(), 9, "nothing falls before the end");
    let fell = rib.end_of_rib(id, Family::Ipv4);
    let expected: Vec<Prefix> = [4, 7, 5, 8].map(prefix).to_vec();
    assert_eq!(fell.iter().map(|fallen| fallen.prefix).collect::<Vec<_>>(), expected);
    assert!(fell.iter().all(|fallen| origin_of(fallen.route.before.as_ref()) == Some(64_510)));
    assert_eq!(rib.end_of_rib(id, Family::Ipv4).len(), 0, "once");
    assert_eq!(rib.end_of_rib(id, Family::Ipv6).len(), 1, "each family has its own end");
    assert_eq!(rib.held_by(id).len(), 4);
}

#[test]
fn what_the_router_itself_uses_or_announces_is_not_visible() {
    let mut rib = Rib::default();
    let views = [RibView::LocRib, RibView::AdjRibOutPre, RibView::AdjRibOutPost];
    for view in views {
        let id = rib.peer_id(&peer_of(1, view));
        announce(&mut rib, id, [1], 64_510);
    }
    assert!(!rib.is_visible("public", &prefix(1)));
    let id = rib.peer_id(&peer_of(1, RibView::AdjRibInPost));
    announce(&mut rib, id, [1], 64_510);
    assert!(rib.is_visible("public", &prefix(1)) && !rib.is_visible("lab", &prefix(1)));
    rib.apply(id, prefix(1), None, None);
    assert!(!rib.is_visible("public", &prefix(1)));
    assert_eq!(rib.memory().routes, 3, "they are held all the same");
}

#[test]
fn paths_with_identifiers_stand_beside_each_other() {
    let mut rib = Rib::default();
    let id = rib.peer_id(&peer(1));
    for path_id in [None, Some(7), Some(1)] {
        rib.apply(id, prefix(1), path_id, Some(route(64_510)));
    }
    let paths: Vec<_> = rib.held_by(id).into_iter().map(|(_, path_id)| path_id).collect();
    assert_eq!(paths, [None, Some(1), Some(7)]);
    rib.apply(id, prefix(1), None, None);
    rib.apply(id, prefix(1), Some(1), None);
    assert!(rib.is_visible("public", &prefix(1)), "one path is left");
    rib.apply(id, prefix(1), Some(7), None);
    assert!(!rib.is_visible("public", &prefix(1)));
}

#[test]
fn a_jump_passes_one_hour_and_the_first_moment_none() {
    let mut hours = Hours::default();
    let at = |secs| Timestamp::from_secs(secs);
    assert_eq!(hours.passed(at(7_000)), None);
    assert_eq!(hours.passed(at(7_199)), None);
    assert_eq!(hours.passed(at(7_200)), Some(at(7_200)));
    assert_eq!(hours.passed(at(7_201)), None);
    assert_eq!(hours.passed(at(365 * 86_400 + 1)), Some(at(365 * 86_400)));
}

#[test]
fn every_held_route_is_a_row_of_one_shard() {
    let connection: schemas::connection::Connection = serde_json::from_str(
        r#"{"name":"seattle","tenant":"contoso","prefixes":["192.0.2.0/24"]}"#,
    )
    .unwrap();
    let registry = Registry::new(1, vec![connection], Vec::new()).unwrap();
    let mut rib = Rib::default();
    for number in [2, 1] {
        let id = rib.peer_id(&peer(number));
        announce(&mut rib, id, 0..30, 64_510);
    }
    rib.stale(0);
    let all = snapshot::rows(&rib, &registry, (0, 1), Timestamp::from_secs(3_600));
    assert_eq!(all.len(), 60);
    let order: Vec<_> = all.iter().map(|row| (row.prefix, row.peer_asn)).collect();
    assert!(order.is_sorted() && all.iter().filter(|row| row.stale).count() == 30);
    assert!(all.iter().all(|row| (row.connection.is_some()) == (row.prefix.length() == 32)));
    for partitions in [3, 12] {
        let shards = (0..partitions).map(|shard| (shard, partitions));
        let mut rows: Vec<_> = shards
            .flat_map(|s| snapshot::rows(&rib, &registry, s, Timestamp::from_secs(3_600)))
            .collect();
        rows.sort_by_key(|row| (row.prefix, row.peer_asn));
        assert_eq!(rows, all, "{partitions} shards");
    }
}

/// A word of a peer, for the plain map and for the Rib.
#[derive(Clone, Debug)]
enum Word {
    Announce(u8, u16, Option<u32>, u32),
    Withdraw(u8, u16, Option<u32>),
    Down(u8),
    Stale(u8),
    EndOfRib(u8, bool),
}

fn word() -> impl Strategy<Value = Word> {
    let peer = 0u8..4;
    let path_id = prop_oneof![4 => Just(None), 1 => (0u32..3).prop_map(Some)];
    prop_oneof![
        20 => (peer.clone(), 0u16..120, path_id.clone(), 0u32..6)
            .prop_map(|(peer, net, path, origin)| Word::Announce(peer, net, path, origin)),
        10 => (peer.clone(), 0u16..120, path_id)
            .prop_map(|(peer, net, path)| Word::Withdraw(peer, net, path)),
        1 => peer.clone().prop_map(Word::Down),
        1 => peer.clone().prop_map(Word::Stale),
        1 => (peer, any::<bool>()).prop_map(|(peer, v4)| Word::EndOfRib(peer, v4)),
    ]
}

/// Origin and staleness by peer, prefix and path.
type Plain = BTreeMap<(u8, Prefix, Option<u32>), (u32, bool)>;

fn falls(
    plain: &mut Plain,
    falls: impl Fn(u8, &Prefix, bool) -> bool,
) -> Vec<(Prefix, Option<u32>)> {
    let mut fell = Vec::new();
    plain.retain(|(peer, prefix, path_id), (_, is_stale)| {
        let stays = !falls(*peer, prefix, *is_stale);
        if !stays {
            fell.push((*prefix, *path_id));
        }
        stays
    });
    fell
}

proptest! {
    #[test]
    fn it_holds_what_a_plain_map_holds(words in prop::collection::vec(word(), 0..600)) {
        let mut rib = Rib::default();
        let mut plain = Plain::new();
        for word in words {
            match word {
                Word::Announce(number, net, path_id, origin) => {
                    let id = rib.peer_id(&peer(number));
                    let change = rib.apply(id, prefix(net), path_id, Some(route(origin)));
                    let before = plain.insert((number, prefix(net), path_id), (origin, false));
                    prop_assert_eq!(origin_of(change.before.as_ref()), before.map(|b| b.0));
                    prop_assert_eq!(origin_of(change.after.as_ref()), Some(origin));
                }
                Word::Withdraw(number, net, path_id) => {
                    let id = rib.peer_id(&peer(number));
                    let change = rib.apply(id, prefix(net), path_id, None);
                    let before = plain.remove(&(number, prefix(net), path_id));
                    prop_assert_eq!(origin_of(change.before.as_ref()), before.map(|b| b.0));
                }
                Word::Down(number) => {
                    let id = rib.peer_id(&peer(number));
                    let fell = falls(&mut plain, |peer, _, _| peer == number);
                    let held = rib.held_by(id);
                    prop_assert_eq!(&held, &fell);
                    held.into_iter().for_each(|(prefix, path_id)| {
                        rib.apply(id, prefix, path_id, None);
                    });
                }
                Word::Stale(number) => {
                    let id = rib.peer_id(&peer(number));
                    rib.stale(id);
                    plain.iter_mut().filter(|(key, _)| key.0 == number).for_each(|(_, route)| route.1 = true);
                }
                Word::EndOfRib(number, v4) => {
                    let id = rib.peer_id(&peer(number));
                    let family = if v4 { Family::Ipv4 } else { Family::Ipv6 };
                    let fell = falls(&mut plain, |peer, prefix, is_stale| {
                        peer == number && prefix.family() == family && is_stale
                    });
                    let told = rib.end_of_rib(id, family).into_iter().map(|fallen| (fallen.prefix, fallen.path_id));
                    prop_assert_eq!(told.collect::<Vec<_>>(), fell);
                }
            }
        }
        let mut held = Vec::new();
        rib.for_each(|_| true, |route| {
            let number = u8::try_from(route.peer.asn.0 - 64_500).unwrap();
            held.push(((number, route.prefix, route.path_id), (origin_of(Some(route.attributes)).unwrap(), route.is_stale)));
        });
        prop_assert!(held.is_sorted_by_key(|((peer, prefix, path), _)| (*prefix, *peer, *path)));
        let sets = held.iter().map(|(_, route)| route.0).collect::<std::collections::BTreeSet<_>>();
        prop_assert_eq!(rib.memory().attribute_sets, sets.len() as u64);
        prop_assert_eq!(rib.memory().routes, held.len() as u64);
        for net in 0..120 {
            let visible = plain.keys().any(|(_, held, _)| *held == prefix(net));
            prop_assert_eq!(rib.is_visible("public", &prefix(net)), visible);
        }
        prop_assert_eq!(held.into_iter().collect::<Plain>(), plain);
    }
}

fn name(number: u8) -> past::PeerName<'static> {
    ("archive", None, "", u32::from(number), "adj_rib_in_pre")
}

fn fold_said<'a>(past: &mut past::Past<'a, u32>, said: &[past::Said<'a, u32>]) {
    past.fold(said.to_vec());
}

proptest! {
    /// A snapshot at any moment and what was said from an hour before it gives what a fold from the
    /// start gives, which is what the Rib holds.
    #[test]
    fn the_past_is_the_same_from_a_snapshot_and_from_the_start(
        words in prop::collection::vec((word(), 1i64..300), 1..200),
        snapshot_after in 0usize..200,
    ) {
        let mut rib = Rib::default();
        let (mut said, mut held_then, mut time) = (Vec::new(), Vec::new(), 0);
        let mut snapshot_time = 0;
        for (place, (word, wait)) in words.into_iter().enumerate() {
            time += wait;
            if place <= snapshot_after {
                snapshot_time = time;
                held_then = held(&rib);
            }
            let at = past::Moment {
                time: Timestamp::from_secs(time),
                is_change: true,
                source: "updates",
                source_offset: place as u64,
            };
            let (number, word) = tell(&mut rib, word);
            said.push(past::Said { at, peer: name(number), word });
        }
        let mut from_the_start = past::Past::new(None);
        fold_said(&mut from_the_start, &said);
        let mut from_the_snapshot = past::Past::new(Some(Timestamp::from_secs(snapshot_time)));
        for (number, prefix, path_id, origin, is_stale) in &held_then {
            from_the_snapshot.hold(name(*number), *prefix, *path_id, *origin, *is_stale);
        }
        let from = Timestamp::from_secs(snapshot_time - past::OVERLAP_SECS);
        said.retain(|said| said.at.time >= from);
        fold_said(&mut from_the_snapshot, &said);
        let sorted = |past: &past::Past<'_, u32>| {
            let mut routes: Vec<_> = past.routes().collect();
            routes.sort_unstable();
            routes
        };
        let mut now: Vec<_> =
            held(&rib).into_iter().map(|(_, prefix, path, origin, stale)| (prefix, path, origin, stale)).collect();
        now.sort_unstable();
        prop_assert_eq!(sorted(&from_the_start), now.clone());
        prop_assert_eq!(sorted(&from_the_snapshot), now);
    }
}

/// Peer, prefix, path, origin, staleness of every route held.
fn held(rib: &Rib) -> Vec<(u8, Prefix, Option<u32>, u32, bool)> {
    let mut held = Vec::new();
    rib.for_each(
        |_| true,
        |route| {
            let number = u8::try_from(route.peer.asn.0 - 64_500).unwrap();
            let origin = origin_of(Some(route.attributes)).unwrap();
            held.push((number, route.prefix, route.path_id, origin, route.is_stale));
        },
    );
    held
}

/// Tells the Rib a word; by whom it is, and how the tables tell it.
fn tell(rib: &mut Rib, word: Word) -> (u8, past::Word<u32>) {
    let (Word::Announce(number, ..)
    | Word::Withdraw(number, ..)
    | Word::Down(number)
    | Word::Stale(number)
    | Word::EndOfRib(number, _)) = word;
    let id = rib.peer_id(&peer(number));
    let said = match word {
        Word::Announce(_, net, path_id, origin) => {
            rib.apply(id, prefix(net), path_id, Some(route(origin)));
            past::Word::Announce(prefix(net), path_id, origin)
        }
        Word::Withdraw(_, net, path_id) => {
            rib.apply(id, prefix(net), path_id, None);
            past::Word::Withdraw(prefix(net), path_id)
        }
        Word::Down(_) => {
            for (prefix, path_id) in rib.held_by(id) {
                rib.apply(id, prefix, path_id, None);
            }
            past::Word::of_session("down", None).unwrap()
        }
        Word::Stale(_) => {
            rib.stale(id);
            past::Word::of_session("stale", None).unwrap()
        }
        Word::EndOfRib(_, v4) => {
            let (family, reason) = if v4 { (Family::Ipv4, "ipv4") } else { (Family::Ipv6, "ipv6") };
            rib.end_of_rib(id, family);
            past::Word::of_session("end_of_rib", Some(reason)).unwrap()
        }
    };
    (number, said)
}
