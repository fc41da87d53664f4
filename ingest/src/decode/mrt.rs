//! MRT: archive bytes in, one framed record out, and the envelope of a BGP message opened
//! (RFC 6396, RFC 8050).
//!
//! [`frame`] finds where a record ends, whatever its type; [`resync`] where one is likely to begin.
//! [`Bgp4mp`] opens the records of live sessions, those of 1999 too; [`super::tables`] opens dumps.
//!
//! Not opened: BGP4MP_ENTRY and _SNAPSHOT, BGP4PLUS, OSPF, ISIS. They are framed, skipped and
//! counted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use schemas::bgp::{Asn, Family};
use schemas::time::Timestamp;

use super::bgp::AsnWidth;
use super::cursor::{Cursor, DecodeError};

/// Octets of a record header without the microseconds of an ET record (RFC 6396 §2).
pub const HEADER_BYTES: usize = 12;
/// Longest record accepted: a bound on what a damaged header can ask for. Real ones reach 20 MB.
pub const RECORD_BYTES_MAX: usize = 64 << 20;
/// Longest record of a type that is not registered; beyond it the header is taken for damage.
const UNKNOWN_RECORD_BYTES_MAX: usize = 64 << 10;

/// Record types (RFC 6396 §4, appendix B).
pub mod kind {
    /// BGP messages as MRT had them first (appendix B.2).
    pub const BGP: u16 = 5;
    /// TABLE_DUMP (§4.2).
    pub const TABLE_DUMP: u16 = 12;
    /// TABLE_DUMP_V2 (§4.3).
    pub const TABLE_DUMP_V2: u16 = 13;
    /// BGP4MP (§4.4).
    pub const BGP4MP: u16 = 16;
    /// BGP4MP_ET (§3): BGP4MP with microseconds.
    pub const BGP4MP_ET: u16 = 17;
    /// ISIS_ET (§3).
    pub(super) const ISIS_ET: u16 = 33;
    /// OSPFv3_ET (§3).
    pub(super) const OSPFV3_ET: u16 = 49;

    /// Whether the registry of MRT types has it.
    #[inline]
    pub(super) const fn is_registered(kind: u16) -> bool {
        matches!(kind, 0..=13 | 16 | 17 | 32 | 33 | 48 | 49)
    }
}

/// One whole record.
#[derive(Clone, Copy, Debug)]
pub struct MrtRecord<'a> {
    /// Time in the header, with the microseconds of an ET record.
    pub time: Timestamp,
    /// Record type.
    pub kind: u16,
    /// Record subtype.
    pub subtype: u16,
    /// What follows the header, and the microseconds of an ET record.
    pub body: &'a [u8],
}

/// What stands at the front of a stream.
#[derive(Clone, Copy, Debug)]
pub enum Frame<'a> {
    /// A whole record.
    Whole {
        /// The record.
        record: MrtRecord<'a>,
        /// Its bytes, header included.
        bytes: usize,
    },
    /// The beginning of one.
    NeedMore {
        /// How many bytes it takes to go on, those given included.
        bytes: usize,
    },
}

/// Frames the first record of `bytes` (RFC 6396 §2, §3). An error means that the stream is damaged
/// here: no writer makes such a header. [`resync`] finds the next one.
#[inline]
pub fn frame(bytes: &[u8]) -> Result<Frame<'_>, DecodeError> {
    let mut input = Cursor::new(bytes);
    let Ok(header) = Header::read(&mut input) else {
        return Ok(Frame::NeedMore { bytes: HEADER_BYTES });
    };
    header.check()?;
    let Header { secs, kind, subtype, body_bytes, .. } = header;
    let after_header = input;
    let mut bytes = HEADER_BYTES + body_bytes;
    let Ok(mut body) = input.cut("MRT record", body_bytes) else {
        return Ok(Frame::NeedMore { bytes });
    };
    if kind == kind::TABLE_DUMP && is_four_bytes_short(body, subtype) {
        bytes += 4;
        input = after_header;
        match input.cut("MRT record", body_bytes + 4) {
            Ok(longer) => body = longer,
            Err(_) => return Ok(Frame::NeedMore { bytes }),
        }
    }
    let has_micros = matches!(kind, kind::BGP4MP_ET | kind::ISIS_ET | kind::OSPFV3_ET);
    let micros = if has_micros { body.u32("microseconds").unwrap_or(0) } else { 0 };
    let time = Timestamp::from_parts(secs.into(), micros.min(999_999));
    Ok(Frame::Whole { record: MrtRecord { time, kind, subtype, body: body.rest() }, bytes })
}

