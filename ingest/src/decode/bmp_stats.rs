//! BMP statistics: the body of a Statistics Report in, its numbers out (RFC 7854 §4.8, RFC 8671
//! §6.2, RFC 9069 §5.5, RFC 9972).
//!
//! A number is read by its size, not by its type: four octets, eight, or a family and eight. FRR
//! sends gauges in four octets, and a type that is not known yet has one of the three forms too.

use schemas::bgp::RibView;

use super::cursor::{Cursor, DecodeError};

/// Types by which the size of a table is told.
pub mod kind {
    /// Routes in Adj-RIBs-In (RFC 7854).
    pub const ADJ_RIB_IN: u16 = 7;
    /// Routes in the Loc-RIB (RFC 7854).
    pub const LOC_RIB: u16 = 8;
    /// The same as 7, one family (RFC 7854).
    pub const ADJ_RIB_IN_FAMILY: u16 = 9;
    /// The same as 8, one family (RFC 7854).
    pub const LOC_RIB_FAMILY: u16 = 10;
    /// Routes in Adj-RIBs-Out before policy (RFC 8671).
    pub const ADJ_RIB_OUT_PRE: u16 = 14;
    /// Routes in Adj-RIBs-Out after policy (RFC 8671).
    pub const ADJ_RIB_OUT_POST: u16 = 15;
    /// The same as 14, one family (RFC 8671).
    pub const ADJ_RIB_OUT_PRE_FAMILY: u16 = 16;
    /// The same as 15, one family (RFC 8671).
    pub const ADJ_RIB_OUT_POST_FAMILY: u16 = 17;
    /// Routes in Adj-RIBs-In after policy (RFC 9972).
    pub const ADJ_RIB_IN_POST: u16 = 20;
    /// The same as 20, one family (RFC 9972).
    pub const ADJ_RIB_IN_POST_FAMILY: u16 = 21;
}

/// One number of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistic {
    /// Its type.
    pub kind: u16,
    /// AFI and SAFI, for those of one family.
    pub family: Option<(u16, u8)>,
    /// The number.
    pub value: u64,
}

/// The numbers of a report, and what was none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportFacts {
    /// Numbers handed over.
    pub numbers: u32,
    /// TLVs of a size that no number has.
    pub opaque: u32,
    /// Whether the report ends inside a TLV, or holds fewer or more than it says.
    pub is_torn: bool,
}

/// Walks the body of a report behind the per-peer header. What is torn ends it.
///
/// # Errors
/// [`DecodeError`] if not even the count is there.
pub fn for_each(
    mut input: Cursor<'_>,
    mut f: impl FnMut(Statistic),
) -> Result<ReportFacts, DecodeError> {
    let count = input.u32("statistics count")?;
    let mut facts = ReportFacts::default();
    while !input.is_empty() {
        match next(&mut input) {
            Ok(Some(statistic)) => {
                facts.numbers += 1;
                f(statistic);
            }
            Ok(None) => facts.opaque += 1,
            Err(_) => {
                facts.is_torn = true;
                return Ok(facts);
            }
        }
    }
    facts.is_torn = count != facts.numbers + facts.opaque;
    Ok(facts)
}

fn next(input: &mut Cursor<'_>) -> Result<Option<Statistic>, DecodeError> {
    let kind = input.u16("statistic type")?;
    let bytes = input.u16("statistic length")?;
    let mut value = input.cut("statistic", bytes.into())?;
    let plain = |value| Statistic { kind, family: None, value };
    Ok(match bytes {
        4 => Some(plain(value.u32("statistic")?.into())),
        8 => Some(plain(value.u64("statistic")?)),
        11 => {
            let family = Some((value.u16("statistic AFI")?, value.u8("statistic SAFI")?));
            Some(Statistic { kind, family, value: value.u64("statistic")? })
        }
        _ => None,
    })
}

/// How many prefixes of a peer stand in the table of a view, from the numbers of one report: the
/// whole where it is told, else the sum of its families.
#[derive(Clone, Copy, Debug, Default)]
pub struct TableSizes {
    whole: [Option<u64>; 4],
    by_family: [Option<u64>; 4],
}

impl TableSizes {
    /// Takes a number.
    pub fn take(&mut self, statistic: &Statistic) {
        let place = match statistic.kind {
            kind::ADJ_RIB_IN_POST | kind::ADJ_RIB_IN_POST_FAMILY => 0,
            kind::ADJ_RIB_IN | kind::ADJ_RIB_IN_FAMILY => 1,
            kind::LOC_RIB | kind::LOC_RIB_FAMILY => 2,
            kind::ADJ_RIB_OUT_POST | kind::ADJ_RIB_OUT_POST_FAMILY => 3,
            _ => return,
        };
        match statistic.family {
            None => {
                if let Some(whole) = self.whole.get_mut(place) {
                    *whole = Some(statistic.value);
                }
            }
            Some(_) => {
                if let Some(sum) = self.by_family.get_mut(place) {
                    *sum = Some(sum.unwrap_or(0).saturating_add(statistic.value));
                }
            }
        }
    }

