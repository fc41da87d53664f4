//! What the partitions tell, with the chains of `findings` and `evidence`: the only writer of both.
//!
//! [`Merged`] folds the summaries of an archive, merged by time in memory. [`CorrelateFold`] folds
//! those of a live log in the order in which they are durable, drops what it has, and keeps its own
//! state: a shard that begins again tells again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use schemas::killpoint::{self, KillPoint};
use schemas::log::SummaryEntry;
use schemas::tables;
use schemas::time::Timestamp;

use super::chains::{empty_findings, empty_tables, open_chain};
use super::entry::Heard;
use super::{Committed, FoldError, Folding};
use crate::correlate::{Correlate, Summary, SummaryError};
use crate::lake::LakeError;
use crate::lake::chain::{Chain, ChainName, Position};
use crate::lake::snapshot::{Snapshot, Snapshots};

/// Findings of a live log are committed no more often than this.
const COMMIT_EVERY: Duration = Duration::from_secs(1);
/// Seconds of log time after which the state of `correlate` is kept.
const SNAPSHOT_SECS: i64 = 300;

/// Name of the snapshots of `correlate`.
fn name(log: &str) -> String {
    format!("{log}-correlate")
}

/// The chains of `findings` and `evidence`.
struct Told {
    findings: Chain<tables::FindingRow>,
    evidence: Chain<tables::EvidenceRow>,
}

impl Told {
    fn open(folding: &Folding) -> Result<Self, LakeError> {
        let name = || ChainName { log: folding.log_name.clone(), partition: 0 };
        Ok(Self {
            findings: open_chain(tables::FINDINGS, folding, name())?,
            evidence: open_chain(tables::EVIDENCE, folding, name())?,
        })
    }

    fn take(
        &mut self,
        rows: &mut Vec<tables::FindingRow>,
        evidence: &mut Vec<tables::EvidenceRow>,
        position: Position,
    ) -> Result<(), LakeError> {
        self.evidence.take(evidence, position)?;
        self.findings.take(rows, position)
    }

    /// A finding is never seen without its evidence.
    fn roll(&mut self, position: Position) -> Result<(), LakeError> {
        self.evidence.roll(position, false)?;
        killpoint::reach(KillPoint::FindingsCommit);
        self.findings.roll(position, false)
    }

    fn committed(&self) -> Committed {
        Committed::from([
            ("findings".to_owned(), self.findings.committed),
            ("evidence".to_owned(), self.evidence.committed),
        ])
    }
}

/// The summaries of an archive, merged by time.
pub struct Merged {
    correlate: Correlate,
    told: Told,
    position: Position,
    first: Option<Timestamp>,
    ended: u32,
}

impl Merged {
    /// Opens the chains.
    ///
    /// # Errors
    /// [`FoldError::Lake`] if the lake cannot be read.
    pub fn open(folding: &Folding) -> Result<Self, FoldError> {
        let correlate = match folding.before.last() {
            None => Correlate::new(folding.partitions),
            Some(before) => {
                let mut correlate = Snapshots::end_of(&folding.store, name(before), |end| {
                    Correlate::restore(&end.state, folding.partitions)
                        .map_err(|error| error.to_string())
                })?;
                correlate.go_on();
                correlate
            }
        };
        Ok(Self {
            correlate,
            told: Told::open(folding)?,
            position: Position::default(),
            first: None,
            ended: 0,
        })
    }

    /// Folds one summary of one partition.
    ///
    /// # Errors
    /// [`FoldError::Lake`] if a file cannot be put.
    pub fn apply(&mut self, partition: u32, summary: Summary) -> Result<(), FoldError> {
        match summary {
            Summary::Mark(time) => {
                self.first = Some(self.first.map_or(time, |first| first.min(time)));
            }
            Summary::End => self.ended += 1,
            Summary::Transition(..) | Summary::Tally(_) => {}
        }
        self.correlate.apply(partition, summary);
        for numbered in self.correlate.numbered.drain(..) {
            self.position = Position { end: numbered.end, time: numbered.finding.time };
            let mut evidence = numbered.evidence;
            self.told.take(&mut vec![numbered.finding], &mut evidence, self.position)?;
        }
        Ok(())
    }

    /// Everything was told: what is left is committed, and every table has a file.
    ///
    /// # Errors
    /// [`LogError::Closed`](schemas::log::LogError::Closed) if some partition did not come to its end.
    pub fn finish(mut self, folding: &Folding) -> Result<Committed, FoldError> {
        if self.ended < folding.partitions {
            return Err(schemas::log::LogError::Closed.into());
        }
        if self.position.end == 0 {
            self.position.time = self.first.unwrap_or_default();
        }
        empty_tables(folding, &folding.log_name, self.position)?;
        let committed = Committed::from([
            ("findings".to_owned(), self.told.findings.finish(self.position, true)?),
            ("evidence".to_owned(), self.told.evidence.finish(self.position, true)?),
        ]);
        let end = Snapshot {
            position: self.position,
            chains: BTreeMap::new(),
            marked: self.correlate.passed,
            told: self.position.end,
            state: self.correlate.save()?,
        };
        let store = &folding.store;
        Snapshots::find(store, name(&folding.log_name))?.put(store, &end)?;
        Ok(committed)
    }
}

