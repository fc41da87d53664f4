//! Terms: what a score is the sum of.

use serde::{Deserialize, Serialize};

use crate::words::words;

words! {
    /// What a term is about; `docs/concepts/findings.md` has the weights.
    pub enum TermName {
        /// The rule that fired.
        Rule = "rule",
        /// How many peer ASes hold the route.
        Witnesses = "witnesses",
        /// How many peers show a condition.
        Peers = "peers",
        /// No table dump was read: what is new is not known.
        Learning = "learning",
        /// A prefix around a lost one is still seen.
        Covered = "covered",
        /// The backup edge that is registered.
        BackupEdge = "backup_edge",
        /// It is entered by an AS that is registered as an upstream of it.
        UpstreamRegistered = "upstream_registered",
        /// The paths do not tell for sure who made them up.
        Unplaced = "unplaced",
        /// An AS sells transit: a new neighbour of it is no surprise.
        Transit = "transit",
        /// The foreign origin has no known neighbour.
        OriginUnknown = "origin_unknown",
        /// No AS relationships are loaded: whether a path is made up is not known.
        PathUnjudged = "path_unjudged",
        /// What ROAs say of the route.
        Rpki = "rpki",
        /// What attestations of providers (ASPA) say of the path.
        Aspa = "aspa",
        /// What the mark for customers only (RFC 9234) says of a leak.
        Otc = "otc",
        /// An AS that buys from nobody stands behind somebody's customer.
        Peerlock = "peerlock",
        /// The path is longer than the one before.
        Longer = "longer",
        /// The relationships contradict themselves.
        Disputed = "disputed",
        /// The right origin was learnt, not configured.
        OriginLearnt = "origin_learnt",
        /// Culprit and right origin are of one company.
        Sibling = "sibling",
        /// A right origin stands on the path and passes the foreign one on.
        BehindOrigin = "behind_origin",
        /// Culprit and right origin exchange routes.
        Related = "related",
        /// Culprit and right origin have no known relation.
        Unrelated = "unrelated",
        /// A table dump held the route already.
        Established = "established",
        /// The peer comes back from a route of a foreign origin.
        Recovery = "recovery",
        /// Round trips are slower since.
        RttShift = "rtt_shift",
        /// The route in force changed when round trips rose.
        RouteChange = "route_change",
        /// A route around the prefix changed when round trips rose.
        RouteChangeNear = "route_change_near",
    }
}

/// One term of a score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Term {
    /// What it is about.
    pub name: TermName,
    /// What it adds.
    pub weight: f64,
    /// Why, in words.
    pub detail: String,
}
