//! Cases: one finding's life. Witnesses come and go; it opens, changes, ends, may come back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemas::bgp::Asn;
use schemas::exception::Accusation;
use schemas::finding::{
    Confidence, Finding, FindingKind, Phase, Rule, Severity, Transition, Witness,
};
use schemas::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::condition::Moment;
use super::forger::{self, Common, Forger};
use super::judge::{Excuse, Verdict};
use super::life::{Life, Standing, finding_id};
use super::paths::Paths;
use super::score::Crowd;
use super::{CaseKey, Change, Facts, Suspect, path_text, score};
use crate::counts::Counts;
use crate::reference::OriginValidity;
use crate::rib::PeerId;

/// Witnesses told with one transition; all are counted.
const WITNESSES_TOLD_MAX: usize = 100;

/// Blackholing and scrubbing are excused for this long.
const EXCUSE_SECS: i64 = 24 * 3_600;

/// A finding is over when nobody who told of it was heard for this long.
pub(super) const SILENT_SECS: i64 = 6 * 3_600;

/// One path of one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct WitnessKey {
    pub(super) peer: PeerId,
    pub(super) path_id: Option<u32>,
}

/// One finding with what stands behind it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Case {
    pub(super) life: Life,
    verdict: Verdict,
    witnesses: BTreeMap<WitnessKey, Witness>,
    untold: BTreeSet<WitnessKey>,
    /// Peer ASes of the witnesses, and how many of these each has.
    asns: Counts<Asn>,
    /// The paths of the witnesses.
    paths: Paths,
    /// Peer ASes of those that held a route of a right origin before; a peer that swings stays here.
    turned: BTreeSet<Asn>,
    /// Most paths that there were at once.
    paths_most: usize,
    /// Who made the path up, if somebody did.
    forger: Option<Forger>,
    /// Why it is known to be harmless, if it is.
    excuse: Option<Excuse>,
    /// Log time since when nobody who told of it is heard.
    silent_since: Option<Timestamp>,
    first: Option<Witness>,
}

impl Case {
    /// A new case with its first witness, and what is to be said of it.
    pub(super) fn open(
        key: WitnessKey,
        verdict: Verdict,
        change: &Change<'_>,
        facts: &Facts<'_>,
    ) -> (Self, Option<Transition>) {
        let witness = witness(change);
        let owner = verdict.key.owner;
        let about = owner.and_then(|owner| facts.registry.connection(owner.connection));
        let id = finding_id(
            verdict.rule,
            about.map_or("", |connection| connection.name.as_str()),
            Some(verdict.key.prefix),
            Some(verdict.culprit),
            change.time,
        );
        let mut case = Self {
            life: Life::new(id, change.time),
            asns: Counts::default(),
            paths: Paths::default(),
            paths_most: 0,
            turned: BTreeSet::new(),
            forger: None,
            excuse: None,
            silent_since: None,
            verdict,
            witnesses: BTreeMap::new(),
            untold: BTreeSet::new(),
            first: witness.clone(),
        };
        case.hold(key, witness);
        case.paths.insert(key, Arc::clone(&case.verdict.hops), case.verdict.joint);
        case.turn(change);
        case.place(change.time, facts);
        let transition = case.begin(Phase::Opened, change, facts);
        (case, transition)
    }

    /// A peer holds the route (again).
    pub(super) fn gain(
        &mut self,
        key: WitnessKey,
        verdict: Verdict,
        change: &Change<'_>,
        facts: &Facts<'_>,
    ) -> Option<Transition> {
        self.hold(key, witness(change));
        self.paths.insert(key, Arc::clone(&verdict.hops), verdict.joint);
        self.verdict = verdict.after(&self.verdict);
        self.turn(change);
        if self.life.closed_at.take().is_some() {
            self.paths_most = 0;
            self.place(change.time, facts);
            return self.begin(Phase::Reopened, change, facts);
        }
        self.place(change.time, facts);
        self.reconsider(change, facts)
    }

