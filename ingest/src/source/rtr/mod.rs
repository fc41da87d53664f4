//! RTR: a client that keeps a connection to a cache of VRPs, over plain TCP, and tells each whole set.
//!
//! It asks when the cache notifies it, and every refresh interval; it dials again, after the retry
//! interval, when the connection ends. What is held counts until the expire interval has passed
//! without a whole answer. What the bytes mean is [`crate::session::rtr`].

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use schemas::reference::Vrp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::counter::{Counter, Seldom};
use super::live::{Stop, stopped};
use crate::session::rtr::{RtrError, RtrSession};

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a cache may be silent in the middle of an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;
/// How often a failure that stays is told.
const TELL_EVERY: Duration = Duration::from_secs(600);
/// Sets that may wait for whoever takes them.
pub const WORDS_WAITING_MAX: usize = 2;

/// What a client is to do. None: as the cache says (RFC 8210 §6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RtrOptions {
    /// Host and port of the cache.
    pub address: String,
    /// Seconds between two questions.
    pub refresh_secs: Option<u32>,
    /// Seconds after a failure.
    pub retry_secs: Option<u32>,
    /// Seconds without an answer after which what is held counts no more.
    pub expire_secs: Option<u32>,
}

/// What a client tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RtrWord {
    /// The whole set, whenever an answer changed it.
    Vrps(Vec<Vrp>),
    /// What was told counts no more: the cache was not heard for too long.
    Expired,
}

/// What was heard.
#[derive(Debug, Default)]
pub struct RtrCounts {
    /// Connections that were made.
    pub opened: Counter,
    /// Tries that failed, and connections that ended.
    pub failed: Counter,
    /// Whole answers.
    pub answers: Counter,
    /// VRPs that are held.
    pub vrps: Counter,
    /// Whether the last answer was whole and the connection stands (0 or 1).
    pub is_up: Counter,
}

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
enum Ending {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("the cache closed the connection")]
    Closed,
    #[error("no answer for {} s", ANSWER_TIMEOUT.as_secs())]
    Silent,
    #[error(transparent)]
    Session(#[from] RtrError),
    #[error("the service stops")]
    Stop,
}

/// A client of one cache.
pub struct RtrSource {
    options: RtrOptions,
    words: mpsc::Sender<RtrWord>,
    counts: Arc<RtrCounts>,
    session: RtrSession,
    /// When the last answer was whole; none: never, or what it said has expired.
    answered: Option<Instant>,
    seldom: Seldom,
}

impl RtrSource {
    /// A client that tells these words.
    #[must_use]
    pub fn new(options: RtrOptions, words: mpsc::Sender<RtrWord>) -> Self {
        Self {
            options,
            words,
            counts: Arc::default(),
            session: RtrSession::default(),
            answered: None,
            seldom: Seldom::new(TELL_EVERY),
        }
    }

    /// Counts on where another one stopped.
    #[must_use]
    pub fn counting(mut self, counts: Arc<RtrCounts>) -> Self {
        self.counts = counts;
        self
    }

    /// What was heard so far.
    #[must_use]
    pub fn counts(&self) -> Arc<RtrCounts> {
        Arc::clone(&self.counts)
    }

    /// Talks to the cache until the service stops.
    pub async fn run(mut self, mut stop: Stop) {
        loop {
            let ending = tokio::select! {
                ending = self.connection() => ending,
                () = stopped(&mut stop) => Ending::Stop,
            };
            self.counts.is_up.set(0);
            let at_once = match &ending {
                Ending::Stop => return,
                Ending::Session(error) => error.is_retried_at_once(),
                Ending::Io(_) | Ending::Closed | Ending::Silent => false,
            };
            self.counts.failed.add(1);
            let address = self.options.address.as_str();
            if let Some(kept_back) = self.seldom.now() {
                tracing::warn!(address, error = %ending, kept_back, "cache of VRPs lost, dialled again");
            }
            let again =
                Instant::now() + if at_once { Duration::from_secs(1) } else { self.retry() };
            let waited = tokio::select! {
                waited = self.wait_until(again) => waited,
                () = stopped(&mut stop) => Err(Ending::Stop),
            };
            if waited.is_err() {
                return;
            }
        }
    }

