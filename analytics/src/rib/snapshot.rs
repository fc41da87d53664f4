//! Snapshots: the routes held at a full hour of log time, as rows of `rib`.
//!
//! A shard writes the rows of the prefixes of which it is the writing one. An hour passes when log
//! time reaches it; a jump of a year passes one hour, the last.

use std::collections::HashMap;
use std::sync::Arc;

use schemas::registry::{Registry, Relation};
use schemas::tables::{RibRow, Text};
use schemas::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::{HeldRoute, Rib};
use crate::rows::session_of;

/// Seconds between snapshots.
const SNAPSHOT_SECS: u32 = 3_600;

/// The full hours that log time passes.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Hours {
    last: Option<Timestamp>,
}

impl Hours {
    /// Log time has come to `log_time`: the last full hour that it reached on the way, if any. What the
    /// log said before this moment is what was held then.
    pub fn passed(&mut self, log_time: Timestamp) -> Option<Timestamp> {
        let hour = log_time.window_start(SNAPSHOT_SECS);
        let before = self.last.replace(hour);
        before.filter(|before| *before < hour).map(|_| hour)
    }
}

/// The rows of one snapshot of one shard, by prefix, peer and path identifier.
#[must_use]
pub fn rows(
    rib: &Rib,
    registry: &Registry,
    shard: (u32, u32),
    snapshot_time: Timestamp,
) -> Vec<RibRow> {
    let (partition, partitions) = shard;
    let mut roles: HashMap<usize, Option<Text>> = HashMap::new();
    let mut rows = Vec::new();
    rib.for_each(
        |_| true,
        |route| {
            let domain = registry.domain(&route.peer.routing_domain);
            if domain.writing_shard(&route.prefix, partitions) != partition {
                return;
            }
            let role = roles
                .entry(Arc::as_ptr(route.peer).addr())
                .or_insert_with(|| session_of(registry, route.peer).and_then(|(_, role)| role));
            rows.push(row(&route, registry, role.clone(), snapshot_time));
        },
    );
    rows
}

fn row(
    route: &HeldRoute<'_>,
    registry: &Registry,
    session_role: Option<Text>,
    snapshot_time: Timestamp,
) -> RibRow {
    let touch = registry.touches(&route.peer.routing_domain, &route.prefix).next();
    let owner = touch
        .filter(|touch| touch.relation != Relation::LessSpecific)
        .and_then(|touch| registry.connection(touch.owner.connection));
    let attributes = route.attributes;
    RibRow {
        snapshot_time,
        collector: Arc::clone(&route.peer.collector),
        router: route.peer.router.clone(),
        peer_asn: route.peer.asn,
        peer_ip: route.peer.address,
        session_role,
        rib_view: route.peer.rib_view.as_str(),
        routing_domain: Arc::clone(&route.peer.routing_domain),
        prefix: route.prefix,
        prefix_first: route.prefix.first_octets(),
        prefix_last: route.prefix.last_octets(),
        path_id: route.path_id,
        as_path: attributes.as_path.asns().collect(),
        origin_asn: attributes.as_path.origin(),
        next_hop: attributes.next_hop,
        communities: attributes
            .communities
            .iter()
            .map(|community| community.to_string().into())
            .collect(),
        otc: attributes.otc,
        stale: route.is_stale,
        tenant: owner.map(|connection| connection.tenant.as_str().into()),
        connection: owner.map(|connection| connection.name.as_str().into()),
    }
}
