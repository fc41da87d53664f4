//! State: what a compacted topic holds, read to its end.
//!
//! "To its end" includes transactions that are open when the reading begins: whoever took a share over
//! must know what became of the last append of the one before. So the end is taken first, as the
//! brokers have it with open transactions, and everything before it is waited for.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};
use schemas::log::LogError;

use super::brokers;
use super::clients::{Ears, TELL_EVERY};
use super::config::KafkaLogConfig;
use crate::source::counter::Seldom;

/// How long brokers may take to answer what we ask.
const ANSWER: Duration = Duration::from_secs(5);
/// How long brokers may be away while we read.
const AWAY: Duration = Duration::from_secs(600);
/// How long to wait before we look again.
const PAUSE: Duration = Duration::from_millis(50);

/// Keys with their newest values.
pub(super) type State = BTreeMap<Vec<u8>, Vec<u8>>;

/// Reads compacted topics.
pub(super) struct StateReader {
    config: KafkaLogConfig,
    /// Sees open transactions, for the end.
    edges: BaseConsumer<Ears>,
}

/// A try that did not get to the end.
enum Failed {
    /// It may go better the next time.
    Again(KafkaError),
}

impl From<KafkaError> for Failed {
    fn from(error: KafkaError) -> Self {
        Self::Again(error)
    }
}

impl StateReader {
    pub(super) fn new(config: &KafkaLogConfig) -> Result<Self, LogError> {
        let mut client = config.consumer("unused").map_err(|error| brokers(config, &error))?;
        client.remove("group.id").set("isolation.level", "read_uncommitted");
        let edges =
            client.create_with_context(Ears::default()).map_err(|error| brokers(config, &error))?;
        Ok(Self { config: config.clone(), edges })
    }

    /// The newest value of each key of these partitions, an empty one where it was taken back.
    ///
    /// # Errors
    /// [`LogError::Brokers`] if they do not answer for ten minutes.
    pub(super) fn read(&self, topic: &str, partitions: &[u32]) -> Result<State, LogError> {
        let (since, mut told) = (Instant::now(), Seldom::new(TELL_EVERY));
        loop {
            let Failed::Again(error) = match self.attempt(topic, partitions) {
                Ok(state) => return Ok(state),
                Err(failed) => failed,
            };
            if since.elapsed() > AWAY {
                let what = format!("{topic} cannot be read: {error}");
                return Err(brokers(&self.config, &what));
            }
            if let Some(kept_back) = told.now() {
                tracing::warn!(topic, %error, kept_back, "state not read, trying on");
            }
            std::thread::sleep(PAUSE * 10);
        }
    }

    fn attempt(&self, topic: &str, partitions: &[u32]) -> Result<State, Failed> {
        let mut client = self
            .config
            .consumer(&self.config.name("state"))
            .map_err(|error| KafkaError::ClientCreation(error.to_string()))?;
        client.set("enable.partition.eof", "true");
        let reader: BaseConsumer<Ears> = client.create_with_context(Ears::default())?;
        let mut list = TopicPartitionList::new();
        // Partitions that are not read to the end that they had.
        let mut left = BTreeMap::new();
        for partition in partitions.iter().filter_map(|number| i32::try_from(*number).ok()) {
            let (low, end) = self.edges.fetch_watermarks(topic, partition, ANSWER)?;
            self.wait_until_decided(&reader, topic, partition, end)?;
            if low < end {
                list.add_partition_offset(topic, partition, Offset::Beginning)?;
                left.insert(partition, end);
            }
        }
        let mut state = State::new();
        if left.is_empty() {
            return Ok(state);
        }
        reader.assign(&list)?;
        let mut heard = Instant::now();
        while !left.is_empty() {
            match reader.poll(PAUSE) {
                Some(Ok(message)) => {
                    let key = message.key().unwrap_or_default().to_vec();
                    state.insert(key, message.payload().unwrap_or_default().to_vec());
                    let partition = message.partition();
                    if let Some(end) = left.get(&partition) {
                        heard = Instant::now();
                        // Where others write all the time, a partition has no end that is ever told.
                        if message.offset() + 1 >= *end {
                            left.remove(&partition);
                        }
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    left.remove(&partition);
                }
                Some(Err(error)) => return Err(error.into()),
                None if heard.elapsed() > ANSWER * 2 => {
                    return Err(KafkaError::Canceled.into());
                }
                None => {}
            }
        }
        Ok(state)
    }

    /// Waits until no transaction that was open before `end` is open any more.
    fn wait_until_decided(
        &self,
        reader: &BaseConsumer<Ears>,
        topic: &str,
        partition: i32,
        end: i64,
    ) -> Result<(), Failed> {
        let since = Instant::now();
        let longest = Duration::from_secs(u64::from(self.config.transaction_timeout_secs) + 30);
        loop {
            let (_, stable) = reader.fetch_watermarks(topic, partition, ANSWER)?;
            if stable >= end {
                return Ok(());
            }
            if since.elapsed() > longest {
                return Err(KafkaError::Canceled.into());
            }
            std::thread::sleep(PAUSE);
        }
    }
}
