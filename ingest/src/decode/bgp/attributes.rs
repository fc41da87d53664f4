//! Path attributes: the block of one UPDATE or RIB entry in, its verdict and its lists out.
//!
//! [`Walk::read`] reads every header once and judges each value as RFC 7606 §7 says; what it finds
//! is the [`Disposition`], the lists of `MP_REACH_NLRI` and `MP_UNREACH_NLRI`, and
//! [`Attributes`], which is two words and a verdict and decodes only when asked.
//!
//! A malformed attribute is not a dead session: it is left out of what is decoded, it stays in
//! [`Attributes::raw`], and the disposition tells. What cannot be survived is a multiprotocol
//! attribute that does not show where its prefixes are, or that stands twice (RFC 7606 §3 g, j).
//!
//! Not done: rules that need to know whether the peer is internal (RFC 7606 §7.5, 7.9, 7.10), and
//! AS 0 (RFC 7607), which is kept as it was sent.

use std::net::IpAddr;

use schemas::bgp::{Asn, Disposition, Family, PathAttributes};

use super::as_path::{AsnWidth, PathView, is_well_formed};
use super::code;
use super::values::{aggregator, aigp, communities, mp_next_hop, numbers, origin};
use crate::decode::cursor::{Cursor, DecodeError};

/// One attribute as it was sent.
#[derive(Clone, Copy, Debug)]
pub struct RawAttribute<'a> {
    /// Attribute flags.
    pub flags: u8,
    /// Attribute type code.
    pub code: u8,
    /// Attribute value.
    pub value: &'a [u8],
}

impl<'a> RawAttribute<'a> {
    /// The next attribute of a block; an error if it overruns the block (RFC 7606 §4).
    #[inline]
    pub fn next(input: &mut Cursor<'a>) -> Result<Self, DecodeError> {
        let [flags, code, length] = input.array("attribute")?;
        let mut bytes = usize::from(length);
        if flags & code::EXTENDED_LENGTH != 0 {
            bytes = bytes << 8 | usize::from(input.u8("attribute length")?);
        }
        let value = input.take("attribute value", bytes)?;
        Ok(Self { flags, code, value })
    }

    /// What RFC 7606 makes of this attribute alone; unknown ones are accepted as they are.
    #[inline(always)]
    #[must_use]
    pub fn disposition(&self, width: AsnWidth) -> Disposition {
        let demanded = FLAGS.get(usize::from(self.code)).copied().unwrap_or(ANY);
        let conflicts = demanded != ANY && self.flags & BOTH != demanded;
        if !conflicts && self.is_sound(width) {
            Disposition::Accepted
        } else {
            Self::remedy(self.code, conflicts)
        }
    }

    /// Whether the value is one that the code can have.
    #[inline(always)]
    fn is_sound(&self, width: AsnWidth) -> bool {
        let (value, bytes) = (self.value, self.value.len());
        match self.code {
            code::ORIGIN => matches!(value, [0..=2]),
            code::AS_PATH => is_well_formed(value, width),
            code::NEXT_HOP
            | code::MULTI_EXIT_DISC
            | code::LOCAL_PREF
            | code::ORIGINATOR_ID
            | code::ONLY_TO_CUSTOMER => bytes == 4,
            code::ATOMIC_AGGREGATE => bytes == 0,
            code::AGGREGATOR => bytes == width.octets() + 4,
            code::COMMUNITIES | code::CLUSTER_LIST => bytes > 0 && bytes.is_multiple_of(4),
            code::EXTENDED_COMMUNITIES => bytes > 0 && bytes.is_multiple_of(8),
            code::IPV6_EXTENDED_COMMUNITIES => bytes > 0 && bytes.is_multiple_of(20),
            code::LARGE_COMMUNITIES => bytes > 0 && bytes.is_multiple_of(12),
            // RFC 6793 §4.1: a speaker of four octets does not send these.
            code::AS4_PATH => {
                width == AsnWidth::Two && bytes > 0 && is_well_formed(value, AsnWidth::Four)
            }
            code::AS4_AGGREGATOR => width == AsnWidth::Two && bytes == 8,
            code::AIGP => aigp(value).is_some(),
            _ => true,
        }
    }

    /// What is done about an attribute that is malformed (RFC 7606 §3 c, §7; RFC 6793 §6 and
    /// RFC 7311 §3: whatever is wrong with these, the route stands).
    #[cold]
    fn remedy(code: u8, conflicts: bool) -> Disposition {
        match code {
            code::AS4_PATH | code::AS4_AGGREGATOR | code::AIGP => Disposition::AttributeDiscard,
            code::ATOMIC_AGGREGATE | code::AGGREGATOR if !conflicts => {
                Disposition::AttributeDiscard
            }
            _ => Disposition::TreatAsWithdraw,
        }
    }
}

