//! Snapshots: the state of a fold at an offset of its log, kept in the lake, so that a fold may begin
//! there. Two are kept of each chain: if the newest cannot be read, the one before it is.
//!
//! What the state is made of is the business of the folds; here it is bytes.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};

use schemas::bgp::Prefix;
use schemas::killpoint::{self, KillPoint};
use schemas::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::chain::{ChainState, Position};
use super::layout::{snapshot_key, snapshot_start, snapshots_folder};
use super::store::{LakeError, Store};

/// Snapshots kept of each fold.
const KEPT: usize = 2;
/// First bytes of a snapshot.
const MAGIC: &[u8] = b"peerscope-snapshot-1\n";
/// Largest snapshot that is read: a bound on what a damaged one can ask for.
const STATE_BYTES_MAX: usize = 16 << 30;
/// Largest list of followed prefixes that is read.
const FOLLOWED_BYTES_MAX: u64 = 1 << 30;
/// The state is columns of numbers: the first level takes most of what there is.
const ZSTD_LEVEL: i32 = 1;

/// A snapshot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Snapshot {
    /// Where the fold stood.
    pub position: Position,
    /// Its chains, by table.
    pub chains: BTreeMap<String, ChainState>,
    /// Log time of the last mark that was told.
    pub marked: Timestamp,
    /// Offset of the last entry that was told.
    pub told: u64,
    /// The state.
    pub state: Vec<u8>,
}

/// The snapshots of one fold: of a partition, or of `correlate`.
#[derive(Clone, Debug)]
pub struct Snapshots {
    /// `LOG-PARTITION` or `LOG-correlate`.
    name: String,
    /// Offsets of those in the lake, in order.
    kept: Vec<u64>,
    /// From this offset on they are known to be readable.
    read_from: u64,
}

impl Snapshots {
    /// Finds the snapshots of a fold.
    ///
    /// # Errors
    /// What the store says.
    pub fn find(store: &Store, name: String) -> Result<Self, LakeError> {
        let names = store.list(&snapshots_folder())?;
        let kept = names.iter().filter_map(|file| snapshot_start(file, &name)).collect();
        Ok(Self { name, kept, read_from: u64::MAX })
    }

    /// Reads the newest one that can be read. Those that cannot are told.
    ///
    /// # Errors
    /// [`LakeError::Snapshot`] if there are some and none can be read; what the store says.
    pub fn newest<T>(
        &mut self,
        store: &Store,
        open: impl Fn(&Snapshot) -> Result<T, String>,
    ) -> Result<Option<(Snapshot, T)>, LakeError> {
        let mut refused = None;
        for start in self.kept.iter().rev() {
            let key = snapshot_key(&self.name, *start);
            let Some(bytes) = store.get(&key)? else { continue };
            let read = read(&bytes).and_then(|snapshot| {
                let opened = open(&snapshot)?;
                Ok((snapshot, opened))
            });
            match read {
                Ok(found) => {
                    self.read_from = *start;
                    return Ok(Some(found));
                }
                Err(error) => {
                    refused.get_or_insert(LakeError::Snapshot { key, error });
                }
            }
        }
        refused.map_or(Ok(None), Err)
    }

    /// The state at the end of a log that ended.
    ///
    /// # Errors
    /// [`LakeError::NoAppend`] if there is none; as [`Self::newest`].
    pub fn end_of<T>(
        store: &Store,
        name: String,
        open: impl Fn(&Snapshot) -> Result<T, String>,
    ) -> Result<T, LakeError> {
        let found = Self::find(store, name)?.newest(store, open)?;
        found.map(|(_, opened)| opened).ok_or_else(|| LakeError::NoAppend {
            lake: store.root().to_string(),
            reason:
                "the state at the end of its replay is not kept (an older version made it); replay \
                     everything into another --lake"
                    .to_owned(),
        })
    }

