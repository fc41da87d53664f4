//! OPEN and NOTIFICATION encoding: what a speaker says of itself in, one message out (RFC 4271 §4.2,
//! §4.5; RFC 5492).

use schemas::bgp::Asn;

use super::bgp::length;
use crate::decode::bgp::message::HEADER_BYTES;
use crate::decode::bgp::open::{AddPathFamily, NOTIFICATION, OPEN};

/// What an OPEN says. Capabilities that do not fit into 255 octets are left out from the end.
#[derive(Clone, Copy, Debug)]
pub struct Speaker<'a> {
    /// Its AS number.
    pub asn: Asn,
    /// Its BGP identifier.
    pub bgp_id: u32,
    /// Hold time in seconds.
    pub hold_time_secs: u16,
    /// Whether it knows AS numbers of four octets.
    pub has_four_octets: bool,
    /// AFI and SAFI of what it has routes of.
    pub families: &'a [(u16, u8)],
    /// What it can do with path identifiers.
    pub add_path: &'a [AddPathFamily],
}

/// The message of a speaker.
#[must_use]
pub fn open(speaker: &Speaker<'_>) -> Vec<u8> {
    let mut capabilities: Vec<(u8, Vec<u8>)> = Vec::new();
    for (afi, safi) in speaker.families {
        let [high, low] = afi.to_be_bytes();
        capabilities.push((1, vec![high, low, 0, *safi]));
    }
    if speaker.has_four_octets {
        capabilities.push((65, speaker.asn.0.to_be_bytes().to_vec()));
    }
    for family in speaker.add_path {
        let [high, low] = family.afi.to_be_bytes();
        let direction = u8::from(family.receives) | u8::from(family.sends) << 1;
        capabilities.push((69, vec![high, low, family.safi, direction]));
    }
    let mut parameters = Vec::new();
    for (code, value) in capabilities {
        let bytes = u8::try_from(value.len()).unwrap_or(u8::MAX);
        if parameters.len() + value.len() + 4 < usize::from(u8::MAX) {
            parameters.extend([2, bytes + 2, code, bytes]);
            parameters.extend(value);
        }
    }
    let short = u16::try_from(speaker.asn.0).unwrap_or(u16::try_from(Asn::TRANS.0).unwrap_or(0));
    let mut body = vec![4];
    body.extend(short.to_be_bytes());
    body.extend(speaker.hold_time_secs.to_be_bytes());
    body.extend(speaker.bgp_id.to_be_bytes());
    body.push(u8::try_from(parameters.len()).unwrap_or(u8::MAX));
    body.extend(parameters);
    message(OPEN, &body)
}

/// The message that ends a session.
#[must_use]
pub fn notification(code: u8, subcode: u8) -> Vec<u8> {
    message(NOTIFICATION, &[code, subcode])
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xff; 16];
    bytes.extend(length(HEADER_BYTES + body.len()));
    bytes.push(kind);
    bytes.extend_from_slice(body);
    bytes
}
