//! `[detect]`: what the detectors may take for granted.

use schemas::bgp::Asn;
use schemas::exception::{Accusation, Exception};
use schemas::finding::Term;
use serde::de::{Deserializer, Error as _};
use serde::ser::{Error as _, Serializer};
use serde::{Deserialize, Serialize};

/// How soon something is told: one word for several settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// What is at least of medium confidence; conditions must last twice as long.
    Cautious,
    /// The defaults.
    #[default]
    Balanced,
    /// Everything that scores at all; conditions must last half as long.
    Eager,
}

/// `[detect]`: what the detectors may take for granted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DetectOptions {
    /// How soon something is told.
    pub preset: Preset,
    /// Least score that opens a finding; absent: as the preset has it.
    pub score_min: Option<f64>,
    /// A prefix without a table dump counts as known after this time.
    pub learning_secs: u32,
    /// ASes that scrub traffic for us: their routes are to be expected for a while.
    pub scrubbers: Vec<Asn>,
    /// Findings that are known to be harmless.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exception: Vec<Exception>,
    /// Terms that do not count: how the worth of a term is measured. No configuration says so.
    #[serde(skip)]
    pub without_terms: Vec<String>,
}

impl Default for DetectOptions {
    fn default() -> Self {
        Self {
            preset: Preset::default(),
            score_min: None,
            learning_secs: 3_600,
            scrubbers: Vec::new(),
            exception: Vec::new(),
            without_terms: Vec::new(),
        }
    }
}

impl DetectOptions {
    /// Least score that opens a finding.
    #[must_use]
    pub fn score_min(&self) -> f64 {
        self.score_min.unwrap_or(match self.preset {
            Preset::Cautious => 4.0,
            Preset::Balanced => 1.0,
            Preset::Eager => 0.0,
        })
    }

    /// How long a condition must last that lasts `secs` in the balanced preset.
    pub(super) const fn hold_secs(&self, secs: i64) -> i64 {
        match self.preset {
            Preset::Cautious => secs * 2,
            Preset::Balanced => secs,
            Preset::Eager => secs / 2,
        }
    }

    /// Whether an exception covers what somebody is accused of.
    pub(super) fn excepts(&self, accusation: &Accusation<'_>) -> bool {
        self.exception.iter().any(|exception| exception.covers(accusation))
    }

    /// Whether a term is part of its score.
    pub(super) fn counts(&self, term: &Term) -> bool {
        !self.without_terms.iter().any(|name| name == term.name.as_str())
    }
}

/// Settings in a saved state. As JSON, because they leave out what is not set; what JSON does not hold, or
/// not to the last bit, stands beside it.
pub(super) fn serialize<S: Serializer>(
    options: &DetectOptions,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let json = serde_json::to_string(options).map_err(S::Error::custom)?;
    (json, options.score_min, &options.without_terms).serialize(serializer)
}

/// The same back.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<DetectOptions, D::Error> {
    let (json, score_min, without_terms): (String, _, _) = Deserialize::deserialize(deserializer)?;
    let options: DetectOptions = serde_json::from_str(&json).map_err(D::Error::custom)?;
    Ok(DetectOptions { score_min, without_terms, ..options })
}
