//! The kinds of incidents of a trial: how each is called, which rules name it, who puts it on stage.
//!
//! A rule is a word of `describe`; one that no detector knows yet is never told, and its kind has
//! recall 0 until one does. The first rule is the best; all of them count as right.

use super::{Draft, Stage, faults, hijacks, leaks};

/// Rules of forged paths; the contract counts them as one.
const FORGED: &[&str] = &["hijack_type_1", "hijack_type_n", "hijack_forged_path"];

/// One kind.
#[derive(Debug)]
pub struct Kind {
    /// Its word.
    pub name: &'static str,
    /// Rules that name it rightly.
    pub rules: &'static [&'static str],
    /// Registered prefixes that it takes.
    pub prefixes: u32,
    /// Whether an AS did it.
    pub has_culprit: bool,
    /// Whether a finding at low confidence is enough: nobody is to be woken.
    pub is_mild: bool,
    /// Drafts it; none if the actors that were drawn cannot play it.
    pub stage: fn(&mut Stage<'_>) -> Option<Vec<Draft>>,
}

const fn kind(
    name: &'static str,
    rules: &'static [&'static str],
    stage: fn(&mut Stage<'_>) -> Option<Vec<Draft>>,
) -> Kind {
    Kind { name, rules, prefixes: 1, has_culprit: true, is_mild: false, stage }
}

const fn fault(
    name: &'static str,
    rules: &'static [&'static str],
    stage: fn(&mut Stage<'_>) -> Option<Vec<Draft>>,
) -> Kind {
    Kind { has_culprit: false, is_mild: true, ..kind(name, rules, stage) }
}

/// All of them.
pub static KINDS: &[Kind] = &[
    kind("exact", &["hijack_exact"], hijacks::exact),
    kind("sub_prefix", &["hijack_sub_prefix"], hijacks::part),
    Kind { is_mild: true, ..kind("super_prefix", &["hijack_super_prefix"], hijacks::around) },
    kind("squatting", &["hijack_squat"], hijacks::squat),
    kind("type_1", FORGED, hijacks::type_1),
    kind("type_1_part", FORGED, hijacks::type_1_part),
    kind("type_2", FORGED, hijacks::type_2),
    kind("type_2_part", FORGED, hijacks::type_2_part),
    kind("type_3", FORGED, hijacks::type_3),
    kind("type_3_part", FORGED, hijacks::type_3_part),
    kind("invented_as", FORGED, hijacks::invented),
    kind("invented_as_part", FORGED, hijacks::invented_part),
    kind("forged_sibling_part", FORGED, hijacks::sibling_part),
    Kind { prefixes: 12, ..kind("mass_origin", &["hijack_exact"], hijacks::mass) },
    kind("leak_type_1", &["leak_type_1", "leak_aspa", "leak_otc"], leaks::type_1),
    kind("leak_type_2", &["leak_type_2", "leak_aspa", "leak_otc"], leaks::type_2),
    kind("leak_type_3", &["leak_type_3", "leak_aspa", "leak_otc"], leaks::type_3),
    kind("leak_type_4", &["leak_type_4", "leak_aspa", "leak_otc"], leaks::type_4),
    kind("leak_type_5", &["leak_type_5", "hijack_exact"], leaks::type_5),
    Kind {
        is_mild: true,
        ..kind("leak_type_6", &["leak_type_6", "hijack_sub_prefix"], leaks::type_6)
    },
    Kind {
        prefixes: 12,
        ..kind("mass_leak", &["leak_type_1", "leak_aspa", "leak_otc"], leaks::mass)
    },
    kind("leak_own_as", &["leak_own_as"], leaks::own),
    kind("leak_otc", &["leak_otc", "leak_type_1"], leaks::marked),
    kind("leak_aspa", &["leak_aspa", "leak_type_1"], leaks::attested),
    kind("origin_unregistered", &["origin_unregistered"], leaks::unregistered),
    fault("blackout", &["visibility_lost"], faults::blackout),
    fault("partial_loss", &["visibility_reduced"], faults::partial),
    fault("flap", &["flap"], faults::flap),
    fault("path_inflation", &["suboptimal_path_length"], faults::inflation),
    fault("wrong_entry", &["suboptimal_entry"], faults::wrong_entry),
    fault("on_backup", &["failover", "suboptimal_on_backup"], faults::on_backup),
    fault("upstream_lost", &["upstream_lost"], faults::upstream_lost),
    fault("as_set", &["hygiene_as_set"], faults::as_set),
    fault("bogon_asn", &["hygiene_bogon_asn"], faults::bogon),
    fault("prepends", &["hygiene_prepend"], faults::prepends),
    fault("roa_invalid", &["rpki_invalid"], faults::roa_invalid),
];

/// The kind of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}
