//! Every real file, element by element against bgpkit-parser and line by line against `bgpdump -m`.
//!
//! [`ours`] reads a file record by record, [`bgpkit`] and [`bgpdump`] say what the others make of the
//! same records. A record on which two differ has a reason ([`pins::REASONS`]) and stands in
//! `bgpkit.tsv` or `bgpdump.tsv`; their number is golden too. `PEERSCOPE_BLESS=1` writes it anew.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub
)]

mod bgpdump;
mod bgpkit;
mod ours;
mod pins;

use std::path::{Path, PathBuf};
use std::process::Command;

use ours::Record;
use pins::{Difference, Pins};

/// The folder of real files, if it is there; a build server must have it.
fn data() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let folder = std::env::var_os("PEERSCOPE_DATA").map_or(beside, PathBuf::from).join("mrt");
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(std::env::var_os("CI").is_none(), "no real files in {}", folder.display());
    println!("skipped: no real files in {}; set PEERSCOPE_DATA", folder.display());
    None
}

/// Whether bgpdump is there; a build server must have it.
fn has_bgpdump() -> bool {
    let found = Command::new("bgpdump").arg("-T").output().is_ok();
    assert!(found || std::env::var_os("CI").is_none(), "bgpdump is not installed");
    if !found {
        println!("skipped: bgpdump is not installed, run: apt-get install bgpdump");
    }
    found
}

/// All MRT files of the folder by name.
fn files(folder: &Path) -> Vec<(String, PathBuf)> {
    let mut found = vec![];
    for folder in [folder.to_owned(), folder.join("probes")] {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_file() && [".gz", ".bz2", ".mrt"].iter().any(|end| name.ends_with(end)) {
                found.push((name, path));
            }
        }
    }
    found.sort();
    assert!(found.len() >= 45, "{} files", found.len());
    found
}

#[test]
fn every_element_is_that_of_bgpkit_or_pinned() {
    let Some(folder) = data() else { return };
    let mut pins = Pins::new("bgpkit");
    let (mut elements, mut records) = (0, 0);
    for (name, path) in files(&folder) {
        let mut theirs = bgpkit::Reader::default();
        let all = ours::read(&path, |record: Record<'_>| {
            let said = theirs.elements(record.bytes);
            if said != record.elements {
                let texts = [&record.elements, &said].map(|elements| ours::texts(elements));
                let [ours, theirs] = texts;
                pins.add(Difference::of(&name, &record, &ours, &theirs));
            }
        });
        elements += all.elements;
        records += all.records;
    }
    println!("bgpkit: {elements} elements of {records} records, {} pinned", pins.records());
    pins.check();
}

#[test]
fn every_line_is_that_of_bgpdump_or_pinned() {
    let Some(folder) = data() else { return };
    if !has_bgpdump() {
        return;
    }
    let mut pins = Pins::new("bgpdump");
    let (mut lines, mut records) = (0, 0);
    for (name, path) in files(&folder) {
        let mut file = bgpdump::File::default();
        let mut all = vec![];
        ours::read(&path, |record| {
            file.push(record.bytes, record.kind == 13 && record.subtype == 1, &record.lines);
            lines += record.lines.lines().count();
            records += 1;
            all.push(pins::Facts::of(&record));
        });
        for (number, theirs) in file.differing() {
            let (bytes, ours) = file.get(number);
            pins.add(Difference::with(&name, &all[number], bytes, ours, &theirs));
        }
    }
    println!("bgpdump: {lines} lines of {records} records, {} pinned", pins.records());
    pins.check();
}
