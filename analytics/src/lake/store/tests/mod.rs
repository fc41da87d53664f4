//! The store as its users see it, on local disk.

mod remote;
mod server;

use std::fs;
use std::sync::Arc;

use super::*;
use crate::lake::layout::INTERNAL;

fn at(folder: &tempfile::TempDir) -> LakeRoot {
    LakeRoot::at(folder.path().join("lake"))
}

#[test]
fn a_name_is_taken_once_and_the_same_bytes_again_are_the_same_commit() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_at(&at(&folder)).unwrap();
    store.put("t/date=2026-03-04/a", b"one").unwrap();
    store.put("t/date=2026-03-04/a", b"one").unwrap();
    let refused = store.put("t/date=2026-03-04/a", b"two").unwrap_err();
    assert!(matches!(refused, LakeError::Differs { .. }));
    assert_eq!(store.get("t/date=2026-03-04/a").unwrap().unwrap(), b"one");
    store.sweep().unwrap();
    assert_eq!(store.list(INTERNAL).unwrap(), Vec::<String>::new(), "nothing is left behind");
}

#[test]
fn one_writes_alone_or_several_together() {
    let folder = tempfile::tempdir().unwrap();
    let root = at(&folder);
    let alone = Store::open_at(&root).unwrap();
    assert!(matches!(Store::open_at(&root), Err(LakeError::Busy { .. })));
    assert!(matches!(Store::open_shared(&root), Err(LakeError::Busy { .. })));
    Store::beside_at(&root).unwrap();
    drop(alone);
    let _both = [(); 2].map(|()| Store::open_shared(&root).unwrap());
    assert!(matches!(Store::open_at(&root), Err(LakeError::Busy { .. })));
}

#[test]
fn a_folder_of_something_else_is_no_lake() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("thesis.txt"), "mine").unwrap();
    let refused = Store::open(folder.path().to_str().unwrap());
    assert!(matches!(refused, Err(LakeError::NotALake { .. })));
    let refused = Store::read_at(&LakeRoot::at(folder.path().into()));
    assert!(matches!(refused, Err(LakeError::Missing { .. })));
}

#[test]
fn parts_ends_lists_and_deletes() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_at(&at(&folder)).unwrap();
    store.put("t/date=1/a.parquet", b"0123456789").unwrap();
    store.put("t/date=2/b.parquet", b"").unwrap();
    assert_eq!(store.get_end("t/date=1/a.parquet", 4).unwrap().unwrap(), b"6789");
    assert_eq!(store.get_end("t/date=1/a.parquet", 99).unwrap().unwrap(), b"0123456789");
    assert_eq!(store.get_range("t/date=1/a.parquet", 2..5).unwrap().unwrap(), b"234");
    assert_eq!(store.get_end("t/date=2/b.parquet", 4).unwrap().unwrap(), b"");
    assert!(store.get_end("t/date=3/c.parquet", 4).unwrap().is_none());
    assert_eq!(store.list("t").unwrap(), ["date=1", "date=2"]);
    let entry = |key: &str, bytes| Entry { key: key.into(), bytes };
    let all = [entry("t/date=1/a.parquet", 10), entry("t/date=2/b.parquet", 0)];
    assert_eq!(store.list_all("t").unwrap(), all);
    store.delete("t/date=1/a.parquet").unwrap();
    store.delete("t/date=1/a.parquet").unwrap();
    assert_eq!(store.list("t").unwrap(), ["date=2"], "an emptied day goes");
    store.put_over("_peerscope/x", b"one").unwrap();
    store.put_over("_peerscope/x", b"two").unwrap();
    assert_eq!(store.get("_peerscope/x").unwrap().unwrap(), b"two");
}

/// Eight threads want each name, with contents of their own: one wins, the others are told, and what
/// stands there is the winner's, whole. Beside them somebody removes files, and their folders.
#[test]
fn of_writers_that_race_for_a_name_one_wins() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open_at(&at(&folder)).unwrap());
    for race in 0..20 {
        let key = format!("t/date=2026-03-{race:02}/a.parquet");
        let aside = format!("t/date=2026-03-{race:02}/aside.parquet");
        let contents = |writer: u8| vec![writer; 4_000 + usize::from(writer)];
        let won: Vec<u8> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..8)
                .map(|writer| {
                    let (store, key) = (&store, &key);
                    scope.spawn(move || match store.put(key, &contents(writer)) {
                        Ok(()) => Some(writer),
                        Err(LakeError::Differs { .. }) => None,
                        Err(other) => panic!("{other}"),
                    })
                })
                .collect();
            for _ in 0..8 {
                store.put(&aside, b"x").unwrap();
                store.delete(&aside).unwrap();
            }
            writers.into_iter().filter_map(|writer| writer.join().unwrap()).collect()
        });
        assert_eq!(won.len(), 1, "{won:?}");
        assert_eq!(store.get(&key).unwrap().unwrap(), contents(won[0]));
    }
}
