//! Stories of what all peers together hold: visibility, entries, sessions, flaps, feeds.

use super::*;

const PARTNER: u32 = 64_499;
const OTHER: u32 = 64_498;

/// Ten peers at each of two collectors; most reach the prefix by the partner.
pub(super) fn watched(extra: &str) -> Story {
    let json = format!(
        r#"{{"name":"seattle","prefixes":["203.0.113.0/24"],"origin_asns":[64510],
            "partner":{{"name":"Litware","asn":{PARTNER}}}{extra}}}"#
    );
    let known = format!("{PARTNER}|{OWNER}|-1\n{OTHER}|{OWNER}|-1\n");
    let mut story = Story::registered(&json, Vec::new()).knowing(&known);
    for peer in peers() {
        story.dumped(peer, PREFIX, &usual(peer));
    }
    story.detector.end_of_rib();
    story.pass(20);
    story.told.clear();
    story
}

pub(super) fn peers() -> impl Iterator<Item = u8> {
    (1..=10).chain(101..=110)
}

fn usual(peer: u8) -> [u32; 3] {
    [64_600 + u32::from(peer), PARTNER, OWNER]
}

impl Story {
    /// What was told of conditions since the last question, with event times.
    fn conditions(&mut self) -> Vec<(Phase, Rule, i64)> {
        let told = self.told.drain(..).filter(|t| !story::is_of_routes(t));
        told.map(|t| (t.phase, t.finding.rule, t.finding.opened_at.secs())).collect()
    }
}

#[test]
fn a_blackout_is_told_once_and_ends_when_nearly_all_see_it_again() {
    let mut story = watched("");
    for peer in peers() {
        story.withdrawn(peer, 100, PREFIX);
    }
    story.pass(120);
    assert_eq!(story.conditions(), [], "a path that is explored is no loss");
    story.pass(200);
    assert_eq!(story.conditions(), [(Phase::Opened, Rule::VisibilityLost, 100)]);
    for peer in (1..=6).chain(101..=106) {
        story.announced(peer, 300, PREFIX, &usual(peer));
    }
    story.pass(320);
    assert_eq!(story.conditions(), [], "it is lost until it is well again");
    for peer in peers() {
        story.announced(peer, 400, PREFIX, &usual(peer));
    }
    story.pass(500);
    assert_eq!(story.conditions(), [], "it must stay well for a while");
    story.pass(600);
    assert_eq!(story.conditions(), [(Phase::Resolved, Rule::VisibilityLost, 100)]);
}

#[test]
fn the_cautious_wait_longer_and_the_eager_do_not() {
    for (preset, until, count) in
        [(Preset::Cautious, 130, 0), (Preset::Balanced, 130, 1), (Preset::Eager, 120, 1)]
    {
        let mut story = watched("");
        story.detector.configure(DetectOptions { preset, ..DetectOptions::default() });
        for peer in peers() {
            story.withdrawn(peer, 99, PREFIX);
        }
        story.pass(until);
        assert_eq!(story.conditions().len(), count, "{preset:?}");
    }
}

#[test]
fn a_loss_at_one_collector_of_two_is_that_collectors() {
    let mut story = watched("");
    for peer in 1..=10 {
        story.withdrawn(peer, 100, PREFIX);
    }
    story.pass(1_000);
    assert_eq!(story.conditions(), []);
    story.withdrawn(101, 1_010, PREFIX);
    story.pass(1_100);
    assert_eq!(story.conditions(), [(Phase::Opened, Rule::VisibilityReduced, 1_010)]);
}

#[test]
fn peers_whose_sessions_are_down_are_not_asked() {
    let mut story = watched("");
    for peer in peers() {
        story.session(peer, 50, true);
    }
    story.pass(1_000);
    assert_eq!(story.conditions(), []);
    for peer in 1..=10 {
        story.session(peer, 1_100, false);
    }
    story.pass(2_000);
    assert_eq!(story.conditions(), [(Phase::Opened, Rule::CollectorLost, 1_100)]);
    story.session(3, 2_100, true).pass(2_200);
    assert_eq!(story.conditions(), [(Phase::Resolved, Rule::CollectorLost, 1_100)]);
}

#[test]
fn an_archives_sessions_say_nothing_of_those_that_are_not_told() {
    let mut story = watched("");
    story.session(1, 100, false).session(2, 100, false).pass(300);
    assert_eq!(story.conditions(), []);
}

