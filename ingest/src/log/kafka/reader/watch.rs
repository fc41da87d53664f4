//! Watching: partitions that stand still, positions that the brokers do not have, a topic made anew.

use std::time::{Duration, Instant};

use rdkafka::Offset;
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::statistics::{Partition, Statistics};
use schemas::log::LogError;

use super::{ANSWER, EventsReader, Phase, Reading};
use crate::kafka::topic_id::topic_id;
use crate::log::kafka::lane::Passing;
use crate::log::kafka::member::list_of;

/// How often the topic is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How soon it is looked at again when it seems to be gone.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// Looks in a row that must not find it before it is gone: a broker that has just started may not know
/// its topics yet.
const MISSES_MAX: u32 = 3;
/// How often offsets are published for lag tools.
const PUBLISH_EVERY: Duration = Duration::from_secs(5);

impl EventsReader {
    /// Goes on with partitions whose lanes have room again.
    pub(super) fn resume(&mut self) {
        for (partition, reading) in &mut self.readings {
            if reading.is_paused && reading.phase == Phase::Reading && reading.lane.has_room() {
                let list = list_of(&self.topic, [*partition], Offset::Invalid);
                reading.is_paused = self.consumer.resume(&list).is_err();
                reading.heard = Instant::now();
            }
        }
    }

    /// Looks at what the client reports, at the topic, and at folds that stand still.
    pub(super) fn watch(&mut self) {
        if let Some(statistics) = self.consumer.context().statistics() {
            self.report(&statistics);
        }
        let look_every = if self.misses > 0 { LOOK_AGAIN } else { LOOK_EVERY };
        if self.looked_at.elapsed() > look_every {
            self.look_at_topic();
        }
        if self.published_at.elapsed() > PUBLISH_EVERY && self.returning.is_none() {
            self.publish();
        }
        let longest = Duration::from_secs(self.options.config.stall_secs.into());
        for (partition, reading) in &mut self.readings {
            let untaken = reading.lane.untaken_for().filter(|since| *since > longest);
            if untaken.is_some() && !std::mem::replace(&mut reading.is_stall_told, true) {
                self.options.counts.fold_stalled.one();
                let secs = longest.as_secs();
                tracing::error!(partition, secs, "fold takes nothing, its partition waits");
            }
        }
    }

    fn report(&mut self, statistics: &Statistics) {
        let is_up = statistics.brokers.values().any(|broker| broker.state == "UP");
        let Some(topic) = statistics.topics.get(&*self.topic) else { return };
        let longest = Duration::from_secs(self.options.config.stall_secs.into());
        let (mut lag, mut stalled) = (0, Vec::new());
        for (number, told) in &topic.partitions {
            let Ok(partition) = u32::try_from(*number) else { continue };
            let Some(reading) = self.readings.get_mut(&partition) else { continue };
            let behind = u64::try_from(told.ls_offset).unwrap_or_default();
            let behind = behind.saturating_sub(reading.next);
            lag += behind;
            if reading.phase != Phase::Reading {
                continue;
            }
            if is_up && is_caught_up(told) {
                reading.lane.put(Passing::CaughtUp);
                reading.heard = Instant::now();
            } else if reading.is_paused || !is_up {
                reading.heard = Instant::now();
            } else if behind > 0 && reading.heard.elapsed() > longest {
                stalled.push(partition);
            }
        }
        self.options.counts.lag.set(lag);
        for partition in stalled {
            self.ask_anew(partition);
        }
    }

    /// Asks anew for a partition of which nothing comes.
    fn ask_anew(&mut self, partition: u32) {
        let Some(reading) = self.readings.get(&partition) else { return };
        let (next, secs) = (reading.next, self.options.config.stall_secs);
        self.options.counts.stalled.one();
        tracing::error!(
            partition,
            next,
            secs,
            "nothing came though there is something, asking anew"
        );
        match self.unassign(&[partition].into()) {
            Ok(()) => self.read_from(partition, next),
            Err(error) => self.fail(partition, error),
        }
    }

    /// Some position is not one that the brokers have: finds it, and says what is missing.
    pub(super) fn find_positions(&mut self) {
        let reading = |(partition, reading): (&u32, &Reading)| {
            (reading.phase == Phase::Reading).then_some((*partition, reading.next))
        };
        let known: Vec<(u32, u64)> = self.readings.iter().filter_map(reading).collect();
        for (partition, next) in known {
            match self.find(partition, Some(next)) {
                Ok(Some(found)) if found == next => {}
                Ok(Some(found)) => match self.unassign(&[partition].into()) {
                    Ok(()) => self.read_from(partition, found),
                    Err(error) => self.fail(partition, error),
                },
                // Looked at again as if it were being opened.
                Ok(None) => self.reopen(partition, next),
                Err(error) => self.fail(partition, error),
            }
        }
    }

    pub(super) fn reopen(&mut self, partition: u32, next: u64) {
        if self.unassign(&[partition].into()).is_err() {
            return;
        }
        let Some(reading) = self.readings.get_mut(&partition) else { return };
        reading.phase = Phase::Opening;
        if let Some(start) = reading.lane.start() {
            reading.lane.begin(super::Start { offset: Some(next), ..start });
        }
    }

    /// Looks whether the topic is the one that it was.
    pub(super) fn look_at_topic(&mut self) {
        self.looked_at = Instant::now();
        let Some(known) = self.options.topics.events_id else { return };
        let now = topic_id(self.edges.client(), &self.topic, ANSWER);
        let is_unknown = matches!(now, Err(RDKafkaErrorCode::UnknownTopicOrPartition));
        self.misses = if is_unknown { self.misses + 1 } else { 0 };
        let what = match now {
            Ok(Some(id)) if id != known => "it was deleted and made anew while it was read",
            _ if self.misses >= MISSES_MAX => "it was deleted",
            _ => return,
        };
        let what = format!(
            "{what}: its offsets begin anew, and the lake holds rows of the one before; start with a \
             new lake, or with another [kafka] events_topic"
        );
        let partitions: Vec<u32> = self.readings.keys().copied().collect();
        for partition in partitions {
            let (topic, what) = (self.topic.to_string(), what.clone());
            self.fail(partition, LogError::Topic { topic, what });
        }
    }

    /// Publishes how far partitions are in the lake; nothing is read by that.
    pub(super) fn publish(&mut self) {
        self.published_at = Instant::now();
        let mut list = rdkafka::TopicPartitionList::new();
        for (partition, reading) in &self.readings {
            let Some(offset) = self.options.progress.take(*partition) else { continue };
            if !reading.is_assigned {
                continue;
            }
            let offset = Offset::Offset(i64::try_from(offset).unwrap_or(i64::MAX));
            let partition = i32::try_from(*partition).unwrap_or(i32::MAX);
            let _ = list.add_partition_offset(&self.topic, partition, offset);
        }
        if list.count() > 0
            && let Err(error) = self.consumer.commit(&list, CommitMode::Async)
        {
            tracing::debug!(%error, "offsets not published");
        }
    }
}

/// Whether all that the brokers had was fetched and handed on. Control messages of transactions have
/// offsets and are never handed on, so our own position would not do.
fn is_caught_up(partition: &Partition) -> bool {
    partition.fetch_state == "active"
        && partition.fetchq_cnt == 0
        && partition.ls_offset >= 0
        && partition.next_offset >= partition.ls_offset
}
