//! The fold of one partition with its chains: batches in; files in the lake, summaries, snapshots.
//!
//! In a live log it opens at the newest snapshot that can be read. Rows of records that the lake has are
//! dropped by the chains; what is told is told again, and `correlate` drops what it has. An archive is
//! folded from its start, and its end is kept for the archive that goes on from it.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemas::batch::{Control, EventBatch};
use schemas::log::{Resume, Summaries};
use schemas::time::Timestamp;

use super::chains::Chains;
use super::entry::Entry;
use super::held::Held;
use super::{Committed, FoldError, Folding};
use crate::correlate::Summary;
use crate::lake::chain::Position;
use crate::lake::snapshot::{Snapshot, Snapshots};
use crate::reference::Reference;
use crate::reference::library::LibraryError;
use crate::shard::Shard;

/// The fold of one partition.
pub struct PartitionFold {
    partition: u32,
    folding: Folding,
    shard: Shard,
    chains: Chains,
    position: Position,
    /// Log time of the last mark that was told.
    marked: Timestamp,
    /// Offset of the last entry that was told.
    told: u64,
    snapshots: Snapshots,
    /// Windows of the logs before this one.
    held: Held,
}

impl PartitionFold {
    /// Opens the fold of a partition; the offset at which its log is to be read on comes with it.
    ///
    /// # Errors
    /// [`FoldError::Lake`] if the lake cannot be read, or its snapshots cannot.
    pub fn open(partition: u32, folding: &Folding) -> Result<(Self, u64), FoldError> {
        let store = &folding.store;
        let mut snapshots = Snapshots::find(store, name(&folding.log_name, partition))?;
        let restored = match folding.is_live {
            true => snapshots.newest(store, |snapshot| restore(snapshot, partition, folding))?,
            false => None,
        };
        let held = Held::new(store, &folding.before);
        // Behind the snapshot: heads only move on, so none of them is before it.
        let mut chains = Chains::open(folding, partition)?;
        let fold = match restored {
            Some((Snapshot { position, chains: states, marked, told, .. }, shard)) => {
                chains.resume(&states)?;
                let folding = folding.clone();
                Self { partition, folding, shard, chains, position, marked, told, snapshots, held }
            }
            None => Self {
                partition,
                shard: begin(partition, folding)?,
                folding: folding.clone(),
                chains,
                position: Position::default(),
                marked: Timestamp::MIN,
                told: 0,
                snapshots,
                held,
            },
        };
        let from = fold.position.end;
        Ok((fold, from))
    }

    /// Its number.
    #[must_use]
    pub const fn partition(&self) -> u32 {
        self.partition
    }

    /// Where it stands, and what it knows there.
    #[must_use]
    pub fn resume(&self) -> Resume {
        Resume {
            offset: self.position.end,
            log_time: self.shard.reached,
            registry_version: self.shard.registry_version(),
        }
    }

    /// Rows in the lake, of the records that were folded here.
    #[must_use]
    pub fn committed(&self) -> Committed {
        self.chains.committed()
    }

    /// Folds a batch; what it told, with a mark behind it.
    ///
    /// # Errors
    /// [`FoldError::Lake`] if a file cannot be put.
    pub fn apply(&mut self, batch: &EventBatch) -> Result<Vec<Summary>, FoldError> {
        if self.position.end == 0
            && let Some((first, _)) = batch.log_times()
        {
            self.position.time = first;
            self.chains.take(&mut self.shard, self.position)?;
        }
        self.offer_reference(batch)?;
        self.shard.apply(batch);
        self.held.overlay(&mut self.shard)?;
        let closed = &self.shard.rows.latency;
        if let Some(watch) = self.folding.watch.as_ref().filter(|_| !closed.is_empty()) {
            watch.closed(closed);
        }
        self.position = Position { end: batch.end_offset(), time: self.shard.reached };
        self.chains.take(&mut self.shard, self.position)?;
        let mut told = self.shard.take_summaries();
        told.push(Summary::Mark(self.shard.reached));
        Ok(told)
    }

