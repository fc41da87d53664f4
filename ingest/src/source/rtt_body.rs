//! RTT bodies: one message of samples in (a request, a message of a topic), matched samples out.
//!
//! A body is whole and in memory, so it is told by its first bytes, or by what its sender says it is:
//! JSON objects in lines or an array, CSV with a header, Arrow IPC, Parquet. [`plain`] takes a bounded
//! compression off it. How it is read is [`crate::samples`].

use std::io::Read;

use bytes::Bytes;

use crate::decode::rtt::SampleError;
use crate::samples::{self, Body, Collector, Owners, RttFormat, SampleSet, Scope};
pub use crate::samples::{LINK_TEST, OTHER_TENANT};

/// Largest window of zstd that is unpacked, as a power of two.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

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
        } else if matches!(body.trim_ascii_start().first(), Some(b'{' | b'[')) {
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
    #[error("content type {media_type:?} holds no samples; JSON, CSV, Arrow and Parquet do")]
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
    #[error("neither JSON objects, nor CSV with a header that names time, nor Arrow or Parquet")]
    Unrecognised,
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
            Self::MediaType { .. } | Self::Unrecognised => "unknown_format",
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

/// Reads a whole body. With a tenant, samples on prefixes of others are unmatched.
///
/// # Errors
/// [`BodyError`] if it cannot be read as a whole; a line that is no sample is counted instead.
pub fn read(
    body: &[u8],
    format: Option<BodyFormat>,
    owners: &Owners,
    tenant: Option<&str>,
) -> Result<SampleSet, BodyError> {
    let scope = Scope { tenant: tenant.map(Into::into), is_live: true };
    let collector = Collector::new(owners, scope);
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii_start();
    if body.is_empty() {
        return Ok(collector.finish());
    }
    let format = match format.or_else(|| BodyFormat::of(body)).ok_or(BodyError::Unrecognised)? {
        BodyFormat::Json => json_format(body),
        BodyFormat::Csv => RttFormat::Csv,
        BodyFormat::Arrow => RttFormat::Arrow,
        BodyFormat::Parquet => RttFormat::Parquet,
    };
    let bytes = Bytes::copy_from_slice(body);
    Ok(samples::read(Body::Bytes(bytes), format, None, collector)?)
}

/// Lines, unless the first one is no object by itself: then objects, wherever they end.
fn json_format(body: &[u8]) -> RttFormat {
    match RttFormat::of(body) {
        Some(format @ (RttFormat::Atlas | RttFormat::JsonArray)) => format,
        _ => {
            let first = body.split(|byte| *byte == b'\n').next().unwrap_or_default();
            let is_object = first.trim_ascii_end().ends_with(b"}");
            if is_object { RttFormat::JsonLines } else { RttFormat::JsonArray }
        }
    }
}

#[cfg(test)]
mod tests;
