//! The text of a report, as Markdown.

use std::fmt::Write as _;

use analytics::sql::Lake;

use super::File;
use super::month::Month;
use super::plot::{self, Days, Hour, Marks};
use crate::command::cost::cost;
use crate::command::latency::newest;
use crate::command::span::{Span, micros};
use crate::command::table::{Answer, Cells, quoted};

/// Findings told in full at most; the lake has them all.
const FINDINGS_MAX: usize = 100;
/// Series with plots at most.
const PLOTS_MAX: usize = 24;
/// Columns of every table of percentiles.
const FIGURES: &str = "least(hdr_quantile(m, 0.5), high) / 1000.0, \
                       least(hdr_quantile(m, 0.95), high) / 1000.0, \
                       least(hdr_quantile(m, 0.99), high) / 1000.0, high / 1000.0";

/// A report.
pub(super) struct Page {
    /// Its text, which names the plots as images.
    pub(super) markdown: String,
    /// The plots, SVG.
    pub(super) plots: Vec<File>,
}

/// One connection in one month.
struct Subject<'a> {
    lake: &'a Lake,
    connection: &'a str,
    month: Month,
    data: Span,
    stem: &'a str,
}

/// The report of a connection; `data` is what the lake has of it in that month.
///
/// # Errors
/// A lake that cannot be read, a plot that cannot be drawn.
pub(super) async fn of(
    lake: &Lake,
    connection: &str,
    month: Month,
    data: Span,
    stem: &str,
) -> anyhow::Result<Page> {
    let subject = Subject { lake, connection, month, data, stem };
    let mut page = Page { markdown: String::new(), plots: Vec::new() };
    subject.head(&mut page.markdown).await?;
    subject.summary(&mut page.markdown).await?;
    subject.findings(&mut page.markdown).await?;
    subject.latency(&mut page).await?;
    subject.routes(&mut page.markdown).await?;
    subject.silence(&mut page.markdown).await?;
    page.markdown.push_str(METHOD);
    Ok(page)
}

const METHOD: &str = "\n## How to read this\n\n\
    All times are UTC. Percentiles are by nearest rank over the merged histograms of the month's hours \
    (within 0.8 % of the exact value); averages of percentiles are not used. The usual median is that of the \
    same hour of the week over the fourteen days before. In the plots a red field is a finding while it \
    lasted, a grey tick an hour in which a route changed.\n";

