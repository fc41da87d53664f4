//! DDL: the tables and views as text for engines with nothing of ours, run in the lake's folder.
//!
//! `deploy/sql/` keeps a copy of each; a test holds them equal (`PEERSCOPE_BLESS=1` rewrites them).
//! A lake keeps the same, and beside it the same over its live files one by one ([`Snapshot`]).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use arrow::datatypes::{DataType, TimeUnit};
use schemas::tables::{self, Table};

use super::views::{self, Engine, folded};
use crate::lake::catalog::{Folder, TableFile};
use crate::lake::layout::ddl_key;
use crate::lake::place::Place;
use crate::lake::{LakeError, LakeRoot, Store};

/// Writes an engine's text.
pub type Writer = fn() -> String;

/// Each engine's text by the name of its file.
pub const TEXTS: [(&str, Writer); 3] =
    [("datafusion", datafusion), ("duckdb", duckdb), ("spark", spark)];

/// Puts the text of each engine into a lake; that of a newer version stands for that of an older one.
///
/// # Errors
/// What the store says.
pub fn publish(store: &Store) -> Result<(), LakeError> {
    TEXTS.iter().try_for_each(|(name, text)| store.put_over(&ddl_key(name), text().as_bytes()))
}

/// For the stock `datafusion-cli`: every table with its columns, then the views.
#[must_use]
pub fn datafusion() -> String {
    let header = "-- The tables and views of a peerscope lake for the stock datafusion-cli. In the lake's folder:\n\
                  --   datafusion-cli -r PATH/datafusion.sql\n\
                  -- Generated from the declarations of the tables; do not edit.\n\n";
    datafusion_over(header, |_| None)
}

/// For the stock DuckDB: every table as a view of its files, then the views. Each table has a file
/// in a finished lake, if need be one without rows. A column that no file has is null.
#[must_use]
pub fn duckdb() -> String {
    let header = "-- The tables and views of a peerscope lake for the stock DuckDB. In the lake's folder:\n\
                  --   duckdb -init PATH/duckdb.sql\n\
                  -- Generated from the declarations of the tables; do not edit.\n";
    duckdb_over(header, |_| None)
}

/// For the stock Spark: every table as a temporary view of its files, then the views. No catalog is
/// written to. A column that no file has is null.
#[must_use]
pub fn spark() -> String {
    let header = "-- The tables and views of a peerscope lake for the stock Spark 4. In the lake's folder:\n\
                  --   spark-sql --conf spark.sql.catalogImplementation=in-memory -i PATH/spark.sql\n\
                  -- Generated from the declarations of the tables; do not edit.\n\n";
    spark_over(header, "", |_| None)
}

/// The files of a table that a definition names one by one; none: whatever is in its folder.
type Files<'a> = Option<&'a [String]>;

fn datafusion_over<'a>(header: &str, files: impl Fn(Table) -> Files<'a>) -> String {
    let mut text = format!(
        "{header}\
         -- Its cache of file listings never expires: without this a session would not see new files.\n\
         SET datafusion.runtime.list_files_cache_limit = '0K';\n\
         SET datafusion.execution.time_zone = 'UTC';\n\
         SET datafusion.execution.parquet.pushdown_filters = true;\n",
    );
    for table in tables::ALL {
        text.push_str(&external_table(table, files(*table)));
    }
    write_views(&mut text, Engine::DataFusion);
    text
}

