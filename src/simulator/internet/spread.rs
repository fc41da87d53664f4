//! Spread: announcements in, the best route of every AS out, in one pass over the links.
//!
//! The policies are those of [`crate::simulator::propagation`] (Gao and Rexford, 2001). Because all
//! ASes follow them, the answer needs no rounds: routes climb from customer to provider, cross one
//! peering, and descend, each time the shorter first and of equal ones that of the lowest number. A
//! leak is an announcement of the leaker with the rest of its path behind its number, sent to chosen
//! neighbours; a forged path the same with an invented one. Who stands on that tail does not believe it.

use schemas::bgp::Asn;

use super::{Internet, Node};
use crate::simulator::topology::Relation;

/// An AS says that it has a prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// Who.
    pub node: Node,
    /// What it writes behind its own number, the origin last.
    pub tail: Vec<Asn>,
    /// The neighbours it tells; empty for all.
    pub via: Vec<Node>,
    /// How often it writes its number once more.
    pub prepends: u8,
    /// An `AS_SET` that ends the path.
    pub set: Vec<Asn>,
}

impl Source {
    /// An AS that tells all its neighbours of a prefix of its own.
    #[must_use]
    pub fn plain(node: Node) -> Self {
        Self { node, ..Self::default() }
    }
}

/// What is told of a prefix at one time, and who does not listen.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Told {
    /// Who announces it.
    pub sources: Vec<Source>,
    /// Who takes no route for it from anybody.
    pub deaf: Vec<Node>,
}

impl Told {
    /// One plain announcement.
    #[must_use]
    pub fn plain(node: Node) -> Self {
        Self { sources: vec![Source::plain(node)], deaf: Vec::new() }
    }
}

/// How an AS came by its route, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Its own.
    Own,
    /// From a customer.
    Customer,
    /// From a peer.
    Peer,
    /// From a provider.
    Provider,
}

/// The route that an AS holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// How it came.
    pub class: Class,
    /// Its length.
    pub length: u16,
    /// From whom; itself for an own one.
    pub from: Node,
    /// Which announcement.
    source: u16,
}

/// A route on offer, in the order in which it is decided.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Offer {
    to: Node,
    asn: Asn,
    from: Node,
    source: u16,
}

/// The best routes for one prefix.
#[derive(Clone, Debug, Default)]
pub struct Spread {
    told: Told,
    held: Vec<Option<Held>>,
}

impl Spread {
    /// Sends out what is told.
    #[must_use]
    pub fn of(internet: &Internet, told: &Told) -> Self {
        let mut spread = Self { told: told.clone(), held: vec![None; internet.len()] };
        for (number, source) in told.sources.iter().enumerate() {
            let length = source.tail.len() + usize::from(source.prepends);
            let own = Held {
                class: Class::Own,
                length: length as u16,
                from: source.node,
                source: number as u16,
            };
            if let Some(place) = spread.held.get_mut(source.node as usize) {
                *place = Some(own);
            }
        }
        spread.travel(internet, Relation::Provider, Class::Customer);
        spread.cross(internet);
        spread.travel(internet, Relation::Customer, Class::Provider);
        spread
    }

    /// Up or down, the shortest first.
    fn travel(&mut self, internet: &Internet, to: Relation, class: Class) {
        let mut waiting: Vec<Vec<Offer>> = Vec::new();
        for node in 0..internet.len() as Node {
            self.offers(internet, node, to, &mut waiting);
        }
        let mut length = 0;
        while length < waiting.len() {
            let mut offers = waiting.get_mut(length).map(std::mem::take).unwrap_or_default();
            offers.sort_unstable();
            for offer in offers {
                if self.take(offer, length, class, internet) {
                    self.offers(internet, offer.to, to, &mut waiting);
                }
            }
            length += 1;
        }
    }

    fn cross(&mut self, internet: &Internet) {
        let mut waiting = Vec::new();
        for node in 0..internet.len() as Node {
            self.offers(internet, node, Relation::Peer, &mut waiting);
        }
        for (length, mut offers) in waiting.into_iter().enumerate() {
            offers.sort_unstable();
            for offer in offers {
                self.take(offer, length, Class::Peer, internet);
            }
        }
    }

    /// What an AS offers to its neighbours of one relation, by length.
    fn offers(&self, internet: &Internet, from: Node, to: Relation, waiting: &mut Vec<Vec<Offer>>) {
        let Some(held) = self.held(from) else { return };
        let Some(source) = self.told.sources.get(usize::from(held.source)) else { return };
        let is_sold = matches!(held.class, Class::Own | Class::Customer);
        if to != Relation::Customer && !is_sold {
            return;
        }
        let via = if held.class == Class::Own { source.via.as_slice() } else { &[] };
        let length = usize::from(held.length) + 1;
        if waiting.len() <= length {
            waiting.resize(length + 1, Vec::new());
        }
        let Some(place) = waiting.get_mut(length) else { return };
        let asn = internet.asn(from);
        let wanted = internet.links(from).iter().filter(|link| link.relation == to);
        let told = wanted.filter(|link| via.is_empty() || via.contains(&link.to));
        place.extend(told.map(|link| Offer { to: link.to, asn, from, source: held.source }));
    }

    /// Whether an AS that has nothing better takes an offer.
    fn take(&mut self, offer: Offer, length: usize, class: Class, internet: &Internet) -> bool {
        if self.held(offer.to).is_some() || !self.is_believed(offer.to, offer.source, internet) {
            return false;
        }
        let Some(place) = self.held.get_mut(offer.to as usize) else { return false };
        let length = length as u16;
        *place = Some(Held { class, length, from: offer.from, source: offer.source });
        true
    }

