//! Wiring of `run`: live sources into the embedded log, its folds and the lake, in one process.
//!
//! Three parts, each of which ends the service if it cannot go on: the sources (IO, on the runtime
//! and on threads of their own), the intake (one thread: every session and the writing end of the
//! log) and the folds (a thread a partition). A stop goes the same way as the data: the sources close
//! their streams, the intake appends what is left and the record that closes files, the folds commit
//! and end.

mod sources;

use std::sync::Arc;
use std::time::Duration;

use analytics::fold::{Committed, FoldError, Folding, Watch, fold};
use analytics::lake::LocalStore;
use analytics::lake::identity::Identity;
use analytics::shard::{FoldOptions, FoldSettings};
use ingest::live::{InputReport, Live, LiveOptions};
use ingest::log::embedded::{self, EmbeddedLog, EmbeddedOptions, EmbeddedWriter, Recovered};
use ingest::source::counter::Counter;
use ingest::source::live::ARRIVALS_WAITING_MAX;
use schemas::log::{Log as _, LogError};
use schemas::time::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};

use crate::config::{Config, LogConfig};
use crate::http::HttpError;
use crate::metrics::LatencyGauges;
use crate::replay::{FromTheStart, ReplayError, load_reference, note_contents};

pub use sources::SourceError;
use sources::Sources;

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
    /// A source cannot be started.
    #[error("[source.{name}]: {error}")]
    Source {
        /// Its name.
        name: String,
        /// What is wrong.
        error: SourceError,
    },
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
    /// The lake.
    pub lake: &'a str,
    /// End when every source has been read to its end, instead of at a signal.
    pub until_done: bool,
}

/// The time: the one place where a running service reads the clock for its log.
fn now() -> Timestamp {
    ingest::source::live::wall_clock()
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
    if !config.sources.values().any(sources::is_live) && config.http.listen.is_none() {
        return Err(RunError::NoSource);
    }
    let (reference, _) = load_reference(&config.reference)?;
    let (log, writer, recovered) = embedded::open(log_options(&config.log))?;
    tell_recovered(&recovered, &writer);
    let identity = Identity {
        kind: "run".to_owned(),
        inputs: vec![log.identity().to_owned()],
        reference: Vec::new(),
        config_hash: String::new(),
        partitions: log.partitions(),
    };
    let store = Arc::new(LocalStore::open(request.lake).map_err(ReplayError::from)?);
    identity.claim(&store).map_err(ReplayError::from)?;
    note_contents(&store, config).map_err(ReplayError::from)?;
    let latency = Arc::<LatencyGauges>::default();
    latency.limit(usize::try_from(config.http.metric_connections_max).unwrap_or(usize::MAX));
    let watch: Arc<dyn Watch> = Arc::clone(&latency) as _;
    let folding = Folding {
        options: FoldOptions::default(),
        reference: Arc::new(reference),
        store,
        log_name: identity.log(),
        config_hash: config.hash(),
        progress: Arc::new(FromTheStart),
        is_live: true,
        began: log.created,
        watch: config.http.listen.map(|_| watch),
    };
    let runtime = crate::command::runtime().map_err(RunError::Thread)?;
    let done = runtime.block_on(serve(request, log, folding, (writer, recovered, latency), ready));
    runtime.shutdown_timeout(Duration::from_secs(1));
    done
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

async fn serve(
    request: &Request<'_>,
    log: EmbeddedLog,
    folding: Folding,
    (writer, recovered, latency): (EmbeddedWriter, Recovered, Arc<LatencyGauges>),
    ready: impl FnOnce(&[(String, String)]),
) -> Result<Outcome, RunError> {
    let config = request.config;
    let (arrivals, inbox) = mpsc::channel(ARRIVALS_WAITING_MAX);
    let (stop, stopping) = watch::channel(false);
    let mut sources = Sources::start(config, &recovered, &arrivals, &stopping)?;
    let heartbeat = Arc::<Counter>::default();
    sources.listen(config, (latency, Arc::clone(&heartbeat)), &arrivals, &stopping)?;
    let options = LiveOptions {
        registry: Arc::clone(&config.registry),
        settings: settings(config).into(),
        keep: config.log.keep,
        inputs: std::mem::take(&mut sources.inputs),
        commit_secs: config.lake.commit_secs,
        is_final: request.until_done,
        progress_timeout_secs: config.latency.progress_timeout_secs,
        heartbeat,
    };
    let live = Live::start(options, writer, &recovered, now)?;
    let runtime = tokio::runtime::Handle::current();
    let mut intake = on_thread("intake", move || live.run(inbox, &runtime))?;
    let mut folds = on_thread("folds", move || {
        let mut log = log;
        fold(&mut log, &folding)
    })?;
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
    let _ = stop.send(true);
    let drained = async {
        sources.ended().await;
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
