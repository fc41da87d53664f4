//! RTR: a PDU in, its bytes out. What a router asks, and what a cache of the tests answers.

use schemas::bgp::Family;

use crate::decode::rtr::{Pdu, kind};

/// Appends a PDU.
pub fn encode(into: &mut Vec<u8>, version: u8, pdu: &Pdu<'_>) {
    let (kind, word, body) = body(pdu);
    let length = u32::try_from(8 + body.len()).unwrap_or(u32::MAX);
    into.extend([version, kind]);
    into.extend(word.to_be_bytes());
    into.extend(length.to_be_bytes());
    into.extend(body);
}

/// The question for everything.
#[must_use]
pub fn reset_query(version: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&mut bytes, version, &Pdu::ResetQuery);
    bytes
}

/// Type, the field of two octets, and what stands behind the length.
fn body(pdu: &Pdu<'_>) -> (u8, u16, Vec<u8>) {
    match *pdu {
        Pdu::SerialNotify { session, serial } => {
            (kind::SERIAL_NOTIFY, session, serial.to_be_bytes().to_vec())
        }
        Pdu::SerialQuery { session, serial } => {
            (kind::SERIAL_QUERY, session, serial.to_be_bytes().to_vec())
        }
        Pdu::ResetQuery => (kind::RESET_QUERY, 0, Vec::new()),
        Pdu::CacheResponse { session } => (kind::CACHE_RESPONSE, session, Vec::new()),
        Pdu::Prefix { is_announced, vrp } => {
            let mut body = vec![u8::from(is_announced), vrp.prefix.length(), vrp.max_length, 0];
            let octets = vrp.prefix.first_octets();
            let kind = match vrp.prefix.family() {
                Family::Ipv4 => {
                    body.extend(octets.iter().skip(12));
                    kind::IPV4_PREFIX
                }
                Family::Ipv6 => {
                    body.extend(octets);
                    kind::IPV6_PREFIX
                }
            };
            body.extend(vrp.asn.0.to_be_bytes());
            (kind, 0, body)
        }
        Pdu::EndOfData { session, serial, timers } => {
            let mut body = serial.to_be_bytes().to_vec();
            if let Some(timers) = timers {
                for secs in [timers.refresh_secs, timers.retry_secs, timers.expire_secs] {
                    body.extend(secs.to_be_bytes());
                }
            }
            (kind::END_OF_DATA, session, body)
        }
        Pdu::CacheReset => (kind::CACHE_RESET, 0, Vec::new()),
        Pdu::RouterKey => (kind::ROUTER_KEY, 0, Vec::new()),
        Pdu::ErrorReport { code, about, text } => {
            let mut body = Vec::new();
            for part in [about, text] {
                body.extend(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
                body.extend(part);
            }
            (kind::ERROR_REPORT, code, body)
        }
        Pdu::Unknown { kind } => (kind, 0, Vec::new()),
    }
}
