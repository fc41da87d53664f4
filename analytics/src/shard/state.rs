//! The fold of a partition as bytes, and back.

use std::sync::Arc;

use schemas::reference::ReferenceSet;
use schemas::registry::{Owner, Registry};
use schemas::tables::Text;
use schemas::time::Timestamp;

use super::{FoldOptions, Shard};
use crate::latency::window::Windows;
use crate::reference::Reference;
use crate::rib::Rib;
use crate::route_rows::RouteRows;
use crate::rows::{ConnectionTexts, Rows};
use crate::state::{Kind, Reader, StateError, Writer};

/// Bytes that a state is thought to have beside its routes.
const BYTES_BESIDE: usize = 1 << 16;

impl Shard {
    /// All that it holds, as bytes: equal for equal folds. Saved is what stands between two batches;
    /// rows, transitions and tallies must have been taken.
    ///
    /// # Errors
    /// [`StateError::Waiting`] while they were not.
    pub fn save(&self) -> Result<Vec<u8>, StateError> {
        let Self {
            partition,
            partitions,
            registry,
            texts: _,
            reference,
            offered,
            rib,
            route_rows: _,
            hours,
            detector,
            join,
            windows,
            usual,
            geo: _,
            is_live,
            closed,
            touches: _,
            rows,
            transitions,
            tallies,
            score_min,
            reached,
            passed,
            floor: _,
            config_hash,
            backfill_after_secs,
        } = self;
        let waits = [
            ("rows", !rows.is_empty()),
            ("transitions of findings", !transitions.is_empty()),
            ("tallies", !tallies.is_empty()),
            ("closed windows", !closed.is_empty()),
            ("reference data", !offered.is_empty()),
        ];
        if let Some((what, _)) = waits.into_iter().find(|(_, waits)| *waits) {
            return Err(StateError::Waiting { what });
        }
        let mut writer = Writer::new(Kind::Shard, rib.state_bytes() + BYTES_BESIDE);
        writer.put("partition", &(partition, partitions))?;
        writer.put("settings", &(config_hash, score_min, backfill_after_secs))?;
        writer.put("times", &(is_live, reached, passed, hours))?;
        writer.put("reference", &reference.set)?;
        writer.put("registry", registry)?;
        writer.put("routes", rib)?;
        writer.put("detectors", detector)?;
        writer.put("join", join)?;
        writer.put("windows", windows)?;
        writer.put("baselines", usual)?;
        Ok(writer.finish())
    }

    /// The fold of a partition that these bytes are of. Settings and registry are in the bytes;
    /// `reference` gives the reference data that were in force.
    ///
    /// # Errors
    /// [`StateError`] if they are of none, or of another partition, or the reference data cannot be
    /// had.
    pub fn restore(
        bytes: &[u8],
        (partition, partitions): (u32, u32),
        reference: impl FnOnce(&ReferenceSet) -> Result<Arc<Reference>, String>,
    ) -> Result<Self, StateError> {
        let mut reader = Reader::open(Kind::Shard, bytes)?;
        let found: (u32, u32) = reader.take("partition")?;
        if found != (partition, partitions) {
            let name = |(partition, of)| format!("that of partition {partition} of {of}");
            let (found, wanted) = (name(found), name((partition, partitions)));
            return Err(StateError::Another { found, wanted });
        }
        let (config_hash, score_min, backfill_after_secs): (Text, _, _) =
            reader.take("settings")?;
        let (is_live, reached, passed, hours) = reader.take("times")?;
        let set: ReferenceSet = reader.take("reference")?;
        let reference = reference(&set).map_err(|error| StateError::Reference { error })?;
        let registry: Option<Arc<Registry>> = reader.take("registry")?;
        let rib: Rib = reader.take("routes")?;
        let detector = reader.take("detectors")?;
        let join = reader.take("join")?;
        let windows = reader.take("windows")?;
        let usual = reader.take("baselines")?;
        reader.finish()?;
        let mut shard = Self {
            partition,
            partitions,
            registry: None,
            texts: Vec::new(),
            reference,
            offered: Vec::new(),
            rib,
            route_rows: RouteRows::default(),
            hours,
            detector,
            join,
            windows,
            usual,
            geo: Default::default(),
            is_live,
            closed: Vec::new(),
            touches: Vec::new(),
            rows: Rows::default(),
            transitions: Vec::new(),
            tallies: Vec::new(),
            score_min,
            reached,
            passed,
            floor: Timestamp::MIN,
            config_hash,
            backfill_after_secs,
        };
        if let Some(registry) = registry {
            shard.found(registry);
        }
        Ok(shard)
    }

    /// The fold goes on with another log: behind the end of the one before, under these settings.
    /// What is older gives rows only.
    pub fn go_on(&mut self, options: &FoldOptions, config_hash: &str) {
        self.floor = self.reached;
        self.windows = Windows::new(options.latency.clone());
        if &*self.config_hash != config_hash {
            self.config_hash = config_hash.into();
            self.score_min = options.detect.score_min();
            self.detector.configure(options.detect.clone());
            self.usual.configure(&options.latency);
        }
    }

    /// What follows from the registry is made anew.
    fn found(&mut self, registry: Arc<Registry>) {
        let (partition, partitions) = (self.partition, self.partitions);
        let is_ours = |owner: &Owner| registry.shard(owner.connection, partitions) == partition;
        self.join.restored(&registry, is_ours, &self.rib);
        self.texts = registry.connections().iter().map(ConnectionTexts::of).collect();
        self.geo = self.reference.geo.enrich(&registry);
        self.registry = Some(registry);
    }
}
