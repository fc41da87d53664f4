//! `peerscope demo`: no configuration, no network. The simulator writes real MRT and JSON lines,
//! `replay` takes them, and SQL over the lake tells the story.

use std::fs;
use std::path::{Path, PathBuf};

use analytics::lake::LakeError;

use super::replay::progress_bar;
use super::{Ended, Global, runtime, story};
use crate::config::{Config, LakeConfig};
use crate::replay::{Request, replay};
use crate::simulator::{self, Simulation};

/// The seed of the story.
const SEED: u64 = 1;
/// Where the demo's lake lies when none is named.
const DEMO_LAKE: &str = "./peerscope-demo";
/// Simulated facts about ASes, beside the simulated configuration.
const REFERENCE: &str = "\n[reference]\nas_relationships = \"as-relationships.txt\"\n\
                         organisations = \"organisations.csv\"\nedges = \"edges.csv\"\n";

/// One hour in a small synthetic Internet, through the whole pipeline
#[derive(Debug, clap::Args)]
pub struct Demo {
    /// Keep the simulated inputs and their configuration in this folder
    #[arg(long, value_name = "DIR")]
    keep_inputs: Option<PathBuf>,
}

impl Demo {
    /// Runs the command.
    ///
    /// # Errors
    /// What stops the replay, or a lake that cannot be read.
    pub fn run(self, global: &Global) -> anyhow::Result<Ended> {
        let lake = LakeConfig::default().root(Some(global.lake.as_deref().unwrap_or(DEMO_LAKE)));
        let lake = lake.map_err(LakeError::from)?;
        let temporary = tempfile::tempdir()?;
        let folder = self.keep_inputs.as_deref().unwrap_or_else(|| temporary.path());
        let simulation = simulator::demo(SEED);
        let config = write(&simulation, folder)?;
        let config = Config::load(Some(&config))?;
        let paths = ["rib.mrt", "updates.mrt", "rtt.jsonl"].map(|name| folder.join(name));
        let request =
            Request { config: &config, lake: &lake, paths: &paths, shards: None, append: false };
        let bar = progress_bar();
        let shown = bar.clone();
        replay(&request, move |time, records| {
            shown.set_message(format!("{records} records, now at {time}"));
        })?;
        bar.finish_and_clear();
        let text = runtime()?.block_on(story::tell(&lake))?;
        std::io::Write::write_all(&mut std::io::stdout().lock(), text.as_bytes())?;
        Ok(Ended::Well)
    }
}

/// Writes the simulated files; the path of their configuration.
fn write(simulation: &Simulation, folder: &Path) -> std::io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let config = format!("{}{REFERENCE}", simulation.config);
    let files: [(&str, &[u8]); 7] = [
        ("peerscope.toml", config.as_bytes()),
        ("as-relationships.txt", simulation.as_relationships.as_bytes()),
        ("organisations.csv", simulation.organisations.as_bytes()),
        ("edges.csv", simulation.edges.as_bytes()),
        ("rib.mrt", &simulation.rib),
        ("updates.mrt", &simulation.updates),
        ("rtt.jsonl", &simulation.rtt),
    ];
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes)?;
    }
    Ok(folder.join("peerscope.toml"))
}
