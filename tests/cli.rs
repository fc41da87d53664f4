//! The command line as a user types it: exit codes, messages, what is left behind.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::fs;

use support::{Bench, files, stderr, stdout};

const CONFIG: &str = r#"
[[connection]]
name = "contoso-seattle"
prefixes = ["192.0.2.0/24"]
origin_asns = [64510]
"#;

const SAMPLE: &str = "{\"time\":\"2026-03-04T10:00:01Z\",\"ip\":\"192.0.2.7\",\"rtt_us\":21500,\"source\":\"probe\"}\n";

fn configured() -> Bench {
    let bench = Bench::empty();
    bench.write("peerscope.toml", CONFIG);
    bench
}

#[test]
fn the_demo_finds_what_was_injected_and_keeps_silent_about_the_rest() {
    let bench = Bench::with_demo_inputs();
    let found = bench.ask(
        "demo-lake",
        "select rule, connection, culprit_asn, phase from incidents where connection is not null \
         order by opened_at, prefix",
    );
    assert_eq!(
        found,
        [
            "hijack_exact,contoso-seattle,64511,resolved",
            "hijack_exact,fabrikam-madrid,64508,ignored",
            "hijack_type_1,fabrikam-london,65540,resolved",
            "leak_own_as,contoso-redmond,64504,resolved",
            "suboptimal_entry,fabrikam-singapore,65537,updated",
            "suboptimal_entry,fabrikam-singapore,65537,updated",
            "failover,northwind-chicago,,resolved",
            "failover,northwind-chicago,,resolved",
            "visibility_lost,fabrikam-oslo,,ignored",
        ]
    );
    let again = bench.expect(0, &["demo", "--lake", "demo-lake"]);
    let other = bench.expect(0, &["demo", "--lake", "other"]);
    let without_names = |text: String| text.replace("demo-lake", "LAKE").replace("other", "LAKE");
    assert_eq!(
        without_names(stdout(&again)),
        without_names(stdout(&other)),
        "the same bytes every run"
    );
    for line in ["nothing to see", "did not move", "DENY ALL", "both belong to Fabrikam"] {
        assert!(stdout(&again).contains(line), "{line}");
    }
}

#[test]
fn damaged_input_is_told_with_its_offset_and_the_rest_is_done() {
    let bench = Bench::with_demo_inputs();
    let whole = fs::read(bench.path("in/updates.mrt")).unwrap();
    bench.write("cut.mrt", &whole[..whole.len() - 7]);
    let done =
        bench.expect(65, &["replay", "--config", "in/peerscope.toml", "--lake", "l", "cut.mrt"]);
    assert!(stderr(&done).contains("cut.mrt: cut off at offset"), "{}", stderr(&done));
    let refused = bench.ask("l", "select sum(refused), max(reasons[1]) from ledger");
    assert_eq!(refused, ["1,truncated=1"]);
    let again =
        bench.expect(65, &["replay", "--config", "in/peerscope.toml", "--lake", "l", "cut.mrt"]);
    assert!(stdout(&again).starts_with("nothing to do"), "damage is told again");
    let mut flipped = whole.clone();
    flipped[4] = 0xff;
    bench.write("other.bin", &flipped);
    let done =
        bench.expect(65, &["replay", "--config", "in/peerscope.toml", "--lake", "m", "other.bin"]);
    assert!(
        stderr(&done).contains("no MRT, BMP, OpenBMP, pcap, RIS Live or RTT samples"),
        "{}",
        stderr(&done)
    );
    assert!(!bench.path("m").exists(), "nothing was written");
}

#[test]
fn empty_and_missing_files_leave_no_table_behind() {
    let bench = configured();
    bench.write("empty.mrt", "");
    let done = bench.expect(65, &["replay", "--lake", "l", "empty.mrt"]);
    assert!(stderr(&done).contains("empty.mrt: the file is empty"), "{}", stderr(&done));
    bench.write("a.jsonl", SAMPLE);
    let done = bench.expect(1, &["replay", "--lake", "l", "a.jsonl", "missing.mrt"]);
    assert!(stderr(&done).contains("missing.mrt: No such file"), "{}", stderr(&done));
    assert!(stderr(&done).contains("nothing was written"), "{}", stderr(&done));
    assert!(!bench.path("l").exists());
}

