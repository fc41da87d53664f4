//! BMP encoding: what a router reports in, messages of version 3 out (RFC 7854, 8671, 9069), and the
//! OpenBMP header around them.
//!
//! All functions append one message to `out`. Every field is the caller's, so that tests can write
//! what no router should.

use std::net::IpAddr;

use schemas::bgp::Asn;
use schemas::time::{MICROS_PER_SEC, Timestamp};

use super::bgp::length;
use crate::decode::bmp::{HEADER_BYTES, VERSION, kind, tlv};

/// The per-peer header (RFC 7854 §4.2). Flag V is set for IPv6 peers whatever `flags` says.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Peer type.
    pub kind: u8,
    /// Flags besides V.
    pub flags: u8,
    /// Route distinguisher.
    pub distinguisher: u64,
    /// Address of the peer.
    pub address: IpAddr,
    /// AS number of the peer.
    pub asn: Asn,
    /// BGP identifier of the peer.
    pub bgp_id: u32,
    /// The router's time; zero says that it has none.
    pub time: Timestamp,
}

impl Peer {
    /// A peer in the global table, before policy.
    #[must_use]
    pub const fn global(address: IpAddr, asn: Asn, time: Timestamp) -> Self {
        Self { kind: 0, flags: 0, distinguisher: 0, address, asn, bgp_id: 0, time }
    }

    fn bytes(&self) -> Vec<u8> {
        let is_ipv6 = self.address.is_ipv6();
        let mut bytes = vec![self.kind, self.flags | u8::from(is_ipv6) << 7];
        bytes.extend(self.distinguisher.to_be_bytes());
        bytes.extend(octets(self.address));
        bytes.extend(self.asn.0.to_be_bytes());
        bytes.extend(self.bgp_id.to_be_bytes());
        bytes.extend(secs_and_micros(self.time));
        bytes
    }
}

/// Whole seconds and microseconds in four octets each.
fn secs_and_micros(time: Timestamp) -> [u8; 8] {
    let secs = u32::try_from(time.secs().max(0)).unwrap_or(u32::MAX);
    let micros = u32::try_from(time.micros().rem_euclid(MICROS_PER_SEC)).unwrap_or(0);
    (u64::from(secs) << 32 | u64::from(micros)).to_be_bytes()
}

/// 16 octets; IPv4 in the last four of them.
fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()).to_be_bytes(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// Any message: a common header around these parts.
pub fn message(out: &mut Vec<u8>, kind: u8, parts: &[&[u8]]) {
    let body_bytes: usize = parts.iter().map(|part| part.len()).sum();
    let bytes = u32::try_from(HEADER_BYTES + body_bytes).unwrap_or(u32::MAX);
    out.push(VERSION);
    out.extend(bytes.to_be_bytes());
    out.push(kind);
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

fn tlvs(all: &[(u16, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (kind, value) in all {
        let value = value.get(..usize::from(u16::MAX)).unwrap_or(value);
        bytes.extend(kind.to_be_bytes());
        bytes.extend(length(value.len()));
        bytes.extend_from_slice(value);
    }
    bytes
}

/// Initiation (§4.3): what the router is and what it is called.
pub fn initiation(out: &mut Vec<u8>, sys_descr: &str, sys_name: &str) {
    let all = [(tlv::SYS_DESCR, sys_descr.as_bytes()), (tlv::SYS_NAME, sys_name.as_bytes())];
    message(out, kind::INITIATION, &[&tlvs(&all)]);
}

/// Termination (§4.5) with a reason by its number.
pub fn termination(out: &mut Vec<u8>, reason: u16) {
    message(out, kind::TERMINATION, &[&tlvs(&[(tlv::TERMINATION_REASON, &reason.to_be_bytes())])]);
}

/// Route Monitoring (§4.6) around a whole BGP message.
pub fn route_monitoring(out: &mut Vec<u8>, peer: &Peer, bgp_message: &[u8]) {
    message(out, kind::ROUTE_MONITORING, &[&peer.bytes(), bgp_message]);
}

/// What a Peer Up says (§4.10).
#[derive(Clone, Copy, Debug)]
pub struct PeerUp<'a> {
    /// The router's end.
    pub local_address: IpAddr,
    /// Port at the router.
    pub local_port: u16,
    /// Port at the peer.
    pub remote_port: u16,
    /// The OPEN that the router sent.
    pub sent: &'a [u8],
    /// The OPEN that it received.
    pub received: &'a [u8],
    /// Information TLVs.
    pub information: &'a [(u16, &'a [u8])],
}

/// Peer Up.
pub fn peer_up(out: &mut Vec<u8>, peer: &Peer, up: &PeerUp<'_>) {
    let ports = [up.local_port.to_be_bytes(), up.remote_port.to_be_bytes()].concat();
    let (local, information) = (octets(up.local_address), tlvs(up.information));
    let parts = [&peer.bytes()[..], &local, &ports, up.sent, up.received, &information];
    message(out, kind::PEER_UP, &parts);
}

/// Peer Down (§4.9) with a reason by its number and what belongs to it.
pub fn peer_down(out: &mut Vec<u8>, peer: &Peer, reason: u8, data: &[u8]) {
    message(out, kind::PEER_DOWN, &[&peer.bytes(), &[reason], data]);
}

/// Statistics Report (§4.8): values as they are to stand there, 4, 8 or 11 octets.
pub fn statistics(out: &mut Vec<u8>, peer: &Peer, all: &[(u16, &[u8])]) {
    let count = u32::try_from(all.len()).unwrap_or(u32::MAX).to_be_bytes();
    message(out, kind::STATISTICS_REPORT, &[&peer.bytes(), &count, &tlvs(all)]);
}

/// Route Mirroring (§4.7): TLVs of type 0 hold BGP messages, of type 1 a code.
pub fn route_mirroring(out: &mut Vec<u8>, peer: &Peer, all: &[(u16, &[u8])]) {
    message(out, kind::ROUTE_MIRRORING, &[&peer.bytes(), &tlvs(all)]);
}

/// The OpenBMP header of version 1.7 and its payload, as one value of a `bmp_raw` topic.
#[derive(Clone, Copy, Debug)]
pub struct OpenBmp<'a> {
    /// When the collector received it.
    pub time: Timestamp,
    /// Names the collector.
    pub admin_id: &'a str,
    /// The router's address.
    pub router: IpAddr,
    /// Names the router's group.
    pub router_group: &'a str,
}

/// One value around BMP messages. Hashes are zero.
pub fn openbmp(out: &mut Vec<u8>, header: &OpenBmp<'_>, payload: &[u8]) {
    let (id, group) = (header.admin_id.as_bytes(), header.router_group.as_bytes());
    let (flags, router) = match header.router {
        IpAddr::V4(address) => (0x80, u128::from(address.to_bits()) << 96),
        IpAddr::V6(address) => (0xc0, address.to_bits()),
    };
    let header_bytes = 38 + 2 + id.len() + 16 + 16 + 2 + group.len() + 4;
    out.extend(crate::decode::openbmp::MAGIC);
    out.extend([1, 7]);
    out.extend(length(header_bytes));
    out.extend(u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend([flags, crate::decode::openbmp::BMP_RAW]);
    out.extend(secs_and_micros(header.time));
    out.extend([0; 16]);
    out.extend(length(id.len()));
    out.extend_from_slice(id);
    out.extend([0; 16]);
    out.extend(router.to_be_bytes());
    out.extend(length(group.len()));
    out.extend_from_slice(group);
    out.extend(1_u32.to_be_bytes());
    out.extend_from_slice(payload);
}
