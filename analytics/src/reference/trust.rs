//! Trust: whether newer VRPs are believed. Where more vanish at once than owners ever take back, a trust
//! anchor or a relying party has failed: the VRPs before go on to count until the others are back, or
//! until [`DOUBT_SECS`] have passed.
//!
//! Pure: the caller says what time it is, log time in a service, the date of a file in a replay.

use std::sync::Arc;

use schemas::reference::{ReferenceKind, ReferenceSet, ReferenceVersion, VrpDoubt};
use schemas::time::Timestamp;

use super::Vrps;

/// After this time the newer VRPs are believed: somebody must have looked by then.
pub const DOUBT_SECS: i64 = 3_600;

/// VRPs with their name.
type Named = (ReferenceVersion, Arc<Vrps>);

/// Which VRPs count, and which wait to be believed.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    believed: Option<Named>,
    doubted: Option<(Named, VrpDoubt)>,
}

impl Trust {
    /// What a log that goes on believed at its end. `doubted`: the VRPs that a doubt there is about.
    #[must_use]
    pub fn resumed(believed: Option<Named>, doubted: Option<(Named, VrpDoubt)>) -> Self {
        Self { believed, doubted }
    }

    /// Newer VRPs have come, or none are there any more.
    pub fn offer(&mut self, newer: Option<Named>, now: Timestamp) {
        let loss = match (&self.believed, &newer) {
            (Some((_, believed)), Some((_, vrps))) => believed.lost_in(vrps),
            _ => None,
        };
        let (Some(loss), Some(newer)) = (loss, newer.clone()) else {
            self.believed = newer;
            self.doubted = None;
            return;
        };
        let since = self.doubted.as_ref().map_or(now, |(_, doubt)| doubt.since);
        let doubt = VrpDoubt {
            hash: newer.0.hash.clone(),
            lost: loss.lost as u64,
            of: loss.of as u64,
            anchor: loss.anchor,
            since,
        };
        self.doubted = Some((newer, doubt));
        self.pass(now);
    }

    /// Time passes; whether what waited is believed from now on.
    pub fn pass(&mut self, now: Timestamp) -> bool {
        let is_due = self.due().is_some_and(|due| due <= now);
        if is_due && let Some((newer, _)) = self.doubted.take() {
            self.believed = Some(newer);
        }
        is_due
    }

    /// When what waits is believed.
    #[must_use]
    pub fn due(&self) -> Option<Timestamp> {
        self.doubted.as_ref().map(|(_, doubt)| doubt.since.plus_secs(DOUBT_SECS))
    }

    /// A set with the VRPs that count.
    #[must_use]
    pub fn apply(&self, set: &ReferenceSet) -> ReferenceSet {
        let believed = self.believed.iter().map(|(version, _)| version.clone()).collect();
        let doubt = self.doubted.as_ref().map(|(_, doubt)| doubt.clone());
        ReferenceSet { doubt, ..set.with(ReferenceKind::Vrps, believed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::contents::{Contents, Made, Part};

    const AT: Timestamp = Timestamp::from_secs(1_772_618_400);

    /// The first so many of a thousand VRPs.
    fn vrps(count: usize) -> Option<Named> {
        let text: String =
            (0..count).map(|n| format!("64510,10.{}.{}.0/24,24\n", n / 256, n % 256)).collect();
        let read = Contents::read(ReferenceKind::Vrps, text.into_bytes(), Made::At(AT));
        let contents = read.unwrap();
        let Part::Vrps(vrps) = contents.part else { panic!("VRPs are read as VRPs") };
        Some((contents.version, vrps))
    }

    fn counts(trust: &Trust) -> (usize, Option<u64>) {
        let set = trust.apply(&ReferenceSet::default());
        let believed = trust.believed.as_ref().map_or(0, |(_, vrps)| vrps.len());
        assert_eq!(set.versions.len(), usize::from(believed > 0));
        (believed, set.doubt.map(|doubt| doubt.lost))
    }

    #[test]
    fn what_vanishes_at_once_is_not_believed_until_it_is_back() {
        let mut trust = Trust::default();
        trust.offer(vrps(1_000), AT);
        assert_eq!(counts(&trust), (1_000, None), "the first ones are believed");
        trust.offer(vrps(900), AT.plus_secs(600));
        assert_eq!(counts(&trust), (900, None), "a tenth may go");
        trust.offer(vrps(500), AT.plus_secs(1_200));
        assert_eq!(counts(&trust), (900, Some(400)));
        trust.offer(vrps(895), AT.plus_secs(1_800));
        assert_eq!(counts(&trust), (895, None), "they are back");
    }

    #[test]
    fn after_an_hour_it_is_believed_however_often_it_changed() {
        let mut trust = Trust::default();
        trust.offer(vrps(1_000), AT);
        trust.offer(vrps(500), AT);
        trust.offer(vrps(490), AT.plus_secs(1_800));
        assert_eq!(counts(&trust), (1_000, Some(510)));
        assert!(!trust.pass(AT.plus_secs(DOUBT_SECS - 1)));
        assert!(trust.pass(AT.plus_secs(DOUBT_SECS)));
        assert_eq!(counts(&trust), (490, None));
        assert!(!trust.pass(AT.plus_secs(DOUBT_SECS)), "once");
        trust.offer(None, AT.plus_secs(9_000));
        assert_eq!(counts(&trust), (0, None), "an operator who takes them away means it");
    }
}
