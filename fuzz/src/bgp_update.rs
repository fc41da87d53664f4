//! BGP UPDATE: a record subtype and the body of an UPDATE in (RFC 4271 §4.3).
//!
//! Promised: no panic; no more prefixes than bytes; what is borrowed and what is decoded say the
//! same; what was accepted says the same after it was encoded and decoded again.

use std::net::IpAddr;

use ingest::decode::bgp::AsnWidth;
use ingest::decode::mrt::{MrtRecord, kind};
use ingest::encode::bgpdump;
use ingest::encode::messages::{News, Path, messages};
use ingest::session::{Action, MrtSession, RouteSink, UpdateView};
use schemas::bgp::{Community, Disposition, PathAttributes, Prefix};
use schemas::time::Timestamp;

/// Subtypes of BGP4MP that hold a message (RFC 6396 §4.4, RFC 8050 §3).
const SUBTYPES: [u16; 8] = [1, 4, 6, 7, 8, 9, 10, 11];
/// Longest body: a message of 65,535 octets has a header of 19.
const BODY_BYTES_MAX: usize = 65_516;

/// One UPDATE as it was told.
#[derive(Debug, PartialEq)]
pub struct Told {
    /// What happened to which prefix.
    pub routes: Vec<(Action, Prefix, Option<u32>)>,
    /// The attributes, decoded.
    pub attributes: PathAttributes,
}

/// Keeps what a session tells, and holds its parts against each other.
#[derive(Default)]
pub struct Listener {
    /// All that was told.
    pub told: Vec<Told>,
    /// All of it as lines.
    pub lines: Vec<u8>,
    /// The form of the next lines.
    pub form: Option<bgpdump::Form>,
}

impl RouteSink for Listener {
    fn update(&mut self, update: &UpdateView<'_>) {
        let attributes = update.attributes.decode();
        assert_eq!(attributes.disposition, update.disposition);
        assert_eq!(attributes, update.attributes.decode());
        let borrowed: Vec<_> = update.attributes.as_path().asns().collect();
        assert_eq!(borrowed, attributes.as_path.asns().collect::<Vec<_>>());
        let mut scratch = vec![];
        assert!(update.attributes.key(&mut scratch).len() <= update.attributes.raw().len());
        let mut routes = vec![];
        update.for_each_prefix(|action, prefix, path_id| {
            assert!(prefix.length() <= prefix.family().bits());
            assert_eq!(prefix.to_string().parse(), Ok(prefix), "a prefix is canonical");
            let forced = update.disposition == Disposition::TreatAsWithdraw;
            assert!(!forced || action == Action::Withdraw);
            routes.push((action, prefix, path_id));
        });
        assert!(!routes.is_empty());
        let peer = update.header;
        let lines_before = self.lines.len();
        bgpdump::routes(&mut self.lines, self.form.unwrap_or(bgpdump::Form::LIVE), update, peer);
        let lines = self.lines[lines_before..].iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(lines, routes.len());
        self.told.push(Told { routes, attributes });
    }
}

/// A record of BGP4MP with this subtype around the body of an UPDATE.
fn record_body(subtype: u16, body: &[u8]) -> Vec<u8> {
    let asn_bytes = if matches!(subtype, 1 | 6 | 8 | 10) { 4 } else { 8 };
    let mut bytes = vec![1; asn_bytes];
    bytes.extend([0, 0, 0, 1, 192, 0, 2, 7, 192, 0, 2, 8]);
    bytes.extend([0xff; 16]);
    bytes.extend(u16::try_from(body.len() + 19).unwrap_or(u16::MAX).to_be_bytes());
    bytes.push(2);
    bytes.extend(body);
    bytes
}

