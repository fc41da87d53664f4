//! Torn ends, damage, restarts, and readers beside a writer.

use std::fs::OpenOptions;
use std::io::{Seek as _, SeekFrom};
use std::time::Duration;

use schemas::batch::{Control, EventBatch};
use schemas::log::{
    NextSummary, PartitionReader as _, Resume, Summaries as _, SummaryEntry, SummaryReader as _,
};

use super::summaries::SummaryLog;

use super::*;

fn options(folder: &Path) -> EmbeddedOptions {
    EmbeddedOptions {
        folder: folder.to_owned(),
        partitions: 2,
        segment_bytes: 4_096,
        bytes_max: 1 << 30,
        now: Timestamp(0),
    }
}

/// An append of one tick for each partition, and the position of one source.
fn append(number: u64) -> Append {
    let log_time = Timestamp::from_secs(i64::try_from(number).unwrap());
    let batch = |partition| {
        let mut batch = EventBatch::starting(partition, number, true);
        batch.controls.push(Control::Tick { inputs: vec![7], until: log_time });
        batch.append(log_time, schemas::batch::Content::Control(0));
        batch
    };
    let position = Position { next_offset: number, session: vec![1, 2], ..Position::default() };
    Append {
        log_time,
        batches: vec![batch(0), batch(1)],
        positions: vec![(format!("source-{}", number % 3).into(), position)],
    }
}

fn fill(folder: &Path, numbers: std::ops::Range<u64>) {
    let (_, mut writer, _) = open(options(folder)).unwrap();
    for number in numbers {
        writer.append(&append(number)).unwrap();
    }
    writer.sync().unwrap();
}

fn offsets(folder: &Path, partition: u32, from: u64) -> Vec<u64> {
    let (mut log, writer, _) = open(options(folder)).unwrap();
    let mut reader = log.read(partition, from).unwrap();
    drop(writer);
    std::iter::from_fn(|| reader.next().unwrap()).map(|batch| batch.first_offset).collect()
}

#[test]
fn what_was_appended_is_read_in_order_over_segments_and_restarts() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), 0..20);
    fill(folder.path(), 20..50);
    assert!(list(folder.path()).unwrap().len() > 3, "segments roll");
    assert_eq!(offsets(folder.path(), 0, 0), (0..50).collect::<Vec<_>>());
    assert_eq!(offsets(folder.path(), 1, 45), [45, 46, 47, 48, 49]);
    let (_, _, recovered) = open(options(folder.path())).unwrap();
    assert_eq!(recovered.next_offsets, [50, 50]);
    assert_eq!(recovered.log_time, Some(Timestamp::from_secs(49)));
    let next: Vec<u64> = recovered.positions.values().map(|p| p.next_offset).collect();
    assert_eq!(next, [48, 49, 47], "of every source, whatever segment told it last");
}

/// Whatever was cut off, everything that was synced before is there, and appending goes on.
#[test]
fn a_torn_end_is_cut_off_at_every_byte() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), 0..3);
    let newest = list(folder.path()).unwrap().pop().unwrap().path;
    let whole = fs::read(&newest).unwrap();
    fill(folder.path(), 3..4);
    let longer = fs::read(&newest).unwrap();
    for end in whole.len() + 1..longer.len() {
        fs::write(&newest, &longer[..end]).unwrap();
        let (_, writer, recovered) = open(options(folder.path())).unwrap();
        assert_eq!(
            (writer.physical.sequence, recovered.torn_bytes),
            (3, (end - whole.len()) as u64)
        );
        drop(writer);
        assert_eq!(fs::read(&newest).unwrap(), whole);
    }
    // Longer than what was written of it, after a loss of power.
    fs::write(&newest, [&whole[..], &[0; 5000]].concat()).unwrap();
    let (_, _, recovered) = open(options(folder.path())).unwrap();
    assert_eq!(recovered.torn_bytes, 5000);
    let mut flipped = longer.clone();
    *flipped.last_mut().unwrap() ^= 1;
    fs::write(&newest, &flipped).unwrap();
    fill(folder.path(), 3..5);
    assert_eq!(offsets(folder.path(), 0, 0), [0, 1, 2, 3, 4]);
}

#[test]
fn damage_before_the_end_is_refused_and_nothing_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), 0..3);
    let newest = list(folder.path()).unwrap().pop().unwrap().path;
    let mut file = OpenOptions::new().write(true).open(&newest).unwrap();
    file.seek(SeekFrom::Start(60)).unwrap();
    file.write_all(&[0xff; 4]).unwrap();
    let before = fs::read(&newest).unwrap();
    let refused = open(options(folder.path())).unwrap_err();
    assert!(matches!(refused, LogError::Damaged { offset: 8, .. }), "{refused}");
    assert_eq!(fs::read(&newest).unwrap(), before);
}

#[test]
fn a_damaged_length_is_no_torn_end_while_a_record_follows() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), 0..3);
    let newest = list(folder.path()).unwrap().pop().unwrap().path;
    let whole = fs::read(&newest).unwrap();
    for bit in 0..32 {
        let mut flipped = whole.clone();
        flipped[8 + bit / 8] ^= 1 << (bit % 8);
        fs::write(&newest, &flipped).unwrap();
        let refused = open(options(folder.path())).unwrap_err();
        assert!(matches!(refused, LogError::Damaged { offset: 8, .. }), "bit {bit}: {refused}");
        assert_eq!(fs::read(&newest).unwrap(), flipped);
    }
}

#[test]
fn a_log_that_ends_before_what_was_read_of_it_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), 0..3);
    let (mut log, _, recovered) = open(options(folder.path())).unwrap();
    let end = recovered.next_offsets[0];
    assert!(log.read(0, end).is_ok());
    assert!(matches!(log.read(0, end + 1), Err(LogError::Mismatch { .. })));
}

