//! The world that `rtt` measures: a configuration and samples, written by a process of its own.
//!
//! A process of its own because a child's peak memory starts at that of its parent: whoever starts
//! contestants must stay small.

use std::fs;
use std::io;
use std::path::Path;

use peerscope::simulator::{QuietOptions, quiet};

/// Registered prefixes.
pub(crate) const PREFIXES: u32 = 10_000;
/// How long it lasts.
pub(crate) const MINUTES: u32 = 10;
/// About how many samples each prefix gets in a minute.
const SAMPLES_PER_MINUTE: u32 = 10;
/// Connections that share the prefixes.
const CONNECTIONS: u32 = 100;
/// The seed.
const SEED: u64 = 1;

/// Name of the configuration in the folder.
pub(crate) const CONFIG: &str = "peerscope.toml";
/// Name of the samples in the folder.
pub(crate) const SAMPLES: &str = "rtt.jsonl";

/// Writes the world: about a million samples.
pub(crate) fn write(folder: &Path) -> io::Result<()> {
    let options = QuietOptions {
        connections: CONNECTIONS,
        prefixes: PREFIXES,
        samples_per_minute: SAMPLES_PER_MINUTE,
        minutes: MINUTES,
        background_prefixes: 0,
        background_flaps: 0,
    };
    let simulation = quiet(SEED, &options);
    fs::write(folder.join(CONFIG), simulation.config)?;
    fs::write(folder.join(SAMPLES), simulation.rtt)
}
