//! A trial: a seed in, some hours of a larger Internet with one incident of each kind out, as real
//! MRT bytes, with the reference data that its operator has and the labels that a judge needs.
//!
//! - [`kinds`]: which incidents there are and which rules name them; [`hijacks`], [`leaks`] and
//!   [`faults`] put them on the stage.
//! - [`facts`]: what the operator's files know: last year's links, a tenth missing, some wrong.
//! - [`heard`]: what the vantage points tell of it; as bytes by `ingest::encode`.
//! - [`quiet_days`]: days without incidents, their churn measured at a real collector.
//!
//! Each incident has ground and a connection of its own, so that whatever is said of them is about it.

pub mod facts;
pub mod faults;
pub mod heard;
pub mod hijacks;
pub mod kinds;
pub mod leaks;
pub mod quiet_days;

use std::collections::BTreeSet;

use schemas::bgp::{Asn, Prefix};
use schemas::time::{TimeWindow, Timestamp};

use super::internet::spread::{Spread, Told};
use super::internet::{Internet, Node, Rank};
use super::random::Random;
use super::story::START;
use super::topology::Relation;
use heard::Point;
use kinds::{KINDS, Kind};

/// How long a trial lasts after its table.
pub const TRIAL_SECS: i64 = 9_000;
/// How long an incident lasts.
const INCIDENT_SECS: i64 = 1_800;
/// Public vantage points; with the operator's own sessions there are at most 60.
const POINTS: [(Rank, usize); 5] = [
    (Rank::Clique, 6),
    (Rank::Carrier, 10),
    (Rank::Regional, 26),
    (Rank::Content, 4),
    (Rank::Stub, 8),
];
/// How often the actors are drawn anew until a vantage point sees what they do.
const DRAWS_MAX: u32 = 12;
/// Connections to which nothing happens.
const BYSTANDERS: u32 = 12;

/// A part of the address space for one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ground {
    /// All of it.
    pub all: Prefix,
    number: u32,
    is_v6: bool,
}

impl Ground {
    fn new(number: u32, is_v6: bool) -> Self {
        Self { all: Self::cut(number, is_v6, 0, (16, 32)), number, is_v6 }
    }

    /// IPv4 from 20.0.0.0 on, IPv6 from 2a0a:: on; lengths for both.
    fn cut(number: u32, is_v6: bool, third: u8, lengths: (u8, u8)) -> Prefix {
        let [_, _, high, low] = number.to_be_bytes();
        if is_v6 {
            let octets = [0x2a, 0x0a, high, low, third, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            Prefix::v6(octets, lengths.1)
        } else {
            Prefix::v4([20 + high, low, third, 0], lengths.0)
        }
    }

    /// Whether a prefix lies on it.
    #[must_use]
    pub fn holds(&self, prefix: Option<Prefix>) -> bool {
        prefix.is_some_and(|prefix| self.all.covers(&prefix))
    }

    /// What is registered: a /20 or a /36.
    #[must_use]
    pub fn registered(&self) -> Prefix {
        Self::cut(self.number, self.is_v6, 16, (20, 36))
    }

    /// One of its sixteen parts: a /24 or a /40.
    #[must_use]
    pub fn part(&self, number: u8) -> Prefix {
        Self::cut(self.number, self.is_v6, 16 + number % 16, (24, 40))
    }

    /// What lies around it: a /18 or a /34.
    #[must_use]
    pub fn around(&self) -> Prefix {
        Self::cut(self.number, self.is_v6, 0, (18, 34))
    }

    /// What is nobody's beside it.
    #[must_use]
    pub fn beside(&self) -> Prefix {
        Self::cut(self.number, self.is_v6, 128, (20, 36))
    }
}

/// What happens to one prefix, in seconds from the start of the incident.
#[derive(Clone, Debug)]
pub struct Act {
    /// Which.
    pub prefix: Prefix,
    /// What is told of it from when on.
    pub told: Vec<(i64, Told)>,
}

/// An incident as its kind drafts it.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// Whose prefix it is.
    pub owner: Node,
    /// How it is told in calm times.
    pub calm: Told,
    /// What happens.
    pub acts: Vec<Act>,
    /// Who does it, if an AS does.
    pub culprit: Option<Node>,
    /// Who may originate it; the owner where empty.
    pub origins: Vec<Asn>,
    /// An AS that the operator watches.
    pub watched: Option<Node>,
    /// Who attests its providers (ASPA).
    pub attests: Vec<Node>,
    /// Who marks routes (RFC 9234).
    pub marks: Vec<Node>,
    /// Upstreams whose loss is to be told.
    pub expects: Vec<Node>,
    /// The operator's own sessions: primary first.
    pub sessions: Vec<Node>,
    /// How many of these the configuration knows.
    pub sessions_known: usize,
    /// The ASes that ROAs name, if there are any.
    pub roas: Vec<Asn>,
    /// The longest part that the owner's ROAs allow, where they allow any.
    pub roa_max_length: Option<u8>,
}

