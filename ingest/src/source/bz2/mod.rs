//! bzip2 on all cores: compressed bytes in, plain bytes out, in order.
//!
//! [`scan`] finds where blocks may begin, [`pool`] decodes what lies between, [`segment`] by
//! segment, and the reader puts it together: it joins what a false mark took apart, checks the
//! checksum of every stream and reads several streams behind each other. Bounded whatever the file
//! says: a segment longer than any block is damage, a block that swells is decoded as it is read.
//!
//! Not used for small files: [`super::open`] reads those with the plain decoder.

mod pool;
mod scan;
mod segment;

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::mpsc::Receiver;

use pool::{Done, Permit, Pool};
use scan::{Kind, Mark, Scanner};
use segment::{Decoded, Segment};

/// Compressed bytes asked for at once.
const READ_BYTES: usize = 128 * 1024;
/// Bits of a header: `BZh`, and a digit for the size of blocks.
const HEADER_BITS: u64 = 32;
/// Bits of the longest segment: 900,000 symbols of 20 bits, and the tables before them.
const SEGMENT_BITS_MAX: u64 = 20 << 20;
/// Segments joined for one block. Chance makes one false mark in 2^48 bits; more is a trick.
const JOINS_MAX: u32 = 32;

/// A reader of the plain bytes.
pub(super) struct ParallelReader<R> {
    pool: &'static Pool,
    cutter: Cutter<R>,
    /// Segments under way, in order.
    ahead: VecDeque<(Step, Option<Permit>)>,
    /// Plain bytes of the last block, and how many were given.
    plain: Vec<u8>,
    given: usize,
    /// A block that is decoded as it is read.
    streamed: Option<Box<dyn Read + Send>>,
    /// Checksum of the blocks of this stream so far.
    crc: u32,
    /// What is said when all that was read is given.
    ended: Option<io::Result<()>>,
}

/// What the reader does next.
enum Step {
    /// Give the plain bytes of a block.
    Block(Receiver<Done>),
    /// Check the end of a stream.
    End(Segment),
    /// Say this.
    Stop(io::Result<()>),
}

impl<R: Read> ParallelReader<R> {
    /// A reader of a file that begins as bzip2 does; none where one thread would do all the work.
    /// The input comes back then.
    pub(super) fn new(input: R) -> Result<Self, R> {
        let Some(pool) = Pool::shared() else { return Err(input) };
        Ok(Self {
            pool,
            cutter: Cutter::new(input),
            ahead: VecDeque::new(),
            plain: Vec::new(),
            given: 0,
            streamed: None,
            crc: 0,
            ended: None,
        })
    }

    /// Sends blocks to the pool, as many as there is room for, one at least.
    fn read_ahead(&mut self) {
        while !matches!(self.ahead.back(), Some((Step::Stop(_), _))) {
            let permit = if self.ahead.is_empty() { None } else { self.pool.permit() };
            if permit.is_none() && !self.ahead.is_empty() {
                return;
            }
            let step = match self.cutter.next_segment() {
                Ok(Some(segment)) if segment.kind == Kind::Block => {
                    Step::Block(self.pool.decode(segment))
                }
                Ok(Some(segment)) => Step::End(segment),
                Ok(None) => Step::Stop(Ok(())),
                Err(error) => Step::Stop(Err(error)),
            };
            self.ahead.push_back((step, permit));
        }
    }

    /// Does the next step; after it there may be plain bytes to give.
    fn step(&mut self) {
        self.read_ahead();
        let Some((step, permit)) = self.ahead.pop_front() else { return };
        let ended = match step {
            Step::Block(receiver) => match receiver.recv() {
                Ok((segment, decoded)) => self.block(segment, decoded),
                Err(_) => Some(Err(io::Error::other("a bzip2 thread is gone"))),
            },
            Step::End(segment) => self.end_of_stream(&segment),
            Step::Stop(Ok(())) => match self.crc {
                0 => Some(Ok(())),
                _ => Some(Err(damaged("the end of the last stream is missing"))),
            },
            Step::Stop(error) => Some(error),
        };
        drop(permit);
        if let Some(ended) = ended {
            self.ended = Some(ended);
            self.ahead.clear();
        }
    }

    fn block(&mut self, mut segment: Segment, mut decoded: Decoded) -> Option<io::Result<()>> {
        let mut joins = 0;
        loop {
            match decoded {
                Decoded::Plain(plain, crc) => {
                    (self.plain, self.given) = (plain, 0);
                    self.add_crc(crc);
                    return None;
                }
                Decoded::Large(crc) => {
                    self.streamed = Some(Box::new(segment.reader()));
                    self.add_crc(crc);
                    return None;
                }
                Decoded::Broken => {}
            }
            // The mark behind it may be a false one, inside this block.
            let next = self.take_segment();
            match next {
                Some(next) if joins < JOINS_MAX && segment.bits + next.bits < SEGMENT_BITS_MAX => {
                    segment.join(&next);
                }
                Some(_) => return Some(Err(damaged("a block is damaged"))),
                None => {
                    if let (0, Decoded::Plain(plain, _)) = (joins, segment.decode(false)) {
                        (self.plain, self.given) = (plain, 0);
                    }
                    return Some(Err(damaged("the last block, or the end behind it, is cut off")));
                }
            }
            joins += 1;
            decoded = segment.decode(true);
        }
    }

