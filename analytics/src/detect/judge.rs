//! Judging: what one route says of what is ours.
//!
//! Whom a foreign route accuses is a matter of its path too: [`super::forger`].

use std::collections::BTreeSet;
use std::sync::Arc;

use schemas::bgp::{Asn, PathAttributes};
use schemas::finding::{LeakType, Rule};
use schemas::registry::{Owner, Relation, Touch};

use super::forger::{self, Joint};
use super::{CaseKey, Change, Facts, Suspect, longest_covering};
use crate::reference::OriginValidity;

/// Links from the right origin in which a new one of our very prefix counts.
const NEW_LINKS_MAX: usize = 2;

/// What is held against one route.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    /// The case it belongs to.
    pub(super) key: CaseKey,
    /// The rule that it breaks, if its path is true.
    pub(super) rule: Rule,
    /// Who did it, if its path is true.
    pub(super) culprit: Asn,
    /// The path from the origin on: prepends collapsed, route servers left out.
    pub(super) hops: Arc<[Asn]>,
    /// Where the path stops being believable.
    pub(super) joint: Option<Joint>,
    /// RFC 6811's word on the route; none without VRPs.
    pub(super) validity: Option<OriginValidity>,
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
pub(super) fn expected_origins(owner: &Owner, facts: &Facts<'_>) -> Option<(BTreeSet<Asn>, bool)> {
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
    let hops = hops(route, facts);
    let group = facts.registry.connection(touch.owner.connection)?.group();
    let is_part = touch.relation != Relation::Exact;
    let is_right = expected.contains(&origin);
    // Where no right route was learnt, every link is new and none is suspicious.
    let is_learnt = facts.baseline.is_seeded()
        && !facts.baseline.origins_of(&touch.owner).is_disjoint(&expected);
    if is_right && (!is_learnt || change.is_snapshot) {
        return None;
    }
    let (suspect, joint) = if is_right {
        if is_part && is_allowed_part(change, touch, facts) {
            return None;
        }
        let joint = if is_part {
            forger::joint(&hops, group, facts).or_else(|| forger::valley(&hops, facts))?
        } else {
            new_neighbour(&hops, group, facts)?
        };
        // A part of our prefix is one story, whatever the paths; of our prefix each new link is one.
        let up_to = if is_part { 0 } else { joint.at };
        (Suspect::Path(hops.get(up_to).copied()?), Some(joint))
    } else {
        // Without relationships every link of a foreign origin is unknown.
        let is_judged = !facts.reference.relationships.is_empty();
        let joint = is_judged.then(|| forger::joint(&hops, group, facts)).flatten();
        (Suspect::Origin(origin), joint)
    };
    Some(Verdict {
        key: CaseKey { prefix: change.prefix, owner: Some(touch.owner), suspect },
        rule: match touch.relation {
            _ if is_part => Rule::HijackSubPrefix,
            _ if is_unannounced(&touch.owner, &expected, facts) => Rule::HijackSquat,
            _ => Rule::HijackExact,
        },
        culprit: origin,
        hops,
        joint,
        validity: facts.reference.origin_validity(&change.prefix, &route.as_path),
        expected,
        configured,
        leak_type: None,
        between: None,
    })
}

/// A link near the right origin that nobody knows. Links further off are new all the time.
fn new_neighbour(hops: &[Asn], group: &str, facts: &Facts<'_>) -> Option<Joint> {
    let links_max = if facts.reference.relationships.is_empty() { 1 } else { NEW_LINKS_MAX };
    forger::joint(hops, group, facts).filter(|joint| joint.at < links_max)
}

/// The path from the origin on: prepends collapsed, route servers of exchanges left out.
fn hops(route: &PathAttributes, facts: &Facts<'_>) -> Arc<[Asn]> {
    let known = &facts.reference.relationships;
    let mut hops = route.as_path.collapsed();
    hops.retain(|asn| !known.is_route_server(*asn));
    hops.reverse();
    hops.into()
}

/// Whether nobody announced a registration when the baseline was learnt, its right origin neither.
fn is_unannounced(owner: &Owner, expected: &BTreeSet<Asn>, facts: &Facts<'_>) -> bool {
    facts.baseline.is_seeded()
        && facts.baseline.origins_of(owner).is_disjoint(expected)
        && !expected.iter().any(|origin| facts.baseline.was_dumped(owner.prefix, *origin))
}

/// Whether the owner said that parts of this length are its own.
fn is_allowed_part(change: &Change<'_>, touch: &Touch, facts: &Facts<'_>) -> bool {
    let registration = facts.registry.registration(&touch.owner);
    let max_length = registration.and_then(|registration| registration.max_length);
    max_length.is_some_and(|max_length| change.prefix.length() <= max_length)
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
        hops: hops(route, facts),
        joint: None,
        validity: facts.reference.origin_validity(&change.prefix, &route.as_path),
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
            hops: hops.iter().rev().copied().collect(),
            joint: None,
            validity: facts.reference.origin_validity(&change.prefix, &route.as_path),
            expected: route.as_path.origin().into_iter().collect(),
            configured: true,
            leak_type: Some(leak_type),
            between: Some(between),
        })
        .collect()
}
