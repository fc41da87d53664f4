//! The log: what every fold reads, and the little that goes back to it.
//!
//! Three logs implement these traits: the merged archive (`replay`), the embedded log on local disk,
//! Kafka. A reader of one partition sees the same records in the same order, always.

use crate::batch::EventBatch;
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

/// What goes back from the folds to the log. `analytics` implements it.
pub trait Progress: Send + Sync {
    /// Where a partition is to be read from.
    fn resume_position(&self, partition: u32) -> u64;

    /// All rows of the records before `offset` are in the lake. Published for lag tools only.
    fn committed(&self, partition: u32, offset: u64, log_time: Timestamp);
}
