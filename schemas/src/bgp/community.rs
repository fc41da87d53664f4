//! Communities: standard (RFC 1997), extended (RFC 4360), IPv6-extended (RFC 5701), large (RFC 8092).

use std::fmt;

use serde::{Deserialize, Serialize};

/// One community of any kind. The text form is the column `communities`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Community {
    /// RFC 1997, four octets: `64500:123`.
    Standard(u32),
    /// RFC 4360, eight octets, shown in hexadecimal: `ext:0002fde800000064`.
    Extended([u8; 8]),
    /// RFC 5701, twenty octets, shown in hexadecimal: `ext6:...`.
    ExtendedIpv6([u8; 20]),
    /// RFC 8092, three numbers: `64500:1:2`.
    Large(u32, u32, u32),
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = |f: &mut fmt::Formatter<'_>, octets: &[u8]| {
            octets.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
        };
        match self {
            Self::Standard(value) => write!(f, "{}:{}", value >> 16, value & 0xffff),
            Self::Extended(octets) => f.write_str("ext:").and_then(|()| hex(f, octets)),
            Self::ExtendedIpv6(octets) => f.write_str("ext6:").and_then(|()| hex(f, octets)),
            Self::Large(global, first, second) => write!(f, "{global}:{first}:{second}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_text_that_names_it() {
        assert_eq!(Community::Standard(0x1f8b_1f47).to_string(), "8075:8007");
        assert_eq!(Community::Large(64_500, 1, 2).to_string(), "64500:1:2");
        assert_eq!(
            Community::Extended([0, 2, 0, 0, 0, 0, 0, 9]).to_string(),
            "ext:0002000000000009"
        );
    }
}
