use std::io::{Seek as _, SeekFrom};

use schemas::batch::{Control, EventBatch};
use schemas::log::PartitionReader as _;

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
        assert_eq!((writer.sequence, recovered.torn_bytes), (3, (end - whole.len()) as u64));
        drop(writer);
        assert_eq!(fs::read(&newest).unwrap(), whole);
    }
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
fn one_writer_one_number_of_partitions_and_a_bound() {
    let folder = tempfile::tempdir().unwrap();
    let (_, mut writer, _) = open(options(folder.path())).unwrap();
    assert!(matches!(open(options(folder.path())), Err(LogError::Busy { .. })));
    writer.options.bytes_max = 10;
    writer.append(&append(0)).unwrap();
    assert!(matches!(writer.append(&append(1)), Err(LogError::Full { .. })));
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
