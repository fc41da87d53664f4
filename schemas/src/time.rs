//! Time: microseconds since 1970-01-01T00:00:00Z, and half-open spans of them.
//!
//! Nothing here reads a clock. Where a time comes from (an MRT record, a sample, the append to the
//! log) is told by the field that holds it; see `docs/concepts/time.md`.

use std::fmt;
use std::str::FromStr;

use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use arrow::temporal_conversions::timestamp_us_to_datetime;
use serde::{Deserialize, Serialize};

/// Microseconds in a second.
pub const MICROS_PER_SEC: i64 = 1_000_000;
/// Seconds in a day.
pub const SECS_PER_DAY: i64 = 86_400;

/// An instant: microseconds since 1970-01-01T00:00:00Z. Shown as RFC 3339 in UTC.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Before every other instant.
    pub const MIN: Self = Self(i64::MIN);
    /// After every other instant.
    pub const MAX: Self = Self(i64::MAX);

    /// The instant `secs` seconds and `micros` microseconds after 1970.
    #[must_use]
    pub const fn from_parts(secs: i64, micros: u32) -> Self {
        Self(secs.saturating_mul(MICROS_PER_SEC).saturating_add(micros as i64))
    }

    /// The instant `secs` seconds after 1970.
    #[must_use]
    pub const fn from_secs(secs: i64) -> Self {
        Self::from_parts(secs, 0)
    }

    /// Microseconds since 1970.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970, rounded towards the past.
    #[must_use]
    pub const fn secs(self) -> i64 {
        self.0.div_euclid(MICROS_PER_SEC)
    }

    /// This instant moved by `secs` seconds; stays at the ends of the range.
    #[must_use]
    pub const fn plus_secs(self, secs: i64) -> Self {
        Self(self.0.saturating_add(secs.saturating_mul(MICROS_PER_SEC)))
    }

    /// Seconds from `earlier` to this instant; negative if it is later.
    #[must_use]
    pub const fn secs_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0).div_euclid(MICROS_PER_SEC)
    }

    /// The start of the tumbling window of `window_secs` seconds that holds this instant.
    #[must_use]
    pub const fn window_start(self, window_secs: u32) -> Self {
        let width = window_secs as i64 * MICROS_PER_SEC;
        Self(self.0 - self.0.rem_euclid(width))
    }

    /// The UTC day as `YYYY-MM-DD`, as it stands in a `date=` folder.
    #[must_use]
    pub fn day(self) -> String {
        match timestamp_us_to_datetime(self.0) {
            Some(time) => time.format("%Y-%m-%d").to_string(),
            None => "0000-00-00".to_owned(),
        }
    }

    /// The UTC time of day as `HH:MM:SS`.
    #[must_use]
    pub fn time_of_day(self) -> String {
        let secs = self.secs().rem_euclid(SECS_PER_DAY);
        format!("{:02}:{:02}:{:02}", secs / 3600, secs / 60 % 60, secs % 60)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match timestamp_us_to_datetime(self.0) {
            Some(time) => write!(f, "{}", time.format("%Y-%m-%dT%H:%M:%S%.fZ")),
            None => write!(f, "{} us", self.0),
        }
    }
}

/// A text that is no RFC 3339 time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an RFC 3339 time such as 2026-03-04T10:00:00Z")]
pub struct TimeError {
    /// What was read.
    pub text: String,
}

impl FromStr for Timestamp {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match string_to_timestamp_nanos(text) {
            Ok(nanos) => Ok(Self(nanos.div_euclid(1_000))),
            Err(_) => Err(TimeError { text: text.to_owned() }),
        }
    }
}

/// A half-open span of time, `[start, end)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimeWindow {
    /// First instant inside.
    pub start: Timestamp,
    /// First instant after.
    pub end: Timestamp,
}

impl TimeWindow {
    /// The tumbling window of `window_secs` seconds that holds `time`.
    #[must_use]
    pub const fn containing(time: Timestamp, window_secs: u32) -> Self {
        let start = time.window_start(window_secs);
        Self { start, end: start.plus_secs(window_secs as i64) }
    }

    /// Whether `time` lies inside.
    #[must_use]
    pub fn contains(&self, time: Timestamp) -> bool {
        self.start <= time && time < self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_shown_as_rfc_3339_in_utc() {
        let time: Timestamp = "2026-03-04T12:00:00.25+02:00".parse().unwrap();
        assert_eq!(time, Timestamp::from_parts(1_772_618_400, 250_000));
        assert_eq!(time.to_string(), "2026-03-04T10:00:00.250Z");
        assert_eq!((time.day(), time.time_of_day()), ("2026-03-04".into(), "10:00:00".into()));
        assert!("yesterday".parse::<Timestamp>().is_err());
    }

    #[test]
    fn windows_are_half_open_and_aligned_before_1970_too() {
        let window = TimeWindow::containing(Timestamp(-1), 60);
        assert_eq!(window.start, Timestamp::from_secs(-60));
        assert!(window.contains(Timestamp(-1)) && !window.contains(Timestamp(0)));
    }
}
