//! Pages of exporters become samples; what is no sample is counted.

use std::net::SocketAddr;
use std::num::NonZeroU32;

use schemas::registry::Registry;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::*;
use crate::samples::Owners;
use crate::source::testing::Ear;

fn owners() -> OwnersNow {
    let text = r#"{"name":"a","prefixes":["192.0.2.0/24"]}"#;
    let connections = vec![serde_json::from_str(text).unwrap()];
    let registry = Arc::new(Registry::new(1, connections, Vec::new()).unwrap());
    watch::channel(Arc::new(Owners::new(registry))).1
}

fn source(urls: &[&str], value: ProbeValue) -> PrometheusSource {
    let urls = urls.iter().map(|url| (*url).to_owned()).collect();
    let config = PrometheusPages { urls, value, page_bytes_max: 4096, ..Default::default() };
    config.check().unwrap();
    PrometheusSource::new("probe-7", config, owners()).unwrap()
}

/// Round trips of the samples of a page that was asked for at second 100, with their seconds.
fn told(source: &PrometheusSource, text: &str) -> (Vec<(i64, Option<u32>)>, SampleSet) {
    let target = source.pages[0].1.clone();
    let samples = source.samples(0, target.as_deref(), &page(text), Timestamp::from_secs(100));
    (
        samples.rows.iter().map(|row| (row.time.secs(), row.rtt_us.map(NonZeroU32::get))).collect(),
        samples,
    )
}

const URL: &str = "http://127.0.0.1:9115/probe?module=icmp&target=192.0.2.7";

#[test]
fn a_page_of_blackbox_exporter_is_one_sample() {
    let icmp = source(&[URL], ProbeValue::Icmp);
    let answered = "probe_duration_seconds 0.05\nprobe_icmp_duration_seconds{phase=\"rtt\"} 0.0115\n\
                    probe_success 1\n";
    assert_eq!(told(&icmp, answered).0, [(100, Some(11_500))]);
    let whole = source(&[URL], ProbeValue::Duration);
    assert_eq!(told(&whole, answered).0, [(100, Some(50_000))]);
    let lost = "probe_duration_seconds 9.5\nprobe_icmp_duration_seconds{phase=\"rtt\"} 0\n\
                probe_success 0\n";
    for source in [&icmp, &whole] {
        assert_eq!(told(source, lost).0, [(100, None)], "a lost probe has no round trip");
    }
    let by_tcp = "probe_duration_seconds 0.05\nprobe_success 1\n";
    let (rows, samples) = told(&icmp, by_tcp);
    assert_eq!((rows.len(), samples.account.refused), (0, 1), "no round trip is told");
    assert_eq!(&*told(&icmp, answered).1.sources[0], "probe-7");
}

#[test]
fn a_federated_page_names_its_targets_and_gives_each_probe_once() {
    let source = source(&["http://127.0.0.1:9090/federate"], ProbeValue::Icmp);
    let text = "probe_icmp_duration_seconds{instance=\"192.0.2.9:0\",phase=\"rtt\"} 0.002 90000\n\
                probe_success{instance=\"192.0.2.9:0\"} 1 90000\n\
                probe_success{instance=\"probe.example\"} 0 90000\n\
                smokeping_response_duration_seconds_count{host=\"192.0.2.8\"} 7 90000\nup{\n";
    let (rows, samples) = told(&source, text);
    assert_eq!(rows, [(90, Some(2_000))]);
    let reasons: Vec<&str> =
        samples.account.reasons.iter().map(|(reason, _)| reason.as_str()).collect();
    assert_eq!(reasons, ["histogram", "malformed_field"]);
    assert_eq!(samples.account.refused, 3);
    assert_eq!(told(&source, text).0, [], "it was told");
    assert_eq!(told(&source, &text.replace("90000", "95000")).0, [(95, Some(2_000))]);
}

/// Serves one page over and over, whatever is asked.
async fn server(page: String) -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = [0; 2048];
            let _ = socket.read(&mut request).await;
            let length = page.len();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\
                                connection: close\r\n\r\n"
            );
            let _ = socket.write_all(format!("{head}{page}").as_bytes()).await;
        }
    });
    (address, tasks)
}

#[tokio::test]
async fn pages_are_read_and_one_that_fails_costs_itself() {
    let (good, _good) = server("probe_success 0\n".to_owned()).await;
    let (long, _long) = server("x".repeat(8192)).await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let urls = [good, long, nobody].map(|at| format!("http://{at}/probe?target=192.0.2.7"));
    let source = source(&urls.each_ref().map(String::as_str), ProbeValue::Icmp);
    let counts = source.counts();
    let (mut ear, outbox, stop) = Ear::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(source.run(outbox, stop));
    ear.until("a sample", |heard| heard.values().any(|heard| !heard.samples.is_empty())).await;
    let samples = &ear.only().samples[0];
    assert_eq!((samples.rows.len(), samples.rows[0].rtt_us), (1, None));
    while counts.too_long.get() + counts.failed.get() < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!((counts.pages.get(), counts.too_long.get(), counts.failed.get()), (1, 1, 1));
    ear.stop();
    ear.rest().await;
}

#[test]
fn keys_that_cannot_be_are_refused() {
    let refuse = |change: &dyn Fn(&mut PrometheusPages)| {
        let mut config = PrometheusPages { urls: vec![URL.to_owned()], ..Default::default() };
        assert_eq!(config.check(), Ok(()));
        change(&mut config);
        config.check().unwrap_err()
    };
    assert!(refuse(&|config| config.urls.clear()).contains("urls is empty"));
    assert!(refuse(&|config| config.urls = vec!["ftp://x/".to_owned()]).contains("ftp://x/"));
    assert!(refuse(&|config| config.interval_secs = 0).contains("at least 1"));
}
