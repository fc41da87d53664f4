//! How far a log on disk is durable, between its writer and its readers; and what may be let go.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How far the log is durable, as its writer says.
#[derive(Debug, Default)]
pub(super) struct Durable {
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Clone, Debug, Default)]
struct State {
    /// Sequence after the last durable frame.
    end: u64,
    /// The writer is gone: nothing more will come.
    is_closed: bool,
    /// Offsets before which nobody will ask, by partition.
    released: BTreeMap<u32, u64>,
}

/// What a reader waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// It is durable.
    Durable,
    /// It never will be.
    Never,
    /// Not yet.
    NotYet,
}

impl Durable {
    pub(super) fn advance(&self, end: u64) {
        self.change(|state| state.end = end);
    }

    pub(super) fn close(&self) {
        self.change(|state| state.is_closed = true);
    }

    /// Nobody will ask for a partition's records before `offset`.
    pub(super) fn release(&self, partition: u32, offset: u64) {
        self.change(|state| {
            let released = state.released.entry(partition).or_default();
            *released = offset.max(*released);
        });
    }

    /// What may be let go, by partition.
    pub(super) fn released(&self) -> BTreeMap<u32, u64> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).released.clone()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.moved.notify_all();
    }

    /// Waits until frame `sequence` is durable; no longer than `wait`, if that is given.
    pub(super) fn wait_for(&self, sequence: u64, wait: Option<Duration>) -> Waited {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = |state: &mut State| state.end <= sequence && !state.is_closed;
        let state = match wait {
            None => self.moved.wait_while(state, waits).unwrap_or_else(PoisonError::into_inner),
            Some(wait) => {
                let waited = self.moved.wait_timeout_while(state, wait, waits);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        match (state.end > sequence, state.is_closed) {
            (true, _) => Waited::Durable,
            (false, true) => Waited::Never,
            (false, false) => Waited::NotYet,
        }
    }
}
