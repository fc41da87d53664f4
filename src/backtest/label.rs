//! Labels: what is known of an incident, as TOML or JSON. The form: `docs/guide/backtest.md`.

use std::collections::BTreeSet;

use schemas::bgp::Prefix;
use schemas::finding::Rule;
use schemas::time::Timestamp;
use serde::Deserialize;

/// Why a label is refused.
#[derive(Debug, thiserror::Error)]
pub enum LabelError {
    /// It does not read.
    #[error("{0}")]
    Syntax(String),
    /// A rule that there is not.
    #[error("{0:?} is no rule; `peerscope describe rules` lists them")]
    Rule(String),
    /// A time that is none.
    #[error("start_time: {0}")]
    Time(#[from] schemas::time::TimeError),
    /// Nobody is named.
    #[error("{0} names no AS")]
    Nobody(&'static str),
}

/// What kind of incident it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// The bad routes end in an AS that may not originate them.
    OriginChange,
    /// The bad routes end in the right AS, or in an innocent one, behind a made-up path.
    ForgedAsPath,
    /// A mistake; its routes tell which of the two it looks like.
    Typo,
    /// The culprit passed on what it may not.
    Leak,
}

impl Category {
    /// The word in the label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OriginChange => "origin_change",
            Self::ForgedAsPath => "forged_as_path",
            Self::Typo => "typo",
            Self::Leak => "leak",
        }
    }
}

/// One number, several as text, or a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum Asns {
    One(u32),
    Text(String),
    Many(Vec<u32>),
}

impl Asns {
    fn numbers(self) -> BTreeSet<u32> {
        match self {
            Self::One(asn) => BTreeSet::from([asn]),
            Self::Many(asns) => asns.into_iter().collect(),
            Self::Text(text) => text
                .split(|c: char| !c.is_ascii_digit())
                .filter_map(|asn| asn.parse().ok())
                .collect(),
        }
    }
}

/// The file as it is written; what it says beyond this is not read.
#[derive(Deserialize)]
struct File {
    #[serde(default)]
    event: String,
    category: Category,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    registered_prefix: String,
    bad_prefix: Prefix,
    victim_as: Asns,
    culprit_as: Asns,
    #[serde(default)]
    start_time: String,
    #[serde(default)]
    rules: Vec<String>,
}

/// What is known of an incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Its name; empty: that of its folder.
    pub event: String,
    /// What kind it was.
    pub category: Category,
    /// `moas`, `subprefix` or `moas_unused`.
    pub detail: String,
    /// What the victim registers.
    pub registered_prefix: Prefix,
    /// What was announced.
    pub bad_prefix: Prefix,
    /// Who may originate it.
    pub victims: BTreeSet<u32>,
    /// Who did it; any of them is right.
    pub culprits: BTreeSet<u32>,
    /// About when it began; chooses among dated reference files.
    pub start_time: Option<Timestamp>,
    /// Rules that tell it right; empty: those of its category.
    pub rules: Vec<&'static str>,
}

impl Label {
    /// Reads a label; `is_json` by the end of its name.
    ///
    /// # Errors
    /// [`LabelError`]
    pub fn read(text: &str, is_json: bool) -> Result<Self, LabelError> {
        let file: File = if is_json {
            serde_json::from_str(text).map_err(|error| LabelError::Syntax(error.to_string()))?
        } else {
            toml::from_str(text).map_err(|error| LabelError::Syntax(error.to_string()))?
        };
        let registered = file.registered_prefix.trim();
        let registered_prefix = match registered {
            "" => file.bad_prefix,
            text => text.parse().map_err(|_| {
                LabelError::Syntax(format!("registered_prefix: {text:?} is no prefix"))
            })?,
        };
        let rule = |word: &String| {
            let known = Rule::ALL.iter().map(|(_, word, _)| *word).find(|known| known == word);
            known.ok_or_else(|| LabelError::Rule(word.clone()))
        };
        let (victims, culprits) = (file.victim_as.numbers(), file.culprit_as.numbers());
        if victims.is_empty() {
            return Err(LabelError::Nobody("victim_as"));
        }
        if culprits.is_empty() {
            return Err(LabelError::Nobody("culprit_as"));
        }
        let start_time = match file.start_time.trim() {
            "" => None,
            text => Some(text.parse()?),
        };
        Ok(Self {
            event: file.event,
            category: file.category,
            detail: file.detail,
            registered_prefix,
            bad_prefix: file.bad_prefix,
            victims,
            culprits,
            start_time,
            rules: file.rules.iter().map(rule).collect::<Result<_, _>>()?,
        })
    }

    /// Whether a rule tells what happened. `bad_origin` says whether the first bad route ends in an AS
    /// that may not originate it: of a typing error that decides.
    #[must_use]
    pub fn is_told_by(&self, rule: &str, bad_origin: bool) -> bool {
        if !self.rules.is_empty() {
            return self.rules.contains(&rule);
        }
        let is_forged = ["hijack_type_1", "hijack_type_n", "hijack_forged_path"].contains(&rule);
        let is_part = self.bad_prefix != self.registered_prefix;
        let by_origin = if is_part { "hijack_sub_prefix" } else { "hijack_exact" };
        match self.category {
            Category::OriginChange => rule == by_origin,
            Category::ForgedAsPath => {
                is_forged || (self.detail == "moas_unused" && rule == "hijack_squat")
            }
            Category::Typo if bad_origin => rule == by_origin,
            Category::Typo => is_forged || rule == by_origin,
            Category::Leak => rule.starts_with("leak_"),
        }
    }

    /// Whether a prefix is of the incident.
    #[must_use]
    pub fn overlaps(&self, prefix: &Prefix) -> bool {
        self.bad_prefix.covers(prefix) || prefix.covers(&self.bad_prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOML: &str = "event = \"burst\"\ncategory = \"origin_change\"\nbad_prefix = \"2001:db8:1::/48\"\n\
                        registered_prefix = \"2001:db8::/32\"\nvictim_as = 64510\nculprit_as = [64511, 64512]\n";

    #[test]
    fn a_label_is_read_in_both_forms() {
        let label = Label::read(TOML, false).unwrap();
        assert_eq!(label.culprits, BTreeSet::from([64_511, 64_512]));
        assert!(label.is_told_by("hijack_sub_prefix", true));
        assert!(!label.is_told_by("hijack_exact", true));
        let json = r#"{"event": "e", "category": "forged_as_path", "detail": "moas_unused",
            "registered_prefix": "", "bad_prefix": "203.0.113.0/24", "victim_as": "64510",
            "culprit_as": "64511, 64512", "start_time": "2016-01-02T03:04:05", "updates": 7}"#;
        let label = Label::read(json, true).unwrap();
        assert_eq!(label.registered_prefix, label.bad_prefix);
        assert!(label.is_told_by("hijack_squat", true) && label.is_told_by("hijack_type_1", false));
        assert!(!label.is_told_by("hijack_exact", true));
        assert_eq!(label.start_time.unwrap().day(), "2016-01-02");
    }

    #[test]
    fn what_cannot_be_judged_is_refused() {
        let wrong = [
            TOML.replace("origin_change", "magic"),
            TOML.replace("64510", "\"nobody\""),
            TOML.replace("[64511, 64512]", "[]"),
            format!("{TOML}rules = [\"hijack\"]\n"),
            format!("{TOML}start_time = \"yesterday\"\n"),
            TOML.replace("\"2001:db8::/32\"", "\"2001:db8::\""),
        ];
        for text in wrong {
            assert!(Label::read(&text, false).is_err(), "{text}");
        }
    }
}