    /// Puts a snapshot and removes those that are older than the last two. The offset before which
    /// nobody will ask for a record any more comes back, once there are two that can be read.
    ///
    /// # Errors
    /// [`LakeError`] if the store fails.
    pub fn put(&mut self, store: &Store, snapshot: &Snapshot) -> Result<Option<u64>, LakeError> {
        let start = snapshot.position.end;
        let key = snapshot_key(&self.name, start);
        let failed = |error: String| LakeError::Snapshot { key: key.clone(), error };
        let bytes = write(snapshot).map_err(failed)?;
        killpoint::reach(KillPoint::Snapshot);
        match store.put(&key, &bytes) {
            Ok(()) => {}
            // Made by another version of the program, which may begin there as well; or damaged.
            Err(LakeError::Differs { .. }) if is_readable(store, &key)? => {}
            Err(LakeError::Differs { .. }) => store.put_over(&key, &bytes)?,
            Err(error) => return Err(error),
        }
        killpoint::reach(KillPoint::Snapshot);
        if self.kept.last().is_none_or(|last| *last < start) {
            self.kept.push(start);
        }
        while self.kept.len() > KEPT {
            store.delete(&snapshot_key(&self.name, self.kept.remove(0)))?;
        }
        let Some(first) = self.kept.first().copied().filter(|_| self.kept.len() == KEPT) else {
            return Ok(None);
        };
        let is_safe =
            first >= self.read_from || is_readable(store, &snapshot_key(&self.name, first))?;
        if is_safe {
            self.read_from = self.read_from.min(first);
        }
        Ok(is_safe.then_some(first))
    }
}

/// Key of the prefixes that an archive follows at its end.
fn followed_key(log: &str) -> String {
    snapshot_key(&format!("{log}-followed"), 0)
}

/// Keeps which prefixes of others an archive follows at its end: one that goes on from it must hear
/// the end of a leak too.
///
/// # Errors
/// What the store says.
pub fn keep_followed(store: &Store, log: &str, followed: &[Prefix]) -> Result<(), LakeError> {
    let key = followed_key(log);
    let failed = |error: String| LakeError::Snapshot { key: key.clone(), error };
    let plain = postcard::to_stdvec(followed).map_err(|error| failed(error.to_string()))?;
    let packed = pack(&plain).map_err(|error| failed(error.to_string()))?;
    store.put(&key, &packed)
}

/// Reads them; none of a log that kept none.
///
/// # Errors
/// [`LakeError::Snapshot`] if they cannot be read; what the store says.
pub fn followed(store: &Store, log: &str) -> Result<Vec<Prefix>, LakeError> {
    let key = followed_key(log);
    let Some(packed) = store.get(&key)? else { return Ok(Vec::new()) };
    let failed = |error: String| LakeError::Snapshot { key: key.clone(), error };
    let mut plain = Vec::new();
    zstd::Decoder::new(packed.as_slice())
        .and_then(|packed| packed.take(FOLLOWED_BYTES_MAX).read_to_end(&mut plain))
        .map_err(|error| failed(error.to_string()))?;
    postcard::from_bytes(&plain).map_err(|error| failed(error.to_string()))
}

/// Removes the snapshots of a log that another one has gone on from.
///
/// # Errors
/// What the store says.
pub fn forget(store: &Store, log: &str) -> Result<(), LakeError> {
    for name in store.list(&snapshots_folder())? {
        if name.strip_prefix(log).is_some_and(|rest| rest.starts_with('-')) {
            store.delete(&format!("{}/{name}", snapshots_folder()))?;
        }
    }
    Ok(())
}

fn is_readable(store: &Store, key: &str) -> Result<bool, LakeError> {
    Ok(store.get(key)?.is_some_and(|bytes| read(&bytes).is_ok()))
}

fn write(snapshot: &Snapshot) -> Result<Vec<u8>, String> {
    let plain = postcard::to_stdvec(snapshot).map_err(|error| error.to_string())?;
    let packed = pack(&plain).map_err(|error| error.to_string())?;
    Ok([MAGIC, &(plain.len() as u64).to_le_bytes(), &packed].concat())
}

