//! The BMP listener: routers dial in, their bytes go to the intake, one stream a session.
//!
//! What the bytes say is not read here; only where messages end is watched ([`framing`]), to tell a
//! router that has nothing to say from one that stalls. [`config`] holds the keys, [`session`] one
//! router's way from its first byte to its end. Whatever one router does, and whatever `accept`
//! says, the others go on.

pub mod config;
mod framing;
mod session;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::counter::{Counter, Seldom};
use super::live::{Outbox, Stop, stopped};
use super::tcp_md5;
use super::tls::{TlsError, too_slow};
pub use config::{BmpListener, Distinguisher, Md5Peer, VrfRule};
pub use framing::FramingError;
use session::{Session, secs};

/// Sessions that may wait for `accept`.
const BACKLOG: u32 = 128;
/// How long `accept` rests after the system refused.
const ACCEPT_REST: Duration = Duration::from_millis(200);
/// How often the same refusal is told.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// A router that died without a word is noticed after `time + retries * interval`.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(30))
    .with_interval(Duration::from_secs(10))
    .with_retries(3);

/// Why there is no listener. One variant per remedy.
#[derive(Debug, thiserror::Error)]
pub enum BmpListenerError {
    /// The address cannot be had.
    #[error("cannot listen on {address}: {error}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// A key that cannot be read.
    #[error("{path}: {error}", path = path.display())]
    PasswordFile {
        /// Its file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A key that the system does not take.
    #[error("cannot demand TCP MD5 of {peer}: {error}")]
    Md5 {
        /// The router.
        peer: IpAddr,
        /// What the system said.
        error: io::Error,
    },
    /// No TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// What became of those who dialled in.
#[derive(Debug, Default)]
pub struct BmpListenerCounts {
    /// Taken from the system.
    pub accepted: Counter,
    /// Refused: their address is not in `allow`.
    pub refused_address: Counter,
    /// Refused: `sessions_max` are served already.
    pub refused_sessions: Counter,
    /// Refused: their TLS handshake failed.
    pub refused_tls: Counter,
    /// Times that the system refused to give us one (too many open files, ...).
    pub accept_failed: Counter,
    /// Sessions that sent their first bytes.
    pub opened: Counter,
    /// Sessions served now.
    pub sessions: Counter,
    /// Ended without a byte.
    pub said_nothing: Counter,
    /// Ended by the router between two messages.
    pub closed: Counter,
    /// Ended in the middle of a message, or by an error of the network.
    pub broken: Counter,
    /// Ended by us: not BMP, or a length that is not accepted.
    pub unframed: Counter,
    /// Ended by us: stalled in the middle of a message.
    pub stalled: Counter,
    /// Ended by us: silent for too long.
    pub idle: Counter,
    /// Times that a router was held back by `bytes_per_sec_max`.
    pub held_back: Counter,
    /// Whole messages read.
    pub messages: Counter,
    /// Bytes read.
    pub bytes: Counter,
}

/// What the sessions of one listener share.
struct Shared {
    config: BmpListener,
    counts: Arc<BmpListenerCounts>,
    streams: AtomicU64,
}

impl Shared {
    fn next_stream(&self) -> u64 {
        self.streams.fetch_add(1, Ordering::Relaxed)
    }
}

/// A listener on its address, ready to [`run`](Self::run).
pub struct BmpSource {
    shared: Arc<Shared>,
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    told_accept: Seldom,
    told_address: Seldom,
    told_sessions: Seldom,
}

impl BmpSource {
    /// Takes the address and reads keys and certificates. Streams are numbered from `first_stream`.
    ///
    /// # Errors
    /// [`BmpListenerError`] with its remedy.
    pub fn bind(config: BmpListener, first_stream: u64) -> Result<Self, BmpListenerError> {
        let tls = config.tls.as_ref().map(|tls| tls.server()).transpose()?.map(TlsAcceptor::from);
        let bind_error = |error| BmpListenerError::Bind { address: config.listen, error };
        let socket = match config.listen {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        };
        let socket = socket.map_err(bind_error)?;
        socket.set_reuseaddr(true).map_err(bind_error)?;
        for Md5Peer { peer, password_file } in &config.md5 {
            let unreadable =
                |error| BmpListenerError::PasswordFile { path: password_file.clone(), error };
            let password = std::fs::read(password_file).map_err(unreadable)?;
            tcp_md5::set_key(&socket, config.listen, *peer, without_line_end(&password))
                .map_err(|error| BmpListenerError::Md5 { peer: *peer, error })?;
        }
        socket.bind(config.listen).map_err(bind_error)?;
        let listener = socket.listen(BACKLOG).map_err(bind_error)?;
        let address = listener.local_addr().map_err(bind_error)?;
        tracing::info!(%address, tls = tls.is_some(), md5 = config.md5.len(), "listening for bmp");
        Ok(Self {
            shared: Arc::new(Shared {
                config,
                counts: Arc::default(),
                streams: AtomicU64::new(first_stream),
            }),
            listener,
            address,
            tls,
            told_accept: Seldom::new(TELL_EVERY),
            told_address: Seldom::new(TELL_EVERY),
            told_sessions: Seldom::new(TELL_EVERY),
        })
    }

    /// The address that was taken, with its port.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Counts there, if it does not run yet.
    #[must_use]
    pub fn counting(mut self, counts: Arc<BmpListenerCounts>) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.counts = counts;
        }
        self
    }

