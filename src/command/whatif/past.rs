//! The past of a lake as a log: the routes held at its start, then `route_updates` and `sessions` in
//! the order in which they were heard, folded by several folds at once.
//!
//! What a lake does not keep is not in it: the attributes that no column has, samples, and which
//! table dump was complete; a dump is taken for complete when something else follows it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use analytics::shard::Shard;
use analytics::sql::Lake;
use futures::StreamExt as _;
use schemas::batch::{Action, Content, Control, EventBatch, MessageEvent, PeerState};
use schemas::bgp::{
    AsPath, Asn, Community, Disposition, Family, PathAttributes, PeerHeader, Prefix, RibView,
};
use schemas::connection::PUBLIC_ROUTING_DOMAIN;
use schemas::tables::Text;
use schemas::time::Timestamp;

use super::compare::{Findings, Told};
use crate::command::span::micros;
use crate::command::table::{Answer, Cells, quoted};

/// What lags behind its arrival by more changed no route.
const BACKFILL_US: i64 = 86_400_000_000;
/// What both kinds of rows tell of a route, in the order in which it is read.
const ROUTE: &str = "collector, router, peer_ip, peer_asn, rib_view, prefix, path_id, next_hop, \
                     array_to_string(communities, ' ') as communities, otc";

/// One fold of the past.
pub(super) struct Fold {
    shard: Shard,
    pub(super) findings: Findings,
}

impl Fold {
    /// A fold that begins with a version of the registry and its settings.
    pub(super) fn begin(mut shard: Shard, version: Control, from: Timestamp) -> Self {
        let mut batch = EventBatch::starting(0, 0, false);
        batch.controls.push(version);
        batch.append(from, Content::Control(0));
        shard.apply(&batch);
        Self { shard, findings: Findings::default() }
    }

    fn apply(&mut self, batch: &EventBatch) {
        self.shard.apply(batch);
        for transition in self.shard.transitions.drain(..) {
            self.findings.take(Told::of(&transition));
        }
        self.shard.rows = analytics::rows::Rows::default();
    }
}

/// How much was folded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Folded {
    /// Routes held at the start.
    pub(super) held: u64,
    /// Updates and session changes since.
    pub(super) said: u64,
}

/// Folds the past from a moment on.
///
/// # Errors
/// A lake that cannot be read.
pub(super) async fn fold(
    lake: &Lake,
    from: Timestamp,
    folds: &mut [Fold],
) -> anyhow::Result<Folded> {
    let mut past = Past { reached: from, ..Past::default() };
    let held = format!(
        "select {} as heard, {} as event, 'held' as kind, {ROUTE}, \
         array_to_string(as_path, ' ') as path, 'announce' as word, true as is_snapshot, 'rib' as source, \
         0 as source_offset, null as reason, routing_domain from rib_at({}) \
         order by collector, router, peer_ip, peer_asn, rib_view, prefix, path_id",
        from.micros(),
        from.micros(),
        quoted(&from.to_string())
    );
    let held = past.read(lake, &held, folds).await?;
    let time =
        |column: &str| format!("cast({} as timestamp) < {column}", quoted(&from.to_string()));
    let heard = "coalesce(received_time, event_time)";
    // Without a route that is held the past begins with this lake: with its first moment.
    let after = |column: &str| if held == 0 { "true".to_owned() } else { time(column) };
    let said = format!(
        "select * from (select {} as heard, {} as event, 'route' as kind, {ROUTE}, \
         as_path_text as path, action as word, is_snapshot, source, source_offset, \
         null as reason, null as routing_domain from route_updates where {} and {} >= {} and {} - {} <= {BACKFILL_US} \
         union all select {}, {}, 'session', collector, router, peer_ip, peer_asn, rib_view, \
         null, null, null, null, null, null, state, false, source, source_offset, reason, null \
         from sessions where {} and {} >= {}) \
         order by heard, is_snapshot desc, source, source_offset, kind, word desc",
        micros(heard),
        micros("event_time"),
        after(heard),
        micros(heard),
        from.micros(),
        micros(heard),
        micros("event_time"),
        micros("time"),
        micros("time"),
        after("time"),
        micros("time"),
        from.micros(),
    );
    let said = past.read(lake, &said, folds).await?;
    Ok(Folded { held, said })
}

#[derive(Default)]
struct Past {
    batch: EventBatch,
    peers: BTreeMap<[String; 6], u32>,
    sources: BTreeMap<String, u32>,
    /// Collectors whose table dump is being read.
    dumping: BTreeSet<String>,
    reached: Timestamp,
}

impl Past {
    /// Reads rows in their order, a batch at a time; how many there were.
    async fn read(&mut self, lake: &Lake, sql: &str, folds: &mut [Fold]) -> anyhow::Result<u64> {
        let mut stream = lake.query(sql).await?.execute_stream().await?;
        let mut rows = 0;
        while let Some(batch) = stream.next().await {
            let answer = Answer::of_batches(&[batch?])?;
            for row in answer.iter() {
                self.row(row);
                rows += 1;
            }
            self.hand_over(folds);
        }
        self.dumped();
        self.hand_over(folds);
        Ok(rows)
    }

    fn hand_over(&mut self, folds: &mut [Fold]) {
        let next = EventBatch::starting(0, self.batch.end_offset(), false);
        let batch = std::mem::replace(&mut self.batch, next);
        self.peers.clear();
        self.sources.clear();
        folds.iter_mut().for_each(|fold| fold.apply(&batch));
    }

