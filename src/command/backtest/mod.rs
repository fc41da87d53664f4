//! `peerscope backtest`: archives and labels in, how good the detectors were out.
//!
//! - [`incident`]: one labelled folder through the pipeline of `replay`, and its verdict.
//! - [`benign`]: archives in which nothing is wrong: every alarm is false.
//! - [`print`]: the figures.

mod benign;
mod incident;
mod print;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemas::registry::Registry;
use schemas::time::Timestamp;

use super::{Ended, Global, runtime};
use crate::backtest::totals::Totals;
use crate::config::Config;
use benign::Benign;
use incident::Incident;

/// Archives and labels in; recall, culprits, time to detect and false alarms out
#[derive(Debug, clap::Args)]
pub struct Backtest {
    /// Folders of one incident each: archives beside a label.toml or label.json; or folders of such
    #[arg(value_name = "FOLDER", required_unless_present = "benign")]
    folders: Vec<PathBuf>,

    /// Archives in which nothing is wrong: every prefix is registered with its first origin
    #[arg(long, value_name = "ARCHIVE", num_args = 1..)]
    benign: Vec<PathBuf>,

    /// AS relationships: a file, or a folder of dated ones, of which the newest before it is taken
    #[arg(long, value_name = "PATH")]
    as_relationships: Option<PathBuf>,

    /// VRPs
    #[arg(long, value_name = "FILE")]
    vrps: Option<PathBuf>,

    /// ASPAs
    #[arg(long, value_name = "FILE")]
    aspas: Option<PathBuf>,

    /// Organisations of ASes
    #[arg(long, value_name = "FILE")]
    organisations: Option<PathBuf>,

    /// Form of the figures
    #[arg(long, value_enum, default_value_t)]
    format: Form,
}

/// Form of the figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// For people
    #[default]
    Table,
    /// One object: incidents, totals, benign
    Json,
    /// One line an incident
    Csv,
}

/// What came of it all.
struct Outcome {
    incidents: Vec<Incident>,
    totals: Option<Totals>,
    benign: Option<Benign>,
}

impl Backtest {
    /// Runs the command.
    ///
    /// # Errors
    /// A label or a reference file that is refused, archives that cannot be read.
    pub fn run(self, global: &Global) -> anyhow::Result<Ended> {
        let base = self.base(global)?;
        let runtime = runtime()?;
        let folders = labelled(&self.folders)?;
        let mut incidents = Vec::new();
        for folder in &folders {
            let label = incident::label(folder)?;
            let mut config = base.clone();
            if let Some(path) = &self.as_relationships {
                config.reference.as_relationships = dated(path, label.start_time)?;
            }
            incidents.push(Incident::replayed(folder, label, config, &runtime)?);
        }
        let exposure = incidents.iter().map(|incident| incident.exposure_prefix_days).sum();
        let verdicts = incidents.iter().map(|incident| &incident.verdict);
        let totals = (!incidents.is_empty()).then(|| Totals::of(verdicts, exposure));
        let benign = match self.benign.as_slice() {
            [] => None,
            archives => {
                let mut config = base;
                if let Some(path) = &self.as_relationships {
                    config.reference.as_relationships = dated(path, None)?;
                }
                Some(Benign::replayed(archives, config, &runtime)?)
            }
        };
        for problem in incidents.iter().flat_map(|incident| &incident.problems) {
            eprintln!("peerscope: {problem}");
        }
        print::print(&Outcome { incidents, totals, benign }, self.format)?;
        Ok(Ended::Well)
    }

    /// Settings of a configuration that is named, without its connections, and the reference data of
    /// the options.
    fn base(&self, global: &Global) -> anyhow::Result<Config> {
        let mut config = match &global.config {
            Some(_) => global.load()?,
            None => Config::parse("", Path::new("backtest"))?,
        };
        config.registry = Arc::new(Registry::new(1, Vec::new(), Vec::new())?);
        for (from, to) in [
            (&self.vrps, &mut config.reference.vrps),
            (&self.aspas, &mut config.reference.aspas),
            (&self.organisations, &mut config.reference.organisations),
        ] {
            if from.is_some() {
                to.clone_from(from);
            }
        }
        Ok(config)
    }
}

/// The folders that hold a label, themselves or one level below, in the order of their names.
fn labelled(folders: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for folder in folders {
        if incident::label_file(folder).is_some() {
            found.push(folder.clone());
            continue;
        }
        let entries = std::fs::read_dir(folder)
            .map_err(|error| anyhow::anyhow!("{}: {error}", folder.display()))?;
        let mut below = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if incident::label_file(&path).is_some() {
                below.push(path);
            }
        }
        anyhow::ensure!(
            !below.is_empty(),
            "{} holds no label.toml or label.json; docs/guide/backtest.md has their form",
            folder.display()
        );
        below.sort();
        found.extend(below);
    }
    Ok(found)
}

/// A file, or of a folder of dated files the newest that is not younger; without a time the newest.
fn dated(path: &Path, time: Option<Timestamp>) -> anyhow::Result<Option<PathBuf>> {
    if !path.is_dir() {
        return Ok(Some(path.to_owned()));
    }
    let day = time.map(|time| time.day().replace('-', ""));
    let mut newest: Option<(String, PathBuf)> = None;
    for entry in std::fs::read_dir(path)? {
        let file = entry?.path();
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let digits: String = name.chars().take_while(char::is_ascii_digit).collect();
        let is_dated = digits.len() == 8 && name.contains("as-rel");
        let is_older = day.as_ref().is_none_or(|day| digits <= *day);
        if is_dated && is_older && newest.as_ref().is_none_or(|(best, _)| *best < digits) {
            newest = Some((digits, file));
        }
    }
    if newest.is_none() {
        let when = day.map(|day| format!(" of {day} or before")).unwrap_or_default();
        eprintln!("peerscope: {} holds no YYYYMMDD.as-rel file{when}", path.display());
    }
    Ok(newest.map(|(_, file)| file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_file_that_is_not_younger_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["20080101.as-rel.txt.bz2", "20140101.as-rel.txt", "20150101.csv", "notes"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let taken = |time: Option<&str>| {
            let time = time.map(|time| time.parse().unwrap());
            let path = dated(folder.path(), time).unwrap()?;
            Some(path.file_name()?.to_str()?.to_owned())
        };
        assert_eq!(taken(None).unwrap(), "20140101.as-rel.txt");
        assert_eq!(taken(Some("2013-12-31T00:00:00Z")).unwrap(), "20080101.as-rel.txt.bz2");
        assert_eq!(taken(Some("2014-01-01T00:00:00Z")).unwrap(), "20140101.as-rel.txt");
        assert_eq!(taken(Some("2007-01-01T00:00:00Z")), None);
    }
}
