//! Partitions among processes: which ones are ours, as that comes and goes.
//!
//! Whoever parts them says so by a number that counts up, and is answered with it once nothing more
//! will be told of what went. A partition that goes has no last word: whoever owns its state knows.

use std::collections::BTreeSet;
use std::sync::Arc;

use rdkafka::TopicPartitionList;
use tokio::sync::watch;

use super::{KafkaSource, Positions};

/// The share that a partition of a topic lies in.
pub type ShareOf = dyn Fn(&str, u32) -> u32 + Send + Sync;

/// What is ours.
#[derive(Clone, Debug, Default)]
pub struct Owned {
    /// Counts up with each change.
    pub number: u64,
    /// Shares that are ours.
    pub shares: BTreeSet<u32>,
    /// Where partitions of those that came go on.
    pub positions: Positions,
}

/// What a source needs to read only what is ours.
pub struct Parted {
    /// What is ours.
    pub owned: watch::Receiver<Owned>,
    /// Answered with the number of what was seen.
    pub seen: watch::Sender<u64>,
    /// The share of each partition.
    pub share_of: Arc<ShareOf>,
}

impl Parted {
    fn owns(&self, shares: &BTreeSet<u32>, topic: &str, partition: i32) -> bool {
        let partition = u32::try_from(partition).unwrap_or_default();
        shares.contains(&(self.share_of)(topic, partition))
    }
}

impl KafkaSource {
    /// Whether a partition is ours.
    pub(super) fn is_ours(&self, topic: &str, partition: i32) -> bool {
        let owns = |parted: &Parted| parted.owns(&parted.owned.borrow().shares, topic, partition);
        self.parted.as_ref().is_none_or(owns)
    }

    /// Gives up what is not ours any more, and notes where what came goes on. Whether anything changed.
    pub(super) fn part(&mut self) -> bool {
        let Some(mut parted) = self.parted.take() else { return false };
        let has_changed = parted.owned.has_changed().unwrap_or_default();
        if has_changed {
            let owned = parted.owned.borrow_and_update().clone();
            let mut gone = TopicPartitionList::new();
            for (topic, partitions) in &mut self.partitions {
                partitions.streams.retain(|partition, _| {
                    let stays = parted.owns(&owned.shares, topic, *partition);
                    if !stays {
                        gone.add_partition(topic, *partition);
                    }
                    stays
                });
            }
            self.unassign(&gone);
            self.count_partitions();
            // What was known of a partition that went is out of date when it comes again. One that stays
            // may have moved on since it came, or wait for brokers to tell of it.
            self.positions
                .retain(|(topic, partition), _| parted.owns(&owned.shares, topic, *partition));
            for (key, offset) in owned.positions {
                self.positions.entry(key).or_insert(offset);
            }
            // Nobody waits for the answer while the service stops.
            let _ = parted.seen.send(owned.number);
        }
        self.parted = Some(parted);
        has_changed
    }
}
