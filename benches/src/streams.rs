//! Messages in Kafka to committed rows: round trips as JSON and as Arrow, and routes.
//!
//! A topic of twelve partitions is filled first. Then it is read by a consumer that only counts its
//! messages, and by `peerscope run` with all roles, its log at the same brokers, until a query over the
//! lake gives the right answer. CPU is that of the whole process, librdkafka's threads, start and
//! drain included; the broker's is nobody's.

mod mix;

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use wait4::Wait4 as _;

use crate::contest::{BenchError, Row, Run, Section};
use crate::job::Programs;
use crate::machine::{self, Machine, today};
use crate::report::{Report, grouped, keep};
use mix::{Maker, Mix};

/// Partitions of each topic.
const PARTITIONS: i32 = 12;
/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_mins(10);
/// How often it is asked for.
const EVERY: Duration = Duration::from_millis(500);
/// Whom the service stands beside.
const COUNTER: &str = "a consumer that only counts";

/// Messages in Kafka to committed rows
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Streams {
    /// A broker that runs (`deploy/kafka/kafka up`)
    #[arg(long, default_value = "127.0.0.1:19092", value_name = "HOST:PORT")]
    brokers: String,

    /// Samples and elements of routes, each; ten times as many samples in Arrow
    #[arg(long, default_value_t = 2_000_000, value_name = "COUNT")]
    units: u64,

    /// Timed runs of each
    #[arg(long, default_value_t = 3, value_name = "COUNT")]
    runs: usize,

    /// One of the mixes, else all
    #[arg(long)]
    mix: Option<Mix>,

    /// Keep the figures in benches/runs
    #[arg(long)]
    keep: bool,
}

/// Measures, prints and may keep it.
pub(crate) fn run(options: &Streams, date: Option<&str>) -> Result<(), BenchError> {
    let programs = Programs::find()?;
    let load_before = machine::load_average();
    let mixes = Mix::ALL.into_iter().filter(|mix| options.mix.is_none_or(|only| only == *mix));
    let sections: Result<Vec<Section>, BenchError> =
        mixes.map(|mix| section(options, &programs, mix)).collect();
    let mut machine = Machine::this(&programs);
    machine.contestants.truncate(1);
    machine.contestants.push(format!("librdkafka {}", rdkafka::util::get_rdkafka_version().1));
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let report = Report {
        command: arguments.join(" "),
        date: date.map_or_else(today, str::to_owned),
        machine,
        load: (load_before, machine::load_average()),
        sections: sections?,
    };
    let text = report.markdown();
    print!("{text}");
    if options.keep {
        let path = keep(&report.date, &report.machine, "streams.md", &text)?;
        eprintln!("kept in {}", path.display());
    }
    Ok(())
}

/// One mix: its topic is filled, then each reads it in turn.
fn section(options: &Streams, programs: &Programs, mix: Mix) -> Result<Section, BenchError> {
    let maker = Maker::new(mix, options.units);
    let topic = format!("bench-{mix}-{}", maker.now.micros());
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &options.brokers);
    let (messages, bytes) = fill(&client, &topic, &maker).map_err(io::Error::other)?;
    let (mut counted, mut served) = (Vec::new(), Vec::new());
    for run in 0..options.runs {
        counted.push(count(programs, &options.brokers, &topic, messages)?);
        served.push(serve(options, programs, &maker, &format!("{topic}-{run}"), &topic)?);
    }
    let rows = [(COUNTER, counted), ("peerscope run", served)];
    Ok(Section {
        name: "streams",
        input: format!(
            "{mix}: {} {} in {} messages of {} bytes on average",
            grouped(maker.units),
            mix.unit(),
            grouped(messages),
            bytes / messages
        ),
        unit: mix.unit(),
        units: Some(maker.units),
        peers: vec![COUNTER.to_owned()],
        note: mix.note().to_owned(),
        rows: rows.map(|(who, runs)| Row { contestant: who.to_owned(), runs: Ok(runs) }).into(),
    })
}

