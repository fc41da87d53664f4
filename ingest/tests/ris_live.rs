//! RIS Live texts as its manual shows them, and as its collectors send them.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs
)]

mod support;

use std::io::Cursor;

use ingest::decode::ris_live::RisKind;
use ingest::session::ris_live::{RisSession, RisTold};
use ingest::session::{Action, BmpOptions, PeerState, RouteSink, UpdateView};
use ingest::source::discover::FileKind;
use ingest::source::elements::Elements;
use schemas::bgp::{Asn, Community, Disposition, PeerHeader, Prefix};
use schemas::time::Timestamp;
use support::{Tally, Told};

fn told(text: &str) -> (Tally, RisSession) {
    let (mut session, mut tally) = (RisSession::new(), Tally { keeps: true, ..Tally::default() });
    session.text(text.as_bytes(), &mut tally).unwrap_or_else(|error| panic!("{error}: {text}"));
    (tally, session)
}

fn in_envelope(fields: &str) -> String {
    format!(
        r#"{{"type":"ris_message","data":{{"timestamp":1700000000.17,"peer":"2001:db8::7","peer_asn":"64500","id":"21-587-22045871","host":"rrc21.ripe.net",{fields}}}}}"#
    )
}

fn lines(routes: &[Told]) -> Vec<String> {
    let line = |told: &Told| {
        let Told { action, prefix, attributes, .. } = told;
        match action {
            Action::Announce => {
                format!("{prefix} {} {}", attributes.as_path, attributes.next_hop.unwrap())
            }
            Action::Withdraw => format!("{prefix} withdrawn"),
        }
    };
    routes.iter().map(line).collect()
}

#[test]
fn an_update_of_json_says_all_that_its_fields_say() {
    let (tally, session) = told(&in_envelope(
        r#""type":"UPDATE","path":[64500,400000,[64501,64502]],"community":[[64500,65535],[0,1]],
        "origin":"egp","med":7,"aggregator":"400001:192.0.2.1","announcements":[
        {"next_hop":"192.0.2.7","prefixes":["192.0.2.0/24","198.51.100.0/24"]},
        {"next_hop":"2001:db8::7,fe80::7","prefixes":["2001:db8::/32"]}],
        "withdrawals":["203.0.113.0/24","2001:db8:1:0:0:0:0:0/48"]"#,
    ));
    assert_eq!(
        lines(&tally.routes),
        [
            "203.0.113.0/24 withdrawn",
            "2001:db8:1::/48 withdrawn",
            "192.0.2.0/24 64500 400000 {64501,64502} 192.0.2.7",
            "198.51.100.0/24 64500 400000 {64501,64502} 192.0.2.7",
            "2001:db8::/32 64500 400000 {64501,64502} 2001:db8::7",
        ]
    );
    let Told { time, peer, attributes, .. } = &tally.routes[2];
    assert_eq!(*time, Timestamp(1_700_000_000_170_000));
    assert_eq!((&*peer.collector, peer.asn), ("rrc21", Asn(64_500)));
    assert_eq!((attributes.med, attributes.disposition), (Some(7), Disposition::Accepted));
    assert_eq!(attributes.aggregator, Some((Asn(400_001), "192.0.2.1".parse().unwrap())));
    let communities = [Community::Standard(0xfbf4_ffff), Community::Standard(1)];
    assert_eq!(attributes.communities, communities);
    assert_eq!((session.counts().json_updates, session.peers().len()), (1, 1));
}

#[test]
fn the_global_next_hop_counts_whatever_stands_beside_it() {
    for announcements in [
        r#"[{"next_hop":"2001:db8::7,fe80::7","prefixes":["2001:db8::/32"]}]"#,
        r#"[{"next_hop":"fe80::7,2001:db8::7","prefixes":["2001:db8::/32"]}]"#,
        r#"[{"next_hop":"fe80::7","prefixes":["2001:db8::/32"]},
            {"next_hop":"2001:db8::7","prefixes":["2001:db8::/32"]}]"#,
    ] {
        let fields = format!(
            r#""type":"UPDATE","path":[64500],"origin":"igp","announcements":{announcements}"#
        );
        let (tally, _) = told(&in_envelope(&fields));
        assert_eq!(lines(&tally.routes), ["2001:db8::/32 64500 2001:db8::7"], "{announcements}");
    }
    let lonely = r#""type":"UPDATE","path":[64500],"announcements":[
        {"next_hop":"fe80::7","prefixes":["2001:db8::/32"]}]"#;
    assert_eq!(lines(&told(&in_envelope(lonely)).0.routes), ["2001:db8::/32 64500 fe80::7"]);
}

