//! Days without incidents: what looks like trouble and is none, and the churn of a real collector.
//!
//! The churn is that of RouteViews' `updates.20190101.0000` (five minutes, 76 peers of 43 ASes, 159,948
//! announcements and 2,626 withdrawals of 18,500 prefixes), measured over `decode --format bgpdump`:
//!
//! | measured | there | here |
//! | --- | --: | --- |
//! | active five minutes a prefix and day, of about 810,000 prefixes in the tables of that month | 6.6 | [`ACTIVE_A_DAY`] |
//! | of these, more than one peer speaks | 9.8 % | [`SEVERAL_PERMILLE`] |
//! | of these, ten peers and more | 1.3 % | [`WIDE_PERMILLE`] |
//! | announcements of an active peer, and different paths | 5.8, 2.1 | [`WORDS`], two in turn |
//! | prefixes with two origins | 0.146 % | `moas_*` of [`HAPPENINGS`] |
//! | of these, one a private number, two with a known link, neither | 26, 15, 59 % | the same; half of the last are of one company |
//!
//! The number of prefixes in the tables is not in the file. The other rates are not measured but set:
//! those of the owner's own doings high, so that each is met often, those of scrubbing low, for it begins
//! rarely. They are per 100,000 prefixes and day.

use schemas::bgp::{Asn, Prefix};
use schemas::time::{SECS_PER_DAY, TimeWindow};

use super::heard::{Heard, Stutter, Timeline, hear_of};
use super::{Draft, Ground, Plot, Point, Stage, Trial, faults, public_points};
use crate::simulator::internet::spread::{Source, Told};
use crate::simulator::internet::{Internet, Node, Rank};
use crate::simulator::random::Random;
use crate::simulator::story::START;
use crate::simulator::topology::Relation;

/// Five-minute spans a day in which a prefix is spoken of, times ten.
const ACTIVE_A_DAY: u64 = 66;
/// Of these, those with several peers, of a thousand.
const SEVERAL_PERMILLE: u32 = 98;
/// Of these, those that a big network's trouble spreads to many, of a thousand.
const WIDE_PERMILLE: u32 = 13;
/// Announcements of a peer in such a span: from, to.
const WORDS: (u64, u64) = (2, 10);

