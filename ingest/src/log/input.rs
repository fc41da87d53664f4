//! One input of the archive log: a cursor that says when its next record counts, and appends it.

use std::collections::BTreeMap;
use std::io::Read;
use std::rc::Rc;
use std::sync::Arc;

use schemas::batch::{Account, Control, PeerState, RouteEvent, SampleEvent};
use schemas::bgp::PeerHeader;
use schemas::log::LogError;
use schemas::registry::{Registry, Relation};
use schemas::tables::Text;
use schemas::time::Timestamp;

use crate::batcher::Batcher;
use crate::session::interest::{Followed, Interest, Keep, Kept, StateChange};
use crate::session::mrt::MrtSession;
use crate::source::mrt_file::{Damage, MrtStream};
use crate::source::rtt_file::RttFile;

/// The number of the archive among the inputs of its log: windows close by its progress.
pub(super) const ARCHIVE_INPUT: u32 = 0;
/// A jump ahead of more than this is a bad clock if the next record falls back.
const JUMP_SECS_MAX: i64 = 3_600;
/// State of an established session (RFC 6396 §4.4.1).
const ESTABLISHED: u16 = 6;

/// What came of an input at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputReport {
    /// The input.
    pub source: Text,
    /// Its counts.
    pub account: Account,
    /// Where it ends before its end, and the first things refused, in words.
    pub damage: Vec<String>,
}

/// An MRT file being read.
pub(super) struct MrtInput {
    source: Text,
    collector: Text,
    is_rib: bool,
    stream: MrtStream<Box<dyn Read + Send>>,
    session: MrtSession,
    interest: Interest,
    registry: Arc<Registry>,
    peers: Vec<Arc<PeerHeader>>,
    /// Bytes of the loaded record and the time from which it counts.
    next: Option<(usize, Timestamp)>,
    reached: Option<Timestamp>,
    ordinal: u64,
    account: Account,
    reasons: BTreeMap<&'static str, u64>,
    damage: Vec<String>,
}

impl MrtInput {
    pub(super) fn open(
        source: Text,
        collector: Text,
        is_rib: bool,
        reader: Box<dyn Read + Send>,
        registry: &Arc<Registry>,
        keep: Keep,
        followed: &Followed,
    ) -> Self {
        let mut input = Self {
            source,
            session: MrtSession::new(Arc::clone(&collector)),
            collector,
            is_rib,
            stream: MrtStream::new(reader),
            interest: Interest::new(Arc::clone(registry), keep, Rc::clone(followed)),
            registry: Arc::clone(registry),
            peers: Vec::new(),
            next: None,
            reached: None,
            ordinal: 0,
            account: Account::default(),
            reasons: BTreeMap::new(),
            damage: Vec::new(),
        };
        input.advance();
        input
    }

    /// When the next record counts; none at the end.
    pub(super) fn next_time(&self) -> Option<Timestamp> {
        self.next.map(|(_, time)| time)
    }

    /// Loads the next record and passes over those of a bad clock.
    fn advance(&mut self) {
        self.next = None;
        loop {
            let bytes = match self.stream.load() {
                Ok(Some(bytes)) => bytes,
                Ok(None) => return,
                Err(damage) => return self.damaged(&damage),
            };
            let Some(time) = self.stream.record().map(|record| record.time) else { return };
            if self.is_bad_clock(time, bytes) {
                self.account.read += 1;
                self.account.quarantined += 1;
                *self.reasons.entry("clock_ahead").or_default() += 1;
                self.stream.consume(bytes);
                self.ordinal += 1;
                continue;
            }
            let counts_from = self.reached.map_or(time, |reached| reached.max(time));
            self.reached = Some(counts_from);
            self.next = Some((bytes, counts_from));
            return;
        }
    }

    fn is_bad_clock(&mut self, time: Timestamp, bytes: usize) -> bool {
        let jumps = self.reached.is_none_or(|reached| time.secs_since(reached) > JUMP_SECS_MAX);
        jumps
            && self
                .stream
                .time_after(bytes)
                .is_some_and(|after| time.secs_since(after) > JUMP_SECS_MAX)
    }

    fn damaged(&mut self, damage: &Damage) {
        self.account.read += 1;
        self.account.refused += 1;
        *self.reasons.entry(damage.reason()).or_default() += 1;
        self.damage.push(damage.to_string());
    }

