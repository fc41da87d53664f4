//! The configuration: one TOML file in, checked settings out. Every error names file, line, column
//! and a remedy.
//!
//! Settings stand beside the code that obeys them ([`DetectOptions`], [`LatencyOptions`],
//! [`schemas::connection::Connection`]); this module only composes them.

mod error;
mod keys;
mod lake;
mod source;
mod source_keys;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use analytics::detect::DetectOptions;
use analytics::lake::identity::sha256_hex;
use analytics::latency::window::LatencyOptions;
use ingest::decode::mapping::Mapping;
use ingest::log::kafka::config::KafkaLogConfig;
use ingest::session::interest::Keep;
use ingest::source::rtr::RtrOptions;
use schemas::connection::{Connection, WatchedAs};
use schemas::registry::Registry;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::http::config::HttpConfig;
pub use error::ConfigError;
pub use keys::markdown;
pub use lake::LakeConfig;
pub use source::{FileSource, Source};

/// Where a configuration is looked for when none is named.
pub const DEFAULT_FILE: &str = "peerscope.toml";

/// The lake when none is named.
pub const DEFAULT_LAKE: &str = "./lake";

/// The embedded log when none is named.
pub const DEFAULT_LOG: &str = "./peerscope-log";

/// `[log]`: what becomes part of the log, and where it lies.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// `ours`: routes that touch a registered prefix or pass a watched AS; `all`: every route.
    pub keep: Keep,
    /// Folder of the embedded log, relative to the working folder, as the lake is.
    pub path: PathBuf,
    /// Number of its partitions; fixed when it is made.
    pub partitions: u32,
    /// Bytes at which a segment is closed.
    pub segment_bytes: u64,
    /// Bytes of the whole log at most.
    pub bytes_max: u64,
    /// What is further behind gives rows only: it changes no routing state and no finding.
    pub backfill_after_secs: u32,
    /// Longest drain after a stop.
    pub shutdown_secs: u32,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            keep: Keep::default(),
            path: PathBuf::from(DEFAULT_LOG),
            partitions: 1,
            segment_bytes: 256 << 20,
            bytes_max: 64 << 30,
            backfill_after_secs: 86_400,
            shutdown_secs: 30,
        }
    }
}

impl LogConfig {
    /// What is wrong with the values, if anything.
    fn check(&self) -> Result<(), &'static str> {
        if !(1..=1_024).contains(&self.partitions) {
            Err("partitions is between 1 and 1024")
        } else if self.segment_bytes < 1 << 12 {
            Err("segment_bytes is at least 4096")
        } else if self.bytes_max < self.segment_bytes {
            Err("bytes_max is at least segment_bytes")
        } else {
            Ok(())
        }
    }
}

/// The input that the HTTP listener is.
pub const HTTP_INPUT: &str = "http";

/// `[reference]`: slow facts, all optional, paths relative to the configuration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReferenceConfig {
    /// CAIDA AS relationships, serial-1 or serial-2.
    pub as_relationships: Option<PathBuf>,
    /// VRPs: JSON or CSV of a relying party.
    pub vrps: Option<PathBuf>,
    /// ASPAs: JSON of a relying party.
    pub aspas: Option<PathBuf>,
    /// AS number to organisation.
    pub organisations: Option<PathBuf>,
    /// MMDB file, or a folder of them: City, Country, ASN.
    pub geoip: Option<PathBuf>,
    /// Edge catalogue.
    pub edges: Option<PathBuf>,
    /// Host and port of a cache that tells VRPs to a running service (RTR, RFC 8210).
    pub rtr: Option<String>,
    /// Seconds between two questions to it; absent: as it says.
    pub rtr_refresh_secs: Option<u32>,
    /// Seconds after which it is dialled again; absent: as it says.
    pub rtr_retry_secs: Option<u32>,
    /// Seconds without an answer after which its VRPs count no more; absent: as it says.
    pub rtr_expire_secs: Option<u32>,
}

