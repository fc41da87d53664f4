//! Frames of the embedded log: one append as bytes, with its length and checksum in front.
//!
//! A segment is a file: eight bytes that say what it is, then frames. A frame is the length of its
//! payload, a CRC-32 over sequence and payload, the sequence, all little endian, and the payload: a
//! header with positions and the lengths of the batches, then the batches.

use std::io::{self, Read};

use schemas::batch::EventBatch;
use schemas::batch_ipc::{self, BatchError};
use schemas::log::{Append, Position};
use schemas::tables::Text;
use schemas::time::Timestamp;
use serde::{Deserialize, Serialize};

/// First bytes of a segment.
pub(super) const MAGIC: [u8; 8] = *b"peersc-1";
/// Bytes in front of a payload.
pub(super) const HEADER_BYTES: usize = 16;
/// Longest payload: a bound on what a damaged length can ask for.
pub(super) const PAYLOAD_BYTES_MAX: usize = 256 << 20;

/// What stands in front of the batches of a frame.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Head {
    /// Log time of the append.
    pub log_time: Timestamp,
    /// Partition and bytes of each batch.
    pub batches: Vec<(u32, u32)>,
    /// Offset after the last record, by partition.
    pub next_offsets: Vec<u64>,
    /// Positions that moved; in the first frame of a segment those of all sources.
    pub positions: Vec<(Text, Position)>,
}

/// A frame that was read.
pub(super) struct Frame {
    pub(super) sequence: u64,
    pub(super) head: Head,
    batches: Vec<u8>,
}

/// What stands where a frame is looked for.
pub(super) enum Found {
    /// A whole frame, and its bytes.
    Whole(Box<Frame>, u64),
    /// Nothing: the segment ends here.
    End,
    /// Less than a frame, up to the end of the file: an append that was cut off.
    Torn,
    /// Bytes that are no frame.
    Damaged(String),
}

/// Appends the frame of an append to `out`.
pub(super) fn write(
    append: &Append,
    sequence: u64,
    next_offsets: &[u64],
    positions: Vec<(Text, Position)>,
    out: &mut Vec<u8>,
) -> Result<(), BatchError> {
    let (mut batches, mut lengths) = (Vec::new(), Vec::new());
    for batch in &append.batches {
        let before = batches.len();
        batch_ipc::encode(batch, &mut batches)?;
        let bytes = u32::try_from(batches.len() - before)
            .map_err(|_| BatchError::Malformed { what: "length" })?;
        lengths.push((batch.partition, bytes));
    }
    let head = Head {
        log_time: append.log_time,
        batches: lengths,
        next_offsets: next_offsets.to_vec(),
        positions,
    };
    let head = postcard::to_stdvec(&head)?;
    let head_bytes =
        u32::try_from(head.len()).map_err(|_| BatchError::Malformed { what: "length" })?;
    let payload_bytes = 4 + head.len() + batches.len();
    let length = u32::try_from(payload_bytes)
        .ok()
        .filter(|_| payload_bytes <= PAYLOAD_BYTES_MAX)
        .ok_or(BatchError::Malformed { what: "length" })?;
    let mut crc = crc32fast::Hasher::new();
    for bytes in [&sequence.to_le_bytes()[..], &head_bytes.to_le_bytes(), &head, &batches] {
        crc.update(bytes);
    }
    out.extend(length.to_le_bytes());
    out.extend(crc.finalize().to_le_bytes());
    out.extend(sequence.to_le_bytes());
    out.extend(head_bytes.to_le_bytes());
    out.extend(head);
    out.extend(batches);
    Ok(())
}

/// Reads the next frame; `left` bytes are left in the file.
pub(super) fn read(input: &mut impl Read, left: u64) -> io::Result<Found> {
    if left == 0 {
        return Ok(Found::End);
    }
    let mut header = [0; HEADER_BYTES];
    if left < HEADER_BYTES as u64 {
        return Ok(Found::Torn);
    }
    input.read_exact(&mut header)?;
    let [l0, l1, l2, l3, c0, c1, c2, c3, sequence @ ..] = header;
    let length = u32::from_le_bytes([l0, l1, l2, l3]);
    let wanted_crc = u32::from_le_bytes([c0, c1, c2, c3]);
    let frame_bytes = u64::from(length) + HEADER_BYTES as u64;
    if frame_bytes > left {
        return Ok(Found::Torn);
    }
    let is_last = frame_bytes == left;
    let damaged = |what: String| Ok(if is_last { Found::Torn } else { Found::Damaged(what) });
    let payload_bytes = usize::try_from(length).unwrap_or(usize::MAX);
    if payload_bytes > PAYLOAD_BYTES_MAX {
        return damaged(format!("a record of {length} bytes"));
    }
    let mut payload = vec![0; payload_bytes];
    input.read_exact(&mut payload)?;
    let mut crc = crc32fast::Hasher::new();
    crc.update(&sequence);
    crc.update(&payload);
    if crc.finalize() != wanted_crc {
        return damaged("wrong checksum".to_owned());
    }
    let sequence = u64::from_le_bytes(sequence);
    // The checksum fits: what cannot be read now was written so.
    let Some(frame) = open(sequence, payload) else {
        return Ok(Found::Damaged("a header that cannot be read".to_owned()));
    };
    Ok(Found::Whole(Box::new(frame), frame_bytes))
}

fn open(sequence: u64, mut payload: Vec<u8>) -> Option<Frame> {
    let (head_bytes, rest) = payload.split_first_chunk()?;
    let head_bytes = u32::from_le_bytes(*head_bytes) as usize;
    let head: Head = postcard::from_bytes(rest.get(..head_bytes)?).ok()?;
    let batches = payload.split_off(4 + head_bytes);
    Some(Frame { sequence, head, batches })
}

impl Frame {
    /// The batches of one partition.
    pub(super) fn batches_of(&self, partition: u32) -> Result<Vec<EventBatch>, BatchError> {
        let mut rest = self.batches.as_slice();
        let mut found = Vec::new();
        for (of, bytes) in &self.head.batches {
            let (batch, after) = rest
                .split_at_checked(*bytes as usize)
                .ok_or(BatchError::Malformed { what: "length" })?;
            rest = after;
            if *of == partition {
                found.push(batch_ipc::decode(batch)?);
            }
        }
        Ok(found)
    }
}
