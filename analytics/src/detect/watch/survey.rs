//! Surveys: what all peers hold of one registration at one moment, beside what they usually do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemas::bgp::{Asn, PathAttributes, PeerHeader};
use schemas::connection::{Connection, ConnectionSession, SessionRole};
use schemas::finding::{Rule, Severity, Term, TermName};
use schemas::registry::Owner;
use schemas::tables::Text;
use schemas::time::Timestamp;

use super::super::judge::expected_origins;
use super::feed::Feeds;
use super::flap::Flaps;
use super::{Claim, ConditionKey, Facts, SECS_PER_DAY, Subject, USUAL_SECS, Usual, Watch};
use crate::rib::PeerId;

/// One route that a peer holds.
#[derive(Clone, Debug)]
pub(super) struct Held<'a> {
    pub(super) peer: PeerId,
    pub(super) header: &'a Arc<PeerHeader>,
    pub(super) attributes: &'a Arc<PathAttributes>,
    /// ASes on its path, prepends collapsed.
    pub(super) hops: usize,
    /// The last of them.
    pub(super) origin: Option<Asn>,
    /// Whether it ends in an AS that may not originate it: that is another story.
    pub(super) is_foreign: bool,
}

/// What is held of one registration.
pub(super) struct Survey<'a> {
    pub(super) owner: Owner,
    pub(super) connection: &'a Connection,
    pub(super) now: Timestamp,
    /// The shortest route of each peer, as it was announced to its router or collector; by peer.
    pub(super) held: Vec<Held<'a>>,
    /// What a router of ours announces itself (RFC 8671).
    pub(super) sent: Vec<Held<'a>>,
    /// Peers that usually hold it and whose session is up.
    pub(super) full: Vec<Usual>,
    /// Those of them that hold it now.
    pub(super) seen: usize,
    /// Peers that usually hold it, up or not.
    pub(super) usual: &'a [Usual],
    pub(super) upstreams: &'a BTreeSet<Asn>,
    pub(super) by_partner: bool,
    pub(super) flaps: &'a Flaps,
    refreshed: Option<Timestamp>,
    renewed: Option<Timestamp>,
}

/// What counts as usual from now on.
pub(super) struct BecomesUsual {
    pub(super) peers: Vec<Usual>,
    pub(super) upstreams: BTreeSet<Asn>,
    pub(super) by_partner: bool,
    pub(super) is_renewed: bool,
}

impl<'a> Survey<'a> {
    pub(super) fn of(
        owner: Owner,
        connection: &'a Connection,
        now: Timestamp,
        watch: &'a Watch,
        feeds: &Feeds,
        facts: &Facts<'a>,
    ) -> Self {
        let (mut held, mut sent): (Vec<Held<'a>>, Vec<Held<'a>>) = (Vec::new(), Vec::new());
        let expected = expected_origins(&owner, facts).map(|(origins, _)| origins);
        for (peer, route) in facts.rib.routes_of(&connection.routing_domain, &owner.prefix) {
            let (header, attributes) = (route.peer, route.attributes);
            let origin = attributes.as_path.hops_from_origin().next();
            let is_foreign = origin.is_some_and(|origin| {
                expected.as_ref().is_some_and(|expected| !expected.contains(&origin))
            });
            let hops = attributes.as_path.hops().count();
            let found = Held { peer, header, attributes, hops, origin, is_foreign };
            if route.peer.rib_view.is_adj_rib_out() {
                sent.push(found);
            } else if route.peer.rib_view.is_adj_rib_in() {
                match held.last_mut().filter(|last| last.peer == peer) {
                    Some(last) if last.hops > found.hops => *last = found,
                    Some(_) => {}
                    None => held.push(found),
                }
            }
        }
        let mut full: Vec<Usual> =
            watch.usual.iter().filter(|usual| feeds.is_full(usual.peer, now)).copied().collect();
        // Where others look too, the connection's own sessions are judged by themselves.
        let is_own = |usual: &Usual| {
            facts.rib.peer(usual.peer).is_some_and(|header| session(connection, header).is_some())
        };
        if full.iter().any(|usual| !is_own(usual)) {
            full.retain(|usual| !is_own(usual));
        }
        let holds = |usual: &&Usual| held.binary_search_by_key(&usual.peer, |h| h.peer).is_ok();
        let seen = full.iter().filter(holds).count();
        Self {
            owner,
            connection,
            now,
            seen,
            full,
            held,
            sent,
            usual: &watch.usual,
            upstreams: &watch.upstreams,
            by_partner: watch.by_partner,
            flaps: &watch.flaps,
            refreshed: watch.refreshed,
            renewed: watch.renewed,
        }
    }

