//! The demo's story as data: one hour, ten connections of three tenants, five troubles and four
//! pieces of news that are none.
//!
//! | UTC | what | where |
//! |---|---|---|
//! | 10:02 | a session comes up under DENY ALL, no routes | fabrikam-paris |
//! | 10:08-10:17 | origin hijack by AS64511 | contoso-seattle, 192.0.2.0/24 |
//! | 10:14- | second origin, same company | fabrikam-madrid |
//! | 10:19-10:24:30 | forged-path sub-prefix hijack by AS65540 | fabrikam-london, 2001:db8:2a::/48 |
//! | 10:27-10:39 | AS64504 leaks from AS64500 to AS64498, the tail suffers | contoso-redmond |
//! | 10:30-11:00 | entry in Seoul instead of Singapore | fabrikam-singapore |
//! | 10:42-10:49 | primary lost, backup, return | northwind-chicago |
//! | 10:52 | withdrawn in `PendingRemove` | fabrikam-oslo |
//! | 10:55-10:56 | a public vantage point's session resets | the collector |
//!
//! Who the named ASes are is [`cast`]. How any of it becomes bytes is [`super::simulate`].

use schemas::time::{TimeWindow, Timestamp};

use super::cast;
use super::geography::{CHICAGO, DALLAS, SEOUL, SINGAPORE, distance_km, round_trip_us};
use super::incidents::{Effect, Incident, IncidentKind, Injection, Silence, SilenceKind};
use super::offices::{
    self, CHICAGO_PRIMARY, CHICAGO_V4, CHICAGO_V6, LONDON_PART, LONDON_V6, MADRID_V4, OSLO_V6,
    PARIS_SESSION, PARIS_V4, REDMOND_V4, SEATTLE_V4, SINGAPORE_V4, SINGAPORE_V6, peer,
};
use super::scenario::Scenario;

/// 2026-03-04T10:00:00Z.
pub const START: Timestamp = Timestamp::from_secs(1_772_618_400);
/// How long the story lasts.
pub const MINUTES: u32 = 60;
/// From one second of the story to another.
const fn span(from_secs: i64, to_secs: i64) -> TimeWindow {
    TimeWindow { start: START.plus_secs(from_secs), end: START.plus_secs(to_secs) }
}

/// The demo's scenario.
#[must_use]
pub fn scenario(seed: u64) -> Scenario {
    Scenario {
        seed,
        start: START,
        minutes: MINUTES,
        topology: cast::topology(250),
        connections: offices::connections(),
        watched: vec![cast::CASCADIA, cast::CONTOSO, cast::NORTHWIND],
        observers: cast::OBSERVERS.to_vec(),
        vantage_points: (8, 16),
        background_prefixes: 200,
        background_flaps: 30,
        strangers_per_minute: 4,
        incidents: incidents(),
        silences: silences(),
    }
}

fn incidents() -> Vec<Incident> {
    vec![origin_hijack(), forged_sub_prefix(), route_leak(), primary_lost(), wrong_entry()]
}

fn origin_hijack() -> Incident {
    Incident {
        kind: IncidentKind::OriginHijack,
        window: span(8 * 60, 17 * 60),
        connection: "contoso-seattle".into(),
        prefix: SEATTLE_V4,
        registered_prefix: SEATTLE_V4,
        culprit: Some(cast::ORIGIN_HIJACKER),
        victim: cast::CONTOSO,
        injections: vec![Injection::Announce {
            prefix: SEATTLE_V4,
            origin: cast::ORIGIN_HIJACKER,
            forged_tail: Vec::new(),
        }],
        effects: vec![Effect {
            prefix: SEATTLE_V4,
            share_permille: 400,
            lost_permille: 650,
            extra_us: 140_000,
        }],
        story: "AS64511 announces Contoso's prefix as its own; half of the world believes it",
    }
}

fn forged_sub_prefix() -> Incident {
    Incident {
        kind: IncidentKind::ForgedSubPrefix,
        window: span(19 * 60, 24 * 60 + 30),
        connection: "fabrikam-london".into(),
        prefix: LONDON_PART,
        registered_prefix: LONDON_V6,
        culprit: Some(cast::PATH_FORGER),
        victim: cast::FABRIKAM,
        injections: vec![Injection::Announce {
            prefix: LONDON_PART,
            origin: cast::PATH_FORGER,
            forged_tail: vec![cast::FABRIKAM],
        }],
        effects: vec![Effect {
            prefix: LONDON_PART,
            share_permille: 900,
            lost_permille: 250,
            extra_us: 70_000,
        }],
        story: "AS65540 announces a part of Fabrikam's block on a path that ends in Fabrikam itself",
    }
}

