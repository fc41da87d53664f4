//! AS relationships: CAIDA's serial-1 (`provider|customer|-1`, `peer|peer|0`) and serial-2 (the same
//! with a source behind it). Header lines start with `#`.

use std::collections::HashMap;
use std::io::BufRead;

use schemas::bgp::Asn;

use super::ReferenceError;

/// What one AS is to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relationship {
    /// The first sells transit to the second.
    ProviderOf,
    /// The first buys transit from the second.
    CustomerOf,
    /// Neither pays.
    Peer,
}

/// Known relationships between ASes.
#[derive(Debug, Default)]
pub struct AsRelationships {
    /// By (lower number, higher number), as seen from the lower.
    pairs: HashMap<(Asn, Asn), Relationship>,
}

impl AsRelationships {
    /// Reads either format.
    ///
    /// # Errors
    /// [`ReferenceError`] at the first line that is not of the format.
    pub fn read(reader: impl BufRead) -> Result<Self, ReferenceError> {
        let mut pairs = HashMap::new();
        for (number, line) in (1..).zip(reader.lines()) {
            let line = line?;
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            let Some((a, b, relationship)) = parse(&line) else {
                return Err(ReferenceError::Malformed {
                    line: number,
                    text: line,
                    wanted: "provider|customer|-1 or peer|peer|0",
                });
            };
            let (key, value) = ordered(a, b, relationship);
            pairs.insert(key, value);
        }
        Ok(Self { pairs })
    }

    /// How many pairs are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// What `a` is to `b`.
    #[must_use]
    pub fn between(&self, a: Asn, b: Asn) -> Option<Relationship> {
        let known = *self.pairs.get(&(a.min(b), a.max(b)))?;
        Some(if a <= b { known } else { flipped(known) })
    }
}

fn parse(line: &str) -> Option<(Asn, Asn, Relationship)> {
    let mut fields = line.split('|');
    let mut number = || fields.next()?.trim().parse().ok().map(Asn);
    let (a, b) = (number()?, number()?);
    match fields.next()?.trim() {
        "-1" => Some((a, b, Relationship::ProviderOf)),
        "0" => Some((a, b, Relationship::Peer)),
        _ => None,
    }
}

fn ordered(a: Asn, b: Asn, relationship: Relationship) -> ((Asn, Asn), Relationship) {
    if a <= b { ((a, b), relationship) } else { ((b, a), flipped(relationship)) }
}

const fn flipped(relationship: Relationship) -> Relationship {
    match relationship {
        Relationship::ProviderOf => Relationship::CustomerOf,
        Relationship::CustomerOf => Relationship::ProviderOf,
        Relationship::Peer => Relationship::Peer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_are_read_and_seen_from_either_side() {
        let text = "# source: x\n64500|64510|-1\n64501|64500|0|bgp\n";
        let known = AsRelationships::read(text.as_bytes()).unwrap();
        assert_eq!(known.between(Asn(64_500), Asn(64_510)), Some(Relationship::ProviderOf));
        assert_eq!(known.between(Asn(64_510), Asn(64_500)), Some(Relationship::CustomerOf));
        assert_eq!(known.between(Asn(64_500), Asn(64_501)), Some(Relationship::Peer));
        assert_eq!(known.between(Asn(64_501), Asn(64_510)), None);
    }

    #[test]
    fn a_line_of_another_format_is_named() {
        let refused = AsRelationships::read("1|2|-1\n1,2\n".as_bytes()).unwrap_err();
        assert!(refused.to_string().starts_with("line 2: \"1,2\""), "{refused}");
    }
}
