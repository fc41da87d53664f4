//! `ledger`: what became of every record of the input, so that nothing is lost in silence.

use super::{Text, table};
use crate::time::Timestamp;

table! {
    /// What became of one range of the input. `read` is the sum of what follows it.
    pub struct LedgerRow by [time, source, partition, first_offset] {
        /// Last event time of the range
        time: Timestamp,
        /// File, partition of a topic (`topic-partition`), or listener
        source: Text,
        /// Partition of that source, 0 where it has none
        partition: u32,
        /// First record of the range
        first_offset: u64,
        /// Last record of the range
        last_offset: u64,
        /// Route elements or samples read; a damaged record counts as one
        read: u64,
        /// Became part of the log
        accepted: u64,
        /// Touch nothing that is registered
        unmatched: u64,
        /// Came after their window was final
        late: u64,
        /// Kept aside: a time or a value that cannot be
        quarantined: u64,
        /// Could not be read
        refused: u64,
        /// Reasons of what was refused or kept aside with their counts, as `reason=count`
        reasons: Vec<Text>,
    }
}
