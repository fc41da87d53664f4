//! Malformed input by class: each that became a CVE or an outage elsewhere is a test with its number.
//!
//! A bad message is refused, or its routes count as withdrawn (RFC 7606); the next one is read. Every
//! cut and every flipped byte: `malformed.rs`. The sixteenth class, a failing `accept`, is no matter
//! of bytes; it belongs to the listener.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs
)]

use std::net::IpAddr;
use std::sync::Arc;

use ingest::decode::mrt::{Frame, frame, resync};
use ingest::encode::mrt::{self as encode, RibEntry, Session};
use ingest::session::{Action, MrtSession, RouteSink, UpdateView};
use schemas::bgp::{Asn, Disposition, Origin, PathAttributes, Prefix};
use schemas::time::Timestamp;

/// What a stream of records told.
#[derive(Debug, Default)]
struct Tally {
    routes: Vec<(Action, Prefix, Option<u32>)>,
    attributes: Vec<PathAttributes>,
}

impl Tally {
    fn elements(&self) -> usize {
        self.routes.len()
    }
}

impl RouteSink for Tally {
    fn update(&mut self, update: &UpdateView<'_>) {
        self.attributes.push(update.attributes.decode());
        update.for_each_prefix(|action, prefix, path_id| {
            self.routes.push((action, prefix, path_id));
        });
    }
}

/// Reads all records of `bytes`, past damage too.
fn replay(mut bytes: &[u8], session: &mut MrtSession, sink: &mut impl RouteSink) {
    while !bytes.is_empty() {
        let skip = match frame(bytes) {
            Ok(Frame::Whole { record, bytes }) => {
                let _ = session.record(&record, sink);
                bytes
            }
            Ok(Frame::NeedMore { .. }) => return,
            Err(_) => resync(bytes).unwrap_or(bytes.len()),
        };
        bytes = &bytes[skip..];
    }
}

fn session() -> MrtSession {
    MrtSession::new(Arc::from("archive"))
}

const V4: Prefix = Prefix::v4([192, 0, 2, 0], 24);
const ORIGIN: &[u8] = &[0x40, 1, 1, 0];
const AS_PATH: &[u8] = &[0x40, 2, 10, 2, 2, 0, 0, 0xfb, 0xf4, 0, 0, 0xfb, 0xf5];
const NEXT_HOP: &[u8] = &[0x40, 3, 4, 192, 0, 2, 1];
const NLRI: &[u8] = &[24, 192, 0, 2];

fn peer() -> Session {
    let [peer_address, local_address] = [[192, 0, 2, 7], [192, 0, 2, 8]].map(IpAddr::from);
    Session { peer_address, peer_asn: Asn(64_500), local_address, local_asn: Asn(64_511) }
}

/// An UPDATE of these parts, whatever they hold.
fn update(withdrawn: &[u8], attributes: &[&[u8]], nlri: &[u8]) -> Vec<u8> {
    let attributes = attributes.concat();
    let mut bytes = vec![0xff; 16];
    bytes.extend(((23 + withdrawn.len() + attributes.len() + nlri.len()) as u16).to_be_bytes());
    bytes.push(2);
    for part in [withdrawn, &attributes] {
        bytes.extend((part.len() as u16).to_be_bytes());
        bytes.extend(part);
    }
    bytes.extend(nlri);
    bytes
}

/// What a session makes of one message, and then of a good one: that must always come through.
fn told(message: &[u8], subtype: u16) -> (Tally, &'static str) {
    let mut bytes = vec![];
    encode::message_of(&mut bytes, Timestamp::from_secs(9), &peer(), subtype, message);
    let (mut session, mut tally) = (session(), Tally::default());
    replay(&bytes, &mut session, &mut tally);
    let refused = session.counts().refused.keys().next().copied().unwrap_or("");
    let mut after = Tally::default();
    bytes.clear();
    let good = update(NLRI, &[], &[]);
    encode::message(&mut bytes, Timestamp::from_secs(10), &peer(), &good);
    replay(&bytes, &mut session, &mut after);
    assert_eq!(after.elements(), 1, "a bad message poisons the next one");
    (tally, refused)
}

