//! `peerscope lake export`: the rows of one tenant as a lake of their own, which any engine reads and
//! `peerscope --lake` too.
//!
//! Rows are chosen as for `sql --tenant`: whose they are stands in them, rows of nobody stay. Tables
//! that have no tenant come out without rows.

use std::collections::BTreeMap;
use std::io::Write as _;

use analytics::lake::catalog::day_start;
use analytics::lake::chain::FILE_ROWS_MAX;
use analytics::lake::encode::{Span, encode_sorted};
use analytics::lake::identity::{End, Identity};
use analytics::lake::layout::{INTERNAL, file_key};
use analytics::lake::{LakeError, LakeRoot, Store};
use analytics::sql::{Lake, Options, ddl};
use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use futures::StreamExt as _;
use schemas::tables::{self, Table};
use schemas::time::Timestamp;

use super::super::replay::progress_bar;
use super::super::table::{Answer, open, quoted};
use super::super::{Ended, Global, runtime};
use super::{chosen, table};

/// The rows of one tenant as a lake of their own
#[derive(Debug, clap::Args)]
pub(super) struct Export {
    /// Whose rows
    #[arg(long, value_name = "TENANT")]
    tenant: String,

    /// Where to: an empty or new folder, or a prefix of a bucket
    #[arg(long, value_name = "DIR")]
    to: String,

    /// Only this table; may be given again
    #[arg(long = "table", value_name = "TABLE", value_parser = table)]
    tables: Vec<Table>,

    /// Only rows from this time on, such as 2026-03-04T10:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,

    /// Only rows before this time
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
}

impl Export {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<Ended> {
        let (config, root) = global.lake_settings()?;
        let to = config.root(Some(&self.to)).map_err(LakeError::from)?;
        runtime()?.block_on(async {
            known(&open(&root).await?, &self.tenant).await?;
            let store = Store::open_at(&to)?;
            anyhow::ensure!(
                store.list(&format!("{INTERNAL}/logs"))?.is_empty(),
                "{to} holds a lake or an earlier export; take another --to"
            );
            self.export(&root, &store).await
        })
    }

    async fn export(&self, root: &LakeRoot, store: &Store) -> anyhow::Result<Ended> {
        let options = Options { tenant: Some(self.tenant.clone()), ..Options::default() };
        let lake = Lake::open(root, options).await?;
        let identity = self.identity();
        identity.claim(store)?;
        let mut rows = BTreeMap::new();
        let bar = progress_bar();
        let chosen = chosen(&self.tables);
        for table in tables::ALL {
            bar.set_message(table.name);
            let is_chosen = chosen.iter().any(|chosen| chosen.name == table.name);
            let has_tenant = table.schema().index_of("tenant").is_ok();
            let mut chain = Chain { store, table: *table, log: identity.log(), start: 0 };
            if is_chosen && has_tenant {
                self.table(&lake, &mut chain).await?;
            }
            if chain.start == 0 {
                chain.put(&[], self.since.unwrap_or_default())?;
            }
            rows.insert(table.name.to_owned(), chain.start);
        }
        bar.finish_and_clear();
        ddl::publish(store)?;
        identity.finish(store, &End { rows: rows.clone(), damaged: Vec::new() })?;
        let told = super::super::replay::rows_line(&rows, store.root());
        writeln!(std::io::stdout().lock(), "{told}")?;
        Ok(Ended::Well)
    }

    /// What is exported, as a log of its own.
    fn identity(&self) -> Identity {
        let time = |time: Option<Timestamp>| time.map_or_else(String::new, |time| time.to_string());
        let mut inputs = vec![
            format!("tenant {}", self.tenant),
            format!("since {}", time(self.since)),
            format!("until {}", time(self.until)),
        ];
        inputs.extend(self.tables.iter().map(|table| format!("table {}", table.name)));
        Identity {
            kind: "export".to_owned(),
            inputs,
            reference: Vec::new(),
            config_hash: String::new(),
            partitions: 1,
            after: None,
        }
    }

