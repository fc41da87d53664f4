//! RTR: bytes of a session with a cache of VRPs in, one PDU out (RFC 8210; version 0: RFC 6810).
//!
//! Every PDU begins with version, type, a field of two octets whose meaning is the type's, and its
//! length. [`frame`] finds where one ends, [`decode`] opens it. Nothing is kept between PDUs: what
//! they mean is [`crate::session::rtr`].
//!
//! Not decoded: router keys (BGPsec; framed and skipped), the ASPA PDU of the version 2 drafts.

use schemas::bgp::{Asn, Prefix};
use schemas::reference::Vrp;

use super::cursor::{Cursor, DecodeError};

/// The version of RFC 8210.
pub const VERSION: u8 = 1;
/// Octets that every PDU has.
pub const HEADER_BYTES: usize = 8;
/// Longest PDU accepted: only error reports and router keys have no fixed length.
pub const PDU_BYTES_MAX: u32 = 64 * 1024;

/// Types (RFC 8210 §5).
pub mod kind {
    /// The cache has news.
    pub const SERIAL_NOTIFY: u8 = 0;
    /// What is new since a serial?
    pub const SERIAL_QUERY: u8 = 1;
    /// What is there?
    pub const RESET_QUERY: u8 = 2;
    /// The answer begins.
    pub const CACHE_RESPONSE: u8 = 3;
    /// A VRP comes or goes.
    pub const IPV4_PREFIX: u8 = 4;
    /// A VRP comes or goes.
    pub const IPV6_PREFIX: u8 = 6;
    /// The answer ends.
    pub const END_OF_DATA: u8 = 7;
    /// What is new is not known any more: ask for everything.
    pub const CACHE_RESET: u8 = 8;
    /// A key of BGPsec.
    pub const ROUTER_KEY: u8 = 9;
    /// Something is wrong.
    pub const ERROR_REPORT: u8 = 10;
}

/// Codes of error reports (RFC 8210 §12).
pub mod code {
    /// A PDU that cannot be read.
    pub const CORRUPT_DATA: u16 = 0;
    /// The other end failed.
    pub const INTERNAL_ERROR: u16 = 1;
    /// The cache has nothing yet.
    pub const NO_DATA_AVAILABLE: u16 = 2;
    /// A version that is not spoken.
    pub const UNSUPPORTED_VERSION: u16 = 4;
    /// A type that is not known.
    pub const UNSUPPORTED_TYPE: u16 = 5;
    /// A VRP goes that was never there.
    pub const WITHDRAWAL_OF_UNKNOWN: u16 = 6;
    /// A VRP comes that is there.
    pub const DUPLICATE_ANNOUNCEMENT: u16 = 7;
    /// Another version than the session began with.
    pub const UNEXPECTED_VERSION: u16 = 8;
}

/// How long to wait for what (RFC 8210 §6), in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// Between two questions.
    pub refresh_secs: u32,
    /// After a failure.
    pub retry_secs: u32,
    /// Until what is held counts no more.
    pub expire_secs: u32,
}

impl Default for Timers {
    /// Those of RFC 8210 §6, where nobody says otherwise.
    fn default() -> Self {
        Self { refresh_secs: 3_600, retry_secs: 600, expire_secs: 7_200 }
    }
}

/// One PDU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pdu<'a> {
    /// The cache has news.
    SerialNotify {
        /// Its session.
        session: u16,
        /// Its newest serial.
        serial: u32,
    },
    /// What is new since a serial? A router asks, a cache does not.
    SerialQuery {
        /// The session that is known.
        session: u16,
        /// The serial that is known.
        serial: u32,
    },
    /// What is there? A router asks, a cache does not.
    ResetQuery,
    /// The answer begins.
    CacheResponse {
        /// Its session.
        session: u16,
    },
    /// A VRP comes or goes.
    Prefix {
        /// Whether it comes.
        is_announced: bool,
        /// The VRP.
        vrp: Vrp,
    },
    /// The answer ends.
    EndOfData {
        /// Its session.
        session: u16,
        /// The serial that is known now.
        serial: u32,
        /// From version 1 on.
        timers: Option<Timers>,
    },
    /// What is new is not known any more.
    CacheReset,
    /// A key of BGPsec, unread.
    RouterKey,
    /// Something is wrong.
    ErrorReport {
        /// Why: see [`code`].
        code: u16,
        /// The PDU that it is about.
        about: &'a [u8],
        /// In words, UTF-8 if all is well.
        text: &'a [u8],
    },
    /// A type that no version here knows.
    Unknown {
        /// Its number.
        kind: u8,
    },
}

