//! What a result depends on: the machine and the versions. Nothing that names one machine of many.

use std::fs;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use schemas::time::Timestamp;

use crate::bgpkit;
use crate::job::Programs;

const NOT_KNOWN: &str = "not known";

/// A kind of machine, and what runs on it.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// Model of the CPU.
    pub(crate) cpu: String,
    /// Logical CPUs.
    pub(crate) cpus: usize,
    /// Release of the kernel.
    pub(crate) kernel: String,
    /// What compiled us.
    pub(crate) rustc: String,
    /// Who ran, with versions.
    pub(crate) contestants: Vec<String>,
}

impl Machine {
    /// This one.
    pub(crate) fn this(programs: &Programs) -> Self {
        let cpu_info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpu_info.lines().find_map(|line| line.strip_prefix("model name"));
        let cpu = model.and_then(|line| line.split_once(':')).map(|(_, model)| model.trim());
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease");
        let bgpdump = told_by(Command::new("bgpdump").arg("-V"), "bgpdump version");
        Self {
            cpu: cpu.unwrap_or(NOT_KNOWN).to_owned(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: kernel.map_or(NOT_KNOWN.to_owned(), |text| text.trim().to_owned()),
            rustc: told_by(Command::new("rustc").arg("--version"), "rustc")
                .unwrap_or_else(|| NOT_KNOWN.to_owned()),
            contestants: vec![
                told_by(Command::new(&programs.peerscope).arg("--version"), "peerscope")
                    .unwrap_or_else(|| format!("peerscope {NOT_KNOWN}")),
                format!("bgpkit-parser {}", bgpkit::version()),
                bgpdump.map_or("bgpdump: not installed".to_owned(), |line| {
                    line.replacen(" version", "", 1)
                }),
            ],
        }
    }

    /// For the name of a folder: maker and family of the CPU, and how many.
    pub(crate) fn slug(&self) -> String {
        let plain = self.cpu.replace("(R)", "").replace("(TM)", "").replace('@', " ");
        let words = plain
            .split_whitespace()
            .filter(|word| !matches!(*word, "CPU" | "Processor") && !word.ends_with("GHz"));
        let words: Vec<String> = words
            .map(|word| {
                let kept = word.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-');
                kept.collect::<String>().to_ascii_lowercase()
            })
            .filter(|word| !word.is_empty())
            .collect();
        format!("{}-{}cpu", words.join("-"), self.cpus)
    }
}

/// The first line that a program prints, on stdout or stderr, that begins with a word.
fn told_by(command: &mut Command, word: &str) -> Option<String> {
    let output = command.output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    text.lines().find(|line| line.starts_with(word)).map(str::to_owned)
}

/// How many wanted a CPU in the last minute.
pub(crate) fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().filter(|load| !load.is_empty()).unwrap_or(NOT_KNOWN).to_owned()
}

/// Today in UTC.
#[expect(clippy::disallowed_methods, reason = "a report has the date of its run")]
pub(crate) fn today() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_secs(i64::try_from(since.as_secs()).unwrap_or(0)).day()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_is_the_family_not_the_marks() {
        let of = |cpu: &str| {
            let cpu = cpu.to_owned();
            let (kernel, rustc) = (String::new(), String::new());
            Machine { cpu, cpus: 2, kernel, rustc, contestants: Vec::new() }.slug()
        };
        assert_eq!(of("Intel(R) Xeon(R) Processor"), "intel-xeon-2cpu");
        assert_eq!(of("AMD EPYC 7763 64-Core Processor"), "amd-epyc-7763-64-core-2cpu");
        assert_eq!(of("Intel(R) Xeon(R) CPU E5-2673 v4 @ 2.30GHz"), "intel-xeon-e5-2673-v4-2cpu");
    }
}
