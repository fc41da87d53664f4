//! What is counted of versions: configurations and reference data that count, and those refused.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use ingest::source::counter::Counter;
use schemas::reference::{ReferenceKind, ReferenceVersion};
use schemas::time::Timestamp;

use super::Values;

/// Versions of the registry and of the reference data.
#[derive(Debug, Default)]
pub struct VersionCounts {
    /// Changed configurations that counted.
    pub config_versions: Counter,
    /// Changed configurations that were refused.
    pub config_refused: Counter,
    reference: Mutex<BTreeMap<ReferenceKind, Known>>,
}

#[derive(Debug, Default)]
struct Known {
    refused: u64,
    date: Option<Timestamp>,
}

impl VersionCounts {
    /// A reference file was refused.
    pub fn refused(&self, kind: ReferenceKind) {
        self.with(kind, |known| known.refused += 1);
    }

    /// These contents count.
    pub fn counting(&self, version: &ReferenceVersion) {
        self.with(version.kind, |known| known.date = version.date);
    }

    fn with(&self, kind: ReferenceKind, change: impl FnOnce(&mut Known)) {
        let mut reference = self.reference.lock().unwrap_or_else(PoisonError::into_inner);
        change(reference.entry(kind).or_default());
    }

    fn values(&self, value: impl Fn(&Known) -> Option<f64>) -> Values {
        let reference = self.reference.lock().unwrap_or_else(PoisonError::into_inner);
        let labelled = |(kind, known): (&ReferenceKind, &Known)| {
            Some((vec![kind.as_str().to_owned()], value(known)?))
        };
        reference.iter().filter_map(labelled).collect()
    }

    pub(crate) fn refused_values(&self) -> Values {
        self.values(|known| Some(known.refused as f64))
    }

    pub(crate) fn date_values(&self) -> Values {
        self.values(|known| known.date.map(|date| date.secs() as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_and_what_was_refused_is_shown_by_kind() {
        let counts = VersionCounts::default();
        let date = Some(Timestamp::from_secs(1_772_618_400));
        counts.counting(&ReferenceVersion { kind: ReferenceKind::Vrps, hash: "a".into(), date });
        counts.refused(ReferenceKind::Edges);
        let vrps = vec![(vec!["vrps".to_owned()], 1_772_618_400.0)];
        assert_eq!(counts.date_values(), vrps);
        let edges = (vec!["edges".to_owned()], 1.0);
        assert!(counts.refused_values().contains(&edges));
    }
}
