//! RTT bodies: one message of samples in (a request, a message of a topic), matched samples out.
//!
//! A body is whole and in memory, so it is told by its first bytes, or by what its sender says it is:
//! one JSON object, JSON lines, or CSV with a header. [`plain`] takes a bounded compression off it.
//! What a line says is [`crate::decode::rtt`]'s business; whose it is, the registry's. What cannot be
//! read is counted by reason and the rest goes on.
//!
//! Arrow IPC and Parquet are told apart and not read here yet.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::sync::Arc;

use schemas::batch::Account;
use schemas::bgp::Prefix;
use schemas::registry::{ConnectionId, Registry};
use schemas::sample::{Statistic, Target};
use schemas::tables::Text;
use schemas::time::Timestamp;

use super::rtt_file::{LINE_BYTES_MAX, match_owners};
use crate::decode::rtt::{CsvColumns, SampleError, SampleLine, csv_row, json_line};

/// Longest name of a source.
pub const SOURCE_BYTES_MAX: usize = 256;
/// Refused lines that are told in words.
const REFUSALS_TOLD_MAX: usize = 5;
/// Largest window of zstd that is unpacked, as a power of two.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Reason of samples of the link test (169.254.0.0/16): kept out of every percentile.
pub const LINK_TEST: &str = "link_test";
/// Reason of samples on prefixes of a tenant that the sender does not speak for.
pub const OTHER_TENANT: &str = "other_tenant";

/// How samples are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFormat {
    /// One JSON object, or one a line.
    Json,
    /// A header, then rows.
    Csv,
    /// An Arrow IPC stream or file.
    Arrow,
    /// A Parquet file.
    Parquet,
}

impl BodyFormat {
    /// Tells it by the first bytes.
    #[must_use]
    pub fn of(body: &[u8]) -> Option<Self> {
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        if body.starts_with(b"PAR1") {
            Some(Self::Parquet)
        } else if body.starts_with(b"ARROW1") || body.starts_with(&[0xff; 4]) {
            Some(Self::Arrow)
        } else if body.trim_ascii_start().starts_with(b"{") {
            Some(Self::Json)
        } else {
            let line = body.trim_ascii_start().split(|byte| *byte == b'\n').next()?;
            let names_time = line.split(|byte| *byte == b',').any(|name| {
                name.trim_ascii().trim_ascii_start() == b"time" || name.trim_ascii() == b"\"time\""
            });
            names_time.then_some(Self::Csv)
        }
    }

    /// Tells it by a media type, if that says anything.
    ///
    /// # Errors
    /// [`BodyError::MediaType`] for one that is none of ours.
    pub fn of_media_type(media_type: &str) -> Result<Option<Self>, BodyError> {
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        match essence.to_ascii_lowercase().as_str() {
            "application/json"
            | "application/jsonl"
            | "application/x-ndjson"
            | "application/ndjson"
            | "application/jsonlines" => Ok(Some(Self::Json)),
            "text/csv" | "application/csv" => Ok(Some(Self::Csv)),
            "application/vnd.apache.arrow.stream" | "application/vnd.apache.arrow.file" => {
                Ok(Some(Self::Arrow))
            }
            "application/vnd.apache.parquet" => Ok(Some(Self::Parquet)),
            // What clients say when nobody told them.
            ""
            | "application/octet-stream"
            | "application/x-www-form-urlencoded"
            | "text/plain" => Ok(None),
            other => Err(BodyError::MediaType { media_type: other.to_owned() }),
        }
    }

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::Csv => "CSV",
            Self::Arrow => "Arrow IPC",
            Self::Parquet => "Parquet",
        }
    }
}

/// What a body was packed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Nothing.
    Identity,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

impl Encoding {
    /// Reads a `Content-Encoding`.
    ///
    /// # Errors
    /// [`BodyError::Encoding`] for one that is none of ours.
    pub fn of(name: &str) -> Result<Self, BodyError> {
        match name.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::Identity),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            other => Err(BodyError::Encoding { name: other.to_owned() }),
        }
    }
}

