//! Epochs: what peers say of a registered prefix in, the route in force over time out.
//!
//! Many peers hold a route for one prefix. In force is that of a session which the connection lists,
//! the primary before the backup, while one of them holds any; else what most peers agree on: the
//! origin and the AS before it (`docs/decisions/0022-route-in-force.md`). Each change of it opens an
//! epoch. Pure; times are event times and never go back. A prefix remembers [`EPOCHS_MAX`] epochs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashMap;
use schemas::bgp::{Asn, PathAttributes, PeerHeader, Prefix, RibView};
use schemas::connection::{Connection, SessionRole};
use schemas::pool;
use schemas::registry::{Owner, Registry, Relation};
use schemas::tables::Text;
use schemas::time::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::counts::Counts;
use crate::detect::Change;
use crate::reference::geo::edges::Edges;
use crate::rib::Rib;

/// Epochs of one prefix that are remembered.
const EPOCHS_MAX: usize = 128;

/// A route in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InForce {
    /// primary or backup; none where no listed session holds it, or it has no role.
    #[serde(deserialize_with = "pool::text_or_none")]
    pub(crate) role: Option<Text>,
    /// Collapsed path of the session's route, nearest AS first; of what most peers hold, its end.
    pub(crate) path: Vec<Asn>,
    /// Where traffic enters, by the catalogue of edges.
    #[serde(deserialize_with = "pool::text_or_none")]
    pub(crate) edge: Option<Text>,
    next_hop: Option<IpAddr>,
}

/// A span in which one route, or none, was in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Epoch {
    /// When it began.
    pub(crate) since: Timestamp,
    /// Its name: equal for equal routes.
    pub(crate) id: u64,
    /// Length of the collapsed path.
    pub(crate) as_hops: u16,
    /// The route; none while nobody holds one.
    pub(crate) route: Option<InForce>,
}

/// The epochs of all registered prefixes of one fold.
#[derive(Debug, Default)]
pub(crate) struct Epochs {
    of: HashMap<Owner, Routes>,
}

/// What peers hold for one registered prefix.
#[derive(Debug, Default)]
struct Routes {
    /// Routes of listed sessions, the best first.
    sessions: BTreeMap<SessionKey, Arc<PathAttributes>>,
    /// Peers by the end of their paths, and by the length of these.
    held: BTreeMap<PathEnd, Counts<u16>>,
    epochs: Vec<Epoch>,
}

