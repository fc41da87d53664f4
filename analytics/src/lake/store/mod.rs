//! The store of a lake: one create-if-absent put is the commit, on local disk and in object stores.
//!
//! [`Store`] blocks and may be called from any thread. On local disk it is our own ([`local`]), in
//! S3, Azure Blob and Google Cloud Storage it goes through `object_store` ([`remote`]), with a test at
//! the opening that create-if-absent is kept: `docs/decisions/0027-stores.md`.

mod connect;
mod error;
mod local;
mod remote;
mod staging;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::time::Duration;

pub use connect::objects;
pub use error::LakeError;

use super::place::{LakeRoot, Place};
use local::{Local, Sharing};
use remote::Remote;

/// A file of a lake.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Its key: the path within the lake, parted by `/`.
    pub key: String,
    /// Its size.
    pub bytes: u64,
}

/// The store of one lake.
#[derive(Debug)]
pub struct Store {
    root: LakeRoot,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Local(Local),
    Remote(Remote),
}

/// Calls the same method on whichever store it is.
macro_rules! either {
    ($self:ident.$method:ident($($argument:expr),*)) => {
        match &$self.kind {
            Kind::Local(store) => store.$method($($argument),*),
            Kind::Remote(store) => store.$method($($argument),*),
        }
    };
}

impl Store {
    /// Opens a lake for writing, as the environment says; see [`Self::open_at`].
    ///
    /// # Errors
    /// As [`Self::open_at`]; [`LakeError::Place`] for what is no URL of a lake.
    pub fn open(url: &str) -> Result<Self, LakeError> {
        Self::open_at(&LakeRoot::parse(url)?)
    }

    /// Opens a lake for what no fold writes, as the environment says; see [`Self::beside_at`].
    ///
    /// # Errors
    /// As [`Self::beside_at`]; [`LakeError::Place`] for what is no URL of a lake.
    pub fn beside(url: &str) -> Result<Self, LakeError> {
        Self::beside_at(&LakeRoot::parse(url)?)
    }

    /// Opens a lake for writing; makes it if there is none. On local disk nobody else may write it
    /// while this value lives. In an object store others may: the names of files decide.
    ///
    /// # Errors
    /// [`LakeError`] if it is something else, is being written, cannot be reached, or its store does
    /// not keep create-if-absent.
    pub fn open_at(root: &LakeRoot) -> Result<Self, LakeError> {
        Self::new(root, |folder| Local::open(folder, Sharing::Alone), Remote::open)
    }

    /// Opens a lake for writing together with others who open it like this: the names of files decide
    /// between them.
    ///
    /// # Errors
    /// As [`Self::open_at`].
    pub fn open_shared(root: &LakeRoot) -> Result<Self, LakeError> {
        Self::new(root, |folder| Local::open(folder, Sharing::Shared), Remote::open)
    }

    /// Opens a lake for what no fold writes, without a lock: a service may be writing. What is put
    /// must have a name that no fold uses. [`Self::sweep`] leaves nothing behind.
    ///
    /// # Errors
    /// [`LakeError::Missing`] if there is none; else as [`Self::open_at`].
    pub fn beside_at(root: &LakeRoot) -> Result<Self, LakeError> {
        Self::new(root, |folder| Local::open(folder, Sharing::Beside), Remote::beside)
    }

    /// Opens a lake that is only read.
    ///
    /// # Errors
    /// [`LakeError::Missing`] if there is none; else what its store says.
    pub fn read_at(root: &LakeRoot) -> Result<Self, LakeError> {
        Self::new(root, |folder| Local::open(folder, Sharing::Beside), Remote::read)
    }

    fn new(
        root: &LakeRoot,
        local: impl FnOnce(&std::path::Path) -> Result<Local, LakeError>,
        remote: impl FnOnce(&LakeRoot) -> Result<Remote, LakeError>,
    ) -> Result<Self, LakeError> {
        let kind = match root.place() {
            Place::Folder(folder) => {
                let patience = Duration::from_secs(root.access().retry_secs.into());
                Kind::Local(local(folder)?.patient(patience))
            }
            Place::Bucket { .. } => Kind::Remote(remote(root)?),
        };
        Ok(Self { root: root.clone(), kind })
    }

    /// Where the lake lies.
    #[must_use]
    pub fn root(&self) -> &LakeRoot {
        &self.root
    }

    /// Puts that were made again because the store failed; a disk does not.
    #[must_use]
    pub fn retries(&self) -> u64 {
        match &self.kind {
            Kind::Local(_) => 0,
            Kind::Remote(store) => store.retries(),
        }
    }

    /// Puts a file if its name is free. An equal file under that name is this very commit, made
    /// before a crash or an answer that was lost.
    ///
    /// # Errors
    /// [`LakeError::Differs`] if other contents stand there; then the race for this name is lost.
    /// Else what the disk or the store says; on local disk nothing is visible under the name then.
    pub fn put(&self, key: &str, bytes: &[u8]) -> Result<(), LakeError> {
        either!(self.put(key, bytes))
    }

    /// Puts a file whether or not its name is taken; readers see the old one or the new one, whole.
    ///
    /// # Errors
    /// What the disk or the store says.
    pub fn put_over(&self, key: &str, bytes: &[u8]) -> Result<(), LakeError> {
        either!(self.put_over(key, bytes))
    }

    /// Reads a file; none if there is none.
    ///
    /// # Errors
    /// What the disk or the store says.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, LakeError> {
        either!(self.get(key))
    }

    /// Reads a part of a file, up to its end; none if there is no such file.
    ///
    /// # Errors
    /// What the disk or the store says; also a range that starts behind the end.
    pub fn get_range(&self, key: &str, range: Range<u64>) -> Result<Option<Vec<u8>>, LakeError> {
        either!(self.get_range(key, range))
    }

    /// Reads at most so many bytes from the end of a file; none if there is no such file.
    ///
    /// # Errors
    /// What the disk or the store says.
    pub fn get_end(&self, key: &str, bytes: u64) -> Result<Option<Vec<u8>>, LakeError> {
        let Some(size) = either!(self.size(key))? else { return Ok(None) };
        self.get_range(key, size.saturating_sub(bytes)..size)
    }

    /// Names in a folder, sorted; empty if there is none.
    ///
    /// # Errors
    /// What the disk or the store says.
    pub fn list(&self, folder: &str) -> Result<Vec<String>, LakeError> {
        either!(self.list(folder))
    }

    /// All files under a folder, at any depth, sorted by key; empty if there is none.
    ///
    /// # Errors
    /// What the disk or the store says.
    pub fn list_all(&self, folder: &str) -> Result<Vec<Entry>, LakeError> {
        either!(self.list_all(folder))
    }

    /// Removes a file; it may be gone already.
    ///
    /// # Errors
    /// What the disk or the store says.
    pub fn delete(&self, key: &str) -> Result<(), LakeError> {
        either!(self.delete(key))
    }

    /// Removes what killed writers left unfinished, and our own staging. An object store has none.
    ///
    /// # Errors
    /// [`LakeError::Io`] if the disk fails.
    pub fn sweep(&self) -> Result<(), LakeError> {
        match &self.kind {
            Kind::Local(store) => store.sweep(),
            Kind::Remote(_) => Ok(()),
        }
    }

    /// What killed writers left unfinished.
    ///
    /// # Errors
    /// What the disk or the store says.
    pub fn leftovers(&self) -> Result<Vec<String>, LakeError> {
        either!(self.leftovers())
    }
}
