//! Processes that fold: they come and go, stand still, and find what they cannot read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use schemas::batch::Control;

use super::support::{Folder, Ledger, Log, Writer, until};

/// Numbers that come all the time, to every partition.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<i64>,
}

impl Load {
    pub(super) fn start(log: &Log<'_>, pause: Duration) -> Self {
        let partitions = log.config.partitions;
        let mut writer = Writer::start(log, "load", 4);
        let stop = Arc::<AtomicBool>::default();
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut number = 0;
            while !stopped.load(Ordering::Relaxed) {
                let all: Vec<(u32, i64)> = (0..partitions).map(|p| (p, number)).collect();
                writer.append(&all, "rtt\nload-0", u64::try_from(number).unwrap()).unwrap();
                number += 1;
                std::thread::sleep(pause);
            }
            writer.stop().unwrap();
            number
        });
        Self { stop, thread }
    }

    pub(super) fn stop(self) -> i64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Every number of every partition once, in order.
pub(super) fn assert_all(ledger: &Ledger, log: &Log<'_>, written: i64) {
    assert!(ledger.failures.lock().unwrap().is_empty(), "{:?}", ledger.failures.lock().unwrap());
    let numbers = ledger.numbers();
    assert_eq!(numbers.len(), log.config.partitions as usize);
    for (partition, numbers) in numbers {
        assert_eq!(numbers, (0..written).collect::<Vec<_>>(), "partition {partition}");
    }
}

fn owners(ledger: &Ledger) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for name in ledger.owners.lock().unwrap().values() {
        *counts.entry(name.clone()).or_default() += 1;
    }
    counts
}

/// One process folds six partitions, two join, one of them stops: each batch has one owner, and each
/// owner goes on where the last one was.
pub(super) fn partitions_move_and_no_batch_is_lost_or_doubled(log: &Log<'_>) {
    let ledger = Arc::<Ledger>::default();
    let load = Load::start(log, Duration::from_millis(5));
    let first = Folder::start(log, "a", &ledger);
    until("one has all", || owners(&ledger) == [("a".to_owned(), 6)].into());
    let others = ["b", "c"].map(|name| Folder::start(log, name, &ledger));
    let even = ["a", "b", "c"].map(|name| (name.to_owned(), 2)).into();
    until("three have two each", || owners(&ledger) == even);
    let [second, third] = others;
    second.stop().unwrap();
    // Its name is kept for it until the session times out.
    let two = ["a", "c"].map(|name| (name.to_owned(), 3)).into();
    until("two have three each", || owners(&ledger) == two);
    let before = ledger.count();
    until("they are all read", || ledger.count() > before + 300);
    let written = load.stop();
    until("all is read", || ledger.count() as i64 >= written * 6);
    assert!(first.counts.rebalances.get() >= 3);
    first.stop().unwrap();
    third.stop().unwrap();
    assert_all(&ledger, log, written);
    assert!(ledger.owners.lock().unwrap().is_empty());
}

/// A process is told to stop while another one joins, and while it opens its partitions: it ends soon,
/// and nothing is lost.
pub(super) fn a_stop_in_the_middle_of_a_rebalance_is_clean(log: &Log<'_>) {
    let ledger = Arc::<Ledger>::default();
    let load = Load::start(log, Duration::from_millis(5));
    let first = Folder::start(log, "a", &ledger);
    until("it reads", || ledger.count() > 100);
    for millis in [0, 20, 100, 400] {
        let second = Folder::start(log, "b", &ledger);
        std::thread::sleep(Duration::from_millis(millis));
        let since = std::time::Instant::now();
        second.stop().unwrap();
        assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
    }
    let third = Folder::start(log, "c", &ledger);
    std::thread::sleep(Duration::from_millis(50));
    first.stop().unwrap();
    let written = load.stop();
    until("the one that is left reads all", || ledger.count() as i64 >= written * 4);
    third.stop().unwrap();
    assert_all(&ledger, log, written);
}

/// A fold that is slower than its partition: the partition is paused, memory stays within its bound,
/// and the other partitions go on.
pub(super) fn a_slow_fold_holds_nobody_but_its_own_partition(log: &Log<'_>) {
    let mut log = Log { broker: log.broker, config: log.config.clone() };
    log.config.waiting_bytes_max = 65_536;
    let mut writer = Writer::start(&log, "one", 4);
    for number in 0..400 {
        writer.append(&[(0, number), (1, number)], "rtt\nload-0", 0).unwrap();
    }
    writer.stop().unwrap();
    let ledger = Arc::<Ledger>::default();
    *ledger.pause.lock().unwrap() = Duration::from_millis(5);
    let folder = Folder::start(&log, "a", &ledger);
    until("all is read", || ledger.count() == 800);
    folder.stop().unwrap();
    assert_all(&ledger, &log, 400);
}

