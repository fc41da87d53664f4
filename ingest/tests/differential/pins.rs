//! Pinned differences: a record on which two decoders differ, and why.
//!
//! The golden file has one line for each such record, and one for many of the same reason in the same
//! file: their number, the first of them, and a digest over all.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use super::ours::Record;

/// Differences of one reason in one file that are listed one by one.
const LISTED_MAX: usize = 12;
/// Bytes of a record that are written out; a longer one is known by its digest.
const BYTES_MAX: usize = 200;

/// Reason, what says that we are right, and what the other decoder does.
const REASONS: &[(&str, &str, &str)] = &[
    (
        "add_path",
        "RFC 8050 §3, RFC 7911 §3",
        "path identifiers under a subtype without; read as plain they make up prefixes",
    ),
    (
        "attribute_discard",
        "RFC 7606 §7",
        "an attribute of the wrong form is left out, the route stays",
    ),
    (
        "batched_table",
        "RFC 6396 §4.2",
        "many entries behind one view and sequence number (2000); the others take one or none",
    ),
    ("damage", "RFC 6396 §2", "no record begins here, or it is cut"),
    (
        "default_first",
        "RFC 7911 §3",
        "a default route in front of others is taken for a path identifier",
    ),
    (
        "legacy_withdrawal",
        "RFC 6396 app. B.2",
        "bgpdump prints the peer's address in place of the withdrawn prefix",
    ),
    ("no_address", "RFC 6396 §4.4.1", "a state change without a peer is nobody's; it is counted"),
    (
        "refused",
        "RFC 4271 §6.3, RFC 7606 §5.3",
        "a list that overruns its message, or does not end where it should",
    ),
    (
        "table_path_id",
        "RFC 8050 §4",
        "an entry of an ADD-PATH table has a path identifier; bgpkit's elements of tables have none",
    ),
    (
        "treat_as_withdraw",
        "RFC 7606 §2",
        "a malformed attribute that a route cannot do without withdraws it",
    ),
];

/// What is known of a record beside its bytes.
pub struct Facts {
    offset: usize,
    kind: u16,
    subtype: u16,
    remarks: Vec<&'static str>,
}

impl Facts {
    pub fn of(record: &Record<'_>) -> Self {
        let Record { offset, kind, subtype, .. } = *record;
        Self { offset, kind, subtype, remarks: record.remarks.clone() }
    }
}

/// One record on which two differ.
pub struct Difference {
    file: String,
    offset: usize,
    bytes: Vec<u8>,
    ours: String,
    theirs: String,
    reason: &'static str,
}

impl Difference {
    pub fn of(file: &str, record: &Record<'_>, ours: &str, theirs: &str) -> Self {
        Self::with(file, &Facts::of(record), record.bytes, ours, theirs)
    }

    pub fn with(file: &str, facts: &Facts, bytes: &[u8], ours: &str, theirs: &str) -> Self {
        let reason = reason(facts, ours, theirs);
        let [file, ours, theirs] = [file, ours, theirs].map(str::to_owned);
        Self { file, offset: facts.offset, bytes: bytes.to_vec(), ours, theirs, reason }
    }
}

fn reason(facts: &Facts, ours: &str, theirs: &str) -> &'static str {
    let (ours_count, theirs_count) = (ours.lines().count(), theirs.lines().count());
    let has_default = ours.contains("|0.0.0.0/0|") || ours.contains("prefix: 0.0.0.0/0,");
    for remark in ["damage", "refused", "treat_as_withdraw", "attribute_discard", "add_path"] {
        if let Some(known) = facts.remarks.iter().find(|known| **known == remark) {
            return known;
        }
    }
    match (facts.kind, facts.subtype) {
        (12, _) if ours_count > 1 && theirs_count <= 1 => "batched_table",
        (5, 1) if ours_count == theirs_count && ours.contains("|W|") => "legacy_withdrawal",
        (16 | 17, 0 | 5) if ours.is_empty() => "no_address",
        (13, 8..=11) if without_path_ids(ours) == without_path_ids(theirs) => "table_path_id",
        (16 | 17, _) if has_default && theirs_count < ours_count => "default_first",
        _ => "unexplained",
    }
}

