//! Connections: the unit of telemetry, in Azure's words, as `[[connection]]` configures them.
//!
//! Enumerations are open (`microsoft.peering` 2025-05-01): a word not known here is kept. Two of
//! them share the word `Active`: [`ConnectionState`] means *in service*, [`SessionState`] means a
//! BGP session that is *down* and trying.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::bgp::{Asn, Prefix};
use crate::open_enum::open_enum;

open_enum! {
    /// What a connection is to Azure; chooses the detectors that apply.
    pub enum ConnectionKind {
        PeeringService = "peering_service",
        DirectPeering = "direct_peering",
        ExchangePeering = "exchange_peering",
        ExpressRouteCircuit = "expressroute_circuit",
        InternetPeering = "internet_peering",
        IpsecVpn = "ipsec_vpn",
        SdWan = "sd_wan",
    }
}

open_enum! {
    /// `ConnectionState` of direct and exchange connections.
    pub enum ConnectionState {
        None = "None",
        PendingApproval = "PendingApproval",
        Approved = "Approved",
        ProvisioningStarted = "ProvisioningStarted",
        ProvisioningFailed = "ProvisioningFailed",
        ProvisioningCompleted = "ProvisioningCompleted",
        Validating = "Validating",
        Active = "Active",
        TypeChangeRequested = "TypeChangeRequested",
        TypeChangeInProgress = "TypeChangeInProgress",
        /// Shown by the walkthroughs although the specification lists it for sessions only.
        PendingRemove = "PendingRemove",
        ExternalBlocker = "ExternalBlocker",
    }
}

open_enum! {
    /// `SessionStateV4` and `SessionStateV6`: the BGP session, not the connection.
    pub enum SessionState {
        None = "None",
        Idle = "Idle",
        Connect = "Connect",
        /// The session is down and trying (RFC 4271 §8.2.2).
        Active = "Active",
        OpenSent = "OpenSent",
        OpenConfirm = "OpenConfirm",
        OpenReceived = "OpenReceived",
        Established = "Established",
        PendingAdd = "PendingAdd",
        PendingUpdate = "PendingUpdate",
        PendingRemove = "PendingRemove",
    }
}

open_enum! {
    /// `ProvisioningState` of Azure Resource Manager.
    pub enum ProvisioningState {
        Succeeded = "Succeeded",
        Updating = "Updating",
        Deleting = "Deleting",
        Failed = "Failed",
        Canceled = "Canceled",
    }
}

open_enum! {
    /// `PrefixValidationState` of a registered prefix; not RFC 6811's origin validity.
    pub enum PrefixValidationState {
        None = "None",
        Invalid = "Invalid",
        Verified = "Verified",
        Failed = "Failed",
        Pending = "Pending",
        Warning = "Warning",
        Unknown = "Unknown",
    }
}

open_enum! {
    /// `LearnedType`: how Azure learnt a prefix.
    pub enum LearnedType {
        None = "None",
        ViaServiceProvider = "ViaServiceProvider",
        ViaSession = "ViaSession",
    }
}

open_enum! {
    /// `ValidationState` of a peer's AS number.
    pub enum AsnValidationState {
        None = "None",
        Pending = "Pending",
        Approved = "Approved",
        Failed = "Failed",
    }
}

open_enum! {
    /// `DirectPeeringType`.
    pub enum DirectPeeringType {
        Edge = "Edge",
        Transit = "Transit",
        Cdn = "Cdn",
        Internal = "Internal",
        Ix = "Ix",
        IxRs = "IxRs",
        Voice = "Voice",
        EdgeZoneForOperators = "EdgeZoneForOperators",
        PeerProp = "PeerProp",
    }
}

open_enum! {
    /// `serviceProviderProvisioningState` of an ExpressRoute circuit.
    pub enum CircuitProviderState {
        NotProvisioned = "NotProvisioned",
        Provisioning = "Provisioning",
        Provisioned = "Provisioned",
        Deprovisioning = "Deprovisioning",
    }
}

open_enum! {
    /// `circuitProvisioningState` ("Status") of an ExpressRoute circuit.
    pub enum CircuitStatus {
        Enabled = "Enabled",
        Enabling = "Enabling",
        Disabled = "Disabled",
    }
}

