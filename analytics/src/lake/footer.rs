//! Footers: what a file of a table says of itself, and its rows in the columns of today.

use std::cell::Cell;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Once};

use arrow::array::{RecordBatch, new_null_array};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::{ProjectionMask, parquet_to_arrow_schema};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::statistics::Statistics;
use schemas::tables::Table;
use schemas::time::Timestamp;

use super::encode::{Pages, Span};
use super::store::{Entry, LakeError, Store};

/// Bytes read at first: the footers of our files are smaller.
const FOOTER_BYTES: u64 = 64 << 10;
/// A footer is not longer than this.
const FOOTER_BYTES_MAX: u64 = 256 << 20;

/// Rows decoded at once.
const BATCH_ROWS: usize = 65_536;

/// Why a file cannot be read as one of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileProblem {
    /// It went away, as inputs of a compaction do.
    #[error("is gone")]
    Gone,
    /// Not Parquet, or cut off, or changed.
    #[error("cannot be read: {0}")]
    Damaged(String),
    /// Parquet, but with no place in a chain.
    #[error("its footer lacks peerscope.{0}")]
    NoPlace(&'static str),
    /// A column that is not of the type of today.
    #[error("column {column} is {found}, not {wanted}")]
    Type {
        /// The column.
        column: String,
        /// Its type in the file.
        found: String,
        /// Its type.
        wanted: String,
    },
    /// A column that may not be null is not there.
    #[error("column {0} is not there")]
    Column(String),
}

impl From<ParquetError> for FileProblem {
    fn from(error: ParquetError) -> Self {
        Self::Damaged(error.to_string())
    }
}

/// What a file says of itself.
#[derive(Clone, Debug)]
pub struct Footer {
    /// Its place in a chain.
    pub span: Span,
    /// Its rows.
    pub rows: u64,
    /// Its columns.
    pub schema: SchemaRef,
    /// Its pages; none in a file that was written before they were noted.
    pub pages: Option<Pages>,
    /// First and last of its `window_start`, if it has that column and tells.
    pub starts: Option<(Timestamp, Timestamp)>,
}

/// Reads the footer of a file.
///
/// # Errors
/// [`LakeError`] if the store fails; the inner error if the file is none of ours.
pub fn footer(store: &Store, file: &Entry) -> Result<Result<Footer, FileProblem>, LakeError> {
    let mut wanted = FOOTER_BYTES;
    loop {
        let start = file.bytes.saturating_sub(wanted);
        let Some(bytes) = store.get_range(&file.key, start..file.bytes)? else {
            return Ok(Err(FileProblem::Gone));
        };
        let more = match guarded(|| parse(Bytes::from(bytes), file.bytes)) {
            Ok(Parsed::Footer(footer)) => return Ok(Ok(*footer)),
            Ok(Parsed::NeedsMore(more)) if start > 0 => more,
            Ok(Parsed::NeedsMore(_)) => {
                return Ok(Err(FileProblem::Damaged("its footer is cut off".to_owned())));
            }
            Err(problem) => return Ok(Err(problem)),
        };
        wanted = more.max(wanted.saturating_mul(2));
        if wanted > FOOTER_BYTES_MAX {
            return Ok(Err(FileProblem::Damaged(format!("a footer of {more} bytes"))));
        }
    }
}

enum Parsed {
    Footer(Box<Footer>),
    /// So many bytes from the end.
    NeedsMore(u64),
}

fn parse(bytes: Bytes, size: u64) -> Result<Parsed, FileProblem> {
    let mut reader = ParquetMetaDataReader::new();
    match reader.try_parse_sized(&bytes, size) {
        Ok(()) => Ok(Parsed::Footer(Box::new(footer_of(&reader.finish()?)?))),
        Err(ParquetError::NeedMoreData(more)) => {
            Ok(Parsed::NeedsMore(u64::try_from(more).unwrap_or(u64::MAX)))
        }
        Err(error) => Err(error.into()),
    }
}

thread_local! {
    /// Whether a panic on this thread is caught and told as damage.
    static IS_GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Decodes what may hold anything. The Parquet reader panics on some bytes that no writer makes; that
/// is damage of the file, not a bug that anybody is to report.
fn guarded<T>(decode: impl FnOnce() -> Result<T, FileProblem>) -> Result<T, FileProblem> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !IS_GUARDED.get() {
                loud(panic);
            }
        }));
    });
    IS_GUARDED.set(true);
    let decoded = std::panic::catch_unwind(AssertUnwindSafe(decode));
    IS_GUARDED.set(false);
    decoded.unwrap_or_else(|_| Err(FileProblem::Damaged("its bytes make no sense".to_owned())))
}

