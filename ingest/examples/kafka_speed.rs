//! How fast the log over Kafka is, against a broker that runs: JSON messages of round trips into the
//! log, and the log's batches back into samples, beside a consumer that only counts the messages.
//! Work a CPU second of this process, librdkafka's threads included.
//!
//! ```text
//! deploy/kafka/kafka up
//! cargo run --release -p ingest --example kafka_speed -- 127.0.0.1:19092 [MESSAGES]
//! ```

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ingest::live::{Format, InputSettings, Live, LiveOptions, Order, Orders};
use ingest::log::embedded::Recovered;
use ingest::log::kafka::Start;
use ingest::log::kafka::clients::LogCounts;
use ingest::log::kafka::config::KafkaLogConfig;
use ingest::log::kafka::member::{Holder, Member};
use ingest::log::kafka::membership::Membership;
use ingest::log::kafka::publisher::{KafkaPublisher, PublisherOptions};
use ingest::log::kafka::reader::{EventsReader, Folds, ReaderOptions};
use ingest::log::kafka::records::{Records, Told};
use ingest::log::kafka::shares::Shares;
use ingest::log::kafka::topics::{self, Topics};
use ingest::session::interest::Keep;
use ingest::source::kafka::{KafkaFormat, KafkaSource, KafkaStart, KafkaTopics};
use ingest::source::live::{ARRIVALS_WAITING_MAX, Outbox, wall_clock};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use schemas::log::LogError;
use schemas::reference::ReferenceSet;
use schemas::registry::Registry;
use schemas::time::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};

const PARTITIONS: i32 = 12;
const CONNECTIONS: u64 = 1_000;
const PROBES: u64 = 200;
const MESSAGE_BYTES: usize = 200;

/// User and system time of this process so far, in seconds, as the kernel counts it (in 1/100 s).
fn cpu_secs() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |field: usize| fields[field].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / 100.0
}

/// Says how much of something was done in a CPU second.
fn measure(what: &str, unit: &str, work: impl FnOnce() -> u64) {
    let before = (cpu_secs(), Instant::now());
    let done = work();
    let (cpu, wall) = (cpu_secs() - before.0, before.1.elapsed().as_secs_f64());
    let each = done as f64 / cpu;
    println!("{what}: {done} {unit}, {wall:.2} s, {cpu:.2} CPU s, {each:.0} {unit}/CPU s");
}

fn registry() -> Arc<Registry> {
    let connection = |number: u64| {
        let (b, c) = (number / 250, number % 250);
        let text = format!(r#"{{"name":"connection-{number}","prefixes":["10.{b}.{c}.0/24"]}}"#);
        serde_json::from_str(&text).unwrap()
    };
    Arc::new(Registry::new(1, (0..CONNECTIONS).map(connection).collect(), Vec::new()).unwrap())
}

/// One sample, as long as the ones that are talked about.
fn line(number: u64, at: i64) -> String {
    let connection = number.wrapping_mul(7_919) % CONNECTIONS;
    let (b, c, d) = (connection / 250, connection % 250, 1 + number % 250);
    let (probe, rtt) = (number % PROBES, 20_000 + number % 3_000);
    let mut line = format!(
        r#"{{"time":{at},"ip":"10.{b}.{c}.{d}","rtt_us":{rtt},"source":"probe-{probe}","note":""#
    );
    while line.len() < MESSAGE_BYTES - 2 {
        line.push('x');
    }
    line.push_str("\"}");
    line
}

fn produce(client: &ClientConfig, topic: &str, messages: u64) {
    let admin: AdminClient<DefaultClientContext> = client.create().unwrap();
    let new = NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(-1));
    futures::executor::block_on(admin.create_topics([&new], &AdminOptions::new())).unwrap();
    let producer: BaseProducer =
        client.clone().set("linger.ms", "50").set("compression.type", "lz4").create().unwrap();
    let now = wall_clock().secs();
    for number in 0..messages {
        let payload = line(number, now + i64::try_from(number / 1_000_000).unwrap());
        let partition = i32::try_from(number % 12).unwrap();
        let mut record = BaseRecord::<(), str>::to(topic).partition(partition).payload(&payload);
        while let Err((_, returned)) = producer.send(record) {
            producer.poll(Duration::from_millis(5));
            record = returned;
        }
    }
    producer.flush(Duration::from_secs(60)).unwrap();
}

