//! Watches: what all peers together hold of a registration, looked at after each change.
//!
//! No single route is the witness of a lost primary or of a prefix that half of the world has
//! forgotten. So a change only marks its registration; at the next round instant of log time a
//! [`survey`] is made of it, and each rule says which [`Sign`]s it sees. A sign that lasts as long
//! as its rule asks becomes a finding; one that is gone for as long ends it.
//!
//! - [`visibility`]: who sees it at all (D15), upstreams that stopped.
//! - [`path`]: whether it enters where and as short as it usually does (S1, S2).
//! - [`sessions`]: primary, backup, and what we announce ourselves (S3).
//! - [`flap`]: how often its routes change (D16).
//! - [`feed`]: whether a collector is heard at all.
//! - [`roas`]: what the owners of address space publish of it.
//!
//! D and S are the rules of `docs/decisions/0019-watches.md`. Pure: log time is told.

mod feed;
mod flap;
mod path;
mod roas;
mod sessions;
mod survey;
mod visibility;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemas::bgp::{Asn, PeerHeader, Prefix};
use schemas::finding::{Rule, Transition};
use schemas::registry::{Owner, Relation};
use schemas::tables::VisibilityRow;
use schemas::time::{MICROS_PER_SEC, SECS_PER_DAY, Timestamp};
use serde::{Deserialize, Serialize};

use super::condition::{Claim, ConditionKey, Conditions, Moment, Subject};
use super::moves::{Moved, Moves};
use super::{Change, Facts};
use crate::reference::Vrps;
use crate::rib::PeerId;
use feed::Feeds;
use flap::Flaps;
use roas::{Roas, Voice};
use survey::Survey;

/// Log time between two surveys of one registration.
const SURVEY_SECS: i64 = 10;
/// What is usual takes in what is new this often, while nothing is wrong.
const USUAL_SECS: i64 = 3_600;
/// The length of a window of `visibility`.
const VISIBILITY_SECS: u32 = 300;
/// Each full hour, every registration gets a row of `visibility`.
const HOUR_SECS: i64 = 3_600;

/// What a rule sees at one survey.
#[derive(Debug)]
struct Sign {
    /// `since` is set when the sign is told.
    claim: Claim,
    /// It must last this long to be told.
    hold_secs: i64,
    /// It must be gone this long to be over.
    clear_secs: i64,
}

/// A sign as it comes and goes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Lasting {
    /// Event time of the change that brought it.
    since: Timestamp,
    /// Log time at which it was first seen.
    seen: Timestamp,
    /// Log time since when it is gone.
    gone: Option<Timestamp>,
    clear_secs: i64,
}

/// One peer that usually holds a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Usual {
    peer: PeerId,
    hops: u8,
}

/// What is remembered of one registration.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Watch {
    due: Option<Timestamp>,
    /// Event time of the newest change.
    changed_at: Timestamp,
    /// Peers that usually hold it, by number.
    usual: Vec<Usual>,
    /// ASes that usually stand next to its origin.
    upstreams: BTreeSet<Asn>,
    /// Whether most routes usually pass its partner.
    by_partner: bool,
    refreshed: Option<Timestamp>,
    renewed: Option<Timestamp>,
    flaps: Flaps,
    signs: BTreeMap<ConditionKey, Lasting>,
    /// Whether it changed in the current window of `visibility`.
    is_news: bool,
}

/// All watches of one fold.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Watches {
    all: BTreeMap<Owner, Watch>,
    due: BTreeSet<(Timestamp, Owner)>,
    feeds: Feeds,
    roas: Roas,
    conditions: Conditions,
    /// Start of the window of `visibility` under way.
    window: Option<Timestamp>,
    is_seeded: bool,
    /// Whether this fold is the one that tells of feeds: every fold hears of all sessions.
    tells_feeds: bool,
}

impl Watches {
    pub(super) fn new(tells_feeds: bool) -> Self {
        Self { tells_feeds, ..Self::default() }
    }

    /// Claims that found no room.
    pub(super) fn take_refused(&mut self) -> u64 {
        std::mem::take(&mut self.conditions.refused)
    }

    /// A route of ours changed: its registrations are looked at soon.
    pub(super) fn on_change(&mut self, change: &Change<'_>) {
        for touch in change.touches.iter().filter(|touch| touch.relation == Relation::Exact) {
            let watch = self.all.entry(touch.owner).or_default();
            watch.changed_at = watch.changed_at.max(change.time);
            watch.is_news = true;
            if !change.is_snapshot && self.is_seeded && change.route.is_of_path() {
                watch.flaps.note(change.peer, change.time);
            }
            if watch.due.is_none() && self.is_seeded {
                schedule(&mut self.due, touch.owner, watch, after(change.log_time));
            }
        }
    }

