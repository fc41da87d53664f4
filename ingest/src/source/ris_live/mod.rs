//! RIS Live: the texts of a websocket go to the intake, one stream a session.
//!
//! The client subscribes, pings, and dials again, with a growing wait, when the session ends or shows
//! no sign of life. A server that answers pings and tells nothing is quiet, not dead: that is told,
//! and the session is kept. What the texts say is read by the session behind the intake; here only
//! the server's own replies are told apart. [`config`] holds the keys, [`endpoint`] the way there.

pub mod config;
mod endpoint;
#[cfg(test)]
mod tests;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use rustls::ClientConfig;
use schemas::bgp::{Asn, Prefix};
use schemas::connection::PUBLIC_ROUTING_DOMAIN;
use schemas::registry::Registry;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::{self, Message};

use super::counter::{Counter, Seldom};
use super::live::{Outbox, Stop, Stopped, Word, stopped};
use super::tls::{self, TlsError};
use crate::samples::OwnersNow;
pub use config::{RisLive, Subscribe};
pub use endpoint::EndpointError;
use endpoint::{DialError, Endpoint, Websocket};

/// How often the server's own complaints are told.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Why there is no client. One variant per remedy.
#[derive(Debug, thiserror::Error)]
pub enum RisLiveError {
    /// A URL that is none.
    #[error(transparent)]
    Url(#[from] EndpointError),
    /// No TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// More than is allowed.
    #[error(
        "{needed} subscriptions exceed subscriptions_max = {max}; raise it, or set subscribe = \"all\""
    )]
    TooMany {
        /// As many as prefixes and watched ASes need.
        needed: usize,
        /// As many as are allowed.
        max: u32,
    },
}

/// What was heard.
#[derive(Debug, Default)]
pub struct RisLiveCounts {
    /// Sessions that were established.
    pub opened: Counter,
    /// Tries that did not lead to a session.
    pub dial_failed: Counter,
    /// Sessions that ended, for whatever reason.
    pub closed: Counter,
    /// Sessions given up for want of any sign of life.
    pub silent: Counter,
    /// Times that a live session told nothing for `quiet_after_secs`.
    pub quiet: Counter,
    /// Sessions ended by a message that is too long or no text.
    pub refused: Counter,
    /// Errors that the server told.
    pub server_errors: Counter,
    /// Messages handed on.
    pub messages: Counter,
    /// Their bytes.
    pub bytes: Counter,
    /// Whether a session is up (0 or 1).
    pub is_up: Counter,
}

/// What is asked for, by what is registered.
fn subscriptions(config: &RisLive, registry: &Registry) -> Result<Vec<String>, RisLiveError> {
    let public = registry
        .connections()
        .iter()
        .filter(|connection| connection.routing_domain == PUBLIC_ROUTING_DOMAIN);
    let prefixes: Vec<Prefix> = public
        .flat_map(|connection| connection.prefixes.iter().map(|registered| registered.prefix))
        .collect();
    let asns: Vec<Asn> = registry.watched().iter().map(|watched| watched.number).collect();
    let subscriptions = config.subscriptions(&prefixes, &asns);
    let (needed, max) = (subscriptions.len(), config.subscriptions_max);
    if needed > usize::try_from(max).unwrap_or(usize::MAX) {
        return Err(RisLiveError::TooMany { needed, max });
    }
    Ok(subscriptions)
}

