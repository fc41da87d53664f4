//! Wiring of `run`: live sources into the embedded log, its folds and the lake, in one process. Over
//! Kafka, [`kafka`] wires the same parts as roles.
//!
//! Three parts, each of which ends the service if it cannot go on: the sources (IO, on the runtime
//! and on threads of their own), the intake (one thread: every session and the writing end of the
//! log) and the folds (a thread a partition). A fourth reads anew what is configured ([`versions`]). A stop goes the same way as the data: the sources close
//! their streams, the intake appends what is left and the record that closes files, the folds commit
//! and end.

mod kafka;
mod serve;
mod sources;
mod versions;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use analytics::fold::{Committed, FoldError, Folding, SummaryEnds, Watch, fold_live};
use analytics::lake::identity::Identity;
use analytics::lake::{LakeRoot, LakeShelf, Store};
use analytics::reference::library::Library;
use analytics::shard::{FoldOptions, FoldSettings};
use ingest::live::{InputReport, Live, LiveOptions, VERSIONS_WAITING_MAX, reference_of};
use ingest::log::embedded::summaries::SummaryLog;
use ingest::log::embedded::{self, EmbeddedLog, EmbeddedOptions, EmbeddedWriter, Recovered};
use ingest::samples::Owners;
use ingest::source::live::ARRIVALS_WAITING_MAX;
use ingest::source::rtr::{self, RtrCounts, RtrSource, RtrWord};
use schemas::log::{Log as _, LogError, Progress};
use schemas::time::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::config::{Config, LogConfig};
use crate::http::HttpError;
use crate::killer;
use crate::metrics::{LatencyGauges, Metrics, VersionCounts};
use crate::replay::{ReplayError, note_contents};

pub use kafka::Role;
pub use sources::SourceError;
use sources::Sources;
use versions::{Outlets, Shelves, Versions};

/// Folder of the summaries beside the segments of the log.
const SUMMARIES: &str = "summaries";

/// Why the service stopped. One variant per exit code or remedy.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Nothing to listen to.
    #[error(
        "no live source is configured; add one, such as [source.routers] with kind = \
         \"bmp_listener\" (see docs/guide/live.md), or [http] listen for samples of round trips (see \
         docs/guide/rtt.md)"
    )]
    NoSource,
    /// Roles are processes over Kafka.
    #[error(
        "roles other than `all` are processes over Kafka, and there is none in the configuration; set \
         [kafka] brokers (see docs/guide/kafka.md), or leave --role out"
    )]
    NeedsKafka,
    /// The name of this process is none.
    #[error("--instance: {0}")]
    Instance(String),
    /// A source cannot be started.
    #[error("[source.{name}]: {error}")]
    Source {
        /// Its name.
        name: String,
        /// What is wrong.
        error: SourceError,
    },
    /// Nowhere to be asked.
    #[error(
        "--role serve answers queries over HTTP, and there is no listener; set [http] listen (see \
         docs/guide/sql.md)"
    )]
    NoListener,
    /// The HTTP listener cannot be started.
    #[error("[http]: {0}")]
    Http(#[from] HttpError),
    /// Reference data, or the lake.
    #[error(transparent)]
    Prepare(#[from] ReplayError),
    /// The log says no.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A fold stopped.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// A thread could not be started.
    #[error("a thread could not be started: {0}")]
    Thread(std::io::Error),
    /// A bug.
    #[error(
        "the thread {thread} panicked, which is a bug: please report it, with the lines before this one; \
         nothing that was confirmed is lost"
    )]
    Panic {
        /// Its name.
        thread: String,
    },
    /// The drain took too long.
    #[error(
        "not drained within {secs} s; everything that was received is in the log, the next start goes \
         on there"
    )]
    Deadline {
        /// The deadline.
        secs: u32,
    },
}

/// What a run did.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Rows of each table committed by this run's folds.
    pub rows: Committed,
    /// What came of each input.
    pub inputs: Vec<InputReport>,
}

/// What is to be run.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Settings.
    pub config: &'a Config,
    /// Where the settings were read; they are read again when the file changes.
    pub place: Option<&'a Path>,
    /// The lake.
    pub lake: &'a LakeRoot,
    /// End when every source has been read to its end, instead of at a signal.
    pub until_done: bool,
    /// What this process does; all of it but over Kafka.
    pub role: Role,
    /// Name of this process among those of its role, if another one than the configuration has.
    pub instance: Option<&'a str>,
}

/// The time: the one place where a running service reads the clock for its log.
fn now() -> Timestamp {
    ingest::source::live::wall_clock().plus_secs(-killer::clock_behind_secs())
}

