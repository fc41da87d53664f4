//! The interest filter: which elements of an UPDATE become part of the log.
//!
//! NLRI first; attributes are decoded only where a prefix is touched or a watched AS is on the path.
//! Pure: it collects what it keeps and counts what it leaves.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use schemas::batch::Action;
use schemas::bgp::{Asn, Disposition, Family, PathAttributes, Prefix};
use schemas::registry::Registry;
use schemas::time::Timestamp;

use super::{RouteSink, UpdateView};

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

/// Prefixes of others that were seen behind a watched AS. From then on every word on them is kept,
/// so that a leak's end is heard too. Shared by the inputs of one log.
pub type Followed = Rc<RefCell<HashSet<Prefix>>>;

/// An element that is kept.
#[derive(Clone, Debug)]
pub struct Kept {
    /// When it happened.
    pub time: Timestamp,
    /// The peer, as the session numbers it.
    pub peer: u32,
    /// What the peer says.
    pub action: Action,
    /// Of which prefix.
    pub prefix: Prefix,
    /// ADD-PATH identifier.
    pub path_id: Option<u32>,
    /// The attributes; none for a withdrawal.
    pub attributes: Option<Arc<PathAttributes>>,
    /// What RFC 7606 made of the message.
    pub disposition: Disposition,
    /// Whether it comes from a table dump.
    pub is_snapshot: bool,
}

/// A change of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateChange {
    /// When it happened.
    pub time: Timestamp,
    /// The peer, as the session numbers it.
    pub peer: u32,
    /// State before (RFC 4271 §8.2.2 by number).
    pub old: u16,
    /// State after.
    pub new: u16,
}

/// Collects what is ours out of one record; emptied by its reader.
#[derive(Debug)]
pub struct Interest {
    registry: Arc<Registry>,
    watched: BTreeSet<Asn>,
    followed: Followed,
    keep: Keep,
    /// Elements that are kept, in the order of the record.
    pub kept: Vec<Kept>,
    /// Session changes of the record.
    pub states: Vec<StateChange>,
    /// Elements that touch nothing of ours.
    pub unmatched: u64,
}

impl Interest {
    /// A filter for this version of the registry.
    #[must_use]
    pub fn new(registry: Arc<Registry>, keep: Keep, followed: Followed) -> Self {
        let watched = registry.watched().iter().map(|watched| watched.number).collect();
        Self {
            registry,
            watched,
            followed,
            keep,
            kept: Vec::new(),
            states: Vec::new(),
            unmatched: 0,
        }
    }

    fn passes_watched(&self, update: &UpdateView<'_>) -> bool {
        !self.watched.is_empty()
            && update.attributes.as_path_contains(&|asn| self.watched.contains(&asn))
    }
}

impl RouteSink for Interest {
    fn update(&mut self, update: &UpdateView<'_>) {
        let all = self.keep == Keep::All;
        let watched = !all && self.passes_watched(update);
        let mut decoded: Option<Arc<PathAttributes>> = None;
        let Self { registry, kept, unmatched, .. } = self;
        let mut followed = self.followed.borrow_mut();
        update.for_each_prefix(|action, prefix, path_id| {
            let ours = all || registry.is_touched(&prefix);
            if !ours && watched && action == Action::Announce && followed.len() < FOLLOWED_MAX {
                followed.insert(prefix);
            }
            if !ours && (followed.is_empty() || !followed.contains(&prefix)) {
                *unmatched += 1;
                return;
            }
            let attributes = match action {
                Action::Announce => Some(Arc::clone(
                    decoded.get_or_insert_with(|| Arc::new(update.attributes.decode())),
                )),
                Action::Withdraw => None,
            };
            kept.push(Kept {
                time: update.time,
                peer: update.peer,
                action,
                prefix,
                path_id,
                attributes,
                disposition: update.disposition,
                is_snapshot: update.is_snapshot,
            });
        });
    }

    fn state_change(&mut self, time: Timestamp, peer: u32, old: u16, new: u16) {
        self.states.push(StateChange { time, peer, old, new });
    }

    fn end_of_rib(&mut self, _time: Timestamp, _peer: u32, _family: Family) {}
}