/// The disposition of an UPDATE that announces 192.0.2.0/24 with these attributes besides ORIGIN,
/// AS_PATH and NEXT_HOP, and its attributes.
fn judged(attributes: &[&[u8]]) -> PathAttributes {
    let all = [&[ORIGIN, AS_PATH, NEXT_HOP][..], attributes].concat();
    let (tally, refused) = told(&update(&[], &all, NLRI), 4);
    let [attributes] = &tally.attributes[..] else { panic!("{refused}") };
    let withdrawn = attributes.disposition == Disposition::TreatAsWithdraw;
    let action = if withdrawn { Action::Withdraw } else { Action::Announce };
    assert_eq!(tally.routes, [(action, V4, None)]);
    attributes.clone()
}

/// FRR CVE-2023-46752, tcpdump CVE-2018-16230.
#[test]
fn class_01_a_next_hop_of_a_wrong_length_in_mp_reach_refuses_the_message() {
    for length in (0..=u8::MAX).filter(|length| ![4, 16, 32].contains(length)) {
        let mut value = vec![0, 2, 1, length];
        value.extend(vec![0; 40]);
        let attribute = [&[0x80, 14, value.len() as u8][..], &value].concat();
        let (tally, refused) = told(&update(&[], &[ORIGIN, AS_PATH, &attribute], &[]), 4);
        assert_eq!((tally.elements(), refused), (0, "bad_value"), "{length}");
    }
    for cut in 0..5 {
        let attribute = [&[0x80, 14, cut][..], &[0, 2, 1, 16, 0][..cut as usize]].concat();
        let (tally, refused) = told(&update(&[], &[ORIGIN, AS_PATH, &attribute], &[]), 4);
        assert_eq!((tally.elements(), refused), (0, "truncated"), "{cut}");
    }
}

/// CVE-2023-46753; FRR, attribute 31 alone.
#[test]
fn class_02_routes_without_a_mandatory_attribute_count_as_withdrawn() {
    let unknown: &[u8] = &[0xc0, 31, 1, 0];
    for attributes in
        [&[][..], &[unknown], &[ORIGIN, AS_PATH], &[ORIGIN, NEXT_HOP], &[AS_PATH, NEXT_HOP]]
    {
        let (tally, refused) = told(&update(&[], attributes, NLRI), 4);
        assert_eq!((&tally.routes[..], refused), (&[(Action::Withdraw, V4, None)][..], ""));
    }
}

/// FRR CVE-2023-38406, bgpkit-parser #308.
#[test]
fn class_03_flow_specifications_are_passed_over_and_long_prefixes_refused() {
    let flowspec: &[u8] = &[0x80, 14, 6, 0, 1, 133, 0, 0, 0];
    assert_eq!(judged(&[flowspec]).disposition, Disposition::Accepted);
    let long: &[u8] = &[0x80, 15, 4, 0, 2, 1, 129];
    assert_eq!(told(&update(&[], &[long], &[]), 4).1, "prefix_too_long");
    assert_eq!(
        told(&update(&[], &[ORIGIN, AS_PATH, NEXT_HOP], &[33, 1, 2, 3, 4, 5]), 4).1,
        "prefix_too_long"
    );
}

/// GoBGP CVE-2026-30405.
#[test]
fn class_04_a_next_hop_shorter_than_four_octets_withdraws_the_route() {
    for bytes in [0_u8, 1, 2, 3, 5, 16] {
        let value = vec![192; bytes.into()];
        let hop = [&[0x40, 3, bytes][..], &value].concat();
        let (tally, _) = told(&update(&[], &[ORIGIN, AS_PATH, &hop], NLRI), 4);
        let [all] = &tally.attributes[..] else { panic!("{bytes}") };
        assert_eq!((all.next_hop, all.disposition), (None, Disposition::TreatAsWithdraw));
        assert_eq!(tally.routes, [(Action::Withdraw, V4, None)]);
    }
}

