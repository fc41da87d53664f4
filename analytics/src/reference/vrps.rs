//! VRPs: which AS may originate which prefix, and route origin validation (RFC 6811).
//!
//! Prefixes are kept by length in one hash table; a route is looked up once for each length that any
//! VRP has. [`read`] reads what relying parties write, [`loss`] says what vanished between two sets.

pub mod loss;
mod read;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;

use schemas::bgp::{Asn, Family, Prefix};
use schemas::finding::RpkiState;
pub use schemas::reference::Vrp;
use schemas::tables::Text;
use schemas::time::Timestamp;
use serde::{Deserialize, Serialize};

pub(super) use read::AsnText;
pub use read::ReadVrps;

/// A VRP that expires sooner than this after its set was made is about to: relying parties tell anew what
/// lasts, and a router drops what was not told anew for as long (RFC 8210 §6).
pub const ROA_EXPIRY_SECS: i64 = 7_200;

/// What RFC 6811 §2 says of a route, with the reason of an invalid one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OriginValidity {
    /// A VRP covers the prefix, names its origin and allows its length.
    Valid,
    /// VRPs cover the prefix, and none names its origin.
    InvalidAsn,
    /// A VRP names the origin, and the prefix is longer than it allows.
    InvalidLength,
    /// No VRP covers the prefix.
    NotFound,
}

impl OriginValidity {
    /// What it is without the reason.
    #[must_use]
    pub const fn state(self) -> RpkiState {
        match self {
            Self::Valid => RpkiState::Valid,
            Self::InvalidAsn | Self::InvalidLength => RpkiState::Invalid,
            Self::NotFound => RpkiState::NotFound,
        }
    }

    /// The word in `route_updates.rpki_state` and `findings.rpki_state`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.state().as_str()
    }
}

/// What is kept of a VRP beside its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    asn: Asn,
    /// Seconds; 0: not told.
    expires_secs: u32,
    max_length: u8,
    /// Index of its trust anchor, from 1; 0: not told.
    anchor: u8,
}

/// Validated ROA payloads.
#[derive(Debug, Default)]
pub struct Vrps {
    by_prefix: HashMap<Prefix, Vec<Entry>>,
    /// Lengths that occur.
    lengths: BTreeMap<Family, BTreeSet<u8>>,
    anchors: Vec<Text>,
    len: usize,
    /// What expires by then counts no more once it has; what expires later is due to be told anew
    /// before. None: nothing expires.
    expiry_known_until: Option<Timestamp>,
}

impl Vrps {
    /// Those that a cache told.
    #[must_use]
    pub fn of(vrps: impl IntoIterator<Item = Vrp>) -> Self {
        let mut all = Self::default();
        for vrp in vrps {
            // One whose length is none of its prefix would match nothing.
            let _ = all.insert(vrp, None);
        }
        all
    }

    /// None if the length is none of this prefix (RFC 6482 §3.3). Of two that say the same, the one
    /// that lasts longer counts.
    pub(super) fn insert(&mut self, vrp: Vrp, anchor: Option<&str>) -> Option<()> {
        let Vrp { prefix, asn, max_length, expires } = vrp;
        if max_length < prefix.length() || max_length > prefix.family().bits() {
            return None;
        }
        let anchor = anchor.map_or(0, |name| self.anchor(name));
        let expires_secs = expires.map_or(0, |time| u32::try_from(time.secs()).unwrap_or(0));
        let entries = self.by_prefix.entry(prefix).or_default();
        match entries.iter_mut().find(|e| (e.max_length, e.asn) == (max_length, asn)) {
            Some(known) => {
                let lasts = |secs: u32| if secs == 0 { u32::MAX } else { secs };
                if lasts(expires_secs) > lasts(known.expires_secs) {
                    (known.expires_secs, known.anchor) = (expires_secs, anchor);
                }
            }
            None => {
                entries.push(Entry { asn, expires_secs, max_length, anchor });
                self.len += 1;
                self.lengths.entry(prefix.family()).or_default().insert(prefix.length());
            }
        }
        Some(())
    }

    fn anchor(&mut self, name: &str) -> u8 {
        let known = self.anchors.iter().position(|known| **known == *name);
        let index = known.unwrap_or_else(|| {
            self.anchors.push(name.into());
            self.anchors.len() - 1
        });
        // More than there will ever be: the rest is of nobody.
        u8::try_from(index + 1).unwrap_or(0)
    }

    /// How many are known.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether none is known.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Says until when what expires counts no more.
    #[must_use]
    pub fn expiring_until(self, until: Option<Timestamp>) -> Self {
        Self { expiry_known_until: until, ..self }
    }

