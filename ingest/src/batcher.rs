//! The batcher: records by shard, in columns, bounded by count; full batches go to their [`Outlet`].
//!
//! A batch is cut by its number of records alone, so the same log gives the same batches.

use std::sync::Arc;

use hashbrown::HashMap;
use schemas::batch::{
    Content, Control, EventBatch, MessageEvent, RouteColumns, RouteEvent, SampleEvent, SeriesEvent,
};
use schemas::bgp::PeerHeader;
use schemas::log::LogError;
use schemas::tables::Text;
use schemas::time::Timestamp;

use crate::attribute_table::AttributeTable;

/// Records of a batch at which it is cut.
pub const BATCH_RECORDS_MAX: u64 = 8_192;

/// Takes full batches.
pub trait Outlet {
    /// Takes one.
    ///
    /// # Errors
    /// [`LogError::Closed`] if nobody reads that partition any more.
    fn put(&mut self, batch: EventBatch) -> Result<(), LogError>;
}

/// Builds the batches of all partitions of a log.
pub struct Batcher<O> {
    partitions: Vec<Building>,
    outlet: O,
}

/// The batch of one partition, and where in it lies what its rows share.
struct Building {
    batch: EventBatch,
    peers: HashMap<usize, u32>,
    sources: HashMap<usize, u32>,
    attributes: Placed,
}

/// Where the attribute sets of an [`AttributeTable`] lie in one batch.
#[derive(Default)]
struct Placed {
    generation: u32,
    batch: u32,
    /// By id: the batch it was placed in, and where.
    places: Vec<(u32, u32)>,
}

impl<O: Outlet> Batcher<O> {
    /// One partition an offset: where its first batch begins.
    #[must_use]
    pub fn new(offsets: &[u64], is_live: bool, outlet: O) -> Self {
        let partitions = (0..)
            .zip(offsets)
            .map(|(partition, offset)| Building {
                batch: EventBatch::starting(partition, *offset, is_live),
                peers: HashMap::new(),
                sources: HashMap::new(),
                attributes: Placed { batch: 1, ..Placed::default() },
            })
            .collect();
        Self { partitions, outlet }
    }

    /// How many partitions it feeds.
    #[must_use]
    pub fn partitions(&self) -> u32 {
        u32::try_from(self.partitions.len()).unwrap_or(u32::MAX)
    }

    /// Where full batches go.
    pub const fn outlet_mut(&mut self) -> &mut O {
        &mut self.outlet
    }

    /// Records are matched by this version of the registry, from the batches that begin on.
    pub fn set_registry_version(&mut self, registry_version: u32) {
        for building in &mut self.partitions {
            building.batch.registry_version = registry_version;
        }
    }

    /// Records that wait in the batches under construction.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.partitions.iter().map(|building| building.batch.len()).sum()
    }

    /// The batch of a partition under construction.
    #[inline]
    pub fn place(&mut self, partition: u32) -> Option<Place<'_>> {
        self.partitions.get_mut(partition as usize).map(|building| Place { building })
    }

    /// Hands the batch of a partition on if it is full.
    ///
    /// # Errors
    /// What the outlet says.
    #[inline]
    pub fn cut(&mut self, partition: u32) -> Result<(), LogError> {
        match self.partitions.get_mut(partition as usize) {
            Some(building) if building.batch.len() >= BATCH_RECORDS_MAX => {
                self.outlet.put(building.take())
            }
            _ => Ok(()),
        }
    }

    /// Appends one record to one partition. `put` places the content and says where it lies.
    ///
    /// # Errors
    /// What the outlet says of a full batch.
    pub fn append(
        &mut self,
        partition: u32,
        log_time: Timestamp,
        put: impl FnOnce(&mut Place<'_>) -> Content,
    ) -> Result<(), LogError> {
        let Some(mut place) = self.place(partition) else { return Err(LogError::Closed) };
        let content = put(&mut place);
        place.building.batch.append(log_time, content);
        self.cut(partition)
    }

    /// Appends a control record to every partition.
    ///
    /// # Errors
    /// What the outlet says of a full batch.
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

    /// Hands on what waits.
    ///
    /// # Errors
    /// What the outlet says.
    pub fn flush(&mut self) -> Result<(), LogError> {
        for building in &mut self.partitions {
            if !building.batch.is_empty() {
                self.outlet.put(building.take())?;
            }
        }
        Ok(())
    }
}

