//! Damage to every format that carries BGP live: every cut and every flipped byte of golden inputs,
//! through the functions that the fuzzers call.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    dead_code,
    missing_docs,
    unreachable_pub
)]

#[path = "../../fuzz/src/bmp.rs"]
mod bmp;
#[path = "../../fuzz/src/openbmp.rs"]
mod openbmp;
#[path = "../../fuzz/src/pcap.rs"]
mod pcap;
#[path = "../../fuzz/src/ris_live.rs"]
mod ris_live;

use std::path::Path;

use ingest::encode::bgp::{Update, update};
use ingest::encode::bmp::{self as encode, OpenBmp, Peer, PeerUp};
use ingest::encode::open::{Speaker, notification, open};
use schemas::bgp::{AsPath, Asn, Origin, PathAttributes};
use schemas::time::Timestamp;

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

fn peer() -> Peer {
    Peer::global([192, 0, 2, 7].into(), Asn(64_500), NOW)
}

/// One of each message.
fn stream() -> Vec<Vec<u8>> {
    let open = |asn| {
        open(&Speaker {
            asn: Asn(asn),
            bgp_id: 1,
            hold_time_secs: 90,
            has_four_octets: true,
            families: &[(1, 1), (2, 1)],
            add_path: &[],
        })
    };
    let attributes = |next_hop: &str| PathAttributes {
        origin: Some(Origin::Igp),
        as_path: AsPath::sequence([64_500, 400_000]),
        next_hop: Some(next_hop.parse().unwrap()),
        ..PathAttributes::default()
    };
    let (v4, v6) = (attributes("192.0.2.7"), attributes("2001:db8::7"));
    let routes = ["192.0.2.0/24".parse().unwrap(), "198.51.100.0/25".parse().unwrap()];
    let routes_v6 = ["2001:db8::/32".parse().unwrap()];
    let mut all = vec![vec![]; 10];
    let mut each = all.iter_mut();
    let mut next = || each.next().unwrap();
    encode::initiation(next(), "Example OS", "edge1");
    let (sent, received) = (open(64_511), open(64_500));
    let up = PeerUp {
        local_address: [192, 0, 2, 8].into(),
        local_port: 179,
        remote_port: 50_000,
        sent: &sent,
        received: &received,
        information: &[(0, b"text")],
    };
    encode::peer_up(next(), &peer(), &up);
    let announced =
        |announced, attributes| update(&Update { withdrawn: &[], announced, attributes });
    encode::route_monitoring(next(), &peer(), &announced(&routes, Some(&v4)));
    encode::route_monitoring(next(), &peer(), &announced(&routes_v6, Some(&v6)));
    let withdrawn = Update { withdrawn: &routes, ..Update::default() };
    encode::route_monitoring(next(), &Peer { flags: 0x40, ..peer() }, &update(&withdrawn));
    encode::statistics(
        next(),
        &peer(),
        &[(7, &[0, 0, 0, 9]), (9, &[0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 9])],
    );
    encode::route_mirroring(next(), &peer(), &[(0, &update(&withdrawn)), (1, &[0, 1])]);
    let local = Peer { kind: 3, address: [0, 0, 0, 0].into(), ..peer() };
    encode::route_monitoring(next(), &local, &announced(&routes, Some(&v4)));
    encode::peer_down(next(), &peer(), 1, &notification(6, 2));
    encode::termination(next(), 0);
    all
}

/// Every cut of it, and every byte of it changed in several ways.
fn damaged(whole: &[u8], flips: &[u8], mut check: impl FnMut(&[u8])) {
    for left in 0..=whole.len() {
        check(&whole[..left]);
    }
    for at in 0..whole.len() {
        for flip in flips {
            let mut bytes = whole.to_vec();
            bytes[at] ^= flip;
            check(&bytes);
        }
    }
}

/// The kept corpus of a target; `PEERSCOPE_BLESS=1` writes the seed anew.
fn corpus(target: &str, seed: &[u8], check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    if std::env::var_os("PEERSCOPE_BLESS").is_some() {
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("one-of-each"), seed).unwrap();
    }
    let mut inputs = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        check(&std::fs::read(entry.unwrap().path()).unwrap());
        inputs += 1;
    }
    assert!(inputs > 0, "no input in {}", folder.display());
}

#[test]
fn the_kept_corpus_of_every_target_holds() {
    corpus("bmp", &stream().concat(), bmp::check);
    corpus("openbmp", &value(), openbmp::check);
    corpus("pcap", &capture(&stream()), pcap::check);
    let raw = r#"{"timestamp":1.5,"peer":"192.0.2.7","peer_asn":64500,"host":"rrc00","type":"UPDATE",
        "raw":"FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF001B02000418C000020000"}"#;
    let texts = format!("{TEXT}\n{}\n{{\"type\":\"pong\"}}\n", raw.replace('\n', " "));
    corpus("ris_live", texts.as_bytes(), ris_live::check);
}