    /// One connection, until it is over.
    async fn connection(&mut self) -> Ending {
        match self.talk().await {
            Ok(never) => match never {},
            Err(ending) => ending,
        }
    }

    async fn talk(&mut self) -> Result<std::convert::Infallible, Ending> {
        let address = self.options.address.clone();
        let dialled = timeout(CONNECT_TIMEOUT, TcpStream::connect(address));
        let timed_out = |_| std::io::Error::from(std::io::ErrorKind::TimedOut);
        let mut stream = self.unless_expired(dialled).await?.map_err(timed_out)??;
        stream.set_nodelay(true)?;
        self.counts.opened.add(1);
        stream.write_all(&self.session.connected()).await?;
        let mut bytes = vec![0; READ_BYTES];
        let mut ask_at = Instant::now() + self.refresh();
        let mut heard = Instant::now();
        loop {
            let waits = self.session.waits();
            let until = if waits { heard + ANSWER_TIMEOUT } else { ask_at };
            let read = self.unless_expired(timeout_at(until, stream.read(&mut bytes))).await?;
            let Ok(read) = read else {
                if waits {
                    return Err(Ending::Silent);
                }
                stream.write_all(&self.session.ask()).await?;
                heard = Instant::now();
                continue;
            };
            let read = read?;
            if read == 0 {
                return Err(Ending::Closed);
            }
            heard = Instant::now();
            let mut answer = Vec::new();
            let fed = self.session.feed(bytes.get(..read).unwrap_or_default(), &mut answer);
            if !answer.is_empty() {
                stream.write_all(&answer).await?;
            }
            if fed? {
                self.tell().await?;
                ask_at = Instant::now() + self.refresh();
            }
        }
    }

    /// Does something, and tells meanwhile if what is held expires.
    async fn unless_expired<T>(&mut self, doing: impl Future<Output = T>) -> Result<T, Ending> {
        let mut doing = std::pin::pin!(doing);
        loop {
            let Some(answered) = self.answered else { return Ok(doing.await) };
            let expires = answered + self.expire();
            tokio::select! {
                done = &mut doing => return Ok(done),
                () = sleep_until(expires) => self.expired().await?,
            }
        }
    }

    async fn wait_until(&mut self, until: Instant) -> Result<(), Ending> {
        self.unless_expired(sleep_until(until)).await
    }

    async fn tell(&mut self) -> Result<(), Ending> {
        let vrps: Vec<Vrp> = self.session.vrps().iter().copied().collect();
        self.answered = Some(Instant::now());
        self.counts.answers.add(1);
        self.counts.vrps.set(vrps.len() as u64);
        self.counts.is_up.set(1);
        self.words.send(RtrWord::Vrps(vrps)).await.map_err(|_| Ending::Stop)
    }

    async fn expired(&mut self) -> Result<(), Ending> {
        self.answered = None;
        self.counts.vrps.set(0);
        let (address, secs) = (self.options.address.as_str(), self.expire().as_secs());
        tracing::error!(
            address,
            secs,
            "the cache was not heard for too long, its VRPs count no more"
        );
        self.words.send(RtrWord::Expired).await.map_err(|_| Ending::Stop)
    }

    fn refresh(&self) -> Duration {
        let own = self.options.refresh_secs;
        Duration::from_secs(own.unwrap_or(self.session.timers.refresh_secs).into())
    }

    fn retry(&self) -> Duration {
        let own = self.options.retry_secs;
        Duration::from_secs(own.unwrap_or(self.session.timers.retry_secs).into())
    }

    fn expire(&self) -> Duration {
        let own = self.options.expire_secs;
        Duration::from_secs(own.unwrap_or(self.session.timers.expire_secs).into())
    }
}
