//! The join of routes with latency: route changes, findings and closed minutes in; what was in force
//! when, what a finding costs, and findings about slow minutes out.
//!
//! - [`epoch`]: which route was in force when.
//! - [`ring`]: the recent minutes of each registration; [`compare`]: whether one span is slower.
//! - [`watch`]: findings about routes, and what they cost.
//! - [`pulse`]: slow minutes; [`shift`]: findings about them.
//! - [`state`]: all of it as bytes, and back.
//! - [`tally`]: how many series are slow, by edge, path and partner: whose fault it is.
//!
//! A connection's routes and samples are of one shard, and so is this. What spans shards (blame) is
//! told to [`crate::correlate`]. Pure; `docs/concepts/join.md` says what follows from it for a reader.

pub(crate) mod compare;
pub(crate) mod epoch;
pub(crate) mod pulse;
pub(crate) mod ring;
pub(crate) mod shift;
mod state;
pub mod tally;
#[cfg(test)]
mod tests;
pub(crate) mod watch;

use std::collections::{BTreeMap, VecDeque};

use schemas::bgp::Prefix;
use schemas::finding::{Phase, RouteCost, Transition};
use schemas::registry::{Owner, Registry, Relation};
use schemas::sample::Statistic;
use schemas::time::{TimeWindow, Timestamp};

use crate::detect::Change;
use crate::detect::moves::{Moved, Moves};
use crate::latency::baseline::Expected;
use crate::latency::window::{LatencyWindow, WINDOW_SECS};
use crate::reference::{GeoTable, Reference};
use crate::rib::Rib;
use epoch::Epochs;
use pulse::{Beat, Minute, Pulse};
use ring::Rings;
use shift::{Seen, Shift};
use tally::{Series, Tally};
use watch::{BEFORE_SECS, Sight, Watches};

/// Seconds before a shift in which a change of route is its cause, and seconds after its beginning.
const CAUSE_BEFORE_SECS: i64 = 600;
const CAUSE_AFTER_SECS: i64 = 120;
/// Changes around a prefix that are remembered.
const NEAR_MAX: usize = 16;

/// The join of one fold.
#[derive(Debug, Default)]
pub(crate) struct Join {
    pub(crate) epochs: Epochs,
    rings: Rings,
    watches: Watches,
    pulses: BTreeMap<Owner, Pulse>,
    shifts: BTreeMap<Owner, Shift>,
    /// Changes of what covers a registration or lies in it.
    near: BTreeMap<Owner, VecDeque<(Timestamp, Prefix)>>,
    /// Registrations by their connection group.
    groups: BTreeMap<String, Vec<Owner>>,
    /// Windows that closed at once and are not joined yet.
    closed: Vec<Closed>,
    score_min: f64,
}

/// A closed minute of one series.
#[derive(Debug)]
struct Closed {
    window: TimeWindow,
    owner: Owner,
    samples: u64,
    usual_max_us: Option<u32>,
    /// Its percentiles, where no other source has to be merged with it.
    p50_us: u32,
    p95_us: u32,
}

/// What the join looks up.
pub(crate) struct Known<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) geo: &'a GeoTable,
    pub(crate) log_time: Timestamp,
}

impl Join {
    /// A version of the registry or of the settings begins; findings about shifts that it makes outdated.
    pub(crate) fn begin(
        &mut self,
        (before, registry): (Option<&Registry>, &Registry),
        is_ours: impl Fn(&Owner) -> bool,
        (rib, reference): (&Rib, &Reference),
        score_min: f64,
        time: Timestamp,
    ) -> Vec<Transition> {
        self.score_min = score_min;
        let moves = before.map(|before| Moves { before, after: registry });
        let outdated = moves.map(|moves| self.move_to(moves, &is_ours, time)).unwrap_or_default();
        self.group(registry, &is_ours);
        self.epochs.begin(before, registry, is_ours, (rib, &reference.geo.edges), time);
        outdated
    }

    /// Connections have other numbers from here on: what is known of round trips stays with those that
    /// stand. A shift of one that was edited, or is gone, is outdated.
    fn move_to(
        &mut self,
        moves: Moves<'_>,
        is_ours: impl Fn(&Owner) -> bool,
        time: Timestamp,
    ) -> Vec<Transition> {
        let now = |owner| moves.of(owner).owner().filter(|owner| is_ours(owner));
        let mut outdated = Vec::new();
        for (owner, mut shift) in std::mem::take(&mut self.shifts) {
            match moves.of(owner) {
                Moved::Same(owner) => {
                    shift.move_to(owner);
                    self.shifts.insert(owner, shift);
                }
                Moved::Changed(_) | Moved::Gone if shift.is_open() => {
                    outdated.push(shift.end(Phase::Outdated, time, time));
                    // Slow minutes count anew.
                    self.pulses.remove(&owner);
                }
                Moved::Changed(_) | Moved::Gone => {}
            }
        }
        self.rings.move_to(now);
        self.watches.move_to(now);
        let pulses = std::mem::take(&mut self.pulses).into_iter();
        self.pulses = pulses.filter_map(|(owner, pulse)| Some((now(owner)?, pulse))).collect();
        let near = std::mem::take(&mut self.near).into_iter();
        self.near = near.filter_map(|(owner, near)| Some((now(owner)?, near))).collect();
        outdated
    }

