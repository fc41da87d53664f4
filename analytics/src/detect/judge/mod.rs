//! Judging: what one route says of what is ours.
//!
//! - [`origin`]: who announces it, and whether its path was made up.
//! - [`leak`]: who passed it on to whom he should not.
//! - [`watched`]: what a watched AS does that its configuration does not say.
//! - [`hygiene`]: routes of ours that are badly formed, or that ROAs forbid.
//!
//! Whom a foreign route accuses is a matter of its path too: [`super::forger`].

pub(super) mod hygiene;
pub(super) mod leak;
mod origin;
mod watched;

use std::collections::BTreeSet;
use std::sync::Arc;

use schemas::bgp::{Asn, Community, PathAttributes};
use schemas::connection::{Connection, PUBLIC_ROUTING_DOMAIN};
use schemas::exception;
use schemas::finding::{FindingKind, LeakType, Rule, Term, TermName};
use schemas::registry::{Owner, Relation, Touch};
use serde::{Deserialize, Serialize};

use super::forger::Joint;
use super::{CaseKey, Change, Facts, Suspect, longest_covering};
use crate::reference::OriginValidity;
pub(super) use origin::expected as expected_origins;

/// `BLACKHOLE` (RFC 7999 §5): traffic to it is to be dropped.
const BLACKHOLE: Community = Community::Standard(0xffff_029a);

/// What is held against one route.
#[derive(Clone, Debug, Serialize, Deserialize)]
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
    /// Whether the peer held a route of a right origin before: it turned.
    pub(super) turned: bool,
    /// Type of a leak.
    pub(super) leak_type: Option<LeakType>,
    /// What speaks for and against it, unless it is a hijack: those are scored by what is known.
    pub(super) terms: Vec<Term>,
    /// Most that its witnesses add.
    pub(super) witnesses_max: f64,
    /// It in words, unless it is a hijack.
    pub(super) words: Option<String>,
    /// Why it is to be expected for a while.
    pub(super) excuse: Option<Excuse>,
}

/// Why a route is known to be harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Excuse {
    /// The owner has traffic to it dropped.
    Blackhole,
    /// It scrubs traffic for us.
    Scrubber,
    /// It is of one company with a right origin.
    Sibling,
    /// The operator says so.
    Exception,
}

impl Excuse {
    /// The word in `muted_by`.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Blackhole => "blackhole",
            Self::Scrubber => "scrubber",
            Self::Sibling => "sibling_origin",
            Self::Exception => exception::MUTED_BY,
        }
    }
}

impl Verdict {
    /// The same case, told anew: of several leaks of one AS the first rule of all stays, and what is
    /// badly formed keeps the culprit that it had.
    pub(super) fn after(mut self, before: &Self) -> Self {
        if matches!(self.key.suspect, Suspect::Form(_)) {
            self.culprit = before.culprit;
            self.words.clone_from(&before.words);
        }
        let are_leaks = [&self, before].iter().all(|v| v.rule.kind() == FindingKind::Leak);
        if (are_leaks && before.rule < self.rule) || before.rule == Rule::LeakType5 {
            self.rule = before.rule;
            self.leak_type = before.leak_type;
            self.words.clone_from(&before.words);
        }
        self
    }
}

/// A route of our very prefix or of a part of it, with what is known of the registration.
struct Ours<'a> {
    change: &'a Change<'a>,
    touch: &'a Touch,
    route: &'a PathAttributes,
    connection: &'a Connection,
    /// The origin, where it can be told.
    origin: Option<Asn>,
    hops: Arc<[Asn]>,
    expected: BTreeSet<Asn>,
    configured: bool,
    /// Whether routes of a right origin were learnt. If not, every link is new and none suspicious.
    is_learnt: bool,
}

impl<'a> Ours<'a> {
    /// None while nothing is known of who may originate it.
    fn of(
        change: &'a Change<'a>,
        touch: &'a Touch,
        route: &'a PathAttributes,
        facts: &'a Facts<'_>,
    ) -> Option<Self> {
        let (expected, configured) = origin::expected(&touch.owner, facts)?;
        Some(Self {
            change,
            touch,
            route,
            connection: facts.registry.connection(touch.owner.connection)?,
            origin: told_origin(route),
            hops: hops(route, facts),
            is_learnt: facts.baseline.is_seeded()
                && !facts.baseline.origins_of(&touch.owner).is_disjoint(&expected),
            expected,
            configured,
        })
    }

    fn group(&self) -> &str {
        self.connection.group()
    }

    fn is_part(&self) -> bool {
        self.touch.relation != Relation::Exact
    }

    /// Whether its origin is a right one.
    fn is_right(&self) -> bool {
        self.origin.is_some_and(|origin| self.expected.contains(&origin))
    }

    /// Whether its origin can be told and is none of ours.
    fn is_foreign(&self) -> bool {
        self.origin.is_some_and(|origin| !self.expected.contains(&origin))
    }

