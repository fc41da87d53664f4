//! Raw vectors: numbers of one width as one run of little-endian bytes. A million of them are copied
//! and not looked at one by one.
//!
//! For `#[serde(with = "raw")]`.

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::Serializer;

/// What lies in as many bytes as every other of its type.
pub(crate) trait Word: Copy + Sized {
    /// Its bytes.
    type Bytes: AsRef<[u8]> + for<'a> TryFrom<&'a [u8]>;
    /// How many they are.
    const BYTES: usize = size_of::<Self::Bytes>();
    /// It as bytes.
    fn to_bytes(self) -> Self::Bytes;
    /// Bytes as it.
    fn of_bytes(bytes: Self::Bytes) -> Self;
}

macro_rules! number {
    ($($number:ty),+) => {$(
        impl Word for $number {
            type Bytes = [u8; size_of::<Self>()];

            #[inline]
            fn to_bytes(self) -> Self::Bytes {
                self.to_le_bytes()
            }

            #[inline]
            fn of_bytes(bytes: Self::Bytes) -> Self {
                Self::from_le_bytes(bytes)
            }
        }
    )+};
}

number!(u8, u16, u32);

impl Word for [u8; 16] {
    type Bytes = Self;

    fn to_bytes(self) -> Self {
        self
    }

    fn of_bytes(bytes: Self) -> Self {
        bytes
    }
}

macro_rules! numbers {
    ($($count:literal of $bytes:literal),+) => {$(
        impl Word for [u32; $count] {
            type Bytes = [u8; $bytes];

            #[inline]
            fn to_bytes(self) -> Self::Bytes {
                let mut bytes = [0; $bytes];
                for (into, number) in bytes.as_chunks_mut().0.iter_mut().zip(self) {
                    *into = number.to_le_bytes();
                }
                bytes
            }

            #[inline]
            fn of_bytes(bytes: Self::Bytes) -> Self {
                let mut numbers = [0; $count];
                for (into, number) in numbers.iter_mut().zip(bytes.as_chunks().0) {
                    *into = u32::from_le_bytes(*number);
                }
                numbers
            }
        }
    )+};
}

numbers!(2 of 8, 3 of 12);

/// Writes words.
pub(crate) fn serialize<W: Word, S: Serializer>(
    words: &[W],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut bytes = Vec::with_capacity(words.len() * W::BYTES);
    words.iter().for_each(|word| bytes.extend_from_slice(word.to_bytes().as_ref()));
    serializer.serialize_bytes(&bytes)
}

/// Reads words.
pub(crate) fn deserialize<'de, W: Word, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<W>, D::Error> {
    let bytes = <&[u8]>::deserialize(deserializer)?;
    if !bytes.len().is_multiple_of(W::BYTES) {
        return Err(D::Error::custom("a vector that ends within a number"));
    }
    // As many as there are, and no room to grow: a column is kept as long as the fold lives.
    let mut words = Vec::with_capacity(bytes.len() / W::BYTES);
    let word = |bytes: &[u8]| W::Bytes::try_from(bytes).ok().map(W::of_bytes);
    words.extend(bytes.chunks_exact(W::BYTES).filter_map(word));
    Ok(words)
}

/// A vector that is written raw where no field is.
#[derive(Debug)]
pub(crate) struct Raw<W>(pub(crate) Vec<W>);

impl<W: Word> serde::Serialize for Raw<W> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize(&self.0, serializer)
    }
}

impl<'de, W: Word> Deserialize<'de> for Raw<W> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize(deserializer).map(Self)
    }
}
