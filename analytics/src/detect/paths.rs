//! The paths of one case's witnesses in; how far they agree from the origin on, and which of them
//! breaks nearest to it, out. Kept while witnesses come and go: a storm has hundreds for each case.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemas::bgp::Asn;
use serde::{Deserialize, Serialize, Serializer};

use super::case::WitnessKey;
use super::forger::Joint;
use crate::counts::Counts;

/// Share of the witnesses whose paths must agree on a hop.
const SHARED_MIN: f64 = 0.95;

/// The path of each witness.
type ByWitness = BTreeMap<WitnessKey, (Arc<[Asn]>, Option<Joint>)>;

/// The paths of all witnesses, hops from the origin on. As bytes they are these alone: the rest follows
/// from them.
#[derive(Debug, Default, Deserialize)]
#[serde(from = "ByWitness")]
pub(super) struct Paths {
    of: ByWitness,
    /// Where paths stop being believable, the nearest first.
    joints: BTreeSet<(usize, usize, WitnessKey)>,
    /// The hops that nearly all of them share.
    run: Vec<Asn>,
    /// How many share so many of these hops, from none on: one more than there are hops.
    agree: Vec<u32>,
    /// Those that share them all, by the hop behind.
    behind: Counts<Asn>,
}

impl Paths {
    pub(super) fn len(&self) -> usize {
        self.of.len()
    }

    /// A witness shows this path (from now on).
    pub(super) fn insert(&mut self, key: WitnessKey, hops: Arc<[Asn]>, joint: Option<Joint>) {
        if self.of.get(&key).is_some_and(|(was, at)| *was == hops && *at == joint) {
            return;
        }
        self.take(key);
        self.joints.extend(joint.map(|joint| (joint.at, joint.reach, key)));
        self.count(&hops);
        self.of.insert(key, (hops, joint));
        self.settle();
    }

    /// A witness shows none any more.
    pub(super) fn remove(&mut self, key: WitnessKey) {
        self.take(key);
        self.settle();
    }

    /// How many hops from the origin on nearly all paths have in common.
    pub(super) const fn shared(&self) -> usize {
        self.run.len()
    }

    /// The path that stops being believable nearest to the origin.
    pub(super) fn nearest(&self) -> Option<(&[Asn], Joint)> {
        let (_, _, key) = self.joints.first()?;
        let (hops, joint) = self.of.get(key)?;
        Some((hops, (*joint)?))
    }

    fn take(&mut self, key: WitnessKey) {
        let Some((hops, joint)) = self.of.remove(&key) else { return };
        if let Some(joint) = joint {
            self.joints.remove(&(joint.at, joint.reach, key));
        }
        let same = self.same(&hops);
        self.agree.iter_mut().take(same + 1).for_each(|count| *count -= 1);
        if let Some(hop) = hops.get(same).filter(|_| same == self.run.len()) {
            self.behind.remove(*hop);
        }
    }

    fn count(&mut self, hops: &[Asn]) {
        let same = self.same(hops);
        self.agree.resize(self.run.len() + 1, 0);
        self.agree.iter_mut().take(same + 1).for_each(|count| *count += 1);
        if let Some(hop) = hops.get(same).filter(|_| same == self.run.len()) {
            self.behind.add(*hop);
        }
    }

    /// Hops of the run that a path shares.
    fn same(&self, hops: &[Asn]) -> usize {
        self.run.iter().zip(hops).take_while(|(run, hop)| run == hop).count()
    }

    /// Makes the run as long as it may be.
    fn settle(&mut self) {
        let enough = (self.of.len() as f64 * SHARED_MIN).ceil() as u32;
        let held = self.agree.iter().take_while(|count| **count >= enough).count();
        if held < self.agree.len() && !self.of.is_empty() {
            self.run.truncate(held.saturating_sub(1));
            self.recount();
        }
        loop {
            let next = self.behind.iter().find(|(_, count)| *count >= enough);
            let Some((hop, _)) = next else { return };
            self.run.push(hop);
            self.recount();
        }
    }

    fn recount(&mut self) {
        self.agree.clear();
        self.behind.clear();
        let all: Vec<Arc<[Asn]>> = self.of.values().map(|(hops, _)| Arc::clone(hops)).collect();
        all.iter().for_each(|hops| self.count(hops));
    }
}

impl From<ByWitness> for Paths {
    fn from(of: ByWitness) -> Self {
        let place = |(key, (_, joint)): (&WitnessKey, &(_, Option<Joint>))| {
            joint.map(|joint| (joint.at, joint.reach, *key))
        };
        let joints = of.iter().filter_map(place).collect();
        let mut paths = Self { of, joints, ..Self::default() };
        paths.recount();
        paths.settle();
        paths
    }
}

impl Serialize for Paths {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { of, joints: _, run: _, agree: _, behind: _ } = self;
        of.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::detect::forger::Sign;

    /// The same, looked for among all of them each time.
    fn naive(paths: &BTreeMap<u32, Vec<u32>>) -> usize {
        let mut left: Vec<&Vec<u32>> = paths.values().collect();
        let enough = (left.len() as f64 * SHARED_MIN).ceil() as usize;
        let mut shared = 0;
        loop {
            let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
            for asn in left.iter().filter_map(|path| path.get(shared)) {
                *counts.entry(*asn).or_default() += 1;
            }
            match counts.into_iter().max_by_key(|(_, count)| *count) {
                Some((most, count)) if count >= enough => {
                    left.retain(|path| path.get(shared) == Some(&most));
                    shared += 1;
                }
                _ => return shared,
            }
        }
    }

    const fn key(peer: u32) -> WitnessKey {
        WitnessKey { peer, path_id: None }
    }

    proptest! {
        #[test]
        fn they_share_what_a_search_of_all_says(
            told in prop::collection::vec(
                (0..40_u32, prop::option::weighted(0.8, prop::collection::vec(0..3_u32, 0..5))),
                0..120,
            )
        ) {
            let (mut paths, mut all) = (Paths::default(), BTreeMap::new());
            for (peer, path) in told {
                match path {
                    Some(path) => {
                        // Most begin alike.
                        let path: Vec<u32> = [1, 1].into_iter().chain(path).collect();
                        let hops = path.iter().copied().map(Asn).collect();
                        let joint = (path.len() > 3)
                            .then_some(Joint { at: path.len(), reach: 9, sign: Sign::Loop });
                        paths.insert(key(peer), hops, joint);
                        all.insert(peer, path);
                    }
                    None => {
                        paths.remove(key(peer));
                        all.remove(&peer);
                    }
                }
                prop_assert_eq!(paths.len(), all.len());
                if !all.is_empty() {
                    prop_assert_eq!(paths.shared(), naive(&all));
                }
                let nearest = all.values().map(Vec::len).filter(|hops| *hops > 3).min();
                prop_assert_eq!(paths.nearest().map(|(_, joint)| joint.at), nearest);
                if !all.is_empty() {
                    let saved = postcard::to_stdvec(&paths).unwrap();
                    let restored: Paths = postcard::from_bytes(&saved).unwrap();
                    prop_assert_eq!(format!("{restored:?}"), format!("{paths:?}"));
                }
            }
        }
    }
}
