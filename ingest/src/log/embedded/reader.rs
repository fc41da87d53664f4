//! Reading an embedded log: each partition's batches in order, as far as they are durable, and then
//! as they come.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use schemas::batch::EventBatch;
use schemas::log::{LogError, PartitionReader, Resume};

use super::durable::{Durable, Waited};
use super::events;
use super::frame::Frame;
use super::segment::{Next, Segment, SegmentReader, list, path_of};
use super::{starts, unreadable};

/// Reads the frames of a log in order, as far as they are durable.
pub(super) struct FrameReader {
    pub(super) folder: PathBuf,
    durable: Arc<Durable>,
    segment: Option<SegmentReader>,
    /// Sequence of the next frame.
    sequence: u64,
}

impl FrameReader {
    /// A reader that begins with the segment of frame `first`.
    pub(super) fn new(folder: &Path, first: u64, durable: Arc<Durable>) -> Self {
        Self { folder: folder.to_owned(), durable, segment: None, sequence: first }
    }

    /// Waits for the next frame, no longer than `wait` if that is given.
    pub(super) fn wait(&self, wait: Option<Duration>) -> Waited {
        self.durable.wait_for(self.sequence, wait)
    }

    /// The next frame, which is durable.
    pub(super) fn next(&mut self) -> Result<Box<Frame>, LogError> {
        loop {
            let path = path_of(&self.folder, self.sequence);
            if self.segment.is_none() {
                self.segment = SegmentReader::open(&path)?;
            }
            let Some(segment) = &mut self.segment else { return Err(gone(&path)) };
            match segment.next()? {
                Next::Frame(frame) => {
                    self.sequence = frame.sequence + 1;
                    return Ok(frame);
                }
                // It is durable, so it stands in the next segment.
                Next::End if path.exists() => self.segment = None,
                Next::End | Next::Torn { .. } => return Err(gone(&path)),
            }
        }
    }
}

fn gone(path: &Path) -> LogError {
    let what = "a record that was durable is gone".to_owned();
    LogError::Damaged { path: path.to_owned(), offset: 0, what }
}

/// Reads one partition of an embedded log.
pub struct EmbeddedReader {
    partition: u32,
    /// Offset that comes next.
    next: u64,
    frames: FrameReader,
    durable: Arc<Durable>,
    waiting: VecDeque<EventBatch>,
}

impl EmbeddedReader {
    pub(super) fn new(
        folder: &Path,
        partition: u32,
        from: u64,
        durable: Arc<Durable>,
    ) -> Result<Self, LogError> {
        let first = first_frame(folder, partition, from)?;
        Ok(Self {
            partition,
            next: from,
            frames: FrameReader::new(folder, first, Arc::clone(&durable)),
            durable,
            waiting: VecDeque::new(),
        })
    }

    /// A batch of records that were asked for. What lies before them is passed over; a hole before
    /// them is none that may be passed over.
    fn wanted(&mut self, batch: EventBatch) -> Result<Option<EventBatch>, LogError> {
        if batch.end_offset() <= self.next {
            return Ok(None);
        }
        if batch.first_offset > self.next {
            return Err(LogError::Released {
                path: self.frames.folder.clone(),
                partition: self.partition,
                wanted: self.next,
                first: batch.first_offset,
            });
        }
        self.next = batch.end_offset();
        Ok(Some(batch))
    }
}

/// First frame of the newest segment that begins at or before an offset of a partition.
fn first_frame(folder: &Path, partition: u32, from: u64) -> Result<u64, LogError> {
    let segments = starts(folder)?;
    let begins_before = |(_, next): &&(u64, Vec<u64>)| {
        next.get(partition as usize).is_some_and(|next| *next <= from)
    };
    let newest = segments.iter().take_while(begins_before).last().or(segments.front());
    match newest {
        Some((first, _)) => Ok(*first),
        // A segment that has no whole frame yet, or none at all.
        None => Ok(list(folder)?.first().map_or(0, |segment| segment.first)),
    }
}

impl PartitionReader for EmbeddedReader {
    fn next(&mut self) -> Result<Option<EventBatch>, LogError> {
        loop {
            if let Some(batch) = self.waiting.pop_front() {
                if let Some(batch) = self.wanted(batch)? {
                    return Ok(Some(batch));
                }
                continue;
            }
            if self.frames.wait(None) == Waited::Never {
                return Ok(None);
            }
            let frame = self.frames.next()?;
            self.waiting = events::batches_of(&frame, Some(self.partition))
                .map_err(|error| unreadable(&self.frames.folder, &error))?;
        }
    }

    fn seek(&mut self, to: Resume) -> Result<(), LogError> {
        *self = Self::new(
            &self.frames.folder.clone(),
            self.partition,
            to.offset,
            Arc::clone(&self.durable),
        )?;
        Ok(())
    }
}

/// Looks over the shoulder of a writer in another process: what is appended from now on.
pub struct Tail {
    folder: PathBuf,
    segment: Option<(Segment, SegmentReader)>,
}

impl Tail {
    /// A tail of the log in a folder, from its end.
    ///
    /// # Errors
    /// [`LogError`] if there is no log.
    pub fn open(folder: &Path) -> Result<Self, LogError> {
        let mut tail = Self { folder: folder.to_owned(), segment: None };
        if let Some(newest) = list(folder)?.pop() {
            tail.segment = SegmentReader::open(&newest.path)?.map(|reader| (newest, reader));
        }
        while tail.poll()?.is_some() {}
        Ok(tail)
    }

    /// What came, of all partitions; none if nothing did.
    ///
    /// # Errors
    /// [`LogError`] if the log is gone or damaged.
    pub fn poll(&mut self) -> Result<Option<Vec<EventBatch>>, LogError> {
        loop {
            let Some((at, reader)) = &mut self.segment else {
                let Some(first) = list(&self.folder)?.into_iter().next() else { return Ok(None) };
                let Some(reader) = SegmentReader::open(&first.path)? else { return Ok(None) };
                self.segment = Some((first, reader));
                continue;
            };
            match reader.next()? {
                Next::Frame(frame) => {
                    let batches = events::batches_of(&frame, None);
                    let batches = batches.map_err(|error| unreadable(&self.folder, &error))?;
                    return Ok(Some(batches.into()));
                }
                Next::Torn { .. } => return Ok(None),
                Next::End => {
                    let first = at.first;
                    let next = list(&self.folder)?.into_iter().find(|other| other.first > first);
                    let Some(next) = next else { return Ok(None) };
                    let Some(reader) = SegmentReader::open(&next.path)? else { return Ok(None) };
                    self.segment = Some((next, reader));
                }
            }
        }
    }

    /// Waits a moment before the next look.
    pub fn rest(&self) {
        std::thread::sleep(Duration::from_millis(100));
    }
}
