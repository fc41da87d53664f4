//! Vantage points: what the collector's peers show, and how a change spreads to them.
//!
//! Some peers show all their routes, some only those of their customers, and the sessions of a
//! connection only its own prefixes. A change reaches a peer after a delay for every AS on the way
//! and one wait for the peer's own advertisement timer; a peer that loses its route tries others
//! first, as path exploration does (Labovitz et al., 2000). A session that goes down takes its
//! routes with it and tells them anew when it returns.
//!
//! Bytes are made in [`super::wire`].

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use schemas::bgp::{Asn, Prefix};
use schemas::time::{TimeWindow, Timestamp};

use super::geography::Metro;
use super::incidents::Injection;
use super::propagation::{Route, RouteClass, Routes};
use super::random::Random;
use super::scenario::{ConnectionPlan, Scenario, SessionPlan};
use super::timeline::PrefixTimeline;
use super::topology::{AsIndex, Tier, Topology};

/// BGP's finite state machine as MRT counts it (RFC 6396 §4.4.1).
pub mod fsm {
    /// Down.
    pub const IDLE: u16 = 1;
    /// One message short of up.
    pub const OPEN_CONFIRM: u16 = 5;
    /// Up.
    pub const ESTABLISHED: u16 = 6;
}

/// What a peer shows to the collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Feed {
    /// All its best routes.
    Full,
    /// Those of its customers and its own.
    Customers,
    /// Those of its customers, and of them only these prefixes.
    Connection(Vec<Prefix>),
}

/// A peer of the collector.
#[derive(Clone, Debug)]
pub struct VantagePoint {
    /// Its address.
    pub address: Ipv4Addr,
    /// Its number.
    pub asn: Asn,
    /// Its place in the topology.
    pub system: AsIndex,
    /// What it shows.
    pub feed: Feed,
    /// The edge at which it enters the cloud, for sessions of connections.
    pub edge: Option<&'static Metro>,
}

/// What a peer tells at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Its session changed its state.
    State {
        /// Before.
        old: u16,
        /// After.
        new: u16,
    },
    /// A route, or that there is none any more.
    Route {
        /// For which prefix.
        prefix: Prefix,
        /// Its path, the peer first.
        path: Option<Vec<Asn>>,
    },
}

/// One piece of news of one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerNews {
    /// When the collector hears it.
    pub time: Timestamp,
    /// The peer's place in the list of vantage points.
    pub peer: u16,
    /// What it is.
    pub news: News,
}

impl VantagePoint {
    fn shows(&self, prefix: &Prefix, route: &Route) -> bool {
        let sold = matches!(route.class, RouteClass::Own | RouteClass::Customer);
        match &self.feed {
            Feed::Full => true,
            Feed::Customers => sold,
            Feed::Connection(prefixes) => sold && prefixes.contains(prefix),
        }
    }

    /// The path it shows for a prefix, if any.
    #[must_use]
    pub fn shown(&self, topology: &Topology, prefix: &Prefix, routes: &Routes) -> Option<Vec<Asn>> {
        let route = routes.best(self.system).filter(|route| self.shows(prefix, route))?;
        Some(routes.path(topology, self.system, route))
    }
}

/// The collector's peers: full feeds, partial feeds, then the sessions of the connections.
#[must_use]
pub fn vantage_points(scenario: &Scenario, topology: &Topology) -> Vec<VantagePoint> {
    let named = |index: &AsIndex| topology.get(*index).is_some_and(|system| system.named);
    let clique = topology.of_tier(Tier::One);
    let (mut seen, anonymous): (Vec<AsIndex>, Vec<AsIndex>) = clique.into_iter().partition(named);
    let mut others = topology.of_tier(Tier::Two);
    others.retain(|index| !named(index));
    let (full, partial) = scenario.vantage_points;
    seen.extend(anonymous.iter().take(1));
    let observers = scenario.observers.iter();
    seen.extend(observers.filter_map(|asn| topology.index_of(*asn)));
    seen.truncate(full);
    seen.extend(others.iter().take(full.saturating_sub(seen.len())));
    let customers: Vec<AsIndex> = anonymous
        .iter()
        .chain(&others)
        .filter(|index| !seen.contains(index))
        .take(partial)
        .copied()
        .collect();
    let feeds = std::iter::repeat_n(Feed::Full, seen.len());
    let feeds = feeds.chain(std::iter::repeat_n(Feed::Customers, customers.len()));
    let public =
        seen.iter().chain(&customers).zip(feeds).zip(129..).map(|((index, feed), host)| {
            let address = Ipv4Addr::new(203, 0, 113, host);
            VantagePoint { address, asn: topology.asn(*index), system: *index, feed, edge: None }
        });
    let sessions = scenario
        .connections
        .iter()
        .flat_map(|connection| connection.sessions.iter().map(move |session| (connection, session)))
        .filter_map(|(connection, session)| session_point(topology, connection, session));
    public.chain(sessions).collect()
}

fn session_point(
    topology: &Topology,
    connection: &ConnectionPlan,
    session: &SessionPlan,
) -> Option<VantagePoint> {
    let prefixes = connection.prefixes.iter().map(|plan| plan.prefix).collect();
    Some(VantagePoint {
        address: session.peer,
        asn: session.asn,
        system: topology.index_of(session.asn)?,
        feed: Feed::Connection(prefixes),
        edge: Some(session.edge),
    })
}

