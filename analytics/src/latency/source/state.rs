//! One source as bytes, and back: what is open and kept, sample by sample.

use schemas::pool::Pooled;
use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

use super::{Kept, Source};
use crate::state::raw::Raw;

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self {
            name,
            inputs,
            is_live,
            ids: _,
            series,
            heard,
            hot,
            open,
            next_start,
            final_until,
            kept,
            kept_bytes: _,
            rollups,
            was_passed_over,
        } = self;
        let hot = (hot.0, Raw(hot.1.clone()));
        let open: Vec<_> = open.iter().map(|(start, of)| (*start, Raw(of.clone()))).collect();
        let heard = (name, inputs, (is_live, was_passed_over), series, Raw(heard.clone()));
        (heard, hot, open, (next_start, final_until), kept, rollups).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ((name, inputs, flags, series, heard), hot, open, closed, kept, rollups) =
            Deserialize::deserialize(deserializer)?;
        let (next_start, final_until) = closed;
        let (is_live, was_passed_over) = flags;
        let (Pooled(name), Raw(heard), (hot, Raw(entries))) = (name, heard, hot);
        let open: Vec<(_, Raw<_>)> = open;
        let mut source = Self {
            inputs,
            is_live,
            heard,
            hot: (hot, entries),
            open: open.into_iter().map(|(start, Raw(entries))| (start, entries)).collect(),
            next_start,
            final_until,
            kept,
            rollups,
            series,
            was_passed_over,
            ..Self::new(name)
        };
        source.kept_bytes = source.kept.values().map(Kept::bytes).sum();
        source.ids = (0..).zip(&source.series).map(|(id, key)| (*key, id)).collect();
        source.heard.resize(source.series.len(), 0);
        Ok(source)
    }
}
