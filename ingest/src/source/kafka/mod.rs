//! Kafka: messages of topics go to the intake, one stream a partition.
//!
//! One thread polls one client; nothing else touches it, so no wake-up can be missed. Positions come
//! from the caller, who keeps them with the rows: every partition is assigned by hand at an offset,
//! nothing is committed. A topic that vanishes, or was made anew while nobody looked, ends its streams
//! with a gap, and the others go on;
//! brokers that are down are told and tried again, and no stream ends for that: nothing is lost.
//!
//! Where several processes part the partitions among them, [`parted`] says which ones are ours; those
//! that go are not read any more, and whoever reads them next goes on there.
//!
//! [`config`] holds the keys, [`client`] what librdkafka tells us beside messages.

mod client;
pub mod config;
mod parted;
mod positions;
mod remade;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::metadata::MetadataPartition;
use rdkafka::{Offset, TopicPartitionList};
use regex::Regex;
use schemas::time::Timestamp;

use super::counter::{Counter, Seldom};
use super::live::{CHUNK_BYTES_MAX, Message as Told, Outbox, Stop, Stopped, Word};
use super::pattern;
use crate::kafka::access::AccessError;
pub use crate::kafka::access::SecurityProtocol;
use crate::kafka::topic_id::TopicId;
use client::Ears;
pub use config::{KafkaFormat, KafkaStart, KafkaTopics, RouteViewsTopic};
pub use parted::{Owned, Parted, ShareOf};

/// How long a poll waits for a message.
const POLL: Duration = Duration::from_millis(100);
/// Polls between two looks at the clock and at the stop.
const POLLS_MAX: u32 = 1024;
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
    /// A topic's pattern that is none.
    #[error(transparent)]
    Pattern(#[from] regex::Error),
    /// How the brokers are reached.
    #[error(transparent)]
    Access(#[from] AccessError),
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
    /// Topics that vanished, or were made anew.
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

/// Where each partition is to go on, by topic and partition.
pub type Positions = BTreeMap<(String, i32), Place>;

/// Where a partition is to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The next offset.
    pub next: i64,
    /// Which topic of that name was read, if the brokers told: offsets of another one say nothing.
    pub topic: Option<TopicId>,
}

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
    /// Messages that are to be told together, and their bytes.
    waiting: Vec<Told>,
    bytes: usize,
}

impl Stream {
    /// Tells what waits.
    fn tell(&mut self, outbox: &Outbox) -> Result<(), Stopped> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.bytes = 0;
        let messages = std::mem::take(&mut self.waiting);
        outbox.tell_blocking(self.number, Word::Messages(messages))
    }
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
    /// What the first look found: `start` is about that; what comes later is read from its beginning.
    found_first: Option<BTreeSet<(String, i32)>>,
    /// Ids of the topics that are read.
    ids: BTreeMap<String, TopicId>,
    /// Topics that vanished and did not come back yet.
    gone: BTreeSet<String>,
    told_look: Seldom,
    /// Which partitions are ours; all of them, if nobody says so.
    parted: Option<Parted>,
}

impl KafkaSource {
    /// A client. `positions` says where partitions that were read before go on; streams are numbered
    /// from `first_stream`; `counts` is where is counted.
    ///
    /// # Errors
    /// [`KafkaSourceError`] with its remedy.
    pub fn new(
        config: KafkaTopics,
        positions: Positions,
        first_stream: u64,
        counts: Arc<KafkaCounts>,
    ) -> Result<Self, KafkaSourceError> {
        let topics = Topics::new(&config.topics)?;
        let consumer = client::consumer(&config, &counts)?;
        Ok(Self {
            config,
            topics,
            consumer,
            counts,
            positions,
            partitions: HashMap::new(),
            next_stream: first_stream,
            found_first: None,
            ids: BTreeMap::new(),
            gone: BTreeSet::new(),
            told_look: Seldom::new(TELL_EVERY),
            parted: None,
        })
    }