/// What stands in `raw` counts: here with a community that the JSON does not have.
#[test]
fn raw_is_decoded_as_any_bgp_message() {
    let raw = concat!(
        "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF0042020000002740010100",
        "40020A02020000FBF400061A80",
        "400304C0000207",
        "E0200C0000FBF40000000100000002",
        "18C00002",
    );
    let fields = format!(r#""type":"UPDATE","path":[64500,400000],"raw":"{raw}""#);
    let (tally, session) = told(&in_envelope(&fields));
    assert_eq!(lines(&tally.routes), ["192.0.2.0/24 64500 400000 192.0.2.7"]);
    assert_eq!(tally.routes[0].attributes.communities, [Community::Large(64_500, 1, 2)]);
    assert_eq!((session.counts().raw_updates, session.counts().json_updates), (1, 0));
}

#[test]
fn a_peer_of_two_octets_is_read_so() {
    let raw = concat!(
        "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF002F020000001440010100",
        "4002060202FBF4FBF5",
        "400304C0000207",
        "18C00002",
    );
    let (tally, _) = told(&in_envelope(&format!(r#""type":"UPDATE","raw":"{raw}""#)));
    assert_eq!(lines(&tally.routes), ["192.0.2.0/24 64500 64501 192.0.2.7"]);
}

#[test]
fn states_are_told_under_both_of_their_names() {
    for (kind, state, want) in [
        ("STATE", "connected", PeerState::Up),
        ("RIS_PEER_STATE", "connected", PeerState::Up),
        ("STATE", "down", PeerState::Down),
    ] {
        let (tally, _) = told(&in_envelope(&format!(r#""type":"{kind}","state":"{state}""#)));
        assert_eq!(tally.events[0].state, want);
    }
}

#[test]
fn what_is_no_update_is_counted() {
    let mut session = RisSession::new();
    let mut text = |text: &str| session.text(text.as_bytes(), &mut Tally::default()).unwrap();
    let message = |kind| RisTold::Message(kind);
    assert_eq!(
        text(&in_envelope(
            r#""type":"OPEN","direction":"sent","version":4,"asn":64500,"capabilities":{}"#
        )),
        message(RisKind::Open)
    );
    assert_eq!(text(&in_envelope(r#""type":"KEEPALIVE""#)), message(RisKind::Keepalive));
    assert_eq!(
        text(&in_envelope(r#""type":"NOTIFICATION","notification":{"code":6,"subcode":2}"#)),
        message(RisKind::Notification)
    );
    assert_eq!(text(&in_envelope(r#""type":"SOMETHING""#)), message(RisKind::Other));
    assert_eq!(text(r#"{"type":"ris_subscribe_ok","data":{"subscription":{}}}"#), RisTold::Other);
    assert_eq!(text(r#"{"type":"ris_rrc_list","data":["rrc00"]}"#), RisTold::Other);
    assert_eq!(text(r#"{"type":"pong","data":null}"#), RisTold::Other);
    let error = text(r#"{"type":"ris_error","data":{"message":"client too slow"}}"#);
    assert_eq!(error, RisTold::ServerError("client too slow".into()));
    let counts = session.counts();
    assert_eq!((counts.opens, counts.keepalives, counts.notifications), (1, 1, 1));
    assert_eq!((counts.server_errors, counts.others, counts.texts), (1, 4, 8));
}

/// Leaves what is not of 192.0.2.0/24.
#[derive(Default)]
struct Narrow {
    tally: Tally,
    left: u64,
}

impl RouteSink for Narrow {
    fn update(&mut self, update: &UpdateView<'_>) {
        self.tally.update(update);
    }

    fn may_keep(&self, _header: &PeerHeader, prefix: &Prefix) -> bool {
        prefix.to_string() == "192.0.2.0/24"
    }

    fn leave(&mut self, elements: u64) {
        self.left += elements;
    }
}

#[test]
fn attributes_of_what_nobody_wants_stay_unread() {
    let update = |prefix: &str| {
        in_envelope(&format!(
            r#""type":"UPDATE","path":["x"],"withdrawals":["{prefix}"],
            "announcements":[{{"next_hop":"192.0.2.1","prefixes":["198.51.100.0/24"]}}]"#
        ))
    };
    let (mut session, mut sink) = (RisSession::new(), Narrow::default());
    assert!(session.text(update("203.0.113.0/24").as_bytes(), &mut sink).is_ok());
    assert_eq!((sink.left, sink.tally.elements), (2, 0));
    assert_eq!(session.counts().updates.elements(), 2);
    let refused = session.text(update("192.0.2.0/24").as_bytes(), &mut sink);
    assert_eq!(refused.map_err(|error| error.reason()), Err("bad_json"));
    assert_eq!(sink.left, 2);
}

#[test]
fn a_text_with_a_field_that_cannot_be_is_refused_and_counted() {
    let update = |fields: &str| in_envelope(&format!(r#""type":"UPDATE","path":[1],{fields}"#));
    let announced = |hop: &str, prefix: &str| {
        update(&format!(r#""announcements":[{{"next_hop":"{hop}","prefixes":["{prefix}"]}}]"#))
    };
    for (text, reason) in [
        (update(r#""origin":"unknown""#), "bad_field"),
        (update(r#""aggregator":"64500-192.0.2.1""#), "bad_field"),
        (update(r#""community":[[65536,1]]"#), "bad_field"),
        (update(r#""raw":"FFF""#), "bad_field"),
        (update(r#""raw":"FFFF""#), "truncated"),
        (update(r#""med":"high""#), "bad_json"),
        (announced("x", "192.0.2.0/24"), "bad_field"),
        (announced("192.0.2.1", "192.0.2.0/33"), "bad_field"),
        (in_envelope(r#""type":"STATE","state":"odd""#), "bad_field"),
        (in_envelope(r#""type":"UPDATE","path":[]"#).replace("1700000000.17", "-1"), "bad_field"),
        (r#"{"type":"ris_message","data":{}}"#.to_owned(), "bad_json"),
        ("{".to_owned(), "bad_json"),
        (format!("\"{}\"", "x".repeat(1 << 20)), "text_too_long"),
    ] {
        let mut session = RisSession::new();
        let mut tally = Tally::default();
        let error = session.text(text.as_bytes(), &mut tally).expect_err(&text);
        assert_eq!((error.reason(), tally.elements), (reason, 0), "{error}: {:.200}", text);
        assert_eq!(session.counts().refused.get(reason), Some(&1));
        assert!(error.to_string().len() < 500);
    }
}

#[test]
fn a_file_of_texts_is_read_line_by_line_past_what_is_no_text() {
    let update = in_envelope(r#""type":"UPDATE","withdrawals":["192.0.2.0/24"]"#);
    let text = format!("{update}\n\n  {update}\r\nno json\n{}\n{update}", "x".repeat(3 << 20));
    let reader = Box::new(Cursor::new(text.into_bytes()));
    let opened =
        Elements::open(FileKind::RisLive, reader, "archive".into(), "r", BmpOptions::default());
    let (mut file, mut tally) = (opened.unwrap().unwrap(), Tally::default());
    while let Some(time) = file.load().unwrap() {
        assert_eq!(time, Timestamp(1_700_000_000_170_000));
        file.hand_over(&mut tally);
    }
    assert_eq!((tally.elements, file.records()), (3, 4));
    let refused = file.counts().refused;
    assert_eq!((refused.get("bad_json"), refused.get("text_too_long")), (Some(&1), Some(&1)));
}
