//! Progress: how far partitions are in the lake, for tools that show how far a group is behind.
//!
//! Brokers keep what they have by time, and nothing is let go by us.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use schemas::killpoint::{self, KillPoint};
use schemas::log::Progress;
use schemas::time::Timestamp;

/// What was told and not published yet.
#[derive(Debug, Default)]
pub struct KafkaProgress(Mutex<BTreeMap<u32, u64>>);

impl KafkaProgress {
    /// How far a partition is, if that moved.
    pub(super) fn take(&self, partition: u32) -> Option<u64> {
        let offset = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&partition);
        if offset.is_some() {
            killpoint::reach(KillPoint::OffsetPublish);
        }
        offset
    }
}

impl Progress for KafkaProgress {
    fn committed(&self, partition: u32, offset: u64, _log_time: Timestamp) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(partition, offset);
    }

    fn release_before(&self, _partition: u32, _offset: u64) {}

    fn release_summaries_before(&self, _position: u64) {}
}
