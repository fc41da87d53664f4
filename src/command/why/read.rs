//! The lake's tables as events: a query a table, each bounded.

use std::collections::{BTreeMap, BTreeSet};

use analytics::sql::Lake;

use super::Event;
use super::latency::{self, Minute, Series};
use super::registry::{self, Entry, Version};
use super::routes::{self, Held, Peer, Said, Word};
use super::subject::Subject;
use crate::command::span::{Span, micros};
use crate::command::table::{Answer, Cells, quoted};

/// Words of peers that are read at most.
const WORDS_MAX: usize = 200_000;
/// Windows that are read at most.
const WINDOWS_MAX: usize = 200_000;
/// Rows of the other tables that are told at most.
const ROWS_MAX: usize = 1_000;
/// What is usual is taken from this long before and after.
const AROUND_SECS: i64 = 3_600;

/// All that happened, and what the reader must know of it.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    pub(super) events: Vec<Event>,
    pub(super) notes: Vec<String>,
}

/// Reads everything about a subject within a span.
///
/// # Errors
/// A lake that cannot be read.
pub(super) async fn timeline(
    lake: &Lake,
    subject: &Subject,
    span: Span,
    lines_max: usize,
) -> anyhow::Result<Timeline> {
    let mut timeline = Timeline::default();
    timeline.routes(lake, subject, span, lines_max).await?;
    timeline.latency(lake, subject, span).await?;
    timeline.findings(lake, subject, span).await?;
    timeline.registry(lake, subject, span).await?;
    timeline.states(lake, subject, span).await?;
    timeline.feeds(lake, span).await?;
    let events = &mut timeline.events;
    events.retain(|event| event.time < span.to && event.until >= span.from);
    // What is caused comes after what causes it, where both carry the same time.
    let rank = |event: &Event| match event.what {
        "registry" => 0,
        "feed" => 1,
        "session" => 2,
        "route" => 3,
        "finding" => 5,
        _ => 4,
    };
    events.sort_by_key(|event| (event.time, rank(event)));
    Ok(timeline)
}

fn peer(row: Cells<'_>, from: usize) -> Peer {
    [0, 1, 2, 3, 4].map(|column| row.text(from + column).to_owned())
}

impl Timeline {
    async fn routes(
        &mut self,
        lake: &Lake,
        subject: &Subject,
        span: Span,
        lines_max: usize,
    ) -> anyhow::Result<()> {
        let filter = subject.routes();
        let peer_columns = "collector, router, peer_ip, peer_asn, rib_view";
        let sql = format!(
            "select {peer_columns}, prefix, path_id, array_to_string(as_path, ' ') \
             from rib_at({}) where {filter} limit {WORDS_MAX}",
            quoted(&span.from.to_string())
        );
        let mut held = Held::default();
        for row in Answer::of(lake, &sql).await?.iter() {
            let route = (row.text(5).to_owned(), row.text(6).to_owned());
            held.hold(peer(row, 0), route, routes::path(row.text(7)));
        }
        let sql = format!(
            "select {} as t, {peer_columns}, prefix, path_id, connection, action, is_snapshot, as_path_text \
             from route_updates where {} and {filter} \
             order by event_time, source, source_offset limit {WORDS_MAX}",
            micros("event_time"),
            span.filter("event_time"),
        );
        let updates = Answer::of(lake, &sql).await?;
        if updates.iter().count() == WORDS_MAX {
            self.notes.push(format!(
                "the first {WORDS_MAX} route updates of this time are told; ask for a shorter one"
            ));
        }
        let mut said: Vec<Said> = updates.iter().filter_map(word).collect();
        let peers: BTreeSet<Peer> =
            held.peers().into_iter().chain(said.iter().map(|said| &said.peer)).cloned().collect();
        if peers.is_empty() {
            self.notes.push(
                "no route of it is in the lake at that time: nobody told one, or it was not \
                 registered then; what the filter does not keep is not stored"
                    .to_owned(),
            );
        }
        said.extend(self.sessions(lake, subject, span, &peers).await?);
        said.sort_by_key(|said| said.time);
        self.events.extend(held.lines(&said, lines_max));
        Ok(())
    }

