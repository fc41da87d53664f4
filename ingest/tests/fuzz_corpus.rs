//! The kept corpus of every fuzz target, through the function that the fuzzer calls.
//!
//! `PEERSCOPE_BLESS=1` writes the seeds anew, with our own encoder. How the fuzzers are run:
//! `fuzz/README.md`.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used, missing_docs)]
#![allow(unreachable_pub, dead_code)]

#[path = "../../fuzz/src/bgp_update.rs"]
mod bgp_update;
#[path = "../../fuzz/src/mrt.rs"]
mod mrt;
#[path = "../../fuzz/src/rtr.rs"]
mod rtr;
#[path = "../../fuzz/src/rtt.rs"]
mod rtt;

use std::path::PathBuf;

use ingest::decode::bgp::AsnWidth;
use ingest::decode::rtr::{Pdu, Timers};
use ingest::encode::messages::{News, messages};
use ingest::encode::mrt::{self as encode, RibEntry, Session};
use ingest::encode::rtr::encode as encode_rtr;
use schemas::bgp::{AsPath, Asn, Community, Origin, PathAttributes, Prefix};
use schemas::reference::Vrp;
use schemas::time::Timestamp;

fn replay(target: &str, check: fn(&[u8]), seeds: &[(&str, Vec<u8>)]) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    if std::env::var_os("PEERSCOPE_BLESS").is_some() {
        std::fs::create_dir_all(&folder).unwrap();
        for (name, bytes) in seeds {
            std::fs::write(folder.join(name), bytes).unwrap();
        }
    }
    let mut inputs = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        check(&std::fs::read(entry.unwrap().path()).unwrap());
        inputs += 1;
    }
    assert!(inputs >= seeds.len(), "{inputs} inputs in {}", folder.display());
}

fn attributes(next_hop: &str) -> PathAttributes {
    PathAttributes {
        origin: Some(Origin::Igp),
        as_path: AsPath::sequence([64_500, 400_000, 64_501]),
        next_hop: Some(next_hop.parse().unwrap()),
        med: Some(5),
        local_pref: Some(100),
        atomic_aggregate: true,
        aggregator: Some((Asn(400_001), [192, 0, 2, 9].into())),
        communities: vec![
            Community::Standard(0xffff_ff01),
            Community::Extended([7; 8]),
            Community::ExtendedIpv6([9; 20]),
            Community::Large(1, 2, 3),
        ],
        originator_id: Some(1),
        cluster_list: vec![1, 2],
        aigp: Some(7),
        otc: Some(Asn(64_500)),
        unknown: vec![(0xc0, 99, vec![1, 2, 3])],
        ..PathAttributes::default()
    }
}

