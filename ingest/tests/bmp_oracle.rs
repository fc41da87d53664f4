//! Every capture element by element against a second decoder: bgpkit-parser's BMP.
//!
//! The captures are taken apart here by a reader of its own, so that `source::elements` is held
//! against something too. Where the two decoders differ, the reason stands in [`PINNED`].

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

use bgpkit_parser::Elementor;
use bgpkit_parser::models::{BgpElem, ElemType};
use bgpkit_parser::parser::bmp::messages::BmpMessageBody;
use bgpkit_parser::parser::bmp::parse_bmp_msg;
use bytes::Bytes;
use ingest::decode::bmp::kind::ROUTE_MONITORING;
use ingest::decode::bmp::{Frame, MESSAGE_BYTES_MAX, frame};
use ingest::decode::packet::{Flow, segment};
use ingest::session::Action;
use ingest::session::bmp::{BmpOptions, BmpSession};
use ingest::session::tcp::{Piece, Reassembly};
use schemas::bgp::Origin;
use schemas::time::Timestamp;
use support::{Tally, Told, bmp_files, elements, load};

/// Streams of BMP bytes in a file, by flow.
fn streams(name: &str, bytes: Vec<u8>) -> Vec<Vec<u8>> {
    if !name.ends_with(".pcap") {
        return vec![bytes];
    }
    let mut flows: BTreeMap<Flow, (Reassembly, Vec<u8>)> = BTreeMap::new();
    let mut rest = &bytes[24..];
    while rest.len() >= 16 {
        let length = u32::from_le_bytes(rest[8..12].try_into().unwrap()) as usize;
        if let Some(found) = segment(&rest[16..16 + length], 1) {
            let (stream, into) = flows.entry(found.flow).or_default();
            stream.take(&found, |piece| match piece {
                Piece::Bytes(more) => into.extend_from_slice(more),
                Piece::Hole(lost) => panic!("{name}: {lost} bytes lost"),
            });
        }
        rest = &rest[16 + length..];
    }
    flows.into_values().map(|(_, bytes)| bytes).filter(|bytes| bytes.first() == Some(&3)).collect()
}

/// One element in words that both decoders have.
fn ours(told: &Told) -> String {
    let Told { action, prefix, path_id, attributes, .. } = told;
    match action {
        Action::Withdraw => format!("W {prefix} {path_id:?}"),
        Action::Announce => {
            let origin = attributes.origin.map(|origin| match origin {
                Origin::Igp => "IGP",
                Origin::Egp => "EGP",
                Origin::Incomplete => "INCOMPLETE",
            });
            let (path, hop) = (&attributes.as_path, attributes.next_hop);
            let (med, pref) = (attributes.med.unwrap_or(0), attributes.local_pref.unwrap_or(0));
            format!("A {prefix} {path_id:?} {path} {hop:?} {origin:?} {med} {pref}")
        }
    }
}

fn theirs(elem: &BgpElem) -> String {
    let (prefix, path_id) = (elem.prefix.prefix, elem.prefix.path_id);
    match elem.elem_type {
        ElemType::WITHDRAW => format!("W {prefix} {path_id:?}"),
        ElemType::ANNOUNCE => {
            let path = elem.as_path.as_ref().map(ToString::to_string).unwrap_or_default();
            let origin = elem.origin.map(|origin| origin.to_string());
            let hop = elem.next_hop;
            let (med, pref) = (elem.med.unwrap_or(0), elem.local_pref.unwrap_or(0));
            format!("A {prefix} {path_id:?} {path} {hop:?} {:?} {med} {pref}", origin.as_deref())
        }
    }
}

fn bgpkit(message: &[u8]) -> Vec<String> {
    let Ok(parsed) = parse_bmp_msg(&mut Bytes::copy_from_slice(message)) else { return vec![] };
    let (Some(peer), BmpMessageBody::RouteMonitoring(found)) =
        (parsed.per_peer_header, parsed.message_body)
    else {
        return vec![];
    };
    let elems = Elementor::bgp_to_elems(found.bgp_message, 0.0, &peer.peer_ip, &peer.peer_asn);
    elems.iter().map(theirs).collect()
}

/// Messages in which the decoders differ, and why.
const PINNED: &[(&str, usize)] = &[
    // Labelled IPv6 (SAFI 4): bgpkit reads labels and prefixes as plain prefixes, we count them as
    // another family.
    ("pmacct.208-BMP-mem-leak-test.bmp-multi-sources-route-monitoring.pcap", 12),
];

#[test]
fn a_second_decoder_says_the_same_of_every_message() {
    let Some(files) = bmp_files() else { return };
    let (mut wrong, mut compared) = (vec![], 0);
    for path in files {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let (mut differ, mut elements_told) = (vec![], 0);
        for stream in streams(&name, load(&path)) {
            let options = BmpOptions { strips_reporter: false, ..BmpOptions::default() };
            let mut session = BmpSession::new("t".into(), "r", options);
            let mut rest = &stream[..];
            while let Ok(Frame::Whole { message, bytes }) = frame(rest, MESSAGE_BYTES_MAX) {
                let mut tally = Tally { keeps: true, ..Tally::default() };
                let _ = session.message(&message, Timestamp::from_secs(1), &mut tally);
                let mut ours: Vec<String> = tally.routes.iter().map(ours).collect();
                let mut theirs = bgpkit(&rest[..bytes]);
                elements_told += ours.len();
                ours.sort();
                theirs.sort();
                if ours != theirs {
                    assert_eq!(message.kind, ROUTE_MONITORING, "{name}");
                    differ.push((ours, theirs));
                }
                rest = &rest[bytes..];
            }
        }
        let mut file = elements(&path);
        let mut tally = Tally::default();
        while file.load().unwrap().is_some() {
            file.hand_over(&mut tally);
        }
        assert_eq!(tally.elements as usize, elements_told, "{name}: source against test reader");
        compared += elements_told;
        let pinned =
            PINNED.iter().find(|(pinned, _)| *pinned == name).map_or(0, |(_, count)| *count);
        let is_ours_alone = differ.iter().any(|(ours, _)| !ours.is_empty());
        if differ.len() != pinned || is_ours_alone {
            wrong.push(format!(
                "{name}: {} differ, {pinned} pinned: {:#?}",
                differ.len(),
                differ.iter().take(3).collect::<Vec<_>>()
            ));
        }
    }
    println!("{compared} elements compared");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
