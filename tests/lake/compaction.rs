//! Compaction and purge as they are run: killed at any instant, watched by readers.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use analytics::lake::LakeRoot;

use crate::support::chain::{QUESTION, SHAPE, answer, make};
use crate::support::{Bench, assert_same_files, files, kills, stderr, stdout};

/// What compacts all days that are over.
const COMPACT: [&str; 6] = ["lake", "compact", "--after-hours", "0", "--lake", "lake"];
const KILLS: u32 = 20;

fn bench() -> Bench {
    let bench = Bench::empty();
    make(&LakeRoot::at(bench.path("lake")));
    bench
}

fn start(bench: &Bench) -> Child {
    bench.command(&COMPACT).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn expect_whole(bench: &Bench) {
    assert_eq!(bench.ask("lake", QUESTION), answer());
}

fn expect_clean(bench: &Bench) {
    bench.expect(0, &["lake", "verify", "--lake", "lake"]);
}

/// Files of the one table that has some.
fn table_files(lake: &Path) -> usize {
    files(&lake.join("feed_gaps")).len()
}

#[test]
fn days_that_are_over_become_a_file_each_and_the_last_one_stays() {
    let bench = bench();
    let [days, partitions, per_day, rows] = SHAPE.map(u64::from);
    let dry = stdout(&bench.expect(0, &[&COMPACT[..], &["--dry-run", "--format", "csv"]].concat()));
    let (before, after) = ((days - 1) * partitions * per_day, (days - 1) * partitions);
    let wanted = format!("feed_gaps,{before},{after},{},", before * rows);
    assert!(dry.contains(&wanted), "{dry}");
    assert_eq!(table_files(&bench.path("lake")) as u64, days * partitions * per_day);
    let done = stdout(&bench.expect(0, &[&COMPACT[..], &["--format", "csv"]].concat()));
    assert!(done.contains(&wanted), "{done}");
    assert_eq!(table_files(&bench.path("lake")) as u64, after + partitions * per_day);
    expect_whole(&bench);
    expect_clean(&bench);
    let again = stdout(&bench.expect(0, &COMPACT));
    assert!(again.starts_with("nothing to do"), "{again}");
    // A day of grace is the default: two days are old enough then.
    let other = self::bench();
    other.expect(0, &["lake", "compact", "--lake", "lake"]);
    let left = 2 * partitions + 2 * partitions * per_day;
    assert_eq!(table_files(&other.path("lake")) as u64, left);
}

#[test]
fn a_compaction_killed_at_any_instant_and_run_again_leaves_what_an_undisturbed_one_does() {
    let kills = kills(KILLS);
    let undisturbed = bench();
    let began = Instant::now();
    undisturbed.expect(0, &COMPACT);
    let whole = began.elapsed();
    let mut bench = self::bench();
    let (mut killed, mut at_work) = (0, 0);
    for kill in 0..kills {
        let mut child = start(&bench);
        let share = f64::from(kill * 7 % kills + 1) / f64::from(kills);
        std::thread::sleep(whole.mul_f64(share) + Duration::from_micros(u64::from(kill)));
        killed += u32::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        expect_whole(&bench);
        let names = files(&bench.path("lake/feed_gaps"));
        let compacted = |name: &&String| name.matches('-').count() > 4;
        at_work += u32::from(names.keys().any(|name| compacted(&name)));
        if kill % 4 == 3 {
            bench.expect(0, &COMPACT);
            expect_clean(&bench);
            assert_same_files(&undisturbed.path("lake"), &bench.path("lake"));
            bench = self::bench();
        }
    }
    bench.expect(0, &COMPACT);
    assert_same_files(&undisturbed.path("lake"), &bench.path("lake"));
    eprintln!("{kills} kills, {killed} before the end, {at_work} after the first file was made");
    assert!(killed > 0, "no kill came before the end");
}

/// Before and after each file that is made and each that goes.
#[test]
fn a_compaction_killed_before_and_after_each_write_and_run_again_leaves_what_an_undisturbed_one_does()
 {
    let kills = kills(KILLS);
    let undisturbed = bench();
    undisturbed.expect(0, &COMPACT);
    let mut bench = self::bench();
    for kill in 0..kills {
        let point = ["compaction_create", "compaction_delete"][(kill % 2) as usize];
        let mut command = bench.command(&COMPACT);
        command.env("PEERSCOPE_KILL_AT", format!("{point}:{}", 1 + kill / 2 % 4));
        command.env("PEERSCOPE_KILL_LOG", bench.path("kills"));
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        assert_eq!(status.code(), None, "{point}, {kill}");
        let told = fs::read_to_string(bench.path("kills")).unwrap();
        assert_eq!(told.lines().last(), Some(point));
        expect_whole(&bench);
        if kill % 4 == 3 {
            bench.expect(0, &COMPACT);
            expect_clean(&bench);
            assert_same_files(&undisturbed.path("lake"), &bench.path("lake"));
            bench = self::bench();
        }
    }
}

/// Three compactions at once, and a reader that asks all the while.
#[test]
fn a_reader_of_ours_sees_every_row_once_while_several_compact() {
    let bench = bench();
    let mut compactors: Vec<Child> = (0..3).map(|_| start(&bench)).collect();
    let mut asked = 0;
    loop {
        let done = compactors.iter_mut().all(|child| child.try_wait().unwrap().is_some());
        expect_whole(&bench);
        asked += 1;
        if done {
            break;
        }
    }
    for mut child in compactors {
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
    eprintln!("asked {asked} times");
    bench.expect(0, &COMPACT);
    expect_clean(&bench);
    let undisturbed = self::bench();
    undisturbed.expect(0, &COMPACT);
    assert_same_files(&undisturbed.path("lake"), &bench.path("lake"));
}

#[test]
fn a_damaged_day_is_passed_over_and_told() {
    let bench = bench();
    let folder = bench.path("lake/feed_gaps/date=2026-03-02");
    let mut names: Vec<_> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
    names.sort();
    fs::write(&names[3], "cut off").unwrap();
    let done = bench.expect(65, &COMPACT);
    assert!(stderr(&done).contains("passed over: feed_gaps/date=2026-03-02/"), "{}", stderr(&done));
    let kept: Vec<_> = names.iter().filter(|path| path.exists()).collect();
    assert_eq!(kept.len(), 12, "the other partition's files became one");
}

#[test]
fn what_is_older_than_it_is_kept_goes_and_the_heads_stay() {
    let bench = bench();
    bench.write("peerscope.toml", "[lake.retention]\nfeed_gaps = 2\nlatency = 1\n");
    let purge = ["lake", "purge", "--lake", "lake", "--format", "csv"];
    let dry = stdout(&bench.expect(0, &[&purge[..], &["--dry-run"]].concat()));
    assert!(dry.contains("feed_gaps,2026-03-03,46,"), "{dry}");
    assert_eq!(bench.ask("lake", QUESTION), answer());
    let done = stdout(&bench.expect(0, &purge));
    assert_eq!(done, dry);
    let rows = "select count(*) from feed_gaps";
    let [_, partitions, per_day, of_file] = SHAPE.map(u64::from);
    // The last file of the second day reaches into the third.
    let left = partitions * (2 * per_day + 1) * of_file;
    assert_eq!(bench.ask("lake", rows), [left.to_string()]);
    expect_clean(&bench);
    bench.expect(0, &COMPACT);
    expect_clean(&bench);
    // All but a day is too old: the newest file of each chain stays, for who goes on with it.
    fs::write(bench.path("peerscope.toml"), "").unwrap();
    let keep = ["--table", "feed_gaps", "--keep-days", "1"];
    bench.expect(0, &[&purge[..], &keep].concat());
    // The compacted file of the third day may reach into the fourth.
    assert_eq!(bench.ask("lake", rows), [(partitions * 2 * per_day * of_file).to_string()]);
    expect_clean(&bench);
    let nothing = bench.expect(1, &purge);
    assert!(stderr(&nothing).contains("[lake.retention] TABLE = DAYS"), "{}", stderr(&nothing));
}

#[test]
fn a_retention_of_no_table_is_refused_with_its_place() {
    let bench = bench();
    bench.write("peerscope.toml", "\n[lake.retention]\nlatencies = 2\n");
    let done = bench.expect(78, &["lake", "purge", "--lake", "lake"]);
    let said = stderr(&done);
    assert!(said.contains("latencies is no table") && said.contains("latency_5m"), "{said}");
}
