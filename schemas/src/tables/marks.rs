//! `marks`: what people say of findings. It is the only table that no fold writes.

use super::{Text, table};
use crate::time::Timestamp;

table! {
    /// One word of an operator on one finding; the last one counts.
    pub struct MarkRow by [finding_id, mark] {
        /// The finding
        finding_id: Text,
        /// Word on this finding, from 1
        mark: u32,
        /// When it was said, by the clock of the machine where it was
        time: Timestamp,
        /// Tenant of the finding; null where it has none
        tenant: Option<Text>,
        /// Connection of the finding; null where it has none
        connection: Option<Text>,
        /// true_positive, false_positive, or undecided, which takes an earlier word back
        verdict: &'static str,
        /// Whether an exception was written for it
        learned: bool,
        /// Why; null where nothing was noted
        note: Option<Text>,
    }
}
