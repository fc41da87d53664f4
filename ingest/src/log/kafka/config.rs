//! `[kafka]`: the keys of the log over Kafka.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rdkafka::ClientConfig;
use serde::Deserialize;

use crate::kafka::access::{AccessError, KafkaAccess, SecurityProtocol};

/// Bytes of a message beside its payload, at most.
const KEY_BYTES: u32 = 32_768;

/// `[kafka]`: with `brokers`, the log is in Kafka instead of on local disk.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KafkaLogConfig {
    /// Brokers to ask first, `host:port`; empty: the log is on local disk.
    pub brokers: Vec<String>,
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
    /// Topic of what was ingested.
    pub events_topic: String,
    /// Topic of what the partitions tell `correlate`.
    pub summaries_topic: String,
    /// Compacted topic of where each input is.
    pub sources_topic: String,
    /// Compacted topic of registry versions.
    pub control_topic: String,
    /// First word of consumer groups and transactional ids.
    pub prefix: String,
    /// Name of this process among those of its role, stable over restarts; absent: `HOSTNAME`, else
    /// the name of the host.
    pub instance: Option<String>,
    /// Partitions of the events topic where it is made.
    pub partitions: u32,
    /// Partitions of the sources topic where it is made: so many processes ingest at most.
    pub source_partitions: u32,
    /// Replicas of topics that are made; absent: as the brokers have it.
    pub replicas: Option<u16>,
    /// How long the brokers keep events and summaries, in topics that are made.
    pub retention_hours: u32,
    /// Least time between two transactions of a process that ingests.
    pub linger_ms: u32,
    /// Longest message; batches are cut below it.
    pub message_bytes_max: u32,
    /// Without a sign of life for this long, a process has lost its partitions.
    pub session_timeout_secs: u32,
    /// A transaction that is open for this long is ended by the brokers.
    pub transaction_timeout_secs: u32,
    /// Kilobytes that wait in a client at most, over all partitions.
    pub queued_kbytes_max: u32,
    /// Bytes of a partition that wait for its fold at most.
    pub waiting_bytes_max: u32,
    /// A partition of which nothing comes for this long, though there is something, is asked for anew.
    pub stall_secs: u32,
}

impl Default for KafkaLogConfig {
    fn default() -> Self {
        Self {
            brokers: Vec::new(),
            security_protocol: SecurityProtocol::default(),
            sasl_mechanism: None,
            username: None,
            password_file: None,
            ssl_ca: None,
            ssl_certificate: None,
            ssl_key: None,
            settings: BTreeMap::new(),
            events_topic: "peerscope.events.v1".to_owned(),
            summaries_topic: "peerscope.summaries.v1".to_owned(),
            sources_topic: "peerscope.sources.v1".to_owned(),
            control_topic: "peerscope.control.v1".to_owned(),
            prefix: "peerscope".to_owned(),
            instance: None,
            partitions: 12,
            source_partitions: 12,
            replicas: None,
            retention_hours: 168,
            linger_ms: 50,
            message_bytes_max: 1_000_000,
            session_timeout_secs: 45,
            transaction_timeout_secs: 60,
            queued_kbytes_max: 65_536,
            waiting_bytes_max: 8 << 20,
            stall_secs: 60,
        }
    }
}