    /// Sessions of the connection and of those who speak of it; the words "down" among them.
    async fn sessions(
        &mut self,
        lake: &Lake,
        subject: &Subject,
        span: Span,
        peers: &BTreeSet<Peer>,
    ) -> anyhow::Result<Vec<Said>> {
        let sql = format!(
            "select {} as t, collector, router, peer_ip, peer_asn, rib_view, state, reason, role, connection \
             from sessions where {} order by time, source, source_offset limit {WORDS_MAX}",
            micros("time"),
            span.filter("time")
        );
        let rows = Answer::of(lake, &sql).await?;
        let mut downs = Vec::new();
        let mut told: BTreeMap<[String; 5], (Event, BTreeSet<String>)> = BTreeMap::new();
        for row in rows.iter() {
            let Some(time) = row.time(0) else { continue };
            let (peer, [state, reason, role, connection]) =
                (peer(row, 1), [6, 7, 8, 9].map(|column| row.text(column).to_owned()));
            let is_named = subject.connections.contains(&connection);
            if !is_named && !peers.contains(&peer) {
                continue;
            }
            if state == "down" {
                let route = (String::new(), String::new());
                let (connection, peer) = (String::new(), peer.clone());
                downs.push(Said { time, peer, route, connection, word: Word::Down });
            }
            let [collector, _, address, asn, _] = peer;
            let minute = time.window_start(60).to_string();
            let key =
                [minute, collector.clone(), state.clone(), reason.clone(), connection.clone()];
            let (event, who) = told.entry(key).or_insert_with(|| {
                (Event { count: 0, connection, ..Event::at(time, "session") }, BTreeSet::new())
            });
            who.insert(format!("AS{asn} ({address})"));
            event.until = time;
            event.count += 1;
            let role = if role.is_empty() { role } else { format!("{role} ") };
            let reason = if reason.is_empty() { reason } else { format!(": {reason}") };
            event.text = match (who.len(), who.first()) {
                (1, Some(one)) => format!("{role}session with {one} {state}{reason}"),
                (several, _) => format!("{several} sessions of {collector} {state}{reason}"),
            };
        }
        self.events.extend(told.into_values().map(|(event, _)| event));
        Ok(downs)
    }

    async fn latency(&mut self, lake: &Lake, subject: &Subject, span: Span) -> anyhow::Result<()> {
        let around =
            Span { from: span.from.plus_secs(-AROUND_SECS), to: span.to.plus_secs(AROUND_SECS) };
        let sql = format!(
            "select connection, prefix, source, statistic, {} as t, window_secs, samples, lost, rtt_p50_us, \
             rtt_p95_us, baseline_p50_us, baseline_p95_us from latency_final where {} and {} \
             order by connection, prefix_first, prefix_last, source, statistic, window_start \
             limit {WINDOWS_MAX}",
            micros("window_start"),
            around.filter("window_start"),
            subject.windows()
        );
        let answer = Answer::of(lake, &sql).await?;
        let rows: Vec<Cells<'_>> = answer.iter().collect();
        if rows.is_empty() {
            self.notes.push("no round trip of it was measured around that time".to_owned());
        }
        if rows.len() == WINDOWS_MAX {
            self.notes.push(format!("the first {WINDOWS_MAX} windows are read; ask for less"));
        }
        for rows in rows.chunk_by(|a, b| (0..4).all(|key| a.text(key) == b.text(key))) {
            let Some(first) = rows.first() else { continue };
            let series = Series {
                connection: first.text(0).to_owned(),
                prefix: first.text(1).to_owned(),
                source: format!("{}, {}", first.text(2), first.text(3)),
            };
            let minutes: Vec<Minute> = rows.iter().filter_map(|row| minute(*row)).collect();
            self.events.extend(latency::lines(&series, &minutes));
        }
        Ok(())
    }

    async fn findings(&mut self, lake: &Lake, subject: &Subject, span: Span) -> anyhow::Result<()> {
        let sql = format!(
            "select {} as t, phase, rule, severity, confidence, witnesses, explanation, finding_id, prefix, \
             connection, {} as since, muted_by from findings where {} and ({} or kind = 'feed') \
             order by time, finding_id, sequence limit {ROWS_MAX}",
            micros("time"),
            micros("opened_at"),
            span.filter("time"),
            subject.findings()
        );
        for row in Answer::of(lake, &sql).await?.iter() {
            let Some(time) = row.time(0) else { continue };
            let [phase, rule, severity, confidence] = [1, 2, 3, 4].map(|column| row.text(column));
            let explanation = row.text(6);
            let witnesses = match row.text(5) {
                "1" => "1 peer AS".to_owned(),
                several => format!("{several} peer ASes"),
            };
            let text = match phase {
                "resolved" | "expired" | "outdated" => {
                    let secs = row.time(10).map_or(0, |opened| time.secs_since(opened));
                    format!("{rule} {phase} after {}", lasted(secs))
                }
                "ignored" => format!("{rule} ignored ({}): {explanation}", row.text(11)),
                "updated" => {
                    format!("{rule} updated: {severity}, confidence {confidence}, {witnesses}")
                }
                _ => format!(
                    "{rule} {phase}: {severity}, confidence {confidence}, {witnesses}: {explanation}"
                ),
            };
            self.events.push(Event {
                prefix: row.text(8).to_owned(),
                connection: row.text(9).to_owned(),
                finding_id: row.text(7).to_owned(),
                text,
                ..Event::at(time, "finding")
            });
        }
        Ok(())
    }

