//! The tables of the lake, one file each: columns with type, unit and meaning, sort order, rows.
//!
//! A table is declared once, by [`table!`]: the declaration is the Arrow schema, the row type, the
//! reference page (`peerscope describe tables`) and the order in which rows stand in a file.

mod cell;
mod connections;
mod evidence;
mod findings;
mod latency;
mod ledger;
mod marks;
mod notices;
mod rib;
mod route_updates;
mod sessions;
mod visibility;

use std::cmp::Ordering;
use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;

pub use cell::{Cell, Text};
pub use connections::{ConnectionRow, ConnectionStateRow};
pub use evidence::EvidenceRow;
pub use findings::FindingRow;
pub use latency::{LatencyRow, LatencySeries};
pub use ledger::LedgerRow;
pub use marks::MarkRow;
pub use notices::{AlertDeliveryRow, FeedGapRow, PrefixEventRow, SilenceRow};
pub use rib::RibRow;
pub use route_updates::{RouteTexts, RouteUpdateRow};
pub use sessions::SessionRow;
pub use visibility::VisibilityRow;

/// One column: what `describe tables` prints of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Name; the unit is its last word where it has one.
    pub name: &'static str,
    /// Arrow type.
    pub data_type: DataType,
    /// Whether it may be null; its meaning says when.
    pub nullable: bool,
    /// What it says.
    pub meaning: String,
}

impl Column {
    /// The unit that the name ends in.
    #[must_use]
    pub fn unit(&self) -> &'static str {
        match self.name.rsplit('_').next().unwrap_or_default() {
            "us" => "microseconds",
            "secs" => "seconds",
            "mbps" => "Mbit/s",
            "km" => "kilometres",
            _ if matches!(self.data_type, DataType::Timestamp(..)) => "microseconds, UTC",
            _ => "",
        }
    }

    /// The type as SQL and the reference page write it: `Utf8`, `List<UInt32>`, ...
    #[must_use]
    pub fn type_name(&self) -> String {
        match &self.data_type {
            DataType::List(item) => format!("List<{}>", item.data_type()),
            DataType::Timestamp(..) => "Timestamp(us, UTC)".to_owned(),
            other => other.to_string(),
        }
    }
}

/// One table: its name and what stands in it.
#[derive(Clone, Copy)]
pub struct Table {
    /// Folder and SQL name.
    pub name: &'static str,
    /// What one row is.
    pub meaning: &'static str,
    /// The columns in order.
    pub columns: fn() -> Vec<Column>,
    /// Columns by which the rows of each file are ordered.
    pub sort_order: &'static [&'static str],
}

