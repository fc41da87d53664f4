//! RTT decoding: a line of JSON, or the fields of a CSV row, in, one [`SampleLine`] out.
//!
//! The forms are those of the contract: `time` as RFC 3339 or epoch seconds, milliseconds or
//! microseconds (told apart by their size), `ip` or `prefix`, `rtt_us` or `rtt_ms` (null for a lost
//! probe), `source`, and optionally `connection` and `statistic` (sample, min, srtt, avg). Fields not
//! named here are passed over.
//!
//! Nothing is kept between lines. Which connection a sample counts for is
//! [`crate::samples`]'s business.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;

use schemas::bgp::Prefix;
use schemas::sample::{RTT_US_MAX, Statistic, Target};
use schemas::time::Timestamp;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};

use super::mapping::Mapping;

/// Columns of a CSV file that are looked at, from the left.
pub const FIELDS_MAX: usize = 64;

/// One sample as a line tells it; text borrowed from the line where it can be.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleLine<'a> {
    /// When the probe was sent.
    pub time: Timestamp,
    /// What was probed.
    pub target: Target,
    /// Round trip in microseconds; none for a lost probe.
    pub rtt_us: Option<NonZeroU32>,
    /// Who measured.
    pub source: Cow<'a, str>,
    /// The connection it names, if any.
    pub connection: Option<Cow<'a, str>>,
    /// What the value is.
    pub statistic: Statistic,
}

/// Why a line is no sample: one variant per remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SampleError {
    /// No JSON object, or a value of another type.
    #[error("not a JSON object with a sample: {detail}")]
    Json {
        /// What the parser said.
        detail: String,
    },
    /// Columns that cannot be read at all.
    #[error("not a Parquet or Arrow file of samples: {detail}")]
    Columnar {
        /// What its reader said.
        detail: String,
    },
    /// A field that a sample must have.
    #[error("{field} is missing")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// A field that does not hold what it must.
    #[error("{field} {value:?} is not {wanted}")]
    Malformed {
        /// The field.
        field: &'static str,
        /// What it holds.
        value: String,
        /// What it should hold.
        wanted: &'static str,
    },
    /// A round trip that cannot be.
    #[error("a round trip of {value} us is not between 1 us and 60 s")]
    RttOutOfRange {
        /// The value.
        value: String,
    },
}

impl SampleError {
    /// The reason in `ledger`: a closed set.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Json { .. } => "json",
            Self::Columnar { .. } => "columnar",
            Self::Missing { .. } => "missing_field",
            Self::Malformed { .. } => "malformed_field",
            Self::RttOutOfRange { .. } => "rtt_out_of_range",
        }
    }
}

