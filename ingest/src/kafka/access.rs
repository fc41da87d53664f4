//! Access: how the brokers of a cluster are reached, and what a client must not be told otherwise.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use serde::Deserialize;

/// Settings of librdkafka that are ours: another value would lose or repeat messages, or show a
/// secret.
const OURS: [&str; 25] = [
    "acks",
    "auto.offset.reset",
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "group.instance.id",
    "isolation.level",
    "message.max.bytes",
    "partition.assignment.strategy",
    "queued.max.messages.kbytes",
    "request.required.acks",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.password",
    "sasl.username",
    "security.protocol",
    "session.timeout.ms",
    "ssl.key.location",
    "ssl.key.password",
    "statistics.interval.ms",
    "transaction.timeout.ms",
    "transactional.id",
];

/// Why there is no client. One variant per remedy.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A password that cannot be read.
    #[error("{path}: {error}", path = path.display())]
    PasswordFile {
        /// Its file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Settings that librdkafka refuses.
    #[error("kafka client: {0}")]
    Client(#[from] KafkaError),
}

/// How the brokers are spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecurityProtocol {
    /// In clear, without a name.
    #[default]
    Plaintext,
    /// TLS.
    Ssl,
    /// In clear, with a name.
    SaslPlaintext,
    /// TLS, with a name.
    SaslSsl,
}

impl SecurityProtocol {
    /// Kafka's word.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::Ssl => "ssl",
            Self::SaslPlaintext => "sasl_plaintext",
            Self::SaslSsl => "sasl_ssl",
        }
    }

    const fn has_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }

    /// Whether TLS is spoken.
    pub(crate) const fn has_tls(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }
}

/// How a cluster is reached. The keys stand in `[kafka]` and in `[source.NAME]` alike.
#[derive(Clone, Debug, Default)]
pub struct KafkaAccess {
    /// Brokers to ask first, `host:port`.
    pub brokers: Vec<String>,
    /// How they are spoken to.
    pub security_protocol: SecurityProtocol,
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub sasl_mechanism: Option<String>,
    /// SASL user.
    pub username: Option<String>,
    /// File of the SASL password.
    pub password_file: Option<PathBuf>,
    /// Roots of the brokers' certificates.
    pub ssl_ca: Option<PathBuf>,
    /// Our certificate, for brokers that ask for one.
    pub ssl_certificate: Option<PathBuf>,
    /// Its key.
    pub ssl_key: Option<PathBuf>,
    /// Other settings of librdkafka.
    pub settings: BTreeMap<String, String>,
}

impl KafkaAccess {
    /// What is wrong with the values, if anything.
    ///
    /// # Errors
    /// The problem in words.
    pub fn check(&self) -> Result<(), String> {
        let has_name = self.username.is_some() || self.password_file.is_some();
        let has_sasl = self.sasl_mechanism.is_some() && self.password_file.is_some();
        let protocol = self.security_protocol;
        let names_files = self.ssl_certificate.is_some() || self.ssl_key.is_some();
        if self.brokers.is_empty() {
            Err("brokers is empty; give [\"host:9092\"]".to_owned())
        } else if protocol.has_sasl() && (self.username.is_none() || !has_sasl) {
            Err("sasl needs sasl_mechanism, username and password_file".to_owned())
        } else if has_name && !protocol.has_sasl() {
            Err("username and password_file need security_protocol = \"sasl_ssl\"".to_owned())
        } else if self.ssl_certificate.is_some() != self.ssl_key.is_some() {
            Err("ssl_certificate and ssl_key go together".to_owned())
        } else if names_files && !protocol.has_tls() {
            Err("ssl_certificate and ssl_key need security_protocol = \"ssl\" or \"sasl_ssl\""
                .to_owned())
        } else if let Some(ours) = self.settings.keys().find(|key| OURS.contains(&key.as_str())) {
            Err(format!("settings: {ours} is not free; the other keys cover it"))
        } else if let Some(broker) = self.brokers.iter().find(|broker| !is_address(broker)) {
            Err(format!("brokers: {broker:?} is not host:port, with a port from 1 to 65535"))
        } else {
            self.settings.iter().try_for_each(is_setting)
        }
    }

