//! What the log knows of an input beside the positions of its streams: its number, the event time that
//! it has passed, and the prefixes of others that it made us follow.

use std::collections::BTreeMap;

use schemas::bgp::Prefix;
use schemas::log::Position;
use schemas::tables::Text;
use schemas::time::Timestamp;

use super::settings::BETWEEN;

/// What the key of an input begins with, before its name.
const INPUT: &str = "input\n";
/// What the keys of followed prefixes begin with, before the input's name and a number.
const FOLLOWED: &str = "followed\t";

/// What is known of one input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// Its number in the log.
    pub(super) id: u32,
    /// Event time that it has passed; none: it never said any.
    pub(super) passed: Option<Timestamp>,
}

/// What is known of all inputs, by their names.
pub(super) fn inputs(positions: &BTreeMap<Text, Position>) -> BTreeMap<String, Known> {
    let one = |(key, position): (&Text, &Position)| {
        let name = key.strip_prefix(INPUT)?.to_owned();
        let id = u32::try_from(position.next_offset).unwrap_or(u32::MAX);
        Some((name, Known { id, passed: postcard::from_bytes(&position.session).ok() }))
    };
    positions.iter().filter_map(one).collect()
}

/// Prefixes of others that inputs made us follow, and how many by input.
pub(super) fn followed(
    positions: &BTreeMap<Text, Position>,
) -> (Vec<Prefix>, BTreeMap<String, u64>) {
    let (mut prefixes, mut counts) = (Vec::new(), BTreeMap::new());
    for (key, position) in positions {
        let Some((name, _)) = key.strip_prefix(FOLLOWED).and_then(|rest| rest.rsplit_once('\t'))
        else {
            continue;
        };
        let some: Vec<Prefix> = postcard::from_bytes(&position.session).unwrap_or_default();
        *counts.entry(name.to_owned()).or_default() += some.len() as u64;
        prefixes.extend(some);
    }
    (prefixes, counts)
}

/// The key of prefixes that were followed behind the `count` of before.
pub(super) fn followed_key(name: &str, count: u64) -> String {
    format!("{FOLLOWED}{name}\t{count}")
}

/// What a key is about: an input's name and a stream of it, whatever is kept under the key.
pub(crate) fn about(key: &str) -> (&str, &str) {
    if let Some(name) = key.strip_prefix(INPUT) {
        return (name, "");
    }
    let followed = key.strip_prefix(FOLLOWED).and_then(|rest| rest.rsplit_once('\t'));
    let key = followed.map_or(key, |(key, _)| key);
    key.split_once(BETWEEN).unwrap_or((key, ""))
}

/// An input's number, and what it has passed: a restart must not close windows that its next file
/// goes on with.
pub(super) fn note_input(name: &str, known: &Known, moved: &mut Vec<(Text, Position)>) {
    let passed = known.passed.map(|passed| postcard::to_stdvec(&passed).unwrap_or_default());
    let position = Position {
        next_offset: known.id.into(),
        session: passed.unwrap_or_default(),
        ..Position::default()
    };
    note(moved, format!("{INPUT}{name}").into(), position);
}

/// Prefixes that an input made us follow, behind the `count` of before.
pub(super) fn note_followed(
    name: &str,
    count: u64,
    prefixes: &[Prefix],
    moved: &mut Vec<(Text, Position)>,
) {
    let session = postcard::to_stdvec(prefixes).unwrap_or_default();
    let key = followed_key(name, count).into();
    note(moved, key, Position { session, ..Position::default() });
}

/// Notes a position; the one that was noted before does not count any more.
pub(super) fn note(moved: &mut Vec<(Text, Position)>, key: Text, position: Position) {
    match moved.iter_mut().find(|(known, _)| *known == key) {
        Some((_, there)) => *there = position,
        None => moved.push((key, position)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_known_again() {
        let mut moved = Vec::new();
        let archive = Known { id: 3, passed: Some(Timestamp::from_secs(7)) };
        note_input("archive", &Known { id: 3, passed: None }, &mut moved);
        note_input("archive", &archive, &mut moved);
        note_input("routers", &Known { id: 4, passed: None }, &mut moved);
        let prefix = |text: &str| text.parse::<Prefix>().unwrap();
        let (one, two) = (prefix("192.0.2.0/24"), prefix("2001:db8::/32"));
        note_followed("a\tb", 0, &[one], &mut moved);
        note_followed("a\tb", 1, &[two], &mut moved);
        let positions: BTreeMap<Text, Position> = moved.into_iter().collect();
        let known = inputs(&positions);
        assert_eq!(known.len(), 2);
        assert_eq!(known["archive"], archive);
        assert_eq!(known["routers"].passed, None);
        let (prefixes, counts) = followed(&positions);
        assert_eq!(prefixes, [one, two]);
        assert_eq!(counts, BTreeMap::from([("a\tb".to_owned(), 2)]));
    }

    #[test]
    fn a_key_tells_what_it_is_about() {
        for (key, wanted) in [
            ("rtt\nprobes-3", ("rtt", "probes-3")),
            ("input\nrtt", ("rtt", "")),
            ("followed\trtt\nprobes-3\t17", ("rtt", "probes-3")),
            ("followed\tris\t17", ("ris", "")),
            ("registry", ("registry", "")),
        ] {
            assert_eq!(about(key), wanted, "{key}");
        }
    }
}
