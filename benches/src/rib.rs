//! The routing state as a contest: the prefixes of a full IPv4 table, held for some peers.
//!
//! A contestant is a process that loads the table, inserts it for each peer, and says what that took:
//! CPU time of the inserts alone and what its resident memory grew by ([`crate::hold`]). Before it is
//! timed each answers the same questions: how many prefixes it holds, and what a sample leads to.
//! rotonda-store runs in a program of its own, `benches/rotonda`.

use std::hint::black_box;
use std::io::{self, BufReader};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use analytics::rib::Rib;
use ingest::source::open::open;
use schemas::bgp::{AsPath, Asn, PathAttributes, PeerHeader, Prefix, RibView};

use crate::contest::{BenchError, Row, Run, Section};
use crate::corpus;
use crate::hold::{self, Meter, Route, Told};
use crate::job::Programs;
use crate::report::grouped;

/// The table under the data folder.
const TABLE: &str = "rib/rotonda-store-0.5.0.uniq_pfx_asn_dfz_rnd.csv.zst";
/// Peers, and of how many rows of the table each has a route.
const LOADS: [(u32, usize); 3] = [(1, 893_943), (4, 893_943), (35, 122_626)];
/// Timed runs of each contestant.
const RUNS: usize = 5;

/// Who holds the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    /// Our Rib, all routes with one attribute set: what holding alone costs.
    OneSet,
    /// Our Rib, each route with the path of its origin.
    Paths,
    /// rotonda-store.
    Rotonda,
}

impl Holder {
    const ALL: [Self; 3] = [Self::OneSet, Self::Paths, Self::Rotonda];

    const fn name(self) -> &'static str {
        match self {
            Self::OneSet => "Rib, one attribute set",
            Self::Paths => "Rib, a path for each origin and peer",
            Self::Rotonda => "rotonda-store 0.5.0",
        }
    }

    fn command(self, programs: &Programs) -> Command {
        match self {
            Self::Rotonda => Command::new(programs.benches.with_file_name("peerscope-rotonda")),
            Self::Paths | Self::OneSet => {
                let mut command = Command::new(&programs.benches);
                command
                    .args(["hold"].into_iter().chain((self == Self::Paths).then_some("--paths")));
                command
            }
        }
    }
}

/// Holds the table in our Rib; the line to say.
///
/// # Errors
/// If the table cannot be read.
pub(crate) fn run(
    path: &std::path::Path,
    peers: u32,
    rows_max: usize,
    has_paths: bool,
    asks: bool,
) -> io::Result<String> {
    let table = hold::table(BufReader::new(open(path)?), rows_max)?;
    let headers: Vec<Arc<PeerHeader>> = (0..peers).map(header).collect();
    let sets: Vec<_> = headers.iter().map(|header| sets(&table, header, has_paths)).collect();
    let mut rib = Rib::default();
    let meter = Meter::start()?;
    for (header, sets) in headers.iter().zip(&sets) {
        for ((net, length, _), set) in table.iter().zip(sets) {
            let peer = rib.peer_id(header);
            let prefix = Prefix::v4(net.octets(), *length);
            black_box(rib.apply(peer, prefix, None, Some(Arc::clone(set))));
        }
    }
    let mut told = meter.stop()?;
    let memory = rib.memory();
    told.prefixes = memory.prefixes;
    told.held_bytes = memory.bytes_columns + memory.bytes_prefix_table;
    told.attribute_bytes = memory.bytes_attributes;
    if asks {
        let sample = hold::sample(&table);
        let sample: Vec<Prefix> =
            sample.iter().map(|(net, length)| Prefix::v4(net.octets(), *length)).collect();
        rib.for_each(
            |prefix| sample.binary_search(prefix).is_ok(),
            |route| told.origins += u64::from(route.attributes.as_path.origin().map_or(0, |o| o.0)),
        );
    }
    Ok(told.line())
}

/// The attributes of each row, those of one origin shared.
fn sets(table: &[Route], peer: &PeerHeader, has_paths: bool) -> Vec<Arc<PathAttributes>> {
    let mut last = (0, attributes(peer, 0));
    let set_of = |(_, _, origin): &Route| {
        if has_paths && last.0 != *origin {
            last = (*origin, attributes(peer, *origin));
        }
        Arc::clone(&last.1)
    };
    table.iter().map(set_of).collect()
}

fn attributes(peer: &PeerHeader, origin: u32) -> Arc<PathAttributes> {
    Arc::new(PathAttributes {
        as_path: AsPath::sequence([peer.asn.0, 64_496, origin]),
        next_hop: Some(peer.address),
        ..PathAttributes::default()
    })
}

