//! The identity of a log: what a lake was made of. The same identity resumes or has nothing to do;
//! another is refused: `docs/concepts/lake.md`.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::layout::{INTERNAL, end_key, identity_key};
use super::store::{LakeError, LocalStore};

/// What a `replay` is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Kind of log: `replay`.
    pub kind: String,
    /// SHA-256 and name of each input, sorted: rows call their source by its name.
    pub inputs: Vec<String>,
    /// SHA-256 of each reference file, sorted.
    pub reference: Vec<String>,
    /// SHA-256 over registry, detection and latency settings.
    pub config_hash: String,
    /// Number of partitions.
    pub partitions: u32,
}

/// What a finished log says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Rows of each table.
    pub rows: std::collections::BTreeMap<String, u64>,
    /// Inputs that end before their end.
    pub damaged: Vec<String>,
}

/// What a lake has of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing, or a part: fold it from the start; what is there already is the same.
    ToDo,
    /// All of it.
    Done(End),
}

impl Identity {
    /// Name of the log: 16 digits over its identity.
    #[must_use]
    pub fn log(&self) -> String {
        let mut digits = hex(&Sha256::digest(self.to_json()));
        digits.truncate(16);
        digits
    }

    fn to_json(&self) -> Vec<u8> {
        // Serialising strings and a number cannot fail.
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }

    /// Notes the identity in a lake, or says what the lake has of it.
    ///
    /// # Errors
    /// [`LakeError::OtherLog`] if the lake holds another log.
    pub fn claim(&self, store: &LocalStore) -> Result<Standing, LakeError> {
        let mine = format!("{}.json", self.log());
        let end = format!("{}.end.json", self.log());
        let logs = store.list(&format!("{INTERNAL}/logs"))?;
        if logs.iter().any(|name| *name != mine && *name != end) {
            return Err(LakeError::OtherLog { path: store.root().to_owned() });
        }
        if store.get(&identity_key(&self.log()))?.is_none() {
            store.put(&identity_key(&self.log()), &self.to_json())?;
        }
        let end = store.get(&end_key(&self.log()))?;
        let end = end.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Ok(end.map_or(Standing::ToDo, Standing::Done))
    }

    /// Notes that the log is at its end.
    ///
    /// # Errors
    /// [`LakeError`] if it cannot be put.
    pub fn finish(&self, store: &LocalStore, end: &End) -> Result<(), LakeError> {
        store.put(&end_key(&self.log()), &serde_json::to_vec_pretty(end).unwrap_or_default())?;
        store.sweep()
    }
}

/// Lower-case hexadecimal digits.
#[must_use]
pub fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// SHA-256 as hexadecimal digits.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}