struct Header {
    secs: u32,
    kind: u16,
    subtype: u16,
    body_bytes: usize,
    length_bytes: u32,
}

impl Header {
    #[inline]
    fn read(input: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        let [t0, t1, t2, t3, k0, k1, s0, s1, l0, l1, l2, l3] = input.array("MRT header")?;
        let length_bytes = u32::from_be_bytes([l0, l1, l2, l3]);
        Ok(Self {
            secs: u32::from_be_bytes([t0, t1, t2, t3]),
            kind: u16::from_be_bytes([k0, k1]),
            subtype: u16::from_be_bytes([s0, s1]),
            body_bytes: usize::try_from(length_bytes).unwrap_or(usize::MAX),
            length_bytes,
        })
    }

    #[inline]
    fn check(&self) -> Result<(), DecodeError> {
        let Self { kind, subtype, body_bytes, length_bytes, .. } = *self;
        if body_bytes > RECORD_BYTES_MAX - HEADER_BYTES {
            let max_bytes = u32::try_from(RECORD_BYTES_MAX).unwrap_or(u32::MAX);
            Err(DecodeError::RecordTooLong { length_bytes, max_bytes })
        } else if !kind::is_registered(kind) && body_bytes > UNKNOWN_RECORD_BYTES_MAX {
            Err(DecodeError::NotARecord { kind, subtype, length_bytes })
        } else {
            Ok(())
        }
    }

    /// Stricter than [`Header::check`]: types that BGP archives hold, and lengths that they have.
    fn is_likely(&self) -> bool {
        let subtypes = match self.kind {
            kind::BGP => 0..=7,
            kind::TABLE_DUMP => 1..=2,
            kind::TABLE_DUMP_V2 => 1..=12,
            kind::BGP4MP | kind::BGP4MP_ET => 0..=11,
            _ => return false,
        };
        subtypes.contains(&self.subtype) && (1..=1 << 20).contains(&self.body_bytes)
    }
}

/// Where the next record of a damaged stream is likely to begin, after the first byte: a likely
/// header that leads to another one or to the end of `bytes`. None if there is none in `bytes`.
#[must_use]
pub fn resync(bytes: &[u8]) -> Option<usize> {
    let header_at = |offset: usize| {
        let mut input = Cursor::new(bytes);
        input.take("damage", offset).ok()?;
        Header::read(&mut input).ok().filter(Header::is_likely)
    };
    let last = bytes.len().checked_sub(HEADER_BYTES)?;
    (1..=last).find(|offset| {
        header_at(*offset).is_some_and(|header| {
            let next = offset + HEADER_BYTES + header.body_bytes;
            next == bytes.len() || next > last || header_at(next).is_some()
        })
    })
}

/// An address as numbers: cheaper to compare and to move than an [`IpAddr`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RawAddress {
    /// Its bits.
    pub bits: u128,
    /// Its family.
    pub family: Family,
}

impl RawAddress {
    #[inline]
    pub(super) fn read(input: &mut Cursor<'_>, family: Family) -> Result<Self, DecodeError> {
        let bits = match family {
            Family::Ipv4 => input.u32("IPv4 address")?.into(),
            Family::Ipv6 => input.array("IPv6 address").map(u128::from_be_bytes)?,
        };
        Ok(Self { bits, family })
    }

    /// The address as one.
    #[must_use]
    pub const fn address(self) -> IpAddr {
        match self.family {
            Family::Ipv4 => IpAddr::V4(Ipv4Addr::from_bits(self.bits as u32)),
            Family::Ipv6 => IpAddr::V6(Ipv6Addr::from_bits(self.bits)),
        }
    }
}

impl From<IpAddr> for RawAddress {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self { bits: address.to_bits().into(), family: Family::Ipv4 },
            IpAddr::V6(address) => Self { bits: address.to_bits(), family: Family::Ipv6 },
        }
    }
}