    /// The validity of a route at a time. `origin` is none for a path that is empty or ends in a set:
    /// such a route matches no VRP (RFC 6811 §2). AS 0 matches none either (RFC 6483 §4).
    #[must_use]
    pub fn validity(&self, prefix: &Prefix, origin: Option<Asn>, at: Timestamp) -> OriginValidity {
        let mut validity = OriginValidity::NotFound;
        for (_, entry) in self.covering_entries(prefix, at) {
            let is_named = origin == Some(entry.asn) && entry.asn.0 != 0;
            validity = match (is_named, prefix.length() <= entry.max_length) {
                (true, true) => return OriginValidity::Valid,
                (true, false) => OriginValidity::InvalidLength,
                (false, _) if validity == OriginValidity::InvalidLength => validity,
                (false, _) => OriginValidity::InvalidAsn,
            };
        }
        validity
    }

    /// The VRPs that cover a prefix at a time, in order.
    #[must_use]
    pub fn covering(&self, prefix: &Prefix, at: Timestamp) -> BTreeSet<Vrp> {
        self.covering_entries(prefix, at).map(|(prefix, entry)| entry.vrp(prefix)).collect()
    }

    fn covering_entries(
        &self,
        prefix: &Prefix,
        at: Timestamp,
    ) -> impl Iterator<Item = (Prefix, &Entry)> {
        let prefix = *prefix;
        let lengths = self.lengths.get(&prefix.family()).into_iter();
        lengths.flat_map(move |known| known.range(..=prefix.length())).flat_map(move |length| {
            let covering = Prefix::of(prefix.address(), *length);
            let entries = self.by_prefix.get(&covering).into_iter().flatten();
            entries
                .filter(move |entry| !self.is_over(entry, at))
                .map(move |entry| (covering, entry))
        })
    }

    /// Whether a VRP has expired, as far as this set can know.
    fn is_over(&self, entry: &Entry, at: Timestamp) -> bool {
        entry.expires_secs != 0 && self.expiry(entry).is_some_and(|expires| expires <= at)
    }

    /// When it counts no more; none if that is not known.
    fn expiry(&self, entry: &Entry) -> Option<Timestamp> {
        let expires = Timestamp::from_secs(entry.expires_secs.into());
        (entry.expires_secs != 0 && expires <= self.expiry_known_until?).then_some(expires)
    }

    /// VRPs that cover a prefix and count no more from a known time on.
    pub(crate) fn expiring(&self, prefix: &Prefix) -> impl Iterator<Item = (Timestamp, Vrp)> {
        self.covering_entries(prefix, Timestamp::MIN)
            .filter_map(|(prefix, entry)| Some((self.expiry(entry)?, entry.vrp(prefix))))
    }

    /// Every VRP that counts no more from a known time on.
    pub(crate) fn all_expiring(&self) -> impl Iterator<Item = (Timestamp, Vrp)> {
        // Most sets tell of none.
        let known = self.expiry_known_until.map(|_| &self.by_prefix);
        known.into_iter().flatten().flat_map(|(prefix, entries)| {
            entries.iter().filter_map(|entry| Some((self.expiry(entry)?, entry.vrp(*prefix))))
        })
    }

    /// All of them, in order.
    fn sorted(&self) -> Vec<(Vrp, Option<&Text>)> {
        let mut all: Vec<(Vrp, Option<&Text>)> = Vec::with_capacity(self.len);
        for (prefix, entries) in &self.by_prefix {
            let anchor = |entry: &Entry| {
                usize::from(entry.anchor).checked_sub(1).and_then(|at| self.anchors.get(at))
            };
            all.extend(entries.iter().map(|entry| (entry.vrp(*prefix), anchor(entry))));
        }
        all.sort_unstable();
        all
    }

    /// The same set as text, equal for equal sets: CSV as rpki-client writes it.
    #[must_use]
    pub fn to_csv(&self) -> Vec<u8> {
        let mut text = String::with_capacity(40 * self.len + 64);
        text.push_str("ASN,IP Prefix,Max Length,Trust Anchor,Expires\n");
        for (vrp, anchor) in self.sorted() {
            let Vrp { prefix, asn, max_length, expires } = vrp;
            let anchor = anchor.map_or("", |anchor| &**anchor);
            let expires = expires.map(|time| time.secs().to_string()).unwrap_or_default();
            // Writing to a text cannot fail.
            let _ = writeln!(text, "{asn},{prefix},{max_length},{anchor},{expires}");
        }
        text.into_bytes()
    }
}

