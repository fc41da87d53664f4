//! The catalogue: the files of a lake's tables by what their names say, listed at one instant.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use schemas::tables::{MARKS, Table};
use schemas::time::Timestamp;

use super::cover::{Cover, cover};
use super::layout::{FileName, parts};
use super::store::{Entry, LakeError, Store};

/// Listings of a folder until two agree, or until no file of one went before it was read.
pub(crate) const LISTINGS_MAX: u32 = 16;
/// Files that are looked at together.
const THREADS_MAX: usize = 8;

/// One file of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableFile {
    /// Day of its folder, `YYYY-MM-DD`.
    pub day: String,
    /// What its name says.
    pub name: FileName,
    /// Key and size.
    pub entry: Entry,
}

/// The files of one table.
#[derive(Clone, Debug)]
pub struct Folder {
    /// The table.
    pub table: Table,
    /// Its files, in the order of their chains.
    pub live: Vec<TableFile>,
    /// Files that a compacted one stands for.
    pub garbage: Vec<TableFile>,
    /// What has no name of ours.
    pub strange: Vec<Entry>,
}

/// Is told the live files of a table that changed, before files are deleted.
pub type Publish<'a> = dyn FnMut(Table, &[TableFile]) -> Result<(), LakeError> + 'a;

/// Log and partition: what makes a chain of a table.
pub type ChainId = (String, u32);

impl Folder {
    /// Lists the files of a table.
    ///
    /// # Errors
    /// What the store says.
    pub fn list(store: &Store, table: Table) -> Result<Self, LakeError> {
        let (mut files, mut strange) = (Vec::new(), Vec::new());
        for entry in listed(store, table.name)? {
            let named = parts(&entry.key)
                .filter(|(_, day, _)| day_start(day).is_some())
                .and_then(|(_, day, name)| Some((day.to_owned(), FileName::parse(name)?)));
            match named {
                Some((day, name)) => {
                    let file = TableFile { day, name: name.clone(), entry };
                    files.push((name, file));
                }
                None => strange.push(entry),
            }
        }
        let Cover { live, garbage } = cover(files);
        let files = |named: Vec<(FileName, TableFile)>| named.into_iter().map(|(_, f)| f).collect();
        Ok(Self { table, live: files(live), garbage: files(garbage), strange })
    }

    /// Its live files by chain, each in the order of its offsets.
    #[must_use]
    pub fn chains(&self) -> BTreeMap<ChainId, Vec<&TableFile>> {
        let mut chains: BTreeMap<ChainId, Vec<&TableFile>> = BTreeMap::new();
        for file in &self.live {
            let id = (file.name.log.clone(), file.name.partition);
            chains.entry(id).or_default().push(file);
        }
        chains
    }

    /// The newest day that has a file.
    #[must_use]
    pub fn newest_day(&self) -> Option<&str> {
        self.live.iter().map(|file| file.day.as_str()).max()
    }

    /// The live compacted file that answers for all from a file's start to `end`.
    #[must_use]
    pub fn covering(&self, file: &TableFile, end: u64) -> Option<&TableFile> {
        self.live.iter().find(|live| {
            let is_of_chain =
                live.name.log == file.name.log && live.name.partition == file.name.partition;
            let covers = |live_end| live.name.start <= file.name.start && end <= live_end;
            is_of_chain && live.name.end.is_some_and(covers)
        })
    }
}

/// The instant at which a day begins; none for what is no day.
#[must_use]
pub fn day_start(day: &str) -> Option<Timestamp> {
    let start: Timestamp = format!("{day}T00:00:00Z").parse().ok()?;
    (start.day() == day).then_some(start)
}

/// The newest day with a file in any of these tables: what the lake knows of the time. Marks lie
/// under the days of their findings, which are times of sources: they count for nothing, nor
/// does a day to come.
#[must_use]
pub fn newest_day(folders: &[Folder], now: Timestamp) -> Option<Timestamp> {
    let of_logs = folders.iter().filter(|folder| folder.table.name != MARKS.name);
    let newest = of_logs.filter_map(Folder::newest_day).max().and_then(day_start);
    newest.map(|day| day.min(now))
}

/// Whether a listing, in the order of its places, has everything of the one before it.
pub(crate) fn has_all<T, P: Ord + ?Sized>(
    files: &[T],
    before: &[T],
    place: impl Fn(&T) -> &P,
) -> bool {
    let is_there = |file: &T| files.binary_search_by(|other| place(other).cmp(place(file))).is_ok();
    before.iter().all(is_there)
}

/// Lists a folder at one instant: a listing is believed if nothing is gone that the one before it
/// has seen. (What a compaction does within one listing could hide from it.)
fn listed(store: &Store, folder: &str) -> Result<Vec<Entry>, LakeError> {
    let mut before = store.list_all(folder)?;
    for _ in 1..LISTINGS_MAX {
        let files = store.list_all(folder)?;
        if has_all(&files, &before, |file| file.key.as_str()) {
            return Ok(files);
        }
        before = files;
    }
    Err(LakeError::Restless { folder: folder.to_owned() })
}

/// Looks at files with a few threads; the answers in the order of the files.
///
/// # Errors
/// The first that a look gave.
pub fn each<T: Send>(
    files: &[TableFile],
    look: impl Fn(&TableFile) -> Result<T, LakeError> + Sync,
) -> Result<Vec<T>, LakeError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
    let next = AtomicUsize::new(0);
    let answers = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.min(files.len()) {
            scope.spawn(|| {
                while let Some((number, file)) = {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    files.get(number).map(|file| (number, file))
                } {
                    let answer = look(file);
                    let failed = answer.is_err();
                    let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
                    answers.push((number, answer));
                    if failed {
                        next.store(files.len(), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let mut answers = answers.into_inner().unwrap_or_else(PoisonError::into_inner);
    answers.sort_by_key(|(number, _)| *number);
    answers.into_iter().map(|(_, answer)| answer).collect()
}
