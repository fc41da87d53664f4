//! Two folds of one past: transitions of each in, what one has and the other has not out.

use std::collections::BTreeMap;

use schemas::finding::{Confidence, FindingId, Phase, Severity, Transition};
use schemas::time::Timestamp;

/// What tells findings apart: rule, connection, prefix, culprit.
type Key = (&'static str, Option<String>, String, Option<u32>);

/// A finding, or several of one key, at the worst.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) opened_at: Timestamp,
    pub(super) severity: Severity,
    pub(super) confidence: Confidence,
    pub(super) muted_by: Option<String>,
    pub(super) count: usize,
    pub(super) explanation: String,
}

impl Found {
    /// What is compared, in words.
    pub(super) fn words(&self) -> String {
        let muted =
            self.muted_by.as_ref().map(|why| format!(", muted by {why}")).unwrap_or_default();
        let often = if self.count > 1 { format!(", {} times", self.count) } else { String::new() };
        format!("{}, {}{muted}{often}", self.severity.as_str(), self.confidence.as_str())
    }
}

/// What a new configuration makes of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Change {
    Added,
    Dropped,
    Changed,
}

impl Change {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Dropped => "dropped",
            Self::Changed => "changed",
        }
    }
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) change: Change,
    pub(super) rule: &'static str,
    pub(super) connection: String,
    pub(super) prefix: String,
    pub(super) culprit: Option<u32>,
    pub(super) old: Option<Found>,
    pub(super) new: Option<Found>,
}

impl Difference {
    /// When it begins, by the fold that has it.
    pub(super) fn opened_at(&self) -> Timestamp {
        let either = self.new.as_ref().or(self.old.as_ref());
        either.map_or(Timestamp::MIN, |found| found.opened_at)
    }
}

/// What is compared of a transition.
#[derive(Clone, Debug)]
pub(super) struct Told {
    id: FindingId,
    key: Key,
    phase: Phase,
    found: Found,
}

impl Told {
    pub(super) fn of(transition: &Transition) -> Self {
        let finding = &transition.finding;
        Self {
            id: finding.id,
            key: (
                finding.rule.as_str(),
                finding.connection_name.as_ref().map(ToString::to_string),
                finding.prefix.map(|prefix| prefix.to_string()).unwrap_or_default(),
                finding.culprit.map(|asn| asn.0),
            ),
            phase: transition.phase,
            found: Found {
                opened_at: finding.opened_at,
                severity: finding.severity,
                confidence: Confidence::of(finding.score),
                muted_by: finding.muted_by.as_ref().map(ToString::to_string),
                count: 1,
                explanation: finding.explanation.clone(),
            },
        }
    }
}

/// Findings as their transitions leave them.
#[derive(Debug, Default)]
pub(super) struct Findings {
    last: BTreeMap<FindingId, (Key, Found)>,
}

impl Findings {
    /// Takes a transition; those of a finding come in their order. What ends it says no more how bad
    /// it was.
    pub(super) fn take(&mut self, told: Told) {
        let Told { id, key, phase, mut found } = told;
        let is_end = matches!(phase, Phase::Resolved | Phase::Expired | Phase::Outdated);
        if let Some((_, before)) = self.last.get(&id) {
            let severity = if is_end { before.severity } else { found.severity };
            found.severity = severity.max(before.severity);
            found.confidence = found.confidence.max(before.confidence);
        }
        self.last.insert(id, (key, found));
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.last.len()
    }

    fn by_key(&self) -> BTreeMap<Key, Found> {
        let mut all: BTreeMap<Key, Found> = BTreeMap::new();
        for (key, found) in self.last.values() {
            match all.get_mut(key) {
                None => {
                    all.insert(key.clone(), found.clone());
                }
                Some(before) => {
                    before.count += 1;
                    before.severity = before.severity.max(found.severity);
                    before.confidence = before.confidence.max(found.confidence);
                    if found.opened_at < before.opened_at {
                        before.opened_at = found.opened_at;
                        before.explanation.clone_from(&found.explanation);
                    }
                }
            }
        }
        all
    }

    /// What differs, by the time of its opening.
    pub(super) fn differences(&self, new: &Self) -> Vec<Difference> {
        let (old, mut new) = (self.by_key(), new.by_key());
        let difference = |change, key: Key, old, new| {
            let (rule, connection, prefix, culprit) = key;
            let connection = connection.unwrap_or_default();
            Difference { change, rule, connection, prefix, culprit, old, new }
        };
        let mut all = Vec::new();
        for (key, old) in old {
            match new.remove(&key) {
                None => all.push(difference(Change::Dropped, key, Some(old), None)),
                Some(new) if old.words() != new.words() || old.opened_at != new.opened_at => {
                    all.push(difference(Change::Changed, key, Some(old), Some(new)));
                }
                Some(_) => {}
            }
        }
        let added = new.into_iter();
        all.extend(added.map(|(key, new)| difference(Change::Added, key, None, Some(new))));
        all.sort_by_key(|difference| (difference.opened_at(), difference.change));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(id: u8, phase: Phase, score: f64, prefix: &str, muted_by: Option<&str>) -> Told {
        let severity =
            if phase == Phase::Ignored { Severity::Information } else { Severity::Critical };
        let found = Found {
            opened_at: Timestamp::from_secs(id.into()),
            severity,
            confidence: Confidence::of(score),
            muted_by: muted_by.map(Into::into),
            count: 1,
            explanation: "it is".to_owned(),
        };
        let key = ("hijack_exact", Some("contoso".to_owned()), prefix.to_owned(), Some(64_511));
        Told { id: FindingId([id; 16]), key, phase, found }
    }

    fn findings(told: &[Told]) -> Findings {
        let mut findings = Findings::default();
        told.iter().for_each(|told| findings.take(told.clone()));
        findings
    }

    #[test]
    fn equal_folds_differ_in_nothing_and_others_in_what_they_say_and_when() {
        let (a, b, c) = ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24");
        let old = findings(&[
            told(1, Phase::Opened, 5.0, a, None),
            told(1, Phase::Updated, 9.0, a, None),
            told(1, Phase::Resolved, 9.0, a, None),
            told(2, Phase::Opened, 5.0, b, None),
        ]);
        assert_eq!(old.differences(&old), []);
        let new = findings(&[
            told(1, Phase::Ignored, 5.0, a, Some("exception")),
            told(3, Phase::Opened, 5.0, c, None),
        ]);
        let all = old.differences(&new);
        let all: Vec<(&str, &str)> =
            all.iter().map(|d| (d.change.as_str(), d.prefix.as_str())).collect();
        assert_eq!(all, [("changed", a), ("dropped", b), ("added", c)]);
        let changed = &old.differences(&new)[0];
        assert_eq!(changed.old.as_ref().unwrap().words(), "critical, high");
        assert_eq!(
            changed.new.as_ref().unwrap().words(),
            "information, medium, muted by exception"
        );
    }
}
