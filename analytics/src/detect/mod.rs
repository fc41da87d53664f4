//! Detection: route changes in, transitions of findings out. Pure: no IO, no clock.
//!
//! - [`valley`]: which way each link of a path goes.
//! - [`judge`]: what one route says of what is ours: a verdict, or nothing.
//! - [`forger`]: where a path stops being believable, and who made it up.
//! - [`baseline`]: what is usual: origins, links, covering prefixes.
//! - [`score`]: how sure a verdict makes us, term by term.
//! - [`case`]: a route that somebody holds: witnesses come and go; [`paths`]: what theirs share.
//! - [`watch`]: what all peers together hold: what is lost, moved, flaps; [`condition`]: its findings.
//! - [`life`]: what all findings share: they open, change, end, come back.

mod baseline;
mod case;
mod condition;
mod forger;
mod judge;
mod life;
pub(crate) mod moves;
mod options;
mod paths;
mod score;
mod valley;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;

use schemas::bgp::{Asn, PathAttributes, PeerHeader, Prefix};
use schemas::connection::PUBLIC_ROUTING_DOMAIN;
use schemas::finding::{Rule, Transition};
use schemas::registry::{Owner, Registry, Relation, Touch};
use schemas::tables::{Text, VisibilityRow};
use schemas::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::reference::{Reference, Relationship, Vrps};
use crate::rib::{PeerId, Rib, RouteChange};
use baseline::Baseline;
use case::{Case, WitnessKey};
use condition::Moment;
use moves::{Moved, Moves};
use watch::Watches;

pub use options::{DetectOptions, Preset};

/// A closed case comes back as the same finding within this time.
const REOPEN_SECS: i64 = 6 * 3_600;
/// Log time between two looks at who is silent.
const LISTEN_SECS: u32 = 300;
/// Open cases of one fold at most; more are counted, not opened.
const CASES_MAX: usize = 200_000;

/// A route change with everything that is said about it.
#[derive(Clone, Debug)]
pub struct Change<'a> {
    /// Log time of the record.
    pub log_time: Timestamp,
    /// Event time.
    pub time: Timestamp,
    /// The peer, by number.
    pub peer: PeerId,
    /// The peer.
    pub header: &'a Arc<PeerHeader>,
    /// The prefix.
    pub prefix: Prefix,
    /// ADD-PATH identifier.
    pub path_id: Option<u32>,
    /// What changed.
    pub route: &'a RouteChange,
    /// Registrations that the prefix touches and that belong to this shard.
    pub touches: &'a [Touch],
    /// Whether this copy of the update is the writing one.
    pub writes: bool,
    /// Whether it comes from a table dump.
    pub is_snapshot: bool,
    /// Source of the update.
    pub source: &'a Text,
    /// Record in that source.
    pub source_offset: u64,
}

impl Change<'_> {
    /// When it was told and when it happened.
    const fn at(&self) -> Moment {
        Moment { log_time: self.log_time, time: self.time }
    }
}

/// What a judge may look at.
struct Facts<'a> {
    registry: &'a Registry,
    reference: &'a Reference,
    baseline: &'a Baseline,
    rib: &'a Rib,
    options: &'a DetectOptions,
}

impl Facts<'_> {
    /// Whether the public Internet shows exactly this prefix.
    fn is_visible(&self, prefix: &Prefix) -> bool {
        self.rib.is_visible(PUBLIC_ROUTING_DOMAIN, prefix)
    }

    /// Whether two ASes are known to exchange routes.
    fn knows_link(&self, group: &str, a: Asn, b: Asn) -> bool {
        self.baseline.knows_link(group, a, b)
            || self.reference.relationships.between(a, b).is_some()
            || self.reference.aspas.attest(a, b)
    }
}

impl Facts<'_> {
    /// Whether one of two ASes buys from the other, or routes to what an owner's group registers were
    /// seen to go from one to the other.
    fn exchange_routes(&self, owner: Option<Owner>, a: Asn, b: Asn) -> bool {
        let group = owner.and_then(|owner| self.registry.connection(owner.connection));
        group.is_some_and(|connection| self.baseline.knows_link(connection.group(), a, b))
            || self
                .reference
                .relationships
                .between(a, b)
                .is_some_and(|relationship| relationship != Relationship::Peer)
    }
}

/// Who is suspected: what tells two cases of one prefix apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Suspect {
    /// An AS that originates what it may not.
    Origin(Asn),
    /// Somebody on a path that ends in the right origin; the AS up to which it is believable.
    Path(Asn),
    /// An AS that leaks.
    Leaker(Asn),
    /// An AS next to a watched one.
    Neighbour(Asn),
    /// Nobody: the form of the route is what is wrong.
    Form(Rule),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct CaseKey {
    prefix: Prefix,
    owner: Option<Owner>,
    suspect: Suspect,
}

