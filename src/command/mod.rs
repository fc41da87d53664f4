//! The command line: one file for each subcommand. Results go to stdout, everything else to stderr.

pub mod backtest;
mod chart;
pub mod check;
pub mod completions;
mod cost;
pub mod decode;
pub mod demo;
pub mod describe;
pub mod findings;
pub mod http;
pub mod lake;
pub mod latency;
pub mod replay;
pub mod report;
pub mod rib;
pub mod run;
mod span;
pub mod sql;
mod story;
mod table;
pub mod tap;
pub mod whatif;
pub mod why;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use analytics::fold::FoldError;
use analytics::lake::{LakeError, LakeRoot};
use clap::{Parser, Subcommand};
use schemas::log::LogError;

use crate::config::{Config, ConfigError, DEFAULT_FILE, LakeConfig};
use crate::replay::ReplayError;
use crate::run::RunError;
use crate::telemetry::{self, Color, LogFormat};

/// What did that route change cost, and who did it?
#[derive(Debug, Parser)]
#[command(name = "peerscope", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,

    #[command(flatten)]
    global: Global,
}

/// Options of every subcommand.
#[derive(Clone, Debug, clap::Args)]
pub struct Global {
    /// Configuration, else ./peerscope.toml
    #[arg(long, global = true, env = "PEERSCOPE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Lake, else the configuration's
    #[arg(long, global = true, value_name = "URL")]
    pub lake: Option<String>,

    /// Say more on stderr, twice for debugging
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,

    /// How log lines look
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub log_format: LogFormat,

    /// When stderr is coloured
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub color: Color,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// One hour in a small synthetic Internet, through the whole pipeline
    Demo(demo::Demo),
    /// Archives of routes and round-trip times into a lake
    Replay(replay::Replay),
    /// The service: live sources into the log and the lake
    Run(run::Run),
    /// Any supported file to elements
    Decode(decode::Decode),
    /// DataFusion's SQL over the lake
    Sql(sql::Sql),
    /// What the detectors found
    Findings(findings::Findings),
    /// Percentiles of round-trip times, and lines over time on a terminal
    Latency(latency::Latency),
    /// A month of one connection as Markdown and HTML, with plots
    Report(report::Report),
    /// How good the detectors are: archives and labels in, figures out
    Backtest(backtest::Backtest),
    /// Findings that a new configuration would add, drop or change
    Whatif(whatif::Whatif),
    /// What enters the log of a running service, as it comes
    Tap(tap::Tap),
    /// Everything that happened around a moment, on one timeline
    Why(why::Why),
    /// The routes held for a prefix, now or then, by peer
    Rib(rib::Rib),
    /// Keep a lake in order: verify, compact, export, purge
    Lake(lake::LakeCommand),
    /// What the HTTP listener needs
    Http(http::Http),
    /// Validate configuration and reference data
    Check(check::Check),
    /// Tables, configuration, rules and DDL as text
    Describe(describe::Describe),
    /// Completions for a shell
    Completions(completions::Completions),
    /// The manual page
    Man,
}

/// How a command ended without failing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All was done.
    Well,
    /// Some of the input was damaged, the rest was done.
    Damaged,
    /// Something was found, and `--exit-code` asks to say so.
    Found,
}

/// Exit codes of the contract.
mod exit {
    pub(super) const FAILED: u8 = 1;
    pub(super) const FOUND: u8 = 3;
    pub(super) const DAMAGED: u8 = 65;
    pub(super) const DOWN: u8 = 69;
    pub(super) const BUG: u8 = 70;
    pub(super) const CONFIG: u8 = 78;
}

impl Global {
    /// The configuration that is named or found.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn load(&self) -> Result<Config, ConfigError> {
        Config::load(self.config.as_deref())
    }

    /// The lake: `--lake`, else the configuration's if there is one, else `./lake`. How an object
    /// store is reached stands in the configuration; a folder that is named needs none.
    ///
    /// # Errors
    /// [`ConfigError`] for a configuration that is there and wrong, [`LakeError::Place`] for a URL
    /// that names no place.
    pub fn lake(&self) -> anyhow::Result<LakeRoot> {
        let named = self.lake.as_deref().map(LakeRoot::parse).transpose();
        match named.map_err(LakeError::from)? {
            Some(root) if root.folder().is_some() => Ok(root),
            _ => Ok(self.lake_settings()?.1),
        }
    }

    /// `[lake]` of the configuration if there is one, else its defaults, with the lake.
    ///
    /// # Errors
    /// As [`Self::lake`].
    pub fn lake_settings(&self) -> anyhow::Result<(LakeConfig, LakeRoot)> {
        let is_configured = self.config.is_some() || Path::new(DEFAULT_FILE).exists();
        let config = if is_configured { self.load()?.lake } else { LakeConfig::default() };
        let root = config.root(self.lake.as_deref()).map_err(LakeError::from)?;
        Ok((config, root))
    }
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    telemetry::start(cli.global.verbose, cli.global.log_format, cli.global.color);
    if let Err(problem) = crate::killer::arm() {
        eprintln!("peerscope: {problem}");
        return ExitCode::from(exit::CONFIG);
    }
    let run = move || run(cli);
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
        Ok(Ok(Ended::Well)) => ExitCode::SUCCESS,
        Ok(Ok(Ended::Damaged)) => ExitCode::from(exit::DAMAGED),
        Ok(Ok(Ended::Found)) => ExitCode::from(exit::FOUND),
        Ok(Err(error)) => failed(&error),
        Err(_) => {
            eprintln!("peerscope: this is a bug, please report it with what stands above");
            ExitCode::from(exit::BUG)
        }
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    if is_broken_pipe(error) {
        return ExitCode::SUCCESS;
    }
    eprintln!("peerscope: {error:#}");
    ExitCode::from(code_of(error))
}

