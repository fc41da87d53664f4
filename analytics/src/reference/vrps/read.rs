//! VRPs as relying parties write them: JSON of Routinator (`json` and `jsonext`), rpki-client and
//! StayRTR (`{"roas": [...]}`) or a bare list, and their CSV, recognised by its header.

use std::io::BufRead;

use schemas::bgp::Asn;
use schemas::time::Timestamp;
use serde::Deserialize;

use super::{Vrp, Vrps};
use crate::reference::ReferenceError;

/// What a file of VRPs held.
#[derive(Debug, Default)]
pub struct ReadVrps {
    /// The VRPs.
    pub vrps: Vrps,
    /// When it was made, where it says so.
    pub date: Option<Timestamp>,
}

const WANTED: &str = "a VRP: AS number, prefix and a longest length that fits it";

impl Vrps {
    /// Reads any of the forms.
    ///
    /// # Errors
    /// [`ReferenceError`] at the first line, or entry of a JSON list, that is not of its form.
    pub fn read(reader: impl BufRead) -> Result<Self, ReferenceError> {
        ReadVrps::read(reader).map(|read| read.vrps)
    }
}

impl ReadVrps {
    /// Reads any of the forms.
    ///
    /// # Errors
    /// [`ReferenceError`] at the first line, or entry of a JSON list, that is not of its form.
    pub fn read(mut reader: impl BufRead) -> Result<Self, ReferenceError> {
        let first = reader.fill_buf()?.trim_ascii_start().first().copied();
        match first {
            Some(b'{') => {
                let export: Export =
                    serde_json::from_reader(reader).map_err(std::io::Error::from)?;
                let date = export.metadata.and_then(|metadata| metadata.date());
                Ok(Self { vrps: entries(export.roas)?, date })
            }
            Some(b'[') => {
                let list = serde_json::from_reader(reader).map_err(std::io::Error::from)?;
                Ok(Self { vrps: entries(list)?, date: None })
            }
            _ => Ok(Self { vrps: csv(reader)?, date: None }),
        }
    }
}

fn entries(entries: Vec<Entry>) -> Result<Vrps, ReferenceError> {
    let mut vrps = Vrps::default();
    for (number, entry) in (1..).zip(entries) {
        let text = format!("{} {} {:?}", entry.prefix, entry.asn.text(), entry.max_length);
        entry.add_to(&mut vrps).ok_or(ReferenceError::Malformed {
            line: number,
            text,
            wanted: WANTED,
        })?;
    }
    Ok(vrps)
}

fn csv(reader: impl BufRead) -> Result<Vrps, ReferenceError> {
    let mut vrps = Vrps::default();
    // Without a header: AS number, prefix, length.
    let mut columns = Columns { needed: [0, 1, 2], anchor: None, expires: None };
    for (number, line) in (1..).zip(reader.lines()) {
        let line = line?;
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(found) = Columns::of(&line) {
            columns = found;
            continue;
        }
        columns.add_to(&mut vrps, &line).ok_or(ReferenceError::Malformed {
            line: number,
            text: line,
            wanted: WANTED,
        })?;
    }
    Ok(vrps)
}

/// Which column says what.
struct Columns {
    /// AS number, prefix, longest length.
    needed: [usize; 3],
    anchor: Option<usize>,
    expires: Option<usize>,
}

impl Columns {
    /// None if the line is no header.
    fn of(line: &str) -> Option<Self> {
        let names: Vec<String> =
            line.split(',').map(|name| name.trim().trim_matches('"').to_lowercase()).collect();
        let find = |wanted: &[&str]| names.iter().position(|name| wanted.contains(&name.as_str()));
        let asn = find(&["asn", "as"])?;
        let prefix = find(&["ip prefix", "prefix"])?;
        let max_length = find(&["max length", "maxlength", "max_length"])?;
        Some(Self {
            needed: [asn, prefix, max_length],
            anchor: find(&["trust anchor", "ta"]),
            expires: find(&["expires", "not after"]),
        })
    }

    fn add_to(&self, vrps: &mut Vrps, line: &str) -> Option<()> {
        let fields: Vec<&str> =
            line.split(',').map(|field| field.trim().trim_matches('"')).collect();
        let field = |at: usize| fields.get(at).copied().filter(|text| !text.is_empty());
        let [asn, prefix, max_length] = self.needed.map(field);
        let prefix: schemas::bgp::Prefix = prefix?.parse().ok()?;
        let max_length = max_length.map(str::parse).transpose().ok()?;
        let vrp = Vrp {
            prefix,
            asn: parse_asn(asn?)?,
            max_length: max_length.unwrap_or(prefix.length()),
            expires: self.expires.and_then(field).and_then(time_of),
        };
        vrps.insert(vrp, self.anchor.and_then(field))
    }
}

/// Seconds since 1970, or RFC 3339.
fn time_of(text: &str) -> Option<Timestamp> {
    text.parse().map_or_else(|_| text.parse().ok(), |secs| Some(Timestamp::from_secs(secs)))
}

/// `64510` or `AS64510`.
pub(in crate::reference) fn parse_asn(text: &str) -> Option<Asn> {
    text.strip_prefix("AS").or(text.strip_prefix("as")).unwrap_or(text).parse().ok().map(Asn)
}

