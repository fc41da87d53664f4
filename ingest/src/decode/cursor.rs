//! Cursor: the only door to raw bytes. Every read is checked; a refusal says which field it was
//! for and at which offset.
//!
//! A [`Cursor`] is two words wide and a copy of it costs nothing, so a caller that wants to look
//! ahead copies it. Offsets are worked out only when something is refused.

/// Why bytes were refused: one variant per remedy, not per call site.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Fewer bytes than a field needs.
    #[error("{field} needs {needed_bytes} bytes at offset {offset}, {left_bytes} left")]
    Truncated {
        /// What was being read.
        field: &'static str,
        /// Where it starts.
        offset: usize,
        /// What it takes.
        needed_bytes: usize,
        /// What there was.
        left_bytes: usize,
    },
    /// A prefix longer than an address of its family.
    #[error("prefix length {length_bits} at offset {offset} exceeds {max_bits} bits")]
    PrefixTooLong {
        /// Where the length octet stands.
        offset: usize,
        /// What it says.
        length_bits: u8,
        /// What the family allows.
        max_bits: u8,
    },
    /// A field with a value that no version of the format defines.
    #[error("{field} at offset {offset} cannot be {value}")]
    BadValue {
        /// What was being read.
        field: &'static str,
        /// Where it stands.
        offset: usize,
        /// What it says.
        value: u32,
    },
    /// `MP_REACH_NLRI` or `MP_UNREACH_NLRI` twice in one message (RFC 7606 §3 g).
    #[error("attribute {code} stands twice in one message")]
    DuplicateAttribute {
        /// Type code of the attribute.
        code: u8,
    },
    /// A record longer than any that was ever written.
    #[error("record of {length_bytes} bytes exceeds {max_bytes}")]
    RecordTooLong {
        /// What the header says.
        length_bytes: u32,
        /// What is accepted.
        max_bytes: u32,
    },
    /// A header that no writer makes: the stream is damaged here.
    #[error("no MRT record has type {kind}, subtype {subtype} and {length_bytes} bytes")]
    NotARecord {
        /// Type in the header.
        kind: u16,
        /// Subtype in the header.
        subtype: u16,
        /// Length in the header.
        length_bytes: u32,
    },
    /// A RIB entry names a peer that the PEER_INDEX_TABLE before it does not hold.
    #[error("peer index {peer_index} is not among the {peers} peers of the index table")]
    UnknownPeer {
        /// What the entry says.
        peer_index: u16,
        /// How many there are.
        peers: usize,
    },
}

impl DecodeError {
    /// The `reason` label of `peerscope_ingest_decode_errors_total`: a closed set, never a message.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Truncated { .. } => "truncated",
            Self::PrefixTooLong { .. } => "prefix_too_long",
            Self::BadValue { .. } => "bad_value",
            Self::DuplicateAttribute { .. } => "duplicate_attribute",
            Self::RecordTooLong { .. } => "record_too_long",
            Self::NotARecord { .. } => "not_a_record",
            Self::UnknownPeer { .. } => "unknown_peer",
        }
    }
}

/// What is left to read of a run of bytes, and where it stands in the whole.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    rest: &'a [u8],
    /// Offset of the first byte after `rest`.
    end: usize,
}

impl<'a> Cursor<'a> {
    /// All of `bytes`, the first of which has offset 0.
    #[inline]
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, end: bytes.len() }
    }

    /// Offset of the next byte.
    #[inline]
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.end.saturating_sub(self.rest.len())
    }

    /// Bytes left.
    #[inline]
    #[must_use]
    pub const fn left(&self) -> usize {
        self.rest.len()
    }

    /// Whether nothing is left.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The bytes left, unread.
    #[inline]
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `needed_bytes` bytes.
    #[inline]
    pub fn take(
        &mut self,
        field: &'static str,
        needed_bytes: usize,
    ) -> Result<&'a [u8], DecodeError> {
        let Some((taken, rest)) = self.rest.split_at_checked(needed_bytes) else {
            return Err(self.truncated(field, needed_bytes));
        };
        self.rest = rest;
        Ok(taken)
    }

    /// The next `needed_bytes` bytes as a cursor of their own, with the offsets of the whole.
    #[inline]
    pub fn cut(&mut self, field: &'static str, needed_bytes: usize) -> Result<Self, DecodeError> {
        self.take(field, needed_bytes).map(|taken| self.behind(taken))
    }

    /// A cursor over `taken`, which was taken just before the next byte.
    #[inline]
    #[must_use]
    pub(crate) const fn behind(&self, taken: &'a [u8]) -> Self {
        Self { rest: taken, end: self.offset() }
    }

    /// The next `N` bytes, copied.
    #[inline]
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let Some((taken, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(self.truncated(field, N));
        };
        self.rest = rest;
        Ok(*taken)
    }

    /// One octet.
    #[inline]
    pub fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        self.array(field).map(u8::from_be_bytes)
    }

    /// Two octets, big endian.
    #[inline]
    pub fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        self.array(field).map(u16::from_be_bytes)
    }

    /// Four octets, big endian.
    #[inline]
    pub fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.array(field).map(u32::from_be_bytes)
    }

    /// Eight octets, big endian.
    #[inline]
    pub fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        self.array(field).map(u64::from_be_bytes)
    }

    /// The next `N` bytes without reading them; past the end they are zero.
    #[inline]
    #[must_use]
    pub fn peek_padded<const N: usize>(&self) -> [u8; N] {
        if let Some(chunk) = self.rest.first_chunk::<N>() {
            return *chunk;
        }
        let mut padded = [0; N];
        for (place, octet) in padded.iter_mut().enumerate() {
            *octet = self.rest.get(place).copied().unwrap_or(0);
        }
        padded
    }

    #[cold]
    fn truncated(&self, field: &'static str, needed_bytes: usize) -> DecodeError {
        let (offset, left_bytes) = (self.offset(), self.left());
        DecodeError::Truncated { field, offset, needed_bytes, left_bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_field_and_the_offset_and_takes_nothing() {
        let mut input = Cursor::new(&[1, 2, 3]);
        assert_eq!(input.u16("first"), Ok(0x0102));
        let refused = input.u32("second").unwrap_err();
        assert_eq!(refused.to_string(), "second needs 4 bytes at offset 2, 1 left");
        assert_eq!((input.offset(), input.left()), (2, 1));
    }

    #[test]
    fn a_part_keeps_the_offsets_of_the_whole() {
        let mut input = Cursor::new(&[0, 1, 2, 3, 4, 5]);
        input.take("lead", 2).unwrap();
        let mut part = input.cut("part", 3).unwrap();
        assert_eq!((part.offset(), part.left()), (2, 3));
        part.u8("one").unwrap();
        assert_eq!((part.offset(), input.offset()), (3, 5));
        assert_eq!(input.peek_padded::<3>(), [5, 0, 0]);
    }
}
