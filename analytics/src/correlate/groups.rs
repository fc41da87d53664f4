//! Groups: one event that makes many findings. Rows in, in the order of `findings`; marks on them and
//! further rows out.
//!
//! Findings of one kind and culprit that open within [`WITHIN_SECS`] of one another are one group, from
//! [`SIZE_MIN`] up; where they are of several tenants from [`SIZE_MIXED_MIN`] up, because less would
//! tell one tenant about another. The group carries the id of its first finding. When it forms, each
//! open member gets one `updated` row; whoever joins later gets his at once. The first member gets a
//! row at each doubling, so that the rows stay linear in the members.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use schemas::bgp::Asn;
use schemas::finding::{FindingKind, Phase, Rule};
use schemas::tables::{FindingRow, Text};
use schemas::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::row;
use crate::state::sorted;

/// Time between two openings of one group at most.
const WITHIN_SECS: i64 = 300;
/// Findings that make a group.
const SIZE_MIN: usize = 3;
/// The same if they are of several tenants; fewer are not counted in a row either.
const SIZE_MIXED_MIN: usize = 5;
/// Pairs of kind and culprit that are waited for at most; beyond, those that are over are dropped.
const WAITING_MAX: usize = 10_000;
/// Findings whose group is remembered at most; further ones stand alone.
const MEMBERS_MAX: usize = 1_000_000;

/// The findings of one kind and culprit that opened lately.
#[derive(Debug, Serialize, Deserialize)]
struct Group {
    id: Text,
    /// Last rows of those that opened before it is a group; then of its first member alone.
    #[serde(with = "row")]
    rows: Vec<FindingRow>,
    size: u32,
    /// Size that the first member was told with.
    told: u32,
    /// Tenant of all of them, if it is one.
    tenant: Option<Text>,
    is_mixed: bool,
    is_formed: bool,
    opened_last: Timestamp,
}

impl Group {
    /// The size as a row may tell it.
    fn size(&self) -> Option<u32> {
        (!self.is_mixed || self.size as usize >= SIZE_MIXED_MIN).then_some(self.size)
    }

    fn mark(&self, row: &mut FindingRow) {
        row.group_id = Some(Arc::clone(&self.id));
        row.group_size = self.size();
    }

    /// The row that tells a member of the group.
    fn updated(&self, row: &FindingRow, time: Timestamp) -> FindingRow {
        let mut row =
            FindingRow { time, phase: Phase::Updated.as_str(), azure_event: None, ..row.clone() };
        self.mark(&mut row);
        row
    }
}

/// All groups.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Groups {
    /// Number of the newest group of a kind and culprit.
    newest: BTreeMap<(FindingKind, Asn), usize>,
    groups: BTreeMap<usize, Group>,
    next: usize,
    #[serde(with = "sorted")]
    of: HashMap<Text, usize>,
}

impl Groups {
    /// Marks a row with its group; returns the rows that follow it.
    pub(super) fn take(&mut self, row: &mut FindingRow, rule: Rule) -> Vec<FindingRow> {
        if row.phase == Phase::Opened.as_str() {
            return self.opened(row, rule);
        }
        let Some(group) = self.of.get(&row.finding_id).and_then(|n| self.groups.get_mut(n)) else {
            return Vec::new();
        };
        if let Some(held) = group.rows.iter_mut().find(|held| held.finding_id == row.finding_id) {
            held.clone_from(row);
        }
        if group.is_formed {
            group.mark(row);
        }
        Vec::new()
    }

    fn opened(&mut self, row: &FindingRow, rule: Rule) -> Vec<FindingRow> {
        let Some(culprit) = row.culprit_asn.filter(|_| self.of.len() < MEMBERS_MAX) else {
            return Vec::new();
        };
        let key = (rule.kind(), culprit);
        let is_near = |group: &Group| row.time.secs_since(group.opened_last) <= WITHIN_SECS;
        let near = self.newest.get(&key).copied();
        let near = near.filter(|number| self.groups.get(number).is_some_and(is_near));
        let number = near.unwrap_or_else(|| self.begin(key, row));
        let Some(group) = self.groups.get_mut(&number) else { return Vec::new() };
        self.of.insert(Arc::clone(&row.finding_id), number);
        group.size += 1;
        group.is_mixed |= group.tenant != row.tenant;
        group.opened_last = group.opened_last.max(row.time);
        if group.is_formed {
            let mut rows = vec![group.updated(row, row.time)];
            rows.extend(group.doubled(row.time));
            return rows;
        }
        group.rows.push(row.clone());
        let enough = if group.is_mixed { SIZE_MIXED_MIN } else { SIZE_MIN };
        if group.rows.len() < enough {
            return Vec::new();
        }
        group.is_formed = true;
        group.told = group.size;
        let open = group.rows.iter().filter(|held| held.closed_at.is_none());
        let rows = open.map(|held| group.updated(held, row.time)).collect();
        group.rows.truncate(1);
        rows
    }

