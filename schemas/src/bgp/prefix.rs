//! Prefixes of both families on one axis: IPv4 lies mapped in `::ffff:0:0/96`, so that containment
//! is two comparisons, here and in any SQL engine.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

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
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prefix {
    family: Family,
    /// The first address in two words: one of sixteen octets would make it a third larger.
    high: u64,
    low: u64,
    length: u8,
}

impl Hash for Prefix {
    /// In three words: the hash is taken for every route.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.high);
        state.write_u64(self.low);
        state.write_u16(u16::from_be_bytes([self.family as u8, self.length]));
    }
}

impl Prefix {
    /// The IPv4 prefix of `octets` cut to `length` bits; a length above 32 counts as 32.
    #[inline]
    #[must_use]
    pub const fn v4(octets: [u8; 4], length: u8) -> Self {
        Self::v4_word(u32::from_be_bytes(octets), length)
    }

    /// The IPv4 prefix of an address cut to `length` bits.
    #[inline]
    #[must_use]
    pub const fn v4_word(bits: u32, length: u8) -> Self {
        let length = if length > 32 { 32 } else { length };
        let keep = (u32::MAX as u64) << (32 - length);
        let bits = bits & keep as u32;
        Self { family: Family::Ipv4, high: 0, low: MAPPED as u64 | bits as u64, length }
    }

    /// The IPv6 prefix of `octets` cut to `length` bits; a length above 128 counts as 128.
    #[inline]
    #[must_use]
    pub const fn v6(octets: [u8; 16], length: u8) -> Self {
        let bits = u128::from_be_bytes(octets);
        Self::v6_words((bits >> 64) as u64, bits as u64, length)
    }

    /// The IPv6 prefix of the upper and lower half of an address, cut to `length` bits.
    #[inline]
    #[must_use]
    pub const fn v6_words(high: u64, low: u64, length: u8) -> Self {
        let length = if length > 128 { 128 } else { length };
        let (high, low) = match length {
            0 => (0, 0),
            1..=64 => (high & u64::MAX << (64 - length), 0),
            _ => (high, low & u64::MAX << (128 - length)),
        };
        Self { family: Family::Ipv6, high, low, length }
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
    #[inline]
    #[must_use]
    pub const fn family(&self) -> Family {
        self.family
    }

    /// Its length in bits of its own family.
    #[inline]
    #[must_use]
    pub const fn length(&self) -> u8 {
        self.length
    }

    /// First address on the axis.
    #[inline]
    #[must_use]
    pub const fn first(&self) -> u128 {
        (self.high as u128) << 64 | self.low as u128
    }

    /// Last address on the axis.
    #[must_use]
    pub const fn last(&self) -> u128 {
        let host_bits = self.family.bits() - self.length;
        self.first() | if host_bits == 128 { u128::MAX } else { (1 << host_bits) - 1 }
    }

    /// First address, 16 bytes in network order: the column `prefix_first`.
    #[must_use]
    pub const fn first_octets(&self) -> [u8; 16] {
        self.first().to_be_bytes()
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
            Family::Ipv4 => IpAddr::V4(Ipv4Addr::from_bits(self.low as u32)),
            Family::Ipv6 => IpAddr::V6(Ipv6Addr::from_bits(self.first())),
        }
    }

    /// Whether every address of `other` lies in this prefix; a prefix covers itself.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.family == other.family && self.first() <= other.first() && other.last() <= self.last()
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

/// A prefix where nobody reads it: first address and length.
#[derive(Serialize, Deserialize)]
enum Packed {
    V4([u8; 4], u8),
    V6([u8; 16], u8),
}

impl Serialize for Prefix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.collect_str(self);
        }
        match self.address() {
            IpAddr::V4(address) => Packed::V4(address.octets(), self.length),
            IpAddr::V6(address) => Packed::V6(address.octets(), self.length),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Prefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return String::deserialize(deserializer)?.parse().map_err(D::Error::custom);
        }
        let (address, length): (IpAddr, u8) = match Packed::deserialize(deserializer)? {
            Packed::V4(octets, length) => (octets.into(), length),
            Packed::V6(octets, length) => (octets.into(), length),
        };
        let prefix = Self::of(address, length);
        if (prefix.address(), prefix.length) == (address, length) {
            Ok(prefix)
        } else {
            Err(D::Error::custom("a prefix with bits outside its length"))
        }
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
    fn packed_bytes_that_are_no_prefix_are_refused() {
        for bytes in [&[0, 192, 0, 2, 77, 24][..], &[0, 192, 0, 2, 0, 33], &[2, 0], &[0, 192]] {
            assert!(postcard::from_bytes::<Prefix>(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_length_is_never_more_than_the_family_holds() {
        for text in ["192.0.2.0/33", "2001:db8::/129", "192.0.2.0", "192.0.2.0/-1", "x/8", "/8"] {
            assert!(text.parse::<Prefix>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_prefix_takes_three_words() {
        assert_eq!(size_of::<Prefix>(), 24);
        let order = ["0.0.0.0/0", "0.0.0.0/8", "9.0.0.0/8", "255.0.0.0/8", "::/0", "::ffff:0:0/96"];
        let order = order.map(|text| text.parse::<Prefix>().unwrap());
        assert!(order.is_sorted(), "by family, first address, length");
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
                let json = serde_json::to_string(&prefix).unwrap();
                prop_assert_eq!(&json, &format!("\"{prefix}\""));
                prop_assert_eq!(serde_json::from_str::<Prefix>(&json).unwrap(), prefix);
                let bytes = postcard::to_stdvec(&prefix).unwrap();
                prop_assert!(bytes.len() <= 18);
                prop_assert_eq!(postcard::from_bytes::<Prefix>(&bytes).unwrap(), prefix);
                prop_assert!(prefix.covers(&Prefix::of(prefix.address(), 128)));
                prop_assert!(prefix.first() <= prefix.last());
            }
        }
    }
}
