//! The registry: all connections and watched ASes of one version; who owns a prefix or an address,
//! and which shard it belongs to.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::bgp::{Asn, Prefix, PrefixMap};
use crate::connection::{Connection, RegisteredPrefix, WatchedAs};

/// Index of a connection within one version of the registry.
pub type ConnectionId = u32;

/// How an announced prefix lies to a registered one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Relation {
    /// The same prefix.
    Exact,
    /// The announced prefix lies inside the registered one.
    MoreSpecific,
    /// The announced prefix covers the registered one.
    LessSpecific,
}

impl Relation {
    /// The word in the column `relation`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::MoreSpecific => "more_specific",
            Self::LessSpecific => "less_specific",
        }
    }
}

/// One registration of a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Owner {
    /// The connection.
    pub connection: ConnectionId,
    /// The prefix as it is registered.
    pub prefix: Prefix,
}

/// What an announced prefix touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Touch {
    /// The registration.
    pub owner: Owner,
    /// How the announced prefix lies to it.
    pub relation: Relation,
}

/// A registration that contradicts another: positions are those of the lists given to
/// [`Registry::new`], so that the caller can name the places.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// Two connections of one name.
    #[error("connection {name:?} is configured twice")]
    NameTwice {
        /// The name.
        name: String,
        /// Position of the first connection.
        first: usize,
        /// Position of the second.
        second: usize,
    },
    /// One prefix, two owners that do not stand in for each other.
    #[error(
        "{prefix} is registered by {owner:?} and by {other:?}; a prefix has one owner unless both \
         are of one redundancy_group or of different routing_domains"
    )]
    OwnedTwice {
        /// The prefix.
        prefix: Prefix,
        /// Name of the first owner.
        owner: String,
        /// Name of the second.
        other: String,
        /// Position of the first: connection, prefix.
        first: (usize, usize),
        /// Position of the second.
        second: (usize, usize),
    },
    /// One watched AS configured twice.
    #[error("{number} is watched twice")]
    WatchedTwice {
        /// The number.
        number: Asn,
        /// Position of the first entry.
        first: usize,
        /// Position of the second.
        second: usize,
    },
    /// A maximum length outside the prefix.
    #[error(
        "max_length {max_length} of {prefix} must lie between its length and its family's bits"
    )]
    MaxLength {
        /// The prefix.
        prefix: Prefix,
        /// The length given.
        max_length: u8,
        /// Position: connection, prefix.
        at: (usize, usize),
    },
}

/// All connections and watched ASes of one version.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Contents")]
pub struct Registry {
    /// Counting up from 1.
    pub version: u32,
    connections: Vec<Connection>,
    watched: Vec<WatchedAs>,
    #[serde(skip)]
    owners: BTreeMap<String, PrefixMap<Vec<ConnectionId>>>,
    #[serde(skip)]
    by_name: BTreeMap<String, ConnectionId>,
}

/// What a registry is made of: how it lies in the log and in a saved state.
#[derive(Deserialize)]
struct Contents {
    version: u32,
    connections: Vec<Connection>,
    watched: Vec<WatchedAs>,
}

impl TryFrom<Contents> for Registry {
    type Error = RegistryError;

    fn try_from(contents: Contents) -> Result<Self, Self::Error> {
        Self::new(contents.version, contents.connections, contents.watched)
    }
}

/// A registry in the log, in its own JSON: the readers of other encodings find one text.
pub(crate) mod as_json {
    use std::sync::Arc;

    use serde::{Deserialize as _, Deserializer, Serializer, de, ser};

    use super::Registry;

