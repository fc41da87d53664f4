//! The writing end of a log on disk: frames into segments, fsyncs, segments that are let go.
//!
//! It does not know what frames hold. A torn end is cut off when it is opened; damage before the end
//! is refused.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use schemas::killpoint::{self, KillPoint};
use schemas::log::LogError;

use super::durable::Durable;
use super::frame::{self, Frame, MAGIC};
use super::segment::{Next, Segment, SegmentReader, disk, list, path_of};

/// What may be appended beyond the bound: ticks and the records that close files, behind which
/// segments can be let go.
const RESERVE_BYTES: u64 = 64 << 20;
/// Tries for a lock that another one holds, and the pause between them.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// The writing end; one at a time.
#[derive(Debug)]
pub(super) struct Physical {
    folder: PathBuf,
    segment_bytes: u64,
    pub(super) bytes_max: u64,
    _lock: File,
    durable: Arc<Durable>,
    open: Option<OpenSegment>,
    /// Sequence of the next frame.
    pub(super) sequence: u64,
    /// Bytes of all segments.
    pub(super) bytes: u64,
    scratch: Vec<u8>,
    is_broken: bool,
}

#[derive(Debug)]
struct OpenSegment {
    path: PathBuf,
    file: File,
    bytes: u64,
}

/// What is to be opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening<'o> {
    pub(super) folder: &'o Path,
    pub(super) segment_bytes: u64,
    pub(super) bytes_max: u64,
}

impl Physical {
    /// Takes the lock of a folder, which is made if there is none.
    pub(super) fn lock(folder: &Path) -> Result<File, LogError> {
        fs::create_dir_all(folder).map_err(disk(folder))?;
        let lock = File::open(folder).map_err(disk(folder))?;
        let mut tries = 0;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(lock),
                // Whoever was killed a moment ago may not be gone yet, nor a child that he began.
                Err(TryLockError::WouldBlock) if tries < LOCK_TRIES => {
                    tries += 1;
                    std::thread::sleep(LOCK_PAUSE);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(LogError::Busy { path: folder.to_owned() });
                }
                Err(TryLockError::Error(error)) => return Err(disk(folder)(error)),
            }
        }
    }

    /// Opens the segments of a locked folder and cuts off a torn end; `see` is shown the frames of
    /// the newest segments. The bytes that were cut off come back, too.
    pub(super) fn open(
        opening: Opening<'_>,
        lock: File,
        see: &mut dyn FnMut(&Frame) -> Result<(), LogError>,
    ) -> Result<(Self, u64), LogError> {
        let Opening { folder, segment_bytes, bytes_max } = opening;
        let segments = list(folder)?;
        let mut torn_bytes = 0;
        let (sequence, open) = recover(&segments, &mut torn_bytes, see)?;
        let length = |segment: &Segment| fs::metadata(&segment.path).map_or(0, |held| held.len());
        if let Some(open) = &open {
            // Whoever was killed may have written it, and not made it durable; nor its name.
            open.file.sync_data().map_err(disk(&open.path))?;
            sync_folder(folder)?;
        }
        let durable = Arc::<Durable>::default();
        durable.advance(sequence);
        let physical = Self {
            folder: folder.to_owned(),
            segment_bytes,
            bytes_max,
            _lock: lock,
            durable,
            open,
            sequence,
            bytes: segments.iter().map(length).sum(),
            scratch: Vec::new(),
            is_broken: false,
        };
        Ok((physical, torn_bytes))
    }

    /// How far the log is durable, for its readers.
    pub(super) fn durable(&self) -> Arc<Durable> {
        Arc::clone(&self.durable)
    }

    /// Whether the bound is reached: what can wait, waits.
    pub(super) const fn is_full(&self) -> bool {
        self.bytes >= self.bytes_max
    }

    /// Makes room for the next frame; whether it will be the first one of its segment.
    pub(super) fn begin(&mut self) -> Result<bool, LogError> {
        if self.is_broken {
            return Err(LogError::Closed);
        }
        if self.bytes >= self.bytes_max.saturating_add(RESERVE_BYTES) {
            let (path, bytes) = (self.folder.clone(), self.bytes);
            return Err(LogError::Full { path, bytes, bytes_max: self.bytes_max });
        }
        let magic_bytes = MAGIC.len() as u64;
        let is_full = self.open.as_ref().is_none_or(|open| open.bytes >= self.segment_bytes);
        if is_full {
            self.sync()?;
            let path = path_of(&self.folder, self.sequence);
            let file = create(&path).and_then(|file| sync_folder(&self.folder).map(|()| file));
            let file = file.inspect_err(|_| {
                // Without room: nothing is there when it is tried again.
                let _ = fs::remove_file(&path);
            })?;
            self.bytes += magic_bytes;
            self.open = Some(OpenSegment { path, file, bytes: magic_bytes });
        }
        Ok(self.open.as_ref().is_some_and(|open| open.bytes == magic_bytes))
    }

    /// Appends a frame behind [`Self::begin`]. After an error nothing of it is in the log.
    pub(super) fn append(
        &mut self,
        point: KillPoint,
        head: &[u8],
        body: &[u8],
    ) -> Result<(), LogError> {
        self.scratch.clear();
        if !frame::write(self.sequence, head, body, &mut self.scratch) {
            return Err(self.refused(&"an append is longer than a record of the log can be"));
        }
        let Some(open) = &mut self.open else { return Err(LogError::Closed) };
        if let Err(error) = killpoint::write(point, &self.scratch, |part| open.file.write_all(part))
        {
            // Half a frame must not stand before the next one.
            let path = open.path.clone();
            self.is_broken = open.file.set_len(open.bytes).is_err();
            return Err(LogError::Disk { path, error });
        }
        killpoint::reach(point);
        open.bytes += self.scratch.len() as u64;
        self.bytes += self.scratch.len() as u64;
        self.sequence += 1;
        Ok(())
    }

    /// What cannot be written, whatever the disk says.
    pub(super) fn refused(&self, what: &dyn std::fmt::Display) -> LogError {
        LogError::Mismatch { path: self.folder.clone(), what: what.to_string() }
    }

    /// Makes everything appended durable, and lets it be read.
    pub(super) fn sync(&mut self) -> Result<(), LogError> {
        if let Some(open) = &self.open
            && let Err(error) = open.file.sync_data()
        {
            // After a failed fsync nobody knows what is on the disk.
            self.is_broken = true;
            return Err(LogError::Disk { path: open.path.clone(), error });
        }
        self.durable.advance(self.sequence);
        Ok(())
    }

    /// Lets go of the segments before the one that begins with `first`, the oldest one first, so that
    /// a kill leaves no hole.
    pub(super) fn release(&mut self, first: u64) -> Result<(), LogError> {
        for segment in list(&self.folder)?.into_iter().take_while(|old| old.first < first) {
            let bytes = fs::metadata(&segment.path).map_err(disk(&segment.path))?.len();
            fs::remove_file(&segment.path).map_err(disk(&segment.path))?;
            killpoint::reach(KillPoint::LogRelease);
            self.bytes = self.bytes.saturating_sub(bytes);
        }
        sync_folder(&self.folder)
    }
}

