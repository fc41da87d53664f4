//! The library: what the log names by hash in, the reference data it means out.
//!
//! Folds do no IO: whoever runs them asks here and hands them the answer. Parts are read once and
//! shared by all folds and by the sets that follow.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use schemas::reference::{ReferenceKind, ReferenceSet, ReferenceVersion};
use schemas::tables::Text;

use super::contents::{Contents, Made, Part, hash};
use super::{Reference, ReferenceError};

/// Where contents lie.
pub trait Shelf: Send + Sync {
    /// The contents of that hash; none if they are not there.
    ///
    /// # Errors
    /// Why the shelf cannot be read, in words.
    fn get(&self, hash: &str) -> Result<Option<Vec<u8>>, String>;
}

/// Why a set of reference data cannot be had. One variant per remedy.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// The shelf cannot be read.
    #[error("reference data: {0}")]
    Shelf(String),
    /// Contents are gone.
    #[error(
        "the log names {kind} {hash}, and the lake has no such contents under _peerscope/reference; \
         restore them from a copy, or start a new log with a new lake", kind = .version.kind.as_str(),
        hash = .version.hash
    )]
    Missing {
        /// What the log names.
        version: ReferenceVersion,
    },
    /// Contents are not what they were.
    #[error(
        "{kind} {hash} in the lake is damaged: restore _peerscope/reference/{hash} from a copy",
        kind = .version.kind.as_str(), hash = .version.hash
    )]
    Damaged {
        /// What the log names.
        version: ReferenceVersion,
    },
    /// Another version of this program read them.
    #[error("{kind} {hash} in the lake: {error}", kind = .version.kind.as_str(), hash = .version.hash)]
    Refused {
        /// What the log names.
        version: ReferenceVersion,
        /// What is wrong with it.
        error: ReferenceError,
    },
}

/// Reads sets of reference data, and keeps what was read last.
pub struct Library {
    shelf: Box<dyn Shelf>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// The set that was asked for last.
    newest: Arc<Reference>,
    /// Parts of that set, and those that were read since.
    parts: Vec<(ReferenceVersion, Part)>,
}

impl Library {
    /// A library over a shelf.
    #[must_use]
    pub fn new(shelf: impl Shelf + 'static) -> Self {
        Self { shelf: Box::new(shelf), kept: Mutex::default() }
    }

    /// Keeps contents that were just read: they will be asked for soon.
    pub fn keep(&self, contents: &Contents) {
        let mut kept = self.lock();
        if kept.part(&contents.version).is_none() {
            kept.parts.push((contents.version.clone(), contents.part.clone()));
        }
    }

    /// The reference data of a set.
    ///
    /// # Errors
    /// [`LibraryError`] if contents are missing or damaged.
    pub fn get(&self, set: &ReferenceSet) -> Result<Arc<Reference>, LibraryError> {
        // The lock is held while contents are read: the folds beside this one ask for the same.
        let mut kept = self.lock();
        if kept.newest.set == *set {
            return Ok(Arc::clone(&kept.newest));
        }
        let mut reference = Reference { set: set.clone(), ..Reference::default() };
        let mut parts = Vec::with_capacity(set.versions.len());
        for version in &set.versions {
            let part = match kept.part(version) {
                Some(part) => part,
                None => self.read(version)?,
            };
            reference.add(part.clone());
            parts.push((version.clone(), part));
        }
        kept.newest = Arc::new(reference);
        kept.parts = parts;
        Ok(Arc::clone(&kept.newest))
    }

