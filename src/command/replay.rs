//! `peerscope replay`: archives in, a lake out.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use analytics::fold::Committed;
use analytics::lake::{LakeError, LakeRoot};
use indicatif::{ProgressBar, ProgressStyle};

use super::{Ended, Global};
use crate::replay::{Outcome, Request, replay};

/// Shards at most.
const SHARDS_MAX: i64 = 1_024;
/// Problems told one by one.
const PROBLEMS_TOLD_MAX: usize = 20;

/// Archives of routes and round-trip times through the whole pipeline, as fast as they come
#[derive(Debug, clap::Args)]
pub struct Replay {
    /// Files or folders: MRT, RTT as JSON lines or CSV; recognised by content, compressed or not
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Number of shards; the rows are the same for any. 1 unless told, or that of the lake with --append
    #[arg(long, value_name = "COUNT",
          value_parser = clap::value_parser!(u32).range(1..=SHARDS_MAX))]
    shards: Option<u32>,

    /// Add to a lake of other replays: goes on from the end of the last one. Inputs that the lake has
    /// are passed over
    #[arg(long)]
    append: bool,
}

impl Replay {
    /// Runs the command.
    ///
    /// # Errors
    /// What stops the replay; damaged input does not.
    pub fn run(self, global: &Global) -> anyhow::Result<Ended> {
        let config = global.load()?;
        let lake = config.lake.root(global.lake.as_deref()).map_err(LakeError::from)?;
        let request = Request {
            config: &config,
            lake: &lake,
            paths: &self.paths,
            shards: self.shards,
            append: self.append,
        };
        let bar = progress_bar();
        let shown = bar.clone();
        let outcome = replay(&request, move |time, records| {
            shown.set_message(format!("{records} records, now at {time}"));
        });
        bar.finish_and_clear();
        let outcome = outcome?;
        tell_problems(&outcome.problems);
        print(&outcome, &lake)?;
        Ok(if outcome.is_damaged() { Ended::Damaged } else { Ended::Well })
    }
}

/// A spinner on stderr, on a terminal only.
pub(super) fn progress_bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

pub(super) fn tell_problems(problems: &[String]) {
    for problem in problems.iter().take(PROBLEMS_TOLD_MAX) {
        eprintln!("peerscope: {problem}");
    }
    if let Some(more) = problems.len().checked_sub(PROBLEMS_TOLD_MAX).filter(|more| *more > 0) {
        eprintln!("peerscope: and {more} more, see `ledger`");
    }
}

fn print(outcome: &Outcome, lake: &LakeRoot) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for name in &outcome.held {
        writeln!(out, "{name}: passed over, {lake} has it")?;
    }
    if outcome.nothing_to_do && !outcome.held.is_empty() {
        return writeln!(out, "nothing to do: {lake} holds all of these inputs");
    }
    if outcome.nothing_to_do {
        return writeln!(out, "nothing to do: {lake} holds this replay already");
    }
    for input in &outcome.report.inputs {
        let account = &input.account;
        writeln!(
            out,
            "{}: {} read, {} ours, {} of others, {} quarantined, {} refused",
            input.source,
            account.read,
            account.accepted,
            account.unmatched,
            account.quarantined,
            account.refused,
        )?;
    }
    writeln!(out, "{}", rows_line(&outcome.rows, lake))
}

/// What was committed, in one line.
pub(super) fn rows_line(rows: &Committed, lake: &LakeRoot) -> String {
    let rows: Vec<String> = rows
        .iter()
        .filter(|(_, rows)| **rows > 0)
        .map(|(table, rows)| format!("{table} {rows}"))
        .collect();
    let rows = if rows.is_empty() { "none".to_owned() } else { rows.join(", ") };
    format!("rows in {lake}: {rows}")
}
