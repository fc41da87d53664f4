//! The spine: the fold of one partition. Batches in, in order; rows, transitions and marks out.
//!
//! This is the one file that calls the routing state, the detectors and the windows, and it calls
//! them in the order of the log. It reads no clock and does no IO, so the same partition gives the
//! same rows, always.

mod peer;
mod state;
mod versions;

use std::sync::Arc;

use schemas::batch::{Account, Action, Content, Control, EventBatch, PeerState};
use schemas::finding::Transition;
use schemas::registry::{Owner, Registry, Touch};
use schemas::tables::{FeedGapRow, LedgerRow, Text};
use schemas::time::Timestamp;

use crate::correlate::Summary;
use crate::detect::{Change, DetectOptions, Detector};
use crate::join::tally::Tally;
use crate::join::{Join, Known};
use crate::latency::rollup;
use crate::latency::window::{LatencyOptions, LatencyWindow, Windows};
use crate::reference::{GeoTable, Reference};
use crate::rib::{Fallen, Rib, snapshot};
use crate::route_rows::{RouteRows, Told};
use crate::rows::{self, ConnectionTexts, Rows};
use crate::usual::Usual;
use peer::{PeerChange, session_row};

/// Settings of a fold.
#[derive(Clone, Debug, Default)]
pub struct FoldOptions {
    /// `[detect]`
    pub detect: DetectOptions,
    /// `[latency]`
    pub latency: LatencyOptions,
}

/// Settings as they lie in the log beside a version of the registry.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct FoldSettings {
    /// Hash of everything that rows depend on.
    pub config_hash: String,
    /// `[detect]`
    pub detect: DetectOptions,
    /// `[latency]`
    pub latency: LatencyOptions,
    /// Of a live log: what is further behind log time gives rows only.
    pub backfill_after_secs: u32,
}

/// The fold of one partition.
pub struct Shard {
    partition: u32,
    partitions: u32,
    registry: Option<Arc<Registry>>,
    /// What rows say of each connection.
    texts: Vec<ConnectionTexts>,
    reference: Arc<Reference>,
    /// Reference data that a record of the log is about to name.
    offered: Vec<Arc<Reference>>,
    rib: Rib,
    route_rows: RouteRows,
    hours: snapshot::Hours,
    detector: Detector,
    join: Join,
    windows: Windows,
    usual: Usual,
    geo: GeoTable,
    /// Whether the log is live, by its last batch.
    is_live: bool,
    closed: Vec<LatencyWindow>,
    touches: Vec<Touch>,
    /// Rows that wait for the lake.
    pub rows: Rows,
    /// Transitions that wait for `correlate`, in the order of the log.
    pub transitions: Vec<Transition>,
    /// What waits for `correlate` about minutes.
    tallies: Vec<Tally>,
    /// Least score that opens a finding.
    score_min: f64,
    /// Log time that this fold has reached.
    pub reached: Timestamp,
    /// Log time to which timers have fired.
    passed: Timestamp,
    /// Where the log before this one ended: older data give rows only.
    floor: Timestamp,
    /// Hash of the settings in force.
    pub config_hash: Text,
    backfill_after_secs: i64,
}

impl Shard {
    /// A fold at the start of its partition.
    #[must_use]
    pub fn new(
        partition: u32,
        partitions: u32,
        options: &FoldOptions,
        reference: Arc<Reference>,
    ) -> Self {
        Self {
            partition,
            partitions,
            registry: None,
            texts: Vec::new(),
            reference,
            offered: Vec::new(),
            rib: Rib::default(),
            route_rows: RouteRows::default(),
            hours: snapshot::Hours::default(),
            detector: Detector::new(options.detect.clone(), partition == 0),
            join: Join::default(),
            tallies: Vec::new(),
            score_min: options.detect.score_min(),
            windows: Windows::new(options.latency.clone()),
            usual: Usual::new(&options.latency),
            geo: GeoTable::default(),
            is_live: false,
            closed: Vec::new(),
            touches: Vec::new(),
            rows: Rows::default(),
            transitions: Vec::new(),
            reached: Timestamp::MIN,
            passed: Timestamp::MIN,
            floor: Timestamp::MIN,
            config_hash: Text::default(),
            backfill_after_secs: i64::MAX,
        }
    }

    /// Version of the registry that is in force; 0 before the first one.
    #[must_use]
    pub fn registry_version(&self) -> u32 {
        self.registry.as_ref().map_or(0, |registry| registry.version)
    }

    /// Folds one batch.
    pub fn apply(&mut self, batch: &EventBatch) {
        self.is_live = batch.is_live;
        self.windows.begin();
        self.route_rows.begin();
        for run in batch.runs() {
            let log_time = run.log_time.max(self.floor);
            self.reached = self.reached.max(log_time);
            self.pass(log_time);
            match run.first {
                Content::Route(first) => {
                    for row in first..first.saturating_add(run.count) {
                        self.route(row, batch, log_time);
                    }
                }
                Content::Sample(first) => {
                    self.windows.add(batch, first, run.count);
                }
                Content::Control(first) => {
                    let controls = batch.controls.iter().skip(first as usize);
                    for control in controls.take(run.count as usize) {
                        self.control(control, batch, log_time);
                    }
                }
            }
        }
    }

