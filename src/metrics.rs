//! Metrics: what the parts of a running service count, as Prometheus reads it.
//!
//! The parts count by themselves and know nothing of this page; it is made anew for each request. Every
//! metric stands once, in [`METRICS`]: that is its declaration and its line of the reference page.

mod feeds;
mod latency;
mod log;
mod versions;

use std::sync::Arc;

use ingest::live::InputCounts;
use ingest::log::kafka::clients::LogCounts;
use ingest::source::counter::Counter;
use ingest::source::live::wall_clock;
use ingest::source::rtr::RtrCounts;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::http::HttpCounts;
pub use feeds::{Feed, FeedCounts};
pub use latency::LatencyGauges;
pub use versions::VersionCounts;

/// Without a word of the intake for this long, it stands still.
const STALLED_SECS: i64 = 15;

/// What a metric does over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It only grows. Shown with `_total` at its end.
    Counter,
    /// It comes and goes.
    Gauge,
}

/// One metric.
struct Metric {
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    meaning: &'static str,
}

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    meaning: &'static str,
) -> Metric {
    Metric { name, kind: Kind::Counter, labels, meaning }
}

const fn gauge(
    name: &'static str,
    labels: &'static [&'static str],
    meaning: &'static str,
) -> Metric {
    Metric { name, kind: Kind::Gauge, labels, meaning }
}

const METRICS: &[Metric] = &[
    gauge(
        "peerscope_rtt_seconds",
        &["connection", "quantile"],
        "Round trip by quantile (0.5, 0.9, 0.95, 0.99), nearest rank over the samples of all prefixes and sources of the connection in its newest closed window; gone when that is older than 10 minutes or without an answer",
    ),
    gauge(
        "peerscope_rtt_samples",
        &["connection", "outcome"],
        "Probes of that window: answered, lost",
    ),
    gauge("peerscope_rtt_window_end_timestamp_seconds", &["connection"], "End of that window"),
    gauge(
        "peerscope_rtt_connections_omitted",
        &[],
        "Connections that are not shown: [http] metric_connections_max",
    ),
    counter(
        "peerscope_ingest_elements",
        &["input", "format", "outcome"],
        "Route elements and samples (format rtt) by what became of them: accepted, unmatched, quarantined, refused",
    ),
    counter("peerscope_ingest_messages", &["input"], "Messages, files or pages read whole"),
    counter("peerscope_ingest_bytes", &["input"], "Bytes read"),
    gauge(
        "peerscope_ingest_sessions",
        &["input"],
        "Sessions of routers, partitions of topics, followed files: those that are open",
    ),
    counter("peerscope_ingest_sessions_opened", &["input"], "Sessions and files that were opened"),
    counter(
        "peerscope_ingest_feed_errors",
        &["input", "reason"],
        "What went wrong with a feed, by reason; lost messages are rows of feed_gaps too",
    ),
    gauge("peerscope_kafka_lag_messages", &["input"], "Messages that wait at the brokers"),
    counter(
        "peerscope_log_transactions",
        &["outcome"],
        "Transactions of this process, over Kafka: committed, aborted (and sent again)",
    ),
    counter("peerscope_log_batches", &["direction"], "Batches over Kafka: written, read"),
    counter("peerscope_log_bytes", &["direction"], "Their bytes before compression: written, read"),
    gauge(
        "peerscope_log_lag_messages",
        &[],
        "Messages of the log that wait at the brokers for the folds of this process",
    ),
    gauge("peerscope_log_partitions", &[], "Partitions whose fold is in this process"),
    counter("peerscope_log_rebalances", &[], "Times that shares or partitions came or went"),
    counter(
        "peerscope_log_errors",
        &["reason"],
        "What went wrong with the log over Kafka: quarantined (no batch; a row of ledger tells), overtaken (deleted unread; a row of feed_gaps tells), stalled (asked for anew), fold_stalled, brokers_down, login, client",
    ),
    gauge(
        "peerscope_ingest_log_timestamp_seconds",
        &[],
        "Log time of the last append; a service that stands still shows an old one",
    ),
    counter("peerscope_http_requests", &["path", "status"], "Answers by path and status"),
    counter("peerscope_http_body_bytes", &[], "Bytes of bodies, as they were sent"),
    gauge("peerscope_http_sessions", &[], "Sessions of clients that are open"),
    counter(
        "peerscope_http_sessions_refused",
        &["reason"],
        "Sessions of clients that were closed at once: sessions_max, tls, accept",
    ),
    counter(
        "peerscope_config_versions",
        &[],
        "Changed configurations that counted without a restart",
    ),
    counter("peerscope_config_refused", &[], "Changed configurations that were refused"),
    counter(
        "peerscope_reference_refused",
        &["kind"],
        "Changed reference files that were refused: what counted before went on to count",
    ),
    gauge(
        "peerscope_reference_timestamp_seconds",
        &["kind"],
        "When the reference data that count were made, or read where they do not say",
    ),
    gauge("peerscope_rtr_up", &[], "Whether the cache of VRPs answers (0 or 1)"),
    gauge("peerscope_rtr_vrps", &[], "VRPs that the cache told, 0 once they expired"),
    counter("peerscope_rtr_failures", &[], "Connections to the cache of VRPs that failed or ended"),
    gauge("peerscope_build_info", &["version"], "Always 1"),
];

