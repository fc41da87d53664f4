//! How far an input is: the event time that it has passed, as a whole or stream by stream.

use std::collections::BTreeMap;

use schemas::log::LogError;
use schemas::time::Timestamp;

use super::Input;
use crate::live::LiveIntake;
use crate::live::gaps::Heard;
use crate::live::progress::Reached;
use crate::live::stream::Format;

impl Input {
    /// How far it is, or each of its streams is.
    pub(super) fn progress(
        &mut self,
        now: Timestamp,
        timeout_secs: i64,
        by_time: &mut BTreeMap<Timestamp, Vec<u32>>,
    ) {
        let own = self.passed(now, timeout_secs);
        if !self.by_stream {
            if let Some(until) = own {
                by_time.entry(until).or_default().push(self.number());
            }
            return;
        }
        for stream in self.streams.values_mut() {
            let reached = std::iter::once(stream.reached);
            if let Some(until) = stream.passed.at(reached, now, timeout_secs) {
                by_time.entry(until).or_default().push(stream.id);
            }
        }
        by_time.values_mut().for_each(|inputs| inputs.sort_unstable());
    }

    /// Event time that the input has passed, if it is known.
    fn passed(&mut self, now: Timestamp, timeout_secs: i64) -> Option<Timestamp> {
        if matches!(self.settings.format, Format::RttMessages) {
            let streams = self.streams.values().map(|stream| stream.reached);
            self.passed.at(streams, now, timeout_secs)
        } else {
            Some(self.known.passed.map_or(now, |passed| passed.min(now)))
        }
    }

    /// A gap begins where the input makes no progress for too long, and ends with the next one.
    pub(super) fn tell_stall(
        &mut self,
        now: Timestamp,
        timeout_secs: i64,
        intake: &mut LiveIntake,
    ) -> Result<(), LogError> {
        let reached = match self.settings.format {
            Format::RttMessages => self.passed.reached(),
            _ => Some(self.known.passed.map_or(now, |passed| passed.min(now))),
        };
        let heard = Heard { source: &self.settings.name, collector: None, now };
        self.stall.tell(reached, timeout_secs, &heard, &mut self.gaps, intake)
    }

    pub(super) fn reach(&mut self, number: u64, reached: Reached) {
        if let Some(stream) = self.streams.get_mut(&number) {
            stream.reached = reached;
        }
    }
}
