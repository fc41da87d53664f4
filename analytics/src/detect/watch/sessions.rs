//! Sessions of a connection: whether its primary carries, whether its backup could (S3), and what its
//! routers announce themselves (RFC 8671).

use schemas::bgp::Community;
use schemas::connection::SessionRole;
use schemas::finding::{Rule, Severity, Term, TermName};

use super::super::Facts;
use super::super::condition::Subject;
use super::Sign;
use super::survey::{Held, Survey, peers_term, rule_term};

/// A lost backup is told after this time.
const REDUNDANCY_HOLD_SECS: i64 = 30;
/// What we announce must be seen by somebody within this time.
const SENT_HOLD_SECS: i64 = 300;
/// All of them end when it is as usual for this time.
const CLEAR_SECS: i64 = 60;
/// `NO_EXPORT` and `NO_ADVERTISE` (RFC 1997): not to be told to another AS, or to anybody.
const KEPT: [u32; 2] = [0xffff_ff01, 0xffff_ff02];

/// What is wrong with the sessions.
pub(super) fn signs(survey: &Survey<'_>, facts: &Facts<'_>, is_entry: bool) -> Vec<Sign> {
    let sign = redundancy(survey, facts, is_entry);
    sign.into_iter().chain(sent_unseen(survey)).chain(sent_kept(survey)).collect()
}

/// `is_entry`: it is entered by others than its partner. Unless that is its backup, that is the story.
fn redundancy(survey: &Survey<'_>, facts: &Facts<'_>, is_entry: bool) -> Option<Sign> {
    let usually = |role: &SessionRole| {
        survey.usual.iter().any(|usual| {
            facts.rib.peer(usual.peer).is_some_and(|header| survey.role(header) == Some(role))
        })
    };
    let now =
        |role: &SessionRole| survey.held.iter().find(|held| survey.role(held.header) == Some(role));
    let name = survey.name();
    let (primary, backup) = (now(&SessionRole::Primary), now(&SessionRole::Backup));
    if primary.is_some() && backup.is_none() && usually(&SessionRole::Backup) {
        let explanation = format!(
            "the backup session of {name} holds no route any more: nothing stands behind its primary"
        );
        let terms = vec![rule_term(5.0, explanation.clone())];
        let claim = survey.claim(
            Rule::RedundancyLost,
            Subject::Registration,
            Severity::Warning,
            terms,
            explanation,
        );
        return Some(Sign { claim, hold_secs: REDUNDANCY_HOLD_SECS, clear_secs: CLEAR_SECS });
    }
    let is_other = is_entry && backup.is_none();
    if primary.is_some() || is_other || !usually(&SessionRole::Primary) {
        return None;
    }
    let by = backup.or_else(|| survey.own().next())?;
    let via = by.upstream().or_else(|| by.first());
    let (severity, explanation, weight) = match (backup, via) {
        (Some(_), Some(via)) => (
            Severity::Warning,
            format!("the primary session of {name} carries it no more; its backup does, by {via}"),
            5.0,
        ),
        (None, Some(via)) => (
            Severity::Error,
            format!(
                "the primary session of {name} carries it no more and no backup session does; \
                 others still reach it, by {via}"
            ),
            6.0,
        ),
        (_, None) => return None,
    };
    let mut terms = vec![rule_term(weight, explanation.clone())];
    let held = survey.own().count();
    if held > 1 {
        terms.push(peers_term(held, 2.0));
    }
    if let Some(edge) = survey.connection.backup_edge.as_deref() {
        terms.push(Term {
            name: TermName::BackupEdge,
            weight: 0.0,
            detail: format!("its backup edge is {edge}"),
        });
    }
    let mut claim =
        survey.claim(Rule::Failover, Subject::Registration, severity, terms, explanation);
    claim.witnesses = Survey::peer_asns(survey.own());
    claim.path_after = Some(by.path_text());
    Some(Sign { claim, hold_secs: 0, clear_secs: CLEAR_SECS })
}

/// A router of ours announces it, and nobody who tells us holds it.
fn sent_unseen(survey: &Survey<'_>) -> Option<Sign> {
    let sent =
        survey.sent.first().filter(|_| survey.held.is_empty() && !survey.usual.is_empty())?;
    let router = sent.header.router.as_deref().unwrap_or("a router");
    let explanation = format!(
        "{router} announces {} to {}, and no peer holds it",
        survey.name(),
        sent.header.asn
    );
    let terms = vec![rule_term(4.0, explanation.clone())];
    let mut claim =
        survey.claim(Rule::SentUnseen, Subject::Registration, Severity::Error, terms, explanation);
    claim.path_after = Some(sent.path_text());
    Some(Sign { claim, hold_secs: SENT_HOLD_SECS, clear_secs: CLEAR_SECS })
}

/// A router of ours announces to another AS what is marked to be kept.
fn sent_kept(survey: &Survey<'_>) -> Option<Sign> {
    let is_kept = |held: &&Held<'_>| {
        let mut communities = held.attributes.communities.iter();
        communities.any(|c| matches!(c, Community::Standard(word) if KEPT.contains(word)))
    };
    let sent = survey.sent.iter().find(is_kept)?;
    let router = sent.header.router.as_deref().unwrap_or("a router");
    let explanation = format!(
        "{router} announces {} to {} although it is marked NO_EXPORT or NO_ADVERTISE",
        survey.name(),
        sent.header.asn
    );
    let terms = vec![rule_term(4.0, explanation.clone())];
    let mut claim = survey.claim(
        Rule::SentNoExport,
        Subject::Registration,
        Severity::Warning,
        terms,
        explanation,
    );
    claim.path_after = Some(sent.path_text());
    Some(Sign { claim, hold_secs: 0, clear_secs: CLEAR_SECS })
}
