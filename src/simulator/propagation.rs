//! Route propagation: announcements in, the best route of every AS out (Gao and Rexford, 2001).
//!
//! Every AS prefers a route of a customer to one of a peer to one of a provider, then the shorter
//! path, then the neighbour with the lowest number. Routes of customers go to everybody, others to
//! customers only; one leaker, if there is one, passes on everything. ASes decide in rounds until
//! nobody changes its mind. An announcement may carry a forged tail behind its real origin and may
//! be sent to chosen neighbours only.
//!
//! There is no time here: how a change spreads is [`super::vantage`]'s matter.

use schemas::bgp::Asn;

use super::topology::{AsIndex, Relation, Topology};

/// Rounds after which ASes must have made up their minds; real topologies need about ten.
const ROUNDS_MAX: usize = 64;

/// An AS says that a prefix is its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Announcement {
    /// Who says so.
    pub origin: AsIndex,
    /// Numbers it writes behind its own, the pretended origin last.
    pub forged_tail: Vec<Asn>,
    /// The neighbours it tells; empty for all.
    pub via: Vec<AsIndex>,
}

/// How an AS came by a route, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RouteClass {
    /// Announced by itself.
    Own,
    /// From a customer.
    Customer,
    /// From a peer.
    Peer,
    /// From a provider.
    Provider,
}

/// A route as one AS holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// How it came.
    pub class: RouteClass,
    /// The ASes after the holder, the neighbour first and the real origin last.
    pub hops: Vec<AsIndex>,
    /// Which announcement it stems from.
    announcement: u16,
}

/// The best routes of all ASes for one prefix.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    announcements: Vec<Announcement>,
    leaker: Option<AsIndex>,
    best: Vec<Option<Route>>,
}

/// A route on offer: its rank (lowest wins) and where it comes from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Offer {
    class: RouteClass,
    length: usize,
    asn: Asn,
    from: AsIndex,
}

/// Sends announcements through a topology.
#[must_use]
pub fn propagate(
    topology: &Topology,
    announcements: &[Announcement],
    leaker: Option<AsIndex>,
) -> Routes {
    let mut routes =
        Routes { announcements: announcements.to_vec(), leaker, best: vec![None; topology.len()] };
    let mut dirty = vec![false; topology.len()];
    for (number, announcement) in announcements.iter().enumerate() {
        let own = Route { class: RouteClass::Own, hops: Vec::new(), announcement: number as u16 };
        routes.put(announcement.origin, Some(own));
        mark(topology, announcement.origin, &mut dirty);
    }
    for _ in 0..ROUNDS_MAX {
        let asked = std::mem::replace(&mut dirty, vec![false; topology.len()]);
        let changes: Vec<(AsIndex, Option<Route>)> = topology
            .indices()
            .zip(&asked)
            .filter(|(_, asked)| **asked)
            .filter_map(|(index, _)| routes.reconsider(topology, index).map(|route| (index, route)))
            .collect();
        if changes.is_empty() {
            break;
        }
        for (index, route) in changes {
            routes.put(index, route);
            mark(topology, index, &mut dirty);
        }
    }
    routes
}

fn mark(topology: &Topology, index: AsIndex, dirty: &mut [bool]) {
    for neighbour in topology.neighbours(index) {
        if let Some(flag) = dirty.get_mut(neighbour.index.usize()) {
            *flag = true;
        }
    }
}

impl Routes {
    fn put(&mut self, index: AsIndex, route: Option<Route>) {
        if let Some(place) = self.best.get_mut(index.usize()) {
            *place = route;
        }
    }

    /// The best route of an AS.
    #[must_use]
    pub fn best(&self, index: AsIndex) -> Option<&Route> {
        self.best.get(index.usize()).and_then(Option::as_ref)
    }

    /// What an AS would change its mind to, if it would.
    fn reconsider(&self, topology: &Topology, index: AsIndex) -> Option<Option<Route>> {
        let now = self.best(index);
        if now.is_some_and(|route| route.class == RouteClass::Own) {
            return None;
        }
        let offers = topology.neighbours(index).iter();
        let best =
            offers.filter_map(|neighbour| self.offer(topology, neighbour.index, index)).min();
        let next = best.and_then(|offer| self.accept(offer));
        (now != next.as_ref()).then_some(next)
    }

    /// What `from` offers to `to`: nothing if its policy forbids it or `to` is on the path.
    fn offer(&self, topology: &Topology, from: AsIndex, to: AsIndex) -> Option<Offer> {
        let route = self.best(from)?;
        let sold_to = topology.relation(from, to)?;
        let announcement = self.announcements.get(usize::from(route.announcement))?;
        let allowed = match route.class {
            RouteClass::Own => announcement.via.is_empty() || announcement.via.contains(&to),
            RouteClass::Customer => true,
            RouteClass::Peer | RouteClass::Provider => {
                sold_to == Relation::Customer || self.leaker == Some(from)
            }
        };
        let looped =
            route.hops.contains(&to) || announcement.forged_tail.contains(&topology.asn(to));
        if !allowed || looped {
            return None;
        }
        let class = match sold_to {
            Relation::Customer => RouteClass::Provider,
            Relation::Peer => RouteClass::Peer,
            Relation::Provider => RouteClass::Customer,
        };
        let length = route.hops.len() + announcement.forged_tail.len();
        Some(Offer { class, length, asn: topology.asn(from), from })
    }

