//! MRT files: one whole record at a time, with a look at the one after it.
//!
//! A record is framed once, when it is loaded. Damage is told with its offset and ends the reading,
//! unless the caller asks [`MrtStream::resync`] to go on behind it.

use std::io::{self, Read};

use schemas::time::Timestamp;

use crate::decode::DecodeError;
use crate::decode::mrt::{self, Frame, HEADER_BYTES, MrtRecord};

/// Bytes asked of the decompressor at once.
const READ_BYTES: usize = 1 << 20;
/// Bytes passed over at most in search of the next record: as many as the longest record has.
const RESYNC_BYTES_MAX: u64 = mrt::RECORD_BYTES_MAX as u64;

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
    /// What of the buffer is read and not yet passed over.
    start: usize,
    end: usize,
    offset: u64,
    loaded: Option<Loaded>,
    ended: Option<Option<io::Error>>,
}

/// The record at the start of the buffer, framed.
#[derive(Clone, Copy)]
struct Loaded {
    time: Timestamp,
    kind: u16,
    subtype: u16,
    body_bytes: usize,
    bytes: usize,
}

impl<R: Read> MrtStream<R> {
    /// A stream over plain (decompressed) bytes.
    #[must_use]
    pub const fn new(reader: R) -> Self {
        let buffer = Vec::new();
        Self { reader, buffer, start: 0, end: 0, offset: 0, loaded: None, ended: None }
    }

    /// Offset of the next record in the plain bytes.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Loads the next record and says how many bytes it has; none at the end of the file.
    ///
    /// # Errors
    /// [`Damage`]: there is nothing more to be had, unless [`Self::resync`] finds it.
    #[inline]
    pub fn load(&mut self) -> Result<Option<usize>, Damage> {
        loop {
            let wanted = match mrt::frame(self.rest()) {
                Ok(Frame::Whole { record, bytes }) => {
                    let MrtRecord { time, kind, subtype, body } = record;
                    let body_bytes = body.len();
                    self.loaded = Some(Loaded { time, kind, subtype, body_bytes, bytes });
                    return Ok(Some(bytes));
                }
                Ok(Frame::NeedMore { bytes }) => bytes,
                Err(error) => return Err(Damage::Record { offset: self.offset, error }),
            };
            if !self.read_more(wanted) {
                return self.at_end(wanted);
            }
        }
    }

    /// What it means that no more bytes come although a record needs `wanted`.
    #[cold]
    fn at_end(&mut self, wanted: usize) -> Result<Option<usize>, Damage> {
        let left = self.rest().len();
        match self.ended.take().flatten() {
            Some(error) => {
                self.ended = Some(None);
                Err(Damage::Compression { offset: self.offset + left as u64, error })
            }
            None => {
                self.ended = Some(None);
                match left {
                    0 => Ok(None),
                    _ => Err(Damage::Truncated { offset: self.offset, wanted, left }),
                }
            }
        }
    }

    /// Goes on after [`Damage`]: passes over bytes until a record is likely to begin, and says how
    /// many. The next [`Self::load`] brings that record. None if there is no such place within
    /// 64 MiB or before the end; the stream is at its end then.
    ///
    /// A likely record is whole, of a type that archives of BGP hold, and leads to another likely
    /// header (or to the end). Damage of the compressed data leaves nothing behind it to be read.
    pub fn resync(&mut self) -> Option<u64> {
        self.loaded = None;
        let mut passed: u64 = 0;
        while passed < RESYNC_BYTES_MAX {
            if self.rest().len() <= HEADER_BYTES {
                self.read_more(READ_BYTES);
            }
            let found = mrt::resync(self.rest());
            // What is too short for a header may yet become one.
            let blank = self.rest().len().saturating_sub(HEADER_BYTES - 1).max(1);
            let bytes = found.unwrap_or(blank).min(self.rest().len());
            if bytes == 0 {
                break;
            }
            self.consume(bytes);
            passed += bytes as u64;
            if found.is_some() && self.has_whole_record() {
                return Some(passed);
            }
        }
        self.consume(self.rest().len());
        self.ended = Some(None);
        None
    }

    fn has_whole_record(&mut self) -> bool {
        loop {
            let wanted = match mrt::frame(self.rest()) {
                Ok(Frame::Whole { .. }) => return true,
                Ok(Frame::NeedMore { bytes }) => bytes,
                Err(_) => return false,
            };
            if !self.read_more(wanted) {
                return false;
            }
        }
    }

