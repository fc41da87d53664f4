//! `[source.NAME]` with `kind = "prometheus"`: the keys.

use std::path::PathBuf;

use reqwest::Url;
use serde::{Deserialize, Serialize};

/// `kind = "prometheus"`: pages of probing exporters, read every so often.
///
/// One sample a target and page. The rows name the source as the configuration does: give each place
/// that probes a source of its own.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PrometheusPages {
    /// Pages: probes of blackbox_exporter (`/probe?module=icmp&target=192.0.2.7`), or a page with
    /// `instance` labels, such as `/federate` of a Prometheus.
    pub urls: Vec<String>,
    /// What a round trip is.
    pub value: ProbeValue,
    /// How often the pages are read.
    pub interval_secs: u32,
    /// How long one page may take.
    pub timeout_secs: u32,
    /// Longest page.
    pub page_bytes_max: u32,
    /// Pages read at once.
    pub at_once_max: u16,
    /// Roots of the servers' certificates, PEM; absent: those of the system.
    pub ca: Option<PathBuf>,
    /// File that holds a bearer token for the pages.
    pub token_file: Option<PathBuf>,
}

/// What a round trip is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeValue {
    /// `probe_icmp_duration_seconds{phase="rtt"}`: the round trip of an ICMP probe.
    #[default]
    Icmp,
    /// `probe_duration_seconds`: the whole probe, with name lookup and handshakes.
    Duration,
}

/// Pages of one source at most.
const URLS_MAX: usize = 10_000;

impl Default for PrometheusPages {
    fn default() -> Self {
        Self {
            urls: Vec::new(),
            value: ProbeValue::default(),
            interval_secs: 15,
            timeout_secs: 10,
            page_bytes_max: 4 << 20,
            at_once_max: 16,
            ca: None,
            token_file: None,
        }
    }
}

impl PrometheusPages {
    /// What is wrong with the values, if anything.
    ///
    /// # Errors
    /// The problem in words.
    pub fn check(&self) -> Result<(), String> {
        if self.urls.is_empty() {
            return Err("urls is empty; give [\"http://127.0.0.1:9115/probe?module=icmp&target=\
                        192.0.2.7\"] or the like"
                .to_owned());
        }
        if self.urls.len() > URLS_MAX {
            return Err(format!("urls has more than {URLS_MAX} pages; make it several sources"));
        }
        for url in &self.urls {
            let is_http = |url: Url| matches!(url.scheme(), "http" | "https") && url.has_host();
            if !Url::parse(url).is_ok_and(is_http) {
                return Err(format!("{url:?} is not of the form http://host/path"));
            }
        }
        if self.interval_secs == 0 || self.timeout_secs == 0 {
            Err("interval_secs and timeout_secs are at least 1".to_owned())
        } else if self.at_once_max == 0 {
            Err("at_once_max is at least 1".to_owned())
        } else if self.page_bytes_max < 1024 {
            Err("page_bytes_max is at least 1024".to_owned())
        } else {
            Ok(())
        }
    }

    /// The files that are named, for the caller to make paths absolute.
    pub fn paths_mut(&mut self) -> Vec<&mut PathBuf> {
        self.ca.iter_mut().chain(&mut self.token_file).collect()
    }
}
