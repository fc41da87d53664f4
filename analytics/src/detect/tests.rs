//! Stories: what peers said, and what the detectors make of it.

use std::collections::BTreeMap;

use schemas::bgp::RibView;
use schemas::finding::{FindingKind, Phase, RpkiState, Rule};

use super::*;
use crate::reference::{AsRelationships, Organisations, Vrps};

const OWNER: u32 = 64_510;
const UPSTREAM: u32 = 64_500;
const ATTACKER: u32 = 64_511;

mod exceptions;
mod hygiene;
mod leaks;
mod moas;
mod silent;
mod story;
mod versions;
mod watches;

use story::Story;

const PREFIX: &str = "203.0.113.0/24";

#[test]
fn the_owner_is_no_news_before_and_after_the_dump() {
    let mut story = Story::simple();
    story.announced(1, 10, PREFIX, &[64_601, 64_602, UPSTREAM, OWNER]).withdrawn(2, 11, PREFIX);
    assert_eq!(story.told(), []);
}

#[test]
fn a_hijack_opens_at_the_first_believer_grows_and_ends_with_the_last() {
    let mut story = Story::simple();
    let bad = |peer: u8| [64_600 + u32::from(peer), UPSTREAM, ATTACKER];
    story.announced(1, 20, PREFIX, &bad(1));
    assert_eq!(story.told(), [(Phase::Opened, Rule::HijackExact, ATTACKER, "medium")]);
    story.announced(2, 30, PREFIX, &bad(2));
    assert_eq!(story.told()[0].0, Phase::Updated, "the witnesses have doubled");
    for peer in 3..=16 {
        story.announced(peer, 31, PREFIX, &bad(peer));
    }
    assert_eq!(story.told().last(), Some(&(Phase::Updated, Rule::HijackExact, ATTACKER, "high")));
    for peer in 2..=16 {
        story.announced(peer, 40, PREFIX, &[64_600 + u32::from(peer), UPSTREAM, OWNER]);
    }
    assert_eq!(story.told(), [], "one believer is left");
    story.withdrawn(1, 50, PREFIX);
    assert_eq!(story.told(), [(Phase::Resolved, Rule::HijackExact, ATTACKER, "high")]);
    story.announced(1, 60, PREFIX, &bad(1));
    assert_eq!(story.told()[0].0, Phase::Reopened, "within six hours it is the same finding");
}

/// What a router itself uses or announces is its own word and nobody's belief; nor does it show that
/// our prefix is still seen.
#[test]
fn loc_rib_and_adj_rib_out_are_no_witnesses() {
    let mut story = Story::simple();
    let bad = [64_601, UPSTREAM, ATTACKER];
    for view in [RibView::LocRib, RibView::AdjRibOutPre, RibView::AdjRibOutPost] {
        story.view = view;
        story.announced(1, 20, PREFIX, &bad).announced(1, 20, "203.0.113.128/25", &bad);
        story.announced(1, 21, "203.0.112.0/23", &bad).withdrawn(1, 22, "203.0.112.0/23");
        assert_eq!(story.told(), [], "{view:?}");
        story.announced(1, 23, PREFIX, &[64_601, UPSTREAM, OWNER]);
    }
    story.view = RibView::AdjRibInPre;
    for peer in 1..=20 {
        story.withdrawn(peer, 24, PREFIX);
    }
    story.announced(1, 25, "203.0.112.0/23", &[64_601, ATTACKER]);
    let told = story.told();
    let expected = (Phase::Opened, Rule::HijackSuperPrefix, ATTACKER, "medium");
    assert_eq!(told, [expected], "Loc-RIB does not make ours visible");
    story.view = RibView::AdjRibInPost;
    story.announced(1, 26, PREFIX, &bad);
    assert_eq!(story.told()[0].0, Phase::Opened, "what a peer announces is a witness");
}