/// Returns when something else is registered; never if nobody says so.
async fn registered(now: &mut Option<OwnersNow>) {
    if let Some(now) = now
        && now.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

/// Why a session is over.
#[derive(Debug, thiserror::Error)]
enum Ending {
    #[error("the server closed the session")]
    Closed,
    #[error("{0}")]
    Broken(#[from] DialError),
    #[error("no sign of life for {0} s")]
    Silent(u32),
    #[error("a message longer than message_bytes_max = {0}")]
    TooLong(u32),
    #[error("the service stops")]
    Stop,
}

impl From<Stopped> for Ending {
    fn from(_: Stopped) -> Self {
        Self::Stop
    }
}

impl From<tungstenite::Error> for Ending {
    fn from(error: tungstenite::Error) -> Self {
        match error {
            tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed => {
                Self::Closed
            }
            error => Self::Broken(error.into()),
        }
    }
}

/// A client that is ready to [`run`](Self::run).
pub struct RisLiveSource {
    config: RisLive,
    endpoint: Endpoint,
    tls: Option<Arc<ClientConfig>>,
    subscriptions: Vec<String>,
    /// What is ours, as it changes.
    registered: Option<OwnersNow>,
    counts: Arc<RisLiveCounts>,
    next_stream: u64,
    /// Texts counted up over all sessions of this run.
    next_offset: u64,
    told_errors: Seldom,
}

impl RisLiveSource {
    /// A client that asks for what touches the public prefixes of a registry and passes its watched
    /// ASes. Streams are numbered from `first_stream`.
    ///
    /// # Errors
    /// [`RisLiveError`] with its remedy.
    pub fn new(
        config: RisLive,
        registry: &Registry,
        first_stream: u64,
    ) -> Result<Self, RisLiveError> {
        let endpoint = Endpoint::of(&config.url)?;
        let tls = endpoint.is_tls().then(|| tls::client(config.ca.as_deref())).transpose()?;
        let subscriptions = subscriptions(&config, registry)?;
        Ok(Self {
            config,
            endpoint,
            tls,
            subscriptions,
            registered: None,
            counts: Arc::default(),
            next_stream: first_stream,
            next_offset: 0,
            told_errors: Seldom::new(TELL_EVERY),
        })
    }

    /// Asks for more whenever more is registered. What is registered no more is still told until the next
    /// session, and sifted out by the intake.
    #[must_use]
    pub fn following(self, registered: OwnersNow) -> Self {
        Self { registered: Some(registered), ..self }
    }

    /// Counts on where another one stopped.
    #[must_use]
    pub fn counting(mut self, counts: Arc<RisLiveCounts>) -> Self {
        self.counts = counts;
        self
    }

    /// What is counted.
    #[must_use]
    pub fn counts(&self) -> Arc<RisLiveCounts> {
        Arc::clone(&self.counts)
    }

    /// Listens until the service stops.
    pub async fn run(mut self, outbox: Outbox, mut stop: Stop) {
        let mut wait = secs(self.config.reconnect_secs_min);
        while !*stop.borrow() {
            let patience = secs(self.config.connect_timeout_secs);
            let bytes_max = usize::try_from(self.config.message_bytes_max).unwrap_or(usize::MAX);
            let dialled = tokio::select! {
                dialled = timeout(patience, self.endpoint.dial(self.tls.clone(), bytes_max)) => dialled,
                () = stopped(&mut stop) => return,
            };
            match dialled {
                Ok(Ok(websocket)) => {
                    let messages = self.counts.messages.get();
                    self.session(websocket, &outbox, &mut stop).await;
                    if self.counts.messages.get() > messages {
                        wait = secs(self.config.reconnect_secs_min);
                    }
                }
                Ok(Err(error)) => self.not_reached(&error.to_string()),
                Err(_) => self.not_reached("it took too long"),
            }
            tokio::select! {
                () = sleep(jittered(wait)) => {}
                () = stopped(&mut stop) => return,
            }
            wait = (wait * 2).min(secs(self.config.reconnect_secs_max));
        }
    }

    fn not_reached(&self, error: &str) {
        self.counts.dial_failed.one();
        tracing::warn!(url = %self.config.url, error, "ris live not reached, will be tried again");
    }

    /// One session, from its first word to its last.
    async fn session(&mut self, mut websocket: Websocket, outbox: &Outbox, stop: &mut Stop) {
        let stream = self.next_stream;
        self.next_stream += 1;
        self.counts.opened.one();
        self.counts.is_up.set(1);
        let subscriptions = self.subscriptions.len();
        tracing::info!(url = %self.config.url, stream, subscriptions, "ris live session opened");
        let ending = match self.relay(&mut websocket, (stream, outbox), stop).await {
            Ok(never) => match never {},
            Err(ending) => ending,
        };
        self.counts.is_up.set(0);
        self.counts.closed.one();
        match &ending {
            Ending::Stop => {
                // A farewell, if the server takes it at once.
                let _ = timeout(Duration::from_millis(200), websocket.close(None)).await;
            }
            Ending::Silent(_) => self.counts.silent.one(),
            Ending::TooLong(_) => self.counts.refused.one(),
            Ending::Closed | Ending::Broken(_) => {}
        }
        tracing::warn!(url = %self.config.url, stream, reason = %ending, "ris live session closed");
        let closed = Word::Closed { reason: ending.to_string(), is_gap: true };
        // Nobody listens any more: then there is nobody to tell.
        let _ = outbox.tell(stream, closed).await;
    }

    async fn relay(
        &mut self,
        websocket: &mut Websocket,
        (stream, outbox): (u64, &Outbox),
        stop: &mut Stop,
    ) -> Result<std::convert::Infallible, Ending> {
        outbox.tell(stream, Word::Opened { remote: self.endpoint.name() }).await?;
        let mut asking: VecDeque<String> = self.subscriptions.iter().cloned().collect();
        let pace = Duration::from_secs(1) / self.config.subscriptions_per_sec_max.max(1);
        let mut ask_at = Some(Instant::now());
        let mut signs = Signs::new(&self.config);
        loop {
            let came = tokio::select! {
                came = websocket.next() => came.ok_or(Ending::Closed)?,
                () = sleep_until(ask_at) => {
                    let text = asking.pop_front();
                    ask_at = text.is_some().then(|| Instant::now() + pace);
                    if let Some(text) = text {
                        send(websocket, Message::text(text), &self.config).await?;
                    }
                    continue;
                }
                () = sleep_until(Some(signs.next_look())) => {
                    self.look_after(&mut signs, websocket).await?;
                    continue;
                }
                () = registered(&mut self.registered) => {
                    asking.extend(self.subscribe_more());
                    ask_at = Some(Instant::now());
                    continue;
                }
                () = stopped(stop) => return Err(Ending::Stop),
            };
            signs.heard();
            match came.map_err(|error| self.ending(error))? {
                Message::Text(text) => {
                    if self.is_reply(text.as_str()) {
                        continue;
                    }
                    signs.told();
                    self.hand_on(text.as_bytes().to_vec(), (stream, outbox)).await?;
                    // The channel may have been full for long: that was not the server's silence.
                    signs.heard();
                }
                Message::Binary(bytes) => {
                    signs.told();
                    self.hand_on(bytes.to_vec(), (stream, outbox)).await?;
                    signs.heard();
                }
                Message::Close(_) => return Err(Ending::Closed),
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }

    /// Other prefixes are registered: what is to be asked for now, beside what was asked for before.
    fn subscribe_more(&mut self) -> Vec<String> {
        let Some(owners) = self.registered.as_mut().map(|now| Arc::clone(&now.borrow_and_update()))
        else {
            return Vec::new();
        };
        match subscriptions(&self.config, owners.registry()) {
            Ok(all) => {
                let before: HashSet<&String> = self.subscriptions.iter().collect();
                let more = all.iter().filter(|text| !before.contains(text)).cloned().collect();
                self.subscriptions = all;
                more
            }
            Err(error) => {
                tracing::error!(url = %self.config.url, %error, "ris live subscriptions stay as they are");
                Vec::new()
            }
        }
    }

    async fn hand_on(
        &mut self,
        payload: Vec<u8>,
        (stream, outbox): (u64, &Outbox),
    ) -> Result<(), Stopped> {
        self.counts.messages.one();
        self.counts.bytes.add(payload.len() as u64);
        let offset = self.next_offset;
        self.next_offset += 1;
        outbox.tell(stream, Word::Message { offset, broker_time: None, payload }).await
    }

    /// Pings a server that is silent, gives up one that stays so, tells of one that is quiet.
    async fn look_after(&self, signs: &mut Signs, websocket: &mut Websocket) -> Result<(), Ending> {
        match signs.look() {
            Look::Silent => return Err(Ending::Silent(self.config.silence_timeout_secs)),
            Look::Ping => {
                send(websocket, Message::Ping(Vec::new().into()), &self.config).await?;
            }
            Look::Quiet => {
                self.counts.quiet.one();
                let quiet_secs = self.config.quiet_after_secs;
                tracing::warn!(url = %self.config.url, quiet_secs, "ris live answers and tells nothing");
            }
            Look::Nothing => {}
        }
        Ok(())
    }

    /// Whether a text is the server's reply to us, not news of a route. Errors are told.
    fn is_reply(&mut self, text: &str) -> bool {
        let head = text.get(..64).unwrap_or(text);
        if head.contains("\"ris_error\"") {
            self.counts.server_errors.one();
            if let Some(kept_back) = self.told_errors.now() {
                let error: String = text.chars().take(300).collect();
                tracing::error!(url = %self.config.url, error, kept_back, "ris live refuses");
            }
            return true;
        }
        ["\"ris_subscribe_ok\"", "\"ris_unsubscribe_ok\"", "\"ris_rrc_list\"", "\"pong\""]
            .iter()
            .any(|kind| head.contains(kind))
    }

    fn ending(&self, error: tungstenite::Error) -> Ending {
        match error {
            tungstenite::Error::Capacity(_) => Ending::TooLong(self.config.message_bytes_max),
            error => error.into(),
        }
    }
}

/// Sends within the time that a connect may take: a server that reads nothing holds nobody.
async fn send(websocket: &mut Websocket, message: Message, config: &RisLive) -> Result<(), Ending> {
    match timeout(secs(config.connect_timeout_secs), websocket.send(message)).await {
        Ok(sent) => sent.map_err(Ending::from),
        Err(_) => Err(Ending::Silent(config.connect_timeout_secs)),
    }
}

/// Signs of life, and what to do for want of them.
struct Signs {
    ping_after: Duration,
    silent_after: Duration,
    quiet_after: Duration,
    heard: Instant,
    pinged: Option<Instant>,
    told: Instant,
}

enum Look {
    Silent,
    Ping,
    Quiet,
    Nothing,
}

impl Signs {
    fn new(config: &RisLive) -> Self {
        let now = Instant::now();
        Self {
            ping_after: secs(config.ping_secs),
            silent_after: secs(config.silence_timeout_secs),
            quiet_after: secs(config.quiet_after_secs),
            heard: now,
            pinged: None,
            told: now,
        }
    }

    /// Anything came.
    fn heard(&mut self) {
        self.heard = Instant::now();
        self.pinged = None;
    }

    /// News came.
    fn told(&mut self) {
        self.told = Instant::now();
    }

    fn next_look(&self) -> Instant {
        let ping = self.pinged.unwrap_or(self.heard) + self.ping_after;
        ping.min(self.heard + self.silent_after).min(self.told + self.quiet_after)
    }

    fn look(&mut self) -> Look {
        let now = Instant::now();
        if now >= self.heard + self.silent_after {
            Look::Silent
        } else if now >= self.told + self.quiet_after {
            self.told = now;
            Look::Quiet
        } else if now >= self.pinged.unwrap_or(self.heard) + self.ping_after {
            self.pinged = Some(now);
            Look::Ping
        } else {
            Look::Nothing
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

const fn secs(secs: u32) -> Duration {
    Duration::from_secs(secs as u64)
}

/// Between half of the time and all of it, so that clients of a server that restarted do not come at
/// once. The seed of a hash map is random enough for that.
fn jittered(wait: Duration) -> Duration {
    use std::hash::{BuildHasher as _, RandomState};
    let random = RandomState::new().hash_one(0_u8) % 1024;
    let part = u32::try_from(random).unwrap_or(0);
    wait / 2 + wait / 2 * part / 1024
}
