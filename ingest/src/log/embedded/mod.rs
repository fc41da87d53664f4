//! The embedded log: one physical log on local disk for all partitions of one process.
//!
//! One append is one checksummed frame: a source batch for all its partitions, the positions of its
//! inputs and their decode state, all of it or nothing. Appends of one round share one fsync, and
//! readers see only what is durable. A torn end is cut off when the log is opened; damage before the
//! end is refused. Segments are kept: after a restart the folds read the log from its start.

mod frame;
mod reader;
mod segment;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemas::log::{Append, Log, LogError, Position, Publisher};
use schemas::tables::Text;
use schemas::time::Timestamp;
use serde::{Deserialize, Serialize};

use frame::MAGIC;
use reader::Durable;
pub use reader::{EmbeddedReader, Tail};
use segment::{Next, Segment, SegmentReader, disk, list, path_of};

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
    durable: Arc<Durable>,
}

/// The writing end; one at a time.
#[derive(Debug)]
pub struct EmbeddedWriter {
    options: EmbeddedOptions,
    _lock: File,
    durable: Arc<Durable>,
    segment: Option<OpenSegment>,
    /// Sequence of the next frame.
    sequence: u64,
    /// Bytes of all segments.
    bytes: u64,
    positions: BTreeMap<Text, Position>,
    next_offsets: Vec<u64>,
    scratch: Vec<u8>,
    is_broken: bool,
}

#[derive(Debug)]
struct OpenSegment {
    path: PathBuf,
    file: File,
    bytes: u64,
}

/// Opens the log of a folder, or makes one; cuts off a torn end.
///
/// # Errors
/// [`LogError`] if another process writes it, the disk fails, or it is damaged before its end.
pub fn open(
    options: EmbeddedOptions,
) -> Result<(EmbeddedLog, EmbeddedWriter, Recovered), LogError> {
    let folder = options.folder.clone();
    fs::create_dir_all(&folder).map_err(disk(&folder))?;
    let lock = lock(&folder)?;
    let about = about(&folder, &options)?;
    let segments = list(&folder)?;
    let (recovered, sequence, last) = recover(&segments, options.partitions)?;
    let bytes = segments
        .iter()
        .filter_map(|segment| fs::metadata(&segment.path).ok())
        .map(|metadata| metadata.len())
        .sum();
    let durable = Arc::new(Durable::default());
    durable.advance(sequence);
    let log = EmbeddedLog {
        folder,
        id: about.id,
        partitions: about.partitions,
        created: about.created,
        durable: Arc::clone(&durable),
    };
    let writer = EmbeddedWriter {
        options,
        _lock: lock,
        durable,
        segment: last,
        sequence,
        bytes,
        positions: recovered.positions.clone(),
        next_offsets: recovered.next_offsets.clone(),
        scratch: Vec::new(),
        is_broken: false,
    };
    Ok((log, writer, recovered))
}

fn lock(folder: &Path) -> Result<File, LogError> {
    let lock = File::open(folder).map_err(disk(folder))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(LogError::Busy { path: folder.to_owned() }),
        Err(TryLockError::Error(error)) => Err(disk(folder)(error)),
    }
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

fn sync_folder(folder: &Path) -> Result<(), LogError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(disk(folder))
}

/// Reads the newest segment to its end; the one before it too if the newest is empty.
fn recover(
    segments: &[Segment],
    partitions: u32,
) -> Result<(Recovered, u64, Option<OpenSegment>), LogError> {
    let fresh = || vec![0; partitions as usize];
    let mut recovered = Recovered { next_offsets: fresh(), ..Recovered::default() };
    let mut sequence = 0;
    let Some((newest, older)) = segments.split_last() else {
        return Ok((recovered, 0, None));
    };
    if let Some(last) = older.last() {
        sequence = scan(last, &mut recovered, false)?;
        if sequence != newest.first {
            let what = format!("segments between {sequence} and {} are missing", newest.first);
            return Err(LogError::Damaged { path: last.path.clone(), offset: 0, what });
        }
    }
    sequence = scan(newest, &mut recovered, true)?.max(sequence);
    let file = OpenOptions::new().append(true).open(&newest.path).map_err(disk(&newest.path))?;
    let bytes = file.metadata().map_err(disk(&newest.path))?.len();
    Ok((recovered, sequence, Some(OpenSegment { path: newest.path.clone(), file, bytes })))
}