#[derive(Deserialize)]
struct Export {
    metadata: Option<Metadata>,
    roas: Vec<Entry>,
}

/// When a file was made, in the words of several programs.
#[derive(Deserialize)]
struct Metadata {
    generated: Option<i64>,
    #[serde(rename = "generatedTime")]
    generated_time: Option<String>,
    buildtime: Option<String>,
}

impl Metadata {
    fn date(self) -> Option<Timestamp> {
        let text = self.generated_time.or(self.buildtime);
        text.and_then(|text| text.parse().ok()).or(self.generated.map(Timestamp::from_secs))
    }
}

#[derive(Deserialize)]
struct Entry {
    prefix: String,
    asn: AsnText,
    #[serde(rename = "maxLength")]
    max_length: Option<u8>,
    ta: Option<String>,
    expires: Option<i64>,
    /// Where it comes from, in Routinator's `jsonext`.
    #[serde(default)]
    source: Vec<Source>,
}

#[derive(Deserialize)]
struct Source {
    tal: Option<String>,
    validity: Option<Validity>,
    #[serde(rename = "chainValidity")]
    chain_validity: Option<Validity>,
}

#[derive(Deserialize)]
struct Validity {
    #[serde(rename = "notAfter")]
    not_after: String,
}

impl Source {
    /// When the first certificate on its way expires.
    fn expires(&self) -> Option<Timestamp> {
        let certificates = [&self.validity, &self.chain_validity].into_iter().flatten();
        certificates.filter_map(|validity| validity.not_after.parse().ok()).min()
    }
}

impl Entry {
    fn add_to(&self, vrps: &mut Vrps) -> Option<()> {
        let prefix: schemas::bgp::Prefix = self.prefix.parse().ok()?;
        // Of several ROAs that say the same the one that lasts longest counts.
        let by_source = self.source.iter().filter_map(Source::expires).max();
        let vrp = Vrp {
            prefix,
            asn: self.asn.number()?,
            max_length: self.max_length.unwrap_or(prefix.length()),
            expires: self.expires.map(Timestamp::from_secs).or(by_source),
        };
        let tal = || self.source.iter().find_map(|source| source.tal.as_deref());
        vrps.insert(vrp, self.ta.as_deref().or_else(tal))
    }
}

/// An AS number as relying parties write it.
#[derive(Deserialize)]
#[serde(untagged)]
pub(in crate::reference) enum AsnText {
    Number(u32),
    Text(String),
}

impl AsnText {
    pub(in crate::reference) fn number(&self) -> Option<Asn> {
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

    /// Every program's words for the same two VRPs, with expiry and date where it tells them.
    #[test]
    fn expiry_date_and_anchor_are_read_from_every_form_that_tells_them() {
        let rpki_client = r#"{"metadata":{"buildmachine":"x","buildtime":"2026-03-04T10:00:00Z"},
            "roas":[{"asn":64510,"prefix":"203.0.113.0/24","maxLength":25,"ta":"arin","expires":1772625600},
                    {"asn":64511,"prefix":"2001:db8::/32","maxLength":48,"ta":"ripe","expires":1772629200}]}"#;
        let routinator = r#"{"metadata":{"generated":1772618400,"generatedTime":"2026-03-04T10:00:00Z"},"roas":[
            {"asn":"AS64510","prefix":"203.0.113.0/24","maxLength":25,"source":[{"type":"roa","tal":"arin",
              "uri":null,"validity":{"notBefore":"2026-01-01T00:00:00Z","notAfter":"2026-12-31T00:00:00Z"},
              "chainValidity":{"notBefore":"2026-01-01T00:00:00Z","notAfter":"2026-03-04T12:00:00Z"}}]},
            {"asn":"AS64511","prefix":"2001:db8::/32","maxLength":48,"source":[{"type":"roa","tal":"ripe",
              "validity":{"notBefore":"2026-01-01T00:00:00Z","notAfter":"2026-03-04T13:00:00Z"}}]}]}"#;
        let csv = "ASN,IP Prefix,Max Length,Trust Anchor,Expires\n\
                   AS64510,203.0.113.0/24,25,arin,1772625600\n\
                   AS64511,2001:db8::/32,48,ripe,1772629200\n";
        let made = "2026-03-04T10:00:00Z".parse().ok();
        for (form, date) in [(rpki_client, made), (routinator, made), (csv, None)] {
            let read = ReadVrps::read(form.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(read.vrps.to_csv()).unwrap(), csv, "{form}");
            assert_eq!(read.date, date, "{form}");
        }
    }

    /// Equal sets are equal bytes, whatever the order and however often a VRP is told.
    #[test]
    fn the_text_of_a_set_is_one() {
        let one = "64511,2001:db8::/32,48\n64510,203.0.113.0/24,25\n64510,203.0.113.0/24,24\n";
        let two = "ASN,IP Prefix,Max Length\nAS64510,203.0.113.0/24,24\nAS64510,203.0.113.0/24,25\n\
                   AS64511,2001:db8::/32,48\nAS64511,2001:db8::/32,48\n";
        let text = |form: &str| Vrps::read(form.as_bytes()).unwrap().to_csv();
        assert_eq!(text(one), text(two));
        assert_eq!(text(one), Vrps::read(text(one).as_slice()).unwrap().to_csv());
    }
}
