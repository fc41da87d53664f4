//! Windows: samples in, one closed window a series and minute out.
//!
//! A series is one prefix of one connection, measured by one source with one statistic. Samples are
//! kept as they came until their window closes; then they are sorted once and the percentiles are
//! nearest rank over all of them: exact. Windows are of event time and close by the progress of the
//! inputs on which their source was heard, never by a sender's clock: `docs/concepts/time.md`.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use schemas::bgp::Prefix;
use schemas::registry::ConnectionId;
use schemas::sample::Statistic;
use schemas::tables::Text;
use schemas::time::{TimeWindow, Timestamp};

use super::summary::{Summariser, Summary};

/// Length of the windows of `latency`.
pub const WINDOW_SECS: u32 = 60;
/// A series heard in this many of the last five windows is missed when it falls silent.
const HEARD_MIN: u32 = 3;
/// The windows that count for that, one bit each.
const HEARD_MASK: u8 = 0b1_1111;

/// `[latency]`: windows and percentiles.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LatencyOptions {
    /// How long a window stays open for late samples after its end.
    pub lateness_secs: u32,
}

impl Default for LatencyOptions {
    fn default() -> Self {
        Self { lateness_secs: 30 }
    }
}

/// What a series is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesKey {
    /// The connection that counts the samples.
    pub connection: ConnectionId,
    /// The registered prefix.
    pub prefix: Prefix,
    /// What the values are.
    pub statistic: Statistic,
}

/// One closed window of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct LatencyWindow {
    /// Its span.
    pub window: TimeWindow,
    /// Who measured.
    pub source: Text,
    /// What it is of.
    pub series: SeriesKey,
    /// Its percentiles; those of no sample for a silence.
    pub summary: Summary,
}

/// A sample in an open window: microseconds since its start, series, round trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    series: u32,
    offset_us: u32,
    rtt_us: u32,
}

/// Stands for a lost probe among the round trips; a real one is at least 1.
const LOST: u32 = 0;

#[derive(Debug)]
struct Source {
    name: Text,
    inputs: Vec<u32>,
    ids: HashMap<SeriesKey, u32>,
    series: Vec<SeriesKey>,
    heard: Vec<u8>,
    open: BTreeMap<Timestamp, Vec<Entry>>,
    next_start: Option<Timestamp>,
}

/// All open windows of one fold.
#[derive(Debug)]
pub struct Windows {
    options: LatencyOptions,
    ids: HashMap<Text, usize>,
    sources: Vec<Source>,
    progress: BTreeMap<u32, Timestamp>,
    summariser: Summariser,
    next_due: Timestamp,
}

/// One sample as the fold hands it over.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// When it was sent.
    pub time: Timestamp,
    /// Who measured.
    pub source: &'a Text,
    /// The input it came by.
    pub input: u32,
    /// What it is of.
    pub series: SeriesKey,
    /// Round trip in microseconds; none for a lost probe.
    pub rtt_us: Option<u32>,
}

impl Windows {
    /// No window is open.
    #[must_use]
    pub fn new(options: LatencyOptions) -> Self {
        Self {
            options,
            ids: HashMap::new(),
            sources: Vec::new(),
            progress: BTreeMap::new(),
            summariser: Summariser::default(),
            next_due: Timestamp::MAX,
        }
    }

    /// Closes everything and begins anew under other settings: connections have other numbers from
    /// here on. A window that was closed stays closed.
    pub fn restart(&mut self, options: LatencyOptions, closed: &mut Vec<LatencyWindow>) {
        self.finish(closed);
        self.options = options;
        for source in &mut self.sources {
            source.series.clear();
            source.heard.clear();
            source.open.clear();
        }
        self.next_due = Timestamp::MAX;
    }

    /// The settings in force.
    #[must_use]
    pub const fn options(&self) -> &LatencyOptions {
        &self.options
    }

    /// Counts a sample; says no if its window is closed already.
    pub fn add(&mut self, sample: Sample<'_>) -> bool {
        let lateness = i64::from(self.options.lateness_secs);
        let id = match self.ids.get(sample.source) {
            Some(id) => *id,
            None => {
                self.ids.insert(sample.source.clone(), self.sources.len());
                self.sources.push(Source::new(sample.source.clone()));
                self.sources.len() - 1
            }
        };
        let Some(source) = self.sources.get_mut(id) else { return false };
        let window = TimeWindow::containing(sample.time, WINDOW_SECS);
        if source.next_start.is_some_and(|next| window.start < next) {
            return false;
        }
        self.next_due = self.next_due.min(window.end.plus_secs(lateness));
        source.add(window.start, &sample);
        true
    }

