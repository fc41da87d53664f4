//! Positions: where partitions begin that were never read, and what becomes of one that the broker does
//! not have.

use std::collections::HashMap;

use rdkafka::consumer::Consumer as _;
use rdkafka::{Offset, TopicPartitionList};

use super::{ANSWER, Found, KafkaSource, KafkaStart};
use crate::source::live::{Outbox, Stopped, Word};

impl KafkaSource {
    /// Where partitions end that were never read and are not to be read from their beginning.
    pub(super) fn ends(&self, found: &Found<'_>) -> HashMap<(String, i32), i64> {
        let mut list = TopicPartitionList::new();
        if self.config.start == KafkaStart::Latest {
            for (topic, partitions) in found {
                for partition in partitions {
                    let is_known = self.positions.contains_key(&((*topic).to_owned(), *partition))
                        || self.stream(topic, *partition).is_some();
                    if !is_known && self.is_ours(topic, *partition) {
                        // In the place of a time: the newest one.
                        let _ = list.add_partition_offset(topic, *partition, Offset::End);
                    }
                }
            }
        }
        if list.count() == 0 {
            return HashMap::new();
        }
        let Ok(ends) = self.consumer.offsets_for_times(list, ANSWER) else { return HashMap::new() };
        let known = ends.to_topic_map().into_iter();
        known
            .filter_map(|(key, offset)| Some((key, offset.to_raw().filter(|end| *end >= 0)?)))
            .collect()
    }

    /// Some position is not one that the broker has: finds it, tells the gap, and goes on with the
    /// oldest message that there is.
    pub(super) fn find_positions(&mut self, outbox: &Outbox) -> Result<(), Stopped> {
        let known: Vec<(String, i32, i64)> = self
            .partitions
            .iter()
            .flat_map(|(topic, partitions)| {
                partitions.streams.iter().map(move |(part, stream)| (topic, *part, stream))
            })
            .filter_map(|(topic, part, stream)| Some((topic.clone(), part, stream.next?)))
            .collect();
        for (topic, partition, next) in known {
            let Ok((low, high)) = self.consumer.fetch_watermarks(&topic, partition, ANSWER) else {
                continue;
            };
            if (low..=high).contains(&next) {
                continue;
            }
            self.counts.out_of_range.one();
            let reason = if next < low {
                format!("offsets {next} to {} are gone from the broker", low - 1)
            } else {
                format!("offset {next} is past the end {high}: the topic was made anew")
            };
            tracing::error!(topic, partition, reason, "messages lost, going on with the oldest");
            let closed = self.stream(&topic, partition).map(|stream| stream.number);
            if let Some(number) = closed {
                outbox.tell_blocking(number, Word::Closed { reason, is_gap: true })?;
            }
            let mut list = TopicPartitionList::new();
            list.add_partition(&topic, partition);
            self.unassign(&list);
            self.open(&topic, partition, Some(low), outbox)?;
            self.begin(&topic, partition, outbox)?;
            let mut list = TopicPartitionList::new();
            let _ = list.add_partition_offset(&topic, partition, Offset::Offset(low));
            self.assign(&list);
        }
        Ok(())
    }
}