fn footer_of(metadata: &ParquetMetaData) -> Result<Footer, FileProblem> {
    let file = metadata.file_metadata();
    let entries = file.key_value_metadata();
    let value = |name: &'static str| {
        let mut entries = entries.into_iter().flatten();
        let key = format!("peerscope.{name}");
        let entry = entries.find(|entry| entry.key == key);
        entry.and_then(|entry| entry.value.clone()).ok_or(FileProblem::NoPlace(name))
    };
    let number = |name| value(name)?.parse().map_err(|_| FileProblem::NoPlace(name));
    let span = Span {
        log: value("log")?,
        partition: value("partition")?.parse().map_err(|_| FileProblem::NoPlace("partition"))?,
        start: number("start")?,
        end: number("end")?,
    };
    let schema = parquet_to_arrow_schema(file.schema_descr(), entries)?;
    let rows = u64::try_from(file.num_rows()).unwrap_or_default();
    let pages = value("pages").ok().and_then(|pages| Pages::parse(&pages));
    Ok(Footer { span, rows, schema: Arc::new(schema), pages, starts: starts(metadata) })
}

/// The span of `window_start` by the statistics of all row groups.
fn starts(metadata: &ParquetMetaData) -> Option<(Timestamp, Timestamp)> {
    let mut span: Option<(i64, i64)> = None;
    for group in metadata.row_groups() {
        let of_column =
            |column: &&ColumnChunkMetaData| column.column_path().string() == "window_start";
        let Statistics::Int64(told) = group.columns().iter().find(of_column)?.statistics()? else {
            return None;
        };
        let (min, max) = (*told.min_opt()?, *told.max_opt()?);
        span = Some(span.map_or((min, max), |(first, last)| (first.min(min), last.max(max))));
    }
    span.map(|(first, last)| (Timestamp(first), Timestamp(last)))
}

/// Holds the columns of a file against those of today. A column that was added since is null in it.
///
/// # Errors
/// The first column that cannot be read as it is declared.
pub fn check_columns(schema: &SchemaRef, table: Table) -> Result<(), FileProblem> {
    for field in table.schema().fields() {
        match schema.field_with_name(field.name()) {
            Ok(found) if found.data_type() == field.data_type() => {}
            Ok(found) => {
                return Err(FileProblem::Type {
                    column: field.name().clone(),
                    found: found.data_type().to_string(),
                    wanted: field.data_type().to_string(),
                });
            }
            Err(_) if field.is_nullable() => {}
            Err(_) => return Err(FileProblem::Column(field.name().clone())),
        }
    }
    Ok(())
}

/// The rows of a file in the columns of today, or in some of them.
///
/// # Errors
/// What is wrong with the file.
pub fn rows(
    bytes: Vec<u8>,
    table: Table,
    columns: Option<&[&str]>,
) -> Result<RecordBatch, FileProblem> {
    guarded(|| decode(bytes, table, columns))
}

fn decode(
    bytes: Vec<u8>,
    table: Table,
    columns: Option<&[&str]>,
) -> Result<RecordBatch, FileProblem> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes))?;
    check_columns(builder.schema(), table)?;
    let schema = match columns {
        None => table.schema(),
        Some(names) => {
            let (schema, mut fields) = (table.schema(), Vec::new());
            for name in names {
                let field = schema.field_with_name(name);
                fields.push(field.map_err(|_| FileProblem::Column((*name).to_owned()))?.clone());
            }
            Arc::new(arrow::datatypes::Schema::new(fields))
        }
    };
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let mask = ProjectionMask::columns(builder.parquet_schema(), names.iter().copied());
    let mut batches = Vec::new();
    for batch in builder.with_projection(mask).with_batch_size(BATCH_ROWS).build()? {
        let batch = batch.map_err(|error| FileProblem::Damaged(error.to_string()))?;
        let column = |name: &&str| match batch.column_by_name(name) {
            Some(column) => Arc::clone(column),
            None => {
                let kind = schema.field_with_name(name).map(|field| field.data_type().clone());
                new_null_array(&kind.unwrap_or(arrow::datatypes::DataType::Null), batch.num_rows())
            }
        };
        let columns = names.iter().map(column).collect();
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns);
        batches.push(batch.map_err(|error| FileProblem::Damaged(error.to_string()))?);
    }
    concat_batches(&schema, &batches).map_err(|error| FileProblem::Damaged(error.to_string()))
}
