//! The fold of a whole log: one thread a partition, one for `correlate`; rows go into the lake.
//!
//! [`partition`] folds one partition, [`told`] what the partitions tell. Here they are put together:
//! for an archive, whose summaries cross memory and are merged by time, and for a live log, whose
//! summaries are durable before `correlate` reads them.

mod chains;
mod entry;
mod held;
pub mod partition;
pub mod told;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

use schemas::log::{
    Log, LogError, NextSummary, PartitionReader, Progress, Summaries, SummaryReader,
};
use schemas::tables;
use schemas::time::Timestamp;

use crate::correlate::{Summary, SummaryError};
use crate::lake::{LakeError, Store};
use crate::reference::library::{Library, LibraryError};
use crate::shard::FoldOptions;
use crate::state::StateError;
use partition::PartitionFold;
use told::{CorrelateFold, Merged};

/// Summaries that may wait for `correlate`.
const SUMMARIES_WAITING_MAX: usize = 4_096;
/// How long `correlate` waits for an entry before it looks whether rows are due.
const IDLE: Duration = Duration::from_millis(200);
/// Lost races of one fold in a row, without a file of its own between them, before it gives up.
const RACES_MAX: u32 = 20;

/// Why a fold stopped.
#[derive(Debug, thiserror::Error)]
pub enum FoldError {
    /// The log cannot be read on.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The lake cannot be written.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// What shards told cannot be read.
    #[error("an entry of summaries: {0}")]
    Summary(#[from] SummaryError),
    /// What a shard told is missing.
    #[error(
        "summaries of partition {partition} are missing between offsets {after} and {before}: an entry \
         that was durable is gone; restore the log of summaries, or start a new log with a new lake"
    )]
    Gap {
        /// The partition.
        partition: u32,
        /// Offset of the last entry that was read.
        after: u64,
        /// Offset of the entry that is missing.
        before: u64,
    },
    /// The state cannot be kept.
    #[error("the state of a fold cannot be kept: {0}")]
    State(#[from] StateError),
    /// Reference data that the log names cannot be had.
    #[error(transparent)]
    Reference(#[from] LibraryError),
    /// A fold's thread could not be started.
    #[error("a thread could not be started: {0}")]
    Thread(std::io::Error),
}

impl FoldError {
    /// Whether the log does not have what a fold that was opened again still wants.
    const fn is_for_good(&self, from: u64) -> bool {
        matches!(self, Self::Log(LogError::Released { wanted, .. }) if *wanted == from)
    }

    /// Whether another writer was faster: his files count, and the fold begins again behind them; or
    /// behind his snapshots, where the log was let go under us.
    #[must_use]
    pub const fn is_lost_race(&self) -> bool {
        matches!(self, Self::Lake(LakeError::Differs { .. }) | Self::Log(LogError::Released { .. }))
    }
}

/// Looks on while windows close, for gauges. It says nothing back.
pub trait Watch: Send + Sync {
    /// Windows closed; their rows are not yet in the lake.
    fn closed(&self, rows: &[tables::LatencyRow]);
}

/// What a fold needs beside the log.
#[derive(Clone)]
pub struct Folding {
    /// `[detect]` and `[latency]`.
    pub options: FoldOptions,
    /// Where the reference data are that the log names.
    pub library: Arc<Library>,
    /// Where rows go.
    pub store: Arc<Store>,
    /// Name of the log in file names.
    pub log_name: String,
    /// The logs before this one, if it goes on from their end; the last one last.
    pub before: Vec<String>,
    /// Number of its partitions.
    pub partitions: u32,
    /// Hash of the settings in force.
    pub config_hash: String,
    /// Told how far each partition is in the lake, and what of the log may be let go.
    pub progress: Arc<dyn Progress>,
    /// Whether the log goes on for ever: what is open at its end stays open, and files are closed
    /// and snapshots taken where the log says so.
    pub is_live: bool,
    /// When the log began: the day of the first files of a running service.
    pub began: Timestamp,
    /// Who looks on while windows close.
    pub watch: Option<Arc<dyn Watch>>,
}

/// Rows committed, by table.
pub type Committed = BTreeMap<String, u64>;

/// Where shards tell, and where `correlate` listens, in a live log.
pub struct SummaryEnds {
    /// The writing end.
    pub writer: Arc<dyn Summaries>,
    /// The reading end.
    pub reader: Box<dyn SummaryReader>,
}

/// Folds every partition of an archive to its end.
///
/// # Errors
/// The first [`FoldError`] of any partition; the files committed before it stand.
pub fn fold<L: Log>(log: &mut L, folding: &Folding) -> Result<Committed, FoldError>
where
    L::Reader: 'static,
{
    let (sender, receiver) = sync_channel(SUMMARIES_WAITING_MAX);
    let opened = open_all(log, folding)?;
    std::thread::scope(|scope| {
        let mut folds = Vec::new();
        for (fold, mut reader) in opened {
            let sender = sender.clone();
            let run = move || archive_partition(fold, &mut reader, &sender);
            folds.push(on_thread(scope, run)?);
        }
        drop(sender);
        let told = archive_summaries(&receiver, folding);
        // Shards that still tell find nobody and end.
        drop(receiver);
        sum(told, folds)
    })
}

/// Folds every partition of a live log, and what they tell, until its writer is gone.
///
/// # Errors
/// As [`fold`].
pub fn fold_live<L: Log>(
    log: &mut L,
    folding: &Folding,
    ends: SummaryEnds,
) -> Result<Committed, FoldError>
where
    L::Reader: 'static,
{
    let SummaryEnds { writer, mut reader } = ends;
    let opened = open_all(log, folding)?;
    std::thread::scope(|scope| {
        let mut folds = Vec::new();
        for (fold, reader) in opened {
            let writer = Arc::clone(&writer);
            folds.push(on_thread(scope, move || follow(fold, reader, folding, &*writer))?);
        }
        // The entries end when the last shard lets go of its end.
        drop(writer);
        let told = correlate(folding, &mut *reader);
        sum(told, folds)
    })
}

/// A fold for each partition, with its reader where it goes on.
fn open_all<L: Log>(
    log: &mut L,
    folding: &Folding,
) -> Result<Vec<(PartitionFold, L::Reader)>, FoldError> {
    let mut opened = Vec::new();
    for partition in 0..folding.partitions {
        let (fold, from) = PartitionFold::open(partition, folding)?;
        opened.push((fold, log.read(partition, from)?));
    }
    Ok(opened)
}

/// What a fold committed.
pub type Folded = Result<Committed, FoldError>;

fn on_thread<'s>(
    scope: &'s Scope<'s, '_>,
    run: impl FnOnce() -> Folded + Send + 's,
) -> Result<ScopedJoinHandle<'s, Folded>, FoldError> {
    let thread = std::thread::Builder::new().name("shard".to_owned());
    thread.spawn_scoped(scope, run).map_err(FoldError::Thread)
}

