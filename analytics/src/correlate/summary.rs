//! Summaries: what a shard tells `correlate`, and as bytes for the log between them.
//!
//! The first byte is the version of what follows it, postcard. Words are written as words, so that a rule
//! or a term may be added without another version.

use schemas::finding::Transition;
use schemas::tables::Text;
use schemas::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::join::tally::Tally;

/// Version of the encoding.
const VERSION: u8 = 1;

/// What a shard tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Summary {
    /// A finding changed, under settings of this hash.
    Transition(Box<Transition>, Text),
    /// Which series were slow in a minute.
    Tally(Tally),
    /// Everything before this log time has been told.
    Mark(Timestamp),
    /// Everything has been told: the partition is at its end.
    End,
}

/// Why bytes are no summary. One variant per remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SummaryError {
    /// It was written by another version.
    #[error(
        "a summary of version {version}, and this peerscope reads {VERSION}; run the same version for \
         all roles"
    )]
    Version {
        /// Its version.
        version: u8,
    },
    /// Its bytes say nothing.
    #[error(
        "no summary: {error}; the log of summaries is damaged or is another topic, see where it is \
         configured"
    )]
    Damaged {
        /// What does not fit.
        error: String,
    },
    /// It cannot be written.
    #[error("a summary cannot be written: {error}; please report this")]
    Unwritable {
        /// Why.
        error: String,
    },
}

impl Summary {
    /// It as bytes.
    ///
    /// # Errors
    /// [`SummaryError::Unwritable`]; no summary of this crate is.
    pub fn encode(&self) -> Result<Vec<u8>, SummaryError> {
        let fail = |error: postcard::Error| SummaryError::Unwritable { error: error.to_string() };
        postcard::to_extend(self, vec![VERSION]).map_err(fail)
    }

    /// A summary from all of these bytes.
    ///
    /// # Errors
    /// [`SummaryError`] if they are none.
    pub fn decode(bytes: &[u8]) -> Result<Self, SummaryError> {
        let damaged = |error: &str| SummaryError::Damaged { error: error.to_owned() };
        let (version, rest) = bytes.split_first().ok_or_else(|| damaged("no bytes"))?;
        if *version != VERSION {
            return Err(SummaryError::Version { version: *version });
        }
        match postcard::take_from_bytes(rest) {
            Ok((summary, [])) => Ok(summary),
            Ok((_, left)) => Err(damaged(&format!("{} bytes too many", left.len()))),
            Err(error) => Err(damaged(&error.to_string())),
        }
    }
}
