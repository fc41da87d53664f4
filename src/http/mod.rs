//! The HTTP listener: samples in, rows, metrics and health out.
//!
//! [`config`] holds the keys, [`tokens`] who may speak, [`rtt`] what becomes of a body of samples, [`sql`] of a query,
//! [`mod@answer`] what is answered; what `/metrics` shows is [`crate::metrics`]' business. Everything is
//! bounded: sessions, the time of a head, of a request and of a session, bodies and their bytes.

mod answer;
pub mod config;
mod rtt;
mod sql;
mod tokens;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use analytics::lake::LakeRoot;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use ingest::samples::OwnersNow;
use ingest::source::counter::{Counter, Seldom};
use ingest::source::live::{Outbox, Stop, stopped};
use ingest::source::tls::TlsError;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::metrics::Metrics;
use answer::{Problem, answer};
use config::{HttpConfig, Scope};
use sql::Queries;
use tokens::Tokens;

/// How long `accept` rests after the system refused.
const ACCEPT_REST: Duration = Duration::from_millis(200);
/// How often the same refusal is told.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// Bytes of a request's head at most.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Headers of a request at most.
const HEADERS_MAX: usize = 64;
/// What Prometheus asks for.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Why there is no listener. One variant per remedy.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address cannot be had.
    #[error("cannot listen on {address}: {error}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// No TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// What is counted.
#[derive(Debug, Default)]
pub struct HttpCounts {
    /// Answers by path and status.
    requests: Mutex<BTreeMap<(&'static str, u16), u64>>,
    /// Bytes of bodies, as they were sent.
    pub body_bytes: Counter,
    /// Sessions served now.
    pub sessions: Counter,
    /// Sessions closed at once: `sessions_max` are served.
    pub refused_sessions: Counter,
    /// Sessions whose TLS handshake failed.
    pub refused_tls: Counter,
    /// Times that the system gave us none.
    pub accept_failed: Counter,
}

impl HttpCounts {
    fn request(&self, path: &'static str, status: StatusCode) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((path, status.as_u16())).or_default() += 1;
    }

    /// Answers by path and status.
    #[must_use]
    pub fn requests(&self) -> BTreeMap<(&'static str, u16), u64> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What all requests share.
struct Shared {
    config: HttpConfig,
    tokens: Tokens,
    /// The way to the intake, and who counts samples; none in a process that does not ingest.
    intake: Option<(Outbox, OwnersNow)>,
    /// The lake; none in a process that answers no queries.
    queries: Option<Queries>,
    bodies: Semaphore,
    counts: Arc<HttpCounts>,
    metrics: Arc<Metrics>,
}

/// A listener that is ready to [`run`](Self::run).
pub struct HttpListener {
    listener: std::net::TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    config: HttpConfig,
}

impl HttpListener {
    /// Takes the address.
    ///
    /// # Errors
    /// [`HttpError`] with its remedy.
    pub fn bind(config: &HttpConfig, address: SocketAddr) -> Result<Self, HttpError> {
        let tls = config.tls.as_ref().map(|files| files.server().map(TlsAcceptor::from));
        let tls = tls.transpose()?;
        let bind_error = |error| HttpError::Bind { address, error };
        let listener = std::net::TcpListener::bind(address).map_err(bind_error)?;
        listener.set_nonblocking(true).map_err(bind_error)?;
        let address = listener.local_addr().map_err(bind_error)?;
        Ok(Self { listener, address, tls, config: config.clone() })
    }

    /// The address that was taken, with its port.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves requests until the service stops.
    pub async fn run(
        self,
        intake: Option<(Outbox, OwnersNow)>,
        lake: Option<LakeRoot>,
        mut stop: Stop,
        metrics: Arc<Metrics>,
    ) {
        let Self { listener, tls, config, .. } = self;
        let listener = match TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(%error, "http listener not served");
                return;
            }
        };
        let counts = Arc::clone(&metrics.http);
        let shared = Arc::new(Shared {
            tokens: Tokens::new(&config),
            bodies: Semaphore::new(config.bodies_max.into()),
            intake,
            queries: lake.map(|root| Queries::new(root, &config)),
            counts: Arc::clone(&counts),
            metrics,
            config: config.clone(),
        });
        let router = router(shared);
        let (mut sessions, mut told) = (JoinSet::new(), Seldom::new(TELL_EVERY));
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(_) = sessions.join_next() => {
                    counts.sessions.set(sessions.len() as u64);
                    continue;
                }
                () = stopped(&mut stop) => break,
            };
            match accepted {
                Ok(_) if sessions.len() >= usize::from(config.sessions_max) => {
                    counts.refused_sessions.one();
                    if let Some(kept_back) = told.now() {
                        tracing::error!(kept_back, "http session closed: sessions_max are served");
                    }
                }
                Ok((socket, _)) => {
                    let session = Session {
                        router: router.clone(),
                        config: config.clone(),
                        counts: Arc::clone(&counts),
                        stop: stop.clone(),
                    };
                    sessions.spawn(session.run(socket, tls.clone()));
                    counts.sessions.set(sessions.len() as u64);
                }
                Err(error) => {
                    counts.accept_failed.one();
                    if let Some(kept_back) = told.now() {
                        tracing::error!(%error, kept_back, "accept failed, will be tried again");
                    }
                    tokio::time::sleep(ACCEPT_REST).await;
                }
            }
        }
        drop(listener);
        while sessions.join_next().await.is_some() {}
        counts.sessions.set(0);
    }
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route(rtt::PATH, post(rtt::post))
        .route(rtt::WRITE_PATH, post(rtt::write))
        .route(sql::PATH, post(sql::post))
        .route("/metrics", get(show_metrics))
        .route("/healthz", get(is_alive))
        .route("/readyz", get(is_ready))
        .method_not_allowed_fallback(|| async {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "not a method of this path")
        })
        .fallback(|State(shared): State<Arc<Shared>>| async move {
            shared.counts.request("other", StatusCode::NOT_FOUND);
            Problem::new(
                StatusCode::NOT_FOUND,
                "there are /v1/rtt, /v1/prometheus/write, /v1/sql, /metrics, /healthz and /readyz",
            )
        })
        .with_state(shared)
}

