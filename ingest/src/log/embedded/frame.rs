//! Frames of a log on disk: one append as bytes, with its length and checksum in front.
//!
//! A segment is a file: eight bytes that say what it is, then frames. A frame is the length of its
//! payload, a CRC-32 over sequence and payload, the sequence, all little endian, and the payload: the
//! length of its head, the head, the body. What they hold is the business of [`super::events`] and
//! [`super::summaries`].

use std::io::{self, Read};

/// First bytes of a segment.
pub(super) const MAGIC: [u8; 8] = *b"peersc-2";
/// Bytes in front of a payload.
pub(super) const HEADER_BYTES: usize = 16;
/// Where the sequence stands in a frame.
pub(super) const SEQUENCE_AT: usize = 8;
/// Longest payload: a bound on what a damaged length can ask for.
pub(super) const PAYLOAD_BYTES_MAX: usize = 256 << 20;

/// A frame that was read.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) sequence: u64,
    /// What stands in front.
    pub(super) head: Vec<u8>,
    /// What it is about.
    pub(super) body: Vec<u8>,
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

/// Appends a frame to `out`; false if it is longer than a frame can be.
pub(super) fn write(sequence: u64, head: &[u8], body: &[u8], out: &mut Vec<u8>) -> bool {
    let payload_bytes = 4 + head.len() + body.len();
    let length = u32::try_from(payload_bytes).ok().filter(|_| payload_bytes <= PAYLOAD_BYTES_MAX);
    let (Some(length), Ok(head_bytes)) = (length, u32::try_from(head.len())) else { return false };
    let mut crc = crc32fast::Hasher::new();
    for bytes in [&sequence.to_le_bytes()[..], &head_bytes.to_le_bytes(), head, body] {
        crc.update(bytes);
    }
    out.extend(length.to_le_bytes());
    out.extend(crc.finalize().to_le_bytes());
    out.extend(sequence.to_le_bytes());
    out.extend(head_bytes.to_le_bytes());
    out.extend(head);
    out.extend(body);
    true
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
    if header == [0; HEADER_BYTES] {
        // After a loss of power a file may be longer than what of it was written.
        let mut rest = Vec::new();
        input.read_to_end(&mut rest)?;
        return Ok(match rest.iter().all(|byte| *byte == 0) {
            true => Found::Torn,
            false => Found::Damaged("zeros where a record should be".to_owned()),
        });
    }
    let [l0, l1, l2, l3, c0, c1, c2, c3, sequence @ ..] = header;
    let length = u32::from_le_bytes([l0, l1, l2, l3]);
    let wanted_crc = u32::from_le_bytes([c0, c1, c2, c3]);
    let frame_bytes = u64::from(length) + HEADER_BYTES as u64;
    let payload_bytes = usize::try_from(length).unwrap_or(usize::MAX);
    if payload_bytes > PAYLOAD_BYTES_MAX {
        return Ok(Found::Damaged(format!("a record of {length} bytes")));
    }
    if frame_bytes > left {
        return Ok(Found::Torn);
    }
    let is_last = frame_bytes == left;
    let damaged = |what: String| Ok(if is_last { Found::Torn } else { Found::Damaged(what) });
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
    let head = rest.get(..head_bytes)?.to_vec();
    let body = payload.split_off(4 + head_bytes);
    Some(Frame { sequence, head, body })
}

/// Reads the head of the frame that comes next, and not its body: its checksum is not looked at.
pub(super) fn peek(input: &mut impl Read, left: u64) -> io::Result<Option<Vec<u8>>> {
    let mut front = [0; HEADER_BYTES + 4];
    if left < front.len() as u64 {
        return Ok(None);
    }
    input.read_exact(&mut front)?;
    let [.., h0, h1, h2, h3] = front;
    let head_bytes = u32::from_le_bytes([h0, h1, h2, h3]);
    if u64::from(head_bytes) > left - front.len() as u64 {
        return Ok(None);
    }
    let mut head = vec![0; head_bytes as usize];
    input.read_exact(&mut head)?;
    Ok(Some(head))
}
