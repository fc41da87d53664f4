//! Origins: who announces what is ours, and whether the path that says so was made up.

use std::collections::BTreeSet;

use schemas::bgp::{Asn, PathAttributes};
use schemas::finding::{LeakType, Rule};
use schemas::registry::{Owner, Touch};

use super::super::forger::{self, Joint, Sign};
use super::super::valley::{self, Step};
use super::super::{Change, Facts, Suspect};
use super::{Ours, Verdict, hops, hygiene, path_hops, told_origin};

/// Links from the right origin in which a new one of our very prefix counts.
const NEW_LINKS_MAX: usize = 3;
/// From so many on a new link proves little.
const FAR_FROM: usize = 2;

/// Origins that may announce a registration, and whether the operator said so. None while learning.
pub(in super::super) fn expected(
    owner: &Owner,
    facts: &Facts<'_>,
) -> Option<(BTreeSet<Asn>, bool)> {
    let connection = facts.registry.connection(owner.connection)?;
    if let Some(configured) = &connection.origin_asns {
        return Some((configured.iter().copied().collect(), true));
    }
    let learnt = facts.baseline.origins_of(owner);
    (facts.baseline.is_seeded() && !learnt.is_empty()).then_some((learnt, false))
}

/// A foreign origin, or a made-up path to the right one.
pub(super) fn exact_or_part(ours: &Ours<'_>, facts: &Facts<'_>) -> Option<Verdict> {
    let Ours { change, touch, hops, .. } = ours;
    let origin = ours.origin?;
    let is_part = ours.is_part();
    let is_right = ours.is_right();
    // A right origin that announces our very prefix for the first time is a second site: all of its
    // links are new.
    let is_new_site = !is_part && !facts.baseline.origins_of(&touch.owner).contains(&origin);
    if is_right && (!ours.is_learnt || is_new_site || change.is_snapshot) {
        return None;
    }
    let (suspect, joint) = if is_right {
        if is_part && is_usual_part(ours, facts) {
            return None;
        }
        let joint = if is_part {
            // A part that is not new may be leaked like any route.
            let is_known = facts.baseline.is_usual_part(change.prefix, origin);
            let valley = || (!is_known).then(|| forger::valley(hops, facts)).flatten();
            let joint = forger::joint(hops, ours.group(), facts).or_else(valley);
            joint.filter(|_| !goes_the_same_way(ours, facts))?
        } else {
            new_neighbour(hops, ours.group(), facts)?
        };
        // A part of our prefix is one story, whatever the paths; of our prefix each new link is one.
        let up_to = if is_part { 0 } else { joint.at };
        (Suspect::Path(hops.get(up_to).copied()?), Some(joint))
    } else {
        // Without relationships every link of a foreign origin is unknown; nobody knows a private
        // number's, which a right origin let through.
        let is_let_through = hygiene::is_private(origin)
            && hops.get(1).is_some_and(|next| ours.expected.contains(next));
        let is_judged = !facts.reference.relationships.is_empty() && !is_let_through;
        let joint = is_judged.then(|| forger::joint(hops, ours.group(), facts)).flatten();
        (Suspect::Origin(origin), joint)
    };
    let rule = match is_part {
        true => Rule::HijackSubPrefix,
        false if !is_right && is_cut_off(ours, facts) => Rule::LeakType5,
        false if is_unannounced(&touch.owner, &ours.expected, facts) => Rule::HijackSquat,
        false => Rule::HijackExact,
    };
    let words = (rule == Rule::LeakType5).then(|| {
        format!("{origin} announces {} as its own, which it has from a provider", ours.name())
    });
    Some(Verdict {
        joint: joint.filter(|_| rule != Rule::LeakType5),
        turned: turned(change, &ours.expected),
        leak_type: (rule == Rule::LeakType5).then_some(LeakType::Reorigination),
        words,
        ..ours.verdict(rule, suspect, origin, facts)
    })
}

/// Whether somebody holds a part and what is registered around it by the very same path: then it
/// came from where all else comes from.
fn goes_the_same_way(ours: &Ours<'_>, facts: &Facts<'_>) -> bool {
    let registered = &ours.touch.owner.prefix;
    let is_same = |peer, part: &PathAttributes| {
        let around = facts.rib.route_at(peer, registered);
        around.is_some_and(|around| around.as_path.hops().eq(part.as_path.hops()))
    };
    if is_same(ours.change.peer, ours.route) {
        return true;
    }
    let holders = facts.rib.routes_of(&ours.change.header.routing_domain, &ours.change.prefix);
    holders
        .into_iter()
        .any(|(peer, held)| held.peer.rib_view.is_adj_rib_in() && is_same(peer, held.attributes))
}

