//! Findings: what a detector concluded, with its phases, rules and evidence.

mod term;

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::bgp::{Asn, Prefix};
use crate::pool;
use crate::registry::ConnectionId;
use crate::tables::Text;
use crate::time::Timestamp;
use crate::words::words;

pub use term::{Term, TermName};

/// Identity of a finding: 128 bits, frozen at its opening (`docs/concepts/findings.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FindingId(pub [u8; 16]);

impl fmt::Display for FindingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

words! {
    /// What happened to a finding.
    pub enum Phase {
        /// It began.
        Opened = "opened",
        /// Culprit, confidence, rule or group changed, or its witnesses doubled.
        Updated = "updated",
        /// The last witness let go.
        Resolved = "resolved",
        /// The registration it was about changed.
        Outdated = "outdated",
        /// It was seen and is known to be harmless; `muted_by` says why.
        Ignored = "ignored",
        /// It came back within six hours of its end.
        Reopened = "reopened",
        /// It was not heard of again.
        Expired = "expired",
    }
}

words! {
    /// What a finding is about.
    pub enum FindingKind {
        /// Somebody announces what is ours.
        Hijack = "hijack",
        /// A route went where it must not (RFC 7908).
        Leak = "leak",
        /// A route is worse than it could be.
        Suboptimal = "suboptimal",
        /// Fewer peers see what is ours.
        Visibility = "visibility",
        /// An announcement of ours is badly formed.
        Hygiene = "hygiene",
        /// A route or a ROA turned.
        Rpki = "rpki",
        /// Round-trip times moved.
        Latency = "latency",
        /// A feed failed.
        Feed = "feed",
        /// A connection's state moved.
        State = "state",
    }
}

words! {
    /// The rule that fired. Rules of later versions are added here.
    pub enum Rule {
        /// Our very prefix, from an AS that may not originate it.
        HijackExact = "hijack_exact",
        /// A part of our prefix, from an AS that may not originate it; at low confidence, a part that is new.
        HijackSubPrefix = "hijack_sub_prefix",
        /// A prefix around ours, newly seen, from an AS that has nothing to do with it.
        HijackSuperPrefix = "hijack_super_prefix",
        /// Our very prefix, which nobody announced, from an AS that may not.
        HijackSquat = "hijack_squat",
        /// A path that was made up: the AS next to the origin never met it.
        HijackType1 = "hijack_type_1",
        /// A path that was made up further away from the origin.
        HijackTypeN = "hijack_type_n",
        /// A path that was made up, the link not placed.
        HijackForgedPath = "hijack_forged_path",
        /// An AS passed our route from one provider to another (RFC 7908 §3.1).
        LeakType1 = "leak_type_1",
        /// An AS passed our route from one peer to another (RFC 7908 §3.2).
        LeakType2 = "leak_type_2",
        /// An AS passed our route from a provider to a peer (RFC 7908 §3.3).
        LeakType3 = "leak_type_3",
        /// An AS passed our route from a peer to a provider (RFC 7908 §3.4).
        LeakType4 = "leak_type_4",
        /// An AS cut our route off behind itself and announces it as its own (RFC 7908 §3.5).
        LeakType5 = "leak_type_5",
        /// The right origin announces a part of our prefix that it never announced (RFC 7908 §3.6); low confidence.
        LeakType6 = "leak_type_6",
        /// Our route was marked for customers only and went elsewhere (RFC 9234).
        LeakOtc = "leak_otc",
        /// Attestations (ASPA) say that an AS passed our route on to whom it should not.
        LeakAspa = "leak_aspa",
        /// A watched AS passed a route from one provider or peer to another.
        LeakOwnAs = "leak_own_as",
        /// A watched AS originates a prefix that nobody registered.
        OriginUnregistered = "origin_unregistered",
        /// A watched AS has a neighbour that it does not have by its configuration.
        NeighbourUnknown = "neighbour_unknown",
        /// A reserved or private AS number on a path of ours.
        HygieneBogonAsn = "hygiene_bogon_asn",
        /// A set of ASes on a path of ours (RFC 9774).
        HygieneAsSet = "hygiene_as_set",
        /// An AS stands twice on a path of ours.
        HygieneLoop = "hygiene_loop",
        /// A path of ours of more than fifty ASes.
        HygienePathLength = "hygiene_path_length",
        /// An AS stands many more times in a row on a path of ours than it used to.
        HygienePrepend = "hygiene_prepend",
        /// A part of our prefix that is too long to be routed: beyond /24 or /48.
        HygienePrefixLength = "hygiene_prefix_length",
        /// A route of the right origin that RFC 6811 calls invalid.
        RpkiInvalid = "rpki_invalid",
        /// The ROAs that cover a prefix of ours changed.
        RpkiRoaChanged = "rpki_roa_changed",
        /// ROAs that a prefix of ours needs are about to expire, or have.
        RpkiRoaExpiry = "rpki_roa_expiry",
        /// The registered primary session carries a prefix no more, and something else does.
        Failover = "failover",
        /// The registered backup session carries a prefix no more: nothing stands behind the primary.
        RedundancyLost = "redundancy_lost",
        /// An upstream that is expected to carry a prefix does not.
        UpstreamLost = "upstream_lost",
        /// A prefix is entered by others than its registered partner.
        SuboptimalEntry = "suboptimal_entry",
        /// A prefix is entered at another edge than the registered one, or than the nearest.
        SuboptimalEdge = "suboptimal_edge",
        /// A prefix is entered at its backup edge while its primary session carries it.
        SuboptimalOnBackup = "suboptimal_on_backup",
        /// A good part of the peers reaches a prefix by more ASes than usual.
        SuboptimalPathLength = "suboptimal_path_length",
        /// A router of ours announces a prefix, and nobody holds it.
        SentUnseen = "sent_unseen",
        /// A router of ours announces a prefix to another AS although it is marked to be kept.
        SentNoExport = "sent_no_export",
        /// No peer that usually holds a prefix holds it.
        VisibilityLost = "visibility_lost",
        /// Fewer of the peers that usually hold a prefix hold it.
        VisibilityReduced = "visibility_reduced",
        /// The routes of a prefix change again and again at a good part of the peers.
        Flap = "flap",
        /// All sessions of a collector are down.
        CollectorLost = "collector_lost",
        /// More VRPs vanished at once than owners take back: a trust anchor or a relying party failed.
        VrpsLost = "vrps_lost",
        /// Round trips rose when the route of a prefix changed, or of something around it.
        SuboptimalRtt = "suboptimal_rtt",
        /// Round trips rose, and no route changed.
        LatencyShift = "latency_shift",
    }
}

