//! BMP files: a stream as a router sent it, saved, one message at a time; and files of OpenBMP
//! values.
//!
//! A saved BMP stream has no times of receipt. The time of a message is then the router's own, as
//! far as it is sane, and never goes back: the running maximum of the per-peer headers. A header
//! without a time, or with one that jumps ahead by more than an hour while the next one falls back,
//! counts at the last time seen; before the first one, at the first one ahead. FRR writes the boot
//! time of its machine into Peer Ups, and the time of the first insert into updates; the running
//! maximum is right for both.

use std::io::Read;
use std::sync::Arc;

use schemas::time::Timestamp;

use super::buffered::Buffered;
use super::elements::StreamDamage;
use crate::decode::bmp::{Frame, frame, router_time};
use crate::decode::openbmp;
use crate::session::RouteSink;
use crate::session::bmp::{BmpOptions, BmpSession};
use crate::session::openbmp::OpenBmpSession;

/// Bytes in which the next time of a router is looked for.
const AHEAD_BYTES_MAX: usize = 1 << 20;
/// A jump ahead of more than this is a bad clock if the next time falls back.
const JUMP_SECS_MAX: i64 = 3_600;
/// No router reported by BMP before the year 2000.
const SANE_SECS_MIN: i64 = 946_684_800;

/// A saved stream being read.
pub(super) struct BmpFile<R> {
    stream: Buffered<R>,
    message_bytes_max: u32,
    pub(super) session: BmpSession,
    reached: Option<Timestamp>,
    next: Option<(usize, Timestamp)>,
}

impl<R: Read> BmpFile<R> {
    /// The router is named after `router` until it says its name.
    pub(super) fn new(reader: R, collector: Arc<str>, router: &str, options: BmpOptions) -> Self {
        let options = BmpOptions { restarts_on_initiation: true, ..options };
        Self {
            stream: Buffered::new(reader),
            message_bytes_max: options.message_bytes_max,
            session: BmpSession::new(collector, router, options),
            reached: None,
            next: None,
        }
    }

    pub(super) const fn offset(&self) -> u64 {
        self.stream.offset()
    }

    /// Loads the next message; when it counts.
    pub(super) fn load(&mut self) -> Result<Option<Timestamp>, StreamDamage> {
        self.next = None;
        loop {
            let (offset, left) = (self.stream.offset(), self.stream.rest().len());
            let (wanted, own) = match frame(self.stream.rest(), self.message_bytes_max) {
                Ok(Frame::Whole { message, bytes }) => (bytes, Some(router_time(&message))),
                Ok(Frame::NeedMore { bytes }) => (bytes, None),
                Err(error) => return Err(StreamDamage::Bmp { offset, error }),
            };
            if let Some(own) = own {
                let time = self.time(own.filter(is_sane), wanted);
                self.next = Some((wanted, time));
                return Ok(Some(time));
            }
            if !self.stream.more(wanted) {
                return ended(&mut self.stream, wanted, left);
            }
        }
    }

    fn time(&mut self, own: Option<Timestamp>, bytes: usize) -> Timestamp {
        let jumps = |time: &Timestamp, from: Timestamp| time.secs_since(from) > JUMP_SECS_MAX;
        let own = match (own, self.reached) {
            (Some(time), Some(reached)) if !jumps(&time, reached) => Some(time),
            (Some(time), _) => {
                Some(time).filter(|time| !self.ahead(bytes).is_some_and(|after| jumps(time, after)))
            }
            (None, Some(_)) => None,
            (None, None) => self.ahead(bytes),
        };
        let time = own.max(self.reached).unwrap_or_default();
        self.reached = own.max(self.reached);
        time
    }

    /// The first sane time in the messages behind the first `passed` bytes.
    fn ahead(&mut self, mut passed: usize) -> Option<Timestamp> {
        while passed < AHEAD_BYTES_MAX {
            let rest = self.stream.rest().get(passed..).unwrap_or_default();
            match frame(rest, self.message_bytes_max).ok()? {
                Frame::Whole { message, bytes } => match router_time(&message).filter(is_sane) {
                    Some(time) => return Some(time),
                    None => passed += bytes,
                },
                Frame::NeedMore { bytes } => {
                    if !self.stream.more(passed + bytes) {
                        return None;
                    }
                }
            }
        }
        None
    }

    /// Hands over the loaded message; why it was refused.
    pub(super) fn hand_over(&mut self, sink: &mut impl RouteSink) -> Option<String> {
        let (bytes, time) = self.next.take()?;
        let told = match frame(self.stream.rest(), self.message_bytes_max) {
            Ok(Frame::Whole { message, .. }) => self.session.message(&message, time, sink),
            _ => Ok(()),
        };
        self.stream.consume(bytes);
        told.err().map(|error| error.to_string())
    }
}

fn is_sane(time: &Timestamp) -> bool {
    time.secs() >= SANE_SECS_MIN
}

/// What the end of a stream means with `left` bytes before it.
fn ended<R: Read>(
    stream: &mut Buffered<R>,
    wanted: usize,
    left: usize,
) -> Result<Option<Timestamp>, StreamDamage> {
    let offset = stream.offset();
    match stream.take_failure() {
        Some(error) => Err(StreamDamage::Compression { offset: offset + left as u64, error }),
        None if left == 0 => Ok(None),
        None => Err(StreamDamage::Truncated { offset, wanted, left }),
    }
}

/// A file of OpenBMP values, one behind the other.
pub(super) struct OpenBmpFile<R> {
    stream: Buffered<R>,
    pub(super) session: OpenBmpSession,
    reached: Timestamp,
    next: Option<usize>,
}

impl<R: Read> OpenBmpFile<R> {
    pub(super) fn new(reader: R, options: BmpOptions) -> Self {
        Self {
            stream: Buffered::new(reader),
            session: OpenBmpSession::new(options),
            reached: Timestamp::default(),
            next: None,
        }
    }

    pub(super) const fn offset(&self) -> u64 {
        self.stream.offset()
    }

    /// Loads the next value; when its collector received it.
    pub(super) fn load(&mut self) -> Result<Option<Timestamp>, StreamDamage> {
        self.next = None;
        loop {
            let (offset, left) = (self.stream.offset(), self.stream.rest().len());
            let wanted = match openbmp::frame(self.stream.rest()) {
                Ok(openbmp::Frame::Whole { header, bytes, .. }) => {
                    self.reached = header.time.unwrap_or(self.reached);
                    self.next = Some(bytes);
                    return Ok(Some(self.reached));
                }
                Ok(openbmp::Frame::NeedMore { bytes }) => bytes,
                Err(error) => return Err(StreamDamage::OpenBmp { offset, error }),
            };
            if !self.stream.more(wanted) {
                return ended(&mut self.stream, wanted, left);
            }
        }
    }

    /// Hands over the loaded value; why it was refused.
    pub(super) fn hand_over(&mut self, sink: &mut impl RouteSink) -> Option<String> {
        let bytes = self.next.take()?;
        let value = self.stream.rest().get(..bytes).unwrap_or_default();
        let told = self.session.value(value, self.reached, sink);
        self.stream.consume(bytes);
        told.err().map(|error| error.to_string())
    }
}