#[test]
fn a_finding_that_comes_back_after_six_hours_is_another_one() {
    let mut story = Story::simple();
    let bad = [64_601, UPSTREAM, ATTACKER];
    story.announced(1, 20, PREFIX, &bad).withdrawn(1, 30, PREFIX);
    story.withdrawn(1, 30 + 7 * 3_600, PREFIX).announced(1, 31 + 7 * 3_600, PREFIX, &bad);
    let phases: Vec<_> = story.told().iter().map(|told| told.0).collect();
    assert_eq!(phases, [Phase::Opened, Phase::Resolved, Phase::Opened]);
}

#[test]
fn a_forged_path_names_the_forger_and_not_the_innocent_owner_or_those_behind_him() {
    let mut story = Story::simple();
    story.announced(1, 20, "2001:db8:2a::/48", &[64_601, UPSTREAM, ATTACKER, OWNER]);
    assert_eq!(story.told(), [(Phase::Opened, Rule::HijackType1, ATTACKER, "low")]);
    story.announced(2, 21, "2001:db8:2a::/48", &[64_602, UPSTREAM, ATTACKER, OWNER]);
    assert_eq!(story.told(), [(Phase::Updated, Rule::HijackType1, ATTACKER, "medium")]);
    story.withdrawn(1, 30, "2001:db8:2a::/48").withdrawn(2, 30, "2001:db8:2a::/48");
    assert_eq!(story.told()[0].0, Phase::Resolved);
}

const WHOLE: &str = "2001:db8:20::/44";
const PART: &str = "2001:db8:2a::/48";

/// Whom peers accuse with these paths, one a peer: rule, culprit and confidence at the end.
fn accused(story: &mut Story, prefix: &str, tails: &[&[u32]]) -> Option<(Rule, u32, &'static str)> {
    for (peer, tail) in (1..).zip(tails) {
        let path = [&[64_600 + u32::from(peer)], *tail].concat();
        story.announced(peer, 20, prefix, &path);
    }
    story.told().last().map(|told| (told.1, told.2, told.3))
}

#[test]
fn the_forger_is_the_last_as_that_wrote_and_the_first_that_all_paths_share() {
    let forged = |tails: &[&[u32]]| accused(&mut Story::simple(), PART, tails);
    // He invented two ASes; the links to his left are unknown too, but not shared.
    let tails: [&[u32]; 3] = [
        &[64_700, ATTACKER, 64_801, 64_802, OWNER],
        &[64_701, ATTACKER, 64_801, 64_802, OWNER],
        &[64_702, ATTACKER, 64_801, 64_802, OWNER],
    ];
    let alone = Some((Rule::HijackType1, 64_601, "low"));
    assert_eq!(forged(&tails[..1]), alone, "one witness does not place him");
    assert_eq!(forged(&tails), Some((Rule::HijackType1, ATTACKER, "medium")));
    // A known link behind the origin: the made-up one is further off.
    let far: [&[u32]; 2] =
        [&[64_700, ATTACKER, UPSTREAM, OWNER], &[64_701, ATTACKER, UPSTREAM, OWNER]];
    let mut story = Story::simple().knowing("64500|64510|-1\n64700|64511|-1\n64701|64511|-1\n");
    story.detector.baseline = Story::simple().detector.baseline;
    assert_eq!(accused(&mut story, PART, &far), Some((Rule::HijackTypeN, ATTACKER, "medium")));
    // An AS that stands twice on its path wrote it.
    let twice: [&[u32]; 1] = [&[UPSTREAM, ATTACKER, 64_801, ATTACKER]];
    assert_eq!(forged(&twice), Some((Rule::HijackForgedPath, ATTACKER, "medium")));
}

