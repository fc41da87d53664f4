//! `peerscope lake purge`: removes what is older than it is to be kept.

use std::collections::BTreeMap;

use analytics::lake::Store;
use analytics::lake::catalog::newest_day;
use analytics::lake::purge::{Purged, purge};
use analytics::sql::ddl::Snapshot;
use ingest::source::live::wall_clock;
use schemas::tables::{Table, by_name};
use schemas::time::Timestamp;

use super::super::sql::{Format, print_batch};
use super::super::{Ended, Global};
use super::{Columns, folders, table};

/// Remove what is older than it is to be kept: [lake.retention], counted back from the newest day
#[derive(Debug, clap::Args)]
pub(super) struct Purge {
    /// Only this table; may be given again
    #[arg(long = "table", value_name = "TABLE", value_parser = table)]
    tables: Vec<Table>,

    /// Days that are kept of the named tables, else the configuration's
    #[arg(long, value_name = "DAYS", requires = "tables",
          value_parser = clap::value_parser!(u32).range(1..))]
    keep_days: Option<u32>,

    /// Say what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,

    /// Form of the list
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// What was purged of a table, and the first day that was kept.
type Done = (&'static str, String, Purged);

impl Purge {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<Ended> {
        let (config, root) = global.lake_settings()?;
        let days = self.days(&config.retention);
        anyhow::ensure!(
            !days.is_empty(),
            "nothing says how long to keep anything: write [lake.retention] TABLE = DAYS, or \
             --table TABLE --keep-days DAYS"
        );
        let store = if self.dry_run { Store::read_at(&root)? } else { Store::beside_at(&root)? };
        let Some(newest) = newest_day(&folders(&store)?, wall_clock()) else {
            anyhow::bail!("{root} has no file of any table yet: there is nothing to purge");
        };
        let mut snapshot = Snapshot::list(&store)?;
        let mut publish = |table: Table, live: &[_]| {
            snapshot.replace(table, live);
            snapshot.publish(&store)
        };
        let mut done: Vec<Done> = Vec::new();
        for (table, days) in days {
            let first_day = first_day(newest, days);
            let purged = purge(&store, table, &first_day, self.dry_run, &mut publish)?;
            done.push((table.name, first_day, purged));
        }
        store.sweep()?;
        self.print(&done)?;
        Ok(Ended::Well)
    }

    /// How many days are kept of which table.
    fn days(&self, retention: &BTreeMap<String, u32>) -> Vec<(Table, u32)> {
        if let Some(days) = self.keep_days {
            return self.tables.iter().map(|table| (*table, days)).collect();
        }
        let configured = retention.iter().filter_map(|(name, days)| Some((by_name(name)?, *days)));
        let is_chosen = |table: &Table| {
            self.tables.is_empty() || self.tables.iter().any(|chosen| chosen.name == table.name)
        };
        configured.filter(|(table, _)| is_chosen(table)).collect()
    }

    fn print(&self, done: &[Done]) -> anyhow::Result<()> {
        let batch = Columns::default()
            .text("table", done.iter().map(|(table, ..)| (*table).to_owned()))
            .text("kept_from", done.iter().map(|(_, day, _)| day.clone()))
            .number("files", done.iter().map(|(.., purged)| purged.files))
            .number("bytes", done.iter().map(|(.., purged)| purged.bytes))
            .text(
                "last_day",
                done.iter().map(|(.., purged)| purged.last_day.clone().unwrap_or_default()),
            )
            .batch()?;
        print_batch(&batch, self.format)
    }
}

/// The first day that is kept: the newest one and so many before it, less one.
fn first_day(newest: Timestamp, days: u32) -> String {
    newest.plus_secs(-86_400 * (i64::from(days) - 1)).day()
}