impl Building {
    fn take(&mut self) -> EventBatch {
        let next = self.batch.following();
        self.peers.clear();
        self.sources.clear();
        self.attributes.batch += 1;
        std::mem::replace(&mut self.batch, next)
    }
}

/// The batch under construction of one partition.
pub struct Place<'a> {
    building: &'a mut Building,
}

impl Place<'_> {
    /// Index of a peer.
    #[inline]
    pub fn peer(&mut self, peer: &Arc<PeerHeader>) -> u32 {
        let Building { batch, peers, .. } = &mut *self.building;
        *peers
            .entry(Arc::as_ptr(peer).addr())
            .or_insert_with(|| push(&mut batch.peers, Arc::clone(peer)))
    }

    /// Index of a source.
    #[inline]
    pub fn source(&mut self, source: &Text) -> u32 {
        let Building { batch, sources, .. } = &mut *self.building;
        *sources
            .entry(source.as_ptr().addr())
            .or_insert_with(|| push(&mut batch.sources, Arc::clone(source)))
    }

    /// Index of an attribute set of the table of this log.
    #[inline]
    pub fn attributes(&mut self, table: &AttributeTable, id: u32) -> Option<u32> {
        let Building { batch, attributes: placed, .. } = &mut *self.building;
        if placed.generation != table.generation {
            placed.generation = table.generation;
            placed.places.clear();
        }
        if placed.places.len() <= id as usize {
            placed.places.resize(table.len(), (0, 0));
        }
        let place = placed.places.get_mut(id as usize)?;
        if place.0 != placed.batch {
            *place = (placed.batch, push(&mut batch.attributes, Arc::clone(table.get(id)?)));
        }
        Some(place.1)
    }

    /// Places what the elements of a message share.
    #[inline]
    pub fn message(&mut self, message: MessageEvent) -> u32 {
        self.building.batch.messages.push(message)
    }

    /// Appends a route element.
    #[inline]
    pub fn route(&mut self, log_time: Timestamp, route: RouteEvent) {
        let row = self.building.batch.routes.push(route);
        self.building.batch.append(log_time, Content::Route(row));
    }

    /// Appends the route elements of a message: see [`EventBatch::append_routes`].
    #[inline]
    pub fn routes(
        &mut self,
        log_time: Timestamp,
        message: u32,
        writes: bool,
        place: impl FnOnce(&mut RouteColumns),
    ) {
        self.building.batch.append_routes(log_time, message, writes, place);
    }

    /// Names the batch among those of its partition: what was placed lies in this one only.
    #[inline]
    #[must_use]
    pub const fn batch_number(&self) -> u32 {
        self.building.attributes.batch
    }

    /// Places what samples share.
    pub fn series(&mut self, series: SeriesEvent) -> u32 {
        self.building.batch.series.push(series)
    }

    /// Appends a sample.
    #[inline]
    pub fn sample(&mut self, log_time: Timestamp, sample: SampleEvent) {
        let row = self.building.batch.samples.push(sample);
        self.building.batch.append(log_time, Content::Sample(row));
    }

    /// Places a control record.
    pub fn control(&mut self, control: Control) -> Content {
        Content::Control(push(&mut self.building.batch.controls, control))
    }
}

fn push<T>(list: &mut Vec<T>, value: T) -> u32 {
    let index = u32::try_from(list.len()).unwrap_or(u32::MAX);
    list.push(value);
    index
}
