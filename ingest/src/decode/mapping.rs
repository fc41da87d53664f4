//! Mapping: samples in records of another form, by the paths at which their parts lie. What vendors'
//! exports need: monitoring exports of a cloud, call-quality reports, rows of M-Lab or of `TCP_INFO`.
//!
//! A path is names with dots between them; a number is a place in a list. In CSV a path is the name
//! of a column. Examples: `docs/guide/rtt.md`.

use std::borrow::Cow;

use schemas::sample::Statistic;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::rtt::{self, SampleError, SampleLine};

/// `fields` of a source: where in a record its sample lies.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// List of records inside an object; the other paths are looked for in a record of it, then in the
    /// object. Absent: the object is the record.
    #[serde(default)]
    pub records: Option<String>,
    /// When the probe was sent: RFC 3339, or epoch seconds, milliseconds or microseconds.
    pub time: String,
    /// Address that was probed.
    #[serde(default)]
    pub ip: Option<String>,
    /// Prefix that was probed, where there is no address.
    #[serde(default)]
    pub prefix: Option<String>,
    /// Round trip; null or absent is a lost probe.
    pub rtt: String,
    /// Unit of `rtt`.
    #[serde(default)]
    pub unit: RttUnit,
    /// Who measured.
    #[serde(default)]
    pub source: Option<String>,
    /// Who measured, where the records do not tell: a name, no path.
    #[serde(default)]
    pub source_name: Option<String>,
    /// Connection that a record names.
    #[serde(default)]
    pub connection: Option<String>,
    /// What the values are.
    #[serde(default)]
    pub statistic: MappedStatistic,
}

/// Unit of a round trip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RttUnit {
    /// Nanoseconds.
    Ns,
    /// Microseconds.
    Us,
    /// Milliseconds.
    #[default]
    Ms,
    /// Seconds.
    S,
}

impl RttUnit {
    /// Microseconds in one of it.
    #[must_use]
    pub const fn micros(self) -> f64 {
        match self {
            Self::Ns => 1e-3,
            Self::Us => 1.0,
            Self::Ms => 1e3,
            Self::S => 1e6,
        }
    }
}

/// A [`Statistic`] as a setting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MappedStatistic {
    /// One probe's round trip.
    #[default]
    Sample,
    /// The smallest of many.
    Min,
    /// A smoothed value.
    Srtt,
    /// An average of many.
    Avg,
}

impl From<MappedStatistic> for Statistic {
    fn from(word: MappedStatistic) -> Self {
        match word {
            MappedStatistic::Sample => Self::Sample,
            MappedStatistic::Min => Self::Min,
            MappedStatistic::Srtt => Self::Srtt,
            MappedStatistic::Avg => Self::Avg,
        }
    }
}

impl Mapping {
    /// What is wrong with it, if anything.
    ///
    /// # Errors
    /// The problem in words.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.ip.is_none() && self.prefix.is_none() {
            Err("fields names neither ip nor prefix")
        } else if self.source.is_none() && self.source_name.is_none() {
            Err("fields names neither source nor source_name")
        } else {
            Ok(())
        }
    }

    /// Reads the samples of one JSON object.
    pub fn json(&self, object: &[u8], mut sample: impl FnMut(Result<SampleLine<'_>, SampleError>)) {
        let root: Value = match serde_json::from_slice(object) {
            Ok(root) => root,
            Err(error) => return sample(Err(SampleError::Json { detail: error.to_string() })),
        };
        match &self.records {
            None => sample(self.record(&root, &root)),
            Some(path) => match at(&root, path) {
                Some(Value::Array(records)) => {
                    records.iter().for_each(|record| sample(self.record(record, &root)));
                }
                _ => sample(Err(SampleError::Missing { field: "records" })),
            },
        }
    }

    fn record<'v>(
        &self,
        record: &'v Value,
        root: &'v Value,
    ) -> Result<SampleLine<'v>, SampleError> {
        let find = |path: &str| at(record, path).or_else(|| at(root, path));
        let text = |path: &Option<String>| path.as_deref().and_then(find).and_then(text_of);
        let time = match find(&self.time).ok_or(SampleError::Missing { field: "time" })? {
            Value::Number(number) => match number.as_i64() {
                Some(epoch) => rtt::epoch_whole(epoch),
                None => rtt::epoch_real(number.as_f64().unwrap_or(f64::NAN))?,
            },
            Value::String(text) => rtt::time_text(text)?,
            _ => return Err(SampleError::Missing { field: "time" }),
        };
        let scale = self.unit.micros();
        let rtt_us = match find(&self.rtt) {
            None | Some(Value::Null) => None,
            Some(value) => {
                let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
                let number = number.ok_or_else(|| SampleError::Malformed {
                    field: "rtt",
                    value: value.to_string(),
                    wanted: "a number",
                })?;
                Some(rtt::rtt(number * scale)?)
            }
        };
        let (ip, prefix) = (text(&self.ip), text(&self.prefix));
        let source = text(&self.source).or_else(|| self.source_name.clone().map(Cow::Owned));
        Ok(SampleLine {
            time,
            target: rtt::target(ip.as_deref(), prefix.as_deref())?,
            rtt_us,
            source: source.ok_or(SampleError::Missing { field: "source" })?,
            connection: text(&self.connection),
            statistic: self.statistic.into(),
        })
    }
}

