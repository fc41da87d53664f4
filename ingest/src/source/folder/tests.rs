//! Files that appear, grow, are replaced and vanish, on a real disk.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::thread::JoinHandle;

use tokio::runtime::Runtime;

use super::*;
use crate::source::testing::{Ear, Heard};

struct Follower {
    ear: Ear,
    counts: Arc<FolderCounts>,
    book: Arc<FileBook>,
    thread: JoinHandle<()>,
    runtime: Runtime,
}

impl Follower {
    fn of(config: FollowedFolder, positions: Vec<FilePosition>) -> Self {
        assert_eq!(config.check(), Ok(()));
        let (ear, outbox, stop) = Ear::new();
        let source = FolderSource::new(config, positions, 0);
        let (counts, book) = (source.counts(), source.book());
        let thread = std::thread::spawn(move || source.run(&outbox, &stop));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { ear, counts, book, thread, runtime }
    }

    fn until(&mut self, what: &str, holds: impl Fn(&[&Heard]) -> bool) {
        let all = |heard: &std::collections::BTreeMap<u64, Heard>| {
            holds(&heard.values().collect::<Vec<_>>())
        };
        self.runtime.block_on(self.ear.until(what, all));
    }

    fn until_over(&mut self, files: usize) {
        self.until("files to their end", |heard| {
            heard.len() == files && heard.iter().all(|heard| heard.is_over())
        });
    }

    /// Name, bytes and reason of the end of each stream.
    fn told(&self) -> Vec<(&str, &str, Option<&str>)> {
        self.ear.heard.values().map(told).collect()
    }

    fn stop(mut self) -> Ear {
        self.ear.stop();
        self.runtime.block_on(self.ear.rest());
        self.thread.join().unwrap();
        self.ear
    }
}

fn told(heard: &Heard) -> (&str, &str, Option<&str>) {
    let reason = heard.closed.as_ref().map(|(reason, _)| reason.as_str());
    (heard.remote.as_str(), std::str::from_utf8(&heard.bytes).unwrap(), reason)
}

fn folder_of(folder: &tempfile::TempDir) -> FollowedFolder {
    FollowedFolder {
        folder: Some(folder.path().to_owned()),
        poll_secs: 1,
        settle_secs: 0,
        ..Default::default()
    }
}

fn append(path: &PathBuf, text: &str) {
    let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn gzip(path: &PathBuf, text: &str) {
    let mut encoder =
        flate2::write::GzEncoder::new(File::create(path).unwrap(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap();
}

#[test]
fn files_are_read_in_order_decompressed_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("b"), "two").unwrap();
    gzip(&path("a.gz"), "one");
    for passed_over in [".hidden", "c.tmp", "d.part", "empty"] {
        fs::write(path(passed_over), if passed_over == "empty" { "" } else { "x" }).unwrap();
    }
    fs::create_dir(path("sub")).unwrap();
    let mut follower = Follower::of(folder_of(&folder), Vec::new());
    follower.until_over(2);
    fs::rename(path("c.tmp"), path("c")).unwrap();
    follower.until_over(3);
    let told = [("a.gz", "one", Some("end")), ("b", "two", Some("end")), ("c", "x", Some("end"))];
    assert_eq!(follower.told(), told);
    assert!(follower.ear.heard.values().all(|heard| heard.caught_up == 1));

    // The caller keeps where each of them ended; the next start reads none of them again.
    let positions: Vec<FilePosition> = (0..3)
        .map(|stream| {
            let (identity, resume) = follower.book.take(stream).unwrap();
            assert_eq!((resume, follower.book.take(stream)), (0, None));
            let plain_bytes = follower.ear.heard[&stream].bytes.len() as u64;
            FilePosition { identity, plain_bytes, is_done: true }
        })
        .collect();
    follower.stop();
    fs::write(path("d"), "four").unwrap();
    let mut follower = Follower::of(folder_of(&folder), positions);
    follower.until_over(1);
    assert_eq!(follower.told(), [("d", "four", Some("end"))]);
    follower.stop();
}

#[test]
fn a_file_goes_on_where_it_was_left_and_another_of_its_name_is_read_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    gzip(&path("half.gz"), "0123456789");
    fs::write(path("grows"), "abc").unwrap();
    fs::write(path("replaced"), "old").unwrap();
    let mut follower = Follower::of(folder_of(&folder), Vec::new());
    follower.until_over(3);
    let position = |stream, plain_bytes, is_done| {
        let (identity, _) = follower.book.take(stream).unwrap();
        FilePosition { identity, plain_bytes, is_done }
    };
    let positions = vec![position(0, 3, true), position(1, 4, false), position(2, 3, true)];
    follower.stop();

    append(&path("grows"), "def");
    fs::write(path("replaced"), "new one").unwrap();
    let mut follower = Follower::of(folder_of(&folder), positions);
    follower.until_over(3);
    let told = [
        ("grows", "def", Some("end")),
        ("half.gz", "456789", Some("end")),
        ("replaced", "new one", Some("end")),
    ];
    assert_eq!(follower.told(), told);
    assert_eq!(follower.counts.replaced.get(), 1);
    assert_eq!(follower.book.take(1).unwrap().1, 4, "what was passed over is told");
    follower.stop();
}

