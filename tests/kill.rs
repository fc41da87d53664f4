//! `kill -9` at any instant of a replay, then the same command again: the files of an undisturbed
//! run. `PEERSCOPE_KILLS` says how many kills; the default is for every run of the tests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod support;

use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use support::{Bench, assert_same_files};

const REPLAY: [&str; 6] = ["replay", "--config", "in/peerscope.toml", "in", "--lake", "lake"];
const KILLS: u32 = 12;

fn start(bench: &Bench) -> Child {
    bench.command(&REPLAY).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn a_killed_replay_started_again_leaves_the_files_of_an_undisturbed_one() {
    let kills = support::kills(KILLS);
    let bench = Bench::with_demo_inputs();
    let began = Instant::now();
    bench.expect(0, &REPLAY);
    let undisturbed = bench.path("undisturbed");
    fs::rename(bench.path("lake"), &undisturbed).unwrap();
    let whole = began.elapsed();
    let mut interrupted = 0;
    for kill in 0..kills {
        let mut child = start(&bench);
        // Spread over the whole run, the end with its commits more densely.
        let share = f64::from((kill * 7 + 3) % kills) / f64::from(kills);
        std::thread::sleep(
            whole.mul_f64(share.sqrt() * 1.05) + Duration::from_micros(u64::from(kill)),
        );
        interrupted += u32::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        if kill % 3 == 2 {
            bench.expect(0, &REPLAY);
            assert_same_files(&undisturbed, &bench.path("lake"));
            fs::remove_dir_all(bench.path("lake")).unwrap();
        }
    }
    bench.expect(0, &REPLAY);
    assert_same_files(&undisturbed, &bench.path("lake"));
    println!("{kills} kills, {interrupted} of them before the end");
    assert!(interrupted > 0, "no kill came before the end");
}
