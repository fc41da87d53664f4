//! BGP encoding: an [`Update`] in, one whole message out (RFC 4271 §4.3, RFC 4760, RFC 6793).
//!
//! One message is as long as its length field allows, 65,535 octets (RFC 8654); what does not fit is
//! cut there, so that the bytes always hold together. [`super::messages`] takes any number of
//! prefixes and both families, and as many messages as that needs.

use std::net::IpAddr;

use schemas::bgp::{AsPath, Asn, Community, Family, Origin, PathAttributes, Prefix, SegmentKind};

use crate::decode::bgp::message::{HEADER_BYTES, UPDATE};
use crate::decode::bgp::{AsnWidth, code};

/// What an UPDATE says. IPv6 goes into `MP_REACH_NLRI` and `MP_UNREACH_NLRI`, IPv4 into the classic
/// fields; IPv4 with an IPv6 next hop into `MP_REACH_NLRI` too (RFC 8950), if there is no IPv6
/// beside it. Announcements of both families in one message need a next hop of IPv4, which lies
/// mapped in that of IPv6; [`super::messages`] knows no such bounds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Update<'a> {
    /// Prefixes withdrawn.
    pub withdrawn: &'a [Prefix],
    /// Prefixes announced.
    pub announced: &'a [Prefix],
    /// The attributes of what is announced.
    pub attributes: Option<&'a PathAttributes>,
}

/// The message with marker and length. Without prefixes and attributes it is an End-of-RIB of IPv4
/// (RFC 4724 §2).
#[must_use]
pub fn update(update: &Update<'_>) -> Vec<u8> {
    let of = |prefixes: &[Prefix], family: Family| -> Vec<Prefix> {
        prefixes.iter().copied().filter(|prefix| prefix.family() == family).collect()
    };
    let (withdrawn, mp_withdrawn) =
        (of(update.withdrawn, Family::Ipv4), of(update.withdrawn, Family::Ipv6));
    let (mut announced, mut mp_announced) =
        (of(update.announced, Family::Ipv4), of(update.announced, Family::Ipv6));
    let next_hop = update.attributes.and_then(|attributes| attributes.next_hop);
    if mp_announced.is_empty() && next_hop.is_some_and(|hop| hop.is_ipv6()) {
        std::mem::swap(&mut announced, &mut mp_announced);
    }
    let mut block = vec![];
    if !mp_withdrawn.is_empty() {
        let mut value = families(Family::Ipv6);
        nlri(&mut value, &mp_withdrawn);
        attribute(&mut block, code::OPTIONAL, code::MP_UNREACH_NLRI, &value);
    }
    if let Some(all) = update.attributes {
        let classic_hop = (!announced.is_empty()).then_some(next_hop).flatten();
        attributes(&mut block, all, classic_hop);
        if let Some(first) = mp_announced.first() {
            let mut value = families(first.family());
            mp_next_hop(&mut value, next_hop);
            value.push(0);
            nlri(&mut value, &mp_announced);
            attribute(&mut block, code::OPTIONAL, code::MP_REACH_NLRI, &value);
        }
    }
    let mut fields = (vec![], vec![]);
    nlri(&mut fields.0, &withdrawn);
    nlri(&mut fields.1, &announced);
    message(&fields.0, &block, &fields.1)
}

/// The End-of-RIB of a family (RFC 4724 §2).
#[must_use]
pub fn end_of_rib(family: Family) -> Vec<u8> {
    let mut block = vec![];
    if family == Family::Ipv6 {
        attribute(&mut block, code::OPTIONAL, code::MP_UNREACH_NLRI, &families(family));
    }
    message(&[], &block, &[])
}

/// Puts the three parts of an UPDATE behind a header (RFC 4271 §4.1).
pub(super) fn message(withdrawn: &[u8], block: &[u8], announced: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xff; 16];
    bytes.extend([0, 0, UPDATE]);
    let left = usize::from(u16::MAX) - HEADER_BYTES - 4;
    let withdrawn = withdrawn.get(..left).unwrap_or(withdrawn);
    let left = left - withdrawn.len();
    let block = block.get(..left).unwrap_or(block);
    let announced = announced.get(..left - block.len()).unwrap_or(announced);
    for part in [withdrawn, block] {
        bytes.extend(length(part.len()));
        bytes.extend_from_slice(part);
    }
    bytes.extend_from_slice(announced);
    let total = length(bytes.len());
    for (octet, byte) in bytes.iter_mut().skip(16).zip(total) {
        *octet = byte;
    }
    bytes
}

