//! The role that correlates: one process is at work, and others wait for its place.
//!
//! Whoever owns the only partition of the control topic writes ticks, commit records and versions, and
//! folds what the partitions tell.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use ::ingest::live::{VERSIONS_WAITING_MAX, Version as Told};
use ::ingest::log::kafka::control::{ControlOptions, ControlWriter, Version};
use ::ingest::log::kafka::member::{Holder, Member};
use ::ingest::log::kafka::membership::Membership;
use ::ingest::log::kafka::publisher::{KafkaPublisher, PublisherOptions};
use ::ingest::log::kafka::shares::Shares;
use ::ingest::log::kafka::summaries::KafkaSummaryReader;
use ::ingest::samples::Owners;
use analytics::fold::{Committed, Folding, correlate};
use schemas::log::LogError;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::super::versions::{Outlets, Shelves, Versions};
use super::super::{RunError, follow_cache, now, on_thread};
use super::{Done, Failure, Part, World, add, at_work, part};

/// How often the writer looks whether a second has passed.
const GLANCE: Duration = Duration::from_millis(20);

/// Starts the part.
pub(super) fn start(world: &World, folding: Folding, is_alone: bool) -> Result<Part, RunError> {
    let world = world.clone();
    part("correlate", move |stop| {
        let kafka = &world.config.kafka;
        let membership = Arc::<Membership>::default();
        let (topic, seat) = (&kafka.control_topic, Arc::clone(&membership));
        let mut member = Member::join(kafka, "correlate", topic, &world.counts, seat)?;
        if is_alone {
            member = member.beating(Arc::clone(&world.heartbeat));
        }
        let mut place = Place {
            world: world.clone(),
            folding,
            membership,
            stop: Arc::clone(&stop),
            failure: Failure::default(),
            rows: Arc::default(),
            at_work: None,
        };
        let left = member.run(&mut place, &stop);
        place.leave();
        // What stopped the work is the cause of leaving.
        if let Some(error) = place.failure.take() {
            return Err(error);
        }
        left?;
        let rows = place.rows.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(Done::Rows(rows))
    })
}

/// The place that one process has.
struct Place {
    world: World,
    folding: Folding,
    membership: Arc<Membership>,
    /// Stops the whole part.
    stop: Arc<AtomicBool>,
    failure: Failure,
    rows: Arc<Mutex<Committed>>,
    at_work: Option<AtWork>,
}

/// The threads of whoever is at work.
struct AtWork {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Place {
    /// Ends the work, if it is ours.
    fn leave(&mut self) {
        let Some(AtWork { stop, threads }) = self.at_work.take() else { return };
        stop.store(true, Ordering::Relaxed);
        for thread in threads {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

impl Holder for Place {
    fn given(&mut self, _: &BTreeSet<u32>) -> Result<(), LogError> {
        let stops = (&self.failure, &self.stop);
        let stop = Arc::<AtomicBool>::default();
        let (world, seat, word) =
            (self.world.clone(), Arc::clone(&self.membership), Arc::clone(&stop));
        let folding = self.folding.clone();
        let clock = at_work("clock".to_owned(), stops, move || {
            write_control(&world, &folding, seat, &word)
        })?;
        let (folding, rows, word) =
            (self.folding.clone(), Arc::clone(&self.rows), Arc::clone(&stop));
        let (kafka, counts) = (self.world.config.kafka.clone(), Arc::clone(&self.world.counts));
        let fold = at_work("correlate".to_owned(), stops, move || {
            let mut reader = KafkaSummaryReader::open(&kafka, 0, &counts, word)?;
            let more = correlate(&folding, &mut reader)?;
            add(&mut rows.lock().unwrap_or_else(PoisonError::into_inner), more);
            Ok(())
        })?;
        self.at_work = Some(AtWork { stop, threads: vec![clock, fold] });
        Ok(())
    }

    fn taken(&mut self, _: &BTreeSet<u32>) -> Result<(), LogError> {
        self.leave();
        Ok(())
    }
}

/// Writes ticks, commit records and versions until it is told to stop.
fn write_control(
    world: &World,
    folding: &Folding,
    membership: Arc<Membership>,
    stop: &AtomicBool,
) -> Result<(), RunError> {
    let config = &world.config;
    let publisher = KafkaPublisher::open(PublisherOptions {
        config: config.kafka.clone(),
        name: "control".to_owned(),
        shares: Shares::new(world.topics.source_partitions, BTreeSet::new(), BTreeSet::new()),
        membership,
        group_topic: config.kafka.control_topic.clone(),
        counts: Arc::clone(&world.counts),
    })?;
    let mut writer = ControlWriter::open(
        publisher,
        ControlOptions {
            partitions: world.topics.partitions,
            commit_secs: config.lake.commit_secs,
            snapshot_secs: config.lake.snapshot_secs,
            now: now(),
        },
    )?;
    let versions = Versions::begin(
        config,
        world.place.clone(),
        Shelves::of(&folding.store, &folding.library),
        Arc::clone(&world.versions),
        writer.reference(),
        now(),
    )?;
    writer.refer(versions.set(), now())?;
    writer.register(&world.version(), now())?;
    let mut reading = Reading::start(world, versions)?;
    while !stop.load(Ordering::Relaxed) {
        while let Ok(version) = reading.told.try_recv() {
            match version {
                Told::Reference(set) => writer.refer(set, now())?,
                Told::Registry { registry, settings } => {
                    writer.register(&Version::new(registry, settings), now())?;
                }
            }
        }
        writer.tick(now())?;
        std::thread::sleep(GLANCE);
    }
    Ok(())
}

/// What is configured, read anew while this process is at work. It ends when this is dropped.
struct Reading {
    told: mpsc::Receiver<Told>,
    _stop: watch::Sender<bool>,
    _cache: JoinSet<()>,
}

impl Reading {
    fn start(world: &World, versions: Versions) -> Result<Self, RunError> {
        let (stop, stopping) = watch::channel(false);
        let _runtime = world.runtime.enter();
        let (cache, words) = follow_cache(&world.config, &world.cache, &stopping);
        let (teller, told) = mpsc::channel(VERSIONS_WAITING_MAX);
        // Samples are matched elsewhere, and by the version that the log has.
        let (owners, _) = watch::channel(Arc::new(Owners::new(Arc::clone(&world.config.registry))));
        let outlets = Outlets { versions: teller, owners };
        let runtime = world.runtime.clone();
        // It ends by itself, at the next thing it hears of.
        drop(on_thread("versions", move || {
            versions.run(&outlets, words, stopping, &runtime, now);
        })?);
        Ok(Self { told, _stop: stop, _cache: cache })
    }
}