    /// Begins to count for a kind and culprit; what was counted before and came to nothing is dropped.
    fn begin(&mut self, key: (FindingKind, Asn), row: &FindingRow) -> usize {
        if self.newest.len() >= WAITING_MAX {
            self.forget_over(row.time);
        }
        let number = self.next;
        self.next += 1;
        let before = self.newest.insert(key, number);
        self.drop_unformed(before);
        let group = Group {
            id: Arc::clone(&row.finding_id),
            rows: Vec::new(),
            size: 0,
            told: 0,
            tenant: row.tenant.clone(),
            is_mixed: false,
            is_formed: false,
            opened_last: row.time,
        };
        self.groups.insert(number, group);
        number
    }

    /// Stops waiting where nothing came for too long.
    fn forget_over(&mut self, now: Timestamp) {
        let is_over = |number: &usize| {
            let group = self.groups.get(number);
            group.is_none_or(|group| now.secs_since(group.opened_last) > WITHIN_SECS)
        };
        let over: Vec<_> = self.newest.iter().filter(|(_, number)| is_over(number)).collect();
        let over: Vec<_> = over.into_iter().map(|(key, number)| (*key, *number)).collect();
        for (key, number) in over {
            self.newest.remove(&key);
            self.drop_unformed(Some(number));
        }
    }

    fn drop_unformed(&mut self, number: Option<usize>) {
        let Some(number) = number else { return };
        if self.groups.get(&number).is_some_and(|group| !group.is_formed)
            && let Some(group) = self.groups.remove(&number)
        {
            group.rows.iter().for_each(|row| {
                self.of.remove(&row.finding_id);
            });
        }
    }
}

