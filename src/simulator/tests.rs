//! What every simulation promises, checked on the demo's story and on quiet worlds.

use std::collections::{BTreeMap, BTreeSet};

use schemas::bgp::{Asn, Prefix};
use schemas::time::{TimeWindow, Timestamp};

use super::propagation::Routes;
use super::timeline::PrefixTimeline;
use super::topology::Relation;
use super::vantage::{Feed, News, PeerNews, VantagePoint};
use super::*;

/// A scenario on its way to bytes.
struct World {
    scenario: Scenario,
    topology: Topology,
    timelines: Vec<PrefixTimeline>,
    points: Vec<VantagePoint>,
    news: Vec<PeerNews>,
}

impl World {
    fn of(scenario: Scenario) -> Self {
        let topology = topology_of(&scenario);
        let seed = scenario.seed;
        let timelines = timeline::plan(&scenario, &topology, &mut stream(seed, Stream::Timeline));
        let points = vantage::vantage_points(&scenario, &topology);
        let mut chance = stream(seed, Stream::News);
        let news = vantage::news(&scenario, &topology, &points, &timelines, &mut chance);
        Self { scenario, topology, timelines, points, news }
    }

    fn demo(seed: u64) -> Self {
        Self::of(story::scenario(seed))
    }

    fn incident(&self, kind: IncidentKind) -> &Incident {
        self.scenario.incidents.iter().find(|incident| incident.kind == kind).unwrap()
    }

    fn routes(&self, prefix: Prefix, time: Timestamp) -> &Routes {
        let timeline = self.timelines.iter().find(|timeline| timeline.prefix == prefix).unwrap();
        &timeline.states.iter().rfind(|(since, _)| *since <= time).unwrap().1
    }

    /// What the peers show for a prefix at a time, once it has spread.
    fn shown(&self, prefix: Prefix, time: Timestamp) -> Vec<Vec<Asn>> {
        let routes = self.routes(prefix, time);
        self.points
            .iter()
            .filter_map(|point| point.shown(&self.topology, &prefix, routes))
            .collect()
    }

    /// The table of all peers after the news before `time`.
    fn replayed(&self, time: Timestamp) -> BTreeMap<(u16, Prefix), Vec<Asn>> {
        let mut table = BTreeMap::new();
        for timeline in &self.timelines {
            for (peer, point) in (0..).zip(&self.points) {
                let path = point.shown(&self.topology, &timeline.prefix, &timeline.states[0].1);
                table.extend(path.map(|path| ((peer, timeline.prefix), path)));
            }
        }
        for one in self.news.iter().filter(|one| one.time < time) {
            match &one.news {
                News::Route { prefix, path: Some(path) } => {
                    table.insert((one.peer, *prefix), path.clone());
                }
                News::Route { prefix, path: None } => {
                    table.remove(&(one.peer, *prefix));
                }
                News::State { new, .. } if *new == vantage::fsm::IDLE => {
                    table.retain(|(peer, _), _| *peer != one.peer);
                }
                News::State { .. } => {}
            }
        }
        table
    }
}

fn at(minute: i64) -> Timestamp {
    story::START.plus_secs(minute * 60)
}

#[derive(Debug)]
struct Line {
    time: Timestamp,
    ip: std::net::IpAddr,
    rtt_us: Option<u64>,
}

fn lines(rtt: &[u8]) -> Vec<Line> {
    let text = std::str::from_utf8(rtt).unwrap();
    let read = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        Line {
            time: value["time"].as_str().unwrap().parse().unwrap(),
            ip: value["ip"].as_str().unwrap().parse().unwrap(),
            rtt_us: value["rtt_us"].as_u64(),
        }
    };
    text.lines().map(read).collect()
}

/// Nearest-rank quantile of the round trips of a prefix in a window.
fn quantile(lines: &[Line], prefix: Prefix, window: TimeWindow, permille: usize) -> u64 {
    let mine = lines.iter().filter(|line| window.contains(line.time) && prefix.contains(line.ip));
    let mut values: Vec<u64> = mine.filter_map(|line| line.rtt_us).collect();
    values.sort_unstable();
    values[(values.len() * permille).div_ceil(1000).max(1) - 1]
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let first = demo(7);
    assert!(first == demo(7));
    let other = demo(8);
    assert!(first.rib != other.rib && first.updates != other.updates && first.rtt != other.rtt);
    assert_eq!(first.incidents, other.incidents);
}