    /// Reads the reference data that a batch names before it is folded: a fold does no IO.
    fn offer_reference(&mut self, batch: &EventBatch) -> Result<(), LibraryError> {
        for control in &batch.controls {
            if let Control::Reference(set) = control {
                self.shard.offer(self.folding.library.get(set)?);
            }
        }
        Ok(())
    }

    /// Folds a batch of a live log: what it tells goes into the summaries, files are closed and the
    /// state is kept where the log says so. Whether files were closed comes back.
    ///
    /// # Errors
    /// [`FoldError`]; after a lost race ([`FoldError::is_lost_race`]) the fold is to be opened again.
    pub fn apply_live(
        &mut self,
        batch: &EventBatch,
        summaries: &dyn Summaries,
    ) -> Result<bool, FoldError> {
        let mut told = self.apply(batch)?;
        let reached = self.shard.reached;
        if told.len() == 1 && reached.secs().div_euclid(60) == self.marked.secs().div_euclid(60) {
            told.clear();
        }
        if !told.is_empty() {
            self.marked = reached;
            let before = std::mem::replace(&mut self.told, self.position.end);
            for entry in Entry::encode(self.partition, (before, self.told), &told)? {
                summaries.tell(entry)?;
            }
        }
        let commit = batch.commit();
        if let Some(snapshot) = commit {
            self.chains.roll(self.position, self.partition == 0)?;
            if snapshot {
                self.snapshot(summaries)?;
            }
        }
        let Position { end, time } = self.position;
        self.folding.progress.committed(self.partition, end, time);
        Ok(commit.is_some())
    }

    /// Keeps the state, once all that was told of it is durable.
    fn snapshot(&mut self, summaries: &dyn Summaries) -> Result<(), FoldError> {
        summaries.sync()?;
        let snapshot = Snapshot {
            position: self.position,
            chains: self.chains.states(),
            marked: self.marked,
            told: self.told,
            state: self.shard.save()?,
        };
        if let Some(offset) = self.snapshots.put(&self.folding.store, &snapshot)? {
            self.folding.progress.release_before(self.partition, offset);
        }
        Ok(())
    }

    /// The archive is at its end: closes what is open. What that told comes with the rows.
    ///
    /// # Errors
    /// [`FoldError::Lake`] if a file cannot be put.
    pub fn finish(mut self) -> Result<(Vec<Summary>, Committed), FoldError> {
        self.shard.finish();
        self.held.overlay(&mut self.shard)?;
        self.chains.take(&mut self.shard, self.position)?;
        let mut told = self.shard.take_summaries();
        told.push(Summary::End);
        let committed = self.chains.finish(self.position, self.partition == 0)?;
        let end = Snapshot {
            position: self.position,
            chains: BTreeMap::new(),
            marked: self.marked,
            told: self.told,
            state: self.shard.save()?,
        };
        self.snapshots.put(&self.folding.store, &end)?;
        Ok((told, committed))
    }
}

/// Name of the snapshots of a partition.
fn name(log: &str, partition: u32) -> String {
    format!("{log}-{partition:03}")
}

fn restore(snapshot: &Snapshot, partition: u32, folding: &Folding) -> Result<Shard, String> {
    let reference = |set: &_| folding.library.get(set).map_err(|error| error.to_string());
    Shard::restore(&snapshot.state, (partition, folding.partitions), reference)
        .map_err(|error| error.to_string())
}

/// The fold at the start of a log: of its first one, or behind the end of the one before.
fn begin(partition: u32, folding: &Folding) -> Result<Shard, FoldError> {
    if let Some(before) = folding.before.last() {
        let mut shard = Snapshots::end_of(&folding.store, name(before, partition), |end| {
            restore(end, partition, folding)
        })?;
        shard.go_on(&folding.options, &folding.config_hash);
        return Ok(shard);
    }
    let reference = Arc::<Reference>::default();
    let mut shard = Shard::new(partition, folding.partitions, &folding.options, reference);
    shard.config_hash = folding.config_hash.as_str().into();
    Ok(shard)
}
