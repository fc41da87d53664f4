//! Writers that are killed, stopped and started again: every number is in the log once.

use std::sync::Arc;
use std::time::Duration;

use super::child::{Carrier, FAR, SOURCES, key_of};
use super::support::{Folder, Ledger, Log, until};
use crate::log::kafka::publisher::read_positions;
use crate::log::kafka::state::StateReader;

const KILLS: u32 = 8;

/// How many kills are asked for.
pub(super) fn count() -> u32 {
    std::env::var("PEERSCOPE_KILLS").map_or(KILLS, |text| text.parse().unwrap())
}

/// Every number of every source once and in order, and positions that say so.
fn assert_carried(log: &Log<'_>, wanted: u64) {
    let ledger = Arc::<Ledger>::default();
    let folder = Folder::start(log, "judge", &ledger);
    let partitions = log.config.partitions as usize;
    until("all is read", || ledger.caught_up.lock().unwrap().len() == partitions);
    folder.stop().unwrap();
    assert!(ledger.failures.lock().unwrap().is_empty(), "{:?}", ledger.failures.lock().unwrap());
    let numbers = ledger.numbers();
    for source in 0..SOURCES {
        let of_source = |number: &i64| number.div_euclid(FAR) == i64::from(source);
        let told: Vec<i64> =
            numbers[&(source % log.config.partitions)].iter().copied().filter(of_source).collect();
        let first = i64::from(source) * FAR;
        let all: Vec<i64> = (first..first + i64::try_from(wanted).unwrap()).collect();
        assert_eq!(told.len(), all.len(), "source {source}");
        assert_eq!(told, all, "source {source}");
    }
    let all: Vec<u32> = (0..log.config.source_partitions).collect();
    let state = StateReader::new(&log.config).unwrap();
    let positions = read_positions(&state, &log.config, &all).unwrap();
    for source in 0..SOURCES {
        assert_eq!(positions[key_of(source).as_str()].next_offset, wanted, "source {source}");
    }
}

pub(super) fn a_writer_that_is_killed_again_and_again_carries_each_number_once(log: &Log<'_>) {
    let kills = count();
    log.topics();
    for kill in 0..kills {
        let mut carrier = Carrier::start(log, "one", u64::MAX);
        while carrier.word().unwrap() != format!("owns {SOURCES}") {}
        std::thread::sleep(Duration::from_millis(u64::from(50 + (kill * 7919) % 700)));
        drop(carrier);
    }
    let wanted = carried(log);
    assert!(wanted > u64::from(kills), "they came to something: {wanted}");
    let until = wanted + 10;
    let mut carrier = Carrier::start(log, "one", until);
    while carrier.word().unwrap() != "done" {}
    drop(carrier);
    println!("{kills} kills, {} numbers carried", until * u64::from(SOURCES));
    assert_carried(log, until);
}

/// The largest position.
fn carried(log: &Log<'_>) -> u64 {
    let all: Vec<u32> = (0..log.config.source_partitions).collect();
    let state = StateReader::new(&log.config).unwrap();
    let positions = read_positions(&state, &log.config, &all).unwrap();
    let of_sources = positions.iter().filter(|(key, _)| key.starts_with("rtt\n"));
    of_sources.map(|(_, position)| position.next_offset).max().unwrap_or_default()
}

pub(super) fn a_writer_that_was_stopped_for_too_long_writes_nothing_any_more(log: &Log<'_>) {
    log.topics();
    let mut zombie = Carrier::start(log, "zombie", u64::MAX);
    while zombie.word().unwrap() != format!("owns {SOURCES}") {}
    std::thread::sleep(Duration::from_millis(300));
    zombie.signal("-STOP");
    let mut heir = Carrier::start(log, "heir", u64::MAX);
    while heir.word().unwrap() != format!("owns {SOURCES}") {}
    std::thread::sleep(Duration::from_millis(300));
    let before = carried(log);
    zombie.signal("-CONT");
    let told = loop {
        let word = zombie.word().expect("it says why it ends");
        if word.starts_with("refused: ") {
            break word;
        }
    };
    assert!(told.contains("took over"), "{told}");
    assert!(carried(log) >= before);
    drop((zombie, heir));
    let until = carried(log) + 10;
    let mut carrier = Carrier::start(log, "heir", until);
    while carrier.word().unwrap() != "done" {}
    drop(carrier);
    assert_carried(log, until);
}