#[test]
fn every_path_is_valley_free_but_those_of_the_leak_which_bend_at_the_leaker() {
    let world = World::demo(1);
    let leak = world.incident(IncidentKind::RouteLeak);
    let forged = world.incident(IncidentKind::ForgedSubPrefix);
    let told_later = leak.window.end.plus_secs(40);
    let mut bent = BTreeSet::new();
    for one in &world.news {
        let News::Route { prefix, path: Some(path) } = &one.news else {
            continue;
        };
        if *prefix == forged.prefix {
            assert!(path.ends_with(&[cast::PATH_FORGER, cast::FABRIKAM]), "{path:?}");
            assert_eq!(world.topology.valley(&path[..path.len() - 1]), None, "{path:?}");
        } else if let Some(at) = world.topology.valley(path) {
            assert_eq!(at, cast::CASCADIA, "{path:?}");
            assert!(leak.window.start <= one.time && one.time < told_later, "{}", one.time);
            bent.insert(*prefix);
        }
    }
    assert!(bent.contains(&leak.prefix) && bent.len() > 10, "{bent:?}");
    for path in world.replayed(Timestamp::MIN).values() {
        assert_eq!(world.topology.valley(path), None, "{path:?}");
    }
}

#[test]
fn the_leak_passes_from_one_configured_upstream_to_the_other() {
    for seed in 0..5 {
        let world = World::demo(seed);
        let leak = world.incident(IncidentKind::RouteLeak);
        let upstreams = world.topology.related(cast::CASCADIA, Relation::Provider);
        assert_eq!(upstreams, [Asn(64_498), cast::PROSEWARE]);
        let shown = world.shown(leak.prefix, leak.window.start);
        let bends = [upstreams[0], cast::CASCADIA, upstreams[1]];
        let bent = shown.iter().filter(|path| path.windows(3).any(|hops| hops == bends)).count();
        assert!(bent >= 3 && bent * 4 <= shown.len() * 3, "seed {seed}: {bent} of {}", shown.len());
        let sibling = world.shown(offices::SEATTLE_V4, leak.window.start);
        assert_eq!(sibling, world.shown(offices::SEATTLE_V4, at(0)));
    }
}

#[test]
fn about_half_of_the_viewers_believe_the_hijacker() {
    for seed in 0..8 {
        let world = World::demo(seed);
        let hijack = world.incident(IncidentKind::OriginHijack);
        let shown = world.shown(hijack.prefix, hijack.window.start);
        let believers = shown.iter().filter(|path| path.last() == hijack.culprit.as_ref()).count();
        let percent = believers * 100 / shown.len();
        assert!(
            (30..=70).contains(&percent) && believers >= 4,
            "seed {seed}: {believers} of {}",
            shown.len()
        );
    }
}

#[test]
fn every_announced_prefix_is_in_the_table_and_no_other() {
    let world = World::demo(1);
    for connection in &world.scenario.connections {
        for plan in &connection.prefixes {
            let known = world.timelines.iter().any(|timeline| timeline.prefix == plan.prefix);
            assert_eq!(known, connection.announced, "{}", plan.prefix);
            if known {
                let shown = world.shown(plan.prefix, at(0));
                assert!(shown.len() >= 8, "{}: {}", plan.prefix, shown.len());
                assert!(shown.iter().all(|path| path.last() == Some(&connection.origin)));
            }
        }
    }
    assert_eq!(world.points.iter().filter(|point| point.feed == Feed::Full).count(), 8);
    assert_eq!(world.points.iter().filter(|point| point.feed == Feed::Customers).count(), 16);
}

