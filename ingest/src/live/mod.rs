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
mod progress;
mod settings;
mod stream;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use schemas::batch::{Control, EventBatch};
use schemas::log::{Append, LogError, Position, Publisher};
use schemas::registry::Registry;
use schemas::tables::Text;
use schemas::time::{MICROS_PER_SEC, Timestamp};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use crate::batcher::{Batcher, Outlet};
use crate::intake::Intake;
use crate::log::embedded::{EmbeddedWriter, Recovered};
use crate::session::interest::Keep;
use crate::source::counter::Counter;
use crate::source::live::Arrival;

use inputs::{Input, Inputs};
pub use progress::InputCounts;
pub use settings::{CollectorOf, InputReport, InputSettings, positions_of};
pub use stream::{FileOptions, Format};

/// Bytes of arrivals taken into one append at most.
const ROUND_BYTES_MAX: usize = 4 << 20;
/// How long a full disk is waited for before the next try.
const DISK_RETRY: Duration = Duration::from_secs(1);
/// Key of the registry among the positions: its version and its hash.
const REGISTRY_KEY: &str = "registry";

/// Settings of a running intake.
pub struct LiveOptions {
    /// What is ours.
    pub registry: Arc<Registry>,
    /// Settings of the folds as JSON: with the registry they are a version.
    pub settings: Text,
    /// Which routes are kept.
    pub keep: Keep,
    /// The inputs, by their number among the arrivals.
    pub inputs: Vec<InputSettings>,
    /// Seconds of log time after which what was told is to be in the lake.
    pub commit_secs: u32,
    /// Whether the inputs end for good when they end: then everything in them has passed.
    pub is_final: bool,
    /// An input without progress for this long is passed over: `[latency] progress_timeout_secs`.
    pub progress_timeout_secs: u32,
    /// Where the second of log time of the last append is noted, for whoever asks if we live.
    pub heartbeat: Arc<Counter>,
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
pub struct Live<C> {
    clock: C,
    intake: Intake<Collected>,
    inputs: Inputs,
    writer: EmbeddedWriter,
    commit_secs: u32,
    is_final: bool,
    progress_timeout_secs: i64,
    heartbeat: Arc<Counter>,
    now: Timestamp,
    /// Second of the last tick.
    second: i64,
    /// Log time of the last commit record.
    committed: Timestamp,
    /// Positions that moved since the last append.
    moved: Vec<(Text, Position)>,
}

impl<C: Fn() -> Timestamp> Live<C> {
    /// An intake that goes on where the log ends. What the log holds of routers that were connected
    /// is stale from here on, and a changed registry is a new version.
    ///
    /// # Errors
    /// [`LogError`] if the log does not take it.
    pub fn start(
        options: LiveOptions,
        writer: EmbeddedWriter,
        recovered: &Recovered,
        clock: C,
    ) -> Result<Self, LogError> {
        let LiveOptions { registry, settings, keep, inputs, .. } = options;
        let (commit_secs, is_final) = (options.commit_secs, options.is_final);
        let now = clock().max(recovered.log_time.unwrap_or(Timestamp::MIN));
        let (registry, is_new) = versioned(&registry, &settings, recovered);
        let batcher = Batcher::new(&recovered.next_offsets, true, Collected::default());
        let mut live = Self {
            clock,
            intake: Intake::new(batcher, Arc::clone(&registry), keep),
            inputs: Inputs::new(inputs, &recovered.positions),
            writer,
            commit_secs: commit_secs.max(1),
            is_final,
            progress_timeout_secs: options.progress_timeout_secs.into(),
            heartbeat: options.heartbeat,
            now,
            second: now.secs(),
            committed: now,
            moved: Vec::new(),
        };
        if is_new {
            let version = &registry;
            live.intake.batcher.broadcast(now, |_| Control::Registry {
                registry: Arc::clone(version),
                settings: Some(Text::clone(&settings)),
            })?;
            let position = Position {
                next_offset: registry.version.into(),
                session: hash(&registry, &settings),
                ..Position::default()
            };
            live.moved.push((REGISTRY_KEY.into(), position));
        }
        if recovered.log_time.is_some() {
            live.inputs.stale(now, &mut live.intake)?;
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
            let first =
                runtime.block_on(async { tokio::time::timeout(wait, arrivals.recv()).await });
            self.now = self.now.max((self.clock)());
            match first {
                Ok(None) => break,
                Ok(Some(first)) => self.round(first, &mut arrivals)?,
                Err(_) => {}
            }
            self.tick()?;
            self.append()?;
            self.inputs.answer();
            self.heartbeat.set(self.now.secs().unsigned_abs());
        }
        self.now = self.now.max((self.clock)());
        self.inputs.stop(self.now, &mut self.intake, &mut self.moved)?;
        if self.is_final {
            self.inputs.end();
        }
        self.pass()?;
        self.commit()?;
        Ok(self.inputs.reports())
    }

