//! Samples in columns: Parquet and Arrow IPC. Columns have the names of the contract; their types may
//! be any that hold the thing: times as timestamps or epochs or text, round trips as any number,
//! addresses as text or as 4 or 16 bytes, text plain or as a dictionary.

use std::io::{self, BufRead, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;

use arrow::array::{
    Array, ArrayRef, AsArray as _, FixedSizeBinaryArray, Float64Array, Int64Array, RecordBatch,
    StringArray, UInt32Array,
};
use arrow::buffer::Buffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::reader::ChunkReader;
use schemas::bgp::Prefix;
use schemas::sample::{Statistic, Target};
use schemas::time::Timestamp;

use super::Body;
use super::collector::{Collector, SOURCE_BYTES_MAX};
use crate::decode::rtt::{self, SampleError};

/// Bytes of a stream that are read at once.
const STREAM_BYTES: usize = 1 << 20;
/// What the decoder says of bytes behind the end of a stream.
const BEHIND_THE_END: &str = "Unexpected EOS";
/// Rows decoded at once.
const BATCH_ROWS: usize = 8_192;
/// Bytes of a stream that is held because its end must be read first.
const HELD_BYTES_MAX: u64 = 4 << 30;
/// Columns that are read.
const NAMES: [&str; 8] =
    ["time", "ip", "prefix", "rtt_us", "rtt_ms", "source", "connection", "statistic"];

/// Reads a Parquet file.
pub(super) fn parquet(body: Body, collector: &mut Collector<'_>) -> Result<(), SampleError> {
    match body {
        Body::File(file) => parquet_chunks(file, collector),
        Body::Bytes(bytes) => parquet_chunks(bytes, collector),
        Body::Stream(stream) => parquet_chunks(held(stream)?, collector),
    }
}

/// The footer of a Parquet file stands at its end: a compressed one is held whole.
fn held(stream: impl io::Read) -> Result<bytes::Bytes, SampleError> {
    let mut bytes = Vec::new();
    let read = stream.take(HELD_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| SampleError::Columnar { detail: error.to_string() })?;
    match bytes.len() as u64 > HELD_BYTES_MAX {
        true => Err(SampleError::Columnar { detail: "more than 4 GiB in one piece".to_owned() }),
        false => Ok(bytes.into()),
    }
}

fn parquet_chunks(
    chunks: impl ChunkReader + 'static,
    collector: &mut Collector<'_>,
) -> Result<(), SampleError> {
    let refused =
        |error: &dyn std::fmt::Display| SampleError::Columnar { detail: error.to_string() };
    let builder =
        ParquetRecordBatchReaderBuilder::try_new(chunks).map_err(|error| refused(&error))?;
    Columns::check(builder.schema())?;
    let roots = builder.schema().fields().iter().enumerate();
    let wanted = roots.filter(|(_, field)| NAMES.contains(&field.name().as_str()));
    let mask = ProjectionMask::roots(
        builder.parquet_schema(),
        wanted.map(|(root, _)| root).collect::<Vec<_>>(),
    );
    let rows = builder.metadata().file_metadata().num_rows();
    // What a footer says is believed as far as there can be samples.
    collector.reserve(usize::try_from(rows).unwrap_or(0).min(1 << 24));
    let reader = builder.with_projection(mask).with_batch_size(BATCH_ROWS);
    let reader = reader.build().map_err(|error| refused(&error))?;
    batches(reader, collector)
}

/// Reads an Arrow IPC file or stream. A file is a stream between two marks (Arrow columnar format, "IPC
/// File Format"): it is read as one, and the places that its footer names are not needed.
pub(super) fn arrow(body: Body, collector: &mut Collector<'_>) -> Result<(), SampleError> {
    let refused =
        |error: &dyn std::fmt::Display| SampleError::Columnar { detail: error.to_string() };
    let mut reader = io::BufReader::with_capacity(STREAM_BYTES, body.reader());
    let is_file = reader.fill_buf().map_err(|error| refused(&error))?.starts_with(b"ARROW1");
    if is_file {
        reader.consume(8);
        // Some writers fill up to 64 bytes.
        while reader.fill_buf().map_err(|error| refused(&error))?.starts_with(&[0; 8]) {
            reader.consume(8);
        }
    }
    let mut stream = Stream::new(reader);
    let schema = stream.schema().map_err(|error| refused(&error))?;
    Columns::check(&schema)?;
    batches(stream, collector)
}

/// Batches of an IPC stream. The lengths that it names are not believed: memory grows with what comes.
struct Stream<R> {
    decoder: StreamDecoder,
    reader: R,
    left: Buffer,
    /// What was met while the schema was looked for.
    met: Option<Result<RecordBatch, ArrowError>>,
    is_over: bool,
}

impl<R: BufRead> Stream<R> {
    fn new(reader: R) -> Self {
        let left = Buffer::from_vec(Vec::<u8>::new());
        Self { decoder: StreamDecoder::new(), reader, left, met: None, is_over: false }
    }

    /// The schema, which stands in front of the batches.
    fn schema(&mut self) -> Result<SchemaRef, ArrowError> {
        self.met = self.step();
        match (self.decoder.schema(), self.met.take()) {
            (Some(schema), met) => {
                self.met = met;
                Ok(schema)
            }
            (None, Some(Err(error))) => Err(error),
            (None, _) => Err(ArrowError::IpcError("no schema".to_owned())),
        }
    }

    /// The next batch; none at the end.
    fn step(&mut self) -> Option<Result<RecordBatch, ArrowError>> {
        while !self.is_over {
            if self.left.is_empty() {
                match self.reader.fill_buf() {
                    Ok([]) => {
                        self.is_over = true;
                        return self.decoder.finish().err().map(Err);
                    }
                    Ok(bytes) => {
                        let count = bytes.len();
                        self.left = Buffer::from(bytes);
                        self.reader.consume(count);
                    }
                    Err(error) => {
                        self.is_over = true;
                        return Some(Err(error.into()));
                    }
                }
            }
            match self.decoder.decode(&mut self.left) {
                Ok(None) => {}
                Ok(Some(batch)) => return Some(Ok(batch)),
                Err(error) => {
                    self.is_over = true;
                    // Behind the end of the stream comes the footer of a file.
                    let is_end = error.to_string().ends_with(BEHIND_THE_END);
                    return (!is_end).then_some(Err(error));
                }
            }
        }
        None
    }
}

impl<R: BufRead> Iterator for Stream<R> {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.met.take().or_else(|| self.step())
    }
}

