//! The role that ingests: shares of the inputs come and go, and what they say goes into the log.
//!
//! Three threads beside the sources: the member of the group, who gives inputs and takes them; the
//! intake, who owns every session and the writing end; and the follower, who tells the intake of
//! versions. A share that comes is read from the sources topic before its sources begin. One that goes
//! is given back once its sources are silent and all that they said is in the log.

mod giver;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::ingest::live::{InputReport, InputSettings, Live, LiveOptions, Order, Orders};
use ::ingest::log::embedded::Recovered;
use ::ingest::log::kafka::control::{Followed, Follower, Version};
use ::ingest::log::kafka::member::Member;
use ::ingest::log::kafka::membership::Membership;
use ::ingest::log::kafka::publisher::{AT, KafkaPublisher, PublisherOptions};
use ::ingest::log::kafka::shares::{Shares, read_shares};
use ::ingest::samples::Owners;
use ::ingest::source::live::{ARRIVALS_WAITING_MAX, Arrival};
use analytics::lake::LakeRoot;
use schemas::log::{LogError, Position};
use schemas::reference::ReferenceSet;
use schemas::tables::Text;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use super::super::sources::{Belongs, Sources};
use super::super::{RunError, now};
use super::{Done, Part, World, part};
use crate::config::Source;
use giver::Giver;

/// How often is looked whether it is time to stop.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long a version is waited for before the next look.
const PATIENCE: Duration = Duration::from_millis(500);
/// Looks for a first version between two words about it.
const SILENT_LOOKS: u32 = 20;
/// Orders that may wait for the intake.
const ORDERS_WAITING_MAX: usize = 16;

/// Sources, which the member starts and stops.
type Shared = Arc<Mutex<Sources>>;

fn locked(sources: &Shared) -> MutexGuard<'_, Sources> {
    sources.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the part; what it listens on comes with it. Listeners hear at once.
pub(super) fn start(
    world: &World,
    lake: Option<&LakeRoot>,
    until_done: bool,
) -> Result<(Part, Vec<(String, String)>), RunError> {
    let kafka = &world.config.kafka;
    let instance = kafka.instance();
    let (arrivals, inbox) = mpsc::channel(ARRIVALS_WAITING_MAX);
    let registry = Arc::clone(&world.config.registry);
    let (owners, registered) = watch::channel(Arc::new(Owners::new(registry)));
    let mut sources = Sources::declare(&world.config, Some(&instance), &registered, &arrivals);
    drop(arrivals);
    sources.listen(Some(&instance), lake, world.metrics())?;
    for name in sources.that(Belongs::Process) {
        sources.start(&name, &BTreeMap::new(), None)?;
    }
    let shares = shares_of(world);
    let (orders, ordered) = mpsc::channel(ORDERS_WAITING_MAX);
    let giver = Giver::new(world, &shares, orders, &mut sources)?;
    let listening = sources.listening.clone();
    let ingesting = Ingesting {
        world: world.clone(),
        until_done,
        owners,
        inputs: std::mem::take(&mut sources.inputs),
        sources: Arc::new(Mutex::new(sources)),
        shares,
        runtime: Handle::current(),
    };
    let part = part("ingest", move |stop| ingesting.run(giver, (inbox, ordered), &stop))?;
    Ok((part, listening))
}

/// Which inputs are topics, and which of those lie at the brokers of the log.
fn shares_of(world: &World) -> Shares {
    let (mut topics, mut beside) = (BTreeSet::new(), BTreeSet::new());
    for (name, source) in &world.config.sources {
        if let Source::Kafka(read) = source {
            let name: Text = name.as_str().into();
            if read.brokers == world.config.kafka.brokers {
                beside.insert(Text::clone(&name));
            }
            topics.insert(name);
        }
    }
    Shares::new(world.topics.source_partitions, topics, beside)
}

/// What the part works with.
struct Ingesting {
    world: World,
    until_done: bool,
    /// Who counts samples, by the version in force.
    owners: watch::Sender<Arc<Owners>>,
    inputs: Vec<InputSettings>,
    sources: Shared,
    shares: Shares,
    runtime: Handle,
}

impl Ingesting {
    fn run(
        mut self,
        mut giver: Giver,
        (inbox, ordered): (mpsc::Receiver<Arrival>, Orders),
        stop: &AtomicBool,
    ) -> Result<Done, RunError> {
        let kafka = &self.world.config.kafka;
        let Some((follower, version)) = first_version(&self.world, stop)? else {
            return Ok(Done::Inputs(Vec::new()));
        };
        let owners = &self.owners;
        owners.send_replace(Arc::new(Owners::new(Arc::clone(&version.registry))));
        let membership = Arc::<Membership>::default();
        let topic = &kafka.sources_topic;
        let seat = Arc::clone(&membership);
        let member = Member::join(kafka, "ingest", topic, &self.world.counts, seat)?;
        giver.begin(Arc::clone(&self.sources), self.runtime.clone());
        let (leave, orders) = (AtomicBool::new(false), giver.orders());
        let inputs = std::mem::take(&mut self.inputs);
        std::thread::scope(|scope| {
            let member = scope.spawn(|| member.run(&mut giver, &leave));
            let following = scope.spawn(|| follow(follower, &version, (&orders, owners), &leave));
            let intake = scope.spawn(|| self.intake(inputs, &version, membership, inbox, ordered));
            let is_done = || self.until_done && locked(&self.sources).are_done();
            while !stop.load(Ordering::Relaxed)
                && !intake.is_finished()
                && !member.is_finished()
                && !is_done()
            {
                std::thread::sleep(LOOK_EVERY);
            }
            let ending = locked(&self.sources).stop_for_good();
            for ended in ending {
                // An end is told by nobody being left to tell it.
                let _ = ended.blocking_recv();
            }
            let told = intake.join().unwrap_or(Err(LogError::Closed.into()));
            leave.store(true, Ordering::Relaxed);
            let left = member.join().unwrap_or(Err(LogError::Closed));
            let _ = following.join();
            // Who lost its seat is the cause of an intake that cannot go on.
            left?;
            told.map(Done::Inputs)
        })
    }

