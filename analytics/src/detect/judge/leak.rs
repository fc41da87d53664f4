//! Leaks: who passed a route of ours on to whom he should not (RFC 7908).
//!
//! Three witnesses are heard: relationships (a valley), the mark that a route is for customers only
//! (`ONLY_TO_CUSTOMER`, RFC 9234) and attestations of providers (ASPA). One leak is one finding, and
//! where they disagree its terms say so. What the baseline held already is no news.

use schemas::bgp::{Asn, PathAttributes, PeerHeader};
use schemas::connection::WatchedAs;
use schemas::finding::{LeakType, Rule, Term, TermName};
use schemas::registry::Registry;

use super::super::score::WITNESSES_MAX;
use super::super::valley::{self, Step, Valley};
use super::super::{Facts, Suspect, forger};
use super::{Ours, Verdict, origin, term};
use crate::reference::{AspaState, Direction, Reference};

/// What witnesses add where relationships alone speak: many see a route that is no leak, too.
const WITNESSES_ALONE_MAX: f64 = 1.5;

/// What the sender of a route is to the router that tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Customer,
    Peer,
    Provider,
}

/// An AS that passed a route on wrongly, and the one it has the route from: places on the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Passed {
    at: usize,
    from: usize,
}

/// What speaks of leaks on one path.
pub(in super::super) struct Signs {
    valleys: Vec<Valley>,
    otc: Option<Passed>,
    aspa: Option<Passed>,
}

/// One link of three ASes: the one whose route it is, the one that passed it on, the one it went to
/// (0: the collector).
pub(in super::super) type Turn = (Asn, Asn, Asn);

impl Signs {
    /// The signs on a path, hops from the origin on.
    pub(in super::super) fn of(
        hops: &[Asn],
        route: &PathAttributes,
        header: &PeerHeader,
        registry: &Registry,
        reference: &Reference,
    ) -> Self {
        let role = role(header, registry);
        let direction = match role {
            Some(Role::Customer | Role::Peer) => Direction::Upstream,
            Some(Role::Provider) | None => Direction::Downstream,
        };
        let aspa = (!reference.aspas.is_empty())
            .then(|| reference.aspas.break_of(hops, direction))
            .flatten()
            .and_then(|(_, at)| Some(Passed { at, from: at.checked_sub(1)? }));
        Self {
            valleys: valley::all(hops, reference),
            otc: otc(hops, route, header, role, reference),
            aspa,
        }
    }

    /// The turns that it speaks of.
    pub(in super::super) fn turns(&self, hops: &[Asn]) -> impl Iterator<Item = Turn> {
        let valleys = self.valleys.iter().map(|v| Passed { at: v.at, from: v.from });
        valleys.chain(self.otc).chain(self.aspa).filter_map(move |passed| turn(hops, passed))
    }
}

fn turn(hops: &[Asn], Passed { at, from }: Passed) -> Option<Turn> {
    Some((*hops.get(from)?, *hops.get(at)?, hops.get(at + 1).copied().unwrap_or_default()))
}

/// What a peer of a router is to the watched AS that the router is of. A collector has no role.
fn role(header: &PeerHeader, registry: &Registry) -> Option<Role> {
    header.router.as_ref()?;
    let of = |watched: &WatchedAs| {
        let lists = [
            (&watched.downstreams, Role::Customer),
            (&watched.peers, Role::Peer),
            (&watched.upstreams, Role::Provider),
        ];
        lists.into_iter().find(|(list, _)| list.contains(&header.asn)).map(|(_, role)| role)
    };
    let mut roles = registry.watched().iter().filter_map(of);
    let first = roles.next()?;
    roles.all(|other| other == first).then_some(first)
}

/// Whether a route that was marked for customers only went elsewhere (RFC 9234 §5). Whoever hears a
/// marked route behind the AS of the mark may pass it to customers only; a customer may send none, a
/// peer none but with its own mark.
fn otc(
    hops: &[Asn],
    route: &PathAttributes,
    header: &PeerHeader,
    role: Option<Role>,
    reference: &Reference,
) -> Option<Passed> {
    let mark = route.otc?;
    let marked = hops.iter().position(|asn| *asn == mark);
    let links = hops.iter().zip(hops.iter().skip(1)).enumerate();
    let went_on = marked.and_then(|marked| {
        links.skip(marked + 1).find_map(|(at, (right, left))| {
            let step = valley::step(*right, *left, reference);
            matches!(step, Step::Up | Step::Across).then_some(Passed { at, from: at - 1 })
        })
    });
    let is_refused = match role {
        Some(Role::Customer) => true,
        Some(Role::Peer) => mark != header.asn,
        Some(Role::Provider) | None => false,
    };
    went_on.or_else(|| {
        let at = hops.len().checked_sub(1).filter(|_| is_refused)?;
        Some(Passed { at, from: at.saturating_sub(1) })
    })
}

