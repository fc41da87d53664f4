//! Roles over a real Kafka: processes that come, go and are killed, and the rows of a replay.
//! `PEERSCOPE_KILLS` says how many kills; the default is for every run of the tests.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing
)]

mod support;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use support::slices::Slices;
use support::{Bench, assert_same_rows, stderr, stdout};

const KILLS: u32 = 8;
/// How long a process that is to die at a point lives at most.
const LIFE: Duration = Duration::from_millis(6_000);
/// Longer than it takes until somebody else has the shares of a process that was killed.
const QUIET: Duration = Duration::from_secs(8);
/// Tables that an undisturbed fold of the same log makes again.
const TABLES: [&str; 8] = [
    "route_updates",
    "latency",
    "latency_5m",
    "findings",
    "evidence",
    "sessions",
    "visibility",
    "connections",
];
/// Longer than anything may need.
const PATIENCE: Duration = Duration::from_secs(150);
const ROUTES: &str = "select event_time, source, source_offset, collector, peer_asn, peer_ip, action, \
                      prefix, path_id, as_path_text, next_hop, communities, disposition, connection \
                      from route_updates \
                      order by source, source_offset, peer_ip, prefix, action, as_path_text";
/// Without the route in force: a running service knows what its log held when the window closed.
const LATENCY: &str = "select * exclude (date, route_epoch, route_role, as_hops, ingress_edge, revision, \
                       baseline_p50_us, baseline_p95_us) \
                       from latency_final where samples > 0 \
                       order by connection, prefix, source, window_start";

/// Brokers that were started by this process.
static STARTED: AtomicU32 = AtomicU32::new(0);

/// A broker: the one in `KAFKA_DIR` if it is up, else one of our own.
struct Broker {
    folder: PathBuf,
    port: u16,
    own: Option<tempfile::TempDir>,
}

impl Broker {
    fn any() -> Option<Self> {
        let folder = std::env::var_os("KAFKA_DIR").map(PathBuf::from);
        if let Some(folder) = folder.filter(|folder| folder.join("env").exists()) {
            let port = std::env::var("KAFKA_PORT").map_or(19_092, |port| port.parse().unwrap());
            return Some(Self { folder, port, own: None });
        }
        for tool in ["java", "mvn", "openssl"] {
            let probe = if tool == "java" { "-version" } else { "version" };
            let probe = if tool == "mvn" { "-version" } else { probe };
            let is_there =
                Command::new(tool).arg(probe).output().is_ok_and(|done| done.status.success());
            let is_ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
            assert!(is_there || !is_ci, "{tool} is missing, run: .ci/setup test");
            if !is_there {
                eprintln!("skipped: {tool} is missing, run: .ci/setup test");
                return None;
            }
        }
        let own = tempfile::tempdir().unwrap();
        let number = std::process::id() * 2 + STARTED.fetch_add(1, Ordering::Relaxed);
        let port = 30_000 + u16::try_from(number % 200).unwrap() * 10;
        let broker = Self { folder: own.path().to_owned(), port, own: Some(own) };
        broker.script(&["up", "1"], "");
        Some(broker)
    }

    /// Runs the script that starts brokers, with something to read.
    fn script(&self, arguments: &[&str], input: &str) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kafka/kafka");
        let mut child = Command::new(script)
            .args(arguments)
            .env("KAFKA_DIR", &self.folder)
            .env("KAFKA_PORT", self.port.to_string())
            .env("KAFKA_HEAP", "256m")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let done = child.wait_with_output().unwrap();
        assert!(done.status.success(), "{arguments:?} {}", stderr(&done));
    }

    fn tool(&self, class: &str, arguments: &[&str], input: &str) {
        let address = format!("127.0.0.1:{}", self.port);
        let to = ["tool", class, "--bootstrap-server", address.as_str()];
        self.script(&[&to, arguments].concat(), input);
    }

    /// `[kafka]` of a log of its own, for processes of one group.
    fn config(&self, name: &str, group: &str) -> String {
        let (name, group) =
            (format!("{name}-{}", std::process::id()), format!("{group}-{}", std::process::id()));
        format!(
            "\n[kafka]\nbrokers = [\"127.0.0.1:{}\"]\nevents_topic = \"{name}.events\"\n\
             summaries_topic = \"{name}.summaries\"\nsources_topic = \"{name}.sources\"\n\
             control_topic = \"{name}.control\"\nprefix = \"{group}\"\npartitions = 4\n\
             source_partitions = 4\nsession_timeout_secs = 6\ntransaction_timeout_secs = 10\n\
             \n[lake]\ncommit_secs = 1\nsnapshot_secs = 3\n",
            self.port
        )
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if self.own.is_some() {
            self.script(&["down"], "");
        }
    }
}

