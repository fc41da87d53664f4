//! The same inputs give the same files, whatever the order, the folder or the kills; for another
//! number of shards the same rows.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::fs;

use support::{Bench, assert_same_files};

const INPUTS: [&str; 3] = ["in/rib.mrt", "in/updates.mrt", "in/rtt.jsonl"];

fn replay(bench: &Bench, lake: &str, shards: &str, inputs: &[&str]) {
    let head = ["replay", "--config", "in/peerscope.toml", "--lake", lake, "--shards", shards];
    let arguments: Vec<&str> = head.into_iter().chain(inputs.iter().copied()).collect();
    bench.expect(0, &arguments);
}

#[test]
fn swapped_arguments_and_another_folder_give_the_same_bytes() {
    let bench = Bench::with_demo_inputs();
    replay(&bench, "a", "1", &INPUTS);
    replay(&bench, "b", "1", &[INPUTS[2], INPUTS[0], INPUTS[1]]);
    assert_same_files(&bench.path("a"), &bench.path("b"));
    fs::create_dir(bench.path("moved")).unwrap();
    for input in INPUTS {
        fs::copy(bench.path(input), bench.path(&input.replace("in/", "moved/"))).unwrap();
    }
    replay(&bench, "c", "1", &["moved"]);
    assert_same_files(&bench.path("a"), &bench.path("c"));
}

#[test]
fn any_number_of_shards_gives_the_same_rows() {
    let bench = Bench::with_demo_inputs();
    let tables = [
        ("route_updates", "event_time, source, source_offset, peer_ip, prefix, action"),
        ("latency", "connection, prefix, source, window_start"),
        ("findings", "time, finding_id, sequence"),
        (
            "evidence",
            "finding_id, sequence, term, collector, peer_asn, source, source_offset, detail",
        ),
        ("sessions", "time, collector, source, source_offset, state"),
        ("connections", "version, connection, prefix"),
    ];
    let rows = |lake: &str| -> Vec<Vec<String>> {
        tables
            .iter()
            .map(|(table, order)| {
                let sql = format!("select * exclude (date) from {table} order by {order}");
                let arguments = ["sql", "--lake", lake, "--format", "nd-json", "-c", &sql];
                let done = bench.expect(0, &arguments);
                support::stdout(&done).lines().map(str::to_owned).collect()
            })
            .collect()
    };
    replay(&bench, "one", "1", &INPUTS);
    let one = rows("one");
    assert!(one.iter().all(|rows| !rows.is_empty()), "every table has rows to compare");
    for shards in ["3", "12"] {
        let lake = format!("shards-{shards}");
        replay(&bench, &lake, shards, &INPUTS);
        for ((table, _), (one, more)) in tables.iter().zip(one.iter().zip(rows(&lake))) {
            assert_eq!(one.len(), more.len(), "{table} with {shards} shards");
            for (a, b) in one.iter().zip(&more) {
                assert_eq!(a, b, "{table} with {shards} shards");
            }
        }
    }
}
