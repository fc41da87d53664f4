//! Prometheus: pages of probing exporters, read every so often, one sample a target and page.
//!
//! What a page says is [`crate::decode::prometheus`]'s business. A page that cannot be had is counted
//! and told; the others go on, and the windows of its targets show the silence. A page that is read
//! again before it was made anew (`/federate`, whose lines carry their time) gives each probe once.
//!
//! [`config`] holds the keys.

pub mod config;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::samples::{Collector, OwnersNow, SampleSet, Scope};
use futures::StreamExt as _;
use reqwest::{Client, Url};
use schemas::sample::{Statistic, Target};
use schemas::tables::Text;
use schemas::time::{MICROS_PER_SEC, Timestamp};
use tokio::time::MissedTickBehavior;

use super::counter::{Counter, Seldom};
use super::live::{Outbox, Stop, Word, stopped, wall_clock};
use super::tls::{self, TlsError};
use crate::decode::prometheus::{Page, Probe, ProbeKey, address_of, page};
use crate::decode::rtt::{SampleError, SampleLine, rtt};
pub use config::{ProbeValue, PrometheusPages};

/// How often the same trouble is told.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// Targets of dated pages whose last probe is remembered.
const TARGETS_REMEMBERED_MAX: usize = 1 << 20;

/// Why there is no source. One variant per remedy.
#[derive(Debug, thiserror::Error)]
pub enum PrometheusError {
    /// No TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A token that cannot be read.
    #[error("{path}: {error}", path = path.display())]
    TokenFile {
        /// Its file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A page's address that is none.
    #[error("{url:?} is no URL")]
    Url {
        /// What was read.
        url: String,
    },
    /// No client.
    #[error("http client: {0}")]
    Client(#[from] reqwest::Error),
}

/// Why a page was not read.
#[derive(Debug, thiserror::Error)]
enum PageError {
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    #[error("more than page_bytes_max = {0} bytes")]
    TooLong(u32),
}

/// What was read, and what went wrong.
#[derive(Debug, Default)]
pub struct PrometheusCounts {
    /// Pages read.
    pub pages: Counter,
    /// Their bytes.
    pub bytes: Counter,
    /// Pages that could not be had.
    pub failed: Counter,
    /// Pages that were too long.
    pub too_long: Counter,
    /// Targets of which only a histogram was told.
    pub histograms: Counter,
}

/// Pages that are ready to be [`run`](Self::run).
pub struct PrometheusSource {
    name: Text,
    config: PrometheusPages,
    pages: Vec<(Url, Option<String>)>,
    token: Option<String>,
    client: Client,
    owners: OwnersNow,
    counts: Arc<PrometheusCounts>,
    /// Time of the last probe of a target, of pages that tell it.
    last: Mutex<HashMap<(usize, ProbeKey), Timestamp>>,
    told: Mutex<Seldom>,
}

impl PrometheusSource {
    /// A source whose rows are named `name`.
    ///
    /// # Errors
    /// [`PrometheusError`] with its remedy.
    pub fn new(
        name: &str,
        config: PrometheusPages,
        owners: OwnersNow,
    ) -> Result<Self, PrometheusError> {
        let page = |url: &String| match Url::parse(url) {
            Ok(parsed) => Ok((parsed.clone(), target_of(&parsed))),
            Err(_) => Err(PrometheusError::Url { url: url.clone() }),
        };
        let pages = config.urls.iter().map(page).collect::<Result<Vec<_>, _>>()?;
        let tls = if pages.iter().any(|(url, _)| url.scheme() == "https") {
            tls::client(config.ca.as_deref())?
        } else {
            tls::client_of_nobody()?
        };
        let token = match &config.token_file {
            Some(path) => {
                let unreadable = |error| PrometheusError::TokenFile { path: path.clone(), error };
                Some(std::fs::read_to_string(path).map_err(unreadable)?.trim().to_owned())
            }
            None => None,
        };
        let client = Client::builder()
            .tls_backend_preconfigured(Arc::unwrap_or_clone(tls))
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(config.timeout_secs.into()))
            .user_agent("peerscope")
            .no_proxy()
            .build()?;
        Ok(Self {
            name: name.into(),
            config,
            pages,
            token,
            client,
            owners,
            counts: Arc::default(),
            last: Mutex::default(),
            told: Mutex::new(Seldom::new(TELL_EVERY)),
        })
    }

    /// Counts on where another one stopped.
    #[must_use]
    pub fn counting(mut self, counts: Arc<PrometheusCounts>) -> Self {
        self.counts = counts;
        self
    }

    /// What is counted.
    #[must_use]
    pub fn counts(&self) -> Arc<PrometheusCounts> {
        Arc::clone(&self.counts)
    }

    /// Reads the pages until the service stops.
    pub async fn run(self, outbox: Outbox, mut stop: Stop) {
        let every = Duration::from_secs(self.config.interval_secs.into());
        let mut interval = tokio::time::interval(every);
        interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                _ = interval.tick() => {}
                () = stopped(&mut stop) => return,
            }
            let round = futures::stream::iter(0..self.pages.len())
                .for_each_concurrent(usize::from(self.config.at_once_max), |number| {
                    self.read(number, &outbox)
                });
            tokio::select! {
                () = round => {}
                () = stopped(&mut stop) => return,
            }
        }
    }

    /// Reads one page and tells what it says.
    async fn read(&self, number: usize, outbox: &Outbox) {
        let Some((url, target)) = self.pages.get(number) else { return };
        let began = wall_clock();
        let text = match self.fetch(url).await {
            Ok(text) => text,
            Err(error) => {
                match &error {
                    PageError::Http(_) => self.counts.failed.one(),
                    PageError::TooLong(_) => self.counts.too_long.one(),
                }
                let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(kept_back) = told.now() {
                    let (host, name) = (url.host_str().unwrap_or_default(), &self.name);
                    tracing::warn!(%name, host, %error, kept_back, "page not read, will be tried again");
                }
                return;
            }
        };
        self.counts.pages.one();
        self.counts.bytes.add(text.len() as u64);
        let page = page(&text);
        self.counts.histograms.add(page.histograms);
        let samples = Box::new(self.samples(number, target.as_deref(), &page, began));
        if samples.account.read > 0 {
            // Who does not listen any more is not told anything either.
            let _ = outbox.tell(0, Word::Samples { samples, answer: None }).await;
        }
    }

    async fn fetch(&self, url: &Url) -> Result<String, PageError> {
        let mut request = self.client.get(url.clone());
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        // The address of a page may hold a secret: errors do not show it.
        let http = |error: reqwest::Error| PageError::Http(error.without_url());
        let mut response =
            request.send().await.and_then(reqwest::Response::error_for_status).map_err(http)?;
        let bytes_max = usize::try_from(self.config.page_bytes_max).unwrap_or(usize::MAX);
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(http)? {
            if bytes.len() + chunk.len() > bytes_max {
                return Err(PageError::TooLong(self.config.page_bytes_max));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The samples of a page that was asked for at `began`.
    fn samples(
        &self,
        number: usize,
        target: Option<&str>,
        page: &Page,
        began: Timestamp,
    ) -> SampleSet {
        let scope = Scope { tenant: None, is_live: true };
        let owners = Arc::clone(&self.owners.borrow());
        let mut collector = Collector::new(&owners, scope);
        for _ in 0..page.refused {
            collector.refuse_line("malformed_field", 0, "not a line of metrics");
        }
        for _ in 0..page.histograms {
            collector.refuse_line("histogram", 0, "a histogram's buckets are no samples");
        }
        for (place, (key, probe)) in (0..).zip(&page.probes) {
            if probe.time.is_some_and(|time| !self.is_news(number, key, time)) {
                continue;
            }
            let of =
                if key.instance.is_empty() { target.unwrap_or_default() } else { &key.instance };
            if let Some(sample) = self.sample(of, probe, began) {
                collector.outcome(sample, place);
            }
        }
        collector.finish()
    }

    /// Whether a dated probe was not told yet.
    fn is_news(&self, number: usize, key: &ProbeKey, time: Timestamp) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() >= TARGETS_REMEMBERED_MAX {
            last.clear();
        }
        let before = last.insert((number, key.clone()), time);
        before.is_none_or(|before| before < time)
    }

    fn sample(
        &self,
        of: &str,
        probe: &Probe,
        began: Timestamp,
    ) -> Option<Result<SampleLine<'_>, SampleError>> {
        let secs = match self.config.value {
            ProbeValue::Icmp => probe.icmp_secs.filter(|secs| *secs > 0.0),
            ProbeValue::Duration => probe.duration_secs,
        };
        let rtt_us = match (probe.success, secs) {
            (Some(false), _) => None,
            (_, Some(secs)) => match rtt(secs * MICROS_PER_SEC as f64) {
                Ok(rtt_us) => Some(rtt_us),
                Err(error) => return Some(Err(error)),
            },
            // Answered, and not by a probe that tells a round trip.
            (Some(true), None) => return Some(Err(SampleError::Missing { field: "rtt_us" })),
            (None, None) => return None,
        };
        let Some(address) = address_of(of) else {
            let (field, value, wanted) = ("ip", of.to_owned(), "an address");
            return Some(Err(SampleError::Malformed { field, value, wanted }));
        };
        Some(Ok(SampleLine {
            time: probe.time.unwrap_or(began),
            target: Target::Address(address.to_canonical()),
            rtt_us,
            source: Cow::Borrowed(&self.name),
            connection: None,
            statistic: Statistic::Sample,
        }))
    }
}

/// The target that a page of blackbox_exporter is asked for.
fn target_of(url: &Url) -> Option<String> {
    url.query_pairs().find(|(key, _)| key == "target").map(|(_, value)| value.into_owned())
}
