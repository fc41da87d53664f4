//! The intake of a running service: arrivals of all live sources in, appends to the log out.
//!
//! One thread owns every session and the writing end of the log. It takes what has arrived, lets the
//! sessions read it, and appends it all at once with the positions of the sources: one frame, one
//! fsync, whatever number of sources spoke. So a source that is far ahead cannot starve another for
//! longer than one round, and after a kill every source goes on exactly where the log ends.
//!
//! The clock is given by the caller: log time is its time, never going back.

mod file;
mod gaps;
mod inputs;
pub(crate) mod known;
mod orders;
mod progress;
mod settings;
mod stream;
#[cfg(test)]
mod tests;
mod versions;

use std::sync::Arc;
use std::time::{Duration, Instant};

use schemas::batch::{Control, EventBatch};
use schemas::log::{Append, LogError, Position};
use schemas::reference::ReferenceSet;
use schemas::registry::Registry;
use schemas::tables::Text;
use schemas::time::{MICROS_PER_SEC, Timestamp};
use tokio::sync::mpsc;

use crate::batcher::{Batcher, Outlet};
use crate::intake::Intake;
use crate::log::embedded::{Recovered, with_room};
use crate::session::interest::Keep;
use crate::source::counter::Counter;
use crate::source::live::Arrival;

use inputs::{Input, Inputs};
pub use orders::{Keys, LiveLog, Order, Orders};
pub use progress::InputCounts;
pub use settings::{CollectorOf, InputReport, InputSettings, StreamPlace, positions_of};
pub use stream::{FileOptions, Format};
pub(crate) use versions::hash;
use versions::versioned;
pub use versions::{VERSIONS_WAITING_MAX, Version, reference_of};

/// Bytes of arrivals taken into one append at most.
const ROUND_BYTES_MAX: usize = 4 << 20;
/// Seconds of log time between two snapshots that are asked for because the log is full.
const FULL_SNAPSHOT_SECS: i64 = 10;

/// Settings of a running intake.
pub struct LiveOptions {
    /// What is ours.
    pub registry: Arc<Registry>,
    /// Settings of the folds as JSON: with the registry they are a version.
    pub settings: Text,
    /// Reference data that count; none if others write the log too.
    pub reference: ReferenceSet,
    /// What counts later, as it is told.
    pub versions: mpsc::Receiver<Version>,
    /// Which routes are kept.
    pub keep: Keep,
    /// The inputs, by their number among the arrivals.
    pub inputs: Vec<InputSettings>,
    /// Seconds of log time after which what was told is to be in the lake.
    pub commit_secs: u32,
    /// Seconds of log time after which the state of the folds is to be kept.
    pub snapshot_secs: u32,
    /// Whether the inputs end for good when they end: then everything in them has passed.
    pub is_final: bool,
    /// An input without progress for this long is passed over: `[latency] progress_timeout_secs`.
    pub progress_timeout_secs: u32,
    /// Where the second of log time of the last append is noted, for whoever asks if we live.
    pub heartbeat: Arc<Counter>,
    /// Where inputs are ordered to come and go, if others write the log too: then the registry is of the
    /// version that is in force, and ticks, commits and versions are not ours.
    pub orders: Option<Orders>,
    /// What comes within this time goes into one append.
    pub linger: Duration,
}

/// Collects the batches of one append.
#[derive(Default)]
struct Collected(Vec<EventBatch>);

impl Outlet for Collected {
    fn put(&mut self, batch: EventBatch) -> Result<(), LogError> {
        self.0.push(batch);
        Ok(())
    }
}

/// A running intake.
pub struct Live<C, W> {
    clock: C,
    intake: Intake<Collected>,
    versions: mpsc::Receiver<Version>,
    /// Hash of the registry and the settings in force.
    registry_hash: Vec<u8>,
    /// Reference data in force.
    reference: ReferenceSet,
    inputs: Inputs,
    writer: W,
    orders: Option<Orders>,
    linger: Duration,
    commit_secs: u32,
    snapshot_secs: u32,
    is_final: bool,
    progress_timeout_secs: i64,
    heartbeat: Arc<Counter>,
    now: Timestamp,
    /// Second of the last tick.
    second: i64,
    /// Log time of the last commit record.
    committed: Timestamp,
    /// Log time of the last one that asks for the state.
    kept: Timestamp,
    /// Whether the log was full at the last look.
    is_full: bool,
    /// Positions that moved since the last append.
    moved: Vec<(Text, Position)>,
}

