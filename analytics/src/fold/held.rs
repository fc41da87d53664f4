//! Windows that a lake holds already: an archive that goes on from others may bring samples of minutes
//! that they have closed. Such a window is no first row but a revision, merged from the histograms of
//! both.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arrow::array::{Array, AsArray as _, RecordBatch};
use arrow::datatypes::{TimestampMicrosecondType, UInt32Type};
use schemas::tables::{LATENCY, LATENCY_REVISIONS, LatencyRow, Table};
use schemas::time::Timestamp;

use crate::lake::catalog::{Folder, LISTINGS_MAX, TableFile};
use crate::lake::footer::{FileProblem, footer, rows};
use crate::lake::store::{LakeError, Store};
use crate::latency::rollup::Merged;
use crate::latency::summary::{Figures, Summariser};
use crate::rows::put_summary;
use crate::shard::Shard;

/// Files that are kept decoded: windows come in order of time, so the next ones are in the same.
const FILES_KEPT: usize = 2;
/// The columns that are read.
const COLUMNS: [&str; 15] = [
    "window_start",
    "connection",
    "prefix",
    "source",
    "statistic",
    "samples",
    "lost",
    "rtt_min_us",
    "rtt_max_us",
    "rtt_mean_us",
    "jitter_us",
    "hist_bucket",
    "hist_count",
    "revision",
    "geo_mismatch",
];

/// What names a window: its start, connection, prefix, source and statistic.
type Key = (Timestamp, String, String, String, String);

/// What the newest row of a window says.
struct Before {
    merged: Merged,
    revision: u32,
    geo_mismatch: Option<bool>,
}

/// The windows that are wanted, and what was found of them.
type Wanted = BTreeMap<Key, Option<Before>>;

/// A file of earlier windows with the span of their starts.
struct Earlier {
    table: Table,
    file: TableFile,
    first: Timestamp,
    last: Timestamp,
}

/// The windows of the logs before this one.
pub(super) struct Held {
    store: Arc<Store>,
    logs: Vec<String>,
    /// Found at the first question.
    files: Option<Vec<Earlier>>,
    decoded: VecDeque<(String, RecordBatch)>,
    summariser: Summariser,
}

impl Held {
    pub(super) fn new(store: &Arc<Store>, logs: &[String]) -> Self {
        Self {
            store: Arc::clone(store),
            logs: logs.to_vec(),
            files: None,
            decoded: VecDeque::new(),
            summariser: Summariser::default(),
        }
    }

    /// Makes revisions of those rows of `latency` whose windows the lake has.
    ///
    /// # Errors
    /// [`LakeError`] if the lake cannot be read.
    pub(super) fn overlay(&mut self, shard: &mut Shard) -> Result<(), LakeError> {
        let floor = shard.floor();
        let is_old = |row: &LatencyRow| row.window_start <= floor;
        if self.logs.is_empty() || !shard.rows.latency.iter().any(is_old) {
            return Ok(());
        }
        let mut wanted: Wanted = shard
            .rows
            .latency
            .iter()
            .filter(|row| is_old(row))
            .map(|row| (key(row), None))
            .collect();
        self.find(&mut wanted)?;
        let mut kept = Vec::new();
        for mut row in shard.rows.latency.drain(..) {
            match wanted.get_mut(&key(&row)).and_then(Option::take) {
                Some(mut before) => {
                    let merged = &mut before.merged;
                    merged.merge(&Merged::of_parts(
                        &row.hist_bucket,
                        &row.hist_count,
                        figures(&row),
                    ));
                    put_summary(&mut row, before.merged.summary(&mut self.summariser));
                    row.revision = before.revision + 1;
                    // The smallest round trip of both is too small if that of one was.
                    row.geo_mismatch = row.geo_mismatch.max(before.geo_mismatch);
                    shard.rows.latency_revisions.push(row);
                }
                None => kept.push(row),
            }
        }
        shard.rows.latency = kept;
        Ok(())
    }

    /// Finds the newest row of each window that is wanted.
    fn find(&mut self, wanted: &mut Wanted) -> Result<(), LakeError> {
        let (Some(first), Some(last)) = (wanted.keys().next(), wanted.keys().next_back()) else {
            return Ok(());
        };
        let (first, last) = (first.0, last.0);
        for _ in 0..LISTINGS_MAX {
            let listed = match self.files.take() {
                Some(files) => Some(files),
                None => self.list()?,
            };
            let Some(files) = listed else { continue };
            let mut is_whole = true;
            for file in files.iter().filter(|file| file.first <= last && first <= file.last) {
                match self.decode(file)? {
                    Some(batch) => take(&batch, wanted),
                    None => is_whole = false,
                }
            }
            if is_whole {
                self.files = Some(files);
                return Ok(());
            }
        }
        Err(LakeError::Restless { folder: LATENCY.name.to_owned() })
    }

