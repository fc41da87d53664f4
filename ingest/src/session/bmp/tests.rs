//! BMP sessions told as stories: a router speaks, the session says what came of it.

use std::net::IpAddr;
use std::sync::Arc;

use schemas::batch::{Action, PeerState};
use schemas::bgp::{AsPath, Asn, Origin, PathAttributes, PeerHeader, Prefix, RibView};
use schemas::time::Timestamp;

use super::{BmpOptions, BmpSession};
use crate::decode::bgp::open::AddPathFamily;
use crate::decode::bmp::FrameError;
use crate::encode::bgp::{Update, update};
use crate::encode::bmp::{self, Peer, PeerUp};
use crate::encode::open::{Speaker, notification, open};
use crate::session::{RouteSink, SessionEvent, UpdateView};

const V4: Prefix = Prefix::v4([192, 0, 2, 0], 24);
const NOW: Timestamp = Timestamp::from_secs(1_000_000);

/// Everything that was told, in order, in words.
#[derive(Default)]
struct Listener {
    routes: Vec<(u32, Action, Prefix, Option<u32>, String)>,
    events: Vec<(u32, PeerState, Option<String>, Option<u64>)>,
    headers: Vec<PeerHeader>,
}

impl RouteSink for Listener {
    fn update(&mut self, update: &UpdateView<'_>) {
        assert_eq!(update.time, NOW);
        let path = update.attributes.decode().as_path.to_string();
        assert_eq!(
            update.attributes.as_path().asns().count(),
            update.attributes.decode().as_path.asns().count()
        );
        self.headers.push(PeerHeader::clone(update.header));
        update.for_each_prefix(|action, prefix, path_id| {
            self.routes.push((update.peer, action, prefix, path_id, path.clone()));
        });
    }

    fn session(&mut self, event: &SessionEvent<'_>) {
        assert_eq!(event.time, NOW);
        self.headers.push(PeerHeader::clone(event.header));
        let reason = event.reason.map(str::to_owned);
        self.events.push((event.peer, event.state, reason, event.prefixes_accepted));
    }
}

impl Listener {
    fn states(&self) -> Vec<PeerState> {
        self.events.iter().map(|event| event.1).collect()
    }
}

fn session(options: BmpOptions) -> BmpSession {
    BmpSession::new(Arc::from("bmp"), "198.51.100.1", options)
}

fn peer() -> Peer {
    Peer::global(IpAddr::from([192, 0, 2, 7]), Asn(64_500), Timestamp::from_secs(5))
}

fn speaker(asn: u32, add_path: &[AddPathFamily]) -> Vec<u8> {
    open(&Speaker {
        asn: Asn(asn),
        bgp_id: 7,
        hold_time_secs: 90,
        has_four_octets: true,
        families: &[(1, 1), (2, 1)],
        add_path,
    })
}

fn up_with(out: &mut Vec<u8>, peer: &Peer, sent: &[u8], received: &[u8]) {
    up_from(out, peer, 50_000, sent, received);
}

fn up_from(out: &mut Vec<u8>, peer: &Peer, remote_port: u16, sent: &[u8], received: &[u8]) {
    let up = PeerUp {
        local_address: IpAddr::from([192, 0, 2, 8]),
        local_port: 179,
        remote_port,
        sent,
        received,
        information: &[],
    };
    bmp::peer_up(out, peer, &up);
}

fn up(out: &mut Vec<u8>, peer: &Peer) {
    up_with(out, peer, &speaker(64_511, &[]), &speaker(64_500, &[]));
}

fn announcement(path: &[u32]) -> Vec<u8> {
    let attributes = PathAttributes {
        origin: Some(Origin::Igp),
        as_path: AsPath::sequence(path.iter().copied()),
        next_hop: Some(IpAddr::from([192, 0, 2, 7])),
        ..PathAttributes::default()
    };
    update(&Update { withdrawn: &[], announced: &[V4], attributes: Some(&attributes) })
}

