//! What the vantage points of a trial tell, as MRT bytes: a table, then updates in order of time.
//!
//! A change reaches a point after a wait in every AS on the way and one for the point's own timer;
//! who loses a route tries others first. An AS that marks what it sells or hands to a peer
//! (RFC 9234 §5) leaves its number on the route, if nobody did before. On a session of a connection
//! routes carry the community of their edge.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use ingest::encode::bgp::{Update, update};
use ingest::encode::mrt;
use schemas::bgp::{AsPath, AsSegment, Asn, Family, Origin, PathAttributes, Prefix, SegmentKind};
use schemas::time::Timestamp;

use super::{Plot, TRIAL_SECS, Trial};
use crate::simulator::internet::spread::{Class, Spread, Told};
use crate::simulator::internet::{Internet, Node};
use crate::simulator::random::Random;
use crate::simulator::scenario::{COLLECTOR_ADDRESS, COLLECTOR_ASN};
use crate::simulator::topology::Relation;
use crate::simulator::wire::edge_community;

/// How long before the first update the table is dumped, in seconds.
const TABLE_LEAD_SECS: i64 = 600;
/// A prefix of nobody is announced this often, so that time passes.
const BEAT_SECS: i64 = 5;
/// Nobody's prefix.
const BEAT: Prefix = Prefix::v4([19, 0, 0, 0], 16);

/// What a point shows.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Feed {
    Full,
    Customers,
    Connection(Prefix),
}

/// A peer of the collector.
#[derive(Clone, Debug)]
pub struct Point {
    /// Where it stands.
    pub node: Node,
    /// Its number.
    pub asn: Asn,
    /// Its address.
    pub address: Ipv4Addr,
    /// What it is for, where the configuration knows it.
    pub role: Option<&'static str>,
    feed: Feed,
    edge: Option<u32>,
}

impl Point {
    /// One that everybody may read; a quarter shows the routes of its customers only.
    #[must_use]
    pub fn public(internet: &Internet, node: Node) -> Self {
        let feed = if node % 4 == 1 { Feed::Customers } else { Feed::Full };
        let asn = internet.asn(node);
        Self { node, asn, address: Ipv4Addr::UNSPECIFIED, role: None, feed, edge: None }
    }

    /// A session of the operator with a carrier of a connection.
    #[must_use]
    pub fn session(
        internet: &Internet,
        node: Node,
        role: Option<&'static str>,
        prefix: Prefix,
    ) -> Self {
        let feed = Feed::Connection(prefix);
        let edge = Some(1 + node % 19);
        Self { feed, role, edge, ..Self::public(internet, node) }
    }

    /// With an address of that number.
    #[must_use]
    pub fn numbered(self, number: usize) -> Self {
        let [.., high, low] = (number as u32 + 1).to_be_bytes();
        Self { address: Ipv4Addr::new(198, 18, high, low), ..self }
    }

    /// Whether it is a session of the connection that registers this.
    #[must_use]
    pub fn serves(&self, registered: &Prefix) -> bool {
        matches!(&self.feed, Feed::Connection(prefix) if prefix == registered)
    }

    fn shows(&self, prefix: &Prefix, class: Class) -> bool {
        let is_sold = matches!(class, Class::Own | Class::Customer);
        match &self.feed {
            Feed::Full => true,
            Feed::Customers => is_sold,
            Feed::Connection(covered) => is_sold && covered.covers(prefix),
        }
    }
}

/// A route as a point shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shown {
    path: Vec<Asn>,
    set: Vec<Asn>,
    otc: Option<Asn>,
}

/// One word of one point.
#[derive(Debug)]
struct News {
    time: Timestamp,
    point: usize,
    prefix: Prefix,
    route: Option<Shown>,
}

/// One prefix over the whole time; the first state since ever.
#[derive(Debug)]
pub(super) struct Timeline {
    pub(super) prefix: Prefix,
    pub(super) told: Vec<(Timestamp, Told)>,
}

impl Timeline {
    /// A prefix that is told in one way.
    pub(super) fn calm(prefix: Prefix, told: Told) -> Self {
        Self { prefix, told: vec![(Timestamp::MIN, told)] }
    }
}

