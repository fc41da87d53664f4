//! Opening a file: whatever compression it has, out come plain bytes.
//!
//! The compression is told by the first bytes, never by the name. Every decoder works on a fixed
//! buffer; what bounds memory further up is the largest record or line that a reader accepts.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

/// Bytes asked of the disk at once.
const READ_BYTES: usize = 256 * 1024;

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// RFC 1952, several members too.
    Gzip,
    /// bzip2, several streams too.
    Bzip2,
    /// RFC 8878.
    Zstd,
    /// The .xz format.
    Xz,
}

impl Compression {
    /// Told by the first bytes.
    #[must_use]
    pub fn of(head: &[u8]) -> Self {
        const MAGIC: [(&[u8], Compression); 4] = [
            (&[0x1f, 0x8b], Compression::Gzip),
            (b"BZh", Compression::Bzip2),
            (&[0x28, 0xb5, 0x2f, 0xfd], Compression::Zstd),
            (&[0xfd, b'7', b'z', b'X', b'Z', 0], Compression::Xz),
        ];
        MAGIC
            .iter()
            .find(|(magic, _)| head.starts_with(magic))
            .map_or(Self::None, |(_, compression)| *compression)
    }
}

/// A reader of the plain bytes of a file.
///
/// # Errors
/// What the system says of opening or reading the first bytes.
pub fn open(path: &Path) -> io::Result<Box<dyn Read + Send>> {
    let mut file = File::open(path)?;
    let mut head = [0; 8];
    let head_bytes = fill(&mut file, &mut head)?;
    let head = head.get(..head_bytes).unwrap_or_default().to_vec();
    let compression = Compression::of(&head);
    let whole = BufReader::with_capacity(READ_BYTES, io::Cursor::new(head).chain(file));
    Ok(match compression {
        Compression::None => Box::new(whole),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(whole)),
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(whole)),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(whole)?),
        Compression::Xz => Box::new(liblzma::bufread::XzDecoder::new_multi_decoder(whole)),
    })
}

/// Reads until `buffer` is full or the input ends; says how much came.
///
/// # Errors
/// What the reader says, if it says so before any byte came.
pub fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(bytes) => filled += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if filled == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(filled)
}
