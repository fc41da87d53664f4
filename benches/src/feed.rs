//! The big archive in memory as a contest: elements and columns, by the functions that every path calls.
//!
//! A contestant is a process that reads the archive, runs over it once to be warm, and says what the
//! next pass took. Before it is timed it gives the answer, and those that decode whole elements also
//! a checksum over peer, action, prefix, path identifier, origin and path.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher as _};
use std::hint::black_box;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bgpkit_parser::BgpkitParser;
use bgpkit_parser::models::{AsPathSegment, BgpElem, ElemType, Origin as TheirOrigin};
use ingest::batcher::{Batcher, Outlet};
use ingest::decode::mrt::{Frame, MrtRecord, frame};
use ingest::intake::Intake;
use ingest::session::interest::Keep;
use ingest::session::{Action, MrtSession, RouteSink, Tally, UpdateView};
use schemas::batch::{Account, EventBatch};
use schemas::bgp::{AsPath, Asn, Origin, Prefix, SegmentKind};
use schemas::log::LogError;
use schemas::registry::Registry;
use schemas::time::Timestamp;

use crate::bgpkit;
use crate::contest::{BenchError, Row, Run, Section};
use crate::hold::Meter;
use crate::job::{Programs, bgpkit_name};
use crate::report::grouped;

/// Timed runs of each contestant.
const RUNS: usize = 5;

/// Who reads the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Reader {
    /// The session into a tally: what `decode` counts with.
    Tally,
    /// The session with every attribute decoded into owned values.
    Decoded,
    /// The columnar batches of the log, every attribute set met for the first time.
    Cold,
    /// The same, all attribute sets known.
    Warm,
    /// bgpkit-parser's elements.
    Bgpkit,
}

impl Reader {
    const ALL: [Self; 5] = [Self::Tally, Self::Decoded, Self::Cold, Self::Warm, Self::Bgpkit];

    fn name(self) -> String {
        match self {
            Self::Tally => "elements counted".to_owned(),
            Self::Decoded => "elements, attributes decoded".to_owned(),
            Self::Cold => "columnar batches, cold".to_owned(),
            Self::Warm => "columnar batches, warm".to_owned(),
            Self::Bgpkit => bgpkit_name(),
        }
    }

    /// The word that starts it.
    fn word(self) -> &'static str {
        match self {
            Self::Tally => "tally",
            Self::Decoded => "decoded",
            Self::Cold => "cold",
            Self::Warm => "warm",
            Self::Bgpkit => "bgpkit",
        }
    }

    const fn has_checksum(self) -> bool {
        matches!(self, Self::Decoded | Self::Bgpkit)
    }
}

/// What a contestant says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    elements: u64,
    checksum: u64,
    cpu_nanos: u64,
    wall_nanos: u64,
    grown_bytes: u64,
}

/// Reads the archive twice and says what the second time took, or the checksum; the line to say.
///
/// # Errors
/// If the archive cannot be read.
pub(crate) fn run(reader: Reader, path: &Path, asks: bool) -> io::Result<String> {
    let bytes = std::fs::read(path)?;
    if asks {
        let (elements, checksum) = answer(reader, &bytes);
        return Ok(format!("{elements} {checksum} 0 0 0"));
    }
    let mut intake = intake()?;
    pass(reader, &bytes, &mut intake);
    if reader == Reader::Cold {
        intake = self::intake()?;
    }
    let meter = Meter::start()?;
    let elements = pass(reader, &bytes, &mut intake);
    let told = meter.stop()?;
    Ok(format!("{elements} 0 {} {} {}", told.cpu_nanos, told.wall_nanos, told.grown_bytes))
}

fn answer(reader: Reader, bytes: &[u8]) -> (u64, u64) {
    let mut sum = Checksum::default();
    match reader {
        Reader::Decoded => each(bytes, |session, record| session.record(record, &mut sum).is_ok()),
        Reader::Bgpkit => {
            let parser = BgpkitParser::from_reader(bytes);
            parser.into_elem_iter().for_each(|elem| sum.theirs(&elem));
        }
        _ => return (intake().map_or(0, |mut intake| pass(reader, bytes, &mut intake)), 0),
    }
    (sum.elements, sum.sum)
}

