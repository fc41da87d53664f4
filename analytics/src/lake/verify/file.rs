//! One file: what it says of itself against its name, our columns and the order of its rows.

use schemas::tables::Table;

use super::{Found, Kind, Readable};
use crate::lake::catalog::{Folder, TableFile, each};
use crate::lake::encode::sort_keys;
use crate::lake::footer::{FileProblem, Footer, check_columns, footer, rows};
use crate::lake::store::{LakeError, Store};

/// The files that could be read, and what was found.
pub(super) type Looked<'a> = (Vec<Readable<'a>>, Vec<Found>);

/// Checks every live file of a table; those that could be read, with their footers. None if one is
/// gone since the listing: a compaction or a purge is at work.
pub(super) fn check_all<'a>(
    store: &Store,
    folder: &'a Folder,
    reads_rows: bool,
) -> Result<Option<Looked<'a>>, LakeError> {
    let checked = each(&folder.live, |file| check(store, folder.table, file, reads_rows))?;
    let (mut readable, mut all) = (Vec::new(), Vec::new());
    for (file, checked) in folder.live.iter().zip(checked) {
        let Some((footer, found)) = checked else { return Ok(None) };
        all.extend(found);
        readable.extend(footer.map(|footer| (file, footer)));
    }
    Ok(Some((readable, all)))
}

/// The footer if there is one, and what was found; none if the file is gone.
type Checked = Option<(Option<Footer>, Vec<Found>)>;

fn check(
    store: &Store,
    table: Table,
    file: &TableFile,
    reads_rows: bool,
) -> Result<Checked, LakeError> {
    let mut found = Vec::new();
    let mut tell = |kind, detail: String| {
        let (table, place) = (table.name.to_owned(), file.entry.key.clone());
        found.push(Found { kind, table, place, detail });
    };
    let footer = match footer(store, &file.entry)? {
        Ok(footer) => footer,
        Err(FileProblem::Gone) => return Ok(None),
        Err(problem) => {
            tell(Kind::Unreadable, problem.to_string());
            return Ok(Some((None, found)));
        }
    };
    let span = &footer.span;
    if (&span.log, span.partition, span.start)
        != (&file.name.log, file.name.partition, file.name.start)
        || file.name.end.is_some_and(|end| end != span.end)
    {
        let (log, partition) = (&span.log, span.partition);
        let detail = format!("its footer says {log}, {partition}, {} to {}", span.start, span.end);
        tell(Kind::Misnamed, detail);
    }
    match check_columns(&footer.schema, table) {
        Err(problem) => tell(Kind::Schema, problem.to_string()),
        Ok(()) => {
            if let Some((kind, detail)) = columns(table, &footer) {
                tell(kind, detail);
            }
            if reads_rows {
                let Some(bytes) = store.get(&file.entry.key)? else { return Ok(None) };
                if let Some((kind, detail)) = read(bytes, table, &footer) {
                    tell(kind, detail);
                }
            }
        }
    }
    Ok(Some((Some(footer), found)))
}

/// Columns that are ours and not in the file, or in the file and not ours.
fn columns(table: Table, footer: &Footer) -> Option<(Kind, String)> {
    let schema = table.schema();
    let names = |from: &arrow::datatypes::Schema, not_in: &arrow::datatypes::Schema| {
        let names = from.fields().iter().map(|field| field.name().as_str());
        names.filter(|name| not_in.index_of(name).is_err()).collect::<Vec<_>>().join(", ")
    };
    let strange = names(&footer.schema, &schema);
    if !strange.is_empty() {
        let detail = format!("columns of a newer version, or somebody else's: {strange}");
        return Some((Kind::Schema, detail));
    }
    let missing = names(&schema, &footer.schema);
    let detail = format!("made before {missing} came; null there");
    (!missing.is_empty()).then_some((Kind::OlderColumns, detail))
}

/// Whether all rows can be read, and are in order.
fn read(bytes: Vec<u8>, table: Table, footer: &Footer) -> Option<(Kind, String)> {
    if footer.pages.is_some_and(|pages| !pages.are_in(&bytes)) {
        let detail =
            "its bytes are not those that were written: the disk or the store changed them";
        return Some((Kind::Checksum, detail.to_owned()));
    }
    let batch = match rows(bytes, table, None) {
        Ok(batch) => batch,
        Err(problem) => return Some((Kind::Unreadable, problem.to_string())),
    };
    if batch.num_rows() as u64 != footer.rows {
        let detail = format!("{} rows, its footer says {}", batch.num_rows(), footer.rows);
        return Some((Kind::Unreadable, detail));
    }
    let keys = match sort_keys(&batch, table) {
        Ok(keys) => keys,
        Err(error) => return Some((Kind::Schema, error.to_string())),
    };
    let unsorted = (1..batch.num_rows()).find(|row| keys.row(row - 1) > keys.row(*row));
    unsorted.map(|row| {
        let order = table.sort_order.join(", ");
        (Kind::Unsorted, format!("row {row} is before the one above it by {order}"))
    })
}
