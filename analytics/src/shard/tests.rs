//! Stories through a whole shard: routes and samples in, findings with what they cost out.

use std::net::Ipv4Addr;
use std::num::NonZeroU32;

use schemas::batch::{MessageEvent, RouteEvent, SampleEvent, SeriesEvent};
use schemas::bgp::{AsPath, Asn, Disposition, PathAttributes, PeerHeader};
use schemas::finding::{Phase, Rule};
use schemas::sample::Statistic;
use schemas::tables::LatencyRow;

use super::*;
use crate::correlate::Correlate;
use twins::Twins;

mod cuts;
mod damage;
mod twins;
mod world;

const PREFIX: &str = "192.0.2.0/24";
const OWNER: u32 = 64_510;

/// Minute, phase, rule, blame, medians before and after in milliseconds, score.
type Told = (i64, &'static str, &'static str, String, Option<(u32, u32)>, f64);

/// Two connections of one redundancy group, five peers, a hundred and twenty probes a minute each.
/// Whatever it is told, a twin that is saved and restored before each word must say the same.
struct Story {
    twins: Twins,
    minute: i64,
    /// Round trip of each connection's probes, and how many of a hundred take 100 ms longer.
    rtt: [(u32, u32); 2],
    latency: Vec<LatencyRow>,
}

impl Story {
    fn new() -> Self {
        let connections = [("a", PREFIX), ("b", "198.51.100.0/24")].map(|(name, prefix)| {
            let text = format!(
                r#"{{"name": "{name}", "prefixes": ["{prefix}"], "origin_asns": [{OWNER}],
                    "redundancy_group": "g"}}"#
            );
            serde_json::from_str(&text).unwrap()
        });
        let registry = Registry::new(1, connections.into(), Vec::new()).unwrap();
        let mut story = Self {
            twins: Twins::new(1, &FoldOptions::default(), &Arc::default()),
            minute: 0,
            rtt: [(20_000, 0); 2],
            latency: Vec::new(),
        };
        let registry = Control::Registry { registry: Arc::new(registry), settings: None };
        story.control(0, registry);
        for peer in 1..=5 {
            let upstream = if peer == 5 { 64_501 } else { 64_500 };
            story.says(peer, 0, Some(&[64_600, upstream, OWNER]), true);
        }
        let collector: Text = "c".into();
        story.control(0, Control::EndOfRib { collector, event_time: Timestamp::default() });
        story
    }

    fn control(&mut self, secs: i64, control: Control) {
        let mut batch = EventBatch::starting(0, 0, false);
        batch.controls.push(control);
        batch.append(Timestamp::from_secs(secs), Content::Control(0));
        self.apply(&batch);
    }

    /// A peer says what it holds.
    fn says(&mut self, peer: u8, secs: i64, path: Option<&[u32]>, is_snapshot: bool) {
        let time = Timestamp::from_secs(secs);
        let mut batch = EventBatch::starting(0, 0, false);
        batch.sources.push("updates".into());
        let address = Ipv4Addr::new(203, 0, 113, peer).into();
        let header = PeerHeader::public("c".into(), address, Asn(64_600 + u32::from(peer)));
        batch.peers.push(Arc::new(header));
        let attributes = path.map(|path| {
            batch.attributes.push(Arc::new(PathAttributes {
                as_path: AsPath::sequence(path.iter().copied()),
                ..PathAttributes::default()
            }));
            0
        });
        let message = batch.messages.push(MessageEvent {
            event_time: time,
            router_time: None,
            peer: 0,
            source: 0,
            source_offset: 0,
            attributes,
            disposition: Disposition::Accepted,
            is_snapshot,
        });
        let action = if path.is_some() { Action::Announce } else { Action::Withdraw };
        let prefix = PREFIX.parse().unwrap();
        let row =
            batch.routes.push(RouteEvent { message, action, prefix, path_id: None, writes: true });
        batch.append(time, Content::Route(row));
        self.apply(&batch);
    }

    /// Minutes pass, with their probes.
    fn minutes(&mut self, count: i64) {
        for _ in 0..count {
            let start = Timestamp::from_secs(self.minute * 60);
            let mut batch = EventBatch::starting(0, 0, false);
            batch.sources.push("probe".into());
            let prefixes = [PREFIX, "198.51.100.0/24"];
            for (connection, (prefix, (rtt, tail))) in (0..).zip(prefixes.iter().zip(self.rtt)) {
                let prefix = prefix.parse().unwrap();
                let series = batch.series.push(SeriesEvent {
                    connection,
                    prefix,
                    source: 0,
                    input: 0,
                    statistic: Statistic::Sample,
                });
                for probe in 0..120_u32 {
                    let event_time = Timestamp(start.0 + i64::from(probe) * 500_000);
                    let longer = if probe * 37 % 100 < tail { 100_000 } else { 0 };
                    let rtt_us = NonZeroU32::new(rtt + probe * 7_919 % 2_000 + longer);
                    let row = batch.samples.push(SampleEvent { event_time, series, rtt_us });
                    batch.append(start, Content::Sample(row));
                }
            }
            self.apply(&batch);
            self.minute += 1;
            let until = Timestamp::from_secs(self.minute * 60 + 30);
            self.control(self.minute * 60, Control::Tick { inputs: vec![0], until });
        }
    }

    fn apply(&mut self, batch: &EventBatch) {
        self.twins.cut();
        self.latency.append(&mut self.twins.apply(std::slice::from_ref(batch)).latency);
    }

    /// The end of the log: all rows of findings: minute, phase, rule, blame, before, after, score.
    fn told(mut self) -> Vec<Told> {
        self.twins.finish();
        let rows = self.twins.told.into_iter().map(|numbered| numbered.finding);
        rows.map(|row| {
            let ms = |us: u32| (f64::from(us) / 1_000.0).round() as u32;
            let p50 = row.rtt_before_p50_us.zip(row.rtt_after_p50_us);
            let blame = row.blame.as_deref().unwrap_or_default().to_owned();
            let p50 = p50.map(|(a, b)| (ms(a), ms(b)));
            (row.time.secs() / 60, row.phase, row.rule, blame, p50, row.score)
        })
        .collect()
    }
}

