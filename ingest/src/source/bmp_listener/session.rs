//! One session: bytes of one router in, words to the intake out, and the ways in which it ends.
//!
//! Only time spent waiting for the router counts against its limits: a full channel is our own
//! fault, and holds the router back by TCP alone.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::{Instant, timeout};

use super::Shared;
use super::framing::{Framing, FramingError};
use crate::source::live::{CHUNK_BYTES_MAX, Outbox, Stop, Word, stopped};

/// Why a session is over: one variant per counter.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ending {
    #[error("the router closed the session")]
    Closed,
    #[error("the router closed the session in the middle of a message")]
    ClosedInMessage,
    #[error("{0}")]
    Broken(io::Error),
    #[error("{0}")]
    Unframed(FramingError),
    #[error("stalled in the middle of a message for {0} s")]
    Stalled(u32),
    #[error("silent for {0} s")]
    Idle(u32),
    #[error("the service stops")]
    Stop,
}

/// One router's session.
pub(super) struct Session {
    shared: Arc<Shared>,
    outbox: Outbox,
    stop: Stop,
    remote: IpAddr,
    framing: Framing,
    bucket: Option<Bucket>,
    /// Time that we have waited for the rest of the message under way.
    waited: Duration,
}

impl Session {
    pub(super) fn new(shared: Arc<Shared>, outbox: Outbox, stop: Stop, remote: IpAddr) -> Self {
        let framing = Framing::new(shared.config.message_bytes_max);
        let bucket = shared.config.bytes_per_sec_max.map(Bucket::new);
        Self { shared, outbox, stop, remote, framing, bucket, waited: Duration::ZERO }
    }

    /// Reads until the session ends. A stream is opened by the first bytes: who says nothing (a port
    /// scan, a health check) is counted, not told.
    pub(super) async fn run(mut self, mut socket: impl AsyncRead + Unpin) {
        let mut stream = None;
        let ending = self.relay(&mut socket, &mut stream).await;
        drop(socket);
        self.count(&ending);
        let remote = self.remote;
        let Some(stream) = stream else {
            tracing::debug!(%remote, reason = %ending, "session closed, nothing said");
            self.shared.counts.said_nothing.one();
            return;
        };
        match &ending {
            Ending::Closed | Ending::Stop => {
                tracing::debug!(%remote, stream, reason = %ending, "bmp session closed");
            }
            _ => {
                tracing::warn!(%remote, stream, reason = %ending, "bmp session closed, others go on")
            }
        }
        let closed = Word::Closed { reason: ending.to_string(), is_gap: true };
        // Nobody listens any more: then there is nobody to tell.
        let _ = self.outbox.tell(stream, closed).await;
    }

    async fn relay(
        &mut self,
        socket: &mut (impl AsyncRead + Unpin),
        stream: &mut Option<u64>,
    ) -> Ending {
        let mut buffer = vec![0; CHUNK_BYTES_MAX];
        loop {
            let bytes = match self.read(socket, &mut buffer).await {
                Ok(0) if self.framing.is_in_message() => return Ending::ClosedInMessage,
                Ok(0) => return Ending::Closed,
                Ok(bytes) => bytes,
                Err(ending) => return ending,
            };
            let chunk = buffer.get(..bytes).unwrap_or_default();
            let framed = self.framing.feed(chunk);
            let messages = *framed.as_ref().unwrap_or(&0);
            self.shared.counts.bytes.add(chunk.len() as u64);
            self.shared.counts.messages.add(messages);
            if messages > 0 || !self.framing.is_in_message() {
                self.waited = Duration::ZERO;
            }
            if let Err(Stopping) = self.tell(stream, chunk).await {
                return Ending::Stop;
            }
            if let Err(error) = framed {
                return Ending::Unframed(error);
            }
            if let Err(Stopping) = self.hold_back(bytes).await {
                return Ending::Stop;
            }
        }
    }

    async fn tell(&self, stream: &mut Option<u64>, chunk: &[u8]) -> Result<(), Stopping> {
        let number = match stream {
            Some(number) => *number,
            None => {
                let number = self.shared.next_stream();
                tracing::debug!(remote = %self.remote, stream = number, "bmp session opened");
                self.shared.counts.opened.one();
                let opened = Word::Opened { remote: self.remote.to_string() };
                self.outbox.tell(number, opened).await.map_err(|_| Stopping)?;
                *stream.insert(number)
            }
        };
        self.outbox.tell(number, Word::Bytes(chunk.to_vec())).await.map_err(|_| Stopping)
    }

    async fn read(
        &mut self,
        socket: &mut (impl AsyncRead + Unpin),
        buffer: &mut [u8],
    ) -> Result<usize, Ending> {
        let config = &self.shared.config;
        let is_in_message = self.framing.is_in_message();
        let patience = if is_in_message {
            secs(config.message_timeout_secs).saturating_sub(self.waited)
        } else {
            secs(config.idle_timeout_secs)
        };
        let began = Instant::now();
        let came = tokio::select! {
            came = timeout(patience, socket.read(buffer)) => came,
            () = stopped(&mut self.stop) => return Err(Ending::Stop),
        };
        self.waited += began.elapsed();
        match came {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) => Err(Ending::Broken(error)),
            Err(_) if is_in_message => Err(Ending::Stalled(config.message_timeout_secs)),
            Err(_) => Err(Ending::Idle(config.idle_timeout_secs)),
        }
    }

    /// Waits as long as a router that sends too fast has to be held back.
    async fn hold_back(&mut self, bytes: usize) -> Result<(), Stopping> {
        let wait = self.bucket.as_mut().map_or(Duration::ZERO, |bucket| bucket.take(bytes));
        if wait.is_zero() {
            return Ok(());
        }
        self.shared.counts.held_back.one();
        tokio::select! {
            () = tokio::time::sleep(wait) => Ok(()),
            () = stopped(&mut self.stop) => Err(Stopping),
        }
    }

    fn count(&self, ending: &Ending) {
        let counts = &self.shared.counts;
        match ending {
            Ending::Closed => counts.closed.one(),
            Ending::ClosedInMessage | Ending::Broken(_) => counts.broken.one(),
            Ending::Unframed(_) => counts.unframed.one(),
            Ending::Stalled(_) => counts.stalled.one(),
            Ending::Idle(_) => counts.idle.one(),
            Ending::Stop => {}
        }
    }
}

/// The service stops.
struct Stopping;

pub(super) const fn secs(secs: u32) -> Duration {
    Duration::from_secs(secs as u64)
}

/// A token bucket that holds one second's bytes.
struct Bucket {
    bytes_per_sec: f64,
    bytes: f64,
    filled: Instant,
}

impl Bucket {
    fn new(bytes_per_sec: u32) -> Self {
        let bytes_per_sec = f64::from(bytes_per_sec);
        Self { bytes_per_sec, bytes: bytes_per_sec, filled: Instant::now() }
    }

    /// Takes bytes out; says how long to wait before the next ones.
    fn take(&mut self, bytes: usize) -> Duration {
        let now = Instant::now();
        let came = (now - self.filled).as_secs_f64() * self.bytes_per_sec;
        self.filled = now;
        self.bytes = (self.bytes + came).min(self.bytes_per_sec) - bytes as f64;
        Duration::from_secs_f64((-self.bytes / self.bytes_per_sec).max(0.0))
    }
}
