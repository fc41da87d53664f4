//! Wiring of `replay`: archives through the archive log, its folds and the lake.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use analytics::detect::DetectOptions;
use analytics::fold::{Committed, FoldError, Folding, fold};
use analytics::lake::identity::{End, Identity, Standing, hex, sha256_hex};
use analytics::lake::layout::{INTERNAL, ddl_key, registry_key, settings_key};
use analytics::lake::{LakeError, LocalStore};
use analytics::latency::window::LatencyOptions;
use analytics::reference::geo::edges::Edges;
use analytics::reference::{
    AsRelationships, Aspas, Organisations, Reference, ReferenceError, Vrps,
};
use analytics::shard::FoldOptions;
use analytics::sql::ddl;
use ingest::decode::mapping::Mapping;
use ingest::log::archive::{ArchiveLog, ArchiveOptions, ArchiveReport};
use ingest::source::discover::{DiscoverError, Found, files_of, recognise, recognise_mapped};
use ingest::source::open::open;
use schemas::log::{LogError, Progress};
use schemas::time::Timestamp;

use crate::config::{Config, ReferenceConfig};

/// Why a replay stopped. One variant per exit code or remedy.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// Nothing to read.
    #[error("no input that can be read")]
    NoInput,
    /// A path that is named and cannot be read: a typing error must not become a lake.
    #[error("{0}; nothing was written")]
    Unreadable(DiscoverError),
    /// A reference file is refused.
    #[error("{path}: {error}", path = path.display())]
    Reference {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: ReferenceError,
    },
    /// The lake says no.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// The log says no.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The fold stopped.
    #[error(transparent)]
    Fold(#[from] FoldError),
}

/// What is to be replayed.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Settings.
    pub config: &'a Config,
    /// The lake.
    pub lake: &'a str,
    /// Files and folders.
    pub paths: &'a [PathBuf],
    /// Number of partitions.
    pub shards: u32,
}

/// What a replay did.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Name of the log in the lake.
    pub log: String,
    /// Whether the lake had all of it already.
    pub nothing_to_do: bool,
    /// Rows of each table.
    pub rows: Committed,
    /// What came of each input.
    pub report: ArchiveReport,
    /// What could not be read, in words.
    pub problems: Vec<String>,
}

impl Outcome {
    /// Whether some of the input was damaged.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        !self.problems.is_empty()
    }
}

/// Replays archives into a lake. `progress` is told the merged time and the records so far.
///
/// # Errors
/// [`ReplayError`]; what was committed before stays and is found again by the same replay.
pub fn replay(
    request: &Request<'_>,
    progress: impl Fn(Timestamp, u64) + Send + 'static,
) -> Result<Outcome, ReplayError> {
    let (inputs, mut problems) = discover(request.paths, request.config)?;
    if inputs.is_empty() {
        problems.iter().for_each(|problem| tracing::error!("{problem}"));
        return Err(ReplayError::NoInput);
    }
    let (reference, reference_hashes) = load_reference(&request.config.reference)?;
    let identity = Identity {
        kind: "replay".to_owned(),
        inputs: sorted(
            inputs.iter().map(|found| format!("{} {}", hex(&found.content_hash), found.name)),
        ),
        reference: sorted(reference_hashes),
        config_hash: request.config.hash(),
        partitions: request.shards,
    };
    let store = Arc::new(LocalStore::open(request.lake)?);
    if let Standing::Done(end) = identity.claim(&store)? {
        return Ok(Outcome {
            log: identity.log(),
            nothing_to_do: true,
            rows: end.rows,
            report: ArchiveReport::default(),
            problems: end.damaged,
        });
    }
    note_contents(&store, request.config)?;
    let folding = Folding {
        options: FoldOptions {
            detect: request.config.detect.clone(),
            latency: request.config.latency.clone(),
        },
        reference: Arc::new(reference),
        store: Arc::clone(&store),
        log_name: identity.log(),
        config_hash: identity.config_hash.clone(),
        progress: Arc::new(FromTheStart),
        is_live: false,
        began: Timestamp::default(),
        watch: None,
    };
    let options = archive_options(request, inputs);
    let mut log = ArchiveLog::start(options, identity.log(), progress)?;
    let folded = fold(&mut log, &folding);
    let merged = log.finish();
    let (rows, report) = match (folded, merged) {
        (Ok(rows), Ok(report)) => (rows, report),
        (Err(FoldError::Log(LogError::Closed)), Err(cause)) => return Err(cause.into()),
        (Err(cause), _) => return Err(cause.into()),
        (_, Err(cause)) => return Err(cause.into()),
    };
    for input in &report.inputs {
        problems.extend(input.damage.iter().map(|damage| format!("{}: {damage}", input.source)));
    }
    identity.finish(&store, &End { rows: rows.clone(), damaged: problems.clone() })?;
    Ok(Outcome { log: identity.log(), nothing_to_do: false, rows, report, problems })
}