/// What a process is: its role and name, whose groups it joins, and the lake that it writes.
#[derive(Clone, Copy)]
struct Place {
    role: &'static str,
    instance: &'static str,
    config: &'static str,
    lake: &'static str,
}

impl Place {
    const fn of(role: &'static str, instance: &'static str) -> Self {
        Self { role, instance, config: "in/run.toml", lake: "lake" }
    }
}

/// A process of the service; killed when it is dropped.
struct Process<'b> {
    bench: &'b Bench,
    place: Place,
    child: Child,
}

impl<'b> Process<'b> {
    fn start(bench: &'b Bench, role: &'static str, instance: &'static str) -> Self {
        Self::start_at(bench, Place::of(role, instance))
    }

    fn start_at(bench: &'b Bench, place: Place) -> Self {
        Self { bench, place, child: Self::spawn(bench, place, &[], None) }
    }

    /// `kill_at` is where it is to die by itself.
    fn spawn(bench: &Bench, place: Place, more: &[&str], kill_at: Option<&str>) -> Child {
        let Place { role, instance, config, lake } = place;
        let log = bench.path(&format!("{instance}.log"));
        let log = fs::File::options().create(true).append(true).open(log).unwrap();
        let run = ["run", "--config", config, "--lake", lake, "--role", role];
        let arguments = [&run, ["--instance", instance].as_slice(), more].concat();
        let mut command = bench.command(&arguments);
        if let Some(kill_at) = kill_at {
            command.env("PEERSCOPE_KILL_AT", kill_at);
            command.env("PEERSCOPE_KILL_LOG", bench.path("kills"));
        }
        command.stdout(Stdio::null()).stderr(log).spawn().unwrap()
    }

    fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Kills it and starts it again.
    fn restart(&mut self) {
        self.kill();
        self.child = Self::spawn(self.bench, self.place, &[], None);
    }

    /// Starts it once more, to die at a point.
    fn restart_to_die(&mut self, kill_at: &str) {
        self.kill();
        self.child = Self::spawn(self.bench, self.place, &[], Some(kill_at));
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    /// SIGTERM; it must end well, and in time.
    fn stop(&mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").arg(pid).status().unwrap().success());
        self.end(Duration::from_secs(40));
    }

    /// Waits until it ends; it must end well, and in time.
    fn end(&mut self, patience: Duration) {
        let since = Instant::now();
        let log = || {
            fs::read_to_string(self.bench.path(&format!("{}.log", self.place.instance))).unwrap()
        };
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(since.elapsed() < patience, "{}\n{}", self.place.instance, log());
            std::thread::sleep(Duration::from_millis(20));
        };
        assert_eq!(status.code(), Some(0), "{}\n{}", self.place.instance, log());
    }
}

