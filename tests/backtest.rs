//! `backtest`: the demo's hijack as a labelled incident, and routes in which nothing is wrong.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::fs;

use support::{Bench, stderr, stdout};

const LABEL: &str = "event = \"the demo's hijack\"\ncategory = \"origin_change\"\n\
                     bad_prefix = \"192.0.2.0/24\"\nvictim_as = 64505\nculprit_as = 64511\n";

/// A folder with the demo's archives and a label.
fn labelled(label: &str) -> Bench {
    let bench = Bench::with_demo_inputs();
    fs::create_dir_all(bench.path("incidents/one")).unwrap();
    for file in ["rib.mrt", "updates.mrt"] {
        fs::copy(bench.path(&format!("in/{file}")), bench.path(&format!("incidents/one/{file}")))
            .unwrap();
    }
    bench.write("incidents/one/label.toml", label);
    bench
}

fn judged(bench: &Bench) -> serde_json::Value {
    let reference = "in/as-relationships.txt";
    let done = bench
        .expect(0, &["backtest", "incidents", "--as-relationships", reference, "--format", "json"]);
    serde_json::from_str(&stdout(&done)).unwrap()
}

#[test]
fn an_incident_is_judged_by_its_label_and_a_naive_table() {
    let all = judged(&labelled(LABEL));
    let one = &all["incidents"][0];
    assert_eq!(one["event"], "the demo's hijack");
    let verdict = &one["verdict"];
    for key in ["found", "culprit_right", "rule_right", "has_end", "decidable"] {
        assert_eq!(verdict[key], true, "{key}: {all:#}");
    }
    assert_eq!(verdict["framed"], serde_json::json!([]));
    assert_eq!(verdict["suspected_secs"], 0, "opened at the first bad update");
    assert!(verdict["believers_at_detection"].as_u64().unwrap() <= 3);
    assert_eq!(verdict["closed_secs"], 0, "over when the last peer lets go");
    assert_eq!(one["first_bad_at"], one["decidable_at"]);
    assert_eq!(all["totals"]["recall"], serde_json::json!({"count": 1, "of": 1}));
    assert_eq!(all["benign"], serde_json::Value::Null);
}

/// The same archives under a label that accuses another: the judge must not be pleased.
#[test]
fn a_wrong_culprit_and_a_wrong_rule_are_told() {
    let bench =
        labelled(&LABEL.replace("64511", "64599").replace("origin_change", "forged_as_path"));
    let all = judged(&bench);
    let verdict = &all["incidents"][0]["verdict"];
    assert_eq!((&verdict["found"], &verdict["culprit_right"]), (&true.into(), &false.into()));
    assert_eq!(verdict["rule_right"], false);
    assert_eq!(verdict["named"], serde_json::json!([64511]));
    let table = stdout(&bench.expect(0, &["backtest", "incidents/one"]));
    assert!(
        table.contains("WRONG") && table.contains("culprit right               0 of 1"),
        "{table}"
    );
    let csv = stdout(&bench.expect(0, &["backtest", "incidents/one", "--format", "csv"]));
    assert!(csv.starts_with("event,category,detail,found,culprit,named,wanted,"), "{csv}");
}

#[test]
fn benign_routes_are_registered_with_their_first_origin_and_every_alarm_is_false() {
    let bench = Bench::with_demo_inputs();
    let done = bench
        .expect(0, &["backtest", "--format", "json", "--benign", "in/rib.mrt", "in/updates.mrt"]);
    let all: serde_json::Value = serde_json::from_str(&stdout(&done)).unwrap();
    let benign = &all["benign"];
    assert!(benign["prefixes"].as_u64().unwrap() > 10 && benign["has_dump"] == true, "{all:#}");
    let exposure = benign["exposure_prefix_days"].as_f64().unwrap();
    assert!(
        (exposure - benign["prefixes"].as_f64().unwrap() * benign["days"].as_f64().unwrap()).abs()
            < 1e-9
    );
    // The demo is not benign: its hijacks must be counted here.
    let alarms: u64 = ["low", "medium", "high"]
        .iter()
        .map(|word| benign["by_confidence"][word]["alarms"].as_u64().unwrap())
        .sum();
    assert!(alarms >= 2, "{all:#}");
    let high = &benign["by_confidence"]["high"];
    let bound = high["per_1000_prefix_days_bound"].as_f64().unwrap();
    assert!(bound > high["per_1000_prefix_days"].as_f64().unwrap());
    let text = stdout(&bench.expect(0, &["backtest", "--benign", "in/rib.mrt", "in/updates.mrt"]));
    assert!(text.contains("95 % bound") && text.contains("every alarm is false"), "{text}");
}

#[test]
fn what_cannot_be_judged_is_refused_with_its_place() {
    let bench = labelled(&LABEL.replace("victim_as", "victim"));
    let done = bench.expect(1, &["backtest", "incidents"]);
    assert!(stderr(&done).contains("incidents/one/label.toml: "), "{}", stderr(&done));
    assert!(stderr(&done).contains("victim_as"), "{}", stderr(&done));
    let done = bench.expect(1, &["backtest", "in"]);
    assert!(stderr(&done).contains("holds no label.toml or label.json"), "{}", stderr(&done));
    bench.expect(2, &["backtest"]);
}
