//! Packed hours: the ascending slots of an hour's minutes in, a few bits each out, and back.
//!
//! A *row* of slots is its length (6 bits), the parameter `k` (4 bits), the first slot (12 bits) and the
//! gaps to the next ones in Rice code: `gap >> k` ones, a zero, the low `k` bits, with the `k` that
//! gives the fewest bits (Rice & Plaunt, IEEE Trans. Commun. 19 (1971) 889-897). Sixty equal slots take 11
//! bytes, sixty anywhere in the range at most 65.
//!
//! Hours stand one after the other in one vector, oldest first, each behind a head of four bytes.

use serde::{Deserialize, Serialize};

/// Bytes before the two rows of an hour: its number (its low 16 bits) and the length of each row.
const HEAD_BYTES: usize = 4;
const LEN_BITS: u32 = 6;
const K_BITS: u32 = 4;
const SLOT_BITS: u32 = 12;
const K_MAX: u32 = 11;
/// Most slots in a row; an hour has 60 minutes.
const ROW_MAX: usize = (1 << LEN_BITS) - 1;

/// The hours of a series that are over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// The newest hour.
    newest: i64,
    bytes: Vec<u8>,
}

impl Kept {
    /// Adds an hour that is later than all others.
    pub(super) fn push(&mut self, hour: i64, p50: &[u16], p95: &[u16]) {
        let rows = [row(p50), row(p95)];
        let needed_bytes = HEAD_BYTES + rows.iter().map(Vec::len).sum::<usize>();
        if self.bytes.capacity() - self.bytes.len() < needed_bytes {
            // An eighth, not the double: there may be a million of these.
            self.bytes.reserve_exact(needed_bytes + self.bytes.len() / 8);
        }
        self.bytes.extend_from_slice(&low_bits(hour).to_le_bytes());
        for row in &rows {
            self.bytes.push(u8::try_from(row.len()).unwrap_or(u8::MAX));
        }
        rows.iter().for_each(|row| self.bytes.extend_from_slice(row));
        self.newest = hour;
    }

    /// Drops the hours before this one.
    pub(super) fn drop_before(&mut self, hour: i64) {
        let older = |other: &Hour<'_>| other.hour < hour;
        let bytes: usize = self.hours().take_while(older).map(|hour| hour.bytes()).sum();
        self.bytes.drain(..bytes.min(self.bytes.len()));
    }

    /// Appends the slots of an hour; says no if it is not kept.
    pub(super) fn read(&self, hour: i64, p50: &mut Vec<u16>, p95: &mut Vec<u16>) -> bool {
        match self.hours().find(|other| other.hour == hour) {
            Some(found) => {
                read_row(found.p50, p50);
                read_row(found.p95, p95);
                true
            }
            None => false,
        }
    }

    fn hours(&self) -> impl Iterator<Item = Hour<'_>> {
        let mut rest = self.bytes.as_slice();
        std::iter::from_fn(move || {
            let (hour, after) = Hour::split(rest, self.newest)?;
            rest = after;
            Some(hour)
        })
    }

    /// Bytes held on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes.capacity()
    }
}

/// One kept hour.
struct Hour<'a> {
    hour: i64,
    p50: &'a [u8],
    p95: &'a [u8],
}

impl<'a> Hour<'a> {
    /// The first hour of these bytes, and what is behind it. None is more than 65,535 hours older than
    /// the newest.
    fn split(bytes: &'a [u8], newest: i64) -> Option<(Self, &'a [u8])> {
        let (&[low, high, p50_bytes, p95_bytes], rest) = bytes.split_first_chunk()?;
        let age = low_bits(newest).wrapping_sub(u16::from_le_bytes([low, high]));
        let (p50, rest) = rest.split_at_checked(p50_bytes.into())?;
        let (p95, rest) = rest.split_at_checked(p95_bytes.into())?;
        Some((Self { hour: newest - i64::from(age), p50, p95 }, rest))
    }

    const fn bytes(&self) -> usize {
        HEAD_BYTES + self.p50.len() + self.p95.len()
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "these bits are meant")]
const fn low_bits(hour: i64) -> u16 {
    hour as u16
}

