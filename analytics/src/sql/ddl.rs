//! DDL: the tables and views as text for engines with nothing of ours, run in the lake's folder.
//!
//! `deploy/sql/` keeps a copy of each; a test holds them equal (`PEERSCOPE_BLESS=1` rewrites them).

use std::fmt::Write as _;

use arrow::datatypes::{DataType, TimeUnit};
use schemas::tables::{self, Table};

use super::views::{self, Engine};

/// For the stock `datafusion-cli`: every table with its columns, then the views.
#[must_use]
pub fn datafusion() -> String {
    let mut text = String::from(
        "-- The tables and views of a peerscope lake for the stock datafusion-cli. In the lake's folder:\n\
         --   datafusion-cli -r PATH/datafusion.sql\n\
         -- Generated from the declarations of the tables; do not edit.\n\n\
         -- Its cache of file listings never expires: without this a session would not see new files.\n\
         SET datafusion.runtime.list_files_cache_limit = '0K';\n\
         SET datafusion.execution.time_zone = 'UTC';\n\
         SET datafusion.execution.parquet.pushdown_filters = true;\n",
    );
    for table in tables::ALL {
        text.push_str(&external_table(table));
    }
    write_views(&mut text, Engine::DataFusion);
    text
}

/// For the stock DuckDB: every table as a view of its files, then the views. Each table has a file
/// in a finished lake, if need be one without rows.
#[must_use]
pub fn duckdb() -> String {
    let mut text = String::from(
        "-- The tables and views of a peerscope lake for the stock DuckDB. In the lake's folder:\n\
         --   duckdb -init PATH/duckdb.sql\n\
         -- Generated from the declarations of the tables; do not edit.\n",
    );
    for table in tables::ALL {
        let columns = (table.columns)();
        let columns: Vec<_> = columns.iter().map(|column| format!("\"{}\"", column.name)).collect();
        let _ = write!(
            text,
            "\n-- {}\nCREATE OR REPLACE VIEW {name} AS\nSELECT {}, date\n\
             FROM read_parquet('{name}/**/*.parquet', hive_partitioning = true, \
             hive_types = {{'date': VARCHAR}});\n",
            table.meaning.trim(),
            folded(&columns),
            name = table.name,
        );
    }
    write_views(&mut text, Engine::DuckDb);
    text
}

/// A list of columns, broken into lines.
fn folded(names: &[String]) -> String {
    let mut text = String::new();
    let mut width = 0;
    for (at, name) in names.iter().enumerate() {
        if at > 0 {
            text.push(',');
            if width + name.len() > 90 {
                text.push_str("\n  ");
                width = 0;
            } else {
                text.push(' ');
            }
        }
        text.push_str(name);
        width += name.len() + 2;
    }
    text
}

fn external_table(table: &Table) -> String {
    let columns = (table.columns)();
    let spelled: Option<Vec<String>> = columns
        .iter()
        .map(|column| {
            let null = if column.nullable { "" } else { " NOT NULL" };
            Some(format!("  \"{}\" {}{null}", column.name, spelled(&column.data_type)?))
        })
        .collect();
    let (note, columns) = match spelled {
        Some(columns) => ("", format!(" (\n{},\n  \"date\" VARCHAR\n)", columns.join(",\n"))),
        None => {
            ("-- SQL cannot spell all of its types: they are read from its files.\n", String::new())
        }
    };
    format!(
        "\n-- {}\n{note}CREATE EXTERNAL TABLE {name}{columns}\n\
         STORED AS PARQUET PARTITIONED BY (date) LOCATION '{name}/';\n",
        table.meaning.trim(),
        name = table.name,
    )
}

/// A type in DataFusion's SQL, where it has a word for it. Sixteen octets become BYTEA.
fn spelled(data_type: &DataType) -> Option<String> {
    let word = match data_type {
        DataType::Boolean => "BOOLEAN",
        DataType::UInt8 => "TINYINT UNSIGNED",
        DataType::UInt16 => "SMALLINT UNSIGNED",
        DataType::Int32 => "INT",
        DataType::UInt32 => "INT UNSIGNED",
        DataType::UInt64 => "BIGINT UNSIGNED",
        DataType::Float64 => "DOUBLE",
        DataType::Utf8 => "VARCHAR",
        DataType::FixedSizeBinary(_) => "BYTEA",
        DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if &**zone == "UTC" => {
            "TIMESTAMP(6) WITH TIME ZONE"
        }
        DataType::List(item) => return Some(format!("{}[]", spelled(item.data_type())?)),
        _ => return None,
    };
    Some(word.to_owned())
}

fn write_views(text: &mut String, engine: Engine) {
    let create = if engine == Engine::DuckDb { "CREATE OR REPLACE VIEW" } else { "CREATE VIEW" };
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
                assert!(spelled(&column.data_type).is_some(), "{table:?}.{}", column.name);
            }
        }
    }

    #[test]
    fn the_copies_in_deploy_sql_are_those_that_we_generate() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/sql");
        for (name, text) in [("datafusion.sql", datafusion()), ("duckdb.sql", duckdb())] {
            let path = folder.join(name);
            if std::env::var_os("PEERSCOPE_BLESS").is_some() {
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(&path, &text).unwrap();
            }
            let kept = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(kept == text, "{}: run again with PEERSCOPE_BLESS=1", path.display());
        }
    }
}