/// GoBGP CVE-2026-41643.
#[test]
fn class_05_a_malformed_as4_path_in_front_of_as_path_is_left_out() {
    let path: &[u8] = &[0x40, 2, 6, 2, 2, 0xfb, 0xf4, 0x5b, 0xa0];
    for (as4_path, want) in [
        (&[0xc0_u8, 17, 3, 2, 5, 0][..], "64500 23456"),
        (&[0xc0, 17, 0], "64500 23456"),
        (&[0xc0, 17, 6, 2, 1, 0, 6, 0x1a, 0x81], "64500 400001"),
    ] {
        let (tally, _) = told(&update(&[], &[as4_path, ORIGIN, path, NEXT_HOP], NLRI), 1);
        assert_eq!(tally.attributes[0].as_path.to_string(), want);
        let is_sound = tally.attributes[0].disposition == Disposition::Accepted;
        assert_eq!(is_sound, want.ends_with("400001"));
    }
}

/// GoBGP CVE-2026-37462.
#[test]
fn class_06_a_length_that_leads_out_of_the_message_refuses_it() {
    let good = update(NLRI, &[ORIGIN, AS_PATH, NEXT_HOP], NLRI);
    for length in 0..good.len() as u16 {
        let mut bytes = good.clone();
        bytes[16..18].copy_from_slice(&length.to_be_bytes());
        let (tally, refused) = told(&bytes, 4);
        let elements = tally.elements();
        assert!(elements < 2 && (elements == 1 || !refused.is_empty()), "{length}");
    }
}

/// GoBGP CVE-2026-37461.
#[test]
fn class_07_an_ipv6_extended_community_too_short_withdraws_the_route() {
    for bytes in (0..60_u8).filter(|bytes| *bytes == 0 || bytes % 20 != 0) {
        let attribute = [&[0xc0, 25, bytes][..], &vec![0; bytes.into()]].concat();
        let all = judged(&[&attribute]);
        assert_eq!((all.communities.len(), all.disposition), (0, Disposition::TreatAsWithdraw));
    }
    assert_eq!(judged(&[&[&[0xc0, 25, 20][..], &[7; 20]].concat()]).communities.len(), 1);
}

/// GoBGP #3392.
#[test]
fn class_08_an_origin_with_wrong_flags_withdraws_the_route() {
    for flags in [0x00, 0x80, 0xc0] {
        let origin: &[u8] = &[flags, 1, 1, 0];
        let (tally, _) = told(&update(&[], &[origin, AS_PATH, NEXT_HOP], NLRI), 4);
        let [all] = &tally.attributes[..] else { panic!("{flags:02x}") };
        assert_eq!((all.origin, all.disposition), (None, Disposition::TreatAsWithdraw));
    }
}

/// RFC 7606 §4, FRR #14129.
#[test]
fn class_09_attributes_that_overrun_their_total_withdraw_the_routes_behind_them() {
    for tail in [
        &[0xc0_u8][..],
        &[0xc0, 8],
        &[0xd0, 8, 0],
        &[0xc0, 8, 5, 0, 0, 0, 0],
        &[0xd0, 8, 255, 255, 0],
    ] {
        assert_eq!(judged(&[tail]).disposition, Disposition::TreatAsWithdraw, "{tail:?}");
    }
}

/// BGPLite #293.
#[test]
fn class_10_a_withdrawn_prefix_that_crosses_the_end_of_its_field_refuses_the_message() {
    let mut crossing = vec![0xff; 16];
    crossing.extend([0, 0x17, 2, 0, 2, 8, 0x0a]);
    assert_eq!(told(&crossing, 4).1, "truncated");
    let mut behind = vec![0xff; 16];
    behind.extend([0, 0x19, 2, 0, 1, 8, 0, 1, 0x0a]);
    assert_eq!(told(&behind, 4).1, "truncated");
}