    /// Log time passes: what is due fires before the record.
    fn pass(&mut self, log_time: Timestamp) {
        if self.passed == log_time {
            return;
        }
        self.passed = log_time;
        let Some(registry) = self.registry.clone() else { return };
        let told = self.transitions.len();
        let over = self.detector.advance(
            log_time,
            &registry,
            &self.reference,
            &self.rib,
            &mut self.transitions,
            &mut self.rows.visibility,
        );
        self.note(told);
        self.judge_validity_again(over, None, log_time);
    }

    /// Where the log before this one ended; the least time if there was none.
    #[must_use]
    pub const fn floor(&self) -> Timestamp {
        self.floor
    }

    /// The log is at its end: closes what is open.
    pub fn finish(&mut self) {
        self.windows.finish(&mut self.closed);
        // Behind all that any shard told, and the same for all of them.
        self.write_windows(Timestamp(i64::MAX - 1));
        self.tell_limits();
    }

    /// What did not fit into what is held, as rows of `ledger`.
    fn tell_limits(&mut self) {
        let late = std::mem::take(&mut self.windows.late);
        let limits = [
            ("latency windows", late, "late"),
            ("latency series", std::mem::take(&mut self.windows.refused), "series_max"),
            ("latency baselines", self.usual.take_refused(), "series_max"),
            ("findings", self.detector.take_refused(), "cases_max"),
            ("latency join", self.join.take_refused(), "bytes_max"),
            ("routing state", std::mem::take(&mut self.rib.refused), "routes_max"),
        ];
        for (source, count, reason) in limits.into_iter().filter(|(_, count, _)| *count > 0) {
            self.rows.ledger.push(LedgerRow {
                late: count,
                reasons: vec![format!("{reason}={count}").into()],
                ..rows::ledger(&source.into(), &Account::default(), self.reached)
            });
        }
    }

    fn route(&mut self, row: u32, batch: &EventBatch, log_time: Timestamp) {
        let Some(registry) = self.registry.clone() else { return };
        let Some(told) = Told::of(row, batch) else { return };
        let Told { route, message, header, source, attributes } = told;
        if route.writes {
            let received_time = batch.is_live.then_some(log_time);
            let row = self.route_rows.row(&told, received_time, &registry, &self.reference);
            self.rows.route_updates.push(row);
        }
        if self.is_backfill(batch, message.event_time, log_time) {
            return;
        }
        let peer = self.rib.peer_id(header);
        let after = match route.action {
            Action::Announce => attributes.cloned(),
            Action::Withdraw => None,
        };
        let changed = self.rib.apply(peer, route.prefix, route.path_id, after);
        self.judge(
            &Change {
                log_time,
                time: message.event_time,
                peer,
                header,
                prefix: route.prefix,
                path_id: route.path_id,
                route: &changed,
                touches: &[],
                writes: route.writes,
                is_snapshot: message.is_snapshot,
                source,
                source_offset: message.source_offset,
            },
            &registry,
        );
    }

    /// Whether something is so old that it changes nothing that is judged: archives that are read into
    /// a running service, or into a lake that knows what came later.
    fn is_backfill(&self, batch: &EventBatch, time: Timestamp, log_time: Timestamp) -> bool {
        time < self.floor || (batch.is_live && log_time.secs_since(time) > self.backfill_after_secs)
    }

    /// Hands a change to the detectors with the registrations that are of this shard.
    fn judge(&mut self, change: &Change<'_>, registry: &Registry) {
        let mut touches = std::mem::take(&mut self.touches);
        touches.clear();
        let domain = &change.header.routing_domain;
        touches.extend(registry.touches(domain, &change.prefix).filter(|touch| {
            registry.shard(touch.owner.connection, self.partitions) == self.partition
        }));
        let change = Change { touches: &touches, ..change.clone() };
        self.join.on_change(&change, registry, &self.reference);
        let told = self.transitions.len();
        self.detector.on_change(
            &change,
            registry,
            &self.reference,
            &self.rib,
            &mut self.transitions,
        );
        self.note(told);
        self.touches = touches;
    }

    /// Detectors have told something: what it costs is put over it.
    fn note(&mut self, first: usize) {
        if let Some(told) = self.transitions.get_mut(first..) {
            self.join.note(told);
        }
    }

    /// What waits for `correlate`.
    pub fn take_summaries(&mut self) -> Vec<Summary> {
        let config_hash = &self.config_hash;
        let transition = |told| Summary::Transition(Box::new(told), Arc::clone(config_hash));
        let transitions = self.transitions.drain(..).map(transition);
        transitions.chain(self.tallies.drain(..).map(Summary::Tally)).collect()
    }