/// The length of the PDU at the front, once its header is there.
///
/// # Errors
/// [`DecodeError`] for a length that no PDU has: the stream cannot be followed any further.
pub fn frame(bytes: &[u8]) -> Result<Option<usize>, DecodeError> {
    let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    let [.., a, b, c, d] = *header;
    let length_bytes = u32::from_be_bytes([a, b, c, d]);
    if length_bytes > PDU_BYTES_MAX {
        return Err(DecodeError::RecordTooLong { length_bytes, max_bytes: PDU_BYTES_MAX });
    }
    match usize::try_from(length_bytes) {
        Ok(length) if length >= HEADER_BYTES => Ok(Some(length)),
        _ => Err(DecodeError::BadValue { field: "length", offset: 4, value: length_bytes }),
    }
}

/// Opens one framed PDU; its version stands beside it.
///
/// # Errors
/// [`DecodeError`] if it does not hold together.
pub fn decode(pdu: &[u8]) -> Result<(u8, Pdu<'_>), DecodeError> {
    let mut input = Cursor::new(pdu);
    let (version, kind) = (input.u8("version")?, input.u8("type")?);
    let word = input.u16("session")?;
    input.u32("length")?;
    let pdu = match kind {
        kind::SERIAL_NOTIFY => Pdu::SerialNotify { session: word, serial: input.u32("serial")? },
        kind::SERIAL_QUERY => Pdu::SerialQuery { session: word, serial: input.u32("serial")? },
        kind::RESET_QUERY => Pdu::ResetQuery,
        kind::CACHE_RESPONSE => Pdu::CacheResponse { session: word },
        kind::IPV4_PREFIX => {
            prefix(&mut input, |input| Ok((Prefix::v4(input.array("prefix")?, u8::MAX), 32)))?
        }
        kind::IPV6_PREFIX => {
            prefix(&mut input, |input| Ok((Prefix::v6(input.array("prefix")?, u8::MAX), 128)))?
        }
        kind::END_OF_DATA => {
            let serial = input.u32("serial")?;
            let timers = if version == 0 { None } else { Some(timers(&mut input)?) };
            Pdu::EndOfData { session: word, serial, timers }
        }
        kind::CACHE_RESET => Pdu::CacheReset,
        kind::ROUTER_KEY => {
            input.take("router key", input.left())?;
            Pdu::RouterKey
        }
        kind::ERROR_REPORT => {
            let about = part(&mut input, "erroneous PDU")?;
            let text = part(&mut input, "error text")?;
            Pdu::ErrorReport { code: word, about, text }
        }
        kind => {
            input.take("body", input.left())?;
            Pdu::Unknown { kind }
        }
    };
    if input.is_empty() {
        Ok((version, pdu))
    } else {
        let value = u32::try_from(input.left()).unwrap_or(u32::MAX);
        Err(DecodeError::BadValue { field: "bytes behind the PDU", offset: input.offset(), value })
    }
}

/// Flags, lengths, a zero, the address as `address` reads it, the AS number (§5.6, §5.7).
fn prefix<'a>(
    input: &mut Cursor<'a>,
    address: impl FnOnce(&mut Cursor<'a>) -> Result<(Prefix, u8), DecodeError>,
) -> Result<Pdu<'a>, DecodeError> {
    let flags = input.u8("flags")?;
    let offset = input.offset();
    let (length, max_length) = (input.u8("prefix length")?, input.u8("max length")?);
    input.u8("zero")?;
    let (host, max_bits) = address(input)?;
    let asn = Asn(input.u32("AS number")?);
    if length > max_bits {
        return Err(DecodeError::PrefixTooLong { offset, length_bits: length, max_bits });
    }
    if !(length..=max_bits).contains(&max_length) {
        let value = u32::from(max_length);
        return Err(DecodeError::BadValue { field: "max length", offset: offset + 1, value });
    }
    let prefix = Prefix::of(host.address(), length);
    let vrp = Vrp { prefix, asn, max_length, expires: None };
    Ok(Pdu::Prefix { is_announced: flags & 1 == 1, vrp })
}

/// As the cache says them, within the bounds of RFC 8210 §6.
fn timers(input: &mut Cursor<'_>) -> Result<Timers, DecodeError> {
    Ok(Timers {
        refresh_secs: input.u32("refresh interval")?.clamp(1, 86_400),
        retry_secs: input.u32("retry interval")?.clamp(1, 7_200),
        expire_secs: input.u32("expire interval")?.clamp(600, 172_800),
    })
}

