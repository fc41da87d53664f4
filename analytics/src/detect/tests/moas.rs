//! Stories of prefixes with two origins: which evidence of change there is.

use schemas::finding::{Phase, Rule};
use schemas::time::Timestamp;

use super::{ATTACKER, OWNER, PREFIX, Story, UPSTREAM};
use crate::reference::AsRelationships;

const JSON: &str = r#"{"name":"seattle","prefixes":["203.0.113.0/24"],"origin_asns":[64510]}"#;
/// Relationships under which the attacker is a stranger behind known links.
const KNOWN: &str = "64500|64510|-1\n64500|64511|-1\n";

fn cold() -> Story {
    let peers: String = (1..=20).map(|n| format!("64500|{}|-1\n", 64_600 + n)).collect();
    let mut story = Story::registered(JSON, Vec::new()).knowing(&format!("{KNOWN}{peers}"));
    story.detector.begin(Timestamp::from_secs(0));
    story
}

fn foreign(peer: u8) -> [u32; 3] {
    [64_600 + u32::from(peer), UPSTREAM, ATTACKER]
}

fn right(peer: u8) -> [u32; 3] {
    [64_600 + u32::from(peer), UPSTREAM, OWNER]
}

fn weight(story: &Story, term: &str) -> Option<f64> {
    let told = story.routes().last()?;
    told.terms.iter().find(|other| other.name.as_str() == term).map(|other| other.weight)
}

/// Without a dump the first word of a peer says nothing of what it held before, however many say it.
#[test]
fn first_words_in_a_log_without_a_dump_stay_low() {
    let mut story = cold();
    story.announced(1, 10, PREFIX, &right(1));
    for peer in 2..=20 {
        story.announced(peer, 20, PREFIX, &foreign(peer));
    }
    let told = story.told();
    assert_eq!(told.last(), Some(&(Phase::Updated, Rule::HijackExact, ATTACKER, "low")));
    // What was heard while learning is no news after it.
    for peer in 2..=20 {
        story.withdrawn(peer, 5_000, PREFIX).announced(peer, 5_001, PREFIX, &foreign(peer));
    }
    assert!(story.told().iter().all(|told| told.3 == "low"));
}

#[test]
fn peers_that_turn_from_the_right_origin_are_evidence_before_learning_is_over() {
    let mut story = cold();
    for peer in 1..=16 {
        story.announced(peer, 10, PREFIX, &right(peer));
    }
    story.announced(1, 20, PREFIX, &foreign(1));
    assert_eq!(story.told()[0].3, "low", "one may swing");
    for peer in 2..=16 {
        story.announced(peer, 21, PREFIX, &foreign(peer));
    }
    assert_eq!(story.told().last().map(|told| told.3), Some("medium"));
}

#[test]
fn a_peer_that_swings_between_two_origins_is_one_peer() {
    let mut story = cold();
    for round in 0..20 {
        story.announced(1, 10 + 60 * round, PREFIX, &right(1));
        story.announced(1, 40 + 60 * round, PREFIX, &foreign(1));
    }
    assert!(story.told().iter().all(|told| told.3 == "low"));
}

#[test]
fn after_learning_an_origin_that_was_never_heard_counts_in_full() {
    let mut story = cold();
    story.announced(1, 10, PREFIX, &right(1)).announced(2, 5_000, PREFIX, &foreign(2));
    assert_eq!(story.told(), [(Phase::Opened, Rule::HijackExact, ATTACKER, "medium")]);
    assert_eq!(weight(&story, "learning"), None);
}

#[test]
fn whoever_stands_behind_the_right_origin_is_no_hijacker() {
    let behind = |links: &str, path: &[u32]| {
        let mut story = Story::simple().knowing(&format!("{KNOWN}{links}"));
        story.detector.baseline = Story::simple().detector.baseline;
        for peer in 1..=20 {
            let path = [&[64_600 + u32::from(peer)], path].concat();
            story.announced(peer, 20, PREFIX, &path);
        }
        story.told().last().map(|told| (told.1, told.2, told.3))
    };
    let customer = behind("64510|64511|-1\n", &[UPSTREAM, OWNER, ATTACKER]);
    assert_eq!(customer, None, "however many believe it");
    let private = behind("64999|64511|-1\n", &[UPSTREAM, OWNER, 65_010]);
    assert_eq!(private, None, "a private number that the owner let through");
    // The owner's number between two strangers was written by one of them.
    let framed = behind("64999|64511|-1\n", &[UPSTREAM, 64_700, OWNER, ATTACKER]);
    assert_ne!(framed.map(|told| told.1), Some(OWNER));
}

#[test]
fn neighbours_are_excused_however_many_believe_them_and_peers_are_not() {
    let confidence = |links: &str| {
        let mut story = Story::simple();
        let text = format!("64500|64510|-1\n64500|64511|-1\n{links}");
        story.reference.relationships = AsRelationships::read(text.as_bytes()).unwrap().into();
        for peer in 1..=20 {
            story.announced(peer, 20, PREFIX, &foreign(peer));
        }
        let witnesses = weight(&story, "witnesses").unwrap();
        (story.told().last().unwrap().3, witnesses)
    };
    assert_eq!(confidence("64510|64511|-1\n"), ("low", 2.0), "its customer");
    assert_eq!(confidence("64511|64510|-1\n"), ("low", 2.0), "its provider");
    assert_eq!(confidence("64510|64511|0\n").0, "medium", "one of many peers");
    assert_eq!(confidence(""), ("high", 4.0), "a stranger");
}
