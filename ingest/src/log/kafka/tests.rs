//! The log against a real Kafka of one broker, started by `deploy/kafka/kafka`. `PEERSCOPE_KILLS` says
//! how many kills; the default is for every run of the tests.

mod appends;
mod child;
mod cluster;
mod kills;
mod reads;
mod support;

use std::io::Write as _;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use support::Log;

use crate::kafka::testing::Broker;

/// Longer than any story may take, but for its kills, and for one kill.
const LONGEST: Duration = Duration::from_secs(300);
const LONGEST_KILL: Duration = Duration::from_secs(20);

/// Ends this process where a story goes on for longer, for there are words of children that it waits for.
/// The story is over when what this returns is dropped.
fn within(longest: Duration, story: &'static str) -> mpsc::SyncSender<()> {
    let (over, is_over) = mpsc::sync_channel(0);
    std::thread::spawn(move || {
        if is_over.recv_timeout(longest) == Err(mpsc::RecvTimeoutError::Timeout) {
            // Past what the harness keeps until the end of a test.
            let _ = writeln!(std::io::stderr(), "not within {longest:?}: the story {story:?}");
            std::process::abort();
        }
    });
    over
}

/// The stories share a broker: each has topics of its own.
#[test]
fn the_log_over_a_real_kafka_keeps_its_promises() {
    let Some(broker) = Broker::any() else { return };
    let longest = LONGEST + LONGEST_KILL * kills::count();
    let story = |name: &'static str, partitions: u32, tell: fn(&Log<'_>)| {
        // One of them, for whoever works on it.
        if std::env::var("PEERSCOPE_STORY").is_ok_and(|only| only != name) {
            return;
        }
        let since = Instant::now();
        let _told = within(longest, name);
        tell(&Log::new(&broker, name, partitions));
        println!("{name}: {:.1} s", since.elapsed().as_secs_f32());
    };
    story("back", 3, appends::what_was_appended_is_read_back);
    story("unfit", 2, appends::topics_that_do_not_fit_are_refused);
    story("secure", 1, appends::brokers_that_ask_who_we_are_are_answered);
    story("slow", 2, reads::a_slow_fold_holds_nobody_but_its_own_partition);
    story("poison", 2, reads::what_is_no_batch_is_set_aside_and_the_rest_goes_on);
    story("overtaken", 1, reads::what_was_deleted_unread_is_a_gap);
    story("moves", 6, reads::partitions_move_and_no_batch_is_lost_or_doubled);
    story("stop", 4, reads::a_stop_in_the_middle_of_a_rebalance_is_clean);
    story("anew", 1, reads::a_log_that_is_not_the_one_it_was_is_refused);
    story("kills", 3, kills::a_writer_that_is_killed_again_and_again_carries_each_number_once);
    story("zombie", 3, kills::a_writer_that_was_stopped_for_too_long_writes_nothing_any_more);
    story("away", 2, reads::brokers_that_are_away_are_waited_for);
}

/// With `PEERSCOPE_BROKERS=3`: it takes minutes.
#[test]
fn a_cluster_of_three_keeps_them_while_its_leaders_are_killed() {
    if std::env::var("PEERSCOPE_BROKERS").is_ok_and(|brokers| brokers == "3") {
        let Some(broker) = Broker::start_many(3) else { return };
        let mut log = Log::new(&broker, "cluster", 6);
        log.config.brokers = broker.addresses();
        log.config.session_timeout_secs = 20;
        log.config.replicas = Some(3);
        cluster::brokers_that_are_killed_while_they_lead_lose_and_double_nothing(&log);
    }
}
