//! Elements as rows of `route_updates`: JSON, CSV or Parquet.
//!
//! The columns are those of the table that a file alone can fill; what takes a registry or reference
//! data to know is left out.

use std::sync::Arc;

use anyhow::Result;
use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::file::properties::WriterProperties;
use ingest::session::{Action, UpdateView};
use schemas::bgp::{PathAttributes, PeerHeader, Prefix};
use schemas::tables::{ROUTE_UPDATES, RouteTexts, RouteUpdateRow, Row as _, Text};

use super::Format;
use crate::print::{self, Output};

/// Rows that are written at once.
const BATCH_ROWS: usize = 8_192;
/// Rows of a Parquet row group at most.
const ROW_GROUP_ROWS_MAX: usize = 131_072;
/// Columns that a file alone cannot fill.
const UNKNOWN: [&str; 8] = [
    "received_time",
    "session_role",
    "rpki_state",
    "aspa_state",
    "registered_prefix",
    "relation",
    "connection",
    "tenant",
];

/// Rows on their way out.
pub(super) struct Rows {
    rows: Vec<RouteUpdateRow>,
    table: SchemaRef,
    /// Places of the columns that are written.
    columns: Vec<usize>,
    writer: Writer,
    output: Output,
}

enum Writer {
    Text(print::Rows),
    Parquet(Box<ArrowWriter<Output>>),
}

impl Rows {
    /// Starts the output; a header stands even above no rows.
    ///
    /// # Errors
    /// If the output fails.
    pub(super) fn start(format: Format, output: Output) -> Result<Self> {
        let table = ROUTE_UPDATES.schema();
        let names = table.fields().iter().map(|field| field.name().as_str());
        let is_known = |(place, name): (usize, &str)| (!UNKNOWN.contains(&name)).then_some(place);
        let columns: Vec<usize> = names.enumerate().filter_map(is_known).collect();
        let schema: Arc<Schema> = Arc::new(table.project(&columns)?);
        let text = |format| print::Printer { format, rows_max: None, expanded: false };
        let writer = match format {
            Format::Parquet => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
                    .set_max_row_group_row_count(Some(ROW_GROUP_ROWS_MAX))
                    .set_created_by("peerscope".to_owned())
                    .build();
                let writer = ArrowWriter::try_new(output.clone(), schema, Some(properties))?;
                Writer::Parquet(Box::new(writer))
            }
            Format::Csv => Writer::Text(text(print::Format::Csv).start(schema, output.clone())?),
            _ => Writer::Text(text(print::Format::NdJson).start(schema, output.clone())?),
        };
        Ok(Self { rows: Vec::new(), table, columns, writer, output })
    }

    /// Takes the elements of an UPDATE.
    ///
    /// # Errors
    /// If the output fails.
    pub(super) fn update(
        &mut self,
        update: &UpdateView<'_>,
        peer: &PeerHeader,
        place: (Text, u64),
    ) -> Result<()> {
        let attributes = update.attributes.decode();
        let texts = RouteTexts::of(&attributes);
        update.for_each_prefix(|action, prefix, path_id| {
            let said = (action == Action::Announce).then_some((&attributes, &texts));
            let row = row(update, peer, &place, (action, prefix, path_id), said);
            self.rows.push(row);
        });
        if self.rows.len() < BATCH_ROWS { Ok(()) } else { self.write() }
    }

    fn write(&mut self) -> Result<()> {
        let rows: Vec<&RouteUpdateRow> = self.rows.iter().collect();
        let batch = RouteUpdateRow::batch(&rows, Arc::clone(&self.table))?;
        self.rows.clear();
        if self.output.is_cut_off() {
            return Ok(());
        }
        let batch: RecordBatch = batch.project(&self.columns)?;
        match &mut self.writer {
            Writer::Text(writer) => writer.write(&batch).map(|_| ()),
            Writer::Parquet(writer) => Ok(writer.write(&batch)?),
        }
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// If the output fails.
    pub(super) fn finish(mut self) -> Result<()> {
        if !self.rows.is_empty() {
            self.write()?;
        }
        match self.writer {
            Writer::Text(mut writer) => writer.finish(),
            Writer::Parquet(writer) => Ok(writer.close().map(|_| ())?),
        }
    }
}

/// The row of one prefix; `said` is what the UPDATE says of those that it announces.
fn row(
    update: &UpdateView<'_>,
    peer: &PeerHeader,
    (source, record): &(Text, u64),
    (action, prefix, path_id): (Action, Prefix, Option<u32>),
    said: Option<(&PathAttributes, &RouteTexts)>,
) -> RouteUpdateRow {
    let (attributes, texts) = said.unzip();
    RouteUpdateRow {
        event_time: update.time,
        received_time: None,
        router_time: None,
        source: Arc::clone(source),
        source_offset: *record,
        collector: Arc::clone(&peer.collector),
        router: peer.router.clone(),
        peer_asn: peer.asn,
        peer_ip: peer.address,
        session_role: None,
        rib_view: peer.rib_view.as_str(),
        is_snapshot: update.is_snapshot,
        action: action.as_str(),
        prefix,
        prefix_first: prefix.first_octets(),
        prefix_last: prefix.last_octets(),
        path_id,
        origin_asn: attributes.and_then(|all| all.as_path.origin()),
        as_path: texts.map(|texts| Arc::clone(&texts.as_path)),
        as_path_text: texts.map(|texts| Arc::clone(&texts.as_path_text)),
        next_hop: attributes.and_then(|all| all.next_hop),
        med: attributes.and_then(|all| all.med),
        local_pref: attributes.and_then(|all| all.local_pref),
        communities: texts.map(|texts| Arc::clone(&texts.communities)),
        otc: attributes.and_then(|all| all.otc),
        rpki_state: None,
        aspa_state: None,
        disposition: update.disposition.as_str(),
        registered_prefix: None,
        relation: None,
        connection: None,
        tenant: None,
    }
}
