//! Prometheus remote write 1.0: one packed request in, matched samples out.
//!
//! A request brings whatever series a Prometheus has; ours are those of blackbox_exporter. Series of one
//! probe may come in different requests, so each says something alone: a round trip above 0 is a sample,
//! `probe_success` 0 is a lost probe, and how long a whole probe took is no round trip. Histograms are
//! refused; other series are passed over.
//!
//! Series are decoded one by one, so that a request cannot grow far beyond its bytes.

use std::borrow::Cow;
use std::num::NonZeroU32;

use crate::samples::{Collector, Owners, SampleSet, Scope};
use prost::Message;
use schemas::sample::{Statistic, Target};
use schemas::time::{MICROS_PER_SEC, Timestamp};

use super::rtt_body::BodyError;
use crate::decode::prometheus::address_of;
use crate::decode::rtt::{SampleError, SampleLine, rtt};

/// Longest series.
const SERIES_BYTES_MAX: usize = 64 * 1024;
/// Key of a series in a request: field 1, with a length.
const SERIES: u8 = 0x0a;
/// Key of a number that is passed over: field 2.
const NUMBER: u8 = 0x10;
/// Key of metadata, passed over: field 3, with a length.
const METADATA: u8 = 0x1a;
/// Who measured, where no label `job` says it.
const SOURCE: &str = "prometheus";

#[derive(Message)]
struct Series {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Point>,
}

