//! Rows as text: batches in, a table, CSV, TSV or JSON out, as they come.
//!
//! Times are RFC 3339, octets hexadecimal; a list or struct stands as JSON in CSV and TSV, where a
//! null is empty. JSON writes nulls. Only the table is held back until its rows are there.

use std::io::{self, BufWriter, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::csv;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::writer::{EncoderOptions, JsonArray, LineDelimited, make_encoder};
use arrow::json::{Writer as JsonWriter, WriterBuilder};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow::util::pretty::pretty_format_batches_with_options;

/// A time without a zone is one of UTC, as everywhere in the lake.
const TIME: &str = "%Y-%m-%dT%H:%M:%S%.fZ";

/// Form of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Columns side by side, for people
    Table,
    /// Comma-separated, with a header
    Csv,
    /// Tab-separated, with a header
    Tsv,
    /// One array for each statement
    Json,
    /// One object a line
    NdJson,
}

/// Where rows go. A reader who leaves early (`| head`) ends the output, not the program.
#[derive(Clone)]
pub(crate) struct Output {
    inner: Arc<Mutex<Box<dyn Write + Send>>>,
    cut_off: Arc<AtomicBool>,
}

impl Output {
    pub(crate) fn stdout() -> Self {
        Self::to(io::stdout())
    }

    pub(crate) fn to(place: impl Write + Send + 'static) -> Self {
        Self::new(Box::new(BufWriter::with_capacity(1 << 16, place)))
    }

    fn new(inner: Box<dyn Write + Send>) -> Self {
        Self { inner: Arc::new(Mutex::new(inner)), cut_off: Arc::default() }
    }

    pub(crate) fn is_cut_off(&self) -> bool {
        self.cut_off.load(Ordering::Relaxed)
    }

    fn attempt<T>(
        &self,
        done: T,
        write: impl FnOnce(&mut dyn Write) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        match write(inner.as_mut()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.cut_off.store(true, Ordering::Relaxed);
                Ok(done)
            }
            other => other,
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.attempt(bytes.len(), |inner| inner.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.attempt((), |inner| inner.flush())
    }
}

/// How rows are shown.
#[derive(Clone, Debug)]
pub(crate) struct Printer {
    pub(crate) format: Format,
    /// Rows of a table; none: all.
    pub(crate) rows_max: Option<usize>,
    /// Tables with one line a column.
    pub(crate) expanded: bool,
}

/// The rows of one statement on their way out.
pub(crate) enum Rows {
    /// A statement without rows.
    Nothing,
    Table {
        schema: SchemaRef,
        batches: Vec<RecordBatch>,
        left: usize,
        expanded: bool,
        output: Output,
    },
    Csv(Box<csv::Writer<Output>>),
    Json(JsonWriter<Output, JsonArray>, Output),
    NdJson(JsonWriter<Output, LineDelimited>),
}

impl Printer {
    pub(crate) fn start(&self, schema: SchemaRef, output: Output) -> Result<Rows> {
        if schema.fields().is_empty() {
            return Ok(Rows::Nothing);
        }
        let json = || {
            let builder = WriterBuilder::new().with_explicit_nulls(true);
            builder.with_timestamp_format(TIME.to_owned())
        };
        Ok(match self.format {
            Format::Table => {
                let left = self.rows_max.unwrap_or(usize::MAX);
                let batches = Vec::new();
                Rows::Table { schema, batches, left, expanded: self.expanded, output }
            }
            Format::Csv => Rows::separated(b',', &schema, output)?,
            Format::Tsv => Rows::separated(b'\t', &schema, output)?,
            Format::Json => Rows::Json(json().build(output.clone()), output),
            Format::NdJson => Rows::NdJson(json().build(output)),
        })
    }
}

impl Rows {
    fn separated(delimiter: u8, schema: &SchemaRef, output: Output) -> Result<Self> {
        let builder = csv::WriterBuilder::new().with_delimiter(delimiter).with_header(true);
        let mut writer = builder.with_timestamp_format(TIME.to_owned()).build(output);
        // The header stands even above no rows.
        writer.write(&flat(&RecordBatch::new_empty(Arc::clone(schema)))?)?;
        Ok(Self::Csv(Box::new(writer)))
    }

    /// Takes a batch; false if no more are wanted.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<bool> {
        match self {
            Self::Nothing => {}
            Self::Table { batches, left, .. } => {
                let taken = batch.num_rows().min(*left);
                batches.push(batch.slice(0, taken));
                *left -= taken;
                return Ok(taken == batch.num_rows());
            }
            Self::Csv(writer) => writer.write(&flat(batch)?)?,
            Self::Json(writer, _) => writer.write(batch)?,
            Self::NdJson(writer) => writer.write(batch)?,
        }
        Ok(true)
    }

    pub(crate) fn finish(&mut self) -> Result<()> {
        match self {
            Self::Nothing | Self::Csv(_) => {}
            Self::Table { batches, expanded: true, output, .. } => {
                for batch in batches {
                    write_expanded(batch, output)?;
                }
            }
            Self::Table { schema, batches, output, .. } => {
                if batches.is_empty() {
                    batches.push(RecordBatch::new_empty(Arc::clone(schema)));
                }
                writeln!(output, "{}", pretty_format_batches_with_options(batches, &options())?)?;
            }
            Self::Json(writer, output) => {
                writer.finish()?;
                writeln!(output)?;
            }
            Self::NdJson(writer) => writer.finish()?,
        }
        Ok(())
    }
}

fn options() -> FormatOptions<'static> {
    FormatOptions::default().with_timestamp_format(Some(TIME))
}

