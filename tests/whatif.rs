//! `whatif`: a lake's past under another configuration. The lake stays as it is.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::fs;

use support::{Bench, files, stderr, stdout};

/// The demo's configuration, changed.
fn changed(bench: &Bench, change: impl Fn(String) -> String) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(bench.path("in/peerscope.toml")).unwrap();
    bench.write("in/new.toml", change(text));
    let done = bench.expect(
        0,
        &["whatif", "--config", "in/new.toml", "--lake", "demo-lake", "--format", "json"],
    );
    serde_json::from_str(&stdout(&done)).unwrap()
}

#[test]
fn the_same_configuration_finds_the_same() {
    let bench = Bench::with_demo_inputs();
    let before = files(&bench.path("demo-lake"));
    assert_eq!(changed(&bench, |text| text), Vec::<serde_json::Value>::new());
    let done = bench.expect(0, &["whatif", "--config", "in/peerscope.toml", "--lake", "demo-lake"]);
    let text = stdout(&done);
    let told = bench.ask("demo-lake", "select count(distinct finding_id) from findings");
    let as_it_was = format!(
        "{0} findings as it was, {0} as it would be: 0 added, 0 dropped, 0 changed",
        told[0]
    );
    assert!(text.contains(&as_it_was), "the fold of the past finds what the replay found: {text}");
    assert_eq!(files(&bench.path("demo-lake")), before);
}

#[test]
fn what_a_higher_threshold_and_a_lost_registration_drop_is_told() {
    let bench = Bench::with_demo_inputs();
    let all = changed(&bench, |text| {
        text.replace("origin_asns = [64505]", "origin_asns = [64505, 64511]")
    });
    let dropped = all.iter().find(|d| d["connection"] == "contoso-seattle").unwrap();
    assert_eq!((&dropped["change"], &dropped["rule"]), (&"dropped".into(), &"hijack_exact".into()));
    assert_eq!(
        (&dropped["culprit_asn"], &dropped["would_be"]),
        (&64_511.into(), &serde_json::Value::Null)
    );
    let all = changed(&bench, |text| format!("{text}\n[detect]\nscore_min = 100.0\n"));
    let told = bench.ask(
        "demo-lake",
        "select count(distinct finding_id) from findings where phase <> 'ignored'",
    );
    let dropped = all.iter().filter(|d| d["change"] == "dropped").count();
    assert!(dropped > 0 && dropped <= told[0].parse().unwrap(), "{all:#?}");
    assert!(all.iter().all(|d| d["change"] != "added"), "{all:#?}");
}

/// Who is right becomes who is wrong: the victim's own routes are findings then.
#[test]
fn what_a_stricter_registration_adds_is_told() {
    let bench = Bench::with_demo_inputs();
    let all =
        changed(&bench, |text| text.replace("origin_asns = [64505]", "origin_asns = [64511]"));
    let added = all.iter().find(|d| d["change"] == "added" && d["connection"] == "contoso-seattle");
    assert_eq!(added.unwrap()["culprit_asn"], 64_505, "{all:#?}");
}

#[test]
fn what_was_never_stored_is_said() {
    let bench = Bench::with_demo_inputs();
    let more = "\n[[connection]]\nname = \"new\"\nprefixes = [\"203.0.112.0/24\"]\n";
    let text = fs::read_to_string(bench.path("in/peerscope.toml")).unwrap();
    let at = text.find("\n[reference]").unwrap();
    bench.write("in/new.toml", format!("{}{more}{}", &text[..at], &text[at..]));
    let done = bench.expect(0, &["whatif", "--config", "in/new.toml", "--lake", "demo-lake"]);
    let told = stderr(&done);
    assert!(
        told.contains("203.0.112.0/24 of new was not registered since")
            && told.contains("nothing can be said"),
        "{told}"
    );
    fs::remove_dir_all(bench.path("demo-lake/_peerscope/settings")).unwrap();
    let done = bench.expect(1, &["whatif", "--config", "in/new.toml", "--lake", "demo-lake"]);
    assert!(stderr(&done).contains("keeps no settings"), "{}", stderr(&done));
}

/// What was nothing is marked and learned; the configuration with the exception ignores it from then on.
#[test]
fn a_false_positive_is_learned_once_and_ignored_from_then_on() {
    let bench = Bench::with_demo_inputs();
    let id = &bench.ask(
        "demo-lake",
        "select finding_id from incidents where rule = 'hijack_exact' and phase = 'resolved'",
    )[0];
    let before = fs::read_to_string(bench.path("in/peerscope.toml")).unwrap();
    bench.write("in/new.toml", &before);
    let mark = |words: &[&str]| {
        let mark = ["findings", "mark", "--config", "in/new.toml", "--lake", "demo-lake", &id[..8]];
        [mark.as_slice(), words].concat().into_iter().map(str::to_owned).collect::<Vec<String>>()
    };
    let run = |code, words: &[&str]| {
        let words = mark(words);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let done = bench.expect(code, &words);
        stdout(&done) + &stderr(&done)
    };
    assert!(run(1, &["true-positive", "--learn"]).contains("is for a false-positive"));
    assert!(run(1, &["false-positive", "--learn", "--until", "2020-01-01"]).contains("is before"));
    run(2, &["false-positive", "--learn", "--until", "soon"]);
    assert_eq!(fs::read_to_string(bench.path("in/new.toml")).unwrap(), before);
    let told = run(0, &["false-positive", "--learn", "--until", "2026-12-31", "--note", "a test"]);
    assert!(
        told.contains("[[detect.exception]]") && told.contains("culprit_asn = 64511"),
        "{told}"
    );
    let after = fs::read_to_string(bench.path("in/new.toml")).unwrap();
    assert!(after.starts_with(&before) && after.contains("until = \"2026-12-31\""), "{after}");
    assert!(run(0, &["false-positive", "--learn"]).contains("covers it already"));
    assert_eq!(fs::read_to_string(bench.path("in/new.toml")).unwrap(), after);
    bench.expect(0, &["check", "--config", "in/new.toml"]);

    let list = ["whatif", "--config", "in/new.toml", "--lake", "demo-lake", "--format", "json"];
    let all: Vec<serde_json::Value> =
        serde_json::from_str(&stdout(&bench.expect(0, &list))).unwrap();
    assert_eq!(all.len(), 1, "nothing else changes: {all:#?}");
    assert_eq!((&all[0]["change"], &all[0]["culprit_asn"]), (&"changed".into(), &64_511.into()));
    let would_be = all[0]["would_be"].as_str().unwrap();
    assert!(
        would_be.starts_with("information") && would_be.ends_with("muted by exception"),
        "{would_be}"
    );

    let inputs = ["in/rib.mrt", "in/updates.mrt"];
    let replay = ["replay", "--config", "in/new.toml", "--lake", "learned"];
    bench.expect(0, &[replay.as_slice(), &inputs].concat());
    let rows = bench.ask(
        "learned",
        "select phase, muted_by from findings where connection = 'contoso-seattle' and culprit_asn = 64511",
    );
    assert_eq!(rows, ["ignored,exception"]);
}