#[test]
fn no_cut_and_no_flip_of_a_stream_hurts() {
    damaged(&stream().concat(), &[1, 0x80, 0xff], bmp::check);
}

/// A flip behind the common header costs the message at most: all others are told as before.
#[test]
fn a_damaged_message_costs_itself_alone() {
    let messages = stream();
    let told = |messages: &[Vec<u8>]| {
        let mut listener = bmp::Listener::default();
        let mut session = ingest::session::BmpSession::new("t".into(), "r", Default::default());
        session.feed(&messages.concat(), NOW, &mut listener).unwrap();
        listener
    };
    let last = told(&messages).routes.last().cloned();
    for (number, message) in messages.iter().enumerate().take(7) {
        for at in 6..message.len() {
            let mut damaged = messages.clone();
            damaged[number][at] ^= 0xff;
            let listener = told(&damaged);
            let told = listener.routes.last().cloned();
            let same = |route: &(_, _, _, _, _)| (route.1, route.2, route.4);
            assert_eq!(told.as_ref().map(same), last.as_ref().map(same), "{number} {at}");
        }
    }
}

fn value() -> Vec<u8> {
    let header = OpenBmp {
        time: NOW,
        admin_id: "collector-1",
        router: [192, 0, 2, 8].into(),
        router_group: "example-views",
    };
    let mut value = vec![];
    encode::openbmp(&mut value, &header, &stream()[..5].concat());
    value
}

#[test]
fn no_cut_and_no_flip_of_an_openbmp_value_hurts() {
    damaged(&value(), &[1, 0x80, 0xff], openbmp::check);
}

const TEXT: &str = concat!(
    r#"{"type":"ris_message","data":{"timestamp":1700000000.25,"peer":"2001:db8::7","#,
    r#""peer_asn":"64500","host":"rrc21.ripe.net","type":"UPDATE","path":[64500,[1,2]],"#,
    r#""community":[[64500,1]],"origin":"igp","med":5,"aggregator":"64500:192.0.2.1","#,
    r#""announcements":[{"next_hop":"2001:db8::7,fe80::7","prefixes":["2001:db8::/32"]},"#,
    r#"{"next_hop":"192.0.2.7","prefixes":["192.0.2.0/24"]}],"withdrawals":["::/0"]}}"#,
);

#[test]
fn no_cut_and_no_flip_of_a_ris_live_text_hurts() {
    damaged(TEXT.as_bytes(), &[1, 0x80, 0xff], ris_live::check);
}

#[test]
fn no_cut_and_no_flip_of_a_capture_hurts() {
    damaged(&capture(&stream()), &[0xff], pcap::check);
}

/// A capture of the stream: Ethernet, IPv4, one message a segment, the second and third swapped.
fn capture(messages: &[Vec<u8>]) -> Vec<u8> {
    let mut packets = vec![];
    let mut sequence = 1_000_u32;
    for message in messages {
        let mut packet = vec![2; 12];
        packet.extend([8, 0, 0x45, 0]);
        packet.extend((40 + message.len() as u16).to_be_bytes());
        packet.extend([0, 0, 0, 0, 64, 6, 0, 0, 192, 0, 2, 8, 192, 0, 2, 9]);
        packet.extend([0xc3, 0x50, 0x13, 0x88]);
        packet.extend(sequence.to_be_bytes());
        packet.extend([0, 0, 0, 0, 0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0]);
        packet.extend(message);
        sequence += message.len() as u32;
        packets.push(packet);
    }
    packets.swap(1, 2);
    let mut bytes =
        vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0];
    for packet in packets {
        for number in [1_700_000_000, 5, packet.len() as u32, packet.len() as u32] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(packet);
    }
    bytes
}

#[test]
fn segments_out_of_order_make_up_the_stream() {
    use ingest::source::{discover::FileKind, elements::Elements};
    let reader = Box::new(std::io::Cursor::new(capture(&stream())));
    let opened = Elements::open(FileKind::Capture, reader, "t".into(), "r", Default::default());
    let (mut file, mut told) = (opened.unwrap().unwrap(), bmp::Listener::default());
    while file.load().unwrap().is_some() {
        assert_eq!(file.hand_over(&mut told), None);
    }
    let mut straight = bmp::Listener::default();
    let mut session = ingest::session::BmpSession::new("t".into(), "192.0.2.8", Default::default());
    session.feed(&stream().concat(), NOW, &mut straight).unwrap();
    assert_eq!(told, straight);
}
