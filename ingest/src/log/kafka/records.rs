//! Records of one partition as a fold takes them: batches in order, and what is said about the
//! partition among them.
//!
//! The position of a batch is the offset of its message, plus one for what follows; its log time the
//! time of the append, never going back. A message that is no batch becomes one that says so, a
//! `ledger` record with its place, and so do messages that the brokers deleted unread: a gap.
//!
//! A partition enters a version of the registry at the first batch that names it, whether or not the
//! record that announced it is there still; what was matched by an older one gets the numbers of the
//! one in force, by the names of connections.

use std::sync::Arc;
use std::time::Duration;

use schemas::batch::{Account, Content, Control, EventBatch};
use schemas::log::{LogError, PartitionReader, Resume};
use schemas::registry::Registry;
use schemas::time::Timestamp;

use super::clients::LogCounts;
use super::control::{Version, Versions};
use super::lane::{Lane, Message, Passing, Start};
use super::record;

/// How long a fold waits before it is told that time passes.
const TICK: Duration = Duration::from_secs(1);

/// What a fold is told of its partition.
#[derive(Debug)]
pub enum Told {
    /// The next batch.
    Batch(EventBatch),
    /// A message that is no batch; `batch` stands for it in the log.
    Quarantined {
        /// What there is of it, for whoever wants to look at it.
        payload: Vec<u8>,
        /// A `ledger` record.
        batch: EventBatch,
    },
    /// Messages that the brokers deleted before they were read; `batch` stands for them.
    Missing {
        /// A row of `feed_gaps`.
        batch: EventBatch,
    },
    /// Everything that there was has been handed on.
    CaughtUp,
    /// A second passed, and nothing came.
    Tick,
    /// The partition goes to another process: finish, and drop this.
    Taken,
}

/// One partition of the events topic, read in order.
pub struct Records {
    topic: Arc<str>,
    partition: u32,
    lane: Arc<Lane>,
    counts: Arc<LogCounts>,
    reached: Timestamp,
    versions: Arc<Versions>,
    /// The version in force.
    in_force: Option<Arc<Registry>>,
    /// What comes next, behind the version that it names.
    held: Option<EventBatch>,
}

impl Records {
    pub(super) fn new(
        topic: &Arc<str>,
        partition: u32,
        lane: &Arc<Lane>,
        (counts, versions): (&Arc<LogCounts>, &Arc<Versions>),
    ) -> Self {
        Self {
            topic: Arc::clone(topic),
            partition,
            lane: Arc::clone(lane),
            counts: Arc::clone(counts),
            reached: Timestamp::MIN,
            versions: Arc::clone(versions),
            in_force: None,
            held: None,
        }
    }

    /// The partition.
    #[must_use]
    pub const fn partition(&self) -> u32 {
        self.partition
    }

    /// Says where to begin; nothing comes before that.
    pub fn begin(&mut self, start: Start) {
        self.know(start.log_time, start.registry_version);
        self.lane.begin(start);
    }

    /// What the fold knows where it begins.
    fn know(&mut self, log_time: Timestamp, registry_version: u32) {
        self.reached = log_time;
        self.in_force = self.versions.get(registry_version).map(|version| version.registry);
    }

    /// The next thing that is told.
    ///
    /// # Errors
    /// [`LogError::Receded`] if the log ends before where it was to be read from, and what stops the
    /// reading of all of it.
    pub fn told(&mut self) -> Result<Told, LogError> {
        if let Some(batch) = self.held.take() {
            return Ok(Told::Batch(batch));
        }
        match self.lane.next(TICK) {
            Err(_) => Ok(Told::Taken),
            Ok(None) => Ok(Told::Tick),
            Ok(Some(Passing::CaughtUp)) => Ok(Told::CaughtUp),
            Ok(Some(Passing::Failed(error))) => Err(error),
            Ok(Some(Passing::Missing { from, to })) => Ok(self.missing(from, to)),
            Ok(Some(Passing::Message(message))) => Ok(self.message(message)),
        }
    }

    fn message(&mut self, message: Message) -> Told {
        let Message { offset, time, payload } = message;
        // Log time never goes back, whatever the clocks of the brokers do.
        self.reached = self.reached.max(time);
        self.counts.batches_read.one();
        self.counts.bytes_read.add(payload.len() as u64);
        match record::decode(&payload) {
            Ok(mut batch) => {
                batch.partition = self.partition;
                batch.place(offset, offset + 1, self.reached);
                Told::Batch(self.under_version(batch))
            }
            Err(error) => {
                self.counts.quarantined.one();
                let (topic, partition) = (&self.topic, self.partition);
                tracing::error!(%topic, partition, offset, %error, "message quarantined, going on");
                let mut account = Account {
                    partition,
                    first_offset: offset,
                    last_offset: offset,
                    read: 1,
                    quarantined: 1,
                    ..Account::default()
                };
                account.note("no_batch", 1);
                let control = Control::Ledger { source: 0, account, event_time: self.reached };
                Told::Quarantined { payload, batch: self.stand_in(control, offset, offset + 1) }
            }
        }
    }

