//! Batches as bytes: an [`EventBatch`] to Arrow IPC messages and back.
//!
//! Each kind of row is one Arrow record batch, encoded without its schema, which is fixed here;
//! empty ones are left out. What rows share (peers, attribute sets, sources) and the control records
//! are one further part. Parts are framed by their kind and lengths; whoever stores them adds the
//! checksum. A byte at the front counts the version of all of this.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray as _, BooleanArray, FixedSizeBinaryArray, PrimitiveArray, RecordBatch,
};
use arrow::buffer::Buffer;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Field, Int64Type, Schema, SchemaRef, UInt8Type, UInt32Type,
    UInt64Type,
};
use arrow::error::ArrowError;
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions};
use arrow::ipc::{MetadataVersion, reader::read_record_batch, root_as_message};
use serde::{Deserialize, Serialize};

use crate::batch::{
    Action, Content, Control, EventBatch, MessageEvent, RouteEvent, Run, SeriesEvent,
};
use crate::bgp::{Disposition, Family, PathAttributes, PeerHeader, Prefix};
use crate::sample::Statistic;
use crate::tables::Text;
use crate::time::Timestamp;

/// Version of the encoding.
const VERSION: u8 = 3;

/// Why bytes are no batch.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// Another version wrote it.
    #[error("batch of encoding version {found}; this program reads version {VERSION}")]
    Version {
        /// What the first byte says.
        found: u8,
    },
    /// The bytes end too early, or a number in them cannot be.
    #[error("a batch whose {what} cannot be read")]
    Malformed {
        /// What was being read.
        what: &'static str,
    },
    /// Arrow refuses a part.
    #[error(transparent)]
    Arrow(#[from] ArrowError),
    /// What rows share cannot be read or written.
    #[error("what a batch shares cannot be read: {0}")]
    Shared(#[from] postcard::Error),
}

const fn malformed(what: &'static str) -> BatchError {
    BatchError::Malformed { what }
}

/// A kind of part, by the byte in front of it.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Part {
    Runs = 1,
    Messages = 2,
    Routes = 3,
    Samples = 4,
    Shared = 5,
    Series = 6,
}

/// What is not columns: borrowed to be written, owned when read.
#[derive(Serialize)]
struct SharedRef<'a> {
    controls: &'a [Control],
    peers: &'a [Arc<PeerHeader>],
    attributes: &'a [Arc<PathAttributes>],
    sources: &'a [Text],
}

#[derive(Default, Deserialize)]
struct Shared {
    controls: Vec<Control>,
    peers: Vec<Arc<PeerHeader>>,
    attributes: Vec<Arc<PathAttributes>>,
    sources: Vec<Text>,
}

fn schema(fields: &[(&str, DataType, bool)]) -> SchemaRef {
    let field = |(name, kind, nullable): &(&str, DataType, bool)| {
        Field::new(*name, kind.clone(), *nullable)
    };
    Arc::new(Schema::new(fields.iter().map(field).collect::<Vec<_>>()))
}

static RUNS: LazyLock<SchemaRef> = LazyLock::new(|| {
    schema(&[
        ("log_time", DataType::Int64, false),
        ("kind", DataType::UInt8, false),
        ("first", DataType::UInt32, false),
        ("count", DataType::UInt32, false),
    ])
});

static MESSAGES: LazyLock<SchemaRef> = LazyLock::new(|| {
    schema(&[
        ("event_time", DataType::Int64, false),
        ("router_time", DataType::Int64, true),
        ("peer", DataType::UInt32, false),
        ("source", DataType::UInt32, false),
        ("source_offset", DataType::UInt64, false),
        ("attributes", DataType::UInt32, true),
        ("disposition", DataType::UInt8, false),
        ("is_snapshot", DataType::Boolean, false),
    ])
});

static ROUTES: LazyLock<SchemaRef> = LazyLock::new(|| {
    schema(&[
        ("message", DataType::UInt32, false),
        ("is_announced", DataType::Boolean, false),
        ("prefix_first", DataType::FixedSizeBinary(16), false),
        ("prefix_length", DataType::UInt8, false),
        ("is_ipv4", DataType::Boolean, false),
        ("path_id", DataType::UInt32, true),
        ("writes", DataType::Boolean, false),
    ])
});

