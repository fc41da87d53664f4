//! Captures: TCP segments in, the BMP in them told (RFC 7854).
//!
//! A stream is BMP if it begins so; the port is not asked. Where a capture begins in the middle of
//! a stream, or has lost a part of it, the next place that looks like a message, with another one
//! behind it, is where reading goes on. Each stream is a router's [`BmpSession`]; a router is named
//! by its address until it says its name.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use schemas::time::Timestamp;

use super::RouteSink;
use super::bmp::{BmpError, BmpOptions, BmpSession};
use super::tcp::{Piece, Reassembly};
use crate::decode::bmp::{MESSAGE_BYTES_MAX, is_likely};
use crate::decode::packet::{Flow, Segment};

/// Streams followed at once.
const STREAMS_MAX: usize = 4_096;
/// Bytes in which a stream must show that it is BMP.
const UNKNOWN_BYTES_MAX: u64 = 64 * 1024;
/// Bytes kept of a stream that begins with a part of a header.
const HEAD_BYTES: usize = 7;

/// What a capture held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaptureCounts {
    /// TCP segments with a payload.
    pub segments: u64,
    /// Segments that brought nothing new.
    pub repeated_segments: u64,
    /// Bytes that the capture does not have.
    pub lost_bytes: u64,
    /// Bytes passed over to find the next message.
    pub skipped_bytes: u64,
    /// Streams that are BMP.
    pub bmp_streams: u64,
    /// Streams that are something else.
    pub other_streams: u64,
    /// Segments of streams beyond the limit.
    pub ignored_segments: u64,
}

/// What is in a stream.
#[derive(Debug)]
enum Content {
    /// Not yet known, and its first bytes.
    Unknown(Vec<u8>, u64),
    /// BMP, and whether the next message must be looked for.
    Bmp(Box<BmpSession>, bool),
    /// Something else.
    Other,
}

#[derive(Debug)]
struct Stream {
    tcp: Reassembly,
    content: Content,
}

/// The streams of a capture.
#[derive(Debug)]
pub struct CaptureSession {
    collector: Arc<str>,
    options: BmpOptions,
    streams: HashMap<Flow, Stream>,
    /// Sessions of streams that are over.
    ended: Vec<BmpSession>,
    counts: CaptureCounts,
}

impl CaptureSession {
    /// A capture of which nothing was read yet.
    #[must_use]
    pub fn new(collector: Arc<str>, options: BmpOptions) -> Self {
        Self {
            collector,
            options,
            streams: HashMap::new(),
            ended: Vec::new(),
            counts: CaptureCounts::default(),
        }
    }

    /// What was met.
    #[must_use]
    pub const fn counts(&self) -> &CaptureCounts {
        &self.counts
    }

    /// The BMP sessions, those that are over too, in no order.
    pub fn sessions(&self) -> impl Iterator<Item = &BmpSession> {
        let open = self.streams.values().filter_map(|stream| match &stream.content {
            Content::Bmp(session, _) => Some(&**session),
            _ => None,
        });
        open.chain(&self.ended)
    }

    /// The first refusal since this was last asked, of any session.
    pub fn take_refusal(&mut self) -> Option<BmpError> {
        let open = self.streams.values_mut().filter_map(|stream| match &mut stream.content {
            Content::Bmp(session, _) => session.take_refusal(),
            _ => None,
        });
        let ended = self.ended.iter_mut().filter_map(BmpSession::take_refusal);
        open.chain(ended).next()
    }

