//! OpenBMP: one value of a `bmp_raw` topic in, its header and the BMP messages in it out
//! (openbmp.org, "Message Bus API", binary header of version 1.7).
//!
//! The header is passed over by its own length, not by the sum of its fields, so that fields of a
//! later minor version do no harm. What it says twice (the length of what follows) bounds what is
//! read. The messages are [`super::bmp`]'s.
//!
//! Not decoded: text messages (the parsed topics), and object types other than BMP_RAW (12).

use std::net::IpAddr;

use schemas::time::Timestamp;

use super::bmp::address;
use super::cursor::{Cursor, DecodeError};

/// What every header begins with.
pub const MAGIC: [u8; 4] = *b"OBMP";
/// The object type of a value that holds BMP.
pub const BMP_RAW: u8 = 12;
/// Octets up to where the collector's name stands.
const FIXED_BYTES: usize = 38;
/// Longest value accepted: a bound on what a header can ask for.
pub const VALUE_BYTES_MAX: usize = 2 << 20;

/// The header of one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenBmpHeader<'a> {
    /// Minor version; the major one is 1.
    pub minor: u8,
    /// Flags as sent: 0x80 from a router, 0x40 the router's address is IPv6.
    pub flags: u8,
    /// What the value holds.
    pub object_type: u8,
    /// When the collector received it; none where it is zero.
    pub time: Option<Timestamp>,
    /// Identifies the collector.
    pub collector_hash: [u8; 16],
    /// Names the collector.
    pub admin_id: &'a [u8],
    /// Identifies the router.
    pub router_hash: [u8; 16],
    /// The router's address.
    pub router_address: IpAddr,
    /// Names the router, or the group that it is in.
    pub router_group: &'a [u8],
    /// Rows of a text message; 1 here.
    pub rows: u32,
}

/// What stands at the front of a value, or of a file of values.
#[derive(Clone, Copy, Debug)]
pub enum Frame<'a> {
    /// A whole value.
    Whole {
        /// Its header.
        header: OpenBmpHeader<'a>,
        /// What follows the header: BMP messages.
        payload: &'a [u8],
        /// All its bytes.
        bytes: usize,
    },
    /// The beginning of one.
    NeedMore {
        /// How many bytes it takes to go on, those given included.
        bytes: usize,
    },
}

/// Frames and opens the first value of `bytes`.
///
/// # Errors
/// [`DecodeError`] if it is no value of this version.
pub fn frame(bytes: &[u8]) -> Result<Frame<'_>, DecodeError> {
    let mut input = Cursor::new(bytes);
    let Ok([m0, m1, m2, m3, major, minor, h0, h1, p0, p1, p2, p3]) = input.array("OpenBMP header")
    else {
        return match bytes.iter().zip(MAGIC).all(|(byte, magic)| *byte == magic) {
            true => Ok(Frame::NeedMore { bytes: 12 }),
            false => Err(bad("OpenBMP magic", 0, 0)),
        };
    };
    if [m0, m1, m2, m3] != MAGIC {
        return Err(bad("OpenBMP magic", 0, u32::from_be_bytes([m0, m1, m2, m3])));
    }
    if major != 1 || minor < 7 {
        return Err(bad("OpenBMP version", 4, u32::from(major) << 8 | u32::from(minor)));
    }
    let header_bytes = usize::from(u16::from_be_bytes([h0, h1]));
    let payload_length = u32::from_be_bytes([p0, p1, p2, p3]);
    let payload_bytes = usize::try_from(payload_length).unwrap_or(usize::MAX);
    if header_bytes < FIXED_BYTES {
        return Err(bad("OpenBMP header length", 6, u16::from_be_bytes([h0, h1]).into()));
    }
    if payload_bytes > VALUE_BYTES_MAX {
        let max_bytes = u32::try_from(VALUE_BYTES_MAX).unwrap_or(u32::MAX);
        return Err(DecodeError::RecordTooLong { length_bytes: payload_length, max_bytes });
    }
    let mut whole = Cursor::new(bytes);
    let total = header_bytes + payload_bytes;
    let (Ok(mut header), Ok(payload)) =
        (whole.cut("OpenBMP header", header_bytes), whole.take("OpenBMP payload", payload_bytes))
    else {
        return Ok(Frame::NeedMore { bytes: total });
    };
    header.take("OpenBMP lengths", 12)?;
    let header = OpenBmpHeader::read(header, minor)?;
    Ok(Frame::Whole { header, payload, bytes: total })
}

impl<'a> OpenBmpHeader<'a> {
    fn read(mut input: Cursor<'a>, minor: u8) -> Result<Self, DecodeError> {
        let [flags, object_type] = input.array("OpenBMP flags and object type")?;
        let (secs, micros) = (input.u32("collector time")?, input.u32("collector time")?);
        let collector_hash = input.array("collector hash")?;
        let bytes = input.u16("collector name length")?;
        let admin_id = input.take("collector name", bytes.into())?;
        let router_hash = input.array("router hash")?;
        let octets: [u8; 16] = input.array("router address")?;
        let bytes = input.u16("router group length")?;
        let router_group = input.take("router group", bytes.into())?;
        let rows = input.u32("row count")?;
        let time = (secs != 0).then(|| Timestamp::from_parts(secs.into(), micros.min(999_999)));
        let router_address = match (flags & 0x40 != 0, octets) {
            (true, _) => address(octets, true),
            // IPv4 lies in the first four octets here, unlike in BMP.
            (false, [a, b, c, d, ..]) => [a, b, c, d].into(),
        };
        Ok(Self {
            minor,
            flags,
            object_type,
            time,
            collector_hash,
            admin_id,
            router_hash,
            router_address,
            router_group,
            rows,
        })
    }
}

fn bad(field: &'static str, offset: usize, value: u32) -> DecodeError {
    DecodeError::BadValue { field, offset, value }
}
