//! The demo's inputs in slices, so that a service that is killed again and again has something to read
//! each time: the demo again and again, where many are wanted. They lie on several days, so that there are
//! days that are over and can be compacted.

use std::fs;
use std::process::{Child, Stdio};

use schemas::time::Timestamp;

use super::{Bench, mrt_records};

/// Slices that the demo is cut into.
const PER_DEMO: usize = 40;
/// Days that the slices are spread over, at least.
const DAYS: usize = 4;
const DAY_SECS: u32 = 86_400;
/// The day of the demo, and when it begins.
const DAY: &str = "2026-03-04";
const DAY_STARTS: Timestamp = Timestamp::from_secs(1_772_582_400);

/// The demo's inputs, cut into slices that come one after the other.
pub struct Slices {
    pub bench: Bench,
    pub names: Vec<String>,
    /// Configurations by the name of their file, without the source.
    pub configs: Vec<(&'static str, String)>,
}

impl Slices {
    /// Slices of the updates and of the samples, in the order of their time; at least so many.
    pub fn new(count: usize, settings: &str) -> Self {
        Self::for_files(count, &[("run", settings.to_owned())])
    }

    /// The same, with further configurations beside `run`.
    pub fn for_files(count: usize, settings: &[(&'static str, String)]) -> Self {
        let bench = Bench::with_demo_inputs();
        let config = fs::read_to_string(bench.path("in/peerscope.toml")).unwrap();
        fs::create_dir(bench.path("parts")).unwrap();
        fs::copy(bench.path("in/rib.mrt"), bench.path("parts/0000-rib.mrt")).unwrap();
        let mut names = vec!["0000-rib.mrt".to_owned()];
        let updates = mrt_records(&fs::read(bench.path("in/updates.mrt")).unwrap());
        let samples = fs::read_to_string(bench.path("in/rtt.jsonl")).unwrap();
        let samples: Vec<&str> = samples.lines().collect();
        let demos = count.div_ceil(PER_DEMO);
        let (count, days) = (demos * PER_DEMO, demos.max(DAYS));
        for slice in 0..count {
            let part = slice % PER_DEMO;
            let of = |all: usize| all * part / PER_DEMO..all * (part + 1) / PER_DEMO;
            let secs = u32::try_from(slice * days / count).unwrap() * DAY_SECS;
            let mut routes = updates.get(of(updates.len())).unwrap().to_vec();
            routes.iter_mut().for_each(|record| move_on(record, secs));
            let routes = routes.concat();
            let day = DAY_STARTS.plus_secs(secs.into()).day();
            let rtt = samples.get(of(samples.len())).unwrap().join("\n");
            let rtt = rtt.replace(DAY, &day);
            for (kind, bytes) in [("updates.mrt", routes), ("rtt.jsonl", rtt.into_bytes())] {
                if !bytes.is_empty() {
                    let name = format!("{:04}-{kind}", slice + 1);
                    bench.write(&format!("parts/{name}"), bytes);
                    names.push(name);
                }
            }
        }
        let whole = |settings: &String| format!("{config}\n{settings}");
        let configs = settings.iter().map(|(name, settings)| (*name, whole(settings))).collect();
        Self { bench, names, configs }
    }

    /// Compacts what is over, and may die at it.
    pub fn compact(&self, round: usize) -> Child {
        let point = if round.is_multiple_of(2) { "compaction_create" } else { "compaction_delete" };
        let all = ["lake", "compact", "--after-hours", "0", "--lake", "lake"];
        let mut command = self.bench.command(&all);
        command.env("PEERSCOPE_KILL_AT", format!("{point}:{}", 1 + round / 2 % 4));
        command.env("PEERSCOPE_KILL_LOG", self.bench.path("kills"));
        let told = fs::File::create(self.bench.path("compaction-told")).unwrap();
        command.stdout(Stdio::null()).stderr(told).spawn().unwrap()
    }

    /// Waits for a compaction; it was killed, or it ended well.
    pub fn compacted(&self, mut child: Child) {
        let status = child.wait().unwrap();
        let told = fs::read_to_string(self.bench.path("compaction-told")).unwrap();
        assert!(matches!(status.code(), None | Some(0)), "{status}: {told}");
    }

    /// Writes a configuration whose source has the first slices.
    pub fn give(&self, count: usize) {
        let paths: Vec<String> =
            self.names.iter().take(count).map(|name| format!("\"../parts/{name}\"")).collect();
        let source = "[source.archive]\nkind = \"folder\"\ncollector = \"archive\"\n";
        for (name, config) in &self.configs {
            let text = format!("{config}\n{source}paths = [{}]\n", paths.join(", "));
            // Whoever reads it meanwhile reads a whole one.
            self.bench.write("in/new.toml", text);
            let place = self.bench.path(&format!("in/{name}.toml"));
            fs::rename(self.bench.path("in/new.toml"), place).unwrap();
        }
    }
}

/// Moves the time of an MRT record on.
fn move_on(record: &mut [u8], secs: u32) {
    let (time, _) = record.split_first_chunk_mut::<4>().unwrap();
    *time = (u32::from_be_bytes(*time) + secs).to_be_bytes();
}
