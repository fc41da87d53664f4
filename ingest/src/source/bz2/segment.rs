//! Segments: what lies between two marks, and the plain bytes of those that are blocks.
//!
//! A block is decoded by making a stream of it: a header, its bits moved to the front of a byte,
//! the end of a stream with its checksum. What libbzip2 says of that stream is what it would have
//! said of the block, so every check of the format is made.

use std::io::{self, Read};

use bzip2::{Decompress, Status};

use super::scan::{END_MAGIC, Kind, MAGIC_BITS};

/// Plain bytes of a block that is held in memory whole. A block has 900,000 bytes before its runs
/// are written out, and 46 MB of one byte at most after that: such blocks are decoded as they are
/// read.
const PLAIN_BYTES_MAX: usize = 4 << 20;
/// Header of a stream with the largest blocks: smaller ones are read by it too.
const HEADER: [u8; 4] = *b"BZh9";
/// Bits of a magic and a checksum.
const MAGIC_AND_CRC_BITS: u64 = MAGIC_BITS + 32;

/// Bits between two marks.
#[derive(Debug)]
pub(super) struct Segment {
    /// What it may be.
    pub(super) kind: Kind,
    /// The bytes that hold it.
    bytes: Vec<u8>,
    /// Where in the first byte it begins.
    first_bit: u64,
    /// How many bits it has.
    pub(super) bits: u64,
}

/// What became of a segment.
pub(super) enum Decoded {
    /// Its plain bytes, and their checksum as it stands in the block.
    Plain(Vec<u8>, u32),
    /// It is sound, but too large to be held, and this is its checksum.
    Large(u32),
    /// It is no block, or is damaged, or goes on behind the next mark.
    Broken,
}

impl Segment {
    /// The `bits` from `first_bit` on of `bytes`.
    pub(super) fn new(kind: Kind, bytes: &[u8], first_bit: u64, bits: u64) -> Self {
        let wanted = usize::try_from((first_bit + bits).div_ceil(8)).unwrap_or(usize::MAX);
        let bytes = bytes.get(..wanted).unwrap_or(bytes).to_vec();
        Self { kind, bytes, first_bit, bits }
    }

    /// Adds the bits of the segment behind it: the mark between them was none.
    pub(super) fn join(&mut self, next: &Self) {
        // The last byte of this one is the first of the next one, if the mark lay inside it.
        let shared = usize::from(!(self.first_bit + self.bits).is_multiple_of(8));
        self.bytes.extend_from_slice(next.bytes.get(shared..).unwrap_or_default());
        self.bits += next.bits;
    }

    /// Its bits, moved to the front of the first byte. The bits of the last byte past the end are
    /// those of what follows, or zero.
    fn aligned(&self) -> impl Iterator<Item = u8> + '_ {
        let shift = self.first_bit;
        let next = self.bytes.iter().skip(1).chain([&0]);
        self.bytes.iter().zip(next).map(move |(byte, next)| {
            let both = u16::from_be_bytes([*byte, *next]) << shift;
            both.to_be_bytes()[0]
        })
    }

    /// The checksum behind its magic.
    pub(super) fn crc(&self) -> Option<u32> {
        let mut octets = self.aligned().skip((MAGIC_BITS / 8) as usize);
        let crc = [octets.next()?, octets.next()?, octets.next()?, octets.next()?];
        (self.bits >= MAGIC_AND_CRC_BITS).then_some(u32::from_be_bytes(crc))
    }

    /// The whole bytes behind its magic and checksum.
    pub(super) fn behind_crc(&self) -> &[u8] {
        let bits = self.first_bit + MAGIC_AND_CRC_BITS;
        let bytes = usize::try_from(bits.div_ceil(8)).unwrap_or(usize::MAX);
        self.bytes.get(bytes..).unwrap_or_default()
    }

    /// A stream of this block alone; without an end it is as the file has it.
    fn stream(&self, has_end: bool) -> Vec<u8> {
        let whole = usize::try_from(self.bits / 8).unwrap_or(usize::MAX);
        let mut stream = Vec::with_capacity(self.bytes.len() + 16);
        stream.extend(HEADER);
        stream.extend(self.aligned());
        if has_end {
            let last = stream.get(HEADER.len() + whole).copied().unwrap_or(0);
            stream.truncate(HEADER.len() + whole);
            let used = self.bits % 8;
            let crc = u128::from(self.crc().unwrap_or(0));
            let kept = u128::from(last) >> (8 - used);
            // The checksum of a stream of one block is that of the block.
            let end = kept << MAGIC_AND_CRC_BITS | u128::from(END_MAGIC) << 32 | crc;
            let bits = used + MAGIC_AND_CRC_BITS;
            let octets = (end << (128 - bits)).to_be_bytes();
            let end_bytes = usize::try_from(bits.div_ceil(8)).unwrap_or(0);
            stream.extend(octets.into_iter().take(end_bytes));
        }
        stream
    }

    /// Decodes it as a block that a mark ends, or as the last one of a file that is cut off: of such
    /// a file nothing is behind its last block, or not enough to be a mark.
    pub(super) fn decode(&self, has_end: bool) -> Decoded {
        let Some(crc) = self.crc().filter(|_| self.kind == Kind::Block) else {
            return Decoded::Broken;
        };
        let stream = self.stream(has_end);
        let mut plain = Vec::with_capacity(1 << 20);
        let (mut decoder, mut is_large) = (Decompress::new(false), false);
        loop {
            let used = usize::try_from(decoder.total_in()).unwrap_or(usize::MAX);
            let rest = stream.get(used..).unwrap_or_default();
            let before = (decoder.total_in(), decoder.total_out());
            match decoder.decompress_vec(rest, &mut plain) {
                Ok(Status::StreamEnd) if used + rest.len() == stream.len() => {
                    let is_used_up = decoder.total_in() == stream.len() as u64;
                    return match (is_used_up, is_large) {
                        (false, _) => Decoded::Broken,
                        (true, true) => Decoded::Large(crc),
                        (true, false) => Decoded::Plain(plain, crc),
                    };
                }
                Ok(_) if plain.len() < plain.capacity() => {
                    if before == (decoder.total_in(), decoder.total_out()) {
                        // Nothing comes out of a block before it was read whole, and what comes
                        // after it is asked for when its checksum was found right.
                        let is_sound = !has_end && !is_large && !plain.is_empty();
                        return if is_sound { Decoded::Plain(plain, crc) } else { Decoded::Broken };
                    }
                }
                Ok(_) if plain.capacity() < PLAIN_BYTES_MAX => plain.reserve(plain.capacity()),
                Ok(_) => {
                    // Read to the end for its checksum; what comes out is not kept.
                    is_large = true;
                    plain.clear();
                }
                Err(_) => return Decoded::Broken,
            }
        }
    }

    /// A reader of its plain bytes.
    pub(super) fn reader(&self) -> impl Read + Send + use<> {
        bzip2::bufread::BzDecoder::new(io::Cursor::new(self.stream(true)))
    }
}
