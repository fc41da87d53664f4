//! Loss: what vanished between two sets of VRPs. A few are edits; many at once are a fault of a trust
//! anchor or of the relying party, and no word of their owners.

use super::{Vrp, Vrps};
use schemas::tables::Text;

/// VRPs that may vanish at once, in percent of all.
pub const LOST_PERCENT_MAX: usize = 10;
/// VRPs of one trust anchor that may vanish at once, in percent of its own.
pub const ANCHOR_LOST_PERCENT_MAX: usize = 50;
/// A set, or an anchor, with fewer is too small for shares.
const VRPS_MIN: usize = 100;

/// More than may vanish at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// How many vanished.
    pub lost: usize,
    /// Of so many.
    pub of: usize,
    /// The trust anchor whose they were; none: of all.
    pub anchor: Option<Text>,
}

impl Vrps {
    /// Whether a newer set lacks more of this one than may vanish at once.
    #[must_use]
    pub fn lost_in(&self, newer: &Self) -> Option<Loss> {
        // By anchor; the first one is of those that name none.
        let mut counts = vec![(0, 0); self.anchors.len() + 1];
        for (prefix, entries) in &self.by_prefix {
            let left = newer.by_prefix.get(prefix).map_or(&[][..], Vec::as_slice);
            for entry in entries {
                let is_left =
                    left.iter().any(|e| (e.asn, e.max_length) == (entry.asn, entry.max_length));
                if let Some((lost, of)) = counts.get_mut(usize::from(entry.anchor)) {
                    *lost += usize::from(!is_left);
                    *of += 1;
                }
            }
        }
        let is_too_much =
            |lost: usize, of: usize, percent: usize| of >= VRPS_MIN && lost * 100 > of * percent;
        let (lost, of) = counts.iter().fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
        let anchors = self.anchors.iter().zip(counts.iter().skip(1));
        let of_anchor = anchors
            .filter(|(_, (lost, of))| is_too_much(*lost, *of, ANCHOR_LOST_PERCENT_MAX))
            .max_by_key(|(_, (lost, _))| *lost)
            .map(|(anchor, (lost, of))| Loss {
                lost: *lost,
                of: *of,
                anchor: Some(anchor.clone()),
            });
        let of_all =
            is_too_much(lost, of, LOST_PERCENT_MAX).then_some(Loss { lost, of, anchor: None });
        of_anchor.or(of_all)
    }

    /// Prefixes about which two sets differ, expiry apart.
    pub(crate) fn differing<'v>(
        &'v self,
        other: &'v Self,
    ) -> impl Iterator<Item = schemas::bgp::Prefix> + 'v {
        let differs = |a: &'v Self, b: &'v Self, both: bool| {
            a.by_prefix.iter().filter_map(move |(prefix, entries)| {
                let there = b.by_prefix.get(prefix).map_or(&[][..], Vec::as_slice);
                let key = |vrp: Vrp| (vrp.asn, vrp.max_length);
                let mut ours: Vec<_> = entries.iter().map(|e| key(e.vrp(*prefix))).collect();
                let mut theirs: Vec<_> = there.iter().map(|e| key(e.vrp(*prefix))).collect();
                ours.sort_unstable();
                theirs.sort_unstable();
                ((both || theirs.is_empty()) && ours != theirs).then_some(*prefix)
            })
        };
        differs(self, other, true).chain(differs(other, self, false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many VRPs of each anchor, without those of one anchor from a number on.
    fn set(anchors: &[(&str, usize)], without: Option<(&str, usize)>) -> Vrps {
        let mut text = "ASN,IP Prefix,Max Length,Trust Anchor\n".to_owned();
        for (at, (anchor, count)) in anchors.iter().enumerate() {
            for number in 0..*count {
                if without.is_none_or(|(name, from)| name != *anchor || number < from) {
                    text += &format!("64510,10.{at}.{number}.0/24,24,{anchor}\n");
                }
            }
        }
        Vrps::read(text.as_bytes()).unwrap()
    }

    #[test]
    fn an_anchor_that_goes_is_seen_where_all_would_not_tell() {
        let anchors = [("a", 200), ("b", 200), ("c", 200), ("d", 200), ("e", 200), ("f", 110)];
        let before = set(&anchors, None);
        assert_eq!(before.lost_in(&set(&anchors, Some(("f", 60)))), None, "45 % of one are edits");
        let lost = before.lost_in(&set(&anchors, Some(("f", 50)))).unwrap();
        assert_eq!(lost, Loss { lost: 60, of: 110, anchor: Some("f".into()) });
        let lost = before.lost_in(&set(&anchors, Some(("a", 80)))).unwrap();
        assert_eq!((lost.lost, lost.anchor.as_deref()), (120, Some("a")), "the anchor is named");
    }

    #[test]
    fn a_share_of_all_is_seen_without_anchors_and_small_sets_have_none() {
        let before = set(&[("", 200)], None);
        assert_eq!(before.lost_in(&set(&[("", 200)], Some(("", 180)))), None, "10 % may go");
        let lost = before.lost_in(&set(&[("", 200)], Some(("", 179)))).unwrap();
        assert_eq!(lost, Loss { lost: 21, of: 200, anchor: None });
        let few = set(&[("", 99)], None);
        assert_eq!(few.lost_in(&Vrps::default()), None);
        assert_eq!(Vrps::default().lost_in(&before), None, "nothing can be lost of nothing");
    }

    #[test]
    fn what_differs_is_named_from_both_sides() {
        let read = |text: &str| Vrps::read(text.as_bytes()).unwrap();
        let one =
            read("64510,192.0.2.0/24,24\n64510,198.51.100.0/24,24\n64510,203.0.113.0/24,24\n");
        let two = read("64510,192.0.2.0/24,25\n64510,198.51.100.0/24,24\n64510,2001:db8::/32,48\n");
        let mut told: Vec<String> = one.differing(&two).map(|prefix| prefix.to_string()).collect();
        told.sort();
        assert_eq!(told, ["192.0.2.0/24", "2001:db8::/32", "203.0.113.0/24"]);
        assert_eq!(one.differing(&one).count(), 0);
    }
}