/// Text of a JSON document, borrowed where nothing in it is escaped. (An `Option<Cow<str>>` is never
/// borrowed by serde.)
struct JsonText<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for JsonText<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = JsonText<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(JsonText(Cow::Borrowed(text)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(JsonText(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// What `time` holds.
struct JsonTime(Result<Timestamp, SampleError>);

impl<'de> Deserialize<'de> for JsonTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Time;
        impl Visitor<'_> for Time {
            type Value = JsonTime;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or text")
            }
            fn visit_i64<E: Error>(self, epoch: i64) -> Result<JsonTime, E> {
                Ok(JsonTime(Ok(epoch_whole(epoch))))
            }
            fn visit_u64<E: Error>(self, epoch: u64) -> Result<JsonTime, E> {
                Ok(JsonTime(Ok(epoch_whole(i64::try_from(epoch).unwrap_or(i64::MAX)))))
            }
            fn visit_f64<E: Error>(self, epoch: f64) -> Result<JsonTime, E> {
                Ok(JsonTime(epoch_real(epoch)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<JsonTime, E> {
                Ok(JsonTime(time_text(text)))
            }
        }
        deserializer.deserialize_any(Time)
    }
}

#[derive(Deserialize)]
struct JsonLine<'a> {
    time: Option<JsonTime>,
    #[serde(borrow)]
    ip: Option<JsonText<'a>>,
    #[serde(borrow)]
    prefix: Option<JsonText<'a>>,
    #[serde(default, deserialize_with = "present")]
    rtt_us: Option<Option<f64>>,
    #[serde(default, deserialize_with = "present")]
    rtt_ms: Option<Option<f64>>,
    #[serde(borrow)]
    source: Option<JsonText<'a>>,
    #[serde(borrow)]
    connection: Option<JsonText<'a>>,
    #[serde(borrow)]
    statistic: Option<JsonText<'a>>,
}

/// Tells a null apart from an absent field.
#[expect(clippy::option_option, reason = "absent, null and a number are three things")]
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<f64>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Reads one line of JSON.
///
/// # Errors
/// [`SampleError`] if the line is no sample; the caller counts it and goes on.
pub fn json_line(line: &[u8]) -> Result<SampleLine<'_>, SampleError> {
    let fields: JsonLine<'_> = serde_json::from_slice(line)
        .map_err(|error| SampleError::Json { detail: error.to_string() })?;
    let rtt_us = match (fields.rtt_us, fields.rtt_ms) {
        (Some(micros), _) => micros.map(rtt).transpose()?,
        (None, Some(millis)) => millis.map(|millis| rtt(millis * 1_000.0)).transpose()?,
        (None, None) => return Err(SampleError::Missing { field: "rtt_us" }),
    };
    let text = |field: &Option<JsonText<'_>>| field.as_ref().map(|text| text.0.to_string());
    let (ip, prefix) = (&fields.ip, &fields.prefix);
    Ok(SampleLine {
        time: fields.time.ok_or(SampleError::Missing { field: "time" })?.0?,
        target: target(
            ip.as_ref().map(|text| text.0.as_ref()),
            prefix.as_ref().map(|text| text.0.as_ref()),
        )?,
        rtt_us,
        source: fields.source.ok_or(SampleError::Missing { field: "source" })?.0,
        statistic: text(&fields.statistic)
            .map_or(Ok(Statistic::Sample), |word| statistic(&word))?,
        connection: fields.connection.map(|text| text.0),
    })
}

/// The statistic of that name.
///
/// # Errors
/// [`SampleError::Malformed`]
pub fn statistic(word: &str) -> Result<Statistic, SampleError> {
    let all = [Statistic::Sample, Statistic::Min, Statistic::Srtt, Statistic::Avg];
    let found = all.into_iter().find(|statistic| statistic.as_str() == word);
    found.ok_or_else(|| SampleError::Malformed {
        field: "statistic",
        value: word.to_owned(),
        wanted: "sample, min, srtt or avg",
    })
}

/// Which column of a CSV file holds what.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CsvColumns {
    time: Option<usize>,
    ip: Option<usize>,
    prefix: Option<usize>,
    rtt: Option<usize>,
    /// Microseconds that one unit of `rtt` is.
    rtt_scale: f64,
    source: Option<usize>,
    connection: Option<usize>,
    statistic: Option<usize>,
    /// What a mapping says of all rows.
    constant_source: Option<String>,
    constant_statistic: Statistic,
}

impl CsvColumns {
    /// The columns that a mapping names, at the places where `place` finds them.
    fn mapped(mapping: &Mapping, place: impl Fn(&str) -> Option<usize>) -> Self {
        let of = |path: &Option<String>| path.as_deref().and_then(&place);
        Self {
            time: place(&mapping.time),
            ip: of(&mapping.ip),
            prefix: of(&mapping.prefix),
            rtt: place(&mapping.rtt),
            rtt_scale: mapping.unit.micros(),
            source: of(&mapping.source),
            connection: of(&mapping.connection),
            statistic: None,
            constant_source: mapping.source_name.clone(),
            constant_statistic: mapping.statistic.into(),
        }
    }

    /// Finds the columns in a header, by the names of the contract or by those of a mapping.
    ///
    /// # Errors
    /// [`SampleError::Missing`] for a header without a column that every sample needs.
    pub fn from_header<'h>(
        header: impl Iterator<Item = &'h str>,
        mapping: Option<&Mapping>,
    ) -> Result<Self, SampleError> {
        let names: Vec<&str> =
            header.map(|name| name.trim().trim_start_matches('\u{feff}')).collect();
        let place = |name: &str| names.iter().position(|found| *found == name);
        let columns = match mapping {
            Some(mapping) => Self::mapped(mapping, place),
            None => Self {
                time: place("time"),
                ip: place("ip"),
                prefix: place("prefix"),
                rtt: place("rtt_us").or_else(|| place("rtt_ms")),
                rtt_scale: if place("rtt_us").is_some() { 1.0 } else { 1_000.0 },
                source: place("source"),
                connection: place("connection"),
                statistic: place("statistic"),
                constant_source: None,
                constant_statistic: Statistic::Sample,
            },
        };
        let has_source = columns.source.is_some() || columns.constant_source.is_some();
        let needed = [
            ("time", columns.time.is_some()),
            ("ip", columns.ip.is_some() || columns.prefix.is_some()),
            ("rtt_us", columns.rtt.is_some()),
            ("source", has_source),
        ];
        match needed.into_iter().find(|(_, is_there)| !is_there) {
            Some((field, _)) => Err(SampleError::Missing { field }),
            None => Ok(columns),
        }
    }
}

