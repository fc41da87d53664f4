//! RTT files: JSON lines or CSV, matched to their owners and sorted by event time before they are
//! appended, so that the order of lines in a file changes nothing.
//!
//! A file's samples are held in memory, 32 bytes each; more than [`SAMPLES_MAX`] are refused with a
//! remedy. A line that is no sample is counted with its reason and passed over.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufRead, BufReader, Read};

use schemas::batch::Account;
use schemas::bgp::Prefix;
use schemas::connection::PUBLIC_ROUTING_DOMAIN;
use schemas::registry::{ConnectionId, Registry};
use schemas::sample::{Statistic, Target};
use schemas::tables::Text;
use schemas::time::Timestamp;

use crate::decode::rtt::{CsvColumns, SampleError, SampleLine, csv_row, json_line};

/// Longest line that is read; a longer one is refused.
pub const LINE_BYTES_MAX: usize = 1 << 20;
/// Samples of one file at most.
pub const SAMPLES_MAX: usize = 50_000_000;
/// A jump ahead of more than this is a bad clock if the next sample falls back behind it.
const JUMP_SECS_MAX: i64 = 3_600;

/// How the samples are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RttFormat {
    /// One JSON object a line.
    JsonLines,
    /// A header, then rows.
    Csv,
}

/// One matched sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RttRow {
    /// When it was sent.
    pub time: Timestamp,
    /// Round trip in microseconds; none for a lost probe.
    pub rtt_us: Option<u32>,
    /// Index of [`RttFile::sources`].
    pub source: u32,
    /// Index of [`RttFile::owners`].
    pub owners: u32,
    /// What the value is.
    pub statistic: Statistic,
}

/// A file's samples, matched and sorted.
#[derive(Debug, Default)]
pub struct RttFile {
    /// The samples by (time, source, owner, round trip).
    pub rows: Vec<RttRow>,
    /// Who measured.
    pub sources: Vec<Text>,
    /// Registered prefixes with the connections that count a sample on it.
    pub owners: Vec<(Prefix, Vec<ConnectionId>)>,
    /// Latest time of all lines that are samples, matched or not.
    pub latest: Option<Timestamp>,
    /// What became of the lines.
    pub account: Account,
    /// Where the file ends before its end, in words.
    pub damage: Option<String>,
    /// The first refused lines, with their numbers.
    pub refusals: Vec<String>,
}

/// Refused lines that are told in words.
const REFUSALS_TOLD_MAX: usize = 5;

/// Reads a whole file.
///
/// # Errors
/// [`SampleError`] for a CSV file whose header is no header of samples.
pub fn read(
    reader: impl Read,
    format: RttFormat,
    registry: &Registry,
) -> Result<RttFile, SampleError> {
    let mut loader = Loader::new(registry);
    let mut lines = Lines::new(BufReader::with_capacity(256 * 1024, reader));
    match format {
        RttFormat::JsonLines => {
            lines.each(|line, number| loader.line(line, number, json_line));
        }
        RttFormat::Csv => read_csv(&mut lines, &mut loader)?,
    }
    Ok(loader.finish(lines))
}

fn read_csv<R: BufRead>(lines: &mut Lines<R>, loader: &mut Loader<'_>) -> Result<(), SampleError> {
    let mut columns = None;
    let mut header_error = None;
    let mut record = csv::StringRecord::new();
    lines.each(|line, number| {
        if line.is_some_and(<[u8]>::is_empty) {
            return;
        }
        match &columns {
            None if header_error.is_none() => {
                split_csv(line.unwrap_or_default(), &mut record);
                match CsvColumns::from_header(record.iter()) {
                    Ok(found) => columns = Some(found),
                    Err(error) => header_error = Some(error),
                }
            }
            None => {}
            Some(columns) => {
                split_csv(line.unwrap_or_default(), &mut record);
                let row = line.map(|_| csv_row(&record, columns));
                loader.outcome(row, number);
            }
        }
    });
    header_error.map_or(Ok(()), Err)
}