#[test]
fn a_file_is_not_read_before_it_settled() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slow");
    append(&path, "a");
    let config = FollowedFolder { settle_secs: 2, ..folder_of(&folder) };
    let mut follower = Follower::of(config, Vec::new());
    for _ in 0..6 {
        std::thread::sleep(Duration::from_millis(500));
        append(&path, "b");
    }
    assert_eq!(follower.counts.opened.get(), 0);
    follower.until_over(1);
    assert_eq!(follower.told(), [("slow", "abbbbbb", Some("end"))]);
    follower.stop();
}

#[test]
fn a_damaged_file_is_told_and_the_next_one_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    gzip(&path("a.gz"), &"x".repeat(200_000));
    let whole = fs::read(path("a.gz")).unwrap();
    fs::write(path("a.gz"), &whole[..whole.len() - 20]).unwrap();
    fs::write(path("b"), "fine").unwrap();
    let mut follower = Follower::of(folder_of(&folder), Vec::new());
    follower.until_over(2);
    let [damaged, fine] = [&follower.ear.heard[&0], &follower.ear.heard[&1]];
    assert!(damaged.closed.as_ref().unwrap().1, "something is missing");
    assert_eq!((fine.bytes.as_slice(), follower.counts.damaged.get()), (&b"fine"[..], 1));
    follower.stop();
}

#[test]
fn a_growing_file_is_followed_through_rotation_and_cutting() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    append(&path, "one ");
    let config = FollowedFolder { tail: true, settle_secs: 3600, ..folder_of(&folder) };
    let mut follower = Follower::of(config, Vec::new());
    let newest = |heard: &[&Heard], bytes: &[u8]| heard.last().is_some_and(|h| h.bytes == bytes);
    follower.until("the start", |heard| newest(heard, b"one ") && heard[0].caught_up == 1);
    append(&path, "two");
    follower
        .until("what was appended", |heard| newest(heard, b"one two") && heard[0].caught_up == 2);

    fs::rename(&path, folder.path().join(".log.1")).unwrap();
    append(&path, "three");
    follower.until("the next file", |heard| newest(heard, b"three"));
    fs::write(&path, "4").unwrap();
    follower.until("a file that was cut", |heard| newest(heard, b"4"));
    fs::remove_file(&path).unwrap();
    follower.until("its end", |heard| heard.len() == 3 && heard[2].is_over());
    let ends: Vec<_> = follower.told().iter().map(|told| told.2.unwrap().to_owned()).collect();
    let told = ["another file took its name", "the file was cut", "the file was removed"];
    assert_eq!(ends, told);
    let gaps: Vec<bool> =
        follower.ear.heard.values().map(|h| h.closed.clone().unwrap().1).collect();
    assert_eq!(gaps, [false, true, false]);
    follower.stop();
}

#[test]
fn named_files_are_read_once_and_a_missing_folder_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("named"), "x").unwrap();
    let config = FollowedFolder { paths: vec![path("named"), path("late")], ..Default::default() };
    let mut follower = Follower::of(FollowedFolder { poll_secs: 1, ..config }, Vec::new());
    follower.until_over(1);
    fs::write(path("late"), "y").unwrap();
    follower.until_over(2);
    follower.runtime.block_on(follower.ear.rest());
    follower.thread.join().unwrap();
    assert!(follower.counts.open_failed.get() > 0);

    let config = FollowedFolder { folder: Some(path("none")), poll_secs: 1, ..Default::default() };
    let follower = Follower::of(config, Vec::new());
    while follower.counts.look_failed.get() == 0 {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(follower.stop().heard.is_empty());
}
