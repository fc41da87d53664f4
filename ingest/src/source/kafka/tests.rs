//! The client against a real Kafka of one broker, started by `deploy/kafka/kafka`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::JoinHandle;

use futures::executor::block_on;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use tokio::runtime::Runtime;

use super::*;
use crate::source::testing::{Ear, Heard, has};

const LINX: &str = "routeviews.linx.64500.bmp_raw";
const AMSIX: &str = "routeviews.amsix.ams.61955.bmp_raw";

/// A broker of our own, gone at the end.
struct Broker {
    folder: tempfile::TempDir,
    port: u16,
}

impl Broker {
    fn start() -> Option<Self> {
        let install = "apt-get install -y openjdk-17-jre-headless maven openssl";
        let tools = [("java", "-version"), ("mvn", "-version"), ("openssl", "version")];
        if !tools.iter().all(|(tool, probe)| has(tool, &[probe], install)) {
            return None;
        }
        // Three ports in a row; what the system gives away by itself lies above.
        let port = 20_000 + u16::try_from(std::process::id() % 1000).unwrap() * 10;
        let broker = Self { folder: tempfile::tempdir().unwrap(), port };
        broker.script(&["up", "1"]);
        Some(broker)
    }

    fn script(&self, arguments: &[&str]) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kafka/kafka");
        let done = Command::new(script)
            .args(arguments)
            .env("KAFKA_DIR", self.folder.path())
            .env("KAFKA_PORT", self.port.to_string())
            .env("KAFKA_HEAP", "256m")
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        assert!(done.status.success(), "{arguments:?} {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", self.address());
        client
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().unwrap()
    }

    fn create(&self, topic: &str, partitions: i32) {
        let topic = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let made = block_on(self.admin().create_topics([&topic], &AdminOptions::new())).unwrap();
        made.into_iter().for_each(|made| drop(made.unwrap()));
    }

    fn delete(&self, topic: &str) {
        let gone = block_on(self.admin().delete_topics(&[topic], &AdminOptions::new())).unwrap();
        gone.into_iter().for_each(|gone| drop(gone.unwrap()));
    }

    /// Produces the numbers of a range as texts.
    fn produce(&self, topic: &str, partition: i32, numbers: std::ops::Range<u32>) {
        let producer: BaseProducer = self.client().create().unwrap();
        for number in numbers {
            let payload = number.to_string();
            let record = BaseRecord::<(), str>::to(topic).partition(partition).payload(&payload);
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(Duration::from_secs(30)).unwrap();
    }

    fn config(&self) -> KafkaTopics {
        KafkaTopics {
            brokers: vec![self.address()],
            topics: vec!["routeviews.*.bmp_raw".to_owned()],
            start: KafkaStart::Earliest,
            discover_secs: 1,
            ..Default::default()
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.script(&["down"]);
    }
}

/// A source at work on its thread.
struct Reader {
    ear: Ear,
    counts: Arc<KafkaCounts>,
    thread: JoinHandle<()>,
    runtime: Runtime,
}

impl Reader {
    fn start(config: KafkaTopics, positions: Positions) -> Self {
        let (ear, outbox, stop) = Ear::new();
        let source = KafkaSource::new(config, positions, 0).unwrap();
        let counts = source.counts();
        let thread = std::thread::spawn(move || source.run(&outbox, &stop));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { ear, counts, thread, runtime }
    }

    fn until(&mut self, what: &str, holds: impl Fn(&BTreeMap<u64, Heard>) -> bool) {
        self.runtime.block_on(self.ear.until(what, holds));
    }

    fn stop(mut self) -> BTreeMap<u64, Heard> {
        self.ear.stop();
        self.runtime.block_on(self.ear.rest());
        self.thread.join().unwrap();
        self.ear.heard
    }
}

/// The newest stream of a partition.
fn of<'h>(heard: &'h BTreeMap<u64, Heard>, remote: &str) -> Option<&'h Heard> {
    heard.values().rev().find(|heard| heard.remote == remote)
}

fn count(heard: &BTreeMap<u64, Heard>, remote: &str) -> usize {
    of(heard, remote).map_or(0, |heard| heard.messages.len())
}

