//! Kafka: messages of topics go to the intake, one stream a partition.
//!
//! One thread polls one client; nothing else touches it, so no wake-up can be missed. Positions come
//! from the caller, who keeps them with the rows: every partition is assigned by hand at an offset,
//! nothing is committed. A topic that vanishes ends its streams with a gap, and the others go on;
//! brokers that are down are told and tried again, and no stream ends for that: nothing is lost.
//!
//! [`config`] holds the keys, [`client`] what librdkafka tells us beside messages.

mod client;
pub mod config;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::metadata::MetadataPartition;
use rdkafka::{Offset, TopicPartitionList};
use regex::Regex;
use schemas::time::Timestamp;

use super::counter::{Counter, Seldom};
use super::live::{Outbox, Stop, Stopped, Word};
use super::pattern;
use client::Ears;
pub use config::{KafkaFormat, KafkaStart, KafkaTopics, RouteViewsTopic, SecurityProtocol};

/// How long a poll waits for a message.
const POLL: Duration = Duration::from_millis(100);
/// Polls between two looks at the clock and at the stop.
const POLLS_MAX: u32 = 256;
/// How long brokers may take to answer what we ask.
const ANSWER: Duration = Duration::from_secs(5);
/// How soon topics are looked for again when one seems to be gone.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Looks in a row that must not find a topic before it is gone: a broker that has just started may
/// not know its topics yet.
const MISSES_MAX: u32 = 2;
/// How often the same trouble is told.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Why there is no client. One variant per remedy.
#[derive(Debug, thiserror::Error)]
pub enum KafkaSourceError {
    /// A password that cannot be read.
    #[error("{path}: {error}", path = path.display())]
    PasswordFile {
        /// Its file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A topic's pattern that is none.
    #[error(transparent)]
    Pattern(#[from] regex::Error),
    /// Settings that librdkafka refuses.
    #[error("kafka client: {0}")]
    Client(#[from] KafkaError),
}

/// What was read, and what went wrong.
#[derive(Debug, Default)]
pub struct KafkaCounts {
    /// Messages handed on.
    pub messages: Counter,
    /// Their bytes.
    pub bytes: Counter,
    /// Messages of which only the first `message_bytes_max` bytes were handed on.
    pub too_long: Counter,
    /// Partitions read now.
    pub partitions: Counter,
    /// Partitions not read for want of room (`partitions_max`), at the last look.
    pub refused_partitions: Counter,
    /// Messages that wait at the brokers, by the client's last report.
    pub lag: Counter,
    /// Topics that vanished.
    pub vanished: Counter,
    /// Partitions whose position the broker does not have any more, or does not have yet.
    pub out_of_range: Counter,
    /// Times that no broker could be reached.
    pub brokers_down: Counter,
    /// Times that a broker refused our name or password.
    pub refused_login: Counter,
    /// Looks for topics that no broker answered.
    pub look_failed: Counter,
    /// Other errors of the client.
    pub errors: Counter,
}

/// Where each partition is to go on: topic and partition to the next offset.
pub type Positions = BTreeMap<(String, i32), i64>;

/// The topics that a look found, with their partitions.
type Found<'m> = BTreeMap<&'m str, Vec<i32>>;

/// Which topics are meant.
#[derive(Debug)]
pub(crate) struct Topics(Vec<Topic>);

#[derive(Debug)]
enum Topic {
    Stars(String),
    Regex(Regex),
}

impl Topics {
    pub(crate) fn new(patterns: &[String]) -> Result<Self, regex::Error> {
        let topic = |pattern: &String| match pattern.strip_prefix('^') {
            Some(_) => Regex::new(pattern).map(Topic::Regex),
            None => Ok(Topic::Stars(pattern.clone())),
        };
        patterns.iter().map(topic).collect::<Result<_, _>>().map(Self)
    }

    /// Kafka's own topics are never meant.
    fn fit(&self, name: &str) -> bool {
        let fits = |topic: &Topic| match topic {
            Topic::Stars(stars) => pattern::fits(stars, name),
            Topic::Regex(regex) => regex.is_match(name),
        };
        !name.starts_with("__") && self.0.iter().any(fits)
    }
}

/// One partition.
#[derive(Debug)]
struct Stream {
    number: u64,
    /// The offset that comes next, as far as it is known.
    next: Option<i64>,
}

/// The partitions of one topic.
#[derive(Debug, Default)]
struct Partitions {
    streams: BTreeMap<i32, Stream>,
    misses: u32,
}

/// A client that is ready to [`run`](Self::run).
pub struct KafkaSource {
    config: KafkaTopics,
    topics: Topics,
    consumer: BaseConsumer<Ears>,
    counts: Arc<KafkaCounts>,
    positions: Positions,
    partitions: HashMap<String, Partitions>,
    next_stream: u64,
    /// The first look finds what `start` is about; what comes later is read from its beginning.
    looked: bool,
    told_look: Seldom,
}

impl KafkaSource {
    /// A client. `positions` says where partitions that were read before go on; streams are numbered
    /// from `first_stream`.
    ///
    /// # Errors
    /// [`KafkaSourceError`] with its remedy.
    pub fn new(
        config: KafkaTopics,
        positions: Positions,
        first_stream: u64,
    ) -> Result<Self, KafkaSourceError> {
        let topics = Topics::new(&config.topics)?;
        let counts = Arc::<KafkaCounts>::default();
        let consumer = client::consumer(&config, &counts)?;
        Ok(Self {
            config,
            topics,
            consumer,
            counts,
            positions,
            partitions: HashMap::new(),
            next_stream: first_stream,
            looked: false,
            told_look: Seldom::new(TELL_EVERY),
        })
    }

    /// What is counted.
    #[must_use]
    pub fn counts(&self) -> Arc<KafkaCounts> {
        Arc::clone(&self.counts)
    }

    /// Reads until the service stops. It blocks: give it a thread of its own.
    pub fn run(mut self, outbox: &Outbox, stop: &Stop) {
        // Whoever does not listen any more is not told anything either.
        let _ = self.read(outbox, stop);
        for (_, stream) in self.partitions.values().flat_map(|partitions| &partitions.streams) {
            let reason = "the service stops".to_owned();
            let _ = outbox.tell_blocking(stream.number, Word::Closed { reason, is_gap: false });
        }
    }

    fn read(&mut self, outbox: &Outbox, stop: &Stop) -> Result<(), Stopped> {
        let mut look_at = Instant::now();
        while !*stop.borrow() {
            if look_at <= Instant::now() {
                look_at = Instant::now() + self.look(outbox)?;
            }
            for _ in 0..POLLS_MAX {
                match self.consumer.poll(POLL) {
                    Some(Ok(message)) => {
                        tell(&mut self.partitions, &self.counts, &self.config, &message, outbox)?;
                    }
                    // Errors come to our ears with their reason.
                    Some(Err(_)) | None => break,
                }
            }
            let heard = self.consumer.context().take();
            for (topic, partition) in &heard.caught_up {
                if let Some(stream) = self.stream(topic, *partition) {
                    outbox.tell_blocking(stream.number, Word::CaughtUp)?;
                }
            }
            if heard.out_of_range {
                self.find_positions(outbox)?;
            }
            if heard.topic_unknown {
                look_at = look_at.min(Instant::now() + LOOK_AGAIN);
            }
        }
        Ok(())
    }

    fn stream(&self, topic: &str, partition: i32) -> Option<&Stream> {
        self.partitions.get(topic)?.streams.get(&partition)
    }

    /// Looks which topics there are; says when to look again.
    fn look(&mut self, outbox: &Outbox) -> Result<Duration, Stopped> {
        let usual = Duration::from_secs(u64::from(self.config.discover_secs));
        let metadata = match self.consumer.fetch_metadata(None, ANSWER) {
            Ok(metadata) => metadata,
            Err(error) => {
                self.counts.look_failed.one();
                if let Some(kept_back) = self.told_look.now() {
                    let brokers = self.config.brokers.join(",");
                    tracing::warn!(brokers, %error, kept_back, "topics not listed, will be tried again");
                }
                return Ok(usual.min(LOOK_AGAIN * 5));
            }
        };
        let mut found: Found<'_> = BTreeMap::new();
        for topic in metadata.topics() {
            // A topic without a leader, or one that we may not read, is there all the same.
            let error = topic.error().map(Code::from);
            let is_there =
                !matches!(error, Some(Code::UnknownTopicOrPartition | Code::UnknownTopic));
            if is_there && self.topics.fit(topic.name()) {
                let partitions = topic.partitions().iter().map(MetadataPartition::id).collect();
                found.insert(topic.name(), partitions);
            }
        }
        let is_missing = self.close_vanished(&found, outbox)?;
        self.open_found(&found, outbox)?;
        self.looked = true;
        Ok(if is_missing { usual.min(LOOK_AGAIN) } else { usual })
    }

    /// Ends the streams of topics that are gone; says whether one may be.
    fn close_vanished(&mut self, found: &Found<'_>, outbox: &Outbox) -> Result<bool, Stopped> {
        let mut gone = Vec::new();
        let mut is_missing = false;
        for (topic, partitions) in &mut self.partitions {
            if found.contains_key(topic.as_str()) {
                partitions.misses = 0;
                continue;
            }
            partitions.misses += 1;
            is_missing = true;
            if partitions.misses >= MISSES_MAX {
                gone.push(topic.clone());
            }
        }
        for topic in gone {
            self.counts.vanished.one();
            tracing::error!(topic, "topic vanished, the others go on");
            let Some(partitions) = self.partitions.remove(&topic) else { continue };
            let mut list = TopicPartitionList::new();
            for (partition, stream) in partitions.streams {
                list.add_partition(&topic, partition);
                self.positions.remove(&(topic.clone(), partition));
                let reason = "the topic vanished".to_owned();
                outbox.tell_blocking(stream.number, Word::Closed { reason, is_gap: true })?;
            }
            self.unassign(&list);
        }
        self.count_partitions();
        Ok(is_missing)
    }

    /// Opens a stream for each partition that has none.
    fn open_found(&mut self, found: &Found<'_>, outbox: &Outbox) -> Result<(), Stopped> {
        let max = usize::try_from(self.config.partitions_max).unwrap_or(usize::MAX);
        let mut refused = 0;
        let mut list = TopicPartitionList::new();
        let pairs = |(topic, partitions): (_, &Vec<i32>)| {
            partitions.iter().map(|partition| (topic, *partition)).collect::<Vec<(&&str, i32)>>()
        };
        for (topic, partition) in found.iter().flat_map(pairs) {
            if self.stream(topic, partition).is_some() {
                continue;
            }
            if self.count_partitions() >= max {
                refused += 1;
                continue;
            }
            let position = self.positions.get(&((*topic).to_owned(), partition)).copied();
            let offset = match (position, self.config.start) {
                (Some(position), _) => Offset::Offset(position),
                (None, KafkaStart::Latest) if !self.looked => Offset::End,
                (None, _) => Offset::Beginning,
            };
            self.open(topic, partition, position, outbox)?;
            // The only failure is an offset that no partition can have.
            let _ = list.add_partition_offset(topic, partition, offset);
        }
        if refused > 0 && refused != self.counts.refused_partitions.get() {
            tracing::error!(refused, max, "partitions not read: partitions_max is reached");
        }
        self.counts.refused_partitions.set(refused);
        self.assign(&list);
        Ok(())
    }

    fn open(
        &mut self,
        topic: &str,
        partition: i32,
        next: Option<i64>,
        outbox: &Outbox,
    ) -> Result<(), Stopped> {
        let number = self.next_stream;
        self.next_stream += 1;
        let partitions = self.partitions.entry(topic.to_owned()).or_default();
        partitions.streams.insert(partition, Stream { number, next });
        tracing::debug!(topic, partition, stream = number, ?next, "partition opened");
        outbox.tell_blocking(number, Word::Opened { remote: format!("{topic}-{partition}") })
    }

    /// Some position is not one that the broker has: finds it, tells the gap, and goes on with the
    /// oldest message that there is.
    fn find_positions(&mut self, outbox: &Outbox) -> Result<(), Stopped> {
        let known: Vec<(String, i32, i64)> = self
            .partitions
            .iter()
            .flat_map(|(topic, partitions)| {
                partitions.streams.iter().map(move |(part, stream)| (topic, *part, stream))
            })
            .filter_map(|(topic, part, stream)| Some((topic.clone(), part, stream.next?)))
            .collect();
        for (topic, partition, next) in known {
            let Ok((low, high)) = self.consumer.fetch_watermarks(&topic, partition, ANSWER) else {
                continue;
            };
            if (low..=high).contains(&next) {
                continue;
            }
            self.counts.out_of_range.one();
            let reason = if next < low {
                format!("offsets {next} to {} are gone from the broker", low - 1)
            } else {
                format!("offset {next} is past the end {high}: the topic was made anew")
            };
            tracing::error!(topic, partition, reason, "messages lost, going on with the oldest");
            let closed = self.stream(&topic, partition).map(|stream| stream.number);
            if let Some(number) = closed {
                outbox.tell_blocking(number, Word::Closed { reason, is_gap: true })?;
            }
            let mut list = TopicPartitionList::new();
            list.add_partition(&topic, partition);
            self.unassign(&list);
            self.open(&topic, partition, Some(low), outbox)?;
            let mut list = TopicPartitionList::new();
            let _ = list.add_partition_offset(&topic, partition, Offset::Offset(low));
            self.assign(&list);
        }
        Ok(())
    }

    fn assign(&self, list: &TopicPartitionList) {
        if list.count() > 0
            && let Err(error) = self.consumer.incremental_assign(list)
        {
            self.counts.errors.one();
            tracing::error!(%error, "partitions not assigned");
        }
        self.count_partitions();
    }

    fn unassign(&self, list: &TopicPartitionList) {
        if list.count() > 0
            && let Err(error) = self.consumer.incremental_unassign(list)
        {
            self.counts.errors.one();
            tracing::warn!(%error, "partitions not given back");
        }
    }

    fn count_partitions(&self) -> usize {
        let count = self.partitions.values().map(|partitions| partitions.streams.len()).sum();
        self.counts.partitions.set(count as u64);
        count
    }
}

/// Hands a message on.
fn tell(
    partitions: &mut HashMap<String, Partitions>,
    counts: &KafkaCounts,
    config: &KafkaTopics,
    message: &BorrowedMessage<'_>,
    outbox: &Outbox,
) -> Result<(), Stopped> {
    let streams = partitions.get_mut(message.topic()).map(|partitions| &mut partitions.streams);
    let Some(stream) = streams.and_then(|streams| streams.get_mut(&message.partition())) else {
        // It was on its way when its partition was given back.
        return Ok(());
    };
    let whole = message.payload().unwrap_or_default();
    let bytes_max = usize::try_from(config.message_bytes_max).unwrap_or(usize::MAX);
    let payload = whole.get(..bytes_max).unwrap_or(whole).to_vec();
    if payload.len() < whole.len() {
        counts.too_long.one();
        let (topic, partition, offset) = (message.topic(), message.partition(), message.offset());
        let length_bytes = whole.len();
        tracing::warn!(topic, partition, offset, length_bytes, "message too long, its end cut off");
    }
    counts.messages.one();
    counts.bytes.add(payload.len() as u64);
    stream.next = Some(message.offset() + 1);
    let offset = u64::try_from(message.offset()).unwrap_or_default();
    let broker_time = broker_time(message.timestamp());
    outbox.tell_blocking(stream.number, Word::Message { offset, broker_time, payload })
}

/// When the broker took it. A producer's own time stands for it where the topic keeps that, but never
/// one that is still to come.
fn broker_time(time: rdkafka::Timestamp) -> Option<Timestamp> {
    let micros = |millis: i64| Timestamp(millis.saturating_mul(1000));
    match time {
        rdkafka::Timestamp::LogAppendTime(millis) => Some(micros(millis)),
        rdkafka::Timestamp::CreateTime(millis) if millis > 0 => Some(micros(millis).min(now())),
        rdkafka::Timestamp::CreateTime(_) | rdkafka::Timestamp::NotAvailable => None,
    }
}

#[allow(clippy::disallowed_methods, reason = "a source may read the wall clock")]
fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let micros = since.map_or(0, |since| since.as_micros());
    Timestamp(i64::try_from(micros).unwrap_or(i64::MAX))
}
