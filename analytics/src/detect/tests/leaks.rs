//! Stories of leaks: who passed a route on, by relationships, marks and attestations.

use schemas::bgp::{AsPath, Asn, PathAttributes};
use schemas::connection::{Originates, WatchedAs};
use schemas::finding::{Phase, Rule, TermName};

use super::{ATTACKER, OWNER, PART, PREFIX, Story, UPSTREAM};

const JSON: &str = r#"{"name":"seattle","prefixes":["203.0.113.0/24"],"origin_asns":[64510]}"#;
/// The upstream and another provider sell to the leaker and to the peers 1 to 8; the leaker has two
/// peers, 64520 and 64521.
const LEAKER: u32 = 64_505;
const OTHER: u32 = 64_501;

fn relationships() -> String {
    let peers: String =
        (1..=8).map(|n| format!("64500|{0}|-1\n64501|{0}|-1\n", 64_600 + n)).collect();
    format!(
        "# inferred clique: 64500\n64500|64510|-1\n64500|64505|-1\n64501|64505|-1\n64500|64501|0\n\
         64505|64520|0\n64505|64521|0\n64520|64510|-1\n64520|64601|-1\n64521|64601|-1\n{peers}"
    )
}

fn story() -> Story {
    let mut story = Story::registered(JSON, Vec::new()).knowing(&relationships());
    for peer in 1..=8 {
        story.dumped(peer, PREFIX, &[64_600 + u32::from(peer), UPSTREAM, OWNER]);
    }
    story.dumped(9, PREFIX, &[64_609, 64_520, OWNER]);
    story.detector.end_of_rib();
    story
}

fn marked(path: &[u32], otc: u32) -> Option<PathAttributes> {
    Some(PathAttributes {
        as_path: AsPath::sequence(path.iter().copied()),
        otc: Some(Asn(otc)),
        ..PathAttributes::default()
    })
}

fn terms(story: &Story) -> Vec<(&'static str, f64)> {
    story
        .routes()
        .last()
        .unwrap()
        .terms
        .iter()
        .map(|term| (term.name.as_str(), term.weight))
        .collect()
}

/// RFC 7908 §3.1 to §3.4, by the relationships.
#[test]
fn each_way_of_passing_on_is_a_leak_of_its_type_and_the_leaker_is_named() {
    let cases: [(&[u32], Rule, u8); 4] = [
        (&[64_601, OTHER, LEAKER, UPSTREAM, OWNER], Rule::LeakType1, 1),
        (&[64_601, 64_521, LEAKER, 64_520, OWNER], Rule::LeakType2, 2),
        (&[64_601, 64_521, LEAKER, UPSTREAM, OWNER], Rule::LeakType3, 3),
        (&[64_601, OTHER, LEAKER, 64_520, OWNER], Rule::LeakType4, 4),
    ];
    for (path, rule, leak_type) in cases {
        let mut story = story();
        story.announced(1, 10, PREFIX, path);
        let last = story.routes().last().unwrap();
        assert_eq!(last.finding.leak_type.map(|known| known.number()), Some(leak_type));
        assert_eq!(last.finding.rpki_state, None);
        let told = story.told();
        assert_eq!((told.len(), told[0].0, told[0].1, told[0].2), (1, Phase::Opened, rule, LEAKER));
        story.announced(1, 20, PREFIX, &[64_601, UPSTREAM, OWNER]);
        assert_eq!(story.told()[0].0, Phase::Resolved);
    }
}

#[test]
fn a_leak_that_more_peers_hold_is_surer_and_one_finding() {
    let mut story = story();
    for peer in 1..=8 {
        let path = [64_600 + u32::from(peer), OTHER, LEAKER, UPSTREAM, OWNER];
        story.announced(peer, 10 + i64::from(peer), PREFIX, &path);
    }
    let ids: std::collections::BTreeSet<_> = story.routes().map(|told| told.finding.id).collect();
    assert_eq!(ids.len(), 1);
    let expected = [("rule", 3.0), ("peerlock", 2.0), ("longer", 1.0), ("witnesses", 1.5)];
    assert_eq!(terms(&story), expected, "a clique AS came back up from a customer");
    assert_eq!(story.told().last().unwrap().3, "medium", "relationships alone are not sure");
}

#[test]
fn a_turn_that_the_dump_held_is_no_news() {
    let mut story = Story::registered(JSON, Vec::new()).knowing(&relationships());
    let path = [64_601, OTHER, LEAKER, UPSTREAM, OWNER];
    story.dumped(1, PREFIX, &path);
    story.detector.end_of_rib();
    story.withdrawn(1, 10, PREFIX).announced(1, 20, PREFIX, &path);
    assert_eq!(story.told(), []);
}

