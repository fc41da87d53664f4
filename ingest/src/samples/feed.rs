//! The feed: a set of samples into the batches of the shards that count them.

use schemas::batch::{SampleEvent, SeriesEvent};
use schemas::log::LogError;
use schemas::registry::Registry;
use schemas::time::{MICROS_PER_SEC, Timestamp};

use super::{SampleRow, SampleSet};
use crate::batcher::{Batcher, Outlet};

/// A set on its way into a log.
#[derive(Debug)]
pub struct SampleFeed {
    /// What is fed; its rows in order.
    pub set: SampleSet,
    input: u32,
    next: usize,
    /// By owner of a series: partition, and the batch that the series was placed in, and where.
    places: Vec<Place>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    partition: u32,
    batch: u32,
    row: u32,
}

impl SampleFeed {
    /// A feed of samples that came by an input.
    #[must_use]
    pub fn new(set: SampleSet, input: u32, registry: &Registry, partitions: u32) -> Self {
        let places = set.owners.iter().map(|connection| Place {
            partition: registry.shard(*connection, partitions),
            batch: 0,
            row: 0,
        });
        Self { places: places.collect(), set, input, next: 0 }
    }

    /// The second of the next sample; none at the end.
    #[must_use]
    pub fn next_second(&self) -> Option<Timestamp> {
        self.set.rows.get(self.next).map(|row| second(row.time))
    }

    /// Appends the samples of the next second at that log time.
    ///
    /// # Errors
    /// What the outlet says of a full batch.
    pub fn append_second<O: Outlet>(&mut self, batcher: &mut Batcher<O>) -> Result<(), LogError> {
        let Some(at) = self.next_second() else { return Ok(()) };
        let rest = self.set.rows.get(self.next..).unwrap_or_default();
        let rows = rest.iter().take_while(|row| second(row.time) == at).count();
        self.append(rows, at, batcher)
    }

    /// Appends all that is left at one log time.
    ///
    /// # Errors
    /// What the outlet says of a full batch.
    pub fn append_all<O: Outlet>(
        &mut self,
        log_time: Timestamp,
        batcher: &mut Batcher<O>,
    ) -> Result<(), LogError> {
        self.append(self.set.rows.len() - self.next, log_time, batcher)
    }

    fn append<O: Outlet>(
        &mut self,
        rows: usize,
        log_time: Timestamp,
        batcher: &mut Batcher<O>,
    ) -> Result<(), LogError> {
        let first = self.next;
        self.next += rows;
        let Self { set, input, places, .. } = self;
        for row in set.rows.get(first..first + rows).unwrap_or_default() {
            let Some(series) = set.series.get(row.series as usize) else { continue };
            let first = series.first_owner as usize;
            let owners = first..first + series.owners as usize;
            let Some(places) = places.get_mut(owners.clone()) else { continue };
            for (owner, place) in owners.zip(places) {
                let Some(mut into) = batcher.place(place.partition) else { continue };
                if place.batch != into.batch_number() {
                    let (Some(connection), Some(source)) =
                        (set.owners.get(owner), set.sources.get(series.source as usize))
                    else {
                        continue;
                    };
                    let series = SeriesEvent {
                        connection: *connection,
                        prefix: series.prefix,
                        source: into.source(source),
                        input: *input,
                        statistic: series.statistic,
                    };
                    *place =
                        Place { batch: into.batch_number(), row: into.series(series), ..*place };
                }
                let SampleRow { time: event_time, rtt_us, .. } = *row;
                into.sample(log_time, SampleEvent { event_time, series: place.row, rtt_us });
                batcher.cut(place.partition)?;
            }
        }
        Ok(())
    }
}

/// The start of the second that holds a time.
#[inline]
const fn second(time: Timestamp) -> Timestamp {
    Timestamp(time.0 - time.0.rem_euclid(MICROS_PER_SEC))
}
