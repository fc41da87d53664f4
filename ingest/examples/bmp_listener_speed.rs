//! How fast the BMP listener and its session are, over loopback: messages a CPU second of this
//! process, and the time from a router's clock to the event. Senders are processes of their own.
//!
//! ```text
//! cargo run --release -p ingest --example bmp_listener_speed
//! ```

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, clippy::panic)]

use std::collections::HashMap;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use ingest::encode::bmp::{Peer, initiation, route_monitoring};
use ingest::session::bmp::{BmpOptions, BmpSession};
use ingest::session::{RouteSink, UpdateView};
use ingest::source::bmp_listener::{BmpListener, BmpSource};
use ingest::source::live::{ARRIVALS_WAITING_MAX, Outbox, Word, wall_clock};
use schemas::bgp::Asn;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

const SENDERS: u64 = 4;
/// Messages of each sender, at full speed and at a steady pace.
const FLOOD: u64 = 500_000;
const PACED: u64 = 5_000;
/// Messages a second of each sender at the steady pace.
const PACE: u64 = 500;

/// An UPDATE of one IPv4 prefix with the attributes that are usual: 71 bytes.
fn update(number: u64) -> Vec<u8> {
    let attributes: &[u8] = &[
        0x40, 1, 1, 0, // ORIGIN
        0x40, 2, 14, 2, 3, 0, 0, 0xfb, 0xf4, 0, 0, 0xfb, 0xf5, 0, 0, 0xfb, 0xf6, // AS_PATH
        0x40, 3, 4, 192, 0, 2, 1, // NEXT_HOP
        0xc0, 8, 4, 0xfb, 0xf4, 0, 1, // COMMUNITIES
    ];
    let [.., b, c] = number.to_be_bytes();
    let nlri = [24, 10, b, c];
    let length = 23 + attributes.len() + nlri.len();
    let mut bytes = vec![0xff; 16];
    bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
    bytes.extend([2, 0, 0]);
    bytes.extend(u16::try_from(attributes.len()).unwrap().to_be_bytes());
    bytes.extend(attributes);
    bytes.extend(nlri);
    bytes
}

fn send(to: SocketAddr, messages: u64, is_paced: bool) {
    let mut socket = TcpStream::connect(to).unwrap();
    socket.set_nodelay(true).unwrap();
    let mut bytes = Vec::new();
    initiation(&mut bytes, "speed", "speed");
    let began = Instant::now();
    for number in 0..messages {
        let peer = Peer::global([192, 0, 2, 1].into(), Asn(64500), wall_clock());
        route_monitoring(&mut bytes, &peer, &update(number));
        if is_paced || bytes.len() > 32_000 {
            socket.write_all(&bytes).unwrap();
            bytes.clear();
        }
        if is_paced {
            let due = Duration::from_micros((number + 1) * 1_000_000 / PACE);
            std::thread::sleep(due.saturating_sub(began.elapsed()));
        }
    }
    socket.write_all(&bytes).unwrap();
}

/// Counts prefixes and keeps how old each message was.
#[derive(Default)]
struct Sink {
    prefixes: u64,
    ages_us: Vec<i64>,
}

impl RouteSink for Sink {
    fn update(&mut self, update: &UpdateView<'_>) {
        update.for_each_prefix(|_, _, _| self.prefixes += 1);
        let age = update.router_time.map(|sent| wall_clock().0 - sent.0);
        self.ages_us.extend(age);
    }
}

/// User and system time of this process so far, in seconds, as the kernel counts it (in 1/100 s).
fn cpu_secs() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |field: usize| fields[field].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / 100.0
}

async fn measure(messages: u64, is_paced: bool) {
    let config = BmpListener { listen: ([127, 0, 0, 1], 0).into(), ..Default::default() };
    let source = BmpSource::bind(config, 0).unwrap();
    let program = std::env::current_exe().unwrap();
    let arguments = [source.address().to_string(), messages.to_string(), is_paced.to_string()];
    let (sender, mut arrivals) = mpsc::channel(ARRIVALS_WAITING_MAX);
    let (_stop, stops) = watch::channel(false);
    let mut tasks = JoinSet::new();
    tasks.spawn(source.run(Outbox::new(0, sender), stops));
    let before = (cpu_secs(), Instant::now());
    let mut senders: Vec<Child> =
        (0..SENDERS).map(|_| Command::new(&program).args(&arguments).spawn().unwrap()).collect();
    let mut sessions = HashMap::new();
    let (mut sink, mut ended) = (Sink::default(), 0);
    while ended < SENDERS {
        let arrival = arrivals.recv().await.unwrap();
        match arrival.word {
            Word::Opened { remote } => {
                let session = BmpSession::new("speed".into(), &remote, BmpOptions::default());
                sessions.insert(arrival.stream, session);
            }
            Word::Bytes(bytes) => {
                let session = sessions.get_mut(&arrival.stream).unwrap();
                session.feed(&bytes, wall_clock(), &mut sink).unwrap();
            }
            Word::Closed { .. } => ended += 1,
            Word::Begins { .. }
            | Word::Message { .. }
            | Word::Messages(_)
            | Word::Samples { .. }
            | Word::CaughtUp => {
                panic!("no word of a listener")
            }
        }
    }
    let (cpu, wall) = (cpu_secs() - before.0, before.1.elapsed().as_secs_f64());
    senders.iter_mut().for_each(|sender| assert!(sender.wait().unwrap().success()));
    let all = SENDERS * messages;
    assert_eq!(sink.prefixes, all, "the same answer first");
    sink.ages_us.sort_unstable();
    let rank = |q: f64| sink.ages_us[((sink.ages_us.len() - 1) as f64 * q) as usize];
    let kind = if is_paced { "paced" } else { "flood" };
    println!(
        "{kind}: {SENDERS} senders, {all} messages, {wall:.2} s, {cpu:.2} CPU s, {:.0} messages/CPU s, \
         router to event p50 {} us, p99 {} us, max {} us",
        all as f64 / cpu,
        rank(0.5),
        rank(0.99),
        rank(1.0),
    );
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [to, messages, is_paced] = arguments.as_slice() {
        send(to.parse().unwrap(), messages.parse().unwrap(), is_paced.parse().unwrap());
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        measure(FLOOD, false).await;
        measure(PACED, true).await;
    });
}
