//! The two folds of the proof: pure, with state that outlives a file.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::disk::Frame;
use crate::{Chain, PARTITIONS, SNAPSHOT_COMMITS};

pub(crate) const TABLES_MAX: usize = 2;

/// Kinds of records in a partition, and of summaries.
pub(crate) const VALUE: u64 = 0;
pub(crate) const COMMIT: u64 = 1;
pub(crate) const END: u64 = 2;
const OPENED: u64 = 10;
const UPDATED: u64 = 11;
const RESOLVED: u64 = 12;
const MARK: u64 = 13;
const ENDED: u64 = 14;
const GROUPED: u64 = 15;

const WINDOW_SECS: u64 = 600;
const LATENESS_SECS: u64 = 60;
const MARK_SECS: u64 = 60;
const CALM_SECS: u64 = 400;
const HOT: u64 = 190;

/// What one record gave.
#[derive(Default)]
pub(crate) struct Out {
    pub(crate) rows: [Vec<Frame>; TABLES_MAX],
    pub(crate) summaries: Vec<Frame>,
    /// Log time.
    pub(crate) time: u64,
    /// Files are closed behind this record.
    pub(crate) commits: bool,
    pub(crate) snapshots: bool,
    pub(crate) ends: bool,
}

/// A pure fold of one log.
pub(crate) trait Fold: Default + Serialize + DeserializeOwned {
    fn apply(&mut self, at: u64, frame: &Frame, broken: &str) -> Out;
    fn chains(&mut self) -> &mut [Chain];
    /// Whether the last record was folded.
    fn is_done(&self) -> bool;
}

/// The record at an offset of a partition: a function of both, so that it needs no second copy.
pub(crate) fn record(partition: u64, offset: u64, count: u64) -> Frame {
    let mut hash = (partition << 40 | offset).wrapping_add(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^= hash >> 31;
    let kind = match hash % 16 {
        _ if offset + 1 == count => END,
        0 => COMMIT,
        _ => VALUE,
    };
    [offset, offset * 8 + hash % 8, kind, (hash >> 8) % 4, (hash >> 16) % 256, partition, hash, 0]
}

/// The fold of one partition: windows that close by log time, a finding a key, a counter.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Shard {
    chains: [Chain; TABLES_MAX],
    time: u64,
    commits: u64,
    counted: u64,
    marked: u64,
    is_done: bool,
    /// Key of the summary before the next one.
    said: (u64, u64),
    windows: BTreeMap<(u64, u64), [u64; 4]>,
    cases: BTreeMap<u64, Case>,
}

#[derive(Default, Serialize, Deserialize)]
struct Case {
    hits: u64,
    opened_at: Option<u64>,
    heard_at: u64,
}

impl Fold for Shard {
    fn apply(&mut self, at: u64, frame: &Frame, _broken: &str) -> Out {
        let [_, time, kind, key, value, partition, ..] = *frame;
        let mut out = Out { ends: kind == END, commits: kind != VALUE, ..Out::default() };
        let mut says = Vec::new();
        self.time = self.time.max(time);
        out.time = self.time;
        let due = |start: &u64| start + WINDOW_SECS + LATENESS_SECS <= time || kind == END;
        while let Some(entry) = self.windows.first_entry().filter(|entry| due(&entry.key().0)) {
            let ((start, key), [count, sum, first, last]) = entry.remove_entry();
            out.rows[1].push([start, key, count, sum, first, last, partition, at]);
        }
        for (key, case) in &mut self.cases {
            if case.opened_at.is_some() && case.heard_at + CALM_SECS <= time {
                says.push((RESOLVED, case.heard_at + CALM_SECS, *key));
                *case = Case::default();
            }
        }
        if self.time / MARK_SECS > self.marked {
            self.marked = self.time / MARK_SECS;
            says.push((MARK, self.marked * MARK_SECS, 0));
        }
        if kind == VALUE {
            self.counted += 1;
            let window =
                self.windows.entry((time - time % WINDOW_SECS, key)).or_insert([0, 0, at, at]);
            *window = [window[0] + 1, window[1] + value, window[2], at];
            let case = self.cases.entry(key).or_default();
            if value >= HOT {
                case.hits += 1;
                case.heard_at = time;
                match case.opened_at {
                    None if case.hits >= 3 => {
                        says.push((OPENED, *case.opened_at.insert(time), key))
                    }
                    Some(_) if case.hits.is_power_of_two() => says.push((UPDATED, time, key)),
                    _ => {}
                }
            }
            let opened_at = case.opened_at.unwrap_or_default();
            out.rows[0].push([at, time, key, value, opened_at, case.hits, self.counted, partition]);
        }
        if kind == END {
            self.is_done = true;
            says.push((ENDED, self.time, 0));
        }
        for (ordinal, (kind, time, key)) in (1..).zip(says) {
            out.summaries.push([partition, at, ordinal, self.said.0, self.said.1, kind, time, key]);
            self.said = (at, ordinal);
        }
        self.commits += u64::from(out.commits);
        out.snapshots = out.commits && self.commits.is_multiple_of(SNAPSHOT_COMMITS);
        out
    }

    fn chains(&mut self) -> &mut [Chain] {
        &mut self.chains
    }

    fn is_done(&self) -> bool {
        self.is_done
    }
}

/// The fold of the summaries: numbers what was said, counts openings a minute over all partitions.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Correlate {
    chains: [Chain; 1],
    said: BTreeMap<u64, (u64, u64)>,
    marks: BTreeMap<u64, u64>,
    passed: u64,
    sequence: u64,
    commits: u64,
    ended: u64,
    openings: BTreeMap<u64, u64>,
}

impl Fold for Correlate {
    fn apply(&mut self, _at: u64, frame: &Frame, broken: &str) -> Out {
        let [partition, offset, ordinal, offset_before, ordinal_before, kind, time, key] = *frame;
        let mut out = Out { time: self.passed, ..Out::default() };
        let said = self.said.entry(partition).or_default();
        if (offset, ordinal) <= *said && broken != "summaries_twice" {
            return out;
        }
        let is_gap = (offset_before, ordinal_before) > *said;
        assert!(
            !is_gap || !["", "two_builds"].contains(&broken),
            "summaries of {partition} lack some"
        );
        *said = (offset, ordinal);
        match kind {
            MARK | ENDED => {
                self.ended += u64::from(kind == ENDED);
                self.marks.insert(partition, time);
                let all = self.marks.len() as u64 == PARTITIONS;
                let passed = self.marks.values().min().copied().filter(|_| all).unwrap_or(0);
                while let Some(entry) =
                    self.openings.first_entry().filter(|entry| *entry.key() < passed)
                {
                    let (minute, count) = entry.remove_entry();
                    self.sequence += 1;
                    out.rows[0].push([self.sequence, GROUPED, minute, count, 0, 0, 0, 0]);
                }
                out.commits = passed > self.passed;
                self.passed = passed.max(self.passed);
            }
            _ => {
                self.sequence += 1;
                out.rows[0].push([self.sequence, kind, time, partition, offset, ordinal, key, 0]);
                if kind == OPENED {
                    *self.openings.entry(time - time % MARK_SECS).or_default() += 1;
                    out.commits = true;
                }
            }
        }
        out.ends = self.ended == PARTITIONS;
        out.commits |= out.ends;
        self.commits += u64::from(out.commits);
        out.snapshots = out.commits && self.commits.is_multiple_of(SNAPSHOT_COMMITS);
        out
    }

    fn chains(&mut self) -> &mut [Chain] {
        &mut self.chains
    }

    fn is_done(&self) -> bool {
        self.ended == PARTITIONS
    }
}
