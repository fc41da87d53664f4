//! Control: ticks, commit records and versions, by one writer; and how all others learn of versions.
//!
//! The writer is whoever owns the only partition of the control topic, under one transactional id: a
//! second one that does not know yet that it was replaced is refused by the brokers. A version of the
//! registry goes into every partition of the log and into the control topic in one transaction, so that
//! nobody can match by a version that a partition does not have yet.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use schemas::batch::{Content, Control, EventBatch};
use schemas::log::{Append, LogError, Publisher as _};
use schemas::reference::ReferenceSet;
use schemas::registry::Registry;
use schemas::tables::Text;
use schemas::time::Timestamp;

use super::brokers;
use super::clients::{Ears, LogCounts};
use super::config::KafkaLogConfig;
use super::member::list_of;
use super::publisher::KafkaPublisher;
use super::record;
use super::state::StateReader;
use crate::live::hash;
use crate::source::live::wall_clock;

/// How long brokers may take to tell all versions.
const ANSWER: Duration = Duration::from_secs(60);
/// First word of the keys of versions.
const KEY: &str = "registry\n";
/// Key of the reference data.
const REFERENCE_KEY: &str = "reference";

/// One version of the registry and of the settings of the folds.
#[derive(Clone, Debug)]
pub struct Version {
    /// What is ours.
    pub registry: Arc<Registry>,
    /// Settings as JSON.
    pub settings: Text,
    /// When it was written.
    pub time: Timestamp,
}

impl Version {
    /// A version that was not written yet.
    #[must_use]
    pub const fn new(registry: Arc<Registry>, settings: Text) -> Self {
        Self { registry, settings, time: Timestamp(0) }
    }

    /// Whether another one says the same, under whatever number.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.hash() == other.hash()
    }

    fn hash(&self) -> Vec<u8> {
        hash(&self.registry, &self.settings)
    }

    /// The record that announces it.
    pub(super) fn control(&self) -> Control {
        Control::Registry {
            registry: Arc::clone(&self.registry),
            settings: Some(Text::clone(&self.settings)),
        }
    }
}

/// The versions that this process knows.
#[derive(Debug, Default)]
pub struct Versions(Mutex<BTreeMap<u32, Version>>);

impl Versions {
    /// All that there were.
    ///
    /// # Errors
    /// [`LogError::Brokers`] if they do not answer for long.
    pub fn read(config: &KafkaLogConfig) -> Result<Self, LogError> {
        in_force(config).map(|found| Self(Mutex::new(found.versions)))
    }

    /// Learns one.
    pub fn learn(&self, version: Version) {
        let number = version.registry.version;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(number, version);
    }

    /// The one of that number.
    pub(super) fn get(&self, number: u32) -> Option<Version> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&number).cloned()
    }
}

/// A batch of one control record.
fn batch_of(partition: u32, log_time: Timestamp, control: Control) -> EventBatch {
    let mut batch = EventBatch::starting(partition, 0, true);
    batch.controls.push(control);
    batch.append(log_time, Content::Control(0));
    batch
}

/// The version that a value of the control topic is.
fn version_of(value: &[u8], time: Timestamp) -> Option<Version> {
    match record::decode(value).ok()?.controls.into_iter().next()? {
        Control::Registry { registry, settings } => {
            Some(Version { registry, settings: settings.unwrap_or_default(), time })
        }
        _ => None,
    }
}

/// The reference data that a value of the control topic tells.
fn reference_in(value: &[u8]) -> Option<ReferenceSet> {
    match record::decode(value).ok()?.controls.into_iter().next()? {
        Control::Reference(set) => Some(set),
        _ => None,
    }
}

/// What the control topic holds.
#[derive(Debug, Default)]
struct InForce {
    /// Every version of the registry that there was, by number.
    versions: BTreeMap<u32, Version>,
    /// The reference data that were told last.
    reference: ReferenceSet,
}