    pub(crate) fn serialize<S: Serializer>(
        registry: &Arc<Registry>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let text = serde_json::to_string(&**registry).map_err(ser::Error::custom)?;
        serializer.serialize_str(&text)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Arc<Registry>, D::Error> {
        let text = String::deserialize(deserializer)?;
        serde_json::from_str(&text).map(Arc::new).map_err(de::Error::custom)
    }
}

impl Registry {
    /// The registry of these connections and watched ASes.
    ///
    /// # Errors
    /// [`RegistryError`] with the positions of what contradicts each other.
    pub fn new(
        version: u32,
        connections: Vec<Connection>,
        mut watched: Vec<WatchedAs>,
    ) -> Result<Self, RegistryError> {
        check_names(&connections)?;
        check_watched(&watched)?;
        check_owners(&connections)?;
        let mut connections = connections;
        connections.sort_by(|a, b| a.name.cmp(&b.name));
        watched.sort_by_key(|watched| watched.number);
        let mut registered: BTreeMap<String, BTreeMap<Prefix, Vec<ConnectionId>>> = BTreeMap::new();
        let mut by_name = BTreeMap::new();
        for (id, connection) in (0..).zip(&connections) {
            by_name.insert(connection.name.clone(), id);
            let domain = registered.entry(connection.routing_domain.clone()).or_default();
            for RegisteredPrefix { prefix, .. } in &connection.prefixes {
                domain.entry(*prefix).or_default().push(id);
            }
        }
        let owners = registered
            .into_iter()
            .map(|(domain, prefixes)| (domain, prefixes.into_iter().collect()))
            .collect();
        Ok(Self { version, connections, watched, owners, by_name })
    }

    /// The connections, by name.
    #[must_use]
    pub fn connections(&self) -> &[Connection] {
        &self.connections
    }

    /// The watched ASes, by number.
    #[must_use]
    pub fn watched(&self) -> &[WatchedAs] {
        &self.watched
    }

    /// The connection of that index.
    #[must_use]
    pub fn connection(&self, id: ConnectionId) -> Option<&Connection> {
        self.connections.get(id as usize)
    }

    /// The index of the connection of that name.
    #[must_use]
    pub fn id_of(&self, name: &str) -> Option<ConnectionId> {
        self.by_name.get(name).copied()
    }

    /// The settings of one registration.
    #[must_use]
    pub fn registration(&self, owner: &Owner) -> Option<&RegisteredPrefix> {
        self.connection(owner.connection)?.prefixes.iter().find(|r| r.prefix == owner.prefix)
    }

    /// The watched AS of that number.
    #[must_use]
    pub fn watched_as(&self, number: Asn) -> Option<&WatchedAs> {
        let place = self.watched.binary_search_by_key(&number, |watched| watched.number).ok()?;
        self.watched.get(place)
    }

    /// What is registered in a routing domain: asked once for all prefixes of a message.
    #[inline]
    #[must_use]
    pub fn domain(&self, name: &str) -> Domain<'_> {
        Domain { registry: self, owners: self.owners.get(name) }
    }

    /// All routing domains with what is registered in them.
    pub fn domains(&self) -> impl Iterator<Item = (&str, &PrefixMap<Vec<ConnectionId>>)> {
        self.owners.iter().map(|(name, owners)| (name.as_str(), owners))
    }

    /// Every registration that a prefix of a routing domain touches: see [`Domain::touches`].
    pub fn touches(&self, domain: &str, prefix: &Prefix) -> impl Iterator<Item = Touch> + use<'_> {
        self.domain(domain).touches(prefix)
    }

    /// Whether a prefix of a routing domain touches any registration.
    #[must_use]
    pub fn is_touched(&self, domain: &str, prefix: &Prefix) -> bool {
        self.domain(domain).is_touched(prefix)
    }

    /// The owners of an address of a routing domain: the longest registered match.
    #[must_use]
    pub fn owners_of(&self, domain: &str, address: IpAddr) -> Option<(Prefix, &[ConnectionId])> {
        self.domain(domain).owners_of_prefix(&Prefix::of(address, u8::MAX))
    }

    /// The shard of a connection.
    #[must_use]
    pub fn shard(&self, id: ConnectionId, partitions: u32) -> u32 {
        self.connection(id)
            .map_or(0, |connection| shard_of(connection.group().as_bytes(), partitions))
    }

    /// The shard of a prefix that no connection owns.
    #[must_use]
    pub fn shard_of_prefix(prefix: &Prefix, partitions: u32) -> u32 {
        shard_of(&prefix.first_octets(), partitions)
    }

    /// The shard whose copy of an element makes the rows: see [`Domain::writing_shard`].
    #[must_use]
    pub fn writing_shard(&self, domain: &str, prefix: &Prefix, partitions: u32) -> u32 {
        self.domain(domain).writing_shard(prefix, partitions)
    }
}

