//! The routing state: what each peer holds for each prefix, as the log left it.
//!
//! - [`prefixes`]: a prefix gets a dense id as long as somebody holds a route for it.
//! - [`attributes`]: equal attribute sets lie once.
//! - [`column`]: the routes of one peer: one 32-bit number for each id.
//! - [`snapshot`]: all of it as rows of `rib`, each full hour.
//! - [`past`]: what was held at a moment: a snapshot and what was said since.
//! - [`state`]: all of it as bytes, and back.
//!
//! Pure: it is told what a peer said and answers what that changed. It is bounded: beyond
//! [`Rib::routes_max`] a new route is refused and counted. What stands in Adj-RIB-Out and Loc-RIB
//! (RFC 8671, RFC 9069) is held like any other route, but is nothing that the Internet believes:
//! [`Rib::is_visible`] asks Adj-RIB-In alone.

mod attributes;
mod column;
pub mod past;
mod prefixes;
pub mod snapshot;
mod state;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use schemas::bgp::{Family, PathAttributes, PeerHeader, Prefix};

use attributes::AttributeTable;
use column::{Held, Routes};
use prefixes::{Address, PrefixId, PrefixTable};

/// Dense number of a peer within one fold; never leaves the process.
pub type PeerId = u32;

/// Routes that a Rib holds at most, unless it is told otherwise: about a gigabyte of columns.
pub const ROUTES_MAX: u64 = 200_000_000;

/// What a peer's word altered.
#[derive(Clone, Debug, Default)]
pub struct RouteChange {
    /// The route it held before.
    pub before: Option<Arc<PathAttributes>>,
    /// The route it holds now.
    pub after: Option<Arc<PathAttributes>>,
}

impl RouteChange {
    /// Whether the path is another one, prepends aside, and not attributes alone.
    #[must_use]
    pub fn is_of_path(&self) -> bool {
        match (&self.before, &self.after) {
            (None, None) => false,
            (Some(before), Some(after)) => {
                !Arc::ptr_eq(before, after) && !before.as_path.hops().eq(after.as_path.hops())
            }
            _ => true,
        }
    }
}

/// A route that fell without a withdrawal.
#[derive(Clone, Debug)]
pub struct Fallen {
    /// Its prefix.
    pub prefix: Prefix,
    /// Its path identifier (RFC 7911).
    pub path_id: Option<u32>,
    /// What was held; nothing is now.
    pub route: RouteChange,
}

/// One route as it is held.
#[derive(Clone, Copy, Debug)]
pub struct HeldRoute<'a> {
    /// Its prefix.
    pub prefix: Prefix,
    /// Who holds it.
    pub peer: &'a Arc<PeerHeader>,
    /// Its path identifier (RFC 7911).
    pub path_id: Option<u32>,
    /// Its attributes.
    pub attributes: &'a Arc<PathAttributes>,
    /// Whether it waits for a refresh (RFC 4724).
    pub is_stale: bool,
}

/// What a Rib holds and what that costs. Allocations by their capacity, without the allocator's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Distinct prefixes.
    pub prefixes: u64,
    /// Routes of all peers.
    pub routes: u64,
    /// Distinct attribute sets.
    pub attribute_sets: u64,
    /// Bytes of the columns and maps of all peers, stale bits with them.
    pub bytes_columns: u64,
    /// Bytes of the routes with a path identifier, which lie beside the columns.
    pub bytes_paths: u64,
    /// Bytes of the prefixes and their index.
    pub bytes_prefix_table: u64,
    /// Bytes of the attribute sets and their index.
    pub bytes_attributes: u64,
}

#[derive(Debug)]
struct Peer {
    header: Arc<PeerHeader>,
    /// Place of its routing domain among those met.
    domain: usize,
    ipv4: Routes,
    ipv6: Routes,
}

impl Peer {
    const fn routes(&self, family: Family) -> &Routes {
        match family {
            Family::Ipv4 => &self.ipv4,
            Family::Ipv6 => &self.ipv6,
        }
    }
}

