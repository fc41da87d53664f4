//! `peerscope lake`: what keeps a lake in order.

mod compact;
mod export;
mod purge;
mod tables;
mod verify;

use std::sync::Arc;

use analytics::lake::catalog::Folder;
use analytics::lake::{LakeError, Store};
use arrow::array::{ArrayRef, RecordBatch, StringArray, UInt64Array};
use arrow::error::ArrowError;
use clap::Subcommand;
use schemas::tables::{self as schema, Table};

use super::{Ended, Global};

/// Keep a lake in order
#[derive(Debug, clap::Args)]
pub struct LakeCommand {
    #[command(subcommand)]
    command: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Hold every chain of every table against what must be true of it
    Verify(verify::Verify),
    /// The many files of days that are over into few
    Compact(compact::Compact),
    /// The tables with their files, rows, bytes and days
    Tables(tables::Tables),
    /// The same of every chain: table, log and partition
    Stats(tables::Stats),
    /// The rows of one tenant as a lake of their own
    Export(export::Export),
    /// Remove what is older than it is to be kept
    Purge(purge::Purge),
}

impl LakeCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// A lake that cannot be reached; what is wrong with it is told and gives exit code 65.
    pub fn run(self, global: &Global) -> anyhow::Result<Ended> {
        match self.command {
            What::Verify(verify) => verify.run(global),
            What::Compact(compact) => compact.run(global),
            What::Tables(tables) => tables.run(global),
            What::Stats(stats) => stats.run(global),
            What::Export(export) => export.run(global),
            What::Purge(purge) => purge.run(global),
        }
    }
}

/// A table by its name, as an argument.
///
/// # Errors
/// A name that is none, with the nearest one.
fn table(name: &str) -> Result<Table, String> {
    schema::by_name(name).ok_or_else(|| {
        let near = schema::ALL.iter().map(|table| table.name);
        let near = near.max_by(|left, right| {
            let [left, right] = [left, right].map(|near| strsim::jaro_winkler(near, name));
            left.total_cmp(&right)
        });
        format!("there is no such table, did you mean {}?", near.unwrap_or_default())
    })
}

/// All tables, or those that are named.
fn chosen(named: &[Table]) -> Vec<Table> {
    match named {
        [] => schema::ALL.to_vec(),
        named => named.to_vec(),
    }
}

/// The files of every table.
fn folders(store: &Store) -> Result<Vec<Folder>, LakeError> {
    schema::ALL.iter().map(|table| Folder::list(store, *table)).collect()
}

/// Columns of a printed list.
#[derive(Default)]
struct Columns(Vec<(&'static str, ArrayRef)>);

impl Columns {
    fn text(mut self, name: &'static str, values: impl IntoIterator<Item = String>) -> Self {
        self.0.push((name, Arc::new(StringArray::from_iter_values(values))));
        self
    }

    fn number(mut self, name: &'static str, values: impl IntoIterator<Item = u64>) -> Self {
        self.0.push((name, Arc::new(UInt64Array::from_iter_values(values))));
        self
    }

    fn batch(self) -> Result<RecordBatch, ArrowError> {
        RecordBatch::try_from_iter(self.0)
    }
}
