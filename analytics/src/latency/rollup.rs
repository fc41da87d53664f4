//! Roll-ups: final windows in, merged rows of 5 minutes, an hour and a day out.
//!
//! Percentiles are never averaged: histograms are added up and asked again, so a row of any length
//! says what the samples would have said, to within a bucket. A window enters when it is final, so a
//! late sample is in its roll-ups too. Each length is merged from the one below it: a window is
//! counted once, whatever the lengths are.

use std::collections::BTreeMap;

use schemas::time::{TimeWindow, Timestamp};
use serde::{Deserialize, Serialize};

use super::histogram::{self, Counts};
use super::summary::{Figures, Summariser, Summary};

/// `latency_5m`
pub const MINUTES_5: u32 = 300;
/// `latency_1h`
pub const HOUR: u32 = 3_600;
/// `latency_1d`
pub const DAY: u32 = 86_400;
/// Lengths in seconds, each a multiple of the one before.
const LEVELS: [u32; 3] = [MINUTES_5, HOUR, DAY];

/// What is known of some windows of one series.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merged {
    /// Slots of the histogram, ascending.
    slots: Vec<u16>,
    /// Samples in each.
    counts: Vec<u32>,
    figures: Figures,
}

impl Merged {
    /// What a window's summary says.
    #[must_use]
    pub fn of(summary: &Summary) -> Self {
        Self::of_parts(&summary.hist_bucket, &summary.hist_count, summary.figures)
    }

    /// A histogram, bucket by bucket ascending, with what adds up beside it.
    #[must_use]
    pub fn of_parts(hist_bucket: &[u32], hist_count: &[u32], figures: Figures) -> Self {
        let slot = |bucket: &u32| u16::try_from(histogram::index_of(*bucket)).unwrap_or(u16::MAX);
        let slots = hist_bucket.iter().map(slot).collect();
        Self { slots, counts: hist_count.to_vec(), figures }
    }

    /// Adds what is known of further windows.
    pub fn merge(&mut self, other: &Self) {
        self.figures.merge(&other.figures);
        if self.slots.is_empty() {
            self.slots.clone_from(&other.slots);
            self.counts.clone_from(&other.counts);
            return;
        }
        let (mut slots, mut counts) = (Vec::new(), Vec::new());
        let mut mine = self.slots.iter().zip(&self.counts).peekable();
        let mut theirs = other.slots.iter().zip(&other.counts).peekable();
        loop {
            let next = match (mine.peek(), theirs.peek()) {
                (None, None) => break,
                (Some((a, _)), Some((b, _))) if a == b => {
                    let (Some((slot, a)), Some((_, b))) = (mine.next(), theirs.next()) else {
                        break;
                    };
                    (*slot, a.saturating_add(*b))
                }
                (Some((a, _)), Some((b, _))) if a > b => match theirs.next() {
                    Some((slot, count)) => (*slot, *count),
                    None => break,
                },
                (None, Some(_)) => match theirs.next() {
                    Some((slot, count)) => (*slot, *count),
                    None => break,
                },
                (Some(_), _) => match mine.next() {
                    Some((slot, count)) => (*slot, *count),
                    None => break,
                },
            };
            slots.push(next.0);
            counts.push(next.1);
        }
        (self.slots, self.counts) = (slots, counts);
    }

    /// Adds its samples to a histogram.
    pub fn add_to(&self, counts: &mut Counts) {
        let bucket = |slot: &u16| histogram::slot_value(usize::from(*slot));
        let buckets: Vec<u32> = self.slots.iter().map(bucket).collect();
        counts.add_all(&buckets, &self.counts);
    }

    /// Its figures, percentiles from the histogram.
    pub fn summary(self, summariser: &mut Summariser) -> Summary {
        let bucket = |slot: &u16| histogram::slot_value(usize::from(*slot));
        let hist_bucket = self.slots.iter().map(bucket).collect();
        summariser.of_histogram(self.figures, hist_bucket, self.counts)
    }

    /// Bytes of what it holds on the heap; room to grow is not counted.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.slots.len() * size_of::<u16>() + self.counts.len() * size_of::<u32>()
    }
}

/// The open span of one length: series by their ids.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Span {
    start: Option<Timestamp>,
    series: BTreeMap<u32, Merged>,
}

/// The roll-ups of one source.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Rollups {
    spans: [Span; LEVELS.len()],
}

/// A roll-up of one series that is complete.
#[derive(Debug)]
pub struct RolledUp {
    /// Its span.
    pub window: TimeWindow,
    /// The series by its id in the source.
    pub series: u32,
    /// What is known of it.
    pub merged: Merged,
}