/// What an error means to whoever started us.
fn code_of(error: &anyhow::Error) -> u8 {
    let lake = lake_of(error);
    let log = log_of(error);
    let is_config = error.is::<ConfigError>()
        || error.is::<crate::reference::FileError>()
        || matches!(
            error.downcast_ref(),
            Some(
                RunError::NoSource
                    | RunError::NoListener
                    | RunError::NeedsKafka
                    | RunError::Instance(_)
                    | RunError::Source { .. }
                    | RunError::Http(_)
            )
        )
        || matches!(prepared(error), Some(ReplayError::Reference(_)))
        || lake.is_some_and(LakeError::is_configuration)
        || log.is_some_and(LogError::is_configuration);
    if is_config {
        exit::CONFIG
    } else if lake.is_some_and(LakeError::is_down) || log.is_some_and(LogError::is_down) {
        exit::DOWN
    } else if matches!(error.downcast_ref(), Some(RunError::Panic { .. })) {
        exit::BUG
    } else if matches!(error.downcast_ref(), Some(ReplayError::NoInput)) {
        exit::DAMAGED
    } else {
        exit::FAILED
    }
}

/// What a replay, or what a run does before it begins, ended with.
fn prepared(error: &anyhow::Error) -> Option<&ReplayError> {
    match error.downcast_ref() {
        Some(RunError::Prepare(error)) => Some(error),
        _ => error.downcast_ref(),
    }
}

/// What a fold ended with.
fn folded(error: &anyhow::Error) -> Option<&FoldError> {
    match (error.downcast_ref(), prepared(error)) {
        (Some(RunError::Fold(error)), _) | (_, Some(ReplayError::Fold(error))) => Some(error),
        _ => None,
    }
}

/// What the lake said, however deep it lies: an error that shows another one hides what that is.
fn lake_of(error: &anyhow::Error) -> Option<&LakeError> {
    match (prepared(error), folded(error)) {
        (Some(ReplayError::Lake(error)), _) | (_, Some(FoldError::Lake(error))) => Some(error),
        _ => error.chain().find_map(|cause| cause.downcast_ref()),
    }
}

/// What the log said, the same.
fn log_of(error: &anyhow::Error) -> Option<&LogError> {
    match (error.downcast_ref(), prepared(error), folded(error)) {
        (Some(RunError::Log(error)), _, _)
        | (_, Some(ReplayError::Log(error)), _)
        | (_, _, Some(FoldError::Log(error))) => Some(error),
        _ => error.chain().find_map(|cause| cause.downcast_ref()),
    }
}

/// The reader of our output went away (`peerscope ... | head`): nobody is there to be told.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}

fn run(cli: Cli) -> anyhow::Result<Ended> {
    let global = cli.global;
    match cli.command {
        Command::Demo(demo) => demo.run(&global),
        Command::Replay(replay) => replay.run(&global),
        Command::Run(run) => run.run(&global),
        Command::Decode(decode) => decode.run(),
        Command::Sql(sql) => {
            let root = global.lake()?;
            let runtime = runtime()?;
            let done = runtime.block_on(sql.run(&root));
            // A cancelled query may still sit in an operator that never yields.
            runtime.shutdown_background();
            done.map(|()| Ended::Well)
        }
        Command::Findings(findings) => findings.run(&global),
        Command::Latency(latency) => latency.run(&global),
        Command::Report(report) => report.run(&global),
        Command::Backtest(backtest) => backtest.run(&global),
        Command::Whatif(whatif) => whatif.run(&global),
        Command::Tap(tap) => tap.run(&global),
        Command::Why(why) => why.run(&global),
        Command::Rib(rib) => rib.run(&global),
        Command::Lake(lake) => lake.run(&global),
        Command::Http(http) => http.run(),
        Command::Check(check) => check.run(&global),
        Command::Describe(describe) => describe.run(),
        Command::Completions(completions) => completions.run(),
        Command::Man => completions::man(),
    }
}

/// Stacks of the threads that plan queries, which look at a tree level by level; what is not used of it
/// costs nothing.
const STACK_BYTES: usize = 64 << 20;

/// The runtime of commands that read a lake.
///
/// # Errors
/// What the system says of starting threads.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().thread_stack_size(STACK_BYTES).enable_all().build()
}
