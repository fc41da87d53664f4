//! Lakes of many small files over several days, as a service leaves them: chains of `feed_gaps` whose
//! rows are their offsets.

use std::path::Path;

use analytics::lake::catalog::day_start;
use analytics::lake::encode::{Span, encode};
use analytics::lake::identity::{End, Identity};
use analytics::lake::layout::file_key;
use analytics::lake::{LakeRoot, Store};
use schemas::tables::{self, FEED_GAPS, FeedGapRow};
use schemas::time::Timestamp;

/// Days, partitions, files of a day and partition, rows of a file.
pub const SHAPE: [u32; 4] = [4, 2, 12, 25];

/// Rows of each partition.
pub const ROWS: u64 = (SHAPE[0] * SHAPE[2] * SHAPE[3]) as u64;

/// The question that every reader is asked, and the only right answer.
pub const QUESTION: &str = "select source, count(*), count(distinct ended_at), \
                            max(extract(epoch from ended_at)) from feed_gaps group by source \
                            order by source";

/// The answer as CSV lines.
pub fn answer() -> Vec<String> {
    let last = ROWS - 1;
    (0..SHAPE[1]).map(|partition| format!("p{partition},{ROWS},{ROWS},{last}.0")).collect()
}

/// Makes one, finished, with the DDL of other engines.
pub fn make(root: &LakeRoot) {
    let store = Store::open_at(root).unwrap();
    let identity = Identity {
        kind: "replay".to_owned(),
        inputs: Vec::new(),
        reference: Vec::new(),
        config_hash: String::new(),
        partitions: SHAPE[1],
        after: None,
    };
    identity.claim(&store).unwrap();
    let [days, partitions, files, rows] = SHAPE;
    for partition in 0..partitions {
        let mut start = 0;
        for day in 1..=days {
            for _ in 0..files {
                put(&store, &identity.log(), partition, day, start..start + u64::from(rows));
                start += u64::from(rows);
            }
        }
    }
    let rows = [("feed_gaps".to_owned(), ROWS * u64::from(partitions))].into();
    identity.finish(&store, &End { rows, damaged: Vec::new() }).unwrap();
}

/// Adds a file of one row a table where there is none, so that any engine can read them all.
pub fn other_tables(lake: &Path) {
    for table in tables::ALL.iter().filter(|table| table.name != FEED_GAPS.name) {
        let folder = lake.join(table.name).join("date=2026-03-01");
        std::fs::create_dir_all(&folder).unwrap();
        let span = Span { log: "a.empty".to_owned(), partition: 0, start: 0, end: 0 };
        let bytes = analytics::lake::encode::encode_sorted(&[], *table, &span).unwrap();
        std::fs::write(folder.join(format!("a.empty-000-{:020}.parquet", 0)), bytes).unwrap();
    }
}

fn put(store: &Store, log: &str, partition: u32, day: u32, offsets: std::ops::Range<u64>) {
    let rows: Vec<FeedGapRow> = offsets
        .clone()
        .map(|offset| FeedGapRow {
            started_at: Timestamp::from_secs(1_000_000 - i64::try_from(offset).unwrap()),
            ended_at: Some(Timestamp::from_secs(i64::try_from(offset).unwrap())),
            source: format!("p{partition}").into(),
            collector: None,
            reason: "a test".into(),
            lost: None,
        })
        .collect();
    let (start, end) = (offsets.start, offsets.end);
    let span = Span { log: log.to_owned(), partition, start, end };
    let bytes = encode(&rows, &FEED_GAPS.schema(), &span).unwrap();
    let opened = day_start(&format!("2026-03-{day:02}")).unwrap();
    let key = file_key(FEED_GAPS.name, log, partition, start, opened);
    store.put(&key, &bytes).unwrap();
}
