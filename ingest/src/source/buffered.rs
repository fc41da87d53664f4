//! A reader with a buffer that grows to what a frame needs: plain bytes in, whole frames lie ahead.

use std::io::{self, Read};

/// Bytes asked of the decompressor at once.
const READ_BYTES: usize = 256 * 1024;

/// Bytes ahead of a reader, and where they stand in the whole.
pub(super) struct Buffered<R> {
    reader: R,
    buffer: Vec<u8>,
    start: usize,
    offset: u64,
    ended: bool,
    failed: Option<io::Error>,
}

impl<R: Read> Buffered<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, buffer: Vec::new(), start: 0, offset: 0, ended: false, failed: None }
    }

    /// Offset of the next byte.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// The bytes ahead.
    pub(super) fn rest(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// Passes over bytes that lie ahead.
    pub(super) fn consume(&mut self, bytes: usize) {
        let bytes = bytes.min(self.rest().len());
        self.start += bytes;
        self.offset += bytes as u64;
    }

    /// What the reader said when it failed, once.
    pub(super) const fn take_failure(&mut self) -> Option<io::Error> {
        self.failed.take()
    }

    /// Reads until `wanted` bytes lie ahead or no more come; says whether any came.
    pub(super) fn more(&mut self, wanted: usize) -> bool {
        if self.ended {
            return false;
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        let had = self.buffer.len();
        let goal = wanted.max(had.saturating_add(1));
        while self.buffer.len() < goal && !self.ended {
            let at = self.buffer.len();
            self.buffer.resize(at + READ_BYTES, 0);
            let came = self.reader.read(self.buffer.get_mut(at..).unwrap_or_default());
            self.buffer.truncate(at + *came.as_ref().unwrap_or(&0));
            match came {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.failed = Some(error);
                    self.ended = true;
                }
                Ok(bytes) => self.ended = bytes == 0,
            }
        }
        self.buffer.len() > had
    }
}
