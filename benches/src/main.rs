//! Benchmarks against named peers: the same answer first, then the race.
//!
//! Every contestant is a whole process, peers and ourselves alike: what is measured is the CPU time
//! and the peak memory that the system counts for it. Nothing is asserted about time.
//!
//! - [`corpus`]: the inputs, by name, size and checksum, with the count that is the right answer.
//! - [`contest`]: a contestant is checked, then run; [`job`] is what it runs and what it answers.
//! - [`bgpkit`], [`feed`], [`rib`] (with [`hold`]), [`big`], [`live`], [`udaf`], [`windows`], [`world`]: what this
//!   binary does when it is started by itself.
//! - [`quality`]: no race, but what the detectors find of what the simulator stages.
//! - [`visible`]: how long after a router's word a query finds the row.
//! - [`streams`]: messages in Kafka to committed rows, beside a consumer that only counts.
//! - [`spark`]: the same questions to Spark and to us, over a large lake.
//! - [`stage`]: which contests there are. [`report`], [`machine`]: what is kept of them.

#![expect(clippy::print_stdout, reason = "its output is its report")]

mod bgpkit;
mod big;
mod contest;
mod corpus;
mod feed;
mod hold;
mod job;
mod live;
mod machine;
mod quality;
mod report;
mod rib;
mod spark;
mod stage;
mod streams;
mod udaf;
mod visible;
mod windows;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use contest::{BenchError, Section};
use job::Programs;
use machine::Machine;
use report::Report;

/// Benchmarks of peerscope; run it from the root of the project, built for release
#[derive(Debug, Parser)]
#[command(name = "peerscope-benches")]
struct Cli {
    #[command(subcommand)]
    command: Command,

