//! Names in a lake. Every part of a key is a pure function of (table, log, partition, START).

use schemas::time::Timestamp;

/// Folder of everything in a lake that is no table.
pub const INTERNAL: &str = "_peerscope";

/// `TABLE/date=YYYY-MM-DD/LOG-PARTITION-START.parquet`; the day is that of the log record at START.
#[must_use]
pub fn file_key(table: &str, log: &str, partition: u32, start: u64, opened: Timestamp) -> String {
    format!("{table}/date={}/{log}-{partition:03}-{start:020}.parquet", opened.day())
}

/// The same of a compacted file, whose name says where it ends:
/// `TABLE/date=YYYY-MM-DD/LOG-PARTITION-START-END.parquet`.
#[must_use]
pub fn compacted_key(table: &str, day: &str, name: &FileName, end: u64) -> String {
    let FileName { log, partition, start, .. } = name;
    format!("{table}/date={day}/{log}-{partition:03}-{start:020}-{end:020}.parquet")
}

/// What the name of a table's file says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileName {
    /// The log.
    pub log: String,
    /// Its partition.
    pub partition: u32,
    /// First offset that the file answers for.
    pub start: u64,
    /// Offset after the last one, where it is a compacted file.
    pub end: Option<u64>,
}

impl FileName {
    /// Reads a name, without its folders; none if it is none of ours.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let offset = |digits: &str| {
            let is_offset = digits.len() == OFFSET_DIGITS;
            is_offset.then(|| digits.parse::<u64>().ok()).flatten()
        };
        let rest = name.strip_suffix(".parquet")?;
        let (rest, last) = rest.rsplit_once('-')?;
        let last = offset(last)?;
        let (log, partition, start, end) = match rest.rsplit_once('-')? {
            (rest, start) if start.len() == OFFSET_DIGITS => {
                let (log, partition) = rest.rsplit_once('-')?;
                (log, partition, offset(start)?, Some(last))
            }
            (log, partition) => (log, partition, last, None),
        };
        let name = Self { log: log.to_owned(), partition: partition.parse().ok()?, start, end };
        (!log.is_empty()).then_some(name)
    }
}

/// Digits of an offset in a name.
const OFFSET_DIGITS: usize = 20;

/// Table, day and file name of a key; none if it is no file of a table.
#[must_use]
pub fn parts(key: &str) -> Option<(&str, &str, &str)> {
    let (table, rest) = key.split_once('/')?;
    let (day, name) = rest.strip_prefix("date=")?.split_once('/')?;
    (!name.contains('/')).then_some((table, day, name))
}

/// Identity of a log.
#[must_use]
pub fn identity_key(log: &str) -> String {
    format!("{INTERNAL}/logs/{log}.json")
}

/// Says which log goes on from the end of this one.
#[must_use]
pub fn successor_key(log: &str) -> String {
    format!("{INTERNAL}/successors/{log}")
}

/// What says that a log is at its end.
#[must_use]
pub fn end_key(log: &str) -> String {
    format!("{INTERNAL}/logs/{log}.end.json")
}

/// Contents of a version of the registry, by hash.
#[must_use]
pub fn registry_key(hash: &str) -> String {
    format!("{INTERNAL}/registry/{hash}.json")
}

/// Contents of reference data, by hash.
#[must_use]
pub fn reference_key(hash: &str) -> String {
    format!("{INTERNAL}/reference/{hash}")
}

/// Settings that were in force, by their number from 0: the last ones are now.
#[must_use]
pub fn settings_key(number: usize) -> String {
    format!("{INTERNAL}/settings/{number:06}.json")
}

/// The first day of a table that the last purge kept.
#[must_use]
pub fn purged_key(table: &str) -> String {
    format!("{INTERNAL}/purged/{table}")
}

/// Table definitions for an engine.
#[must_use]
pub fn ddl_key(engine: &str) -> String {
    format!("{INTERNAL}/{engine}.sql")
}

/// Folder of the snapshots.
#[must_use]
pub fn snapshots_folder() -> String {
    format!("{INTERNAL}/snapshots")
}

/// The snapshot of a fold (`LOG-PARTITION`, `LOG-correlate`) at an offset.
#[must_use]
pub fn snapshot_key(fold: &str, start: u64) -> String {
    format!("{INTERNAL}/snapshots/{fold}-{start:020}")
}

/// The offset in the name of a snapshot of a fold.
#[must_use]
pub fn snapshot_start(name: &str, fold: &str) -> Option<u64> {
    name.strip_prefix(fold)?.strip_prefix('-')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_was_written() {
        let key = file_key("latency", "2e1e8af9c2b56575", 7, 12, Timestamp::default());
        let (table, day, name) = parts(&key).unwrap();
        assert_eq!((table, day), ("latency", "1970-01-01"));
        let name = FileName::parse(name).unwrap();
        assert_eq!((name.log.as_str(), name.partition), ("2e1e8af9c2b56575", 7));
        assert_eq!((name.start, name.end), (12, None));
        let compacted = compacted_key(table, day, &name, 40);
        let compacted = FileName::parse(parts(&compacted).unwrap().2).unwrap();
        assert_eq!(compacted, FileName { end: Some(40), ..name });
        let key = file_key("findings", "2e1e8af9c2b56575.empty", 1_000, 0, Timestamp::default());
        let name = FileName::parse(parts(&key).unwrap().2).unwrap();
        assert_eq!((name.log.as_str(), name.partition), ("2e1e8af9c2b56575.empty", 1_000));
    }

    #[test]
    fn a_snapshot_says_where_it_is() {
        assert_eq!(snapshot_start("00ff-003-00000000000000000041", "00ff-003"), Some(41));
        assert_eq!(snapshot_start("00ff-0031-00000000000000000041", "00ff-003"), None);
    }

    #[test]
    fn what_is_not_ours_has_no_name() {
        let offset = "0".repeat(20);
        for name in [
            "part-0.parquet",
            &format!("a-000-{offset}.csv"),
            &format!("-000-{offset}.parquet"),
            &format!("a-x-{offset}.parquet"),
            &format!("a-000-{}.parquet", "9".repeat(20)),
            &format!("{offset}-{offset}.parquet"),
        ] {
            assert_eq!(FileName::parse(name), None, "{name}");
        }
        assert_eq!(parts("latency/a.parquet"), None);
        assert_eq!(parts("latency/date=2026-03-02/deep/a.parquet"), None);
    }
}