    /// Something that the score looks at has changed.
    pub(super) fn reconsider(
        &mut self,
        change: &Change<'_>,
        facts: &Facts<'_>,
    ) -> Option<Transition> {
        if self.life.ignored || !self.life.is_open() {
            return None;
        }
        let now = self.standing(facts);
        let phase = self.life.change(now, facts.options.score_min())?;
        Some(self.tell(phase, change.at(), now, facts))
    }

    /// A peer holds the route no more.
    pub(super) fn lose(
        &mut self,
        key: WitnessKey,
        change: &Change<'_>,
        facts: &Facts<'_>,
    ) -> Option<Transition> {
        self.untold.remove(&key);
        self.paths.remove(key);
        let lost = self.witnesses.remove(&key)?;
        self.asns.remove(lost.peer_asn);
        if !self.witnesses.is_empty() {
            return None;
        }
        let (phase, now) = self.life.end(change.time, Phase::Resolved)?;
        Some(self.tell(phase, change.at(), now, facts))
    }

    /// Looks whether those who told of it are heard. Where none was for [`SILENT_SECS`] it is over, as far
    /// as anybody knows.
    pub(super) fn listen(&mut self, now: Timestamp, facts: &Facts<'_>) -> Option<Transition> {
        let prefix = self.verdict.key.prefix;
        let is_silent = self.life.is_open()
            && !self.witnesses.is_empty()
            && self.witnesses.keys().all(|key| facts.rib.is_stale(key.peer, &prefix, key.path_id));
        if !is_silent {
            self.silent_since = None;
            return None;
        }
        let since = *self.silent_since.get_or_insert(now);
        if now.secs_since(since) < SILENT_SECS {
            return None;
        }
        let at = Moment::of_timer(since.plus_secs(SILENT_SECS));
        let (phase, now) = self.life.end(at.time, Phase::Expired)?;
        Some(self.tell(phase, at, now, facts))
    }

    /// The registration it is about means something else from here on.
    pub(super) fn outdate(&mut self, at: Moment, facts: &Facts<'_>) -> Option<Transition> {
        let (phase, now) = self.life.end(at.time, Phase::Outdated)?;
        Some(self.tell(phase, at, now, facts))
    }

    /// Its registration has another number from here on.
    pub(super) const fn move_to(&mut self, key: CaseKey) {
        self.verdict.key = key;
    }

    /// Places the forger anew, by the path that breaks nearest to the origin. When most witnesses have
    /// let go, the few that are left place nobody better.
    fn place(&mut self, now: Timestamp, facts: &Facts<'_>) {
        if self.paths.len() * 2 < self.paths_most {
            return;
        }
        self.paths_most = self.paths_most.max(self.paths.len());
        let common = Common {
            hops: self.paths.shared(),
            is_alone: self.witness_asns() == 1,
            origin_is_right: matches!(self.verdict.key.suspect, Suspect::Path(_)),
            is_part: self.verdict.rule == Rule::HijackSubPrefix,
        };
        let nearest = self.paths.nearest();
        self.forger = nearest.and_then(|(hops, joint)| forger::forger(hops, joint, common, facts));
        self.excuse = self.excuse(now, facts);
        let is_excused = self.excuse.is_some();
        if self.life.terms.is_empty() {
            self.life.ignored = is_excused;
        } else if self.life.ignored && !is_excused {
            // The excuse does not hold (any more): now it may open.
            (self.life.ignored, self.life.pending) = (false, true);
        }
    }

