//! Twins: two folds of one log. One is left alone, the other is saved and restored now and then. They
//! must say the same and be the same bytes.
//!
//! It knows what everybody may know: tests of the whole program take it too.

use std::sync::Arc;

use analytics::correlate::{Correlate, Numbered, Summary};
use analytics::reference::Reference;
use analytics::rows::Rows;
use analytics::shard::{FoldOptions, Shard};
use schemas::batch::EventBatch;

/// The shards of a log and what they tell each other.
struct Fold {
    shards: Vec<Shard>,
    correlate: Correlate,
}

/// All bytes of a fold.
type Saved = (Vec<Vec<u8>>, Vec<u8>);

impl Fold {
    fn new(partitions: u32, options: &FoldOptions, reference: &Arc<Reference>) -> Self {
        let shard = |partition| Shard::new(partition, partitions, options, Arc::clone(reference));
        let correlate = Correlate::new(partitions);
        Self { shards: (0..partitions).map(shard).collect(), correlate }
    }

    /// Folds the next batch of each partition: rows, by partition, and what was numbered.
    fn apply(&mut self, batches: &[EventBatch]) -> (Vec<Rows>, Vec<Numbered>) {
        self.shards.iter_mut().zip(batches).for_each(|(shard, batch)| shard.apply(batch));
        self.take(false)
    }

    fn take(&mut self, is_over: bool) -> (Vec<Rows>, Vec<Numbered>) {
        let mut rows = Vec::new();
        for (partition, shard) in (0..).zip(&mut self.shards) {
            rows.push(std::mem::take(&mut shard.rows));
            for summary in shard.take_summaries() {
                let bytes = summary.encode().unwrap();
                assert_eq!(Summary::decode(&bytes).unwrap(), summary);
                self.correlate.apply(partition, summary);
            }
            let mark = if is_over { Summary::End } else { Summary::Mark(shard.reached) };
            self.correlate.apply(partition, mark);
        }
        (rows, std::mem::take(&mut self.correlate.numbered))
    }

    fn save(&self) -> Saved {
        let shards = self.shards.iter().map(|shard| shard.save().unwrap()).collect();
        (shards, self.correlate.save().unwrap())
    }

    fn restore((shards, correlate): &Saved, reference: &Arc<Reference>) -> Self {
        let partitions = shards.len() as u32;
        let shards = (0..).zip(shards).map(|(partition, bytes)| {
            Shard::restore(bytes, (partition, partitions), |_| Ok(Arc::clone(reference))).unwrap()
        });
        let correlate = Correlate::restore(correlate, partitions).unwrap();
        Self { shards: shards.collect(), correlate }
    }
}

pub(crate) struct Twins {
    alone: Fold,
    cut: Fold,
    reference: Arc<Reference>,
    /// Cuts so far.
    pub(crate) cuts: usize,
    /// Numbered findings of both.
    pub(crate) told: Vec<Numbered>,
}

impl Twins {
    pub(crate) fn new(partitions: u32, options: &FoldOptions, reference: &Arc<Reference>) -> Self {
        let fold = || Fold::new(partitions, options, reference);
        let reference = Arc::clone(reference);
        Self { alone: fold(), cut: fold(), reference, cuts: 0, told: Vec::new() }
    }

    /// Saves one of them and goes on with what comes back.
    pub(crate) fn cut(&mut self) {
        let saved = self.cut.save();
        self.same(&saved);
        self.cut = Fold::restore(&saved, &self.reference);
        self.same(&self.cut.save());
        self.cuts += 1;
    }

    /// The fold of the first partition and that of the summaries as bytes.
    #[allow(dead_code, reason = "not every test damages them")]
    pub(crate) fn saved(&self) -> (Vec<u8>, Vec<u8>) {
        let (mut shards, correlate) = self.alone.save();
        (shards.swap_remove(0), correlate)
    }

    fn same(&self, saved: &Saved) {
        let alone = self.alone.save();
        for (partition, (alone, saved)) in alone.0.iter().zip(&saved.0).enumerate() {
            let differs = alone.iter().zip(saved).position(|(a, b)| a != b);
            assert_eq!(differs, None, "partition {partition} after {} cuts", self.cuts);
            assert_eq!(alone.len(), saved.len(), "partition {partition}");
        }
        assert!(alone.1 == saved.1, "correlate after {} cuts", self.cuts);
    }

    /// Both fold the next batch of each partition; the rows of the first.
    pub(crate) fn apply(&mut self, batches: &[EventBatch]) -> Rows {
        let (alone, cut) = (self.alone.apply(batches), self.cut.apply(batches));
        self.compare(alone, cut)
    }

    /// The end of the log.
    pub(crate) fn finish(&mut self) {
        for fold in [&mut self.alone, &mut self.cut] {
            fold.shards.iter_mut().for_each(Shard::finish);
        }
        let (alone, cut) = (self.alone.take(true), self.cut.take(true));
        self.compare(alone, cut);
        self.same(&self.cut.save());
    }

    fn compare(
        &mut self,
        alone: (Vec<Rows>, Vec<Numbered>),
        cut: (Vec<Rows>, Vec<Numbered>),
    ) -> Rows {
        assert_eq!(alone.0, cut.0, "rows after {} cuts", self.cuts);
        assert_eq!(alone.1, cut.1, "findings after {} cuts", self.cuts);
        self.told.extend(alone.1);
        alone.0.into_iter().next().unwrap_or_default()
    }
}