fn archive_options(request: &Request<'_>, inputs: Vec<Found>) -> ArchiveOptions {
    let collectors: BTreeMap<String, String> = inputs
        .iter()
        .filter_map(|found| {
            let collector = request.config.collector_of(&found.name)?;
            Some((found.name.clone(), collector.to_owned()))
        })
        .collect();
    let mappings: BTreeMap<String, Mapping> = inputs
        .iter()
        .filter_map(|found| {
            Some((found.name.clone(), request.config.mapping_of(&found.name)?.clone()))
        })
        .collect();
    ArchiveOptions {
        inputs,
        collectors,
        mappings,
        registry: Arc::clone(&request.config.registry),
        keep: request.config.log.keep,
        partitions: request.shards,
    }
}

/// There are no snapshots yet: a fold starts over, and create-if-absent decides.
pub(crate) struct FromTheStart;

impl Progress for FromTheStart {
    fn resume_position(&self, _partition: u32) -> u64 {
        0
    }

    fn committed(&self, partition: u32, offset: u64, log_time: Timestamp) {
        tracing::trace!(partition, offset, %log_time, "batch folded");
    }
}

/// Finds and recognises the inputs, in the order of their content hashes; equal contents are read
/// once, under the name that comes first.
///
/// # Errors
/// [`ReplayError::Unreadable`] for a path that cannot be read.
fn discover(paths: &[PathBuf], config: &Config) -> Result<(Vec<Found>, Vec<String>), ReplayError> {
    let mut problems = Vec::new();
    let mut seen: BTreeMap<[u8; 32], Found> = BTreeMap::new();
    for path in paths {
        let is_named = !path.is_dir();
        for file in files_of(path).map_err(ReplayError::Unreadable)? {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let found = match config.mapping_of(&name) {
                Some(_) => recognise_mapped(&file),
                None => recognise(&file),
            };
            match found {
                Ok(found) => {
                    let path = found.path.display().to_string();
                    match seen.entry(found.content_hash) {
                        Entry::Vacant(place) => {
                            place.insert(found);
                        }
                        Entry::Occupied(mut place) => {
                            tracing::warn!(path, "given twice, read once");
                            if found.name < place.get().name {
                                place.insert(found);
                            }
                        }
                    }
                }
                Err(error @ DiscoverError::Unknown { .. }) if !is_named => {
                    tracing::warn!(%error, "passed over");
                }
                Err(error @ DiscoverError::Io { .. }) => {
                    return Err(ReplayError::Unreadable(error));
                }
                Err(error) => problems.push(error.to_string()),
            }
        }
    }
    Ok((seen.into_values().collect(), problems))
}

