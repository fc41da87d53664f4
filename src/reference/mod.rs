//! Reference files of the configuration: which there are, what they hold, and since when it counts.
//!
//! A file that is named counts whenever. Of the dated files of a folder the newest counts that is not
//! later than the event time; of databases of places, whose folder may hold several kinds, the newest
//! of each kind, by their own date.

mod dates;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use analytics::lake::{LakeError, LakeShelf};
use analytics::reference::contents::{CONTENTS_BYTES_MAX, Contents, Made};
use analytics::reference::timeline::{Lane, Timeline};
use analytics::reference::{Reference, ReferenceError};
use ingest::source::open::open;
use schemas::reference::{ReferenceKind, ReferenceSet};
use schemas::time::Timestamp;

use crate::config::ReferenceConfig;
use dates::date_of;

/// Plain bytes of contents that are kept in memory between reading and keeping them.
const HELD_BYTES_MAX: usize = 256 << 20;
/// Files that are passed over are named up to this number.
const NAMED_MAX: usize = 5;

/// A reference file that is refused.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {error}", path = path.display())]
pub struct FileError {
    /// The file or folder.
    pub path: PathBuf,
    /// What is wrong with it.
    pub error: ReferenceError,
}

/// Since when a file counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum From {
    /// Whenever.
    Always,
    /// A date in its name.
    Date(Timestamp),
    /// What it says itself, beside others of its kind.
    OwnDate,
}

/// A file that is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferenceFile {
    /// What it is about.
    pub kind: ReferenceKind,
    /// Where it is.
    pub path: PathBuf,
    from: From,
}

/// The file or folder of each kind.
pub fn paths(config: &ReferenceConfig) -> impl Iterator<Item = (ReferenceKind, &PathBuf)> {
    ReferenceKind::ALL.into_iter().filter_map(move |kind| {
        let path = match kind {
            ReferenceKind::AsRelationships => &config.as_relationships,
            ReferenceKind::Organisations => &config.organisations,
            ReferenceKind::Vrps => &config.vrps,
            ReferenceKind::Aspas => &config.aspas,
            ReferenceKind::Edges => &config.edges,
            ReferenceKind::Geoip => &config.geoip,
        };
        path.as_ref().map(|path| (kind, path))
    })
}

/// The files of one kind, by date: the one that is named, or those of a folder. Beside them the first
/// names of what is passed over there.
///
/// # Errors
/// [`FileError`] for a folder that cannot be read or has no such file.
pub fn files_of(
    kind: ReferenceKind,
    path: &Path,
) -> Result<(Vec<ReferenceFile>, Vec<String>), FileError> {
    if !path.is_dir() {
        let file = ReferenceFile { kind, path: path.to_owned(), from: From::Always };
        return Ok((vec![file], Vec::new()));
    }
    let fail = |error: std::io::Error| FileError { path: path.to_owned(), error: error.into() };
    let (mut files, mut passed_over) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(path).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with('.') || path.is_dir() {
            continue;
        }
        let from = match kind {
            ReferenceKind::Geoip => {
                path.extension().is_some_and(|end| end == "mmdb").then_some(From::OwnDate)
            }
            _ => date_of(&name).map(From::Date),
        };
        match from {
            Some(from) => files.push(ReferenceFile { kind, path, from }),
            None => passed_over.push(name),
        }
    }
    if files.is_empty() {
        let words = match kind {
            ReferenceKind::Geoip => "no file in this folder ends in .mmdb",
            _ => "no file in this folder has a date in its name, such as 20260304 or 2026-03-04",
        };
        return Err(fail(std::io::Error::other(words)));
    }
    passed_over.sort();
    passed_over.truncate(NAMED_MAX);
    files.sort_by(|a, b| (a.from, &a.path).cmp(&(b.from, &b.path)));
    Ok((files, passed_over))
}

/// Says what was passed over.
pub fn tell_passed_over(path: &Path, names: &[String]) {
    if !names.is_empty() {
        let (path, files) = (path.display(), names.join(", "));
        tracing::warn!(%path, files, "no reference files by their names, passed over");
    }
}

impl ReferenceFile {
    /// Reads and checks it. `made`: when it was made, if neither it nor its name says so.
    ///
    /// # Errors
    /// [`FileError`] with the line.
    pub fn read(&self, made: Made) -> Result<Contents, FileError> {
        let fail = |error: ReferenceError| FileError { path: self.path.clone(), error };
        let made = match self.from {
            From::Date(date) => Made::At(date),
            From::Always | From::OwnDate => made,
        };
        let bytes = self.bytes().map_err(|error| fail(error.into()))?;
        Contents::read(self.kind, bytes, made).map_err(fail)
    }

