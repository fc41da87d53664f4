//! Summaries over Kafka: what shards tell, in one partition, and how `correlate` reads it.
//!
//! An entry may come twice: a shard that was restarted tells again what may be missing. That is the
//! reader's business; here nothing is lost and nothing changes its order. The position of an entry is
//! its offset, plus one for what follows.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::Offset;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use schemas::killpoint::{self, KillPoint};
use schemas::log::{LogError, NextSummary, Summaries, SummaryEntry, SummaryReader};

use super::brokers;
use super::clients::{Ears, LogCounts, TELL_EVERY, glance};
use super::config::KafkaLogConfig;
use super::member::list_of;
use crate::source::counter::Seldom;

/// How long a full queue is waited for before the next look.
const ROOM: Duration = Duration::from_millis(20);
/// How long brokers may take to answer what we ask.
const ANSWER: Duration = Duration::from_secs(5);
/// After how long without an answer that is told.
const SLOW: Duration = Duration::from_secs(5);

/// Ears of the writer: they count what is durable.
struct WriterEars {
    ears: Ears,
    durable: AtomicU64,
    failed: Mutex<Option<KafkaError>>,
}

impl ClientContext for WriterEars {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.ears.log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.ears.error(error, reason);
    }
}

impl ProducerContext for WriterEars {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => drop(self.durable.fetch_add(1, Ordering::Release)),
            Err((error, _)) => {
                let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
                failed.get_or_insert_with(|| error.clone());
            }
        }
    }
}

/// The writing end, for every shard of this process.
pub struct KafkaSummaries {
    config: KafkaLogConfig,
    producer: BaseProducer<WriterEars>,
    told: AtomicU64,
    words: Mutex<Seldom>,
}

impl KafkaSummaries {
    /// The writing end.
    ///
    /// # Errors
    /// [`LogError::Brokers`] if the client cannot be made.
    pub fn open(config: &KafkaLogConfig, counts: &Arc<LogCounts>) -> Result<Self, LogError> {
        let mut client = config.teller().map_err(|error| brokers(config, &error))?;
        // For ever: what was told is in order, or not at all.
        client.set("message.timeout.ms", "0");
        let ears = WriterEars {
            ears: Ears::new(Arc::clone(counts)),
            durable: AtomicU64::new(0),
            failed: Mutex::new(None),
        };
        let producer = client.create_with_context(ears).map_err(|error| brokers(config, &error))?;
        let words = Mutex::new(Seldom::new(TELL_EVERY));
        Ok(Self { config: config.clone(), producer, told: AtomicU64::new(0), words })
    }

    fn check(&self) -> Result<(), LogError> {
        let context = self.producer.context();
        let failed = context.failed.lock().unwrap_or_else(PoisonError::into_inner);
        match &*failed {
            Some(error) => {
                let what = format!("summaries cannot be written: {error}; start again");
                Err(brokers(&self.config, &what))
            }
            None => Ok(()),
        }
    }

    fn say_if_slow(&self, since: Instant) {
        let mut words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        if since.elapsed() > SLOW
            && let Some(kept_back) = words.now()
        {
            tracing::warn!(kept_back, "brokers do not take summaries, folds wait");
        }
    }
}

/// An entry's key: partition and offset, which need no order here.
fn key_of(entry: &SummaryEntry) -> [u8; 12] {
    let mut key = [0; 12];
    let (partition, end) = key.split_at_mut(4);
    partition.copy_from_slice(&entry.partition.to_be_bytes());
    end.copy_from_slice(&entry.end.to_be_bytes());
    key
}

impl Summaries for KafkaSummaries {
    fn tell(&self, entry: SummaryEntry) -> Result<(), LogError> {
        killpoint::reach(KillPoint::Summary);
        // Before it is sent: whoever waits for what was told waits for this one too. After an error nothing is
        // waited for any more.
        self.told.fetch_add(1, Ordering::AcqRel);
        let (key, since) = (key_of(&entry), Instant::now());
        let mut record = BaseRecord::<[u8], [u8]>::to(&self.config.summaries_topic)
            .partition(0)
            .key(&key)
            .payload(&entry.bytes);
        loop {
            self.check()?;
            match self.producer.send(record) {
                Ok(()) => break,
                Err((error, returned)) if error.rdkafka_error_code() == Some(Code::QueueFull) => {
                    self.producer.poll(ROOM);
                    self.say_if_slow(since);
                    record = returned;
                }
                Err((error, _)) => {
                    let what = format!("a summary of {} bytes: {error}", entry.bytes.len());
                    return Err(brokers(&self.config, &what));
                }
            }
        }
        self.producer.poll(Duration::ZERO);
        Ok(())
    }

    fn sync(&self) -> Result<(), LogError> {
        let (told, since) = (self.told.load(Ordering::Acquire), Instant::now());
        while self.producer.context().durable.load(Ordering::Acquire) < told {
            self.check()?;
            glance(&self.producer);
            self.say_if_slow(since);
        }
        Ok(())
    }
}

