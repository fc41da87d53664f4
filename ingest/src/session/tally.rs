//! Tally: every element of a session folded into three numbers.
//!
//! What `decode` counts with and what the benches time: one function, so that both run the same code.
//! Every prefix is read; attributes are judged and not decoded.

use schemas::batch::Action;

use super::{MrtSession, RecordKind, RouteSink, UpdateView};
use crate::decode::DecodeError;
use crate::decode::mrt::MrtRecord;

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Prefixes announced.
    pub announced: u64,
    /// Prefixes withdrawn.
    pub withdrawn: u64,
    /// A sum over prefixes and path identifiers, in any order.
    pub sum: u64,
}

impl RouteSink for Tally {
    #[inline]
    fn update(&mut self, update: &UpdateView<'_>) {
        update.for_each_prefix(|action, prefix, path_id| {
            match action {
                Action::Announce => self.announced += 1,
                Action::Withdraw => self.withdrawn += 1,
            }
            let first = prefix.first();
            let words = (first >> 64) as u64 ^ first as u64 ^ u64::from(prefix.length());
            self.sum = self.sum.wrapping_add(words ^ u64::from(path_id.unwrap_or(0)) << 32);
        });
    }
}

impl Tally {
    /// Counts one whole record.
    ///
    /// # Errors
    /// [`DecodeError`] as [`MrtSession::record`] gives it.
    #[inline(never)]
    pub fn record(
        &mut self,
        session: &mut MrtSession,
        record: &MrtRecord<'_>,
    ) -> Result<RecordKind, DecodeError> {
        session.record(record, self)
    }
}
