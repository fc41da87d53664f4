//! OpenBMP values: a real header of RouteViews, and stories told by the encoder.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs
)]

mod support;

use ingest::decode::openbmp::{Frame, frame};
use ingest::encode::bgp::{Update, update};
use ingest::encode::bmp::{self, OpenBmp, Peer, openbmp};
use ingest::session::bmp::BmpOptions;
use ingest::session::openbmp::{OpenBmpError, OpenBmpSession};
use ingest::session::{PeerState, RouteSink};
use schemas::bgp::{AsPath, Asn, Origin, PathAttributes};
use schemas::time::Timestamp;
use support::Tally;

/// A Peer Down as RouteViews' collector sent it; the header is the one in bgpkit-parser's test.
const REAL: &str = concat!(
    "4f424d500107006400000033800c6184b9c2000c602cbf4f072f3ae149d23486024bc3dadfc4000a69732d63632d62",
    "6d7031c677060bdd020a9e92be000200de2e3180df3369000000000000000000000000000c726f7574652d766965",
    "77733500000001030000003302000000000000000000000000000000000000000000003fda060e00000da30000000",
    "061523c36000c0e1c020000",
);

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn a_real_header_is_read_field_by_field() {
    let bytes = hex(REAL);
    let Ok(Frame::Whole { header, payload, bytes: used }) = frame(&bytes) else { panic!() };
    assert_eq!((used, payload.len()), (bytes.len(), 0x33));
    assert_eq!((header.admin_id, header.router_group), (&b"is-cc-bmp1"[..], &b"route-views5"[..]));
    assert_eq!(header.router_address.to_string(), "128.223.51.105");
    assert_eq!(header.time, Some(Timestamp::from_parts(1_636_088_258, 811_052)));
    assert_eq!((header.flags, header.object_type, header.rows), (0x80, 12, 1));
    for left in 0..bytes.len() {
        assert!(matches!(frame(&bytes[..left]), Ok(Frame::NeedMore { bytes }) if bytes > left));
    }
    let (mut session, mut tally) =
        (OpenBmpSession::new(BmpOptions::default()), Tally { keeps: true, ..Tally::default() });
    session.value(&bytes, Timestamp::from_secs(9), &mut tally).unwrap();
    let event = &tally.events[0];
    assert_eq!((event.state, event.time), (PeerState::Down, header.time.unwrap()));
    assert_eq!((&*event.peer.collector, event.peer.asn), ("route-views5", Asn(3_491)));
    assert_eq!(event.peer.router.as_deref(), Some("128.223.51.105"));
}

fn value(path: &[u32], peer_asn: u32, group: &str) -> Vec<u8> {
    let attributes = PathAttributes {
        origin: Some(Origin::Igp),
        as_path: AsPath::sequence(path.iter().copied()),
        next_hop: Some([192, 0, 2, 7].into()),
        ..PathAttributes::default()
    };
    let announced = ["192.0.2.0/24".parse().unwrap()];
    let message =
        update(&Update { withdrawn: &[], announced: &announced, attributes: Some(&attributes) });
    let peer = Peer::global([192, 0, 2, 7].into(), Asn(peer_asn), Timestamp::from_secs(7));
    let (mut payload, mut bytes) = (vec![], vec![]);
    bmp::route_monitoring(&mut payload, &peer, &message);
    let header = OpenBmp {
        time: Timestamp::from_secs(1_000),
        admin_id: "collector-1",
        router: [192, 0, 2, 8].into(),
        router_group: group,
    };
    openbmp(&mut bytes, &header, &payload);
    bytes
}

fn tell(session: &mut OpenBmpSession, value: &[u8], sink: &mut impl RouteSink) {
    session.value(value, Timestamp::from_secs(2_000), sink).unwrap();
}

#[test]
fn the_collectors_own_number_is_not_of_the_path() {
    for (router_asn, path, want) in [
        (None, &[6_447, 64_500, 64_501][..], "64500 64501"),
        (None, &[64_500, 64_501], "64500 64501"),
        (None, &[6_447, 64_501], "6447 64501"), // nobody said who 6447 is
        (Some(6_447), &[6_447, 64_501], "64501"), // a route server's client
        (Some(6_447), &[6_447, 64_500], "64500"),
        (Some(6_447), &[64_500, 6_447], "64500 6447"),
    ] {
        let options = BmpOptions { router_asn: router_asn.map(Asn), ..BmpOptions::default() };
        let (mut session, mut tally) =
            (OpenBmpSession::new(options), Tally { keeps: true, ..Tally::default() });
        tell(&mut session, &value(path, 64_500, "views"), &mut tally);
        assert_eq!(tally.routes[0].attributes.as_path.to_string(), want, "{router_asn:?}");
        assert_eq!(tally.routes[0].time, Timestamp::from_secs(1_000), "the collector's time");
    }
}

#[test]
fn a_collector_is_named_by_its_group_unless_that_says_nothing() {
    for (group, want) in
        [("amsix.ams", "amsix.ams"), ("default", "collector-1"), ("", "collector-1")]
    {
        let (mut session, mut tally) =
            (OpenBmpSession::new(BmpOptions::default()), Tally::default());
        tell(&mut session, &value(&[64_500], 64_500, group), &mut tally);
        assert_eq!(&*tally.peers.first().unwrap().collector, want);
    }
}

#[test]
fn a_session_goes_on_from_its_state() {
    let mut session = OpenBmpSession::new(BmpOptions::default());
    for group in ["b", "a"] {
        tell(&mut session, &value(&[64_500], 64_500, group), &mut Tally::default());
    }
    let saved = serde_json::to_string(&session.state()).unwrap();
    let mut again = OpenBmpSession::new(BmpOptions::default());
    again.restore(&serde_json::from_str(&saved).unwrap());
    assert_eq!(again.state(), session.state());
    let mut tally = Tally { keeps: true, ..Tally::default() };
    again.close(Timestamp::from_secs(3_000), "the topic fell silent", &mut tally);
    let told: Vec<_> =
        tally.events.iter().map(|event| (&*event.peer.collector, event.state)).collect();
    assert_eq!(told, [("a", PeerState::Stale), ("b", PeerState::Stale)]);
}

#[test]
fn what_is_no_value_is_refused_by_its_reason() {
    let good = value(&[64_500], 64_500, "g");
    let change = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    for (bytes, reason) in [
        (change(0, 0), "bad_value"),
        (change(4, 2), "bad_value"),
        (change(5, 6), "bad_value"),
        (change(7, 5), "bad_value"),
        (change(8, 1), "record_too_long"),
        (good[..50].to_vec(), "truncated"),
        (change(90, 9), "bad_version"),
    ] {
        let mut session = OpenBmpSession::new(BmpOptions::default());
        let error: OpenBmpError = session
            .value(&bytes, Timestamp::from_secs(1), &mut Tally::default())
            .expect_err(reason);
        assert_eq!(error.reason(), reason);
        assert_eq!(session.counts().refused.get(reason), Some(&1));
    }
    let mut session = OpenBmpSession::new(BmpOptions::default());
    session.value(&change(13, 5), Timestamp::from_secs(1), &mut Tally::default()).unwrap();
    assert_eq!(session.counts().skipped.get(&5), Some(&1));
}
