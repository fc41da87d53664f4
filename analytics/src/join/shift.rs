//! Shifts: slow minutes that last in, findings about them out.
//!
//! `suboptimal_rtt` where the route in force changed between ten minutes before and two after they
//! began, or something around the prefix did; `latency_shift` where nothing did. It opens and ends by
//! [`super::pulse`], and comes back as the same finding within six hours.

use schemas::bgp::Prefix;
use schemas::connection::Connection;
use schemas::finding::{
    Finding, FindingId, Phase, RouteCost, Rule, Severity, Term, TermName, Transition,
};
use schemas::registry::Owner;
use schemas::tables::Text;
use schemas::time::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::compare::Compared;
use super::epoch::Epoch;
use super::watch::{cost, term};

/// It comes back as the same finding within this time.
const REOPEN_SECS: i64 = 6 * 3_600;

/// What is known of a shift when it is told.
pub(crate) struct Seen<'a> {
    pub(crate) owner: Owner,
    pub(crate) connection: &'a Connection,
    pub(crate) since: Timestamp,
    /// Event time at which it is sure.
    pub(crate) until: Timestamp,
    pub(crate) log_time: Timestamp,
    pub(crate) compared: Compared,
    pub(crate) samples: u64,
    /// The change of the route in force at its beginning, if there was one.
    pub(crate) change: Option<(&'a Epoch, &'a Epoch)>,
    /// A change of something around the prefix.
    pub(crate) near: Option<(Timestamp, Prefix)>,
}

/// The finding of one registration; there is one at a time.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Shift {
    finding: Finding,
    terms: Vec<Term>,
    samples: u64,
}

impl Shift {
    /// A shift is told: a new one, or the one before if it ended not long ago.
    pub(crate) fn open(
        before: Option<Self>,
        seen: &Seen<'_>,
        score_min: f64,
    ) -> Option<(Self, Transition)> {
        let terms = terms(seen);
        let score = terms.iter().map(|term| term.weight).sum();
        if score < score_min {
            return None;
        }
        let rule = rule(seen);
        let again = before.filter(|before| {
            let closed = before.finding.closed_at;
            before.finding.rule == rule
                && closed.is_some_and(|closed| seen.since.secs_since(closed) <= REOPEN_SECS)
        });
        let phase = if again.is_some() { Phase::Reopened } else { Phase::Opened };
        let (id, opened_at) = match again {
            Some(again) => (again.finding.id, again.finding.opened_at),
            None => (finding_id(rule, seen), seen.since),
        };
        let Seen { owner, connection, compared, samples, until, .. } = seen;
        let mut of = cost(compared, *samples, until.plus_secs(-60));
        of.is_own_route = seen.change.is_some() || seen.near.is_some();
        let path =
            |epoch: Option<&Epoch>| -> Option<Text> { Some(epoch?.route.as_ref()?.path_text()) };
        let muted_by = (!connection.in_service()).then(|| format!("state:{}", connection.state));
        let finding = Finding {
            id,
            rule,
            severity: Severity::Warning,
            score,
            prefix: Some(owner.prefix),
            registered_prefix: Some(owner.prefix),
            connection: Some(owner.connection),
            connection_name: Some(connection.name.as_str().into()),
            tenant: Some(connection.tenant.as_str().into()),
            culprit: None,
            victim: None,
            leak_type: None,
            witnesses: 0,
            opened_at,
            closed_at: None,
            path_before: path(seen.change.map(|change| change.0)),
            path_after: path(seen.change.map(|change| change.1)),
            rpki_state: None,
            muted_by: muted_by.map(Into::into),
            cost: Some(Box::new(of)),
            explanation: explanation(seen),
        };
        let shift = Self { finding, terms, samples: *samples };
        let told = shift.tell(phase, seen.until, seen.log_time);
        Some((shift, told))
    }

    /// Whether it is not over.
    pub(crate) const fn is_open(&self) -> bool {
        self.finding.closed_at.is_none()
    }

    /// Samples were measured while it lasts.
    pub(crate) const fn add(&mut self, samples: u64) {
        self.samples += samples;
    }

