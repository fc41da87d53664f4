//! SQL as a user types it: `tests/sql/*.slt` over a lake that `replay` made of the demo's inputs.
//!
//! The files are in the format of sqllogictest. `PEERSCOPE_BLESS=1` writes the answers of today into
//! them; read the difference before you keep it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::path::{Path, PathBuf};

use analytics::sql::{Lake, LakeRoot, Options};
use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::error::DataFusionError;
use sqllogictest::{
    DB, DBOutput, DefaultColumnType, Runner, default_normalizer, default_validator,
    strict_column_validator,
};
use support::Bench;
use tokio::runtime::Runtime;

/// A session over a lake.
struct Session {
    runtime: Runtime,
    lake: Lake,
}

impl Session {
    fn open(lake: &Path) -> Self {
        let runtime = Runtime::new().unwrap();
        let root = LakeRoot::parse(lake.to_str().unwrap()).unwrap();
        let lake = runtime.block_on(Lake::open(&root, Options::default())).unwrap();
        Self { runtime, lake }
    }
}

/// What a statement is refused with.
#[derive(Debug)]
struct Refused(DataFusionError);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = self.0.strip_backtrace();
        f.write_str(text.lines().next().unwrap_or_default())
    }
}

impl std::error::Error for Refused {}

impl DB for Session {
    type Error = Refused;
    type ColumnType = DefaultColumnType;

    fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Refused> {
        let lake = self.lake.clone();
        let asked = async { lake.query(sql).await?.collect().await };
        let batches = self.runtime.block_on(asked).map_err(Refused)?;
        let Some(first) = batches.first() else {
            return Ok(DBOutput::Rows { types: Vec::new(), rows: Vec::new() });
        };
        let types = first.schema().fields().iter().map(|field| kind(field.data_type())).collect();
        Ok(DBOutput::Rows { types, rows: batches.iter().flat_map(rows).collect() })
    }
}

fn kind(data_type: &DataType) -> DefaultColumnType {
    match data_type {
        kind if kind.is_integer() => DefaultColumnType::Integer,
        kind if kind.is_floating() => DefaultColumnType::FloatingPoint,
        _ => DefaultColumnType::Text,
    }
}

fn rows(batch: &RecordBatch) -> Vec<Vec<String>> {
    let options = FormatOptions::default().with_null("NULL");
    let columns: Vec<_> = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap())
        .collect();
    let cell = |text: String| if text.is_empty() { "(empty)".to_owned() } else { text };
    let row = |row| columns.iter().map(|column| cell(column.value(row).to_string())).collect();
    (0..batch.num_rows()).map(row).collect()
}

fn scripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sql");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut scripts: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|kind| kind == "slt")).collect();
    scripts.sort();
    scripts
}

#[test]
fn every_answer_is_as_it_is_written() {
    let bench = Bench::with_demo_inputs();
    let replay = ["replay", "--config", "in/peerscope.toml", "--lake", "lake", "in"];
    bench.expect(0, &replay);
    let lake = bench.path("lake");
    let scripts = scripts();
    assert!(scripts.len() >= 2, "{scripts:?}");
    for script in scripts {
        let mut runner = Runner::new(|| async { Ok(Session::open(&lake)) });
        runner.with_column_validator(strict_column_validator);
        if std::env::var_os("PEERSCOPE_BLESS").is_some() {
            let bless = runner.update_test_file(
                &script,
                " ",
                default_validator,
                default_normalizer,
                strict_column_validator,
            );
            futures::executor::block_on(bless).unwrap();
        } else if let Err(error) = runner.run_file(&script) {
            panic!("{}", error.display(false));
        }
    }
}
