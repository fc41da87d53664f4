//! `peerscope decode`: any supported file to elements.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ingest::session::{BmpOptions, MrtSession, RouteSink, UpdateView};
use ingest::source::discover::{DiscoverError, FileKind, kind};
use ingest::source::elements::Elements;
use ingest::source::mrt_file::MrtStream;
use ingest::source::open::open;

use super::Ended;
use super::replay::tell_problems;

/// How elements are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Counts by file, as TSV
    #[default]
    Count,
}

/// Any supported file to elements
#[derive(Debug, clap::Args)]
pub struct Decode {
    /// How elements are printed
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,

    /// MRT, BMP, OpenBMP, pcap or RIS Live files, compressed or not
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// What a file holds.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    records: u64,
    announced: u64,
    withdrawn: u64,
    refused: u64,
    problem: Option<String>,
}

/// Takes elements and lets them go; the session counts them.
struct Discard;

impl RouteSink for Discard {
    fn update(&mut self, _update: &UpdateView<'_>) {}
}

impl Decode {
    /// Runs the command.
    ///
    /// # Errors
    /// If stdout fails.
    pub fn run(self) -> anyhow::Result<Ended> {
        let mut out = std::io::stdout().lock();
        let mut problems = Vec::new();
        let Format::Count = self.format;
        writeln!(out, "file\trecords\telements\tannounced\twithdrawn\trefused")?;
        for file in &self.files {
            let Counts { records, announced, withdrawn, refused, problem } = count(file);
            let elements = announced + withdrawn;
            let file = file.display();
            writeln!(out, "{file}\t{records}\t{elements}\t{announced}\t{withdrawn}\t{refused}")?;
            problems.extend(problem.map(|problem| format!("{file}: {problem}")));
        }
        tell_problems(&problems);
        Ok(if problems.is_empty() { Ended::Well } else { Ended::Damaged })
    }
}

fn count(path: &Path) -> Counts {
    let mut counts = Counts::default();
    match kind(path) {
        Ok(FileKind::Mrt { .. }) => {}
        Ok(FileKind::Rtt(_)) => {
            let problem = "holds RTT samples; this version counts routes".to_owned();
            return Counts { problem: Some(problem), ..counts };
        }
        Ok(kind) => return count_elements(path, kind),
        Err(DiscoverError::Io { error, .. }) => {
            return Counts { problem: Some(error.to_string()), ..counts };
        }
        Err(DiscoverError::Empty { .. }) => {
            return Counts { problem: Some("the file is empty".to_owned()), ..counts };
        }
        Err(_) => return Counts { problem: Some("holds no routes".to_owned()), ..counts },
    }
    let reader = match open(path) {
        Ok(reader) => reader,
        Err(error) => return Counts { problem: Some(error.to_string()), ..counts },
    };
    let mut stream = MrtStream::new(reader);
    let mut session = MrtSession::new(Arc::from("archive"));
    loop {
        let bytes = match stream.load() {
            Ok(Some(bytes)) => bytes,
            Ok(None) => break,
            Err(damage) => {
                counts.refused += 1;
                counts.problem = Some(damage.to_string());
                break;
            }
        };
        if let Some(record) = stream.record()
            && let Err(error) = session.record(&record, &mut Discard)
            && counts.problem.is_none()
        {
            let (number, offset) = (counts.records, stream.offset());
            counts.problem = Some(format!("record {number} at offset {offset}: {error}"));
        }
        counts.records += 1;
        stream.consume(bytes);
    }
    let met = session.counts();
    counts.announced = met.updates.announced;
    counts.withdrawn = met.updates.withdrawn;
    counts.refused += met.refused.values().sum::<u64>();
    counts
}

/// Counts a file that is no MRT.
fn count_elements(path: &Path, kind: FileKind) -> Counts {
    let opened = open(path).and_then(|reader| {
        Elements::open(kind, reader, Arc::from("archive"), "file", BmpOptions::default())
    });
    let mut elements = match opened {
        Ok(Some(elements)) => elements,
        Ok(None) => return Counts::default(),
        Err(error) => return Counts { problem: Some(error.to_string()), ..Counts::default() },
    };
    let (mut problem, mut damage) = (None, None);
    loop {
        match elements.load() {
            Ok(Some(_)) => {
                let (number, offset) = (elements.records(), elements.offset());
                let refusal = elements.hand_over(&mut Discard);
                problem =
                    problem
                        .or(refusal
                            .map(|words| format!("record {number} at offset {offset}: {words}")));
            }
            Ok(None) => break,
            Err(error) => {
                damage = Some(error.to_string());
                break;
            }
        }
    }
    let met = elements.counts();
    Counts {
        records: met.records,
        announced: met.updates.announced,
        withdrawn: met.updates.withdrawn,
        refused: met.refused.values().sum::<u64>() + u64::from(damage.is_some()),
        problem: damage.or(problem),
    }
}
