//! Judging: what one route says of what is ours.
//!
//! Sub-prefix routes that end in the right origin are followed from the origin towards the peer: the
//! AS left of the first link that neither the baseline nor the relationships know is the suspect
//! (the forged paths of real hijacks name innocent ASes behind that link).

use std::collections::BTreeSet;

use schemas::bgp::{Asn, PathAttributes};
use schemas::finding::{LeakType, Rule};
use schemas::registry::{Owner, Relation, Touch};

use super::{CaseKey, Change, Facts, Suspect, longest_covering};

/// What is held against one route.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    /// The case it belongs to.
    pub(super) key: CaseKey,
    /// The rule that it breaks.
    pub(super) rule: Rule,
    /// Who did it.
    pub(super) culprit: Asn,
    /// Origins that are right.
    pub(super) expected: BTreeSet<Asn>,
    /// Whether these were configured and not learnt.
    pub(super) configured: bool,
    /// Type of a leak.
    pub(super) leak_type: Option<LeakType>,
    /// ASes left and right of the culprit on the path.
    pub(super) between: Option<(Asn, Asn)>,
}

/// All verdicts on a change; none for a withdrawal.
pub(super) fn judge(change: &Change<'_>, facts: &Facts<'_>) -> Vec<Verdict> {
    let Some(route) = &change.route.after else { return Vec::new() };
    let mut verdicts = Vec::new();
    let longest =
        longest_covering(facts.registry.touches(&change.header.routing_domain, &change.prefix));
    for touch in change.touches {
        let verdict = match (touch.relation, longest) {
            (Relation::LessSpecific, None) => super_prefix(change, touch, route, facts),
            (Relation::LessSpecific, Some(_)) => None,
            (_, Some(longest)) if touch.owner.prefix == longest => {
                exact_or_part(change, touch, route, facts)
            }
            _ => None,
        };
        verdicts.extend(verdict);
    }
    if change.writes {
        verdicts.extend(own_leaks(change, route, facts));
    }
    verdicts
}

/// Origins that may announce a registration, and whether the operator said so. None while learning.
fn expected_origins(owner: &Owner, facts: &Facts<'_>) -> Option<(BTreeSet<Asn>, bool)> {
    let connection = facts.registry.connection(owner.connection)?;
    if let Some(configured) = &connection.origin_asns {
        return Some((configured.iter().copied().collect(), true));
    }
    let learnt = facts.baseline.origins_of(owner);
    (facts.baseline.is_seeded() && !learnt.is_empty()).then_some((learnt, false))
}

/// The origin, where it can be told: `AS_TRANS` stands for one that a two-octet speaker cannot write
/// (RFC 6793 §9) and accuses nobody.
fn told_origin(route: &PathAttributes) -> Option<Asn> {
    route.as_path.origin().filter(|origin| *origin != Asn::TRANS)
}

fn exact_or_part(
    change: &Change<'_>,
    touch: &Touch,
    route: &PathAttributes,
    facts: &Facts<'_>,
) -> Option<Verdict> {
    let (expected, configured) = expected_origins(&touch.owner, facts)?;
    let origin = told_origin(route)?;
    let rule = match touch.relation {
        Relation::Exact => Rule::HijackExact,
        _ => Rule::HijackSubPrefix,
    };
    let (culprit, suspect) = if !expected.contains(&origin) {
        (origin, Suspect::Origin(origin))
    } else if rule == Rule::HijackSubPrefix && !is_allowed_part(change, touch, facts) {
        (first_unknown(&route.as_path.collapsed(), &touch.owner, facts)?, Suspect::Path)
    } else {
        return None;
    };
    Some(Verdict {
        key: CaseKey { prefix: change.prefix, owner: Some(touch.owner), suspect },
        rule,
        culprit,
        expected,
        configured,
        leak_type: None,
        between: None,
    })
}