/// Half an hour of 21 ms; a foreign AS is believed by three peers at 20:10 and half a minute later
/// everything takes 40 ms longer. The first whole minute after it, 21, is slow: told when it has closed.
#[test]
fn a_hijack_that_slows_what_is_ours_says_so_a_minute_later_and_to_its_end() {
    let mut story = Story::new();
    story.minutes(20);
    for peer in 1..=3 {
        story.says(peer, 20 * 60 + 10, Some(&[64_600, 64_502, 64_511]), false);
    }
    story.rtt[0].0 = 60_000;
    story.minutes(10);
    for peer in 1..=3 {
        story.says(peer, 30 * 60, Some(&[64_600, 64_500, OWNER]), false);
    }
    story.rtt[0].0 = 20_000;
    story.minutes(10);
    let told = story.told();
    let rules: Vec<_> = told.iter().map(|row| (row.0, row.1, row.2)).collect();
    let hijack = "hijack_exact";
    assert_eq!(
        rules,
        [
            (20, "opened", hijack),
            (20, "updated", hijack),
            (20, "updated", hijack),
            (22, "updated", hijack),
            (30, "resolved", hijack)
        ],
        "and no second finding about the same"
    );
    let (before, slower) = (&told[2], &told[3]);
    assert_eq!((before.3.as_str(), before.4), ("", None));
    assert_eq!((slower.3.as_str(), slower.4), ("route", Some((21, 61))));
    assert!((slower.5 - before.5 - 3.0).abs() < 1e-9, "rtt_shift adds 3");
    assert_eq!((told[4].4, told[4].5), (slower.4, slower.5), "to its end");
}

