//! `peerscope sql`: statements in, rows out, over the lake's tables, views and functions.
//!
//! Statements come from `-c`, `-f`, standard input or the [`shell`]; rows go to standard output in
//! the form that [`crate::print`] gives them; progress and errors go to standard error.

mod shell;

use std::io::{self, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use analytics::sql::{Lake, LakeRoot, Options, is_overtaken};
use anyhow::{Context, Result, bail};
use arrow::array::RecordBatch;
use datafusion::common::DataFusionError;
use datafusion::dataframe::DataFrame;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::sql::parser::Statement;
use futures::StreamExt;
use indicatif::{ProgressBar, ProgressStyle};

use super::table::ASKED_MAX;
pub use crate::print::Format;
use crate::print::{Output, Printer, Rows};

/// DataFusion's shell over the lake: tables, views and functions registered
#[derive(Debug, clap::Args)]
pub struct Sql {
    /// See the rows of this tenant only, and query only
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,

    /// Run these statements and exit; may be given again
    #[arg(short = 'c', long = "command", value_name = "SQL")]
    commands: Vec<String>,

    /// Run the statements of this file and exit, after those of -c; may be given again
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Form of the rows
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,

    /// Rows of a table shown at most; default 40 in the shell, else all
    #[arg(long, value_name = "COUNT")]
    maxrows: Option<usize>,
}

impl Sql {
    /// Runs the statements given, or the shell.
    ///
    /// # Errors
    /// A lake that cannot be opened, a file that cannot be read, the first statement that fails.
    pub async fn run(self, root: &LakeRoot) -> Result<()> {
        super::table::look_at(root)?;
        let options = Options { tenant: self.tenant, ..Options::default() };
        let lake = Lake::open(root, options).await?;
        let mut texts = self.commands;
        for file in &self.files {
            let text = std::fs::read_to_string(file);
            texts.push(text.with_context(|| format!("cannot read {}", file.display()))?);
        }
        let mut output = Output::stdout();
        let mut printer = Printer { format: self.format, rows_max: self.maxrows, expanded: false };
        if texts.is_empty() && io::stdin().is_terminal() {
            printer.rows_max = Some(self.maxrows.unwrap_or(40));
            return shell::run(&lake, printer, &mut output).await;
        }
        if texts.is_empty() {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
            texts.push(text);
        }
        for text in &texts {
            if run_text(&lake, text, &printer, &mut output).await?.cut_off {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Prints the rows of one statement that a command asks for.
///
/// # Errors
/// What DataFusion or stdout says.
pub(super) async fn print_rows(lake: &Lake, sql: &str, format: Format) -> Result<()> {
    let printer = Printer { format, rows_max: None, expanded: false };
    run_text(lake, sql, &printer, &mut Output::stdout()).await?;
    Ok(())
}

/// Prints rows that a command made itself, in the form that is asked for.
///
/// # Errors
/// What stdout says.
pub(super) fn print_batch(batch: &RecordBatch, format: Format) -> Result<()> {
    let printer = Printer { format, rows_max: None, expanded: false };
    let mut output = Output::stdout();
    let mut rows = printer.start(batch.schema(), output.clone())?;
    rows.write(batch)?;
    rows.finish()?;
    Ok(output.flush()?)
}

/// What came of a text.
#[derive(Clone, Copy, Default)]
struct Done {
    rows: u64,
    /// Whether rows were left out because a table shows only so many.
    limited: bool,
    /// Whether the reader of our output has gone.
    cut_off: bool,
}

/// Runs all statements of a text; none if one of them does not parse.
async fn run_text(lake: &Lake, text: &str, printer: &Printer, output: &mut Output) -> Result<Done> {
    let mut done = Done::default();
    for statement in lake.parse(text).map_err(plain)? {
        done = run_statement(lake, statement, printer, output).await?;
        if done.cut_off {
            break;
        }
    }
    Ok(done)
}

/// Runs one statement; again if a compaction took its files away before a row of it was out.
async fn run_statement(
    lake: &Lake,
    statement: Statement,
    printer: &Printer,
    output: &mut Output,
) -> Result<Done> {
    let mut asked = 1;
    loop {
        let planned = lake.plan(statement.clone()).await;
        let error = match planned {
            Ok(frame) => match run_frame(frame, printer, output).await? {
                Ok(done) => return Ok(done),
                Err(error) => error,
            },
            Err(error) => error,
        };
        if !is_overtaken(&error) {
            return Err(plain(error));
        }
        asked += 1;
        if asked > ASKED_MAX {
            return Err(plain(error).context("files are compacted away as fast as they are listed"));
        }
    }
}

/// DataFusion's error said once: its sources repeat it.
fn plain(error: DataFusionError) -> anyhow::Error {
    anyhow::Error::msg(error.strip_backtrace())
}

/// What DataFusion says before a row is out: then the query may be asked again.
type Asked = std::result::Result<Done, DataFusionError>;

/// Runs one plan: rows go out as they come, Ctrl-C stops it.
async fn run_frame(frame: DataFrame, printer: &Printer, output: &mut Output) -> Result<Asked> {
    let context = std::sync::Arc::new(frame.task_ctx());
    let plan = match frame.create_physical_plan().await {
        Ok(plan) => plan,
        Err(error) => return Ok(Err(error)),
    };
    // Started with the first rows: some forms have a head.
    let mut rows: Option<Rows> = None;
    let start = || printer.start(plan.schema(), output.clone());
    let mut stream = execute_stream(std::sync::Arc::clone(&plan), context)?;
    let progress = Progress::new();
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    let mut done = Done::default();
    let interrupt = tokio::signal::ctrl_c();
    tokio::pin!(interrupt);
    loop {
        tokio::select! {
            biased;
            signal = &mut interrupt => {
                signal.context("cannot listen for Ctrl-C")?;
                bail!("cancelled");
            }
            _ = ticks.tick() => progress.show(&plan),
            batch = stream.next() => {
                let Some(batch) = batch else { break };
                let batch = match batch {
                    Ok(batch) => batch,
                    // A table is printed when it is whole.
                    Err(error) if rows.is_none() || printer.format == Format::Table => {
                        return Ok(Err(error));
                    }
                    Err(error) if is_overtaken(&error) => {
                        let told = "files were compacted away while they were read, ask again";
                        return Err(plain(error).context(told));
                    }
                    Err(error) => return Err(plain(error)),
                };
                done.rows += batch.num_rows() as u64;
                let rows = match &mut rows {
                    Some(rows) => rows,
                    none => none.insert(start()?),
                };
                done.limited = !progress.suspend(|| rows.write(&batch))?;
                done.cut_off = output.is_cut_off();
                if done.limited || done.cut_off {
                    break;
                }
            }
        }
    }
    let mut rows = match rows {
        Some(rows) => rows,
        None => start()?,
    };
    progress.suspend(|| rows.finish())?;
    output.flush()?;
    done.cut_off = output.is_cut_off();
    Ok(Ok(done))
}

/// A line on a terminal with rows read and seconds, once a query has taken one.
struct Progress {
    started: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    fn new() -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} {msg}");
            let bar = ProgressBar::hidden();
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar
        });
        Self { started: Instant::now(), bar }
    }

    fn show(&self, plan: &std::sync::Arc<dyn ExecutionPlan>) {
        let seconds = self.started.elapsed().as_secs_f64();
        if let Some(bar) = self.bar.as_ref().filter(|_| seconds >= 1.0) {
            if bar.is_hidden() {
                bar.set_draw_target(indicatif::ProgressDrawTarget::stderr());
            }
            bar.set_message(format!("{} rows read, {seconds:.1} s", rows_read(plan.as_ref())));
            bar.tick();
        }
    }

    /// Writes with the line out of the way.
    fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Rows that came out of the plan's leaves so far.
fn rows_read(plan: &dyn ExecutionPlan) -> usize {
    let children = plan.children();
    if children.is_empty() {
        return plan.metrics().and_then(|metrics| metrics.output_rows()).unwrap_or(0);
    }
    children.into_iter().map(|child| rows_read(child.as_ref())).sum()
}