impl Rollups {
    /// Takes the final window of one series. Windows come in order of time.
    pub fn add(
        &mut self,
        start: Timestamp,
        series: u32,
        merged: Merged,
        done: &mut dyn FnMut(RolledUp),
    ) {
        self.close_before(0, start.window_start(LEVELS[0]), done);
        self.put(0, start, series, merged);
    }

    /// All windows that begin before `until` have come: closes the spans that end there or earlier.
    pub fn passed(&mut self, until: Timestamp, done: &mut dyn FnMut(RolledUp)) {
        for (level, length) in LEVELS.iter().enumerate() {
            self.close_before(level, until.window_start(*length), done);
        }
    }

    /// The end: closes everything.
    pub fn finish(&mut self, done: &mut dyn FnMut(RolledUp)) {
        for level in 0..LEVELS.len() {
            self.close_before(level, Timestamp::MAX, done);
        }
    }

    fn put(&mut self, level: usize, start: Timestamp, series: u32, merged: Merged) {
        let (Some(span), Some(length)) = (self.spans.get_mut(level), LEVELS.get(level)) else {
            return;
        };
        span.start.get_or_insert(start.window_start(*length));
        span.series.entry(series).and_modify(|sum| sum.merge(&merged)).or_insert(merged);
    }

    /// Closes the open span of a level if it begins before a span that begins at `start`.
    fn close_before(&mut self, level: usize, start: Timestamp, done: &mut dyn FnMut(RolledUp)) {
        let (Some(span), Some(length)) = (self.spans.get_mut(level), LEVELS.get(level)) else {
            return;
        };
        let Some(began) = span.start.filter(|began| *began < start) else { return };
        let series = std::mem::take(&mut span.series);
        span.start = None;
        let window = TimeWindow::containing(began, *length);
        // The longer span that this one belongs to may have been left behind already.
        if let Some(longer) = LEVELS.get(level + 1) {
            self.close_before(level + 1, began.window_start(*longer), done);
        }
        for (id, merged) in series {
            self.put(level + 1, began, id, merged.clone());
            done(RolledUp { window, series: id, merged });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn merged(rtts: &[u32], lost: usize) -> Merged {
        let summary = Summariser::default().summarise(rtts.iter().copied(), rtts.len() + lost);
        Merged::of(&summary)
    }

    proptest! {
        #[test]
        fn merging_says_what_all_samples_say(
            parts in prop::collection::vec(prop::collection::vec(1..60_000_000_u32, 0..50), 1..8),
        ) {
            let mut sum = Merged::default();
            for part in &parts {
                sum.merge(&merged(part, 1));
            }
            let all = parts.concat();
            let mut whole = merged(&all, parts.len());
            // Neighbours in time across parts are none.
            whole.figures.jitter_sum = sum.figures.jitter_sum;
            whole.figures.jitter_steps = sum.figures.jitter_steps;
            prop_assert_eq!(sum, whole);
        }
    }

    #[test]
    fn each_length_is_closed_once_and_counts_every_window_once() {
        let mut rollups = Rollups::default();
        let mut told: Vec<(i64, i64, u32)> = Vec::new();
        let mut done = |up: RolledUp| {
            let secs = up.window.end.secs_since(up.window.start);
            let summary = up.merged.summary(&mut Summariser::default());
            told.push((secs, up.window.start.secs(), summary.figures.samples));
        };
        // Two hours of minutes, one of them two hours later.
        for minute in (0..60).chain([200]) {
            rollups.add(Timestamp::from_secs(minute * 60), 7, merged(&[10, 20], 0), &mut done);
        }
        rollups.finish(&mut done);
        let of = |secs: i64| -> Vec<(i64, u32)> {
            let mine = told.iter().filter(|(length, ..)| *length == secs);
            mine.map(|(_, start, samples)| (*start, *samples)).collect()
        };
        assert_eq!(of(300).len(), 13);
        assert!(of(300).iter().take(12).all(|(_, samples)| *samples == 10));
        assert_eq!(of(3_600), [(0, 120), (10_800, 2)]);
        assert_eq!(of(86_400), [(0, 122)]);
    }

    #[test]
    fn a_source_that_fell_silent_is_rolled_up_all_the_same() {
        let (mut rollups, mut told) = (Rollups::default(), 0);
        rollups.add(Timestamp::from_secs(30), 1, merged(&[10], 0), &mut |_| told += 1);
        rollups.passed(Timestamp::from_secs(299), &mut |_| told += 1);
        assert_eq!(told, 0);
        rollups.passed(Timestamp::from_secs(300), &mut |_| told += 1);
        assert_eq!(told, 1);
    }
}
