//! Attribute values: the octets of one value in, a word of [`schemas::bgp`] out.
//!
//! A value that has not the right size gives nothing; [`super::attributes`] has judged it before.

use std::net::{IpAddr, Ipv4Addr};

use schemas::bgp::{Asn, Community, Origin};

use super::as_path::AsnWidth;
use super::attributes::RawAttribute;
use super::code;
use crate::decode::cursor::Cursor;

/// The first next hop of an `MP_REACH_NLRI` in its full form (RFC 4760 §3) or in the short one of
/// RIB entries: a length and the next hop (RFC 6396 §4.3.4).
pub(super) fn mp_next_hop(value: &[u8]) -> Option<IpAddr> {
    let mut input = Cursor::new(value);
    let is_short = value.first().is_some_and(|bytes| usize::from(*bytes) + 1 == value.len());
    if !is_short {
        input.take("MP families", 3).ok()?;
    }
    let bytes = input.u8("MP next hop length").ok()?;
    match bytes {
        4 => input.array::<4>("MP next hop").ok().map(IpAddr::from),
        16 => input.array::<16>("MP next hop").ok().map(IpAddr::from),
        32 => {
            let first = input.array::<16>("MP next hop").ok()?;
            input.take("MP second next hop", 16).ok().map(|_| IpAddr::from(first))
        }
        _ => None,
    }
}

/// The first AIGP TLV of type 1: a metric of eight octets (RFC 7311 §3).
pub(super) fn aigp(value: &[u8]) -> Option<u64> {
    let mut input = Cursor::new(value);
    while !input.is_empty() {
        let kind = input.u8("AIGP type").ok()?;
        let bytes = usize::from(input.u16("AIGP length").ok()?).checked_sub(3)?;
        let mut tlv = input.cut("AIGP value", bytes).ok()?;
        if kind == 1 {
            return (bytes == 8).then(|| tlv.u64("AIGP metric").ok()).flatten();
        }
    }
    None
}

pub(super) fn origin(value: &[u8]) -> Option<Origin> {
    match value {
        [0] => Some(Origin::Igp),
        [1] => Some(Origin::Egp),
        [2] => Some(Origin::Incomplete),
        _ => None,
    }
}

pub(super) fn aggregator(mut input: Cursor<'_>, width: AsnWidth) -> Option<(Asn, IpAddr)> {
    let asn = match width {
        AsnWidth::Two => input.u16("AGGREGATOR").ok()?.into(),
        AsnWidth::Four => input.u32("AGGREGATOR").ok()?,
    };
    let address = input.array::<4>("AGGREGATOR address").ok()?;
    Some((Asn(asn), Ipv4Addr::from(address).into()))
}

/// The value as numbers of `N` octets each.
pub(super) fn numbers<const N: usize>(value: &[u8]) -> impl Iterator<Item = [u8; N]> {
    value.chunks_exact(N).filter_map(|octets| octets.first_chunk().copied())
}

pub(super) fn communities(attribute: RawAttribute<'_>, into: &mut Vec<Community>) {
    let value = attribute.value;
    match attribute.code {
        code::COMMUNITIES => {
            into.extend(
                numbers(value).map(|octets| Community::Standard(u32::from_be_bytes(octets))),
            );
        }
        code::EXTENDED_COMMUNITIES => into.extend(numbers(value).map(Community::Extended)),
        code::IPV6_EXTENDED_COMMUNITIES => into.extend(numbers(value).map(Community::ExtendedIpv6)),
        _ => into.extend(numbers::<12>(value).map(|octets| {
            let mut input = Cursor::new(&octets);
            let mut next = || input.u32("large community").unwrap_or(0);
            Community::Large(next(), next(), next())
        })),
    }
}