    /// Reads only what is ours, as that comes and goes.
    #[must_use]
    pub fn parted(mut self, parted: Parted) -> Self {
        self.parted = Some(parted);
        self
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
            if self.part() {
                look_at = Instant::now();
            }
            if look_at <= Instant::now() {
                look_at = Instant::now() + self.look(outbox)?;
            }
            let mut patience = POLL;
            for _ in 0..POLLS_MAX {
                match self.consumer.poll(patience) {
                    Some(Ok(message)) => {
                        take(&mut self.partitions, &self.counts, &self.config, &message, outbox)?;
                        // What is there is told together; nobody waits for more.
                        patience = Duration::ZERO;
                    }
                    // Errors come to our ears with their reason.
                    Some(Err(_)) | None => break,
                }
            }
            for partitions in self.partitions.values_mut() {
                partitions.streams.values_mut().try_for_each(|stream| stream.tell(outbox))?;
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
        self.close_remade(&found, outbox)?;
        self.found_first.get_or_insert_with(|| {
            let pairs = found.iter().flat_map(|(topic, partitions)| {
                partitions.iter().map(|partition| ((*topic).to_owned(), *partition))
            });
            pairs.collect()
        });
        self.open_found(&found, outbox)?;
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
            self.lose(&topic, "the topic vanished", outbox)?;
            self.gone.insert(topic);
        }
        self.count_partitions();
        Ok(is_missing)
    }

    /// Opens a stream for each partition that has none.
    fn open_found(&mut self, found: &Found<'_>, outbox: &Outbox) -> Result<(), Stopped> {
        let max = usize::try_from(self.config.partitions_max).unwrap_or(usize::MAX);
        let mut refused = 0;
        let ends = self.ends(found);
        let mut list = TopicPartitionList::new();
        let pairs = |(topic, partitions): (_, &Vec<i32>)| {
            partitions.iter().map(|partition| (topic, *partition)).collect::<Vec<(&&str, i32)>>()
        };
        for (topic, partition) in found.iter().flat_map(pairs) {
            if self.stream(topic, partition).is_some() || !self.is_ours(topic, partition) {
                continue;
            }
            if self.count_partitions() >= max {
                refused += 1;
                continue;
            }
            let key = ((*topic).to_owned(), partition);
            let position = match (self.positions.get(&key), self.config.start) {
                (Some(place), _) => Some(place.next),
                (None, KafkaStart::Latest)
                    if self.found_first.as_ref().is_none_or(|first| first.contains(&key)) =>
                {
                    // From here on it was read, though nothing came yet. Looked for again if it is not
                    // known where its end is.
                    let Some(end) = ends.get(&key) else { continue };
                    Some(*end)
                }
                (None, _) => None,
            };
            self.open(topic, partition, position, outbox)?;
            self.begin(topic, partition, outbox)?;
            let offset = position.map_or(Offset::Beginning, Offset::Offset);
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
        let stream = Stream { number, next, waiting: Vec::new(), bytes: 0 };
        partitions.streams.insert(partition, stream);
        tracing::debug!(topic, partition, stream = number, ?next, "partition opened");
        outbox.tell_blocking(number, Word::Opened { remote: format!("{topic}-{partition}") })
    }

    /// Says where a stream goes on, so that it is known though nothing comes.
    fn begin(&self, topic: &str, partition: i32, outbox: &Outbox) -> Result<(), Stopped> {
        let Some(stream) = self.stream(topic, partition) else { return Ok(()) };
        let offset = stream.next.and_then(|next| u64::try_from(next).ok());
        let topic = self.ids.get(topic).copied();
        outbox.tell_blocking(stream.number, Word::Begins { offset, topic })
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

/// Takes a message; what waits of its stream is told once it is much.
fn take(
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
    stream.bytes += payload.len();
    stream.waiting.push(Told { offset, broker_time, payload });
    if stream.bytes < CHUNK_BYTES_MAX { Ok(()) } else { stream.tell(outbox) }
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