#[inline]
pub(super) fn read_asn(input: &mut Cursor<'_>, width: AsnWidth) -> Result<Asn, DecodeError> {
    match width {
        AsnWidth::Two => input.u16("AS number").map(|asn| Asn(asn.into())),
        AsnWidth::Four => input.u32("AS number").map(Asn),
    }
}

/// A BGP4MP record: whose message, and the message (RFC 6396 §4.4, RFC 8050 §3).
#[derive(Clone, Copy, Debug)]
pub struct Bgp4mp<'a> {
    /// Address of the peer.
    pub peer_address: RawAddress,
    /// AS number of the peer.
    pub peer_asn: Asn,
    /// Width of the AS numbers in the message.
    pub width: AsnWidth,
    /// Whether the message was sent by the collector rather than by the peer (`_LOCAL`).
    pub is_local: bool,
    /// Whether the subtype says that its lists carry path identifiers (`_ADDPATH`).
    pub has_path_ids: bool,
    /// A message, or a state change.
    pub content: Bgp4mpContent<'a>,
}

/// What a BGP4MP record tells.
#[derive(Clone, Copy, Debug)]
pub enum Bgp4mpContent<'a> {
    /// A BGP message with its header.
    Message(Cursor<'a>),
    /// Old and new state of the session, numbered as in RFC 4271 §8.2.2 from Idle = 1.
    StateChange(u16, u16),
}

impl<'a> Bgp4mp<'a> {
    /// Opens the body of a record of type 16 or 17. None for the subtypes that are not opened
    /// (BGP4MP_ENTRY, BGP4MP_SNAPSHOT, unknown ones) and for what Zebra and FRR write without any
    /// address: it cannot be told whose it is.
    #[inline(always)]
    pub fn read(record: &MrtRecord<'a>) -> Result<Option<Self>, DecodeError> {
        let width = match record.subtype {
            0 | 1 | 6 | 8 | 10 => AsnWidth::Two,
            4 | 5 | 7 | 9 | 11 => AsnWidth::Four,
            _ => return Ok(None),
        };
        let mut input = Cursor::new(record.body);
        let peer_asn = read_asn(&mut input, width)?;
        read_asn(&mut input, width)?;
        let envelope = input;
        let is_state_change = matches!(record.subtype, 0 | 5);
        if is_state_change && envelope.left() == 4 {
            return Ok(None);
        }
        let [_, _, afi_high, afi_low] = input.array("interface and address family")?;
        let family = match u16::from_be_bytes([afi_high, afi_low]) {
            1 => Family::Ipv4,
            2 => Family::Ipv6,
            _ if envelope.peek_padded() == [0xff; 16] => return Ok(None),
            afi => {
                let (offset, value) = (envelope.offset() + 2, afi.into());
                return Err(DecodeError::BadValue { field: "address family", offset, value });
            }
        };
        let peer_address = RawAddress::read(&mut input, family)?;
        RawAddress::read(&mut input, family)?;
        let content = if is_state_change {
            Bgp4mpContent::StateChange(input.u16("old state")?, input.u16("new state")?)
        } else {
            Bgp4mpContent::Message(input)
        };
        let is_local = matches!(record.subtype, 6 | 7 | 10 | 11);
        let has_path_ids = matches!(record.subtype, 8..=11);
        Ok(Some(Self { peer_address, peer_asn, width, is_local, has_path_ids, content }))
    }

    /// Opens the body of a record of type 5, as routing archives wrote them until 2000: two-octet
    /// numbers, IPv4, and a body without the BGP header (RFC 6396 appendix B.2). None for
    /// subtypes that tell nothing of routes.
    pub fn read_legacy(record: &MrtRecord<'a>) -> Result<Option<Self>, DecodeError> {
        let mut input = Cursor::new(record.body);
        let peer_asn = read_asn(&mut input, AsnWidth::Two)?;
        let peer_address = RawAddress::read(&mut input, Family::Ipv4)?;
        let content = match record.subtype {
            1 => {
                input.take("local end", 6)?;
                Bgp4mpContent::Message(input)
            }
            3 => Bgp4mpContent::StateChange(input.u16("old state")?, input.u16("new state")?),
            _ => return Ok(None),
        };
        let width = AsnWidth::Two;
        Ok(Some(Self {
            peer_address,
            peer_asn,
            width,
            is_local: false,
            has_path_ids: false,
            content,
        }))
    }
}