#[test]
fn replaying_the_news_ends_in_what_every_peer_shows() {
    for seed in 0..3 {
        let world = World::demo(seed);
        assert!(world.news.is_sorted_by_key(|one| one.time));
        let mut expected = BTreeMap::new();
        for timeline in &world.timelines {
            for (peer, point) in (0..).zip(&world.points) {
                let (_, last) = timeline.states.last().unwrap();
                let path = point.shown(&world.topology, &timeline.prefix, last);
                expected.extend(path.map(|path| ((peer, timeline.prefix), path)));
            }
        }
        assert_eq!(world.replayed(Timestamp::MAX), expected);
    }
}

#[test]
fn the_primary_goes_the_backup_carries_and_the_primary_returns() {
    let world = World::demo(1);
    let lost = world.incident(IncidentKind::PrimaryLost).clone();
    let via = |time: Timestamp| -> BTreeSet<Asn> {
        let shown = world.shown(lost.prefix, time);
        shown.iter().map(|path| path[path.len() - 2]).collect()
    };
    assert_eq!(via(at(0)), BTreeSet::from([cast::TAILSPIN]));
    assert_eq!(via(lost.window.start), BTreeSet::from([cast::ALPINE]));
    assert_eq!(via(lost.window.end), BTreeSet::from([cast::TAILSPIN]));
    let states: Vec<_> = world
        .news
        .iter()
        .filter(|one| world.points[usize::from(one.peer)].address == offices::CHICAGO_PRIMARY)
        .filter_map(|one| match one.news {
            News::State { new, .. } => Some((one.time, new)),
            News::Route { .. } => None,
        })
        .collect();
    assert_eq!(states, [(lost.window.start, 1), (lost.window.end, 6)]);
}

#[test]
fn a_withdrawal_is_explored_before_it_is_final() {
    let world = World::demo(1);
    let gone = |one: &&PeerNews| matches!(&one.news, News::Route { prefix, .. } if *prefix == offices::OSLO_V6);
    let told: Vec<&PeerNews> = world.news.iter().filter(gone).collect();
    let longer =
        told.iter().filter(|one| matches!(one.news, News::Route { path: Some(_), .. })).count();
    assert!(longer > 2 && told.len() > 10, "{longer} of {}", told.len());
    assert!(told.iter().all(|one| at(52) <= one.time && one.time < at(53)));
}

#[test]
fn the_second_origin_is_a_sibling_that_is_not_registered() {
    let world = World::demo(1);
    let origins: BTreeSet<Asn> = world
        .shown(offices::MADRID_V4, at(15))
        .iter()
        .filter_map(|path| path.last().copied())
        .collect();
    assert_eq!(origins, BTreeSet::from([cast::FABRIKAM, cast::FABRIKAM_CLOUD]));
    let owner = |asn: Asn| {
        let text = world.topology.organisations();
        let line = text.lines().find(|line| line.starts_with(&format!("{},", asn.0))).unwrap();
        line.split_once(',').unwrap().1.to_owned()
    };
    assert_eq!(owner(cast::FABRIKAM), owner(cast::FABRIKAM_CLOUD));
}

#[test]
fn the_configuration_is_toml_with_all_connections_and_the_links_of_the_watched() {
    let config: toml::Table = toml::from_str(&demo(1).config).unwrap();
    let connections = config["connection"].as_array().unwrap();
    assert_eq!(connections.len(), 10);
    let tenants: BTreeSet<&str> =
        connections.iter().map(|one| one["tenant"].as_str().unwrap()).collect();
    assert_eq!(tenants, BTreeSet::from(["contoso", "fabrikam", "northwind"]));
    let leaker = config["asn"].as_array().unwrap()[0].as_table().unwrap();
    assert_eq!(leaker["number"].as_integer(), Some(64_504));
    assert_eq!(leaker["upstreams"].as_array().unwrap().len(), 2);
    assert!(!config.contains_key("lake"));
}

