//! One transaction at a time: begun, filled, shown and committed, or given up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};
use schemas::killpoint::{self, KillPoint};
use schemas::log::{LogError, Position};

use super::super::brokers;
use super::super::clients::{Ears, LogCounts, TELL_EVERY, glance};
use super::super::config::KafkaLogConfig;
use super::super::member::list_of;
use super::super::membership::Seat;
use super::{Pending, PublisherOptions};
use crate::source::counter::Seldom;

/// How long one call may wait; it is repeated.
const CALL: Duration = Duration::from_secs(5);
/// How long a full queue is waited for before the next look.
const ROOM: Duration = Duration::from_millis(20);

/// How a transaction ended.
pub(super) enum Ended {
    /// It is in the log.
    Committed,
    /// Nothing of it is in the log; it may be sent again.
    Aborted,
    /// Nothing of it is in the log: the group has another generation by now.
    Unseated,
    /// The producer is of no use any more, and it is not known what became of it.
    Unknown {
        /// Whether another producer has the name now.
        is_fenced: bool,
        /// What was told.
        what: String,
    },
    /// It can never be sent.
    Refused(LogError),
}

/// Why a step of a transaction failed.
enum Failed {
    Abort(KafkaError),
    Unseated,
    Fatal { is_fenced: bool, what: String },
    Refused(LogError),
}

impl Failed {
    fn of(error: KafkaError) -> Self {
        use Code::{
            FencedInstanceId, IllegalGeneration, InvalidProducerEpoch, ProducerFenced,
            RebalanceInProgress, UnknownMemberId,
        };
        let code = error.rdkafka_error_code().unwrap_or(Code::Fail);
        let is_fatal = match &error {
            KafkaError::Transaction(told) => told.is_fatal(),
            _ => code == Code::Fatal,
        };
        match code {
            _ if is_fatal => {
                let fences = [Code::Fenced, ProducerFenced, InvalidProducerEpoch];
                Self::Fatal { is_fenced: fences.contains(&code), what: error.to_string() }
            }
            FencedInstanceId | IllegalGeneration | RebalanceInProgress | UnknownMemberId => {
                Self::Unseated
            }
            _ => Self::Abort(error),
        }
    }
}

/// The producer of a writer.
pub(super) struct Transactions {
    id: String,
    producer: BaseProducer<Ears>,
    told: Seldom,
}

impl Transactions {
    /// A producer whose name is its own from here on.
    pub(super) fn open(
        config: &KafkaLogConfig,
        id: &str,
        counts: &Arc<LogCounts>,
    ) -> Result<Self, LogError> {
        let mut told = Seldom::new(TELL_EVERY);
        let producer = producer(config, id, counts, &mut told)?;
        Ok(Self { id: id.to_owned(), producer, told })
    }

    /// Another producer in the place of one that is of no use any more. What that one had open is
    /// ended when this returns.
    pub(super) fn renew(&mut self, options: &PublisherOptions) -> Result<(), LogError> {
        self.producer = producer(&options.config, &self.id, &options.counts, &mut self.told)?;
        Ok(())
    }

    /// Sends one transaction.
    pub(super) fn run(
        &mut self,
        options: &PublisherOptions,
        pending: &Pending,
        seat: &Seat,
    ) -> Ended {
        let failed = match self.attempt(options, pending, seat) {
            Ok(()) => return Ended::Committed,
            Err(failed) => failed,
        };
        match failed {
            Failed::Fatal { is_fenced, what } => return Ended::Unknown { is_fenced, what },
            Failed::Abort(ref error) => {
                if let Some(kept_back) = self.told.now() {
                    let id = &self.id;
                    tracing::warn!(id, %error, kept_back, "transaction given up, sent again");
                }
            }
            Failed::Unseated | Failed::Refused(_) => {}
        }
        if let Err(Failed::Fatal { is_fenced, what }) = self.repeat(|p| p.abort_transaction(CALL)) {
            return Ended::Unknown { is_fenced, what };
        }
        match failed {
            Failed::Refused(error) => Ended::Refused(error),
            Failed::Unseated => Ended::Unseated,
            Failed::Abort(_) | Failed::Fatal { .. } => Ended::Aborted,
        }
    }

    fn attempt(
        &mut self,
        options: &PublisherOptions,
        pending: &Pending,
        seat: &Seat,
    ) -> Result<(), Failed> {
        let config = &options.config;
        self.producer.begin_transaction().map_err(Failed::of)?;
        for (partition, payload) in &pending.batches {
            self.produce(&config.events_topic, *partition, &[], payload)?;
        }
        for (key, position) in &pending.positions {
            let share = options.shares.of_key(key);
            let value = value_of(position)?;
            self.produce(&config.sources_topic, share, key.as_bytes(), &value)?;
        }
        for (key, value) in &pending.control {
            self.produce(&config.control_topic, 0, key.as_bytes(), value)?;
        }
        // Some of it is at the brokers, and some may not be.
        killpoint::reach(KillPoint::LogAppend);
        // Whoever owns our shares next must find all of this, or we must not get past the next step.
        self.deliver();
        let shown = seat.owned.iter().next().copied();
        let mut offsets = list_of(&options.group_topic, shown, Offset::Offset(0));
        if shown.is_none() {
            // Somebody without a share, such as a listener alone, shows the seat all the same.
            offsets = list_of(&options.group_topic, [0], Offset::Offset(0));
        }
        self.publish_offsets(pending, options, &mut offsets);
        self.repeat(|p| p.send_offsets_to_transaction(&offsets, &seat.metadata, CALL))?;
        killpoint::reach(KillPoint::LogAppend);
        self.repeat(|producer| producer.commit_transaction(CALL))?;
        killpoint::reach(KillPoint::LogAppend);
        Ok(())
    }