    /// Puts the registrations to their groups.
    fn group(&mut self, registry: &Registry, is_ours: impl Fn(&Owner) -> bool) {
        self.groups.clear();
        for (connection, entry) in (0..).zip(registry.connections()) {
            let owners = entry.prefixes.iter().map(|of| Owner { connection, prefix: of.prefix });
            let group = self.groups.entry(entry.group().to_owned()).or_default();
            group.extend(owners.filter(&is_ours));
        }
    }

    /// What a peer says has changed.
    pub(crate) fn on_change(
        &mut self,
        change: &Change<'_>,
        registry: &Registry,
        reference: &Reference,
    ) {
        self.epochs.on_change(change, registry, &reference.geo.edges);
        let is_near = change.touches.iter().any(|touch| touch.relation != Relation::Exact);
        if !is_near || change.is_snapshot || !change.route.is_of_path() {
            return;
        }
        let around = change.touches.iter().filter(|touch| touch.relation != Relation::Exact);
        for owner in around.map(|touch| touch.owner) {
            let near = self.near.entry(owner).or_default();
            if near.back().is_some_and(|last| last.1 == change.prefix) {
                near.pop_back();
            }
            near.push_back((change.time, change.prefix));
            if near.len() > NEAR_MAX {
                near.pop_front();
            }
        }
    }

    /// Detectors tell: what is known of the cost is put over it.
    pub(crate) fn note(&mut self, told: &mut [Transition]) {
        told.iter_mut().for_each(|told| self.watches.note(told));
    }

    /// A window closed. Only minutes of single probes, told for the first time, are joined.
    pub(crate) fn closed(&mut self, window: &LatencyWindow, expected: Option<&Expected>) {
        let is_joined = window.series.statistic == Statistic::Sample
            && window.revision == 0
            && window.secs() == WINDOW_SECS;
        let Some(figures) = window.summary.percentiles.filter(|_| is_joined) else { return };
        let owner = Owner { connection: window.series.connection, prefix: window.series.prefix };
        self.rings.push(owner, &window.source, window.window.start, &window.summary);
        self.closed.push(Closed {
            window: window.window,
            owner,
            samples: window.summary.figures.samples.into(),
            usual_max_us: expected.map(pulse::usual_max),
            p50_us: figures.p50,
            p95_us: figures.p95,
        });
    }

    /// All windows that close at once have closed: what follows from them.
    pub(crate) fn settle(
        &mut self,
        known: &Known<'_>,
        transitions: &mut Vec<Transition>,
        tallies: &mut Vec<Tally>,
    ) {
        let mut closed = std::mem::take(&mut self.closed);
        closed.sort_by_key(|closed| (closed.window.start, closed.owner));
        for minute in closed.chunk_by(|a, b| a.window == b.window) {
            let Some(window) = minute.first().map(|first| first.window) else { continue };
            let mut tally = Tally::new(window.start, known.log_time);
            for of_owner in minute.chunk_by(|a, b| a.owner == b.owner) {
                self.minute(of_owner, known, transitions, &mut tally);
            }
            if !tally.is_empty() {
                tallies.push(tally);
            }
        }
        closed.clear();
        self.closed = closed;
    }

    /// One minute of one registration, from all its sources.
    fn minute(
        &mut self,
        sources: &[Closed],
        known: &Known<'_>,
        transitions: &mut Vec<Transition>,
        tally: &mut Tally,
    ) {
        let Some(Closed { window, owner, p50_us, p95_us, .. }) = sources.first() else { return };
        let samples = sources.iter().map(|source| source.samples).sum();
        let merged = (sources.len() > 1).then(|| self.rings.one(owner, *window));
        let merged = merged.and_then(|all| Some((all.quantile(0.5)?, all.quantile(0.95)?)));
        let (p50_us, p95_us) = merged.unwrap_or((*p50_us, *p95_us));
        let usual_max_us = sources.iter().filter_map(|source| source.usual_max_us).max();
        let minute = Minute { start: window.start, p50_us, p95_us, samples, usual_max_us };
        let beat = self.pulses.entry(*owner).or_default().beat(minute);
        let series = self.series(owner, window.start, known);
        if beat != Beat::Unknown {
            tally.count(&series, beat == Beat::Slow);
        }
        let Self { watches, rings, epochs, groups, .. } = self;
        let (rings, epochs, groups) = (&*rings, &*epochs, &*groups);
        let siblings = |of: &Owner, span: TimeWindow| {
            siblings(of, span, known.registry, groups, |other, span| {
                has_changed(epochs, other, span)
            })
        };
        let sight = Sight { rings, siblings: &siblings };
        if watches.is_open(owner) {
            let mut told = watches.closed(owner, *window, samples, known.log_time, &sight);
            told.iter_mut().for_each(|told| series.put_into(told.finding.cost.as_deref_mut()));
            transitions.extend(told);
        }
        transitions.extend(self.shift(owner, *window, samples, &series, known));
    }

