//! One source's windows: open ones, closed ones that still take late samples, and its roll-ups.

mod entries;
mod state;

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use hashbrown::HashMap;
use schemas::tables::Text;
use schemas::time::{TimeWindow, Timestamp};
use serde::{Deserialize, Serialize};

use super::rollup::{Merged, RolledUp, Rollups};
use super::summary::{Summariser, Summary};
use super::window::{Added, LatencyOptions, LatencyWindow, SeriesKey, WINDOW_SECS};
use crate::state::{raw, sorted};
use entries::{Entry, LOST, merged_of, order, summarise, take_series};

/// A series heard in this many of the last five windows is missed when it falls silent.
const HEARD_MIN: u32 = 3;
/// The windows that count for that, one bit each.
const HEARD_MASK: u8 = 0b1_1111;
/// Revisions of a window are this far apart.
const REVISION_SECS: i64 = 60;

/// Where closed windows go, and what they are made with.
pub(super) struct Sink<'s> {
    pub(super) summariser: &'s mut Summariser,
    pub(super) options: &'s LatencyOptions,
    pub(super) closed: &'s mut Vec<LatencyWindow>,
}

/// A closed window that still takes late samples.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    samples: KeptSamples,
    #[serde(with = "raw")]
    late: Vec<Entry>,
    /// When the late samples are told.
    due: Option<Timestamp>,
    #[serde(with = "sorted")]
    revisions: HashMap<u32, u32>,
}

#[derive(Debug, Serialize, Deserialize)]
enum KeptSamples {
    /// By series and time.
    All(#[serde(with = "raw")] Vec<Entry>),
    /// Histograms by series, where all samples would be too many.
    Merged(BTreeMap<u32, Merged>),
}

impl Kept {
    fn of(samples: Vec<Entry>) -> Self {
        let samples = KeptSamples::All(samples);
        Self { samples, late: Vec::new(), due: None, revisions: HashMap::new() }
    }

    /// Bytes of its samples, those that wait to be told too.
    fn bytes(&self) -> usize {
        self.samples.bytes() + self.late.len() * size_of::<Entry>()
    }
}

impl KeptSamples {
    fn bytes(&self) -> usize {
        match self {
            // As they are counted when late ones join them; room to grow is not.
            Self::All(entries) => entries.len() * size_of::<Entry>(),
            Self::Merged(_) => 0,
        }
    }
}

/// The windows of one source.
#[derive(Debug)]
pub(super) struct Source {
    name: Text,
    inputs: Vec<u32>,
    /// Whether it comes by a live log: only there can a sample be late.
    is_live: bool,
    ids: HashMap<SeriesKey, u32>,
    series: Vec<SeriesKey>,
    heard: Vec<u8>,
    /// The window that the last sample fell into, and its samples.
    hot: (Timestamp, Vec<Entry>),
    open: BTreeMap<Timestamp, Vec<Entry>>,
    /// End of the last closed window.
    next_start: Option<Timestamp>,
    /// Windows that end here or before are final: what comes of them is late.
    final_until: Timestamp,
    kept: BTreeMap<Timestamp, Kept>,
    kept_bytes: usize,
    rollups: Rollups,
    /// Whether its inputs were passed over since its last window with samples: whoever was not heard
    /// makes no silence, and what they say later is not late.
    was_passed_over: bool,
}

impl Source {
    pub(super) fn new(name: Text) -> Self {
        Self {
            name,
            inputs: Vec::new(),
            is_live: false,
            ids: HashMap::new(),
            series: Vec::new(),
            heard: Vec::new(),
            hot: (Timestamp::MIN, Vec::new()),
            open: BTreeMap::new(),
            next_start: None,
            final_until: Timestamp::MIN,
            kept: BTreeMap::new(),
            kept_bytes: 0,
            rollups: Rollups::default(),
            was_passed_over: false,
        }
    }

    /// Forgets the series, which have other numbers from here on. What was closed is final.
    pub(super) fn forget(&mut self) {
        let next_start = self.next_start;
        let final_until = next_start.unwrap_or(Timestamp::MIN).max(self.final_until);
        let (inputs, is_live) = (std::mem::take(&mut self.inputs), self.is_live);
        let name = self.name.clone();
        *self = Self { inputs, next_start, final_until, is_live, ..Self::new(name) };
    }

    pub(super) fn heard_on(&mut self, input: u32, is_live: bool) {
        self.is_live = is_live;
        if !self.inputs.contains(&input) {
            self.inputs.push(input);
        }
    }

