//! Session changes: a control record in, what a fold and a row of `sessions` make of it out.

use std::net::IpAddr;
use std::sync::Arc;

use schemas::batch::{Control, EventBatch, PeerState};
use schemas::bgp::PeerHeader;
use schemas::registry::Registry;
use schemas::tables::{SessionRow, Text};
use schemas::time::Timestamp;

use crate::rows;

/// A session change as a control record tells it.
pub(super) struct PeerChange<'a> {
    pub(super) header: &'a Arc<PeerHeader>,
    pub(super) state: PeerState,
    pub(super) time: Timestamp,
    pub(super) source: &'a Text,
    pub(super) source_offset: u64,
    pub(super) local_ip: Option<IpAddr>,
    pub(super) reason: Option<&'a Text>,
    pub(super) prefixes_accepted: Option<u64>,
}

impl<'a> PeerChange<'a> {
    pub(super) fn of(control: &'a Control, batch: &'a EventBatch) -> Option<Self> {
        let Control::Peer {
            peer,
            state,
            event_time,
            source,
            source_offset,
            local_ip,
            reason,
            prefixes_accepted,
        } = control
        else {
            return None;
        };
        Some(Self {
            header: batch.peers.get(*peer as usize)?,
            state: *state,
            time: *event_time,
            source: batch.sources.get(*source as usize)?,
            source_offset: *source_offset,
            local_ip: *local_ip,
            reason: reason.as_ref(),
            prefixes_accepted: *prefixes_accepted,
        })
    }
}

pub(super) fn session_row(told: &PeerChange<'_>, registry: &Registry) -> SessionRow {
    let session = rows::session_of(registry, told.header);
    let connection = session.as_ref().map(|(connection, _)| *connection);
    SessionRow {
        time: told.time,
        source: Arc::clone(told.source),
        source_offset: told.source_offset,
        collector: Arc::clone(&told.header.collector),
        router: told.header.router.clone(),
        rib_view: told.header.rib_view.as_str(),
        local_ip: told.local_ip,
        peer_ip: told.header.address,
        peer_asn: told.header.asn,
        tenant: connection.map(|connection| connection.tenant.as_str().into()),
        connection: connection.map(|connection| connection.name.as_str().into()),
        role: session.and_then(|(_, role)| role),
        state: told.state.as_str(),
        reason: told.reason.cloned(),
        prefixes_accepted: told.prefixes_accepted,
        prefixes_max: None,
        up_since: None,
    }
}