/// Why a body is refused as a whole. One variant per remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// A media type that holds no samples.
    #[error("content type {media_type:?} holds no samples; JSON lines or CSV do")]
    MediaType {
        /// What was said.
        media_type: String,
    },
    /// An encoding that is not known here.
    #[error("content encoding {name:?} is not known here; gzip and zstd are")]
    Encoding {
        /// What was said.
        name: String,
    },
    /// Neither JSON nor CSV with a header.
    #[error("neither JSON objects nor CSV with a header that names time")]
    Unrecognised,
    /// A format that this version does not read from a body.
    #[error("{format} is not read from a body by this version; send JSON lines or CSV")]
    Unread {
        /// The format.
        format: &'static str,
    },
    /// Larger than it may be.
    #[error("more than {bytes_max} bytes when unpacked; send it in parts")]
    TooLarge {
        /// The bound.
        bytes_max: usize,
    },
    /// Packed and damaged.
    #[error("the compressed data is damaged: {detail}")]
    Damaged {
        /// What the decompressor said.
        detail: String,
    },
    /// A CSV header that is no header of samples.
    #[error(transparent)]
    Header(#[from] SampleError),
}

impl BodyError {
    /// The reason in `ledger`: a closed set.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::MediaType { .. } | Self::Unrecognised | Self::Unread { .. } => "unknown_format",
            Self::Encoding { .. } => "unknown_encoding",
            Self::TooLarge { .. } => "body_too_large",
            Self::Damaged { .. } => "damaged",
            Self::Header(error) => error.reason(),
        }
    }
}

/// Takes the compression off a body, up to a bound.
///
/// # Errors
/// [`BodyError::TooLarge`] or [`BodyError::Damaged`].
pub fn plain(body: Vec<u8>, encoding: Encoding, bytes_max: usize) -> Result<Vec<u8>, BodyError> {
    let packed = body.as_slice();
    let damaged = |error: std::io::Error| BodyError::Damaged { detail: error.to_string() };
    let unpacked = match encoding {
        Encoding::Identity if body.len() <= bytes_max => return Ok(body),
        Encoding::Identity => return Err(BodyError::TooLarge { bytes_max }),
        Encoding::Gzip => bounded(flate2::bufread::MultiGzDecoder::new(packed), bytes_max),
        Encoding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(packed).map_err(damaged)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(damaged)?;
            bounded(decoder, bytes_max)
        }
    };
    let unpacked = unpacked.map_err(damaged)?;
    if unpacked.len() > bytes_max { Err(BodyError::TooLarge { bytes_max }) } else { Ok(unpacked) }
}

/// Reads up to one byte more than the bound.
fn bounded(reader: impl Read, bytes_max: usize) -> std::io::Result<Vec<u8>> {
    let mut unpacked = Vec::new();
    reader.take(bytes_max as u64 + 1).read_to_end(&mut unpacked)?;
    Ok(unpacked)
}

/// One matched sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatchedSample {
    /// When it was sent.
    pub time: Timestamp,
    /// Round trip in microseconds; none for a lost probe.
    pub rtt_us: Option<u32>,
    /// Index of [`Samples::sources`].
    pub source: u32,
    /// Index of [`Samples::owners`].
    pub owners: u32,
    /// What the value is.
    pub statistic: Statistic,
}

/// Matched samples, in the order in which they came.
#[derive(Clone, Debug)]
pub struct Samples {
    /// The samples.
    pub rows: Vec<MatchedSample>,
    /// Who measured.
    pub sources: Vec<Text>,
    /// Registered prefixes with the connections that count a sample on it.
    pub owners: Vec<(Prefix, Vec<ConnectionId>)>,
    /// What the connections are numbered by.
    pub registry: Arc<Registry>,
    /// What became of the lines.
    pub account: Account,
    /// The first refused lines, with their numbers.
    pub refusals: Vec<String>,
}

