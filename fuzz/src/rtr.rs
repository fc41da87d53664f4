//! RTR: what a cache of VRPs says, after a router asked.
//!
//! Promised: no panic; cut into pieces it is what the whole is; no more VRPs than bytes could hold; what
//! is answered can be read; whatever was said, the next connection begins.

use ingest::decode::rtr::{HEADER_BYTES, Pdu, decode, frame};
use ingest::encode::rtr::encode;
use ingest::session::rtr::RtrSession;

/// Reads what a cache says, whole and in pieces, and then a good answer.
pub fn check(bytes: &[u8]) {
    let mut whole = RtrSession::default();
    whole.connected();
    let mut answer = Vec::new();
    let read = whole.feed(bytes, &mut answer);
    assert!(whole.vrps().len() * 20 <= bytes.len(), "a VRP takes 20 bytes");
    let mut rest = answer.as_slice();
    while let Some(length) = frame(rest).expect("what we say can be read") {
        let (pdu, behind) = rest.split_at(length);
        decode(pdu).expect("what we say can be read");
        rest = behind;
    }
    let mut pieces = RtrSession::default();
    pieces.connected();
    let mut told = Ok(false);
    let mut answered = Vec::new();
    for piece in bytes.chunks(7) {
        told = pieces.feed(piece, &mut answered).map(|is_whole| is_whole || told == Ok(true));
        if told.is_err() {
            break;
        }
    }
    assert_eq!(told.is_ok(), read.is_ok());
    assert_eq!(pieces.vrps(), whole.vrps());
    assert_eq!(pieces.known(), whole.known());
    let mut fresh = RtrSession::default();
    fresh.connected();
    let mut good = Vec::new();
    let session = 7;
    encode(&mut good, 1, &Pdu::CacheResponse { session });
    encode(&mut good, 1, &Pdu::EndOfData { session, serial: 1, timers: Some(Default::default()) });
    assert_eq!(fresh.feed(&good, &mut Vec::new()), Ok(true));
    assert!(whole.connected().len() >= HEADER_BYTES);
}