/// A point that goes to and fro between two routes for some minutes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stutter {
    pub(super) timeline: usize,
    pub(super) point: usize,
    pub(super) start: Timestamp,
    pub(super) words: u64,
}

/// A trial as files would hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// MRT `TABLE_DUMP_V2`.
    pub table: Vec<u8>,
    /// MRT `BGP4MP_ET`.
    pub updates: Vec<u8>,
}

/// Everything that the collector hears of a trial.
#[must_use]
pub fn hear(trial: &Trial) -> Heard {
    let timelines: Vec<Timeline> = trial.plots.iter().flat_map(timelines).collect();
    hear_of(trial, &timelines, &[], TRIAL_SECS)
}

/// Everything that the collector hears of these prefixes.
pub(super) fn hear_of(
    trial: &Trial,
    timelines: &[Timeline],
    stutters: &[Stutter],
    secs: i64,
) -> Heard {
    let mut random = Random::new(trial.seed).fork(78);
    let mut known: BTreeMap<Told, Rc<Spread>> = BTreeMap::new();
    let mut spread_of = |told: &Told| {
        let spread = known
            .entry(told.clone())
            .or_insert_with_key(|told| Rc::new(Spread::of(&trial.internet, told)));
        Rc::clone(spread)
    };
    let mut news = Vec::new();
    let mut first = Vec::new();
    for (place, timeline) in timelines.iter().enumerate() {
        let states: Vec<(Timestamp, Rc<Spread>)> =
            timeline.told.iter().map(|(time, told)| (*time, spread_of(told))).collect();
        if let Some((_, spread)) = states.first() {
            first.push((timeline.prefix, Rc::clone(spread)));
        }
        for (number, point) in trial.points.iter().enumerate() {
            tell(trial, timeline.prefix, &states, (number, point), &mut random, &mut news);
        }
        for stutter in stutters.iter().filter(|stutter| stutter.timeline == place) {
            falter(trial, timeline.prefix, &states, stutter, &mut random, &mut news);
        }
    }
    news.sort_by_key(|one| (one.time, one.point));
    Heard { table: table(trial, &first), updates: updates(trial, &news, secs) }
}

/// The prefixes of a plot over time.
fn timelines(plot: &Plot) -> Vec<Timeline> {
    let registered = plot.ground.registered();
    let mut timelines = vec![Timeline {
        prefix: registered,
        told: vec![(Timestamp::MIN, plot.draft.calm.clone())],
    }];
    for act in &plot.draft.acts {
        let at = |secs: i64| plot.window.start.plus_secs(secs);
        let told = act.told.iter().map(|(secs, told)| (at(*secs), told.clone()));
        let is_registered = act.prefix == registered;
        let after = if is_registered { plot.draft.calm.clone() } else { Told::default() };
        let end = std::iter::once((plot.window.end, after));
        match timelines.first_mut() {
            Some(first) if is_registered => first.told.extend(told.chain(end)),
            _ => {
                let told = std::iter::once((Timestamp::MIN, Told::default())).chain(told);
                timelines.push(Timeline { prefix: act.prefix, told: told.chain(end).collect() });
            }
        }
    }
    timelines
}

fn shown(trial: &Trial, point: &Point, prefix: &Prefix, spread: &Spread) -> Option<Shown> {
    let held = spread.held(point.node).filter(|held| point.shows(prefix, held.class))?;
    let (path, set) = spread.path(&trial.internet, point.node)?;
    let mut hops = spread.hops(point.node);
    // The tail of a leak is the way that the route really came; that of a forged path is none.
    let source = spread.source(held)?;
    let tail: Vec<Node> = source.tail.iter().filter_map(|asn| trial.internet.node(*asn)).collect();
    let first =
        tail.first().is_some_and(|next| trial.internet.relation(source.node, *next).is_some());
    if first && tail.len() == source.tail.len() {
        hops.extend(tail);
    }
    Some(Shown { path, set, otc: mark(&trial.internet, &trial.marks, &hops) })
}

