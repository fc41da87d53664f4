//! A log of its own for each story, and processes that write and fold it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use schemas::batch::{Content, Control, EventBatch};
use schemas::log::{Append, LogError, Position, Progress as _, Publisher as _};
use schemas::tables::Text;
use schemas::time::Timestamp;

use crate::kafka::testing::Broker;
use crate::log::kafka::Start;
use crate::log::kafka::clients::LogCounts;
use crate::log::kafka::config::KafkaLogConfig;
use crate::log::kafka::member::{Holder, Member};
use crate::log::kafka::membership::Membership;
use crate::log::kafka::progress::KafkaProgress;
use crate::log::kafka::publisher::{KafkaPublisher, PublisherOptions};
use crate::log::kafka::reader::{EventsReader, Folds, ReaderOptions};
use crate::log::kafka::records::{Records, Told};
use crate::log::kafka::shares::Shares;
use crate::log::kafka::topics::{self, Topics};

/// Longer than anything may need.
pub(super) const PATIENCE: Duration = Duration::from_secs(90);

/// One log at a broker.
pub(super) struct Log<'b> {
    pub(super) broker: &'b Broker,
    pub(super) config: KafkaLogConfig,
}

impl<'b> Log<'b> {
    /// Topics of its own with so many partitions.
    pub(super) fn new(broker: &'b Broker, name: &str, partitions: u32) -> Self {
        let name = format!("{name}-{}", std::process::id());
        let config = config(&broker.address(), &name, partitions);
        Self { broker, config }
    }

    /// The same log as another process sees it.
    pub(super) fn of(&self, instance: &str) -> KafkaLogConfig {
        KafkaLogConfig { instance: Some(instance.to_owned()), ..self.config.clone() }
    }

    pub(super) fn topics(&self) -> Topics {
        topics::ensure(&self.config).unwrap()
    }

    pub(super) fn shares(&self) -> Shares {
        shares(&self.config)
    }
}

pub(super) fn config(brokers: &str, name: &str, partitions: u32) -> KafkaLogConfig {
    KafkaLogConfig {
        brokers: vec![brokers.to_owned()],
        events_topic: format!("{name}.events"),
        summaries_topic: format!("{name}.summaries"),
        sources_topic: format!("{name}.sources"),
        control_topic: format!("{name}.control"),
        prefix: name.to_owned(),
        instance: Some("one".to_owned()),
        partitions,
        source_partitions: 4,
        session_timeout_secs: 6,
        transaction_timeout_secs: 10,
        stall_secs: 5,
        ..KafkaLogConfig::default()
    }
}

pub(super) fn shares(config: &KafkaLogConfig) -> Shares {
    Shares::new(config.source_partitions, [Text::from("rtt")].into(), BTreeSet::new())
}

/// A process that writes.
pub(super) struct Writer {
    pub(super) publisher: KafkaPublisher,
    pub(super) counts: Arc<LogCounts>,
    stop: Arc<AtomicBool>,
    member: Option<JoinHandle<Result<(), LogError>>>,
}

/// Does nothing with what comes and goes.
struct Idle;

impl Holder for Idle {
    fn given(&mut self, _: &BTreeSet<u32>) -> Result<(), LogError> {
        Ok(())
    }

    fn taken(&mut self, _: &BTreeSet<u32>) -> Result<(), LogError> {
        Ok(())
    }
}

impl Writer {
    /// Joins as `instance` and waits until it owns so many shares.
    pub(super) fn start(log: &Log<'_>, instance: &str, shares: usize) -> Self {
        log.topics();
        let config = log.of(instance);
        let (counts, membership) = (Arc::<LogCounts>::default(), Arc::<Membership>::default());
        let (topic, seat) = (config.sources_topic.clone(), Arc::clone(&membership));
        let member = Member::join(&config, "ingest", &topic, &counts, seat).unwrap();
        let stop = Arc::<AtomicBool>::default();
        let stopped = Arc::clone(&stop);
        let member = std::thread::spawn(move || member.run(&mut Idle, &stopped));
        until("shares", || membership.owned().len() >= shares);
        let options = PublisherOptions {
            name: format!("ingest-{instance}"),
            shares: log.shares(),
            membership: Arc::clone(&membership),
            group_topic: topic,
            counts: Arc::clone(&counts),
            config,
        };
        let publisher = KafkaPublisher::open(options).unwrap();
        Self { publisher, counts, stop, member: Some(member) }
    }

    /// Appends a batch for each partition that is named, and the position of a source.
    pub(super) fn append(
        &mut self,
        numbers: &[(u32, i64)],
        key: &str,
        next_offset: u64,
    ) -> Result<(), LogError> {
        let position = Position { next_offset, ..Position::default() };
        let batches = numbers.iter().map(|(partition, number)| batch(*partition, *number));
        self.publisher.append(&Append {
            log_time: Timestamp(0),
            batches: batches.collect(),
            positions: vec![(key.into(), position)],
        })?;
        self.publisher.sync()
    }

    /// Stops the member; what it said.
    pub(super) fn stop(mut self) -> Result<(), LogError> {
        self.stop.store(true, Ordering::Relaxed);
        self.member.take().unwrap().join().unwrap()
    }
}

