//! Hijacks on stage: foreign origins and forged paths. The attacker is a stranger to whom he hurts.

use schemas::bgp::{Asn, Prefix};

use super::{Act, Draft, Stage};
use crate::simulator::internet::Node;
use crate::simulator::internet::spread::{Source, Told};
use crate::simulator::topology::Relation;

type Drafts = Option<Vec<Draft>>;

/// The very prefix.
pub fn exact(stage: &mut Stage<'_>) -> Drafts {
    forged(stage, false, |_, _| Some(Vec::new()))
}

/// A part of it.
pub fn part(stage: &mut Stage<'_>) -> Drafts {
    forged(stage, true, |_, _| Some(Vec::new()))
}

/// What lies around it; nobody announced that before.
pub fn around(stage: &mut Stage<'_>) -> Drafts {
    let prefix = stage.ground().around();
    alone(stage, prefix, |_, _| Some(Vec::new()))
}

/// The very prefix, which its owner does not announce.
pub fn squat(stage: &mut Stage<'_>) -> Drafts {
    let mut drafts = exact(stage)?;
    for draft in &mut drafts {
        draft.calm = Told::default();
        for (_, told) in draft.acts.iter_mut().flat_map(|act| &mut act.told) {
            told.sources.retain(|source| source.node != draft.owner);
        }
    }
    Some(drafts)
}

/// The attacker says that he is a neighbour of the owner.
pub fn type_1(stage: &mut Stage<'_>) -> Drafts {
    forged(stage, false, |stage, owner| Some(vec![stage.internet.asn(owner)]))
}

/// The same for a part.
pub fn type_1_part(stage: &mut Stage<'_>) -> Drafts {
    forged(stage, true, |stage, owner| Some(vec![stage.internet.asn(owner)]))
}

/// The attacker says that he is a neighbour of a provider of the owner.
pub fn type_2(stage: &mut Stage<'_>) -> Drafts {
    forged(stage, false, |stage, owner| climb(stage, owner, 1))
}

/// The same for a part.
pub fn type_2_part(stage: &mut Stage<'_>) -> Drafts {
    forged(stage, true, |stage, owner| climb(stage, owner, 1))
}

/// The same two steps above the owner.
pub fn type_3(stage: &mut Stage<'_>) -> Drafts {
    forged(stage, false, |stage, owner| climb(stage, owner, 2))
}

/// The same for a part.
pub fn type_3_part(stage: &mut Stage<'_>) -> Drafts {
    forged(stage, true, |stage, owner| climb(stage, owner, 2))
}

/// An AS that does not exist stands between the attacker and the owner.
pub fn invented(stage: &mut Stage<'_>) -> Drafts {
    forged(stage, false, invent)
}

/// The same for a part.
pub fn invented_part(stage: &mut Stage<'_>) -> Drafts {
    forged(stage, true, invent)
}

/// A part, behind the number of the owner's second network.
pub fn sibling_part(stage: &mut Stage<'_>) -> Drafts {
    let company = |stage: &Stage<'_>, node| stage.internet.get(node).map(|system| system.company);
    let (owner, sibling) = (0..200).find_map(|_| {
        let owner = stage.owner()?;
        let own = company(stage, owner);
        let mut others = 0..stage.internet.len() as Node;
        let sibling = others.find(|other| *other != owner && company(stage, *other) == own)?;
        Some((owner, sibling))
    })?;
    let attacker = stage.stranger(&[owner, sibling])?;
    let prefix = stage.ground().part(3);
    let tail = vec![stage.internet.asn(sibling)];
    Some(vec![draft(stage, owner, attacker, prefix, false, tail)])
}

/// One AS announces what is of many.
pub fn mass(stage: &mut Stage<'_>) -> Drafts {
    let mut owners = Vec::new();
    for _ in stage.grounds {
        owners.push(stage.owner()?);
    }
    let attacker = stage.stranger(&owners)?;
    let grounds = stage.grounds.iter().zip(owners);
    let drafts: Vec<Draft> = grounds
        .map(|(ground, owner)| {
            let roas = stage.roas(owner);
            let sources = vec![Source::plain(owner), Source::plain(attacker)];
            let told = vec![(0, Told { sources, deaf: Vec::new() })];
            Draft {
                owner,
                calm: Told::plain(owner),
                acts: vec![Act { prefix: ground.registered(), told }],
                culprit: Some(attacker),
                roas,
                ..Draft::default()
            }
        })
        .collect();
    Some(drafts)
}

type Tail = fn(&mut Stage<'_>, Node) -> Option<Vec<Asn>>;

fn forged(stage: &mut Stage<'_>, is_part: bool, tail: Tail) -> Drafts {
    if is_part {
        let prefix = stage.ground().part(3);
        return alone(stage, prefix, tail);
    }
    let owner = stage.owner()?;
    let tail = tail(stage, owner)?;
    let attacker = attacker(stage, owner, &tail)?;
    let prefix = stage.registered();
    Some(vec![draft(stage, owner, attacker, prefix, true, tail)])
}

/// A prefix that nobody else announces.
fn alone(stage: &mut Stage<'_>, prefix: Prefix, tail: Tail) -> Drafts {
    let owner = stage.owner()?;
    let tail = tail(stage, owner)?;
    let attacker = attacker(stage, owner, &tail)?;
    Some(vec![draft(stage, owner, attacker, prefix, false, tail)])
}

fn draft(
    stage: &mut Stage<'_>,
    owner: Node,
    attacker: Node,
    prefix: Prefix,
    beside_owner: bool,
    tail: Vec<Asn>,
) -> Draft {
    let mut sources = vec![Source { tail, ..Source::plain(attacker) }];
    if beside_owner {
        sources.insert(0, Source::plain(owner));
    }
    Draft {
        owner,
        calm: Told::plain(owner),
        acts: vec![Act { prefix, told: vec![(0, Told { sources, deaf: Vec::new() })] }],
        culprit: Some(attacker),
        roas: stage.roas(owner),
        ..Draft::default()
    }
}

/// A stranger to the owner and to everybody on the tail.
fn attacker(stage: &mut Stage<'_>, owner: Node, tail: &[Asn]) -> Option<Node> {
    let mut others: Vec<Node> = tail.iter().filter_map(|asn| stage.internet.node(*asn)).collect();
    others.push(owner);
    stage.stranger(&others)
}

/// The way up from an owner, its number last.
fn climb(stage: &mut Stage<'_>, owner: Node, steps: usize) -> Option<Vec<Asn>> {
    let mut tail = vec![stage.internet.asn(owner)];
    let mut at = owner;
    for _ in 0..steps {
        let above = stage.internet.related(at, Relation::Provider);
        at = stage.random.pick(&above).copied()?;
        tail.insert(0, stage.internet.asn(at));
    }
    Some(tail)
}

fn invent(stage: &mut Stage<'_>, owner: Node) -> Option<Vec<Asn>> {
    let nobody = stage.internet.free_number(stage.random);
    Some(vec![nobody, stage.internet.asn(owner)])
}