    /// The files of the logs before, with the spans that their footers tell. None if a compaction or a
    /// purge took one away meanwhile.
    fn list(&self) -> Result<Option<Vec<Earlier>>, LakeError> {
        let mut files = Vec::new();
        for table in [LATENCY, LATENCY_REVISIONS] {
            for file in Folder::list(&self.store, table)?.live {
                if !self.logs.contains(&file.name.log) {
                    continue;
                }
                let told = match footer(&self.store, &file.entry)? {
                    Err(FileProblem::Gone) => return Ok(None),
                    told => told.map_err(|problem| damaged(&file, &problem))?,
                };
                if told.rows == 0 {
                    continue;
                }
                let (first, last) = told.starts.unwrap_or((Timestamp::MIN, Timestamp::MAX));
                files.push(Earlier { table, file, first, last });
            }
        }
        Ok(Some(files))
    }

    /// The rows of a file; none if it is gone.
    fn decode(&mut self, earlier: &Earlier) -> Result<Option<RecordBatch>, LakeError> {
        let key = &earlier.file.entry.key;
        if let Some((_, batch)) = self.decoded.iter().find(|(known, _)| known == key) {
            return Ok(Some(batch.clone()));
        }
        let Some(bytes) = self.store.get(key)? else { return Ok(None) };
        let batch = rows(bytes, earlier.table, Some(&COLUMNS))
            .map_err(|problem| damaged(&earlier.file, &problem))?;
        if self.decoded.len() == FILES_KEPT {
            self.decoded.pop_front();
        }
        self.decoded.push_back((key.clone(), batch.clone()));
        Ok(Some(batch))
    }
}

fn damaged(file: &TableFile, problem: &impl ToString) -> LakeError {
    LakeError::Footer { key: file.entry.key.clone(), error: problem.to_string() }
}

fn key(row: &LatencyRow) -> Key {
    (
        row.window_start,
        row.connection.to_string(),
        row.prefix.to_string(),
        row.source.to_string(),
        row.statistic.to_owned(),
    )
}

/// What adds up, as far as a row tells it: means are rounded down.
fn figures(row: &LatencyRow) -> Figures {
    of_columns(
        (row.samples, row.lost),
        (row.rtt_min_us, row.rtt_max_us),
        (row.rtt_mean_us, row.jitter_us),
    )
}

fn of_columns(
    (samples, lost): (u32, u32),
    (min, max): (Option<u32>, Option<u32>),
    (mean, jitter): (Option<u32>, Option<u32>),
) -> Figures {
    let jitter_steps = samples.saturating_sub(1);
    let times = |value: Option<u32>, count: u32| u64::from(value.unwrap_or(0)) * u64::from(count);
    Figures {
        samples,
        lost,
        min: min.unwrap_or(0),
        max: max.unwrap_or(0),
        sum: times(mean, samples),
        jitter_sum: times(jitter, jitter_steps),
        jitter_steps,
    }
}

/// Takes what is wanted out of the rows of a file. Columns are those of [`COLUMNS`], in their order.
fn take(batch: &RecordBatch, wanted: &mut Wanted) {
    let (Some(first), Some(last)) = (wanted.keys().next(), wanted.keys().next_back()) else {
        return;
    };
    let (first, last) = (first.0.micros(), last.0.micros());
    let [start, connection, prefix, source, statistic, numbers @ ..] = batch.columns() else {
        return;
    };
    let [samples, lost, min, max, mean, jitter, bucket, count, revision, mismatch] = numbers else {
        return;
    };
    let starts = start.as_primitive::<TimestampMicrosecondType>();
    let text =
        |column: &Arc<dyn Array>, row: usize| column.as_string::<i32>().value(row).to_owned();
    let number = |column: &Arc<dyn Array>, row: usize| {
        let column = column.as_primitive::<UInt32Type>();
        column.is_valid(row).then(|| column.value(row))
    };
    let list = |column: &Arc<dyn Array>, row: usize| -> Vec<u32> {
        column.as_list::<i32>().value(row).as_primitive::<UInt32Type>().values().to_vec()
    };
    for (row, start) in starts.values().iter().enumerate() {
        if *start < first || *start > last {
            continue;
        }
        let key = (
            Timestamp(*start),
            text(connection, row),
            text(prefix, row),
            text(source, row),
            text(statistic, row),
        );
        let Some(found) = wanted.get_mut(&key) else { continue };
        let revision = number(revision, row).unwrap_or(0);
        if found.as_ref().is_some_and(|known| known.revision >= revision) {
            continue;
        }
        let figures = of_columns(
            (number(samples, row).unwrap_or(0), number(lost, row).unwrap_or(0)),
            (number(min, row), number(max, row)),
            (number(mean, row), number(jitter, row)),
        );
        let merged = Merged::of_parts(&list(bucket, row), &list(count, row), figures);
        let mismatch = mismatch.as_boolean();
        let geo_mismatch = mismatch.is_valid(row).then(|| mismatch.value(row));
        *found = Some(Before { merged, revision, geo_mismatch });
    }
}
