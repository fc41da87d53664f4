//! The cast: the named ASes of every scenario and the ground they stand on.
//!
//! Numbers are documentation's (RFC 5398: 64496-64511, 65536-65551). Their links are fixed, so
//! that who believes whom does not depend on chance alone; the anonymous rest of the topology
//! grows around them. What they do is [`super::story`].

use schemas::bgp::Asn;

use super::geography::{
    ASHBURN, CHICAGO, DALLAS, FRANKFURT, JOHANNESBURG, LONDON, LOS_ANGELES, Metro, PARIS, PORTLAND,
    SAO_PAULO, SEATTLE, SEOUL, SINGAPORE, TOKYO,
};
use super::topology::{ANONYMOUS_FIRST, NamedAs, Tier, TopologyPlan};

/// Contoso's partner in Seattle.
pub const LITWARE: Asn = Asn(64_499);
/// Contoso's partner in Redmond.
pub const PROSEWARE: Asn = Asn(64_500);
/// Fabrikam's carrier in Europe.
pub const WINGTIP: Asn = Asn(64_501);
/// The reseller of Northwind's circuits.
pub const TAILSPIN: Asn = Asn(64_502);
/// Northwind's backup.
pub const ALPINE: Asn = Asn(64_503);
/// The regional network that leaks.
pub const CASCADIA: Asn = Asn(64_504);
/// Two offices' owner.
pub const CONTOSO: Asn = Asn(64_505);
/// Five offices' owner.
pub const FABRIKAM: Asn = Asn(64_506);
/// The reseller's customer.
pub const NORTHWIND: Asn = Asn(64_507);
/// The second network of Fabrikam's company.
pub const FABRIKAM_CLOUD: Asn = Asn(64_508);
/// Announces what is Contoso's.
pub const ORIGIN_HIJACKER: Asn = Asn(64_511);
/// Fabrikam's exchange in Singapore.
pub const STRAITS: Asn = Asn(65_536);
/// The wrong way into the cloud.
pub const HANGANG: Asn = Asn(65_537);
/// Northwind's partner in Tokyo.
pub const PACIFIC: Asn = Asn(65_538);
/// Forges paths that end in others.
pub const PATH_FORGER: Asn = Asn(65_540);

/// Named regional networks that show the collector all they have; both live behind Stratus.
pub const OBSERVERS: [Asn; 2] = [Asn(65_545), Asn(65_546)];

/// Networks in the clique, the three named ones among them.
const TIER_ONE: u32 = 8;
/// Anonymous regional networks.
const TIER_TWO: u32 = 36;

/// The anonymous networks of the clique.
const CLIQUE_0: u32 = ANONYMOUS_FIRST;
const CLIQUE_1: u32 = ANONYMOUS_FIRST + 1;
const CLIQUE_2: u32 = ANONYMOUS_FIRST + 2;
const CLIQUE_3: u32 = ANONYMOUS_FIRST + 3;
const CLIQUE_4: u32 = ANONYMOUS_FIRST + 4;

/// One row of the table of named ASes: providers, then peers, last.
type Row = (u32, Tier, &'static Metro, &'static str, &'static [u32], &'static [u32]);

static NAMED: &[Row] = &[
    (64_496, Tier::One, &ASHBURN, "Cumulus Transit", &[], &[]),
    (64_497, Tier::One, &LOS_ANGELES, "Nimbus Transit", &[], &[]),
    (64_498, Tier::One, &FRANKFURT, "Stratus Transit", &[], &[]),
    (64_499, Tier::Two, &SEATTLE, "Litware Transit", &[64_496, 64_497], &[]),
    (64_500, Tier::Two, &SEATTLE, "Proseware Networks", &[64_496, 64_497], &[]),
    (64_501, Tier::Two, &LONDON, "Wingtip Carrier", &[64_496, 64_498], &[]),
    (64_502, Tier::Two, &CHICAGO, "Tailspin Networks", &[64_496, 64_497], &[]),
    (64_503, Tier::Two, &DALLAS, "Alpine Backbone", &[64_498, CLIQUE_2], &[]),
    (64_504, Tier::Two, &PORTLAND, "Cascadia Regional", &[64_498, 64_500], &[65_543]),
    (64_505, Tier::Stub, &SEATTLE, "Contoso", &[64_499, 64_500], &[]),
    (64_506, Tier::Stub, &LONDON, "Fabrikam", &[64_501, 65_536, 65_537], &[]),
    (64_507, Tier::Stub, &CHICAGO, "Northwind", &[64_502, 64_503, 65_538], &[]),
    (64_508, Tier::Stub, &FRANKFURT, "Fabrikam", &[65_543], &[]),
    (64_511, Tier::Stub, &SAO_PAULO, "Nobody you know", &[65_541], &[]),
    (65_536, Tier::Two, &SINGAPORE, "Straits Exchange", &[64_497, 64_498], &[]),
    (65_537, Tier::Two, &SEOUL, "Hangang Transit", &[CLIQUE_2, CLIQUE_4], &[]),
    (65_538, Tier::Two, &TOKYO, "Pacific Reach", &[64_496, CLIQUE_3], &[]),
    (65_540, Tier::Stub, &JOHANNESBURG, "Nobody you know either", &[65_542], &[]),
    (65_541, Tier::Two, &SAO_PAULO, "Graphic Transit", &[64_498, CLIQUE_0], &[]),
    (65_542, Tier::Two, &JOHANNESBURG, "Karoo Networks", &[CLIQUE_1, CLIQUE_3], &[]),
    (65_543, Tier::Two, &FRANKFURT, "Humongous Net", &[64_497, CLIQUE_2], &[]),
    (65_544, Tier::Stub, &PORTLAND, "Cascadia Schools", &[64_504], &[]),
    (65_545, Tier::Two, &FRANKFURT, "Rhine Access", &[64_498], &[]),
    (65_546, Tier::Two, &PARIS, "Seine Networks", &[64_498, CLIQUE_4], &[]),
];

/// The named ASes and so many anonymous stubs.
#[must_use]
pub fn topology(stubs: u32) -> TopologyPlan {
    let named = NAMED.iter().map(|(asn, tier, metro, organisation, providers, peers)| NamedAs {
        asn: *asn,
        tier: *tier,
        metro,
        organisation,
        providers,
        peers,
    });
    let named = named.collect();
    TopologyPlan { tier_one: TIER_ONE, tier_two: TIER_TWO, stubs, named }
}
