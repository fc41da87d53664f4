//! `replay --append`: archives that come one after the other into one lake say what they say together;
//! what the lake has is passed over, and a window that it has is revised.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::fs;
use std::process::Stdio;

use support::{Bench, assert_same_files, mrt_records, stderr, stdout};

/// In the middle of a minute, 30 minutes into the demo.
const CUT: &str = "2026-03-04T10:30:30";
const CUT_SECS: u32 = 1_772_620_230;

const ROUTES: &str = "select event_time, peer_asn, peer_ip, action, prefix, path_id, as_path_text, \
                      next_hop, communities, disposition, connection, rpki_state \
                      from route_updates order by event_time, peer_ip, prefix, action, as_path_text";
/// What became of each finding. What it cost may be told with more minutes after the cut.
const FINDINGS: &str = "select finding_id, rule, prefix, connection, culprit_asn, opened_at, closed_at \
                        from incidents order by finding_id";
const WINDOWS: &str = "select connection, prefix, source, window_start, samples, lost, rtt_min_us, \
                       rtt_max_us from latency_final order by connection, prefix, source, window_start";
const EXACT: &str = "select connection, prefix, source, window_start, rtt_p50_us, rtt_p95_us, jitter_us \
                     from latency_final where not (window_start = timestamp '2026-03-04T10:30:00Z') \
                     order by connection, prefix, source, window_start";

/// The demo's inputs in two folders, cut in the middle of a minute.
fn halves() -> Bench {
    let bench = Bench::with_demo_inputs();
    for folder in ["first", "second"] {
        fs::create_dir(bench.path(folder)).unwrap();
    }
    fs::rename(bench.path("in/rib.mrt"), bench.path("first/rib.mrt")).unwrap();
    let is_late =
        |record: &Vec<u8>| u32::from_be_bytes(record[..4].try_into().unwrap()) >= CUT_SECS;
    let records = mrt_records(&fs::read(bench.path("in/updates.mrt")).unwrap());
    let (late, early): (Vec<_>, Vec<_>) = records.into_iter().partition(is_late);
    bench.write("first/updates-1.mrt", early.concat());
    bench.write("second/updates-2.mrt", late.concat());
    let samples = fs::read_to_string(bench.path("in/rtt.jsonl")).unwrap();
    let is_late = |line: &&str| line.get(9..).unwrap() >= CUT;
    let (late, early): (Vec<_>, Vec<_>) = samples.lines().partition(is_late);
    bench.write("first/rtt-1.jsonl", early.join("\n"));
    bench.write("second/rtt-2.jsonl", late.join("\n"));
    bench
}

fn replay<'a>(lake: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["replay", "--config", "in/peerscope.toml", "--lake", lake], more].concat()
}

/// Both halves, one after the other.
fn append(bench: &Bench, lake: &str, shards: &str) {
    bench.expect(0, &replay(lake, &["--shards", shards, "first"]));
    bench.expect(0, &replay(lake, &["--append", "second"]));
}

#[test]
fn archives_one_after_the_other_say_what_they_say_together() {
    let bench = halves();
    bench.expect(0, &replay("together", &["first", "second"]));
    for shards in ["1", "3"] {
        let lake = format!("lake-{shards}");
        append(&bench, &lake, shards);
        for sql in [ROUTES, FINDINGS, WINDOWS, EXACT] {
            let (told, wanted) = (bench.ask(&lake, sql), bench.ask("together", sql));
            let differ = told.iter().zip(&wanted).find(|(told, wanted)| told != wanted);
            assert_eq!(differ, None, "{shards} shards, {sql}");
            assert_eq!(told.len(), wanted.len(), "{sql}");
            assert!(wanted.len() > 5, "there is something to compare");
        }
        // The minute of the cut: a first row of each half, the second one as a revision of both.
        let revised = "select count(*), min(revision), max(revision), bool_or(exact), \
                       min(window_start) = max(window_start) from latency_revisions";
        let told = bench.ask(&lake, revised);
        let count: u32 = told[0].split(',').next().unwrap().parse().unwrap();
        assert!(count > 10 && told[0].ends_with(",1,1,false,true"), "{told:?}");
        bench.expect(0, &["lake", "verify", "--lake", &lake]);
    }
}

