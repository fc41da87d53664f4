//! Decoding of real files, of damaged ones and of what the encoder writes.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs
)]

use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ingest::decode::mrt::{Frame, frame, resync};
use ingest::encode::bgp::{Update, update as encode_update};
use ingest::encode::mrt::{self as encode, RibEntry, Session};
use ingest::session::{Action, MrtSession, PeerState, RouteSink, SessionEvent, UpdateView};
use schemas::bgp::{AsPath, Asn, Community, Disposition, Family, Origin, PathAttributes, Prefix};
use schemas::time::Timestamp;

/// What a stream of records told.
#[derive(Debug, Default)]
struct Tally {
    routes: Vec<(Action, Prefix, Option<u32>)>,
    attributes: Vec<PathAttributes>,
    elements: u64,
    keeps: bool,
    states: u64,
    ends: Vec<Family>,
}

impl RouteSink for Tally {
    fn update(&mut self, update: &UpdateView<'_>) {
        if self.keeps {
            let attributes = update.attributes.decode();
            assert_eq!(attributes.disposition, update.disposition);
            let asns: Vec<Asn> = update.attributes.as_path().asns().collect();
            assert_eq!(asns, attributes.as_path.asns().collect::<Vec<_>>());
            assert!(update.attributes.key(&mut vec![]).len() <= update.attributes.raw().len());
            self.attributes.push(attributes);
        }
        update.for_each_prefix(|action, prefix, path_id| {
            self.elements += 1;
            if self.keeps {
                self.routes.push((action, prefix, path_id));
            }
        });
    }

    fn session(&mut self, event: &SessionEvent<'_>) {
        match event.state {
            PeerState::EndOfRib(family) => self.ends.push(family),
            _ => self.states += 1,
        }
    }
}

/// Reads all records of `bytes`, past damage too; how many bytes were no record.
fn replay(mut bytes: &[u8], session: &mut MrtSession, sink: &mut impl RouteSink) -> usize {
    let mut lost = 0;
    while !bytes.is_empty() {
        let skip = match frame(bytes) {
            Ok(Frame::Whole { record, bytes }) => {
                let _ = session.record(&record, sink);
                bytes
            }
            Ok(Frame::NeedMore { .. }) => return lost + bytes.len(),
            Err(_) => {
                let skip = resync(bytes).unwrap_or(bytes.len());
                lost += skip;
                skip
            }
        };
        bytes = &bytes[skip..];
    }
    lost
}

fn session() -> MrtSession {
    MrtSession::new(Arc::from("archive"))
}

/// The folder of real files, if it is there; a build server must have it.
fn data() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let folder = std::env::var_os("PEERSCOPE_DATA").map_or(beside, PathBuf::from).join("mrt");
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(std::env::var_os("CI").is_none(), "no real files in {}", folder.display());
    println!("skipped: no real files in {}", folder.display());
    None
}

/// The bytes of a file, decompressed; what can be read of one that is cut.
fn load(path: &Path) -> Vec<u8> {
    let raw = std::fs::read(path).unwrap();
    let mut bytes = vec![];
    let _ = match path.extension().and_then(|name| name.to_str()) {
        Some("gz") => flate2::read::MultiGzDecoder::new(&raw[..]).read_to_end(&mut bytes),
        Some("bz2") => bzip2::read::MultiBzDecoder::new(&raw[..]).read_to_end(&mut bytes),
        _ => (&raw[..]).read_to_end(&mut bytes),
    };
    bytes
}