#[test]
fn a_foreign_origin_behind_a_small_as_it_never_met_is_the_framed_one() {
    let known = "64500|64510|-1\n64500|64511|-1\n";
    let framed: [&[u32]; 2] = [&[UPSTREAM, ATTACKER, 64_900], &[UPSTREAM, ATTACKER, 64_900]];
    let mut story = Story::simple().knowing(&format!("{known}64999|64900|-1\n"));
    assert_eq!(accused(&mut story, PREFIX, &framed), Some((Rule::HijackType1, ATTACKER, "medium")));
    // Of an origin that nobody knows either it may be a new customer.
    let mut story = Story::simple().knowing(known);
    assert_eq!(accused(&mut story, PREFIX, &framed), Some((Rule::HijackType1, ATTACKER, "low")));
    // An AS that sells transit has new customers every day.
    let customers: String = (1..=5).map(|n| format!("64511|{}|-1\n", 64_950 + n)).collect();
    let mut story = Story::simple().knowing(&format!("{known}{customers}"));
    assert_eq!(accused(&mut story, PREFIX, &framed), Some((Rule::HijackExact, 64_900, "medium")));
}

#[test]
fn a_new_neighbour_of_the_owner_is_suspected_with_caution() {
    let new: Vec<&[u32]> = vec![&[64_700, OWNER]; 16];
    let mut story = Story::simple();
    assert_eq!(accused(&mut story, PREFIX, &new[..1]), None, "one witness is too few");
    let mut story = Story::simple();
    assert_eq!(accused(&mut story, PREFIX, &new), Some((Rule::HijackType1, 64_700, "medium")));
    let json = r#"{"name":"seattle","prefixes":["203.0.113.0/24"],"origin_asns":[64510]}"#;
    let mut story = Story::registered(json, Vec::new()).knowing("64500|64510|-1\n");
    story.detector.end_of_rib();
    assert_eq!(accused(&mut story, PREFIX, &new), None, "no route was learnt: every link is new");
    let several: [&[u32]; 2] = [&[64_700, OWNER], &[64_701, OWNER]];
    let mut story = Story::simple();
    assert_eq!(
        accused(&mut story, PREFIX, &several).unwrap().2,
        "low",
        "new upstreams, more likely"
    );
}

#[test]
fn a_part_that_goes_the_way_of_its_whole_is_the_owners() {
    let way = [64_601, UPSTREAM, ATTACKER, OWNER];
    let told = |whole: &[u32]| {
        let mut story = Story::simple();
        story.announced(1, 20, WHOLE, whole);
        story.told();
        story.announced(1, 21, PART, &way).announced(2, 22, PART, &[64_602, ATTACKER, OWNER]);
        story.told().iter().any(|told| told.1.kind() == FindingKind::Hijack)
    };
    assert!(!told(&way), "so it is everywhere");
    assert!(told(&[64_601, UPSTREAM, OWNER]));
}

#[test]
fn private_numbers_between_neighbours_were_let_through_and_made_up_by_nobody() {
    let mut story = Story::simple();
    story.announced(1, 20, PREFIX, &[64_601, UPSTREAM, 65_000, OWNER]);
    assert_eq!(story.told(), [(Phase::Opened, Rule::HygieneBogonAsn, UPSTREAM, "low")]);
    story.announced(2, 21, PREFIX, &[64_602, ATTACKER, 65_001, OWNER]);
    story.announced(3, 22, PREFIX, &[64_603, ATTACKER, 65_001, OWNER]);
    assert!(story.told().iter().any(|told| told.1.kind() == FindingKind::Hijack));
}

#[test]
fn a_part_that_leaves_a_valley_was_made_by_the_as_in_it() {
    let known = "64500|64510|-1\n64500|64511|-1\n64701|64511|-1\n64702|64511|0\n";
    let tails: [&[u32]; 2] =
        [&[64_701, ATTACKER, UPSTREAM, OWNER], &[64_702, ATTACKER, UPSTREAM, OWNER]];
    let mut story = Story::simple().knowing(&format!("{known}64601|64701|0\n64602|64702|0\n"));
    let expected = Some((Rule::HijackForgedPath, ATTACKER, "low"));
    assert_eq!(accused(&mut story, PART, &tails), expected);
}

