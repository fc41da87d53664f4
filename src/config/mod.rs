//! The configuration: one TOML file in, checked settings out. Every error names file, line, column
//! and a remedy.
//!
//! Settings stand beside the code that obeys them ([`DetectOptions`], [`LatencyOptions`],
//! [`schemas::connection::Connection`]); this module only composes them.

mod error;
mod keys;
mod source;
mod source_keys;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use analytics::detect::DetectOptions;
use analytics::lake::identity::sha256_hex;
use analytics::latency::window::LatencyOptions;
use ingest::decode::mapping::Mapping;
use ingest::session::interest::Keep;
use schemas::connection::{Connection, WatchedAs};
use schemas::registry::Registry;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::http::config::HttpConfig;
pub use error::ConfigError;
pub use keys::markdown;
pub use source::{FileSource, Source};

/// Where a configuration is looked for when none is named.
pub const DEFAULT_FILE: &str = "peerscope.toml";

/// The lake when none is named.
pub const DEFAULT_LAKE: &str = "./lake";

/// `[lake]`: where rows go.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LakeConfig {
    /// Folder of the lake, or `file:///...`.
    pub url: String,
    /// A running service closes its files after this long.
    pub commit_secs: u32,
}

impl Default for LakeConfig {
    fn default() -> Self {
        Self { url: DEFAULT_LAKE.to_owned(), commit_secs: 60 }
    }
}

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
        } else if self.segment_bytes < 1 << 20 {
            Err("segment_bytes is at least 1048576")
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
}

/// The file as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    lake: LakeConfig,
    log: LogConfig,
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
        let mut http = file.http;
        http.check().and_then(|()| is_free(&http, &sources)).map_err(|problem| {
            let at = text.find("[http]").or_else(|| text.find("[[http.token]]")).unwrap_or(0);
            ConfigError::wrong(text, path, at, problem)
        })?;
        let registry = Registry::new(1, file.connection, file.asn)
            .map_err(|error| ConfigError::registry(text, path, &error))?;
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        for path in http.paths_mut() {
            *path = folder.join(&*path);
        }
        let beside = |path: Option<PathBuf>| path.map(|path| folder.join(path));
        let reference = ReferenceConfig {
            as_relationships: beside(file.reference.as_relationships),
            vrps: beside(file.reference.vrps),
            aspas: beside(file.reference.aspas),
            organisations: beside(file.reference.organisations),
            geoip: beside(file.reference.geoip),
            edges: beside(file.reference.edges),
        };
        Ok(Self {
            lake: file.lake,
            log: file.log,
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

#[cfg(test)]
mod tests;
