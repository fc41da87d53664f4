//! Segments: the files of a log on disk, named by the sequence of their first frame.

use std::fs::{self, File};
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use schemas::log::LogError;

use super::frame::{self, Found, Frame, MAGIC};

/// One segment on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) first: u64,
}

pub(super) fn disk(path: &Path) -> impl FnOnce(io::Error) -> LogError + use<> {
    let path = path.to_owned();
    move |error| LogError::Disk { path, error }
}

/// The name of the segment that begins with a frame.
pub(super) fn path_of(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("{first:020}.log"))
}

/// All segments of a folder, in order.
pub(super) fn list(folder: &Path) -> Result<Vec<Segment>, LogError> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(folder).map_err(disk(folder))? {
        let path = entry.map_err(disk(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(first) = name.strip_suffix(".log").and_then(|digits| digits.parse().ok()) {
            segments.push(Segment { path, first });
        }
    }
    segments.sort_by_key(|segment| segment.first);
    Ok(segments)
}

/// Reads the frames of one segment in order.
pub(super) struct SegmentReader {
    path: PathBuf,
    input: BufReader<File>,
    /// Where the next frame begins.
    pub(super) offset: u64,
}

impl SegmentReader {
    /// Opens a segment at its first frame. None for one whose head is torn.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, LogError> {
        let file = File::open(path).map_err(disk(path))?;
        let mut input = BufReader::with_capacity(256 * 1024, file);
        let mut magic = [0; MAGIC.len()];
        match input.read_exact(&mut magic) {
            Ok(()) if magic == MAGIC => {
                let offset = MAGIC.len() as u64;
                Ok(Some(Self { path: path.to_owned(), input, offset }))
            }
            Ok(()) => Err(LogError::Damaged {
                path: path.to_owned(),
                offset: 0,
                what: "no segment of this version".to_owned(),
            }),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(disk(path)(error)),
        }
    }

    /// The next frame; none at the end, or where the end is torn: the reader then stands before it.
    pub(super) fn next(&mut self) -> Result<Next, LogError> {
        let length = self.input.get_ref().metadata().map_err(disk(&self.path))?.len();
        let left = length.saturating_sub(self.offset);
        match frame::read(&mut self.input, left).map_err(disk(&self.path))? {
            Found::Whole(frame, bytes) => {
                self.offset += bytes;
                Ok(Next::Frame(frame))
            }
            Found::End => Ok(Next::End),
            Found::Torn => {
                self.input.seek(SeekFrom::Start(self.offset)).map_err(disk(&self.path))?;
                Ok(Next::Torn { bytes: left })
            }
            Found::Damaged(what) => {
                Err(LogError::Damaged { path: self.path.clone(), offset: self.offset, what })
            }
        }
    }

    /// Whether a whole frame that comes after `sequence` lies somewhere in what looks torn: then no append
    /// was cut off here, and nothing may be.
    pub(super) fn holds_after(&mut self, sequence: u64) -> Result<bool, LogError> {
        let mut rest = Vec::new();
        self.input.read_to_end(&mut rest).map_err(disk(&self.path))?;
        self.input.seek(SeekFrom::Start(self.offset)).map_err(disk(&self.path))?;
        let next = (sequence + 1).to_le_bytes();
        Ok(memchr::memmem::find_iter(&rest, &next).any(|at| {
            let begin = at.checked_sub(frame::SEQUENCE_AT);
            let mut frame = begin.and_then(|begin| rest.get(begin..)).unwrap_or_default();
            let left = frame.len() as u64;
            matches!(frame::read(&mut frame, left), Ok(Found::Whole(..)))
        }))
    }
}

/// The head of the first frame of a segment; none if there is no whole one. Its checksum is not
/// looked at: whoever reads the frame itself does that.
pub(super) fn first_head(path: &Path) -> Result<Option<Vec<u8>>, LogError> {
    let Some(mut reader) = SegmentReader::open(path)? else { return Ok(None) };
    let length = reader.input.get_ref().metadata().map_err(disk(path))?.len();
    frame::peek(&mut reader.input, length.saturating_sub(reader.offset)).map_err(disk(path))
}

/// What a segment holds next.
pub(super) enum Next {
    /// A frame.
    Frame(Box<Frame>),
    /// Nothing.
    End,
    /// An append that was cut off.
    Torn {
        /// Its bytes.
        bytes: u64,
    },
}
