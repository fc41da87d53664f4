//! Watched findings: what a finding about a route costs in round trips, from its opening on.
//!
//! Half an hour before is compared with the first 1, 5 and 15 minutes after, 30 seconds around the
//! opening left out. The first look that finds the second slower makes an `updated` row, with the term
//! `rtt_shift`; whatever was found last stands in every later row of the finding. What ends before its
//! first look has no figures.

use std::collections::{BTreeMap, BTreeSet};

use schemas::finding::{FindingId, Phase, RouteCost, Term, TermName, Transition};
use schemas::registry::Owner;
use schemas::time::{TimeWindow, Timestamp};
use serde::{Deserialize, Serialize};

use super::CAUSE_BEFORE_SECS;
use super::compare::{Compared, Control, compare, control};
use super::ring::Rings;

/// Minutes after an opening that are looked at, one look after the other.
const LOOKS_MINUTES: [i64; 3] = [1, 5, 15];
/// Seconds before and after a change that count for neither side.
pub(crate) const GUARD_SECS: i64 = 30;
/// Seconds before a change that are compared.
pub(crate) const BEFORE_SECS: i64 = 1_800;
/// Findings watched at once; further ones get no figures.
const WATCHED_MAX: usize = 100_000;
/// What a confirmed shift adds to a score.
pub(crate) const SHIFT_WEIGHT: f64 = 3.0;

/// One finding that is open.
#[derive(Debug, Serialize, Deserialize)]
struct Watched {
    owner: Owner,
    since: Timestamp,
    /// As its detector told it last.
    last: Transition,
    look: usize,
    compared: Option<Compared>,
    term: Option<Term>,
    samples: u64,
    minute: Timestamp,
}

/// The open findings of one fold.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Watches {
    of: BTreeMap<FindingId, Watched>,
    by_owner: BTreeMap<Owner, BTreeSet<FindingId>>,
}

/// What a look may see.
pub(crate) struct Sight<'a> {
    pub(crate) rings: &'a Rings,
    /// Registrations that stand beside this one and whose route did not change in a span.
    pub(crate) siblings: &'a dyn Fn(&Owner, TimeWindow) -> Vec<Owner>,
}

impl Sight<'_> {
    /// What the siblings of a registration did in two spans.
    pub(crate) fn control(&self, owner: &Owner, spans: [TimeWindow; 2]) -> Control {
        let [before, after] = spans;
        let around = TimeWindow { start: before.end.plus_secs(-CAUSE_BEFORE_SECS), end: after.end };
        let siblings = (self.siblings)(owner, around);
        let counts: Vec<_> = siblings.iter().map(|other| self.rings.two(other, spans)).collect();
        control(&counts)
    }
}

impl Watches {
    /// Notes what a detector tells, and puts over it what is known of its cost.
    pub(crate) fn note(&mut self, told: &mut Transition) {
        let finding = &told.finding;
        let owner = finding.connection.zip(finding.registered_prefix);
        let Some(owner) = owner.map(|(connection, prefix)| Owner { connection, prefix }) else {
            return;
        };
        let id = finding.id;
        match told.phase {
            Phase::Opened | Phase::Reopened => self.begin(owner, told),
            Phase::Updated => {
                if let Some(watched) = self.of.get_mut(&id) {
                    watched.last = without_witnesses(told);
                    watched.put_over(told);
                }
            }
            Phase::Resolved | Phase::Outdated | Phase::Expired => {
                if let Some(watched) = self.of.remove(&id) {
                    watched.put_over(told);
                    // What is outdated bears the number that its connection had.
                    if let Some(ids) = self.by_owner.get_mut(&watched.owner) {
                        ids.remove(&id);
                    }
                }
            }
            Phase::Ignored => {}
        }
    }

    fn begin(&mut self, owner: Owner, told: &Transition) {
        let id = told.finding.id;
        if self.of.len() >= WATCHED_MAX && !self.of.contains_key(&id) {
            return;
        }
        let last = without_witnesses(told);
        let watched = Watched {
            owner,
            since: told.time,
            last,
            look: 0,
            compared: None,
            term: None,
            samples: 0,
            minute: told.time,
        };
        self.of.insert(id, watched);
        self.by_owner.entry(owner).or_default().insert(id);
    }

    /// Connections have other numbers from here on. What is said of those that are gone is told with its
    /// cost once more: its detector ends it.
    pub(crate) fn move_to(&mut self, now: impl Fn(Owner) -> Option<Owner>) {
        self.by_owner.clear();
        for (id, watched) in &mut self.of {
            let Some(owner) = now(watched.owner) else { continue };
            watched.owner = owner;
            watched.last.finding.connection = Some(owner.connection);
            self.by_owner.entry(owner).or_default().insert(*id);
        }
    }

