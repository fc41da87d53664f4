//! ASPAs: who the providers of an AS are, by its own word, and the verification of paths by them
//! (draft-ietf-sidrops-aspa-verification-28).

use std::collections::{BTreeSet, HashMap};
use std::io::BufRead;

use schemas::bgp::{AsPath, Asn};
use serde::Deserialize;

use super::ReferenceError;
use super::vrps::AsnText;

/// What a path is by the attestations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AspaState {
    /// Every step is attested.
    Valid,
    /// Nothing speaks against it, and something is not attested.
    Unknown,
    /// An attestation speaks against it.
    Invalid,
}

impl AspaState {
    /// The word in `route_updates.aspa_state`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Unknown => "unknown",
            Self::Invalid => "invalid",
        }
    }
}

/// Which way a route came to its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From a customer, a peer, a route server or its client: it must have gone upwards only.
    Upstream,
    /// From a provider: it may have gone up and then down. What a collector is told is judged so.
    Downstream,
}

/// What one AS attests of another as its provider (§4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attested {
    Nothing,
    Provider,
    NotProvider,
}

/// Attestations by customer.
#[derive(Debug, Default)]
pub struct Aspas {
    providers: HashMap<Asn, BTreeSet<Asn>>,
}

impl Aspas {
    /// Reads JSON as Routinator or rpki-client write it, `{"aspas": [...]}`. Several attestations of
    /// one customer count together.
    ///
    /// # Errors
    /// [`ReferenceError`] at the first entry that is not of either form.
    pub fn read(reader: impl BufRead) -> Result<Self, ReferenceError> {
        let file: File = serde_json::from_reader(reader).map_err(std::io::Error::from)?;
        let mut aspas = Self::default();
        for (number, entry) in (1..).zip(file.aspas) {
            let providers: Option<Vec<Asn>> = entry.providers.iter().map(AsnText::number).collect();
            let (Some(customer), Some(providers)) = (entry.customer.number(), providers) else {
                return Err(ReferenceError::Malformed {
                    line: number,
                    text: "an attestation".to_owned(),
                    wanted: "one with AS numbers as customer and providers",
                });
            };
            aspas.insert(customer, providers);
        }
        Ok(aspas)
    }

    /// Adds what an AS attests.
    pub fn insert(&mut self, customer: Asn, providers: impl IntoIterator<Item = Asn>) {
        self.providers.entry(customer).or_default().extend(providers);
    }

