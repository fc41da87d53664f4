//! Roles over Kafka: what one process does is parted among many.
//!
//! `ingest` writes what its share of the inputs says, `analyze` folds its share of the partitions,
//! `correlate` writes ticks and versions and folds what the partitions tell; of those one is at work
//! and others wait. `all` is all three in one process. They meet in the topics only.
//!
//! A stop goes the way of the data: ingest first, then the folds, within one deadline.

mod analyze;
mod correlate;
mod ingest;

use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use ::ingest::live::InputReport;
use ::ingest::log::kafka::clients::LogCounts;
use ::ingest::log::kafka::control::{self, Version};
use ::ingest::log::kafka::progress::KafkaProgress;
use ::ingest::log::kafka::topics::{self, Topics};
use ::ingest::source::counter::Counter;
use ::ingest::source::rtr::RtrCounts;
use analytics::fold::{Committed, Folding};
use analytics::lake::{LakeRoot, Store};
use schemas::log::LogError;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use super::{Feeding, Outcome, Request, RunError, cache_counts, on_thread, settings, signalled};
use crate::config::Config;
use crate::http::HttpListener;
use crate::metrics::{LatencyGauges, Metrics, VersionCounts};
use crate::replay::ReplayError;

/// What one process does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// Everything
    #[default]
    All,
    /// Reads its share of the inputs into the log (over Kafka)
    Ingest,
    /// Folds its share of the log's partitions into the lake (over Kafka)
    Analyze,
    /// Writes ticks and versions, numbers findings; one is at work, others wait (over Kafka)
    Correlate,
    /// Answers queries over HTTP from the lake, whoever writes it
    Serve,
}

impl Role {
    /// Whether inputs are read.
    #[must_use]
    pub const fn ingests(self) -> bool {
        matches!(self, Self::All | Self::Ingest)
    }

    const fn analyzes(self) -> bool {
        matches!(self, Self::All | Self::Analyze)
    }

    const fn correlates(self) -> bool {
        matches!(self, Self::All | Self::Correlate)
    }
}

/// What the parts of one process share.
#[derive(Clone)]
struct World {
    config: Arc<Config>,
    topics: Topics,
    counts: Arc<LogCounts>,
    latency: Arc<LatencyGauges>,
    /// Whatever is at work here notes that it lives.
    heartbeat: Arc<Counter>,
    /// The configuration file, which the one that correlates reads again.
    place: Option<PathBuf>,
    versions: Arc<VersionCounts>,
    cache: Option<Arc<RtrCounts>>,
    runtime: Handle,
}

impl World {
    /// What a metrics page shows.
    fn metrics(&self) -> Metrics {
        Metrics {
            latency: Arc::clone(&self.latency),
            heartbeat: Arc::clone(&self.heartbeat),
            log: Some(Arc::clone(&self.counts)),
            versions: Arc::clone(&self.versions),
            cache: self.cache.clone(),
            ..Metrics::default()
        }
    }

    /// The registry and the settings of the configuration, without a number.
    fn version(&self) -> Version {
        Version::new(Arc::clone(&self.config.registry), settings(&self.config).into())
    }
}

/// What came of a part.
enum Done {
    Inputs(Vec<InputReport>),
    Rows(Committed),
}

/// One part of the process.
struct Part {
    stop: watch::Sender<bool>,
    ended: oneshot::Receiver<Result<Done, RunError>>,
}

/// Runs the roles of this process until it is told to stop.
///
/// # Errors
/// [`RunError`]; what was acknowledged is in the log.
pub(super) fn run(
    request: &Request<'_>,
    ready: impl FnOnce(&[(String, String)]),
) -> Result<Outcome, RunError> {
    let mut config = request.config.clone();
    if let Some(instance) = request.instance {
        config.kafka.instance = Some(instance.to_owned());
    }
    config.kafka.check().map_err(RunError::Instance)?;
    let topics = topics::ensure(&config.kafka)?;
    let latency = Arc::<LatencyGauges>::default();
    latency.limit(usize::try_from(config.http.metric_connections_max).unwrap_or(usize::MAX));
    let runtime = crate::command::runtime().map_err(RunError::Thread)?;
    let world = World {
        place: request.place.map(Path::to_owned),
        versions: Arc::default(),
        cache: cache_counts(&config).filter(|_| request.role.correlates()),
        runtime: runtime.handle().clone(),
        config: Arc::new(config),
        topics,
        counts: Arc::default(),
        latency,
        heartbeat: Arc::default(),
    };
    let done = runtime.block_on(serve(request, world, ready));
    runtime.shutdown_timeout(Duration::from_secs(1));
    done
}

async fn serve(
    request: &Request<'_>,
    world: World,
    ready: impl FnOnce(&[(String, String)]),
) -> Result<Outcome, RunError> {
    let (role, secs) = (request.role, world.config.log.shutdown_secs);
    let progress = Arc::<KafkaProgress>::default();
    let mut listening = Vec::new();
    let mut parts = Vec::new();
    // The folds first: whoever numbers versions must be there before anything can be ingested.
    let mut folds = Vec::new();
    if role.correlates() || role.analyzes() {
        let folding = folding(&world, request.lake, &progress)?;
        if role.correlates() {
            folds.push(correlate::start(&world, folding.clone(), role == Role::Correlate)?);
        }
        if role.analyzes() {
            folds.push(analyze::start(&world, folding, &progress, role == Role::Analyze)?);
        }
    }
    let mut page = None;
    let lake = (role == Role::All).then_some(request.lake);
    if role.ingests() {
        let (part, told) = ingest::start(&world, lake, request.until_done)?;
        parts.push(part);
        listening.extend(told);
    } else {
        page = metrics_page(&world, &mut listening)?;
    }
    folds.reverse();
    parts.extend(folds);
    ready(&listening);
    let mut outcome = Outcome { rows: Committed::new(), inputs: Vec::new() };
    let ended = tokio::select! {
        () = signalled() => { tracing::info!("stopping"); None }
        ended = first(&mut parts) => Some(ended),
    };
    let failed = match ended {
        Some((place, done)) => {
            drop(parts.remove(place));
            done.and_then(|done| outcome.take(done)).err()
        }
        None => None,
    };
    let stopped = tokio::time::timeout(Duration::from_secs(secs.into()), stop(parts, &mut outcome));
    let stopped = stopped.await.unwrap_or(Err(RunError::Deadline { secs }));
    drop(page);
    // What ended first is the cause, whatever else happened then.
    failed.map_or(stopped, Err).map(|()| outcome)
}

