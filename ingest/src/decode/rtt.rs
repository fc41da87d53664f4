//! RTT decoding: a line of JSON, or the fields of a CSV row, in, one [`SampleLine`] out.
//!
//! The forms are those of the contract: `time` as RFC 3339 or epoch seconds, milliseconds or
//! microseconds (told apart by their size), `ip` or `prefix`, `rtt_us` or `rtt_ms` (null for a lost
//! probe), `source`, and optionally `connection`. Fields not named here are passed over.
//!
//! Nothing is kept between lines. Which connection a sample counts for is
//! [`crate::session::interest`]'s business.

use std::borrow::Cow;
use std::net::IpAddr;

use schemas::bgp::Prefix;
use schemas::sample::{RTT_US_MAX, Statistic, Target};
use schemas::time::Timestamp;
use serde::{Deserialize, Deserializer};

/// One sample as a line tells it; text borrowed from the line where it can be.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleLine<'a> {
    /// When the probe was sent.
    pub time: Timestamp,
    /// What was probed.
    pub target: Target,
    /// Round trip in microseconds; none for a lost probe.
    pub rtt_us: Option<u32>,
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
            Self::Missing { .. } => "missing_field",
            Self::Malformed { .. } => "malformed_field",
            Self::RttOutOfRange { .. } => "rtt_out_of_range",
        }
    }
}

/// A JSON number or text, as `time` may be.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar<'a> {
    Whole(i64),
    Real(f64),
    #[serde(borrow)]
    Text(Cow<'a, str>),
}

#[derive(Deserialize)]
struct JsonLine<'a> {
    #[serde(borrow)]
    time: Option<Scalar<'a>>,
    #[serde(borrow)]
    ip: Option<Cow<'a, str>>,
    #[serde(borrow)]
    prefix: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "present")]
    rtt_us: Option<Option<f64>>,
    #[serde(default, deserialize_with = "present")]
    rtt_ms: Option<Option<f64>>,
    #[serde(borrow)]
    source: Option<Cow<'a, str>>,
    #[serde(borrow)]
    connection: Option<Cow<'a, str>>,
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
    let time = match fields.time.ok_or(SampleError::Missing { field: "time" })? {
        Scalar::Whole(epoch) => epoch_whole(epoch),
        Scalar::Real(epoch) => epoch_real(epoch)?,
        Scalar::Text(text) => time_text(&text)?,
    };
    let rtt_us = match (fields.rtt_us, fields.rtt_ms) {
        (Some(micros), _) => micros.map(rtt).transpose()?,
        (None, Some(millis)) => millis.map(|millis| rtt(millis * 1_000.0)).transpose()?,
        (None, None) => return Err(SampleError::Missing { field: "rtt_us" }),
    };
    Ok(SampleLine {
        time,
        target: target(fields.ip.as_deref(), fields.prefix.as_deref())?,
        rtt_us,
        source: fields.source.ok_or(SampleError::Missing { field: "source" })?,
        connection: fields.connection,
        statistic: Statistic::Sample,
    })
}

/// Which column of a CSV file holds what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CsvColumns {
    time: Option<usize>,
    ip: Option<usize>,
    prefix: Option<usize>,
    rtt_us: Option<usize>,
    rtt_ms: Option<usize>,
    source: Option<usize>,
    connection: Option<usize>,
}

impl CsvColumns {
    /// Finds the columns in a header.
    ///
    /// # Errors
    /// [`SampleError::Missing`] for a header without a column that every sample needs.
    pub fn from_header<'h>(header: impl Iterator<Item = &'h str>) -> Result<Self, SampleError> {
        let mut columns = Self::default();
        for (index, name) in header.enumerate() {
            let place = match name.trim().trim_start_matches('\u{feff}') {
                "time" => &mut columns.time,
                "ip" => &mut columns.ip,
                "prefix" => &mut columns.prefix,
                "rtt_us" => &mut columns.rtt_us,
                "rtt_ms" => &mut columns.rtt_ms,
                "source" => &mut columns.source,
                "connection" => &mut columns.connection,
                _ => continue,
            };
            *place = Some(index);
        }
        let needed = [
            ("time", columns.time),
            ("ip", columns.ip.or(columns.prefix)),
            ("rtt_us", columns.rtt_us.or(columns.rtt_ms)),
            ("source", columns.source),
        ];
        match needed.into_iter().find(|(_, place)| place.is_none()) {
            Some((field, _)) => Err(SampleError::Missing { field }),
            None => Ok(columns),
        }
    }
}

