//! Rules of attributes: the flags and the length that a code demands, as a table (RFC 7606 §7).

use super::code;

/// What every attribute of a code must be.
#[derive(Clone, Copy)]
pub(super) struct Rule {
    /// Flags with a fixed value, and that value: Optional and Transitive, or none.
    pub(super) flags_asked: u8,
    pub(super) flags: u8,
    /// Whether its value is looked at.
    pub(super) is_special: bool,
    /// Shortest value, and how much longer it may be.
    pub(super) bytes_min: usize,
    pub(super) bytes_over: usize,
    /// Bits that its length has not: all of it is fours, eights.
    pub(super) odd: usize,
}

/// Any flags, any value.
pub(super) const NO_RULE: Rule = Rule {
    flags_asked: 0,
    flags: 0,
    is_special: false,
    bytes_min: 0,
    bytes_over: usize::MAX >> 1,
    odd: 0,
};

/// The rules by code (RFC 7606 §7 and the RFC of each attribute).
pub(super) static RULES: [Rule; 36] = rules();

#[expect(
    clippy::indexing_slicing,
    reason = "the codes are below 36, and this runs in the compiler"
)]
const fn rules() -> [Rule; 36] {
    // Half of what there is, so that a length below the shortest, which wraps around, is above it.
    const ANY: usize = usize::MAX >> 1;
    const fn rule(flags: u8, bytes_min: usize, bytes_over: usize, odd: usize) -> Rule {
        let flags_asked = code::OPTIONAL | code::TRANSITIVE;
        Rule { flags_asked, flags, is_special: false, bytes_min, bytes_over, odd }
    }
    const fn special(flags: u8, bytes_min: usize) -> Rule {
        Rule { is_special: true, ..rule(flags, bytes_min, ANY, 0) }
    }
    let (well_known, optional) = (code::TRANSITIVE, code::OPTIONAL);
    let both = well_known | optional;
    let of_any_flags = Rule { flags_asked: 0, flags: 0, ..special(0, 0) };
    let mut rules = [NO_RULE; 36];
    rules[code::ORIGIN as usize] = special(well_known, 1);
    rules[code::AS_PATH as usize] = special(well_known, 0);
    rules[code::NEXT_HOP as usize] = rule(well_known, 4, 0, 0);
    rules[code::MULTI_EXIT_DISC as usize] = rule(optional, 4, 0, 0);
    rules[code::LOCAL_PREF as usize] = rule(well_known, 4, 0, 0);
    rules[code::ATOMIC_AGGREGATE as usize] = rule(well_known, 0, 0, 0);
    rules[code::AGGREGATOR as usize] = special(both, 6);
    rules[code::COMMUNITIES as usize] = rule(both, 4, ANY, 3);
    rules[code::ORIGINATOR_ID as usize] = rule(optional, 4, 0, 0);
    rules[code::CLUSTER_LIST as usize] = rule(optional, 4, ANY, 3);
    rules[code::MP_REACH_NLRI as usize] = rule(optional, 0, ANY, 0);
    rules[code::MP_UNREACH_NLRI as usize] = rule(optional, 0, ANY, 0);
    rules[code::EXTENDED_COMMUNITIES as usize] = rule(both, 8, ANY, 7);
    rules[code::AS4_PATH as usize] = Rule { bytes_min: 1, ..of_any_flags };
    rules[code::AS4_AGGREGATOR as usize] = Rule { bytes_min: 8, bytes_over: 0, ..of_any_flags };
    rules[code::IPV6_EXTENDED_COMMUNITIES as usize] = special(both, 1);
    rules[code::AIGP as usize] = special(optional, 0);
    rules[code::LARGE_COMMUNITIES as usize] = special(both, 1);
    rules[code::ONLY_TO_CUSTOMER as usize] = rule(both, 4, 0, 0);
    rules
}
