//! Versions: what a running service reads anew while it runs: its configuration and its reference files,
//! when they change or at SIGHUP, and the VRPs of a cache.
//!
//! All of it happens on a thread of its own. What was read is checked, kept in the lake, and only then
//! told to the intake, which makes it a record of the log. What is refused is told and counted, and
//! what counted before goes on to count. A file that changes is read once it has stayed the same from
//! one look to the next: it may be half written.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use analytics::lake::{LakeShelf, Store};
use analytics::reference::contents::{Contents, Made};
use analytics::reference::library::{Library, LibraryError};
use analytics::reference::timeline::{InForce, Lane};
use analytics::reference::trust::Trust;
use analytics::reference::vrps::Vrps;
use ingest::live::Version;
use ingest::samples::Owners;
use ingest::source::live::{Stop, stopped};
use ingest::source::rtr::RtrWord;
use schemas::reference::{ReferenceKind, ReferenceSet, ReferenceVersion};
use schemas::time::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use super::settings;
use crate::config::{Config, ReferenceConfig};
use crate::metrics::VersionCounts;
use crate::reference::{
    FileError, ReferenceFile, dated_databases, files_of, newest, paths, tell_passed_over,
};
use crate::replay::{ReplayError, note_contents};

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// What tells one state of a file from another.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    path: PathBuf,
    /// None: it cannot be looked at.
    seen: Option<(SystemTime, u64, u64)>,
}

impl Stamp {
    fn of(path: &Path) -> Self {
        let seen = fs::metadata(path)
            .ok()
            .and_then(|about| Some((about.modified().ok()?, about.len(), about.ino())));
        Self { path: path.to_owned(), seen }
    }
}

/// The files of one kind, or the configuration: as they were read, and as they were last seen.
#[derive(Debug, Default)]
struct Watched {
    read: Vec<Stamp>,
    seen: Vec<Stamp>,
}

impl Watched {
    /// Whether they are to be read: they are others than those that were read, and have stayed so.
    fn is_due(&mut self, now: Vec<Stamp>, at_once: bool) -> bool {
        let has_settled = at_once || self.seen == now;
        self.seen = now;
        let is_due = has_settled && self.seen != self.read;
        if is_due {
            self.read.clone_from(&self.seen);
        }
        is_due
    }
}

/// Where versions go.
pub(super) struct Outlets {
    /// The intake.
    pub(super) versions: mpsc::Sender<Version>,
    /// Whoever matches samples before the intake, or asks a feed for prefixes.
    pub(super) owners: watch::Sender<Arc<Owners>>,
}

/// The lake, as far as versions are concerned.
pub(super) struct Shelves {
    pub(super) store: Arc<Store>,
    pub(super) shelf: LakeShelf,
    pub(super) library: Arc<Library>,
}

impl Shelves {
    /// Those of a lake, whose contents this library reads.
    pub(super) fn of(store: &Arc<Store>, library: &Arc<Library>) -> Self {
        let (store, library) = (Arc::clone(store), Arc::clone(library));
        Self { shelf: LakeShelf::new(&store), store, library }
    }
}

/// Reads anew what changes.
pub(super) struct Versions {
    config: Config,
    /// The configuration file, if there is one.
    place: Option<PathBuf>,
    shelves: Shelves,
    counts: Arc<VersionCounts>,
    in_force: InForce,
    told: ReferenceSet,
    files: BTreeMap<ReferenceKind, Watched>,
    config_file: Watched,
}

impl Versions {
    /// Reads the reference files of the configuration. `told` is what the log said last: which VRPs it
    /// believed.
    ///
    /// # Errors
    /// [`ReplayError`]: at its start a service wants all of its files.
    pub(super) fn begin(
        config: &Config,
        place: Option<PathBuf>,
        shelves: Shelves,
        counts: Arc<VersionCounts>,
        told: &ReferenceSet,
        now: Timestamp,
    ) -> Result<Self, ReplayError> {
        let mut config_file = Watched::default();
        if let Some(place) = &place {
            config_file.is_due(vec![Stamp::of(place)], true);
        }
        let mut versions = Self {
            config: config.clone(),
            place,
            in_force: InForce::trusting(trusted(told, &shelves.library)),
            shelves,
            counts,
            told: told.clone(),
            files: BTreeMap::new(),
            config_file,
        };
        for (kind, path) in paths(&config.reference) {
            let files = selected(kind, path, now, true)?;
            let stamps = files.iter().map(|file| Stamp::of(&file.path)).collect();
            versions.files.entry(kind).or_default().is_due(stamps, true);
            for contents in read(files, now)? {
                versions.take(&contents, now)?;
            }
        }
        versions.drop_unconfigured(now);
        versions.in_force.pass(now);
        versions.told = versions.in_force.set();
        versions.note_told();
        Ok(versions)
    }

