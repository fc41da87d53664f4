//! The simulator: a seed in, an hour of a small Internet out, as real MRT bytes and JSON lines.
//!
//! Tests, benchmarks and `peerscope demo` feed what comes out here to the very pipeline that `run`
//! and `replay` use; nothing there knows that it was simulated. Every byte follows from the
//! scenario and its seed: no clock, no hash order, no IO.
//!
//! A tour, in the order in which a [`Scenario`] becomes a [`Simulation`]:
//!
//! - [`scenario`]: the data of one; [`story`] writes the demo's with its [`cast`] and
//!   [`offices`], [`mod@quiet`] one of any size; [`incidents`] are its labels.
//! - [`random`], [`geography`]: chance and distance.
//! - [`topology`]: the ASes and their relations.
//! - [`timeline`]: what is announced when; [`propagation`]: who then believes what.
//! - [`vantage`]: what the collector hears of it; [`wire`]: as bytes.
//! - [`rtt`]: what the probes measure. [`config`]: what the owner registered.
//!
//! Beside it stands a larger world for the quality of the detectors: [`internet`], some thousand
//! ASes, and [`trial`], an incident of each kind on it with the label by which it is judged.
//!
//! Not simulated: traffic volumes, route servers, iBGP, clocks that go wrong; ROAs and ASPAs in a [`trial`] only.

pub mod cast;
pub mod config;
pub mod geography;
pub mod incidents;
pub mod internet;
pub mod offices;
pub mod propagation;
pub mod quiet;
pub mod random;
pub mod rtt;
pub mod scenario;
pub mod story;
pub mod timeline;
pub mod topology;
pub mod trial;
pub mod vantage;
pub mod wire;

pub use incidents::{Effect, Incident, IncidentKind, Injection, Silence, SilenceKind};
pub use quiet::{QuietOptions, quiet};
pub use scenario::Scenario;

use random::Random;
use topology::Topology;

/// How long before the first sample the table is dumped, in seconds.
pub const TABLE_LEAD_SECS: i64 = 600;

/// A simulated hour, as files would hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Simulation {
    /// `peerscope.toml`, without `[lake]` and `[reference]`.
    pub config: String,
    /// The relations of all ASes, CAIDA serial-1.
    pub as_relationships: String,
    /// Who runs which AS: CSV `asn,organisation`; siblings share an organisation.
    pub organisations: String,
    /// The cloud's edges: CSV as `[reference] edges` reads it.
    pub edges: String,
    /// MRT `TABLE_DUMP_V2`, ten minutes before the start.
    pub rib: Vec<u8>,
    /// MRT `BGP4MP_ET`, updates and state changes in order of time.
    pub updates: Vec<u8>,
    /// JSON lines in order of time: `time`, `ip`, `rtt_us` (null if lost), `source`.
    pub rtt: Vec<u8>,
    /// What was injected and must be found.
    pub incidents: Vec<Incident>,
    /// What must not alert.
    pub silences: Vec<Silence>,
}

/// Each part of a simulation draws from a stream of its own.
#[derive(Clone, Copy)]
enum Stream {
    Topology = 1,
    Timeline,
    News,
    Table,
    Samples,
}

fn stream(seed: u64, stream: Stream) -> Random {
    Random::new(seed).fork(stream as u64)
}

/// The demo's story: one hour from 2026-03-04T10:00:00Z, told in [`story`].
#[must_use]
pub fn demo(seed: u64) -> Simulation {
    simulate(&story::scenario(seed))
}

/// Turns a scenario into bytes.
#[must_use]
pub fn simulate(scenario: &Scenario) -> Simulation {
    let topology = topology_of(scenario);
    let seed = scenario.seed;
    let timelines = timeline::plan(scenario, &topology, &mut stream(seed, Stream::Timeline));
    let points = vantage::vantage_points(scenario, &topology);
    let mut chance = stream(seed, Stream::News);
    let news = vantage::news(scenario, &topology, &points, &timelines, &mut chance);
    let dumped = scenario.start.plus_secs(-TABLE_LEAD_SECS);
    let mut chance = stream(seed, Stream::Table);
    Simulation {
        config: config::toml(scenario, &topology),
        as_relationships: topology.as_relationships(),
        organisations: topology.organisations(),
        edges: config::edges(),
        rib: wire::table(&topology, &points, &timelines, dumped, &mut chance),
        updates: wire::updates(&points, &timelines, &news),
        rtt: rtt::samples(scenario, &mut stream(seed, Stream::Samples)),
        incidents: scenario.incidents.clone(),
        silences: scenario.silences.clone(),
    }
}

/// The topology that [`simulate`] uses for a scenario.
#[must_use]
pub fn topology_of(scenario: &Scenario) -> Topology {
    Topology::grow(&scenario.topology, &mut stream(scenario.seed, Stream::Topology))
}

#[cfg(test)]
mod tests;
