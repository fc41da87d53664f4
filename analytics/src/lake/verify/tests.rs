//! Each kind of damage done to a small lake, and what is said of it.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use super::*;
use crate::lake::footer::rows;
use crate::lake::testing::{Small, TABLE};

/// Two partitions of three files each.
fn whole() -> Small {
    let lake = Small::new();
    for partition in 0..2 {
        for (day, start) in [(1, 0), (1, 4), (2, 8)] {
            lake.put(partition, day, start, start + 4);
        }
    }
    lake.finish(24);
    lake
}

fn path(lake: &Small, key: &str) -> PathBuf {
    lake.folder.path().join("lake").join(key)
}

fn key(lake: &Small, day: u32, partition: u32, start: u64) -> String {
    format!("feed_gaps/date=2026-03-{day:02}/{}-{partition:03}-{start:020}.parquet", lake.log)
}

/// Kinds and details.
fn found(lake: &Small) -> Vec<(Kind, String)> {
    let verified = verify(&lake.store, true, &|_| {}).unwrap();
    verified.found.into_iter().map(|found| (found.kind, found.detail)).collect()
}

fn kinds(lake: &Small) -> Vec<Kind> {
    found(lake).into_iter().map(|(kind, _)| kind).collect()
}

#[test]
fn a_whole_lake_is_clean_and_counted() {
    let lake = whole();
    let verified = verify(&lake.store, true, &|_| {}).unwrap();
    assert_eq!(verified.found, []);
    assert!(!verified.is_damaged());
    let Verified { tables, chains, files, rows, bytes, .. } = verified;
    assert_eq!((tables, chains, files, rows), (1, 2, 6, 24));
    assert!(bytes > 6 * 500);
}

#[test]
fn a_file_that_is_gone_leaves_a_gap_and_too_few_rows() {
    for (day, start, said) in [(1, 4, "4 to 8"), (1, 0, "0 to 4")] {
        let lake = whole();
        lake.store.delete(&key(&lake, day, 1, start)).unwrap();
        let found = found(&lake);
        let kinds: Vec<_> = found.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [Kind::Gap, Kind::RowCount], "{found:?}");
        assert!(found[0].1.contains(said), "{found:?}");
        assert!(found[1].1.contains("20 rows, 24"), "{found:?}");
    }
    let lake = whole();
    lake.store.delete(&key(&lake, 2, 1, 8)).unwrap();
    assert_eq!(kinds(&lake), [Kind::RowCount], "nothing is known of what would follow");
}

/// The footer begins behind the pages and their indexes; before it no flipped byte stays unseen.
#[test]
fn a_flipped_byte_of_a_page_is_seen() {
    let lake = whole();
    let key = key(&lake, 1, 1, 4);
    let whole = fs::read(path(&lake, &key)).unwrap();
    let entry = crate::lake::store::Entry { key: key.clone(), bytes: whole.len() as u64 };
    let pages = crate::lake::footer::footer(&lake.store, &entry).unwrap().unwrap().pages;
    let text = pages.unwrap().to_string();
    let length: usize = text.split_once(' ').unwrap().0.parse().unwrap();
    assert!(length > 100 && length < whole.len(), "{text}");
    for at in 0..length {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        fs::write(path(&lake, &key), &flipped).unwrap();
        assert!(verify(&lake.store, true, &|_| {}).unwrap().is_damaged(), "byte {at}");
    }
}

#[test]
fn what_was_purged_is_no_gap() {
    let lake = whole();
    let publish = &mut |_, _: &[TableFile]| Ok(());
    let purged = crate::lake::purge::purge(&lake.store, TABLE, "2026-03-03", false, publish);
    assert_eq!(purged.unwrap().files, 4);
    assert_eq!(kinds(&lake), []);
    lake.store.put(&key(&lake, 3, 0, 13), &lake.file(0, 13, 14)).unwrap();
    assert_eq!(kinds(&lake), [Kind::Gap], "one further on is");
}

#[test]
fn two_files_for_one_range_overlap() {
    let lake = whole();
    lake.put(0, 1, 6, 8);
    assert_eq!(kinds(&lake), [Kind::Overlap, Kind::RowCount]);
}

#[test]
fn a_file_under_another_name_is_misnamed() {
    let lake = whole();
    let bytes = lake.store.get(&key(&lake, 2, 0, 8)).unwrap().unwrap();
    lake.store.put(&key(&lake, 2, 0, 12), &bytes).unwrap();
    let found = found(&lake);
    assert!(
        found
            .iter()
            .any(|(kind, detail)| { *kind == Kind::Misnamed && detail.contains("8 to 12") }),
        "{found:?}"
    );
}

#[test]
fn a_day_before_the_one_before_is_told() {
    let lake = whole();
    lake.put(0, 1, 12, 13);
    assert_eq!(kinds(&lake), [Kind::DayOrder, Kind::RowCount]);
}

#[test]
fn a_file_that_was_cut_or_changed_cannot_be_read() {
    let lake = whole();
    let path = path(&lake, &key(&lake, 1, 0, 4));
    let bytes = fs::read(&path).unwrap();
    for cut in [0, 3, 100, bytes.len() - 1] {
        fs::write(&path, &bytes[..cut]).unwrap();
        assert_eq!(kinds(&lake), [Kind::Gap, Kind::Unreadable, Kind::RowCount], "{cut}");
    }
    // Whatever byte is changed: an answer, and most of the time the right one.
    let mut told = 0;
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x55;
        fs::write(&path, &changed).unwrap();
        told += usize::from(!kinds(&lake).is_empty());
    }
    assert!(told * 2 > bytes.len(), "{told} of {} changes were seen", bytes.len());
}