/// Reads the reference files that this version knows, with their content hashes.
///
/// # Errors
/// [`ReplayError::Reference`] with the file and the line.
pub fn load_reference(config: &ReferenceConfig) -> Result<(Reference, Vec<String>), ReplayError> {
    let mut hashes = Vec::new();
    let mut reference = Reference::default();
    let mut read =
        |name: &str,
         path: &Option<PathBuf>,
         into: &mut dyn FnMut(&mut dyn BufRead) -> Result<(), ReferenceError>| {
            let Some(path) = path else { return Ok(()) };
            let (mut reader, hash) = open_reference(path)?;
            hashes.push(format!("{name}:{hash}"));
            into(&mut reader).map_err(|error| ReplayError::Reference { path: path.clone(), error })
        };
    read("as_relationships", &config.as_relationships, &mut |reader| {
        reference.relationships = AsRelationships::read(reader)?;
        Ok(())
    })?;
    read("organisations", &config.organisations, &mut |reader| {
        reference.organisations = Organisations::read(reader)?;
        Ok(())
    })?;
    read("vrps", &config.vrps, &mut |reader| {
        reference.vrps = Vrps::read(reader)?;
        Ok(())
    })?;
    read("aspas", &config.aspas, &mut |reader| {
        reference.aspas = Aspas::read(reader)?;
        Ok(())
    })?;
    read("edges", &config.edges, &mut |reader| {
        reference.geo.edges = Edges::read(reader)?;
        Ok(())
    })?;
    if let Some(path) = &config.geoip {
        for path in mmdb_files(path)? {
            let fail = |error| ReplayError::Reference { path: path.clone(), error };
            let bytes = std::fs::read(&path).map_err(|error| fail(error.into()))?;
            reference.geo.add(bytes).map_err(fail)?;
        }
        let databases = reference.geo.databases().iter();
        hashes.extend(databases.map(|database| format!("geoip:{}", database.content_hash)));
    }
    Ok((reference, hashes))
}

/// The file that is named, or those of a folder that end in `.mmdb`, by name.
fn mmdb_files(path: &Path) -> Result<Vec<PathBuf>, ReplayError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let fail = |error: std::io::Error| ReplayError::Reference {
        path: path.to_owned(),
        error: error.into(),
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(fail)? {
        let file = entry.map_err(fail)?.path();
        if file.extension().is_some_and(|extension| extension == "mmdb") {
            files.push(file);
        }
    }
    files.sort();
    match files.is_empty() {
        true => Err(fail(std::io::Error::other("no file in this folder ends in .mmdb"))),
        false => Ok(files),
    }
}

fn open_reference(path: &Path) -> Result<(impl BufRead + use<>, String), ReplayError> {
    let fail = |error: std::io::Error| ReplayError::Reference {
        path: path.to_owned(),
        error: error.into(),
    };
    let hash = sha256_hex(&std::fs::read(path).map_err(fail)?);
    Ok((BufReader::new(open(path).map_err(fail)?), hash))
}

/// Settings as a lake keeps them.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Kept {
    /// [`Config::hash`]
    pub(crate) config_hash: String,
    /// Key of the registry's contents.
    pub(crate) registry: String,
    /// `[detect]`
    pub(crate) detect: DetectOptions,
    /// `[latency]`
    pub(crate) latency: LatencyOptions,
}

impl Kept {
    fn of(config: &Config, registry: String) -> Self {
        Self {
            config_hash: config.hash(),
            registry,
            detect: config.detect.clone(),
            latency: config.latency.clone(),
        }
    }
}

/// Settings under the next number, unless they are those under the last one.
fn note_settings(store: &LocalStore, kept: &Kept) -> Result<(), LakeError> {
    let contents = serde_json::to_vec_pretty(kept).unwrap_or_default();
    let count = store.list(&format!("{INTERNAL}/settings"))?.len();
    let last = count.checked_sub(1).map(|last| store.get(&settings_key(last))).transpose()?;
    if last.flatten().is_some_and(|last| last == contents) {
        return Ok(());
    }
    store.put(&settings_key(count), &contents)
}

/// Registry contents by hash, the settings in force, and the table definitions for other engines.
pub(crate) fn note_contents(store: &LocalStore, config: &Config) -> Result<(), LakeError> {
    let contents = serde_json::to_vec_pretty(&*config.registry).unwrap_or_default();
    let registry = registry_key(&sha256_hex(&contents));
    store.put(&registry, &contents)?;
    note_settings(store, &Kept::of(config, registry))?;
    store.put(&ddl_key("datafusion"), ddl::datafusion().as_bytes())?;
    store.put(&ddl_key("duckdb"), ddl::duckdb().as_bytes())
}

fn sorted(hashes: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut hashes: Vec<String> = hashes.into_iter().collect();
    hashes.sort();
    hashes
}
