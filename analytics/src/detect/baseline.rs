//! The baseline: which origins, links and covering prefixes are usual for what is ours.
//!
//! Everything that table dumps hold is usual. Without a dump, everything within the learning time
//! after the first update is. After that the baseline stays as it is in this version.

use std::collections::{BTreeMap, BTreeSet};

use schemas::bgp::{Asn, Prefix};
use schemas::registry::{Owner, Relation};
use schemas::time::Timestamp;

use super::Change;

/// An origin must be held by this share of the routes of a prefix to be learnt.
const ORIGIN_SHARE_MIN: f64 = 0.1;

/// What is usual.
#[derive(Debug, Default)]
pub(super) struct Baseline {
    first_update: Option<Timestamp>,
    seeded: bool,
    origins: BTreeMap<Owner, BTreeMap<Asn, u32>>,
    links: BTreeSet<(Asn, Asn)>,
    covers: BTreeSet<(Prefix, Asn)>,
}

impl Baseline {
    /// Notes a route while learning.
    pub(super) fn learn(&mut self, change: &Change<'_>, learning_secs: i64) {
        let first = *self.first_update.get_or_insert(change.time);
        if !change.is_snapshot && change.time.secs_since(first) >= learning_secs {
            self.seeded = true;
        }
        if self.seeded && !change.is_snapshot {
            return;
        }
        let Some(route) = &change.route.after else { return };
        let hops = route.as_path.collapsed();
        for (left, right) in hops.iter().zip(hops.iter().skip(1)) {
            self.links.insert(link(*left, *right));
        }
        let Some(origin) = route.as_path.origin() else { return };
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

    /// Whether two ASes were seen next to each other.
    pub(super) fn knows_link(&self, a: Asn, b: Asn) -> bool {
        self.links.contains(&link(a, b))
    }

    /// Whether this prefix of this origin was there before.
    pub(super) fn knows_cover(&self, prefix: Prefix, origin: Asn) -> bool {
        self.covers.contains(&(prefix, origin))
    }
}

fn link(a: Asn, b: Asn) -> (Asn, Asn) {
    (a.min(b), a.max(b))
}
