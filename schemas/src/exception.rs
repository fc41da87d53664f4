//! Exceptions: what an operator has seen and knows to be harmless, as `[[detect.exception]]` tells it.
//!
//! A finding that an exception covers is told once as `ignored`. Pure: the time is that of the event.

use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::bgp::{Asn, Prefix};
use crate::finding::Rule;
use crate::time::{SECS_PER_DAY, Timestamp};

/// `muted_by` of a finding that an exception covers.
pub const MUTED_BY: &str = "exception";

/// `[[detect.exception]]`: findings that are known to be harmless. What is not named fits any; one of
/// connection, prefix and culprit is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub struct Exception {
    /// Rule of the finding; absent: any.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rule_word")]
    pub rule: Option<Rule>,
    /// Connection of the finding; absent: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    /// The prefix that is seen, or one around it; absent: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<Prefix>,
    /// Who is accused; absent: anybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub culprit_asn: Option<Asn>,
    /// It counts before this time; absent: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Until>,
    /// Why, for those who read it later.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// What a finding is held against.
#[derive(Clone, Copy, Debug)]
pub struct Accusation<'a> {
    /// The rule.
    pub rule: Rule,
    /// Name of the connection, where it has one.
    pub connection: Option<&'a str>,
    /// The prefix that is seen, where it is about one.
    pub prefix: Option<&'a Prefix>,
    /// Who is accused.
    pub culprit: Option<Asn>,
    /// Event time.
    pub time: Timestamp,
}

impl Exception {
    /// Whether it covers a finding.
    #[must_use]
    pub fn covers(&self, accusation: &Accusation<'_>) -> bool {
        let Accusation { rule, connection, prefix, culprit, time } = accusation;
        self.rule.is_none_or(|own| own == *rule)
            && self.connection.as_deref().is_none_or(|own| Some(own) == *connection)
            && self.prefix.is_none_or(|own| prefix.is_some_and(|prefix| own.covers(prefix)))
            && self.culprit_asn.is_none_or(|own| Some(own) == *culprit)
            && self.until.as_ref().is_none_or(|until| until.is_after(*time))
    }
}

/// The end of an exception: a time, or a day with all of which it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Until {
    /// As it was written.
    text: String,
    /// The first moment that it does not cover.
    end: Timestamp,
}

impl Until {
    /// Reads `2026-12-31` or an RFC 3339 time.
    ///
    /// # Errors
    /// A text that is neither, with what would be.
    pub fn read(text: &str) -> Result<Self, String> {
        let end = if text.len() == "2026-12-31".len() {
            format!("{text}T00:00:00Z").parse().map(|day: Timestamp| day.plus_secs(SECS_PER_DAY))
        } else {
            text.parse()
        };
        match end {
            Ok(end) => Ok(Self { text: text.to_owned(), end }),
            Err(_) => {
                Err(format!("until: {text:?} is no day such as 2026-12-31 and no RFC 3339 time"))
            }
        }
    }
}

impl Until {
    /// Whether it still counts at a time.
    #[must_use]
    pub fn is_after(&self, time: Timestamp) -> bool {
        time < self.end
    }
}

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Until {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Until {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UntilVisitor)
    }
}

struct UntilVisitor;

impl<'de> Visitor<'de> for UntilVisitor {
    type Value = Until;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a day such as 2026-12-31, or an RFC 3339 time")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Until, E> {
        Until::read(text).map_err(E::custom)
    }

    /// TOML has dates of its own; its reader gives them as a map of one text.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Until, A::Error> {
        match map.next_entry::<String, String>()? {
            Some((_, text)) => Until::read(&text).map_err(A::Error::custom),
            None => Err(A::Error::custom("until is empty")),
        }
    }
}

/// An exception as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    rule: Option<String>,
    connection: Option<String>,
    prefix: Option<Prefix>,
    culprit_asn: Option<Asn>,
    until: Option<Until>,
    #[serde(default)]
    reason: String,
}

