//! What tests against a real Kafka share: a broker of their own, started by `deploy/kafka/kafka`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use futures::executor::block_on;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use crate::source::testing::has;

/// Brokers that were started by this process.
static STARTED: AtomicU16 = AtomicU16::new(0);

/// A broker, or three.
pub(crate) struct Broker {
    pub(crate) folder: PathBuf,
    pub(crate) port: u16,
    brokers: u16,
    /// Gone at the end, if it is our own.
    own: Option<tempfile::TempDir>,
}

impl Broker {
    /// One of our own.
    pub(crate) fn start() -> Option<Self> {
        Self::start_many(1)
    }

    /// So many of our own.
    pub(crate) fn start_many(brokers: u16) -> Option<Self> {
        let install = "apt-get install -y openjdk-17-jre-headless maven openssl";
        let tools = [("java", "-version"), ("mvn", "-version"), ("openssl", "version")];
        if !tools.iter().all(|(tool, probe)| has(tool, &[probe], install)) {
            return None;
        }
        // Ten ports each; what the system gives away by itself lies above.
        let pid = u16::try_from(std::process::id() % 900).unwrap();
        let port = 20_000 + (pid + 7 * STARTED.fetch_add(1, Ordering::Relaxed)) * 10;
        let own = tempfile::tempdir().unwrap();
        let broker = Self { folder: own.path().to_owned(), port, brokers, own: Some(own) };
        broker.script(&["up", &brokers.to_string()]);
        Some(broker)
    }

    /// The one in `KAFKA_DIR`, if `deploy/kafka/kafka up` was called there, else one of our own. Topics
    /// of earlier tests may be in it.
    pub(crate) fn any() -> Option<Self> {
        let folder = std::env::var_os("KAFKA_DIR").map(PathBuf::from);
        match folder.filter(|folder| folder.join("env").exists()) {
            Some(folder) => {
                let port = std::env::var("KAFKA_PORT").map_or(19_092, |port| port.parse().unwrap());
                Some(Self { folder, port, brokers: 1, own: None })
            }
            None => Self::start(),
        }
    }

    pub(crate) fn script(&self, arguments: &[&str]) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kafka/kafka");
        let done = Command::new(script)
            .args(arguments)
            .env("KAFKA_DIR", &self.folder)
            .env("KAFKA_PORT", self.port.to_string())
            .env("KAFKA_HEAP", "256m")
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        assert!(done.status.success(), "{arguments:?} {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Addresses of all of them.
    pub(crate) fn addresses(&self) -> Vec<String> {
        (0..self.brokers).map(|number| format!("127.0.0.1:{}", self.port + 10 * number)).collect()
    }

    pub(crate) fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", self.addresses().join(","));
        client
    }

    pub(crate) fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().unwrap()
    }

    pub(crate) fn create(&self, topic: &str, partitions: i32) {
        let topic = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let made = block_on(self.admin().create_topics([&topic], &AdminOptions::new())).unwrap();
        made.into_iter().for_each(|made| drop(made.unwrap()));
    }

    pub(crate) fn delete(&self, topic: &str) {
        let gone = block_on(self.admin().delete_topics(&[topic], &AdminOptions::new())).unwrap();
        gone.into_iter().for_each(|gone| drop(gone.unwrap()));
    }

    /// Produces the numbers of a range as texts.
    pub(crate) fn produce(&self, topic: &str, partition: i32, numbers: std::ops::Range<u32>) {
        let producer: BaseProducer = self.client().create().unwrap();
        for number in numbers {
            let payload = number.to_string();
            let record = BaseRecord::<(), str>::to(topic).partition(partition).payload(&payload);
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(Duration::from_secs(30)).unwrap();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if self.own.is_some() {
            self.script(&["down"]);
        }
    }
}
