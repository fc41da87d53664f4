//! The summaries of an embedded log: one small log on disk in which every shard tells, and which
//! `correlate` reads. The position of an entry is the number of entries up to it.
//!
//! One thread owns the writing end: what waits from all shards becomes one frame and one fsync.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use schemas::killpoint::KillPoint;
use schemas::log::{LogError, NextSummary, Summaries, SummaryEntry, SummaryReader};
use serde::{Deserialize, Serialize};

use super::durable::{Durable, Waited};
use super::frame::Frame;
use super::physical::{Opening, Physical};
use super::reader::FrameReader;
use super::segment::{first_head, list};
use super::{unreadable, with_room};

/// Words that may wait for the writer.
const WAITING_MAX: usize = 1_024;
/// Bytes of entries in one frame, about.
const FRAME_BYTES_MAX: usize = 4 << 20;
/// Bytes at which a segment is closed.
const SEGMENT_BYTES: u64 = 32 << 20;

/// What stands in front of the entries of a frame.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    /// Position of the first entry.
    first: u64,
    /// Partition, offset and bytes of each entry.
    entries: Vec<(u32, u64, u32)>,
}

/// A word to the writer.
enum Word {
    Tell(SummaryEntry),
    Sync(SyncSender<()>),
}

/// The writing end, for every shard; it ends when the last copy of it is dropped.
#[derive(Clone)]
pub struct SummaryLog {
    words: SyncSender<Word>,
    /// Why the writer ended.
    failed: Arc<Mutex<Option<LogError>>>,
    folder: PathBuf,
    durable: Arc<Durable>,
    end: u64,
}

impl SummaryLog {
    /// Opens the summaries of a folder, or makes them; cuts off a torn end.
    ///
    /// # Errors
    /// [`LogError`] if another process writes them, the disk fails, or they are damaged before their
    /// end.
    pub fn open(folder: &Path, bytes_max: u64) -> Result<Self, LogError> {
        let lock = Physical::lock(folder)?;
        let mut next = 0;
        let opening = Opening { folder, segment_bytes: SEGMENT_BYTES, bytes_max };
        let (physical, _) = Physical::open(opening, lock, &mut |frame| {
            let head = head_of(folder, &frame.head)?;
            next = head.first + head.entries.len() as u64;
            Ok(())
        })?;
        let durable = physical.durable();
        let mut starts = VecDeque::new();
        for segment in list(folder)? {
            if let Some(head) = first_head(&segment.path)? {
                starts.push_back((segment.first, head_of(folder, &head)?.first));
            }
        }
        let (words, waiting) = sync_channel(WAITING_MAX);
        let failed = Arc::<Mutex<Option<LogError>>>::default();
        let mut writer = Writer { physical, next, starts, failed: Arc::clone(&failed) };
        std::thread::Builder::new()
            .name("summaries".to_owned())
            .spawn(move || writer.run(&waiting))
            .map_err(|error| LogError::Disk { path: folder.to_owned(), error })?;
        Ok(Self { words, failed, folder: folder.to_owned(), durable, end: next })
    }

    /// Position after the last entry that it held when it was opened.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.end
    }

    pub(super) fn durable(&self) -> Arc<Durable> {
        Arc::clone(&self.durable)
    }

    /// A reader from a position on.
    ///
    /// # Errors
    /// [`LogError`] if the disk fails, or the entries are no longer there.
    pub fn read(&self, from: u64) -> Result<SummaryFrames, LogError> {
        SummaryFrames::new(&self.folder, from, Arc::clone(&self.durable))
    }

    fn ended(&self) -> LogError {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.take().unwrap_or(LogError::Closed)
    }
}

impl Summaries for SummaryLog {
    fn tell(&self, entry: SummaryEntry) -> Result<(), LogError> {
        self.words.send(Word::Tell(entry)).map_err(|_| self.ended())
    }

    fn sync(&self) -> Result<(), LogError> {
        let (answer, answered) = sync_channel(1);
        self.words.send(Word::Sync(answer)).map_err(|_| self.ended())?;
        answered.recv().map_err(|_| self.ended())
    }
}

fn head_of(folder: &Path, head: &[u8]) -> Result<Head, LogError> {
    postcard::from_bytes(head).map_err(|error| unreadable(folder, &error))
}

/// The thread that writes.
struct Writer {
    physical: Physical,
    /// Position after the last entry.
    next: u64,
    /// First frame of each segment, with the position of its first entry.
    starts: VecDeque<(u64, u64)>,
    failed: Arc<Mutex<Option<LogError>>>,
}

impl Writer {
    fn run(&mut self, words: &Receiver<Word>) {
        while let Ok(first) = words.recv() {
            if let Err(error) = self.round(first, words) {
                *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                return;
            }
        }
    }