    /// The same attestations as text, equal for equal ones.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut customers: Vec<(&Asn, &BTreeSet<Asn>)> = self.providers.iter().collect();
        customers.sort_unstable_by_key(|(customer, _)| **customer);
        let attestation = |(customer, providers)| serde_json::json!({ "customer": customer, "providers": providers });
        let aspas: Vec<serde_json::Value> = customers.into_iter().map(attestation).collect();
        serde_json::json!({ "aspas": aspas }).to_string().into_bytes()
    }

    /// How many ASes attest.
    #[must_use]
    pub fn len(&self) -> usize {
        self.providers.len()
    }

    /// Whether none does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.providers.is_empty()
    }

    /// Whether one of two ASes attests the other as its provider.
    #[must_use]
    pub fn attest(&self, a: Asn, b: Asn) -> bool {
        [(a, b), (b, a)].into_iter().any(|(a, b)| self.attested(a, b) == Attested::Provider)
    }

    /// The state of a path as `neighbour` told it. The client of a route server hears a path that
    /// need not begin with its neighbour.
    #[must_use]
    pub fn verify(
        &self,
        path: &AsPath,
        neighbour: Asn,
        direction: Direction,
        is_route_server_client: bool,
    ) -> AspaState {
        let first = path.hops().next();
        let begins = first == Some(neighbour) || is_route_server_client;
        if path.has_set() || first.is_none() || !begins {
            return AspaState::Invalid;
        }
        self.verify_hops(&path.hops_from_origin().collect::<Vec<_>>(), direction)
    }

    /// The state of a path whose prepends are collapsed, from the origin on.
    #[must_use]
    pub fn verify_hops(&self, hops: &[Asn], direction: Direction) -> AspaState {
        // Steps from the origin up, and from the receiver's neighbour up, that are not ruled out
        // (max) or that are attested (min): lengths of ramps, counted in ASes.
        let up = |stops: &dyn Fn(Attested) -> bool| {
            let pairs = hops.iter().zip(hops.iter().skip(1));
            ramp(pairs.map(|(customer, provider)| self.attested(*customer, *provider)), stops)
        };
        let down = |stops: &dyn Fn(Attested) -> bool| {
            let pairs = hops.iter().rev().zip(hops.iter().rev().skip(1));
            ramp(pairs.map(|(customer, provider)| self.attested(*customer, *provider)), stops)
        };
        let ruled_out = |attested| attested == Attested::NotProvider;
        let not_attested = |attested| attested != Attested::Provider;
        let (most, least) = match direction {
            Direction::Upstream => (up(&ruled_out), up(&not_attested)),
            Direction::Downstream => {
                (up(&ruled_out) + down(&ruled_out), up(&not_attested) + down(&not_attested))
            }
        };
        match hops.len() {
            all if most < all => AspaState::Invalid,
            all if least < all => AspaState::Unknown,
            _ => AspaState::Valid,
        }
    }

    /// Where a path that is invalid breaks, hops from the origin on: the last place of the ramp up, and
    /// the place of the AS that surely passed the route on wrongly. None for a path that is not invalid.
    /// `hops[up]` attests that `hops[up + 1]` is no provider of its; behind that the route must go down
    /// only, and `hops[culprit + 1]` attests that it did not (downstream), or the receiver knows it
    /// (upstream, where the receiver is a provider or peer of the last AS).
    #[must_use]
    pub fn break_of(&self, hops: &[Asn], direction: Direction) -> Option<(usize, usize)> {
        if self.verify_hops(hops, direction) != AspaState::Invalid {
            return None;
        }
        let ruled_out = |attested| attested == Attested::NotProvider;
        let up = hops.iter().zip(hops.iter().skip(1));
        let up = ramp(up.map(|(a, b)| self.attested(*a, *b)), &ruled_out) - 1;
        let culprit = match direction {
            Direction::Upstream => hops.len().checked_sub(1)?,
            Direction::Downstream => {
                let down = hops.iter().rev().zip(hops.iter().rev().skip(1));
                let down = ramp(down.map(|(a, b)| self.attested(*a, *b)), &ruled_out);
                hops.len().checked_sub(down + 1)?
            }
        };
        Some((up, culprit))
    }

    fn attested(&self, customer: Asn, provider: Asn) -> Attested {
        match self.providers.get(&customer) {
            None => Attested::Nothing,
            Some(providers) if providers.contains(&provider) => Attested::Provider,
            Some(_) => Attested::NotProvider,
        }
    }
}

/// ASes up to the first step that stops it.
fn ramp(steps: impl Iterator<Item = Attested>, stops: &dyn Fn(Attested) -> bool) -> usize {
    1 + steps.take_while(|step| !stops(*step)).count()
}

#[derive(Deserialize)]
struct File {
    aspas: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(alias = "customer_asid")]
    customer: AsnText,
    providers: Vec<AsnText>,
}

#[cfg(test)]
mod tests {
    use schemas::bgp::{AsSegment, SegmentKind};

    use super::*;