    /// Notes that inputs have passed `until`, and closes what that closes.
    pub fn passed(&mut self, inputs: &[u32], until: Timestamp, closed: &mut Vec<LatencyWindow>) {
        for input in inputs {
            let reached = self.progress.entry(*input).or_insert(until);
            *reached = until.max(*reached);
        }
        if until < self.next_due {
            return;
        }
        let lateness = i64::from(self.options.lateness_secs);
        let mut next_due = Timestamp::MAX;
        for source in &mut self.sources {
            if let Some(reached) = source.reached(&self.progress) {
                let until = reached.plus_secs(-lateness);
                source.close_until(until, false, &mut self.summariser, closed);
            }
            if let Some(due) = source.next_due() {
                next_due = next_due.min(due.plus_secs(lateness));
            }
        }
        self.next_due = next_due;
    }

    /// Closes everything: the log is at its end.
    pub fn finish(&mut self, closed: &mut Vec<LatencyWindow>) {
        for source in &mut self.sources {
            source.close_until(Timestamp::MAX, true, &mut self.summariser, closed);
        }
    }
}

impl Source {
    fn new(name: Text) -> Self {
        Self {
            name,
            inputs: Vec::new(),
            ids: HashMap::new(),
            series: Vec::new(),
            heard: Vec::new(),
            open: BTreeMap::new(),
            next_start: None,
        }
    }

    /// What all inputs on which it was heard have passed; none while one of them has said nothing.
    fn reached(&self, progress: &BTreeMap<u32, Timestamp>) -> Option<Timestamp> {
        let of_inputs: Option<Vec<Timestamp>> =
            self.inputs.iter().map(|input| progress.get(input).copied()).collect();
        of_inputs?.into_iter().min()
    }

    fn add(&mut self, start: Timestamp, sample: &Sample<'_>) {
        if !self.inputs.contains(&sample.input) {
            self.inputs.push(sample.input);
        }
        let (series, heard) = (&mut self.series, &mut self.heard);
        let id = *self.ids.entry(sample.series).or_insert_with(|| {
            series.push(sample.series);
            heard.push(0);
            u32::try_from(series.len() - 1).unwrap_or(u32::MAX)
        });
        let offset_us = u32::try_from(sample.time.0 - start.0).unwrap_or(u32::MAX);
        let rtt_us = sample.rtt_us.unwrap_or(LOST);
        self.open.entry(start).or_default().push(Entry { series: id, offset_us, rtt_us });
    }

    /// End of the first window that may close.
    fn next_due(&self) -> Option<Timestamp> {
        let silent = self.next_start.filter(|_| self.misses_any());
        let first = self.open.keys().next().copied();
        let start = match (silent, first) {
            (Some(silent), Some(first)) => Some(silent.min(first)),
            (silent, first) => silent.or(first),
        };
        start.map(|start| start.plus_secs(i64::from(WINDOW_SECS)))
    }

    fn misses_any(&self) -> bool {
        self.heard.iter().any(|bits| is_missed(*bits))
    }

    /// Closes the windows that end at or before `until`, silent ones between them too; at the end of
    /// a log only those up to the last sample.
    fn close_until(
        &mut self,
        until: Timestamp,
        at_end: bool,
        summariser: &mut Summariser,
        closed: &mut Vec<LatencyWindow>,
    ) {
        loop {
            let Some(end) = self.next_due().filter(|end| *end <= until) else { return };
            if at_end && self.open.is_empty() {
                return;
            }
            let start = end.plus_secs(-i64::from(WINDOW_SECS));
            let entries = self.open.remove(&start).unwrap_or_default();
            self.close(TimeWindow { start, end }, entries, summariser, closed);
            self.next_start = Some(end);
        }
    }

