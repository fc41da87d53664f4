//! `peerscope lake tables` and `stats`: what a lake holds, by table and by chain.

use std::collections::BTreeMap;

use analytics::lake::Store;
use analytics::lake::catalog::{Folder, TableFile, each};
use analytics::lake::footer::footer;
use analytics::sql::ddl::Snapshot;

use super::super::sql::{Format, print_batch};
use super::super::{Ended, Global};
use super::{Columns, folders};

/// The tables with their files, rows, bytes and days
#[derive(Debug, clap::Args)]
pub(super) struct Tables {
    /// Also write the live files into _peerscope/tables.sql, tables.duckdb.sql and
    /// tables.spark.sql, for the stock datafusion-cli, DuckDB and Spark
    #[arg(long)]
    publish: bool,

    /// Form of the list
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// The same of every chain: table, log and partition
#[derive(Debug, clap::Args)]
pub(super) struct Stats {
    /// Form of the list
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// What is told of some files.
#[derive(Clone, Debug, Default)]
struct Sum {
    files: u64,
    compacted: u64,
    covered: u64,
    rows: u64,
    bytes: u64,
    first_day: String,
    last_day: String,
    start: u64,
    end: u64,
}

/// Rows and end of a file; none of one that cannot be read.
type Said = Option<(u64, u64)>;

impl Sum {
    fn add(&mut self, file: &TableFile, said: Said) {
        let (rows, end) = said.unwrap_or_default();
        if self.files == 0 {
            self.start = file.name.start;
            self.first_day.clone_from(&file.day);
        }
        self.files += 1;
        self.compacted += u64::from(file.name.end.is_some());
        self.rows += rows;
        self.bytes += file.entry.bytes;
        self.first_day = self.first_day.clone().min(file.day.clone());
        self.last_day = self.last_day.clone().max(file.day.clone());
        self.end = self.end.max(end);
    }
}

/// The live files of a table with what their footers say.
fn said<'a>(store: &Store, folder: &'a Folder) -> anyhow::Result<Vec<(&'a TableFile, Said)>> {
    let said = each(&folder.live, |file| {
        let footer = footer(store, &file.entry)?;
        if let Err(problem) = &footer {
            eprintln!("peerscope: {}: {problem}", file.entry.key);
        }
        Ok(footer.ok().map(|footer| (footer.rows, footer.span.end)))
    })?;
    Ok(folder.live.iter().zip(said).collect())
}

impl Tables {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<Ended> {
        let root = global.lake()?;
        let store = Store::read_at(&root)?;
        let mut rows = Vec::new();
        for folder in folders(&store)? {
            let mut sum = Sum { covered: folder.garbage.len() as u64, ..Sum::default() };
            for (file, said) in said(&store, &folder)? {
                sum.add(file, said);
            }
            rows.push((folder.table.name, folder.chains().len() as u64, sum));
        }
        if self.publish {
            Snapshot::list(&store)?.publish(&store)?;
            store.sweep()?;
        }
        let number = |of: fn(&Sum) -> u64| rows.iter().map(move |(.., sum)| of(sum));
        let batch = Columns::default()
            .text("table", rows.iter().map(|(table, ..)| (*table).to_owned()))
            .number("chains", rows.iter().map(|(_, chains, _)| *chains))
            .number("files", number(|sum| sum.files))
            .number("compacted", number(|sum| sum.compacted))
            .number("covered", number(|sum| sum.covered))
            .number("rows", number(|sum| sum.rows))
            .number("bytes", number(|sum| sum.bytes))
            .text("first_day", rows.iter().map(|(.., sum)| sum.first_day.clone()))
            .text("last_day", rows.iter().map(|(.., sum)| sum.last_day.clone()))
            .batch()?;
        print_batch(&batch, self.format)?;
        Ok(Ended::Well)
    }
}

impl Stats {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<Ended> {
        let root = global.lake()?;
        let store = Store::read_at(&root)?;
        let mut rows = Vec::new();
        for folder in folders(&store)? {
            let mut chains: BTreeMap<(String, u32), Sum> = BTreeMap::new();
            for (file, said) in said(&store, &folder)? {
                let id = (file.name.log.clone(), file.name.partition);
                chains.entry(id).or_default().add(file, said);
            }
            rows.extend(chains.into_iter().map(|(id, sum)| (folder.table.name, id, sum)));
        }
        let number = |of: fn(&Sum) -> u64| rows.iter().map(move |(.., sum)| of(sum));
        let batch = Columns::default()
            .text("table", rows.iter().map(|(table, ..)| (*table).to_owned()))
            .text("log", rows.iter().map(|(_, (log, _), _)| log.clone()))
            .number("partition", rows.iter().map(|(_, (_, partition), _)| u64::from(*partition)))
            .number("files", number(|sum| sum.files))
            .number("compacted", number(|sum| sum.compacted))
            .number("rows", number(|sum| sum.rows))
            .number("bytes", number(|sum| sum.bytes))
            .text("first_day", rows.iter().map(|(.., sum)| sum.first_day.clone()))
            .text("last_day", rows.iter().map(|(.., sum)| sum.last_day.clone()))
            .number("start_offset", number(|sum| sum.start))
            .number("end_offset", number(|sum| sum.end))
            .batch()?;
        print_batch(&batch, self.format)?;
        Ok(Ended::Well)
    }
}
