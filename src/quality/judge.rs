//! Judging: the transitions of a trial and its labels in, right and wrong out.
//!
//! Whatever is said of the ground of a plot is about it. A finding counts if the rule it has at its
//! end names the kind; an incident is found if such a finding reached medium confidence (any, where
//! the kind is mild). The culprit is right if it is at the first of these rows and at the last one.

use std::collections::BTreeMap;

use schemas::bgp::Asn;
use schemas::finding::{Confidence, FindingId, Phase, Transition};

use super::Verdicts;
use super::figures::{Figures, Tally};
use crate::simulator::trial::Plot;
use crate::simulator::trial::kinds::Kind;

/// Adds what was said of a trial to the figures.
pub fn judge(verdicts: &Verdicts, figures: &mut Figures) {
    let mut told: BTreeMap<FindingId, Vec<&Transition>> = BTreeMap::new();
    for transition in &verdicts.transitions {
        told.entry(transition.finding.id).or_default().push(transition);
    }
    figures.seeds += 1;
    for plot in &verdicts.plots {
        let of_plot: Vec<&[&Transition]> =
            told.values().map(Vec::as_slice).filter(|rows| is_about(plot, rows)).collect();
        match plot.kind {
            Some(kind) => {
                let tally = figures.kinds.entry(kind.name).or_default();
                judge_plot(kind, plot, &of_plot, tally);
            }
            None => {
                figures.bystanders += 1;
                for rows in of_plot.iter().filter(|rows| is_loud(rows)) {
                    *figures.false_alarms.entry(highest(rows)).or_default() += 1;
                }
            }
        }
    }
}

fn is_about(plot: &Plot, rows: &[&Transition]) -> bool {
    rows.first().is_some_and(|row| {
        let finding = &row.finding;
        let on_ground = plot.ground.holds(finding.prefix);
        on_ground || finding.connection_name.as_deref() == Some(plot.connection.as_str())
    })
}

/// Whether somebody hears of it.
pub(super) fn is_loud(rows: &[&Transition]) -> bool {
    let is_muted = rows.iter().all(|row| row.finding.muted_by.is_some());
    !is_muted && rows.iter().any(|row| row.phase != Phase::Ignored)
}

fn confidence(row: &Transition) -> Confidence {
    Confidence::of(row.finding.score)
}

/// The highest confidence that a finding had.
pub(super) fn highest(rows: &[&Transition]) -> Confidence {
    rows.iter().map(|row| confidence(row)).max().unwrap_or(Confidence::Low)
}

fn judge_plot(kind: &Kind, plot: &Plot, told: &[&[&Transition]], tally: &mut Tally) {
    tally.staged += 1;
    if !plot.is_visible {
        tally.unseen += 1;
        return;
    }
    let least = if kind.is_mild { Confidence::Low } else { Confidence::Medium };
    let (mut right, mut others) = (Vec::new(), Vec::new());
    for rows in told.iter().filter(|rows| is_loud(rows)) {
        let rule = rows.last().map_or("", |row| row.finding.rule.as_str());
        let is_early = rows.first().is_some_and(|row| row.time < plot.window.start);
        if kind.rules.contains(&rule) && !is_early {
            right.push(*rows);
        } else {
            others.push(*rows);
            let confidence = highest(rows).as_str();
            *tally.beside.entry(format!("{rule} {confidence}")).or_default() += 1;
        }
    }
    tally.told += u64::from(!right.is_empty() || !others.is_empty());
    tally.named += u64::from(!right.is_empty());
    let all = right.iter().chain(&others).flat_map(|rows| rows.iter());
    let mut high = all.filter(|row| confidence(row) == Confidence::High);
    let is_framed =
        high.any(|row| row.finding.culprit.is_some() && row.finding.culprit != plot.culprit);
    tally.framed += u64::from(kind.has_culprit && is_framed);
    let mut sure: Vec<&Transition> = right.iter().flat_map(|rows| rows.iter().copied()).collect();
    sure.sort_by_key(|row| row.time);
    let first = sure.iter().find(|row| confidence(row) >= least);
    let Some(first) = first else { return };
    tally.found += 1;
    tally.delays_secs.push(first.time.secs_since(plot.window.start));
    let last = sure.iter().rfind(|row| row.phase != Phase::Resolved).unwrap_or(first);
    let is_right = |culprit: Option<Asn>| culprit.is_some() && culprit == plot.culprit;
    tally.culprit_first += u64::from(is_right(first.finding.culprit));
    let both = is_right(first.finding.culprit) && is_right(last.finding.culprit);
    tally.culprit += u64::from(both);
    let is_over = |rows: &&[&Transition]| {
        rows.last().is_some_and(|row| matches!(row.phase, Phase::Resolved | Phase::Expired))
    };
    tally.resolved += u64::from(right.iter().all(is_over));
}