/// What bgpdump 1.6.2 and bgpkit-parser 0.23 agree on, or the reason stands beside it.
const WANT: &[(&str, u64)] = &[
    ("bgp-rs.updates.20190101.0000.gz", 162_574),
    ("bgpkit.local_only.updates.bz2", 268),
    ("bgpkit.rrc00.1999.09.updates.19990903.1041.gz", 65_311),
    ("bgpkit.rrc00.1999.12.updates.19991214.1621.gz", 55_489),
    ("bgpkit.rrc00.2000.01.bview.20000111.0032.gz", 452_018), // batches; bgpkit alone reads them
    ("bgpkit.rrc00.2000.01.updates.20000102.2014.gz", 6_343),
    ("bgpkit.rrc01.2000.11.updates.20001104.0124.gz", 519),
    ("bgpkit.rrc03.2010.02.updates.20100227.1600.first-796-records.gz", 1_359),
    ("bgpkit.rrc15.2010.02.updates.20100227.1610.gz", 7_469),
    ("pyasn.rib.20080501.0644_firstMB.bz2", 139_291), // cut inside a block
    ("pyasn.rib.20140523.0600_firstMB.bz2", 270_005), // cut inside a block
    ("ripe-bgpdump.bview.20020722.2337.gz", 115_521),
    ("ripe-bgpdump.bview.64k_stream_overflow.gz", 23),
    ("ripe-bgpdump.bview.ipv4_unicast_add_path.gz", 62),
    ("ripe-bgpdump.bview.ipv6_unicast_add_path.gz", 62),
    ("ripe-bgpdump.updates.20020722.2238.gz", 3_244),
    ("ripe-bgpdump.updates.20070211.0141.gz", 53_657),
    ("ripe-bgpdump.updates.20071015.1505.gz", 10_496),
    ("ripe-bgpdump.updates.20160811.1600.gz", 41_212),
    ("ripe-bgpdump.updates.et-header.2015.gz", 577_740),
    ("ripe-bgpdump.updates.long_withdrawal.gz", 4_096),
    ("mrtparse-2.2.0.bird-mrtdump_bgp.mrt", 12),
    ("mrtparse-2.2.0.bird-mrtdump_rib.mrt", 18),
    ("mrtparse-2.2.0.bird6-mrtdump_bgp.mrt", 12),
    ("mrtparse-2.2.0.bird6-mrtdump_rib.mrt", 10),
    ("mrtparse-2.2.0.bird_bgp.mrt", 14), // ADD-PATH under subtype 4: bgpdump makes up 10 more
    ("mrtparse-2.2.0.bird6_bgp.mrt", 14), // the same: 18 more
    ("mrtparse-2.2.0.openbgpd_bgp.mrt", 93),
    ("mrtparse-2.2.0.openbgpd_rib_table-v2.mrt", 31),
    ("mrtparse-2.2.0.openbgpd_rib_table.mrt", 31),
    ("mrtparse-2.2.0.quagga_bgp.mrt", 18),
    ("mrtparse-2.2.0.quagga_rib.mrt", 9),
    ("frr-session.all.mrt", 23),
    ("frr-session.rib.mrt", 7),
    ("gobgp-session.updates.mrt", 10),
    ("bgpipe.sample.mrt", 744), // ADD-PATH under subtype 4: bgpdump makes up 72 more
];