#[test]
fn lines_that_are_no_samples_are_counted_by_reason_and_the_rest_goes_on() {
    let bench = configured();
    let long = format!("{{\"time\":1,\"x\":\"{}\"}}\n", "y".repeat(2 << 20));
    let mut lines = SAMPLE.as_bytes().to_vec();
    lines.extend_from_slice(b"{\"time\":1\n\xff\xfe\n");
    lines.extend_from_slice(SAMPLE.replace("21500", "-5").as_bytes());
    lines.extend_from_slice(long.as_bytes());
    lines.extend_from_slice(SAMPLE.replace("192.0.2.7", "198.51.100.7").as_bytes());
    lines.extend_from_slice(SAMPLE.replace("21500", "null").trim_end().as_bytes());
    bench.write("rtt.jsonl", lines);
    let done = bench.expect(65, &["replay", "--lake", "l", "rtt.jsonl"]);
    assert!(stderr(&done).contains("line 2:"), "{}", stderr(&done));
    let ledger =
        "select read, accepted, unmatched, refused, array_to_string(reasons, ' ') from ledger";
    assert_eq!(bench.ask("l", ledger), ["7,2,1,4,json=2 line_too_long=1 rtt_out_of_range=1"]);
    assert_eq!(bench.ask("l", "select samples, lost, rtt_p50_us from latency"), ["1,1,21500"]);
}

#[test]
fn a_pipe_is_refused_and_a_csv_without_a_source_holds_nobody_up() {
    let bench = configured();
    let fifo = bench.path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    for command in [&["replay", "--lake", "p", "pipe"][..], &["decode", "pipe"]] {
        let refused = bench.run(command);
        assert!(!refused.status.success(), "{command:?}");
        assert!(stderr(&refused).contains("write what it gives to a file first"), "{command:?}");
    }
    bench.write("good.jsonl", SAMPLE);
    bench.write("bad.csv", "time,ip,rtt_us\n2026-03-04T10:00:01Z,192.0.2.7,21500\n");
    bench.expect(65, &["replay", "--lake", "l", "good.jsonl", "bad.csv"]);
    assert_eq!(bench.ask("l", "select sum(samples) from latency"), ["1"]);
}

#[test]
fn a_configuration_error_names_its_place_and_exits_with_78() {
    let bench = configured();
    bench.write("bad.toml", CONFIG.replace("origin_asns", "origin_asn"));
    let done = bench.expect(78, &["check", "--config", "bad.toml"]);
    assert!(
        stderr(&done)
            .contains("bad.toml:5:1: unknown key `origin_asn`, did you mean `origin_asns`?")
    );
    bench.write("twice.toml", format!("{CONFIG}{}", CONFIG.replace("contoso", "fabrikam")));
    let done = bench.expect(78, &["replay", "--config", "twice.toml", "x"]);
    assert!(stderr(&done).contains("(first at twice.toml:4:13)"), "{}", stderr(&done));
    bench.expect(78, &["check", "--config", "missing.toml"]);
    let done = bench.expect(0, &["check"]);
    assert!(stdout(&done).starts_with("configuration is valid: 1 connections, 1 prefixes"));
    bench.write("ref.toml", format!("{CONFIG}[reference]\norganisations = \"o.csv\"\n"));
    bench.write("o.csv", "x;y\n");
    let done = bench.expect(78, &["check", "--config", "ref.toml"]);
    assert!(stderr(&done).contains("o.csv: line 1: \"x;y\" is not"), "{}", stderr(&done));
}

#[test]
fn a_lake_takes_one_replay_and_refuses_another() {
    let bench = configured();
    bench.write("a.jsonl", SAMPLE);
    bench.write("b.jsonl", SAMPLE.replace("21500", "9"));
    bench.expect(0, &["replay", "--lake", "l", "a.jsonl"]);
    let before = files(&bench.path("l"));
    let done = bench.expect(0, &["replay", "--lake", "l", "a.jsonl"]);
    assert!(stdout(&done).starts_with("nothing to do"));
    let done = bench.expect(1, &["replay", "--lake", "l", "b.jsonl"]);
    assert!(stderr(&done).contains("take another --lake"), "{}", stderr(&done));
    assert_eq!(before, files(&bench.path("l")), "a refused replay changes nothing");
    bench.write("notes.txt", "mine");
    let done = bench.expect(1, &["replay", "--lake", ".", "a.jsonl"]);
    assert!(stderr(&done).contains("is not a lake and not empty"), "{}", stderr(&done));
}