impl Table {
    /// The Arrow schema; the same in each file of the table.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        let fields: Vec<Field> = (self.columns)()
            .into_iter()
            .map(|column| Field::new(column.name, column.data_type, column.nullable))
            .collect();
        Arc::new(Schema::new(fields))
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// Rows that are turned into columns at once: some hundred kilobytes.
const BLOCK_ROWS: usize = 512;

/// A row of a table.
pub trait Row: Sized {
    /// The columns in order.
    fn columns() -> Vec<Column>;
    /// Order of two rows within a file.
    fn order(&self, other: &Self) -> Ordering;
    /// The rows as columns.
    ///
    /// # Errors
    /// Never for rows of this crate; Arrow checks lengths and types.
    fn batch(rows: &[&Self], schema: SchemaRef) -> Result<RecordBatch, ArrowError>;
}

/// Declares a row type and the columns of its table.
macro_rules! table {
    (
        $(#[doc = $meaning:literal])+
        pub struct $row:ident by [$($key:ident),+ $(,)?] {
            $( $(#[doc = $doc:literal])+ $column:ident: $type:ty, )+
        }
    ) => {
        $(#[doc = $meaning])+
        #[derive(Clone, Debug, PartialEq)]
        pub struct $row {
            $( $(#[doc = $doc])+ pub $column: $type, )+
        }

        impl $row {
            /// Columns by which the rows of a file are ordered.
            pub const SORT_ORDER: &'static [&'static str] = &[$(stringify!($key)),+];
            /// What one row is.
            pub const MEANING: &'static str = concat!($($meaning),+);
        }

        impl $crate::tables::Row for $row {
            fn columns() -> Vec<$crate::tables::Column> {
                vec![$( $crate::tables::Column {
                    name: stringify!($column),
                    data_type: <$type as $crate::tables::Cell>::data_type(),
                    nullable: <$type as $crate::tables::Cell>::NULLABLE,
                    meaning: concat!($($doc),+).trim().to_owned(),
                } ),+]
            }

            fn order(&self, other: &Self) -> std::cmp::Ordering {
                std::cmp::Ordering::Equal $( .then_with(|| self.$key.cmp(&other.$key)) )+
            }

            fn batch(
                rows: &[&Self],
                schema: arrow::datatypes::SchemaRef,
            ) -> Result<arrow::array::RecordBatch, arrow::error::ArrowError> {
                $( let mut $column = <$type as $crate::tables::Cell>::builder(rows.len()); )+
                // Rows are read column by column, as many at once as stay in a cache.
                for block in rows.chunks($crate::tables::BLOCK_ROWS) {
                    $( for row in block {
                        <$type as $crate::tables::Cell>::append(&row.$column, &mut $column);
                    } )+
                }
                let columns: Vec<arrow::array::ArrayRef> =
                    vec![$( std::sync::Arc::new($column.finish()) ),+];
                arrow::array::RecordBatch::try_new(schema, columns)
            }
        }
    };
}
pub(crate) use table;

/// The table of one row type.
const fn of<R: Row>(
    name: &'static str,
    meaning: &'static str,
    sort_order: &'static [&'static str],
) -> Table {
    Table { name, meaning, columns: R::columns, sort_order }
}

macro_rules! tables {
    ($( $(#[doc = $doc:literal])+ $constant:ident, $name:literal, $row:ty; )+) => {
        $( $(#[doc = $doc])+ pub const $constant: Table =
            of::<$row>($name, concat!($($doc),+), <$row>::SORT_ORDER); )+

        /// Every table of the lake, in the order of the reference page.
        pub const ALL: &[Table] = &[$($constant),+];
    };
}

tables! {
    /// one prefix announced or withdrawn by one BGP peer
    ROUTE_UPDATES, "route_updates", RouteUpdateRow;
    /// one prefix of one connection and source in one closed window
    LATENCY, "latency", LatencyRow;
    /// a late correction of a window that `latency` holds
    LATENCY_REVISIONS, "latency_revisions", LatencyRow;
    /// `latency` merged to five minutes
    LATENCY_5M, "latency_5m", LatencyRow;
    /// `latency` merged to an hour
    LATENCY_1H, "latency_1h", LatencyRow;
    /// `latency` merged to a day
    LATENCY_1D, "latency_1d", LatencyRow;
    /// one transition of one finding
    FINDINGS, "findings", FindingRow;
    /// one term or witness behind a finding
    EVIDENCE, "evidence", EvidenceRow;
    /// one change of a BGP or BMP session
    SESSIONS, "sessions", SessionRow;
    /// one registered prefix (and upstream) in one window
    VISIBILITY, "visibility", VisibilityRow;
    /// one route held at a snapshot
    RIB, "rib", RibRow;
    /// what became of one range of the input
    LEDGER, "ledger", LedgerRow;
    /// one registered prefix of one connection in one version of the registry
    CONNECTIONS, "connections", ConnectionRow;
    /// one change of a connection's state
    CONNECTION_STATES, "connection_states", ConnectionStateRow;
    /// one of Azure's eight prefix events
    PREFIX_EVENTS, "prefix_events", PrefixEventRow;
    /// a span in which a feed or an input was silent
    FEED_GAPS, "feed_gaps", FeedGapRow;
    /// one attempt to deliver an alert
    ALERT_DELIVERIES, "alert_deliveries", AlertDeliveryRow;
    /// a span in which alerts are muted
    SILENCES, "silences", SilenceRow;
    /// one word of an operator on one finding; the last one counts
    MARKS, "marks", MarkRow;
}

/// The table of that name.
#[must_use]
pub fn by_name(name: &str) -> Option<Table> {
    ALL.iter().copied().find(|table| table.name == name)
}

/// All tables as Markdown: the reference page, equal to `peerscope describe tables`.
#[must_use]
pub fn markdown() -> String {
    let mut page = String::from("# Tables\n");
    for table in ALL {
        let _ = write!(
            page,
            "\n## {}\n\nOne row is {}. Rows of a file are ordered by `{}`.\n\n\
             | column | type | null | unit | meaning |\n|---|---|---|---|---|\n",
            table.name,
            table.meaning.trim(),
            table.sort_order.join(", "),
        );
        for column in (table.columns)() {
            let _ = writeln!(
                page,
                "| `{}` | {} | {} | {} | {} |",
                column.name,
                column.type_name(),
                if column.nullable { "yes" } else { "" },
                column.unit(),
                column.meaning,
            );
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_table_is_ordered_by_columns_that_it_has() {
        for table in ALL {
            let names: BTreeSet<_> = (table.columns)().iter().map(|column| column.name).collect();
            assert_eq!(names.len(), (table.columns)().len(), "{table:?} names a column twice");
            for key in table.sort_order {
                assert!(names.contains(key), "{table:?} has no {key}");
            }
            assert!(!names.contains("date"), "{table:?}: `date` is the partition, not a column");
        }
    }

    #[test]
    fn a_column_that_may_be_null_says_when() {
        for table in ALL {
            for column in (table.columns)().into_iter().filter(|column| column.nullable) {
                assert!(column.meaning.contains("null"), "{table:?}.{}", column.name);
            }
        }
    }
}
