//! Conditions: findings that no single route is the witness of. A rule claims that something holds,
//! again and again or once; the finding opens, is told anew when the claim changes, and ends when
//! the rule says that it holds no more.
//!
//! Pure: every moment is told by the caller. Bounded: [`CONDITIONS_MAX`].

use std::collections::BTreeMap;

use schemas::bgp::{Asn, Prefix};
use schemas::connection::Connection;
use schemas::exception::{self, Accusation};
use schemas::finding::{Confidence, Finding, Phase, Rule, Severity, Term, Transition};
use schemas::registry::{Owner, Registry};
use schemas::tables::Text;
use schemas::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::life::{Life, Standing, finding_id};
use super::moves::{Moved, Moves};
use super::{DetectOptions, REOPEN_SECS};

/// Conditions of one fold at most; more are counted, not opened.
const CONDITIONS_MAX: usize = 200_000;

/// What a condition is about, beside its rule: what tells two of one rule apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Subject {
    /// The registration itself.
    Registration,
    /// An AS on the way to it.
    As(Asn),
    /// A collector.
    Collector(Text),
}

/// What tells conditions apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct ConditionKey {
    pub(crate) owner: Option<Owner>,
    /// The rule at its opening; a condition may go over into a graver rule.
    pub(crate) rule: Rule,
    pub(crate) subject: Subject,
}

/// What a rule says of a condition.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Claim {
    pub(crate) key: ConditionKey,
    /// The rule as it stands.
    pub(crate) rule: Rule,
    pub(crate) severity: Severity,
    pub(crate) culprit: Option<Asn>,
    pub(crate) victim: Option<Asn>,
    /// Event time since when it holds.
    pub(crate) since: Timestamp,
    pub(crate) terms: Vec<Term>,
    /// Distinct peer ASes behind it.
    pub(crate) witnesses: u32,
    pub(crate) path_before: Option<Text>,
    pub(crate) path_after: Option<Text>,
    pub(crate) explanation: String,
}

/// A moment: log time of the record or timer, and event time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Moment {
    pub(crate) log_time: Timestamp,
    pub(crate) time: Timestamp,
}

impl Moment {
    /// The moment of a timer, which knows log time only.
    pub(crate) const fn of_timer(due: Timestamp) -> Self {
        Self { log_time: due, time: due }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Condition {
    life: Life,
    claim: Claim,
}

/// All conditions of one fold.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Conditions {
    all: BTreeMap<ConditionKey, Condition>,
    /// Claims that found no room.
    pub(crate) refused: u64,
}

impl Conditions {
    /// A claim holds (still): what is to be told of that.
    pub(crate) fn hold(
        &mut self,
        claim: Claim,
        at: Moment,
        registry: &Registry,
        options: &DetectOptions,
    ) -> Option<Transition> {
        let score_min = options.score_min();
        if let Some(old) = self.all.get(&claim.key)
            && old.life.closed_for(at.time) > REOPEN_SECS
        {
            self.all.remove(&claim.key);
        }
        let key = claim.key.clone();
        let room = self.all.len() < CONDITIONS_MAX;
        let is_new = !self.all.contains_key(&key);
        if is_new && !room {
            self.refused += 1;
            return None;
        }
        let condition = self.all.entry(key).or_insert_with(|| Condition::new(&claim, registry));
        let terms = claim.terms.clone();
        condition.claim = claim;
        let was_closed = condition.life.closed_at.take().is_some();
        if is_new || was_closed {
            condition.except(at, registry, options);
        }
        let confidence = condition.life.raise(terms);
        let now = condition.standing(confidence);
        let phase = if is_new {
            condition.life.begin(Phase::Opened, now, score_min)
        } else if was_closed {
            condition.life.begin(Phase::Reopened, now, score_min)
        } else {
            condition.life.change(now, score_min)
        }?;
        Some(condition.tell(phase, now, at, registry))
    }

    /// A condition holds no more; `explanation` says how it stands now.
    pub(crate) fn end(
        &mut self,
        key: &ConditionKey,
        at: Moment,
        explanation: Option<String>,
        registry: &Registry,
    ) -> Option<Transition> {
        self.end_as(Phase::Resolved, key, at, explanation, registry)
    }

    /// A condition holds no more, or is not heard of again.
    pub(crate) fn end_as(
        &mut self,
        phase: Phase,
        key: &ConditionKey,
        at: Moment,
        explanation: Option<String>,
        registry: &Registry,
    ) -> Option<Transition> {
        let condition = self.all.get_mut(key)?;
        let (phase, now) = condition.life.end(at.time, phase)?;
        if let Some(explanation) = explanation {
            condition.claim.explanation = explanation;
        }
        Some(condition.tell(phase, now, at, registry))
    }

    /// Whether a condition stands.
    pub(crate) fn is_open(&self, key: &ConditionKey) -> bool {
        self.rule(key).is_some()
    }