fn duckdb_over<'a>(header: &str, files: impl Fn(Table) -> Files<'a>) -> String {
    let mut text = header.to_owned();
    for table in tables::ALL {
        let columns = (table.columns)();
        let names: Vec<_> = columns.iter().map(|column| format!("\"{}\"", column.name)).collect();
        let typed: Vec<_> = columns
            .iter()
            .map(|column| {
                let kind = spelled(&column.data_type, Engine::DuckDb).unwrap_or_default();
                format!("NULL::{kind} AS \"{}\"", column.name)
            })
            .collect();
        let (source, date) = match files(*table) {
            Some(files) => (format!("read_parquet([{}], union_by_name = true)", quoted(files)), ""),
            None => (
                format!(
                    "read_parquet('{}/**/*.parquet', union_by_name = true, \
                     hive_partitioning = true, hive_types = {{'date': VARCHAR}})",
                    table.name
                ),
                ", date",
            ),
        };
        let _ = write!(
            text,
            "\n-- {}\nCREATE OR REPLACE VIEW {name} AS\nSELECT {}{date}\n\
             FROM (FROM {source}\nUNION ALL BY NAME SELECT {}\nWHERE false);\n",
            table.meaning.trim(),
            folded(&names),
            folded(&typed),
            name = table.name,
        );
    }
    write_views(&mut text, Engine::DuckDb);
    text
}

/// `root` stands before the name of a table's folder. Unsigned numbers become the next wider type, 64
/// bits DECIMAL(20, 0), as Spark reads them.
fn spark_over<'a>(header: &str, root: &str, files: impl Fn(Table) -> Files<'a>) -> String {
    let mut text = format!("{header}SET spark.sql.session.timeZone = UTC;\n");
    for table in tables::ALL {
        let columns = (table.columns)();
        let typed: Vec<_> = columns
            .iter()
            .map(|column| {
                let kind = spelled(&column.data_type, Engine::Spark).unwrap_or_default();
                format!("  `{}` {kind}", column.name)
            })
            .collect();
        let folder = format!("{root}{}", table.name);
        let live = files(*table).map(|files| (files.len(), one_of(&folder, files)));
        let place = match &live {
            Some((_, glob)) => format!("path '{glob}', basePath '{folder}'"),
            None => format!("path '{folder}'"),
        };
        let _ = write!(
            text,
            "\n-- {}\nCREATE OR REPLACE TEMPORARY VIEW {name} (\n{},\n  `date` STRING\n)\n\
             USING parquet OPTIONS ({place});\n",
            table.meaning.trim(),
            typed.join(",\n"),
            name = table.name,
        );
        // A name in braces that is not there is passed over in silence: they are counted.
        if let Some((count, glob)) = live {
            let _ = writeln!(
                text,
                "SET VAR live_files = (SELECT if(count(*) = {count}, count(*),\n  \
                 raise_error('a live file of {} is gone: read this text anew'))\n  \
                 FROM binaryFile.`{glob}`);",
                table.name
            );
        }
    }
    write_views(&mut text, Engine::Spark);
    text
}

/// The files of a folder as one pattern. A space between two of them would be a part of a name.
fn one_of(folder: &str, files: &[String]) -> String {
    let names = files.iter().map(|file| file.strip_prefix(folder).unwrap_or(file));
    let names: Vec<_> = names.map(|name| name.trim_start_matches('/')).collect();
    format!("{folder}/{{{}}}", names.join(","))
}

/// Keys as a list of SQL texts, one a line.
fn quoted(files: &[String]) -> String {
    let files: Vec<_> =
        files.iter().map(|file| format!("'{}'", file.replace('\'', "''"))).collect();
    files.join(",\n  ")
}

fn external_table(table: &Table, files: Files<'_>) -> String {
    let columns = (table.columns)();
    let spelled: Option<Vec<String>> = columns
        .iter()
        .map(|column| {
            let null = if column.nullable { "" } else { " NOT NULL" };
            let kind = spelled(&column.data_type, Engine::DataFusion)?;
            Some(format!("  \"{}\" {kind}{null}", column.name))
        })
        .collect();
    let (date, place) = match files {
        Some(files) => ("", format!("LOCATION ({})", quoted(files))),
        None => {
            (",\n  \"date\" VARCHAR", format!("PARTITIONED BY (date) LOCATION '{}/'", table.name))
        }
    };
    let (note, columns) = match spelled {
        Some(columns) => ("", format!(" (\n{}{date}\n)", columns.join(",\n"))),
        None => {
            ("-- SQL cannot spell all of its types: they are read from its files.\n", String::new())
        }
    };
    format!(
        "\n-- {}\n{note}CREATE EXTERNAL TABLE {name}{columns}\nSTORED AS PARQUET {place};\n",
        table.meaning.trim(),
        name = table.name,
    )
}

