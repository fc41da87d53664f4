//! The reading end: a member of the group that folds the events topic.
//!
//! One thread polls and never waits: not for a fold that is slow (its partition is paused), not for one
//! that opens a snapshot (its partition is asked for once it has said where to begin), not for one that
//! finishes (its partition is given back once it is done, or when its time is over). Positions are
//! ours, never the group's. Nothing is passed over in silence: messages that were deleted unread, a log
//! that ends before what was read of it, a topic made anew.

mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::{Offset, TopicPartitionList};
use schemas::log::LogError;
use schemas::time::Timestamp;

use super::brokers;
use super::clients::{Ears, LogCounts, TELL_EVERY};
use super::config::KafkaLogConfig;
use super::control::Versions;
use super::lane::{Lane, Message, Passing, Start};
use super::member::{MemberEars, Rebalanced, fatal, list_of};
use super::progress::KafkaProgress;
use super::records::Records;
use super::topics::Topics;
use crate::source::counter::{Counter, Seldom};
use crate::source::live::wall_clock;

/// How long a poll waits for a message.
const POLL: Duration = Duration::from_millis(100);
/// How long it waits while something else may be due.
const POLL_BUSY: Duration = Duration::from_millis(10);
/// Polls between two looks at all else.
const POLLS_MAX: u32 = 512;
/// How long brokers may take to answer what we ask.
const ANSWER: Duration = Duration::from_secs(5);

/// Folds the partitions that this process owns.
pub trait Folds: Send {
    /// A partition is ours. A thread of its own folds it: first it says where to begin, and it drops
    /// the records when it is done.
    ///
    /// # Errors
    /// [`LogError`] if that cannot be.
    fn assigned(&mut self, records: Records) -> Result<(), LogError>;
}

/// What became of a partition that is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Its fold has not said where to begin.
    Opening,
    /// It is read.
    Reading,
    /// It goes, since then; its fold finishes.
    Leaving(Instant),
    /// It cannot be read; its fold was told.
    Failed,
}

struct Reading {
    lane: Arc<Lane>,
    phase: Phase,
    /// Whether librdkafka has it.
    is_assigned: bool,
    is_paused: bool,
    /// Offset of the next message.
    next: u64,
    /// When something came of it, or nothing could.
    heard: Instant,
    /// Since when it seems to end too early.
    receded: Option<Instant>,
    is_stall_told: bool,
}

/// What a reader is made with.
pub struct ReaderOptions {
    /// `[kafka]`.
    pub config: KafkaLogConfig,
    /// The topics as they were at the start.
    pub topics: Topics,
    /// What is counted.
    pub counts: Arc<LogCounts>,
    /// How long a fold may take to finish when its partition goes.
    pub finish_secs: u32,
    /// How far partitions are in the lake.
    pub progress: Arc<KafkaProgress>,
    /// The versions of the registry.
    pub versions: Arc<Versions>,
    /// Where the second of the last look is noted, for whoever asks if we live.
    pub heartbeat: Arc<Counter>,
}

/// A member of the group that folds.
pub struct EventsReader {
    options: ReaderOptions,
    topic: Arc<str>,
    consumer: BaseConsumer<MemberEars>,
    /// Sees the ends as the brokers have them.
    edges: BaseConsumer<Ears>,
    readings: BTreeMap<u32, Reading>,
    /// What is to be given back at once.
    returning: Option<BTreeSet<u32>>,
    /// What came again before its last fold was done.
    again: BTreeSet<u32>,
    looked_at: Instant,
    /// Looks in a row that did not find the topic.
    misses: u32,
    published_at: Instant,
    told: Seldom,
}

