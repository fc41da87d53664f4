//! The killer, and the comparison with what nobody disturbed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::disk::{Frame, Log, World, names, signal};
use crate::folds::{Correlate, Shard, VALUE, record};
use crate::{PARTITIONS, Role, run};

/// Records a partition for each kill.
const RECORDS_A_KILL: u64 = 40;
/// After the last kill, everything must be done by then.
const END_SECS_MAX: u64 = 60;

/// Rules of the protocol; without any of them the comparison must fail. Tables that are not muted
/// harm only where builds differ: equal bytes under a taken name are no conflict.
const RULES: [&str; 6] = [
    "snapshot_first",
    "summaries_muted",
    "summaries_twice",
    "tables_not_muted",
    "opened_forgotten",
    "released_behind_one",
];

/// Where a process kills itself; the last three are of folds that append summaries.
const POINTS: [&str; 12] = [
    "resume",
    "encode",
    "table.mid_write",
    "table.before_link",
    "table.after_link",
    "snapshot.mid_write",
    "snapshot.before_link",
    "snapshot.after_link",
    "release",
    "log.mid_write",
    "log.durable",
    "log.roll",
];

/// The protocol as it is, then with builds that differ, then with one rule missing at a time.
pub(crate) fn all(kills: u64) {
    let folder = |name: &str| {
        std::env::temp_dir().join(format!("snapshot_proof-{}-{name}", std::process::id()))
    };
    for (name, kills) in [("-", kills), ("two_builds", kills / 2)] {
        println!(
            "{name}: {}",
            drive(folder(name), kills, name).unwrap_or_else(|why| panic!("{name}: {why}"))
        );
    }
    for rule in RULES {
        match drive(folder(rule), kills.min(300), rule) {
            Ok(_) => panic!("{rule}: the comparison does not see that this rule is broken"),
            Err(why) => println!("{rule}: seen: {}", why.chars().take(150).collect::<String>()),
        }
    }
}

/// A process of the proof, its next death, and whether it sleeps.
struct Slot {
    arguments: [String; 2],
    child: Option<Child>,
    due: Instant,
    sleeps: bool,
}

struct Killer {
    world: World,
    random: StdRng,
    slots: Vec<Slot>,
    logs: Vec<Log>,
    appended: Vec<u64>,
    count: u64,
    starts: u64,
}

/// Runs one proof in a folder that must not exist; what was killed and compared, or what is wrong.
pub(crate) fn drive(folder: PathBuf, kills_min: u64, broken: &str) -> Result<String, String> {
    for name in ["told", "staging"] {
        fs::create_dir_all(folder.join(name)).map_err(|error| error.to_string())?;
    }
    let world = World::child(folder.clone(), 0, broken, "", 0);
    let began = Instant::now();
    let mut killer = Killer::new(world, broken, kills_min * RECORDS_A_KILL);
    killer.kill_until(kills_min)?;
    killer.let_them_end()?;
    let killed = began.elapsed();
    let mut report = compare(&killer.world, killer.count)?;
    let told = folder.join("told");
    for what in names(&told) {
        let times = fs::metadata(told.join(&what)).map_or(0, |data| data.len());
        write!(report, "\n  {times:5} {what}").map_err(|error| error.to_string())?;
    }
    let _ = write!(report, "\n  under kills for {:.0} s", killed.as_secs_f64());
    fs::remove_dir_all(folder).map_err(|error| error.to_string())?;
    Ok(report)
}

impl Killer {
    fn new(world: World, broken: &str, count: u64) -> Self {
        let logs =
            (0..PARTITIONS).map(|partition| Log::new(&world, &format!("events-{partition}")));
        let logs = logs.collect();
        let shards = (0..PARTITIONS).map(|partition| ["shard".to_owned(), partition.to_string()]);
        let roles = shards.chain([["correlate".to_owned(), "all".to_owned()]]);
        // A competitor makes good what one that breaks a rule lost: those run alone.
        let writers = if RULES.contains(&broken) { 1 } else { 2 };
        let slots = roles.flat_map(|arguments| {
            (0..writers).map(move |_| Slot {
                arguments: arguments.clone(),
                child: None,
                due: Instant::now(),
                sleeps: false,
            })
        });
        let (random, appended) = (StdRng::seed_from_u64(26), vec![0; PARTITIONS as usize]);
        Self { slots: slots.collect(), world, random, logs, appended, count, starts: 0 }
    }

    /// The log grows with the kills, so that the folds stand at its head and behind it.
    fn append(&mut self, until: u64) {
        for (partition, (log, appended)) in (0..).zip(self.logs.iter().zip(&mut self.appended)) {
            let frames: Vec<Frame> =
                (*appended..until).map(|offset| record(partition, offset, self.count)).collect();
            frames.chunks(100).for_each(|frames| log.append(&self.world, "driver", frames));
            *appended = until.max(*appended);
        }
    }