/// Sums what was committed; of several errors the one that caused the others.
fn sum(told: Folded, folds: Vec<ScopedJoinHandle<'_, Folded>>) -> Folded {
    let mut results = vec![told];
    for fold in folds {
        results.push(fold.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
    }
    let mut committed = Committed::new();
    let mut closed = None;
    for result in results {
        match result {
            Ok(rows) => rows.into_iter().for_each(|(table, rows)| {
                *committed.entry(table).or_default() += rows;
            }),
            Err(FoldError::Log(LogError::Closed)) => closed = Some(LogError::Closed),
            Err(cause) => return Err(cause),
        }
    }
    closed.map_or(Ok(committed), |closed| Err(closed.into()))
}

// --- An archive ---

/// What a partition of an archive tells: at once, and in memory.
type Telling = SyncSender<(u32, Vec<Summary>)>;

fn archive_partition(
    mut fold: PartitionFold,
    reader: &mut impl PartitionReader,
    sender: &Telling,
) -> Folded {
    let partition = fold.partition();
    let tell = |told| sender.send((partition, told)).map_err(|_| LogError::Closed);
    while let Some(batch) = reader.next()? {
        tell(fold.apply(&batch)?)?;
    }
    let (told, committed) = fold.finish()?;
    tell(told)?;
    Ok(committed)
}

fn archive_summaries(receiver: &Receiver<(u32, Vec<Summary>)>, folding: &Folding) -> Folded {
    let mut merged = Merged::open(folding)?;
    while let Ok((partition, told)) = receiver.recv() {
        for summary in told {
            merged.apply(partition, summary)?;
        }
    }
    merged.finish(folding)
}

// --- A live log ---

/// Folds one partition of a live log, as long as it is this process's. After a lost race the fold is
/// opened again behind the files of whoever was faster.
///
/// # Errors
/// [`FoldError`]; the files committed before it stand.
pub fn follow(
    mut fold: PartitionFold,
    mut reader: impl PartitionReader,
    folding: &Folding,
    summaries: &dyn Summaries,
) -> Folded {
    let mut races = 0;
    let mut committed = Committed::new();
    loop {
        let done = match reader.next() {
            Ok(Some(batch)) => fold.apply_live(&batch, summaries),
            Ok(None) => break,
            Err(error) => Err(error.into()),
        };
        match done {
            Ok(true) => races = 0,
            Ok(false) => {}
            Err(error) => {
                let open = || PartitionFold::open(fold.partition(), folding);
                let (again, _) = opened_again(error, &mut races, open)?;
                add(&mut committed, fold.committed());
                fold = again;
                reader.seek(fold.resume())?;
            }
        }
    }
    add(&mut committed, fold.committed());
    Ok(committed)
}

/// Opens a fold again behind whoever was faster. What that does not help is the error again.
fn opened_again<T>(
    error: FoldError,
    races: &mut u32,
    open: impl FnOnce() -> Result<(T, u64), FoldError>,
) -> Result<(T, u64), FoldError> {
    if !error.is_lost_race() || *races >= RACES_MAX {
        return Err(error);
    }
    *races += 1;
    let (again, from) = open()?;
    if error.is_for_good(from) {
        return Err(error);
    }
    tracing::warn!(%error, races, "another writer was faster, begun again behind it");
    Ok((again, from))
}

fn add(sum: &mut Committed, more: Committed) {
    more.into_iter().for_each(|(table, rows)| *sum.entry(table).or_default() += rows);
}

/// Folds what the shards of a live log tell, until they have all ended.
///
/// # Errors
/// [`FoldError`]; what was committed before stands.
pub fn correlate(folding: &Folding, reader: &mut dyn SummaryReader) -> Folded {
    let (mut fold, from) = CorrelateFold::open(folding)?;
    reader.seek(from)?;
    let mut races = 0;
    let mut committed = Committed::new();
    loop {
        let done = match reader.next(IDLE) {
            Ok(NextSummary::End) => break,
            Ok(NextSummary::Idle) => fold.idle(),
            Ok(NextSummary::Entry(position, entry)) => fold.apply(position, &entry),
            Err(error) => Err(error.into()),
        };
        match done {
            Ok(true) => races = 0,
            Ok(false) => {}
            Err(error) => {
                let open = || CorrelateFold::open(folding);
                let (again, from) = opened_again(error, &mut races, open)?;
                add(&mut committed, fold.committed());
                fold = again;
                reader.seek(from)?;
            }
        }
    }
    match fold.close() {
        // Another one goes on with the summaries.
        Err(error) if error.is_lost_race() => {}
        closed => closed?,
    }
    add(&mut committed, fold.committed());
    Ok(committed)
}
