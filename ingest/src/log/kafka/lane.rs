//! Lanes: messages of one partition on their way from the polling thread to its fold, bounded by bytes.
//!
//! The polling thread never waits for a fold: a lane that is full is paused at the brokers, and the
//! others go on. What is said about the partition itself (that it is read up, that it goes) lies among
//! its messages, in order.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use schemas::log::LogError;
use schemas::time::Timestamp;

/// Bytes that a message counts beside its payload.
const MESSAGE_BYTES: usize = 128;

/// One message as it came.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) offset: u64,
    /// When the broker took it.
    pub(super) time: Timestamp,
    pub(super) payload: Vec<u8>,
}

/// What goes through a lane.
#[derive(Debug)]
pub(super) enum Passing {
    Message(Message),
    /// Messages between these two offsets are gone for good.
    Missing {
        from: u64,
        to: u64,
    },
    /// Everything that there was has been handed on.
    CaughtUp,
    /// It cannot be read.
    Failed(LogError),
}

/// Where a partition is to be read from, and what was known there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Offset of the next message; none for a partition that was never read: the oldest there is.
    pub offset: Option<u64>,
    /// Log time that was reached there.
    pub log_time: Timestamp,
    /// Version of the registry that was in force there; 0: none.
    pub registry_version: u32,
}

#[derive(Debug)]
struct State {
    waiting: VecDeque<Passing>,
    bytes: usize,
    start: Option<Start>,
    /// The fold wants to go on there; what comes of before is dropped.
    sought: Option<u64>,
    is_taken: bool,
    is_dropped: bool,
    /// When the fold last took something.
    taken_at: Instant,
}

/// One lane.
#[derive(Debug)]
pub(super) struct Lane {
    state: Mutex<State>,
    moved: Condvar,
    bytes_max: usize,
}

impl Lane {
    pub(super) fn new(bytes_max: usize) -> Self {
        let state = State {
            waiting: VecDeque::new(),
            bytes: 0,
            start: None,
            sought: None,
            is_taken: false,
            is_dropped: false,
            taken_at: Instant::now(),
        };
        Self { state: Mutex::new(state), moved: Condvar::new(), bytes_max }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // --- the polling thread ---

    /// Puts something in; whether the lane is full now.
    pub(super) fn put(&self, passing: Passing) -> bool {
        let mut state = self.state();
        match (&passing, state.waiting.back()) {
            (Passing::Message(_) | Passing::CaughtUp, _) if state.sought.is_some() => return false,
            (Passing::Message(message), _) => state.bytes += message.payload.len() + MESSAGE_BYTES,
            // Once is enough.
            (Passing::CaughtUp, Some(Passing::CaughtUp)) => return false,
            _ => {}
        }
        if state.waiting.is_empty() {
            // From here on it is the fold's turn.
            state.taken_at = Instant::now();
        }
        state.waiting.push_back(passing);
        self.moved.notify_one();
        state.bytes >= self.bytes_max
    }

    /// Whether there is room again.
    pub(super) fn has_room(&self) -> bool {
        self.state().bytes < self.bytes_max / 2
    }

    /// Where the fold begins, once it has said so.
    pub(super) fn start(&self) -> Option<Start> {
        self.state().start
    }

    /// Where the fold wants to go on, once.
    pub(super) fn sought(&self) -> Option<u64> {
        self.state().sought.take()
    }

    /// The partition goes: what waits is dropped, and the fold is told.
    pub(super) fn take_away(&self) {
        let mut state = self.state();
        state.waiting.clear();
        state.bytes = 0;
        state.is_taken = true;
        self.moved.notify_one();
    }

    /// Whether the fold is done with it.
    pub(super) fn is_dropped(&self) -> bool {
        self.state().is_dropped
    }

    /// For how long the fold has taken nothing, though there is something.
    pub(super) fn untaken_for(&self) -> Option<Duration> {
        let state = self.state();
        (!state.waiting.is_empty()).then(|| state.taken_at.elapsed())
    }

    // --- the fold ---

    pub(super) fn begin(&self, start: Start) {
        self.state().start = Some(start);
    }

    /// Goes on at an offset; what waits is dropped.
    pub(super) fn seek(&self, offset: u64) {
        let mut state = self.state();
        state.waiting.retain(|passing| matches!(passing, Passing::Failed(_)));
        state.bytes = 0;
        state.sought = Some(offset);
    }

    pub(super) fn drop_out(&self) {
        let mut state = self.state();
        state.is_dropped = true;
        state.waiting.clear();
        state.bytes = 0;
    }

    /// The next thing; none if nothing came for this long.
    ///
    /// # Errors
    /// [`TakenAway`] once the partition is another's.
    pub(super) fn next(&self, patience: Duration) -> Result<Option<Passing>, TakenAway> {
        let since = Instant::now();
        let mut state = self.state();
        loop {
            if state.is_taken {
                return Err(TakenAway);
            }
            if let Some(passing) = state.waiting.pop_front() {
                if let Passing::Message(message) = &passing {
                    let bytes = message.payload.len() + MESSAGE_BYTES;
                    state.bytes = state.bytes.saturating_sub(bytes);
                }
                state.taken_at = Instant::now();
                return Ok(Some(passing));
            }
            let left = patience.saturating_sub(since.elapsed());
            if left.is_zero() {
                return Ok(None);
            }
            state = self.moved.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// The partition is another's.
#[derive(Debug)]
pub(super) struct TakenAway;

#[cfg(test)]
mod tests {
    use super::*;

    fn message(offset: u64, bytes: usize) -> Passing {
        Passing::Message(Message { offset, time: Timestamp(0), payload: vec![0; bytes] })
    }

    #[test]
    fn a_lane_is_full_by_bytes_and_has_room_at_the_half() {
        let lane = Lane::new(10_000);
        assert!(!lane.put(message(0, 5_000)));
        assert!(lane.put(message(1, 5_000)) && !lane.has_room());
        assert!(lane.untaken_for().is_some());
        let next = || lane.next(Duration::ZERO).unwrap();
        assert!(matches!(next(), Some(Passing::Message(Message { offset: 0, .. }))));
        assert!(!lane.has_room(), "just over the half");
        assert!(next().is_some() && lane.has_room());
        assert!(next().is_none() && lane.untaken_for().is_none());
    }

    #[test]
    fn what_is_taken_away_is_told_before_anything_that_waits() {
        let lane = Lane::new(10_000);
        lane.put(message(0, 1));
        lane.take_away();
        assert!(lane.next(Duration::ZERO).is_err() && !lane.is_dropped());
        lane.drop_out();
        assert!(lane.is_dropped());
    }

    #[test]
    fn a_fold_that_waits_is_woken() {
        let lane = std::sync::Arc::new(Lane::new(10));
        let other = std::sync::Arc::clone(&lane);
        let fold = std::thread::spawn(move || other.next(Duration::from_secs(60)));
        std::thread::sleep(Duration::from_millis(20));
        lane.put(Passing::CaughtUp);
        assert!(matches!(fold.join().unwrap(), Ok(Some(Passing::CaughtUp))));
    }
}