impl KafkaLogConfig {
    /// Whether the log is in Kafka.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        !self.brokers.is_empty()
    }

    /// What is wrong with the values, if anything.
    ///
    /// # Errors
    /// The problem in words.
    pub fn check(&self) -> Result<(), String> {
        if !self.is_on() {
            return Ok(());
        }
        self.access().check()?;
        let topics = self.topics();
        let is_name = |name: &str| {
            let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            (1..=200).contains(&name.len()) && name.chars().all(fits)
        };
        let between = |name: &str, value: u32, min: u32, max: u32| {
            let fits = (min..=max).contains(&value);
            fits.then_some(()).ok_or_else(|| format!("{name} is between {min} and {max}"))
        };
        let instance = self.instance.as_deref().unwrap_or("absent");
        if let Some(bad) =
            topics.into_iter().chain([self.prefix.as_str(), instance]).find(|name| !is_name(name))
        {
            return Err(format!("{bad:?} is no name: letters, digits, dots, _ and -, at most 200"));
        }
        let mut names = topics.to_vec();
        names.sort_unstable();
        names.dedup();
        if names.len() < topics.len() {
            return Err("two of the topics have the same name".to_owned());
        }
        between("partitions", self.partitions, 1, 1024)?;
        between("source_partitions", self.source_partitions, 1, 1024)?;
        between("retention_hours", self.retention_hours, 1, 87_600)?;
        between("linger_ms", self.linger_ms, 1, 10_000)?;
        between("message_bytes_max", self.message_bytes_max, 65_536, 256 << 20)?;
        between("session_timeout_secs", self.session_timeout_secs, 6, 1800)?;
        between("transaction_timeout_secs", self.transaction_timeout_secs, 5, 900)?;
        between("queued_kbytes_max", self.queued_kbytes_max, 1024, 2_097_151)?;
        between("waiting_bytes_max", self.waiting_bytes_max, 65_536, 1 << 30)?;
        between("stall_secs", self.stall_secs, 5, 3600)?;
        if self.replicas == Some(0) { Err("replicas is at least 1".to_owned()) } else { Ok(()) }
    }

    const fn topics(&self) -> [&str; 4] {
        [
            self.events_topic.as_str(),
            self.summaries_topic.as_str(),
            self.sources_topic.as_str(),
            self.control_topic.as_str(),
        ]
    }

    /// The files that are named, for the caller to make paths absolute.
    pub fn paths_mut(&mut self) -> Vec<&mut PathBuf> {
        let tls = [&mut self.ssl_ca, &mut self.ssl_certificate, &mut self.ssl_key];
        self.password_file.iter_mut().chain(tls.into_iter().flatten()).collect()
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

    /// Name of this process among those of its role.
    #[must_use]
    pub fn instance(&self) -> String {
        let named = self.instance.clone().or_else(|| std::env::var("HOSTNAME").ok());
        let host = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
        let name = named.or_else(host).unwrap_or_default();
        let name = name.trim();
        if name.is_empty() { "only".to_owned() } else { name.to_owned() }
    }

    /// Name of a group, or of a transactional id: `PREFIX-ROLE`.
    pub(super) fn name(&self, role: &str) -> String {
        format!("{}-{role}", self.prefix)
    }

    /// Settings that every client of ours has.
    pub(super) fn client(&self) -> Result<ClientConfig, AccessError> {
        let mut client = ClientConfig::new();
        client
            .set("client.id", self.name(&self.instance()))
            // The default of ten seconds makes an outage longer than it is.
            .set("reconnect.backoff.max.ms", "2000");
        self.access().apply(&mut client)?;
        Ok(client)
    }

    /// Settings of a consumer. It reads what was committed, from where we say.
    pub(super) fn consumer(&self, group: &str) -> Result<ClientConfig, AccessError> {
        let mut defaults = ClientConfig::new();
        defaults
            // The default of one second shows as gaps of one second.
            .set("fetch.queue.backoff.ms", "20")
            .set("fetch.wait.max.ms", "100")
            .set("fetch.message.max.bytes", (4 << 20).to_string())
            .set("fetch.max.bytes", (64 << 20).to_string())
            .set("check.crcs", "true");
        let mut client = self.client()?;
        for (key, value) in defaults.config_map() {
            if client.get(key).is_none() {
                client.set(key.to_owned(), value.to_owned());
            }
        }
        client
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            .set("queued.max.messages.kbytes", self.queued_kbytes_max.to_string());
        Ok(client)
    }

    /// Settings of a member of a group, whose name stays over restarts.
    pub(super) fn member(&self, role: &str) -> Result<ClientConfig, AccessError> {
        let mut client = self.consumer(&self.name(role))?;
        let session_ms = u64::from(self.session_timeout_secs) * 1000;
        client
            .set("group.instance.id", self.instance())
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", session_ms.to_string())
            .set("heartbeat.interval.ms", (session_ms / 15).to_string())
            .set("max.poll.interval.ms", (session_ms.max(300_000)).to_string());
        Ok(client)
    }

    /// Settings of a producer that loses, doubles and reorders nothing.
    pub(super) fn teller(&self) -> Result<ClientConfig, AccessError> {
        let mut client = self.client()?;
        if client.get("compression.type").is_none() && client.get("compression.codec").is_none() {
            client.set("compression.type", "zstd");
        }
        client
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("queue.buffering.max.kbytes", "131072")
            .set("message.max.bytes", self.message_bytes_max.saturating_add(KEY_BYTES).to_string());
        Ok(client)
    }

    /// Settings of a producer whose transactions all bear this name.
    pub(super) fn producer(&self, id: &str) -> Result<ClientConfig, AccessError> {
        let mut client = self.teller()?;
        let timeout_ms = u64::from(self.transaction_timeout_secs) * 1000;
        client
            .set("transactional.id", id)
            .set("transaction.timeout.ms", timeout_ms.to_string())
            .set("linger.ms", "0");
        Ok(client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_cannot_be_is_refused_in_words() {
        let good =
            KafkaLogConfig { brokers: vec!["127.0.0.1:9092".to_owned()], ..Default::default() };
        assert_eq!(good.check(), Ok(()));
        assert_eq!(KafkaLogConfig::default().check(), Ok(()), "it is off");
        let refuse = |change: &dyn Fn(&mut KafkaLogConfig)| {
            let mut config = good.clone();
            change(&mut config);
            config.check().unwrap_err()
        };
        assert!(refuse(&|c| c.events_topic = "a b".to_owned()).contains("no name"));
        assert!(refuse(&|c| c.control_topic = c.events_topic.clone()).contains("same name"));
        assert!(refuse(&|c| c.instance = Some(String::new())).contains("no name"));
        assert!(refuse(&|c| c.partitions = 0).contains("partitions is between 1 and 1024"));
        assert!(refuse(&|c| c.replicas = Some(0)).contains("replicas"));
        assert!(refuse(&|c| c.linger_ms = 0).contains("linger_ms"));
        let secret = |c: &mut KafkaLogConfig| {
            c.settings.insert("transactional.id".to_owned(), "x".to_owned());
        };
        assert!(refuse(&secret).contains("transactional.id"));
    }

    #[test]
    fn settings_of_the_operator_go_before_our_defaults_and_never_before_our_rules() {
        let mut config =
            KafkaLogConfig { brokers: vec!["127.0.0.1:9092".to_owned()], ..Default::default() };
        config.settings.insert("fetch.queue.backoff.ms".to_owned(), "7".to_owned());
        config.settings.insert("compression.type".to_owned(), "lz4".to_owned());
        let member = config.member("analyze").unwrap();
        assert_eq!(member.get("fetch.queue.backoff.ms"), Some("7"));
        assert_eq!(member.get("isolation.level"), Some("read_committed"));
        assert_eq!(member.get("group.id"), Some("peerscope-analyze"));
        assert_eq!(config.producer("x").unwrap().get("compression.type"), Some("lz4"));
    }
}
