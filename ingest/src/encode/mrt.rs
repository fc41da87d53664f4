//! MRT encoding: messages and tables in, archive records out (RFC 6396).
//!
//! All functions append one record to `out`. Numbers that exceed their field are cut to it: views
//! of 64 KiB and tables of 65,536 peers are no use case.

use std::net::{IpAddr, Ipv4Addr};

use schemas::bgp::{Asn, Family, PathAttributes, Prefix};
use schemas::time::{MICROS_PER_SEC, Timestamp};

use super::bgp::{attribute, attributes, length, mp_next_hop, number_of, prefix};
use crate::decode::bgp::{AsnWidth, code};
use crate::decode::mrt::kind;

/// PEER_INDEX_TABLE: the peers that the entries of the tables behind it mean (§4.3.1). Their BGP
/// identifiers are zero.
pub fn peer_index_table(
    out: &mut Vec<u8>,
    time: Timestamp,
    collector_bgp_id: u32,
    view: &str,
    peers: &[(IpAddr, Asn)],
) {
    let peers = peers.get(..usize::from(u16::MAX)).unwrap_or(peers);
    let view = view.as_bytes().get(..usize::from(u16::MAX)).unwrap_or(view.as_bytes());
    let mut body = collector_bgp_id.to_be_bytes().to_vec();
    body.extend(length(view.len()));
    body.extend_from_slice(view);
    body.extend(length(peers.len()));
    for (address, asn) in peers {
        body.push(if address.is_ipv6() { 3 } else { 2 });
        body.extend([0; 4]);
        push_address(&mut body, *address);
        body.extend(asn.0.to_be_bytes());
    }
    record(out, time, kind::TABLE_DUMP_V2, 1, &body);
}

/// One route of [`rib`].
#[derive(Clone, Copy, Debug)]
pub struct RibEntry<'a> {
    /// Place of the peer in the table before.
    pub peer_index: u16,
    /// When the peer announced it.
    pub originated: Timestamp,
    /// Its attributes.
    pub attributes: &'a PathAttributes,
}

/// RIB_IPV4_UNICAST or RIB_IPV6_UNICAST: who has a prefix (§4.3.2). A next hop of IPv6 stands in the
/// short form of `MP_REACH_NLRI` (§4.3.4).
pub fn rib(
    out: &mut Vec<u8>,
    time: Timestamp,
    sequence: u32,
    rib_prefix: Prefix,
    entries: &[RibEntry<'_>],
) {
    let entries = entries.get(..usize::from(u16::MAX)).unwrap_or(entries);
    let mut body = sequence.to_be_bytes().to_vec();
    prefix(&mut body, rib_prefix);
    body.extend(length(entries.len()));
    for entry in entries {
        let next_hop = entry.attributes.next_hop;
        let is_classic =
            rib_prefix.family() == Family::Ipv4 && next_hop.is_none_or(|hop| hop.is_ipv4());
        let mut block = vec![];
        attributes(&mut block, entry.attributes, next_hop.filter(|_| is_classic));
        if !is_classic {
            let mut value = vec![];
            mp_next_hop(&mut value, next_hop);
            attribute(&mut block, code::OPTIONAL, code::MP_REACH_NLRI, &value);
        }
        let block = block.get(..usize::from(u16::MAX)).unwrap_or(&block);
        body.extend(entry.peer_index.to_be_bytes());
        body.extend(secs(entry.originated));
        body.extend(length(block.len()));
        body.extend_from_slice(block);
    }
    let subtype = if rib_prefix.family() == Family::Ipv4 { 2 } else { 4 };
    record(out, time, kind::TABLE_DUMP_V2, subtype, &body);
}

/// A BGP session between a peer and the collector.
#[derive(Clone, Copy, Debug)]
pub struct Session {
    /// Address of the peer.
    pub peer_address: IpAddr,
    /// AS number of the peer.
    pub peer_asn: Asn,
    /// Address of the collector; of the peer's family, or it is written as zero.
    pub local_address: IpAddr,
    /// AS number of the collector.
    pub local_asn: Asn,
}

/// MESSAGE_AS4: a whole BGP message from the peer (§4.4.3). A time with microseconds makes it a
/// record of type BGP4MP_ET (§3).
pub fn message(out: &mut Vec<u8>, time: Timestamp, session: &Session, bgp_message: &[u8]) {
    message_of(out, time, session, 4, bgp_message);
}

/// The same under another subtype of a message: 1 and 8 have two-octet AS numbers, 8 and 9 path
/// identifiers (RFC 8050 §3), 6, 7, 10 and 11 were sent by the collector.
pub fn message_of(
    out: &mut Vec<u8>,
    time: Timestamp,
    session: &Session,
    subtype: u16,
    bgp_message: &[u8],
) {
    let mut body = envelope(session, matches!(subtype, 1 | 6 | 8 | 10));
    body.extend_from_slice(bgp_message);
    record(out, time, kind::BGP4MP, subtype, &body);
}

/// STATE_CHANGE_AS4: the session went from one state to another (§4.4.1).
pub fn state_change(out: &mut Vec<u8>, time: Timestamp, session: &Session, old: u16, new: u16) {
    let mut body = envelope(session, false);
    body.extend(old.to_be_bytes());
    body.extend(new.to_be_bytes());
    record(out, time, kind::BGP4MP, 5, &body);
}

fn envelope(session: &Session, is_narrow: bool) -> Vec<u8> {
    let mut body = vec![];
    for asn in [session.peer_asn, session.local_asn] {
        body.extend(number_of(asn, if is_narrow { AsnWidth::Two } else { AsnWidth::Four }));
    }
    body.extend([0, 0, 0, if session.peer_address.is_ipv4() { 1 } else { 2 }]);
    push_address(&mut body, session.peer_address);
    let local = match (session.peer_address, session.local_address) {
        (IpAddr::V4(_), IpAddr::V6(_)) => Ipv4Addr::UNSPECIFIED.into(),
        (IpAddr::V6(_), IpAddr::V4(_)) => std::net::Ipv6Addr::UNSPECIFIED.into(),
        (_, local) => local,
    };
    push_address(&mut body, local);
    body
}

fn push_address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => out.extend(address.octets()),
        IpAddr::V6(address) => out.extend(address.octets()),
    }
}

/// Whole seconds in four octets: 1970 to 2106.
fn secs(time: Timestamp) -> [u8; 4] {
    u32::try_from(time.secs().max(0)).unwrap_or(u32::MAX).to_be_bytes()
}

/// A record with its header (§2); with microseconds, if the time has any and the type can (§3).
fn record(out: &mut Vec<u8>, time: Timestamp, kind: u16, subtype: u16, body: &[u8]) {
    let micros = u32::try_from(time.micros().rem_euclid(MICROS_PER_SEC)).unwrap_or(0);
    let micros = (kind == kind::BGP4MP && micros != 0).then_some(micros.to_be_bytes());
    let kind = if micros.is_some() { kind::BGP4MP_ET } else { kind };
    let micros = micros.as_ref().map_or(&[][..], |octets| &octets[..]);
    let bytes = u32::try_from(micros.len() + body.len()).unwrap_or(u32::MAX);
    out.extend(secs(time));
    out.extend(kind.to_be_bytes());
    out.extend(subtype.to_be_bytes());
    out.extend(bytes.to_be_bytes());
    out.extend_from_slice(micros);
    out.extend_from_slice(body);
}