/// Two octets of length; callers keep what they measure below 64 KiB.
pub(super) fn length(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).unwrap_or(u16::MAX).to_be_bytes()
}

/// AFI and unicast SAFI (RFC 4760 §3).
pub(super) fn families(family: Family) -> Vec<u8> {
    match family {
        Family::Ipv4 => vec![0, 1, 1],
        Family::Ipv6 => vec![0, 2, 1],
    }
}

/// One prefix: its length, and the octets that it fills (RFC 4271 §4.3).
pub(super) fn prefix(out: &mut Vec<u8>, prefix: Prefix) {
    let bytes = usize::from(prefix.length()).div_ceil(8);
    out.push(prefix.length());
    match prefix.address() {
        IpAddr::V4(address) => out.extend(address.octets().into_iter().take(bytes)),
        IpAddr::V6(address) => out.extend(address.octets().into_iter().take(bytes)),
    }
}

fn nlri(out: &mut Vec<u8>, prefixes: &[Prefix]) {
    prefixes.iter().for_each(|one| prefix(out, *one));
}

/// A length and a next hop of IPv6; IPv4 lies mapped in it (RFC 4798 §2).
pub(super) fn mp_next_hop(out: &mut Vec<u8>, next_hop: Option<IpAddr>) {
    let address = match next_hop {
        Some(IpAddr::V6(address)) => address,
        Some(IpAddr::V4(address)) => address.to_ipv6_mapped(),
        None => std::net::Ipv6Addr::UNSPECIFIED,
    };
    out.push(16);
    out.extend(address.octets());
}

/// One attribute with the shortest length field that its flags allow.
pub(super) fn attribute(out: &mut Vec<u8>, flags: u8, code: u8, value: &[u8]) {
    let value = value.get(..usize::from(u16::MAX)).unwrap_or(value);
    let is_long = value.len() > usize::from(u8::MAX) || flags & code::EXTENDED_LENGTH != 0;
    let flags = if is_long { flags | code::EXTENDED_LENGTH } else { flags };
    out.extend([flags, code]);
    match (is_long, length(value.len())) {
        (true, octets) => out.extend(octets),
        (false, [_, low]) => out.push(low),
    }
    out.extend_from_slice(value);
}

/// All attributes but the multiprotocol ones, in the order of their codes, the unknown last.
/// `AS_PATH` is always there, `NEXT_HOP` if `classic_hop` is an IPv4 address.
pub(super) fn attributes(out: &mut Vec<u8>, all: &PathAttributes, classic_hop: Option<IpAddr>) {
    attributes_of_width(out, all, classic_hop, AsnWidth::Four);
}

/// The same with AS numbers of this width; what two octets cannot tell stands in `AS4_PATH` and
/// `AS4_AGGREGATOR` (RFC 6793 §4.2.2).
pub(super) fn attributes_of_width(
    out: &mut Vec<u8>,
    all: &PathAttributes,
    classic_hop: Option<IpAddr>,
    width: AsnWidth,
) {
    const WELL_KNOWN: u8 = code::TRANSITIVE;
    const OPTIONAL: u8 = code::OPTIONAL;
    const BOTH: u8 = code::OPTIONAL | code::TRANSITIVE;
    let number = |out: &mut Vec<u8>, flags, code, value: Option<u32>| {
        if let Some(value) = value {
            attribute(out, flags, code, &value.to_be_bytes());
        }
    };
    if let Some(origin) = all.origin {
        let value = match origin {
            Origin::Igp => 0,
            Origin::Egp => 1,
            Origin::Incomplete => 2,
        };
        attribute(out, WELL_KNOWN, code::ORIGIN, &[value]);
    }
    attribute(out, WELL_KNOWN, code::AS_PATH, &as_path(&all.as_path, width));
    if let Some(IpAddr::V4(hop)) = classic_hop {
        attribute(out, WELL_KNOWN, code::NEXT_HOP, &hop.octets());
    }
    number(out, OPTIONAL, code::MULTI_EXIT_DISC, all.med);
    number(out, WELL_KNOWN, code::LOCAL_PREF, all.local_pref);
    if all.atomic_aggregate {
        attribute(out, WELL_KNOWN, code::ATOMIC_AGGREGATE, &[]);
    }
    if let Some((asn, IpAddr::V4(address))) = all.aggregator {
        let value = [&number_of(asn, width)[..], &address.octets()].concat();
        attribute(out, BOTH, code::AGGREGATOR, &value);
    }
    communities(out, all, code::COMMUNITIES);
    number(out, OPTIONAL, code::ORIGINATOR_ID, all.originator_id);
    if !all.cluster_list.is_empty() {
        let value: Vec<u8> = all.cluster_list.iter().flat_map(|id| id.to_be_bytes()).collect();
        attribute(out, OPTIONAL, code::CLUSTER_LIST, &value);
    }
    communities(out, all, code::EXTENDED_COMMUNITIES);
    if width == AsnWidth::Two {
        wide(out, all);
    }
    communities(out, all, code::IPV6_EXTENDED_COMMUNITIES);
    if let Some(metric) = all.aigp {
        let value = [&[1, 0, 11][..], &metric.to_be_bytes()].concat();
        attribute(out, OPTIONAL, code::AIGP, &value);
    }
    communities(out, all, code::LARGE_COMMUNITIES);
    number(out, BOTH, code::ONLY_TO_CUSTOMER, all.otc.map(|asn| asn.0));
    for (flags, code, value) in &all.unknown {
        attribute(out, *flags, *code, value);
    }
}