/// Reads the control topic.
///
/// # Errors
/// [`LogError::Brokers`] if they do not answer for long.
fn in_force(config: &KafkaLogConfig) -> Result<InForce, LogError> {
    let mut found = InForce::default();
    for (key, value) in StateReader::new(config)?.read(&config.control_topic, &[0])? {
        if key.starts_with(KEY.as_bytes()) {
            if let Some(version) = version_of(&value, Timestamp(0)) {
                found.versions.insert(version.registry.version, version);
            }
        } else if key == REFERENCE_KEY.as_bytes() {
            found.reference = reference_in(&value).unwrap_or_default();
        }
    }
    Ok(found)
}

/// When the log began: when its first version was written, else now.
///
/// # Errors
/// [`LogError::Brokers`] if they do not answer.
pub fn began(config: &KafkaLogConfig) -> Result<Timestamp, LogError> {
    let mut follower = Follower::open(config, &Arc::default())?;
    let (since, mut first) = (Instant::now(), None);
    while since.elapsed() < ANSWER {
        match follower.next(Duration::from_millis(200)) {
            Followed::Version(version) => drop(first.get_or_insert(version.time)),
            Followed::CaughtUp => return Ok(first.unwrap_or_else(wall_clock)),
            Followed::Idle => {}
        }
    }
    Err(brokers(config, &format!("{} cannot be read", config.control_topic)))
}

/// What a control writer is made with.
pub struct ControlOptions {
    /// Partitions of the log.
    pub partitions: u32,
    /// Seconds after which what was told is to be in the lake.
    pub commit_secs: u32,
    /// Seconds after which the state of the folds is to be kept.
    pub snapshot_secs: u32,
    /// The time.
    pub now: Timestamp,
}

/// The one writer of control records.
pub struct ControlWriter {
    publisher: KafkaPublisher,
    options: ControlOptions,
    /// The version of the registry in force, if there is one.
    version: Option<Version>,
    /// The reference data in force.
    reference: ReferenceSet,
    second: i64,
    committed: Timestamp,
    kept: Timestamp,
}

impl ControlWriter {
    /// The writer, who knows what is in force.
    ///
    /// # Errors
    /// [`LogError::Brokers`] if they do not answer for long.
    pub fn open(publisher: KafkaPublisher, options: ControlOptions) -> Result<Self, LogError> {
        let now = options.now;
        let InForce { mut versions, reference } = in_force(publisher.config())?;
        let version = versions.pop_last().map(|(_, version)| version);
        let second = now.secs();
        Ok(Self { publisher, options, version, reference, second, committed: now, kept: now })
    }

    /// The reference data in force.
    #[must_use]
    pub const fn reference(&self) -> &ReferenceSet {
        &self.reference
    }

    /// This is to be in force: it becomes a new version, if it is another one than the last.
    ///
    /// # Errors
    /// [`LogError`] if the log does not take it.
    pub fn register(&mut self, wanted: &Version, now: Timestamp) -> Result<(), LogError> {
        let last = self.version.as_ref();
        if last.is_some_and(|last| last.is_same(wanted)) {
            return Ok(());
        }
        let mut registry = Registry::clone(&wanted.registry);
        registry.version = last.map_or(0, |last| last.registry.version).saturating_add(1);
        let version = Version::new(Arc::new(registry), Text::clone(&wanted.settings));
        let number = version.registry.version;
        self.announce(format!("{KEY}{number:010}"), &version.control(), now)?;
        tracing::info!(version = number, "another version of the registry is in force");
        self.version = Some(version);
        Ok(())
    }

    /// These reference data are to be in force. Their contents are in the lake.
    ///
    /// # Errors
    /// [`LogError`] if the log does not take it.
    pub fn refer(&mut self, set: ReferenceSet, now: Timestamp) -> Result<(), LogError> {
        if set.has_same_contents(&self.reference) {
            return Ok(());
        }
        self.announce(REFERENCE_KEY.to_owned(), &Control::Reference(set.clone()), now)?;
        self.reference = set;
        Ok(())
    }