impl Drop for Physical {
    fn drop(&mut self) {
        self.durable.close();
    }
}

/// Makes a segment. It is written at its end, wherever that is: half a frame that was cut off again
/// leaves no hole.
fn create(path: &Path) -> Result<File, LogError> {
    let mut file =
        OpenOptions::new().append(true).create_new(true).open(path).map_err(disk(path))?;
    killpoint::write(KillPoint::LogRoll, &MAGIC, |bytes| file.write_all(bytes))
        .map_err(disk(path))?;
    killpoint::reach(KillPoint::LogRoll);
    Ok(file)
}

/// Makes the names of a folder durable.
pub(super) fn sync_folder(folder: &Path) -> Result<(), LogError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(disk(folder))
}

/// Reads the newest segment to its end; the one before it too if the newest is empty.
fn recover(
    segments: &[Segment],
    torn_bytes: &mut u64,
    see: &mut dyn FnMut(&Frame) -> Result<(), LogError>,
) -> Result<(u64, Option<OpenSegment>), LogError> {
    let mut sequence = 0;
    let Some((newest, older)) = segments.split_last() else { return Ok((0, None)) };
    if let Some(last) = older.last() {
        sequence = scan(last, None, see)?;
        if sequence != newest.first {
            let what = format!("segments between {sequence} and {} are missing", newest.first);
            return Err(LogError::Damaged { path: last.path.clone(), offset: 0, what });
        }
    }
    sequence = scan(newest, Some(torn_bytes), see)?.max(sequence);
    let file = OpenOptions::new().append(true).open(&newest.path).map_err(disk(&newest.path))?;
    let bytes = file.metadata().map_err(disk(&newest.path))?.len();
    Ok((sequence, Some(OpenSegment { path: newest.path.clone(), file, bytes })))
}

/// Reads a segment to its end and cuts off what is torn, where it may be; the sequence after its last
/// frame.
fn scan(
    segment: &Segment,
    torn: Option<&mut u64>,
    see: &mut dyn FnMut(&Frame) -> Result<(), LogError>,
) -> Result<u64, LogError> {
    let path = &segment.path;
    let cut_off = |offset| LogError::Damaged {
        path: path.clone(),
        offset,
        what: "cut off in the middle of the log".to_owned(),
    };
    let Some(mut reader) = SegmentReader::open(path)? else {
        // Not even its first bytes were written.
        let Some(torn) = torn else { return Err(cut_off(0)) };
        *torn += fs::metadata(path).map_err(disk(path))?.len();
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
                see(&frame)?;
            }
            Next::End => return Ok(sequence),
            Next::Torn { bytes } => {
                let Some(torn) = torn else { return Err(cut_off(reader.offset)) };
                if reader.holds_after(sequence)? {
                    let what = "a damaged length, with whole records behind it".to_owned();
                    return Err(LogError::Damaged {
                        path: path.clone(),
                        offset: reader.offset,
                        what,
                    });
                }
                *torn += bytes;
                let file = OpenOptions::new().write(true).open(path).map_err(disk(path))?;
                file.set_len(reader.offset).and_then(|()| file.sync_all()).map_err(disk(path))?;
                return Ok(sequence);
            }
        }
    }
}
