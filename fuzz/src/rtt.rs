//! RTT samples: a file in, of any format.
//!
//! Promised: no panic; every sample is accounted for; rows come out second by second; a sample that was read
//! says the same when it is written canonically and read again, as JSON and as CSV.

use std::sync::Arc;

use ingest::decode::rtt::{CsvColumns, SampleLine, csv_row, json_line};
use ingest::samples::{Body, Collector, Owners, RttFormat, Scope, read};
use schemas::registry::Registry;
use schemas::sample::{RTT_US_MAX, Target};

/// A registry that owns half of all addresses of both families.
fn registry() -> Registry {
    let connection = r#"{"name":"fuzz","prefixes":["0.0.0.0/1","8000::/1"]}"#;
    let connection = serde_json::from_str(connection).expect("a connection");
    Registry::new(1, vec![connection], vec![]).expect("a registry")
}

/// Reads a file; its first byte says how it is written.
pub fn check(bytes: &[u8]) {
    let Some((choice, text)) = bytes.split_first() else { return };
    let format = match choice & 7 {
        0 | 6 => RttFormat::JsonLines,
        1 | 7 => RttFormat::Csv,
        2 => RttFormat::JsonArray,
        3 => RttFormat::Atlas,
        4 => RttFormat::Parquet,
        _ => RttFormat::Arrow,
    };
    if format == RttFormat::JsonLines {
        for line in text.split(|byte| *byte == b'\n') {
            if let Ok(sample) = json_line(line) {
                is_the_same_again(&sample);
            }
        }
    }
    let owners = Owners::new(Arc::new(registry()));
    let body = Body::Bytes(text.to_vec().into());
    let collector = Collector::new(&owners, Scope::default());
    let Ok(file) = read(body, format, None, collector) else { return };
    let account = &file.account;
    let parts = account.accepted + account.unmatched + account.quarantined + account.refused;
    assert_eq!(account.read, parts, "{account:?}");
    assert_eq!(account.accepted, file.rows.len() as u64);
    assert!(file.rows.is_sorted_by_key(|row| row.time.secs()));
    for row in &file.rows {
        assert!(row.rtt_us.is_none_or(|rtt| rtt.get() <= RTT_US_MAX));
        let series = file.series.get(row.series as usize).expect("a series");
        assert!(file.sources.len() > series.source as usize);
        let last_owner = series.first_owner as usize + series.owners as usize;
        assert!(series.owners > 0 && last_owner <= file.owners.len());
    }
}

fn is_the_same_again(sample: &SampleLine<'_>) {
    assert!(sample.rtt_us.is_none_or(|rtt| rtt.get() <= RTT_US_MAX));
    let (ip, prefix) = match sample.target {
        Target::Address(address) => (Some(address.to_string()), None),
        Target::Prefix(prefix) => (None, Some(prefix.to_string())),
    };
    // Numbers below 10^14 count as milliseconds or seconds.
    let micros = sample.time.micros();
    if micros.unsigned_abs() < 100_000_000_000_000 {
        return;
    }
    let mut object = serde_json::json!({
        "time": micros, "rtt_us": sample.rtt_us, "source": sample.source,
        "statistic": sample.statistic.as_str(),
    });
    let mut header = vec!["time", "rtt_us", "source", "statistic"];
    let rtt = sample.rtt_us.map(|rtt| rtt.to_string()).unwrap_or_default();
    let statistic = sample.statistic.as_str().to_owned();
    let mut row = vec![micros.to_string(), rtt, sample.source.to_string(), statistic];
    let rest = [
        ("ip", ip),
        ("prefix", prefix),
        ("connection", sample.connection.as_ref().map(|name| name.to_string())),
    ];
    for (name, value) in rest {
        if let Some(value) = value {
            header.push(name);
            object[name] = value.clone().into();
            row.push(value);
        }
    }
    let line = object.to_string();
    assert_eq!(json_line(line.as_bytes()).as_ref(), Ok(sample), "{line}");
    // CSV trims its fields and takes an empty one for none.
    let is_plain = |text: &str| !text.is_empty() && text.trim() == text;
    if is_plain(&sample.source) && sample.connection.as_deref().is_none_or(is_plain) {
        let columns = CsvColumns::from_header(header.into_iter(), None).expect("a header");
        let row: Vec<&str> = row.iter().map(String::as_str).collect();
        assert_eq!(csv_row(&row, &columns).as_ref(), Ok(sample), "{line}");
    }
}
