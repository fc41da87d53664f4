//! The writing end: appends of one process, each a transaction.
//!
//! One transaction holds the batches of a round for all partitions, the positions that moved, and the
//! number of the append under the name of this process. It is sent with the seat of the process in its
//! group: all messages are at the brokers before the seat is shown, so that whoever owns a share next
//! sees them, or the transaction is refused.
//!
//! What goes wrong: a call that may be repeated is repeated; a transaction that must be given up is,
//! and the same append is sent again; after an error that ends the producer nobody knows what became
//! of its last transaction, so a new one is made, which ends that transaction one way or the other,
//! and the number of the append says which. While no broker answers, the caller waits.

mod transaction;

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use schemas::log::{Append, LogError, Position, Publisher};
use schemas::tables::Text;

use super::clients::LogCounts;
use super::config::KafkaLogConfig;
use super::membership::{Membership, Seat};
use super::record;
use super::shares::{BETWEEN, Shares};
use super::state::StateReader;
use crate::live::known::about;
use transaction::{Ended, Transactions};

/// How long a seat is waited for after one was refused.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between an append that brokers would not take and the same one again.
const AGAIN: Duration = Duration::from_millis(100);
/// Refusals of a producer in a row after which somebody else must be at work.
const FENCED_MAX: u32 = 3;
/// Sessions of the group for which one seat may be refused, by brokers that answer.
const SESSIONS_REFUSED_MAX: u32 = 3;

/// A key of the control topic with its value; an empty one takes it back.
type Entry = (String, Vec<u8>);

/// What the next transaction holds.
#[derive(Default)]
pub(super) struct Pending {
    /// Partition of the events topic, and a payload for it.
    pub(super) batches: Vec<(u32, Vec<u8>)>,
    /// Keys of the sources topic with their values.
    pub(super) positions: BTreeMap<Text, Position>,
    pub(super) control: Vec<Entry>,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.batches.is_empty() && self.positions.is_empty() && self.control.is_empty()
    }
}

/// What a writer is made with.
pub struct PublisherOptions {
    /// `[kafka]`.
    pub config: KafkaLogConfig,
    /// The rest of the transactional id, and the name under which appends are counted.
    pub name: String,
    /// Whose state lies where.
    pub shares: Shares,
    /// The seat that proves what is ours.
    pub membership: Arc<Membership>,
    /// The topic that the group parts.
    pub group_topic: String,
    /// What is counted.
    pub counts: Arc<LogCounts>,
}

/// The writing end of one process.
pub struct KafkaPublisher {
    options: PublisherOptions,
    transactions: Transactions,
    state: StateReader,
    /// Key under which appends are counted.
    own_key: Text,
    /// What no other process has that writes under the same name.
    nonce: [u8; 8],
    /// Number of the last append.
    sequence: u64,
    /// Positions as this process knows them to be in the topic.
    known: BTreeMap<Text, Position>,
    pending: Pending,
    /// How often everything had been lost when the last transaction was sent.
    losses: u64,
}

impl KafkaPublisher {
    /// The writing end. Whoever had the name before is fenced, and what it had not finished is undone.
    ///
    /// # Errors
    /// [`LogError`] if the brokers do not let us.
    pub fn open(options: PublisherOptions) -> Result<Self, LogError> {
        let id = options.config.name(&options.name);
        let transactions = Transactions::open(&options.config, &id, &options.counts)?;
        let state = StateReader::new(&options.config)?;
        let own_key: Text = format!("{BETWEEN}writer{BETWEEN}{}", options.name).into();
        let mut publisher = Self {
            options,
            transactions,
            state,
            own_key,
            nonce: RandomState::new().build_hasher().finish().to_le_bytes(),
            sequence: 0,
            known: BTreeMap::new(),
            pending: Pending::default(),
            losses: 0,
        };
        publisher.sequence = publisher.durable()?.next_offset;
        Ok(publisher)
    }

    /// `[kafka]`.
    #[must_use]
    pub const fn config(&self) -> &KafkaLogConfig {
        &self.options.config
    }

    /// These positions were read from the topic: from here on they move by our hand.
    pub fn know(&mut self, positions: &BTreeMap<Text, Position>) {
        self.known.extend(positions.iter().map(|(key, at)| (Text::clone(key), at.clone())));
    }

    /// These are another's now.
    pub fn forget(&mut self, is_gone: impl Fn(&str) -> bool) {
        self.known.retain(|key, _| !is_gone(key));
    }

    /// Puts a key of the control topic into the next transaction; no bytes take it back.
    pub fn put_control(&mut self, key: String, value: Vec<u8>) {
        self.pending.control.push((key, value));
    }

    /// The last append under our name that is in the log: its number, and who made it.
    fn durable(&self) -> Result<Position, LogError> {
        let share = self.options.shares.of_key(&self.own_key);
        Ok(self.positions(&[share])?.remove(&self.own_key).unwrap_or_default())
    }

    /// The positions that lie in these shares.
    fn positions(&self, shares: &[u32]) -> Result<BTreeMap<Text, Position>, LogError> {
        read_positions(&self.state, &self.options.config, shares)
    }