impl Rule {
    /// What findings of this rule are about.
    #[must_use]
    pub const fn kind(self) -> FindingKind {
        match self {
            Self::HijackExact
            | Self::HijackSubPrefix
            | Self::HijackSuperPrefix
            | Self::HijackSquat
            | Self::HijackType1
            | Self::HijackTypeN
            | Self::HijackForgedPath => FindingKind::Hijack,
            Self::LeakType1
            | Self::LeakType2
            | Self::LeakType3
            | Self::LeakType4
            | Self::LeakType5
            | Self::LeakType6
            | Self::LeakOtc
            | Self::LeakAspa
            | Self::LeakOwnAs
            | Self::OriginUnregistered
            | Self::NeighbourUnknown => FindingKind::Leak,
            Self::HygieneBogonAsn
            | Self::HygieneAsSet
            | Self::HygieneLoop
            | Self::HygienePathLength
            | Self::HygienePrepend
            | Self::HygienePrefixLength => FindingKind::Hygiene,
            Self::RpkiInvalid | Self::RpkiRoaChanged | Self::RpkiRoaExpiry => FindingKind::Rpki,
            Self::Failover
            | Self::RedundancyLost
            | Self::UpstreamLost
            | Self::SuboptimalEntry
            | Self::SuboptimalEdge
            | Self::SuboptimalOnBackup
            | Self::SuboptimalPathLength
            | Self::SentUnseen
            | Self::SentNoExport => FindingKind::Suboptimal,
            Self::VisibilityLost | Self::VisibilityReduced | Self::Flap => FindingKind::Visibility,
            Self::CollectorLost | Self::VrpsLost => FindingKind::Feed,
            Self::SuboptimalRtt => FindingKind::Suboptimal,
            Self::LatencyShift => FindingKind::Latency,
        }
    }
}

words! {
    /// Azure's words for how bad it is.
    pub enum Severity {
        /// To know.
        Information = "information",
        /// To look at.
        Warning = "warning",
        /// To mend.
        Error = "error",
        /// To mend now.
        Critical = "critical",
    }
}

words! {
    /// How sure the score makes us.
    pub enum Confidence {
        /// A score under 4: suspected.
        Low = "low",
        /// Under 8.
        Medium = "medium",
        /// 8 and more.
        High = "high",
    }
}

impl Confidence {
    /// The confidence that a score gives.
    #[must_use]
    pub fn of(score: f64) -> Self {
        if score < 4.0 {
            Self::Low
        } else if score < 8.0 {
            Self::Medium
        } else {
            Self::High
        }
    }
}

words! {
    /// The types of RFC 7908 §3.
    pub enum LeakType {
        /// From provider to provider.
        Hairpin = "1",
        /// From peer to peer.
        Lateral = "2",
        /// From provider to peer.
        ProviderToPeer = "3",
        /// From peer to provider.
        PeerToProvider = "4",
        /// Announced as its own.
        Reorigination = "5",
        /// A more specific that was not meant for the Internet.
        MoreSpecific = "6",
    }
}

impl LeakType {
    /// Its number in RFC 7908.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Hairpin => 1,
            Self::Lateral => 2,
            Self::ProviderToPeer => 3,
            Self::PeerToProvider => 4,
            Self::Reorigination => 5,
            Self::MoreSpecific => 6,
        }
    }
}

