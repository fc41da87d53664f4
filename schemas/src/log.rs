//! The log: what every fold reads, and the little that goes back to it.
//!
//! Three logs implement these traits: the merged archive (`replay`), the embedded log on local disk,
//! Kafka. A reader of one partition sees the same records in the same order, always.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::batch::EventBatch;
use crate::tables::Text;
use crate::time::Timestamp;

/// Why a log cannot be read on. One variant per remedy.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// An input could not be read: the disk, the rights.
    #[error("{source_name}: {error}")]
    Input {
        /// The input.
        source_name: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// The disk does not take the log.
    #[error("{path}: {error}", path = path.display())]
    Disk {
        /// File or folder.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// What was durable once cannot be read any more.
    #[error(
        "{path}: damaged at byte {offset} ({what}), with further records behind it: this is no torn \
         end, the disk lost data; restore the file from a copy, or move the log away and start a new \
         one with a new lake",
        path = path.display()
    )]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// The log has reached its bound.
    #[error(
        "{path}: the log holds {bytes} bytes, [log] bytes_max is {bytes_max}; raise it, or start a \
         new log with a new lake",
        path = path.display()
    )]
    Full {
        /// The log.
        path: PathBuf,
        /// What it holds.
        bytes: u64,
        /// What it may.
        bytes_max: u64,
    },
    /// Another process writes this log.
    #[error("{path}: another peerscope writes this log; stop it or take another [log] path", path = path.display())]
    Busy {
        /// The log.
        path: PathBuf,
    },
    /// The log was made with other settings.
    #[error("{path}: {what}", path = path.display())]
    Mismatch {
        /// The log.
        path: PathBuf,
        /// What does not fit, and what to do.
        what: String,
    },
    /// A fold wants records that the log has let go.
    #[error(
        "{path}: partition {partition} is wanted from offset {wanted} and begins at {first}: the \
         snapshots of the lake are older than the log; restore the lake or the log from a copy, or \
         start a new log with a new lake",
        path = path.display()
    )]
    Released {
        /// The log.
        path: PathBuf,
        /// The partition.
        partition: u32,
        /// Where the fold would go on.
        wanted: u64,
        /// What the log has first.
        first: u64,
    },
    /// Brokers do not answer, or do not let us.
    #[error("kafka {brokers}: {what}")]
    Brokers {
        /// Those that were asked.
        brokers: String,
        /// What went wrong, and what to do.
        what: String,
    },
    /// A topic is not what the log needs.
    #[error("topic {topic}: {what}")]
    Topic {
        /// Its name.
        topic: String,
        /// What does not fit, and what to do.
        what: String,
    },
    /// Another process took over what this one wrote.
    #[error("{what}")]
    Fenced {
        /// Who, as far as it is known, and what to do.
        what: String,
    },
    /// What was read once is not in the log any more.
    #[error(
        "topic {topic}, partition {partition}: it ends at {end}, and the lake holds what was read up to \
         {resume}: the brokers lost records that they had acknowledged (an unclean leader election, or \
         a topic made anew); start a new lake, or restore the topic"
    )]
    Receded {
        /// The topic.
        topic: String,
        /// The partition of it.
        partition: u32,
        /// Where it was to be read from.
        resume: u64,
        /// Where it ends.
        end: u64,
    },
    /// The other side went away.
    #[error("the log was closed before its end")]
    Closed,
}

impl LogError {
    /// Whether a service that is needed does not answer.
    #[must_use]
    pub const fn is_down(&self) -> bool {
        matches!(self, Self::Brokers { .. })
    }

    /// Whether what is configured does not fit what is there.
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        matches!(self, Self::Mismatch { .. } | Self::Topic { .. })
    }
}

/// One partition of a log, read in order.
pub trait PartitionReader: Send {
    /// The next batch; none at the end of a log that has one.
    ///
    /// # Errors
    /// [`LogError`]; the batches before it stand.
    fn next(&mut self) -> Result<Option<EventBatch>, LogError>;

    /// Goes back, or on, to where a fold stands: another writer was faster, and its files count.
    ///
    /// # Errors
    /// [`LogError::Closed`] for a log that is read once.
    fn seek(&mut self, _to: Resume) -> Result<(), LogError> {
        Err(LogError::Closed)
    }
}

/// Where a fold of one partition stands, and what it knows there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resume {
    /// The next offset that it wants.
    pub offset: u64,
    /// Log time that it has reached.
    pub log_time: Timestamp,
    /// Version of the registry that is in force; 0 before the first one.
    pub registry_version: u32,
}