/// Reads one CSV row whose header gave `columns`.
///
/// # Errors
/// [`SampleError`] if the row is no sample; the caller counts it and goes on.
#[inline]
pub fn csv_row<'a>(
    row: &[&'a str],
    columns: &'a CsvColumns,
) -> Result<SampleLine<'a>, SampleError> {
    let field = |place: Option<usize>| {
        let text = place.and_then(|place| row.get(place)).map(|text| text.trim());
        text.filter(|text| !text.is_empty())
    };
    let time = field(columns.time).ok_or(SampleError::Missing { field: "time" })?;
    let rtt_us = field(columns.rtt).map(|text| csv_rtt(text, columns.rtt_scale)).transpose()?;
    let source = field(columns.source).or(columns.constant_source.as_deref());
    Ok(SampleLine {
        time: time_text(time)?,
        target: target(field(columns.ip), field(columns.prefix))?,
        rtt_us: rtt_us.flatten(),
        source: Cow::Borrowed(source.ok_or(SampleError::Missing { field: "source" })?),
        connection: field(columns.connection).map(Cow::Borrowed),
        statistic: field(columns.statistic).map_or(Ok(columns.constant_statistic), statistic)?,
    })
}

/// A round trip of a CSV row; words for "none" are a lost probe.
fn csv_rtt(text: &str, scale: f64) -> Result<Option<NonZeroU32>, SampleError> {
    if let Ok(whole) = text.parse::<u32>() {
        return rtt(f64::from(whole) * scale).map(Some);
    }
    match text.parse::<f64>() {
        Ok(value) if !value.is_nan() => rtt(value * scale).map(Some),
        _ if matches!(text, "null" | "NULL" | "\\N") => Ok(None),
        _ => {
            let (field, value) = ("rtt_us", text.to_owned());
            Err(SampleError::Malformed { field, value, wanted: "a number" })
        }
    }
}

/// What is probed: an address, else a prefix.
///
/// # Errors
/// [`SampleError::Malformed`], [`SampleError::Missing`]
#[inline]
pub fn target(ip: Option<&str>, prefix: Option<&str>) -> Result<Target, SampleError> {
    match (ip, prefix) {
        (Some(ip), _) => match ip.parse::<Ipv4Addr>() {
            Ok(address) => Ok(Target::Address(address.into())),
            Err(_) => match ip.parse::<IpAddr>() {
                Ok(address) => Ok(Target::Address(address.to_canonical())),
                Err(_) => {
                    let (field, value) = ("ip", ip.to_owned());
                    Err(SampleError::Malformed { field, value, wanted: "an address" })
                }
            },
        },
        (None, Some(prefix)) => match prefix.parse::<Prefix>() {
            Ok(prefix) => Ok(Target::Prefix(prefix)),
            Err(_) => {
                let (field, value) = ("prefix", prefix.to_owned());
                Err(SampleError::Malformed { field, value, wanted: "a prefix" })
            }
        },
        (None, None) => Err(SampleError::Missing { field: "ip" }),
    }
}

/// A round trip in whole microseconds; what rounds to 0 cannot be one.
///
/// # Errors
/// [`SampleError::RttOutOfRange`]
#[inline]
pub fn rtt(micros: f64) -> Result<NonZeroU32, SampleError> {
    let rounded = micros.round();
    if (1.0..=f64::from(RTT_US_MAX)).contains(&rounded) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range")]
        let whole = rounded as u32;
        NonZeroU32::new(whole)
    } else {
        None
    }
    .ok_or_else(|| SampleError::RttOutOfRange { value: micros.to_string() })
}

/// A time as text: RFC 3339, or an epoch as [`epoch_whole`] has it.
///
/// # Errors
/// [`SampleError::Malformed`]
pub fn time_text(text: &str) -> Result<Timestamp, SampleError> {
    let is_date = text.as_bytes().get(4) == Some(&b'-');
    if !is_date {
        if let Ok(epoch) = text.parse::<i64>() {
            return Ok(epoch_whole(epoch));
        }
        if let Ok(epoch) = text.parse::<f64>() {
            return epoch_real(epoch);
        }
    }
    text.parse().map_err(|_| malformed_time(text))
}