    /// The next segment as it was cut, whatever the pool makes of it.
    fn take_segment(&mut self) -> Option<Segment> {
        self.read_ahead();
        if matches!(self.ahead.front()?.0, Step::Stop(_)) {
            return None;
        }
        match self.ahead.pop_front()?.0 {
            Step::Block(receiver) => receiver.recv().ok().map(|(segment, _)| segment),
            Step::End(segment) => Some(segment),
            Step::Stop(_) => None,
        }
    }

    const fn add_crc(&mut self, crc: u32) {
        self.crc = self.crc.rotate_left(1) ^ crc;
    }

    /// Compares the checksum of a stream. Behind it stands nothing, or the header of another one.
    fn end_of_stream(&mut self, segment: &Segment) -> Option<io::Result<()>> {
        let crc = std::mem::take(&mut self.crc);
        match (segment.crc(), segment.behind_crc()) {
            (Some(wanted), _) if wanted != crc => {
                Some(Err(damaged("the checksum of a stream is wrong")))
            }
            (Some(_), [] | [b'B', b'Z', b'h', b'1'..=b'9']) => None,
            (Some(_), _) => Some(Err(damaged("what follows the end of a stream is no bzip2"))),
            (None, _) => Some(Err(damaged("the last checksum is cut off"))),
        }
    }
}

impl<R: Read> Read for ParallelReader<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let ready = self.plain.get(self.given..).unwrap_or_default();
            if !ready.is_empty() || into.is_empty() {
                let bytes = ready.len().min(into.len());
                for (place, byte) in into.iter_mut().zip(ready) {
                    *place = *byte;
                }
                self.given += bytes;
                return Ok(bytes);
            }
            if let Some(streamed) = &mut self.streamed {
                match streamed.read(into)? {
                    0 => self.streamed = None,
                    bytes => return Ok(bytes),
                }
            }
            match self.ended.take() {
                Some(ended) => {
                    self.ended = Some(Ok(()));
                    return ended.map(|()| 0);
                }
                None => self.step(),
            }
        }
    }
}

fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("bzip2: {what}"))
}

/// Cuts a file at its marks.
struct Cutter<R> {
    input: R,
    scanner: Scanner,
    /// Compressed bytes from the open mark on.
    buffer: Vec<u8>,
    /// Bit of the file at which the buffer begins.
    buffer_bit: u64,
    /// How many bytes of the buffer were scanned.
    scanned: usize,
    open: Option<Mark>,
    has_begun: bool,
    is_ended: bool,
}

impl<R: Read> Cutter<R> {
    fn new(input: R) -> Self {
        Self {
            input,
            scanner: Scanner::default(),
            buffer: Vec::new(),
            buffer_bit: 0,
            scanned: 0,
            open: None,
            has_begun: false,
            is_ended: false,
        }
    }

    /// What lies between the next two marks, or behind the last one; none behind that.
    fn next_segment(&mut self) -> io::Result<Option<Segment>> {
        loop {
            let unscanned = self.buffer.get(self.scanned..).unwrap_or_default();
            if let Some((taken, mark)) = self.scanner.next_mark(unscanned) {
                self.scanned += taken;
                self.has_begun = true;
                match self.open.replace(mark) {
                    Some(open) => return Ok(Some(self.cut(open, mark.bit))),
                    None if mark.bit == HEADER_BITS => {}
                    None => return Err(damaged("no block follows the header")),
                }
                continue;
            }
            self.scanned = self.buffer.len();
            let end = self.buffer_bit + 8 * self.buffer.len() as u64;
            let open_bit = self.open.map_or(0, |open| open.bit);
            if self.is_ended {
                return match self.open.take() {
                    Some(open) => Ok(Some(self.cut(open, end))),
                    None if self.has_begun => Ok(None),
                    None => Err(damaged("the file ends before its first block")),
                };
            }
            if end - open_bit > SEGMENT_BITS_MAX {
                return Err(damaged("a block is longer than blocks can be"));
            }
            self.read_more()?;
        }
    }

    fn read_more(&mut self) -> io::Result<()> {
        let open_bit = self.open.map_or(0, |open| open.bit);
        let unused = usize::try_from((open_bit - self.buffer_bit) / 8).unwrap_or(0);
        self.buffer.drain(..unused.min(self.scanned));
        self.buffer_bit += 8 * unused as u64;
        self.scanned -= unused.min(self.scanned);
        let had = self.buffer.len();
        self.buffer.resize(had + READ_BYTES, 0);
        let came = loop {
            match self.input.read(self.buffer.get_mut(had..).unwrap_or_default()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                came => break came,
            }
        };
        self.buffer.truncate(had + *came.as_ref().unwrap_or(&0));
        self.is_ended = came? == 0;
        Ok(())
    }

    fn cut(&self, open: Mark, end: u64) -> Segment {
        let from_buffer = open.bit - self.buffer_bit;
        let first_byte = usize::try_from(from_buffer / 8).unwrap_or(usize::MAX);
        let bytes = self.buffer.get(first_byte..).unwrap_or_default();
        Segment::new(open.kind, bytes, from_buffer % 8, end - open.bit)
    }
}

#[cfg(test)]
mod tests;
