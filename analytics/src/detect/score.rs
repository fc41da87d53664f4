//! Scores: the terms that make a verdict more or less sure. Their sum is the score.

use schemas::bgp::Asn;
use schemas::finding::{FindingKind, Rule, Term, TermName};

use super::forger::{Doubt, Forger};
use super::judge::Verdict;
use super::{Facts, Suspect};
use crate::reference::{AspaState, Direction, OriginValidity, Relationship};

/// Most that the number of witnesses adds.
pub(super) const WITNESSES_MAX: f64 = 4.0;
/// The same where something speaks for the route: witnesses show that it is there, not that it is bad.
const WITNESSES_EXCUSED_MAX: f64 = 2.0;

/// A term that takes this much or more speaks for a route.
const EXCUSE_MAX: f64 = -3.0;

/// Distinct peer ASes that hold the route of a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Crowd {
    /// All of them.
    pub(super) all: u32,
    /// Those that held a route of a right origin before.
    pub(super) turned: u32,
}

/// The terms of a verdict that these witnesses share.
pub(super) fn terms(
    verdict: &Verdict,
    forger: Option<Forger>,
    crowd: Crowd,
    facts: &Facts<'_>,
) -> Vec<Term> {
    if verdict.rule.kind() != FindingKind::Hijack && !verdict.terms.is_empty() {
        let mut terms = verdict.terms.clone();
        terms.push(witnesses(crowd, false, verdict.witnesses_max, &terms));
        return terms;
    }
    let mut terms = match forger {
        Some(forger) => forged(verdict, forger, facts),
        None => vec![base(verdict, facts)],
    };
    let is_hijack = verdict.rule.kind() == FindingKind::Hijack;
    let is_super = verdict.rule == Rule::HijackSuperPrefix;
    let is_early = match verdict.key.suspect {
        Suspect::Origin(origin) => facts.baseline.may_be_old(verdict.key.prefix, origin),
        _ => false,
    };
    if is_early {
        terms.push(Term {
            name: TermName::Learning,
            weight: -4.0,
            detail: "no table dump was read, and the route was heard before the learning time was \
                     over: it may be older than the log"
                .to_owned(),
        });
    } else if is_hijack && !is_super && facts.reference.relationships.is_empty() {
        terms.push(Term {
            name: TermName::PathUnjudged,
            weight: -1.5,
            detail: "no AS relationships are loaded: whether the path is made up is not known"
                .to_owned(),
        });
    }
    if !verdict.configured {
        terms.push(Term {
            name: TermName::OriginLearnt,
            weight: -1.0,
            detail: "the right origin was learnt from the baseline, not configured".to_owned(),
        });
    }
    if is_hijack {
        terms.extend(relation(verdict, forger, facts));
    }
    if is_hijack {
        terms.extend(rpki(verdict, forger));
        terms.extend(aspa(verdict, facts));
    }
    if let Suspect::Origin(origin) = verdict.key.suspect
        && facts.baseline.was_dumped(verdict.key.prefix, origin)
    {
        terms.push(Term {
            name: TermName::Established,
            weight: -6.0,
            detail: "a table dump held this route: nothing changed, and since when is not known"
                .to_owned(),
        });
    }
    terms.push(witnesses(crowd, is_early, verdict.witnesses_max, &terms));
    terms.retain(|term| facts.options.counts(term));
    terms
}

/// How many hold the route. While nobody knows what peers held before, only those count that were
/// seen to turn from a right origin.
fn witnesses(Crowd { all, turned }: Crowd, is_early: bool, most: f64, others: &[Term]) -> Term {
    let excuses = [TermName::Sibling, TermName::Related, TermName::BehindOrigin, TermName::Rpki];
    let is_excused =
        others.iter().any(|term| excuses.contains(&term.name) && term.weight <= EXCUSE_MAX);
    let most = if is_excused { WITNESSES_EXCUSED_MAX } else { most };
    let counted = if is_early { turned } else { all };
    let mut detail = match all {
        1 => "1 peer AS holds the route".to_owned(),
        _ => format!("{all} peer ASes hold the route"),
    };
    if is_early {
        detail.push_str(&format!(", {turned} of them held one of a right origin before"));
    }
    Term { name: TermName::Witnesses, weight: f64::from(counted.max(1)).log2().min(most), detail }
}