    /// Another version of the registry begins. What is usual stays known; what was seen of edited
    /// registrations is looked at anew.
    pub(super) fn enter(
        &mut self,
        moves: Moves<'_>,
        at: Moment,
        transitions: &mut Vec<Transition>,
    ) {
        self.conditions.enter(moves, at, transitions);
        self.roas.moved(moves);
        self.due.clear();
        for (owner, mut watch) in std::mem::take(&mut self.all) {
            let moved = moves.of(owner);
            let Some(owner) = moved.owner() else { continue };
            let due = watch.due.take();
            let signs = std::mem::take(&mut watch.signs);
            if matches!(moved, Moved::Same(_)) {
                let with_owner = |key| ConditionKey { owner: Some(owner), ..key };
                watch.signs =
                    signs.into_iter().map(|(key, sign)| (with_owner(key), sign)).collect();
            }
            if let Some(due) = due.or_else(|| self.is_seeded.then(|| after(at.log_time))) {
                schedule(&mut self.due, owner, &mut watch, due);
            }
            self.all.insert(owner, watch);
        }
    }

    /// Other reference data count from here on; `before` are the VRPs that counted.
    pub(super) fn enter_reference(
        &mut self,
        before: &Vrps,
        facts: &Facts<'_>,
        is_mine: &dyn Fn(&Owner) -> bool,
        log_time: Timestamp,
        transitions: &mut Vec<Transition>,
    ) {
        let mut voice = Voice { conditions: &mut self.conditions, transitions };
        self.roas.enter(before, facts, is_mine, log_time, &mut voice);
        if self.tells_feeds {
            voice.doubt(facts.reference.set.doubt.as_ref(), log_time, facts);
        }
    }

    /// Another version of the registry has begun: its ROAs are looked at.
    pub(super) fn watch_roas(
        &mut self,
        facts: &Facts<'_>,
        is_mine: &dyn Fn(&Owner) -> bool,
        log_time: Timestamp,
        transitions: &mut Vec<Transition>,
    ) {
        let mut voice = Voice { conditions: &mut self.conditions, transitions };
        self.roas.watch(facts, is_mine, log_time, &mut voice);
    }

    /// A session came up, went down, or a collector fell silent.
    pub(super) fn on_peer(
        &mut self,
        peer: PeerId,
        header: &Arc<PeerHeader>,
        is_up: bool,
        at: Moment,
    ) {
        self.feeds.on_peer(peer, header, is_up, at);
    }

    /// What is usual is known from here on: every registration is looked at for the first time.
    pub(super) fn seed(&mut self, log_time: Timestamp) {
        if std::mem::replace(&mut self.is_seeded, true) {
            return;
        }
        for (owner, watch) in &mut self.all {
            schedule(&mut self.due, *owner, watch, after(log_time));
        }
    }

    /// Log time passes: what is due by then happens, in its order. Prefixes whose VRPs count no more are
    /// answered.
    pub(super) fn advance(
        &mut self,
        log_time: Timestamp,
        facts: &Facts<'_>,
        transitions: &mut Vec<Transition>,
        rows: &mut Vec<VisibilityRow>,
    ) -> Vec<Prefix> {
        self.write(log_time, facts, rows);
        let mut voice = Voice { conditions: &mut self.conditions, transitions };
        let over = self.roas.advance(log_time, facts, &mut voice);
        if self.tells_feeds {
            self.feeds.advance(&mut self.conditions, facts, transitions);
        }
        while let Some((due, owner)) = self.due.first().copied().filter(|(due, _)| *due <= log_time)
        {
            self.due.remove(&(due, owner));
            if let Some(watch) = self.all.get_mut(&owner) {
                watch.due = None;
            }
            self.survey(owner, due, facts, transitions);
        }
        over
    }