    /// Appends what the loaded record says and loads the next one.
    pub(super) fn append(&mut self, batcher: &mut Batcher) -> Result<(), LogError> {
        let Some((bytes, log_time)) = self.next else { return Ok(()) };
        let offset = self.stream.offset();
        if let Some(record) = self.stream.record()
            && let Err(error) = self.session.record(&record, &mut self.interest)
        {
            self.account.read += 1;
            self.account.refused += 1;
            *self.reasons.entry(error.reason()).or_default() += 1;
            if self.damage.is_empty() {
                self.damage.push(format!("record {} at offset {offset}: {error}", self.ordinal));
            }
        }
        self.account_for_elements();
        let kept = std::mem::take(&mut self.interest.kept);
        for element in &kept {
            self.append_route(element, log_time, batcher)?;
        }
        self.interest.kept = kept;
        self.interest.kept.clear();
        for change in std::mem::take(&mut self.interest.states) {
            self.append_state(change, log_time, batcher)?;
        }
        self.stream.consume(bytes);
        self.ordinal += 1;
        self.advance();
        Ok(())
    }

    fn account_for_elements(&mut self) {
        let kept = self.interest.kept.len() as u64;
        let unmatched = std::mem::take(&mut self.interest.unmatched);
        self.account.read += kept + unmatched;
        self.account.accepted += kept;
        self.account.unmatched += unmatched;
    }

    fn peer(&mut self, id: u32) -> Option<Arc<PeerHeader>> {
        let table = self.session.peers();
        for unseen in self.peers.len()..=id as usize {
            let header = table.get(u32::try_from(unseen).ok()?)?;
            self.peers.push(Arc::new(header.clone()));
        }
        self.peers.get(id as usize).map(Arc::clone)
    }

    fn append_route(
        &mut self,
        element: &Kept,
        log_time: Timestamp,
        batcher: &mut Batcher,
    ) -> Result<(), LogError> {
        let Some(peer) = self.peer(element.peer) else { return Ok(()) };
        let partitions = batcher.partitions();
        let copies = Copies::of(&self.registry, element, partitions);
        for partition in copies.partitions {
            let writes = partition == copies.writing;
            batcher.append(partition, log_time, |place| {
                let route = RouteEvent {
                    event_time: element.time,
                    peer: place.peer(&peer),
                    source: place.source(&self.source),
                    source_offset: self.ordinal,
                    action: element.action,
                    prefix: element.prefix,
                    path_id: element.path_id,
                    attributes: element.attributes.as_ref().map(|set| place.attributes(set)),
                    disposition: element.disposition,
                    is_snapshot: element.is_snapshot,
                    writes,
                };
                place.route(route)
            })?;
        }
        Ok(())
    }

    fn append_state(
        &mut self,
        change: StateChange,
        log_time: Timestamp,
        batcher: &mut Batcher,
    ) -> Result<(), LogError> {
        let Some(peer) = self.peer(change.peer) else { return Ok(()) };
        let state = match (change.old, change.new) {
            (_, ESTABLISHED) => PeerState::Up,
            (ESTABLISHED, _) => PeerState::Down,
            (_, other) => PeerState::Other(other),
        };
        let (source, source_offset) = (Arc::clone(&self.source), self.ordinal);
        batcher.broadcast(log_time, |place| Control::Peer {
            peer: place.peer(&peer),
            state,
            event_time: change.time,
            source: place.source(&source),
            source_offset,
            local_ip: None,
        })
    }

    /// Appends what counts at the end of the file and says what came of it.
    pub(super) fn close(
        mut self,
        now: Timestamp,
        batcher: &mut Batcher,
    ) -> Result<InputReport, LogError> {
        if self.is_rib {
            let collector = Arc::clone(&self.collector);
            batcher.broadcast(now, |_| Control::EndOfRib {
                collector: Arc::clone(&collector),
                event_time: now,
            })?;
        }
        self.account.last_offset = self.ordinal.saturating_sub(1);
        self.account.reasons = std::mem::take(&mut self.reasons)
            .into_iter()
            .map(|(reason, count)| (reason.to_owned(), count))
            .collect();
        report(self.source, self.account, self.damage, now, batcher)
    }
}

/// The partitions that get a copy of a route element, and the one that writes.
struct Copies {
    partitions: Vec<u32>,
    writing: u32,
}