#[test]
fn findings_are_listed_and_shown_with_their_reasons() {
    let bench = Bench::with_demo_inputs();
    let list = ["findings", "list", "--lake", "demo-lake", "--kind", "hijack", "--format", "csv"];
    let done = bench.expect(0, &list);
    let lines: Vec<String> = stdout(&done).lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 4, "{lines:#?}");
    let with_code: Vec<&str> = list.into_iter().chain(["--exit-code"]).collect();
    bench.expect(3, &with_code);
    let open = ["findings", "list", "--lake", "demo-lake", "--open", "--exit-code"];
    bench.expect(3, &open);
    bench.expect(0, &[&open[..], &["--kind", "hijack"]].concat());
    let id = bench.ask(
        "demo-lake",
        "select finding_id from incidents where rule = 'hijack_exact' and phase = 'resolved'",
    );
    let done = bench.expect(0, &["findings", "show", "--lake", "demo-lake", &id[0][..8]]);
    for part in ["transitions", "score", "witnesses", "AS64511 announces 192.0.2.0/24"] {
        assert!(stdout(&done).contains(part), "{part}:\n{}", stdout(&done));
    }
    bench.expect(1, &["findings", "show", "--lake", "demo-lake", "zzz"]);
}

#[test]
fn latency_is_listed_and_drawn_with_the_route_events() {
    let bench = Bench::with_demo_inputs();
    fn of<'a>(more: &[&'a str]) -> Vec<&'a str> {
        [&["latency", "contoso-seattle", "--lake", "demo-lake"], more].concat()
    }
    let listed = bench.expect(0, &of(&["--format", "csv", "--prefix", "192.0.2.0/24"]));
    let listed = stdout(&listed);
    let asked = bench.ask(
        "demo-lake",
        "select sum(samples), sum(lost), hdr_quantile(hdr_merge(hist_bucket, hist_count), 0.5) / 1000.0 \
         from latency_final where connection = 'contoso-seattle' and prefix = '192.0.2.0/24' \
         group by source order by source",
    );
    let shown: Vec<String> = listed
        .lines()
        .skip(1)
        .map(|line| line.split(',').collect::<Vec<_>>())
        .map(|cells| [cells[5], cells[6], cells[9]].join(","))
        .collect();
    assert_eq!(shown, asked, "{listed}");
    let late = of(&["--format", "csv", "--every", "1d", "--from", "2026-03-04T10:30:30Z"]);
    let late = stdout(&bench.expect(0, &late));
    assert!(late.lines().count() > 1, "the day that it lies in: {late}");
    let hours = bench.expect(0, &of(&["--format", "json", "--every", "1h"]));
    assert!(
        stdout(&hours).contains("\"window_start\":\"2026-03-04T10:00:00Z\""),
        "{}",
        stdout(&hours)
    );
    let plain = bench.expect(0, &of(&[]));
    assert!(!stdout(&plain).contains("p95  "), "no lines where stdout is no terminal");
    let drawn = bench.expect(0, &of(&["--chart", "always"]));
    let drawn = stdout(&drawn);
    assert!(drawn.contains("\n                  ├────────┤ hijack_exact\n"), "{drawn}");
    assert!(drawn.contains("█████████"), "nine minutes of a high p95: {drawn}");
    let unknown = bench.expect(1, &["latency", "contoso-seatle", "--lake", "demo-lake"]);
    assert!(
        stderr(&unknown).contains("it has contoso-redmond, contoso-seattle"),
        "{}",
        stderr(&unknown)
    );
    let none = bench.expect(0, &of(&["--prefix", "203.0.113.0/24"]));
    assert!(stderr(&none).contains("no window of that choice"), "{}", stderr(&none));
    let typo = ["findings", "list", "--lake", "demo-lake"];
    let typo = |more: [&str; 2]| stderr(&bench.expect(1, &[&typo[..], &more].concat()));
    assert!(typo(["--kind", "hijak"]).contains("there are hijack, leak"));
    assert!(typo(["--connection", "contoso"]).contains("it has contoso-"));
    bench.expect(1, &of(&["--from", "2026-03-05T00:00:00Z", "--to", "2026-03-04T00:00:00Z"]));
}

#[test]
fn a_report_is_markdown_and_one_page_with_its_plots() {
    let bench = Bench::with_demo_inputs();
    let of = ["report", "contoso-seattle", "--lake", "demo-lake", "--out"];
    bench.expect(0, &[&of[..], &["a"]].concat());
    bench.expect(0, &[&of[..], &["b", "--month", "2026-03"]].concat());
    assert_eq!(files(&bench.path("a")), files(&bench.path("b")), "the same bytes every run");
    let read = |name: &str| fs::read_to_string(bench.path("a").join(name)).unwrap();
    let text = read("contoso-seattle-2026-03.md");
    let asked = bench.ask(
        "demo-lake",
        "select sum(samples), sum(lost) from latency_final where connection = 'contoso-seattle'",
    );
    let (samples, lost) = asked[0].split_once(',').unwrap();
    for said in [
        format!("{samples} probes answered in 1 hourly windows, {lost} lost"),
        "hijack\\_exact".to_owned(),
        "it cost: median 6.5 to 6.6 ms, p95 8.6 to 150.5 ms".to_owned(),
        "| 192.0.2.0/24 | 15 | 0 | 5 |".to_owned(),
    ] {
        assert!(text.contains(&said), "{said}: {text}");
    }
    let page = read("contoso-seattle-2026-03.html");
    assert_eq!(page.matches("<svg").count(), 8, "two plots for each of four series");
    assert!(!page.contains("<img") && !page.contains("src="), "nothing is loaded from anywhere");
    let none = bench.expect(1, &[&of[..], &["c", "--month", "2026-04"]].concat());
    assert!(
        stderr(&none).contains("no round trip of contoso-seattle is in 2026-04"),
        "{}",
        stderr(&none)
    );
    assert!(!bench.path("c").exists(), "nothing was written");
}

