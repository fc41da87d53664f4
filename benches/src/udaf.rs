//! Histograms of a lake as a contest: a million rows merged into four quantiles, whole and by group.
//!
//! The generator writes a `latency` table as the lake has it: in each file all prefixes, some minutes of
//! each, a row of log-normal round trips as a histogram. It merges them itself and writes down what
//! the right answers are. A contestant is a query in `peerscope sql`, or in DuckDB, over these files;
//! the scan of the two columns is what every one of them has to do at least.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use analytics::lake::encode::{Span, encode};
use analytics::lake::layout::INTERNAL;
use analytics::latency::histogram::Counts;
use peerscope::simulator::random::Random;
use schemas::bgp::Prefix;
use schemas::tables::{self, LatencyRow, LatencySeries};
use schemas::time::{TimeWindow, Timestamp};

use crate::contest::{BenchError, Row, Section, Truth, race, write_input};
use crate::job::{Job, Programs};
use crate::report::grouped;

const PREFIXES: u32 = 10_000;
const FILES: u32 = 20;
/// Windows of each prefix in a file.
const WINDOWS: u32 = 5;
const ROWS: u32 = PREFIXES * FILES * WINDOWS;
/// Samples of each window.
const SAMPLES: u32 = 60;
/// Rows whose samples are also written as they are.
const RAW_ROWS: u32 = 33_334;
const RAW_SAMPLES: u64 = RAW_ROWS as u64 * SAMPLES as u64;
/// Spread of the round trips, as a standard deviation of the logarithm.
const SIGMA: f64 = 0.5;
const SEED: u64 = 5;

const LAKE: &str = "histograms";
const RAW_LAKE: &str = "samples";
const RAW: &str = "samples.parquet";
const TRUTH: &str = "truth.txt";
const QUANTILES: [&str; 4] = ["0.5", "0.9", "0.95", "0.99"];

/// Reads a table of the lake in DuckDB.
const DUCKDB: &str = "import duckdb, sys\nduckdb.sql(\"set threads = 2\")\n\
    print('answer')\nprint(int(duckdb.sql(sys.argv[1]).fetchall()[0][0]))\n";

/// One contestant: a query that gives one number.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    contestant: String,
    /// DuckDB's Python; none: `peerscope sql`.
    duckdb: Option<PathBuf>,
    folder: PathBuf,
    sql: String,
    right: f64,
    /// Share by which an answer may be off.
    tolerance: f64,
}