/// The detectors of one fold.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Detector {
    #[serde(with = "options")]
    options: DetectOptions,
    baseline: Baseline,
    cases: BTreeMap<CaseKey, Case>,
    watches: Watches,
    /// Log time of the last look at who is silent.
    listened: Option<Timestamp>,
    /// Verdicts that found no room among the open cases.
    cases_refused: u64,
}

impl Detector {
    /// No case is open, nothing is known. One fold of all tells of feeds.
    #[must_use]
    pub fn new(options: DetectOptions, tells_feeds: bool) -> Self {
        let watches = Watches::new(tells_feeds);
        Self { options, watches, ..Self::default() }
    }

    /// Verdicts and claims since the last question for which there was no room.
    pub fn take_refused(&mut self) -> u64 {
        std::mem::take(&mut self.cases_refused) + self.watches.take_refused()
    }

    /// Other settings count from here on.
    pub fn configure(&mut self, options: DetectOptions) {
        self.options = options;
    }

    /// Another version of the registry begins. What was concluded of registrations that changed or are
    /// gone is outdated; answers the prefixes whose routes are to be judged again, and whether this
    /// fold tells of leaks of theirs.
    pub fn enter(
        &mut self,
        before: &Registry,
        after: &Registry,
        world: (&Reference, &Rib),
        log_time: Timestamp,
        transitions: &mut Vec<Transition>,
    ) -> BTreeMap<Prefix, bool> {
        let (at, moves) = (Moment::of_timer(log_time), Moves { before, after });
        let (reference, rib) = world;
        let (baseline, options) = (&self.baseline, &self.options);
        let facts = Facts { registry: before, reference, baseline, rib, options };
        let mut again = BTreeMap::new();
        for (key, mut case) in std::mem::take(&mut self.cases) {
            match key.owner.map(|owner| moves.of(owner)) {
                None => {
                    self.cases.insert(key, case);
                }
                Some(Moved::Same(owner)) => {
                    let key = CaseKey { owner: Some(owner), ..key };
                    case.move_to(key);
                    self.cases.insert(key, case);
                }
                Some(moved) => {
                    transitions.extend(case.outdate(at, &facts));
                    if moved.owner().is_some() {
                        let is_leak =
                            matches!(key.suspect, Suspect::Leaker(_) | Suspect::Neighbour(_));
                        *again.entry(key.prefix).or_default() |= is_leak;
                    }
                }
            }
        }
        self.watches.enter(moves, at, transitions);
        self.baseline.enter(moves, log_time, i64::from(self.options.learning_secs));
        again
    }

    /// The log begins: without a table dump, learning ends a while after this.
    pub fn begin(&mut self, log_time: Timestamp) {
        self.baseline.begin(log_time);
    }

    /// A table dump of a collector is complete.
    pub fn end_of_rib(&mut self) {
        self.baseline.seed();
    }

    /// Judges a change; appends what it makes of the findings. What a router itself uses or announces
    /// (Loc-RIB, Adj-RIB-Out) is nobody's belief: it teaches nothing and is no witness.
    pub fn on_change(
        &mut self,
        change: &Change<'_>,
        registry: &Registry,
        reference: &Reference,
        rib: &Rib,
        transitions: &mut Vec<Transition>,
    ) {
        self.watches.on_change(change);
        if !change.header.rib_view.is_adj_rib_in() {
            return;
        }
        self.forget_closed(change);
        let learning_secs = i64::from(self.options.learning_secs);
        self.baseline.learn(change, registry, reference, learning_secs);
        let facts =
            Facts { registry, reference, baseline: &self.baseline, rib, options: &self.options };
        let verdicts = judge::judge(change, &facts);
        let is_ours = change.touches.iter().any(|touch| touch.relation == Relation::Exact);
        if is_ours && change.route.after.is_none() && !facts.is_visible(&change.prefix) {
            let around = |key: &CaseKey| {
                key.prefix != change.prefix
                    && key.owner.is_some_and(|owner| owner.prefix == change.prefix)
            };
            for (_, case) in self.cases.iter_mut().filter(|(key, _)| around(key)) {
                transitions.extend(case.reconsider(change, &facts));
            }
        }
        let witness = WitnessKey { peer: change.peer, path_id: change.path_id };
        let of_prefix = self.cases.range_mut(keys_of(change.prefix));
        for (key, case) in of_prefix {
            if !verdicts.iter().any(|verdict| verdict.key == *key) {
                transitions.extend(case.lose(witness, change, &facts));
            }
        }
        for verdict in verdicts {
            let room = self.cases.len() < CASES_MAX;
            match self.cases.get_mut(&verdict.key) {
                Some(case) => transitions.extend(case.gain(witness, verdict, change, &facts)),
                None if room => {
                    let key = verdict.key;
                    let (case, transition) = Case::open(witness, verdict, change, &facts);
                    transitions.extend(transition);
                    self.cases.insert(key, case);
                }
                None => self.cases_refused += 1,
            }
        }
    }

