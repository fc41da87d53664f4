//! Sessions: decoded messages in, route events out. A session keeps what a message does not say of
//! itself (peer tables, ADD-PATH, what a peer index means), does no IO and reads no clock.
//!
//! [`mrt`] is the session of an archive, [`bmp`] that of a router, [`peers`] what all sessions know of their peers, [`update`]
//! what they all do with an UPDATE. A session hands each UPDATE to a [`RouteSink`]; prefixes first,
//! attributes only if the sink asks. [`interest`] says which prefixes are ours. [`rtr`] is the session with a cache of
//! VRPs, which tells no route.

pub mod bmp;
pub mod capture;
pub mod interest;
pub mod mrt;
pub mod openbmp;
pub mod peers;
pub mod ris_live;
pub mod rtr;
pub mod tally;
pub mod tcp;
pub mod update;

use std::net::IpAddr;
use std::sync::Arc;

pub use schemas::batch::{Action, PeerState};
use schemas::bgp::{Disposition, PeerHeader, Prefix};
use schemas::time::Timestamp;

use crate::decode::bgp::{Attributes, NlriList};

pub use bmp::{BmpOptions, BmpSession, BmpState};
pub use mrt::{MrtCounts, MrtSession, RecordKind};
pub use openbmp::OpenBmpSession;
pub use peers::PeerTable;
pub use ris_live::RisSession;
pub use tally::Tally;

/// Takes what a session makes of its messages.
pub trait RouteSink {
    /// An UPDATE, or one route of a table, with at least one prefix.
    fn update(&mut self, update: &UpdateView<'_>);

    /// Whether an element on this prefix can be of use, whatever else its message says. Where none
    /// can, a session may leave the attributes unread and tell their number by [`Self::leave`].
    fn may_keep(&self, _header: &PeerHeader, _prefix: &Prefix) -> bool {
        true
    }

    /// So many elements were left, as [`Self::may_keep`] allows.
    fn leave(&mut self, _elements: u64) {}

    /// A peer's session changed, or has sent all it had (RFC 4724 §2).
    fn session(&mut self, _event: &SessionEvent<'_>) {}

    /// A further record begins, of a stream whose records have no positions of their own.
    fn next_record(&mut self) {}
}

/// What a collector tells of a peer's session.
#[derive(Clone, Copy, Debug)]
pub struct SessionEvent<'a> {
    /// When.
    pub time: Timestamp,
    /// Whose: an id of the session's [`PeerTable`].
    pub peer: u32,
    /// The peer.
    pub header: &'a Arc<PeerHeader>,
    /// What happened.
    pub state: PeerState,
    /// State before and after by number (RFC 6396 §4.4.1: Idle 1 to Established 6), where the format
    /// tells both.
    pub codes: Option<(u16, u16)>,
    /// The router's end, where the format tells it.
    pub local_ip: Option<IpAddr>,
    /// Why, where the format tells it.
    pub reason: Option<&'a str>,
    /// Prefixes that the router had accepted of it, by its newest statistics.
    pub prefixes_accepted: Option<u64>,
}

/// One UPDATE, or one route of a table. An UPDATE that announces prefixes with two next hops, some
/// in the field NLRI and some in `MP_REACH_NLRI`, is two of them. Its lists were read to the end before, so walking them
/// cannot fail.
#[derive(Clone, Copy, Debug)]
pub struct UpdateView<'a> {
    /// When it happened: by the record, or of receipt where the router's clock is not to be trusted.
    pub time: Timestamp,
    /// The router's own time, where there is one beside it.
    pub router_time: Option<Timestamp>,
    /// Who sent it: an id of the session's [`PeerTable`].
    pub peer: u32,
    /// Who sent it.
    pub header: &'a Arc<PeerHeader>,
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
    /// Whether any prefix is announced.
    #[inline]
    #[must_use]
    pub fn announces(&self) -> bool {
        let withdraws = self.disposition == Disposition::TreatAsWithdraw;
        !withdraws
            && match &self.routes {
                Routes::One(..) => true,
                Routes::Lists([_, _, announced, reach]) => {
                    !announced.is_empty() || !reach.is_empty()
                }
            }
    }

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
                        list.for_each(|prefix, path_id| f(action, prefix, path_id));
                    }
                }
            }
        }
    }
}
