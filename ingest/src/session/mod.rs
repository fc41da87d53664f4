//! Sessions: decoded messages in, route events out. A session keeps what a message does not say of
//! itself (peer tables, ADD-PATH, what a peer index means), does no IO and reads no clock.
//!
//! [`mrt`] is the session of an archive, [`peers`] what all sessions know of their peers. A session
//! hands each UPDATE to a [`RouteSink`]; prefixes first, attributes only if the sink asks.

pub mod interest;
pub mod mrt;
pub mod peers;

pub use schemas::batch::Action;
use schemas::bgp::{Disposition, Family, Prefix};
use schemas::time::Timestamp;

use crate::decode::bgp::{Attributes, NlriList};

pub use mrt::{MrtCounts, MrtSession, RecordKind};
pub use peers::PeerTable;

/// Takes what a session makes of its messages.
pub trait RouteSink {
    /// An UPDATE, or one route of a table, with at least one prefix.
    fn update(&mut self, update: &UpdateView<'_>);

    /// A peer's session went from one state to another, numbered as in RFC 6396 §4.4.1: Idle 1 to
    /// Established 6.
    fn state_change(&mut self, _time: Timestamp, _peer: u32, _old: u16, _new: u16) {}

    /// A peer has sent all it had (RFC 4724 §2).
    fn end_of_rib(&mut self, _time: Timestamp, _peer: u32, _family: Family) {}
}

/// One UPDATE, or one route of a table. An UPDATE that announces prefixes with two next hops, some
/// in the field NLRI and some in `MP_REACH_NLRI`, is two of them. Its lists were read to the end before, so walking them
/// cannot fail.
#[derive(Clone, Copy, Debug)]
pub struct UpdateView<'a> {
    /// When the record says it was.
    pub time: Timestamp,
    /// Who sent it: an id of the session's [`PeerTable`].
    pub peer: u32,
    /// Whom the ids of the session mean.
    pub peers: &'a PeerTable,
    /// Whether it is a route of a table rather than a change.
    pub is_snapshot: bool,
    /// What it says of its announced prefixes, decoded when asked.
    pub attributes: &'a Attributes<'a>,
    /// What RFC 7606 makes of it.
    pub disposition: Disposition,
    pub(crate) routes: Routes<'a>,
}

/// The prefixes of an [`UpdateView`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum Routes<'a> {
    /// The prefix of a table's route.
    One(Prefix, Option<u32>),
    /// Withdrawn, `MP_UNREACH_NLRI`, NLRI, `MP_REACH_NLRI`.
    Lists(&'a [NlriList<'a>; 4]),
}

impl<'a> UpdateView<'a> {
    /// Every prefix with what is done to it and its path identifier, withdrawals first
    /// (RFC 4271 §4.3: a prefix in both lists counts as announced). Treat-as-withdraw turns
    /// announcements into withdrawals here.
    #[inline]
    pub fn for_each_prefix(&self, mut f: impl FnMut(Action, Prefix, Option<u32>)) {
        let announce = match self.disposition {
            Disposition::TreatAsWithdraw => Action::Withdraw,
            Disposition::Accepted | Disposition::AttributeDiscard => Action::Announce,
        };
        match &self.routes {
            Routes::One(prefix, path_id) => f(announce, *prefix, *path_id),
            Routes::Lists(lists) => {
                for (place, list) in lists.iter().enumerate() {
                    let action = if place < 2 { Action::Withdraw } else { announce };
                    if !list.is_empty() {
                        list.iter().for_each(|(prefix, path_id)| f(action, prefix, path_id));
                    }
                }
            }
        }
    }
}
