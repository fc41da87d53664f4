//! Reference data that change under routes that are held: findings, rows, and routes judged again.

use std::net::Ipv4Addr;

use schemas::batch::{Action, Content, Control, EventBatch, MessageEvent, RouteEvent};
use schemas::bgp::{Asn, Disposition};
use schemas::finding::{Phase, Severity, Transition};
use schemas::reference::VrpDoubt;

use super::*;
use crate::reference::contents::{Contents, Made};
use crate::reference::vrps::ROA_EXPIRY_SECS;
use crate::shard::FoldOptions;

const PREFIX: &str = "203.0.113.0/24";
const OWNER: u32 = 64_510;
const UPSTREAM: u32 = 64_500;
const DAY: i64 = 86_400;
/// When everything begins.
const BEGAN: i64 = 1_772_618_400;

/// One shard over one connection, which three peers hold.
struct Story {
    shard: Shard,
    now: i64,
}

impl Story {
    fn new(vrps: &str) -> Self {
        let shard = Shard::new(0, 1, &FoldOptions::default(), Arc::default());
        let mut story = Self { shard, now: 0 };
        story.refer(vrps, None);
        let connection =
            format!(r#"{{"name":"seattle","prefixes":["{PREFIX}"],"origin_asns":[{OWNER}]}}"#);
        let connections = vec![serde_json::from_str(&connection).unwrap()];
        let registry = Arc::new(Registry::new(1, connections, Vec::new()).unwrap());
        story.control(Control::Registry { registry, settings: None });
        for peer in 1..=3 {
            story.says(peer, PREFIX, &[64_600 + u32::from(peer), UPSTREAM, OWNER]);
        }
        let event_time = story.time();
        story.control(Control::EndOfRib { collector: "c".into(), event_time });
        // What is wrong from the beginning is no matter of these tests.
        story.told();
        story
    }

    fn time(&self) -> Timestamp {
        Timestamp::from_secs(BEGAN + self.now)
    }

    fn control(&mut self, control: Control) {
        let mut batch = EventBatch::starting(0, 0, true);
        batch.controls.push(control);
        batch.append(self.time(), Content::Control(0));
        self.shard.apply(&batch);
    }

    /// These VRPs count from now on.
    fn refer(&mut self, vrps: &str, doubt: Option<VrpDoubt>) {
        let bytes = vrps.as_bytes().to_vec();
        let contents = Contents::read(ReferenceKind::Vrps, bytes, Made::At(self.time())).unwrap();
        let is_any = vrps.lines().count() > 0;
        let versions = if is_any { vec![contents.version.clone()] } else { Vec::new() };
        let set = ReferenceSet { versions, doubt };
        let mut reference = Reference { set: set.clone(), ..Reference::default() };
        if is_any {
            reference.add(contents.part);
        }
        self.shard.offer(Arc::new(reference));
        self.control(Control::Reference(set));
    }

    fn says(&mut self, peer: u8, prefix: &str, path: &[u32]) {
        let time = self.time();
        let mut batch = EventBatch::starting(0, 0, true);
        batch.sources.push("updates".into());
        let address = Ipv4Addr::new(198, 51, 100, peer).into();
        let header = PeerHeader::public("c".into(), address, Asn(64_600 + u32::from(peer)));
        batch.peers.push(Arc::new(header));
        batch.attributes.push(Arc::new(PathAttributes {
            as_path: AsPath::sequence(path.iter().copied()),
            ..PathAttributes::default()
        }));
        let message = batch.messages.push(MessageEvent {
            event_time: time,
            router_time: None,
            peer: 0,
            source: 0,
            source_offset: 0,
            attributes: Some(0),
            disposition: Disposition::Accepted,
            is_snapshot: false,
        });
        let prefix = prefix.parse().unwrap();
        let action = Action::Announce;
        let row =
            batch.routes.push(RouteEvent { message, action, prefix, path_id: None, writes: true });
        batch.append(time, Content::Route(row));
        self.shard.apply(&batch);
    }

    /// Time passes.
    fn pass(&mut self, secs: i64) -> &mut Self {
        self.now += secs;
        let until = self.time();
        self.control(Control::Tick { inputs: Vec::new(), until });
        self
    }

    /// What was told, but for what has nothing to do with ROAs.
    fn transitions(&mut self) -> Vec<Transition> {
        let told = std::mem::take(&mut self.shard.transitions).into_iter();
        let is_ours = |told: &Transition| {
            told.finding.rule.as_str().contains("rpki") || told.finding.rule.as_str() == "vrps_lost"
        };
        told.filter(is_ours).collect()
    }

    fn told(&mut self) -> Vec<(Phase, &'static str)> {
        let told = self.transitions().into_iter();
        told.map(|told| (told.phase, told.finding.rule.as_str())).collect()
    }

    /// What the row of the next route says of its validity.
    fn row_state(&mut self) -> Option<Text> {
        self.shard.rows.route_updates.clear();
        self.says(9, PREFIX, &[64_609, UPSTREAM, OWNER]);
        self.shard.rows.route_updates[0].rpki_state.clone()
    }
}

/// VRPs of others, so that there are some.
const OTHERS: &str = "64999,192.0.2.0/24,24\n";

fn with(vrp: &str) -> String {
    format!("{OTHERS}{vrp}\n")
}

const RIGHT: &str = "64510,203.0.113.0/24,24";
const WRONG: &str = "64999,203.0.113.0/24,24";

#[test]
fn a_roa_that_goes_is_told_and_undone_when_it_is_back() {
    let mut story = Story::new(&with(RIGHT));
    story.pass(60).refer(OTHERS, None);
    let told = story.transitions();
    assert_eq!(told.len(), 1, "a route that no ROA covers is not invalid");
    let finding = &told[0].finding;
    assert_eq!((told[0].phase, finding.rule.as_str()), (Phase::Opened, "rpki_roa_changed"));
    assert_eq!(finding.severity, Severity::Warning);
    let words = "ROAs of 203.0.113.0/24 of seattle changed: gone 203.0.113.0/24 by AS64510; its routes \
                 from AS64510 are not_found, and were valid";
    assert_eq!(finding.explanation, words);
    assert_eq!(story.row_state().as_deref(), Some("not_found"));
    story.pass(60).refer(&with(RIGHT), None);
    let told = story.transitions();
    assert_eq!((told.len(), told[0].phase), (1, Phase::Resolved));
    assert_eq!(told[0].finding.explanation, "the ROAs of 203.0.113.0/24 of seattle are as before");
    assert_eq!(story.row_state().as_deref(), Some("valid"));
}

#[test]
fn a_roa_that_forbids_our_routes_opens_them_again_and_its_end_ends_that() {
    let mut story = Story::new(OTHERS);
    story.pass(60).refer(&with(WRONG), None);
    let told = story.transitions();
    let rules: Vec<_> = told.iter().map(|told| (told.phase, told.finding.rule.as_str())).collect();
    assert_eq!(rules[0], (Phase::Opened, "rpki_roa_changed"));
    assert_eq!(rules[1], (Phase::Opened, "rpki_invalid"));
    assert_eq!(told[0].finding.severity, Severity::Error, "networks that validate drop them");
    let invalid = told.iter().rfind(|told| told.finding.rule.as_str() == "rpki_invalid").unwrap();
    assert_eq!(invalid.finding.witnesses, 2, "peers are told of one by one");
    assert!(invalid.witnesses.iter().all(|witness| witness.source.starts_with("vrps ")));
    story.pass(60).refer(OTHERS, None);
    let mut ends = story.told();
    ends.sort_unstable();
    assert_eq!(ends, [(Phase::Resolved, "rpki_invalid"), (Phase::Resolved, "rpki_roa_changed")]);
}

#[test]
fn a_new_roa_that_allows_what_was_forbidden_ends_it() {
    let mut story = Story::new(&with(WRONG));
    story.pass(60);
    story.says(1, PREFIX, &[64_601, UPSTREAM, OWNER]);
    story.told();
    story.refer(&with(&format!("{WRONG}\n{RIGHT}")), None);
    let told = story.transitions();
    let change = &told[0].finding;
    assert_eq!(
        (change.rule.as_str(), change.severity),
        ("rpki_roa_changed", Severity::Information)
    );
    assert_eq!(told.last().map(|told| told.phase), Some(Phase::Resolved));
}

#[test]
fn a_change_that_stays_is_usual_after_a_day_and_the_next_one_is_new() {
    let mut story = Story::new(&with(RIGHT));
    story.pass(60).refer(&with("64510,203.0.113.0/24,25"), None);
    assert_eq!(story.told(), [(Phase::Opened, "rpki_roa_changed")], "longer parts are allowed");
    story.pass(DAY - 1);
    assert_eq!(story.told(), []);
    story.pass(1);
    assert_eq!(story.told(), [(Phase::Expired, "rpki_roa_changed")]);
    story.pass(10).refer(&with(RIGHT), None);
    assert_eq!(story.told(), [(Phase::Reopened, "rpki_roa_changed")]);
}

#[test]
fn roas_of_others_and_the_first_ones_ever_are_no_news() {
    let mut story = Story::new("");
    story.pass(60).refer(&with(RIGHT), None);
    assert_eq!(story.told(), [], "nobody knows what was before");
    story.refer("64998,192.0.2.0/24,24\n64510,203.0.113.0/24,24\n", None);
    assert_eq!(story.told(), [], "another's ROA");
    story.refer("", None);
    assert_eq!(story.told(), [], "an operator who takes them away knows it");
    assert_eq!(story.row_state(), None);
}

/// ASN, prefix, longest length, anchor, expiry in seconds from the beginning.
fn expiring(secs: i64) -> String {
    format!("ASN,IP Prefix,Max Length,Trust Anchor,Expires\n{RIGHT},x,{}\n", BEGAN + secs)
}

#[test]
fn a_roa_that_is_about_to_expire_is_told_and_counts_no_more_when_it_has() {
    let mut story = Story::new(&expiring(DAY));
    story.pass(60).refer(&expiring(3_600), None);
    let told = story.transitions();
    assert_eq!((told.len(), told[0].phase), (1, Phase::Opened));
    assert_eq!(told[0].finding.rule.as_str(), "rpki_roa_expiry");
    assert!(told[0].finding.explanation.contains("expire at 2026-03-04T11:00:00"), "{told:?}");
    story.pass(3_539);
    assert_eq!((story.told(), story.row_state().as_deref()), (vec![], Some("valid")));
    story.pass(1);
    let told = story.transitions();
    assert_eq!((told.len(), told[0].phase), (1, Phase::Updated));
    assert_eq!(told[0].finding.severity, Severity::Error);
    assert_eq!(told[0].time, Timestamp::from_secs(BEGAN + 3_600), "when it expired");
    assert_eq!(story.row_state().as_deref(), Some("not_found"));
    story.pass(60).refer(&expiring(2 * DAY), None);
    let told = story.transitions();
    assert_eq!(told.last().map(|told| told.phase), Some(Phase::Resolved));
    assert!(told.last().unwrap().finding.explanation.contains("were renewed"), "{told:?}");
    assert_eq!(story.row_state().as_deref(), Some("valid"));
}

/// A ROA of ours expires and one of another's is left: our routes are invalid from that moment on.
#[test]
fn what_an_expired_roa_leaves_invalid_is_judged_again() {
    let text = format!("{}64999,203.0.113.0/24,24,x,\n", expiring(3_600));
    let mut story = Story::new(&text);
    story.pass(3_600);
    let told = story.told();
    assert!(told.contains(&(Phase::Opened, "rpki_invalid")), "{told:?}");
}

#[test]
fn what_expires_later_than_the_next_set_is_due_is_not_told() {
    let mut story = Story::new(&with(RIGHT));
    story.pass(60).refer(&expiring(60 + ROA_EXPIRY_SECS + 1), None);
    story.pass(3 * DAY);
    assert_eq!(story.told(), []);
    assert_eq!(story.row_state().as_deref(), Some("valid"), "an old set is not an empty one");
}

#[test]
fn vrps_that_vanish_are_a_fault_of_their_feed_and_of_nothing_else() {
    let mut story = Story::new(&with(RIGHT));
    let doubt = VrpDoubt {
        hash: "0".into(),
        lost: 400,
        of: 1_000,
        anchor: Some("arin".into()),
        since: Timestamp::from_secs(BEGAN + 60),
    };
    story.pass(60).refer(&with(RIGHT), Some(doubt));
    let told = story.transitions();
    assert_eq!((told.len(), told[0].phase), (1, Phase::Opened));
    let finding = &told[0].finding;
    assert_eq!((finding.rule.kind().as_str(), finding.connection), ("feed", None));
    assert!(finding.explanation.starts_with("400 of 1000 VRPs of arin vanished"), "{finding:?}");
    assert_eq!(story.row_state().as_deref(), Some("valid"));
    story.pass(60).refer(&with(RIGHT), None);
    assert_eq!(story.told(), [(Phase::Resolved, "vrps_lost")]);
}

/// What the log names and nobody offered is not entered, and nothing else breaks.
#[test]
fn reference_data_that_were_not_offered_are_passed_over() {
    let mut story = Story::new(&with(RIGHT));
    let version = schemas::reference::ReferenceVersion {
        kind: ReferenceKind::Vrps,
        hash: "f".into(),
        date: None,
    };
    story.control(Control::Reference(ReferenceSet { versions: vec![version], doubt: None }));
    assert_eq!(story.row_state().as_deref(), Some("valid"));
}