    #[test]
    fn both_relying_parties_are_read() {
        let routinator =
            r#"{"aspas":[{"customer":"AS64510","providers":["AS64500","AS64501"],"ta":"x"}]}"#;
        let rpki_client = r#"{"roas":[],"aspas":[{"customer_asid":64510,"expires":1,"providers":[64500]},
            {"customer_asid":64510,"expires":1,"providers":[64501]}]}"#;
        for text in [routinator, rpki_client] {
            let aspas = Aspas::read(text.as_bytes()).unwrap();
            assert!(
                aspas.attest(Asn(64_500), Asn(64_510)) && aspas.attest(Asn(64_510), Asn(64_501))
            );
            assert!(!aspas.attest(Asn(64_510), Asn(64_502)) && aspas.len() == 1);
        }
        assert!(Aspas::read("[]".as_bytes()).is_err());
        let wrong = r#"{"aspas":[{"customer":"x","providers":[]}]}"#;
        assert!(Aspas::read(wrong.as_bytes()).unwrap_err().to_string().starts_with("line 1:"));
    }

    /// Paths over AS 1 to 5, where 1 buys from 2, 2 from 3, 4 from 3 and 5 from 4.
    #[test]
    fn ramps_go_up_and_down_once() {
        let mut aspas = Aspas::default();
        for (customer, provider) in [(1, 2), (2, 3), (4, 3), (5, 4), (3, 0)] {
            aspas.insert(Asn(customer), [Asn(provider)]);
        }
        let state = |hops: &[u32], direction| {
            let hops: Vec<Asn> = hops.iter().copied().map(Asn).collect();
            aspas.verify_hops(&hops, direction)
        };
        use AspaState::{Invalid, Unknown, Valid};
        assert_eq!(state(&[1, 2, 3], Direction::Upstream), Valid);
        assert_eq!(state(&[1, 2, 3, 4], Direction::Upstream), Invalid);
        assert_eq!(state(&[1, 2, 3, 4, 5], Direction::Downstream), Valid);
        assert_eq!(state(&[1, 2, 9, 4, 5], Direction::Downstream), Invalid);
        assert_eq!(state(&[9, 2, 3], Direction::Upstream), Unknown);
        assert_eq!(state(&[1], Direction::Upstream), Valid);
    }

    /// AS 3 buys from 2 and from 4, and passes the route of the one to the other.
    #[test]
    fn an_invalid_path_names_the_hop_where_it_breaks() {
        let mut aspas = Aspas::default();
        for (customer, provider) in [(1, 2), (2, 0), (4, 0), (3, 2), (3, 4)] {
            aspas.insert(Asn(customer), [Asn(provider)]);
        }
        let hops = |hops: &[u32]| hops.iter().copied().map(Asn).collect::<Vec<_>>();
        let leaked = hops(&[1, 2, 3, 4]);
        assert_eq!(aspas.break_of(&leaked, Direction::Downstream), Some((1, 2)));
        assert_eq!(aspas.break_of(&hops(&[1, 2, 3]), Direction::Downstream), None);
        assert_eq!(aspas.break_of(&hops(&[1, 2, 3]), Direction::Upstream), Some((1, 2)));
        assert_eq!(aspas.break_of(&hops(&[3, 4]), Direction::Upstream), None);
        assert_eq!(aspas.break_of(&[], Direction::Downstream), None);
    }

    /// Consecutive entries of one kind as a segment, nearest first.
    fn path(origin_first: &[serde_json::Value]) -> AsPath {
        let mut segments: Vec<AsSegment> = Vec::new();
        for entry in origin_first.iter().rev() {
            let asn = number(&entry[0]);
            let kind = if entry[1] == "seq" { SegmentKind::Sequence } else { SegmentKind::Set };
            match segments.last_mut().filter(|segment| segment.kind == kind) {
                Some(segment) => segment.asns.push(asn),
                None => segments.push(AsSegment { kind, asns: vec![asn] }),
            }
        }
        AsPath { segments }
    }

    fn number(value: &serde_json::Value) -> Asn {
        Asn(u32::try_from(value.as_u64().unwrap()).unwrap())
    }

    /// The vectors of the draft's authors, from the shared data.
    #[test]
    fn every_vector_is_answered_as_the_draft_does() {
        let folder = std::env::var("PEERSCOPE_DATA").unwrap_or("../../shared/data".to_owned());
        let file = std::path::Path::new(&folder).join("reference/aspa_vectors.json");
        let Ok(text) = std::fs::read(&file) else {
            println!("skipped: {} is not there", file.display());
            return;
        };
        let vectors: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let mut aspas = Aspas::default();
        for (customer, providers) in vectors["aspa_records"].as_object().unwrap() {
            let providers = providers.as_array().unwrap().iter().map(number);
            aspas.insert(Asn(customer.parse().unwrap()), providers);
        }
        let vectors = vectors["vectors"].as_array().unwrap();
        assert_eq!(vectors.len(), 49);
        for (index, vector) in vectors.iter().enumerate() {
            let path = path(vector["path_origin_first"].as_array().unwrap());
            let direction = match vector["direction"].as_str().unwrap() {
                "upstream" => Direction::Upstream,
                _ => Direction::Downstream,
            };
            let is_client = vector["ix_client"].as_bool().unwrap();
            let state = aspas.verify(&path, number(&vector["neighbor"]), direction, is_client);
            let wanted = vector["expected"].as_str().unwrap().to_lowercase();
            assert_eq!(state.as_str(), wanted, "vector {index}: {vector}");
        }
    }
}
