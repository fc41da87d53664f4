//! `rib`: the routes held at each full hour of log time.

use std::net::IpAddr;

use super::{Text, table};
use crate::bgp::{Asn, Prefix};
use crate::time::Timestamp;

table! {
    /// One route held at a snapshot.
    pub struct RibRow by [prefix_first, prefix_last, collector, peer_asn, path_id, snapshot_time] {
        /// Log time of the snapshot
        snapshot_time: Timestamp,
        /// Collector that holds the session
        collector: Text,
        /// Monitored router; null outside BMP
        router: Option<Text>,
        /// AS number of the peer
        peer_asn: Asn,
        /// Address of the peer
        peer_ip: IpAddr,
        /// primary or backup; null for a session that no connection names
        session_role: Option<Text>,
        /// Table it stands in
        rib_view: &'static str,
        /// Address space: public, or a private one of a tenant
        routing_domain: Text,
        /// The prefix, canonical text
        prefix: Prefix,
        /// First address, IPv4 mapped into ::ffff:0:0/96
        prefix_first: [u8; 16],
        /// Last address, IPv4 mapped into ::ffff:0:0/96
        prefix_last: [u8; 16],
        /// ADD-PATH identifier; null without
        path_id: Option<u32>,
        /// AS numbers, nearest first
        as_path: Vec<Asn>,
        /// Last AS of the path; null for an empty path and one that ends in a set
        origin_asn: Option<Asn>,
        /// NEXT_HOP; null where absent
        next_hop: Option<IpAddr>,
        /// Communities of all kinds as text
        communities: Vec<Text>,
        /// ONLY_TO_CUSTOMER; null where absent
        otc: Option<Asn>,
        /// Whether its session is gone and it waits for a refresh (RFC 4724)
        stale: bool,
        /// Tenant of the connection; null where it touches none
        tenant: Option<Text>,
        /// Connection that owns the prefix; null where it touches none
        connection: Option<Text>,
    }
}
