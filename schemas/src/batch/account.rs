//! Accounts: what became of a range of an input.

use serde::{Deserialize, Serialize};

/// Counts of one range of an input, as `ledger` writes them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Partition of the source, 0 where it has none.
    pub partition: u32,
    /// First record.
    pub first_offset: u64,
    /// Last record.
    pub last_offset: u64,
    /// Elements or samples read, refused records too.
    pub read: u64,
    /// Became part of the log.
    pub accepted: u64,
    /// Touch nothing that is registered.
    pub unmatched: u64,
    /// A time or a value that cannot be.
    pub quarantined: u64,
    /// Could not be read.
    pub refused: u64,
    /// Reasons with their counts.
    pub reasons: Vec<(String, u64)>,
}

impl Account {
    /// Adds the counts of another range; the offsets stay.
    pub fn take(&mut self, other: &Self) {
        self.read += other.read;
        self.accepted += other.accepted;
        self.unmatched += other.unmatched;
        self.quarantined += other.quarantined;
        self.refused += other.refused;
        other.reasons.iter().for_each(|(reason, count)| self.note(reason, *count));
    }

    /// Counts a reason.
    pub fn note(&mut self, reason: &str, more: u64) {
        if more == 0 {
            return;
        }
        match self.reasons.iter_mut().find(|(known, _)| known == reason) {
            Some((_, sum)) => *sum += more,
            None => self.reasons.push((reason.to_owned(), more)),
        }
    }
}
