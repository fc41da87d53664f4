//! The synthetic Internet: a plan and a seed in, some hundreds of ASes with their relations out.
//!
//! Three tiers: a clique of tier-1 networks, regional networks that buy from them and peer with
//! each other, and stubs that buy from the regional networks near them. Named ASes stand where the
//! plan puts them and get no chance links, so that a story knows its ground; the anonymous rest
//! takes private numbers from 4200000000. Siblings are ASes of one organisation; such a pair may
//! also be customer and provider, it has no link type of its own.
//!
//! No routes here: [`super::propagation`] sends them over these links.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use schemas::bgp::Asn;

use super::geography::{METROS, Metro, SEATTLE, distance_km};
use super::random::Random;

/// First number of the anonymous ASes.
pub const ANONYMOUS_FIRST: u32 = 4_200_000_000;

/// The place of an AS in its topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AsIndex(u16);

impl AsIndex {
    /// As an index of slices that run parallel to the topology.
    #[must_use]
    pub const fn usize(self) -> usize {
        self.0 as usize
    }
}

/// How high an AS stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// Buys from nobody, peers with all of its kind.
    One,
    /// Buys from tier one, sells to stubs.
    Two,
    /// Sells to nobody.
    Stub,
}

/// What a neighbour is to an AS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Relation {
    /// It pays us.
    Customer,
    /// Neither pays.
    Peer,
    /// We pay it.
    Provider,
}

/// One end of a link, seen from the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Who.
    pub index: AsIndex,
    /// What it is to us.
    pub relation: Relation,
}

/// One AS.
#[derive(Clone, Debug)]
pub struct AutonomousSystem {
    /// Its number.
    pub asn: Asn,
    /// How high it stands.
    pub tier: Tier,
    /// Where it lives.
    pub metro: &'static Metro,
    /// Who runs it; siblings share it.
    pub organisation: String,
    /// Whether the plan names it.
    pub named: bool,
    /// Its links.
    pub neighbours: Vec<Neighbour>,
}

/// An AS that a story names.
#[derive(Clone, Debug)]
pub struct NamedAs {
    /// Its number.
    pub asn: u32,
    /// How high it stands.
    pub tier: Tier,
    /// Where it lives.
    pub metro: &'static Metro,
    /// Who runs it.
    pub organisation: &'static str,
    /// From whom it buys.
    pub providers: &'static [u32],
    /// With whom it peers.
    pub peers: &'static [u32],
}

/// What a topology is grown from.
#[derive(Clone, Debug)]
pub struct TopologyPlan {
    /// Networks in the clique, the named ones among them.
    pub tier_one: u32,
    /// Anonymous regional networks.
    pub tier_two: u32,
    /// Anonymous stubs.
    pub stubs: u32,
    /// The ASes a story names.
    pub named: Vec<NamedAs>,
}

/// All ASes and their links.
#[derive(Clone, Debug, Default)]
pub struct Topology {
    systems: Vec<AutonomousSystem>,
    by_asn: BTreeMap<Asn, AsIndex>,
}

impl Topology {
    /// Grows the topology of a plan.
    #[must_use]
    pub fn grow(plan: &TopologyPlan, random: &mut Random) -> Self {
        let mut topology = Self::default();
        for named in &plan.named {
            topology.add(Asn(named.asn), named.tier, named.metro, named.organisation.into(), true);
        }
        let named_clique = topology.of_tier(Tier::One).len() as u32;
        for _ in named_clique..plan.tier_one {
            topology.add_anonymous(Tier::One, random);
        }
        for _ in 0..plan.tier_two {
            topology.add_anonymous(Tier::Two, random);
        }
        for _ in 0..plan.stubs {
            topology.add_anonymous(Tier::Stub, random);
        }
        topology.link_named(plan);
        topology.link_clique();
        topology.link_tier_two(random);
        topology.link_stubs(random);
        topology.marry_siblings();
        topology
    }

    fn add(
        &mut self,
        asn: Asn,
        tier: Tier,
        metro: &'static Metro,
        organisation: String,
        named: bool,
    ) {
        let index = AsIndex(u16::try_from(self.systems.len()).unwrap_or(u16::MAX));
        self.by_asn.insert(asn, index);
        let neighbours = Vec::new();
        self.systems.push(AutonomousSystem { asn, tier, metro, organisation, named, neighbours });
    }

    fn add_anonymous(&mut self, tier: Tier, random: &mut Random) {
        let taken = self.systems.iter().filter(|system| !system.named).count() as u32;
        let asn = ANONYMOUS_FIRST + taken;
        let metro = random.pick(METROS).copied().unwrap_or(&SEATTLE);
        self.add(Asn(asn), tier, metro, format!("Network {asn}"), false);
    }