/// The reading end.
pub struct KafkaSummaryReader {
    config: KafkaLogConfig,
    consumer: BaseConsumer<Ears>,
    next: u64,
    is_assigned: bool,
    told: Seldom,
    stop: Arc<AtomicBool>,
}

impl KafkaSummaryReader {
    /// A reader that goes on at a position, until it is told to stop.
    ///
    /// # Errors
    /// [`LogError::Brokers`] if the client cannot be made.
    pub fn open(
        config: &KafkaLogConfig,
        from: u64,
        counts: &Arc<LogCounts>,
        stop: Arc<AtomicBool>,
    ) -> Result<Self, LogError> {
        let client =
            config.consumer(&config.name("summaries")).map_err(|error| brokers(config, &error))?;
        let consumer = client
            .create_with_context(Ears::new(Arc::clone(counts)))
            .map_err(|error| brokers(config, &error))?;
        let told = Seldom::new(TELL_EVERY);
        Ok(Self { config: config.clone(), consumer, next: from, is_assigned: false, told, stop })
    }

    /// Goes to where it is to read on, if the brokers have that; false while they do not answer.
    fn assign(&mut self) -> Result<bool, LogError> {
        let topic = &self.config.summaries_topic;
        let Ok((low, end)) = self.consumer.fetch_watermarks(topic, 0, ANSWER) else {
            if let Some(kept_back) = self.told.now() {
                tracing::warn!(topic, kept_back, "brokers do not answer, trying on");
            }
            return Ok(false);
        };
        let (low, end) =
            (u64::try_from(low).unwrap_or_default(), u64::try_from(end).unwrap_or_default());
        let topic = topic.clone();
        if self.next == 0 {
            // Nothing was ever read.
            self.next = low;
        } else if self.next < low {
            let (next, last) = (self.next, low - 1);
            let what = format!(
                "what shards told at offsets {next} to {last} is gone: `correlate` was away for longer \
                 than the retention of the topic, and findings of that time would be missing; start a \
                 new lake"
            );
            return Err(LogError::Topic { topic, what });
        } else if self.next > end {
            return Err(LogError::Receded { topic, partition: 0, resume: self.next, end });
        }
        let offset = Offset::Offset(i64::try_from(self.next).unwrap_or(i64::MAX));
        let list = list_of(&topic, [0], offset);
        self.consumer.assign(&list).map_err(|error| brokers(&self.config, &error))?;
        self.is_assigned = true;
        Ok(true)
    }
}

impl SummaryReader for KafkaSummaryReader {
    fn next(&mut self, wait: Duration) -> Result<NextSummary, LogError> {
        if self.stop.load(Ordering::Relaxed) {
            return Ok(NextSummary::End);
        }
        if !self.is_assigned && !self.assign()? {
            std::thread::sleep(wait.min(SLOW));
            return Ok(NextSummary::Idle);
        }
        let since = Instant::now();
        loop {
            match self.consumer.poll(wait.saturating_sub(since.elapsed())) {
                Some(Ok(message)) => {
                    self.next = u64::try_from(message.offset()).unwrap_or_default() + 1;
                    let Some(entry) = entry_of(message.key(), message.payload()) else {
                        let (topic, offset) = (message.topic(), message.offset());
                        tracing::error!(topic, offset, "no summary of ours, passed over");
                        continue;
                    };
                    return Ok(NextSummary::Entry(self.next, entry));
                }
                Some(Err(error)) => {
                    // Others came to our ears with their reason.
                    let is_lost = matches!(
                        error.rdkafka_error_code(),
                        Some(Code::AutoOffsetReset | Code::OffsetOutOfRange)
                    );
                    self.is_assigned &= !is_lost;
                    return Ok(NextSummary::Idle);
                }
                None if since.elapsed() >= wait => return Ok(NextSummary::Idle),
                None => {}
            }
        }
    }

    fn seek(&mut self, from: u64) -> Result<(), LogError> {
        self.next = from;
        self.is_assigned = false;
        Ok(())
    }
}

fn entry_of(key: Option<&[u8]>, payload: Option<&[u8]>) -> Option<SummaryEntry> {
    let (partition, end) = key?.split_first_chunk::<4>()?;
    let end: [u8; 8] = end.try_into().ok()?;
    Some(SummaryEntry {
        partition: u32::from_be_bytes(*partition),
        end: u64::from_be_bytes(end),
        bytes: payload.unwrap_or_default().to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_back() {
        let entry = SummaryEntry { partition: 7, end: 1 << 40, bytes: b"told".to_vec() };
        assert_eq!(entry_of(Some(&key_of(&entry)), Some(b"told")), Some(entry));
        assert_eq!(entry_of(Some(b"short"), Some(b"told")), None);
        assert_eq!(entry_of(None, None), None);
    }
}
