//! A contest: every contestant gives the right answer once, then they run in turn.
//!
//! In turn, not one after the other: what else the machine does then falls on all of them.

use std::io::{self, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use wait4::Wait4 as _;

use crate::job::{Job, Programs};

/// Timed runs of each contestant.
const RUNS: usize = 5;
/// Timed runs of a slow one.
const RUNS_SLOW: usize = 3;
/// CPU time from which a contestant is slow.
const SLOW: Duration = Duration::from_secs(5);

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// Nothing to measure.
    #[error("no `peerscope` beside this binary: build it with `cargo build --release`")]
    NotBuilt,
    /// An input was not written.
    #[error("the input of `{0}` could not be written")]
    NoInput(&'static str),
    /// The system says no.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// One run of one contestant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    /// CPU time in its own code.
    pub(crate) user: Duration,
    /// CPU time in the system.
    pub(crate) system: Duration,
    /// Time on the wall.
    pub(crate) wall: Duration,
    /// Peak resident memory.
    pub(crate) peak_bytes: u64,
    /// Whether it ended well and, if it was asked, with which answer.
    answer: Answer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    NotAsked,
    Is(u64),
    None,
}

impl Run {
    /// A run that measured itself, after it had given the right answer.
    pub(crate) const fn measured(cpu: Duration, wall: Duration, peak_bytes: u64) -> Self {
        Self { user: cpu, system: Duration::ZERO, wall, peak_bytes, answer: Answer::NotAsked }
    }

    /// CPU time.
    pub(crate) fn cpu(&self) -> Duration {
        self.user + self.system
    }
}

/// One contestant's row.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Who.
    pub(crate) contestant: String,
    /// Its timed runs, or why there are none.
    pub(crate) runs: Result<Vec<Run>, String>,
}

/// One contest.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    /// A word for `raw.csv`.
    pub(crate) name: &'static str,
    /// What was put in.
    pub(crate) input: String,
    /// What is counted: elements, samples.
    pub(crate) unit: &'static str,
    /// How many there are: the right answer, if it is one.
    pub(crate) units: Option<u64>,
    /// Contestants that the others are compared with.
    pub(crate) peers: Vec<String>,
    /// What must be known of it.
    pub(crate) note: String,
    /// The contestants.
    pub(crate) rows: Vec<Row>,
}

/// Whether the input ends before its end, and what the right answer is; none if the first answer is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Truth {
    /// See [`crate::corpus::Archive::is_cut`].
    pub(crate) is_cut: bool,
    /// The right answer.
    pub(crate) answer: Option<u64>,
}

/// Checks every contestant, then times those that gave the right answer.
///
/// # Errors
/// What the system says of folders and processes.
pub(crate) fn race(
    programs: &Programs,
    jobs: &[Job],
    truth: Truth,
) -> Result<Vec<Row>, BenchError> {
    let mut lanes = Vec::new();
    for job in jobs {
        eprintln!("checking {}", job.contestant());
        lanes.push(Lane::check(programs, job, truth)?);
    }
    for round in 0..RUNS {
        for lane in &mut lanes {
            lane.run(programs, round)?;
        }
    }
    Ok(lanes.into_iter().map(Lane::into_row).collect())
}

struct Lane<'a> {
    job: &'a Job,
    truth: Truth,
    runs_wanted: usize,
    runs: Result<Vec<Run>, String>,
}

impl<'a> Lane<'a> {
    fn check(programs: &Programs, job: &'a Job, mut truth: Truth) -> Result<Self, BenchError> {
        let mut lane = Self { job, truth, runs_wanted: 0, runs: Ok(Vec::new()) };
        match run(programs, job, truth.is_cut, true) {
            Ok(warm_up) => {
                if let Answer::Is(answer) = warm_up.answer {
                    truth.answer.get_or_insert(answer);
                }
                lane.truth = truth;
                lane.runs_wanted = if warm_up.cpu() > SLOW { RUNS_SLOW } else { RUNS };
                lane.judge(&warm_up);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                lane.runs = Err("not installed: apt-get install bgpdump".to_owned());
            }
            Err(error) => return Err(error.into()),
        }
        Ok(lane)
    }

    fn run(&mut self, programs: &Programs, round: usize) -> Result<(), BenchError> {
        if round >= self.runs_wanted || self.runs.is_err() {
            return Ok(());
        }
        eprintln!("run {} of {}", round + 1, self.job.contestant());
        let asks = self.job.answers_each_time();
        let run = run(programs, self.job, self.truth.is_cut, asks)?;
        if let Ok(runs) = &mut self.runs {
            runs.push(run);
        }
        self.judge(&run);
        Ok(())
    }

    /// A wrong answer ends it, however fast it came.
    fn judge(&mut self, run: &Run) {
        let wrong = match run.answer {
            Answer::NotAsked => return,
            Answer::Is(answer) if Some(answer) == self.truth.answer => return,
            Answer::Is(answer) => {
                let right = self.truth.answer.unwrap_or(0);
                format!("not timed: its answer is {answer}, the right one {right}")
            }
            Answer::None => "not timed: it failed, or what it says does not add up".to_owned(),
        };
        self.runs = Err(wrong);
    }

    fn into_row(self) -> Row {
        Row { contestant: self.job.contestant(), runs: self.runs }
    }
}

fn run(programs: &Programs, job: &Job, is_cut: bool, asks: bool) -> io::Result<Run> {
    let folder = tempfile::tempdir()?;
    let mut command = job.command(programs, folder.path());
    command.stdout(if asks { Stdio::piped() } else { Stdio::null() });
    let began = Instant::now();
    let mut child = command.spawn()?;
    let told = child.stdout.take().map(|stdout| job.answer(BufReader::new(stdout)));
    let used = child.wait4()?;
    let wall = began.elapsed();
    let answer = match told.transpose()? {
        _ if !job.is_done(used.status.code(), is_cut) => Answer::None,
        None => Answer::NotAsked,
        Some(Some(answer)) if job.is_confirmed(answer, programs, folder.path())? => {
            Answer::Is(answer)
        }
        Some(_) => Answer::None,
    };
    Ok(Run {
        user: used.rusage.utime,
        system: used.rusage.stime,
        wall,
        peak_bytes: used.rusage.maxrss,
        answer,
    })
}

/// Runs this binary once to write an input: the world of `rtt`, the big archive. This process stays
/// small, see [`crate::world`].
///
/// # Errors
/// [`BenchError::NoInput`]
pub(crate) fn write_input(
    programs: &Programs,
    what: &'static str,
    folder: &Path,
) -> Result<(), BenchError> {
    let mut command = std::process::Command::new(&programs.benches);
    match command.arg(what).arg(folder).status()?.success() {
        true => Ok(()),
        false => Err(BenchError::NoInput(what)),
    }
}
