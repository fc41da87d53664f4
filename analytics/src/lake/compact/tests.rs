//! Compaction, killed and raced: what a reader counts is the same at every instant, and what is left
//! in the end is what one undisturbed compaction leaves.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::lake::testing::{Small, TABLE};
use crate::lake::verify::{Kind, verify};

/// Three days over, one that goes on; six files of five rows a day in partition 0, two in 1.
fn four_days() -> Small {
    let lake = Small::new();
    let (mut zero, mut one) = (0, 0);
    for day in 1..=4 {
        for _ in 0..6 {
            lake.put(0, day, zero, zero + 5);
            zero += 5;
        }
        for _ in 0..2 {
            lake.put(1, day, one, one + 3);
            one += 3;
        }
    }
    lake.finish(zero + one);
    lake
}

fn plan(rows_max: u64) -> Plan {
    let newest = crate::lake::catalog::day_start("2026-03-04").unwrap();
    Plan { rows_max, ..Plan::new(newest, 0) }
}

fn compacted(lake: &Small, plan: &Plan) -> Compacted {
    compact(&lake.store, TABLE, plan, &mut |_, _| Ok(())).unwrap()
}

fn expect_whole(lake: &Small) {
    assert_eq!(lake.offsets(0), (0..120).collect::<Vec<_>>());
    assert_eq!(lake.offsets(1), (0..24).collect::<Vec<_>>());
}

/// The files with their bytes.
fn contents(lake: &Small) -> Vec<(String, Vec<u8>)> {
    let entries = lake.store.list_all(TABLE.name).unwrap();
    let read = |key: String| (key.clone(), lake.store.get(&key).unwrap().unwrap());
    entries.into_iter().map(|entry| read(entry.key)).collect()
}

fn damage(lake: &Small) -> Vec<Kind> {
    let verified = verify(&lake.store, true, &|_| {}).unwrap();
    verified.found.into_iter().map(|found| found.kind).collect()
}

#[test]
fn the_files_of_a_day_that_is_over_become_one_and_the_head_stays() {
    let lake = four_days();
    let done = compacted(&lake, &plan(1_000));
    assert_eq!((done.files_before, done.files_after, done.rows), (24, 6, 108));
    assert!(done.passed_over.is_empty(), "{:?}", done.passed_over);
    expect_whole(&lake);
    assert_eq!(damage(&lake), []);
    let files = contents(&lake);
    assert_eq!(files.len(), 6 + 8, "six compacted ones and the newest day as it was");
    assert_eq!(
        compacted(&lake, &plan(1_000)),
        Compacted::default(),
        "a second time: nothing to do"
    );
    assert_eq!(contents(&lake), files);
}

#[test]
fn a_day_with_many_rows_becomes_several_files_the_same_ones_whoever_makes_them() {
    let lake = four_days();
    // Three files of five rows each fit into sixteen.
    let done = compacted(&lake, &plan(16));
    assert_eq!((done.files_before, done.files_after), (24, 3 * 2 + 3));
    let files = contents(&lake);
    let other = four_days();
    // Killed behind the second file that it made, before anything was deleted.
    let mut left = 1;
    let killed = compact(&other.store, TABLE, &plan(16), &mut |_, _| {
        left -= 1;
        if left < 0 { Err(LakeError::Differs { key: "killed".into() }) } else { Ok(()) }
    });
    killed.unwrap_err();
    expect_whole(&other);
    assert_eq!(damage(&other), [Kind::Covered; 8]);
    let done = compacted(&other, &plan(16));
    assert_eq!(done.left_removed, 8);
    assert_eq!(contents(&other), files);
    expect_whole(&other);
}

#[test]
fn killed_between_any_two_deletes_it_goes_on_where_it_was() {
    let undisturbed = four_days();
    compacted(&undisturbed, &plan(1_000));
    let wanted = contents(&undisturbed);
    let before = contents(&four_days());
    let inputs: Vec<_> = before.iter().filter(|file| !wanted.contains(file)).collect();
    assert_eq!(inputs.len(), 24);
    for deleted in 0..=inputs.len() {
        let lake = four_days();
        compacted(&lake, &plan(1_000));
        for (key, bytes) in inputs.iter().skip(deleted) {
            lake.store.put(key, bytes).unwrap();
        }
        expect_whole(&lake);
        let done = compacted(&lake, &plan(1_000));
        assert_eq!(done.left_removed, (inputs.len() - deleted) as u64);
        assert_eq!(contents(&lake), wanted);
    }
}