open_enum! {
    /// `advertisedPublicPrefixesState` of Microsoft peering.
    pub enum AdvertisedPrefixesState {
        NotConfigured = "NotConfigured",
        Configuring = "Configuring",
        Configured = "Configured",
        ValidationNeeded = "ValidationNeeded",
        ManualValidation = "ManualValidation",
    }
}

open_enum! {
    /// `PeeringType` of an ExpressRoute routing domain.
    pub enum PeeringType {
        AzurePrivatePeering = "AzurePrivatePeering",
        AzurePublicPeering = "AzurePublicPeering",
        MicrosoftPeering = "MicrosoftPeering",
    }
}

open_enum! {
    /// Who owns a registered prefix.
    pub enum PrefixOwner {
        Customer = "customer",
        Provider = "provider",
    }
}

open_enum! {
    /// What a BGP session is for.
    pub enum SessionRole {
        Primary = "primary",
        Backup = "backup",
    }
}

/// The company that carries a connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectivityPartner {
    /// Its name.
    pub name: String,
    /// Its AS number.
    #[serde(default)]
    pub asn: Option<Asn>,
}

/// The customer's physical location.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PeeringLocation {
    /// Country, ISO 3166-1 alpha-2.
    pub country: Option<String>,
    /// Subdivision, ISO 3166-2.
    pub region: Option<String>,
    /// Degrees north.
    pub latitude: Option<f64>,
    /// Degrees east.
    pub longitude: Option<f64>,
}

/// A prefix that a connection registers: a text, or a table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RegisteredPrefix {
    /// The prefix.
    pub prefix: Prefix,
    /// `peeringServicePrefixKey`.
    pub key: Option<String>,
    /// Azure's word on it.
    pub validation_state: Option<PrefixValidationState>,
    /// Longest announcement that is still the owner's; absent: the prefix itself.
    pub max_length: Option<u8>,
    /// Whose it is.
    pub owner: PrefixOwner,
}

impl<'de> Deserialize<'de> for RegisteredPrefix {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return deserializer.deserialize_any(RegisteredPrefixVisitor);
        }
        let (prefix, key, validation_state, max_length, owner) =
            Deserialize::deserialize(deserializer)?;
        Ok(Self { prefix, key, validation_state, max_length, owner })
    }
}

struct RegisteredPrefixVisitor;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RegisteredPrefixTable {
    prefix: Prefix,
    key: Option<String>,
    validation_state: Option<PrefixValidationState>,
    max_length: Option<u8>,
    owner: Option<PrefixOwner>,
}

impl<'de> serde::de::Visitor<'de> for RegisteredPrefixVisitor {
    type Value = RegisteredPrefix;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a prefix such as \"192.0.2.0/24\", or { prefix = \"192.0.2.0/24\", ... }")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(RegisteredPrefix {
            prefix: text.parse().map_err(E::custom)?,
            key: None,
            validation_state: None,
            max_length: None,
            owner: PrefixOwner::Customer,
        })
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let table =
            RegisteredPrefixTable::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
        Ok(RegisteredPrefix {
            prefix: table.prefix,
            key: table.key,
            validation_state: table.validation_state,
            max_length: table.max_length,
            owner: table.owner.unwrap_or(PrefixOwner::Customer),
        })
    }
}

/// One BGP session of a connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectionSession {
    /// The router at our end.
    pub router: Option<String>,
    /// The peer's address.
    pub peer_ip: IpAddr,
    /// What it is for.
    #[serde(default)]
    pub role: Option<SessionRole>,
}

