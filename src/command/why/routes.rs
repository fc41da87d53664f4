//! Route changes as few lines: who moved from which path to which, how many of them, and when.
//!
//! Changes that say the same of one prefix and follow each other closely are one line. Two paths are
//! told by where they part, seen from the origin, so that twelve peers that moved for one reason are
//! one line and not twelve.

use std::collections::{BTreeMap, BTreeSet};

use schemas::time::Timestamp;

use super::Event;

/// Changes of one kind that are further apart are told apart, seconds; then, if that gives too many
/// lines, these.
const GAPS_SECS: [i64; 4] = [60, 300, 3_600, i64::MAX];

/// Hops told of a path that came or went.
const HOPS_TOLD: usize = 2;

/// A peer's table: collector, router, address, AS number, view.
pub(super) type Peer = [String; 5];

/// What a peer said of a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// It has this route.
    Announce(Vec<u32>),
    /// It has this route, says a table dump.
    Dump(Vec<u32>),
    /// It has none.
    Withdraw,
    /// Its session is down.
    Down,
}

/// One word of one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) time: Timestamp,
    pub(super) peer: Peer,
    /// Prefix and path identifier.
    pub(super) route: (String, String),
    pub(super) connection: String,
    pub(super) word: Word,
}

/// The AS numbers of a path, its origin last.
pub(super) fn path(text: &str) -> Vec<u32> {
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|asn| asn.parse().ok()).collect()
}

/// What a change is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// To another origin.
    Rehomed,
    Moved,
    Announced,
    Withdrew,
    Prepended,
    Repeated,
    Idle,
    Dumped,
}

/// What changes have in common that are told in one line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Sort {
    prefix: String,
    view: String,
    kind: Kind,
    from: String,
    to: String,
}

#[derive(Clone, Debug)]
struct Change {
    time: Timestamp,
    sort: Sort,
    connection: String,
    peer: Peer,
    example: String,
}

/// Changes that are one line.
#[derive(Clone, Debug)]
struct Line {
    sort: Sort,
    connection: String,
    first: Timestamp,
    last: Timestamp,
    peers: BTreeSet<Peer>,
    count: u64,
    example: String,
}

/// Routes as they are held while words are read.
#[derive(Debug, Default)]
pub(super) struct Held {
    routes: BTreeMap<(Peer, String, String), Vec<u32>>,
}

impl Held {
    /// A route that is held before the first word.
    pub(super) fn hold(&mut self, peer: Peer, route: (String, String), path: Vec<u32>) {
        self.routes.insert((peer, route.0, route.1), path);
    }

    /// Peers that hold a route.
    pub(super) fn peers(&self) -> BTreeSet<&Peer> {
        self.routes.keys().map(|(peer, _, _)| peer).collect()
    }

    /// Lines for words in the order in which they were said: as many as `lines_max`, or, where that
    /// cannot be, as few as there are.
    pub(super) fn lines(mut self, said: &[Said], lines_max: usize) -> Vec<Event> {
        let changes: Vec<Change> = said.iter().filter_map(|said| self.change(said)).collect();
        let mut lines = Vec::new();
        for gap_secs in GAPS_SECS {
            lines = together(&changes, gap_secs);
            if lines.len() <= lines_max {
                break;
            }
        }
        lines.iter().map(Line::event).collect()
    }

    fn change(&mut self, said: &Said) -> Option<Change> {
        let Said { peer, route, .. } = said;
        if said.word == Word::Down {
            self.routes.retain(|(of, _, _), _| of != peer);
            return None;
        }
        let key = (peer.clone(), route.0.clone(), route.1.clone());
        let (before, after) = match &said.word {
            Word::Announce(path) | Word::Dump(path) => {
                (self.routes.insert(key, path.clone()), Some(path.as_slice()))
            }
            Word::Withdraw | Word::Down => (self.routes.remove(&key), None),
        };
        let is_dump = matches!(said.word, Word::Dump(_));
        let (kind, from, to) = sort(before.as_deref(), after, is_dump);
        let example = match kind {
            Kind::Rehomed | Kind::Moved | Kind::Announced => after.map(all).unwrap_or_default(),
            Kind::Withdrew => before.as_deref().map(all).unwrap_or_default(),
            _ => String::new(),
        };
        let view = peer.last().cloned().unwrap_or_default();
        Some(Change {
            time: said.time,
            sort: Sort { prefix: route.0.clone(), view, kind, from, to },
            connection: said.connection.clone(),
            peer: peer.clone(),
            example,
        })
    }
}

