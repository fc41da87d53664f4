//! The routing state: what each peer holds for each prefix that is ours, as the log left it.
//!
//! Pure: it is told what a peer said and answers what that changed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use schemas::bgp::{PathAttributes, PeerHeader, Prefix};

/// Dense number of a peer within one fold; never leaves the process.
pub type PeerId = u32;

/// What a peer's word altered.
#[derive(Clone, Debug, Default)]
pub struct RouteChange {
    /// The route it held before.
    pub before: Option<Arc<PathAttributes>>,
    /// The route it holds now.
    pub after: Option<Arc<PathAttributes>>,
}

#[derive(Clone, Debug)]
struct Held {
    peer: PeerId,
    path_id: Option<u32>,
    attributes: Arc<PathAttributes>,
}

/// The routes of all peers.
#[derive(Debug, Default)]
pub struct Rib {
    ids: HashMap<Arc<PeerHeader>, PeerId>,
    peers: Vec<Arc<PeerHeader>>,
    routes: BTreeMap<Prefix, Vec<Held>>,
}

impl Rib {
    /// The number of a peer; a new one for a new peer.
    pub fn peer_id(&mut self, peer: &Arc<PeerHeader>) -> PeerId {
        if let Some(id) = self.ids.get(peer) {
            return *id;
        }
        let id = PeerId::try_from(self.peers.len()).unwrap_or(PeerId::MAX);
        self.peers.push(Arc::clone(peer));
        self.ids.insert(Arc::clone(peer), id);
        id
    }

    /// The peer of that number.
    #[must_use]
    pub fn peer(&self, id: PeerId) -> Option<&Arc<PeerHeader>> {
        self.peers.get(id as usize)
    }

    /// Notes what a peer said of a prefix: a route, or none any more.
    pub fn apply(
        &mut self,
        peer: PeerId,
        prefix: Prefix,
        path_id: Option<u32>,
        route: Option<Arc<PathAttributes>>,
    ) -> RouteChange {
        let held = self.routes.entry(prefix).or_default();
        let place = held.iter().position(|held| held.peer == peer && held.path_id == path_id);
        let before = match (place, &route) {
            (Some(place), Some(route)) => held
                .get_mut(place)
                .map(|held| std::mem::replace(&mut held.attributes, Arc::clone(route))),
            (Some(place), None) => Some(held.swap_remove(place).attributes),
            (None, Some(route)) => {
                held.push(Held { peer, path_id, attributes: Arc::clone(route) });
                None
            }
            (None, None) => None,
        };
        if held.is_empty() {
            self.routes.remove(&prefix);
        }
        RouteChange { before, after: route }
    }

    /// Every prefix for which a peer holds a route, in order.
    #[must_use]
    pub fn held_by(&self, peer: PeerId) -> Vec<(Prefix, Option<u32>)> {
        let mut all = Vec::new();
        for (prefix, held) in &self.routes {
            all.extend(held.iter().filter(|h| h.peer == peer).map(|h| (*prefix, h.path_id)));
        }
        all
    }

    /// Whether any peer holds a route for exactly this prefix.
    #[must_use]
    pub fn is_visible(&self, prefix: &Prefix) -> bool {
        self.routes.contains_key(prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use schemas::bgp::{AsPath, Asn, RibView};

    fn peer(number: u8) -> Arc<PeerHeader> {
        Arc::new(PeerHeader {
            collector: "archive".into(),
            router: None,
            address: std::net::Ipv4Addr::new(203, 0, 113, number).into(),
            asn: Asn(64_500 + u32::from(number)),
            rib_view: RibView::AdjRibInPre,
            distinguisher: 0,
            routing_domain: "public".into(),
        })
    }

    proptest! {
        #[test]
        fn it_holds_what_a_plain_map_holds(
            words in prop::collection::vec((0u8..4, 0u8..6, prop::option::of(0u32..2), prop::option::of(0u32..5)), 0..200)
        ) {
            let mut rib = Rib::default();
            let mut plain: BTreeMap<(u8, u8, Option<u32>), u32> = BTreeMap::new();
            for (peer_number, net, path_id, origin) in words {
                let id = rib.peer_id(&peer(peer_number));
                let prefix = Prefix::v4([192, 0, 2, net << 4], 28);
                let route = origin.map(|origin| Arc::new(PathAttributes {
                    as_path: AsPath::sequence([origin]), ..PathAttributes::default()
                }));
                let change = rib.apply(id, prefix, path_id, route);
                let key = (peer_number, net, path_id);
                let before = match origin {
                    Some(origin) => plain.insert(key, origin),
                    None => plain.remove(&key),
                };
                let held = change.before.and_then(|route| route.as_path.origin()).map(|asn| asn.0);
                prop_assert_eq!(held, before);
            }
            for number in 0..4 {
                let id = rib.peer_id(&peer(number));
                let mut held = rib.held_by(id);
                held.sort();
                let mut expected: Vec<_> = plain
                    .keys()
                    .filter(|(p, ..)| *p == number)
                    .map(|(_, net, path_id)| (Prefix::v4([192, 0, 2, net << 4], 28), *path_id))
                    .collect();
                expected.sort();
                prop_assert_eq!(held, expected);
            }
        }
    }
}