    fn is_believed(&self, node: Node, source: u16, internet: &Internet) -> bool {
        let Some(source) = self.told.sources.get(usize::from(source)) else { return false };
        let is_on_tail = !source.tail.is_empty() && source.tail.contains(&internet.asn(node));
        !is_on_tail && !self.told.deaf.contains(&node)
    }

    /// The route that an AS holds.
    #[must_use]
    pub fn held(&self, node: Node) -> Option<&Held> {
        self.held.get(node as usize).and_then(Option::as_ref)
    }

    /// The announcement that a route stems from.
    #[must_use]
    pub fn source(&self, held: &Held) -> Option<&Source> {
        self.told.sources.get(usize::from(held.source))
    }

    /// The ASes on the way to whoever announces it, the holder first.
    #[must_use]
    pub fn hops(&self, node: Node) -> Vec<Node> {
        let mut hops = Vec::new();
        let mut at = node;
        while let Some(held) = self.held(at) {
            hops.push(at);
            if held.class == Class::Own || hops.len() > 64 {
                return hops;
            }
            at = held.from;
        }
        hops
    }

    /// The path that an AS shows, itself first, and the `AS_SET` behind it.
    #[must_use]
    pub fn path(&self, internet: &Internet, node: Node) -> Option<(Vec<Asn>, Vec<Asn>)> {
        let source = self.source(self.held(node)?)?;
        let mut path: Vec<Asn> = self.hops(node).iter().map(|hop| internet.asn(*hop)).collect();
        let own = internet.asn(source.node);
        path.extend(std::iter::repeat_n(own, usize::from(source.prepends)));
        path.extend(&source.tail);
        Some((path, source.set.clone()))
    }

    /// What an AS would try if its route went away, the best first.
    #[must_use]
    pub fn alternatives(&self, internet: &Internet, node: Node) -> Vec<Node> {
        let Some(held) = self.held(node) else { return Vec::new() };
        let mut offers: Vec<(Class, u16, Asn, Node)> = Vec::new();
        for link in internet.links(node).iter().filter(|link| link.to != held.from) {
            let Some(theirs) = self.held(link.to) else { continue };
            let is_sold = matches!(theirs.class, Class::Own | Class::Customer);
            let via = self.source(theirs).map_or(&[][..], |source| &source.via);
            let is_told = theirs.class != Class::Own || via.is_empty() || via.contains(&node);
            let may = (is_sold || link.relation == Relation::Provider) && is_told;
            if !may || theirs.from == node || !self.is_believed(node, theirs.source, internet) {
                continue;
            }
            if self.hops(link.to).contains(&node) {
                continue;
            }
            let class = match link.relation {
                Relation::Customer => Class::Customer,
                Relation::Peer => Class::Peer,
                Relation::Provider => Class::Provider,
            };
            offers.push((class, theirs.length + 1, internet.asn(link.to), link.to));
        }
        offers.sort_unstable();
        offers.into_iter().map(|(.., from)| from).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Rank;
    use super::*;
    use crate::simulator::random::Random;

    /// Upwards, at most once across, then downwards only.
    fn is_valley_free(internet: &Internet, hops: &[Node]) -> bool {
        let mut climbs = true;
        hops.iter().rev().zip(hops.iter().rev().skip(1)).all(|(sender, receiver)| {
            match internet.relation(*sender, *receiver) {
                Some(Relation::Provider) => climbs,
                Some(Relation::Peer) => std::mem::replace(&mut climbs, false),
                Some(Relation::Customer) => {
                    climbs = false;
                    true
                }
                None => false,
            }
        })
    }

    #[test]
    fn everybody_reaches_every_stub_over_a_path_without_a_valley() {
        let internet = Internet::grow(&mut Random::new(1));
        for stub in internet.of(Rank::Stub).into_iter().step_by(101) {
            let spread = Spread::of(&internet, &Told::plain(stub));
            for node in 0..internet.len() as Node {
                let hops = spread.hops(node);
                assert_eq!(hops.last(), Some(&stub));
                assert!(is_valley_free(&internet, &hops), "{hops:?}");
                let length = spread.held(node).unwrap().length;
                assert_eq!(hops.len(), usize::from(length) + 1);
            }
        }
    }

    #[test]
    fn who_stands_on_a_tail_does_not_believe_it() {
        let internet = Internet::grow(&mut Random::new(2));
        let stubs = internet.of(Rank::Stub);
        let (forger, owner) = (stubs[3], stubs[200]);
        let tail = vec![internet.asn(owner)];
        let told = Told { sources: vec![Source { tail, ..Source::plain(forger) }], deaf: vec![] };
        let spread = Spread::of(&internet, &told);
        assert!(spread.held(owner).is_none());
        let (path, _) = spread.path(&internet, internet.of(Rank::Clique)[0]).unwrap();
        assert!(path.ends_with(&[internet.asn(forger), internet.asn(owner)]), "{path:?}");
    }

    #[test]
    fn the_deaf_hear_nothing_and_pass_nothing_on() {
        let internet = Internet::grow(&mut Random::new(3));
        let stub = internet.of(Rank::Stub)[7];
        let deaf = internet.related(stub, Relation::Provider);
        let peers = internet.related(stub, Relation::Peer).len();
        let told = Told { deaf, ..Told::plain(stub) };
        let spread = Spread::of(&internet, &told);
        let held = (0..internet.len() as Node).filter(|node| spread.held(*node).is_some()).count();
        assert!(held <= 1 + peers, "{held} of {peers}");
    }
}
