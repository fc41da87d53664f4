//! Spans of time, as the commands over a lake choose rows by them.

use std::str::FromStr;

use analytics::sql::Lake;
use schemas::time::Timestamp;

use super::table::{Answer, quoted};

/// A span of event time, its end excluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// Start.
    pub(super) from: Timestamp,
    /// End.
    pub(super) to: Timestamp,
}

impl Span {
    /// From the first to the end of the last window of rows of `latency`; none without a row.
    pub(super) async fn of_latency(lake: &Lake, chosen: &str) -> anyhow::Result<Option<Self>> {
        let sql = format!(
            "select {} as start, {} + 1000000 * max(window_secs) as end_of_last from latency where {chosen}",
            micros("min(window_start)"),
            micros("max(window_start)")
        );
        let answer = Answer::of(lake, &sql).await?;
        let ends = answer.first().and_then(|row| Some((row.time(0)?, row.time(1)?)));
        Ok(ends.map(|(from, to)| Self { from, to }))
    }

    /// Rows whose time lies in it.
    pub(super) fn filter(self, column: &str) -> String {
        let (from, to) = (time(self.from), time(self.to));
        format!("{column} >= {from} and {column} < {to}")
    }

    /// Rows whose own span meets it; one without an end goes on.
    pub(super) fn meets(self, from: &str, to: &str) -> String {
        let (start, end) = (time(self.from), time(self.to));
        format!("{from} < {end} and ({to} is null or {to} >= {start})")
    }
}

/// A time as SQL writes it.
fn time(time: Timestamp) -> String {
    format!("cast({} as timestamp)", quoted(&time.to_string()))
}

/// Microseconds since 1970 of a column of times.
pub(super) fn micros(column: &str) -> String {
    format!("cast({column} as bigint)")
}

/// Start of the step that a time lies in, microseconds since 1970.
pub(super) fn bin(column: &str, step_secs: i64, from: Timestamp) -> String {
    let (step, start) = (step_secs * 1_000_000, from.micros());
    let time = micros(column);
    format!("({time} - {start}) / {step} * {step} + {start}")
}

/// A length of time as it is typed: `90s`, `15m`, `2h`, `1d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Length(i64);

impl Length {
    /// Seconds in it.
    pub(super) const fn secs(self) -> i64 {
        self.0
    }
}

/// A text that is no length of time.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no length of time such as 90s, 15m, 2h or 1d")]
pub(super) struct LengthError(String);

impl FromStr for Length {
    type Err = LengthError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || LengthError(text.to_owned());
        let end = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(error)?;
        let (number, unit) = text.split_at(end);
        let unit_secs = match unit.trim() {
            "s" => 1,
            "m" | "min" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return Err(error()),
        };
        let number: i64 = number.parse().map_err(|_| error())?;
        number.checked_mul(unit_secs).filter(|secs| *secs > 0).map(Self).ok_or_else(error)
    }
}

/// `90 s`, `5 min`, `2 h`, `3 d`: the largest unit that fits evenly.
pub(super) fn duration(secs: i64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "min")];
    units
        .into_iter()
        .find(|(unit, _)| secs >= *unit && secs % unit == 0)
        .map_or_else(|| format!("{secs} s"), |(unit, name)| format!("{} {name}", secs / unit))
}

/// Refuses a connection that a lake does not know, with those that it does.
///
/// # Errors
/// An unknown connection, or a lake that cannot be read.
pub(super) async fn known(lake: &Lake, connection: &str) -> anyhow::Result<()> {
    let sql = "select distinct connection from connections order by connection";
    let names = Answer::of(lake, sql).await?;
    let names: Vec<&str> = names.iter().map(|row| row.text(0)).collect();
    if names.contains(&connection) {
        return Ok(());
    }
    let near = |name: &&&str| strsim::jaro_winkler(name, connection) > 0.7;
    let nearest: Vec<&str> = names.iter().filter(near).take(3).copied().collect();
    let shown = if nearest.is_empty() {
        names.get(..names.len().min(5)).unwrap_or(&names)
    } else {
        &nearest
    };
    anyhow::bail!(
        "no connection {connection:?} is in this lake; it has {}{}",
        shown.join(", "),
        if shown.len() < names.len() { ", ..." } else { "" }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_told_in_the_largest_unit_that_fits() {
        let told = [30, 90, 300, 7_200, 259_200].map(duration);
        assert_eq!(told, ["30 s", "90 s", "5 min", "2 h", "3 d"]);
    }
    #[test]
    fn a_length_is_a_number_with_its_unit() {
        let secs = |text: &str| text.parse::<Length>().map(Length::secs).ok();
        let read = ["90s", "15m", "15 min", "2h", "1d"].map(secs);
        assert_eq!(read, [Some(90), Some(900), Some(900), Some(7_200), Some(86_400)]);
        for wrong in ["", "15", "m", "-5m", "0m", "1w", "1.5h", "99999999999999999999d"] {
            assert_eq!(secs(wrong), None, "{wrong}");
        }
    }
}