#[test]
fn siblings_pass_on_what_they_like() {
    let mut story = story();
    let text = format!("asn,organisation\n{LEAKER},Contoso\n{UPSTREAM},Contoso\n");
    story.reference.organisations =
        crate::reference::Organisations::read(text.as_bytes()).unwrap().into();
    story.announced(1, 10, PREFIX, &[64_601, OTHER, LEAKER, UPSTREAM, OWNER]);
    assert_eq!(story.told(), [], "a provider's customer route goes up to a peer or provider");
}

#[test]
fn a_route_server_is_no_hop() {
    let mut story = story();
    let text = format!("# IXP ASes: 64530\n{}", relationships());
    story = story.knowing(&text);
    story.announced(1, 10, PREFIX, &[64_601, OTHER, 64_530, UPSTREAM, OWNER]);
    assert_eq!(story.told(), [], "two peers over an exchange");
}

#[test]
fn relationships_that_contradict_themselves_are_doubted() {
    let mut story = story();
    story = story.knowing(&format!("64505|64501|-1\n{}", relationships()));
    story.announced(1, 10, PREFIX, &[64_601, OTHER, LEAKER, UPSTREAM, OWNER]);
    assert!(terms(&story).contains(&("disputed", -2.0)), "{:?}", terms(&story));
}

/// What a seller of transit is to its neighbours varies by place.
#[test]
fn valleys_of_sellers_weigh_less() {
    let customers: String = (1..=5).map(|n| format!("64505|{}|-1\n", 64_950 + n)).collect();
    let mut story = story().knowing(&format!("{}{customers}", relationships()));
    story.announced(1, 10, PREFIX, &[64_601, OTHER, LEAKER, UPSTREAM, OWNER]);
    assert!(terms(&story).contains(&("transit", -4.0)), "{:?}", terms(&story));
    let weight = |path: &[u32]| {
        let mut story = self::story();
        story.announced(1, 10, PREFIX, path);
        terms(&story)[0].1
    };
    assert_eq!(weight(&[64_601, 64_521, LEAKER, 64_520, OWNER]), 2.0, "between peers");
    assert_eq!(weight(&[64_601, OTHER, LEAKER, 64_520, OWNER]), 2.0, "from a peer");
}

/// RFC 9234 §5: a route that is marked and still comes from a customer, or from a peer with another
/// mark than its own, is a leak; from a provider it is not.
#[test]
fn marks_are_checked_where_the_role_of_the_session_is_known() {
    let watched = WatchedAs {
        number: Asn(64_504),
        upstreams: vec![Asn(64_700)],
        peers: vec![Asn(64_701)],
        downstreams: vec![Asn(64_702)],
        originates: Originates::Any,
    };
    let told = |sender: u32, otc: u32| {
        let mut story = Story::registered(JSON, vec![watched.clone()]);
        story.router = Some("edge1".to_owned());
        story.peer_asn = Some(Asn(sender));
        for other in [64_700, 64_701, 64_702] {
            story.peer_asn = Some(Asn(other));
            story.dumped(1, PREFIX, &[other, OWNER]);
        }
        story.detector.end_of_rib();
        story.peer_asn = Some(Asn(sender));
        story.tell(1, 10, PREFIX, marked(&[sender, OWNER], otc), false);
        story.told().last().map(|told| (told.1, told.2))
    };
    assert_eq!(told(64_702, OWNER), Some((Rule::LeakOtc, 64_702)), "from a customer, any mark");
    assert_eq!(told(64_702, 64_702), Some((Rule::LeakOtc, 64_702)), "even its own");
    assert_eq!(told(64_701, OWNER), Some((Rule::LeakOtc, 64_701)), "from a peer, another mark");
    assert_eq!(told(64_701, 64_701), None, "from a peer, its own");
    assert_eq!(told(64_700, OWNER), None, "from a provider");
}

/// RFC 9234 §5: what is marked goes to customers only, seen from afar by the relationships.
#[test]
fn a_mark_on_the_path_tells_who_passed_the_route_up() {
    let path = [64_601, OTHER, LEAKER, UPSTREAM, OWNER];
    let mut story = story();
    story.tell(1, 10, PREFIX, marked(&path, UPSTREAM), false);
    assert!(terms(&story).contains(&("otc", 3.0)), "{:?}", terms(&story));
    assert_eq!(story.told()[0].1, Rule::LeakType1, "relationships give the type");
    // Nobody knows what the leaker is to the upstream: only the mark tells.
    let mut story = self::story();
    let unknown = relationships().replace("64500|64505|-1\n", "");
    let links = story.detector.baseline;
    let mut fresh = Story::registered(JSON, Vec::new()).knowing(&unknown);
    fresh.detector.baseline = links;
    story = fresh;
    story.aspas().insert(Asn(LEAKER), [Asn(UPSTREAM), Asn(OTHER)]);
    story.tell(1, 10, PREFIX, marked(&path, UPSTREAM), false);
    assert_eq!(story.told().last().map(|told| (told.1, told.2)), Some((Rule::LeakOtc, LEAKER)));
    let mut story = self::story();
    story.tell(1, 10, PREFIX, marked(&[64_601, UPSTREAM, OWNER], UPSTREAM), false);
    assert_eq!(story.told(), [], "down to a customer");
}

