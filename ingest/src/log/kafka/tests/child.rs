//! A writer in a process of its own, to be killed: it carries records of sources into the log.
//!
//! Source `P` is partition `P` of a topic of numbers that never ends; its next number is its position.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use schemas::log::{Append, LogError, Position, Publisher as _};
use schemas::tables::Text;
use schemas::time::Timestamp;

use super::support::{Log, batch};
use crate::log::kafka::clients::LogCounts;
use crate::log::kafka::config::KafkaLogConfig;
use crate::log::kafka::member::{Holder, Member};
use crate::log::kafka::membership::Membership;
use crate::log::kafka::publisher::{KafkaPublisher, PublisherOptions, read_positions};
use crate::log::kafka::shares::Shares;
use crate::log::kafka::state::StateReader;

/// Where a child is told what it is.
const ROLE: &str = "PEERSCOPE_TEST_WRITER";
/// Sources that there are.
pub(super) const SOURCES: u32 = 8;
/// Numbers of one source lie this far from those of the next one.
pub(super) const FAR: i64 = 1_000_000_000;

/// What a child is.
fn about(log: &Log<'_>, instance: &str, until: u64) -> String {
    let KafkaLogConfig { brokers, prefix, partitions, .. } = &log.config;
    format!("{}|{prefix}|{partitions}|{instance}|{until}", brokers.join(","))
}

/// A child at work; killed when it is dropped.
pub(super) struct Carrier {
    pub(super) child: Child,
    out: BufReader<ChildStdout>,
}

impl Carrier {
    /// Starts one that carries each source up to a number.
    pub(super) fn start(log: &Log<'_>, instance: &str, until: u64) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "log::kafka::tests::child::carries", "--nocapture"])
            .env(ROLE, about(log, instance, until))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out }
    }

    /// Waits for its next word.
    pub(super) fn word(&mut self) -> Option<String> {
        for line in (&mut self.out).lines() {
            if let Some(word) = line.ok()?.strip_prefix("child: ") {
                return Some(word.to_owned());
            }
        }
        None
    }

    /// Sends it a signal.
    pub(super) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn say(word: &str) {
    println!("child: {word}");
    std::io::stdout().flush().unwrap();
}

/// Shares that come, with what lies in them.
struct Taking {
    config: KafkaLogConfig,
    positions: Arc<Mutex<BTreeMap<Text, Position>>>,
    shares: Shares,
}

impl Holder for Taking {
    fn given(&mut self, partitions: &BTreeSet<u32>) -> Result<(), LogError> {
        let state = StateReader::new(&self.config)?;
        let shares: Vec<u32> = partitions.iter().copied().collect();
        let found = read_positions(&state, &self.config, &shares)?;
        let mut positions = self.positions.lock().unwrap();
        for source in 0..SOURCES {
            let key: Text = key_of(source).into();
            if partitions.contains(&self.shares.of_key(&key)) {
                positions.insert(Text::clone(&key), found.get(&key).cloned().unwrap_or_default());
            }
        }
        say(&format!("owns {}", positions.len()));
        Ok(())
    }

    fn taken(&mut self, partitions: &BTreeSet<u32>) -> Result<(), LogError> {
        let shares = self.shares.clone();
        // Whoever appends holds the lock meanwhile.
        let mut positions = self.positions.lock().unwrap();
        positions.retain(|key, _| !partitions.contains(&shares.of_key(key)));
        Ok(())
    }
}

pub(super) fn key_of(source: u32) -> String {
    format!("rtt\nnumbers-{source}")
}

/// What a child runs; without its role it is no test.
#[test]
fn carries() {
    let Ok(about) = std::env::var(ROLE) else { return };
    let [brokers, prefix, partitions, instance, until] =
        about.split('|').collect::<Vec<_>>().try_into().unwrap();
    let config = KafkaLogConfig {
        instance: Some(instance.to_owned()),
        ..super::support::config(brokers, prefix, partitions.parse().unwrap())
    };
    let (counts, membership) = (Arc::<LogCounts>::default(), Arc::<Membership>::default());
    let (topic, seat) = (config.sources_topic.clone(), Arc::clone(&membership));
    let member = Member::join(&config, "ingest", &topic, &counts, seat).unwrap();
    let shares = super::support::shares(&config);
    let positions = Arc::<Mutex<BTreeMap<_, _>>>::default();
    let mut taking = Taking {
        config: config.clone(),
        positions: Arc::clone(&positions),
        shares: shares.clone(),
    };
    std::thread::spawn(move || {
        let done = member.run(&mut taking, &AtomicBool::new(false));
        say(&format!("member: {done:?}"));
    });
    let options = PublisherOptions {
        name: format!("ingest-{instance}"),
        shares,
        membership,
        group_topic: topic,
        counts,
        config,
    };
    let mut publisher = KafkaPublisher::open(options).unwrap();
    let until: u64 = until.parse().unwrap();
    let partitions: u32 = partitions.parse().unwrap();
    loop {
        match round(&mut publisher, &positions, partitions, until) {
            Ok(true) => std::thread::sleep(Duration::from_millis(2)),
            Ok(false) => {
                say("done");
                std::thread::sleep(Duration::from_millis(200));
            }
            Err(error) => {
                say(&format!("refused: {error}"));
                return;
            }
        }
    }
}

/// Carries a few numbers of each source; false if all of them are carried.
fn round(
    publisher: &mut KafkaPublisher,
    positions: &Mutex<BTreeMap<Text, Position>>,
    partitions: u32,
    until: u64,
) -> Result<bool, LogError> {
    let mut positions = positions.lock().unwrap();
    publisher.know(&positions);
    let mut append = Append::default();
    for source in 0..SOURCES {
        let key: Text = key_of(source).into();
        let Some(position) = positions.get_mut(&key) else { continue };
        for _ in 0..1 + position.next_offset % 3 {
            if position.next_offset < until {
                let number = i64::from(source) * FAR + i64::try_from(position.next_offset).unwrap();
                let mut batch = batch(source % partitions, number);
                batch.is_live = true;
                append.batches.push(batch);
                position.next_offset += 1;
            }
        }
        append.positions.push((key, position.clone()));
    }
    append.log_time = Timestamp(0);
    let is_more = !append.batches.is_empty();
    if is_more {
        publisher.append(&append)?;
        publisher.sync()?;
    }
    Ok(is_more || positions.is_empty())
}
