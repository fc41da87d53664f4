//! Lives: what all findings share. They open when they are sure enough, are told again when they
//! change, end, and may come back as the same finding.
//!
//! What a finding is about is said by [`super::case`] (a route that somebody holds) and
//! [`super::condition`] (something that holds by itself). Pure.

use schemas::bgp::{Asn, Prefix};
use schemas::finding::{Confidence, FindingId, Phase, Rule, Term};
use schemas::time::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What is said of a finding; a change of it is news.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Standing {
    pub(super) rule: Rule,
    pub(super) culprit: Option<Asn>,
    pub(super) confidence: Confidence,
    pub(super) witnesses: u32,
}

/// One finding's life.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Life {
    pub(super) id: FindingId,
    pub(super) opened_at: Timestamp,
    pub(super) closed_at: Option<Timestamp>,
    /// Known to be harmless: told once as `ignored`, then silent.
    pub(super) ignored: bool,
    /// Whether it is an exception of the operator that makes it harmless.
    pub(super) excepted: bool,
    /// Not sure enough yet to be told.
    pub(super) pending: bool,
    /// What was last said.
    told: Option<Standing>,
    /// The terms of the highest score since the opening: what was sure stays sure.
    pub(super) terms: Vec<Term>,
}

impl Life {
    /// A finding that begins at this event time; nothing is said of it yet.
    pub(super) const fn new(id: FindingId, opened_at: Timestamp) -> Self {
        Self {
            id,
            opened_at,
            closed_at: None,
            ignored: false,
            excepted: false,
            pending: true,
            told: None,
            terms: Vec::new(),
        }
    }

    /// Takes terms whose sum is higher than what was there.
    pub(super) fn raise(&mut self, terms: Vec<Term>) -> Confidence {
        if self.terms.is_empty() || total(&terms) > total(&self.terms) {
            self.terms = terms;
        }
        Confidence::of(self.score())
    }

    /// Sum of its terms.
    pub(super) fn score(&self) -> f64 {
        total(&self.terms)
    }

    /// Whether it stands: told or not, and not ended.
    pub(super) const fn is_open(&self) -> bool {
        self.closed_at.is_none()
    }

    /// It begins, or comes back; what is to be told of that. What is known to be harmless is told once.
    pub(super) fn begin(&mut self, phase: Phase, now: Standing, score_min: f64) -> Option<Phase> {
        if self.ignored {
            let is_first = phase == Phase::Opened;
            self.told = Some(now);
            return is_first.then_some(Phase::Ignored);
        }
        self.pending = self.score() < score_min;
        (!self.pending).then(|| {
            self.told = Some(now);
            phase
        })
    }

    /// It stands like this now; what is to be told of that.
    pub(super) fn change(&mut self, now: Standing, score_min: f64) -> Option<Phase> {
        if self.ignored || !self.is_open() {
            return None;
        }
        let told = self.told.filter(|_| !self.pending);
        let Some(told) = told else { return self.begin(Phase::Opened, now, score_min) };
        let is_news = now.culprit != told.culprit
            || now.rule != told.rule
            || now.confidence > told.confidence
            || now.witnesses >= told.witnesses.saturating_mul(2).max(1);
        is_news.then(|| {
            self.told = Some(now);
            Phase::Updated
        })
    }

    /// It ends at this event time; what is to be told, if it was ever told.
    pub(super) fn end(&mut self, time: Timestamp, phase: Phase) -> Option<(Phase, Standing)> {
        if !self.is_open() {
            return None;
        }
        self.closed_at = Some(time);
        if self.ignored || self.pending {
            return None;
        }
        let now = Standing { witnesses: 0, ..self.told? };
        self.told = Some(now);
        Some((phase, now))
    }

    /// Seconds since it ended; 0 while it stands.
    pub(super) fn closed_for(&self, now: Timestamp) -> i64 {
        self.closed_at.map_or(0, |closed| now.secs_since(closed))
    }
}

fn total(terms: &[Term]) -> f64 {
    terms.iter().map(|term| term.weight).sum()
}

/// 128 bits of SHA-256 over what a finding is, frozen at its opening: `docs/concepts/findings.md`.
/// Where there is no prefix or culprit, there is nothing, or a 0.
pub(super) fn finding_id(
    rule: Rule,
    about: &str,
    prefix: Option<Prefix>,
    culprit: Option<Asn>,
    time: Timestamp,
) -> FindingId {
    let text = format!(
        "{}\n{about}\n{}\n{}\n{}",
        rule.as_str(),
        prefix.map(|prefix| prefix.to_string()).unwrap_or_default(),
        culprit.map_or(0, |culprit| culprit.0),
        time.micros(),
    );
    let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    let mut id = [0; 16];
    id.iter_mut().zip(digest).for_each(|(octet, byte)| *octet = byte);
    FindingId(id)
}

#[cfg(test)]
mod tests {
    use schemas::finding::TermName;

    use super::*;

    const AT: Timestamp = Timestamp::from_secs(60);

    fn standing(witnesses: u32) -> Standing {
        let rule = Rule::HijackExact;
        Standing { rule, culprit: Some(Asn(64_511)), confidence: Confidence::Low, witnesses }
    }

    fn sure(life: &mut Life, weight: f64) {
        life.raise(vec![Term { name: TermName::Rule, weight, detail: String::new() }]);
    }

    #[test]
    fn it_opens_when_it_is_sure_and_is_told_again_when_it_doubles() {
        let mut life = Life::new(FindingId([0; 16]), AT);
        sure(&mut life, 0.5);
        assert_eq!(life.begin(Phase::Opened, standing(1), 1.0), None);
        assert_eq!(life.change(standing(2), 1.0), None, "still not sure");
        sure(&mut life, 1.5);
        assert_eq!(life.change(standing(2), 1.0), Some(Phase::Opened));
        assert_eq!(life.change(standing(3), 1.0), None);
        assert_eq!(life.change(standing(4), 1.0), Some(Phase::Updated));
    }

    #[test]
    fn what_was_never_told_ends_unheard_and_the_end_is_told_once() {
        let mut life = Life::new(FindingId([0; 16]), AT);
        sure(&mut life, 0.5);
        life.begin(Phase::Opened, standing(1), 1.0);
        assert_eq!(life.end(AT, Phase::Resolved), None);
        let mut life = Life::new(FindingId([0; 16]), AT);
        sure(&mut life, 2.0);
        life.begin(Phase::Opened, standing(3), 1.0);
        assert_eq!(life.end(AT, Phase::Resolved), Some((Phase::Resolved, standing(0))));
        assert_eq!(life.end(AT, Phase::Resolved), None);
        assert_eq!(life.closed_for(AT.plus_secs(7)), 7);
    }

    #[test]
    fn the_harmless_are_told_once() {
        let mut life = Life::new(FindingId([0; 16]), AT);
        life.ignored = true;
        assert_eq!(life.begin(Phase::Opened, standing(1), 1.0), Some(Phase::Ignored));
        assert_eq!(life.change(standing(9), 1.0), None);
        assert_eq!(life.end(AT, Phase::Resolved), None);
        life.closed_at = None;
        assert_eq!(life.begin(Phase::Reopened, standing(1), 1.0), None);
    }
}
