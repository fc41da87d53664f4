//! A body says the same in every form, and never more than it may.

use std::io::Write as _;
use std::num::NonZeroU32;
use std::sync::Arc;

use schemas::registry::Registry;
use schemas::time::Timestamp;

use super::*;

const LINE: &str = r#"{"time":1772618400,"ip":"192.0.2.7","rtt_us":21500,"source":"p"}"#;

fn owners() -> Owners {
    let connection = |name: &str, tenant: &str, prefix: &str| {
        let text = format!(r#"{{"name":"{name}","tenant":"{tenant}","prefixes":["{prefix}"]}}"#);
        serde_json::from_str(&text).unwrap()
    };
    let connections = vec![
        connection("contoso-seattle", "contoso", "192.0.2.0/24"),
        connection("fabrikam-madrid", "fabrikam", "198.51.100.0/24"),
    ];
    Owners::new(Arc::new(Registry::new(1, connections, Vec::new()).unwrap()))
}

fn told(body: &[u8], tenant: Option<&str>) -> SampleSet {
    read(body, None, &owners(), tenant).unwrap()
}

/// Read, accepted, unmatched, quarantined, refused.
fn counts(samples: &SampleSet) -> [u64; 5] {
    let account = &samples.account;
    [account.read, account.accepted, account.unmatched, account.quarantined, account.refused]
}

#[test]
fn every_form_of_the_same_sample_is_the_same_sample() {
    let pretty = LINE.replace(',', ",\n  ").replace('{', "{\n");
    let csv = "time,ip,rtt_us,source\n1772618400,192.0.2.7,21500,p\n";
    let quoted = "\"time\",\"ip\",\"rtt_us\",\"source\"\r\n1772618400, 192.0.2.7 ,\"21500\",p\r\n";
    let with_mark = format!("\u{feff}{csv}");
    for body in [LINE, &format!("\n{LINE}\n\n"), &pretty, csv, quoted, &with_mark] {
        let samples = told(body.as_bytes(), None);
        assert_eq!(counts(&samples), [1, 1, 0, 0, 0], "{body}");
        let row = samples.rows[0];
        assert_eq!(row.time, Timestamp::from_secs(1_772_618_400));
        assert_eq!(row.rtt_us, NonZeroU32::new(21_500));
        assert_eq!(&*samples.sources[0], "p");
        assert_eq!(samples.series[0].prefix, "192.0.2.0/24".parse().unwrap());
        assert_eq!(samples.owners, [0]);
    }
}

#[test]
fn a_bad_line_costs_itself_and_is_told() {
    let other = LINE.replace("192.0.2.7", "203.0.113.1");
    let link = LINE.replace("192.0.2.7", "169.254.3.4");
    let zero = LINE.replace("21500", "0");
    let long = LINE.replace("\"p\"", &format!("\"{}\"", "p".repeat(257)));
    let body = format!("{LINE}\n{{\n{other}\n{link}\n{zero}\n{long}\n\u{fffd}\n{LINE}");
    let mut bytes = body.into_bytes();
    bytes.extend(b"\n\xff\xfe");
    let samples = told(&bytes, None);
    assert_eq!(counts(&samples), [9, 2, 1, 1, 5]);
    let reasons: Vec<(&str, u64)> =
        samples.account.reasons.iter().map(|(reason, count)| (reason.as_str(), *count)).collect();
    let wanted = [("json", 3), ("link_test", 1), ("malformed_field", 1), ("rtt_out_of_range", 1)];
    assert_eq!(reasons, wanted);
    assert!(samples.refusals[0].starts_with("line 2: "), "{:?}", samples.refusals);
}

#[test]
fn a_tenant_brings_samples_of_its_own_connections_only() {
    let other = LINE.replace("192.0.2.7", "198.51.100.7");
    let named = LINE.replace("\"p\"", "\"p\",\"connection\":\"fabrikam-madrid\"");
    let body = format!("{LINE}\n{other}\n{named}\n");
    assert_eq!(counts(&told(body.as_bytes(), None)), [3, 3, 0, 0, 0]);
    let samples = told(body.as_bytes(), Some("contoso"));
    assert_eq!(counts(&samples), [3, 2, 1, 0, 0], "a wrong name changes no owner");
    assert_eq!(samples.account.reasons, [(OTHER_TENANT.to_owned(), 1)]);
    assert_eq!(counts(&told(body.as_bytes(), Some("nobody"))), [3, 0, 3, 0, 0]);
}

#[test]
fn what_is_no_body_of_samples_is_refused_with_its_reason() {
    let reason = |body: &[u8]| read(body, None, &owners(), None).unwrap_err().reason();
    assert_eq!(reason(b"hello"), "unknown_format");
    assert_eq!(reason(b"time,ip\n1,192.0.2.7\n"), "missing_field");
    assert_eq!(reason(b"PAR1xxxx"), "columnar");
    assert_eq!(reason(b"\xff\xff\xff\xff\x10\0\0\0"), "columnar");
    assert_eq!(counts(&told(b" \n", None)), [0; 5], "nothing is nothing");
    assert!(BodyFormat::of_media_type("image/png").is_err());
    let csv = BodyFormat::of_media_type("text/csv; charset=utf-8").unwrap();
    assert_eq!(csv, Some(BodyFormat::Csv));
    assert_eq!(BodyFormat::of_media_type("text/plain").unwrap(), None);
    assert!(Encoding::of("br").is_err());
}

#[test]
fn a_bomb_is_unpacked_up_to_its_bound_and_no_further() {
    let bomb = vec![b' '; 64 << 20];
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&bomb).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::encode_all(bomb.as_slice(), 1).unwrap();
    assert!(gzip.len() < 1 << 20 && zstd.len() < 1 << 20);
    let too_large = Err(BodyError::TooLarge { bytes_max: 1 << 20 });
    assert_eq!(plain(gzip.clone(), Encoding::Gzip, 1 << 20), too_large);
    assert_eq!(plain(zstd, Encoding::Zstd, 1 << 20), too_large);
    assert_eq!(plain(vec![0; 9], Encoding::Identity, 8), Err(BodyError::TooLarge { bytes_max: 8 }));
    let cut = gzip.get(..gzip.len() - 9).unwrap().to_vec();
    assert_eq!(plain(cut, Encoding::Gzip, 1 << 30).unwrap_err().reason(), "damaged");
    let packed = zstd::encode_all(LINE.as_bytes(), 1).unwrap();
    assert_eq!(plain(packed, Encoding::Zstd, 1 << 10).unwrap(), LINE.as_bytes());
    assert_eq!(plain(b"xx".to_vec(), Encoding::Zstd, 9).unwrap_err().reason(), "damaged");
}