    /// Why it is known to be harmless, if it is. What is done for a while is so for a day.
    fn excuse(&self, now: Timestamp, facts: &Facts<'_>) -> Option<Excuse> {
        let (rule, accused) = self.accused();
        let owner = self.verdict.key.owner;
        let connection = owner.and_then(|owner| facts.registry.connection(owner.connection));
        let is_excepted = facts.options.excepts(&Accusation {
            rule,
            connection: connection.map(|connection| connection.name.as_str()),
            prefix: Some(&self.verdict.key.prefix),
            culprit: Some(accused),
            time: now,
        });
        if is_excepted {
            return Some(Excuse::Exception);
        }
        if score::sibling_of(&self.verdict, accused, facts).is_some() {
            return Some(Excuse::Sibling);
        }
        let is_hijack = self.verdict.rule.kind() == FindingKind::Hijack;
        let is_scrubber = is_hijack && facts.options.scrubbers.contains(&accused);
        let excuse = is_scrubber.then_some(Excuse::Scrubber).or(self.verdict.excuse);
        excuse.filter(|_| now.secs_since(self.life.opened_at) < EXCUSE_SECS)
    }

    /// The rule and the culprit as the case stands.
    fn accused(&self) -> (Rule, Asn) {
        let rule = match self.forger.map(|forger| forger.distance) {
            None => return (self.verdict.rule, self.verdict.culprit),
            Some(Some(1)) => Rule::HijackType1,
            Some(Some(_)) => Rule::HijackTypeN,
            Some(None) => Rule::HijackForgedPath,
        };
        (rule, self.forger.map_or(self.verdict.culprit, |forger| forger.asn))
    }

    fn turn(&mut self, change: &Change<'_>) {
        if self.verdict.turned {
            self.turned.insert(change.header.asn);
        }
    }

    fn witness_asns(&self) -> u32 {
        u32::try_from(self.asns.len()).unwrap_or(u32::MAX)
    }

    fn hold(&mut self, key: WitnessKey, witness: Option<Witness>) {
        let Some(mut witness) = witness else { return };
        if let Some(before) = self.witnesses.get(&key) {
            witness.first_seen = before.first_seen;
            witness.path_before.clone_from(&before.path_before);
        } else {
            self.untold.insert(key);
            self.asns.add(witness.peer_asn);
        }
        self.witnesses.insert(key, witness);
    }

    /// Opens or reopens, if the score suffices; a sibling's route is told once and ignored.
    fn begin(
        &mut self,
        phase: Phase,
        change: &Change<'_>,
        facts: &Facts<'_>,
    ) -> Option<Transition> {
        let now = self.standing(facts);
        let phase = self.life.begin(phase, now, facts.options.score_min())?;
        Some(self.tell(phase, change.at(), now, facts))
    }

    /// What the case is now; its terms stay those of its highest score.
    fn standing(&mut self, facts: &Facts<'_>) -> Standing {
        let witnesses = self.witness_asns();
        let turned = u32::try_from(self.turned.len()).unwrap_or(u32::MAX);
        let crowd = Crowd { all: witnesses, turned };
        let confidence = self.life.raise(score::terms(&self.verdict, self.forger, crowd, facts));
        let (rule, culprit) = self.accused();
        Standing { rule, culprit: Some(culprit), confidence, witnesses }
    }

    fn tell(&mut self, phase: Phase, at: Moment, now: Standing, facts: &Facts<'_>) -> Transition {
        let untold = std::mem::take(&mut self.untold);
        let witnesses = untold
            .iter()
            .filter_map(|key| self.witnesses.get(key).cloned())
            .take(WITNESSES_TOLD_MAX)
            .collect();
        let is_over = matches!(phase, Phase::Resolved | Phase::Outdated | Phase::Expired);
        let terms = if is_over { Vec::new() } else { self.life.terms.clone() };
        Transition {
            log_time: at.log_time,
            time: at.time,
            phase,
            finding: self.finding(phase, now, facts),
            terms,
            witnesses,
        }
    }