impl Group {
    /// The row of the first member, if the group has doubled since it was told.
    fn doubled(&mut self, time: Timestamp) -> Option<FindingRow> {
        let first = self.rows.first().filter(|row| row.closed_at.is_none())?;
        if self.size < 2 * self.told {
            return None;
        }
        let row = self.updated(first, time);
        self.told = self.size;
        Some(row)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeSet;

    use schemas::finding::{Confidence, Finding, FindingId, Severity, Term, TermName, Transition};

    use super::super::{Correlate, Summary};
    use super::*;

    fn transition(number: u16, secs: i64, phase: Phase, culprit: u32, tenant: &str) -> Transition {
        let mut id = [0; 16];
        id[..2].copy_from_slice(&number.to_be_bytes());
        let time = Timestamp::from_secs(secs);
        let closed = phase == Phase::Resolved;
        Transition {
            log_time: time,
            time,
            phase,
            finding: Finding {
                id: FindingId(id),
                rule: Rule::LeakType1,
                severity: Severity::Error,
                score: 5.0,
                prefix: Some("203.0.113.0/24".parse().unwrap()),
                registered_prefix: None,
                connection: None,
                connection_name: None,
                tenant: Some(tenant.into()),
                culprit: Some(Asn(culprit)),
                victim: None,
                leak_type: None,
                witnesses: 1,
                opened_at: time,
                closed_at: closed.then_some(time),
                path_before: None,
                path_after: None,
                rpki_state: None,
                cost: None,
                muted_by: None,
                explanation: Confidence::of(5.0).as_str().to_owned(),
            },
            terms: vec![Term { name: TermName::Rule, weight: 5.0, detail: String::new() }],
            witnesses: Vec::new(),
        }
    }

    /// Number, sequence, phase and size of the group of all rows, by as many shards.
    fn rows(told: &[Transition], shards: u32) -> Vec<(String, u32, &'static str, Option<u32>)> {
        let mut correlate = Correlate::new(shards);
        for (shard, transition) in (0..).zip(told) {
            let summary = Summary::Transition(Box::new(transition.clone()), "x".into());
            correlate.apply(shard % shards, summary);
        }
        (0..shards).for_each(|shard| correlate.apply(shard, Summary::End));
        let numbered = correlate.numbered.iter().map(|numbered| &numbered.finding);
        let mut rows: Vec<_> = numbered
            .map(|row| (row.finding_id[..4].to_owned(), row.sequence, row.phase, row.group_size))
            .collect();
        rows.sort();
        rows
    }

    pub(in crate::correlate) fn opened(number: u16, secs: i64) -> Transition {
        transition(number, secs, Phase::Opened, 64_511, "contoso")
    }

    #[test]
    fn the_third_finding_within_five_minutes_makes_a_group_of_all_and_the_fourth_joins() {
        let told = [opened(1, 0), opened(2, 200), opened(3, 400), opened(4, 700), opened(5, 1_001)];
        let wanted = [
            ("0001", 1, "opened", None),
            ("0001", 2, "updated", Some(3)),
            ("0002", 1, "opened", None),
            ("0002", 2, "updated", Some(3)),
            ("0003", 1, "opened", None),
            ("0003", 2, "updated", Some(3)),
            ("0004", 1, "opened", None),
            ("0004", 2, "updated", Some(4)),
            ("0005", 1, "opened", None),
        ];
        let wanted = wanted.map(|(id, n, phase, size)| (id.to_owned(), n, phase, size));
        for shards in [1, 3, 12] {
            assert_eq!(rows(&told, shards), wanted, "{shards} shards");
        }
    }

    #[test]
    fn another_culprit_or_a_longer_wait_makes_none() {
        let other = transition(3, 20, Phase::Opened, 64_512, "contoso");
        let told = [opened(1, 0), opened(2, 10), other, opened(4, 400)];
        assert!(rows(&told, 1).iter().all(|row| row.3.is_none()));
    }

    #[test]
    fn a_member_that_is_over_is_counted_and_told_nothing() {
        let over = transition(1, 5, Phase::Resolved, 64_511, "contoso");
        let told = [opened(1, 0), over, opened(2, 10), opened(3, 20)];
        let rows = rows(&told, 1);
        let of_first: Vec<_> = rows.iter().filter(|row| row.0 == "0001").map(|row| row.2).collect();
        assert_eq!(of_first, ["opened", "resolved"]);
        assert!(rows.contains(&("0003".to_owned(), 2, "updated", Some(3))));
    }

    #[test]
    fn later_rows_of_a_member_carry_the_group() {
        let over = transition(2, 100, Phase::Resolved, 64_511, "contoso");
        let told = [opened(1, 0), opened(2, 10), opened(3, 20), over];
        assert!(rows(&told, 1).contains(&("0002".to_owned(), 3, "resolved", Some(3))));
    }

    /// Of another tenant a finding tells counts only, and only from five up.
    #[test]
    fn fewer_than_five_findings_of_several_tenants_are_not_counted() {
        let of = |number: u16| {
            let tenant = if number.is_multiple_of(2) { "contoso" } else { "fabrikam" };
            transition(number, i64::from(number), Phase::Opened, 64_511, tenant)
        };
        let four: Vec<_> = (1..=4).map(of).collect();
        assert!(rows(&four, 1).iter().all(|row| row.3.is_none()));
        let five: Vec<_> = (1..=5).map(of).collect();
        assert_eq!(rows(&five, 1).iter().filter(|row| row.3 == Some(5)).count(), 5);
    }

    #[test]
    fn a_mass_leak_is_one_group_whose_rows_are_linear() {
        let told: Vec<_> = (1..=4_000).map(|n| opened(n, i64::from(n) / 20)).collect();
        let rows = rows(&told, 3);
        let grouped: BTreeSet<_> = rows.iter().filter(|r| r.3.is_some()).map(|r| &r.0).collect();
        assert_eq!(grouped.len(), 4_000);
        assert!(rows.len() < 2 * 4_000 + 20, "{}", rows.len());
        let largest = rows.iter().filter(|row| row.0 == "0001").filter_map(|row| row.3).max();
        assert!(largest >= Some(2_000), "{largest:?}");
    }
}
