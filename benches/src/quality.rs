//! The quality of the detectors: many trials of the simulator, each judged by its labels.
//!
//! No speed is measured, so that a development build gives the same figures. Trials are dealt out to
//! all cores; what is added up does not depend on who ran which.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use analytics::detect::DetectOptions;
use peerscope::quality::days::Days;
use peerscope::quality::figures::{BARS, Figures};
use peerscope::quality::judge::judge;
use peerscope::quality::{self, QualityError};
use peerscope::simulator::trial::facts::{MISSING_PERMILLE, WRONG_PERMILLE};
use peerscope::simulator::trial::kinds;

use crate::contest::BenchError;
use crate::job::Programs;
use crate::machine::{Machine, today};
use crate::report;

/// Prefixes of one quiet day; a thousand are some such days.
const QUIET_PREFIXES: u32 = 250;

/// Trials of every kind of incident, judged
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Quality {
    /// How many trials
    #[arg(long, default_value_t = 1_000, value_name = "COUNT")]
    seeds: u64,

    /// The first seed
    #[arg(long, default_value_t = 0, value_name = "SEED")]
    first: u64,

    /// Incidents of this kind only
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,

    /// As if this term of the score did not exist
    #[arg(long, value_name = "TERM")]
    without: Vec<String>,

    /// Quiet days of so many thousand prefixes beside them; alone without trials
    #[arg(long, default_value_t = 0, value_name = "THOUSANDS")]
    quiet: u64,

    /// Print everything that is said, not the figures
    #[arg(long)]
    trace: bool,

    /// Keep the figures in benches/runs
    #[arg(long)]
    keep: bool,
}

/// Runs the trials; prints the figures and may keep them.
pub(crate) fn run(options: &Quality, date: Option<&str>) -> Result<(), BenchError> {
    if let Some(kind) = options.kind.as_deref().filter(|kind| kinds::find(kind).is_none()) {
        let known: Vec<&str> = kinds::KINDS.iter().map(|kind| kind.name).collect();
        let why = format!("no kind is called {kind}; there are {}", known.join(", "));
        return Err(std::io::Error::other(why).into());
    }
    if options.trace {
        return trace(options);
    }
    let detect = detect(options);
    let (mut figures, mut days) = (Figures::default(), Days::default());
    let judged = |seed| {
        let mut figures = Figures::default();
        judge(&quality::run(seed, options.kind.as_deref(), &detect)?, &mut figures);
        Ok(figures)
    };
    deal_out(options.first, options.seeds, judged, |part| figures.add(part))
        .map_err(std::io::Error::other)?;
    let parts = options.quiet * (1_000 / u64::from(QUIET_PREFIXES));
    let day = |seed| Days::of(seed, QUIET_PREFIXES, &detect);
    deal_out(options.first, parts, day, |part| days.add(part)).map_err(std::io::Error::other)?;
    let text = text(options, &figures, &days);
    print!("{text}");
    if options.keep {
        keep(&text, date)?;
    }
    Ok(())
}

/// The tables that were asked for.
fn text(options: &Quality, figures: &Figures, days: &Days) -> String {
    let mut text = String::new();
    if options.seeds > 0 {
        text.push_str("## Incidents\n\n");
        text.push_str(&figures.table());
    }
    if options.quiet > 0 {
        text.push_str("\n## Quiet days\n\n");
        text.push_str(&days.table());
    }
    if !options.without.is_empty() {
        let _ = writeln!(text, "\nWithout the terms {}.", options.without.join(", "));
    }
    text
}

fn detect(options: &Quality) -> DetectOptions {
    DetectOptions { without_terms: options.without.clone(), ..DetectOptions::default() }
}

/// Runs seeds on all cores and adds up what comes of them.
fn deal_out<T: Send>(
    first: u64,
    seeds: u64,
    run: impl Fn(u64) -> Result<T, QualityError> + Sync,
    mut add: impl FnMut(T),
) -> Result<(), QualityError> {
    let next = AtomicU64::new(first);
    let work = || -> Result<Vec<T>, QualityError> {
        let mut parts = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + seeds {
                return Ok(parts);
            }
            parts.push(run(seed)?);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            let parts = worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            parts?.into_iter().for_each(&mut add);
        }
        Ok(())
    })
}

/// What was staged and what was said, line by line.
fn trace(options: &Quality) -> Result<(), BenchError> {
    if options.quiet > 0 {
        let told = Days::told(options.first, QUIET_PREFIXES, &detect(options));
        let (_, transitions) = told.map_err(std::io::Error::other)?;
        transitions.iter().for_each(|row| println!("{}", line(row)));
        return Ok(());
    }
    for seed in options.first..options.first + options.seeds {
        let verdicts = quality::run(seed, options.kind.as_deref(), &detect(options))
            .map_err(std::io::Error::other)?;
        for plot in verdicts.plots.iter().filter(|plot| plot.kind.is_some()) {
            println!(
                "seed {seed} {} from {} culprit {:?} visible {}",
                plot.connection, plot.window.start, plot.culprit, plot.is_visible
            );
            for act in &plot.draft.acts {
                for (secs, told) in act.told.iter().take(2) {
                    println!("  {secs:>4} s {} {:?}", act.prefix, told.sources);
                }
            }
            let about = |row: &&schemas::finding::Transition| plot.ground.holds(row.finding.prefix);
            for row in verdicts.transitions.iter().filter(about) {
                println!("{}", line(row));
            }
        }
    }
    Ok(())
}

fn line(row: &schemas::finding::Transition) -> String {
    let finding = &row.finding;
    let prefix = finding.prefix.map_or_else(|| "-".to_owned(), |prefix| prefix.to_string());
    let mut text = format!(
        "    {} {} {} {:.1} {} by {:?}, {} witnesses: {}\n       ",
        row.time,
        row.phase.as_str(),
        finding.rule.as_str(),
        finding.score,
        prefix,
        finding.culprit,
        finding.witnesses,
        finding.explanation
    );
    for term in &row.terms {
        let _ = write!(text, " {} {:+.1}", term.name.as_str(), term.weight);
    }
    for witness in row.witnesses.iter().take(4) {
        let _ = write!(text, "\n        path {}", witness.path_after);
    }
    text
}

fn keep(tables: &str, date: Option<&str>) -> Result<(), BenchError> {
    let machine = Machine::this(&Programs::find()?);
    let date = date.map_or_else(today, str::to_owned);
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let text = format!(
        "# Quality of the detectors, {date}\n\n\
         `peerscope-benches {}`. The operator's file of relationships is a year old, {:.0} % of its links are \
         missing and {:.0} % wrong; at most 60 vantage points. Asked for are a recall of {:.0} % and the right \
         culprit in {:.0} %. How to read it: [benchmarks](../../README.md#quality).\n\n{tables}",
        arguments.join(" "),
        f64::from(MISSING_PERMILLE) / 10.0,
        f64::from(WRONG_PERMILLE) / 10.0,
        BARS.0,
        BARS.1,
    );
    let path = report::keep(&date, &machine, "quality.md", &text)?;
    eprintln!("kept in {}", path.display());
    Ok(())
}