/// Everything that the collector hears while the scenario lasts, in order of time.
#[must_use]
pub fn news(
    scenario: &Scenario,
    topology: &Topology,
    points: &[VantagePoint],
    timelines: &[PrefixTimeline],
    random: &mut Random,
) -> Vec<PeerNews> {
    let mut news = Vec::new();
    for timeline in timelines.iter().filter(|timeline| timeline.states.len() > 1) {
        for (peer, point) in (0..).zip(points) {
            news.extend(spread(topology, timeline, peer, point, random));
        }
    }
    news.sort_by_key(|one| (one.time, one.peer));
    for (window, injection) in scenario.injections() {
        let (address, down) = match injection {
            Injection::SessionDown { peer } => (*peer, true),
            Injection::SessionUp { peer } => (*peer, false),
            _ => continue,
        };
        let found = (0..).zip(points).find(|(_, point)| point.address == address);
        let Some((peer, point)) = found else { continue };
        if down {
            let held = initial(topology, point, timelines);
            news = reset(news, peer, held, window);
        } else {
            let up = News::State { old: fsm::OPEN_CONFIRM, new: fsm::ESTABLISHED };
            news.push(PeerNews { time: window.start, peer, news: up });
        }
    }
    news.sort_by_key(|one| one.time);
    news
}

/// How the changes of one prefix reach one peer.
fn spread(
    topology: &Topology,
    timeline: &PrefixTimeline,
    peer: u16,
    point: &VantagePoint,
    random: &mut Random,
) -> Vec<PeerNews> {
    let mut news: Vec<PeerNews> = Vec::new();
    let mut clock = Timestamp::MIN;
    let mut tell = |time: Timestamp, path: Option<Vec<Asn>>| {
        clock = time.max(Timestamp(clock.0.saturating_add(1_000)));
        let route = News::Route { prefix: timeline.prefix, path };
        news.push(PeerNews { time: clock, peer, news: route });
    };
    for pair in timeline.states.windows(2) {
        let [(_, before), (since, after)] = pair else {
            continue;
        };
        let old = point.shown(topology, &timeline.prefix, before);
        let new = point.shown(topology, &timeline.prefix, after);
        if old == new {
            continue;
        }
        let mut time = heard(*since, old.as_ref().or(new.as_ref()).map_or(0, Vec::len), random);
        let worse = match (&old, &new) {
            (Some(old), Some(new)) => new.len() > old.len(),
            (Some(_), None) => true,
            _ => false,
        };
        let tries = if worse { random.below(4).min(2) } else { 0 };
        let others = before.alternatives(topology, point.system).into_iter();
        let others = others
            .filter(|route| tries > 0 && point.shows(&timeline.prefix, route))
            .map(|route| before.path(topology, point.system, &route))
            .filter(|path| Some(path) != new.as_ref());
        for path in others.take(usize::try_from(tries).unwrap_or(0)) {
            tell(time, Some(path));
            time = later(time, random.between(700, 5_000));
        }
        tell(time, new);
    }
    news
}

/// When a peer tells of a change: a wait in every AS on the way, then its own timer.
fn heard(since: Timestamp, hops: usize, random: &mut Random) -> Timestamp {
    let way: u64 = (0..hops).map(|_| random.between(80, 600)).sum();
    later(since, way + random.below(4_000))
}

const fn later(time: Timestamp, millis: u64) -> Timestamp {
    Timestamp(time.0.saturating_add(millis as i64 * 1_000))
}

/// What a peer shows before anything happens.
fn initial(
    topology: &Topology,
    point: &VantagePoint,
    timelines: &[PrefixTimeline],
) -> BTreeMap<Prefix, Vec<Asn>> {
    let first = timelines.iter().filter_map(|timeline| {
        let (_, routes) = timeline.states.first()?;
        Some((timeline.prefix, point.shown(topology, &timeline.prefix, routes)?))
    });
    first.collect()
}

/// Takes a peer's session down for a while: nothing is heard of it, then all it holds at once.
fn reset(
    news: Vec<PeerNews>,
    peer: u16,
    mut held: BTreeMap<Prefix, Vec<Asn>>,
    down: TimeWindow,
) -> Vec<PeerNews> {
    let told_anew = down.end.plus_secs(1);
    for one in news.iter().filter(|one| one.peer == peer && one.time < told_anew) {
        match &one.news {
            News::Route { prefix, path: Some(path) } => held.insert(*prefix, path.clone()),
            News::Route { prefix, path: None } => held.remove(prefix),
            News::State { .. } => None,
        };
    }
    let gone = News::State { old: fsm::ESTABLISHED, new: fsm::IDLE };
    let back = News::State { old: fsm::OPEN_CONFIRM, new: fsm::ESTABLISHED };
    let mut all = vec![
        PeerNews { time: down.start, peer, news: gone },
        PeerNews { time: down.end, peer, news: back },
    ];
    all.extend(held.into_iter().map(|(prefix, path)| PeerNews {
        time: told_anew,
        peer,
        news: News::Route { prefix, path: Some(path) },
    }));
    let silent = TimeWindow { start: down.start, end: told_anew };
    all.extend(news.into_iter().filter(|one| one.peer != peer || !silent.contains(one.time)));
    all.sort_by_key(|one| one.time);
    all
}
