//! A larger Internet: a seed in, some thousand ASes with their relations out.
//!
//! A clique, carriers that buy from it, regional networks, stubs that buy from them by preferential
//! attachment, content networks; exchanges at which members peer; companies with two numbers. Some
//! networks and links are younger than a year: a relationship file of last year does not know them
//! ([`super::trial`] degrades it further). Numbers and prefixes are such as are allocated, so that no
//! rule about bogons sees the whole world; they mean nobody.
//!
//! Who believes what is [`spread`].

pub mod spread;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use schemas::bgp::Asn;

use super::random::Random;
use super::topology::Relation;

/// The place of an AS.
pub type Node = u32;

const CLIQUE: u32 = 10;
const CARRIERS: u32 = 30;
const REGIONALS: u32 = 140;
const STUBS: u32 = 900;
const CONTENT: u32 = 24;
/// Parts of the world; who is of one part deals with each other.
const REGIONS: u64 = 6;
const EXCHANGES: u64 = 9;

/// What an AS lives from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// Buys from nobody.
    Clique,
    /// Buys from the clique, sells to regional networks.
    Carrier,
    /// Sells to stubs.
    Regional,
    /// Sells to nobody, peers at several exchanges.
    Content,
    /// Sells to nobody.
    Stub,
}

/// One end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Who.
    pub to: Node,
    /// What it is to us.
    pub relation: Relation,
    /// Whether a file of last year cannot know it.
    pub is_young: bool,
}

/// One AS.
#[derive(Clone, Debug)]
pub struct System {
    /// Its number.
    pub asn: Asn,
    /// What it lives from.
    pub rank: Rank,
    /// Its part of the world.
    pub region: u64,
    /// Who runs it.
    pub company: u32,
    /// Its links.
    pub links: Vec<Link>,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Internet {
    systems: Vec<System>,
    by_asn: BTreeMap<Asn, Node>,
}

impl Internet {
    /// Grows one.
    #[must_use]
    pub fn grow(random: &mut Random) -> Self {
        let mut internet = Self::default();
        let ranks = [
            (Rank::Clique, CLIQUE),
            (Rank::Carrier, CARRIERS),
            (Rank::Regional, REGIONALS),
            (Rank::Content, CONTENT),
            (Rank::Stub, STUBS),
        ];
        for (rank, count) in ranks {
            for _ in 0..count {
                internet.add(rank, random);
            }
        }
        internet.link_transit(random);
        internet.link_exchanges(random);
        internet.marry(random);
        internet
    }

    /// A number that nobody has, as those of two and of four octets are allocated.
    #[must_use]
    pub fn free_number(&self, random: &mut Random) -> Asn {
        loop {
            let asn = match random.chance(700) {
                true => Asn(random.between(1_000, 62_000) as u32),
                false => Asn(random.between(131_100, 398_000) as u32),
            };
            if asn != Asn::TRANS && !self.by_asn.contains_key(&asn) {
                return asn;
            }
        }
    }

    /// Another AS without links.
    pub fn add(&mut self, rank: Rank, random: &mut Random) -> Node {
        let asn = self.free_number(random);
        let node = self.systems.len() as Node;
        self.by_asn.insert(asn, node);
        let region = random.below(REGIONS);
        self.systems.push(System { asn, rank, region, company: node, links: Vec::new() });
        node
    }

    fn link_transit(&mut self, random: &mut Random) {
        let (clique, carriers) = (self.of(Rank::Clique), self.of(Rank::Carrier));
        for (place, one) in clique.iter().enumerate() {
            for other in clique.iter().skip(place + 1) {
                self.link(*one, *other, Relation::Peer, false);
            }
        }
        for (place, one) in carriers.iter().enumerate() {
            self.buy(*one, &clique, random.between(2, 3), random);
            for other in carriers.iter().skip(place + 1) {
                if random.chance(220) {
                    let is_young = random.chance(60);
                    self.link(*one, *other, Relation::Peer, is_young);
                }
            }
        }
        let above: Vec<Node> = clique.iter().chain(&carriers).copied().collect();
        for regional in self.of(Rank::Regional) {
            self.buy(regional, &above, random.between(2, 3), random);
        }
        let regionals = self.of(Rank::Regional);
        let sellers: Vec<Node> = above.iter().skip(4).chain(&regionals).copied().collect();
        for content in self.of(Rank::Content) {
            self.buy(content, &above, random.between(2, 4), random);
        }
        for stub in self.of(Rank::Stub) {
            let count = [1, 1, 2, 2, 2, 3].get(random.below(6) as usize).copied().unwrap_or(1);
            self.buy(stub, &sellers, count, random);
        }
    }

    /// Buys from so many: the busier of three drawn, mostly of the own part of the world.
    fn buy(&mut self, buyer: Node, sellers: &[Node], count: u64, random: &mut Random) {
        let region = self.get(buyer).map_or(0, |system| system.region);
        let is_young_network =
            self.get(buyer).is_some_and(|system| system.rank == Rank::Stub) && random.chance(40);
        for place in 0..count {
            let drawn: Vec<Node> = (0..12)
                .filter_map(|_| random.pick(sellers).copied())
                .filter(|seller| *seller != buyer)
                .collect();
            let is_near = |seller: &&Node| {
                self.get(**seller).is_some_and(|s| s.region == region || s.rank == Rank::Clique)
            };
            let near: Vec<Node> = drawn.iter().filter(is_near).take(3).copied().collect();
            let from = if near.is_empty() || random.chance(80) { &drawn } else { &near };
            let busiest =
                from.iter().take(3).max_by_key(|seller| (self.degree(**seller), **seller));
            if let Some(seller) = busiest.copied() {
                let is_young = is_young_network || place > 0 && random.chance(30);
                self.link(seller, buyer, Relation::Customer, is_young);
            }
        }
    }

