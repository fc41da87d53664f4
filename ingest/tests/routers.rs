//! Real routers, FRR and GoBGP, in network namespaces: their BMP through the listener, whole, and
//! with the oddities that a session has to live with.
//!
//! The listener runs where the router is: this program starts itself there (`listener`), and writes
//! each stream to a file.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
#![allow(unreachable_pub, reason = "the lab is shared with other tests")]

#[path = "../../tests/support/lab.rs"]
mod lab;

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use ingest::source::bmp_listener::{BmpListener, BmpSource};
use ingest::source::live::{ARRIVALS_WAITING_MAX, Outbox, Word};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use lab::{Lab, PORT};

/// Where the listener writes what it hears, in the environment of its process.
const HEARD: &str = "PEERSCOPE_TEST_HEARD";
const PATIENCE: Duration = Duration::from_secs(90);

const ROUTE_MONITORING: u8 = 0;
const STATISTICS: u8 = 1;
const PEER_DOWN: u8 = 2;
const PEER_UP: u8 = 3;
const INITIATION: u8 = 4;

/// `198.51.100.0/24` and the like as they stand in an UPDATE.
const NLRI_V4: &[u8] = &[24, 198, 51, 100];
const NLRI_V4_STAYS: &[u8] = &[24, 192, 0, 2];
const NLRI_V6: &[u8] = &[48, 0x20, 0x01, 0x0d, 0xb8, 0, 0x0a];
/// `MULTI_EXIT_DISC` of 42 and of 99.
const MED_42: &[u8] = &[0x80, 4, 4, 0, 0, 0, 42];
const MED_99: &[u8] = &[0x80, 4, 4, 0, 0, 0, 99];

/// The other half: the listener, in the router's namespace, until it is killed.
#[tokio::test]
async fn listener() {
    let Some(folder) = std::env::var_os(HEARD).map(PathBuf::from) else { return };
    let config = BmpListener { listen: ([127, 0, 0, 1], PORT).into(), ..Default::default() };
    let source = BmpSource::bind(config, 0).unwrap();
    let (sender, mut arrivals) = mpsc::channel(ARRIVALS_WAITING_MAX);
    let (_stop, stops) = watch::channel(false);
    let mut tasks = JoinSet::new();
    tasks.spawn(source.run(Outbox::new(0, sender), stops));
    while let Some(arrival) = arrivals.recv().await {
        let append = |end: &str, bytes: &[u8]| {
            let path = folder.join(format!("{}.{end}", arrival.stream));
            let file = OpenOptions::new().create(true).append(true).open(path);
            file.unwrap().write_all(bytes).unwrap();
        };
        match arrival.word {
            Word::Opened { remote } => append("opened", remote.as_bytes()),
            Word::Bytes(bytes) => append("bmp", &bytes),
            Word::Closed { reason, .. } => append("closed", reason.as_bytes()),
            Word::Begins { .. }
            | Word::Message { .. }
            | Word::Messages(_)
            | Word::Samples { .. }
            | Word::CaughtUp => {
                panic!("no word of a listener")
            }
        }
    }
}

/// Two routers, and a listener where r1 is.
struct Bench {
    listener: Option<Child>,
    lab: Lab,
    folder: tempfile::TempDir,
}

impl Bench {
    fn of(kind: &str, test: char) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let lab = Lab::start(kind, test, folder.path())?;
        fs::create_dir(folder.path().join("heard")).unwrap();
        Some(Self { listener: None, lab, folder })
    }

    fn heard(&self) -> PathBuf {
        self.folder.path().join("heard")
    }

    fn listen(&mut self) {
        let program = std::env::current_exe().unwrap();
        let mut command = self.lab.command(program.to_str().unwrap(), &["--exact", "listener"]);
        self.listener = Some(command.env(HEARD, self.heard()).spawn().unwrap());
    }

    fn end(&mut self) {
        if let Some(mut listener) = self.listener.take() {
            listener.kill().unwrap();
            listener.wait().unwrap();
        }
    }

    /// All that was heard: the streams in order, each cut into whole messages.
    fn streams(&self) -> BTreeMap<u64, Stream> {
        let mut streams = BTreeMap::<u64, Stream>::new();
        for entry in fs::read_dir(self.heard()).unwrap() {
            let path = entry.unwrap().path();
            let number = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
            let bytes = fs::read(&path).unwrap();
            let stream = streams.entry(number).or_default();
            match path.extension().unwrap().to_str().unwrap() {
                "bmp" => (stream.messages, stream.rest) = messages(&bytes),
                "closed" => stream.closed = Some(String::from_utf8(bytes).unwrap()),
                _ => assert_eq!(bytes, b"127.0.0.1"),
            }
        }
        streams
    }

    /// Waits until this holds for the newest stream.
    fn until(&self, what: &str, holds: impl Fn(&Stream) -> bool) -> Stream {
        let began = Instant::now();
        loop {
            let newest = self.streams().into_values().next_back().unwrap_or_default();
            if holds(&newest) {
                return newest;
            }
            assert!(began.elapsed() < PATIENCE, "{what}: {:#?}", newest.messages);
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.end();
    }
}