/// The score of a route of one peer with these VRPs, and what the finding says of them.
fn with_vrps(vrps: &str, prefix: &str, tail: &[u32]) -> Option<(f64, Option<&'static str>)> {
    let mut story = Story::simple();
    story.reference.vrps = Vrps::read(vrps.as_bytes()).unwrap().into();
    story.announced(1, 20, prefix, &[&[64_601], tail].concat());
    story
        .told
        .first()
        .map(|told| (told.finding.score, told.finding.rpki_state.map(RpkiState::as_str)))
}

#[test]
fn roas_speak_against_a_foreign_origin_and_never_for_a_made_up_path() {
    let foreign = [UPSTREAM, ATTACKER];
    assert_eq!(with_vrps("", PREFIX, &foreign), Some((5.0, None)));
    let ours = format!("{OWNER},203.0.113.0/24,24\n{OWNER},2001:db8:20::/44,44\n");
    assert_eq!(with_vrps(&ours, PREFIX, &foreign), Some((9.0, Some("invalid"))));
    let both = format!("{ours}{ATTACKER},203.0.113.0/24,24\n");
    assert_eq!(with_vrps(&both, PREFIX, &foreign), Some((1.0, Some("valid"))));
    let others = "64999,198.51.100.0/24,24\n";
    assert_eq!(with_vrps(others, PREFIX, &foreign), Some((5.0, Some("not_found"))));
    let made_up = [UPSTREAM, ATTACKER, OWNER];
    assert_eq!(with_vrps(&ours, PART, &made_up), Some((6.0, Some("invalid"))), "too long");
    let loose = format!("{OWNER},2001:db8:20::/44,48\n");
    assert_eq!(with_vrps(&loose, PART, &made_up), Some((3.0, Some("valid"))));
}

#[test]
fn a_prefix_that_nobody_announced_is_squatted() {
    let json = r#"{"name":"seattle","prefixes":["203.0.113.0/24"],"origin_asns":[64510]}"#;
    let mut story = Story::registered(json, Vec::new()).knowing("64500|64511|-1\n64601|64500|0\n");
    story.detector.end_of_rib();
    story.announced(1, 10, PREFIX, &[64_601, UPSTREAM, ATTACKER]);
    assert_eq!(story.told(), [(Phase::Opened, Rule::HijackSquat, ATTACKER, "medium")]);
}

#[test]
fn a_prefix_around_ours_is_suspected_only_if_it_is_new_and_foreign() {
    let mut story = Story::simple();
    story.announced(1, 20, "203.0.112.0/23", &[64_601, ATTACKER]);
    assert_eq!(story.told(), [(Phase::Opened, Rule::HijackSuperPrefix, ATTACKER, "low")]);
    story.announced(1, 21, "0.0.0.0/0", &[64_601, ATTACKER]);
    assert_eq!(story.told(), [], "a default route covers everything and means nothing");
    for peer in 1..=20 {
        story.withdrawn(peer, 30, PREFIX);
    }
    let told = story.told();
    assert_eq!(
        told,
        [(Phase::Updated, Rule::HijackSuperPrefix, ATTACKER, "medium")],
        "ours is not seen any more"
    );
}

#[test]
fn a_sibling_is_told_once_as_ignored() {
    let mut story = Story::simple();
    let text = format!("asn,organisation\n{OWNER},Contoso\n{ATTACKER},Contoso\n");
    story.reference.organisations = Organisations::read(text.as_bytes()).unwrap().into();
    for peer in 1..=8 {
        story.announced(peer, 20, PREFIX, &[64_600 + u32::from(peer), UPSTREAM, ATTACKER]);
    }
    story.withdrawn(1, 30, PREFIX);
    let told = story.told();
    assert_eq!((told.len(), told[0].0), (1, Phase::Ignored));
}

