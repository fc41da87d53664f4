//! Quality: a trial of the simulator in, what the detectors made of it out, judged by its labels.
//!
//! The bytes of a trial take the way of an archive: session, intake, batches, the fold of a shard.
//! Only the merge of files is left out; the table is read before the updates, and a tick stands where
//! the second changes. [`judge`] compares transitions with labels, [`figures`] adds up.

pub mod days;
pub mod figures;
pub mod judge;

use std::sync::Arc;

use analytics::detect::DetectOptions;
use analytics::reference::{
    AsRelationships, Aspas, Organisations, Reference, ReferenceError, Vrps,
};
use analytics::shard::{FoldOptions, Shard};
use ingest::batcher::{Batcher, Outlet};
use ingest::decode::mrt::{Frame, frame};
use ingest::intake::Intake;
use ingest::session::MrtSession;
use ingest::session::interest::Keep;
use schemas::batch::{Account, Control, EventBatch};
use schemas::finding::Transition;
use schemas::log::LogError;
use schemas::registry::{Registry, RegistryError};
use schemas::tables::Text;
use schemas::time::{MICROS_PER_SEC, Timestamp};

use crate::simulator::trial::facts::Facts;
use crate::simulator::trial::heard::{Heard, hear};
use crate::simulator::trial::{Plot, Trial};

/// Why a trial could not be run: a bug of the simulator.
#[derive(Debug, thiserror::Error)]
pub enum QualityError {
    /// A connection that is none.
    #[error("a connection of the trial: {0}")]
    Connection(#[from] serde_json::Error),
    /// Two connections that contradict each other.
    #[error("the registry of the trial: {0}")]
    Registry(#[from] RegistryError),
    /// A reference file that is none.
    #[error("reference data of the trial: {0}")]
    Reference(#[from] ReferenceError),
    /// Bytes that the session refuses.
    #[error("record {record} of the trial is refused: {error}")]
    Refused {
        /// Its number.
        record: u64,
        /// Why.
        error: String,
    },
    /// The fold did not take a batch.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// What the detectors said of a trial.
#[derive(Debug)]
pub struct Verdicts {
    /// What was staged.
    pub plots: Vec<Plot>,
    /// All that was said, in order.
    pub transitions: Vec<Transition>,
    /// When the updates began.
    pub start: Timestamp,
}

/// Runs the trial of a seed.
///
/// # Errors
/// [`QualityError`].
pub fn run(
    seed: u64,
    kind: Option<&str>,
    detect: &DetectOptions,
) -> Result<Verdicts, QualityError> {
    let trial = Trial::of(seed, kind);
    let facts = Facts::of(&trial)?;
    let transitions = fold(&hear(&trial), &facts, detect)?;
    Ok(Verdicts { plots: trial.plots, transitions, start: trial.start })
}

/// Takes batches straight into a fold.
struct IntoShard(Box<Shard>);

impl Outlet for IntoShard {
    fn put(&mut self, batch: EventBatch) -> Result<(), LogError> {
        self.0.apply(&batch);
        self.0.rows = analytics::rows::Rows::default();
        Ok(())
    }
}

/// Folds what was heard.
///
/// # Errors
/// [`QualityError`].
pub fn fold(
    heard: &Heard,
    facts: &Facts,
    detect: &DetectOptions,
) -> Result<Vec<Transition>, QualityError> {
    let mut aspas = Aspas::default();
    for (customer, providers) in &facts.aspas {
        aspas.insert(*customer, providers.iter().copied());
    }
    let reference = Reference {
        relationships: AsRelationships::read(facts.relationships.as_bytes())?.into(),
        organisations: Organisations::read(facts.organisations.as_bytes())?.into(),
        vrps: Vrps::read(facts.vrps.as_bytes())?.into(),
        aspas: aspas.into(),
        ..Reference::default()
    };
    let registry = Registry::new(1, facts.connections.clone(), facts.watched.clone())?;
    let registry = Arc::new(registry);
    let options = FoldOptions { detect: detect.clone(), ..FoldOptions::default() };
    let shard = Shard::new(0, 1, &options, Arc::new(reference));
    let batcher = Batcher::new(&[0], false, IntoShard(Box::new(shard)));
    let mut reader = Reader {
        intake: Intake::new(batcher, Arc::clone(&registry), Keep::Ours),
        second: None,
        records: 0,
    };
    let end = reader.read(&heard.table, "table.mrt")?.unwrap_or(Timestamp::MIN);
    let collector: Text = "archive".into();
    reader.intake.batcher.broadcast(end, |_| Control::EndOfRib {
        collector: Arc::clone(&collector),
        event_time: end,
    })?;
    reader.read(&heard.updates, "updates.mrt")?;
    reader.intake.batcher.flush()?;
    let shard = &mut reader.intake.batcher.outlet_mut().0;
    shard.finish();
    Ok(std::mem::take(&mut shard.transitions))
}

struct Reader {
    intake: Intake<IntoShard>,
    second: Option<i64>,
    records: u64,
}

impl Reader {
    /// Reads one file; the time of its last record.
    fn read(&mut self, mut bytes: &[u8], name: &str) -> Result<Option<Timestamp>, QualityError> {
        let mut session = MrtSession::new("archive".into());
        let (source, mut account) = (Text::from(name), Account::default());
        let mut reached = None;
        while let Ok(Frame::Whole { record, bytes: length }) = frame(bytes) {
            self.tick(record.time)?;
            let mut sink = self.intake.record(&source, self.records, record.time, &mut account);
            let read = session.record(&record, &mut sink);
            sink.finish()?;
            let refused = |error| QualityError::Refused { record: self.records, error };
            read.map_err(|error| refused(error.to_string()))?;
            self.records += 1;
            reached = Some(record.time);
            let Some((_, rest)) = bytes.split_at_checked(length) else { break };
            bytes = rest;
        }
        if bytes.is_empty() {
            return Ok(reached);
        }
        Err(QualityError::Refused { record: self.records, error: "cut off".to_owned() })
    }

    fn tick(&mut self, time: Timestamp) -> Result<(), LogError> {
        if self.second == Some(time.secs()) {
            return Ok(());
        }
        if self.second.is_none() {
            let registry = Arc::clone(self.intake.registry());
            self.intake.batcher.broadcast(time, |_| Control::Registry {
                registry: Arc::clone(&registry),
                settings: None,
            })?;
        }
        self.second = Some(time.secs());
        let until = Timestamp(time.secs() * MICROS_PER_SEC);
        self.intake.batcher.broadcast(time, |_| Control::Tick { inputs: vec![0], until })
    }
}