/// What is waited for.
enum Woken {
    Arrival(Arrival),
    Order(Order),
    Time,
    /// Nobody is left to send anything.
    Over,
}

impl<C: Fn() -> Timestamp, W: LiveLog> Live<C, W> {
    /// An intake that goes on where the log ends. What the log holds of routers that were connected
    /// is stale from here on, and a changed registry is a new version.
    ///
    /// # Errors
    /// [`LogError`] if the log does not take it.
    pub fn start(
        options: LiveOptions,
        writer: W,
        recovered: &Recovered,
        clock: C,
    ) -> Result<Self, LogError> {
        let LiveOptions { registry, settings, keep, inputs, .. } = options;
        let (commit_secs, is_final) = (options.commit_secs, options.is_final);
        let now = clock().max(recovered.log_time.unwrap_or(Timestamp::MIN));
        let is_alone = options.orders.is_none();
        let registry_hash = hash(&registry, &settings);
        let (registry, is_new) =
            if is_alone { versioned(&registry, &settings, recovered) } else { (registry, false) };
        let batcher = Batcher::new(&recovered.next_offsets, true, Collected::default());
        let mut intake = Intake::new(batcher, Arc::clone(&registry), keep);
        let inputs = Inputs::new(inputs, &recovered.positions, is_alone, &mut intake);
        let mut live = Self {
            clock,
            intake,
            versions: options.versions,
            registry_hash,
            reference: reference_of(recovered),
            inputs,
            writer,
            orders: options.orders,
            linger: options.linger,
            commit_secs: commit_secs.max(1),
            snapshot_secs: options.snapshot_secs.max(1),
            is_final,
            progress_timeout_secs: options.progress_timeout_secs.into(),
            heartbeat: options.heartbeat,
            now,
            second: now.secs(),
            committed: now,
            kept: now,
            is_full: false,
            moved: Vec::new(),
        };
        live.refer(options.reference)?;
        if is_new {
            live.register(&registry, &settings)?;
        }
        if recovered.log_time.is_some() || !is_alone {
            live.inputs.stale(now, &mut live.intake)?;
            live.inputs.left_accounts(now, &mut live.intake, &mut live.moved)?;
        }
        live.append()?;
        Ok(live)
    }

    /// Takes arrivals until nobody is left to send any, then says what came of each input.
    ///
    /// # Errors
    /// [`LogError`] if the log does not take any more; what was appended before stands.
    pub fn run(
        mut self,
        mut arrivals: mpsc::Receiver<Arrival>,
        runtime: &tokio::runtime::Handle,
    ) -> Result<Vec<InputReport>, LogError> {
        loop {
            let until_tick = MICROS_PER_SEC - (self.clock)().micros().rem_euclid(MICROS_PER_SEC);
            let wait = Duration::from_micros(until_tick.unsigned_abs());
            if self.must_wait() && !arrivals.is_closed() {
                std::thread::sleep(wait);
                self.now = self.now.max((self.clock)());
            } else {
                let woken = runtime.block_on(wake(wait, &mut arrivals, &mut self.orders));
                self.now = self.now.max((self.clock)());
                match woken {
                    Woken::Over => break,
                    Woken::Arrival(first) => self.round(first, &mut arrivals, runtime)?,
                    Woken::Order(order) => self.obey(order, &mut arrivals)?,
                    Woken::Time => {}
                }
            }
            self.tick()?;
            self.append()?;
            self.enter_versions()?;
            self.inputs.answer();
            self.heartbeat.set(self.now.secs().unsigned_abs());
        }
        self.now = self.now.max((self.clock)());
        self.inputs.stop(self.now, &mut self.intake, &mut self.moved)?;
        if self.is_final {
            self.inputs.end();
        }
        self.pass()?;
        self.commit(true)?;
        Ok(self.inputs.reports())
    }

    /// Whether the log is full: then nothing is taken, and TCP and the brokers hold what comes, until
    /// the folds have kept their state and segments are let go.
    fn must_wait(&mut self) -> bool {
        let was_full = std::mem::replace(&mut self.is_full, self.writer.is_full());
        match (was_full, self.is_full) {
            (false, true) => tracing::error!(
                "the log has reached [log] bytes_max, sources wait until segments are released"
            ),
            (true, false) => tracing::info!("the log has room again"),
            _ => {}
        }
        self.is_full
    }

