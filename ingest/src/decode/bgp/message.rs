//! BGP messages: the bytes of one in, the parts of an UPDATE out (RFC 4271 §4.1, §4.3).
//!
//! The two inner lengths of an UPDATE decide where its three parts lie, so they must fit the
//! message; everything after that is survived where RFC 7606 says so.

use schemas::bgp::Family;

use super::attributes::Walk;
use super::code;
use crate::decode::cursor::{Cursor, DecodeError};

/// Octets of the header: marker, length, type (RFC 4271 §4.1).
pub const HEADER_BYTES: usize = 19;
/// Message type of an UPDATE.
pub const UPDATE: u8 = 2;

/// One message.
#[derive(Clone, Copy, Debug)]
pub enum Message<'a> {
    /// The body of an UPDATE (2).
    Update(Cursor<'a>),
    /// OPEN (1), NOTIFICATION (3), KEEPALIVE (4), ROUTE-REFRESH (5): not looked into.
    Other(u8),
}

impl<'a> Message<'a> {
    /// Reads one message; bytes after it stay in `input`.
    #[inline]
    pub fn read(input: &mut Cursor<'a>) -> Result<Self, DecodeError> {
        let offset = input.offset();
        let [marker @ .., high, low, kind]: [u8; HEADER_BYTES] = input.array("BGP header")?;
        let length = u16::from_be_bytes([high, low]);
        if marker != [0xff; 16] {
            return Err(DecodeError::BadValue { field: "BGP marker", offset, value: 0 });
        }
        let Some(body_bytes) = usize::from(length).checked_sub(HEADER_BYTES) else {
            let (field, offset, value) = ("BGP message length", offset + 16, length.into());
            return Err(DecodeError::BadValue { field, offset, value });
        };
        let body = input.cut("BGP message", body_bytes)?;
        match kind {
            UPDATE => Ok(Self::Update(body)),
            1 | 3..=5 => Ok(Self::Other(kind)),
            _ => {
                let (offset, value) = (offset + 18, kind.into());
                Err(DecodeError::BadValue { field: "BGP message type", offset, value })
            }
        }
    }
}

/// The three parts of an UPDATE. The lists are found, not checked: that takes knowing whether they
/// carry path identifiers.
#[derive(Clone, Copy, Debug)]
pub struct UpdateBody<'a> {
    /// The field Withdrawn Routes: IPv4 unicast.
    pub withdrawn: Cursor<'a>,
    /// The field Path Attributes, for [`Walk::read`].
    pub attributes: Cursor<'a>,
    /// The field NLRI: IPv4 unicast.
    pub announced: Cursor<'a>,
}

impl<'a> UpdateBody<'a> {
    /// Takes the body of an UPDATE apart.
    #[inline(always)]
    pub fn read(mut input: Cursor<'a>) -> Result<Self, DecodeError> {
        let bytes = input.u16("withdrawn routes length")?;
        let withdrawn = input.cut("withdrawn routes", bytes.into())?;
        let bytes = input.u16("total path attribute length")?;
        let attributes = input.cut("path attributes", bytes.into())?;
        Ok(Self { withdrawn, attributes, announced: input })
    }

    /// Whether a well-known mandatory attribute of what is announced is missing: the message is
    /// treated as a withdrawal (RFC 7606 §3 d).
    #[inline]
    #[must_use]
    pub const fn lacks_mandatory(&self, walk: &Walk<'_>) -> bool {
        let is_classic = !self.announced.is_empty();
        (is_classic || walk.reach.is_some()) && !(walk.has(code::ORIGIN) && walk.has(code::AS_PATH))
            || is_classic && !walk.has(code::NEXT_HOP)
    }

    /// The family whose table is complete with this message (RFC 4724 §2): IPv4 unicast for an
    /// UPDATE with nothing in it, another for an empty `MP_UNREACH_NLRI` and nothing else.
    #[must_use]
    pub fn end_of_rib(&self, walk: &Walk<'_>) -> Option<Family> {
        if !self.withdrawn.is_empty() || !self.announced.is_empty() {
            None
        } else if self.attributes.is_empty() {
            Some(Family::Ipv4)
        } else {
            let list = walk.unreach.filter(|list| list.nlri.is_empty())?;
            // Flags, code, a length of one or two octets, and the two families.
            (self.attributes.left() <= 7 && !list.is_multicast).then_some(list.family)
        }
    }
}
