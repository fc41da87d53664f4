//! The demo's story, told by SQL over its lake: nothing here knows what was simulated.

use std::fmt::Write as _;

use analytics::lake::LakeRoot;
use analytics::sql::Lake;

use super::chart::{Axis, Scale};
use super::cost::cost;
use super::span::{Span, micros};
use super::table::{Answer, Cells, open, quoted};

/// Scale of the percentile lines, microseconds.
const SCALE: Scale = Scale::new(5_000.0, 500_000.0);

/// Columns before a percentile line.
const INDENT: usize = 69;

/// The whole story.
///
/// # Errors
/// A lake that cannot be read.
pub(super) async fn tell(root: &LakeRoot) -> anyhow::Result<String> {
    let lake = open(root).await?;
    let mut text = String::new();
    opening(&lake, &mut text).await?;
    latency(&lake, &mut text).await?;
    findings(&lake, &mut text).await?;
    tail(&lake, &mut text).await?;
    silence(&lake, &mut text).await?;
    next(root, &mut text)?;
    Ok(text)
}

async fn opening(lake: &Lake, text: &mut String) -> anyhow::Result<()> {
    let sql = "select min(window_start), max(window_start) + interval '1 minute', \
               count(distinct connection), count(distinct tenant), sum(samples) + sum(lost) from latency";
    let latency = Answer::of(lake, sql).await?;
    let sql = "select count(*), count(distinct peer_asn) from route_updates";
    let routes = Answer::of(lake, sql).await?;
    if let (Some(latency), Some(routes)) = (latency.first(), routes.first()) {
        writeln!(
            text,
            "A small synthetic Internet, {} to {} UTC: {} connections of {} tenants,\n\
             {} probes, {} route elements of ours as {} BGP peers told them.\n",
            minute(latency.text(0), 16),
            clock(latency.text(1)),
            latency.text(2),
            latency.text(3),
            latency.text(4),
            routes.text(0),
            routes.text(1),
        )?;
    }
    Ok(())
}

async fn latency(lake: &Lake, text: &mut String) -> anyhow::Result<()> {
    let sql = "select l.connection, l.prefix, hdr_quantile(m, 0.5) / 1000.0, hdr_quantile(m, 0.95) / 1000.0, \
               hdr_quantile(m, 0.99) / 1000.0, 100.0 * lost / (samples + lost) from \
               (select connection, prefix, prefix_first, hdr_merge(hist_bucket, hist_count) as m, \
               sum(samples) as samples, sum(lost) as lost from latency group by connection, prefix, prefix_first) l \
               order by l.connection, l.prefix_first";
    let rows = Answer::of(lake, sql).await?;
    let Some(span) = Span::of_latency(lake, "true").await? else { return Ok(()) };
    let axis = Axis::over(span.from, span.to);
    let sql = format!(
        "select connection, prefix, {} as minute, max(rtt_p95_us) from latency \
         group by connection, prefix, window_start order by connection, prefix, minute",
        micros("window_start")
    );
    let minutes = Answer::of(lake, &sql).await?;
    let marks = marks(lake).await?;
    writeln!(
        text,
        "LATENCY in milliseconds over the hour, and the 95th percentile minute by minute\n"
    )?;
    writeln!(
        text,
        "{:<20}{:<20}{:>6}{:>7}{:>7}{:>6}   {}",
        "connection",
        "prefix",
        "p50",
        "p95",
        "p99",
        "loss",
        axis.ruler()
    )?;
    for row in rows.iter() {
        let of_row =
            |cells: &Cells<'_>| cells.text(0) == row.text(0) && cells.text(1) == row.text(1);
        writeln!(
            text,
            "{:<20}{:<20}{:>6.1}{:>7.1}{:>7.1}{:>5.1}%   {}",
            row.text(0),
            row.text(1),
            row.number(2).unwrap_or_default(),
            row.number(3).unwrap_or_default(),
            row.number(4).unwrap_or_default(),
            row.number(5).unwrap_or_default(),
            line(&axis, minutes.iter().filter(of_row)),
        )?;
        for mark in marks.iter().filter(of_row) {
            if let Some(opened) = mark.time(3) {
                let span = axis.span(opened, mark.time(4), mark.text(2));
                writeln!(text, "{:INDENT$}{span}", "")?;
            }
        }
    }
    writeln!(text)?;
    Ok(())
}