/// FRR CVE-2022-40302, CVE-2022-40318, CVE-2022-43681: optional and extended parameters.
#[test]
fn class_11_an_open_is_not_looked_into_whatever_its_parameters_say() {
    let fixed = [4, 0xfb, 0xf4, 0, 90, 192, 0, 2, 7];
    for parameters in [&[255][..], &[255, 255, 255, 255], &[1, 2], &[2, 2, 255], &[0]] {
        let mut open = [&[0xff; 16][..], &[0, 0, 1], &fixed, parameters].concat();
        open[17] = open.len() as u8;
        let (tally, refused) = told(&open, 4);
        assert_eq!((tally.elements(), refused), (0, ""));
    }
}

/// Route servers, October 2025 (INEX, IAA): unknown attributes carried far, OTC of a wrong size.
#[test]
fn class_12_otc_of_a_wrong_size_withdraws_and_an_unknown_attribute_is_kept() {
    use Disposition::{Accepted, TreatAsWithdraw};
    for bytes in [0_u8, 1, 3, 5, 8] {
        let attribute = [&[0xc0, 35, bytes][..], &vec![1; bytes.into()]].concat();
        let all = judged(&[&attribute]);
        assert_eq!((all.otc, all.disposition), (None, TreatAsWithdraw), "{bytes}");
    }
    for flags in [0xc0, 0xc1, 0xcf] {
        let all = judged(&[&[flags, 35, 4, 0, 0, 0, 1]]);
        assert_eq!(
            (all.otc, all.disposition),
            (Some(Asn(1)), Accepted),
            "reserved flags: {flags:02x}"
        );
    }
    let kept = judged(&[&[0xe0, 99, 2, 1, 2]]);
    assert_eq!((kept.unknown, kept.disposition), (vec![(0xe0, 99, vec![1, 2])], Accepted));
}

/// FRR #22045.
#[test]
fn class_13_an_attribute_of_64_kilobytes_is_one_like_others() {
    let mut big = vec![0xd0, 99];
    big.extend(65_400_u16.to_be_bytes());
    big.extend(vec![7; 65_400]);
    assert_eq!(judged(&[&big]).unknown[0].2.len(), 65_400);
}

/// bgpkit-parser #308; what is allocated for such lengths is measured in `malformed.rs`.
#[test]
fn class_14_lengths_and_counts_beyond_the_message_are_refused() {
    for length in [66_u16, 0x4000, 0x8000, 0xffff] {
        let attribute = [&[0xd0, 99][..], &length.to_be_bytes(), &[0; 65]].concat();
        assert_eq!(judged(&[&attribute]).disposition, Disposition::TreatAsWithdraw, "{length}");
        let path = [&[0x50, 2][..], &4_u16.to_be_bytes(), &[2, 255, 0, 0]].concat();
        let (tally, _) = told(&update(&[], &[ORIGIN, &path, NEXT_HOP], NLRI), 4);
        assert_eq!(tally.routes, [(Action::Withdraw, V4, None)], "255 numbers in two octets");
    }
}

/// bgpkit-parser's changelog.
#[test]
fn class_15_a_rib_entry_without_a_peer_is_refused_and_its_neighbours_stay() {
    let attributes = PathAttributes { origin: Some(Origin::Igp), ..PathAttributes::default() };
    let entries = [0, 9, 0].map(|peer_index| RibEntry {
        peer_index,
        originated: Timestamp::from_secs(1),
        attributes: &attributes,
    });
    let (mut bytes, time) = (vec![], Timestamp::from_secs(2));
    encode::rib(&mut bytes, time, 0, V4, &entries); // no table yet
    encode::peer_index_table(&mut bytes, time, 1, "", &[(peer().peer_address, peer().peer_asn)]);
    encode::rib(&mut bytes, time, 1, V4, &entries);
    let (mut session, mut tally) = (session(), Tally::default());
    replay(&bytes, &mut session, &mut tally);
    assert_eq!((tally.elements(), session.counts().refused["unknown_peer"]), (2, 4));
}

/// bgpkit-parser #31, bgpdump #9: path identifiers in a record without.
#[test]
fn class_15_path_identifiers_in_a_plain_record_make_up_no_prefixes() {
    let nlri: &[u8] = &[0, 0, 0, 7, 24, 192, 0, 2, 0, 0, 0, 8, 24, 198, 51, 100];
    let (tally, _) = told(&update(&[], &[ORIGIN, AS_PATH, NEXT_HOP], nlri), 4);
    let second = Prefix::v4([198, 51, 100, 0], 24);
    let want = [(Action::Announce, V4, Some(7)), (Action::Announce, second, Some(8))];
    assert_eq!(tally.routes, want);
}

