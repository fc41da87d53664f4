//! Real routers into a lake: FRR and GoBGP tell the running service by BMP what they hear, and the
//! tables say so: announcements, a change, withdrawals, IPv4 and IPv6, a session reset, a neighbour
//! that dies, a router that dies.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::Bench;
use support::lab::{Lab, PORT};

const PATIENCE: Duration = Duration::from_secs(120);

/// What the routers are asked about, in words of SQL.
const V4: &str = "198.51.100.0/24";
const STAYS: &str = "192.0.2.0/24";
const V6: &str = "2001:db8:a::/48";

/// The service where r1 is, and its lake.
struct Service {
    bench: Bench,
    lab: Lab,
    process: Child,
}

impl Service {
    fn start(kind: &str, test: char) -> Option<Self> {
        let bench = Bench::empty();
        let lab = Lab::start(kind, test, bench.folder.path())?;
        bench.write(
            "peerscope.toml",
            format!(
                "[lake]\ncommit_secs = 1\n\
                 [[connection]]\nname = \"contoso\"\nprefixes = [\"{STAYS}\", \"{V4}\", \"{V6}\"]\n\
                 sessions = [{{ router = \"r1\", peer_ip = \"10.0.12.2\", role = \"primary\" }}]\n\
                 [source.edge]\nkind = \"bmp_listener\"\nlisten = \"127.0.0.1:{PORT}\"\n"
            ),
        );
        let program = env!("CARGO_BIN_EXE_peerscope");
        let process = lab
            .command(program, &["run", "--lake", "lake"])
            .current_dir(bench.folder.path())
            .env_remove("PEERSCOPE_CONFIG")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Some(Self { bench, lab, process })
    }

    /// A number out of the lake, 0 while there is no such table.
    fn ask(&self, sql: &str) -> u64 {
        let arguments = ["sql", "--lake", "lake", "--format", "csv", "-c", sql];
        let done = self.bench.run(&arguments);
        support::stdout(&done).lines().nth(1).and_then(|line| line.parse().ok()).unwrap_or(0)
    }

    fn routes(&self, which: &str) -> u64 {
        self.ask(&format!("select count(*) from route_updates where {which}"))
    }

    fn sessions(&self, which: &str) -> u64 {
        self.ask(&format!("select count(*) from sessions where {which}"))
    }

    /// Waits until the lake says so.
    fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !holds(self) {
            let told = ["route_updates", "sessions"].map(|table| {
                support::stdout(&self.bench.run(&[
                    "sql",
                    "--lake",
                    "lake",
                    "-c",
                    &format!("select * from {table}"),
                ]))
            });
            assert!(began.elapsed() < PATIENCE, "{what}:\n{}\n{}", told[0], told[1]);
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    /// The whole story; what remains is a drained lake.
    fn live(&mut self) {
        self.lab.tell(&["established"]);
        self.until("both peers are up", |s| s.sessions("state = 'up'") >= 2);

        self.lab.tell(&["announce", STAYS, V4, V6]);
        self.until("announced, before policy and after", |s| {
            let both = ["adj_rib_in_pre", "adj_rib_in_post"];
            [STAYS, V4, V6].iter().all(|prefix| {
                both.iter().all(|view| {
                    s.routes(&format!(
                        "prefix = '{prefix}' and rib_view = '{view}' and action = 'announce' and \
                         med = 42 and origin_asn = 64497 and as_path_text = '64510 64496 65551 64497'"
                    )) > 0
                })
            })
        });
        self.lab.tell(&["change", "99"]);
        self.until("changed", |s| {
            [STAYS, V6]
                .iter()
                .all(|prefix| s.routes(&format!("prefix = '{prefix}' and med = 99")) > 0)
        });
        self.lab.tell(&["withdraw", V4, V6]);
        self.until("withdrawn", |s| {
            let gone =
                |prefix| s.routes(&format!("prefix = '{prefix}' and action = 'withdraw'")) > 0;
            gone(V4) && gone(V6)
        });
        let down = "state = 'down' and peer_ip = '10.0.12.2'";
        let downs = self.sessions(down);
        self.lab.tell(&["reset"]);
        self.until("a reset is a peer down", |s| s.sessions(down) > downs);
        self.lab.tell(&["established"]);
        self.until("and up again", |s| s.sessions("state = 'up' and peer_ip = '10.0.12.2'") >= 2);

        let downs = self.sessions("state = 'down'");
        self.lab.tell(&["kill", "r2"]);
        self.until("a dead neighbour is two peers down", |s| {
            s.sessions("state = 'down'") >= downs + 2
        });

        self.lab.tell(&["kill", "r1"]);
        self.until("a dead router is a gap", |s| s.ask("select count(*) from feed_gaps") > 0);
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").arg(pid).status().unwrap().success());
        assert_eq!(self.process.wait().unwrap().code(), Some(0), "drained");
    }

    /// What holds of every row, whatever router it was.
    fn check(&self) {
        assert_eq!(self.routes("source <> 'edge' or collector <> 'edge' or router is null"), 0);
        assert_eq!(self.routes("received_time is null or router_time is null"), 0);
        assert_eq!(self.routes("disposition <> 'accepted'"), 0);
        assert_eq!(self.routes("connection is distinct from 'contoso'"), 0);
        let communities = "med = 42 and not (array_has(communities, '64510:1'))";
        assert_eq!(self.routes(communities), 0);
        // Nothing was refused: every message of a real router is understood.
        assert_eq!(self.ask("select sum(refused) from ledger"), 0);
        // An unknown withdrawal, and withdrawals of a lost session, are no incident.
        assert_eq!(self.ask("select count(*) from findings where kind in ('hijack', 'leak')"), 0);
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn frr_is_in_the_lake_from_its_first_word_to_its_death() {
    let Some(mut service) = Service::start("frr", 'd') else { return };
    service.live();
    service.check();
    assert_eq!(service.routes("rib_view not in ('adj_rib_in_pre', 'adj_rib_in_post')"), 0);
}

#[test]
fn gobgp_is_in_the_lake_from_its_first_word_to_its_death() {
    let Some(mut service) = Service::start("gobgp", 'e') else { return };
    service.live();
    service.check();
    // Loc-RIB routes come without a Peer Up of their own.
    assert!(service.routes("rib_view = 'loc_rib'") > 0);
}
