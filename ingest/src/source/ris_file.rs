//! RIS Live files: JSON texts, one a line.

use std::io::Read;

use memchr::{memchr, memmem};
use schemas::time::Timestamp;

use super::buffered::Buffered;
use super::elements::StreamDamage;
use crate::decode::ris_live::{RisError, TEXT_BYTES_MAX};
use crate::session::RouteSink;
use crate::session::ris_live::RisSession;

/// A file of texts being read.
pub(super) struct RisFile<R> {
    stream: Buffered<R>,
    pub(super) session: RisSession,
    reached: Timestamp,
    /// Bytes of the loaded line, its end included.
    next: Option<usize>,
    /// Lines longer than is accepted.
    pub(super) too_long: u64,
}

impl<R: Read> RisFile<R> {
    pub(super) fn new(reader: R) -> Self {
        Self {
            stream: Buffered::new(reader),
            session: RisSession::new(),
            reached: Timestamp::default(),
            next: None,
            too_long: 0,
        }
    }

    pub(super) const fn offset(&self) -> u64 {
        self.stream.offset()
    }

    /// Loads the next line that is not blank; its time, or the last one seen.
    pub(super) fn load(&mut self) -> Result<Option<Timestamp>, StreamDamage> {
        self.next = None;
        let mut is_skipping = false;
        loop {
            let rest = self.stream.rest();
            let left = rest.len();
            match memchr(b'\n', rest) {
                Some(end) if is_skipping || rest.get(..end).is_none_or(is_blank) => {
                    is_skipping = false;
                    self.stream.consume(end + 1);
                }
                Some(end) => return Ok(self.line(end + 1)),
                None if left > TEXT_BYTES_MAX => {
                    self.too_long += u64::from(!is_skipping);
                    is_skipping = true;
                    self.stream.consume(left);
                }
                None if self.stream.more(left + 1) => {}
                None => {
                    if let Some(error) = self.stream.take_failure() {
                        let offset = self.stream.offset() + left as u64;
                        return Err(StreamDamage::Compression { offset, error });
                    }
                    let is_over = is_skipping || is_blank(self.stream.rest());
                    return Ok(if is_over { None } else { self.line(left) });
                }
            }
        }
    }

    fn line(&mut self, bytes: usize) -> Option<Timestamp> {
        let line = self.stream.rest().get(..bytes).unwrap_or_default();
        self.reached = time_of(line).unwrap_or(self.reached);
        self.next = Some(bytes);
        Some(self.reached)
    }

    /// Hands over the loaded text; why it was refused.
    pub(super) fn hand_over(&mut self, sink: &mut impl RouteSink) -> Option<String> {
        let bytes = self.next.take()?;
        let line = self.stream.rest().get(..bytes).unwrap_or_default();
        let told = self.session.text(line.trim_ascii(), sink);
        self.stream.consume(bytes);
        told.err().map(|error: RisError| error.to_string())
    }
}

fn is_blank(line: &[u8]) -> bool {
    line.trim_ascii().is_empty()
}

/// The time in a text, without reading the rest of it.
fn time_of(line: &[u8]) -> Option<Timestamp> {
    let (_, behind) = line.split_at_checked(memmem::find(line, b"\"timestamp\"")? + 11)?;
    let number = behind.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
    let end = number.iter().position(|octet| !octet.is_ascii_digit() && *octet != b'.')?;
    let secs: f64 = std::str::from_utf8(number.get(..end)?).ok()?.parse().ok()?;
    (secs <= 4_294_967_295.0).then(|| Timestamp((secs * 1e6).round() as i64))
}