/// What a kind may look at while it drafts.
pub struct Stage<'a> {
    /// The Internet.
    pub internet: &'a Internet,
    /// Public vantage points.
    pub points: &'a [Node],
    /// Chance.
    pub random: &'a mut Random,
    /// The ground of the next connections; a mass event takes several.
    pub grounds: &'a [Ground],
    /// A stub with a provider at the end of a long chain: owner, way in.
    pub detour: (Node, Node),
}

/// One incident with its label.
#[derive(Clone, Debug)]
pub struct Plot {
    /// What it is; none for a bystander.
    pub kind: Option<&'static Kind>,
    /// Its connection.
    pub connection: String,
    /// Its ground: findings on it are about it.
    pub ground: Ground,
    /// From the first cause to the first remedy.
    pub window: TimeWindow,
    /// Whether any vantage point can tell.
    pub is_visible: bool,
    /// Who did it, by number.
    pub culprit: Option<Asn>,
    /// How it was drafted.
    pub draft: Draft,
}

/// A whole trial.
#[derive(Debug)]
pub struct Trial {
    /// The Internet as it is.
    pub internet: Internet,
    /// Who tells.
    pub points: Vec<Point>,
    /// What happens.
    pub plots: Vec<Plot>,
    /// Who marks routes (RFC 9234).
    pub marks: BTreeSet<Node>,
    /// The first instant after the table.
    pub start: Timestamp,
    /// All chance is drawn from it.
    pub seed: u64,
}

impl Trial {
    /// The trial of a seed, of one kind or of all.
    #[must_use]
    pub fn of(seed: u64, only: Option<&str>) -> Self {
        let mut random = Random::new(seed).fork(77);
        let mut internet = Internet::grow(&mut random);
        let detour = faults::detour(&mut internet, &mut random);
        let public = public_points(&internet, &mut random);
        let start = START;
        let mut trial = Self {
            marks: (0..internet.len() as Node).filter(|_| random.chance(100)).collect(),
            points: public
                .iter()
                .zip(0..)
                .map(|(node, number)| Point::public(&internet, *node).numbered(number))
                .collect(),
            plots: Vec::new(),
            internet,
            start,
            seed,
        };
        let is_v6 = seed % 4 == 3;
        let mut next = 0;
        for (place, kind) in KINDS.iter().enumerate() {
            let mut chance = random.fork(place as u64 + 1);
            if only.is_some_and(|only| only != kind.name) {
                continue;
            }
            let grounds: Vec<Ground> =
                (next..next + kind.prefixes).map(|number| Ground::new(number, is_v6)).collect();
            next += kind.prefixes;
            let drafts = draft(kind, &trial.internet, &public, &mut chance, &grounds, detour);
            trial.stage(kind, drafts, &grounds, &mut chance);
        }
        for _ in 0..BYSTANDERS {
            trial.stand_by(Ground::new(next, is_v6), &mut random);
            next += 1;
        }
        trial
    }

    fn stage(
        &mut self,
        kind: &'static Kind,
        drafts: Drafts,
        grounds: &[Ground],
        random: &mut Random,
    ) {
        let from = self.start.plus_secs(random.between(1_200, 3_000) as i64);
        let window = TimeWindow { start: from, end: from.plus_secs(INCIDENT_SECS) };
        for ((draft, is_visible), ground) in drafts.into_iter().zip(grounds) {
            let connection = format!("{}-{}", kind.name, ground.number);
            for (place, node) in draft.sessions.iter().enumerate() {
                let role = ["primary", "backup"].get(place).copied();
                let role = role.filter(|_| place < draft.sessions_known);
                let point = Point::session(&self.internet, *node, role, ground.registered());
                self.points.push(point.numbered(self.points.len()));
            }
            self.marks.extend(&draft.marks);
            self.plots.push(Plot {
                kind: Some(kind),
                connection,
                ground: *ground,
                window,
                is_visible,
                culprit: draft.culprit.map(|node| self.internet.asn(node)),
                draft,
            });
        }
    }