fn withdrawal() -> Vec<u8> {
    update(&Update { withdrawn: &[V4], ..Update::default() })
}

fn told(session: &mut BmpSession, bytes: &[u8]) -> Listener {
    let mut listener = Listener::default();
    session.feed(bytes, NOW, &mut listener).unwrap();
    listener
}

/// A peer comes up, speaks before and after policy, goes down: each table has its own id, and each
/// that was heard goes down with it.
#[test]
fn a_peer_down_ends_every_table_that_was_heard() {
    let (mut session, mut bytes) = (session(BmpOptions::default()), vec![]);
    bmp::initiation(&mut bytes, "Example OS", "edge1");
    up(&mut bytes, &peer());
    bmp::route_monitoring(&mut bytes, &peer(), &announcement(&[64_500]));
    bmp::route_monitoring(&mut bytes, &Peer { flags: 0x40, ..peer() }, &announcement(&[64_500]));
    bmp::statistics(&mut bytes, &peer(), &[(7, &[0, 0, 0, 0, 0, 0, 0, 12])]);
    bmp::peer_down(&mut bytes, &peer(), 3, &notification(6, 2));
    let listener = told(&mut session, &bytes);
    use PeerState::{Down, Up};
    let reason = "the peer sent NOTIFICATION 6/2, cease, administrative shutdown".to_owned();
    let want = [
        (0, Up, None, None),
        (1, Up, None, None),
        (0, Down, Some(reason.clone()), Some(12)),
        (1, Down, Some(reason), Some(12)),
    ];
    assert_eq!(listener.events, want);
    assert_eq!(listener.routes.len(), 2);
    let views: Vec<RibView> = session.peers().iter().map(|peer| peer.rib_view).collect();
    assert_eq!(views, [RibView::AdjRibInPre, RibView::AdjRibInPost]);
    assert!(listener.headers.iter().all(|header| header.router.as_deref() == Some("edge1")));
    assert_eq!((session.peers_up(), session.counts().refused.len()), (0, 0));
}

/// A Peer Down before any Peer Up, withdrawals of what was never announced, routes without any
/// Peer Up: all of it is what FRR and GoBGP send.
#[test]
fn what_real_routers_do_out_of_order_is_told_and_counted() {
    let (mut session, mut bytes) = (session(BmpOptions::default()), vec![]);
    bmp::peer_down(&mut bytes, &peer(), 2, &[0, 0]);
    let local = Peer { kind: 3, flags: 0, address: IpAddr::from([0, 0, 0, 0]), ..peer() };
    bmp::route_monitoring(&mut bytes, &local, &announcement(&[64_500]));
    bmp::route_monitoring(&mut bytes, &peer(), &withdrawal());
    let mut listener = told(&mut session, &bytes);
    assert_eq!(listener.states(), [PeerState::Down]);
    assert_eq!(listener.routes.len(), 2);
    let counts = session.counts();
    assert_eq!((counts.downs_without_up, counts.routes_without_peer_up), (1, 2));
    assert_eq!(session.peers().get(1).unwrap().rib_view, RibView::LocRib);
    listener.events.clear();
    session.close(NOW, "the socket closed", &mut listener);
    let stale = |peer| (peer, PeerState::Stale, Some("the socket closed".to_owned()), None);
    assert_eq!(listener.events, [stale(0), stale(1)], "what was heard falls silent");
    session.close(NOW, "once more", &mut listener);
    assert_eq!(listener.events.len(), 2);
    assert_eq!(told(&mut session, &bytes).routes[0].0, 1, "ids stay over a new stream");
}

#[test]
fn a_peer_that_is_no_longer_reported_is_not_down() {
    let (mut session, mut bytes) = (session(BmpOptions::default()), vec![]);
    up(&mut bytes, &peer());
    bmp::peer_down(&mut bytes, &peer(), 5, &[]);
    assert_eq!(told(&mut session, &bytes).states(), [PeerState::Up, PeerState::Stale]);
}

