//! What nobody is heard of any more: the peers that told it are silent, and their routes stale.

use super::*;

const HOUR: i64 = 3_600;

/// A foreign origin at two peers of one collector.
fn hijacked() -> Story {
    let mut story = Story::simple();
    for peer in [1, 2] {
        story.announced(peer, 20, PREFIX, &[64_600 + u32::from(peer), UPSTREAM, ATTACKER]);
    }
    assert_eq!(story.told()[0].0, Phase::Opened);
    story
}

fn phases(story: &mut Story) -> Vec<Phase> {
    story.told().into_iter().map(|told| told.0).collect()
}

#[test]
fn a_finding_of_which_nobody_is_heard_ends_as_expired_and_comes_back_with_its_peer() {
    let mut story = hijacked();
    story.rib.stale_all("archive");
    story.pass(600).pass(300 + 6 * HOUR);
    assert_eq!(phases(&mut story), [], "silent since the first look, not yet for six hours");
    story.pass(600 + 6 * HOUR);
    let told = story.routes().next().unwrap();
    assert_eq!((told.phase, told.terms.len()), (Phase::Expired, 0));
    assert_eq!(told.time, Timestamp::from_secs(600 + 6 * HOUR));
    story.told();
    story.pass(7 * HOUR);
    assert_eq!(phases(&mut story), [], "once");
    story.announced(1, 8 * HOUR, PREFIX, &[64_601, UPSTREAM, ATTACKER]);
    assert_eq!(phases(&mut story), [Phase::Reopened], "the collector is back and tells it again");
}

#[test]
fn one_peer_that_is_heard_keeps_it() {
    let mut story = hijacked();
    story.rib.stale_all("archive");
    story.pass(600);
    story.announced(2, 3 * HOUR, PREFIX, &[64_602, UPSTREAM, ATTACKER]);
    story.told();
    story.pass(12 * HOUR);
    assert_eq!(phases(&mut story), []);
    story.rib.stale_all("archive");
    story.pass(600 + 12 * HOUR).pass(600 + 18 * HOUR);
    assert_eq!(phases(&mut story), [Phase::Expired], "from the new silence on");
}