    /// Tells every partition, and the control topic, in one transaction.
    fn announce(&mut self, key: String, control: &Control, now: Timestamp) -> Result<(), LogError> {
        let mut payloads = Vec::new();
        let config = self.publisher.config();
        let bytes_max = usize::try_from(config.message_bytes_max).unwrap_or(usize::MAX);
        let batch = batch_of(0, now, control.clone());
        record::encode(&batch, &config.control_topic, bytes_max, &mut payloads)?;
        let value = payloads.pop().map(|(_, payload)| payload).unwrap_or_default();
        self.publisher.put_control(key, value);
        self.broadcast(now, std::slice::from_ref(control))
    }

    /// Time passes: a tick each second, and the record that closes files when it is time for that.
    ///
    /// # Errors
    /// [`LogError::Fenced`] once there is another writer.
    pub fn tick(&mut self, now: Timestamp) -> Result<(), LogError> {
        if now.secs() <= self.second {
            return Ok(());
        }
        self.second = now.secs();
        let tick = Control::Tick { inputs: Vec::new(), until: Timestamp::from_secs(now.secs()) };
        let must_keep = now.secs_since(self.kept) >= i64::from(self.options.snapshot_secs);
        let must_commit = now.secs_since(self.committed) >= i64::from(self.options.commit_secs);
        if !must_keep && !must_commit {
            return self.broadcast(now, &[tick]);
        }
        self.committed = now;
        if must_keep {
            self.kept = now;
        }
        self.broadcast(now, &[tick, Control::Commit { snapshot: must_keep }])
    }

    /// Appends records to every partition.
    fn broadcast(&mut self, log_time: Timestamp, controls: &[Control]) -> Result<(), LogError> {
        let batch = |partition| {
            let mut batch = EventBatch::starting(partition, 0, true);
            for (index, control) in (0..).zip(controls) {
                batch.controls.push(control.clone());
                batch.append(log_time, Content::Control(index));
            }
            batch
        };
        let batches = (0..self.options.partitions).map(batch).collect();
        self.publisher.append(&Append { log_time, batches, positions: Vec::new() })?;
        self.publisher.sync()
    }
}

/// Follows the control topic: every version that there was, and then each new one.
pub struct Follower {
    consumer: BaseConsumer<Ears>,
    /// Whether all that there was has been told.
    has_caught_up: bool,
}

/// What a follower is told.
#[derive(Debug)]
pub enum Followed {
    /// A version.
    Version(Version),
    /// All that there was has been told.
    CaughtUp,
    /// Nothing within the time that was given.
    Idle,
}

impl Follower {
    /// A follower from the beginning.
    ///
    /// # Errors
    /// [`LogError::Brokers`] if the client cannot be made.
    pub fn open(config: &KafkaLogConfig, counts: &Arc<LogCounts>) -> Result<Self, LogError> {
        let mut client =
            config.consumer(&config.name("control")).map_err(|error| brokers(config, &error))?;
        client.set("enable.partition.eof", "true").set("auto.offset.reset", "earliest");
        let consumer: BaseConsumer<Ears> = client
            .create_with_context(Ears::new(Arc::clone(counts)))
            .map_err(|error| brokers(config, &error))?;
        let list = list_of(&config.control_topic, [0], Offset::Beginning);
        consumer.assign(&list).map_err(|error| brokers(config, &error))?;
        Ok(Self { consumer, has_caught_up: false })
    }

    /// The next thing; waits for it as long as it is told.
    pub fn next(&mut self, wait: Duration) -> Followed {
        match self.consumer.poll(wait) {
            Some(Ok(message)) => {
                let is_version = message.key().is_some_and(|key| key.starts_with(KEY.as_bytes()));
                let millis = message.timestamp().to_millis().unwrap_or_default();
                let time = Timestamp(millis.saturating_mul(1000));
                let payload = message.payload().filter(|_| is_version);
                let version = payload.and_then(|payload| version_of(payload, time));
                version.map_or(Followed::Idle, Followed::Version)
            }
            Some(Err(KafkaError::PartitionEOF(_))) if !self.has_caught_up => {
                self.has_caught_up = true;
                Followed::CaughtUp
            }
            // Errors come to our ears with their reason.
            Some(Err(_)) | None => Followed::Idle,
        }
    }
}
