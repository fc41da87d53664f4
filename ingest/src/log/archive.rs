//! The archive log: files merged into one log by event time, the same for any order of arguments.
//!
//! A k-way merge by (time as order in its input allows, table dumps before updates, rank of the
//! input, ordinal). The rank is (first time, content hash): never an argument's place or a path. A
//! tick goes to every partition when the merged time enters another second; a jump is one tick.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::fs::File;
use std::io::{Read, Seek as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use schemas::batch::{Control, EventBatch};
use schemas::bgp::Prefix;
use schemas::log::{Log, LogError, PartitionReader};
use schemas::reference::ReferenceSet;
use schemas::registry::Registry;
use schemas::tables::Text;
use schemas::time::{MICROS_PER_SEC, Timestamp};

pub use super::input::InputReport;
use super::input::{ARCHIVE_INPUT, MrtInput, RttInput};
use super::stream_input::StreamInput;
use crate::batcher::{Batcher, Outlet};
use crate::decode::mapping::Mapping;
use crate::intake::Intake;
use crate::samples::{self, Body, Collector, Owners, SampleFeed, Scope};
use crate::session::bmp::BmpOptions;
use crate::session::interest::Keep;
use crate::source::discover::{FileKind, Found};
use crate::source::elements::Elements;
use crate::source::open::{Compression, fill, open};

/// Batches that may wait for a fold.
const BATCHES_WAITING_MAX: usize = 8;

/// What the archive log is made of.
#[derive(Debug)]
pub struct ArchiveOptions {
    /// The files.
    pub inputs: Vec<Found>,
    /// Collector of each file by its name; `archive` where none is given.
    pub collectors: BTreeMap<String, String>,
    /// Where the samples of a file of another form lie, by its name.
    pub mappings: BTreeMap<String, Mapping>,
    /// What is ours.
    pub registry: Arc<Registry>,
    /// Which reference data count since when, in order.
    pub references: Vec<(Timestamp, ReferenceSet)>,
    /// Which routes are kept.
    pub keep: Keep,
    /// Prefixes of others that an archive before this one made us follow.
    pub followed: Vec<Prefix>,
    /// Number of partitions, at least 1.
    pub partitions: u32,
}

/// What came of the whole log at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArchiveReport {
    /// One report an input, in the order in which they ended.
    pub inputs: Vec<InputReport>,
    /// The last time merged.
    pub end: Timestamp,
    /// Prefixes of others that are followed, in order.
    pub followed: Vec<Prefix>,
}

/// The merged archive.
pub struct ArchiveLog {
    identity: String,
    readers: Vec<Option<ArchiveReader>>,
    merge: Option<JoinHandle<Result<ArchiveReport, LogError>>>,
}

impl ArchiveLog {
    /// Opens the files and starts the merge, which runs ahead of its readers by a bounded number of
    /// batches. `progress` is told the merged time now and then.
    ///
    /// # Errors
    /// [`LogError::Input`] if a file cannot be opened any more.
    pub fn start(
        options: ArchiveOptions,
        identity: String,
        progress: impl Fn(Timestamp, u64) + Send + 'static,
    ) -> Result<Self, LogError> {
        let (senders, readers): (Vec<SyncSender<Option<EventBatch>>>, Vec<_>) =
            (0..options.partitions.max(1))
                .map(|_| sync_channel(BATCHES_WAITING_MAX))
                .map(|(sender, receiver)| (sender, Some(ArchiveReader { receiver, from: 0 })))
                .unzip();
        let merge = std::thread::Builder::new()
            .name("merge".to_owned())
            .spawn(move || Merge::open(&options)?.run(senders, &progress))
            .map_err(|error| LogError::Input { source_name: "merge thread".to_owned(), error })?;
        Ok(Self { identity, readers, merge: Some(merge) })
    }

    /// Waits for the end of the merge.
    ///
    /// # Errors
    /// What stopped it.
    pub fn finish(mut self) -> Result<ArchiveReport, LogError> {
        self.readers.clear();
        match self.merge.take().map(JoinHandle::join) {
            Some(Ok(report)) => report,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Err(LogError::Closed),
        }
    }
}

impl Log for ArchiveLog {
    type Reader = ArchiveReader;

    fn identity(&self) -> &str {
        &self.identity
    }

    fn partitions(&self) -> u32 {
        u32::try_from(self.readers.len()).unwrap_or(u32::MAX)
    }

    fn read(&mut self, partition: u32, from: u64) -> Result<ArchiveReader, LogError> {
        let reader = self.readers.get_mut(partition as usize).and_then(Option::take);
        reader.map(|reader| ArchiveReader { from, ..reader }).ok_or(LogError::Closed)
    }
}

/// One channel a partition; `None` on it says that the log is at its end: a reader whose channel
/// closes without that knows that the log was cut off.
struct Channels(Vec<SyncSender<Option<EventBatch>>>);