    /// Takes an arrival and what waits behind it.
    fn round(
        &mut self,
        first: Arrival,
        arrivals: &mut mpsc::Receiver<Arrival>,
    ) -> Result<(), LogError> {
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(arrival) = next {
            bytes += self.inputs.take(arrival, self.now, &mut self.intake, &mut self.moved)?;
            next = if bytes < ROUND_BYTES_MAX { arrivals.try_recv().ok() } else { None };
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
        if self.now.secs_since(self.committed) >= i64::from(self.commit_secs) {
            self.commit()?;
        }
        Ok(())
    }

    fn pass(&mut self) -> Result<(), LogError> {
        let until = Timestamp(self.now.secs() * MICROS_PER_SEC);
        let timeout_secs = self.progress_timeout_secs;
        for (until, inputs) in self.inputs.progress(until, timeout_secs, &mut self.intake)? {
            let inputs = &inputs;
            self.intake
                .batcher
                .broadcast(self.now, |_| Control::Tick { inputs: inputs.clone(), until })?;
        }
        Ok(())
    }

    /// What was told so far is to be in the lake: accounts, and the record that closes files, which
    /// is the last one of its batch.
    fn commit(&mut self) -> Result<(), LogError> {
        self.committed = self.now;
        self.inputs.accounts(self.now, &mut self.intake)?;
        self.intake.batcher.broadcast(self.now, |_| Control::Commit)?;
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
        let mut tries: u64 = 0;
        loop {
            match self.writer.append(&append) {
                Ok(()) => break,
                Err(LogError::Disk { path, error }) if is_passing(&error) => {
                    if tries.is_multiple_of(10) {
                        let path = path.display();
                        tracing::error!(%path, %error, "log not written, sources wait");
                    }
                    tries += 1;
                    std::thread::sleep(DISK_RETRY);
                }
                Err(error) => return Err(error),
            }
        }
        self.writer.sync()
    }
}

/// Whether an error of the disk may go away when somebody makes room.
fn is_passing(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

fn hash(registry: &Registry, settings: &str) -> Vec<u8> {
    let contents = serde_json::json!({
        "settings": settings,
        "connections": registry.connections(),
        "watched": registry.watched(),
    });
    Sha256::digest(contents.to_string().as_bytes()).to_vec()
}

/// The registry under the version that the log gives it, and whether that is a new one.
fn versioned(
    registry: &Arc<Registry>,
    settings: &str,
    recovered: &Recovered,
) -> (Arc<Registry>, bool) {
    let known = recovered.positions.get(REGISTRY_KEY);
    let last = known.map_or(0, |position| position.next_offset);
    let is_new = known.is_none_or(|position| position.session != hash(registry, settings));
    let version = u32::try_from(last + u64::from(is_new)).unwrap_or(u32::MAX);
    let mut registry = Registry::clone(registry);
    registry.version = version;
    (Arc::new(registry), is_new)
}

/// One input's word goes to its streams.
type LiveIntake = Intake<Collected>;

impl Input {
    /// Number of the input in the log.
    const fn number(&self) -> u32 {
        self.id
    }
}
