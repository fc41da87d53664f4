//! The offices: the ten connections of the demo, as their owners registered them.
//!
//! Three tenants of different kinds: Contoso's two offices in one metro, Fabrikam's five across two
//! continents, and Northwind, the customer of a reseller. What befalls them is [`super::story`].

use std::net::Ipv4Addr;

use schemas::bgp::{Asn, Prefix};

use super::cast;
use super::geography::{
    CHICAGO, DALLAS, DENVER, LONDON, MADRID, Metro, OSLO, PARIS, SEATTLE, SEOUL, SINGAPORE, TOKYO,
};
use super::scenario::{ConnectionPlan, PrefixPlan, SessionPlan};

/// About how many samples a minute each prefix gets.
const SAMPLES: u32 = 115;

/// Contoso's first office; hijacked.
pub const SEATTLE_V4: Prefix = Prefix::v4([192, 0, 2, 0], 24);
/// Contoso's second office; leaked.
pub const REDMOND_V4: Prefix = Prefix::v4([198, 51, 100, 0], 25);
/// Fabrikam in London.
pub const LONDON_V4: Prefix = Prefix::v4([198, 51, 100, 128], 26);
/// Fabrikam in London; a part of it is hijacked.
pub const LONDON_V6: Prefix = v6(0x20, 44);
/// The part of [`LONDON_V6`] that a forger announces.
pub const LONDON_PART: Prefix = v6(0x2a, 48);
/// Fabrikam in Madrid; has a second origin.
pub const MADRID_V4: Prefix = Prefix::v4([198, 51, 100, 192], 26);
/// Fabrikam in Singapore.
pub const SINGAPORE_V4: Prefix = Prefix::v4([203, 0, 113, 0], 27);
/// Fabrikam in Singapore.
pub const SINGAPORE_V6: Prefix = v6(0x40, 48);
/// Fabrikam in Paris, not yet accepted.
pub const PARIS_V4: Prefix = Prefix::v4([203, 0, 113, 32], 27);
/// Northwind in Chicago.
pub const CHICAGO_V4: Prefix = Prefix::v4([203, 0, 113, 64], 27);
/// Northwind in Chicago.
pub const CHICAGO_V6: Prefix = v6(0x60, 48);
/// Northwind in Denver.
pub const DENVER_V4: Prefix = Prefix::v4([203, 0, 113, 96], 28);
/// Fabrikam in Oslo, about to go.
pub const OSLO_V6: Prefix = v6(0x70, 48);

/// Tailspin's router on Chicago's primary session.
pub const CHICAGO_PRIMARY: Ipv4Addr = peer(206);
/// Wingtip's router on the session under DENY ALL.
pub const PARIS_SESSION: Ipv4Addr = peer(209);

/// Contoso's second office, half an hour's drive from the first.
const REDMOND: Metro =
    Metro { code: "rdm", name: "Redmond", latitude: 47.67, longitude: -122.12, ..SEATTLE };

/// A prefix of 2001:db8::/32 by its third group.
#[must_use]
pub const fn v6(group: u16, length: u8) -> Prefix {
    let [high, low] = group.to_be_bytes();
    Prefix::v6([0x20, 0x01, 0x0d, 0xb8, high, low, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], length)
}

/// The address of a peer of the collector by its last octet.
#[must_use]
pub const fn peer(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(203, 0, 113, host)
}

/// All ten, by tenant.
#[must_use]
pub fn connections() -> Vec<ConnectionPlan> {
    [contoso(), fabrikam(), fabrikam_waiting(), northwind()].concat()
}

/// A session at an edge; `role` as in [`SessionPlan`].
fn session(host: u8, asn: Asn, edge: &'static Metro, role: Option<&'static str>) -> SessionPlan {
    let router = format!("edge-{}-{}", edge.code, host % 2 + 1);
    SessionPlan { router, peer: peer(host), asn, role, edge }
}

