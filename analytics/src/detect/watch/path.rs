//! Paths: whether a registration is entered where and as short as it usually is (S1, S2).

use schemas::bgp::Asn;
use schemas::finding::{Rule, Severity, Term, TermName};

use super::super::Facts;
use super::super::condition::Subject;
use super::Sign;
use super::survey::{Held, Survey, most, peers_term, rule_term};
use crate::reference::geo::distance::Point;

/// Hops beyond the usual that are a detour, and the share of the peers that must see one.
const DETOUR_HOPS: u8 = 2;
const DETOUR_SHARE_MIN: f64 = 0.30;
const DETOUR_HOLD_SECS: i64 = 600;
/// How long it must be entered elsewhere.
const ENTRY_HOLD_SECS: i64 = 60;
/// How long the backup edge must be in use while the primary could be.
const BACKUP_HOLD_SECS: i64 = 300;
/// All of them end when it is as usual for this time.
const CLEAR_SECS: i64 = 600;

/// What is worse than usual about the paths, beside where they enter.
pub(super) fn signs(survey: &Survey<'_>, facts: &Facts<'_>, is_entry: bool) -> Vec<Sign> {
    let edge = if is_entry { None } else { edge(survey, facts) };
    edge.into_iter().chain(detour(survey)).collect()
}

/// Most routes pass by the registered partner, and usually did not.
pub(super) fn entry(survey: &Survey<'_>) -> Option<Sign> {
    let (partner, through) = survey.partner().zip(survey.through_partner())?;
    let all = survey.own().count();
    if all == 0 || !survey.by_partner || through * 2 >= all {
        return None;
    }
    let around: Vec<&Held<'_>> = survey.own().filter(|held| !held.passes(partner)).collect();
    let (culprit, _) = most(around.iter().filter_map(|held| held.upstream()))?;
    let explanation = format!(
        "{} enters by {culprit} and not by its partner {partner}, at {} of {all} peers",
        survey.name(),
        around.len()
    );
    let mut terms = vec![rule_term(2.0, explanation.clone()), peers_term(around.len(), 1.9)];
    let allowed = survey.connection.upstream_asns.as_deref().unwrap_or_default();
    let is_allowed = allowed.contains(&culprit);
    if is_allowed {
        terms.push(Term {
            name: TermName::UpstreamRegistered,
            weight: -2.0,
            detail: format!("{culprit} is registered as an upstream of it"),
        });
    }
    let severity = if is_allowed { Severity::Information } else { Severity::Warning };
    let mut claim =
        survey.claim(Rule::SuboptimalEntry, Subject::Registration, severity, terms, explanation);
    claim.culprit = Some(culprit);
    claim.witnesses = Survey::peer_asns(around.iter().copied());
    claim.path_after = around.first().map(|held| held.path_text());
    Some(Sign { claim, hold_secs: ENTRY_HOLD_SECS, clear_secs: CLEAR_SECS })
}

/// Most routes enter at another edge than the registered one.
fn edge(survey: &Survey<'_>, facts: &Facts<'_>) -> Option<Sign> {
    let edges = &facts.reference.geo.edges;
    let place = Point::registered(&survey.connection.location);
    let nearest = place.and_then(|place| edges.nearest(place)).map(|(edge, _)| &*edge.id);
    let wanted = survey.connection.primary_edge.as_deref().or(nearest)?;
    let ingress = |held: &Held<'_>| {
        let names = held.attributes.communities.iter().map(ToString::to_string);
        edges.ingress(names, held.attributes.next_hop).map(|edge| edge.id.clone())
    };
    let known: Vec<_> = survey.own().filter_map(ingress).collect();
    let (used, count) = most(known.iter())?;
    if &**used == wanted || count * 2 <= known.len() {
        return None;
    }
    let is_backup = survey.connection.backup_edge.as_deref() == Some(&**used);
    let away = place.zip(edges.get(used)).map_or_else(String::new, |(place, edge)| {
        format!(", {:.0} km from its place", place.distance_km(edge.point))
    });
    let (rule, hold_secs, which) = if is_backup {
        (Rule::SuboptimalOnBackup, BACKUP_HOLD_SECS, "its backup edge")
    } else {
        (Rule::SuboptimalEdge, ENTRY_HOLD_SECS, "another edge")
    };
    let explanation =
        format!("{} enters at {which} {used}{away}, and not at {wanted}", survey.name());
    let terms = vec![rule_term(4.0, explanation.clone()), peers_term(count, 2.0)];
    let mut claim =
        survey.claim(rule, Subject::Registration, Severity::Warning, terms, explanation);
    claim.witnesses = u32::try_from(count).unwrap_or(u32::MAX);
    Some(Sign { claim, hold_secs, clear_secs: CLEAR_SECS })
}

/// A good part of the peers sees a longer way than usual.
fn detour(survey: &Survey<'_>) -> Option<Sign> {
    let usual_of = |held: &Held<'_>| {
        let at = survey.usual.binary_search_by_key(&held.peer, |usual| usual.peer).ok()?;
        survey.usual.get(at).map(|usual| usual.hops)
    };
    let known: Vec<(&Held<'_>, u8)> =
        survey.own().filter_map(|held| Some((held, usual_of(held)?))).collect();
    let longer: Vec<(&Held<'_>, u8)> = known
        .iter()
        .filter(|(held, usual)| held.hops > usize::from(*usual) + usize::from(DETOUR_HOPS))
        .copied()
        .collect();
    if longer.is_empty() || (longer.len() as f64) < DETOUR_SHARE_MIN * known.len() as f64 {
        return None;
    }
    let (held, usual) = longer.first()?;
    let explanation = format!(
        "{} of {} peers reach {} by {} ASes instead of {usual}, or more",
        longer.len(),
        known.len(),
        survey.name(),
        held.hops
    );
    // Who stands on all of the long ways, next to the origin, is where they meet.
    let (upstream, shared): (Option<Asn>, usize) =
        most(longer.iter().filter_map(|(held, _)| held.upstream()))
            .map_or((None, 0), |(asn, count)| (Some(asn), count));
    let is_new = upstream.is_some_and(|asn| !survey.upstreams.contains(&asn));
    let terms = vec![rule_term(2.0, explanation.clone()), peers_term(longer.len(), 1.9)];
    let mut claim = survey.claim(
        Rule::SuboptimalPathLength,
        Subject::Registration,
        Severity::Information,
        terms,
        explanation,
    );
    claim.culprit = upstream.filter(|_| is_new && shared * 10 >= longer.len() * 9);
    claim.witnesses = Survey::peer_asns(longer.iter().map(|(held, _)| *held));
    claim.path_after = Some(held.path_text());
    Some(Sign { claim, hold_secs: DETOUR_HOLD_SECS, clear_secs: CLEAR_SECS })
}
