//! The past: what peers said after a snapshot, folded on top of it, up to one moment.
//!
//! The state of a route is the last word on it, so words that the snapshot has already heard may be
//! folded again: [`OVERLAP_SECS`] of them are, because a record can carry an earlier time than those
//! before it in the log. What a session did before the snapshot does not touch a route that nobody
//! spoke of since: it stood then. A route is named by the row that told it; the caller keeps the rows.

use std::collections::{BTreeMap, HashMap};

use schemas::bgp::{Family, Prefix};
use schemas::time::Timestamp;

/// Words from this long before a snapshot are folded again. An archive's time falls back by an hour
/// at most (`docs/concepts/time.md`).
pub const OVERLAP_SECS: i64 = 3_600;

/// A peer as the tables name it: collector, router, address, AS number, table.
pub type PeerName<'a> = (&'a str, Option<&'a str>, &'a str, u32, &'a str);

/// When something was said, and its place among what was said at the same time: table dumps first,
/// then by source and record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment<'a> {
    /// When.
    pub time: Timestamp,
    /// Whether it is a change and not of a table dump.
    pub is_change: bool,
    /// File, topic or listener.
    pub source: &'a str,
    /// Record in it.
    pub source_offset: u64,
}

/// What was said. In one record a withdrawal comes before an announcement (RFC 4271 §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word<R> {
    /// No route any more.
    Withdraw(Prefix, Option<u32>),
    /// The route of this row.
    Announce(Prefix, Option<u32>, R),
    /// The session is down: all its routes go.
    Down,
    /// Its routes wait for a refresh; also when it is up again.
    Stale,
    /// Routes of this family, or of both, that still wait fall.
    EndOfRib(Option<Family>),
}

impl<R> Word<R> {
    /// What a row of `sessions` says of routes. `reason` names the family of an `end_of_rib`.
    #[must_use]
    pub fn of_session(state: &str, reason: Option<&str>) -> Option<Self> {
        match state {
            "down" => Some(Self::Down),
            "up" | "stale" => Some(Self::Stale),
            "end_of_rib" => Some(Self::EndOfRib(match reason {
                Some("ipv4") => Some(Family::Ipv4),
                Some("ipv6") => Some(Family::Ipv6),
                _ => None,
            })),
            _ => None,
        }
    }

    const fn rank(&self) -> u8 {
        match self {
            Self::Withdraw(..) => 0,
            Self::Announce(..) => 1,
            Self::Down | Self::Stale | Self::EndOfRib(_) => 2,
        }
    }
}

/// Something said by a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said<'a, R> {
    /// When.
    pub at: Moment<'a>,
    /// By whom.
    pub peer: PeerName<'a>,
    /// What.
    pub word: Word<R>,
}

/// Peer, prefix and path identifier.
type Key = (u32, Prefix, Option<u32>);

#[derive(Clone, Copy, Debug)]
struct Route<R> {
    row: R,
    is_stale: bool,
    /// Whether it is known from the snapshot alone.
    of_snapshot: bool,
}

/// Routes held at one moment.
#[derive(Debug)]
pub struct Past<'a, R> {
    snapshot_time: Timestamp,
    peers: HashMap<PeerName<'a>, u32>,
    routes: BTreeMap<Key, Route<R>>,
}

impl<'a, R: Copy> Past<'a, R> {
    /// Begins at a snapshot, or at the start of everything.
    #[must_use]
    pub fn new(snapshot_time: Option<Timestamp>) -> Self {
        let snapshot_time = snapshot_time.unwrap_or(Timestamp::MIN);
        Self { snapshot_time, peers: HashMap::new(), routes: BTreeMap::new() }
    }

    /// A route of the snapshot.
    pub fn hold(
        &mut self,
        peer: PeerName<'a>,
        prefix: Prefix,
        path_id: Option<u32>,
        row: R,
        is_stale: bool,
    ) {
        let peer = self.peer(peer);
        self.routes.insert((peer, prefix, path_id), Route { row, is_stale, of_snapshot: true });
    }

    /// Folds what was said, in its order.
    pub fn fold(&mut self, mut said: Vec<Said<'a, R>>) {
        said.sort_by(|a, b| a.at.cmp(&b.at).then(a.word.rank().cmp(&b.word.rank())));
        for Said { at, peer, word } in said {
            let peer = self.peer(peer);
            let was_heard = at.time < self.snapshot_time;
            match word {
                Word::Withdraw(prefix, path_id) => {
                    self.routes.remove(&(peer, prefix, path_id));
                }
                Word::Announce(prefix, path_id, row) => {
                    let route = Route { row, is_stale: false, of_snapshot: false };
                    self.routes.insert((peer, prefix, path_id), route);
                }
                Word::Down => self.drop_where(peer, was_heard, |_, _| true),
                Word::Stale => {
                    self.of_peer(peer, was_heard).for_each(|(_, route)| route.is_stale = true);
                }
                Word::EndOfRib(family) => self.drop_where(peer, was_heard, |prefix, is_stale| {
                    is_stale && family.is_none_or(|family| prefix.family() == family)
                }),
            }
        }
    }

    /// The routes held: the row that told each, and whether it waits for a refresh.
    pub fn routes(&self) -> impl Iterator<Item = (Prefix, Option<u32>, R, bool)> {
        self.routes
            .iter()
            .map(|((_, prefix, path_id), route)| (*prefix, *path_id, route.row, route.is_stale))
    }

    fn peer(&mut self, name: PeerName<'a>) -> u32 {
        let next = u32::try_from(self.peers.len()).unwrap_or(u32::MAX);
        *self.peers.entry(name).or_insert(next)
    }

    /// The routes that a session change touches.
    fn of_peer(
        &mut self,
        peer: u32,
        was_heard: bool,
    ) -> impl Iterator<Item = (&Key, &mut Route<R>)> {
        let first = Prefix::v4([0; 4], 0);
        let of_peer = self.routes.range_mut((peer, first, None)..);
        of_peer
            .take_while(move |(key, _)| key.0 == peer)
            .filter(move |(_, route)| !(was_heard && route.of_snapshot))
    }

    fn drop_where(&mut self, peer: u32, was_heard: bool, goes: impl Fn(&Prefix, bool) -> bool) {
        let going: Vec<_> = self
            .of_peer(peer, was_heard)
            .filter(|((_, prefix, _), route)| goes(prefix, route.is_stale))
            .map(|(key, _)| *key)
            .collect();
        going.iter().for_each(|key| {
            self.routes.remove(key);
        });
    }
}
