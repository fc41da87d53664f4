//! Hygiene: routes of ours that are badly formed, and those of the right origin that ROAs forbid.
//!
//! What the baseline held already is no news. None of this is a hijack: confidence stays low.

use schemas::bgp::{Asn, Family, Prefix};
use schemas::finding::{Rule, TermName};

use super::super::{Facts, Suspect};
use super::{Ours, Verdict, term};
use crate::reference::OriginValidity;

/// ASes on a path, prepends collapsed, beyond which it is told.
const HOPS_MAX: usize = 50;
/// Repeats of one AS beyond those of the baseline.
const PREPENDS_MORE_MAX: usize = 8;
/// Most that witnesses add: with the weight of the rule still low.
const WITNESSES_MAX: f64 = 1.5;

/// Longer than what is routed between networks.
pub(super) fn is_too_long(prefix: &Prefix) -> bool {
    prefix.length()
        > match prefix.family() {
            Family::Ipv4 => 24,
            Family::Ipv6 => 48,
        }
}

/// Whether a number is reserved: by RFC 7607, 6793, 5398, 6996, 7300.
const fn is_reserved(asn: Asn) -> bool {
    is_private(asn)
        || matches!(asn.0, 0 | 23_456 | 64_496..=64_511 | 65_535 | 65_536..=65_551 | u32::MAX)
}

/// Whether a number is for private use (RFC 6996).
pub(super) const fn is_private(asn: Asn) -> bool {
    matches!(asn.0, 64_512..=65_534 | 4_200_000_000..=4_294_967_294)
}

/// Whatever is badly formed about a route of ours.
pub(super) fn of_ours(ours: &Ours<'_>, facts: &Facts<'_>) -> Vec<Verdict> {
    if ours.is_foreign() || !ours.is_learnt || ours.change.is_snapshot {
        return Vec::new();
    }
    let found = [
        bogon(ours, facts),
        as_set(ours, facts),
        looped(ours),
        path_length(ours),
        prepend(ours, facts),
        prefix_length(ours, facts),
    ];
    let verdict = |Found { rule, culprit, detail }: Found| Verdict {
        terms: vec![term(TermName::Rule, 2.0, detail.as_str())],
        witnesses_max: WITNESSES_MAX,
        words: Some(format!("the path to {}: {detail}", ours.name())),
        ..ours.verdict(rule, Suspect::Form(rule), culprit, facts)
    };
    found.into_iter().flatten().map(verdict).collect()
}

struct Found {
    rule: Rule,
    culprit: Asn,
    detail: String,
}

/// A reserved number that nobody of ours uses; the AS that passed it on let it through.
fn bogon(ours: &Ours<'_>, facts: &Facts<'_>) -> Option<Found> {
    let path: Vec<Asn> = ours.route.as_path.asns().collect();
    let at = path.iter().position(|asn| is_reserved(*asn) && !is_ours(*asn, ours, facts))?;
    let bogon = *path.get(at)?;
    let passed = path.iter().take(at).rev().find(|asn| **asn != bogon);
    Some(Found {
        rule: Rule::HygieneBogonAsn,
        culprit: *passed.unwrap_or(&bogon),
        detail: format!("{bogon} is reserved and stands on it"),
    })
}

/// Whether the registration, a watched AS, the relationships or the baseline name an AS.
fn is_ours(asn: Asn, ours: &Ours<'_>, facts: &Facts<'_>) -> bool {
    let connection = ours.connection;
    let partner = connection.partner.as_ref().and_then(|partner| partner.asn);
    let upstreams = connection.upstream_asns.iter().flatten();
    let is_registered = ours.expected.contains(&asn)
        || partner == Some(asn)
        || upstreams.chain(&connection.expect_upstreams).any(|other| *other == asn);
    let watches = |watched: &schemas::connection::WatchedAs| {
        let lists = [&watched.upstreams, &watched.peers, &watched.downstreams];
        watched.number == asn || lists.into_iter().flatten().any(|other| *other == asn)
    };
    is_registered
        || facts.registry.watched().iter().any(watches)
        || facts.reference.relationships.is_known(asn)
        || facts.reference.relationships.is_route_server(asn)
        || facts.baseline.knows_asn(ours.group(), asn)
}

