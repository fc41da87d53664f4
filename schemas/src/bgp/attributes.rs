//! Path attributes: what an UPDATE says of all its prefixes (RFC 4271 §5, §4.3).

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{AsPath, Asn, Community};

/// `ORIGIN` (RFC 4271 §5.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Origin {
    /// 0
    Igp,
    /// 1
    Egp,
    /// 2
    Incomplete,
}

/// What RFC 7606 makes of a message: the column `disposition`, the worst of its attributes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Disposition {
    /// Nothing to object to.
    #[default]
    Accepted,
    /// An attribute was malformed and left out, the route stands (RFC 7606 §2, attribute discard).
    AttributeDiscard,
    /// The routes count as withdrawn (RFC 7606 §2, treat-as-withdraw).
    TreatAsWithdraw,
}

impl Disposition {
    /// The word in the column.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::AttributeDiscard => "attribute_discard",
            Self::TreatAsWithdraw => "treat_as_withdraw",
        }
    }
}

/// The attributes that a route carries, decoded. Absent ones are `None` or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PathAttributes {
    /// `ORIGIN` (1).
    pub origin: Option<Origin>,
    /// `AS_PATH` (2) with `AS4_PATH` (17) merged in (RFC 6793 §4.2.3).
    pub as_path: AsPath,
    /// `NEXT_HOP` (3), or the first next hop of `MP_REACH_NLRI` (14, RFC 4760).
    pub next_hop: Option<IpAddr>,
    /// `MULTI_EXIT_DISC` (4).
    pub med: Option<u32>,
    /// `LOCAL_PREF` (5).
    pub local_pref: Option<u32>,
    /// `ATOMIC_AGGREGATE` (6).
    pub atomic_aggregate: bool,
    /// `AGGREGATOR` (7) with `AS4_AGGREGATOR` (18) merged in.
    pub aggregator: Option<(Asn, IpAddr)>,
    /// Communities of all four kinds, in the order of the message.
    pub communities: Vec<Community>,
    /// `ORIGINATOR_ID` (9, RFC 4456).
    pub originator_id: Option<u32>,
    /// `CLUSTER_LIST` (10, RFC 4456).
    pub cluster_list: Vec<u32>,
    /// `AIGP` metric (26, RFC 7311).
    pub aigp: Option<u64>,
    /// `ONLY_TO_CUSTOMER` (35, RFC 9234).
    pub otc: Option<Asn>,
    /// Attributes not known here: flags, type code, value as sent.
    pub unknown: Vec<(u8, u8, Vec<u8>)>,
    /// What RFC 7606 makes of the message.
    pub disposition: Disposition,
}