    fn stand_by(&mut self, ground: Ground, random: &mut Random) {
        let stubs = self.internet.of(Rank::Stub);
        let Some(owner) = random.pick(&stubs).copied() else { return };
        let roas = random.chance(500).then(|| self.internet.asn(owner)).into_iter().collect();
        self.plots.push(Plot {
            kind: None,
            connection: format!("bystander-{}", ground.number),
            ground,
            window: TimeWindow { start: self.start, end: self.start.plus_secs(TRIAL_SECS) },
            is_visible: true,
            culprit: None,
            draft: Draft { owner, calm: Told::plain(owner), roas, ..Draft::default() },
        });
    }
}

/// Drafts, each with whether a vantage point can tell.
type Drafts = Vec<(Draft, bool)>;

/// Draws the actors of a kind until what they do is seen.
fn draft(
    kind: &Kind,
    internet: &Internet,
    points: &[Node],
    random: &mut Random,
    grounds: &[Ground],
    detour: (Node, Node),
) -> Drafts {
    let mut best = Vec::new();
    for _ in 0..DRAWS_MAX {
        let mut stage = Stage { internet, points, random, grounds, detour };
        let Some(drafts) = (kind.stage)(&mut stage) else { continue };
        let drafts: Drafts = drafts
            .into_iter()
            .zip(grounds)
            .map(|(draft, ground)| {
                let is_visible = is_visible(internet, points, &draft, ground);
                (draft, is_visible)
            })
            .collect();
        let is_seen = drafts.iter().any(|(_, is_visible)| *is_visible);
        if is_seen || best.is_empty() {
            best = drafts;
        }
        if is_seen {
            break;
        }
    }
    best
}

/// Whether a public vantage point, or a session, shows something else than in calm times.
fn is_visible(internet: &Internet, points: &[Node], draft: &Draft, ground: &Ground) -> bool {
    let calm = Spread::of(internet, &draft.calm);
    draft.acts.iter().any(|act| {
        let is_registered = act.prefix == ground.registered();
        act.told.iter().any(|(_, told)| {
            let spread = Spread::of(internet, told);
            let mut seen = points.iter().chain(&draft.sessions);
            seen.any(|point| match spread.path(internet, *point) {
                Some(path) => !is_registered || calm.path(internet, *point) != Some(path),
                None => is_registered && calm.path(internet, *point).is_some(),
            })
        })
    })
}

fn public_points(internet: &Internet, random: &mut Random) -> Vec<Node> {
    let mut points = Vec::new();
    for (rank, count) in POINTS {
        let mut all = internet.of(rank);
        for _ in 0..count.min(all.len()) {
            let at = random.below(all.len() as u64) as usize;
            points.push(all.swap_remove(at));
        }
    }
    points
}

impl Stage<'_> {
    /// Any AS of these ranks.
    pub fn any(&mut self, ranks: &[Rank]) -> Option<Node> {
        let all: Vec<Node> = ranks.iter().flat_map(|rank| self.internet.of(*rank)).collect();
        self.random.pick(&all).copied()
    }

    /// Somebody who has a prefix: a stub mostly, of two providers mostly.
    pub fn owner(&mut self) -> Option<Node> {
        let ranks: &[Rank] = match self.random.below(8) {
            0 => &[Rank::Regional],
            1 => &[Rank::Content],
            _ => &[Rank::Stub],
        };
        self.any(ranks)
    }

    /// An owner with at least so many providers.
    pub fn owner_of(&mut self, providers: usize) -> Option<(Node, Vec<Node>)> {
        (0..50).find_map(|_| {
            let owner = self.owner()?;
            let found = self.internet.related(owner, Relation::Provider);
            (found.len() >= providers).then_some((owner, found))
        })
    }

    /// Somebody who has nothing to do with these.
    pub fn stranger(&mut self, others: &[Node]) -> Option<Node> {
        (0..50).find_map(|_| {
            let ranks: &[Rank] =
                if self.random.chance(750) { &[Rank::Stub] } else { &[Rank::Regional] };
            let one = self.any(ranks)?;
            let is_close = others.iter().any(|other| self.internet.are_close(one, *other));
            (!is_close).then_some(one)
        })
    }

    /// The number that a ROA names, for half of the owners.
    pub fn roas(&mut self, owner: Node) -> Vec<Asn> {
        self.random.chance(500).then(|| self.internet.asn(owner)).into_iter().collect()
    }

    /// The registered prefix of the first ground.
    #[must_use]
    pub fn registered(&self) -> Prefix {
        self.grounds.first().map_or_else(|| Ground::new(0, false), |ground| *ground).registered()
    }

    /// The first ground.
    #[must_use]
    pub fn ground(&self) -> Ground {
        self.grounds.first().copied().unwrap_or_else(|| Ground::new(0, false))
    }
}
