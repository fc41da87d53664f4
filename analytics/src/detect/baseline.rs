//! The baseline: which origins, links and covering prefixes are usual for what is ours.
//!
//! Everything that table dumps hold is usual. Without a dump, everything within the learning time
//! after the start of the log is. After that the baseline stays as it is in this version. Links are
//! kept by connection group: what a shard knows of others must not change its verdicts.

use std::collections::{BTreeMap, BTreeSet};

use schemas::bgp::{Asn, Prefix};
use schemas::connection::Connection;
use schemas::registry::{Owner, Registry, Relation};
use schemas::time::Timestamp;

use super::Change;

/// An origin must be held by this share of the routes of a prefix to be learnt.
const ORIGIN_SHARE_MIN: f64 = 0.1;

/// What is usual.
#[derive(Debug, Default)]
pub(super) struct Baseline {
    began: Option<Timestamp>,
    seeded: bool,
    origins: BTreeMap<Owner, BTreeMap<Asn, u32>>,
    links: BTreeMap<String, BTreeSet<(Asn, Asn)>>,
    covers: BTreeSet<(Prefix, Asn)>,
    dumped: BTreeSet<(Prefix, Asn)>,
}

impl Baseline {
    /// Notes a route while learning.
    pub(super) fn learn(&mut self, change: &Change<'_>, registry: &Registry, learning_secs: i64) {
        self.pass(change.log_time, learning_secs);
        if self.seeded && !change.is_snapshot {
            return;
        }
        let Some(route) = &change.route.after else { return };
        let hops = route.as_path.collapsed();
        let groups = change.touches.iter().filter_map(|t| registry.connection(t.owner.connection));
        for group in groups.map(Connection::group) {
            let links = match self.links.get_mut(group) {
                Some(links) => links,
                None => self.links.entry(group.to_owned()).or_default(),
            };
            links.extend(hops.iter().zip(hops.iter().skip(1)).map(|(a, b)| link(*a, *b)));
        }
        let Some(origin) = route.as_path.origin() else { return };
        if change.is_snapshot {
            self.dumped.insert((change.prefix, origin));
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
        self.seeded = true;
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

    /// Whether two ASes were seen next to each other on the way to what a group registers.
    pub(super) fn knows_link(&self, group: &str, a: Asn, b: Asn) -> bool {
        self.links.get(group).is_some_and(|links| links.contains(&link(a, b)))
    }

    /// Whether a table dump held this prefix of this origin.
    pub(super) fn was_dumped(&self, prefix: Prefix, origin: Asn) -> bool {
        self.dumped.contains(&(prefix, origin))
    }

    /// Whether this prefix of this origin was there before.
    pub(super) fn knows_cover(&self, prefix: Prefix, origin: Asn) -> bool {
        self.covers.contains(&(prefix, origin))
    }
}

fn link(a: Asn, b: Asn) -> (Asn, Asn) {
    (a.min(b), a.max(b))
}
