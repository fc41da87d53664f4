//! The merged archive over every live format: recognised by content, the same log for any order of
//! arguments, nothing lost on the way.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use ingest::log::archive::{ArchiveLog, ArchiveOptions, ArchiveReport};
use ingest::session::interest::Keep;
use ingest::source::discover::{FileKind, kind, recognise};
use schemas::log::{Log, PartitionReader};
use schemas::registry::Registry;
use support::data;

const FILES: [&str; 4] = [
    "frr-session.bmp",
    "gobgp-session.bmp",
    "pmacct.202-BMP-CISCO-HUAWEI-multiple-sources.traffic-01.pcap",
    "netgauze.bmp.unreachable-prefix-announcement.upa.pcap",
];

fn replay(paths: &[PathBuf]) -> (Vec<String>, ArchiveReport) {
    let options = ArchiveOptions {
        inputs: paths.iter().map(|path| recognise(path).unwrap()).collect(),
        collectors: BTreeMap::new(),
        mappings: BTreeMap::new(),
        registry: Arc::new(Registry::new(1, vec![], vec![]).unwrap()),
        references: vec![],
        followed: vec![],
        keep: Keep::All,
        partitions: 2,
    };
    let mut log = ArchiveLog::start(options, "test".into(), |_, _| {}).unwrap();
    let readers: Vec<_> = (0..2).map(|partition| log.read(partition, 0).unwrap()).collect();
    let threads: Vec<_> = readers
        .into_iter()
        .map(|mut reader| {
            std::thread::spawn(move || {
                let mut batches = vec![];
                while let Some(batch) = reader.next().unwrap() {
                    batches.push(format!("{batch:?}"));
                }
                batches
            })
        })
        .collect();
    let batches = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    (batches, log.finish().unwrap())
}

#[test]
fn a_log_of_captures_and_streams_is_the_same_in_any_order() {
    let Some(folder) = data("bmp") else { return };
    let mut paths: Vec<PathBuf> = FILES.iter().map(|name| folder.join(name)).collect();
    let (batches, report) = replay(&paths);
    paths.reverse();
    assert_eq!((&batches, &report), (&replay(&paths).0, &replay(&paths).1));
    let read: u64 = report.inputs.iter().map(|input| input.account.read).sum();
    assert_eq!(read, 60 + 42 + 37 + 22, "elements of the four files");
    assert!(
        report.inputs.iter().all(|input| input.damage.is_empty() && input.account.refused == 0)
    );
}

#[test]
fn every_real_file_is_recognised_by_its_content() {
    let (Some(bmp), Some(mrt)) = (data("bmp"), data("mrt")) else { return };
    for entry in std::fs::read_dir(bmp).unwrap() {
        let path = entry.unwrap().path();
        let want =
            if path.extension().unwrap() == "pcap" { FileKind::Capture } else { FileKind::Bmp };
        assert_eq!(kind(&path).unwrap(), want, "{}", path.display());
    }
    for entry in std::fs::read_dir(mrt).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let found = kind(&path);
            assert!(
                matches!(found, Ok(FileKind::Mrt { .. }) | Err(_)),
                "{}: {found:?}",
                path.display()
            );
        }
    }
}