impl EventsReader {
    /// Joins the group of a role.
    ///
    /// # Errors
    /// [`LogError::Brokers`] if the client cannot be made.
    pub fn join(options: ReaderOptions, role: &str) -> Result<Self, LogError> {
        let config = &options.config;
        let failed = |error: &dyn std::fmt::Display| brokers(config, error);
        let mut client = config.member(role).map_err(|error| failed(&error))?;
        client.set("statistics.interval.ms", "1000");
        let consumer: BaseConsumer<MemberEars> = client
            .create_with_context(MemberEars::new(&options.counts))
            .map_err(|error| failed(&error))?;
        let mut client = config.consumer("unused").map_err(|error| failed(&error))?;
        client.remove("group.id").set("isolation.level", "read_uncommitted");
        let edges = client.create_with_context(Ears::default()).map_err(|error| failed(&error))?;
        consumer.subscribe(&[&config.events_topic]).map_err(|error| failed(&error))?;
        let now = Instant::now();
        Ok(Self {
            topic: config.events_topic.as_str().into(),
            options,
            consumer,
            edges,
            readings: BTreeMap::new(),
            returning: None,
            again: BTreeSet::new(),
            looked_at: now,
            misses: 0,
            published_at: now,
            told: Seldom::new(TELL_EVERY),
        })
    }

    /// Polls until it is told to stop; then every fold is told that its partition goes, and waited for.
    /// It blocks: give it a thread of its own.
    ///
    /// # Errors
    /// [`LogError::Fenced`] if another process has our name, and what the folds say.
    pub fn run(mut self, folds: &mut dyn Folds, stop: &AtomicBool) -> Result<(), LogError> {
        let done = self.serve(folds, stop);
        for reading in self.readings.values_mut() {
            reading.lane.take_away();
            reading.phase = Phase::Leaving(Instant::now());
        }
        while self.readings.values().any(|reading| !self.is_done(reading)) {
            drop(self.consumer.poll(POLL_BUSY));
        }
        self.publish();
        self.consumer.context().leave();
        done
    }

    fn serve(&mut self, folds: &mut dyn Folds, stop: &AtomicBool) -> Result<(), LogError> {
        while !stop.load(Ordering::Relaxed) {
            let is_busy = |reading: &Reading| reading.is_paused || reading.phase != Phase::Reading;
            let is_busy = self.readings.values().any(is_busy);
            self.poll(if is_busy { POLL_BUSY } else { POLL });
            if let Some(what) = fatal(&self.consumer, &self.options.config) {
                return Err(LogError::Fenced { what });
            }
            while let Some(told) = self.consumer.context().rebalanced() {
                self.act(told, folds)?;
            }
            self.begin_opened();
            self.go_back();
            self.give_back(folds)?;
            self.resume();
            self.watch();
            self.options.heartbeat.set(wall_clock().secs().unsigned_abs());
        }
        Ok(())
    }

    fn poll(&mut self, patience: Duration) {
        for _ in 0..POLLS_MAX {
            match self.consumer.poll(patience) {
                Some(Ok(message)) => {
                    let full = hand_on(&mut self.readings, &message);
                    drop(message);
                    if let Some(partition) = full {
                        let list = list_of(&self.topic, [partition], Offset::Invalid);
                        let paused = self.consumer.pause(&list);
                        if let Some(reading) = self.readings.get_mut(&partition) {
                            reading.is_paused = paused.is_ok();
                        }
                    }
                }
                Some(Err(error)) => {
                    self.hear(&error);
                    return;
                }
                None => return,
            }
        }
    }

    /// Hears an error of the consumer: one that is about positions has them looked at.
    fn hear(&mut self, error: &KafkaError) {
        match error.rdkafka_error_code() {
            Some(Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::LogTruncation) => {
                self.find_positions();
            }
            Some(
                Code::UnknownTopic
                | Code::UnknownTopicId
                | Code::UnknownTopicOrPartition
                | Code::UnknownPartition,
            ) => self.look_at_topic(),
            // All others came to our ears with their reason.
            _ => {}
        }
    }

    fn act(&mut self, told: Rebalanced, folds: &mut dyn Folds) -> Result<(), LogError> {
        tracing::info!(topic = &*self.topic, ?told, "group rebalanced");
        match told {
            Rebalanced::Given(given) => {
                // The group goes on; each partition is asked for when its fold is ready.
                self.assign(&TopicPartitionList::new())?;
                for partition in given {
                    if self.readings.contains_key(&partition) {
                        self.again.insert(partition);
                    } else {
                        self.open(partition, folds)?;
                    }
                }
            }
            Rebalanced::Taken(taken) => {
                self.leave(&taken);
                self.returning = Some(taken);
            }
            Rebalanced::Lost(lost) => {
                self.leave(&lost);
                self.unassign(&lost)?;
            }
        }
        self.count();
        Ok(())
    }

