//! What happened around a moment, and what people say of it: `why`, `findings show`, `findings mark`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use support::{Bench, files, stderr, stdout};

fn lines(bench: &Bench, arguments: &[&str]) -> Vec<String> {
    let done = bench.expect(0, &[&["why", "--lake", "demo-lake"], arguments].concat());
    stdout(&done).lines().map(str::to_owned).collect()
}

/// The hijack of 192.0.2.0/24 from 10:08 to 10:17: cause, finding and cost, in this order, and its end.
#[test]
fn a_hijack_its_finding_and_its_cost_stand_on_one_timeline() {
    let bench = Bench::with_demo_inputs();
    let told = lines(&bench, &["contoso-seattle", "--at", "2026-03-04T10:12:00Z"]);
    let place = |part: &str| {
        let place = told.iter().position(|line| line.contains(part));
        place.unwrap_or_else(|| panic!("no {part:?} in {told:#?}"))
    };
    let moved = place("moved from origin AS64505 to origin AS64511");
    let opened = place("hijack_exact opened: critical");
    let back = place("moved from origin AS64511 to origin AS64505");
    let resolved = place("hijack_exact resolved after");
    assert!(moved < opened && opened < back && back <= resolved, "{told:#?}");
    let slower = &told[place("slower for ")];
    assert!(slower.contains("latency") && slower.contains("192.0.2.0/24"), "{slower}");
    assert!(told.len() < 30, "a readable number of lines: {told:#?}");

    let of_prefix = lines(&bench, &["192.0.2.0/24"]);
    assert!(of_prefix[0].starts_with("192.0.2.0/24 of contoso-seattle: 15 min before and after"));
    assert!(of_prefix.iter().any(|line| line.contains("hijack_exact resolved")), "{of_prefix:#?}");
    let short =
        lines(&bench, &["contoso-seattle", "--at", "2026-03-04T10:30:00Z", "--since", "90s"]);
    assert_eq!(short[2..], ["nothing happened to it in this time"], "{short:#?}");
}

#[test]
fn sessions_failovers_and_edits_of_the_registry_are_on_it() {
    let bench = Bench::with_demo_inputs();
    let told = lines(&bench, &["northwind-chicago", "--at", "2026-03-04T10:45:00Z"]);
    let has =
        |part: &str| assert!(told.iter().any(|line| line.contains(part)), "{part}: {told:#?}");
    has("primary session with");
    has(" down");
    has(" up");
    has("slower for ");
    let start = lines(&bench, &["northwind-chicago", "--at", "2026-03-04T09:50:00Z"]);
    assert!(start.iter().any(|line| line.contains("registered with ")), "{start:#?}");
    assert!(start.iter().any(|line| line.contains("says a table dump")), "{start:#?}");
}