    /// Other reference data count from here on; `before` are the VRPs that counted.
    pub fn enter_reference(
        &mut self,
        before: &Vrps,
        registry: &Registry,
        world: (&Reference, &Rib),
        is_mine: &dyn Fn(&Owner) -> bool,
        log_time: Timestamp,
        transitions: &mut Vec<Transition>,
    ) {
        let (reference, rib) = world;
        let (baseline, options) = (&self.baseline, &self.options);
        let facts = Facts { registry, reference, baseline, rib, options };
        self.watches.enter_reference(before, &facts, is_mine, log_time, transitions);
    }

    /// A version of the registry has begun: what expires of its ROAs is looked at.
    pub fn watch_roas(
        &mut self,
        registry: &Registry,
        world: (&Reference, &Rib),
        is_mine: &dyn Fn(&Owner) -> bool,
        log_time: Timestamp,
        transitions: &mut Vec<Transition>,
    ) {
        let (reference, rib) = world;
        let (baseline, options) = (&self.baseline, &self.options);
        let facts = Facts { registry, reference, baseline, rib, options };
        self.watches.watch_roas(&facts, is_mine, log_time, transitions);
    }

    /// Whether this fold tells of leaks, and of what watched ASes do, of a prefix.
    #[must_use]
    pub fn tells_leaks(&self, prefix: Prefix) -> bool {
        let is_leak =
            |key: &CaseKey| matches!(key.suspect, Suspect::Leaker(_) | Suspect::Neighbour(_));
        self.cases.range(keys_of(prefix)).any(|(key, case)| case.life.is_open() && is_leak(key))
    }

    /// A session came up or went down.
    pub fn on_peer(
        &mut self,
        peer: PeerId,
        header: &Arc<PeerHeader>,
        is_up: bool,
        log_time: Timestamp,
        time: Timestamp,
    ) {
        self.watches.on_peer(peer, header, is_up, Moment { log_time, time });
    }

    /// Log time passes: timers that are due by then fire, each at its time. Prefixes whose VRPs count no
    /// more are answered: what is held of them is to be judged again.
    pub fn advance(
        &mut self,
        log_time: Timestamp,
        registry: &Registry,
        reference: &Reference,
        rib: &Rib,
        transitions: &mut Vec<Transition>,
        visibility: &mut Vec<VisibilityRow>,
    ) -> Vec<Prefix> {
        self.baseline.pass(log_time, i64::from(self.options.learning_secs));
        if self.baseline.is_seeded() {
            self.watches.seed(log_time);
        }
        let facts =
            Facts { registry, reference, baseline: &self.baseline, rib, options: &self.options };
        let now = log_time.window_start(LISTEN_SECS);
        if self.listened.replace(now).is_some_and(|before| before < now) {
            let silent = self.cases.values_mut().filter_map(|case| case.listen(now, &facts));
            transitions.extend(silent);
        }
        self.watches.advance(log_time, &facts, transitions, visibility)
    }

    /// Drops cases of this prefix that have been closed for too long to come back.
    fn forget_closed(&mut self, change: &Change<'_>) {
        let old: Vec<CaseKey> = self
            .cases
            .range(keys_of(change.prefix))
            .filter(|(_, case)| case.life.closed_for(change.time) > REOPEN_SECS)
            .map(|(key, _)| *key)
            .collect();
        for key in old {
            self.cases.remove(&key);
        }
    }
}

/// All keys of one prefix.
fn keys_of(prefix: Prefix) -> std::ops::RangeInclusive<CaseKey> {
    let last = Owner { connection: u32::MAX, prefix: Prefix::v6([0xff; 16], 128) };
    CaseKey { prefix, owner: None, suspect: Suspect::Origin(Asn(0)) }..=CaseKey {
        prefix,
        owner: Some(last),
        suspect: Suspect::Neighbour(Asn(u32::MAX)),
    }
}

/// The registrations against which a prefix is judged as its own or a part of it: the longest that
/// cover it. A registered more specific is no hijack of what lies around it.
fn longest_covering(touches: impl Iterator<Item = Touch>) -> Option<Prefix> {
    touches
        .filter(|touch| touch.relation != Relation::LessSpecific)
        .map(|touch| touch.owner.prefix)
        .max_by_key(Prefix::length)
}

/// Text of a route's path.
fn path_text(route: &Arc<PathAttributes>) -> Text {
    route.as_path.to_string().into()
}

#[cfg(test)]
mod tests;