    /// Prefixes that the router has accepted of a peer, as tables of this view tell it.
    #[must_use]
    pub fn accepted(&self, view: RibView) -> Option<u64> {
        let at = |place: usize| {
            let whole = self.whole.get(place).copied().flatten();
            whole.or(self.by_family.get(place).copied().flatten())
        };
        match view {
            RibView::AdjRibInPre | RibView::AdjRibInPost => at(0).or(at(1)),
            RibView::LocRib => at(2),
            RibView::AdjRibOutPre | RibView::AdjRibOutPost => at(3),
        }
    }
}

/// What a type counts, in words; none for one that is not known.
#[must_use]
pub const fn words(kind: u16) -> Option<&'static str> {
    Some(match kind {
        0 => "prefixes rejected by inbound policy",
        1 => "duplicate prefix announcements",
        2 => "duplicate withdrawals",
        3 => "updates invalidated by a CLUSTER_LIST loop",
        4 => "updates invalidated by an AS_PATH loop",
        5 => "updates invalidated by the ORIGINATOR_ID",
        6 => "updates invalidated by a confederation loop",
        kind::ADJ_RIB_IN => "routes in Adj-RIBs-In",
        kind::LOC_RIB => "routes in the Loc-RIB",
        kind::ADJ_RIB_IN_FAMILY => "routes in Adj-RIBs-In of a family",
        kind::LOC_RIB_FAMILY => "routes in the Loc-RIB of a family",
        11 => "updates treated as withdrawals",
        12 => "prefixes treated as withdrawn",
        13 => "duplicate updates",
        kind::ADJ_RIB_OUT_PRE => "routes in Adj-RIBs-Out before policy",
        kind::ADJ_RIB_OUT_POST => "routes in Adj-RIBs-Out after policy",
        kind::ADJ_RIB_OUT_PRE_FAMILY => "routes in Adj-RIBs-Out of a family before policy",
        kind::ADJ_RIB_OUT_POST_FAMILY => "routes in Adj-RIBs-Out of a family after policy",
        18 => "routes in Adj-RIBs-In before policy",
        19 => "routes in Adj-RIBs-In of a family before policy",
        kind::ADJ_RIB_IN_POST => "routes in Adj-RIBs-In after policy",
        kind::ADJ_RIB_IN_POST_FAMILY => "routes in Adj-RIBs-In of a family after policy",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(count: u32, tlvs: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = count.to_be_bytes().to_vec();
        for (kind, value) in tlvs {
            bytes.extend(kind.to_be_bytes());
            bytes.extend((value.len() as u16).to_be_bytes());
            bytes.extend(*value);
        }
        bytes
    }

    #[test]
    fn a_table_is_as_large_as_the_whole_says_or_its_families_together() {
        let family = |safi, value: u8| [0, 1, safi, 0, 0, 0, 0, 0, 0, 0, value];
        let (one, two) = (family(1, 5), family(2, 7));
        for (tlvs, want) in [
            (vec![(9, &one[..]), (9, &two)], Some(12)),
            (vec![(9, &one), (7, &[0, 0, 0, 9])], Some(9)),
            (vec![(7, &[0, 0, 0, 9]), (20, &[0, 0, 0, 0, 0, 0, 0, 4])], Some(4)),
            (vec![(65_531, &[0, 0, 0, 9])], None),
        ] {
            let mut sizes = TableSizes::default();
            let bytes = report(tlvs.len() as u32, &tlvs);
            let facts = for_each(Cursor::new(&bytes), |one| sizes.take(&one)).unwrap();
            assert_eq!(sizes.accepted(RibView::AdjRibInPre), want);
            assert_eq!((facts.numbers as usize, facts.is_torn), (tlvs.len(), false));
        }
    }

    #[test]
    fn a_torn_report_gives_what_stands_before_the_tear() {
        let bytes = report(2, &[(7, &[0, 0, 0, 9]), (0, &[1, 2, 3])]);
        for left in 4..=bytes.len() {
            let mut numbers = 0;
            let facts = for_each(Cursor::new(&bytes[..left]), |_| numbers += 1).unwrap();
            assert_eq!(numbers, u32::from(left >= 12), "{left}");
            assert_eq!(facts.is_torn, left < bytes.len(), "{left}");
        }
        assert!(for_each(Cursor::new(&bytes[..3]), |_| {}).is_err());
    }
}
