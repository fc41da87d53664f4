//! The big archive: three real archives of updates, replayed until 200 MiB are full.
//!
//! Each pass shifts the time and permutes the network bits of every prefix but for the first octet,
//! so that prefixes differ from pass to pass while lengths, attributes and sizes of messages stay
//! real. Attributes repeat from pass to pass: that flatters whoever keeps them, and is said so.

use std::io::{self, BufWriter, Read as _, Write};
use std::path::Path;

use ingest::decode::bgp::{Attributes, Message, UpdateBody, Walk};
use ingest::decode::mrt::{self, Bgp4mp, Bgp4mpContent, Frame, MrtRecord, kind};
use ingest::source::open::open;

/// Size at which it ends, after the record that reaches it.
const BYTES: u64 = 200 << 20;
/// An odd number without pattern (the golden ratio).
const SPREAD: u32 = 0x9e37_79b9;

/// Name of the archive in its folder.
pub(crate) const PLAIN: &str = "big.mrt";
/// Name of the same in gzip.
pub(crate) const GZIP: &str = "big.mrt.gz";
/// Name of the same in bzip2.
pub(crate) const BZIP2: &str = "big.mrt.bz2";

/// Writes the archive, plain and compressed, made of these archives.
pub(crate) fn write(folder: &Path, archives: &[impl AsRef<Path>]) -> io::Result<()> {
    let mut parts = Vec::new();
    for archive in archives {
        let mut bytes = Vec::new();
        open(archive.as_ref())?.read_to_end(&mut bytes)?;
        parts.push(bytes);
    }
    let create = |name| std::fs::File::create(folder.join(name)).map(BufWriter::new);
    let mut plain = create(PLAIN)?;
    replay(&parts, &mut plain)?;
    plain.flush()?;
    let read = || std::fs::File::open(folder.join(PLAIN));
    let mut gzip = flate2::write::GzEncoder::new(create(GZIP)?, flate2::Compression::default());
    io::copy(&mut read()?, &mut gzip)?;
    gzip.finish()?.flush()?;
    let mut bzip2 = bzip2::write::BzEncoder::new(create(BZIP2)?, bzip2::Compression::best());
    io::copy(&mut read()?, &mut bzip2)?;
    bzip2.finish()?.flush()
}

fn replay(parts: &[Vec<u8>], out: &mut impl Write) -> io::Result<()> {
    let (mut written, mut base) = (0, None);
    for pass in 0.. {
        for part in parts {
            let (mut rest, mut first, mut last) = (part.as_slice(), None, 0);
            while let Ok(Frame::Whole { record, bytes }) = mrt::frame(rest) {
                let Some((whole, behind)) = rest.split_at_checked(bytes) else { break };
                rest = behind;
                let secs = u32::try_from(record.time.secs()).unwrap_or(0);
                let first = *first.get_or_insert(secs);
                last = last.max(secs.wrapping_sub(first));
                let time = secs.wrapping_sub(first).wrapping_add(*base.get_or_insert(first));
                let mut whole = whole.to_vec();
                if let Some(place) = whole.first_chunk_mut() {
                    *place = time.to_be_bytes();
                }
                if pass > 0 {
                    let body = whole.len() - record.body.len();
                    permute(&record, whole.get_mut(body..).unwrap_or_default(), pass);
                }
                out.write_all(&whole)?;
                written += whole.len() as u64;
                if written >= BYTES {
                    return Ok(());
                }
            }
            base = base.map(|base: u32| base.wrapping_add(last).wrapping_add(1));
        }
        if written == 0 {
            break;
        }
    }
    Ok(())
}

/// Permutes the prefixes of an UPDATE; what does not hold together stays as it is.
fn permute(record: &MrtRecord<'_>, body: &mut [u8], pass: u32) {
    let Some((has_path_ids, lists)) = lists(record) else { return };
    for (start, bytes) in lists {
        permute_list(body.get_mut(start..start + bytes).unwrap_or_default(), has_path_ids, pass);
    }
}

/// Where in the body of a record its prefix lists lie.
fn lists(record: &MrtRecord<'_>) -> Option<(bool, Vec<(usize, usize)>)> {
    if !matches!(record.kind, kind::BGP4MP | kind::BGP4MP_ET) {
        return None;
    }
    let opened = Bgp4mp::read(record).ok()??;
    let Bgp4mpContent::Message(mut input) = opened.content else { return None };
    let Ok(Message::Update(body)) = Message::read(&mut input) else { return None };
    let parts = UpdateBody::read(body).ok()?;
    let (mut walk, mut attributes) = (Walk::default(), Attributes::new(opened.width));
    walk.read(parts.attributes, false, &mut attributes).ok()?;
    let mp = [walk.reach, walk.unreach].into_iter().flatten().map(|list| list.nlri);
    let lists = [parts.withdrawn, parts.announced].into_iter().chain(mp);
    let places = lists.map(|list| (list.offset(), list.left())).collect();
    Some((opened.has_path_ids, places))
}

/// A list that begins with a default route stays as it is: bgpkit-parser guesses path identifiers
/// there, and for some permutations refuses the message (RFC 4271 §4.3 has prefixes of no bits).
fn permute_list(mut list: &mut [u8], has_path_ids: bool, pass: u32) {
    if list.first() == Some(&0) && !has_path_ids {
        return;
    }
    loop {
        if has_path_ids {
            list = list.get_mut(4..).unwrap_or_default();
        }
        let Some((length, rest)) = list.split_first_mut() else { return };
        let octets = usize::from(*length).div_ceil(8);
        let Some((prefix, rest)) = rest.split_at_mut_checked(octets) else { return };
        for (octet, place) in prefix.iter_mut().zip(0_u32..).skip(1) {
            // Only the bits that count: those past the length stay as they are.
            let bits = (u32::from(*length) - 8 * place).min(8);
            let keep = 0xff00_u32 >> bits & 0xff;
            let noise = (place ^ pass.wrapping_mul(SPREAD)) >> (5 * ((place - 1) & 3));
            *octet ^= (noise & keep).to_be_bytes()[3];
        }
        list = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permuted_prefix_keeps_its_length_its_first_octet_and_its_host_bits() {
        let list = [22, 203, 0, 113, 8, 10, 0, 32, 192, 0, 2, 1];
        let mut permuted = list;
        permute_list(&mut permuted, false, 3);
        assert_ne!(permuted, list);
        for place in [0, 1, 4, 5, 6, 7, 8] {
            assert_eq!(permuted[place], list[place], "{place}");
        }
        assert_eq!(permuted[3] & 3, list[3] & 3, "bits past the length");
    }
}