/// Reads a whole body. With a tenant, samples on prefixes of others are unmatched.
///
/// # Errors
/// [`BodyError`] if it cannot be read as a whole; a line that is no sample is counted instead.
pub fn read(
    body: &[u8],
    format: Option<BodyFormat>,
    registry: &Arc<Registry>,
    tenant: Option<&str>,
) -> Result<Samples, BodyError> {
    let mut matcher = Matcher::new(registry, tenant);
    if body.trim_ascii().is_empty() {
        return Ok(matcher.finish());
    }
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    match format.or_else(|| BodyFormat::of(body)).ok_or(BodyError::Unrecognised)? {
        BodyFormat::Json => read_json(body, &mut matcher),
        BodyFormat::Csv => read_csv(body, &mut matcher)?,
        format @ (BodyFormat::Arrow | BodyFormat::Parquet) => {
            return Err(BodyError::Unread { format: format.as_str() });
        }
    }
    Ok(matcher.finish())
}

/// Lines, unless the first one is no object by itself and the whole is: an object over several lines.
fn read_json(body: &[u8], matcher: &mut Matcher<'_>) {
    let lines = || (0..).zip(body.split(|byte| *byte == b'\n'));
    let lines = || lines().filter(|(_, line)| !line.trim_ascii().is_empty());
    let (number, first) = lines().next().unwrap_or_default();
    if first.trim_ascii().len() < body.trim_ascii().len()
        && is_json_error(&json_line(first))
        && let whole = json_line(body)
        && !is_json_error(&whole)
    {
        return matcher.take(whole, number);
    }
    for (number, line) in lines() {
        if line.len() > LINE_BYTES_MAX {
            matcher.refuse("line_too_long", number, "longer than 1 MiB");
        } else {
            matcher.take(json_line(line), number);
        }
    }
}

const fn is_json_error(read: &Result<SampleLine<'_>, SampleError>) -> bool {
    matches!(read, Err(SampleError::Json { .. }))
}

fn read_csv(body: &[u8], matcher: &mut Matcher<'_>) -> Result<(), BodyError> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(body);
    let mut bytes = csv::ByteRecord::new();
    let mut columns = None;
    for number in 0.. {
        match reader.read_byte_record(&mut bytes) {
            Ok(true) => {}
            Ok(false) => break,
            // What is read lies in memory: only the form can be wrong, and flexible takes any.
            Err(error) => {
                matcher.refuse("malformed_field", number, &error.to_string());
                break;
            }
        }
        let row = csv::StringRecord::from_byte_record_lossy(std::mem::take(&mut bytes));
        match &columns {
            None => columns = Some(CsvColumns::from_header(row.iter())?),
            Some(columns) => matcher.take(csv_row(&row, columns), number),
        }
    }
    Ok(())
}

/// Distinct targets whose owners are remembered.
const TARGETS_REMEMBERED_MAX: usize = 1 << 16;

/// What is known of a target.
#[derive(Clone, Copy)]
enum Owned {
    By(u32),
    ByOtherTenant,
    ByNobody,
}

/// Matches decoded samples to their owners and counts what became of them.
pub struct Matcher<'t> {
    tenant: Option<&'t str>,
    samples: Samples,
    sources: HashMap<String, u32>,
    owners: HashMap<(Target, Option<String>), Owned>,
    owner_sets: HashMap<(Prefix, Vec<ConnectionId>), u32>,
    reasons: BTreeMap<&'static str, u64>,
}

impl<'t> Matcher<'t> {
    /// Nothing was taken yet.
    #[must_use]
    pub fn new(registry: &Arc<Registry>, tenant: Option<&'t str>) -> Self {
        Self {
            tenant,
            samples: Samples {
                rows: Vec::new(),
                sources: Vec::new(),
                owners: Vec::new(),
                registry: Arc::clone(registry),
                account: Account::default(),
                refusals: Vec::new(),
            },
            sources: HashMap::new(),
            owners: HashMap::new(),
            owner_sets: HashMap::new(),
            reasons: BTreeMap::new(),
        }
    }