    /// A shift begins, goes on, or ends.
    fn shift(
        &mut self,
        owner: &Owner,
        window: TimeWindow,
        samples: u64,
        series: &Series,
        known: &Known<'_>,
    ) -> Option<Transition> {
        if let Some(shift) = self.shifts.get_mut(owner).filter(|shift| shift.is_open()) {
            shift.add(samples);
            let is_over = self.pulses.get_mut(owner).is_some_and(Pulse::is_over);
            return is_over.then(|| shift.end(Phase::Resolved, window.end, known.log_time));
        }
        let pulse = self.pulses.get_mut(owner)?;
        let since = pulse.since()?;
        let around = TimeWindow {
            start: since.plus_secs(-CAUSE_BEFORE_SECS),
            end: since.plus_secs(CAUSE_AFTER_SECS),
        };
        // A finding that began with it tells its cost itself.
        if self.watches.opened_in(owner, around) {
            pulse.forgive();
        }
        pulse.shift()?;
        let spans = [
            TimeWindow { start: since.plus_secs(-BEFORE_SECS), end: since },
            TimeWindow { start: since, end: window.end },
        ];
        let (before, after) = self.rings.two(owner, spans);
        let epochs = &self.epochs;
        let siblings = |of: &Owner, span: TimeWindow| {
            siblings(of, span, known.registry, &self.groups, |other, span| {
                has_changed(epochs, other, span)
            })
        };
        let control = Sight { rings: &self.rings, siblings: &siblings }.control(owner, spans);
        let compared = compare::compare(&before, &after, None, control)?;
        if !compared.is_slower {
            return None;
        }
        let near = self.near.get(owner).into_iter().flatten();
        let seen = Seen {
            owner: *owner,
            connection: known.registry.connection(owner.connection)?,
            since,
            until: window.end,
            log_time: known.log_time,
            compared,
            samples: after.total(),
            change: self.epochs.change_in(owner, around.start, around.end),
            near: near.rev().find(|(time, _)| around.contains(*time)).copied(),
        };
        let (mut shift, mut told) = Shift::open(self.shifts.remove(owner), &seen, self.score_min)?;
        shift.place(&mut told, |cost: &mut RouteCost| series.put_into(Some(cost)));
        self.shifts.insert(*owner, shift);
        if let Some(pulse) = self.pulses.get_mut(owner) {
            pulse.hold();
        }
        Some(told)
    }

    /// What a registration shares with others: its edge, its path, its partner.
    fn series(&self, owner: &Owner, time: Timestamp, known: &Known<'_>) -> Series {
        let connection = known.registry.connection(owner.connection);
        let route = self.epochs.at(owner, time).and_then(|epoch| epoch.route.as_ref());
        let edge = route.and_then(|route| route.edge.clone());
        let registered = || connection.and_then(|connection| connection.primary_edge.as_deref());
        let nearest = || known.geo.of(owner.connection, owner.prefix)?.edge_nearest.clone();
        Series {
            edge: edge.or_else(|| registered().map(Into::into)).or_else(nearest),
            path: route.map(epoch::InForce::path_text),
            partner: connection.and_then(|connection| connection.partner.as_ref()?.asn),
        }
    }

    /// Minutes since the last question that found no room.
    pub(crate) const fn take_refused(&mut self) -> u64 {
        std::mem::replace(&mut self.rings.refused, 0)
    }
}

/// Registrations of the same group that did not change in a span.
fn siblings(
    of: &Owner,
    span: TimeWindow,
    registry: &Registry,
    groups: &BTreeMap<String, Vec<Owner>>,
    changed: impl Fn(&Owner, TimeWindow) -> bool,
) -> Vec<Owner> {
    let group = registry.connection(of.connection).and_then(|of| groups.get(of.group()));
    let others = group.into_iter().flatten().filter(|other| *other != of);
    others.filter(|other| !changed(other, span)).copied().collect()
}

/// Whether the route in force of a registration changed in a span.
fn has_changed(epochs: &Epochs, owner: &Owner, span: TimeWindow) -> bool {
    epochs.change_in(owner, span.start, span.end).is_some()
}