/// The fold of the summaries of a live log.
pub struct CorrelateFold {
    folding: Folding,
    correlate: Correlate,
    told: Told,
    position: Position,
    /// What of each partition was heard.
    heard: Vec<Heard>,
    /// Log time of the last snapshot.
    kept: Option<Timestamp>,
    snapshots: Snapshots,
    /// Whether rows wait for their file.
    waits: bool,
    committed_at: Option<Instant>,
}

impl CorrelateFold {
    /// Opens the fold; the position from which the summaries are to be read on comes with it.
    ///
    /// # Errors
    /// [`FoldError::Lake`] if the lake cannot be read, or its snapshots cannot.
    pub fn open(folding: &Folding) -> Result<(Self, u64), FoldError> {
        let store = &folding.store;
        // Beside the chains, which begin when there is something to tell.
        let name = format!("{}.empty", folding.log_name);
        let began = Position { end: 0, time: folding.began };
        empty_findings(folding, &name, began)?;
        empty_tables(folding, &name, began)?;
        let mut snapshots = Snapshots::find(store, self::name(&folding.log_name))?;
        let restored = snapshots.newest(store, |snapshot| {
            let (heard, state): (Vec<Heard>, Vec<u8>) =
                postcard::from_bytes(&snapshot.state).map_err(|error| error.to_string())?;
            let correlate = Correlate::restore(&state, folding.partitions)
                .map_err(|error| error.to_string())?;
            Ok((heard, correlate))
        })?;
        let mut told = Told::open(folding)?;
        let (position, heard, correlate) = match restored {
            Some((snapshot, (heard, correlate))) => {
                if let Some(state) = snapshot.chains.get("findings") {
                    told.findings.resume(*state)?;
                }
                if let Some(state) = snapshot.chains.get("evidence") {
                    told.evidence.resume(*state)?;
                }
                (snapshot.position, heard, correlate)
            }
            None => {
                let fresh = Correlate::live(folding.partitions);
                (Position::default(), vec![Heard::default(); folding.partitions as usize], fresh)
            }
        };
        let fold = Self {
            folding: folding.clone(),
            correlate,
            told,
            position,
            heard,
            kept: None,
            snapshots,
            waits: false,
            committed_at: None,
        };
        Ok((fold, position.end))
    }

    /// Rows in the lake, of the entries that were folded here.
    #[must_use]
    pub fn committed(&self) -> Committed {
        self.told.committed()
    }

    /// Folds an entry, up to `position`. Whether rows were committed comes back.
    ///
    /// # Errors
    /// [`FoldError`]; after a lost race ([`FoldError::is_lost_race`]) the fold is to be opened again.
    pub fn apply(&mut self, position: u64, entry: &SummaryEntry) -> Result<bool, FoldError> {
        self.position.end = position;
        let partition = entry.partition;
        if let Some(heard) = self.heard.get_mut(partition as usize)
            && let Some(told) = heard.news(partition, entry)?
        {
            for summary in told {
                if let Summary::Mark(time) = &summary {
                    // Another partition may be behind; the days of the files do not go back.
                    self.position.time = self.position.time.max(*time);
                }
                self.correlate.apply(partition, summary);
            }
        }
        let (mut rows, mut evidence) = (Vec::new(), Vec::new());
        for numbered in self.correlate.numbered.drain(..) {
            rows.push(numbered.finding);
            evidence.extend(numbered.evidence);
        }
        self.waits |= !rows.is_empty();
        self.told.take(&mut rows, &mut evidence, self.position)?;
        let committed = self.idle()?;
        self.keep_now_and_then()?;
        Ok(committed)
    }

    /// Commits what waits, if it is time.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub fn idle(&mut self) -> Result<bool, FoldError> {
        let is_due = self.committed_at.is_none_or(|at| at.elapsed() >= COMMIT_EVERY);
        if self.waits && is_due {
            self.commit()?;
            self.committed_at = Some(Instant::now());
            return Ok(true);
        }
        Ok(false)
    }

    fn commit(&mut self) -> Result<(), FoldError> {
        self.told.roll(self.position)?;
        self.waits = false;
        Ok(())
    }

    fn keep_now_and_then(&mut self) -> Result<(), FoldError> {
        let passed = self.correlate.passed;
        if passed == Timestamp::MIN {
            return Ok(());
        }
        let kept = *self.kept.get_or_insert(passed);
        if passed.secs_since(kept) >= SNAPSHOT_SECS {
            self.keep()?;
        }
        Ok(())
    }

    /// Keeps the state, once all rows are in the lake.
    fn keep(&mut self) -> Result<(), FoldError> {
        self.commit()?;
        self.kept = Some(self.correlate.passed);
        let state = (&self.heard, self.correlate.save()?);
        let snapshot = Snapshot {
            position: self.position,
            chains: [
                ("findings".to_owned(), self.told.findings.state()),
                ("evidence".to_owned(), self.told.evidence.state()),
            ]
            .into(),
            marked: self.correlate.passed,
            told: self.position.end,
            state: postcard::to_stdvec(&state)
                .map_err(|error| SummaryError::Unwritable { error: error.to_string() })?,
        };
        if let Some(position) = self.snapshots.put(&self.folding.store, &snapshot)? {
            self.folding.progress.release_summaries_before(position);
        }
        Ok(())
    }

    /// Nothing more will come: commits what waits and keeps the state.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub fn close(&mut self) -> Result<(), FoldError> {
        if self.position.end > 0 { self.keep() } else { Ok(()) }
    }
}
