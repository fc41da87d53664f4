//! The verdict on one incident: rows of `findings` beside its label and the naive table.

use std::collections::{BTreeMap, BTreeSet};

use schemas::bgp::Prefix;
use schemas::time::Timestamp;

use super::label::Label;
use super::naive::Told;

/// What a judge reads of a row of `findings`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// The finding.
    pub finding_id: String,
    /// Event time.
    pub time: Timestamp,
    /// opened, updated, ...
    pub phase: String,
    /// hijack, leak, ...
    pub kind: String,
    /// The rule.
    pub rule: String,
    /// information, warning, ...
    pub severity: String,
    /// low, medium or high.
    pub confidence: String,
    /// The prefix; none where it does not read.
    pub prefix: Option<Prefix>,
    /// Who did it.
    pub culprit: Option<u32>,
    /// Distinct peer ASes that hold the route.
    pub witnesses: usize,
}

impl Row {
    fn is_firm(&self) -> bool {
        self.confidence == "medium" || self.confidence == "high"
    }

    fn closes(&self) -> bool {
        ["resolved", "expired", "outdated"].contains(&self.phase.as_str())
    }
}

/// The verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Verdict {
    /// Whether anything of it was told at medium confidence or above.
    pub found: bool,
    /// Whether the first row at medium or above and the last before the end name a culprit.
    pub culprit_right: bool,
    /// Whether a row at medium or above has a rule that tells it right.
    pub rule_right: bool,
    /// Others that are named at high confidence.
    pub framed: BTreeSet<u32>,
    /// Who is named at medium or above.
    pub named: BTreeSet<u32>,
    /// The rules at medium or above.
    pub rules: BTreeSet<String>,
    /// Seconds from the first decidable update to the first row of any confidence.
    pub suspected_secs: Option<i64>,
    /// Seconds from there to the first row at medium or above.
    pub detected_secs: Option<i64>,
    /// Peer ASes that had held a bad route when it was first told at medium or above: those of the
    /// seconds before and one more, or the witnesses of the finding, if these are more.
    pub believers_at_detection: Option<usize>,
    /// Seconds from the end by the naive table to the end of the last finding at medium or above.
    pub closed_secs: Option<i64>,
    /// Whether the archive holds its end.
    pub has_end: bool,
    /// Whether paths, relationships and ASPA alone tell it.
    pub decidable: bool,
    /// Findings at medium or above; and those that are about it and name a culprit at last.
    pub findings: usize,
    /// See `findings`.
    pub findings_right: usize,
    /// Findings about something else, by confidence.
    pub false_alarms: BTreeMap<String, usize>,
}

/// Judges the rows of an incident's replay, in the order of (time, finding, sequence).
#[must_use]
pub fn judge(label: &Label, rows: &[Row], told: &Told) -> Verdict {
    // A loss of visibility or a flap that comes with it is no word on who did it.
    let is_judged = |row: &&Row| row.phase != "ignored" && ["hijack", "leak"].contains(&&*row.kind);
    let rows: Vec<&Row> = rows.iter().filter(is_judged).collect();
    let is_mine = |row: &&&Row| row.prefix.is_some_and(|prefix| label.overlaps(&prefix));
    let mine: Vec<&Row> = rows.iter().filter(is_mine).copied().collect();
    let firm: Vec<&Row> = mine.iter().filter(|row| row.is_firm()).copied().collect();
    let is_right = |row: &Row| row.culprit.is_some_and(|culprit| label.culprits.contains(&culprit));
    let last = firm.iter().rev().find(|row| !row.closes());
    let of_high = mine.iter().filter(|row| row.confidence == "high" && !is_right(row));
    let start = told.decidable_at.or(told.first_bad_at);
    let since_start = |row: Option<&&Row>| Some(row?.time.secs_since(start?));
    let last_rows = last_rows(&rows);
    let firm_ids: BTreeSet<&str> =
        rows.iter().filter(|row| row.is_firm()).map(|row| row.finding_id.as_str()).collect();
    let right_ids: BTreeSet<&str> = last_before_end(&firm)
        .into_values()
        .filter(|row| is_right(row))
        .map(|row| row.finding_id.as_str())
        .collect();
    Verdict {
        found: !firm.is_empty(),
        culprit_right: firm.first().is_some_and(|row| is_right(row))
            && last.is_some_and(|row| is_right(row)),
        rule_right: firm.iter().any(|row| label.is_told_by(&row.rule, told.bad_origin)),
        framed: of_high.filter_map(|row| row.culprit).collect(),
        named: firm.iter().filter_map(|row| row.culprit).collect(),
        rules: firm.iter().map(|row| row.rule.clone()).collect(),
        suspected_secs: since_start(mine.first()),
        detected_secs: since_start(firm.first()),
        believers_at_detection: firm
            .first()
            .map(|row| row.witnesses.max(told.believers_before(row.time) + 1)),
        closed_secs: closed_secs(&firm, &last_rows, told),
        has_end: told.ended_at.is_some(),
        decidable: told.decidable_at.is_some(),
        findings: firm_ids.len(),
        findings_right: right_ids.len(),
        false_alarms: false_alarms(label, &last_rows),
    }
}

