//! Small lakes for tests: chains of `feed_gaps` whose rows are their offsets.

use schemas::tables::{FEED_GAPS, FeedGapRow, Table};
use schemas::time::Timestamp;

use super::catalog::day_start;
use super::encode::{Span, encode};
use super::footer::rows;
use super::identity::{End, Identity};
use super::layout::file_key;
use super::store::Store;
use super::{LakeRoot, catalog::Folder};

/// The table.
pub(super) const TABLE: Table = FEED_GAPS;

/// A lake on local disk.
pub(super) struct Small {
    pub(super) folder: tempfile::TempDir,
    pub(super) store: Store,
    pub(super) log: String,
}

impl Small {
    /// An empty one with a log.
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_shared(&root(&folder)).unwrap();
        let identity = identity();
        identity.claim(&store).unwrap();
        Self { log: identity.log(), folder, store }
    }

    /// A file of a partition with a row for each offset, of a day of March 2026.
    pub(super) fn put(&self, partition: u32, day: u32, start: u64, end: u64) -> String {
        let day = format!("2026-03-{day:02}");
        let opened = day_start(&day).unwrap();
        let key = file_key(TABLE.name, &self.log, partition, start, opened);
        self.store.put(&key, &self.file(partition, start, end)).unwrap();
        key
    }

    /// The bytes of such a file.
    pub(super) fn file(&self, partition: u32, start: u64, end: u64) -> Vec<u8> {
        let rows: Vec<FeedGapRow> = (start..end).map(|offset| row(partition, offset)).collect();
        let span = Span { log: self.log.clone(), partition, start, end };
        encode(&rows, &TABLE.schema(), &span).unwrap()
    }

    /// Says that the replay is at its end with so many rows.
    pub(super) fn finish(&self, rows: u64) {
        let rows = [(TABLE.name.to_owned(), rows)].into();
        identity().finish(&self.store, &End { rows, damaged: Vec::new() }).unwrap();
    }

    /// Names of the files, live or not.
    pub(super) fn names(&self) -> Vec<String> {
        let entries = self.store.list_all(TABLE.name).unwrap();
        let prefix = format!("{}-", self.log);
        entries.into_iter().map(|entry| entry.key.replace(&prefix, "")).collect()
    }

    /// What a reader counts of a partition: each row by the coverage rule.
    pub(super) fn offsets(&self, partition: u32) -> Vec<u64> {
        self.offsets_now(partition).unwrap()
    }

    /// The same; none if a file went between the listing and the reading.
    pub(super) fn offsets_now(&self, partition: u32) -> Option<Vec<u64>> {
        let folder = Folder::list(&self.store, TABLE).unwrap();
        let mut offsets = Vec::new();
        for file in folder.live.iter().filter(|file| file.name.partition == partition) {
            let bytes = self.store.get(&file.entry.key).unwrap()?;
            let batch = rows(bytes, TABLE, Some(&["ended_at"])).unwrap();
            let column = arrow::array::AsArray::as_primitive::<
                arrow::datatypes::TimestampMicrosecondType,
            >(batch.column(0));
            offsets.extend(column.values().iter().map(|value| u64::try_from(*value).unwrap()));
        }
        offsets.sort_unstable();
        Some(offsets)
    }
}

fn root(folder: &tempfile::TempDir) -> LakeRoot {
    LakeRoot::at(folder.path().join("lake"))
}

fn identity() -> Identity {
    Identity {
        kind: "replay".to_owned(),
        inputs: Vec::new(),
        reference: Vec::new(),
        config_hash: String::new(),
        partitions: 2,
        after: None,
    }
}

/// Rows stand in a file by `started_at`, which goes against the offsets.
fn row(partition: u32, offset: u64) -> FeedGapRow {
    let number = i64::try_from(offset).unwrap();
    FeedGapRow {
        started_at: Timestamp::from_secs(1_000_000 - number),
        ended_at: Some(Timestamp(number)),
        source: format!("source {partition}").into(),
        collector: None,
        reason: "a test".into(),
        lost: offset.is_multiple_of(2).then_some(1),
    }
}
