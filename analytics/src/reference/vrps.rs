//! VRPs: which AS may originate which prefix, and route origin validation (RFC 6811).
//!
//! Read as relying parties write them: JSON of Routinator and rpki-client (`{"roas": [...]}`) or a bare
//! list, and their CSV, recognised by its header. Prefixes are kept by length in one hash table; a
//! route is looked up once for each length that any VRP has.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::BufRead;

use schemas::bgp::{Asn, Family, Prefix};
use serde::Deserialize;

use super::ReferenceError;

/// What RFC 6811 §2 says of a route, with the reason of an invalid one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// The word in `route_updates.rpki_state` and `findings.rpki_state`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::InvalidAsn | Self::InvalidLength => "invalid",
            Self::NotFound => "not_found",
        }
    }
}

/// Validated ROA payloads.
#[derive(Debug, Default)]
pub struct Vrps {
    /// Longest length and AS number of each VRP, by its prefix.
    by_prefix: HashMap<Prefix, Vec<(u8, Asn)>>,
    /// Lengths that occur.
    lengths: BTreeMap<Family, BTreeSet<u8>>,
    len: usize,
}

impl Vrps {
    /// Reads any of the forms.
    ///
    /// # Errors
    /// [`ReferenceError`] at the first line, or entry of a JSON list, that is not of its form.
    pub fn read(mut reader: impl BufRead) -> Result<Self, ReferenceError> {
        let is_json =
            reader.fill_buf()?.trim_ascii_start().first().is_some_and(|c| b"{[".contains(c));
        if is_json { Self::read_json(reader) } else { Self::read_csv(reader) }
    }

    fn read_json(reader: impl BufRead) -> Result<Self, ReferenceError> {
        let entries = match serde_json::from_reader(reader).map_err(std::io::Error::from)? {
            Json::Export { roas } | Json::List(roas) => roas,
        };
        let mut vrps = Self::default();
        for (number, entry) in (1..).zip(entries) {
            let text = format!("{} {} {:?}", entry.prefix, entry.asn.text(), entry.max_length);
            let added = entry
                .asn
                .number()
                .and_then(|asn| vrps.insert(entry.prefix.parse().ok()?, entry.max_length, asn));
            added.ok_or(ReferenceError::Malformed { line: number, text, wanted: WANTED })?;
        }
        Ok(vrps)
    }

    fn read_csv(reader: impl BufRead) -> Result<Self, ReferenceError> {
        let mut vrps = Self::default();
        // Without a header: AS number, prefix, length.
        let mut columns = [0, 1, 2];
        for (number, line) in (1..).zip(reader.lines()) {
            let line = line?;
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(found) = header(&line) {
                columns = found;
                continue;
            }
            let fields: Vec<&str> =
                line.split(',').map(|field| field.trim().trim_matches('"')).collect();
            let [asn, prefix, max_length] = columns.map(|column| fields.get(column).copied());
            let added = asn.and_then(parse_asn).and_then(|asn| {
                let max_length = max_length.filter(|text| !text.is_empty());
                let max_length = max_length.map(str::parse).transpose().ok()?;
                vrps.insert(prefix?.parse().ok()?, max_length, asn)
            });
            added.ok_or(ReferenceError::Malformed { line: number, text: line, wanted: WANTED })?;
        }
        Ok(vrps)
    }

    /// None if the length is none of this prefix (RFC 6482 §3.3).
    fn insert(&mut self, prefix: Prefix, max_length: Option<u8>, asn: Asn) -> Option<()> {
        let max_length = max_length.unwrap_or(prefix.length());
        if max_length < prefix.length() || max_length > prefix.family().bits() {
            return None;
        }
        let entries = self.by_prefix.entry(prefix).or_default();
        if !entries.contains(&(max_length, asn)) {
            entries.push((max_length, asn));
            self.len += 1;
        }
        self.lengths.entry(prefix.family()).or_default().insert(prefix.length());
        Some(())
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

    /// The validity of a route. `origin` is none for a path that is empty or ends in a set: such a
    /// route matches no VRP (RFC 6811 §2). AS 0 matches none either (RFC 6483 §4).
    #[must_use]
    pub fn validity(&self, prefix: &Prefix, origin: Option<Asn>) -> OriginValidity {
        let mut validity = OriginValidity::NotFound;
        let lengths = self.lengths.get(&prefix.family());
        for length in lengths.into_iter().flat_map(|known| known.range(..=prefix.length())) {
            let covering = Prefix::of(prefix.address(), *length);
            for (max_length, asn) in self.by_prefix.get(&covering).into_iter().flatten() {
                let is_named = origin == Some(*asn) && asn.0 != 0;
                validity = match (is_named, prefix.length() <= *max_length) {
                    (true, true) => return OriginValidity::Valid,
                    (true, false) => OriginValidity::InvalidLength,
                    (false, _) if validity == OriginValidity::InvalidLength => validity,
                    (false, _) => OriginValidity::InvalidAsn,
                };
            }
        }
        validity
    }
}

const WANTED: &str = "a VRP: AS number, prefix and a longest length that fits it";

/// Columns of AS number, prefix and longest length, if a line is a header.
fn header(line: &str) -> Option<[usize; 3]> {
    let names: Vec<String> = line.split(',').map(|name| name.trim().to_lowercase()).collect();
    let find = |wanted: &[&str]| names.iter().position(|name| wanted.contains(&name.as_str()));
    Some([
        find(&["asn", "as"])?,
        find(&["ip prefix", "prefix"])?,
        find(&["max length", "maxlength", "max_length"])?,
    ])
}

/// `64510` or `AS64510`.
pub(super) fn parse_asn(text: &str) -> Option<Asn> {
    text.strip_prefix("AS").or(text.strip_prefix("as")).unwrap_or(text).parse().ok().map(Asn)
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Json {
    Export { roas: Vec<Entry> },
    List(Vec<Entry>),
}

#[derive(Deserialize)]
struct Entry {
    prefix: String,
    asn: AsnText,
    #[serde(rename = "maxLength")]
    max_length: Option<u8>,
}

/// An AS number as relying parties write it.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum AsnText {
    Number(u32),
    Text(String),
}

impl AsnText {
    pub(super) fn number(&self) -> Option<Asn> {
        match self {
            Self::Number(number) => Some(Asn(*number)),
            Self::Text(text) => parse_asn(text),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTINATOR: &str = r#"{"metadata":{},"roas":[
        {"asn":"AS64510","prefix":"203.0.113.0/24","maxLength":25,"ta":"arin"},
        {"asn":"AS0","prefix":"198.51.100.0/24","maxLength":32,"ta":"arin"},
        {"asn":"AS64511","prefix":"2001:db8::/32","maxLength":48,"ta":"ripe"}]}"#;

    fn read(text: &str) -> Vrps {
        Vrps::read(text.as_bytes()).unwrap()
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
        let wanted = read(ROUTINATOR).by_prefix;
        for form in [list, csv, bare, ripe] {
            assert_eq!(read(form).by_prefix, wanted, "{form}");
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
            assert_eq!(vrps.validity(&prefix, origin.map(Asn)), wanted, "{prefix} {origin:?}");
        }
        // One VRP that matches suffices, whatever the others say.
        let two = read("64511,203.0.113.0/24,24\n64510,203.0.112.0/22,24\n");
        assert_eq!(two.validity(&"203.0.113.0/24".parse().unwrap(), Some(Asn(64_510))), Valid);
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
}
