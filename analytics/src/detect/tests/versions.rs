//! Stories of registries that change under open findings.

use super::*;

fn hijacked() -> Story {
    let mut story = Story::simple();
    story.announced(1, 20, PREFIX, &[64_601, UPSTREAM, ATTACKER]);
    assert_eq!(story.told().len(), 1);
    story
}

#[test]
fn an_edit_of_its_connection_makes_a_finding_outdated() {
    let mut story = hijacked();
    let edited = r#"{"name":"seattle","prefixes":["203.0.113.0/24"],"origin_asns":[64510,64511]}"#;
    let again = story.reconfigured(edited, 30);
    assert_eq!(story.told()[0].0, Phase::Outdated);
    assert_eq!(again, BTreeMap::from([(PREFIX.parse().unwrap(), false)]), "to be judged again");
    story.announced(1, 40, PREFIX, &[64_601, UPSTREAM, ATTACKER]);
    assert_eq!(story.told(), [], "now it may");
}

#[test]
fn a_registration_that_is_gone_is_not_judged_again() {
    let mut story = hijacked();
    let other = r#"{"name":"tacoma","prefixes":["192.0.2.0/24"],"origin_asns":[64510]}"#;
    assert_eq!(story.reconfigured(other, 30), BTreeMap::new());
    assert_eq!(story.told()[0].0, Phase::Outdated);
}

#[test]
fn the_same_registration_under_another_number_keeps_its_finding() {
    let mut story = hijacked();
    let same = r#"{"name":"seattle","prefixes":["203.0.113.0/24","2001:db8:20::/44"],"origin_asns":[64510]}"#;
    let first = r#"{"name":"aberdeen","prefixes":["192.0.2.0/24"],"origin_asns":[64510]}"#;
    let connections = [first, same].map(|json| serde_json::from_str(json).unwrap()).to_vec();
    let after = Registry::new(2, connections, Vec::new()).unwrap();
    let Story { detector, registry, reference, rib, told, .. } = &mut story;
    let at = Timestamp::from_secs(30);
    assert_eq!(detector.enter(registry, &after, (reference, rib), at, told), BTreeMap::new());
    story.registry = after;
    assert_eq!(story.told(), []);
    story.announced(1, 40, PREFIX, &[64_601, UPSTREAM, OWNER]);
    assert_eq!(story.told()[0].0, Phase::Resolved);
}

#[test]
fn a_new_registration_learns_its_origins_for_a_while() {
    let mut story = Story::simple();
    story.reconfigured(r#"{"name":"tacoma","prefixes":["192.0.2.0/24"]}"#, 30);
    for peer in 1..=5 {
        story.announced(peer, 40, "192.0.2.0/24", &[64_600 + u32::from(peer), UPSTREAM, OWNER]);
    }
    story.announced(1, 4_000, "192.0.2.0/24", &[64_601, UPSTREAM, ATTACKER]);
    assert_eq!(story.told()[0].1, Rule::HijackExact);
}

#[test]
fn a_new_neighbour_becomes_usual_in_a_week_if_three_peers_tell_it() {
    const NEIGHBOUR: u32 = 64_520;
    let week = 7 * 86_400;
    let mut story = Story::simple();
    for peer in 1..=3 {
        story.announced(peer, 20, PREFIX, &[64_600 + u32::from(peer), NEIGHBOUR, OWNER]);
    }
    assert_eq!(story.told()[0].1, Rule::HijackType1);
    for peer in 1..=3 {
        let path = [64_600 + u32::from(peer), 64_600 + u32::from(peer), NEIGHBOUR, OWNER];
        story.announced(peer, 30 + week, PREFIX, &path);
    }
    assert_eq!(story.told().last().map(|told| told.0), Some(Phase::Resolved));
    story.announced(7, 40 + week, PREFIX, &[64_607, NEIGHBOUR, OWNER]);
    let told = story.told();
    assert!(told.iter().all(|told| told.1 != Rule::HijackType1), "{told:?}");
}