    pub(super) const fn name(&self) -> &Text {
        &self.name
    }

    pub(super) fn inputs(&self) -> &[u32] {
        &self.inputs
    }

    /// The id of a series, and whether it is new; none if it would be and there is no room.
    pub(super) fn series(&mut self, key: SeriesKey, has_room: bool) -> (Option<u32>, bool) {
        if let Some(id) = self.ids.get(&key) {
            return (Some(*id), false);
        }
        if !has_room {
            return (None, false);
        }
        let id = u32::try_from(self.series.len()).unwrap_or(u32::MAX);
        self.ids.insert(key, id);
        self.series.push(key);
        self.heard.push(0);
        (Some(id), true)
    }

    /// Counts a sample; none if its window is final.
    #[inline]
    pub(super) fn add(
        &mut self,
        time: Timestamp,
        series: u32,
        rtt_us: Option<NonZeroU32>,
    ) -> Option<Added> {
        let start = time.window_start(WINDOW_SECS);
        let offset_us = u32::try_from(time.0 - start.0).unwrap_or(u32::MAX);
        let entry = Entry { series, offset_us, rtt_us: rtt_us.map_or(LOST, NonZeroU32::get) };
        if self.hot.0 == start && !self.hot.1.is_empty() {
            self.hot.1.push(entry);
            return Some(Added::Counted);
        }
        self.add_elsewhere(start, entry)
    }

    /// A sample of another window than the last one.
    fn add_elsewhere(&mut self, start: Timestamp, entry: Entry) -> Option<Added> {
        let end = start.plus_secs(i64::from(WINDOW_SECS));
        if self.next_start.is_some_and(|next| start < next) {
            if !self.is_live || end <= self.final_until {
                return None;
            }
            // Of a window that closed without samples nothing is kept until some come.
            let kept = self.kept.entry(start).or_insert_with(|| Kept::of(Vec::new()));
            kept.late.push(entry);
            self.kept_bytes += size_of::<Entry>();
            let newest = self.next_start.unwrap_or(end);
            let due = *kept.due.get_or_insert(newest.plus_secs(REVISION_SECS));
            return Some(Added::Revised(due));
        }
        self.cool();
        let known = self.open.remove(&start);
        let is_new = known.is_none();
        self.hot = (start, known.unwrap_or_default());
        self.hot.1.push(entry);
        Some(if is_new { Added::Opened(end) } else { Added::Counted })
    }

    /// Puts the last window back to the others.
    fn cool(&mut self) {
        let (start, entries) = std::mem::replace(&mut self.hot, (Timestamp::MIN, Vec::new()));
        if !entries.is_empty() {
            self.open.insert(start, entries);
        }
    }

    /// When something is to be done about its windows, by the progress of its inputs.
    pub(super) fn next_due(&self, options: &LatencyOptions) -> Option<Timestamp> {
        let (lateness, kept_for) =
            (i64::from(options.lateness_secs), i64::from(options.revision_secs));
        let closing = self.next_end().map(|end| end.plus_secs(lateness));
        let window = i64::from(WINDOW_SECS);
        let leaving = self.kept.keys().next().map(|start| start.plus_secs(window + kept_for));
        let revising = self.kept.values().filter_map(|kept| kept.due).min();
        [closing, leaving, revising].into_iter().flatten().min()
    }

    /// End of the first window that may close.
    fn next_end(&self) -> Option<Timestamp> {
        let silent = self.next_start.filter(|_| self.heard.iter().any(|bits| is_missed(*bits)));
        let hot = Some(self.hot.0).filter(|_| !self.hot.1.is_empty());
        let first = self.open.keys().next().copied();
        let start = [silent, hot, first].into_iter().flatten().min();
        start.map(|start| start.plus_secs(i64::from(WINDOW_SECS)))
    }

    /// Its inputs have passed `reached`; whoever was passed over makes no silence.
    pub(super) fn passed(&mut self, reached: Timestamp, is_heard: bool, sink: &mut Sink<'_>) {
        let until = reached.plus_secs(-i64::from(sink.options.lateness_secs));
        self.was_passed_over |= !is_heard;
        self.close_until(until, !is_heard, false, sink);
        self.revise(reached, sink);
        self.shrink(sink);
        let kept_for = i64::from(sink.options.revision_secs);
        self.final_until = self.final_until.max(reached.plus_secs(-kept_for));
        let is_final =
            |start: Timestamp| start.plus_secs(i64::from(WINDOW_SECS) + kept_for) <= reached;
        while let Some((start, kept)) = self.kept.pop_first() {
            if !is_final(start) {
                self.kept.insert(start, kept);
                break;
            }
            self.retire(start, kept, sink);
        }
        if self.is_live {
            let until = reached.plus_secs(-kept_for);
            self.roll_up(sink, |rollups, done| rollups.passed(until, done));
        }
    }

