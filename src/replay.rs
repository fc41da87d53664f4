//! Wiring of `replay`: archives through the archive log, its folds and the lake.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::PathBuf;
use std::sync::Arc;

use analytics::detect::DetectOptions;
use analytics::fold::{Committed, FoldError, Folding, fold};
use analytics::lake::identity::{End, Identity, Lineage, Standing, hex, sha256_hex};
use analytics::lake::layout::{INTERNAL, registry_key, settings_key};
use analytics::lake::{LakeError, LakeRoot, LakeShelf, Store, snapshot};
use analytics::latency::window::LatencyOptions;
use analytics::reference::Reference;
use analytics::reference::library::Library;
use analytics::shard::FoldOptions;
use analytics::sql::ddl;
use ingest::decode::mapping::Mapping;
use ingest::log::archive::{ArchiveLog, ArchiveOptions, ArchiveReport};
use ingest::source::discover::{DiscoverError, Found, files_of, recognise, recognise_mapped};
use schemas::bgp::Prefix;
use schemas::log::{LogError, Progress};
use schemas::reference::ReferenceSet;
use schemas::registry::Registry;
use schemas::time::Timestamp;

use crate::config::{Config, ReferenceConfig};
use crate::reference::{FileError, Schedule, ScheduleError};

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
    #[error(transparent)]
    Reference(#[from] FileError),
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

impl From<ScheduleError> for ReplayError {
    fn from(error: ScheduleError) -> Self {
        match error {
            ScheduleError::Lake(error) => error.into(),
            ScheduleError::File(error) => error.into(),
        }
    }
}

/// What is to be replayed.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Settings.
    pub config: &'a Config,
    /// The lake.
    pub lake: &'a LakeRoot,
    /// Files and folders.
    pub paths: &'a [PathBuf],
    /// Number of partitions; 1, or that of the lake that is added to, unless told.
    pub shards: Option<u32>,
    /// Whether a lake of other replays is added to.
    pub append: bool,
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
    /// Inputs that the lake had before, by name.
    pub held: Vec<String>,
}

impl Outcome {
    /// The lake has all of it.
    fn nothing(log: String, rows: Committed, problems: Vec<String>, held: Vec<String>) -> Self {
        let report = ArchiveReport::default();
        Self { log, nothing_to_do: true, rows, report, problems, held }
    }

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
    let Planned { inputs, schedule, store, identity, before, held, mut problems } = plan(request)?;
    if let Some(log) = before.last().filter(|_| inputs.is_empty()) {
        return Ok(Outcome::nothing(log.clone(), Committed::new(), problems, held));
    }
    if let Standing::Done(end) = identity.claim(&store)? {
        return Ok(Outcome::nothing(identity.log(), end.rows, end.damaged, held));
    }
    let version = note_contents(&store, request.config)?;
    let shelf = LakeShelf::new(&store);
    let references = schedule.keep(&shelf)?;
    let followed = match before.last() {
        Some(log) => snapshot::followed(&store, log)?,
        None => Vec::new(),
    };
    let folding = Folding {
        options: FoldOptions {
            detect: request.config.detect.clone(),
            latency: request.config.latency.clone(),
        },
        library: Arc::new(Library::new(shelf)),
        store: Arc::clone(&store),
        log_name: identity.log(),
        before,
        partitions: identity.partitions,
        config_hash: identity.config_hash.clone(),
        progress: Arc::new(FromTheStart),
        is_live: false,
        began: Timestamp::default(),
        watch: None,
    };
    let options =
        archive_options(request, inputs, (references, followed), (identity.partitions, version));
    let mut log = ArchiveLog::start(options, identity.log(), progress)?;
    let folded = fold(&mut log, &folding);
    let merged = log.finish();
    let (rows, report) = match (folded, merged) {
        (Ok(rows), Ok(report)) => (rows, report),
        (Err(FoldError::Log(LogError::Closed)), Err(cause)) => return Err(cause.into()),
        (Err(cause), _) => return Err(cause.into()),
        (_, Err(cause)) => return Err(cause.into()),
    };
    snapshot::keep_followed(&store, &identity.log(), &report.followed)?;
    for input in &report.inputs {
        problems.extend(input.damage.iter().map(|damage| format!("{}: {damage}", input.source)));
    }
    identity.finish(&store, &End { rows: rows.clone(), damaged: problems.clone() })?;
    if let Some(before) = &identity.after {
        snapshot::forget(&store, before)?;
    }
    Ok(Outcome { log: identity.log(), nothing_to_do: false, rows, report, problems, held })
}

