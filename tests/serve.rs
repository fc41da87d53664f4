//! The role that serves: queries over HTTP from a lake that others write; what is refused, and how an
//! answer that is too much ends.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use support::{Bench, stderr, stdout};

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

/// An answer: its status, and its body as far as it came.
struct Answer {
    status: u16,
    body: Vec<u8>,
    is_whole: bool,
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Service {
    fn start(bench: &Bench, lake: &str) -> Self {
        let arguments = ["run", "--role", "serve", "--config", "serve.toml", "--lake", lake];
        let mut child = bench.command(&arguments).stderr(Stdio::piped()).spawn().unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = errors.find_map(|line| {
            line.unwrap().split_once("peerscope: http: ").map(|(_, address)| address.to_owned())
        });
        std::thread::spawn(move || errors.for_each(drop));
        Self { child, address: line.expect("it listens") }
    }

    fn ask(&self, head: &str, sql: &str) -> Answer {
        self.say(&format!(
            "POST /v1/sql HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{head}content-length: {}\r\n\r\n{sql}",
            sql.len()
        ))
    }

    fn say(&self, request: &str) -> Answer {
        let mut socket = TcpStream::connect(&self.address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let _ = socket.write_all(request.as_bytes());
        let mut bytes = Vec::new();
        let _ = socket.read_to_end(&mut bytes);
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let rest = &bytes[end + 4..];
        if !head.contains("transfer-encoding: chunked") {
            return Answer { status, body: rest.to_vec(), is_whole: true };
        }
        let (body, is_whole) = unchunked(rest);
        Answer { status, body, is_whole }
    }
}

/// RFC 9112 §7.1; false if it breaks off.
fn unchunked(mut bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") {
        let length = std::str::from_utf8(&bytes[..end]).unwrap();
        let length = usize::from_str_radix(length, 16).unwrap();
        let rest = &bytes[end + 2..];
        if length == 0 {
            return (body, true);
        }
        if rest.len() < length + 2 {
            break;
        }
        body.extend_from_slice(&rest[..length]);
        bytes = &rest[length + 2..];
    }
    (body, false)
}

/// The header of a new token, with its lines of the configuration.
fn token(bench: &Bench, arguments: &[&str]) -> (String, String) {
    let (token, lines) = bench.token(arguments);
    (format!("authorization: Bearer {token}\r\n"), lines)
}

#[test]
fn a_query_over_http_is_answered_like_one_at_the_shell() {
    let bench = Bench::with_demo_inputs();
    bench.write(
        "serve.toml",
        "[http]\nlisten = \"127.0.0.1:0\"\nquery_rows_max = 1000\nquery_secs_max = 2\n",
    );
    let service = Service::start(&bench, "demo-lake");
    let sql = "select event_time, prefix, as_path, communities, next_hop from route_updates \
               order by event_time, prefix, peer_ip limit 50";
    for (media_type, format) in [("application/x-ndjson", "nd-json"), ("text/csv", "csv")] {
        let told = service.ask(&format!("accept: {media_type}\r\n"), sql);
        assert_eq!((told.status, told.is_whole), (200, true), "{}", told.text());
        let shell = bench.expect(0, &["sql", "--lake", "demo-lake", "--format", format, "-c", sql]);
        assert_eq!(told.text(), stdout(&shell));
    }
    let told = service.ask("accept: application/vnd.apache.arrow.stream\r\n", sql);
    let rows = arrow::ipc::reader::StreamReader::try_new(told.body.as_slice(), None).unwrap();
    assert_eq!(rows.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 50);
    let nothing = service.ask("accept: text/csv\r\n", "select prefix from rib where false");
    assert_eq!((nothing.status, nothing.text().as_str()), (200, "prefix\n"));

    for (status, sql) in [
        (400, "select nothing from nowhere"),
        (400, "select 1; select 2"),
        (400, "copy rib to '/tmp/stolen.parquet'"),
        (400, "create table t as select 1"),
        (400, "create external table t stored as csv location '/etc/passwd'"),
        (400, "select * from '/etc/passwd'"),
        (400, "explain select 1"),
        (400, "set datafusion.execution.batch_size = 1"),
        (400, ""),
        (413, &"x".repeat(70_000)),
    ] {
        let told = service.ask("", sql);
        assert_eq!(told.status, status, "{sql:.60}: {}", told.text());
    }
    assert_eq!(service.ask("origin: https://example.com\r\n", "select 1").status, 403);
    assert_eq!(service.ask("accept: image/png\r\n", "select 1").status, 406);
    assert_eq!(
        service.say("GET /v1/sql HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").status,
        405
    );

    // Too many rows break the answer off; too much time is told before the first row.
    let many = service.ask("", "select a.prefix from route_updates a, route_updates b");
    assert_eq!((many.status, many.is_whole), (200, false));
    let began = Instant::now();
    let slow = "select count(*) from latency a, latency b, latency c where a.samples + b.samples > c.samples";
    assert_eq!(service.ask("", slow).status, 504);
    assert!(began.elapsed() < Duration::from_secs(30));
    let samples =
        "POST /v1/rtt HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}";
    assert_eq!(service.say(samples).status, 404);
    let alive = service.say("GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    assert_eq!(alive.status, 200);
    let mut service = service;
    let pid = service.child.id().to_string();
    assert!(std::process::Command::new("kill").arg(pid).status().unwrap().success());
    assert_eq!(service.child.wait().unwrap().code(), Some(0));
}

#[test]
fn what_would_swell_past_every_bound_is_refused() {
    let bench = Bench::with_demo_inputs();
    bench.write("serve.toml", "[http]\nlisten = \"127.0.0.1:0\"\n");
    let service = Service::start(&bench, "demo-lake");
    // A chain is as deep as it is long: one that is taken has an answer, one that is too long a word.
    let chain = |terms: usize| format!("select {}", vec!["1"; terms].join("+"));
    let unions = vec!["select 1"; 2_000].join(" union all ");
    assert_eq!(service.ask("", &chain(3_900)).status, 200);
    let told = service.ask("", &chain(30_000));
    assert_eq!(told.status, 400, "{}", told.text());
    assert!(told.text().contains("8000 are taken"), "{}", told.text());
    assert!([200, 400, 504].contains(&service.ask("", &unions).status));
    for much in ["range(0, 900000000)", "repeat('x', 2000000000)", "lpad('x', 2000000000, 'y')"] {
        let told = service.ask("", &format!("select {much}"));
        assert_eq!(told.status, 400, "{much}: {}", told.text());
    }
    assert_eq!(service.ask("", "select 1").status, 200);
}

/// Who asks and does not read holds a place until the time of the query is over, and no longer.
#[test]
fn who_does_not_read_is_waited_for_as_long_as_a_query_may_take() {
    let bench = Bench::with_demo_inputs();
    bench.write(
        "serve.toml",
        "[http]\nlisten = \"127.0.0.1:0\"\nqueries_max = 2\nquery_secs_max = 3\n\
         query_rows_max = 100000000\n",
    );
    let service = Service::start(&bench, "demo-lake");
    let much = "select a.prefix, b.as_path_text from route_updates a, route_updates b";
    let request =
        format!("POST /v1/sql HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{much}", much.len());
    let _deaf: Vec<TcpStream> = (0..2)
        .map(|_| {
            let mut socket = TcpStream::connect(&service.address).unwrap();
            socket.write_all(request.as_bytes()).unwrap();
            // Its head, so that the query is being answered.
            let mut byte = [0];
            socket.read_exact(&mut byte).unwrap();
            socket
        })
        .collect();
    assert_eq!(service.ask("", "select 1").status, 503);
    let since = Instant::now();
    while service.ask("", "select 1").status != 200 {
        assert!(since.elapsed() < Duration::from_secs(60), "their places are free again");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_token_sees_what_is_its_tenants() {
    let bench = Bench::with_demo_inputs();
    let (operator, first) = token(&bench, &["operator", "--scope", "sql"]);
    let (contoso, second) = token(&bench, &["contoso", "--tenant", "contoso", "--scope", "sql"]);
    let (probe, third) = token(&bench, &["probe"]);
    bench.write("serve.toml", format!("[http]\nlisten = \"127.0.0.1:0\"\n{first}{second}{third}"));
    let service = Service::start(&bench, "demo-lake");
    let tenants = "select distinct tenant from latency where tenant is not null order by tenant";
    let of = |who: &str| service.ask(&format!("{who}accept: text/csv\r\n"), tenants).text();
    assert!(of(&operator).lines().count() > 2, "{}", of(&operator));
    assert_eq!(of(&contoso), "tenant\ncontoso\n");
    assert_eq!(service.ask("", tenants).status, 401);
    assert_eq!(service.ask(&probe, tenants).status, 403);
    for who in [&operator, &contoso] {
        assert_eq!(service.ask(who, "select * from '/etc/passwd'").status, 400);
        assert_eq!(service.ask(who, "copy latency to '/tmp/stolen.csv'").status, 400);
    }
}

#[test]
fn without_a_listener_or_a_lake_it_says_what_to_do() {
    let bench = Bench::empty();
    bench.write("serve.toml", "");
    let run = ["run", "--role", "serve", "--config", "serve.toml", "--lake", "lake"];
    assert!(stderr(&bench.expect(78, &run)).contains("set [http] listen"));
    bench.write("serve.toml", "[http]\nlisten = \"127.0.0.1:0\"\n");
    let done = bench.run(&run);
    assert!(stderr(&done).contains("no lake at"), "{}", stderr(&done));
    assert!(!done.status.success());
}