static SERIES: LazyLock<SchemaRef> = LazyLock::new(|| {
    schema(&[
        ("connection", DataType::UInt32, false),
        ("prefix_first", DataType::FixedSizeBinary(16), false),
        ("prefix_length", DataType::UInt8, false),
        ("is_ipv4", DataType::Boolean, false),
        ("source", DataType::UInt32, false),
        ("input", DataType::UInt32, false),
        ("statistic", DataType::UInt8, false),
    ])
});

static SAMPLES: LazyLock<SchemaRef> = LazyLock::new(|| {
    schema(&[
        ("event_time", DataType::Int64, false),
        ("series", DataType::UInt32, false),
        ("rtt_us", DataType::UInt32, true),
    ])
});

/// Appends a batch to `out`.
///
/// # Errors
/// [`BatchError`] if Arrow refuses it.
pub fn encode(batch: &EventBatch, out: &mut Vec<u8>) -> Result<(), BatchError> {
    out.push(VERSION);
    out.extend(batch.partition.to_le_bytes());
    out.extend(batch.first_offset.to_le_bytes());
    out.push(batch.is_live.into());
    out.extend(batch.registry_version.to_le_bytes());
    table(Part::Runs, runs(batch)?, out)?;
    table(Part::Messages, messages(batch)?, out)?;
    table(Part::Routes, routes(batch)?, out)?;
    table(Part::Series, series(batch)?, out)?;
    table(Part::Samples, samples(batch)?, out)?;
    let shared = postcard::to_stdvec(&SharedRef {
        controls: &batch.controls,
        peers: &batch.peers,
        attributes: &batch.attributes,
        sources: &batch.sources,
    })?;
    part(Part::Shared, &[], &shared, out)
}

fn part(kind: Part, head: &[u8], body: &[u8], out: &mut Vec<u8>) -> Result<(), BatchError> {
    out.push(kind as u8);
    for bytes in [head, body] {
        let length = u32::try_from(bytes.len()).map_err(|_| malformed("length"))?;
        out.extend(length.to_le_bytes());
    }
    out.extend_from_slice(head);
    out.extend_from_slice(body);
    Ok(())
}

fn table(kind: Part, rows: RecordBatch, out: &mut Vec<u8>) -> Result<(), BatchError> {
    if rows.num_rows() == 0 {
        return Ok(());
    }
    let options = IpcWriteOptions::try_new(8, false, MetadataVersion::V5)?;
    let mut dictionaries = DictionaryTracker::new(false);
    let encoder = IpcDataGenerator::default();
    let (_, encoded) =
        encoder.encode(&rows, &mut dictionaries, &options, &mut Default::default())?;
    part(kind, &encoded.ipc_message, &encoded.arrow_data, out)
}

fn column<T: ArrowPrimitiveType>(values: impl IntoIterator<Item = T::Native>) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::from_iter_values(values))
}

fn nullable<T: ArrowPrimitiveType>(values: impl Iterator<Item = Option<T::Native>>) -> ArrayRef {
    Arc::new(values.collect::<PrimitiveArray<T>>())
}

fn flags(values: impl Iterator<Item = bool>) -> ArrayRef {
    Arc::new(BooleanArray::from(values.collect::<Vec<_>>()))
}

fn prefixes(prefixes: &[Prefix]) -> Result<[ArrayRef; 3], ArrowError> {
    let octets: Vec<u8> = prefixes.iter().flat_map(Prefix::first_octets).collect();
    Ok([
        Arc::new(FixedSizeBinaryArray::try_new(16, octets.into(), None)?),
        column::<UInt8Type>(prefixes.iter().map(Prefix::length)),
        flags(prefixes.iter().map(|prefix| prefix.family() == Family::Ipv4)),
    ])
}

