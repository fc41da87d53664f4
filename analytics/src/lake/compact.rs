//! Compaction: the many files of a sealed day into few, while others read and write.
//!
//! A day of a chain is sealed when the chain has gone on into a later one, and old enough that no
//! writer that was stopped for long may still put a file there. The files of a day, in order, are
//! taken together until they hold [`COMPACTED_ROWS_MAX`] rows; what is together is a function of the
//! day's first files alone, and so are the bytes of what comes of it. Two compactions at once, or one
//! after one that was killed anywhere, make the same files.
//!
//! 1. The rows are read, sorted and put under a name that says START and END, if it is free.
//! 2. `_peerscope/tables.sql` is replaced: readers that go by it see the new file from here on.
//! 3. The inputs are deleted, in order. Between 1 and 3 both are there: [`super::cover`].
//!
//! The head of a chain is never touched: who goes on with the chain reads its end there.

use std::collections::BTreeMap;

use schemas::killpoint::{self, KillPoint};
use schemas::tables::Table;
use schemas::time::Timestamp;

use super::catalog::{Folder, Publish, TableFile};
use super::encode::{Span, encode_sorted};
use super::footer::{FileProblem, Footer, footer, rows};
use super::layout::compacted_key;
use super::store::{Entry, LakeError, Store};

/// Rows of a compacted file: part of the layout. Two compactions that differ in it would make files
/// that overlap.
pub const COMPACTED_ROWS_MAX: u64 = 524_288;

/// What a compaction is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The last day that is old enough, `YYYY-MM-DD`.
    pub last_day: String,
    /// Logs whose chains are still being written from their start.
    pub unfinished: Vec<String>,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
    /// [`COMPACTED_ROWS_MAX`].
    rows_max: u64,
}

impl Plan {
    /// A plan for a lake whose newest day is `newest`: days that have been over for so many hours.
    #[must_use]
    pub fn new(newest: Timestamp, after_hours: u32) -> Self {
        let secs = 86_400 + 3_600 * i64::from(after_hours);
        Self {
            last_day: newest.plus_secs(-secs).day(),
            unfinished: Vec::new(),
            dry_run: false,
            rows_max: COMPACTED_ROWS_MAX,
        }
    }
}

/// What was done to one table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Files that were replaced.
    pub files_before: u64,
    /// Files that replaced them.
    pub files_after: u64,
    /// Bytes of the ones.
    pub bytes_before: u64,
    /// Bytes of the others.
    pub bytes_after: u64,
    /// Rows in them.
    pub rows: u64,
    /// Files of an earlier compaction that was killed, removed.
    pub left_removed: u64,
    /// Chains and days that were passed over, with the reason.
    pub passed_over: Vec<String>,
}

/// Files of one chain and day that become one.
struct Group<'a> {
    day: &'a str,
    files: Vec<(&'a TableFile, Footer)>,
}

/// Compacts one table. `publish` is told the table's live files before any is deleted.
///
/// # Errors
/// What the store says; what was done until then is whole.
pub fn compact(
    store: &Store,
    table: Table,
    plan: &Plan,
    publish: &mut Publish<'_>,
) -> Result<Compacted, LakeError> {
    let folder = Folder::list(store, table)?;
    let mut done = Compacted::default();
    remove_left(store, &folder, plan, &mut done)?;
    let mut live: Vec<TableFile> = folder.live.clone();
    let mut days: BTreeMap<&str, Vec<Group<'_>>> = BTreeMap::new();
    for files in folder.chains().values() {
        for group in groups(store, files, plan, &mut done)? {
            days.entry(group.day).or_default().push(group);
        }
    }
    for groups in days.into_values() {
        let mut replaced: Vec<&Entry> = Vec::new();
        for group in groups {
            if plan.dry_run {
                done.count(&group, None);
                continue;
            }
            let Some(made) = create(store, table, &group, &mut done)? else { continue };
            done.count(&group, Some(&made));
            let inputs = group.files.iter().map(|(file, _)| *file);
            live.retain(|file| inputs.clone().all(|input| input.entry.key != file.entry.key));
            live.push(made);
            replaced.extend(inputs.map(|file| &file.entry));
        }
        if !replaced.is_empty() {
            publish(table, &live)?;
        }
        for input in replaced {
            remove(store, &input.key)?;
        }
    }
    Ok(done)
}

