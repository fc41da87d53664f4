//! TCP streams: segments in, as captured, bytes in their order out.
//!
//! One [`Reassembly`] is one direction of one session. It takes segments out of order and more than
//! once, begins in the middle where the capture did, and passes over what the capture has lost when
//! too much waits behind the hole. It believes sequence numbers and looks at nothing else: no
//! checksums, no acknowledgements, no options.

use std::collections::BTreeMap;

use crate::decode::packet::Segment;

/// Bytes that may wait behind a hole.
const WAITING_BYTES_MAX: usize = 4 << 20;
/// Segments that may wait behind a hole.
const WAITING_SEGMENTS_MAX: usize = 4_096;
/// A segment further off than this belongs to another session that uses the same ports.
const WINDOW_BYTES_MAX: u32 = 1 << 30;

/// What became of a segment, or of those that waited for it.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// The next bytes of the stream.
    Bytes(&'a [u8]),
    /// Bytes that the capture does not have.
    Hole(u64),
}

/// One direction of a session.
#[derive(Debug, Default)]
pub struct Reassembly {
    /// Sequence number of the next byte.
    next: Option<u32>,
    /// Its position, counted from the first byte seen.
    position: u64,
    /// Segments beyond the next byte, by position.
    waiting: BTreeMap<u64, Vec<u8>>,
    waiting_bytes: usize,
    /// The SYN brought data and its own number may not have been counted: some writers of captures
    /// do not.
    is_after_syn_data: bool,
    /// Segments that brought nothing new.
    pub repeated: u64,
}

impl Reassembly {
    /// Whether a segment belongs to another session than what was seen so far.
    #[must_use]
    pub fn is_another(&self, segment: &Segment<'_>) -> bool {
        self.next.is_some_and(|next| {
            let ahead = segment.sequence.wrapping_sub(next);
            let is_far = ahead > WINDOW_BYTES_MAX && ahead < WINDOW_BYTES_MAX.wrapping_neg();
            is_far || segment.is_syn && self.position > 0 && ahead != first_sent(segment, self)
        })
    }

