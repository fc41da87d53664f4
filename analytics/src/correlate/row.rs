//! Rows of `findings` that wait for their group, as bytes, and back.
//!
//! A row holds words that live for ever: they are read as what they are words of. For
//! `#[serde(with = "row")]`.

use schemas::bgp::{Asn, Prefix};
use schemas::finding::{Confidence, FindingKind, Phase, Rule, Severity};
use schemas::tables::{FindingRow, Text};
use schemas::time::Timestamp;
use serde::de::{Deserializer, Error as _};
use serde::ser::{Error as _, Serializer};
use serde::{Deserialize, Serialize};

use super::AZURE_EVENTS;

/// Declares what is written of a row: each of its fields stands in one of the lists.
macro_rules! saved {
    (words { $( $word:ident: $words:ident, )+ } others { $( $other:ident: $type:ty, )+ }) => {
        #[derive(Serialize, Deserialize)]
        struct Saved { $( $word: $words, )+ azure_event: Option<String>, $( $other: $type, )+ }

        /// None if one of its words is none.
        fn saved(row: &FindingRow) -> Option<Saved> {
            let FindingRow { $( $word, )+ azure_event, $( $other, )+ } = row.clone();
            Some(Saved {
                $( $word: $words::ALL.iter().find(|known| known.1 == $word)?.0, )+
                azure_event: azure_event.map(str::to_owned),
                $( $other, )+
            })
        }

        fn restored(saved: Saved) -> Option<FindingRow> {
            let Saved { $( $word, )+ azure_event, $( $other, )+ } = saved;
            let known = |word: &String| AZURE_EVENTS.into_iter().find(|known| known == word);
            let azure_event = match &azure_event {
                Some(word) => Some(known(word)?),
                None => None,
            };
            Some(FindingRow { $( $word: $word.as_str(), )+ azure_event, $( $other, )+ })
        }
    };
}

saved! {
    words {
        phase: Phase,
        kind: FindingKind,
        rule: Rule,
        severity: Severity,
        confidence: Confidence,
    }
    others {
        finding_id: Text,
        sequence: u32,
        time: Timestamp,
        score: f64,
        prefix: Option<Prefix>,
        prefix_first: Option<[u8; 16]>,
        prefix_last: Option<[u8; 16]>,
        registered_prefix: Option<Prefix>,
        connection: Option<Text>,
        tenant: Option<Text>,
        culprit_asn: Option<Asn>,
        victim_asn: Option<Asn>,
        leak_type: Option<u8>,
        witnesses: u32,
        opened_at: Timestamp,
        closed_at: Option<Timestamp>,
        group_id: Option<Text>,
        group_size: Option<u32>,
        path_before: Option<Text>,
        path_after: Option<Text>,
        rpki_state: Option<Text>,
        blame: Option<Text>,
        rtt_before_p50_us: Option<u32>,
        rtt_after_p50_us: Option<u32>,
        rtt_before_p95_us: Option<u32>,
        rtt_after_p95_us: Option<u32>,
        rtt_shift_low_us: Option<i32>,
        rtt_shift_high_us: Option<i32>,
        samples_affected: Option<u64>,
        muted_by: Option<Text>,
        config_hash: Text,
        verdict: Option<Text>,
        explanation: Text,
    }
}

/// Writes rows.
pub(super) fn serialize<S: Serializer>(
    rows: &[FindingRow],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let saved: Option<Vec<Saved>> = rows.iter().map(saved).collect();
    saved.ok_or_else(|| S::Error::custom("a row with a strange word"))?.serialize(serializer)
}

/// Reads rows.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<FindingRow>, D::Error> {
    let saved = Vec::<Saved>::deserialize(deserializer)?;
    let rows: Option<Vec<FindingRow>> = saved.into_iter().map(restored).collect();
    rows.ok_or_else(|| D::Error::custom("a row with a strange word"))
}

/// The same for one row: `#[serde(with = "row::one")]`.
pub(super) mod one {
    use super::{
        Deserialize, Deserializer, FindingRow, Saved, Serialize, Serializer, restored, saved,
    };
    use serde::{de, ser};

    /// Writes a row.
    pub(in crate::correlate) fn serialize<S: Serializer>(
        row: &FindingRow,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let saved = saved(row);
        let strange = || ser::Error::custom("a row with a strange word");
        saved.ok_or_else(strange)?.serialize(serializer)
    }

    /// Reads a row.
    pub(in crate::correlate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<FindingRow, D::Error> {
        let strange = || de::Error::custom("a row with a strange word");
        restored(Saved::deserialize(deserializer)?).ok_or_else(strange)
    }
}
