//! Slow facts: AS relationships, organisations, geography. One snapshot, swapped whole; nothing is loaded
//! outside the constructors, and those read from what the caller opened.

mod as_relationships;
pub mod geo;
mod organisations;

pub use as_relationships::{AsRelationships, Relationship};
pub use geo::{Geo, GeoFacts, GeoTable};
pub use organisations::Organisations;

/// Why a reference file is refused.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceError {
    /// It could not be read.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// A line that is not of its format.
    #[error("line {line}: {text:?} is not {wanted}")]
    Malformed {
        /// Line, from 1.
        line: usize,
        /// What stands there.
        text: String,
        /// What should stand there.
        wanted: &'static str,
    },
    /// An MMDB that is none of ours.
    #[error(transparent)]
    Database(#[from] geo::database::DatabaseError),
}

/// All reference data in force.
#[derive(Debug, Default)]
pub struct Reference {
    /// CAIDA AS relationships.
    pub relationships: AsRelationships,
    /// Which ASes belong to one company.
    pub organisations: Organisations,
    /// Where prefixes and edges are.
    pub geo: Geo,
}