fn as_set(ours: &Ours<'_>, facts: &Facts<'_>) -> Option<Found> {
    let is_new = ours.route.as_path.has_set() && !facts.baseline.knows_sets(ours.group());
    is_new.then(|| Found {
        rule: Rule::HygieneAsSet,
        culprit: ours.route.aggregator.map_or_else(|| last(ours), |(asn, _)| asn),
        detail: "a set of ASes stands on it, which nobody may send any more (RFC 9774)".to_owned(),
    })
}

fn looped(ours: &Ours<'_>) -> Option<Found> {
    let hops = &ours.hops;
    let twice = hops
        .iter()
        .enumerate()
        .find_map(|(at, asn)| hops.iter().skip(at + 2).any(|other| other == asn).then_some(*asn))?;
    Some(Found {
        rule: Rule::HygieneLoop,
        culprit: twice,
        detail: format!("{twice} stands twice on it, with others between"),
    })
}

fn path_length(ours: &Ours<'_>) -> Option<Found> {
    let length = ours.hops.len();
    (length > HOPS_MAX).then(|| Found {
        rule: Rule::HygienePathLength,
        culprit: last(ours),
        detail: format!("{length} ASes stand on it"),
    })
}

fn prepend(ours: &Ours<'_>, facts: &Facts<'_>) -> Option<Found> {
    let (culprit, times) = longest_run(ours.route.as_path.asns())?;
    let usual = facts.baseline.prepends_most(ours.group());
    (times > usual.max(1) + PREPENDS_MORE_MAX).then(|| Found {
        rule: Rule::HygienePrepend,
        culprit,
        detail: format!("{culprit} stands {times} times in a row on it, {usual} were usual"),
    })
}

/// The AS that stands most often in a row, and how often.
pub(in super::super) fn longest_run(path: impl Iterator<Item = Asn>) -> Option<(Asn, usize)> {
    let mut longest: Option<(Asn, usize)> = None;
    let mut run: Option<(Asn, usize)> = None;
    for asn in path {
        let times = run.filter(|(other, _)| *other == asn).map_or(1, |(_, times)| times + 1);
        run = Some((asn, times));
        if longest.is_none_or(|(_, most)| times > most) {
            longest = run;
        }
    }
    longest
}

fn prefix_length(ours: &Ours<'_>, facts: &Facts<'_>) -> Option<Found> {
    let prefix = ours.change.prefix;
    let origin = ours.origin?;
    let is_new = ours.is_part()
        && is_too_long(&prefix)
        && !super::origin::is_usual_part(ours, facts)
        && !facts.baseline.knows_part(prefix, origin);
    is_new.then(|| Found {
        rule: Rule::HygienePrefixLength,
        culprit: origin,
        detail: format!("a part of {} that is too long to be routed", ours.touch.owner.prefix),
    })
}

fn last(ours: &Ours<'_>) -> Asn {
    ours.hops.first().copied().unwrap_or(ours.change.header.asn)
}

/// A route of the right origin, or of one that cannot be told, that ROAs forbid: those who validate
/// drop it.
pub(super) fn rpki(ours: &Ours<'_>, facts: &Facts<'_>) -> Option<Verdict> {
    if ours.is_foreign() || ours.hops.is_empty() {
        return None;
    }
    let why = match super::validity(ours.change, ours.route, facts)? {
        OriginValidity::InvalidAsn => "ROAs cover it and none names its origin",
        OriginValidity::InvalidLength => "it is longer than the ROA of its origin allows",
        OriginValidity::Valid | OriginValidity::NotFound => return None,
    };
    let origin = ours.origin.unwrap_or_else(|| last(ours));
    Some(Verdict {
        terms: vec![term(TermName::Rule, 4.0, why)],
        words: Some(format!(
            "{origin} announces {}, which is right, and networks that validate drop it: {why}",
            ours.name()
        )),
        ..ours.verdict(Rule::RpkiInvalid, Suspect::Form(Rule::RpkiInvalid), origin, facts)
    })
}
