//! Scores: the terms that make a verdict more or less sure. Their sum is the score.

use schemas::bgp::Asn;
use schemas::finding::{FindingKind, Rule, Term};

use super::judge::Verdict;
use super::{Facts, Suspect};

/// Most that the number of witnesses adds.
const WITNESSES_MAX: f64 = 4.0;

/// The terms of a verdict that `witnesses` distinct peer ASes share.
pub(super) fn terms(verdict: &Verdict, witnesses: u32, facts: &Facts<'_>) -> Vec<Term> {
    let mut terms = vec![base(verdict, facts)];
    if !verdict.configured {
        terms.push(Term {
            name: "origin_learnt",
            weight: -1.0,
            detail: "the right origin was learnt from the baseline, not configured".to_owned(),
        });
    }
    if verdict.rule.kind() == FindingKind::Hijack {
        terms.extend(relation(verdict, facts));
    }
    if let Suspect::Origin(origin) = verdict.key.suspect
        && facts.baseline.was_dumped(verdict.key.prefix, origin)
    {
        terms.push(Term {
            name: "established",
            weight: -6.0,
            detail: "a table dump held this route: nothing changed, and since when is not known"
                .to_owned(),
        });
    }
    terms.push(Term {
        name: "witnesses",
        weight: f64::from(witnesses.max(1)).log2().min(WITNESSES_MAX),
        detail: match witnesses {
            1 => "1 peer AS holds the route".to_owned(),
            _ => format!("{witnesses} peer ASes hold the route"),
        },
    });
    terms
}

/// The company that both the culprit and a right origin belong to.
pub(super) fn sibling_of<'a>(verdict: &Verdict, facts: &'a Facts<'_>) -> Option<(Asn, &'a str)> {
    if verdict.rule.kind() != FindingKind::Hijack {
        return None;
    }
    let organisations = &facts.reference.organisations;
    verdict
        .expected
        .iter()
        .find_map(|origin| Some((*origin, organisations.shared_by(*origin, verdict.culprit)?)))
}

fn base(verdict: &Verdict, facts: &Facts<'_>) -> Term {
    let (weight, detail) = match verdict.rule {
        Rule::HijackExact => (4.0, "an AS originates our prefix that may not".to_owned()),
        Rule::HijackSubPrefix => {
            (5.0, "a part of our prefix is announced that is not ours".to_owned())
        }
        Rule::HijackSuperPrefix => {
            let visible = verdict.key.owner.is_some_and(|owner| facts.is_visible(&owner.prefix));
            if visible {
                (2.0, "a new prefix around ours; ours is longer and still seen".to_owned())
            } else {
                (5.0, "a new prefix around ours, and ours is not seen".to_owned())
            }
        }
        Rule::LeakOwnAs => {
            let (left, right) = verdict.between.unwrap_or_default();
            (5.0, format!("{} passes a route of {right} on to {left}", verdict.culprit))
        }
    };
    Term { name: "rule", weight, detail }
}

fn relation(verdict: &Verdict, facts: &Facts<'_>) -> Option<Term> {
    let culprit = verdict.culprit;
    if let Some((origin, organisation)) = sibling_of(verdict, facts) {
        return Some(Term {
            name: "sibling",
            weight: -6.0,
            detail: format!("{culprit} and {origin} both belong to {organisation}"),
        });
    }
    let known = &facts.reference.relationships;
    let related = verdict.expected.iter().find(|origin| known.between(**origin, culprit).is_some());
    match related {
        Some(origin) => Some(Term {
            name: "related",
            weight: -3.0,
            detail: format!("{culprit} and {origin} exchange routes"),
        }),
        None if known.is_empty() => None,
        None => Some(Term {
            name: "unrelated",
            weight: 1.0,
            detail: format!("{culprit} has no known relation to the right origin"),
        }),
    }
}
