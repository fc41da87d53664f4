//! The fold of a whole log: one thread a partition, one for `correlate`; rows go into the lake.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use schemas::log::{Log, LogError, PartitionReader, Progress};
use schemas::tables;
use schemas::time::Timestamp;

use crate::correlate::{Correlate, Summary};
use crate::lake::chain::{Chain, Position};
use crate::lake::{LakeError, LocalStore};
use crate::reference::Reference;
use crate::shard::{FoldOptions, Shard};

/// Summaries that may wait for `correlate`.
const SUMMARIES_WAITING_MAX: usize = 4_096;

/// Why a fold stopped.
#[derive(Debug, thiserror::Error)]
pub enum FoldError {
    /// The log cannot be read on.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The lake cannot be written.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// A fold's thread could not be started.
    #[error("a thread could not be started: {0}")]
    Thread(std::io::Error),
}

/// Looks on while windows close, for gauges. It says nothing back.
pub trait Watch: Send + Sync {
    /// Windows closed; their rows are not yet in the lake.
    fn closed(&self, rows: &[tables::LatencyRow]);
}

/// What a fold needs beside the log.
pub struct Folding {
    /// `[detect]` and `[latency]`.
    pub options: FoldOptions,
    /// Slow facts.
    pub reference: Arc<Reference>,
    /// Where rows go.
    pub store: Arc<LocalStore>,
    /// Name of the log in file names.
    pub log_name: String,
    /// Hash of the settings in force.
    pub config_hash: String,
    /// Told how far each partition is in the lake.
    pub progress: Arc<dyn Progress>,
    /// Whether the log goes on for ever: what is open at its end stays open, and files are closed
    /// where the log says so.
    pub is_live: bool,
    /// When the log began: the day of the first files of a running service.
    pub began: Timestamp,
    /// Who looks on while windows close.
    pub watch: Option<Arc<dyn Watch>>,
}

/// Rows committed, by table.
pub type Committed = BTreeMap<String, u64>;