    fn kill_until(&mut self, kills_min: u64) -> Result<(), String> {
        let mut kills = 0;
        let mut damaged = BTreeSet::new();
        let deadline = Instant::now() + Duration::from_secs(60 + kills_min / 2);
        while kills < kills_min && Instant::now() < deadline {
            self.append((kills + 20).min(kills_min) * self.count / kills_min.max(1));
            for at in 0..self.slots.len() {
                kills += self.tend(at)?;
            }
            if self.random.random_ratio(1, 2_000) {
                self.damage(&mut damaged);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.append(self.count);
        Ok(())
    }

    /// Looks after one process: starts it, kills it, puts it to sleep. Returns how many died.
    fn tend(&mut self, at: usize) -> Result<u64, String> {
        let lives_ms = self.random.random_range(15..400);
        let (is_named, is_put_to_sleep) =
            (self.random.random_bool(0.6), self.random.random_bool(0.1));
        let (point, nth) =
            (self.rare_point(&self.slots[at].arguments[0].clone()), self.random.random_range(1..4));
        let slot = &mut self.slots[at];
        let mut died = 0;
        if let Some(child) = &mut slot.child {
            match child.try_wait().map_err(|error| error.to_string())? {
                Some(status) if status.code() == Some(101) => {
                    return Err("a fold panicked".to_owned());
                }
                Some(status) => died = u64::from(status.code().is_none()),
                None if slot.due > Instant::now() => return Ok(0),
                None if is_put_to_sleep && !slot.sleeps => {
                    signal(child.id(), "-STOP");
                    self.world.tell("asleep-and-woken");
                    (slot.sleeps, slot.due) =
                        (true, Instant::now() + Duration::from_millis(4 * lives_ms));
                    return Ok(0);
                }
                None if slot.sleeps => {
                    signal(child.id(), "-CONT");
                    (slot.sleeps, slot.due) =
                        (false, Instant::now() + Duration::from_millis(lives_ms));
                    return Ok(0);
                }
                None => {
                    child.kill().and_then(|()| child.wait()).map_err(|error| error.to_string())?;
                    self.world.tell("killed-at-random");
                    died = 1;
                }
            }
        }
        slot.due = Instant::now() + Duration::from_millis(if is_named { 600 } else { lives_ms });
        slot.sleeps = false;
        let point = if is_named { point } else { "-".to_owned() };
        self.starts += 1;
        slot.child = Some(slot.start(&self.world, self.starts, &point, nth)?);
        Ok(died)
    }

    /// Of three points the one at which the fewest died.
    fn rare_point(&mut self, kind: &str) -> String {
        let points = if kind == "shard" { POINTS.len() } else { POINTS.len() - 3 };
        let told = self.world.root().join("told");
        let drawn =
            (0..3).map(|_| format!("{kind}.{}", POINTS[self.random.random_range(0..points)]));
        let died = |point: &String| {
            fs::metadata(told.join(format!("killed-{point}"))).map_or(0, |data| data.len())
        };
        drawn.min_by_key(died).unwrap_or_default()
    }

    /// Cuts the newest snapshot of a fold off, as a disk may, if the one before is whole.
    fn damage(&mut self, damaged: &mut BTreeSet<String>) {
        let fold = ["0", "1", "all"][self.random.random_range(0..3)];
        let folder = self.world.root().join("snapshots").join(fold);
        let snapshots = names(&folder);
        let before = snapshots.iter().rev().nth(1).map(|before| format!("{fold}{before}"));
        let is_whole = before.is_some_and(|before| !damaged.contains(&before));
        if let Some(newest) = snapshots.last()
            && (is_whole || self.world.broken == "released_behind_one")
            && let Ok(file) = OpenOptions::new().write(true).open(folder.join(newest))
            && file.set_len(20).is_ok()
        {
            damaged.insert(format!("{fold}{newest}"));
            self.world.tell("snapshot-damaged");
        }
    }

    fn let_them_end(&mut self) -> Result<(), String> {
        for slot in &mut self.slots {
            if let Some(child) = &mut slot.child {
                let _ = child.kill().and_then(|()| child.wait());
            }
            self.starts += 1;
            slot.child = Some(slot.start(&self.world, self.starts, "-", 0)?);
        }
        let deadline = Instant::now() + Duration::from_secs(END_SECS_MAX);
        for slot in &mut self.slots {
            let Some(child) = &mut slot.child else { continue };
            while let Ok(None) = child.try_wait() {
                if Instant::now() > deadline {
                    return Err(format!("{:?} does not end", slot.arguments));
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            if !child.wait().is_ok_and(|status| status.success()) {
                return Err(format!("{:?} ended badly", slot.arguments));
            }
        }
        Ok(())
    }
}

impl Drop for Killer {
    fn drop(&mut self) {
        for child in self.slots.iter_mut().filter_map(|slot| slot.child.as_mut()) {
            let _ = child.kill().and_then(|()| child.wait()); // it may have ended
        }
    }
}

impl Slot {
    fn start(&self, world: &World, starts: u64, point: &str, nth: u64) -> Result<Child, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new(program);
        command.arg(&self.arguments[0]).arg(world.root()).arg(&self.arguments[1]);
        command.args([&starts.to_string(), &world.broken, point, &nth.to_string()]);
        let quiet =
            if RULES.contains(&world.broken.as_str()) { Stdio::null() } else { Stdio::inherit() };
        command.stderr(quiet).spawn().map_err(|error| error.to_string())
    }
}

/// Compares with one undisturbed fold of the same log, and with the records themselves.
fn compare(world: &World, count: u64) -> Result<String, String> {
    let calm = World::calm(world.root().join("calm"));
    for name in ["told", "staging"] {
        fs::create_dir_all(calm.root().join(name)).map_err(|error| error.to_string())?;
    }
    let mut report = String::new();
    for partition in 0..PARTITIONS {
        let (role, calm_role) = (Role::shard(world, partition), Role::shard(&calm, partition));
        let records = role.log.everything();
        let source = (0..count).map(|offset| record(partition, offset, count));
        if !records.iter().copied().eq(source) {
            return Err(format!("the log of {partition} is not its source"));
        }
        calm_role.log.append(&calm, "calm", &records);
        run::<Shard>(&calm, &calm_role);
        let values = compare_fold(world, &calm, &role, &mut report)?;
        let said: Vec<u64> = values.iter().map(|row| row[0]).collect();
        let told = records.iter().filter(|record| record[2] == VALUE).map(|record| record[0]);
        if !said.into_iter().eq(told) {
            return Err(format!("not every offset of {partition} is there exactly once"));
        }
    }
    let disturbed = Log::new(world, "summaries").everything();
    let undisturbed = Log::new(&calm, "summaries").everything();
    let once = without_repeats(&disturbed);
    for partition in 0..PARTITIONS {
        let of = |frames: &[Frame]| {
            frames.iter().filter(|frame| frame[0] == partition).copied().collect::<Vec<_>>()
        };
        if of(&once) != of(&undisturbed) {
            return Err(format!("summaries of {partition} differ"));
        }
    }
    let calm = World::calm(world.root().join("calm-correlate"));
    for name in ["told", "staging"] {
        fs::create_dir_all(calm.root().join(name)).map_err(|error| error.to_string())?;
    }
    let calm_role = Role::correlate(&calm);
    calm_role.log.append(&calm, "calm", &disturbed);
    run::<Correlate>(&calm, &calm_role);
    let findings = compare_fold(world, &calm, &Role::correlate(world), &mut report)?;
    if !findings.iter().map(|row| row[0]).eq(1..=findings.len() as u64) {
        return Err("findings are not numbered 1, 2, 3".to_owned());
    }
    let _ = write!(report, "{} summaries for {}", disturbed.len(), once.len());
    Ok(report)
}

fn without_repeats(frames: &[Frame]) -> Vec<Frame> {
    let mut last = BTreeMap::new();
    let is_new = |frame: &&Frame| {
        let key = (frame[1], frame[2]);
        let is_new = last.get(&frame[0]).is_none_or(|last| key > *last);
        if is_new {
            last.insert(frame[0], key);
        }
        is_new
    };
    frames.iter().filter(is_new).copied().collect()
}

/// Files, rows and snapshots of one fold against the undisturbed one. Returns the first table's rows.
fn compare_fold(
    world: &World,
    calm: &World,
    role: &Role,
    report: &mut String,
) -> Result<Vec<Frame>, String> {
    let mut first = None;
    for table in role.tables {
        let (files, calm_files) = (world.chain(table, &role.name), calm.chain(table, &role.name));
        let (rows, calm_rows) = (rows(&files)?, rows(&calm_files)?);
        if rows != calm_rows {
            return Err(format!("{table}: {} rows, {} undisturbed", rows.len(), calm_rows.len()));
        }
        if world.broken != "two_builds" && files != calm_files {
            return Err(format!("{table}: files differ"));
        }
        let _ = write!(report, "{table} {} rows in {} files, ", rows.len(), files.len());
        first.get_or_insert(rows);
    }
    let snapshots: BTreeMap<u64, Vec<u8>> = calm.snapshots(&role.name).into_iter().collect();
    for (at, state) in world.snapshots(&role.name) {
        if world.broken != "two_builds" && snapshots.get(&at) != Some(&state) {
            return Err(format!("{}: the snapshot at {at} differs", role.name));
        }
    }
    first.ok_or_else(|| "no table".to_owned())
}

/// Rows of a chain in order; an error if a file does not start where the one before ended.
fn rows(files: &[(String, Vec<u8>)]) -> Result<Vec<Frame>, String> {
    let mut spans = Vec::new();
    for (key, bytes) in files {
        let span: (u64, u64, u64, Vec<Frame>) =
            postcard::from_bytes(bytes).map_err(|error| format!("{key}: {error}"))?;
        spans.push(span);
    }
    spans.sort();
    let mut end = 0;
    for (start, next, ..) in &spans {
        if *start != end {
            return Err(format!("a file starts at {start}, the one before ended at {end}"));
        }
        end = *next;
    }
    Ok(spans.into_iter().flat_map(|(.., rows)| rows).collect())
}
