//! Captured packets: the bytes of one and its link type in, a TCP segment out.
//!
//! Ethernet with VLAN tags, Linux cooked captures (both forms), raw IP, BSD loopback; IPv4 and IPv6
//! with extension headers. Headers are sliced by `etherparse`, leniently: a packet that the capture
//! cut short gives the part of its payload that is there.
//!
//! Not done: IP fragments are not put together, tunnels are not opened. Both are counted by the
//! caller as packets without a segment.

use std::net::SocketAddr;

use etherparse::{EtherType, LaxNetSlice, LaxSlicedPacket, TransportSlice};

use super::cursor::Cursor;

/// One direction of a TCP session: source and destination.
pub type Flow = (SocketAddr, SocketAddr);

/// A TCP segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// From where to where.
    pub flow: Flow,
    /// Sequence number of the first octet of the payload, or of the SYN before it.
    pub sequence: u32,
    /// It begins a session.
    pub is_syn: bool,
    /// It ends a session, with or without what was sent before.
    pub is_end: bool,
    /// What it carries.
    pub payload: &'a [u8],
}

/// Link types (tcpdump.org, "Link-layer header types").
mod link {
    pub(super) const NULL: i32 = 0;
    pub(super) const ETHERNET: i32 = 1;
    pub(super) const RAW_BSD: i32 = 12;
    pub(super) const RAW_OPENBSD: i32 = 14;
    pub(super) const RAW: i32 = 101;
    pub(super) const LOOP: i32 = 108;
    pub(super) const LINUX_SLL: i32 = 113;
    pub(super) const IPV4: i32 = 228;
    pub(super) const IPV6: i32 = 229;
    pub(super) const LINUX_SLL2: i32 = 276;
}

/// The segment in a packet; none if there is no whole TCP header in it.
#[must_use]
pub fn segment(packet: &[u8], link_type: i32) -> Option<Segment<'_>> {
    let mut input = Cursor::new(packet);
    let sliced = match link_type {
        link::ETHERNET => LaxSlicedPacket::from_ethernet(packet).ok()?,
        link::RAW | link::RAW_BSD | link::RAW_OPENBSD | link::IPV4 | link::IPV6 => {
            LaxSlicedPacket::from_ip(packet).ok()?
        }
        link::NULL | link::LOOP => {
            input.take("loopback header", 4).ok()?;
            LaxSlicedPacket::from_ip(input.rest()).ok()?
        }
        link::LINUX_SLL => {
            input.take("cooked header", 14).ok()?;
            let protocol = input.u16("cooked protocol").ok()?;
            LaxSlicedPacket::from_ether_type(EtherType(protocol), input.rest())
        }
        link::LINUX_SLL2 => {
            let protocol = input.u16("cooked protocol").ok()?;
            input.take("cooked header", 18).ok()?;
            LaxSlicedPacket::from_ether_type(EtherType(protocol), input.rest())
        }
        _ => return None,
    };
    let Some(TransportSlice::Tcp(tcp)) = sliced.transport else { return None };
    let (source, destination) = match sliced.net? {
        LaxNetSlice::Ipv4(ip) => {
            (ip.header().source_addr().into(), ip.header().destination_addr().into())
        }
        LaxNetSlice::Ipv6(ip) => {
            (ip.header().source_addr().into(), ip.header().destination_addr().into())
        }
        LaxNetSlice::Arp(_) => return None,
    };
    Some(Segment {
        flow: (
            SocketAddr::new(source, tcp.source_port()),
            SocketAddr::new(destination, tcp.destination_port()),
        ),
        sequence: tcp.sequence_number(),
        is_syn: tcp.syn(),
        is_end: tcp.fin() || tcp.rst(),
        payload: tcp.payload(),
    })
}