    /// What the log is told at the start.
    pub(super) fn set(&self) -> ReferenceSet {
        self.told.clone()
    }

    /// Looks after everything until the service stops.
    pub(super) fn run(
        mut self,
        outlets: &Outlets,
        mut cache: mpsc::Receiver<RtrWord>,
        mut stop: Stop,
        runtime: &tokio::runtime::Handle,
        now: impl Fn() -> Timestamp,
    ) {
        let mut hangups = runtime.block_on(async { signal(SignalKind::hangup()).ok() });
        loop {
            let word = runtime.block_on(async {
                tokio::select! {
                    () = stopped(&mut stop) => Word::Stop,
                    Some(word) = cache.recv() => Word::Cache(word),
                    Some(()) = hung_up(&mut hangups) => Word::Hangup,
                    () = tokio::time::sleep(LOOK_EVERY) => Word::Look,
                }
            });
            match word {
                Word::Stop => return,
                Word::Cache(word) => self.hear(word, now()),
                Word::Hangup => {
                    tracing::info!("reading configuration and reference files anew");
                    self.look(true, outlets, now());
                }
                Word::Look => self.look(false, outlets, now()),
            }
            self.in_force.pass(now());
            if self.tell(outlets).is_err() {
                return;
            }
        }
    }

    /// Looks at all files; reads those that changed.
    fn look(&mut self, at_once: bool, outlets: &Outlets, now: Timestamp) {
        if let Some(place) = self.place.clone()
            && self.config_file.is_due(vec![Stamp::of(&place)], at_once)
        {
            self.reconfigure(&place, outlets, now);
        }
        let reference = self.config.reference.clone();
        for (kind, path) in paths(&reference) {
            let files = selected(kind, path, now, false);
            let stamps = match &files {
                Ok(files) => files.iter().map(|file| Stamp::of(&file.path)).collect(),
                Err(error) => vec![Stamp::of(&error.path)],
            };
            if !self.files.entry(kind).or_default().is_due(stamps, at_once) {
                continue;
            }
            let read = files.and_then(|files| read(files, now));
            let taken = read
                .map_err(ReplayError::from)
                .and_then(|read| read.iter().try_for_each(|contents| self.take(contents, now)));
            if let Err(error) = taken {
                self.counts.refused(kind);
                tracing::error!(%error, "reference file refused, what counted before goes on");
            }
        }
    }

    /// Keeps contents in the lake; from the next record on they count.
    fn take(&mut self, contents: &Contents, now: Timestamp) -> Result<(), ReplayError> {
        self.shelves.shelf.keep(contents)?;
        self.shelves.library.keep(contents);
        self.in_force.offer(contents, now);
        Ok(())
    }

    /// Takes what the cache of VRPs says.
    fn hear(&mut self, word: RtrWord, now: Timestamp) {
        match word {
            RtrWord::Vrps(vrps) => {
                let contents = Contents::of_vrps(Vrps::of(vrps), now);
                if let Err(error) = self.take(&contents, now) {
                    self.counts.refused(ReferenceKind::Vrps);
                    tracing::error!(%error, "VRPs of the cache not kept, those of before go on");
                }
            }
            RtrWord::Expired => self.in_force.drop_vrps(now),
        }
    }

    /// Another configuration: registry, settings of the folds and reference files count at once, the rest
    /// from the next start.
    fn reconfigure(&mut self, place: &Path, outlets: &Outlets, now: Timestamp) {
        let found = match Config::load(Some(place)) {
            Ok(found) => found,
            Err(error) => {
                self.counts.config_refused.one();
                tracing::error!(%error, "configuration refused, the one before goes on to count");
                return;
            }
        };
        for section in self.config.differing(&found) {
            tracing::warn!(section, "a change of this section counts from the next start");
        }
        let found = self.config.reloaded(found);
        if found.hash() != self.config.hash() {
            if let Err(error) = note_contents(&self.shelves.store, &found) {
                self.counts.config_refused.one();
                tracing::error!(%error, "configuration not kept in the lake, the one before goes on");
                self.config_file.read.clear();
                return;
            }
            let registry = Arc::clone(&found.registry);
            let connections = registry.connections().len();
            tracing::info!(connections, "another version of the registry counts");
            self.counts.config_versions.one();
            let version = Version::Registry {
                registry: Arc::clone(&registry),
                settings: settings(&found).into(),
            };
            // Nobody listens any more: then the service stops.
            let _ = outlets.versions.blocking_send(version);
            outlets.owners.send_replace(Arc::new(Owners::new(registry)));
        }
        let is_other = |kind: &ReferenceKind| {
            path_of(&found.reference, *kind) != path_of(&self.config.reference, *kind)
        };
        self.files.retain(|kind, _| !is_other(kind));
        self.config = found;
        self.drop_unconfigured(now);
    }