/// The origin and the AS before it.
type PathEnd = (Option<Asn>, Option<Asn>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct SessionKey {
    /// Primary, none, backup.
    rank: u8,
    /// Place in the configuration.
    place: usize,
    /// After policy before before policy.
    is_pre: bool,
    peer: Arc<PeerHeader>,
    path_id: Option<u32>,
}

impl Epochs {
    /// A version of the registry begins: what is held is counted anew, what was in force is kept for
    /// prefixes that stay.
    pub(crate) fn begin(
        &mut self,
        before: Option<&Registry>,
        registry: &Registry,
        is_ours: impl Fn(&Owner) -> bool,
        (rib, edges): (&Rib, &Edges),
        time: Timestamp,
    ) {
        let mut old = std::mem::take(&mut self.of);
        for (connection, entry) in (0..).zip(registry.connections()) {
            for registered in &entry.prefixes {
                let owner = Owner { connection, prefix: registered.prefix };
                if !is_ours(&owner) {
                    continue;
                }
                let was = before
                    .and_then(|before| before.id_of(&entry.name))
                    .and_then(|connection| old.remove(&Owner { connection, ..owner }));
                let epochs = was.map(|was| was.epochs).unwrap_or_default();
                self.of.insert(owner, Routes { epochs, ..Routes::default() });
            }
        }
        self.count(registry, rib);
        for routes in self.of.values_mut() {
            routes.settle(edges, time);
        }
    }

    /// Counts what is held.
    pub(crate) fn count(&mut self, registry: &Registry, rib: &Rib) {
        let prefixes: BTreeSet<Prefix> = self.of.keys().map(|owner| owner.prefix).collect();
        rib.for_each(
            |prefix| prefixes.contains(prefix),
            |held| {
                if !held.peer.rib_view.is_adj_rib_in() {
                    return;
                }
                let touches = registry.touches(&held.peer.routing_domain, &held.prefix);
                for owner in touches.filter(|t| t.relation == Relation::Exact).map(|t| t.owner) {
                    let connection = registry.connection(owner.connection);
                    if let (Some(routes), Some(connection)) = (self.of.get_mut(&owner), connection)
                    {
                        let key = session_key(connection, held.peer, held.path_id);
                        routes.say(key, None, Some(held.attributes));
                    }
                }
            },
        );
    }

    /// What a peer says has changed: the registrations whose route in force changed with it.
    pub(crate) fn on_change(
        &mut self,
        change: &Change<'_>,
        registry: &Registry,
        edges: &Edges,
    ) -> Vec<Owner> {
        let mut changed = Vec::new();
        if !change.header.rib_view.is_adj_rib_in() {
            return changed;
        }
        let exact = change.touches.iter().filter(|touch| touch.relation == Relation::Exact);
        for owner in exact.map(|touch| touch.owner) {
            let Some(connection) = registry.connection(owner.connection) else { continue };
            let Some(routes) = self.of.get_mut(&owner) else { continue };
            let key = session_key(connection, change.header, change.path_id);
            routes.say(key, change.route.before.as_ref(), change.route.after.as_ref());
            if routes.settle(edges, change.time) {
                changed.push(owner);
            }
        }
        changed
    }

    /// The epoch in force at a moment; none before anything was heard, or too long ago.
    pub(crate) fn at(&self, owner: &Owner, time: Timestamp) -> Option<&Epoch> {
        let epochs = &self.of.get(owner)?.epochs;
        let next = epochs.partition_point(|epoch| epoch.since <= time);
        epochs.get(next.checked_sub(1)?)
    }

    /// The last change of the route in force in `[from, until]`: what was before, and what came.
    pub(crate) fn change_in(
        &self,
        owner: &Owner,
        from: Timestamp,
        until: Timestamp,
    ) -> Option<(&Epoch, &Epoch)> {
        let epochs = &self.of.get(owner)?.epochs;
        let next = epochs.partition_point(|epoch| epoch.since <= until);
        let epoch = epochs.get(next.checked_sub(1)?)?;
        let before = epochs.get(next.checked_sub(2)?)?;
        (epoch.since >= from).then_some((before, epoch))
    }
}

/// The epochs alone: what is held now is what the routing state says, see [`Epochs::count`].
impl Serialize for Epochs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { of } = self;
        let mut all: Vec<(&Owner, &Vec<Epoch>)> = Vec::with_capacity(of.len());
        for (owner, Routes { sessions: _, held: _, epochs }) in of {
            all.push((owner, epochs));
        }
        all.sort_unstable_by_key(|(owner, _)| *owner);
        all.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Epochs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let all: Vec<(Owner, Vec<Epoch>)> = Deserialize::deserialize(deserializer)?;
        let routes = |epochs| Routes { epochs, ..Routes::default() };
        Ok(Self { of: all.into_iter().map(|(owner, epochs)| (owner, routes(epochs))).collect() })
    }
}

impl Routes {
    /// A peer holds another route than before.
    fn say(
        &mut self,
        session: Option<SessionKey>,
        before: Option<&Arc<PathAttributes>>,
        after: Option<&Arc<PathAttributes>>,
    ) {
        if let Some(key) = session {
            match after {
                Some(after) => self.sessions.insert(key, Arc::clone(after)),
                None => self.sessions.remove(&key),
            };
        }
        if let Some((end, hops)) = before.map(end_of)
            && let Some(lengths) = self.held.get_mut(&end)
        {
            lengths.remove(hops);
            if lengths.is_empty() {
                self.held.remove(&end);
            }
        }
        if let Some((end, hops)) = after.map(end_of) {
            self.held.entry(end).or_default().add(hops);
        }
    }

    /// Opens an epoch if another route is in force now.
    fn settle(&mut self, edges: &Edges, time: Timestamp) -> bool {
        let (route, as_hops) = self.in_force(edges);
        if let Some(last) = self.epochs.last_mut()
            && last.route == route
        {
            last.as_hops = as_hops;
            return false;
        }
        let Some(last) = self.epochs.last().map(|last| last.since) else {
            if route.is_some() {
                self.open(time, route, as_hops);
            }
            return false;
        };
        // What did not last is no epoch: a table dump is many routes of one moment.
        let since = time.max(last);
        if since == last {
            self.epochs.pop();
            if self.epochs.last().is_some_and(|before| before.route == route) {
                return true;
            }
        }
        self.open(since, route, as_hops);
        true
    }

