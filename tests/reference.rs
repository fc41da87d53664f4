//! Reference data as versions: dated files in a replay, files and configurations that change under a
//! running service, and a cache of VRPs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::{Bench, assert_same_files, stderr};

const PATIENCE: Duration = Duration::from_secs(60);
/// A ROA of somebody else, and one of ours.
const OTHERS: &str = "64999,10.0.0.0/24,24\n";
const OURS: &str = "64999,10.0.0.0/24,24\n64506,198.51.100.128/26,26\n";
const THEIRS: &str = "64999,10.0.0.0/24,24\n64999,198.51.100.128/26,26\n";

/// The demo's inputs and its configuration with further lines for `[reference]` and behind it.
fn bench(reference: &str) -> Bench {
    let bench = Bench::with_demo_inputs();
    let config = fs::read_to_string(bench.path("in/peerscope.toml")).unwrap();
    // `[reference]` is its last section.
    bench.write("in/reference.toml", format!("{config}{reference}"));
    bench
}

#[test]
fn a_replay_changes_over_at_the_dates_of_its_files_and_a_rerun_does_too() {
    let bench = bench("vrps = \"vrps\"\n");
    fs::create_dir(bench.path("in/vrps")).unwrap();
    bench.write("in/vrps/vrps-20260304T090000Z.csv", OURS);
    bench.write("in/vrps/vrps-20260304T104000Z.csv", OTHERS);
    bench.write("in/vrps/vrps-20270101.csv", THEIRS);
    let inputs = ["in/rib.mrt", "in/updates.mrt", "in/rtt.jsonl"];
    let replay = |lake: &str, shards: &str| {
        let options =
            ["replay", "--config", "in/reference.toml", "--lake", lake, "--shards", shards];
        bench.expect(0, &[options.as_slice(), &inputs].concat());
    };
    replay("lake", "1");
    let states = "select rpki_state, max(event_time) < '2026-03-04T10:40:00Z', \
                  min(event_time) >= '2026-03-04T10:40:00Z' from route_updates \
                  where prefix = '198.51.100.128/26' and action = 'announce' group by 1 order by 1";
    assert_eq!(bench.ask("lake", states), ["not_found,false,true", "valid,true,false"]);
    let told =
        "select rule, phase, time, connection from findings where rule like '%rpki%' order by 3";
    let wanted = "rpki_roa_changed,opened,2026-03-04T10:40:00Z,fabrikam-london";
    assert_eq!(bench.ask("lake", told), [wanted]);
    assert_eq!(fs::read_dir(bench.path("lake/_peerscope/reference")).unwrap().count(), 6);
    replay("again", "1");
    assert_same_files(&bench.path("lake"), &bench.path("again"));
    replay("three", "3");
    for sql in [states, told] {
        assert_eq!(bench.ask("lake", sql), bench.ask("three", sql));
    }
    bench.write("in/vrps/vrps-20260304T104000Z.csv", THEIRS);
    let options = ["replay", "--config", "in/reference.toml", "--lake", "lake"];
    let done = bench.run(&[options.as_slice(), &inputs].concat());
    assert!(stderr(&done).contains("other inputs, settings"), "{}", stderr(&done));
}

#[test]
fn a_folder_without_dates_is_refused_by_check_with_a_remedy() {
    let bench = bench("vrps = \"vrps\"\n");
    fs::create_dir(bench.path("in/vrps")).unwrap();
    bench.write("in/vrps/vrps.csv", OURS);
    let done = bench.expect(78, &["check", "--config", "in/reference.toml"]);
    assert!(
        stderr(&done).contains("has a date in its name, such as 20260304"),
        "{}",
        stderr(&done)
    );
}

/// A service over the demo's table, and what it tells on the side.
struct Service<'b> {
    bench: &'b Bench,
    child: Child,
}

impl Drop for Service<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait()); // it may have ended
    }
}

/// The archive is months old, and judged as if it were told now.
const SERVICE: &str = "\n[source.archive]\nkind = \"folder\"\npaths = [\"rib.mrt\"]\n\
                       [log]\nbackfill_after_secs = 4294967295\n[lake]\ncommit_secs = 1\n";

impl<'b> Service<'b> {
    fn start(bench: &'b Bench) -> Self {
        let arguments = ["run", "--config", "in/reference.toml", "--lake", "lake"];
        let mut child = bench.command(&arguments).stderr(Stdio::piped()).spawn().unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("running") {
            line.clear();
            assert!(errors.read_line(&mut line).unwrap() > 0, "it ended");
        }
        // What it tells later is read, so that it is not held up by a full pipe.
        std::thread::spawn(move || errors.read_to_end(&mut Vec::new()));
        Self { bench, child }
    }

