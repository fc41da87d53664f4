//! AS paths on the wire: the value of `AS_PATH` in, numbers out, without allocation
//! (RFC 4271 §4.3, RFC 5065 §3, RFC 6793).
//!
//! A two-octet speaker sends `AS_TRANS` in `AS_PATH` and the true numbers in `AS4_PATH`;
//! [`PathView::merged`] puts the two together by counting, as RFC 6793 §4.2.3 says. The segments of
//! the two need not line up.

use schemas::bgp::{AsPath, AsSegment, Asn, SegmentKind};

use crate::decode::cursor::Cursor;

/// Octets of an AS number in a message (RFC 6793 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsnWidth {
    /// Two, as RFC 4271 had it.
    Two,
    /// Four, as both speakers agreed on.
    Four,
}

impl AsnWidth {
    /// The width in octets.
    #[inline]
    #[must_use]
    pub const fn octets(self) -> usize {
        match self {
            Self::Two => 2,
            Self::Four => 4,
        }
    }
}

/// Whether the segments fill the value exactly, each of a known kind and none empty
/// (RFC 7606 §7.2). An empty value is an empty path.
#[inline]
#[must_use]
pub fn is_well_formed(value: &[u8], width: AsnWidth) -> bool {
    // Nearly all paths are one segment.
    if let [1..=4, count, numbers @ ..] = value
        && numbers.len() == usize::from(*count) * width.octets()
    {
        return *count > 0;
    }
    let mut input = Cursor::new(value);
    while !input.is_empty() {
        if next_segment(&mut input, width).is_none() {
            return false;
        }
    }
    true
}

#[inline]
fn next_segment<'a>(input: &mut Cursor<'a>, width: AsnWidth) -> Option<Segment<'a>> {
    let [kind, count] = input.array("path segment").ok()?;
    let kind = SegmentKind::from_wire(kind)?;
    let bytes = input.take("path segment", usize::from(count) * width.octets()).ok()?;
    (count > 0).then_some(Segment { kind, bytes, width })
}

/// One segment as it was sent.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// What the numbers mean to each other.
    pub kind: SegmentKind,
    bytes: &'a [u8],
    width: AsnWidth,
}

impl<'a> Segment<'a> {
    /// Its numbers in the order sent.
    #[inline]
    pub fn asns(&self) -> impl Iterator<Item = Asn> + use<'a> {
        let number =
            |octets: &[u8]| octets.iter().fold(0, |sum, octet| sum << 8 | u32::from(*octet));
        self.bytes.chunks_exact(self.width.octets()).map(move |octets| Asn(number(octets)))
    }

    /// What it adds to the length of a path: a set counts one, a confederation nothing
    /// (RFC 4271 §9.1.2.2, RFC 5065 §5.3).
    fn hops(&self) -> usize {
        match self.kind {
            SegmentKind::Sequence => self.bytes.len() / self.width.octets(),
            SegmentKind::Set => 1,
            SegmentKind::ConfedSequence | SegmentKind::ConfedSet => 0,
        }
    }

    /// Without its first number; nothing if that was all, or if it is no sequence.
    fn without_first(self) -> Option<Self> {
        let bytes = self.bytes.get(self.width.octets()..).filter(|bytes| !bytes.is_empty())?;
        (self.kind == SegmentKind::Sequence).then_some(Self { bytes, ..self })
    }

    /// Its first numbers, `hops` of them at most.
    fn lead(self, hops: usize) -> Self {
        match self.kind {
            SegmentKind::Sequence => {
                let octets = hops.saturating_mul(self.width.octets());
                Self { bytes: self.bytes.get(..octets).unwrap_or(self.bytes), ..self }
            }
            _ => self,
        }
    }
}

/// A path as it stands in a message, `AS4_PATH` merged in.
#[derive(Clone, Copy, Debug)]
pub struct PathView<'a> {
    value: &'a [u8],
    width: AsnWidth,
    /// How many hops of `value` count, and what stands behind them.
    merge: Option<(usize, &'a [u8])>,
    /// Whether the first number is left out.
    is_stripped: bool,
}

impl<'a> PathView<'a> {
    /// The path of one attribute value.
    #[inline]
    #[must_use]
    pub const fn new(value: &'a [u8], width: AsnWidth) -> Self {
        Self { value, width, merge: None, is_stripped: false }
    }

    /// The path of `AS_PATH` with two-octet numbers and `AS4_PATH`: as many leading numbers of the
    /// first as it has more than the second, then the second (RFC 6793 §4.2.3). An `AS4_PATH` that
    /// is longer than the `AS_PATH` is not believed.
    #[must_use]
    pub fn merged(as_path: &'a [u8], as4_path: &'a [u8]) -> Self {
        let length = |path: Self| path.segments().map(|segment| segment.hops()).sum::<usize>();
        let plain = Self::new(as_path, AsnWidth::Two);
        let (old_hops, new_hops) = (length(plain), length(Self::new(as4_path, AsnWidth::Four)));
        match old_hops.checked_sub(new_hops) {
            Some(lead) if new_hops > 0 => Self { merge: Some((lead, as4_path)), ..plain },
            _ => plain,
        }
    }

    /// The path without its first number, if it begins with a sequence.
    #[must_use]
    pub const fn stripped(self) -> Self {
        Self { is_stripped: true, ..self }
    }

    /// The first two numbers of a path that begins with a sequence.
    #[must_use]
    pub fn first_two(&self) -> Option<(Asn, Option<Asn>)> {
        let first = self.segments().next().filter(|first| first.kind == SegmentKind::Sequence)?;
        let mut asns = first.asns();
        Some((asns.next()?, asns.next()))
    }