    async fn registry(&mut self, lake: &Lake, subject: &Subject, span: Span) -> anyhow::Result<()> {
        let sql = format!(
            "select distinct version, {} as t from connections order by version",
            micros("time")
        );
        let mut versions: BTreeMap<String, Version> = BTreeMap::new();
        for row in Answer::of(lake, &sql).await?.iter() {
            let time = row.time(1).unwrap_or_default();
            versions
                .insert(format!("{:0>10}", row.text(0)), Version { time, ..Version::default() });
        }
        let facts = ["state", "partner", "origins", "upstreams", "edge", "group"];
        let sql = format!(
            "select version, connection, prefix, state, partner_asn, array_to_string(origin_asns, ' '), \
             array_to_string(upstream_asns, ' '), primary_edge, redundancy_group \
             from connections where {} order by version, connection",
            subject.named()
        );
        for row in Answer::of(lake, &sql).await?.iter() {
            let key = format!("{:0>10}", row.text(0));
            let Some(version) = versions.get_mut(&key) else { continue };
            let entry: &mut Entry = version.connections.entry(row.text(1).to_owned()).or_default();
            entry.facts = facts
                .iter()
                .zip(3..)
                .map(|(name, column)| (*name, row.text(column).to_owned()))
                .collect();
            if !row.text(2).is_empty() {
                entry.prefixes.insert(row.text(2).to_owned());
            }
        }
        let versions: Vec<Version> = versions.into_values().collect();
        let edits = registry::edits(&versions);
        self.events.extend(edits.into_iter().filter(|edit| edit.time >= span.from));
        Ok(())
    }

    /// States, Azure's events and silences of alerts.
    async fn states(&mut self, lake: &Lake, subject: &Subject, span: Span) -> anyhow::Result<()> {
        let (named, within) = (subject.named(), span.filter("time"));
        let states = format!(
            "select {} as t, {} as u, connection, '' as prefix, coalesce(state_before, 'no state') || ' -> ' || state_after || \
             case when legal then '' else ', a step that Azure does not take' end from connection_states \
             where {named} and {within} order by time limit {ROWS_MAX}",
            micros("time"),
            micros("time")
        );
        let azure = format!(
            "select {} as t, {} as u, connection, prefix, event_level || ' ' || event_type || ': ' || event_summary \
             from prefix_events where {named} and {within} order by time limit {ROWS_MAX}",
            micros("time"),
            micros("time")
        );
        let silences = format!(
            "select {} as t, {} as u, connection, prefix, 'alerts muted by ' || author || ': ' || reason from silences \
             where (connection is null or {named}) and {} order by starts_at limit {ROWS_MAX}",
            micros("starts_at"),
            micros("ends_at"),
            span.meets("starts_at", "ends_at")
        );
        for (what, sql) in [("state", states), ("azure", azure), ("muted", silences)] {
            self.told(lake, what, &sql, span).await?;
        }
        Ok(())
    }

    async fn feeds(&mut self, lake: &Lake, span: Span) -> anyhow::Result<()> {
        let sql = format!(
            "select {} as t, {} as u, '' as connection, '' as prefix, 'no word of ' || source || coalesce(' at ' || collector, '') || ': ' || \
             reason || coalesce(', ' || cast(lost as varchar) || ' messages lost', '') from feed_gaps \
             where {} order by started_at limit {ROWS_MAX}",
            micros("started_at"),
            micros("ended_at"),
            span.meets("started_at", "ended_at")
        );
        self.told(lake, "feed", &sql, span).await
    }

    /// Rows of start, end, connection, prefix and words.
    async fn told(
        &mut self,
        lake: &Lake,
        what: &'static str,
        sql: &str,
        span: Span,
    ) -> anyhow::Result<()> {
        for row in Answer::of(lake, sql).await?.iter() {
            let Some(time) = row.time(0) else { continue };
            self.events.push(Event {
                until: row.time(1).unwrap_or(span.to),
                connection: row.text(2).to_owned(),
                prefix: row.text(3).to_owned(),
                text: row.text(4).to_owned(),
                ..Event::at(time, what)
            });
        }
        Ok(())
    }
}

/// `9 min 2 s`: a length of time to the second, hours and days to the minute.
fn lasted(secs: i64) -> String {
    match secs {
        ..60 => format!("{secs} s"),
        60..3_600 => format!("{} min {} s", secs / 60, secs % 60),
        _ => format!("{} h {} min", secs / 3_600, secs / 60 % 60),
    }
}

fn word(row: Cells<'_>) -> Option<Said> {
    let path = || routes::path(row.text(11));
    Some(Said {
        time: row.time(0)?,
        peer: peer(row, 1),
        route: (row.text(6).to_owned(), row.text(7).to_owned()),
        connection: row.text(8).to_owned(),
        word: match (row.text(9), row.text(10)) {
            ("announce", "true") => Word::Dump(path()),
            ("announce", _) => Word::Announce(path()),
            _ => Word::Withdraw,
        },
    })
}

fn minute(row: Cells<'_>) -> Option<Minute> {
    Some(Minute {
        start: row.time(4)?,
        secs: row.number(5)? as i64,
        samples: row.number(6)?,
        lost: row.number(7)?,
        p50_us: row.number(8),
        p95_us: row.number(9),
        baseline_p50_us: row.number(10),
        baseline_p95_us: row.number(11),
    })
}