/// The routes of all peers.
#[derive(Debug)]
pub struct Rib {
    ids: HashMap<Arc<PeerHeader>, PeerId>,
    last: Option<PeerId>,
    peers: Vec<Peer>,
    domains: Vec<Arc<str>>,
    ipv4: PrefixTable<u32>,
    ipv6: PrefixTable<[u8; 16]>,
    attributes: AttributeTable,
    routes: u64,
    routes_max: u64,
    /// New routes that found no room.
    pub refused: u64,
}

impl Default for Rib {
    fn default() -> Self {
        Self::new(ROUTES_MAX)
    }
}

/// One family of a Rib, in the parts that a change needs at once.
struct Part<'a, A> {
    prefixes: &'a mut PrefixTable<A>,
    routes: &'a mut Routes,
    attributes: &'a mut AttributeTable,
    has_room: bool,
}

impl Rib {
    /// An empty one that holds this many routes at most.
    #[must_use]
    pub fn new(routes_max: u64) -> Self {
        Self {
            ids: HashMap::new(),
            last: None,
            peers: Vec::new(),
            domains: Vec::new(),
            ipv4: PrefixTable::default(),
            ipv6: PrefixTable::default(),
            attributes: AttributeTable::default(),
            routes: 0,
            routes_max,
            refused: 0,
        }
    }

    /// The number of a peer; a new one for a new peer.
    pub fn peer_id(&mut self, peer: &Arc<PeerHeader>) -> PeerId {
        let is_last = |id: &PeerId| self.peer(*id).is_some_and(|last| Arc::ptr_eq(last, peer));
        if let Some(id) = self.last.filter(is_last) {
            return id;
        }
        let id = self.ids.get(peer).copied().unwrap_or_else(|| self.new_peer(peer));
        self.last = Some(id);
        id
    }

    fn new_peer(&mut self, peer: &Arc<PeerHeader>) -> PeerId {
        let id = PeerId::try_from(self.peers.len()).unwrap_or(PeerId::MAX);
        let header = Arc::clone(peer);
        let domain = self.domain(&header.routing_domain).unwrap_or_else(|| {
            self.domains.push(Arc::clone(&header.routing_domain));
            self.domains.len() - 1
        });
        self.peers.push(Peer { header, domain, ipv4: Routes::default(), ipv6: Routes::default() });
        self.ids.insert(Arc::clone(peer), id);
        id
    }

    fn domain(&self, name: &str) -> Option<usize> {
        self.domains.iter().position(|domain| **domain == *name)
    }

    fn find(&self, prefix: &Prefix) -> Option<PrefixId> {
        match prefix.family() {
            Family::Ipv4 => self.ipv4.find(prefix),
            Family::Ipv6 => self.ipv6.find(prefix),
        }
    }

    /// The peer of that number.
    #[must_use]
    pub fn peer(&self, id: PeerId) -> Option<&Arc<PeerHeader>> {
        self.peers.get(id as usize).map(|peer| &peer.header)
    }

    /// Notes what a peer said of a prefix: a route, or none any more. A new route for which there is
    /// no room changes nothing and is counted in [`Self::refused`].
    pub fn apply(
        &mut self,
        peer: PeerId,
        prefix: Prefix,
        path_id: Option<u32>,
        route: Option<Arc<PathAttributes>>,
    ) -> RouteChange {
        let has_room = self.routes < self.routes_max;
        let Some(peer) = self.peers.get_mut(peer as usize) else { return RouteChange::default() };
        let (attributes, was) = (&mut self.attributes, (peer.ipv4.len() + peer.ipv6.len()) as u64);
        let done = match prefix.family() {
            Family::Ipv4 => {
                let (prefixes, routes) = (&mut self.ipv4, &mut peer.ipv4);
                Part { prefixes, routes, attributes, has_room }.apply(&prefix, path_id, route)
            }
            Family::Ipv6 => {
                let (prefixes, routes) = (&mut self.ipv6, &mut peer.ipv6);
                Part { prefixes, routes, attributes, has_room }.apply(&prefix, path_id, route)
            }
        };
        self.routes = self.routes - was + (peer.ipv4.len() + peer.ipv6.len()) as u64;
        done.unwrap_or_else(|| {
            self.refused += 1;
            RouteChange::default()
        })
    }