/// Findings as spans under the line of their registered prefix.
async fn marks(lake: &Lake) -> anyhow::Result<Answer> {
    let sql = format!(
        "select connection, registered_prefix, rule, {} as opened, {} as closed from incidents \
         where connection is not null and phase <> 'ignored' order by opened",
        micros("opened_at"),
        micros("closed_at")
    );
    Answer::of(lake, &sql).await
}

/// One character a minute.
fn line<'a>(axis: &Axis, minutes: impl Iterator<Item = Cells<'a>>) -> String {
    let point = |cells: Cells<'_>| Some((cells.time(2)?, SCALE.level(cells.number(3)?)));
    axis.line(minutes.filter_map(point))
}

async fn findings(lake: &Lake, text: &mut String) -> anyhow::Result<()> {
    let sql = "select finding_id, rule, severity, confidence, score, explanation, opened_at, closed_at, \
               path_before, path_after, connection, registered_prefix from incidents \
               where phase <> 'ignored' and connection is not null order by opened_at, finding_id";
    let rows = Answer::of(lake, sql).await?;
    writeln!(text, "FINDINGS, with their reasons\n")?;
    for row in rows.iter() {
        writeln!(
            text,
            "{} {} ({}, confidence {}, score {:.1})\n      {}",
            clock(row.text(6)),
            row.text(1),
            row.text(2),
            row.text(3),
            row.number(4).unwrap_or_default(),
            row.text(5),
        )?;
        writeln!(text, "      because {}", terms(lake, row.text(0)).await?)?;
        if !row.text(8).is_empty() {
            writeln!(text, "      path before: {}", row.text(8))?;
        }
        if !row.text(9).is_empty() {
            writeln!(text, "      path after:  {}", row.text(9))?;
        }
        let of = [row.text(10), row.text(11)];
        writeln!(text, "      {}", cost(lake, of, row.text(6), row.text(7)).await?)?;
    }
    let sql = "select count(*), count(distinct finding_id) from findings where connection is null";
    let others = Answer::of(lake, sql).await?;
    if let Some(others) = others.first().filter(|row| row.number(1).unwrap_or_default() > 0.0) {
        writeln!(
            text,
            "      The same leak reached {} prefixes of others; each is a finding in the lake.",
            others.text(1)
        )?;
    }
    writeln!(text)?;
    Ok(())
}

/// The terms of a finding's last told score.
async fn terms(lake: &Lake, finding: &str) -> anyhow::Result<String> {
    let id = quoted(finding);
    let sql = format!(
        "select weight, detail from evidence where finding_id = {id} and term <> 'witness' and sequence = \
         (select max(sequence) from findings where finding_id = {id} and phase in ('opened', 'updated', 'reopened')) \
         order by weight desc, detail"
    );
    let rows = Answer::of(lake, &sql).await?;
    let told: Vec<String> = rows
        .iter()
        .map(|row| format!("{} ({:+.1})", row.text(1), row.number(0).unwrap_or_default()))
        .collect();
    Ok(told.join("; "))
}

/// The first leak: where, when, and in which redundancy group.
struct Leak {
    connection: String,
    group: String,
    opened: String,
    closed: String,
    /// Rows of its prefix.
    of: String,
    /// Rows of the minutes that it lasted.
    within: String,
}

