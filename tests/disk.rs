//! A disk that is full for a while, under the log and under the lake: everybody waits, nothing is lost,
//! nothing is told twice. The disk is a small tmpfs in a mount namespace of its own.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use support::{Bench, stderr, stdout};

/// Longer than anything may need.
const PATIENCE: Duration = Duration::from_secs(60);
const ROUTES: &str = "select event_time, source_offset, peer_asn, peer_ip, action, prefix, as_path_text, \
                      connection from route_updates \
                      order by event_time, peer_ip, prefix, action, as_path_text";
const LATENCY: &str = "select connection, prefix, source, window_start, samples, lost, rtt_p50_us, \
                       rtt_p95_us, jitter_us, exact from latency_final where samples > 0 \
                       order by connection, prefix, source, window_start";

/// Whether a small disk can be had.
fn mounter() -> Option<&'static str> {
    let may = |how: &str| {
        let done =
            Command::new("unshare").args([how, "mount", "-t", "tmpfs", "none", "/mnt"]).output();
        done.is_ok_and(|done| done.status.success())
    };
    let found = ["-m", "-rm"].into_iter().find(|how| may(how));
    assert!(
        found.is_some() || std::env::var_os("CI").is_none_or(|ci| ci != "true"),
        "unshare -m fails"
    );
    if found.is_none() {
        eprintln!("skipped: no mount namespaces here (unshare -rm); run the tests as root");
    }
    found
}

/// A service whose `small` folder is a disk of its own.
struct Service {
    child: Child,
    /// That folder, as it is seen from here.
    small: PathBuf,
    /// The lake, as the service sees it.
    lake: String,
    is_root: bool,
}

impl Service {
    fn start(bench: &Bench, how: &str, lake: &str) -> Self {
        fs::create_dir(bench.path("small")).unwrap();
        let told = fs::File::create(bench.path("told")).unwrap();
        let script = format!(
            "mount -t tmpfs -o size=48m none small && exec {} run --config in/run.toml --lake {lake}",
            env!("CARGO_BIN_EXE_peerscope")
        );
        let child = Command::new("unshare")
            .args([how, "sh", "-c", &script])
            .current_dir(bench.folder.path())
            .stdout(Stdio::null())
            .stderr(told)
            .spawn()
            .unwrap();
        let root = PathBuf::from(format!("/proc/{}/root", child.id()));
        let small = root.join(bench.path("small").strip_prefix("/").unwrap());
        let lake = bench.path(lake).display().to_string();
        Self { child, small, lake, is_root: how == "-m" }
    }

    fn fill(&self) {
        let ballast = vec![0; 1 << 16];
        let mut file = fs::File::create(self.small.join("ballast")).unwrap();
        while std::io::Write::write_all(&mut file, &ballast).is_ok() {}
    }

    fn make_room(&self) {
        fs::remove_file(self.small.join("ballast")).unwrap();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn until(bench: &Bench, what: &str, is_so: impl Fn() -> bool) {
    let since = Instant::now();
    while !is_so() {
        let told = fs::read_to_string(bench.path("told")).unwrap();
        assert!(since.elapsed() < PATIENCE, "{what}\n{told}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

impl Service {
    /// Runs the program where the service sees its disk.
    fn peer(&self, arguments: &[&str]) -> Output {
        let pid = self.child.id().to_string();
        let user: &[&str] = if self.is_root { &[] } else { &["-U", "--preserve-credentials"] };
        Command::new("nsenter")
            .args(["-t", &pid, "-m"])
            .args(user)
            .arg(env!("CARGO_BIN_EXE_peerscope"))
            .args(arguments)
            .output()
            .unwrap()
    }

    /// Rows of a query; none while there is no lake.
    fn rows(&self, sql: &str) -> Vec<String> {
        let done = self.peer(&["sql", "--lake", &self.lake, "--format", "csv", "-c", sql]);
        stdout(&done).lines().skip(1).map(str::to_owned).collect()
    }
}

/// Fills the disk between two files of the source; `log` and `lake` say what lies on it.
fn everybody_waits(log: &str, lake: &str, word: &str) {
    let Some(how) = mounter() else { return };
    let bench = Bench::with_demo_inputs();
    bench.expect(0, &["replay", "--config", "in/peerscope.toml", "in", "--lake", "replayed"]);
    let config = fs::read_to_string(bench.path("in/peerscope.toml")).unwrap();
    let settings = format!(
        "\n[log]\npath = \"{log}\"\nsegment_bytes = 65536\nbackfill_after_secs = 4000000000\n\
         [lake]\ncommit_secs = 1\nsnapshot_secs = 1\n\
         [source.archive]\nkind = \"folder\"\ncollector = \"archive\"\nfolder = \"../drop\"\n\
         settle_secs = 1\npoll_secs = 1\n"
    );
    bench.write("in/run.toml", format!("{config}{settings}"));
    fs::create_dir(bench.path("drop")).unwrap();
    for name in ["rib.mrt", "updates.mrt"] {
        fs::copy(bench.path(&format!("in/{name}")), bench.path(&format!("drop/{name}"))).unwrap();
    }
    let mut service = Service::start(&bench, how, lake);
    let (routes, latency) = (bench.ask("replayed", ROUTES), bench.ask("replayed", LATENCY));
    until(&bench, "routes", || service.rows(ROUTES).len() == routes.len());
    service.fill();
    fs::rename(bench.path("in/rtt.jsonl"), bench.path("drop/rtt.jsonl")).unwrap();
    let told = || fs::read_to_string(bench.path("told")).unwrap();
    until(&bench, word, || told().contains(word));
    std::thread::sleep(Duration::from_secs(3));
    service.make_room();
    until(&bench, "round trips", || service.rows(LATENCY).len() == latency.len());
    assert_eq!(service.rows(ROUTES), routes);
    assert_eq!(service.rows(LATENCY), latency);
    let verified = service.peer(&["lake", "verify", "--lake", &service.lake]);
    assert!(verified.status.success(), "{}{}", stdout(&verified), stderr(&verified));
    let pid = service.child.id().to_string();
    assert!(Command::new("kill").arg(pid).status().unwrap().success());
    assert_eq!(service.child.wait().unwrap().code(), Some(0), "{}", told());
}

#[test]
fn sources_wait_for_a_log_that_has_no_room() {
    everybody_waits("small/log", "lake", "log not written, sources wait");
}

#[test]
fn folds_wait_for_a_lake_that_has_no_room() {
    everybody_waits("log", "small/lake", "lake not written, folds wait");
}