    /// The record that [`Self::load`] brought.
    #[inline]
    #[must_use]
    pub fn record(&self) -> Option<MrtRecord<'_>> {
        let Loaded { time, kind, subtype, body_bytes, bytes } = self.loaded?;
        let body = self.rest().get(..bytes)?.get(bytes - body_bytes..)?;
        Some(MrtRecord { time, kind, subtype, body })
    }

    /// The time of the record after the loaded one, if it can be had.
    pub fn time_after(&mut self, bytes: usize) -> Option<Timestamp> {
        loop {
            match mrt::frame(self.rest().get(bytes..)?).ok()? {
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
    #[inline]
    pub fn consume(&mut self, bytes: usize) {
        self.loaded = None;
        self.start = (self.start + bytes).min(self.end);
        self.offset += bytes as u64;
    }

    #[inline]
    fn rest(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Reads until `wanted` bytes lie ahead, and about a megabyte more, or no more come; says
    /// whether any came. The buffer grows with what comes, not with what a header asks for.
    #[cold]
    fn read_more(&mut self, wanted: usize) -> bool {
        if self.ended.is_some() {
            return false;
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let had = self.end;
        let goal = wanted.max(had + READ_BYTES);
        while self.end < goal && self.ended.is_none() {
            if self.buffer.len() - self.end < READ_BYTES / 2 {
                self.buffer.resize(self.end + READ_BYTES, 0);
            }
            let room = self.buffer.len().min(goal.max(self.end + 1));
            let free = self.buffer.get_mut(self.end..room).unwrap_or_default();
            match self.reader.read(free) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.ended = Some(Some(error)),
                Ok(0) => self.ended = Some(None),
                Ok(bytes) => self.end += bytes,
            }
        }
        self.end > had
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reader that gives a few bytes at a time.
    struct Drip<'a>(&'a [u8]);

    impl Read for Drip<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let bytes = self.0.len().min(into.len()).min(7);
            let (now, later) = self.0.split_at(bytes);
            into[..bytes].copy_from_slice(now);
            self.0 = later;
            Ok(bytes)
        }
    }

    fn record(secs: u32, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len()).unwrap();
        let mut bytes = secs.to_be_bytes().to_vec();
        bytes.extend([0, 16, 0, 4]);
        bytes.extend(length.to_be_bytes());
        bytes.extend(body);
        bytes
    }

    /// Times and bodies of all records, and where reading went on.
    fn read(bytes: &[u8]) -> (Vec<(i64, Vec<u8>)>, Vec<String>) {
        let (mut stream, mut records, mut told) = (MrtStream::new(Drip(bytes)), vec![], vec![]);
        loop {
            match stream.load() {
                Ok(Some(bytes)) => {
                    let record = stream.record().unwrap();
                    records.push((record.time.secs(), record.body.to_vec()));
                    stream.consume(bytes);
                }
                Ok(None) => return (records, told),
                Err(damage) => {
                    let passed = stream.resync();
                    told.push(format!("{} at {}: {passed:?}", damage.reason(), stream.offset()));
                }
            }
        }
    }

    #[test]
    fn a_record_is_whole_however_its_bytes_come() {
        let bytes = [record(1, &[7; 40]), record(2, &[]), record(3, &[9; 300])].concat();
        let (records, told) = read(&bytes);
        assert_eq!(records, [(1, vec![7; 40]), (2, vec![]), (3, vec![9; 300])]);
        assert!(told.is_empty());
        let mut stream = MrtStream::new(Drip(&bytes));
        let first = stream.load().unwrap().unwrap();
        assert_eq!(stream.time_after(first).map(Timestamp::secs), Some(2));
        assert_eq!(stream.record().unwrap().body, [7; 40], "a look ahead keeps what is loaded");
    }

    #[test]
    fn reading_goes_on_behind_damage() {
        let garbage = [0xab; 100];
        let bytes =
            [record(1, &[7; 40]), garbage.to_vec(), record(2, &[8; 40]), record(3, &[9; 40])];
        let (records, told) = read(&bytes.concat());
        assert_eq!(records.iter().map(|(secs, _)| *secs).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(told, ["damaged at 152: Some(100)"]);
    }

    #[test]
    fn a_length_that_swallows_its_neighbours_costs_one_record() {
        let mut bytes = [record(1, &[7; 40]), record(2, &[8; 40]), record(3, &[9; 40])].concat();
        bytes[52 + 9] = 1;
        let (records, told) = read(&bytes);
        assert_eq!(records.iter().map(|(secs, _)| *secs).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(told, ["truncated at 104: Some(52)"]);
    }

    #[test]
    fn a_file_cut_inside_its_last_record_ends_there() {
        let bytes = [record(1, &[7; 40]), record(2, &[8; 40])].concat();
        for cut in 53..103 {
            let (records, told) = read(&bytes[..cut]);
            assert_eq!(records.len(), 1, "{cut}");
            assert_eq!(told, [format!("truncated at {cut}: None")]);
        }
    }
}
