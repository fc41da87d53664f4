//! Stories of exceptions: what the operator knows to be harmless.

use schemas::exception::Exception;

use super::*;

/// An exception hides one culprit on our prefix until a day: he is told once as ignored; another one is
/// not covered, nor is he when the exception is over.
#[test]
fn an_exception_is_told_once_as_ignored_and_covers_nothing_else() {
    let exception = |json: &str| serde_json::from_str::<Exception>(json).unwrap();
    let mut story = Story::simple();
    story.detector.configure(DetectOptions {
        exception: vec![exception(
            r#"{"rule":"hijack_exact","connection":"seattle","culprit_asn":64511,"until":"1970-01-01T00:10:00Z"}"#,
        )],
        ..DetectOptions::default()
    });
    for peer in 1..=5 {
        let secs = 100 + i64::from(peer);
        story.announced(
            peer,
            secs,
            "203.0.113.0/24",
            &[64_600 + u32::from(peer), UPSTREAM, ATTACKER],
        );
    }
    let told = |story: &Story| -> Vec<(Phase, Option<Text>)> {
        let told = story
            .told
            .iter()
            .filter(|t| t.finding.rule.kind() == schemas::finding::FindingKind::Hijack);
        told.map(|t| (t.phase, t.finding.muted_by.clone())).collect()
    };
    assert_eq!(told(&story), [(Phase::Ignored, Some("exception".into()))]);
    story.announced(6, 200, "203.0.113.0/24", &[64_606, UPSTREAM, 64_599]);
    assert_eq!(told(&story).get(1), Some(&(Phase::Opened, None)), "another culprit");
    story.announced(7, 601, "203.0.113.0/24", &[64_607, UPSTREAM, ATTACKER]);
    assert_eq!(told(&story).get(2), Some(&(Phase::Opened, None)), "the exception is over");
}

#[test]
fn an_exception_covers_what_all_peers_together_hold_too() {
    let mut story = super::watches::watched("");
    let exception = r#"{"rule":"visibility_lost","connection":"seattle","reason":"a migration"}"#;
    story.detector.configure(DetectOptions {
        exception: vec![serde_json::from_str(exception).unwrap()],
        ..DetectOptions::default()
    });
    for peer in super::watches::peers() {
        story.withdrawn(peer, 100, PREFIX);
    }
    story.pass(200);
    let told: Vec<(Phase, Option<&str>)> =
        story.told.iter().map(|t| (t.phase, t.finding.muted_by.as_deref())).collect();
    assert_eq!(told, [(Phase::Ignored, Some("exception"))]);
}
