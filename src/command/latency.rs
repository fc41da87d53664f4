//! `peerscope latency`: percentiles of connections as a table, and as lines over time.

use std::io::{IsTerminal as _, Write as _};

use analytics::sql::Lake;
use schemas::bgp::Prefix;
use schemas::time::Timestamp;

use super::chart::{Axis, Scale};
use super::span::{self, Span};
use super::sql::{Format, print_rows};
use super::table::{Answer, Cells, open, quoted};
use super::{Ended, Global, runtime};

/// What is shown when no time is named.
const SPAN_SECS: i64 = 86_400;
/// Prefixes drawn at most; the table has them all.
const CHARTS_MAX: usize = 20;
/// Columns before a line.
const INDENT: usize = 10;
/// What tells series apart.
const KEYS: &str = "connection, prefix_first, prefix_last, prefix, source, statistic";

/// When lines are drawn under the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Chart {
    /// On a terminal
    #[default]
    Auto,
    /// Always, with `--format table`
    Always,
    /// Never
    Never,
}

/// Length of the rows in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Every {
    /// The windows themselves, exact
    #[value(name = "1m")]
    Minute,
    /// `latency_5m`
    #[value(name = "5m")]
    FiveMinutes,
    /// `latency_1h`
    #[value(name = "1h")]
    Hour,
    /// `latency_1d`
    #[value(name = "1d")]
    Day,
}

impl Every {
    const fn secs(self) -> u32 {
        match self {
            Self::Minute => 60,
            Self::FiveMinutes => 300,
            Self::Hour => 3_600,
            Self::Day => 86_400,
        }
    }
}

/// Percentiles of round-trip times, and lines over time on a terminal
#[derive(Debug, clap::Args)]
pub struct Latency {
    /// Only this connection
    #[arg(value_name = "CONNECTION")]
    connection: Option<String>,

    /// Only this registered prefix
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<Prefix>,

    /// Only samples of this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,

    /// From when, such as 2026-03-04T10:00:00Z, else a day before the end
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,

    /// Until when, else the end of what the lake has
    #[arg(long, value_name = "TIME")]
    to: Option<Timestamp>,

    /// One row for each of these, else one row for the whole time
    #[arg(long, value_name = "STEP", value_enum)]
    every: Option<Every>,

    /// When lines are drawn under the table
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    chart: Chart,

    /// Form of the list
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

impl Latency {
    /// Runs the command.
    ///
    /// # Errors
    /// A lake that cannot be read, a connection that it does not know.
    pub fn run(self, global: &Global) -> anyhow::Result<Ended> {
        let root = global.lake()?;
        runtime()?.block_on(async {
            let lake = open(&root).await?;
            if let Some(connection) = &self.connection {
                span::known(&lake, connection).await?;
            }
            let chosen = self.chosen();
            let Some(span) = Span::of_latency(&lake, &chosen).await? else {
                eprintln!(
                    "peerscope: no window of that choice is in this lake; `peerscope latency` without \
                     one lists what it has in its last day"
                );
                return Ok(Ended::Well);
            };
            let to = self.to.unwrap_or(span.to);
            let from = self.from.unwrap_or_else(|| span.from.max(to.plus_secs(-SPAN_SECS)));
            anyhow::ensure!(
                from < to,
                "nothing lies between {from} and {to}: this lake has round trips of that choice from \
                 {} to {}",
                span.from,
                span.to
            );
            // Whole steps, so that a row that began before is not lost.
            let from = self.every.map_or(from, |every| from.window_start(every.secs()));
            let span = Span { from, to };
            let filter = format!("{chosen} and {}", span.filter("window_start"));
            if self.format == Format::Table {
                eprintln!("peerscope: latency from {from} to {to}");
            }
            print_rows(&lake, &self.rows(&filter), self.format).await?;
            if self.draws() {
                let text = lines(&lake, &filter, span).await?;
                std::io::stdout().lock().write_all(text.as_bytes())?;
            }
            Ok(Ended::Well)
        })
    }

    fn draws(&self) -> bool {
        self.format == Format::Table
            && match self.chart {
                Chart::Auto => std::io::stdout().is_terminal(),
                Chart::Always => true,
                Chart::Never => false,
            }
    }

