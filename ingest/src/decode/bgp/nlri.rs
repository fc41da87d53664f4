//! NLRI: a run of bytes in, prefixes out (RFC 4271 §4.3, RFC 4760 §5, RFC 7911 §3).
//!
//! A list is checked once, whole, by [`check`]; what passed is an [`NlriList`] that is walked
//! without errors as often as one likes. Nothing is materialised.
//!
//! Whether a list carries path identifiers cannot be told from the list alone;
//! [`crate::session::peers`] decides it with the [`NlriFacts`] of both readings.

use schemas::bgp::{Family, Prefix};

use crate::decode::cursor::{Cursor, DecodeError};

/// What one reading of a list showed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NlriFacts {
    /// How many prefixes.
    pub prefixes: u32,
    /// How many of them are the default route.
    pub defaults: u32,
    /// Whether any has bits set past its length.
    pub has_host_bits: bool,
}

impl NlriFacts {
    /// What no sane speaker sends: bits past a length, or the default route twice in a list.
    #[inline]
    #[must_use]
    pub const fn is_odd(&self) -> bool {
        self.has_host_bits || self.defaults > 1
    }

    /// Odd, or a default route beside others: worth a second reading with path identifiers.
    #[inline]
    #[must_use]
    pub const fn is_suspicious(&self) -> bool {
        self.has_host_bits || (self.defaults > 0 && self.prefixes > 1)
    }
}

/// Reads the whole list once: every length is legal and the last prefix ends where the list ends.
/// With `has_path_ids`, four octets of path identifier stand before each prefix (RFC 7911 §3).
#[inline]
pub fn check(
    mut input: Cursor<'_>,
    family: Family,
    has_path_ids: bool,
) -> Result<NlriFacts, DecodeError> {
    let mut facts = NlriFacts::default();
    let mut host_bits = 0;
    while !input.is_empty() {
        if has_path_ids {
            input.u32("path identifier")?;
        }
        let length_bits = read_length(&mut input, family)?;
        let octets = input.take("prefix", usize::from(length_bits).div_ceil(8))?;
        // Bits of the last octet past the length; none for whole octets and for the default route.
        let spare = 0xff_u16 >> (((length_bits.wrapping_add(7)) & 7) + 1);
        host_bits |= u16::from(octets.last().copied().unwrap_or(0)) & spare;
        facts.defaults += u32::from(length_bits == 0);
        facts.prefixes += 1;
    }
    facts.has_host_bits = host_bits != 0;
    Ok(facts)
}

/// Reads one prefix: a length in bits, then only the bytes that length fills (RFC 4271 §4.3).
/// Bits past the length are cleared, so equal prefixes are equal keys.
#[inline]
pub fn read_prefix(input: &mut Cursor<'_>, family: Family) -> Result<Prefix, DecodeError> {
    let length_bits = read_length(input, family)?;
    let prefix = match family {
        Family::Ipv4 => Prefix::v4(input.peek_padded(), length_bits),
        Family::Ipv6 => Prefix::v6(input.peek_padded(), length_bits),
    };
    input.take("prefix", usize::from(length_bits).div_ceil(8))?;
    Ok(prefix)
}

#[inline]
fn read_length(input: &mut Cursor<'_>, family: Family) -> Result<u8, DecodeError> {
    let length_bits = input.u8("prefix length")?;
    if length_bits <= family.bits() {
        Ok(length_bits)
    } else {
        Err(too_long(input.offset().saturating_sub(1), length_bits, family))
    }
}

#[cold]
fn too_long(offset: usize, length_bits: u8, family: Family) -> DecodeError {
    DecodeError::PrefixTooLong { offset, length_bits, max_bits: family.bits() }
}

/// A list that [`check`] has passed.
#[derive(Clone, Copy, Debug)]
pub struct NlriList<'a> {
    bytes: &'a [u8],
    family: Family,
    has_path_ids: bool,
}