    /// Refusals by reason, of all sessions.
    #[must_use]
    pub fn refused(&self) -> BTreeMap<&'static str, u64> {
        let mut all = BTreeMap::new();
        for session in self.sessions() {
            for (reason, count) in &session.counts().refused {
                *all.entry(*reason).or_default() += count;
            }
        }
        all
    }

    /// Takes a segment, at the time of its packet.
    pub fn segment(&mut self, segment: &Segment<'_>, time: Timestamp, sink: &mut impl RouteSink) {
        self.counts.segments += u64::from(!segment.payload.is_empty());
        let is_another =
            self.streams.get(&segment.flow).is_some_and(|known| known.tcp.is_another(segment));
        if is_another {
            self.end(segment.flow, time, "another TCP session took its ports", sink);
        }
        if !self.streams.contains_key(&segment.flow) {
            if segment.payload.is_empty() && !segment.is_syn {
                return;
            }
            if self.streams.len() >= STREAMS_MAX {
                self.counts.ignored_segments += 1;
                return;
            }
            let content = Content::Unknown(Vec::new(), 0);
            self.streams.insert(segment.flow, Stream { tcp: Reassembly::default(), content });
        }
        let Some(Stream { tcp, content }) = self.streams.get_mut(&segment.flow) else { return };
        let mut reader =
            Reader { flow: segment.flow, collector: &self.collector, options: &self.options };
        let counts = &mut self.counts;
        tcp.take(segment, |piece| reader.take(content, piece, time, counts, sink));
        if segment.is_end {
            self.end(segment.flow, time, "the TCP session ended", sink);
        }
    }

    /// A stream is over: what waits in it is told, and its peers fall silent.
    fn end(&mut self, flow: Flow, time: Timestamp, reason: &str, sink: &mut impl RouteSink) {
        let Some(Stream { mut tcp, mut content }) = self.streams.remove(&flow) else { return };
        let mut reader = Reader { flow, collector: &self.collector, options: &self.options };
        let counts = &mut self.counts;
        tcp.end(|piece| reader.take(&mut content, piece, time, counts, sink));
        self.counts.repeated_segments += tcp.repeated;
        if let Content::Bmp(mut session, _) = content {
            session.close(time, reason, sink);
            self.ended.push(*session);
        }
    }

    /// The capture ends: what waits behind holes is told. Streams that are still open stay as they
    /// are, for nothing says that they ended.
    pub fn finish(&mut self, time: Timestamp, sink: &mut impl RouteSink) {
        let mut flows: Vec<Flow> = self.streams.keys().copied().collect();
        flows.sort_unstable();
        for flow in flows {
            let Some(Stream { tcp, content }) = self.streams.get_mut(&flow) else { continue };
            let mut reader = Reader { flow, collector: &self.collector, options: &self.options };
            let counts = &mut self.counts;
            tcp.end(|piece| reader.take(content, piece, time, counts, sink));
            self.counts.repeated_segments += std::mem::take(&mut tcp.repeated);
        }
    }
}

/// Reads the bytes of one stream.
struct Reader<'c> {
    flow: Flow,
    collector: &'c Arc<str>,
    options: &'c BmpOptions,
}

impl Reader<'_> {
    fn take(
        &mut self,
        content: &mut Content,
        piece: Piece<'_>,
        time: Timestamp,
        counts: &mut CaptureCounts,
        sink: &mut impl RouteSink,
    ) {
        match (piece, &mut *content) {
            (Piece::Hole(lost), Content::Bmp(session, is_lost)) => {
                counts.lost_bytes += lost;
                session.forget_partial();
                *is_lost = true;
            }
            (Piece::Hole(_), Content::Unknown(head, _)) => head.clear(),
            (_, Content::Other) => {}
            (Piece::Bytes(bytes), Content::Unknown(head, seen)) => {
                head.extend_from_slice(bytes);
                let start = if head.len() < HEAD_BYTES { None } else { resync(head) };
                *seen += bytes.len() as u64;
                match start {
                    Some(start) => {
                        counts.bmp_streams += 1;
                        counts.skipped_bytes += start as u64;
                        let router = self.flow.0.ip().to_string();
                        let collector = Arc::clone(self.collector);
                        let mut session =
                            Box::new(BmpSession::new(collector, &router, self.options.clone()));
                        let bytes = head.get(start..).unwrap_or_default();
                        let is_lost = session.feed(bytes, time, sink).is_err();
                        *content = Content::Bmp(session, is_lost);
                    }
                    None if *seen > UNKNOWN_BYTES_MAX => {
                        counts.other_streams += 1;
                        *content = Content::Other;
                    }
                    // A message may begin in the last few bytes.
                    None => drop(head.drain(..head.len().saturating_sub(HEAD_BYTES))),
                }
            }
            (Piece::Bytes(bytes), Content::Bmp(session, is_lost)) => {
                let start = if *is_lost { resync(bytes) } else { Some(0) };
                let rest = start.and_then(|start| bytes.get(start..)).unwrap_or_default();
                counts.skipped_bytes += (bytes.len() - rest.len()) as u64;
                if !rest.is_empty() {
                    *is_lost = session.feed(rest, time, sink).is_err();
                }
                if *is_lost {
                    session.forget_partial();
                }
            }
        }
    }
}

/// Where in `bytes` a message begins, with another likely one right behind it or nothing yet.
fn resync(bytes: &[u8]) -> Option<usize> {
    (0..bytes.len()).find(|start| {
        let Some(rest) = bytes.get(*start..).filter(|rest| is_likely(rest)) else { return false };
        let Ok(frame) = crate::decode::bmp::frame(rest, MESSAGE_BYTES_MAX) else { return false };
        match frame {
            crate::decode::bmp::Frame::Whole { bytes: used, .. } => {
                let behind = rest.get(used..).unwrap_or_default();
                behind.len() < HEAD_BYTES || is_likely(behind)
            }
            crate::decode::bmp::Frame::NeedMore { .. } => *start == 0,
        }
    })
}