/// Reads a segment to its end and cuts off what is torn; the sequence after its last frame.
fn scan(segment: &Segment, recovered: &mut Recovered, may_be_torn: bool) -> Result<u64, LogError> {
    let path = &segment.path;
    let Some(mut reader) = SegmentReader::open(path)? else {
        // Not even its first bytes were written.
        recovered.torn_bytes += fs::metadata(path).map_err(disk(path))?.len();
        let mut file = File::create(path).map_err(disk(path))?;
        file.write_all(&MAGIC).and_then(|()| file.sync_all()).map_err(disk(path))?;
        return Ok(segment.first);
    };
    let mut sequence = segment.first;
    loop {
        match reader.next()? {
            Next::Frame(frame) => {
                if frame.sequence != sequence {
                    let what = format!("record {} where {sequence} should be", frame.sequence);
                    let offset = reader.offset;
                    return Err(LogError::Damaged { path: path.clone(), offset, what });
                }
                sequence += 1;
                recovered.log_time = recovered.log_time.max(Some(frame.head.log_time));
                recovered.next_offsets.clone_from(&frame.head.next_offsets);
                recovered.positions.extend(frame.head.positions);
            }
            Next::End => return Ok(sequence),
            Next::Torn { bytes } if may_be_torn => {
                recovered.torn_bytes += bytes;
                let file = OpenOptions::new().write(true).open(path).map_err(disk(path))?;
                file.set_len(reader.offset).and_then(|()| file.sync_all()).map_err(disk(path))?;
                return Ok(sequence);
            }
            Next::Torn { .. } => {
                let what = "cut off in the middle of the log".to_owned();
                let offset = reader.offset;
                return Err(LogError::Damaged { path: path.clone(), offset, what });
            }
        }
    }
}

impl EmbeddedWriter {
    /// Bytes of the log on disk.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The segment for the next frame, and whether it is a new one.
    fn segment(&mut self) -> Result<(&mut OpenSegment, bool), LogError> {
        let is_full =
            self.segment.as_ref().is_none_or(|open| open.bytes >= self.options.segment_bytes);
        if is_full {
            if let Some(full) = self.segment.take() {
                full.file.sync_data().map_err(disk(&full.path))?;
            }
            let path = path_of(&self.options.folder, self.sequence);
            let mut file = File::create_new(&path).map_err(disk(&path))?;
            file.write_all(&MAGIC).map_err(disk(&path))?;
            sync_folder(&self.options.folder)?;
            self.bytes += MAGIC.len() as u64;
            self.segment = Some(OpenSegment { path, file, bytes: MAGIC.len() as u64 });
        }
        let is_first = self.segment.as_ref().is_some_and(|open| open.bytes == MAGIC.len() as u64);
        self.segment.as_mut().map(|open| (open, is_first)).ok_or(LogError::Closed)
    }

    fn refuse_if_full(&self) -> Result<(), LogError> {
        let EmbeddedOptions { folder, bytes_max, .. } = &self.options;
        if self.bytes < *bytes_max {
            return Ok(());
        }
        Err(LogError::Full { path: folder.clone(), bytes: self.bytes, bytes_max: *bytes_max })
    }
}

impl Publisher for EmbeddedWriter {
    fn append(&mut self, append: &Append) -> Result<(), LogError> {
        if self.is_broken {
            return Err(LogError::Closed);
        }
        self.refuse_if_full()?;
        let (sequence, mut next_offsets) = (self.sequence, self.next_offsets.clone());
        for batch in &append.batches {
            if let Some(next) = next_offsets.get_mut(batch.partition as usize) {
                *next = batch.end_offset();
            }
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let moved: BTreeMap<Text, Position> = append.positions.iter().cloned().collect();
        let is_first = self.segment()?.1;
        let positions = if is_first {
            let mut all = self.positions.clone();
            all.extend(moved.clone());
            all.into_iter().collect()
        } else {
            moved.clone().into_iter().collect()
        };
        frame::write(append, sequence, &next_offsets, positions, &mut scratch).map_err(
            |error| LogError::Mismatch {
                path: self.options.folder.clone(),
                what: error.to_string(),
            },
        )?;
        let (open, _) = self.segment()?;
        if let Err(error) = open.file.write_all(&scratch) {
            // Half a frame must not stand before the next one.
            let path = open.path.clone();
            let cut = open.file.set_len(open.bytes);
            self.is_broken = cut.is_err();
            return Err(LogError::Disk { path, error });
        }
        open.bytes += scratch.len() as u64;
        self.bytes += scratch.len() as u64;
        self.sequence += 1;
        self.next_offsets = next_offsets;
        self.positions.extend(moved);
        self.scratch = scratch;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), LogError> {
        if let Some(open) = &self.segment
            && let Err(error) = open.file.sync_data()
        {
            // After a failed fsync nobody knows what is on the disk.
            self.is_broken = true;
            return Err(LogError::Disk { path: open.path.clone(), error });
        }
        self.durable.advance(self.sequence);
        Ok(())
    }
}

impl Drop for EmbeddedWriter {
    fn drop(&mut self) {
        self.durable.close();
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
        EmbeddedReader::new(&self.folder, partition, from, Arc::clone(&self.durable))
    }
}
