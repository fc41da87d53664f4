//! A scenario: everything that a simulation is made from, as data.
//!
//! [`super::story`] writes the demo's, [`mod@super::quiet`] one of any size without incidents, a test
//! its own; [`super::simulate`] turns each into bytes in the same way.

use std::net::Ipv4Addr;

use schemas::bgp::{Asn, Prefix};
use schemas::time::{TimeWindow, Timestamp};

use super::geography::Metro;
use super::incidents::{Effect, Incident, Injection, Silence};
use super::topology::TopologyPlan;

/// The collector's own number, and the cloud's.
pub const COLLECTOR_ASN: Asn = Asn(65_551);
/// The collector's address on its sessions.
pub const COLLECTOR_ADDRESS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 254);

/// Everything that a simulation is made from.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What all chance is drawn from.
    pub seed: u64,
    /// First instant of the samples and updates.
    pub start: Timestamp,
    /// How long it lasts.
    pub minutes: u32,
    /// The ASes.
    pub topology: TopologyPlan,
    /// What is registered.
    pub connections: Vec<ConnectionPlan>,
    /// The `[[asn]]` entries; their neighbours come from the topology.
    pub watched: Vec<Asn>,
    /// Regional networks that are public peers with all their routes, among those counted next.
    pub observers: Vec<Asn>,
    /// Public peers of the collector with all their routes, and with their customers' only.
    pub vantage_points: (usize, usize),
    /// Prefixes of nobody we know, `2001:db8:8000::/48` onwards, one AS each.
    pub background_prefixes: u32,
    /// How many of those go and return once in the time.
    pub background_flaps: u32,
    /// Samples a minute with an address that nobody registered.
    pub strangers_per_minute: u32,
    /// What must be found.
    pub incidents: Vec<Incident>,
    /// What must not alert.
    pub silences: Vec<Silence>,
}

impl Scenario {
    /// The whole time.
    #[must_use]
    pub const fn window(&self) -> TimeWindow {
        TimeWindow { start: self.start, end: self.start.plus_secs(self.minutes as i64 * 60) }
    }

    /// What happens to routes and sessions, and when.
    pub fn injections(&self) -> impl Iterator<Item = (TimeWindow, &Injection)> {
        let loud = self.incidents.iter().map(|incident| (incident.window, &incident.injections));
        let silent = self.silences.iter().map(|silence| (silence.window, &silence.injections));
        loud.chain(silent).flat_map(|(window, all)| all.iter().map(move |one| (window, one)))
    }

    /// What happens to the samples, and when.
    pub fn effects(&self) -> impl Iterator<Item = (TimeWindow, Effect)> {
        let incidents = self.incidents.iter();
        incidents
            .flat_map(|incident| incident.effects.iter().map(|effect| (incident.window, *effect)))
    }
}

/// One registered connection and how the world serves it.
#[derive(Clone, Debug)]
pub struct ConnectionPlan {
    /// Its unique name.
    pub name: String,
    /// Who owns it.
    pub tenant: String,
    /// `peering_service` and the like.
    pub kind: &'static str,
    /// Azure's word.
    pub state: &'static str,
    /// The connectivity partner's name and number.
    pub partner: (String, Asn),
    /// Where the customer is.
    pub place: Metro,
    /// A name for the place.
    pub site: Option<&'static str>,
    /// Free labels.
    pub labels: &'static [(&'static str, &'static str)],
    /// What is registered.
    pub prefixes: Vec<PrefixPlan>,
    /// Who announces it.
    pub origin: Asn,
    /// The neighbours that hear it; empty for all of the origin's.
    pub via: Vec<Asn>,
    /// The upstreams that the configuration names.
    pub upstreams: Vec<Asn>,
    /// Its siblings share this.
    pub redundancy_group: Option<&'static str>,
    /// Its BGP sessions.
    pub sessions: Vec<SessionPlan>,
    /// The edge that serves it.
    pub edge: &'static Metro,
    /// From where it is probed.
    pub sources: Vec<String>,
    /// Whether its routes are accepted and seen at the start.
    pub announced: bool,
    /// A line above it in the configuration.
    pub comment: String,
}

/// One registered prefix.
#[derive(Clone, Debug)]
pub struct PrefixPlan {
    /// What is registered.
    pub prefix: Prefix,
    /// Where in it the clients live, with their share in a thousand.
    pub clients: Vec<(Prefix, u32)>,
    /// About how many samples a minute it gets.
    pub samples_per_minute: u32,
}

impl PrefixPlan {
    /// A prefix whose clients live at its beginning.
    #[must_use]
    pub fn new(prefix: Prefix, samples_per_minute: u32) -> Self {
        Self { prefix, clients: vec![(prefix, 1000)], samples_per_minute }
    }
}

/// One BGP session of a connection.
#[derive(Clone, Debug)]
pub struct SessionPlan {
    /// The router of ours that holds it.
    pub router: String,
    /// The partner's address.
    pub peer: Ipv4Addr,
    /// The partner's number.
    pub asn: Asn,
    /// `primary` or `backup`; none for a session that the configuration does not know.
    pub role: Option<&'static str>,
    /// The edge where it stands.
    pub edge: &'static Metro,
}