fn header(peer: u32) -> Arc<PeerHeader> {
    Arc::new(PeerHeader {
        collector: "bench".into(),
        router: None,
        address: Ipv4Addr::from_bits(0x0a00_0000 + peer).into(),
        asn: Asn(64_500 + peer),
        rib_view: RibView::AdjRibInPre,
        distinguisher: 0,
    })
}

fn path() -> PathBuf {
    corpus::folder().join(TABLE)
}

/// One contest for each load.
///
/// # Errors
/// If a process cannot be started.
pub(crate) fn sections(programs: &Programs) -> Result<Vec<Section>, BenchError> {
    LOADS.iter().map(|(peers, rows)| section(programs, *peers, *rows)).collect()
}

fn section(programs: &Programs, peers: u32, rows_max: usize) -> Result<Section, BenchError> {
    let ask = |holder, asks| ask(programs, holder, peers, rows_max, asks);
    let mut lanes: Vec<(Holder, Result<Vec<Told>, String>)> = Vec::new();
    let right = ask(Holder::Paths, true)?;
    for holder in Holder::ALL {
        eprintln!("checking {}, {peers} peers", holder.name());
        lanes.push((holder, verdict(holder, right, ask(holder, true)?)));
    }
    for round in 0..RUNS {
        for (holder, runs) in &mut lanes {
            eprintln!("run {} of {}", round + 1, holder.name());
            if let Ok(runs) = runs {
                runs.extend(ask(*holder, false)?);
            }
        }
    }
    let inserts = rows_max as u64 * u64::from(peers);
    let routes = right.map_or(0, |right| right.prefixes) * u64::from(peers);
    let bytes = lanes.iter().filter_map(|(holder, runs)| bytes(*holder, runs, routes));
    let note = format!(
        "CPU seconds of the inserts alone; memory is what a process grew by over them. {} routes stay, \
         and all who are timed lead to the same origins. Bytes a route: {}.",
        grouped(routes),
        bytes.collect::<Vec<_>>().join("; "),
    );
    Ok(Section {
        name: "rib",
        input: format!(
            "rib {peers}: {} rows of a full IPv4 table for each of {peers} peers",
            grouped(rows_max as u64)
        ),
        unit: "inserts",
        units: Some(inserts),
        peers: vec![Holder::Rotonda.name().to_owned()],
        note,
        rows: lanes
            .into_iter()
            .map(|(holder, runs)| Row {
                contestant: holder.name().to_owned(),
                runs: runs.map(|runs| runs.iter().map(timed).collect()),
            })
            .collect(),
    })
}

/// Whether a holder is to be timed: it holds what the others hold. With one set for all there is no
/// origin to ask for.
fn verdict(holder: Holder, right: Option<Told>, told: Option<Told>) -> Result<Vec<Told>, String> {
    let (Some(right), Some(told)) = (right, told) else {
        return Err(match holder {
            Holder::Rotonda => "not built: see benches/README.md".to_owned(),
            _ => "no table: set PEERSCOPE_DATA to the data folder".to_owned(),
        });
    };
    let same_origins = holder == Holder::OneSet || told.origins == right.origins;
    match told.prefixes == right.prefixes && same_origins {
        true => Ok(Vec::new()),
        false => Err(format!("not timed: it answers {told:?}, the right answer is {right:?}")),
    }
}

/// Bytes a route, in words.
fn bytes(holder: Holder, runs: &Result<Vec<Told>, String>, routes: u64) -> Option<String> {
    let told = runs.as_ref().ok()?.last()?;
    let each = |bytes: u64| bytes as f64 / routes as f64;
    let grown = format!("{} {:.1} by resident memory", holder.name(), each(told.grown_bytes));
    Some(match holder {
        Holder::Rotonda => grown,
        _ => format!(
            "{grown}, by its own account {:.2} in columns and prefixes and {:.1} in attributes",
            each(told.held_bytes),
            each(told.attribute_bytes),
        ),
    })
}

fn timed(told: &Told) -> Run {
    let nanos = Duration::from_nanos;
    Run::measured(nanos(told.cpu_nanos), nanos(told.wall_nanos), told.grown_bytes)
}

/// Runs a holder; none if its program or the table is not there.
fn ask(
    programs: &Programs,
    holder: Holder,
    peers: u32,
    rows_max: usize,
    asks: bool,
) -> io::Result<Option<Told>> {
    let mut command = holder.command(programs);
    command.arg(path()).args([peers.to_string(), rows_max.to_string()]);
    command.args(asks.then_some("--asks"));
    match command.output() {
        Ok(done) => Ok(Told::read(&String::from_utf8_lossy(&done.stdout))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
