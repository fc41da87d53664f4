//! Settings of an input, what is kept of its streams, and what came of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemas::batch::Account;
use schemas::log::Position;
use schemas::tables::Text;
use serde::{Deserialize, Serialize};

use super::progress::InputCounts;
use super::stream::Format;
use crate::kafka::topic_id::TopicId;
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

/// What is kept of a stream beside its position.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Kept {
    /// Which file it is.
    pub(super) identity: Option<FileIdentity>,
    /// Which topic of its name it is.
    pub(super) topic: Option<TopicId>,
    /// What the next bytes need.
    pub(super) state: Vec<u8>,
    /// What became of what was read and is not told in `ledger` yet.
    pub(super) account: Account,
}

impl Kept {
    /// What a position keeps; nothing of one that keeps none.
    pub(super) fn of(position: &Position) -> Self {
        postcard::from_bytes(&position.session).unwrap_or_default()
    }

    /// As a position keeps it.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let Self { identity, topic, state, account } = self;
        let is_empty =
            identity.is_none() && topic.is_none() && state.is_empty() && account.read == 0;
        if is_empty { Vec::new() } else { postcard::to_stdvec(self).unwrap_or_default() }
    }
}

/// Where a stream is, by its own numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamPlace {
    /// The message that comes next.
    pub next_offset: u64,
    /// Which topic of its name it is, if that was told.
    pub topic: Option<TopicId>,
}

/// The positions of one input's streams, by the stream's name: what its source needs to go on.
#[must_use]
pub fn positions_of(
    positions: &BTreeMap<Text, Position>,
    input: &str,
) -> (BTreeMap<String, StreamPlace>, Vec<FilePosition>) {
    let (mut places, mut files) = (BTreeMap::new(), Vec::new());
    for (key, position) in positions {
        let Some((name, stream)) = key.split_once(BETWEEN) else { continue };
        if name != input {
            continue;
        }
        let Kept { identity, topic, .. } = Kept::of(position);
        let place = StreamPlace { next_offset: position.next_offset, topic };
        places.insert(stream.to_owned(), place);
        if let Some(identity) = identity {
            files.push(FilePosition {
                identity,
                plain_bytes: position.bytes,
                is_done: position.is_done,
            });
        }
    }
    (places, files)
}
