//! Timelines: contents one by one, in the order in which they begin to count; out comes what counts when.
//!
//! [`InForce`] is a service's view, now; a [`Timeline`] keeps every step of it, for a replay.

use std::collections::BTreeMap;

use schemas::reference::{ReferenceKind, ReferenceSet, ReferenceVersion};
use schemas::time::Timestamp;

use super::contents::{Contents, Part};
use super::geo::database::Kind;
use super::trust::Trust;

/// What takes the place of what: one contents of a lane counts at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lane {
    kind: ReferenceKind,
    /// Databases of several kinds count beside each other.
    database: Option<Kind>,
}

impl Lane {
    /// The lane of contents.
    #[must_use]
    pub fn of(contents: &Contents) -> Self {
        let database = match &contents.part {
            Part::Geoip(database) => Some(database.kind),
            _ => None,
        };
        Self { kind: contents.version.kind, database }
    }

    /// What its contents are about.
    #[must_use]
    pub const fn kind(&self) -> ReferenceKind {
        self.kind
    }
}

/// What counts now.
#[derive(Clone, Debug, Default)]
pub struct InForce {
    lanes: BTreeMap<Lane, ReferenceVersion>,
    trust: Trust,
}

impl InForce {
    /// Nothing counts; of VRPs is known which were believed.
    #[must_use]
    pub fn trusting(trust: Trust) -> Self {
        Self { lanes: BTreeMap::new(), trust }
    }

    /// Contents count from now on, in place of those of their lane.
    pub fn offer(&mut self, contents: &Contents, now: Timestamp) {
        if let Part::Vrps(vrps) = &contents.part {
            self.trust.offer(Some((contents.version.clone(), vrps.clone())), now);
        } else {
            self.lanes.insert(Lane::of(contents), contents.version.clone());
        }
    }

    /// Nothing of these lanes counts any more.
    pub fn keep_only(&mut self, is_there: impl Fn(&Lane) -> bool, now: Timestamp) {
        self.lanes.retain(|lane, _| is_there(lane));
        if !is_there(&Lane { kind: ReferenceKind::Vrps, database: None }) {
            self.trust.offer(None, now);
        }
    }

    /// The VRPs that count are too old to go on.
    pub fn drop_vrps(&mut self, now: Timestamp) {
        self.trust.offer(None, now);
    }

    /// Time passes; whether something else counts.
    pub fn pass(&mut self, now: Timestamp) -> bool {
        self.trust.pass(now)
    }

    /// When something else counts by itself.
    #[must_use]
    pub fn due(&self) -> Option<Timestamp> {
        self.trust.due()
    }

    /// What the log is told.
    #[must_use]
    pub fn set(&self) -> ReferenceSet {
        let mut versions: Vec<ReferenceVersion> = self.lanes.values().cloned().collect();
        versions.sort();
        self.trust.apply(&ReferenceSet { versions, doubt: None })
    }
}

/// What counts since when.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    now: InForce,
    steps: Vec<(Timestamp, ReferenceSet)>,
}

impl Timeline {
    /// Contents count from a time on, none before that of the contents offered before.
    pub fn offer(&mut self, from: Timestamp, contents: &Contents) {
        self.pass(from);
        self.now.offer(contents, from);
        self.step(from);
    }

    fn pass(&mut self, until: Timestamp) {
        while let Some(due) = self.now.due().filter(|due| *due <= until) {
            self.now.pass(due);
            self.step(due);
        }
    }

    fn step(&mut self, from: Timestamp) {
        let set = self.now.set();
        if self.steps.last().is_some_and(|(_, last)| last.has_same_contents(&set)) {
            return;
        }
        match self.steps.last_mut() {
            Some((last, there)) if *last == from => *there = set,
            _ => self.steps.push((from, set)),
        }
    }

    /// Every step.
    #[must_use]
    pub fn finish(mut self) -> Vec<(Timestamp, ReferenceSet)> {
        self.pass(Timestamp::MAX);
        self.steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::contents::Made;
    use crate::reference::trust::DOUBT_SECS;

    fn contents(kind: ReferenceKind, text: String, made: i64) -> Contents {
        Contents::read(kind, text.into_bytes(), Made::At(at(made))).unwrap()
    }

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn vrps(count: usize, made: i64) -> Contents {
        let text = (0..count).map(|n| format!("64510,10.0.{n}.0/24,24\n")).collect();
        contents(ReferenceKind::Vrps, text, made)
    }

    #[test]
    fn each_lane_has_its_newest_and_what_says_the_same_is_no_step() {
        let mut timeline = Timeline::default();
        let links = contents(ReferenceKind::AsRelationships, "1|2|-1\n".to_owned(), 0);
        timeline.offer(Timestamp::MIN, &links);
        timeline.offer(at(100), &vrps(200, 100));
        timeline.offer(at(200), &vrps(200, 200));
        timeline.offer(at(300), &vrps(195, 300));
        let steps = timeline.finish();
        let times: Vec<Timestamp> = steps.iter().map(|(from, _)| *from).collect();
        assert_eq!(times, [Timestamp::MIN, at(100), at(300)]);
        assert!(steps[1..].iter().all(|(_, set)| set.versions.len() == 2));
    }

    #[test]
    fn vrps_that_vanish_are_told_and_believed_an_hour_later() {
        let mut timeline = Timeline::default();
        timeline.offer(at(0), &vrps(200, 0));
        timeline.offer(at(600), &vrps(20, 600));
        let steps = timeline.finish();
        let [first, doubted, believed] = steps.as_slice() else { panic!("{steps:?}") };
        assert_eq!((doubted.0, believed.0), (at(600), at(600 + DOUBT_SECS)));
        assert_eq!(first.1.versions, doubted.1.versions, "those of before count");
        let doubt = doubted.1.doubt.as_ref().unwrap();
        assert_eq!((doubt.lost, doubt.of), (180, 200));
        assert_eq!(believed.1.of(ReferenceKind::Vrps).unwrap().hash, doubt.hash);
        assert_eq!(believed.1.doubt, None);
    }

    #[test]
    fn what_is_configured_no_more_counts_no_more() {
        let mut now = InForce::default();
        now.offer(&contents(ReferenceKind::AsRelationships, "1|2|-1\n".to_owned(), 0), at(0));
        now.offer(&vrps(200, 0), at(0));
        now.keep_only(|lane| lane.kind() != ReferenceKind::Vrps, at(10));
        assert_eq!(now.set().versions.len(), 1);
        now.keep_only(|_| false, at(20));
        assert_eq!(now.set(), ReferenceSet::default());
    }
}
