//! The log: what every fold reads, and the little that goes back to it.
//!
//! Three logs implement these traits: the merged archive (`replay`), the embedded log on local disk,
//! Kafka. A reader of one partition sees the same records in the same order, always.

use std::path::PathBuf;

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
    /// The other side went away.
    #[error("the log was closed before its end")]
    Closed,
}

/// One partition of a log, read in order.
pub trait PartitionReader: Send {
    /// The next batch; none at the end of a log that has one.
    ///
    /// # Errors
    /// [`LogError`]; the batches before it stand.
    fn next(&mut self) -> Result<Option<EventBatch>, LogError>;
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
}

/// What goes back from the folds to the log. `analytics` implements it.
pub trait Progress: Send + Sync {
    /// Where a partition is to be read from.
    fn resume_position(&self, partition: u32) -> u64;

    /// All rows of the records before `offset` are in the lake. Published for lag tools only.
    fn committed(&self, partition: u32, offset: u64, log_time: Timestamp);
}