/// Reads one CSV row whose header gave `columns`.
///
/// # Errors
/// [`SampleError`] if the row is no sample; the caller counts it and goes on.
pub fn csv_row<'a>(
    row: &'a csv::StringRecord,
    columns: &CsvColumns,
) -> Result<SampleLine<'a>, SampleError> {
    let field = |place: Option<usize>| {
        place.and_then(|place| row.get(place)).map(str::trim).filter(|text| !text.is_empty())
    };
    let number = |place: Option<usize>, name: &'static str, scale: f64| {
        field(place).map(|text| csv_rtt(text, name, scale)).transpose()
    };
    let time = field(columns.time).ok_or(SampleError::Missing { field: "time" })?;
    let rtt_us = match number(columns.rtt_us, "rtt_us", 1.0)? {
        Some(micros) => Some(micros),
        None => number(columns.rtt_ms, "rtt_ms", 1_000.0)?,
    };
    Ok(SampleLine {
        time: time_text(time)?,
        target: target(field(columns.ip), field(columns.prefix))?,
        rtt_us,
        source: Cow::Borrowed(
            field(columns.source).ok_or(SampleError::Missing { field: "source" })?,
        ),
        connection: field(columns.connection).map(Cow::Borrowed),
        statistic: Statistic::Sample,
    })
}

fn csv_rtt(text: &str, field: &'static str, scale: f64) -> Result<u32, SampleError> {
    match text.parse::<f64>() {
        Ok(value) => rtt(value * scale),
        Err(_) => Err(SampleError::Malformed { field, value: text.to_owned(), wanted: "a number" }),
    }
}

fn target(ip: Option<&str>, prefix: Option<&str>) -> Result<Target, SampleError> {
    match (ip, prefix) {
        (Some(ip), _) => match ip.parse::<IpAddr>() {
            Ok(address) => Ok(Target::Address(address.to_canonical())),
            Err(_) => Err(SampleError::Malformed {
                field: "ip",
                value: ip.to_owned(),
                wanted: "an address",
            }),
        },
        (None, Some(prefix)) => match prefix.parse::<Prefix>() {
            Ok(prefix) => Ok(Target::Prefix(prefix)),
            Err(_) => Err(SampleError::Malformed {
                field: "prefix",
                value: prefix.to_owned(),
                wanted: "a prefix",
            }),
        },
        (None, None) => Err(SampleError::Missing { field: "ip" }),
    }
}

/// A round trip in whole microseconds; what rounds to 0 cannot be one.
///
/// # Errors
/// [`SampleError::RttOutOfRange`]
pub fn rtt(micros: f64) -> Result<u32, SampleError> {
    let rounded = micros.round();
    if (1.0..=f64::from(RTT_US_MAX)).contains(&rounded) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range")]
        Ok(rounded as u32)
    } else {
        Err(SampleError::RttOutOfRange { value: micros.to_string() })
    }
}

fn time_text(text: &str) -> Result<Timestamp, SampleError> {
    if let Ok(epoch) = text.parse::<i64>() {
        return Ok(epoch_whole(epoch));
    }
    if let Ok(epoch) = text.parse::<f64>() {
        return epoch_real(epoch);
    }
    text.parse().map_err(|_| SampleError::Malformed {
        field: "time",
        value: text.to_owned(),
        wanted: "an RFC 3339 time or epoch seconds, milliseconds or microseconds",
    })
}

/// Epoch seconds below 10^11 (the year 5138), milliseconds below 10^14, then microseconds.
const fn epoch_whole(epoch: i64) -> Timestamp {
    match epoch.unsigned_abs() {
        0..100_000_000_000 => Timestamp::from_secs(epoch),
        100_000_000_000..100_000_000_000_000 => Timestamp(epoch * 1_000),
        _ => Timestamp(epoch),
    }
}

fn epoch_real(epoch: f64) -> Result<Timestamp, SampleError> {
    let scale = match epoch.abs() {
        size if size < 1e11 => 1e6,
        size if size < 1e14 => 1e3,
        size if size < 9e18 => 1.0,
        _ => {
            return Err(SampleError::Malformed {
                field: "time",
                value: epoch.to_string(),
                wanted: "a time",
            });
        }
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
            assert_eq!(sample.rtt_us, Some(21_500));
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
        let header = csv::StringRecord::from(vec!["source", "rtt_us", "time", "ip", "note"]);
        let columns = CsvColumns::from_header(header.iter()).unwrap();
        let row =
            csv::StringRecord::from(vec!["p", "21500", "2026-03-04T10:00:00Z", "192.0.2.7", "x"]);
        let line =
            r#"{"time":"2026-03-04T10:00:00Z","ip":"192.0.2.7","rtt_us":21500,"source":"p"}"#;
        assert_eq!(csv_row(&row, &columns), read(line));
        let lost = csv::StringRecord::from(vec!["p", "", "1772618400", "192.0.2.7", ""]);
        assert_eq!(csv_row(&lost, &columns).unwrap().rtt_us, None);
        assert!(CsvColumns::from_header(["time", "ip"].into_iter()).is_err());
    }
}