#[derive(Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Message)]
struct Point {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

/// Reads a request, packed with snappy. With a tenant, samples on prefixes of others are unmatched.
///
/// # Errors
/// [`BodyError`] if it cannot be read as a whole.
pub fn read(
    packed: &[u8],
    bytes_max: usize,
    owners: &Owners,
    tenant: Option<&str>,
) -> Result<SampleSet, BodyError> {
    let damaged = |error: snap::Error| BodyError::Damaged { detail: error.to_string() };
    if snap::raw::decompress_len(packed).map_err(damaged)? > bytes_max {
        return Err(BodyError::TooLarge { bytes_max });
    }
    let unpacked = snap::raw::Decoder::new().decompress_vec(packed).map_err(damaged)?;
    let scope = Scope { tenant: tenant.map(Into::into), is_live: true };
    let mut collector = Collector::new(owners, scope);
    let mut rest = unpacked.as_slice();
    let mut number = 0;
    while let Some((key, behind)) = rest.split_first() {
        rest = behind;
        let wrong = |detail: &str| BodyError::Damaged { detail: detail.to_owned() };
        let length = prost::decode_length_delimiter(&mut rest)
            .map_err(|error| BodyError::Damaged { detail: error.to_string() })?;
        if *key == NUMBER {
            continue;
        }
        let (field, behind) = rest.split_at_checked(length).ok_or_else(|| wrong("cut off"))?;
        rest = behind;
        match *key {
            SERIES if field.len() > SERIES_BYTES_MAX => {
                collector.refuse_line("line_too_long", number, "a series longer than 64 KiB");
            }
            SERIES => match Series::decode(field) {
                Ok(series) => take(&series, number, &mut collector),
                Err(error) => collector.refuse_line("malformed_field", number, &error.to_string()),
            },
            METADATA => {}
            _ => return Err(wrong("not a write request")),
        }
        number += 1;
    }
    Ok(collector.finish())
}

fn take(series: &Series, number: u64, collector: &mut Collector<'_>) {
    let label = |name: &str| {
        let found = series.labels.iter().find(|label| label.name == name);
        found.map(|label| label.value.as_str()).unwrap_or_default()
    };
    let is_loss = match label("__name__") {
        "probe_success" => true,
        "probe_icmp_duration_seconds" if label("phase") == "rtt" => false,
        "smokeping_response_duration_seconds_count" => {
            return collector.refuse_line(
                "histogram",
                number,
                "a histogram's buckets are no samples",
            );
        }
        _ => return,
    };
    let instance = label("instance");
    let source = Some(label("job")).filter(|job| !job.is_empty()).unwrap_or(SOURCE);
    for Point { value, timestamp } in &series.samples {
        // What says nothing: a probe that was answered, and a round trip of one that was not. A marker
        // of staleness is no number.
        let says = if is_loss { *value == 0.0 } else { *value > 0.0 };
        if !says {
            continue;
        }
        let rtt_us = if is_loss { None } else { Some(rtt(value * MICROS_PER_SEC as f64)) };
        let time = Timestamp(timestamp.saturating_mul(1_000));
        collector.outcome(sample(instance, rtt_us, source, time), number);
    }
}

fn sample<'a>(
    instance: &str,
    rtt_us: Option<Result<NonZeroU32, SampleError>>,
    source: &'a str,
    time: Timestamp,
) -> Result<SampleLine<'a>, SampleError> {
    let Some(address) = address_of(instance) else {
        let value = instance.to_owned();
        return Err(SampleError::Malformed { field: "instance", value, wanted: "an address" });
    };
    Ok(SampleLine {
        time,
        target: Target::Address(address.to_canonical()),
        rtt_us: rtt_us.transpose()?,
        source: Cow::Borrowed(source),
        connection: None,
        statistic: Statistic::Sample,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use schemas::registry::Registry;

    use super::*;

    fn owners() -> Owners {
        let text = r#"{"name":"a","prefixes":["192.0.2.0/24"]}"#;
        let connections = vec![serde_json::from_str(text).unwrap()];
        Owners::new(Arc::new(Registry::new(1, connections, Vec::new()).unwrap()))
    }

    fn series(labels: &[(&str, &str)], points: &[(f64, i64)]) -> Vec<u8> {
        let label = |(name, value): &(&str, &str)| Label {
            name: (*name).to_owned(),
            value: (*value).to_owned(),
        };
        let point =
            |(value, timestamp): &(f64, i64)| Point { value: *value, timestamp: *timestamp };
        let series = Series {
            labels: labels.iter().map(label).collect(),
            samples: points.iter().map(point).collect(),
        };
        [vec![SERIES], series.encode_length_delimited_to_vec()].concat()
    }

    fn packed(parts: &[Vec<u8>]) -> Vec<u8> {
        snap::raw::Encoder::new().compress_vec(&parts.concat()).unwrap()
    }

    #[test]
    fn each_series_says_something_alone() {
        let of = |name: &'static str| {
            [("__name__", name), ("instance", "192.0.2.7:0"), ("phase", "rtt")]
        };
        let parts = [
            series(&of("probe_icmp_duration_seconds"), &[(0.0115, 95_000), (0.0, 96_000)]),
            series(&of("probe_success"), &[(1.0, 95_000), (0.0, 96_000), (f64::NAN, 97_000)]),
            series(&of("probe_duration_seconds"), &[(3.0, 95_000)]),
            series(&of("smokeping_response_duration_seconds_count"), &[(3.0, 95_000)]),
            series(&[("__name__", "probe_success"), ("instance", "x")], &[(0.0, 95_000)]),
            vec![NUMBER, 1, METADATA, 2, 8, 1],
        ];
        let samples = read(&packed(&parts), 1 << 20, &owners(), None).unwrap();
        let rows: Vec<_> = samples
            .rows
            .iter()
            .map(|row| (row.time.secs(), row.rtt_us.map(NonZeroU32::get)))
            .collect();
        assert_eq!(rows, [(95, Some(11_500)), (96, None)]);
        assert_eq!(&*samples.sources[0], "prometheus");
        let reasons = [("histogram".to_owned(), 1), ("malformed_field".to_owned(), 1)];
        assert_eq!(samples.account.reasons, reasons);
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let reason =
            |body: &[u8], bytes_max| read(body, bytes_max, &owners(), None).unwrap_err().reason();
        let good = packed(&[series(&[("__name__", "up")], &[(1.0, 1)])]);
        assert_eq!(reason(&good, 3), "body_too_large");
        assert_eq!(reason(b"\xff\xff", 1 << 20), "damaged");
        assert_eq!(reason(&packed(&[b"hello".to_vec()]), 1 << 20), "damaged");
        assert_eq!(reason(&packed(&[vec![SERIES, 9, 1]]), 1 << 20), "damaged");
        assert!(read(&packed(&[]), 9, &owners(), None).unwrap().rows.is_empty());
    }
}