    /// Runs the intake until nobody is left to tell anything.
    fn intake(
        &self,
        inputs: Vec<InputSettings>,
        version: &Version,
        membership: Arc<Membership>,
        inbox: mpsc::Receiver<Arrival>,
        ordered: Orders,
    ) -> Result<Vec<InputReport>, RunError> {
        let config = &self.world.config;
        let mut publisher = KafkaPublisher::open(PublisherOptions {
            config: config.kafka.clone(),
            name: format!("ingest-{}", config.kafka.instance()),
            shares: self.shares.clone(),
            membership,
            group_topic: config.kafka.sources_topic.clone(),
            counts: Arc::clone(&self.world.counts),
        })?;
        let positions = self.listeners(&inputs)?;
        publisher.know(&positions);
        let recovered = Recovered {
            positions,
            next_offsets: vec![0; self.world.topics.partitions as usize],
            ..Recovered::default()
        };
        let options = LiveOptions {
            registry: Arc::clone(&version.registry),
            settings: Text::clone(&version.settings),
            reference: ReferenceSet::default(),
            versions: mpsc::channel(1).1,
            keep: config.log.keep,
            inputs,
            commit_secs: config.lake.commit_secs,
            snapshot_secs: config.lake.snapshot_secs,
            is_final: self.until_done,
            progress_timeout_secs: config.latency.progress_timeout_secs,
            heartbeat: Arc::clone(&self.world.heartbeat),
            orders: Some(ordered),
            linger: Duration::from_millis(config.kafka.linger_ms.into()),
        };
        let live = Live::start(options, publisher, &recovered, now)?;
        Ok(live.run(inbox, &self.runtime)?)
    }

    /// Where the listeners of this process are, as it left them.
    fn listeners(&self, inputs: &[InputSettings]) -> Result<BTreeMap<Text, Position>, RunError> {
        let names = || inputs.iter().map(|input| &input.name).filter(|name| name.contains(AT));
        let shares: BTreeSet<u32> = names().map(|name| self.shares.of_input(name)).collect();
        let shares: Vec<u32> = shares.into_iter().collect();
        let mut found = read_shares(&self.world.config.kafka, &shares)?;
        let prefixes: Vec<String> = names().map(|name| format!("{name}\n")).collect();
        found.retain(|key, _| prefixes.iter().any(|prefix| key.starts_with(prefix.as_str())));
        Ok(found)
    }
}

/// Waits for the version in force. None: it is time to stop.
fn first_version(
    world: &World,
    stop: &AtomicBool,
) -> Result<Option<(Follower, Version)>, RunError> {
    let mut follower = Follower::open(&world.config.kafka, &world.counts)?;
    let (mut newest, mut silent, mut has_caught_up) = (None, 0, false);
    while !stop.load(Ordering::Relaxed) {
        match follower.next(PATIENCE) {
            Followed::Version(version) => newest = Some(version),
            Followed::CaughtUp => has_caught_up = true,
            Followed::Idle if newest.is_none() => {
                if silent % SILENT_LOOKS == 1 {
                    tracing::warn!(
                        "no version of the registry is in force, waiting: start a process with --role \
                         correlate"
                    );
                }
                silent += 1;
            }
            Followed::Idle => {}
        }
        if let Some(version) = newest.take_if(|_| has_caught_up) {
            if !version.is_same(&world.version()) {
                let version = version.registry.version;
                tracing::warn!(
                    version,
                    "the configuration of this process is not the one in force, which counts"
                );
            }
            return Ok(Some((follower, version)));
        }
    }
    Ok(None)
}

/// Tells the intake of versions that come.
fn follow(
    mut follower: Follower,
    first: &Version,
    (orders, owners): (&mpsc::Sender<Order>, &watch::Sender<Arc<Owners>>),
    stop: &AtomicBool,
) {
    let mut number = first.registry.version;
    while !stop.load(Ordering::Relaxed) {
        let Followed::Version(version) = follower.next(PATIENCE) else { continue };
        if version.registry.version > number {
            number = version.registry.version;
            let registry = Arc::clone(&version.registry);
            if orders.blocking_send(Order::Registry(registry)).is_err() {
                return;
            }
            owners.send_replace(Arc::new(Owners::new(version.registry)));
        }
    }
}
