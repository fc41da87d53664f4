//! What the tests of live sources share: a harness that hears every word, and tools that may be
//! missing on a machine.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::live::{ARRIVALS_WAITING_MAX, Arrival, Outbox, Stop, Word};
use crate::kafka::topic_id::TopicId;
use crate::samples::SampleSet;

/// Longer than any source under test may need.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// The intake's end of a source.
pub(super) struct Ear {
    arrivals: mpsc::Receiver<Arrival>,
    stop: watch::Sender<bool>,
    /// Streams by number, in the order in which they opened.
    pub(super) heard: BTreeMap<u64, Heard>,
}

/// What was heard of one stream.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) remote: String,
    pub(super) begins: Option<u64>,
    pub(super) topic: Option<TopicId>,
    pub(super) bytes: Vec<u8>,
    pub(super) messages: Vec<(u64, Vec<u8>)>,
    pub(super) samples: Vec<SampleSet>,
    pub(super) caught_up: u32,
    pub(super) closed: Option<(String, bool)>,
}

impl Heard {
    /// Whether its end was told.
    pub(super) const fn is_over(&self) -> bool {
        self.closed.is_some()
    }
}

impl Ear {
    /// An ear with what the source needs to speak to it.
    pub(super) fn new() -> (Self, Outbox, Stop) {
        let (sender, arrivals) = mpsc::channel(ARRIVALS_WAITING_MAX);
        let (stop, stopped) = watch::channel(false);
        (Self { arrivals, stop, heard: BTreeMap::new() }, Outbox::new(7, sender), stopped)
    }

    /// Stops the source.
    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Hears words until this holds.
    pub(super) async fn until(
        &mut self,
        what: &str,
        holds: impl Fn(&BTreeMap<u64, Heard>) -> bool,
    ) {
        while !holds(&self.heard) {
            let word = timeout(PATIENCE, self.arrivals.recv()).await;
            let Ok(Some(arrival)) = word else {
                panic!("{what}: nothing more was said after {:?}", self.summary());
            };
            self.hear(arrival);
        }
    }

    /// Hears what is said until the source is gone.
    pub(super) async fn rest(&mut self) {
        while let Some(arrival) = timeout(PATIENCE, self.arrivals.recv()).await.unwrap() {
            self.hear(arrival);
        }
    }

    /// Words that wait.
    pub(super) fn waiting(&self) -> usize {
        self.arrivals.len()
    }

    /// The only stream.
    pub(super) fn only(&self) -> &Heard {
        assert_eq!(self.heard.len(), 1, "{:?}", self.summary());
        self.heard.values().next().unwrap()
    }

    fn hear(&mut self, arrival: Arrival) {
        assert_eq!(arrival.input, 7);
        let is_new = !self.heard.contains_key(&arrival.stream);
        let heard = self.heard.entry(arrival.stream).or_default();
        assert_eq!(heard.closed, None, "nothing follows the end of a stream");
        let needs_none = matches!(arrival.word, Word::Opened { .. } | Word::Samples { .. });
        assert!(needs_none || !is_new, "{:?}", arrival.word);
        match arrival.word {
            Word::Opened { remote } => heard.remote = remote,
            Word::Begins { offset, topic } => {
                heard.begins = offset;
                heard.topic = topic;
            }
            Word::Bytes(bytes) => heard.bytes.extend(bytes),
            Word::Message { offset, payload, .. } => heard.messages.push((offset, payload)),
            Word::Messages(messages) => {
                let messages = messages.into_iter().map(|one| (one.offset, one.payload));
                heard.messages.extend(messages);
            }
            Word::Samples { samples, .. } => heard.samples.push(*samples),
            Word::CaughtUp => heard.caught_up += 1,
            Word::Closed { reason, is_gap } => heard.closed = Some((reason, is_gap)),
        }
    }

    fn summary(&self) -> Vec<String> {
        let line = |(stream, heard): (&u64, &Heard)| {
            let (bytes, messages) = (heard.bytes.len(), heard.messages.len());
            format!("{stream}: {} {bytes} B {messages} {:?}", heard.remote, heard.closed)
        };
        self.heard.iter().map(line).collect()
    }
}

/// Whether a tool is there. One that is missing fails a run for merging and skips any other.
pub(crate) fn has(tool: &str, probe: &[&str], install: &str) -> bool {
    let is_there = Command::new(tool).args(probe).output().is_ok_and(|done| done.status.success());
    let is_ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
    assert!(is_there || !is_ci, "{tool} is missing: {install}");
    if !is_there {
        eprintln!("skipped: {tool} is missing: {install}");
    }
    is_there
}

/// One BMP message of this length, full of this byte.
pub(super) fn bmp_message(length_bytes: u32, fill: u8) -> Vec<u8> {
    let mut bytes = vec![3];
    bytes.extend(length_bytes.to_be_bytes());
    bytes.resize(length_bytes as usize, fill);
    bytes
}