    /// Sends what waits until it is in the log.
    fn send(&mut self) -> Result<(), LogError> {
        let number = self.sequence + 1;
        let session = self.nonce.to_vec();
        let own = Position { next_offset: number, session, ..Position::default() };
        self.pending.positions.insert(Text::clone(&self.own_key), own.clone());
        let (mut refused, mut fenced) = (None, 0);
        let mut refused_since = Instant::now();
        loop {
            let seat = self.options.membership.seat(refused, PATIENCE).map_err(no_seat)?;
            if seat.losses != self.losses {
                self.verify()?;
                self.losses = seat.losses;
            }
            self.check_owned(&seat)?;
            let (options, pending) = (&self.options, &self.pending);
            match self.transactions.run(options, pending, &seat) {
                Ended::Committed => break,
                Ended::Aborted => {
                    self.options.counts.aborted.one();
                    std::thread::sleep(AGAIN);
                }
                Ended::Unseated => {
                    self.options.counts.aborted.one();
                    if refused.replace(seat.number) != Some(seat.number) {
                        refused_since = Instant::now();
                    }
                    let session = Duration::from_secs(options.config.session_timeout_secs.into());
                    if refused_since.elapsed() > session * SESSIONS_REFUSED_MAX {
                        return Err(
                            self.fenced("its place in the group is gone, and no other came")
                        );
                    }
                }
                Ended::Unknown { is_fenced, what } => {
                    fenced = if is_fenced { fenced + 1 } else { 0 };
                    if fenced >= FENCED_MAX {
                        return Err(self.fenced(&what));
                    }
                    tracing::warn!(
                        error = what,
                        "transaction ended unknown, looking what became of it"
                    );
                    // Whoever took our name has taken our seat too, and is told of soon.
                    std::thread::sleep(PATIENCE * u32::from(is_fenced));
                    self.transactions.renew(options)?;
                    if self.durable()? == own {
                        break;
                    }
                }
                Ended::Refused(error) => return Err(error),
            }
        }
        self.sequence = number;
        let Pending { batches, positions, .. } = std::mem::take(&mut self.pending);
        let counts = &self.options.counts;
        counts.transactions.one();
        counts.batches.add(batches.len() as u64);
        counts.bytes.add(batches.iter().map(|(_, payload)| payload.len() as u64).sum());
        self.known.extend(positions);
        Ok(())
    }

    /// Everything was lost for a while: nobody may have moved meanwhile what we move, now or later.
    fn verify(&self) -> Result<(), LogError> {
        let ours = || {
            let all = self.known.keys().chain(self.pending.positions.keys());
            all.filter(|key| **key != self.own_key)
        };
        let mut shares: Vec<u32> = ours().map(|key| self.options.shares.of_key(key)).collect();
        shares.sort_unstable();
        shares.dedup();
        let there = self.positions(&shares)?;
        match ours().find(|key| there.get(*key) != self.known.get(*key)) {
            Some(key) => Err(self.fenced(&format!("the position of {key:?} was moved"))),
            None => Ok(()),
        }
    }

    /// A listener's state is its own wherever it lies; any other state must lie in shares of ours.
    fn check_owned(&self, seat: &Seat) -> Result<(), LogError> {
        let shares = &self.options.shares;
        let strange = self
            .pending
            .positions
            .keys()
            .find(|key| !is_of_process(key) && !seat.owned.contains(&shares.of_key(key)));
        match strange {
            Some(key) => Err(self.fenced(&format!("{key:?} belongs to it by now"))),
            None => Ok(()),
        }
    }

    fn fenced(&self, what: &str) -> LogError {
        let id = self.options.config.name(&self.options.name);
        LogError::Fenced {
            what: format!(
                "another process took over from {id} ({what}); if it is not meant to, give each process \
                 its own [kafka] instance, and start this one again"
            ),
        }
    }
}

fn no_seat(why: String) -> LogError {
    LogError::Fenced { what: why }
}

/// What stands between the name of a listener and that of its process.
pub const AT: char = '@';

/// Whether a key belongs to its process for good, wherever it lies: that of a listener, or of a writer.
#[must_use]
pub fn is_of_process(key: &str) -> bool {
    about(key).0.contains(AT) || key.starts_with(BETWEEN)
}

/// The positions that lie in these shares.
pub(super) fn read_positions(
    state: &StateReader,
    config: &KafkaLogConfig,
    shares: &[u32],
) -> Result<BTreeMap<Text, Position>, LogError> {
    let found = state.read(&config.sources_topic, shares)?;
    let one = |(key, value): (Vec<u8>, Vec<u8>)| {
        if value.is_empty() {
            return None;
        }
        let key = String::from_utf8(key).ok();
        let position = postcard::from_bytes(&value).ok();
        match key.zip(position) {
            Some((key, position)) => Some(Ok((key.into(), position))),
            None => Some(Err(LogError::Topic {
                topic: config.sources_topic.clone(),
                what:
                    "it holds a key that is no position of ours: another program writes into it; \
                       take another name for it"
                        .to_owned(),
            })),
        }
    };
    found.into_iter().filter_map(one).collect()
}

impl Publisher for KafkaPublisher {
    fn append(&mut self, append: &Append) -> Result<(), LogError> {
        let config = &self.options.config;
        let bytes_max = usize::try_from(config.message_bytes_max).unwrap_or(usize::MAX);
        // All of it is encoded before any of it waits.
        let mut payloads = Vec::new();
        let mut cut = 0;
        for batch in &append.batches {
            cut += record::encode(batch, &config.events_topic, bytes_max, &mut payloads)?;
        }
        self.options.counts.cut.add(cut);
        self.pending.batches.append(&mut payloads);
        self.pending.positions.extend(append.positions.iter().cloned());
        Ok(())
    }

    fn sync(&mut self) -> Result<(), LogError> {
        if self.pending.is_empty() { Ok(()) } else { self.send() }
    }
}
