//! One chain: its live files in order in, what does not fit together out. Pure.

use schemas::tables::Table;

use super::{Found, Kind, Readable};

/// The chain in words.
pub(super) fn name(table: Table, log: &str, partition: u32) -> String {
    format!("{}/{log}-{partition:03}", table.name)
}

/// Holds the files of a chain against each other.
pub(super) fn check(table: Table, files: &[Readable<'_>], is_purged: bool) -> Vec<Found> {
    let mut found = Vec::new();
    let mut tell = |kind, place: &str, detail: String| {
        let (table, place) = (table.name.to_owned(), place.to_owned());
        found.push(Found { kind, table, place, detail });
    };
    if let Some((file, footer)) = files.first().filter(|(_, footer)| footer.span.start > 0)
        && !is_purged
    {
        let start = footer.span.start;
        let detail = format!("nothing answers for 0 to {start}, and nothing of it was purged");
        tell(Kind::Gap, &file.entry.key, detail);
    }
    for (file, footer) in files {
        if footer.span.start > footer.span.end {
            let detail = format!("it ends at {}, before it starts", footer.span.end);
            tell(Kind::Misnamed, &file.entry.key, detail);
        }
    }
    for pair in files.windows(2) {
        let [(before, left), (file, right)] = pair else { continue };
        let (end, start) = (left.span.end, right.span.start);
        let key = &file.entry.key;
        let before_key = &before.entry.key;
        if start > end {
            let detail = format!("nothing answers for {end} to {start}, behind {before_key}");
            tell(Kind::Gap, key, detail);
        } else if start < end {
            let detail = format!("{start} to {end} is in {before_key} too");
            tell(Kind::Overlap, key, detail);
        }
        if file.day < before.day {
            let detail = format!("its day is before that of {before_key}");
            tell(Kind::DayOrder, key, detail);
        }
    }
    found
}
