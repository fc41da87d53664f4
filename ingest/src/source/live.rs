//! Live sources: what they tell the intake, and how.
//!
//! A live source does IO and nothing else: it moves bytes from a socket, a broker or a followed
//! folder into one bounded channel, as [`Arrival`]s. What the bytes mean is a matter of the session
//! that the intake keeps for each stream. A full channel is the only backpressure: the source stops
//! reading, and TCP holds the router.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use schemas::batch::Account;
use schemas::time::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};

use crate::kafka::topic_id::TopicId;
use crate::samples::SampleSet;

/// Bytes of one arrival at most.
pub const CHUNK_BYTES_MAX: usize = 64 * 1024;
/// Arrivals that may wait for the intake.
pub const ARRIVALS_WAITING_MAX: usize = 256;

/// One word of a live source.
#[derive(Debug)]
pub struct Arrival {
    /// The input, as it is numbered in the settings of this run.
    pub input: u32,
    /// The stream within the input: a TCP session, a partition of a topic, a file. A number is not
    /// used again for another stream of the same run.
    pub stream: u64,
    /// What it says.
    pub word: Word,
}

/// What a live source says of a stream.
#[derive(Debug)]
pub enum Word {
    /// It begins: who is at the other end, in words (an address, a file name, `topic-partition`).
    Opened {
        /// The other end.
        remote: String,
    },
    /// Where it goes on, of a partition of a topic: it is noted though nothing came yet.
    Begins {
        /// The position of the next message, if it is known.
        offset: Option<u64>,
        /// Which topic of that name it is, if the brokers tell.
        topic: Option<TopicId>,
    },
    /// Bytes, cut anywhere, of a stream without positions of its own.
    Bytes(Vec<u8>),
    /// One whole message of a stream with positions of its own.
    Message {
        /// Its position: an offset, a number that counts up.
        offset: u64,
        /// When the broker took it, where the format tells that.
        broker_time: Option<Timestamp>,
        /// What it says.
        payload: Vec<u8>,
    },
    /// Whole messages of a stream with positions of its own, in order.
    Messages(Vec<Message>),
    /// Matched samples, which need no stream: all of them become part of the log, or none.
    Samples {
        /// The samples.
        samples: Box<SampleSet>,
        /// Who waits until they are durable, and is told what became of them. Nobody is told of
        /// samples that did not become part of the log; and if nobody waits any more when they are
        /// to be taken, they are not.
        answer: Option<Receipt>,
    },
    /// All that there was until now has been told.
    CaughtUp,
    /// It is over, and why. Another word on the same stream does not follow.
    Closed {
        /// Why, in words.
        reason: String,
        /// Whether something may be missing from here until the input is heard again.
        is_gap: bool,
    },
}

/// One message of a stream with positions of its own.
#[derive(Debug)]
pub struct Message {
    /// Its position.
    pub offset: u64,
    /// When the broker took it, where the format tells that.
    pub broker_time: Option<Timestamp>,
    /// What it says.
    pub payload: Vec<u8>,
}

/// Two ends of one delivery: the intake's, and that of whoever waits until it is durable.
#[must_use]
pub fn delivery() -> (Receipt, Claim) {
    let (sender, receiver) = oneshot::channel();
    let fate = Arc::new(AtomicU8::new(OPEN));
    (Receipt { sender, fate: Arc::clone(&fate) }, Claim { receiver, fate })
}

/// Neither was taken nor was given up.
const OPEN: u8 = 0;
/// It is becoming part of the log.
const TAKEN: u8 = 1;
/// It never will.
const GIVEN_UP: u8 = 2;

/// The intake's end of a delivery.
#[derive(Debug)]
pub struct Receipt {
    sender: oneshot::Sender<Account>,
    fate: Arc<AtomicU8>,
}

impl Receipt {
    /// Whether it may be taken; from here on it cannot be given up.
    #[must_use]
    pub fn take(&self) -> bool {
        decide(&self.fate, TAKEN)
    }

    /// It is durable.
    pub fn confirm(self, account: Account) {
        // Who does not wait any more was told that it was taken.
        let _ = self.sender.send(account);
    }
}

/// The end of whoever waits for a delivery; one that is dropped is given up.
#[derive(Debug)]
pub struct Claim {
    receiver: oneshot::Receiver<Account>,
    fate: Arc<AtomicU8>,
}

impl Claim {
    /// What became of it, once that is durable; none if nobody will say so any more.
    pub async fn confirmed(&mut self) -> Option<Account> {
        (&mut self.receiver).await.ok()
    }

    /// Gives it up; whether it was not taken yet, and never will be.
    pub fn give_up(&self) -> bool {
        decide(&self.fate, GIVEN_UP)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.give_up();
    }
}

/// Decides what becomes of a delivery, once; whether it is this.
fn decide(fate: &AtomicU8, wanted: u8) -> bool {
    let decided = fate.compare_exchange(OPEN, wanted, Ordering::AcqRel, Ordering::Acquire);
    decided.is_ok() || decided == Err(wanted)
}

/// The way from a live source to the intake.
#[derive(Clone, Debug)]
pub struct Outbox {
    input: u32,
    arrivals: mpsc::Sender<Arrival>,
}

/// The intake takes no more: the service stops.
#[derive(Debug, thiserror::Error)]
#[error("the service stops")]
pub struct Stopped;

impl Outbox {
    /// The way of one input.
    #[must_use]
    pub const fn new(input: u32, arrivals: mpsc::Sender<Arrival>) -> Self {
        Self { input, arrivals }
    }

    /// Tells a word; waits while the channel is full.
    ///
    /// # Errors
    /// [`Stopped`] if nobody listens any more.
    pub async fn tell(&self, stream: u64, word: Word) -> Result<(), Stopped> {
        let arrival = Arrival { input: self.input, stream, word };
        self.arrivals.send(arrival).await.map_err(|_| Stopped)
    }

    /// Tells a word from a thread of its own; waits while the channel is full.
    ///
    /// # Errors
    /// [`Stopped`] if nobody listens any more.
    pub fn tell_blocking(&self, stream: u64, word: Word) -> Result<(), Stopped> {
        let arrival = Arrival { input: self.input, stream, word };
        self.arrivals.blocking_send(arrival).map_err(|_| Stopped)
    }
}

/// Becomes true when the service stops: a source then closes its streams and returns.
pub type Stop = watch::Receiver<bool>;

/// Returns when the service stops, or when nobody is left to say so.
pub async fn stopped(stop: &mut Stop) {
    let _ = stop.wait_for(|stops| *stops).await;
}

/// The wall clock: the one place where a running service reads it.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "a source may read the wall clock")]
pub fn wall_clock() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let micros = since.map_or(0, |since| since.as_micros());
    Timestamp(i64::try_from(micros).unwrap_or(i64::MAX))
}
