//! Feeds: what live sources count, as values of metrics.

use std::sync::Arc;

use ingest::source::bmp_listener::BmpListenerCounts;
use ingest::source::counter::Counter;
use ingest::source::folder::FolderCounts;
use ingest::source::kafka::KafkaCounts;
use ingest::source::prometheus::PrometheusCounts;
use ingest::source::ris_live::RisLiveCounts;

use super::{Values, shown};

/// The counts of one feed.
#[derive(Clone, Debug)]
pub enum FeedCounts {
    /// Routers.
    Bmp(Arc<BmpListenerCounts>),
    /// Files.
    Folder(Arc<FolderCounts>),
    /// Topics.
    Kafka(Arc<KafkaCounts>),
    /// Pages of exporters.
    Prometheus(Arc<PrometheusCounts>),
    /// RIPE's websocket.
    RisLive(Arc<RisLiveCounts>),
}

/// Kinds of feeds.
pub struct Feed;

impl Feed {
    /// A feed of each kind that has counted nothing.
    pub const ALL: [fn() -> FeedCounts; 5] = [
        || FeedCounts::Bmp(Arc::default()),
        || FeedCounts::Folder(Arc::default()),
        || FeedCounts::Kafka(Arc::default()),
        || FeedCounts::Prometheus(Arc::default()),
        || FeedCounts::RisLive(Arc::default()),
    ];
}

impl FeedCounts {
    /// Values of one metric.
    pub(super) fn values(&self, metric: &str, input: &str) -> Values {
        let one = |count: Option<&Counter>| -> Values {
            count.map(|count| (vec![input.to_owned()], shown(count))).into_iter().collect()
        };
        match metric {
            "peerscope_ingest_messages" => one(self.messages()),
            "peerscope_ingest_bytes" => one(Some(self.bytes())),
            "peerscope_ingest_sessions" => one(self.sessions()),
            "peerscope_ingest_sessions_opened" => one(self.opened()),
            "peerscope_kafka_lag_messages" => match self {
                Self::Kafka(counts) => one(Some(&counts.lag)),
                _ => Values::new(),
            },
            "peerscope_ingest_feed_errors" => {
                let errors = self.errors().into_iter();
                let labels = |reason: &str| vec![input.to_owned(), reason.to_owned()];
                errors.map(|(reason, count)| (labels(reason), shown(count))).collect()
            }
            _ => Values::new(),
        }
    }

    fn messages(&self) -> Option<&Counter> {
        match self {
            Self::Bmp(counts) => Some(&counts.messages),
            Self::Folder(counts) => Some(&counts.done),
            Self::Kafka(counts) => Some(&counts.messages),
            Self::Prometheus(counts) => Some(&counts.pages),
            Self::RisLive(counts) => Some(&counts.messages),
        }
    }

    fn bytes(&self) -> &Counter {
        match self {
            Self::Bmp(counts) => &counts.bytes,
            Self::Folder(counts) => &counts.bytes,
            Self::Kafka(counts) => &counts.bytes,
            Self::Prometheus(counts) => &counts.bytes,
            Self::RisLive(counts) => &counts.bytes,
        }
    }

    fn sessions(&self) -> Option<&Counter> {
        match self {
            Self::Bmp(counts) => Some(&counts.sessions),
            Self::Folder(counts) => Some(&counts.tails),
            Self::Kafka(counts) => Some(&counts.partitions),
            Self::Prometheus(_) => None,
            Self::RisLive(counts) => Some(&counts.is_up),
        }
    }

    fn opened(&self) -> Option<&Counter> {
        match self {
            Self::Bmp(counts) => Some(&counts.opened),
            Self::Folder(counts) => Some(&counts.opened),
            Self::Kafka(_) | Self::Prometheus(_) => None,
            Self::RisLive(counts) => Some(&counts.opened),
        }
    }

    fn errors(&self) -> Vec<(&'static str, &Counter)> {
        match self {
            Self::Bmp(counts) => vec![
                ("address", &counts.refused_address),
                ("sessions_max", &counts.refused_sessions),
                ("tls", &counts.refused_tls),
                ("accept", &counts.accept_failed),
                ("broken", &counts.broken),
                ("unframed", &counts.unframed),
                ("stalled", &counts.stalled),
                ("idle", &counts.idle),
            ],
            Self::Folder(counts) => vec![
                ("damaged", &counts.damaged),
                ("open", &counts.open_failed),
                ("look", &counts.look_failed),
                ("replaced", &counts.replaced),
            ],
            Self::Kafka(counts) => vec![
                ("too_long", &counts.too_long),
                ("topic_vanished", &counts.vanished),
                ("out_of_range", &counts.out_of_range),
                ("brokers_down", &counts.brokers_down),
                ("login", &counts.refused_login),
                ("look", &counts.look_failed),
                ("client", &counts.errors),
            ],
            Self::Prometheus(counts) => vec![
                ("page", &counts.failed),
                ("too_long", &counts.too_long),
                ("histogram", &counts.histograms),
            ],
            Self::RisLive(counts) => vec![
                ("dial", &counts.dial_failed),
                ("silent", &counts.silent),
                ("refused", &counts.refused),
                ("server", &counts.server_errors),
            ],
        }
    }
}
