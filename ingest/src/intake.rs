//! Intake: what sessions say, sifted and put into the batches of every shard that it touches.
//!
//! One intake feeds one log. A session hands its messages to a [`Recorder`], which is the
//! [`RouteSink`] of one record of one input.

use std::sync::Arc;

use schemas::batch::{Account, Action, Control, MessageEvent, RouteEvent};
use schemas::bgp::Prefix;
use schemas::log::LogError;
use schemas::registry::Registry;
use schemas::tables::Text;
use schemas::time::Timestamp;

use crate::attribute_table::AttributeTable;
use crate::batcher::{Batcher, Outlet};
use crate::session::interest::{Interest, Keep};
use crate::session::{RouteSink, SessionEvent, UpdateView};

/// The way into a log.
pub struct Intake<O> {
    /// The batches under construction.
    pub batcher: Batcher<O>,
    interest: Interest,
    attributes: AttributeTable,
    /// Rows of the message under way, by partition.
    messages: Vec<Option<u32>>,
    /// Shards of the element under way.
    shards: Vec<u32>,
    /// Elements of the message under way that are kept.
    elements: Vec<(Action, Prefix, Option<u32>)>,
}

impl<O: Outlet> Intake<O> {
    /// An intake into these batches.
    #[must_use]
    pub fn new(batcher: Batcher<O>, registry: Arc<Registry>, keep: Keep) -> Self {
        let messages = vec![None; batcher.partitions() as usize];
        Self {
            batcher,
            interest: Interest::new(registry, keep),
            attributes: AttributeTable::default(),
            messages,
            shards: Vec::new(),
            elements: Vec::new(),
        }
    }

    /// The registry in force.
    #[must_use]
    pub const fn registry(&self) -> &Arc<Registry> {
        self.interest.registry()
    }

    /// The sink of one record of an input.
    pub const fn record<'i>(
        &'i mut self,
        source: &'i Text,
        offset: u64,
        log_time: Timestamp,
        account: &'i mut Account,
    ) -> Recorder<'i, O> {
        Recorder { intake: self, source, offset, records: 0, log_time, account, failed: None }
    }

    fn message(
        &mut self,
        partition: u32,
        update: &UpdateView<'_>,
        (source, source_offset): (&Text, u64),
        attributes: Option<u32>,
    ) -> Option<u32> {
        let row = self.messages.get_mut(partition as usize)?;
        if row.is_none() {
            let mut place = self.batcher.place(partition)?;
            let message = MessageEvent {
                event_time: update.time,
                router_time: update.router_time,
                peer: place.peer(update.header),
                source: place.source(source),
                source_offset,
                attributes: attributes.and_then(|id| place.attributes(&self.attributes, id)),
                disposition: update.disposition,
                is_snapshot: update.is_snapshot,
            };
            *row = Some(place.message(message));
        }
        *row
    }

    fn update(
        &mut self,
        update: &UpdateView<'_>,
        source: (&Text, u64),
        log_time: Timestamp,
        account: &mut Account,
    ) -> Result<(), LogError> {
        let partitions = self.batcher.partitions();
        let mut elements = std::mem::take(&mut self.elements);
        elements.clear();
        let left = self.interest.sift(update, |action, prefix, path_id| {
            elements.push((action, prefix, path_id));
        });
        account.read += elements.len() as u64 + left;
        account.accepted += elements.len() as u64;
        account.unmatched += left;
        let announces = elements.iter().any(|(action, ..)| *action == Action::Announce);
        let attributes = announces.then(|| self.attributes.intern(update.attributes));
        self.messages.fill(None);
        for (action, prefix, path_id) in elements.iter().copied() {
            let mut shards = std::mem::take(&mut self.shards);
            let writing = shards_of(
                self.interest.registry(),
                &update.header.routing_domain,
                &prefix,
                partitions,
                &mut shards,
            );
            for partition in shards.iter().copied() {
                let Some(message) = self.message(partition, update, source, attributes) else {
                    continue;
                };
                let Some(mut place) = self.batcher.place(partition) else { continue };
                let writes = partition == writing;
                place.route(log_time, RouteEvent { message, action, prefix, path_id, writes });
            }
            self.shards = shards;
        }
        self.elements = elements;
        (0..partitions).try_for_each(|partition| self.batcher.cut(partition))
    }
}