    fn finding(&self, phase: Phase, now: Standing, facts: &Facts<'_>) -> Finding {
        let owner = self.verdict.key.owner;
        let connection = owner.and_then(|owner| facts.registry.connection(owner.connection));
        let muted_by = if self.life.ignored {
            self.excuse.map(|excuse| excuse.as_str().to_owned())
        } else {
            connection.filter(|c| !c.in_service()).map(|c| format!("state:{}", c.state))
        };
        Finding {
            id: self.life.id,
            rule: now.rule,
            severity: severity(now, phase),
            score: self.life.score(),
            prefix: Some(self.verdict.key.prefix),
            registered_prefix: owner.map(|owner| owner.prefix),
            connection: owner.map(|owner| owner.connection),
            connection_name: connection.map(|connection| connection.name.as_str().into()),
            tenant: connection.map(|connection| connection.tenant.as_str().into()),
            culprit: now.culprit,
            victim: self.verdict.expected.first().copied(),
            leak_type: self.verdict.leak_type,
            witnesses: now.witnesses,
            opened_at: self.life.opened_at,
            closed_at: self.life.closed_at,
            path_before: self.first.as_ref().and_then(|witness| witness.path_before.clone()),
            path_after: self.first.as_ref().map(|witness| witness.path_after.clone()),
            rpki_state: self.verdict.validity.map(OriginValidity::state),
            cost: None,
            muted_by: muted_by.map(Into::into),
            explanation: explain(
                &self.verdict,
                self.forger,
                now,
                connection.map(|c| c.name.as_str()),
            ),
        }
    }
}

fn severity(now: Standing, phase: Phase) -> Severity {
    match (phase, now.confidence, now.rule) {
        (Phase::Ignored, ..) => Severity::Information,
        (_, _, Rule::LeakType6 | Rule::HygienePathLength | Rule::HygienePrefixLength) => {
            Severity::Information
        }
        (_, Confidence::Low, _) => Severity::Warning,
        (_, _, Rule::HijackSuperPrefix) => Severity::Error,
        (_, _, rule) if rule.kind() == FindingKind::Hijack => Severity::Critical,
        _ => Severity::Error,
    }
}

fn witness(change: &Change<'_>) -> Option<Witness> {
    Some(Witness {
        collector: change.header.collector.clone(),
        peer_asn: change.header.asn,
        peer_ip: change.header.address,
        first_seen: change.time,
        last_seen: change.time,
        path_before: change.route.before.as_ref().map(path_text),
        path_after: change.route.after.as_ref().map(path_text)?,
        source: change.source.clone(),
        source_offset: change.source_offset,
    })
}

fn explain(
    verdict: &Verdict,
    forger: Option<Forger>,
    now: Standing,
    connection: Option<&str>,
) -> String {
    if let Some(words) = &verdict.words {
        return words.clone();
    }
    let Verdict { key, expected, .. } = verdict;
    let culprit = now.culprit.unwrap_or(verdict.culprit);
    let prefix = key.prefix;
    let of = connection.map_or_else(String::new, |name| format!(" of {name}"));
    let registered = key.owner.map(|owner| owner.prefix.to_string()).unwrap_or_default();
    let right: Vec<String> = expected.iter().map(ToString::to_string).collect();
    let right = if right.is_empty() { "nobody".to_owned() } else { right.join(" or ") };
    if let Some(forger) = forger {
        let what = if verdict.rule == Rule::HijackSubPrefix {
            format!("{prefix}, a part of {registered}{of},")
        } else {
            format!("{prefix}{of}")
        };
        let ends = match key.suspect {
            Suspect::Origin(origin) => format!("the innocent {origin}"),
            _ => format!("the right {right}"),
        };
        let unsure = if forger.doubt.is_some() { "somebody, perhaps " } else { "" };
        return format!(
            "{unsure}{culprit} announces {what} with a made-up path that ends in {ends}"
        );
    }
    match verdict.rule {
        Rule::HijackSubPrefix => format!(
            "{culprit} announces {prefix}, a part of {registered}{of}, which {right} may originate"
        ),
        Rule::HijackSquat => format!(
            "{culprit} announces {prefix}{of}, which nobody announced and {right} may originate"
        ),
        Rule::HijackSuperPrefix => {
            format!("{culprit} announces {prefix}, newly seen around {registered}{of}")
        }
        _ => format!("{culprit} announces {prefix}{of}, which {right} may originate"),
    }
}