/// The two flags that a code has a fixed value of.
const BOTH: u8 = code::OPTIONAL | code::TRANSITIVE;
/// No value is demanded of them.
const ANY: u8 = 0;
/// Optional and Transitive as each code demands them.
static FLAGS: [u8; 36] = {
    const W: u8 = code::TRANSITIVE; // well-known
    const O: u8 = code::OPTIONAL;
    const X: u8 = ANY;
    [
        X, W, W, W, O, W, W, BOTH, BOTH, O, // 1 ORIGIN to 9 ORIGINATOR_ID
        O, X, X, X, O, O, BOTH, X, X,
        X, // 10 CLUSTER_LIST, 14 and 15 MP, 16 EXTENDED COMMUNITIES
        X, X, X, X, X, BOTH, O, X, X, X, // 25 IPv6 extended, 26 AIGP
        X, X, BOTH, X, X, BOTH, // 32 LARGE_COMMUNITY, 35 ONLY_TO_CUSTOMER
    ]
};

/// Prefixes of one multiprotocol attribute, not yet told plain from ADD-PATH.
#[derive(Clone, Copy, Debug)]
pub struct MpList<'a> {
    /// Family of the prefixes.
    pub family: Family,
    /// Whether the routes are for multicast (SAFI 2) rather than unicast (SAFI 1).
    pub is_multicast: bool,
    /// The list.
    pub nlri: Cursor<'a>,
}

/// What one walk over a block of attributes found beside the attributes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Walk<'a> {
    /// Prefixes of `MP_REACH_NLRI`, if they are IP prefixes.
    pub reach: Option<MpList<'a>>,
    /// Prefixes of `MP_UNREACH_NLRI`, if they are IP prefixes.
    pub unreach: Option<MpList<'a>>,
    /// Multiprotocol attributes of other families (VPN, labelled, `FlowSpec`, EVPN ...).
    pub other_families: u8,
    /// The codes below 64 that were met, a bit each.
    seen: u64,
}

impl<'a> Walk<'a> {
    /// Whether an attribute with this code, below 64, stands in the block.
    #[inline]
    #[must_use]
    pub const fn has(&self, code: u8) -> bool {
        code < 64 && self.seen >> code & 1 == 1
    }

    /// Reads every attribute header of `block`, judges the values and makes `into` stand for the
    /// block. In a snapshot (a RIB entry) the prefix stands outside the block and `MP_REACH_NLRI`
    /// holds only a next hop (RFC 6396 §4.3.4). The disposition is the worst of the attributes;
    /// missing ones are for the message to judge.
    ///
    /// Both are filled in place: to move them costs as much as to read a small message.
    #[inline]
    pub fn read(
        &mut self,
        block: Cursor<'a>,
        is_snapshot: bool,
        into: &mut Attributes<'a>,
    ) -> Result<(), DecodeError> {
        let width = into.width;
        let (mut worst, mut seen, mut seen_high) = (Disposition::Accepted, 0_u64, [0_u64; 4]);
        let mut input = block;
        while !input.is_empty() {
            let Ok(attribute) = RawAttribute::next(&mut input) else {
                // RFC 7606 §4: the attributes overrun their total; the NLRI is found by it.
                worst = Disposition::TreatAsWithdraw;
                break;
            };
            let code = attribute.code;
            let was_seen = if code < 64 {
                let was_seen = seen >> code & 1 == 1;
                seen |= 1 << code;
                was_seen
            } else {
                note_high(&mut seen_high, code)
            };
            let is_mp = matches!(code, code::MP_REACH_NLRI | code::MP_UNREACH_NLRI);
            if was_seen {
                if is_mp {
                    return Err(DecodeError::DuplicateAttribute { code });
                }
                // RFC 7606 §3 g: the first one counts.
                worst = worst.max(Disposition::AttributeDiscard);
                continue;
            }
            worst = worst.max(attribute.disposition(width));
            if is_mp && !is_snapshot {
                self.mp_list(input.behind(attribute.value), code)?;
            } else if code == code::MP_REACH_NLRI && mp_next_hop(attribute.value).is_none() {
                worst = Disposition::TreatAsWithdraw;
            }
        }
        into.raw = block.rest();
        into.has_mp = seen & (1 << code::MP_REACH_NLRI | 1 << code::MP_UNREACH_NLRI) != 0;
        into.disposition = worst;
        self.seen = seen;
        Ok(())
    }