fn without_path_ids(elements: &str) -> String {
    let parts = elements.split("path_id: ").map(|part| match part.split_once(", said:") {
        Some((_, said)) => said,
        None => part,
    });
    parts.collect()
}

/// The differences from one decoder.
pub struct Pins {
    tool: &'static str,
    all: Vec<Difference>,
}

impl Pins {
    pub fn new(tool: &'static str) -> Self {
        Self { tool, all: vec![] }
    }

    pub fn add(&mut self, difference: Difference) {
        self.all.push(difference);
    }

    pub fn records(&self) -> usize {
        self.all.len()
    }

    /// Holds them against the golden file, or writes it.
    pub fn check(&self) {
        let unexplained: Vec<_> =
            self.all.iter().filter(|one| one.reason == "unexplained").take(5).collect();
        for one in &unexplained {
            println!(
                "{} at {}:\n{}ours:\n{}theirs:\n{}",
                one.file,
                one.offset,
                hex(&one.bytes),
                one.ours,
                one.theirs
            );
        }
        assert!(unexplained.is_empty(), "{}: differences without a reason", self.tool);
        let got = self.page();
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join(format!("tests/differential/{}.tsv", self.tool));
        if std::env::var_os("PEERSCOPE_BLESS").is_some() {
            std::fs::write(&path, &got).unwrap();
        }
        let want = std::fs::read_to_string(&path).unwrap_or_default();
        for (got, want) in got.lines().zip(want.lines()) {
            assert_eq!(got, want, "PEERSCOPE_BLESS=1 writes {} anew", path.display());
        }
        assert_eq!(got.lines().count(), want.lines().count(), "{}", path.display());
    }

    fn page(&self) -> String {
        let mut page = format!("# {} records differ\n", self.all.len());
        page += "file\treason\tRFC\twhy\trecords\toffset\tbytes\tours\ttheirs\tdigest\n";
        let mut groups: BTreeMap<(&str, &str), Vec<&Difference>> = BTreeMap::new();
        for one in &self.all {
            groups.entry((&one.file, one.reason)).or_default().push(one);
        }
        for group in groups.values() {
            if group.len() <= LISTED_MAX {
                group.iter().for_each(|one| line(&mut page, &[one]));
            } else {
                line(&mut page, group);
            }
        }
        page
    }
}

fn line(page: &mut String, group: &[&Difference]) {
    let one = group[0];
    let (reason, rfc, why) = REASONS.iter().find(|(name, ..)| *name == one.reason).unwrap();
    let mut digest = Sha256::new();
    for one in group {
        digest.update(one.offset.to_be_bytes());
        for part in [&one.bytes[..], one.ours.as_bytes(), one.theirs.as_bytes()] {
            digest.update(part.len().to_be_bytes());
            digest.update(part);
        }
    }
    let digest = &hex(&digest.finalize())[..16];
    let (file, count, offset) = (&one.file, group.len(), one.offset);
    let (bytes, ours, theirs) = (bytes(&one.bytes), said(&one.ours), said(&one.theirs));
    let _ = writeln!(
        page,
        "{file}\t{reason}\t{rfc}\t{why}\t{count}\t{offset}\t{bytes}\t{ours}\t{theirs}\t{digest}"
    );
}

/// How many lines, and the beginning of the first one.
fn said(lines: &str) -> String {
    let first: String = lines.lines().next().unwrap_or("nothing").chars().take(160).collect();
    format!("{}: {first}", lines.lines().count())
}

fn bytes(bytes: &[u8]) -> String {
    if bytes.len() <= BYTES_MAX {
        return hex(bytes);
    }
    format!("{} bytes, sha256 {}", bytes.len(), hex(&Sha256::digest(bytes)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
