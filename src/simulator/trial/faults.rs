//! Faults on stage: routes that go, flap, grow long, come in at the wrong place, or are badly formed.
//! Nobody is to blame for them by a number.

use schemas::bgp::Asn;

use super::{Act, Draft, Stage};
use crate::simulator::internet::spread::{Source, Spread, Told};
use crate::simulator::internet::{Internet, Node, Rank};
use crate::simulator::random::Random;
use crate::simulator::topology::Relation;

type Drafts = Option<Vec<Draft>>;

/// A number for private use (RFC 6996).
const PRIVATE: Asn = Asn(64_601);
/// Networks between the world and the way in of a detour.
const DETOUR: u32 = 3;

/// Grows a stub with an unused provider at the end of a long chain.
pub fn detour(internet: &mut Internet, random: &mut Random) -> (Node, Node) {
    let regionals = internet.of(Rank::Regional);
    let pick = |random: &mut Random| random.pick(&regionals).copied().unwrap_or(0);
    let mut above = pick(random);
    for _ in 0..DETOUR {
        let next = internet.add(Rank::Regional, random);
        internet.link(above, next, Relation::Customer, false);
        above = next;
    }
    let owner = internet.add(Rank::Stub, random);
    for _ in 0..2 {
        let provider = pick(random);
        internet.link(provider, owner, Relation::Customer, false);
    }
    internet.link(above, owner, Relation::Customer, false);
    (owner, above)
}

/// Nobody has a route.
pub fn blackout(stage: &mut Stage<'_>) -> Drafts {
    let owner = stage.owner()?;
    fault(stage, owner, Told::plain(owner), vec![(0, Told::default())])
}

/// Between three and seven tenths of the vantage points lose it: big networks filter it.
pub fn partial(stage: &mut Stage<'_>) -> Drafts {
    let owner = stage.owner()?;
    let mut told = Told::plain(owner);
    for _ in 0..40 {
        let deaf = stage.any(&[Rank::Clique, Rank::Carrier])?;
        told.deaf.push(deaf);
        let spread = Spread::of(stage.internet, &told);
        let lost = stage.points.iter().filter(|point| spread.held(**point).is_none()).count();
        if lost * 10 > stage.points.len() * 7 {
            told.deaf.pop();
        } else if lost * 10 >= stage.points.len() * 3 {
            return fault(stage, owner, Told::plain(owner), vec![(0, told)]);
        }
    }
    None
}

/// The owner announces it to one provider and the other in turn, every 40 seconds.
pub fn flap(stage: &mut Stage<'_>) -> Drafts {
    let (owner, providers) = stage.owner_of(2)?;
    let to = |via: Option<&Node>| {
        let via = via.into_iter().copied().collect();
        Told { sources: vec![Source { via, ..Source::plain(owner) }], deaf: Vec::new() }
    };
    let turns = (0..40_i64).map(|turn| (turn * 40, to(providers.get((turn % 2) as usize))));
    let told = turns.collect();
    fault(stage, owner, Told::plain(owner), told)
}

/// Only the long way is left.
pub fn inflation(stage: &mut Stage<'_>) -> Drafts {
    let (owner, way_in) = stage.detour;
    let mut usual = stage.internet.related(owner, Relation::Provider);
    usual.retain(|node| *node != way_in);
    let to = |via| Told { sources: vec![Source { via, ..Source::plain(owner) }], deaf: Vec::new() };
    fault(stage, owner, to(usual), vec![(0, to(vec![way_in]))])
}

/// The partner's session loses it; it comes in over another network's, which nobody registered.
pub fn wrong_entry(stage: &mut Stage<'_>) -> Drafts {
    let (owner, providers) = stage.owner_of(2)?;
    let [partner, other, ..] = providers.as_slice() else { return None };
    let to = |via: Node| only(Source { via: vec![via], ..Source::plain(owner) });
    let mut drafts = fault(stage, owner, to(*partner), vec![(0, to(*other))])?;
    for draft in &mut drafts {
        draft.sessions = vec![*partner, *other];
        draft.sessions_known = 1;
    }
    Some(drafts)
}

/// The primary's session loses it, the backup's has it.
pub fn on_backup(stage: &mut Stage<'_>) -> Drafts {
    let (owner, providers) = stage.owner_of(2)?;
    let mut drafts = without(stage, owner, &providers)?;
    for draft in &mut drafts {
        draft.sessions = providers.iter().take(2).copied().collect();
        draft.sessions_known = draft.sessions.len();
    }
    Some(drafts)
}

/// An upstream that the operator expects does not carry it any more.
pub fn upstream_lost(stage: &mut Stage<'_>) -> Drafts {
    let (owner, providers) = stage.owner_of(2)?;
    let mut drafts = without(stage, owner, &providers)?;
    for draft in &mut drafts {
        draft.expects = providers.iter().take(2).copied().collect();
    }
    Some(drafts)
}

/// A provider announces it behind an `AS_SET` (RFC 9774).
pub fn as_set(stage: &mut Stage<'_>) -> Drafts {
    let (owner, providers) = stage.owner_of(1)?;
    let other = stage.stranger(&[owner])?;
    let set = vec![stage.internet.asn(owner), stage.internet.asn(other)];
    let source = Source { set, ..Source::plain(*providers.first()?) };
    fault(stage, owner, Told::plain(owner), vec![(0, only(source))])
}

/// A private number stands on the way.
pub fn bogon(stage: &mut Stage<'_>) -> Drafts {
    let (owner, providers) = stage.owner_of(1)?;
    let tail = vec![PRIVATE, stage.internet.asn(owner)];
    let source = Source { tail, ..Source::plain(*providers.first()?) };
    fault(stage, owner, Told::plain(owner), vec![(0, only(source))])
}

/// The owner prepends without measure.
pub fn prepends(stage: &mut Stage<'_>) -> Drafts {
    let owner = stage.owner()?;
    let source = Source { prepends: 14, ..Source::plain(owner) };
    fault(stage, owner, Told::plain(owner), vec![(0, only(source))])
}

/// The owner's second number announces it, as it may; the ROA knows the first only.
pub fn roa_invalid(stage: &mut Stage<'_>) -> Drafts {
    let owner = stage.owner()?;
    let second = stage.stranger(&[owner])?;
    let mut drafts = fault(stage, owner, Told::plain(owner), vec![(0, Told::plain(second))])?;
    for draft in &mut drafts {
        draft.origins = vec![stage.internet.asn(owner), stage.internet.asn(second)];
        draft.roas = vec![stage.internet.asn(owner)];
    }
    Some(drafts)
}

fn only(source: Source) -> Told {
    Told { sources: vec![source], deaf: Vec::new() }
}

/// The owner stops announcing it to the first of its providers.
fn without(stage: &mut Stage<'_>, owner: Node, providers: &[Node]) -> Drafts {
    let lost = providers.first()?;
    let links = stage.internet.links(owner).iter().map(|link| link.to);
    let via = links.filter(|node| node != lost).collect();
    let told = only(Source { via, ..Source::plain(owner) });
    fault(stage, owner, Told::plain(owner), vec![(0, told)])
}

fn fault(stage: &mut Stage<'_>, owner: Node, calm: Told, told: Vec<(i64, Told)>) -> Drafts {
    let act = Act { prefix: stage.registered(), told };
    Some(vec![Draft { owner, calm, acts: vec![act], ..Draft::default() }])
}
