//! ROAs: what the owners of address space publish about our prefixes changed, is about to expire, or
//! vanished with all the others because something on the way failed.
//!
//! A change is told until it is undone, or for a day: then it is what is usual. What its routes are
//! worth from then on is [`super::super::judge::hygiene`]'s matter: they are judged again.

use std::collections::{BTreeMap, BTreeSet};

use schemas::bgp::{Asn, Prefix};
use schemas::connection::PUBLIC_ROUTING_DOMAIN;
use schemas::finding::{Phase, Rule, Severity, Transition};
use schemas::reference::VrpDoubt;
use schemas::registry::{Owner, Registry};
use schemas::time::{SECS_PER_DAY, Timestamp};
use serde::{Deserialize, Serialize};

use super::super::Facts;
use super::super::condition::{Claim, ConditionKey, Conditions, Moment, Subject};
use super::super::judge::expected_origins;
use super::super::moves::Moves;
use super::survey::rule_term;
use crate::reference::OriginValidity;
use crate::reference::vrps::{Vrp, Vrps};

/// What says that VRPs vanished: there is one source of them.
const SOURCE: &str = "vrps";
/// ROAs named in a sentence at most.
const NAMED_MAX: usize = 5;

/// A VRP without what changes from day to day.
type Roa = (Prefix, Asn, u8);

/// What is remembered of the ROAs of our prefixes.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(in super::super) struct Roas {
    /// ROAs before the change that is told, and when it was.
    changed: BTreeMap<Owner, (BTreeSet<Roa>, Timestamp)>,
    /// ROAs that expire at a known time.
    expiring: BTreeSet<(Timestamp, Owner, Roa)>,
    /// What has expired so, by registration.
    expired: BTreeMap<Owner, BTreeSet<Roa>>,
}

/// Where what is told goes.
pub(in super::super) struct Voice<'v> {
    pub(in super::super) conditions: &'v mut Conditions,
    pub(in super::super) transitions: &'v mut Vec<Transition>,
}

impl Roas {
    /// Other VRPs count from here on. `is_mine` says which registrations this fold judges.
    pub(super) fn enter(
        &mut self,
        before: &Vrps,
        facts: &Facts<'_>,
        is_mine: &dyn Fn(&Owner) -> bool,
        log_time: Timestamp,
        voice: &mut Voice<'_>,
    ) {
        let after = &facts.reference.vrps;
        let at = Moment::of_timer(log_time);
        if before.is_empty() || after.is_empty() {
            // Nobody knows what changed.
            for owner in std::mem::take(&mut self.changed).into_keys() {
                voice.end(&changed_key(owner), at, Phase::Outdated, None, facts.registry);
            }
        } else {
            let differing: Vec<Prefix> = before.differing(after).collect();
            for owner in owners_below(facts.registry, differing, is_mine) {
                self.compare(owner, before, facts, at, voice);
            }
        }
        self.watch(facts, is_mine, log_time, voice);
    }

    /// Another version of the registry begins: its registrations have other numbers.
    pub(super) fn moved(&mut self, moves: Moves<'_>) {
        let changed = std::mem::take(&mut self.changed).into_iter();
        let stays = |(owner, known)| Some((moves.of(owner).owner()?, known));
        self.changed = changed.filter_map(stays).collect();
        self.expiring.clear();
        self.expired.clear();
    }

    /// Looks which ROAs expire soon.
    pub(super) fn watch(
        &mut self,
        facts: &Facts<'_>,
        is_mine: &dyn Fn(&Owner) -> bool,
        log_time: Timestamp,
        voice: &mut Voice<'_>,
    ) {
        let told: BTreeSet<Owner> = self.expiring.iter().map(|(_, owner, _)| *owner).collect();
        let told_expired = std::mem::take(&mut self.expired);
        let told = &told | &told_expired.keys().copied().collect();
        self.expiring.clear();
        let vrps = &facts.reference.vrps;
        let prefixes = vrps.all_expiring().map(|(_, vrp)| vrp.prefix).collect();
        for owner in owners_below(facts.registry, prefixes, is_mine) {
            for (expires, vrp) in vrps.expiring(&owner.prefix) {
                if is_needed(&owner, &vrp, facts) {
                    self.expiring.insert((expires, owner, roa(&vrp)));
                }
            }
        }
        let at = Moment::of_timer(log_time);
        let now: BTreeSet<Owner> = self.expiring.iter().map(|(_, owner, _)| *owner).collect();
        for owner in told.difference(&now) {
            let are_there = told_expired.get(owner).is_none_or(|over| {
                let now: BTreeSet<Roa> =
                    vrps.covering(&owner.prefix, log_time).iter().map(roa).collect();
                over.is_subset(&now)
            });
            let end = if are_there { "were renewed" } else { "are gone" };
            let words = format!("the ROAs of {} {end}", name(owner, facts.registry));
            voice.end(&expiry_key(*owner), at, Phase::Resolved, Some(words), facts.registry);
        }
        for owner in now {
            self.tell_expiry(owner, facts, at, voice);
        }
    }

