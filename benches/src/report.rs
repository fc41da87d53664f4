//! What is kept of a run: a page to read and every single measurement.
//!
//! Rows that we lose are printed like rows that we win. Where the runs of two contestants overlap
//! their ratio says so.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::contest::{Row, Run, Section};
use crate::machine::Machine;

/// Where full runs are kept, from the root of the project.
const RUNS: &str = "benches/runs";

/// How the kept page leads to the page on how to read it.
const HOW_TO_READ: &str = "[how to read it](../../README.md)";

/// Keeps a page beside those of its day and machine; where it lies.
pub(crate) fn keep(date: &str, machine: &Machine, name: &str, text: &str) -> io::Result<PathBuf> {
    let folder = Path::new(RUNS).join(format!("{date}-{}", machine.slug()));
    fs::create_dir_all(&folder)?;
    let path = folder.join(name);
    fs::write(&path, text)?;
    Ok(path)
}

/// A run of some contests.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// The arguments.
    pub(crate) command: String,
    /// `YYYY-MM-DD`.
    pub(crate) date: String,
    /// Where.
    pub(crate) machine: Machine,
    /// Load average before and after.
    pub(crate) load: (String, String),
    /// What was measured.
    pub(crate) sections: Vec<Section>,
}

impl Report {
    /// The page.
    pub(crate) fn markdown(&self) -> String {
        let machine = &self.machine;
        let mut text = format!("# Benchmarks of {}, {}\n\n", self.date, machine.cpu);
        if cfg!(debug_assertions) {
            text.push_str("**A development build: these numbers mean nothing.**\n\n");
        }
        let facts = [
            ("Command", format!("`cargo run --release -p peerscope-benches -- {}`", self.command)),
            ("CPU", format!("{}, {} logical CPUs", machine.cpu, machine.cpus)),
            ("Kernel", machine.kernel.clone()),
            ("Compiler", machine.rustc.clone()),
            ("Contestants", machine.contestants.join(", ")),
            ("Load average before and after", format!("{} and {}", self.load.0, self.load.1)),
        ];
        for (name, value) in facts {
            line(&mut text, format_args!("- {name}: {value}"));
        }
        line(
            &mut text,
            format_args!("\nWhole processes, CPU seconds (user and system), {HOW_TO_READ}."),
        );
        for section in &self.sections {
            write_section(section, &mut text);
        }
        text
    }

    /// Every timed run.
    pub(crate) fn csv(&self) -> String {
        let mut text =
            String::from("section,input,contestant,run,user_s,system_s,wall_s,peak_bytes\n");
        for section in &self.sections {
            let input = section.input.split([':', ',']).next().unwrap_or_default();
            let rows = section.rows.iter().filter_map(|row| Some((row, row.runs.as_ref().ok()?)));
            for (row, runs) in rows {
                let contestant = row.contestant.replace(['"', ','], "");
                for (run, number) in runs.iter().zip(1..) {
                    line(
                        &mut text,
                        format_args!(
                            "{},{input},{contestant},{number},{:.6},{:.6},{:.6},{}",
                            section.name,
                            run.user.as_secs_f64(),
                            run.system.as_secs_f64(),
                            run.wall.as_secs_f64(),
                            run.peak_bytes,
                        ),
                    );
                }
            }
        }
        text
    }
}

/// Writing to a string cannot fail.
fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    let _ = writeln!(text, "{line}");
}