/// The mark that a route has at the first of these hops.
fn mark(internet: &Internet, marks: &BTreeSet<Node>, hops: &[Node]) -> Option<Asn> {
    let pairs = hops.iter().rev().zip(hops.iter().rev().skip(1));
    let mut sent = pairs.filter(|(sender, receiver)| {
        let relation = internet.relation(**sender, **receiver);
        let is_down = matches!(relation, Some(Relation::Customer | Relation::Peer));
        is_down && (marks.contains(sender) || marks.contains(receiver))
    });
    sent.next().map(|(sender, _)| internet.asn(*sender))
}

/// How the changes of one prefix reach one point.
fn tell(
    trial: &Trial,
    prefix: Prefix,
    states: &[(Timestamp, Rc<Spread>)],
    (number, point): (usize, &Point),
    random: &mut Random,
    news: &mut Vec<News>,
) {
    let mut clock = Timestamp::MIN;
    let mut say = |time: Timestamp, route: Option<Shown>| {
        clock = time.max(Timestamp(clock.0.saturating_add(1_000)));
        news.push(News { time: clock, point: number, prefix, route });
    };
    for pair in states.windows(2) {
        let [(_, before), (since, after)] = pair else { continue };
        if Rc::ptr_eq(before, after) {
            continue;
        }
        let old = shown(trial, point, &prefix, before);
        let new = shown(trial, point, &prefix, after);
        if old == new {
            continue;
        }
        let length = |shown: &Option<Shown>| shown.as_ref().map_or(0, |shown| shown.path.len());
        let hops = length(&old).max(length(&new)) as u64;
        let way: u64 = (0..hops).map(|_| random.between(80, 600)).sum();
        let mut time = later(*since, way + random.below(4_000));
        let is_worse = old.is_some() && (new.is_none() || length(&new) > length(&old));
        let tries = if is_worse { random.below(4).min(2) as usize } else { 0 };
        if tries > 0 {
            let others = before.alternatives(&trial.internet, point.node);
            for other in others.into_iter().take(tries) {
                if let Some(route) = tried(trial, point, before, other, &prefix) {
                    say(time, Some(route));
                    time = later(time, random.between(700, 5_000));
                }
            }
        }
        say(time, new);
    }
}

/// A point names its second best route and its best one in turn, and ends with the best.
fn falter(
    trial: &Trial,
    prefix: Prefix,
    states: &[(Timestamp, Rc<Spread>)],
    stutter: &Stutter,
    random: &mut Random,
    news: &mut Vec<News>,
) {
    let end = stutter.start.plus_secs(300);
    // Where the routes change at the time, that is churn enough.
    let is_busy = states
        .iter()
        .any(|(since, _)| *since > stutter.start.plus_secs(-60) && *since < end.plus_secs(60));
    let state = states.iter().rev().find(|(since, _)| *since <= stutter.start);
    let (Some((_, spread)), Some(point)) = (state, trial.points.get(stutter.point)) else { return };
    let Some(best) = shown(trial, point, &prefix, spread).filter(|_| !is_busy) else { return };
    let others = spread.alternatives(&trial.internet, point.node).into_iter();
    let other = others.filter_map(|other| tried(trial, point, spread, other, &prefix)).next();
    let other = other.unwrap_or_else(|| best.clone());
    let mut times: Vec<u64> = (0..stutter.words).map(|_| random.below(300_000)).collect();
    times.sort_unstable();
    for (place, millis) in times.iter().enumerate() {
        let is_last = place + 1 == times.len();
        let route = if is_last || place % 2 == 1 { best.clone() } else { other.clone() };
        let time = later(stutter.start, *millis);
        news.push(News { time, point: stutter.point, prefix, route: Some(route) });
    }
}

/// The route over another neighbour, while it still seems to be there.
fn tried(
    trial: &Trial,
    point: &Point,
    spread: &Spread,
    other: Node,
    prefix: &Prefix,
) -> Option<Shown> {
    let class = match trial.internet.relation(point.node, other)? {
        Relation::Customer => Class::Customer,
        Relation::Peer => Class::Peer,
        Relation::Provider => Class::Provider,
    };
    let (mut path, set) = spread.path(&trial.internet, other)?;
    path.insert(0, point.asn);
    point.shows(prefix, class).then_some(Shown { path, set, otc: None })
}

const fn later(time: Timestamp, millis: u64) -> Timestamp {
    Timestamp(time.0.saturating_add(millis as i64 * 1_000))
}