    /// Puts it into the settings of a client; what is there already gives way to `settings`.
    ///
    /// # Errors
    /// [`AccessError::PasswordFile`] if the password cannot be read.
    pub fn apply(&self, client: &mut ClientConfig) -> Result<(), AccessError> {
        for (key, value) in &self.settings {
            client.set(key, value);
        }
        client
            .set("bootstrap.servers", self.brokers.join(","))
            .set("security.protocol", self.security_protocol.as_str());
        if let Some(mechanism) = &self.sasl_mechanism {
            client.set("sasl.mechanism", mechanism);
        }
        if let Some(username) = &self.username {
            client.set("sasl.username", username);
        }
        if let Some(path) = &self.password_file {
            let unreadable = |error| AccessError::PasswordFile { path: path.clone(), error };
            let password = std::fs::read_to_string(path).map_err(unreadable)?;
            client.set("sasl.password", password.trim_end_matches(['\r', '\n']));
        }
        let files = [
            ("ssl.ca.location", &self.ssl_ca),
            ("ssl.certificate.location", &self.ssl_certificate),
            ("ssl.key.location", &self.ssl_key),
        ];
        for (key, path) in files {
            if let Some(path) = path {
                client.set(key, path.to_string_lossy());
            }
        }
        Ok(())
    }
}

/// Whether a broker can be asked there: Kafka's own port goes without saying.
fn is_address(broker: &str) -> bool {
    let (host, port) = match broker.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port),
        _ => (broker, "9092"),
    };
    !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Whether librdkafka knows a setting and takes its value.
fn is_setting((key, value): (&String, &String)) -> Result<(), String> {
    let mut client = ClientConfig::new();
    let made = client.set(key, value).create_native_config();
    made.map(drop).map_err(|error| match error {
        KafkaError::ClientConfig(_, what, ..) => format!("settings: {what}"),
        other => format!("settings: {key}: {other}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_told_before_anything_is_asked() {
        let with =
            |broker: &str| KafkaAccess { brokers: vec![broker.to_owned()], ..Default::default() };
        for broker in ["kafka", "kafka:9092", "[::1]:9092", "::1"] {
            assert_eq!(with(broker).check(), Ok(()), "{broker}");
        }
        for broker in ["kafka:295000", ":9092", "kafka:0", "kafka:port"] {
            assert!(with(broker).check().unwrap_err().contains("host:port"), "{broker}");
        }
        for (key, value) in [("socket.nagel", "true"), ("socket.timeout.ms", "soon")] {
            let mut access = with("kafka:9092");
            access.settings.insert(key.to_owned(), value.to_owned());
            let told = access.check().unwrap_err();
            assert!(told.contains(key), "{told}");
        }
    }

    #[test]
    fn what_would_lose_messages_or_show_a_secret_is_refused() {
        let good = KafkaAccess { brokers: vec!["127.0.0.1:9092".to_owned()], ..Default::default() };
        assert_eq!(good.check(), Ok(()));
        let refuse = |change: &dyn Fn(&mut KafkaAccess)| {
            let mut access = good.clone();
            change(&mut access);
            access.check().unwrap_err()
        };
        assert!(refuse(&|access| access.brokers.clear()).contains("brokers"));
        for ours in OURS {
            let set = |access: &mut KafkaAccess| {
                access.settings.insert(ours.to_owned(), "x".to_owned());
            };
            assert!(refuse(&set).contains(ours));
        }
        assert!(refuse(&|a| a.security_protocol = SecurityProtocol::SaslSsl).contains("sasl"));
        assert!(refuse(&|a| a.username = Some("a".to_owned())).contains("sasl_ssl"));
        assert!(refuse(&|a| a.ssl_key = Some("key.pem".into())).contains("go together"));
        let in_clear = |access: &mut KafkaAccess| {
            access.ssl_key = Some("key.pem".into());
            access.ssl_certificate = Some("cert.pem".into());
        };
        assert!(refuse(&in_clear).contains("ssl"));
    }
}
