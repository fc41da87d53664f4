//! Three brokers whose leaders are killed, restarted in turn, and one that is gone for a minute.

use std::sync::Arc;
use std::time::Duration;

use super::reads::{Load, assert_all};
use super::support::{Folder, Ledger, Log, until};

const ROUNDS: u32 = 6;

/// The broker that leads partition 0 of the events topic.
fn leader(log: &Log<'_>) -> u32 {
    let topic = &log.config.events_topic;
    let admin = log.broker.admin();
    let metadata = admin.inner().fetch_metadata(Some(topic), Duration::from_secs(30)).unwrap();
    let node = metadata.topics()[0].partitions()[0].leader();
    // Nodes are numbered from 1, the script counts from 0; without a leader any will do.
    u32::try_from(node - 1).unwrap_or(0)
}

/// Every partition has all its replicas again.
fn is_whole(log: &Log<'_>) -> bool {
    let admin = log.broker.admin();
    let found =
        admin.inner().fetch_metadata(Some(&log.config.events_topic), Duration::from_secs(30));
    found.is_ok_and(|metadata| {
        metadata.topics()[0].partitions().iter().all(|partition| partition.isr().len() == 3)
    })
}

pub(super) fn brokers_that_are_killed_while_they_lead_lose_and_double_nothing(log: &Log<'_>) {
    let ledger = Arc::<Ledger>::default();
    let load = Load::start(log, Duration::from_millis(5));
    let folders = ["a", "b"].map(|name| Folder::start(log, name, &ledger));
    until("they read", || ledger.count() > 200);
    let goes_on = || {
        let before = ledger.count();
        until("it goes on", || ledger.count() > before + 100);
    };
    for round in 0..ROUNDS {
        let victim = leader(log).to_string();
        log.broker.script(&["kill", &victim]);
        // Two of three are enough.
        goes_on();
        log.broker.script(&["start", &victim]);
        until("all replicas are back", || is_whole(log));
        println!("round {round}: broker {victim} was killed, {} batches read", ledger.count());
    }
    for broker in ["0", "1", "2"] {
        log.broker.script(&["stop", broker]);
        goes_on();
        log.broker.script(&["start", broker]);
        until("all replicas are back", || is_whole(log));
    }
    let victim = leader(log).to_string();
    log.broker.script(&["kill", &victim]);
    std::thread::sleep(Duration::from_secs(60));
    goes_on();
    log.broker.script(&["start", &victim]);
    until("all replicas are back", || is_whole(log));
    let written = load.stop();
    let wanted = written * i64::from(log.config.partitions);
    until("all is read", || ledger.count() as i64 >= wanted);
    for folder in folders {
        folder.stop().unwrap();
    }
    println!("{written} transactions over {} partitions", log.config.partitions);
    assert_all(&ledger, log, written);
}
