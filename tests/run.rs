//! The running service: the same rows as a replay of the same files, whatever is killed on the way.
//! `PEERSCOPE_KILLS` says how many kills; the default is for every run of the tests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod support;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Stdio};
use std::time::Duration;

use ingest::encode::bgp::{Update, update};
use ingest::encode::bmp::{self, Peer};
use schemas::bgp::{AsPath, Asn, Origin, PathAttributes};
use support::Bench;

const KILLS: u32 = 12;
const ROUTES: &str = "select event_time, source, source_offset, collector, peer_asn, peer_ip, action, \
                      prefix, path_id, as_path_text, next_hop, communities, disposition, connection \
                      from route_updates order by source, source_offset, prefix, action";
/// Without the route in force: a running service knows what its log held when the window closed, and
/// files of samples may be read before those of routes.
const LATENCY: &str = "select * exclude (date, route_epoch, route_role, as_hops, ingress_edge) \
                       from latency where samples > 0 \
                       order by connection, prefix, source, window_start";

/// The demo's configuration with its files as a source that is read once.
fn bench() -> Bench {
    let bench = Bench::with_demo_inputs();
    let config = fs::read_to_string(bench.path("in/peerscope.toml")).unwrap();
    let source = "\n[source.archive]\nkind = \"folder\"\n\
                  paths = [\"rib.mrt\", \"updates.mrt\", \"rtt.jsonl\"]\n";
    bench.write("in/run.toml", format!("{config}{source}"));
    bench
}

fn run(lake: &str) -> [&str; 6] {
    ["run", "--config", "in/run.toml", "--until-done", "--lake", lake]
}

/// Whoever starts us again must know whether that can help.
#[test]
fn what_ends_a_service_has_its_exit_code() {
    let bench = bench();
    let config = fs::read_to_string(bench.path("in/run.toml")).unwrap();
    let with = |more: &str| bench.write("in/other.toml", format!("{config}\n{more}\n"));
    let run = ["run", "--config", "in/other.toml", "--until-done"];
    // Nothing listens there.
    with(
        "[lake]\nurl = \"s3://bucket/lake\"\nendpoint = \"http://127.0.0.1:1\"\nallow_http = true\n\
         region = \"us-east-1\"\ncredentials_file = \"keys.env\"\nretry_secs = 1",
    );
    bench.write("in/keys.env", "AWS_ACCESS_KEY_ID=a\nAWS_SECRET_ACCESS_KEY=b\n");
    let done = bench.expect(69, &run);
    assert!(support::stderr(&done).contains("127.0.0.1:1"), "{}", support::stderr(&done));
    // The lake of a replay is none of a service's log.
    with("");
    bench.expect(0, &["replay", "--config", "in/peerscope.toml", "in", "--lake", "in/replayed"]);
    let done = bench.expect(1, &[&run[..], &["--lake", "in/replayed"]].concat());
    assert!(support::stderr(&done).contains("begin a new lake"), "{}", support::stderr(&done));
    for (settings, told) in [
        ("settings = { \"socket.nagel\" = \"true\" }", "socket.nagel"),
        ("brokers = [\"kafka:295000\"]", "host:port"),
    ] {
        let brokers =
            if settings.starts_with("brokers") { "" } else { "brokers = [\"127.0.0.1:1\"]\n" };
        with(&format!("[kafka]\n{brokers}{settings}"));
        for command in ["check", "run"] {
            let done = bench.expect(78, &[command, "--config", "in/other.toml"]);
            assert!(support::stderr(&done).contains(told), "{}", support::stderr(&done));
        }
    }
}