#[test]
fn roas_and_aspas_stand_in_rows_and_findings() {
    let bench = Bench::with_demo_inputs();
    let config = fs::read_to_string(bench.path("in/peerscope.toml")).unwrap();
    let more = "[reference]\nvrps = \"vrps.csv\"\naspas = \"aspas.json\"\n";
    bench.write("in/rpki.toml", config.replace("[reference]\n", more));
    let vrps = "ASN,IP Prefix,Max Length,Trust Anchor\nAS64505,192.0.2.0/24,24,test\n";
    bench.write("in/vrps.csv", vrps);
    let aspas = r#"{"aspas":[{"customer":"AS64505","providers":["AS64499"],"ta":"test"}]}"#;
    bench.write("in/aspas.json", aspas);
    let inputs = ["in/rib.mrt", "in/updates.mrt"];
    bench
        .expect(0, &[&["replay", "--config", "in/rpki.toml", "--lake", "l"], &inputs[..]].concat());
    let states = bench.ask(
        "l",
        "select distinct origin_asn, rpki_state from route_updates where prefix = '192.0.2.0/24' \
         and action = 'announce' order by 1",
    );
    assert_eq!(states, ["64505,valid", "64511,invalid"]);
    let states = bench.ask("l", "select distinct aspa_state from route_updates order by 1");
    assert!(states.contains(&"unknown".to_owned()), "{states:?}");
    let found = bench.ask(
        "l",
        "select distinct rpki_state, confidence from incidents where rule = 'hijack_exact' \
         and connection = 'contoso-seattle'",
    );
    assert_eq!(found, ["invalid,high"]);
    bench.write("in/vrps.csv", "AS64505,192.0.2.0/24,33\n");
    let refused = bench.expect(
        78,
        &[&["replay", "--config", "in/rpki.toml", "--lake", "m"], &inputs[..]].concat(),
    );
    assert!(stderr(&refused).contains("vrps.csv") && stderr(&refused).contains("line 1"));
}

#[test]
fn decode_counts_elements_as_tab_separated_values() {
    let bench = Bench::with_demo_inputs();
    let done = bench.expect(0, &["decode", "--format", "count", "in/rib.mrt", "in/updates.mrt"]);
    let text = stdout(&done);
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("file\trecords\telements\tannounced\twithdrawn\trefused"));
    let rib: Vec<&str> = lines.next().unwrap().split('\t').collect();
    assert_eq!((rib[0], rib[4], rib[5]), ("in/rib.mrt", "0", "0"));
    assert_eq!(rib[2], rib[3]);
    bench.expect(65, &["decode", "missing.mrt"]);
    bench.expect(2, &["decode"]);
}

#[test]
fn completions_manual_and_descriptions_come_out() {
    let bench = Bench::empty();
    for arguments in [
        &["completions", "bash"][..],
        &["man"],
        &["describe", "tables"],
        &["describe", "metrics"],
        &["describe", "sql-duckdb"],
        &["describe", "sql-spark"],
        &["--version"],
    ] {
        let done = bench.expect(0, arguments);
        assert!(!done.stdout.is_empty(), "{arguments:?}");
    }
}

/// The reference pages are made from the code; `PEERSCOPE_BLESS=1` writes them anew.
#[test]
fn the_reference_pages_are_what_describe_says() {
    let bench = Bench::empty();
    for (topic, page) in [
        ("tables", "tables.md"),
        ("config", "config.md"),
        ("rules", "findings.md"),
        ("metrics", "metrics.md"),
    ] {
        let path = format!("{}/docs/reference/{page}", env!("CARGO_MANIFEST_DIR"));
        let said = stdout(&bench.expect(0, &["describe", topic]));
        if std::env::var_os("PEERSCOPE_BLESS").is_some() {
            fs::write(&path, &said).unwrap();
        }
        let written = fs::read_to_string(&path).unwrap_or_default();
        let same = written == said;
        assert!(same, "{page} is not what `describe {topic}` says; PEERSCOPE_BLESS=1 mends it");
    }
}
