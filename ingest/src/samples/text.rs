//! Samples as text: JSON lines, JSON arrays, CSV, RIPE Atlas results. A line or an object that is no
//! sample is counted with its reason and passed over; one that is too long is passed over unread.

use std::io::{self, BufRead, BufReader, Read};

use super::RttFormat;
use super::collector::Collector;
use crate::decode::atlas;
use crate::decode::mapping::Mapping;
use crate::decode::rtt::{CsvColumns, FIELDS_MAX, SampleError, csv_row, json_line};

/// Longest line or object that is read; a longer one is refused.
const LINE_BYTES_MAX: usize = 1 << 20;
/// Bytes read at once.
const READ_BYTES: usize = 256 * 1024;

/// Reads text into a collector.
pub(super) fn read(
    reader: impl Read,
    format: RttFormat,
    mapping: Option<&Mapping>,
    collector: &mut Collector<'_>,
) -> Result<(), SampleError> {
    let reader = BufReader::with_capacity(READ_BYTES, reader);
    let mut header = Ok(());
    let error = match (format, mapping) {
        (RttFormat::Csv, mapping) => {
            let mut table = Table { columns: None, mapping, failed: None };
            let error = lines(reader, |line, number| table.line(line, number, collector));
            header = table.failed.map_or(Ok(()), Err);
            error
        }
        (RttFormat::JsonArray, mapping) => {
            objects(reader, |object, number| json(object, number, mapping, collector))
        }
        (RttFormat::Atlas, None) => objects(reader, |object, number| {
            each(object, number, collector, |object, collector| {
                atlas(object, number, collector);
            });
        }),
        (_, mapping) => lines(reader, |line, number| json(line, number, mapping, collector)),
    };
    header?;
    if let Some((number, error)) = error {
        collector.damage(format!("the input is damaged after {number} lines: {error}"));
    }
    Ok(())
}

/// Counts what is too long, passes over what is empty.
fn each(
    part: Option<&[u8]>,
    number: u64,
    collector: &mut Collector<'_>,
    read: impl FnOnce(&[u8], &mut Collector<'_>),
) {
    match part {
        None => collector.refuse_line("line_too_long", number, "longer than 1 MiB"),
        Some(part) if part.trim_ascii().is_empty() => {}
        Some(part) => read(part, collector),
    }
}

fn json(
    object: Option<&[u8]>,
    number: u64,
    mapping: Option<&Mapping>,
    collector: &mut Collector<'_>,
) {
    each(object, number, collector, |object, collector| match mapping {
        None => collector.outcome(json_line(object), number),
        Some(mapping) => {
            mapping.json(object, |sample| collector.outcome(sample, number));
        }
    });
}

fn atlas(object: &[u8], number: u64, collector: &mut Collector<'_>) {
    match atlas::result(object) {
        Ok(result) => {
            let source = collector.source(&result.source);
            // The end that is registered is the one that is judged.
            let ends = [result.destination, result.origin];
            let Some(target) = collector.registered(&ends) else {
                let error = SampleError::Missing { field: "dst_addr" };
                return collector.outcome(Err(error), number);
            };
            for probe in result.probes {
                collector.keep(probe.time, &target, probe.rtt_us, source, None, result.statistic);
            }
        }
        Err(error) => collector.outcome(Err(error), number),
    }
}

/// A CSV file being read: the header first.
struct Table<'m> {
    columns: Option<CsvColumns>,
    mapping: Option<&'m Mapping>,
    failed: Option<SampleError>,
}

impl Table<'_> {
    fn line(&mut self, line: Option<&[u8]>, number: u64, collector: &mut Collector<'_>) {
        if self.failed.is_some() {
            return;
        }
        each(line, number, collector, |line, collector| {
            let Ok(text) = std::str::from_utf8(line) else {
                let words = "not UTF-8";
                return collector.refuse_line("malformed_field", number, words);
            };
            with_fields(text, |fields| match &self.columns {
                Some(columns) => collector.outcome(csv_row(fields, columns), number),
                None => match CsvColumns::from_header(fields.iter().copied(), self.mapping) {
                    Ok(columns) => self.columns = Some(columns),
                    Err(error) => self.failed = Some(error),
                },
            });
        });
    }
}