/// Something that is no incident.
#[derive(Debug)]
pub struct Happening {
    /// Its word.
    pub name: &'static str,
    /// Of 100,000 prefixes in a day.
    pub rate: u64,
    /// How long it lasts, in seconds: from, to.
    lasts: (u64, u64),
    draft: fn(&mut Stage<'_>, Node) -> Option<Quiet>,
}

/// What is told while it lasts.
struct Quiet {
    told: Vec<(Prefix, Told)>,
    origins: Vec<Node>,
}

const fn happening(
    name: &'static str,
    rate: u64,
    lasts: (u64, u64),
    draft: fn(&mut Stage<'_>, Node) -> Option<Quiet>,
) -> Happening {
    Happening { name, rate, lasts, draft }
}

/// All of them.
pub static HAPPENINGS: &[Happening] = &[
    happening("maintenance", 5_000, (120, 900), maintenance),
    happening("prepends", 5_000, (1_800, 20_000), prepends),
    happening("selective", 5_000, (1_800, 20_000), selective),
    happening("parts", 2_000, (1_800, 20_000), parts),
    happening("anycast", 3_000, (3_600, 20_000), anycast),
    happening("sibling", 500, (3_600, 20_000), sibling),
    happening("scrub_origin", 20, (3_600, 7_200), scrub_origin),
    happening("scrub_upstream", 40, (3_600, 7_200), scrub_upstream),
    happening("moas_private", 38, (300, 20_000), moas_private),
    happening("moas_linked", 22, (300, 20_000), moas_linked),
    happening("moas_sibling", 43, (300, 20_000), sibling),
    happening("moas_stranger", 43, (300, 20_000), moas_stranger),
];

/// A quiet day.
#[derive(Debug)]
pub struct Day {
    /// The world; its plots are the registrations.
    pub trial: Trial,
    /// What happened to each registration besides churn.
    pub happened: Vec<Option<&'static str>>,
    timelines: Vec<Timeline>,
    stutters: Vec<Stutter>,
}

impl Day {
    /// The day of a seed with so many registered prefixes.
    #[must_use]
    pub fn of(seed: u64, prefixes: u32) -> Self {
        let mut random = Random::new(seed).fork(87);
        let mut internet = Internet::grow(&mut random);
        let detour = faults::detour(&mut internet, &mut random);
        let public = public_points(&internet, &mut random);
        let points = public.iter().zip(0..);
        let mut day = Self {
            trial: Trial {
                points: points
                    .map(|(node, at)| Point::public(&internet, *node).numbered(at))
                    .collect(),
                marks: (0..internet.len() as Node).filter(|_| random.chance(100)).collect(),
                plots: Vec::new(),
                start: START,
                seed,
                internet: Internet::default(),
            },
            happened: Vec::new(),
            timelines: Vec::new(),
            stutters: Vec::new(),
        };
        for number in 0..prefixes {
            let grounds = [Ground::new(number, seed % 4 == 3)];
            let mut chance = random.fork(u64::from(number));
            let mut stage = Stage {
                internet: &internet,
                points: &public,
                random: &mut chance,
                grounds: &grounds,
                detour,
            };
            day.register(&mut stage);
        }
        day.trial.internet = internet;
        day
    }

    /// What the collector hears of it.
    #[must_use]
    pub fn hear(&self) -> Heard {
        hear_of(&self.trial, &self.timelines, &self.stutters, SECS_PER_DAY)
    }

    fn register(&mut self, stage: &mut Stage<'_>) {
        let Some(owner) = stage.owner() else { return };
        let ground = stage.ground();
        let calm = Told::plain(owner);
        let drawn = stage.random.below(100_000);
        let mut upto = 0;
        let happening = HAPPENINGS.iter().find(|happening| {
            upto += happening.rate;
            drawn < upto
        });
        let quiet = happening.and_then(|one| Some((one, (one.draft)(stage, owner)?)));
        let mut registered = Timeline::calm(ground.registered(), calm.clone());
        let mut origins = Vec::new();
        let mut roa_max_length = None;
        self.happened.push(quiet.as_ref().map(|(happening, _)| happening.name));
        if let Some((happening, quiet)) = quiet {
            let lasts = stage.random.between(happening.lasts.0, happening.lasts.1);
            let at = stage.random.between(1_200, SECS_PER_DAY as u64 - lasts - 1_200);
            let (from, to) = (START.plus_secs(at as i64), START.plus_secs((at + lasts) as i64));
            roa_max_length = quiet.told.iter().map(|(prefix, _)| prefix.length()).max();
            for (prefix, told) in quiet.told {
                if prefix == ground.registered() {
                    registered.told.extend([(from, told), (to, calm.clone())]);
                } else {
                    let mut other = Timeline::calm(prefix, Told::default());
                    other.told.extend([(from, told), (to, Told::default())]);
                    self.timelines.push(other);
                }
            }
            origins = quiet.origins.iter().map(|node| stage.internet.asn(*node)).collect();
        }
        self.churn(stage, &mut registered);
        self.timelines.push(registered);
        // An owner that announces what its own ROAs forbid is the incident `roa_invalid`.
        let mut roas = stage.roas(owner);
        if !roas.is_empty() {
            roas.extend(&origins);
        }
        self.trial.plots.push(Plot {
            kind: None,
            connection: format!("quiet-{}", self.happened.len()),
            ground,
            window: TimeWindow { start: START, end: START.plus_secs(SECS_PER_DAY) },
            is_visible: true,
            culprit: None,
            draft: Draft { owner, calm, origins, roas, roa_max_length, ..Draft::default() },
        });
    }

    fn churn(&mut self, stage: &mut Stage<'_>, registered: &mut Timeline) {
        let spans =
            ACTIVE_A_DAY / 10 + u64::from(stage.random.chance((ACTIVE_A_DAY % 10) as u32 * 100));
        for _ in 0..spans {
            let at = START.plus_secs(stage.random.between(600, SECS_PER_DAY as u64 - 900) as i64);
            if stage.random.chance(WIDE_PERMILLE) {
                if registered.told.len() > 1 {
                    continue;
                }
                let Some(deaf) = stage.any(&[Rank::Clique, Rank::Carrier, Rank::Regional]) else {
                    continue;
                };
                let calm =
                    registered.told.first().map(|(_, told)| told.clone()).unwrap_or_default();
                let failed = Told { deaf: vec![deaf], ..calm.clone() };
                let lasts = stage.random.between(30, 1_800) as i64;
                registered.told.extend([(at, failed), (at.plus_secs(lasts), calm)]);
                continue;
            }
            let several = stage.random.chance(SEVERAL_PERMILLE);
            let speakers = if several { stage.random.between(2, 5) } else { 1 };
            for _ in 0..speakers {
                self.stutters.push(Stutter {
                    timeline: self.timelines.len(),
                    point: stage.random.below(stage.points.len() as u64) as usize,
                    start: at,
                    words: stage.random.between(WORDS.0, WORDS.1),
                });
            }
        }
    }
}

fn quiet(told: Vec<(Prefix, Told)>) -> Option<Quiet> {
    Some(Quiet { told, origins: Vec::new() })
}

fn of(source: Source) -> Told {
    Told { sources: vec![source], deaf: Vec::new() }
}

fn both(stage: &Stage<'_>, owner: Node, other: Source) -> Option<Quiet> {
    let told = Told { sources: vec![Source::plain(owner), other], deaf: Vec::new() };
    quiet(vec![(stage.registered(), told)])
}

/// The owner drains the first of its links.
fn maintenance(stage: &mut Stage<'_>, owner: Node) -> Option<Quiet> {
    let via: Vec<Node> = stage.internet.links(owner).iter().skip(1).map(|link| link.to).collect();
    let told = of(Source { via: via.clone(), ..Source::plain(owner) });
    // Who would be cut off by it works in another way: a loss is no quiet day.
    let providers = stage.internet.related(owner, Relation::Provider);
    quiet(vec![(stage.registered(), told)])
        .filter(|_| via.iter().any(|left| providers.contains(left)))
}

fn prepends(stage: &mut Stage<'_>, owner: Node) -> Option<Quiet> {
    let prepends = stage.random.between(1, 4) as u8;
    quiet(vec![(stage.registered(), of(Source { prepends, ..Source::plain(owner) }))])
}

fn selective(stage: &mut Stage<'_>, owner: Node) -> Option<Quiet> {
    let via = stage.internet.related(owner, Relation::Provider);
    let via = stage.random.pick(&via).copied().into_iter().collect();
    quiet(vec![(stage.registered(), of(Source { via, ..Source::plain(owner) }))])
}

/// The owner announces some parts of its own, to one provider or all.
fn parts(stage: &mut Stage<'_>, owner: Node) -> Option<Quiet> {
    let mut via = stage.internet.related(owner, Relation::Provider);
    via.truncate(if stage.random.chance(500) { 1 } else { usize::MAX });
    let ground = stage.ground();
    let count = stage.random.between(1, 4) as u8;
    let told = of(Source { via, ..Source::plain(owner) });
    quiet((0..count).map(|number| (ground.part(number), told.clone())).collect())
}

/// A second site of another number, which the configuration knows.
fn anycast(stage: &mut Stage<'_>, owner: Node) -> Option<Quiet> {
    let other = stage.stranger(&[owner])?;
    let quiet = both(stage, owner, Source::plain(other))?;
    Some(Quiet { origins: vec![owner, other], ..quiet })
}

fn sibling(stage: &mut Stage<'_>, owner: Node) -> Option<Quiet> {
    let company = |node| stage.internet.get(node).map(|system| system.company);
    let mut others = 0..stage.internet.len() as Node;
    // Where the company has no second number, it is nobody's story.
    let other = others.find(|other| *other != owner && company(*other) == company(owner))?;
    both(stage, owner, Source::plain(other))
}

/// A network that cleans traffic announces it, as the owner asked.
fn scrub_origin(stage: &mut Stage<'_>, owner: Node) -> Option<Quiet> {
    let scrubber = stage.any(&[Rank::Carrier])?;
    quiet(vec![(stage.registered(), of(Source::plain(scrubber)))]).filter(|_| scrubber != owner)
}

/// The same in front of the owner.
fn scrub_upstream(stage: &mut Stage<'_>, owner: Node) -> Option<Quiet> {
    let scrubber = stage.any(&[Rank::Carrier])?;
    let tail = vec![stage.internet.asn(owner)];
    let told = of(Source { tail, ..Source::plain(scrubber) });
    quiet(vec![(stage.registered(), told)]).filter(|_| scrubber != owner)
}

/// A customer's private number is seen behind the owner's.
fn moas_private(stage: &mut Stage<'_>, owner: Node) -> Option<Quiet> {
    let private = Asn(stage.random.between(64_512, 65_500) as u32);
    let leaked = Source { tail: vec![private], ..Source::plain(owner) };
    quiet(vec![(stage.registered(), of(leaked))])
}

fn moas_linked(stage: &mut Stage<'_>, owner: Node) -> Option<Quiet> {
    let links = stage.internet.links(owner);
    let other = links.get(stage.random.below(links.len() as u64) as usize)?.to;
    both(stage, owner, Source::plain(other))
}

fn moas_stranger(stage: &mut Stage<'_>, owner: Node) -> Option<Quiet> {
    let other = stage.stranger(&[owner])?;
    both(stage, owner, Source::plain(other))
}