/// What is registered in one routing domain.
#[derive(Clone, Copy, Debug)]
pub struct Domain<'r> {
    registry: &'r Registry,
    owners: Option<&'r PrefixMap<Vec<ConnectionId>>>,
}

impl<'r> Domain<'r> {
    /// The registered prefixes, if one of them may be touched by `prefix`.
    #[inline]
    fn near(&self, prefix: &Prefix) -> Option<&'r PrefixMap<Vec<ConnectionId>>> {
        self.owners.filter(|owners| owners.may_touch(prefix))
    }

    /// Every registration that a prefix touches: those that cover it, longest first, then those
    /// that it covers.
    pub fn touches(&self, prefix: &Prefix) -> impl Iterator<Item = Touch> + use<'r> {
        let prefix = *prefix;
        let near = self.near(&prefix);
        let covering = near.into_iter().flat_map(move |owners| owners.covering(&prefix));
        let covered = near.into_iter().flat_map(move |owners| owners.covered(&prefix));
        covering.chain(covered).flat_map(move |(registered, ids)| {
            let relation = if registered == prefix {
                Relation::Exact
            } else if registered.covers(&prefix) {
                Relation::MoreSpecific
            } else {
                Relation::LessSpecific
            };
            ids.iter().map(move |id| Touch {
                owner: Owner { connection: *id, prefix: registered },
                relation,
            })
        })
    }

    /// Whether a prefix touches any registration. One that does not is told by one bit, mostly.
    #[inline]
    #[must_use]
    pub fn is_touched(&self, prefix: &Prefix) -> bool {
        self.near(prefix).is_some() && self.touches(prefix).next().is_some()
    }

    /// The owners of the longest registered prefix that covers `prefix`.
    #[must_use]
    pub fn owners_of_prefix(&self, prefix: &Prefix) -> Option<(Prefix, &'r [ConnectionId])> {
        let (registered, ids) = self.near(prefix)?.covering(prefix).next()?;
        Some((registered, ids))
    }

    /// The shards of the connections that a prefix touches, repeated as they are.
    pub fn touched_shards(
        &self,
        prefix: &Prefix,
        partitions: u32,
    ) -> impl Iterator<Item = u32> + use<'r> {
        let registry = self.registry;
        self.touches(prefix).map(move |touch| registry.shard(touch.owner.connection, partitions))
    }

    /// The shard whose copy of an element on this prefix makes the rows: that of the longest
    /// registered match (of several owners the lowest), else of the hash of the prefix.
    #[must_use]
    pub fn writing_shard(&self, prefix: &Prefix, partitions: u32) -> u32 {
        if partitions <= 1 {
            return 0;
        }
        let owners = self.owners_of_prefix(prefix);
        owners
            .and_then(|(_, ids)| ids.iter().map(|id| self.registry.shard(*id, partitions)).min())
            .unwrap_or_else(|| Registry::shard_of_prefix(prefix, partitions))
    }
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo; RFC 9923), folded to a partition: the same everywhere, for ever.
fn shard_of(key: &[u8], partitions: u32) -> u32 {
    let hash = key.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| {
        (hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3)
    });
    let folded = (hash >> 32) ^ (hash & 0xffff_ffff);
    u32::try_from(folded % u64::from(partitions.max(1))).unwrap_or(0)
}

fn check_names(connections: &[Connection]) -> Result<(), RegistryError> {
    let mut seen = BTreeMap::new();
    for (second, connection) in connections.iter().enumerate() {
        if let Some(first) = seen.insert(connection.name.as_str(), second) {
            return Err(RegistryError::NameTwice { name: connection.name.clone(), first, second });
        }
    }
    Ok(())
}

fn check_watched(watched: &[WatchedAs]) -> Result<(), RegistryError> {
    let mut seen = BTreeMap::new();
    for (second, entry) in watched.iter().enumerate() {
        if let Some(first) = seen.insert(entry.number, second) {
            return Err(RegistryError::WatchedTwice { number: entry.number, first, second });
        }
    }
    Ok(())
}