    /// Log time passes. Prefixes whose VRPs count no more are answered: what is held of them is judged
    /// again.
    pub(super) fn advance(
        &mut self,
        log_time: Timestamp,
        facts: &Facts<'_>,
        voice: &mut Voice<'_>,
    ) -> Vec<Prefix> {
        let mut over = Vec::new();
        while let Some((expires, owner, roa)) =
            self.expiring.first().copied().filter(|(expires, ..)| *expires <= log_time)
        {
            self.expiring.remove(&(expires, owner, roa));
            self.expired.entry(owner).or_default().insert(roa);
            over.push(roa.0);
            self.tell_expiry(owner, facts, Moment::of_timer(expires), voice);
        }
        let is_old = |at: &Timestamp| log_time.secs_since(*at) >= SECS_PER_DAY;
        let old = self.changed.iter().filter(|(_, (_, at))| is_old(at));
        let old: Vec<(Owner, Timestamp)> = old.map(|(owner, (_, at))| (*owner, *at)).collect();
        for (owner, since) in old {
            self.changed.remove(&owner);
            let at = Moment::of_timer(since.plus_secs(SECS_PER_DAY));
            voice.end(&changed_key(owner), at, Phase::Expired, None, facts.registry);
        }
        over
    }

    /// What changed about one registration.
    fn compare(
        &mut self,
        owner: Owner,
        before: &Vrps,
        facts: &Facts<'_>,
        at: Moment,
        voice: &mut Voice<'_>,
    ) {
        let roas = |vrps: &Vrps| -> BTreeSet<Roa> {
            vrps.covering(&owner.prefix, at.log_time).iter().map(roa).collect()
        };
        let now = roas(&facts.reference.vrps);
        let first = match self.changed.get(&owner) {
            Some((first, _)) => first.clone(),
            None => roas(before),
        };
        if first == now {
            if self.changed.remove(&owner).is_some() {
                let words = format!("the ROAs of {} are as before", name(&owner, facts.registry));
                voice.end(&changed_key(owner), at, Phase::Resolved, Some(words), facts.registry);
            }
            return;
        }
        let (severity, weight, effect) = effect(&owner, before, facts, at.log_time);
        let words = format!(
            "ROAs of {} changed: {}{effect}",
            name(&owner, facts.registry),
            difference(&first, &now)
        );
        self.changed.insert(owner, (first, at.log_time));
        let claim = claim(changed_key(owner), severity, weight, at.time, words);
        voice.hold(claim, at, facts);
    }

    /// Tells of the ROAs of a registration that expire, and of those that have.
    fn tell_expiry(&self, owner: Owner, facts: &Facts<'_>, at: Moment, voice: &mut Voice<'_>) {
        let name = name(&owner, facts.registry);
        let claim =
            |severity, weight, words| claim(expiry_key(owner), severity, weight, at.time, words);
        if let Some(over) = self.expired.get(&owner) {
            let words =
                format!("ROAs of {name} expired and were not renewed: {}", list(over.iter()));
            return voice.hold(claim(Severity::Error, 8.0, words), at, facts);
        }
        let soon = self.expiring.iter().filter(|(_, other, _)| *other == owner);
        let Some((first, ..)) = soon.clone().next() else { return };
        let roas = list(soon.map(|(_, _, roa)| roa));
        let words = format!("ROAs of {name} expire at {first} and are not renewed yet: {roas}");
        voice.hold(claim(Severity::Warning, 4.0, words), at, facts);
    }
}

impl Voice<'_> {
    fn hold(&mut self, claim: Claim, at: Moment, facts: &Facts<'_>) {
        let told = self.conditions.hold(claim, at, facts.registry, facts.options);
        self.transitions.extend(told);
    }

    fn end(
        &mut self,
        key: &ConditionKey,
        at: Moment,
        phase: Phase,
        words: Option<String>,
        registry: &Registry,
    ) {
        self.transitions.extend(self.conditions.end_as(phase, key, at, words, registry));
    }

    /// Newer VRPs are not believed, or are again.
    pub(super) fn doubt(
        &mut self,
        doubt: Option<&VrpDoubt>,
        log_time: Timestamp,
        facts: &Facts<'_>,
    ) {
        let key = ConditionKey {
            owner: None,
            rule: Rule::VrpsLost,
            subject: Subject::Collector(SOURCE.into()),
        };
        let at = Moment::of_timer(log_time);
        let Some(doubt) = doubt else {
            return self.end(&key, at, Phase::Resolved, None, facts.registry);
        };
        let VrpDoubt { lost, of, anchor, since, .. } = doubt;
        let whose = anchor.as_ref().map_or_else(String::new, |anchor| format!(" of {anchor}"));
        let words = format!(
            "{lost} of {of} VRPs{whose} vanished at once: that is a fault of a trust anchor or of the \
             relying party; those of before go on to count"
        );
        let claim = claim(key, Severity::Error, 8.0, *since, words);
        self.hold(claim, at, facts);
    }
}