#[test]
fn path_identifiers_are_as_both_opens_say_by_direction() {
    let can = |receives, sends| [AddPathFamily { afi: 1, safi: 1, receives, sends }];
    let with_id = |update: Vec<u8>| -> Vec<u8> {
        let at = update.len() - 4;
        let mut bytes = [&update[..at], &[0, 0, 0, 24], &update[at..]].concat();
        bytes[17] += 4;
        bytes
    };
    for (sent, received, flags, want) in [
        (can(true, false), can(false, true), 0, true),
        (can(false, true), can(true, false), 0x10, true),
        (can(true, true), can(true, true), 0x50, true),
    ] {
        let (mut session, mut bytes) = (session(BmpOptions::default()), vec![]);
        up_with(&mut bytes, &peer(), &speaker(64_511, &sent), &speaker(64_500, &received));
        let peer = Peer { flags, ..peer() };
        bmp::route_monitoring(&mut bytes, &peer, &with_id(announcement(&[64_500])));
        let listener = told(&mut session, &bytes);
        assert_eq!(listener.routes[0].3.is_some(), want);
        assert_eq!(session.counts().updates.add_path_guesses, 0, "{flags}");
        // The same router reports a list without them: seen, and from then on not believed.
        bytes.clear();
        bmp::route_monitoring(&mut bytes, &peer, &announcement(&[64_500]));
        bmp::route_monitoring(&mut bytes, &peer, &announcement(&[64_500]));
        let listener = told(&mut session, &bytes);
        assert!(listener.routes.iter().all(|route| route.2 == V4 && route.3.is_none()));
        assert_eq!(session.counts().updates.add_path_guesses, 1);
    }
}

/// FRR 8 puts the router's own AS in front of what its peers announce.
#[test]
fn the_routers_own_number_in_front_of_a_path_is_taken_away() {
    let path_of = |options: BmpOptions, opens: bool, flags: u8, path: &[u32]| {
        let (mut session, mut bytes) = (session(options), vec![]);
        if opens {
            up(&mut bytes, &peer());
        }
        bmp::route_monitoring(&mut bytes, &Peer { flags, ..peer() }, &announcement(path));
        told(&mut session, &bytes).routes[0].4.clone()
    };
    let options = BmpOptions::default;
    assert_eq!(path_of(options(), true, 0, &[64_511, 64_500, 7]), "64500 7");
    assert_eq!(path_of(options(), true, 0, &[64_511, 9, 7]), "9 7", "a route server's client");
    assert_eq!(path_of(options(), true, 0, &[9, 64_500, 7]), "9 64500 7", "not the router's");
    assert_eq!(path_of(options(), false, 0, &[9, 64_500, 7]), "64500 7", "no OPEN seen: a guess");
    assert_eq!(path_of(options(), false, 0, &[9, 8, 7]), "9 8 7");
    assert_eq!(path_of(options(), true, 0x10, &[64_511, 64_500]), "64511 64500", "what it sends");
    assert_eq!(path_of(options(), true, 0, &[64_500, 64_500]), "64500 64500", "prepended");
    let known = BmpOptions { router_asn: Some(Asn(6_447)), ..options() };
    assert_eq!(path_of(known, false, 0, &[6_447, 9]), "9");
    let never = BmpOptions { strips_reporter: false, ..options() };
    assert_eq!(path_of(never, true, 0, &[64_511, 64_500]), "64511 64500");
}

