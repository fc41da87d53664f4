//! Captures: the bytes of a pcap or pcapng file in.
//!
//! Promised: no panic and an end; no more elements than bytes; the counts are what the sink was
//! told.

use std::io::Cursor;

use ingest::session::bmp::BmpOptions;
use ingest::source::discover::FileKind;
use ingest::source::elements::Elements;

use crate::bmp::Listener;

/// Reads a file to its end.
pub fn check(bytes: &[u8]) {
    let reader = Box::new(Cursor::new(bytes.to_vec()));
    let opened =
        Elements::open(FileKind::Capture, reader, "fuzz".into(), "r", BmpOptions::default());
    let (mut file, mut told) = (opened.expect("memory").expect("a reader"), Listener::default());
    let mut records = 0;
    while let Ok(Some(_)) = file.load() {
        file.hand_over(&mut told);
        records += 1;
        assert!(records <= bytes.len() + 1, "a packet takes a byte at least");
    }
    assert!(told.routes.len() <= bytes.len());
    assert_eq!(file.counts().updates.elements(), told.routes.len() as u64);
}
