//! The identity of a log: what a lake was made of. The same identity resumes or has nothing to do;
//! another is refused: `docs/concepts/lake.md`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::layout::{INTERNAL, end_key, identity_key, successor_key};
use super::store::{LakeError, Store};

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
    /// The log from whose end this one goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// What a finished log says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Rows of each table.
    pub rows: BTreeMap<String, u64>,
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
    pub fn claim(&self, store: &Store) -> Result<Standing, LakeError> {
        let mine = self.log();
        let other = logs(store)?.into_iter().find(|name| *name != mine);
        match (&self.after, other) {
            (None, Some(_)) => return Err(self.refused(store)),
            (Some(after), _) => follow(store, after, &mine)?,
            (None, None) => match first(store, &mine) {
                Err(LakeError::Differs { .. }) => return Err(self.refused(store)),
                done => done?,
            },
        }
        if store.get(&identity_key(&self.log()))?.is_none() {
            store.put(&identity_key(&self.log()), &self.to_json())?;
        }
        let end = store.get(&end_key(&self.log()))?;
        let end = end.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Ok(end.map_or(Standing::ToDo, Standing::Done))
    }

    /// The lake holds another log.
    fn refused(&self, store: &Store) -> LakeError {
        let what = match self.kind.as_str() {
            "run" => {
                "holds the rows of another log: [log] or [kafka] name another one than before, the events \
                 topic was deleted and made anew, or the lake is that of a replay; name the log that \
                 belongs to it, or begin a new lake with --lake (the old one stays readable)"
            }
            _ => {
                "holds the replay of other inputs, settings or number of shards, or the rows of a \
                 service; take another --lake, or, to a replay, add to it with `replay --append`"
            }
        };
        LakeError::OtherLog { lake: store.root().to_string(), what }
    }

    /// Notes that the log is at its end.
    ///
    /// # Errors
    /// [`LakeError`] if it cannot be put.
    pub fn finish(&self, store: &Store, end: &End) -> Result<(), LakeError> {
        store.put(&end_key(&self.log()), &serde_json::to_vec_pretty(end).unwrap_or_default())?;
        store.sweep()
    }
}

/// Names of the logs that feed a lake.
fn logs(store: &Store) -> Result<Vec<String>, LakeError> {
    let names = store.list(&format!("{INTERNAL}/logs"))?;
    let names = names.iter().filter_map(|name| name.strip_suffix(".json"));
    Ok(names.filter(|name| !name.ends_with(".end")).map(str::to_owned).collect())
}

/// Replays that were not run to their end: they will put their files again from the first on.
///
/// # Errors
/// What the store says.
pub fn unfinished_replays(store: &Store) -> Result<Vec<String>, LakeError> {
    let mut unfinished = Vec::new();
    for log in logs(store)? {
        let identity = store.get(&identity_key(&log))?.unwrap_or_default();
        let identity = serde_json::from_slice::<Identity>(&identity);
        let is_replay = identity.is_ok_and(|identity| identity.kind == "replay");
        if is_replay && store.get(&end_key(&log))?.is_none() {
            unfinished.push(log);
        }
    }
    Ok(unfinished)
}

/// One log begins a lake: whoever says so first. (On local disk nobody else writes meanwhile; in a bucket
/// two may have seen it without one.)
fn first(store: &Store, mine: &str) -> Result<(), LakeError> {
    store.put(&format!("{INTERNAL}/logs/first"), mine.as_bytes())
}

/// One log goes on from the end of another: whoever says so first.
fn follow(store: &Store, after: &str, mine: &str) -> Result<(), LakeError> {
    match store.put(&successor_key(after), mine.as_bytes()) {
        Err(LakeError::Differs { .. }) => Err(LakeError::NoAppend {
            lake: store.root().to_string(),
            reason: "another `replay --append` has begun; run that one to its end first".to_owned(),
        }),
        done => done,
    }
}

/// The logs of a lake that ended, in the order in which each went on from the one before.
#[derive(Clone, Debug, Default)]
pub struct Lineage {
    /// Name and identity.
    pub ended: Vec<(String, Identity)>,
}

impl Lineage {
    /// Reads it. A log that goes on from the last one and has not ended is none of it.
    ///
    /// # Errors
    /// [`LakeError::NoAppend`] if the lake is not one of replays, each at its end.
    pub fn read(store: &Store) -> Result<Self, LakeError> {
        let refused = |reason: &str| LakeError::NoAppend {
            lake: store.root().to_string(),
            reason: reason.to_owned(),
        };
        let mut known = BTreeMap::new();
        for log in logs(store)? {
            let bytes = store.get(&identity_key(&log))?.unwrap_or_default();
            let identity: Identity = serde_json::from_slice(&bytes).map_err(|error| {
                refused(&format!("{} cannot be read ({error})", identity_key(&log)))
            })?;
            if identity.kind != "replay" {
                return Err(refused(
                    "it is not the lake of a replay; let the service that feeds it read the archives \
                     ([source.NAME] kind = \"folder\"), or replay them into another --lake",
                ));
            }
            known.insert(log, identity);
        }
        let first = known.iter().find(|(_, identity)| identity.after.is_none());
        let mut next = first.map(|(log, _)| log.clone());
        let mut lineage = Self::default();
        while let Some((log, identity)) = next.and_then(|log| known.remove_entry(&log)) {
            if store.get(&end_key(&log))?.is_none() {
                if identity.after.is_none() {
                    return Err(refused(
                        "its replay was not run to its end; run the same replay again first",
                    ));
                }
                break;
            }
            let after = store.get(&successor_key(&log))?;
            next = after.map(|name| String::from_utf8_lossy(&name).into_owned());
            lineage.ended.push((log, identity));
        }
        Ok(lineage)
    }

    /// The log at whose end the next one begins.
    #[must_use]
    pub fn last(&self) -> Option<&(String, Identity)> {
        self.ended.last()
    }

    /// Whether an input with these contents, in hexadecimal digits, is in the lake.
    #[must_use]
    pub fn holds(&self, content_hash: &str) -> bool {
        let mut inputs = self.ended.iter().flat_map(|(_, identity)| &identity.inputs);
        inputs.any(|input| input.split(' ').next() == Some(content_hash))
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