    /// What is configured no more counts no more.
    fn drop_unconfigured(&mut self, now: Timestamp) {
        let config = &self.config.reference;
        let is_there = |lane: &Lane| {
            path_of(config, lane.kind()).is_some()
                || (lane.kind() == ReferenceKind::Vrps && config.rtr.is_some())
        };
        self.in_force.keep_only(is_there, now);
    }

    /// Tells the intake, if something else counts. An error: nobody listens any more.
    fn tell(&mut self, outlets: &Outlets) -> Result<(), ()> {
        let set = self.in_force.set();
        if set.has_same_contents(&self.told) {
            return Ok(());
        }
        if let Some(doubt) = &set.doubt
            && self.told.doubt.is_none()
        {
            let (lost, of) = (doubt.lost, doubt.of);
            tracing::error!(lost, of, "VRPs vanished at once and are not believed to be gone");
        }
        self.told = set.clone();
        self.note_told();
        outlets.versions.blocking_send(Version::Reference(set)).map_err(|_| ())
    }

    fn note_told(&self) {
        for version in &self.told.versions {
            self.counts.counting(version);
        }
    }
}

/// What wakes the thread.
enum Word {
    Stop,
    Cache(RtrWord),
    Hangup,
    Look,
}

async fn hung_up(hangups: &mut Option<tokio::signal::unix::Signal>) -> Option<()> {
    match hangups {
        Some(hangups) => hangups.recv().await,
        None => std::future::pending().await,
    }
}

/// The files of a kind that count now.
fn selected(
    kind: ReferenceKind,
    path: &Path,
    now: Timestamp,
    tells: bool,
) -> Result<Vec<ReferenceFile>, FileError> {
    let (files, passed_over) = files_of(kind, path)?;
    if tells {
        tell_passed_over(path, &passed_over);
    }
    Ok(newest(files, now))
}

/// Reads files; of databases of one kind the newest.
fn read(files: Vec<ReferenceFile>, now: Timestamp) -> Result<Vec<Contents>, FileError> {
    let mut read = Vec::with_capacity(files.len());
    for file in files {
        let contents = file.read(Made::ByOwnWord(now))?;
        read.push((file, contents));
    }
    let mut by_lane: BTreeMap<Lane, Contents> = BTreeMap::new();
    let mut dated = dated_databases(read)?;
    dated.sort_by_key(|(from, ..)| *from);
    for (_, _, contents) in dated.into_iter().filter(|(from, ..)| *from <= now) {
        by_lane.insert(Lane::of(&contents), contents);
    }
    Ok(by_lane.into_values().collect())
}

fn path_of(config: &ReferenceConfig, kind: ReferenceKind) -> Option<&PathBuf> {
    paths(config).find(|(other, _)| *other == kind).map(|(_, path)| path)
}

/// Which VRPs the log believed at its end, and which it doubted. What cannot be read is not believed.
fn trusted(told: &ReferenceSet, library: &Library) -> Trust {
    let read = |version: ReferenceVersion| -> Result<_, LibraryError> {
        let set = ReferenceSet { versions: vec![version.clone()], doubt: None };
        Ok((version, Arc::clone(&library.get(&set)?.vrps)))
    };
    let believed = told.of(ReferenceKind::Vrps).cloned().map(read);
    let doubted = told.doubt.clone().map(|doubt| {
        let (kind, hash) = (ReferenceKind::Vrps, doubt.hash.clone());
        let version = ReferenceVersion { kind, hash, date: Some(doubt.since) };
        read(version).map(|named| (named, doubt))
    });
    match (believed.transpose(), doubted.transpose()) {
        (Ok(believed), Ok(doubted)) => Trust::resumed(believed, doubted),
        (Err(error), _) | (_, Err(error)) => {
            tracing::warn!(%error, "the VRPs of before are not known, the next ones are believed");
            Trust::default()
        }
    }
}

#[cfg(test)]
mod tests;
