//! `POST /v1/rtt`: a body of samples in, what became of them out, once they are durable. So does
//! `POST /v1/prometheus/write` with what a Prometheus writes.
//!
//! Who speaks is asked before a byte of the body is read. Bodies are read and matched beside the
//! intake, a bounded number at once; the intake appends them and answers after its fsync. Whoever is
//! not answered in time is told to come again if nothing was taken by then: then it never will be. What
//! was taken is waited for once more as long, and who is still not answered is told that it was.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ORIGIN};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse as _, Response};
use futures::StreamExt as _;
use ingest::samples::{Owners, SampleSet};
use ingest::source::live::{Outbox, Word, delivery};
use ingest::source::remote_write;
use ingest::source::rtt_body::{self, BodyFormat, Encoding};
use schemas::batch::Account;
use tokio::sync::SemaphorePermit;
use tokio::time::Instant;

use super::Shared;
use super::answer::{Problem, counts};
use super::config::Scope;
use super::tokens::Grant;

/// The paths, as metrics name them.
pub(super) const PATH: &str = "/v1/rtt";
pub(super) const WRITE_PATH: &str = "/v1/prometheus/write";

/// What a body is.
#[derive(Clone, Copy)]
enum Form {
    /// Samples in one of our forms.
    Body(Option<BodyFormat>, Encoding),
    /// Prometheus remote write.
    RemoteWrite,
}

/// Takes a body of samples.
pub(super) async fn post(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    done(&shared, request, PATH).await
}

/// Takes what a Prometheus writes.
pub(super) async fn write(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    done(&shared, request, WRITE_PATH).await
}

async fn done(shared: &Arc<Shared>, request: Request, path: &'static str) -> Response {
    let patience = Duration::from_secs(shared.config.request_timeout_secs.into());
    let until = Instant::now() + patience;
    let late = || Problem::busy("not read in time, send it again");
    let read = tokio::time::timeout_at(until, read(shared, request, path)).await;
    let response = match read.unwrap_or_else(|_| Err(late())) {
        Ok(read) => {
            let is_tenant = read.is_tenant;
            let refusals = read.samples.refusals.clone();
            match confirmed(read, until, patience).await {
                Ok(account) => counts(&account, &refusals, is_tenant),
                Err(problem) => problem.into_response(),
            }
        }
        Err(problem) => problem.into_response(),
    };
    shared.counts.request(path, response.status());
    response
}

/// A body that was read.
struct Read<'s> {
    samples: SampleSet,
    is_tenant: bool,
    outbox: &'s Outbox,
    /// Its place among the bodies that are read at once.
    _place: SemaphorePermit<'s>,
}

async fn read<'s>(
    shared: &'s Arc<Shared>,
    request: Request,
    path: &'static str,
) -> Result<Read<'s>, Problem> {
    let (parts, body) = request.into_parts();
    let grant = admit(shared, &parts.headers, Scope::Rtt)?;
    let Some((outbox, owners)) = &shared.intake else {
        let detail = "this process does not ingest; ask one with --role ingest";
        return Err(Problem::new(StatusCode::NOT_FOUND, detail));
    };
    let form = if path == WRITE_PATH {
        Form::RemoteWrite
    } else {
        let format = BodyFormat::of_media_type(text(&parts.headers, CONTENT_TYPE))?;
        Form::Body(format, Encoding::of(text(&parts.headers, CONTENT_ENCODING))?)
    };
    let bytes_max = usize::try_from(shared.config.body_bytes_max).unwrap_or(usize::MAX);
    let told = text(&parts.headers, CONTENT_LENGTH).parse::<usize>().ok();
    if told.is_some_and(|bytes| bytes > bytes_max) {
        return Err(Problem::too_large(bytes_max));
    }
    let Ok(place) = shared.bodies.try_acquire() else {
        return Err(Problem::busy("bodies_max are being read, come again"));
    };
    let body = whole(body, bytes_max, shared).await?;
    shared.counts.body_bytes.add(body.len() as u64);
    let is_tenant = grant.tenant.is_some();
    let owners = Arc::clone(&owners.borrow());
    let samples = matched(owners, body, (form, bytes_max), grant).await?;
    Ok(Read { samples, is_tenant, outbox, _place: place })
}