/// A row of ascending slots.
fn row(slots: &[u16]) -> Vec<u8> {
    let slots = slots.get(..ROW_MAX).unwrap_or(slots);
    let Some(first) = slots.first() else { return Vec::new() };
    let gaps = || slots.iter().zip(slots.iter().skip(1)).map(|(a, b)| u32::from(b - a));
    let bits = |k: u32| gaps().map(|gap| (gap >> k) + 1 + k).sum::<u32>();
    let k = (0..=K_MAX).min_by_key(|k| bits(*k)).unwrap_or(0);
    let mut out = BitWriter::default();
    out.push(u32::try_from(slots.len()).unwrap_or(0), LEN_BITS);
    out.push(k, K_BITS);
    out.push(u32::from(*first), SLOT_BITS);
    for gap in gaps() {
        (0..gap >> k).for_each(|_| out.push(1, 1));
        out.push(0, 1);
        out.push(gap & ((1 << k) - 1), k);
    }
    out.bytes
}

/// Appends the slots of a row; of damaged bytes what can be read.
fn read_row(bytes: &[u8], slots: &mut Vec<u16>) {
    let mut input = BitReader { bytes, at: 0 };
    let mut read = || -> Option<()> {
        let len = input.take(LEN_BITS)?;
        let k = input.take(K_BITS)?;
        let mut slot = input.take(SLOT_BITS)?;
        slots.push(u16::try_from(slot).ok()?);
        for _ in 1..len {
            while input.take(1)? == 1 {
                slot += 1 << k;
            }
            slot += input.take(k)?;
            slots.push(u16::try_from(slot).ok()?);
        }
        Some(())
    };
    let _ = read();
}

#[derive(Default)]
struct BitWriter {
    bytes: Vec<u8>,
    used_bits: u32,
}

impl BitWriter {
    /// Appends the low `bits` of a value, lowest first.
    fn push(&mut self, value: u32, bits: u32) {
        for bit in 0..bits {
            if self.used_bits.is_multiple_of(8) {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= u8::from(value >> bit & 1 == 1) << (self.used_bits % 8);
            }
            self.used_bits += 1;
        }
    }
}

struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl BitReader<'_> {
    fn take(&mut self, bits: u32) -> Option<u32> {
        let mut value = 0;
        for bit in 0..bits {
            let byte = self.bytes.get(self.at / 8)?;
            value |= u32::from(byte >> (self.at % 8) & 1) << bit;
            self.at += 1;
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::histogram::SLOTS;
    use proptest::prelude::*;

    #[test]
    fn every_slot_has_room_in_a_row() {
        const { assert!(SLOTS <= 1 << SLOT_BITS) };
        let widest: Vec<u16> = (0..60).map(|i| (i * (SLOTS - 1) / 59) as u16).collect();
        assert_eq!(row(&[300; 60]).len(), 11);
        assert!(row(&widest).len() <= 65, "{}", row(&widest).len());
    }

    #[test]
    fn damaged_bytes_give_what_can_be_read_and_end() {
        for length in 0..40 {
            let mut slots = Vec::new();
            read_row(&vec![0xff; length], &mut slots);
            assert!(slots.len() <= ROW_MAX);
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_back(
            mut slots in prop::collection::vec(0..SLOTS as u16, 0..=60),
            narrow in prop::collection::vec(900..940_u16, 0..=60),
        ) {
            for slots in [&mut slots, &mut narrow.clone()] {
                slots.sort_unstable();
                let mut back = Vec::new();
                read_row(&row(slots), &mut back);
                prop_assert_eq!(&back, &*slots);
                prop_assert!(row(slots).len() <= 65, "{}", row(slots).len());
            }
        }

        #[test]
        fn hours_are_found_until_they_are_dropped(
            gaps in prop::collection::vec(1..400_i64, 1..50),
            start in -100_000..1_000_000_i64,
            dropped in 0..50_usize,
        ) {
            let mut kept = Kept::default();
            let mut hour = start;
            let hours: Vec<i64> = gaps.iter().map(|gap| { hour += gap; hour }).collect();
            for (at, hour) in (0..).zip(&hours) {
                kept.push(*hour, &[at, at + 1], &[at]);
            }
            let from = hours[dropped.min(hours.len() - 1)];
            kept.drop_before(from);
            for (at, hour) in (0..).zip(&hours) {
                let (mut p50, mut p95) = (Vec::new(), Vec::new());
                prop_assert_eq!(kept.read(*hour, &mut p50, &mut p95), *hour >= from);
                if *hour >= from {
                    prop_assert_eq!((p50, p95), (vec![at, at + 1], vec![at]));
                }
            }
            prop_assert!(!kept.read(hour + 1, &mut Vec::new(), &mut Vec::new()));
        }
    }
}
