//! From a router's word to a row: how long after a route was sent a query finds it.
//!
//! A service with an embedded log and a BMP listener; a router that announces a prefix of its own in each
//! message; a client that asks again and again over HTTP how many there are. What is told is the
//! time from the moment before a message goes into the socket to the moment after the first answer
//! that counts it, so the client's own pauses are part of it.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ingest::encode::bgp::{Update, update};
use ingest::encode::bmp::{self, Peer};
use schemas::bgp::{AsPath, Asn, Origin, PathAttributes, Prefix};
use schemas::time::Timestamp;

use crate::contest::BenchError;
use crate::job::Programs;
use crate::machine::{Machine, today};
use crate::report::keep;

/// How long the last route is waited for behind the flush interval.
const PATIENCE: Duration = Duration::from_secs(60);
/// What is asked: they are all announced once.
const SQL: &str = "select count(*) as n from route_updates";

/// From a router's word to a row that a query finds
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Visible {
    /// Routes that are announced
    #[arg(long, default_value_t = 600, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    routes: u16,

    /// Milliseconds between them
    #[arg(long, default_value_t = 100, value_name = "MS")]
    every_ms: u64,

    /// `[lake] commit_secs`: the flush interval
    #[arg(long, default_value_t = 5, value_name = "SECS")]
    commit_secs: u64,

    /// Keep the figures in benches/runs
    #[arg(long)]
    keep: bool,
}

/// A service that is measured; it goes with this value.
struct Service {
    child: Child,
    router: String,
    http: String,
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Service {
    fn start(programs: &Programs, folder: &Path, commit_secs: u64) -> io::Result<Self> {
        let config = folder.join("peerscope.toml");
        fs::write(
            &config,
            format!(
                "[lake]\ncommit_secs = {commit_secs}\n[http]\nlisten = \"127.0.0.1:0\"\n\
                 requests_per_sec_max = 1000\n[source.routers]\nkind = \"bmp_listener\"\n\
                 listen = \"127.0.0.1:0\"\n[[connection]]\nname = \"c\"\nprefixes = [\"198.18.0.0/15\"]\n"
            ),
        )?;
        let mut command = Command::new(&programs.peerscope);
        command.current_dir(folder).args(["run", "--lake", "lake", "--config"]).arg(&config);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let errors = child.stderr.take().ok_or_else(|| io::Error::other("no stderr"))?;
        let mut service = Self { child, router: String::new(), http: String::new() };
        let mut lines = BufReader::new(errors).lines();
        while service.router.is_empty() || service.http.is_empty() {
            let line = lines.next().ok_or_else(|| io::Error::other("the service ended"))??;
            if let Some((_, address)) = line.split_once("peerscope: http: ") {
                address.clone_into(&mut service.http);
            } else if let Some((_, address)) = line.split_once("routers: ") {
                address.clone_into(&mut service.router);
            }
        }
        // What else it says is nobody's business, and must not fill the pipe.
        std::thread::Builder::new().spawn(move || lines.for_each(drop))?;
        Ok(service)
    }

    /// How many rows there are.
    fn count(&self) -> io::Result<usize> {
        let mut socket = TcpStream::connect(&self.http)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        write!(
            socket,
            "POST /v1/sql HTTP/1.1\r\nhost: x\r\nconnection: close\r\naccept: text/csv\r\n\
             content-length: {}\r\n\r\n{SQL}",
            SQL.len()
        )?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        // The head of the only column, and its only row.
        let row = answer.lines().skip_while(|line| *line != "n").nth(1);
        Ok(row.and_then(|row| row.parse().ok()).unwrap_or(0))
    }
}

/// The message that announces the route of a number.
fn message(number: u16, now: Timestamp) -> Vec<u8> {
    let [high, low] = number.to_be_bytes();
    let peer = Peer::global([192, 0, 2, 1].into(), Asn(64_500), now);
    let attributes = PathAttributes {
        origin: Some(Origin::Igp),
        as_path: AsPath::sequence([64_500, 64_510]),
        next_hop: Some([192, 0, 2, 1].into()),
        ..PathAttributes::default()
    };
    let announced: Vec<Prefix> = format!("198.18.{high}.{low}/32").parse().into_iter().collect();
    let mut bytes = Vec::new();
    bmp::route_monitoring(
        &mut bytes,
        &peer,
        &update(&Update { withdrawn: &[], announced: &announced, attributes: Some(&attributes) }),
    );
    bytes
}

/// Sends the routes and asks for them; how long each took, in the order of their lengths.
fn measure(options: &Visible, service: &Service) -> io::Result<Vec<Duration>> {
    let mut router = TcpStream::connect(&service.router)?;
    router.set_nodelay(true)?;
    let mut hello = Vec::new();
    bmp::initiation(&mut hello, "", "edge1");
    router.write_all(&hello)?;
    let (began, mut sent) = (Instant::now(), Vec::new());
    let mut took = Vec::new();
    let every = Duration::from_millis(options.every_ms);
    while took.len() < usize::from(options.routes) {
        while sent.len() < usize::from(options.routes)
            && began.elapsed() >= every * u32::try_from(sent.len()).unwrap_or(u32::MAX)
        {
            let number = u16::try_from(sent.len()).unwrap_or(u16::MAX);
            let bytes = message(number, ingest::source::live::wall_clock());
            sent.push(Instant::now());
            router.write_all(&bytes)?;
        }
        let count = service.count()?;
        let now = Instant::now();
        took.extend(sent.iter().take(count).skip(took.len()).map(|sent| now - *sent));
        if sent.last().is_some_and(|last| {
            last.elapsed() > PATIENCE + Duration::from_secs(options.commit_secs)
        }) {
            return Err(io::Error::other(format!("{count} of {} are visible", sent.len())));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    took.sort_unstable();
    Ok(took)
}

/// Measures, prints and may keep it.
pub(crate) fn run(options: &Visible, date: Option<&str>) -> Result<(), BenchError> {
    let programs = Programs::find()?;
    let folder = tempfile::tempdir()?;
    let service = Service::start(&programs, folder.path(), options.commit_secs)?;
    let took = measure(options, &service)?;
    drop(service);
    let at = |share: f64| {
        let rank = (took.len() as f64 * share).ceil() as usize;
        took.get(rank.saturating_sub(1)).copied().unwrap_or_default().as_secs_f64()
    };
    let machine = Machine::this(&programs);
    let date = date.map_or_else(today, str::to_owned);
    let mut text = format!("# From a router's word to a row, {date}, {}\n\n", machine.cpu);
    if cfg!(debug_assertions) {
        text.push_str("**A development build: these numbers mean nothing.**\n\n");
    }
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "{} routes, one in {} ms, `[lake] commit_secs = {}`; {}.\n\n\
         | p50 | p90 | p99 | longest |\n|--:|--:|--:|--:|\n| {:.2} s | {:.2} s | {:.2} s | {:.2} s |",
        options.routes,
        options.every_ms,
        options.commit_secs,
        machine.kernel,
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    );
    print!("{text}");
    if options.keep {
        let path = keep(&date, &machine, "visible.md", &text)?;
        eprintln!("kept in {}", path.display());
    }
    Ok(())
}
