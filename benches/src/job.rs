//! What a contestant runs, and how its answer is read.

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::bgpkit;
use crate::contest::BenchError;
use crate::udaf::Query;

/// Exit code of `peerscope` for an input that is damaged, and used up to the damage.
const DAMAGED: i32 = 65;

/// Programs that contestants are.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    /// Built beside this binary.
    pub(crate) peerscope: PathBuf,
    /// This binary.
    pub(crate) benches: PathBuf,
}

impl Programs {
    /// Finds them beside this binary.
    ///
    /// # Errors
    /// [`BenchError::NotBuilt`].
    pub(crate) fn find() -> Result<Self, BenchError> {
        let benches = std::env::current_exe()?;
        let peerscope = benches.with_file_name("peerscope");
        if peerscope.exists() { Ok(Self { peerscope, benches }) } else { Err(BenchError::NotBuilt) }
    }
}

/// Every sample, measured or lost, must be in a row of its window.
const SAMPLES_IN_ROWS: &str = "select sum(samples + lost) as samples from latency";

/// One contestant's work on one input.
#[derive(Clone, Debug)]
pub(crate) enum Job {
    /// `peerscope decode`: elements counted.
    Decode(PathBuf),
    /// bgpkit-parser's elements counted.
    Bgpkit(PathBuf),
    /// `bgpdump -m`: elements as text.
    Bgpdump(PathBuf),
    /// `peerscope replay` of an archive: a lake.
    Replay {
        /// The archive.
        input: PathBuf,
        /// The configuration.
        config: PathBuf,
        /// Whether it keeps every element, so that every one must become a row.
        keeps_all: bool,
    },
    /// `peerscope replay` of samples: latency rows.
    Rtt {
        /// The samples.
        input: PathBuf,
        /// The configuration.
        config: PathBuf,
    },
    /// `peerscope replay` of messages of RIS Live: findings.
    Live {
        /// The messages.
        input: PathBuf,
        /// The configuration.
        config: PathBuf,
    },
    /// `peerscope demo`: simulate, replay, tell.
    Demo,
    /// A query over a lake.
    Query(Query),
}

