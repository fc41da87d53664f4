//! The demo's inputs in slices, so that a service that is killed again and again has something to read
//! each time.

use std::fs;

use super::{Bench, mrt_records};

/// The demo's inputs, cut into slices that come one after the other.
pub struct Slices {
    pub bench: Bench,
    pub names: Vec<String>,
    /// Configurations by the name of their file, without the source.
    pub configs: Vec<(&'static str, String)>,
}

impl Slices {
    /// Slices of the updates and of the samples, in the order of their time.
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
        for slice in 0..count {
            let of = |all: usize| all * slice / count..all * (slice + 1) / count;
            let routes = updates.get(of(updates.len())).unwrap().concat();
            let rtt = samples.get(of(samples.len())).unwrap().join("\n");
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