impl Drop for Process<'_> {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits until a query answers this; what it says meanwhile may be an error, while there is no lake.
fn until(bench: &Bench, lake: &str, sql: &str, wanted: &str) {
    let since = Instant::now();
    loop {
        let done = bench.run(&["sql", "--lake", lake, "--format", "csv", "-c", sql]);
        let told = stdout(&done);
        if told.lines().nth(1) == Some(wanted) {
            return;
        }
        let logs = || {
            let logs = support::files(bench.folder.path()).into_iter();
            let logs = logs.filter(|(name, _)| name.ends_with(".log"));
            let text = |(name, bytes): (String, Vec<u8>)| {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let tail: Vec<&str> = text.lines().rev().take(15).collect();
                format!("--- {name}\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"))
            };
            logs.map(text).collect::<Vec<_>>().join("\n")
        };
        let told = format!("{sql}: {told} {}, not {wanted}\n{}", stderr(&done), logs());
        assert!(since.elapsed() < PATIENCE, "{told}");
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Where a role dies, and how often it comes there before: at most so often.
const POINTS: [(&str, &[(&str, u32)]); 3] = [
    ("ingest", &[("log_append", 9)]),
    (
        "analyze",
        &[
            ("buffer", 12),
            ("encode", 9),
            ("put", 12),
            ("put:half", 9),
            ("footer_read", 8),
            ("snapshot", 4),
            ("summary", 9),
            ("offset_publish", 9),
        ],
    ),
    ("correlate", &[("log_append", 12), ("findings_commit", 3), ("put:half", 3)]),
];

/// Kills a process that ingests and another one, again and again, each at a point of its role; who does not
/// come to it in time is killed where it is. There is something new to read each time.
fn kill_over_and_over(slices: &Slices, processes: &mut [Process<'_>], kills: u32) {
    let (ingest, others) = processes.split_last_mut().unwrap();
    let count = u32::try_from(others.len()).unwrap();
    for kill in 0..kills {
        slices.give(1 + slices.names.len() * (kill as usize + 1) / (kills as usize + 1));
        ingest.restart_to_die(&point_of(ingest.place.role, kill));
        let victim = &mut others[(kill % count) as usize];
        victim.restart_to_die(&point_of(victim.place.role, kill / count));
        // A lake that is not there yet cannot be compacted.
        let compaction = (kill > kills / 2).then(|| slices.compact(kill as usize));
        let since = Instant::now();
        while victim.is_running() && since.elapsed() < LIFE {
            std::thread::sleep(Duration::from_millis(10));
        }
        victim.restart();
        ingest.restart();
        compaction.into_iter().for_each(|child| slices.compacted(child));
    }
}

/// Where a process is to die in a round.
fn point_of(role: &str, round: u32) -> String {
    let (_, points) = POINTS.iter().find(|(other, _)| *other == role).unwrap();
    let (point, most) = points[round as usize % points.len()];
    let (point, half) = point.split_once(':').map_or((point, ""), |(point, _)| (point, ":half"));
    format!("{point}:{}{half}", 1 + round * 7 % most)
}

/// Two groups fold the same log into one lake, so that every partition has two writers, and what is over is
/// compacted meanwhile.
#[test]
fn roles_that_are_killed_tell_what_a_replay_tells_each_record_once() {
    let Some(broker) = Broker::any() else { return };
    let kills = support::kills(KILLS);
    let groups = [("run", "killed"), ("rival", "rival"), ("again", "again")];
    let settings = groups.map(|(file, group)| {
        let log = "[log]\nbackfill_after_secs = 4000000000\n";
        (file, format!("{log}{}", broker.config("killed", group)))
    });
    let slices = Slices::for_files(kills as usize, &settings);
    let bench = &slices.bench;
    slices.give(1);
    bench.expect(0, &["replay", "--config", "in/peerscope.toml", "parts", "--lake", "replayed"]);
    let [routes, latency, ledger] =
        [ROUTES, LATENCY, support::LEDGER].map(|sql| bench.rows("replayed", sql));
    assert!(routes.len() > 100 && latency.len() > 100, "there is something to compare");

    let rival = Place { config: "in/rival.toml", ..Place::of("analyze", "r1") };
    let mut processes = vec![
        Process::start(bench, "correlate", "c1"),
        Process::start(bench, "analyze", "a1"),
        Process::start(bench, "analyze", "a2"),
        Process::start_at(bench, rival),
        Process::start(bench, "ingest", "i1"),
    ];
    std::thread::sleep(Duration::from_secs(3));
    kill_over_and_over(&slices, &mut processes, kills);
    slices.give(slices.names.len());
    let mut ingest = processes.pop().unwrap();
    ingest.kill();
    let child = Process::spawn(bench, ingest.place, &["--until-done"], None);
    Process { bench, place: ingest.place, child }.end(PATIENCE);
    let count = |sql: &str| format!("select count(*) as n from ({sql})");
    until(bench, "lake", &count(ROUTES), &routes.len().to_string());
    until(bench, "lake", &count(LATENCY), &latency.len().to_string());
    let points = fs::read_to_string(bench.path("kills")).unwrap_or_default();
    let mut counts = std::collections::BTreeMap::<&str, u32>::new();
    points.lines().for_each(|point| *counts.entry(point).or_default() += 1);
    let at_point: u32 = counts.values().sum();
    println!("{} kills, {at_point} of them at a point: {counts:?}", 2 * kills);
    assert!(at_point > 0, "none at a point");
    is_as_undisturbed(bench, &mut processes);
    for (sql, wanted) in [(ROUTES, routes), (LATENCY, latency), (support::LEDGER, ledger)] {
        assert_same_rows(&bench.rows("lake", sql), &wanted, "a replay");
    }
    bench.expect(0, &["lake", "verify", "--lake", "lake"]);
}

/// The same log and summaries once more, into a lake of their own, with nobody in the way. Both are folded
/// until they tell the same: who was killed may be behind, as may be who started last.
fn is_as_undisturbed(bench: &Bench, processes: &mut [Process<'_>]) {
    let again = |role, instance| Place {
        config: "in/again.toml",
        lake: "undisturbed",
        ..Place::of(role, instance)
    };
    let correlate = Process::start_at(bench, again("correlate", "c9"));
    // It keeps the contents of the reference data in its lake, for others to read what the log names.
    let kept = |lake: &str| {
        fs::read_dir(bench.path(lake).join("_peerscope/reference")).map_or(0, Iterator::count)
    };
    let since = Instant::now();
    while kept("undisturbed") < kept("lake") {
        assert!(since.elapsed() < PATIENCE, "reference data are not kept");
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut undisturbed = [correlate, Process::start_at(bench, again("analyze", "a9"))];
    let all = |lake: &str, name: &str| {
        let mut all = bench.rows(lake, &format!("select * exclude (date) from {name}"));
        all.sort();
        all
    };
    let since = Instant::now();
    let counts = |lake: &str| -> Vec<Vec<u8>> {
        let count = |name| format!("select count(*) as n from {name}");
        let count = |name| bench.run(&["sql", "--lake", lake, "-c", &count(name)]).stdout;
        TABLES.iter().map(count).collect()
    };
    let mut before = Vec::new();
    while since.elapsed() < PATIENCE {
        let (now, other) = (counts("lake"), counts("undisturbed"));
        if now == other && now == before {
            break;
        }
        before = now;
        std::thread::sleep(QUIET);
    }
    processes.iter_mut().rev().for_each(Process::stop);
    undisturbed.iter_mut().rev().for_each(Process::stop);
    for name in TABLES {
        assert_same_rows(&all("lake", name), &all("undisturbed", name), name);
    }
}

/// Samples of one second, one for each number, as lines.
fn samples(now: i64, numbers: std::ops::Range<u32>) -> String {
    let line = |number: u32| {
        let (host, rtt) = (1 + number % 200, 10_000 + number);
        let net = 1 + number % 40;
        format!(
            r#"{{"time":{now},"ip":"10.0.{net}.{host}","rtt_us":{rtt},"source":"probe-{}"}}"#,
            number % 7
        )
    };
    numbers.map(|number| line(number) + "\n").collect()
}

#[allow(clippy::disallowed_methods)]
fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// A topic of samples is read by two processes; from one to three to two others fold them, one of
/// which is told to stop while another one joins. Every sample counts once.
#[test]
fn processes_come_and_go_and_every_sample_counts_once() {
    let Some(broker) = Broker::any() else { return };
    let topic = format!("rtt-{}", std::process::id());
    broker.tool("TopicCommand", &["--create", "--topic", &topic, "--partitions", "6"], "");
    let bench = Bench::empty();
    fs::create_dir(bench.path("in")).unwrap();
    let mut config = broker.config("scaled", "scaled");
    config.push_str("[latency]\nlateness_secs = 5\n");
    let port = broker.port;
    config.push_str(&format!(
        "[source.rtt]\nkind = \"kafka\"\nformat = \"rtt\"\nstart = \"earliest\"\n\
         brokers = [\"127.0.0.1:{port}\"]\ntopics = [\"{topic}\"]\ndiscover_secs = 1\n"
    ));
    for net in 1..=40 {
        config.push_str(&format!(
            "[[connection]]\nname = \"c{net}\"\nprefixes = [\"10.0.{net}.0/24\"]\n"
        ));
    }
    bench.write("in/run.toml", config);
    let mut steady = [
        Process::start(&bench, "correlate", "c1"),
        Process::start(&bench, "ingest", "i1"),
        Process::start(&bench, "ingest", "i2"),
        Process::start(&bench, "analyze", "a1"),
    ];
    let mut sent = 0;
    let mut send = |count: u32| {
        broker.tool("ConsoleProducer", &["--topic", &topic], &samples(now(), sent..sent + count));
        sent += count;
    };
    send(2_000);
    let mut second = Process::start(&bench, "analyze", "a2");
    send(2_000);
    let third = Process::start(&bench, "analyze", "a3");
    std::thread::sleep(Duration::from_millis(700));
    // In the middle of what the third one brought about.
    second.stop();
    send(2_000);
    let [_, first_ingest, ..] = &mut steady;
    first_ingest.restart();
    send(2_000);
    let total = "select sum(samples) as n from latency_final";
    until(&bench, "lake", total, "8000");
    drop(third);
    steady.iter_mut().rev().for_each(Process::stop);
    let each = bench.rows(
        "lake",
        "select sum(samples) as n, min(rtt_min_us) as a, \
                                     max(rtt_max_us) as z from latency_final",
    );
    assert_eq!(each, [r#"{"n":8000,"a":10000,"z":17999}"#]);
}

#[test]
fn a_role_without_kafka_and_an_instance_that_is_none_say_what_to_do() {
    let bench = Bench::empty();
    bench.write("c.toml", "[source.a]\nkind = \"bmp_listener\"\nlisten = \"127.0.0.1:0\"\n");
    let done = bench.expect(78, &["run", "--config", "c.toml", "--role", "ingest"]);
    assert!(stderr(&done).contains("set [kafka] brokers"), "{}", stderr(&done));
    bench.write(
        "k.toml",
        "[kafka]\nbrokers = [\"127.0.0.1:1\"]\n[http]\nlisten = \"127.0.0.1:0\"\n",
    );
    let done = bench.expect(78, &["run", "--config", "k.toml", "--instance", "a b"]);
    assert!(stderr(&done).contains("\"a b\" is no name"), "{}", stderr(&done));
}