    /// Takes a segment; tells the bytes that are in order by now.
    pub fn take(&mut self, segment: &Segment<'_>, mut tell: impl FnMut(Piece<'_>)) {
        let mut sequence = segment.sequence;
        if segment.is_syn {
            sequence = sequence.wrapping_add(1);
        }
        let mut next = *self.next.get_or_insert(sequence);
        if self.is_after_syn_data && !segment.is_syn && !segment.payload.is_empty() {
            self.is_after_syn_data = false;
            if next.wrapping_sub(sequence) == 1 {
                next = sequence;
                self.next = Some(next);
            }
        }
        let payload = segment.payload;
        let ahead = sequence.wrapping_sub(next);
        if ahead <= WINDOW_BYTES_MAX {
            self.put(self.position.saturating_add(ahead.into()), payload);
        } else {
            // What lies before the next byte was told before.
            let told = usize::try_from(next.wrapping_sub(sequence)).unwrap_or(usize::MAX);
            match payload.get(told..).filter(|rest| !rest.is_empty()) {
                Some(rest) => self.put(self.position, rest),
                None => self.repeated += u64::from(!payload.is_empty()),
            }
        }
        if segment.is_syn && !payload.is_empty() {
            self.is_after_syn_data = true;
        }
        self.tell_ready(&mut tell);
        while self.waiting_bytes > WAITING_BYTES_MAX || self.waiting.len() > WAITING_SEGMENTS_MAX {
            self.pass_hole(&mut tell);
        }
    }

    /// Nothing more comes: tells what waits, with the holes before it.
    pub fn end(&mut self, mut tell: impl FnMut(Piece<'_>)) {
        while !self.waiting.is_empty() {
            self.pass_hole(&mut tell);
        }
    }

    fn put(&mut self, position: u64, payload: &[u8]) {
        if payload.is_empty() {
            return;
        }
        let waits = self.waiting.get(&position).map_or(0, Vec::len);
        if waits < payload.len() {
            self.waiting_bytes = self.waiting_bytes + payload.len() - waits;
            self.waiting.insert(position, payload.to_vec());
        } else {
            self.repeated += 1;
        }
    }

    /// Tells what begins at the next byte, or before it.
    fn tell_ready(&mut self, tell: &mut impl FnMut(Piece<'_>)) {
        while let Some(entry) = self.waiting.first_entry() {
            if *entry.key() > self.position {
                return;
            }
            let (start, bytes) = entry.remove_entry();
            self.waiting_bytes = self.waiting_bytes.saturating_sub(bytes.len());
            let told = usize::try_from(self.position.saturating_sub(start)).unwrap_or(usize::MAX);
            if let Some(rest) = bytes.get(told..).filter(|rest| !rest.is_empty()) {
                self.advance(rest.len() as u64);
                tell(Piece::Bytes(rest));
            }
        }
    }

    /// Goes on behind the first hole.
    fn pass_hole(&mut self, tell: &mut impl FnMut(Piece<'_>)) {
        if let Some((start, _)) = self.waiting.first_key_value() {
            let lost = start.saturating_sub(self.position);
            self.advance(lost);
            tell(Piece::Hole(lost));
        }
        self.tell_ready(tell);
    }

    fn advance(&mut self, bytes: u64) {
        self.position = self.position.saturating_add(bytes);
        // Sequence numbers wrap; the cast keeps the low 32 bits.
        self.next = self.next.map(|next| next.wrapping_add(bytes as u32));
    }
}

/// Where a repeated SYN of the same session would lie from the next byte.
fn first_sent(segment: &Segment<'_>, stream: &Reassembly) -> u32 {
    let told = (stream.position as u32).wrapping_add(u32::from(segment.is_syn));
    told.wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(sequence: u32, payload: &[u8], is_syn: bool) -> Segment<'_> {
        let end = "192.0.2.1:179".parse().unwrap();
        Segment { flow: (end, end), sequence, is_syn, is_end: false, payload }
    }

    fn told(segments: &[Segment<'_>]) -> (Vec<u8>, Vec<u64>, Reassembly) {
        let (mut stream, mut bytes, mut holes) = (Reassembly::default(), vec![], vec![]);
        let mut tell = |piece: Piece<'_>| match piece {
            Piece::Bytes(more) => bytes.extend_from_slice(more),
            Piece::Hole(lost) => holes.push(lost),
        };
        segments.iter().for_each(|segment| stream.take(segment, &mut tell));
        stream.end(&mut tell);
        (bytes, holes, stream)
    }

    #[test]
    fn any_order_with_repeats_over_the_wrap_gives_the_stream() {
        let whole: Vec<u8> = (0..40).collect();
        let start = u32::MAX - 11;
        let part = |from: usize, to: usize| {
            segment(start.wrapping_add(1).wrapping_add(from as u32), &whole[from..to], false)
        };
        let syn = segment(start, &[], true);
        let (bytes, holes, stream) = told(&[
            syn,
            part(10, 20),
            part(0, 10),
            part(0, 10),
            part(30, 40),
            part(5, 25),
            part(20, 31),
        ]);
        assert_eq!((bytes, holes), (whole, vec![]));
        assert_eq!(stream.repeated, 1);
    }

    #[test]
    fn a_hole_is_told_with_its_size() {
        let (bytes, holes, _) = told(&[segment(5, b"ab", false), segment(10, b"cd", false)]);
        assert_eq!((&bytes[..], &holes[..]), (&b"abcd"[..], &[3][..]));
    }

    #[test]
    fn data_in_a_syn_is_not_lost_whether_the_syn_counts_or_not() {
        for second in [3, 4] {
            let (bytes, holes, _) = told(&[segment(1, b"ab", true), segment(second, b"cd", false)]);
            assert_eq!((&bytes[..], &holes[..]), (&b"abcd"[..], &[][..]), "{second}");
        }
    }

    #[test]
    fn another_session_on_the_same_ports_is_noticed() {
        let mut stream = Reassembly::default();
        stream.take(&segment(100, &[], true), |_| {});
        stream.take(&segment(101, b"abc", false), |_| {});
        assert!(!stream.is_another(&segment(104, b"x", false)));
        assert!(!stream.is_another(&segment(100, &[], true)), "the SYN once more");
        assert!(stream.is_another(&segment(900, &[], true)));
        assert!(stream.is_another(&segment(1 << 31, b"x", false)));
    }
}
