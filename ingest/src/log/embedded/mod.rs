//! The embedded log: one physical log on local disk for all partitions of one process.
//!
//! One append is one checksummed frame: a source batch for all its partitions, the positions of its
//! inputs and their decode state, all of it or nothing. Appends of one round share one fsync, and
//! readers see only what is durable. A torn end is cut off when the log is opened; damage before the
//! end is refused. Segments are let go behind the last two snapshots of every partition
//! ([`EmbeddedProgress`]). What the shards tell `correlate` lies in a small log beside it
//! ([`summaries`]).

mod durable;
mod events;
mod frame;
mod physical;
mod reader;
mod room;
mod segment;
pub mod summaries;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use schemas::killpoint::{self, KillPoint};
use schemas::log::{Append, Log, LogError, Position, Progress, Publisher};
use schemas::tables::Text;
use schemas::time::Timestamp;
use serde::{Deserialize, Serialize};

use durable::Durable;
use physical::{Opening, Physical, sync_folder};
pub use reader::{EmbeddedReader, Tail};
pub(crate) use room::with_room;
use segment::{disk, first_head, list};

/// File that says what log a folder holds.
const ABOUT: &str = "log.json";

/// Settings of an embedded log.
#[derive(Clone, Debug)]
pub struct EmbeddedOptions {
    /// Its folder.
    pub folder: PathBuf,
    /// Number of partitions; fixed when it is made.
    pub partitions: u32,
    /// Bytes at which a segment is closed.
    pub segment_bytes: u64,
    /// Bytes of the whole log at most.
    pub bytes_max: u64,
    /// The time, for a log that is made.
    pub now: Timestamp,
}

/// What a folder's log is.
#[derive(Debug, Serialize, Deserialize)]
struct About {
    id: String,
    partitions: u32,
    created: Timestamp,
}

/// What a log held when it was opened.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Where each source is.
    pub positions: BTreeMap<Text, Position>,
    /// Offset after the last record, by partition.
    pub next_offsets: Vec<u64>,
    /// Log time of the last append.
    pub log_time: Option<Timestamp>,
    /// Bytes of an append that was cut off, and is gone: nobody had seen it.
    pub torn_bytes: u64,
}

/// The reading end.
#[derive(Debug)]
pub struct EmbeddedLog {
    folder: PathBuf,
    id: String,
    partitions: u32,
    /// When it was made.
    pub created: Timestamp,
    /// Where each partition ends.
    ends: Ends,
    durable: Arc<Durable>,
}

/// Offset behind the last record of each partition.
type Ends = Arc<[AtomicU64]>;

/// The writing end; one at a time.
#[derive(Debug)]
pub struct EmbeddedWriter {
    options: EmbeddedOptions,
    physical: Physical,
    /// First frame of each segment, with the offsets after that frame.
    starts: VecDeque<(u64, Vec<u64>)>,
    /// Segments before it were let go.
    released: u64,
    positions: BTreeMap<Text, Position>,
    ends: Ends,
}

/// What the folds tell the log: what may be let go.
#[derive(Debug)]
pub struct EmbeddedProgress {
    events: Arc<Durable>,
    summaries: Arc<Durable>,
}

impl Progress for EmbeddedProgress {
    fn committed(&self, partition: u32, offset: u64, log_time: Timestamp) {
        killpoint::reach(KillPoint::OffsetPublish);
        tracing::trace!(partition, offset, %log_time, "batch folded");
    }

    fn release_before(&self, partition: u32, offset: u64) {
        self.events.release(partition, offset);
    }

    fn release_summaries_before(&self, position: u64) {
        self.summaries.release(0, position);
    }
}

/// Opens the log of a folder, or makes one; cuts off a torn end.
///
/// # Errors
/// [`LogError`] if another process writes it, the disk fails, or it is damaged before its end.
pub fn open(
    options: EmbeddedOptions,
) -> Result<(EmbeddedLog, EmbeddedWriter, Recovered), LogError> {
    let folder = options.folder.clone();
    let lock = Physical::lock(&folder)?;
    let about = about(&folder, &options)?;
    let fresh = vec![0; options.partitions as usize];
    let mut recovered = Recovered { next_offsets: fresh, ..Recovered::default() };
    let EmbeddedOptions { segment_bytes, bytes_max, .. } = options;
    let opening = Opening { folder: &folder, segment_bytes, bytes_max };
    let (physical, torn_bytes) = Physical::open(opening, lock, &mut |frame| {
        let head = events::head_of(&frame.head).map_err(|error| unreadable(&folder, &error))?;
        recovered.log_time = recovered.log_time.max(Some(head.log_time));
        recovered.next_offsets = head.next_offsets;
        recovered.positions.extend(head.positions);
        Ok(())
    })?;
    recovered.torn_bytes = torn_bytes;
    let ends: Ends = recovered.next_offsets.iter().map(|end| AtomicU64::new(*end)).collect();
    let log = EmbeddedLog {
        folder: folder.clone(),
        id: about.id,
        partitions: about.partitions,
        created: about.created,
        ends: Arc::clone(&ends),
        durable: physical.durable(),
    };
    let writer = EmbeddedWriter {
        options,
        physical,
        starts: starts(&folder)?,
        released: 0,
        positions: recovered.positions.clone(),
        ends,
    };
    Ok((log, writer, recovered))
}

/// A frame whose checksum fits and whose content cannot be read.
fn unreadable(folder: &Path, error: &dyn std::fmt::Display) -> LogError {
    LogError::Damaged { path: folder.to_owned(), offset: 0, what: error.to_string() }
}