impl Query {
    pub(crate) fn command(&self, programs: &Programs) -> Command {
        match &self.duckdb {
            Some(python) => {
                let mut command = Command::new(python);
                command.args(["-c", DUCKDB, &self.sql]);
                command
            }
            None => {
                let mut command = Command::new(&programs.peerscope);
                command.args(["sql", "--lake", LAKE, "--format", "tsv", "-c", &self.sql]);
                command
            }
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn contestant(&self) -> String {
        self.contestant.clone()
    }

    /// The rows that it went over if its answer is right.
    pub(crate) fn answer(&self, line: &str) -> Option<u64> {
        let told: f64 = line.trim().parse().ok()?;
        let is_right = (told - self.right).abs() <= self.tolerance * self.right;
        if !is_right {
            eprintln!("{} answers {told}, the right answer is {}", self.contestant, self.right);
        }
        is_right.then_some(ROWS.into())
    }
}

/// Writes the lake, the samples of some rows, and the right answers.
pub(crate) fn write(folder: &Path) -> io::Result<()> {
    let mut random = Random::new(SEED);
    let (mut all, mut of, mut pairs) =
        (Counts::default(), vec![Counts::default(); PREFIXES as usize], 0);
    let (mut raw, mut raw_all) = (Vec::new(), Counts::default());
    for file in 0..FILES {
        let mut rows = Vec::new();
        for (prefix, of_prefix) in (0..PREFIXES).zip(&mut of) {
            for window in 0..WINDOWS {
                let rtts = samples(&mut random, prefix);
                let mut counts = Counts::default();
                rtts.iter().for_each(|rtt| counts.add(*rtt, 1));
                all.merge(&counts);
                of_prefix.merge(&counts);
                let (buckets, counts): (Vec<u32>, Vec<u64>) = counts.iter().unzip();
                pairs += buckets.len() as u64;
                let counts = counts.into_iter().map(|n| u32::try_from(n).unwrap_or(u32::MAX));
                rows.push(row(prefix, file * WINDOWS + window, buckets, counts.collect()));
                if raw.len() < RAW_ROWS as usize {
                    rtts.iter().for_each(|rtt| raw_all.add(*rtt, 1));
                    raw.push(row(prefix, window, rtts, Vec::new()));
                }
            }
        }
        put(folder, LAKE, file, &mut rows)?;
    }
    put(folder, RAW_LAKE, 0, &mut raw)?;
    let sum = |counts: &Counts| -> u64 {
        let quantile = |q: &str| counts.quantile(q.parse().unwrap_or(0.5)).map_or(0, u64::from);
        QUANTILES.into_iter().map(quantile).sum()
    };
    let by_group: u64 = of.iter().map(sum).sum();
    let truth = [2 * pairs, sum(&all), by_group, sum(&raw_all)].map(|number| number.to_string());
    fs::write(folder.join(TRUTH), truth.join(" "))
}

/// Round trips of one window; each prefix has a median of its own, from 5 to 150 ms.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
fn samples(random: &mut Random, prefix: u32) -> Vec<u32> {
    let median = 5_000.0 * 30_f64.powf(f64::from(prefix) / f64::from(PREFIXES));
    let mut unit = || ((random.word() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    let mut rtt = || {
        // Box & Muller, Ann. Math. Statist. 29 (1958).
        let normal = (-2.0 * unit().ln()).sqrt() * (std::f64::consts::TAU * unit()).cos();
        (median * (SIGMA * normal).exp()) as u32
    };
    (0..SAMPLES).map(|_| rtt()).collect()
}

fn put(folder: &Path, lake: &str, file: u32, rows: &mut [LatencyRow]) -> io::Result<()> {
    fs::create_dir_all(folder.join(lake).join(INTERNAL))?;
    let folder = folder.join(lake).join("latency").join("date=2026-01-01");
    fs::create_dir_all(&folder)?;
    let span = Span { log: "bench".to_owned(), partition: 0, start: 0, end: 1 };
    let bytes = encode(rows, &tables::LATENCY.schema(), &span).map_err(io::Error::other)?;
    fs::write(folder.join(format!("{file:02}.parquet")), bytes)
}

fn row(prefix: u32, minute: u32, hist_bucket: Vec<u32>, hist_count: Vec<u32>) -> LatencyRow {
    let prefix = Prefix::v4_word(0x0a00_0000 + (prefix << 8), 24);
    let start = Timestamp::from_secs(1_767_225_600 + 60 * i64::from(minute));
    let series = LatencySeries {
        tenant: "default".into(),
        connection: "bench".into(),
        prefix,
        source: "probe".into(),
    };
    LatencyRow {
        samples: SAMPLES,
        quality: "low_n:p99",
        hist_bucket,
        hist_count,
        ..LatencyRow::silent(TimeWindow::containing(start, 60), series)
    }
}

/// The contest.
///
/// # Errors
/// If a process cannot be started or the files cannot be written.
pub(crate) fn section(programs: &Programs) -> Result<Section, BenchError> {
    let folder = tempfile::tempdir()?;
    eprintln!("writing {} histograms", grouped(ROWS.into()));
    write_input(programs, "histograms", folder.path())?;
    copy_samples(programs, folder.path())?;
    let truth = fs::read_to_string(folder.path().join(TRUTH))?;
    let truth: Vec<f64> = truth.split(' ').filter_map(|number| number.parse().ok()).collect();
    let [pairs, all, by_group, raw] =
        <[f64; 4]>::try_from(truth).map_err(|_| io::Error::other("no right answers"))?;
    let query = |contestant: &str, sql: String, right| Query {
        contestant: contestant.to_owned(),
        duckdb: None,
        folder: folder.path().to_owned(),
        sql,
        right,
        tolerance: 0.0,
    };
    let approx = query("approx_percentile_cont over raw samples", approx(), raw);
    let mut queries = vec![
        query(SCAN, SCAN_SQL.to_owned(), pairs),
        query("hdr_merge, 4 quantiles", ours(""), all),
        query("hdr_merge, 4 quantiles by 10,000 groups", ours("prefix"), by_group),
        query("plain SQL, 4 quantiles", plain("", "latency", ""), all),
        query("plain SQL, by 10,000 groups", plain("prefix", "latency", ""), by_group),
        Query { tolerance: 0.02, ..approx },
    ];
    let python = tools().join("venv/bin/python");
    let files = format!("read_parquet('{LAKE}/latency/*/*.parquet')");
    let theirs = [
        ("DuckDB, plain SQL", plain("", &files, "::DOUBLE"), all),
        ("DuckDB, plain SQL by 10,000 groups", plain("prefix", &files, "::DOUBLE"), by_group),
    ];
    let is_there = python.exists();
    for (contestant, sql, right) in theirs.iter().filter(|_| is_there) {
        let duckdb = Some(python.clone());
        queries.push(Query { duckdb, ..query(contestant, sql.clone(), *right) });
    }
    let jobs: Vec<Job> = queries.into_iter().map(Job::Query).collect();
    let mut rows = race(programs, &jobs, Truth { is_cut: false, answer: Some(ROWS.into()) })?;
    rows.extend(theirs.iter().filter(|_| !is_there).map(|(contestant, ..)| Row {
        contestant: (*contestant).to_owned(),
        runs: Err("not installed: .ci/readers".to_owned()),
    }));
    Ok(Section {
        name: "udaf",
        input: format!(
            "histograms: {} rows of {SAMPLES} log-normal samples, {} prefixes, {} pairs in {FILES} files",
            grouped(ROWS.into()),
            grouped(PREFIXES.into()),
            grouped((pairs / 2.0) as u64),
        ),
        unit: "rows",
        units: Some(ROWS.into()),
        peers: vec![SCAN.to_owned()],
        note: format!(
            "Each answers with the sum of its quantiles, which is that of histograms merged by the generator. \
             `approx_percentile_cont` goes over {} raw samples only, the others over {}; its answer may be \
             2 % off.",
            grouped(RAW_SAMPLES),
            grouped(u64::from(ROWS) * u64::from(SAMPLES)),
        ),
        rows,
    })
}

const SCAN: &str = "scan of the two columns";
const SCAN_SQL: &str =
    "select sum(array_length(hist_bucket)) + sum(array_length(hist_count)) as answer from latency";

/// With our functions, by a column or over all.
fn ours(by: &str) -> String {
    let sum = QUANTILES.map(|q| format!("hdr_quantile(m, {q})")).join(" + ");
    let (column, group) = by_clauses(by);
    format!(
        "select sum({sum}) as answer from \
         (select {column} hdr_merge(hist_bucket, hist_count) as m from latency {group})"
    )
}

/// Plain SQL as in the view `latency_quantiles`.
fn plain(by: &str, table: &str, double: &str) -> String {
    let sum = (0..QUANTILES.len()).map(|at| format!("q{at}")).collect::<Vec<_>>().join(" + ");
    let quantile = |(at, q): (usize, &str)| {
        format!("min(case when up_to >= ceil({q}{double} * total) then bucket end) as q{at}")
    };
    let quantiles: Vec<String> = QUANTILES.into_iter().enumerate().map(quantile).collect();
    let (column, group) = by_clauses(by);
    let partition = if by.is_empty() { String::new() } else { format!("partition by {by}") };
    let group_pairs =
        if by.is_empty() { "group by bucket".to_owned() } else { format!("{group}, bucket") };
    format!(
        "select sum({sum}) as answer from (select {column} {} from (\
         select {column} bucket, sum(n) over ({partition} order by bucket) as up_to, \
         sum(n) over ({partition}) as total from (\
         select {column} bucket, sum(n) as n from (\
         select {column} unnest(hist_bucket) as bucket, unnest(hist_count) as n from {table}) \
         {group_pairs})) {group})",
        quantiles.join(", "),
    )
}

fn by_clauses(by: &str) -> (String, String) {
    match by {
        "" => (String::new(), String::new()),
        by => (format!("{by},"), format!("group by {by}")),
    }
}

fn approx() -> String {
    let quantile = |q: &str| format!("approx_percentile_cont({q}) within group (order by rtt_us)");
    format!("select {} as answer from '{RAW}'", QUANTILES.map(quantile).join(" + "))
}

/// The samples of some rows as a file with one column.
fn copy_samples(programs: &Programs, folder: &Path) -> io::Result<()> {
    let sql = format!("copy (select unnest(hist_bucket) as rtt_us from latency) to '{RAW}'");
    let mut command = Command::new(&programs.peerscope);
    command.args(["sql", "--lake", RAW_LAKE, "-c", &sql]).current_dir(folder);
    match command.output()?.status.success() {
        true => Ok(()),
        false => Err(io::Error::other("the samples could not be copied")),
    }
}

/// Where `.ci/readers` installs other people's engines.
pub(crate) fn tools() -> PathBuf {
    let target = || PathBuf::from(std::env::var_os("CARGO_TARGET_DIR").unwrap_or("target".into()));
    let tools = std::env::var_os("PEERSCOPE_TOOLS").map(PathBuf::from);
    let tools = tools.unwrap_or_else(|| target().join("tools"));
    std::path::absolute(&tools).unwrap_or(tools)
}
