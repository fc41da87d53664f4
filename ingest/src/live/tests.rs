//! What a router says ends up in the log, over restarts too.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Mutex;

use schemas::batch::{Content, PeerState};
use schemas::bgp::{AsPath, Asn, Origin, PathAttributes};
use schemas::log::{Log as _, PartitionReader as _};
use schemas::reference::{ReferenceKind, ReferenceVersion};

use super::*;
use crate::encode::bgp::{Update, update};
use crate::encode::bmp::{self, Peer};
use crate::log::embedded::{EmbeddedOptions, open};
use crate::samples::{Owners, SampleSet};
use crate::session::BmpOptions;
use crate::source::live::{Message, Outbox, Word, delivery};
use crate::source::rtt_body;

fn registry(prefix: &str) -> Arc<Registry> {
    let text = format!(r#"{{"name":"a","prefixes":["{prefix}"]}}"#);
    Arc::new(Registry::new(1, vec![serde_json::from_str(&text).unwrap()], Vec::new()).unwrap())
}

fn options(folder: &Path) -> EmbeddedOptions {
    EmbeddedOptions {
        folder: folder.to_owned(),
        partitions: 1,
        segment_bytes: 1 << 20,
        bytes_max: 1 << 30,
        now: Timestamp(0),
    }
}

fn input(format: Format) -> InputSettings {
    InputSettings {
        name: "routers".into(),
        collector: "c1".into(),
        format,
        book: None,
        collector_of: None,
        counts: Arc::default(),
        belongs_to_process: true,
    }
}

/// Lets an intake of routers hear these words, at one time a round, and stop.
fn hear(folder: &Path, prefix: &str, secs: i64, words: Vec<(u64, Word)>) {
    hear_as(Format::Bmp(BmpOptions::default()), folder, prefix, secs, words);
}

/// Lets an intake hear these words, at one time a round, and stop.
fn hear_as(format: Format, folder: &Path, prefix: &str, secs: i64, words: Vec<(u64, Word)>) {
    hear_of(format, folder, (prefix, &[], &[]), secs, words);
}

/// What is registered and what reference data count at the start, and versions that come later.
type Versions<'v> = (&'v str, &'v [&'v str], &'v [Version]);

fn hear_of(
    format: Format,
    folder: &Path,
    (prefix, reference, later): Versions<'_>,
    secs: i64,
    words: Vec<(u64, Word)>,
) {
    let (_, writer, recovered) = open(options(folder)).unwrap();
    let (tell, versions) = mpsc::channel(VERSIONS_WAITING_MAX);
    later.iter().for_each(|version| tell.try_send(version.clone()).unwrap());
    let options = LiveOptions {
        registry: registry(prefix),
        settings: "{}".into(),
        reference: contents(reference),
        versions,
        keep: Keep::Ours,
        inputs: vec![input(format)],
        snapshot_secs: 300,
        commit_secs: 1,
        is_final: true,
        progress_timeout_secs: 300,
        heartbeat: Arc::default(),
        orders: None,
        linger: Duration::ZERO,
    };
    let times = Mutex::new(VecDeque::from([Timestamp::from_secs(secs)]));
    let clock = move || {
        let mut times = times.lock().unwrap();
        let next = times.pop_front().unwrap();
        times.push_back(Timestamp(next.0 + 1_000));
        next
    };
    let live = Live::start(options, writer, &recovered, clock).unwrap();
    let (sender, receiver) = mpsc::channel(64);
    let outbox = Outbox::new(0, sender);
    for (stream, word) in words {
        outbox.tell_blocking(stream, word).unwrap();
    }
    drop(outbox);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    live.run(receiver, runtime.handle()).unwrap();
}

/// VRPs by these hashes.
fn contents(hashes: &[&str]) -> ReferenceSet {
    let version = |hash: &&str| ReferenceVersion {
        kind: ReferenceKind::Vrps,
        hash: (*hash).into(),
        date: Some(Timestamp(7)),
    };
    ReferenceSet { versions: hashes.iter().map(version).collect(), doubt: None }
}

