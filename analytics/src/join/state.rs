//! The join as bytes, and back. What follows from the registry and the routing state is made anew.

use schemas::registry::{Owner, Registry};
use serde::de::{Deserialize, Deserializer};
use serde::ser::{Error as _, Serialize, Serializer};

use super::Join;
use crate::rib::Rib;

impl Serialize for Join {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { epochs, rings, watches, pulses, shifts, near, groups: _, closed, score_min } =
            self;
        if !closed.is_empty() {
            return Err(S::Error::custom("minutes that are not joined yet"));
        }
        (epochs, rings, watches, pulses, shifts, near, score_min).serialize(serializer)
    }
}

/// Without the groups and without what peers hold: see [`Join::restored`].
impl<'de> Deserialize<'de> for Join {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (epochs, rings, watches, pulses, shifts, near, score_min) =
            Deserialize::deserialize(deserializer)?;
        let (groups, closed) = Default::default();
        Ok(Self { epochs, rings, watches, pulses, shifts, near, groups, closed, score_min })
    }
}

impl Join {
    /// Finds in the registry and in the routing state what the bytes do not say.
    pub(crate) fn restored(
        &mut self,
        registry: &Registry,
        is_ours: impl Fn(&Owner) -> bool,
        rib: &Rib,
    ) {
        self.group(registry, is_ours);
        self.epochs.count(registry, rib);
    }
}