    /// A verdict that a rule other than that of a hijack makes.
    fn verdict(&self, rule: Rule, suspect: Suspect, culprit: Asn, facts: &Facts<'_>) -> Verdict {
        Verdict {
            key: CaseKey { prefix: self.change.prefix, owner: Some(self.touch.owner), suspect },
            rule,
            culprit,
            hops: Arc::clone(&self.hops),
            joint: None,
            validity: validity(self.change, self.route, facts),
            expected: self.expected.clone(),
            configured: self.configured,
            turned: false,
            leak_type: None,
            terms: Vec::new(),
            witnesses_max: super::score::WITNESSES_MAX,
            words: None,
            excuse: self.blackhole(facts),
        }
    }

    /// Whether the owner, or an upstream on its behalf, has traffic to it dropped (RFC 7999): the
    /// route is marked so and comes from a right origin, or from an AS that is next to one.
    fn blackhole(&self, facts: &Facts<'_>) -> Option<Excuse> {
        if !self.route.communities.contains(&BLACKHOLE) {
            return None;
        }
        let origin = self.origin?;
        let owner = Some(self.touch.owner);
        let is_upstream = || {
            self.connection.upstream_asns.iter().flatten().any(|asn| *asn == origin)
                || self.connection.partner.as_ref().and_then(|partner| partner.asn) == Some(origin)
                || self.expected.iter().any(|right| facts.exchange_routes(owner, *right, origin))
        };
        (self.is_right() || is_upstream()).then_some(Excuse::Blackhole)
    }

    /// `203.0.113.0/24 of seattle`.
    fn name(&self) -> String {
        format!("{} of {}", self.change.prefix, self.connection.name)
    }
}

/// All verdicts on a change; none for a withdrawal.
pub(super) fn judge(change: &Change<'_>, facts: &Facts<'_>) -> Vec<Verdict> {
    let Some(route) = &change.route.after else { return Vec::new() };
    let mut verdicts = Vec::new();
    let longest =
        longest_covering(facts.registry.touches(&change.header.routing_domain, &change.prefix));
    for touch in change.touches {
        match (touch.relation, longest) {
            (Relation::LessSpecific, None) => {
                verdicts.extend(origin::super_prefix(change, touch, route, facts));
            }
            (Relation::Exact | Relation::MoreSpecific, Some(longest))
                if touch.owner.prefix == longest =>
            {
                let ours = Ours::of(change, touch, route, facts);
                verdicts.extend(ours.iter().flat_map(|ours| of_ours(ours, facts)));
            }
            _ => {}
        }
    }
    if change.writes && !facts.registry.watched().is_empty() {
        let watched = watched::judge(change, route, longest, facts);
        verdicts.retain(|verdict| !watched.iter().any(|other| other.key == verdict.key));
        verdicts.extend(watched);
    }
    verdicts
}

/// A hijack or a made-up path goes before all else, unless it breaks far from the origin; what is
/// badly formed comes last.
fn of_ours(ours: &Ours<'_>, facts: &Facts<'_>) -> Vec<Verdict> {
    let hijack = origin::exact_or_part(ours, facts);
    if hijack.as_ref().is_some_and(|hijack| !origin::is_far(hijack, ours)) {
        return hijack.into_iter().collect();
    }
    let mut verdicts: Vec<Verdict> = leak::of_ours(ours, facts).into_iter().collect();
    if verdicts.is_empty() {
        verdicts = hygiene::of_ours(ours, facts);
    }
    verdicts.extend(hygiene::rpki(ours, facts));
    verdicts.extend(hijack);
    verdicts
}

/// The origin, where it can be told: `AS_TRANS` stands for one that a two-octet speaker cannot write
/// (RFC 6793 §9), AS 0 for none (RFC 7607); they accuse nobody.
fn told_origin(route: &PathAttributes) -> Option<Asn> {
    route.as_path.origin().filter(|origin| *origin != Asn::TRANS && *origin != Asn(0))
}

/// RFC 6811's word; ROAs speak of the public Internet only.
fn validity(
    change: &Change<'_>,
    route: &PathAttributes,
    facts: &Facts<'_>,
) -> Option<OriginValidity> {
    let is_public = &*change.header.routing_domain == PUBLIC_ROUTING_DOMAIN;
    let reference = facts.reference;
    is_public
        .then(|| reference.origin_validity(&change.prefix, &route.as_path, change.time))
        .flatten()
}

/// The path from the origin on: prepends collapsed, route servers of exchanges left out.
fn hops(route: &PathAttributes, facts: &Facts<'_>) -> Arc<[Asn]> {
    path_hops(route, facts.reference).into()
}

/// The same, for whoever has no facts.
pub(super) fn path_hops(
    route: &PathAttributes,
    reference: &crate::reference::Reference,
) -> Vec<Asn> {
    let hops = route.as_path.hops_from_origin();
    hops.filter(|asn| !reference.relationships.is_route_server(*asn)).collect()
}

/// The registration that a finding on a prefix belongs to: the longest around it, of several owners
/// the first.
fn owner_of(change: &Change<'_>) -> Option<Owner> {
    change
        .touches
        .iter()
        .filter(|touch| touch.relation != Relation::LessSpecific)
        .max_by_key(|touch| (touch.owner.prefix.length(), u32::MAX - touch.owner.connection))
        .map(|touch| touch.owner)
}

fn term(name: TermName, weight: f64, detail: impl Into<String>) -> Term {
    Term { name, weight, detail: detail.into() }
}