/// First frame of each segment with the offsets after it. The newest may have none yet.
fn starts(folder: &Path) -> Result<VecDeque<(u64, Vec<u64>)>, LogError> {
    let mut starts = VecDeque::new();
    for segment in list(folder)? {
        let Some(head) = first_head(&segment.path)? else { continue };
        let head = events::head_of(&head).map_err(|error| unreadable(&segment.path, &error))?;
        starts.push_back((segment.first, head.next_offsets));
    }
    Ok(starts)
}

/// Reads what the folder's log is, or makes it one.
fn about(folder: &Path, options: &EmbeddedOptions) -> Result<About, LogError> {
    let partitions = options.partitions;
    let path = folder.join(ABOUT);
    if path.exists() {
        let bytes = fs::read(&path).map_err(disk(&path))?;
        let about: About = serde_json::from_slice(&bytes).map_err(|error| LogError::Mismatch {
            path: path.clone(),
            what: format!("{error}: this is no log of peerscope"),
        })?;
        if about.partitions != partitions {
            let what = format!(
                "the log has {} partitions, [log] partitions says {partitions}: the number is fixed \
                 when a log is made; set it back, or start a new log with a new lake",
                about.partitions
            );
            return Err(LogError::Mismatch { path: folder.to_owned(), what });
        }
        return Ok(about);
    }
    if !list(folder)?.is_empty() {
        let what = format!("segments without {ABOUT}; restore it or move the folder away");
        return Err(LogError::Mismatch { path: folder.to_owned(), what });
    }
    let about = About { id: new_id(), partitions, created: options.now };
    let staged = folder.join(format!("{ABOUT}.new"));
    let bytes = serde_json::to_vec_pretty(&about).unwrap_or_default();
    File::create(&staged)
        .and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&staged, &path))
        .map_err(disk(&path))?;
    sync_folder(folder)?;
    Ok(about)
}

/// 16 hexadecimal digits that no other log has: from the operating system's randomness.
fn new_id() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    format!("{:016x}", RandomState::new().hash_one(std::process::id()))
}

impl EmbeddedWriter {
    /// Bytes of the log on disk.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.physical.bytes
    }

    /// Lets go of the segments that nobody will ask for: those before the newest one that begins, for
    /// every partition, at or before what is still wanted.
    fn release(&mut self) -> Result<(), LogError> {
        let released = self.physical.durable().released();
        let partitions = self.options.partitions as usize;
        if released.len() < partitions {
            return Ok(());
        }
        let is_behind = |(_, next): &&(u64, Vec<u64>)| {
            (0..).zip(next).all(|(partition, next)| {
                released.get(&partition).is_some_and(|released| next <= released)
            })
        };
        let Some((first, _)) = self.starts.iter().take_while(is_behind).last() else {
            return Ok(());
        };
        let first = *first;
        if first > self.released {
            self.physical.release(first)?;
            self.released = first;
            self.starts.retain(|(start, _)| *start >= first);
        }
        Ok(())
    }
}

impl Publisher for EmbeddedWriter {
    fn append(&mut self, append: &Append) -> Result<(), LogError> {
        let ends = self.ends.iter().map(|end| end.load(Ordering::Acquire));
        let mut next_offsets: Vec<u64> = ends.collect();
        for batch in &append.batches {
            if let Some(next) = next_offsets.get_mut(batch.partition as usize) {
                *next = batch.end_offset();
            }
        }
        let is_first = self.physical.begin()?;
        let moved: BTreeMap<Text, Position> = append.positions.iter().cloned().collect();
        let positions = if is_first {
            let mut all = self.positions.clone();
            all.extend(moved.clone());
            all.into_iter().collect()
        } else {
            moved.clone().into_iter().collect()
        };
        let (head, body) = events::encode(append, &next_offsets, positions)
            .map_err(|error| self.physical.refused(&error))?;
        self.physical.append(KillPoint::LogAppend, &head, &body)?;
        if is_first {
            self.starts.push_back((self.physical.sequence - 1, next_offsets.clone()));
        }
        for (end, next) in self.ends.iter().zip(&next_offsets) {
            end.store(*next, Ordering::Release);
        }
        self.positions.extend(moved);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), LogError> {
        self.physical.sync()?;
        self.release()
    }

    fn is_full(&self) -> bool {
        self.physical.is_full()
    }
}

impl Log for EmbeddedLog {
    type Reader = EmbeddedReader;

    fn identity(&self) -> &str {
        &self.id
    }

    fn partitions(&self) -> u32 {
        self.partitions
    }

    fn read(&mut self, partition: u32, from: u64) -> Result<EmbeddedReader, LogError> {
        let end = self.ends.get(partition as usize);
        let end = end.map_or(0, |end| end.load(Ordering::Acquire));
        if from > end {
            let what = format!(
                "partition {partition} ends at {end}, and the lake holds what was read up to {from}: the log \
                 lost what had been durable; restore it, or start a new log with a new lake"
            );
            return Err(LogError::Mismatch { path: self.folder.clone(), what });
        }
        EmbeddedReader::new(&self.folder, partition, from, Arc::clone(&self.durable))
    }
}

impl EmbeddedLog {
    /// The way from the folds to this log and to its summaries.
    #[must_use]
    pub fn progress(&self, summaries: &summaries::SummaryLog) -> EmbeddedProgress {
        EmbeddedProgress { events: Arc::clone(&self.durable), summaries: summaries.durable() }
    }
}