impl<'a> NlriList<'a> {
    /// No prefixes.
    pub const EMPTY: Self = Self { bytes: &[], family: Family::Ipv4, has_path_ids: false };

    /// The list in `input`, read once to the end.
    #[inline]
    pub fn checked(
        input: Cursor<'a>,
        family: Family,
        has_path_ids: bool,
    ) -> Result<(Self, NlriFacts), DecodeError> {
        let facts = check(input, family, has_path_ids)?;
        Ok((Self::passed(input, family, has_path_ids), facts))
    }

    /// The list in `input`, which [`check`] has passed as this family and form.
    #[inline]
    pub(crate) const fn passed(input: Cursor<'a>, family: Family, has_path_ids: bool) -> Self {
        Self { bytes: input.rest(), family, has_path_ids }
    }

    /// The family of its prefixes.
    #[inline]
    #[must_use]
    pub const fn family(&self) -> Family {
        self.family
    }

    /// Whether there is nothing in it.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Every prefix with its path identifier, if the list has them, in the order sent.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = (Prefix, Option<u32>)> + use<'a> {
        let (mut input, family, has_path_ids) =
            (Cursor::new(self.bytes), self.family, self.has_path_ids);
        std::iter::from_fn(move || {
            if input.is_empty() {
                return None;
            }
            let path_id =
                if has_path_ids { Some(input.u32("path identifier").ok()?) } else { None };
            read_prefix(&mut input, family).ok().map(|prefix| (prefix, path_id))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Family::{Ipv4, Ipv6};

    fn read(bytes: &[u8], family: Family, has_path_ids: bool) -> Vec<(String, Option<u32>)> {
        let (list, facts) = NlriList::checked(Cursor::new(bytes), family, has_path_ids).unwrap();
        let read: Vec<_> = list.iter().map(|(prefix, id)| (prefix.to_string(), id)).collect();
        assert_eq!(read.len(), facts.prefixes as usize);
        read
    }

    #[test]
    fn a_prefix_never_reads_past_the_end() {
        for length_bits in 0..=u8::MAX {
            let bytes = [length_bits, 203, 0];
            let result = read_prefix(&mut Cursor::new(&bytes), Ipv4);
            assert_eq!(result.is_ok(), length_bits <= 16, "{length_bits}: {result:?}");
        }
    }

    #[test]
    fn bits_past_the_length_are_cleared_and_noticed() {
        assert_eq!(read(&[22, 203, 0, 113], Ipv4, false), [("203.0.112.0/22".into(), None)]);
        assert!(check(Cursor::new(&[22, 203, 0, 113]), Ipv4, false).unwrap().has_host_bits);
        for length_bits in 0..=32_u8 {
            let mut bytes = vec![length_bits];
            bytes.extend(&[0xff; 4][..usize::from(length_bits).div_ceil(8)]);
            let facts = check(Cursor::new(&bytes), Ipv4, false).unwrap();
            assert_eq!(facts.has_host_bits, length_bits % 8 != 0, "{length_bits}");
        }
    }

    #[test]
    fn path_identifiers_stand_before_each_prefix() {
        let bytes = [0, 0, 0, 7, 32, 0x20, 1, 0x0d, 0xb8, 0, 0, 0, 8, 0];
        assert_eq!(
            read(&bytes, Ipv6, true),
            [("2001:db8::/32".into(), Some(7)), ("::/0".into(), Some(8))]
        );
        assert!(check(Cursor::new(&bytes[..12]), Ipv6, true).is_err());
    }

    #[test]
    fn a_length_beyond_the_family_is_refused() {
        for (family, length_bits) in [(Ipv4, 33), (Ipv6, 129), (Ipv6, 255)] {
            let mut bytes = [0; 40];
            bytes[0] = length_bits;
            let refused = check(Cursor::new(&bytes), family, false).unwrap_err();
            assert_eq!(refused.reason(), "prefix_too_long");
        }
    }
}