    /// Takes an arrival and what waits behind it, and what comes while it lingers.
    fn round(
        &mut self,
        first: Arrival,
        arrivals: &mut mpsc::Receiver<Arrival>,
        runtime: &tokio::runtime::Handle,
    ) -> Result<(), LogError> {
        let since = Instant::now();
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(arrival) = next {
            bytes += self.inputs.take(arrival, self.now, &mut self.intake, &mut self.moved)?;
            next = if bytes < ROUND_BYTES_MAX { arrivals.try_recv().ok() } else { None };
            let left = self.linger.saturating_sub(since.elapsed());
            if next.is_none() && bytes < ROUND_BYTES_MAX && !left.is_zero() {
                let more =
                    runtime.block_on(async { tokio::time::timeout(left, arrivals.recv()).await });
                next = more.ok().flatten();
            }
        }
        Ok(())
    }

    /// Time moves for every partition, and every input that made progress with it.
    fn tick(&mut self) -> Result<(), LogError> {
        if self.now.secs() == self.second {
            return Ok(());
        }
        self.second = self.now.secs();
        self.pass()?;
        let since_kept = self.now.secs_since(self.kept);
        let must_keep = since_kept >= i64::from(self.snapshot_secs)
            || (self.is_full && since_kept >= FULL_SNAPSHOT_SECS);
        if must_keep || self.now.secs_since(self.committed) >= i64::from(self.commit_secs) {
            self.commit(must_keep)?;
        }
        Ok(())
    }

    fn pass(&mut self) -> Result<(), LogError> {
        let until = Timestamp(self.now.secs() * MICROS_PER_SEC);
        let timeout_secs = self.progress_timeout_secs;
        let is_alone = self.orders.is_none();
        for (until, inputs) in self.inputs.progress(until, timeout_secs, &mut self.intake)? {
            if inputs.is_empty() && !is_alone {
                continue;
            }
            let inputs = &inputs;
            self.intake
                .batcher
                .broadcast(self.now, |_| Control::Tick { inputs: inputs.clone(), until })?;
        }
        Ok(())
    }

    /// What was told so far is to be in the lake: accounts, and the record that closes files, which
    /// is the last one of its batch. It also says whether the state of the folds is to be kept.
    fn commit(&mut self, snapshot: bool) -> Result<(), LogError> {
        self.committed = self.now;
        if snapshot {
            self.kept = self.now;
        }
        self.inputs.accounts(self.now, &mut self.intake, &mut self.moved)?;
        if self.orders.is_none() {
            self.intake.batcher.broadcast(self.now, |_| Control::Commit { snapshot })?;
        }
        self.append()
    }

    /// Appends what waits, and makes it durable. A full disk is waited for: the sources wait too.
    fn append(&mut self) -> Result<(), LogError> {
        self.intake.batcher.flush()?;
        let batches = std::mem::take(&mut self.intake.batcher.outlet_mut().0);
        if batches.is_empty() && self.moved.is_empty() {
            return Ok(());
        }
        let positions = std::mem::take(&mut self.moved);
        let append = Append { log_time: self.now, batches, positions };
        with_room(|| self.writer.append(&append))?;
        self.writer.sync()
    }
}

/// Waits for the next thing to do.
async fn wake(
    wait: Duration,
    arrivals: &mut mpsc::Receiver<Arrival>,
    orders: &mut Option<Orders>,
) -> Woken {
    let ordered = async {
        match orders {
            Some(orders) => orders.recv().await,
            None => None,
        }
    };
    tokio::select! {
        biased;
        Some(order) = ordered => Woken::Order(order),
        arrival = tokio::time::timeout(wait, arrivals.recv()) => match arrival {
            Ok(Some(arrival)) => Woken::Arrival(arrival),
            Ok(None) => Woken::Over,
            Err(_) => Woken::Time,
        },
    }
}

/// One input's word goes to its streams.
type LiveIntake = Intake<Collected>;

impl Input {
    /// Number of the input in the log.
    const fn number(&self) -> u32 {
        self.known.id
    }
}
