//! Names in a lake. Every part of a key is a pure function of (table, log, partition, START).

use schemas::time::Timestamp;

/// Folder of everything in a lake that is no table.
pub const INTERNAL: &str = "_peerscope";

/// `TABLE/date=YYYY-MM-DD/LOG-PARTITION-START.parquet`; the day is that of the log record at START.
#[must_use]
pub fn file_key(table: &str, log: &str, partition: u32, start: u64, opened: Timestamp) -> String {
    format!("{table}/date={}/{log}-{partition:03}-{start:020}.parquet", opened.day())
}

/// Identity of a log.
#[must_use]
pub fn identity_key(log: &str) -> String {
    format!("{INTERNAL}/logs/{log}.json")
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

/// Settings that were in force, by their number from 0: the last ones are now.
#[must_use]
pub fn settings_key(number: usize) -> String {
    format!("{INTERNAL}/settings/{number:06}.json")
}

/// Table definitions for an engine.
#[must_use]
pub fn ddl_key(engine: &str) -> String {
    format!("{INTERNAL}/{engine}.sql")
}
