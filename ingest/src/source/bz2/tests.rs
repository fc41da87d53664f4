//! Whatever the plain decoder reads, the parallel one reads the same; damage ends it where it is.

use std::io::{Cursor, Read, Write};

use bzip2::Compression;
use bzip2::bufread::MultiBzDecoder;
use bzip2::write::BzEncoder;

use super::ParallelReader;

/// Text that compresses to about a third, never the same twice.
fn text(bytes: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state >> 33
    };
    (0..bytes).map(|_| b"etaoin shrdlu192"[(next() % 16) as usize]).collect()
}

fn compressed(plain: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = BzEncoder::new(vec![], Compression::new(level));
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// What comes out, and the error after it.
fn read(mut reader: impl Read) -> (Vec<u8>, Option<String>) {
    let (mut plain, mut part) = (vec![], [0; 70_000]);
    loop {
        match reader.read(&mut part) {
            Ok(0) => return (plain, None),
            Ok(bytes) => plain.extend(&part[..bytes]),
            Err(error) => return (plain, Some(error.to_string())),
        }
    }
}

/// The same of the parallel reader; none on a machine of one core.
fn parallel(bytes: &[u8]) -> Option<(Vec<u8>, Option<String>)> {
    ParallelReader::new(Cursor::new(bytes.to_vec())).ok().map(read)
}

fn assert_same(bytes: &[u8], what: &str) {
    let Some((plain, error)) = parallel(bytes) else { return };
    let (wanted, wanted_error) = read(MultiBzDecoder::new(bytes));
    assert_eq!(error, None, "{what}");
    assert_eq!(wanted_error, None, "{what}");
    assert!(plain == wanted, "{what}: {} bytes, {} wanted", plain.len(), wanted.len());
}

#[test]
fn every_size_and_level_reads_as_the_plain_decoder_does() {
    for bytes in [0, 1, 99_980, 99_981, 250_000, 1_000_000] {
        for level in [1, 9] {
            assert_same(&compressed(&text(bytes), level), &format!("{bytes} at level {level}"));
        }
    }
}

#[test]
fn streams_behind_each_other_are_one_file() {
    let (one, two, none) = (text(300_000), text(150_000), vec![]);
    let parts = [&one, &none, &two, &none].map(|part| compressed(part, 1));
    assert_same(&parts.concat(), "four streams, two of them empty");
    let garbage = [&parts.concat()[..], b"garbage"].concat();
    let Some((plain, error)) = parallel(&garbage) else { return };
    assert_eq!(plain.len(), 450_000);
    assert!(error.unwrap().contains("no bzip2"));
}

#[test]
fn a_file_cut_anywhere_gives_whole_blocks_and_says_so() {
    let whole = compressed(&text(500_000), 1);
    for cut in (4..whole.len()).step_by(whole.len() / 97) {
        let Some((plain, error)) = parallel(&whole[..cut]) else { return };
        let (wanted, wanted_error) = read(MultiBzDecoder::new(&whole[..cut]));
        assert!(error.is_some() && wanted_error.is_some(), "{cut}");
        assert!(plain == wanted, "{cut}: {} bytes, {} wanted", plain.len(), wanted.len());
    }
}

#[test]
fn a_flipped_bit_is_found_and_what_stands_before_it_is_given() {
    let plain = text(500_000);
    let whole = compressed(&plain, 1);
    for place in (10..whole.len()).step_by(whole.len() / 61) {
        let mut damaged = whole.clone();
        damaged[place] ^= 0x10;
        let Some((read, error)) = parallel(&damaged) else { return };
        let (_, wanted_error) = self::read(MultiBzDecoder::new(&damaged[..]));
        assert_eq!(error.is_some(), wanted_error.is_some(), "{place}: some bits mean nothing");
        assert!(plain.starts_with(&read), "{place}");
        let whole_blocks = 99_981 * (place * 5 / whole.len()).saturating_sub(1);
        assert!(read.len() >= whole_blocks, "{place}: only {} bytes", read.len());
    }
}

/// A block says which bytes it holds, 16 bits for each 16 values: so any bits can be made to stand
/// in it. Bytes 0x?0 to 0x?f of three rows spell a magic here.
fn with_mark_inside(rows: [u16; 3], bytes: usize) -> Vec<u8> {
    let symbols: Vec<u8> = rows
        .into_iter()
        .zip([0x40, 0x50, 0x60])
        .flat_map(|(row, first)| {
            (0..16).filter(move |bit| row << bit & 0x8000 != 0).map(move |bit| first + bit)
        })
        .collect();
    text(bytes)
        .iter()
        .zip(0..)
        .map(|(byte, at)| symbols[(usize::from(*byte) + at) % symbols.len()])
        .collect()
}

#[test]
fn a_magic_inside_a_block_is_no_mark() {
    for rows in [[0x3141, 0x5926, 0x5359], [0x1772, 0x4538, 0x5090]] {
        let plain = with_mark_inside(rows, 450_000);
        let bytes = compressed(&plain, 1);
        let mut scanner = super::scan::Scanner::default();
        let (mut marks, mut rest) = (0, &bytes[..]);
        while let Some((taken, _)) = scanner.next_mark(rest) {
            (marks, rest) = (marks + 1, &rest[taken..]);
        }
        assert_eq!(marks, 5 + 5 + 1, "each of five blocks has one inside");
        assert_same(&bytes, "marks inside blocks");
    }
}

#[test]
fn a_block_that_swells_is_read_whole() {
    let plain = vec![0; 30_000_000];
    assert_same(&compressed(&plain, 9), "one block of thirty million");
    let mixed = [text(200_000), plain, text(200_000)].concat();
    assert_same(&compressed(&mixed, 1), "among others");
}

#[test]
fn what_is_no_bzip2_behind_its_header_is_refused_in_bounded_memory() {
    let endless = std::io::repeat(0x55).take(50_000_000);
    let Ok(reader) = ParallelReader::new(Cursor::new(b"BZh9").chain(endless)) else { return };
    let (plain, error) = read(reader);
    assert_eq!((plain.len(), error.is_some()), (0, true));
    for bytes in [&b"BZh9"[..], b"BZh9\x31\x41\x59\x26\x53\x59", b"BZh9\x17\x72\x45\x38\x50\x90"] {
        let Some((plain, error)) = parallel(bytes) else { return };
        assert_eq!((plain.len(), error.is_some()), (0, true), "{bytes:?}");
    }
}