    fn hang_up(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    }

    /// Waits until a query says so.
    fn until(&self, sql: &str, wanted: &[&str]) {
        let began = Instant::now();
        loop {
            let told = self.bench.ask("lake", sql);
            if told == wanted {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{told:?} and not {wanted:?}");
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").arg(pid).status().unwrap().success());
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

const RPKI: &str = "select rule, phase from findings where rule like '%rpki%' \
                    and phase <> 'updated' order by rule, time";

#[test]
fn a_service_enters_what_changes_and_keeps_its_state() {
    let bench = bench(&format!("vrps = \"vrps.csv\"\n{SERVICE}"));
    bench.write("in/vrps.csv", OURS);
    let service = Service::start(&bench);
    let connections = "select count(distinct connection) from connections";
    service.until(connections, &["10"]);
    let held = "select count(*) > 3 from route_updates where prefix = '198.51.100.128/26'";
    service.until(held, &["true"]);
    // ROAs that forbid our routes: the routes that are held are judged again.
    bench.write("in/vrps.csv", THEIRS);
    service.until(RPKI, &["rpki_invalid,opened", "rpki_roa_changed,opened"]);
    // A bad file changes nothing, and is mended at a hangup.
    bench.write("in/vrps.csv", "no VRPs\n");
    service.hang_up();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(bench.ask("lake", RPKI).len(), 2);
    bench.write("in/vrps.csv", OURS);
    service.hang_up();
    let ended = [
        "rpki_invalid,opened",
        "rpki_invalid,resolved",
        "rpki_roa_changed,opened",
        "rpki_roa_changed,resolved",
    ];
    service.until(RPKI, &ended);
    // Another connection counts from now on.
    let config = fs::read_to_string(bench.path("in/reference.toml")).unwrap();
    let more = "\n[[connection]]\nname = \"later\"\nprefixes = [\"2001:db8:900::/48\"]\n";
    bench.write("in/reference.toml", format!("{config}{more}"));
    service.hang_up();
    service.until(connections, &["11"]);
    service.stop();
    // A restart with the same files says nothing new.
    let count = || fs::read_dir(bench.path("lake/_peerscope/reference")).unwrap().count();
    let contents = count();
    let service = Service::start(&bench);
    std::thread::sleep(Duration::from_secs(3));
    service.stop();
    assert_eq!(count(), contents);
    assert_eq!(bench.ask("lake", RPKI), ended);
}

/// A cache over a file, which it reads each second.
struct Cache(Child);

impl Drop for Cache {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait()); // it may have ended
    }
}

#[test]
fn a_service_follows_a_real_cache() {
    let stayrtr = Path::new("/usr/bin/stayrtr");
    if !stayrtr.exists() {
        let told = "needs: apt-get install -y stayrtr";
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{told}");
        eprintln!("skipped: {told}");
        return;
    }
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let rtr = format!("rtr = \"127.0.0.1:{port}\"\nrtr_retry_secs = 1\n");
    let bench = bench(&format!("{rtr}{SERVICE}"));
    let roas = |asn: u32| {
        let roa = |prefix: &str, asn: u32, length: u8| serde_json::json!({ "prefix": prefix, "asn": asn, "maxLength": length, "ta": "x" });
        let roas = [roa("10.0.0.0/24", 64_999, 24), roa("198.51.100.128/26", asn, 26)];
        let text = serde_json::json!({ "metadata": {}, "roas": roas });
        bench.write("vrps.json.new", text.to_string());
        fs::rename(bench.path("vrps.json.new"), bench.path("vrps.json")).unwrap();
    };
    roas(64_506);
    let mut command = Command::new(stayrtr);
    command.args(["-bind", &format!("127.0.0.1:{port}"), "-metrics.addr", "", "-refresh", "1"]);
    command.args(["-cache", bench.path("vrps.json").to_str().unwrap(), "-checktime=false"]);
    let _cache = Cache(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let service = Service::start(&bench);
    let began = Instant::now();
    let reference = bench.path("lake/_peerscope/reference");
    // Relationships, organisations, edges, and what the cache says.
    while fs::read_dir(&reference).unwrap().count() < 4 {
        assert!(began.elapsed() < PATIENCE, "the cache told nothing");
        std::thread::sleep(Duration::from_millis(200));
    }
    let held = "select count(*) > 3 from route_updates where prefix = '198.51.100.128/26'";
    service.until(held, &["true"]);
    roas(64_999);
    service.until(RPKI, &["rpki_invalid,opened", "rpki_roa_changed,opened"]);
    service.stop();
}
