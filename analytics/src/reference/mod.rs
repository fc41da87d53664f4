//! Slow facts: AS relationships, organisations, VRPs, ASPAs, geography. One snapshot, swapped whole; nothing is loaded
//! outside the constructors, and those read from what the caller opened.

mod as_relationships;
mod aspas;
pub mod contents;
pub mod geo;
pub mod library;
mod organisations;
pub mod timeline;
pub mod trust;
pub mod vrps;

use std::sync::Arc;

pub use as_relationships::{AsRelationships, Relationship};
pub use aspas::{AspaState, Aspas, Direction};
pub use geo::{Geo, GeoFacts, GeoTable};
pub use organisations::Organisations;
pub use vrps::{OriginValidity, Vrps};

use schemas::bgp::{AsPath, Asn, Prefix};
use schemas::reference::ReferenceSet;
use schemas::time::Timestamp;

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
    /// More than is kept.
    #[error("{bytes} bytes; reference files have {max} at most", max = contents::CONTENTS_BYTES_MAX)]
    TooLarge {
        /// Its plain bytes.
        bytes: usize,
    },
    /// An MMDB that is none of ours.
    #[error(transparent)]
    Database(#[from] geo::database::DatabaseError),
}

/// All reference data in force. Parts that stay as they are are shared with the set before.
#[derive(Debug, Default)]
pub struct Reference {
    /// What the log calls it.
    pub set: ReferenceSet,
    /// CAIDA AS relationships.
    pub relationships: Arc<AsRelationships>,
    /// Which ASes belong to one company.
    pub organisations: Arc<Organisations>,
    /// Who may originate what, by ROAs.
    pub vrps: Arc<Vrps>,
    /// Who provides for whom, by its own word.
    pub aspas: Arc<Aspas>,
    /// Where prefixes and edges are.
    pub geo: Geo,
}

impl Reference {
    /// RFC 6811's word on a route at a time; none without VRPs.
    #[must_use]
    pub fn origin_validity(
        &self,
        prefix: &Prefix,
        path: &AsPath,
        at: Timestamp,
    ) -> Option<OriginValidity> {
        (!self.vrps.is_empty()).then(|| self.vrps.validity(prefix, path.origin(), at))
    }

    /// The word of ASPAs on a path as a collector's peer told it; none without ASPAs. The collector's
    /// own role is not known, so the path may go up and down.
    #[must_use]
    pub fn aspa_state(&self, path: &AsPath, peer: Asn) -> Option<AspaState> {
        let is_client = self.relationships.is_route_server(peer);
        (!self.aspas.is_empty())
            .then(|| self.aspas.verify(path, peer, Direction::Downstream, is_client))
    }
}