    /// Members of an exchange peer with a part of each other.
    fn link_exchanges(&mut self, random: &mut Random) {
        for exchange in 0..EXCHANGES {
            let region = exchange % REGIONS;
            let members: Vec<Node> = (0..self.systems.len() as Node)
                .filter(|node| {
                    let Some(system) = self.get(*node) else { return false };
                    let is_near = system.region == region;
                    random.chance(match (system.rank, is_near) {
                        (Rank::Regional, true) => 450,
                        (Rank::Carrier, _) => 200,
                        (Rank::Content, _) => 500,
                        (Rank::Stub, true) => 90,
                        (Rank::Regional, false) => 30,
                        _ => 0,
                    })
                })
                .collect();
            for (place, one) in members.iter().enumerate() {
                for other in members.iter().skip(place + 1) {
                    if random.chance(260) {
                        let is_young = random.chance(80);
                        self.link(*one, *other, Relation::Peer, is_young);
                    }
                }
            }
        }
    }

    /// One company in thirty has two numbers; half of these buy from each other.
    fn marry(&mut self, random: &mut Random) {
        let mut small = self.of(Rank::Stub);
        small.extend(self.of(Rank::Regional));
        for _ in 0..small.len() / 30 {
            let (Some(elder), Some(younger)) =
                (random.pick(&small).copied(), random.pick(&small).copied())
            else {
                return;
            };
            self.make_siblings(elder, younger);
            if random.chance(500) {
                self.link(elder, younger, Relation::Customer, false);
            }
        }
    }

    /// Gives two ASes to one company.
    pub fn make_siblings(&mut self, elder: Node, younger: Node) {
        let company = self.get(elder).map(|system| system.company);
        if let Some((system, company)) = self.systems.get_mut(younger as usize).zip(company) {
            system.company = company;
        }
    }

    /// Links two ASes once; `to` is `relation` to `from`.
    pub fn link(&mut self, from: Node, to: Node, relation: Relation, is_young: bool) {
        if from == to || self.relation(from, to).is_some() {
            return;
        }
        let back = match relation {
            Relation::Customer => Relation::Provider,
            Relation::Peer => Relation::Peer,
            Relation::Provider => Relation::Customer,
        };
        for (at, to, relation) in [(from, to, relation), (to, from, back)] {
            if let Some(system) = self.systems.get_mut(at as usize) {
                system.links.push(Link { to, relation, is_young });
            }
        }
    }

    fn degree(&self, node: Node) -> usize {
        self.links(node).len()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.systems.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.systems.is_empty()
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, node: Node) -> Option<&System> {
        self.systems.get(node as usize)
    }

    /// Its number; 0 outside.
    #[must_use]
    pub fn asn(&self, node: Node) -> Asn {
        self.get(node).map(|system| system.asn).unwrap_or_default()
    }

    /// Who has a number.
    #[must_use]
    pub fn node(&self, asn: Asn) -> Option<Node> {
        self.by_asn.get(&asn).copied()
    }

    /// Its links.
    #[must_use]
    pub fn links(&self, node: Node) -> &[Link] {
        self.get(node).map_or(&[], |system| &system.links)
    }

    /// All of a rank.
    #[must_use]
    pub fn of(&self, rank: Rank) -> Vec<Node> {
        let all = (0..).zip(&self.systems);
        all.filter(|(_, system)| system.rank == rank).map(|(node, _)| node).collect()
    }

    /// What `to` is to `from`, if they are linked.
    #[must_use]
    pub fn relation(&self, from: Node, to: Node) -> Option<Relation> {
        self.links(from).iter().find(|link| link.to == to).map(|link| link.relation)
    }

    /// The neighbours of one relation.
    #[must_use]
    pub fn related(&self, node: Node, relation: Relation) -> Vec<Node> {
        let links = self.links(node).iter();
        links.filter(|link| link.relation == relation).map(|link| link.to).collect()
    }

    /// Whether two ASes are linked or of one company.
    #[must_use]
    pub fn are_close(&self, a: Node, b: Node) -> bool {
        let company = |node: Node| self.get(node).map(|system| system.company);
        a == b || self.relation(a, b).is_some() || company(a) == company(b)
    }

    /// Everybody who sits below an AS, itself among them.
    #[must_use]
    pub fn cone(&self, node: Node) -> BTreeSet<Node> {
        let mut cone = BTreeSet::from([node]);
        let mut open = vec![node];
        while let Some(at) = open.pop() {
            let below = self.related(at, Relation::Customer);
            open.extend(below.into_iter().filter(|node| cone.insert(*node)));
        }
        cone
    }

    /// Who runs what, as CSV: companies of one number are told too.
    #[must_use]
    pub fn organisations(&self) -> String {
        let mut text = String::from("asn,organisation\n");
        for system in &self.systems {
            let _ = writeln!(text, "{},Company {}", system.asn.0, system.company);
        }
        text
    }
}