/// One session of the router.
#[derive(Default)]
struct Stream {
    messages: Vec<Message>,
    rest: usize,
    closed: Option<String>,
}

impl Stream {
    fn of(&self, kind: u8) -> impl Iterator<Item = &Message> {
        self.messages.iter().filter(move |message| message.kind == kind)
    }

    fn count(&self, kind: u8) -> usize {
        self.of(kind).count()
    }

    /// Messages of routes that hold all of this.
    fn routes(&self, parts: &[&[u8]]) -> Vec<&Message> {
        let holds = |message: &&Message| {
            parts.iter().all(|part| message.body.windows(part.len()).any(|w| w == *part))
        };
        self.of(ROUTE_MONITORING).filter(holds).collect()
    }

    fn place(&self, is_it: impl Fn(&Message) -> bool) -> usize {
        self.messages.iter().position(is_it).unwrap()
    }
}

/// A message, as far as this test looks into it.
#[derive(Debug)]
struct Message {
    kind: u8,
    peer_type: u8,
    flags: u8,
    bgp_id: [u8; 4],
    seconds: u32,
    /// What follows the per-peer header.
    body: Vec<u8>,
}

impl Message {
    fn is_post_policy(&self) -> bool {
        self.flags & 0x40 != 0
    }

    /// The length of the withdrawn routes, and whether there are no attributes.
    fn is_withdrawal_v4(&self) -> bool {
        self.kind == ROUTE_MONITORING && self.body[19..21] != [0, 0] && self.body.ends_with(&[0, 0])
    }

    /// `MP_UNREACH_NLRI` without `MP_REACH_NLRI`.
    fn is_withdrawal_v6(&self) -> bool {
        let first = self.body.get(23..25);
        self.kind == ROUTE_MONITORING && matches!(first, Some([0x80 | 0x90, 15]))
    }
}

/// Cuts a stream into messages (RFC 7854 §4.1); says how many bytes are left over.
fn messages(mut bytes: &[u8]) -> (Vec<Message>, usize) {
    let mut messages = Vec::new();
    while let [3, a, b, c, d, kind, ..] = *bytes {
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let Some((message, rest)) = bytes.split_at_checked(length) else { break };
        bytes = rest;
        let has_peer = kind != INITIATION;
        let peer = if has_peer { &message[6..48] } else { &[0; 42] };
        messages.push(Message {
            kind,
            peer_type: peer[0],
            flags: peer[1],
            bgp_id: peer[30..34].try_into().unwrap(),
            seconds: u32::from_be_bytes(peer[34..38].try_into().unwrap()),
            body: if has_peer { message[48..].to_vec() } else { message[6..].to_vec() },
        });
    }
    (messages, bytes.len())
}

/// What both kinds of router are put through. What the last session told is the answer.
fn scenario(bench: &mut Bench) -> Stream {
    // The listener is there first, so that the router's first words are heard.
    bench.listen();
    bench.lab.tell(&["established"]);
    bench.until("both peers are up", |heard| heard.count(PEER_UP) >= 2);

    bench.lab.tell(&["announce", "192.0.2.0/24", "198.51.100.0/24", "2001:db8:a::/48"]);
    bench.until("announcements, before and after policy, IPv4 and IPv6", |heard| {
        [NLRI_V4, NLRI_V4_STAYS, NLRI_V6].iter().all(|nlri| {
            let routes = heard.routes(&[nlri, MED_42]);
            routes.iter().any(|m| m.is_post_policy()) && routes.iter().any(|m| !m.is_post_policy())
        })
    });
    bench.lab.tell(&["change", "99"]);
    bench.until("a change of attributes", |heard| {
        !heard.routes(&[NLRI_V4_STAYS, MED_99]).is_empty()
            && !heard.routes(&[NLRI_V6, MED_99]).is_empty()
    });
    bench.lab.tell(&["withdraw", "198.51.100.0/24", "2001:db8:a::/48"]);
    bench.until("withdrawals, IPv4 and IPv6", |heard| {
        let v4 = heard.routes(&[NLRI_V4]).iter().any(|m| m.is_withdrawal_v4());
        v4 && heard.routes(&[NLRI_V6]).iter().any(|m| m.is_withdrawal_v6())
    });
    let downs = bench.until("", |_| true).count(PEER_DOWN);
    bench.lab.tell(&["reset"]);
    bench.until("a reset session is a peer down", |heard| heard.count(PEER_DOWN) > downs);
    bench.lab.tell(&["established"]);
    let ups = bench.until("and comes up again", |heard| heard.count(PEER_UP) >= 3).count(PEER_UP);
    let downs = bench.until("", |_| true).count(PEER_DOWN);
    bench.lab.tell(&["kill", "r2"]);
    bench.until("both sessions with a dead neighbour go down", |heard| {
        heard.count(PEER_DOWN) >= downs + 2 && heard.count(PEER_UP) == ups
    });
    bench.lab.tell(&["kill", "r1"]);
    let last = bench.until("the router died", |heard| heard.closed.is_some());
    // It went without a Termination message; the kernel closed its socket, or reset it.
    let closed = last.closed.as_deref().unwrap();
    let words = ["the router closed the session", "Connection reset by peer"];
    assert!(words.iter().any(|word| closed.contains(word)), "{closed}");
    assert_eq!(last.rest, 0, "every byte is of a whole message");
    assert_eq!(last.messages[0].kind, INITIATION);
    last
}

