//! RTT samples: a file of JSON lines or CSV rows in.
//!
//! Promised: no panic; every line is accounted for; rows come out by time; a sample that was read
//! says the same when it is written canonically and read again, as JSON and as CSV.

use ingest::decode::rtt::{CsvColumns, SampleLine, csv_row, json_line};
use ingest::source::rtt_file::{RttFormat, read};
use schemas::registry::Registry;
use schemas::sample::{RTT_US_MAX, Target};

/// A registry that owns half of all addresses of both families.
fn registry() -> Registry {
    let connection = r#"{"name":"fuzz","prefixes":["0.0.0.0/1","8000::/1"]}"#;
    let connection = serde_json::from_str(connection).expect("a connection");
    Registry::new(1, vec![connection], vec![]).expect("a registry")
}

/// Reads a file; its first byte says whether it is JSON lines or CSV.
pub fn check(bytes: &[u8]) {
    let Some((choice, text)) = bytes.split_first() else { return };
    let format = if choice & 1 == 0 { RttFormat::JsonLines } else { RttFormat::Csv };
    if format == RttFormat::JsonLines {
        for line in text.split(|byte| *byte == b'\n') {
            if let Ok(sample) = json_line(line) {
                is_the_same_again(&sample);
            }
        }
    }
    let Ok(file) = read(text, format, &registry()) else { return };
    let account = &file.account;
    let parts = account.accepted + account.unmatched + account.quarantined + account.refused;
    assert_eq!(account.read, parts, "{account:?}");
    assert_eq!(account.accepted, file.rows.len() as u64);
    assert!(file.rows.len() <= text.len());
    assert!(file.rows.is_sorted_by_key(|row| row.time));
    for row in &file.rows {
        assert!(row.rtt_us.is_none_or(|rtt| (1..=RTT_US_MAX).contains(&rtt)));
        assert!(
            file.sources.len() > row.source as usize && file.owners.len() > row.owners as usize
        );
    }
}

fn is_the_same_again(sample: &SampleLine<'_>) {
    assert!(sample.rtt_us.is_none_or(|rtt| (1..=RTT_US_MAX).contains(&rtt)));
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
    });
    let mut header = vec!["time", "rtt_us", "source"];
    let rtt = sample.rtt_us.map(|rtt| rtt.to_string()).unwrap_or_default();
    let mut row = vec![micros.to_string(), rtt, sample.source.to_string()];
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
        let columns = CsvColumns::from_header(header.into_iter()).expect("a header");
        assert_eq!(csv_row(&csv::StringRecord::from(row), &columns).as_ref(), Ok(sample), "{line}");
    }
}
