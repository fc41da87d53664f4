//! Windows: samples in, one closed window a series and minute out.
//!
//! A series is one prefix of one connection, measured by one source with one statistic. Samples are
//! kept as they came until their window closes; then they are sorted once and the percentiles are
//! nearest rank over all of them: exact. Windows are of event time and close by the progress of the
//! inputs on which their source was heard, never by a sender's clock: `docs/concepts/time.md`.
//!
//! What one source has open is [`super::source`].

use std::collections::BTreeMap;

use hashbrown::HashMap;
use schemas::batch::EventBatch;
use schemas::bgp::Prefix;
use schemas::registry::ConnectionId;
use schemas::sample::Statistic;
use schemas::tables::Text;
use schemas::time::{TimeWindow, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::source::{Sink, Source};
use super::summary::{Summariser, Summary};

/// Length of the windows of `latency`.
pub const WINDOW_SECS: u32 = 60;
/// A service that runs ticks each second; longer without a tick it was not there.
const AWAY_SECS: i64 = 30;

/// `[latency]`: windows and percentiles.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LatencyOptions {
    /// How long a window stays open for late samples after its end.
    pub lateness_secs: u32,
    /// How long after its end a window of a running service takes still later samples, each minute's
    /// as one exact row of `latency_revisions`; later ones are counted.
    pub revision_secs: u32,
    /// An input without progress for this long is passed over.
    pub progress_timeout_secs: u32,
    /// Bytes of samples kept for revisions at most, in a shard; beyond it revisions are made of
    /// histograms.
    pub late_bytes_max: u64,
    /// Series at most, in a shard; samples of further ones are counted.
    pub series_max: u32,
}

impl Default for LatencyOptions {
    fn default() -> Self {
        Self {
            lateness_secs: 30,
            revision_secs: 300,
            progress_timeout_secs: 300,
            late_bytes_max: 256 << 20,
            series_max: 2_000_000,
        }
    }
}

/// What a series is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SeriesKey {
    /// The connection that counts the samples.
    pub connection: ConnectionId,
    /// The registered prefix.
    pub prefix: Prefix,
    /// What the values are.
    pub statistic: Statistic,
}

/// One closed window of one series, a revision of one, or a roll-up.
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
    /// 0 for the first row of a window.
    pub revision: u32,
}

impl LatencyWindow {
    /// Its length in seconds.
    #[must_use]
    pub fn secs(&self) -> u32 {
        u32::try_from(self.window.end.secs_since(self.window.start)).unwrap_or(u32::MAX)
    }
}

/// How far an input is.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Reached {
    until: Timestamp,
    /// Log time of its last step.
    moved: Timestamp,
}

/// Where a series of a batch counts.
#[derive(Clone, Copy, Debug)]
struct Place {
    source: u32,
    /// None beyond the limit of series.
    series: Option<u32>,
}

/// All open windows of one fold.
#[derive(Debug)]
pub struct Windows {
    options: LatencyOptions,
    ids: HashMap<Text, u32>,
    sources: Vec<Source>,
    series: u32,
    progress: BTreeMap<u32, Reached>,
    summariser: Summariser,
    next_due: Timestamp,
    /// Log time of the last tick.
    ticked: Option<Timestamp>,
    /// By the batch under way: where its series count.
    places: Vec<Place>,
    /// Samples that came after their window was final.
    pub late: u64,
    /// Samples of series beyond the limit.
    pub refused: u64,
}

impl Windows {
    /// No window is open.
    #[must_use]
    pub fn new(options: LatencyOptions) -> Self {
        Self {
            options,
            ids: HashMap::new(),
            sources: Vec::new(),
            series: 0,
            progress: BTreeMap::new(),
            summariser: Summariser::default(),
            next_due: Timestamp::MAX,
            ticked: None,
            places: Vec::new(),
            late: 0,
            refused: 0,
        }
    }

    /// Closes everything and begins anew under other settings: connections have other numbers from
    /// here on. A window that was closed stays closed.
    pub fn restart(&mut self, options: LatencyOptions, closed: &mut Vec<LatencyWindow>) {
        self.finish(closed);
        self.options = options;
        self.sources.iter_mut().for_each(Source::forget);
        self.series = 0;
        self.places.clear();
        self.next_due = Timestamp::MAX;
    }

    /// The settings in force.
    #[must_use]
    pub const fn options(&self) -> &LatencyOptions {
        &self.options
    }

    /// A batch begins: its series get their places as they are met.
    pub fn begin(&mut self) {
        self.places.clear();
    }

    /// Counts samples of the batch under way, in order.
    pub fn add(&mut self, batch: &EventBatch, first: u32, count: u32) {
        if self.places.len() < batch.series.len() {
            self.place(batch);
        }
        let lateness = i64::from(self.options.lateness_secs);
        let rows = first as usize..first.saturating_add(count) as usize;
        let all = &batch.samples;
        let (Some(times), Some(series), Some(rtts)) =
            (all.event_time.get(rows.clone()), all.series.get(rows.clone()), all.rtt_us.get(rows))
        else {
            return;
        };
        for ((time, series), rtt_us) in times.iter().zip(series).zip(rtts) {
            let Some(place) = self.places.get(*series as usize) else { continue };
            let (Some(id), Some(source)) =
                (place.series, self.sources.get_mut(place.source as usize))
            else {
                self.refused += 1;
                continue;
            };
            match source.add(*time, id, *rtt_us) {
                Some(Added::Opened(end)) => {
                    self.next_due = self.next_due.min(end.plus_secs(lateness));
                }
                Some(Added::Revised(due)) => {
                    let is_full = source.is_full(&self.options);
                    let due = if is_full { Timestamp::MIN } else { due };
                    self.next_due = self.next_due.min(due);
                }
                Some(Added::Counted) => {}
                None => self.late += 1,
            }
        }
    }

