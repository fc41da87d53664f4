//! The store of a lake on local disk: create-if-absent, fsynced, one writer at a time.
//!
//! A put writes beside the tables, fsyncs, and links the file to its name: the link either appears
//! whole or fails because the name is taken. `object_store` 0.13 does the same without the fsyncs
//! (arrow-rs-object-store#643), which is why the local store is our own.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::layout::INTERNAL;
use crate::sql::LakeRoot;

/// Why a lake cannot be written or read. One variant per remedy.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// The URL names a store that this version does not reach.
    #[error("{url}: this version keeps lakes on local disk only (./lake, /path or file:///path)")]
    Unsupported {
        /// The URL.
        url: String,
    },
    /// The system says no.
    #[error("{path}: {error}", path = path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Another process writes this lake.
    #[error("{path}: another peerscope is writing this lake; wait for it or take another --lake", path = path.display())]
    Busy {
        /// The lake.
        path: PathBuf,
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
    /// The lake holds another log.
    #[error(
        "{path} holds the replay of other inputs, settings or number of shards; take another --lake \
         (adding to a lake comes with --append in a later version)", path = path.display()
    )]
    OtherLog {
        /// The lake.
        path: PathBuf,
    },
    /// Something stands where a lake should be.
    #[error("{path} is not a lake and not empty; take another --lake", path = path.display())]
    NotALake {
        /// The folder.
        path: PathBuf,
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

/// A lake on local disk, locked for writing while this value lives, unless it was opened beside.
#[derive(Debug)]
pub struct LocalStore {
    root: PathBuf,
    staging: PathBuf,
    _lock: Option<File>,
}

/// The folder that a lake's URL names.
///
/// # Errors
/// [`LakeError::Unsupported`] for any store but the local disk.
pub fn local_root(url: &str) -> Result<PathBuf, LakeError> {
    let root = LakeRoot::parse(url).map_err(|_| LakeError::Unsupported { url: url.to_owned() })?;
    Ok(root.folder().to_owned())
}

impl LocalStore {
    /// Opens a lake for writing; makes its folder if there is none.
    ///
    /// # Errors
    /// [`LakeError`] if the folder is something else, is being written, or cannot be made.
    pub fn open(url: &str) -> Result<Self, LakeError> {
        let root = local_root(url)?;
        let internal = root.join(INTERNAL);
        let fail = |error| LakeError::Io { path: root.clone(), error };
        if !internal.is_dir() {
            fs::create_dir_all(&root).map_err(fail)?;
            if fs::read_dir(&root).map_err(fail)?.next().is_some() {
                return Err(LakeError::NotALake { path: root });
            }
            fs::create_dir_all(&internal).map_err(fail)?;
        }
        let lock = File::open(&internal).map_err(fail)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LakeError::Busy { path: root }),
            Err(TryLockError::Error(error)) => return Err(fail(error)),
        }
        let staging = internal.join("staging");
        let store = Self { root, staging, _lock: Some(lock) };
        store.sweep()?;
        Ok(store)
    }

    /// Opens a lake for what no fold writes, without its lock: a service may be writing. What is put
    /// must have a name that no fold uses. [`Self::sweep`] leaves nothing behind.
    ///
    /// # Errors
    /// [`LakeError::NotALake`] if there is none.
    pub fn beside(url: &str) -> Result<Self, LakeError> {
        let root = local_root(url)?;
        let internal = root.join(INTERNAL);
        if !internal.is_dir() {
            return Err(LakeError::NotALake { path: root });
        }
        let staging = internal.join(format!("staging-{}", std::process::id()));
        Ok(Self { root, staging, _lock: None })
    }

    /// The lake's folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Puts a file if its name is free. An equal file under that name is this very commit, made
    /// before a crash.
    ///
    /// # Errors
    /// [`LakeError::Differs`] if other contents stand there, [`LakeError::Io`] if the disk fails;
    /// then nothing is visible under the name.
    pub fn put(&self, key: &str, bytes: &[u8]) -> Result<(), LakeError> {
        let target = self.root.join(key);
        let fail = |path: &Path| {
            let path = path.to_owned();
            move |error| LakeError::Io { path, error }
        };
        let folder = target.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder).map_err(fail(folder))?;
        let staged = self.staging.join(key.replace('/', "-"));
        fs::create_dir_all(&self.staging).map_err(fail(&staged))?;
        let written = File::create(&staged)
            .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
        let linked = written.and_then(|()| fs::hard_link(&staged, &target));
        let removed = fs::remove_file(&staged);
        match linked {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let there = fs::read(&target).map_err(fail(&target))?;
                if there != bytes {
                    return Err(LakeError::Differs { key: key.to_owned() });
                }
            }
            Err(error) => return Err(LakeError::Io { path: target, error }),
        }
        removed.map_err(fail(&staged))?;
        self.sync_up(folder)
    }

    /// Reads a file; none if there is none.
    ///
    /// # Errors
    /// [`LakeError::Io`] if the disk fails.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, LakeError> {
        let path = self.root.join(key);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(LakeError::Io { path, error }),
        }
    }

    /// Names in a folder, sorted; empty if there is none.
    ///
    /// # Errors
    /// [`LakeError::Io`] if the disk fails.
    pub fn list(&self, folder: &str) -> Result<Vec<String>, LakeError> {
        let path = self.root.join(folder);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(LakeError::Io { path, error }),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| LakeError::Io { path: path.clone(), error })?;
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    /// Removes what a killed writer left unfinished; leaves no trace of staging behind.
    ///
    /// # Errors
    /// [`LakeError::Io`] if the disk fails.
    pub fn sweep(&self) -> Result<(), LakeError> {
        match fs::remove_dir_all(&self.staging) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(LakeError::Io { path: self.staging.clone(), error })
            }
            _ => Ok(()),
        }
    }

    /// Makes names durable: the folder of a new file and those above it within the lake.
    fn sync_up(&self, folder: &Path) -> Result<(), LakeError> {
        for folder in folder.ancestors() {
            File::open(folder)
                .and_then(|folder| folder.sync_all())
                .map_err(|error| LakeError::Io { path: folder.to_owned(), error })?;
            if folder == self.root {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_once_and_the_same_bytes_again_are_the_same_commit() {
        let folder = tempfile::tempdir().unwrap();
        let url = folder.path().join("lake");
        let store = LocalStore::open(url.to_str().unwrap()).unwrap();
        store.put("t/date=2026-03-04/a", b"one").unwrap();
        store.put("t/date=2026-03-04/a", b"one").unwrap();
        let refused = store.put("t/date=2026-03-04/a", b"two").unwrap_err();
        assert!(matches!(refused, LakeError::Differs { .. }));
        assert_eq!(store.get("t/date=2026-03-04/a").unwrap().unwrap(), b"one");
        assert!(fs::read_dir(&store.staging).unwrap().next().is_none(), "nothing is left behind");
        let second = LocalStore::open(url.to_str().unwrap());
        assert!(matches!(second, Err(LakeError::Busy { .. })));
    }

    #[test]
    fn a_folder_of_something_else_is_no_lake() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("thesis.txt"), "mine").unwrap();
        let refused = LocalStore::open(folder.path().to_str().unwrap());
        assert!(matches!(refused, Err(LakeError::NotALake { .. })));
        assert!(matches!(local_root("s3://bucket/x"), Err(LakeError::Unsupported { .. })));
    }
}