    /// The rule that an open condition goes by now.
    pub(crate) fn rule(&self, key: &ConditionKey) -> Option<Rule> {
        self.all.get(key).filter(|one| one.life.is_open()).map(|one| one.claim.rule)
    }

    /// Another version of the registry begins: what was edited or is gone is outdated.
    pub(super) fn enter(
        &mut self,
        moves: Moves<'_>,
        at: Moment,
        transitions: &mut Vec<Transition>,
    ) {
        for (key, mut condition) in std::mem::take(&mut self.all) {
            match key.owner.map(|owner| moves.of(owner)) {
                None => {
                    self.all.insert(key, condition);
                }
                Some(Moved::Same(owner)) => {
                    let key = ConditionKey { owner: Some(owner), ..key };
                    condition.claim.key.clone_from(&key);
                    self.all.insert(key, condition);
                }
                Some(Moved::Changed(_) | Moved::Gone) => {
                    let ended = condition.life.end(at.time, Phase::Outdated);
                    let told =
                        ended.map(|(phase, now)| condition.tell(phase, now, at, moves.before));
                    transitions.extend(told);
                }
            }
        }
    }

    /// Forgets what ended too long ago to come back.
    pub(crate) fn forget_closed(&mut self, now: Timestamp) {
        self.all.retain(|_, condition| condition.life.closed_for(now) <= REOPEN_SECS);
    }
}

impl Condition {
    fn new(claim: &Claim, registry: &Registry) -> Self {
        let id = finding_id(
            claim.rule,
            about(claim, registry),
            claim.prefix(),
            claim.culprit,
            claim.since,
        );
        let owner = claim.key.owner.and_then(|owner| registry.connection(owner.connection));
        let mut life = Life::new(id, claim.since);
        // Before it is in service, and while it is removed, what happens to it is what was asked for.
        life.ignored = owner.is_some_and(|connection| !connection.in_service());
        Self { life, claim: claim.clone() }
    }

    /// Looks whether an exception makes it harmless.
    fn except(&mut self, at: Moment, registry: &Registry, options: &DetectOptions) {
        let owner = self.claim.key.owner;
        let connection = owner.and_then(|owner| registry.connection(owner.connection));
        let prefix = self.claim.prefix();
        self.life.excepted = options.excepts(&Accusation {
            rule: self.claim.rule,
            connection: connection.map(|connection| connection.name.as_str()),
            prefix: prefix.as_ref(),
            culprit: self.claim.culprit,
            time: at.time,
        });
        let in_service = connection.is_none_or(Connection::in_service);
        self.life.ignored = self.life.excepted || !in_service;
    }

    fn standing(&self, confidence: Confidence) -> Standing {
        let Claim { rule, culprit, witnesses, .. } = self.claim;
        Standing { rule, culprit, confidence, witnesses }
    }

    fn tell(&self, phase: Phase, now: Standing, at: Moment, registry: &Registry) -> Transition {
        let Claim { key, victim, path_before, path_after, explanation, .. } = &self.claim;
        let connection = key.owner.and_then(|owner| registry.connection(owner.connection));
        let muted_by = match self.life.excepted {
            true => Some(exception::MUTED_BY.to_owned()),
            false => connection.filter(|c| !c.in_service()).map(|c| format!("state:{}", c.state)),
        };
        Transition {
            log_time: at.log_time,
            time: at.time,
            phase,
            finding: Finding {
                id: self.life.id,
                rule: now.rule,
                severity: match phase {
                    Phase::Ignored => Severity::Information,
                    _ => self.claim.severity,
                },
                score: self.life.score(),
                prefix: self.claim.prefix(),
                registered_prefix: self.claim.prefix(),
                connection: key.owner.map(|owner| owner.connection),
                connection_name: connection.map(|connection| connection.name.as_str().into()),
                tenant: connection.map(|connection| connection.tenant.as_str().into()),
                culprit: now.culprit,
                victim: *victim,
                leak_type: None,
                witnesses: now.witnesses,
                opened_at: self.life.opened_at,
                closed_at: self.life.closed_at,
                path_before: path_before.clone(),
                path_after: path_after.clone(),
                rpki_state: None,
                cost: None,
                muted_by: muted_by.map(Into::into),
                explanation: explanation.clone(),
            },
            terms: match phase {
                Phase::Resolved | Phase::Outdated | Phase::Expired => Vec::new(),
                _ => self.life.terms.clone(),
            },
            witnesses: Vec::new(),
        }
    }
}

impl Claim {
    fn prefix(&self) -> Option<Prefix> {
        self.key.owner.map(|owner| owner.prefix)
    }
}

/// Name of what a claim is about: its connection, else its collector.
fn about<'a>(claim: &'a Claim, registry: &'a Registry) -> &'a str {
    let connection = claim.key.owner.and_then(|owner| registry.connection(owner.connection));
    match (&claim.key.subject, connection) {
        (Subject::Collector(name), None) => name,
        (_, connection) => connection.map_or("", |connection| connection.name.as_str()),
    }
}