    /// The end of the log: closes everything, and invents no silence behind the last sample.
    pub(super) fn finish(&mut self, sink: &mut Sink<'_>) {
        self.close_until(Timestamp::MAX, false, true, sink);
        self.revise(Timestamp::MAX, sink);
        while let Some((start, kept)) = self.kept.pop_first() {
            self.retire(start, kept, sink);
        }
        self.roll_up(sink, |rollups, done| rollups.finish(done));
    }

    /// Closes the windows that end at or before `until`, silent ones between them too; behind the last
    /// sample none at the end of the log, and none while its inputs are passed over.
    fn close_until(&mut self, until: Timestamp, is_over: bool, at_end: bool, sink: &mut Sink<'_>) {
        while let Some(end) = self.next_end().filter(|end| *end <= until) {
            let is_empty = self.open.is_empty() && self.hot.1.is_empty();
            if is_empty && (at_end || self.was_passed_over) {
                return;
            }
            let start = end.plus_secs(-i64::from(WINDOW_SECS));
            let entries = match self.hot.0 == start {
                true => std::mem::replace(&mut self.hot, (Timestamp::MIN, Vec::new())).1,
                false => self.open.remove(&start).unwrap_or_default(),
            };
            let is_heard = !self.was_passed_over;
            if !entries.is_empty() {
                self.was_passed_over = is_over;
            }
            self.close(TimeWindow { start, end }, entries, is_heard, sink);
            self.next_start = Some(end);
        }
    }

    fn close(
        &mut self,
        window: TimeWindow,
        mut entries: Vec<Entry>,
        is_heard: bool,
        sink: &mut Sink<'_>,
    ) {
        if let Some(next) = self.next_start {
            let skipped = window.start.secs_since(next) / i64::from(WINDOW_SECS);
            let unheard = u32::try_from(skipped).unwrap_or(u32::MAX);
            for bits in &mut self.heard {
                *bits = bits.checked_shl(unheard).unwrap_or(0) & HEARD_MASK;
            }
        }
        order(&mut entries, self.series.len());
        let mut rest = entries.as_slice();
        for id in 0..u32::try_from(self.series.len()).unwrap_or(u32::MAX) {
            let mine = take_series(&mut rest, id);
            let Some(bits) = self.heard.get_mut(id as usize) else { break };
            let is_told = !mine.is_empty() || (is_heard && is_missed(*bits));
            *bits = ((*bits << 1) | u8::from(!mine.is_empty())) & HEARD_MASK;
            if is_told {
                let summary = summarise(mine, sink.summariser);
                if !self.is_live && !mine.is_empty() {
                    let merged = Merged::of(&summary);
                    self.roll_up(sink, |rollups, done| {
                        rollups.add(window.start, id, merged, done);
                    });
                }
                self.tell(window, id, summary, 0, sink);
            }
        }
        if self.is_live && !entries.is_empty() {
            entries.shrink_to_fit();
            self.keep(window.start, entries, sink);
        }
    }

    fn tell(
        &self,
        window: TimeWindow,
        series: u32,
        summary: Summary,
        revision: u32,
        sink: &mut Sink<'_>,
    ) {
        let Some(series) = self.series.get(series as usize).copied() else { return };
        let source = self.name.clone();
        sink.closed.push(LatencyWindow { window, source, series, summary, revision });
    }

    /// Keeps a closed window for late samples; of the oldest ones only histograms, if they are too many.
    fn keep(&mut self, start: Timestamp, entries: Vec<Entry>, sink: &mut Sink<'_>) {
        let kept = Kept::of(entries);
        self.kept_bytes += kept.bytes();
        self.kept.insert(start, kept);
        self.shrink(sink);
    }

    /// Whether more samples are kept than may be.
    pub(super) fn is_full(&self, options: &LatencyOptions) -> bool {
        self.kept_bytes as u64 > options.late_bytes_max
    }

