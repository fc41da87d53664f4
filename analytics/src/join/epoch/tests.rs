//! What peers say of one prefix, and which route that makes the one in force.

use std::net::Ipv4Addr;

use schemas::bgp::AsPath;

use super::*;
use crate::rib::RouteChange;

const PREFIX: &str = "203.0.113.0/24";
const EDGES: &str = "edge_id,metro,latitude,longitude,communities,next_hops\n\
                     sea01,Seattle,47.6,-122.3,,192.0.2.1\npdx01,Portland,45.5,-122.7,64500:2,\n";

struct Story {
    registry: Registry,
    edges: Edges,
    rib: Rib,
    epochs: Epochs,
}

impl Story {
    fn new(sessions: &str) -> Self {
        let connection =
            format!(r#"{{"name": "a", "prefixes": ["{PREFIX}"], "sessions": {sessions}}}"#);
        let mut story = Self {
            registry: Registry::new(
                1,
                vec![serde_json::from_str(&connection).unwrap()],
                Vec::new(),
            )
            .unwrap(),
            edges: Edges::read(EDGES.as_bytes()).unwrap(),
            rib: Rib::default(),
            epochs: Epochs::default(),
        };
        story.begin(None, 0);
        story
    }

    fn begin(&mut self, before: Option<&Registry>, secs: i64) {
        let held = (&self.rib, &self.edges);
        self.epochs.begin(before, &self.registry, |_| true, held, Timestamp::from_secs(secs));
    }

    /// A peer says that it has a route by this path and next hop, or none; whether that is an epoch.
    fn says(&mut self, peer: u8, secs: i64, path: Option<&[u32]>, next_hop: Option<&str>) -> bool {
        let header = Arc::new(PeerHeader::public(
            "c".into(),
            Ipv4Addr::new(198, 51, 100, peer).into(),
            Asn(64_600 + u32::from(peer)),
        ));
        let prefix: Prefix = PREFIX.parse().unwrap();
        let route = path.map(|path| {
            Arc::new(PathAttributes {
                as_path: AsPath::sequence(path.iter().copied()),
                next_hop: next_hop.map(|hop| hop.parse().unwrap()),
                ..PathAttributes::default()
            })
        });
        let peer = self.rib.peer_id(&header);
        let changed: RouteChange = self.rib.apply(peer, prefix, None, route);
        let touches: Vec<_> = self.registry.touches("public", &prefix).collect();
        let time = Timestamp::from_secs(secs);
        let change = Change {
            log_time: time,
            time,
            peer,
            header: &header,
            prefix,
            path_id: None,
            route: &changed,
            touches: &touches,
            writes: true,
            is_snapshot: false,
            source: &"story".into(),
            source_offset: 0,
        };
        !self.epochs.on_change(&change, &self.registry, &self.edges).is_empty()
    }

    /// Path, length, role and edge in force at a moment.
    fn at(&self, secs: i64) -> Option<(String, u16, String, String)> {
        let epoch = self.epochs.at(&self.owner(), Timestamp::from_secs(secs))?;
        let route = epoch.route.as_ref()?;
        let text = |text: &Option<Text>| text.as_deref().unwrap_or_default().to_owned();
        Some((route.path_text().to_string(), epoch.as_hops, text(&route.role), text(&route.edge)))
    }

    fn id(&self, secs: i64) -> u64 {
        self.epochs.at(&self.owner(), Timestamp::from_secs(secs)).unwrap().id
    }

    fn owner(&self) -> Owner {
        Owner { connection: 0, prefix: PREFIX.parse().unwrap() }
    }
}

fn told(path: &str, hops: u16, role: &str, edge: &str) -> Option<(String, u16, String, String)> {
    Some((path.to_owned(), hops, role.to_owned(), edge.to_owned()))
}

/// Three peers reach AS64510 by AS64500, two by AS64501. What peers further off do is no epoch; when
/// most have gone over it is one, and the old one comes back under its name.
#[test]
fn without_a_session_what_most_peers_agree_on_is_in_force() {
    let mut story = Story::new("[]");
    for peer in 1..=3 {
        story.says(peer, 10, Some(&[64_600, 64_500, 64_510]), None);
    }
    for peer in 4..=5 {
        story.says(peer, 10, Some(&[64_600, 64_700, 64_501, 64_510]), None);
    }
    assert_eq!(story.at(9), None, "nothing was known");
    assert_eq!(story.at(10), told("64500 64510", 3, "", ""));
    assert!(!story.says(1, 20, Some(&[64_600, 64_601, 64_500, 64_510]), None), "further off");
    assert!(story.says(1, 30, Some(&[64_700, 64_501, 64_510]), None), "three of five");
    assert!(!story.says(2, 31, Some(&[64_700, 64_501, 64_510]), None));
    assert_eq!(
        story.at(31),
        told("64501 64510", 3, "", ""),
        "of equally common lengths the shorter"
    );
    for peer in 1..=5 {
        story.says(peer, 40, None, None);
    }
    assert_eq!(story.at(40), None, "nobody holds it");
    assert!(story.says(1, 50, Some(&[64_500, 64_510]), None));
    assert_eq!((story.id(50), story.id(60)), (story.id(10), story.id(10)), "the same route again");
    assert_ne!(story.id(31), story.id(10));
    assert_eq!(story.at(29).unwrap().0, "64500 64510", "the past stays");
}

#[test]
fn of_equally_many_whoever_is_in_force_stays() {
    let mut story = Story::new("[]");
    story.says(1, 10, Some(&[64_502, 64_510]), None);
    assert!(!story.says(2, 20, Some(&[64_501, 64_510]), None));
    assert_eq!(story.at(20).unwrap().0, "64502 64510");
    assert!(story.says(3, 30, Some(&[64_501, 64_510]), None));
}

/// The primary session falls, the backup carries, the primary returns: three epochs, with role and
/// edge; a prepend and what other peers say is none.
#[test]
fn the_route_of_a_listed_session_is_in_force_the_primary_before_the_backup() {
    let mut story = Story::new(
        r#"[{"peer_ip": "198.51.100.2", "role": "backup"}, {"peer_ip": "198.51.100.1", "role": "primary"}]"#,
    );
    story.says(9, 5, Some(&[64_900, 64_510]), None);
    story.says(2, 10, Some(&[64_501, 64_510]), None);
    assert!(story.says(1, 20, Some(&[64_500, 64_510]), Some("192.0.2.1")));
    assert_eq!(story.at(15), told("64501 64510", 2, "backup", ""));
    assert_eq!(story.at(20), told("64500 64510", 2, "primary", "sea01"));
    assert!(!story.says(1, 21, Some(&[64_500, 64_500, 64_510]), Some("192.0.2.1")), "a prepend");
    assert!(!story.says(9, 22, None, None), "another peer");
    assert!(!story.says(2, 23, Some(&[64_502, 64_510]), None), "the backup's own change");
    assert!(story.says(1, 30, None, None));
    assert_eq!(story.at(30), told("64502 64510", 2, "backup", ""));
    assert!(story.says(1, 40, Some(&[64_500, 64_510]), Some("192.0.2.1")));
    assert_eq!(story.id(40), story.id(20));
    assert!(story.says(1, 50, Some(&[64_500, 64_510]), Some("192.0.2.9")), "another next hop");
    let (from, until) = (Timestamp::from_secs(45), Timestamp::from_secs(60));
    let (before, after) = story.epochs.change_in(&story.owner(), from, until).unwrap();
    assert_eq!((before.since.secs(), after.since.secs()), (40, 50));
    assert!(story.epochs.change_in(&story.owner(), Timestamp::from_secs(51), until).is_none());
}

#[test]
fn a_late_word_opens_no_epoch_in_the_past_and_the_number_is_bounded() {
    let mut story = Story::new("[]");
    for secs in 0..300 {
        let upstream = 64_500 + (secs % 2) as u32;
        story.says(1, 1_000 + secs, Some(&[upstream, 64_510]), None);
    }
    assert_eq!(story.epochs.of[&story.owner()].epochs.len(), EPOCHS_MAX);
    assert_eq!(story.at(1_000), None, "too long ago");
    story.says(1, 5, Some(&[64_509, 64_510]), None);
    assert_eq!(story.at(1_298).unwrap().0, "64500 64510");
    assert_eq!(story.at(1_299).unwrap().0, "64509 64510", "from the last known time on");
}

/// A new version of the registry has other numbers; the past of a prefix that stays, stays.
#[test]
fn a_version_of_the_registry_counts_anew_and_keeps_the_past() {
    let mut story = Story::new("[]");
    story.says(1, 10, Some(&[64_500, 64_510]), None);
    let before = story.registry.clone();
    let first = r#"{"name": "0", "prefixes": ["192.0.2.0/24"]}"#;
    let mut connections = before.connections().to_vec();
    connections.push(serde_json::from_str(first).unwrap());
    story.registry = Registry::new(2, connections, Vec::new()).unwrap();
    story.begin(Some(&before), 20);
    let owner = Owner { connection: 1, prefix: PREFIX.parse().unwrap() };
    let epoch = story.epochs.at(&owner, Timestamp::from_secs(15)).unwrap();
    assert_eq!((epoch.since.secs(), epoch.as_hops), (10, 2));
    assert_eq!(story.epochs.of[&owner].epochs.len(), 1, "nothing changed");
}
