//! What clients of the log count, and what librdkafka tells them beside messages.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseProducer, DeliveryResult, NoCustomPartitioner, ProducerContext};

use crate::source::counter::{Counter, Seldom};

/// How often the same trouble is told.
pub(super) const TELL_EVERY: Duration = Duration::from_secs(10);

/// How long to wait for deliveries before the next look.
const GLANCE: Duration = Duration::from_micros(250);

/// Hears what was delivered, after a moment. (A poll of `rdkafka` that may wait looks at the clock over
/// and over in its last millisecond: a core is busy with waiting.)
pub(super) fn glance<C: ProducerContext<NoCustomPartitioner>>(producer: &BaseProducer<C>) {
    std::thread::sleep(GLANCE);
    producer.poll(Duration::ZERO);
}

/// What the log over Kafka counts, in the whole process.
#[derive(Debug, Default)]
pub struct LogCounts {
    /// Transactions that were committed.
    pub transactions: Counter,
    /// Transactions that were given up and sent again.
    pub aborted: Counter,
    /// Batches appended.
    pub batches: Counter,
    /// Their bytes before compression.
    pub bytes: Counter,
    /// Batches that were cut to fit into a message.
    pub cut: Counter,
    /// Batches read.
    pub batches_read: Counter,
    /// Their bytes.
    pub bytes_read: Counter,
    /// Messages that wait at the brokers for the folds of this process, by the last report.
    pub lag: Counter,
    /// Partitions whose fold is in this process.
    pub partitions: Counter,
    /// Times that partitions came or went.
    pub rebalances: Counter,
    /// Messages that are no batch.
    pub quarantined: Counter,
    /// Messages that the brokers had deleted before they were read.
    pub overtaken: Counter,
    /// Partitions asked for anew because nothing came of them.
    pub stalled: Counter,
    /// Times that a fold took nothing for too long.
    pub fold_stalled: Counter,
    /// Times that no broker could be reached.
    pub brokers_down: Counter,
    /// Times that a broker refused our name or password.
    pub refused_login: Counter,
    /// Other errors of clients.
    pub errors: Counter,
}

/// Ears of a client that is asked, or that writes.
pub(super) struct Ears {
    counts: Arc<LogCounts>,
    refused: Mutex<Option<String>>,
    told: Mutex<Seldom>,
}

impl Default for Ears {
    fn default() -> Self {
        Self::new(Arc::default())
    }
}

impl Ears {
    pub(super) const fn new(counts: Arc<LogCounts>) -> Self {
        let told = Mutex::new(Seldom::new(TELL_EVERY));
        Self { counts, refused: Mutex::new(None), told }
    }

    /// Why a broker refuses us, if one did.
    pub(super) fn refused(&self) -> Option<String> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Hears an error of a client.
    pub(super) fn trouble(&self, error: &KafkaError, reason: &str) {
        let Some(code) = error.rdkafka_error_code() else { return };
        match code {
            Code::PartitionEOF | Code::BrokerTransportFailure => return,
            Code::AllBrokersDown => self.counts.brokers_down.one(),
            Code::Authentication | Code::SaslAuthenticationFailed => {
                self.counts.refused_login.one();
                let words = format!("{reason}; check sasl_mechanism, username and password_file");
                *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(words);
            }
            Code::SSL => {
                let words = format!("{reason}; check ssl_ca, ssl_certificate and ssl_key");
                *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(words);
            }
            _ => self.counts.errors.one(),
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept_back) = told.now() {
            tracing::error!(%code, reason, kept_back, "kafka trouble, trying on");
        }
    }
}

impl ClientContext for Ears {
    /// Its own lines are many while a broker is down; what matters comes as an error too.
    fn log(&self, _: RDKafkaLogLevel, facility: &str, text: &str) {
        tracing::debug!(facility, text, "kafka client");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.trouble(&error, reason);
    }
}

impl ConsumerContext for Ears {}

impl ProducerContext for Ears {
    type DeliveryOpaque = ();

    /// A message that fails fails its transaction, which says so.
    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}
