//! Proof: snapshots, chains and one summaries log under kill -9 (`docs/decisions/0026-snapshots.md`).
//!
//! A small model of the service: one log a partition, a fold with open windows and findings that
//! emits rows of two tables and summaries, and a `correlate` fold of the summaries. Two processes
//! fold each partition, two the summaries, on purpose. They are killed at random moments and at
//! named points; then every file, row and snapshot is compared with one undisturbed fold.
//!
//! `snapshot_proof all KILLS` runs it, then breaks one rule of the protocol at a time and asks that
//! the comparison finds each. `snapshot_proof drive FOLDER KILLS RULE` runs one of them.
//!
//! Not proven here: loss of power, object stores, a log that is damaged.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::print_stdout)]

#[path = "snapshot_proof/disk.rs"]
mod disk;
#[path = "snapshot_proof/drive.rs"]
mod drive;
#[path = "snapshot_proof/folds.rs"]
mod folds;

use std::env;

use disk::{Frame, Log, World};
use folds::{Correlate, Fold, Out, Shard, TABLES_MAX};
use serde::{Deserialize, Serialize};

/// Partitions of the log, and processes that fold each of them.
const PARTITIONS: u64 = 2;
/// A day of log time, short so that chains open files on many.
const DAY_SECS: u64 = 700;
/// Commit records between two snapshots.
const SNAPSHOT_COMMITS: u64 = 4;

/// Where a table's chain stands: the offset at which its next file starts, and the day that opened it.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Chain {
    start: u64,
    opened: Option<u64>,
}

/// One fold's place: what it reads, what it writes.
struct Role {
    /// Prefix of its kill points.
    kind: &'static str,
    /// Name in its files.
    name: String,
    tables: &'static [&'static str],
    log: Log,
    summaries: Option<Log>,
}

impl Role {
    fn shard(world: &World, partition: u64) -> Self {
        Self {
            kind: "shard",
            name: partition.to_string(),
            tables: &["values", "windows"],
            log: Log::new(world, &format!("events-{partition}")),
            summaries: Some(Log::new(world, "summaries")),
        }
    }

    fn correlate(world: &World) -> Self {
        let log = Log::new(world, "summaries");
        Self { kind: "correlate", name: "all".into(), tables: &["findings"], log, summaries: None }
    }
}

/// Folds to the end of the log, opened again whenever another process was quicker.
fn run<F: Fold>(world: &World, role: &Role) {
    while let Err(again) = Folding::<F>::open(world, role).and_then(|mut folding| folding.fold_on())
    {
        world.tell(&format!("again-{}-{}", role.kind, again.reason()));
    }
}

/// Why a fold opens its partition again. Neither is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    /// The log was released here: a competitor is two snapshots ahead.
    Released,
    /// Other bytes stand under the name of the next file: a competitor of another build put it.
    Lost,
}

impl Again {
    fn reason(self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::Lost => "lost",
        }
    }
}

/// A fold at work: its state, its place in the log, and what is not yet in files.
struct Folding<'a, F> {
    world: &'a World,
    role: &'a Role,
    fold: F,
    at: u64,
    rows: [Vec<Frame>; TABLES_MAX],
    summaries: Vec<Frame>,
    /// Ends of the chains when the partition was opened.
    heads: [u64; TABLES_MAX],
}

impl<'a, F: Fold> Folding<'a, F> {
    /// The newest readable snapshot, then the heads of the chains: in this order, for heads only
    /// move on, and none may be older than the snapshot.
    fn open(world: &'a World, role: &'a Role) -> Result<Self, Again> {
        let newest = world.snapshots(&role.name).pop();
        let (at, fold) =
            newest.map_or((0, None), |(at, bytes)| (at, postcard::from_bytes(&bytes).ok()));
        let mut fold: F = fold.unwrap_or_default();
        let mut heads = [0; TABLES_MAX];
        for ((table, chain), head) in role.tables.iter().zip(fold.chains()).zip(&mut heads) {
            *head = world.head(table, &role.name);
            assert!(
                *head >= chain.start || !world.broken.is_empty(),
                "a snapshot ahead of {table}"
            );
            if *head > chain.start && world.broken != "tables_not_muted" {
                *chain = Chain { start: *head, opened: None };
            }
            if world.broken == "opened_forgotten" {
                chain.opened = None;
            }
        }
        world.point(role.kind, "resume");
        Ok(Self { world, role, fold, at, rows: Default::default(), summaries: Vec::new(), heads })
    }

