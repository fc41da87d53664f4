//! `peerscope lake`: verified, compacted, purged, exported; killed and watched while at it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "lake/compaction.rs"]
mod compaction;
#[path = "lake/old.rs"]
mod old;
#[path = "lake/remote.rs"]
mod remote;
mod support;

use std::fs;

use support::{Bench, files, stderr, stdout};

/// Every file of a table in the demo's lake.
fn table_files(bench: &Bench, table: &str) -> Vec<std::path::PathBuf> {
    let folder = bench.path("demo-lake").join(table);
    let mut found: Vec<_> = files(&folder).into_keys().map(|name| folder.join(name)).collect();
    found.sort();
    found
}

#[test]
fn a_whole_lake_is_clean_and_says_what_was_compared() {
    let bench = Bench::with_demo_inputs();
    let said = stdout(&bench.expect(0, &["lake", "verify", "--lake", "demo-lake"]));
    assert!(
        said.contains("route_updates: 439 rows of 2 sources held against what ledger"),
        "{said}"
    );
    assert!(said.contains("latency: 89413 samples held against what ledger accepted"), "{said}");
    assert!(said.contains("clean: 19 tables, 19 chains, 19 files"), "{said}");
    let said =
        stdout(&bench.expect(0, &["lake", "verify", "--lake", "demo-lake", "--format", "json"]));
    assert_eq!(said.trim(), "[]");
    bench.expect(0, &["lake", "verify", "--quick", "--lake", "demo-lake"]);
    let missing = bench.expect(1, &["lake", "verify", "--lake", "nowhere"]);
    assert!(stderr(&missing).contains("peerscope demo"), "{}", stderr(&missing));
}

#[test]
fn damage_is_told_as_a_list_and_by_the_exit_code() {
    let bench = Bench::with_demo_inputs();
    let [updates] = <[_; 1]>::try_from(table_files(&bench, "route_updates")).unwrap();
    let whole = fs::read(&updates).unwrap();
    fs::write(&updates, &whole[..whole.len() / 2]).unwrap();
    let verify = ["lake", "verify", "--lake", "demo-lake", "--format", "csv"];
    let said = stdout(&bench.expect(65, &verify));
    assert!(
        said.contains("damage,unreadable,route_updates,route_updates/date=2026-03-04/"),
        "{said}"
    );
    assert!(said.contains("damage,row_count,route_updates"), "{said}");
    fs::remove_file(&updates).unwrap();
    let said = stdout(&bench.expect(65, &verify));
    assert!(said.contains("0 rows, 439 when the replay ended"), "{said}");
    fs::write(&updates, &whole).unwrap();

    // Rows that a hand took out, the row count mended with them: the ledger knows.
    let [latency] = <[_; 1]>::try_from(table_files(&bench, "latency")).unwrap();
    fs::remove_file(latency).unwrap();
    let ends = fs::read_dir(bench.path("demo-lake/_peerscope/logs")).unwrap();
    for end in ends.map(|entry| entry.unwrap().path()) {
        let text = fs::read_to_string(&end).unwrap();
        fs::write(&end, text.replace("\"latency\": 1080", "\"latency\": 0")).unwrap();
    }
    let said = stdout(&bench.expect(65, &verify));
    assert!(said.contains("damage,ledger,latency"), "{said}");
    assert_eq!(said.lines().count(), 2, "{said}");
}

#[test]
fn tables_and_stats_count_what_is_there() {
    let bench = Bench::with_demo_inputs();
    let tables = ["lake", "tables", "--lake", "demo-lake", "--format", "csv"];
    let said = stdout(&bench.expect(0, &tables));
    assert!(said.contains("\nroute_updates,1,1,0,0,439,"), "{said}");
    assert_eq!(said.lines().count(), 20, "{said}");
    let stats = ["lake", "stats", "--lake", "demo-lake", "--format", "json"];
    let said = stdout(&bench.expect(0, &stats));
    assert!(said.contains("\"end_offset\""), "{said}");
    assert!(!bench.path("demo-lake/_peerscope/tables.sql").exists());
    bench.expect(0, &["lake", "tables", "--publish", "--lake", "demo-lake"]);
    let published = fs::read_to_string(bench.path("demo-lake/_peerscope/tables.sql")).unwrap();
    for file in table_files(&bench, "latency") {
        let key = file.strip_prefix(bench.path("demo-lake")).unwrap().display().to_string();
        assert!(published.contains(&format!("('{key}')")), "{published}");
    }
}

#[test]
fn an_export_is_a_lake_of_one_tenant_and_no_other() {
    let bench = Bench::with_demo_inputs();
    let export = ["lake", "export", "--lake", "demo-lake", "--tenant", "contoso", "--to"];
    let done = bench.expect(0, &[&export[..], &["out"]].concat());
    assert!(stdout(&done).contains("latency 300"), "{}", stdout(&done));
    bench.expect(0, &["lake", "verify", "--lake", "out"]);
    for (name, bytes) in files(&bench.path("out")) {
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("fabrikam") && !text.contains("northwind"), "{name}");
    }
    for table in ["latency", "findings", "evidence", "rib", "route_updates", "connections"] {
        let count = format!("select count(*), min(tenant), max(tenant) from {table}");
        let tenant = ["sql", "--lake", "demo-lake", "--tenant", "contoso", "--format", "csv", "-c"];
        let his = stdout(&bench.expect(0, &[&tenant[..], &[count.as_str()]].concat()));
        let his: Vec<_> = his.lines().skip(1).map(str::to_owned).collect();
        assert_eq!(bench.ask("out", &count), his, "{table}");
        assert!(his[0].ends_with(",contoso,contoso"), "{table}: {his:?}");
    }
    let again = bench.expect(1, &[&export[..], &["out"]].concat());
    assert!(stderr(&again).contains("take another --to"), "{}", stderr(&again));
    let wrong = ["lake", "export", "--lake", "demo-lake", "--tenant", "contos", "--to", "out2"];
    let wrong = bench.expect(1, &wrong);
    assert!(stderr(&wrong).contains("it has contoso, fabrikam, northwind"), "{}", stderr(&wrong));
    assert!(!bench.path("out2").exists());
}

#[test]
fn an_export_of_a_span_and_a_table_holds_just_that() {
    let bench = Bench::with_demo_inputs();
    let export = [
        "lake",
        "export",
        "--lake",
        "demo-lake",
        "--tenant",
        "contoso",
        "--to",
        "out",
        "--table",
        "latency",
        "--since",
        "2026-03-04T10:10:00Z",
        "--until",
        "2026-03-04T10:20:00Z",
    ];
    bench.expect(0, &export);
    let span = "select count(*), min(window_start), max(window_start) from latency";
    let wanted = "50,2026-03-04T10:10:00Z,2026-03-04T10:19:00Z";
    assert_eq!(bench.ask("out", span), [wanted]);
    assert_eq!(bench.ask("out", "select count(*) from findings"), ["0"]);
    let table = bench.expect(2, &["lake", "compact", "--table", "latencies", "--lake", "out"]);
    assert!(stderr(&table).contains("did you mean latency?"), "{}", stderr(&table));
}
