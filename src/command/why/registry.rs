//! Registry edits: versions of a connection in, what changed between them out.

use std::collections::{BTreeMap, BTreeSet};

use schemas::time::Timestamp;

use super::Event;

/// A connection as one version registers it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    /// What is told of it, by name: state, partner, ...
    pub(super) facts: BTreeMap<&'static str, String>,
    /// Registered prefixes.
    pub(super) prefixes: BTreeSet<String>,
}

/// A version: when it counts from, and its connections by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Version {
    pub(super) time: Timestamp,
    pub(super) connections: BTreeMap<String, Entry>,
}

/// The edits of connections, version by version.
pub(super) fn edits(versions: &[Version]) -> Vec<Event> {
    let mut before: BTreeMap<&str, &Entry> = BTreeMap::new();
    let mut edits = Vec::new();
    for version in versions {
        for (name, entry) in &version.connections {
            let text = match before.get(name.as_str()) {
                None => Some(begin(entry)),
                Some(before) => change(before, entry),
            };
            edits.extend(text.map(|text| event(version.time, name, text)));
        }
        let gone = before.keys().filter(|name| !version.connections.contains_key(**name));
        edits.extend(gone.map(|name| event(version.time, name, "registered no more".to_owned())));
        before = version.connections.iter().map(|(name, entry)| (name.as_str(), entry)).collect();
    }
    edits
}

fn event(time: Timestamp, connection: &str, text: String) -> Event {
    Event { connection: connection.to_owned(), text, ..Event::at(time, "registry") }
}

fn list(prefixes: impl Iterator<Item = impl AsRef<str>>) -> String {
    let prefixes: Vec<String> = prefixes.map(|prefix| prefix.as_ref().to_owned()).collect();
    if prefixes.is_empty() { "no prefix".to_owned() } else { prefixes.join(", ") }
}

fn begin(entry: &Entry) -> String {
    let facts = entry.facts.iter().filter(|(_, value)| !value.is_empty());
    let facts: Vec<String> = facts.map(|(name, value)| format!("{name} {value}")).collect();
    format!("registered with {}: {}", list(entry.prefixes.iter()), facts.join(", "))
}

fn change(before: &Entry, after: &Entry) -> Option<String> {
    let shown = |value: Option<&String>| match value.map(String::as_str) {
        None | Some("") => "none".to_owned(),
        Some(value) => value.to_owned(),
    };
    let names: BTreeSet<&str> = before.facts.keys().chain(after.facts.keys()).copied().collect();
    let mut told: Vec<String> = names
        .into_iter()
        .map(|name| (name, shown(before.facts.get(name)), shown(after.facts.get(name))))
        .filter(|(_, old, new)| old != new)
        .map(|(name, old, new)| format!("{name} {old} -> {new}"))
        .collect();
    let added: Vec<&String> = after.prefixes.difference(&before.prefixes).collect();
    let removed: Vec<&String> = before.prefixes.difference(&after.prefixes).collect();
    if !added.is_empty() {
        told.push(format!("prefixes added: {}", list(added.into_iter())));
    }
    if !removed.is_empty() {
        told.push(format!("prefixes removed: {}", list(removed.into_iter())));
    }
    (!told.is_empty()).then(|| told.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(secs: i64, state: &str, prefixes: &[&str]) -> Version {
        let entry = Entry {
            facts: BTreeMap::from([("state", state.to_owned()), ("edge", String::new())]),
            prefixes: prefixes.iter().map(|prefix| (*prefix).to_owned()).collect(),
        };
        let connections = BTreeMap::from([("contoso".to_owned(), entry)]);
        Version { time: Timestamp::from_secs(secs), connections }
    }

    #[test]
    fn an_edit_is_told_once_and_a_version_without_one_is_silent() {
        let (a, b) = ("192.0.2.0/25", "192.0.2.128/25");
        let versions = [
            version(1, "Validating", &[a]),
            version(2, "Validating", &[a]),
            version(3, "Active", &[b]),
            Version { time: Timestamp::from_secs(4), ..Version::default() },
        ];
        let told = edits(&versions);
        let told: Vec<(i64, &str)> =
            told.iter().map(|event| (event.time.secs(), event.text.as_str())).collect();
        assert_eq!(
            told,
            [
                (1, "registered with 192.0.2.0/25: state Validating"),
                (
                    3,
                    "state Validating -> Active; prefixes added: 192.0.2.128/25; prefixes removed: \
                     192.0.2.0/25"
                ),
                (4, "registered no more"),
            ]
        );
    }
}