words! {
    /// Whose fault slower round trips are.
    pub enum Blame {
        /// The customer's own network.
        Client = "client",
        /// The connectivity partner: all its connections are slow, and no others.
        Partner = "partner",
        /// The edge: most of what enters there is slow.
        Edge = "edge",
        /// The route, or what lies on it.
        Route = "route",
        /// Too few series to say.
        Unknown = "unknown",
    }
}

words! {
    /// What ROAs say of a route (RFC 6811 §2).
    pub enum RpkiState {
        /// A VRP covers the prefix, names its origin and allows its length.
        Valid = "valid",
        /// VRPs cover the prefix, and none does both.
        Invalid = "invalid",
        /// No VRP covers the prefix.
        NotFound = "not_found",
    }
}

/// What a finding costs in round trips, and where that was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteCost {
    /// Median before.
    pub before_p50_us: u32,
    /// Median after.
    pub after_p50_us: u32,
    /// 95th percentile before.
    pub before_p95_us: u32,
    /// 95th percentile after.
    pub after_p95_us: u32,
    /// Lower end of the 95 % interval of the difference of medians.
    pub shift_low_us: i32,
    /// Upper end of it.
    pub shift_high_us: i32,
    /// Samples measured while it was open.
    pub samples: u64,
    /// Whether it is slower, by all tests.
    pub is_slower: bool,
    /// Last minute that was compared.
    pub minute: Timestamp,
    /// The edge of the series.
    pub edge: Option<Text>,
    /// The path of the series.
    pub path: Option<Text>,
    /// The connectivity partner of the series.
    pub partner: Option<Asn>,
    /// Whether a route of the prefix changed when it began.
    pub is_own_route: bool,
}

/// One peer that holds the route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Witness {
    /// Its collector.
    #[serde(deserialize_with = "pool::text")]
    pub collector: Text,
    /// Its AS number.
    pub peer_asn: Asn,
    /// Its address.
    pub peer_ip: IpAddr,
    /// When it first held the route.
    pub first_seen: Timestamp,
    /// When it last said so.
    pub last_seen: Timestamp,
    /// The path it held before.
    #[serde(deserialize_with = "pool::text_or_none")]
    pub path_before: Option<Text>,
    /// The path it holds.
    #[serde(deserialize_with = "pool::text")]
    pub path_after: Text,
    /// Source of the update.
    #[serde(deserialize_with = "pool::text")]
    pub source: Text,
    /// Record in that source.
    pub source_offset: u64,
}

/// A finding as it stands after a transition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Identity.
    pub id: FindingId,
    /// The rule that fired.
    pub rule: Rule,
    /// How bad it is.
    pub severity: Severity,
    /// Sum of the terms.
    pub score: f64,
    /// The prefix that was seen; none where it is about no prefix.
    pub prefix: Option<Prefix>,
    /// The registered prefix that it touches.
    pub registered_prefix: Option<Prefix>,
    /// The connection that owns it.
    pub connection: Option<ConnectionId>,
    /// Its name.
    #[serde(deserialize_with = "pool::text_or_none")]
    pub connection_name: Option<Text>,
    /// Its tenant.
    #[serde(deserialize_with = "pool::text_or_none")]
    pub tenant: Option<Text>,
    /// Who did it.
    pub culprit: Option<Asn>,
    /// To whom.
    pub victim: Option<Asn>,
    /// Type of the leak.
    pub leak_type: Option<LeakType>,
    /// Distinct AS numbers among the peers that hold the route.
    pub witnesses: u32,
    /// Event time of the opening.
    pub opened_at: Timestamp,
    /// Event time of the end.
    pub closed_at: Option<Timestamp>,
    /// Path of the first witness before.
    pub path_before: Option<Text>,
    /// Path of the first witness after.
    pub path_after: Option<Text>,
    /// RFC 6811's word on its route; none without VRPs.
    pub rpki_state: Option<RpkiState>,
    /// What it costs in round trips; none before that is known.
    pub cost: Option<Box<RouteCost>>,
    /// Why it raises no alert.
    pub muted_by: Option<Text>,
    /// One sentence for a person.
    pub explanation: String,
}

/// One change of a finding, as a shard tells it to `correlate`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    /// Log time of the record or timer that caused it.
    pub log_time: Timestamp,
    /// Event time of what caused it.
    pub time: Timestamp,
    /// What happened.
    pub phase: Phase,
    /// The finding after it.
    pub finding: Finding,
    /// The terms of its score.
    pub terms: Vec<Term>,
    /// The peers that hold the route; bounded, see `witnesses` for their number.
    pub witnesses: Vec<Witness>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confidence_follows_the_bands_of_the_contract() {
        let words = [3.99, 4.0, 7.99, 8.0].map(|score| Confidence::of(score).as_str());
        assert_eq!(words, ["low", "medium", "medium", "high"]);
    }
}