/// Something that is no batch, at offset 1 of partition 0, and at the end of partition 1.
pub(super) fn what_is_no_batch_is_set_aside_and_the_rest_goes_on(log: &Log<'_>) {
    let mut writer = Writer::start(log, "one", 4);
    let foreign: BaseProducer = log.broker.client().create().unwrap();
    let put = |partition: i32, payload: &[u8]| {
        let record = BaseRecord::<(), [u8]>::to(&log.config.events_topic);
        foreign.send(record.partition(partition).payload(payload)).map_err(|(e, _)| e).unwrap();
        foreign.flush(Duration::from_secs(30)).unwrap();
    };
    writer.append(&[(0, 0), (1, 0)], "rtt\nload-0", 1).unwrap();
    put(0, b"hello");
    writer.append(&[(0, 1), (1, 1)], "rtt\nload-0", 2).unwrap();
    put(1, &[2, 0, 0]);
    writer.stop().unwrap();
    let ledger = Arc::<Ledger>::default();
    let folder = Folder::start(log, "a", &ledger);
    until("all is read", || ledger.count() == 6);
    assert_eq!(folder.counts.quarantined.get(), 2);
    folder.stop().unwrap();
    assert_all(&ledger, log, 2);
    let heard = ledger.heard.lock().unwrap();
    let (end, batch) = heard[&0].iter().find(|(_, batch)| !batch.sources.is_empty()).unwrap();
    // A transaction marker lies between the batch and the foreign message.
    assert_eq!((*end, batch.first_offset), (3, 2));
    assert_eq!(*batch.sources[0], *format!("{}-0", log.config.events_topic));
    let Control::Ledger { account, .. } = &batch.controls[0] else { panic!("{batch:?}") };
    assert_eq!((account.first_offset, account.quarantined, account.read), (2, 1, 1));
    assert_eq!(account.reasons, [("no_batch".to_owned(), 1)]);
    assert!(ledger.quarantined.lock().unwrap().contains(&b"hello".to_vec()));
}

/// The brokers have deleted what was not read yet; and what was never read is no loss.
pub(super) fn what_was_deleted_unread_is_a_gap(log: &Log<'_>) {
    let mut writer = Writer::start(log, "one", 4);
    for number in 0..50 {
        writer.append(&[(0, number)], "rtt\nload-0", 1).unwrap();
    }
    writer.stop().unwrap();
    // Fifty batches, each with a marker behind it.
    let json = log.broker.folder.join(format!("{}.json", log.config.prefix));
    let topic = &log.config.events_topic;
    let delete = format!(
        r#"{{"version":1,"partitions":[{{"topic":"{topic}","partition":0,"offset":40}}]}}"#
    );
    std::fs::write(&json, delete).unwrap();
    let (address, json) = (log.broker.address(), json.to_string_lossy().into_owned());
    let to = ["--bootstrap-server", &address, "--offset-json-file", &json];
    log.broker.script(&[&["tool", "DeleteRecordsCommand"], to.as_slice()].concat());

    let ledger = Arc::<Ledger>::default();
    ledger.resume.lock().unwrap().insert(0, 11);
    let folder = Folder::start(log, "a", &ledger);
    until("what is left is read", || ledger.count() == 31);
    assert_eq!(folder.counts.overtaken.get(), 29);
    folder.stop().unwrap();
    let heard = ledger.heard.lock().unwrap();
    let (end, batch) = &heard[&0][0];
    assert_eq!((*end, batch.first_offset), (40, 11));
    let Control::FeedGap { reason, lost, .. } = &batch.controls[0] else { panic!("{batch:?}") };
    assert_eq!(*lost, Some(29));
    assert!(reason.contains("offsets 11 to 39"), "{reason}");
    drop(heard);
    assert_eq!(ledger.numbers()[&0], (20..50).collect::<Vec<_>>());

    let fresh = Arc::<Ledger>::default();
    let folder = Folder::start_at(log, "a", &fresh, true);
    until("what is left is read", || fresh.count() == 30);
    assert_eq!(folder.counts.overtaken.get(), 0);
    folder.stop().unwrap();
}

/// A log that ends before what the lake has of it, and a topic that was made anew.
pub(super) fn a_log_that_is_not_the_one_it_was_is_refused(log: &Log<'_>) {
    let mut writer = Writer::start(log, "one", 4);
    writer.append(&[(0, 0)], "rtt\nload-0", 1).unwrap();
    let ledger = Arc::<Ledger>::default();
    ledger.resume.lock().unwrap().insert(0, 1_000);
    let folder = Folder::start(log, "a", &ledger);
    until("it is told", || !ledger.failures.lock().unwrap().is_empty());
    folder.stop().unwrap();
    let told = ledger.failures.lock().unwrap()[0].clone();
    assert!(told.contains("it ends at 2") && told.contains("up to 1000"), "{told}");

    let ledger = Arc::<Ledger>::default();
    let folder = Folder::start(log, "a", &ledger);
    until("it reads", || ledger.count() == 1);
    let before = log.topics();
    log.broker.delete(&log.config.events_topic);
    let is_gone = || {
        let metadata = log.broker.admin().inner().fetch_metadata(None, Duration::from_secs(5));
        metadata.unwrap().topics().iter().all(|topic| topic.name() != log.config.events_topic)
    };
    until("it is gone", is_gone);
    let after = log.topics();
    assert_ne!(before.identity(&log.config), after.identity(&log.config));
    for number in 0..20 {
        // More than there was before, so that no offset tells.
        writer.append(&[(0, number)], "rtt\nload-0", 2).unwrap();
    }
    until("it is told", || !ledger.failures.lock().unwrap().is_empty());
    let told = ledger.failures.lock().unwrap()[0].clone();
    assert!(told.contains("made anew") || told.contains("was deleted"), "{told}");
    folder.stop().unwrap();
    writer.stop().unwrap();
}

/// The broker is away for longer than a session lasts, while batches are written and read.
pub(super) fn brokers_that_are_away_are_waited_for(log: &Log<'_>) {
    let ledger = Arc::<Ledger>::default();
    let load = Load::start(log, Duration::from_millis(20));
    let folder = Folder::start(log, "a", &ledger);
    until("it reads", || ledger.count() > 50);
    log.broker.script(&["kill", "0"]);
    std::thread::sleep(Duration::from_secs(8));
    log.broker.script(&["start", "0"]);
    let before = ledger.count();
    until("it goes on", || ledger.count() > before + 50);
    let written = load.stop();
    until("all is read", || ledger.count() as i64 >= written * 2);
    assert!(folder.counts.brokers_down.get() > 0);
    folder.stop().unwrap();
    assert_all(&ledger, log, written);
}
