//! `route_updates`: what BGP peers said.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Text, table};
use crate::bgp::{Asn, PathAttributes, Prefix};
use crate::time::Timestamp;

/// What all rows of one attribute set share, rendered once.
#[derive(Clone, Debug)]
pub struct RouteTexts {
    /// The column `as_path`.
    pub as_path: Arc<[Asn]>,
    /// The column `as_path_text`.
    pub as_path_text: Text,
    /// The column `communities`.
    pub communities: Arc<[Text]>,
}

impl RouteTexts {
    /// Those of an attribute set.
    #[must_use]
    pub fn of(attributes: &PathAttributes) -> Self {
        let communities = attributes.communities.iter();
        Self {
            as_path: attributes.as_path.asns().collect(),
            as_path_text: attributes.as_path.to_string().into(),
            communities: communities.map(|community| community.to_string().into()).collect(),
        }
    }
}

table! {
    /// One prefix announced or withdrawn by one BGP peer.
    pub struct RouteUpdateRow by [
        connection, prefix_first, prefix_last, event_time, source, source_offset
    ] {
        /// When it happened: MRT record time, RIS Live timestamp, time of receipt for BMP
        event_time: Timestamp,
        /// When it entered the log; null for archives
        received_time: Option<Timestamp>,
        /// The router's own time; null where the format has none
        router_time: Option<Timestamp>,
        /// File, topic or listener it came from
        source: Text,
        /// Position of the record in its source, from 0
        source_offset: u64,
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
        /// Table it was seen in: adj_rib_in_pre, adj_rib_in_post, adj_rib_out_pre, adj_rib_out_post, loc_rib
        rib_view: &'static str,
        /// Whether it comes from a table dump and not from a change
        is_snapshot: bool,
        /// announce or withdraw
        action: &'static str,
        /// The prefix, canonical text
        prefix: Prefix,
        /// First address, IPv4 mapped into ::ffff:0:0/96
        prefix_first: [u8; 16],
        /// Last address, IPv4 mapped into ::ffff:0:0/96
        prefix_last: [u8; 16],
        /// ADD-PATH identifier (RFC 7911); null without
        path_id: Option<u32>,
        /// Last AS of the path; null for a withdrawal, an empty path and one that ends in a set
        origin_asn: Option<Asn>,
        /// AS numbers, nearest first, sets too; null for a withdrawal
        as_path: Option<Arc<[Asn]>>,
        /// The path as bgpdump writes it; null for a withdrawal
        as_path_text: Option<Text>,
        /// NEXT_HOP; null for a withdrawal
        next_hop: Option<IpAddr>,
        /// MULTI_EXIT_DISC; null where absent
        med: Option<u32>,
        /// LOCAL_PREF; null where absent
        local_pref: Option<u32>,
        /// Communities of all kinds as text; null for a withdrawal
        communities: Option<Arc<[Text]>>,
        /// ONLY_TO_CUSTOMER (RFC 9234); null where absent
        otc: Option<Asn>,
        /// valid, invalid or not_found (RFC 6811); null without VRPs
        rpki_state: Option<Text>,
        /// valid, invalid or unknown (ASPA); null without ASPAs
        aspa_state: Option<Text>,
        /// What RFC 7606 made of the message: accepted, attribute_discard, treat_as_withdraw
        disposition: &'static str,
        /// The registered prefix it touches; null where it touches none (a path through a watched AS)
        registered_prefix: Option<Prefix>,
        /// exact, more_specific or less_specific, of the registered prefix; null where it touches none
        relation: Option<&'static str>,
        /// Connection that owns it; null where it touches none, or only covers a registered prefix
        connection: Option<Text>,
        /// Tenant of that connection; null where `connection` is
        tenant: Option<Text>,
    }
}
