//! A large lake: minutes of latency beside what the lake has, through the chains that the product
//! writes, without the samples that they would be made of.
//!
//! Every series has a row a minute; a file holds sixteen minutes of all of them, 131,072 rows. A few
//! windows are revised, once or twice.

use std::io;
use std::path::Path;
use std::sync::Arc;

use analytics::lake::Store;
use analytics::lake::chain::{Chain, ChainName, Position};
use analytics::lake::identity::Identity;
use analytics::latency::summary::Summariser;
use analytics::latency::window::WINDOW_SECS;
use analytics::rows::of_summary;
use peerscope::simulator::random::Random;
use schemas::bgp::Prefix;
use schemas::tables::{self, LatencyRow, LatencySeries};
use schemas::time::{TimeWindow, Timestamp};

/// Connections of 64 tenants, each with four prefixes that two probes measure.
const CONNECTIONS: u32 = 1_024;
const TENANTS: u32 = 64;
const PREFIXES: u32 = 4;
const PROBES: [&str; 2] = ["probe-a", "probe-b"];
/// Rows of a minute.
const SERIES: u64 = 8_192;
/// Probes of a window.
const SAMPLES: usize = 6;
/// One window of so many is revised.
const REVISED: u64 = 10_007;
/// Spread of the round trips, as a standard deviation of the logarithm.
const SIGMA: f64 = 0.25;
const SEED: u64 = 9;
/// 2026-02-01T00:00:00Z.
const START: i64 = 1_769_904_000;

/// Adds at least so many rows, by whole minutes, to a lake; says how many.
pub(crate) fn write(folder: &Path, rows: u64) -> io::Result<u64> {
    let store = Store::open(&folder.to_string_lossy()).map_err(io::Error::other)?;
    let store = Arc::new(store);
    let identity = Identity {
        kind: "bench".to_owned(),
        inputs: vec![format!("{rows} windows")],
        reference: Vec::new(),
        config_hash: String::new(),
        partitions: 1,
        after: None,
    };
    let name = || ChainName { log: identity.log(), partition: 0 };
    let mut latency = Chain::new(tables::LATENCY, &store, name(), None);
    let mut revisions = Chain::new(tables::LATENCY_REVISIONS, &store, name(), None);
    let mut maker = Maker { random: Random::new(SEED), summariser: Summariser::default() };
    let all = series();
    let mut position = Position::default();
    let (mut minute, mut revised) = (Vec::new(), Vec::new());
    let mut number = 0;
    for at in 0..rows.div_ceil(SERIES) {
        let secs = i64::try_from(at).unwrap_or(i64::MAX).saturating_mul(WINDOW_SECS.into());
        let start = Timestamp::from_secs(START.saturating_add(secs));
        let window = TimeWindow::containing(start, WINDOW_SECS);
        for (series, median_us) in &all {
            minute.push(maker.row(window, series, *median_us, 0));
            number += 1;
            if number % REVISED == 0 {
                let last = if number % (10 * REVISED) == 0 { 2 } else { 1 };
                let rows = (1..=last).map(|nth| maker.row(window, series, *median_us, nth));
                revised.extend(rows);
            }
        }
        position = Position { end: at + 1, time: window.end };
        latency.take(&mut minute, position).map_err(io::Error::other)?;
        revisions.take(&mut revised, position).map_err(io::Error::other)?;
    }
    revisions.finish(position, false).map_err(io::Error::other)?;
    latency.finish(position, false).map_err(io::Error::other)
}

/// All series, each with a median of its own from 5 to 150 ms.
fn series() -> Vec<(LatencySeries, f64)> {
    let mut all = Vec::new();
    for connection in 0..CONNECTIONS {
        for prefix in 0..PREFIXES {
            let net = connection * PREFIXES + prefix;
            let share = f64::from(net) / f64::from(CONNECTIONS * PREFIXES);
            all.extend(PROBES.map(|probe| {
                let series = LatencySeries {
                    tenant: format!("tenant-{:02}", connection % TENANTS).into(),
                    connection: format!("connection-{connection:04}").into(),
                    prefix: Prefix::v4_word(0x0a00_0000 + (net << 8), 24),
                    source: probe.into(),
                };
                (series, 5_000.0 * 30_f64.powf(share))
            }));
        }
    }
    all
}

/// Makes rows as the fold of the samples would.
struct Maker {
    random: Random,
    summariser: Summariser,
}

impl Maker {
    /// A revision knows one sample more.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    fn row(
        &mut self,
        window: TimeWindow,
        series: &LatencySeries,
        median_us: f64,
        revision: u32,
    ) -> LatencyRow {
        let probes = SAMPLES + revision as usize;
        let answered = probes - usize::from(self.random.chance(20));
        let random = &mut self.random;
        let rtts = (0..answered).map(|_| (median_us * (SIGMA * random.normal()).exp()) as u32);
        let summary = self.summariser.summarise(rtts, probes);
        LatencyRow { revision, ..of_summary(window, series.clone(), summary) }
    }
}
