//! Cases: one finding's life. Witnesses come and go; it opens, changes, ends, may come back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemas::bgp::Asn;
use schemas::finding::{
    Confidence, Finding, FindingId, FindingKind, Phase, Rule, Severity, Term, Transition, Witness,
};
use schemas::time::Timestamp;
use sha2::{Digest, Sha256};

use super::forger::{self, Common, Forger, Joint};
use super::judge::Verdict;
use super::{Change, Facts, Suspect, path_text, score};
use crate::reference::OriginValidity;
use crate::rib::PeerId;

/// Witnesses told with one transition; all are counted.
const WITNESSES_TOLD_MAX: usize = 100;

/// Share of the witnesses whose paths must agree on a hop.
const SHARED_MIN: f64 = 0.95;

/// One path of one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct WitnessKey {
    pub(super) peer: PeerId,
    pub(super) path_id: Option<u32>,
}

/// What was last said of a case.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Told {
    culprit: Asn,
    rule: Rule,
    confidence: Confidence,
    witnesses: u32,
}

/// One finding with what stands behind it.
#[derive(Debug)]
pub(super) struct Case {
    id: FindingId,
    opened_at: Timestamp,
    closed_at: Option<Timestamp>,
    /// Known to be harmless: told once as `ignored`, then silent.
    ignored: bool,
    /// Not sure enough yet to be told.
    pending: bool,
    verdict: Verdict,
    witnesses: BTreeMap<WitnessKey, Witness>,
    untold: BTreeSet<WitnessKey>,
    /// The path of each witness, from the origin on, and where it stops being believable.
    paths: BTreeMap<WitnessKey, (Arc<[Asn]>, Option<Joint>)>,
    /// Most paths that there were at once.
    paths_most: usize,
    /// Who made the path up, if somebody did.
    forger: Option<Forger>,
    told: Told,
    /// The terms of the highest score since the opening: what was sure stays sure.
    terms: Vec<Term>,
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
        let told = Told {
            culprit: verdict.culprit,
            rule: verdict.rule,
            confidence: Confidence::Low,
            witnesses: 1,
        };
        let mut case = Self {
            id: finding_id(&verdict, change, facts),
            opened_at: change.time,
            closed_at: None,
            ignored: false,
            pending: false,
            paths: BTreeMap::from([(key, (Arc::clone(&verdict.hops), verdict.joint))]),
            paths_most: 0,
            forger: None,
            verdict,
            witnesses: BTreeMap::new(),
            untold: BTreeSet::new(),
            told,
            terms: Vec::new(),
            first: witness.clone(),
        };
        case.hold(key, witness);
        case.place(facts);
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
        self.paths.insert(key, (Arc::clone(&verdict.hops), verdict.joint));
        self.verdict = verdict;
        self.place(facts);
        if self.closed_at.take().is_some() {
            self.paths_most = 0;
            self.place(facts);
            return self.begin(Phase::Reopened, change, facts);
        }
        self.reconsider(change, facts)
    }

    /// Something that the score looks at has changed.
    pub(super) fn reconsider(
        &mut self,
        change: &Change<'_>,
        facts: &Facts<'_>,
    ) -> Option<Transition> {
        if self.ignored || self.closed_at.is_some() {
            return None;
        }
        if self.pending {
            return self.begin(Phase::Opened, change, facts);
        }
        let now = self.standing(facts);
        let is_news = now.culprit != self.told.culprit
            || now.rule != self.told.rule
            || now.confidence > self.told.confidence
            || now.witnesses >= 2 * self.told.witnesses;
        is_news.then(|| self.tell(Phase::Updated, change, now, facts))
    }

    /// A peer holds the route no more.
    pub(super) fn lose(
        &mut self,
        key: WitnessKey,
        change: &Change<'_>,
        facts: &Facts<'_>,
    ) -> Option<Transition> {
        self.untold.remove(&key);
        self.paths.remove(&key);
        self.witnesses.remove(&key)?;
        if !self.witnesses.is_empty() || self.closed_at.is_some() {
            return None;
        }
        self.closed_at = Some(change.time);
        if self.ignored || self.pending {
            return None;
        }
        let now = Told { witnesses: 0, ..self.told };
        Some(self.tell(Phase::Resolved, change, now, facts))
    }

    /// Places the forger anew, by the path that breaks nearest to the origin. When most witnesses have
    /// let go, the few that are left place nobody better.
    fn place(&mut self, facts: &Facts<'_>) {
        if self.paths.len() * 2 < self.paths_most {
            return;
        }
        self.paths_most = self.paths_most.max(self.paths.len());
        let joints = self.paths.values().filter_map(|(hops, joint)| Some((hops, (*joint)?)));
        let nearest = joints.min_by_key(|(_, joint)| (joint.at, joint.reach));
        let common = Common {
            hops: shared(self.paths.values().map(|(hops, _)| &**hops)),
            is_alone: self.witness_asns() == 1,
            origin_is_right: matches!(self.verdict.key.suspect, Suspect::Path(_)),
            is_part: self.verdict.rule == Rule::HijackSubPrefix,
        };
        self.forger = nearest.and_then(|(hops, joint)| forger::forger(hops, joint, common, facts));
        let is_sibling = score::sibling_of(&self.verdict, self.accused().1, facts).is_some();
        if self.terms.is_empty() {
            self.ignored = is_sibling;
        } else if self.ignored && !is_sibling {
            // It was not the sibling: now it may open.
            (self.ignored, self.pending) = (false, true);
        }
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

    fn witness_asns(&self) -> u32 {
        let asns: BTreeSet<Asn> = self.witnesses.values().map(|witness| witness.peer_asn).collect();
        u32::try_from(asns.len()).unwrap_or(u32::MAX)
    }

    /// Seconds since it was closed; 0 while it is open.
    pub(super) fn closed_for(&self, now: Timestamp) -> i64 {
        self.closed_at.map_or(0, |closed| now.secs_since(closed))
    }

    fn hold(&mut self, key: WitnessKey, witness: Option<Witness>) {
        let Some(mut witness) = witness else { return };
        if let Some(before) = self.witnesses.get(&key) {
            witness.first_seen = before.first_seen;
            witness.path_before.clone_from(&before.path_before);
        } else {
            self.untold.insert(key);
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
        if self.ignored {
            return (phase == Phase::Opened).then(|| self.tell(Phase::Ignored, change, now, facts));
        }
        self.pending = total(&self.terms) < facts.options.score_min;
        (!self.pending).then(|| self.tell(phase, change, now, facts))
    }

    /// What the case is now; its terms stay those of its highest score.
    fn standing(&mut self, facts: &Facts<'_>) -> Told {
        let witnesses = self.witness_asns();
        let terms = score::terms(&self.verdict, self.forger, witnesses, facts);
        if self.terms.is_empty() || total(&terms) > total(&self.terms) {
            self.terms = terms;
        }
        let (rule, culprit) = self.accused();
        Told { culprit, rule, confidence: Confidence::of(total(&self.terms)), witnesses }
    }

    fn tell(
        &mut self,
        phase: Phase,
        change: &Change<'_>,
        now: Told,
        facts: &Facts<'_>,
    ) -> Transition {
        self.told = now;
        let untold = std::mem::take(&mut self.untold);
        let witnesses = untold
            .iter()
            .filter_map(|key| self.witnesses.get(key).cloned())
            .take(WITNESSES_TOLD_MAX)
            .collect();
        Transition {
            log_time: change.log_time,
            time: change.time,
            phase,
            finding: self.finding(phase, now, facts),
            terms: if phase == Phase::Resolved { Vec::new() } else { self.terms.clone() },
            witnesses,
        }
    }

    fn finding(&self, phase: Phase, now: Told, facts: &Facts<'_>) -> Finding {
        let owner = self.verdict.key.owner;
        let connection = owner.and_then(|owner| facts.registry.connection(owner.connection));
        let muted_by = if self.ignored {
            Some("sibling_origin".to_owned())
        } else {
            connection.filter(|c| !c.in_service()).map(|c| format!("state:{}", c.state))
        };
        Finding {
            id: self.id,
            rule: now.rule,
            severity: severity(now, phase),
            score: total(&self.terms),
            prefix: self.verdict.key.prefix,
            registered_prefix: owner.map(|owner| owner.prefix),
            connection: owner.map(|owner| owner.connection),
            connection_name: connection.map(|connection| connection.name.as_str().into()),
            tenant: connection.map(|connection| connection.tenant.as_str().into()),
            culprit: Some(now.culprit),
            victim: self.verdict.expected.first().copied(),
            leak_type: self.verdict.leak_type,
            witnesses: now.witnesses,
            opened_at: self.opened_at,
            closed_at: self.closed_at,
            path_before: self.first.as_ref().and_then(|witness| witness.path_before.clone()),
            path_after: self.first.as_ref().map(|witness| witness.path_after.clone()),
            rpki_state: self.verdict.validity.map(OriginValidity::as_str),
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

fn total(terms: &[Term]) -> f64 {
    terms.iter().map(|term| term.weight).sum()
}

fn severity(now: Told, phase: Phase) -> Severity {
    match (phase, now.confidence, now.rule) {
        (Phase::Ignored, ..) => Severity::Information,
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

/// How many hops from the origin on nearly all paths have in common.
fn shared<'a>(paths: impl Iterator<Item = &'a [Asn]>) -> usize {
    let mut left: Vec<&[Asn]> = paths.collect();
    let enough = (left.len() as f64 * SHARED_MIN).ceil() as usize;
    let mut shared = 0;
    loop {
        let mut counts: BTreeMap<Asn, usize> = BTreeMap::new();
        for asn in left.iter().filter_map(|path| path.get(shared)) {
            *counts.entry(*asn).or_default() += 1;
        }
        match counts.into_iter().max_by_key(|(_, count)| *count) {
            Some((most, count)) if count >= enough => {
                left.retain(|path| path.get(shared) == Some(&most));
                shared += 1;
            }
            _ => return shared,
        }
    }
}

fn explain(
    verdict: &Verdict,
    forger: Option<Forger>,
    now: Told,
    connection: Option<&str>,
) -> String {
    let Verdict { key, expected, .. } = verdict;
    let culprit = now.culprit;
    let prefix = key.prefix;
    let mut of = connection.map_or_else(String::new, |name| format!(" of {name}"));
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
        let unsure = if forger.is_unsure { "somebody, perhaps " } else { "" };
        return format!(
            "{unsure}{culprit} announces {what} with a made-up path that ends in {ends}"
        );
    }
    match (verdict.rule, verdict.between) {
        (Rule::HijackSubPrefix, _) => format!(
            "{culprit} announces {prefix}, a part of {registered}{of}, which {right} may originate"
        ),
        (Rule::HijackSquat, _) => format!(
            "{culprit} announces {prefix}{of}, which nobody announced and {right} may originate"
        ),
        (Rule::HijackSuperPrefix, _) => {
            format!("{culprit} announces {prefix}, newly seen around {registered}{of}")
        }
        (Rule::LeakOwnAs, between) => {
            let (left, right) = between.unwrap_or_default();
            of.insert_str(0, &prefix.to_string());
            format!("{culprit} leaks {of}: it passes the route of {right} on to {left}")
        }
        _ => format!("{culprit} announces {prefix}{of}, which {right} may originate"),
    }
}

/// 128 bits of SHA-256 over what a finding is, frozen at its opening: `docs/concepts/findings.md`.
fn finding_id(verdict: &Verdict, change: &Change<'_>, facts: &Facts<'_>) -> FindingId {
    let owner = verdict.key.owner;
    let connection = owner.and_then(|owner| facts.registry.connection(owner.connection));
    let text = format!(
        "{}\n{}\n{}\n{}\n{}",
        verdict.rule.as_str(),
        connection.map_or("", |connection| connection.name.as_str()),
        verdict.key.prefix,
        verdict.culprit.0,
        change.time.micros(),
    );
    let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    let mut id = [0; 16];
    id.iter_mut().zip(digest).for_each(|(octet, byte)| *octet = byte);
    FindingId(id)
}
