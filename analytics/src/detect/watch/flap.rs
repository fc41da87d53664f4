//! Flaps: how often the routes of a registration change at each peer (D16).
//!
//! A penalty for each peer, as route damping counts it (RFC 2439 §4): one for each change of the
//! path, halved every fifteen minutes.

use std::collections::BTreeMap;

use schemas::finding::{Rule, Severity};
use schemas::time::{MICROS_PER_SEC, Timestamp};
use serde::{Deserialize, Serialize};

use super::super::condition::Subject;
use super::Sign;
use super::survey::{Survey, peers_term, rule_term};
use crate::rib::PeerId;

/// Half-life of a penalty.
const HALF_LIFE_SECS: f64 = 900.0;
/// A peer with more than this flaps; with less than the second it is calm again.
const FLAPS_FROM: f64 = 5.0;
const CALM_BELOW: f64 = 2.0;
/// Share of the peers that must flap.
const SHARE_MIN: f64 = 0.20;
/// One peer alone may have trouble of its own.
const PEERS_MIN: usize = 2;
/// What is below this is forgotten.
const FORGOTTEN_BELOW: f64 = 0.1;
/// Peers remembered for each registration at most.
const PEERS_MAX: usize = 4_096;
/// How often a flapping prefix is looked at while nothing comes.
const LOOK_SECS: i64 = 60;

/// The penalties of one registration.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Flaps {
    penalties: BTreeMap<PeerId, (f64, Timestamp)>,
}

impl Flaps {
    /// A peer's path changed.
    pub(super) fn note(&mut self, peer: PeerId, time: Timestamp) {
        if self.penalties.len() >= PEERS_MAX && !self.penalties.contains_key(&peer) {
            return;
        }
        let (penalty, at) = self.penalties.entry(peer).or_insert((0.0, time));
        *penalty = decayed(*penalty, *at, time) + 1.0;
        *at = time.max(*at);
    }

    /// Peers whose penalty is above a limit.
    fn above(&self, limit: f64, now: Timestamp) -> usize {
        let is_above = |(penalty, at): &&(f64, Timestamp)| {
            *penalty > limit && decayed(*penalty, *at, now) > limit
        };
        self.penalties.values().filter(is_above).count()
    }

    pub(super) fn forget(&mut self, now: Timestamp) {
        // None is below one when it is noted: it takes more than three half-lives.
        self.penalties.retain(|_, (penalty, at)| {
            now.secs_since(*at) < 3 * HALF_LIFE_SECS as i64
                || decayed(*penalty, *at, now) >= FORGOTTEN_BELOW
        });
    }

    /// When to look again although nothing changes: while some peer flaps.
    pub(super) fn next_look(&self, now: Timestamp) -> Option<Timestamp> {
        (self.above(CALM_BELOW, now) > 0).then(|| now.plus_secs(LOOK_SECS))
    }
}

fn decayed(penalty: f64, at: Timestamp, now: Timestamp) -> f64 {
    let secs = (now.micros() - at.micros()).max(0) as f64 / MICROS_PER_SEC as f64;
    penalty * 0.5_f64.powf(secs / HALF_LIFE_SECS)
}

/// Whether a good part of the peers flaps.
pub(super) fn signs(survey: &Survey<'_>, is_open: bool) -> Option<Sign> {
    let limit = if is_open { CALM_BELOW } else { FLAPS_FROM };
    let flapping = survey.flaps.above(limit, survey.now);
    let peers = survey.usual.len().max(survey.held.len());
    if flapping < PEERS_MIN || (flapping as f64) < SHARE_MIN * peers as f64 {
        return None;
    }
    let explanation = format!(
        "routes of {} change again and again at {flapping} of {peers} peers",
        survey.name()
    );
    let terms = vec![rule_term(2.0, explanation.clone()), peers_term(flapping, 1.9)];
    let mut claim =
        survey.claim(Rule::Flap, Subject::Registration, Severity::Warning, terms, explanation);
    claim.witnesses = u32::try_from(flapping).unwrap_or(u32::MAX);
    Some(Sign { claim, hold_secs: 0, clear_secs: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_penalty_halves_in_fifteen_minutes() {
        let mut flaps = Flaps::default();
        let at = Timestamp::from_secs(1_000);
        for _ in 0..6 {
            flaps.note(1, at);
        }
        assert_eq!((flaps.above(5.0, at), flaps.above(6.0, at)), (1, 0));
        assert_eq!(flaps.above(2.9, at.plus_secs(900)), 1);
        assert_eq!(flaps.above(3.1, at.plus_secs(900)), 0);
        flaps.forget(at.plus_secs(6 * 900));
        assert!(flaps.penalties.is_empty());
    }
}
