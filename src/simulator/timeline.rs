//! The timeline: a scenario in, for each prefix the routes of every AS from instant to instant out.
//!
//! Each injection names prefixes and a span; where a span starts or ends the prefix gets new
//! announcements, and [`super::propagation`] answers for them at once. Equal announcements are
//! answered once, so that ten thousand prefixes of some hundred origins cost some hundred
//! propagations. How a change reaches a collector is [`super::vantage`]'s matter.

use std::collections::BTreeMap;
use std::rc::Rc;

use schemas::bgp::{Asn, Community, Prefix};
use schemas::time::{TimeWindow, Timestamp};

use super::incidents::Injection;
use super::propagation::{Announcement, Routes, propagate};
use super::random::Random;
use super::scenario::Scenario;
use super::topology::{AsIndex, Tier, Topology};

/// The community that Peering Service asks for: 8075:8007.
const PEERING_SERVICE: Community = Community::Standard(8075 << 16 | 8007);

/// One prefix over the whole time.
#[derive(Clone, Debug)]
pub struct PrefixTimeline {
    /// Which.
    pub prefix: Prefix,
    /// What its owner tags it with.
    pub communities: Vec<Community>,
    /// The routes and since when they hold; the first since ever.
    pub states: Vec<(Timestamp, Rc<Routes>)>,
}

/// The owner's side of a prefix.
#[derive(Clone, Debug, Default)]
struct Owner {
    origin: Option<Asn>,
    via: Vec<Asn>,
    communities: Vec<Community>,
}

/// What is told about a prefix at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Told {
    announcements: Vec<Announcement>,
    leaker: Option<AsIndex>,
}