fn attributes(point: &Point, prefix: Prefix, shown: &Shown) -> PathAttributes {
    let next_hop = match prefix.family() {
        Family::Ipv4 => IpAddr::V4(point.address),
        Family::Ipv6 => IpAddr::V6(point.address.to_ipv6_mapped()),
    };
    let mut as_path = AsPath::sequence(shown.path.iter().map(|asn| asn.0));
    if !shown.set.is_empty() {
        as_path.segments.push(AsSegment { kind: SegmentKind::Set, asns: shown.set.clone() });
    }
    PathAttributes {
        origin: Some(Origin::Igp),
        as_path,
        next_hop: Some(next_hop),
        communities: point.edge.map(edge_community).into_iter().collect(),
        otc: shown.otc,
        ..PathAttributes::default()
    }
}

fn table(trial: &Trial, first: &[(Prefix, Rc<Spread>)]) -> Vec<u8> {
    let mut out = Vec::new();
    let time = trial.start.plus_secs(-TABLE_LEAD_SECS);
    let peers: Vec<(IpAddr, Asn)> =
        trial.points.iter().map(|point| (IpAddr::V4(point.address), point.asn)).collect();
    mrt::peer_index_table(&mut out, time, COLLECTOR_ADDRESS.to_bits(), "trial", &peers);
    let mut first: Vec<&(Prefix, Rc<Spread>)> = first.iter().collect();
    first.sort_by_key(|(prefix, _)| *prefix);
    for (sequence, (prefix, spread)) in (0..).zip(first) {
        let held: Vec<(u16, PathAttributes)> = (0..)
            .zip(&trial.points)
            .filter_map(|(peer, point)| {
                let shown = shown(trial, point, prefix, spread)?;
                Some((peer, attributes(point, *prefix, &shown)))
            })
            .collect();
        if held.is_empty() {
            continue;
        }
        let entries: Vec<mrt::RibEntry<'_>> = held
            .iter()
            .map(|(peer_index, attributes)| mrt::RibEntry {
                peer_index: *peer_index,
                originated: time.plus_secs(-86_400),
                attributes,
            })
            .collect();
        mrt::rib(&mut out, time, sequence, *prefix, &entries);
    }
    out
}

fn updates(trial: &Trial, news: &[News], secs: i64) -> Vec<u8> {
    let mut out = Vec::new();
    let end = trial.start.plus_secs(secs);
    let mut beats = (0..secs / BEAT_SECS).map(|beat| trial.start.plus_secs(beat * BEAT_SECS));
    let mut next_beat = beats.next();
    let beat = Shown { path: Vec::new(), set: Vec::new(), otc: None };
    for one in news.iter().filter(|one| one.time < end) {
        while let Some(time) = next_beat.filter(|time| *time <= one.time) {
            if let Some(point) = trial.points.first() {
                let route = Shown { path: vec![point.asn], ..beat.clone() };
                put(&mut out, point, time, BEAT, Some(&route));
            }
            next_beat = beats.next();
        }
        if let Some(point) = trial.points.get(one.point) {
            put(&mut out, point, one.time, one.prefix, one.route.as_ref());
        }
    }
    for time in next_beat.into_iter().chain(beats) {
        if let Some(point) = trial.points.first() {
            let route = Shown { path: vec![point.asn], ..beat.clone() };
            put(&mut out, point, time, BEAT, Some(&route));
        }
    }
    out
}

fn put(out: &mut Vec<u8>, point: &Point, time: Timestamp, prefix: Prefix, route: Option<&Shown>) {
    let session = mrt::Session {
        peer_address: IpAddr::V4(point.address),
        peer_asn: point.asn,
        local_address: IpAddr::V4(COLLECTOR_ADDRESS),
        local_asn: COLLECTOR_ASN,
    };
    let attributes = route.map(|route| attributes(point, prefix, route));
    let prefixes = [prefix];
    let told = match &attributes {
        Some(attributes) => {
            Update { withdrawn: &[], announced: &prefixes, attributes: Some(attributes) }
        }
        None => Update { withdrawn: &prefixes, announced: &[], attributes: None },
    };
    mrt::message(out, time, &session, &update(&told));
}