#[test]
fn samples_lie_in_order_and_are_about_a_hundred_a_minute_for_each_active_prefix() {
    let lines = lines(&demo(1).rtt);
    assert!(lines.is_sorted_by_key(|line| line.time));
    assert!((85_000..95_000).contains(&lines.len()), "{}", lines.len());
    let lost = lines.iter().filter(|line| line.rtt_us.is_none()).count();
    assert!((200..2_500).contains(&lost), "{lost}");
    let registered: Vec<Prefix> = story::scenario(1)
        .connections
        .iter()
        .filter(|connection| connection.state == "Active")
        .flat_map(|connection| connection.prefixes.iter().map(|plan| plan.prefix))
        .collect();
    let stray =
        lines.iter().filter(|line| registered.iter().all(|prefix| !prefix.contains(line.ip)));
    assert_eq!(stray.count(), 240);
    for prefix in registered {
        for minute in 0..60 {
            let window = TimeWindow { start: at(minute), end: at(minute + 1) };
            let count = lines
                .iter()
                .filter(|line| window.contains(line.time) && prefix.contains(line.ip))
                .count();
            assert!((100..=130).contains(&count), "{prefix} {minute}: {count}");
        }
    }
}

/// The heart of the demo: what an average of medians hides and a 95th percentile shows.
#[test]
fn the_leak_moves_the_tail_but_neither_the_median_nor_the_sibling() {
    for seed in 0..3 {
        let lines = lines(&demo(seed).rtt);
        let minutes = |from: i64, to: i64| {
            (from..to).map(|minute| TimeWindow { start: at(minute), end: at(minute + 1) })
        };
        let normal = TimeWindow { start: at(0), end: at(27) };
        let median = quantile(&lines, offices::REDMOND_V4, normal, 500);
        let tail = quantile(&lines, offices::REDMOND_V4, normal, 950);
        let sibling =
            quantile(&lines, offices::SEATTLE_V4, TimeWindow { start: at(18), end: at(27) }, 950);
        let mut high = 0;
        for window in minutes(27, 39) {
            let now = quantile(&lines, offices::REDMOND_V4, window, 500);
            assert!(now.abs_diff(median) < 1_000, "median {median} {now}");
            high += u32::from(quantile(&lines, offices::REDMOND_V4, window, 950) > 5 * tail);
            let now = quantile(&lines, offices::SEATTLE_V4, window, 950);
            assert!(now < sibling + 3_000, "sibling {sibling} {now}");
        }
        assert!(high >= 11, "{high} of 12 minutes");
    }
}

#[test]
fn detours_are_as_long_as_the_globe_makes_them() {
    let lines = lines(&demo(1).rtt);
    let median = |prefix, from, to| {
        quantile(&lines, prefix, TimeWindow { start: at(from), end: at(to) }, 500)
    };
    let singapore = median(offices::SINGAPORE_V4, 30, 60) - median(offices::SINGAPORE_V4, 0, 30);
    assert!((45_000..48_500).contains(&singapore), "{singapore}");
    let chicago = median(offices::CHICAGO_V6, 42, 49) - median(offices::CHICAGO_V6, 0, 42);
    assert!((12_000..14_500).contains(&chicago), "{chicago}");
}

#[test]
fn a_quiet_world_has_as_many_as_asked_for_and_no_news_of_the_registered() {
    let options = QuietOptions {
        connections: 7,
        prefixes: 300,
        samples_per_minute: 5,
        minutes: 2,
        ..QuietOptions::default()
    };
    let world = World::of(quiet::quiet_scenario(3, &options));
    let registered: BTreeSet<Prefix> = (0..300).map(quiet::quiet_prefix).collect();
    let of_registered = |one: &PeerNews| matches!(&one.news, News::Route { prefix, .. } if registered.contains(prefix));
    assert!(!world.news.is_empty() && !world.news.iter().any(of_registered));
    let quiet = quiet(3, &options);
    assert_eq!(lines(&quiet.rtt).len(), 3_000);
    let config: toml::Table = toml::from_str(&quiet.config).unwrap();
    let connections = config["connection"].as_array().unwrap();
    let prefixes: usize =
        connections.iter().map(|one| one["prefixes"].as_array().unwrap().len()).sum();
    assert_eq!((connections.len(), prefixes), (7, 300));
    assert!(quiet.incidents.is_empty() && quiet.silences.is_empty());
}