    /// The rows that are asked for, as SQL, whatever their time.
    fn chosen(&self) -> String {
        let mut filter = String::from("true");
        let mut and = |column: &str, value: Option<String>| {
            if let Some(value) = value {
                filter.push_str(&format!(" and {column} = {}", quoted(&value)));
            }
        };
        and("connection", self.connection.clone());
        and("prefix", self.prefix.map(|prefix| prefix.to_string()));
        and("source", self.source.clone());
        filter
    }

    fn rows(&self, filter: &str) -> String {
        let (from, time) = match self.every {
            None => {
                return format!(
                    "select connection, prefix, source, statistic, {} from (select {KEYS}, {} from \
                     latency_final where {filter} group by {KEYS}) order by {KEYS}",
                    figures("hdr_quantile(m, {})"),
                    MERGED
                );
            }
            Some(Every::Minute) => ("latency_final".to_owned(), "window_start"),
            Some(Every::FiveMinutes) => (newest("latency_5m"), "window_start"),
            Some(Every::Hour) => (newest("latency_1h"), "window_start"),
            Some(Every::Day) => (newest("latency_1d"), "window_start"),
        };
        format!(
            "select {time}, connection, prefix, source, statistic, {}, quality from (select *, 1 as \
             windows, rtt_min_us as low, rtt_max_us as high, baseline_p50_us as usual from {from} \
             where {filter}) order by {KEYS}, {time}",
            figures("rtt_p{}_us")
        )
    }
}

/// What is merged of windows.
const MERGED: &str = "count(*) as windows, sum(samples) as samples, sum(lost) as lost, \
                      min(rtt_min_us) as low, max(rtt_max_us) as high, median(baseline_p50_us) as usual, \
                      hdr_merge(hist_bucket, hist_count) as m";

/// The columns that are shown, in milliseconds; `{}` in `quantile` stands for which one.
fn figures(quantile: &str) -> String {
    let of_merged = quantile.contains('(');
    let spell = |percent: &str, share: &str| {
        let column = quantile.replace("{}", if of_merged { share } else { percent });
        // A bucket reaches beyond the largest sample in it.
        format!("least({column}, high) / 1000.0 as p{percent}_ms")
    };
    let quantiles = [("50", "0.5"), ("90", "0.9"), ("95", "0.95"), ("99", "0.99")];
    let quantiles = quantiles.map(|(percent, share)| spell(percent, share)).join(", ");
    format!(
        "windows, samples, lost, round(100.0 * lost / nullif(samples + lost, 0), 2) as lost_percent, \
         low / 1000.0 as min_ms, {quantiles}, high / 1000.0 as max_ms, usual / 1000.0 as usual_p50_ms"
    )
}

/// The newest revision of every window of a roll-up.
pub(super) fn newest(table: &str) -> String {
    format!(
        "(select l.* from {table} l where not exists (select 1 from {table} r where \
         r.tenant = l.tenant and r.connection = l.connection and r.prefix = l.prefix and \
         r.source = l.source and r.statistic = l.statistic and r.window_start = l.window_start and \
         r.revision > l.revision))"
    )
}

/// Percentiles over time for each series, and the route events under them.
async fn lines(lake: &Lake, filter: &str, span: Span) -> anyhow::Result<String> {
    let axis = Axis::over(span.from, span.to);
    let bin = span::bin("window_start", axis.step_secs(), axis.from());
    let sql = format!(
        "select connection, prefix, source, statistic, bin, hdr_quantile(m, 0.5) / 1000.0, \
         hdr_quantile(m, 0.95) / 1000.0, lost from (select {KEYS}, bin, sum(lost) as lost, \
         hdr_merge(hist_bucket, hist_count) as m from (select *, {bin} as bin from latency_final \
         where {filter}) group by {KEYS}, bin) order by {KEYS}, bin"
    );
    let points = Answer::of(lake, &sql).await?;
    let points: Vec<Cells<'_>> = points.iter().collect();
    let series: Vec<&[Cells<'_>]> =
        points.chunk_by(|a, b| (0..4).all(|key| a.text(key) == b.text(key))).collect();
    let events = Events::of(lake, &axis, span).await?;
    let mut text = format!(
        "\n{:INDENT$}{}   {} a column\n",
        "",
        axis.ruler(),
        span::duration(axis.step_secs())
    );
    for points in series.iter().take(CHARTS_MAX) {
        draw(points, &axis, &events, &mut text);
    }
    if let Some(more) = series.len().checked_sub(CHARTS_MAX).filter(|more| *more > 0) {
        text.push_str(&format!("\n{more} more are not drawn: name a connection or a prefix\n"));
    }
    Ok(text)
}

/// The lines of one series.
fn draw(points: &[Cells<'_>], axis: &Axis, events: &Events, text: &mut String) {
    let Some(first) = points.first() else { return };
    let [connection, prefix, source, statistic] = [0, 1, 2, 3].map(|key| first.text(key));
    text.push_str(&format!("\n{connection}  {prefix}  {source} ({statistic})\n"));
    let values = points.iter().flat_map(|point| [point.number(5), point.number(6)]).flatten();
    let Some(scale) = Scale::of(values) else {
        text.push_str(&format!("{:<INDENT$}no answer\n", ""));
        return;
    };
    for (name, column) in [("p50", 5), ("p95", 6)] {
        let levels = points
            .iter()
            .filter_map(|point| Some((point.time(4)?, scale.level(point.number(column)?))));
        let line = axis.line(levels);
        let (low, high) = scale.ends();
        let ends = if column == 5 { format!("  {low:.1} to {high:.1} ms") } else { String::new() };
        text.push_str(&format!("  {name:<width$}{line}{ends}\n", width = INDENT - 2));
    }
    let lost = points
        .iter()
        .filter(|point| point.number(7) > Some(0.0))
        .filter_map(|point| Some((point.time(4)?, '×')));
    let lost = axis.line(lost);
    if !lost.trim().is_empty() {
        text.push_str(&format!("  {:<width$}{lost}\n", "lost", width = INDENT - 2));
    }
    events.draw(connection, prefix, axis, text);
}

/// What happened to the routes meanwhile.
struct Events {
    /// Connection, registered prefix, bin, announcements, withdrawals.
    routes: Answer,
    /// Connection, registered prefix, rule, opened, closed.
    findings: Answer,
}

impl Events {
    async fn of(lake: &Lake, axis: &Axis, span: Span) -> anyhow::Result<Self> {
        let bin = span::bin("event_time", axis.step_secs(), axis.from());
        let sql = format!(
            "select connection, registered_prefix, {bin} as bin, \
             count(*) filter (where action = 'withdraw') from route_updates where connection is not \
             null and not is_snapshot and {} group by connection, registered_prefix, bin order by bin",
            span.filter("event_time")
        );
        let routes = Answer::of(lake, &sql).await?;
        let sql = format!(
            "select connection, registered_prefix, rule, {} as opened, {} as closed from incidents where \
             connection is not null and phase <> 'ignored' and {} order by opened, finding_id",
            span::micros("opened_at"),
            span::micros("closed_at"),
            span.meets("opened_at", "closed_at")
        );
        Ok(Self { routes, findings: Answer::of(lake, &sql).await? })
    }

    fn draw(&self, connection: &str, prefix: &str, axis: &Axis, text: &mut String) {
        let ours = |row: &Cells<'_>| row.text(0) == connection && row.text(1) == prefix;
        let marks = self.routes.iter().filter(ours).filter_map(|row| {
            let withdrawn = row.number(3) > Some(0.0);
            Some((row.time(2)?, if withdrawn { 'w' } else { 'a' }))
        });
        let marks = axis.line(marks);
        if !marks.trim().is_empty() {
            let legend = "  a: announced, w: withdrawn too";
            text.push_str(&format!("  {:<width$}{marks}{legend}\n", "routes", width = INDENT - 2));
        }
        for row in self.findings.iter().filter(ours) {
            if let Some(opened) = row.time(3) {
                let span = axis.span(opened, row.time(4), row.text(2));
                text.push_str(&format!("{:INDENT$}{span}\n", ""));
            }
        }
    }
}
