//! Owners: which registered prefix an address falls into, and who counts a sample on it. Made of one
//! version of the registry, off the hot path, and replaced whole.

use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashMap;
use schemas::bgp::{AddressTable, Prefix};
use schemas::connection::PUBLIC_ROUTING_DOMAIN;
use schemas::registry::{ConnectionId, Registry};
use schemas::sample::Target;
use tokio::sync::watch;

/// Who owns what, by address, as it changes with the versions of the registry.
pub type OwnersNow = watch::Receiver<Arc<Owners>>;

/// Who owns what, by address, for one version of the registry.
#[derive(Debug)]
pub struct Owners {
    registry: Arc<Registry>,
    domains: Vec<Domain>,
    /// Index of the domain of public addresses.
    public: Option<u32>,
    /// Domain of each connection.
    domain_of: Vec<Option<u32>>,
    /// Registered prefixes with their owners, of all domains.
    sets: Vec<(Prefix, Vec<ConnectionId>)>,
}

#[derive(Debug)]
struct Domain {
    name: String,
    table: AddressTable,
    by_prefix: HashMap<Prefix, u32>,
}

impl Owners {
    /// The tables of a registry.
    #[must_use]
    pub fn new(registry: Arc<Registry>) -> Self {
        let (mut domains, mut sets) = (Vec::new(), Vec::new());
        for (name, owners) in registry.domains() {
            let first = u32::try_from(sets.len()).unwrap_or(u32::MAX);
            let numbered = || owners.iter().zip(first..).map(|((prefix, _), set)| (prefix, set));
            domains.push(Domain {
                name: name.to_owned(),
                table: numbered().collect(),
                by_prefix: numbered().collect(),
            });
            sets.extend(owners.iter().map(|(prefix, owners)| (prefix, owners.clone())));
        }
        let index = |name: &str| {
            let place = domains.iter().position(|domain| domain.name == name);
            place.and_then(|place| u32::try_from(place).ok())
        };
        let public = index(PUBLIC_ROUTING_DOMAIN);
        let domain_of = registry
            .connections()
            .iter()
            .map(|connection| index(&connection.routing_domain))
            .collect();
        Self { registry, domains, public, domain_of, sets }
    }

    /// The registry they are made of.
    #[must_use]
    pub const fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// The registered prefix of a number that [`Self::find`] gave, with its owners.
    #[must_use]
    pub fn set(&self, number: u32) -> Option<&(Prefix, Vec<ConnectionId>)> {
        self.sets.get(number as usize)
    }

    /// The longest registered match of a target, as a number. A sample that names a connection is
    /// looked up in the address space of that connection.
    #[inline]
    #[must_use]
    pub fn find(&self, target: &Target, named: Option<ConnectionId>) -> Option<u32> {
        let domain = match named {
            None => self.public,
            Some(id) => *self.domain_of.get(id as usize)?,
        };
        let domain = self.domains.get(domain? as usize)?;
        match target {
            Target::Address(IpAddr::V4(address)) => domain.table.get_v4(*address),
            Target::Address(address) => domain.table.get(*address),
            Target::Prefix(prefix) => {
                let (registered, _) =
                    self.registry.domain(&domain.name).owners_of_prefix(prefix)?;
                domain.by_prefix.get(&registered).copied()
            }
        }
    }
}
