//! Event batches: what crosses from ingest to analytics, in columns.
//!
//! A batch is a run of records of one partition of the log, in order. Routes and samples lie in
//! columns; what they share (peers, attribute sets, sources, series) lies once beside them, and the
//! columns hold its index. Control records stand between them in the order in which they count.

use std::net::IpAddr;
use std::sync::Arc;

use crate::bgp::{Disposition, PathAttributes, PeerHeader, Prefix};
use crate::registry::{ConnectionId, Registry};
use crate::sample::Statistic;
use crate::tables::Text;
use crate::time::Timestamp;

/// Declares a row and the columns in which its kind lies: one vector a field, so that a fold reads
/// what it needs and a column becomes an Arrow array without a copy.
macro_rules! columns {
    (
        $(#[$row_meta:meta])*
        pub struct $row:ident;
        $(#[$columns_meta:meta])*
        pub struct $columns:ident {
            $( $(#[$meta:meta])* pub $field:ident: $type:ty, )+
        }
    ) => {
        $(#[$row_meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $row { $( $(#[$meta])* pub $field: $type, )+ }

        $(#[$columns_meta])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $columns { $( $(#[$meta])* pub $field: Vec<$type>, )+ }

        impl $columns {
            /// Rows in it.
            #[must_use]
            pub fn len(&self) -> usize {
                columns!(@first self $($field)+).len()
            }

            /// Whether it has no row.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// Appends a row; its index.
            pub fn push(&mut self, row: $row) -> u32 {
                let index = u32::try_from(self.len()).unwrap_or(u32::MAX);
                $( self.$field.push(row.$field); )+
                index
            }

            /// The row of that index.
            #[must_use]
            pub fn get(&self, index: u32) -> Option<$row> {
                let index = index as usize;
                Some($row { $( $field: *self.$field.get(index)?, )+ })
            }
        }
    };
    (@first $self:ident $first:ident $($rest:ident)*) => { $self.$first };
}

/// What a BGP peer says of a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// It has a route.
    Announce,
    /// It has none any more.
    Withdraw,
}

impl Action {
    /// The word in the column.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Announce => "announce",
            Self::Withdraw => "withdraw",
        }
    }
}

/// One record of the log: when, and in which column it lies at which row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Log time.
    pub log_time: Timestamp,
    /// Where its content is.
    pub content: Content,
}

/// Where a record's content lies in its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Row of [`EventBatch::routes`].
    Route(u32),
    /// Row of [`EventBatch::samples`].
    Sample(u32),
    /// Index of [`EventBatch::controls`].
    Control(u32),
}

columns! {
    /// One route element.
    pub struct RouteEvent;
    /// Route elements in columns.
    pub struct RouteColumns {
        /// When it happened.
        pub event_time: Timestamp,
        /// Index of [`EventBatch::peers`].
        pub peer: u32,
        /// Index of [`EventBatch::sources`].
        pub source: u32,
        /// Record in that source.
        pub source_offset: u64,
        /// What the peer says.
        pub action: Action,
        /// Of which prefix.
        pub prefix: Prefix,
        /// ADD-PATH identifier (RFC 7911).
        pub path_id: Option<u32>,
        /// Index of [`EventBatch::attributes`]; none for a withdrawal.
        pub attributes: Option<u32>,
        /// What RFC 7606 made of the message.
        pub disposition: Disposition,
        /// Whether it comes from a table dump.
        pub is_snapshot: bool,
        /// Whether this copy is the one that makes rows.
        pub writes: bool,
    }
}

columns! {
    /// One sample, matched to its owners by ingest.
    pub struct SampleEvent;
    /// Samples in columns.
    pub struct SampleColumns {
        /// When it was sent.
        pub event_time: Timestamp,
        /// Connection that counts it.
        pub connection: ConnectionId,
        /// Registered prefix that it falls into.
        pub prefix: Prefix,
        /// Index of [`EventBatch::sources`]: who measured.
        pub source: u32,
        /// Input it came from: windows close by the progress of inputs.
        pub input: u32,
        /// Round trip in microseconds; none for a lost probe.
        pub rtt_us: Option<u32>,
        /// What the value is.
        pub statistic: Statistic,
    }
}

/// State of a BGP session as its collector tells it (RFC 4271 §8.2.2 in RFC 6396 §4.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerState {
    /// Established.
    Up,
    /// Any other state after Established.
    Down,
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
            Self::Other(1) => "idle",
            Self::Other(2) => "connect",
            Self::Other(3) => "active",
            Self::Other(4) => "open_sent",
            Self::Other(5) => "open_confirm",
            Self::Other(_) => "unknown",
        }
    }
}

/// Counts of one range of an input, as `ledger` writes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// First record.
    pub first_offset: u64,
    /// Last record.
    pub last_offset: u64,
    /// Elements or samples read, refused records too.
    pub read: u64,
    /// Became part of the log.
    pub accepted: u64,
    /// Touch nothing that is registered.
    pub unmatched: u64,
    /// A time or a value that cannot be.
    pub quarantined: u64,
    /// Could not be read.
    pub refused: u64,
    /// Reasons with their counts.
    pub reasons: Vec<(String, u64)>,
}

/// A record that is neither route nor sample.
#[derive(Clone, Debug)]
pub enum Control {
    /// From here on this version of the registry counts.
    Registry(Arc<Registry>),
    /// Time moves; and every input that is named has passed `until`.
    Tick {
        /// Inputs that moved; empty for a bare tick.
        inputs: Vec<u32>,
        /// Event time that they have passed.
        until: Timestamp,
    },
    /// A session changed.
    Peer {
        /// Index of [`EventBatch::peers`].
        peer: u32,
        /// Its state now.
        state: PeerState,
        /// When.
        event_time: Timestamp,
        /// Index of [`EventBatch::sources`].
        source: u32,
        /// Record in that source.
        source_offset: u64,
        /// Our end, where the format tells it.
        local_ip: Option<IpAddr>,
    },
    /// A table dump of a collector is complete (or an End-of-RIB of all its peers was seen): what is
    /// registered and was not in it has no route there.
    EndOfRib {
        /// The collector.
        collector: Text,
        /// When.
        event_time: Timestamp,
    },
    /// What became of a range of an input.
    Ledger {
        /// Index of [`EventBatch::sources`].
        source: u32,
        /// The counts.
        account: Account,
        /// Last event time of the range.
        event_time: Timestamp,
    },
}

/// A run of records of one partition.
#[derive(Clone, Debug, Default)]
pub struct EventBatch {
    /// The partition.
    pub partition: u32,
    /// Offset of the first record; the others follow without a gap.
    pub first_offset: u64,
    /// The records in order.
    pub records: Vec<Record>,
    /// Route elements.
    pub routes: RouteColumns,
    /// Samples.
    pub samples: SampleColumns,
    /// Control records.
    pub controls: Vec<Control>,
    /// Peers that the routes name.
    pub peers: Vec<Arc<PeerHeader>>,
    /// Attribute sets that the routes share.
    pub attributes: Vec<Arc<PathAttributes>>,
    /// Files, topics, probes that routes and samples name.
    pub sources: Vec<Text>,
}

impl EventBatch {
    /// Offset after its last record.
    #[must_use]
    pub fn end_offset(&self) -> u64 {
        self.first_offset + self.records.len() as u64
    }

    /// The attribute set of a route; none for a withdrawal.
    #[must_use]
    pub fn attributes_of(&self, route: &RouteEvent) -> Option<&Arc<PathAttributes>> {
        self.attributes.get(route.attributes? as usize)
    }
}