fn runs(batch: &EventBatch) -> Result<RecordBatch, ArrowError> {
    let kind = |run: &Run| match run.first {
        Content::Route(row) => (0, row),
        Content::Sample(row) => (1, row),
        Content::Control(index) => (2, index),
    };
    let runs = batch.runs();
    let columns = vec![
        column::<Int64Type>(runs.iter().map(|run| run.log_time.0)),
        column::<UInt8Type>(runs.iter().map(|run| kind(run).0)),
        column::<UInt32Type>(runs.iter().map(|run| kind(run).1)),
        column::<UInt32Type>(runs.iter().map(|run| run.count)),
    ];
    RecordBatch::try_new(Arc::clone(&RUNS), columns)
}

fn messages(batch: &EventBatch) -> Result<RecordBatch, ArrowError> {
    let all = &batch.messages;
    let columns = vec![
        column::<Int64Type>(all.event_time.iter().map(|time| time.0)),
        nullable::<Int64Type>(all.router_time.iter().map(|time| time.map(|time| time.0))),
        column::<UInt32Type>(all.peer.iter().copied()),
        column::<UInt32Type>(all.source.iter().copied()),
        column::<UInt64Type>(all.source_offset.iter().copied()),
        nullable::<UInt32Type>(all.attributes.iter().copied()),
        column::<UInt8Type>(all.disposition.iter().map(|disposition| *disposition as u8)),
        flags(all.is_snapshot.iter().copied()),
    ];
    RecordBatch::try_new(Arc::clone(&MESSAGES), columns)
}

fn routes(batch: &EventBatch) -> Result<RecordBatch, ArrowError> {
    let all = &batch.routes;
    let [first, length, is_ipv4] = prefixes(&all.prefix)?;
    let columns = vec![
        column::<UInt32Type>(all.message.iter().copied()),
        flags(all.action.iter().map(|action| *action == Action::Announce)),
        first,
        length,
        is_ipv4,
        nullable::<UInt32Type>(all.path_id.iter().copied()),
        flags(all.writes.iter().copied()),
    ];
    RecordBatch::try_new(Arc::clone(&ROUTES), columns)
}

fn series(batch: &EventBatch) -> Result<RecordBatch, ArrowError> {
    let all = &batch.series;
    let [first, length, is_ipv4] = prefixes(&all.prefix)?;
    let columns = vec![
        column::<UInt32Type>(all.connection.iter().copied()),
        first,
        length,
        is_ipv4,
        column::<UInt32Type>(all.source.iter().copied()),
        column::<UInt32Type>(all.input.iter().copied()),
        column::<UInt8Type>(all.statistic.iter().map(|statistic| *statistic as u8)),
    ];
    RecordBatch::try_new(Arc::clone(&SERIES), columns)
}

fn samples(batch: &EventBatch) -> Result<RecordBatch, ArrowError> {
    let all = &batch.samples;
    let columns = vec![
        column::<Int64Type>(all.event_time.iter().map(|time| time.0)),
        column::<UInt32Type>(all.series.iter().copied()),
        nullable::<UInt32Type>(all.rtt_us.iter().map(|rtt| rtt.map(NonZeroU32::get))),
    ];
    RecordBatch::try_new(Arc::clone(&SAMPLES), columns)
}

/// An empty batch as the bytes in front say, and what follows them.
fn head(bytes: &[u8]) -> Result<(EventBatch, &[u8]), BatchError> {
    let (version, rest) = bytes.split_first().ok_or(malformed("version"))?;
    if *version != VERSION {
        return Err(BatchError::Version { found: *version });
    }
    let (partition, rest) = rest.split_first_chunk().ok_or(malformed("partition"))?;
    let (offset, rest) = rest.split_first_chunk().ok_or(malformed("offset"))?;
    let (is_live, rest) = rest.split_first().ok_or(malformed("mark"))?;
    let (version, rest) = rest.split_first_chunk().ok_or(malformed("registry"))?;
    let (partition, offset) = (u32::from_le_bytes(*partition), u64::from_le_bytes(*offset));
    let registry_version = u32::from_le_bytes(*version);
    let mut batch = EventBatch::starting(partition, offset, *is_live != 0);
    batch.registry_version = registry_version;
    Ok((batch, rest))
}

