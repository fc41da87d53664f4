//! Saved states over whole logs: simulated and real archives through the archive log, cut into batches
//! at random; a fold that is saved and restored between them says what one that is left alone says.
//!
//! `PEERSCOPE_STATE_CUTS` says how many cuts are made of each log about; 100 in an ordinary run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing
)]

#[path = "../analytics/src/shard/tests/twins.rs"]
mod twins;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use analytics::reference::{AsRelationships, Aspas, Organisations, Reference, Vrps};
use analytics::shard::FoldOptions;
use ingest::log::archive::{ArchiveLog, ArchiveOptions};
use ingest::session::interest::Keep;
use ingest::source::discover::recognise;
use peerscope::config::Config;
use peerscope::replay::load_reference;
use peerscope::simulator::demo;
use peerscope::simulator::random::Random;
use peerscope::simulator::trial::Trial;
use peerscope::simulator::trial::facts::Facts;
use peerscope::simulator::trial::heard::hear;
use schemas::batch::{Content, Control, EventBatch};
use schemas::connection::ConnectionState;
use schemas::log::{Log as _, PartitionReader as _};
use schemas::registry::Registry;
use twins::Twins;

fn cuts() -> usize {
    let wanted = std::env::var("PEERSCOPE_STATE_CUTS").ok();
    wanted.and_then(|text| text.parse().ok()).unwrap_or(100)
}

/// A whole log, by partition.
type Batches = Vec<Vec<EventBatch>>;

fn log_of(files: &[PathBuf], registry: &Arc<Registry>, keep: Keep, partitions: u32) -> Batches {
    let options = ArchiveOptions {
        inputs: files.iter().map(|file| recognise(file).unwrap()).collect(),
        collectors: BTreeMap::new(),
        mappings: BTreeMap::new(),
        registry: Arc::clone(registry),
        references: Vec::new(),
        followed: Vec::new(),
        keep,
        partitions,
    };
    let mut log = ArchiveLog::start(options, "test".to_owned(), |_, _| {}).unwrap();
    let readers: Vec<_> =
        (0..partitions).map(|partition| log.read(partition, 0).unwrap()).collect();
    // The merge waits for the slowest reader.
    let threads = readers.into_iter().map(|mut reader| {
        std::thread::spawn(move || {
            let mut batches = Vec::new();
            while let Some(batch) = reader.next().unwrap() {
                batches.push(batch);
            }
            batches
        })
    });
    let threads: Vec<_> = threads.collect();
    let batches = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    log.finish().unwrap();
    batches
}

/// The same records in smaller batches.
fn split(
    batches: Vec<EventBatch>,
    pieces: usize,
    is_live: bool,
    random: &mut Random,
) -> Vec<EventBatch> {
    let runs: usize = batches.iter().map(|batch| batch.runs().len()).sum();
    let most = (2 * runs / pieces.max(1)).max(1) as u64;
    let mut all = Vec::new();
    for batch in batches {
        let mut rest = batch.runs();
        let mut offset = batch.first_offset;
        while !rest.is_empty() {
            let here = (random.between(1, most) as usize).min(rest.len());
            let mut piece = EventBatch::starting(batch.partition, offset, is_live);
            piece.messages.clone_from(&batch.messages);
            piece.routes.clone_from(&batch.routes);
            piece.series.clone_from(&batch.series);
            piece.samples.clone_from(&batch.samples);
            piece.controls.clone_from(&batch.controls);
            piece.peers.clone_from(&batch.peers);
            piece.attributes.clone_from(&batch.attributes);
            piece.sources.clone_from(&batch.sources);
            rest[..here].iter().for_each(|run| piece.append_run(*run));
            rest = &rest[here..];
            offset = piece.end_offset();
            all.push(piece);
        }
    }
    all
}

/// Folds a log with twins, cut about as often as is asked for; the rules that were told.
fn fold(
    log: Batches,
    reference: &Arc<Reference>,
    options: &FoldOptions,
    edit: Option<&Registry>,
    is_live: bool,
) -> BTreeSet<&'static str> {
    let mut random = Random::new(7);
    let partitions = log.len();
    let mut streams: Vec<_> = log
        .into_iter()
        .map(|batches| split(batches, cuts(), is_live, &mut random).into_iter())
        .collect();
    let steps = streams.iter().map(ExactSizeIterator::len).max().unwrap();
    let mut twins = Twins::new(partitions as u32, options, reference);
    let started = std::time::Instant::now();
    let mut time = None;
    for step in 0..steps {
        twins.cut();
        let next = |(partition, stream): (u32, &mut std::vec::IntoIter<EventBatch>)| {
            stream.next().unwrap_or_else(|| EventBatch::starting(partition, 0, is_live))
        };
        let batches: Vec<EventBatch> = (0..).zip(&mut streams).map(next).collect();
        time = batches.iter().filter_map(EventBatch::log_times).map(|times| times.1).max().or(time);
        twins.apply(&batches);
        if let Some((registry, time)) = edit.filter(|_| step == steps / 2).zip(time) {
            let control =
                Control::Registry { registry: Arc::new(registry.clone()), settings: None };
            let edited = |partition| {
                let mut batch = EventBatch::starting(partition, 0, is_live);
                batch.controls.push(control.clone());
                batch.append(time, Content::Control(0));
                batch
            };
            twins.cut();
            twins.apply(&(0..partitions as u32).map(edited).collect::<Vec<_>>());
        }
    }
    twins.finish();
    twins.cut();
    println!("{} cuts, {} findings rows, {:?}", twins.cuts, twins.told.len(), started.elapsed());
    twins.told.iter().map(|numbered| numbered.finding.rule).collect()
}