/// The right origin belongs to one company with itself; that excuses no forger.
#[test]
fn a_made_up_path_is_excused_by_the_company_of_the_forger_only() {
    let phase = |forger: &str| {
        let mut story = Story::simple();
        let text = format!("asn,organisation\n{OWNER},Contoso\n{ATTACKER},{forger}\n");
        story.reference.organisations = Organisations::read(text.as_bytes()).unwrap().into();
        story.announced(1, 20, PART, &[64_601, UPSTREAM, ATTACKER, OWNER]);
        story.told()[0].0
    };
    assert_eq!((phase("Fabrikam"), phase("Contoso")), (Phase::Opened, Phase::Ignored));
}

#[test]
fn a_related_as_is_less_sure_and_a_stranger_more() {
    let score = |relationships: &str| {
        let mut story = Story::simple();
        story.reference.relationships =
            AsRelationships::read(relationships.as_bytes()).unwrap().into();
        story.announced(1, 20, PREFIX, &[64_601, UPSTREAM, ATTACKER]);
        story.told[0].finding.score
    };
    assert_eq!(score("64500|64511|-1\n64511|64510|-1\n"), 1.0);
    assert_eq!(score("64500|64511|-1\n64500|64510|-1\n"), 5.0);
    assert_eq!(score(""), 2.5, "nothing is known of links: the path is not judged");
}

#[test]
fn what_a_dump_held_already_is_no_change_and_stays_low() {
    let json = r#"{"name":"seattle","prefixes":["203.0.113.0/24"],"origin_asns":[64510]}"#;
    let mut story = Story::registered(json, Vec::new()).knowing("64502|64511|-1\n64601|64502|0\n");
    for peer in 1..=20 {
        story.dumped(peer, PREFIX, &[64_600 + u32::from(peer), UPSTREAM, ATTACKER]);
    }
    story.detector.end_of_rib();
    story.announced(1, 10, PREFIX, &[64_601, 64_502, ATTACKER]);
    let told = story.told();
    assert!(!told.is_empty() && told.iter().all(|told| told.3 == "low"), "{told:?}");
}

#[test]
fn an_origin_that_cannot_be_told_accuses_nobody() {
    let mut story = Story::simple();
    for origin in [Asn::TRANS.0, 0] {
        story.announced(1, 20, PREFIX, &[64_601, UPSTREAM, origin]);
        let told = story.told();
        assert!(told.iter().all(|told| told.1 == Rule::HygieneBogonAsn && told.3 == "low"));
    }
}

#[test]
fn a_connection_out_of_service_is_muted_by_its_state() {
    let json = r#"{"name":"oslo","prefixes":["203.0.113.0/24"],"origin_asns":[64510],"state":"PendingRemove"}"#;
    let mut story = Story::registered(json, Vec::new());
    story.detector.end_of_rib();
    story.announced(1, 20, PREFIX, &[64_601, UPSTREAM, ATTACKER]);
    assert_eq!(story.told[0].finding.muted_by.as_deref(), Some("state:PendingRemove"));
}

#[test]
fn origins_are_learnt_from_the_dump_where_none_is_configured() {
    let json = r#"{"name":"seattle","prefixes":["203.0.113.0/24"]}"#;
    let mut story = Story::registered(json, Vec::new());
    for peer in 1..=20 {
        story.dumped(peer, PREFIX, &[64_600 + u32::from(peer), UPSTREAM, OWNER]);
    }
    story.announced(1, 5, PREFIX, &[64_601, UPSTREAM, ATTACKER]);
    assert_eq!(story.told(), [], "nothing is known before the dump is complete");
    story.detector.end_of_rib();
    story.announced(1, 10, PREFIX, &[64_601, UPSTREAM, ATTACKER]);
    let told = story.told();
    assert_eq!(told, [(Phase::Opened, Rule::HijackExact, ATTACKER, "low")], "learnt, so less sure");
}