/// The batch that `bytes` are.
///
/// # Errors
/// [`BatchError`] if they are none.
pub fn decode(bytes: &[u8]) -> Result<EventBatch, BatchError> {
    let (mut batch, mut rest) = head(bytes)?;
    while !rest.is_empty() {
        let (kind, after) = rest.split_first().ok_or(malformed("part"))?;
        let (head_bytes, after) = after.split_first_chunk().ok_or(malformed("length"))?;
        let (body_bytes, after) = after.split_first_chunk().ok_or(malformed("length"))?;
        let take = |bytes: &[u8; 4]| u32::from_le_bytes(*bytes) as usize;
        let (head, after) = after.split_at_checked(take(head_bytes)).ok_or(malformed("head"))?;
        let (body, after) = after.split_at_checked(take(body_bytes)).ok_or(malformed("body"))?;
        rest = after;
        match kind {
            1 => read_runs(&read(&RUNS, head, body)?, &mut batch)?,
            2 => read_messages(&read(&MESSAGES, head, body)?, &mut batch)?,
            3 => read_routes(&read(&ROUTES, head, body)?, &mut batch)?,
            4 => read_samples(&read(&SAMPLES, head, body)?, &mut batch)?,
            6 => read_series(&read(&SERIES, head, body)?, &mut batch)?,
            5 => {
                let shared: Shared = postcard::from_bytes(body)?;
                batch.controls = shared.controls;
                batch.peers = shared.peers;
                batch.attributes = shared.attributes;
                batch.sources = shared.sources;
            }
            _ => return Err(malformed("part")),
        }
    }
    Ok(batch)
}

fn read(schema: &SchemaRef, head: &[u8], body: &[u8]) -> Result<RecordBatch, BatchError> {
    let message = root_as_message(head).map_err(|_| malformed("metadata"))?;
    let rows = message.header_as_record_batch().ok_or(malformed("metadata"))?;
    let (body, none) = (Buffer::from(body), HashMap::new());
    Ok(read_record_batch(&body, rows, Arc::clone(schema), &none, None, &message.version())?)
}

/// A column by its place: schemas are fixed, so a wrong type is damage.
fn numbers<T: ArrowPrimitiveType>(
    rows: &RecordBatch,
    place: usize,
) -> Result<&PrimitiveArray<T>, BatchError> {
    let column = rows.columns().get(place).ok_or(malformed("columns"))?;
    column.as_primitive_opt::<T>().ok_or(malformed("columns"))
}

fn booleans(rows: &RecordBatch, place: usize) -> Result<&BooleanArray, BatchError> {
    let column = rows.columns().get(place).ok_or(malformed("columns"))?;
    column.as_boolean_opt().ok_or(malformed("columns"))
}

fn read_prefixes(rows: &RecordBatch, place: usize) -> Result<Vec<Prefix>, BatchError> {
    let first = rows.columns().get(place).ok_or(malformed("columns"))?;
    let first = first.as_fixed_size_binary_opt().ok_or(malformed("columns"))?;
    let (length, is_ipv4) = (numbers::<UInt8Type>(rows, place + 1)?, booleans(rows, place + 2)?);
    (0..rows.num_rows())
        .map(|row| {
            let octets: &[u8; 16] = first.value(row).first_chunk().ok_or(malformed("prefix"))?;
            let length = length.value(row);
            Ok(match octets {
                [.., a, b, c, d] if is_ipv4.value(row) => Prefix::v4([*a, *b, *c, *d], length),
                _ => Prefix::v6(*octets, length),
            })
        })
        .collect()
}

fn read_runs(rows: &RecordBatch, batch: &mut EventBatch) -> Result<(), BatchError> {
    let times = numbers::<Int64Type>(rows, 0)?;
    let kinds = numbers::<UInt8Type>(rows, 1)?;
    let (firsts, counts) = (numbers::<UInt32Type>(rows, 2)?, numbers::<UInt32Type>(rows, 3)?);
    for row in 0..rows.num_rows() {
        let first = firsts.value(row);
        let first = match kinds.value(row) {
            0 => Content::Route(first),
            1 => Content::Sample(first),
            2 => Content::Control(first),
            _ => return Err(malformed("kind")),
        };
        let (log_time, count) = (Timestamp(times.value(row)), counts.value(row));
        batch.append_run(Run { log_time, first, count });
    }
    Ok(())
}