/// One prefix, one owner, but for redundancy groups and routing domains.
fn check_owners(connections: &[Connection]) -> Result<(), RegistryError> {
    let mut seen: BTreeMap<(&str, Prefix), Vec<(usize, usize)>> = BTreeMap::new();
    for (c, connection) in connections.iter().enumerate() {
        for (p, registered) in connection.prefixes.iter().enumerate() {
            let prefix = registered.prefix;
            if let Some(max_length) = registered.max_length
                && !(prefix.length()..=prefix.family().bits()).contains(&max_length)
            {
                return Err(RegistryError::MaxLength { prefix, max_length, at: (c, p) });
            }
            let places = seen.entry((connection.routing_domain.as_str(), prefix)).or_default();
            for first in places.iter().copied() {
                let Some(other) = connections.get(first.0) else { continue };
                let shared = first.0 != c
                    && connection.redundancy_group.is_some()
                    && connection.redundancy_group == other.redundancy_group;
                if !shared {
                    return Err(RegistryError::OwnedTwice {
                        prefix,
                        owner: other.name.clone(),
                        other: connection.name.clone(),
                        first,
                        second: (c, p),
                    });
                }
            }
            places.push((c, p));
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn connection(name: &str, group: Option<&str>, prefixes: &[&str]) -> Connection {
        Connection {
            name: name.into(),
            tenant: "default".into(),
            kind: crate::connection::ConnectionKind::PeeringService,
            partner: None,
            location: crate::connection::PeeringLocation::default(),
            site: None,
            labels: BTreeMap::new(),
            prefixes: prefixes
                .iter()
                .map(|text| RegisteredPrefix {
                    prefix: text.parse().unwrap(),
                    key: None,
                    validation_state: None,
                    max_length: None,
                    owner: crate::connection::PrefixOwner::Customer,
                })
                .collect(),
            origin_asns: Some(vec![Asn(64_510)]),
            upstream_asns: None,
            expect_upstreams: Vec::new(),
            state: crate::connection::ConnectionState::Active,
            redundancy_group: group.map(str::to_owned),
            sessions: Vec::new(),
            primary_edge: None,
            backup_edge: None,
            routing_domain: crate::connection::PUBLIC_ROUTING_DOMAIN.into(),
            bandwidth_mbps: None,
        }
    }

    #[test]
    fn a_prefix_has_one_owner_unless_they_stand_in_for_each_other() {
        let twice = |group: Option<&str>| {
            let connections = vec![
                connection("a", group, &["192.0.2.0/24"]),
                connection("b", group, &["198.51.100.0/24", "192.0.2.0/24"]),
            ];
            Registry::new(1, connections, Vec::new())
        };
        assert!(twice(Some("west")).is_ok());
        let Err(RegistryError::OwnedTwice { first, second, .. }) = twice(None) else {
            panic!("two owners were let in");
        };
        assert_eq!((first, second), ((0, 0), (1, 1)));
    }

    #[test]
    fn a_prefix_touches_what_it_covers_and_what_covers_it() {
        let registry = Registry::new(
            1,
            vec![
                connection("a", None, &["192.0.2.0/24"]),
                connection("b", None, &["192.0.2.64/26"]),
            ],
            Vec::new(),
        )
        .unwrap();
        let relations = |text: &str| -> Vec<(Relation, u32)> {
            let prefix = text.parse().unwrap();
            registry.touches("public", &prefix).map(|t| (t.relation, t.owner.connection)).collect()
        };
        use Relation::{Exact, LessSpecific, MoreSpecific};
        assert_eq!(relations("192.0.2.64/27"), [(MoreSpecific, 1), (MoreSpecific, 0)]);
        assert_eq!(relations("192.0.2.0/24"), [(Exact, 0), (LessSpecific, 1)]);
        assert_eq!(relations("192.0.0.0/16"), [(LessSpecific, 0), (LessSpecific, 1)]);
        assert!(relations("198.51.100.0/24").is_empty());
        let owner = registry.owners_of("public", "192.0.2.65".parse().unwrap()).unwrap();
        assert_eq!(owner.1, [1], "the longest match owns the sample");
    }

    #[test]
    fn a_shard_never_moves() {
        assert_eq!((shard_of(b"contoso-west", 12), shard_of(b"contoso-west", 1)), (8, 0));
    }
}
