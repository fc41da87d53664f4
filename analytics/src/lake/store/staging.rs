//! Staging: a folder of one process for files that are not whole yet.
//!
//! It is locked while its owner lives, so that what a killed one left can be told from what another
//! is writing at this moment, and swept.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use schemas::killpoint::{self, KillPoint};

/// How the folders of all processes start.
const NAME: &str = "staging";

/// Folders of one process id that are tried: more live at once only across machines.
const FOLDERS_MAX: u32 = 1_000;

/// A locked folder; it goes with this value.
#[derive(Debug)]
pub(super) struct Staging {
    folder: PathBuf,
    next: AtomicU64,
    _lock: File,
}

impl Staging {
    /// Makes a folder of this process in the lake's internal one.
    pub(super) fn make(internal: &Path) -> io::Result<Self> {
        for number in 0..FOLDERS_MAX {
            let folder = internal.join(format!("{NAME}-{}-{number}", std::process::id()));
            fs::create_dir_all(&folder)?;
            let Some(lock) = lock(&folder)? else { continue };
            // A sweep may have taken it away before it was locked.
            let is_there = fs::metadata(&folder).is_ok_and(|there| {
                lock.metadata()
                    .is_ok_and(|mine| (mine.dev(), mine.ino()) == (there.dev(), there.ino()))
            });
            if is_there {
                return Ok(Self { folder, next: AtomicU64::new(0), _lock: lock });
            }
        }
        Err(io::Error::other("every staging folder of this process is taken"))
    }

    /// Writes a file and makes its contents durable.
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<PathBuf> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.join(number.to_string());
        let written = File::create_new(&path).and_then(|mut file| {
            killpoint::write(KillPoint::Put, bytes, |part| file.write_all(part))?;
            file.sync_all()
        });
        match written {
            Ok(()) => Ok(path),
            Err(error) => {
                let _ = fs::remove_file(&path);
                Err(error)
            }
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What stays is swept by the next process.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Removes the folders whose owner is gone.
pub(super) fn sweep(internal: &Path) -> io::Result<()> {
    for (folder, _lock) in locked(internal)? {
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// The folders whose owner is gone.
pub(super) fn left(internal: &Path) -> io::Result<Vec<PathBuf>> {
    Ok(locked(internal)?.into_iter().map(|(folder, _)| folder).collect())
}

/// The folders whose owner is gone, locked, so that none becomes another's meanwhile.
fn locked(internal: &Path) -> io::Result<Vec<(PathBuf, File)>> {
    let entries = match fs::read_dir(internal) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut folders = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(NAME)
            && let Some(lock) = lock(&entry.path())?
        {
            folders.push((entry.path(), lock));
        }
    }
    folders.sort_by(|(left, _), (right, _)| left.cmp(right));
    Ok(folders)
}

/// Locks a folder; none if another holds it or it is gone.
fn lock(folder: &Path) -> io::Result<Option<File>> {
    let file = match File::open(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_living_process_stages_is_not_swept_and_what_a_dead_one_left_is() {
        let internal = tempfile::tempdir().unwrap();
        let dead = internal.path().join("staging-1-0");
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join("0"), "half").unwrap();
        let [one, two] = [(); 2].map(|()| Staging::make(internal.path()).unwrap());
        let file = one.write(b"whole").unwrap();
        assert_ne!(file, two.write(b"whole").unwrap(), "two stores of one process");
        assert_eq!(left(internal.path()).unwrap(), std::slice::from_ref(&dead));
        sweep(internal.path()).unwrap();
        assert!(file.exists() && !dead.exists());
        drop((one, two));
        assert_eq!(fs::read_dir(internal.path()).unwrap().count(), 0);
    }
}
