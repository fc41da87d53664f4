//! Progress: how far each input is, as windows and as whoever watches the service want to know it.

use schemas::batch::Account;
use schemas::time::Timestamp;

use crate::source::counter::Counter;

/// An input that should tell how far it is and does not for this long is passed over.
const PROGRESS_TIMEOUT_SECS: i64 = 300;

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
    pub(super) fn at(
        &mut self,
        streams: impl Iterator<Item = Reached>,
        now: Timestamp,
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
        } else if now.secs_since(moved) > PROGRESS_TIMEOUT_SECS {
            return Some(now);
        }
        (self.until > Timestamp::MIN).then_some(self.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(passed: &mut Passed, streams: &[Reached], secs: i64) -> Option<i64> {
        passed.at(streams.iter().copied(), Timestamp::from_secs(secs)).map(|until| until.secs())
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
    }
}
