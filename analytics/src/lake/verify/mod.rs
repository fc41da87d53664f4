//! Verification: every chain of every table held against what must be true of it.
//!
//! - [`chain`]: what files say of each other: no gap, no overlap, days in order. Pure.
//! - [`file`]: what a file is: its footer against its name, its columns against ours, its rows in order.
//! - here: which logs the lake knows, how many rows a finished one says it has, what lies about.
//!
//! Rows against `ledger` are compared by `src/command/lake/verify.rs`, in SQL.

mod chain;
mod file;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use schemas::tables;

use super::catalog::{Folder, TableFile};
use super::footer::{Footer, footer};
use super::identity::{End, Identity};
use super::layout::{INTERNAL, end_key, identity_key};
use super::purge::first_kept;
use super::store::{LakeError, Store};

/// Looks at a table whose files go away meanwhile.
const LOOKS_MAX: u32 = 8;

/// What is wrong, or worth knowing. A closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A range of the log that no file answers for.
    Gap,
    /// A range that two files answer for.
    Overlap,
    /// A file that cannot be read.
    Unreadable,
    /// A file whose bytes are not those that were written.
    Checksum,
    /// Name and footer, or name and folder, do not agree.
    Misnamed,
    /// A column that is not ours, or not of our type.
    Schema,
    /// Rows out of order.
    Unsorted,
    /// Days that go back along a chain.
    DayOrder,
    /// A chain of a log that the lake does not know.
    UnknownLog,
    /// Not the number of rows that the log ended with.
    RowCount,
    /// Not what `ledger` accounts for.
    Ledger,
    /// A file that is none of ours.
    Stranger,
    /// A file that lacks columns which came later; they read as null.
    OlderColumns,
    /// A file that a compacted one stands for; the next compaction removes it.
    Covered,
    /// What a killed process left unfinished; the next writer removes it.
    Leftover,
    /// A replay that was not run to its end.
    Unfinished,
}

impl Kind {
    /// The word in the list.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gap => "gap",
            Self::Overlap => "overlap",
            Self::Unreadable => "unreadable",
            Self::Checksum => "checksum",
            Self::Misnamed => "misnamed",
            Self::Schema => "schema",
            Self::Unsorted => "unsorted",
            Self::DayOrder => "day_order",
            Self::UnknownLog => "unknown_log",
            Self::RowCount => "row_count",
            Self::Ledger => "ledger",
            Self::Stranger => "stranger",
            Self::OlderColumns => "older_columns",
            Self::Covered => "covered",
            Self::Leftover => "leftover",
            Self::Unfinished => "unfinished",
        }
    }

    /// Whether the lake is damaged by it.
    #[must_use]
    pub const fn is_damage(self) -> bool {
        !matches!(self, Self::OlderColumns | Self::Covered | Self::Leftover | Self::Unfinished)
    }
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it is.
    pub kind: Kind,
    /// The table; empty where it is of none.
    pub table: String,
    /// The file or the chain.
    pub place: String,
    /// What exactly, and what to do.
    pub detail: String,
}

/// What a verification looked at, and what it found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Tables with files.
    pub tables: u64,
    /// Chains.
    pub chains: u64,
    /// Files that count.
    pub files: u64,
    /// Their rows.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What was found, damage first.
    pub found: Vec<Found>,
    /// Tables of which something was purged: their rows cannot be counted against anything.
    pub purged: Vec<&'static str>,
    /// Logs that are at their end.
    pub finished: Vec<String>,
    /// Logs that go on, or were cut off.
    pub open: Vec<String>,
    /// Whether it is an export: a part of another lake, without the account of its input.
    pub is_export: bool,
}

impl Verified {
    /// Whether anything is damaged.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.found.iter().any(|found| found.kind.is_damage())
    }

    fn tell(
        &mut self,
        kind: Kind,
        table: &str,
        place: impl Into<String>,
        detail: impl Into<String>,
    ) {
        let (place, detail) = (place.into(), detail.into());
        self.found.push(Found { kind, table: table.to_owned(), place, detail });
    }
}

/// A file that could be read, with its footer.
pub(super) type Readable<'a> = (&'a TableFile, Footer);

/// Verifies a lake. `reads_rows`: also that the rows of each file can be read and are in order.
///
/// # Errors
/// What the store says; what is wrong with the lake is in the answer.
pub fn verify(
    store: &Store,
    reads_rows: bool,
    progress: &(dyn Fn(&str) + Sync),
) -> Result<Verified, LakeError> {
    let mut verified = Verified::default();
    let rows_said = logs(store, &mut verified)?;
    let mut rows_there: BTreeMap<(String, &str), u64> = BTreeMap::new();
    for table in tables::ALL {
        progress(table.name);
        let is_purged = first_kept(store, *table)?.is_some();
        if is_purged {
            verified.purged.push(table.name);
        }
        for attempt in 1..=LOOKS_MAX {
            let folder = Folder::list(store, *table)?;
            let Some((checked, found)) = file::check_all(store, &folder, reads_rows)? else {
                if attempt == LOOKS_MAX {
                    let detail = "files go as they are looked at: a compaction is at work, verify \
                                  again when it is done";
                    verified.tell(Kind::Unreadable, table.name, table.name, detail);
                }
                continue;
            };
            verified.found.extend(found);
            for (file, footer) in &checked {
                verified.rows += footer.rows;
                verified.bytes += file.entry.bytes;
                *rows_there.entry((file.name.log.clone(), table.name)).or_default() += footer.rows;
            }
            verified.tables += u64::from(!folder.live.is_empty());
            verified.files += folder.live.len() as u64;
            chains(&folder, checked, is_purged, &mut verified);
            about(store, &folder, &mut verified)?;
            break;
        }
    }
    count_rows(&rows_said, &rows_there, &mut verified);
    strangers(store, &mut verified)?;
    verified.found.sort_by_key(|found| (!found.kind.is_damage(), found.kind));
    Ok(verified)
}

