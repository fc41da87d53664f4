//! Correlate: what the shards tell each other, folded into numbered rows of `findings` and
//! `evidence`. The only writer of both.
//!
//! Shards send their transitions and, now and then, a mark. A transition passes when
//! the marks of all shards have passed its log time; among those that pass together the order is
//! (log time, finding id), so that any number of shards gives the same rows. [`groups`] sees them in
//! that order and marks those that are one event. In a running service a transition is numbered as
//! it comes, and what passing adds follows ([`live`]).

mod groups;
mod live;
mod row;
mod state;
mod summary;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use groups::Groups;
use live::Live;
use schemas::finding::{Blame, Confidence, FindingId, Phase, Rule, Transition, Witness};
use schemas::tables::{EvidenceRow, FindingRow, Text};
use schemas::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::join::tally::{Tallies, Tally};

pub use summary::{Summary, SummaryError};

/// How long it is remembered how often a finding was told that is over: longer than it may come back.
const REMEMBERED_SECS: i64 = 8 * 3_600;

/// The fold of `summaries`.
#[derive(Debug)]
pub struct Correlate {
    marks: Vec<Timestamp>,
    waiting: BTreeMap<(Timestamp, FindingId, u64), (Transition, Text)>,
    arrived: u64,
    /// Tallies that are not yet to be seen.
    tallies_waiting: BTreeMap<(Timestamp, u64), Tally>,
    tallies: Tallies,
    /// Whom open findings blame, by the minute that was compared.
    blames: HashMap<FindingId, (Timestamp, Option<Blame>)>,
    sequences: HashMap<Text, Told>,
    groups: Groups,
    /// What a running service told before it passed; none for an archive.
    live: Option<Live>,
    /// Hour of the last look at what may be forgotten.
    hour: i64,
    /// Transitions numbered so far: the offset of the `summaries` partition.
    pub offset: u64,
    /// What was numbered and waits for the lake, in order.
    pub numbered: Vec<Numbered>,
    /// Log time that all shards have passed.
    pub passed: Timestamp,
}

/// How often a finding was told.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Told {
    /// The last number.
    sequence: u32,
    /// When it was over, if it is.
    closed_at: Option<Timestamp>,
}

/// A transition with its number: its rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Numbered {
    /// Log time of the transition.
    pub log_time: Timestamp,
    /// Offset behind it.
    pub end: u64,
    /// The `findings` row.
    pub finding: FindingRow,
    /// The `evidence` rows.
    pub evidence: Vec<EvidenceRow>,
}

impl Correlate {
    /// A fold over the summaries of that many shards.
    #[must_use]
    pub fn new(partitions: u32) -> Self {
        Self {
            marks: vec![Timestamp::MIN; partitions as usize],
            waiting: BTreeMap::new(),
            arrived: 0,
            tallies_waiting: BTreeMap::new(),
            tallies: Tallies::default(),
            blames: HashMap::new(),
            sequences: HashMap::new(),
            groups: Groups::default(),
            live: None,
            hour: i64::MIN,
            offset: 0,
            numbered: Vec::new(),
            passed: Timestamp::MIN,
        }
    }

    /// Folds one summary of one shard.
    pub fn apply(&mut self, partition: u32, summary: Summary) {
        match summary {
            Summary::Transition(transition, config_hash) => {
                self.arrived += 1;
                let key = (transition.log_time, transition.finding.id, self.arrived);
                if self.live.is_some() {
                    self.arrive(&transition, &config_hash);
                }
                self.waiting.insert(key, (*transition, config_hash));
            }
            Summary::Tally(tally) => {
                self.arrived += 1;
                self.tallies_waiting.insert((tally.log_time, self.arrived), tally);
            }
            Summary::Mark(time) => self.mark(partition, time),
            Summary::End => self.mark(partition, Timestamp::MAX),
        }
    }

    fn mark(&mut self, partition: u32, time: Timestamp) {
        if let Some(mark) = self.marks.get_mut(partition as usize) {
            *mark = time.max(*mark);
        }
        self.passed = self.marks.iter().min().copied().unwrap_or(Timestamp::MIN);
        while let Some(first) = self.waiting.first_entry() {
            if first.key().0 >= self.passed {
                break;
            }
            let (transition, config_hash) = first.remove();
            self.tally_until(transition.log_time);
            if self.live.is_some() {
                self.follow(&transition, &config_hash);
            } else {
                self.number(&transition, &config_hash);
            }
        }
        self.tally_until(Timestamp(self.passed.0.saturating_sub(1)));
        self.forget();
    }

    /// Forgets, each hour, how often those were told that are over for too long to come back.
    fn forget(&mut self) {
        let (passed, hour) = (self.passed, self.passed.secs().div_euclid(3_600));
        if hour == self.hour || passed == Timestamp::MIN || passed == Timestamp::MAX {
            return;
        }
        self.hour = hour;
        self.sequences.retain(|_, told| {
            told.closed_at.is_none_or(|closed| passed.secs_since(closed) < REMEMBERED_SECS)
        });
    }

    /// Takes the tallies up to a log time: what came later must not be seen by what came before.
    fn tally_until(&mut self, log_time: Timestamp) {
        while let Some(first) = self.tallies_waiting.first_entry() {
            if first.key().0 > log_time {
                return;
            }
            self.tallies.add(first.remove());
        }
    }

    /// Whom a finding blames. It is judged once for each minute that was compared.
    fn blame(&mut self, transition: &Transition) -> Option<Blame> {
        let finding = &transition.finding;
        let cost = finding.cost.as_deref()?;
        let known = self.blames.get(&finding.id).filter(|(minute, _)| *minute == cost.minute);
        let blame = match known {
            Some((_, blame)) => *blame,
            None => self.tallies.blame(cost),
        };
        if finding.closed_at.is_some() {
            self.blames.remove(&finding.id);
        } else {
            self.blames.insert(finding.id, (cost.minute, blame));
        }
        blame
    }

