//! Splitting: one batch into two that say the same, where a log bounds the bytes of a batch.

use super::{Content, Control, EventBatch, Run, SeriesEvent};
use crate::registry::ConnectionId;

/// Where the rows of the whole lie in a half: by their old index.
struct Moved(Vec<Option<u32>>);

impl Moved {
    fn of(rows: usize) -> Self {
        Self(vec![None; rows])
    }

    /// The index in the half; `put` appends the row there the first time.
    fn index(&mut self, old: u32, put: impl FnOnce(usize) -> u32) -> u32 {
        let place = old as usize;
        match self.0.get_mut(place) {
            Some(known) => *known.get_or_insert_with(|| put(place)),
            // An index that leads nowhere leads nowhere in the half too.
            None => old,
        }
    }
}

/// A half under construction.
struct Half<'w> {
    whole: &'w EventBatch,
    half: EventBatch,
    messages: Moved,
    series: Moved,
    peers: Moved,
    attributes: Moved,
    sources: Moved,
}

impl<'w> Half<'w> {
    fn of(whole: &'w EventBatch, first_offset: u64) -> Self {
        let half = EventBatch {
            registry_version: whole.registry_version,
            ..EventBatch::starting(whole.partition, first_offset, whole.is_live)
        };
        Self {
            whole,
            half,
            messages: Moved::of(whole.messages.len()),
            series: Moved::of(whole.series.len()),
            peers: Moved::of(whole.peers.len()),
            attributes: Moved::of(whole.attributes.len()),
            sources: Moved::of(whole.sources.len()),
        }
    }

    fn peer(&mut self, old: u32) -> u32 {
        let (all, into) = (&self.whole.peers, &mut self.half.peers);
        self.peers.index(old, |place| push(into, all.get(place)))
    }

    fn source(&mut self, old: u32) -> u32 {
        let (all, into) = (&self.whole.sources, &mut self.half.sources);
        self.sources.index(old, |place| push(into, all.get(place)))
    }

    fn attributes(&mut self, old: u32) -> u32 {
        let (all, into) = (&self.whole.attributes, &mut self.half.attributes);
        self.attributes.index(old, |place| push(into, all.get(place)))
    }

    fn message(&mut self, old: u32) -> u32 {
        if let Some(Some(known)) = self.messages.0.get(old as usize) {
            return *known;
        }
        let Some(mut message) = self.whole.messages.get(old) else { return old };
        message.peer = self.peer(message.peer);
        message.source = self.source(message.source);
        message.attributes = message.attributes.map(|set| self.attributes(set));
        let into = &mut self.half.messages;
        self.messages.index(old, |_| into.push(message))
    }

    fn series(&mut self, old: u32) -> u32 {
        if let Some(Some(known)) = self.series.0.get(old as usize) {
            return *known;
        }
        let Some(mut series) = self.whole.series.get(old) else { return old };
        series.source = self.source(series.source);
        let into = &mut self.half.series;
        self.series.index(old, |_| into.push(series))
    }

    /// Appends `count` records of a run of the whole, from its record `from` on; samples of series that
    /// are not wanted stay behind.
    fn append(&mut self, run: &Run, from: u32, count: u32, wants: &dyn Fn(&SeriesEvent) -> bool) {
        for behind in from..from.saturating_add(count) {
            let content = match run.first.behind(behind) {
                Content::Route(row) => {
                    let Some(mut route) = self.whole.routes.get(row) else { continue };
                    route.message = self.message(route.message);
                    Content::Route(self.half.routes.push(route))
                }
                Content::Sample(row) => {
                    let Some(mut sample) = self.whole.samples.get(row) else { continue };
                    let series = self.whole.series.get(sample.series);
                    if !series.is_some_and(|series| wants(&series)) {
                        continue;
                    }
                    sample.series = self.series(sample.series);
                    Content::Sample(self.half.samples.push(sample))
                }
                Content::Control(index) => {
                    let Some(control) = self.whole.controls.get(index as usize) else { continue };
                    let mut control = control.clone();
                    if let Some(peer) = control.peer_mut() {
                        *peer = self.peer(*peer);
                    }
                    if let Some(source) = control.source_mut() {
                        *source = self.source(*source);
                    }
                    Content::Control(push(&mut self.half.controls, Some(&control)))
                }
            };
            self.half.append(run.log_time, content);
        }
    }
}

fn push<T: Clone>(list: &mut Vec<T>, value: Option<&T>) -> u32 {
    let index = u32::try_from(list.len()).unwrap_or(u32::MAX);
    list.extend(value.cloned());
    index
}

impl Control {
    /// The index of a peer that it holds.
    const fn peer_mut(&mut self) -> Option<&mut u32> {
        match self {
            Self::Peer { peer, .. } => Some(peer),
            _ => None,
        }
    }

    /// The index of a source that it holds.
    const fn source_mut(&mut self) -> Option<&mut u32> {
        match self {
            Self::Peer { source, .. }
            | Self::FeedGap { source, .. }
            | Self::Ledger { source, .. } => Some(source),
            Self::Registry { .. }
            | Self::Reference(_)
            | Self::Commit { .. }
            | Self::Tick { .. }
            | Self::EndOfRib { .. }
            | Self::Stale { .. } => None,
        }
    }
}

impl EventBatch {
    /// Two batches that follow each other and together say what this one says; none if it has less
    /// than two records.
    #[must_use]
    pub fn halves(&self) -> Option<(Self, Self)> {
        let half = self.len() / 2;
        if half == 0 {
            return None;
        }
        let mut first = Half::of(self, self.first_offset);
        let mut second = Half::of(self, self.first_offset + half);
        let mut left = half;
        for run in self.runs() {
            let here = u32::try_from(left).unwrap_or(u32::MAX).min(run.count);
            first.append(run, 0, here, &|_| true);
            second.append(run, here, run.count - here, &|_| true);
            left -= u64::from(here);
        }
        Some((first.half, second.half))
    }

    /// Gives its series the numbers of another version of the registry. Samples of connections that have
    /// none there are left out: how many.
    pub fn renumber(
        &mut self,
        version: u32,
        number: impl Fn(ConnectionId) -> Option<ConnectionId>,
    ) -> u64 {
        self.registry_version = version;
        let numbers: Vec<_> = self.series.connection.iter().map(|old| number(*old)).collect();
        let before = self.samples.len();
        if numbers.contains(&None) {
            let mut rest = Half::of(self, self.first_offset);
            for run in self.runs() {
                rest.append(run, 0, run.count, &|series| number(series.connection).is_some());
            }
            let (place, rest) = (self.end, rest.half);
            *self = Self { end: place.or(Some(self.end_offset())), ..rest };
        }
        for connection in &mut self.series.connection {
            *connection = number(*connection).unwrap_or(*connection);
        }
        (before - self.samples.len()) as u64
    }
}
