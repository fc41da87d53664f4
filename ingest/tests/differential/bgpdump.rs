//! What `bgpdump -m` prints of a file, record by record.
//!
//! bgpdump does not say which line is of which record. Where the lines of a file are more or fewer
//! than ours, the file is cut in two and both halves are asked, down to single records; each part has
//! the PEER_INDEX_TABLE in front that it needs.

use std::io::Write as _;
use std::ops::Range;
use std::process::Command;

/// The records of one file with our lines.
#[derive(Default)]
pub struct File {
    records: Vec<(Vec<u8>, String)>,
    /// For each record, the record of the PEER_INDEX_TABLE before it.
    tables: Vec<Option<usize>>,
}

impl File {
    /// Adds a record.
    pub fn push(&mut self, bytes: &[u8], is_table: bool, lines: &str) {
        let before = match self.tables.last() {
            Some(_) if is_table => None,
            Some(before) => *before,
            None => None,
        };
        let here = self.records.len();
        self.tables.push(if is_table { Some(here) } else { before });
        self.records.push((bytes.to_vec(), lines.to_owned()));
    }

    /// Bytes and our lines of a record.
    pub fn get(&self, number: usize) -> (&[u8], &str) {
        let (bytes, lines) = &self.records[number];
        (bytes, lines)
    }

    /// The records on which bgpdump prints something else, and what.
    pub fn differing(&self) -> Vec<(usize, String)> {
        let mut found = vec![];
        self.look(0, self.records.len(), &mut found);
        found
    }

    fn look(&self, from: usize, to: usize, found: &mut Vec<(usize, String)>) {
        let ours: String = self.records[from..to].iter().map(|(_, lines)| lines.as_str()).collect();
        let theirs = self.ask(from, to);
        if ours == theirs {
            return;
        }
        if ours.lines().count() == theirs.lines().count() {
            self.compare(from..to, &theirs, found);
            return;
        }
        let middle = from + (to - from) / 2;
        if middle == from {
            found.push((from, theirs));
        } else {
            self.look(from, middle, found);
            self.look(middle, to, found);
        }
    }

    /// The same number of lines: each record has as many on either side.
    fn compare(&self, all: Range<usize>, theirs: &str, found: &mut Vec<(usize, String)>) {
        let mut theirs = theirs.lines();
        for number in all {
            let ours = &self.records[number].1;
            let of_record = theirs.by_ref().take(ours.lines().count());
            let of_record: String = of_record.flat_map(|line| [line, "\n"]).collect();
            if *ours != of_record {
                found.push((number, of_record));
            }
        }
    }

    fn ask(&self, from: usize, to: usize) -> String {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let table = self.tables.get(from).copied().flatten().filter(|table| *table < from);
        let parts = table.into_iter().chain(from..to);
        let bytes: Vec<u8> = parts.flat_map(|number| self.records[number].0.clone()).collect();
        file.write_all(&bytes).unwrap();
        let done = Command::new("bgpdump").args(["-q", "-m"]).arg(file.path()).output().unwrap();
        String::from_utf8_lossy(&done.stdout).into_owned()
    }
}
