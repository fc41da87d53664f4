//! The role that analyzes: partitions come and go, and each is folded on a thread of its own.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use ::ingest::log::kafka::Start;
use ::ingest::log::kafka::control::Versions;
use ::ingest::log::kafka::progress::KafkaProgress;
use ::ingest::log::kafka::reader::{EventsReader, Folds, ReaderOptions};
use ::ingest::log::kafka::records::{Records, Told};
use ::ingest::log::kafka::summaries::KafkaSummaries;
use analytics::fold::partition::PartitionFold;
use analytics::fold::{Committed, FoldError, Folding, follow};
use analytics::lake::Store;
use schemas::batch::EventBatch;
use schemas::log::{LogError, PartitionReader, Resume, Summaries};

use super::super::RunError;
use super::{Done, Failure, Part, World, add, at_work, part};

/// Starts the part.
pub(super) fn start(
    world: &World,
    folding: Folding,
    progress: &Arc<KafkaProgress>,
    is_alone: bool,
) -> Result<Part, RunError> {
    let config = &world.config;
    let options = ReaderOptions {
        config: config.kafka.clone(),
        topics: world.topics.clone(),
        counts: Arc::clone(&world.counts),
        finish_secs: config.log.shutdown_secs,
        progress: Arc::clone(progress),
        versions: Arc::new(Versions::read(&config.kafka)?),
        heartbeat: if is_alone { Arc::clone(&world.heartbeat) } else { Arc::default() },
    };
    let summaries = KafkaSummaries::open(&config.kafka, &world.counts)?;
    let topic = config.kafka.events_topic.clone();
    part("analyze", move |stop| {
        let reader = EventsReader::join(options, "analyze")?;
        let mut analyzing = Analyzing {
            folding,
            summaries: Arc::new(summaries),
            topic,
            rows: Arc::default(),
            failure: Failure::default(),
            stop: Arc::clone(&stop),
        };
        let read = reader.run(&mut analyzing, &stop);
        // A fold that stopped is the cause, whatever else happened then.
        if let Some(error) = analyzing.failure.take() {
            return Err(error);
        }
        read?;
        let rows = analyzing.rows.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(Done::Rows(rows))
    })
}

/// Folds partitions.
struct Analyzing {
    folding: Folding,
    summaries: Arc<dyn Summaries>,
    topic: String,
    rows: Arc<Mutex<Committed>>,
    failure: Failure,
    stop: Arc<AtomicBool>,
}

impl Folds for Analyzing {
    fn assigned(&mut self, records: Records) -> Result<(), LogError> {
        let (folding, summaries) = (self.folding.clone(), Arc::clone(&self.summaries));
        let (rows, topic) = (Arc::clone(&self.rows), self.topic.clone());
        let name = format!("shard-{}", records.partition());
        let fold = move || {
            let more = folded(records, &folding, &*summaries, &topic)?;
            add(&mut rows.lock().unwrap_or_else(PoisonError::into_inner), more);
            Ok(())
        };
        at_work(name, (&self.failure, &self.stop), fold).map(drop)
    }
}

/// Folds one partition from its newest snapshot on, as long as it is ours.
fn folded(
    mut records: Records,
    folding: &Folding,
    summaries: &dyn Summaries,
    topic: &str,
) -> Result<Committed, FoldError> {
    let (fold, from) = PartitionFold::open(records.partition(), folding)?;
    // Nothing was ever read: the oldest record that there is.
    let offset = (from > 0).then_some(from);
    let Resume { log_time, registry_version, .. } = fold.resume();
    records.begin(Start { offset, log_time, registry_version });
    let store = Arc::clone(&folding.store);
    follow(fold, Keeping { records, store, topic: topic.to_owned() }, folding, summaries)
}

/// Records, of which those that are no batch are kept in the lake for whoever wants to look at them.
struct Keeping {
    records: Records,
    store: Arc<Store>,
    topic: String,
}

impl PartitionReader for Keeping {
    fn next(&mut self) -> Result<Option<EventBatch>, LogError> {
        loop {
            match self.records.told()? {
                Told::Batch(batch) | Told::Missing { batch } => return Ok(Some(batch)),
                Told::Quarantined { payload, batch } => {
                    let (topic, partition) = (&self.topic, self.records.partition());
                    let key = format!(
                        "_peerscope/quarantine/{topic}-{partition}-{:020}",
                        batch.first_offset
                    );
                    if let Err(error) = self.store.put(&key, &payload) {
                        tracing::error!(key, %error, "not kept; the brokers have it still");
                    }
                    return Ok(Some(batch));
                }
                Told::CaughtUp | Told::Tick => {}
                Told::Taken => return Ok(None),
            }
        }
    }

    fn seek(&mut self, to: Resume) -> Result<(), LogError> {
        self.records.seek(to)
    }
}
