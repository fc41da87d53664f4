//! AS relationships: CAIDA's serial-1 (`provider|customer|-1`, `peer|peer|0`) and serial-2 (the same
//! with a source behind it). Header lines start with `#`.

use std::collections::{HashMap, HashSet};
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

/// An AS with this many known customers lives from transit: a new customer of it is no surprise.
const TRANSIT_CUSTOMERS_MIN: u32 = 5;

/// Known relationships between ASes.
#[derive(Debug, Default)]
pub struct AsRelationships {
    /// By (lower number, higher number), as seen from the lower.
    pairs: HashMap<(Asn, Asn), Relationship>,
    /// How many customers of each AS are known; none for one that only buys.
    customers: HashMap<Asn, u32>,
    /// ASes that buy from nobody, by the header `# ... clique:`.
    clique: HashSet<Asn>,
    /// Pairs (lower, higher) about which two lines contradict each other.
    disputed: HashSet<(Asn, Asn)>,
    /// Route servers of exchanges, by the header `# IXP ASes:`.
    route_servers: HashSet<Asn>,
}

impl AsRelationships {
    /// Reads either format.
    ///
    /// # Errors
    /// [`ReferenceError`] at the first line that is not of the format.
    pub fn read(reader: impl BufRead) -> Result<Self, ReferenceError> {
        let mut known = Self::default();
        for (number, line) in (1..).zip(reader.lines()) {
            let line = line?;
            if line.starts_with('#') || line.trim().is_empty() {
                known.header(&line);
                continue;
            }
            let Some((a, b, relationship)) = parse(&line) else {
                return Err(ReferenceError::Malformed {
                    line: number,
                    text: line,
                    wanted: "provider|customer|-1 or peer|peer|0",
                });
            };
            known.insert(a, b, relationship);
        }
        Ok(known)
    }

    /// Of two lines about one pair the later one counts.
    fn insert(&mut self, a: Asn, b: Asn, relationship: Relationship) {
        let (key, value) = ordered(a, b, relationship);
        let before = self.pairs.insert(key, value);
        if before.is_some_and(|before| before != value) {
            self.disputed.insert(key);
        }
        for (relationship, step) in [(before, -1), (Some(value), 1)] {
            self.customers.entry(key.0).or_default();
            self.customers.entry(key.1).or_default();
            let provider = match relationship {
                Some(Relationship::ProviderOf) => key.0,
                Some(Relationship::CustomerOf) => key.1,
                Some(Relationship::Peer) | None => continue,
            };
            let customers = self.customers.entry(provider).or_default();
            *customers = customers.saturating_add_signed(step);
        }
    }

    /// `# inferred clique: 174 209` and `# IXP ASes: 1200 4635`; other headers say nothing of ASes.
    fn header(&mut self, line: &str) {
        let Some((title, list)) = line.split_once(':') else { return };
        let asns = list.split_whitespace().filter_map(|text| text.parse().ok()).map(Asn);
        if title.ends_with("clique") {
            self.clique.extend(asns);
        } else if title.ends_with("IXP ASes") {
            self.route_servers.extend(asns);
        }
    }

    /// Whether any relationship of it is known.
    #[must_use]
    pub fn is_known(&self, asn: Asn) -> bool {
        self.customers.contains_key(&asn)
    }

    /// Whether it lives from transit: in the clique, or with several customers.
    #[must_use]
    pub fn sells_transit(&self, asn: Asn) -> bool {
        self.clique.contains(&asn)
            || self.customers.get(&asn).is_some_and(|count| *count >= TRANSIT_CUSTOMERS_MIN)
    }

    /// Whether it buys from nobody, by the header.
    #[must_use]
    pub fn is_in_clique(&self, asn: Asn) -> bool {
        self.clique.contains(&asn)
    }

    /// Whether the file contradicts itself about two ASes: the later line counts, with doubt.
    #[must_use]
    pub fn is_disputed(&self, a: Asn, b: Asn) -> bool {
        self.disputed.contains(&(a.min(b), a.max(b)))
    }

    /// Whether it is the route server of an exchange, which passes routes on and is no hop.
    #[must_use]
    pub fn is_route_server(&self, asn: Asn) -> bool {
        self.route_servers.contains(&asn)
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
    fn headers_and_customers_tell_who_sells_transit() {
        let text = "# inferred clique: 174 209\n# IXP ASes: 1200\n1|11|-1\n1|12|-1\n1|13|-1\n1|14|-1\n\
                    1|15|-1\n2|11|-1\n3|21|-1\n3|22|-1\n3|23|-1\n3|24|-1\n3|25|-1\n3|25|0\n";
        let known = AsRelationships::read(text.as_bytes()).unwrap();
        let sells = [174, 209, 1, 2, 3, 1200].map(|asn| known.sells_transit(Asn(asn)));
        assert_eq!(sells, [true, true, true, false, false, false], "the later line counts");
        assert!(known.is_route_server(Asn(1200)) && !known.is_route_server(Asn(1)));
    }

    #[test]
    fn lines_that_contradict_each_other_are_remembered() {
        let text = "1|2|-1\n1|2|-1\n2|3|-1\n3|2|-1\n4|5|0\n5|4|-1\n";
        let known = AsRelationships::read(text.as_bytes()).unwrap();
        assert!(!known.is_disputed(Asn(2), Asn(1)), "said twice");
        assert!(known.is_disputed(Asn(2), Asn(3)) && known.is_disputed(Asn(5), Asn(4)));
        assert_eq!(known.between(Asn(3), Asn(2)), Some(Relationship::ProviderOf));
    }

    #[test]
    fn a_line_of_another_format_is_named() {
        let refused = AsRelationships::read("1|2|-1\n1,2\n".as_bytes()).unwrap_err();
        assert!(refused.to_string().starts_with("line 2: \"1,2\""), "{refused}");
    }
}