    /// Finds the prefixes of a multiprotocol attribute (RFC 4760 §3, §4), unless they are of a
    /// family that is no IP unicast or multicast. A next hop of a wrong length hides where the
    /// prefixes begin, so the message is refused (RFC 7606 §7.11).
    fn mp_list(&mut self, mut value: Cursor<'a>, code: u8) -> Result<(), DecodeError> {
        let [afi_high, afi_low, safi] = value.array("MP families")?;
        let family = match (u16::from_be_bytes([afi_high, afi_low]), safi) {
            (1, 1 | 2) => Family::Ipv4,
            (2, 1 | 2) => Family::Ipv6,
            _ => {
                self.other_families += 1;
                return Ok(());
            }
        };
        let is_multicast = safi == 2;
        if code == code::MP_UNREACH_NLRI {
            self.unreach = Some(MpList { family, is_multicast, nlri: value });
            return Ok(());
        }
        let offset = value.offset();
        let bytes = value.u8("MP next hop length")?;
        if !matches!(bytes, 4 | 16 | 32) {
            let field = "MP next hop length";
            return Err(DecodeError::BadValue { field, offset, value: bytes.into() });
        }
        value.take("MP next hop and reserved octet", usize::from(bytes) + 1)?;
        self.reach = Some(MpList { family, is_multicast, nlri: value });
        Ok(())
    }
}

/// Notes a code of 64 or more; true if it was there before.
#[cold]
fn note_high(seen: &mut [u64; 4], code: u8) -> bool {
    let (Some(word), bit) = (seen.get_mut(usize::from(code >> 6)), 1 << (code & 63)) else {
        return false;
    };
    let was_seen = *word & bit != 0;
    *word |= bit;
    was_seen
}

/// A block of attributes that was walked: decoded when asked, in parts or whole.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    raw: &'a [u8],
    width: AsnWidth,
    has_mp: bool,
    is_stripped: bool,
    takes_mp_hop: bool,
    disposition: Disposition,
}

impl<'a> Attributes<'a> {
    /// The block as it was sent, multiprotocol prefixes included.
    #[inline]
    #[must_use]
    pub const fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Octets of the AS numbers in the block: equal bytes of different width mean different paths.
    #[inline]
    #[must_use]
    pub const fn width(&self) -> AsnWidth {
        self.width
    }

    /// No attributes yet, with AS numbers of this width.
    #[inline]
    #[must_use]
    pub const fn new(width: AsnWidth) -> Self {
        let disposition = Disposition::Accepted;
        Self {
            raw: &[],
            width,
            has_mp: false,
            is_stripped: false,
            takes_mp_hop: false,
            disposition,
        }
    }

    /// Leaves out the first number of the path from now on: the sender of the message put it there.
    #[inline]
    pub(crate) const fn strip(&mut self) {
        self.is_stripped = true;
    }

    /// Whether the first number of the path is left out: equal bytes then mean another path.
    #[inline]
    #[must_use]
    pub const fn is_stripped(&self) -> bool {
        self.is_stripped
    }

    /// Whether the next hop of `MP_REACH_NLRI` counts: equal bytes then mean another one.
    #[inline]
    #[must_use]
    pub const fn takes_mp_hop(&self) -> bool {
        self.takes_mp_hop
    }

    /// Says whose next hop counts if there are two: that of `MP_REACH_NLRI` for the prefixes in it
    /// and for routes of tables, `NEXT_HOP` for the field NLRI (RFC 4760 §3).
    #[inline]
    pub(crate) fn take_mp_hop(&mut self, takes_mp_hop: bool) {
        self.takes_mp_hop = takes_mp_hop;
    }

    /// What RFC 7606 makes of the message.
    #[inline]
    #[must_use]
    pub const fn disposition(&self) -> Disposition {
        self.disposition
    }

    /// Adds the verdict on what the message lacks.
    #[inline]
    pub(crate) fn judge(&mut self, disposition: Disposition) {
        self.disposition = self.disposition.max(disposition);
    }