impl Entry {
    fn vrp(&self, prefix: Prefix) -> Vrp {
        let expires =
            (self.expires_secs != 0).then(|| Timestamp::from_secs(self.expires_secs.into()));
        Vrp { prefix, asn: self.asn, max_length: self.max_length, expires }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTINATOR: &str = r#"{"metadata":{},"roas":[
        {"asn":"AS64510","prefix":"203.0.113.0/24","maxLength":25,"ta":"arin"},
        {"asn":"AS0","prefix":"198.51.100.0/24","maxLength":32,"ta":"arin"},
        {"asn":"AS64511","prefix":"2001:db8::/32","maxLength":48,"ta":"ripe"}]}"#;

    const AT: Timestamp = Timestamp::from_secs(1_772_618_400);

    fn read(text: &str) -> Vrps {
        Vrps::read(text.as_bytes()).unwrap()
    }

    fn sorted(vrps: &Vrps) -> Vec<Vrp> {
        vrps.sorted().into_iter().map(|(vrp, _)| vrp).collect()
    }

    #[test]
    fn every_form_says_the_same() {
        let list = r#"[{"prefix":"203.0.113.0/24","maxLength":25,"asn":"64510"},
            {"prefix":"198.51.100.0/24","maxLength":32,"asn":0},
            {"prefix":"2001:db8::/32","maxLength":48,"asn":64511}]"#;
        let csv = "ASN,IP Prefix,Max Length,Trust Anchor\nAS64510,203.0.113.0/24,25,arin\n\
                   AS0,198.51.100.0/24,32,arin\nAS64511,2001:db8::/32,48,ripe\n";
        let bare = "64510,203.0.113.0/24,25\n0,198.51.100.0/24,32\n64511,2001:db8::/32,48,True\n";
        let ripe = "URI,ASN,IP Prefix,Max Length,Not Before\nrsync://x,AS64510,203.0.113.0/24,25,x\n\
                    rsync://x,AS0,198.51.100.0/24,32,x\nrsync://x,AS64511,2001:db8::/32,48,x\n";
        let wanted = sorted(&read(ROUTINATOR));
        for form in [list, csv, bare, ripe] {
            assert_eq!(sorted(&read(form)), wanted, "{form}");
        }
    }

    #[test]
    fn rfc_6811_clause_by_clause() {
        use OriginValidity::{InvalidAsn, InvalidLength, NotFound, Valid};
        let vrps = read(ROUTINATOR);
        let cases = [
            ("203.0.113.0/24", Some(64_510), Valid),
            ("203.0.113.128/25", Some(64_510), Valid),
            ("203.0.113.128/26", Some(64_510), InvalidLength),
            ("203.0.113.0/24", Some(64_511), InvalidAsn),
            ("203.0.113.128/26", Some(64_511), InvalidAsn),
            // Covered, and the origin cannot be told: no VRP matches.
            ("203.0.113.0/24", None, InvalidAsn),
            // AS 0 says that nobody may.
            ("198.51.100.0/24", Some(0), InvalidAsn),
            // A VRP covers what lies in it, not what lies around it.
            ("203.0.112.0/23", Some(64_510), NotFound),
            ("192.0.2.0/24", Some(64_510), NotFound),
            ("2001:db8:1::/48", Some(64_511), Valid),
            ("2001:db8:1:2::/64", Some(64_511), InvalidLength),
            ("2001:db9::/32", Some(64_511), NotFound),
        ];
        for (prefix, origin, wanted) in cases {
            let prefix = prefix.parse().unwrap();
            assert_eq!(vrps.validity(&prefix, origin.map(Asn), AT), wanted, "{prefix} {origin:?}");
        }
        // One VRP that matches suffices, whatever the others say.
        let two = read("64511,203.0.113.0/24,24\n64510,203.0.112.0/22,24\n");
        assert_eq!(two.validity(&"203.0.113.0/24".parse().unwrap(), Some(Asn(64_510)), AT), Valid);
    }

    #[test]
    fn what_is_no_vrp_is_named() {
        for (text, line) in [
            ("64510,203.0.113.0/24,24\n64510,203.0.113.0/24,23\n", 2),
            ("64510,203.0.113.0/24,33\n", 1),
            ("x,203.0.113.0/24,24\n", 1),
            (r#"[{"prefix":"203.0.113.0/33","maxLength":33,"asn":1}]"#, 1),
        ] {
            let refused = Vrps::read(text.as_bytes()).unwrap_err().to_string();
            assert!(refused.starts_with(&format!("line {line}:")), "{refused}");
        }
        assert!(Vrps::read("{\"roas\": 3}".as_bytes()).is_err());
        assert!(read("").is_empty());
    }

    #[test]
    fn what_expires_counts_until_then_where_that_is_known() {
        let text = format!(
            "asn,prefix,maxlength,expires\n64510,203.0.113.0/24,24,{}\n",
            AT.plus_secs(60).secs()
        );
        let prefix = "203.0.113.0/24".parse().unwrap();
        let state =
            |vrps: &Vrps, secs| vrps.validity(&prefix, Some(Asn(64_510)), AT.plus_secs(secs));
        let vrps = read(&text).expiring_until(Some(AT.plus_secs(7_200)));
        assert_eq!(state(&vrps, 59), OriginValidity::Valid);
        assert_eq!(state(&vrps, 60), OriginValidity::NotFound);
        assert_eq!(vrps.expiring(&prefix).map(|(at, _)| at).next(), Some(AT.plus_secs(60)));
        for until in [None, Some(AT.plus_secs(59))] {
            let vrps = read(&text).expiring_until(until);
            assert_eq!(state(&vrps, 86_400), OriginValidity::Valid, "it was due to be told anew");
            assert_eq!(vrps.expiring(&prefix).count(), 0);
        }
    }
}
