//! Answers: what became of a request, as short JSON (RFC 9457 for what went wrong).

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use ingest::source::rtt_body::{BodyError, OTHER_TENANT};
use schemas::batch::Account;
use serde_json::{Map, Value, json};

/// Seconds after which a request that was put off may come again.
const RETRY_AFTER_SECS: u32 = 1;

/// Why a request was not done.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    detail: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into() }
    }

    pub(super) fn unauthorized() -> Self {
        let detail = "send Authorization: Bearer TOKEN with a token that is configured";
        Self::new(StatusCode::UNAUTHORIZED, detail)
    }

    pub(super) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    pub(super) fn too_many() -> Self {
        let detail = "more than requests_per_sec_max; put more samples into one body";
        Self::new(StatusCode::TOO_MANY_REQUESTS, detail)
    }

    pub(super) fn busy(detail: &'static str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    pub(super) fn too_large(bytes_max: usize) -> Self {
        let detail = format!("a body has {bytes_max} bytes at most; send it in parts");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        let status = match error {
            BodyError::MediaType { .. } | BodyError::Encoding { .. } | BodyError::Unrecognised => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            BodyError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            BodyError::Damaged { .. } | BodyError::Header(_) => StatusCode::BAD_REQUEST,
        };
        Self::new(status, error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or("refused");
        let body = json!({
            "title": title, "status": self.status.as_u16(), "detail": self.detail,
        });
        let mut response = answer(self.status, "application/problem+json", body.to_string());
        let mut set = |name: HeaderName, value| response.headers_mut().insert(name, value);
        if self.status == StatusCode::UNAUTHORIZED {
            set(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        let is_put_off =
            [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&self.status);
        if is_put_off {
            set(RETRY_AFTER, RETRY_AFTER_SECS.into());
        }
        response
    }
}

/// Any answer.
pub(super) fn answer(status: StatusCode, media_type: &'static str, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// What became of the samples of a body, all of them durable that were accepted. A tenant is not told
/// what belongs to others.
pub(super) fn counts(account: &Account, refusals: &[String], is_tenant: bool) -> Response {
    let told = account.reasons.iter().filter(|(reason, _)| !is_tenant || reason != OTHER_TENANT);
    let reasons: Map<String, Value> =
        told.map(|(reason, count)| (reason.clone(), (*count).into())).collect();
    let mut body = json!({
        "read": account.read,
        "accepted": account.accepted,
        "unmatched": account.unmatched,
        "quarantined": account.quarantined,
        "refused": account.refused,
        "reasons": reasons,
    });
    if let (Some(body), false) = (body.as_object_mut(), refusals.is_empty()) {
        body.insert("refusals".to_owned(), refusals.into());
    }
    let is_lost = account.read > 0 && account.refused == account.read;
    let status = if is_lost { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    answer(status, "application/json", body.to_string())
}