    /// Bytes that are equal when the attributes are: the block without the prefixes of its
    /// multiprotocol attributes, and of two next hops the one that counts. Borrowed where there are
    /// none, else put together in `scratch`.
    #[inline]
    pub fn key<'b>(&self, scratch: &'b mut Vec<u8>) -> &'b [u8]
    where
        'a: 'b,
    {
        if !self.has_mp {
            return self.raw;
        }
        scratch.clear();
        let mut input = Cursor::new(self.raw);
        let mut before = input;
        while let Ok(attribute) = RawAttribute::next(&mut input) {
            let header = before.left() - input.left() - attribute.value.len();
            let kept = match attribute.code {
                code::NEXT_HOP if self.takes_mp_hop => &[],
                code::MP_REACH_NLRI => {
                    scratch.extend([attribute.flags, attribute.code]);
                    let short = attribute.value.first().copied().unwrap_or(0);
                    let hop = attribute.value.get(3).copied().unwrap_or(0);
                    let fixed =
                        if short == 0 { 4 + usize::from(hop) } else { attribute.value.len() };
                    attribute.value.get(..fixed).unwrap_or(attribute.value)
                }
                code::MP_UNREACH_NLRI => &[],
                _ => before.rest().get(..header + attribute.value.len()).unwrap_or(&[]),
            };
            scratch.extend_from_slice(kept);
            before = input;
        }
        scratch
    }

    /// The attributes that count: well formed, and the first of their code.
    pub fn sound(&self) -> impl Iterator<Item = RawAttribute<'a>> + use<'a> {
        let (mut input, width, mut seen) = (Cursor::new(self.raw), self.width, [false; 256]);
        let all = std::iter::from_fn(move || RawAttribute::next(&mut input).ok());
        all.filter(move |attribute| {
            let was_seen = seen
                .get_mut(usize::from(attribute.code))
                .is_none_or(|seen| std::mem::replace(seen, true));
            !was_seen && attribute.disposition(width) == Disposition::Accepted
        })
    }

    /// The path with `AS4_PATH` merged in; empty where it is missing or malformed.
    #[must_use]
    pub fn as_path(&self) -> PathView<'a> {
        let (mut path, mut as4_path) = (&[][..], None);
        let (mut is_old_aggregator, mut has_as4_aggregator) = (false, false);
        for attribute in self.sound_path_parts() {
            match attribute.code {
                code::AS_PATH => path = attribute.value,
                code::AS4_PATH => as4_path = Some(attribute.value),
                code::AS4_AGGREGATOR => has_as4_aggregator = true,
                _ => is_old_aggregator = attribute.value.first_chunk() != Some(&AS_TRANS_OCTETS),
            }
        }
        // RFC 6793 §4.2.3: an old speaker has aggregated anew, so what is behind it is stale.
        let is_stale = is_old_aggregator && has_as4_aggregator;
        let path = match as4_path.filter(|_| !is_stale) {
            Some(as4_path) => PathView::merged(path, as4_path),
            None => PathView::new(path, self.width),
        };
        if self.is_stripped { path.stripped() } else { path }
    }

    /// First sound `AS_PATH`, and what decides how `AS4_PATH` is merged into it.
    fn sound_path_parts(&self) -> impl Iterator<Item = RawAttribute<'a>> + use<'a> {
        let (mut input, width) = (Cursor::new(self.raw), self.width);
        let mut is_new = [true; code::AS4_AGGREGATOR as usize + 1];
        let all = std::iter::from_fn(move || RawAttribute::next(&mut input).ok());
        let decides = move |attribute: &RawAttribute<'_>| match attribute.code {
            code::AS_PATH => true,
            code::AS4_PATH | code::AGGREGATOR | code::AS4_AGGREGATOR => width == AsnWidth::Two,
            _ => false,
        };
        all.filter(move |attribute| {
            decides(attribute)
                && is_new.get_mut(usize::from(attribute.code)).is_some_and(std::mem::take)
                && attribute.disposition(width) == Disposition::Accepted
        })
    }

    /// Whether any number in the path is wanted; stops at the first.
    pub fn as_path_contains(&self, is_wanted: &dyn Fn(Asn) -> bool) -> bool {
        self.as_path().asns().any(is_wanted)
    }

    /// All attributes with their values copied.
    #[must_use]
    pub fn decode(&self) -> PathAttributes {
        let mut all =
            PathAttributes { as_path: self.as_path().decode(), ..PathAttributes::default() };
        let (mut mp_hop, mut as4_aggregator) = (None, None);
        for attribute in self.sound() {
            let (value, mut input) = (attribute.value, Cursor::new(attribute.value));
            match attribute.code {
                code::ORIGIN => all.origin = origin(value),
                code::NEXT_HOP => {
                    all.next_hop = input.array::<4>("NEXT_HOP").ok().map(IpAddr::from)
                }
                code::MULTI_EXIT_DISC => all.med = input.u32("MULTI_EXIT_DISC").ok(),
                code::LOCAL_PREF => all.local_pref = input.u32("LOCAL_PREF").ok(),
                code::ATOMIC_AGGREGATE => all.atomic_aggregate = true,
                code::AGGREGATOR => all.aggregator = aggregator(input, self.width),
                code::AS4_AGGREGATOR => as4_aggregator = aggregator(input, AsnWidth::Four),
                code::ORIGINATOR_ID => all.originator_id = input.u32("ORIGINATOR_ID").ok(),
                code::CLUSTER_LIST => {
                    all.cluster_list = numbers(value).map(u32::from_be_bytes).collect()
                }
                code::MP_REACH_NLRI => mp_hop = mp_next_hop(value),
                code::AIGP => all.aigp = aigp(value),
                code::ONLY_TO_CUSTOMER => all.otc = input.u32("ONLY_TO_CUSTOMER").ok().map(Asn),
                code::COMMUNITIES
                | code::EXTENDED_COMMUNITIES
                | code::IPV6_EXTENDED_COMMUNITIES
                | code::LARGE_COMMUNITIES => communities(attribute, &mut all.communities),
                code::AS_PATH | code::AS4_PATH | code::MP_UNREACH_NLRI => {}
                other => all.unknown.push((attribute.flags, other, value.to_vec())),
            }
        }
        all.next_hop = match self.takes_mp_hop {
            true => mp_hop.or(all.next_hop),
            false => all.next_hop.or(mp_hop),
        };
        if all.aggregator.is_some_and(|(asn, _)| asn == Asn::TRANS) {
            all.aggregator = as4_aggregator.or(all.aggregator);
        }
        all.disposition = self.disposition;
        all
    }
}

