//! `peerscope decode`: any supported file to elements, as they come.
//!
//! [`file`] reads a file, one arm for each kind, and tells a [`print::Printer`] what is in it. What
//! is damaged is told on stderr and passed over; the rest is printed. Nothing is held but a buffer.

mod file;
mod print;
mod rows;

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, ValueEnum};

use self::print::Printer;
use super::{Cli, Ended};
use crate::print::Output;

/// How elements are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Counts by file, as TSV
    #[default]
    Count,
    /// Lines as `bgpdump -m` prints them
    Bgpdump,
    /// One object a line, nulls written
    Json,
    /// Comma-separated, with a header
    Csv,
    /// Columns of `route_updates`
    Parquet,
}

/// Any supported file to elements
#[derive(Debug, clap::Args)]
pub struct Decode {
    /// How elements are printed
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,

    /// Write here instead of to stdout; what is there is replaced
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// MRT files, compressed or not
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Decode {
    /// Runs the command.
    ///
    /// # Errors
    /// If the output fails.
    pub fn run(self) -> anyhow::Result<Ended> {
        let output = self.open()?;
        let mut printer = Printer::new(self.format, output.clone())?;
        let mut is_damaged = false;
        for file in &self.files {
            if output.is_cut_off() {
                break;
            }
            let counts = file::read(file, &mut printer)?;
            printer.end_file(file, &counts)?;
            counts.problems.tell(file);
            is_damaged |= !counts.problems.is_empty();
        }
        printer.finish()?;
        output.clone().flush()?;
        Ok(if is_damaged { Ended::Damaged } else { Ended::Well })
    }

    fn open(&self) -> anyhow::Result<Output> {
        match &self.output {
            Some(path) => {
                let file = std::fs::File::create(path);
                Ok(Output::to(
                    file.map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?,
                ))
            }
            None if self.format == Format::Parquet && std::io::stdout().is_terminal() => {
                let words = "parquet is nothing for a terminal: say --output FILE, or redirect it";
                Cli::command().error(ErrorKind::MissingRequiredArgument, words).exit()
            }
            None => Ok(Output::stdout()),
        }
    }
}
