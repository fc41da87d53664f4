//! A growing file: what was appended since the last look, and what became of the file.

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::FolderCounts;
use super::known::{FileIdentity, FilePosition};
use crate::source::live::{CHUNK_BYTES_MAX, Outbox, Stopped, Word};

/// Chunks read of one file before the next one has its turn.
const CHUNKS_MAX: u32 = 64;

/// A file that is held open.
pub(super) struct Tail {
    file: File,
    pub(super) path: PathBuf,
    pub(super) identity: FileIdentity,
    pub(super) stream: u64,
    read_bytes: u64,
    grew: Instant,
    has_news: bool,
}

/// What became of the file.
pub(super) enum Tailed {
    Open,
    Idle,
    Gone,
    Replaced,
    Cut,
    Damaged(io::Error),
}

impl Tail {
    pub(super) fn new(
        mut file: File,
        path: PathBuf,
        identity: FileIdentity,
        stream: u64,
        resume: u64,
    ) -> io::Result<Self> {
        file.seek(SeekFrom::Start(resume))?;
        let grew = Instant::now();
        Ok(Self { file, path, identity, stream, read_bytes: resume, grew, has_news: true })
    }

    /// Hands on what was appended.
    pub(super) fn read(
        &mut self,
        idle: Duration,
        counts: &FolderCounts,
        outbox: &Outbox,
    ) -> Result<Tailed, Stopped> {
        // Asked before reading: bytes that are written until the name is taken are still read.
        let now = fs::metadata(&self.path);
        let mut buffer = vec![0; CHUNK_BYTES_MAX];
        for _ in 0..CHUNKS_MAX {
            let bytes = match self.file.read(&mut buffer) {
                Ok(0) => return self.at_end(now, idle, outbox),
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Ok(Tailed::Damaged(error)),
            };
            (self.grew, self.has_news) = (Instant::now(), true);
            self.read_bytes += bytes as u64;
            counts.bytes.add(bytes as u64);
            let news = buffer.get(..bytes).unwrap_or_default().to_vec();
            outbox.tell_blocking(self.stream, Word::Bytes(news))?;
        }
        Ok(Tailed::Open)
    }

    fn at_end(
        &mut self,
        now: io::Result<Metadata>,
        idle: Duration,
        outbox: &Outbox,
    ) -> Result<Tailed, Stopped> {
        if std::mem::take(&mut self.has_news) {
            outbox.tell_blocking(self.stream, Word::CaughtUp)?;
        }
        Ok(match now {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Tailed::Gone,
            Err(error) => Tailed::Damaged(error),
            Ok(now) if !self.is_same(&now) => Tailed::Replaced,
            Ok(now) if now.len() < self.read_bytes => Tailed::Cut,
            Ok(_) if self.grew.elapsed() >= idle => Tailed::Idle,
            Ok(_) => Tailed::Open,
        })
    }

    /// Whether the name still leads to the file that we hold.
    #[cfg(unix)]
    fn is_same(&self, now: &Metadata) -> bool {
        use std::os::unix::fs::MetadataExt as _;
        self.file.metadata().is_ok_and(|ours| (ours.dev(), ours.ino()) == (now.dev(), now.ino()))
    }

    #[cfg(not(unix))]
    fn is_same(&self, _: &Metadata) -> bool {
        true
    }

    /// How far it was read. The size on disk is what was read, so that a later byte is noticed.
    pub(super) fn into_position(self) -> FilePosition {
        let plain_bytes = self.read_bytes;
        let identity = FileIdentity { size_bytes: plain_bytes, ..self.identity };
        FilePosition { identity, plain_bytes, is_done: true }
    }
}
