//! What the tests of wire formats share: the folder of real files, a sink that counts.

#![allow(clippy::panic, clippy::print_stdout, clippy::unwrap_used)]
#![allow(dead_code, missing_docs, unreachable_pub)]

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ingest::session::bmp::BmpOptions;
use ingest::session::{Action, PeerState, RouteSink, SessionEvent, UpdateView};
use ingest::source::discover::kind;
use ingest::source::elements::Elements;
use ingest::source::open::open;
use schemas::bgp::{PathAttributes, PeerHeader, Prefix};
use schemas::time::Timestamp;

/// One route as it was told.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    pub time: Timestamp,
    pub peer: PeerHeader,
    pub action: Action,
    pub prefix: Prefix,
    pub path_id: Option<u32>,
    pub attributes: Arc<PathAttributes>,
}

/// One session event as it was told.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub time: Timestamp,
    pub peer: PeerHeader,
    pub state: PeerState,
    pub reason: Option<String>,
    pub prefixes_accepted: Option<u64>,
}

/// Counts what it is told, and keeps it if asked.
#[derive(Debug, Default)]
pub struct Tally {
    pub keeps: bool,
    pub elements: u64,
    pub states: u64,
    pub ends: u64,
    pub peers: BTreeSet<PeerHeader>,
    pub routes: Vec<Told>,
    pub events: Vec<Event>,
}

impl RouteSink for Tally {
    fn update(&mut self, update: &UpdateView<'_>) {
        let attributes = Arc::new(update.attributes.decode());
        let borrowed: Vec<_> = update.attributes.as_path().asns().collect();
        assert_eq!(borrowed, attributes.as_path.asns().collect::<Vec<_>>());
        if !self.peers.contains(&**update.header) {
            self.peers.insert(PeerHeader::clone(update.header));
        }
        update.for_each_prefix(|action, prefix, path_id| {
            self.elements += 1;
            if self.keeps {
                self.routes.push(Told {
                    time: update.time,
                    peer: PeerHeader::clone(update.header),
                    action,
                    prefix,
                    path_id,
                    attributes: Arc::clone(&attributes),
                });
            }
        });
    }

    fn session(&mut self, event: &SessionEvent<'_>) {
        match event.state {
            PeerState::EndOfRib(_) => self.ends += 1,
            _ => self.states += 1,
        }
        if self.keeps {
            self.events.push(Event {
                time: event.time,
                peer: PeerHeader::clone(event.header),
                state: event.state,
                reason: event.reason.map(str::to_owned),
                prefixes_accepted: event.prefixes_accepted,
            });
        }
    }
}

/// The folder of real files, if it is there; a build server must have it.
pub fn data(part: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let folder = std::env::var_os("PEERSCOPE_DATA").map_or(beside, PathBuf::from).join(part);
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(std::env::var_os("CI").is_none(), "no real files in {}", folder.display());
    println!("skipped: no real files in {}", folder.display());
    None
}

/// The captures of BMP, by name.
pub fn bmp_files() -> Option<Vec<PathBuf>> {
    let folder = data("bmp")?;
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    Some(files)
}

/// A file of any kind that has elements.
pub fn elements(path: &Path) -> Elements {
    let found = kind(path).unwrap_or_else(|error| panic!("{error}"));
    let name = path.file_name().unwrap().to_str().unwrap();
    let reader = open(path).unwrap();
    let opened = Elements::open(found, reader, "archive".into(), name, BmpOptions::default());
    opened.unwrap().unwrap_or_else(|| panic!("{name}: {found:?}"))
}

/// The plain bytes of a file.
pub fn load(path: &Path) -> Vec<u8> {
    let mut bytes = vec![];
    open(path).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}