    fn number(&mut self, transition: &Transition, config_hash: &Text) {
        let id: Text = transition.finding.id.to_string().into();
        let mut finding = finding_row(transition, &id, config_hash);
        finding.blame = self.blame(transition).map(|blame| blame.as_str().into());
        let further = self.groups.take(&mut finding, transition.finding.rule);
        self.tell(transition, finding);
        for row in further {
            self.push(transition.log_time, row, Vec::new());
        }
    }

    /// Numbers a row with its evidence.
    fn tell(&mut self, transition: &Transition, finding: FindingRow) {
        let id = Arc::clone(&finding.finding_id);
        let sequence = self.sequences.get(&id).map_or(0, |told| told.sequence) + 1;
        let terms = transition.terms.iter().map(|term| EvidenceRow {
            term: term.name.as_str(),
            weight: term.weight,
            detail: term.detail.as_str().into(),
            ..evidence_row(transition, sequence, &id)
        });
        let witnesses = transition
            .witnesses
            .iter()
            .map(|witness| witness_row(witness, evidence_row(transition, sequence, &id)));
        let evidence = terms.chain(witnesses).collect();
        self.push(transition.log_time, finding, evidence);
    }

    /// Gives a row its number. Its evidence has it already.
    fn push(&mut self, log_time: Timestamp, mut finding: FindingRow, evidence: Vec<EvidenceRow>) {
        let told = self.sequences.entry(Arc::clone(&finding.finding_id)).or_default();
        told.sequence += 1;
        told.closed_at = finding.closed_at;
        finding.sequence = told.sequence;
        self.offset += 1;
        self.numbered.push(Numbered { log_time, end: self.offset, finding, evidence });
    }
}

/// The row of a transition, not numbered yet.
fn finding_row(transition: &Transition, id: &Text, config_hash: &Text) -> FindingRow {
    let finding = &transition.finding;
    let cost = finding.cost.as_deref();
    FindingRow {
        finding_id: Arc::clone(id),
        sequence: 0,
        time: transition.time,
        phase: transition.phase.as_str(),
        kind: finding.rule.kind().as_str(),
        rule: finding.rule.as_str(),
        severity: finding.severity.as_str(),
        score: finding.score,
        confidence: Confidence::of(finding.score).as_str(),
        prefix: finding.prefix,
        prefix_first: finding.prefix.map(|prefix| prefix.first_octets()),
        prefix_last: finding.prefix.map(|prefix| prefix.last_octets()),
        registered_prefix: finding.registered_prefix,
        connection: finding.connection_name.clone(),
        tenant: finding.tenant.clone(),
        culprit_asn: finding.culprit,
        victim_asn: finding.victim,
        leak_type: finding.leak_type.map(schemas::finding::LeakType::number),
        witnesses: finding.witnesses,
        opened_at: finding.opened_at,
        closed_at: finding.closed_at,
        group_id: None,
        group_size: None,
        path_before: finding.path_before.clone(),
        path_after: finding.path_after.clone(),
        rpki_state: finding.rpki_state.map(|state| state.as_str().into()),
        blame: None,
        rtt_before_p50_us: cost.map(|cost| cost.before_p50_us),
        rtt_after_p50_us: cost.map(|cost| cost.after_p50_us),
        rtt_before_p95_us: cost.map(|cost| cost.before_p95_us),
        rtt_after_p95_us: cost.map(|cost| cost.after_p95_us),
        rtt_shift_low_us: cost.map(|cost| cost.shift_low_us),
        rtt_shift_high_us: cost.map(|cost| cost.shift_high_us),
        samples_affected: cost.map(|cost| cost.samples),
        azure_event: azure_event(finding.rule, transition.phase),
        muted_by: finding.muted_by.clone(),
        config_hash: Arc::clone(config_hash),
        verdict: None,
        explanation: finding.explanation.as_str().into(),
    }
}

/// The events that Azure would show.
const AZURE_EVENTS: [&str; 1] = ["PrefixOriginAsChangeEvent"];

/// The event that Azure would show: it knows one for an exact hijack and none for the rest.
const fn azure_event(rule: Rule, phase: Phase) -> Option<&'static str> {
    match (rule, phase) {
        (Rule::HijackExact, Phase::Opened | Phase::Reopened) => Some(AZURE_EVENTS[0]),
        _ => None,
    }
}

fn evidence_row(transition: &Transition, sequence: u32, id: &Text) -> EvidenceRow {
    EvidenceRow {
        finding_id: Arc::clone(id),
        sequence,
        tenant: transition.finding.tenant.clone(),
        connection: transition.finding.connection_name.clone(),
        term: "",
        weight: 0.0,
        detail: Text::default(),
        collector: None,
        peer_asn: None,
        peer_ip: None,
        first_seen: None,
        last_seen: None,
        path_before: None,
        path_after: None,
        source: None,
        source_offset: None,
    }
}

fn witness_row(witness: &Witness, row: EvidenceRow) -> EvidenceRow {
    EvidenceRow {
        term: "witness",
        detail: format!("{} at {} holds the route", witness.peer_asn, witness.peer_ip).into(),
        collector: Some(Arc::clone(&witness.collector)),
        peer_asn: Some(witness.peer_asn),
        peer_ip: Some(witness.peer_ip),
        first_seen: Some(witness.first_seen),
        last_seen: Some(witness.last_seen),
        path_before: witness.path_before.clone(),
        path_after: Some(Arc::clone(&witness.path_after)),
        source: Some(Arc::clone(&witness.source)),
        source_offset: Some(witness.source_offset),
        ..row
    }
}
