//! Views: what a reader asks of several tables, in the SQL of each engine.
//!
//! In our own shell `latency_quantiles` uses `hdr_merge`; for other engines it is plain SQL over the
//! two lists and gives the same numbers. The text is written once and spelled by [`Engine`].

use schemas::tables;

/// Whose SQL it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Engine {
    /// `peerscope sql`: DataFusion with our functions.
    Ours,
    /// The stock DataFusion.
    DataFusion,
    /// The stock DuckDB.
    DuckDb,
    /// The stock Spark, ANSI or not.
    Spark,
}

/// One view.
pub(super) struct View {
    /// Its name.
    pub(super) name: &'static str,
    /// What one row is, and how it comes about.
    pub(super) meaning: &'static str,
    /// Its query.
    pub(super) query: fn(Engine) -> String,
}

/// The views, each after those that it reads.
pub(super) const ALL: &[View] = &[
    View {
        name: "latency_final",
        meaning: "One row a window: `latency`, overlaid with the newest row of `latency_revisions`.",
        query: latency_final,
    },
    View {
        name: "latency_quantiles",
        meaning: "One row for each tenant, connection, prefix, source and statistic, over all windows \
                  of `latency_final` that hold a sample: the windows merged by their histograms, \
                  percentiles by nearest rank as the highest value of the bucket (within 0.8 % of \
                  the exact). For a span of time take its query and filter by window_start.",
        query: latency_quantiles,
    },
    View {
        name: "incidents",
        meaning: "One row a finding: its last state with the operator's last word on it (`marks`) as \
                  verdict, and duration_secs, which is null while it is open.",
        query: incidents,
    },
    View {
        name: "open_findings",
        meaning: "One row for each finding that is not over.",
        query: |_| OPEN_FINDINGS.trim().to_owned(),
    },
];

/// Two anti-joins against the few revisions, and no sort of the many windows.
const LATENCY_FINAL: &str = "
SELECT l.* FROM latency l
WHERE NOT EXISTS (
  SELECT 1 FROM latency_revisions r
  WHERE r.tenant = l.tenant AND r.connection = l.connection AND r.prefix = l.prefix
    AND r.source = l.source AND r.statistic = l.statistic AND r.window_start = l.window_start
    AND r.window_secs = l.window_secs AND r.revision > l.revision)
UNION ALL
SELECT r.* FROM latency_revisions r
WHERE NOT EXISTS (
  SELECT 1 FROM latency_revisions n
  WHERE n.tenant = r.tenant AND n.connection = r.connection AND n.prefix = r.prefix
    AND n.source = r.source AND n.statistic = r.statistic AND n.window_start = r.window_start
    AND n.window_secs = r.window_secs AND n.revision > r.revision)
AND NOT EXISTS (
  SELECT 1 FROM latency l
  WHERE l.tenant = r.tenant AND l.connection = r.connection AND l.prefix = r.prefix
    AND l.source = r.source AND l.statistic = r.statistic AND l.window_start = r.window_start
    AND l.window_secs = r.window_secs AND l.revision >= r.revision)
";

/// Spark cannot broadcast the left side of an anti-join, and would shuffle every window against the
/// few revisions: there the windows that have one are looked up first.
const LATEST_IN_LATENCY: &str = "  SELECT 1 FROM latency l\n";
const LATEST_OF_REVISED: &str = "  SELECT 1 FROM (
    SELECT o.* FROM latency o LEFT SEMI JOIN latency_revisions s
    ON s.tenant = o.tenant AND s.connection = o.connection AND s.prefix = o.prefix
      AND s.source = o.source AND s.statistic = o.statistic AND s.window_start = o.window_start
      AND s.window_secs = o.window_secs) l\n";

fn latency_final(engine: Engine) -> String {
    let query = LATENCY_FINAL.trim();
    match engine {
        Engine::Spark => query.replace(LATEST_IN_LATENCY, LATEST_OF_REVISED),
        _ => query.to_owned(),
    }
}

const KEYS: &str = "tenant, connection, prefix, source, statistic";

const QUANTILES: [(&str, &str); 4] =
    [("0.5", "rtt_p50_us"), ("0.9", "rtt_p90_us"), ("0.95", "rtt_p95_us"), ("0.99", "rtt_p99_us")];

