//! Numbers of path attributes: type codes (IANA "BGP Path Attributes") and flags (RFC 4271 §4.3).

/// `ORIGIN` (RFC 4271 §5.1.1).
pub const ORIGIN: u8 = 1;
/// `AS_PATH` (RFC 4271 §5.1.2).
pub const AS_PATH: u8 = 2;
/// `NEXT_HOP` (RFC 4271 §5.1.3).
pub const NEXT_HOP: u8 = 3;
/// `MULTI_EXIT_DISC` (RFC 4271 §5.1.4).
pub const MULTI_EXIT_DISC: u8 = 4;
/// `LOCAL_PREF` (RFC 4271 §5.1.5).
pub const LOCAL_PREF: u8 = 5;
/// `ATOMIC_AGGREGATE` (RFC 4271 §5.1.6).
pub const ATOMIC_AGGREGATE: u8 = 6;
/// `AGGREGATOR` (RFC 4271 §5.1.7).
pub const AGGREGATOR: u8 = 7;
/// `COMMUNITIES` (RFC 1997).
pub const COMMUNITIES: u8 = 8;
/// `ORIGINATOR_ID` (RFC 4456 §8).
pub const ORIGINATOR_ID: u8 = 9;
/// `CLUSTER_LIST` (RFC 4456 §8).
pub const CLUSTER_LIST: u8 = 10;
/// `MP_REACH_NLRI` (RFC 4760 §3).
pub const MP_REACH_NLRI: u8 = 14;
/// `MP_UNREACH_NLRI` (RFC 4760 §4).
pub const MP_UNREACH_NLRI: u8 = 15;
/// `EXTENDED COMMUNITIES` (RFC 4360 §2).
pub const EXTENDED_COMMUNITIES: u8 = 16;
/// `AS4_PATH` (RFC 6793 §3).
pub const AS4_PATH: u8 = 17;
/// `AS4_AGGREGATOR` (RFC 6793 §3).
pub const AS4_AGGREGATOR: u8 = 18;
/// IPv6 address specific extended communities (RFC 5701 §2).
pub const IPV6_EXTENDED_COMMUNITIES: u8 = 25;
/// `AIGP` (RFC 7311 §3).
pub const AIGP: u8 = 26;
/// `LARGE_COMMUNITY` (RFC 8092 §3).
pub const LARGE_COMMUNITIES: u8 = 32;
/// `ONLY_TO_CUSTOMER` (RFC 9234 §5).
pub const ONLY_TO_CUSTOMER: u8 = 35;

/// Flag: the attribute is optional.
pub const OPTIONAL: u8 = 0x80;
/// Flag: speakers that do not know the attribute pass it on.
pub const TRANSITIVE: u8 = 0x40;
/// Flag: the length takes two octets.
pub const EXTENDED_LENGTH: u8 = 0x10;