/// libbgpstream #169: the first is read, then none.
#[test]
fn class_17_one_bad_record_does_not_spoil_the_rest() {
    let good = update(&[], &[ORIGIN, AS_PATH, NEXT_HOP], NLRI);
    let mut stream = vec![];
    for number in 0..100 {
        let message = if number % 3 == 1 { &good[..30] } else { &good[..] };
        encode::message(&mut stream, Timestamp::from_secs(number), &peer(), message);
    }
    let (mut session, mut tally) = (session(), Tally::default());
    replay(&stream, &mut session, &mut tally);
    assert_eq!((tally.elements(), session.counts().refused["truncated"]), (67, 33));
}

/// RFC 7606 §3 g, h.
#[test]
fn mp_reach_twice_refuses_the_message() {
    let reach: &[u8] = &[0x80, 14, 10, 0, 1, 1, 4, 192, 0, 2, 1, 0, 0];
    assert_eq!(told(&update(&[], &[ORIGIN, AS_PATH, reach], &[]), 4).0.elements(), 1);
    assert_eq!(
        told(&update(&[], &[ORIGIN, AS_PATH, reach, reach], &[]), 4).1,
        "duplicate_attribute"
    );
}

/// RFC 7606 §7 and RFC 7311: what each attribute of a wrong form does to its route.
#[test]
fn each_attribute_of_a_wrong_form_is_left_out_and_judged() {
    use Disposition::{AttributeDiscard, TreatAsWithdraw};
    let cases: &[(&[u8], Disposition)] = &[
        (&[0xc0, 8, 0], TreatAsWithdraw),
        (&[0xc0, 8, 6, 0, 0, 0, 0, 0, 0], TreatAsWithdraw),
        (&[0xc0, 32, 8, 0, 0, 0, 0, 0, 0, 0, 0], TreatAsWithdraw),
        (&[0x80, 4, 3, 0, 0, 0], TreatAsWithdraw),
        (&[0x40, 6, 1, 0], AttributeDiscard),
        (&[0xc0, 7, 6, 0, 1, 192, 0, 2, 1], AttributeDiscard),
        (&[0x80, 26, 3, 1, 0, 3], AttributeDiscard),
        (&[0xc0, 26, 11, 1, 0, 11, 0, 0, 0, 0, 0, 0, 0, 1], AttributeDiscard),
        (&[0xc0, 17, 6, 2, 1, 0, 0, 0, 1], AttributeDiscard), // from a speaker of four octets
        (&[0x40, 1, 1, 2], AttributeDiscard),                 // a second ORIGIN
    ];
    for (attribute, want) in cases {
        let attributes = judged(&[attribute]);
        assert_eq!(attributes.disposition, *want, "{attribute:?}");
        assert_eq!((attributes.aigp, attributes.aggregator, attributes.med), (None, None, None));
    }
}

/// RFC 4760 §3: each list has a next hop of its own, and a NEXT_HOP beside MP_REACH_NLRI alone
/// counts for nothing.
#[test]
fn prefixes_of_mp_reach_have_its_next_hop_and_those_of_nlri_the_other() {
    let reach: &[u8] = &[0x80, 14, 13, 0, 1, 1, 4, 192, 0, 2, 99, 0, 24, 198, 51, 100];
    let hop = |last| Some(IpAddr::from([192, 0, 2, last]));
    let hops = |nlri| {
        let message = update(&[], &[ORIGIN, AS_PATH, NEXT_HOP, reach], nlri);
        let (tally, _) = told(&message, 4);
        let all = tally.attributes.iter().map(|all| all.next_hop);
        all.collect::<Vec<_>>()
    };
    assert_eq!(hops(NLRI), [hop(1), hop(99)]);
    assert_eq!(hops(&[]), [hop(99)]);
}
