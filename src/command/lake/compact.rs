//! `peerscope lake compact`: the many files of days that are over into few.

use analytics::lake::Store;
use analytics::lake::catalog::newest_day;
use analytics::lake::compact::{Compacted, Plan, compact};
use analytics::lake::identity::unfinished_replays;
use analytics::sql::ddl::Snapshot;
use ingest::source::live::wall_clock;
use schemas::tables::Table;

use super::super::replay::progress_bar;
use super::super::sql::{Format, print_batch};
use super::super::{Ended, Global};
use super::{Columns, chosen, folders, table};

/// The many files of days that are over into few, while others read and write
#[derive(Debug, clap::Args)]
pub(super) struct Compact {
    /// Only this table; may be given again
    #[arg(long = "table", value_name = "TABLE", value_parser = table)]
    tables: Vec<Table>,

    /// A day is left alone until this many hours after its end, else the configuration's
    #[arg(long, value_name = "HOURS")]
    after_hours: Option<u32>,

    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,

    /// Form of the list
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

impl Compact {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<Ended> {
        let (config, root) = global.lake_settings()?;
        let store = if self.dry_run { Store::read_at(&root)? } else { Store::beside_at(&root)? };
        let Some(newest) = newest_day(&folders(&store)?, wall_clock()) else {
            anyhow::bail!("{root} has no file of any table yet: there is nothing to compact");
        };
        let after_hours = self.after_hours.unwrap_or(config.compact_after_hours);
        let mut plan = Plan::new(newest, after_hours);
        plan.unfinished = unfinished_replays(&store)?;
        plan.dry_run = self.dry_run;
        let mut snapshot = Snapshot::list(&store)?;
        let mut publish = |table: Table, live: &[_]| {
            snapshot.replace(table, live);
            snapshot.publish(&store)
        };
        let bar = progress_bar();
        let mut done = Vec::new();
        for table in chosen(&self.tables) {
            bar.set_message(table.name);
            let compacted = compact(&store, table, &plan, &mut publish)?;
            let is_news = compacted != Compacted::default();
            done.extend(is_news.then_some((table.name, compacted)));
        }
        if !self.dry_run {
            Snapshot::list(&store)?.publish(&store)?;
            store.sweep()?;
        }
        bar.finish_and_clear();
        self.print(&done)?;
        let reasons = done.iter().flat_map(|(_, compacted)| &compacted.passed_over);
        let mut is_damaged = false;
        for reason in reasons {
            is_damaged = true;
            eprintln!("peerscope: passed over: {reason}");
        }
        Ok(if is_damaged { Ended::Damaged } else { Ended::Well })
    }

    fn print(&self, done: &[(&str, Compacted)]) -> anyhow::Result<()> {
        if done.is_empty() && self.format == Format::Table {
            let line = "nothing to do: every day that is over has its files together";
            std::io::Write::write_all(&mut std::io::stdout(), format!("{line}\n").as_bytes())?;
            return Ok(());
        }
        let number = |of: fn(&Compacted) -> u64| done.iter().map(move |(_, done)| of(done));
        let batch = Columns::default()
            .text("table", done.iter().map(|(table, _)| (*table).to_owned()))
            .number("files_before", number(|done| done.files_before))
            .number("files_after", number(|done| done.files_after))
            .number("rows", number(|done| done.rows))
            .number("bytes_before", number(|done| done.bytes_before))
            .number("bytes_after", number(|done| done.bytes_after))
            .number("left_removed", number(|done| done.left_removed))
            .batch()?;
        print_batch(&batch, self.format)
    }
}
