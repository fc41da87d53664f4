//! Damaged states: each is refused with a reason, or holds something; none ends in a panic.

use proptest::prelude::*;

use super::twins::Twins;
use super::world::{Word, World};
use super::*;
use crate::state::{StateError, shape};

/// Where the head keeps its sum, and where it ends.
const SUM_AT: usize = 19;
const HEAD_BYTES: usize = 23;

/// An hour of the world in which something of everything is open, and what its folds are as bytes.
fn saved() -> (Vec<u8>, Vec<u8>) {
    let mut world = World::new(1, true);
    let mut twins = Twins::new(1, &FoldOptions::default(), &Arc::default());
    twins.apply(&world.begin());
    let storm = |prefix, path| Word::Storm { peers: 6, prefix, path };
    let words = [
        storm(0, Some(0)),
        storm(3, Some(1)),
        storm(5, Some(4)),
        Word::Dumped,
        Word::Minutes { count: 25, slow_ms: 0 },
        storm(0, Some(2)),
        storm(1, Some(3)),
        storm(2, Some(2)),
        storm(6, Some(8)),
        Word::Session { peer: 1, state: PeerState::Down },
        Word::Session { peer: 2, state: PeerState::Stale },
        Word::Minutes { count: 6, slow_ms: 40 },
        Word::Late { minutes_ago: 2, count: 9 },
        Word::Late { minutes_ago: 0, count: 9 },
    ];
    for word in &words {
        for batches in world.say(word) {
            twins.apply(&batches);
        }
    }
    assert!(twins.told.len() > 5);
    twins.saved()
}

fn restore(bytes: &[u8]) -> Result<Shard, StateError> {
    Shard::restore(bytes, (0, 1), |_| Ok(Arc::default()))
}

/// Postcard would read bytes of another layout as something else, if it could.
#[test]
fn another_layout_is_another_format() {
    let layout = shape::of(|| drop(saved()));
    let text = format!("format {}\n\n{layout}", crate::state::FORMAT);
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/state/shape.txt");
    if std::env::var_os("PEERSCOPE_BLESS").is_some() {
        std::fs::write(file, &text).unwrap();
    }
    let kept = std::fs::read_to_string(file).unwrap_or_default();
    let new: Vec<&str> = text.lines().filter(|line| !kept.contains(line)).collect();
    assert!(
        text == kept,
        "the layout of a saved state has changed, at {new:?} or near it: raise FORMAT in \
         state/mod.rs, then write src/state/shape.txt anew with PEERSCOPE_BLESS=1"
    );
}

/// The same parts under a sum that fits them.
fn summed(mut bytes: Vec<u8>) -> Vec<u8> {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[HEAD_BYTES..]);
    hasher.update(&bytes[..SUM_AT]);
    bytes[SUM_AT..HEAD_BYTES].copy_from_slice(&hasher.finalize().to_le_bytes());
    bytes
}

#[test]
fn a_state_that_is_cut_off_is_refused_wherever_it_is_cut() {
    let (shard, correlate) = saved();
    assert!(restore(&shard).is_ok() && Correlate::restore(&correlate, 1).is_ok());
    for length in 0..shard.len() {
        let refused = restore(&shard[..length]).err().unwrap();
        assert_eq!(refused.reason(), "damaged", "{length}: {refused}");
        // The same as if it had been written so.
        if length > HEAD_BYTES && length % 7 == 0 {
            let mut cut = shard[..length].to_vec();
            cut[11..SUM_AT].copy_from_slice(&((length - HEAD_BYTES) as u64).to_le_bytes());
            assert_eq!(restore(&summed(cut)).err().unwrap().reason(), "damaged", "{length}");
        }
    }
    for length in 0..correlate.len() {
        let refused = Correlate::restore(&correlate[..length], 1).unwrap_err();
        assert_eq!(refused.reason(), "damaged", "{length}: {refused}");
    }
    let longer = [&shard[..], &[0]].concat();
    assert_eq!(restore(&longer).err().unwrap().reason(), "damaged");
}

#[test]
fn every_refusal_has_its_reason() {
    let (shard, correlate) = saved();
    let reason = |bytes: &[u8]| restore(bytes).err().unwrap().reason();
    assert_eq!(reason(b"PAR1 and something behind it that is long enough"), "foreign");
    assert_eq!(reason(b"no"), "foreign");
    assert_eq!(reason(b""), "damaged");
    assert_eq!(reason(&correlate), "another");
    let mut next = shard.clone();
    next[8] += 1;
    let told = restore(&summed(next)).err().unwrap();
    assert_eq!(told, StateError::Format { format: crate::state::FORMAT + 1 });
    assert!(told.to_string().contains("start the version that wrote it"));
    let other = Shard::restore(&shard, (1, 3), |_| Ok(Arc::default())).err().unwrap();
    assert_eq!(other.reason(), "another");
    assert!(other.to_string().contains("partition 0 of 1"), "{other}");
    assert_eq!(Correlate::restore(&correlate, 3).unwrap_err().reason(), "another");
    let mut unfinished = restore(&shard).ok().unwrap();
    unfinished.finish();
    assert_eq!(unfinished.save().unwrap_err().reason(), "waiting");
}

#[test]
fn a_summary_of_another_version_or_of_none_is_refused() {
    let summary = Summary::Mark(Timestamp::from_secs(7));
    let mut bytes = summary.encode().unwrap();
    assert_eq!(Summary::decode(&bytes).unwrap(), summary);
    assert!(Summary::decode(&bytes[..bytes.len() - 1]).is_err() && Summary::decode(&[]).is_err());
    bytes.push(0);
    assert!(Summary::decode(&bytes).unwrap_err().to_string().contains("1 bytes too many"));
    bytes[0] = 9;
    let refused = Summary::decode(&bytes).unwrap_err().to_string();
    assert!(refused.contains("version 9") && refused.contains("run the same version"), "{refused}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2))]

    /// Many flips of each: the bytes take longer to make than to read.
    #[test]
    fn a_state_with_other_bytes_is_refused_or_holds_something(seed in any::<u64>()) {
        let saved = saved();
        let mut chance = seed | 1;
        let mut next = |below: usize| {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (chance >> 33) as usize % below
        };
        let (mut refused, mut held) = (0, 0);
        for round in 0..1_500 {
            let is_shard = round % 4 > 0;
            let mut bytes = if is_shard { saved.0.clone() } else { saved.1.clone() };
            for _ in 0..=next(3) {
                let at = next(bytes.len());
                bytes[at] ^= 1 << next(8);
            }
            let whole = bytes == saved.0 || bytes == saved.1;
            let told = match is_shard {
                true => restore(&bytes).err(),
                false => Correlate::restore(&bytes, 1).err(),
            };
            prop_assert_eq!(told.is_none(), whole, "the sum finds it");
            // What somebody made up has a sum that fits.
            let bytes = summed(bytes);
            let again = match is_shard {
                true => restore(&bytes).map(|shard| shard.save().unwrap()),
                false => Correlate::restore(&bytes, 1).map(|correlate| correlate.save().unwrap()),
            };
            match again {
                Ok(again) => {
                    prop_assert!(again.len() <= 2 * bytes.len());
                    held += 1;
                }
                Err(_) => refused += 1,
            }
        }
        prop_assert!(refused > 100 && held > 100, "{} refused, {} held", refused, held);
    }
}