/// A type in an engine's SQL, where it has a word for it. Sixteen octets become BYTEA.
fn spelled(data_type: &DataType, engine: Engine) -> Option<String> {
    let (datafusion, duckdb, spark) = match data_type {
        DataType::Boolean => ("BOOLEAN", "BOOLEAN", "BOOLEAN"),
        DataType::UInt8 => ("TINYINT UNSIGNED", "UTINYINT", "SMALLINT"),
        DataType::UInt16 => ("SMALLINT UNSIGNED", "USMALLINT", "INT"),
        DataType::Int32 => ("INT", "INTEGER", "INT"),
        DataType::UInt32 => ("INT UNSIGNED", "UINTEGER", "BIGINT"),
        DataType::UInt64 => ("BIGINT UNSIGNED", "UBIGINT", "DECIMAL(20, 0)"),
        DataType::Float64 => ("DOUBLE", "DOUBLE", "DOUBLE"),
        DataType::Utf8 => ("VARCHAR", "VARCHAR", "STRING"),
        DataType::FixedSizeBinary(_) => ("BYTEA", "BLOB", "BINARY"),
        DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if &**zone == "UTC" => {
            ("TIMESTAMP(6) WITH TIME ZONE", "TIMESTAMPTZ", "TIMESTAMP")
        }
        DataType::List(item) => {
            let item = spelled(item.data_type(), engine)?;
            let is_spark = engine == Engine::Spark;
            return Some(if is_spark { format!("ARRAY<{item}>") } else { format!("{item}[]") });
        }
        _ => return None,
    };
    let word = match engine {
        Engine::DuckDb => duckdb,
        Engine::Spark => spark,
        Engine::Ours | Engine::DataFusion => datafusion,
    };
    Some(word.to_owned())
}

/// The live files of a lake, and their publication as text for engines that must not see a
/// compaction at work: `_peerscope/tables.sql` for the stock datafusion-cli, `tables.duckdb.sql` for
/// the stock DuckDB, `tables.spark.sql` for Spark. Each is replaced whole. What is committed later is not in them.
#[derive(Clone, Debug)]
pub struct Snapshot {
    files: BTreeMap<&'static str, Vec<String>>,
    /// What stands before a key: nothing on local disk, where the engine runs in the lake's folder.
    root: String,
}

impl Snapshot {
    /// Lists the live files of every table.
    ///
    /// # Errors
    /// What the store says.
    pub fn list(store: &Store) -> Result<Self, LakeError> {
        let root = root_of(store.root());
        let mut snapshot = Self { files: BTreeMap::new(), root };
        for table in tables::ALL {
            snapshot.replace(*table, &Folder::list(store, *table)?.live);
        }
        Ok(snapshot)
    }

    /// Takes the files of one table for what it had before.
    pub fn replace(&mut self, table: Table, live: &[TableFile]) {
        let mut keys: Vec<_> =
            live.iter().map(|file| format!("{}{}", self.root, file.entry.key)).collect();
        keys.sort();
        self.files.insert(table.name, keys);
    }

    /// Replaces what is published.
    ///
    /// # Errors
    /// What the store says.
    pub fn publish(&self, store: &Store) -> Result<(), LakeError> {
        store.put_over(&ddl_key("tables"), self.datafusion().as_bytes())?;
        store.put_over(&ddl_key("tables.duckdb"), self.duckdb().as_bytes())?;
        store.put_over(&ddl_key("tables.spark"), self.spark().as_bytes())
    }