/// The same with one connection that is to be removed, and one that is no more.
fn edited(registry: &Registry) -> Registry {
    let mut connections = registry.connections().to_vec();
    connections.remove(0);
    connections.last_mut().unwrap().state = ConnectionState::PendingRemove;
    Registry::new(registry.version + 1, connections, registry.watched().to_vec()).unwrap()
}

fn written(folder: &Path, files: &[(&str, &[u8])]) -> Vec<PathBuf> {
    let path = |(name, bytes): &(&str, &[u8])| {
        fs::write(folder.join(name), bytes).unwrap();
        folder.join(name)
    };
    files.iter().map(path).collect()
}

#[test]
fn the_demo_goes_on_from_its_bytes() {
    let simulation = demo(1);
    let folder = tempfile::tempdir().unwrap();
    let config = format!(
        "{}\n[reference]\nas_relationships = \"r.txt\"\norganisations = \"o.csv\"\nedges = \"e.csv\"\n",
        simulation.config
    );
    let facts = [
        ("peerscope.toml", config.as_bytes()),
        ("r.txt", simulation.as_relationships.as_bytes()),
        ("o.csv", simulation.organisations.as_bytes()),
        ("e.csv", simulation.edges.as_bytes()),
    ];
    let config = &written(folder.path(), &facts)[0];
    let files = written(
        folder.path(),
        &[
            ("rib.mrt", &simulation.rib),
            ("updates.mrt", &simulation.updates),
            ("rtt.jsonl", &simulation.rtt),
        ],
    );
    let config = Config::load(Some(config)).unwrap();
    let reference = load_reference(&config.reference).unwrap();
    let (reference, edit) = (Arc::new(reference), edited(&config.registry));
    let options = FoldOptions { detect: config.detect.clone(), latency: config.latency.clone() };
    for (partitions, is_live, edit) in
        [(1, false, None), (3, false, Some(&edit)), (3, true, Some(&edit))]
    {
        let log = log_of(&files, &config.registry, Keep::Ours, partitions);
        let rules = fold(log, &reference, &options, edit, is_live);
        assert!(rules.contains("hijack_exact") && rules.len() > 4, "{rules:?}");
    }
}

#[test]
fn incidents_of_every_kind_go_on_from_their_bytes() {
    let trial = Trial::of(1, None);
    let (heard, facts) = (hear(&trial), Facts::of(&trial).unwrap());
    let mut aspas = Aspas::default();
    for (customer, providers) in &facts.aspas {
        aspas.insert(*customer, providers.iter().copied());
    }
    let reference = Reference {
        relationships: AsRelationships::read(facts.relationships.as_bytes()).unwrap().into(),
        organisations: Organisations::read(facts.organisations.as_bytes()).unwrap().into(),
        vrps: Vrps::read(facts.vrps.as_bytes()).unwrap().into(),
        aspas: aspas.into(),
        ..Reference::default()
    };
    let folder = tempfile::tempdir().unwrap();
    let files =
        written(folder.path(), &[("table.mrt", &heard.table), ("updates.mrt", &heard.updates)]);
    let registry = Arc::new(Registry::new(1, facts.connections, facts.watched).unwrap());
    let (reference, edit) = (Arc::new(reference), edited(&registry));
    for (partitions, edit) in [(1, Some(&edit)), (3, None)] {
        let log = log_of(&files, &registry, Keep::Ours, partitions);
        let rules = fold(log, &reference, &FoldOptions::default(), edit, false);
        assert!(rules.len() > 20, "{rules:?}");
    }
}

/// Everything that a collector heard in five minutes of 2016, with two tables with path identifiers.
#[test]
fn a_real_archive_goes_on_from_its_bytes() {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let folder = std::env::var_os("PEERSCOPE_DATA").map_or(beside, PathBuf::from).join("mrt");
    let names =
        ["bview.ipv4_unicast_add_path", "bview.ipv6_unicast_add_path", "updates.20160811.1600"];
    let files = names.map(|name| folder.join(format!("ripe-bgpdump.{name}.gz")));
    if !files.iter().all(|file| file.is_file()) {
        assert!(std::env::var("CI").is_err(), "{} holds no archives", folder.display());
        println!("skipped: no real files in PEERSCOPE_DATA");
        return;
    }
    let connection = r#"{"name": "all", "prefixes": ["0.0.0.0/1", "2000::/12"]}"#;
    let connection = serde_json::from_str(connection).unwrap();
    let registry = Arc::new(Registry::new(1, vec![connection], Vec::new()).unwrap());
    let log = log_of(&files, &registry, Keep::All, 3);
    fold(log, &Arc::default(), &FoldOptions::default(), None, false);
}