async fn show_metrics(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let tenant = if shared.config.metrics_without_token {
        Ok(None)
    } else {
        rtt::admit(&shared, &headers, Scope::Metrics).map(|grant| grant.tenant)
    };
    let response = match tenant {
        Ok(tenant) => answer(StatusCode::OK, OPEN_METRICS, shared.metrics.text(tenant.as_deref())),
        Err(problem) => problem.into_response(),
    };
    shared.counts.request("/metrics", response.status());
    response
}

/// The process answers.
async fn is_alive() -> Response {
    answer(StatusCode::OK, "text/plain", "ok\n".to_owned())
}

/// The intake appends to its log; a process that only answers queries has none.
async fn is_ready(State(shared): State<Arc<Shared>>) -> Response {
    let only_answers = shared.intake.is_none() && shared.queries.is_some();
    match shared.metrics.stalled_secs().filter(|_| !only_answers) {
        None => answer(StatusCode::OK, "text/plain", "ready\n".to_owned()),
        Some(_) => {
            Problem::busy("the log was not written lately: is its disk full?").into_response()
        }
    }
}

/// One session of a client.
struct Session {
    router: Router,
    config: HttpConfig,
    counts: Arc<HttpCounts>,
    stop: Stop,
}

impl Session {
    async fn run(self, socket: TcpStream, tls: Option<TlsAcceptor>) {
        // Answers are small and waited for.
        let _ = socket.set_nodelay(true);
        let Some(tls) = tls else { return self.serve(socket).await };
        let patience = Duration::from_secs(self.config.header_timeout_secs.into());
        match tokio::time::timeout(patience, tls.accept(socket)).await {
            Ok(Ok(socket)) => self.serve(socket).await,
            Ok(Err(_)) | Err(_) => self.counts.refused_tls.one(),
        }
    }

    async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send>(mut self, socket: S) {
        let secs = |secs: u32| Duration::from_secs(secs.into());
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(secs(self.config.header_timeout_secs))
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(socket), TowerToHyperService::new(self.router));
        let mut serving = std::pin::pin!(serving);
        tokio::select! {
            _ = serving.as_mut() => return,
            () = tokio::time::sleep(secs(self.config.session_secs_max)) => {}
            () = stopped(&mut self.stop) => {}
        }
        // What is being answered is answered; then the session is over.
        serving.as_mut().graceful_shutdown();
        let _ = tokio::time::timeout(secs(self.config.request_timeout_secs), serving).await;
    }
}
