//! Visibility: how many of the peers that usually hold a registration still do (D15), and by which
//! upstreams.
//!
//! It counts what is held, not withdrawals, so that a path that is explored is no loss. A peer
//! whose session is down sees nothing and is not asked; a loss at one collector alone is that
//! collector's, where there are others.

use std::collections::{BTreeMap, BTreeSet};

use schemas::bgp::{Asn, Prefix};
use schemas::finding::{Rule, Severity, Term, TermName};
use schemas::tables::{Text, VisibilityRow};
use schemas::time::Timestamp;

use super::super::Facts;
use super::super::condition::Subject;
use super::Sign;
use super::survey::{Held, Survey, peers_term, rule_term};

/// Under this share of the peers it is reduced; over the second it is well again.
const REDUCED_BELOW: f64 = 0.90;
const WELL_FROM: f64 = 0.95;
/// Under this share it is a grave loss.
const GRAVE_BELOW: f64 = 0.50;
/// A grave loss is told after this time, another after the second; both end after the third.
const GRAVE_HOLD_SECS: i64 = 20;
const REDUCED_HOLD_SECS: i64 = 120;
const CLEAR_SECS: i64 = 120;
/// An expected upstream must carry nothing for this time.
const UPSTREAM_HOLD_SECS: i64 = 60;

/// Whether fewer peers see it than usual.
pub(super) fn signs(survey: &Survey<'_>, told: Option<Rule>, facts: &Facts<'_>) -> Option<Sign> {
    let (is_open, was_lost) = (told.is_some(), told == Some(Rule::VisibilityLost));
    let full = survey.full.len();
    if full == 0 {
        return None;
    }
    let share = survey.seen as f64 / full as f64;
    let limit = if is_open { WELL_FROM } else { REDUCED_BELOW };
    if share >= limit || !is_lost_at_two(survey, facts) {
        return None;
    }
    let is_gone = survey.seen == 0;
    let is_grave = share < GRAVE_BELOW;
    let (rule, severity, weight) = match (is_gone, is_grave) {
        (true, _) => (Rule::VisibilityLost, Severity::Critical, 4.0),
        (false, true) => (Rule::VisibilityReduced, Severity::Error, 2.0),
        (false, false) => (Rule::VisibilityReduced, Severity::Warning, 1.0),
    };
    let lost = full - survey.seen;
    let cover = is_gone.then(|| cover(survey, facts)).flatten();
    let mut explanation = if is_gone {
        format!("none of the {full} peers that usually hold {} sees it", survey.name())
    } else {
        let seen = survey.seen;
        format!("{seen} of the {full} peers that usually hold {} still see it", survey.name())
    };
    let mut terms = vec![rule_term(weight, explanation.clone())];
    terms.push(peers_term(lost, if is_grave { 4.0 } else { 2.0 }));
    if !facts.baseline.has_dump() {
        terms.push(Term {
            name: TermName::Learning,
            weight: -3.0,
            detail: "no table dump was read: who else holds it is not known".to_owned(),
        });
    }
    if let Some(cover) = cover {
        explanation.push_str(&format!("; {cover} around it is still seen"));
        terms.push(Term {
            name: TermName::Covered,
            weight: -1.0,
            detail: format!("{cover} still carries its traffic somewhere"),
        });
    }
    // One finding whatever its grade: it goes over from one rule into the other.
    let mut claim =
        survey.claim(Rule::VisibilityReduced, Subject::Registration, severity, terms, explanation);
    // What was lost altogether is so until it is well again.
    claim.rule = if was_lost { Rule::VisibilityLost } else { rule };
    claim.witnesses = u32::try_from(lost).unwrap_or(u32::MAX);
    let hold_secs = if is_grave { GRAVE_HOLD_SECS } else { REDUCED_HOLD_SECS };
    Some(Sign { claim, hold_secs, clear_secs: CLEAR_SECS })
}

/// Whether peers of two collectors lost it, where peers of two collectors usually hold it.
fn is_lost_at_two(survey: &Survey<'_>, facts: &Facts<'_>) -> bool {
    let collector = |peer| facts.rib.peer(peer).map(|header| &header.collector);
    let all: BTreeSet<_> = survey.full.iter().filter_map(|usual| collector(usual.peer)).collect();
    if all.len() < 2 {
        return true;
    }
    let lost = survey
        .full
        .iter()
        .filter(|usual| survey.held.binary_search_by_key(&usual.peer, |h| h.peer).is_err());
    lost.filter_map(|usual| collector(usual.peer)).collect::<BTreeSet<_>>().len() >= 2
}

/// The longest prefix around it that the world still sees.
fn cover(survey: &Survey<'_>, facts: &Facts<'_>) -> Option<Prefix> {
    let domain = &survey.connection.routing_domain;
    let prefix = survey.owner.prefix;
    (1..prefix.length())
        .rev()
        .map(|length| Prefix::of(prefix.address(), length))
        .find(|cover| facts.rib.is_visible(domain, cover))
}

/// Expected upstreams that carried it and carry it no more.
pub(super) fn upstreams_lost(survey: &Survey<'_>) -> Vec<Sign> {
    let held = survey.own().count();
    if held == 0 {
        return Vec::new();
    }
    let carrying: BTreeSet<Asn> = survey.own().filter_map(Held::upstream).collect();
    let expected = survey.connection.expect_upstreams.iter();
    let lost = expected.filter(|asn| !carrying.contains(asn));
    lost.map(|asn| {
        let was_there = survey.upstreams.contains(asn);
        let explanation = if was_there {
            format!("{asn} carries {} no more; {} peers see it by others", survey.name(), held)
        } else {
            format!("{asn} is expected to carry {} and does not", survey.name())
        };
        let weight = if was_there { 4.0 } else { 2.0 };
        let terms = vec![rule_term(weight, explanation.clone()), peers_term(held, 2.0)];
        let mut claim = survey.claim(
            Rule::UpstreamLost,
            Subject::As(*asn),
            Severity::Warning,
            terms,
            explanation,
        );
        claim.culprit = Some(*asn);
        claim.witnesses = Survey::peer_asns(survey.own());
        Sign { claim, hold_secs: UPSTREAM_HOLD_SECS, clear_secs: CLEAR_SECS }
    })
    .collect()
}

/// The rows of one window: all peers together, then by upstream.
pub(super) fn rows(survey: &Survey<'_>, window_start: Timestamp) -> Vec<VisibilityRow> {
    let mut by_upstream: BTreeMap<Option<Asn>, u32> = BTreeMap::from([(None, 0)]);
    by_upstream.extend(survey.upstreams.iter().map(|asn| (Some(*asn), 0)));
    for held in &survey.held {
        *by_upstream.entry(None).or_default() += 1;
        if let Some(upstream) = held.upstream() {
            *by_upstream.entry(Some(upstream)).or_default() += 1;
        }
    }
    let peers_full = survey.full.len().max(survey.held.len());
    let tenant: Text = survey.connection.tenant.as_str().into();
    let connection: Text = survey.connection.name.as_str().into();
    by_upstream
        .into_iter()
        .map(|(via_asn, peers_seen)| VisibilityRow {
            window_start,
            tenant: tenant.clone(),
            connection: connection.clone(),
            registered_prefix: survey.owner.prefix,
            via_asn,
            peers_seen,
            peers_full: u32::try_from(peers_full).unwrap_or(u32::MAX),
        })
        .collect()
}