fn optional<T: ArrowPrimitiveType>(column: &PrimitiveArray<T>, row: usize) -> Option<T::Native> {
    column.is_valid(row).then(|| column.value(row))
}

fn read_messages(rows: &RecordBatch, batch: &mut EventBatch) -> Result<(), BatchError> {
    let (times, router) = (numbers::<Int64Type>(rows, 0)?, numbers::<Int64Type>(rows, 1)?);
    let (peers, sources) = (numbers::<UInt32Type>(rows, 2)?, numbers::<UInt32Type>(rows, 3)?);
    let (offsets, sets) = (numbers::<UInt64Type>(rows, 4)?, numbers::<UInt32Type>(rows, 5)?);
    let (dispositions, snapshots) = (numbers::<UInt8Type>(rows, 6)?, booleans(rows, 7)?);
    for row in 0..rows.num_rows() {
        batch.messages.push(MessageEvent {
            event_time: Timestamp(times.value(row)),
            router_time: optional(router, row).map(Timestamp),
            peer: peers.value(row),
            source: sources.value(row),
            source_offset: offsets.value(row),
            attributes: optional(sets, row),
            disposition: match dispositions.value(row) {
                0 => Disposition::Accepted,
                1 => Disposition::AttributeDiscard,
                2 => Disposition::TreatAsWithdraw,
                _ => return Err(malformed("disposition")),
            },
            is_snapshot: snapshots.value(row),
        });
    }
    Ok(())
}

fn read_routes(rows: &RecordBatch, batch: &mut EventBatch) -> Result<(), BatchError> {
    let (messages, announced) = (numbers::<UInt32Type>(rows, 0)?, booleans(rows, 1)?);
    let (path_ids, writes) = (numbers::<UInt32Type>(rows, 5)?, booleans(rows, 6)?);
    for (row, prefix) in read_prefixes(rows, 2)?.into_iter().enumerate() {
        batch.routes.push(RouteEvent {
            message: messages.value(row),
            action: if announced.value(row) { Action::Announce } else { Action::Withdraw },
            prefix,
            path_id: optional(path_ids, row),
            writes: writes.value(row),
        });
    }
    Ok(())
}

fn read_series(rows: &RecordBatch, batch: &mut EventBatch) -> Result<(), BatchError> {
    let (owners, statistics) = (numbers::<UInt32Type>(rows, 0)?, numbers::<UInt8Type>(rows, 6)?);
    let (sources, inputs) = (numbers::<UInt32Type>(rows, 4)?, numbers::<UInt32Type>(rows, 5)?);
    for (row, prefix) in read_prefixes(rows, 1)?.into_iter().enumerate() {
        batch.series.push(SeriesEvent {
            connection: owners.value(row),
            prefix,
            source: sources.value(row),
            input: inputs.value(row),
            statistic: match statistics.value(row) {
                0 => Statistic::Sample,
                1 => Statistic::Min,
                2 => Statistic::Srtt,
                3 => Statistic::Avg,
                _ => return Err(malformed("statistic")),
            },
        });
    }
    Ok(())
}

fn read_samples(rows: &RecordBatch, batch: &mut EventBatch) -> Result<(), BatchError> {
    let (times, series) = (numbers::<Int64Type>(rows, 0)?, numbers::<UInt32Type>(rows, 1)?);
    let rtts = numbers::<UInt32Type>(rows, 2)?;
    let all = &mut batch.samples;
    all.event_time.extend(times.values().iter().map(|time| Timestamp(*time)));
    all.series.extend_from_slice(series.values());
    all.rtt_us.extend(rtts.iter().map(|rtt| rtt.and_then(NonZeroU32::new)));
    Ok(())
}

#[cfg(test)]
mod tests;
