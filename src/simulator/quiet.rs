//! A quiet world of any size, for tests and benchmarks: nothing happens that must be found.
//!
//! Connections belong to the stubs of the topology in turn, prefixes are `2001:db8:N::/48`. The
//! world still moves: background prefixes go and return, samples have their tail and losses.

use schemas::bgp::Prefix;

use super::cast;
use super::geography::METROS;
use super::scenario::{ConnectionPlan, PrefixPlan, Scenario};
use super::story::START;
use super::topology::{AsIndex, Relation, Tier, Topology};
use super::{Simulation, simulate, topology_of};

/// The most prefixes that the ground of [`quiet`] holds.
pub const QUIET_PREFIXES_MAX: u32 = 0x7ff0;

/// The size of a quiet world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuietOptions {
    /// Connections; at least one, at most as many as prefixes.
    pub connections: u32,
    /// Registered prefixes, dealt out to the connections in turn; at most [`QUIET_PREFIXES_MAX`].
    pub prefixes: u32,
    /// About how many samples a minute each prefix gets.
    pub samples_per_minute: u32,
    /// How long it lasts.
    pub minutes: u32,
    /// Prefixes of nobody we know.
    pub background_prefixes: u32,
    /// How many of those go and return once in the time.
    pub background_flaps: u32,
}

impl Default for QuietOptions {
    fn default() -> Self {
        Self {
            connections: 10,
            prefixes: 20,
            samples_per_minute: 60,
            minutes: 10,
            background_prefixes: 100,
            background_flaps: 5,
        }
    }
}

/// A world without incidents, from 2026-03-04T10:00:00Z.
#[must_use]
pub fn quiet(seed: u64, options: &QuietOptions) -> Simulation {
    simulate(&quiet_scenario(seed, options))
}

/// The scenario of [`quiet`], to be changed before it is simulated.
#[must_use]
pub fn quiet_scenario(seed: u64, options: &QuietOptions) -> Scenario {
    let mut scenario = Scenario {
        seed,
        start: START,
        minutes: options.minutes,
        topology: cast::topology(250),
        connections: Vec::new(),
        watched: Vec::new(),
        observers: cast::OBSERVERS.to_vec(),
        vantage_points: (8, 16),
        background_prefixes: options.background_prefixes,
        background_flaps: options.background_flaps,
        strangers_per_minute: 0,
        incidents: Vec::new(),
        silences: Vec::new(),
    };
    let topology = topology_of(&scenario);
    let mut stubs = topology.of_tier(Tier::Stub);
    stubs.retain(|index| topology.get(*index).is_some_and(|system| !system.named));
    let prefixes = options.prefixes.min(QUIET_PREFIXES_MAX);
    let connections = options.connections.clamp(1, prefixes.max(1));
    let owners = stubs.iter().cycle();
    scenario.connections = (0..connections)
        .zip(owners)
        .filter_map(|(number, owner)| {
            let mine = (number..prefixes).step_by(connections as usize).map(quiet_prefix);
            let plans = mine.map(|prefix| PrefixPlan::new(prefix, options.samples_per_minute));
            connection(&topology, number, *owner, plans.collect())
        })
        .collect();
    scenario
}

/// The registered prefix of this number.
#[must_use]
pub const fn quiet_prefix(number: u32) -> Prefix {
    let [high, low] = ((number % QUIET_PREFIXES_MAX) as u16).to_be_bytes();
    Prefix::v6([0x20, 0x01, 0x0d, 0xb8, high, low, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 48)
}

fn connection(
    topology: &Topology,
    number: u32,
    owner: AsIndex,
    prefixes: Vec<PrefixPlan>,
) -> Option<ConnectionPlan> {
    let system = topology.get(owner)?;
    let upstreams = topology.related(system.asn, Relation::Provider);
    let partner = *upstreams.first()?;
    let name = topology.get(topology.index_of(partner)?)?.organisation.clone();
    let edge = METROS.iter().find(|metro| metro.code == system.metro.code)?;
    Some(ConnectionPlan {
        name: format!("quiet-{number:05}"),
        tenant: format!("tenant-{}", number % 10),
        kind: "peering_service",
        state: "Active",
        partner: (name, partner),
        place: *system.metro,
        site: None,
        labels: &[],
        prefixes,
        origin: system.asn,
        via: Vec::new(),
        upstreams,
        redundancy_group: None,
        sessions: Vec::new(),
        edge,
        sources: vec![format!("probe-{}-1", edge.code)],
        announced: true,
        comment: format!("Connection {number} of a quiet world"),
    })
}