fn malformed_time(text: impl fmt::Display) -> SampleError {
    SampleError::Malformed {
        field: "time",
        value: text.to_string(),
        wanted: "an RFC 3339 time or epoch seconds, milliseconds or microseconds",
    }
}

/// Epoch seconds below 10^11 (the year 5138), milliseconds below 10^14, then microseconds.
#[must_use]
pub const fn epoch_whole(epoch: i64) -> Timestamp {
    match epoch.unsigned_abs() {
        0..100_000_000_000 => Timestamp::from_secs(epoch),
        100_000_000_000..100_000_000_000_000 => Timestamp(epoch * 1_000),
        _ => Timestamp(epoch),
    }
}

/// The same with a fraction.
///
/// # Errors
/// [`SampleError::Malformed`] for what is no time.
pub fn epoch_real(epoch: f64) -> Result<Timestamp, SampleError> {
    let scale = match epoch.abs() {
        size if size < 1e11 => 1e6,
        size if size < 1e14 => 1e3,
        size if size < 9e18 => 1.0,
        _ => return Err(malformed_time(epoch)),
    };
    #[expect(clippy::cast_possible_truncation, reason = "below 9e18 by the match above")]
    Ok(Timestamp((epoch * scale).round() as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<SampleLine<'_>, SampleError> {
        json_line(line.as_bytes())
    }

    #[test]
    fn a_lost_probe_is_a_null_and_not_an_absent_round_trip() {
        let lost = r#"{"time": 1772618400, "ip": "192.0.2.7", "rtt_us": null, "source": "p"}"#;
        assert_eq!(read(lost).unwrap().rtt_us, None);
        let absent = r#"{"time": 1772618400, "ip": "192.0.2.7", "source": "p"}"#;
        assert_eq!(read(absent), Err(SampleError::Missing { field: "rtt_us" }));
    }

    #[test]
    fn an_epoch_is_told_by_its_size() {
        for time in [
            "1772618400",
            "1772618400000",
            "1772618400000000",
            "1772618400.0",
            r#""2026-03-04T10:00:00Z""#,
        ] {
            let line =
                format!(r#"{{"time":{time},"prefix":"192.0.2.0/24","rtt_ms":21.5,"source":"p"}}"#);
            let sample = read(&line).unwrap();
            assert_eq!(sample.time, Timestamp::from_secs(1_772_618_400), "{time}");
            assert_eq!(sample.rtt_us, NonZeroU32::new(21_500));
        }
    }

    #[test]
    fn a_round_trip_that_cannot_be_is_refused_with_its_reason() {
        for rtt in ["0", "-5", "60000001", "1e300", "0.2"] {
            let line =
                format!(r#"{{"time":1772618400,"ip":"192.0.2.7","rtt_us":{rtt},"source":"p"}}"#);
            assert_eq!(read(&line).unwrap_err().reason(), "rtt_out_of_range", "{rtt}");
        }
        assert_eq!(read("{").unwrap_err().reason(), "json");
        assert_eq!(
            read(r#"{"time":1,"ip":"x","rtt_us":1,"source":"p"}"#).unwrap_err().reason(),
            "malformed_field"
        );
    }

    #[test]
    fn a_csv_row_says_what_the_same_json_line_says() {
        let header = ["source", "rtt_us", "time", "ip", "note"];
        let columns = CsvColumns::from_header(header.into_iter(), None).unwrap();
        let row = ["p", "21500", "2026-03-04T10:00:00Z", "192.0.2.7", "x"];
        let line =
            r#"{"time":"2026-03-04T10:00:00Z","ip":"192.0.2.7","rtt_us":21500,"source":"p"}"#;
        assert_eq!(csv_row(&row, &columns), read(line));
        let lost = ["p", "", "1772618400", "192.0.2.7", ""];
        assert_eq!(csv_row(&lost, &columns).unwrap().rtt_us, None);
        assert!(CsvColumns::from_header(["time", "ip"].into_iter(), None).is_err());
    }

    #[test]
    fn a_statistic_is_one_of_four_words() {
        let line = |word: &str| {
            format!(
                r#"{{"time":1772618400,"ip":"192.0.2.7","rtt_us":1,"source":"p","statistic":"{word}"}}"#
            )
        };
        assert_eq!(read(&line("srtt")).unwrap().statistic, Statistic::Srtt);
        assert_eq!(read(&line("median")).unwrap_err().reason(), "malformed_field");
    }
}