    /// Its segments. Where a merge cuts a sequence in two, both parts are segments.
    #[inline]
    pub fn segments(&self) -> impl Iterator<Item = Segment<'a>> + use<'a> {
        let (mut left, as4_path) = self.merge.unwrap_or((usize::MAX, &[]));
        let (mut input, width) = (Cursor::new(self.value), self.width);
        let mut is_leading = true;
        let lead = std::iter::from_fn(move || {
            let segment = next_segment(&mut input, width)?;
            let hops = segment.hops();
            // A confederation at the front or next to what is kept is kept too (RFC 6793 §4.2.3).
            if hops > 0 && left == 0 || hops == 0 && left == 0 && !is_leading {
                return None;
            }
            let kept = segment.lead(left);
            is_leading = left >= hops;
            left = left.saturating_sub(hops);
            Some(kept)
        });
        let mut input = Cursor::new(as4_path);
        let is_confed = |kind| matches!(kind, SegmentKind::ConfedSequence | SegmentKind::ConfedSet);
        // RFC 6793 §6: confederation segments in AS4_PATH are left out.
        let tail = std::iter::from_fn(move || next_segment(&mut input, AsnWidth::Four));
        let all = lead.chain(tail.filter(move |segment| !is_confed(segment.kind)));
        let mut strips = self.is_stripped;
        all.filter_map(move |segment| match std::mem::take(&mut strips) {
            true => segment.without_first(),
            false => Some(segment),
        })
    }

    /// All its numbers in order, sets too.
    #[inline]
    pub fn asns(&self) -> impl Iterator<Item = Asn> + use<'a> {
        self.segments().flat_map(|segment| segment.asns())
    }

    /// The path with its numbers copied. Parts of one sequence that a merge cut are joined.
    #[must_use]
    pub fn decode(&self) -> AsPath {
        let mut path = AsPath::default();
        let stripped = usize::from(self.is_stripped);
        let mut cut_at = self.merge.map(|(lead, _)| lead.saturating_sub(stripped));
        for segment in self.segments() {
            let joins = cut_at == Some(0) && segment.kind == SegmentKind::Sequence;
            match path.segments.last_mut() {
                Some(last) if joins && last.kind == SegmentKind::Sequence => {
                    last.asns.extend(segment.asns());
                }
                _ => {
                    let asns = segment.asns().collect();
                    path.segments.push(AsSegment { kind: segment.kind, asns });
                }
            }
            cut_at = match cut_at {
                Some(0) | None => None,
                Some(lead) => Some(lead.saturating_sub(segment.hops())),
            };
        }
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(width: AsnWidth, segments: &[(u8, &[u32])]) -> Vec<u8> {
        let mut value = vec![];
        for (kind, asns) in segments {
            value.extend([*kind, asns.len() as u8]);
            for asn in *asns {
                value.extend(&asn.to_be_bytes()[4 - width.octets()..]);
            }
        }
        value
    }

    fn merged(old: &[(u8, &[u32])], new: &[(u8, &[u32])]) -> String {
        let (old, new) = (wire(AsnWidth::Two, old), wire(AsnWidth::Four, new));
        let view = PathView::merged(&old, &new);
        let path = view.decode();
        assert_eq!(view.asns().collect::<Vec<_>>(), path.asns().collect::<Vec<_>>());
        path.to_string()
    }

    #[test]
    fn as4_path_replaces_the_tail_of_as_path_by_count() {
        let old: (u8, &[u32]) = (2, &[64_500, 23_456, 23_456]);
        assert_eq!(merged(&[old], &[(2, &[400_001, 400_002])]), "64500 400001 400002");
        assert_eq!(merged(&[old], &[(2, &[64_500, 400_001, 400_002])]), "64500 400001 400002");
        assert_eq!(merged(&[old], &[]), "64500 23456 23456");
        assert_eq!(merged(&[old], &[(2, &[1, 2, 3, 4])]), "64500 23456 23456");
    }

    #[test]
    fn segments_of_the_two_paths_need_not_line_up() {
        let old: [(u8, &[u32]); 2] = [(2, &[64_500, 64_501, 23_456]), (1, &[23_456, 64_503])];
        assert_eq!(
            merged(&old, &[(2, &[400_001]), (1, &[400_002, 64_503])]),
            "64500 64501 400001 {400002,64503}"
        );
        assert_eq!(merged(&old, &[(1, &[400_002, 64_503])]), "64500 64501 23456 {400002,64503}");
        let split: [(u8, &[u32]); 2] = [(2, &[64_500, 64_501]), (2, &[23_456])];
        assert_eq!(merged(&split, &[(2, &[400_000, 400_001])]), "64500 400000 400001");
    }

    #[test]
    fn a_confederation_counts_nothing_and_stays_in_front() {
        let old: [(u8, &[u32]); 2] = [(3, &[65_000, 65_001]), (2, &[64_500, 23_456])];
        assert_eq!(merged(&old, &[(2, &[400_001])]), "(65000 65001) 64500 400001");
        assert_eq!(merged(&old, &[(2, &[64_500, 400_001])]), "(65000 65001) 64500 400001");
    }

    #[test]
    fn a_segment_that_is_empty_unknown_or_cut_is_malformed() {
        let good = wire(AsnWidth::Four, &[(2, &[1, 2]), (1, &[3])]);
        assert!(is_well_formed(&good, AsnWidth::Four) && is_well_formed(&[], AsnWidth::Two));
        for cut in 1..good.len() {
            assert_eq!(is_well_formed(&good[..cut], AsnWidth::Four), cut == 10, "{cut}");
        }
        assert!(
            !is_well_formed(&[2, 0], AsnWidth::Four)
                && !is_well_formed(&[5, 1, 0, 1], AsnWidth::Two)
        );
    }
}