/// What a change is, and what it is told by.
fn sort(before: Option<&[u32]>, after: Option<&[u32]>, is_dump: bool) -> (Kind, String, String) {
    let none = String::new;
    match (before, after) {
        (Some(before), Some(after)) => {
            let (old, new) = (from_origin(before), from_origin(after));
            if old == new {
                let kind = if before == after { Kind::Repeated } else { Kind::Prepended };
                return (if is_dump { Kind::Dumped } else { kind }, none(), none());
            }
            match old.iter().zip(&new).take_while(|(a, b)| a == b).count() {
                0 => (Kind::Rehomed, origin(&old), origin(&new)),
                same => (Kind::Moved, tail(&old, same + 1), tail(&new, same + 1)),
            }
        }
        (None, Some(_)) if is_dump => (Kind::Dumped, none(), none()),
        (None, Some(after)) => (Kind::Announced, none(), tail(&from_origin(after), HOPS_TOLD)),
        (Some(before), None) => (Kind::Withdrew, tail(&from_origin(before), HOPS_TOLD), none()),
        (None, None) => (Kind::Idle, none(), none()),
    }
}

/// A path from its origin on, prepends collapsed.
fn from_origin(path: &[u32]) -> Vec<u32> {
    let mut hops: Vec<u32> = path.iter().rev().copied().collect();
    hops.dedup();
    hops
}

fn origin(hops: &[u32]) -> String {
    hops.first().map_or_else(|| "none".to_owned(), |origin| format!("AS{origin}"))
}

/// The end of a path that is told: so many hops.
fn tail(hops: &[u32], count: usize) -> String {
    let told: Vec<String> = hops.iter().take(count).rev().map(u32::to_string).collect();
    let dots = if hops.len() > count { "... " } else { "" };
    format!("{dots}{}", told.join(" "))
}

fn all(path: &[u32]) -> String {
    path.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")
}

/// Changes of one sort that follow each other within a gap, in the order of their first.
fn together(changes: &[Change], gap_secs: i64) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let mut newest: BTreeMap<&Sort, usize> = BTreeMap::new();
    for change in changes {
        let line = newest.get(&change.sort).and_then(|index| lines.get_mut(*index));
        match line.filter(|line| change.time.secs_since(line.last) < gap_secs) {
            Some(line) => {
                line.last = change.time;
                line.peers.insert(change.peer.clone());
                line.count += 1;
            }
            None => {
                newest.insert(&change.sort, lines.len());
                lines.push(Line {
                    sort: change.sort.clone(),
                    connection: change.connection.clone(),
                    first: change.time,
                    last: change.time,
                    peers: BTreeSet::from([change.peer.clone()]),
                    count: 1,
                    example: change.example.clone(),
                });
            }
        }
    }
    lines
}

impl Line {
    fn event(&self) -> Event {
        Event {
            time: self.first,
            until: self.last,
            what: "route",
            connection: self.connection.clone(),
            prefix: self.sort.prefix.clone(),
            count: self.count,
            text: self.text(),
            finding_id: String::new(),
        }
    }

