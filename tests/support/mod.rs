//! What the end-to-end tests share: the binary, a folder of its own for each, the simulated inputs.

#![allow(dead_code, unreachable_pub, reason = "each test binary takes what it needs")]

pub mod chain;
#[cfg(unix)]
pub mod lab;
pub mod slices;
pub mod stores;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// How many kills are asked for, by `PEERSCOPE_KILLS`; else so many.
pub fn kills(usual: u32) -> u32 {
    std::env::var("PEERSCOPE_KILLS").map_or(usual, |text| text.parse().unwrap())
}

/// What became of the records of each source.
pub const LEDGER: &str = "select source, sum(\"read\") as n, sum(accepted) as accepted, \
                          sum(unmatched) as unmatched, sum(quarantined) as quarantined, \
                          sum(refused) as refused from ledger where \"read\" > 0 group by source order by source";

/// A folder with the demo's inputs and their configuration.
pub struct Bench {
    /// Removed at the end.
    pub folder: TempDir,
}

impl Bench {
    /// The demo's inputs in a folder of their own.
    pub fn with_demo_inputs() -> Self {
        let bench = Self { folder: TempDir::new().unwrap() };
        let done = bench.run(&["demo", "--lake", "demo-lake", "--keep-inputs", "in"]);
        assert!(done.status.success(), "{}", stderr(&done));
        bench
    }

    /// An empty folder.
    pub fn empty() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file in the folder.
    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        fs::write(self.path(name), contents).unwrap();
    }

    /// The program, to be run in the folder.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_peerscope"));
        command.current_dir(self.folder.path()).args(arguments).env_remove("PEERSCOPE_CONFIG");
        command
    }

    /// Runs the program in the folder.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs the program and insists on its exit code.
    pub fn expect(&self, code: i32, arguments: &[&str]) -> Output {
        let done = self.run(arguments);
        let told = format!("{arguments:?}\n{}{}", stdout(&done), stderr(&done));
        assert_eq!(done.status.code(), Some(code), "{told}");
        done
    }

    /// Rows of a query, a JSON object each.
    pub fn rows(&self, lake: &str, sql: &str) -> Vec<String> {
        let done = self.expect(0, &["sql", "--lake", lake, "--format", "nd-json", "-c", sql]);
        stdout(&done).lines().map(str::to_owned).collect()
    }

    /// A token as `peerscope http token` makes it: the token, and its lines of the configuration.
    pub fn token(&self, arguments: &[&str]) -> (String, String) {
        let all: Vec<&str> =
            ["http", "token"].into_iter().chain(arguments.iter().copied()).collect();
        let lines = stdout(&self.expect(0, &all));
        let (first, _) = lines.split_once('\n').unwrap();
        (first.rsplit(' ').next().unwrap().to_owned(), lines)
    }

    /// Rows of a query as CSV, without the header.
    pub fn ask(&self, lake: &str, sql: &str) -> Vec<String> {
        let done = self.expect(0, &["sql", "--lake", lake, "--format", "csv", "-c", sql]);
        stdout(&done).lines().skip(1).map(str::to_owned).collect()
    }
}

/// Every file of a folder with its bytes.
pub fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
                all.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    all
}

/// Asserts that two lakes hold the same files with the same bytes.
pub fn assert_same_files(left: &Path, right: &Path) {
    let (left, right) = (files(left), files(right));
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&left), names(&right));
    for (name, bytes) in &left {
        assert_eq!(Some(bytes), right.get(name), "{name} differs");
    }
}

/// The records of an MRT file (RFC 6396 §2: twelve bytes of header, the last four its length).
pub fn mrt_records(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    while let Some((header, _)) = bytes.split_first_chunk::<12>() {
        let length = u32::from_be_bytes(header[8..].try_into().unwrap()) as usize + 12;
        let (record, rest) = bytes.split_at(length);
        records.push(record.to_vec());
        bytes = rest;
    }
    records
}

/// Asserts that rows are the same in the same order; of many that differ the first is told.
pub fn assert_same_rows(left: &[String], right: &[String], what: &str) {
    let differ = left.iter().zip(right).find(|(left, right)| left != right);
    assert_eq!(differ, None, "{what}");
    assert_eq!(left.len(), right.len(), "{what}");
}

/// What a run printed.
pub fn stdout(done: &Output) -> String {
    String::from_utf8_lossy(&done.stdout).into_owned()
}

/// What a run told on the side.
pub fn stderr(done: &Output) -> String {
    String::from_utf8_lossy(&done.stderr).into_owned()
}
