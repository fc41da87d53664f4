//! `connections` and `connection_states`: the registry as it was, version by version.

use super::{Text, table};
use crate::bgp::{Asn, Prefix};
use crate::time::Timestamp;

table! {
    /// One registered prefix of one connection in one version of the registry.
    pub struct ConnectionRow by [version, connection] {
        /// Event time from which the version counts
        time: Timestamp,
        /// Version of the registry, counting up
        version: u32,
        /// Tenant
        tenant: Text,
        /// Logical name
        connection: Text,
        /// peering_service, direct_peering, exchange_peering, expressroute_circuit, ...
        kind: Text,
        /// State in Azure's words
        state: Text,
        /// Name of the connectivity partner; null where none is registered
        partner: Option<Text>,
        /// AS number of the connectivity partner; null where none is registered
        partner_asn: Option<Asn>,
        /// Country, ISO 3166-1; null where none is registered
        country: Option<Text>,
        /// Subdivision, ISO 3166-2; null where none is registered
        region: Option<Text>,
        /// Latitude in degrees; null where none is registered
        latitude: Option<f64>,
        /// Longitude in degrees; null where none is registered
        longitude: Option<f64>,
        /// Site; null where none is registered
        site: Option<Text>,
        /// Redundancy group; null where it stands alone
        redundancy_group: Option<Text>,
        /// Address space: public, or a private one of a tenant
        routing_domain: Text,
        /// Primary edge; null where none is registered
        primary_edge: Option<Text>,
        /// Backup edge; null where the Internet is the backup
        backup_edge: Option<Text>,
        /// Bandwidth; null where none is registered
        bandwidth_mbps: Option<u32>,
        /// Registered prefix; null for a connection without one
        prefix: Option<Prefix>,
        /// Azure's PrefixValidationState; null where none is registered
        prefix_validation_state: Option<Text>,
        /// Longest announcement that is still the owner's; null: the prefix itself
        max_length: Option<u8>,
        /// customer or provider
        owner: Text,
        /// AS numbers that may originate it; null: learned from the baseline
        origin_asns: Option<Vec<Asn>>,
        /// AS numbers that may carry it; null: learned from the baseline
        upstream_asns: Option<Vec<Asn>>,
    }
}

table! {
    /// One change of a connection's state.
    pub struct ConnectionStateRow by [time, connection] {
        /// When it counts from
        time: Timestamp,
        /// Tenant
        tenant: Text,
        /// Logical name
        connection: Text,
        /// State before; null for a new connection
        state_before: Option<Text>,
        /// State after, in Azure's words
        state_after: Text,
        /// Whether Azure's workflow allows the step
        legal: bool,
    }
}