impl Copies {
    fn of(registry: &Registry, element: &Kept, partitions: u32) -> Self {
        if partitions == 1 {
            return Self { partitions: vec![0], writing: 0 };
        }
        let mut owner: Option<(schemas::bgp::Prefix, u32)> = None;
        let mut shards = Vec::new();
        for touch in registry.touches(&element.prefix) {
            let shard = registry.shard(touch.owner.connection, partitions);
            shards.push(shard);
            if touch.relation != Relation::LessSpecific {
                owner = match owner {
                    Some((longest, writing)) if longest == touch.owner.prefix => {
                        Some((longest, writing.min(shard)))
                    }
                    Some(longer) => Some(longer),
                    None => Some((touch.owner.prefix, shard)),
                };
            }
        }
        let writing = owner.map_or_else(
            || Registry::shard_of_prefix(&element.prefix, partitions),
            |(_, shard)| shard,
        );
        shards.push(writing);
        shards.sort_unstable();
        shards.dedup();
        Self { partitions: shards, writing }
    }
}

/// An RTT file being read: its rows lie sorted in memory.
pub(super) struct RttInput {
    source: Text,
    file: RttFile,
    next: usize,
}

impl RttInput {
    pub(super) const fn new(source: Text, file: RttFile) -> Self {
        Self { source, file, next: 0 }
    }

    pub(super) fn next_time(&self) -> Option<Timestamp> {
        self.file.rows.get(self.next).map(|row| row.time)
    }

    /// The time that ranks a file without a matched sample.
    pub(super) const fn latest(&self) -> Option<Timestamp> {
        self.file.latest
    }

    pub(super) fn append(
        &mut self,
        registry: &Registry,
        batcher: &mut Batcher,
    ) -> Result<(), LogError> {
        let Some(row) = self.file.rows.get(self.next) else { return Ok(()) };
        self.next += 1;
        let Some((prefix, owners)) = self.file.owners.get(row.owners as usize) else {
            return Ok(());
        };
        let Some(source) = self.file.sources.get(row.source as usize) else { return Ok(()) };
        let partitions = batcher.partitions();
        for connection in owners {
            batcher.append(registry.shard(*connection, partitions), row.time, |place| {
                let sample = SampleEvent {
                    event_time: row.time,
                    connection: *connection,
                    prefix: *prefix,
                    source: place.source(source),
                    input: ARCHIVE_INPUT,
                    rtt_us: row.rtt_us,
                    statistic: row.statistic,
                };
                place.sample(sample)
            })?;
        }
        Ok(())
    }

    pub(super) fn close(
        self,
        now: Timestamp,
        batcher: &mut Batcher,
    ) -> Result<InputReport, LogError> {
        let damage = self.file.damage.into_iter().chain(self.file.refusals).collect();
        report(self.source, self.file.account, damage, now, batcher)
    }
}

/// The account of an input goes to partition 0, which writes what goes to all.
fn report(
    source: Text,
    account: Account,
    damage: Vec<String>,
    now: Timestamp,
    batcher: &mut Batcher,
) -> Result<InputReport, LogError> {
    batcher.append(0, now, |place| {
        let source = place.source(&source);
        let control = Control::Ledger { source, account: account.clone(), event_time: now };
        place.control(control)
    })?;
    Ok(InputReport { source, account, damage })
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::batch::Action;

    #[test]
    fn a_route_that_touches_two_shards_is_written_by_one() {
        let connection = |name: &str, prefix: &str| -> schemas::connection::Connection {
            serde_json::from_str(&format!(r#"{{"name":"{name}","prefixes":["{prefix}"]}}"#))
                .unwrap()
        };
        let registry = Registry::new(
            1,
            vec![connection("a", "192.0.2.0/24"), connection("b", "192.0.2.64/26")],
            Vec::new(),
        )
        .unwrap();
        let element = Kept {
            time: Timestamp(0),
            peer: 0,
            action: Action::Withdraw,
            prefix: "192.0.2.64/26".parse().unwrap(),
            path_id: None,
            attributes: None,
            disposition: schemas::bgp::Disposition::Accepted,
            is_snapshot: false,
        };
        for partitions in 1..20 {
            let copies = Copies::of(&registry, &element, partitions);
            assert_eq!(copies.writing, registry.shard(1, partitions), "the longest match writes");
            assert!(copies.partitions.contains(&registry.shard(0, partitions)));
        }
        let covers = Kept { prefix: "192.0.0.0/16".parse().unwrap(), ..element };
        let copies = Copies::of(&registry, &covers, 12);
        assert_eq!(copies.writing, Registry::shard_of_prefix(&covers.prefix, 12));
        assert!(copies.partitions.contains(&copies.writing));
    }
}
