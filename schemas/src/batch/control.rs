//! Control records: what stands between routes and samples, in the order in which it counts.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Account;
use crate::bgp::Family;
use crate::reference::ReferenceSet;
use crate::registry::Registry;
use crate::tables::Text;
use crate::time::Timestamp;

/// What happened to a BGP session as its collector tells it (RFC 4271 §8.2.2 in RFC 6396 §4.4.1;
/// RFC 7854 §4.9, §4.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PeerState {
    /// Established.
    Up,
    /// Any other state after Established: its routes are gone.
    Down,
    /// It has sent all it had of that family (RFC 4724 §2): what is still stale is gone.
    EndOfRib(Family),
    /// Who tells of it fell silent: its routes are as they were last heard, or gone, or not.
    Stale,
    /// A step between two states that are both not Established, by its code.
    Other(u16),
}

impl PeerState {
    /// The word in the column `state`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::EndOfRib(_) => "end_of_rib",
            Self::Stale => "stale",
            Self::Other(1) => "idle",
            Self::Other(2) => "connect",
            Self::Other(3) => "active",
            Self::Other(4) => "open_sent",
            Self::Other(5) => "open_confirm",
            Self::Other(_) => "unknown",
        }
    }
}

/// A record that is neither route nor sample.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Control {
    /// From here on this version of the registry counts, and these settings.
    Registry {
        /// What is ours.
        #[serde(with = "crate::registry::as_json")]
        registry: Arc<Registry>,
        /// Settings of the folds as JSON; none: those that the fold was started with.
        settings: Option<Text>,
    },
    /// What was told before it is to be in the lake now: files are closed here. Last in its batch.
    Commit {
        /// Whether the state of the folds is to be kept, too: they may begin here the next time.
        snapshot: bool,
    },
    /// Time moves; and every input that is named has passed `until`.
    Tick {
        /// Inputs that moved; empty for a bare tick.
        inputs: Vec<u32>,
        /// Event time that they have passed.
        until: Timestamp,
    },
    /// A session changed.
    Peer {
        /// Index of [`EventBatch::peers`](super::EventBatch::peers).
        peer: u32,
        /// Its state now.
        state: PeerState,
        /// When.
        event_time: Timestamp,
        /// Index of [`EventBatch::sources`](super::EventBatch::sources).
        source: u32,
        /// Record in that source.
        source_offset: u64,
        /// The router's end, where the format tells it.
        local_ip: Option<IpAddr>,
        /// Why, where the format tells it.
        reason: Option<Text>,
        /// Prefixes that the router had accepted of it, by its newest statistics.
        prefixes_accepted: Option<u64>,
    },
    /// A table dump of a collector is complete (or an End-of-RIB of all its peers was seen): what is
    /// registered and was not in it has no route there.
    EndOfRib {
        /// The collector.
        collector: Text,
        /// When.
        event_time: Timestamp,
    },
    /// Who tells of these peers begins anew, after a restart: what is held of them is as it was last
    /// heard, or gone, or not.
    Stale {
        /// The collector whose peers they are.
        collector: Text,
        /// When.
        event_time: Timestamp,
    },
    /// A span in which an input was not heard, or lost something.
    FeedGap {
        /// Index of [`EventBatch::sources`](super::EventBatch::sources).
        source: u32,
        /// Its collector, where it has one.
        collector: Option<Text>,
        /// Last word before.
        started_at: Timestamp,
        /// First word after; none while silent.
        ended_at: Option<Timestamp>,
        /// What was missed, as far as it can be told.
        reason: Text,
        /// Messages that are known to be lost.
        lost: Option<u64>,
    },
    /// What became of a range of an input.
    Ledger {
        /// Index of [`EventBatch::sources`](super::EventBatch::sources).
        source: u32,
        /// The counts.
        account: Account,
        /// Last event time of the range.
        event_time: Timestamp,
    },
    /// From here on these reference data count.
    Reference(ReferenceSet),
}
