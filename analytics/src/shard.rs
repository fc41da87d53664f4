//! The spine: the fold of one partition. Batches in, in order; rows, transitions and marks out.
//!
//! This is the one file that calls the routing state, the detectors and the windows, and it calls
//! them in the order of the log. It reads no clock and does no IO, so the same partition gives the
//! same rows, always.

mod peer;

use std::collections::BTreeMap;
use std::sync::Arc;

use schemas::batch::{Account, Action, Content, Control, EventBatch, PeerState};
use schemas::bgp::Prefix;
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
use crate::rib::{Fallen, Rib, RouteChange, snapshot};
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
            config_hash: Text::default(),
            backfill_after_secs: i64::MAX,
        }
    }

    /// Folds one batch.
    pub fn apply(&mut self, batch: &EventBatch) {
        self.is_live = batch.is_live;
        self.windows.begin();
        self.route_rows.begin();
        for run in batch.runs() {
            self.reached = self.reached.max(run.log_time);
            self.pass(run.log_time);
            match run.first {
                Content::Route(first) => {
                    for row in first..first.saturating_add(run.count) {
                        self.route(row, batch, run.log_time);
                    }
                }
                Content::Sample(first) => {
                    self.windows.add(batch, first, run.count);
                }
                Content::Control(first) => {
                    let controls = batch.controls.iter().skip(first as usize);
                    for control in controls.take(run.count as usize) {
                        self.control(control, batch, run.log_time);
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
        self.detector.advance(
            log_time,
            &registry,
            &self.reference,
            &self.rib,
            &mut self.transitions,
            &mut self.rows.visibility,
        );
        self.note(told);
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

    /// Whether something live is so old that it changes nothing that is judged (archives that are
    /// read into a running service).
    fn is_backfill(&self, batch: &EventBatch, time: Timestamp, log_time: Timestamp) -> bool {
        batch.is_live && log_time.secs_since(time) > self.backfill_after_secs
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
            Control::Commit => self.tell_limits(),
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

    /// A version of the registry and of the settings begins. Windows close under the one before: they
    /// know connections by its numbers.
    fn enter(&mut self, registry: &Arc<Registry>, settings: Option<&str>, log_time: Timestamp) {
        let settings = settings.and_then(|text| serde_json::from_str::<FoldSettings>(text).ok());
        let mut latency = self.windows.options().clone();
        if let Some(settings) = settings {
            self.config_hash = settings.config_hash.into();
            self.backfill_after_secs = settings.backfill_after_secs.into();
            self.score_min = settings.detect.score_min();
            self.detector.configure(settings.detect);
            latency = settings.latency;
        }
        self.usual.configure(&latency);
        self.windows.restart(latency, &mut self.closed);
        self.write_windows(log_time);
        self.geo = self.reference.geo.enrich(registry);
        self.tell_damaged(log_time);
        let before = self.registry.replace(Arc::clone(registry));
        self.texts = registry.connections().iter().map(ConnectionTexts::of).collect();
        let (partition, partitions) = (self.partition, self.partitions);
        self.join.begin(
            (before.as_deref(), registry),
            |owner| registry.shard(owner.connection, partitions) == partition,
            (&self.rib, &self.reference),
            self.score_min,
            log_time,
        );
        if let Some(before) = before.filter(|before| before.connections() != registry.connections())
        {
            let world = (&*self.reference, &self.rib);
            let told = self.transitions.len();
            let transitions = &mut self.transitions;
            let again = self.detector.enter(&before, registry, world, log_time, transitions);
            self.note(told);
            self.judge_again(&again, registry, log_time);
        }
        if self.partition == 0 {
            self.rows.connections.extend(rows::connections(registry, log_time));
        }
        self.detector.begin(log_time);
    }

    /// Judges what is held of some prefixes as if it were told now.
    fn judge_again(
        &mut self,
        prefixes: &BTreeMap<Prefix, bool>,
        registry: &Registry,
        log_time: Timestamp,
    ) {
        let mut held = Vec::new();
        if prefixes.is_empty() {
            return;
        }
        self.rib.for_each(
            |prefix| prefixes.contains_key(prefix),
            |route| {
                held.push((
                    Arc::clone(route.peer),
                    route.prefix,
                    route.path_id,
                    Arc::clone(route.attributes),
                ));
            },
        );
        let source: Text = format!("registry version {}", registry.version).into();
        for (header, prefix, path_id, attributes) in held {
            let route =
                RouteChange { before: Some(Arc::clone(&attributes)), after: Some(attributes) };
            let change = Change {
                log_time,
                time: log_time,
                peer: self.rib.peer_id(&header),
                header: &header,
                prefix,
                path_id,
                route: &route,
                touches: &[],
                writes: prefixes.get(&prefix).copied().unwrap_or_default(),
                is_snapshot: false,
                source: &source,
                source_offset: 0,
            };
            self.judge(&change, registry);
        }
    }

    /// Prefixes that a damaged database could not place, as a row of `ledger`.
    fn tell_damaged(&mut self, log_time: Timestamp) {
        if let Some((count, reason)) = self.geo.damaged.as_ref().filter(|_| self.partition == 0) {
            self.rows.ledger.push(LedgerRow {
                reasons: vec![format!("damaged={count}").into(), reason.as_str().into()],
                ..rows::ledger(&"geoip".into(), &Account::default(), log_time)
            });
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
            let is_backfill = self.is_live
                && self.reached.secs_since(window.window.start) > self.backfill_after_secs;
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
