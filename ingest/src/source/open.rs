//! Opening a file: whatever compression it has, out come plain bytes.
//!
//! The compression is told by the first bytes, never by the name. Every decoder works in bounded
//! memory, and a file gives no more plain bytes than a multiple of its size: a compressed bomb ends
//! with an error. What bounds memory further up is the largest record or line that a reader accepts.
//! What decodes what, and why: `docs/decisions/0012-decompression.md`.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use liblzma::stream::{CONCATENATED, Stream};

use super::bz2::ParallelReader;

/// Bytes asked of the disk at once.
const READ_BYTES: usize = 256 * 1024;
/// Size from which bzip2 is decoded on all cores: below it there are few blocks.
const PARALLEL_BYTES_MIN: u64 = 512 * 1024;
/// Plain bytes that any file may have.
const PLAIN_BYTES_MIN: u64 = 1 << 30;
/// Plain bytes at most for each byte of a file: real archives have 4 to 30.
const EXPANSION_MAX: u64 = 200;
/// Memory that a .xz file may ask for; `xz -9` needs 65 MiB.
const XZ_MEMORY_MAX: u64 = 256 << 20;
/// Window that a .zst file may ask for, as a power of two: what `zstd` itself accepts.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

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
    // A pipe gives its first bytes once, and opening one waits for whoever writes it.
    if !std::fs::metadata(path)?.is_file() {
        let words = "a pipe, device or folder and no file: write what it gives to a file first";
        return Err(io::Error::new(io::ErrorKind::Unsupported, words));
    }
    let mut file = File::open(path)?;
    let file_bytes = file.metadata()?.len();
    let mut head = [0; 8];
    let head_bytes = fill(&mut file, &mut head)?;
    let head = head.get(..head_bytes).unwrap_or_default().to_vec();
    let compression = Compression::of(&head);
    let whole = io::Cursor::new(head).chain(file);
    if compression == Compression::None {
        return Ok(Box::new(BufReader::with_capacity(READ_BYTES, whole)));
    }
    let plain_max = file_bytes.saturating_mul(EXPANSION_MAX).max(PLAIN_BYTES_MIN);
    decompress(whole, compression, file_bytes, plain_max)
}

/// A reader of the plain bytes of `whole`, which gives no more than `plain_max`.
fn decompress(
    whole: impl Read + Send + 'static,
    compression: Compression,
    file_bytes: u64,
    plain_max: u64,
) -> io::Result<Box<dyn Read + Send>> {
    let whole = match compression {
        Compression::Bzip2 if file_bytes >= PARALLEL_BYTES_MIN => {
            match ParallelReader::new(whole) {
                Ok(plain) => return Ok(Box::new(Capped { plain, left: plain_max, plain_max })),
                Err(whole) => whole,
            }
        }
        _ => whole,
    };
    let whole = BufReader::with_capacity(READ_BYTES, whole);
    let plain: Box<dyn Read + Send> = match compression {
        Compression::None => Box::new(whole),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(whole)),
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(whole)),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(whole)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            Box::new(decoder)
        }
        Compression::Xz => {
            let stream = Stream::new_stream_decoder(XZ_MEMORY_MAX, CONCATENATED)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(whole, stream))
        }
    };
    Ok(Box::new(Capped { plain, left: plain_max, plain_max }))
}

/// A reader that gives so many bytes at most, and an error if there are more.
struct Capped<R> {
    plain: R,
    left: u64,
    plain_max: u64,
}

impl<R: Read> Read for Capped<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let bytes = self.plain.read(into)?;
        match self.left.checked_sub(bytes as u64) {
            Some(left) => self.left = left,
            None => {
                let max = self.plain_max;
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("more than {max} plain bytes come out of a file of this size"),
                ));
            }
        }
        Ok(bytes)
    }
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