fn write_section(section: &Section, text: &mut String) {
    line(text, format_args!("\n## {}\n", section.input));
    if let Some(units) = section.units {
        let (units, unit) = (grouped(units), section.unit);
        line(text, format_args!("Right answer: {units} {unit}. {}\n", section.note));
    } else {
        line(text, format_args!("{}\n", section.note));
    }
    let mut head = vec!["contestant".to_owned(), "CPU s (min / median / max)".to_owned()];
    head.extend(section.units.map(|_| format!("{} per CPU s", section.unit)));
    head.extend(section.peers.iter().map(|peer| format!("times {peer}")));
    head.extend(["wall s".to_owned(), "peak MB".to_owned(), "runs".to_owned()]);
    line(text, format_args!("| {} |", head.join(" | ")));
    let rule: Vec<&str> = (0..head.len()).map(|at| if at == 0 { "---" } else { "--:" }).collect();
    line(text, format_args!("| {} |", rule.join(" | ")));
    for row in &section.rows {
        let mut cells = match &row.runs {
            Ok(runs) => cells(section, row, runs),
            Err(why) => vec![row.contestant.clone(), why.clone()],
        };
        cells.resize(head.len(), String::new());
        line(text, format_args!("| {} |", cells.join(" | ")));
    }
}

fn cells(section: &Section, row: &Row, runs: &[Run]) -> Vec<String> {
    let Some(cpu) = Spread::of(runs, |run| run.cpu().as_secs_f64()) else {
        return vec![row.contestant.clone(), "not timed".to_owned()];
    };
    let mut cells = vec![row.contestant.clone()];
    cells.push(format!("{:.3} / {:.3} / {:.3}", cpu.min, cpu.median, cpu.max));
    cells.extend(section.units.map(|units| {
        let rate = units as f64 / cpu.median;
        grouped(if rate.is_finite() { rate.round() as u64 } else { 0 })
    }));
    for peer in &section.peers {
        let peer = section.rows.iter().find(|row| row.contestant == *peer);
        let peer = peer.and_then(|row| row.runs.as_ref().ok());
        let peer = peer.and_then(|runs| Spread::of(runs, |run| run.cpu().as_secs_f64()));
        cells.push(peer.map_or_else(|| "-".to_owned(), |peer| cpu.times(&peer)));
    }
    let wall = Spread::of(runs, |run| run.wall.as_secs_f64()).map_or(0.0, |wall| wall.median);
    let peak = runs.iter().map(|run| run.peak_bytes).max().unwrap_or(0);
    cells.extend([
        format!("{wall:.2}"),
        format!("{:.1}", peak as f64 / 1e6),
        runs.len().to_string(),
    ]);
    cells
}

/// Smallest, middle and largest of some measurements.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Spread {
    min: f64,
    median: f64,
    max: f64,
}

impl Spread {
    fn of(runs: &[Run], measure: impl Fn(&Run) -> f64) -> Option<Self> {
        Self::of_values(runs.iter().map(measure).collect())
    }

    /// Of an even number the larger middle one.
    fn of_values(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let median = *values.get(values.len() / 2)?;
        Some(Self { min: *values.first()?, median, max: *values.last()? })
    }

    /// How many times the work of a peer is done in the same CPU time.
    fn times(&self, peer: &Self) -> String {
        let ratio = peer.median / self.median;
        let overlaps = self.min <= peer.max && peer.min <= self.max;
        match overlaps {
            _ if self == peer => "1".to_owned(),
            true => format!("{ratio:.2} (within noise)"),
            false => format!("{ratio:.2}"),
        }
    }
}

/// A number with its thousands apart.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn a_spread_is_of_sorted_values() {
        let spread = Spread::of_values(vec![3.0, 1.0, 2.0]).unwrap();
        assert_eq!(spread, Spread { min: 1.0, median: 2.0, max: 3.0 });
        assert_eq!(Spread::of_values(Vec::new()), None);
    }

    #[test]
    fn a_ratio_says_when_it_is_noise() {
        let of = |min, median, max| Spread { min, median, max };
        let peer = of(1.0, 1.1, 1.2);
        assert_eq!(of(2.0, 2.2, 2.3).times(&peer), "0.50");
        assert_eq!(of(1.1, 1.15, 1.3).times(&peer), "0.96 (within noise)");
        assert_eq!(peer.times(&peer), "1");
    }
}
