//! Intake: what sessions say, sifted and put into the batches of every shard that it touches.
//!
//! One intake feeds one log. A session hands its messages to a [`Recorder`], which is the
//! [`RouteSink`] of one record of one input.

use std::sync::Arc;

use schemas::batch::{Account, Action, Control, MessageEvent, RouteEvent};
use schemas::bgp::{PeerHeader, Prefix};
use schemas::log::LogError;
use schemas::registry::{Domain, Registry};
use schemas::tables::Text;
use schemas::time::Timestamp;

use crate::attribute_table::AttributeTable;
use crate::batcher::{Batcher, Outlet, Place};
use crate::samples::Owners;
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
    /// Who counts samples, once there are any.
    owners: Option<Arc<Owners>>,
}

impl<O: Outlet> Intake<O> {
    /// An intake into these batches.
    #[must_use]
    pub fn new(mut batcher: Batcher<O>, registry: Arc<Registry>, keep: Keep) -> Self {
        batcher.set_registry_version(registry.version);
        let messages = vec![None; batcher.partitions() as usize];
        Self {
            batcher,
            interest: Interest::new(registry, keep),
            attributes: AttributeTable::default(),
            messages,
            shards: Vec::new(),
            elements: Vec::new(),
            owners: None,
        }
    }

    /// From here on this version of the registry counts; what waits is handed on under the one before.
    ///
    /// # Errors
    /// What the outlet says.
    pub fn enter(&mut self, registry: Arc<Registry>) -> Result<(), LogError> {
        self.batcher.flush()?;
        self.batcher.set_registry_version(registry.version);
        self.interest.enter(registry);
        self.owners = None;
        Ok(())
    }

    /// Who counts samples under the registry in force.
    pub fn owners(&mut self) -> Arc<Owners> {
        let registry = self.interest.registry();
        let owners = self.owners.get_or_insert_with(|| Arc::new(Owners::new(Arc::clone(registry))));
        Arc::clone(owners)
    }

    /// The registry in force.
    #[must_use]
    pub const fn registry(&self) -> &Arc<Registry> {
        self.interest.registry()
    }

    /// The filter.
    pub const fn interest(&mut self) -> &mut Interest {
        &mut self.interest
    }

    /// The sink of one record of an input.
    #[inline]
    pub const fn record<'i>(
        &'i mut self,
        source: &'i Text,
        offset: u64,
        log_time: Timestamp,
        account: &'i mut Account,
    ) -> Recorder<'i, O> {
        let told = Told { source, offset, log_time };
        Recorder { intake: self, told, records: 0, account, failed: None }
    }

    fn update(&mut self, update: &UpdateView<'_>, told: &Told<'_>) -> Result<Counts, LogError> {
        if self.interest.keeps_all() && self.batcher.partitions() == 1 {
            self.whole_update(update, told)
        } else {
            self.sifted_update(update, told)
        }
    }

    /// An UPDATE that is kept whole, in the only partition: its elements go straight into columns.
    fn whole_update(
        &mut self,
        update: &UpdateView<'_>,
        told: &Told<'_>,
    ) -> Result<Counts, LogError> {
        let attributes = update.announces().then(|| self.attributes.intern(update.attributes));
        let Some(mut place) = self.batcher.place(0) else { return Err(LogError::Closed) };
        let message = told.message(update, attributes, &self.attributes, &mut place);
        let message = place.message(message);
        let mut kept = 0;
        place.routes(told.log_time, message, true, |routes| {
            let before = routes.prefix.len();
            update.for_each_prefix(|action, prefix, path_id| {
                routes.action.push(action);
                routes.prefix.push(prefix);
                routes.path_id.push(path_id);
            });
            kept = (routes.prefix.len() - before) as u64;
        });
        self.batcher.cut(0)?;
        Ok(Counts { kept, left: 0 })
    }

    fn sifted_update(
        &mut self,
        update: &UpdateView<'_>,
        told: &Told<'_>,
    ) -> Result<Counts, LogError> {
        let Self { batcher, interest, attributes, messages, shards, elements, .. } = self;
        elements.clear();
        let left = interest.sift(update, |action, prefix, path_id| {
            elements.push((action, prefix, path_id));
        });
        let counts = Counts { kept: elements.len() as u64, left };
        if elements.is_empty() {
            return Ok(counts);
        }
        let announces = elements.iter().any(|(action, ..)| *action == Action::Announce);
        let id = announces.then(|| attributes.intern(update.attributes));
        let partitions = batcher.partitions();
        let domain = interest.registry().domain(&update.header.routing_domain);
        messages.fill(None);
        for (action, prefix, path_id) in elements.iter().copied() {
            let writing = shards_of(domain, &prefix, partitions, shards);
            for partition in shards.iter().copied() {
                let Some(row) = messages.get_mut(partition as usize) else { continue };
                let Some(mut place) = batcher.place(partition) else { continue };
                let message = *row.get_or_insert_with(|| {
                    let message = told.message(update, id, attributes, &mut place);
                    place.message(message)
                });
                let writes = partition == writing;
                place.route(told.log_time, RouteEvent { message, action, prefix, path_id, writes });
            }
        }
        (0..partitions).try_for_each(|partition| batcher.cut(partition))?;
        Ok(counts)
    }
}