    fn fold_on(&mut self) -> Result<(), Again> {
        while !self.fold.is_done() {
            let frames = self.role.log.read(self.at)?;
            if frames.is_empty() {
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
            for frame in frames {
                let out = self.fold.apply(self.at, &frame, &self.world.broken);
                self.take(out)?;
            }
            self.flush();
        }
        Ok(())
    }

    /// What one record gave: rows before a chain's head are in its files already.
    fn take(&mut self, mut out: Out) -> Result<(), Again> {
        let offset = self.at;
        self.at += 1;
        let is_muted = self.world.broken == "summaries_muted" && offset < self.heads[0];
        if !is_muted {
            self.summaries.append(&mut out.summaries);
        }
        for table in 0..self.role.tables.len() {
            let chain = &mut self.fold.chains()[table];
            if offset >= chain.start {
                chain.opened.get_or_insert(out.time / DAY_SECS);
                self.rows[table].append(&mut out.rows[table]);
                if self.rows[table].len() >= self.world.file_rows_max() {
                    self.commit(table)?;
                }
            }
        }
        if !out.commits {
            return Ok(());
        }
        if self.world.broken != "snapshot_first" {
            self.flush();
        }
        for table in 0..self.role.tables.len() {
            if !self.rows[table].is_empty()
                || (out.ends && self.at > self.fold.chains()[table].start)
            {
                self.commit(table)?;
            }
        }
        if out.snapshots || out.ends {
            self.snapshot();
        }
        self.flush();
        Ok(())
    }

    /// Makes the summaries so far durable.
    fn flush(&mut self) {
        if let Some(log) = self.role.summaries.as_ref().filter(|_| !self.summaries.is_empty()) {
            log.append(self.world, self.role.kind, &self.summaries);
            self.summaries.clear();
        }
    }

    /// Puts a table's next file. Its name and bytes are a function of the log, END stands inside.
    fn commit(&mut self, table: usize) -> Result<(), Again> {
        let (world, role) = (self.world, self.role);
        let chain = &mut self.fold.chains()[table];
        let rows = std::mem::take(&mut self.rows[table]);
        let body = (chain.start, self.at, world.build(), rows);
        let bytes = postcard::to_stdvec(&body).expect("rows can be encoded");
        world.point(role.kind, "encode");
        let day = chain.opened.take().expect("a file was opened before it is closed");
        let key = format!("{}/{day:06}/{}-{:012}", role.tables[table], role.name, chain.start);
        chain.start = self.at;
        if world.put(role.kind, "table", &key, &bytes) { Ok(()) } else { Err(Again::Lost) }
    }

    /// Puts the state, then releases the log behind the older of the last two readable snapshots.
    fn snapshot(&mut self) {
        let (world, role) = (self.world, self.role);
        let bytes = postcard::to_stdvec(&self.fold).expect("state can be encoded");
        world.put_snapshot(role.kind, &role.name, self.at, &bytes);
        if world.keeps_all() {
            return;
        }
        let kept = if world.broken == "released_behind_one" { 1 } else { 2 };
        let snapshots = world.snapshots(&role.name);
        if let Some((before, _)) =
            snapshots.len().checked_sub(kept).and_then(|at| snapshots.get(at))
        {
            world.drop_snapshots(&role.name, *before);
            role.log.release(world, role.kind, *before);
        }
    }
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let texts: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u64>().expect("a number");
    match texts[..] {
        ["all", kills] => drive::all(number(kills)),
        ["drive", folder, kills, broken] => {
            match drive::drive(folder.into(), number(kills), broken) {
                Ok(report) => println!("{report}"),
                Err(why) => panic!("{why}"),
            }
        }
        ["shard", folder, partition, starts, broken, point, nth] => {
            let world = World::child(folder.into(), number(starts), broken, point, number(nth));
            run::<Shard>(&world, &Role::shard(&world, number(partition)));
        }
        ["correlate", folder, _, starts, broken, point, nth] => {
            let world = World::child(folder.into(), number(starts), broken, point, number(nth));
            run::<Correlate>(&world, &Role::correlate(&world));
        }
        _ => panic!("snapshot_proof all KILLS, or drive FOLDER KILLS RULE (none: -)"),
    }
}