fn batches(folder: &Path) -> Vec<EventBatch> {
    let (mut log, writer, _) = open(options(folder)).unwrap();
    let mut reader = log.read(0, 0).unwrap();
    drop(writer);
    std::iter::from_fn(|| reader.next().unwrap()).collect()
}

/// What the log holds, a word a record.
fn told(folder: &Path) -> Vec<String> {
    let mut told = Vec::new();
    for batch in batches(folder) {
        for run in batch.runs() {
            for behind in 0..run.count {
                told.push(match run.first {
                    Content::Route(row) => {
                        let route = batch.routes.get(row + behind).unwrap();
                        let message = batch.message_of(&route).unwrap();
                        format!(
                            "{} {} {}",
                            message.source_offset,
                            route.action.as_str(),
                            route.prefix
                        )
                    }
                    Content::Sample(_) => "sample".to_owned(),
                    Content::Control(index) => match &batch.controls[(index + behind) as usize] {
                        Control::Registry { registry, .. } => {
                            format!("version {}", registry.version)
                        }
                        Control::Peer { state: PeerState::Up, .. } => "up".to_owned(),
                        Control::Peer { state: PeerState::Stale, .. } => "stale".to_owned(),
                        Control::Peer { .. } => "peer".to_owned(),
                        Control::Stale { .. } => "all stale".to_owned(),
                        Control::FeedGap { ended_at, .. } => {
                            if ended_at.is_some() { "gap ends" } else { "gap" }.to_owned()
                        }
                        Control::Ledger { account, .. } => {
                            format!("read {} ours {}", account.read, account.accepted)
                        }
                        Control::Commit { .. } => "commit".to_owned(),
                        Control::Reference(set) => {
                            format!("reference {}", set.versions.first().unwrap().hash)
                        }
                        _ => continue,
                    },
                });
            }
        }
    }
    told
}

/// A peer up and two announcements, one of them ours; cut into pieces of `bytes`.
fn says(bytes: usize) -> Vec<Word> {
    let peer = Peer::global("192.0.2.1".parse().unwrap(), Asn(64_500), Timestamp(0));
    let mut all = Vec::new();
    bmp::initiation(&mut all, "", "edge1");
    for prefix in ["192.0.2.0/24", "198.51.100.0/24"] {
        let attributes = PathAttributes {
            origin: Some(Origin::Igp),
            as_path: AsPath::sequence([64_500, 64_510]),
            next_hop: Some("192.0.2.1".parse().unwrap()),
            ..PathAttributes::default()
        };
        let announced = [prefix.parse().unwrap()];
        let message = update(&Update {
            withdrawn: &[],
            announced: &announced,
            attributes: Some(&attributes),
        });
        bmp::route_monitoring(&mut all, &peer, &message);
    }
    all.chunks(bytes).map(|piece| Word::Bytes(piece.to_vec())).collect()
}

fn opened() -> Word {
    Word::Opened { remote: "192.0.2.9:4000".to_owned() }
}

fn closed() -> Word {
    Word::Closed { reason: "reset".to_owned(), is_gap: true }
}

#[test]
fn what_a_router_says_is_in_the_log_and_a_restart_makes_it_stale() {
    let folder = tempfile::tempdir().unwrap();
    let session = |bytes| -> Vec<(u64, Word)> {
        let words = [opened()].into_iter().chain(says(bytes)).chain([closed()]);
        words.map(|word| (1, word)).collect()
    };
    hear(folder.path(), "192.0.2.0/24", 100, session(7));
    let first = told(folder.path());
    assert_eq!(
        first,
        ["version 1", "1 announce 192.0.2.0/24", "stale", "gap", "read 2 ours 1", "commit"],
        "the record is the second of its source; a lost session is no withdrawal"
    );
    hear(folder.path(), "192.0.2.0/24", 200, session(1_000));
    let second = told(folder.path()).split_off(first.len());
    assert_eq!(
        second,
        [
            "all stale",
            "gap ends",
            "4 announce 192.0.2.0/24",
            "stale",
            "gap",
            "read 2 ours 1",
            "commit"
        ],
        "records are counted on over a restart"
    );
    hear(folder.path(), "198.51.100.0/24", 300, Vec::new());
    let third = told(folder.path()).split_off(first.len() + second.len());
    assert_eq!(third, ["version 2", "all stale", "gap ends", "commit"]);
    let batches = batches(folder.path());
    assert!(batches.iter().all(|batch| batch.is_live));
    let closing = batches.iter().filter(|batch| batch.commit().is_some()).count();
    assert_eq!(closing, 3, "a commit is the last record of its batch");
}