    /// A batch under the version in force. One that names a later version comes behind it.
    fn under_version(&mut self, mut batch: EventBatch) -> EventBatch {
        for control in &batch.controls {
            if let Control::Registry { registry, settings } = control {
                let settings = settings.clone().unwrap_or_default();
                self.versions.learn(Version::new(Arc::clone(registry), settings));
                self.in_force = Some(Arc::clone(registry));
            }
        }
        let in_force = self.in_force.as_ref().map_or(0, |registry| registry.version);
        let named = batch.registry_version;
        if named > in_force
            && let Some(version) = self.versions.get(named)
        {
            self.in_force = Some(Arc::clone(&version.registry));
            let at = batch.first_offset;
            let mut entry = self.stand_in(version.control(), at, at);
            entry.sources.clear();
            self.held = Some(batch);
            return entry;
        }
        if named > 0 && named < in_force && !batch.series.is_empty() {
            self.renumber(&mut batch, named);
        }
        batch
    }

    /// Gives series of an older version the numbers of the one in force.
    fn renumber(&self, batch: &mut EventBatch, named: u32) {
        let Some(in_force) = &self.in_force else { return };
        let older = self.versions.get(named);
        let left = batch.renumber(in_force.version, |connection| {
            let known = older.as_ref()?.registry.connections();
            in_force.id_of(&known.get(connection as usize)?.name)
        });
        if left == 0 {
            return;
        }
        let mut account = Account { read: left, unmatched: left, ..Account::default() };
        account.note("connection_gone", left);
        let source = u32::try_from(batch.sources.len()).unwrap_or(u32::MAX);
        batch.sources.push(format!("registry version {named}").into());
        let index = u32::try_from(batch.controls.len()).unwrap_or(u32::MAX);
        batch.controls.push(Control::Ledger { source, account, event_time: self.reached });
        batch.append(self.reached, Content::Control(index));
    }

    fn missing(&mut self, from: u64, to: u64) -> Told {
        self.counts.overtaken.add(to - from);
        let (topic, partition) = (&self.topic, self.partition);
        tracing::error!(%topic, partition, from, to, "messages deleted before they were read");
        let last = to.saturating_sub(1);
        let reason = format!(
            "offsets {from} to {last} of partition {partition} are gone from the brokers: they were not \
             read within the retention of the topic"
        );
        let started_at = self.reached.max(Timestamp(0));
        let control = Control::FeedGap {
            source: 0,
            collector: None,
            started_at,
            ended_at: Some(started_at),
            reason: reason.into(),
            lost: Some(to - from),
        };
        Told::Missing { batch: self.stand_in(control, from, to) }
    }

    /// A batch of one record that stands for what is not there.
    fn stand_in(&self, control: Control, from: u64, to: u64) -> EventBatch {
        let mut batch = EventBatch::starting(self.partition, from, true);
        batch.sources.push(format!("{}-{}", self.topic, self.partition).into());
        batch.controls.push(control);
        batch.append(self.reached, Content::Control(0));
        batch.place(from, to, self.reached);
        batch
    }
}

impl PartitionReader for Records {
    fn next(&mut self) -> Result<Option<EventBatch>, LogError> {
        loop {
            match self.told()? {
                Told::Batch(batch) | Told::Quarantined { batch, .. } | Told::Missing { batch } => {
                    return Ok(Some(batch));
                }
                Told::CaughtUp | Told::Tick => {}
                Told::Taken => return Ok(None),
            }
        }
    }

    fn seek(&mut self, to: Resume) -> Result<(), LogError> {
        self.know(to.log_time, to.registry_version);
        self.held = None;
        self.lane.seek(to.offset);
        Ok(())
    }
}

impl Drop for Records {
    fn drop(&mut self) {
        self.lane.drop_out();
    }
}

#[cfg(test)]
mod tests {
    use schemas::batch::{SampleEvent, SeriesEvent};
    use schemas::sample::Statistic;

    use super::*;

    fn records() -> (Records, Arc<Lane>) {
        let lane = Arc::new(Lane::new(1 << 20));
        let (counts, versions) = (Arc::default(), Arc::default());
        (Records::new(&"events".into(), 3, &lane, (&counts, &versions)), lane)
    }

    fn message(offset: u64, secs: i64) -> Passing {
        let mut payload = Vec::new();
        let mut batch = EventBatch::starting(0, 7, true);
        batch.controls.push(Control::Commit { snapshot: false });
        batch.append(Timestamp(5), Content::Control(0));
        schemas::batch_ipc::encode(&batch, &mut payload).unwrap();
        Passing::Message(Message { offset, time: Timestamp::from_secs(secs), payload })
    }

    fn secs(records: &mut Records) -> (u64, i64) {
        match records.told().unwrap() {
            Told::Batch(batch) => (batch.end_offset(), batch.log_times().unwrap().0.secs()),
            other => panic!("{other:?}"),
        }
    }

