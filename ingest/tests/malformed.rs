//! Malformed input: every class that became a CVE or an outage elsewhere, every cut, every flip.
//!
//! Whatever the bytes, three things hold: no panic, memory bounded by the input, and the message
//! before and after is read. Classes 1 to 15 and 17 of the list that the names cite; the sixteenth,
//! a failing `accept`, is no matter of bytes. Those that need one message are in `decode.rs`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    unsafe_code
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ingest::decode::mrt::{Frame, frame, kind, resync};
use ingest::encode::messages::{News, messages};
use ingest::encode::mrt::{self as encode, RibEntry, Session};
use ingest::session::{MrtSession, RouteSink, UpdateView};
use ingest::source::mrt_file::MrtStream;
use ingest::source::open::open;
use schemas::bgp::{AsPath, Asn, Community, Origin, PathAttributes, Prefix};
use schemas::time::Timestamp;

/// Counts what a thread holds, and the most it held.
struct Counting;

thread_local! {
    static HELD: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

fn note(change: impl Fn(usize) -> usize) {
    let _ = HELD.try_with(|held| {
        let (now, most) = held.get();
        let now = change(now);
        held.set((now, most.max(now)));
    });
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(|now| now + layout.size());
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        note(|now| now.saturating_sub(layout.size()));
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// What `f` held at most beyond what was held before.
fn held_at_most(f: impl FnOnce()) -> usize {
    let before = HELD.with(|held| {
        let (now, _) = held.get();
        held.set((now, now));
        now
    });
    f();
    HELD.with(|held| held.get().1 - before)
}

/// Memory that a session may take for `bytes` of input: four times as much, and a constant for its
/// tables.
const fn allowed(bytes: usize) -> usize {
    4 * bytes + (64 << 10)
}

/// Counts, and decodes everything once so that every value is looked at.
#[derive(Default)]
struct Tally {
    elements: u64,
    seen: Vec<Prefix>,
}

impl RouteSink for Tally {
    fn update(&mut self, update: &UpdateView<'_>) {
        let attributes = update.attributes.decode();
        assert_eq!(attributes.disposition, update.disposition);
        update.for_each_prefix(|_, prefix, _| {
            self.elements += 1;
            if prefix == BEFORE || prefix == AFTER {
                self.seen.push(prefix);
            }
        });
    }
}

const BEFORE: Prefix = Prefix::v4([198, 51, 100, 0], 24);
const AFTER: Prefix = Prefix::v4([203, 0, 113, 0], 24);

fn peer() -> Session {
    let [peer_address, local_address] =
        [[192, 0, 2, 7], [192, 0, 2, 8]].map(std::net::IpAddr::from);
    Session { peer_address, peer_asn: Asn(64_500), local_address, local_asn: Asn(64_511) }
}

fn attributes() -> PathAttributes {
    PathAttributes {
        origin: Some(Origin::Igp),
        as_path: AsPath::sequence([64_500, 400_000, 64_501]),
        next_hop: Some(peer().peer_address),
        med: Some(5),
        aggregator: Some((Asn(400_001), peer().peer_address)),
        communities: vec![
            Community::Standard(1),
            Community::Extended([7; 8]),
            Community::ExtendedIpv6([9; 20]),
            Community::Large(1, 2, 3),
        ],
        cluster_list: vec![1, 2],
        aigp: Some(7),
        otc: Some(Asn(64_500)),
        unknown: vec![(0xc0, 99, vec![1, 2, 3])],
        ..PathAttributes::default()
    }
}

/// Golden records: each form of UPDATE, each kind of table, a state change. All from our encoder.
fn golden() -> Vec<Vec<u8>> {
    use ingest::decode::bgp::AsnWidth::{Four, Two};
    let (time, all) = (Timestamp::from_parts(1_400_000_000, 5), attributes());
    let v6 = PathAttributes { next_hop: Some("2001:db8::1".parse().unwrap()), ..all.clone() };
    let prefixes: Vec<Prefix> = ["192.0.2.0/24", "192.0.2.128/25", "2001:db8::/32", "::/0"]
        .iter()
        .map(|text| text.parse().unwrap())
        .collect();
    let mut records = vec![];
    for (width, has_path_ids, subtype) in
        [(Four, false, 4_u16), (Two, false, 1), (Four, true, 9), (Two, true, 8)]
    {
        let paths: Vec<_> =
            prefixes.iter().map(|prefix| (*prefix, has_path_ids.then_some(7))).collect();
        for attributes in [&all, &v6] {
            let news = News {
                withdrawn: &paths,
                announced: &paths,
                attributes: Some(attributes),
                width,
                has_path_ids,
                message_bytes_max: 4_096,
            };
            for message in messages(&news).unwrap() {
                let mut record = vec![];
                encode::message_of(&mut record, time, &peer(), subtype, &message);
                records.push(record);
            }
        }
    }
    let mut table = vec![];
    encode::peer_index_table(&mut table, time, 1, "view", &[(peer().peer_address, Asn(64_500))]);
    for prefix in &prefixes {
        let attributes = if prefix.family().bits() == 32 { &all } else { &v6 };
        let entry = RibEntry { peer_index: 0, originated: time, attributes };
        let mut record = table.clone();
        encode::rib(&mut record, time, 0, *prefix, &[entry, entry]);
        records.push(record);
    }
    let mut state = vec![];
    encode::state_change(&mut state, time, &peer(), 6, 1);
    records.push(state);
    records
}

/// A good record that announces `prefix`.
fn good(prefix: Prefix) -> Vec<u8> {
    let news = News {
        withdrawn: &[],
        announced: &[(prefix, None)],
        attributes: Some(&attributes()),
        width: ingest::decode::bgp::AsnWidth::Four,
        has_path_ids: false,
        message_bytes_max: 4_096,
    };
    let mut record = vec![];
    let time = Timestamp::from_secs(1_400_000_001);
    encode::message(&mut record, time, &peer(), &messages(&news).unwrap()[0]);
    record
}

/// Reads a stream past damage, in bounded memory; the prefixes of the neighbours that were seen.
fn read(stream: &[u8]) -> Vec<Prefix> {
    let mut tally = Tally::default();
    let held = held_at_most(|| {
        let mut session = MrtSession::new(Arc::from("archive"));
        let mut rest = stream;
        while !rest.is_empty() {
            let passed = match frame(rest) {
                Ok(Frame::Whole { record, bytes }) => {
                    let _ = session.record(&record, &mut tally);
                    bytes
                }
                Ok(Frame::NeedMore { .. }) | Err(_) => match resync(rest) {
                    Some(bytes) => bytes,
                    None => break,
                },
            };
            rest = &rest[passed..];
        }
        assert_eq!(session.counts().updates.elements(), tally.elements);
    });
    assert!(held <= allowed(stream.len()), "{held} bytes for {}", stream.len());
    assert!(tally.elements <= stream.len() as u64);
    tally.seen
}

/// The record with its header mended after its body was changed.
fn with_body(record: &[u8], body: &[u8]) -> Vec<u8> {
    let mut bytes = record[..8].to_vec();
    bytes.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
    bytes.extend(body);
    bytes
}

/// A record that is cut or changed inside costs itself: both neighbours are read.
fn neighbours_stay(damaged: &[u8], what: &str) {
    let stream = [&good(BEFORE)[..], damaged, &good(AFTER)].concat();
    let seen = read(&stream);
    assert!(seen.contains(&BEFORE) && seen.contains(&AFTER), "{what}: {seen:?}");
}

#[test]
fn a_golden_record_cut_at_each_offset_costs_itself_and_not_its_neighbours() {
    let mut cuts = 0;
    for record in golden() {
        let last = last_record(&record);
        let (before, last) = record.split_at(last);
        let body = &last[12..];
        for cut in 0..body.len() {
            let damaged = [before, &with_body(last, &body[..cut])].concat();
            neighbours_stay(&damaged, &format!("cut at {cut}"));
            cuts += 1;
        }
    }
    assert!(cuts > 2_000, "{cuts}");
}

#[test]
fn a_flipped_byte_in_a_golden_record_costs_that_record_and_not_its_neighbours() {
    let mut flips = 0;
    for record in golden() {
        let last = last_record(&record);
        for place in last + 12..record.len() {
            for flip in [0x01, 0x10, 0x40, 0x80, 0xff] {
                let mut damaged = record.clone();
                damaged[place] ^= flip;
                neighbours_stay(&damaged, &format!("{flip:02x} at {place}"));
                flips += 1;
            }
        }
    }
    assert!(flips > 10_000, "{flips}");
}

/// The header too: what is told of a record that lies is not believed beyond the stream.
#[test]
fn a_flipped_byte_in_a_header_never_costs_the_record_before() {
    for record in golden() {
        for place in 0..12.min(record.len()) {
            for flip in [0x01, 0x10, 0x40, 0x80, 0xff] {
                let mut damaged = record.clone();
                damaged[place] ^= flip;
                let stream = [&good(BEFORE)[..], &damaged, &good(AFTER), &good(AFTER)].concat();
                assert!(read(&stream).contains(&BEFORE), "{flip:02x} at {place}");
            }
        }
    }
}

/// Where the last record of some begins.
fn last_record(records: &[u8]) -> usize {
    let mut at = 0;
    while let Ok(Frame::Whole { bytes, .. }) = frame(&records[at..]) {
        if at + bytes == records.len() {
            return at;
        }
        at += bytes;
    }
    panic!("the encoder writes whole records");
}

/// Class 14 (bgpkit-parser #308): a length is not believed before the bytes are there.
#[test]
fn a_header_that_promises_64_mebibytes_takes_no_memory_for_them() {
    for (kind, subtype) in [(kind::TABLE_DUMP_V2, 2_u16), (kind::BGP4MP, 4), (kind::BGP4MP_ET, 4)] {
        for length in [(64 << 20) - 12, 64 << 20, u32::MAX / 4, u32::MAX] {
            let mut stream = vec![0x55, 0, 0, 1];
            stream.extend(kind.to_be_bytes());
            stream.extend(subtype.to_be_bytes());
            stream.extend(length.to_be_bytes());
            stream.extend([0; 100]);
            let held = held_at_most(|| {
                let mut reader = MrtStream::new(&stream[..]);
                assert!(reader.load().is_err());
                assert_eq!(reader.skip_damage(), None);
            });
            assert!(held <= 4 << 20, "{held} bytes for a promise of {length}");
        }
    }
}

/// Class 14 again: counts inside a body size nothing.
#[test]
fn counts_of_65535_peers_and_entries_that_are_not_there_take_no_memory() {
    let mut stream = vec![];
    let time = Timestamp::from_secs(1);
    encode::peer_index_table(&mut stream, time, 1, "", &[(peer().peer_address, Asn(64_500))]);
    let count = stream.len() - 15;
    stream[count..count + 2].copy_from_slice(&[0xff, 0xff]);
    let all = attributes();
    let entry = RibEntry { peer_index: 0, originated: time, attributes: &all };
    let from = stream.len();
    encode::rib(&mut stream, time, 0, AFTER, &[entry]);
    stream[from + 12 + 8..from + 12 + 10].copy_from_slice(&[0xff, 0xff]);
    assert_eq!(read(&stream), [AFTER], "the entry before the lie is good");
}

/// Damage in the middle of a file is passed over, counted once, and both sides are read.
#[test]
fn a_file_goes_on_behind_damage() {
    let torn = [&good(BEFORE)[..], &[0xee; 40], &good(AFTER), &good(AFTER)].concat();
    let mut reader = MrtStream::new(&torn[..]);
    let (mut session, mut tally) = (MrtSession::new(Arc::from("archive")), Tally::default());
    let mut passed = vec![];
    loop {
        match reader.load() {
            Ok(Some(bytes)) => {
                let _ = session.record(&reader.record().unwrap(), &mut tally);
                reader.consume(bytes);
            }
            Ok(None) => break,
            Err(_) => passed.push(reader.skip_damage().unwrap()),
        }
    }
    assert_eq!((&tally.seen[..], &passed[..]), (&[BEFORE, AFTER, AFTER][..], &[40][..]));
}

/// A length that reaches past the end of the file hides what stands behind it: it is found.
#[test]
fn a_length_past_the_end_of_a_file_does_not_hide_the_records_behind_it() {
    let mut lying = good(BEFORE);
    lying[9] = 0x10; // a mebibyte more
    let stream = [lying, good(AFTER), good(AFTER)].concat();
    let mut reader = MrtStream::new(&stream[..]);
    assert!(reader.load().is_err());
    let passed = reader.skip_damage().unwrap();
    assert_eq!(usize::try_from(passed).unwrap(), good(BEFORE).len());
    assert_eq!(reader.load().unwrap(), Some(good(AFTER).len()));
}

/// The folder of real files, if it is there; a build server must have it.
fn data() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let folder = std::env::var_os("PEERSCOPE_DATA").map_or(beside, PathBuf::from).join("mrt");
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(std::env::var_os("CI").is_none(), "no real files in {}", folder.display());
    println!("skipped: no real files in {}; set PEERSCOPE_DATA", folder.display());
    None
}

/// Real records, a few of each file: each cut and each flipped byte, as with the golden ones.
#[test]
fn real_records_cut_and_flipped_cost_only_themselves() {
    let Some(folder) = data() else { return };
    let mut tried = 0;
    for name in [
        "bgp-rs.updates.20190101.0000.gz",
        "bgpipe.sample.mrt",
        "bgpkit.rrc00.1999.12.updates.19991214.1621.gz",
        "frr-session.all.mrt",
        "gobgp-session.updates.mrt",
        "mrtparse-2.2.0.bird-mrtdump_rib.mrt",
        "mrtparse-2.2.0.openbgpd_rib_table.mrt",
        "ripe-bgpdump.updates.20070211.0141.gz",
    ] {
        let mut bytes = vec![];
        open(&folder.join(name)).unwrap().take(1 << 16).read_to_end(&mut bytes).unwrap();
        let mut at = 0;
        for _ in 0..6 {
            let Ok(Frame::Whole { bytes: length, .. }) = frame(&bytes[at..]) else { break };
            let record = &bytes[at..at + length];
            for place in (12..length).take(400) {
                neighbours_stay(&with_body(record, &record[12..place]), name);
                let mut flipped = record.to_vec();
                flipped[place] ^= 0xff;
                neighbours_stay(&flipped, name);
                tried += 2;
            }
            at += length;
        }
    }
    assert!(tried > 5_000, "{tried}");
}
