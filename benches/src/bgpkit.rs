//! bgpkit-parser as a contestant: a file in, the number of its elements out.
//!
//! Its default iterator, as its README shows it, over a buffered reader. Its own file opening is
//! left out so that both read through the same decompressors and only parsing is compared.

use std::hint::black_box;
use std::io::{self, BufReader};
use std::path::Path;

use bgpkit_parser::BgpkitParser;
use ingest::source::open::open;

/// Bytes it asks for at once.
const BUFFER_BYTES: usize = 128 * 1024;

/// Counts the elements of a file.
///
/// # Errors
/// If the file cannot be opened; damage ends the iterator and is not told.
pub(crate) fn count(path: &Path) -> io::Result<usize> {
    let reader = BufReader::with_capacity(BUFFER_BYTES, open(path)?);
    Ok(BgpkitParser::from_reader(reader).into_elem_iter().map(black_box).count())
}

/// The version that the manifest pins.
pub(crate) fn version() -> &'static str {
    let manifest = include_str!("../Cargo.toml");
    let line = manifest.lines().find(|line| line.starts_with("bgpkit-parser"));
    line.and_then(|line| line.split("\"=").nth(1)?.split('"').next()).unwrap_or("not known")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_version_is_pinned_and_found() {
        assert_eq!(super::version().split('.').count(), 3, "{}", super::version());
    }
}