fn told(session: &mut MrtSession, subtype: u16, body: &[u8]) -> Vec<Told> {
    let (mut listener, body) = (Listener::default(), record_body(subtype, body));
    let time = Timestamp::from_secs(1_400_000_000);
    let record = MrtRecord { time, kind: kind::BGP4MP, subtype, body: &body };
    let result = session.record(&record, &mut listener);
    assert!(result.is_ok() || listener.told.is_empty(), "a refused message tells nothing");
    listener.told
}

/// Reads a subtype and a body.
pub fn check(bytes: &[u8]) {
    let Some((choice, body)) = bytes.split_first() else { return };
    let body = &body[..body.len().min(BODY_BYTES_MAX)];
    let subtype = SUBTYPES[usize::from(*choice) % SUBTYPES.len()];
    let mut session = MrtSession::new("fuzz".into());
    let all = told(&mut session, subtype, body);
    let elements: usize = all.iter().map(|told| told.routes.len()).sum();
    assert!(elements <= body.len());
    assert_eq!(session.counts().updates.elements(), elements as u64);
    for told in &all {
        is_the_same_after_the_wire(told);
    }
    // A message leaves nothing behind that hurts the next one.
    let good = [0, 4, 24, 192, 0, 2, 0, 0];
    assert_eq!(self::told(&mut session, 4, &good).len(), 1);
}

/// Encodes what was accepted and reads it again.
fn is_the_same_after_the_wire(first: &Told) {
    let is_long = |segment: &schemas::bgp::AsSegment| segment.asns.len() > 255;
    if first.attributes.disposition != Disposition::Accepted
        || first.attributes.as_path.segments.iter().any(is_long)
    {
        return;
    }
    let of = |wanted: Action| -> Vec<Path> {
        let all = first.routes.iter().filter(|(action, ..)| *action == wanted);
        all.map(|(_, prefix, path_id)| (*prefix, *path_id)).collect()
    };
    let (withdrawn, announced) = (of(Action::Withdraw), of(Action::Announce));
    let has_path_ids = first.routes.iter().all(|(_, _, path_id)| path_id.is_some());
    if !has_path_ids && first.routes.iter().any(|(_, _, path_id)| path_id.is_some()) {
        return; // lists of both forms: no session sends that
    }
    let news = News {
        withdrawn: &withdrawn,
        announced: &announced,
        attributes: (!announced.is_empty()).then_some(&first.attributes),
        width: AsnWidth::Four,
        has_path_ids,
        message_bytes_max: u16::MAX,
    };
    let Ok(messages) = messages(&news) else { return };
    let mut session = MrtSession::new("fuzz".into());
    let mut again = vec![];
    for message in &messages {
        again.extend(told(&mut session, if has_path_ids { 9 } else { 4 }, &message[19..]));
    }
    if session.counts().updates.add_path_guesses > 0 {
        return; // a list that reads better with path identifiers, by chance
    }
    let sorted = |told: &[&Told]| {
        let mut routes: Vec<_> = told.iter().flat_map(|told| told.routes.clone()).collect();
        routes.sort_by_key(|(action, prefix, path_id)| {
            (*action == Action::Announce, *prefix, *path_id)
        });
        routes
    };
    assert_eq!(sorted(&again.iter().collect::<Vec<_>>()), sorted(&[first]));
    let announces = |told: &&Told| told.routes.iter().any(|route| route.0 == Action::Announce);
    for second in again.iter().filter(announces) {
        assert_eq!(canonical(&second.attributes), canonical(&first.attributes));
    }
}

/// The order of the encoder, and IPv4 next hops as the encoder maps them into IPv6.
fn canonical(attributes: &PathAttributes) -> PathAttributes {
    let mut all = attributes.clone();
    let rank = |community: &Community| match community {
        Community::Standard(_) => 0,
        Community::Extended(_) => 1,
        Community::ExtendedIpv6(_) => 2,
        Community::Large(..) => 3,
    };
    all.communities.sort_by_key(rank);
    all.next_hop = all.next_hop.map(|hop| match hop {
        IpAddr::V6(address) => address.to_canonical(),
        hop => hop,
    });
    all
}
