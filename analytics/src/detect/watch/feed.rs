//! Feeds: which peers are heard. A collector that dies is one fault of a feed and not a withdrawal of
//! everything.
//!
//! A peer counts as heard from its first word on, until its session goes down; after it is up again
//! it has [`REFILL_SECS`] to tell its table. A collector is judged only where every peer's first word
//! was that it is up, as BMP and live feeds begin: archives tell of changes alone, so that who else
//! is up is not known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemas::bgp::PeerHeader;
use schemas::finding::{Rule, Severity, Transition};
use schemas::tables::Text;
use schemas::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::Facts;
use super::super::condition::{Claim, ConditionKey, Conditions, Moment, Subject};
use super::survey::{peers_term, rule_term};
use crate::rib::PeerId;

/// How long a peer may take to tell its table after its session is up.
const REFILL_SECS: i64 = 600;
/// Peers that a collector must have had for its silence to be told.
const PEERS_MIN: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Standing {
    Down,
    UpSince(Timestamp),
}

/// The sessions of one collector.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Collector {
    up: BTreeMap<PeerId, bool>,
    /// Whether a peer was first heard of when it went down.
    is_partial: bool,
}

/// The sessions of all peers, as far as they were told.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Feeds {
    peers: BTreeMap<PeerId, Standing>,
    collectors: BTreeMap<Text, Collector>,
    changed: BTreeSet<Text>,
    at: Option<Moment>,
}

impl Feeds {
    pub(super) fn on_peer(
        &mut self,
        peer: PeerId,
        header: &Arc<PeerHeader>,
        is_up: bool,
        at: Moment,
    ) {
        if !header.rib_view.is_adj_rib_in() {
            return;
        }
        let standing = if is_up { Standing::UpSince(at.log_time) } else { Standing::Down };
        self.peers.insert(peer, standing);
        let collector: Text = Arc::clone(&header.collector);
        let sessions = self.collectors.entry(collector.clone()).or_default();
        let is_first = sessions.up.insert(peer, is_up).is_none();
        sessions.is_partial |= is_first && !is_up;
        self.changed.insert(collector);
        self.at = Some(at);
    }

    /// Whether a peer tells all that it holds.
    pub(super) fn is_full(&self, peer: PeerId, now: Timestamp) -> bool {
        match self.peers.get(&peer) {
            None => true,
            Some(Standing::Down) => false,
            Some(Standing::UpSince(at)) => now.secs_since(*at) >= REFILL_SECS,
        }
    }

    /// Tells of collectors that fell silent or are heard again.
    pub(super) fn advance(
        &mut self,
        conditions: &mut Conditions,
        facts: &Facts<'_>,
        transitions: &mut Vec<Transition>,
    ) {
        let Some(at) = self.at else { return };
        for collector in std::mem::take(&mut self.changed) {
            let Some(sessions) = self.collectors.get(&collector) else { continue };
            let peers = sessions.up.len();
            let key = ConditionKey {
                owner: None,
                rule: Rule::CollectorLost,
                subject: Subject::Collector(collector.clone()),
            };
            let is_lost =
                peers >= PEERS_MIN && !sessions.is_partial && sessions.up.values().all(|up| !up);
            if is_lost {
                let claim = claim(key, &collector, peers, at.time);
                transitions.extend(conditions.hold(claim, at, facts.registry, facts.options));
            } else {
                transitions.extend(conditions.end(&key, at, None, facts.registry));
            }
        }
    }
}

fn claim(key: ConditionKey, collector: &str, peers: usize, since: Timestamp) -> Claim {
    let explanation = format!(
        "all {peers} sessions of collector {collector} are down: what it held is not known to be gone"
    );
    Claim {
        key,
        rule: Rule::CollectorLost,
        severity: Severity::Error,
        culprit: None,
        victim: None,
        since,
        terms: vec![rule_term(6.0, explanation.clone()), peers_term(peers, 4.0)],
        witnesses: 0,
        path_before: None,
        path_after: None,
        explanation,
    }
}
