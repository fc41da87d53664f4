//! Event batches: what crosses from ingest to analytics, in columns.
//!
//! A batch is a run of records of one partition of the log, in order. Routes and samples lie in
//! columns; what they share (messages, peers, attribute sets, sources) lies once beside them, and
//! the columns hold its index. Control records stand between them in the order in which they count.
//! What follows each other and is of one kind and one log time is one [`Run`].

mod account;
mod control;
mod split;

use std::num::NonZeroU32;
use std::sync::Arc;

use crate::bgp::{Disposition, PathAttributes, PeerHeader, Prefix};
use crate::registry::ConnectionId;
use crate::sample::Statistic;
use crate::tables::Text;
use crate::time::Timestamp;

pub use account::Account;
pub use control::{Control, PeerState};

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

            /// Columns with room for so many rows.
            #[must_use]
            pub fn with_capacity(rows: usize) -> Self {
                Self { $( $field: Vec::with_capacity(rows), )+ }
            }

            /// Appends a row; its index.
            #[inline]
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

/// Records of the log that follow each other: of one kind, at one log time, in rows that follow
/// each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Log time of all of them.
    pub log_time: Timestamp,
    /// Where the content of the first one is; the others lie behind it.
    pub first: Content,
    /// How many.
    pub count: u32,
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

impl Content {
    /// The content that lies `count` rows behind it.
    const fn behind(self, count: u32) -> Self {
        match self {
            Self::Route(row) => Self::Route(row + count),
            Self::Sample(row) => Self::Sample(row + count),
            Self::Control(index) => Self::Control(index + count),
        }
    }
}

columns! {
    /// What the route elements of one message share.
    pub struct MessageEvent;
    /// Messages in columns.
    pub struct MessageColumns {
        /// When it happened.
        pub event_time: Timestamp,
        /// The router's own time; none where the format has none.
        pub router_time: Option<Timestamp>,
        /// Index of [`EventBatch::peers`].
        pub peer: u32,
        /// Index of [`EventBatch::sources`].
        pub source: u32,
        /// Record in that source.
        pub source_offset: u64,
        /// Index of [`EventBatch::attributes`], of what is announced; none where nothing is.
        pub attributes: Option<u32>,
        /// What RFC 7606 made of the message.
        pub disposition: Disposition,
        /// Whether it comes from a table dump.
        pub is_snapshot: bool,
    }
}

columns! {
    /// One route element.
    pub struct RouteEvent;
    /// Route elements in columns.
    pub struct RouteColumns {
        /// Row of [`EventBatch::messages`].
        pub message: u32,
        /// What the peer says.
        pub action: Action,
        /// Of which prefix.
        pub prefix: Prefix,
        /// ADD-PATH identifier (RFC 7911).
        pub path_id: Option<u32>,
        /// Whether this copy is the one that makes rows.
        pub writes: bool,
    }
}

columns! {
    /// What samples share: they count for one connection, on one prefix, from one source.
    pub struct SeriesEvent;
    /// Series in columns.
    pub struct SeriesColumns {
        /// Connection that counts the samples.
        pub connection: ConnectionId,
        /// Registered prefix that they fall into.
        pub prefix: Prefix,
        /// Index of [`EventBatch::sources`]: who measured.
        pub source: u32,
        /// Input they came from: windows close by the progress of inputs.
        pub input: u32,
        /// What the values are.
        pub statistic: Statistic,
    }
}

columns! {
    /// One sample, matched to its owner by ingest.
    pub struct SampleEvent;
    /// Samples in columns.
    pub struct SampleColumns {
        /// When it was sent.
        pub event_time: Timestamp,
        /// Row of [`EventBatch::series`].
        pub series: u32,
        /// Round trip in microseconds; none for a lost probe.
        pub rtt_us: Option<NonZeroU32>,
    }
}

/// A run of records of one partition.
#[derive(Clone, Debug, Default)]
pub struct EventBatch {
    /// The partition.
    pub partition: u32,
    /// Offset of the first record; the others follow without a gap.
    pub first_offset: u64,
    /// Whether its inputs are live: its rows were received when they entered the log.
    pub is_live: bool,
    /// Version of the registry that matched it, whose numbers its series have; 0 where it had none.
    pub registry_version: u32,
    /// Records in it.
    len: u64,
    /// Offset after it in a log that counts batches; none where records are counted.
    end: Option<u64>,
    /// The records in order.
    runs: Vec<Run>,
    /// What route elements share.
    pub messages: MessageColumns,
    /// Route elements.
    pub routes: RouteColumns,
    /// What samples share.
    pub series: SeriesColumns,
    /// Samples.
    pub samples: SampleColumns,
    /// Control records.
    pub controls: Vec<Control>,
    /// Peers that messages and control records name.
    pub peers: Vec<Arc<PeerHeader>>,
    /// Attribute sets that messages share.
    pub attributes: Vec<Arc<PathAttributes>>,
    /// Files, topics, probes that routes and samples name.
    pub sources: Vec<Text>,
}