    fn control(&mut self, control: Control) {
        let index = u32::try_from(self.batch.controls.len()).unwrap_or(u32::MAX);
        self.batch.controls.push(control);
        self.batch.append(self.reached, Content::Control(index));
    }

    /// The table dumps that were being read are over.
    fn dumped(&mut self) {
        for collector in std::mem::take(&mut self.dumping) {
            let event_time = self.reached;
            self.control(Control::EndOfRib { collector: collector.into(), event_time });
        }
    }

    fn row(&mut self, row: Cells<'_>) -> Option<()> {
        let (heard, event_time) = (row.time(0)?, row.time(1)?);
        let is_dump = row.text(15) == "true";
        if !is_dump {
            self.dumped();
        }
        if heard.window_start(60) > self.reached.window_start(60) {
            self.reached = heard;
            self.control(Control::Tick { inputs: Vec::new(), until: heard });
        }
        self.reached = self.reached.max(heard);
        let peer = self.peer(row)?;
        let source = self.source(row.text(16));
        let source_offset = row.text(17).parse().ok()?;
        if row.text(2) == "session" {
            let state = match row.text(14) {
                "up" => PeerState::Up,
                "down" => PeerState::Down,
                "stale" => PeerState::Stale,
                "end_of_rib" if row.text(18) == "ipv6" => PeerState::EndOfRib(Family::Ipv6),
                "end_of_rib" => PeerState::EndOfRib(Family::Ipv4),
                _ => return None,
            };
            self.control(Control::Peer {
                peer,
                state,
                event_time,
                source,
                source_offset,
                local_ip: None,
                reason: None,
                prefixes_accepted: None,
            });
            return Some(());
        }
        if is_dump {
            self.dumping.insert(row.text(3).to_owned());
        }
        let prefix: Prefix = row.text(8).parse().ok()?;
        let path_id = row.text(9).parse().ok();
        let action = if row.text(14) == "announce" { Action::Announce } else { Action::Withdraw };
        let attributes = (action == Action::Announce).then(|| {
            let index = u32::try_from(self.batch.attributes.len()).unwrap_or(u32::MAX);
            self.batch.attributes.push(Arc::new(attributes(row)));
            index
        });
        let message = self.batch.messages.push(MessageEvent {
            event_time,
            router_time: None,
            peer,
            source,
            source_offset,
            attributes,
            disposition: Disposition::Accepted,
            is_snapshot: is_dump,
        });
        self.batch.append_routes(self.reached, message, true, |routes| {
            routes.action.push(action);
            routes.prefix.push(prefix);
            routes.path_id.push(path_id);
        });
        Some(())
    }

    fn peer(&mut self, row: Cells<'_>) -> Option<u32> {
        let name = [3, 4, 5, 6, 7, 19].map(|column| row.text(column).to_owned());
        if let Some(index) = self.peers.get(&name) {
            return Some(*index);
        }
        let [collector, router, address, asn, view, domain] = &name;
        let domain = if domain.is_empty() { PUBLIC_ROUTING_DOMAIN } else { domain };
        let header = PeerHeader {
            router: (!router.is_empty()).then(|| router.as_str().into()),
            rib_view: rib_view(view)?,
            routing_domain: domain.into(),
            ..PeerHeader::public(
                collector.as_str().into(),
                address.parse::<IpAddr>().ok()?,
                Asn(asn.parse().ok()?),
            )
        };
        let index = u32::try_from(self.batch.peers.len()).unwrap_or(u32::MAX);
        self.batch.peers.push(Arc::new(header));
        self.peers.insert(name, index);
        Some(index)
    }

    fn source(&mut self, name: &str) -> u32 {
        if let Some(index) = self.sources.get(name) {
            return *index;
        }
        let index = u32::try_from(self.batch.sources.len()).unwrap_or(u32::MAX);
        self.batch.sources.push(Text::from(name));
        self.sources.insert(name.to_owned(), index);
        index
    }
}

fn rib_view(word: &str) -> Option<RibView> {
    use RibView::{AdjRibInPost, AdjRibInPre, AdjRibOutPost, AdjRibOutPre, LocRib};
    let views = [AdjRibInPre, AdjRibInPost, AdjRibOutPre, AdjRibOutPost, LocRib];
    views.into_iter().find(|view| view.as_str() == word)
}

fn attributes(row: Cells<'_>) -> PathAttributes {
    PathAttributes {
        as_path: AsPath::of_text(row.text(13)),
        next_hop: row.text(10).parse().ok(),
        communities: row.text(11).split(' ').filter_map(community).collect(),
        otc: row.text(12).parse().ok().map(Asn),
        ..PathAttributes::default()
    }
}

/// A standard or a large community; extended ones say nothing to a detector.
fn community(text: &str) -> Option<Community> {
    let numbers: Vec<u32> =
        text.split(':').map(|number| number.parse().ok()).collect::<Option<_>>()?;
    match numbers.as_slice() {
        [high @ ..=0xffff, low @ ..=0xffff] => Some(Community::Standard((high << 16) | low)),
        [global, first, second] => Some(Community::Large(*global, *first, *second)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_lake_are_those_of_the_log_again() {
        for community_text in ["65535:666", "64500:1:2"] {
            assert_eq!(community(community_text).unwrap().to_string(), community_text);
        }
        assert_eq!(
            [community("ext:0002"), community(""), community("65536:1")],
            [None, None, None]
        );
        for view in ["adj_rib_in_pre", "adj_rib_out_post", "loc_rib"] {
            assert_eq!(rib_view(view).unwrap().as_str(), view);
        }
    }
}
