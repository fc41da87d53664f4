//! BMP of real routers: captures and saved streams with their counts, and the habits of FRR and GoBGP
//! that a collector must survive.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs
)]

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use ingest::session::bmp::BmpCounts;
use ingest::session::{Action, PeerState};
use ingest::source::elements::Elements;
use schemas::bgp::RibView;
use schemas::time::Timestamp;
use support::{Event, Tally, bmp_files, data, elements};

/// The counts of a session that are not zero.
fn add(total: &mut BTreeMap<&'static str, u64>, counts: &BmpCounts) {
    let all = &counts.messages;
    for (name, count) in [
        ("init", all.initiation),
        ("up", all.peer_up),
        ("down", all.peer_down),
        ("routes", all.route_monitoring),
        ("stats", all.statistics_report),
        ("mirror", all.route_mirroring),
        ("term", all.termination),
        ("draft", counts.draft_messages),
        ("refused", counts.refused.values().sum()),
        ("other_families", counts.updates.other_families),
        ("guesses", counts.updates.add_path_guesses),
        ("widths", counts.width_guesses),
        ("trailing", counts.trailing_bytes),
        ("loose", counts.routes_without_peer_up),
        ("opens", counts.malformed_opens),
        ("torn", counts.torn_reports + counts.opaque_statistics),
        ("ups_repeated", counts.ups_repeated),
        ("ups_again", counts.ups_without_down),
        ("downs_alone", counts.downs_without_up),
        ("as_withdrawn", counts.updates.treat_as_withdraw),
        ("discards", counts.updates.attribute_discard),
        ("announced", counts.updates.announced),
        ("withdrawn", counts.updates.withdrawn),
        ("stripped", counts.updates.stripped_paths),
    ] {
        if count > 0 {
            *total.entry(name).or_default() += count;
        }
    }
}

fn read(path: &Path, tally: &mut Tally) -> Elements {
    let mut file = elements(path);
    while file.load().unwrap_or_else(|error| panic!("{}: {error}", path.display())).is_some() {
        if let Some(refusal) = file.hand_over(tally) {
            println!("{}: {refusal}", path.display());
        }
    }
    file
}

/// Messages by type are those that data/PROVENANCE.md has, counted there by another framer. Drafts
/// are version 4, other families VPN and labels; `loose` tables have no Peer Up, `stripped` paths had
/// the router's own number in front. Peer Ups are repeated by Huawei, for each table and family; the
/// trailing bytes are a TLV of its own.
#[rustfmt::skip]
const WANT: &[(&str, &str)] = &[
    ("frr-mirror.bmp", "announced 42 down 5 downs_alone 2 init 1 mirror 27 routes 60 stats 8 stripped 42 up 3 withdrawn 18 peers 4 states 14 ends 0"),
    ("frr-realtable.bmp.zst", "announced 18100 down 1 downs_alone 1 init 1 routes 18100 stripped 18100 up 1 peers 2 states 3 ends 0"),
    ("frr-session.bmp", "announced 42 down 5 downs_alone 2 init 1 routes 60 stats 8 stripped 42 up 3 withdrawn 18 peers 4 states 14 ends 0"),
    ("gobgp-session.bmp", "announced 24 down 2 init 1 loose 1 routes 38 stats 2 up 2 withdrawn 18 peers 5 states 8 ends 0"),
    ("netgauze.bgp.multiple-sessions.traffic.pcap", " peers 0 states 0 ends 0"),
    ("netgauze.bmp.path-status.ipv4_unicast_path_marking.pcap", "draft 5 peers 0 states 0 ends 0"),
    ("netgauze.bmp.peers-with-different-caps.example.pcap", "announced 1 init 1 other_families 171 routes 173 up 18 peers 1 states 18 ends 1"),
    ("netgauze.bmp.stateless-with-add-path.ipv4_unicast_all.pcap", "draft 30 peers 0 states 0 ends 0"),
    ("netgauze.bmp.unreachable-prefix-announcement.upa.pcap", "announced 19 init 3 routes 34 up 7 withdrawn 3 peers 9 states 11 ends 12"),
    ("pmacct.200-BMP-HUAWEI-locrib_instance.traffic-00.pcap", "announced 5 init 1 other_families 77 routes 84 up 18 ups_repeated 13 peers 1 states 7 ends 2"),
    ("pmacct.202-BMP-CISCO-HUAWEI-multiple-sources.traffic-00.pcap", "announced 5 init 1 other_families 77 routes 84 up 18 ups_repeated 13 peers 1 states 7 ends 2"),
    ("pmacct.202-BMP-CISCO-HUAWEI-multiple-sources.traffic-01.pcap", "announced 37 init 1 routes 44 up 42 peers 7 states 42 ends 7"),
    ("pmacct.205-BMP-6wind-FRR-peer_down.traffic-00.pcap", "announced 142 down 2 init 1 loose 1 other_families 309 routes 451 stats 48 stripped 319 up 7 peers 4 states 18 ends 0"),
    ("pmacct.206-BMP-high-availability.traffic-00.pcap", "announced 142 init 1 loose 1 other_families 111 routes 253 stats 36 stripped 235 up 5 peers 4 states 10 ends 0"),
    ("pmacct.208-BMP-mem-leak-test.bmp-multi-sources-init.pcap", "init 15 peers 0 states 0 ends 0"),
    ("pmacct.208-BMP-mem-leak-test.bmp-multi-sources-peer-up.pcap", "up 289 ups_repeated 150 peers 0 states 183 ends 0"),
    ("pmacct.208-BMP-mem-leak-test.bmp-multi-sources-route-monitoring.pcap", "announced 4536 guesses 5 loose 293 other_families 3298 routes 6955 stripped 565 trailing 1662 peers 218 states 0 ends 226"),
    ("pmacct.208-BMP-mem-leak-test.bmp-multi-sources-stats.pcap", "stats 3626 peers 0 states 0 ends 0"),
];