/// The background's prefix of this number.
#[must_use]
pub const fn background_prefix(number: u32) -> Prefix {
    let [high, low] = (0x8000 + (number % 0x7000) as u16).to_be_bytes();
    Prefix::v6([0x20, 0x01, 0x0d, 0xb8, high, low, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 48)
}

/// All prefixes of a scenario in order, with their routes over time.
#[must_use]
pub fn plan(scenario: &Scenario, topology: &Topology, random: &mut Random) -> Vec<PrefixTimeline> {
    let mut owners = registered(scenario);
    owners.extend(background(scenario, topology, random));
    let flaps = flaps(scenario, random);
    let mut news: BTreeMap<Prefix, Vec<(TimeWindow, &Injection)>> = BTreeMap::new();
    let flapping = flaps.iter().map(|(window, injection)| (*window, injection));
    for (window, injection) in scenario.injections().chain(flapping) {
        for prefix in touched(injection) {
            owners.entry(prefix).or_default();
            news.entry(prefix).or_default().push((window, injection));
        }
    }
    let mut answers: BTreeMap<Told, Rc<Routes>> = BTreeMap::new();
    let whole = scenario.window();
    let mut timelines = Vec::with_capacity(owners.len());
    for (prefix, owner) in owners {
        let news = news.get(&prefix).map_or(&[][..], Vec::as_slice);
        let states = instants(whole, news)
            .into_iter()
            .map(|time| {
                let told = told(topology, prefix, &owner, news, time);
                let answer =
                    |told: &Told| Rc::new(propagate(topology, &told.announcements, told.leaker));
                let routes = answers.entry(told).or_insert_with_key(answer);
                (time, Rc::clone(routes))
            })
            .collect();
        timelines.push(PrefixTimeline { prefix, communities: owner.communities, states });
    }
    timelines
}

fn registered(scenario: &Scenario) -> BTreeMap<Prefix, Owner> {
    let announced = scenario.connections.iter().filter(|connection| connection.announced);
    let pairs = announced.flat_map(|connection| {
        let tagged = connection.kind == "peering_service";
        let owner = Owner {
            origin: Some(connection.origin),
            via: connection.via.clone(),
            communities: if tagged { vec![PEERING_SERVICE] } else { Vec::new() },
        };
        connection.prefixes.iter().map(move |plan| (plan.prefix, owner.clone()))
    });
    pairs.collect()
}

fn background(
    scenario: &Scenario,
    topology: &Topology,
    random: &mut Random,
) -> Vec<(Prefix, Owner)> {
    let stubs: Vec<AsIndex> = topology
        .of_tier(Tier::Stub)
        .into_iter()
        .filter(|index| topology.get(*index).is_some_and(|system| !system.named))
        .collect();
    let owner = |random: &mut Random| {
        let origin = random.pick(&stubs).map(|index| topology.asn(*index));
        Owner { origin, ..Owner::default() }
    };
    (0..scenario.background_prefixes)
        .map(|number| (background_prefix(number), owner(random)))
        .collect()
}

/// Prefixes of the background that go for a while and return; those that a leak names stay.
fn flaps(scenario: &Scenario, random: &mut Random) -> Vec<(TimeWindow, Injection)> {
    let leaked = scenario.injections().map(|(_, injection)| match injection {
        Injection::Leak { background, .. } => *background,
        _ => 0,
    });
    let first = leaked.max().unwrap_or(0);
    let flaps = scenario.background_flaps.min(scenario.background_prefixes.saturating_sub(first));
    let seconds = u64::from(scenario.minutes) * 60;
    let flap = |number: u32| {
        let start = scenario.start.plus_secs(random.below(seconds.saturating_sub(120)) as i64);
        let end = start.plus_secs(random.between(35, 110) as i64);
        let prefixes = vec![background_prefix(first + number)];
        (TimeWindow { start, end }, Injection::Withdraw { prefixes })
    };
    (0..flaps).map(flap).collect()
}

fn touched(injection: &Injection) -> Vec<Prefix> {
    match injection {
        Injection::Announce { prefix, .. } => vec![*prefix],
        Injection::Leak { prefixes, background, .. } => {
            prefixes.iter().copied().chain((0..*background).map(background_prefix)).collect()
        }
        Injection::Reroute { prefixes, .. } | Injection::Withdraw { prefixes } => prefixes.clone(),
        Injection::SessionDown { .. } | Injection::SessionUp { .. } => Vec::new(),
    }
}

/// The instants at which something may change, the beginning of all time first.
fn instants(whole: TimeWindow, news: &[(TimeWindow, &Injection)]) -> Vec<Timestamp> {
    let ends = news.iter().flat_map(|(window, _)| [window.start, window.end]);
    let mut instants: Vec<Timestamp> =
        ends.filter(|time| whole.contains(*time)).chain([Timestamp::MIN]).collect();
    instants.sort_unstable();
    instants.dedup();
    instants
}

fn told(
    topology: &Topology,
    prefix: Prefix,
    owner: &Owner,
    news: &[(TimeWindow, &Injection)],
    time: Timestamp,
) -> Told {
    let mut told = Told::default();
    let mut origin = owner.origin;
    let mut via = owner.via.as_slice();
    for (_, injection) in news.iter().filter(|(window, _)| window.contains(time)) {
        match injection {
            Injection::Announce { origin, forged_tail, .. } => {
                if let Some(origin) = topology.index_of(*origin) {
                    let forged_tail = forged_tail.clone();
                    told.announcements.push(Announcement { origin, forged_tail, via: Vec::new() });
                }
            }
            Injection::Leak { leaker, .. } => told.leaker = topology.index_of(*leaker),
            Injection::Reroute { via: now, .. } => via = now,
            Injection::Withdraw { prefixes } if prefixes.contains(&prefix) => origin = None,
            _ => {}
        }
    }
    if let Some(origin) = origin.and_then(|origin| topology.index_of(origin)) {
        let via = via.iter().filter_map(|asn| topology.index_of(*asn)).collect();
        told.announcements.push(Announcement { origin, forged_tail: Vec::new(), via });
    }
    told
}