#[test]
fn attestations_tell_a_leak_and_agree_or_disagree_with_the_relationships() {
    let attest = |story: &mut Story| {
        story.aspas().insert(Asn(LEAKER), [Asn(UPSTREAM), Asn(OTHER)]);
        story.aspas().insert(Asn(OWNER), [Asn(UPSTREAM)]);
        story.aspas().insert(Asn(UPSTREAM), [Asn(0)]);
        story.aspas().insert(Asn(OTHER), [Asn(0)]);
    };
    let path = [64_601, OTHER, LEAKER, UPSTREAM, OWNER];
    let mut both = story();
    attest(&mut both);
    both.announced(1, 10, PREFIX, &path);
    let last = both.routes().last().unwrap();
    let detail = last.terms.iter().find(|term| term.name == TermName::Aspa).unwrap();
    assert_eq!(detail.weight, 3.0);
    assert!(detail.detail.contains("AS64500 AS64505 AS64501"), "{}", detail.detail);
    let mut alone = Story::registered(JSON, Vec::new());
    alone.dumped(1, PREFIX, &[64_601, UPSTREAM, OWNER]);
    alone.detector.end_of_rib();
    attest(&mut alone);
    alone.announced(1, 10, PREFIX, &path);
    assert_eq!(alone.told(), [(Phase::Opened, Rule::LeakAspa, LEAKER, "medium")]);
    let mut valid = story();
    for (customer, provider) in [(OWNER, UPSTREAM), (UPSTREAM, LEAKER), (LEAKER, OTHER)] {
        valid.aspas().insert(Asn(customer), [Asn(provider)]);
    }
    valid.aspas().insert(Asn(64_601), [Asn(OTHER)]);
    valid.announced(1, 10, PREFIX, &path);
    assert_eq!(valid.told()[0].3, "low", "attested from end to end: the relationships are wrong");
}

#[test]
fn a_path_with_an_unknown_link_near_the_origin_is_forged_and_no_leak() {
    let mut story = story();
    for peer in 1..=8 {
        let path = [64_600 + u32::from(peer), OTHER, LEAKER, OWNER];
        story.announced(peer, 10, PREFIX, &path);
    }
    assert!(story.told().iter().all(|told| told.1 == Rule::HijackType1));
}

/// RFC 7908 §3.5: the same path, cut off behind an AS that had the route from its provider.
#[test]
fn who_cuts_a_route_off_behind_itself_re_originates_it() {
    let path = [64_601, LEAKER, UPSTREAM, OWNER];
    let mut story = Story::registered(JSON, Vec::new()).knowing("64500|64505|-1\n64500|64510|-1\n");
    story.dumped(1, PREFIX, &path);
    story.detector.end_of_rib();
    story.announced(1, 10, PREFIX, &[64_601, LEAKER]);
    assert_eq!(story.told(), [(Phase::Opened, Rule::LeakType5, LEAKER, "medium")]);
    assert_eq!(story.routes().count(), 0);
    let mut story = self::story();
    story.announced(1, 10, PREFIX, &[64_601, OTHER, LEAKER]);
    assert_eq!(story.told()[0].1, Rule::HijackExact, "another path than before");
}

/// RFC 7908 §3.6: a part that its owner never announced, over known links.
#[test]
fn a_part_that_its_owner_never_announced_is_low_and_a_known_one_is_no_news() {
    let mut story = Story::simple();
    for peer in 1..=20 {
        let path = [64_600 + u32::from(peer), UPSTREAM, OWNER];
        story.announced(peer, 20, "2001:db8:2a::/48", &path);
    }
    let told = story.told();
    assert!(told.iter().all(|told| (told.1, told.2, told.3) == (Rule::LeakType6, OWNER, "low")));
    assert_eq!(told.first().map(|told| told.0), Some(Phase::Opened));
    let mut story = Story::simple();
    story.dumped(1, "2001:db8:2a::/48", &[64_601, UPSTREAM, OWNER]);
    story.announced(1, 20, "2001:db8:2a::/48", &[64_601, UPSTREAM, OWNER]);
    assert_eq!(story.told(), [], "a dump held it");
}

