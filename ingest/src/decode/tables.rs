//! MRT tables: the body of a dump record in, its routes out one by one (RFC 6396 §4.2, §4.3,
//! RFC 8050 §4).
//!
//! Nothing here knows whom a peer index means; that is [`crate::session::mrt`].
//!
//! Not opened: RIB_GENERIC and GEO_PEER_TABLE (RFC 6397). They are skipped and counted.

use schemas::bgp::{Asn, Family, Prefix};

use super::bgp::AsnWidth;
use super::bgp::nlri::read_prefix;
use super::cursor::{Cursor, DecodeError};
use super::mrt::{MrtRecord, RawAddress, read_asn};

/// Reads a PEER_INDEX_TABLE and hands over its peers in the order of their index (RFC 6396 §4.3.1).
/// After an error those handed over are good.
pub fn read_peer_index_table(
    body: &[u8],
    mut on_peer: impl FnMut(RawAddress, Asn),
) -> Result<(), DecodeError> {
    let mut input = Cursor::new(body);
    input.u32("collector BGP ID")?;
    let view_bytes = input.u16("view name length")?;
    input.take("view name", view_bytes.into())?;
    for _ in 0..input.u16("peer count")? {
        let kind = input.u8("peer type")?;
        input.u32("peer BGP ID")?;
        let family = if kind & 1 == 0 { Family::Ipv4 } else { Family::Ipv6 };
        let width = if kind & 2 == 0 { AsnWidth::Two } else { AsnWidth::Four };
        let address = RawAddress::read(&mut input, family)?;
        on_peer(address, read_asn(&mut input, width)?);
    }
    Ok(())
}

/// A RIB record of TABLE_DUMP_V2: one prefix and who has it (RFC 6396 §4.3.2, RFC 8050 §4).
#[derive(Clone, Copy, Debug)]
pub struct Rib<'a> {
    /// The prefix of all entries.
    pub prefix: Prefix,
    entries: Cursor<'a>,
    left: u16,
    has_path_ids: bool,
}

/// One route of a table.
#[derive(Clone, Copy, Debug)]
pub struct RibEntry<'a> {
    /// Index of the peer in the table before the record.
    pub peer_index: u16,
    /// Path identifier, in records that have them.
    pub path_id: Option<u32>,
    /// The attributes of the route.
    pub attributes: Cursor<'a>,
}

impl<'a> Rib<'a> {
    /// Opens the body of RIB_IPV4/6_UNICAST, _MULTICAST and their _ADDPATH forms. None for other
    /// subtypes.
    #[inline]
    pub fn read(record: &MrtRecord<'a>) -> Result<Option<Self>, DecodeError> {
        let family = match record.subtype {
            2 | 3 | 8 | 9 => Family::Ipv4,
            4 | 5 | 10 | 11 => Family::Ipv6,
            _ => return Ok(None),
        };
        let mut entries = Cursor::new(record.body);
        entries.u32("sequence number")?;
        let prefix = read_prefix(&mut entries, family)?;
        let left = entries.u16("entry count")?;
        Ok(Some(Self { prefix, entries, left, has_path_ids: record.subtype >= 8 }))
    }

    /// The next entry; after an error there is no telling where another begins.
    #[inline]
    pub fn next_entry(&mut self) -> Result<Option<RibEntry<'a>>, DecodeError> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        self.left = left;
        let input = &mut self.entries;
        let peer_index = input.u16("peer index")?;
        input.u32("originated time")?;
        let path_id = if self.has_path_ids { Some(input.u32("path identifier")?) } else { None };
        let bytes = input.u16("attribute length")?;
        let attributes = input.cut("attributes", bytes.into())?;
        Ok(Some(RibEntry { peer_index, path_id, attributes }))
    }
}

/// One route of a TABLE_DUMP record (RFC 6396 §4.2).
#[derive(Clone, Copy, Debug)]
pub struct TableDumpEntry<'a> {
    /// The prefix.
    pub prefix: Prefix,
    /// Address of the peer.
    pub peer_address: RawAddress,
    /// AS number of the peer.
    pub peer_asn: Asn,
    /// The attributes of the route, AS numbers two octets wide.
    pub attributes: Cursor<'a>,
}

/// The entries of a TABLE_DUMP record: one by the RFC, thousands behind one view number in the
/// archives of 2000.
#[derive(Clone, Copy, Debug)]
pub struct TableDump<'a> {
    entries: Cursor<'a>,
    family: Family,
}

impl<'a> TableDump<'a> {
    /// Opens the body of a record of type 12. None for unknown subtypes.
    #[inline]
    pub fn read(record: &MrtRecord<'a>) -> Result<Option<Self>, DecodeError> {
        let family = match record.subtype {
            1 => Family::Ipv4,
            2 => Family::Ipv6,
            _ => return Ok(None),
        };
        let mut entries = Cursor::new(record.body);
        entries.u32("view and sequence number")?;
        Ok(Some(Self { entries, family }))
    }

    /// The next entry; after an error there is no telling where another begins.
    #[inline]
    pub fn next_entry(&mut self) -> Result<Option<TableDumpEntry<'a>>, DecodeError> {
        let (input, family) = (&mut self.entries, self.family);
        if input.is_empty() {
            return Ok(None);
        }
        let address = RawAddress::read(input, family)?;
        let offset = input.offset();
        let length_bits = input.u8("prefix length")?;
        if length_bits > family.bits() {
            return Err(DecodeError::PrefixTooLong {
                offset,
                length_bits,
                max_bits: family.bits(),
            });
        }
        input.take("status and originated time", 5)?;
        let peer_address = RawAddress::read(input, family)?;
        let peer_asn = read_asn(input, AsnWidth::Two)?;
        let bytes = input.u16("attribute length")?;
        let attributes = input.cut("attributes", bytes.into())?;
        let prefix = Prefix::of(address.address(), length_bits);
        Ok(Some(TableDumpEntry { prefix, peer_address, peer_asn, attributes }))
    }
}