/// Whether private numbers stand between two ASes that know each other: those let them through,
/// which is told as such. Nobody made the path up.
fn is_private_one_let_through(hops: &[Asn], joint: Joint, group: &str, facts: &Facts<'_>) -> bool {
    let behind = hops.get(joint.at + 1..).unwrap_or_default();
    let private = behind.iter().take_while(|asn| hygiene::is_private(**asn)).count();
    let mut behind_them = behind.iter().skip(1).take(private);
    joint.sign == Sign::UnknownLink
        && hops
            .get(joint.at)
            .is_some_and(|right| behind_them.any(|left| facts.knows_link(group, *left, *right)))
}

/// A link near the right origin that nobody knows. Links further off are new all the time.
fn new_neighbour(hops: &[Asn], group: &str, facts: &Facts<'_>) -> Option<Joint> {
    let links_max = if facts.reference.relationships.is_empty() { 1 } else { NEW_LINKS_MAX };
    forger::joint(hops, group, facts)
        .filter(|joint| joint.at < links_max)
        .filter(|joint| !is_private_one_let_through(hops, *joint, group, facts))
}

/// Whether a made-up path to our very prefix breaks so far from the right origin that it may be true.
pub(super) fn is_far(hijack: &Verdict, ours: &Ours<'_>) -> bool {
    ours.is_right() && !ours.is_part() && hijack.joint.is_some_and(|joint| joint.at >= FAR_FROM)
}

/// Whether the origin had the route of a right one from its provider until now, and the peer hears
/// the same path without what lay behind it (RFC 7908 §3.5).
fn is_cut_off(ours: &Ours<'_>, facts: &Facts<'_>) -> bool {
    if !turned(ours.change, &ours.expected) {
        return false;
    }
    let Some(before) = &ours.change.route.before else { return false };
    let before = path_hops(before, facts.reference);
    let Some(behind) = before.len().checked_sub(ours.hops.len() + 1) else { return false };
    let (Some(provider), Some(own)) = (before.get(behind), ours.hops.first()) else { return false };
    before.ends_with(&ours.hops) && valley::step(*provider, *own, facts.reference) == Step::Down
}

/// Whether nobody announced a registration when the baseline was learnt, its right origin neither.
fn is_unannounced(owner: &Owner, expected: &BTreeSet<Asn>, facts: &Facts<'_>) -> bool {
    facts.baseline.is_seeded()
        && facts.baseline.origins_of(owner).is_disjoint(expected)
        && !expected.iter().any(|origin| facts.baseline.was_dumped(owner.prefix, *origin))
}

/// Whether the owner said that parts of this length are its own.
pub(super) fn is_usual_part(ours: &Ours<'_>, facts: &Facts<'_>) -> bool {
    let registration = facts.registry.registration(&ours.touch.owner);
    let max_length = registration.and_then(|registration| registration.max_length);
    max_length.is_some_and(|max_length| ours.change.prefix.length() <= max_length)
}

/// A prefix around ours.
pub(super) fn super_prefix(
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
    let (expected, configured) = expected(&touch.owner, facts)?;
    let connection = facts.registry.connection(touch.owner.connection)?;
    let upstreams = connection.upstream_asns.iter().flatten();
    let partner = connection.partner.as_ref().and_then(|partner| partner.asn);
    if expected.contains(&origin)
        || partner == Some(origin)
        || upstreams.into_iter().any(|a| *a == origin)
    {
        return None;
    }
    let around = Ours {
        change,
        touch,
        route,
        connection,
        origin: Some(origin),
        hops: hops(route, facts),
        expected,
        configured,
        is_learnt: false,
    };
    let suspect = Suspect::Origin(origin);
    Some(around.verdict(Rule::HijackSuperPrefix, suspect, origin, facts))
}

/// Whether the peer held a route of a right origin until now.
fn turned(change: &Change<'_>, expected: &BTreeSet<Asn>) -> bool {
    let before = change.route.before.as_ref().and_then(|route| route.as_path.origin());
    before.is_some_and(|origin| expected.contains(&origin))
}