/// One line a column, a line between rows.
fn write_expanded(batch: &RecordBatch, output: &mut Output) -> Result<()> {
    let schema = batch.schema();
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let width = names.iter().map(|name| name.len()).max().unwrap_or_default();
    let options = options();
    let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options));
    let columns = columns.collect::<Result<Vec<_>, ArrowError>>()?;
    for row in 0..batch.num_rows() {
        writeln!(output, "{:-<width$}-+-", "")?;
        for (name, column) in names.iter().zip(&columns) {
            writeln!(output, "{name:width$} | {}", column.value(row).try_to_string()?)?;
        }
    }
    Ok(())
}

/// A batch without nested columns: each of their values becomes its JSON.
fn flat(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = batch.schema();
    if !schema.fields().iter().any(|field| field.data_type().is_nested()) {
        return Ok(batch.clone());
    }
    let mut fields: Vec<FieldRef> = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        if field.data_type().is_nested() {
            fields.push(Arc::new(Field::new(field.name(), DataType::Utf8, true)));
            columns.push(Arc::new(as_json(field, column)?));
        } else {
            fields.push(Arc::clone(field));
            columns.push(Arc::clone(column));
        }
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

fn as_json(field: &FieldRef, column: &ArrayRef) -> Result<StringArray, ArrowError> {
    let options =
        EncoderOptions::default().with_explicit_nulls(true).with_timestamp_format(TIME.to_owned());
    let mut encoder = make_encoder(field, column.as_ref(), &options)?;
    let mut bytes = Vec::new();
    let values = (0..column.len()).map(|row| {
        if encoder.is_null(row) {
            return Ok(None);
        }
        bytes.clear();
        encoder.encode(row, &mut bytes);
        let text = std::str::from_utf8(&bytes);
        text.map(|text| Some(text.to_owned()))
            .map_err(|error| ArrowError::JsonError(error.to_string()))
    });
    values.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{FixedSizeBinaryArray, ListArray, TimestampMicrosecondArray, UInt32Array};
    use arrow::datatypes::UInt32Type;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn batch() -> RecordBatch {
        let times = TimestampMicrosecondArray::from(vec![Some(1_767_225_600_500_000), None]);
        let lists = vec![Some(vec![Some(1), Some(2)]), None];
        let octets = vec![Some([0xab, 0x01].as_slice()), None];
        RecordBatch::try_from_iter_with_nullable([
            ("time", Arc::new(times.with_timezone("UTC")) as ArrayRef, true),
            ("name", Arc::new(StringArray::from(vec![Some("a,\"b"), None])), true),
            ("n", Arc::new(UInt32Array::from(vec![7, 8])), false),
            ("list", Arc::new(ListArray::from_iter_primitive::<UInt32Type, _, _>(lists)), true),
            (
                "octets",
                Arc::new(
                    FixedSizeBinaryArray::try_from_sparse_iter_with_size(octets.into_iter(), 2)
                        .unwrap(),
                ),
                true,
            ),
        ])
        .unwrap()
    }

    fn printed(printer: &Printer, batches: &[RecordBatch]) -> String {
        let kept = Kept::default();
        let mut output = Output::new(Box::new(kept.clone()));
        let mut rows = printer.start(batch().schema(), output.clone()).unwrap();
        for batch in batches {
            if !rows.write(batch).unwrap() {
                break;
            }
        }
        rows.finish().unwrap();
        drop(rows);
        output.flush().unwrap();
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn plain(format: Format) -> Printer {
        Printer { format, rows_max: None, expanded: false }
    }

    #[test]
    fn each_format_writes_times_nulls_lists_and_octets_its_way() {
        assert_eq!(
            printed(&plain(Format::Csv), &[batch()]),
            "time,name,n,list,octets\n\
             2026-01-01T00:00:00.500Z,\"a,\"\"b\",7,\"[1,2]\",ab01\n,,8,,\n"
        );
        assert_eq!(
            printed(&plain(Format::Tsv), &[batch()]),
            "time\tname\tn\tlist\toctets\n\
             2026-01-01T00:00:00.500Z\t\"a,\"\"b\"\t7\t[1,2]\tab01\n\t\t8\t\t\n"
        );
        let first = r#"{"time":"2026-01-01T00:00:00.500Z","name":"a,\"b","n":7,"list":[1,2],"octets":"ab01"}"#;
        let second = r#"{"time":null,"name":null,"n":8,"list":null,"octets":null}"#;
        assert_eq!(printed(&plain(Format::Json), &[batch()]), format!("[{first},{second}]\n"));
        assert_eq!(printed(&plain(Format::NdJson), &[batch()]), format!("{first}\n{second}\n"));
    }

    #[test]
    fn no_rows_are_a_header_an_empty_array_or_nothing() {
        assert_eq!(printed(&plain(Format::Csv), &[]), "time,name,n,list,octets\n");
        assert_eq!(printed(&plain(Format::Json), &[]), "[]\n");
        assert_eq!(printed(&plain(Format::NdJson), &[]), "");
        assert!(printed(&plain(Format::Table), &[]).contains("| time | name | n |"));
    }

    #[test]
    fn a_table_shows_as_many_rows_as_it_may() {
        let printer = Printer { rows_max: Some(3), ..plain(Format::Table) };
        let table = printed(&printer, &[batch(), batch(), batch()]);
        assert_eq!(table.lines().count(), 3 + 3 + 1, "{table}");
        let expanded = Printer { expanded: true, ..printer };
        let table = printed(&expanded, &[batch()]);
        assert!(table.contains("\nn      | 8\n"), "{table}");
    }

    #[test]
    fn a_reader_who_leaves_is_no_error() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }
        let output = Output::new(Box::new(Gone));
        let mut rows = plain(Format::NdJson).start(batch().schema(), output.clone()).unwrap();
        rows.write(&batch()).unwrap();
        rows.finish().unwrap();
        assert!(output.is_cut_off());
    }
}
