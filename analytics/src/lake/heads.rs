//! Heads: where the files of a chain end. Names in, the footer of its newest file read.

use schemas::killpoint::{self, KillPoint};

use super::footer::footer;
use super::layout::{FileName, parts};
use super::store::{Entry, LakeError, Store};

/// End of the newest file of a partition of a log, in one table; none if it has no file.
///
/// # Errors
/// [`LakeError`] if the store fails, or the footer cannot be read.
pub fn head(
    store: &Store,
    table: &str,
    log: &str,
    partition: u32,
) -> Result<Option<u64>, LakeError> {
    let mut newest: Option<(FileName, Entry)> = None;
    for entry in store.list_all(table)? {
        let name = parts(&entry.key).and_then(|(_, _, name)| FileName::parse(name));
        let is_ours = |name: &FileName| name.log == log && name.partition == partition;
        let Some(name) = name.filter(is_ours) else { continue };
        if newest.as_ref().is_none_or(|(held, _)| held.start < name.start) {
            newest = Some((name, entry));
        }
    }
    let Some((name, entry)) = newest else { return Ok(None) };
    match name.end {
        Some(end) => Ok(Some(end)),
        None => end_of(store, &entry).map(Some),
    }
}

/// The offset after the last record that a file answers for, by its footer.
fn end_of(store: &Store, file: &Entry) -> Result<u64, LakeError> {
    killpoint::reach(KillPoint::FooterRead);
    match footer(store, file)? {
        Ok(footer) => Ok(footer.span.end),
        Err(problem) => {
            Err(LakeError::Footer { key: file.key.clone(), error: problem.to_string() })
        }
    }
}