    /// It is over, or was about what was edited or is gone.
    pub(crate) fn end(&mut self, phase: Phase, time: Timestamp, log_time: Timestamp) -> Transition {
        self.finding.closed_at = Some(time);
        self.tell(phase, time, log_time)
    }

    /// Its connection has another number from here on.
    pub(crate) const fn move_to(&mut self, owner: Owner) {
        self.finding.connection = Some(owner.connection);
    }

    fn tell(&self, phase: Phase, time: Timestamp, log_time: Timestamp) -> Transition {
        let mut finding = self.finding.clone();
        if let Some(cost) = &mut finding.cost {
            cost.samples = self.samples;
        }
        let is_over = matches!(phase, Phase::Resolved | Phase::Outdated);
        let terms = if is_over { Vec::new() } else { self.terms.clone() };
        Transition { log_time, time, phase, finding, terms, witnesses: Vec::new() }
    }

    /// Puts where it was seen into what is told of it.
    pub(crate) fn place(&mut self, told: &mut Transition, place: impl Fn(&mut RouteCost)) {
        for finding in [&mut self.finding, &mut told.finding] {
            if let Some(cost) = &mut finding.cost {
                place(cost);
            }
        }
    }
}

const fn rule(seen: &Seen<'_>) -> Rule {
    if seen.change.is_some() || seen.near.is_some() {
        Rule::SuboptimalRtt
    } else {
        Rule::LatencyShift
    }
}

fn terms(seen: &Seen<'_>) -> Vec<Term> {
    let mut terms = vec![
        Term {
            name: TermName::Rule,
            weight: 2.0,
            detail: "three minutes of five were slow".to_owned(),
        },
        term(&seen.compared),
    ];
    if let Some((before, after)) = seen.change {
        let detail = format!(
            "the route changed at {} from {} to {}",
            after.since,
            path_of(before),
            path_of(after)
        );
        terms.push(Term { name: TermName::RouteChange, weight: 2.0, detail });
    } else if let Some((time, prefix)) = seen.near {
        let detail = format!("the route of {prefix} changed at {time}");
        terms.push(Term { name: TermName::RouteChangeNear, weight: 1.0, detail });
    }
    terms
}

fn path_of(epoch: &Epoch) -> String {
    let path = epoch.route.as_ref().map(|route| {
        let edge = route.edge.as_deref().map(|edge| format!(" at {edge}"));
        let role = route.role.as_deref().map(|role| format!(" ({role})"));
        format!("{}{}{}", route.path_text(), role.unwrap_or_default(), edge.unwrap_or_default())
    });
    path.unwrap_or_else(|| "none".to_owned())
}

fn explanation(seen: &Seen<'_>) -> String {
    let Seen { owner, connection, compared, since, .. } = seen;
    let ms = |us: u32| f64::from(us) / 1_000.0;
    let (before, after) = (compared.before, compared.after);
    let why = match (seen.change, seen.near) {
        (Some((before, after)), _) => {
            format!("when its route changed from {} to {}", path_of(before), path_of(after))
        }
        (None, Some((_, prefix))) => format!("when the route of {prefix} changed"),
        (None, None) => "and no route of it changed".to_owned(),
    };
    format!(
        "round trips of {} of {} rose at {} from {:.1} to {:.1} ms in the median and from {:.1} to {:.1} ms in the 95th percentile, {why}",
        owner.prefix,
        connection.name,
        since.time_of_day(),
        ms(before.0),
        ms(after.0),
        ms(before.1),
        ms(after.1),
    )
}

/// 128 bits of SHA-256 over what it is, frozen at its opening: `docs/concepts/findings.md`.
fn finding_id(rule: Rule, seen: &Seen<'_>) -> FindingId {
    let Seen { owner, connection, since, .. } = seen;
    let text =
        format!("{}\n{}\n{}\n0\n{}", rule.as_str(), connection.name, owner.prefix, since.micros());
    let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    let mut id = [0; 16];
    id.iter_mut().zip(digest).for_each(|(octet, byte)| *octet = byte);
    FindingId(id)
}
