//! Marks: compressed bytes in, the bits out at which a block or the end of a stream may begin.
//!
//! bzip2 has no index. A block begins with 48 bits that are 3.14159265359 in decimal digits, a
//! stream ends with 48 that are the root of it, both at any bit of a byte. Nothing forbids that
//! these bits stand inside a block: a mark is a place where one *may* begin.

/// First bits of a block.
pub(super) const BLOCK_MAGIC: u64 = 0x3141_5926_5359;
/// First bits of what stands after the last block of a stream.
pub(super) const END_MAGIC: u64 = 0x1772_4538_5090;
/// Bits of either.
pub(super) const MAGIC_BITS: u64 = 48;

/// What may begin at a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A block.
    Block,
    /// The end of a stream.
    End,
}

/// A place where something may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Its first bit, counted from the first one scanned.
    pub(super) bit: u64,
    /// What may begin there.
    pub(super) kind: Kind,
}

/// Finds marks in bytes that come in parts.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    recent: u64,
    bytes: u64,
}

impl Scanner {
    /// Scans `bytes` up to the first mark that ends in them. Says how many bytes it took for that,
    /// or none if there is no mark and all were taken.
    pub(super) fn next_mark(&mut self, bytes: &[u8]) -> Option<(usize, Mark)> {
        let mut recent = self.recent;
        for (place, byte) in bytes.iter().enumerate() {
            recent = recent << 8 | u64::from(*byte);
            let [.., second, first, _] = recent.to_be_bytes();
            if (hints(&FIRST, first) & hints(&SECOND, second)) != 0
                && let Some((shift, kind)) = magic_in(recent)
            {
                let taken = place + 1;
                self.recent = recent;
                self.bytes += taken as u64;
                let bit = (self.bytes * 8).saturating_sub(MAGIC_BITS + shift);
                return Some((taken, Mark { bit, kind }));
            }
        }
        self.recent = recent;
        self.bytes += bytes.len() as u64;
        None
    }
}

/// The magic that ends in the last byte of a window, and how many bits stand behind it.
fn magic_in(window: u64) -> Option<(u64, Kind)> {
    (0..8).find_map(|shift| match window >> shift & ((1 << MAGIC_BITS) - 1) {
        BLOCK_MAGIC => Some((shift, Kind::Block)),
        END_MAGIC => Some((shift, Kind::End)),
        _ => None,
    })
}

/// For each value of a byte, which magics at which shift it can be a part of.
type Hints = [u16; 256];

/// Hints for the last byte but one of a window, and for the one before it: both lie inside the
/// magic at every shift.
static FIRST: Hints = hints_at(8);
static SECOND: Hints = hints_at(16);

fn hints(table: &Hints, byte: u8) -> u16 {
    table.get(usize::from(byte)).copied().unwrap_or(u16::MAX)
}

#[expect(clippy::indexing_slicing, reason = "a byte is below 256, and this runs in the compiler")]
const fn hints_at(place: u64) -> Hints {
    let mut table = [0; 256];
    let mut shift = 0;
    while shift < 8 {
        let block = (BLOCK_MAGIC << shift >> place & 0xff) as usize;
        let end = (END_MAGIC << shift >> place & 0xff) as usize;
        table[block] |= 1 << shift;
        table[end] |= 1 << (shift + 8);
        shift += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All marks, with the bytes given in parts of `part`.
    pub(super) fn marks(bytes: &[u8], part: usize) -> Vec<Mark> {
        let (mut scanner, mut marks) = (Scanner::default(), vec![]);
        for mut part in bytes.chunks(part) {
            while let Some((taken, mark)) = scanner.next_mark(part) {
                marks.push(mark);
                part = &part[taken..];
            }
        }
        marks
    }

    #[test]
    fn a_magic_is_found_at_every_bit_and_across_every_cut() {
        for (magic, kind) in [(BLOCK_MAGIC, Kind::Block), (END_MAGIC, Kind::End)] {
            for shift in 0..40 {
                let bytes = (u128::from(magic) << shift).to_be_bytes();
                for part in 1..16 {
                    let bit = 80 - shift;
                    assert_eq!(marks(&bytes, part), [Mark { bit, kind }], "{shift} {part}");
                }
            }
        }
    }

    #[test]
    fn one_bit_off_is_no_mark() {
        for bit in 0..48 {
            let bytes = (u128::from(BLOCK_MAGIC ^ 1 << bit) << 13).to_be_bytes();
            assert_eq!(marks(&bytes, 16), []);
        }
    }
}