    fn read(&self, version: &ReferenceVersion) -> Result<Part, LibraryError> {
        let version = version.clone();
        let bytes = self.shelf.get(&version.hash).map_err(LibraryError::Shelf)?;
        let Some(bytes) = bytes else { return Err(LibraryError::Missing { version }) };
        if hash(&bytes) != version.hash {
            return Err(LibraryError::Damaged { version });
        }
        match Contents::read(version.kind, bytes, Made::known(version.date)) {
            Ok(contents) => Ok(contents.part),
            Err(error) => Err(LibraryError::Refused { version, error }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // What is kept is whole after every step: a fold that panicked elsewhere spoilt nothing.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn part(&self, version: &ReferenceVersion) -> Option<Part> {
        self.parts.iter().find(|(known, _)| known == version).map(|(_, part)| part.clone())
    }
}

impl Reference {
    /// Puts a part in its place; a database beside the others.
    pub fn add(&mut self, part: Part) {
        match part {
            Part::AsRelationships(part) => self.relationships = part,
            Part::Organisations(part) => self.organisations = part,
            Part::Vrps(part) => self.vrps = part,
            Part::Aspas(part) => self.aspas = part,
            Part::Edges(part) => self.geo.edges = part,
            Part::Geoip(part) => self.geo.add(part),
        }
    }

    /// Hash of the contents of a kind, where there are any.
    #[must_use]
    pub fn hash_of(&self, kind: ReferenceKind) -> Option<&Text> {
        self.set.of(kind).map(|version| &version.hash)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    struct Shelved {
        contents: BTreeMap<Text, Vec<u8>>,
        asked: Arc<AtomicU32>,
    }

    impl Shelf for Shelved {
        fn get(&self, hash: &str) -> Result<Option<Vec<u8>>, String> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            Ok(self.contents.get(hash).cloned())
        }
    }

    fn contents(kind: ReferenceKind, text: &str) -> Contents {
        Contents::read(kind, text.as_bytes().to_vec(), Made::Whenever).unwrap()
    }

    fn set(all: &[&Contents]) -> ReferenceSet {
        let versions = all.iter().map(|contents| contents.version.clone()).collect();
        ReferenceSet { versions, doubt: None }
    }

    /// A library over these contents, and how often its shelf was asked.
    fn library(all: &[&Contents]) -> (Library, Arc<AtomicU32>) {
        let asked = Arc::<AtomicU32>::default();
        let contents =
            all.iter().map(|c| (Text::clone(&c.version.hash), c.bytes.clone())).collect();
        (Library::new(Shelved { contents, asked: Arc::clone(&asked) }), asked)
    }

    #[test]
    fn a_part_that_stays_is_read_once() {
        let links = contents(ReferenceKind::AsRelationships, "1|2|-1\n");
        let (one, two) = (
            contents(ReferenceKind::Vrps, "64510,203.0.113.0/24,24\n"),
            contents(ReferenceKind::Vrps, "64511,203.0.113.0/24,24\n"),
        );
        let (library, asked) = library(&[&links, &one, &two]);
        let first = library.get(&set(&[&links, &one])).unwrap();
        let again = library.get(&set(&[&links, &one])).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        let second = library.get(&set(&[&links, &two])).unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 3);
        assert!(Arc::ptr_eq(&first.relationships, &second.relationships));
        assert!(!Arc::ptr_eq(&first.vrps, &second.vrps));
        assert_eq!(second.hash_of(ReferenceKind::Vrps), Some(&two.version.hash));
        library.keep(&one);
        library.get(&set(&[&one])).unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 3, "what was just read is not read again");
    }

    #[test]
    fn contents_that_are_gone_or_damaged_are_told_with_a_remedy() {
        let links = contents(ReferenceKind::AsRelationships, "1|2|-1\n");
        let (empty, _) = library(&[]);
        let missing = empty.get(&set(&[&links])).unwrap_err().to_string();
        assert!(missing.contains("restore them from a copy"), "{missing}");
        let damaged = Contents { bytes: b"1|3|-1\n".to_vec(), ..links.clone() };
        let (damaged, _) = library(&[&damaged]);
        let refused = damaged.get(&set(&[&links])).unwrap_err();
        assert!(matches!(refused, LibraryError::Damaged { .. }), "{refused}");
    }
}
