//! A naive table: routes by peer, no detection. It says when an incident could be told, who held a
//! bad route when, and when it was over.
//!
//! Bad is what the label makes bad. A route of a changed origin: one that ends in an AS that may not
//! originate it and did not in the table dump. A forged one: the culprit stands on its path, and from
//! the origin up to it there is a link that nobody knows, or the prefix is one that nobody held
//! before. A leaked one: the culprit stands between two neighbours that nobody saw it stand between.

use std::collections::{BTreeMap, BTreeSet};

use schemas::bgp::Prefix;
use schemas::time::Timestamp;

use super::label::{Category, Label};

/// A peer: collector and address.
pub type Peer = (String, String);

/// What a peer said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// It holds a route with this path, its origin last.
    Path(Vec<u32>),
    /// It holds none.
    Nothing,
    /// Its session is down.
    Down,
}

/// One word of one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// When.
    pub time: Timestamp,
    /// Whether a table dump says so.
    pub is_dump: bool,
    /// Who.
    pub peer: Peer,
    /// Its AS number.
    pub peer_asn: u32,
    /// Of which prefix, and its path identifier.
    pub route: (Prefix, String),
    /// What.
    pub word: Word,
}

/// What the table says of an incident.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The first bad route.
    pub first_bad_at: Option<Timestamp>,
    /// The first that paths, relationships and ASPA alone tell to be bad.
    pub decidable_at: Option<Timestamp>,
    /// Whether the first bad route ends in an AS that may not originate it.
    pub bad_origin: bool,
    /// The update after which no peer held a bad route any more; none while one does.
    pub ended_at: Option<Timestamp>,
    /// When each peer AS first held a bad route, in that order.
    pub believers: Vec<(Timestamp, u32)>,
}

impl Told {
    /// Peer ASes that had held a bad route before a time; archives tell it to the second.
    #[must_use]
    pub fn believers_before(&self, time: Timestamp) -> usize {
        self.believers.iter().filter(|(since, _)| *since < time).count()
    }
}

/// What was usual: the table dump.
#[derive(Debug, Default)]
struct Usual {
    links: BTreeSet<(u32, u32)>,
    between: BTreeSet<(u32, u32, u32)>,
    origins: BTreeMap<Prefix, BTreeSet<u32>>,
}

impl Usual {
    fn learn(&mut self, prefix: Prefix, hops: &[u32]) {
        self.links.extend(pairs(hops));
        let triples = hops.iter().zip(hops.iter().skip(1)).zip(hops.iter().skip(2));
        self.between.extend(triples.map(|((a, b), c)| (*a, *b, *c)));
        self.origins.entry(prefix).or_default().extend(hops.first());
    }
}

/// Links of a path, the smaller number first.
fn pairs(hops: &[u32]) -> impl Iterator<Item = (u32, u32)> {
    hops.iter().zip(hops.iter().skip(1)).map(|(a, b)| (*a.min(b), *a.max(b)))
}

/// What is bad about a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bad {
    by_origin: bool,
    is_decidable: bool,
}

/// Reads the words in the order in which they were said. `knows` are the links of relationships and
/// ASPA.
pub fn table(label: &Label, said: &[Said], knows: impl Fn(u32, u32) -> bool) -> Told {
    let mut usual = Usual::default();
    let mut told = Told::default();
    let mut held: BTreeMap<(&Peer, &(Prefix, String)), ()> = BTreeMap::new();
    let mut believers: BTreeSet<u32> = BTreeSet::new();
    for Said { time, is_dump, peer, peer_asn, route, word } in said {
        let held_before = held.len();
        match word {
            Word::Down => held.retain(|(of, _), ()| *of != peer),
            Word::Nothing => {
                held.remove(&(peer, route));
            }
            Word::Path(path) => {
                let hops = from_origin(path);
                let by_culprit = hops.first().is_some_and(|origin| {
                    label.culprits.contains(origin) && !label.victims.contains(origin)
                });
                // A dump of the time before is what is usual; one from the midst of it is not.
                if *is_dump && told.first_bad_at.is_none() && !by_culprit {
                    usual.learn(route.0, &hops);
                } else if let Some(bad) = bad(label, &usual, &route.0, &hops, &knows) {
                    if told.first_bad_at.is_none() {
                        (told.first_bad_at, told.bad_origin) = (Some(*time), bad.by_origin);
                    }
                    if bad.is_decidable {
                        told.decidable_at.get_or_insert(*time);
                    }
                    if believers.insert(*peer_asn) {
                        told.believers.push((*time, *peer_asn));
                    }
                    held.insert((peer, route), ());
                } else {
                    held.remove(&(peer, route));
                }
            }
        }
        if held.is_empty() && held_before > 0 {
            told.ended_at = Some(*time);
        } else if !held.is_empty() {
            told.ended_at = None;
        }
    }
    told
}

/// A path from its origin on, prepends collapsed.
fn from_origin(path: &[u32]) -> Vec<u32> {
    let mut hops: Vec<u32> = path.iter().rev().copied().collect();
    hops.dedup();
    hops
}

