//! The role that serves: queries over HTTP from a lake that others write. It takes no lock, reads no log and
//! may run as often as one likes.

use std::sync::Arc;
use std::time::Duration;

use analytics::fold::Committed;
use analytics::lake::Store;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Outcome, Request, RunError, signalled};
use crate::config::HTTP_INPUT;
use crate::http::HttpListener;
use crate::metrics::Metrics;
use crate::replay::ReplayError;

/// Answers until it is told to stop.
///
/// # Errors
/// [`RunError`] if there is no lake, or no address to listen on.
pub(super) fn run(
    request: &Request<'_>,
    ready: impl FnOnce(&[(String, String)]),
) -> Result<Outcome, RunError> {
    let http = &request.config.http;
    let address = http.listen.ok_or(RunError::NoListener)?;
    // A lake that is not there is told at once.
    Store::read_at(request.lake).map_err(ReplayError::from)?;
    let listener = HttpListener::bind(http, address)?;
    let runtime = crate::command::runtime().map_err(RunError::Thread)?;
    let secs = request.config.log.shutdown_secs;
    let done = runtime.block_on(async {
        ready(&[(HTTP_INPUT.to_owned(), listener.address().to_string())]);
        let (stop, stopping) = watch::channel(false);
        let metrics = Arc::new(Metrics::default());
        let mut serving = JoinSet::new();
        serving.spawn(listener.run(None, Some(request.lake.clone()), stopping, metrics));
        tokio::select! {
            () = signalled() => tracing::info!("stopping"),
            _ = serving.join_next() => return Ok(()),
        }
        let _ = stop.send(true);
        let drained = async { while serving.join_next().await.is_some() {} };
        let drained = tokio::time::timeout(Duration::from_secs(secs.into()), drained).await;
        drained.map_err(|_| RunError::Deadline { secs })
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    done.map(|()| Outcome { rows: Committed::new(), inputs: Vec::new() })
}