/// A sample of an address at this second, as a line.
fn sample(ip: &str, secs: i64) -> String {
    format!(r#"{{"time":{secs},"ip":"{ip}","rtt_us":21500,"source":"p"}}"#)
}

fn matched(body: &str) -> Box<SampleSet> {
    let owners = Owners::new(registry("192.0.2.0/24"));
    Box::new(rtt_body::read(body.as_bytes(), None, &owners, None).unwrap())
}

/// Two requests: the first one waits for its answer, the second one has given up. What is told is in the
/// log then, what was given up is not, and a sample from the future is neither.
#[test]
fn samples_are_answered_when_they_are_durable() {
    let folder = tempfile::tempdir().unwrap();
    let body = [sample("192.0.2.7", 95), sample("192.0.2.8", 161), sample("198.51.100.1", 95)];
    let (answer, mut claim) = delivery();
    let (given_up, gone) = delivery();
    assert!(gone.give_up() && !given_up.take(), "whoever gives up first decides");
    drop(gone);
    let samples = |answer| Word::Samples { samples: matched(&body.join("\n")), answer };
    let words = vec![(0, samples(Some(answer))), (0, samples(Some(given_up)))];
    hear_as(Format::Samples, folder.path(), "192.0.2.0/24", 100, words);
    assert!(!claim.give_up(), "it was taken");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let account = runtime.block_on(claim.confirmed()).unwrap();
    assert_eq!((account.read, account.accepted, account.unmatched), (3, 1, 1));
    assert_eq!(account.quarantined, 1, "more than a minute ahead of log time");
    assert_eq!(account.reasons, [("clock_ahead".to_owned(), 1)]);
    let told = told(folder.path());
    assert_eq!(told, ["version 1", "sample", "read 3 ours 1", "commit"]);
}

/// The registry in force has other numbers than the one that samples were matched with.
#[test]
fn samples_find_their_connection_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let mut samples = matched(&sample("192.0.2.7", 95));
    let text =
        r#"[{"name":"0","prefixes":["203.0.113.0/24"]},{"name":"a","prefixes":["192.0.2.0/24"]}]"#;
    let both: Vec<_> = serde_json::from_str(text).unwrap();
    samples.registry = Arc::new(Registry::new(1, both, Vec::new()).unwrap());
    samples.owners = vec![0];
    let mut words = vec![(0, Word::Samples { samples: samples.clone(), answer: None })];
    samples.owners = vec![1];
    words.push((0, Word::Samples { samples, answer: None }));
    hear_as(Format::Samples, folder.path(), "192.0.2.0/24", 100, words);
    assert_eq!(told(folder.path()), ["version 1", "sample", "read 2 ours 1", "commit"]);
}

#[test]
fn a_topic_of_samples_goes_on_where_the_log_ends() {
    let folder = tempfile::tempdir().unwrap();
    let session = |first: u64| {
        let message = |offset: u64| Word::Message {
            offset,
            broker_time: Some(Timestamp::from_secs(95)),
            payload: if offset == 3 {
                b"nothing".to_vec()
            } else {
                sample("192.0.2.7", 95).into_bytes()
            },
        };
        let opened = Word::Opened { remote: "peerscope.rtt.v1-0".to_owned() };
        let words = [opened, message(first), message(first + 1), Word::CaughtUp];
        words.into_iter().map(|word| (1, word)).collect()
    };
    hear_as(Format::RttMessages, folder.path(), "192.0.2.0/24", 100, session(0));
    let (_, writer, recovered) = open(options(folder.path())).unwrap();
    let (places, _) = positions_of(&recovered.positions, "routers");
    assert_eq!(places["peerscope.rtt.v1-0"].next_offset, 2);
    drop(writer);
    hear_as(Format::RttMessages, folder.path(), "192.0.2.0/24", 200, session(2));
    let told = told(folder.path());
    let wanted = ["version 1", "sample", "sample", "read 2 ours 2", "commit"];
    assert_eq!(told[..5], wanted);
    assert_eq!(told[5..], ["sample", "read 2 ours 1", "commit"], "a bad message costs itself");
}

