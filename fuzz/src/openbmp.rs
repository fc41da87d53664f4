//! OpenBMP: one value of a topic in.
//!
//! Promised: no panic; no more elements than bytes; a refused value leaves nothing behind that hurts
//! the next one; a session that goes on from its state is in the same state.

use ingest::encode::bmp::{OpenBmp, Peer, openbmp, route_monitoring};
use ingest::session::OpenBmpSession;
use ingest::session::bmp::BmpOptions;
use schemas::bgp::Asn;
use schemas::time::Timestamp;

use crate::bmp::Listener;

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

/// Reads a value, and then a good one.
pub fn check(bytes: &[u8]) {
    let (mut session, mut told) = (OpenBmpSession::new(BmpOptions::default()), Listener::default());
    let read = session.value(bytes, NOW, &mut told);
    assert!(told.routes.len() <= bytes.len());
    assert_eq!(read.is_err(), !session.counts().refused.is_empty());
    let mut restored = OpenBmpSession::new(BmpOptions::default());
    restored.restore(&session.state());
    assert_eq!(restored.state(), session.state());
    let (mut message, mut value) = (vec![], vec![]);
    let mut withdrawal = vec![0xff; 16];
    withdrawal.extend([0, 27, 2, 0, 4, 24, 192, 0, 2, 0, 0]);
    let address = [192, 0, 2, 7].into();
    route_monitoring(&mut message, &Peer::global(address, Asn(64_500), NOW), &withdrawal);
    let header = OpenBmp { time: NOW, admin_id: "a", router: address, router_group: "g" };
    openbmp(&mut value, &header, &message);
    let mut after = Listener::default();
    session.value(&value, NOW, &mut after).expect("a good value");
    assert_eq!(after.routes.len(), 1, "a bad value poisons the next one");
}
