//! The HTTP listener of a running service: samples in over a socket, rows out of the lake.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use support::{Bench, stderr, stdout};

const CONNECTIONS: &str = r#"
[lake]
commit_secs = 1
[latency]
lateness_secs = 1
[[connection]]
name = "contoso-seattle"
tenant = "contoso"
prefixes = ["192.0.2.0/24"]
[[connection]]
name = "fabrikam-madrid"
tenant = "fabrikam"
prefixes = ["198.51.100.0/24"]
"#;

/// Longer than anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A started service; killed when the test is over.
struct Service {
    child: Child,
    address: String,
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Service {
    /// Starts it and waits until it listens.
    fn start(bench: &Bench) -> Self {
        let arguments = ["run", "--config", "peerscope.toml", "--lake", "lake"];
        let mut child = bench.command(&arguments).stderr(Stdio::piped()).spawn().unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut service = Self { child, address: String::new() };
        let mut told = Vec::new();
        while let Some(Ok(line)) = errors.next() {
            if let Some((_, address)) = line.split_once("peerscope: http: ") {
                address.clone_into(&mut service.address);
            }
            if line.contains("running") {
                // Whoever writes to a pipe that nobody reads is stopped.
                std::thread::spawn(move || errors.for_each(drop));
                return service;
            }
            told.push(line);
        }
        panic!("it ended: {told:?}");
    }

    /// Drains and ends it.
    fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(std::process::Command::new("kill").arg(pid).status().unwrap().success());
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }

    /// Sends bytes, and reads until the service closes the session: status, head and body.
    fn say(&self, bytes: &[u8]) -> (u16, String, String) {
        let mut socket = TcpStream::connect(&self.address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        // A refusal may come, and the session end, before all of it is taken.
        let _ = socket.write_all(bytes);
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        (status, head.to_owned(), body.to_owned())
    }

    fn get(&self, path: &str, headers: &str) -> (u16, String, String) {
        let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n");
        self.say(head.as_bytes())
    }

    fn post(&self, headers: &str, body: &[u8]) -> (u16, String, String) {
        let length = body.len();
        let head = format!("POST /v1/rtt HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}");
        let head = format!("{head}content-length: {length}\r\n\r\n");
        self.say(&[head.as_bytes(), body].concat())
    }
}

fn now_secs() -> u64 {
    ingest::source::live::wall_clock().secs().unsigned_abs()
}

/// Samples of an address, one a millisecond from now on backwards.
fn samples(ip: &str, count: u64, source: &str) -> String {
    let now = now_secs() * 1_000;
    let line = |ms: u64| {
        let time = now - ms;
        format!(
            "{{\"time\":{time},\"ip\":\"{ip}\",\"rtt_us\":{},\"source\":\"{source}\"}}\n",
            1_000 + ms
        )
    };
    (0..count).map(line).collect()
}

fn configured(http: &str) -> Bench {
    let bench = Bench::empty();
    bench.write("peerscope.toml", format!("{CONNECTIONS}{http}"));
    bench
}

/// 128 MiB in 4 KiB: a frame of zstd whose blocks are one byte each, many times over (RFC 8878 §3.1.1).
fn bomb() -> Vec<u8> {
    let (blocks, block_bytes) = (1_024_u32, 128 * 1024_u32);
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38];
    for block in 1..=blocks {
        let header = (block_bytes << 3) | (1 << 1) | u32::from(block == blocks);
        frame.extend(&header.to_le_bytes()[..3]);
        frame.push(b' ');
    }
    frame
}

