//! Round-trip times: one probe, answered or lost.

use std::net::IpAddr;

use crate::bgp::Prefix;
use crate::tables::Text;
use crate::time::Timestamp;

/// Longest round trip that is taken for one: 60 s.
pub const RTT_US_MAX: u32 = 60_000_000;

/// What a sample's value is. Statistics are never mixed in one percentile.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
)]
pub enum Statistic {
    /// One probe's round trip.
    #[default]
    Sample,
    /// The smallest of many (NDT7 `MinRTT`).
    Min,
    /// A smoothed value (`tcpi_rtt`, RFC 6298).
    Srtt,
    /// An average of many.
    Avg,
}

impl Statistic {
    /// The word in the column.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sample => "sample",
            Self::Min => "min",
            Self::Srtt => "srtt",
            Self::Avg => "avg",
        }
    }
}

/// What was probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// An address.
    Address(IpAddr),
    /// A prefix as a whole.
    Prefix(Prefix),
}

/// One probe, as a source tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RttSample {
    /// When it was sent.
    pub time: Timestamp,
    /// What was probed.
    pub target: Target,
    /// The round trip in microseconds; none for a lost probe.
    pub rtt_us: Option<u32>,
    /// Who measured.
    pub source: Text,
    /// The connection it names, if any.
    pub connection: Option<Text>,
    /// What the value is.
    pub statistic: Statistic,
}