fn watched() -> WatchedAs {
    WatchedAs {
        number: Asn(64_504),
        upstreams: vec![Asn(64_500)],
        peers: Vec::new(),
        downstreams: vec![Asn(OWNER)],
        originates: Originates::Registered,
    }
}

#[test]
fn a_watched_as_originates_only_what_is_registered() {
    let mut story = Story::registered(JSON, vec![watched()]);
    let path = [64_601, UPSTREAM, 64_504];
    story.announced(1, 10, "192.0.2.0/24", &path);
    assert_eq!(story.told(), [(Phase::Opened, Rule::OriginUnregistered, 64_504, "medium")]);
    story.announced(1, 11, "192.0.2.0/24", &[64_601, UPSTREAM, 64_504, OWNER]);
    assert_eq!(story.told()[0].0, Phase::Resolved, "a customer's");
    let any = WatchedAs { originates: Originates::Any, ..watched() };
    let mut story = Story::registered(JSON, vec![any]);
    story.announced(1, 10, "192.0.2.0/24", &path);
    assert_eq!(story.told(), []);
}

#[test]
fn a_neighbour_that_a_watched_as_does_not_list_is_told() {
    let mut story = Story::registered(JSON, vec![watched()]);
    story.announced(1, 10, PREFIX, &[64_601, 64_500, 64_504, OWNER]);
    assert_eq!(story.told(), []);
    story.announced(1, 11, PREFIX, &[64_601, 64_777, 64_504, OWNER]);
    assert_eq!(story.told(), [(Phase::Opened, Rule::NeighbourUnknown, 64_777, "low")]);
    let silent = WatchedAs { upstreams: Vec::new(), downstreams: Vec::new(), ..watched() };
    let mut story = Story::registered(JSON, vec![silent]);
    story.announced(1, 11, PREFIX, &[64_601, 64_777, 64_504, OWNER]);
    assert_eq!(story.told(), [], "one without lists has any neighbour");
}

#[test]
fn a_watched_as_that_passes_routes_between_providers_is_a_leak_with_its_type() {
    let watched = WatchedAs {
        number: Asn(64_504),
        upstreams: vec![Asn(64_498), Asn(64_500)],
        peers: vec![Asn(64_501)],
        downstreams: vec![Asn(OWNER)],
        originates: Originates::Any,
    };
    let json = r#"{"name":"seattle","prefixes":["203.0.113.0/24"],"origin_asns":[64510]}"#;
    let mut story = Story::registered(json, vec![watched]);
    story.announced(1, 10, PREFIX, &[64_601, 64_500, 64_504, OWNER]);
    assert_eq!(story.told(), [], "a customer's route goes to everybody");
    let cases = [
        ([64_498, 64_504, 64_500, OWNER], 1),
        ([64_501, 64_504, 64_500, OWNER], 3),
        ([64_498, 64_504, 64_501, OWNER], 4),
    ];
    let mut types = std::collections::BTreeMap::new();
    for (path, leak_type) in cases {
        story.announced(1, 20, PREFIX, &path);
        let last = story.routes().last().unwrap();
        assert_eq!((last.finding.rule, last.finding.culprit), (Rule::LeakOwnAs, Some(Asn(64_504))));
        types.insert(leak_type, last.finding.id);
    }
    story.announced(1, 30, PREFIX, &[64_601, 64_500, 64_504, OWNER]);
    assert_eq!(story.told().last().unwrap().0, Phase::Resolved);
}

#[test]
fn attestations_make_a_link_known_or_a_path_invalid() {
    let mut story = Story::simple();
    story.aspas().insert(Asn(OWNER), [Asn(UPSTREAM), Asn(64_700)]);
    story.announced(1, 20, PREFIX, &[64_601, UPSTREAM, 64_700, OWNER]);
    let told = story.told();
    assert!(told.iter().all(|told| told.2 != 64_700), "an attested neighbour: {told:?}");
    let mut story = Story::simple();
    story.aspas().insert(Asn(OWNER), [Asn(UPSTREAM)]);
    story.aspas().insert(Asn(UPSTREAM), [Asn(0)]);
    // Down from one that has no provider, and up again.
    story.announced(1, 20, PART, &[64_601, UPSTREAM, ATTACKER, OWNER]);
    let told = story.routes().last().unwrap();
    let weight = told.terms.iter().find(|term| term.name == TermName::Aspa).map(|term| term.weight);
    assert_eq!(weight, Some(2.0), "{told:?}");
}
