//! The inputs: real archives of the data folder, by name, size, checksum and right answer.
//!
//! The data folder is `$PEERSCOPE_DATA`, else `../shared/data`; none of it is part of the project,
//! and its `PROVENANCE.md` says where each file comes from.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

/// Where the data folder lies, from the root of the project.
const DATA: &str = "../shared/data";
/// A prefix of documentation, in none of the archives.
const ABSENT: &str = "198.51.100.0/24";

/// An archive whose right answer is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Archive {
    /// Its name under `mrt/`.
    pub(crate) name: &'static str,
    /// What it is, in a few words.
    pub(crate) what: &'static str,
    /// Its size.
    pub(crate) bytes: u64,
    /// Its checksum, in hexadecimal digits.
    pub(crate) sha256: &'static str,
    /// Prefixes announced or withdrawn in it: the right answer.
    pub(crate) elements: u64,
    /// Whether it ends inside a compressed block: good up to there, and told as damaged.
    pub(crate) is_cut: bool,
    /// A prefix that is in it, and its origin.
    pub(crate) present: (&'static str, u32),
}

/// The largest archives at hand.
pub(crate) const ARCHIVES: [Archive; 3] = [
    Archive {
        name: "ripe-bgpdump.updates.et-header.2015.gz",
        what: "updates of 2015, gzip",
        bytes: 3_116_363,
        sha256: "597efd0b508cd34003f04a1e3ba2ccf60f2b153747d321236dfe91cf15e1530c",
        elements: 577_740,
        is_cut: false,
        present: ("177.154.84.0/22", 262_949),
    },
    Archive {
        name: "bgp-rs.updates.20190101.0000.gz",
        what: "updates of 2019, gzip",
        bytes: 1_294_005,
        sha256: "35dd835a51525ef0cf16f0b85357b1133e96e169615642c7488253e3afc2f757",
        elements: 162_574,
        is_cut: false,
        present: ("46.184.189.0/24", 51_375),
    },
    Archive {
        name: "pyasn.rib.20140523.0600_firstMB.bz2",
        what: "a table of 2014, its first 1 MiB of bzip2",
        bytes: 1_048_576,
        sha256: "989f875dcb5d950a88c270b9dcf0fdf3639edb84fcc12219b5e98a9ea9416f0d",
        elements: 270_005,
        is_cut: true,
        present: ("1.8.8.0/24", 38_345),
    },
];

impl Archive {
    /// Its path, if it is the file that this list means; else why not.
    pub(crate) fn find(&self) -> Result<PathBuf, String> {
        let path = folder().join("mrt").join(self.name);
        let file = File::open(&path)
            .map_err(|_| "no such file: set PEERSCOPE_DATA to the data folder".to_owned())?;
        let (bytes, sha256) = digest(file).map_err(|error| error.to_string())?;
        if bytes != self.bytes || sha256 != self.sha256 {
            return Err("another file: its size or checksum differs".to_owned());
        }
        path.canonicalize().map_err(|error| error.to_string())
    }

    /// A configuration of one connection: a prefix that is in the archive, and one that is not.
    pub(crate) fn config(&self, keep: &str) -> String {
        config(self.present, keep)
    }
}

/// A configuration of one connection: a prefix that is in an archive, with its origin, and one that
/// is not.
pub(crate) fn config((present, origin): (&str, u32), keep: &str) -> String {
    format!(
        "[log]\nkeep = \"{keep}\"\n\n[[connection]]\nname = \"bench\"\ntenant = \"bench\"\n\
             kind = \"peering_service\"\nprefixes = [\"{present}\", \"{ABSENT}\"]\n\
             origin_asns = [{origin}]\n"
    )
}

/// The archives that the big one is made of, in its order: all of updates, of 2015, 2019 and 2016.
const SOURCES: [&str; 3] = [
    "ripe-bgpdump.updates.et-header.2015.gz",
    "bgp-rs.updates.20190101.0000.gz",
    "ripe-bgpdump.updates.20160811.1600.gz",
];

/// Where those archives are.
///
/// # Errors
/// Which one is not there.
pub(crate) fn sources() -> Result<Vec<PathBuf>, String> {
    let paths = SOURCES.iter().map(|name| folder().join("mrt").join(name));
    let paths: Vec<PathBuf> = paths.collect();
    match paths.iter().find(|path| !path.exists()) {
        Some(absent) => {
            Err(format!("no {}: set PEERSCOPE_DATA to the data folder", absent.display()))
        }
        None => Ok(paths),
    }
}

/// The data folder.
pub(crate) fn folder() -> PathBuf {
    std::env::var_os("PEERSCOPE_DATA").map_or(PathBuf::from(DATA), PathBuf::from)
}

/// Size and checksum, without holding the file: see [`crate::world`] on memory.
fn digest(file: File) -> io::Result<(u64, String)> {
    let mut reader = BufReader::new(file);
    let (mut hasher, mut bytes) = (Sha256::new(), 0);
    loop {
        let part = reader.fill_buf()?;
        if part.is_empty() {
            let digits = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            return Ok((bytes, digits));
        }
        hasher.update(part);
        let came = part.len();
        bytes += came as u64;
        reader.consume(came);
    }
}
