//! Spark and `peerscope sql` over one large lake: the same questions, the same answers, then the time.
//!
//! The lake is the demo's with many more minutes of latency ([`crate::windows`]). Who asks, compares
//! and measures is `deploy/sql/spark/compare.py`, which users have too; here its figures become a page.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::contest::{BenchError, Row, Run, Section};
use crate::job::Programs;
use crate::machine::{self, Machine, today};
use crate::report::{Report, grouped, keep};
use crate::udaf::tools;

/// From the root of the project.
const COMPARE: &str = "deploy/sql/spark/compare.py";

/// The same questions to Spark and to `peerscope sql`, over a large lake
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Spark {
    /// Rows of `latency` at least
    #[arg(long, default_value_t = 1_000_000, value_name = "COUNT")]
    rows: u64,

    /// Timed runs of each question; 0: the run that is compared is the one that is told
    #[arg(long, default_value_t = 0, value_name = "COUNT")]
    runs: u32,

    /// Worker processes of Spark
    #[arg(long, default_value_t = 2, value_name = "COUNT")]
    workers: u32,

    /// Memory of each of them in MiB
    #[arg(long, default_value_t = 2_048, value_name = "MIB")]
    memory_mb: u32,

    /// Where the lake is made and kept, else a temporary folder; one that is there is used
    #[arg(long, value_name = "DIR")]
    lake: Option<PathBuf>,

    /// Keep the figures in benches/runs
    #[arg(long)]
    keep: bool,
}

/// Makes the lake, lets them be compared and prints the figures; an answer that differs is an error.
pub(crate) fn run(options: &Spark, date: Option<&str>) -> Result<(), BenchError> {
    let programs = Programs::find()?;
    let scratch = tempfile::tempdir()?;
    let lake = options.lake.clone().unwrap_or_else(|| scratch.path().join("lake"));
    if !lake.exists() {
        make(&programs, &lake, options.rows)?;
    }
    let measured = scratch.path().join("measured.tsv");
    let load_before = machine::load_average();
    let mut command = Command::new(tools().join("venv/bin/python"));
    command.arg(COMPARE).arg(&lake).arg("--peerscope").arg(&programs.peerscope);
    command.args(["--runs", &options.runs.to_string(), "--workers", &options.workers.to_string()]);
    command.args(["--memory-mb", &options.memory_mb.to_string(), "--measured"]).arg(&measured);
    if !command.status()?.success() {
        return Err(
            io::Error::other("Spark is not installed (.ci/spark), or answers differ").into()
        );
    }
    let (files, bytes) = size(&lake.join("latency"))?;
    let input = format!(
        "`latency`, {} files of {:.2} GB, {} workers of {} MiB",
        grouped(files),
        bytes as f64 / 1e9,
        options.workers,
        options.memory_mb
    );
    let (spark, sections) = sections(&fs::read_to_string(&measured)?, &input);
    let date = date.map_or_else(today, str::to_owned);
    let mut machine = Machine::this(&programs);
    machine.contestants.truncate(1);
    machine.contestants.push(spark);
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let load = (load_before, machine::load_average());
    let report = Report { command: arguments.join(" "), date, machine, load, sections };
    let text = report.markdown();
    print!("{text}");
    if options.keep {
        let path = keep(&report.date, &report.machine, "spark.md", &text)?;
        eprintln!("kept in {}", path.display());
    }
    Ok(())
}

/// The demo's lake, and the minutes.
fn make(programs: &Programs, lake: &Path, rows: u64) -> Result<(), BenchError> {
    eprintln!("writing {} windows", grouped(rows));
    let demo = Command::new(&programs.peerscope).arg("demo").arg("--lake").arg(lake).output()?;
    let mut windows = Command::new(&programs.benches);
    let windows = windows.arg("windows").arg(lake).arg(rows.to_string()).output()?;
    match demo.status.success() && windows.status.success() {
        true => Ok(()),
        false => Err(BenchError::NoInput("windows")),
    }
}

/// Files below a folder, and their bytes.
fn size(folder: &Path) -> io::Result<(u64, u64)> {
    let (mut files, mut bytes) = (0, 0);
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            let (more, of_them) = size(&entry.path())?;
            (files, bytes) = (files + more, bytes + of_them);
        } else {
            (files, bytes) = (files + 1, bytes + entry.metadata()?.len());
        }
    }
    Ok((files, bytes))
}

/// What was measured, by question; and which Spark it was.
fn sections(measured: &str, input: &str) -> (String, Vec<Section>) {
    let (mut spark, mut sections) = (String::new(), Vec::<Section>::new());
    for line in measured.lines() {
        match *line.split('\t').collect::<Vec<_>>() {
            ["start", who, cpu, wall, peak] => {
                spark = who.to_owned();
                let note = "A session of Spark started, its workers up, the views defined; `peerscope \
                            sql` starts anew for each question, which is in its times. In `quantiles` \
                            and `span` ours merges with `hdr_merge`, Spark with plain SQL.";
                let mut section = section("start", format!("start: {input}"), note.to_owned());
                add(&mut section, who, measured_run(cpu, wall, peak));
                sections.push(section);
            }
            ["question", name, rows, sql] => {
                let note = format!("{rows} rows, every value the same.\n\n```sql\n{sql}\n```");
                sections.push(section("spark", name.to_owned(), note));
            }
            ["run", who, cpu, wall, peak] => {
                if let Some(section) = sections.last_mut() {
                    add(section, who, measured_run(cpu, wall, peak));
                }
            }
            _ => {}
        }
    }
    for section in &mut sections {
        section.peers = if section.rows.len() > 1 { vec![spark.clone()] } else { Vec::new() };
    }
    (spark, sections)
}

fn section(name: &'static str, input: String, note: String) -> Section {
    let (unit, rows) = ("rows", Vec::new());
    Section { name, input, unit, units: None, peers: Vec::new(), note, rows }
}

fn measured_run(cpu: &str, wall: &str, peak_bytes: &str) -> Option<Run> {
    let secs = |text: &str| Duration::try_from_secs_f64(text.parse().ok()?).ok();
    Some(Run::measured(secs(cpu)?, secs(wall)?, peak_bytes.parse().ok()?))
}

fn add(section: &mut Section, who: &str, run: Option<Run>) {
    let row = section.rows.iter_mut().find(|row| row.contestant == who);
    match (row, run) {
        (Some(Row { runs: Ok(runs), .. }), Some(run)) => runs.push(run),
        (None, Some(run)) => {
            section.rows.push(Row { contestant: who.to_owned(), runs: Ok(vec![run]) });
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_a_question_come_together() {
        let measured = "start\tSpark 4\t9.5\t20.0\t100\nquestion\trows\t1\tselect 1\n\
                        run\tpeerscope sql\t0.5\t0.25\t7\nrun\tSpark 4\t2.0\t1.0\t9\n\
                        run\tpeerscope sql\t0.6\t0.25\t7\nrun\tSpark 4\t2.5\t1.0\t9\n";
        let (spark, sections) = sections(measured, "a lake");
        assert_eq!(spark, "Spark 4");
        let shape: Vec<Vec<(&str, usize)>> = sections
            .iter()
            .map(|section| {
                let runs = |row: &Row| row.runs.as_ref().map_or(0, Vec::len);
                section.rows.iter().map(|row| (row.contestant.as_str(), runs(row))).collect()
            })
            .collect();
        assert_eq!(shape, [vec![("Spark 4", 1)], vec![("peerscope sql", 2), ("Spark 4", 2)]]);
        assert_eq!(sections[1].peers, ["Spark 4"]);
    }
}
