//! `AS_PATH`: the segments a route came through, nearest AS first (RFC 4271 §4.3, RFC 5065).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Asn;

/// Kind of a path segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SegmentKind {
    /// `AS_SET` (1): unordered, deprecated by RFC 9774.
    Set,
    /// `AS_SEQUENCE` (2).
    Sequence,
    /// `AS_CONFED_SEQUENCE` (3, RFC 5065).
    ConfedSequence,
    /// `AS_CONFED_SET` (4, RFC 5065).
    ConfedSet,
}

impl SegmentKind {
    /// The kind that a segment type octet names, if any.
    #[must_use]
    pub const fn from_wire(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Set),
            2 => Some(Self::Sequence),
            3 => Some(Self::ConfedSequence),
            4 => Some(Self::ConfedSet),
            _ => None,
        }
    }
}

/// One segment of a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AsSegment {
    /// What the numbers mean to each other.
    pub kind: SegmentKind,
    /// The numbers as they were sent.
    pub asns: Vec<Asn>,
}

/// A route's path: the AS that sent it first, its origin last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AsPath {
    /// The segments as they were sent.
    pub segments: Vec<AsSegment>,
}

impl AsPath {
    /// A path of one `AS_SEQUENCE`, nearest AS first; empty without numbers.
    #[must_use]
    pub fn sequence(asns: impl IntoIterator<Item = u32>) -> Self {
        let asns: Vec<Asn> = asns.into_iter().map(Asn).collect();
        if asns.is_empty() {
            return Self::default();
        }
        Self { segments: vec![AsSegment { kind: SegmentKind::Sequence, asns }] }
    }

    /// The path that a text of the column `as_path_text` tells; what is no number is passed over.
    #[must_use]
    pub fn of_text(text: &str) -> Self {
        let mut segments = Vec::new();
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let (kind, close) = match first {
                '{' => (SegmentKind::Set, Some('}')),
                '(' => (SegmentKind::ConfedSequence, Some(')')),
                '[' => (SegmentKind::ConfedSet, Some(']')),
                _ => (SegmentKind::Sequence, None),
            };
            let end = match close {
                Some(close) => rest.find(close).map(|at| at + 1),
                None => rest.find(['{', '(', '[']),
            };
            let (segment, behind) = rest.split_at(end.unwrap_or(rest.len()));
            let numbers = segment.split(|c: char| !c.is_ascii_digit());
            let asns: Vec<Asn> = numbers.filter_map(|asn| asn.parse().ok()).map(Asn).collect();
            if !asns.is_empty() {
                segments.push(AsSegment { kind, asns });
            }
            rest = behind.trim_start();
        }
        Self { segments }
    }

    /// All numbers in order, sets too: the column `as_path`.
    pub fn asns(&self) -> impl Iterator<Item = Asn> + '_ {
        self.segments.iter().flat_map(|segment| segment.asns.iter().copied())
    }

    /// The origin: the last number of the last sequence. None for an empty path and for one that
    /// ends in a set (RFC 6811 §2 says `NONE` there).
    #[must_use]
    pub fn origin(&self) -> Option<Asn> {
        self.segments
            .last()
            .filter(|segment| segment.kind == SegmentKind::Sequence)
            .and_then(|segment| segment.asns.last().copied())
    }

    /// Whether a set of either kind is in it.
    #[must_use]
    pub fn has_set(&self) -> bool {
        use SegmentKind::{ConfedSet, Set};
        self.segments.iter().any(|segment| matches!(segment.kind, Set | ConfedSet))
    }

    /// The numbers of the sequences with repeats next to each other taken as one: the path as links
    /// are judged on it.
    pub fn hops(&self) -> impl Iterator<Item = Asn> + Clone + '_ {
        distinct(self.sequences())
    }

    /// The same from the origin on.
    pub fn hops_from_origin(&self) -> impl Iterator<Item = Asn> + Clone + '_ {
        distinct(self.sequences().rev())
    }

    /// Each two ASes that stand next to each other in [`Self::hops`].
    pub fn links(&self) -> impl Iterator<Item = (Asn, Asn)> + '_ {
        self.hops().zip(self.hops().skip(1))
    }

    fn sequences(&self) -> impl DoubleEndedIterator<Item = Asn> + Clone + '_ {
        let sequences = self.segments.iter().filter(|of| of.kind == SegmentKind::Sequence);
        sequences.flat_map(|segment| segment.asns.iter().copied())
    }
}

fn distinct(asns: impl Iterator<Item = Asn> + Clone) -> impl Iterator<Item = Asn> + Clone {
    let mut last = None;
    asns.filter(move |asn| last.replace(*asn) != Some(*asn))
}

impl fmt::Display for AsPath {
    /// As `bgpdump -m` prints it: `{1,2}` for a set, `(1 2)` and `[1,2]` inside a confederation.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, segment) in self.segments.iter().enumerate() {
            let (open, between, close) = match segment.kind {
                SegmentKind::Sequence => ("", " ", ""),
                SegmentKind::Set => ("{", ",", "}"),
                SegmentKind::ConfedSequence => ("(", " ", ")"),
                SegmentKind::ConfedSet => ("[", ",", "]"),
            };
            f.write_str(if index > 0 { " " } else { "" })?;
            f.write_str(open)?;
            for (place, asn) in segment.asns.iter().enumerate() {
                write!(f, "{}{}", if place > 0 { between } else { "" }, asn.0)?;
            }
            f.write_str(close)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_ends_in_a_set_has_no_origin() {
        let mut path = AsPath::sequence([64_500, 64_500, 64_510]);
        assert_eq!(path.origin(), Some(Asn(64_510)));
        assert!(path.hops().eq([Asn(64_500), Asn(64_510)]));
        assert!(path.hops_from_origin().eq([Asn(64_510), Asn(64_500)]));
        assert!(path.links().eq([(Asn(64_500), Asn(64_510))]));
        path.segments.push(AsSegment { kind: SegmentKind::Set, asns: vec![Asn(1), Asn(2)] });
        assert_eq!((path.origin(), path.has_set()), (None, true));
        assert_eq!(path.to_string(), "64500 64500 64510 {1,2}");
    }

    #[test]
    fn a_path_reads_as_it_was_written() {
        for text in ["", "64500", "64500 64500 64510 {1,2}", "(64512 64513) 64500 [7,8] 64510"] {
            assert_eq!(AsPath::of_text(text).to_string(), text);
        }
        assert_eq!(AsPath::of_text("64500 {1,2"), AsPath::of_text("64500 {1,2}"));
        assert_eq!(AsPath::of_text("64500 {} x 64510").to_string(), "64500 64510");
    }
}
