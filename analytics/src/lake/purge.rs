//! Retention: files all of whose rows are older than a table is to be kept.
//!
//! The rows of a file are older than the opening of the next one of its chain; so a file may go when
//! that lies before the first day that is kept. The head of a chain always stays. What was purged is
//! noted beside the tables, so that a chain that starts late can be told from one that lost files.

use std::collections::BTreeMap;

use schemas::tables::Table;

use super::catalog::{Folder, Publish, TableFile};
use super::layout::purged_key;
use super::store::{LakeError, Store};

/// What was purged of one table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Files that went.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The last of their days.
    pub last_day: Option<String>,
}

/// Purges one table of what is older than `first_day`, `YYYY-MM-DD`. `publish` is told the live files
/// that stay before any is deleted.
///
/// # Errors
/// What the store says; a purge that was cut off goes on the next time.
pub fn purge(
    store: &Store,
    table: Table,
    first_day: &str,
    dry_run: bool,
    publish: &mut Publish<'_>,
) -> Result<Purged, LakeError> {
    let folder = Folder::list(store, table)?;
    let mut going: Vec<&TableFile> = Vec::new();
    let mut starts: BTreeMap<(&str, u32), u64> = BTreeMap::new();
    for files in folder.chains().values() {
        for pair in files.windows(2) {
            let [file, next] = pair else { continue };
            if next.day.as_str() >= first_day {
                break;
            }
            going.push(file);
            starts.insert((next.name.log.as_str(), next.name.partition), next.name.start);
        }
    }
    // What a compacted file stood for goes before it: alone it would count again.
    let mut all: Vec<&TableFile> = folder
        .garbage
        .iter()
        .filter(|file| {
            let start = starts.get(&(file.name.log.as_str(), file.name.partition));
            start.is_some_and(|start| file.name.start < *start)
        })
        .collect();
    all.extend(&going);
    let purged = Purged {
        files: all.len() as u64,
        bytes: all.iter().map(|file| file.entry.bytes).sum(),
        last_day: all.iter().map(|file| file.day.clone()).max(),
    };
    if all.is_empty() || dry_run {
        return Ok(purged);
    }
    note(store, table, first_day)?;
    let is_going = |file: &TableFile| going.iter().any(|other| other.entry.key == file.entry.key);
    let staying: Vec<TableFile> =
        folder.live.iter().filter(|file| !is_going(file)).cloned().collect();
    publish(table, &staying)?;
    for file in all {
        store.delete(&file.entry.key)?;
    }
    Ok(purged)
}

/// Notes the first day that is kept, unless a later one is noted.
fn note(store: &Store, table: Table, first_day: &str) -> Result<(), LakeError> {
    match first_kept(store, table)? {
        Some(noted) if noted.as_str() >= first_day => Ok(()),
        _ => store.put_over(&purged_key(table.name), first_day.as_bytes()),
    }
}

/// The first day that the last purge of a table kept; none if there was none.
///
/// # Errors
/// What the store says.
pub fn first_kept(store: &Store, table: Table) -> Result<Option<String>, LakeError> {
    let noted = store.get(&purged_key(table.name))?;
    Ok(noted.and_then(|bytes| String::from_utf8(bytes).ok()).map(|day| day.trim().to_owned()))
}