/// The shards that get a copy of an element on a prefix; the answer is the one that writes.
fn shards_of(
    registry: &Registry,
    domain: &str,
    prefix: &Prefix,
    partitions: u32,
    shards: &mut Vec<u32>,
) -> u32 {
    shards.clear();
    if partitions == 1 {
        shards.push(0);
        return 0;
    }
    let writing = registry.writing_shard(domain, prefix, partitions);
    shards.push(writing);
    shards.extend(
        registry
            .touches(domain, prefix)
            .map(|touch| registry.shard(touch.owner.connection, partitions)),
    );
    shards.sort_unstable();
    shards.dedup();
    writing
}

/// Takes what a session says of one record.
pub struct Recorder<'i, O> {
    intake: &'i mut Intake<O>,
    source: &'i Text,
    offset: u64,
    /// Records that began.
    records: u64,
    log_time: Timestamp,
    account: &'i mut Account,
    failed: Option<LogError>,
}

impl<O: Outlet> Recorder<'_, O> {
    /// How many records began.
    ///
    /// # Errors
    /// [`LogError::Closed`] if a partition is not read any more.
    pub fn finish(self) -> Result<u64, LogError> {
        self.failed.map_or(Ok(self.records), Err)
    }

    const fn source_offset(&self) -> u64 {
        self.offset + self.records.saturating_sub(1)
    }
}

impl<O: Outlet> RouteSink for Recorder<'_, O> {
    #[inline]
    fn update(&mut self, update: &UpdateView<'_>) {
        let source = (self.source, self.source_offset());
        let taken = self.intake.update(update, source, self.log_time, self.account);
        self.failed = taken.err().or(self.failed.take());
    }

    fn session(&mut self, event: &SessionEvent<'_>) {
        let (source, source_offset) = (self.source, self.source_offset());
        let reason: Option<Text> = event.reason.map(Into::into);
        let told = self.intake.batcher.broadcast(self.log_time, |place| Control::Peer {
            peer: place.peer(event.header),
            state: event.state,
            event_time: event.time,
            source: place.source(source),
            source_offset,
            local_ip: event.local_ip,
            reason: reason.clone(),
            prefixes_accepted: event.prefixes_accepted,
        });
        self.failed = told.err().or(self.failed.take());
    }

    fn next_record(&mut self) {
        self.records += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_that_touches_two_shards_is_written_by_one() {
        let connection = |name: &str, prefix: &str| -> schemas::connection::Connection {
            serde_json::from_str(&format!(r#"{{"name":"{name}","prefixes":["{prefix}"]}}"#))
                .unwrap()
        };
        let connections = vec![connection("a", "192.0.2.0/24"), connection("b", "192.0.2.64/26")];
        let registry = Registry::new(1, connections, Vec::new()).unwrap();
        let mut shards = Vec::new();
        for partitions in 1..20 {
            let inside = "192.0.2.64/26".parse().unwrap();
            let writing = shards_of(&registry, "public", &inside, partitions, &mut shards);
            assert_eq!(writing, registry.shard(1, partitions), "the longest match writes");
            assert!(shards.contains(&registry.shard(0, partitions)));
        }
        let covers = "192.0.0.0/16".parse().unwrap();
        let writing = shards_of(&registry, "public", &covers, 12, &mut shards);
        assert_eq!(writing, Registry::shard_of_prefix(&covers, 12));
        assert!(shards.contains(&writing));
        shards_of(&registry, "contoso", &covers, 12, &mut shards);
        assert_eq!(shards.len(), 1, "another address space");
    }
}