#[test]
fn a_foreign_entry_is_told_with_who_carries_it() {
    let mut story = watched("");
    for peer in peers() {
        story.announced(peer, 100, PREFIX, &[64_600 + u32::from(peer), OTHER, OWNER]);
    }
    story.pass(300);
    let told = story.told.pop().unwrap();
    assert_eq!((told.phase, told.finding.rule), (Phase::Opened, Rule::SuboptimalEntry));
    assert_eq!(told.finding.culprit, Some(Asn(OTHER)));
    assert_eq!(told.finding.witnesses, 20);
    story.told.clear();
    for peer in peers() {
        story.announced(peer, 1_000, PREFIX, &usual(peer));
    }
    story.pass(1_500);
    assert_eq!(story.conditions(), []);
    story.pass(1_700);
    assert_eq!(story.conditions(), [(Phase::Resolved, Rule::SuboptimalEntry, 100)]);
}

#[test]
fn an_expected_upstream_that_stops_is_told_and_one_that_never_carried_too() {
    let mut story = watched(r#","expect_upstreams":[64499]"#);
    for peer in peers() {
        story.announced(peer, 100, PREFIX, &[64_600 + u32::from(peer), OTHER, OWNER]);
    }
    story.pass(300);
    let rules: Vec<_> = story.conditions().into_iter().map(|(_, rule, _)| rule).collect();
    assert_eq!(rules, [Rule::UpstreamLost, Rule::SuboptimalEntry]);
    let mut story = watched(r#","expect_upstreams":[64498]"#);
    story.pass(300);
    assert_eq!(story.conditions(), [(Phase::Opened, Rule::UpstreamLost, 0)]);
}

const SESSIONS: &str = r#","sessions":[
    {"peer_ip":"198.51.100.1","role":"primary"},{"peer_ip":"198.51.100.2","role":"backup"}]"#;

#[test]
fn a_primary_that_goes_is_one_failover() {
    let mut story = watched(SESSIONS);
    story.session(1, 100, false).pass(130);
    assert_eq!(story.conditions(), [(Phase::Opened, Rule::Failover, 100)]);
    story.session(1, 200, true).announced(1, 201, PREFIX, &usual(1)).pass(300);
    assert_eq!(story.conditions(), [(Phase::Resolved, Rule::Failover, 100)]);
}

#[test]
fn a_backup_that_goes_leaves_nothing_behind_the_primary() {
    let mut story = watched(SESSIONS);
    story.withdrawn(2, 100, PREFIX).pass(200);
    assert_eq!(story.conditions(), [(Phase::Opened, Rule::RedundancyLost, 100)]);
}

#[test]
fn longer_ways_count_after_a_while() {
    let mut story = watched("");
    for peer in peers().take(7) {
        let path = [64_600 + u32::from(peer), 64_701, 64_702, 64_703, PARTNER, OWNER];
        story.announced(peer, 100, PREFIX, &path);
    }
    story.pass(600);
    assert_eq!(story.conditions(), []);
    story.pass(800);
    assert_eq!(story.conditions(), [(Phase::Opened, Rule::SuboptimalPathLength, 100)]);
}

#[test]
fn a_prefix_that_swings_flaps_until_it_is_calm() {
    let mut story = watched("");
    for turn in 0..8 {
        let via = if turn % 2 == 0 { OTHER } else { PARTNER };
        for peer in (1..=3).chain(101..=103) {
            let path = [64_600 + u32::from(peer), via, OWNER];
            story.announced(peer, 100 + 30 * turn, PREFIX, &path);
        }
    }
    story.pass(400);
    assert_eq!(story.conditions()[0].1, Rule::Flap);
    story.pass(4_000);
    assert_eq!(story.conditions().last().map(|told| told.0), Some(Phase::Resolved));
}

#[test]
fn what_we_announce_and_nobody_holds_is_told() {
    let mut story = watched("");
    story.view = RibView::AdjRibOutPost;
    story.announced(50, 50, PREFIX, &[OWNER]);
    story.view = RibView::AdjRibInPre;
    for peer in peers() {
        story.withdrawn(peer, 100, PREFIX);
    }
    story.pass(1_000);
    let rules: Vec<_> = story.conditions().into_iter().map(|(_, rule, _)| rule).collect();
    assert_eq!(rules, [Rule::VisibilityLost, Rule::SentUnseen]);
}

#[test]
fn a_window_in_which_something_changed_has_rows() {
    let mut story = watched("");
    story.pass(700);
    story.visibility.clear();
    story.withdrawn(1, 710, PREFIX).pass(1_300);
    let rows: Vec<_> = story
        .visibility
        .iter()
        .map(|row| (row.window_start.secs(), row.via_asn.map(|asn| asn.0), row.peers_seen))
        .collect();
    assert_eq!(rows, [(600, None, 19), (600, Some(PARTNER), 19)]);
    assert_eq!(story.visibility[0].peers_full, 20);
}
