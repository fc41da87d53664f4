//! Progress: how far each input is, as windows and as whoever watches the service want to know it.

use schemas::batch::Account;
use schemas::log::LogError;
use schemas::time::Timestamp;

use super::LiveIntake;
use super::gaps::{Gaps, Heard};
use crate::source::counter::Counter;

/// Who is silent where an input as a whole makes no progress.
const STALLED: &str = "input";

/// What became of what an input told since the start, for other threads to read.
#[derive(Debug, Default)]
pub struct InputCounts {
    /// Elements or samples that became part of the log.
    pub accepted: Counter,
    /// Those that touch nothing that is registered.
    pub unmatched: Counter,
    /// Those with a time or a value that cannot be.
    pub quarantined: Counter,
    /// Those that could not be read.
    pub refused: Counter,
}

impl InputCounts {
    pub(super) fn publish(&self, told: &Account, since: &Account) {
        self.accepted.set(told.accepted + since.accepted);
        self.unmatched.set(told.unmatched + since.unmatched);
        self.quarantined.set(told.quarantined + since.quarantined);
        self.refused.set(told.refused + since.refused);
    }
}

/// How far messages with a broker's time are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reached {
    /// Nothing was read yet, and more may wait.
    Nothing,
    /// Up to here, and more waits.
    Time(Timestamp),
    /// All that there is.
    Now,
}

/// The event time that an input of such messages has passed.
#[derive(Debug)]
pub(super) struct Passed {
    until: Timestamp,
    /// When that last moved.
    moved: Option<Timestamp>,
}

impl Default for Passed {
    fn default() -> Self {
        Self { until: Timestamp::MIN, moved: None }
    }
}

impl Passed {
    /// What is passed now, if anything is, by where its streams are. None of them: nobody was found yet.
    /// Without progress for longer than the timeout it is passed over: then that is "now".
    pub(super) fn at(
        &mut self,
        streams: impl Iterator<Item = Reached>,
        now: Timestamp,
        timeout_secs: i64,
    ) -> Option<Timestamp> {
        let moved = *self.moved.get_or_insert(now);
        let slowest = streams
            .map(|reached| match reached {
                Reached::Nothing => Timestamp::MIN,
                Reached::Time(time) => time.min(now),
                Reached::Now => now,
            })
            .min()
            .unwrap_or(Timestamp::MIN);
        if slowest > self.until {
            self.until = slowest;
            self.moved = Some(now);
        } else if now.secs_since(moved) > timeout_secs {
            return Some(now);
        }
        self.reached()
    }

    /// What was really passed.
    pub(super) fn reached(&self) -> Option<Timestamp> {
        (self.until > Timestamp::MIN).then_some(self.until)
    }
}

/// What [`Stall`] has noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stalled {
    /// There was no progress for too long, since then: windows close without the input.
    Began(Timestamp),
    /// There is progress again.
    Ended,
}

/// Notices an input that makes no progress.
#[derive(Debug, Default)]
pub(super) struct Stall {
    /// Where it was, and since when.
    last: Option<(Option<Timestamp>, Timestamp)>,
    is_told: bool,
}

impl Stall {
    /// A gap begins where an input makes no progress for too long, and ends with the next one.
    pub(super) fn tell(
        &mut self,
        reached: Option<Timestamp>,
        timeout_secs: i64,
        heard: &Heard<'_>,
        gaps: &mut Gaps,
        intake: &mut LiveIntake,
    ) -> Result<(), LogError> {
        match self.at(reached, heard.now, timeout_secs) {
            Some(Stalled::Began(since)) => {
                let reason = "no progress; windows close without it";
                gaps.begin(STALLED, since, reason, heard, intake)
            }
            Some(Stalled::Ended) => gaps.end(STALLED, heard, intake),
            None => Ok(()),
        }
    }

    /// Where an input really is now; says once that it stands still, and once that it goes on.
    pub(super) fn at(
        &mut self,
        reached: Option<Timestamp>,
        now: Timestamp,
        timeout_secs: i64,
    ) -> Option<Stalled> {
        let is_at_now = reached.is_some_and(|reached| reached >= now);
        match self.last {
            Some((before, since)) if before == reached && !is_at_now => {
                let is_over = now.secs_since(since) > timeout_secs && !self.is_told;
                self.is_told |= is_over;
                is_over.then_some(Stalled::Began(since))
            }
            _ => {
                self.last = Some((reached, now));
                std::mem::take(&mut self.is_told).then_some(Stalled::Ended)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(passed: &mut Passed, streams: &[Reached], secs: i64) -> Option<i64> {
        passed
            .at(streams.iter().copied(), Timestamp::from_secs(secs), 300)
            .map(|until| until.secs())
    }

    /// After a restart a topic of two partitions has a backlog: nothing passes before both were heard,
    /// the slower one holds, and what is caught up is at "now".
    #[test]
    fn the_slowest_partition_holds_the_windows_of_its_topic() {
        let time = |secs| Reached::Time(Timestamp::from_secs(secs));
        let mut passed = Passed::default();
        assert_eq!(at(&mut passed, &[], 1000), None, "no partition was found yet");
        assert_eq!(at(&mut passed, &[Reached::Nothing, time(500)], 1001), None);
        assert_eq!(at(&mut passed, &[time(400), time(500)], 1002), Some(400));
        assert_eq!(at(&mut passed, &[time(400), Reached::Now], 1003), Some(400));
        assert_eq!(at(&mut passed, &[time(2000), Reached::Now], 1004), Some(1004), "no future");
        assert_eq!(at(&mut passed, &[time(1), Reached::Now], 1005), Some(1004), "never back");
        assert_eq!(at(&mut passed, &[time(1)], 1305), Some(1305), "nobody is held for ever");
        assert_eq!(passed.reached(), Some(Timestamp::from_secs(1004)), "where it really is");
    }

    #[test]
    fn an_input_that_stands_still_is_told_once_and_once_when_it_goes_on() {
        let secs = Timestamp::from_secs;
        let mut stall = Stall::default();
        let mut at = |reached, now| stall.at(reached, secs(now), 300);
        assert_eq!(at(Some(secs(1000)), 1000), None, "it is at now");
        assert_eq!(at(Some(secs(1400)), 1400), None, "and stays there, however long");
        assert_eq!(at(Some(secs(1390)), 1500), None, "a backlog");
        assert_eq!(at(Some(secs(1390)), 1800), None, "300 s are allowed");
        assert_eq!(at(Some(secs(1390)), 1801), Some(Stalled::Began(secs(1500))));
        assert_eq!(at(Some(secs(1390)), 1900), None, "told already");
        assert_eq!(at(Some(secs(1391)), 1901), Some(Stalled::Ended));
        assert_eq!(at(None, 2000), None, "a topic that nobody found");
        assert_eq!(at(None, 2301), Some(Stalled::Began(secs(2000))));
    }
}
