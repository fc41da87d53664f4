//! RIS Live: JSON texts in, one a line.
//!
//! Promised: no panic; no more elements than bytes; a refused text leaves nothing behind that hurts
//! the next one; a file of texts tells what the texts tell.

use std::io::Cursor;

use ingest::session::RisSession;
use ingest::session::bmp::BmpOptions;
use ingest::source::discover::FileKind;
use ingest::source::elements::Elements;

use crate::bmp::Listener;

const GOOD: &str = r#"{"timestamp":1.5,"peer":"192.0.2.7","peer_asn":"64500","host":"rrc00",
"type":"UPDATE","withdrawals":["192.0.2.0/24"]}"#;

/// Reads texts, and then a good one.
pub fn check(bytes: &[u8]) {
    let (mut session, mut told) = (RisSession::new(), Listener::default());
    for line in bytes.split(|byte| *byte == b'\n') {
        let line = line.trim_ascii();
        if !line.is_empty() {
            let _ = session.text(line, &mut told);
        }
    }
    assert!(told.routes.len() <= bytes.len());
    let mut after = Listener::default();
    session.text(GOOD.as_bytes(), &mut after).expect("a good text");
    assert_eq!(after.routes.len(), 1, "a bad text poisons the next one");

    let reader = Box::new(Cursor::new(bytes.to_vec()));
    let file = Elements::open(FileKind::RisLive, reader, "fuzz".into(), "r", BmpOptions::default());
    let (mut file, mut again) = (file.expect("memory").expect("a reader"), Listener::default());
    while file.load().expect("a line").is_some() {
        file.hand_over(&mut again);
    }
    assert_eq!(told, again);
}