impl EventBatch {
    /// An empty batch of a partition that begins at an offset.
    #[must_use]
    pub fn starting(partition: u32, first_offset: u64, is_live: bool) -> Self {
        Self { partition, first_offset, is_live, ..Self::default() }
    }

    /// The batch behind this one, empty, with room for as much as this one has.
    #[must_use]
    pub fn following(&self) -> Self {
        Self {
            messages: MessageColumns::with_capacity(self.messages.len()),
            routes: RouteColumns::with_capacity(self.routes.len()),
            attributes: Vec::with_capacity(self.attributes.len()),
            series: SeriesColumns::with_capacity(self.series.len()),
            samples: SampleColumns::with_capacity(self.samples.len()),
            registry_version: self.registry_version,
            ..Self::starting(self.partition, self.end_offset(), self.is_live)
        }
    }

    /// Records in it: each route element, sample and control record is one.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Offset after its last record.
    #[must_use]
    pub const fn end_offset(&self) -> u64 {
        match self.end {
            Some(end) => end,
            None => self.first_offset + self.len,
        }
    }

    /// Puts the batch where its log has it: from `first_offset` to before `end`, all of it at one log
    /// time. Of a log that counts batches, not records.
    pub fn place(&mut self, first_offset: u64, end: u64, log_time: Timestamp) {
        self.first_offset = first_offset;
        self.end = Some(end);
        let runs = std::mem::take(&mut self.runs);
        self.len = 0;
        runs.into_iter().for_each(|run| self.append_run(Run { log_time, ..run }));
    }

    /// The records in order.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Log time of the first record and of the last one.
    #[must_use]
    pub fn log_times(&self) -> Option<(Timestamp, Timestamp)> {
        Some((self.runs.first()?.log_time, self.runs.last()?.log_time))
    }

    /// Appends a record whose content was placed.
    #[inline]
    pub fn append(&mut self, log_time: Timestamp, content: Content) {
        self.append_run(Run { log_time, first: content, count: 1 });
    }

    /// Appends records whose contents were placed.
    #[inline]
    pub fn append_run(&mut self, run: Run) {
        self.len += u64::from(run.count);
        if let Some(last) = self.runs.last_mut()
            && last.log_time == run.log_time
            && last.first.behind(last.count) == run.first
        {
            last.count += run.count;
        } else {
            self.runs.push(run);
        }
    }

    /// Appends the route elements of one message: `place` puts what each says into the columns
    /// `action`, `prefix` and `path_id`, and the other columns follow.
    #[inline]
    pub fn append_routes(
        &mut self,
        log_time: Timestamp,
        message: u32,
        writes: bool,
        place: impl FnOnce(&mut RouteColumns),
    ) {
        let routes = &mut self.routes;
        let first = routes.message.len();
        place(routes);
        let rows = routes.prefix.len();
        routes.message.resize(rows, message);
        routes.writes.resize(rows, writes);
        let index = |rows: usize| u32::try_from(rows).unwrap_or(u32::MAX);
        let count = index(rows - first);
        if count > 0 {
            self.append_run(Run { log_time, first: Content::Route(index(first)), count });
        }
    }

    /// Appends samples of one log time: `place` puts them into the columns, of equal lengths.
    #[inline]
    pub fn append_samples(&mut self, log_time: Timestamp, place: impl FnOnce(&mut SampleColumns)) {
        let first = self.samples.len();
        place(&mut self.samples);
        let index = |rows: usize| u32::try_from(rows).unwrap_or(u32::MAX);
        let count = index(self.samples.len() - first);
        if count > 0 {
            self.append_run(Run { log_time, first: Content::Sample(index(first)), count });
        }
    }

    /// Whether files are closed behind it, and whether the state is kept there: what
    /// [`Control::Commit`] says at its end.
    #[must_use]
    pub fn commit(&self) -> Option<bool> {
        match (self.runs.last()?.first, self.controls.last()?) {
            (Content::Control(_), Control::Commit { snapshot }) => Some(*snapshot),
            _ => None,
        }
    }

    /// What the route elements of a message share.
    #[must_use]
    pub fn message_of(&self, route: &RouteEvent) -> Option<MessageEvent> {
        self.messages.get(route.message)
    }

    /// The attribute set of a message; none where nothing is announced.
    #[must_use]
    pub fn attributes_of(&self, message: &MessageEvent) -> Option<&Arc<PathAttributes>> {
        self.attributes.get(message.attributes? as usize)
    }
}

#[cfg(test)]
mod tests;
