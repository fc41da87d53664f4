//! Discovery: what the user named, recognised by content and never by name.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use schemas::time::Timestamp;
use sha2::{Digest, Sha256};

use super::open::{fill, open};
use crate::decode::mrt::{self, Frame};
use crate::decode::{bmp, openbmp};
use crate::samples::RttFormat;

/// Plain bytes by which a file is recognised.
const HEAD_BYTES: usize = 64 * 1024;
/// Depth of folders at most.
const DEPTH_MAX: u32 = 32;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// MRT: its first time, and whether it is a table dump.
    Mrt {
        /// Time of the first record.
        first_time: Timestamp,
        /// Whether the first record belongs to a table dump.
        is_rib: bool,
    },
    /// A BMP stream as a router sent it.
    Bmp,
    /// OpenBMP values, one behind the other.
    OpenBmp,
    /// Captured packets, pcap or pcapng.
    Capture,
    /// RIS Live texts, one a line.
    RisLive,
    /// RTT samples.
    Rtt(RttFormat),
}

/// A recognised file.
#[derive(Clone, Debug)]
pub struct Found {
    /// Where it is.
    pub path: PathBuf,
    /// Its name without folders: what rows call their source.
    pub name: String,
    /// What it holds.
    pub kind: FileKind,
    /// SHA-256 of its bytes as they lie on disk.
    pub content_hash: [u8; 32],
}

/// Why a file is not read. One variant per remedy.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// The system says no.
    #[error("{path}: {error}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Nothing in it.
    #[error("{path}: the file is empty", path = path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Nothing known.
    #[error(
        "{path}: no MRT, BMP, OpenBMP, pcap, RIS Live or RTT samples (JSON with \"time\", CSV with a \
         header that names time, ip, rtt_us or rtt_ms, source, Parquet, Arrow IPC, RIPE Atlas results; for \
         other forms give a [source.NAME] with files and fields)",
        path = path.display()
    )]
    Unknown {
        /// The file.
        path: PathBuf,
    },
    /// Folders in folders without end.
    #[error("{path}: more than {DEPTH_MAX} folders deep", path = path.display())]
    TooDeep {
        /// The folder.
        path: PathBuf,
    },
}

/// Finds the files behind a path: itself, or all files of a folder by name.
///
/// # Errors
/// [`DiscoverError`] if a path cannot be read.
pub fn files_of(path: &Path) -> Result<Vec<PathBuf>, DiscoverError> {
    let mut files = Vec::new();
    collect(path, DEPTH_MAX, &mut files)?;
    Ok(files)
}

fn collect(path: &Path, depth: u32, files: &mut Vec<PathBuf>) -> Result<(), DiscoverError> {
    let io_error = |error| DiscoverError::Io { path: path.to_owned(), error };
    if !fs::metadata(path).map_err(io_error)?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let Some(depth) = depth.checked_sub(1) else {
        return Err(DiscoverError::TooDeep { path: path.to_owned() });
    };
    let mut entries = fs::read_dir(path)
        .map_err(io_error)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(io_error)?;
    entries.sort();
    entries
        .iter()
        .filter(|entry| {
            !entry.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
        })
        .try_for_each(|entry| collect(entry, depth, files))
}

/// Recognises a file.
///
/// # Errors
/// [`DiscoverError`] if it cannot be read or holds nothing known.
pub fn recognise(path: &Path) -> Result<Found, DiscoverError> {
    let io_error = |error| DiscoverError::Io { path: path.to_owned(), error };
    let kind = kind(path)?;
    let content_hash = hash(path).map_err(io_error)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Found { path: path.to_owned(), name, kind, content_hash })
}

/// A file of samples that a mapping reads, whatever stands in it.
///
/// # Errors
/// [`DiscoverError`] if it cannot be read or is empty.
pub fn recognise_mapped(path: &Path) -> Result<Found, DiscoverError> {
    let io_error = |error| DiscoverError::Io { path: path.to_owned(), error };
    let head = head_of(path)?;
    let kind = FileKind::Rtt(RttFormat::of_mapped(&head));
    let content_hash = hash(path).map_err(io_error)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Found { path: path.to_owned(), name, kind, content_hash })
}

