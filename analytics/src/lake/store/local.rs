//! A lake on local disk: create-if-absent, fsynced.
//!
//! A put writes beside the tables, fsyncs, and links the file to its name: the link either appears
//! whole or fails because the name is taken. `object_store` 0.13 does the same without the fsyncs
//! (arrow-rs-object-store#643), which is why the local store is our own.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read as _, Seek as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use schemas::killpoint::{self, KillPoint};

use super::staging::{self, Staging};
use super::{Entry, LakeError};
use crate::lake::layout::INTERNAL;

/// Links tried while another process removes the emptied folder of the day.
const LINKS_MAX: u32 = 8;
/// Pause before a full disk is tried again.
const PAUSE: Duration = Duration::from_secs(1);
/// Time between two words about it.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Who else may write while a lake is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sharing {
    /// Nobody.
    Alone,
    /// Others who share it; the names of files decide between them.
    Shared,
    /// Anybody: no lock is taken, and no lake is made.
    Beside,
}

/// A lake on local disk.
#[derive(Debug)]
pub(super) struct Local {
    root: PathBuf,
    internal: PathBuf,
    staging: Mutex<Option<Arc<Staging>>>,
    /// How long a full disk is tried again.
    patience: Duration,
    _lock: Option<File>,
}

/// Does what needs room on the disk, again and again while there is none.
fn with_room<T>(
    patience: Duration,
    attempt: impl Fn() -> Result<T, LakeError>,
) -> Result<T, LakeError> {
    let (since, mut told) = (Instant::now(), None::<Instant>);
    loop {
        match attempt() {
            Err(LakeError::Io { path, error }) if is_full(&error) => {
                if since.elapsed() >= patience {
                    return Err(LakeError::Full { path, secs: patience.as_secs(), error });
                }
                if told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
                    told = Some(Instant::now());
                    let path = path.display();
                    tracing::error!(%path, %error, "lake not written, folds wait; make room");
                }
                std::thread::sleep(PAUSE);
            }
            done => return done,
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

fn fail(path: &Path) -> impl FnOnce(io::Error) -> LakeError {
    let path = path.to_owned();
    move |error| LakeError::Io { path, error }
}

impl Local {
    /// Opens a lake; makes its folder if there is none, unless it is opened beside others.
    pub(super) fn open(root: &Path, sharing: Sharing) -> Result<Self, LakeError> {
        let internal = root.join(INTERNAL);
        let lake = || root.display().to_string();
        if sharing == Sharing::Beside {
            if !internal.is_dir() {
                return Err(LakeError::Missing { lake: lake() });
            }
            return Ok(Self::new(root, internal, None));
        }
        if !internal.is_dir() {
            fs::create_dir_all(root).map_err(fail(root))?;
            if fs::read_dir(root).map_err(fail(root))?.next().is_some() && !internal.is_dir() {
                return Err(LakeError::NotALake { lake: lake() });
            }
            fs::create_dir_all(&internal).map_err(fail(root))?;
        }
        let lock = File::open(&internal).map_err(fail(root))?;
        let locked = match sharing {
            Sharing::Alone => lock.try_lock(),
            Sharing::Shared | Sharing::Beside => lock.try_lock_shared(),
        };
        match locked {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LakeError::Busy { lake: lake() }),
            Err(TryLockError::Error(error)) => return Err(fail(root)(error)),
        }
        let store = Self::new(root, internal, Some(lock));
        store.sweep()?;
        Ok(store)
    }

    fn new(root: &Path, internal: PathBuf, lock: Option<File>) -> Self {
        let (staging, patience) = (Mutex::default(), Duration::ZERO);
        Self { root: root.to_owned(), internal, staging, patience, _lock: lock }
    }

    /// The same, trying a full disk again for so long.
    pub(super) fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    fn staging(&self) -> Result<Arc<Staging>, LakeError> {
        let mut staging = self.staging.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(staging) = &*staging {
            return Ok(Arc::clone(staging));
        }
        let made = Arc::new(Staging::make(&self.internal).map_err(fail(&self.internal))?);
        *staging = Some(Arc::clone(&made));
        Ok(made)
    }

    pub(super) fn put(&self, key: &str, bytes: &[u8]) -> Result<(), LakeError> {
        with_room(self.patience, || self.put_once(key, bytes))
    }

    fn put_once(&self, key: &str, bytes: &[u8]) -> Result<(), LakeError> {
        let target = self.root.join(key);
        let folder = target.parent().unwrap_or(&self.root);
        let staging = self.staging()?;
        let staged = staging.write(bytes).map_err(fail(&target))?;
        killpoint::reach(KillPoint::Put);
        let linked = Self::link(&staged, &target, folder);
        killpoint::reach(KillPoint::Put);
        let removed = fs::remove_file(&staged);
        match linked {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let there = fs::read(&target).map_err(fail(&target))?;
                if there != bytes {
                    return Err(LakeError::Differs { key: key.to_owned() });
                }
            }
            Err(error) if has_no_links(&error) => {
                return Err(LakeError::NoLinks { path: target, error });
            }
            Err(error) => return Err(LakeError::Io { path: target, error }),
        }
        removed.map_err(fail(&staged))?;
        self.sync_up(folder)
    }

    /// Links a file to its name. Who removes the last file of a day removes its folder too, perhaps
    /// between our making it and our linking into it.
    fn link(staged: &Path, target: &Path, folder: &Path) -> io::Result<()> {
        let mut tried = 1;
        loop {
            let linked = fs::create_dir_all(folder).and_then(|()| fs::hard_link(staged, target));
            match linked {
                Err(error) if error.kind() == ErrorKind::NotFound && tried < LINKS_MAX => {
                    tried += 1
                }
                other => return other,
            }
        }
    }

    pub(super) fn put_over(&self, key: &str, bytes: &[u8]) -> Result<(), LakeError> {
        with_room(self.patience, || self.put_over_once(key, bytes))
    }

    fn put_over_once(&self, key: &str, bytes: &[u8]) -> Result<(), LakeError> {
        let target = self.root.join(key);
        let folder = target.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder).map_err(fail(folder))?;
        let staged = self.staging()?.write(bytes).map_err(fail(&target))?;
        fs::rename(&staged, &target).map_err(fail(&target))?;
        self.sync_up(folder)
    }

    pub(super) fn get(&self, key: &str) -> Result<Option<Vec<u8>>, LakeError> {
        let path = self.root.join(key);
        present(fs::read(&path)).map_err(fail(&path))
    }

    pub(super) fn get_range(
        &self,
        key: &str,
        range: Range<u64>,
    ) -> Result<Option<Vec<u8>>, LakeError> {
        let path = self.root.join(key);
        let read = File::open(&path).and_then(|mut file| {
            file.seek(io::SeekFrom::Start(range.start))?;
            let mut bytes = Vec::new();
            file.take(range.end.saturating_sub(range.start)).read_to_end(&mut bytes)?;
            Ok(bytes)
        });
        present(read).map_err(fail(&path))
    }

    pub(super) fn size(&self, key: &str) -> Result<Option<u64>, LakeError> {
        let path = self.root.join(key);
        present(fs::metadata(&path).map(|file| file.len())).map_err(fail(&path))
    }

    pub(super) fn list(&self, folder: &str) -> Result<Vec<String>, LakeError> {
        let path = self.root.join(folder);
        let Some(entries) = present(fs::read_dir(&path)).map_err(fail(&path))? else {
            return Ok(Vec::new());
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(fail(&path))?;
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    pub(super) fn list_all(&self, prefix: &str) -> Result<Vec<Entry>, LakeError> {
        let mut found = Vec::new();
        let mut folders = vec![prefix.trim_end_matches('/').to_owned()];
        while let Some(folder) = folders.pop() {
            for name in self.list(&folder)? {
                let key = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                let path = self.root.join(&key);
                // Gone between the two looks: as if it had not been seen.
                let Some(file) = present(fs::metadata(&path)).map_err(fail(&path))? else {
                    continue;
                };
                match file.is_dir() {
                    true => folders.push(key),
                    false => found.push(Entry { key, bytes: file.len() }),
                }
            }
        }
        found.sort();
        Ok(found)
    }

    pub(super) fn delete(&self, key: &str) -> Result<(), LakeError> {
        let path = self.root.join(key);
        if present(fs::remove_file(&path)).map_err(fail(&path))?.is_none() {
            return Ok(());
        }
        let folder = path.parent().unwrap_or(&self.root);
        present(File::open(folder).and_then(|folder| folder.sync_all())).map_err(fail(folder))?;
        if folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with("date=")) {
            // Fails unless it is empty.
            let _ = fs::remove_dir(folder);
        }
        Ok(())
    }

    pub(super) fn sweep(&self) -> Result<(), LakeError> {
        drop(self.staging.lock().unwrap_or_else(PoisonError::into_inner).take());
        staging::sweep(&self.internal).map_err(fail(&self.internal))
    }

    pub(super) fn leftovers(&self) -> Result<Vec<String>, LakeError> {
        let folders = staging::left(&self.internal).map_err(fail(&self.internal))?;
        let keys = folders.iter().filter_map(|folder| folder.strip_prefix(&self.root).ok());
        Ok(keys.map(|key| key.display().to_string()).collect())
    }

    /// Makes names durable: the folder of a new file and those above it within the lake.
    fn sync_up(&self, folder: &Path) -> Result<(), LakeError> {
        for folder in folder.ancestors() {
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(fail(folder))?;
            if folder == self.root {
                break;
            }
        }
        Ok(())
    }
}

/// What is not there is none.
fn present<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(there) => Ok(Some(there)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether it is what a file system without hard links says.
fn has_no_links(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::TooManyLinks)
        // EPERM of link(2) has this meaning only.
        || error.raw_os_error() == Some(1)
}
