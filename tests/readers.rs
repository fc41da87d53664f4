//! A lake of the demo as other people's engines read it: the same questions, the same answers.
//!
//! The stock `datafusion-cli` and DuckDB get nothing of ours but the lake and the DDL that lies in
//! it. `.ci/readers` installs them; where they are missing a test says so and passes, except in CI.

#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf, absolute};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

const VIEWS: [&str; 4] = ["incidents", "latency_final", "latency_quantiles", "open_findings"];

const FINDINGS: &str = "select finding_id, sequence, phase, kind, rule, severity, confidence, \
    prefix, connection, culprit_asn, witnesses, explanation \
    from findings order by finding_id, sequence";

/// Nearest rank over the merged histograms, in integers, without a function of ours.
const P95: &str = "select connection, prefix, min(bucket) as p95_us from ( \
      select connection, prefix, bucket, \
        sum(n) over (partition by connection, prefix order by bucket) as upto, \
        sum(n) over (partition by connection, prefix) as total from ( \
          select connection, prefix, bucket, sum(n) as n from ( \
            select connection, prefix, unnest(hist_bucket) as bucket, unnest(hist_count) as n \
            from latency) as pairs \
          group by connection, prefix, bucket) as merged) as ranked \
    where upto * 100 >= total * 95 group by connection, prefix order by connection, prefix";

const P95_BY_FUNCTION: &str = "select connection, prefix, \
      hdr_quantile(hdr_merge(hist_bucket, hist_count), 0.95) as p95_us from latency \
    where samples > 0 group by connection, prefix order by connection, prefix";

const DUCKDB: &str = r#"
import csv, duckdb, sys
database = duckdb.connect()
database.execute(open("_peerscope/duckdb.sql").read())
answer = database.execute(sys.stdin.read())
out = csv.writer(sys.stdout, lineterminator="\n")
out.writerow(column[0] for column in answer.description)
out.writerows(answer.fetchall())
"#;

#[test]
fn our_functions_and_plain_sql_give_the_same_percentiles() {
    assert_eq!(ours(P95_BY_FUNCTION), ours(P95));
}

#[test]
fn the_stock_datafusion_cli_gives_our_answers() {
    let Some(cli) = tool("datafusion-cli", "bin/datafusion-cli") else {
        return;
    };
    for question in questions() {
        let mut command = Command::new(&cli);
        command.args(["--quiet", "--format", "csv", "-r", "_peerscope/datafusion.sql"]);
        // Its shell closes with a line `\q`.
        let mut answer = ask(&mut command, &format!("{question};\n"));
        answer.retain(|line| line != "\\q");
        assert_eq!(answer, ours(&question), "{question}");
    }
}

#[test]
fn duckdb_gives_our_answers() {
    let Some(python) = tool("DuckDB", "venv/bin/python") else {
        return;
    };
    for question in questions() {
        let mut command = Command::new(&python);
        let answer = ask(command.args(["-c", DUCKDB]), &question);
        assert_eq!(answer, ours(&question), "{question}");
    }
}

/// Rows of every table and view, all findings, and a percentile by prefix.
fn questions() -> [String; 3] {
    let relations = tables().into_iter().chain(VIEWS.map(str::to_owned));
    let counts =
        relations.map(|name| format!("select '{name}' as name, count(*) as n from {name}"));
    let counts = counts.collect::<Vec<_>>().join(" union all ");
    [format!("{counts} order by name"), FINDINGS.to_owned(), P95.to_owned()]
}

/// The tables that the lake holds, as any engine finds them: folders with a partition.
fn tables() -> Vec<String> {
    let holds_partition = |folder: &Path| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut names = entries.map(|entry| entry.file_name());
        names.any(|name| name.to_string_lossy().starts_with("date="))
    };
    let entries = fs::read_dir(lake()).expect("the lake can be read").flatten();
    let folders = entries.filter(|entry| holds_partition(&entry.path()));
    let tables: Vec<_> = folders.map(|entry| entry.file_name().to_string_lossy().into()).collect();
    assert!(tables.len() >= 5, "a lake of five tables or more: {tables:?}");
    tables
}

fn ours(question: &str) -> Vec<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_peerscope"));
    command.args(["sql", "--lake", ".", "--format", "csv", "-c", question]);
    ask(&mut command, "")
}

/// Runs an engine in the lake and returns its CSV lines: a header and at least one row.
fn ask(engine: &mut Command, input: &str) -> Vec<String> {
    let piped = engine.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.current_dir(lake()).spawn().expect("the engine starts");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    // An engine that does not listen has its answer in its arguments.
    stdin.write_all(input.as_bytes()).ok();
    drop(stdin);
    let output = child.wait_with_output().expect("the engine ends");
    let answer = String::from_utf8(output.stdout).expect("an answer is text");
    let lines: Vec<String> = answer.lines().map(str::to_owned).collect();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && lines.len() > 1, "{answer}\n{complaint}");
    lines
}

/// The demo's lake, made once for all tests of this file.
fn lake() -> &'static Path {
    static LAKE: OnceLock<PathBuf> = OnceLock::new();
    LAKE.get_or_init(|| {
        let lake = Path::new(env!("CARGO_TARGET_TMPDIR")).join("readers");
        fs::remove_dir_all(&lake).ok();
        let mut demo = Command::new(env!("CARGO_BIN_EXE_peerscope"));
        let made = demo.arg("demo").arg("--lake").arg(&lake).output().expect("peerscope starts");
        let complaint = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "peerscope demo: {complaint}");
        lake
    })
}

/// Where `.ci/readers` put an engine: `$PEERSCOPE_TOOLS`, else `tools` in cargo's target folder.
fn tool(name: &str, path: &str) -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
    let tools = std::env::var_os("PEERSCOPE_TOOLS").map(PathBuf::from);
    let found = tools.or(target.map(|target| target.join("tools"))).map(|tools| tools.join(path));
    let installed = found.filter(|path| path.exists()).and_then(|path| absolute(path).ok());
    if installed.is_none() {
        let missing = format!("{name} is not installed, run .ci/readers");
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{missing}");
        println!("skipped: {missing}");
    }
    installed
}
