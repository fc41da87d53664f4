//! The rows of routes: elements with what their messages say of them, texts rendered once a batch.

use std::sync::Arc;

use schemas::batch::{Action, EventBatch, MessageEvent, RouteEvent};
use schemas::bgp::{PathAttributes, PeerHeader};
use schemas::registry::{Registry, Relation};
use schemas::tables::{RouteTexts, RouteUpdateRow, Text};
use schemas::time::Timestamp;

use crate::reference::Reference;
use crate::rows;

/// A route element with what its message says of it.
pub(crate) struct Told<'a> {
    pub(crate) route: RouteEvent,
    pub(crate) message: MessageEvent,
    pub(crate) header: &'a Arc<PeerHeader>,
    pub(crate) source: &'a Text,
    /// What is announced.
    pub(crate) attributes: Option<&'a Arc<PathAttributes>>,
}

impl<'a> Told<'a> {
    pub(crate) fn of(row: u32, batch: &'a EventBatch) -> Option<Self> {
        let route = batch.routes.get(row)?;
        let message = batch.message_of(&route)?;
        let attributes = match route.action {
            Action::Announce => batch.attributes_of(&message),
            Action::Withdraw => None,
        };
        Some(Self {
            route,
            message,
            header: batch.peers.get(message.peer as usize)?,
            source: batch.sources.get(message.source as usize)?,
            attributes,
        })
    }
}

/// Makes `route_updates` rows; remembers what the rows of one batch share.
#[derive(Debug, Default)]
pub(crate) struct RouteRows {
    /// By attribute set of the batch.
    texts: Vec<Option<RouteTexts>>,
    /// By peer of the batch: the role of its session.
    roles: Vec<Option<Option<Text>>>,
}

impl RouteRows {
    /// A batch begins.
    pub(crate) fn begin(&mut self) {
        self.texts.clear();
        self.roles.clear();
    }

    /// The row of an element of the batch under way.
    pub(crate) fn row(
        &mut self,
        told: &Told<'_>,
        received_time: Option<Timestamp>,
        registry: &Registry,
        reference: &Reference,
    ) -> RouteUpdateRow {
        let Told { route, message, header, source, attributes } = told;
        let touch = registry.touches(&header.routing_domain, &route.prefix).next();
        let owner = touch
            .filter(|touch| touch.relation != Relation::LessSpecific)
            .and_then(|touch| registry.connection(touch.owner.connection));
        let role = remembered(&mut self.roles, message.peer, || {
            rows::session_of(registry, header).and_then(|(_, role)| role)
        });
        let texts = attributes.and_then(|attributes| {
            let set = message.attributes?;
            Some(remembered(&mut self.texts, set, || RouteTexts::of(attributes)))
        });
        RouteUpdateRow {
            event_time: message.event_time,
            received_time,
            router_time: message.router_time,
            source: Arc::clone(source),
            source_offset: message.source_offset,
            collector: Arc::clone(&header.collector),
            router: header.router.clone(),
            peer_asn: header.asn,
            peer_ip: header.address,
            session_role: role,
            rib_view: header.rib_view.as_str(),
            is_snapshot: message.is_snapshot,
            action: route.action.as_str(),
            prefix: route.prefix,
            prefix_first: route.prefix.first_octets(),
            prefix_last: route.prefix.last_octets(),
            path_id: route.path_id,
            origin_asn: attributes.and_then(|a| a.as_path.origin()),
            as_path: texts.as_ref().map(|texts| Arc::clone(&texts.as_path)),
            as_path_text: texts.as_ref().map(|texts| Arc::clone(&texts.as_path_text)),
            next_hop: attributes.and_then(|a| a.next_hop),
            med: attributes.and_then(|a| a.med),
            local_pref: attributes.and_then(|a| a.local_pref),
            communities: texts.as_ref().map(|texts| Arc::clone(&texts.communities)),
            otc: attributes.and_then(|a| a.otc),
            rpki_state: attributes
                .and_then(|a| {
                    reference.origin_validity(&route.prefix, &a.as_path, message.event_time)
                })
                .map(|validity| validity.as_str().into()),
            aspa_state: attributes
                .and_then(|a| reference.aspa_state(&a.as_path, header.asn))
                .map(|state| state.as_str().into()),
            disposition: message.disposition.as_str(),
            registered_prefix: touch.map(|touch| touch.owner.prefix),
            relation: touch.map(|touch| touch.relation.as_str()),
            connection: owner.map(|connection| connection.name.as_str().into()),
            tenant: owner.map(|connection| connection.tenant.as_str().into()),
        }
    }
}

/// What was made for an index of the batch, made if it was not.
fn remembered<T: Clone>(known: &mut Vec<Option<T>>, index: u32, make: impl FnOnce() -> T) -> T {
    let index = index as usize;
    if known.len() <= index {
        known.resize(index + 1, None);
    }
    match known.get_mut(index) {
        Some(slot) => slot.get_or_insert_with(make).clone(),
        None => make(),
    }
}