/// Four compactors and a reader, no lock between them.
#[test]
fn several_at_once_and_a_reader_agree() {
    let mut read = 0;
    for _ in 0..5 {
        let lake = four_days();
        let done = AtomicBool::new(false);
        read += std::thread::scope(|scope| {
            let compactors: Vec<_> =
                (0..4).map(|_| scope.spawn(|| compacted(&lake, &plan(1_000)))).collect();
            let reader = scope.spawn(|| {
                let mut reads = 0;
                while !done.load(Ordering::Relaxed) {
                    // A query is asked again where a file went after the listing.
                    if let Some(offsets) = lake.offsets_now(0) {
                        assert_eq!(offsets, (0..120).collect::<Vec<_>>());
                        reads += 1;
                    }
                }
                reads
            });
            for compactor in compactors {
                compactor.join().unwrap();
            }
            done.store(true, Ordering::Relaxed);
            reader.join().unwrap()
        });
        compacted(&lake, &plan(1_000));
        expect_whole(&lake);
        let undisturbed = four_days();
        compacted(&undisturbed, &plan(1_000));
        assert_eq!(contents(&lake), contents(&undisturbed));
    }
    assert!(read > 0, "something was read meanwhile");
}

#[test]
fn a_writer_that_wakes_up_late_changes_nothing() {
    let lake = four_days();
    compacted(&lake, &plan(1_000));
    let files = contents(&lake);
    let late = lake.put(0, 1, 5, 10);
    expect_whole(&lake);
    assert_eq!(damage(&lake), [Kind::Covered]);
    assert_eq!(compacted(&lake, &plan(1_000)).left_removed, 1);
    assert!(lake.store.get(&late).unwrap().is_none());
    assert_eq!(contents(&lake), files);
}

#[test]
fn what_is_not_whole_is_passed_over_and_stays() {
    let lake = four_days();
    let gone = lake.names().remove(2);
    lake.store.delete(&gone.replace("2026-03-01/", &format!("2026-03-01/{}-", lake.log))).unwrap();
    let done = compacted(&lake, &plan(1_000));
    assert_eq!(done.passed_over.len(), 1, "{:?}", done.passed_over);
    assert!(done.passed_over[0].contains("ends elsewhere"), "{:?}", done.passed_over);
    assert_eq!(done.files_after, 5, "the other days are done");
    assert_eq!(lake.offsets(0).len(), 115);

    let lake = four_days();
    let key = lake.put(0, 3, 65, 70);
    lake.store.put_over(&key, b"no Parquet at all").unwrap();
    let done = compacted(&lake, &plan(1_000));
    assert!(done.passed_over[0].contains("cannot be read"), "{:?}", done.passed_over);
}

#[test]
fn a_replay_that_was_cut_off_is_left_alone() {
    let lake = four_days();
    let files = contents(&lake);
    let unfinished = Plan { unfinished: vec![lake.log.clone()], ..plan(1_000) };
    let done = compacted(&lake, &unfinished);
    assert_eq!((done.files_after, done.passed_over.len()), (0, 6));
    assert_eq!(contents(&lake), files);
}

#[test]
fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let lake = four_days();
    let files = contents(&lake);
    let done = compacted(&lake, &Plan { dry_run: true, ..plan(1_000) });
    assert_eq!((done.files_before, done.files_after, done.rows), (24, 6, 108));
    assert_eq!(contents(&lake), files);
}

#[test]
fn a_day_is_over_so_many_hours_after_its_end() {
    let newest = crate::lake::catalog::day_start("2026-03-10").unwrap();
    let last = |hours| Plan::new(newest, hours).last_day;
    assert_eq!(last(0), "2026-03-09");
    assert_eq!(last(1), "2026-03-08");
    assert_eq!(last(24), "2026-03-08");
    assert_eq!(last(25), "2026-03-07");
    assert_eq!(last(240), "2026-02-27");
}

/// A compacted file of another compaction, with other bounds, that does not stand for all of a file.
#[test]
fn files_that_overlap_are_kept_all() {
    let lake = four_days();
    let name =
        crate::lake::layout::FileName { log: lake.log.clone(), partition: 0, start: 0, end: None };
    let key = compacted_key(TABLE.name, "2026-03-01", &name, 8);
    lake.store.put(&key, &lake.file(0, 0, 8)).unwrap();
    let done = compacted(&lake, &plan(1_000));
    assert_eq!(done.left_removed, 1, "0 to 5 is in it");
    assert!(done.passed_over.iter().any(|told| told.contains("stands for all")), "{done:?}");
    let kept = lake.names().into_iter().filter(|name| name.contains("000-00000000000000000005."));
    assert_eq!(kept.count(), 1, "5 to 10 reaches beyond");
    assert!(damage(&lake).contains(&Kind::Overlap));
}
