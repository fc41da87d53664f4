//! Entries of the summaries: what a shard told of one batch, in parts that a message can hold, and what of
//! them was heard.

use schemas::log::SummaryEntry;
use serde::{Deserialize, Serialize};

use super::FoldError;
use crate::correlate::{Summary, SummaryError};

/// Longest entry of summaries but for a summary that is longer by itself: a message of Kafka holds less
/// than a megabyte.
const ENTRY_BYTES: usize = 512 << 10;

/// What a shard told of one batch, or a part of it.
pub(super) struct Entry {
    /// Offset of the batch that it told of before.
    before: u64,
    /// Number of the part.
    part: u32,
    /// Whether no other part follows.
    is_last: bool,
    told: Vec<Summary>,
}

impl Entry {
    /// What a shard told, in parts: in front of each the offset of the batch before, its number and
    /// whether it is the last one; then each summary behind its length.
    pub(super) fn encode(
        partition: u32,
        (before, end): (u64, u64),
        told: &[Summary],
    ) -> Result<Vec<SummaryEntry>, FoldError> {
        let mut parts = vec![Vec::new()];
        for summary in told {
            let one = summary.encode()?;
            if parts.last().is_some_and(|part| part.len() + one.len() > ENTRY_BYTES) {
                parts.push(Vec::new());
            }
            let Some(part) = parts.last_mut() else { continue };
            part.extend(u32::try_from(one.len()).unwrap_or(u32::MAX).to_le_bytes());
            part.extend(one);
        }
        let last = parts.len() - 1;
        let entry = |(number, part): (usize, Vec<u8>)| {
            let mut bytes = before.to_le_bytes().to_vec();
            bytes.extend(u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
            bytes.push(u8::from(number == last));
            bytes.extend(part);
            SummaryEntry { partition, end, bytes }
        };
        Ok(parts.into_iter().enumerate().map(entry).collect())
    }

    fn decode(bytes: &[u8]) -> Result<Self, SummaryError> {
        let cut_off = || SummaryError::Damaged { error: "it is cut off".to_owned() };
        let (before, bytes) = bytes.split_first_chunk().ok_or_else(cut_off)?;
        let (part, bytes) = bytes.split_first_chunk().ok_or_else(cut_off)?;
        let (is_last, mut bytes) = bytes.split_first().ok_or_else(cut_off)?;
        let mut told = Vec::new();
        while !bytes.is_empty() {
            let (length, rest) = bytes.split_first_chunk().ok_or_else(cut_off)?;
            let length = u32::from_le_bytes(*length) as usize;
            let (one, rest) = rest.split_at_checked(length).ok_or_else(cut_off)?;
            told.push(Summary::decode(one)?);
            bytes = rest;
        }
        Ok(Self {
            before: u64::from_le_bytes(*before),
            part: u32::from_le_bytes(*part),
            is_last: *is_last != 0,
            told,
        })
    }
}

/// What was heard of a partition. An entry may come again, from a shard that was restarted or from another
/// one that folds the same partition.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Heard {
    /// Offset of `events` up to which all was told.
    end: u64,
    /// Parts of the entry behind it.
    parts: u32,
}

impl Heard {
    /// What an entry tells, unless it was heard.
    pub(super) fn news(
        &mut self,
        partition: u32,
        entry: &SummaryEntry,
    ) -> Result<Option<Vec<Summary>>, FoldError> {
        if entry.end <= self.end {
            return Ok(None);
        }
        let Entry { before, part, is_last, told } = Entry::decode(&entry.bytes)?;
        if before > self.end || part > self.parts {
            return Err(FoldError::Gap { partition, after: self.end, before });
        }
        if part < self.parts {
            return Ok(None);
        }
        *self = match is_last {
            true => Self { end: entry.end, parts: 0 },
            false => Self { parts: part + 1, ..*self },
        };
        Ok(Some(told))
    }
}

#[cfg(test)]
mod tests {
    use schemas::time::Timestamp;

    use super::*;

    /// So many marks, which are told in more than one part.
    fn marks(number: i64) -> Vec<Summary> {
        (0..number).map(|secs| Summary::Mark(Timestamp::from_secs(secs))).collect()
    }

    fn times(told: &[Summary]) -> Vec<i64> {
        let time = |told: &Summary| match told {
            Summary::Mark(time) => time.secs(),
            other => panic!("{other:?}"),
        };
        told.iter().map(time).collect()
    }

    #[test]
    fn every_part_counts_once_in_whatever_company_it_comes_again() {
        let told = marks(200_000);
        let parts = Entry::encode(3, (10, 20), &told).unwrap();
        assert!(parts.len() > 2, "{}", parts.len());
        assert!(parts.iter().all(|part| part.bytes.len() < ENTRY_BYTES + 100));
        let next = Entry::encode(3, (20, 30), &marks(1)).unwrap();
        let mut heard = Heard { end: 10, parts: 0 };
        let mut all = Vec::new();
        // A shard that dies after its second part, and one that tells all of it behind it; then again.
        let again = [&parts[..2], &parts[..], &parts[..1], &next[..], &parts[1..]];
        for entry in again.concat() {
            all.extend(heard.news(3, &entry).unwrap().unwrap_or_default());
        }
        assert_eq!((heard.end, heard.parts), (30, 0));
        assert_eq!(times(&all), times(&[told, marks(1)].concat()));
    }

    #[test]
    fn what_is_missing_is_told() {
        let parts = Entry::encode(0, (10, 20), &marks(200_000)).unwrap();
        let mut heard = Heard { end: 10, parts: 0 };
        assert!(matches!(heard.news(0, &parts[1]), Err(FoldError::Gap { .. })), "its first part");
        let mut heard = Heard { end: 9, parts: 0 };
        let refused = heard.news(0, &parts[0]);
        assert!(matches!(refused, Err(FoldError::Gap { after: 9, before: 10, .. })), "an entry");
        let cut = SummaryEntry { bytes: parts[0].bytes[..19].to_vec(), ..parts[0].clone() };
        assert!(Heard { end: 10, parts: 0 }.news(0, &cut).is_err());
    }
}
