//! Reference data as the log names it: which contents of which kind count, by hash and date.
//!
//! The contents themselves lie in the lake, under their hash.

use serde::{Deserialize, Serialize};

use crate::bgp::{Asn, Prefix};
use crate::tables::Text;
use crate::time::Timestamp;

/// What a reference file is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReferenceKind {
    /// Relationships between ASes.
    AsRelationships,
    /// ASes of one company.
    Organisations,
    /// Validated ROA payloads.
    Vrps,
    /// Attestations of providers.
    Aspas,
    /// The edge catalogue.
    Edges,
    /// A database of places.
    Geoip,
}

impl ReferenceKind {
    /// All of them, in order.
    pub const ALL: [Self; 6] = [
        Self::AsRelationships,
        Self::Organisations,
        Self::Vrps,
        Self::Aspas,
        Self::Edges,
        Self::Geoip,
    ];

    /// The key under `[reference]`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AsRelationships => "as_relationships",
            Self::Organisations => "organisations",
            Self::Vrps => "vrps",
            Self::Aspas => "aspas",
            Self::Edges => "edges",
            Self::Geoip => "geoip",
        }
    }
}

/// One contents of one kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReferenceVersion {
    /// What it is about.
    pub kind: ReferenceKind,
    /// SHA-256 of the contents, in hexadecimal.
    pub hash: Text,
    /// When it was made, or read where it does not say; none for an undated file of a replay.
    pub date: Option<Timestamp>,
}

/// All contents that count from one record of the log on, in order of kind and hash. What is not
/// named does not count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferenceSet {
    /// The contents.
    pub versions: Vec<ReferenceVersion>,
    /// VRPs that came since and are not believed.
    pub doubt: Option<VrpDoubt>,
}

impl ReferenceSet {
    /// The version of a kind; of several, the first.
    #[must_use]
    pub fn of(&self, kind: ReferenceKind) -> Option<&ReferenceVersion> {
        self.versions.iter().find(|version| version.kind == kind)
    }

    /// This set with other contents of one kind.
    #[must_use]
    pub fn with(&self, kind: ReferenceKind, versions: Vec<ReferenceVersion>) -> Self {
        let mut all: Vec<ReferenceVersion> =
            self.versions.iter().filter(|version| version.kind != kind).cloned().collect();
        all.extend(versions);
        all.sort();
        Self { versions: all, doubt: self.doubt.clone() }
    }

    /// Whether the same contents count, whatever their dates.
    #[must_use]
    pub fn has_same_contents(&self, other: &Self) -> bool {
        let contents = |set: &Self| {
            set.versions.iter().map(|v| (v.kind, Text::clone(&v.hash))).collect::<Vec<_>>()
        };
        contents(self) == contents(other) && self.doubt == other.doubt
    }
}

/// One validated ROA payload: who may originate a prefix (RFC 6811).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vrp {
    /// The prefix.
    pub prefix: Prefix,
    /// Who may originate it.
    pub asn: Asn,
    /// Longest part of it that may be announced.
    pub max_length: u8,
    /// When what it rests on expires, where that is told.
    pub expires: Option<Timestamp>,
}

/// Why newer VRPs are not believed: too many vanished at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VrpDoubt {
    /// Hash of the contents that are not believed.
    pub hash: Text,
    /// VRPs that vanished.
    pub lost: u64,
    /// Of so many.
    pub of: u64,
    /// The trust anchor whose they were, where they are of one.
    pub anchor: Option<Text>,
    /// Since when.
    pub since: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(kind: ReferenceKind, hash: &str, date: Option<i64>) -> ReferenceVersion {
        ReferenceVersion { kind, hash: hash.into(), date: date.map(Timestamp::from_secs) }
    }

    #[test]
    fn a_date_alone_is_no_other_contents() {
        let set = ReferenceSet::default()
            .with(ReferenceKind::Vrps, vec![version(ReferenceKind::Vrps, "a", Some(1))])
            .with(ReferenceKind::Edges, vec![version(ReferenceKind::Edges, "e", None)]);
        let later = set.with(ReferenceKind::Vrps, vec![version(ReferenceKind::Vrps, "a", Some(2))]);
        assert!(later != set && later.has_same_contents(&set));
        let other = set.with(ReferenceKind::Vrps, vec![version(ReferenceKind::Vrps, "b", Some(2))]);
        assert!(!other.has_same_contents(&set));
        assert_eq!(other.of(ReferenceKind::Edges), set.of(ReferenceKind::Edges));
        assert_eq!(set.with(ReferenceKind::Vrps, Vec::new()).versions.len(), 1);
    }
}
