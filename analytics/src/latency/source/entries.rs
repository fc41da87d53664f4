//! Samples of one window: ordered by series, summed up a series each, and as bytes.

use std::collections::BTreeMap;

use crate::latency::rollup::Merged;
use crate::latency::summary::{Summariser, Summary};
use crate::state::raw::Word;

/// Stands for a lost probe among the round trips; a real one is at least 1.
pub(super) const LOST: u32 = 0;
/// Series for each sample of a window from which sorting is quicker than counting.
const SPARSE: usize = 8;

/// A sample in an open window: series, microseconds since its start, round trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) series: u32,
    pub(super) offset_us: u32,
    pub(super) rtt_us: u32,
}

impl Word for Entry {
    type Bytes = [u8; 12];

    #[inline]
    fn to_bytes(self) -> Self::Bytes {
        [self.series, self.offset_us, self.rtt_us].to_bytes()
    }

    #[inline]
    fn of_bytes(bytes: Self::Bytes) -> Self {
        let [series, offset_us, rtt_us] = Word::of_bytes(bytes);
        Self { series, offset_us, rtt_us }
    }
}

/// Orders by series, then time: by counting where there are many.
pub(super) fn order(entries: &mut Vec<Entry>, series: usize) {
    if entries.len() * SPARSE < series || entries.len() < 64 {
        entries.sort_unstable();
        return;
    }
    let mut starts = vec![0_u32; series + 1];
    for entry in &*entries {
        if let Some(count) = starts.get_mut(entry.series as usize + 1) {
            *count += 1;
        }
    }
    let mut sum = 0;
    for start in &mut starts {
        sum += *start;
        *start = sum;
    }
    let mut ordered = vec![Entry { series: 0, offset_us: 0, rtt_us: 0 }; entries.len()];
    for entry in &*entries {
        let Some(start) = starts.get_mut(entry.series as usize) else { continue };
        if let Some(place) = ordered.get_mut(*start as usize) {
            *place = *entry;
        }
        *start += 1;
    }
    // Inside a series they are mostly in order already.
    for of_series in ordered.chunk_by_mut(|a, b| a.series == b.series) {
        if !of_series.is_sorted() {
            of_series.sort_unstable();
        }
    }
    *entries = ordered;
}

/// Takes the samples of a series off the front.
pub(super) fn take_series<'e>(rest: &mut &'e [Entry], series: u32) -> &'e [Entry] {
    let count = rest.iter().take_while(|entry| entry.series == series).count();
    let (mine, others) = rest.split_at(count);
    *rest = others;
    mine
}

/// What the samples of one series add up to.
pub(super) fn summarise(mine: &[Entry], summariser: &mut Summariser) -> Summary {
    let values = mine.iter().map(|entry| entry.rtt_us);
    summariser.summarise(values.filter(|rtt| *rtt != LOST), mine.len())
}

/// The histograms of all series of ordered samples.
pub(super) fn merged_of(ordered: &[Entry], summariser: &mut Summariser) -> BTreeMap<u32, Merged> {
    let by_series = ordered.chunk_by(|a, b| a.series == b.series);
    let merged = by_series
        .filter_map(|mine| Some((mine.first()?.series, Merged::of(&summarise(mine, summariser)))));
    merged.collect()
}