/// `AS_TRANS` in two octets.
const AS_TRANS_OCTETS: [u8; 2] = (Asn::TRANS.0 as u16).to_be_bytes();

#[cfg(test)]
mod tests {
    use super::*;

    fn read(block: &[u8], width: AsnWidth) -> Attributes<'_> {
        let mut attributes = Attributes::new(width);
        Walk::default().read(Cursor::new(block), false, &mut attributes).unwrap();
        attributes
    }

    #[test]
    fn the_key_is_the_block_without_multiprotocol_prefixes() {
        let origin: &[u8] = &[0x40, 1, 1, 0];
        let reach = |prefix: &[u8]| {
            let fixed: &[u8] = &[0, 1, 1, 4, 192, 0, 2, 1, 0];
            let header = [0x80, code::MP_REACH_NLRI, (fixed.len() + prefix.len()) as u8];
            [&header[..], fixed, prefix, origin].concat()
        };
        let (one, other) = (reach(&[24, 192, 0, 2]), reach(&[16, 198, 51]));
        let (mut first, mut second) = (vec![], vec![]);
        let key = read(&one, AsnWidth::Four).key(&mut first).to_vec();
        assert_eq!(key, read(&other, AsnWidth::Four).key(&mut second));
        assert_eq!(read(origin, AsnWidth::Four).key(&mut first), origin);
    }

    /// RFC 6793 §4.2.3.
    #[test]
    fn an_old_speaker_that_aggregates_makes_what_is_behind_it_stale() {
        let path: &[u8] =
            &[0x40, 2, 6, 2, 2, 0xfb, 0xf4, 0x5b, 0xa0, 0xc0, 17, 6, 2, 1, 0, 6, 0x1a, 0x81];
        let aggregator = |asn: [u8; 2]| [&[0xc0, 7, 6][..], &asn, &[192, 0, 2, 1]].concat();
        let as4_aggregator: &[u8] = &[0xc0, 18, 8, 0, 6, 0x1a, 0x81, 192, 0, 2, 9];
        for (asn, as4, want, aggregated) in [
            ([0x5b, 0xa0], as4_aggregator, "64500 400001", Asn(400_001)),
            ([0xfb, 0xf4], as4_aggregator, "64500 23456", Asn(64_500)),
            ([0xfb, 0xf4], &[], "64500 400001", Asn(64_500)),
        ] {
            let block = [path, &aggregator(asn), as4].concat();
            let decoded = read(&block, AsnWidth::Two).decode();
            assert_eq!(decoded.as_path.to_string(), want);
            assert_eq!(decoded.aggregator.unwrap().0, aggregated);
        }
    }
}