    /// Whether a finding about a registration was opened in a span.
    pub(crate) fn opened_in(&self, owner: &Owner, span: TimeWindow) -> bool {
        let ids = self.by_owner.get(owner).into_iter().flatten();
        ids.filter_map(|id| self.of.get(id)).any(|watched| span.contains(watched.since))
    }

    /// Whether a finding about a registration is open.
    pub(crate) fn is_open(&self, owner: &Owner) -> bool {
        self.by_owner.get(owner).is_some_and(|ids| !ids.is_empty())
    }

    /// A minute of a registration has closed, with so many answers: the looks that are due.
    pub(crate) fn closed(
        &mut self,
        owner: &Owner,
        minute: TimeWindow,
        samples: u64,
        log_time: Timestamp,
        sight: &Sight<'_>,
    ) -> Vec<Transition> {
        let mut told = Vec::new();
        for id in self.by_owner.get(owner).into_iter().flatten() {
            let Some(watched) = self.of.get_mut(id) else { continue };
            if minute.end > watched.since {
                watched.samples += samples;
            }
            while let Some(minutes) = LOOKS_MINUTES.get(watched.look) {
                let spans = spans(watched.since, *minutes);
                if spans[1].end > minute.end {
                    break;
                }
                watched.look += 1;
                if watched.term.is_none() {
                    told.extend(watched.look(spans, log_time, sight));
                }
            }
        }
        told
    }
}

impl Watched {
    fn look(
        &mut self,
        spans: [TimeWindow; 2],
        log_time: Timestamp,
        sight: &Sight<'_>,
    ) -> Option<Transition> {
        let (before, after) = sight.rings.two(&self.owner, spans);
        let control = sight.control(&self.owner, spans);
        let compared = compare(&before, &after, None, control)?;
        self.compared = Some(compared);
        self.minute = spans[1].end.plus_secs(-60);
        if !compared.is_slower {
            return None;
        }
        self.term = Some(term(&compared));
        let mut told = self.last.clone();
        told.phase = Phase::Updated;
        told.log_time = log_time;
        told.time = spans[1].end.max(self.last.time);
        self.put_over(&mut told);
        Some(told)
    }

    fn put_over(&self, told: &mut Transition) {
        let Some(compared) = &self.compared else { return };
        told.finding.cost = Some(Box::new(cost(compared, self.samples, self.minute)));
        if let Some(term) = &self.term {
            told.finding.score += term.weight;
            if !told.terms.is_empty() {
                told.terms.push(term.clone());
            }
        }
    }
}

/// The two spans of a look: before, and so many whole minutes after.
fn spans(since: Timestamp, minutes: i64) -> [TimeWindow; 2] {
    let before_end = since.plus_secs(-GUARD_SECS);
    let after = since.plus_secs(GUARD_SECS);
    // The first minute that begins at or after the guard's end.
    let first = Timestamp(after.0 + 60_000_000 - 1).window_start(60);
    [
        TimeWindow { start: before_end.plus_secs(-BEFORE_SECS), end: before_end },
        TimeWindow { start: first, end: first.plus_secs(60 * minutes) },
    ]
}

/// The figures of a comparison as a finding has them.
pub(crate) fn cost(compared: &Compared, samples: u64, minute: Timestamp) -> RouteCost {
    let Compared { before, after, shift, is_slower } = compared;
    RouteCost {
        before_p50_us: before.0,
        after_p50_us: after.0,
        before_p95_us: before.1,
        after_p95_us: after.1,
        shift_low_us: whole(shift.low_us.floor()),
        shift_high_us: whole(shift.high_us.ceil()),
        samples,
        is_slower: *is_slower,
        minute,
        edge: None,
        path: None,
        partner: None,
        is_own_route: true,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "saturates")]
fn whole(us: f64) -> i32 {
    us as i32
}

/// The term of a confirmed shift.
pub(crate) fn term(compared: &Compared) -> Term {
    let Compared { before, after, shift, .. } = compared;
    let ms = |us: u32| f64::from(us) / 1_000.0;
    Term {
        name: TermName::RttShift,
        weight: SHIFT_WEIGHT,
        detail: format!(
            "round trips are slower: median {:.1} to {:.1} ms ({:+.1} to {:+.1} with 95 %), 95th percentile {:.1} to {:.1} ms",
            ms(before.0),
            ms(after.0),
            shift.low_us / 1_000.0,
            shift.high_us / 1_000.0,
            ms(before.1),
            ms(after.1),
        ),
    }
}

fn without_witnesses(told: &Transition) -> Transition {
    Transition { witnesses: Vec::new(), ..told.clone() }
}