/// What [`Broker::produce`] gave to offsets that begin with `first`.
fn numbers(numbers: std::ops::Range<u32>, first: u64) -> Vec<(u64, Vec<u8>)> {
    (first..).zip(numbers.map(|number| number.to_string().into_bytes())).collect()
}

#[test]
fn topics_of_a_real_kafka_are_read_whole_whatever_happens() {
    let Some(broker) = Broker::start() else { return };
    broker.create(LINX, 2);
    broker.create("other.topic", 1);
    broker.produce(LINX, 0, 0..1000);
    broker.produce(LINX, 1, 0..500);
    broker.produce("other.topic", 0, 0..5);

    finds_loses_and_goes_on(&broker);
    tells_messages_that_are_gone(&broker);
    outlives_its_broker(&broker);
    cuts_what_is_too_long(&broker);
    speaks_sasl_and_tls(&broker);
}

fn finds_loses_and_goes_on(broker: &Broker) {
    let [linx0, linx1] = [0, 1].map(|partition| format!("{LINX}-{partition}"));
    let amsix = format!("{AMSIX}-0");
    let mut reader = Reader::start(broker.config(), Positions::new());
    reader.until("all of both, and no more", |heard| {
        let is_done = |remote| of(heard, remote).is_some_and(|h| h.caught_up > 0);
        count(heard, &linx0) == 1000
            && count(heard, &linx1) == 500
            && is_done(&linx0)
            && is_done(&linx1)
    });
    assert_eq!(of(&reader.ear.heard, &linx0).unwrap().messages, numbers(0..1000, 0));
    assert_eq!(reader.ear.heard.len(), 2, "other.topic does not fit");

    broker.create(AMSIX, 1);
    broker.produce(AMSIX, 0, 0..10);
    reader.until("a new topic, from its beginning", |heard| count(heard, &amsix) == 10);

    broker.delete(AMSIX);
    reader.until("its end", |heard| of(heard, &amsix).is_some_and(Heard::is_over));
    let end = of(&reader.ear.heard, &amsix).unwrap().closed.clone();
    assert_eq!(end, Some(("the topic vanished".to_owned(), true)));
    broker.produce(LINX, 0, 1000..1010);
    reader.until("the others go on", |heard| count(heard, &linx0) == 1010);

    broker.create(AMSIX, 1);
    broker.produce(AMSIX, 0, 0..3);
    reader.until("it came back", |heard| count(heard, &amsix) == 3);
    assert_eq!(reader.counts.vanished.get(), 1);
    let heard = reader.stop();
    assert_eq!(of(&heard, &linx0).unwrap().closed, Some(("the service stops".to_owned(), false)));
    broker.delete(AMSIX);
}

fn tells_messages_that_are_gone(broker: &Broker) {
    let linx1 = format!("{LINX}-1");
    let json = broker.folder.path().join("delete.json");
    let delete = r#"{"version":1,"partitions":[{"topic":"TOPIC","partition":1,"offset":200}]}"#;
    fs::write(&json, delete.replace("TOPIC", LINX)).unwrap();
    let (address, json) = (broker.address(), json.to_string_lossy().into_owned());
    let to = ["--bootstrap-server", &address, "--offset-json-file", &json];
    broker.script(&[&["tool", "DeleteRecordsCommand"], to.as_slice()].concat());

    // Partition 0 goes on where it was, exactly; partition 1 was behind what the broker kept.
    let positions = [((LINX.to_owned(), 0), 1008), ((LINX.to_owned(), 1), 100)].into();
    let mut reader = Reader::start(broker.config(), positions);
    reader.until("both go on", |heard| {
        count(heard, &format!("{LINX}-0")) == 2 && count(heard, &linx1) == 300
    });
    let heard = &reader.ear.heard;
    assert_eq!(of(heard, &format!("{LINX}-0")).unwrap().messages, numbers(1008..1010, 1008));
    assert_eq!(of(heard, &linx1).unwrap().messages, numbers(200..500, 200));
    let lost = heard.values().find(|heard| heard.is_over()).unwrap();
    let told = "offsets 100 to 199 are gone from the broker".to_owned();
    assert_eq!((lost.remote.as_str(), lost.closed.clone()), (linx1.as_str(), Some((told, true))));
    assert_eq!(reader.counts.out_of_range.get(), 1);
    reader.stop();
}

