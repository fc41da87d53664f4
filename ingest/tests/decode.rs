//! Decoding of real files: as many elements as others count. Element by element: `differential/`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs
)]

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ingest::decode::mrt::{Frame, frame, resync};
use ingest::session::{Action, MrtSession, RouteSink, UpdateView};
use schemas::bgp::{Asn, Prefix};

/// What a stream of records told.
#[derive(Debug, Default)]
struct Tally {
    routes: Vec<(Action, Prefix, Option<u32>)>,
    elements: u64,
    keeps: bool,
}

impl RouteSink for Tally {
    fn update(&mut self, update: &UpdateView<'_>) {
        if self.keeps {
            let attributes = update.attributes.decode();
            assert_eq!(attributes.disposition, update.disposition);
            let asns: Vec<Asn> = update.attributes.as_path().asns().collect();
            assert_eq!(asns, attributes.as_path.asns().collect::<Vec<_>>());
            assert!(update.attributes.key(&mut vec![]).len() <= update.attributes.raw().len());
        }
        update.for_each_prefix(|action, prefix, path_id| {
            self.elements += 1;
            if self.keeps {
                self.routes.push((action, prefix, path_id));
            }
        });
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
