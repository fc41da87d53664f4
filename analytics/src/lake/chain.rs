//! Chains: one table's files of one partition, each starting where the one before ended. Files roll
//! by rows, and where the log says so, so the same log gives the same files.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use schemas::tables::{Row, Table};
use schemas::time::Timestamp;

use super::encode::{Span, encode};
use super::layout::file_key;
use super::store::{LakeError, LocalStore};

/// Rows at which a file is closed.
pub const FILE_ROWS_MAX: usize = 131_072;

/// Where a fold stands: the offset after its last record, and that record's log time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Offset after the last record.
    pub end: u64,
    /// Log time of the last record.
    pub time: Timestamp,
}

/// One table's files of one partition.
pub struct Chain<R> {
    table: Table,
    schema: SchemaRef,
    store: Arc<LocalStore>,
    log: String,
    partition: u32,
    start: u64,
    opened: Option<Timestamp>,
    rows: Vec<R>,
    /// Rows committed.
    pub committed: u64,
}

impl<R: Row> Chain<R> {
    /// An empty chain.
    #[must_use]
    pub fn new(table: Table, store: &Arc<LocalStore>, log: &str, partition: u32) -> Self {
        Self {
            table,
            schema: table.schema(),
            store: Arc::clone(store),
            log: log.to_owned(),
            partition,
            start: 0,
            opened: None,
            rows: Vec::new(),
            committed: 0,
        }
    }

    /// Takes rows of the records before `position`; commits full files.
    ///
    /// # Errors
    /// [`LakeError`] if a file cannot be put.
    pub fn take(&mut self, rows: &mut Vec<R>, position: Position) -> Result<(), LakeError> {
        self.opened.get_or_insert(position.time);
        self.rows.append(rows);
        if self.rows.len() >= FILE_ROWS_MAX { self.commit(position) } else { Ok(()) }
    }

    /// Commits what is there, as the log says; `must_exist` as in [`Self::finish`].
    ///
    /// # Errors
    /// [`LakeError`] if a file cannot be put.
    pub fn roll(&mut self, position: Position, must_exist: bool) -> Result<(), LakeError> {
        if !self.rows.is_empty() || (must_exist && self.start == 0) {
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
        self.opened.get_or_insert(position.time);
        if !self.rows.is_empty() || (must_exist && self.committed == 0) {
            self.commit(position)?;
        }
        Ok(self.committed)
    }

    fn commit(&mut self, position: Position) -> Result<(), LakeError> {
        let span = Span {
            log: self.log.clone(),
            partition: self.partition,
            start: self.start,
            end: position.end,
        };
        let table = self.table.name;
        let bytes = encode(&self.rows, &self.schema, &span)
            .map_err(|error| LakeError::Encode { table, error })?;
        let opened = self.opened.take().unwrap_or(position.time);
        let key = file_key(table, &self.log, self.partition, self.start, opened);
        self.store.put(&key, &bytes)?;
        self.committed += self.rows.len() as u64;
        self.rows.clear();
        self.start = position.end;
        Ok(())
    }
}