    fn files(&self, table: Table) -> Files<'_> {
        let files = self.files.get(table.name).filter(|files| !files.is_empty());
        files.map(Vec::as_slice)
    }

    fn datafusion(&self) -> String {
        let header = "-- The live files of a peerscope lake, at the instant at which this was written. In the lake's folder:\n\
                      --   datafusion-cli -r _peerscope/tables.sql\n\
                      -- Written by `peerscope lake`; do not edit.\n\n";
        datafusion_over(header, |table| self.files(table))
    }

    fn duckdb(&self) -> String {
        let header = "-- The live files of a peerscope lake, at the instant at which this was written. In the lake's folder:\n\
                      --   duckdb -init _peerscope/tables.duckdb.sql\n\
                      -- Written by `peerscope lake`; do not edit.\n";
        duckdb_over(header, |table| self.files(table))
    }

    fn spark(&self) -> String {
        let header = "-- The live files of a peerscope lake, at the instant at which this was written. In the lake's folder:\n\
                      --   spark-sql --conf spark.sql.catalogImplementation=in-memory -i _peerscope/tables.spark.sql\n\
                      -- Written by `peerscope lake`; do not edit.\n\n\
                      DECLARE OR REPLACE VARIABLE live_files BIGINT;\n";
        spark_over(header, &self.root, |table| self.files(table))
    }
}

fn root_of(root: &LakeRoot) -> String {
    match root.place() {
        Place::Folder(_) => String::new(),
        Place::Bucket { .. } => format!("{root}/"),
    }
}

fn write_views(text: &mut String, engine: Engine) {
    let create = match engine {
        Engine::DuckDb => "CREATE OR REPLACE VIEW",
        Engine::Spark => "CREATE OR REPLACE TEMPORARY VIEW",
        Engine::Ours | Engine::DataFusion => "CREATE VIEW",
    };
    for view in views::ALL {
        let _ = write!(text, "\n{}", comment(view.meaning));
        let _ = writeln!(text, "{create} {} AS\n{};", view.name, (view.query)(engine));
    }
}

/// A sentence as SQL comment lines of at most 100 characters.
fn comment(sentence: &str) -> String {
    let mut text = String::new();
    let mut line = String::from("--");
    for word in sentence.split_whitespace() {
        if line.len() + 1 + word.len() > 100 {
            let _ = writeln!(text, "{line}");
            line = String::from("--");
        }
        let _ = write!(line, " {word}");
    }
    let _ = writeln!(text, "{line}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn sql_spells_the_type_of_every_column() {
        for table in tables::ALL {
            for column in (table.columns)() {
                for engine in [Engine::DataFusion, Engine::DuckDb, Engine::Spark] {
                    let spelled = spelled(&column.data_type, engine);
                    assert!(spelled.is_some(), "{table:?}.{}", column.name);
                }
            }
        }
    }

    #[test]
    fn the_copies_in_deploy_sql_are_those_that_we_generate() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/sql");
        for (name, text) in TEXTS {
            let (path, text) = (folder.join(name).with_extension("sql"), text());
            if std::env::var_os("PEERSCOPE_BLESS").is_some() {
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(&path, &text).unwrap();
            }
            let kept = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(kept == text, "{}: run again with PEERSCOPE_BLESS=1", path.display());
        }
    }

    /// Statements are told apart at a semicolon at the end of a line, as the guide does in Python.
    #[test]
    fn no_comment_for_spark_ends_like_a_statement() {
        let comments = spark();
        let mut comments = comments.lines().filter(|line| line.starts_with("--"));
        assert!(comments.all(|line| !line.ends_with(';')));
    }

    #[test]
    fn spark_reads_the_live_files_and_counts_them() {
        let files = ["latency/date=2026-03-04/a.parquet", "latency/date=2026-03-05/b.parquet"];
        let files = files.map(|key| format!("s3://bucket/{key}")).to_vec();
        let root = "s3://bucket/".to_owned();
        let text = Snapshot { files: BTreeMap::from([("latency", files)]), root }.spark();
        let glob = "s3://bucket/latency/{date=2026-03-04/a.parquet,date=2026-03-05/b.parquet}";
        let view = format!("OPTIONS (path '{glob}', basePath 's3://bucket/latency');");
        assert!(text.contains(&view), "{text}");
        assert!(text.contains("if(count(*) = 2, "), "{text}");
        assert!(text.contains(&format!("FROM binaryFile.`{glob}`);")), "{text}");
        assert!(text.contains("OPTIONS (path 's3://bucket/findings');"), "{text}");
    }
}