    /// Every route that a peer holds, by prefix and path identifier.
    #[must_use]
    pub fn held_by(&self, peer: PeerId) -> Vec<(Prefix, Option<u32>)> {
        let Some(peer) = self.peers.get(peer as usize) else { return Vec::new() };
        let mut all = named(&self.ipv4, peer.ipv4.iter());
        all.extend(named(&self.ipv6, peer.ipv6.iter()));
        all.sort_unstable();
        all
    }

    /// A session is up (again): what its peer held before waits for a refresh (RFC 4724 §4.2).
    pub fn up(&mut self, peer: PeerId) {
        self.stale(peer);
    }

    /// Nothing is heard of a peer, or it restarts: its routes stay, and wait for a refresh.
    pub fn stale(&mut self, peer: PeerId) {
        if let Some(peer) = self.peers.get_mut(peer as usize) {
            peer.ipv4.mark_stale();
            peer.ipv6.mark_stale();
        }
    }

    /// The same for all peers of a collector.
    pub fn stale_all(&mut self, collector: &str) {
        for peer in self.peers.iter_mut().filter(|peer| &*peer.header.collector == collector) {
            peer.ipv4.mark_stale();
            peer.ipv6.mark_stale();
        }
    }

    /// A peer has told all its routes of a family again (RFC 4724 §2): those that still wait fall.
    pub fn end_of_rib(&mut self, peer: PeerId, family: Family) -> Vec<Fallen> {
        let Some(held) = self.peers.get(peer as usize) else { return Vec::new() };
        let mut stale = match family {
            Family::Ipv4 => named(&self.ipv4, held.ipv4.iter().filter(|route| route.is_stale)),
            Family::Ipv6 => named(&self.ipv6, held.ipv6.iter().filter(|route| route.is_stale)),
        };
        stale.sort_unstable();
        self.withdraw(peer, stale)
    }

    /// A session is down: everything that its peer held falls.
    pub fn withdraw_all(&mut self, peer: PeerId) -> Vec<Fallen> {
        let held = self.held_by(peer);
        self.withdraw(peer, held)
    }

    fn withdraw(&mut self, peer: PeerId, routes: Vec<(Prefix, Option<u32>)>) -> Vec<Fallen> {
        let fall = |(prefix, path_id)| {
            let route = self.apply(peer, prefix, path_id, None);
            Fallen { prefix, path_id, route }
        };
        routes.into_iter().map(fall).collect()
    }

    /// Whether the Internet shows exactly this prefix: whether a peer of this routing domain announces
    /// it. What a router itself uses or announces does not count.
    #[must_use]
    pub fn is_visible(&self, domain: &str, prefix: &Prefix) -> bool {
        let Some(domain) = self.domain(domain) else { return false };
        let believes = |peer: &&Peer| peer.domain == domain && peer.header.rib_view.is_adj_rib_in();
        let (mut peers, family) = (self.peers.iter().filter(believes), prefix.family());
        self.find(prefix).is_some_and(|id| peers.any(|peer| peer.routes(family).holds(id)))
    }

    /// Whether a peer holds a route that was not told since its session, or who tells of it, began anew.
    #[must_use]
    pub fn is_stale(&self, peer: PeerId, prefix: &Prefix, path_id: Option<u32>) -> bool {
        let held = self.peers.get(peer as usize).zip(self.find(prefix));
        let mut is_stale = false;
        if let Some((peer, id)) = held {
            peer.routes(prefix.family()).of_prefix(id, |held| {
                is_stale |= held.path_id == path_id && held.is_stale;
            });
        }
        is_stale
    }

