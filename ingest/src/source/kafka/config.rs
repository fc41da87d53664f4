//! `[source.NAME]` with `kind = "kafka"`: the keys, and what a RouteViews topic says by its name.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::kafka::access::{KafkaAccess, SecurityProtocol};
use crate::source::bmp_listener::VrfRule;

/// `kind = "kafka"`: topics of OpenBMP raw messages, or of RTT samples.
///
/// Positions are kept with the rows, never in Kafka: nothing is committed, no group is joined.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KafkaTopics {
    /// Brokers to ask first, `host:port`.
    pub brokers: Vec<String>,
    /// Topics: a name, a name with `*` for any text, or a regular expression that begins with `^`.
    /// New topics that fit are found while running.
    pub topics: Vec<String>,
    /// What the messages are.
    pub format: KafkaFormat,
    /// Where a partition begins that was never read.
    pub start: KafkaStart,
    /// How often new topics and partitions are looked for.
    pub discover_secs: u32,
    /// Partitions read at most; more are counted and told.
    pub partitions_max: u32,
    /// Kilobytes that wait in the client at most, over all partitions.
    pub queued_kbytes_max: u32,
    /// Longest message; of a longer one only so much is handed on, and it is refused and counted.
    pub message_bytes_max: u32,
    /// How the brokers are spoken to.
    pub security_protocol: SecurityProtocol,
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub sasl_mechanism: Option<String>,
    /// SASL user; `$ConnectionString` for Azure Event Hubs.
    pub username: Option<String>,
    /// File that holds the SASL password; a line end at its end does not count.
    pub password_file: Option<PathBuf>,
    /// Roots of the brokers' certificates, PEM; absent: those of the system.
    pub ssl_ca: Option<PathBuf>,
    /// Our certificate, PEM, for brokers that ask for one.
    pub ssl_certificate: Option<PathBuf>,
    /// Its key, PEM.
    pub ssl_key: Option<PathBuf>,
    /// Other settings of librdkafka, as its CONFIGURATION page names them.
    pub settings: BTreeMap<String, String>,
    /// Collector that rows name; absent: by the topic's name where it is RouteViews', else the name
    /// of the source.
    pub collector: Option<String>,
    /// The collector's own AS, removed where a path begins with it. RouteViews puts 6447 there.
    pub collector_asn: Option<u32>,
    /// Address spaces of the routers' VRFs.
    pub vrfs: Vec<VrfRule>,
}

/// What the messages of a topic are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KafkaFormat {
    /// OpenBMP v1.7 `bmp_raw`, or bare BMP.
    #[default]
    Openbmp,
    /// RTT samples in any supported form.
    Rtt,
}

/// Where a partition begins that was never read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KafkaStart {
    /// With the first message after now.
    #[default]
    Latest,
    /// With the oldest message that the broker has.
    Earliest,
}

impl Default for KafkaTopics {
    fn default() -> Self {
        Self {
            brokers: Vec::new(),
            topics: Vec::new(),
            format: KafkaFormat::default(),
            start: KafkaStart::default(),
            discover_secs: 30,
            partitions_max: 4096,
            queued_kbytes_max: 65_536,
            message_bytes_max: 1024 * 1024,
            security_protocol: SecurityProtocol::default(),
            sasl_mechanism: None,
            username: None,
            password_file: None,
            ssl_ca: None,
            ssl_certificate: None,
            ssl_key: None,
            settings: BTreeMap::new(),
            collector: None,
            collector_asn: None,
            vrfs: Vec::new(),
        }
    }
}

impl KafkaTopics {
    /// What is wrong with the values, if anything.
    ///
    /// # Errors
    /// The problem in words.
    pub fn check(&self) -> Result<(), String> {
        self.access().check()?;
        if self.topics.is_empty() {
            Err("topics is empty; give [\"routeviews.*.bmp_raw\"] or the like".to_owned())
        } else if self.discover_secs == 0 {
            Err("discover_secs is 0; leave it out for the default".to_owned())
        } else if self.queued_kbytes_max == 0 || self.queued_kbytes_max > 2_097_151 {
            Err("queued_kbytes_max is between 1 and 2097151".to_owned())
        } else if !(1024..=512 * 1024 * 1024).contains(&self.message_bytes_max) {
            Err("message_bytes_max is between 1024 and 536870912".to_owned())
        } else {
            super::Topics::new(&self.topics).map(|_| ()).map_err(|error| error.to_string())
        }
    }