    fn text(&self) -> String {
        let Sort { view, kind, from, to, .. } = &self.sort;
        let such = match (self.peers.len(), self.example.as_str()) {
            (_, "") => String::new(),
            (1, example) => format!(" ({example})"),
            (_, example) => format!(", such as {example}"),
        };
        let what = match kind {
            Kind::Rehomed => format!("moved from origin {from} to origin {to}{such}"),
            Kind::Moved => format!("moved from {from} to {to}{such}"),
            Kind::Announced => format!("announced {to}, no route before{such}"),
            Kind::Withdrew => format!("withdrew {from}{such}"),
            Kind::Prepended => "announced the same path with other prepends".to_owned(),
            Kind::Repeated => "announced the same path again".to_owned(),
            Kind::Idle => "withdrew what was not held".to_owned(),
            Kind::Dumped => "hold it, says a table dump".to_owned(),
        };
        let who = match (self.peers.len(), self.peers.first()) {
            (1, Some([_, _, address, asn, _])) => format!("AS{asn} ({address})"),
            (peers, _) => format!("{peers} peers"),
        };
        let often = if self.count > self.peers.len() as u64 {
            format!(", {} times", self.count)
        } else {
            String::new()
        };
        let table = if view == "adj_rib_in_pre" { "" } else { view.as_str() };
        let table = if table.is_empty() { String::new() } else { format!(" [{table}]") };
        format!("{who} {what}{often}{table}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u32) -> Peer {
        ["c", "", &format!("192.0.2.{number}"), &format!("{}", 65_536 + number), "adj_rib_in_pre"]
            .map(str::to_owned)
    }

    fn said(secs: i64, of: u32, word: Word) -> Said {
        Said {
            time: Timestamp::from_secs(secs),
            peer: peer(of),
            route: ("203.0.113.0/24".to_owned(), String::new()),
            connection: "contoso".to_owned(),
            word,
        }
    }

    fn texts(events: &[Event]) -> Vec<&str> {
        events.iter().map(|event| event.text.as_str()).collect()
    }

    fn holding(peers: u32) -> Held {
        let mut held = Held::default();
        for of in 1..=peers {
            let route = ("203.0.113.0/24".to_owned(), String::new());
            held.hold(peer(of), route, vec![65_536 + of, 64_500, 64_510]);
        }
        held
    }

    /// Three peers hold the right route; another origin wins two of them within a minute, then lets go.
    #[test]
    fn peers_that_move_for_one_reason_are_one_line() {
        let bad = |of: u32| Word::Announce(vec![65_536 + of, 64_501, 64_511]);
        let good = |of: u32| Word::Announce(vec![65_536 + of, 64_500, 64_510]);
        let words = [
            said(10, 1, bad(1)),
            said(40, 2, bad(2)),
            said(500, 1, good(1)),
            said(501, 2, good(2)),
            said(502, 2, good(2)),
        ];
        let events = holding(3).lines(&words, 100);
        assert_eq!(
            texts(&events),
            [
                "2 peers moved from origin AS64510 to origin AS64511, such as 65537 64501 64511",
                "2 peers moved from origin AS64511 to origin AS64510, such as 65537 64500 64510",
                "AS65538 (192.0.2.2) announced the same path again",
            ]
        );
        let first = events.first().unwrap();
        assert_eq!((first.time.secs(), first.until.secs(), first.count), (10, 40, 2));
    }

    #[test]
    fn paths_are_told_from_the_origin_to_where_they_part() {
        let leak = Word::Announce(vec![65_537, 64_504, 64_500, 64_500, 64_510]);
        let events = holding(1).lines(&[said(10, 1, leak)], 100);
        assert_eq!(
            texts(&events),
            ["AS65537 (192.0.2.1) moved from 65537 64500 64510 to ... 64504 64500 64510 \
              (65537 64504 64500 64500 64510)"]
        );
        let prepended = Word::Announce(vec![65_537, 64_500, 64_510, 64_510]);
        let events = holding(1).lines(&[said(10, 1, prepended)], 100);
        assert_eq!(
            texts(&events),
            ["AS65537 (192.0.2.1) announced the same path with other prepends"]
        );
    }

    #[test]
    fn a_session_that_falls_takes_its_routes_along() {
        let again = Word::Announce(vec![65_537, 64_500, 64_510]);
        let words = [said(10, 1, Word::Down), said(20, 1, again), said(30, 2, Word::Withdraw)];
        let events = holding(2).lines(&words, 100);
        assert_eq!(
            texts(&events),
            [
                "AS65537 (192.0.2.1) announced ... 64500 64510, no route before (65537 64500 64510)",
                "AS65538 (192.0.2.2) withdrew ... 64500 64510 (65538 64500 64510)",
            ]
        );
    }

    /// One peer withdraws and announces every two minutes, five hundred times over.
    #[test]
    fn a_flapping_route_is_a_readable_number_of_lines() {
        let words: Vec<Said> = (0..1_000)
            .map(|n| {
                let path = vec![65_537, 64_500, 64_510];
                said(n * 120, 1, if n % 2 == 0 { Word::Withdraw } else { Word::Announce(path) })
            })
            .collect();
        let events = holding(1).lines(&words, 100);
        assert_eq!(events.len(), 2, "{:?}", texts(&events));
        assert_eq!(events.iter().map(|event| event.count).sum::<u64>(), 1_000);
    }
}