    fn survey(
        &mut self,
        owner: Owner,
        due: Timestamp,
        facts: &Facts<'_>,
        transitions: &mut Vec<Transition>,
    ) {
        let Some(watch) = self.all.get_mut(&owner) else { return };
        let Some(connection) = facts.registry.connection(owner.connection) else { return };
        watch.flaps.forget(due);
        let survey = Survey::of(owner, connection, due, watch, &self.feeds, facts);
        let told = |rule| {
            let key = ConditionKey { owner: Some(owner), rule, subject: Subject::Registration };
            self.conditions.rule(&key)
        };
        let entry = path::entry(&survey);
        let mut signs = sessions::signs(&survey, facts, entry.is_some());
        let is_failover = signs.iter().any(|sign| sign.claim.rule == Rule::Failover);
        signs.extend(visibility::signs(&survey, told(Rule::VisibilityReduced), facts));
        if !is_failover {
            signs.extend(visibility::upstreams_lost(&survey));
            signs.extend(path::signs(&survey, facts, entry.is_some()));
            signs.extend(entry);
        }
        signs.extend(flap::signs(&survey, told(Rule::Flap).is_some()));
        let usual = survey.becomes_usual(due, signs.is_empty() && watch.signs.is_empty());
        let next = watch.weigh(signs, due, facts, &mut self.conditions, transitions);
        if let Some(usual) = usual {
            watch.adopt(usual, due);
        }
        let again = watch.flaps.next_look(due).into_iter().chain(next).min();
        if let Some(again) = again {
            schedule(&mut self.due, owner, watch, after(again.max(due)));
        }
    }

    /// Rows of `visibility` for the windows that have passed: what changed in the newest of them, and
    /// at each full hour everything.
    fn write(&mut self, log_time: Timestamp, facts: &Facts<'_>, rows: &mut Vec<VisibilityRow>) {
        if !self.is_seeded {
            return;
        }
        let now = log_time.window_start(VISIBILITY_SECS);
        let Some(before) = self.window.replace(now).filter(|before| *before < now) else { return };
        self.conditions.forget_closed(log_time);
        let is_hour = before.secs().div_euclid(HOUR_SECS) != now.secs().div_euclid(HOUR_SECS);
        for (owner, watch) in &mut self.all {
            if !std::mem::take(&mut watch.is_news) && !is_hour {
                continue;
            }
            let Some(connection) = facts.registry.connection(owner.connection) else { continue };
            let survey = Survey::of(*owner, connection, now, watch, &self.feeds, facts);
            rows.extend(visibility::rows(&survey, before));
        }
    }
}

impl Watch {
    /// Weighs what was seen against what was seen before; says when to look again.
    fn weigh(
        &mut self,
        signs: Vec<Sign>,
        now: Timestamp,
        facts: &Facts<'_>,
        conditions: &mut Conditions,
        transitions: &mut Vec<Transition>,
    ) -> Option<Timestamp> {
        let (registry, at) = (facts.registry, Moment::of_timer(now));
        let mut next = None;
        let mut wait = |until: Timestamp| {
            next = Some(next.map_or(until, |next: Timestamp| next.min(until)));
        };
        let seen: BTreeSet<ConditionKey> =
            signs.iter().map(|sign| sign.claim.key.clone()).collect();
        for Sign { claim, hold_secs, clear_secs } in signs {
            let changed_at = self.changed_at;
            let lasting = self.signs.entry(claim.key.clone()).or_insert(Lasting {
                since: changed_at,
                seen: now,
                gone: None,
                clear_secs,
            });
            lasting.gone = None;
            let told_at = lasting.seen.plus_secs(facts.options.hold_secs(hold_secs));
            if told_at <= now || conditions.is_open(&claim.key) {
                let mut claim = Claim { since: lasting.since, ..claim };
                claim.terms.retain(|term| facts.options.counts(term));
                transitions.extend(conditions.hold(claim, at, registry, facts.options));
            } else {
                wait(told_at);
            }
        }
        self.signs.retain(|key, lasting| {
            if seen.contains(key) {
                return true;
            }
            let over_at = lasting.gone.get_or_insert(now).plus_secs(lasting.clear_secs);
            if !conditions.is_open(key) || over_at <= now {
                transitions.extend(conditions.end(key, at, None, registry));
                return false;
            }
            wait(over_at);
            true
        });
        next
    }

    fn adopt(&mut self, usual: survey::BecomesUsual, now: Timestamp) {
        self.usual = usual.peers;
        self.upstreams = usual.upstreams;
        self.by_partner = usual.by_partner;
        self.refreshed = Some(now);
        if usual.is_renewed {
            self.renewed = Some(now);
        }
    }
}

/// The next round instant behind a time.
fn after(time: Timestamp) -> Timestamp {
    let step = SURVEY_SECS * MICROS_PER_SEC;
    Timestamp(time.micros().div_euclid(step).saturating_add(1).saturating_mul(step))
}

fn schedule(
    due: &mut BTreeSet<(Timestamp, Owner)>,
    owner: Owner,
    watch: &mut Watch,
    at: Timestamp,
) {
    if let Some(before) = watch.due.filter(|before| *before > at) {
        due.remove(&(before, owner));
        watch.due = None;
    }
    if watch.due.is_none() {
        watch.due = Some(at);
        due.insert((at, owner));
    }
}