#[test]
fn frr_is_heard_from_its_first_word_to_its_death() {
    let Some(mut bench) = Bench::of("frr", 'a') else { return };
    let heard = scenario(&mut bench);

    // Peer Down before any Peer Up, of a neighbour that was never up: BGP id 0.0.0.0.
    let never_up = |message: &Message| message.kind == PEER_DOWN && message.bgp_id == [0; 4];
    if heard.messages.iter().any(never_up) {
        assert!(heard.place(never_up) < heard.place(|message| message.kind == PEER_UP));
    }
    // One route a message, every one told before and after policy.
    assert!(heard.routes(&[NLRI_V4, NLRI_V4_STAYS]).is_empty());
    let times = |is_post: bool| {
        let routes = heard.routes(&[NLRI_V4_STAYS, MED_99]);
        let times = routes.iter().filter(|m| m.is_post_policy() == is_post).map(|m| m.seconds);
        times.min().unwrap()
    };
    // Before policy a changed route keeps the time of its first announcement.
    assert!(times(false) < times(true), "{} {}", times(false), times(true));
    assert!(heard.count(STATISTICS) > 0);
    assert!(heard.of(ROUTE_MONITORING).all(|message| message.peer_type == 0), "no Loc-RIB");
    let reasons: Vec<u8> = heard.of(PEER_DOWN).map(|message| message.body[0]).collect();
    assert!(reasons.iter().all(|reason| (1..=5).contains(reason)), "{reasons:?}");
}

#[test]
fn gobgp_is_heard_from_its_first_word_to_its_death() {
    let Some(mut bench) = Bench::of("gobgp", 'b') else { return };
    let heard = scenario(&mut bench);

    // Loc-RIB routes (peer type 3, address 0.0.0.0) without a Peer Up of their own.
    assert!(heard.of(ROUTE_MONITORING).any(|message| message.peer_type == 3));
    assert!(heard.of(PEER_UP).all(|message| message.peer_type == 0));
    // MP_REACH_NLRI is the first attribute.
    let first = |message: &&Message| message.body.get(23..25).is_some_and(|head| head[1] == 14);
    assert!(heard.routes(&[NLRI_V6, MED_42]).iter().any(first));
    // Withdrawals of a dead peer come before its Peer Down.
    let down = heard.place(|message| message.kind == PEER_DOWN);
    let withdrawn = heard.routes(&[NLRI_V4_STAYS]);
    let withdrawn = withdrawn.iter().find(|m| m.is_withdrawal_v4()).unwrap();
    assert!(heard.place(|message| std::ptr::eq(message, *withdrawn)) < down);
}

#[test]
fn a_router_that_was_hung_up_on_comes_again_and_tells_its_table() {
    let Some(mut bench) = Bench::of("frr", 'c') else { return };
    bench.listen();
    bench.lab.tell(&["established"]);
    bench.lab.tell(&["announce", "192.0.2.0/24"]);
    bench.until("the route", |heard| !heard.routes(&[NLRI_V4_STAYS]).is_empty());
    bench.end();
    fs::remove_dir_all(bench.heard()).unwrap();
    fs::create_dir(bench.heard()).unwrap();
    bench.listen();
    bench.until("the same route, from a new session", |heard| {
        heard.messages.first().is_some_and(|first| first.kind == INITIATION)
            && heard.count(PEER_UP) >= 2
            && !heard.routes(&[NLRI_V4_STAYS, MED_42]).is_empty()
    });
}