/// Runs the service until it is told to stop. `ready` is called once everything listens, with the
/// addresses.
///
/// # Errors
/// [`RunError`]; what was received is in the log.
pub fn run(
    request: &Request<'_>,
    ready: impl FnOnce(&[(String, String)]),
) -> Result<Outcome, RunError> {
    let config = request.config;
    if request.role.ingests()
        && !config.sources.values().any(sources::is_live)
        && config.http.listen.is_none()
    {
        return Err(RunError::NoSource);
    }
    if request.role == Role::Serve {
        return serve::run(request, ready);
    }
    if config.kafka.is_on() {
        return kafka::run(request, ready);
    }
    if request.role != Role::All {
        return Err(RunError::NeedsKafka);
    }
    let (log, writer, recovered) = embedded::open(log_options(&config.log))?;
    tell_recovered(&recovered, &writer);
    let summaries = SummaryLog::open(&config.log.path.join(SUMMARIES), config.log.bytes_max)?;
    let latency = Arc::<LatencyGauges>::default();
    latency.limit(usize::try_from(config.http.metric_connections_max).unwrap_or(usize::MAX));
    let store = Store::open_at(request.lake).map_err(ReplayError::from)?;
    let feeding = Feeding { log: log.identity(), partitions: log.partitions(), began: log.created };
    let progress = Arc::new(log.progress(&summaries));
    let folding = folding(config, store, &feeding, progress, &latency)?;
    let shelves = Shelves::of(&folding.store, &folding.library);
    let counts = Arc::<VersionCounts>::default();
    let told = reference_of(&recovered);
    let place = request.place.map(Path::to_owned);
    let versions = Versions::begin(config, place, shelves, Arc::clone(&counts), &told, now())?;
    let runtime = crate::command::runtime().map_err(RunError::Thread)?;
    let page =
        Metrics { latency, versions: counts, cache: cache_counts(config), ..Metrics::default() };
    let ends = SummaryEnds { reader: Box::new(summaries.read(0)?), writer: Arc::new(summaries) };
    let parts = Parts { log, ends, writer, recovered, folding, versions, page };
    let done = runtime.block_on(serve(request, parts, ready));
    runtime.shutdown_timeout(Duration::from_secs(1));
    done
}

/// The log that feeds a lake.
struct Feeding<'l> {
    /// What tells it from any other one.
    log: &'l str,
    partitions: u32,
    /// When it was made.
    began: Timestamp,
}

/// What the folds of a live log need, over the lake that it feeds.
fn folding(
    config: &Config,
    store: Store,
    feeding: &Feeding<'_>,
    progress: Arc<dyn Progress>,
    latency: &Arc<LatencyGauges>,
) -> Result<Folding, RunError> {
    let identity = Identity {
        kind: "run".to_owned(),
        inputs: vec![feeding.log.to_owned()],
        reference: Vec::new(),
        config_hash: String::new(),
        partitions: feeding.partitions,
        after: None,
    };
    let store = Arc::new(store);
    identity.claim(&store).map_err(ReplayError::from)?;
    note_contents(&store, config).map_err(ReplayError::from)?;
    let watch: Arc<dyn Watch> = Arc::clone(latency) as _;
    Ok(Folding {
        options: FoldOptions::default(),
        library: Arc::new(Library::new(LakeShelf::new(&store))),
        store,
        log_name: identity.log(),
        before: Vec::new(),
        partitions: feeding.partitions,
        config_hash: config.hash(),
        progress,
        is_live: true,
        began: feeding.began,
        watch: config.http.listen.map(|_| watch),
    })
}

fn log_options(config: &LogConfig) -> EmbeddedOptions {
    EmbeddedOptions {
        folder: config.path.clone(),
        partitions: config.partitions,
        segment_bytes: config.segment_bytes,
        bytes_max: config.bytes_max,
        now: now(),
    }
}

fn tell_recovered(recovered: &Recovered, writer: &EmbeddedWriter) {
    if recovered.torn_bytes > 0 {
        let bytes = recovered.torn_bytes;
        tracing::warn!(bytes, "an append that was cut off is gone, nobody had seen it");
    }
    if let Some(log_time) = recovered.log_time {
        let bytes = writer.bytes();
        tracing::info!(%log_time, bytes, "going on where the log ends");
    }
}

/// Settings of the folds, as a version of them lies in the log.
fn settings(config: &Config) -> String {
    let settings = FoldSettings {
        config_hash: config.hash(),
        detect: config.detect.clone(),
        latency: config.latency.clone(),
        backfill_after_secs: config.log.backfill_after_secs,
    };
    serde_json::to_string(&settings).unwrap_or_default()
}

/// What a service is made of, opened and not yet started.
struct Parts {
    log: EmbeddedLog,
    ends: SummaryEnds,
    writer: EmbeddedWriter,
    recovered: Recovered,
    folding: Folding,
    versions: Versions,
    page: Metrics,
}

