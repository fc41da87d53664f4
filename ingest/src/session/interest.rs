//! The interest filter: which elements of an UPDATE become part of the log.
//!
//! NLRI first; attributes are looked at only where a watched AS may be on the path. Pure: it hands
//! on what it keeps and counts what it leaves.

use std::collections::BTreeSet;
use std::sync::Arc;

use hashbrown::HashSet;
use schemas::batch::Action;
use schemas::bgp::{Asn, PeerHeader, Prefix};
use schemas::registry::Registry;

use super::UpdateView;

/// Which routes are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// Those that touch a registered prefix or pass a watched AS.
    #[default]
    Ours,
    /// All.
    All,
}

/// Prefixes of others that are followed at most; a leak of more is seen by these.
const FOLLOWED_MAX: usize = 2_000_000;

/// The filter of one log.
#[derive(Debug)]
pub struct Interest {
    registry: Arc<Registry>,
    watched: BTreeSet<Asn>,
    /// Prefixes of others that were seen behind a watched AS. From then on every word on them is
    /// kept, so that a leak's end is heard too.
    followed: HashSet<Prefix>,
    /// Those of them that were added since they were asked for.
    news: Vec<Prefix>,
    keep: Keep,
}

impl Interest {
    /// A filter for this version of the registry.
    #[must_use]
    pub fn new(registry: Arc<Registry>, keep: Keep) -> Self {
        let watched = registry.watched().iter().map(|watched| watched.number).collect();
        Self { registry, watched, followed: HashSet::new(), news: Vec::new(), keep }
    }

    /// Asks another version of the registry; what was followed is.
    pub fn enter(&mut self, registry: Arc<Registry>) {
        self.watched = registry.watched().iter().map(|watched| watched.number).collect();
        self.registry = registry;
    }

    /// The registry that it asks.
    #[must_use]
    pub const fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Whether nothing is left.
    #[inline]
    #[must_use]
    pub fn keeps_all(&self) -> bool {
        self.keep == Keep::All
    }

    /// Hands on the elements of an UPDATE that are kept; says how many are left.
    #[inline]
    pub fn sift(
        &mut self,
        update: &UpdateView<'_>,
        mut keep: impl FnMut(Action, Prefix, Option<u32>),
    ) -> u64 {
        if self.keeps_all() {
            update.for_each_prefix(keep);
            return 0;
        }
        let watched = self.passes_watched(update);
        let Self { registry, followed, news, .. } = self;
        let domain = registry.domain(&update.header.routing_domain);
        let mut left = 0;
        update.for_each_prefix(|action, prefix, path_id| {
            if !domain.is_touched(&prefix) {
                if watched
                    && action == Action::Announce
                    && followed.len() < FOLLOWED_MAX
                    && followed.insert(prefix)
                {
                    news.push(prefix);
                }
                if followed.is_empty() || !followed.contains(&prefix) {
                    left += 1;
                    return;
                }
            }
            keep(action, prefix, path_id);
        });
        left
    }

    /// Prefixes of others that are followed from now on and were not when this was asked last: with
    /// them a filter that begins anew knows what this one knows.
    pub fn take_news(&mut self) -> Vec<Prefix> {
        std::mem::take(&mut self.news)
    }

    /// All that it follows, in order.
    #[must_use]
    pub fn followed(&self) -> Vec<Prefix> {
        let mut followed: Vec<Prefix> = self.followed.iter().copied().collect();
        followed.sort_unstable();
        followed
    }

    /// Follows what another filter followed.
    pub fn follow(&mut self, prefixes: impl IntoIterator<Item = Prefix>) {
        self.followed.extend(prefixes);
    }

    /// Whether an element on this prefix may be kept, whatever its path.
    #[must_use]
    pub fn may_keep(&self, header: &PeerHeader, prefix: &Prefix) -> bool {
        self.keeps_all()
            || !self.watched.is_empty()
            || self.registry.is_touched(&header.routing_domain, prefix)
            || self.followed.contains(prefix)
    }

    fn passes_watched(&self, update: &UpdateView<'_>) -> bool {
        !self.watched.is_empty()
            && update.attributes.as_path_contains(&|asn| self.watched.contains(&asn))
    }
}
