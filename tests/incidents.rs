//! Real incidents of the data folder (`PEERSCOPE_DATA`), replayed and asked: was it found, by the
//! right rule, with the right culprit? Those of forged paths need detectors of a later version and
//! are not asked here.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod support;

use std::path::PathBuf;

use support::Bench;

/// Incident, rule, culprit.
const INCIDENTS: [(&str, &str, u32); 7] = [
    ("brazil_2", "hijack_exact", 57_807),
    ("sprint_1", "hijack_exact", 1_239),
    ("h3s_1", "hijack_sub_prefix", 59_790),
    ("pakistan_1", "hijack_sub_prefix", 17_557),
    ("bitcanal_5", "hijack_sub_prefix", 24_196),
    ("iran_2", "hijack_sub_prefix", 65_050),
    ("typo_1", "hijack_sub_prefix", 203_959),
];

fn incidents() -> Option<PathBuf> {
    let folder = std::env::var_os("PEERSCOPE_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data"),
        PathBuf::from,
    );
    let incidents = folder.join("incidents");
    if incidents.is_dir() {
        return Some(incidents);
    }
    assert!(std::env::var("CI").is_err(), "{} is not there", incidents.display());
    println!("skipped: no incidents in PEERSCOPE_DATA");
    None
}

#[test]
fn origin_changes_of_the_past_are_found_with_rule_and_culprit() {
    let Some(folder) = incidents() else { return };
    for (name, rule, culprit) in INCIDENTS {
        let label = std::fs::read_to_string(folder.join(name).join("label.json")).unwrap();
        let label: serde_json::Value = serde_json::from_str(&label).unwrap();
        let text = |key: &str| label[key].as_str().unwrap().to_owned();
        let bench = Bench::empty();
        bench.write(
            "peerscope.toml",
            format!(
                "[[connection]]\nname = \"victim\"\nprefixes = [\"{}\"]\norigin_asns = [{}]\n",
                text("registered_prefix"),
                text("victim_as"),
            ),
        );
        let files = ["rib.mrt.gz", "updates.mrt.gz"].map(|file| folder.join(name).join(file));
        let files = files.each_ref().map(|file| file.to_str().unwrap());
        bench.expect(0, &["replay", "--lake", "l", files[1], files[0]]);
        let sql = format!(
            "select count(*) from incidents where rule = '{rule}' and culprit_asn = {culprit} \
             and confidence <> 'low' and phase <> 'ignored'"
        );
        let found = bench.ask("l", &sql);
        assert_ne!(found, ["0"], "{name}: {rule} by AS{culprit} was not found");
    }
}
