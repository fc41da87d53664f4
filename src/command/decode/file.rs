//! Reading a file: its path in, what is in it to a [`Printer`], counts and problems out.
//!
//! A further kind of file is one more arm of [`read`] and one more loop like [`mrt`]'s.

use std::path::Path;
use std::sync::Arc;

use ingest::encode::bgpdump::Form;
use ingest::session::{BmpOptions, MrtSession};
use ingest::source::discover::{DiscoverError, FileKind, kind};
use ingest::source::elements::Elements;
use ingest::source::mrt_file::{Damage, MrtStream};
use ingest::source::open::open;

use super::print::Printer;

/// Problems of one file that are told in words.
const PROBLEMS_TOLD_MAX: usize = 5;
/// Damaged places of one file that are passed over; a file with more is none.
const DAMAGES_MAX: u64 = 10_000;

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) records: u64,
    pub(super) announced: u64,
    pub(super) withdrawn: u64,
    pub(super) refused: u64,
    pub(super) problems: Problems,
}

/// What is wrong with a file: the first few in words, all by number.
#[derive(Debug, Default)]
pub(super) struct Problems {
    told: Vec<String>,
    all: u64,
}

impl Problems {
    pub(super) const fn is_empty(&self) -> bool {
        self.all == 0
    }

    fn add(&mut self, problem: impl FnOnce() -> String) {
        self.all += 1;
        if self.told.len() < PROBLEMS_TOLD_MAX {
            self.told.push(problem());
        }
    }

    /// Tells them on stderr.
    pub(super) fn tell(&self, path: &Path) {
        let path = path.display();
        self.told.iter().for_each(|problem| eprintln!("peerscope: {path}: {problem}"));
        let more = self.all - self.told.len() as u64;
        if more > 0 {
            eprintln!("peerscope: {path}: and {more} problems more");
        }
    }
}

impl From<String> for Counts {
    /// A file that cannot be read at all.
    fn from(problem: String) -> Self {
        let mut counts = Self::default();
        counts.problems.add(|| problem);
        counts
    }
}

/// Reads a file to its end, or to the end of those who listen.
///
/// # Errors
/// If the printer fails. What is wrong with the file is in the counts.
pub(super) fn read(path: &Path, printer: &mut Printer) -> anyhow::Result<Counts> {
    match kind(path) {
        Ok(FileKind::Mrt { .. }) => mrt(path, printer),
        Ok(other @ (FileKind::Bmp | FileKind::OpenBmp | FileKind::Capture | FileKind::RisLive)) => {
            elements(other, path, printer)
        }
        Ok(FileKind::Rtt(_)) => {
            Ok("holds RTT samples; `replay` reads them, `decode` only routes".to_owned().into())
        }
        Err(DiscoverError::Io { error, .. }) => Ok(error.to_string().into()),
        Err(DiscoverError::Empty { .. }) => Ok("the file is empty".to_owned().into()),
        Err(_) => Ok("holds no routes in a format that is known".to_owned().into()),
    }
}

fn mrt(path: &Path, printer: &mut Printer) -> anyhow::Result<Counts> {
    let mut counts = Counts::default();
    let mut stream = match open(path) {
        Ok(reader) => MrtStream::new(reader),
        Err(error) => return Ok(error.to_string().into()),
    };
    let mut session = MrtSession::new(Arc::from("archive"));
    let mut damages = 0;
    printer.start_file(path);
    while !printer.is_cut_off() {
        let bytes = match stream.load() {
            Ok(Some(bytes)) => bytes,
            Ok(None) => break,
            Err(damage) => {
                counts.refused += 1;
                damages += 1;
                let passed = pass_over(&damage, &mut stream).filter(|_| damages < DAMAGES_MAX);
                counts.problems.add(|| match passed {
                    Some(bytes) => format!("{damage}; {bytes} bytes passed over"),
                    None => damage.to_string(),
                });
                match passed {
                    Some(_) => continue,
                    None => break,
                }
            }
        };
        if let Some(record) = stream.record() {
            printer.start_record(counts.records, Form::of(&record));
            let refused_before = session.counts().refused.values().sum::<u64>();
            let result = session.record(&record, printer);
            let offset = stream.offset();
            let number = counts.records;
            match result {
                Err(error) => {
                    counts.problems.add(|| format!("record {number} at offset {offset}: {error}"));
                }
                Ok(_) if session.counts().refused.values().sum::<u64>() > refused_before => {
                    let words = || format!("record {number} at offset {offset}: refused in part");
                    counts.problems.add(words);
                }
                Ok(_) => {}
            }
            printer.end_record()?;
        }
        counts.records += 1;
        stream.consume(bytes);
    }
    let met = session.counts();
    counts.announced = met.updates.announced;
    counts.withdrawn = met.updates.withdrawn;
    counts.refused += met.refused.values().sum::<u64>();
    Ok(counts)
}

/// BMP, OpenBMP, captures, RIS Live: one record after the other.
fn elements(kind: FileKind, path: &Path, printer: &mut Printer) -> anyhow::Result<Counts> {
    let mut counts = Counts::default();
    let collector = Arc::from("archive");
    let opened = open(path).and_then(|reader| {
        Elements::open(kind, reader, collector, "router", BmpOptions::default())
    });
    let mut file = match opened {
        Ok(Some(file)) => file,
        Ok(None) => return Ok("holds no routes".to_owned().into()),
        Err(error) => return Ok(error.to_string().into()),
    };
    printer.start_file(path);
    while !printer.is_cut_off() {
        match file.load() {
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(damage) => {
                counts.refused += 1;
                counts.problems.add(|| damage.to_string());
                break;
            }
        }
        let (number, offset) = (file.records(), file.offset());
        printer.start_record(number, Form::LIVE);
        if let Some(words) = file.hand_over(printer) {
            counts.problems.add(|| format!("record {number} at offset {offset}: {words}"));
        }
        printer.end_record()?;
    }
    let met = file.counts();
    counts.records = met.records;
    counts.announced = met.updates.announced;
    counts.withdrawn = met.updates.withdrawn;
    counts.refused += met.refused.values().sum::<u64>();
    Ok(counts)
}

/// Where reading goes on after damage, in bytes from it. Behind damaged compression nothing comes.
fn pass_over<R: std::io::Read>(damage: &Damage, stream: &mut MrtStream<R>) -> Option<u64> {
    match damage {
        Damage::Record { .. } | Damage::Truncated { .. } => stream.skip_damage(),
        Damage::Compression { .. } => None,
    }
}
