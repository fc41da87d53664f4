//! Stories of routes that are badly formed, and of exceptions for a while.

use schemas::bgp::{AsPath, AsSegment, Asn, Community, PathAttributes, SegmentKind};
use schemas::finding::{Phase, Rule, Severity};

use super::{ATTACKER, OWNER, PREFIX, Story, UPSTREAM};
use crate::reference::Vrps;

/// A neighbour of the upstream that the dump knew.
const KNOWN: u32 = 64_620;

/// What a peer's route is told as: rule, culprit, confidence.
fn told(path: &[u32]) -> Vec<(Rule, u32, &'static str)> {
    let mut story = Story::simple();
    for peer in 1..=16 {
        story.announced(peer, 20, PREFIX, &[&[64_600 + u32::from(peer)], path].concat());
    }
    let mut told: Vec<_> = story.told().into_iter().map(|told| (told.1, told.2, told.3)).collect();
    told.dedup();
    told
}

fn set(path: &[u32], members: &[u32]) -> Option<PathAttributes> {
    let mut as_path = AsPath::sequence(path.iter().copied());
    let asns = members.iter().copied().map(Asn).collect();
    as_path.segments.push(AsSegment { kind: SegmentKind::Set, asns });
    Some(PathAttributes { as_path, ..PathAttributes::default() })
}

#[test]
fn reserved_numbers_are_told_unless_somebody_of_ours_has_them() {
    for bogon in [0, 23_456, 64_497, 65_000, 65_535, 65_551, 4_200_000_000, u32::MAX] {
        let told = told(&[bogon, KNOWN, UPSTREAM, OWNER]);
        let rules: Vec<_> = told.iter().map(|told| (told.0, told.2)).collect();
        assert_eq!(rules.first(), Some(&(Rule::HygieneBogonAsn, "low")), "{bogon}: {told:?}");
    }
    let public = told(&[3_356, KNOWN, UPSTREAM, OWNER]);
    assert_eq!(public, [(Rule::HijackTypeN, 3_356, "low")], "a new link, far from the origin");
    let mut story = Story::simple();
    story.dumped(1, PREFIX, &[64_601, 65_000, KNOWN, UPSTREAM, OWNER]);
    story.announced(2, 20, PREFIX, &[64_602, 65_000, KNOWN, UPSTREAM, OWNER]);
    assert_eq!(story.told(), [], "the dump knew it");
}

#[test]
fn the_one_that_let_a_reserved_number_through_is_the_culprit() {
    let told = told(&[3_356, 65_000, KNOWN, UPSTREAM, OWNER]);
    assert_eq!(told.first().map(|told| told.1), Some(3_356));
}

#[test]
fn a_set_has_no_origin_and_is_told_as_what_it_is() {
    let mut story = Story::simple();
    story.tell(1, 20, PREFIX, set(&[64_601, UPSTREAM], &[OWNER, ATTACKER]), false);
    let told = story.told();
    assert_eq!((told.len(), told[0].1, told[0].3), (1, Rule::HygieneAsSet, "low"));
    let mut story = Story::simple();
    story.tell(1, 0, PREFIX, set(&[64_601, UPSTREAM], &[OWNER]), true);
    story.tell(2, 20, PREFIX, set(&[64_602, UPSTREAM], &[OWNER]), false);
    assert_eq!(story.told(), [], "a dump held one");
}

#[test]
fn an_empty_path_accuses_nobody() {
    let mut story = Story::simple();
    story.announced(1, 20, PREFIX, &[]);
    assert_eq!(story.told(), []);
}

#[test]
fn loops_far_from_the_origin_are_told_and_near_it_they_are_forged() {
    assert_eq!(
        told(&[3_356, 174, 3_356, KNOWN, UPSTREAM, OWNER]).first().map(|told| (told.0, told.1)),
        Some((Rule::HygieneLoop, 3_356))
    );
    let forged = told(&[UPSTREAM, OWNER, UPSTREAM, OWNER]);
    assert!(forged.iter().all(|told| told.0 != Rule::HygieneLoop), "{forged:?}");
}

#[test]
fn paths_of_five_hundred_ases_are_too_long_and_fifty_are_not() {
    let path = |ases: u32| -> Vec<u32> {
        [(1_001..1_001 + ases - 4).collect(), vec![KNOWN, UPSTREAM, OWNER]].concat()
    };
    let long = told(&path(500));
    assert_eq!(long.first().map(|told| (told.0, told.2)), Some((Rule::HygienePathLength, "low")));
    assert!(told(&path(49)).iter().all(|told| told.0 == Rule::HijackTypeN), "new links alone");
}

#[test]
fn prepends_are_told_where_they_are_many_more_than_before() {
    let prepended = |times: usize| told(&[vec![UPSTREAM], vec![OWNER; times]].concat());
    assert_eq!(prepended(9), []);
    assert_eq!(prepended(10).first(), Some(&(Rule::HygienePrepend, OWNER, "low")));
}

#[test]
fn a_part_that_nobody_routes_is_to_know_and_no_more() {
    let mut story = Story::simple();
    story.announced(1, 20, "203.0.113.7/32", &[64_601, UPSTREAM, OWNER]);
    assert_eq!(story.routes().next().unwrap().finding.severity, Severity::Information);
    assert_eq!(story.told(), [(Phase::Opened, Rule::HygienePrefixLength, OWNER, "low")]);
}

