//! Maps and sets without an order, written in that of their keys, so that equal ones are equal bytes.
//!
//! For `#[serde(with = "sorted")]` and `#[serde(with = "sorted::set")]`.

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

/// Writes a map.
pub(crate) fn serialize<'a, M, K, V, S>(map: &'a M, serializer: S) -> Result<S::Ok, S::Error>
where
    &'a M: IntoIterator<Item = (&'a K, &'a V)>,
    K: Ord + Serialize + 'a,
    V: Serialize + 'a,
    S: Serializer,
{
    let mut all: Vec<(&K, &V)> = map.into_iter().collect();
    all.sort_unstable_by_key(|(key, _)| *key);
    serializer.collect_seq(all)
}

/// Reads a map.
pub(crate) fn deserialize<'de, M, K, V, D>(deserializer: D) -> Result<M, D::Error>
where
    M: FromIterator<(K, V)>,
    M: IntoIterator<Item = (K, V)>,
    K: Deserialize<'de>,
    V: Deserialize<'de>,
    D: Deserializer<'de>,
{
    let all: Vec<(K, V)> = Deserialize::deserialize(deserializer)?;
    Ok(all.into_iter().collect())
}

/// A map that is written and read so where no field is.
#[derive(Debug)]
pub(crate) struct Sorted<M>(pub(crate) M);

impl<'a, M, K, V> Serialize for Sorted<&'a M>
where
    &'a M: IntoIterator<Item = (&'a K, &'a V)>,
    K: Ord + Serialize + 'a,
    V: Serialize + 'a,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize(self.0, serializer)
    }
}

impl<'de, M, K, V> Deserialize<'de> for Sorted<M>
where
    M: FromIterator<(K, V)>,
    M: IntoIterator<Item = (K, V)>,
    K: Deserialize<'de>,
    V: Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize(deserializer).map(Self)
    }
}

/// The same for sets.
pub(crate) mod set {
    use super::{Deserialize, Deserializer, Serialize, Serializer};

    /// Writes a set.
    pub(crate) fn serialize<'a, M, K, S>(set: &'a M, serializer: S) -> Result<S::Ok, S::Error>
    where
        &'a M: IntoIterator<Item = &'a K>,
        K: Ord + Serialize + 'a,
        S: Serializer,
    {
        let mut all: Vec<&K> = set.into_iter().collect();
        all.sort_unstable();
        serializer.collect_seq(all)
    }

    /// Reads a set.
    pub(crate) fn deserialize<'de, M, K, D>(deserializer: D) -> Result<M, D::Error>
    where
        M: FromIterator<K>,
        M: IntoIterator<Item = K>,
        K: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        let all: Vec<K> = Deserialize::deserialize(deserializer)?;
        Ok(all.into_iter().collect())
    }
}
