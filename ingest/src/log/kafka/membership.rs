//! Membership: what a member of a group owns now, for whoever writes in its name.
//!
//! A seat is taken in the very call that told of a rebalance, and kept until the next one: its
//! metadata are those of the generation in which its shares are ours. A transaction that is sent with
//! them is refused by the brokers once that generation is over, so whoever was away for too long
//! cannot write what is another's by now (KIP-447).

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::consumer::ConsumerGroupMetadata;

/// What a member owns in one generation of its group.
pub struct Seat {
    /// Proves it to the brokers.
    pub(super) metadata: ConsumerGroupMetadata,
    /// Partitions that are ours.
    pub(super) owned: BTreeSet<u32>,
    /// Counts the seats of this process.
    pub(super) number: u64,
    /// Counts how often everything was lost and came back.
    pub(super) losses: u64,
}

#[derive(Default)]
struct State {
    seat: Option<Arc<Seat>>,
    seats: u64,
    losses: u64,
    /// Why there will be none any more.
    over: Option<String>,
}

/// The seat of this process in a group, as it comes and goes.
#[derive(Default)]
pub struct Membership {
    state: Mutex<State>,
    moved: Condvar,
}

impl Membership {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A rebalance was told: these are ours now.
    pub(super) fn sit(&self, metadata: ConsumerGroupMetadata, owned: BTreeSet<u32>) {
        let mut state = self.state();
        state.seats += 1;
        let (number, losses) = (state.seats, state.losses);
        state.seat = Some(Arc::new(Seat { metadata, owned, number, losses }));
        self.moved.notify_all();
    }

    /// Everything was lost.
    pub(super) fn lose(&self) {
        let mut state = self.state();
        state.seat = None;
        state.losses += 1;
    }

    /// There will be no seat any more.
    pub(super) fn end(&self, why: String) {
        self.state().over.get_or_insert(why);
        self.moved.notify_all();
    }

    /// What is ours now.
    #[must_use]
    pub fn owned(&self) -> BTreeSet<u32> {
        self.state().seat.as_ref().map(|seat| seat.owned.clone()).unwrap_or_default()
    }

    /// The seat, once there is one. Of the one that was refused a later one is waited for, but not
    /// longer than `patience`: a refusal may pass.
    ///
    /// # Errors
    /// Why there will be none any more.
    pub(super) fn seat(
        &self,
        refused: Option<u64>,
        patience: Duration,
    ) -> Result<Arc<Seat>, String> {
        let since = Instant::now();
        let mut state = self.state();
        loop {
            if let Some(why) = &state.over {
                return Err(why.clone());
            }
            let left = patience.saturating_sub(since.elapsed());
            if let Some(seat) = &state.seat
                && (Some(seat.number) != refused || left.is_zero())
            {
                return Ok(Arc::clone(seat));
            }
            let wait = if left.is_zero() { Duration::from_secs(1) } else { left };
            state = self.moved.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