fn outlives_its_broker(broker: &Broker) {
    let linx0 = format!("{LINX}-0");
    let config = KafkaTopics {
        start: KafkaStart::Latest,
        settings: [("reconnect.backoff.max.ms".to_owned(), "500".to_owned())].into(),
        ..broker.config()
    };
    let mut reader = Reader::start(config, Positions::new());
    reader.until("it is at the end", |heard| of(heard, &linx0).is_some_and(|h| h.caught_up > 0));
    broker.produce(LINX, 0, 2000..2010);
    reader.until("news only", |heard| count(heard, &linx0) == 10);
    broker.script(&["kill", "0"]);
    while reader.counts.brokers_down.get() == 0 {
        std::thread::sleep(Duration::from_millis(50));
    }
    broker.script(&["start", "0"]);
    broker.produce(LINX, 0, 2010..2020);
    reader.until("nothing is lost", |heard| count(heard, &linx0) == 20);
    let heard = reader.stop();
    assert_eq!(of(&heard, &linx0).unwrap().messages, numbers(2000..2020, 1010), "none twice");
    assert!(heard.values().all(|heard| heard.closed.as_ref().is_some_and(|(_, is_gap)| !is_gap)));
}

fn cuts_what_is_too_long(broker: &Broker) {
    broker.create("long", 1);
    let producer: BaseProducer = broker.client().create().unwrap();
    for bytes in [10, 5000, 20] {
        let payload = "x".repeat(bytes);
        let record = BaseRecord::<(), str>::to("long").payload(&payload);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(Duration::from_secs(30)).unwrap();
    let config = KafkaTopics {
        topics: vec!["^lon.$".to_owned()],
        message_bytes_max: 1024,
        ..broker.config()
    };
    let mut reader = Reader::start(config, Positions::new());
    reader.until("all three", |heard| count(heard, "long-0") == 3);
    let heard = of(&reader.ear.heard, "long-0").unwrap();
    let lengths: Vec<usize> = heard.messages.iter().map(|(_, payload)| payload.len()).collect();
    assert_eq!((lengths, reader.counts.too_long.get()), (vec![10, 1024, 20], 1));
    reader.stop();
}

fn speaks_sasl_and_tls(broker: &Broker) {
    let password_file: PathBuf = broker.folder.path().join("password");
    let config = KafkaTopics {
        brokers: vec![format!("127.0.0.1:{}", broker.port + 1)],
        security_protocol: SecurityProtocol::SaslSsl,
        sasl_mechanism: Some("SCRAM-SHA-512".to_owned()),
        username: Some("peerscope".to_owned()),
        password_file: Some(password_file.clone()),
        ssl_ca: Some(broker.folder.path().join("tls/ca.pem")),
        ..broker.config()
    };
    assert_eq!(config.check(), Ok(()));
    let told = KafkaSource::new(config.clone(), Positions::new(), 0).err().unwrap().to_string();
    assert!(told.contains("password: No such file"), "{told}");

    fs::write(&password_file, "wrong\n").unwrap();
    let reader = Reader::start(config.clone(), Positions::new());
    while reader.counts.refused_login.get() == 0 {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(reader.stop().is_empty());

    fs::write(&password_file, "loopback-only\n").unwrap();
    let mut reader = Reader::start(config, Positions::new());
    let linx0 = format!("{LINX}-0");
    reader.until("all of it", |heard| count(heard, &linx0) == 1030);
    reader.stop();
}

#[test]
fn a_producers_time_is_never_in_the_future() {
    let append = broker_time(rdkafka::Timestamp::LogAppendTime(1_700_000_000_123));
    assert_eq!(append, Some(Timestamp(1_700_000_000_123_000)));
    let future = broker_time(rdkafka::Timestamp::CreateTime(i64::MAX)).unwrap();
    assert!(future <= now());
    assert_eq!(broker_time(rdkafka::Timestamp::CreateTime(-1)), None);
    assert_eq!(broker_time(rdkafka::Timestamp::NotAvailable), None);
}