impl Channels {
    fn end(&self) -> Result<(), LogError> {
        self.0.iter().try_for_each(|sender| sender.send(None).map_err(|_| LogError::Closed))
    }
}

impl Outlet for Channels {
    fn put(&mut self, batch: EventBatch) -> Result<(), LogError> {
        let sender = self.0.get(batch.partition as usize).ok_or(LogError::Closed)?;
        sender.send(Some(batch)).map_err(|_| LogError::Closed)
    }
}

/// Reads one partition of the archive.
pub struct ArchiveReader {
    receiver: Receiver<Option<EventBatch>>,
    from: u64,
}

impl PartitionReader for ArchiveReader {
    fn next(&mut self) -> Result<Option<EventBatch>, LogError> {
        loop {
            match self.receiver.recv() {
                Ok(Some(batch)) if batch.end_offset() <= self.from => {}
                Ok(batch) => return Ok(batch),
                Err(_) => return Err(LogError::Closed),
            }
        }
    }
}

/// Order of the next record of an input: time, table dumps first, rank.
type Key = (Timestamp, bool, usize);

struct Merge {
    registry: Arc<Registry>,
    /// Those that do not count yet.
    references: VecDeque<(Timestamp, ReferenceSet)>,
    keep: Keep,
    followed: Vec<Prefix>,
    inputs: Vec<Option<Input>>,
    next: BinaryHeap<Reverse<Key>>,
    second: Option<i64>,
}

enum Input {
    Mrt(Box<MrtInput>),
    Stream(Box<StreamInput>),
    Rtt(Box<RttInput>),
}

impl Input {
    fn next_time(&self) -> Option<Timestamp> {
        match self {
            Self::Mrt(input) => input.next_time(),
            Self::Stream(input) => input.next_time(),
            Self::Rtt(input) => input.next_time(),
        }
    }

    /// The time that ranks it; none for a file without any record.
    fn first_time(&self) -> Option<Timestamp> {
        match self {
            Self::Mrt(input) => input.next_time(),
            Self::Stream(input) => input.next_time(),
            Self::Rtt(input) => input.next_time().or(input.latest()),
        }
    }
}

impl Merge {
    fn open(options: &ArchiveOptions) -> Result<Self, LogError> {
        let names = source_names(&options.inputs);
        let owners = Owners::new(Arc::clone(&options.registry));
        let mut ranked = Vec::with_capacity(options.inputs.len());
        for (found, name) in options.inputs.iter().zip(names) {
            let (input, is_rib) = open_input(found, name, options, &owners)?;
            ranked.push((input.first_time(), found.content_hash, is_rib, input));
        }
        ranked.sort_by_key(|(first, content_hash, ..)| (*first, *content_hash));
        let mut merge = Self {
            registry: Arc::clone(&options.registry),
            references: options.references.iter().cloned().collect(),
            keep: options.keep,
            followed: options.followed.clone(),
            inputs: Vec::with_capacity(ranked.len()),
            next: BinaryHeap::new(),
            second: None,
        };
        for (rank, (first, _, is_rib, input)) in ranked.into_iter().enumerate() {
            let first = first.unwrap_or(Timestamp::MAX);
            merge.next.push(Reverse((first, !is_rib, rank)));
            merge.inputs.push(Some(input));
        }
        Ok(merge)
    }

    fn run(
        mut self,
        senders: Vec<SyncSender<Option<EventBatch>>>,
        progress: &dyn Fn(Timestamp, u64),
    ) -> Result<ArchiveReport, LogError> {
        let batcher = Batcher::new(&vec![0; senders.len()], false, Channels(senders));
        let mut intake = Intake::new(batcher, Arc::clone(&self.registry), self.keep);
        intake.interest().follow(std::mem::take(&mut self.followed));
        let mut report = ArchiveReport::default();
        let mut records = 0;
        while let Some(Reverse((mut time, after_ribs, rank))) = self.next.pop() {
            let Some(mut input) = self.inputs.get_mut(rank).and_then(Option::take) else {
                continue;
            };
            // Records that follow each other in one input are taken without going back to the heap.
            let later = loop {
                time = if time == Timestamp::MAX { report.end } else { time };
                self.tick(time, &mut intake.batcher)?;
                match &mut input {
                    Input::Mrt(input) => input.append(&mut intake)?,
                    Input::Stream(input) => input.append(&mut intake)?,
                    Input::Rtt(input) => input.append(&mut intake.batcher)?,
                }
                records += 1;
                if records % 65_536 == 0 {
                    progress(time, records);
                }
                report.end = report.end.max(time);
                let Some(next) = input.next_time() else { break None };
                let key = (next, after_ribs, rank);
                if self.next.peek().is_some_and(|Reverse(other)| *other < key) {
                    break Some(key);
                }
                time = next;
            };
            match (later, input) {
                (Some(key), input) => {
                    self.next.push(Reverse(key));
                    if let Some(slot) = self.inputs.get_mut(rank) {
                        *slot = Some(input);
                    }
                }
                (None, Input::Mrt(input)) => {
                    report.inputs.push(input.close(time, &mut intake.batcher)?);
                }
                (None, Input::Stream(input)) => {
                    report.inputs.push(input.close(time, &mut intake.batcher)?);
                }
                (None, Input::Rtt(input)) => {
                    report.inputs.push(input.close(time, &mut intake.batcher)?);
                }
            }
        }
        intake.batcher.flush()?;
        intake.batcher.outlet_mut().end()?;
        report.followed = intake.interest().followed();
        progress(report.end, records);
        Ok(report)
    }

