//! Settings of an input, what is kept of its streams, and what came of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemas::batch::Account;
use schemas::log::Position;
use schemas::tables::Text;
use serde::{Deserialize, Serialize};

use super::progress::InputCounts;
use super::stream::Format;
use crate::source::folder::{FileBook, FileIdentity, FilePosition};

/// What stands between an input's name and a stream's in a key of the positions.
pub(super) const BETWEEN: char = '\n';

/// A stream's name in, its collector out.
pub type CollectorOf = dyn Fn(&str) -> Option<Text> + Send + Sync;

/// Settings of one input.
pub struct InputSettings {
    /// Its name in the configuration, and in rows.
    pub name: Text,
    /// Collector that rows name.
    pub collector: Text,
    /// What its streams are.
    pub format: Format,
    /// Which stream is which file, for a followed folder.
    pub book: Option<Arc<FileBook>>,
    /// Collector of a stream by its name, where it is not that of the input.
    pub collector_of: Option<Arc<CollectorOf>>,
    /// Where is counted what became of what it told.
    pub counts: Arc<InputCounts>,
    /// Whether it is a listener: nobody else can have it.
    pub belongs_to_process: bool,
}

/// What came of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputReport {
    /// The input.
    pub name: Text,
    /// Its counts in this run.
    pub account: Account,
    /// The first things that were wrong, in words.
    pub problems: Vec<String>,
}

/// What is kept of a file beside its position.
#[derive(Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) identity: Option<FileIdentity>,
    pub(super) state: Vec<u8>,
}

/// The positions of one input's streams, by the stream's name: what its source needs to go on.
#[must_use]
pub fn positions_of(
    positions: &BTreeMap<Text, Position>,
    input: &str,
) -> (BTreeMap<String, u64>, Vec<FilePosition>) {
    let (mut offsets, mut files) = (BTreeMap::new(), Vec::new());
    for (key, position) in positions {
        let Some((name, stream)) = key.split_once(BETWEEN) else { continue };
        if name != input {
            continue;
        }
        offsets.insert(stream.to_owned(), position.next_offset);
        let kept = postcard::from_bytes::<Kept>(&position.session).ok();
        if let Some(identity) = kept.and_then(|kept| kept.identity) {
            files.push(FilePosition {
                identity,
                plain_bytes: position.bytes,
                is_done: position.is_done,
            });
        }
    }
    (offsets, files)
}
