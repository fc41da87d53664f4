//! Versions: what counts from a record on. The registry with the settings of the folds is one, the
//! reference data are another; each is a record for every partition, and what the log said last is
//! kept among the positions, so that a restart with nothing new says nothing.

use std::sync::Arc;

use schemas::batch::Control;
use schemas::log::{LogError, Position};
use schemas::reference::ReferenceSet;
use schemas::registry::Registry;
use schemas::tables::Text;
use schemas::time::Timestamp;
use sha2::{Digest as _, Sha256};

use super::{Live, LiveLog};
use crate::log::embedded::Recovered;

/// Versions that may wait for the intake.
pub const VERSIONS_WAITING_MAX: usize = 16;
/// Key of the registry among the positions: its version and its hash.
const REGISTRY_KEY: &str = "registry";
/// Key of the reference data among the positions.
const REFERENCE_KEY: &str = "reference";

/// What counts from now on.
#[derive(Clone, Debug)]
pub enum Version {
    /// Another registry, or other settings.
    Registry {
        /// What is ours.
        registry: Arc<Registry>,
        /// Settings of the folds as JSON.
        settings: Text,
    },
    /// Other reference data. Their contents are in the lake.
    Reference(ReferenceSet),
}

/// The reference data that counted at the end of a log.
#[must_use]
pub fn reference_of(recovered: &Recovered) -> ReferenceSet {
    let known = recovered.positions.get(REFERENCE_KEY);
    known.and_then(|known| postcard::from_bytes(&known.session).ok()).unwrap_or_default()
}

impl<C: Fn() -> Timestamp, W: LiveLog> Live<C, W> {
    /// Takes the versions that were told, each in an append of its own, behind all that was matched by
    /// the one before.
    pub(super) fn enter_versions(&mut self) -> Result<(), LogError> {
        while let Ok(version) = self.versions.try_recv() {
            match version {
                Version::Reference(set) => self.refer(set)?,
                Version::Registry { registry, settings } => {
                    let found = hash(&registry, &settings);
                    if found == self.registry_hash {
                        continue;
                    }
                    self.registry_hash = found;
                    let mut registry = Registry::clone(&registry);
                    registry.version = self.intake.registry().version.saturating_add(1);
                    let registry = Arc::new(registry);
                    self.intake.enter(Arc::clone(&registry))?;
                    self.register(&registry, &settings)?;
                }
            }
        }
        Ok(())
    }

    /// A version of the registry begins.
    pub(super) fn register(
        &mut self,
        registry: &Arc<Registry>,
        settings: &Text,
    ) -> Result<(), LogError> {
        self.intake.batcher.broadcast(self.now, |_| Control::Registry {
            registry: Arc::clone(registry),
            settings: Some(Text::clone(settings)),
        })?;
        let position = Position {
            next_offset: registry.version.into(),
            session: self.registry_hash.clone(),
            ..Position::default()
        };
        self.moved.push((REGISTRY_KEY.into(), position));
        self.append()
    }

    /// Other reference data count, if they are others.
    pub(super) fn refer(&mut self, set: ReferenceSet) -> Result<(), LogError> {
        if set.has_same_contents(&self.reference) {
            return Ok(());
        }
        self.intake.batcher.broadcast(self.now, |_| Control::Reference(set.clone()))?;
        let session = postcard::to_stdvec(&set).unwrap_or_default();
        self.moved.push((REFERENCE_KEY.into(), Position { session, ..Position::default() }));
        self.reference = set;
        self.append()
    }
}

/// What tells a version of the registry and of the settings from another one.
pub(crate) fn hash(registry: &Registry, settings: &str) -> Vec<u8> {
    let contents = serde_json::json!({
        "settings": settings,
        "connections": registry.connections(),
        "watched": registry.watched(),
    });
    Sha256::digest(contents.to_string().as_bytes()).to_vec()
}

/// The registry under the version that the log gives it, and whether that is a new one.
pub(super) fn versioned(
    registry: &Arc<Registry>,
    settings: &str,
    recovered: &Recovered,
) -> (Arc<Registry>, bool) {
    let known = recovered.positions.get(REGISTRY_KEY);
    let last = known.map_or(0, |position| position.next_offset);
    let is_new = known.is_none_or(|position| position.session != hash(registry, settings));
    let version = u32::try_from(last + u64::from(is_new)).unwrap_or(u32::MAX);
    let mut registry = Registry::clone(registry);
    registry.version = version;
    (Arc::new(registry), is_new)
}
