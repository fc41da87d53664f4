//! Frames: the parts of a state in, one run of bytes with a head and a checksum out, and back.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `PEERSTAT` |
//! | 2 | format, little-endian |
//! | 1 | what it is the state of |
//! | 8 | bytes of all parts, little-endian |
//! | 4 | CRC-32 of the parts, then of the 19 bytes before, little-endian |
//! | ... | the parts, one behind the other, in postcard |
//!
//! The sum finds what a disk or a network breaks, not what somebody made up: whatever the parts say of
//! their length is checked against what is left before it takes memory.

use schemas::pool::Pool;
use serde::{Deserialize, Serialize};

use super::{FORMAT, StateError};

const MAGIC: [u8; 8] = *b"PEERSTAT";
const FORMAT_AT: usize = MAGIC.len();
const KIND_AT: usize = FORMAT_AT + 2;
const LENGTH_AT: usize = KIND_AT + 1;
const SUM_AT: usize = LENGTH_AT + 8;
const HEAD_BYTES: usize = SUM_AT + 4;

/// What a state is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The fold of a partition.
    Shard = 1,
    /// The fold of the summaries.
    Correlate = 2,
}

impl Kind {
    const ALL: [Self; 2] = [Self::Shard, Self::Correlate];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Shard => "that of a partition",
            Self::Correlate => "that of the summaries",
        }
    }
}

/// Writes a state, part by part.
#[derive(Debug)]
pub(crate) struct Writer {
    kind: Kind,
    /// Room for the head, then the parts.
    bytes: Vec<u8>,
}

impl Writer {
    /// A state without a part yet, with room for so many bytes.
    pub(crate) fn new(kind: Kind, bytes: usize) -> Self {
        let mut all = Vec::with_capacity(HEAD_BYTES + bytes);
        all.resize(HEAD_BYTES, 0);
        Self { kind, bytes: all }
    }

    /// Appends a part.
    pub(crate) fn put<T: Serialize + ?Sized>(
        &mut self,
        part: &'static str,
        value: &T,
    ) -> Result<(), StateError> {
        #[cfg(test)]
        super::shape::note(part, value);
        let before = std::mem::take(&mut self.bytes);
        let fail =
            |error: postcard::Error| StateError::Unwritable { part, error: error.to_string() };
        self.bytes = postcard::to_extend(value, before).map_err(fail)?;
        Ok(())
    }

    /// All of it.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        let Some((head, parts)) = self.bytes.split_at_mut_checked(HEAD_BYTES) else {
            return self.bytes;
        };
        let length = parts.len() as u64;
        let mut bytes = Vec::with_capacity(HEAD_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.push(self.kind as u8);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&sum(&bytes, parts).to_le_bytes());
        head.copy_from_slice(&bytes);
        self.bytes
    }
}

/// Reads a state, part by part. Texts that it reads lie once.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    _pool: Pool,
}

impl<'a> Reader<'a> {
    /// The parts of a state of this kind.
    pub(crate) fn open(kind: Kind, bytes: &'a [u8]) -> Result<Self, StateError> {
        let Some((head, parts)) = bytes.split_at_checked(HEAD_BYTES) else {
            return Err(match MAGIC.starts_with(bytes.get(..MAGIC.len()).unwrap_or(bytes)) {
                true => damaged("its head is cut off"),
                false => StateError::Foreign,
            });
        };
        if !head.starts_with(&MAGIC) {
            return Err(StateError::Foreign);
        }
        let format = u16::from_le_bytes(field(head, FORMAT_AT));
        if format != FORMAT {
            return Err(StateError::Format { format });
        }
        let length = u64::from_le_bytes(field(head, LENGTH_AT));
        if length != parts.len() as u64 {
            let found = parts.len();
            return Err(damaged(&format!("it should have {length} bytes and has {found}")));
        }
        let found = sum(head.get(..SUM_AT).unwrap_or_default(), parts);
        if found != u32::from_le_bytes(field(head, SUM_AT)) {
            return Err(damaged("its checksum does not fit"));
        }
        let [code] = field(head, KIND_AT);
        match Kind::ALL.into_iter().find(|known| *known as u8 == code) {
            Some(found) if found == kind => Ok(Self { rest: parts, _pool: Pool::open() }),
            found => Err(StateError::Another {
                found: found.map_or("an unknown one", Kind::as_str).to_owned(),
                wanted: kind.as_str().to_owned(),
            }),
        }
    }

    /// The next part.
    pub(crate) fn take<T: Deserialize<'a>>(&mut self, part: &str) -> Result<T, StateError> {
        let (value, rest) = postcard::take_from_bytes(self.rest)
            .map_err(|error| damaged(&format!("{part}: {error}")))?;
        self.rest = rest;
        Ok(value)
    }

    /// There must be no further part.
    pub(crate) fn finish(self) -> Result<(), StateError> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(damaged(&format!("{left} bytes too many"))),
        }
    }
}

/// What does not fit, as an error.
pub(crate) fn damaged(what: &str) -> StateError {
    StateError::Damaged { what: what.to_owned() }
}

fn sum(head: &[u8], parts: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(parts);
    hasher.update(head);
    hasher.finalize()
}

/// So many bytes of the head, which is long enough.
fn field<const N: usize>(head: &[u8], at: usize) -> [u8; N] {
    head.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}
