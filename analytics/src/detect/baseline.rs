//! The baseline: which origins, links, turns and covering prefixes are usual for what is ours.
//!
//! Everything that table dumps hold is usual. Without a dump, everything within the learning time
//! after the start of the log is, and of a registration that comes later within that time after it
//! came. After that a link becomes usual when it has been told by three peers and for a week. Links
//! are kept by connection group: what a shard knows of others must not change its verdicts.

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::{HashMap, HashSet};
use schemas::bgp::{Asn, PathAttributes, Prefix};
use schemas::connection::Connection;
use schemas::registry::{Owner, Registry, Relation};
use schemas::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::Change;
use super::judge::leak::{Signs, Turn};
use super::judge::{self, hygiene};
use super::moves::Moves;
use crate::reference::Reference;
use crate::rib::PeerId;
use crate::state::sorted;

/// An origin must be held by this share of the routes of a prefix to be learnt.
const ORIGIN_SHARE_MIN: f64 = 0.1;

/// A new link becomes usual when it was first told this long ago, by so many peers.
const LINK_SECS: i64 = 7 * 86_400;
const LINK_PEERS: usize = 3;
/// Links that wait to become usual, at most, in one fold.
const LINKS_WAITING_MAX: usize = 100_000;

/// A link that is not usual yet.
#[derive(Debug, Serialize, Deserialize)]
struct NewLink {
    first_told: Timestamp,
    peers: BTreeSet<PeerId>,
}

/// A part of our prefix must be held this often to be usual.
const PART_MIN: u32 = 3;

/// Turns that are remembered of one connection group; paths of one have a few, if any.
const TURNS_MAX: usize = 10_000;

/// What is usual on the way to what a connection group registers.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Usual {
    #[serde(with = "sorted::set")]
    links: HashSet<(Asn, Asn)>,
    /// Their ends.
    #[serde(with = "sorted::set")]
    asns: HashSet<Asn>,
    /// Links that are not usual yet.
    #[serde(with = "sorted")]
    new_links: HashMap<(Asn, Asn), NewLink>,
    /// Where routes turned as if they were leaked: they may.
    turns: BTreeSet<Turn>,
    /// Most times that an AS stood in a row.
    prepends_most: usize,
    /// Whether a path held a set.
    has_set: bool,
}

/// What is usual.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Baseline {
    began: Option<Timestamp>,
    seeded: bool,
    origins: BTreeMap<Owner, BTreeMap<Asn, u32>>,
    #[serde(with = "sorted")]
    groups: HashMap<String, Usual>,
    covers: BTreeSet<(Prefix, Asn)>,
    /// How often table dumps held a prefix of an origin.
    dumped: BTreeMap<(Prefix, Asn), u32>,
    /// Whether a table dump was read to its end: told to all folds alike.
    has_dump: bool,
    /// The same of what was heard while learning without one.
    heard: BTreeMap<(Prefix, Asn), u32>,
    /// Links of all groups that are not usual yet.
    links_waiting: usize,
    /// Registrations that came later, and until when they are learnt.
    fresh: BTreeMap<Owner, Timestamp>,
}

impl Baseline {
    /// Notes a route while learning.
    pub(super) fn learn(
        &mut self,
        change: &Change<'_>,
        registry: &Registry,
        reference: &Reference,
        learning_secs: i64,
    ) {
        self.pass(change.log_time, learning_secs);
        let Some(route) = &change.route.after else { return };
        let is_fresh = |owner| self.fresh.get(owner).is_some_and(|until| change.log_time < *until);
        let touches = || change.touches.iter();
        if self.seeded && !change.is_snapshot && !touches().any(|t| is_fresh(&t.owner)) {
            self.note_links(change, route, registry);
            return;
        }
        let groups = change.touches.iter().filter_map(|t| registry.connection(t.owner.connection));
        for group in groups.map(Connection::group) {
            let usual = self.groups.entry_ref(group).or_default();
            usual.learn(change, route, registry, reference);
        }
        let Some(origin) = route.as_path.origin() else { return };
        if change.touches.is_empty() {
            return;
        }
        if change.is_snapshot {
            *self.dumped.entry((change.prefix, origin)).or_default() += 1;
        } else {
            *self.heard.entry((change.prefix, origin)).or_default() += 1;
        }
        for touch in change.touches {
            match touch.relation {
                Relation::Exact => {
                    *self.origins.entry(touch.owner).or_default().entry(origin).or_default() += 1;
                }
                Relation::LessSpecific => {
                    self.covers.insert((change.prefix, origin));
                }
                Relation::MoreSpecific => {}
            }
        }
    }

