//! Rings: the closed minutes of a registration in, the histogram of any recent span out.
//!
//! Kept by source, since a source that is heard on one side of a change only would look like a shift;
//! what is compared is merged over the sources that were heard on both. Single probes only: other
//! statistics are never mixed with them. Pure, bounded by [`MINUTES_MAX`] and [`BYTES_MAX`].

use std::collections::{BTreeMap, VecDeque};

use schemas::pool::Pooled;
use schemas::registry::Owner;
use schemas::tables::Text;
use schemas::time::{TimeWindow, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::latency::histogram::Counts;
use crate::latency::rollup::Merged;
use crate::latency::summary::Summary;

/// Minutes kept of a source: half an hour before, a quarter after, and what lies between.
const MINUTES_MAX: usize = 50;
/// Bytes of all minutes of a fold at most; beyond it a series has its newest minutes only.
const BYTES_MAX: usize = 512 << 20;

#[derive(Debug, Serialize, Deserialize)]
struct Minute {
    start: Timestamp,
    samples: Merged,
}

/// The recent minutes of all registrations of one fold.
#[derive(Debug, Default)]
pub(crate) struct Rings {
    of: BTreeMap<Owner, BTreeMap<Text, VecDeque<Minute>>>,
    bytes: usize,
    bytes_max: Option<usize>,
    /// Minutes that found no room.
    pub(crate) refused: u64,
}

impl Serialize for Rings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { of, bytes: _, bytes_max, refused } = self;
        (of, bytes_max, refused).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Rings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        type Of = BTreeMap<Owner, Vec<(Pooled, VecDeque<Minute>)>>;
        let (of, bytes_max, refused): (Of, _, _) = Deserialize::deserialize(deserializer)?;
        let mut rings = Self { bytes_max, refused, ..Self::default() };
        for (owner, sources) in of {
            let sources = sources.into_iter().map(|(Pooled(source), ring)| (source, ring));
            rings.of.insert(owner, sources.collect());
        }
        let minutes = rings.of.values().flat_map(BTreeMap::values).flatten();
        rings.bytes = minutes.map(Minute::bytes).sum();
        Ok(rings)
    }
}

impl Minute {
    /// Bytes that it is counted with.
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.samples.bytes()
    }
}

impl Rings {
    /// Takes a closed minute with at least one answer.
    pub(crate) fn push(&mut self, owner: Owner, source: &Text, start: Timestamp, of: &Summary) {
        let minute = Minute { start, samples: Merged::of(of) };
        let bytes = minute.bytes();
        let bytes_max = self.bytes_max.unwrap_or(BYTES_MAX);
        let ring = self.of.entry(owner).or_default().entry(source.clone()).or_default();
        while ring.len() >= MINUTES_MAX || self.bytes + bytes > bytes_max {
            let Some(oldest) = ring.pop_front() else {
                self.refused += 1;
                return;
            };
            self.bytes = self.bytes.saturating_sub(oldest.bytes());
        }
        self.bytes += bytes;
        ring.push_back(minute);
    }

    /// Connections have other numbers from here on; those that are gone are forgotten.
    pub(crate) fn move_to(&mut self, now: impl Fn(Owner) -> Option<Owner>) {
        let of = std::mem::take(&mut self.of).into_iter();
        self.of = of.filter_map(|(owner, sources)| Some((now(owner)?, sources))).collect();
        let minutes = self.of.values().flat_map(BTreeMap::values).flatten();
        self.bytes = minutes.map(Minute::bytes).sum();
    }

    /// The minutes that lie wholly in each of two spans, of the sources heard in both.
    pub(crate) fn two(&self, owner: &Owner, spans: [TimeWindow; 2]) -> (Counts, Counts) {
        let (mut first, mut second) = (Counts::default(), Counts::default());
        for ring in self.of.get(owner).into_iter().flat_map(BTreeMap::values) {
            let [a, b] = spans.map(|span| counts(ring, span));
            if a.total() > 0 && b.total() > 0 {
                first.merge(&a);
                second.merge(&b);
            }
        }
        (first, second)
    }

    /// The minutes that lie wholly in a span, of all sources.
    pub(crate) fn one(&self, owner: &Owner, span: TimeWindow) -> Counts {
        let mut all = Counts::default();
        for ring in self.of.get(owner).into_iter().flat_map(BTreeMap::values) {
            all.merge(&counts(ring, span));
        }
        all
    }
}

fn inside(ring: &VecDeque<Minute>, span: TimeWindow) -> impl Iterator<Item = &Minute> {
    ring.iter()
        .filter(move |minute| span.start <= minute.start && minute.start.plus_secs(60) <= span.end)
}

fn counts(ring: &VecDeque<Minute>, span: TimeWindow) -> Counts {
    let mut counts = Counts::default();
    inside(ring, span).for_each(|minute| minute.samples.add_to(&mut counts));
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::summary::Summariser;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_secs(minute * 60)
    }

    fn owner() -> Owner {
        Owner { connection: 0, prefix: "192.0.2.0/24".parse().unwrap() }
    }

    fn push(rings: &mut Rings, source: &str, minute: i64, rtt: u32) {
        let summary = Summariser::default().summarise([rtt; 10].into_iter(), 10);
        rings.push(owner(), &source.into(), at(minute), &summary);
    }

    fn span(from: i64, until: i64) -> TimeWindow {
        TimeWindow { start: at(from), end: at(until) }
    }

    #[test]
    fn a_source_that_is_heard_on_one_side_only_does_not_count() {
        let mut rings = Rings::default();
        for minute in 0..10 {
            push(&mut rings, "a", minute, 20_000);
        }
        (0..5).for_each(|minute| push(&mut rings, "b", minute, 90_000));
        let (before, after) = rings.two(&owner(), [span(0, 5), span(5, 10)]);
        assert_eq!((before.total(), after.total()), (50, 50));
        assert_eq!(rings.one(&owner(), span(0, 5)).total(), 100);
        let inner = TimeWindow { start: Timestamp(at(1).0 + 1), end: Timestamp(at(3).0 - 1) };
        assert_eq!(rings.one(&owner(), inner).total(), 0, "whole minutes only");
    }

    #[test]
    fn minutes_and_bytes_are_bounded() {
        let mut rings = Rings::default();
        (0..100).for_each(|minute| push(&mut rings, "a", minute, 20_000));
        assert_eq!(rings.one(&owner(), span(0, 100)).total(), 10 * MINUTES_MAX as u64);
        let mut tight = Rings { bytes_max: Some(rings.bytes / 10), ..Rings::default() };
        (0..100).for_each(|minute| push(&mut tight, "a", minute, 20_000));
        assert_eq!(tight.one(&owner(), span(95, 100)).total(), 50, "the newest are there");
        push(&mut tight, "b", 100, 20_000);
        assert_eq!(tight.refused, 1, "the first has it all");
        tight.move_to(|_| None);
        assert_eq!(tight.bytes, 0);
        push(&mut tight, "b", 101, 20_000);
        assert_eq!((tight.one(&owner(), span(0, 200)).total(), tight.refused), (10, 1));
    }
}