impl Subject<'_> {
    /// Rows of this connection and month.
    fn of(&self, time: &str) -> String {
        format!("connection = {} and {}", quoted(self.connection), self.month.span().filter(time))
    }

    async fn head(&self, text: &mut String) -> anyhow::Result<()> {
        writeln!(text, "# {} in {}\n", escaped(self.connection), self.month)?;
        let sql = format!(
            "select tenant, kind, state, partner, partner_asn, site, country, redundancy_group, \
             array_to_string(array_agg(distinct prefix), ', ') from connections c where connection = {} \
             and version = (select max(version) from connections where connection = c.connection) \
             group by tenant, kind, state, partner, partner_asn, site, country, redundancy_group",
            quoted(self.connection)
        );
        let names = [
            "Tenant",
            "Kind",
            "State",
            "Partner",
            "Partner's AS",
            "Site",
            "Country",
            "Redundancy group",
            "Prefixes",
        ];
        if let Some(row) = Answer::of(self.lake, &sql).await?.first() {
            for (column, name) in names.iter().enumerate() {
                if !row.text(column).is_empty() {
                    writeln!(text, "- {name}: {}", escaped(row.text(column)))?;
                }
            }
        }
        writeln!(text, "- Measured from {} to {}\n", self.data.from, self.data.to)?;
        Ok(())
    }

    async fn summary(&self, text: &mut String) -> anyhow::Result<()> {
        let sql = format!(
            "select samples, lost, {FIGURES}, hours from (select sum(samples) as samples, sum(lost) as lost, \
             max(rtt_max_us) as high, count(distinct window_start) as hours, \
             hdr_merge(hist_bucket, hist_count) as m from {} where statistic = 'sample' and {})",
            newest("latency_1h"),
            self.of("window_start")
        );
        let figures = Answer::of(self.lake, &sql).await?;
        let findings = format!(
            "select count(*), count(*) filter (where closed_at is null), \
             count(*) filter (where severity = 'critical') from incidents where {}",
            self.met()
        );
        let findings = Answer::of(self.lake, &findings).await?;
        writeln!(text, "## In short\n")?;
        if let Some(row) = figures.first().filter(|row| row.number(0) > Some(0.0)) {
            writeln!(
                text,
                "- {} probes answered in {} hourly windows, {} lost ({})",
                row.text(0),
                row.text(6),
                row.text(1),
                share(row.number(1), row.number(0)),
            )?;
            let [p50, p95, p99, max] = [2, 3, 4, 5].map(|column| millis(&row, column));
            writeln!(
                text,
                "- Median {p50} ms, 95th percentile {p95} ms, 99th {p99} ms, longest {max} ms"
            )?;
        }
        if let Some(row) = findings.first() {
            let (all, open, critical) = (row.text(0), row.text(1), row.text(2));
            writeln!(text, "- {all} findings, {critical} of them critical, {open} still open\n")?;
        }
        Ok(())
    }

    /// Findings that were open within the month.
    fn met(&self) -> String {
        format!(
            "connection = {} and phase <> 'ignored' and {}",
            quoted(self.connection),
            self.month.span().meets("opened_at", "closed_at")
        )
    }

    async fn findings(&self, text: &mut String) -> anyhow::Result<()> {
        let sql = format!(
            "select opened_at, closed_at, rule, severity, confidence, registered_prefix, explanation, \
             finding_id, path_before, path_after from incidents where {} order by opened_at, finding_id",
            self.met()
        );
        let rows = Answer::of(self.lake, &sql).await?;
        writeln!(text, "## What happened\n")?;
        if rows.is_empty() {
            writeln!(text, "Nothing was found.\n")?;
        }
        for row in rows.iter().take(FINDINGS_MAX) {
            let [opened, closed, rule] = [0, 1, 2].map(|column| row.text(column));
            let (severity, confidence) = (row.text(3), row.text(4));
            let cost = cost(self.lake, [self.connection, row.text(5)], opened, closed).await?;
            let opened = opened.replace('T', " ");
            writeln!(text, "### {opened} {}\n", escaped(rule))?;
            writeln!(text, "{} ({severity}, confidence {confidence}).\n", escaped(row.text(6)))?;
            for (name, column) in [("Path before", 8), ("Path after", 9)] {
                if !row.text(column).is_empty() {
                    writeln!(text, "- {name}: `{}`", row.text(column))?;
                }
            }
            writeln!(text, "- {cost}\n- `peerscope findings show {}`\n", row.text(7))?;
        }
        if let Some(more) = rows.iter().count().checked_sub(FINDINGS_MAX).filter(|more| *more > 0) {
            writeln!(text, "{more} more: `peerscope findings list --connection`\n")?;
        }
        Ok(())
    }

    async fn latency(&self, page: &mut Page) -> anyhow::Result<()> {
        let keys = "prefix_first, prefix_last, prefix, source, statistic";
        let sql = format!(
            "select prefix, source, statistic, samples, lost, {FIGURES} from (select {keys}, \
             sum(samples) as samples, sum(lost) as lost, max(rtt_max_us) as high, \
             hdr_merge(hist_bucket, hist_count) as m from {} where {} group by {keys}) order by {keys}",
            newest("latency_1h"),
            self.of("window_start")
        );
        let series = Answer::of(self.lake, &sql).await?;
        writeln!(page.markdown, "## Latency, ms\n")?;
        writeln!(
            page.markdown,
            "| prefix | source | statistic | samples | lost | p50 | p95 | p99 | max |"
        )?;
        writeln!(page.markdown, "|---|---|---|---|---|---|---|---|---|")?;
        for row in series.iter() {
            let [p50, p95, p99, max] = [5, 6, 7, 8].map(|column| millis(&row, column));
            writeln!(
                page.markdown,
                "| {} | {} | {} | {} | {} | {p50} | {p95} | {p99} | {max} |",
                row.text(0),
                escaped(row.text(1)),
                row.text(2),
                row.text(3),
                share(row.number(4), row.number(3)),
            )?;
        }
        writeln!(page.markdown)?;
        for (number, row) in series.iter().take(PLOTS_MAX).enumerate() {
            self.plots(row, number + 1, page).await?;
        }
        if let Some(more) = series.iter().count().checked_sub(PLOTS_MAX).filter(|more| *more > 0) {
            writeln!(page.markdown, "{more} more are not drawn.\n")?;
        }
        self.days(&mut page.markdown).await
    }

    /// The plots of one series.
    async fn plots(&self, series: Cells<'_>, number: usize, page: &mut Page) -> anyhow::Result<()> {
        let [prefix, source, statistic] = [0, 1, 2].map(|key| series.text(key));
        let hours = self.hours([prefix, source, statistic]).await?;
        let marks = self.marks(prefix).await?;
        let days = Days::of(self.month.span(), self.data);
        let drawn = [
            ("Round trips", "rtt", plot::latency(&hours, &marks, days)?),
            ("Lost probes", "lost", plot::loss(&hours, days)?),
        ];
        writeln!(page.markdown, "### {prefix}, {} ({statistic})\n", escaped(source))?;
        for (title, kind, svg) in drawn {
            let Some(text) = svg else { continue };
            let name = format!("{}-{number}-{kind}.svg", self.stem);
            writeln!(page.markdown, "![{title} of {prefix}, hour by hour]({name})\n")?;
            page.plots.push(File { name, text });
        }
        Ok(())
    }

    async fn hours(&self, key: [&str; 3]) -> anyhow::Result<Vec<Hour>> {
        let [prefix, source, statistic] = key.map(quoted);
        let sql = format!(
            "select {} as hour, rtt_p50_us / 1000.0, rtt_p95_us / 1000.0, rtt_p99_us / 1000.0, \
             baseline_p50_us / 1000.0, 100.0 * lost / nullif(samples + lost, 0) from {} where {} \
             and prefix = {prefix} and source = {source} and statistic = {statistic} order by hour",
            micros("window_start"),
            newest("latency_1h"),
            self.of("window_start")
        );
        let hour = |row: Cells<'_>| {
            Some(Hour {
                start: row.time(0)?,
                p50: row.number(1),
                p95: row.number(2),
                p99: row.number(3),
                usual: row.number(4),
                loss_percent: row.number(5),
            })
        };
        Ok(Answer::of(self.lake, &sql).await?.iter().filter_map(hour).collect())
    }

    async fn marks(&self, prefix: &str) -> anyhow::Result<Marks> {
        let prefix = quoted(prefix);
        let sql = format!(
            "select {} as opened, {} as closed from incidents where {} and registered_prefix = {prefix}",
            micros("opened_at"),
            micros("closed_at"),
            self.met()
        );
        let findings = Answer::of(self.lake, &sql).await?;
        let sql = format!(
            "select distinct {} as hour from route_updates where {} and registered_prefix = {prefix} \
             and not is_snapshot order by 1",
            micros("date_trunc('hour', event_time)"),
            self.of("event_time")
        );
        let routes = Answer::of(self.lake, &sql).await?;
        let end = self.data.to;
        Ok(Marks {
            findings: findings
                .iter()
                .filter_map(|row| Some((row.time(0)?, row.time(1).unwrap_or(end))))
                .collect(),
            routes: routes.iter().filter_map(|row| row.time(0)).collect(),
        })
    }

    /// Day by day, all prefixes together.
    async fn days(&self, text: &mut String) -> anyhow::Result<()> {
        let sql = format!(
            "select cast(day as varchar), samples, lost, {FIGURES} from (select \
             date_trunc('day', window_start) as day, sum(samples) as samples, sum(lost) as lost, \
             max(rtt_max_us) as high, hdr_merge(hist_bucket, hist_count) as m from {} where {} and \
             statistic = 'sample' group by day) order by day",
            newest("latency_1h"),
            self.of("window_start")
        );
        writeln!(text, "### Day by day, all prefixes\n")?;
        writeln!(
            text,
            "| day | samples | lost | p50 | p95 | p99 | max |\n|---|---|---|---|---|---|---|"
        )?;
        for row in Answer::of(self.lake, &sql).await?.iter() {
            let day = row.text(0).get(..10).unwrap_or_default();
            let [p50, p95, p99, max] = [3, 4, 5, 6].map(|column| millis(&row, column));
            let lost = share(row.number(2), row.number(1));
            writeln!(text, "| {day} | {} | {lost} | {p50} | {p95} | {p99} | {max} |", row.text(1))?;
        }
        writeln!(text)?;
        Ok(())
    }

    async fn routes(&self, text: &mut String) -> anyhow::Result<()> {
        let sql = format!(
            "select registered_prefix, count(*) filter (where action = 'announce'), \
             count(*) filter (where action = 'withdraw'), count(distinct peer_ip), \
             count(distinct as_path_text), \
             array_to_string(array_agg(distinct origin_asn) filter (where origin_asn is not null), ' ') \
             from route_updates where {} and not is_snapshot group by registered_prefix \
             order by registered_prefix",
            self.of("event_time")
        );
        let rows = Answer::of(self.lake, &sql).await?;
        writeln!(text, "## Routes\n")?;
        if rows.is_empty() {
            writeln!(text, "No BGP peer told a change.\n")?;
            return Ok(());
        }
        writeln!(
            text,
            "| prefix | announced | withdrawn | peers | paths | origins |\n|---|---|---|---|---|---|"
        )?;
        for row in rows.iter() {
            let cells = [0, 1, 2, 3, 4, 5].map(|column| row.text(column));
            writeln!(text, "| {} |", cells.join(" | "))?;
        }
        writeln!(text)?;
        Ok(())
    }

    /// What was not measured.
    async fn silence(&self, text: &mut String) -> anyhow::Result<()> {
        let sql = format!(
            "select prefix, source, count(*) filter (where samples + lost > 0), \
             count(*) filter (where quality = 'silent' and lost > 0), \
             count(*) filter (where quality like 'low_n%') from latency_final where {} \
             group by prefix, source order by prefix, source",
            self.of("window_start")
        );
        let (secs, mut told) = (self.data.to.secs_since(self.data.from), String::new());
        for row in Answer::of(self.lake, &sql).await?.iter() {
            let missing =
                (secs / 60).saturating_sub(row.number(2).unwrap_or_default() as i64).max(0);
            writeln!(
                told,
                "| {} | {} | {} | {missing} | {} | {} |",
                row.text(0),
                escaped(row.text(1)),
                row.text(2),
                row.text(3),
                row.text(4)
            )?;
        }
        writeln!(text, "## What was not measured\n")?;
        writeln!(
            text,
            "| prefix | source | minutes | without a probe | without an answer | thin |"
        )?;
        writeln!(text, "|---|---|---|---|---|---|\n{told}")?;
        let sql = format!(
            "select started_at, ended_at, source, reason from feed_gaps where {} order by started_at limit 100",
            self.month.span().meets("started_at", "ended_at")
        );
        for row in Answer::of(self.lake, &sql).await?.iter() {
            let [from, to, source, reason] = [0, 1, 2, 3].map(|column| row.text(column));
            let to = if to.is_empty() { "now" } else { to };
            writeln!(text, "- {from} to {to}: {} of {}", escaped(reason), escaped(source))?;
        }
        Ok(())
    }
}

/// Milliseconds with one digit, or a dash.
fn millis(row: &Cells<'_>, column: usize) -> String {
    row.number(column).map_or_else(|| "–".to_owned(), |value| format!("{value:.1}"))
}

/// `lost` of all, in percent.
fn share(lost: Option<f64>, answered: Option<f64>) -> String {
    let (lost, answered) = (lost.unwrap_or_default(), answered.unwrap_or_default());
    if lost + answered == 0.0 {
        return "–".to_owned();
    }
    format!("{:.2} %", 100.0 * lost / (lost + answered))
}

/// A text that Markdown takes for nothing else: names come from whoever sent samples.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => escaped.push_str("&lt;"),
            '&' => escaped.push_str("&amp;"),
            '\n' | '\r' => escaped.push(' '),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '!' | '~' => {
                escaped.push('\\');
                escaped.push(letter);
            }
            _ => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_text() {
        assert_eq!(escaped("a|b <script>\n*x*"), "a\\|b &lt;script> \\*x\\*");
    }
}
