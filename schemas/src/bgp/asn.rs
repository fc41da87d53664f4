//! AS numbers: four octets (RFC 6793), shown in `asplain` (RFC 5396).

use std::fmt;

use serde::{Deserialize, Serialize};

/// An autonomous system number.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Asn(pub u32);

impl Asn {
    /// `AS_TRANS` stands for a four-octet number towards a two-octet speaker (RFC 6793 §9).
    pub const TRANS: Self = Self(23_456);
}

impl fmt::Display for Asn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AS{}", self.0)
    }
}

impl From<u32> for Asn {
    fn from(number: u32) -> Self {
        Self(number)
    }
}