#[test]
fn what_the_lake_has_is_passed_over_and_told() {
    let bench = halves();
    append(&bench, "lake", "1");
    let before = support::files(&bench.path("lake"));
    let told = stdout(&bench.expect(0, &replay("lake", &["--append", "first", "second"])));
    assert!(
        told.contains("rib.mrt: passed over") && told.contains("rtt-2.jsonl: passed over"),
        "{told}"
    );
    assert!(told.contains("nothing to do"), "{told}");
    assert_eq!(support::files(&bench.path("lake")), before);
    // One more, with one that is there: a third log that holds the new one only.
    bench.write(
        "more.jsonl",
        r#"{"time":"2026-03-04T11:00:10Z","ip":"198.51.100.171","rtt_us":6437,"source":"x"}"#,
    );
    let told = stdout(&bench.expect(0, &replay("lake", &["--append", "first", "more.jsonl"])));
    assert!(told.contains("rib.mrt: passed over") && told.contains("more.jsonl: 1 read"), "{told}");
    let (routes, both) =
        ("select count(*) from route_updates", support::files(&bench.path("lake")));
    let again = stdout(&bench.expect(0, &replay("lake", &["--append", "more.jsonl"])));
    assert!(again.contains("nothing to do"), "{again}");
    assert_eq!(support::files(&bench.path("lake")), both);
    bench.expect(0, &replay("together", &["first", "second"]));
    assert_eq!(bench.ask("lake", routes), bench.ask("together", routes));
    bench.expect(0, &["lake", "verify", "--lake", "lake"]);
}

#[test]
fn an_append_that_is_killed_and_run_again_leaves_the_files_of_an_undisturbed_one() {
    let bench = halves();
    append(&bench, "undisturbed", "1");
    bench.expect(0, &replay("lake", &["first"]));
    for (point, times) in
        [("put", 1), ("put", 4), ("encode", 6), ("put", 9), ("snapshot", 1), ("snapshot", 4)]
    {
        let mut command = bench.command(&replay("lake", &["--append", "second"]));
        command.env("PEERSCOPE_KILL_AT", format!("{point}:{times}"));
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        assert_eq!(status.code(), None, "{point}:{times}");
    }
    // Another one must not come between.
    let other = bench.expect(1, &replay("lake", &["--append", "in/rtt.jsonl"]));
    assert!(stderr(&other).contains("another `replay --append` has begun"), "{}", stderr(&other));
    bench.expect(0, &replay("lake", &["--append", "second"]));
    assert_same_files(&bench.path("undisturbed"), &bench.path("lake"));
}

#[test]
fn what_cannot_be_added_to_is_refused_with_a_remedy() {
    let bench = halves();
    let refused = |lake: &str, more: &[&str], wanted: &str| {
        let done = bench.expect(1, &replay(lake, more));
        assert!(stderr(&done).contains(wanted), "{}", stderr(&done));
    };
    bench.expect(0, &replay("lake", &["first"]));
    refused("lake", &["second"], "add to it with `replay --append`");
    refused("lake", &["--append", "--shards", "2", "second"], "it has 1 shards");
    let mut command = bench.command(&replay("part", &["first"]));
    command.env("PEERSCOPE_KILL_AT", "put:4");
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), None);
    refused("part", &["--append", "second"], "run the same replay again first");
    fs::remove_dir_all(bench.path("lake/_peerscope/snapshots")).unwrap();
    refused("lake", &["--append", "second"], "the state at the end of its replay is not kept");
    let config = fs::read_to_string(bench.path("in/peerscope.toml")).unwrap();
    let source = "[source.a]\nkind = \"folder\"\npaths = [\"../first/rtt-1.jsonl\"]\n";
    bench.write("in/run.toml", format!("{config}\n{source}"));
    bench.expect(0, &["run", "--config", "in/run.toml", "--until-done", "--lake", "live"]);
    refused("live", &["--append", "second"], "it is not the lake of a replay");
    // An empty place is a lake of one replay.
    bench.expect(0, &replay("new", &["--append", "first"]));
}