    /// Finds out where the series of a batch count that were not met before.
    fn place(&mut self, batch: &EventBatch) {
        for row in self.places.len()..batch.series.len() {
            let Some(event) = batch.series.get(u32::try_from(row).unwrap_or(u32::MAX)) else {
                return;
            };
            let name = batch.sources.get(event.source as usize).cloned().unwrap_or_default();
            let next = u32::try_from(self.sources.len()).unwrap_or(u32::MAX);
            let source = *self.ids.entry(name.clone()).or_insert(next);
            if source == next {
                self.sources.push(Source::new(name));
            }
            let Some(known) = self.sources.get_mut(source as usize) else { return };
            known.heard_on(event.input, batch.is_live);
            let key = SeriesKey {
                connection: event.connection,
                prefix: event.prefix,
                statistic: event.statistic,
            };
            let has_room = self.series < self.options.series_max;
            let (series, is_new) = known.series(key, has_room);
            self.series += u32::from(is_new);
            self.places.push(Place { source, series });
        }
    }

    /// Notes that inputs have passed `until`, and closes what that closes.
    pub fn passed(
        &mut self,
        inputs: &[u32],
        until: Timestamp,
        log_time: Timestamp,
        closed: &mut Vec<LatencyWindow>,
    ) {
        self.pardon(log_time);
        for input in inputs {
            let reached = self.progress.entry(*input).or_insert(Reached { until, moved: log_time });
            if reached.until < until {
                *reached = Reached { until, moved: log_time };
            }
        }
        // Whoever is passed over is so by log time.
        if until.max(log_time) < self.next_due {
            return;
        }
        let mut next_due = Timestamp::MAX;
        let Self { sources, progress, summariser, options, .. } = self;
        for source in sources {
            let mut sink = Sink { summariser: &mut *summariser, options, closed: &mut *closed };
            if let Some((reached, is_heard)) = of_inputs(source, progress, options, log_time) {
                source.passed(reached, is_heard, &mut sink);
            }
            if let Some(due) = source.next_due(options) {
                next_due = next_due.min(due);
            }
        }
        self.next_due = next_due;
    }

    /// While nobody ticked nobody could make progress: after an outage of ours inputs have as long as
    /// ever to bring what has waited for them.
    fn pardon(&mut self, log_time: Timestamp) {
        let away_secs = self.ticked.map_or(0, |ticked| log_time.secs_since(ticked));
        self.ticked = Some(log_time);
        if away_secs > AWAY_SECS {
            for reached in self.progress.values_mut() {
                reached.moved = reached.moved.plus_secs(away_secs);
            }
        }
    }

    /// Closes everything: the log is at its end.
    pub fn finish(&mut self, closed: &mut Vec<LatencyWindow>) {
        let Self { sources, summariser, options, .. } = self;
        for source in sources {
            source.finish(&mut Sink { summariser, options, closed });
        }
    }
}

impl Serialize for Windows {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self {
            options,
            ids: _,
            sources,
            series,
            progress,
            summariser: _,
            next_due,
            ticked,
            places: _,
            late,
            refused,
        } = self;
        (options, sources, series, progress, next_due, ticked, late, refused).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Windows {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (options, sources, series, progress, next_due, ticked, late, refused) =
            Deserialize::deserialize(deserializer)?;
        let mut windows = Self {
            sources,
            series,
            progress,
            next_due,
            ticked,
            late,
            refused,
            ..Self::new(options)
        };
        let names = windows.sources.iter().map(|source| source.name().clone());
        windows.ids = names.zip(0..).collect();
        Ok(windows)
    }
}

/// What became of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    /// It counts in a window that is open already.
    Counted,
    /// It opened a window, which ends then.
    Opened(Timestamp),
    /// It came for a window that is closed, and will be told at that time.
    Revised(Timestamp),
}

/// What all inputs on which a source was heard have passed, and whether one of them is heard of: those
/// without progress for too long are passed over. None while one of them has said nothing yet.
fn of_inputs(
    source: &Source,
    progress: &BTreeMap<u32, Reached>,
    options: &LatencyOptions,
    log_time: Timestamp,
) -> Option<(Timestamp, bool)> {
    let timeout = i64::from(options.progress_timeout_secs);
    let mut reached: Option<Timestamp> = None;
    for input in source.inputs() {
        let input = progress.get(input)?;
        if log_time.secs_since(input.moved) < timeout {
            reached = Some(reached.map_or(input.until, |reached| reached.min(input.until)));
        }
    }
    Some(match reached {
        Some(reached) => (reached, true),
        None => (log_time.plus_secs(-timeout), false),
    })
}

#[cfg(test)]
mod tests;