/// What became of the elements of an UPDATE.
struct Counts {
    kept: u64,
    left: u64,
}

/// Where and when an UPDATE was told.
struct Told<'i> {
    source: &'i Text,
    offset: u64,
    log_time: Timestamp,
}

impl Told<'_> {
    /// What the elements of an UPDATE share, placed in a batch.
    #[inline]
    fn message(
        &self,
        update: &UpdateView<'_>,
        attributes: Option<u32>,
        table: &AttributeTable,
        place: &mut Place<'_>,
    ) -> MessageEvent {
        MessageEvent {
            event_time: update.time,
            router_time: update.router_time,
            peer: place.peer(update.header),
            source: place.source(self.source),
            source_offset: self.offset,
            attributes: attributes.and_then(|id| place.attributes(table, id)),
            disposition: update.disposition,
            is_snapshot: update.is_snapshot,
        }
    }
}

/// The shards that get a copy of an element on a prefix; the answer is the one that writes.
fn shards_of(domain: Domain<'_>, prefix: &Prefix, partitions: u32, shards: &mut Vec<u32>) -> u32 {
    shards.clear();
    if partitions == 1 {
        shards.push(0);
        return 0;
    }
    let writing = domain.writing_shard(prefix, partitions);
    shards.push(writing);
    shards.extend(domain.touched_shards(prefix, partitions));
    if shards.len() > 1 {
        shards.sort_unstable();
        shards.dedup();
    }
    writing
}

/// Takes what a session says of one record.
pub struct Recorder<'i, O> {
    intake: &'i mut Intake<O>,
    told: Told<'i>,
    /// Records that began.
    records: u64,
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
}

impl<O: Outlet> RouteSink for Recorder<'_, O> {
    #[inline]
    fn update(&mut self, update: &UpdateView<'_>) {
        match self.intake.update(update, &self.told) {
            Ok(Counts { kept, left }) => {
                self.account.read += kept;
                self.account.accepted += kept;
                self.leave(left);
            }
            Err(error) => self.failed = Some(error),
        }
    }

    fn may_keep(&self, header: &PeerHeader, prefix: &Prefix) -> bool {
        self.intake.interest.may_keep(header, prefix)
    }

    fn leave(&mut self, elements: u64) {
        self.account.read += elements;
        self.account.unmatched += elements;
    }

    fn session(&mut self, event: &SessionEvent<'_>) {
        let Told { source, offset: source_offset, log_time } = self.told;
        let reason: Option<Text> = event.reason.map(Into::into);
        let told = self.intake.batcher.broadcast(log_time, |place| Control::Peer {
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
        if self.records > 0 {
            self.told.offset += 1;
        }
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
            let public = registry.domain("public");
            let writing = shards_of(public, &inside, partitions, &mut shards);
            assert_eq!(writing, registry.shard(1, partitions), "the longest match writes");
            assert!(shards.contains(&registry.shard(0, partitions)));
        }
        let covers = "192.0.0.0/16".parse().unwrap();
        let writing = shards_of(registry.domain("public"), &covers, 12, &mut shards);
        assert_eq!(writing, Registry::shard_of_prefix(&covers, 12));
        assert!(shards.contains(&writing));
        shards_of(registry.domain("contoso"), &covers, 12, &mut shards);
        assert_eq!(shards.len(), 1, "another address space");
    }
}