impl ReferenceConfig {
    /// What is wrong with the values, if anything.
    fn check(&self) -> Result<(), String> {
        let secs = [self.rtr_refresh_secs, self.rtr_retry_secs, self.rtr_expire_secs];
        match &self.rtr {
            Some(_) if self.vrps.is_some() => {
                Err("vrps and rtr both name VRPs; keep one of them".to_owned())
            }
            Some(rtr)
                if rtr.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_err()) =>
            {
                Err(format!("rtr = {rtr:?} names no port, such as \"127.0.0.1:8282\""))
            }
            Some(_) if secs.contains(&Some(0)) => {
                Err("rtr_refresh_secs, rtr_retry_secs and rtr_expire_secs are at least 1"
                    .to_owned())
            }
            None if secs.iter().any(Option::is_some) => {
                Err("rtr_refresh_secs, rtr_retry_secs and rtr_expire_secs need rtr".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// What a client of the cache is to do, if there is one.
    #[must_use]
    pub fn rtr_options(&self) -> Option<RtrOptions> {
        Some(RtrOptions {
            address: self.rtr.clone()?,
            refresh_secs: self.rtr_refresh_secs,
            retry_secs: self.rtr_retry_secs,
            expire_secs: self.rtr_expire_secs,
        })
    }
}

/// The file as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    lake: LakeConfig,
    log: LogConfig,
    kafka: KafkaLogConfig,
    connection: Vec<Connection>,
    asn: Vec<WatchedAs>,
    reference: ReferenceConfig,
    /// Read apart: each by its kind.
    source: BTreeMap<String, IgnoredAny>,
    http: HttpConfig,
    latency: LatencyOptions,
    detect: DetectOptions,
}

/// Checked settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[lake]`
    pub lake: LakeConfig,
    /// `[log]`
    pub log: LogConfig,
    /// `[kafka]`, with paths made absolute or relative to the working folder
    pub kafka: KafkaLogConfig,
    /// `[[connection]]` and `[[asn]]`
    pub registry: Arc<Registry>,
    /// `[reference]`, with paths made absolute or relative to the working folder
    pub reference: ReferenceConfig,
    /// `[source.*]`
    pub sources: BTreeMap<String, Source>,
    /// `[http]`
    pub http: HttpConfig,
    /// `[latency]`
    pub latency: LatencyOptions,
    /// `[detect]`
    pub detect: DetectOptions,
}

impl Config {
    /// Reads the file that is named, else `$PEERSCOPE_CONFIG` (given by the caller), else
    /// `./peerscope.toml`.
    ///
    /// # Errors
    /// [`ConfigError`] with its place and a remedy.
    pub fn load(named: Option<&Path>) -> Result<Self, ConfigError> {
        let path = named.unwrap_or_else(|| Path::new(DEFAULT_FILE));
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable {
            path: path.to_owned(),
            error,
            is_default: named.is_none(),
        })?;
        Self::parse(&text, path)
    }

