//! The client against a real Kafka of one broker, started by `deploy/kafka/kafka`.

use std::fs;
use std::path::PathBuf;
use std::thread::JoinHandle;

use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use tokio::runtime::Runtime;

use super::*;
use crate::kafka::testing::Broker;
use crate::source::testing::{Ear, Heard};

const LINX: &str = "routeviews.linx.64500.bmp_raw";
const AMSIX: &str = "routeviews.amsix.ams.61955.bmp_raw";

fn config(broker: &Broker) -> KafkaTopics {
    KafkaTopics {
        brokers: vec![broker.address()],
        topics: vec!["routeviews.*.bmp_raw".to_owned()],
        start: KafkaStart::Earliest,
        discover_secs: 1,
        ..Default::default()
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
        let source = KafkaSource::new(config, positions, 0, Arc::default()).unwrap();
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
    reads_what_was_made_anew(&broker);
    outlives_its_broker(&broker);
    cuts_what_is_too_long(&broker);
    speaks_sasl_and_tls(&broker);
}

fn finds_loses_and_goes_on(broker: &Broker) {
    let [linx0, linx1] = [0, 1].map(|partition| format!("{LINX}-{partition}"));
    let amsix = format!("{AMSIX}-0");
    let mut reader = Reader::start(config(broker), Positions::new());
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
    let json = broker.folder.join("delete.json");
    let delete = r#"{"version":1,"partitions":[{"topic":"TOPIC","partition":1,"offset":200}]}"#;
    fs::write(&json, delete.replace("TOPIC", LINX)).unwrap();
    let (address, json) = (broker.address(), json.to_string_lossy().into_owned());
    let to = ["--bootstrap-server", &address, "--offset-json-file", &json];
    broker.script(&[&["tool", "DeleteRecordsCommand"], to.as_slice()].concat());

    // Partition 0 goes on where it was, exactly; partition 1 was behind what the broker kept.
    let at = |next| Place { next, topic: None };
    let positions = [((LINX.to_owned(), 0), at(1008)), ((LINX.to_owned(), 1), at(100))].into();
    let mut reader = Reader::start(config(broker), positions);
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

/// A topic that was deleted and made anew while nobody looked has as many messages as the old one.
fn reads_what_was_made_anew(broker: &Broker) {
    let topic = "routeviews.sfmix.6939.bmp_raw";
    let remote = format!("{topic}-0");
    for start in [KafkaStart::Earliest, KafkaStart::Latest] {
        let config = KafkaTopics { start, topics: vec![topic.to_owned()], ..config(broker) };
        broker.create(topic, 1);
        broker.produce(topic, 0, 0..10);
        let mut reader = Reader::start(config.clone(), Positions::new());
        reader.until("it is known", |heard| of(heard, &remote).is_some_and(|h| h.topic.is_some()));
        let old = of(&reader.stop(), &remote).unwrap().topic;
        broker.delete(topic);
        broker.create(topic, 1);
        broker.produce(topic, 0, 100..120);
        let place = Place { next: 10, topic: old };
        let positions = Positions::from([((topic.to_owned(), 0), place)]);
        let mut reader = Reader::start(config.clone(), positions);
        reader.until("all of the new one", |heard| count(heard, &remote) == 20);
        let heard = reader.stop();
        let lost: Vec<&Heard> = heard.values().filter(|one| one.messages.is_empty()).collect();
        let told = Some(("the topic was made anew".to_owned(), true));
        assert_eq!(lost.iter().map(|one| &one.closed).collect::<Vec<_>>(), [&told]);
        let new = of(&heard, &remote).unwrap();
        assert_eq!((new.messages.clone(), new.begins), (numbers(100..120, 0), Some(0)));
        assert!(new.topic.is_some() && new.topic != old);
        // The same topic goes on where it was.
        let place = Place { next: 15, topic: new.topic };
        let positions = Positions::from([((topic.to_owned(), 0), place)]);
        let mut reader = Reader::start(config, positions);
        reader.until("the rest", |heard| count(heard, &remote) == 5);
        assert_eq!(reader.stop().len(), 1);
        broker.delete(topic);
    }
}

fn outlives_its_broker(broker: &Broker) {
    let linx0 = format!("{LINX}-0");
    let config = KafkaTopics {
        start: KafkaStart::Latest,
        settings: [("reconnect.backoff.max.ms".to_owned(), "500".to_owned())].into(),
        ..config(broker)
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
        ..config(broker)
    };
    let mut reader = Reader::start(config, Positions::new());
    reader.until("all three", |heard| count(heard, "long-0") == 3);
    let heard = of(&reader.ear.heard, "long-0").unwrap();
    let lengths: Vec<usize> = heard.messages.iter().map(|(_, payload)| payload.len()).collect();
    assert_eq!((lengths, reader.counts.too_long.get()), (vec![10, 1024, 20], 1));
    reader.stop();
}

fn speaks_sasl_and_tls(broker: &Broker) {
    let password_file: PathBuf = broker.folder.join("password");
    let config = KafkaTopics {
        brokers: vec![format!("127.0.0.1:{}", broker.port + 1)],
        security_protocol: SecurityProtocol::SaslSsl,
        sasl_mechanism: Some("SCRAM-SHA-512".to_owned()),
        username: Some("peerscope".to_owned()),
        password_file: Some(password_file.clone()),
        ssl_ca: Some(broker.folder.join("tls/ca.pem")),
        ..config(broker)
    };
    assert_eq!(config.check(), Ok(()));
    let source = KafkaSource::new(config.clone(), Positions::new(), 0, Arc::default());
    let told = source.err().unwrap().to_string();
    assert!(told.contains("password: No such file"), "{told}");

    fs::write(&password_file, "wrong\n").unwrap();
    let reader = Reader::start(config.clone(), Positions::new());
    while reader.counts.refused_login.get() == 0 {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(reader.stop().is_empty());

    fs::write(&password_file, "loopback-only\n").unwrap();
    let linx0 = format!("{LINX}-0");
    let reads_all = |config: KafkaTopics| {
        let mut reader = Reader::start(config, Positions::new());
        reader.until("all of it", |heard| count(heard, &linx0) == 1030);
        reader.stop();
    };
    reads_all(config.clone());
    // The way Azure Event Hubs does it.
    reads_all(KafkaTopics {
        sasl_mechanism: Some("PLAIN".to_owned()),
        username: Some("$ConnectionString".to_owned()),
        ..config.clone()
    });
    // By a certificate instead of a name, on a listener that asks for one.
    let mutual = KafkaTopics {
        brokers: vec![format!("127.0.0.1:{}", broker.port + 3)],
        security_protocol: SecurityProtocol::Ssl,
        sasl_mechanism: None,
        username: None,
        password_file: None,
        ssl_certificate: Some(broker.folder.join("tls/client.pem")),
        ssl_key: Some(broker.folder.join("tls/client.key")),
        ..config
    };
    assert_eq!(mutual.check(), Ok(()));
    reads_all(mutual.clone());
    let nameless = KafkaTopics { ssl_certificate: None, ssl_key: None, ..mutual };
    let reader = Reader::start(nameless, Positions::new());
    while reader.counts.errors.get() + reader.counts.brokers_down.get() == 0 {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(reader.stop().is_empty());
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
