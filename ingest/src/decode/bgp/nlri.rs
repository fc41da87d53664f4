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
pub fn check(
    input: Cursor<'_>,
    family: Family,
    has_path_ids: bool,
) -> Result<NlriFacts, DecodeError> {
    let facts = facts(input.rest(), family, has_path_ids);
    facts.ok_or_else(|| refusal(input, family, has_path_ids))
}

/// The same; [`check`] says what is wrong with a list that has no facts.
#[inline(always)]
pub(crate) fn facts(bytes: &[u8], family: Family, has_path_ids: bool) -> Option<NlriFacts> {
    match (family, has_path_ids) {
        (Family::Ipv4, false) => facts_of::<32, false>(bytes),
        (Family::Ipv4, true) => facts_of::<32, true>(bytes),
        (Family::Ipv6, false) => facts_of::<128, false>(bytes),
        (Family::Ipv6, true) => facts_of::<128, true>(bytes),
    }
}

/// What a list shows that can be read; none for one that cannot.
///
/// A length is judged after the loop, all at once: no octet tells more bytes than there could be.
#[inline(always)]
fn facts_of<const MAX_BITS: u8, const HAS_PATH_IDS: bool>(bytes: &[u8]) -> Option<NlriFacts> {
    let (mut facts, mut host_bits, mut longest, mut at) = (NlriFacts::default(), 0, 0, 0);
    while at < bytes.len() {
        if HAS_PATH_IDS {
            at += 4;
        }
        let length_bits = *bytes.get(at)?;
        at += octets_of(length_bits);
        // The last octet, or the length where there is none.
        let last = *bytes.get(at)?;
        at += 1;
        host_bits |= last & SPARE.get(usize::from(length_bits & 7)).copied().unwrap_or(0);
        longest = longest.max(length_bits);
        facts.defaults += u32::from(length_bits == 0);
        facts.prefixes += 1;
    }
    facts.has_host_bits = host_bits != 0;
    (longest <= MAX_BITS).then_some(facts)
}

/// Bits of the last octet past a length, by its remainder of eight; none for whole octets and for
/// the default route.
const SPARE: [u8; 8] = [0, 0x7f, 0x3f, 0x1f, 0x0f, 0x07, 0x03, 0x01];

/// Octets that a length fills.
#[inline]
fn octets_of(length_bits: u8) -> usize {
    (usize::from(length_bits) + 7) >> 3
}

/// Why a list cannot be read: the same once more, with words for it.
#[cold]
fn refusal(mut input: Cursor<'_>, family: Family, has_path_ids: bool) -> DecodeError {
    loop {
        let path_id = if has_path_ids { input.u32("path identifier").map(|_| ()) } else { Ok(()) };
        let read = path_id.and_then(|()| {
            let length_bits = read_length(&mut input, family)?;
            input.take("prefix", octets_of(length_bits))
        });
        if let Err(error) = read {
            return error;
        }
    }
}

/// Reads one prefix: a length in bits, then only the bytes that length fills (RFC 4271 §4.3).
/// Bits past the length are cleared, so equal prefixes are equal keys.
#[inline]
pub fn read_prefix(input: &mut Cursor<'_>, family: Family) -> Result<Prefix, DecodeError> {
    let length_bits = read_length(input, family)?;
    let octets = input.take("prefix", octets_of(length_bits))?;
    Ok(prefix_of(octets, family, length_bits))
}

/// The prefix of the octets that its length fills.
#[inline]
fn prefix_of(octets: &[u8], family: Family, length_bits: u8) -> Prefix {
    let (high, low) = octets.split_at_checked(8).unwrap_or((octets, &[]));
    match family {
        Family::Ipv4 => Prefix::v4_word((word_of(high) >> 32) as u32, length_bits),
        Family::Ipv6 => Prefix::v6_words(word_of(high), word_of(low), length_bits),
    }
}

/// Eight octets at most as the front of a word.
#[inline]
fn word_of(octets: &[u8]) -> u64 {
    match (octets.first_chunk(), octets.last_chunk()) {
        // Two reads that overlap: four octets or more.
        (Some(front), Some(back)) => {
            let (front, back) = (u32::from_be_bytes(*front), u32::from_be_bytes(*back));
            u64::from(front) << 32 | u64::from(back) << (8 * (8_usize.saturating_sub(octets.len())))
        }
        _ => octets.iter().zip([56, 48, 40]).map(|(octet, by)| u64::from(*octet) << by).sum(),
    }
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
    pub fn for_each(&self, f: impl FnMut(Prefix, Option<u32>)) {
        match (self.family, self.has_path_ids) {
            (Family::Ipv4, false) => self.walk::<false>(Family::Ipv4, f),
            (Family::Ipv6, false) => self.walk::<false>(Family::Ipv6, f),
            (family, true) => self.walk::<true>(family, f),
        }
    }

    #[inline(always)]
    fn walk<const HAS_PATH_IDS: bool>(
        &self,
        family: Family,
        mut f: impl FnMut(Prefix, Option<u32>),
    ) {
        let (bytes, mut at) = (self.bytes, 0);
        while at < bytes.len() {
            let mut path_id = None;
            if HAS_PATH_IDS {
                let Some(octets) = bytes.get(at..).and_then(|rest| rest.first_chunk()) else {
                    return;
                };
                path_id = Some(u32::from_be_bytes(*octets));
                at += 4;
            }
            let Some(length_bits) = bytes.get(at).copied() else { return };
            let first = at + 1;
            at = first + octets_of(length_bits);
            let Some(read) = bytes.get(..at) else { return };
            let prefix = match (family, read.last_chunk()) {
                // The last four octets read hold all of an IPv4 prefix, and its length or what is
                // before it: at the end of a list there is nothing behind it to be read.
                (Family::Ipv4, Some(window)) => {
                    let window = u64::from(u32::from_be_bytes(*window));
                    let unused = 32_usize.saturating_sub(8 * (at - first));
                    Prefix::v4_word((window << unused) as u32, length_bits)
                }
                _ => prefix_of(read.get(first..).unwrap_or_default(), family, length_bits),
            };
            f(prefix, path_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Family::{Ipv4, Ipv6};

    fn read(bytes: &[u8], family: Family, has_path_ids: bool) -> Vec<(String, Option<u32>)> {
        let (list, facts) = NlriList::checked(Cursor::new(bytes), family, has_path_ids).unwrap();
        let mut read = vec![];
        list.for_each(|prefix, id| read.push((prefix.to_string(), id)));
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
    fn every_length_of_ipv6_keeps_the_bits_that_count() {
        for length_bits in 0..=128_u8 {
            let octets: Vec<u8> = (1..=16).map(|octet| octet * 15).collect();
            let bytes = [&[length_bits][..], &octets[..usize::from(length_bits).div_ceil(8)]];
            let whole = Prefix::v6(octets.clone().try_into().unwrap(), length_bits);
            assert_eq!(read(&bytes.concat(), Ipv6, false), [(whole.to_string(), None)]);
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