/// The company that both an accused AS and a right origin belong to. The right origin itself is not
/// accused of its own prefix.
pub(super) fn sibling_of<'a>(
    verdict: &Verdict,
    accused: Asn,
    facts: &'a Facts<'_>,
) -> Option<(Asn, &'a str)> {
    if verdict.rule.kind() != FindingKind::Hijack {
        return None;
    }
    let organisations = &facts.reference.organisations;
    let others = verdict.expected.iter().filter(|origin| **origin != accused);
    others
        .into_iter()
        .find_map(|origin| Some((*origin, organisations.shared_by(*origin, accused)?)))
}

fn base(verdict: &Verdict, facts: &Facts<'_>) -> Term {
    let (weight, detail) = match verdict.rule {
        Rule::HijackSquat => {
            (4.0, "an AS originates our prefix, which nobody announced and it may not".to_owned())
        }
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
        Rule::LeakType5 => {
            (4.0, "an AS originates our prefix that has it from its provider".to_owned())
        }
        _ => (4.0, "an AS originates our prefix that may not".to_owned()),
    };
    Term { name: TermName::Rule, weight, detail }
}

/// What ROAs say of the route. That they allow it speaks for an accused origin; whoever makes a path
/// up chooses an origin that they allow.
fn rpki(verdict: &Verdict, forger: Option<Forger>) -> Option<Term> {
    let (weight, detail) = match verdict.validity? {
        OriginValidity::InvalidAsn => (4.0, "no ROA names its origin, and some cover the prefix"),
        OriginValidity::InvalidLength => {
            (3.0, "the prefix is longer than the ROA of its origin allows")
        }
        OriginValidity::Valid if forger.is_none() => (-4.0, "a ROA allows this very route"),
        OriginValidity::Valid | OriginValidity::NotFound => return None,
    };
    Some(Term { name: TermName::Rpki, weight, detail: detail.to_owned() })
}

/// What ASPAs say of the path.
fn aspa(verdict: &Verdict, facts: &Facts<'_>) -> Option<Term> {
    let aspas = &facts.reference.aspas;
    let state = aspas.verify_hops(&verdict.hops, Direction::Downstream);
    (state == AspaState::Invalid).then(|| Term {
        name: TermName::Aspa,
        weight: 2.0,
        detail: "an AS on the path attests other providers than it shows (ASPA)".to_owned(),
    })
}

