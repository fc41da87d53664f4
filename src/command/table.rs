//! Answers of SQL queries as text: what the commands that print a story read the lake by.

use analytics::lake::identity::unfinished_replays;
use analytics::lake::{LakeError, LakeRoot, Store};
use analytics::sql::{Lake, Options, is_overtaken};
use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use schemas::time::Timestamp;

/// How often a query is asked whose files go while they are read.
pub(super) const ASKED_MAX: u32 = 10;

/// Rows of text; null stands as an empty text.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    rows: Vec<Vec<String>>,
}

impl Answer {
    /// Asks a lake one statement.
    ///
    /// # Errors
    /// What DataFusion says.
    pub(super) async fn of(lake: &Lake, sql: &str) -> anyhow::Result<Self> {
        for _ in 1..ASKED_MAX {
            let asked = async { lake.query(sql).await?.collect().await };
            match asked.await {
                Err(error) if is_overtaken(&error) => {}
                answer => return Self::of_batches(&answer?),
            }
        }
        Self::of_batches(&lake.query(sql).await?.collect().await?)
    }

    /// The rows of batches as text.
    ///
    /// # Errors
    /// A type that has no text.
    pub(super) fn of_batches(batches: &[RecordBatch]) -> anyhow::Result<Self> {
        let options = FormatOptions::default();
        let mut rows = Vec::new();
        for batch in batches {
            let columns = batch
                .columns()
                .iter()
                .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
                .collect::<Result<Vec<_>, _>>()?;
            for row in 0..batch.num_rows() {
                rows.push(columns.iter().map(|column| column.value(row).to_string()).collect());
            }
        }
        Ok(Self { rows })
    }

    /// The rows.
    pub(super) fn iter(&self) -> impl Iterator<Item = Cells<'_>> {
        self.rows.iter().map(|row| Cells(row))
    }

    /// The first row.
    pub(super) fn first(&self) -> Option<Cells<'_>> {
        self.iter().next()
    }

    /// Whether there is no row.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// The cells of one row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cells<'a>(&'a [String]);

impl<'a> Cells<'a> {
    /// The text of a column; empty for null.
    pub(super) fn text(self, column: usize) -> &'a str {
        self.0.get(column).map_or("", String::as_str)
    }

    /// The number of a column; none for null.
    pub(super) fn number(self, column: usize) -> Option<f64> {
        self.text(column).parse().ok()
    }

    /// The time of a column of microseconds since 1970; none for null.
    pub(super) fn time(self, column: usize) -> Option<Timestamp> {
        let micros: i64 = self.text(column).parse().ok()?;
        let rest = u32::try_from(micros.rem_euclid(1_000_000)).ok()?;
        Some(Timestamp::from_parts(micros.div_euclid(1_000_000), rest))
    }
}

/// Opens a lake for reading.
///
/// # Errors
/// A lake that is not there or not of this version.
pub(super) async fn open(root: &LakeRoot) -> anyhow::Result<Lake> {
    look_at(root)?;
    Ok(Lake::open(root, Options::default()).await?)
}

/// Refuses a place that is no lake, and warns of a replay that is a part of what it will be.
///
/// # Errors
/// [`LakeError::Missing`] for a place that is no lake; what its store says.
pub(super) fn look_at(root: &LakeRoot) -> Result<(), LakeError> {
    if !unfinished_replays(&Store::read_at(root)?)?.is_empty() {
        eprintln!(
            "peerscope: {root} holds an unfinished replay; what follows is a part of it. Run the \
             same replay again to complete it"
        );
    }
    Ok(())
}

/// A text as SQL writes it.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