    /// Makes histograms of the oldest windows while their samples are too many. Late samples that wait
    /// and still do not fit are told now.
    fn shrink(&mut self, sink: &mut Sink<'_>) {
        let bytes_max = usize::try_from(sink.options.late_bytes_max).unwrap_or(usize::MAX);
        for kept in self.kept.values_mut() {
            if self.kept_bytes <= bytes_max {
                return;
            }
            self.kept_bytes -= kept.samples.bytes();
            if let KeptSamples::All(entries) = &kept.samples {
                kept.samples = KeptSamples::Merged(merged_of(entries, sink.summariser));
            }
        }
        let waiting = self.kept.iter().filter(|(_, kept)| !kept.late.is_empty());
        let waiting: Vec<Timestamp> = waiting.map(|(start, _)| *start).collect();
        for start in waiting {
            if self.kept_bytes <= bytes_max {
                return;
            }
            self.revise_at(start, sink);
        }
    }

    /// Tells the late samples that are due.
    fn revise(&mut self, reached: Timestamp, sink: &mut Sink<'_>) {
        let due: Vec<Timestamp> = self
            .kept
            .iter()
            .filter(|(_, kept)| kept.due.is_some_and(|due| due <= reached))
            .map(|(start, _)| *start)
            .collect();
        for start in due {
            self.revise_at(start, sink);
        }
    }

    fn revise_at(&mut self, start: Timestamp, sink: &mut Sink<'_>) {
        if let Some(mut kept) = self.kept.remove(&start) {
            self.revise_window(start, &mut kept, sink);
            self.kept.insert(start, kept);
        }
    }

    fn revise_window(&mut self, start: Timestamp, kept: &mut Kept, sink: &mut Sink<'_>) {
        kept.due = None;
        let mut late = std::mem::take(&mut kept.late);
        late.sort_unstable();
        let late_bytes = late.len() * size_of::<Entry>();
        let window = TimeWindow::containing(start, WINDOW_SECS);
        let mut changed: Vec<u32> = late.iter().map(|entry| entry.series).collect();
        changed.dedup();
        match &mut kept.samples {
            KeptSamples::All(entries) => {
                entries.extend(late);
                order(entries, self.series.len());
            }
            KeptSamples::Merged(merged) => {
                self.kept_bytes -= late_bytes;
                for (series, more) in merged_of(&late, sink.summariser) {
                    merged.entry(series).or_default().merge(&more);
                }
            }
        }
        for series in changed {
            let summary = match &kept.samples {
                KeptSamples::All(entries) => {
                    let first = entries.partition_point(|entry| entry.series < series);
                    let mut rest = entries.get(first..).unwrap_or_default();
                    summarise(take_series(&mut rest, series), sink.summariser)
                }
                KeptSamples::Merged(merged) => {
                    merged.get(&series).cloned().unwrap_or_default().summary(sink.summariser)
                }
            };
            let revision = kept.revisions.entry(series).or_insert(0);
            *revision += 1;
            self.tell(window, series, summary, *revision, sink);
        }
    }

    /// A window is final: its late samples are told, and it enters the roll-ups.
    fn retire(&mut self, start: Timestamp, mut kept: Kept, sink: &mut Sink<'_>) {
        if !kept.late.is_empty() {
            self.revise_window(start, &mut kept, sink);
        }
        self.kept_bytes = self.kept_bytes.saturating_sub(kept.bytes());
        let merged = match kept.samples {
            KeptSamples::All(entries) => merged_of(&entries, sink.summariser),
            KeptSamples::Merged(merged) => merged,
        };
        for (series, merged) in merged {
            self.roll_up(sink, |rollups, done| rollups.add(start, series, merged, done));
        }
    }

    /// Does something with the roll-ups, and tells those that it completes.
    fn roll_up(
        &mut self,
        sink: &mut Sink<'_>,
        change: impl FnOnce(&mut Rollups, &mut dyn FnMut(RolledUp)),
    ) {
        let mut rollups = std::mem::take(&mut self.rollups);
        let mut done = |up: RolledUp| {
            let summary = up.merged.summary(sink.summariser);
            let Some(series) = self.series.get(up.series as usize).copied() else { return };
            let source = self.name.clone();
            let (window, revision) = (up.window, 0);
            sink.closed.push(LatencyWindow { window, source, series, summary, revision });
        };
        change(&mut rollups, &mut done);
        self.rollups = rollups;
    }
}

/// Whether a series was heard often enough to be missed.
const fn is_missed(bits: u8) -> bool {
    (bits & HEARD_MASK).count_ones() >= HEARD_MIN
}