#[test]
fn one_writer_one_number_of_partitions_and_a_bound() {
    let folder = tempfile::tempdir().unwrap();
    let (_, mut writer, _) = open(options(folder.path())).unwrap();
    assert!(matches!(open(options(folder.path())), Err(LogError::Busy { .. })));
    writer.physical.bytes_max = 10;
    assert!(!writer.is_full());
    writer.append(&append(0)).unwrap();
    assert!(writer.is_full(), "sources wait");
    writer.append(&append(1)).unwrap();
    writer.physical.bytes += 64 << 20;
    assert!(matches!(writer.append(&append(2)), Err(LogError::Full { .. })), "ticks wait, too");
    drop(writer);
    let others = EmbeddedOptions { partitions: 3, ..options(folder.path()) };
    assert!(matches!(open(others), Err(LogError::Mismatch { .. })));
}

#[test]
fn a_reader_sees_what_is_durable_and_then_what_comes() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, mut writer, _) = open(options(folder.path())).unwrap();
    let mut reader = log.read(0, 0).unwrap();
    let mut tail = Tail::open(folder.path()).unwrap();
    let read = std::thread::spawn(move || {
        std::iter::from_fn(|| reader.next().unwrap()).map(|batch| batch.first_offset).sum::<u64>()
    });
    for number in 0..100 {
        writer.append(&append(number)).unwrap();
        if number % 10 == 9 {
            writer.sync().unwrap();
        }
    }
    drop(writer);
    assert_eq!(read.join().unwrap(), (0..100).sum::<u64>());
    let mut seen = 0;
    while let Some(batches) = tail.poll().unwrap() {
        seen += batches.len();
    }
    assert_eq!(seen, 200);
}

/// Segments go once every partition has let go of all that is in them, the oldest first; what is left
/// is read as before, and who asks for more is told.
#[test]
fn segments_are_let_go_behind_every_partition_and_never_before() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, mut writer, _) = open(options(folder.path())).unwrap();
    let summaries = SummaryLog::open(&folder.path().join("summaries"), 1 << 30).unwrap();
    let progress = log.progress(&summaries);
    for number in 0..100 {
        writer.append(&append(number)).unwrap();
    }
    writer.sync().unwrap();
    let all = list(folder.path()).unwrap();
    progress.release_before(0, 90);
    writer.sync().unwrap();
    assert_eq!(list(folder.path()).unwrap(), all, "partition 1 still wants them");
    progress.release_before(1, 50);
    writer.sync().unwrap();
    let left = list(folder.path()).unwrap();
    assert!(left.len() < all.len() && all.ends_with(&left), "the oldest went");
    let mut reader = log.read(1, 50).unwrap();
    assert_eq!(reader.next().unwrap().unwrap().first_offset, 50, "what is wanted is there");
    let refused = log.read(0, 0).unwrap().next().unwrap_err();
    assert!(matches!(refused, LogError::Released { wanted: 0, first: 1.., .. }), "{refused}");
    let to = Resume { offset: 70, log_time: Timestamp(0), registry_version: 0 };
    reader.seek(to).unwrap();
    assert_eq!(reader.next().unwrap().unwrap().first_offset, 70);
    let bytes: u64 = left.iter().map(|one| fs::metadata(&one.path).unwrap().len()).sum();
    assert_eq!(writer.bytes(), bytes);
    drop(writer);
    assert_eq!(offsets(folder.path(), 1, 50), (50..100).collect::<Vec<_>>());
}

fn entry(number: u64) -> SummaryEntry {
    let partition = u32::try_from(number % 3).unwrap();
    SummaryEntry { partition, end: number, bytes: vec![7; 40_000] }
}

fn told(log: &SummaryLog, from: u64) -> Vec<(u64, SummaryEntry)> {
    let mut reader = log.read(from).unwrap();
    let mut all = Vec::new();
    while let NextSummary::Entry(position, entry) = reader.next(Duration::ZERO).unwrap() {
        all.push((position, entry));
    }
    all
}

/// What was synced is there after a restart, under the same positions; what is behind the snapshots
/// of `correlate` goes.
#[test]
fn summaries_keep_their_positions_over_restarts_and_are_let_go() {
    let folder = tempfile::tempdir().unwrap();
    let log = SummaryLog::open(folder.path(), 1 << 40).unwrap();
    for number in 0..2_000 {
        log.tell(entry(number)).unwrap();
    }
    log.sync().unwrap();
    let all = told(&log, 0);
    assert_eq!(all.len(), 2_000);
    assert!(
        (0..).zip(&all).all(|(number, (position, told))| {
            *position == number + 1 && *told == entry(number)
        })
    );
    assert_eq!(told(&log, 1_500), all[1_500..]);
    log.durable().release(0, 1_900);
    log.tell(entry(2_000)).unwrap();
    log.sync().unwrap();
    assert_eq!(told(&log, 1_900), [&all[1_900..], &[(2_001, entry(2_000))]].concat());
    let refused = log.read(0).unwrap().next(Duration::ZERO).unwrap_err();
    assert!(matches!(refused, LogError::Released { wanted: 0, .. }), "{refused}");
    drop(log);
    // The writer's thread lets go of the lock when it is done.
    let again = (0..100).find_map(|_| {
        std::thread::sleep(Duration::from_millis(20));
        SummaryLog::open(folder.path(), 1 << 40).ok()
    });
    let again = again.unwrap();
    assert_eq!(again.end(), 2_001);
    again.tell(entry(2_001)).unwrap();
    again.sync().unwrap();
    assert_eq!(told(&again, 2_000), [(2_001, entry(2_000)), (2_002, entry(2_001))]);
}
