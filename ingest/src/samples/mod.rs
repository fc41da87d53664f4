//! Samples: round-trip times of any supported format in, matched to who counts them, in the order in
//! which the log takes them.
//!
//! - [`owners`]: which registered prefix an address falls into, and who counts a sample on it.
//! - [`collector`]: samples one by one into a [`SampleSet`], with what became of each.
//! - [`text`]: JSON lines, JSON arrays, CSV and RIPE Atlas results; [`columnar`]: Parquet and Arrow.
//! - [`feed`]: a set into the batches of the shards.
//!
//! A set is whole before it is appended, and comes out second by second, so that the order of lines
//! in a file changes nothing (`docs/concepts/time.md`).

pub mod collector;
mod columnar;
pub mod feed;
pub mod owners;
mod text;

use std::io::{self, Read};
use std::num::NonZeroU32;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use memchr::memmem::Finder;
use schemas::batch::Account;
use schemas::bgp::Prefix;
use schemas::registry::{ConnectionId, Registry};
use schemas::sample::Statistic;
use schemas::tables::Text;
use schemas::time::Timestamp;

use crate::decode::mapping::Mapping;
use crate::decode::rtt::{CsvColumns, SampleError};
pub use collector::{Collector, LINK_TEST, OTHER_TENANT, Scope};
pub use feed::SampleFeed;
pub use owners::{Owners, OwnersNow};

/// How samples are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RttFormat {
    /// One JSON object a line.
    JsonLines,
    /// One JSON array of objects.
    JsonArray,
    /// A header, then rows.
    Csv,
    /// Results of RIPE Atlas, lines or an array.
    Atlas,
    /// Apache Parquet.
    Parquet,
    /// Arrow IPC, a stream or a file.
    Arrow,
}

/// Keys that tell a format; each message of a topic is asked for them.
static PRB_ID: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new("\"prb_id\""));
static MSM_ID: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new("\"msm_id\""));
static TIME: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new("\"time\""));
static RTT_US: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new("\"rtt_us\""));
static RTT_MS: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new("\"rtt_ms\""));

impl RttFormat {
    /// Of samples in a form that a [`Mapping`] reads: told by the first bytes.
    #[must_use]
    pub fn of_mapped(head: &[u8]) -> Self {
        match head.trim_ascii_start().first() {
            Some(b'[') => Self::JsonArray,
            Some(b'{') => Self::JsonLines,
            _ => Self::Csv,
        }
    }

    /// Told by the first bytes; none if they are no samples. What a [`Mapping`] reads is not told so.
    #[must_use]
    pub fn of(head: &[u8]) -> Option<Self> {
        if head.starts_with(b"PAR1") {
            return Some(Self::Parquet);
        }
        if head.starts_with(b"ARROW1\0\0") || head.starts_with(&[0xff, 0xff, 0xff, 0xff]) {
            return Some(Self::Arrow);
        }
        let text = head.trim_ascii_start();
        let (is_array, object) = match text.strip_prefix(b"[") {
            Some(rest) => (true, rest.trim_ascii_start()),
            None => (false, text),
        };
        let end = memchr::memchr(b'\n', object).unwrap_or(object.len());
        let line = object.get(..end).unwrap_or(object);
        let has = |part: &[u8], word: &LazyLock<Finder<'static>>| word.find(part).is_some();
        if object.starts_with(b"{") {
            // An object of an array may be spread over lines.
            let part = if is_array { object } else { line };
            // The usual first: these stand at the beginning of a sample, and in no result of Atlas.
            if has(part, &TIME) && (has(part, &RTT_US) || has(part, &RTT_MS)) {
                return Some(if is_array { Self::JsonArray } else { Self::JsonLines });
            }
            return (has(part, &PRB_ID) && has(part, &MSM_ID)).then_some(Self::Atlas);
        }
        let header = str::from_utf8(line).ok().filter(|_| !is_array)?;
        CsvColumns::from_header(header.trim_end().split(','), None).ok().map(|_| Self::Csv)
    }
}

/// Where the samples come from.
pub enum Body {
    /// Plain bytes as they come.
    Stream(Box<dyn Read + Send>),
    /// A file that is not compressed: Parquet is read where it lies.
    File(std::fs::File),
    /// Plain bytes in memory.
    Bytes(Bytes),
}

impl Body {
    fn reader(self) -> Box<dyn Read + Send> {
        match self {
            Self::Stream(reader) => reader,
            Self::File(file) => Box::new(file),
            Self::Bytes(bytes) => Box::new(io::Cursor::new(bytes)),
        }
    }
}