/// Packs bytes with a checksum behind them.
fn pack(plain: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut packer = zstd::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
    packer.include_checksum(true)?;
    packer.write_all(plain)?;
    packer.finish()
}

fn read(bytes: &[u8]) -> Result<Snapshot, String> {
    let rest = bytes.strip_prefix(MAGIC).ok_or("it is no snapshot of this version")?;
    let (length, packed) = rest.split_first_chunk().ok_or("it is cut off")?;
    let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
    if length > STATE_BYTES_MAX {
        return Err(format!("it says that it holds {length} bytes"));
    }
    let mut plain = Vec::new();
    zstd::Decoder::new(packed)
        // One byte more than there is: behind the last one stands the checksum.
        .and_then(|packed| packed.take(length as u64 + 1).read_to_end(&mut plain))
        .map_err(|error| error.to_string())?;
    if plain.len() != length {
        return Err(format!("it holds {} bytes where {length} should be", plain.len()));
    }
    postcard::from_bytes(&plain).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(end: u64) -> Snapshot {
        Snapshot {
            position: Position { end, time: Timestamp::from_secs(7) },
            chains: [("latency".to_owned(), ChainState { start: 3, opened: None })].into(),
            marked: Timestamp::from_secs(6),
            told: end.saturating_sub(1),
            state: vec![7; 10_000],
        }
    }

    fn end_of(found: Option<(Snapshot, ())>) -> Option<u64> {
        found.map(|(snapshot, ())| snapshot.position.end)
    }

    #[test]
    fn two_are_kept_and_the_one_before_stands_in_for_a_damaged_one() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_str().unwrap()).unwrap();
        let find = || Snapshots::find(&store, "00ff-000".to_owned()).unwrap();
        let mut snapshots = find();
        assert_eq!(end_of(snapshots.newest(&store, |_| Ok(())).unwrap()), None);
        assert_eq!(snapshots.put(&store, &snapshot(10)).unwrap(), None, "one is not enough");
        assert_eq!(snapshots.put(&store, &snapshot(20)).unwrap(), Some(10));
        assert_eq!(snapshots.put(&store, &snapshot(30)).unwrap(), Some(20));
        assert_eq!(store.list(&snapshots_folder()).unwrap().len(), 2);
        assert_eq!(end_of(find().newest(&store, |_| Ok(())).unwrap()), Some(30));

        let damaged = store.get(&snapshot_key("00ff-000", 30)).unwrap().unwrap();
        for (at, _) in damaged.iter().enumerate() {
            let mut flipped = damaged.clone();
            flipped[at] ^= 0x10;
            // Some bits say only how to unpack.
            let same = |told: Snapshot| told.state == vec![7; 10_000] && told.told == 29;
            assert!(read(&flipped).map_or(true, same), "byte {at}");
            assert!(read(&damaged[..at]).is_err(), "cut at {at}");
        }
        store.put_over(&snapshot_key("00ff-000", 30), &damaged[..damaged.len() / 2]).unwrap();
        let mut again = find();
        assert_eq!(end_of(again.newest(&store, |_| Ok(())).unwrap()), Some(20));
        assert_eq!(again.put(&store, &snapshot(30)).unwrap(), Some(20), "it is put anew");
        assert_eq!(end_of(find().newest(&store, |_| Ok(())).unwrap()), Some(30));
        store.put_over(&snapshot_key("00ff-000", 20), b"").unwrap();
        assert_eq!(find().put(&store, &snapshot(30)).unwrap(), None, "nothing is let go");
        store.put_over(&snapshot_key("00ff-000", 30), b"").unwrap();
        let refused = find().newest(&store, |_| Ok(()));
        assert!(matches!(refused, Err(LakeError::Snapshot { .. })), "{refused:?}");
    }
}