    /// Every route of the prefixes that `wanted` names, by prefix, peer and path identifier.
    pub fn for_each(&self, wanted: impl Fn(&Prefix) -> bool, mut visit: impl FnMut(HeldRoute<'_>)) {
        let mut peers: Vec<&Peer> = self.peers.iter().collect();
        peers.sort_unstable_by_key(|peer| &peer.header);
        let ipv4 = self.ipv4.iter().filter(|(prefix, _)| wanted(prefix));
        let ipv6 = self.ipv6.iter().filter(|(prefix, _)| wanted(prefix));
        let mut prefixes: Vec<(Prefix, u32)> = ipv4.chain(ipv6).collect();
        prefixes.sort_unstable();
        for (prefix, id) in prefixes {
            for peer in &peers {
                peer.routes(prefix.family()).of_prefix(
                    id,
                    |Held { path_id, attributes, is_stale, .. }| {
                        if let Some(attributes) = self.attributes.get(attributes) {
                            let peer = &peer.header;
                            visit(HeldRoute { prefix, peer, path_id, attributes, is_stale });
                        }
                    },
                );
            }
        }
    }

    /// The route without path identifier that a peer holds for a prefix.
    #[must_use]
    pub fn route_at(&self, peer: PeerId, prefix: &Prefix) -> Option<&Arc<PathAttributes>> {
        let routes = self.peers.get(peer as usize)?.routes(prefix.family());
        self.attributes.get(routes.plain(self.find(prefix)?)?)
    }

    /// Every route of one prefix in a routing domain, by peer and path identifier.
    #[must_use]
    pub fn routes_of(&self, domain: &str, prefix: &Prefix) -> Vec<(PeerId, HeldRoute<'_>)> {
        let mut found = Vec::new();
        let Some((id, domain)) = self.find(prefix).zip(self.domain(domain)) else { return found };
        let peers = (0..).zip(&self.peers).filter(|(_, peer)| peer.domain == domain);
        for (number, peer) in peers {
            peer.routes(prefix.family()).of_prefix(id, |held| {
                let Held { path_id, attributes, is_stale, .. } = held;
                if let Some(attributes) = self.attributes.get(attributes) {
                    let (prefix, peer) = (*prefix, &peer.header);
                    let route = HeldRoute { prefix, peer, path_id, attributes, is_stale };
                    found.push((number, route));
                }
            });
        }
        found
    }

    /// What it holds and what that costs.
    #[must_use]
    pub fn memory(&self) -> Memory {
        let routes = || self.peers.iter().flat_map(|peer| [&peer.ipv4, &peer.ipv6]);
        Memory {
            prefixes: (self.ipv4.len() + self.ipv6.len()) as u64,
            routes: self.routes,
            attribute_sets: self.attributes.len() as u64,
            bytes_columns: routes().map(|routes| routes.bytes_column() as u64).sum(),
            bytes_paths: routes().map(|routes| routes.bytes_paths() as u64).sum(),
            bytes_prefix_table: (self.ipv4.bytes() + self.ipv6.bytes()) as u64,
            bytes_attributes: self.attributes.bytes() as u64,
        }
    }
}

impl<A: Address> Part<'_, A> {
    /// None where there is no room.
    fn apply(
        self,
        prefix: &Prefix,
        path_id: Option<u32>,
        route: Option<Arc<PathAttributes>>,
    ) -> Option<RouteChange> {
        match route {
            Some(route) => self.announce(prefix, path_id, route),
            None => Some(self.withdraw(prefix, path_id)),
        }
    }

    fn announce(
        self,
        prefix: &Prefix,
        path_id: Option<u32>,
        route: Arc<PathAttributes>,
    ) -> Option<RouteChange> {
        let known = self.prefixes.find(prefix);
        if !self.has_room && !known.is_some_and(|id| self.routes.holds_path(id, path_id)) {
            return None;
        }
        let attributes = self.attributes.intern(&route)?;
        let Some(id) = known.or_else(|| self.prefixes.insert(prefix)) else {
            self.attributes.release(attributes);
            return None;
        };
        let before = match self.routes.set(id, path_id, attributes, self.prefixes.ids()) {
            Some(before) => self.attributes.release(before),
            None => {
                self.prefixes.hold(id);
                None
            }
        };
        Some(RouteChange { before, after: Some(route) })
    }

    fn withdraw(self, prefix: &Prefix, path_id: Option<u32>) -> RouteChange {
        let held = self.prefixes.find(prefix).and_then(|id| {
            let attributes = self.routes.remove(id, path_id)?;
            self.prefixes.release(id);
            self.attributes.release(attributes)
        });
        RouteChange { before: held, after: None }
    }
}

/// Routes by prefix and path identifier, in no order.
fn named<A: Address>(
    prefixes: &PrefixTable<A>,
    held: impl Iterator<Item = Held>,
) -> Vec<(Prefix, Option<u32>)> {
    held.filter_map(|held| Some((prefixes.prefix(held.prefix)?, held.path_id))).collect()
}
