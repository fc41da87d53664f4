//! MRT: any stream of bytes in (RFC 6396).
//!
//! Promised: no panic; every byte is a record's or damage; no more elements than bytes; the counts
//! are what the sink was told; a file read in pieces gives the records of the whole.

use std::io::{self, Read};

use ingest::decode::mrt::{Frame, frame, resync};
use ingest::encode::bgpdump::Form;
use ingest::session::MrtSession;
use ingest::source::mrt_file::MrtStream;

use super::bgp_update::Listener;

/// Reads a stream to its end, past damage too.
pub fn check(bytes: &[u8]) {
    let (mut session, mut listener) = (MrtSession::new("fuzz".into()), Listener::default());
    let (mut rest, mut records) = (bytes, vec![]);
    let mut is_whole = true;
    while !rest.is_empty() {
        let passed = match frame(rest) {
            Ok(Frame::Whole { record, bytes }) => {
                assert!(record.body.len() < bytes);
                if is_whole {
                    records.push(bytes);
                }
                listener.form = Some(Form::of(&record));
                let _ = session.record(&record, &mut listener);
                bytes
            }
            Ok(Frame::NeedMore { bytes }) => {
                assert!(bytes > rest.len());
                break;
            }
            Err(_) => {
                is_whole = false;
                resync(rest).unwrap_or(rest.len())
            }
        };
        assert!((1..=rest.len()).contains(&passed));
        rest = &rest[passed..];
    }
    let elements: usize = listener.told.iter().map(|told| told.routes.len()).sum();
    assert!(elements <= bytes.len());
    let counts = session.counts();
    assert_eq!(counts.updates.elements(), elements as u64);
    let mut stream = MrtStream::new(Pieces(bytes));
    for want in records {
        let got = stream.load().expect("the whole has it").expect("the whole has it");
        assert_eq!(got, want);
        stream.consume(got);
    }
}

/// A reader that gives a few bytes at once.
struct Pieces<'a>(&'a [u8]);

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = (1 + self.0.len() % 7).min(buffer.len());
        let (piece, rest) = self.0.split_at(bytes.min(self.0.len()));
        buffer[..piece.len()].copy_from_slice(piece);
        self.0 = rest;
        Ok(piece.len())
    }
}