    fn link_named(&mut self, plan: &TopologyPlan) {
        for named in &plan.named {
            let Some(index) = self.index_of(Asn(named.asn)) else {
                continue;
            };
            for provider in named.providers {
                if let Some(provider) = self.index_of(Asn(*provider)) {
                    self.link(provider, index, Relation::Customer);
                }
            }
            for peer in named.peers {
                if let Some(peer) = self.index_of(Asn(*peer)) {
                    self.link(peer, index, Relation::Peer);
                }
            }
        }
    }

    fn link_clique(&mut self) {
        let clique = self.of_tier(Tier::One);
        for (place, left) in clique.iter().enumerate() {
            for right in clique.iter().skip(place + 1) {
                self.link(*left, *right, Relation::Peer);
            }
        }
    }

    /// Two or three providers of the clique for each; peers are likelier in the same metro.
    fn link_tier_two(&mut self, random: &mut Random) {
        let clique = self.of_tier(Tier::One);
        let regionals = self.anonymous(Tier::Two);
        for (place, left) in regionals.iter().enumerate() {
            for _ in 0..random.between(2, 3) {
                if let Some(provider) = random.pick(&clique) {
                    self.link(*provider, *left, Relation::Customer);
                }
            }
            for right in regionals.iter().skip(place + 1) {
                let permille = if self.km(*left, *right) == 0 { 500 } else { 90 };
                if random.chance(permille) {
                    self.link(*left, *right, Relation::Peer);
                }
            }
        }
    }

    /// One to three providers for each stub, each the nearest of four drawn.
    fn link_stubs(&mut self, random: &mut Random) {
        let regionals = self.anonymous(Tier::Two);
        for stub in self.anonymous(Tier::Stub) {
            for _ in 0..random.between(1, 3) {
                let drawn: Vec<AsIndex> =
                    (0..4).filter_map(|_| random.pick(&regionals).copied()).collect();
                let nearest =
                    drawn.into_iter().min_by_key(|provider| (self.km(*provider, stub), *provider));
                if let Some(provider) = nearest {
                    self.link(provider, stub, Relation::Customer);
                }
            }
        }
    }

    /// Every twentieth stub belongs to the company of the stub before it; every second such pair
    /// is linked too.
    fn marry_siblings(&mut self) {
        let stubs = self.anonymous(Tier::Stub);
        for (place, pair) in stubs.chunks(20).enumerate() {
            let [elder, younger, ..] = pair else { continue };
            let organisation = self.get(*elder).map(|system| system.organisation.clone());
            if let Some((system, organisation)) =
                self.systems.get_mut(younger.usize()).zip(organisation)
            {
                system.organisation = organisation;
            }
            if place % 2 == 1 {
                self.link(*elder, *younger, Relation::Customer);
            }
        }
    }

    /// Links two ASes once; `to` is `relation` to `from`.
    fn link(&mut self, from: AsIndex, to: AsIndex, relation: Relation) {
        if from == to || self.relation(from, to).is_some() {
            return;
        }
        let back = match relation {
            Relation::Customer => Relation::Provider,
            Relation::Peer => Relation::Peer,
            Relation::Provider => Relation::Customer,
        };
        for (at, index, relation) in [(from, to, relation), (to, from, back)] {
            if let Some(system) = self.systems.get_mut(at.usize()) {
                system.neighbours.push(Neighbour { index, relation });
            }
        }
    }

    fn km(&self, left: AsIndex, right: AsIndex) -> u32 {
        match (self.get(left), self.get(right)) {
            (Some(left), Some(right)) => distance_km(left.metro.point(), right.metro.point()),
            _ => u32::MAX,
        }
    }

    fn anonymous(&self, tier: Tier) -> Vec<AsIndex> {
        let of_tier = self.of_tier(tier).into_iter();
        of_tier.filter(|index| self.get(*index).is_some_and(|system| !system.named)).collect()
    }

    /// All ASes of a tier.
    #[must_use]
    pub fn of_tier(&self, tier: Tier) -> Vec<AsIndex> {
        self.indices()
            .filter(|index| self.get(*index).is_some_and(|system| system.tier == tier))
            .collect()
    }

