//! `peerscope decode` as a user types it: every format, damage in the middle, a reader who leaves.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::fs;
use std::io::Read as _;
use std::process::{Command, Stdio};

use support::{Bench, stderr, stdout};

/// A bench with the demo's inputs, and how many elements `updates.mrt` and `rib.mrt` have.
fn bench() -> (Bench, usize) {
    let bench = Bench::with_demo_inputs();
    let done = bench.expect(0, &["decode", "in/updates.mrt", "in/rib.mrt"]);
    let counts = stdout(&done);
    let elements = counts.lines().skip(1).map(|line| {
        let fields: Vec<&str> = line.split('\t').collect();
        fields[2].parse::<usize>().unwrap()
    });
    let elements = elements.sum();
    (bench, elements)
}

#[test]
fn every_format_has_every_element() {
    let (bench, elements) = bench();
    let lines = |format: &str| {
        let done = bench.expect(0, &["decode", "--format", format, "in/updates.mrt", "in/rib.mrt"]);
        stdout(&done)
    };
    let text = lines("bgpdump");
    let told = text.lines().filter(|line| !line.contains("|STATE|")).count();
    assert_eq!(told, elements);
    assert!(text.lines().any(|line| line.starts_with("TABLE_DUMP2|") && line.contains("|B|")));
    let text = lines("json");
    assert_eq!(text.lines().count(), elements);
    let row: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    for column in ["event_time", "peer_asn", "peer_ip", "action", "prefix", "path_id", "as_path"] {
        assert!(row.get(column).is_some(), "{column} is not in {row}");
    }
    assert!(row["path_id"].is_null() && row["as_path"].is_array(), "nulls are written: {row}");
    let text = lines("csv");
    assert_eq!(text.lines().count(), 1 + elements);
    assert!(text.starts_with("event_time,router_time,source,source_offset,"), "{text:.80}");
}

#[test]
fn parquet_goes_to_a_file_or_through_a_pipe_and_is_the_same() {
    let (bench, elements) = bench();
    let files = ["in/updates.mrt", "in/rib.mrt"];
    let said = [&["decode", "--format", "parquet", "--output", "e.parquet"][..], &files].concat();
    let done = bench.expect(0, &said);
    assert!(done.stdout.is_empty());
    let bytes = fs::read(bench.path("e.parquet")).unwrap();
    let piped = bench.expect(0, &[&["decode", "--format", "parquet"][..], &files].concat());
    assert_eq!(bytes, piped.stdout, "the same bytes either way");
    let file = fs::File::open(bench.path("e.parquet")).unwrap();
    let reader =
        datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file)
            .unwrap();
    let schema = reader.schema();
    assert!(schema.field_with_name("as_path").is_ok() && schema.field_with_name("tenant").is_err());
    let rows: usize = reader.build().unwrap().map(|batch| batch.unwrap().num_rows()).sum();
    assert_eq!(rows, elements);
}

#[test]
fn damage_in_the_middle_is_told_and_what_is_behind_it_is_printed() {
    let (bench, _) = bench();
    let whole = fs::read(bench.path("in/updates.mrt")).unwrap();
    let want = stdout(&bench.expect(0, &["decode", "--format", "bgpdump", "in/updates.mrt"]));
    let second =
        12 + usize::try_from(u32::from_be_bytes(whole[8..12].try_into().unwrap())).unwrap();
    let torn = [&whole[..second], &[0xee; 33], &whole[second..], &whole[..40]].concat();
    bench.write("torn.mrt", torn);
    let done = bench.expect(65, &["decode", "--format", "bgpdump", "torn.mrt"]);
    assert_eq!(stdout(&done), want, "all of it but the damage");
    let told = stderr(&done);
    assert!(told.contains(&format!("torn.mrt: damaged at offset {second}: ")), "{told}");
    assert!(
        told.contains("; 33 bytes passed over") && told.contains("cut off at offset"),
        "{told}"
    );
    let done = bench.expect(65, &["decode", "torn.mrt", "in/rib.mrt", "missing.mrt"]);
    let lines: Vec<String> = stdout(&done).lines().map(str::to_owned).collect();
    assert!(lines[1].ends_with("\t2"), "two refusals: {}", lines[1]);
    assert_eq!(lines.len(), 4, "the other files are counted");
}

#[test]
fn a_reader_who_leaves_ends_the_command_without_a_word() {
    let (bench, _) = bench();
    for format in ["bgpdump", "json", "csv", "parquet"] {
        let many = vec!["in/rib.mrt"; 200];
        let arguments = [&["decode", "--format", format][..], &many].concat();
        let mut child: Command = bench.command(&arguments);
        let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = [0; 10];
        child.stdout.take().unwrap().read_exact(&mut first).unwrap();
        let done = child.wait_with_output().unwrap();
        assert_eq!((done.status.code(), stderr(&done).as_str()), (Some(0), ""), "{format}");
    }
}

#[test]
fn what_is_no_archive_is_told_and_exits_with_65() {
    let bench = Bench::empty();
    bench.write("a.jsonl", r#"{"time":1772618400,"ip":"192.0.2.7","rtt_us":1,"source":"p"}"#);
    bench.write("empty.mrt", "");
    bench.write("notes.txt", "mine");
    for (file, words) in [
        ("a.jsonl", "holds RTT samples"),
        ("empty.mrt", "the file is empty"),
        ("notes.txt", "is no MRT file"),
    ] {
        let done = bench.expect(65, &["decode", "--format", "json", file]);
        assert!(stderr(&done).contains(words) && done.stdout.is_empty(), "{}", stderr(&done));
    }
    bench.expect(2, &["decode", "--format", "xml", "a.jsonl"]);
}