#[test]
fn a_stream_cut_anywhere_tells_the_same() {
    let mut bytes = vec![];
    bmp::initiation(&mut bytes, "Example OS", "edge1");
    up(&mut bytes, &peer());
    bmp::route_monitoring(&mut bytes, &peer(), &announcement(&[64_500]));
    let whole = told(&mut session(BmpOptions::default()), &bytes);
    for step in 1..bytes.len() {
        let (mut session, mut listener) = (session(BmpOptions::default()), Listener::default());
        for chunk in bytes.chunks(step) {
            session.feed(chunk, NOW, &mut listener).unwrap();
        }
        assert_eq!((&listener.routes, &listener.events), (&whole.routes, &whole.events));
        assert_eq!(session.buffered_bytes(), 0);
    }
}

#[test]
fn a_stream_that_cannot_be_framed_is_given_up_at_once() {
    for (head, want) in [
        (&[2_u8][..], FrameError::Version { version: 2 }),
        (&[3, 0, 0, 0, 5, 0], FrameError::TooShort { length_bytes: 5 }),
        (
            &[3, 0xff, 0xff, 0xff, 0xff, 0],
            FrameError::TooLong { length_bytes: u32::MAX, max_bytes: 1 << 20 },
        ),
    ] {
        let (mut session, mut bytes) = (session(BmpOptions::default()), vec![]);
        up(&mut bytes, &peer());
        bytes.extend(head);
        let mut listener = Listener::default();
        assert_eq!(session.feed(&bytes, NOW, &mut listener), Err(want));
        assert_eq!(listener.states(), [PeerState::Up], "what came before was told");
        assert_eq!(session.counts().refused.get(want.reason()), Some(&1));
    }
}

#[test]
fn drafts_and_unknown_types_are_skipped_and_counted() {
    let (mut session, mut bytes) = (session(BmpOptions::default()), vec![]);
    bmp::message(&mut bytes, 200, &[&[1, 2, 3]]);
    bytes.extend([4, 0, 0, 0, 7, 0, 9]);
    bmp::route_mirroring(&mut bytes, &peer(), &[(0, &withdrawal()), (1, &[0, 1]), (9, &[])]);
    bmp::message(&mut bytes, 0, &[&[77; 60]]);
    let listener = told(&mut session, &bytes);
    assert!(listener.routes.is_empty() && listener.events.is_empty());
    let counts = session.counts();
    assert_eq!((counts.messages.unknown.get(&200), counts.draft_messages), (Some(&1), 1));
    let mirrored = (counts.mirrored_tlvs, counts.mirrored_messages, counts.mirrored_losses);
    assert_eq!(mirrored, (3, 1, 1));
    assert_eq!(counts.refused.get("bad_value"), Some(&1));
    assert!(session.take_refusal().unwrap().to_string().contains("BMP peer type"));
    assert!(session.take_refusal().is_none());
}

#[test]
fn a_router_with_too_many_peers_keeps_those_it_has() {
    let mut session = session(BmpOptions { peers_max: 2, ..BmpOptions::default() });
    let mut bytes = vec![];
    for host in 1..=4 {
        let peer = Peer { address: IpAddr::from([192, 0, 2, host]), ..peer() };
        bmp::route_monitoring(&mut bytes, &peer, &withdrawal());
    }
    assert_eq!(told(&mut session, &bytes).routes.len(), 2);
    assert_eq!(session.counts().refused.get("too_many_peers"), Some(&2));
}

#[test]
fn a_peer_of_a_vrf_is_in_an_address_space_of_its_own() {
    let (mut session, mut bytes) = (session(BmpOptions::default()), vec![]);
    let peer = Peer { kind: 1, distinguisher: 0xfde8_0000_0001, ..peer() };
    bmp::route_monitoring(&mut bytes, &peer, &withdrawal());
    assert_eq!(&*told(&mut session, &bytes).headers[0].routing_domain, "vrf:65000:1");
}