/// Splits a line into fields; quoted fields take the slower way.
fn split_csv(line: &[u8], record: &mut csv::StringRecord) {
    record.clear();
    if memchr::memchr(b'"', line).is_some() {
        let mut reader =
            csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(line);
        if !reader.read_record(record).unwrap_or(false) {
            record.clear();
        }
    } else {
        let text = String::from_utf8_lossy(line);
        text.split(',').for_each(|field| record.push_field(field));
    }
}

/// Lines of bounded length.
struct Lines<R> {
    reader: R,
    number: u64,
    error: Option<io::Error>,
}

impl<R: BufRead> Lines<R> {
    fn new(reader: R) -> Self {
        Self { reader, number: 0, error: None }
    }

    /// Hands every line to `f` without its end; `None` stands for one that is too long.
    fn each(&mut self, mut f: impl FnMut(Option<&[u8]>, u64)) {
        let mut line = Vec::new();
        let mut too_long = false;
        loop {
            let buffer = match self.reader.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.error = Some(error);
                    &[]
                }
            };
            let ended = buffer.is_empty();
            let end = memchr::memchr(b'\n', buffer);
            let piece = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or_default();
            let consumed = end.map_or(buffer.len(), |end| end + 1);
            too_long |= line.len() + piece.len() > LINE_BYTES_MAX;
            if end.is_some() && line.is_empty() && !too_long {
                f(Some(piece.strip_suffix(b"\r").unwrap_or(piece)), self.number);
                self.number += 1;
            } else {
                if !too_long {
                    line.extend_from_slice(piece);
                }
                if end.is_some()
                    || (ended && self.error.is_none() && (too_long || !line.is_empty()))
                {
                    let whole = line.strip_suffix(b"\r").unwrap_or(&line);
                    f((!too_long).then_some(whole), self.number);
                    self.number += 1;
                    line.clear();
                    too_long = false;
                }
            }
            self.reader.consume(consumed);
            if ended {
                return;
            }
        }
    }
}

/// Turns lines into rows.
struct Loader<'r> {
    registry: &'r Registry,
    file: RttFile,
    sources: HashMap<String, u32>,
    owners: HashMap<(Target, Option<String>), Option<u32>>,
    owner_sets: HashMap<(Prefix, Vec<ConnectionId>), u32>,
    reasons: BTreeMap<&'static str, u64>,
    latest: Option<Timestamp>,
    jumped: bool,
}

/// Distinct targets whose owners are remembered.
const TARGETS_REMEMBERED_MAX: usize = 1 << 20;

impl<'r> Loader<'r> {
    fn new(registry: &'r Registry) -> Self {
        Self {
            registry,
            file: RttFile::default(),
            sources: HashMap::new(),
            owners: HashMap::new(),
            owner_sets: HashMap::new(),
            reasons: BTreeMap::new(),
            latest: None,
            jumped: false,
        }
    }

    fn line<'l>(
        &mut self,
        line: Option<&'l [u8]>,
        number: u64,
        decode: impl FnOnce(&'l [u8]) -> Result<SampleLine<'l>, SampleError>,
    ) {
        if !line.is_some_and(|line| line.trim_ascii().is_empty()) {
            self.outcome(line.map(decode), number);
        }
    }

    /// Counts and keeps what a line gave; `None` stands for one that is too long.
    fn outcome(&mut self, sample: Option<Result<SampleLine<'_>, SampleError>>, number: u64) {
        self.file.account.read += 1;
        match sample {
            Some(Ok(sample)) if self.file.rows.len() < SAMPLES_MAX => self.keep(&sample),
            Some(Ok(_)) => self.refuse("samples_max", number, "too many samples, split the file"),
            Some(Err(error)) => self.refuse(error.reason(), number, &error.to_string()),
            None => self.refuse("line_too_long", number, "longer than 1 MiB"),
        }
    }