fn count(client: &ClientConfig, topic: &str, messages: u64) -> u64 {
    let consumer: BaseConsumer = client
        .clone()
        .set("group.id", "speed")
        .set("fetch.queue.backoff.ms", "20")
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        list.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    let (mut seen, mut bytes) = (0, 0);
    while seen < messages {
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
            seen += 1;
            bytes += message.payload().unwrap_or_default().len();
        }
    }
    assert!(bytes > 0);
    seen
}

/// Orders what comes, and lets nothing go.
struct Giving(mpsc::Sender<Order>);

impl Holder for Giving {
    fn given(&mut self, _: &BTreeSet<u32>) -> Result<(), LogError> {
        let (done, answered) = oneshot::channel();
        let order = Order::Given { inputs: vec!["rtt".into()], positions: BTreeMap::new(), done };
        self.0.blocking_send(order).map_err(|_| LogError::Closed)?;
        answered.blocking_recv().map_err(|_| LogError::Closed)
    }

    fn taken(&mut self, _: &BTreeSet<u32>) -> Result<(), LogError> {
        Ok(())
    }
}

fn live_options(config: &KafkaLogConfig, input: InputSettings, ordered: Orders) -> LiveOptions {
    LiveOptions {
        registry: registry(),
        settings: "{}".into(),
        reference: ReferenceSet::default(),
        versions: mpsc::channel(1).1,
        keep: Keep::Ours,
        inputs: vec![input],
        commit_secs: 60,
        snapshot_secs: 300,
        is_final: false,
        progress_timeout_secs: 300,
        heartbeat: Arc::default(),
        orders: Some(ordered),
        linger: Duration::from_millis(config.linger_ms.into()),
    }
}

fn ingest(config: &KafkaLogConfig, topics: &Topics, topic: &str, messages: u64) -> u64 {
    let (counts, membership) = (Arc::<LogCounts>::default(), Arc::<Membership>::default());
    let (group_topic, seat) = (config.sources_topic.clone(), Arc::clone(&membership));
    let member = Member::join(config, "ingest", &group_topic, &counts, seat).unwrap();
    let (orders, ordered) = mpsc::channel(4);
    let leave = Arc::<AtomicBool>::default();
    let leaving = Arc::clone(&leave);
    let member = std::thread::spawn(move || member.run(&mut Giving(orders), &leaving));
    let shares = Shares::new(topics.source_partitions, ["rtt".into()].into(), BTreeSet::new());
    let options = PublisherOptions {
        config: config.clone(),
        name: "ingest-speed".to_owned(),
        shares,
        membership,
        group_topic,
        counts: Arc::clone(&counts),
    };
    let publisher = KafkaPublisher::open(options).unwrap();
    let read = KafkaTopics {
        brokers: config.brokers.clone(),
        topics: vec![topic.to_owned()],
        format: KafkaFormat::Rtt,
        start: KafkaStart::Earliest,
        ..KafkaTopics::default()
    };
    let source = KafkaSource::new(read, BTreeMap::new(), 0, Arc::default()).unwrap();
    let counted = Arc::<ingest::live::InputCounts>::default();
    let input = InputSettings {
        name: "rtt".into(),
        collector: "rtt".into(),
        format: Format::RttMessages,
        book: None,
        collector_of: None,
        counts: Arc::clone(&counted),
        belongs_to_process: false,
    };
    let options = live_options(config, input, ordered);
    let recovered =
        Recovered { next_offsets: vec![0; topics.partitions as usize], ..Recovered::default() };
    let (sender, arrivals) = mpsc::channel(ARRIVALS_WAITING_MAX);
    let (stop, stopping) = watch::channel(false);
    let reader = std::thread::spawn(move || source.run(&Outbox::new(0, sender), &stopping));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let live = Live::start(options, publisher, &recovered, wall_clock).unwrap();
    let handle = runtime.handle().clone();
    let intake = std::thread::spawn(move || live.run(arrivals, &handle));
    while counted.accepted.get() < messages {
        std::thread::sleep(Duration::from_millis(20));
    }
    stop.send_replace(true);
    reader.join().unwrap();
    let report = intake.join().unwrap().unwrap();
    leave.store(true, Ordering::Relaxed);
    member.join().unwrap().unwrap();
    let (transactions, batches) = (counts.transactions.get(), counts.batches.get());
    println!("  {transactions} transactions, {batches} batches, {} bytes", counts.bytes.get());
    report[0].account.accepted
}

