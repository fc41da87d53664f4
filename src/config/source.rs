//! `[source.*]`: where bytes come from, and what is known of them.
//!
//! A source without `kind` is a rule for archive files; the others are live, and their keys stand
//! beside the code that obeys them. Each is read from its own part of the document, so that an error
//! knows its line and column.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ingest::decode::mapping::Mapping;
use ingest::source::bmp_listener::BmpListener;
use ingest::source::folder::FollowedFolder;
use ingest::source::kafka::KafkaTopics;
use ingest::source::pattern::fits;
use ingest::source::prometheus::PrometheusPages;
use ingest::source::ris_live::RisLive;
use serde::de::IntoDeserializer as _;
use serde::{Deserialize, Serialize};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::ConfigError;

/// Words that `kind` takes.
const KINDS: [&str; 5] = ["bmp_listener", "folder", "kafka", "prometheus", "ris_live"];

/// `[source.NAME]`.
#[derive(Clone, Debug)]
pub enum Source {
    /// A rule for archive files.
    Files(FileSource),
    /// Routers dial in.
    BmpListener(BmpListener),
    /// Files that appear in a folder.
    Folder(FollowedFolder),
    /// Topics.
    Kafka(KafkaTopics),
    /// Pages of exporters.
    Prometheus(PrometheusPages),
    /// RIPE's websocket.
    RisLive(RisLive),
}

impl Source {
    /// The rule for archive files, if it is one.
    #[must_use]
    pub const fn files(&self) -> Option<&FileSource> {
        match self {
            Self::Files(files) => Some(files),
            _ => None,
        }
    }

    /// What rows depend on: no path, no address, no limit.
    pub(super) fn settings(&self) -> serde_json::Value {
        use serde_json::json;
        match self {
            Self::Files(files) => json!(files),
            Self::BmpListener(BmpListener { collector, vrfs, .. }) => {
                json!({ "kind": "bmp_listener", "collector": collector, "vrfs": vrfs })
            }
            Self::Folder(FollowedFolder { collector, vrfs, fields, .. }) => {
                json!({ "kind": "folder", "collector": collector, "vrfs": vrfs, "fields": fields })
            }
            Self::Kafka(KafkaTopics { collector, vrfs, format, collector_asn, .. }) => json!({
                "kind": "kafka", "collector": collector, "vrfs": vrfs, "format": format,
                "collector_asn": collector_asn,
            }),
            Self::Prometheus(PrometheusPages { value, .. }) => {
                json!({ "kind": "prometheus", "value": value })
            }
            Self::RisLive(RisLive { collector, .. }) => {
                json!({ "kind": "ris_live", "collector": collector })
            }
        }
    }

    fn check(&self) -> Result<(), String> {
        match self {
            Self::Files(files) => files.check().map_err(str::to_owned),
            Self::BmpListener(listener) => listener.check(),
            Self::Folder(folder) => folder.check(),
            Self::Kafka(topics) => topics.check(),
            Self::Prometheus(pages) => pages.check(),
            Self::RisLive(ris) => ris.check(),
        }
    }

    fn paths_mut(&mut self) -> Vec<&mut PathBuf> {
        match self {
            Self::Files(_) => Vec::new(),
            Self::BmpListener(listener) => listener.paths_mut(),
            Self::Folder(folder) => folder.paths_mut(),
            Self::Kafka(topics) => topics.paths_mut(),
            Self::Prometheus(pages) => pages.paths_mut(),
            Self::RisLive(ris) => ris.paths_mut(),
        }
    }
}

/// Reads all `[source.*]` of a document that was read from `path`; relative paths in them become
/// relative to its folder.
pub(super) fn sources_of(text: &str, path: &Path) -> Result<BTreeMap<String, Source>, ConfigError> {
    let document = DeTable::parse(text).map_err(|error| ConfigError::syntax(text, path, &error))?;
    let Some(sources) = document.into_inner().remove("source") else { return Ok(BTreeMap::new()) };
    let DeValue::Table(sources) = sources.into_inner() else { return Ok(BTreeMap::new()) };
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut read = BTreeMap::new();
    for (name, value) in sources {
        let name = name.into_inner().into_owned();
        let at = value.span().start;
        let mut source = source_of(value, text, path)?;
        source.check().map_err(|problem| ConfigError::wrong(text, path, at, problem))?;
        for path in source.paths_mut() {
            *path = folder.join(&*path);
        }
        read.insert(name, source);
    }
    Ok(read)
}

fn source_of(
    mut value: Spanned<DeValue<'_>>,
    text: &str,
    path: &Path,
) -> Result<Source, ConfigError> {
    let kind = match value.get_mut() {
        DeValue::Table(table) => table.remove("kind"),
        _ => None,
    };
    let Some(kind) = kind else { return read(value, text, path).map(Source::Files) };
    match kind.get_ref().as_str() {
        Some("bmp_listener") => read(value, text, path).map(Source::BmpListener),
        Some("folder") => read(value, text, path).map(Source::Folder),
        Some("kafka") => read(value, text, path).map(Source::Kafka),
        Some("prometheus") => read(value, text, path).map(Source::Prometheus),
        Some("ris_live") => read(value, text, path).map(Source::RisLive),
        other => {
            let problem = ConfigError::unknown("kind", other.unwrap_or("(no text)"), &KINDS);
            Err(ConfigError::wrong(text, path, kind.span().start, problem))
        }
    }
}

fn read<'t, T: Deserialize<'t>>(
    value: Spanned<DeValue<'t>>,
    text: &str,
    path: &Path,
) -> Result<T, ConfigError> {
    T::deserialize(value.into_deserializer())
        .map_err(|error| ConfigError::source(text, path, &error))
}

/// `[source.NAME]` without `kind`: a rule for files.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FileSource {
    /// Name of the files without folders; `*` stands for any text.
    pub files: String,
    /// Collector that wrote them; two files of one collector share its peers.
    #[serde(default)]
    pub collector: Option<String>,
    /// Where in their records samples of another form lie.
    #[serde(default)]
    pub fields: Option<Mapping>,
}

impl FileSource {
    /// Whether a file's name fits.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        fits(&self.files, name)
    }

    /// What is wrong with the rule, if anything.
    ///
    /// # Errors
    /// The problem in words.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.files.is_empty() {
            Err("files is empty; give a name such as \"rrc00.*\"")
        } else if self.files.contains('/') {
            Err("files is a name without folders, such as \"rrc00.*\"")
        } else {
            self.fields.as_ref().map_or(Ok(()), Mapping::check)
        }
    }
}
