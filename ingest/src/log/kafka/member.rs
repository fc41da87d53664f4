//! Member: this process in a group that parts a topic among its members, without reading it.
//!
//! The group says who owns what, nothing else: its partitions are never fetched. One thread polls; what
//! a rebalance tells is acted on by that thread, one after the other, and the brokers wait for it.
//! Partitions are given back only when nothing of them will be written any more.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::statistics::Statistics;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use schemas::log::LogError;

use super::brokers;
use super::clients::{Ears, LogCounts};
use super::config::KafkaLogConfig;
use super::membership::Membership;
use crate::source::counter::Counter;
use crate::source::live::wall_clock;

/// How long a poll waits.
const POLL: Duration = Duration::from_millis(100);

/// What a rebalance told.
#[derive(Debug)]
pub(super) enum Rebalanced {
    /// These came.
    Given(BTreeSet<u32>),
    /// These go, to somebody who waits until they are given back.
    Taken(BTreeSet<u32>),
    /// These are somebody else's by now, it may be.
    Lost(BTreeSet<u32>),
}

/// Ears of a member of a group.
pub(super) struct MemberEars {
    ears: Ears,
    counts: Arc<LogCounts>,
    rebalanced: Mutex<VecDeque<Rebalanced>>,
    statistics: Mutex<Option<Statistics>>,
    is_leaving: AtomicBool,
}

impl MemberEars {
    pub(super) fn new(counts: &Arc<LogCounts>) -> Self {
        Self {
            ears: Ears::new(Arc::clone(counts)),
            counts: Arc::clone(counts),
            rebalanced: Mutex::default(),
            statistics: Mutex::default(),
            is_leaving: AtomicBool::new(false),
        }
    }

    /// From here on nobody acts on rebalances any more.
    pub(super) fn leave(&self) {
        self.is_leaving.store(true, Ordering::Relaxed);
    }

    /// The next thing that a rebalance told.
    pub(super) fn rebalanced(&self) -> Option<Rebalanced> {
        self.rebalanced.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// The newest report, once.
    pub(super) fn statistics(&self) -> Option<Statistics> {
        self.statistics.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ClientContext for MemberEars {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.ears.log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.ears.error(error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        *self.statistics.lock().unwrap_or_else(PoisonError::into_inner) = Some(statistics);
    }
}

impl ConsumerContext for MemberEars {
    /// Only noted: librdkafka waits until the polling thread has assigned what came, or given back
    /// what goes.
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        error: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let is_leaving = self.is_leaving.load(Ordering::Relaxed);
        let partitions = partitions_of(list);
        let told = match error {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS if is_leaving => {
                drop(consumer.incremental_assign(list));
                return;
            }
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Rebalanced::Given(partitions),
            _ if is_leaving => {
                drop(consumer.incremental_unassign(list));
                return;
            }
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS if consumer.assignment_lost() => {
                Rebalanced::Lost(partitions)
            }
            _ => Rebalanced::Taken(partitions),
        };
        self.counts.rebalances.one();
        self.rebalanced.lock().unwrap_or_else(PoisonError::into_inner).push_back(told);
    }
}

fn partitions_of(list: &TopicPartitionList) -> BTreeSet<u32> {
    list.elements().iter().filter_map(|element| u32::try_from(element.partition()).ok()).collect()
}

/// Partitions of a topic, at an offset.
pub(super) fn list_of(
    topic: &str,
    partitions: impl IntoIterator<Item = u32>,
    offset: Offset,
) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for partition in partitions.into_iter().filter_map(|number| i32::try_from(number).ok()) {
        // The only failure is an offset that no partition can have.
        let _ = list.add_partition_offset(topic, partition, offset);
    }
    list
}

/// Why a consumer can never go on, in words.
pub(super) fn fatal<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    config: &KafkaLogConfig,
) -> Option<String> {
    let (code, reason) = consumer.client().fatal_error()?;
    Some(match code {
        Code::FencedInstanceId => format!(
            "another process joined as {:?}, the [kafka] instance of this one: give each its own name",
            config.instance()
        ),
        _ => format!("kafka client: {reason} ({code})"),
    })
}

/// Acts for what a member owns.
pub trait Holder: Send {
    /// These are ours now.
    ///
    /// # Errors
    /// [`LogError`] if that cannot be; the member then leaves.
    fn given(&mut self, partitions: &BTreeSet<u32>) -> Result<(), LogError>;

    /// These will be another's: returns when nothing of them will be written any more.
    ///
    /// # Errors
    /// [`LogError`] if that cannot be; the member then leaves.
    fn taken(&mut self, partitions: &BTreeSet<u32>) -> Result<(), LogError>;
}

