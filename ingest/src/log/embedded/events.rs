//! What a frame of `events` holds: the batches of one append, and the positions that moved with them.

use std::collections::VecDeque;

use schemas::batch::EventBatch;
use schemas::batch_ipc::{self, BatchError};
use schemas::log::{Append, Position};
use schemas::tables::Text;
use schemas::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::frame::Frame;

/// What stands in front of the batches of a frame.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Head {
    /// Log time of the append.
    pub(super) log_time: Timestamp,
    /// Partition and bytes of each batch.
    pub(super) batches: Vec<(u32, u32)>,
    /// Offset after the last record, by partition.
    pub(super) next_offsets: Vec<u64>,
    /// Positions that moved; in the first frame of a segment those of all sources.
    pub(super) positions: Vec<(Text, Position)>,
}

/// Head and body of the frame of an append.
pub(super) fn encode(
    append: &Append,
    next_offsets: &[u64],
    positions: Vec<(Text, Position)>,
) -> Result<(Vec<u8>, Vec<u8>), BatchError> {
    let (mut body, mut lengths) = (Vec::new(), Vec::new());
    for batch in &append.batches {
        let before = body.len();
        batch_ipc::encode(batch, &mut body)?;
        let bytes = u32::try_from(body.len() - before)
            .map_err(|_| BatchError::Malformed { what: "length" })?;
        lengths.push((batch.partition, bytes));
    }
    let head = Head {
        log_time: append.log_time,
        batches: lengths,
        next_offsets: next_offsets.to_vec(),
        positions,
    };
    Ok((postcard::to_stdvec(&head)?, body))
}

/// The head of a frame.
pub(super) fn head_of(head: &[u8]) -> Result<Head, BatchError> {
    Ok(postcard::from_bytes(head)?)
}

/// The batches of a frame, of one partition or of all.
pub(super) fn batches_of(
    frame: &Frame,
    partition: Option<u32>,
) -> Result<VecDeque<EventBatch>, BatchError> {
    let mut rest = frame.body.as_slice();
    let mut found = VecDeque::new();
    for (of, bytes) in &head_of(&frame.head)?.batches {
        let (batch, after) = rest
            .split_at_checked(*bytes as usize)
            .ok_or(BatchError::Malformed { what: "length" })?;
        rest = after;
        if partition.is_none_or(|partition| *of == partition) {
            found.push_back(batch_ipc::decode(batch)?);
        }
    }
    Ok(found)
}
