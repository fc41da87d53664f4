//! The configuration of a scenario: connections and watched ASes in, `peerscope.toml` out.
//!
//! Text of the contract's keys, with comments; `[lake]` is the caller's. The facts about ASes are
//! given beside it ([`super::Simulation`]), their places stand in it as comments. Names are the
//! scenario's own and need no escapes.

use std::fmt::Write as _;

use schemas::bgp::Asn;

use super::geography::METROS;
use super::scenario::{ConnectionPlan, Scenario};
use super::topology::{Relation, Topology};
use super::wire::edge_community;

/// The configuration as TOML.
#[must_use]
pub fn toml(scenario: &Scenario, topology: &Topology) -> String {
    let mut text = String::from(
        "# A synthetic Internet, written by peerscope's simulator. Documentation ranges only.\n",
    );
    for connection in &scenario.connections {
        write_connection(connection, &mut text);
    }
    for asn in &scenario.watched {
        write_watched(*asn, topology, &mut text);
    }
    text
}

/// Writing to a string cannot fail.
fn write_connection(connection: &ConnectionPlan, text: &mut String) {
    let place = &connection.place;
    let mut line = |line: std::fmt::Arguments<'_>| {
        let _ = text.write_fmt(line);
        text.push('\n');
    };
    line(format_args!("\n# {}\n[[connection]]", connection.comment));
    line(format_args!("name = \"{}\"\ntenant = \"{}\"", connection.name, connection.tenant));
    line(format_args!("kind = \"{}\"\nstate = \"{}\"", connection.kind, connection.state));
    let (partner, partner_asn) = &connection.partner;
    line(format_args!("partner = {{ name = \"{partner}\", asn = {} }}", partner_asn.0));
    let region = place.region.map(|region| format!("region = \"{region}\", "));
    line(format_args!(
        "location = {{ country = \"{}\", {}latitude = {:?}, longitude = {:?} }}",
        place.country,
        region.unwrap_or_default(),
        place.latitude,
        place.longitude
    ));
    if let Some(site) = connection.site {
        line(format_args!("site = \"{site}\""));
    }
    if !connection.labels.is_empty() {
        let labels = connection.labels.iter().map(|(key, value)| format!("{key} = \"{value}\""));
        line(format_args!("labels = {{ {} }}", labels.collect::<Vec<_>>().join(", ")));
    }
    write_routing(connection, text);
}

/// What is registered, who announces it, and over which sessions.
fn write_routing(connection: &ConnectionPlan, text: &mut String) {
    let mut line = |line: std::fmt::Arguments<'_>| {
        let _ = text.write_fmt(line);
        text.push('\n');
    };
    let prefixes = connection.prefixes.iter().map(|plan| format!("\"{}\"", plan.prefix));
    line(format_args!("prefixes = [{}]", prefixes.collect::<Vec<_>>().join(", ")));
    line(format_args!("origin_asns = {}", numbers(&[connection.origin])));
    if !connection.upstreams.is_empty() {
        line(format_args!("upstream_asns = {}", numbers(&connection.upstreams)));
    }
    if let Some(group) = connection.redundancy_group {
        line(format_args!("redundancy_group = \"{group}\""));
    }
    let known =
        connection.sessions.iter().filter_map(|session| session.role.map(|role| (session, role)));
    let sessions: Vec<String> = known
        .map(|(session, role)| {
            let (router, peer) = (&session.router, session.peer);
            format!("    {{ router = \"{router}\", peer_ip = \"{peer}\", role = \"{role}\" }},\n")
        })
        .collect();
    if !sessions.is_empty() {
        line(format_args!("sessions = [\n{}]", sessions.concat()));
    }
}

fn write_watched(asn: Asn, topology: &Topology, text: &mut String) {
    let owner = topology.index_of(asn).and_then(|index| topology.get(index));
    let owner = owner.map_or("a network", |system| &system.organisation);
    let _ = writeln!(
        text,
        "\n# Watched: does {owner} pass on what it should not?\n[[asn]]\nnumber = {}\nupstreams = {}\npeers = {}\ndownstreams = {}\noriginates = \"registered\"",
        asn.0,
        numbers(&topology.related(asn, Relation::Provider)),
        numbers(&topology.related(asn, Relation::Peer)),
        numbers(&topology.related(asn, Relation::Customer)),
    );
}

fn numbers(asns: &[Asn]) -> String {
    let numbers: Vec<String> = asns.iter().map(|asn| asn.0.to_string()).collect();
    format!("[{}]", numbers.join(", "))
}

/// The catalogue of edges as CSV: one for each metro, known by its community.
#[must_use]
pub fn edges() -> String {
    let mut text = String::from("edge_id,metro,latitude,longitude,communities,next_hops\n");
    for metro in METROS {
        let community = edge_community(metro.number());
        let (latitude, longitude) = (metro.latitude, metro.longitude);
        let _ = writeln!(
            text,
            "{},{},{latitude:?},{longitude:?},{community},",
            metro.edge(),
            metro.name
        );
    }
    text
}