impl Compacted {
    fn count(&mut self, group: &Group<'_>, made: Option<&TableFile>) {
        self.files_before += group.files.len() as u64;
        self.files_after += 1;
        self.rows += group.files.iter().map(|(_, footer)| footer.rows).sum::<u64>();
        self.bytes_before += group.files.iter().map(|(file, _)| file.entry.bytes).sum::<u64>();
        self.bytes_after += made.map_or(0, |made| made.entry.bytes);
    }

    fn pass_over(&mut self, file: &TableFile, reason: &str) {
        let key = &file.entry.key;
        self.passed_over.push(format!("{key}: {reason}; `peerscope lake verify` says more"));
    }
}

/// Removes what a compacted file stands for since an earlier compaction.
fn remove_left(
    store: &Store,
    folder: &Folder,
    plan: &Plan,
    done: &mut Compacted,
) -> Result<(), LakeError> {
    for file in &folder.garbage {
        let end = match file.name.end {
            Some(end) => Ok(end),
            None => footer(store, &file.entry)?.map(|footer| footer.span.end),
        };
        let covering = match end {
            Ok(end) => folder.covering(file, end),
            Err(FileProblem::Gone) => continue,
            Err(_) => None,
        };
        let stands = match covering {
            None => false,
            Some(covering) => match footer(store, &covering.entry)? {
                Ok(footer) => covering.name.end == Some(footer.span.end),
                // A purge took both, or is about to.
                Err(FileProblem::Gone) => continue,
                Err(_) => false,
            },
        };
        if !stands {
            done.pass_over(file, "no compacted file stands for all of it");
            continue;
        }
        done.left_removed += 1;
        if !plan.dry_run {
            remove(store, &file.entry.key)?;
        }
    }
    Ok(())
}

/// The files of a chain's sealed days that are to become one each.
fn groups<'a>(
    store: &Store,
    files: &[&'a TableFile],
    plan: &Plan,
    done: &mut Compacted,
) -> Result<Vec<Group<'a>>, LakeError> {
    let Some(head) = files.last() else { return Ok(Vec::new()) };
    let mut days: BTreeMap<&str, Vec<&'a TableFile>> = BTreeMap::new();
    for file in files {
        days.entry(&file.day).or_default().push(file);
    }
    let is_sealed = |day: &str| day < head.day.as_str() && day <= plan.last_day.as_str();
    let mut all = Vec::new();
    for (day, files) in days.into_iter().filter(|(day, _)| is_sealed(day)) {
        let plain = files.iter().filter(|file| file.name.end.is_none()).count();
        let [first, _, ..] = files.as_slice() else { continue };
        if plain < 2 {
            continue;
        }
        if plan.unfinished.contains(&head.name.log) {
            done.pass_over(first, "its replay is unfinished, run it again first");
            continue;
        }
        match groups_of_day(store, day, &files, plan.rows_max)? {
            Ok(groups) => all.extend(groups),
            Err((file, problem)) => done.pass_over(file, &problem),
        }
    }
    Ok(all)
}

/// Why a day is passed over.
type PassedOver<'a> = (&'a TableFile, String);

