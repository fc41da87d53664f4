//! Reference data in a lake: contents that a log names by hash, compressed, kept for its reruns.

use std::io::Read as _;
use std::sync::Arc;

use super::layout::reference_key;
use super::store::{LakeError, Store};
use crate::reference::contents::{CONTENTS_BYTES_MAX, Contents, hash};
use crate::reference::library::Shelf;

/// zstd: text shrinks to a tenth, and reading it again costs little.
const LEVEL: i32 = 3;

/// The contents that a lake keeps.
pub struct LakeShelf {
    store: Arc<Store>,
}

impl LakeShelf {
    /// Those of a lake.
    #[must_use]
    pub fn new(store: &Arc<Store>) -> Self {
        Self { store: Arc::clone(store) }
    }

    /// Keeps contents, before any record names them.
    ///
    /// # Errors
    /// [`LakeError`] if the lake does not take them.
    pub fn keep(&self, contents: &Contents) -> Result<(), LakeError> {
        let key = reference_key(&contents.version.hash);
        if self.store.get(&key)?.is_some() {
            return Ok(());
        }
        let packed = zstd::bulk::compress(&contents.bytes, LEVEL)
            .map_err(|error| LakeError::Io { path: key.clone().into(), error })?;
        match self.store.put(&key, &packed) {
            // Another build packs the same contents into other bytes.
            Err(LakeError::Differs { .. }) if self.holds(contents) => Ok(()),
            put => put,
        }
    }

    fn holds(&self, contents: &Contents) -> bool {
        let there = self.get(&contents.version.hash).ok().flatten();
        there.is_some_and(|bytes| hash(&bytes) == contents.version.hash)
    }
}

impl Shelf for LakeShelf {
    fn get(&self, hash: &str) -> Result<Option<Vec<u8>>, String> {
        let key = reference_key(hash);
        let Some(packed) = self.store.get(&key).map_err(|error| error.to_string())? else {
            return Ok(None);
        };
        let unpacked = || -> std::io::Result<Vec<u8>> {
            let mut bytes = Vec::new();
            let decoder = zstd::stream::read::Decoder::new(packed.as_slice())?;
            decoder.take(CONTENTS_BYTES_MAX as u64).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        // What cannot be unpacked is as damaged as what has another hash.
        Ok(Some(unpacked().unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use schemas::reference::{ReferenceKind, ReferenceSet};

    use super::*;
    use crate::reference::contents::Made;
    use crate::reference::library::{Library, LibraryError};

    fn contents(text: &str) -> Contents {
        let bytes = text.as_bytes().to_vec();
        Contents::read(ReferenceKind::AsRelationships, bytes, Made::Whenever).unwrap()
    }

    #[test]
    fn what_is_kept_is_found_by_its_hash_and_damage_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let url = folder.path().join("lake");
        let store = Arc::new(Store::open(url.to_str().unwrap()).unwrap());
        let shelf = LakeShelf::new(&store);
        let (kept, other) = (contents("1|2|-1\n"), contents("1|3|-1\n"));
        shelf.keep(&kept).unwrap();
        shelf.keep(&kept).unwrap();
        assert_eq!(shelf.get(&kept.version.hash), Ok(Some(kept.bytes.clone())));
        assert_eq!(shelf.get(&other.version.hash), Ok(None));
        store.put(&reference_key(&other.version.hash), b"no zstd").unwrap();
        let set = ReferenceSet { versions: vec![other.version], doubt: None };
        let refused = Library::new(shelf).get(&set).unwrap_err();
        assert!(matches!(refused, LibraryError::Damaged { .. }), "{refused}");
    }
}