/// A member of a group.
pub struct Member {
    config: KafkaLogConfig,
    topic: String,
    consumer: BaseConsumer<MemberEars>,
    membership: Arc<Membership>,
    owned: BTreeSet<u32>,
    /// What was lost and did not come back yet.
    lost: BTreeSet<u32>,
    heartbeat: Option<Arc<Counter>>,
}

impl Member {
    /// Joins the group of a role over a topic.
    ///
    /// # Errors
    /// [`LogError::Brokers`] if the client cannot be made.
    pub fn join(
        config: &KafkaLogConfig,
        role: &str,
        topic: &str,
        counts: &Arc<LogCounts>,
        membership: Arc<Membership>,
    ) -> Result<Self, LogError> {
        let client = config.member(role).map_err(|error| brokers(config, &error))?;
        let consumer: BaseConsumer<MemberEars> = client
            .create_with_context(MemberEars::new(counts))
            .map_err(|error| brokers(config, &error))?;
        consumer.subscribe(&[topic]).map_err(|error| brokers(config, &error))?;
        Ok(Self {
            config: config.clone(),
            topic: topic.to_owned(),
            consumer,
            membership,
            owned: BTreeSet::new(),
            lost: BTreeSet::new(),
            heartbeat: None,
        })
    }

    /// Notes the second of each look there, for whoever asks if we live.
    #[must_use]
    pub fn beating(mut self, heartbeat: Arc<Counter>) -> Self {
        self.heartbeat = Some(heartbeat);
        self
    }

    /// Polls until it is told to stop. It blocks: give it a thread of its own.
    ///
    /// # Errors
    /// [`LogError::Fenced`] if what was ours is another's, and what the holder says.
    pub fn run(mut self, holder: &mut dyn Holder, stop: &AtomicBool) -> Result<(), LogError> {
        let done = self.serve(holder, stop);
        if done.is_ok() && !self.owned.is_empty() {
            // What is at work ends before its seat does.
            drop(holder.taken(&self.owned));
        }
        let why = done.as_ref().err().map_or_else(|| "it left".to_owned(), ToString::to_string);
        self.membership.end(why);
        self.consumer.context().leave();
        done
    }

    fn serve(&mut self, holder: &mut dyn Holder, stop: &AtomicBool) -> Result<(), LogError> {
        while !stop.load(Ordering::Relaxed) {
            // Nothing is fetched; errors come to our ears with their reason.
            drop(self.consumer.poll(POLL));
            if let Some(heartbeat) = &self.heartbeat {
                heartbeat.set(wall_clock().secs().unsigned_abs());
            }
            if let Some(what) = fatal(&self.consumer, &self.config) {
                return Err(LogError::Fenced { what });
            }
            while let Some(told) = self.consumer.context().rebalanced() {
                self.act(told, holder)?;
            }
        }
        Ok(())
    }

    fn act(&mut self, told: Rebalanced, holder: &mut dyn Holder) -> Result<(), LogError> {
        let failed = |error: KafkaError| brokers(&self.config, &error);
        tracing::info!(topic = self.topic, ?told, "group rebalanced");
        match told {
            Rebalanced::Given(mut given) => {
                let list = list_of(&self.topic, given.iter().copied(), Offset::End);
                self.consumer.incremental_assign(&list).map_err(failed)?;
                if !given.is_empty() {
                    self.consumer.pause(&list).map_err(failed)?;
                }
                if !self.lost.is_subset(&given) {
                    let what = format!(
                        "this process was away for longer than [kafka] session_timeout_secs, and others \
                         took over shares of its inputs ({:?}); start it again",
                        self.lost
                    );
                    return Err(LogError::Fenced { what });
                }
                self.owned.extend(&given);
                self.sit();
                let back = std::mem::take(&mut self.lost);
                given.retain(|partition| !back.contains(partition));
                if given.is_empty() { Ok(()) } else { holder.given(&given) }
            }
            Rebalanced::Taken(taken) => {
                self.sit();
                if !taken.is_empty() {
                    holder.taken(&taken)?;
                }
                self.owned.retain(|partition| !taken.contains(partition));
                self.sit();
                self.give_back(taken)
            }
            Rebalanced::Lost(lost) => {
                self.membership.lose();
                tracing::warn!(topic = self.topic, ?lost, "group lost, joining again");
                self.lost.extend(&self.owned);
                self.owned.clear();
                self.give_back(lost)
            }
        }
    }

    fn sit(&self) {
        if let Some(metadata) = self.consumer.group_metadata() {
            self.membership.sit(metadata, self.owned.clone());
        }
    }

    fn give_back(&self, partitions: BTreeSet<u32>) -> Result<(), LogError> {
        let list = list_of(&self.topic, partitions, Offset::Invalid);
        let done = self.consumer.incremental_unassign(&list);
        done.map_err(|error| brokers(&self.config, &error))
    }
}
