//! `evidence`: why a finding says what it says.

use std::net::IpAddr;

use super::{Text, table};
use crate::bgp::Asn;
use crate::time::Timestamp;

table! {
    /// One term or witness behind a finding.
    pub struct EvidenceRow by [finding_id, sequence, term, collector, peer_asn, source, source_offset, detail] {
        /// The finding
        finding_id: Text,
        /// The transition it belongs to
        sequence: u32,
        /// Tenant of the finding; null where it has none
        tenant: Option<Text>,
        /// Connection of the finding; null where it has none
        connection: Option<Text>,
        /// Name of the term; `witness` for a peer that holds the route
        term: &'static str,
        /// What it adds to the score; 0 for a witness
        weight: f64,
        /// The term in words
        detail: Text,
        /// Collector of the witness; null for a term
        collector: Option<Text>,
        /// AS number of the witness; null for a term
        peer_asn: Option<Asn>,
        /// Address of the witness; null for a term
        peer_ip: Option<IpAddr>,
        /// When the witness first held the route; null for a term
        first_seen: Option<Timestamp>,
        /// When the witness last said so; null for a term
        last_seen: Option<Timestamp>,
        /// Path of the witness before; null where it held none
        path_before: Option<Text>,
        /// Path of the witness after; null for a term
        path_after: Option<Text>,
        /// Source of the update; null for a term
        source: Option<Text>,
        /// Record in that source; null for a term
        source_offset: Option<u64>,
    }
}