/// Makes a topic and writes all messages; how many, and their bytes.
fn fill(client: &ClientConfig, topic: &str, maker: &Maker) -> Result<(u64, u64), KafkaError> {
    let admin: AdminClient<DefaultClientContext> = client.create()?;
    let new = NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(-1));
    futures::executor::block_on(admin.create_topics([&new], &AdminOptions::new()))?;
    let mut client = client.clone();
    client.set("linger.ms", "50").set("compression.type", "lz4");
    let producer: BaseProducer = client.create()?;
    let (mut messages, mut bytes) = (0, 0);
    for (partition, micros, payload) in maker.messages() {
        (messages, bytes) = (messages + 1, bytes + payload.len() as u64);
        let record = BaseRecord::<(), [u8]>::to(topic).partition(partition).payload(&payload);
        let mut record = record.timestamp(micros / 1_000);
        while let Err((error, returned)) = producer.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(error);
            }
            producer.poll(Duration::from_millis(5));
            record = returned;
        }
    }
    producer.flush(PATIENCE)?;
    Ok((messages, bytes))
}

/// Runs a consumer that only counts, as a process of its own.
fn count(programs: &Programs, brokers: &str, topic: &str, messages: u64) -> io::Result<Run> {
    let mut command = Command::new(&programs.benches);
    command.args(["topic", brokers, topic, &messages.to_string()]).stdout(Stdio::null());
    let (began, child) = (Instant::now(), command.spawn()?);
    ended(child, began)
}

/// What that process does.
pub(crate) fn count_topic(brokers: &str, topic: &str, messages: u64) -> io::Result<u64> {
    let mut client = ClientConfig::new();
    // librdkafka fetches again a second after its queue was full; a consumer that counts would starve.
    client.set("bootstrap.servers", brokers).set("fetch.queue.backoff.ms", "20");
    client.set("group.id", "bench").set("enable.auto.commit", "false");
    let consumer: BaseConsumer = client.create().map_err(io::Error::other)?;
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        let from = list.add_partition_offset(topic, partition, Offset::Beginning);
        from.map_err(io::Error::other)?;
    }
    consumer.assign(&list).map_err(io::Error::other)?;
    let (mut seen, mut bytes, began) = (0, 0, Instant::now());
    while seen < messages {
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            bytes += message.map_err(io::Error::other)?.payload().unwrap_or_default().len() as u64;
            seen += 1;
        } else if began.elapsed() > PATIENCE {
            return Err(io::Error::other(format!("{seen} of {messages} messages")));
        }
    }
    Ok(bytes)
}

/// Runs the service until its lake answers rightly, and ends it.
fn serve(
    options: &Streams,
    programs: &Programs,
    maker: &Maker,
    name: &str,
    topic: &str,
) -> io::Result<Run> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("peerscope.toml");
    fs::write(&config, maker.config(&options.brokers, name, topic))?;
    let mut command = Command::new(&programs.peerscope);
    command.args(["run", "--lake", "lake", "--instance", "bench", "--config"]).arg(&config);
    command.current_dir(folder.path()).stdout(Stdio::null());
    command.stderr(fs::File::create(folder.path().join("log"))?);
    let (began, child) = (Instant::now(), command.spawn()?);
    let answer = until(programs, folder.path(), maker);
    Command::new("kill").arg(child.id().to_string()).status()?;
    answer.and(ended(child, began)).map_err(|error| {
        let log = fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        io::Error::other(format!("{error}\n{log}"))
    })
}

/// Asks the lake until it is right.
fn until(programs: &Programs, folder: &Path, maker: &Maker) -> io::Result<()> {
    let (sql, wanted) = maker.truth();
    let (mut told, began) = (String::new(), Instant::now());
    while began.elapsed() < PATIENCE {
        std::thread::sleep(EVERY);
        let mut command = Command::new(&programs.peerscope);
        command.args(["sql", "--lake", "lake", "--format", "csv", "-c", &sql]).current_dir(folder);
        let done = command.output()?;
        told = String::from_utf8_lossy(&done.stdout).lines().nth(1).unwrap_or_default().to_owned();
        if told.parse() == Ok(wanted) {
            return Ok(());
        }
    }
    Err(io::Error::other(format!("{sql}: {told}, not {wanted}")))
}

/// Waits until a process has ended well; what it took.
fn ended(child: Child, began: Instant) -> io::Result<Run> {
    let used = child.wait4()?;
    let cpu = used.rusage.utime + used.rusage.stime;
    match used.status.success() {
        true => Ok(Run::measured(cpu, began.elapsed(), used.rusage.maxrss)),
        false => Err(io::Error::other(used.status.to_string())),
    }
}