#[test]
fn a_hijack_that_slows_nothing_says_that_at_its_end_and_blames_nobody() {
    let mut story = Story::new();
    story.minutes(20);
    story.says(1, 20 * 60 + 10, Some(&[64_600, 64_502, 64_511]), false);
    story.minutes(10);
    story.says(1, 30 * 60, Some(&[64_600, 64_500, OWNER]), false);
    story.minutes(5);
    let told = story.told();
    let phases: Vec<_> = told.iter().map(|row| (row.1, row.3.as_str(), row.4)).collect();
    assert_eq!(phases, [("opened", "", None), ("resolved", "", Some((21, 21)))]);
    assert_eq!(told[0].5, told[1].5);
}

/// One in eight goes round: the median says nothing, the tail does, after a hundred samples.
#[test]
fn a_leak_of_the_tail_is_confirmed_by_the_tail() {
    let mut story = Story::new();
    story.minutes(20);
    story.says(1, 20 * 60 + 10, Some(&[64_600, 64_502, 64_511]), false);
    story.rtt[0].1 = 12;
    story.minutes(5);
    let told = story.told();
    let last = told.last().unwrap();
    assert_eq!((last.1, last.3.as_str(), last.4), ("updated", "route", Some((21, 21))));
}

/// No route moves. Three slow minutes open it, five clean ones end it; too few series to blame anybody.
#[test]
fn a_shift_without_a_route_change_is_the_network() {
    let mut story = Story::new();
    story.minutes(20);
    story.rtt[0].0 = 30_000;
    story.minutes(10);
    story.rtt[0].0 = 20_000;
    story.minutes(10);
    let told = story.told();
    let shift = "latency_shift";
    let figures = Some((21, 31));
    assert_eq!(
        told,
        [
            (23, "opened", shift, "unknown".to_owned(), figures, 5.0),
            (35, "resolved", shift, "unknown".to_owned(), figures, 5.0)
        ]
    );
}

/// Most peers go over to the other upstream, which is known: no detector has anything to say, and what
/// follows is slower. A second time within six hours it is the same finding again.
#[test]
fn a_shift_with_a_change_of_the_route_in_force_is_the_route() {
    let mut story = Story::new();
    for round in 0..2 {
        let start = round * 40;
        story.minutes(20);
        for peer in 1..=3 {
            let secs = (start + 20) * 60 + 5;
            story.says(peer, secs, Some(&[64_600, 64_501, OWNER]), false);
        }
        story.rtt[0].0 = 40_000;
        story.minutes(10);
        for peer in 1..=3 {
            story.says(peer, (start + 30) * 60, Some(&[64_600, 64_500, OWNER]), false);
        }
        story.rtt[0].0 = 20_000;
        story.minutes(10);
    }
    let epochs: std::collections::BTreeSet<_> =
        story.latency.iter().filter(|row| &*row.connection == "a").map(|r| r.route_epoch).collect();
    assert_eq!(epochs.len(), 2, "two routes, by their names");
    assert!(story.latency.iter().all(|row| &*row.connection != "a" || row.as_hops == Some(3)));
    let told = story.told();
    let rows: Vec<_> = told.iter().map(|row| (row.0, row.1, row.2, row.3.as_str())).collect();
    let rule = Rule::SuboptimalRtt.as_str();
    assert_eq!(
        rows,
        [
            (23, Phase::Opened.as_str(), rule, "route"),
            (35, "resolved", rule, "route"),
            (63, "reopened", rule, "route"),
            (75, "resolved", rule, "route")
        ]
    );
}

#[test]
fn a_route_change_that_slows_nothing_and_what_the_sibling_did_too_are_no_findings() {
    let mut story = Story::new();
    story.minutes(20);
    for peer in 1..=3 {
        story.says(peer, 20 * 60 + 5, Some(&[64_600, 64_501, OWNER]), false);
    }
    story.minutes(20);
    // Both connections get slower at once: it is not about either.
    story.rtt = [(40_000, 0); 2];
    story.minutes(10);
    assert_eq!(story.told(), []);
}