/// What is to be folded, and into which log.
struct Planned {
    /// Those that the lake does not have.
    inputs: Vec<Found>,
    schedule: Schedule,
    store: Arc<Store>,
    identity: Identity,
    /// The logs from whose end it goes on.
    before: Vec<String>,
    /// Inputs that the lake has, by name.
    held: Vec<String>,
    problems: Vec<String>,
}

fn plan(request: &Request<'_>) -> Result<Planned, ReplayError> {
    let (mut inputs, problems) = discover(request.paths, request.config)?;
    if inputs.is_empty() {
        problems.iter().for_each(|problem| tracing::error!("{problem}"));
        return Err(ReplayError::NoInput);
    }
    let schedule = Schedule::read(&request.config.reference)?;
    let store = Arc::new(Store::open_at(request.lake)?);
    let lineage = if request.append { Lineage::read(&store)? } else { Lineage::default() };
    let mut held = Vec::new();
    inputs.retain(|found| {
        let is_held = lineage.holds(&hex(&found.content_hash));
        held.extend(is_held.then(|| found.name.clone()));
        !is_held
    });
    let identity = Identity {
        kind: "replay".to_owned(),
        inputs: sorted(
            inputs.iter().map(|found| format!("{} {}", hex(&found.content_hash), found.name)),
        ),
        reference: schedule.hashes.clone(),
        config_hash: request.config.hash(),
        partitions: shards(request, &lineage, &store)?,
        after: lineage.last().map(|(log, _)| log.clone()),
    };
    let before = lineage.ended.into_iter().map(|(log, _)| log).collect();
    Ok(Planned { inputs, schedule, store, identity, before, held, problems })
}

/// How many shards there are: those of a lake that is added to are.
fn shards(request: &Request<'_>, lineage: &Lineage, store: &Store) -> Result<u32, LakeError> {
    let there = lineage.last().map(|(_, identity)| identity.partitions);
    match (request.shards, there) {
        (Some(wanted), Some(there)) if wanted != there => Err(LakeError::NoAppend {
            lake: store.root().to_string(),
            reason: format!("it has {there} shards; leave --shards out, or say --shards {there}"),
        }),
        (wanted, there) => Ok(there.or(wanted).unwrap_or(1)),
    }
}

fn archive_options(
    request: &Request<'_>,
    inputs: Vec<Found>,
    (references, followed): (Vec<(Timestamp, ReferenceSet)>, Vec<Prefix>),
    (partitions, version): (u32, u32),
) -> ArchiveOptions {
    let mut registry = Registry::clone(&request.config.registry);
    registry.version = version;
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
        registry: Arc::new(registry),
        references,
        keep: request.config.log.keep,
        followed,
        partitions,
    }
}

/// An archive is read from its start, and keeps nothing that could be let go.
pub(crate) struct FromTheStart;

impl Progress for FromTheStart {
    fn committed(&self, partition: u32, offset: u64, log_time: Timestamp) {
        tracing::trace!(partition, offset, %log_time, "batch folded");
    }

    fn release_before(&self, _partition: u32, _offset: u64) {}

    fn release_summaries_before(&self, _position: u64) {}
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

/// The newest reference data that are configured, every file read and checked.
///
/// # Errors
/// [`ReplayError::Reference`] with the file and the line.
pub fn load_reference(config: &ReferenceConfig) -> Result<Reference, ReplayError> {
    Ok(Schedule::read(config)?.reference)
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

/// Settings under the next number, unless they are those under the last one; how many there are.
fn note_settings(store: &Store, kept: &Kept) -> Result<usize, LakeError> {
    let contents = serde_json::to_vec_pretty(kept).unwrap_or_default();
    let count = store.list(&format!("{INTERNAL}/settings"))?.len();
    let last = count.checked_sub(1).map(|last| store.get(&settings_key(last))).transpose()?;
    if last.flatten().is_some_and(|last| last == contents) {
        return Ok(count);
    }
    store.put(&settings_key(count), &contents)?;
    Ok(count + 1)
}

/// Registry contents by hash, the settings in force, and the table definitions for other engines. The
/// number of these settings in the lake comes back.
pub(crate) fn note_contents(store: &Store, config: &Config) -> Result<u32, LakeError> {
    let contents = serde_json::to_vec_pretty(&*config.registry).unwrap_or_default();
    let registry = registry_key(&sha256_hex(&contents));
    store.put(&registry, &contents)?;
    let number = note_settings(store, &Kept::of(config, registry))?;
    ddl::publish(store)?;
    Ok(u32::try_from(number).unwrap_or(u32::MAX))
}

fn sorted(hashes: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut hashes: Vec<String> = hashes.into_iter().collect();
    hashes.sort();
    hashes
}