/// Waits until a query gives this.
fn until(bench: &Bench, sql: &str, wanted: &str) {
    let began = Instant::now();
    loop {
        let done = bench.run(&["sql", "--lake", "lake", "--format", "csv", "-c", sql]);
        let told = stdout(&done);
        if told.lines().nth(1) == Some(wanted) {
            return;
        }
        assert!(began.elapsed() < PATIENCE * 3, "{sql}: {told}{}", stderr(&done));
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// A body is answered with 200, the service is killed at once: after a restart every sample of it is in
/// its window, and nothing of the bodies that were refused.
#[test]
fn what_was_answered_is_in_the_lake_after_a_kill() {
    let bench = configured("[http]\nlisten = \"127.0.0.1:0\"\nbody_bytes_max = 200000\n");
    let mut service = Service::start(&bench);
    let other = samples("203.0.113.9", 2, "p");
    let link = samples("169.254.1.1", 1, "p");
    let ahead = format!(
        "{{\"time\":{},\"ip\":\"192.0.2.7\",\"rtt_ms\":1,\"source\":\"p\"}}\n",
        now_secs() + 3_600
    );
    let body = format!("{}{other}{link}{ahead}nothing\n", samples("192.0.2.7", 1_000, "p"));
    let (status, head, told) = service.post("", body.as_bytes());
    assert_eq!(status, 200, "{head}\n{told}");
    for part in [
        r#""read":1005"#,
        r#""accepted":1000"#,
        r#""unmatched":2"#,
        r#""quarantined":2"#,
        r#""refused":1"#,
        r#""clock_ahead":1"#,
        r#""link_test":1"#,
        r#""json":1"#,
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    service.child.kill().unwrap();
    service.child.wait().unwrap();
    drop(service);
    let service = Service::start(&bench);
    let csv = format!("time,ip,rtt_us,source\n{},198.51.100.1,2500,q\n", now_secs());
    assert_eq!(service.post("content-type: text/csv\r\n", csv.as_bytes()).0, 200);
    until(&bench, "select sum(samples) from latency where source = 'p'", "1000");
    until(&bench, "select rtt_p50_us from latency where source = 'q' and samples > 0", "2500");
    let (status, _, page) = service.get("/metrics", "");
    assert_eq!(status, 200);
    let gauge = r#"peerscope_rtt_seconds{connection="fabrikam-madrid",quantile="0.5"} 0.0025"#;
    assert!(page.contains(gauge), "{page}");
    let counted =
        r#"peerscope_ingest_elements_total{input="http",format="rtt",outcome="accepted"} 1"#;
    assert!(page.contains(counted), "{page}");
    assert!(
        page.contains(r#"peerscope_http_requests_total{path="/v1/rtt",status="200"} 1"#),
        "{page}"
    );
    service.stop();
}

#[test]
fn a_token_speaks_for_its_tenant_and_nobody_without_one() {
    let bench = configured("");
    let (contoso, first) = bench.token(&["probe-7", "--tenant", "contoso"]);
    let (operator, second) = bench.token(&["operator"]);
    let limits = "[http]\nlisten = \"127.0.0.1:0\"\nrequests_per_sec_max = 3\n";
    let second = format!("{second}scopes = [\"rtt\", \"metrics\"]\n");
    bench.write("peerscope.toml", format!("{CONNECTIONS}{limits}{first}{second}"));
    bench.expect(0, &["check", "--config", "peerscope.toml"]);
    let service = Service::start(&bench);
    let body = samples("198.51.100.7", 3, "p") + &samples("192.0.2.7", 2, "p");
    let as_one = |token: &str| format!("authorization: Bearer {token}\r\n");
    for headers in [String::new(), as_one("nobody"), "authorization: Basic eA==\r\n".to_owned()] {
        let (status, head, told) = service.post(&headers, body.as_bytes());
        assert_eq!(status, 401, "{told}");
        assert!(head.contains("www-authenticate: Bearer"), "{head}");
    }
    let (status, _, told) = service.post(&as_one(&contoso), body.as_bytes());
    assert_eq!(status, 200, "{told}");
    assert!(told.contains(r#""accepted":2"#) && told.contains(r#""unmatched":3"#), "{told}");
    assert!(!told.contains("tenant"), "what belongs to others is not told: {told}");
    assert_eq!(service.get("/metrics", &as_one(&contoso)).0, 403);
    assert_eq!(service.get("/metrics", "").0, 401);
    let (status, _, page) = service.get("/metrics", &as_one(&operator));
    assert!(status == 200 && page.contains("peerscope_build_info"), "{page}");
    let web = format!("{}origin: https://web.example\r\n", as_one(&operator));
    assert_eq!(service.post(&web, body.as_bytes()).0, 403, "a web page");
    let statuses: Vec<u16> = (0..8).map(|_| service.post(&as_one(&contoso), b"").0).collect();
    assert!(statuses.contains(&429) && statuses.contains(&200), "{statuses:?}");
    let (status, _, told) = service.post(&as_one(&operator), body.as_bytes());
    assert!(status == 200 && told.contains(r#""accepted":5"#), "{told}");
    assert_eq!(service.get("/healthz", "").0, 200);
    service.stop();
}

#[test]
fn bodies_that_are_too_large_too_slow_or_no_samples_are_refused_and_the_service_goes_on() {
    let limits = "body_bytes_max = 100000\nheader_timeout_secs = 1\nsessions_max = 4\n";
    let bench = configured(&format!("[http]\nlisten = \"127.0.0.1:0\"\n{limits}"));
    let service = Service::start(&bench);
    assert_eq!(service.post("", &vec![b' '; 100_001]).0, 413);
    let (status, _, told) = service.post("content-encoding: zstd\r\n", &bomb());
    assert_eq!(status, 413, "{told}");
    assert_eq!(service.post("content-encoding: gzip\r\n", &bomb()).0, 400);
    assert_eq!(service.post("content-encoding: br\r\n", b"x").0, 415);
    assert_eq!(service.post("content-type: image/png\r\n", b"x").0, 415);
    assert_eq!(service.post("content-type: application/vnd.apache.parquet\r\n", b"PAR1").0, 400);
    assert_eq!(service.post("", b"hello").0, 415);
    assert_eq!(service.post("", b"{}").0, 400);
    assert_eq!(service.get("/v1/rtt", "").0, 405);
    assert_eq!(service.get("/nothing", "").0, 404);
    // A head and a body that never become whole.
    let began = Instant::now();
    let (status, ..) = service.say(b"POST /v1/rtt HTTP/1.1\r\nhost: x\r\n");
    assert!(matches!(status, 0 | 408), "{status}");
    let half = b"POST /v1/rtt HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{";
    assert_eq!(service.say(half).0, 408);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    // Sessions that say nothing take all the places, for a second. On a busy machine they may be over
    // before it is asked.
    let is_full = (0..20).any(|_| {
        let idle = (0..4).map(|_| TcpStream::connect(&service.address).unwrap());
        let _idle: Vec<TcpStream> = idle.collect();
        std::thread::sleep(Duration::from_millis(50));
        service.get("/healthz", "").0 == 0
    });
    assert!(is_full, "one more is closed at once");
    let began = Instant::now();
    while service.get("/healthz", "").0 != 200 {
        assert!(began.elapsed() < PATIENCE, "the places are free again");
        std::thread::sleep(Duration::from_millis(100));
    }
    let began = Instant::now();
    while service.get("/readyz", "").0 != 200 {
        assert!(began.elapsed() < PATIENCE, "never ready");
        std::thread::sleep(Duration::from_millis(100));
    }
    let told = service.post("", samples("192.0.2.7", 1, "p").as_bytes());
    assert_eq!(told.0, 200, "{told:?}");
    service.stop();
}

#[test]
fn a_listener_for_other_machines_needs_tokens_and_tls() {
    let bench = configured("[http]\nlisten = \"0.0.0.0:0\"\n");
    for command in ["check", "run"] {
        let done = bench.expect(78, &[command, "--config", "peerscope.toml"]);
        assert!(stderr(&done).contains("peerscope http token"), "{}", stderr(&done));
    }
    let (_, lines) = bench.token(&["probe"]);
    bench.write("peerscope.toml", format!("{CONNECTIONS}[http]\nlisten = \"0.0.0.0:0\"\n{lines}"));
    let done = bench.expect(78, &["check", "--config", "peerscope.toml"]);
    assert!(stderr(&done).contains("allow_without_tls"), "{}", stderr(&done));
}

/// A page of an exporter that is read each second becomes windows.
#[test]
fn pages_of_an_exporter_become_rows() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let mut request = [0; 2048];
            let _ = socket.read(&mut request);
            let page = "probe_icmp_duration_seconds{phase=\"rtt\"} 0.0115\nprobe_success 1\n";
            let length = page.len();
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
            let _ = socket.write_all(format!("{head}{page}").as_bytes());
        }
    });
    let source = "[http]\nlisten = \"127.0.0.1:0\"\n[source.probe-7]\nkind = \"prometheus\"\n\
                  interval_secs = 1\n";
    let urls = format!("urls = [\"http://{address}/probe?module=icmp&target=192.0.2.7\"]\n");
    let bench = configured(&format!("{source}{urls}"));
    let service = Service::start(&bench);
    let began = Instant::now();
    let counted =
        r#"peerscope_ingest_elements_total{input="probe-7",format="rtt",outcome="accepted"} "#;
    loop {
        let (_, _, page) = service.get("/metrics", "");
        let accepted = page.lines().find_map(|line| line.strip_prefix(counted));
        if accepted.is_some_and(|count| count.parse::<f64>().unwrap() >= 2.0) {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{page}");
        std::thread::sleep(Duration::from_millis(200));
    }
    until(
        &bench,
        "select distinct rtt_max_us from latency where source = 'probe-7' and samples > 0",
        "11500",
    );
    service.stop();
}