    /// What becomes usual, if it is time: what is new joins each hour, what is gone leaves each day.
    pub(super) fn becomes_usual(&self, now: Timestamp, is_calm: bool) -> Option<BecomesUsual> {
        let is_due = self.refreshed.is_none_or(|at| now.secs_since(at) >= USUAL_SECS);
        if !is_calm || !is_due || self.own().next().is_none() {
            return None;
        }
        let is_renewed = self.renewed.is_none_or(|at| now.secs_since(at) >= SECS_PER_DAY);
        let own = || self.own();
        let hops = |held: &Held<'_>| u8::try_from(held.hops).unwrap_or(u8::MAX);
        let mut peers: BTreeMap<PeerId, u8> = own().map(|held| (held.peer, hops(held))).collect();
        let mut upstreams: BTreeSet<Asn> = own().filter_map(Held::upstream).collect();
        if !is_renewed {
            peers.extend(self.usual.iter().map(|usual| (usual.peer, usual.hops)));
            upstreams.extend(self.upstreams);
        }
        let by_partner =
            self.through_partner().is_some_and(|through| through * 2 >= self.held.len());
        Some(BecomesUsual {
            peers: peers.into_iter().map(|(peer, hops)| Usual { peer, hops }).collect(),
            upstreams,
            by_partner: by_partner || (!is_renewed && self.by_partner),
            is_renewed,
        })
    }

    /// The partner's AS, where it is another than the origin.
    pub(super) fn partner(&self) -> Option<Asn> {
        let partner = self.connection.partner.as_ref()?.asn?;
        let is_origin = self.own().any(|held| held.origin == Some(partner));
        (!is_origin).then_some(partner)
    }

    /// How many routes pass the partner.
    pub(super) fn through_partner(&self) -> Option<usize> {
        let partner = self.partner()?;
        Some(self.own().filter(|held| held.passes(partner)).count())
    }

    /// The role of the connection's own session over which a route came.
    pub(super) fn role(&self, header: &PeerHeader) -> Option<&'a SessionRole> {
        session(self.connection, header)?.role.as_ref()
    }

    /// Routes that end where they may.
    pub(super) fn own(&self) -> impl Iterator<Item = &Held<'a>> {
        self.held.iter().filter(|held| !held.is_foreign)
    }

    /// Distinct peer ASes among some routes.
    pub(super) fn peer_asns<'b>(held: impl Iterator<Item = &'b Held<'a>>) -> u32
    where
        'a: 'b,
    {
        let asns: BTreeSet<Asn> = held.map(|held| held.header.asn).collect();
        u32::try_from(asns.len()).unwrap_or(u32::MAX)
    }

    /// A claim of a rule about this registration; the caller adds what is special.
    pub(super) fn claim(
        &self,
        rule: Rule,
        subject: Subject,
        severity: Severity,
        terms: Vec<Term>,
        explanation: String,
    ) -> Claim {
        Claim {
            key: ConditionKey { owner: Some(self.owner), rule, subject },
            rule,
            severity,
            culprit: None,
            victim: self.held.first().and_then(|held| held.origin),
            since: self.now,
            terms,
            witnesses: 0,
            path_before: None,
            path_after: None,
            explanation,
        }
    }

    /// "192.0.2.0/24 of contoso-seattle".
    pub(super) fn name(&self) -> String {
        format!("{} of {}", self.owner.prefix, self.connection.name)
    }
}

/// The connection's own session over which a peer's routes come.
fn session<'c>(connection: &'c Connection, header: &PeerHeader) -> Option<&'c ConnectionSession> {
    connection.sessions.iter().find(|session| {
        session.peer_ip == header.address
            && match (&session.router, &header.router) {
                (Some(wanted), Some(router)) => wanted.as_str() == &**router,
                _ => true,
            }
    })
}

impl Held<'_> {
    /// The AS next to the origin.
    pub(super) fn upstream(&self) -> Option<Asn> {
        self.attributes.as_path.hops_from_origin().nth(1)
    }

    /// The AS next to the peer's collector.
    pub(super) fn first(&self) -> Option<Asn> {
        self.attributes.as_path.hops().next()
    }

    /// Whether an AS is on its path.
    pub(super) fn passes(&self, asn: Asn) -> bool {
        self.attributes.as_path.hops().any(|hop| hop == asn)
    }

    pub(super) fn path_text(&self) -> Text {
        self.attributes.as_path.to_string().into()
    }
}

/// The value that stands most often; of equally frequent ones the least.
pub(super) fn most<T: Ord>(values: impl Iterator<Item = T>) -> Option<(T, usize)> {
    let mut counts: BTreeMap<T, usize> = BTreeMap::new();
    for value in values {
        *counts.entry(value).or_default() += 1;
    }
    // Of equal ones `max_by_key` takes the last: the order is turned.
    counts.into_iter().rev().max_by_key(|(_, count)| *count)
}

/// What a number of peers adds to a score.
pub(super) fn peers_term(peers: usize, most: f64) -> Term {
    let weight = (peers.max(1) as f64).log2().min(most);
    let detail = match peers {
        1 => "1 peer shows it".to_owned(),
        _ => format!("{peers} peers show it"),
    };
    Term { name: TermName::Peers, weight, detail }
}

/// The first term of a rule.
pub(super) fn rule_term(weight: f64, detail: impl Into<String>) -> Term {
    Term { name: TermName::Rule, weight, detail: detail.into() }
}
