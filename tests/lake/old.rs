//! A lake of version 0.1 stays readable: what it answered then it answers now.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Bench, stdout};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Copies a folder.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

#[test]
fn a_lake_of_0_1_answers_as_it_did() {
    let bench = Bench::empty();
    copy(&fixture("lake-0.1"), &bench.path("old"));
    let kept = fs::read_to_string(fixture("lake-0.1.txt")).unwrap();
    let mut said = String::new();
    for question in kept.lines().filter_map(|line| line.strip_prefix("> ")) {
        let ask = ["sql", "--lake", "old", "--format", "csv", "-c", question];
        said.push_str(&format!("> {question}\n{}", stdout(&bench.expect(0, &ask))));
    }
    assert_eq!(said, kept);
}

/// Columns may have been added since, nothing else: `verify` says damage to anything but that.
#[test]
fn a_lake_of_0_1_is_a_whole_one() {
    let bench = Bench::empty();
    copy(&fixture("lake-0.1"), &bench.path("old"));
    let said = stdout(&bench.expect(0, &["lake", "verify", "--lake", "old", "--format", "csv"]));
    let others = said.lines().skip(1).filter(|line| !line.starts_with("note,older_columns,"));
    assert_eq!(others.collect::<Vec<_>>(), Vec::<&str>::new());
    let list = ["findings", "list", "--lake", "old", "--format", "csv"];
    assert!(stdout(&bench.expect(0, &list)).contains("hijack_exact"));
    for command in [["rib", "192.0.2.0/24"], ["why", "contoso-seattle"], ["latency", ""]] {
        let command = command.into_iter().filter(|word| !word.is_empty());
        let command: Vec<&str> = command.chain(["--lake", "old"]).collect();
        assert!(!stdout(&bench.expect(0, &command)).is_empty(), "{command:?}");
    }
}