impl Leak {
    async fn first(lake: &Lake) -> anyhow::Result<Option<Self>> {
        let sql = "select f.connection, f.registered_prefix, f.opened_at, f.closed_at, c.redundancy_group \
                   from incidents f join (select distinct connection, redundancy_group from connections) c \
                   on c.connection = f.connection where f.kind = 'leak' and f.closed_at is not null \
                   order by f.opened_at limit 1";
        let leaks = Answer::of(lake, sql).await?;
        Ok(leaks.first().map(|row| {
            let (opened, closed) = (row.text(2), row.text(3));
            Self {
                connection: row.text(0).to_owned(),
                group: row.text(4).to_owned(),
                opened: opened.to_owned(),
                closed: closed.to_owned(),
                of: format!("connection = {} and prefix = {}", quoted(row.text(0)), quoted(row.text(1))),
                within: format!(
                    "window_start >= cast({} as timestamp) and window_start < cast({} as timestamp)",
                    quoted(opened),
                    quoted(closed)
                ),
            }
        }))
    }

    /// What an hourly average of medians says, beside the same without the leak.
    async fn portal(&self, lake: &Lake) -> anyhow::Result<String> {
        let Self { of, within, .. } = self;
        let sql = format!(
            "select avg(rtt_p50_us) / 1000.0, avg(rtt_p50_us) filter (where not ({within})) / 1000.0 \
             from latency where {of}"
        );
        let answer = Answer::of(lake, &sql).await?;
        let figures = answer.first().and_then(|row| Some((row.number(0)?, row.number(1)?)));
        let Some((hour, without)) = figures else { return Ok("not measured".to_owned()) };
        let verdict = if stands_still(without, hour) { "nothing to see" } else { "it shows" };
        Ok(format!("{hour:.1} ms: {verdict} (without the leak {without:.1})"))
    }

    /// The minute whose tail is surest to have moved, beside the 95th percentile without the leak.
    async fn worst_minute(&self, lake: &Lake) -> anyhow::Result<Option<String>> {
        let Self { of, within, .. } = self;
        let sql = format!(
            "select window_start, rtt_p95_us / 1000.0, p95_low_us / 1000.0, p95_high_us / 1000.0, \
             rtt_p50_us / 1000.0, usual from latency cross join (select \
             hdr_quantile(hdr_merge(hist_bucket, hist_count), 0.95) / 1000.0 as usual from latency \
             where {of} and not ({within})) where {of} and {within} and p95_low_us is not null \
             order by p95_low_us desc, window_start limit 1"
        );
        let answer = Answer::of(lake, &sql).await?;
        Ok(answer.first().map(|row| {
            let figure = |column: usize| row.number(column).unwrap_or_default();
            format!(
                "our p95 at {}: {:.1} ms (95 % interval {:.1} to {:.1}), median {:.1}; p95 without the leak {:.1}",
                clock(row.text(0)),
                figure(1),
                figure(2),
                figure(3),
                figure(4),
                figure(5)
            )
        }))
    }

    /// The 95th percentile of a sibling over the same minutes and the others.
    async fn sibling(&self, lake: &Lake) -> anyhow::Result<Option<String>> {
        let p95 = |filter: &str| {
            format!(
                "hdr_quantile(hdr_merge(hist_bucket, hist_count) filter (where {filter}), 0.95) / 1000.0"
            )
        };
        let before = format!(
            "window_start < cast({opened} as timestamp) and window_start >= cast({opened} as timestamp) \
             - interval '10 minutes'",
            opened = quoted(&self.opened)
        );
        let sql = format!(
            "select connection, {}, {} from latency where connection in (select connection from connections \
             where redundancy_group = {} and connection <> {}) group by connection order by connection limit 1",
            p95(&self.within),
            p95(&before),
            quoted(&self.group),
            quoted(&self.connection)
        );
        let answer = Answer::of(lake, &sql).await?;
        Ok(answer.first().and_then(|row| {
            let (during, before) = (row.number(1)?, row.number(2)?);
            let verdict = if stands_still(before, during) { "did not move" } else { "moved too" };
            let name = row.text(0);
            Some(format!(
                "its sibling {name} {verdict}: p95 {during:.1} ms over the same minutes, {before:.1} before"
            ))
        }))
    }
}