/// The terms of a path that was made up.
fn forged(verdict: &Verdict, forger: Forger, facts: &Facts<'_>) -> Vec<Term> {
    let is_right = matches!(verdict.key.suspect, Suspect::Path(_));
    let where_it_breaks = match forger.distance {
        Some(1) => format!("{} was never seen next to the origin", forger.asn),
        Some(links) => {
            format!("{} joins ASes that never met, {links} links from the origin", forger.asn)
        }
        None => format!("what {} passes on does not fit what it hears", forger.asn),
    };
    let (weight, what) = match (verdict.rule, is_right, forger.distance) {
        (Rule::HijackSubPrefix, false, _) => (5.0, "a part of our prefix"),
        // The owner may have made it: the second witness tells.
        (Rule::HijackSubPrefix, true, Some(_)) => (3.0, "a part of our prefix"),
        (Rule::HijackSubPrefix, true, None) => (2.0, "a part of our prefix"),
        (_, false, _) => (4.0, "our prefix, with a foreign origin,"),
        (_, true, None | Some(1)) => (3.0, "our prefix"),
        (_, true, Some(2)) => (2.0, "our prefix"),
        // So far off new links are seen every day: three witnesses tell it, and never for sure.
        (_, true, Some(_)) => (-0.5, "our prefix"),
    };
    let mut terms = vec![Term {
        name: TermName::Rule,
        weight,
        detail: format!("{what} is announced with a made-up path: {where_it_breaks}"),
    }];
    if let Some(doubt) = forger.doubt {
        let (weight, why) = match doubt {
            Doubt::Unplaced => {
                let weight = if verdict.rule == Rule::HijackSubPrefix { -2.0 } else { -3.0 };
                (weight, "the paths do not tell yet who made them up".to_owned())
            }
            Doubt::Stranger => (
                -5.0,
                format!(
                    "nobody knows {} but these paths: its neighbour may have invented it",
                    forger.asn
                ),
            ),
        };
        terms.push(Term { name: TermName::Unplaced, weight, detail: why });
    }
    if let Suspect::Origin(origin) = verdict.key.suspect
        && forger.distance == Some(1)
        && !facts.reference.relationships.is_known(origin)
    {
        terms.push(Term {
            name: TermName::OriginUnknown,
            weight: -2.0,
            detail: format!(
                "{origin} has no known neighbour: it may be a new customer, and the culprit"
            ),
        });
    }
    if is_right
        && verdict.rule != Rule::HijackSubPrefix
        && facts.reference.relationships.sells_transit(forger.asn)
    {
        terms.push(Term {
            name: TermName::Transit,
            weight: -1.0,
            detail: format!("{} sells transit: a new customer of it is no surprise", forger.asn),
        });
    }
    terms
}

fn relation(verdict: &Verdict, forger: Option<Forger>, facts: &Facts<'_>) -> Option<Term> {
    let culprit = forger.map_or(verdict.culprit, |forger| forger.asn);
    if let Some((origin, organisation)) = sibling_of(verdict, culprit, facts) {
        return Some(Term {
            name: TermName::Sibling,
            weight: -6.0,
            detail: format!("{culprit} and {origin} both belong to {organisation}"),
        });
    }
    if forger.is_some() {
        return None;
    }
    if let Some(origin) = stands_behind(verdict, facts) {
        return Some(Term {
            name: TermName::BehindOrigin,
            weight: -6.0,
            detail: format!("{origin}, which is right, stands before {culprit} and passes it on"),
        });
    }
    let known = &facts.reference.relationships;
    let exchanges = |origin: &&Asn| facts.exchange_routes(verdict.key.owner, **origin, culprit);
    let peers = |origin: &&Asn| known.between(**origin, culprit) == Some(Relationship::Peer);
    if let Some(origin) = verdict.expected.iter().find(exchanges) {
        return Some(Term {
            name: TermName::Related,
            weight: -3.0,
            detail: format!("{culprit} and {origin} exchange routes"),
        });
    }
    match verdict.expected.iter().find(peers) {
        Some(origin) => Some(Term {
            name: TermName::Related,
            weight: -1.0,
            detail: format!("{culprit} and {origin} are peers, as many are"),
        }),
        None if known.is_empty() => None,
        None => Some(Term {
            name: TermName::Unrelated,
            weight: 1.0,
            detail: format!("{culprit} has no known relation to the right origin"),
        }),
    }
}

/// The right origin that passes on what the accused AS behind it announces, over a link that is known.
fn stands_behind(verdict: &Verdict, facts: &Facts<'_>) -> Option<Asn> {
    let at = verdict.hops.iter().skip(1).position(|asn| verdict.expected.contains(asn))? + 1;
    let origin = *verdict.hops.get(at)?;
    let owner = verdict.key.owner.and_then(|owner| facts.registry.connection(owner.connection))?;
    let is_known = |left: &Asn| facts.knows_link(owner.group(), *left, origin);
    verdict.hops.get(at + 1).is_none_or(is_known).then_some(origin)
}