#[test]
fn real_files_hold_the_elements_that_others_count() {
    let Some(folder) = data() else { return };
    let mut wrong = vec![];
    for (name, want) in WANT {
        let (mut session, mut tally) = (session(), Tally::default());
        replay(&load(&folder.join(name)), &mut session, &mut tally);
        let counts = session.counts();
        if (tally.elements, counts.updates.elements(), counts.refused.len()) != (*want, *want, 0) {
            wrong.push(format!("{name}: want {want}, got {} {counts:?}", tally.elements));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// bgpkit loses prefixes of four of these six (docs: bgp_feeds.md section 4): it takes a default
/// route in front of others for the first octet of a path identifier.
#[test]
fn a_default_route_in_front_of_others_is_no_path_identifier() {
    let Some(folder) = data() else { return };
    let mut probes = 0;
    for probe in std::fs::read_dir(folder.join("probes")).unwrap() {
        let path = probe.unwrap().path();
        let (mut session, mut tally) = (session(), Tally { keeps: true, ..Tally::default() });
        replay(&load(&path), &mut session, &mut tally);
        let name = path.file_stem().unwrap().to_str().unwrap();
        let want =
            name.split('_').next_back().unwrap().split('+').map(|word| word.parse().unwrap_or(0));
        let got = tally.routes.iter().map(|(_, prefix, _)| prefix.length());
        assert_eq!(got.collect::<Vec<_>>(), want.collect::<Vec<u8>>(), "{name}");
        assert!(tally.routes.iter().all(|(_, _, path_id)| path_id.is_none()));
        assert_eq!(session.counts().updates.add_path_guesses, 0);
        probes += 1;
    }
    assert_eq!(probes, 6);
}

/// bgpkit stops after 4 elements, bgpdump after 2,046.
#[test]
fn a_torn_record_costs_itself_and_not_the_file() {
    let Some(folder) = data() else { return };
    let bytes = load(&folder.join("bgpkit.rrc00.2000.03.updates.20000325.0345.gz"));
    let (mut session, mut tally) = (session(), Tally::default());
    let lost = replay(&bytes, &mut session, &mut tally);
    assert!(
        tally.elements >= 5_000 && lost < 100,
        "{} {lost} {:?}",
        tally.elements,
        session.counts()
    );
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
    encode::message(&mut bytes, Timestamp::from_secs(9), &peer(), message);
    bytes[7] = subtype as u8;
    if matches!(subtype, 1 | 8) {
        bytes.drain(12..14); // two octets of each AS number
        bytes.drain(14..16);
        let length = (bytes.len() - 12) as u32;
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
    }
    let (mut session, mut tally) = (session(), Tally { keeps: true, ..Tally::default() });
    replay(&bytes, &mut session, &mut tally);
    let refused = session.counts().refused.keys().next().copied().unwrap_or("");
    let mut after = Tally::default();
    bytes.clear();
    let good = update(NLRI, &[], &[]);
    encode::message(&mut bytes, Timestamp::from_secs(10), &peer(), &good);
    replay(&bytes, &mut session, &mut after);
    assert_eq!(after.elements, 1, "a bad message poisons the next one");
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

/// Class 1 (FRR CVE-2023-46752, tcpdump CVE-2018-16230).
#[test]
fn a_next_hop_of_a_wrong_length_in_mp_reach_refuses_the_message() {
    for length in (0..=u8::MAX).filter(|length| ![4, 16, 32].contains(length)) {
        let mut value = vec![0, 2, 1, length];
        value.extend(vec![0; 40]);
        let attribute = [&[0x80, 14, value.len() as u8][..], &value].concat();
        let (tally, refused) = told(&update(&[], &[ORIGIN, AS_PATH, &attribute], &[]), 4);
        assert_eq!((tally.elements, refused), (0, "bad_value"), "{length}");
    }
    for cut in 0..5 {
        let attribute = [&[0x80, 14, cut][..], &[0, 2, 1, 16, 0][..cut as usize]].concat();
        let (tally, refused) = told(&update(&[], &[ORIGIN, AS_PATH, &attribute], &[]), 4);
        assert_eq!((tally.elements, refused), (0, "truncated"), "{cut}");
    }
}

/// Class 2 (CVE-2023-46753; FRR, attribute 31 alone).
#[test]
fn routes_without_a_mandatory_attribute_count_as_withdrawn() {
    let unknown: &[u8] = &[0xc0, 31, 1, 0];
    for attributes in
        [&[][..], &[unknown], &[ORIGIN, AS_PATH], &[ORIGIN, NEXT_HOP], &[AS_PATH, NEXT_HOP]]
    {
        let (tally, refused) = told(&update(&[], attributes, NLRI), 4);
        assert_eq!((&tally.routes[..], refused), (&[(Action::Withdraw, V4, None)][..], ""));
    }
}

/// Class 3 (FRR CVE-2023-38406, bgpkit-parser #308).
#[test]
fn flow_specifications_are_passed_over_and_long_prefixes_refused() {
    let flowspec: &[u8] = &[0x80, 14, 6, 0, 1, 133, 0, 0, 0];
    assert_eq!(judged(&[flowspec]).disposition, Disposition::Accepted);
    let long: &[u8] = &[0x80, 15, 4, 0, 2, 1, 129];
    assert_eq!(told(&update(&[], &[long], &[]), 4).1, "prefix_too_long");
    assert_eq!(
        told(&update(&[], &[ORIGIN, AS_PATH, NEXT_HOP], &[33, 1, 2, 3, 4, 5]), 4).1,
        "prefix_too_long"
    );
}

/// Class 4 (GoBGP CVE-2026-30405), 7 (CVE-2026-37461), 8 (GoBGP #3392), 12 (OTC of wrong size).
#[test]
fn an_attribute_of_wrong_size_or_flags_is_left_out_and_judged() {
    use Disposition::{Accepted, AttributeDiscard, TreatAsWithdraw};
    let short_hop: &[u8] = &[0x40, 3, 3, 192, 0, 2];
    let (tally, _) = told(&update(&[], &[ORIGIN, AS_PATH, short_hop], NLRI), 4);
    assert_eq!(
        (tally.attributes[0].next_hop, tally.attributes[0].disposition),
        (None, TreatAsWithdraw)
    );
    let optional_origin: &[u8] = &[0x80, 1, 1, 0];
    let (tally, _) = told(&update(&[], &[optional_origin, AS_PATH, NEXT_HOP], NLRI), 4);
    assert_eq!(
        (tally.attributes[0].origin, tally.attributes[0].disposition),
        (None, TreatAsWithdraw)
    );
    let cases: &[(&[u8], Disposition)] = &[
        (&[0xc0, 25, 19, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], TreatAsWithdraw),
        (&[0xc0, 35, 3, 0, 0, 1], TreatAsWithdraw),
        (&[0xc0, 35, 4, 0, 0, 0, 1], Accepted),
        (&[0xcf & !0x10, 35, 4, 0, 0, 0, 1], Accepted), // reserved flag bits are ignored
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
        assert_eq!(attributes.otc.is_some(), *want == Accepted);
        assert_eq!((attributes.aigp, attributes.aggregator, attributes.med), (None, None, None));
    }
    let kept = judged(&[&[0xe0, 99, 2, 1, 2]]);
    assert_eq!((kept.unknown, kept.disposition), (vec![(0xe0, 99, vec![1, 2])], Accepted));
}

/// Class 5 (GoBGP CVE-2026-41643).
#[test]
fn a_malformed_as4_path_in_front_of_as_path_is_left_out() {
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

/// Classes 6 (GoBGP CVE-2026-37462), 10 (BGPLite #293) and 11 (FRR CVE-2022-40302, an OPEN).
#[test]
fn lengths_that_lead_out_of_the_message_refuse_it() {
    let good = update(NLRI, &[ORIGIN, AS_PATH, NEXT_HOP], NLRI);
    for length in 0..good.len() as u16 {
        let mut bytes = good.clone();
        bytes[16..18].copy_from_slice(&length.to_be_bytes());
        let (tally, refused) = told(&bytes, 4);
        assert!(tally.elements < 2 && (tally.elements == 1 || !refused.is_empty()), "{length}");
    }
    let mut crossing = vec![0xff; 16];
    crossing.extend([0, 0x17, 2, 0, 2, 8, 0x0a]);
    assert_eq!(told(&crossing, 4).1, "truncated");
    let mut open = vec![0xff; 16];
    open.extend([0, 29, 1, 4, 0, 0, 0, 0, 0, 0, 0, 0, 255, 0]);
    open[17] = open.len() as u8;
    assert_eq!(told(&open, 4).1, "", "an OPEN is not looked into");
}

/// Class 9 (RFC 7606 §4, FRR #14129).
#[test]
fn attributes_that_overrun_their_total_withdraw_the_routes_behind_them() {
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

/// RFC 7606 §3 g.
#[test]
fn mp_reach_twice_refuses_the_message() {
    let reach: &[u8] = &[0x80, 14, 10, 0, 1, 1, 4, 192, 0, 2, 1, 0, 0];
    assert_eq!(told(&update(&[], &[ORIGIN, AS_PATH, reach], &[]), 4).0.elements, 1);
    assert_eq!(
        told(&update(&[], &[ORIGIN, AS_PATH, reach, reach], &[]), 4).1,
        "duplicate_attribute"
    );
}

/// Class 13 (FRR #22045) and 14 (bgpkit-parser #308).
#[test]
fn an_attribute_of_64_kilobytes_is_one_like_others() {
    let mut big = vec![0xd0, 99];
    big.extend(65_400_u16.to_be_bytes());
    big.extend(vec![7; 65_400]);
    assert_eq!(judged(&[&big]).unknown[0].2.len(), 65_400);
}

/// Class 15 and 17: entries and records fall alone.
#[test]
fn a_rib_entry_without_a_peer_is_refused_and_its_neighbours_stay() {
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
    assert_eq!((tally.elements, session.counts().refused["unknown_peer"]), (2, 4));
}

/// A stream with one record of each kind that the encoder knows.
fn golden() -> Vec<u8> {
    let (mut bytes, time) = (vec![], Timestamp::from_parts(1_400_000_000, 5));
    let v6: Prefix = "2001:db8::/32".parse().unwrap();
    let mut attributes = PathAttributes {
        origin: Some(Origin::Igp),
        as_path: AsPath::sequence([64_500, 400_000, 64_501]),
        next_hop: Some(peer().peer_address),
        aggregator: Some((Asn(64_501), peer().peer_address)),
        communities: vec![
            Community::Standard(1),
            Community::Large(1, 2, 3),
            Community::Extended([7; 8]),
        ],
        cluster_list: vec![1, 2],
        aigp: Some(7),
        otc: Some(Asn(64_500)),
        unknown: vec![(0xc0, 99, vec![1, 2, 3])],
        ..PathAttributes::default()
    };
    encode::peer_index_table(
        &mut bytes,
        time,
        1,
        "view",
        &[(peer().peer_address, peer().peer_asn)],
    );
    for (prefix, next_hop) in [(V4, "192.0.2.1"), (v6, "2001:db8::1")] {
        attributes.next_hop = Some(next_hop.parse().unwrap());
        let entry = RibEntry { peer_index: 0, originated: time, attributes: &attributes };
        encode::rib(&mut bytes, time, 0, prefix, &[entry, entry]);
        let update =
            Update { withdrawn: &[V4, v6], announced: &[prefix; 3], attributes: Some(&attributes) };
        encode::message(&mut bytes, time, &peer(), &encode_update(&update));
    }
    encode::state_change(&mut bytes, time, &peer(), 6, 1);
    encode::message(&mut bytes, time, &peer(), &update(&[], &[], &[]));
    bytes
}

#[test]
fn no_cut_and_no_flipped_byte_is_a_panic_or_a_wrong_count() {
    let golden = golden();
    let check = |bytes: &[u8]| {
        let (mut session, mut tally) = (session(), Tally { keeps: true, ..Tally::default() });
        replay(bytes, &mut session, &mut tally);
        assert_eq!(tally.elements, session.counts().updates.elements());
        (tally.elements, tally.states, tally.ends)
    };
    assert_eq!(check(&golden), (4 + 5 + 5, 1, vec![Family::Ipv4]));
    for cut in 0..golden.len() {
        check(&golden[..cut]);
        for flip in [0x01, 0x10, 0x40, 0x80, 0xff] {
            let mut bytes = golden.clone();
            bytes[cut] ^= flip;
            check(&bytes);
        }
    }
}