    /// Writes what waits as one frame, makes it durable, and answers who waited for that.
    fn round(&mut self, first: Word, words: &Receiver<Word>) -> Result<(), LogError> {
        let (mut answers, mut entries, mut body) = (Vec::new(), Vec::new(), Vec::new());
        let mut next = Some(first);
        while let Some(word) = next {
            match word {
                Word::Sync(answer) => answers.push(answer),
                Word::Tell(entry) => {
                    let bytes = u32::try_from(entry.bytes.len()).unwrap_or(u32::MAX);
                    entries.push((entry.partition, entry.end, bytes));
                    body.extend(entry.bytes);
                }
            }
            next = if body.len() < FRAME_BYTES_MAX { words.try_recv().ok() } else { None };
        }
        if !entries.is_empty() {
            self.append(entries, &body)?;
        }
        for answer in answers {
            // Nobody waits any more when the service ends.
            let _ = answer.send(());
        }
        Ok(())
    }

    fn append(&mut self, entries: Vec<(u32, u64, u32)>, body: &[u8]) -> Result<(), LogError> {
        let count = entries.len() as u64;
        let head = Head { first: self.next, entries };
        let head = postcard::to_stdvec(&head).map_err(|error| self.physical.refused(&error))?;
        if with_room(|| self.physical.begin())? {
            self.starts.push_back((self.physical.sequence, self.next));
        }
        with_room(|| self.physical.append(KillPoint::Summary, &head, body))?;
        self.physical.sync()?;
        self.next += count;
        self.release()
    }

    fn release(&mut self) -> Result<(), LogError> {
        let released = self.physical.durable().released();
        let Some(released) = released.get(&0) else { return Ok(()) };
        let behind = self.starts.iter().take_while(|(_, first)| first <= released).last().copied();
        let oldest = self.starts.front().copied();
        if let Some((first, _)) = behind.filter(|_| behind != oldest) {
            self.physical.release(first)?;
            self.starts.retain(|(start, _)| *start >= first);
        }
        Ok(())
    }
}

/// Reads the summaries in order.
pub struct SummaryFrames {
    frames: FrameReader,
    durable: Arc<Durable>,
    /// Position of the next entry.
    next: u64,
    waiting: VecDeque<(u64, SummaryEntry)>,
}

impl SummaryFrames {
    fn new(folder: &Path, from: u64, durable: Arc<Durable>) -> Result<Self, LogError> {
        let mut begin: Option<(u64, u64)> = None;
        let mut oldest = None;
        for segment in list(folder)? {
            oldest = oldest.or(Some(segment.first));
            let Some(head) = first_head(&segment.path)? else { continue };
            let first = head_of(folder, &head)?.first;
            if begin.is_none() || first <= from {
                begin = Some((segment.first, first));
            }
        }
        let sequence = begin.map_or(oldest.unwrap_or(0), |(sequence, _)| sequence);
        let frames = FrameReader::new(folder, sequence, Arc::clone(&durable));
        Ok(Self { frames, durable, next: from, waiting: VecDeque::new() })
    }

    fn open(&mut self, frame: &Frame) -> Result<(), LogError> {
        let folder = &self.frames.folder;
        let head = head_of(folder, &frame.head)?;
        if head.first > self.next && self.waiting.is_empty() {
            return Err(LogError::Released {
                path: folder.clone(),
                partition: 0,
                wanted: self.next,
                first: head.first,
            });
        }
        let mut rest = frame.body.as_slice();
        for (position, (partition, end, bytes)) in (head.first + 1..).zip(head.entries) {
            let Some((entry, after)) = rest.split_at_checked(bytes as usize) else {
                return Err(unreadable(folder, &"an entry that is cut off"));
            };
            rest = after;
            if position > self.next {
                let entry = SummaryEntry { partition, end, bytes: entry.to_vec() };
                self.waiting.push_back((position, entry));
            }
        }
        Ok(())
    }
}

impl SummaryReader for SummaryFrames {
    fn next(&mut self, wait: Duration) -> Result<NextSummary, LogError> {
        loop {
            if let Some((position, entry)) = self.waiting.pop_front() {
                self.next = position;
                return Ok(NextSummary::Entry(position, entry));
            }
            match self.frames.wait(Some(wait)) {
                Waited::Never => return Ok(NextSummary::End),
                Waited::NotYet => return Ok(NextSummary::Idle),
                Waited::Durable => {
                    let frame = self.frames.next()?;
                    self.open(&frame)?;
                }
            }
        }
    }

    fn seek(&mut self, from: u64) -> Result<(), LogError> {
        *self = Self::new(&self.frames.folder.clone(), from, Arc::clone(&self.durable))?;
        Ok(())
    }
}