/// `[[connection]]`: the unit of telemetry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connection {
    /// Logical name, unique.
    pub name: String,
    /// Whose it is.
    #[serde(default = "default_tenant")]
    pub tenant: String,
    /// What it is to Azure.
    #[serde(default = "default_kind")]
    pub kind: ConnectionKind,
    /// The company that carries it.
    pub partner: Option<ConnectivityPartner>,
    /// Where the customer is.
    #[serde(default)]
    pub location: PeeringLocation,
    /// Site within the company.
    pub site: Option<String>,
    /// Free labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The prefixes it registers.
    #[serde(default)]
    pub prefixes: Vec<RegisteredPrefix>,
    /// Who may originate them. Absent: learned. Empty: nobody.
    pub origin_asns: Option<Vec<Asn>>,
    /// Who may carry them next to the origin. Absent: learned.
    pub upstream_asns: Option<Vec<Asn>>,
    /// Upstreams whose loss is a finding.
    #[serde(default)]
    pub expect_upstreams: Vec<Asn>,
    /// State in Azure's words.
    #[serde(default = "default_state")]
    pub state: ConnectionState,
    /// Connections that stand in for each other.
    pub redundancy_group: Option<String>,
    /// Its BGP sessions.
    #[serde(default)]
    pub sessions: Vec<ConnectionSession>,
    /// Primary edge, of the edge catalogue.
    pub primary_edge: Option<String>,
    /// Backup edge; absent: failover is the Internet.
    pub backup_edge: Option<String>,
    /// Address space of its prefixes.
    #[serde(default = "default_routing_domain")]
    pub routing_domain: String,
    /// Bandwidth in Mbit/s.
    pub bandwidth_mbps: Option<u32>,
}

/// The routing domain of all that names none.
pub const PUBLIC_ROUTING_DOMAIN: &str = "public";

fn default_tenant() -> String {
    "default".to_owned()
}

fn default_kind() -> ConnectionKind {
    ConnectionKind::PeeringService
}

fn default_state() -> ConnectionState {
    ConnectionState::Active
}

fn default_routing_domain() -> String {
    PUBLIC_ROUTING_DOMAIN.to_owned()
}

impl Connection {
    /// What its shard is computed from: the redundancy group, else the name.
    #[must_use]
    pub fn group(&self) -> &str {
        self.redundancy_group.as_deref().unwrap_or(&self.name)
    }

    /// Whether its alerts may be sent: a connection raises none before it is in service and while it
    /// is being removed (Azure's direct peering walkthrough).
    #[must_use]
    pub fn in_service(&self) -> bool {
        use ConnectionState as S;
        !matches!(
            self.state,
            S::None
                | S::PendingApproval
                | S::Approved
                | S::ProvisioningStarted
                | S::ProvisioningFailed
                | S::ProvisioningCompleted
                | S::Validating
                | S::PendingRemove
        )
    }
}

/// What a watched AS may originate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Originates {
    /// Anything.
    #[default]
    Any,
    /// Registered prefixes only.
    Registered,
}

/// `[[asn]]`: a watched AS.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatchedAs {
    /// Its number.
    pub number: Asn,
    /// Its providers.
    #[serde(default)]
    pub upstreams: Vec<Asn>,
    /// Its settlement-free peers.
    #[serde(default)]
    pub peers: Vec<Asn>,
    /// Its customers.
    #[serde(default)]
    pub downstreams: Vec<Asn>,
    /// What it may originate.
    #[serde(default)]
    pub originates: Originates,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_not_known_here_are_kept() {
        let state = ConnectionState::from("ExternalBlockerV2".to_owned());
        assert_eq!(state, ConnectionState::Other("ExternalBlockerV2".into()));
        assert_eq!(String::from(state), "ExternalBlockerV2");
        assert_eq!(ConnectionState::from("Active".to_owned()), ConnectionState::Active);
    }

    #[test]
    fn packed_or_as_text_a_connection_comes_back_to_the_last_bit() {
        let json = r#"{"name": "seattle", "kind": "of_tomorrow", "partner": {"name": "x", "asn": 64500},
            "location": {"country": "US", "latitude": 47.606209999999997}, "labels": {"a": "b"},
            "prefixes": ["192.0.2.0/24", {"prefix": "2001:db8::/32", "max_length": 48,
                "key": "k", "validation_state": "Verified", "owner": "provider"}],
            "sessions": [{"router": "r", "peer_ip": "192.0.2.1", "role": "backup"}]}"#;
        let connection: Connection = serde_json::from_str(json).unwrap();
        let packed = postcard::to_stdvec(&connection).unwrap();
        assert_eq!(postcard::from_bytes::<Connection>(&packed).unwrap(), connection);
        assert!(
            (1..packed.len())
                .all(|length| postcard::from_bytes::<Connection>(&packed[..length]).is_err())
        );
    }

    #[test]
    fn active_means_two_things() {
        assert_eq!(ConnectionState::Active.as_str(), SessionState::Active.as_str());
        // Two types: a connection in service, and a session that is down.
    }
}