fn prefixes() -> Vec<Prefix> {
    let texts = ["192.0.2.0/24", "198.51.100.0/22", "0.0.0.0/0", "2001:db8::/32", "::/0"];
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// UPDATEs of both widths, with path identifiers and without.
fn updates(has_path_ids: bool, width: AsnWidth) -> Vec<Vec<u8>> {
    let path_id = has_path_ids.then_some(7);
    let paths: Vec<_> = prefixes().into_iter().map(|prefix| (prefix, path_id)).collect();
    ["192.0.2.1", "2001:db8::1"]
        .iter()
        .flat_map(|hop| {
            let (attributes, message_bytes_max) = (attributes(hop), 4_096);
            let attributes = Some(&attributes);
            let (withdrawn, announced) = (&paths[..], &paths[..]);
            let news =
                News { withdrawn, announced, attributes, width, has_path_ids, message_bytes_max };
            messages(&news).unwrap()
        })
        .collect()
}

const FORMS: [(bool, AsnWidth, u16, u8); 4] = [
    (false, AsnWidth::Two, 1, 0),
    (false, AsnWidth::Four, 4, 1),
    (true, AsnWidth::Two, 8, 4),
    (true, AsnWidth::Four, 9, 5),
];

#[test]
fn bgp_update_corpus() {
    let mut seeds = vec![];
    for (has_path_ids, width, subtype, choice) in FORMS {
        for (number, message) in updates(has_path_ids, width).into_iter().enumerate() {
            let name = ["one", "two", "three", "four", "five", "six", "seven", "eight"][number];
            let name: &'static str = format!("subtype-{subtype}-{name}").leak();
            seeds.push((name, [&[choice], &message[19..]].concat()));
        }
    }
    replay("bgp_update", bgp_update::check, &seeds);
}

#[test]
fn mrt_corpus() {
    let [peer_address, local_address] =
        [[192, 0, 2, 7], [192, 0, 2, 8]].map(std::net::IpAddr::from);
    let (peer_asn, local_asn) = (Asn(64_500), Asn(64_511));
    let session = Session { peer_address, peer_asn, local_address, local_asn };
    let time = Timestamp::from_parts(1_400_000_000, 7);
    let mut seeds = vec![];
    for (has_path_ids, width, subtype, _) in FORMS {
        let mut stream = vec![];
        for message in updates(has_path_ids, width).iter().take(4) {
            encode::message_of(&mut stream, time, &session, subtype, message);
        }
        let name: &'static str = format!("bgp4mp-{subtype}").leak();
        seeds.push((name, stream));
    }
    let mut table = vec![];
    encode::peer_index_table(&mut table, time, 1, "view", &[(peer_address, peer_asn)]);
    for prefix in prefixes() {
        let attributes = attributes("192.0.2.1");
        let entry = RibEntry { peer_index: 0, originated: time, attributes: &attributes };
        encode::rib(&mut table, time, 0, prefix, &[entry, entry]);
    }
    seeds.push(("table-dump-v2", table));
    let mut states = vec![];
    encode::state_change(&mut states, time, &session, 6, 1);
    encode::state_change(&mut states, Timestamp::from_secs(1), &session, 1, 6);
    seeds.push(("states", states));
    replay("mrt", mrt::check, &seeds);
}

#[test]
fn rtt_corpus() {
    let seeds = [
        ("json", &b"\x00{\"time\":1772618400000000,\"ip\":\"192.0.2.7\",\"rtt_us\":21500,\"source\":\"p\"}\n{\"time\":\"2026-03-04T10:00:00Z\",\"prefix\":\"8000::/16\",\"rtt_ms\":null,\"source\":\"p\",\"connection\":\"fuzz\"}\n"[..]),
        ("json-owned", b"\x00{\"time\":1772618400.5,\"ip\":\"10.0.0.1\",\"rtt_ms\":2.5,\"source\":\"a\"}\n{\"time\":1772610000,\"ip\":\"10.0.0.1\",\"rtt_us\":59000000,\"source\":\"a\"}\n"),
        ("csv", b"\x01time,ip,rtt_us,source,connection\n1772618400,10.0.0.1,21500,p,fuzz\n2026-03-04T10:00:00Z,\"::1\",,\"p,q\",\n"),
        ("csv-prefix", b"\x01source,rtt_ms,time,prefix\np,0.5,1772618400000,10.0.0.0/8\n"),
    ];
    let seeds: Vec<_> = seeds.iter().map(|(name, bytes)| (*name, bytes.to_vec())).collect();
    replay("rtt", rtt::check, &seeds);
}

/// A cache that notifies, answers, and reports an error; a key of BGPsec in between.
fn cache() -> Vec<u8> {
    let session = 7;
    let vrp = |prefix: &str, max_length| Vrp {
        prefix: prefix.parse().unwrap(),
        asn: Asn(64_510),
        max_length,
        expires: None,
    };
    let comes = |vrp| Pdu::Prefix { is_announced: true, vrp };
    let vrps = [vrp("203.0.113.0/24", 25), vrp("2001:db8::/32", 48)];
    let mut bytes = Vec::new();
    for pdu in [
        Pdu::SerialNotify { session, serial: 1 },
        Pdu::CacheResponse { session },
        comes(vrps[0]),
        comes(vrps[1]),
        Pdu::RouterKey,
        Pdu::Prefix { is_announced: false, vrp: vrps[0] },
        Pdu::EndOfData { session, serial: 1, timers: Some(Timers::default()) },
        Pdu::ErrorReport { code: 1, about: &[1, 2, 0, 0, 0, 0, 0, 8], text: b"internal error" },
    ] {
        encode_rtr(&mut bytes, 1, &pdu);
    }
    bytes
}

#[test]
fn rtr_inputs_keep_every_promise() {
    replay("rtr", rtr::check, &[("one-of-each", cache())]);
    let whole = cache();
    for length in 0..whole.len() {
        rtr::check(&whole[..length]);
        for flip in [1, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[length] ^= flip;
            rtr::check(&bytes);
        }
    }
}