    fn open(&mut self, since: Timestamp, route: Option<InForce>, as_hops: u16) {
        if self.epochs.len() >= EPOCHS_MAX {
            self.epochs.remove(0);
        }
        let id = route.as_ref().map_or(0, InForce::id);
        self.epochs.push(Epoch { since, id, as_hops, route });
    }

    /// The route in force by what is held now, and its length.
    fn in_force(&self, edges: &Edges) -> (Option<InForce>, u16) {
        if let Some((key, route)) = self.sessions.first_key_value() {
            let path: Vec<Asn> = route.as_path.hops().collect();
            let as_hops = u16::try_from(path.len()).unwrap_or(u16::MAX);
            let role = match key.rank {
                0 => Some("primary".into()),
                2 => Some("backup".into()),
                _ => None,
            };
            let edge = (!edges.is_empty()).then(|| {
                let names = route.communities.iter().map(ToString::to_string);
                edges.ingress(names, route.next_hop).map(|edge| edge.id.clone())
            });
            let edge = edge.flatten();
            return (Some(InForce { role, path, edge, next_hop: route.next_hop }), as_hops);
        }
        let peers = |lengths: &Counts<u16>| lengths.iter().map(|(_, count)| count).sum::<u32>();
        let most = self.held.values().map(peers).max().unwrap_or(0);
        // Whoever is in force stays so until another has more.
        let last = self.epochs.last().and_then(|epoch| epoch.route.as_ref());
        let stays = |end: &PathEnd| last.is_some_and(|route| route.path == path_of(*end));
        let mut leaders = self.held.iter().filter(|(_, lengths)| peers(lengths) == most);
        let first = leaders.clone().next();
        let Some((end, lengths)) = leaders.find(|(end, _)| stays(end)).or(first) else {
            return (None, 0);
        };
        let usual = lengths.iter().max_by_key(|(hops, count)| (*count, u16::MAX - *hops));
        let route = InForce { role: None, path: path_of(*end), edge: None, next_hop: None };
        (Some(route), usual.map_or(0, |(hops, _)| hops))
    }
}

impl InForce {
    /// The path in words.
    pub(crate) fn path_text(&self) -> Text {
        let hops: Vec<String> = self.path.iter().map(|asn| asn.0.to_string()).collect();
        hops.join(" ").into()
    }

    /// 64 bits of SHA-256 over what tells routes apart.
    fn id(&self) -> u64 {
        let origin = self.path.last().map_or(0, |origin| origin.0);
        let hop = match (&self.edge, self.next_hop) {
            (Some(edge), _) => edge.to_string(),
            (None, Some(hop)) => hop.to_string(),
            (None, None) => String::new(),
        };
        let role = self.role.as_deref().unwrap_or_default();
        let text = format!("{origin}\n{}\n{hop}\n{role}", self.path_text());
        let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        digest.iter().take(8).fold(0, |id, octet| id << 8 | u64::from(*octet))
    }
}

/// Where a session's routes stand among those of its connection; none for a peer that is not listed.
fn session_key(
    connection: &Connection,
    peer: &Arc<PeerHeader>,
    path_id: Option<u32>,
) -> Option<SessionKey> {
    let (place, session) = connection.sessions.iter().enumerate().find(|(_, session)| {
        session.peer_ip == peer.address
            && match (&session.router, &peer.router) {
                (Some(wanted), Some(router)) => wanted.as_str() == router.as_ref(),
                _ => true,
            }
    })?;
    let rank = match &session.role {
        Some(SessionRole::Primary) => 0,
        Some(SessionRole::Backup) => 2,
        _ => 1,
    };
    let is_pre = peer.rib_view != RibView::AdjRibInPost;
    Some(SessionKey { rank, place, is_pre, peer: Arc::clone(peer), path_id })
}

/// The end of a path, and the length of the whole.
fn end_of(route: &Arc<PathAttributes>) -> (PathEnd, u16) {
    let mut hops = route.as_path.hops_from_origin();
    let end = (hops.next(), hops.next());
    let told = usize::from(end.0.is_some()) + usize::from(end.1.is_some());
    (end, u16::try_from(told + hops.count()).unwrap_or(u16::MAX))
}

fn path_of((origin, via): PathEnd) -> Vec<Asn> {
    via.into_iter().chain(origin).collect()
}

#[cfg(test)]
mod tests;