/// The last row of each finding.
fn last_rows<'r>(rows: &[&'r Row]) -> BTreeMap<&'r str, &'r Row> {
    rows.iter().map(|row| (row.finding_id.as_str(), *row)).collect()
}

/// The last row of each finding that does not end it.
fn last_before_end<'r>(firm: &[&'r Row]) -> BTreeMap<&'r str, &'r Row> {
    let open = firm.iter().filter(|row| !row.closes());
    open.map(|row| (row.finding_id.as_str(), *row)).collect()
}

/// Seconds from the end to the last end of a finding; none while one of them is open.
fn closed_secs(firm: &[&Row], last: &BTreeMap<&str, &Row>, told: &Told) -> Option<i64> {
    let ended_at = told.ended_at?;
    let ids: BTreeSet<&str> = firm.iter().map(|row| row.finding_id.as_str()).collect();
    let ends: Vec<&&Row> = ids.iter().filter_map(|id| last.get(id)).collect();
    if !ends.iter().all(|row| row.closes()) {
        return None;
    }
    ends.iter().map(|row| row.time.secs_since(ended_at)).max()
}

fn false_alarms(label: &Label, last: &BTreeMap<&str, &Row>) -> BTreeMap<String, usize> {
    let mut alarms = BTreeMap::new();
    for row in last.values() {
        if !row.prefix.is_some_and(|prefix| label.overlaps(&prefix)) {
            *alarms.entry(row.confidence.clone()).or_default() += 1;
        }
    }
    alarms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label() -> Label {
        let text = "category = \"origin_change\"\nbad_prefix = \"203.0.113.0/24\"\nvictim_as = 64510\n\
                    culprit_as = 64511\n";
        Label::read(text, false).unwrap()
    }

    fn row(secs: i64, phase: &str, confidence: &str, culprit: u32) -> Row {
        Row {
            finding_id: "f".to_owned(),
            time: Timestamp::from_secs(secs),
            phase: phase.to_owned(),
            kind: "hijack".to_owned(),
            rule: "hijack_exact".to_owned(),
            severity: "critical".to_owned(),
            confidence: confidence.to_owned(),
            prefix: "203.0.113.0/24".parse().ok(),
            culprit: Some(culprit),
            witnesses: 1,
        }
    }

    fn told() -> Told {
        let at = |secs| Some(Timestamp::from_secs(secs));
        Told {
            first_bad_at: at(10),
            decidable_at: at(10),
            bad_origin: true,
            ended_at: at(100),
            believers: vec![(Timestamp::from_secs(10), 1), (Timestamp::from_secs(12), 2)],
        }
    }

    /// Suspected at the first update, told at the second believer, over when it is over.
    #[test]
    fn a_good_story_is_right_in_all() {
        let rows = [
            row(10, "opened", "low", 64_511),
            row(12, "updated", "medium", 64_511),
            row(100, "resolved", "medium", 64_511),
        ];
        let verdict = judge(&label(), &rows, &told());
        assert!(verdict.found && verdict.culprit_right && verdict.rule_right);
        assert_eq!((verdict.suspected_secs, verdict.detected_secs), (Some(0), Some(2)));
        assert_eq!((verdict.believers_at_detection, verdict.closed_secs), (Some(2), Some(0)));
        assert_eq!((verdict.findings, verdict.findings_right), (1, 1));
        assert!(verdict.framed.is_empty() && verdict.false_alarms.is_empty());
    }

    #[test]
    fn what_is_only_suspected_is_not_found() {
        let verdict = judge(&label(), &[row(10, "opened", "low", 64_511)], &told());
        assert!(!verdict.found && !verdict.culprit_right && !verdict.rule_right);
        assert_eq!(verdict.detected_secs, None);
    }

    /// The first or the last of the firm rows names another: both spoil the culprit, and high
    /// confidence makes it a frame.
    #[test]
    fn another_culprit_first_or_last_is_wrong() {
        let first = [row(10, "opened", "medium", 64_599), row(12, "updated", "high", 64_511)];
        let verdict = judge(&label(), &first, &told());
        assert!(verdict.found && !verdict.culprit_right && verdict.framed.is_empty());
        let last = [row(10, "opened", "medium", 64_511), row(12, "updated", "high", 64_599)];
        let verdict = judge(&label(), &last, &told());
        assert!(!verdict.culprit_right);
        assert_eq!(verdict.framed, BTreeSet::from([64_599]));
        assert_eq!((verdict.closed_secs, verdict.findings_right), (None, 0), "it is open still");
    }

    #[test]
    fn what_is_about_another_prefix_is_a_false_alarm() {
        let other =
            Row { prefix: "198.51.100.0/24".parse().ok(), ..row(10, "opened", "high", 64_511) };
        let lost =
            Row { finding_id: "v".to_owned(), kind: "visibility".to_owned(), ..other.clone() };
        let ignored = Row { finding_id: "g".to_owned(), ..row(11, "ignored", "low", 64_599) };
        let verdict = judge(&label(), &[other, lost, ignored], &told());
        assert!(!verdict.found);
        assert_eq!(verdict.false_alarms, BTreeMap::from([("high".to_owned(), 1)]));
        assert_eq!((verdict.findings, verdict.findings_right), (1, 0));
    }
}
