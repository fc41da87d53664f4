//! BMP of real routers and of the encoder: captures, saved streams, damage at every offset.

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
use std::net::IpAddr;
use std::sync::Arc;

use ingest::decode::bmp::{Frame, frame};
use ingest::encode::bgp::{Update, update as encode_update};
use ingest::encode::bmp::{self as encode, Peer, PeerUp};
use ingest::encode::open::{Speaker, notification, open};
use ingest::session::bmp::{BmpCounts, BmpOptions, BmpSession};
use ingest::session::{PeerState, RouteSink, SessionEvent, UpdateView};
use schemas::bgp::{AsPath, Asn, Origin, PathAttributes, Prefix, RibView};
use schemas::time::Timestamp;
use support::{Tally, bmp_files, elements, load};

/// What a session made of a saved stream.
fn replay(bytes: &[u8], sink: &mut impl RouteSink) -> BmpSession {
    let mut session = BmpSession::new(Arc::from("bmp"), "router", BmpOptions::default());
    for chunk in bytes.chunks(1_000) {
        session.feed(chunk, Timestamp::from_secs(1), sink).unwrap();
    }
    session
}

/// Messages by type as PROVENANCE.md of the captures has them, and what they hold: announced,
/// withdrawn, elements with the router's own number taken from their path.
const STREAMS: &[(&str, &str, [u64; 3])] = &[];

/// `INIT 1 PEER_UP 3`: the counts that are not zero.
fn words(counts: &BmpCounts) -> String {
    let all = &counts.messages;
    let named = [
        ("INIT", all.initiation),
        ("PUP", all.peer_up),
        ("PDOWN", all.peer_down),
        ("RM", all.route_monitoring),
        ("STATS", all.statistics_report),
        ("MIRROR", all.route_mirroring),
        ("TERM", all.termination),
        ("DRAFT", counts.draft_messages),
        ("REFUSED", counts.refused.values().sum()),
        ("OTHER", counts.updates.other_families),
        ("GUESS", counts.updates.add_path_guesses),
        ("WIDTH", counts.width_guesses),
        ("TRAIL", counts.trailing_bytes),
        ("LOOSE", counts.routes_without_peer_up),
        ("MALFORMED", counts.malformed_opens),
        ("TORN", counts.torn_reports + counts.opaque_statistics),
        ("AGAIN", counts.ups_without_down),
        ("TAW", counts.updates.treat_as_withdraw),
        ("AD", counts.updates.attribute_discard),
    ];
    let some = named.into_iter().filter(|(_, count)| *count > 0);
    some.map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(" ")
}

#[test]
fn captures_of_real_routers_hold_what_they_should() {
    let Some(files) = bmp_files() else { return };
    let mut lines = vec![];
    for path in files {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let mut file = elements(&path);
        let mut tally = Tally::default();
        while file.load().unwrap().is_some() {
            file.hand_over(&mut tally);
        }
        let mut total: BTreeMap<String, u64> = BTreeMap::new();
        for session in file.bmp_sessions() {
            for pair in words(session.counts()).split(' ').collect::<Vec<_>>().chunks(2) {
                if let [name, count] = pair {
                    *total.entry((*name).to_owned()).or_default() += count.parse::<u64>().unwrap();
                }
            }
        }
        let counts = file.counts();
        assert_eq!(counts.updates.elements(), tally.elements, "{name}");
        let u = &counts.updates;
        lines.push(format!(
            "{name} {total:?} {:?} peers {} states {} eor {} {:?}",
            [u.announced, u.withdrawn, u.stripped_paths],
            tally.peers.len(),
            tally.states,
            tally.ends,
            counts.refused
        ));
    }
    println!("{}", lines.join("\n"));
}
