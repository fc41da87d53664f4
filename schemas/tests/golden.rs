//! The columns of every table as text, in `golden/`: a change of a table is a change there, which
//! somebody has to mean. `PEERSCOPE_BLESS=1` writes them anew.
//!
//! A column may be added if it may be null; one that is there keeps its name and type for ever,
//! because the files that hold it do: `tests/lake/old.rs` asks a lake of version 0.1.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use schemas::tables::{self, Table};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

fn text(table: Table) -> String {
    let mut text = format!("ordered by {}\n", table.sort_order.join(", "));
    for column in (table.columns)() {
        let null = if column.nullable { "" } else { " not null" };
        let _ = writeln!(text, "{} {}{null}", column.name, column.type_name());
    }
    text
}

#[test]
fn the_columns_of_every_table_are_those_that_are_written_down() {
    let mut changed = Vec::new();
    for table in tables::ALL {
        let path = folder().join(format!("{}.txt", table.name));
        let text = text(*table);
        if std::env::var_os("PEERSCOPE_BLESS").is_some() {
            fs::create_dir_all(folder()).unwrap();
            fs::write(&path, &text).unwrap();
        }
        if fs::read_to_string(&path).unwrap_or_default() != text {
            changed.push(table.name);
        }
    }
    assert!(
        changed.is_empty(),
        "{changed:?}: if only columns that may be null were added, run again with PEERSCOPE_BLESS=1 \
         and tell it in CHANGELOG.md"
    );
}

#[test]
fn every_table_that_is_written_down_is_there() {
    for entry in fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().replace(".txt", "");
        assert!(tables::by_name(&name).is_some(), "{name} is gone: its files are in old lakes");
    }
}
