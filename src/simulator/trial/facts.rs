//! What the operator of a trial knows: files that are a year old, incomplete and partly wrong.
//!
//! Of the links as they are, those younger than a year are left out, then [`MISSING_PERMILLE`] of the
//! rest, and [`WRONG_PERMILLE`] are told with another relation. Links that ended within the year
//! stand in the file still. One company in twenty does not stand in the file of companies.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use schemas::bgp::{Asn, Prefix};
use schemas::connection::{Connection, WatchedAs};
use serde_json::json;

use super::{Plot, Trial};
use crate::simulator::internet::{Internet, Node, Rank};
use crate::simulator::random::Random;
use crate::simulator::topology::Relation;

/// Links that the file of relationships does not know, of a thousand.
pub const MISSING_PERMILLE: u32 = 100;
/// Links whose relation it has wrong, of a thousand.
pub const WRONG_PERMILLE: u32 = 20;
/// Links that ended in the year, of a thousand that are.
const ENDED_PERMILLE: usize = 20;
/// ASes that attest their providers, of a thousand.
const ATTESTING_PERMILLE: u32 = 100;

/// Files and configuration.
#[derive(Clone, Debug)]
pub struct Facts {
    /// CAIDA serial-1.
    pub relationships: String,
    /// CSV `asn,organisation`.
    pub organisations: String,
    /// CSV of VRPs.
    pub vrps: String,
    /// Attestations: customer and providers.
    pub aspas: Vec<(Asn, Vec<Asn>)>,
    /// What is registered.
    pub connections: Vec<Connection>,
    /// What is watched.
    pub watched: Vec<WatchedAs>,
}

impl Facts {
    /// What the operator of a trial knows.
    ///
    /// # Errors
    /// If a connection is none: a bug of the trial.
    pub fn of(trial: &Trial) -> Result<Self, serde_json::Error> {
        let mut random = Random::new(trial.seed).fork(79);
        let internet = &trial.internet;
        let mut vrps = String::new();
        for plot in &trial.plots {
            for asn in &plot.draft.roas {
                let prefix: Prefix = plot.ground.registered();
                let length = plot.draft.roa_max_length.unwrap_or(prefix.length());
                let _ = writeln!(vrps, "{},{prefix},{length}", asn.0);
            }
        }
        let attesting = (0..internet.len() as Node).filter(|_| random.chance(ATTESTING_PERMILLE));
        let mut attesting: Vec<Node> = attesting.collect();
        attesting.extend(trial.plots.iter().flat_map(|plot| &plot.draft.attests));
        attesting.sort_unstable();
        attesting.dedup();
        let aspas = attesting.into_iter().map(|node| attestation(internet, node)).collect();
        let watched: BTreeSet<Node> =
            trial.plots.iter().filter_map(|plot| plot.draft.watched).collect();
        Ok(Self {
            relationships: relationships(internet, &mut random),
            organisations: organisations(internet, &mut random),
            vrps,
            aspas,
            connections: trial
                .plots
                .iter()
                .map(|plot| connection(trial, plot))
                .collect::<Result<_, _>>()?,
            watched: watched.into_iter().map(|node| watch(internet, node)).collect(),
        })
    }
}

fn numbers(internet: &Internet, node: Node, relation: Relation) -> Vec<Asn> {
    internet.related(node, relation).into_iter().map(|node| internet.asn(node)).collect()
}

/// An AS without providers attests AS 0 (draft-ietf-sidrops-aspa-profile).
fn attestation(internet: &Internet, node: Node) -> (Asn, Vec<Asn>) {
    let mut providers = numbers(internet, node, Relation::Provider);
    if providers.is_empty() {
        providers.push(Asn(0));
    }
    (internet.asn(node), providers)
}

fn watch(internet: &Internet, node: Node) -> WatchedAs {
    WatchedAs {
        number: internet.asn(node),
        upstreams: numbers(internet, node, Relation::Provider),
        peers: numbers(internet, node, Relation::Peer),
        downstreams: numbers(internet, node, Relation::Customer),
        originates: schemas::connection::Originates::Registered,
    }
}

fn connection(trial: &Trial, plot: &Plot) -> Result<Connection, serde_json::Error> {
    let internet = &trial.internet;
    let draft = &plot.draft;
    let owner = internet.asn(draft.owner);
    let origins = if draft.origins.is_empty() { vec![owner] } else { draft.origins.clone() };
    let registered = plot.ground.registered();
    let sessions: Vec<serde_json::Value> = trial
        .points
        .iter()
        .filter(|point| point.serves(&registered))
        .filter_map(|point| Some(json!({ "peer_ip": point.address, "role": point.role? })))
        .collect();
    let expects: Vec<Asn> = draft.expects.iter().map(|node| internet.asn(*node)).collect();
    let partner = draft.sessions.first().copied().or_else(|| {
        let providers = internet.related(draft.owner, Relation::Provider);
        providers.first().copied()
    });
    serde_json::from_value(json!({
        "name": plot.connection,
        "prefixes": [registered.to_string()],
        "origin_asns": origins,
        "partner": partner.map(|node| json!({ "name": "partner", "asn": internet.asn(node) })),
        "expect_upstreams": expects,
        "sessions": sessions,
    }))
}

/// The file of relationships, CAIDA's serial-1.
fn relationships(internet: &Internet, random: &mut Random) -> String {
    let mut text = String::from("# inferred clique:");
    for node in internet.of(Rank::Clique) {
        let _ = write!(text, " {}", internet.asn(node).0);
    }
    text.push('\n');
    let mut links = 0;
    for node in 0..internet.len() as Node {
        for link in internet.links(node) {
            let is_told_here = match link.relation {
                Relation::Customer => true,
                Relation::Peer => node < link.to,
                Relation::Provider => false,
            };
            if !is_told_here {
                continue;
            }
            links += 1;
            if link.is_young || random.chance(MISSING_PERMILLE) {
                continue;
            }
            let (a, b) = (internet.asn(node).0, internet.asn(link.to).0);
            let is_wrong = random.chance(WRONG_PERMILLE);
            let _ = match (link.relation, is_wrong) {
                (Relation::Peer, true) if random.chance(500) => writeln!(text, "{b}|{a}|-1"),
                (Relation::Peer, true) => writeln!(text, "{a}|{b}|-1"),
                (Relation::Peer, false) => writeln!(text, "{a}|{b}|0"),
                (_, true) if random.chance(500) => writeln!(text, "{b}|{a}|-1"),
                (_, true) => writeln!(text, "{a}|{b}|0"),
                (_, false) => writeln!(text, "{a}|{b}|-1"),
            };
        }
    }
    let (sellers, buyers) = (internet.of(Rank::Regional), internet.of(Rank::Stub));
    for _ in 0..links * ENDED_PERMILLE / 1_000 {
        if let (Some(seller), Some(buyer)) = (random.pick(&sellers), random.pick(&buyers))
            && internet.relation(*seller, *buyer).is_none()
        {
            let _ = writeln!(text, "{}|{}|-1", internet.asn(*seller).0, internet.asn(*buyer).0);
        }
    }
    text
}

fn organisations(internet: &Internet, random: &mut Random) -> String {
    let all = internet.organisations();
    let mut kept = String::new();
    for (place, line) in all.lines().enumerate() {
        if place == 0 || !random.chance(50) {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}