impl Outcome {
    fn take(&mut self, done: Done) -> Result<(), RunError> {
        match done {
            Done::Inputs(inputs) => self.inputs.extend(inputs),
            Done::Rows(rows) => add(&mut self.rows, rows),
        }
        Ok(())
    }
}

fn add(sum: &mut Committed, more: Committed) {
    more.into_iter().for_each(|(table, rows)| *sum.entry(table).or_default() += rows);
}

/// The part that ends first.
async fn first(parts: &mut [Part]) -> (usize, Result<Done, RunError>) {
    let ends = parts.iter_mut().enumerate().map(|(place, part)| {
        Box::pin(async move {
            let done = (&mut part.ended).await;
            (place, done.unwrap_or(Err(LogError::Closed.into())))
        })
    });
    futures::future::select_all(ends).await.0
}

/// Stops one part after the other.
async fn stop(parts: Vec<Part>, outcome: &mut Outcome) -> Result<(), RunError> {
    let mut failed = Ok(());
    for part in parts {
        // Whoever ended by itself does not listen.
        let _ = part.stop.send(true);
        let done = part.ended.await.unwrap_or(Err(LogError::Closed.into()));
        failed = failed.and(done.and_then(|done| outcome.take(done)));
    }
    failed
}

/// What folds need, over the lake that this log feeds.
fn folding(
    world: &World,
    lake: &LakeRoot,
    progress: &Arc<KafkaProgress>,
) -> Result<Folding, RunError> {
    let config = &world.config;
    let store = Store::open_shared(lake).map_err(ReplayError::from)?;
    let feeding = Feeding {
        log: &world.topics.identity(&config.kafka),
        partitions: world.topics.partitions,
        began: control::began(&config.kafka)?,
    };
    super::folding(config, store, &feeding, Arc::clone(progress) as _, &world.latency)
}

/// A page that is served. It goes when this is dropped.
struct Page {
    _stop: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

/// The page of a process that does not ingest, if there is to be one.
fn metrics_page(
    world: &World,
    listening: &mut Vec<(String, String)>,
) -> Result<Option<Page>, RunError> {
    let Some(address) = world.config.http.listen else { return Ok(None) };
    let listener = HttpListener::bind(&world.config.http, address)?;
    listening.push((crate::config::HTTP_INPUT.to_owned(), listener.address().to_string()));
    let (stop, stopping) = watch::channel(false);
    let mut tasks = JoinSet::new();
    tasks.spawn(listener.run(None, None, stopping, Arc::new(world.metrics())));
    Ok(Some(Page { _stop: stop, _tasks: tasks }))
}

/// Runs a part on a thread of its own, with a word that becomes true when it is to stop.
fn part(
    name: &str,
    run: impl FnOnce(Arc<AtomicBool>) -> Result<Done, RunError> + Send + 'static,
) -> Result<Part, RunError> {
    let (stop, mut stopping) = watch::channel(false);
    let word = Arc::<AtomicBool>::default();
    let heard = Arc::clone(&word);
    let mut listener = JoinSet::new();
    listener.spawn(async move {
        let _ = stopping.wait_for(|stops| *stops).await;
        heard.store(true, Ordering::Relaxed);
    });
    let ended = on_thread(name, move || {
        let done = run(word);
        drop(listener);
        done
    })?;
    Ok(Part { stop, ended })
}

/// Runs a piece of a part's work on a thread of its own. What stops it stops the part, be it a panic.
fn at_work(
    name: String,
    (failure, stop): (&Failure, &Arc<AtomicBool>),
    work: impl FnOnce() -> Result<(), RunError> + Send + 'static,
) -> Result<JoinHandle<()>, LogError> {
    let (failure, stop) = (failure.clone(), Arc::clone(stop));
    let thread = std::thread::Builder::new().name(name.clone());
    let work = move || {
        let done = std::panic::catch_unwind(AssertUnwindSafe(work));
        let done = done.unwrap_or_else(|_| Err(RunError::Panic { thread: name.clone() }));
        if let Err(error) = done {
            tracing::error!(thread = name, %error, "work stopped, and this process with it");
            failure.note(error);
            stop.store(true, Ordering::Relaxed);
        }
    };
    // The system has no room for a thread: nothing of this process can go on.
    thread.spawn(work).map_err(|_| LogError::Closed)
}

/// Several things that went wrong in threads of one part: the first one counts.
#[derive(Clone, Default)]
struct Failure(Arc<Mutex<Option<RunError>>>);

impl Failure {
    fn note(&self, error: impl Into<RunError>) {
        let mut failed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failed.get_or_insert(error.into());
    }

    fn take(&self) -> Option<RunError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
