//! The batcher: records by shard, in columns, bounded by count; full batches go down their channel.
//!
//! A batch is cut by its number of records alone, so the same log gives the same batches.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use schemas::batch::{Content, Control, EventBatch, Record, RouteEvent, SampleEvent};
use schemas::bgp::{PathAttributes, PeerHeader};
use schemas::log::LogError;
use schemas::tables::Text;
use schemas::time::Timestamp;

/// Records of a batch at most.
pub const BATCH_RECORDS_MAX: usize = 8_192;

/// Builds the batches of all partitions of a log.
pub struct Batcher {
    partitions: Vec<Building>,
}

struct Building {
    batch: EventBatch,
    peers: HashMap<usize, u32>,
    sources: HashMap<usize, u32>,
    sender: SyncSender<Option<EventBatch>>,
}

impl Batcher {
    /// One channel a partition; `None` on it says that the log is at its end.
    #[must_use]
    pub fn new(senders: Vec<SyncSender<Option<EventBatch>>>) -> Self {
        let partitions = (0..)
            .zip(senders)
            .map(|(partition, sender)| Building {
                batch: EventBatch { partition, ..EventBatch::default() },
                peers: HashMap::new(),
                sources: HashMap::new(),
                sender,
            })
            .collect();
        Self { partitions }
    }

    /// How many partitions it feeds.
    #[must_use]
    pub fn partitions(&self) -> u32 {
        u32::try_from(self.partitions.len()).unwrap_or(u32::MAX)
    }

    /// Appends to one partition. `put` places the content and says where it lies.
    ///
    /// # Errors
    /// [`LogError::Closed`] if the partition's reader is gone.
    pub fn append(
        &mut self,
        partition: u32,
        log_time: Timestamp,
        put: impl FnOnce(&mut Place<'_>) -> Content,
    ) -> Result<(), LogError> {
        let Some(building) = self.partitions.get_mut(partition as usize) else {
            return Err(LogError::Closed);
        };
        let content = put(&mut Place {
            batch: &mut building.batch,
            peers: &mut building.peers,
            sources: &mut building.sources,
        });
        building.batch.records.push(Record { log_time, content });
        if building.batch.records.len() < BATCH_RECORDS_MAX { Ok(()) } else { building.flush() }
    }

    /// Appends a control record to every partition.
    ///
    /// # Errors
    /// [`LogError::Closed`] if a reader is gone.
    pub fn broadcast(
        &mut self,
        log_time: Timestamp,
        mut control: impl FnMut(&mut Place<'_>) -> Control,
    ) -> Result<(), LogError> {
        for partition in 0..self.partitions() {
            self.append(partition, log_time, |place| {
                let control = control(place);
                place.control(control)
            })?;
        }
        Ok(())
    }

    /// Sends what is left, and says that this is the end: a reader whose channel closes without that
    /// knows that the log was cut off.
    ///
    /// # Errors
    /// [`LogError::Closed`] if a reader is gone.
    pub fn finish(mut self) -> Result<(), LogError> {
        self.partitions.iter_mut().try_for_each(|building| {
            building.flush()?;
            building.sender.send(None).map_err(|_| LogError::Closed)
        })
    }
}

impl Building {
    fn flush(&mut self) -> Result<(), LogError> {
        if self.batch.records.is_empty() {
            return Ok(());
        }
        let next = EventBatch {
            partition: self.batch.partition,
            first_offset: self.batch.end_offset(),
            ..EventBatch::default()
        };
        self.peers.clear();
        self.sources.clear();
        let full = std::mem::replace(&mut self.batch, next);
        self.sender.send(Some(full)).map_err(|_| LogError::Closed)
    }
}

/// The batch under construction, with the indices of what its rows share.
pub struct Place<'a> {
    batch: &'a mut EventBatch,
    peers: &'a mut HashMap<usize, u32>,
    sources: &'a mut HashMap<usize, u32>,
}

impl Place<'_> {
    /// Index of a peer.
    pub fn peer(&mut self, peer: &Arc<PeerHeader>) -> u32 {
        let peers = &mut self.batch.peers;
        *self.peers.entry(Arc::as_ptr(peer).addr()).or_insert_with(|| push(peers, Arc::clone(peer)))
    }

    /// Index of a source.
    pub fn source(&mut self, source: &Text) -> u32 {
        let sources = &mut self.batch.sources;
        *self
            .sources
            .entry(source.as_ptr().addr())
            .or_insert_with(|| push(sources, Arc::clone(source)))
    }

    /// Index of an attribute set; the prefixes of one UPDATE share it.
    pub fn attributes(&mut self, attributes: &Arc<PathAttributes>) -> u32 {
        let sets = &mut self.batch.attributes;
        match sets.last() {
            Some(last) if Arc::ptr_eq(last, attributes) => {
                u32::try_from(sets.len() - 1).unwrap_or(u32::MAX)
            }
            _ => push(sets, Arc::clone(attributes)),
        }
    }

    /// Places a route element.
    pub fn route(&mut self, route: RouteEvent) -> Content {
        Content::Route(self.batch.routes.push(route))
    }

    /// Places a sample.
    pub fn sample(&mut self, sample: SampleEvent) -> Content {
        Content::Sample(self.batch.samples.push(sample))
    }

    /// Places a control record.
    pub fn control(&mut self, control: Control) -> Content {
        Content::Control(push(&mut self.batch.controls, control))
    }
}

fn push<T>(list: &mut Vec<T>, value: T) -> u32 {
    let index = u32::try_from(list.len()).unwrap_or(u32::MAX);
    list.push(value);
    index
}