    /// Exports one table, day by day.
    async fn table(&self, lake: &Lake, chain: &mut Chain<'_>) -> anyhow::Result<()> {
        let table = chain.table;
        let filter = self.filter(table);
        let days = format!("select distinct date from {} order by date", table.name);
        for row in Answer::of(lake, &days).await?.iter() {
            let day = row.text(0);
            let Some(opened) = day_start(day) else { continue };
            let columns: Vec<String> =
                (table.columns)().iter().map(|column| format!("\"{}\"", column.name)).collect();
            let sql = format!(
                "select {} from {} where date = {} and {filter} order by {}",
                columns.join(", "),
                table.name,
                quoted(day),
                table.sort_order.join(", "),
            );
            let mut stream = lake.query(&sql).await?.execute_stream().await?;
            let (mut batches, mut rows) = (Vec::new(), 0);
            while let Some(batch) = stream.next().await {
                let mut batch = own_types(&batch?, table)?;
                while rows + batch.num_rows() >= FILE_ROWS_MAX {
                    let fits = FILE_ROWS_MAX - rows;
                    batches.push(batch.slice(0, fits));
                    chain.put(&batches, opened)?;
                    batch = batch.slice(fits, batch.num_rows() - fits);
                    (batches, rows) = (Vec::new(), 0);
                }
                rows += batch.num_rows();
                batches.push(batch);
            }
            if rows > 0 {
                chain.put(&batches, opened)?;
            }
        }
        Ok(())
    }

    /// Rows of the span. What stands behind a finding goes with it; who is connected is always told.
    fn filter(&self, table: Table) -> String {
        let time = |time: Timestamp| format!("cast({} as timestamp)", quoted(&time.to_string()));
        let span = |column: &str| {
            let since = self.since.map(|since| format!("{column} >= {}", time(since)));
            let until = self.until.map(|until| format!("{column} < {}", time(until)));
            let both: Vec<String> = since.into_iter().chain(until).collect();
            if both.is_empty() { "true".to_owned() } else { both.join(" and ") }
        };
        match table.name {
            "connections" => "true".to_owned(),
            "evidence" | "marks" => {
                format!("finding_id in (select finding_id from findings where {})", span("time"))
            }
            _ => {
                let columns = (table.columns)();
                let is_time = |kind: &DataType| matches!(kind, DataType::Timestamp(..));
                let column = columns.iter().find(|c| is_time(&c.data_type) && !c.nullable);
                column.map_or_else(|| "true".to_owned(), |column| span(column.name))
            }
        }
    }
}

/// One table's files of an export.
struct Chain<'a> {
    store: &'a Store,
    table: Table,
    log: String,
    /// Rows that were put: what counts as the offset here.
    start: u64,
}

impl Chain<'_> {
    fn put(&mut self, batches: &[RecordBatch], opened: Timestamp) -> anyhow::Result<()> {
        let rows: u64 = batches.iter().map(|batch| batch.num_rows() as u64).sum();
        let end = self.start + rows;
        let span = Span { log: self.log.clone(), partition: 0, start: self.start, end };
        let bytes = encode_sorted(batches, self.table, &span)?;
        let key = file_key(self.table.name, &self.log, 0, self.start, opened);
        self.store.put(&key, &bytes)?;
        self.start = end;
        Ok(())
    }
}

/// The columns of a query in the types of the table: texts are read as views.
fn own_types(batch: &RecordBatch, table: Table) -> anyhow::Result<RecordBatch> {
    let schema = table.schema();
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| cast(column, field.data_type()));
    Ok(RecordBatch::try_new(schema.clone(), columns.collect::<Result<_, _>>()?)?)
}

/// Refuses a tenant that a lake does not know, with those that it does.
async fn known(lake: &Lake, tenant: &str) -> anyhow::Result<()> {
    let sql = "select distinct tenant from connections order by tenant";
    let answer = Answer::of(lake, sql).await?;
    let names: Vec<&str> = answer.iter().map(|row| row.text(0)).collect();
    anyhow::ensure!(
        names.contains(&tenant),
        "no tenant {tenant:?} is in this lake; it has {}",
        names.join(", ")
    );
    Ok(())
}
