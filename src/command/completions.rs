//! `peerscope completions` and `peerscope man`: made from the command line itself.

use std::io::Write as _;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, Ended};

/// Completions for a shell
#[derive(Debug, clap::Args)]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    /// Runs the command.
    ///
    /// # Errors
    /// If stdout fails.
    pub fn run(self) -> anyhow::Result<Ended> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "peerscope", &mut script);
        std::io::stdout().lock().write_all(&script)?;
        Ok(Ended::Well)
    }
}

/// Prints the manual page.
///
/// # Errors
/// If stdout fails.
pub fn man() -> anyhow::Result<Ended> {
    clap_mangen::Man::new(Cli::command()).render(&mut std::io::stdout().lock())?;
    Ok(Ended::Well)
}