    fn refuse(&mut self, reason: &'static str, number: u64, words: &str) {
        *self.reasons.entry(reason).or_default() += 1;
        self.file.account.refused += 1;
        if self.file.refusals.len() < REFUSALS_TOLD_MAX {
            self.file.refusals.push(format!("line {}: {words}", number + 1));
        }
    }

    fn keep(&mut self, sample: &SampleLine<'_>) {
        self.drop_bad_clock(sample.time);
        let Some(owners) = self.owners_of(sample) else {
            self.file.latest = self.file.latest.max(Some(sample.time));
            self.file.account.unmatched += 1;
            return;
        };
        let source = match self.sources.get(sample.source.as_ref()) {
            Some(index) => *index,
            None => {
                let index = u32::try_from(self.file.sources.len()).unwrap_or(u32::MAX);
                self.file.sources.push(sample.source.as_ref().into());
                self.sources.insert(sample.source.as_ref().to_owned(), index);
                index
            }
        };
        self.file.account.accepted += 1;
        self.jumped =
            self.latest.is_none_or(|latest| sample.time.secs_since(latest) > JUMP_SECS_MAX);
        self.latest = self.latest.max(Some(sample.time));
        self.file.rows.push(RttRow {
            time: sample.time,
            rtt_us: sample.rtt_us,
            source,
            owners,
            statistic: sample.statistic,
        });
    }

    /// A jump ahead is a bad clock if what follows falls back behind it.
    fn drop_bad_clock(&mut self, next: Timestamp) {
        let falls_back = |latest: Timestamp| latest.secs_since(next) > JUMP_SECS_MAX;
        if self.jumped && self.latest.is_some_and(falls_back) {
            self.file.rows.pop();
            self.file.account.accepted -= 1;
            self.file.account.quarantined += 1;
            *self.reasons.entry("clock_ahead").or_default() += 1;
            self.latest = self.file.rows.last().map(|row| row.time);
            self.jumped = false;
        }
    }

    fn owners_of(&mut self, sample: &SampleLine<'_>) -> Option<u32> {
        let connection = sample.connection.as_deref();
        let key = (sample.target, connection.map(str::to_owned));
        if let Some(known) = self.owners.get(&key) {
            return *known;
        }
        let set = match_owners(self.registry, sample.target, connection).map(|set| {
            let owners = &mut self.file.owners;
            *self.owner_sets.entry(set.clone()).or_insert_with(|| {
                owners.push(set);
                u32::try_from(owners.len() - 1).unwrap_or(u32::MAX)
            })
        });
        if self.owners.len() >= TARGETS_REMEMBERED_MAX {
            self.owners.clear();
        }
        self.owners.insert(key, set);
        set
    }

    fn finish<R: BufRead>(self, lines: Lines<R>) -> RttFile {
        let Self { mut file, reasons, .. } = self;
        file.rows.sort_unstable_by_key(|row| (row.time, row.source, row.owners, row.rtt_us));
        file.latest = file.latest.max(file.rows.last().map(|row| row.time));
        file.account.last_offset = lines.number.saturating_sub(1);
        file.damage = lines.error.map(|error| {
            format!("the compressed data is damaged after {} lines: {error}", lines.number)
        });
        file.account.reasons =
            reasons.into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect();
        file
    }
}

/// Who counts a sample: the connection it names if that owns the prefix, else every owner of the
/// longest registered match.
pub(super) fn match_owners(
    registry: &Registry,
    target: Target,
    connection: Option<&str>,
) -> Option<(Prefix, Vec<ConnectionId>)> {
    let named = connection.and_then(|name| registry.id_of(name));
    let domain = named
        .and_then(|id| registry.connection(id))
        .map_or(PUBLIC_ROUTING_DOMAIN, |connection| connection.routing_domain.as_str());
    let (prefix, owners) = match target {
        Target::Address(address) => registry.owners_of(domain, address)?,
        Target::Prefix(prefix) => registry.owners_of_prefix(domain, &prefix)?,
    };
    match named {
        Some(id) if owners.contains(&id) => Some((prefix, vec![id])),
        _ => Some((prefix, owners.to_vec())),
    }
}