async fn serve(
    request: &Request<'_>,
    parts: Parts,
    ready: impl FnOnce(&[(String, String)]),
) -> Result<Outcome, RunError> {
    let Parts { mut log, ends, writer, recovered, folding, versions, page } = parts;
    let config = request.config;
    let (arrivals, inbox) = mpsc::channel(ARRIVALS_WAITING_MAX);
    let (stop, stopping) = watch::channel(false);
    let (owners, registered) = watch::channel(Arc::new(Owners::new(Arc::clone(&config.registry))));
    let mut sources = Sources::declare(config, None, &registered, &arrivals);
    sources.start_all(&recovered.positions)?;
    let heartbeat = Arc::clone(&page.heartbeat);
    let (cache, words) = follow_cache(config, &page.cache, &stopping);
    sources.listen(None, Some(request.lake), page)?;
    let (teller, told) = mpsc::channel(VERSIONS_WAITING_MAX);
    let options = LiveOptions {
        registry: Arc::clone(&config.registry),
        settings: settings(config).into(),
        reference: versions.set(),
        versions: told,
        keep: config.log.keep,
        inputs: std::mem::take(&mut sources.inputs),
        commit_secs: config.lake.commit_secs,
        snapshot_secs: config.lake.snapshot_secs,
        is_final: request.until_done,
        progress_timeout_secs: config.latency.progress_timeout_secs,
        heartbeat,
        orders: None,
        linger: Duration::ZERO,
    };
    let live = Live::start(options, writer, &recovered, now)?;
    let runtime = tokio::runtime::Handle::current();
    let mut intake = on_thread("intake", move || live.run(inbox, &runtime))?;
    let runtime = tokio::runtime::Handle::current();
    let outlets = Outlets { versions: teller, owners };
    let versions =
        on_thread("versions", move || versions.run(&outlets, words, stopping, &runtime, now))?;
    let mut folds = on_thread("folds", move || fold_live(&mut log, &folding, ends))?;
    ready(&sources.listening);
    let mut folded = None;
    tokio::select! {
        () = signalled() => tracing::info!("stopping"),
        () = sources.ended(), if request.until_done => {}
        ended = &mut intake => return Err(ended_early(ended)),
        ended = &mut folds => folded = Some(ended),
    }
    // While this end is open the intake waits for sources to come.
    drop(arrivals);
    sources.close();
    sources.stop_all();
    let _ = stop.send(true);
    let drained = async {
        sources.ended().await;
        cache.join_all().await;
        let _ = versions.await;
        let inputs = (&mut intake).await.unwrap_or(Err(LogError::Closed));
        let folded = match folded {
            Some(ended) => ended,
            None => (&mut folds).await,
        };
        // A fold that stopped is the cause, whatever else happened then.
        let rows = folded.unwrap_or_else(|_| Err(LogError::Closed.into()))?;
        Ok(Outcome { rows, inputs: inputs? })
    };
    let secs = config.log.shutdown_secs;
    tokio::time::timeout(Duration::from_secs(secs.into()), drained)
        .await
        .unwrap_or(Err(RunError::Deadline { secs }))
}

/// Counts of the client of the cache of VRPs, if there is to be one.
fn cache_counts(config: &Config) -> Option<Arc<RtrCounts>> {
    config.reference.rtr_options().map(|_| Arc::default())
}

/// Starts the client of the cache of VRPs, if there is one.
fn follow_cache(
    config: &Config,
    counts: &Option<Arc<RtrCounts>>,
    stop: &watch::Receiver<bool>,
) -> (JoinSet<()>, mpsc::Receiver<RtrWord>) {
    let (words, heard) = mpsc::channel(rtr::WORDS_WAITING_MAX);
    let mut tasks = JoinSet::new();
    if let (Some(options), Some(counts)) = (config.reference.rtr_options(), counts) {
        let source = RtrSource::new(options, words).counting(Arc::clone(counts));
        tasks.spawn(source.run(stop.clone()));
    }
    (tasks, heard)
}

/// Runs a part of the service on a thread of its own; what it says arrives where it is awaited.
fn on_thread<T: Send + 'static>(
    name: &str,
    part: impl FnOnce() -> T + Send + 'static,
) -> Result<oneshot::Receiver<T>, RunError> {
    let (sender, receiver) = oneshot::channel();
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            // Nobody waits any more after the deadline.
            let _ = sender.send(part());
        })
        .map(|_| receiver)
        .map_err(RunError::Thread)
}

/// The intake ends before it is told to only if the log takes no more.
fn ended_early(
    ended: Result<Result<Vec<InputReport>, LogError>, oneshot::error::RecvError>,
) -> RunError {
    match ended {
        Ok(Err(error)) => error.into(),
        Ok(Ok(_)) | Err(_) => LogError::Closed.into(),
    }
}

/// Waits for SIGTERM or SIGINT.
async fn signalled() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