    /// The leader of a partition changes, and the clock of the new one is five seconds behind.
    #[test]
    fn log_time_never_goes_back_and_is_the_same_when_it_is_read_again() {
        let (mut records, lane) = records();
        let log_time = Timestamp::from_secs(90);
        records.begin(Start { offset: Some(10), log_time, registry_version: 0 });
        let told = [(10, 100), (12, 101), (13, 96), (14, 97), (15, 102)];
        let wanted = [(11, 100), (13, 101), (14, 101), (15, 101), (16, 102)];
        let read = |records: &mut Records, from: usize| {
            for (offset, secs) in &told[from..] {
                lane.put(message(*offset, *secs));
            }
            let read: Vec<_> = (from..5).map(|_| secs(records)).collect();
            assert_eq!(read, wanted[from..], "from {from}");
        };
        read(&mut records, 0);
        for from in [3_usize, 1, 4, 2, 0] {
            let log_time = from.checked_sub(1).map_or(90, |before| wanted[before].1);
            let log_time = Timestamp::from_secs(log_time);
            records.seek(Resume { offset: told[from].0, log_time, registry_version: 0 }).unwrap();
            assert_eq!(lane.sought(), Some(told[from].0));
            read(&mut records, from);
        }
    }

    fn version(number: u32, names: &[&str]) -> Version {
        let connection = |(at, name): (usize, &&str)| -> schemas::connection::Connection {
            let text = format!(r#"{{"name":"{name}","prefixes":["192.0.{at}.0/24"]}}"#);
            serde_json::from_str(&text).unwrap()
        };
        let connections = names.iter().enumerate().map(connection).collect();
        Version::new(Arc::new(Registry::new(number, connections, Vec::new()).unwrap()), "{}".into())
    }

    /// A batch of one sample each of these connections, matched by a version.
    fn samples(offset: u64, registry_version: u32, connections: &[u32]) -> Passing {
        let mut batch = EventBatch::starting(3, 0, true);
        batch.registry_version = registry_version;
        for connection in connections {
            let series = batch.series.push(SeriesEvent {
                connection: *connection,
                prefix: "192.0.2.0/24".parse().unwrap(),
                source: 0,
                input: 1,
                statistic: Statistic::Sample,
            });
            batch.append_samples(Timestamp(0), |rows| {
                rows.push(SampleEvent { event_time: Timestamp(0), series, rtt_us: None });
            });
        }
        let mut payload = Vec::new();
        schemas::batch_ipc::encode(&batch, &mut payload).unwrap();
        Passing::Message(Message { offset, time: Timestamp::from_secs(100), payload })
    }

    /// What is told: version that is entered, numbers of the samples' connections, what was left out.
    fn numbers(records: &mut Records) -> (u64, Option<u32>, Vec<u32>, u64) {
        let Told::Batch(batch) = records.told().unwrap() else { panic!() };
        let version = batch.controls.iter().find_map(|control| match control {
            Control::Registry { registry, .. } => Some(registry.version),
            _ => None,
        });
        let left = batch.controls.iter().find_map(|control| match control {
            Control::Ledger { account, .. } => Some(account.unmatched),
            _ => None,
        });
        let series = |sample: u32| batch.series.get(batch.samples.series[sample as usize]).unwrap();
        let count = u32::try_from(batch.samples.len()).unwrap();
        let numbers = (0..count).map(|sample| series(sample).connection).collect();
        (batch.end_offset(), version, numbers, left.unwrap_or_default())
    }

    /// Version 2 has one connection less, and another one before the others. One process still matches by version 1.
    #[test]
    fn samples_of_an_older_version_get_the_numbers_of_the_one_in_force() {
        let (mut records, lane) = records();
        records.versions.learn(version(1, &["a", "b", "c"]));
        records.versions.learn(version(2, &["Z", "a", "c"]));
        let log_time = Timestamp::from_secs(90);
        records.begin(Start { offset: None, log_time, registry_version: 0 });
        for passing in
            [samples(7, 1, &[0, 1, 2]), samples(8, 2, &[0, 1]), samples(9, 1, &[0, 1, 2])]
        {
            lane.put(passing);
        }
        assert_eq!(numbers(&mut records), (7, Some(1), vec![], 0), "it is entered first");
        assert_eq!(numbers(&mut records), (8, None, vec![0, 1, 2], 0));
        assert_eq!(numbers(&mut records), (8, Some(2), vec![], 0));
        assert_eq!(numbers(&mut records), (9, None, vec![0, 1], 0));
        assert_eq!(numbers(&mut records), (10, None, vec![1, 2], 1), "b is gone");

        // A fold that was overtaken goes on from its snapshot, where version 1 was in force.
        records.seek(Resume { offset: 7, log_time, registry_version: 1 }).unwrap();
        assert_eq!(lane.sought(), Some(7));
        for passing in [samples(7, 1, &[0, 1, 2]), samples(8, 2, &[0, 1])] {
            lane.put(passing);
        }
        assert_eq!(numbers(&mut records), (8, None, vec![0, 1, 2], 0));
        assert_eq!(numbers(&mut records), (8, Some(2), vec![], 0));
    }
}
