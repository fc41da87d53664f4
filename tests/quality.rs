//! The quality of the detectors on a few trials of the simulator: bars for what there is, so that a
//! change that blinds a detector is seen at once. The full figures are `peerscope-benches quality`'s.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use analytics::detect::DetectOptions;
use peerscope::quality::days::Days;
use peerscope::quality::figures::Figures;
use peerscope::quality::judge::judge;
use peerscope::quality::run;
use schemas::finding::Confidence;

/// Trials; each has every kind once.
const SEEDS: u64 = 12;

fn figures(detect: &DetectOptions) -> Figures {
    let mut figures = Figures::default();
    for seed in 0..SEEDS {
        judge(&run(seed, None, detect).unwrap(), &mut figures);
    }
    figures
}

#[test]
fn what_can_be_found_is_found_and_its_culprit_is_named() {
    let figures = figures(&DetectOptions::default());
    println!("{}", figures.table());
    let bars = [
        ("exact", 11),
        ("sub_prefix", 12),
        ("super_prefix", 12),
        ("squatting", 12),
        ("type_1", 11),
        ("type_1_part", 12),
        ("type_2_part", 12),
        ("type_3_part", 12),
        ("invented_as", 9),
        ("invented_as_part", 11),
        ("forged_sibling_part", 9),
        ("leak_own_as", 11),
    ];
    for (kind, least) in bars {
        let tally = &figures.kinds[kind];
        assert!(tally.found >= least, "{kind}: {} found of {}", tally.found, tally.staged);
        let right = tally.culprit * 10;
        assert!(right >= tally.found * 8, "{kind}: {} right of {}", tally.culprit, tally.found);
    }
    assert_eq!(figures.false_alarms.values().sum::<u64>(), 0, "nothing happened to bystanders");
}

#[test]
fn the_same_seed_is_the_same_trial() {
    let detect = DetectOptions::default();
    let once = run(5, Some("type_1"), &detect).unwrap();
    let again = run(5, Some("type_1"), &detect).unwrap();
    assert!(!once.transitions.is_empty());
    assert_eq!(once.transitions, again.transitions);
}

#[test]
fn a_term_that_is_left_out_is_in_no_score() {
    let without = ["rule".to_owned(), "witnesses".to_owned()];
    let detect = DetectOptions { without_terms: without.to_vec(), ..DetectOptions::default() };
    let told = run(1, Some("sub_prefix"), &detect).unwrap().transitions;
    let terms = told.iter().flat_map(|row| &row.terms);
    assert!(terms.into_iter().all(|term| !without.iter().any(|name| name == term.name.as_str())));
    assert!(told.iter().all(|row| row.finding.score < 5.0), "the rule itself weighs 5");
}

#[test]
fn quiet_days_stay_nearly_quiet() {
    let days = Days::of(1, 250, &DetectOptions::default()).unwrap();
    println!("{}", days.table());
    assert_eq!(days.prefix_days, 250);
    assert!(days.happened.len() >= 5, "{:?}", days.happened);
    let loud = days
        .causes
        .keys()
        .any(|(cause, _, confidence)| *cause == "churn" && *confidence == Confidence::High);
    assert!(!loud, "churn alone wakes nobody: {:?}", days.causes);
}