    /// Links that nobody told while learning: they become usual if they last.
    fn note_links(&mut self, change: &Change<'_>, route: &PathAttributes, registry: &Registry) {
        for touch in change.touches.iter().filter(|t| t.relation == Relation::Exact) {
            let Some(connection) = registry.connection(touch.owner.connection) else { continue };
            let group = connection.group();
            let usual = self.groups.entry_ref(group).or_default();
            for (a, b) in route.as_path.links() {
                usual.note(link(a, b), change, &mut self.links_waiting);
            }
        }
    }

    /// Another version of the registry begins.
    pub(super) fn enter(&mut self, moves: Moves<'_>, log_time: Timestamp, learning_secs: i64) {
        let origins = std::mem::take(&mut self.origins);
        self.origins = origins
            .into_iter()
            .filter_map(|(owner, seen)| Some((moves.of(owner).owner()?, seen)))
            .collect();
        self.fresh.retain(|_, until| log_time < *until);
        let fresh = std::mem::take(&mut self.fresh);
        self.fresh = fresh
            .into_iter()
            .filter_map(|(owner, until)| Some((moves.of(owner).owner()?, until)))
            .chain(
                moves.added().into_iter().map(|owner| (owner, log_time.plus_secs(learning_secs))),
            )
            .collect();
    }

    /// Log time passes: without a table dump, learning ends a while after the start.
    pub(super) fn pass(&mut self, log_time: Timestamp, learning_secs: i64) {
        if self.began.is_some_and(|began| log_time.secs_since(began) >= learning_secs) {
            self.seeded = true;
        }
    }

    /// The log begins.
    pub(super) fn begin(&mut self, log_time: Timestamp) {
        self.began.get_or_insert(log_time);
    }

    /// A table dump is complete: what is usual is known.
    pub(super) fn seed(&mut self) {
        self.has_dump = true;
        self.seeded = true;
    }

    /// Whether a table dump was read to its end.
    pub(super) const fn has_dump(&self) -> bool {
        self.has_dump
    }

    /// Whether what is not known counts as unusual.
    pub(super) const fn is_seeded(&self) -> bool {
        self.seeded
    }

    /// The origins learnt for a registration; empty where none was.
    pub(super) fn origins_of(&self, owner: &Owner) -> BTreeSet<Asn> {
        let Some(seen) = self.origins.get(owner) else { return BTreeSet::new() };
        let all: u32 = seen.values().sum();
        seen.iter()
            .filter(|(_, count)| f64::from(**count) >= ORIGIN_SHARE_MIN * f64::from(all))
            .map(|(origin, _)| *origin)
            .collect()
    }

    fn usual(&self, group: &str) -> Option<&Usual> {
        self.groups.get(group)
    }

    /// Whether two ASes were seen next to each other on the way to what a group registers.
    pub(super) fn knows_link(&self, group: &str, a: Asn, b: Asn) -> bool {
        self.usual(group).is_some_and(|usual| usual.links.contains(&link(a, b)))
    }

    /// Whether an AS was seen on the way to what a group registers.
    pub(super) fn knows_asn(&self, group: &str, asn: Asn) -> bool {
        self.usual(group).is_some_and(|usual| usual.asns.contains(&asn))
    }