/// Values of one metric: labels in the order in which they are declared, and the value.
pub(crate) type Values = Vec<(Vec<String>, f64)>;

/// Everything that is counted in this process.
#[derive(Debug, Default)]
pub struct Metrics {
    /// The HTTP listener.
    pub http: Arc<HttpCounts>,
    /// What became of what inputs told: name, format, counts.
    pub inputs: Vec<(String, &'static str, Arc<InputCounts>)>,
    /// What feeds count, by the name of the input.
    pub feeds: Vec<(String, FeedCounts)>,
    /// Round trips.
    pub latency: Arc<LatencyGauges>,
    /// Second of log time of the last append.
    pub heartbeat: Arc<Counter>,
    /// Versions of the registry and of the reference data.
    pub versions: Arc<VersionCounts>,
    /// The cache of VRPs, if there is one.
    pub cache: Option<Arc<RtrCounts>>,
    /// The log, where it is in Kafka.
    pub log: Option<Arc<LogCounts>>,
}

impl Metrics {
    /// The page. With a tenant, the round trips of its connections and nothing else.
    #[must_use]
    pub fn text(self: &Arc<Self>, tenant: Option<&str>) -> String {
        let mut registry = Registry::default();
        let tenant = tenant.map(str::to_owned);
        registry.register_collector(Box::new(Page { metrics: Arc::clone(self), tenant }));
        let mut text = String::new();
        // Writing to a text does not fail.
        let _ = text::encode(&mut text, &registry);
        text
    }

    /// For how long the intake has stood still, if it has.
    #[must_use]
    pub fn stalled_secs(&self) -> Option<i64> {
        let last = i64::try_from(self.heartbeat.get()).unwrap_or(i64::MAX);
        let silent = wall_clock().secs().saturating_sub(last);
        (silent > STALLED_SECS).then_some(silent)
    }

    fn values(&self, name: &str, tenant: Option<&str>) -> Values {
        let one = |value: f64| vec![(Vec::new(), value)];
        if name.starts_with("peerscope_rtt_") {
            return self.latency.values(name, tenant, wall_clock());
        }
        if tenant.is_some() {
            return Values::new();
        }
        if name.starts_with("peerscope_log_") {
            return self.log.as_ref().map(|counts| log::values(name, counts)).unwrap_or_default();
        }
        match name {
            "peerscope_ingest_elements" => self.elements(),
            "peerscope_ingest_log_timestamp_seconds" => one(shown(&self.heartbeat)),
            "peerscope_http_requests" => {
                let requests = self.http.requests().into_iter();
                let labels = |path: &str, status: u16| vec![path.to_owned(), status.to_string()];
                requests
                    .map(|((path, status), count)| (labels(path, status), count as f64))
                    .collect()
            }
            "peerscope_http_body_bytes" => one(shown(&self.http.body_bytes)),
            "peerscope_http_sessions" => one(shown(&self.http.sessions)),
            "peerscope_http_sessions_refused" => {
                let refused = [
                    ("sessions_max", &self.http.refused_sessions),
                    ("tls", &self.http.refused_tls),
                    ("accept", &self.http.accept_failed),
                ];
                refused.map(|(reason, count)| (vec![reason.to_owned()], shown(count))).into()
            }
            "peerscope_config_versions" => one(shown(&self.versions.config_versions)),
            "peerscope_config_refused" => one(shown(&self.versions.config_refused)),
            "peerscope_reference_refused" => self.versions.refused_values(),
            "peerscope_reference_timestamp_seconds" => self.versions.date_values(),
            "peerscope_rtr_up" => self.cache.iter().flat_map(|c| one(shown(&c.is_up))).collect(),
            "peerscope_rtr_vrps" => self.cache.iter().flat_map(|c| one(shown(&c.vrps))).collect(),
            "peerscope_rtr_failures" => {
                self.cache.iter().flat_map(|c| one(shown(&c.failed))).collect()
            }
            "peerscope_build_info" => vec![(vec![env!("CARGO_PKG_VERSION").to_owned()], 1.0)],
            feed => {
                let of = |(input, counts): &(String, FeedCounts)| counts.values(feed, input);
                self.feeds.iter().flat_map(of).collect()
            }
        }
    }