    /// Its plain bytes. A database is taken as it is: one that is packed is refused with a remedy.
    fn bytes(&self) -> std::io::Result<Vec<u8>> {
        if self.kind == ReferenceKind::Geoip {
            return fs::read(&self.path);
        }
        let mut bytes = Vec::new();
        let limit = CONTENTS_BYTES_MAX as u64 + 1;
        open(&self.path)?.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Whether its date, if it has one, is not later than this.
    #[must_use]
    pub fn counts_at(&self, now: Timestamp) -> bool {
        !matches!(self.from, From::Date(date) if date > now)
    }
}

/// Of files by date the newest that is not later than `now`; databases of places all.
#[must_use]
pub fn newest(files: Vec<ReferenceFile>, now: Timestamp) -> Vec<ReferenceFile> {
    let mut counting: Vec<ReferenceFile> =
        files.into_iter().filter(|file| file.counts_at(now)).collect();
    if counting.iter().any(|file| file.from == From::OwnDate) {
        return counting;
    }
    counting.drain(..counting.len().saturating_sub(1));
    counting
}

/// Databases of a folder with the time since when each counts: those of one kind by their own dates.
///
/// # Errors
/// [`FileError`] if two of one kind say that they were made at the same time.
pub fn dated_databases(
    read: Vec<(ReferenceFile, Contents)>,
) -> Result<Vec<(Timestamp, ReferenceFile, Contents)>, FileError> {
    let mut lanes: BTreeMap<Lane, Vec<(ReferenceFile, Contents)>> = BTreeMap::new();
    for (file, contents) in read {
        lanes.entry(Lane::of(&contents)).or_default().push((file, contents));
    }
    let mut dated = Vec::new();
    for mut lane in lanes.into_values() {
        lane.sort_by_key(|(_, contents)| contents.version.date);
        let dates: Vec<Option<Timestamp>> =
            lane.iter().map(|(_, contents)| contents.version.date).collect();
        for (at, (file, contents)) in lane.into_iter().enumerate() {
            let date = dates.get(at).copied().flatten();
            if dates.iter().skip(at + 1).any(|other| *other == date) {
                let words =
                    "another database in this folder is of the same kind and date: keep one";
                let error = std::io::Error::other(words).into();
                return Err(FileError { path: file.path, error });
            }
            let is_alone = dates.len() == 1;
            let from = date.filter(|_| !is_alone).unwrap_or(Timestamp::MIN);
            dated.push((from, file, contents));
        }
    }
    Ok(dated)
}

/// What counts when, by the files of a configuration: for a replay.
#[derive(Debug, Default)]
pub struct Schedule {
    /// What counts since when.
    pub steps: Vec<(Timestamp, ReferenceSet)>,
    /// Kind, hash and date of every file, for the identity of a log.
    pub hashes: Vec<String>,
    /// The newest of everything.
    pub reference: Reference,
    contents: Vec<Held>,
}

/// Contents, or where they were read.
#[derive(Debug)]
enum Held {
    Contents(Contents),
    File(ReferenceFile, Made),
}

impl Schedule {
    /// Reads every file.
    ///
    /// # Errors
    /// [`FileError`] with the file and the line.
    pub fn read(config: &ReferenceConfig) -> Result<Self, FileError> {
        let mut files = Vec::new();
        for (kind, path) in paths(config) {
            let (found, passed_over) = files_of(kind, path)?;
            tell_passed_over(path, &passed_over);
            if found.iter().all(|file| file.from == From::OwnDate) {
                let read = found.into_iter().map(|file| {
                    let contents = file.read(Made::ByOwnWord(Timestamp::MIN))?;
                    Ok((file, contents))
                });
                let read = read.collect::<Result<Vec<_>, FileError>>()?;
                let dated = dated_databases(read)?;
                files.extend(dated.into_iter().map(|(from, file, read)| (from, file, Some(read))));
                continue;
            }
            let from = |file: &ReferenceFile| match file.from {
                From::Date(date) => date,
                From::Always | From::OwnDate => Timestamp::MIN,
            };
            files.extend(found.into_iter().map(|file| (from(&file), file, None)));
        }
        files.sort_by_key(|(from, file, _)| (*from, file.kind));
        let mut schedule = Self::default();
        let (mut timeline, mut held_bytes) = (Timeline::default(), 0);
        for (from, file, read) in files {
            let made = Made::Whenever;
            let contents = read.map_or_else(|| file.read(made), Ok)?;
            timeline.offer(from, &contents);
            schedule.add(from, file, made, contents, &mut held_bytes);
        }
        schedule.steps = timeline.finish();
        schedule.hashes.sort();
        Ok(schedule)
    }

    fn add(
        &mut self,
        from: Timestamp,
        file: ReferenceFile,
        made: Made,
        contents: Contents,
        held_bytes: &mut usize,
    ) {
        let (kind, hash) = (file.kind.as_str(), &contents.version.hash);
        let since = if from == Timestamp::MIN { String::new() } else { format!(" {from}") };
        self.hashes.push(format!("{kind}:{hash}{since}"));
        self.reference.add(contents.part.clone());
        *held_bytes += contents.bytes.len();
        self.contents.push(if *held_bytes <= HELD_BYTES_MAX {
            Held::Contents(contents)
        } else {
            Held::File(file, made)
        });
    }

    /// Keeps all contents in a lake: folds read them there.
    ///
    /// # Errors
    /// [`ScheduleError`] if the lake does not take them, or a file is another one by now.
    pub fn keep(self, shelf: &LakeShelf) -> Result<Vec<(Timestamp, ReferenceSet)>, ScheduleError> {
        for held in self.contents {
            match held {
                Held::Contents(contents) => shelf.keep(&contents)?,
                Held::File(file, made) => shelf.keep(&file.read(made)?)?,
            }
        }
        Ok(self.steps)
    }
}

/// Why contents cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// The lake says no.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// A file cannot be read any more.
    #[error(transparent)]
    File(#[from] FileError),
}

#[cfg(test)]
mod tests;