impl Job {
    /// The command, working in a folder of its own.
    pub(crate) fn command(&self, programs: &Programs, folder: &Path) -> Command {
        let mut command = match self {
            Self::Query(query) => query.command(programs),
            Self::Bgpkit(_) => Command::new(&programs.benches),
            Self::Bgpdump(_) => Command::new("bgpdump"),
            _ => Command::new(&programs.peerscope),
        };
        match self {
            Self::Decode(input) => command.args(["decode", "--format", "count"]).arg(input),
            Self::Bgpkit(input) => command.arg("bgpkit").arg(input),
            Self::Bgpdump(input) => command.arg("-m").arg(input),
            Self::Replay { input, config, .. }
            | Self::Rtt { input, config }
            | Self::Live { input, config } => command
                .arg("replay")
                .arg("--config")
                .arg(config)
                .arg("--lake")
                .arg("lake")
                .arg(input),
            Self::Demo => command.args(["demo", "--lake", "lake"]),
            Self::Query(_) => &mut command,
        };
        let folder = match self {
            Self::Query(query) => query.folder(),
            _ => folder,
        };
        command.current_dir(folder).stdin(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Who it is.
    pub(crate) fn contestant(&self) -> String {
        match self {
            Self::Decode(_) => "peerscope decode".to_owned(),
            Self::Bgpkit(_) => bgpkit_name(),
            Self::Bgpdump(_) => BGPDUMP.to_owned(),
            Self::Replay { keeps_all, .. } => {
                let keep = if *keeps_all { "all" } else { "ours" };
                format!("peerscope replay, keep = \"{keep}\"")
            }
            Self::Rtt { .. } | Self::Live { .. } => "peerscope replay".to_owned(),
            Self::Demo => "peerscope demo".to_owned(),
            Self::Query(query) => query.contestant(),
        }
    }

    /// Whether the answer is read of every run: what bgpdump prints is too much for a timed one.
    pub(crate) const fn answers_each_time(&self) -> bool {
        !matches!(self, Self::Bgpdump(_))
    }

    /// Whether an exit code means that the work was done, here on an input that is cut or not.
    pub(crate) fn is_done(&self, code: Option<i32>, is_cut: bool) -> bool {
        code == Some(0) || (is_cut && code == Some(DAMAGED))
    }

    /// Reads the answer; none is a wrong answer.
    ///
    /// # Errors
    /// If stdout cannot be read.
    pub(crate) fn answer(&self, stdout: impl BufRead) -> std::io::Result<Option<u64>> {
        let mut lines = stdout.lines();
        match self {
            Self::Bgpdump(_) => {
                let mut elements = 0;
                for line in lines {
                    elements += u64::from(is_element(&line?));
                }
                Ok(Some(elements))
            }
            Self::Decode(_) => Ok(nth_field(lines.nth(1).transpose()?, '\t', 2)),
            Self::Bgpkit(_) => Ok(nth_field(lines.next().transpose()?, '\t', 0)),
            Self::Query(query) => {
                Ok(lines.nth(1).transpose()?.and_then(|line| query.answer(&line)))
            }
            Self::Replay { .. } | Self::Rtt { .. } | Self::Live { .. } => {
                let text: Vec<String> = lines.collect::<Result<_, _>>()?;
                Ok(self.of_replay(&Told::read(&text)))
            }
            Self::Demo => {
                let mut told = 0;
                for line in lines {
                    told += line?.len() as u64;
                }
                Ok(Some(told))
            }
        }
    }

    /// Whether the tables say so too, where what is printed does not tell.
    ///
    /// # Errors
    /// If the tables cannot be asked.
    pub(crate) fn is_confirmed(
        &self,
        answer: u64,
        programs: &Programs,
        folder: &Path,
    ) -> std::io::Result<bool> {
        if !matches!(self, Self::Rtt { .. }) {
            return Ok(true);
        }
        let mut command = Command::new(&programs.peerscope);
        command.args(["sql", "--lake", "lake", "--format", "tsv", "-c", SAMPLES_IN_ROWS]);
        let told = command.current_dir(folder).output()?.stdout;
        let told = String::from_utf8_lossy(&told);
        Ok(told.lines().nth(1).and_then(|line| line.trim().parse().ok()) == Some(answer))
    }

    /// What was read if what became of it adds up: what was kept must be in the tables.
    fn of_replay(&self, told: &Told) -> Option<u64> {
        let is_whole = match self {
            Self::Replay { keeps_all: true, .. } => told.ours == told.rows("route_updates")?,
            Self::Replay { .. } => {
                let is_filtered = 0 < told.ours && told.ours < told.read;
                is_filtered && told.ours == told.rows("route_updates")?
            }
            Self::Live { .. } => 0 < told.ours && told.ours == told.rows("route_updates")?,
            _ => told.ours == told.read && 0 < told.rows("latency")?,
        };
        let accounted = told.ours + told.of_others;
        (is_whole && accounted == told.read).then_some(accounted)
    }
}

/// The peer that ratios name first.
pub(crate) fn bgpkit_name() -> String {
    format!("bgpkit-parser {}", bgpkit::version())
}

/// The peer that ratios name second.
pub(crate) const BGPDUMP: &str = "bgpdump -m";

/// Whether a line of `bgpdump -m` is an element: announced, withdrawn, or of a table.
fn is_element(line: &str) -> bool {
    matches!(line.split('|').nth(2), Some("A" | "W" | "B"))
}

fn nth_field(line: Option<String>, between: char, place: usize) -> Option<u64> {
    line?.split(between).nth(place)?.parse().ok()
}

/// What `peerscope replay` prints.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    /// Read, without what was refused.
    read: u64,
    ours: u64,
    of_others: u64,
    tables: Vec<(String, u64)>,
}

impl Told {
    fn read(lines: &[String]) -> Self {
        let mut told = Self::default();
        for line in lines {
            let Some((head, facts)) = line.split_once(": ") else { continue };
            if head.starts_with("rows in ") {
                told.tables.extend(facts.split(", ").filter_map(|fact| {
                    let (table, rows) = fact.split_once(' ')?;
                    Some((table.to_owned(), rows.parse().ok()?))
                }));
                continue;
            }
            let count = |name: &str| {
                let fact = facts.split(", ").find_map(|fact| fact.strip_suffix(name));
                fact.and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or(0)
            };
            told.read += count(" read").saturating_sub(count(" refused"));
            told.ours += count(" ours");
            told.of_others += count(" of others");
        }
        told
    }

    fn rows(&self, table: &str) -> Option<u64> {
        self.tables.iter().find(|(name, _)| name == table).map(|(_, rows)| *rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replay(keeps_all: bool) -> Job {
        Job::Replay { input: PathBuf::new(), config: PathBuf::new(), keeps_all }
    }

    const TOLD: &str = "a.gz: 11 read, 4 ours, 6 of others, 0 quarantined, 1 refused\n\
                        rows in lake: connections 2, route_updates 4\n";

    #[test]
    fn a_replay_answers_what_it_read_if_its_tables_hold_what_it_kept() {
        assert_eq!(replay(false).answer(TOLD.as_bytes()).unwrap(), Some(10));
        let short = TOLD.replace("route_updates 4", "route_updates 3");
        assert_eq!(replay(false).answer(short.as_bytes()).unwrap(), None);
    }

    #[test]
    fn a_replay_that_lost_an_element_has_no_answer() {
        let lost = TOLD.replace("6 of others", "5 of others");
        assert_eq!(replay(true).answer(lost.as_bytes()).unwrap(), None);
    }

    #[test]
    fn bgpdump_answers_with_its_lines_but_not_of_sessions() {
        let text = "BGP4MP|1|A|x\nBGP4MP|1|STATE|x\nTABLE_DUMP2|1|B|x\nBGP4MP|1|W|x\n";
        let answer = Job::Bgpdump(PathBuf::new()).answer(text.as_bytes()).unwrap();
        assert_eq!(answer, Some(3));
    }

    #[test]
    fn a_count_is_the_third_column() {
        let text = "file\trecords\telements\nx\t5\t7\t7\t0\t0\n";
        assert_eq!(Job::Decode(PathBuf::new()).answer(text.as_bytes()).unwrap(), Some(7));
    }

    #[test]
    fn damage_is_forgiven_where_the_input_is_known_to_be_cut() {
        assert!(Job::Demo.is_done(Some(0), false) && Job::Demo.is_done(Some(65), true));
        assert!(!Job::Demo.is_done(Some(65), false) && !Job::Demo.is_done(None, true));
    }
}