    /// Takes what a line gave.
    pub fn take(&mut self, sample: Result<SampleLine<'_>, SampleError>, number: u64) {
        match sample {
            Ok(sample) if sample.source.len() > SOURCE_BYTES_MAX => {
                self.refuse("malformed_field", number, "source is longer than 256 bytes");
            }
            Ok(sample) => self.keep(&sample),
            Err(error) => self.refuse(error.reason(), number, &error.to_string()),
        }
    }

    /// Counts a line that is no sample.
    pub fn refuse(&mut self, reason: &'static str, number: u64, words: &str) {
        self.samples.account.read += 1;
        self.samples.account.refused += 1;
        self.count(reason);
        if self.samples.refusals.len() < REFUSALS_TOLD_MAX {
            self.samples.refusals.push(format!("line {}: {words}", number + 1));
        }
    }

    /// The samples that were matched, with the account of all.
    #[must_use]
    pub fn finish(self) -> Samples {
        let Self { mut samples, reasons, .. } = self;
        samples.account.last_offset = samples.account.read.saturating_sub(1);
        let reason = |(reason, count): (&str, u64)| (reason.to_owned(), count);
        samples.account.reasons = reasons.into_iter().map(reason).collect();
        samples
    }

    fn count(&mut self, reason: &'static str) {
        *self.reasons.entry(reason).or_default() += 1;
    }

    fn keep(&mut self, sample: &SampleLine<'_>) {
        self.samples.account.read += 1;
        if is_link_test(sample.target) {
            self.samples.account.quarantined += 1;
            return self.count(LINK_TEST);
        }
        let owners = match self.owners_of(sample) {
            Owned::By(owners) => owners,
            Owned::ByNobody => {
                self.samples.account.unmatched += 1;
                return;
            }
            Owned::ByOtherTenant => {
                self.samples.account.unmatched += 1;
                return self.count(OTHER_TENANT);
            }
        };
        let source = match self.sources.get(sample.source.as_ref()) {
            Some(index) => *index,
            None => {
                let index = u32::try_from(self.samples.sources.len()).unwrap_or(u32::MAX);
                self.samples.sources.push(sample.source.as_ref().into());
                self.sources.insert(sample.source.as_ref().to_owned(), index);
                index
            }
        };
        self.samples.account.accepted += 1;
        let SampleLine { time, rtt_us, statistic, .. } = *sample;
        self.samples.rows.push(MatchedSample { time, rtt_us, source, owners, statistic });
    }

    fn owners_of(&mut self, sample: &SampleLine<'_>) -> Owned {
        let connection = sample.connection.as_deref();
        let key = (sample.target, connection.map(str::to_owned));
        if let Some(known) = self.owners.get(&key) {
            return *known;
        }
        let registry = &self.samples.registry;
        let tenant = self.tenant;
        let is_ours = |id: &ConnectionId| {
            let connection = registry.connection(*id);
            tenant.is_none_or(|tenant| connection.is_some_and(|c| c.tenant == tenant))
        };
        let owned = match match_owners(registry, sample.target, connection) {
            None => Owned::ByNobody,
            Some((prefix, mut ids)) => {
                ids.retain(is_ours);
                if ids.is_empty() {
                    Owned::ByOtherTenant
                } else {
                    let owners = &mut self.samples.owners;
                    let set = (prefix, ids);
                    Owned::By(*self.owner_sets.entry(set.clone()).or_insert_with(|| {
                        owners.push(set);
                        u32::try_from(owners.len() - 1).unwrap_or(u32::MAX)
                    }))
                }
            }
        };
        if self.owners.len() >= TARGETS_REMEMBERED_MAX {
            self.owners.clear();
        }
        self.owners.insert(key, owned);
        owned
    }
}

/// Whether a sample is of the link test, whose targets are link-local (RFC 3927).
fn is_link_test(target: Target) -> bool {
    let link_local = Prefix::v4([169, 254, 0, 0], 16);
    match target {
        Target::Address(address) => link_local.covers(&Prefix::of(address, u8::MAX)),
        Target::Prefix(prefix) => link_local.covers(&prefix),
    }
}

#[cfg(test)]
mod tests;