/// A batch that says a number.
pub(super) fn batch(partition: u32, number: i64) -> EventBatch {
    let mut batch = EventBatch::starting(partition, 0, true);
    batch.controls.push(Control::Tick { inputs: vec![7], until: Timestamp(number) });
    batch.append(Timestamp(1), Content::Control(0));
    batch
}

/// The number that a batch says.
pub(super) fn number_of(batch: &EventBatch) -> Option<i64> {
    match batch.controls.first() {
        Some(Control::Tick { until, .. }) => Some(until.0),
        _ => None,
    }
}

/// What a fold heard of one partition: position and batch.
pub(super) type Heard = BTreeMap<u32, Vec<(u64, EventBatch)>>;

/// What folds share: what they heard, where partitions go on, who has them now.
#[derive(Default)]
pub(super) struct Ledger {
    pub(super) heard: Mutex<Heard>,
    /// Where a partition is to be read from.
    pub(super) resume: Mutex<BTreeMap<u32, u64>>,
    /// Who folds a partition now.
    pub(super) owners: Mutex<BTreeMap<u32, String>>,
    pub(super) failures: Mutex<Vec<String>>,
    pub(super) quarantined: Mutex<Vec<Vec<u8>>>,
    /// How long a fold takes for a batch.
    pub(super) pause: Mutex<Duration>,
    pub(super) caught_up: Mutex<BTreeSet<u32>>,
    pub(super) progress: Arc<KafkaProgress>,
}

impl Ledger {
    pub(super) fn count(&self) -> usize {
        self.heard.lock().unwrap().values().map(Vec::len).sum()
    }

    /// Numbers that were heard of each partition.
    pub(super) fn numbers(&self) -> BTreeMap<u32, Vec<i64>> {
        let heard = self.heard.lock().unwrap();
        let numbers = |all: &Vec<(u64, EventBatch)>| {
            all.iter().filter_map(|(_, batch)| number_of(batch)).collect()
        };
        heard.iter().map(|(partition, all)| (*partition, numbers(all))).collect()
    }
}

/// A process that folds.
pub(super) struct Folder {
    pub(super) counts: Arc<LogCounts>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<(), LogError>>,
}

struct Folding {
    name: String,
    ledger: Arc<Ledger>,
    never_read: bool,
}

impl Folds for Folding {
    fn assigned(&mut self, mut records: Records) -> Result<(), LogError> {
        let (name, ledger, never_read) =
            (self.name.clone(), Arc::clone(&self.ledger), self.never_read);
        std::thread::spawn(move || {
            let partition = records.partition();
            let before = ledger.owners.lock().unwrap().insert(partition, name.clone());
            if let Some(before) = before {
                let words = format!("{partition}: {name} while {before} folds it");
                ledger.failures.lock().unwrap().push(words);
            }
            let known = ledger.resume.lock().unwrap().get(&partition).copied();
            let offset = known.or((!never_read).then_some(0));
            records.begin(Start { offset, log_time: Timestamp::MIN, registry_version: 0 });
            fold(&mut records, &ledger);
            ledger.owners.lock().unwrap().remove(&partition);
        });
        Ok(())
    }
}

fn fold(records: &mut Records, ledger: &Ledger) {
    let partition = records.partition();
    loop {
        let batch = match records.told() {
            Ok(Told::Batch(batch) | Told::Missing { batch }) => batch,
            Ok(Told::Quarantined { payload, batch }) => {
                ledger.quarantined.lock().unwrap().push(payload);
                batch
            }
            Ok(Told::CaughtUp) => {
                ledger.caught_up.lock().unwrap().insert(partition);
                continue;
            }
            Ok(Told::Tick) => continue,
            Ok(Told::Taken) => return,
            Err(error) => {
                ledger.failures.lock().unwrap().push(error.to_string());
                return;
            }
        };
        std::thread::sleep(*ledger.pause.lock().unwrap());
        let end = batch.end_offset();
        ledger.progress.committed(partition, end, Timestamp(0));
        ledger.resume.lock().unwrap().insert(partition, end);
        ledger.heard.lock().unwrap().entry(partition).or_default().push((end, batch));
    }
}

impl Folder {
    pub(super) fn start(log: &Log<'_>, instance: &str, ledger: &Arc<Ledger>) -> Self {
        Self::start_at(log, instance, ledger, false)
    }

    /// `never_read`: a partition without a position is read from the oldest record that there is.
    pub(super) fn start_at(
        log: &Log<'_>,
        instance: &str,
        ledger: &Arc<Ledger>,
        never_read: bool,
    ) -> Self {
        let counts = Arc::<LogCounts>::default();
        let options = ReaderOptions {
            config: log.of(instance),
            topics: log.topics(),
            counts: Arc::clone(&counts),
            finish_secs: 10,
            progress: Arc::clone(&ledger.progress),
            versions: Arc::default(),
            heartbeat: Arc::default(),
        };
        let reader = EventsReader::join(options, "analyze").unwrap();
        let (name, ledger) = (instance.to_owned(), Arc::clone(ledger));
        let stop = Arc::<AtomicBool>::default();
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            reader.run(&mut Folding { name, ledger, never_read }, &stopped)
        });
        Self { counts, stop, thread }
    }

    pub(super) fn stop(self) -> Result<(), LogError> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Waits until this holds.
pub(super) fn until(what: &str, holds: impl Fn() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
