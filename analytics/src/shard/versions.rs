//! Versions: other settings, another registry, other reference data count from a record on; what is
//! held is seen in their light.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemas::batch::Account;
use schemas::bgp::{AsPath, PathAttributes, PeerHeader, Prefix, PrefixMap};
use schemas::reference::{ReferenceKind, ReferenceSet};
use schemas::registry::Registry;
use schemas::tables::{LedgerRow, Text};
use schemas::time::Timestamp;

use super::{FoldSettings, Shard};
use crate::detect::Change;
use crate::reference::Reference;
use crate::rib::{HeldRoute, RouteChange};
use crate::rows::{self, ConnectionTexts};

/// A route that is held, taken out of the routing state.
struct Held {
    header: Arc<PeerHeader>,
    prefix: Prefix,
    path_id: Option<u32>,
    attributes: Arc<PathAttributes>,
}

impl Held {
    fn of(route: &HeldRoute<'_>) -> Self {
        Self {
            header: Arc::clone(route.peer),
            prefix: route.prefix,
            path_id: route.path_id,
            attributes: Arc::clone(route.attributes),
        }
    }
}

impl Shard {
    /// A version of the registry and of the settings begins. Windows close under the one before: they
    /// know connections by its numbers.
    pub(super) fn enter(
        &mut self,
        registry: &Arc<Registry>,
        settings: Option<&str>,
        log_time: Timestamp,
    ) {
        let settings = settings.and_then(|text| serde_json::from_str::<FoldSettings>(text).ok());
        let known = self.registry.as_ref().filter(|known| known.version == registry.version);
        if settings.is_none() && known.is_some() {
            // A log that goes on from the end of another one, under the same version.
            return;
        }
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
        let outdated = self.join.begin(
            (before.as_deref(), registry),
            |owner| registry.shard(owner.connection, partitions) == partition,
            (&self.rib, &self.reference),
            self.score_min,
            log_time,
        );
        self.transitions.extend(outdated);
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
        self.watch_roas(log_time);
    }

    /// Judges what is held of some prefixes as if it were told now.
    fn judge_again(
        &mut self,
        prefixes: &BTreeMap<Prefix, bool>,
        registry: &Registry,
        log_time: Timestamp,
    ) {
        if prefixes.is_empty() {
            return;
        }
        let mut held = Vec::new();
        self.rib
            .for_each(|prefix| prefixes.contains_key(prefix), |route| held.push(Held::of(&route)));
        let source: Text = format!("registry version {}", registry.version).into();
        for held in held {
            let writes = prefixes.get(&held.prefix).copied().unwrap_or_default();
            self.judge_held(&held, (&source, writes), registry, log_time);
        }
    }

    /// Judges a route that is held as if it were told now, by something else than a peer.
    fn judge_held(
        &mut self,
        held: &Held,
        (source, writes): (&Text, bool),
        registry: &Registry,
        log_time: Timestamp,
    ) {
        let attributes = || Some(Arc::clone(&held.attributes));
        let change = Change {
            log_time,
            time: log_time,
            peer: self.rib.peer_id(&held.header),
            header: &held.header,
            prefix: held.prefix,
            path_id: held.path_id,
            route: &RouteChange { before: attributes(), after: attributes() },
            touches: &[],
            writes,
            is_snapshot: false,
            source,
            source_offset: 0,
        };
        self.judge(&change, registry);
    }

    /// Reference data of which a record of the next batch says that they count: whoever runs the fold
    /// has read them, for a fold does no IO.
    pub fn offer(&mut self, reference: Arc<Reference>) {
        self.offered.push(reference);
    }

    /// Other reference data count from here on: for all that is judged later, for what is known of
    /// places, and for routes that are held and whose validity turns.
    pub(super) fn enter_reference(&mut self, set: &ReferenceSet, log_time: Timestamp) {
        let Some(at) = self.offered.iter().position(|offered| offered.set == *set) else {
            return;
        };
        let after = self.offered.remove(at);
        let before = std::mem::replace(&mut self.reference, after);
        let Some(registry) = self.registry.clone() else { return };
        let is_elsewhere = [ReferenceKind::Edges, ReferenceKind::Geoip];
        if is_elsewhere.into_iter().any(|kind| self.changes(&before, kind)) {
            self.geo = self.reference.geo.enrich(&registry);
            self.tell_damaged(log_time);
        }
        let told = self.transitions.len();
        let (partition, partitions) = (self.partition, self.partitions);
        self.detector.enter_reference(
            &before.vrps,
            &registry,
            (&self.reference, &self.rib),
            &|owner| registry.shard(owner.connection, partitions) == partition,
            log_time,
            &mut self.transitions,
        );
        self.note(told);
        let differing: Vec<Prefix> = before.vrps.differing(&self.reference.vrps).collect();
        self.judge_validity_again(differing, Some(&before), log_time);
    }

    /// Whether the contents of a kind are others than before.
    fn changes(&self, before: &Reference, kind: ReferenceKind) -> bool {
        let of = |reference: &Reference| -> Vec<Text> {
            let versions = reference.set.versions.iter().filter(|version| version.kind == kind);
            versions.map(|version| Text::clone(&version.hash)).collect()
        };
        of(before) != of(&self.reference)
    }

    /// A version of the registry has begun: its ROAs are looked at.
    fn watch_roas(&mut self, log_time: Timestamp) {
        let Some(registry) = self.registry.clone() else { return };
        let (partition, partitions) = (self.partition, self.partitions);
        let told = self.transitions.len();
        self.detector.watch_roas(
            &registry,
            (&self.reference, &self.rib),
            &|owner| registry.shard(owner.connection, partitions) == partition,
            log_time,
            &mut self.transitions,
        );
        self.note(told);
    }

    /// VRPs of these prefixes are others than before, or have expired: routes that are held below them
    /// are judged again, if their validity turned.
    pub(super) fn judge_validity_again(
        &mut self,
        prefixes: Vec<Prefix>,
        before: Option<&Reference>,
        log_time: Timestamp,
    ) {
        let Some(registry) = self.registry.clone().filter(|_| !prefixes.is_empty()) else { return };
        let changed: PrefixMap<()> = prefixes.into_iter().map(|prefix| (prefix, ())).collect();
        let reference = Arc::clone(&self.reference);
        let turned = |prefix: &Prefix, path: &AsPath| {
            let state = |reference: &Reference| reference.origin_validity(prefix, path, log_time);
            before.is_none_or(|before| state(before) != state(&reference))
        };
        let mut held = Vec::new();
        self.rib.for_each(
            |prefix| changed.covering(prefix).next().is_some(),
            |route| {
                if turned(&route.prefix, &route.attributes.as_path) {
                    held.push(Held::of(&route));
                }
            },
        );
        let source = reference.hash_of(ReferenceKind::Vrps);
        let name = source.and_then(|hash| hash.get(..12)).unwrap_or("none");
        let source: Text = format!("vrps {name}").into();
        for held in held {
            let writes = self.detector.tells_leaks(held.prefix);
            self.judge_held(&held, (&source, writes), &registry, log_time);
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
}

#[cfg(test)]
mod tests;
