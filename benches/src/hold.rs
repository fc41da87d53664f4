//! What every holder of the full table does alike: read it, measure the inserts, say what came of it.
//!
//! Also part of the program in `benches/rotonda`, which has a workspace of its own; so it knows no
//! type of the project.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufRead};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// One prefix in this many is looked up.
const SAMPLE: usize = 997;

/// A row of the table: address, length, origin.
pub(crate) type Route = (Ipv4Addr, u8, u32);

/// The rows, by origin, as the UPDATEs of a full feed bring them.
///
/// # Errors
/// If the table cannot be read.
pub(crate) fn table(reader: impl BufRead, rows_max: usize) -> io::Result<Vec<Route>> {
    let mut rows = Vec::new();
    for line in reader.lines() {
        let line = line?;
        let mut fields = line.split(',');
        let mut next = || fields.next().unwrap_or_default();
        let (net, length, origin) = (next().parse(), next().parse(), next().parse());
        let (Ok(net), Ok(length), Ok(origin)) = (net, length, origin) else { continue };
        rows.push((net, length, origin));
        if rows.len() == rows_max {
            break;
        }
    }
    rows.sort_by_key(|(_, _, origin)| *origin);
    Ok(rows)
}

/// The prefixes that are looked up.
pub(crate) fn sample(table: &[Route]) -> BTreeSet<(Ipv4Addr, u8)> {
    table.iter().step_by(SAMPLE).map(|(net, length, _)| (*net, *length)).collect()
}

/// What a holder says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// Prefixes held.
    pub(crate) prefixes: u64,
    /// Over the sample, the origins that the routes of all peers lead to, added up.
    pub(crate) origins: u64,
    /// CPU time of the inserts.
    pub(crate) cpu_nanos: u64,
    /// Their time on the wall.
    pub(crate) wall_nanos: u64,
    /// What resident memory grew by.
    pub(crate) grown_bytes: u64,
    /// By the holder's own account: what holds the routes.
    pub(crate) held_bytes: u64,
    /// By the holder's own account: their attributes.
    pub(crate) attribute_bytes: u64,
}

impl Told {
    /// The line that a process says it in.
    pub(crate) fn line(&self) -> String {
        let Self { prefixes, origins, cpu_nanos, wall_nanos, grown_bytes, .. } = self;
        let (held, attributes) = (self.held_bytes, self.attribute_bytes);
        format!("{prefixes} {origins} {cpu_nanos} {wall_nanos} {grown_bytes} {held} {attributes}")
    }

    /// Reads that line.
    #[allow(dead_code, reason = "only one of the two programs reads it")]
    pub(crate) fn read(line: &str) -> Option<Self> {
        let numbers: Vec<u64> = line.split_whitespace().filter_map(|n| n.parse().ok()).collect();
        let [prefixes, origins, cpu_nanos, wall_nanos, grown_bytes, held, attributes] =
            <[u64; 7]>::try_from(numbers).ok()?;
        let (held_bytes, attribute_bytes) = (held, attributes);
        Some(Self {
            prefixes,
            origins,
            cpu_nanos,
            wall_nanos,
            grown_bytes,
            held_bytes,
            attribute_bytes,
        })
    }
}

/// What this thread uses from here on.
pub(crate) struct Meter {
    cpu_nanos: u64,
    wall: Instant,
    resident: u64,
}

impl Meter {
    /// Starts.
    ///
    /// # Errors
    /// If the system does not say.
    pub(crate) fn start() -> io::Result<Self> {
        Ok(Self { resident: resident()?, cpu_nanos: cpu_nanos()?, wall: Instant::now() })
    }

    /// Stops, and fills in what was measured.
    ///
    /// # Errors
    /// If the system does not say.
    pub(crate) fn stop(self) -> io::Result<Told> {
        let wall_nanos = u64::try_from(self.wall.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Ok(Told {
            cpu_nanos: cpu_nanos()?.saturating_sub(self.cpu_nanos),
            wall_nanos,
            grown_bytes: resident()?.saturating_sub(self.resident),
            ..Told::default()
        })
    }
}

/// Nanoseconds that this thread has run. The kernel adds them up when the thread stops, so it does.
fn cpu_nanos() -> io::Result<u64> {
    std::thread::sleep(Duration::from_millis(1));
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    nanos.ok_or_else(|| io::Error::other("the kernel keeps no account of threads"))
}

fn resident() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.map(|kib| kib * 1_024).ok_or_else(|| io::Error::other("the kernel keeps no VmRSS"))
}