    /// How many ASes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.systems.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.systems.is_empty()
    }

    /// All places, in order.
    pub fn indices(&self) -> impl Iterator<Item = AsIndex> + use<> {
        (0..u16::try_from(self.systems.len()).unwrap_or(u16::MAX)).map(AsIndex)
    }

    /// The AS at a place.
    #[must_use]
    pub fn get(&self, index: AsIndex) -> Option<&AutonomousSystem> {
        self.systems.get(index.usize())
    }

    /// The number of the AS at a place; 0 outside.
    #[must_use]
    pub fn asn(&self, index: AsIndex) -> Asn {
        self.get(index).map(|system| system.asn).unwrap_or_default()
    }

    /// Where a number stands.
    #[must_use]
    pub fn index_of(&self, asn: Asn) -> Option<AsIndex> {
        self.by_asn.get(&asn).copied()
    }

    /// The links of an AS.
    #[must_use]
    pub fn neighbours(&self, index: AsIndex) -> &[Neighbour] {
        self.get(index).map_or(&[], |system| &system.neighbours)
    }

    /// What `to` is to `from`, if they are linked.
    #[must_use]
    pub fn relation(&self, from: AsIndex, to: AsIndex) -> Option<Relation> {
        let found = self.neighbours(from).iter().find(|neighbour| neighbour.index == to);
        found.map(|neighbour| neighbour.relation)
    }

    /// The neighbours of one relation, by number.
    #[must_use]
    pub fn related(&self, asn: Asn, relation: Relation) -> Vec<Asn> {
        let Some(index) = self.index_of(asn) else {
            return Vec::new();
        };
        let links =
            self.neighbours(index).iter().filter(|neighbour| neighbour.relation == relation);
        let mut found: Vec<Asn> = links.map(|neighbour| self.asn(neighbour.index)).collect();
        found.sort_unstable();
        found
    }

    /// The AS at which a path (nearest AS first) stops being valley-free: it passed a route from a
    /// provider or peer to a provider or peer, or a link of it does not exist. None for good paths.
    #[must_use]
    pub fn valley(&self, path: &[Asn]) -> Option<Asn> {
        let mut climbing = true;
        for pair in path.windows(2).rev() {
            let [receiver, sender] = pair else { continue };
            let link = self
                .index_of(*sender)
                .zip(self.index_of(*receiver))
                .and_then(|(sender, receiver)| self.relation(sender, receiver));
            match link {
                Some(Relation::Provider) if climbing => {}
                Some(Relation::Peer) if climbing => climbing = false,
                Some(Relation::Customer) => climbing = false,
                _ if sender == receiver => {}
                _ => return Some(*sender),
            }
        }
        None
    }

    /// The relations as CAIDA's serial-1 text: `provider|customer|-1` and `peer|peer|0`.
    #[must_use]
    pub fn as_relationships(&self) -> String {
        let mut text = String::from(
            "# simulated by peerscope, CAIDA serial-1\n# <provider>|<customer>|-1\n# <peer>|<peer>|0\n",
        );
        for index in self.indices() {
            let asn = self.asn(index).0;
            for neighbour in self.neighbours(index) {
                let other = self.asn(neighbour.index).0;
                let _ = match neighbour.relation {
                    Relation::Customer => writeln!(text, "{asn}|{other}|-1"),
                    Relation::Peer if asn < other => writeln!(text, "{asn}|{other}|0"),
                    _ => Ok(()),
                };
            }
        }
        text
    }

    /// Who runs what, as CSV with a header.
    #[must_use]
    pub fn organisations(&self) -> String {
        let mut text = String::from("asn,organisation\n");
        for system in &self.systems {
            let _ = writeln!(text, "{},{}", system.asn.0, system.organisation);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(seed: u64) -> Topology {
        let plan = TopologyPlan { tier_one: 6, tier_two: 30, stubs: 200, named: Vec::new() };
        Topology::grow(&plan, &mut Random::new(seed))
    }

    #[test]
    fn every_network_below_the_clique_has_a_provider_and_the_clique_has_none() {
        let topology = sample(1);
        assert_eq!(topology.len(), 236);
        for index in topology.indices() {
            let system = topology.get(index).unwrap();
            let providers = topology.related(system.asn, Relation::Provider).len();
            assert_eq!(providers == 0, system.tier == Tier::One, "{}", system.asn);
        }
    }

    #[test]
    fn relations_are_told_once_from_the_provider_and_the_lower_peer() {
        let topology = sample(2);
        let links: usize = topology.indices().map(|index| topology.neighbours(index).len()).sum();
        let text = topology.as_relationships();
        assert_eq!(text.lines().filter(|line| !line.starts_with('#')).count(), links / 2);
    }

    #[test]
    fn some_companies_have_two_networks() {
        let topology = sample(3);
        let mut owners: Vec<String> = topology
            .organisations()
            .lines()
            .skip(1)
            .filter_map(|line| Some(line.split_once(',')?.1.to_owned()))
            .collect();
        owners.sort();
        let all = owners.len();
        owners.dedup();
        assert_eq!(all - owners.len(), 10);
    }

    #[test]
    fn a_path_down_and_up_again_has_its_valley_at_the_customer() {
        let topology = sample(4);
        let customer = topology.anonymous(Tier::Two)[0];
        let providers = topology.related(topology.asn(customer), Relation::Provider);
        let path = [providers[0], topology.asn(customer), providers[1]];
        assert_eq!(topology.valley(&path), Some(path[1]));
        assert_eq!(topology.valley(&path[..2]), None);
        assert_eq!(
            topology.valley(&[Asn(1), Asn(2)]),
            Some(Asn(2)),
            "an unknown link is no good path"
        );
    }
}
