//! Framing: where messages of a BMP stream end (RFC 7854 §4.1), and nothing of what they say.
//!
//! The listener must know whether a silent session stopped between two messages or inside one, and
//! must hang up where a stream can never be read again. It looks at the version and the length of
//! each message and skips the rest; [`crate::session`] frames and decodes for itself.

/// Version and length.
const HEAD_BYTES: usize = 5;
/// The whole common header: the shortest message.
const MESSAGE_BYTES_MIN: u32 = 6;
/// Versions whose common header we know.
const VERSIONS: [u8; 2] = [3, 4];

/// Why the rest of a stream cannot be framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// Something else than BMP talks to us.
    #[error("version {version} is not BMP")]
    NotBmp {
        /// The first byte.
        version: u8,
    },
    /// No message is that short.
    #[error("a message of {length_bytes} bytes, the header alone has {MESSAGE_BYTES_MIN}")]
    TooShort {
        /// Its length field.
        length_bytes: u32,
    },
    /// Longer than is accepted.
    #[error("a message of {length_bytes} bytes exceeds message_bytes_max = {max_bytes}")]
    TooLong {
        /// Its length field.
        length_bytes: u32,
        /// What is accepted.
        max_bytes: u32,
    },
}

/// Where we are in a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Framing {
    max_bytes: u32,
    head: [u8; HEAD_BYTES],
    head_bytes: usize,
    left_bytes: usize,
}

impl Framing {
    /// The start of a stream.
    pub(super) const fn new(max_bytes: u32) -> Self {
        Self { max_bytes, head: [0; HEAD_BYTES], head_bytes: 0, left_bytes: 0 }
    }

    /// Whether a message has begun and is not over.
    pub(super) const fn is_in_message(&self) -> bool {
        self.head_bytes > 0 || self.left_bytes > 0
    }

    /// Takes the next bytes; says how many messages ended in them.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Result<u64, FramingError> {
        let mut messages = 0;
        loop {
            let skipped = self.left_bytes.min(bytes.len());
            self.left_bytes -= skipped;
            messages += u64::from(skipped > 0 && self.left_bytes == 0);
            bytes = bytes.get(skipped..).unwrap_or_default();
            if bytes.is_empty() {
                return Ok(messages);
            }
            let room = self.head.get_mut(self.head_bytes..).unwrap_or_default();
            let taken = room.len().min(bytes.len());
            room.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            self.head_bytes += taken;
            bytes = bytes.get(taken..).unwrap_or_default();
            let [version, length @ ..] = self.head;
            if !VERSIONS.contains(&version) {
                return Err(FramingError::NotBmp { version });
            }
            if self.head_bytes < HEAD_BYTES {
                return Ok(messages);
            }
            self.left_bytes = self.length(u32::from_be_bytes(length))?;
            self.head_bytes = 0;
        }
    }

    /// Bytes after version and length.
    fn length(&self, length_bytes: u32) -> Result<usize, FramingError> {
        if length_bytes < MESSAGE_BYTES_MIN {
            Err(FramingError::TooShort { length_bytes })
        } else if length_bytes > self.max_bytes {
            Err(FramingError::TooLong { length_bytes, max_bytes: self.max_bytes })
        } else {
            let rest = usize::try_from(length_bytes).unwrap_or(usize::MAX);
            Ok(rest.saturating_sub(HEAD_BYTES))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: u32) -> Vec<u8> {
        let mut bytes = vec![3];
        bytes.extend(length.to_be_bytes());
        bytes.resize(length as usize, 0);
        bytes
    }

    #[test]
    fn messages_are_counted_however_they_are_cut() {
        let stream = [message(6), message(300), message(7)].concat();
        for cut in 1..stream.len() {
            let mut framing = Framing::new(1000);
            let mut messages = 0;
            for chunk in stream.chunks(cut) {
                messages += framing.feed(chunk).unwrap();
            }
            assert_eq!((messages, framing.is_in_message()), (3, false), "chunks of {cut}");
        }
    }

    #[test]
    fn inside_a_message_is_told_from_between_two() {
        let stream = message(10);
        for end in 0..=stream.len() {
            let mut framing = Framing::new(1000);
            framing.feed(&stream[..end]).unwrap();
            assert_eq!(framing.is_in_message(), end > 0 && end < 10, "after {end} bytes");
        }
    }

    #[test]
    fn a_length_of_4_gib_a_short_one_and_another_protocol_are_refused() {
        let refuse = |bytes: &[u8]| Framing::new(1000).feed(bytes).unwrap_err();
        let too_long = FramingError::TooLong { length_bytes: u32::MAX, max_bytes: 1000 };
        assert_eq!(refuse(&[3, 255, 255, 255, 255, 0]), too_long);
        assert_eq!(refuse(&[3, 0, 0, 0, 5]), FramingError::TooShort { length_bytes: 5 });
        assert_eq!(refuse(b"GET / HTTP/1.1"), FramingError::NotBmp { version: b'G' });
        assert!(Framing::new(1000).feed(&message(1000)).is_ok());
        assert!(Framing::new(1000).feed(&message(1001)[..5]).is_err());
    }
}