/// Counts the samples of each batch.
struct Counting(Arc<AtomicU64>, Arc<Mutex<u64>>);

impl Folds for Counting {
    fn assigned(&mut self, mut records: Records) -> Result<(), LogError> {
        let (samples, series) = (Arc::clone(&self.0), Arc::clone(&self.1));
        std::thread::spawn(move || {
            let log_time = Timestamp::MIN;
            records.begin(Start { offset: None, log_time, registry_version: 0 });
            loop {
                match records.told().unwrap() {
                    Told::Batch(batch) => {
                        samples.fetch_add(batch.samples.len() as u64, Ordering::Relaxed);
                        *series.lock().unwrap() += batch.series.len() as u64;
                    }
                    Told::Taken => return,
                    _ => {}
                }
            }
        });
        Ok(())
    }
}

fn read(config: &KafkaLogConfig, topics: &Topics, samples: u64) -> u64 {
    let options = ReaderOptions {
        config: config.clone(),
        topics: topics.clone(),
        counts: Arc::default(),
        finish_secs: 10,
        progress: Arc::default(),
        versions: Arc::default(),
        heartbeat: Arc::default(),
    };
    let reader = EventsReader::join(options, "analyze").unwrap();
    let (seen, series) = (Arc::<AtomicU64>::default(), Arc::<Mutex<u64>>::default());
    let mut counting = Counting(Arc::clone(&seen), Arc::clone(&series));
    let stop = Arc::<AtomicBool>::default();
    let stopped = Arc::clone(&stop);
    let reading = std::thread::spawn(move || reader.run(&mut counting, &stopped));
    while seen.load(Ordering::Relaxed) < samples {
        std::thread::sleep(Duration::from_millis(5));
    }
    stop.store(true, Ordering::Relaxed);
    reading.join().unwrap().unwrap();
    println!("  {} series", series.lock().unwrap());
    seen.load(Ordering::Relaxed)
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let brokers = arguments.next().unwrap_or_else(|| "127.0.0.1:19092".to_owned());
    let messages = arguments.next().map_or(2_000_000, |text| text.parse().unwrap());
    let name = format!("speed-{}", wall_clock().secs());
    let config = KafkaLogConfig {
        brokers: vec![brokers.clone()],
        events_topic: format!("{name}.events"),
        summaries_topic: format!("{name}.summaries"),
        sources_topic: format!("{name}.sources"),
        control_topic: format!("{name}.control"),
        prefix: name.clone(),
        instance: Some("speed".to_owned()),
        ..KafkaLogConfig::default()
    };
    let topics = topics::ensure(&config).unwrap();
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &brokers);
    let topic = format!("{name}.rtt");
    produce(&client, &topic, messages);
    measure("a consumer that only counts", "messages", || count(&client, &topic, messages));
    measure("JSON messages into the log", "messages", || {
        ingest(&config, &topics, &topic, messages)
    });
    measure("the log's batches into samples", "samples", || read(&config, &topics, messages));
}
