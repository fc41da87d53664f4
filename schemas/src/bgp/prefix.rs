//! Prefixes of both families on one axis: IPv4 lies mapped in `::ffff:0:0/96`, so that containment
//! is two comparisons, here and in any SQL engine.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Address family (the AFI of RFC 4760).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Family {
    /// AFI 1.
    Ipv4,
    /// AFI 2.
    Ipv6,
}

impl Family {
    /// Bits of an address: 32 or 128.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Self::Ipv4 => 32,
            Self::Ipv6 => 128,
        }
    }
}

/// The place of IPv4 on the axis: `::ffff:0:0`.
const MAPPED: u128 = 0xffff_0000_0000;

/// An address as a number on the axis of both families.
#[must_use]
pub const fn mapped(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => MAPPED | address.to_bits() as u128,
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// An IP prefix. Bits past the length are always zero, so equal prefixes are equal keys. The order
/// is by family, first address, then shorter before longer: a prefix stands before all it covers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix {
    family: Family,
    first: u128,
    length: u8,
}

impl Prefix {
    /// The IPv4 prefix of `octets` cut to `length` bits; a length above 32 counts as 32.
    #[must_use]
    pub const fn v4(octets: [u8; 4], length: u8) -> Self {
        let length = if length > 32 { 32 } else { length };
        let keep = (u32::MAX as u64) << (32 - length);
        let bits = u32::from_be_bytes(octets) & keep as u32;
        Self { family: Family::Ipv4, first: MAPPED | bits as u128, length }
    }

    /// The IPv6 prefix of `octets` cut to `length` bits; a length above 128 counts as 128.
    #[must_use]
    pub const fn v6(octets: [u8; 16], length: u8) -> Self {
        let length = if length > 128 { 128 } else { length };
        let keep = if length == 0 { 0 } else { u128::MAX << (128 - length) };
        Self { family: Family::Ipv6, first: u128::from_be_bytes(octets) & keep, length }
    }

    /// The prefix of an address cut to `length` bits.
    #[must_use]
    pub const fn of(address: IpAddr, length: u8) -> Self {
        match address {
            IpAddr::V4(address) => Self::v4(address.octets(), length),
            IpAddr::V6(address) => Self::v6(address.octets(), length),
        }
    }

    /// Its address family.
    #[must_use]
    pub const fn family(&self) -> Family {
        self.family
    }

    /// Its length in bits of its own family.
    #[must_use]
    pub const fn length(&self) -> u8 {
        self.length
    }

    /// First address on the axis.
    #[must_use]
    pub const fn first(&self) -> u128 {
        self.first
    }

    /// Last address on the axis.
    #[must_use]
    pub const fn last(&self) -> u128 {
        let host_bits = self.family.bits() - self.length;
        self.first | if host_bits == 128 { u128::MAX } else { (1 << host_bits) - 1 }
    }

    /// First address, 16 bytes in network order: the column `prefix_first`.
    #[must_use]
    pub const fn first_octets(&self) -> [u8; 16] {
        self.first.to_be_bytes()
    }

    /// Last address, 16 bytes in network order: the column `prefix_last`.
    #[must_use]
    pub const fn last_octets(&self) -> [u8; 16] {
        self.last().to_be_bytes()
    }

    /// The first address as an address of its family.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        match self.family {
            Family::Ipv4 => IpAddr::V4(Ipv4Addr::from_bits(self.first as u32)),
            Family::Ipv6 => IpAddr::V6(Ipv6Addr::from_bits(self.first)),
        }
    }

    /// Whether every address of `other` lies in this prefix; a prefix covers itself.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.family == other.family && self.first <= other.first && other.last() <= self.last()
    }

    /// Whether the address lies in this prefix.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.covers(&Self::of(address, u8::MAX))
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address(), self.length)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is no prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// No address and length.
    #[error("{text:?} is not a prefix such as 192.0.2.0/24 or 2001:db8::/32")]
    Malformed {
        /// What was read.
        text: String,
    },
    /// Length beyond the family's.
    #[error("prefix length {length} of {text:?} exceeds {max} bits")]
    TooLong {
        /// What was read.
        text: String,
        /// The length in it.
        length: u16,
        /// The family's bits.
        max: u8,
    },
    /// The address has bits outside the length.
    #[error("{text:?} has bits set outside its length, did you mean {canonical}?")]
    HostBits {
        /// What was read.
        text: String,
        /// The same with those bits cleared.
        canonical: Prefix,
    },
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = || PrefixError::Malformed { text: text.to_owned() };
        let (address, length) = text.split_once('/').ok_or_else(malformed)?;
        let address: IpAddr = address.parse().map_err(|_| malformed())?;
        let length: u16 = length.parse().map_err(|_| malformed())?;
        let max = if address.is_ipv4() { 32 } else { 128 };
        let Some(bits) = u8::try_from(length).ok().filter(|bits| *bits <= max) else {
            return Err(PrefixError::TooLong { text: text.to_owned(), length, max });
        };
        let canonical = Self::of(address, bits);
        if canonical.address() == address {
            Ok(canonical)
        } else {
            Err(PrefixError::HostBits { text: text.to_owned(), canonical })
        }
    }
}

impl TryFrom<String> for Prefix {
    type Error = PrefixError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> Self {
        prefix.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn host_bits_are_refused_in_text_and_cleared_on_the_wire() {
        assert_eq!(Prefix::v4([192, 0, 2, 77], 24).to_string(), "192.0.2.0/24");
        let refused = "192.0.2.77/24".parse::<Prefix>().unwrap_err();
        assert!(refused.to_string().ends_with("did you mean 192.0.2.0/24?"), "{refused}");
    }

    #[test]
    fn a_length_is_never_more_than_the_family_holds() {
        for text in ["192.0.2.0/33", "2001:db8::/129", "192.0.2.0", "192.0.2.0/-1", "x/8", "/8"] {
            assert!(text.parse::<Prefix>().is_err(), "{text}");
        }
    }

    #[test]
    fn families_never_cover_each_other() {
        let all_v6: Prefix = "::/0".parse().unwrap();
        let v4: Prefix = "192.0.2.0/24".parse().unwrap();
        assert!(!all_v6.covers(&v4) && !v4.covers(&all_v6));
        assert!(all_v6.covers(&"::ffff:192.0.2.0/120".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn text_and_prefix_are_the_same_thing(octets: [u8; 16], length in 0u8..=128) {
            for prefix in [Prefix::v6(octets, length), Prefix::v4([octets[0], octets[1], octets[2], octets[3]], length % 33)] {
                prop_assert_eq!(prefix.to_string().parse::<Prefix>(), Ok(prefix));
                prop_assert!(prefix.covers(&Prefix::of(prefix.address(), 128)));
                prop_assert!(prefix.first() <= prefix.last());
            }
        }
    }
}