    /// How the brokers are reached.
    #[must_use]
    pub fn access(&self) -> KafkaAccess {
        KafkaAccess {
            brokers: self.brokers.clone(),
            security_protocol: self.security_protocol,
            sasl_mechanism: self.sasl_mechanism.clone(),
            username: self.username.clone(),
            password_file: self.password_file.clone(),
            ssl_ca: self.ssl_ca.clone(),
            ssl_certificate: self.ssl_certificate.clone(),
            ssl_key: self.ssl_key.clone(),
            settings: self.settings.clone(),
        }
    }

    /// The files that are named, for the caller to make paths absolute.
    pub fn paths_mut(&mut self) -> Vec<&mut PathBuf> {
        let tls = [&mut self.ssl_ca, &mut self.ssl_certificate, &mut self.ssl_key];
        self.password_file.iter_mut().chain(tls.into_iter().flatten()).collect()
    }

    /// The collector of a topic: as it is configured, else by RouteViews' naming.
    #[must_use]
    pub fn collector_of<'a>(&'a self, topic: &'a str) -> Option<&'a str> {
        let named = || RouteViewsTopic::of(topic).map(|topic| topic.collector);
        self.collector.as_deref().or_else(named)
    }
}

/// What `routeviews.COLLECTOR.PEER_ASN.bmp_raw` says; a collector may have several labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteViewsTopic<'a> {
    /// The collector, such as `amsix.ams`.
    pub collector: &'a str,
    /// The AS whose routes the topic has.
    pub peer_asn: u32,
}

impl<'a> RouteViewsTopic<'a> {
    /// Reads a topic's name.
    #[must_use]
    pub fn of(topic: &'a str) -> Option<Self> {
        let inner = topic.strip_prefix("routeviews.")?.strip_suffix(".bmp_raw")?;
        let (collector, peer_asn) = inner.rsplit_once('.')?;
        let peer_asn = peer_asn.parse().ok()?;
        (!collector.is_empty()).then_some(Self { collector, peer_asn })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_routeviews_topic_names_collector_and_peer() {
        let of = |topic| RouteViewsTopic::of(topic).map(|t| (t.collector, t.peer_asn));
        assert_eq!(of("routeviews.amsix.ams.61955.bmp_raw"), Some(("amsix.ams", 61955)));
        assert_eq!(of("routeviews.linx.64500.bmp_raw"), Some(("linx", 64500)));
        for other in ["routeviews.64500.bmp_raw", "openbmp.bmp_raw", "routeviews.linx.x.bmp_raw"] {
            assert_eq!(of(other), None, "{other}");
        }
        let mut config = KafkaTopics::default();
        assert_eq!(config.collector_of("routeviews.linx.64500.bmp_raw"), Some("linx"));
        assert_eq!(config.collector_of("openbmp.bmp_raw"), None);
        config.collector = Some("own".to_owned());
        assert_eq!(config.collector_of("routeviews.linx.64500.bmp_raw"), Some("own"));
    }

    #[test]
    fn what_would_lose_messages_or_show_a_secret_is_refused() {
        let good = KafkaTopics {
            brokers: vec!["127.0.0.1:9092".to_owned()],
            topics: vec!["a".to_owned()],
            ..Default::default()
        };
        assert_eq!(good.check(), Ok(()));
        let refuse = |change: &dyn Fn(&mut KafkaTopics)| {
            let mut config = good.clone();
            change(&mut config);
            config.check().unwrap_err()
        };
        let set = |config: &mut KafkaTopics| {
            config.settings.insert("sasl.password".to_owned(), "x".to_owned());
        };
        assert!(refuse(&set).contains("not free"));
        assert!(refuse(&|config| config.topics = vec!["^(".to_owned()]).contains("^("));
    }
}