    fn close(
        &mut self,
        window: TimeWindow,
        mut entries: Vec<Entry>,
        summariser: &mut Summariser,
        closed: &mut Vec<LatencyWindow>,
    ) {
        if let Some(next) = self.next_start {
            let skipped = window.start.secs_since(next) / i64::from(WINDOW_SECS);
            let unheard = u32::try_from(skipped).unwrap_or(u32::MAX);
            for bits in &mut self.heard {
                *bits = bits.checked_shl(unheard).unwrap_or(0) & HEARD_MASK;
            }
        }
        entries.sort_unstable();
        let mut rest = entries.as_slice();
        for (id, (series, bits)) in (0..).zip(self.series.iter().zip(&mut self.heard)) {
            let of_series = rest.partition_point(|entry| entry.series <= id);
            let (mine, others) = rest.split_at(of_series);
            rest = others;
            if !mine.is_empty() || is_missed(*bits) {
                let values = mine.iter().map(|entry| entry.rtt_us);
                closed.push(LatencyWindow {
                    window,
                    source: self.name.clone(),
                    series: *series,
                    summary: summariser.summarise(values.filter(|rtt| *rtt != LOST), mine.len()),
                });
            }
            *bits = ((*bits << 1) | u8::from(!mine.is_empty())) & HEARD_MASK;
        }
    }
}

/// Whether a series was heard often enough to be missed.
const fn is_missed(bits: u8) -> bool {
    (bits & HEARD_MASK).count_ones() >= HEARD_MIN
}

#[cfg(test)]
mod tests {
    use super::*;

    use schemas::time::MICROS_PER_SEC;

    const MINUTE: i64 = 60;

    fn series() -> SeriesKey {
        SeriesKey {
            connection: 0,
            prefix: "192.0.2.0/24".parse().unwrap(),
            statistic: Statistic::Sample,
        }
    }

    fn feed(windows: &mut Windows, secs: i64, rtt_us: Option<u32>) -> bool {
        let source: Text = "probe".into();
        let time = Timestamp::from_secs(secs);
        windows.add(Sample { time, source: &source, input: 0, series: series(), rtt_us })
    }

    fn passed(windows: &mut Windows, secs: i64) -> Vec<(i64, u32, u32)> {
        let mut closed = Vec::new();
        windows.passed(&[0], Timestamp::from_secs(secs), &mut closed);
        closed
            .iter()
            .map(|w| (w.window.start.secs() / MINUTE, w.summary.samples, w.summary.lost))
            .collect()
    }

    #[test]
    fn a_window_closes_when_its_input_has_passed_end_and_lateness() {
        let mut windows = Windows::new(LatencyOptions::default());
        assert!(feed(&mut windows, 5, Some(10)) && feed(&mut windows, 59, None));
        assert!(passed(&mut windows, 89).is_empty(), "lateness is 30 s");
        assert_eq!(passed(&mut windows, 90), [(0, 1, 1)]);
        assert!(!feed(&mut windows, 59, Some(10)), "the window is closed");
    }

    #[test]
    fn a_series_that_falls_silent_is_missed_three_times_and_then_forgotten() {
        let mut windows = Windows::new(LatencyOptions::default());
        for minute in 0..5 {
            feed(&mut windows, minute * MINUTE, Some(10));
        }
        let rows = passed(&mut windows, 60 * MINUTE);
        let silent: Vec<_> = rows.iter().filter(|(_, samples, _)| *samples == 0).collect();
        assert_eq!(silent, [&(5, 0, 0), &(6, 0, 0), &(7, 0, 0)]);
        assert_eq!(rows.len(), 8);
    }

    #[test]
    fn the_end_of_a_log_closes_what_is_open_and_invents_no_silence() {
        let mut windows = Windows::new(LatencyOptions::default());
        for minute in 0..5 {
            feed(&mut windows, minute * MINUTE, Some(10));
        }
        let mut closed = Vec::new();
        windows.finish(&mut closed);
        assert_eq!(closed.len(), 5);
        assert!(closed.iter().all(|window| window.summary.samples == 1));
    }

    #[test]
    fn a_jump_of_a_year_costs_no_row_a_minute() {
        let mut windows = Windows::new(LatencyOptions::default());
        feed(&mut windows, 0, Some(10));
        feed(&mut windows, 31_536_000, Some(20));
        assert_eq!(passed(&mut windows, 40_000_000).len(), 2);
    }

    #[test]
    fn a_source_on_two_inputs_waits_for_the_slower_one() {
        let mut windows = Windows::new(LatencyOptions::default());
        feed(&mut windows, 5, Some(10));
        let source: Text = "probe".into();
        let time = Timestamp(6 * MICROS_PER_SEC);
        windows.add(Sample { time, source: &source, input: 1, series: series(), rtt_us: Some(20) });
        assert!(passed(&mut windows, 100).is_empty());
        let mut closed = Vec::new();
        windows.passed(&[1], Timestamp::from_secs(95), &mut closed);
        assert_eq!(closed.len(), 1);
    }
}