/// The communities of one kind, if there are any.
fn communities(out: &mut Vec<u8>, all: &PathAttributes, code: u8) {
    let mut value = vec![];
    for community in &all.communities {
        match (code, community) {
            (code::COMMUNITIES, Community::Standard(number)) => value.extend(number.to_be_bytes()),
            (code::EXTENDED_COMMUNITIES, Community::Extended(octets)) => value.extend(octets),
            (code::IPV6_EXTENDED_COMMUNITIES, Community::ExtendedIpv6(octets)) => {
                value.extend(octets)
            }
            (code::LARGE_COMMUNITIES, Community::Large(global, first, second)) => {
                value.extend(
                    [global, first, second].into_iter().flat_map(|part| part.to_be_bytes()),
                );
            }
            _ => {}
        }
    }
    if !value.is_empty() {
        attribute(out, code::OPTIONAL | code::TRANSITIVE, code, &value);
    }
}

/// `AS4_PATH` and `AS4_AGGREGATOR` where two octets do not tell all.
fn wide(out: &mut Vec<u8>, all: &PathAttributes) {
    const BOTH: u8 = code::OPTIONAL | code::TRANSITIVE;
    if let Some(path) = as4_path(&all.as_path) {
        attribute(out, BOTH, code::AS4_PATH, &as_path(&path, AsnWidth::Four));
    }
    if let Some((asn, IpAddr::V4(address))) = all.aggregator
        && u16::try_from(asn.0).is_err()
    {
        let value = [asn.0.to_be_bytes(), address.octets()].concat();
        attribute(out, BOTH, code::AS4_AGGREGATOR, &value);
    }
}

/// A number in its octets; one that two octets cannot hold is `AS_TRANS` (RFC 6793 §4.2.2).
pub(super) fn number_of(asn: Asn, width: AsnWidth) -> Vec<u8> {
    match width {
        AsnWidth::Four => asn.0.to_be_bytes().to_vec(),
        AsnWidth::Two => {
            u16::try_from(asn.0).or(u16::try_from(Asn::TRANS.0)).unwrap_or(0).to_be_bytes().to_vec()
        }
    }
}

/// What stands in `AS4_PATH` beside a two-octet path: none if two octets tell it all, and nothing of
/// confederations (RFC 6793 §4.2.2).
fn as4_path(path: &AsPath) -> Option<AsPath> {
    let is_plain = |kind| matches!(kind, SegmentKind::Sequence | SegmentKind::Set);
    let is_wide = path.asns().any(|asn| u16::try_from(asn.0).is_err());
    let segments = path.segments.iter().filter(|segment| is_plain(segment.kind));
    is_wide.then(|| AsPath { segments: segments.cloned().collect() })
}

/// A path, segments of 255 numbers at most (RFC 4271 §4.3, RFC 6793 §3).
fn as_path(path: &AsPath, width: AsnWidth) -> Vec<u8> {
    let mut value = vec![];
    for segment in &path.segments {
        for asns in segment.asns.chunks(usize::from(u8::MAX)) {
            value.extend([segment_type(segment.kind), u8::try_from(asns.len()).unwrap_or(u8::MAX)]);
            value.extend(asns.iter().flat_map(|asn| number_of(*asn, width)));
        }
    }
    value
}

const fn segment_type(kind: SegmentKind) -> u8 {
    match kind {
        SegmentKind::Set => 1,
        SegmentKind::Sequence => 2,
        SegmentKind::ConfedSequence => 3,
        SegmentKind::ConfedSet => 4,
    }
}
