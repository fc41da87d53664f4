//! `visibility`: how many peers see a registered prefix.

use super::{Text, table};
use crate::bgp::{Asn, Prefix};
use crate::time::Timestamp;

table! {
    /// One registered prefix (and upstream) in one window.
    pub struct VisibilityRow by [connection, via_asn, window_start] {
        /// Start of the window, inclusive
        window_start: Timestamp,
        /// Tenant of the connection
        tenant: Text,
        /// Connection that owns the prefix
        connection: Text,
        /// The registered prefix
        registered_prefix: Prefix,
        /// AS next to the origin; null for all together
        via_asn: Option<Asn>,
        /// Peers that hold a route
        peers_seen: u32,
        /// Peers that hold a full table
        peers_full: u32,
    }
}
