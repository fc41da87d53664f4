//! What the embedded log costs: real files of routes through the intake into nothing, the same into the log
//! on disk, and the log read back. CPU seconds of this process; how long an append took until it was durable.
//!
//! ```text
//! cargo run --release -p ingest --example log_speed -- FILE...
//! ```

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, clippy::panic)]

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ingest::live::{FileOptions, Format, InputSettings, Live, LiveLog, LiveOptions};
use ingest::log::embedded::{self, EmbeddedOptions, Recovered};
use ingest::session::BmpOptions;
use ingest::session::interest::Keep;
use ingest::source::folder::{FolderSource, FollowedFolder};
use ingest::source::live::{ARRIVALS_WAITING_MAX, Outbox, wall_clock};
use schemas::log::{Append, Log as _, LogError, PartitionReader as _, Publisher};
use schemas::reference::ReferenceSet;
use schemas::registry::Registry;
use tokio::sync::{mpsc, watch};

fn cpu_secs() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |field: usize| fields[field].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / 100.0
}

/// Takes everything and keeps nothing.
struct Nowhere;

impl Publisher for Nowhere {
    fn append(&mut self, _: &Append) -> Result<(), LogError> {
        Ok(())
    }

    fn sync(&mut self) -> Result<(), LogError> {
        Ok(())
    }
}

/// A writer whose appends are timed, from the call until they are durable.
struct Timed<W> {
    writer: W,
    began: Option<Instant>,
    took: Arc<Mutex<Vec<Duration>>>,
}

impl<W: Publisher> Publisher for Timed<W> {
    fn append(&mut self, append: &Append) -> Result<(), LogError> {
        self.began = Some(Instant::now());
        self.writer.append(append)
    }

    fn sync(&mut self) -> Result<(), LogError> {
        let done = self.writer.sync();
        if let Some(began) = self.began.take() {
            self.took.lock().unwrap().push(began.elapsed());
        }
        done
    }
}

impl<W: Publisher> LiveLog for Timed<W> {}

/// Reads the files into a writer; elements that it took, CPU seconds, appends.
fn hear(files: &[PathBuf], writer: impl Publisher + Send + 'static, recovered: &Recovered) -> f64 {
    let before = cpu_secs();
    let took = Arc::<Mutex<Vec<Duration>>>::default();
    let writer = Timed { writer, began: None, took: Arc::clone(&took) };
    let config = FollowedFolder { paths: files.to_vec(), ..FollowedFolder::default() };
    let source = FolderSource::new(config, Vec::new(), 0);
    let input = InputSettings {
        name: "files".into(),
        collector: "archive".into(),
        format: Format::Files(FileOptions { bmp: BmpOptions::default(), mapping: None }),
        book: Some(source.book()),
        collector_of: None,
        counts: Arc::default(),
        belongs_to_process: false,
    };
    let options = LiveOptions {
        registry: Arc::new(Registry::new(1, Vec::new(), Vec::new()).unwrap()),
        settings: "{}".into(),
        reference: ReferenceSet::default(),
        versions: mpsc::channel(1).1,
        keep: Keep::All,
        inputs: vec![input],
        commit_secs: 60,
        snapshot_secs: 300,
        is_final: true,
        progress_timeout_secs: 300,
        heartbeat: Arc::default(),
        orders: None,
        linger: Duration::ZERO,
    };
    let (sender, arrivals) = mpsc::channel(ARRIVALS_WAITING_MAX);
    let (_stop, stopping) = watch::channel(false);
    let reader = std::thread::spawn(move || source.run(&Outbox::new(0, sender), &stopping));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let live = Live::start(options, writer, recovered, wall_clock).unwrap();
    let report = live.run(arrivals, runtime.handle()).unwrap();
    reader.join().unwrap();
    let cpu = cpu_secs() - before;
    let mut took = took.lock().unwrap().clone();
    took.sort();
    let at = |percent: usize| took[(took.len() * percent / 100).min(took.len() - 1)];
    let (elements, appends) = (report[0].account.accepted, took.len());
    println!(
        "{elements} elements, {cpu:.2} CPU s, {appends} appends: p50 {:?}, p99 {:?}, max {:?}",
        at(50),
        at(99),
        at(100)
    );
    cpu
}

fn main() {
    let files: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    assert!(!files.is_empty(), "which files?");
    let folder = tempfile::tempdir_in(".").unwrap();
    let options = |name: &str| EmbeddedOptions {
        folder: folder.path().join(name),
        partitions: 1,
        segment_bytes: 256 << 20,
        bytes_max: 64 << 30,
        now: wall_clock(),
    };
    let (_, _, recovered) = embedded::open(options("unused")).unwrap();
    print!("into nothing: ");
    let nothing = hear(&files, Nowhere, &recovered);
    print!("into the log: ");
    let (_, writer, recovered) = embedded::open(options("log")).unwrap();
    let logged = hear(&files, writer, &recovered);
    let before = cpu_secs();
    let (mut log, writer, _) = embedded::open(options("log")).unwrap();
    let bytes = writer.bytes();
    let mut reader = log.read(0, 0).unwrap();
    drop(writer);
    let mut records = 0;
    while let Some(batch) = reader.next().unwrap() {
        records += batch.len();
    }
    let read = cpu_secs() - before;
    println!("read back: {records} records, {bytes} bytes, {read:.2} CPU s");
    println!("the log: {:.2} CPU s written, {read:.2} read", logged - nothing);
}