/// Writes rows of a file as they are, with the footer that it had.
fn write(lake: &Small, key: &str, start: u64, batch: &RecordBatch) {
    let entry = |name: &str, value: String| KeyValue::new(format!("peerscope.{name}"), value);
    let footer = vec![
        entry("log", lake.log.clone()),
        entry("partition", "0".to_owned()),
        entry("start", start.to_string()),
        entry("end", (start + 4).to_string()),
    ];
    let properties = WriterProperties::builder().set_key_value_metadata(Some(footer)).build();
    let file = fs::File::create(path(lake, key)).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
}

fn batch(lake: &Small, key: &str) -> RecordBatch {
    rows(lake.store.get(key).unwrap().unwrap(), TABLE, None).unwrap()
}

fn without(batch: &RecordBatch, column: &str) -> RecordBatch {
    let kept: Vec<usize> =
        (0..batch.num_columns()).filter(|at| batch.schema().field(*at).name() != column).collect();
    batch.project(&kept).unwrap()
}

#[test]
fn rows_out_of_order_are_told() {
    let lake = whole();
    let key = key(&lake, 1, 0, 4);
    let sorted = batch(&lake, &key);
    let order = arrow::array::UInt64Array::from(vec![0, 2, 1, 3]);
    let unsorted = arrow::compute::take_record_batch(&sorted, &order).unwrap();
    write(&lake, &key, 4, &unsorted);
    let found = found(&lake);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, Kind::Unsorted);
    assert!(found[0].1.contains("row 2") && found[0].1.contains("started_at"), "{found:?}");
}

#[test]
fn a_column_that_came_later_is_a_note_and_others_are_damage() {
    let lake = whole();
    let key = key(&lake, 1, 0, 4);
    let today = batch(&lake, &key);
    write(&lake, &key, 4, &without(&today, "lost"));
    assert_eq!(kinds(&lake), [Kind::OlderColumns]);
    let read = batch(&lake, &key);
    let lost = read.column_by_name("lost").unwrap();
    assert_eq!((lost.null_count(), read.num_rows()), (4, 4));

    write(&lake, &key, 4, &without(&today, "reason"));
    assert_eq!(kinds(&lake), [Kind::Schema], "reason is never null");

    let schema = today.schema();
    let renamed = schema.fields().iter().map(|field| match field.name().as_str() {
        "lost" => field.as_ref().clone().with_name("found"),
        _ => field.as_ref().clone(),
    });
    let schema = Arc::new(Schema::new(renamed.collect::<Vec<_>>()));
    let newer = RecordBatch::try_new(schema, today.columns().to_vec()).unwrap();
    write(&lake, &key, 4, &newer);
    let found = found(&lake);
    assert!(found[0].0 == Kind::Schema && found[0].1.contains("found"), "{found:?}");
}

#[test]
fn strangers_and_leftovers_are_told() {
    let lake = whole();
    for key in ["feed_gaps/date=2026-03-01/part-0.parquet", "feed_gaps/notes.txt", "thesis/a.txt"] {
        lake.store.put(key, b"mine").unwrap();
    }
    fs::create_dir(path(&lake, "_peerscope/staging-1-0")).unwrap();
    let verified = verify(&lake.store, true, &|_| {}).unwrap();
    let kinds: Vec<_> = verified.found.iter().map(|found| found.kind).collect();
    assert_eq!(kinds, [Kind::Stranger, Kind::Stranger, Kind::Stranger, Kind::Leftover]);
    assert_eq!(verified.found[3].place, "_peerscope/staging-1-0");
    lake.store.sweep().unwrap();
    assert!(!path(&lake, "_peerscope/staging-1-0").exists());
}

#[test]
fn a_chain_of_a_log_that_nobody_knows_is_told_and_an_unfinished_replay_noted() {
    let lake = whole();
    fs::remove_file(path(&lake, &format!("_peerscope/logs/{}.end.json", lake.log))).unwrap();
    let verified = verify(&lake.store, true, &|_| {}).unwrap();
    assert_eq!(verified.found.iter().map(|f| f.kind).collect::<Vec<_>>(), [Kind::Unfinished]);
    assert!(!verified.is_damaged());
    fs::remove_file(path(&lake, &format!("_peerscope/logs/{}.json", lake.log))).unwrap();
    assert_eq!(kinds(&lake), [Kind::UnknownLog, Kind::UnknownLog]);
}

#[test]
fn names_and_footers_alone_are_quick_and_do_not_see_into_the_rows() {
    let lake = whole();
    let path = path(&lake, &key(&lake, 1, 0, 4));
    let mut bytes = fs::read(&path).unwrap();
    for byte in &mut bytes[8..40] {
        *byte ^= 0xff;
    }
    fs::write(&path, &bytes).unwrap();
    assert_eq!(verify(&lake.store, false, &|_| {}).unwrap().found, []);
    assert_eq!(kinds(&lake), [Kind::Checksum]);
}