    fn accept(&self, offer: Offer) -> Option<Route> {
        let theirs = self.best(offer.from)?;
        let hops = std::iter::once(offer.from).chain(theirs.hops.iter().copied()).collect();
        Some(Route { class: offer.class, hops, announcement: theirs.announcement })
    }

    /// The routes an AS could fall back on, the best one left out, in the order it would try them.
    #[must_use]
    pub fn alternatives(&self, topology: &Topology, index: AsIndex) -> Vec<Route> {
        let offers = topology.neighbours(index).iter();
        let mut offers: Vec<Offer> =
            offers.filter_map(|neighbour| self.offer(topology, neighbour.index, index)).collect();
        offers.sort_unstable();
        let chosen = self.best(index).and_then(|route| route.hops.first());
        let rest = offers.iter().filter(|offer| Some(&offer.from) != chosen);
        rest.filter_map(|offer| self.accept(*offer)).collect()
    }

    /// The path that an AS shows to a collector for a route it holds: itself first, prepended by
    /// nobody, the forged tail last.
    #[must_use]
    pub fn path(&self, topology: &Topology, holder: AsIndex, route: &Route) -> Vec<Asn> {
        let tail = self.announcements.get(usize::from(route.announcement));
        let hops = std::iter::once(holder).chain(route.hops.iter().copied());
        let forged =
            tail.into_iter().flat_map(|announcement| announcement.forged_tail.iter().copied());
        hops.map(|hop| topology.asn(hop)).chain(forged).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::random::Random;
    use super::super::topology::{Tier, TopologyPlan};
    use super::*;

    fn sample(seed: u64) -> Topology {
        let plan = TopologyPlan { tier_one: 6, tier_two: 30, stubs: 120, named: Vec::new() };
        Topology::grow(&plan, &mut Random::new(seed))
    }

    fn plain(origin: AsIndex) -> Announcement {
        Announcement { origin, forged_tail: Vec::new(), via: Vec::new() }
    }

    #[test]
    fn every_as_has_a_valley_free_path_to_every_stub_and_so_are_its_alternatives() {
        for seed in 0..3 {
            let topology = sample(seed);
            for origin in topology.of_tier(Tier::Stub).into_iter().step_by(9) {
                let routes = propagate(&topology, &[plain(origin)], None);
                for index in topology.indices() {
                    let best = routes.best(index).expect("a route").clone();
                    for route in routes.alternatives(&topology, index).into_iter().chain([best]) {
                        let path = routes.path(&topology, index, &route);
                        assert_eq!(topology.valley(&path), None, "{path:?}");
                    }
                }
            }
        }
    }

    /// The leaker passes a route of its provider to its other provider, which prefers it: a route
    /// of a customer.
    #[test]
    fn a_leak_shows_its_valley_at_the_leaker() {
        let topology = sample(5);
        let leaker = *topology.of_tier(Tier::Two).first().unwrap();
        let mut valleys = 0;
        for origin in topology.of_tier(Tier::Stub) {
            let routes = propagate(&topology, &[plain(origin)], Some(leaker));
            for index in topology.indices() {
                let path = routes.path(&topology, index, routes.best(index).unwrap());
                if let Some(at) = topology.valley(&path) {
                    assert_eq!(at, topology.asn(leaker), "{path:?}");
                    valleys += 1;
                }
            }
        }
        assert!(valleys > 100, "{valleys}");
    }

    #[test]
    fn a_forged_tail_ends_the_path_and_its_owner_does_not_believe_it() {
        let topology = sample(6);
        let stubs = topology.of_tier(Tier::Stub);
        let (attacker, owner) = (stubs[3], stubs[40]);
        let forged = Announcement { forged_tail: vec![topology.asn(owner)], ..plain(attacker) };
        let routes = propagate(&topology, &[forged], None);
        assert!(routes.best(owner).is_none());
        let viewer = topology.of_tier(Tier::One)[0];
        let path = routes.path(&topology, viewer, routes.best(viewer).unwrap());
        assert!(path.ends_with(&[topology.asn(attacker), topology.asn(owner)]), "{path:?}");
    }

    #[test]
    fn an_announcement_to_one_neighbour_reaches_all_through_it() {
        let topology = sample(7);
        let origin = topology
            .of_tier(Tier::Stub)
            .into_iter()
            .find(|stub| topology.neighbours(*stub).len() > 1)
            .unwrap();
        let only = topology.neighbours(origin)[1].index;
        let routes =
            propagate(&topology, &[Announcement { via: vec![only], ..plain(origin) }], None);
        for index in topology.indices().filter(|index| *index != origin && *index != only) {
            let hops = &routes.best(index).unwrap().hops;
            assert_eq!(hops.get(hops.len() - 2), Some(&only));
        }
    }
}