/// Takes the files of a sealed day together, from the first on; a compacted one stays as it is.
fn groups_of_day<'a>(
    store: &Store,
    day: &'a str,
    files: &[&'a TableFile],
    rows_max: u64,
) -> Result<Result<Vec<Group<'a>>, PassedOver<'a>>, LakeError> {
    let mut groups = Vec::new();
    let mut open = Group { day, files: Vec::new() };
    let (mut open_rows, mut end) = (0, None);
    for file in files {
        let footer = match footer(store, &file.entry)? {
            Ok(footer) => footer,
            // Another compaction is at this day.
            Err(FileProblem::Gone) => return Ok(Ok(Vec::new())),
            Err(problem) => return Ok(Err((file, problem.to_string()))),
        };
        let is_named = footer.span.log == file.name.log
            && (footer.span.partition, footer.span.start) == (file.name.partition, file.name.start)
            && file.name.end.is_none_or(|end| end == footer.span.end);
        if !is_named {
            return Ok(Err((file, "its footer and its name differ".to_owned())));
        }
        if end.is_some_and(|end| end != footer.span.start) {
            return Ok(Err((file, "the file before it ends elsewhere".to_owned())));
        }
        end = Some(footer.span.end);
        let closes = file.name.end.is_some() || open_rows + footer.rows > rows_max;
        if closes {
            groups.push(std::mem::replace(&mut open, Group { day, files: Vec::new() }));
            open_rows = 0;
        }
        if file.name.end.is_none() {
            open_rows += footer.rows;
            open.files.push((file, footer));
        }
    }
    groups.push(open);
    groups.retain(|group| group.files.len() > 1);
    Ok(Ok(groups))
}

/// Makes one file of a group; none if somebody else is at it, or a file cannot be read.
fn create(
    store: &Store,
    table: Table,
    group: &Group<'_>,
    done: &mut Compacted,
) -> Result<Option<TableFile>, LakeError> {
    let (Some((first, start)), Some((_, last))) = (group.files.first(), group.files.last()) else {
        return Ok(None);
    };
    let mut batches = Vec::new();
    for (file, _) in &group.files {
        let read = match store.get(&file.entry.key)? {
            Some(bytes) => rows(bytes, table, None),
            None => Err(FileProblem::Gone),
        };
        match read {
            Ok(batch) => batches.push(batch),
            // Another compaction has been here since the listing.
            Err(FileProblem::Gone) => return Ok(None),
            Err(problem) => {
                done.pass_over(file, &problem.to_string());
                return Ok(None);
            }
        }
    }
    let span = Span { end: last.span.end, ..start.span.clone() };
    let bytes = encode_sorted(&batches, table, &span)
        .map_err(|error| LakeError::Encode { table: table.name, error })?;
    drop(batches);
    let key = compacted_key(table.name, group.day, &first.name, span.end);
    let mut entry = Entry { key, bytes: bytes.len() as u64 };
    killpoint::reach(KillPoint::CompactionCreate);
    match store.put(&entry.key, &bytes) {
        Ok(()) => killpoint::reach(KillPoint::CompactionCreate),
        // Of another version of peerscope: as good, if it answers for the same rows.
        Err(LakeError::Differs { key }) => {
            let there = store.get(&key)?.map_or(0, |there| there.len() as u64);
            entry.bytes = there;
            let rows = group.files.iter().map(|(_, footer)| footer.rows).sum::<u64>();
            let is_same = footer(store, &entry)?
                .is_ok_and(|footer| footer.span == span && footer.rows == rows);
            if !is_same {
                done.pass_over(first, "its compacted file is there with other rows");
                return Ok(None);
            }
        }
        Err(other) => return Err(other),
    }
    let mut name = first.name.clone();
    name.end = Some(span.end);
    Ok(Some(TableFile { day: group.day.to_owned(), name, entry }))
}

/// Deletes what a compacted file stands for.
fn remove(store: &Store, key: &str) -> Result<(), LakeError> {
    killpoint::reach(KillPoint::CompactionDelete);
    store.delete(key)?;
    killpoint::reach(KillPoint::CompactionDelete);
    Ok(())
}

#[cfg(test)]
mod tests;