/// Splits a line into fields; quoted fields, and very many, take the slower way.
fn with_fields(line: &str, read: impl FnOnce(&[&str])) {
    if memchr::memchr(b'"', line.as_bytes()).is_none() {
        let mut fields = [""; FIELDS_MAX];
        let mut count = 0;
        let mut rest = Some(line);
        while let Some(text) = rest {
            let Some(field) = fields.get_mut(count) else { break };
            (*field, rest) = match text.split_once(',') {
                Some((field, rest)) => (field, Some(rest)),
                None => (text, None),
            };
            count += 1;
        }
        if rest.is_none() {
            return read(fields.get(..count).unwrap_or_default());
        }
    }
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(line.as_bytes());
    let mut record = csv::StringRecord::new();
    // A quote that is not closed gives what is there.
    let _ = reader.read_record(&mut record);
    let fields: Vec<&str> = record.iter().collect();
    read(&fields);
}

/// Hands every line to `take` without its end; `None` stands for one that is too long. Damage of the
/// input ends it.
fn lines(
    mut reader: impl BufRead,
    mut take: impl FnMut(Option<&[u8]>, u64),
) -> Option<(u64, io::Error)> {
    let (mut number, mut line, mut too_long) = (0, Vec::new(), false);
    loop {
        let (buffer, error) = match fill(&mut reader) {
            Ok(buffer) => (buffer, None),
            Err(error) => (&[][..], Some(error)),
        };
        let ended = buffer.is_empty();
        let (mut rest, consumed) = (buffer, buffer.len());
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (piece, behind) = rest.split_at(end);
            rest = behind.strip_prefix(b"\n").unwrap_or(behind);
            too_long |= line.len() + piece.len() > LINE_BYTES_MAX;
            if line.is_empty() && !too_long {
                take(Some(piece.strip_suffix(b"\r").unwrap_or(piece)), number);
            } else {
                if !too_long {
                    line.extend_from_slice(piece);
                }
                let whole = line.strip_suffix(b"\r").unwrap_or(&line);
                take((!too_long).then_some(whole), number);
                line.clear();
                too_long = false;
            }
            number += 1;
        }
        too_long |= line.len() + rest.len() > LINE_BYTES_MAX;
        if too_long {
            line.clear();
        } else {
            line.extend_from_slice(rest);
        }
        reader.consume(consumed);
        if let Some(error) = error {
            return Some((number, error));
        }
        if ended {
            if too_long || !line.is_empty() {
                take((!too_long).then_some(line.as_slice()), number);
            }
            return None;
        }
    }
}

/// Hands every JSON object of an array, or of a stream of objects, to `take`, as [`lines`] does.
fn objects(
    mut reader: impl BufRead,
    mut take: impl FnMut(Option<&[u8]>, u64),
) -> Option<(u64, io::Error)> {
    let (mut number, mut object, mut too_long) = (0, Vec::new(), false);
    let (mut depth, mut in_text, mut escaped) = (0_u32, false, false);
    loop {
        let buffer = match fill(&mut reader) {
            Ok(buffer) => buffer,
            Err(error) => return Some((number, error)),
        };
        if buffer.is_empty() {
            if depth > 0 {
                take((!too_long).then_some(object.as_slice()), number);
            }
            return None;
        }
        for byte in buffer {
            if depth > 0 && !too_long {
                object.push(*byte);
                too_long = object.len() > LINE_BYTES_MAX;
            }
            match byte {
                _ if escaped => escaped = false,
                b'\\' if in_text => escaped = true,
                b'"' if depth > 0 => in_text = !in_text,
                b'{' if !in_text => {
                    if depth == 0 {
                        object.push(*byte);
                    }
                    depth += 1;
                }
                b'}' if !in_text && depth > 0 => {
                    depth -= 1;
                    if depth == 0 {
                        take((!too_long).then_some(object.as_slice()), number);
                        number += 1;
                        object.clear();
                        too_long = false;
                    }
                }
                _ => {}
            }
        }
        let consumed = buffer.len();
        reader.consume(consumed);
    }
}

fn fill(reader: &mut impl BufRead) -> io::Result<&[u8]> {
    loop {
        match reader.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Asked again, for the borrow of the first answer would not end.
            Ok(_) => return reader.fill_buf(),
            Err(error) => return Err(error),
        }
    }
}
