//! Incidents and silences: what is injected, and the labels by which a verdict is graded.
//!
//! An [`Incident`] must be found, a [`Silence`] must not be. Both are data: the same
//! [`Injection`]s drive the routes ([`super::timeline`]) and the same [`Effect`]s the round trips
//! ([`super::rtt`]), so label and injection cannot drift apart. Nothing here decides what a
//! detector ought to have known.
//!
//! The demo's own list is [`super::story`].

use std::net::Ipv4Addr;

use schemas::bgp::{Asn, Prefix};
use schemas::time::TimeWindow;

/// What kind of trouble was injected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IncidentKind {
    /// Another AS announces exactly a registered prefix.
    OriginHijack,
    /// Another AS announces a part of a registered prefix, its path ends in the innocent owner.
    ForgedSubPrefix,
    /// A customer passes a route of one provider to another.
    RouteLeak,
    /// The primary upstream goes, the backup carries, the primary returns.
    PrimaryLost,
    /// Traffic enters far from the nearest edge.
    WrongEntry,
}

impl IncidentKind {
    /// A word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OriginHijack => "origin_hijack",
            Self::ForgedSubPrefix => "forged_sub_prefix",
            Self::RouteLeak => "route_leak",
            Self::PrimaryLost => "primary_lost",
            Self::WrongEntry => "wrong_entry",
        }
    }

    /// The rules of findings that name it rightly, the best first.
    #[must_use]
    pub const fn rules(self) -> &'static [&'static str] {
        match self {
            Self::OriginHijack => &["hijack_exact"],
            Self::ForgedSubPrefix => &["hijack_type_1", "hijack_forged_path", "hijack_sub_prefix"],
            Self::RouteLeak => &["leak_own_as", "leak_type_1"],
            Self::PrimaryLost => &["failover"],
            Self::WrongEntry => &["suboptimal_entry"],
        }
    }
}

/// One thing that happens to the routes while an incident or a silence lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Injection {
    /// An AS announces a prefix, besides whoever else does.
    Announce {
        /// What.
        prefix: Prefix,
        /// Who really does.
        origin: Asn,
        /// What it writes behind its own number, the pretended origin last.
        forged_tail: Vec<Asn>,
    },
    /// An AS passes on to everybody what it heard of these prefixes.
    Leak {
        /// Who.
        leaker: Asn,
        /// Of which registered prefixes.
        prefixes: Vec<Prefix>,
        /// And of how many of the background's.
        background: u32,
    },
    /// The owner announces its prefixes to other neighbours than before.
    Reroute {
        /// Which prefixes.
        prefixes: Vec<Prefix>,
        /// The neighbours that hear them now.
        via: Vec<Asn>,
    },
    /// The owner takes its prefixes back.
    Withdraw {
        /// Which prefixes.
        prefixes: Vec<Prefix>,
    },
    /// The collector's session with a peer goes down at the start and is up again at the end.
    SessionDown {
        /// The peer's address.
        peer: Ipv4Addr,
    },
    /// The collector's session with a peer, down before, comes up at the start.
    SessionUp {
        /// The peer's address.
        peer: Ipv4Addr,
    },
}

/// What becomes of the samples while an incident lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effect {
    /// Samples with an address in here are concerned.
    pub prefix: Prefix,
    /// How many of a thousand of them are diverted.
    pub share_permille: u32,
    /// How many of a thousand of the diverted are lost.
    pub lost_permille: u32,
    /// How much longer the rest takes.
    pub extra_us: u32,
}

/// One injected trouble: the label of a grading, and how it is injected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// What it is.
    pub kind: IncidentKind,
    /// From the first cause to the first remedy; routes follow within half a minute.
    pub window: TimeWindow,
    /// Whose prefix it concerns.
    pub connection: String,
    /// The prefix that is announced, leaked or moved.
    pub prefix: Prefix,
    /// The registered prefix that it is, or lies in.
    pub registered_prefix: Prefix,
    /// Who did it, if an AS did.
    pub culprit: Option<Asn>,
    /// Whose number was abused or whose routes were hurt.
    pub victim: Asn,
    /// What happens to routes and sessions.
    pub injections: Vec<Injection>,
    /// What happens to the samples.
    pub effects: Vec<Effect>,
    /// One sentence for a reader.
    pub story: &'static str,
}

/// What kind of news must not alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SilenceKind {
    /// A session that is established under DENY ALL and accepts no route.
    DenyAll,
    /// A withdrawal on a connection in `PendingRemove`.
    PendingRemove,
    /// A second origin that belongs to the same company.
    SiblingOrigin,
    /// A public vantage point's session that goes and returns; the routes stand elsewhere.
    VantageReset,
}

impl SilenceKind {
    /// A word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DenyAll => "deny_all",
            Self::PendingRemove => "pending_remove",
            Self::SiblingOrigin => "sibling_origin",
            Self::VantageReset => "vantage_reset",
        }
    }
}

/// One piece of news that looks like trouble and is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silence {
    /// What it is.
    pub kind: SilenceKind,
    /// When.
    pub window: TimeWindow,
    /// Whose connection it concerns; none for the collector's own.
    pub connection: Option<String>,
    /// Which prefix it concerns.
    pub prefix: Option<Prefix>,
    /// What happens to routes and sessions.
    pub injections: Vec<Injection>,
    /// Why nobody is to be woken.
    pub why: &'static str,
}
