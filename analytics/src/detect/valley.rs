//! Valleys: a path with the way each of its links goes, from the origin on, and the ASes that passed
//! a route on to whom they should not.
//!
//! A route may go up from customers to providers, across to one peer, then down to customers. Who has
//! it from a provider or peer passes it to customers only (RFC 7908 §3.1 to §3.4). ASes of one company
//! are one here: a link between them goes no way. Behind a link whose way nobody knows, what came
//! before proves nothing.

use schemas::bgp::Asn;
use schemas::finding::LeakType;

use crate::reference::{Reference, Relationship};

/// Which way a route goes over a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// To a provider.
    Up,
    /// To a peer.
    Across,
    /// To a customer.
    Down,
    /// Within one company.
    Within,
    /// Nobody knows.
    Unknown,
}

/// The way from `right`, which passes the route on, to `left`.
pub(super) fn step(right: Asn, left: Asn, reference: &Reference) -> Step {
    if reference.organisations.shared_by(left, right).is_some() {
        return Step::Within;
    }
    match reference.relationships.between(left, right) {
        Some(Relationship::ProviderOf) => Step::Up,
        Some(Relationship::Peer) => Step::Across,
        Some(Relationship::CustomerOf) => Step::Down,
        None => Step::Unknown,
    }
}

/// An AS that passed a provider's or peer's route on to a provider or peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Valley {
    /// Its place on the path, from the origin.
    pub(super) at: usize,
    /// Place of the provider or peer whose route it is.
    pub(super) from: usize,
    /// The type of RFC 7908.
    pub(super) leak_type: LeakType,
}

/// All valleys of a path, hops from the origin on.
pub(super) fn all(hops: &[Asn], reference: &Reference) -> Vec<Valley> {
    let mut valleys = Vec::new();
    // Where the route last went across or down, and whether it went down.
    let mut fell: Option<(usize, bool)> = None;
    for (at, (right, left)) in hops.iter().zip(hops.iter().skip(1)).enumerate() {
        let step = step(*right, *left, reference);
        if let (Step::Up | Step::Across, Some((from, is_down))) = (step, fell) {
            let leak_type = match (is_down, step) {
                (true, Step::Up) => LeakType::Hairpin,
                (true, _) => LeakType::ProviderToPeer,
                (false, Step::Up) => LeakType::PeerToProvider,
                (false, _) => LeakType::Lateral,
            };
            valleys.push(Valley { at, from, leak_type });
        }
        fell = match step {
            Step::Down => Some((at, true)),
            Step::Across => Some((at, false)),
            Step::Within => fell,
            Step::Up | Step::Unknown => None,
        };
    }
    valleys
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{AsRelationships, Organisations};

    /// 1 and 2 are providers of 10, 3 and 4 its peers, 20 its customer; 11 is its sibling.
    fn reference() -> Reference {
        let links = "1|10|-1\n2|10|-1\n3|10|0\n4|10|0\n10|20|-1\n2|11|-1\n1|30|-1\n";
        Reference {
            relationships: AsRelationships::read(links.as_bytes()).unwrap().into(),
            organisations: Organisations::read("asn,organisation\n10,X\n11,X\n".as_bytes())
                .unwrap()
                .into(),
            ..Reference::default()
        }
    }

    fn types(hops: &[u32]) -> Vec<(usize, u8)> {
        let hops: Vec<Asn> = hops.iter().copied().map(Asn).collect();
        all(&hops, &reference()).iter().map(|v| (v.at, v.leak_type.number())).collect()
    }

    #[test]
    fn rfc_7908_3_1_a_hairpin_turn_goes_from_provider_to_provider() {
        assert_eq!(types(&[30, 1, 10, 2]), [(2, 1)]);
    }

    #[test]
    fn rfc_7908_3_2_a_lateral_leak_goes_from_peer_to_peer() {
        assert_eq!(types(&[3, 10, 4]), [(1, 2)]);
    }

    #[test]
    fn rfc_7908_3_3_a_providers_route_goes_to_a_peer() {
        assert_eq!(types(&[1, 10, 3]), [(1, 3)]);
    }

    #[test]
    fn rfc_7908_3_4_a_peers_route_goes_to_a_provider() {
        assert_eq!(types(&[3, 10, 1]), [(1, 4)]);
    }

    #[test]
    fn what_goes_up_across_and_down_is_no_leak() {
        for path in [&[20, 10, 1][..], &[20, 10, 3], &[1, 10, 20], &[3, 10, 20], &[30, 1, 10, 20]] {
            assert_eq!(types(path), [], "{path:?}");
        }
    }

    #[test]
    fn a_company_is_one_and_an_unknown_link_proves_nothing() {
        assert_eq!(types(&[1, 10, 11, 2]), [(2, 1)], "its other AS passed it on");
        assert_eq!(types(&[20, 10, 11, 2]), [], "a customer's route");
        assert_eq!(types(&[1, 10, 99, 2]), []);
        assert_eq!(types(&[]), []);
    }
}
