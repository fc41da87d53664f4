//! Which contests there are, and what is put into them.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader};
use std::path::Path;

use crate::big;
use crate::contest::{BenchError, Row, Section, Truth, race, write_input};
use crate::corpus::{ARCHIVES, Archive, config};
use crate::feed;
use crate::job::{BGPDUMP, Job, Programs, bgpkit_name};
use crate::report::grouped;
use crate::world;

/// Archives to counted elements, to a lake, or both: one contest for each archive.
pub(crate) fn archives(
    programs: &Programs,
    decode: bool,
    replay: bool,
) -> Result<Vec<Section>, BenchError> {
    ARCHIVES.iter().map(|archive| one_archive(programs, archive, decode, replay)).collect()
}

fn one_archive(
    programs: &Programs,
    archive: &Archive,
    decode: bool,
    replay: bool,
) -> Result<Section, BenchError> {
    let folder = tempfile::tempdir()?;
    let configs = ["ours", "all"].map(|keep| {
        let config = folder.path().join(format!("{keep}.toml"));
        fs::write(&config, archive.config(keep)).map(|()| (config, keep == "all"))
    });
    let rows = match archive.find() {
        Ok(input) => {
            let mut jobs = Vec::new();
            if decode {
                jobs.push(Job::Decode(input.clone()));
            }
            for config in configs {
                let (config, keeps_all) = config?;
                if replay {
                    jobs.push(Job::Replay { input: input.clone(), config, keeps_all });
                }
            }
            jobs.extend([Job::Bgpkit(input.clone()), Job::Bgpdump(input)]);
            let truth = Truth { is_cut: archive.is_cut, answer: Some(archive.elements) };
            race(programs, &jobs, truth)?
        }
        Err(why) => vec![Row { contestant: "nobody".to_owned(), runs: Err(why) }],
    };
    let (present, origin) = archive.present;
    Ok(Section {
        name: "archive",
        input: format!(
            "{}: {}, {} bytes, SHA-256 {}...",
            archive.name,
            archive.what,
            grouped(archive.bytes),
            archive.sha256.get(..16).unwrap_or_default(),
        ),
        unit: "elements",
        units: Some(archive.elements),
        peers: vec![bgpkit_name(), BGPDUMP.to_owned()],
        note: format!(
            "Registered in `replay`: one connection with `{present}` of AS{origin}, which is in \
             the file, and `198.51.100.0/24`, which is not."
        ),
        rows,
    })
}

/// The big archive: in memory, then as files.
pub(crate) fn big(programs: &Programs) -> Result<Vec<Section>, BenchError> {
    let folder = tempfile::tempdir()?;
    eprintln!("writing the big archive, plain and compressed");
    write_input(programs, "generate", folder.path())?;
    let plain = folder.path().join(big::PLAIN);
    let in_memory = feed::section(programs, &plain)?;
    let elements = in_memory.units.unwrap_or(0);
    let mut sections = vec![in_memory];
    for name in [big::PLAIN, big::GZIP, big::BZIP2] {
        let input = folder.path().join(name);
        let mut jobs = vec![Job::Decode(input.clone()), Job::Bgpkit(input.clone())];
        if name == big::PLAIN {
            for keep in ["ours", "all"] {
                let config_path = folder.path().join(format!("{keep}.toml"));
                fs::write(&config_path, config(ARCHIVES[0].present, keep))?;
                jobs.push(Job::Replay {
                    input: input.clone(),
                    config: config_path,
                    keeps_all: keep == "all",
                });
            }
        }
        let truth = Truth { is_cut: false, answer: Some(elements) };
        sections.push(Section {
            name: "big",
            input: format!("{name}: the big archive, {} bytes", grouped(fs::metadata(&input)?.len())),
            unit: "elements",
            units: Some(elements),
            peers: vec![bgpkit_name()],
            note: "All read through the same decompressors; bzip2 runs on all cores, so that its wall \
                   time is to be read beside its CPU seconds. `replay` decodes, filters, folds, detects \
                   and commits Parquet."
                .to_owned(),
            rows: race(programs, &jobs, truth)?,
        });
    }
    Ok(sections)
}

/// JSON lines to committed latency rows.
pub(crate) fn rtt(programs: &Programs) -> Result<Section, BenchError> {
    let folder = tempfile::tempdir()?;
    write_input(programs, "world", folder.path())?;
    let (config, input) = (folder.path().join(world::CONFIG), folder.path().join(world::SAMPLES));
    let (samples, bytes) = (lines(&input)?, fs::metadata(&input)?.len());
    let truth = Truth { is_cut: false, answer: Some(samples) };
    let rows = race(programs, &[Job::Rtt { input, config }], truth)?;
    Ok(Section {
        name: "rtt",
        input: format!(
            "round-trip times: {} samples in {} bytes of JSON lines, {} prefixes, {} minutes of \
             the simulator's quiet world",
            grouped(samples),
            grouped(bytes),
            grouped(world::PREFIXES.into()),
            world::MINUTES,
        ),
        unit: "samples",
        units: Some(samples),
        peers: Vec::new(),
        note: "From JSON lines to committed `latency` rows, whose samples, measured and lost, add up to \
               the lines. No peer does this work."
            .to_owned(),
        rows,
    })
}

/// The demo, as its user types it.
pub(crate) fn demo(programs: &Programs) -> Result<Section, BenchError> {
    let truth = Truth { is_cut: false, answer: None };
    let rows = race(programs, &[Job::Demo], truth)?;
    Ok(Section {
        name: "demo",
        input: "`peerscope demo`: simulates an hour, replays it, tells its story".to_owned(),
        unit: "demos",
        units: None,
        peers: Vec::new(),
        note: "Every run told as many bytes as the first.".to_owned(),
        rows,
    })
}

fn lines(path: &Path) -> io::Result<u64> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut lines = 0;
    loop {
        let part = reader.fill_buf()?;
        if part.is_empty() {
            return Ok(lines);
        }
        lines += part.iter().filter(|byte| **byte == b'\n').count() as u64;
        let came = part.len();
        reader.consume(came);
    }
}