/// One pass over the archive: how many elements there were.
fn pass(reader: Reader, bytes: &[u8], intake: &mut Intake<Sink>) -> u64 {
    match reader {
        Reader::Tally => {
            let mut tally = Tally::default();
            each(bytes, |session, record| tally.record(session, record).is_ok());
            black_box(&tally);
            tally.announced + tally.withdrawn
        }
        Reader::Decoded => {
            let mut decoded = Decoded::default();
            each(bytes, |session, record| session.record(record, &mut decoded).is_ok());
            decoded.elements
        }
        Reader::Cold | Reader::Warm => {
            let (source, mut account) = ("big.mrt".into(), Account::default());
            let mut ordinal = 0;
            each(bytes, |session, record| {
                let mut sink = intake.record(&source, ordinal, record.time, &mut account);
                let read = session.record(record, &mut sink);
                ordinal += 1;
                read.is_ok() && sink.finish().is_ok()
            });
            let flushed = intake.batcher.flush();
            black_box(flushed.is_ok());
            account.accepted
        }
        Reader::Bgpkit => {
            BgpkitParser::from_reader(bytes).into_elem_iter().map(black_box).count() as u64
        }
    }
}

fn each(mut bytes: &[u8], mut read: impl FnMut(&mut MrtSession, &MrtRecord<'_>) -> bool) {
    let mut session = MrtSession::new("archive".into());
    while let Ok(Frame::Whole { record, bytes: length }) = frame(bytes) {
        black_box(read(&mut session, &record));
        let Some((_, rest)) = bytes.split_at_checked(length) else { return };
        bytes = rest;
    }
}

/// Takes batches and drops them.
struct Sink;

impl Outlet for Sink {
    fn put(&mut self, batch: EventBatch) -> Result<(), LogError> {
        black_box(&batch);
        Ok(())
    }
}

/// An intake that keeps everything, into one partition.
fn intake() -> io::Result<Intake<Sink>> {
    let registry = Registry::new(1, Vec::new(), Vec::new()).map_err(io::Error::other)?;
    Ok(Intake::new(Batcher::new(&[0], false, Sink), Arc::new(registry), Keep::All))
}

/// Decodes the attributes of every announcement, and drops them.
#[derive(Default)]
struct Decoded {
    elements: u64,
}

impl RouteSink for Decoded {
    fn update(&mut self, update: &UpdateView<'_>) {
        if update.announces() {
            black_box(update.attributes.decode());
        }
        update.for_each_prefix(|_, prefix, _| {
            black_box(prefix);
            self.elements += 1;
        });
    }
}

/// A sum over elements in any order.
#[derive(Default)]
struct Checksum {
    elements: u64,
    sum: u64,
}

/// What is summed of one element.
#[derive(Hash)]
struct Element {
    time: Timestamp,
    peer: (IpAddr, u32),
    announces: bool,
    prefix: Prefix,
    path_id: Option<u32>,
    origin: Option<u8>,
    path: Vec<(u8, Vec<u32>)>,
}

impl Checksum {
    fn add(&mut self, element: &Element) {
        let mut hasher = DefaultHasher::new();
        element.hash(&mut hasher);
        self.elements += 1;
        self.sum = self.sum.wrapping_add(hasher.finish());
    }

    fn theirs(&mut self, elem: &BgpElem) {
        let announces = elem.elem_type == ElemType::ANNOUNCE;
        let network = elem.prefix.prefix;
        let origin = elem.origin.map(|origin| match origin {
            TheirOrigin::IGP => 0,
            TheirOrigin::EGP => 1,
            TheirOrigin::INCOMPLETE => 2,
        });
        let path = elem.as_path.iter().flat_map(|path| path.iter_segments()).map(|segment| {
            let (kind, asns) = match segment {
                AsPathSegment::AsSet(asns) => (1, asns),
                AsPathSegment::AsSequence(asns) => (2, asns),
                AsPathSegment::ConfedSequence(asns) => (3, asns),
                AsPathSegment::ConfedSet(asns) => (4, asns),
            };
            (kind, asns.iter().map(|asn| u32::from(*asn)).collect())
        });
        self.add(&Element {
            // Its time is a fraction of seconds as f64: half a microsecond off at most.
            time: Timestamp((elem.timestamp * 1e6).round() as i64),
            peer: (elem.peer_ip, elem.peer_asn.into()),
            announces,
            prefix: Prefix::of(network.addr(), network.prefix_len()),
            path_id: elem.prefix.path_id,
            origin: origin.filter(|_| announces),
            path: if announces { path.collect() } else { Vec::new() },
        });
    }
}

impl RouteSink for Checksum {
    fn update(&mut self, update: &UpdateView<'_>) {
        let all = update.attributes.decode();
        let peer = (update.header.address, update.header.asn.0);
        update.for_each_prefix(|action, prefix, path_id| {
            let announces = action == Action::Announce;
            let origin = all.origin.map(|origin| match origin {
                Origin::Igp => 0,
                Origin::Egp => 1,
                Origin::Incomplete => 2,
            });
            self.add(&Element {
                time: update.time,
                peer,
                announces,
                prefix,
                path_id,
                origin: origin.filter(|_| announces),
                path: if announces { path_of(&all.as_path) } else { Vec::new() },
            });
        });
    }
}

fn path_of(path: &AsPath) -> Vec<(u8, Vec<u32>)> {
    let kind = |kind| match kind {
        SegmentKind::Set => 1,
        SegmentKind::Sequence => 2,
        SegmentKind::ConfedSequence => 3,
        SegmentKind::ConfedSet => 4,
    };
    let asns = |asns: &[Asn]| asns.iter().map(|asn| asn.0).collect();
    path.segments.iter().map(|segment| (kind(segment.kind), asns(&segment.asns))).collect()
}

/// The contest over the archive.
///
/// # Errors
/// If a process cannot be started.
pub(crate) fn section(programs: &Programs, archive: &Path) -> Result<Section, BenchError> {
    let ask = |reader, asks| ask(programs, reader, archive, asks);
    let right = ask(Reader::Bgpkit, true)?;
    let mut lanes: Vec<(Reader, Result<Vec<Run>, String>)> = Vec::new();
    for reader in Reader::ALL {
        eprintln!("checking {}", reader.name());
        let told = ask(reader, true)?;
        let same_sum = !reader.has_checksum() || told.checksum == right.checksum;
        let verdict = match told.elements == right.elements && same_sum {
            true => Ok(Vec::new()),
            false => Err(format!("not timed: it answers {told:?}, the right answer is {right:?}")),
        };
        lanes.push((reader, verdict));
    }
    for round in 0..RUNS {
        for (reader, runs) in &mut lanes {
            eprintln!("run {} of {}", round + 1, reader.name());
            if let Ok(runs) = runs {
                let told = ask(*reader, false)?;
                let nanos = Duration::from_nanos;
                runs.push(Run::measured(
                    nanos(told.cpu_nanos),
                    nanos(told.wall_nanos),
                    told.grown_bytes,
                ));
            }
        }
    }
    let bytes = std::fs::metadata(archive)?.len();
    Ok(Section {
        name: "feed",
        input: format!("feed: the big archive in memory, {} bytes", grouped(bytes)),
        unit: "elements",
        units: Some(right.elements),
        peers: vec![bgpkit_name()],
        note: format!(
            "CPU seconds of one pass over bytes in memory, the second of its process; memory is what it \
             grew by. Checksum over time, peer, action, prefix, path identifier, origin and path: {:016x} \
             by bgpkit-parser {}, the same by ours.",
            right.checksum,
            bgpkit::version(),
        ),
        rows: lanes
            .into_iter()
            .map(|(reader, runs)| Row { contestant: reader.name(), runs })
            .collect(),
    })
}

fn ask(programs: &Programs, reader: Reader, archive: &Path, asks: bool) -> io::Result<Told> {
    let mut command = Command::new(&programs.benches);
    command.args(["feed", reader.word()]).arg(archive).args(asks.then_some("--asks"));
    let line = String::from_utf8(command.output()?.stdout).map_err(io::Error::other)?;
    let numbers: Vec<u64> = line.split_whitespace().filter_map(|n| n.parse().ok()).collect();
    let [elements, checksum, cpu_nanos, wall_nanos, grown_bytes] =
        <[u64; 5]>::try_from(numbers).map_err(|_| io::Error::other("a contestant said nothing"))?;
    Ok(Told { elements, checksum, cpu_nanos, wall_nanos, grown_bytes })
}