/// What a file holds, told by its first bytes.
///
/// # Errors
/// [`DiscoverError`] if it cannot be read or holds nothing known.
pub fn kind(path: &Path) -> Result<FileKind, DiscoverError> {
    kind_of(&head_of(path)?).ok_or_else(|| DiscoverError::Unknown { path: path.to_owned() })
}

/// The first plain bytes of a file that has any.
fn head_of(path: &Path) -> Result<Vec<u8>, DiscoverError> {
    let io_error = |error| DiscoverError::Io { path: path.to_owned(), error };
    let mut head = vec![0; HEAD_BYTES];
    let bytes = open(path).and_then(|mut reader| fill(&mut reader, &mut head)).map_err(io_error)?;
    head.truncate(bytes);
    match head.is_empty() {
        true => Err(DiscoverError::Empty { path: path.to_owned() }),
        false => Ok(head),
    }
}

/// What a file that begins so holds; none if nothing known does.
#[must_use]
pub fn kind_of(head: &[u8]) -> Option<FileKind> {
    // A magic number is sure; an MRT record is told by less than a BMP message is.
    magic_kind(head)
        .or_else(|| is_bmp(head).then_some(FileKind::Bmp))
        .or_else(|| mrt_kind(head))
        .or_else(|| ris_kind(head))
        .or_else(|| RttFormat::of(head).map(FileKind::Rtt))
}

fn magic_kind(head: &[u8]) -> Option<FileKind> {
    const CAPTURES: [[u8; 4]; 5] = [
        [0xd4, 0xc3, 0xb2, 0xa1],
        [0xa1, 0xb2, 0xc3, 0xd4],
        [0x4d, 0x3c, 0xb2, 0xa1],
        [0xa1, 0xb2, 0x3c, 0x4d],
        [0x0a, 0x0d, 0x0d, 0x0a],
    ];
    match head.first_chunk::<4>()? {
        magic if CAPTURES.contains(magic) => Some(FileKind::Capture),
        magic if *magic == openbmp::MAGIC => Some(FileKind::OpenBmp),
        b"PAR1" => Some(FileKind::Rtt(RttFormat::Parquet)),
        b"ARRO" | [0xff, 0xff, 0xff, 0xff] => RttFormat::of(head).map(FileKind::Rtt),
        _ => None,
    }
}

/// Whether two likely messages stand in front, or one that is all there is.
fn is_bmp(head: &[u8]) -> bool {
    let first =
        if bmp::is_likely(head) { bmp::frame(head, bmp::MESSAGE_BYTES_MAX) } else { return false };
    match first {
        Ok(bmp::Frame::Whole { bytes, .. }) => {
            let behind = head.get(bytes..).unwrap_or_default();
            behind.len() <= bmp::HEADER_BYTES || bmp::is_likely(behind)
        }
        Ok(bmp::Frame::NeedMore { .. }) => true,
        Err(_) => false,
    }
}

fn ris_kind(head: &[u8]) -> Option<FileKind> {
    let text = head.trim_ascii_start();
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or(text);
    let has = |word: &[u8]| memchr::memmem::find(line, word).is_some();
    let is_server = has(b"\"ris_") && has(b"\"type\"");
    let is_bare = has(b"\"peer_asn\"") && has(b"\"host\"") && has(b"\"timestamp\"");
    (line.starts_with(b"{") && (is_server || is_bare)).then_some(FileKind::RisLive)
}

fn mrt_kind(head: &[u8]) -> Option<FileKind> {
    let kind = u16::from_be_bytes(head.get(4..6)?.try_into().ok()?);
    if !matches!(kind, 5 | 11 | 12 | 13 | 16 | 17 | 32 | 33 | 48 | 49) {
        return None;
    }
    let secs = u32::from_be_bytes(head.get(..4)?.try_into().ok()?);
    let first_time = match mrt::frame(head).ok()? {
        Frame::Whole { record, .. } => record.time,
        Frame::NeedMore { .. } => Timestamp::from_secs(i64::from(secs)),
    };
    Some(FileKind::Mrt { first_time, is_rib: matches!(kind, 12 | 13) })
}

fn hash(path: &Path) -> io::Result<[u8; 32]> {
    let mut file = fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finalize().into()),
            Ok(bytes) => hasher.update(buffer.get(..bytes).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