/// Folds every partition of a log to its end.
///
/// # Errors
/// The first [`FoldError`] of any partition; the files committed before it stand.
pub fn fold<L: Log>(log: &mut L, folding: &Folding) -> Result<Committed, FoldError>
where
    L::Reader: 'static,
{
    let partitions = log.partitions();
    let (sender, receiver) = sync_channel(SUMMARIES_WAITING_MAX);
    let mut readers = Vec::new();
    for partition in 0..partitions {
        readers.push(log.read(partition, folding.progress.resume_position(partition))?);
    }
    std::thread::scope(|scope| {
        let mut folds = Vec::new();
        for (partition, reader) in (0..).zip(readers) {
            let sender = sender.clone();
            let run = move || fold_partition(partition, partitions, reader, folding, &sender);
            let thread = std::thread::Builder::new().name(format!("shard-{partition}"));
            folds.push(thread.spawn_scoped(scope, run).map_err(FoldError::Thread)?);
        }
        drop(sender);
        let mut results = vec![fold_summaries(partitions, receiver, folding)];
        for fold in folds {
            results.push(fold.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        sum(results)
    })
}

/// Sums what was committed; of several errors the one that caused the others.
fn sum(results: Vec<Result<Committed, FoldError>>) -> Result<Committed, FoldError> {
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

/// Declares the chains of one partition: a table each.
macro_rules! chains {
    ($( $field:ident: $table:ident, $row:ident; )+) => {
        /// The chains of one partition.
        struct Chains { $( $field: Chain<tables::$row>, )+ }

        impl Chains {
            fn new(folding: &Folding, partition: u32) -> Self {
                let (store, log) = (&folding.store, folding.log_name.as_str());
                Self { $( $field: Chain::new(tables::$table, store, log, partition), )+ }
            }

            fn take(&mut self, shard: &mut Shard, position: Position) -> Result<(), LakeError> {
                $( self.$field.take(&mut shard.rows.$field, position)?; )+
                Ok(())
            }

            fn roll(&mut self, position: Position, is_first: bool) -> Result<(), LakeError> {
                $( self.$field.roll(position, is_first)?; )+
                Ok(())
            }

            fn committed(&self) -> Committed {
                Committed::from([
                    $( (stringify!($field).to_owned(), self.$field.committed), )+
                ])
            }

            fn finish(self, position: Position, is_first: bool) -> Result<Committed, LakeError> {
                Ok(Committed::from([
                    $( (stringify!($field).to_owned(), self.$field.finish(position, is_first)?), )+
                ]))
            }
        }
    };
}

chains! {
    route_updates: ROUTE_UPDATES, RouteUpdateRow;
    latency: LATENCY, LatencyRow;
    latency_revisions: LATENCY_REVISIONS, LatencyRow;
    latency_5m: LATENCY_5M, LatencyRow;
    latency_1h: LATENCY_1H, LatencyRow;
    latency_1d: LATENCY_1D, LatencyRow;
    sessions: SESSIONS, SessionRow;
    visibility: VISIBILITY, VisibilityRow;
    rib: RIB, RibRow;
    ledger: LEDGER, LedgerRow;
    connections: CONNECTIONS, ConnectionRow;
    feed_gaps: FEED_GAPS, FeedGapRow;
}

fn fold_partition(
    partition: u32,
    partitions: u32,
    mut reader: impl PartitionReader,
    folding: &Folding,
    sender: &SyncSender<(u32, Summary)>,
) -> Result<Committed, FoldError> {
    let mut shard =
        Shard::new(partition, partitions, &folding.options, Arc::clone(&folding.reference));
    shard.config_hash = folding.config_hash.as_str().into();
    let mut chains = Chains::new(folding, partition);
    let mut position = Position { end: 0, time: Timestamp::default() };
    let send = |summary| sender.send((partition, summary)).map_err(|_| LogError::Closed);
    while let Some(batch) = reader.next()? {
        if position.end == 0
            && let Some((first, _)) = batch.log_times()
        {
            position.time = first;
            chains.take(&mut shard, position)?;
        }
        shard.apply(&batch);
        if let Some(watch) = folding.watch.as_ref().filter(|_| !shard.rows.latency.is_empty()) {
            watch.closed(&shard.rows.latency);
        }
        position = Position { end: batch.end_offset(), time: shard.reached };
        chains.take(&mut shard, position)?;
        for summary in shard.take_summaries() {
            send(summary)?;
        }
        send(Summary::Mark(shard.reached))?;
        if folding.is_live && batch.closes_files() {
            chains.roll(position, partition == 0)?;
        }
        folding.progress.committed(partition, position.end, position.time);
    }
    if folding.is_live {
        send(Summary::End)?;
        return Ok(chains.committed());
    }
    shard.finish();
    chains.take(&mut shard, position)?;
    for summary in shard.take_summaries() {
        send(summary)?;
    }
    send(Summary::End)?;
    Ok(chains.finish(position, partition == 0)?)
}

macro_rules! empty {
    (($folding:expr, $name:expr), $position:expr; $($table:ident: $row:ident,)+) => {$(
        Chain::<tables::$row>::new(tables::$table, &$folding.store, $name, 0)
            .finish($position, true)?;
    )+};
}

/// The chains of `findings` and `evidence`.
struct Told {
    findings: Chain<tables::FindingRow>,
    evidence: Chain<tables::EvidenceRow>,
    position: Position,
    /// Second of log time of what waits.
    second: i64,
}

impl Told {
    fn new(folding: &Folding) -> Self {
        let (store, log) = (&folding.store, folding.log_name.as_str());
        Self {
            findings: Chain::new(tables::FINDINGS, store, log, 0),
            evidence: Chain::new(tables::EVIDENCE, store, log, 0),
            position: Position { end: 0, time: Timestamp::default() },
            second: i64::MIN,
        }
    }

    /// Takes what was numbered. A running service commits each second of log time that has something
    /// on its own, so that the files do not depend on how far apart the shards run.
    fn take(&mut self, correlate: &mut Correlate, is_live: bool) -> Result<(), LakeError> {
        for numbered in correlate.numbered.drain(..) {
            if is_live && numbered.log_time.secs() != self.second {
                self.roll()?;
            }
            self.second = numbered.log_time.secs();
            self.position = Position { end: numbered.end, time: numbered.finding.time };
            let mut evidence = numbered.evidence;
            self.findings.take(&mut vec![numbered.finding], self.position)?;
            self.evidence.take(&mut evidence, self.position)?;
        }
        if is_live && correlate.passed.secs() > self.second {
            self.roll()?;
        }
        Ok(())
    }

    fn roll(&mut self) -> Result<(), LakeError> {
        self.findings.roll(self.position, false)?;
        self.evidence.roll(self.position, false)
    }
}

/// Folds the summaries; the tables that later versions fill get their empty first file here.
fn fold_summaries(
    partitions: u32,
    receiver: Receiver<(u32, Summary)>,
    folding: &Folding,
) -> Result<Committed, FoldError> {
    let mut correlate = Correlate::new(partitions);
    let mut told = Told::new(folding);
    let mut first: Option<Timestamp> = None;
    let mut ended = 0;
    while let Ok((partition, summary)) = receiver.recv() {
        match summary {
            Summary::Mark(time) => {
                if folding.is_live && first.is_none() {
                    // Beside the chains, which begin when there is something to tell.
                    let name = format!("{}.empty", folding.log_name);
                    let position = Position { end: 0, time: folding.began };
                    empty! { (folding, &name), position; FINDINGS: FindingRow, EVIDENCE: EvidenceRow, }
                    empty_tables(folding, &name, position)?;
                }
                first = Some(first.map_or(time, |first| first.min(time)));
            }
            Summary::End => ended += 1,
            Summary::Transition(..) | Summary::Tally(_) => {}
        }
        correlate.apply(partition, summary);
        told.take(&mut correlate, folding.is_live)?;
    }
    if ended < partitions {
        return Err(LogError::Closed.into());
    }
    if folding.is_live {
        return Ok(Committed::from([
            ("findings".to_owned(), told.findings.committed),
            ("evidence".to_owned(), told.evidence.committed),
        ]));
    }
    let Told { findings, evidence, mut position, .. } = told;
    if position.end == 0 {
        position.time = first.unwrap_or_default();
    }
    empty_tables(folding, &folding.log_name, position)?;
    Ok(Committed::from([
        ("findings".to_owned(), findings.finish(position, true)?),
        ("evidence".to_owned(), evidence.finish(position, true)?),
    ]))
}

/// Every table has a file in a finished lake, so that every engine can read every table.
fn empty_tables(folding: &Folding, name: &str, position: Position) -> Result<(), LakeError> {
    empty! { (folding, name), position;
        CONNECTION_STATES: ConnectionStateRow,
        PREFIX_EVENTS: PrefixEventRow,
        ALERT_DELIVERIES: AlertDeliveryRow,
        SILENCES: SilenceRow,
        MARKS: MarkRow,
    }
    Ok(())
}