#[test]
fn a_session_goes_on_from_its_state_as_if_it_had_not_stopped() {
    let can = [AddPathFamily { afi: 1, safi: 1, receives: true, sends: true }];
    let (mut session, mut bytes) = (session(BmpOptions::default()), vec![]);
    bmp::initiation(&mut bytes, "Example OS", "edge1");
    up_with(&mut bytes, &peer(), &speaker(64_511, &can), &speaker(64_500, &can));
    bmp::statistics(&mut bytes, &peer(), &[(7, &[0, 0, 0, 9])]);
    told(&mut session, &bytes);
    let saved = serde_json::to_string(&session.state()).unwrap();
    let mut again = self::session(BmpOptions::default());
    again.restore(&serde_json::from_str(&saved).unwrap());
    assert_eq!(again.state(), session.state());
    assert_eq!(again.peers().get(0), session.peers().get(0), "the same peer by its header");
    let mut listener = Listener::default();
    again.close(NOW, "gone", &mut listener);
    assert_eq!(listener.events, [(0, PeerState::Stale, Some("gone".to_owned()), Some(9))]);
}

/// In a topic the end of the router's TCP session is not seen: its Initiation tells.
#[test]
fn a_router_that_begins_anew_makes_its_peers_stale_until_they_are_up() {
    let options = BmpOptions { restarts_on_initiation: true, ..BmpOptions::default() };
    let (mut session, mut bytes) = (session(options), vec![]);
    for _ in 0..2 {
        bmp::initiation(&mut bytes, "Example OS", "edge1");
        up(&mut bytes, &peer());
    }
    up(&mut bytes, &peer()); // of the same session: nothing new
    up_from(&mut bytes, &peer(), 50_001, &speaker(64_511, &[]), &speaker(64_500, &[]));
    bmp::termination(&mut bytes, 2);
    use PeerState::{Stale, Up};
    let listener = told(&mut session, &bytes);
    assert_eq!(listener.states(), [Up, Stale, Up, Stale, Up, Stale]);
    let last = listener.events.last().unwrap().2.clone().unwrap();
    assert_eq!(last, "the router ends the BMP session: out of resources");
    assert_eq!((session.counts().ups_without_down, session.counts().ups_repeated), (1, 1));
}

/// Huawei sends a Peer Up for each table and family; routes between them stay.
#[test]
fn a_peer_up_for_another_table_begins_no_session() {
    let (mut session, mut bytes) = (session(BmpOptions::default()), vec![]);
    let can = [AddPathFamily { afi: 1, safi: 1, receives: true, sends: true }];
    up(&mut bytes, &peer());
    up_with(&mut bytes, &peer(), &speaker(64_511, &can), &speaker(64_500, &can));
    up(&mut bytes, &Peer { flags: 0x40, ..peer() });
    let listener = told(&mut session, &bytes);
    assert_eq!(listener.states(), [PeerState::Up, PeerState::Up]);
    assert_eq!(session.peers().get(1).unwrap().rib_view, RibView::AdjRibInPost);
    assert_eq!(session.state().neighbours[0].add_path & 1, 1, "capabilities add up");
}

/// FRR puts its own number in front in the Loc-RIB too, and reports routes without a next hop.
#[test]
fn a_report_is_not_held_to_what_an_announcement_must_have() {
    let (mut session, mut bytes) = (session(BmpOptions::default()), vec![]);
    let attributes =
        [&[0x40, 1, 1, 0][..], &[0x40, 2, 10, 2, 2, 0, 0, 0xfb, 0xff, 0, 0, 0xfb, 0xf4]].concat();
    let mut message = vec![0xff; 16];
    message.extend([0, (23 + attributes.len() + 4) as u8, 2, 0, 0, 0, attributes.len() as u8]);
    message.extend(&attributes);
    message.extend([24, 192, 0, 2]);
    let own = Peer { kind: 3, asn: Asn(64_511), address: IpAddr::from([0; 4]), ..peer() };
    bmp::route_monitoring(&mut bytes, &own, &message);
    let listener = told(&mut session, &bytes);
    assert_eq!(listener.routes, [(0, Action::Announce, V4, None, "64500".to_owned())]);
}
