//! `sessions`: BGP and BMP sessions coming and going.

use std::net::IpAddr;

use super::{Text, table};
use crate::bgp::Asn;
use crate::time::Timestamp;

table! {
    /// One change of a BGP or BMP session.
    pub struct SessionRow by [time, collector, source, source_offset, state] {
        /// When it changed
        time: Timestamp,
        /// File, topic or listener that told it
        source: Text,
        /// Record in that source
        source_offset: u64,
        /// Collector that holds the session
        collector: Text,
        /// Monitored router; null outside BMP
        router: Option<Text>,
        /// Table of the session
        rib_view: &'static str,
        /// Our end; null where the format does not say
        local_ip: Option<IpAddr>,
        /// The peer's end
        peer_ip: IpAddr,
        /// AS number of the peer
        peer_asn: Asn,
        /// Tenant of the connection; null for a session that none names
        tenant: Option<Text>,
        /// Connection that names the session; null where none does
        connection: Option<Text>,
        /// primary or backup; null for a session that no connection names
        role: Option<Text>,
        /// up, down, end_of_rib, stale, or the state of RFC 4271 §8.2.2 in lower case
        state: &'static str,
        /// Why; null where the format does not say
        reason: Option<Text>,
        /// Prefixes accepted; null where the format does not say
        prefixes_accepted: Option<u64>,
        /// Prefix limit; null where the format does not say
        prefixes_max: Option<u64>,
        /// Since when it had been up; null where unknown
        up_since: Option<Timestamp>,
    }
}
