//! Printing elements: what a session tells in, counts, lines or rows out.
//!
//! A sink cannot fail, so a [`Printer`] keeps what went wrong and says it at the end of the record.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use ingest::encode::bgpdump::{self, Form};
use ingest::session::{RouteSink, SessionEvent, UpdateView};
use schemas::tables::Text;

use super::Format;
use super::file::Counts;
use super::rows::Rows;
use crate::print::Output;

/// Bytes of lines that are written at once.
const LINE_BYTES: usize = 1 << 16;

/// Prints what files hold.
pub(super) struct Printer {
    kind: Kind,
    output: Output,
    /// Name of the file without folders: what rows call their source.
    source: Text,
    record: u64,
    form: Form,
    failure: Option<anyhow::Error>,
}

enum Kind {
    Count,
    Lines(Vec<u8>),
    Rows(Box<Rows>),
}

impl Printer {
    /// A printer that has printed its header, if it has one.
    ///
    /// # Errors
    /// If the output fails.
    pub(super) fn new(format: Format, mut output: Output) -> anyhow::Result<Self> {
        let kind = match format {
            Format::Count => {
                writeln!(output, "file\trecords\telements\tannounced\twithdrawn\trefused")?;
                Kind::Count
            }
            Format::Bgpdump => Kind::Lines(Vec::new()),
            Format::Json | Format::Csv | Format::Parquet => {
                Kind::Rows(Box::new(Rows::start(format, output.clone())?))
            }
        };
        let (source, form) = (Text::from(""), Form::LIVE);
        Ok(Self { kind, output, source, record: 0, form, failure: None })
    }

    /// Whether nobody reads on.
    pub(super) fn is_cut_off(&self) -> bool {
        self.output.is_cut_off()
    }

    /// What follows is of this file.
    pub(super) fn start_file(&mut self, path: &Path) {
        self.source = path.file_name().unwrap_or_default().to_string_lossy().into();
    }

    /// What follows is of this record; `form` says how its lines begin.
    pub(super) fn start_record(&mut self, number: u64, form: Form) {
        self.record = number;
        self.form = form;
    }

    /// The record is at its end.
    ///
    /// # Errors
    /// If the output failed.
    pub(super) fn end_record(&mut self) -> anyhow::Result<()> {
        self.failure.take().map_or(Ok(()), Err)
    }

    /// The file is at its end.
    ///
    /// # Errors
    /// If the output fails.
    pub(super) fn end_file(&mut self, path: &Path, counts: &Counts) -> anyhow::Result<()> {
        if matches!(self.kind, Kind::Count) {
            let Counts { records, announced, withdrawn, refused, .. } = counts;
            let (file, elements) = (path.display(), announced + withdrawn);
            let out = &mut self.output;
            writeln!(out, "{file}\t{records}\t{elements}\t{announced}\t{withdrawn}\t{refused}")?;
        }
        Ok(())
    }

    /// All files are at their end.
    ///
    /// # Errors
    /// If the output fails.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        match self.kind {
            Kind::Count => Ok(()),
            Kind::Lines(lines) => Ok(self.output.clone().write_all(&lines)?),
            Kind::Rows(rows) => rows.finish(),
        }
    }

    fn attempt(&mut self, done: anyhow::Result<()>) {
        if let Err(error) = done {
            self.failure.get_or_insert(error);
        }
    }
}

impl RouteSink for Printer {
    fn update(&mut self, update: &UpdateView<'_>) {
        if self.failure.is_some() {
            return;
        }
        let peer = update.header;
        let done = match &mut self.kind {
            Kind::Count => Ok(()),
            Kind::Lines(lines) => {
                bgpdump::routes(lines, self.form, update, peer);
                if lines.len() < LINE_BYTES {
                    Ok(())
                } else {
                    let written = self.output.write_all(lines);
                    lines.clear();
                    written.map_err(anyhow::Error::from)
                }
            }
            Kind::Rows(rows) => rows.update(update, peer, (Arc::clone(&self.source), self.record)),
        };
        self.attempt(done);
    }

    fn session(&mut self, event: &SessionEvent<'_>) {
        if let (Kind::Lines(lines), Some(codes)) = (&mut self.kind, event.codes) {
            bgpdump::state(lines, self.form, event.time, event.header, codes);
        }
    }
}