/// Whether a figure stayed within a tenth of another.
fn stands_still(before: f64, after: f64) -> bool {
    (after - before).abs() <= 0.1 * before
}

/// What an average hides: the first leak's tail beside its hourly average of medians.
async fn tail(lake: &Lake, text: &mut String) -> anyhow::Result<()> {
    let Some(leak) = Leak::first(lake).await? else { return Ok(()) };
    let (from, to) = (clock(&leak.opened), clock(&leak.closed));
    writeln!(text, "WHAT AN AVERAGE HIDES: the leak of {} from {from} to {to}\n", leak.connection)?;
    let portal = leak.portal(lake).await?;
    writeln!(text, "      hourly average of medians, as the portal shows it: {portal}")?;
    for line in [leak.worst_minute(lake).await?, leak.sibling(lake).await?].into_iter().flatten() {
        writeln!(text, "      {line}")?;
    }
    writeln!(text)?;
    Ok(())
}

async fn silence(lake: &Lake, text: &mut String) -> anyhow::Result<()> {
    writeln!(text, "KEPT SILENT ABOUT\n")?;
    let sql = "select s.connection, c.state, s.peer_ip from sessions s join \
               (select distinct connection, state from connections) c on c.connection = s.connection \
               where s.state = 'up' and c.state <> 'Active' and s.peer_ip not in \
               (select peer_ip from route_updates) order by s.connection";
    for row in Answer::of(lake, sql).await?.iter() {
        writeln!(
            text,
            "      {} is {}: its session with {} is established and sends no route (DENY ALL)",
            row.text(0),
            row.text(1),
            row.text(2)
        )?;
    }
    let sql = "select u.connection, u.prefix, count(distinct u.peer_ip), max(u.event_time) from route_updates u \
               join (select distinct connection, state from connections) c on c.connection = u.connection \
               where c.state = 'PendingRemove' and u.action = 'withdraw' and u.connection not in \
               (select connection from findings where connection is not null and phase <> 'ignored') group by u.connection, u.prefix";
    for row in Answer::of(lake, sql).await?.iter() {
        writeln!(
            text,
            "      {} is being removed: {} peers withdrew {} until {}, as they should",
            row.text(0),
            row.text(2),
            row.text(1),
            clock(row.text(3))
        )?;
    }
    let sql = "select f.explanation, e.detail from incidents f join evidence e \
               on e.finding_id = f.finding_id and e.term = 'sibling' where f.phase = 'ignored' order by f.opened_at";
    for row in Answer::of(lake, sql).await?.iter() {
        writeln!(text, "      {}; but {}", row.text(0), row.text(1))?;
    }
    writeln!(text)?;
    Ok(())
}

fn next(root: &LakeRoot, text: &mut String) -> anyhow::Result<()> {
    writeln!(
        text,
        "WHAT TO TYPE NEXT\n\n\
         \x20     peerscope findings list --lake {root}\n\
         \x20     peerscope why contoso-seattle --lake {root}\n\
         \x20     peerscope latency --lake {root}\n\
         \x20     peerscope report contoso-seattle --lake {root}\n\
         \x20     peerscope sql --lake {root} -c \"select * from incidents\"\n\
         \x20     peerscope sql --lake {root}\n\
         \x20     peerscope describe tables"
    )?;
    Ok(())
}

/// `HH:MM:SS` of a time as SQL prints it.
fn clock(time: &str) -> &str {
    time.get(11..19).unwrap_or(time)
}

/// A time cut to `length` characters, `T` as a blank.
fn minute(time: &str, length: usize) -> String {
    time.get(..length).unwrap_or(time).replace('T', " ")
}