#[test]
fn captures_of_real_routers_hold_what_they_should() {
    let Some(files) = bmp_files() else { return };
    let mut wrong = vec![];
    for path in &files {
        let name = path.file_name().unwrap().to_str().unwrap();
        let mut tally = Tally::default();
        let file = read(path, &mut tally);
        let mut total = BTreeMap::new();
        file.bmp_sessions().iter().for_each(|session| add(&mut total, session.counts()));
        assert_eq!(file.counts().updates.elements(), tally.elements, "{name}");
        let got: Vec<String> =
            total.iter().map(|(name, count)| format!("{name} {count}")).collect();
        let got = format!(
            "{} peers {} states {} ends {}",
            got.join(" "),
            tally.peers.len(),
            tally.states,
            tally.ends
        );
        let want = WANT.iter().find(|(wanted, _)| *wanted == name).map_or("", |(_, want)| *want);
        if got != want {
            wrong.push(format!("    (\"{name}\", \"{got}\"),"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(files.len(), WANT.len());
}

fn story(name: &str) -> Option<(Tally, Elements)> {
    let mut tally = Tally { keeps: true, ..Tally::default() };
    let file = read(&data("bmp")?.join(name), &mut tally);
    Some((tally, file))
}

/// FRR 8.4: Peer Downs first, times of the machine's boot, every route before and after policy,
/// withdrawals after a new Peer Up of routes that it never announced.
#[test]
fn frr_is_survived_as_it_is() {
    let Some((tally, file)) = story("frr-session.bmp") else { return };
    let session = file.bmp_sessions()[0];
    assert_eq!(&**session.router(), "r1");
    assert!(session.description().unwrap().starts_with("FRRouting 8.4.4"));
    let states: Vec<PeerState> = tally.events.iter().map(|event| event.state).collect();
    assert_eq!(states[..2], [PeerState::Down, PeerState::Down], "before any Peer Up");
    let reasons: Vec<&str> =
        tally.events.iter().filter_map(|event| event.reason.as_deref()).collect();
    assert!(reasons.contains(&"the router closed without NOTIFICATION"), "{reasons:?}");
    assert!(reasons.contains(&"the peer closed without NOTIFICATION"), "{reasons:?}");
    // The boot of the machine and the first route are half an hour apart; neither goes back.
    let first = tally.events[0].time;
    assert!(tally.routes[0].time.secs_since(first) > 1_800);
    assert!(tally.routes.is_sorted_by_key(|told| told.time));
    // Every path begins with the peer, not with the router.
    let announced = tally.routes.iter().filter(|told| told.action == Action::Announce);
    for told in announced {
        let path = told.attributes.as_path.to_string();
        assert!(path.starts_with("65002"), "{path}");
    }
    let views: Vec<RibView> = session.peers().iter().map(|peer| peer.rib_view).collect();
    assert!(views.contains(&RibView::AdjRibInPre) && views.contains(&RibView::AdjRibInPost));
    assert!(tally.peers.iter().all(|peer| &*peer.routing_domain == "public"));
    assert_eq!(session.counts().unknown_statistics.keys().collect::<Vec<_>>(), [&65_531]);
}

/// GoBGP 3.10: a Loc-RIB without a Peer Up, withdrawals of a dead peer before its Peer Down.
#[test]
fn gobgp_is_survived_as_it_is() {
    let Some((tally, file)) = story("gobgp-session.bmp") else { return };
    let local: Vec<_> =
        tally.routes.iter().filter(|told| told.peer.rib_view == RibView::LocRib).collect();
    assert!(!local.is_empty() && local.iter().all(|told| told.peer.address.is_unspecified()));
    let is_up = |event: &&Event| event.state == PeerState::Up;
    assert!(tally.events.iter().filter(is_up).all(|event| event.peer.rib_view != RibView::LocRib));
    let session = file.bmp_sessions()[0];
    assert_eq!(session.counts().routes_without_peer_up, 1);
    let downs = tally.events.iter().filter(|event| event.state == PeerState::Down);
    assert!(
        downs.filter_map(|event| event.reason.as_deref()).all(|why| why.contains("NOTIFICATION"))
    );
}

/// The same stream with its last message cut: all before it counts.
#[test]
fn a_stream_cut_anywhere_gives_its_whole_messages() {
    let Some(folder) = data("bmp") else { return };
    let bytes = support::load(&folder.join("gobgp-session.bmp"));
    let mut before = 0;
    for left in (0..bytes.len()).step_by(7) {
        let mut session = ingest::session::BmpSession::new("t".into(), "r", Default::default());
        let mut tally = Tally::default();
        session.feed(&bytes[..left], Timestamp::from_secs(1), &mut tally).unwrap();
        assert!(tally.elements >= before && session.counts().refused.is_empty());
        before = tally.elements;
    }
}