    fn open(&mut self, partition: u32, folds: &mut dyn Folds) -> Result<(), LogError> {
        let bytes_max = usize::try_from(self.options.config.waiting_bytes_max);
        let lane = Arc::new(Lane::new(bytes_max.unwrap_or(usize::MAX)));
        let known = (&self.options.counts, &self.options.versions);
        let records = Records::new(&self.topic, partition, &lane, known);
        let reading = Reading {
            lane,
            phase: Phase::Opening,
            is_assigned: false,
            is_paused: false,
            next: 0,
            heard: Instant::now(),
            receded: None,
            is_stall_told: false,
        };
        self.readings.insert(partition, reading);
        folds.assigned(records)
    }

    /// Nothing more of these is read; their folds finish.
    fn leave(&mut self, partitions: &BTreeSet<u32>) {
        self.again.retain(|partition| !partitions.contains(partition));
        let mut assigned = Vec::new();
        for partition in partitions {
            let Some(reading) = self.readings.get_mut(partition) else { continue };
            reading.lane.take_away();
            reading.phase = Phase::Leaving(Instant::now());
            assigned.extend(reading.is_assigned.then_some(*partition));
        }
        drop(self.consumer.pause(&list_of(&self.topic, assigned, Offset::Invalid)));
    }

    /// Whether the fold of a partition that goes is done, or is not waited for any longer.
    fn is_done(&self, reading: &Reading) -> bool {
        let longest = Duration::from_secs(self.options.finish_secs.into());
        match reading.phase {
            Phase::Leaving(since) => reading.lane.is_dropped() || since.elapsed() > longest,
            _ => false,
        }
    }

    /// Gives partitions back whose folds are done.
    fn give_back(&mut self, folds: &mut dyn Folds) -> Result<(), LogError> {
        if let Some(returning) = &self.returning {
            let mut left = returning.iter().filter_map(|partition| self.readings.get(partition));
            if !left.all(|reading| self.is_done(reading)) {
                return Ok(());
            }
            let returning = self.returning.take().unwrap_or_default();
            self.publish();
            self.unassign(&returning)?;
        }
        let is_gone = |(partition, reading): (&u32, &Reading)| {
            (!reading.is_assigned && self.is_done(reading)).then_some(*partition)
        };
        let gone: Vec<u32> = self.readings.iter().filter_map(is_gone).collect();
        for partition in gone {
            let reading = self.readings.remove(&partition);
            if reading.is_some_and(|reading| !reading.lane.is_dropped()) {
                let secs = self.options.finish_secs;
                tracing::error!(
                    partition,
                    secs,
                    "fold did not finish in time, its partition is gone"
                );
            }
            if self.again.remove(&partition) {
                self.open(partition, folds)?;
            }
        }
        self.count();
        Ok(())
    }

    /// Asks for partitions whose folds have said where to begin.
    fn begin_opened(&mut self) {
        let opened = |(partition, reading): (&u32, &Reading)| {
            let start = reading.lane.start().filter(|_| reading.phase == Phase::Opening)?;
            Some((*partition, start))
        };
        let opened: Vec<(u32, Start)> = self.readings.iter().filter_map(opened).collect();
        for (partition, start) in opened {
            match self.find(partition, start.offset) {
                Ok(Some(next)) => self.read_from(partition, next),
                Ok(None) => {}
                Err(error) => self.fail(partition, error),
            }
        }
    }

    /// Goes to where folds want to go on.
    fn go_back(&mut self) {
        let sought = |(partition, reading): (&u32, &Reading)| {
            // One that is being opened keeps its wish until it is.
            let is_open = reading.phase == Phase::Reading;
            let sought = is_open.then(|| reading.lane.sought()).flatten()?;
            Some((*partition, sought))
        };
        let sought: Vec<(u32, u64)> = self.readings.iter().filter_map(sought).collect();
        for (partition, from) in sought {
            self.reopen(partition, from);
        }
    }

