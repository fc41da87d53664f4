//! The client of RTR against a real cache: StayRTR, started here on loopback over a file of VRPs. Missing,
//! it fails a run for merging and skips any other.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use ingest::source::rtr::{RtrCounts, RtrOptions, RtrSource, RtrWord, WORDS_WAITING_MAX};
use schemas::bgp::Asn;
use schemas::reference::Vrp;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);

/// A cache that runs, over a file that it reads each second.
struct Cache {
    process: Child,
    port: u16,
    folder: tempfile::TempDir,
    version: u8,
}

impl Cache {
    fn start(version: u8) -> Option<Self> {
        if !Path::new("/usr/bin/stayrtr").exists() {
            let told = "needs: apt-get install -y stayrtr";
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{told}");
            eprintln!("skipped: {told}");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        write(folder.path(), &[1, 2, 3]);
        let process = run(folder.path(), port, version);
        Some(Self { process, port, folder, version })
    }

    fn vrps(&self, numbers: &[u8]) {
        write(self.folder.path(), numbers);
    }

    /// Killed, and started anew: another session.
    fn restart(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.process = run(self.folder.path(), self.port, self.version);
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        let _ = self.process.kill().and_then(|()| self.process.wait()); // it may have ended
    }
}

fn run(folder: &Path, port: u16, version: u8) -> Child {
    let mut command = Command::new("/usr/bin/stayrtr");
    command.args(["-bind", &format!("127.0.0.1:{port}"), "-metrics.addr", ""]);
    command.args(["-cache", folder.join("vrps.json").to_str().unwrap(), "-checktime=false"]);
    command.args(["-protocol", &version.to_string(), "-refresh", "1", "-rtr.refresh", "3600"]);
    command.args(["-rtr.retry", "1", "-rtr.expire", "7200"]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// VRPs as rpki-client writes them.
fn write(folder: &Path, numbers: &[u8]) {
    let one = |n: &u8| serde_json::json!({ "asn": 64_510, "prefix": format!("10.0.{n}.0/24"), "maxLength": 25, "ta": "x" });
    let mut roas: Vec<_> = numbers.iter().map(one).collect();
    roas.push(serde_json::json!(
        { "asn": 64_511, "prefix": "2001:db8::/32", "maxLength": 48, "ta": "x" }
    ));
    let text =
        serde_json::json!({ "metadata": { "buildtime": "2026-03-04T10:00:00Z" }, "roas": roas });
    let beside = folder.join("vrps.json.new");
    std::fs::write(&beside, text.to_string()).unwrap();
    std::fs::rename(beside, folder.join("vrps.json")).unwrap();
}

fn wanted(numbers: &[u8]) -> Vec<Vrp> {
    let vrp = |prefix: String, asn: u32, max_length: u8| Vrp {
        prefix: prefix.parse().unwrap(),
        asn: Asn(asn),
        max_length,
        expires: None,
    };
    let mut all: Vec<Vrp> =
        numbers.iter().map(|n| vrp(format!("10.0.{n}.0/24"), 64_510, 25)).collect();
    all.push(vrp("2001:db8::/32".to_owned(), 64_511, 48));
    all.sort();
    all
}

struct Client {
    words: mpsc::Receiver<RtrWord>,
    counts: Arc<RtrCounts>,
    _stop: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

impl Client {
    fn of(cache: &Cache) -> Self {
        let (words, heard) = mpsc::channel(WORDS_WAITING_MAX);
        let (stop, stopping) = watch::channel(false);
        let address = format!("127.0.0.1:{}", cache.port);
        let source = RtrSource::new(
            RtrOptions { address, retry_secs: Some(1), ..RtrOptions::default() },
            words,
        );
        let counts = source.counts();
        let mut tasks = JoinSet::new();
        tasks.spawn(source.run(stopping));
        Self { words: heard, counts, _stop: stop, _tasks: tasks }
    }

    /// Waits until this set is told.
    async fn hears(&mut self, numbers: &[u8]) {
        let wanted = wanted(numbers);
        let heard = async {
            loop {
                match self.words.recv().await.unwrap() {
                    RtrWord::Vrps(mut vrps) => {
                        vrps.sort();
                        if vrps == wanted {
                            return;
                        }
                    }
                    RtrWord::Expired => panic!("nothing expires here"),
                }
            }
        };
        timeout(PATIENCE, heard).await.unwrap();
    }
}

/// The cache speaks each of its versions; ours is answered in the one that both know.
#[tokio::test]
async fn a_real_cache_tells_its_set_and_what_changes_in_every_version() {
    for version in [0, 1, 2] {
        let Some(cache) = Cache::start(version) else { return };
        let mut client = Client::of(&cache);
        client.hears(&[1, 2, 3]).await;
        cache.vrps(&[1, 3, 4]);
        client.hears(&[1, 3, 4]).await;
        cache.vrps(&[]);
        client.hears(&[]).await;
        assert!(client.counts.answers.get() >= 3, "version {version}");
        assert_eq!(client.counts.is_up.get(), 1);
    }
}

#[tokio::test]
async fn a_real_cache_that_was_killed_is_asked_anew() {
    let Some(mut cache) = Cache::start(1) else { return };
    let mut client = Client::of(&cache);
    client.hears(&[1, 2, 3]).await;
    cache.vrps(&[7]);
    cache.restart();
    client.hears(&[7]).await;
    assert!(client.counts.failed.get() >= 1);
}
