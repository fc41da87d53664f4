//! Real incidents of the data folder (`PEERSCOPE_DATA`), replayed and judged: was each found, by the
//! right rule, with the right culprit, and nobody framed? Only the prefix and its origin are
//! configured, and the AS relationships of the year.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing
)]

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use support::Bench;

/// Those that paths and relationships cannot tell: `docs/decisions/0018-forged-paths.md`.
const NOT_TOLD: [&str; 2] = ["bitcanal_5", "petersburg_2"];
/// Of these the ones where another AS is named at high confidence.
const FRAMED: [&str; 1] = ["petersburg_2"];

fn data() -> Option<PathBuf> {
    let folder = std::env::var_os("PEERSCOPE_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data"),
        PathBuf::from,
    );
    if folder.join("incidents").is_dir() {
        return Some(folder);
    }
    assert!(std::env::var("CI").is_err(), "{} holds no incidents", folder.display());
    println!("skipped: no incidents in PEERSCOPE_DATA");
    None
}

/// What is known of an incident.
struct Label {
    folder: PathBuf,
    text: serde_json::Value,
}

impl Label {
    fn read(folder: PathBuf) -> Self {
        let text = std::fs::read_to_string(folder.join("label.json")).unwrap();
        Self { folder, text: serde_json::from_str(&text).unwrap() }
    }

    fn get(&self, key: &str) -> &str {
        self.text[key].as_str().unwrap_or_default().trim()
    }

    fn culprits(&self) -> BTreeSet<&str> {
        self.get("culprit_as").split(',').map(str::trim).collect()
    }

    /// The newest relationships that are not younger than the incident.
    fn relationships(&self, data: &Path) -> PathBuf {
        let year = self.get("start_time").get(..4).unwrap();
        let files = std::fs::read_dir(data.join("reference")).unwrap();
        let mut files: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
        files.retain(|file| {
            let name = file.file_name().unwrap().to_str().unwrap();
            name.ends_with(".as-rel.txt.bz2") && name.get(..4).unwrap() <= year
        });
        files.into_iter().max().expect("relationships of that year")
    }

    fn configuration(&self, data: &Path) -> String {
        let registered = match self.get("registered_prefix") {
            "" => self.get("bad_prefix"),
            registered => registered,
        };
        format!(
            "[reference]\nas_relationships = {:?}\n[[connection]]\nname = \"victim\"\n\
             prefixes = [\"{registered}\"]\norigin_asns = [{}]\n",
            self.relationships(data),
            self.get("victim_as"),
        )
    }

    /// Whether a rule tells what happened.
    fn is_told_by(&self, rule: &str) -> bool {
        let is_forged = ["hijack_type_1", "hijack_type_n", "hijack_forged_path"].contains(&rule);
        match (self.get("category"), self.get("detail")) {
            ("origin_change", "moas") => rule == "hijack_exact",
            ("origin_change", "subprefix") => rule == "hijack_sub_prefix",
            ("forged_as_path", "moas_unused") => is_forged || rule == "hijack_squat",
            ("forged_as_path", _) => is_forged,
            _ => true,
        }
    }
}

#[derive(Debug, Default, PartialEq)]
struct Verdict {
    found: bool,
    culprit: bool,
    rule: bool,
    framed: bool,
}

/// Replays an incident and reads what is said at medium confidence or above.
fn judged(label: &Label, data: &Path) -> Verdict {
    let bench = Bench::empty();
    bench.write("peerscope.toml", label.configuration(data));
    let files = ["updates.mrt.gz", "rib.mrt.gz"].map(|file| label.folder.join(file));
    let files = files.each_ref().map(|file| file.to_str().unwrap());
    bench.expect(0, &["replay", "--lake", "l", files[0], files[1]]);
    let rows = bench.ask(
        "l",
        "select rule, culprit_asn, confidence, phase from findings where kind in ('hijack', 'leak') \
         and confidence <> 'low' order by time, finding_id, sequence",
    );
    let culprits = label.culprits();
    let mut verdict = Verdict { found: !rows.is_empty(), ..Verdict::default() };
    let rows: Vec<Vec<&str>> = rows.iter().map(|row| row.split(',').collect()).collect();
    let is_right = |row: &[&str]| culprits.contains(row[1]);
    let last = rows.iter().rev().find(|row| row[3] != "resolved");
    verdict.culprit =
        rows.first().is_some_and(|row| is_right(row)) && last.is_some_and(|row| is_right(row));
    verdict.rule = rows.iter().any(|row| label.is_told_by(row[0]));
    verdict.framed = rows.iter().any(|row| row[2] == "high" && !is_right(row));
    verdict
}

#[test]
fn incidents_of_the_past_are_found_with_rule_and_culprit_and_nobody_is_framed() {
    let Some(data) = data() else { return };
    let mut folders: Vec<PathBuf> = std::fs::read_dir(data.join("incidents"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|folder| folder.join("label.json").is_file())
        .collect();
    folders.sort();
    assert_eq!(folders.len(), 18);
    for folder in folders {
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let is_told = !NOT_TOLD.contains(&name.as_str());
        let framed = FRAMED.contains(&name.as_str());
        let wanted = Verdict { found: true, culprit: is_told, rule: is_told, framed };
        assert_eq!(judged(&Label::read(folder), &data), wanted, "{name}");
    }
}