impl TryFrom<Written> for Exception {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let Written { rule, connection, prefix, culprit_asn, until, reason } = written;
        if connection.is_none() && prefix.is_none() && culprit_asn.is_none() {
            return Err(
                "an exception names a connection, a prefix or a culprit_asn, else it would hide \
                 everything"
                    .to_owned(),
            );
        }
        let known = |word: String| {
            let rule = Rule::ALL.iter().find(|(_, known, _)| *known == word);
            rule.map(|(rule, ..)| *rule).ok_or_else(|| {
                format!("{word:?} is no rule; `peerscope describe rules` lists them")
            })
        };
        let rule = rule.map(known).transpose()?;
        Ok(Self { rule, connection, prefix, culprit_asn, until, reason })
    }
}

fn rule_word<S: Serializer>(rule: &Option<Rule>, serializer: S) -> Result<S::Ok, S::Error> {
    match rule {
        Some(rule) => serializer.serialize_str(rule.as_str()),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Exception, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    fn accusation(prefix: &Prefix) -> Accusation<'_> {
        Accusation {
            rule: Rule::HijackExact,
            connection: Some("contoso"),
            prefix: Some(prefix),
            culprit: Some(Asn(64_511)),
            time: "2026-03-04T10:00:00Z".parse().unwrap(),
        }
    }

    /// Each thing that is named must fit; what is not named fits any.
    #[test]
    fn an_exception_covers_what_fits_in_all_that_it_names() {
        let prefix: Prefix = "203.0.113.0/24".parse().unwrap();
        let fits = [
            r#"{"culprit_asn": 64511}"#,
            r#"{"rule": "hijack_exact", "connection": "contoso", "prefix": "203.0.113.0/24", "culprit_asn": 64511, "until": "2026-03-04"}"#,
            r#"{"prefix": "203.0.112.0/22", "until": "2026-03-04T10:00:00.000001Z"}"#,
        ];
        for json in fits {
            assert!(read(json).unwrap().covers(&accusation(&prefix)), "{json}");
        }
        let differs = [
            r#"{"culprit_asn": 64510}"#,
            r#"{"rule": "hijack_squat", "culprit_asn": 64511}"#,
            r#"{"connection": "fabrikam"}"#,
            r#"{"prefix": "203.0.113.0/25"}"#,
            r#"{"culprit_asn": 64511, "until": "2026-03-03"}"#,
            r#"{"culprit_asn": 64511, "until": "2026-03-04T10:00:00Z"}"#,
        ];
        for json in differs {
            assert!(!read(json).unwrap().covers(&accusation(&prefix)), "{json}");
        }
        let nobody =
            Accusation { connection: None, culprit: None, prefix: None, ..accusation(&prefix) };
        assert!(!read(r#"{"culprit_asn": 64511}"#).unwrap().covers(&nobody));
        assert!(!read(r#"{"connection": "contoso"}"#).unwrap().covers(&nobody));
        assert!(!read(r#"{"prefix": "203.0.113.0/24"}"#).unwrap().covers(&nobody));
    }

    #[test]
    fn an_exception_that_hides_all_or_names_nothing_known_is_refused() {
        for (json, told) in [
            (r#"{"rule": "hijack_exact", "reason": "x"}"#, "hide everything"),
            (r#"{"rule": "hijack", "culprit_asn": 1}"#, "is no rule"),
            (r#"{"culprit": 1}"#, "unknown field"),
            (r#"{"culprit_asn": 1, "until": "soon"}"#, "is no day"),
            (r#"{"culprit_asn": 1, "until": "2026-13-31"}"#, "is no day"),
        ] {
            let refused = read(json).unwrap_err();
            assert!(refused.contains(told), "{json}: {refused}");
        }
    }

    #[test]
    fn what_is_written_reads_as_the_same() {
        let json = r#"{"rule":"hijack_exact","prefix":"203.0.113.0/24","culprit_asn":64511,"until":"2026-12-31","reason":"a customer"}"#;
        let exception = read(json).unwrap();
        assert_eq!(serde_json::to_string(&exception).unwrap(), json);
    }
}