/// The logs of the lake, and how many rows of each table the finished ones say they have.
fn logs(
    store: &Store,
    verified: &mut Verified,
) -> Result<BTreeMap<String, BTreeMap<String, u64>>, LakeError> {
    let mut said = BTreeMap::new();
    let names = store.list(&format!("{INTERNAL}/logs"))?;
    for log in names.iter().filter_map(|name| name.strip_suffix(".json")) {
        if log.ends_with(".end") {
            continue;
        }
        let end = store.get(&end_key(log))?;
        match end.map(|bytes| serde_json::from_slice::<End>(&bytes)) {
            Some(Ok(end)) => {
                said.insert(log.to_owned(), end.rows);
                verified.finished.push(log.to_owned());
            }
            Some(Err(error)) => {
                verified.tell(Kind::Unreadable, "", end_key(log), error.to_string());
            }
            None => verified.open.push(log.to_owned()),
        }
        let identity = store.get(&identity_key(log))?.unwrap_or_default();
        let identity = serde_json::from_slice::<Identity>(&identity);
        let kind = identity.map(|identity| identity.kind).unwrap_or_default();
        verified.is_export |= kind == "export";
        let is_replay = kind == "replay";
        if is_replay && verified.open.last().is_some_and(|open| open == log) {
            let detail = "the replay was not run to its end; run it again to complete the lake";
            verified.tell(Kind::Unfinished, "", log, detail);
        }
    }
    Ok(said)
}

/// Checks each chain of a table.
fn chains(folder: &Folder, checked: Vec<Readable<'_>>, is_purged: bool, verified: &mut Verified) {
    let table = folder.table;
    let mut chains: BTreeMap<(&str, u32), Vec<Readable<'_>>> = BTreeMap::new();
    for (file, footer) in checked {
        let id = (file.name.log.as_str(), file.name.partition);
        chains.entry(id).or_default().push((file, footer));
    }
    verified.chains += chains.len() as u64;
    for ((log, partition), files) in chains {
        let root = log.strip_suffix(".empty").unwrap_or(log);
        let is_known = verified.finished.iter().chain(&verified.open).any(|known| known == root);
        // A mark's chain is named after its finding.
        if !is_known && table.name != tables::MARKS.name {
            let detail = format!(
                "{INTERNAL}/logs has no {root}.json: the files came from another lake, or the log's \
                 identity was deleted"
            );
            verified.tell(Kind::UnknownLog, table.name, chain::name(table, log, partition), detail);
        }
        verified.found.extend(chain::check(table, &files, is_purged));
    }
}

/// What lies about in a table's folder.
fn about(store: &Store, folder: &Folder, verified: &mut Verified) -> Result<(), LakeError> {
    let name = folder.table.name;
    for file in &folder.garbage {
        let said = footer(store, &file.entry)?.map(|footer| footer.span.end);
        let end = said.ok().or(file.name.end).unwrap_or(file.name.start.saturating_add(1));
        let key = &file.entry.key;
        match folder.covering(file, end) {
            Some(covering) => {
                let detail = format!(
                    "{} stands for it; `peerscope lake compact` removes it",
                    covering.entry.key
                );
                verified.tell(Kind::Covered, name, key, detail);
            }
            None => {
                let detail = "it overlaps a compacted file that does not stand for all of it; keep \
                              both and report this";
                verified.tell(Kind::Overlap, name, key, detail);
            }
        }
    }
    for entry in &folder.strange {
        let detail = "no name of peerscope's; other engines may read it as rows, move it away";
        verified.tell(Kind::Stranger, name, &entry.key, detail);
    }
    Ok(())
}

/// The rows of finished logs against what they ended with.
fn count_rows(
    said: &BTreeMap<String, BTreeMap<String, u64>>,
    there: &BTreeMap<(String, &str), u64>,
    verified: &mut Verified,
) {
    for (log, tables) in said {
        for (name, rows) in tables {
            let Some(table) = tables::by_name(name) else { continue };
            let found = there.get(&(log.clone(), table.name)).copied().unwrap_or_default();
            if found != *rows && !verified.purged.contains(&table.name) {
                let detail = format!("{found} rows, {rows} when the replay ended");
                verified.tell(Kind::RowCount, name, log, detail);
            }
        }
    }
}

/// What lies at the root, and what was left unfinished.
fn strangers(store: &Store, verified: &mut Verified) -> Result<(), LakeError> {
    for name in store.list("")? {
        if name != INTERNAL && tables::by_name(&name).is_none() {
            let detail = "no table of this version; a newer one's, or somebody else's";
            verified.tell(Kind::Stranger, "", name, detail);
        }
    }
    for key in store.leftovers()? {
        let detail = "left by a process that was killed; the next writer removes it";
        verified.tell(Kind::Leftover, "", key, detail);
    }
    Ok(())
}
