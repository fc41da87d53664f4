//! Watched ASes: what one of them does that its configuration does not say.

use schemas::bgp::{Asn, PathAttributes, Prefix};
use schemas::connection::{Originates, WatchedAs};
use schemas::finding::{LeakType, Rule, TermName};

use super::super::{CaseKey, Change, Facts, Suspect};
use super::{Verdict, hops, owner_of, term, told_origin, validity};

/// Leaks of watched ASes, neighbours that they do not have, and what they originate that nobody
/// registered.
pub(super) fn judge(
    change: &Change<'_>,
    route: &PathAttributes,
    registered: Option<Prefix>,
    facts: &Facts<'_>,
) -> Vec<Verdict> {
    let hops = hops(route, facts);
    let found = Found { change, route, hops: &hops, facts };
    let mut verdicts: Vec<Verdict> = Vec::new();
    for (at, own) in hops.iter().enumerate() {
        let Some(watched) = facts.registry.watched_as(*own) else { continue };
        let right = at.checked_sub(1).and_then(|at| hops.get(at)).copied();
        let left = hops.get(at + 1).copied();
        let known = if let (Some(right), Some(left)) = (right, left) {
            verdicts.extend(found.leak(watched, right, left));
            [Some(right), Some(left)]
        } else {
            [right, left]
        };
        verdicts.extend(known.into_iter().flatten().filter_map(|n| found.neighbour(watched, n)));
    }
    let origin = told_origin(route).and_then(|origin| facts.registry.watched_as(origin));
    if let Some(watched) = origin.filter(|_| registered.is_none()) {
        verdicts.extend(found.unregistered(watched));
    }
    verdicts
}

struct Found<'a> {
    change: &'a Change<'a>,
    route: &'a PathAttributes,
    hops: &'a std::sync::Arc<[Asn]>,
    facts: &'a Facts<'a>,
}

impl Found<'_> {
    /// It passes a route from a provider or peer to a provider or peer.
    fn leak(&self, watched: &WatchedAs, right: Asn, left: Asn) -> Option<Verdict> {
        let from_provider = watched.upstreams.contains(&right);
        let to_provider = watched.upstreams.contains(&left);
        let leak_type = match (
            from_provider || watched.peers.contains(&right),
            to_provider || watched.peers.contains(&left),
            from_provider,
            to_provider,
        ) {
            (true, true, true, true) => LeakType::Hairpin,
            (true, true, false, false) => LeakType::Lateral,
            (true, true, true, false) => LeakType::ProviderToPeer,
            (true, true, false, true) => LeakType::PeerToProvider,
            _ => return None,
        };
        let own = watched.number;
        let detail = format!("{own} passes a route of {right} on to {left}");
        let words =
            format!("{own} leaks {}: it passes the route of {right} on to {left}", self.name());
        Some(Verdict {
            leak_type: Some(leak_type),
            ..self.verdict(Rule::LeakOwnAs, Suspect::Leaker(own), own, (5.0, detail, words))
        })
    }

    /// A neighbour that none of its lists names. One without lists has any.
    fn neighbour(&self, watched: &WatchedAs, neighbour: Asn) -> Option<Verdict> {
        let WatchedAs { upstreams, peers, downstreams, number, .. } = watched;
        let mut listed = [upstreams, peers, downstreams].into_iter().flatten().peekable();
        if listed.peek().is_none() || listed.any(|asn| *asn == neighbour) {
            return None;
        }
        let detail = format!("{neighbour} stands next to {number}, which does not list it");
        let words = format!(
            "{neighbour} stands next to {number} on the path to {} and is none of its neighbours",
            self.name()
        );
        let suspect = Suspect::Neighbour(neighbour);
        let told = (3.0, detail, words);
        Some(self.verdict(Rule::NeighbourUnknown, suspect, neighbour, told))
    }

    /// It originates what nobody registered.
    fn unregistered(&self, watched: &WatchedAs) -> Option<Verdict> {
        let own = watched.number;
        let prefix = self.change.prefix;
        (watched.originates == Originates::Registered).then(|| {
            let detail = format!("{own} originates registered prefixes only, and this is none");
            let words = format!("{own} originates {prefix}, which nobody registered");
            let suspect = Suspect::Form(Rule::OriginUnregistered);
            self.verdict(Rule::OriginUnregistered, suspect, own, (4.0, detail, words))
        })
    }

    fn name(&self) -> String {
        let owner = owner_of(self.change);
        let connection = owner.and_then(|owner| self.facts.registry.connection(owner.connection));
        let of = connection.map_or_else(String::new, |c| format!(" of {}", c.name));
        format!("{}{of}", self.change.prefix)
    }

    fn verdict(
        &self,
        rule: Rule,
        suspect: Suspect,
        culprit: Asn,
        (weight, detail, words): (f64, String, String),
    ) -> Verdict {
        Verdict {
            key: CaseKey { prefix: self.change.prefix, owner: owner_of(self.change), suspect },
            rule,
            culprit,
            hops: std::sync::Arc::clone(self.hops),
            joint: None,
            validity: validity(self.change, self.route, self.facts),
            expected: self.route.as_path.origin().into_iter().collect(),
            configured: true,
            turned: false,
            leak_type: None,
            terms: vec![term(TermName::Rule, weight, detail)],
            witnesses_max: super::super::score::WITNESSES_MAX,
            words: Some(words),
            excuse: None,
        }
    }
}