    /// Waits until every message is at the brokers, or has failed. (A flush of `rdkafka` looks ten times
    /// a second.)
    fn deliver(&mut self) {
        let since = Instant::now();
        while self.producer.in_flight_count() > 0 {
            glance(&self.producer);
            if since.elapsed() > CALL
                && let Some(kept_back) = self.told.now()
            {
                let (id, waiting) = (&self.id, self.producer.in_flight_count());
                tracing::warn!(
                    id,
                    waiting,
                    kept_back,
                    "brokers do not take messages, sources wait"
                );
            }
        }
    }

    /// How far topics of the same brokers were read, for tools that show how far a group is behind.
    fn publish_offsets(
        &self,
        pending: &Pending,
        options: &PublisherOptions,
        offsets: &mut TopicPartitionList,
    ) {
        for (key, position) in &pending.positions {
            let Some((topic, partition)) = options.shares.published(key) else { continue };
            let offset = i64::try_from(position.next_offset).unwrap_or(i64::MAX);
            let _ = offsets.add_partition_offset(topic, partition, Offset::Offset(offset));
        }
    }

    /// Hands a message over. A full queue is waited for.
    fn produce(
        &self,
        topic: &str,
        partition: u32,
        key: &[u8],
        payload: &[u8],
    ) -> Result<(), Failed> {
        let partition = i32::try_from(partition).unwrap_or(i32::MAX);
        let mut record = BaseRecord::<[u8], [u8]>::to(topic).partition(partition);
        // No bytes under a key take it back.
        if !payload.is_empty() || key.is_empty() {
            record = record.payload(payload);
        }
        if !key.is_empty() {
            record = record.key(key);
        }
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((error, returned)) => match error.rdkafka_error_code() {
                    Some(Code::QueueFull) => {
                        self.producer.poll(ROOM);
                        record = returned;
                    }
                    Some(Code::MessageSizeTooLarge) => {
                        let bytes = payload.len();
                        let what = format!(
                            "a message of {bytes} bytes is too long; raise [kafka] \
                             message_bytes_max and max.message.bytes of the topic"
                        );
                        let topic = topic.to_owned();
                        return Err(Failed::Refused(LogError::Topic { topic, what }));
                    }
                    _ => return Err(Failed::of(error)),
                },
            }
        }
    }

    /// Calls until it is done, or will never be. Nothing is given up for time: the brokers do that.
    fn repeat(
        &mut self,
        call: impl Fn(&BaseProducer<Ears>) -> Result<(), KafkaError>,
    ) -> Result<(), Failed> {
        loop {
            let Err(error) = call(&self.producer) else { return Ok(()) };
            let may_repeat = match &error {
                KafkaError::Transaction(told) => told.is_retriable() && !told.txn_requires_abort(),
                _ => false,
            };
            if !may_repeat {
                return Err(Failed::of(error));
            }
            if let Some(kept_back) = self.told.now() {
                let id = &self.id;
                tracing::warn!(id, %error, kept_back, "brokers do not answer, sources wait");
            }
        }
    }
}

fn value_of(position: &Position) -> Result<Vec<u8>, Failed> {
    postcard::to_stdvec(position).map_err(|error| {
        let what = format!("a position cannot be written: {error}");
        Failed::Refused(LogError::Topic { topic: "sources".to_owned(), what })
    })
}

/// A producer that has fenced whoever had the name before.
fn producer(
    config: &KafkaLogConfig,
    id: &str,
    counts: &Arc<LogCounts>,
    told: &mut Seldom,
) -> Result<BaseProducer<Ears>, LogError> {
    let failed = |error: &dyn std::fmt::Display| brokers(config, error);
    let client = config.producer(id).map_err(|error| failed(&error))?;
    let producer: BaseProducer<Ears> = client
        .create_with_context(Ears::new(Arc::clone(counts)))
        .map_err(|error| failed(&error))?;
    loop {
        let Err(error) = producer.init_transactions(CALL) else { return Ok(producer) };
        let may_repeat = matches!(&error, KafkaError::Transaction(told) if told.is_retriable() && !told.is_fatal());
        // What went wrong comes to our ears in a poll.
        glance(&producer);
        if let Some(refused) = producer.context().refused() {
            return Err(failed(&refused));
        }
        if !may_repeat {
            let what = format!("no transactions under the name {id}: {error}");
            return Err(failed(&what));
        }
        if let Some(kept_back) = told.now() {
            tracing::warn!(id, %error, kept_back, "no transactions yet, trying on");
        }
    }
}
