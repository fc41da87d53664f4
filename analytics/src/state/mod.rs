//! State: everything that a fold holds in, bytes out, and back (`docs/concepts/snapshots.md`).
//!
//! - [`frame`]: what stands before the bytes, so that damaged ones are known before they are read.
//! - [`raw`]: long vectors of numbers; [`sorted`]: maps without an order.
//!
//! The fields of a type are written by serde where the type stands; a type that is written by hand takes
//! itself apart without `..`, so that a field which is added is not forgotten. Equal states are equal
//! bytes: nothing depends on the order of a hash, on a pointer or on a capacity. What follows from
//! the rest (an index, a cache) is not written but made anew. Pure; snapshots are put and found by
//! whoever folds.

pub(crate) mod frame;
pub(crate) mod raw;
#[cfg(test)]
pub(crate) mod shape;
pub(crate) mod sorted;

pub(crate) use frame::{Kind, Reader, Writer};

/// Version of the encoding: whoever changes what is written raises it, and `shape.txt` with it.
pub const FORMAT: u16 = 3;

/// Why a state cannot be saved or restored. One variant per remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// It is asked for in the middle.
    #[error("{what} wait to be taken; take them, then save the state")]
    Waiting {
        /// What waits.
        what: &'static str,
    },
    /// A value that cannot be written.
    #[error(
        "{part} cannot be written as bytes: {error}; the log holds all of it, please report this"
    )]
    Unwritable {
        /// The part.
        part: &'static str,
        /// Why.
        error: String,
    },
    /// Something else than a state.
    #[error(
        "this is no saved state; take another snapshot, or let the log be folded from its start"
    )]
    Foreign,
    /// A state of another version.
    #[error(
        "the state is of format {format}, and this peerscope reads {FORMAT}; start the version that \
         wrote it, or take the snapshots away and let the log be folded from its start"
    )]
    Format {
        /// Its format.
        format: u16,
    },
    /// The state of another fold.
    #[error("the state is {found}, not {wanted}; take the snapshot that was made of it")]
    Another {
        /// Whose it is.
        found: String,
        /// Whose it should be.
        wanted: String,
    },
    /// The reference data that were in force cannot be had.
    #[error("the reference data of the state cannot be had: {error}")]
    Reference {
        /// Why.
        error: String,
    },
    /// Bytes are missing or are not what was written.
    #[error(
        "the state is damaged: {what}; take the snapshot before it, or let the log be folded from its \
         start"
    )]
    Damaged {
        /// What does not fit.
        what: String,
    },
}

impl StateError {
    /// The `reason` label of a metric: a closed set.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Waiting { .. } => "waiting",
            Self::Unwritable { .. } => "unwritable",
            Self::Foreign => "foreign",
            Self::Format { .. } => "format",
            Self::Another { .. } => "another",
            Self::Reference { .. } => "reference",
            Self::Damaged { .. } => "damaged",
        }
    }
}