/// One matched sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleRow {
    /// When it was sent.
    pub time: Timestamp,
    /// Index of [`SampleSet::series`].
    pub series: u32,
    /// Round trip in microseconds; none for a lost probe.
    pub rtt_us: Option<NonZeroU32>,
}

/// What samples share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Series {
    /// Registered prefix that they fall into.
    pub prefix: Prefix,
    /// Index of [`SampleSet::sources`].
    pub source: u32,
    /// What the values are.
    pub statistic: Statistic,
    /// First of those who count them, in [`SampleSet::owners`].
    pub first_owner: u32,
    /// How many count them.
    pub owners: u32,
}

/// Samples of one input, matched, second by second.
#[derive(Clone, Debug)]
pub struct SampleSet {
    /// What the connections are numbered by.
    pub registry: Arc<Registry>,
    /// The samples by second; inside a second as they came.
    pub rows: Vec<SampleRow>,
    /// What they share.
    pub series: Vec<Series>,
    /// Who counts them: [`Series::first_owner`].
    pub owners: Vec<ConnectionId>,
    /// Who measured.
    pub sources: Vec<Text>,
    /// Latest time of all samples, matched or not.
    pub latest: Option<Timestamp>,
    /// What became of them.
    pub account: Account,
    /// Where the input ends before its end, in words.
    pub damage: Option<String>,
    /// The first refused samples, with their numbers.
    pub refusals: Vec<String>,
}

/// A sample this far ahead of the log time of a live log has a bad clock (`docs/concepts/time.md`).
const AHEAD_SECS_MAX: i64 = 60;

/// A sample this far behind it, ten years, comes of a clock that was never set.
const BEHIND_SECS_MAX: i64 = 315_360_000;

impl SampleSet {
    /// Makes it fit for a live log at its time, under the registry in force: samples of a clock that is
    /// ahead are put aside, those of connections that are gone are nobody's.
    pub fn settle(&mut self, now: Timestamp, registry: &Arc<Registry>) {
        let (behind, ahead) = (now.plus_secs(-BEHIND_SECS_MAX), now.plus_secs(AHEAD_SECS_MAX));
        self.quarantine("clock_ahead", |row| row.time > ahead);
        self.quarantine("clock_behind", |row| row.time < behind);
        if !Arc::ptr_eq(&self.registry, registry) {
            self.renumber(registry);
        }
    }

    fn quarantine(&mut self, reason: &str, is_wrong: impl Fn(&SampleRow) -> bool) {
        let before = self.rows.len();
        self.rows.retain(|row| !is_wrong(row));
        let wrong = (before - self.rows.len()) as u64;
        self.account.accepted = self.account.accepted.saturating_sub(wrong);
        self.account.quarantined += wrong;
        self.account.note(reason, wrong);
    }

    /// Samples may have been matched by another version of the registry.
    fn renumber(&mut self, registry: &Arc<Registry>) {
        let mut owners = Vec::with_capacity(self.owners.len());
        for series in &mut self.series {
            let first = series.first_owner as usize;
            let ids = self.owners.get(first..first + series.owners as usize).unwrap_or_default();
            let known =
                ids.iter().filter_map(|id| registry.id_of(&self.registry.connection(*id)?.name));
            let start = owners.len();
            owners.extend(known);
            series.first_owner = u32::try_from(start).unwrap_or(u32::MAX);
            series.owners = u32::try_from(owners.len() - start).unwrap_or(0);
        }
        let before = self.rows.len();
        let series = &self.series;
        self.rows.retain(|row| series.get(row.series as usize).is_some_and(|one| one.owners > 0));
        let gone = (before - self.rows.len()) as u64;
        self.account.accepted = self.account.accepted.saturating_sub(gone);
        self.account.unmatched += gone;
        self.owners = owners;
        self.registry = Arc::clone(registry);
    }
}

/// Reads all samples of an input.
///
/// # Errors
/// [`SampleError`] if it does not hold samples at all: a header or a schema without a field that every
/// sample needs.
pub fn read(
    body: Body,
    format: RttFormat,
    mapping: Option<&Mapping>,
    mut collector: Collector<'_>,
) -> Result<SampleSet, SampleError> {
    match (format, mapping) {
        (RttFormat::Parquet, _) => columnar::parquet(body, &mut collector)?,
        (RttFormat::Arrow, _) => columnar::arrow(body, &mut collector)?,
        (_, mapping) => text::read(body.reader(), format, mapping, &mut collector)?,
    }
    Ok(collector.finish())
}

#[cfg(test)]
mod tests;