/// A length of four octets and as many bytes.
fn part<'a>(input: &mut Cursor<'a>, field: &'static str) -> Result<&'a [u8], DecodeError> {
    let bytes = input.u32(field)?;
    input.take(field, usize::try_from(bytes).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::encode::rtr::{self, encode};

    fn vrp(prefix: &str, max_length: u8, asn: u32) -> Vrp {
        Vrp { prefix: prefix.parse().unwrap(), asn: Asn(asn), max_length, expires: None }
    }

    /// The examples of the RFCs' own tables, octet by octet.
    #[test]
    fn pdus_are_read_as_the_rfcs_draw_them() {
        let ipv4 = [1, 4, 0, 0, 0, 0, 0, 20, 1, 24, 25, 0, 203, 0, 113, 0, 0, 0, 0xfb, 0xfe];
        let wanted = Pdu::Prefix { is_announced: true, vrp: vrp("203.0.113.0/24", 25, 64_510) };
        assert_eq!(decode(&ipv4), Ok((1, wanted)));
        let end = [0, 7, 0, 9, 0, 0, 0, 12, 0, 0, 0, 5];
        assert_eq!(decode(&end), Ok((0, Pdu::EndOfData { session: 9, serial: 5, timers: None })));
        let mut end = vec![1, 7, 0, 9, 0, 0, 0, 24, 0, 0, 0, 5];
        end.extend([0, 0, 0, 60, 0, 0, 0, 30, 0, 0, 0, 1]);
        let timers = Some(Timers { refresh_secs: 60, retry_secs: 30, expire_secs: 600 });
        assert_eq!(decode(&end), Ok((1, Pdu::EndOfData { session: 9, serial: 5, timers })));
        let report = [1, 10, 0, 2, 0, 0, 0, 18, 0, 0, 0, 0, 0, 0, 0, 2, b'n', b'o'];
        let wanted = Pdu::ErrorReport { code: 2, about: &[], text: b"no" };
        assert_eq!(decode(&report), Ok((1, wanted)));
    }

    #[test]
    fn lengths_that_cannot_be_are_refused() {
        assert_eq!(frame(&[1, 2, 0, 0, 0, 0, 0]), Ok(None));
        assert!(frame(&[1, 2, 0, 0, 0, 0, 0, 7]).is_err(), "shorter than its header");
        assert!(frame(&[1, 2, 0, 0, 0, 1, 0, 1]).is_err(), "longer than any");
        for (length, max_length, is_read) in
            [(32, 32, true), (33, 33, false), (24, 23, false), (24, 33, false), (0, 32, true)]
        {
            let bytes = [1, 4, 0, 0, 0, 0, 0, 20, 1, length, max_length, 0, 0, 0, 0, 0, 0, 0, 0, 1];
            assert_eq!(decode(&bytes).is_ok(), is_read, "{length} {max_length}");
        }
        assert!(decode(&[1, 8, 0, 0, 0, 0, 0, 9, 0]).is_err(), "a byte too many");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            version in 0..=1_u8,
            session: u16,
            serial: u32,
            high: u128,
            length in 0..=128_u8,
            is_announced: bool,
            text in "[ -~]{0,40}",
        ) {
            let prefix = Prefix::v6(high.to_be_bytes(), length);
            let vrp = Vrp { prefix, asn: Asn(serial), max_length: 128, expires: None };
            let timers = (version > 0).then(Timers::default);
            let text = text.as_bytes();
            for pdu in [
                Pdu::SerialNotify { session, serial },
                Pdu::SerialQuery { session, serial },
                Pdu::ResetQuery,
                Pdu::CacheResponse { session },
                Pdu::Prefix { is_announced, vrp },
                Pdu::EndOfData { session, serial, timers },
                Pdu::CacheReset,
                Pdu::ErrorReport { code: session, about: &rtr::reset_query(version), text },
            ] {
                let mut bytes = Vec::new();
                encode(&mut bytes, version, &pdu);
                prop_assert_eq!(frame(&bytes), Ok(Some(bytes.len())));
                prop_assert_eq!(decode(&bytes), Ok((version, pdu)));
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(Some(length)) = frame(&bytes) {
                let _ = decode(&bytes[..length.min(bytes.len())]);
            }
        }
    }
}