    /// Checks a text that was read from `path`.
    ///
    /// # Errors
    /// [`ConfigError`] with its place and a remedy.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let file: File =
            toml::from_str(text).map_err(|error| ConfigError::syntax(text, path, &error))?;
        let sources = source::sources_of(text, path)?;
        file.log.check().map_err(|problem| {
            let at = text.find("[log]").unwrap_or(0);
            ConfigError::wrong(text, path, at, problem.to_owned())
        })?;
        let mut kafka = file.kafka;
        kafka.check().and_then(|()| names_fit(&kafka, &sources)).map_err(|problem| {
            let at = text.find("[kafka]").unwrap_or(0);
            ConfigError::wrong(text, path, at, problem)
        })?;
        let mut lake = file.lake;
        lake.check().map_err(|problem| {
            let at = text.find("[lake]").unwrap_or(0);
            ConfigError::wrong(text, path, at, problem)
        })?;
        let mut http = file.http;
        http.check().and_then(|()| is_free(&http, &sources)).map_err(|problem| {
            let at = text.find("[http]").or_else(|| text.find("[[http.token]]")).unwrap_or(0);
            ConfigError::wrong(text, path, at, problem)
        })?;
        file.reference.check().map_err(|problem| {
            let at = text.find("rtr").unwrap_or(0);
            ConfigError::wrong(text, path, at, problem)
        })?;
        let registry = Registry::new(1, file.connection, file.asn)
            .map_err(|error| ConfigError::registry(text, path, &error))?;
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        for path in http.paths_mut().into_iter().chain(kafka.paths_mut()) {
            *path = folder.join(&*path);
        }
        lake.credentials_file = lake.credentials_file.map(|path| folder.join(path));
        let beside = |path: Option<PathBuf>| path.map(|path| folder.join(path));
        let reference = ReferenceConfig {
            as_relationships: beside(file.reference.as_relationships),
            vrps: beside(file.reference.vrps),
            aspas: beside(file.reference.aspas),
            organisations: beside(file.reference.organisations),
            geoip: beside(file.reference.geoip),
            edges: beside(file.reference.edges),
            ..file.reference
        };
        Ok(Self {
            lake,
            log: file.log,
            kafka,
            registry: Arc::new(registry),
            reference,
            sources,
            http,
            latency: file.latency,
            detect: file.detect,
        })
    }

    /// SHA-256 over what rows depend on: registry, sources, detection and latency settings; no path.
    #[must_use]
    pub fn hash(&self) -> String {
        let sources: BTreeMap<_, _> =
            self.sources.iter().map(|(name, source)| (name, source.settings())).collect();
        let settings = serde_json::json!({
            "registry": &*self.registry,
            "keep": self.log.keep,
            "sources": sources,
            "latency": &self.latency,
            "detect": &self.detect,
        });
        sha256_hex(settings.to_string().as_bytes())
    }

    /// Sections that differ and cannot change while a service runs.
    pub(crate) fn differing(&self, other: &Self) -> Vec<&'static str> {
        let rtr = |config: &Self| config.reference.rtr_options();
        let differs = [
            ("[lake]", format!("{:?}", self.lake) != format!("{:?}", other.lake)),
            ("[log]", format!("{:?}", self.log) != format!("{:?}", other.log)),
            ("[source.*]", format!("{:?}", self.sources) != format!("{:?}", other.sources)),
            ("[http]", format!("{:?}", self.http) != format!("{:?}", other.http)),
            ("[reference] rtr", rtr(self) != rtr(other)),
        ];
        differs.into_iter().filter(|(_, differs)| *differs).map(|(section, _)| section).collect()
    }

    /// Another configuration, as far as it may change while a service runs.
    pub(crate) fn reloaded(&self, found: Self) -> Self {
        let ReferenceConfig { rtr, rtr_refresh_secs, rtr_retry_secs, rtr_expire_secs, .. } =
            self.reference.clone();
        let reference = ReferenceConfig {
            rtr,
            rtr_refresh_secs,
            rtr_retry_secs,
            rtr_expire_secs,
            ..found.reference
        };
        Self {
            lake: self.lake.clone(),
            log: self.log.clone(),
            sources: self.sources.clone(),
            http: self.http.clone(),
            reference,
            ..found
        }
    }

    /// How samples of another form are read out of a file of that name, if a `[source.*]` says so.
    #[must_use]
    pub fn mapping_of(&self, file_name: &str) -> Option<&Mapping> {
        let files = self.sources.values().filter_map(Source::files);
        files.filter(|source| source.matches(file_name)).find_map(|source| source.fields.as_ref())
    }

    /// The collector of a file by its name, if a `[source.*]` gives one.
    #[must_use]
    pub fn collector_of(&self, file_name: &str) -> Option<&str> {
        self.sources
            .values()
            .filter_map(Source::files)
            .find(|source| source.matches(file_name))
            .and_then(|source| source.collector.as_deref())
    }
}

/// Whether the listener's input has a name of its own.
fn is_free(http: &HttpConfig, sources: &BTreeMap<String, Source>) -> Result<(), String> {
    if http.listen.is_some() && sources.contains_key(HTTP_INPUT) {
        Err(format!("[source.{HTTP_INPUT}] has the name of this listener's input; rename it"))
    } else {
        Ok(())
    }
}

/// Whether names of sources can stand in the log over Kafka: `@` parts a listener from its process.
fn names_fit(kafka: &KafkaLogConfig, sources: &BTreeMap<String, Source>) -> Result<(), String> {
    let is_taken = |name: &&String| name.contains(['@', '\n', '\t']) || **name == "input";
    match sources.keys().find(|name| kafka.is_on() && is_taken(name)) {
        Some(name) => {
            Err(format!("[source.{name:?}]: over Kafka no source is called so; rename it"))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