#[test]
fn a_service_that_was_killed_tells_what_a_replay_tells_each_record_once() {
    let kills = support::kills(KILLS);
    let bench = bench();
    bench.expect(0, &["replay", "--config", "in/peerscope.toml", "in", "--lake", "replayed"]);
    let (routes, latency) = (bench.rows("replayed", ROUTES), bench.rows("replayed", LATENCY));
    assert!(routes.len() > 100 && latency.len() > 100, "there is something to compare");
    let mut interrupted = 0;
    for kill in 0..kills {
        let mut child = bench
            .command(&run("lake"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(u64::from(30 + (kill * 7919) % 900)));
        interrupted += u32::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    bench.expect(0, &run("lake"));
    println!("{kills} kills, {interrupted} of them before the end");
    for (sql, wanted) in [(ROUTES, routes), (LATENCY, latency)] {
        let told = bench.rows("lake", sql);
        assert_eq!(told.len(), wanted.len());
        for (told, wanted) in told.iter().zip(&wanted) {
            assert_eq!(told, wanted);
        }
    }
    // Nothing is left to read, and nothing changes.
    let files = || {
        let mut files = support::files(&bench.path("lake"));
        // Of the state the last two are kept.
        files.retain(|name, _| !name.starts_with("_peerscope/snapshots"));
        files
    };
    let before = files();
    bench.expect(0, &run("lake"));
    let after = files();
    assert!(before.iter().all(|(name, bytes)| after.get(name) == Some(bytes)));
    assert_eq!(bench.rows("lake", ROUTES).len(), bench.rows("replayed", ROUTES).len());
}

/// A started service; killed when the test is over.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the service and waits until it runs; the lines that it told before.
fn started(bench: &Bench, config: &str) -> (Service, Vec<String>) {
    let arguments = ["run", "--config", config, "--lake", "lake"];
    let mut child = bench.command(&arguments).stderr(Stdio::piped()).spawn().unwrap();
    let errors = BufReader::new(child.stderr.take().unwrap());
    let service = Service(child);
    let mut told = Vec::new();
    for line in errors.lines() {
        let line = line.unwrap();
        let is_running = line.contains("running");
        told.push(line);
        if is_running {
            return (service, told);
        }
    }
    panic!("it ended: {told:?}");
}

#[test]
fn sigterm_drains_and_the_exit_is_clean() {
    let bench = Bench::empty();
    bench.write(
        "peerscope.toml",
        "[source.routers]\nkind = \"bmp_listener\"\nlisten = \"127.0.0.1:0\"\n",
    );
    let (mut service, told) = started(&bench, "peerscope.toml");
    assert!(told.iter().any(|line| line.contains("routers: 127.0.0.1:")), "{told:?}");
    let second = bench.run(&["run", "--config", "peerscope.toml", "--lake", "other"]);
    assert_eq!(second.status.code(), Some(1), "one writer of a log");
    let pid = service.0.id().to_string();
    assert!(std::process::Command::new("kill").arg(pid).status().unwrap().success());
    assert_eq!(service.0.wait().unwrap().code(), Some(0));
    assert_eq!(bench.rows("lake", "select count(*) as n from route_updates"), [r#"{"n":0}"#]);
}

#[test]
fn a_service_without_a_source_says_so() {
    let bench = Bench::empty();
    bench.write("peerscope.toml", "");
    let done = bench.expect(78, &["run", "--config", "peerscope.toml"]);
    assert!(support::stderr(&done).contains("no live source is configured"));
}

/// A service that follows what grows in a folder.
fn following() -> Bench {
    let bench = Bench::empty();
    fs::create_dir(bench.path("feed")).unwrap();
    bench.write(
        "peerscope.toml",
        "[lake]\ncommit_secs = 1\n[source.live]\nkind = \"folder\"\nfolder = \"feed\"\ntail = true\n\
         poll_secs = 1\n[[connection]]\nname = \"c\"\nprefixes = [\"198.51.100.0/24\"]\n",
    );
    bench
}

/// Waits until a query answers this.
fn until(bench: &Bench, sql: &str, wanted: &str) {
    let since = std::time::Instant::now();
    while bench.rows("lake", sql) != [wanted] {
        assert!(
            since.elapsed() < Duration::from_secs(60),
            "{wanted}: {:?}",
            bench.rows("lake", sql)
        );
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// A file that grows by a line now and then: each is read at once, however short the file is.
#[test]
fn a_line_of_a_growing_file_is_a_row_before_the_file_ends() {
    let bench = following();
    let (_service, _) = started(&bench, "peerscope.toml");
    let now = ingest::source::live::wall_clock().secs();
    let line = |number: i64| {
        let (time, origin) = (now - 10 + number, 64_501 + number);
        format!(
            "{{\"type\":\"ris_message\",\"data\":{{\"timestamp\":{time}.5,\"peer\":\"192.0.2.1\",\
             \"peer_asn\":\"64500\",\"id\":\"{number}\",\"host\":\"rrc00\",\"type\":\"UPDATE\",\
             \"path\":[64500,{origin}],\"origin\":\"igp\",\"announcements\":[{{\"next_hop\":\
             \"192.0.2.1\",\"prefixes\":[\"198.51.100.0/24\"]}}]}}}}\n"
        )
    };
    let place = bench.path("feed/ris.jsonl");
    let mut file = fs::File::options().create(true).append(true).open(place).unwrap();
    for number in 1..=3 {
        file.write_all(line(number).as_bytes()).unwrap();
        let wanted = format!("{{\"n\":{number}}}");
        until(&bench, "select count(*) as n from route_updates", &wanted);
    }
}

/// What a router wrote into a file: its greeting, and so many routes of a peer.
fn stream_of(routes: u8) -> Vec<u8> {
    let now = ingest::source::live::wall_clock();
    let peer = Peer::global("192.0.2.1".parse().unwrap(), Asn(64_500), now);
    let mut all = Vec::new();
    bmp::initiation(&mut all, "", "edge1");
    for number in 0..routes {
        let attributes = PathAttributes {
            origin: Some(Origin::Igp),
            as_path: AsPath::sequence([64_500, 64_510]),
            next_hop: Some("192.0.2.1".parse().unwrap()),
            ..PathAttributes::default()
        };
        let announced = [format!("198.51.100.{number}/32").parse().unwrap()];
        let message = update(&Update {
            withdrawn: &[],
            announced: &announced,
            attributes: Some(&attributes),
        });
        bmp::route_monitoring(&mut all, &peer, &message);
    }
    all
}

/// The file ends in the middle of a message when the service is killed; the next one reads on there.
#[test]
fn a_killed_service_reads_on_in_a_bmp_file_where_it_was() {
    let bench = following();
    let stream = stream_of(200);
    let place = bench.path("feed/edge1.bmp");
    for (part, wanted) in [(stream.len() / 2 + 30, 100), (stream.len(), 200)] {
        fs::write(&place, stream.get(..part).unwrap()).unwrap();
        let (_service, _) = started(&bench, "peerscope.toml");
        let routes = "select count(distinct prefix) as n, count(*) as all from route_updates \
                      where action = 'announce'";
        let wanted = format!("{{\"n\":{wanted},\"all\":{wanted}}}");
        until(&bench, routes, &wanted);
    }
    let refused = "select coalesce(sum(refused), 0) as n from ledger";
    assert_eq!(bench.rows("lake", refused), ["{\"n\":0}"]);
}
