//! The client: its settings, and what librdkafka tells us beside messages.

use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::statistics::{Partition, Statistics};

use super::config::KafkaTopics;
use super::{KafkaCounts, KafkaSourceError, TELL_EVERY};
use crate::kafka::access::AccessError;
use crate::source::counter::Seldom;

/// How often librdkafka reports, and so how often a partition that is caught up is told.
const REPORT_MILLIS: &str = "1000";

/// What was heard between two polls.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Partitions of which everything was handed on.
    pub(super) caught_up: Vec<(String, i32)>,
    /// Some position is not one that the broker has.
    pub(super) out_of_range: bool,
    /// Some topic is not known to the broker.
    pub(super) topic_unknown: bool,
}

/// Ears for what librdkafka tells beside messages. It tells inside of `poll`, so on one thread; the
/// locks are never waited for.
pub(super) struct Ears {
    counts: Arc<KafkaCounts>,
    heard: Mutex<Heard>,
    told: Mutex<Seldom>,
}

impl Ears {
    /// What was heard since it was last asked for.
    pub(super) fn take(&self) -> Heard {
        std::mem::take(&mut self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn hear(&self, change: impl FnOnce(&mut Heard)) {
        change(&mut self.heard.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl ConsumerContext for Ears {}

impl ClientContext for Ears {
    /// Its own lines are many while a broker is down; what matters comes as an error too.
    fn log(&self, _: RDKafkaLogLevel, facility: &str, text: &str) {
        tracing::debug!(facility, text, "kafka client");
    }

    fn stats(&self, statistics: Statistics) {
        let is_up = statistics.brokers.values().any(|broker| broker.state == "UP");
        let mut caught_up = Vec::new();
        let mut lag = 0;
        for (topic, statistics) in statistics.topics {
            for (number, partition) in statistics.partitions {
                lag += u64::try_from(partition.consumer_lag).unwrap_or_default();
                if number >= 0 && is_up && is_caught_up(&partition) {
                    caught_up.push((topic.clone(), number));
                }
            }
        }
        self.counts.lag.set(lag);
        self.hear(|heard| heard.caught_up = caught_up);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let Some(code) = error.rdkafka_error_code() else { return };
        match code {
            Code::PartitionEOF | Code::BrokerTransportFailure => return,
            Code::AllBrokersDown => self.counts.brokers_down.one(),
            Code::Authentication | Code::SaslAuthenticationFailed => {
                self.counts.refused_login.one()
            }
            Code::AutoOffsetReset | Code::OffsetOutOfRange => {
                self.hear(|heard| heard.out_of_range = true);
                return;
            }
            Code::UnknownTopic
            | Code::UnknownTopicId
            | Code::UnknownTopicOrPartition
            | Code::UnknownPartition => {
                self.hear(|heard| heard.topic_unknown = true);
                return;
            }
            _ => self.counts.errors.one(),
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept_back) = told.now() {
            tracing::error!(%code, reason, kept_back, "kafka trouble, trying on");
        }
    }
}

/// Whether all that the broker had was fetched and handed on. Control messages of transactions have
/// offsets and are never handed on, so our own position would not do.
fn is_caught_up(partition: &Partition) -> bool {
    partition.fetch_state == "active"
        && partition.fetchq_cnt == 0
        && partition.ls_offset >= 0
        && partition.next_offset >= partition.ls_offset
}

/// A client with our settings.
pub(super) fn consumer(
    config: &KafkaTopics,
    counts: &Arc<KafkaCounts>,
) -> Result<BaseConsumer<Ears>, KafkaSourceError> {
    let bytes_max = config.message_bytes_max.to_string();
    let queued_kbytes_max = config.queued_kbytes_max.to_string();
    let mut client = ClientConfig::new();
    client
        // A consumer must name a group; it never joins it.
        .set("group.id", "peerscope")
        .set("client.id", "peerscope")
        // The default of one second shows as gaps of one second.
        .set("fetch.queue.backoff.ms", "20")
        .set("fetch.message.max.bytes", bytes_max)
        .set("check.crcs", "true");
    config.access().apply(&mut client)?;
    client
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("queued.max.messages.kbytes", queued_kbytes_max)
        .set("statistics.interval.ms", REPORT_MILLIS);
    let ears = Ears {
        counts: Arc::clone(counts),
        heard: Mutex::default(),
        told: Mutex::new(Seldom::new(TELL_EVERY)),
    };
    Ok(client.create_with_context(ears).map_err(AccessError::from)?)
}
