//! Counters and seldom log lines: what a live source counts, and how it tells of floods without
//! becoming one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A number that other threads may read.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts one more.
    pub fn one(&self) {
        self.add(1);
    }

    /// Counts so many more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// Takes a new value, for what goes up and down.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// How many.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Lets one log line through in a while, and says how many it kept back.
#[derive(Debug)]
pub struct Seldom {
    every: Duration,
    next: Option<Instant>,
    kept_back: u64,
}

impl Seldom {
    /// One line in this time.
    #[must_use]
    pub const fn new(every: Duration) -> Self {
        Self { every, next: None, kept_back: 0 }
    }

    /// Whether to tell now: the number of lines kept back since the last one that was told.
    pub fn now(&mut self) -> Option<u64> {
        let now = Instant::now();
        if self.next.is_none_or(|next| next <= now) {
            self.next = Some(now + self.every);
            Some(std::mem::take(&mut self.kept_back))
        } else {
            self.kept_back += 1;
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_once_and_counted() {
        let mut seldom = Seldom::new(Duration::from_secs(3600));
        assert_eq!(seldom.now(), Some(0));
        assert_eq!((seldom.now(), seldom.now(), seldom.kept_back), (None, None, 2));
        let mut often = Seldom::new(Duration::ZERO);
        assert_eq!((often.now(), often.now()), (Some(0), Some(0)));
    }
}
