//! Why a lake cannot be written or read.

use std::io;
use std::path::PathBuf;

use crate::lake::place::PlaceError;

/// Why a lake cannot be written or read. One variant per remedy.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// The URL names no place.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// A setting or an environment variable of the store is wrong or absent.
    #[error("{lake}: {problem}")]
    Settings {
        /// The lake.
        lake: String,
        /// What is wrong, and what to set.
        problem: String,
    },
    /// The system says no.
    #[error("{path}: {error}", path = path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A disk stayed full.
    #[error(
        "{path}: no room on the disk for {secs} s ({error}); make room and start again: what was \
         confirmed is in the log", path = path.display()
    )]
    Full {
        /// File or folder.
        path: PathBuf,
        /// How long it was tried.
        secs: u64,
        /// What the system said.
        error: io::Error,
    },
    /// The file system has no hard links.
    #[error(
        "{path}: this file system has no hard links ({error}), which are what commits a file; put the \
         lake on ext4, xfs, btrfs, zfs, apfs or nfs, or into an object store", path = path.display()
    )]
    NoLinks {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Another process writes this lake.
    #[error("{lake}: another peerscope is writing this lake; wait for it or take another --lake")]
    Busy {
        /// The lake.
        lake: String,
    },
    /// The name is taken by other contents.
    #[error(
        "{key} exists with other contents: the lake was changed by hand or by another version; \
         move it away or take another --lake"
    )]
    Differs {
        /// The file.
        key: String,
    },
    /// A file of a chain is missing.
    #[error(
        "{table}, partition {partition}: the files of this log end at {head}, a snapshot says {wanted}: \
         files are missing; restore them, or start a new log with a new lake"
    )]
    Hole {
        /// The table.
        table: &'static str,
        /// The partition of the log.
        partition: u32,
        /// Where the files end.
        head: u64,
        /// Where they ended when the snapshot was taken.
        wanted: u64,
    },
    /// Files go while they are listed.
    #[error("{folder}: files go as fast as they are listed; wait for the compaction to end")]
    Restless {
        /// The folder.
        folder: String,
    },
    /// What a file says of itself cannot be read.
    #[error("{key}: its footer cannot be read ({error}); restore the file from a copy")]
    Footer {
        /// The file.
        key: String,
        /// What is wrong.
        error: String,
    },
    /// A snapshot cannot be read or made.
    #[error(
        "{key}: {error}; run the version that wrote it, or delete the snapshots of this log: folds \
         then begin at the start of the log, if it is still there"
    )]
    Snapshot {
        /// The file.
        key: String,
        /// What is wrong.
        error: String,
    },
    /// The lake holds another log.
    #[error("{lake} {what}")]
    OtherLog {
        /// The lake.
        lake: String,
        /// What it holds instead, and what to do.
        what: &'static str,
    },
    /// Nothing can be added to the lake.
    #[error("nothing can be added to {lake}: {reason}")]
    NoAppend {
        /// The lake.
        lake: String,
        /// Why, and what to do.
        reason: String,
    },
    /// Something stands where a lake should be.
    #[error("{lake} is not a lake and not empty; take another --lake")]
    NotALake {
        /// The place.
        lake: String,
    },
    /// There is no lake.
    #[error(
        "no lake at {lake}: name another with --lake, or make one (`peerscope demo`, \
         `peerscope replay`)"
    )]
    Missing {
        /// The place.
        lake: String,
    },
    /// There is no such bucket or container.
    #[error(
        "{lake}: there is no such bucket or container, or no right to know of it; make it first ({error})"
    )]
    NoBucket {
        /// The lake.
        lake: String,
        /// What the store said.
        error: Box<object_store::Error>,
    },
    /// The store knows us and refuses, or does not know us.
    #[error(
        "{lake}: the store refuses to {doing} {key}: {error}; give credentials that may list, read, \
         put and delete there: {variables}, in the environment or in [lake] credentials_file"
    )]
    Denied {
        /// The lake.
        lake: String,
        /// What was tried.
        doing: &'static str,
        /// On what.
        key: String,
        /// The environment variables that count.
        variables: &'static str,
        /// What the store said.
        error: Box<object_store::Error>,
    },
    /// The store does not answer, or with errors only.
    #[error(
        "{lake}: the store cannot {doing} {key}, {attempts} attempts in {secs} s: {error}; check \
         endpoint, network and credentials ({variables}), then start again: nothing that was \
         committed is lost"
    )]
    Unreachable {
        /// The lake.
        lake: String,
        /// What was tried.
        doing: &'static str,
        /// On what.
        key: String,
        /// How often.
        attempts: u32,
        /// For how long.
        secs: u64,
        /// The environment variables that count.
        variables: &'static str,
        /// What the store said last.
        error: Box<object_store::Error>,
    },
    /// Two creates of one name succeeded.
    #[error(
        "{lake}: this store lets a second writer replace what the first one created (it ignores \
         If-None-Match), so that two processes would undo each other's files; use AWS S3, Azure Blob, \
         Google Cloud Storage, or a version of your store that has conditional writes (MinIO does)"
    )]
    Unconditional {
        /// The lake.
        lake: String,
    },
    /// Rows could not be encoded.
    #[error("{table}: {error}")]
    Encode {
        /// The table.
        table: &'static str,
        /// What Parquet said.
        error: parquet::errors::ParquetError,
    },
}

impl LakeError {
    /// Whether a service that is needed does not answer.
    #[must_use]
    pub const fn is_down(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Full { .. })
    }

    /// Whether what is configured is wrong.
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        matches!(self, Self::Place(_) | Self::Settings { .. } | Self::NoBucket { .. })
    }
}