fn blackholed(path: &[u32]) -> Option<PathAttributes> {
    Some(PathAttributes {
        as_path: AsPath::sequence(path.iter().copied()),
        communities: vec![Community::Standard(0xffff_029a)],
        ..PathAttributes::default()
    })
}

const HOST: &str = "203.0.113.7/32";

/// RFC 7999: the owner, or its upstream, drops traffic to an address under attack.
#[test]
fn blackholing_by_the_owner_or_its_upstream_is_ignored_for_a_day() {
    for path in [&[64_601, UPSTREAM, OWNER][..], &[64_601, UPSTREAM]] {
        let mut story = Story::simple();
        story.tell(1, 20, HOST, blackholed(path), false);
        assert_eq!(story.routes().count(), 1, "{path:?}");
        assert_eq!(story.routes().next().unwrap().phase, Phase::Ignored);
        assert_eq!(story.routes().next().unwrap().finding.muted_by.as_deref(), Some("blackhole"));
        story.tell(2, 3_600, HOST, blackholed(path), false);
        assert_eq!(story.routes().count(), 1, "told once");
        story.tell(3, 20 + 24 * 3_600, HOST, blackholed(path), false);
        assert_eq!(story.routes().last().unwrap().phase, Phase::Opened, "a day is over");
    }
    let mut story = Story::simple();
    story.tell(1, 20, HOST, blackholed(&[64_601, UPSTREAM, ATTACKER]), false);
    assert_eq!(story.told()[0].0, Phase::Opened, "a stranger's community excuses nothing");
}

#[test]
fn a_scrubber_is_expected_for_a_day() {
    let mut story = Story::simple();
    story.detector.options.scrubbers = vec![Asn(ATTACKER)];
    story.announced(1, 20, PREFIX, &[64_601, UPSTREAM, ATTACKER]);
    assert_eq!(story.routes().next().unwrap().finding.muted_by.as_deref(), Some("scrubber"));
    assert_eq!(story.told()[0].0, Phase::Ignored);
    story.announced(2, 30, PREFIX, &[64_602, UPSTREAM, ATTACKER, OWNER]);
    assert_eq!(
        story.routes().next().unwrap().finding.muted_by.as_deref(),
        Some("scrubber"),
        "as new upstream"
    );
    story.told();
    story.announced(3, 21 + 24 * 3_600, PREFIX, &[64_603, UPSTREAM, ATTACKER]);
    assert_eq!(story.told()[0].0, Phase::Opened);
}

/// RFC 6811: a route of the right origin that ROAs forbid; it ends when it is gone.
#[test]
fn roas_that_forbid_our_own_route_are_told() {
    let right = [64_601, UPSTREAM, OWNER];
    let told = |vrps: &str, prefix: &str| {
        let mut story = Story::simple();
        story.reference.vrps = Vrps::read(vrps.as_bytes()).unwrap().into();
        story.announced(1, 20, prefix, &right);
        let words = story.routes().next().map(|told| told.finding.explanation.clone());
        let rules: Vec<Rule> = story.told().into_iter().map(|told| told.1).collect();
        story.withdrawn(1, 30, prefix);
        (rules, words.unwrap_or_default(), story.told().first().map(|told| told.0))
    };
    let (rules, words, end) = told("64999,203.0.113.0/24,24\n", PREFIX);
    assert_eq!((rules, end), (vec![Rule::RpkiInvalid], Some(Phase::Resolved)));
    assert!(words.contains("none names its origin"), "{words}");
    let (rules, ..) = told("0,203.0.113.0/24,24\n", PREFIX);
    assert_eq!(rules, [Rule::RpkiInvalid], "AS 0 may originate nothing (RFC 6483 §4)");
    let (rules, ..) = told(&format!("{OWNER},203.0.113.0/24,24\n"), PREFIX);
    assert_eq!(rules, []);
    let (rules, ..) = told(&format!("{OWNER},2001:db8:20::/44,44\n"), "2001:db8:2a::/48");
    assert!(rules.contains(&Rule::RpkiInvalid), "too long: {rules:?}");
}

/// ROAs speak of the public Internet: what somebody attests of private space is not ours.
#[test]
fn roas_for_private_space_say_nothing_of_a_private_domain() {
    let json = r#"{"name":"vpn","prefixes":["10.0.0.0/16"],"origin_asns":[64510],
        "routing_domain":"vrf:65000:1"}"#;
    let mut story = Story::registered(json, Vec::new());
    story.domain = "vrf:65000:1".to_owned();
    story.reference.vrps = Vrps::read("64999,10.0.0.0/8,8\n".as_bytes()).unwrap().into();
    story.announced(1, 20, "10.0.0.0/16", &[64_601, OWNER]);
    assert_eq!(story.told(), []);
    story.detector.end_of_rib();
    story.announced(2, 30, "10.0.0.0/16", &[64_602, ATTACKER]);
    assert_eq!(story.routes().next().unwrap().finding.rpki_state, None);
}
