//! MRT files: one whole record at a time, with a look at the one after it.
//!
//! Damage is told with its offset, and every whole record before it counts. Whether that is the end
//! of the file is for the reader to say: [`MrtStream::skip_damage`] finds what comes behind.

use std::io::{self, Read};

use schemas::time::Timestamp;

use crate::decode::DecodeError;
use crate::decode::mrt::{self, Frame, MrtRecord};

/// Bytes asked of the decompressor at once.
const READ_BYTES: usize = 1 << 20;
/// Bytes without any record after which the rest of a file is given up.
const DAMAGE_BYTES_MAX: u64 = 64 << 20;

/// Why a file ends before its end.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// Bytes that are no record.
    #[error("damaged at offset {offset}: {error}")]
    Record {
        /// Offset of the record in the plain bytes.
        offset: u64,
        /// What is wrong with it.
        error: DecodeError,
    },
    /// The file ends inside a record.
    #[error("cut off at offset {offset}: a record of {wanted} bytes has only {left}")]
    Truncated {
        /// Offset of the record in the plain bytes.
        offset: u64,
        /// Bytes it should have.
        wanted: usize,
        /// Bytes that are there.
        left: usize,
    },
    /// The compressed stream is damaged.
    #[error("the compressed data is damaged after {offset} plain bytes: {error}")]
    Compression {
        /// Plain bytes that came out before.
        offset: u64,
        /// What the decompressor said.
        error: io::Error,
    },
}

impl Damage {
    /// The reason in `ledger`: a closed set.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Record { .. } => "damaged",
            Self::Truncated { .. } => "truncated",
            Self::Compression { .. } => "compression",
        }
    }
}

/// Reads MRT records out of plain bytes.
pub struct MrtStream<R> {
    reader: R,
    buffer: Vec<u8>,
    start: usize,
    offset: u64,
    ended: Option<Option<io::Error>>,
}

impl<R: Read> MrtStream<R> {
    /// A stream over plain (decompressed) bytes.
    #[must_use]
    pub fn new(reader: R) -> Self {
        Self { reader, buffer: Vec::new(), start: 0, offset: 0, ended: None }
    }

    /// Offset of the next record in the plain bytes.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Loads the next record and says how many bytes it has; none at the end of the file.
    ///
    /// # Errors
    /// [`Damage`]: here is no record.
    pub fn load(&mut self) -> Result<Option<usize>, Damage> {
        loop {
            let rest = self.buffer.get(self.start..).unwrap_or_default();
            let wanted = match mrt::frame(rest) {
                Ok(Frame::Whole { bytes, .. }) => return Ok(Some(bytes)),
                Ok(Frame::NeedMore { bytes }) => bytes,
                Err(error) => return Err(Damage::Record { offset: self.offset, error }),
            };
            let left = rest.len();
            if !self.read_more(wanted) {
                let error = self.ended.replace(None).flatten();
                return match error {
                    Some(error) => {
                        Err(Damage::Compression { offset: self.offset + left as u64, error })
                    }
                    None if left == 0 => Ok(None),
                    None => Err(Damage::Truncated { offset: self.offset, wanted, left }),
                };
            }
        }
    }

    /// The record that [`Self::load`] brought.
    #[must_use]
    pub fn record(&self) -> Option<MrtRecord<'_>> {
        record_at(self.buffer.get(self.start..)?)
    }

    /// The time of the record after the loaded one, if it can be had.
    pub fn time_after(&mut self, bytes: usize) -> Option<Timestamp> {
        loop {
            let rest = self.buffer.get(self.start + bytes..)?;
            match mrt::frame(rest).ok()? {
                Frame::Whole { record, .. } => return Some(record.time),
                Frame::NeedMore { bytes: more } => {
                    if !self.read_more(bytes + more) {
                        return None;
                    }
                }
            }
        }
    }

    /// Passes over the loaded record.
    pub fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        self.offset += bytes as u64;
    }

    /// Passes over damage, told by [`Damage::Record`] or [`Damage::Truncated`], to what is likely the
    /// next record. Says how many bytes that were; none if there is no record in what is left, or
    /// not within 64 MiB.
    pub fn skip_damage(&mut self) -> Option<u64> {
        let from = self.offset;
        while self.offset - from <= DAMAGE_BYTES_MAX {
            let rest = self.buffer.get(self.start..).unwrap_or_default();
            if let Some(bytes) = next_record(rest, self.ended.is_some()) {
                self.consume(bytes);
                return Some(self.offset - from);
            }
            // What may be the beginning of a header stays.
            self.consume(rest.len().saturating_sub(mrt::HEADER_BYTES - 1));
            if !self.read_more(2 * mrt::HEADER_BYTES) {
                break;
            }
        }
        None
    }

    /// Reads until `wanted` bytes lie ahead or no more come; says whether any came.
    fn read_more(&mut self, wanted: usize) -> bool {
        if self.ended.is_some() {
            return false;
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        let had = self.buffer.len();
        let goal = wanted.max(had + READ_BYTES);
        while self.buffer.len() < goal {
            let at = self.buffer.len();
            self.buffer.resize(goal.min(at + READ_BYTES), 0);
            let came = self.reader.read(self.buffer.get_mut(at..).unwrap_or_default());
            let bytes = *came.as_ref().unwrap_or(&0);
            self.buffer.truncate(at + bytes);
            match came {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.ended = Some(Some(error)),
                Ok(0) => self.ended = Some(None),
                Ok(_) => {}
            }
            if self.ended.is_some() {
                break;
            }
        }
        self.buffer.len() > had
    }
}

/// Where a record is likely to begin, after the first byte; a whole one, if no more bytes come.
fn next_record(rest: &[u8], is_all: bool) -> Option<usize> {
    let mut from = 0;
    loop {
        from += mrt::resync(rest.get(from..)?)?;
        if !is_all || record_at(rest.get(from..)?).is_some() {
            return Some(from);
        }
    }
}

fn record_at(bytes: &[u8]) -> Option<MrtRecord<'_>> {
    match mrt::frame(bytes) {
        Ok(Frame::Whole { record, .. }) => Some(record),
        _ => None,
    }
}