    /// What is counted.
    #[must_use]
    pub fn counts(&self) -> Arc<BmpListenerCounts> {
        Arc::clone(&self.shared.counts)
    }

    /// Serves routers until the service stops; then every session has told its end.
    pub async fn run(mut self, outbox: Outbox, mut stop: Stop) {
        let mut sessions = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                Some(_) = sessions.join_next() => {
                    self.shared.counts.sessions.set(sessions.len() as u64);
                    continue;
                }
                () = stopped(&mut stop) => break,
            };
            match accepted {
                Ok((socket, from)) => {
                    self.admit(&mut sessions, socket, from, (&outbox, &stop));
                    self.shared.counts.sessions.set(sessions.len() as u64);
                }
                Err(error) => self.rest(&error, &mut stop).await,
            }
        }
        drop(self.listener);
        while sessions.join_next().await.is_some() {}
        self.shared.counts.sessions.set(0);
    }

    /// The system gives us no session (too many open files, one that was gone before we came): that
    /// passes, and those that we have go on.
    async fn rest(&mut self, error: &io::Error, stop: &mut Stop) {
        self.shared.counts.accept_failed.one();
        if let Some(kept_back) = self.told_accept.now() {
            let address = self.address;
            tracing::error!(%address, %error, kept_back, "accept failed, will be tried again");
        }
        if error.kind() != io::ErrorKind::ConnectionAborted {
            tokio::select! {
                () = tokio::time::sleep(ACCEPT_REST) => {}
                () = stopped(stop) => {}
            }
        }
    }

    fn admit(
        &mut self,
        sessions: &mut JoinSet<()>,
        socket: TcpStream,
        from: SocketAddr,
        (outbox, stop): (&Outbox, &Stop),
    ) {
        let counts = &self.shared.counts;
        let remote = from.ip().to_canonical();
        counts.accepted.one();
        if !self.shared.config.allow.iter().any(|network| network.contains(remote)) {
            counts.refused_address.one();
            if let Some(kept_back) = self.told_address.now() {
                tracing::warn!(%remote, kept_back, "router refused: not in allow");
            }
        } else if sessions.len() >= usize::from(self.shared.config.sessions_max) {
            counts.refused_sessions.one();
            if let Some(kept_back) = self.told_sessions.now() {
                tracing::error!(%remote, kept_back, "router refused: sessions_max are served");
            }
        } else {
            if let Err(error) = SockRef::from(&socket).set_tcp_keepalive(&KEEPALIVE) {
                tracing::debug!(%remote, %error, "no keepalive on this session");
            }
            let shared = Arc::clone(&self.shared);
            let session = Session::new(Arc::clone(&shared), outbox.clone(), stop.clone(), remote);
            let (tls, stop) = (self.tls.clone(), stop.clone());
            sessions.spawn(async move {
                match tls {
                    None => session.run(socket).await,
                    Some(tls) => with_tls(&shared, session, &tls, socket, (remote, stop)).await,
                }
            });
        }
    }
}

async fn with_tls(
    shared: &Shared,
    session: Session,
    tls: &TlsAcceptor,
    socket: TcpStream,
    (remote, mut stop): (IpAddr, Stop),
) {
    let patience = secs(shared.config.message_timeout_secs);
    let shaken = tokio::select! {
        shaken = timeout(patience, tls.accept(socket)) => shaken,
        () = stopped(&mut stop) => return,
    };
    match shaken.unwrap_or_else(|_| Err(too_slow())) {
        Ok(socket) => session.run(socket).await,
        Err(error) => {
            shared.counts.refused_tls.one();
            tracing::warn!(%remote, %error, "router refused: no tls handshake");
        }
    }
}

/// A key without the line end that editors leave.
fn without_line_end(key: &[u8]) -> &[u8] {
    let key = key.strip_suffix(b"\n").unwrap_or(key);
    key.strip_suffix(b"\r").unwrap_or(key)
}