    /// Whether routes of a group turned there before.
    pub(super) fn knows_turn(&self, group: &str, turn: Turn) -> bool {
        self.usual(group).is_some_and(|usual| usual.turns.contains(&turn))
    }

    /// Whether a path of a group held a set.
    pub(super) fn knows_sets(&self, group: &str) -> bool {
        self.usual(group).is_some_and(|usual| usual.has_set)
    }

    /// Most times that an AS stood in a row on a path of a group.
    pub(super) fn prepends_most(&self, group: &str) -> usize {
        self.usual(group).map_or(0, |usual| usual.prepends_most)
    }

    /// Whether a prefix of this origin was there while learning.
    pub(super) fn knows_part(&self, prefix: Prefix, origin: Asn) -> bool {
        self.was_dumped(prefix, origin) || self.heard.contains_key(&(prefix, origin))
    }

    /// Whether a table dump held this prefix of this origin.
    pub(super) fn was_dumped(&self, prefix: Prefix, origin: Asn) -> bool {
        self.dumped.contains_key(&(prefix, origin))
    }

    /// Whether several peers held a prefix of this origin while learning: one may have been betrayed.
    pub(super) fn is_usual_part(&self, prefix: Prefix, origin: Asn) -> bool {
        let times = |of: &BTreeMap<(Prefix, Asn), u32>| of.get(&(prefix, origin)).copied();
        times(&self.dumped).max(times(&self.heard)).is_some_and(|times| times >= PART_MIN)
    }

    /// Whether nobody can say that this origin of a prefix is new: no table dump was read, and it was
    /// heard before the learning time was over.
    pub(super) fn may_be_old(&self, prefix: Prefix, origin: Asn) -> bool {
        let is_unknown = !self.has_dump && !self.was_dumped(prefix, origin);
        is_unknown && (!self.seeded || self.heard.contains_key(&(prefix, origin)))
    }

    /// Whether this prefix of this origin was there before.
    pub(super) fn knows_cover(&self, prefix: Prefix, origin: Asn) -> bool {
        self.covers.contains(&(prefix, origin))
    }
}

impl Usual {
    fn know(&mut self, link: (Asn, Asn)) {
        if self.links.insert(link) {
            self.asns.extend([link.0, link.1]);
        }
    }

    /// Notes a link after learning; it becomes usual if it lasts.
    fn note(&mut self, link: (Asn, Asn), change: &Change<'_>, waiting: &mut usize) {
        if self.links.contains(&link) {
            return;
        }
        if *waiting >= LINKS_WAITING_MAX && !self.new_links.contains_key(&link) {
            return;
        }
        let new = self.new_links.entry(link).or_insert_with(|| {
            *waiting += 1;
            NewLink { first_told: change.time, peers: BTreeSet::new() }
        });
        if new.peers.len() < LINK_PEERS {
            new.peers.insert(change.peer);
        }
        let lasted = change.time.secs_since(new.first_told) >= LINK_SECS;
        if lasted && new.peers.len() >= LINK_PEERS {
            self.new_links.remove(&link);
            *waiting -= 1;
            self.know(link);
        }
    }

    fn learn(
        &mut self,
        change: &Change<'_>,
        route: &PathAttributes,
        registry: &Registry,
        reference: &Reference,
    ) {
        route.as_path.links().for_each(|(a, b)| self.know(link(a, b)));
        self.has_set |= route.as_path.has_set();
        if let Some((_, times)) = hygiene::longest_run(route.as_path.asns()) {
            self.prepends_most = self.prepends_most.max(times);
        }
        if self.turns.len() < TURNS_MAX {
            let hops = judge::path_hops(route, reference);
            let signs = Signs::of(&hops, route, change.header, registry, reference);
            self.turns.extend(signs.turns(&hops));
        }
    }
}

fn link(a: Asn, b: Asn) -> (Asn, Asn) {
    (a.min(b), a.max(b))
}