/// Who speaks, if they may. A web page may not: whoever opens one on this machine has not asked for it.
pub(super) fn admit(shared: &Shared, headers: &HeaderMap, scope: Scope) -> Result<Grant, Problem> {
    if headers.contains_key(ORIGIN) {
        return Err(Problem::forbidden("requests of web pages are not taken"));
    }
    let authorization = headers.get(AUTHORIZATION).map(|value| value.as_bytes());
    shared.tokens.admit(authorization, scope)
}

/// A header as text; empty where there is none.
fn text(headers: &HeaderMap, name: HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The whole body, as it was sent. A client that stalls is given up with an answer.
pub(super) async fn whole(
    body: Body,
    bytes_max: usize,
    shared: &Shared,
) -> Result<Vec<u8>, Problem> {
    let patience = Duration::from_secs(shared.config.header_timeout_secs.into());
    let mut pieces = body.into_data_stream();
    let mut whole = Vec::new();
    loop {
        let Ok(piece) = tokio::time::timeout(patience, pieces.next()).await else {
            let detail = "nothing came for header_timeout_secs";
            return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail));
        };
        match piece {
            None => return Ok(whole),
            Some(Ok(piece)) if whole.len() + piece.len() <= bytes_max => {
                whole.extend_from_slice(&piece);
            }
            Some(Ok(_)) => return Err(Problem::too_large(bytes_max)),
            Some(Err(error)) => {
                return Err(Problem::new(StatusCode::BAD_REQUEST, error.to_string()));
            }
        }
    }
}

/// Unpacks, reads and matches a body, beside the threads that serve others.
async fn matched(
    owners: Arc<Owners>,
    body: Vec<u8>,
    (form, bytes_max): (Form, usize),
    grant: Grant,
) -> Result<SampleSet, Problem> {
    let reading = tokio::task::spawn_blocking(move || {
        let tenant = grant.tenant.as_deref();
        match form {
            Form::RemoteWrite => remote_write::read(&body, bytes_max, &owners, tenant),
            Form::Body(format, encoding) => {
                let body = rtt_body::plain(body, encoding, bytes_max)?;
                rtt_body::read(&body, format, &owners, tenant)
            }
        }
    });
    let read = reading.await.map_err(|_| Problem::busy("the body was not read"))?;
    Ok(read?)
}

/// Hands the samples to the intake and waits until they are durable.
async fn confirmed(read: Read<'_>, until: Instant, patience: Duration) -> Result<Account, Problem> {
    let Read { samples, outbox, .. } = read;
    if samples.account.read == 0 {
        return Ok(samples.account);
    }
    let (answer, mut claim) = delivery();
    let word = Word::Samples { samples: Box::new(samples), answer: Some(answer) };
    let again = || Problem::busy("not taken in time, send it again");
    let told = tokio::time::timeout_at(until, outbox.tell(0, word)).await;
    told.map_err(|_| again())?.map_err(|_| Problem::busy("the service stops"))?;
    let mut confirmed = tokio::time::timeout_at(until, claim.confirmed()).await;
    if confirmed.is_err() {
        if claim.give_up() {
            return Err(again());
        }
        confirmed = tokio::time::timeout_at(until + patience, claim.confirmed()).await;
    }
    match confirmed {
        Ok(Some(account)) => Ok(account),
        Ok(None) if claim.give_up() => Err(Problem::busy("not confirmed, send it again")),
        Ok(None) | Err(_) => Err(Problem::new(
            StatusCode::GATEWAY_TIMEOUT,
            "taken, and not durable yet: it will be unless the service is killed before, so that \
             sending it again may count it twice",
        )),
    }
}
