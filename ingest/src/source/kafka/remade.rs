//! Topics that are not the ones that were read before: their names are the same, their offsets are not.

use rdkafka::TopicPartitionList;
use rdkafka::consumer::Consumer as _;

use super::{ANSWER, Found, KafkaSource, Place};
use crate::kafka::topic_id::topic_ids;
use crate::source::live::{Outbox, Stopped, Word};

impl KafkaSource {
    /// Ends the streams of topics that were made anew, and tells a gap for each partition that was read
    /// before; those are read from their beginning.
    pub(super) fn close_remade(
        &mut self,
        found: &Found<'_>,
        outbox: &Outbox,
    ) -> Result<(), Stopped> {
        let topics: Vec<&str> = found.keys().copied().collect();
        let ids = match topic_ids(self.consumer.client(), &topics, ANSWER) {
            Ok(ids) => ids,
            Err(error) => {
                // The next look asks again; offsets that cannot be are told anyway.
                self.counts.look_failed.one();
                tracing::debug!(%error, "ids of topics not told");
                return Ok(());
            }
        };
        for (topic, id) in ids {
            let before = self.ids.insert(topic.clone(), id).is_some_and(|before| before != id);
            let was_read = |(key, place): (&(String, i32), &Place)| {
                key.0 == topic && place.topic.is_some_and(|before| before != id)
            };
            let is_another = before || self.positions.iter().any(was_read);
            let is_told = self.gone.remove(&topic);
            if !is_another {
                continue;
            }
            if !is_told {
                self.counts.vanished.one();
                tracing::error!(topic, "topic was made anew, it is read from its beginning");
                self.lose(&topic, "the topic was made anew", outbox)?;
            }
            let places = self.positions.iter_mut().filter(|((other, _), _)| *other == topic);
            places.for_each(|(_, place)| *place = Place { next: 0, topic: Some(id) });
        }
        Ok(())
    }

    /// Ends the streams of a topic with a gap, also of partitions that nobody speaks for yet. What comes
    /// back under its name goes on there, if it is the same topic.
    pub(super) fn lose(
        &mut self,
        topic: &str,
        reason: &str,
        outbox: &Outbox,
    ) -> Result<(), Stopped> {
        let left = self.positions.keys().filter(|(other, _)| other == topic);
        for partition in left.map(|(_, partition)| *partition).collect::<Vec<i32>>() {
            if self.stream(topic, partition).is_none() && self.is_ours(topic, partition) {
                self.open(topic, partition, None, outbox)?;
            }
        }
        if let Some(first) = &mut self.found_first {
            first.retain(|(other, _)| other != topic);
        }
        let Some(partitions) = self.partitions.remove(topic) else { return Ok(()) };
        let mut list = TopicPartitionList::new();
        for (partition, stream) in partitions.streams {
            list.add_partition(topic, partition);
            let key = (topic.to_owned(), partition);
            match (self.ids.get(topic), stream.next) {
                (Some(id), Some(next)) => {
                    self.positions.insert(key, Place { next, topic: Some(*id) });
                }
                (Some(_), None) => {}
                (None, _) => {
                    self.positions.remove(&key);
                }
            }
            let reason = reason.to_owned();
            outbox.tell_blocking(stream.number, Word::Closed { reason, is_gap: true })?;
        }
        self.unassign(&list);
        Ok(())
    }
}