fn route_leak() -> Incident {
    Incident {
        kind: IncidentKind::RouteLeak,
        window: span(27 * 60, 39 * 60),
        connection: "contoso-redmond".into(),
        prefix: REDMOND_V4,
        registered_prefix: REDMOND_V4,
        culprit: Some(cast::CASCADIA),
        victim: cast::CONTOSO,
        injections: vec![Injection::Leak {
            leaker: cast::CASCADIA,
            prefixes: vec![REDMOND_V4],
            background: 40,
        }],
        effects: vec![Effect {
            prefix: REDMOND_V4,
            share_permille: 120,
            lost_permille: 20,
            extra_us: 95_000,
        }],
        story: "AS64504 passes routes of one provider to the other; one sample in eight goes round",
    }
}

fn primary_lost() -> Incident {
    let prefixes = vec![CHICAGO_V4, CHICAGO_V6];
    let detour = Effect {
        prefix: CHICAGO_V4,
        share_permille: 1000,
        lost_permille: 10,
        extra_us: round_trip_us(distance_km(CHICAGO.point(), DALLAS.point())),
    };
    Incident {
        kind: IncidentKind::PrimaryLost,
        window: span(42 * 60, 49 * 60),
        connection: "northwind-chicago".into(),
        prefix: CHICAGO_V4,
        registered_prefix: CHICAGO_V4,
        culprit: None,
        victim: cast::NORTHWIND,
        injections: vec![
            Injection::Reroute { prefixes, via: vec![cast::ALPINE] },
            Injection::SessionDown { peer: CHICAGO_PRIMARY },
        ],
        effects: vec![detour, Effect { prefix: CHICAGO_V6, ..detour }],
        story: "The session with Tailspin falls, Alpine carries the traffic through Dallas, Tailspin returns",
    }
}

fn wrong_entry() -> Incident {
    let prefixes = vec![SINGAPORE_V4, SINGAPORE_V6];
    let detour = Effect {
        prefix: SINGAPORE_V4,
        share_permille: 1000,
        lost_permille: 0,
        extra_us: round_trip_us(distance_km(SINGAPORE.point(), SEOUL.point())),
    };
    Incident {
        kind: IncidentKind::WrongEntry,
        window: span(30 * 60, 60 * 60),
        connection: "fabrikam-singapore".into(),
        prefix: SINGAPORE_V4,
        registered_prefix: SINGAPORE_V4,
        culprit: Some(cast::HANGANG),
        victim: cast::FABRIKAM,
        injections: vec![Injection::Reroute { prefixes, via: vec![cast::HANGANG] }],
        effects: vec![detour, Effect { prefix: SINGAPORE_V6, ..detour }],
        story: "Singapore's traffic enters in Seoul, 4,680 km from its nearest edge, through AS65537",
    }
}

fn silences() -> Vec<Silence> {
    vec![
        Silence {
            kind: SilenceKind::DenyAll,
            window: span(2 * 60, 60 * 60),
            connection: Some("fabrikam-paris".into()),
            prefix: Some(PARIS_V4),
            injections: vec![Injection::SessionUp { peer: PARIS_SESSION }],
            why: "the connection is validating: under DENY ALL an established session has no routes",
        },
        Silence {
            kind: SilenceKind::SiblingOrigin,
            window: span(14 * 60, 60 * 60),
            connection: Some("fabrikam-madrid".into()),
            prefix: Some(MADRID_V4),
            injections: vec![Injection::Announce {
                prefix: MADRID_V4,
                origin: cast::FABRIKAM_CLOUD,
                forged_tail: Vec::new(),
            }],
            why: "the second origin, AS64508, belongs to the same company as AS64506",
        },
        Silence {
            kind: SilenceKind::PendingRemove,
            window: span(52 * 60, 60 * 60),
            connection: Some("fabrikam-oslo".into()),
            prefix: Some(OSLO_V6),
            injections: vec![Injection::Withdraw { prefixes: vec![OSLO_V6] }],
            why: "the connection is being removed: its withdrawal is what was asked for",
        },
        Silence {
            kind: SilenceKind::VantageReset,
            window: span(55 * 60, 56 * 60),
            connection: None,
            prefix: None,
            injections: vec![Injection::SessionDown { peer: peer(135) }],
            why: "one vantage point's session was reset: the routes stand at all others",
        },
    ]
}
