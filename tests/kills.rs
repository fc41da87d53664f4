//! `kill -9` at named points of the running service, half of them in the middle of a write: afterwards
//! the lake holds what one undisturbed fold of the same log makes, and the log every record of the
//! sources once. Compactions of the same lake are killed beside it. `PEERSCOPE_KILLS` says how many kills; the default is for every run of the tests.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing
)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::slices::Slices;
use support::{Bench, assert_same_rows};

const KILLS: u32 = 24;
/// Seconds before now at which the log begins: days that are over can be compacted.
const PAST: usize = 4 * 86_400;
/// How long a service lives at most.
const LIFE: Duration = Duration::from_millis(2_500);
/// Points of the service, with the number of times that a short run comes to each.
const POINTS: [(&str, usize); 11] = [
    ("log_append", 6),
    ("log_roll", 1),
    ("log_release", 1),
    ("summary", 4),
    ("buffer", 8),
    ("encode", 5),
    ("put", 9),
    ("footer_read", 6),
    ("snapshot", 3),
    ("offset_publish", 6),
    ("findings_commit", 1),
];
/// Those at which half of a write is a case of its own.
const WRITES: [&str; 4] = ["log_append", "log_roll", "summary", "put"];
const TABLES: [&str; 10] = [
    "route_updates",
    "latency",
    "latency_5m",
    "latency_1h",
    "findings",
    "evidence",
    "sessions",
    "visibility",
    "connections",
    "rib",
];
/// Without the route in force, which depends on how far the log was when a window closed; and with late samples
/// counted: a slice of routes may pass a window before the samples of that time are given. Without what is usual: it
/// is forgotten by log time, months ahead of these samples.
const LATENCY: &str = "select * exclude (date, route_epoch, route_role, as_hops, ingress_edge, revision, \
                       baseline_p50_us, baseline_p95_us) \
                       from latency_final where samples > 0 \
                       order by connection, prefix, source, window_start";
const ROUTES: &str = "select event_time, source_offset, peer_asn, peer_ip, action, prefix, path_id, \
                      as_path_text, next_hop, communities, disposition, connection \
                      from route_updates order by event_time, peer_ip, prefix, action, as_path_text";

fn run(lake: &str) -> [&str; 6] {
    ["run", "--config", "in/run.toml", "--until-done", "--lake", lake]
}

/// All rows of a table in an order of their own.
fn table(bench: &Bench, lake: &str, table: &str) -> Vec<String> {
    let mut rows = bench.rows(lake, &format!("select * exclude (date) from {table}"));
    rows.sort();
    rows
}

/// Kills the service again and again, one more slice each time; how often at each point. Whoever does
/// not come to its point within [`LIFE`] is killed where it is.
fn kill_over_and_over(slices: &Slices, kills: usize) -> BTreeMap<String, usize> {
    let bench = &slices.bench;
    let log = bench.path("kills");
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for kill in 0..kills {
        let (point, times) = POINTS[kill % POINTS.len()];
        let times = 1 + (kill / POINTS.len() * 7) % times;
        let half =
            if WRITES.contains(&point) && kill / POINTS.len() % 2 == 1 { ":half" } else { "" };
        slices.give(1 + slices.names.len() * kill / kills);
        let mut command = bench.command(&["run", "--config", "in/run.toml", "--lake", "lake"]);
        command.env("PEERSCOPE_KILL_AT", format!("{point}:{times}{half}"));
        command.env("PEERSCOPE_KILL_LOG", &log);
        command.env("PEERSCOPE_CLOCK_BEHIND_SECS", ((kills - kill) * PAST / kills).to_string());
        let told = fs::File::create(bench.path("told")).unwrap();
        let mut child = command.stdout(Stdio::null()).stderr(told).spawn().unwrap();
        // A lake that is not there yet cannot be compacted.
        let compaction = (kill > POINTS.len()).then(|| slices.compact(kill));
        let began = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if began.elapsed() > LIFE {
                *counts.entry("elsewhere".to_owned()).or_default() += 1;
                child.kill().unwrap();
                break child.wait().unwrap();
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        compaction.into_iter().for_each(|child| slices.compacted(child));
        let told = fs::read_to_string(bench.path("told")).unwrap();
        assert_eq!(status.code(), None, "{point}:{times}{half}: {told}");
    }
    for line in fs::read_to_string(&log).unwrap().lines() {
        *counts.entry(line.to_owned()).or_default() += 1;
    }
    counts
}

/// The service with settings of its log, killed over and over, and then run to its end.
fn killed(log: &str) -> Slices {
    let settings = format!(
        "[log]\nbackfill_after_secs = 4000000000\n{log}\n\
         [lake]\ncommit_secs = 1\nsnapshot_secs = 1\n"
    );
    let kills = support::kills(KILLS) as usize;
    let slices = Slices::new(kills, &settings);
    let counts = kill_over_and_over(&slices, kills);
    println!("{counts:?}");
    slices.give(slices.names.len());
    slices.bench.expect(0, &run("lake"));
    let done = slices.bench.expect(0, &["lake", "verify", "--lake", "lake"]);
    println!("{}", support::stdout(&done));
    slices
}

/// The rows are those of a replay of the same files.
fn is_as_a_replay(bench: &Bench) {
    let parts = ["replay", "--config", "in/run.toml", "parts", "--lake", "replayed"];
    bench.expect(0, &parts);
    for (sql, name) in [
        (LATENCY, "latency of a replay"),
        (ROUTES, "routes of a replay"),
        (support::LEDGER, "what a replay counted"),
    ] {
        assert_same_rows(&bench.rows("lake", sql), &bench.rows("replayed", sql), name);
    }
}

/// The log keeps all of its records here, so that it can be folded again from its start.
#[test]
fn a_service_killed_at_every_point_makes_the_rows_of_an_undisturbed_fold_of_its_log() {
    let slices = killed("partitions = 2");
    let bench = &slices.bench;
    // The same log and summaries, folded once, without anybody in the way: what their order is, which
    // numbers the rows of `findings`, is decided when they become durable.
    let log = bench.path("peerscope-log");
    assert!(log.join("00000000000000000000.log").exists(), "all of it is there");
    fs::rename(&log, bench.path("log")).unwrap();
    let copied = Command::new("cp").arg("-r").args([bench.path("log"), log.clone()]).status();
    assert!(copied.unwrap().success());
    bench.expect(0, &run("undisturbed"));
    for name in TABLES {
        assert_same_rows(&table(bench, "lake", name), &table(bench, "undisturbed", name), name);
    }
    is_as_a_replay(bench);
}

/// Segments are small here and let go behind snapshots: what is gone is not needed.
#[test]
fn a_killed_service_that_lets_go_of_its_log_tells_each_record_once() {
    let slices = killed("segment_bytes = 4096");
    let bench = &slices.bench;
    let first = bench.path("peerscope-log/00000000000000000000.log");
    assert!(!first.exists(), "segments went");
    is_as_a_replay(bench);
}
