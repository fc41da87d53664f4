//! Reading an embedded log: each partition's batches in order, as far as they are durable, and then
//! as they come.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use schemas::batch::EventBatch;
use schemas::log::{LogError, PartitionReader};

use super::frame::Frame;
use super::segment::{Next, Segment, SegmentReader, list, path_of};

/// How far the log is durable, as its writer says.
#[derive(Debug, Default)]
pub(super) struct Durable {
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// Sequence after the last durable frame.
    end: u64,
    /// The writer is gone: nothing more will come.
    is_closed: bool,
}

impl Durable {
    pub(super) fn advance(&self, end: u64) {
        self.change(|state| state.end = end);
    }

    pub(super) fn close(&self) {
        self.change(|state| state.is_closed = true);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.moved.notify_all();
    }

    /// Waits until frame `sequence` is durable; false if it never will be.
    fn wait_for(&self, sequence: u64) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = |state: &mut State| state.end <= sequence && !state.is_closed;
        let state = self.moved.wait_while(state, waits).unwrap_or_else(PoisonError::into_inner);
        state.end > sequence
    }
}

/// Reads one partition of an embedded log.
pub struct EmbeddedReader {
    folder: PathBuf,
    partition: u32,
    from: u64,
    durable: Arc<Durable>,
    segment: Option<SegmentReader>,
    /// Sequence of the next frame.
    sequence: u64,
    waiting: VecDeque<EventBatch>,
}

impl EmbeddedReader {
    pub(super) fn new(
        folder: &Path,
        partition: u32,
        from: u64,
        durable: Arc<Durable>,
    ) -> Result<Self, LogError> {
        let sequence = list(folder)?.first().map_or(0, |segment| segment.first);
        Ok(Self {
            folder: folder.to_owned(),
            partition,
            from,
            durable,
            segment: None,
            sequence,
            waiting: VecDeque::new(),
        })
    }

    /// The frame of the next sequence, which is durable.
    fn frame(&mut self) -> Result<Box<Frame>, LogError> {
        let path = path_of(&self.folder, self.sequence);
        if self.segment.is_none() {
            self.segment = SegmentReader::open(&path)?;
        }
        let Some(segment) = &mut self.segment else { return Err(gone(&path)) };
        match segment.next()? {
            Next::Frame(frame) => Ok(frame),
            // It is durable, so it stands in the next segment.
            Next::End if path.exists() => {
                self.segment = None;
                self.frame()
            }
            Next::End | Next::Torn { .. } => Err(gone(&path)),
        }
    }
}

fn gone(path: &Path) -> LogError {
    let what = "a record that was durable is gone".to_owned();
    LogError::Damaged { path: path.to_owned(), offset: 0, what }
}

impl PartitionReader for EmbeddedReader {
    fn next(&mut self) -> Result<Option<EventBatch>, LogError> {
        loop {
            if let Some(batch) = self.waiting.pop_front() {
                return Ok(Some(batch));
            }
            if !self.durable.wait_for(self.sequence) {
                return Ok(None);
            }
            let frame = self.frame()?;
            let batches = frame.batches_of(self.partition).map_err(|error| LogError::Damaged {
                path: self.folder.clone(),
                offset: 0,
                what: error.to_string(),
            })?;
            self.sequence = frame.sequence + 1;
            let from = self.from;
            self.waiting.extend(batches.into_iter().filter(|batch| batch.end_offset() > from));
        }
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
                Next::Frame(frame) => return self.batches(&frame).map(Some),
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

    fn batches(&self, frame: &Frame) -> Result<Vec<EventBatch>, LogError> {
        let mut all = Vec::new();
        for (partition, _) in &frame.head.batches {
            all.extend(frame.batches_of(*partition).map_err(|error| LogError::Damaged {
                path: self.folder.clone(),
                offset: 0,
                what: error.to_string(),
            })?);
        }
        Ok(all)
    }
}
