//! The join over versions of the registry.

use schemas::finding::Rule;

use super::*;
use crate::latency::summary::Summariser;
use crate::latency::window::SeriesKey;

const PREFIX: &str = "192.0.2.0/24";

fn at(minute: i64) -> Timestamp {
    Timestamp::from_secs(minute * 60)
}

fn registry(version: u32, connections: &str) -> Registry {
    Registry::new(version, serde_json::from_str(connections).unwrap(), Vec::new()).unwrap()
}

/// One connection whose minutes close one after the other.
struct Story {
    join: Join,
    registry: Registry,
    minute: i64,
}

impl Story {
    fn new(connections: &str) -> Self {
        let mut story =
            Self { join: Join::default(), registry: registry(1, connections), minute: 0 };
        assert_eq!(story.begin(None), []);
        story
    }

    fn begin(&mut self, before: Option<&Registry>) -> Vec<Transition> {
        let (rib, reference) = (Rib::default(), Reference::default());
        let (registry, time) = (&self.registry, at(self.minute));
        self.join.begin((before, registry), |_| true, (&rib, &reference), 0.0, time)
    }

    /// Another version of the registry begins.
    fn enter(&mut self, connections: &str) -> Vec<Transition> {
        let next = registry(self.registry.version + 1, connections);
        let before = std::mem::replace(&mut self.registry, next);
        self.begin(Some(&before))
    }

    /// Minutes of one median.
    fn minutes(&mut self, minutes: i64, rtt_us: u32) -> Vec<Transition> {
        let mut told = Vec::new();
        for _ in 0..minutes {
            let start = at(self.minute);
            self.minute += 1;
            let connection = self.registry.id_of("b").unwrap();
            let rtts = (0..100).map(|number| rtt_us + number);
            let window = LatencyWindow {
                window: TimeWindow { start, end: at(self.minute) },
                source: "probe".into(),
                series: SeriesKey {
                    connection,
                    prefix: PREFIX.parse().unwrap(),
                    statistic: Statistic::Sample,
                },
                summary: Summariser::default().summarise(rtts, 100),
                revision: 0,
            };
            self.join.closed(&window, None);
            let geo = GeoTable::default();
            let log_time = at(self.minute);
            let known = Known { registry: &self.registry, geo: &geo, log_time };
            self.join.settle(&known, &mut told, &mut Vec::new());
        }
        told
    }
}

const ALONE: &str = r#"[{"name": "b", "prefixes": ["192.0.2.0/24"]}]"#;
/// Another connection that comes before it: it has another number.
const WITH_ANOTHER: &str = r#"[{"name": "a", "prefixes": ["198.51.100.0/24"]},
    {"name": "b", "prefixes": ["192.0.2.0/24"]}]"#;

/// A shift goes on, and ends, though a connection was added meanwhile.
#[test]
fn a_connection_that_is_added_takes_nothing_from_the_others() {
    let mut story = Story::new(ALONE);
    assert_eq!(story.minutes(20, 20_000), []);
    assert_eq!(story.enter(WITH_ANOTHER), []);
    let opened = story.minutes(5, 40_000);
    assert_eq!(opened.len(), 1, "half an hour of before is still there");
    let finding = &opened[0].finding;
    assert_eq!((finding.rule, finding.connection), (Rule::LatencyShift, Some(1)));
    assert_eq!(story.enter(ALONE), []);
    let over = story.minutes(10, 20_000);
    assert_eq!(over.len(), 1);
    assert_eq!((over[0].phase, over[0].finding.id), (Phase::Resolved, finding.id));
    assert_eq!(over[0].finding.connection, Some(0));
}

/// What is said of a connection that was edited, or is gone, is outdated.
#[test]
fn a_shift_of_what_was_edited_is_outdated() {
    let edited = r#"[{"name": "b", "prefixes": ["192.0.2.0/24"], "tenant": "t"}]"#;
    let gone = r#"[{"name": "b", "prefixes": ["203.0.113.0/24"]}]"#;
    for other in [edited, gone] {
        let mut story = Story::new(ALONE);
        story.minutes(20, 20_000);
        let opened = story.minutes(5, 40_000);
        let outdated = story.enter(other);
        assert_eq!(outdated.len(), 1);
        assert_eq!(outdated[0].phase, Phase::Outdated);
        assert_eq!(outdated[0].finding.id, opened[0].finding.id);
        assert!(outdated[0].finding.closed_at.is_some());
        assert_eq!(story.enter(ALONE), [], "once");
    }
}