    /// Time moves for every partition; reference data and the registry stand before everything else.
    fn tick(&mut self, time: Timestamp, batcher: &mut Batcher<Channels>) -> Result<(), LogError> {
        if self.references.front().is_some_and(|(from, _)| *from <= time) {
            self.refer(time, batcher)?;
        }
        if self.second == Some(time.secs()) {
            return Ok(());
        }
        if self.second.is_none() {
            let registry = Arc::clone(&self.registry);
            batcher.broadcast(time, |_| Control::Registry {
                registry: Arc::clone(&registry),
                settings: None,
            })?;
        }
        self.second = Some(time.secs());
        let until = Timestamp(time.secs() * MICROS_PER_SEC);
        batcher.broadcast(time, |_| Control::Tick { inputs: vec![ARCHIVE_INPUT], until })
    }

    /// Reference data begin to count, each at its date; of those from before the first record the last.
    fn refer(&mut self, time: Timestamp, batcher: &mut Batcher<Channels>) -> Result<(), LogError> {
        while let Some((from, set)) = self.references.pop_front_if(|(from, _)| *from <= time) {
            let is_past = self.references.front().is_some_and(|(next, _)| *next <= time);
            let at = match self.second {
                None if is_past => continue,
                None => time,
                Some(_) => from,
            };
            batcher.broadcast(at, |_| Control::Reference(set.clone()))?;
        }
        Ok(())
    }
}

/// A file of samples, where it lies if it is not compressed.
fn samples_of(path: &Path, reader: Box<dyn Read + Send>) -> std::io::Result<Body> {
    let mut file = File::open(path)?;
    let mut head = [0; 8];
    let bytes = fill(&mut file, &mut head)?;
    if Compression::of(head.get(..bytes).unwrap_or_default()) != Compression::None {
        return Ok(Body::Stream(reader));
    }
    file.rewind()?;
    Ok(Body::File(file))
}

fn open_input(
    found: &Found,
    name: Text,
    options: &ArchiveOptions,
    owners: &Owners,
) -> Result<(Input, bool), LogError> {
    let input_error =
        |error| LogError::Input { source_name: found.path.display().to_string(), error };
    let reader = open(&found.path).map_err(input_error)?;
    match found.kind {
        FileKind::Mrt { is_rib, .. } => {
            let collector = options.collectors.get(&found.name).map_or("archive", String::as_str);
            let input = MrtInput::open(name, collector.into(), is_rib, reader);
            Ok((Input::Mrt(Box::new(input)), is_rib))
        }
        kind @ (FileKind::Bmp | FileKind::OpenBmp | FileKind::Capture | FileKind::RisLive) => {
            let collector = options.collectors.get(&found.name).map_or("archive", String::as_str);
            let bmp = BmpOptions::default();
            let opened = Elements::open(kind, reader, collector.into(), &found.name, bmp);
            let elements = opened.map_err(input_error)?.ok_or_else(|| {
                input_error(std::io::Error::other("no reader for files of this kind"))
            })?;
            Ok((Input::Stream(Box::new(StreamInput::new(name, elements))), false))
        }
        FileKind::Rtt(format) => {
            let body = samples_of(&found.path, reader).map_err(input_error)?;
            let collector = Collector::new(owners, Scope::default());
            let mapping = options.mappings.get(&found.name);
            let set = samples::read(body, format, mapping, collector)
                .map_err(|error| input_error(std::io::Error::other(error)))?;
            let feed =
                SampleFeed::new(set, ARCHIVE_INPUT, &options.registry, options.partitions.max(1));
            Ok((Input::Rtt(Box::new(RttInput::new(name, feed))), false))
        }
    }
}

/// Names without folders; equal ones are told apart by the first digits of their content hash.
fn source_names(inputs: &[Found]) -> Vec<Text> {
    let mut uses: BTreeMap<&str, u32> = BTreeMap::new();
    for found in inputs {
        *uses.entry(&found.name).or_default() += 1;
    }
    let distinct = |found: &Found| match uses.get(found.name.as_str()) {
        Some(1) => found.name.as_str().into(),
        _ => {
            let digits: String =
                found.content_hash.iter().take(4).map(|octet| format!("{octet:02x}")).collect();
            format!("{digits}-{}", found.name).into()
        }
    };
    inputs.iter().map(distinct).collect()
}