/// What lies at a path.
fn at<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(value, |value, name| match value {
        Value::Object(fields) => fields.get(name),
        Value::Array(list) => list.get(name.parse::<usize>().ok()?),
        _ => None,
    })
}

fn text_of(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) if !text.is_empty() => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(mapping: &str, object: &str) -> Vec<Result<String, &'static str>> {
        let mapping: Mapping = serde_json::from_str(mapping).unwrap();
        mapping.check().unwrap();
        let mut told = Vec::new();
        mapping.json(object.as_bytes(), |sample| {
            told.push(sample.map_err(|error| error.reason()).map(|s| {
                let rtt = s.rtt_us.map_or(0, std::num::NonZeroU32::get);
                format!("{} {:?} {rtt} {} {}", s.time, s.target, s.source, s.statistic.as_str())
            }));
        });
        told
    }

    #[test]
    fn a_row_of_mlab_is_a_minimum() {
        let mapping = r#"{"time":"a.TestTime","ip":"client.IP","rtt":"a.MinRTT","unit":"ms",
                          "source_name":"ndt7","statistic":"min"}"#;
        let row = r#"{"a":{"TestTime":"2026-03-04T10:00:00Z","MinRTT":21.5},"client":{"IP":"192.0.2.7"}}"#;
        let told = "2026-03-04T10:00:00Z Address(192.0.2.7) 21500 ndt7 min";
        assert_eq!(samples(mapping, row), [Ok(told.to_owned())]);
    }

    #[test]
    fn records_of_an_object_share_what_stands_around_them() {
        let mapping = r#"{"records":"tests","time":"at","ip":"to","rtt":"rtt","unit":"us","source":"agent.name"}"#;
        let object = r#"{"agent":{"name":"edge-7"},"at":1772618400,
                         "tests":[{"to":"192.0.2.1","rtt":7},{"to":"192.0.2.2","rtt":null},{"rtt":1}]}"#;
        assert_eq!(
            samples(mapping, object),
            [
                Ok("2026-03-04T10:00:00Z Address(192.0.2.1) 7 edge-7 sample".to_owned()),
                Ok("2026-03-04T10:00:00Z Address(192.0.2.2) 0 edge-7 sample".to_owned()),
                Err("missing_field"),
            ]
        );
        assert_eq!(samples(mapping, "[]"), [Err("missing_field")]);
        assert_eq!(samples(mapping, "{"), [Err("json")]);
    }

    #[test]
    fn a_mapping_that_could_never_read_a_sample_is_refused() {
        let bare: Mapping = serde_json::from_str(r#"{"time":"t","rtt":"r"}"#).unwrap();
        assert!(bare.check().unwrap_err().contains("ip"));
        assert!(serde_json::from_str::<Mapping>(r#"{"time":"t","rtt":"r","untis":"ms"}"#).is_err());
    }
}
