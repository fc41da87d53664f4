//! Peers: on whose behalf a route is told (RFC 7854 §4.2, RFC 6396 §4.3.1).

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Asn;
use crate::connection::PUBLIC_ROUTING_DOMAIN;
use crate::pool;

/// Which of a router's tables a route was seen in: the column `rib_view`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum RibView {
    /// What the peer announced, before policy (RFC 7854); archives and public feeds too.
    #[default]
    AdjRibInPre,
    /// What the peer announced, after policy (RFC 7854).
    AdjRibInPost,
    /// What the router announces, before policy (RFC 8671).
    AdjRibOutPre,
    /// What the router announces, after policy (RFC 8671).
    AdjRibOutPost,
    /// What the router uses (RFC 9069).
    LocRib,
}

impl RibView {
    /// The word in the column.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AdjRibInPre => "adj_rib_in_pre",
            Self::AdjRibInPost => "adj_rib_in_post",
            Self::AdjRibOutPre => "adj_rib_out_pre",
            Self::AdjRibOutPost => "adj_rib_out_post",
            Self::LocRib => "loc_rib",
        }
    }

    /// Whether its routes are what the router itself announces (RFC 8671).
    #[must_use]
    pub const fn is_adj_rib_out(self) -> bool {
        matches!(self, Self::AdjRibOutPre | Self::AdjRibOutPost)
    }

    /// Whether its routes are what a peer announces. Else they are what the router itself uses or
    /// announces, and say nothing of what others believe.
    #[must_use]
    pub const fn is_adj_rib_in(self) -> bool {
        matches!(self, Self::AdjRibInPre | Self::AdjRibInPost)
    }
}

/// A BGP peer as its collector names it. Two of them are the same peer when all of this is equal,
/// across files too.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PeerHeader {
    /// The collector that holds the session; `archive` where no rule names one.
    #[serde(deserialize_with = "pool::text")]
    pub collector: Arc<str>,
    /// The monitored router, for BMP.
    #[serde(deserialize_with = "pool::text_or_none")]
    pub router: Option<Arc<str>>,
    /// The peer's address.
    pub address: IpAddr,
    /// The peer's AS number.
    pub asn: Asn,
    /// Which table its routes stand in.
    pub rib_view: RibView,
    /// Route distinguisher of the peer, zero in the global table (RFC 7854 §4.2).
    pub distinguisher: u64,
    /// Whose address space its prefixes are of: a private one of a tenant, or the public one.
    #[serde(deserialize_with = "pool::text")]
    pub routing_domain: Arc<str>,
}

impl PeerHeader {
    /// A peer of the public routing domain as an archive or a public feed names it.
    #[must_use]
    pub fn public(collector: Arc<str>, address: IpAddr, asn: Asn) -> Self {
        Self {
            collector,
            router: None,
            address,
            asn,
            rib_view: RibView::AdjRibInPre,
            distinguisher: 0,
            routing_domain: PUBLIC_ROUTING_DOMAIN.into(),
        }
    }
}

impl fmt::Display for PeerHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} at {}", self.asn, self.address, self.collector)
    }
}