    fn control(&mut self, control: &Control, batch: &EventBatch, log_time: Timestamp) {
        match control {
            Control::Registry { registry, settings } => {
                self.enter(registry, settings.as_deref(), log_time);
            }
            Control::Reference(set) => self.enter_reference(set, log_time),
            Control::Commit { .. } => self.tell_limits(),
            Control::Stale { collector, event_time: _ } => self.rib.stale_all(collector),
            Control::Tick { inputs, until } => {
                self.hourly(log_time);
                self.windows.passed(inputs, *until, log_time, &mut self.closed);
                self.write_windows(log_time);
            }
            Control::EndOfRib { .. } => self.detector.end_of_rib(),
            Control::Peer { .. } => {
                if let Some(told) = PeerChange::of(control, batch) {
                    let is_backfill = self.is_backfill(batch, told.time, log_time);
                    self.peer_change(&told, log_time, is_backfill);
                }
            }
            Control::FeedGap { source, collector, started_at, ended_at, reason, lost } => {
                let Some(source) = batch.sources.get(*source as usize) else { return };
                self.rows.feed_gaps.push(FeedGapRow {
                    started_at: *started_at,
                    ended_at: *ended_at,
                    source: Arc::clone(source),
                    collector: collector.clone(),
                    reason: Arc::clone(reason),
                    lost: *lost,
                });
            }
            Control::Ledger { source, account, event_time } => {
                let Some(source) = batch.sources.get(*source as usize) else { return };
                self.rows.ledger.push(rows::ledger(source, account, *event_time));
            }
        }
    }

    /// A session went down: its routes go with it, as withdrawals that nobody sent.
    fn peer_change(&mut self, told: &PeerChange<'_>, log_time: Timestamp, is_backfill: bool) {
        let Some(registry) = self.registry.clone() else { return };
        if self.partition == 0 {
            self.rows.sessions.push(session_row(told, &registry));
        }
        if is_backfill {
            return;
        }
        let peer = self.rib.peer_id(told.header);
        if let PeerState::Up | PeerState::Down = told.state {
            let is_up = told.state == PeerState::Up;
            self.detector.on_peer(peer, told.header, is_up, log_time, told.time);
        }
        let fallen = match told.state {
            PeerState::Up => return self.rib.up(peer),
            PeerState::Stale => return self.rib.stale(peer),
            PeerState::Other(_) => return,
            PeerState::EndOfRib(family) => self.rib.end_of_rib(peer, family),
            PeerState::Down => self.rib.withdraw_all(peer),
        };
        for Fallen { prefix, path_id, route } in fallen {
            let change = Change {
                log_time,
                time: told.time,
                peer,
                header: told.header,
                prefix,
                path_id,
                route: &route,
                touches: &[],
                writes: false,
                is_snapshot: false,
                source: told.source,
                source_offset: told.source_offset,
            };
            self.judge(&change, &registry);
        }
    }

    /// Writes what is held and forgets what is old, if a full hour has passed.
    fn hourly(&mut self, log_time: Timestamp) {
        let Some(hour) = self.hours.passed(log_time) else { return };
        self.usual.forget(hour);
        let Some(registry) = &self.registry else { return };
        let shard = (self.partition, self.partitions);
        self.rows.rib.extend(snapshot::rows(&self.rib, registry, shard, hour));
    }

    fn write_windows(&mut self, log_time: Timestamp) {
        let Some(registry) = &self.registry else { return };
        for window in self.closed.drain(..) {
            let into = match (window.secs(), window.revision) {
                (rollup::MINUTES_5, _) => &mut self.rows.latency_5m,
                (rollup::HOUR, _) => &mut self.rows.latency_1h,
                (rollup::DAY, _) => &mut self.rows.latency_1d,
                (_, 0) => &mut self.rows.latency,
                (_, _) => &mut self.rows.latency_revisions,
            };
            let start = window.window.start;
            let is_backfill = start < self.floor
                || (self.is_live && self.reached.secs_since(start) > self.backfill_after_secs);
            let expected = self.usual.of(&window, &self.texts, is_backfill);
            let (connection, prefix) = (window.series.connection, window.series.prefix);
            let geo = self.geo.of(connection, prefix);
            if !is_backfill {
                self.join.closed(&window, expected.as_ref());
            }
            let epoch = self.join.epochs.at(&Owner { connection, prefix }, window.window.start);
            let context = rows::Context { geo, expected, epoch };
            into.extend(rows::latency(window, &self.texts, registry, context));
        }
        let known = Known { registry, geo: &self.geo, log_time };
        self.join.settle(&known, &mut self.transitions, &mut self.tallies);
    }
}

#[cfg(test)]
mod tests;