fn claim(
    key: ConditionKey,
    severity: Severity,
    weight: f64,
    since: Timestamp,
    words: String,
) -> Claim {
    Claim {
        rule: key.rule,
        key,
        severity,
        culprit: None,
        victim: None,
        since,
        terms: vec![rule_term(weight, words.clone())],
        witnesses: 0,
        path_before: None,
        path_after: None,
        explanation: words,
    }
}

fn changed_key(owner: Owner) -> ConditionKey {
    let (owner, rule) = (Some(owner), Rule::RpkiRoaChanged);
    ConditionKey { owner, rule, subject: Subject::Registration }
}

fn expiry_key(owner: Owner) -> ConditionKey {
    let (owner, rule) = (Some(owner), Rule::RpkiRoaExpiry);
    ConditionKey { owner, rule, subject: Subject::Registration }
}

fn roa(vrp: &Vrp) -> Roa {
    (vrp.prefix, vrp.asn, vrp.max_length)
}

/// Public registrations of this fold that one of these prefixes covers.
fn owners_below(
    registry: &Registry,
    prefixes: Vec<Prefix>,
    is_mine: &dyn Fn(&Owner) -> bool,
) -> BTreeSet<Owner> {
    let public = registry.domain(PUBLIC_ROUTING_DOMAIN);
    let mut owners = BTreeSet::new();
    for prefix in prefixes {
        let below = public.touches(&prefix).filter(|touch| prefix.covers(&touch.owner.prefix));
        owners.extend(below.map(|touch| touch.owner).filter(is_mine));
    }
    owners
}

/// Whether a right origin of a registration is valid by this VRP.
fn is_needed(owner: &Owner, vrp: &Vrp, facts: &Facts<'_>) -> bool {
    let right = expected_origins(owner, facts);
    let names = right.is_some_and(|(origins, _)| origins.contains(&vrp.asn));
    names && owner.prefix.length() <= vrp.max_length
}

/// What a change does to the routes of right origins: how bad it is, and in words.
fn effect(
    owner: &Owner,
    before: &Vrps,
    facts: &Facts<'_>,
    at: Timestamp,
) -> (Severity, f64, String) {
    let mut worst = (Severity::Information, 2.0, String::new());
    let right = expected_origins(owner, facts).map(|(origins, _)| origins).unwrap_or_default();
    for origin in right {
        let was = before.validity(&owner.prefix, Some(origin), at);
        let is = facts.reference.vrps.validity(&owner.prefix, Some(origin), at);
        if was.as_str() == is.as_str() {
            continue;
        }
        let (severity, weight) = match is {
            OriginValidity::InvalidAsn | OriginValidity::InvalidLength => (Severity::Error, 6.0),
            OriginValidity::NotFound => (Severity::Warning, 4.0),
            OriginValidity::Valid => (Severity::Information, 2.0),
        };
        if severity > worst.0 || worst.2.is_empty() {
            let words = format!(
                "; its routes from {origin} are {}, and were {}",
                is.as_str(),
                was.as_str()
            );
            worst = (severity, weight, words);
        }
    }
    worst
}

/// `AS64511 up to /24 of 203.0.113.0/24 is new; AS64510 up to /24 of 203.0.113.0/24 is gone`.
fn difference(before: &BTreeSet<Roa>, after: &BTreeSet<Roa>) -> String {
    let part = |roas: BTreeSet<Roa>, word: &str| {
        (!roas.is_empty()).then(|| format!("{word} {}", list(roas.iter())))
    };
    let parts = [part(after - before, "new"), part(before - after, "gone")];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

fn list<'r>(roas: impl Iterator<Item = &'r Roa> + Clone) -> String {
    let named = |(prefix, asn, max_length): &Roa| match max_length {
        length if *length == prefix.length() => format!("{prefix} by {asn}"),
        length => format!("{prefix} to /{length} by {asn}"),
    };
    let all = roas.clone().count();
    let mut words: Vec<String> = roas.take(NAMED_MAX).map(named).collect();
    if all > NAMED_MAX {
        words.push(format!("{} more", all - NAMED_MAX));
    }
    words.join(", ")
}

/// `203.0.113.0/24 of seattle`.
fn name(owner: &Owner, registry: &Registry) -> String {
    let connection = registry.connection(owner.connection);
    let of = connection.map_or_else(String::new, |c| format!(" of {}", c.name));
    format!("{}{of}", owner.prefix)
}