fn bad(
    label: &Label,
    usual: &Usual,
    prefix: &Prefix,
    hops: &[u32],
    knows: &impl Fn(u32, u32) -> bool,
) -> Option<Bad> {
    if !label.bad_prefix.covers(prefix) {
        return None;
    }
    let origin = hops.first()?;
    let was_usual = usual.origins.get(prefix).is_some_and(|origins| origins.contains(origin));
    let by_origin = !label.victims.contains(origin) && !was_usual;
    let culprit = hops.iter().position(|asn| label.culprits.contains(asn));
    let of_forger = || {
        let forged = hops.get(..=culprit?)?;
        let is_unknown = |(a, b): (u32, u32)| !usual.links.contains(&(a, b)) && !knows(a, b);
        let is_decidable = by_origin || pairs(forged).any(is_unknown);
        let is_new = !usual.origins.contains_key(prefix);
        (is_decidable || is_new).then_some(Bad { by_origin, is_decidable })
    };
    match label.category {
        Category::OriginChange => by_origin.then_some(Bad { by_origin, is_decidable: true }),
        Category::ForgedAsPath => of_forger(),
        Category::Typo if by_origin => Some(Bad { by_origin, is_decidable: true }),
        Category::Typo => of_forger(),
        Category::Leak => {
            let at = culprit.filter(|at| *at > 0)?;
            let (right, left) = (hops.get(at - 1)?, hops.get(at + 1)?);
            let is_new = !usual.between.contains(&(*right, *hops.get(at)?, *left));
            is_new.then_some(Bad { by_origin: false, is_decidable: true })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(category: &str) -> Label {
        let text = format!(
            "category = \"{category}\"\nbad_prefix = \"203.0.113.0/24\"\nvictim_as = 64510\nculprit_as = 64511\n"
        );
        Label::read(&text, false).unwrap()
    }

    fn said(secs: i64, of: u32, word: Word) -> Said {
        Said {
            time: Timestamp::from_secs(secs),
            is_dump: secs == 0,
            peer: ("c".to_owned(), of.to_string()),
            peer_asn: of,
            route: ("203.0.113.0/24".parse().unwrap(), String::new()),
            word,
        }
    }

    fn path(hops: &[u32]) -> Word {
        Word::Path(hops.to_vec())
    }

    /// Two peers believe a foreign origin one after the other; one lets go, the other falls.
    #[test]
    fn an_incident_begins_with_its_first_bad_route_and_ends_with_its_last() {
        let words = [
            said(0, 1, path(&[1, 64_500, 64_510])),
            said(0, 2, path(&[2, 64_500, 64_510])),
            said(10, 1, path(&[1, 64_511])),
            said(20, 2, path(&[2, 64_511])),
            said(30, 1, path(&[1, 64_500, 64_510])),
            said(40, 2, Word::Down),
        ];
        let told = table(&label("origin_change"), &words, |_, _| false);
        let at = |secs| Some(Timestamp::from_secs(secs));
        assert_eq!((told.first_bad_at, told.decidable_at, told.ended_at), (at(10), at(10), at(40)));
        assert_eq!(told.believers_before(Timestamp::from_secs(20)), 1);
        let open = table(&label("origin_change"), words.get(..5).unwrap(), |_, _| false);
        assert_eq!(open.ended_at, None, "one still believes");
    }

    /// What ended and came back is over only when it ends for good.
    #[test]
    fn a_second_burst_is_the_same_incident() {
        let words = [
            said(10, 1, path(&[1, 64_511])),
            said(20, 1, Word::Nothing),
            said(90, 1, path(&[1, 64_511])),
            said(95, 1, Word::Nothing),
        ];
        let told = table(&label("origin_change"), &words, |_, _| false);
        assert_eq!(told.ended_at, Some(Timestamp::from_secs(95)));
    }

    #[test]
    fn a_forged_path_is_decidable_by_its_first_unknown_link_up_to_the_culprit() {
        let words = [
            said(0, 1, path(&[1, 64_500, 64_510])),
            // A new peer of a carrier is nobody's forgery.
            said(5, 3, path(&[3, 64_499, 64_500, 64_510])),
            said(10, 1, path(&[1, 64_502, 64_511, 64_510])),
        ];
        let told = table(&label("forged_as_path"), &words, |_, _| false);
        assert_eq!(told.decidable_at, Some(Timestamp::from_secs(10)));
        assert!(!told.bad_origin);
        let known = table(&label("forged_as_path"), &words, |a, b| (a, b) == (64_510, 64_511));
        assert_eq!(known.first_bad_at, None, "the link is known, and so is the prefix");
    }

    #[test]
    fn a_leak_is_a_culprit_between_neighbours_where_nobody_saw_it() {
        let words = [
            said(0, 1, path(&[1, 64_511, 64_510])),
            said(10, 1, path(&[1, 64_511, 64_500, 64_510])),
        ];
        let told = table(&label("leak"), &words, |_, _| true);
        assert_eq!(told.first_bad_at, Some(Timestamp::from_secs(10)));
    }

    #[test]
    fn an_origin_of_the_table_dump_is_usual() {
        let words = [said(0, 1, path(&[1, 64_512])), said(10, 2, path(&[2, 64_512]))];
        let told = table(&label("origin_change"), &words, |_, _| false);
        assert_eq!(told.first_bad_at, None, "a second origin that was there before is no news");
    }
}