/// Damage ends the input; what came before it counts.
fn batches(
    batches: impl Iterator<Item = Result<RecordBatch, ArrowError>>,
    collector: &mut Collector<'_>,
) -> Result<(), SampleError> {
    let mut number = 0;
    for batch in batches {
        match batch {
            Ok(batch) => {
                Columns::of(&batch)?.read(number, collector);
                number += batch.num_rows() as u64;
            }
            Err(error) => {
                collector.damage(format!("the input is damaged after {number} rows: {error}"));
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The columns of one batch in the types that are read.
struct Columns {
    time: Times,
    target: Targets,
    rtt: Rtts,
    source: StringArray,
    connection: Option<StringArray>,
    statistic: Option<StringArray>,
}

enum Times {
    Micros(Int64Array),
    Epoch(Int64Array),
    Real(Float64Array),
    Text(StringArray),
}

enum Targets {
    Text(StringArray),
    Octets(FixedSizeBinaryArray),
    V4(UInt32Array),
    Prefix(StringArray),
}

enum Rtts {
    Micros(UInt32Array),
    /// With the microseconds in one unit.
    Real(Float64Array, f64),
}

fn casted(column: &ArrayRef, to: &DataType, field: &'static str) -> Result<ArrayRef, SampleError> {
    cast(column, to).map_err(|_| SampleError::Malformed {
        field,
        value: column.data_type().to_string(),
        wanted: "a column of a type that can hold it",
    })
}

fn text(column: &ArrayRef, field: &'static str) -> Result<StringArray, SampleError> {
    Ok(casted(column, &DataType::Utf8, field)?.as_string::<i32>().clone())
}

impl Columns {
    /// Whether a schema has what every sample needs.
    fn check(schema: &SchemaRef) -> Result<(), SampleError> {
        Self::of(&RecordBatch::new_empty(std::sync::Arc::clone(schema))).map(|_| ())
    }

    fn of(batch: &RecordBatch) -> Result<Self, SampleError> {
        let column = |name: &str| batch.column_by_name(name);
        let optional = |name: &'static str| column(name).map(|found| text(found, name)).transpose();
        let rtt = match (column("rtt_us"), column("rtt_ms")) {
            (Some(micros), _) => Rtts::of(micros, 1.0)?,
            (None, Some(millis)) => Rtts::of(millis, 1_000.0)?,
            (None, None) => return Err(SampleError::Missing { field: "rtt_us" }),
        };
        let target = match (column("ip"), column("prefix")) {
            (Some(ip), _) => Targets::of(ip)?,
            (None, Some(prefix)) => Targets::Prefix(text(prefix, "prefix")?),
            (None, None) => return Err(SampleError::Missing { field: "ip" }),
        };
        let time = column("time").ok_or(SampleError::Missing { field: "time" })?;
        let source = column("source").ok_or(SampleError::Missing { field: "source" })?;
        Ok(Self {
            time: Times::of(time)?,
            target,
            rtt,
            source: text(source, "source")?,
            connection: optional("connection")?,
            statistic: optional("statistic")?,
        })
    }

    fn read(&self, first: u64, collector: &mut Collector<'_>) {
        for row in 0..self.source.len() {
            if let Err(error) = self.sample(row, collector) {
                let number = first + row as u64;
                collector.refuse_line(error.reason(), number, &error.to_string());
            }
        }
    }

    #[inline]
    fn sample(&self, row: usize, collector: &mut Collector<'_>) -> Result<(), SampleError> {
        let time = self.time.get(row)?;
        let target = self.target.get(row)?;
        let rtt_us = self.rtt.get(row)?;
        if self.source.is_null(row) {
            return Err(SampleError::Missing { field: "source" });
        }
        let statistic = match present(self.statistic.as_ref(), row) {
            Some(word) => rtt::statistic(word)?,
            None => Statistic::Sample,
        };
        let source = self.source.value(row);
        if source.len() > SOURCE_BYTES_MAX {
            let (field, value) = ("source", "longer than 256 bytes".to_owned());
            return Err(SampleError::Malformed { field, value, wanted: "a name" });
        }
        let source = collector.source(source);
        let named = present(self.connection.as_ref(), row);
        let named = named.and_then(|name| collector.connection(name));
        collector.keep(time, &target, rtt_us, source, named, statistic);
        Ok(())
    }
}

fn present(column: Option<&StringArray>, row: usize) -> Option<&str> {
    let column = column.filter(|column| column.is_valid(row))?;
    Some(column.value(row)).filter(|text| !text.is_empty())
}

impl Times {
    fn of(column: &ArrayRef) -> Result<Self, SampleError> {
        use arrow::datatypes::{Float64Type, Int64Type};
        let to = |to: &DataType| casted(column, to, "time");
        Ok(match column.data_type() {
            DataType::Timestamp(..) | DataType::Date64 => {
                let micros = to(&DataType::Timestamp(TimeUnit::Microsecond, None))?;
                Self::Micros(
                    casted(&micros, &DataType::Int64, "time")?.as_primitive::<Int64Type>().clone(),
                )
            }
            kind if kind.is_integer() => {
                Self::Epoch(to(&DataType::Int64)?.as_primitive::<Int64Type>().clone())
            }
            kind if kind.is_floating() => {
                Self::Real(to(&DataType::Float64)?.as_primitive::<Float64Type>().clone())
            }
            _ => Self::Text(text(column, "time")?),
        })
    }

    #[inline]
    fn get(&self, row: usize) -> Result<Timestamp, SampleError> {
        let missing = SampleError::Missing { field: "time" };
        match self {
            Self::Micros(times) if times.is_valid(row) => Ok(Timestamp(times.value(row))),
            Self::Epoch(times) if times.is_valid(row) => Ok(rtt::epoch_whole(times.value(row))),
            Self::Real(times) if times.is_valid(row) => rtt::epoch_real(times.value(row)),
            Self::Text(times) if times.is_valid(row) => rtt::time_text(times.value(row)),
            _ => Err(missing),
        }
    }
}

impl Targets {
    fn of(column: &ArrayRef) -> Result<Self, SampleError> {
        use arrow::datatypes::UInt32Type;
        Ok(match column.data_type() {
            DataType::FixedSizeBinary(4 | 16) => {
                Self::Octets(column.as_fixed_size_binary().clone())
            }
            kind if kind.is_integer() => Self::V4(
                casted(column, &DataType::UInt32, "ip")?.as_primitive::<UInt32Type>().clone(),
            ),
            _ => Self::Text(text(column, "ip")?),
        })
    }

    #[inline]
    fn get(&self, row: usize) -> Result<Target, SampleError> {
        match self {
            Self::Text(all) if all.is_valid(row) => rtt::target(Some(all.value(row)), None),
            Self::Prefix(all) if all.is_valid(row) => {
                let prefix: Result<Prefix, _> = all.value(row).parse();
                prefix.map(Target::Prefix).map_err(|_| SampleError::Malformed {
                    field: "prefix",
                    value: all.value(row).to_owned(),
                    wanted: "a prefix",
                })
            }
            Self::V4(all) if all.is_valid(row) => {
                Ok(Target::Address(Ipv4Addr::from_bits(all.value(row)).into()))
            }
            Self::Octets(all) if all.is_valid(row) => {
                let octets = all.value(row);
                let v4 =
                    <[u8; 4]>::try_from(octets).map(|octets| IpAddr::from(Ipv4Addr::from(octets)));
                let v6 =
                    <[u8; 16]>::try_from(octets).map(|octets| IpAddr::from(Ipv6Addr::from(octets)));
                let address = v4.or(v6).map_err(|_| SampleError::Missing { field: "ip" })?;
                Ok(Target::Address(address.to_canonical()))
            }
            _ => Err(SampleError::Missing { field: "ip" }),
        }
    }
}

impl Rtts {
    fn of(column: &ArrayRef, scale: f64) -> Result<Self, SampleError> {
        use arrow::datatypes::{Float64Type, UInt32Type};
        let is_exact = scale == 1.0
            && matches!(column.data_type(), DataType::UInt8 | DataType::UInt16 | DataType::UInt32);
        Ok(match is_exact {
            true => {
                let micros = casted(column, &DataType::UInt32, "rtt_us")?;
                Self::Micros(micros.as_primitive::<UInt32Type>().clone())
            }
            false => {
                let numbers = casted(column, &DataType::Float64, "rtt_us")?;
                Self::Real(numbers.as_primitive::<Float64Type>().clone(), scale)
            }
        })
    }

    /// None for a lost probe.
    #[inline]
    fn get(&self, row: usize) -> Result<Option<NonZeroU32>, SampleError> {
        match self {
            Self::Micros(all) if all.is_valid(row) => {
                let micros = NonZeroU32::new(all.value(row));
                let is_possible = micros.filter(|rtt| rtt.get() <= schemas::sample::RTT_US_MAX);
                match is_possible {
                    Some(_) => Ok(micros),
                    None => Err(SampleError::RttOutOfRange { value: all.value(row).to_string() }),
                }
            }
            Self::Real(all, scale) if all.is_valid(row) => {
                rtt::rtt(all.value(row) * scale).map(Some)
            }
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A length that nobody sent the bytes of is no reason to make room for them.
    #[test]
    fn lengths_of_a_stream_are_not_believed() {
        for hostile in [
            &b"\xff\xff\xff\xff\xff\xff\xff\x7f"[..],
            b"\xff\xff\xff\x7f\0\0",
            b"\xff\xff\xff\xff\x10\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            let mut stream = Stream::new(io::BufReader::new(hostile));
            assert!(stream.schema().is_err(), "{hostile:?}");
        }
    }
}
