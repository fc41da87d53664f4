//! `peerscope completions` and `peerscope man`: made from the command line itself.

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
    /// Never; the generator writes to stdout.
    pub fn run(self) -> anyhow::Result<Ended> {
        clap_complete::generate(
            self.shell,
            &mut Cli::command(),
            "peerscope",
            &mut std::io::stdout().lock(),
        );
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