    /// Day of the run, else today in UTC
    #[arg(long, global = true, value_name = "YYYY-MM-DD")]
    date: Option<String>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Everything, kept in benches/runs
    All,
    /// Archives to counted elements
    Decode,
    /// Archives to a lake
    Replay,
    /// JSON lines to committed latency rows
    Rtt,
    /// The big archive: in memory, compressed, to a lake
    Big,
    /// Messages of RIS Live to committed findings
    Live,
    /// The demo
    Demo,
    /// A full table into the routing state
    Rib,
    /// A million histograms into quantiles, by SQL
    Udaf,
    /// Spark and `peerscope sql` over a large lake
    Spark(spark::Spark),
    /// Messages in Kafka to committed rows
    Streams(streams::Streams),
    /// From a router's word to a row that a query finds
    Visible(visible::Visible),
    /// Trials of every kind of incident, judged
    Quality(quality::Quality),
    /// A contestant: a consumer of a topic that only counts
    #[command(hide = true)]
    Topic {
        /// Brokers
        brokers: String,
        /// The topic
        topic: String,
        /// Messages in it
        messages: u64,
    },
    /// A contestant: counts the elements of a file with bgpkit-parser
    #[command(hide = true)]
    Bgpkit {
        /// MRT, compressed or not
        file: PathBuf,
    },
    /// A contestant: reads an archive in memory
    #[command(hide = true)]
    Feed {
        /// How
        reader: feed::Reader,
        /// MRT, not compressed
        archive: PathBuf,
        /// Says a checksum instead of the time
        #[arg(long)]
        asks: bool,
    },
    /// Writes the big archive, plain and compressed
    #[command(hide = true)]
    Generate {
        /// Where it goes
        folder: PathBuf,
    },
    /// Writes a mix that `live` measures
    #[command(hide = true)]
    Messages {
        /// Which
        mix: live::Mix,
        /// Where they go
        folder: PathBuf,
    },
    /// Writes the histograms that `udaf` merges
    #[command(hide = true)]
    Histograms {
        /// Where they go
        folder: PathBuf,
    },
    /// Adds minutes of latency to a lake, for `spark`
    #[command(hide = true)]
    Windows {
        /// The lake
        folder: PathBuf,
        /// Rows at least
        rows: u64,
    },
    /// Writes the quiet world that `rtt` measures
    #[command(hide = true)]
    World {
        /// Where it goes
        folder: PathBuf,
    },
    /// A contestant: holds the full table for some peers and says what that took
    #[command(hide = true)]
    Hold {
        /// The table
        table: PathBuf,
        /// Peers
        peers: u32,
        /// Rows of the table
        rows_max: usize,
        /// With a path for each origin and peer
        #[arg(long)]
        paths: bool,
        /// Also answers questions
        #[arg(long)]
        asks: bool,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peerscope-benches: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<(), BenchError> {
    let name = match &cli.command {
        Command::Bgpkit { file } => {
            println!("{}", bgpkit::count(file)?);
            return Ok(());
        }
        Command::Hold { table, peers, rows_max, paths, asks } => {
            println!("{}", rib::run(table, *peers, *rows_max, *paths, *asks)?);
            return Ok(());
        }
        Command::Feed { reader, archive, asks } => {
            println!("{}", feed::run(*reader, archive, *asks)?);
            return Ok(());
        }
        Command::Generate { folder } => {
            return Ok(big::write(folder, &corpus::sources().map_err(std::io::Error::other)?)?);
        }
        Command::Messages { mix, folder } => return Ok(live::write(*mix, folder)?),
        Command::Histograms { folder } => return Ok(udaf::write(folder)?),
        Command::World { folder } => return Ok(world::write(folder)?),
        Command::Windows { folder, rows } => {
            println!("{}", windows::write(folder, *rows)?);
            return Ok(());
        }
        Command::Topic { brokers, topic, messages } => {
            println!("{}", streams::count_topic(brokers, topic, *messages)?);
            return Ok(());
        }
        Command::Streams(options) => return streams::run(options, cli.date.as_deref()),
        Command::Spark(options) => return spark::run(options, cli.date.as_deref()),
        Command::Visible(options) => return visible::run(options, cli.date.as_deref()),
        Command::Quality(options) => return quality::run(options, cli.date.as_deref()),
        Command::All => "all",
        Command::Decode => "decode",
        Command::Replay => "replay",
        Command::Rtt => "rtt",
        Command::Big => "big",
        Command::Live => "live",
        Command::Demo => "demo",
        Command::Rib => "rib",
        Command::Udaf => "udaf",
    };
    let programs = Programs::find()?;
    let load_before = machine::load_average();
    let sections = measure(&cli.command, &programs)?;
    let report = Report {
        command: match &cli.date {
            Some(date) => format!("{name} --date {date}"),
            None => name.to_owned(),
        },
        date: cli.date.unwrap_or_else(machine::today),
        machine: Machine::this(&programs),
        load: (load_before, machine::load_average()),
        sections,
    };
    let text = report.markdown();
    print!("{text}");
    if name != "all" || cfg!(debug_assertions) {
        eprintln!("not kept: only `all` of a release build is");
        return Ok(());
    }
    keep(&report, &text)
}

fn measure(command: &Command, programs: &Programs) -> Result<Vec<Section>, BenchError> {
    let is = |part: &Command| {
        let all = matches!(command, Command::All);
        all || std::mem::discriminant(part) == std::mem::discriminant(command)
    };
    let mut sections = Vec::new();
    let (decode, replay) = (is(&Command::Decode), is(&Command::Replay));
    if decode || replay {
        sections.extend(stage::archives(programs, decode, replay)?);
    }
    if is(&Command::Big) {
        sections.extend(stage::big(programs)?);
    }
    if is(&Command::Rtt) {
        sections.push(stage::rtt(programs)?);
    }
    if is(&Command::Live) {
        sections.extend(live::sections(programs)?);
    }
    if is(&Command::Demo) {
        sections.push(stage::demo(programs)?);
    }
    if is(&Command::Udaf) {
        sections.push(udaf::section(programs)?);
    }
    if is(&Command::Rib) {
        sections.extend(rib::sections(programs)?);
    }
    Ok(sections)
}

fn keep(report: &Report, text: &str) -> Result<(), BenchError> {
    let Report { date, machine, .. } = report;
    report::keep(date, machine, "README.md", text)?;
    let path = report::keep(date, machine, "raw.csv", &report.csv())?;
    eprintln!("kept in {}", path.with_file_name("").display());
    Ok(())
}