    /// Where a partition is to be read on: there, if the brokers have it. None: not known now.
    fn find(&mut self, partition: u32, wanted: Option<u64>) -> Result<Option<u64>, LogError> {
        let number = i32::try_from(partition).unwrap_or(i32::MAX);
        let edges = self.edges.fetch_watermarks(&self.topic, number, ANSWER);
        let Ok((low, end)) = edges.inspect_err(|error| {
            if let Some(kept_back) = self.told.now() {
                tracing::warn!(partition, %error, kept_back, "ends of the log not told, trying on");
            }
        }) else {
            return Ok(None);
        };
        let offset = |edge: i64| u64::try_from(edge).unwrap_or_default();
        let (low, end) = (offset(low), offset(end));
        let Some(reading) = self.readings.get_mut(&partition) else { return Ok(None) };
        let Some(wanted) = wanted else { return Ok(Some(low)) };
        if wanted < low {
            reading.lane.put(Passing::Missing { from: wanted, to: low });
            return Ok(Some(low));
        }
        if wanted <= end {
            reading.receded = None;
            return Ok(Some(wanted));
        }
        // A new leader has to learn its end.
        let wait = Duration::from_secs(self.options.config.stall_secs.into());
        if reading.receded.get_or_insert_with(Instant::now).elapsed() < wait {
            return Ok(None);
        }
        Err(LogError::Receded { topic: self.topic.to_string(), partition, resume: wanted, end })
    }

    fn read_from(&mut self, partition: u32, next: u64) {
        let offset = Offset::Offset(i64::try_from(next).unwrap_or(i64::MAX));
        let list = list_of(&self.topic, [partition], offset);
        let failed = |error: KafkaError| brokers(&self.options.config, &error);
        // librdkafka remembers that it was paused when it went.
        let done = self.assign(&list).and_then(|()| self.consumer.resume(&list).map_err(failed));
        let Some(reading) = self.readings.get_mut(&partition) else { return };
        match done {
            Ok(()) => {
                reading.phase = Phase::Reading;
                reading.is_assigned = true;
                reading.is_paused = false;
                reading.next = next;
                reading.heard = Instant::now();
            }
            Err(error) => self.fail(partition, error),
        }
    }

    fn fail(&mut self, partition: u32, error: LogError) {
        let Some(reading) = self.readings.get_mut(&partition) else { return };
        tracing::error!(partition, %error, "partition cannot be read");
        reading.phase = Phase::Failed;
        reading.lane.put(Passing::Failed(error));
    }

    fn assign(&self, list: &TopicPartitionList) -> Result<(), LogError> {
        let failed = |error: KafkaError| brokers(&self.options.config, &error);
        self.consumer.incremental_assign(list).map_err(failed)
    }

    /// Gives back what librdkafka has of these; the group goes on.
    fn unassign(&mut self, partitions: &BTreeSet<u32>) -> Result<(), LogError> {
        let readings = &mut self.readings;
        let assigned: Vec<u32> = partitions
            .iter()
            .filter(|partition| {
                readings
                    .get_mut(*partition)
                    .is_some_and(|reading| std::mem::take(&mut reading.is_assigned))
            })
            .copied()
            .collect();
        let list = list_of(&self.topic, assigned, Offset::Invalid);
        let failed = |error: KafkaError| brokers(&self.options.config, &error);
        self.consumer.incremental_unassign(&list).map_err(failed)
    }

    fn count(&self) {
        self.options.counts.partitions.set(self.readings.len() as u64);
    }
}

/// Hands a message to the lane of its partition; the partition, if its lane is full now.
fn hand_on(readings: &mut BTreeMap<u32, Reading>, message: &BorrowedMessage<'_>) -> Option<u32> {
    let partition = u32::try_from(message.partition()).ok()?;
    // It was on its way when its partition was given back.
    let reading = readings.get_mut(&partition).filter(|reading| reading.phase == Phase::Reading)?;
    let offset = u64::try_from(message.offset()).ok()?;
    reading.next = offset + 1;
    reading.heard = Instant::now();
    reading.is_stall_told = false;
    let millis = message.timestamp().to_millis().unwrap_or_default();
    let is_full = reading.lane.put(Passing::Message(Message {
        offset,
        time: Timestamp(millis.saturating_mul(1000)),
        payload: message.payload().unwrap_or_default().to_vec(),
    }));
    (is_full && !reading.is_paused).then_some(partition)
}