#[test]
fn log_time_never_goes_back() {
    let folder = tempfile::tempdir().unwrap();
    hear(folder.path(), "192.0.2.0/24", 500, Vec::new());
    hear(folder.path(), "192.0.2.0/24", 400, Vec::new());
    let times: Vec<_> = batches(folder.path())
        .iter()
        .filter_map(EventBatch::log_times)
        .map(|times| times.0)
        .collect();
    assert!(times.is_sorted() && times.first() == Some(&Timestamp::from_secs(500)), "{times:?}");
}

/// Versions count from a record on: what was matched before stands before it, and what says nothing new
/// is no record, over a restart either.
#[test]
fn versions_that_come_later_are_records_and_unchanged_ones_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let registered = |prefix: &str, settings: &str| Version::Registry {
        registry: registry(prefix),
        settings: settings.into(),
    };
    let later = [
        registered("192.0.2.0/24", "{}"),
        registered("198.51.100.0/24", "{}"),
        Version::Reference(contents(&["a"])),
        Version::Reference(contents(&["b"])),
    ];
    let hear = |versions: Versions<'_>, secs: i64| {
        hear_of(Format::Samples, folder.path(), versions, secs, vec![(1, Word::CaughtUp)]);
        told(folder.path())
    };
    let first = hear(("192.0.2.0/24", &["a"], &later), 100);
    let versions = |told: &[String]| -> Vec<String> {
        let is_version =
            |word: &&String| word.starts_with("version") || word.starts_with("reference");
        told.iter().filter(is_version).cloned().collect()
    };
    let wanted = ["reference a", "version 1", "version 2", "reference b"];
    assert_eq!(versions(&first), wanted);
    let again = hear(("198.51.100.0/24", &["b"], &[]), 200);
    assert_eq!(versions(&again), wanted, "the restart says nothing new");
    let third = hear(("198.51.100.0/24", &["c"], &[]), 300);
    assert_eq!(versions(&third)[4..], ["reference c"]);
}

/// Lines of samples are read as one body, whatever stands between them; each message counts as if it had
/// come alone, and the position is behind the last one.
#[test]
fn messages_that_come_together_are_read_as_if_they_came_alone() {
    let line = |ip: &str| sample(ip, 95).into_bytes();
    let payloads = [
        line("192.0.2.1"),
        [line("192.0.2.2"), b"\n".to_vec(), line("192.0.2.3")].concat(),
        b"nothing".to_vec(),
        line("198.51.100.1"),
        b"time,ip,rtt_us,source\n95,192.0.2.4,21500,p\n".to_vec(),
        b"{\"time\":95,\"ip\":\"192.0.2.5\",\"rtt_us\":\"many\"}".to_vec(),
        line("192.0.2.6"),
    ];
    let told_of = |together: bool| {
        let folder = tempfile::tempdir().unwrap();
        let message = |(offset, payload): (u64, &Vec<u8>)| Message {
            offset,
            broker_time: Some(Timestamp::from_secs(95)),
            payload: payload.clone(),
        };
        let messages: Vec<Message> = (10..).zip(&payloads).map(message).collect();
        let mut words = vec![(1, Word::Opened { remote: "rtt-0".to_owned() })];
        if together {
            words.push((1, Word::Messages(messages)));
        } else {
            words.extend(messages.into_iter().map(|one| (1, Word::Messages(vec![one]))));
        }
        hear_as(Format::RttMessages, folder.path(), "192.0.2.0/24", 100, words);
        let (_, _, recovered) = open(options(folder.path())).unwrap();
        let (places, _) = positions_of(&recovered.positions, "routers");
        (told(folder.path()), places["rtt-0"].next_offset)
    };
    let (together, next) = told_of(true);
    assert_eq!((&together, next), (&told_of(false).0, 17));
    let samples = together.iter().filter(|word| *word == "sample").count();
    assert_eq!((samples, together[together.len() - 2].as_str()), (5, "read 8 ours 5"));
}
