//! Forged paths: where a path stops being believable, and who made it up.
//!
//! A forger puts the numbers of others behind his own, so a path of his is true from the peer down
//! to him and invented from there to the origin. From the origin it is followed over links that the
//! baseline or the relationships know. The first one that nobody knows is the joint; the forger sits
//! to its left, at the end of the run of unknown links that begins there (he may have invented more
//! than one AS). Two things keep that run from reaching too far: all routes of one forger share the
//! part of the path that he wrote, so he is never left of what all witnesses have in common; and an
//! AS that sells transit has new customers every day, so a new link of its proves nothing.
//!
//! An AS that stands twice on a path with others between cannot have heard its own route (RFC 4271
//! §9.1.2): it wrote them itself. An AS that passes a provider's or peer's route of a part of our
//! prefix on to a provider or peer is no honest relay of it either (RFC 7908).

use schemas::bgp::Asn;
use serde::{Deserialize, Serialize};

use super::{Facts, valley};

/// Where a path stops being believable, in hops from the origin, which is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Joint {
    /// Where the believable part ends.
    pub(super) at: usize,
    /// The furthest AS that may have written it.
    pub(super) reach: usize,
    /// What shows it.
    pub(super) sign: Sign,
}

/// What shows that a path is forged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Sign {
    /// A link that nobody knows.
    UnknownLink,
    /// An AS that stands on it twice.
    Loop,
    /// An AS that passes on what it should keep.
    Valley,
}

/// Whom a forged path points at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Forger {
    /// The AS.
    pub(super) asn: Asn,
    /// Links between the origin and the end of the believable part; none where several new links
    /// meet in the forger and none of them is the forged one.
    pub(super) distance: Option<usize>,
    /// Why another may have done it as well as he.
    pub(super) doubt: Option<Doubt>,
}

/// Why a forger is not placed for sure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Doubt {
    /// The paths do not tell yet.
    Unplaced,
    /// Nobody knows him but the path, and the seller of transit next to him may have invented him.
    Stranger,
}

/// What the witnesses of a case have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Common {
    /// Hops from the origin that all their paths share.
    pub(super) hops: usize,
    /// Whether there is one witness only.
    pub(super) is_alone: bool,
    /// Whether the paths end in the right origin.
    pub(super) origin_is_right: bool,
    /// Whether they are of a part of our prefix.
    pub(super) is_part: bool,
}

/// The joint of a path, hops from the origin on. None where every link is known.
pub(super) fn joint(hops: &[Asn], group: &str, facts: &Facts<'_>) -> Option<Joint> {
    let looped = hops.iter().enumerate().find_map(|(at, asn)| {
        let again = hops.iter().skip(at + 1).position(|other| other == asn)?;
        Some(Joint { at: at + again, reach: at + 1 + again, sign: Sign::Loop })
    });
    if looped.is_some() {
        return looped;
    }
    let links: Vec<bool> = hops
        .iter()
        .zip(hops.iter().skip(1))
        .map(|(right, left)| facts.knows_link(group, *left, *right))
        .collect();
    let at = links.iter().position(|known| !known)?;
    let run = links.iter().skip(at).take_while(|known| !**known).count();
    Some(Joint { at, reach: at + run, sign: Sign::UnknownLink })
}

/// The first AS, from the origin, that passes a provider's or peer's route to a provider or peer.
pub(super) fn valley(hops: &[Asn], facts: &Facts<'_>) -> Option<Joint> {
    let first = *valley::all(hops, facts.reference).first()?;
    Some(Joint { at: first.at.saturating_sub(1), reach: first.at, sign: Sign::Valley })
}

/// Who forged the paths of a case, by one of them. None where the origin itself is the better
/// suspect.
pub(super) fn forger(
    hops: &[Asn],
    joint: Joint,
    common: Common,
    facts: &Facts<'_>,
) -> Option<Forger> {
    let Common { is_alone, origin_is_right, is_part, .. } = common;
    let known = &facts.reference.relationships;
    let asn = |at: usize| hops.get(at).copied();
    if joint.sign != Sign::UnknownLink {
        return Some(Forger { asn: asn(joint.reach)?, distance: None, doubt: None });
    }
    let distance = Some(joint.at + 1);
    let reach = joint.reach.min(common.hops.saturating_sub(1));
    if reach <= joint.at {
        // New links of several ASes meet here. A part of our prefix was made here, then; our very
        // prefix has more neighbours, or several forgers.
        return match (origin_is_right, is_part && joint.at > 0) {
            (false, _) => None,
            (true, true) => Some(Forger { asn: asn(joint.at)?, distance: None, doubt: None }),
            (true, false) => {
                Some(Forger { asn: asn(joint.at + 1)?, distance, doubt: Some(Doubt::Unplaced) })
            }
        };
    }
    let candidates = joint.at + 1..=reach;
    let small = |at: &usize| asn(*at).is_some_and(|asn| !known.sells_transit(asn));
    let is_choice = candidates.clone().filter(small).count() > 1;
    match candidates.rev().find(small) {
        Some(at) => {
            let is_seller = |at| asn(at).is_some_and(|asn| known.sells_transit(asn));
            let is_stranger =
                is_part && !known.is_known(asn(at)?) && at < reach && is_seller(at + 1);
            let doubt = match (is_alone && is_choice, is_stranger) {
                (true, _) => Some(Doubt::Unplaced),
                (false, true) => Some(Doubt::Stranger),
                (false, false) => None,
            };
            Some(Forger { asn: asn(at)?, distance, doubt })
        }
        // Only sellers of transit: of a foreign origin that is new they are the ordinary upstream.
        None if !origin_is_right => None,
        None => {
            let doubt = is_alone.then_some(Doubt::Unplaced);
            Some(Forger { asn: asn(joint.at + 1)?, distance, doubt })
        }
    }
}