/// A log of numbered partitions.
pub trait Log {
    /// The reader of a partition.
    type Reader: PartitionReader;

    /// Content-based identity: equal for the same inputs, settings and number of partitions.
    fn identity(&self) -> &str;

    /// How many partitions it has.
    fn partitions(&self) -> u32;

    /// Reads one partition from an offset on. Each partition is read once.
    ///
    /// # Errors
    /// [`LogError`] if it cannot be opened.
    fn read(&mut self, partition: u32, from: u64) -> Result<Self::Reader, LogError>;
}

/// Where an input is, and what its next bytes need: enough to go on where the log ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Record of the source that comes next.
    pub next_offset: u64,
    /// Plain bytes of it that are in the log; 0 for sources that do not count bytes.
    pub bytes: u64,
    /// Whether it was read to its end.
    pub is_done: bool,
    /// Decode state of its session (peers, width of AS numbers, ADD-PATH), as the session wrote it.
    pub session: Vec<u8>,
}

/// What is appended at once: all of it becomes part of the log, or nothing.
#[derive(Debug, Default)]
pub struct Append {
    /// Log time of all of it.
    pub log_time: Timestamp,
    /// Batches, those of one partition in offset order.
    pub batches: Vec<EventBatch>,
    /// Positions that moved, by source.
    pub positions: Vec<(Text, Position)>,
}

/// The writing end of a log.
pub trait Publisher {
    /// Appends. What was appended is read only once it is durable.
    ///
    /// # Errors
    /// [`LogError`]; then nothing of it is in the log.
    fn append(&mut self, append: &Append) -> Result<(), LogError>;

    /// Makes everything appended durable, and lets it be read.
    ///
    /// # Errors
    /// [`LogError`]; then it is not known what is durable, and the log takes no more.
    fn sync(&mut self) -> Result<(), LogError>;

    /// Whether the log has reached its bound: what can wait is to wait until segments are let go.
    /// Ticks and the records that close files are taken still.
    fn is_full(&self) -> bool {
        false
    }
}

/// What a shard told about the records up to an offset: opaque to the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SummaryEntry {
    /// The partition of `events` that it is about.
    pub partition: u32,
    /// Offset after the last record of that partition that it answers for.
    pub end: u64,
    /// What was told.
    pub bytes: Vec<u8>,
}

/// The writing end of `summaries`: one durable partition, in which every shard tells.
pub trait Summaries: Send + Sync {
    /// Takes an entry; those of one partition in the order of their offsets. It is durable at the
    /// latest when a later [`Summaries::sync`] returns.
    ///
    /// # Errors
    /// [`LogError`]; then the log takes no more.
    fn tell(&self, entry: SummaryEntry) -> Result<(), LogError>;

    /// Waits until everything that was told before is durable.
    ///
    /// # Errors
    /// [`LogError`]; then it is not known what is durable.
    fn sync(&self) -> Result<(), LogError>;
}

/// What comes next in `summaries`.
#[derive(Debug)]
pub enum NextSummary {
    /// An entry, and the position after it.
    Entry(u64, SummaryEntry),
    /// Nothing within the time that was given.
    Idle,
    /// Nothing, ever: every shard has ended.
    End,
}

/// The reading end of `summaries`, in one order for every reader.
pub trait SummaryReader: Send {
    /// The next entry that is durable; waits for one as long as it is told.
    ///
    /// # Errors
    /// [`LogError`]; the entries before it stand.
    fn next(&mut self, wait: Duration) -> Result<NextSummary, LogError>;

    /// Goes to the entry after a position.
    ///
    /// # Errors
    /// [`LogError::Closed`] for what is read once.
    fn seek(&mut self, _from: u64) -> Result<(), LogError> {
        Err(LogError::Closed)
    }
}

/// What goes back from the folds to the log. The log implements it.
pub trait Progress: Send + Sync {
    /// All rows of the records before `offset` are in the lake. Published for lag tools only.
    fn committed(&self, partition: u32, offset: u64, log_time: Timestamp);

    /// Nobody will ask for the records of a partition before `offset` again: they lie behind its
    /// last two snapshots.
    fn release_before(&self, partition: u32, offset: u64);

    /// As [`Progress::release_before`], for the entries of `summaries` before a position.
    fn release_summaries_before(&self, position: u64);
}