/// A connection with the habits of most: active, announced to its partner, one primary session.
fn connection(
    name: &str,
    kind: &'static str,
    origin: Asn,
    partner: (&str, Asn),
    place: (Metro, &'static Metro),
    host: u8,
) -> ConnectionPlan {
    let (place, edge) = place;
    ConnectionPlan {
        name: name.to_owned(),
        tenant: name.split('-').next().unwrap_or_default().to_owned(),
        kind,
        state: "Active",
        partner: (partner.0.to_owned(), partner.1),
        site: None,
        labels: &[],
        prefixes: Vec::new(),
        origin,
        via: vec![partner.1],
        upstreams: vec![partner.1],
        redundancy_group: None,
        sessions: vec![session(host, partner.1, edge, Some("primary"))],
        edge,
        sources: vec![format!("probe-{}-1", place.code)],
        place,
        announced: true,
        comment: String::new(),
    }
}

fn plans(prefixes: &[Prefix]) -> Vec<PrefixPlan> {
    prefixes.iter().map(|prefix| PrefixPlan::new(*prefix, SAMPLES)).collect()
}

/// Two offices of one company in one metro, through different partners.
fn contoso() -> Vec<ConnectionPlan> {
    let (litware, proseware) =
        (("Litware Transit", cast::LITWARE), ("Proseware Networks", cast::PROSEWARE));
    let seattle = (SEATTLE, &SEATTLE);
    let redmond = (REDMOND, &SEATTLE);
    let service = "peering_service";
    vec![
        ConnectionPlan {
            site: Some("office-seattle"),
            prefixes: plans(&[SEATTLE_V4, v6(0x10, 48)]),
            redundancy_group: Some("contoso-west"),
            sources: vec!["probe-sea-1".into(), "probe-sea-2".into()],
            comment: "Contoso's head office; its sibling is the office in Redmond".into(),
            ..connection("contoso-seattle", service, cast::CONTOSO, litware, seattle, 200)
        },
        ConnectionPlan {
            site: Some("office-redmond"),
            prefixes: plans(&[REDMOND_V4]),
            redundancy_group: Some("contoso-west"),
            comment: "Contoso's second office, same company, same edge, another partner".into(),
            ..connection("contoso-redmond", service, cast::CONTOSO, proseware, redmond, 201)
        },
    ]
}

/// Three offices in service: two find trouble, one looks like it.
fn fabrikam() -> Vec<ConnectionPlan> {
    let origin = cast::FABRIKAM;
    let wingtip = ("Wingtip Carrier", cast::WINGTIP);
    let straits = ("Straits Exchange", cast::STRAITS);
    let clients = vec![(v6(0x20, 48), 700), (LONDON_PART, 300)];
    let london = PrefixPlan { prefix: LONDON_V6, clients, samples_per_minute: SAMPLES };
    let mut singapore = connection(
        "fabrikam-singapore",
        "exchange_peering",
        origin,
        straits,
        (SINGAPORE, &SINGAPORE),
        203,
    );
    singapore.sessions.push(session(204, cast::HANGANG, &SEOUL, None));
    vec![
        ConnectionPlan {
            prefixes: plans(&[LONDON_V4]).into_iter().chain([london]).collect(),
            sources: vec!["probe-lon-1".into(), "probe-lon-2".into()],
            comment: "Fabrikam in London, peering directly through its carrier".into(),
            ..connection(
                "fabrikam-london",
                "direct_peering",
                origin,
                wingtip,
                (LONDON, &LONDON),
                202,
            )
        },
        ConnectionPlan {
            prefixes: plans(&[SINGAPORE_V4, SINGAPORE_V6]),
            comment: "Fabrikam in Singapore, at the exchange round the corner".into(),
            ..singapore
        },
        ConnectionPlan {
            prefixes: plans(&[MADRID_V4, v6(0x50, 48)]),
            comment: "Fabrikam in Madrid; a sister company announces from here as well".into(),
            ..connection(
                "fabrikam-madrid",
                "peering_service",
                origin,
                wingtip,
                (MADRID, &MADRID),
                205,
            )
        },
    ]
}

/// One office that is not yet in service, one that is about to leave it.
fn fabrikam_waiting() -> Vec<ConnectionPlan> {
    let origin = cast::FABRIKAM;
    let wingtip = ("Wingtip Carrier", cast::WINGTIP);
    vec![
        ConnectionPlan {
            state: "Validating",
            prefixes: plans(&[PARIS_V4]),
            announced: false,
            comment: "Being set up: the session may be up, DENY ALL accepts no route yet".into(),
            ..connection("fabrikam-paris", "direct_peering", origin, wingtip, (PARIS, &PARIS), 209)
        },
        ConnectionPlan {
            state: "PendingRemove",
            prefixes: plans(&[OSLO_V6]),
            comment: "On its way out: its withdrawal is no news".into(),
            ..connection("fabrikam-oslo", "direct_peering", origin, wingtip, (OSLO, &OSLO), 210)
        },
    ]
}

/// A reseller's customer with circuits, and a quiet branch.
fn northwind() -> Vec<ConnectionPlan> {
    let origin = cast::NORTHWIND;
    let tailspin = ("Tailspin Networks", cast::TAILSPIN);
    let pacific = ("Pacific Reach", cast::PACIFIC);
    let circuit = "expressroute_circuit";
    let reseller = &[("reseller", "tailspin"), ("model", "connect-through")];
    let mut chicago =
        connection("northwind-chicago", circuit, origin, tailspin, (CHICAGO, &CHICAGO), 206);
    chicago.sessions.push(session(207, cast::ALPINE, &DALLAS, Some("backup")));
    chicago.upstreams.push(cast::ALPINE);
    vec![
        ConnectionPlan {
            labels: reseller,
            prefixes: plans(&[CHICAGO_V4, CHICAGO_V6]),
            redundancy_group: Some("northwind-central"),
            comment:
                "A reseller's customer: Tailspin sells the circuit, Alpine backs it up in Dallas"
                    .into(),
            ..chicago
        },
        ConnectionPlan {
            labels: reseller,
            prefixes: plans(&[DENVER_V4]),
            redundancy_group: Some("northwind-central"),
            comment: "The same reseller's circuit in Denver, the sibling of Chicago".into(),
            ..connection("northwind-denver", circuit, origin, tailspin, (DENVER, &DENVER), 208)
        },
        ConnectionPlan {
            prefixes: plans(&[v6(0x80, 48)]),
            sources: vec!["probe-tyo-1".into(), "probe-tyo-2".into()],
            comment: "A branch in Tokyo where nothing happens all day".into(),
            ..connection(
                "northwind-tokyo",
                "peering_service",
                origin,
                pacific,
                (TOKYO, &TOKYO),
                211,
            )
        },
    ]
}
