//! `peerscope run`: the service.

use std::io::Write as _;
use std::path::Path;

use analytics::lake::{LakeError, LakeRoot};

use super::{Ended, Global};
use crate::config::DEFAULT_FILE;
use crate::run::{Outcome, Request, Role, run};

/// The service: live sources into the log, its folds and the lake, until SIGTERM
#[derive(Debug, clap::Args)]
pub struct Run {
    /// What this process does
    #[arg(long, value_enum, default_value_t, value_name = "ROLE")]
    role: Role,

    /// Name of this process among those of its role, stable over restarts (over Kafka)
    #[arg(long, env = "PEERSCOPE_INSTANCE", value_name = "NAME")]
    instance: Option<String>,

    /// End when every source has been read to its end (files without a followed folder)
    #[arg(long)]
    until_done: bool,
}

impl Run {
    /// Runs the command.
    ///
    /// # Errors
    /// What stops the service.
    pub fn run(self, global: &Global) -> anyhow::Result<Ended> {
        let config = global.load()?;
        let lake = config.lake.root(global.lake.as_deref()).map_err(LakeError::from)?;
        let place = global.config.as_deref().unwrap_or_else(|| Path::new(DEFAULT_FILE));
        let request = Request {
            config: &config,
            place: Some(place),
            lake: &lake,
            until_done: self.until_done,
            role: self.role,
            instance: self.instance.as_deref(),
        };
        let outcome = run(&request, |sources| {
            for (name, at) in sources {
                eprintln!("peerscope: {name}: {at}");
            }
            eprintln!("peerscope: running, lake {lake}; SIGTERM or Ctrl-C drains and stops");
        })?;
        print(&outcome, &lake)?;
        let is_damaged = outcome.inputs.iter().any(|input| !input.problems.is_empty());
        Ok(if is_damaged && self.until_done { Ended::Damaged } else { Ended::Well })
    }
}

fn print(outcome: &Outcome, lake: &LakeRoot) -> std::io::Result<()> {
    for input in &outcome.inputs {
        for problem in &input.problems {
            eprintln!("peerscope: {}: {problem}", input.name);
        }
    }
    let mut out = std::io::stdout().lock();
    for input in &outcome.inputs {
        let account = &input.account;
        writeln!(
            out,
            "{}: {} read, {} ours, {} of others, {} quarantined, {} refused",
            input.name,
            account.read,
            account.accepted,
            account.unmatched,
            account.quarantined,
            account.refused,
        )?;
    }
    writeln!(out, "{}", super::replay::rows_line(&outcome.rows, lake))
}
