//! Chains: one table's files of one partition, each starting where the one before ended. Files roll
//! by rows, and where the log says so, so the same log gives the same files.
//!
//! A fold that begins again finds the head of each chain in the lake: rows of records before it are
//! there already and are dropped. Whoever else writes the chain makes the same files; where he does
//! not, his count, because they were first.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use schemas::killpoint::{self, KillPoint};
use schemas::tables::{Row, Table};
use schemas::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::encode::{Span, encode};
use super::layout::file_key;
use super::store::{LakeError, Store};

/// Rows at which a file is closed.
pub const FILE_ROWS_MAX: usize = 131_072;

/// Where a fold stands: the offset after its last record, and that record's log time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Offset after the last record.
    pub end: u64,
    /// Log time of the last record.
    pub time: Timestamp,
}

/// What a snapshot says of a chain: nothing waits, and the next file begins there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainState {
    /// Offset at which the next file begins.
    pub start: u64,
    /// Log time of the first record behind it, if there was one.
    pub opened: Option<Timestamp>,
}

/// Whose files: what stands in their names.
#[derive(Clone, Debug)]
pub struct ChainName {
    /// Name of the log.
    pub log: String,
    /// Its partition.
    pub partition: u32,
}

/// One table's files of one partition.
pub struct Chain<R> {
    table: Table,
    schema: SchemaRef,
    store: Arc<Store>,
    name: ChainName,
    start: u64,
    opened: Option<Timestamp>,
    rows: Vec<R>,
    /// Where the lake's files of this chain end; none if it has none.
    head: Option<u64>,
    /// Rows in the lake, of the records that this value was shown.
    pub committed: u64,
}

impl<R: Row> Chain<R> {
    /// A chain whose files in the lake end at `head`.
    #[must_use]
    pub fn new(table: Table, store: &Arc<Store>, name: ChainName, head: Option<u64>) -> Self {
        Self {
            table,
            schema: table.schema(),
            store: Arc::clone(store),
            name,
            start: head.unwrap_or_default(),
            opened: None,
            rows: Vec::new(),
            head,
            committed: 0,
        }
    }

    /// Goes on behind a snapshot.
    ///
    /// # Errors
    /// [`LakeError::Hole`] if the lake's files end before those that the snapshot knew.
    pub fn resume(&mut self, state: ChainState) -> Result<(), LakeError> {
        let head = self.head.unwrap_or_default();
        if head < state.start {
            return Err(LakeError::Hole {
                table: self.table.name,
                partition: self.name.partition,
                head,
                wanted: state.start,
            });
        }
        self.opened = state.opened.filter(|_| head == state.start);
        Ok(())
    }

    /// What a snapshot is to say; nothing may wait.
    #[must_use]
    pub const fn state(&self) -> ChainState {
        ChainState { start: self.start, opened: self.opened }
    }

    /// Takes rows of the records before `position`; commits full files.
    ///
    /// # Errors
    /// [`LakeError`] if a file cannot be put.
    pub fn take(&mut self, rows: &mut Vec<R>, position: Position) -> Result<(), LakeError> {
        if self.head.is_some_and(|head| position.end <= head) {
            self.committed += rows.len() as u64;
            rows.clear();
            return Ok(());
        }
        self.opened.get_or_insert(position.time);
        if !rows.is_empty() {
            self.rows.append(rows);
            killpoint::reach(KillPoint::Buffer);
        }
        if self.rows.len() >= FILE_ROWS_MAX { self.commit(position) } else { Ok(()) }
    }

    /// Commits what is there, as the log says; `must_exist` as in [`Self::finish`].
    ///
    /// # Errors
    /// [`LakeError`] if a file cannot be put.
    pub fn roll(&mut self, position: Position, must_exist: bool) -> Result<(), LakeError> {
        if !self.rows.is_empty() || (must_exist && self.head.is_none()) {
            self.opened.get_or_insert(position.time);
            self.commit(position)?;
        }
        Ok(())
    }

    /// Commits what is left. A chain that must exist gets a file without rows if it has none.
    ///
    /// # Errors
    /// [`LakeError`] if a file cannot be put.
    pub fn finish(mut self, position: Position, must_exist: bool) -> Result<u64, LakeError> {
        self.roll(position, must_exist)?;
        Ok(self.committed)
    }

    fn commit(&mut self, position: Position) -> Result<(), LakeError> {
        let span = Span {
            log: self.name.log.clone(),
            partition: self.name.partition,
            start: self.start,
            end: position.end,
        };
        let table = self.table.name;
        killpoint::reach(KillPoint::Encode);
        let bytes = encode(&self.rows, &self.schema, &span)
            .map_err(|error| LakeError::Encode { table, error })?;
        let opened = self.opened.take().unwrap_or(position.time);
        let ChainName { log, partition } = &self.name;
        let key = file_key(table, log, *partition, self.start, opened);
        self.store.put(&key, &bytes)?;
        self.committed += self.rows.len() as u64;
        self.rows.clear();
        self.start = position.end;
        self.head = Some(position.end);
        Ok(())
    }
}