/// Minutes in which every probe is lost, and what the machine-readable forms say of them.
#[test]
fn silence_is_told_and_every_form_has_the_same_lines() {
    let bench = Bench::empty();
    bench.write(
        "peerscope.toml",
        "[[connection]]\nname = \"contoso\"\nprefixes = [\"192.0.2.0/24\"]\n",
    );
    let minute = |minute: u32| {
        let rtt = if (5..8).contains(&minute) { "null" } else { "21500" };
        (0..20).map(move |n| {
            let time = format!("2026-03-04T10:{minute:02}:{:02}Z", n * 3);
            format!("{{\"time\":\"{time}\",\"ip\":\"192.0.2.7\",\"rtt_us\":{rtt},\"source\":\"probe\"}}\n")
        })
    };
    bench.write("rtt.jsonl", (0..20).flat_map(minute).collect::<String>());
    bench.expect(0, &["replay", "--lake", "demo-lake", "rtt.jsonl"]);
    let silence = "no answer for 3 min, 60 probes lost (probe, sample)";
    let told = lines(&bench, &["contoso", "--at", "2026-03-04T10:06:00Z"]);
    assert!(
        told.iter().any(|line| line.starts_with("10:05:00  silence ") && line.ends_with(silence)),
        "{told:#?}"
    );
    let csv = lines(&bench, &["contoso", "--at", "2026-03-04T10:06:00Z", "--format", "csv"]);
    assert_eq!(csv[0], "time,until,what,connection,prefix,count,text,finding_id");
    let row = csv.iter().find(|line| line.contains("silence")).unwrap();
    assert!(
        row.starts_with(
            "2026-03-04T10:05:00Z,2026-03-04T10:08:00Z,silence,contoso,192.0.2.0/24,3,"
        ),
        "{row}"
    );
    let json = lines(&bench, &["contoso", "--at", "2026-03-04T10:06:00Z", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json.concat()).unwrap();
    assert_eq!(json.as_array().unwrap().len(), csv.len() - 1);
}

#[test]
fn what_the_lake_does_not_know_is_said_and_not_guessed() {
    let bench = Bench::with_demo_inputs();
    for (subject, told) in [
        ("contoso-seatle", "it has contoso-redmond, contoso-seattle"),
        ("203.0.114.0/24", "nothing about 203.0.114.0/24 is in this lake"),
    ] {
        let done = bench.expect(1, &["why", "--lake", "demo-lake", subject]);
        assert!(stderr(&done).contains(told), "{}", stderr(&done));
    }
    bench.expect(2, &["why", "--lake", "demo-lake", "contoso-seattle", "--since", "soon"]);
    let early = ["why", "--lake", "demo-lake", "contoso-seattle", "--at", "2020-01-01T00:00:00Z"];
    let done = bench.expect(0, &early);
    assert!(stderr(&done).contains("no route of it is in the lake"), "{}", stderr(&done));
}

#[test]
fn a_finding_is_shown_with_its_paths_its_cost_and_the_way_back_to_its_evidence() {
    let bench = Bench::with_demo_inputs();
    let id = &bench.ask(
        "demo-lake",
        "select finding_id from incidents where rule = 'hijack_exact' and phase = 'resolved'",
    )[0];
    let page = stdout(&bench.expect(0, &["findings", "show", "--lake", "demo-lake", &id[..8]]));
    for part in [
        "paths before, from the origin to the peers\n  AS64505",
        "paths after, from the origin to the peers\n  AS64511",
        "it cost: median",
        "culprit           AS64511",
        "peerscope why contoso-seattle --at 2026-03-04T10:08:02",
    ] {
        assert!(page.contains(part), "no {part:?} in {page}");
    }
    // What it says to type is what shows the evidence.
    let statements =
        page.lines().filter_map(|line| line.trim().split_once("-c \"")?.1.strip_suffix('"'));
    let rows: Vec<usize> =
        statements.map(|statement| bench.ask("demo-lake", statement).len()).collect();
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|rows| *rows >= 5), "{rows:?}");
}

#[test]
fn a_mark_is_the_verdict_of_a_finding_and_changes_nothing_else() {
    let bench = Bench::with_demo_inputs();
    let id = &bench.ask(
        "demo-lake",
        "select finding_id from incidents where rule = 'hijack_exact' and phase = 'resolved'",
    )[0];
    let others = |bench: &Bench| {
        let mut all = files(&bench.path("demo-lake"));
        all.retain(|name, _| !name.starts_with("marks/"));
        all
    };
    let before = others(&bench);
    let mark = |words: &[&str]| {
        let all = [&["findings", "mark", "--lake", "demo-lake", &id[..8]], words].concat();
        stdout(&bench.expect(0, &all))
    };
    let verdict = || {
        let of =
            format!("select coalesce(verdict, 'none') from incidents where finding_id = '{id}'");
        bench.ask("demo-lake", &of).join("")
    };
    assert_eq!(verdict(), "none");
    assert!(
        mark(&["true-positive", "--note", "seen by the NOC"])
            .contains("is marked as true_positive")
    );
    assert_eq!(verdict(), "true_positive");
    assert!(mark(&["true-positive"]).contains("is marked already"));
    mark(&["false-positive"]);
    assert_eq!(verdict(), "false_positive");
    let rows = bench.ask("demo-lake", "select mark, verdict, note from marks order by mark");
    assert_eq!(rows, ["1,true_positive,seen by the NOC", "2,false_positive,"]);
    let list = stdout(&bench.expect(0, &["findings", "list", "--lake", "demo-lake"]));
    assert_eq!(list.matches("false_positive").count(), 1, "{list}");
    assert_eq!(others(&bench), before, "no other file was touched");
    bench.expect(1, &["findings", "mark", "--lake", "demo-lake", "ffffffff", "true-positive"]);
    bench.expect(2, &["findings", "mark", "--lake", "demo-lake", &id[..8], "perhaps"]);
    let again = stdout(&bench.expect(
        0,
        &[
            "replay",
            "--config",
            "in/peerscope.toml",
            "--lake",
            "demo-lake",
            "in/rib.mrt",
            "in/updates.mrt",
            "in/rtt.jsonl",
        ],
    ));
    assert!(again.starts_with("nothing to do"), "a marked lake is the same lake: {again}");
}
