//! Shares: which process owns an input, by the partition of the sources topic that its state lies in.
//!
//! Every input belongs to one share; a process owns shares as a member of a group. The partitions of a
//! topic that is read are spread over all shares, one after the other; any other input, with all its
//! streams, lies in the one that its name falls on. So whoever owns a share owns the state of its
//! inputs, and whoever lost it cannot write that state any more.

use std::collections::{BTreeMap, BTreeSet};

use schemas::log::{LogError, Position};
use schemas::tables::Text;
use sha2::{Digest as _, Sha256};

use super::config::KafkaLogConfig;
use super::publisher::read_positions;
use super::state::StateReader;
use crate::live::known::about;

/// What stands between an input's name and a stream's in a key.
pub(crate) const BETWEEN: char = '\n';

/// The shares of a log.
#[derive(Clone, Debug)]
pub struct Shares {
    count: u32,
    /// Inputs that are topics.
    topics: BTreeSet<Text>,
    /// Those of them that lie at the brokers of the log.
    beside: BTreeSet<Text>,
}

impl Shares {
    /// So many shares; `topics` names the inputs that are topics, `beside` those of them that lie at the
    /// brokers of the log.
    #[must_use]
    pub const fn new(count: u32, topics: BTreeSet<Text>, beside: BTreeSet<Text>) -> Self {
        Self { count, topics, beside }
    }

    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Share of an input that is no topic.
    #[must_use]
    pub fn of_input(&self, name: &str) -> u32 {
        self.spread(stable_hash(name), 0)
    }

    /// Share of a partition of a topic that an input reads.
    #[must_use]
    pub fn of_partition(&self, name: &str, topic: &str, partition: u32) -> u32 {
        self.spread(stable_hash(&format!("{name}{BETWEEN}{topic}")), partition)
    }

    /// Share of a key of the state: `NAME`, a line end, `STREAM`.
    #[must_use]
    pub fn of_key(&self, key: &str) -> u32 {
        let (name, stream) = about(key);
        let parted = || {
            let (topic, partition) = stream.rsplit_once('-')?;
            Some((topic, partition.parse().ok()?))
        };
        match parted().filter(|_| self.topics.contains(name)) {
            Some((topic, partition)) => self.of_partition(name, topic, partition),
            None => self.of_input(name),
        }
    }

    /// The partition of a topic that a key is about.
    pub(super) fn published<'k>(&self, key: &'k str) -> Option<(&'k str, i32)> {
        let (name, stream) = key.split_once(BETWEEN)?;
        let (topic, partition) = stream.rsplit_once('-')?;
        let is_ours = self.beside.contains(name);
        is_ours.then_some((topic, partition.parse().ok()?))
    }

    fn spread(&self, hash: u64, more: u32) -> u32 {
        let count = u64::from(self.count.max(1));
        let share = (hash % count + u64::from(more)) % count;
        u32::try_from(share).unwrap_or_default()
    }
}

/// The positions that lie in these shares, once no transaction is open that may move them.
///
/// # Errors
/// [`LogError`] if the brokers do not answer for long, or the topic is not ours.
pub fn read_shares(
    config: &KafkaLogConfig,
    shares: &[u32],
) -> Result<BTreeMap<Text, Position>, LogError> {
    if shares.is_empty() {
        return Ok(BTreeMap::new());
    }
    read_positions(&StateReader::new(config)?, config, shares)
}

/// A number that a text has on every machine and in every version.
pub(crate) fn stable_hash(text: &str) -> u64 {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_of_a_topic_are_spread_and_all_else_of_an_input_stays_together() {
        let shares = Shares::new(12, [Text::from("rtt")].into(), BTreeSet::new());
        let all: BTreeSet<u32> =
            (0..12).map(|number| shares.of_key(&format!("rtt\nprobes-{number}"))).collect();
        assert_eq!(all.len(), 12, "twelve partitions, twelve shares");
        assert_eq!(shares.of_key("rtt\nprobes-5"), shares.of_partition("rtt", "probes", 5));
        let one = shares.of_input("archive");
        for file in ["a-1", "a-2", "updates.20260101.0000.gz", ""] {
            assert_eq!(shares.of_key(&format!("archive\n{file}")), one, "{file}");
        }
        assert_eq!(stable_hash("peerscope"), 0x3fa6_c508_0c35_0713, "it never changes");
    }
}
