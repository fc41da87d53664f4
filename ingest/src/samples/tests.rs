//! Every format in, the same samples out; and what is no sample.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, DictionaryArray, FixedSizeBinaryArray, Float64Array, StringArray,
    TimestampMillisecondArray, UInt32Array,
};
use arrow::datatypes::Int32Type;
use arrow::record_batch::RecordBatch;
use schemas::connection::Connection;
use schemas::registry::Registry;

use super::*;

fn owners() -> Owners {
    let connection = |text: &str| -> Connection { serde_json::from_str(text).unwrap() };
    let connections = vec![
        connection(r#"{"name":"outer","prefixes":["192.0.2.0/24","2001:db8::/32"],"tenant":"a"}"#),
        connection(r#"{"name":"inner","prefixes":["192.0.2.64/26"],"tenant":"b"}"#),
        connection(
            r#"{"name":"own","prefixes":["192.0.2.0/25"],"routing_domain":"own","tenant":"a"}"#,
        ),
    ];
    Owners::new(Arc::new(Registry::new(1, connections, Vec::new()).unwrap()))
}

fn read_scoped(bytes: &[u8], scope: Scope) -> SampleSet {
    let format = RttFormat::of(bytes).unwrap_or(RttFormat::JsonLines);
    let owners = owners();
    let collector = Collector::new(&owners, scope);
    read(Body::Bytes(bytes.to_vec().into()), format, None, collector).unwrap()
}

fn read_all(bytes: &[u8]) -> SampleSet {
    read_scoped(bytes, Scope::default())
}

/// Prefix, source, seconds and round trip of each sample.
fn told(set: &SampleSet) -> Vec<String> {
    let row = |row: &SampleRow| {
        let series = set.series[row.series as usize];
        let source = &set.sources[series.source as usize];
        let rtt = row.rtt_us.map_or(0, NonZeroU32::get);
        format!("{} {source} {} {rtt}", series.prefix, row.time.secs())
    };
    set.rows.iter().map(row).collect()
}

const WANTED: [&str; 3] = [
    "192.0.2.0/24 p 1772618400 21500",
    "192.0.2.64/26 p 1772618400 0",
    "2001:db8::/32 q 1772618401 7",
];

#[test]
fn every_format_tells_the_same() {
    let lines = r#"{"time":1772618400,"ip":"192.0.2.7","rtt_us":21500,"source":"p"}
{"time":"2026-03-04T10:00:00Z","prefix":"192.0.2.64/27","rtt_ms":null,"source":"p"}
{"time":1772618401000,"ip":"2001:db8::1","rtt_us":7,"source":"q","unknown":[{"a":"}"}]}
"#;
    assert_eq!(told(&read_all(lines.as_bytes())), WANTED);
    let array = format!("[\n{}]\n", lines.trim().replace('\n', ",\n"));
    assert_eq!(RttFormat::of(array.as_bytes()), Some(RttFormat::JsonArray));
    assert_eq!(told(&read_all(array.as_bytes())), WANTED);
    let csv = "time,ip,prefix,rtt_us,source\r\n1772618400,192.0.2.7,,21500,p\r\n\
               2026-03-04T10:00:00Z,,192.0.2.64/27,,\"p\"\r\n1772618401000,2001:db8::1,,7,q";
    assert_eq!(told(&read_all(csv.as_bytes())), WANTED);
    let batch = columns();
    assert_eq!(told(&read_all(&parquet_bytes(&batch))), WANTED);
    let mut stream = Vec::new();
    let mut writer =
        arrow::ipc::writer::StreamWriter::try_new(&mut stream, &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    assert_eq!(told(&read_all(&stream)), WANTED);
    let mut file = Vec::new();
    let mut writer = arrow::ipc::writer::FileWriter::try_new(&mut file, &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    assert_eq!(told(&read_all(&file)), WANTED);
}

fn columns() -> RecordBatch {
    let sources: DictionaryArray<Int32Type> = ["p", "p", "q"].into_iter().collect();
    let columns: [(&str, ArrayRef); 4] = [
        (
            "time",
            Arc::new(TimestampMillisecondArray::from(vec![
                1_772_618_400_000,
                1_772_618_400_000,
                1_772_618_401_000,
            ])),
        ),
        ("ip", Arc::new(StringArray::from(vec!["192.0.2.7", "192.0.2.65", "2001:db8::1"]))),
        ("rtt_ms", Arc::new(Float64Array::from(vec![Some(21.5), None, Some(0.007)]))),
        ("source", Arc::new(sources)),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn parquet_bytes(batch: &RecordBatch) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer =
        parquet::arrow::ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    bytes
}

#[test]
fn addresses_may_be_numbers_or_octets() {
    let time: ArrayRef = Arc::new(UInt32Array::from(vec![1_772_618_400]));
    let octets = FixedSizeBinaryArray::try_from_iter([[192_u8, 0, 2, 7]].iter()).unwrap();
    let ips: [ArrayRef; 2] = [Arc::new(UInt32Array::from(vec![0xc000_0207])), Arc::new(octets)];
    for ip in ips {
        let batch = RecordBatch::try_from_iter([
            ("time", Arc::clone(&time)),
            ("ip", ip),
            ("rtt_us", Arc::new(UInt32Array::from(vec![5])) as ArrayRef),
            ("source", Arc::new(StringArray::from(vec!["p"])) as ArrayRef),
        ]);
        let set = read_all(&parquet_bytes(&batch.unwrap()));
        assert_eq!(told(&set), ["192.0.2.0/24 p 1772618400 5"]);
    }
}

#[test]
fn columns_without_what_a_sample_needs_are_refused_whole() {
    let batch = columns().project(&[0, 1, 3]).unwrap();
    let owners = owners();
    let collector = Collector::new(&owners, Scope::default());
    let body = Body::Bytes(parquet_bytes(&batch).into());
    let error = read(body, RttFormat::Parquet, None, collector).unwrap_err();
    assert_eq!(error, SampleError::Missing { field: "rtt_us" });
    for end in [4, 40, 400] {
        let cut = parquet_bytes(&columns())[..end].to_vec();
        let collector = Collector::new(&owners, Scope::default());
        let error = read(Body::Bytes(cut.into()), RttFormat::Parquet, None, collector).unwrap_err();
        assert_eq!(error.reason(), "columnar");
    }
}

#[test]
fn seconds_come_in_order_whatever_the_lines_do() {
    let mut lines = String::new();
    for n in 0..1_000_u32 {
        let (time, rtt) = (1_772_618_400 + u64::from(n * 7919 % 1_000), n + 1);
        let _ =
            writeln!(lines, r#"{{"time":{time},"ip":"192.0.2.7","rtt_us":{rtt},"source":"p"}}"#);
    }
    let set = read_all(lines.as_bytes());
    assert_eq!(set.rows.len(), 1_000);
    assert!(set.rows.is_sorted_by_key(|row| row.time));
}

#[test]
fn what_is_no_sample_is_counted_by_reason_and_the_rest_goes_on() {
    let long = format!(r#"{{"time":1,"source":"{}"}}"#, "x".repeat(2 << 20));
    let lines = [
        r#"{"time":1772618400,"ip":"192.0.2.7","rtt_us":0,"source":"p"}"#,
        r#"{"time":1772618400,"ip":"192.0.2.7","rtt_us":-1,"source":"p"}"#,
        r#"{"time":1772618400,"ip":"192.0.2.7","rtt_us":NaN,"source":"p"}"#,
        r#"{"time":1772618400,"ip":"192.0.2.7","rtt_ms":60001,"source":"p"}"#,
        r#"{"time":-5,"ip":"192.0.2.7","rtt_us":1,"source":"p"}"#,
        r#"{"time":1772618400,"ip":"169.254.1.1","rtt_us":1,"source":"p"}"#,
        r#"{"time":1772618400,"ip":"198.51.100.1","rtt_us":1,"source":"p"}"#,
        &long,
        r#"{"time":1772618400,"ip":"192.0.2.7","rtt_us":9,"source":"p"}"#,
    ];
    let bytes = [lines.join("\n").as_bytes(), b"\n\xff\xfe\n"].concat();
    let set = read_all(&bytes);
    let reasons: Vec<(&str, u64)> =
        set.account.reasons.iter().map(|(reason, count)| (reason.as_str(), *count)).collect();
    assert_eq!(
        reasons,
        [
            ("clock_behind", 1),
            ("json", 2),
            ("line_too_long", 1),
            ("link_test", 1),
            ("rtt_out_of_range", 3),
        ]
    );
    let account = &set.account;
    assert_eq!((account.read, account.accepted, account.unmatched), (10, 1, 1));
    assert_eq!((account.quarantined, account.refused), (2, 6));
    assert_eq!(set.refusals.len(), 5, "some are told in words");
}

#[test]
fn one_bad_clock_is_put_aside_and_a_gap_is_not() {
    let line =
        |time: i64| format!(r#"{{"time":{time},"ip":"192.0.2.7","rtt_us":5,"source":"p"}}"#) + "\n";
    let times = [1_772_618_400, 1_872_618_400, 1_772_618_401, 1_772_718_401, 1_772_718_402];
    let set = read_all(times.map(line).concat().as_bytes());
    assert_eq!((set.account.accepted, set.account.quarantined), (4, 1));
    let scope = Scope { is_live: true, tenant: None };
    let mut set = read_scoped(line(1_772_618_461).as_bytes(), scope);
    let registry = Arc::clone(&set.registry);
    set.settle(Timestamp::from_secs(1_772_618_401), &registry);
    assert_eq!((set.account.accepted, set.account.quarantined), (1, 0));
    set.settle(Timestamp::from_secs(1_772_618_400), &registry);
    assert_eq!((set.account.accepted, set.account.quarantined), (0, 1), "a minute ahead");
}

#[test]
fn a_tenant_counts_only_on_its_own_connections() {
    let lines = r#"{"time":1772618400,"ip":"192.0.2.7","rtt_us":5,"source":"p"}
{"time":1772618400,"ip":"192.0.2.65","rtt_us":5,"source":"p"}
{"time":1772618400,"ip":"192.0.2.65","rtt_us":5,"source":"p","connection":"own"}"#;
    let told_to = |tenant: &str| {
        let scope = Scope { tenant: Some(tenant.into()), is_live: true };
        told(&read_scoped(lines.as_bytes(), scope))
    };
    assert_eq!(
        told_to("a"),
        ["192.0.2.0/24 p 1772618400 5", "192.0.2.0/25 p 1772618400 5"],
        "its own address space too"
    );
    assert_eq!(told_to("b"), ["192.0.2.64/26 p 1772618400 5"]);
    assert!(told_to("c").is_empty());
}