/// A leak of our prefix or of a part of it, by a whole path of known links.
pub(super) fn of_ours(ours: &Ours<'_>, facts: &Facts<'_>) -> Option<Verdict> {
    if !ours.is_right() || !ours.is_learnt || ours.change.is_snapshot {
        return None;
    }
    let Facts { registry, reference, .. } = facts;
    let hops = &ours.hops;
    let signs = Signs::of(hops, ours.route, ours.change.header, registry, reference);
    let knows = |turn| facts.baseline.knows_turn(ours.group(), turn);
    let is_news = |passed: &Passed| turn(hops, *passed).is_some_and(|turn| !knows(turn));
    let valley =
        signs.valleys.iter().find(|v| is_news(&Passed { at: v.at, from: v.from })).copied();
    let otc = signs.otc.filter(is_news);
    let aspa = signs.aspa.filter(is_news);
    let passed = valley.map(|v| Passed { at: v.at, from: v.from }).or(otc).or(aspa);
    let Some(passed) = passed else { return more_specific(ours, facts) };
    // An unknown link before the leaker: whoever wrote it is no relay.
    let joint = forger::joint(hops, ours.group(), facts);
    if joint.is_some_and(|joint| joint.at < passed.at) {
        return None;
    }
    let (right, culprit, left) = turn(hops, passed)?;
    let rule = match (valley.map(|valley| valley.leak_type), otc) {
        (Some(LeakType::Hairpin), _) => Rule::LeakType1,
        (Some(LeakType::Lateral), _) => Rule::LeakType2,
        (Some(LeakType::ProviderToPeer), _) => Rule::LeakType3,
        (Some(_), _) => Rule::LeakType4,
        (None, Some(_)) => Rule::LeakOtc,
        (None, None) => Rule::LeakAspa,
    };
    let agree = [otc, aspa].into_iter().flatten().filter(|other| other.at == passed.at).count();
    let is_alone = valley.is_some() && agree == 0;
    let to = if left == Asn(0) { "its neighbour".to_owned() } else { left.to_string() };
    let mut terms = vec![base(rule, (right, culprit, &to))];
    terms.extend(others(hops, passed, rule, (otc, aspa), facts));
    terms.extend(doubts(ours, passed, facts));
    Some(Verdict {
        leak_type: valley.map(|valley| valley.leak_type),
        witnesses_max: if is_alone { WITNESSES_ALONE_MAX } else { WITNESSES_MAX },
        terms,
        words: Some(format!(
            "{culprit} leaks {}: it passes the route that it has from {right} on to {to}",
            ours.name()
        )),
        ..ours.verdict(rule, Suspect::Leaker(culprit), culprit, facts)
    })
}

fn base(rule: Rule, (right, culprit, to): (Asn, Asn, &str)) -> Term {
    let passes = format!("{culprit} passes a route of {right} on to {to}");
    let (weight, why) = match rule {
        Rule::LeakOtc => (4.0, "though it was marked for customers only (RFC 9234)"),
        Rule::LeakAspa => (4.0, "and attestations of providers rule that out (ASPA)"),
        Rule::LeakType1 => (3.0, "both its providers"),
        Rule::LeakType2 => (2.0, "both its peers"),
        Rule::LeakType3 => (2.0, "from a provider to a peer"),
        _ => (2.0, "from a peer to a provider"),
    };
    term(TermName::Rule, weight, format!("{passes}: {why}"))
}