/// Whether the owner said that parts of this length are its own.
fn is_allowed_part(change: &Change<'_>, touch: &Touch, facts: &Facts<'_>) -> bool {
    let registration = facts.registry.registration(&touch.owner);
    let max_length = registration.and_then(|registration| registration.max_length);
    max_length.is_some_and(|max_length| change.prefix.length() <= max_length)
}

/// The AS left of the first link, from the origin, that nobody knows. None where all are known, and
/// while nothing is known yet.
fn first_unknown(hops: &[Asn], owner: &Owner, facts: &Facts<'_>) -> Option<Asn> {
    let group = facts.registry.connection(owner.connection)?.group();
    if !facts.baseline.is_seeded() {
        return None;
    }
    let links = hops.iter().zip(hops.iter().skip(1)).rev();
    let known = |left: Asn, right: Asn| {
        facts.baseline.knows_link(group, left, right)
            || facts.reference.relationships.between(left, right).is_some()
    };
    links.into_iter().find(|(left, right)| !known(**left, **right)).map(|(left, _)| *left)
}

fn super_prefix(
    change: &Change<'_>,
    touch: &Touch,
    route: &PathAttributes,
    facts: &Facts<'_>,
) -> Option<Verdict> {
    let origin = told_origin(route)?;
    let is_new = facts.baseline.is_seeded()
        && !change.is_snapshot
        && !facts.baseline.knows_cover(change.prefix, origin);
    if change.prefix.length() == 0 || !is_new {
        return None;
    }
    let (expected, configured) = expected_origins(&touch.owner, facts)?;
    let connection = facts.registry.connection(touch.owner.connection)?;
    let upstreams = connection.upstream_asns.iter().flatten();
    let partner = connection.partner.as_ref().and_then(|partner| partner.asn);
    if expected.contains(&origin)
        || partner == Some(origin)
        || upstreams.into_iter().any(|a| *a == origin)
    {
        return None;
    }
    let suspect = Suspect::Origin(origin);
    Some(Verdict {
        key: CaseKey { prefix: change.prefix, owner: Some(touch.owner), suspect },
        rule: Rule::HijackSuperPrefix,
        culprit: origin,
        expected,
        configured,
        leak_type: None,
        between: None,
    })
}

/// Watched ASes on the path that pass a route from a provider or peer to a provider or peer.
fn own_leaks(change: &Change<'_>, route: &PathAttributes, facts: &Facts<'_>) -> Vec<Verdict> {
    if facts.registry.watched().is_empty() {
        return Vec::new();
    }
    let hops = route.as_path.collapsed();
    let triples = hops.iter().zip(hops.iter().skip(1)).zip(hops.iter().skip(2));
    let leak = |((left, own), right): ((&Asn, &Asn), &Asn)| {
        let watched = facts.registry.watched_as(*own)?;
        let from_provider = watched.upstreams.contains(right);
        let to_provider = watched.upstreams.contains(left);
        let leak_type = match (
            from_provider || watched.peers.contains(right),
            to_provider || watched.peers.contains(left),
            from_provider,
            to_provider,
        ) {
            (true, true, true, true) => LeakType::Hairpin,
            (true, true, false, false) => LeakType::Lateral,
            (true, true, true, false) => LeakType::ProviderToPeer,
            (true, true, false, true) => LeakType::PeerToProvider,
            _ => return None,
        };
        Some((*own, leak_type, (*left, *right)))
    };
    let owner = change
        .touches
        .iter()
        .filter(|touch| touch.relation != Relation::LessSpecific)
        .max_by_key(|touch| (touch.owner.prefix.length(), u32::MAX - touch.owner.connection))
        .map(|touch| touch.owner);
    triples
        .filter_map(leak)
        .map(|(own, leak_type, between)| Verdict {
            key: CaseKey { prefix: change.prefix, owner, suspect: Suspect::Leaker(own) },
            rule: Rule::LeakOwnAs,
            culprit: own,
            expected: route.as_path.origin().into_iter().collect(),
            configured: true,
            leak_type: Some(leak_type),
            between: Some(between),
        })
        .collect()
}
