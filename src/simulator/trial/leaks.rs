//! Leaks on stage: the six types of RFC 7908, alone and in masses, marked, attested and one's own.

use super::{Act, Draft, Stage};
use crate::simulator::internet::spread::{Class, Source, Spread, Told};
use crate::simulator::internet::{Node, Rank};
use crate::simulator::topology::Relation;

type Drafts = Option<Vec<Draft>>;

/// A customer passes a route of one provider to another.
pub fn type_1(stage: &mut Stage<'_>) -> Drafts {
    leak(stage, Class::Provider, Relation::Provider)
}

/// From peer to peer.
pub fn type_2(stage: &mut Stage<'_>) -> Drafts {
    leak(stage, Class::Peer, Relation::Peer)
}

/// From provider to peer.
pub fn type_3(stage: &mut Stage<'_>) -> Drafts {
    leak(stage, Class::Provider, Relation::Peer)
}

/// From peer to provider.
pub fn type_4(stage: &mut Stage<'_>) -> Drafts {
    leak(stage, Class::Peer, Relation::Provider)
}

/// A customer announces what it heard as its own.
pub fn type_5(stage: &mut Stage<'_>) -> Drafts {
    let mut drafts = leak(stage, Class::Provider, Relation::Provider)?;
    for source in sources(&mut drafts).filter(|source| !source.tail.is_empty()) {
        source.tail.clear();
        source.via.clear();
    }
    Some(drafts)
}

/// The owner's internal parts get out, over all its providers.
pub fn type_6(stage: &mut Stage<'_>) -> Drafts {
    let (owner, _) = stage.owner_of(2)?;
    let ground = stage.ground();
    let act = |number| Act { prefix: ground.part(number), told: vec![(0, Told::plain(owner))] };
    Some(vec![Draft {
        owner,
        calm: Told::plain(owner),
        acts: (1..9).map(act).collect(),
        culprit: Some(owner),
        ..Draft::default()
    }])
}

/// One customer passes the routes of many.
pub fn mass(stage: &mut Stage<'_>) -> Drafts {
    let mut drafts = Vec::new();
    let first = leak(stage, Class::Provider, Relation::Provider)?;
    let leaker = first.first()?.culprit?;
    let grounds = stage.grounds;
    for ground in grounds {
        let draft = (0..40).find_map(|_| {
            let owner = stage.owner()?;
            let calm = Spread::of(stage.internet, &Told::plain(owner));
            let source = source(stage, &calm, leaker, Class::Provider, Relation::Provider)?;
            let mut draft = drafted(stage, owner, source);
            draft.acts.first_mut()?.prefix = ground.registered();
            Some(draft)
        });
        drafts.push(draft?);
    }
    Some(drafts)
}

/// The leaker is watched.
pub fn own(stage: &mut Stage<'_>) -> Drafts {
    let mut drafts = type_1(stage)?;
    for draft in &mut drafts {
        draft.watched = draft.culprit;
    }
    Some(drafts)
}

/// Who the leaker heard it from marks what it sells (RFC 9234).
pub fn marked(stage: &mut Stage<'_>) -> Drafts {
    let mut drafts = type_1(stage)?;
    for draft in &mut drafts {
        let tail = draft.acts.first()?.told.first()?.1.sources.get(1)?.tail.first().copied()?;
        draft.marks.push(stage.internet.node(tail)?);
    }
    Some(drafts)
}

/// Everybody on the way attests its providers.
pub fn attested(stage: &mut Stage<'_>) -> Drafts {
    let mut drafts = type_1(stage)?;
    for draft in &mut drafts {
        let told = &draft.acts.first()?.told.first()?.1;
        let leak = told.sources.get(1)?;
        let hops = leak.tail.iter().filter_map(|asn| stage.internet.node(*asn));
        draft.attests = hops.chain(leak.via.iter().copied()).chain([leak.node]).collect();
    }
    Some(drafts)
}

/// A watched AS announces a prefix that nobody registered.
pub fn unregistered(stage: &mut Stage<'_>) -> Drafts {
    let owner = stage.owner()?;
    let act = Act { prefix: stage.ground().beside(), told: vec![(0, Told::plain(owner))] };
    Some(vec![Draft {
        owner,
        calm: Told::plain(owner),
        acts: vec![act],
        culprit: Some(owner),
        watched: Some(owner),
        ..Draft::default()
    }])
}

fn sources(drafts: &mut [Draft]) -> impl Iterator<Item = &mut Source> {
    let acts = drafts.iter_mut().flat_map(|draft| &mut draft.acts);
    acts.flat_map(|act| &mut act.told).flat_map(|(_, told)| &mut told.sources)
}

/// Somebody who heard a route as `heard` passes it to its neighbours of the relation `to`.
fn leak(stage: &mut Stage<'_>, heard: Class, to: Relation) -> Drafts {
    let owner = stage.owner()?;
    let calm = Spread::of(stage.internet, &Told::plain(owner));
    let ranks: &[Rank] = match (heard, to) {
        (Class::Provider, Relation::Provider) => &[Rank::Regional, Rank::Stub],
        _ => &[Rank::Regional, Rank::Carrier, Rank::Content],
    };
    let source = (0..100).find_map(|_| {
        let leaker = stage.any(ranks)?;
        source(stage, &calm, leaker, heard, to)
    })?;
    Some(vec![drafted(stage, owner, source)])
}

fn drafted(stage: &mut Stage<'_>, owner: Node, source: Source) -> Draft {
    let culprit = Some(source.node);
    let told = Told { sources: vec![Source::plain(owner), source], deaf: Vec::new() };
    Draft {
        owner,
        calm: Told::plain(owner),
        acts: vec![Act { prefix: stage.registered(), told: vec![(0, told)] }],
        culprit,
        roas: stage.roas(owner),
        ..Draft::default()
    }
}

/// What a leaker announces, if its best route is of that class and it has whom to tell.
fn source(
    stage: &Stage<'_>,
    calm: &Spread,
    leaker: Node,
    heard: Class,
    to: Relation,
) -> Option<Source> {
    let internet = stage.internet;
    calm.held(leaker).filter(|held| held.class == heard)?;
    let (path, _) = calm.path(internet, leaker)?;
    let tail = path.get(1..)?.to_vec();
    let mut via = internet.related(leaker, to);
    via.retain(|node| !tail.contains(&internet.asn(*node)));
    if via.is_empty() || tail.is_empty() {
        return None;
    }
    via.extend(internet.related(leaker, Relation::Customer));
    Some(Source { node: leaker, tail, via, ..Source::default() })
}
