//! What a stream says goes to its session, and its position with it.

use schemas::log::{LogError, Position};
use schemas::tables::Text;
use schemas::time::Timestamp;

use super::{Input, PROBLEMS_MAX};
use crate::live::LiveIntake;
use crate::live::progress::Reached;
use crate::live::stream::{Fatal, Session};
use crate::samples::RttFormat;
use crate::source::live::Message;

impl Input {
    /// Takes bytes of a stream without positions of its own.
    pub(super) fn feed(
        &mut self,
        number: u64,
        bytes: &[u8],
        now: Timestamp,
        intake: &mut LiveIntake,
        moved: &mut Vec<(Text, Position)>,
    ) -> Result<(), LogError> {
        self.count_on(number);
        let Some(stream) = self.streams.get_mut(&number) else { return Ok(()) };
        let (session, mut step) = stream.step(intake, &mut self.account, now);
        let fed = session.feed(bytes, &mut step)?;
        stream.position.bytes += bytes.len() as u64;
        self.tell_refused(number, None, fed);
        self.settle(number, false, moved);
        Ok(())
    }

    /// Takes messages of a stream with positions of its own; how many bytes they had.
    pub(super) fn messages(
        &mut self,
        number: u64,
        messages: &[Message],
        now: Timestamp,
        intake: &mut LiveIntake,
        moved: &mut Vec<(Text, Position)>,
    ) -> Result<usize, LogError> {
        self.count_on(number);
        let mut left = messages;
        while let Some((first, rest)) = left.split_first() {
            let Some(stream) = self.streams.get_mut(&number) else { return Ok(0) };
            let (session, mut step) = stream.step(intake, &mut self.account, now);
            let is_samples = matches!(session, Session::Rtt);
            let lines = if is_samples { lines_in(left) } else { 0 };
            let fed = match (left.split_at_checked(lines), &*session) {
                (Some((alike, others)), _) if lines > 1 => {
                    left = others;
                    step.lines_of_samples(alike)?
                }
                (_, Session::RisLive(_)) => {
                    left = rest;
                    let own = *step.next_offset;
                    session.message(own, &first.payload, &mut step)?
                }
                _ => {
                    left = rest;
                    session.message(first.offset, &first.payload, &mut step)?
                }
            };
            self.tell_refused(number, Some(first.offset), fed);
        }
        self.settle(number, false, moved);
        if let Some(last) = messages.last() {
            self.reach(number, last.broker_time.map_or(Reached::Now, Reached::Time));
        }
        Ok(messages.iter().map(|message| message.payload.len() + 64).sum())
    }

    /// One counter for all sessions of a listener.
    fn count_on(&mut self, number: u64) {
        if let Some(stream) = self.streams.get_mut(&number)
            && matches!(stream.session, Session::Bmp(_) | Session::RisLive(_))
        {
            stream.position.next_offset =
                self.positions.get(&stream.key).map_or(0, |position| position.next_offset);
        }
    }

    /// Says what was refused, and where it still lies in its topic; `ledger` counts all of it.
    fn tell_refused(&mut self, number: u64, offset: Option<u64>, fed: Result<(), Fatal>) {
        let (Err(words), Some(stream)) = (fed, self.streams.get(&number)) else { return };
        let remote = &stream.remote;
        if let Some(kept_back) = self.told_refused.now() {
            let input = &self.settings.name;
            tracing::warn!(%input, %remote, offset, error = %words, kept_back, "refused");
        }
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(format!("{remote}: {words}"));
        }
    }
}

/// How many of the first messages are lines of samples: they can be read as one body.
fn lines_in(messages: &[Message]) -> usize {
    let is_line = |message: &&Message| {
        RttFormat::of(&message.payload) == Some(RttFormat::JsonLines)
            && message.payload.trim_ascii_end().ends_with(b"}")
    };
    messages.iter().take_while(is_line).count()
}