/// Whether the last of several entries ends exactly four bytes after the record says it does: the
/// writer of 2000 did not count the view and sequence numbers in front of its batches. A single
/// entry that is four bytes short is cut.
fn is_four_bytes_short(body: Cursor<'_>, subtype: u16) -> bool {
    let address_bytes = match subtype {
        1 => 4,
        2 => 16,
        _ => return false,
    };
    let skip = |input: &mut Cursor<'_>| {
        input.take("entry", 2 * address_bytes + 8)?;
        input.u16("attribute length").map(usize::from)
    };
    let mut input = body;
    if input.take("view and sequence number", 4).is_err() {
        return false;
    }
    let mut is_batch = false;
    while !input.is_empty() {
        let Ok(bytes) = skip(&mut input) else {
            return false;
        };
        if input.take("attributes", bytes).is_err() {
            return is_batch && input.left() + 4 == bytes;
        }
        is_batch = true;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(kind: u16, subtype: u16, length_bytes: u32) -> Vec<u8> {
        let mut bytes = vec![0x55, 0, 0, 1];
        bytes.extend(kind.to_be_bytes());
        bytes.extend(subtype.to_be_bytes());
        bytes.extend(length_bytes.to_be_bytes());
        bytes
    }

    #[test]
    fn a_header_asks_for_its_record_and_never_for_more_than_the_bound() {
        let wanted = |bytes: &[u8]| match frame(bytes) {
            Ok(Frame::NeedMore { bytes }) => bytes,
            other => panic!("{other:?}"),
        };
        assert_eq!(wanted(&[]), HEADER_BYTES);
        assert_eq!(wanted(&header(kind::BGP4MP, 4, 100)[..11]), HEADER_BYTES);
        assert_eq!(wanted(&header(kind::BGP4MP, 4, 100)), 112);
        let refused = |bytes: &[u8]| frame(bytes).unwrap_err().reason();
        assert_eq!(refused(&header(kind::TABLE_DUMP_V2, 2, u32::MAX)), "record_too_long");
        assert_eq!(refused(&header(32_305, 28_353, 1 << 20)), "not_a_record");
        assert_eq!(wanted(&header(200, 1, 100)), 112, "a type of the future is skipped");
    }

    #[test]
    fn microseconds_are_part_of_the_time_and_not_of_the_body() {
        let mut bytes = header(kind::BGP4MP_ET, 4, 6);
        bytes.extend([0, 0, 0, 7, 8, 9, 99]);
        let Ok(Frame::Whole { record, bytes: used }) = frame(&bytes) else { panic!() };
        assert_eq!((record.time.micros() % 1_000_000, record.body, used), (7, &[8, 9][..], 18));
        let empty = header(kind::BGP4MP_ET, 4, 0);
        let Ok(Frame::Whole { record, .. }) = frame(&empty) else { panic!() };
        assert!(record.body.is_empty());
    }

    #[test]
    fn the_table_dumps_of_2000_are_four_bytes_longer_than_they_say() {
        let mut entries = vec![0; 4];
        for attributes in [3_u16, 5] {
            entries.extend([0; 16]);
            entries.extend(attributes.to_be_bytes());
            entries.extend(vec![0; attributes.into()]);
        }
        for (missing, want) in [(0, 0), (4, 4), (3, 0), (5, 0)] {
            let length = u32::try_from(entries.len() - missing).unwrap();
            let bytes = [header(kind::TABLE_DUMP, 1, length), entries.clone()].concat();
            let Ok(Frame::Whole { bytes: used, .. }) = frame(&bytes) else { panic!() };
            assert_eq!(used, bytes.len() - missing + want, "{missing} bytes short");
        }
    }

    #[test]
    fn after_damage_the_next_header_that_leads_to_another_is_taken() {
        let record = [header(kind::BGP4MP, 4, 5), vec![0; 5]].concat();
        let stream = [vec![0, 16, 0, 4, 0, 0, 0, 5, 1, 2, 3], record.clone(), record].concat();
        assert_eq!(resync(&stream), Some(11));
        assert_eq!(resync(&[0; 300]), None);
    }
}
