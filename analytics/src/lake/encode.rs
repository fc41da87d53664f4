//! Encoding: sorted rows to the bytes of one Parquet file. The same rows give the same bytes: no
//! clock, host, path or attempt is in them.

use std::sync::Arc;

use arrow::array::{RecordBatch, UInt64Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{WriterProperties, WriterPropertiesPtr};
use schemas::tables::{Row, Table};

/// Rows of a row group at most.
const ROW_GROUP_ROWS_MAX: usize = 131_072;

/// Where a file lies in its chain: what its footer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The log.
    pub log: String,
    /// Its partition.
    pub partition: u32,
    /// First offset that the file answers for.
    pub start: u64,
    /// Offset after the last one.
    pub end: u64,
}

/// Sorts rows and encodes them.
///
/// # Errors
/// [`ParquetError`] if Parquet refuses the rows.
pub fn encode<R: Row>(
    rows: &[R],
    schema: &SchemaRef,
    span: &Span,
) -> Result<Vec<u8>, ParquetError> {
    // Sorted by reference: a row is hundreds of bytes.
    let mut rows: Vec<&R> = rows.iter().collect();
    rows.sort_by(|left, right| left.order(right));
    let batch = R::batch(&rows, Arc::clone(schema))?;
    write(&batch, properties(span)?)
}

/// Encodes batches of rows that come from files of a table: sorted anew, equal keys in the order in
/// which they come.
///
/// # Errors
/// [`ParquetError`] if Parquet refuses the rows.
pub fn encode_sorted(
    batches: &[RecordBatch],
    table: Table,
    span: &Span,
) -> Result<Vec<u8>, ParquetError> {
    let batch = concat_batches(&table.schema(), batches)?;
    let keys = sort_keys(&batch, table)?;
    let mut order: Vec<usize> = (0..batch.num_rows()).collect();
    order.sort_by(|left, right| keys.row(*left).cmp(&keys.row(*right)));
    let order: UInt64Array = order.into_iter().map(|row| row as u64).collect();
    write(&take_record_batch(&batch, &order)?, properties(span)?)
}

/// The columns that a table is ordered by, as rows that compare like [`Row::order`].
///
/// # Errors
/// [`ArrowError`] if a column is not there.
pub fn sort_keys(batch: &RecordBatch, table: Table) -> Result<Rows, ArrowError> {
    let mut columns = Vec::new();
    for key in table.sort_order {
        let column = batch.column_by_name(key);
        columns.push(Arc::clone(column.ok_or_else(|| ArrowError::SchemaError((*key).to_owned()))?));
    }
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone()));
    RowConverter::new(fields.collect())?.convert_columns(&columns)
}

fn entry(key: &str, value: String) -> KeyValue {
    KeyValue::new(format!("peerscope.{key}"), value)
}

/// What a file says of the bytes before its indexes and its footer: all of its pages. (The pages' own
/// checksums, which Parquet knows, are not written by the writer that we use.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pages {
    /// Their number, from the beginning of the file on.
    bytes: usize,
    /// CRC-32 of them.
    checksum: u32,
}

impl Pages {
    fn of(bytes: &[u8]) -> Self {
        Self { bytes: bytes.len(), checksum: crc32fast::hash(bytes) }
    }

    /// As a footer has it: `BYTES CHECKSUM`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (bytes, checksum) = text.split_once(' ')?;
        let checksum = u32::from_str_radix(checksum, 16).ok()?;
        Some(Self { bytes: bytes.parse().ok()?, checksum })
    }

    /// Whether a file still has the bytes that were written.
    #[must_use]
    pub fn are_in(&self, file: &[u8]) -> bool {
        file.get(..self.bytes).is_some_and(|bytes| Self::of(bytes) == *self)
    }
}

impl std::fmt::Display for Pages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:08x}", self.bytes, self.checksum)
    }
}

fn properties(span: &Span) -> Result<WriterPropertiesPtr, ParquetError> {
    let footer = vec![
        entry("log", span.log.clone()),
        entry("partition", span.partition.to_string()),
        entry("start", span.start.to_string()),
        entry("end", span.end.to_string()),
    ];
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS_MAX))
        .set_created_by("peerscope".to_owned())
        .set_key_value_metadata(Some(footer))
        .build();
    Ok(Arc::new(properties))
}

fn write(batch: &RecordBatch, properties: WriterPropertiesPtr) -> Result<Vec<u8>, ParquetError> {
    let mut bytes = Vec::new();
    let properties = WriterProperties::clone(&properties);
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties))?;
    writer.write(batch)?;
    writer.flush()?;
    writer.sync()?;
    let pages = Pages::of(writer.inner());
    writer.append_key_value_metadata(entry("pages", pages.to_string()));
    writer.close()?;
    Ok(bytes)
}
