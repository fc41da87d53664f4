//! Which files were read, and how far: what tells a file that grew from another one of its name.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::source::open::{Compression, fill};

/// First bytes by which a file is known again.
const HEAD_BYTES: u64 = 4096;

/// A file as it was when it was opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileIdentity {
    /// Its name in the folder, or its path where it is named.
    pub name: String,
    /// Its size on disk.
    pub size_bytes: u64,
    /// When it was last written, in microseconds since 1970.
    pub modified_us: i64,
    /// How many of its first bytes are hashed.
    pub head_bytes: u64,
    /// SHA-256 of them, in hexadecimal.
    pub head_hash: String,
}

/// How far a file was read: what the caller keeps with the rows and gives back at the next start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePosition {
    /// The file.
    pub identity: FileIdentity,
    /// Plain bytes (after decompression) that were taken.
    pub plain_bytes: u64,
    /// Whether its end was reached.
    pub is_done: bool,
}

/// What to do with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing: all of it was read.
    Done,
    /// Read it, and pass over so many plain bytes.
    Read { resume: u64 },
    /// Another file took the name: read it whole.
    Replaced,
}

/// A file as the folder shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) name: String,
    pub(super) size_bytes: u64,
    pub(super) modified_us: i64,
}

impl Seen {
    pub(super) fn new(name: String, metadata: &Metadata) -> Self {
        let since = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let micros = since.and_then(|since| i64::try_from(since.as_micros()).ok());
        Self { name, size_bytes: metadata.len(), modified_us: micros.unwrap_or(0) }
    }

    /// The identity of the file at this path, and how it is compressed.
    pub(super) fn identify(&self, path: &Path) -> io::Result<(FileIdentity, Compression)> {
        let head_bytes = self.size_bytes.min(HEAD_BYTES);
        let head = head_of(path, head_bytes)?;
        let identity = FileIdentity {
            name: self.name.clone(),
            size_bytes: self.size_bytes,
            modified_us: self.modified_us,
            head_bytes,
            head_hash: hash(&head),
        };
        Ok((identity, Compression::of(&head)))
    }
}

/// All files that were read, those that went too: a folder that was not mounted for a while is not read
/// twice.
#[derive(Debug, Default)]
pub(super) struct Known(BTreeMap<String, FilePosition>);

impl Known {
    pub(super) fn new(positions: Vec<FilePosition>) -> Self {
        Self(positions.into_iter().map(|known| (known.identity.name.clone(), known)).collect())
    }

    /// Whether all of a file was read, by its name, size and time alone.
    pub(super) fn is_done(&self, seen: &Seen) -> bool {
        self.0.get(&seen.name).is_some_and(|known| {
            known.is_done
                && known.identity.size_bytes == seen.size_bytes
                && known.identity.modified_us == seen.modified_us
        })
    }

    /// What to do with the file at this path.
    pub(super) fn judge(&self, seen: &Seen, path: &Path) -> io::Result<Verdict> {
        let Some(known) = self.0.get(&seen.name) else { return Ok(Verdict::Read { resume: 0 }) };
        let FileIdentity { size_bytes, head_bytes, head_hash, .. } = &known.identity;
        let is_same = seen.size_bytes >= *size_bytes
            && hash(&head_of(path, *head_bytes)?).as_str() == head_hash;
        Ok(if !is_same {
            Verdict::Replaced
        } else if known.is_done && seen.size_bytes == *size_bytes {
            Verdict::Done
        } else {
            Verdict::Read { resume: known.plain_bytes }
        })
    }

    /// Plain bytes read of a file.
    pub(super) fn plain_bytes(&self, name: &str) -> u64 {
        self.0.get(name).map_or(0, |known| known.plain_bytes)
    }

    pub(super) fn set(&mut self, position: FilePosition) {
        self.0.insert(position.identity.name.clone(), position);
    }

    pub(super) fn forget(&mut self, name: &str) {
        self.0.remove(name);
    }
}

/// Which stream is which file: taken once by whoever hears that it opened.
#[derive(Debug, Default)]
pub struct FileBook(Mutex<BTreeMap<u64, (FileIdentity, u64)>>);

impl FileBook {
    /// The file of a stream, and how many of its plain bytes were passed over.
    #[must_use]
    pub fn take(&self, stream: u64) -> Option<(FileIdentity, u64)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&stream)
    }

    pub(super) fn put(&self, stream: u64, identity: FileIdentity, resume: u64) {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        book.insert(stream, (identity, resume));
    }
}

fn head_of(path: &Path, bytes: u64) -> io::Result<Vec<u8>> {
    let mut head = vec![0; usize::try_from(bytes.min(HEAD_BYTES)).unwrap_or(0)];
    let filled = fill(&mut File::open(path)?, &mut head)?;
    head.truncate(filled);
    Ok(head)
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