/// What the other witnesses say of a leak.
fn others(
    hops: &[Asn],
    passed: Passed,
    rule: Rule,
    (otc, aspa): (Option<Passed>, Option<Passed>),
    facts: &Facts<'_>,
) -> Vec<Term> {
    let mut terms = Vec::new();
    let name = |at: usize| hops.get(at).copied().unwrap_or_default();
    if rule != Rule::LeakOtc
        && let Some(otc) = otc
    {
        let (weight, what) = match otc.at == passed.at {
            true => (3.0, "agrees"),
            false => (1.0, "disagrees on who did it"),
        };
        let detail = format!("the mark for customers only (RFC 9234) {what}: {}", name(otc.at));
        terms.push(term(TermName::Otc, weight, detail));
    }
    if rule != Rule::LeakAspa
        && let Some(aspa) = aspa
    {
        let (weight, what) = match aspa.at == passed.at {
            true => (3.0, "agree"),
            false => (1.0, "disagree on who did it"),
        };
        let (right, own) = (name(aspa.from), name(aspa.at));
        let left = hops.get(aspa.at + 1).map_or("the collector".to_owned(), ToString::to_string);
        let detail = format!("attestations {what}: they break at {right} {own} {left}");
        terms.push(term(TermName::Aspa, weight, detail));
    }
    let aspas = &facts.reference.aspas;
    if !aspas.is_empty() && aspas.verify_hops(hops, Direction::Downstream) == AspaState::Valid {
        let detail = "attestations call every step right: the relationships may be wrong";
        terms.push(term(TermName::Aspa, -4.0, detail));
    }
    let known = &facts.reference.relationships;
    let big = hops.iter().take(passed.at).find(|asn| known.is_in_clique(**asn));
    let is_up = hops
        .get(passed.at + 1)
        .is_some_and(|left| valley::step(name(passed.at), *left, facts.reference) == Step::Up);
    if let Some(big) = big.filter(|_| is_up) {
        let detail = format!("{big}, which buys from nobody, is behind somebody's customer");
        terms.push(term(TermName::Peerlock, 2.0, detail));
    }
    terms
}

/// What makes a leak less sure.
fn doubts(ours: &Ours<'_>, Passed { at, from }: Passed, facts: &Facts<'_>) -> Vec<Term> {
    let mut terms = Vec::new();
    let known = &facts.reference.relationships;
    let hops = &ours.hops;
    let own = hops.get(at).copied().unwrap_or_default();
    let sides = [hops.get(from), hops.get(at + 1)];
    if sides.into_iter().flatten().any(|side| known.is_disputed(*side, own)) {
        let detail = "the relationships contradict themselves about this AS and its neighbour";
        terms.push(term(TermName::Disputed, -2.0, detail));
    }
    if known.sells_transit(own) {
        let detail = format!("{own} sells transit: what it is to its neighbours may vary by place");
        terms.push(term(TermName::Transit, -4.0, detail));
    }
    let before = ours.change.route.before.as_ref();
    let was_foreign = before
        .and_then(|route| route.as_path.origin())
        .is_some_and(|origin| !ours.expected.contains(&origin));
    if was_foreign {
        let detail =
            "the peer comes back from a route of a foreign origin: this one may be an old one";
        terms.push(term(TermName::Recovery, -3.0, detail));
    }
    let before = before.map(|route| route.as_path.hops().count());
    if before.is_some_and(|before| before < hops.len()) {
        terms.push(term(TermName::Longer, 1.0, "the path is longer than the one before"));
    }
    terms
}

/// A part of our prefix that its right origin never announced, over known links (RFC 7908 §3.6): an
/// internal route that got out, or the owner at work. So it stays low.
fn more_specific(ours: &Ours<'_>, facts: &Facts<'_>) -> Option<Verdict> {
    let origin = ours.origin?;
    let is_told = ours.is_part()
        && !origin::is_usual_part(ours, facts)
        && !super::hygiene::is_too_long(&ours.change.prefix)
        && !facts.baseline.knows_part(ours.change.prefix, origin);
    is_told.then(|| Verdict {
        leak_type: Some(LeakType::MoreSpecific),
        terms: vec![term(
            TermName::Rule,
            2.0,
            "a part of our prefix that its origin never announced",
        )],
        witnesses_max: 1.5,
        words: Some(format!(
            "{origin} announces {}, a part of {} that it never announced before",
            ours.name(),
            ours.touch.owner.prefix
        )),
        ..ours.verdict(Rule::LeakType6, Suspect::Form(Rule::LeakType6), origin, facts)
    })
}