    fn elements(&self) -> Values {
        let outcomes = |(input, format, counts): &(String, &'static str, Arc<InputCounts>)| {
            let labels =
                |outcome: &str| vec![input.clone(), (*format).to_owned(), outcome.to_owned()];
            [
                (labels("accepted"), shown(&counts.accepted)),
                (labels("unmatched"), shown(&counts.unmatched)),
                (labels("quarantined"), shown(&counts.quarantined)),
                (labels("refused"), shown(&counts.refused)),
            ]
        };
        self.inputs.iter().flat_map(outcomes).collect()
    }
}

/// A count as Prometheus takes it.
fn shown(count: &Counter) -> f64 {
    count.get() as f64
}

/// What one request is shown.
#[derive(Debug)]
struct Page {
    metrics: Arc<Metrics>,
    tenant: Option<String>,
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        for metric in METRICS {
            let values = self.metrics.values(metric.name, self.tenant.as_deref());
            if values.is_empty() {
                continue;
            }
            let kind = match metric.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
            };
            let mut family = encoder.encode_descriptor(metric.name, metric.meaning, None, kind)?;
            for (values, value) in values {
                let names = metric.labels.iter().map(|name| (*name).to_owned());
                let labels: Vec<(String, String)> = names.zip(values).collect();
                let one = family.encode_family(&labels)?;
                match metric.kind {
                    Kind::Counter => ConstCounter::new(value).encode(one)?,
                    Kind::Gauge => ConstGauge::new(value).encode(one)?,
                }
            }
        }
        Ok(())
    }
}

/// All metrics as Markdown.
#[must_use]
pub fn markdown() -> String {
    let mut page = String::from(
        "# Metrics\n\n`GET /metrics` of a running service (`[http]`, \
         [guide](../guide/rtt.md#metrics)), in OpenMetrics text. Labels come from the configuration and \
         from closed sets: never a prefix, an AS number or a message; those are columns, in the lake.\n\n\
         | metric | type | labels | meaning |\n|---|---|---|---|\n",
    );
    for Metric { name, kind, labels, meaning } in METRICS {
        let (suffix, kind) = match kind {
            Kind::Counter => ("_total", "counter"),
            Kind::Gauge => ("", "gauge"),
        };
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        let labels = labels.join(", ");
        page.push_str(&format!("| `{name}{suffix}` | {kind} | {labels} | {meaning} |\n"));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_the_labels_that_are_declared() {
        let metrics = Metrics {
            inputs: vec![("http".to_owned(), "rtt", Arc::default())],
            feeds: Feed::ALL.map(|feed| ("a".to_owned(), feed())).into(),
            log: Some(Arc::default()),
            ..Metrics::default()
        };
        for metric in METRICS {
            for (labels, _) in metrics.values(metric.name, None) {
                assert_eq!(labels.len(), metric.labels.len(), "{}", metric.name);
            }
        }
        let text = Arc::new(metrics).text(None);
        assert!(text.ends_with("# EOF\n"), "{text}");
        let accepted = r#"{input="http",format="rtt",outcome="accepted"} 0"#;
        assert!(text.contains(&format!("peerscope_ingest_elements_total{accepted}")), "{text}");
        assert!(text.contains("# TYPE peerscope_ingest_elements counter"), "{text}");
        assert!(text.contains("peerscope_build_info{version="), "{text}");
    }

    #[test]
    fn a_metric_is_named_by_the_rules() {
        for Metric { name, kind, labels, .. } in METRICS {
            assert!(name.starts_with("peerscope_") && !name.ends_with("_total"), "{name}");
            assert!(*kind == Kind::Gauge || !name.ends_with("_seconds"), "{name}");
            for word in ["prefix", "asn"] {
                assert!(!labels.contains(&word), "{name}");
            }
        }
    }
}