fn latency_quantiles(engine: Engine) -> String {
    let columns = |spell: &dyn Fn(&str, &str) -> String| {
        QUANTILES.map(|(q, name)| spell(q, name)).join(",\n  ")
    };
    if engine == Engine::Ours {
        let columns = columns(&|q, name| format!("hdr_quantile(m, {q}) AS {name}"));
        return format!(
            "SELECT {KEYS}, hdr_count(m) AS samples,\n  {columns}\nFROM (\n  \
             SELECT {KEYS}, hdr_merge(hist_bucket, hist_count) AS m FROM latency_final\n  \
             WHERE samples > 0\n  GROUP BY {KEYS})"
        );
    }
    let columns = columns(&|q, name| {
        let rank = match engine {
            // A decimal would be multiplied exactly; the rank is one of doubles everywhere.
            Engine::DuckDb | Engine::Spark => format!("ceil(CAST({q} AS DOUBLE) * total)"),
            _ => format!("ceil({q} * total)"),
        };
        format!("min(CASE WHEN up_to >= {rank} THEN bucket END) AS {name}")
    });
    let pairs = match engine {
        Engine::Spark => "inline(arrays_zip(hist_bucket, hist_count)) AS (bucket, n)",
        _ => "unnest(hist_bucket) AS bucket, unnest(hist_count) AS n",
    };
    format!(
        "SELECT {KEYS}, CAST(max(total) AS BIGINT) AS samples,\n  {columns}\nFROM (\n  \
         SELECT {KEYS}, bucket,\n    \
         sum(n) OVER (PARTITION BY {KEYS} ORDER BY bucket) AS up_to,\n    \
         sum(n) OVER (PARTITION BY {KEYS}) AS total\n  FROM (\n    \
         SELECT {KEYS}, bucket, sum(n) AS n\n    FROM (\n      \
         SELECT {KEYS}, {pairs}\n      \
         FROM latency_final)\n    GROUP BY {KEYS}, bucket))\nGROUP BY {KEYS}"
    )
}

fn incidents(engine: Engine) -> String {
    let micros = |column: &str| match engine {
        Engine::DuckDb => format!("epoch_us({column})"),
        Engine::Spark => format!("unix_micros({column})"),
        Engine::Ours | Engine::DataFusion => format!("CAST({column} AS BIGINT)"),
    };
    let divide = match engine {
        Engine::DuckDb => "//",
        Engine::Spark => "div",
        Engine::Ours | Engine::DataFusion => "/",
    };
    let verdict = "coalesce(m.verdict, f.verdict) AS verdict";
    let columns = match engine {
        Engine::Spark => each_finding_column(verdict),
        _ => format!("f.* REPLACE ({verdict})"),
    };
    format!(
        "SELECT {columns},\n  \
         ({} - {}) {divide} 1000000 AS duration_secs\nFROM findings f\n\
         JOIN (SELECT finding_id, max(sequence) AS sequence FROM findings GROUP BY finding_id) last\n  \
         ON f.finding_id = last.finding_id AND f.sequence = last.sequence\n\
         LEFT JOIN (SELECT w.finding_id, w.verdict FROM marks w\n  \
         JOIN (SELECT finding_id, max(mark) AS mark FROM marks GROUP BY finding_id) said\n  \
         ON w.finding_id = said.finding_id AND w.mark = said.mark) m\n  \
         ON f.finding_id = m.finding_id",
        micros("f.closed_at"),
        micros("f.opened_at"),
    )
}

/// The columns of `findings` with another verdict, for who knows no REPLACE.
fn each_finding_column(verdict: &str) -> String {
    let columns = (tables::FINDINGS.columns)();
    let names = columns.iter().map(|column| column.name).chain(["date"]);
    let columns: Vec<_> = names
        .map(|name| if name == "verdict" { verdict.to_owned() } else { format!("f.{name}") })
        .collect();
    folded(&columns)
}

/// A list of columns, broken into lines.
pub(super) fn folded(names: &[String]) -> String {
    let mut text = String::new();
    let mut width = 0;
    for (at, name) in names.iter().enumerate() {
        if at > 0 {
            text.push(',');
            if width + name.len() > 90 {
                text.push_str("\n  ");
                width = 0;
            } else {
                text.push(' ');
            }
        }
        text.push_str(name);
        width += name.len() + 2;
    }
    text
}

const OPEN_FINDINGS: &str = "
SELECT * FROM incidents WHERE phase IN ('opened', 'updated', 'reopened') AND closed_at IS NULL
";
