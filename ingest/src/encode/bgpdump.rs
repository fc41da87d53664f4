//! Lines of `bgpdump -m`: routes and session changes in, the text of bgpdump 1.6.2 out.
//!
//! `FORMAT|TIME|TYPE|PEER|ASN|...`: `A` and `W` for what was announced and withdrawn, `B` for a route
//! of a table, `STATE` for a session. What bgpdump prints for an absent value is printed here too:
//! 0 for `LOCAL_PREF` and `MULTI_EXIT_DISC`, 255.255.255.255 for `NEXT_HOP`, INCOMPLETE for `ORIGIN`.
//!
//! Not printed, as bgpdump does not without being asked: large and extended communities, unknown
//! attributes. Where the two differ nevertheless, and why: `ingest/tests/differential`.

use std::fmt::{self, Display, Formatter};
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use schemas::bgp::{Community, Origin, PathAttributes, PeerHeader};
use schemas::time::Timestamp;

use crate::decode::mrt::{MrtRecord, kind};
use crate::session::{Action, UpdateView};

/// The first word of a line, and what depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    name: &'static str,
    has_micros: bool,
    is_legacy: bool,
}

impl Form {
    /// The form of messages from a live session, as from a BMP station.
    pub const LIVE: Self = Self { name: "BGP4MP_ET", has_micros: true, is_legacy: false };

    /// The form of the lines of a record.
    #[must_use]
    pub const fn of(record: &MrtRecord<'_>) -> Self {
        let is_local = matches!(record.subtype, 6 | 7 | 10 | 11);
        let has_micros = record.kind == kind::BGP4MP_ET;
        let is_legacy = record.kind == kind::BGP;
        let name = match (record.kind, is_local) {
            (kind::TABLE_DUMP, _) => "TABLE_DUMP",
            (kind::TABLE_DUMP_V2, _) => "TABLE_DUMP2",
            (kind::BGP, _) => "BGP",
            (kind::BGP4MP_ET, false) => "BGP4MP_ET",
            (kind::BGP4MP_ET, true) => "BGP4MP_ET_LOCAL",
            (_, false) => "BGP4MP",
            (_, true) => "BGP4MP_LOCAL",
        };
        Self { name, has_micros, is_legacy }
    }

    fn head(self, out: &mut Vec<u8>, has_path_id: bool, time: Timestamp, of: (&str, &PeerHeader)) {
        let (kind, peer) = of;
        let path_id = if has_path_id { "_AP" } else { "" };
        put(out, format_args!("{}{path_id}|{}", self.name, time.secs()));
        if self.has_micros {
            put(out, format_args!(".{:06}", time.micros().rem_euclid(1_000_000)));
        }
        put(out, format_args!("|{kind}|{}|{}|", Address(peer.address), peer.asn.0));
    }
}

/// Writes what does not fail: a vector takes all.
fn put(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

/// An address as bgpdump writes it: it shortens a single zero group too, which RFC 5952 §4.2.2
/// forbids, and writes IPv4-compatible addresses with dots.
struct Address(IpAddr);

impl Display for Address {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let address = match self.0 {
            IpAddr::V4(address) => return address.fmt(f),
            IpAddr::V6(address) => address,
        };
        match address.to_bits() {
            0..=1 => return address.fmt(f),
            bits @ 2..=0xffff_ffff => return write!(f, "::{}", Ipv4Addr::from_bits(bits as u32)),
            _ if address.to_ipv4_mapped().is_some() => return address.fmt(f),
            _ => {}
        }
        let groups = address.segments();
        let zeros = |from: usize| groups.iter().skip(from).take_while(|group| **group == 0).count();
        // The first of the longest runs.
        let (start, run) = (0..groups.len())
            .map(|from| (from, zeros(from)))
            .rev()
            .max_by_key(|(_, run)| *run)
            .filter(|(_, run)| *run > 0)
            .unwrap_or((groups.len(), 0));
        let mut is_first = true;
        for (place, group) in groups.iter().enumerate() {
            if place == start {
                f.write_str("::")?;
                is_first = true;
            }
            if (start..start + run).contains(&place) {
                continue;
            }
            write!(f, "{}{group:x}", if is_first { "" } else { ":" })?;
            is_first = false;
        }
        Ok(())
    }
}

/// Appends one line for each prefix of an UPDATE or of a table's route.
pub fn routes(out: &mut Vec<u8>, form: Form, update: &UpdateView<'_>, peer: &PeerHeader) {
    let mut tail = Vec::new();
    let announced = if update.is_snapshot { "B" } else { "A" };
    update.for_each_prefix(|action, prefix, path_id| {
        let kind = match action {
            Action::Announce => announced,
            Action::Withdraw => "W",
        };
        form.head(out, path_id.is_some(), update.time, (kind, peer));
        put(out, format_args!("{}/{}", Address(prefix.address()), prefix.length()));
        if let Some(path_id) = path_id {
            put(out, format_args!("|{path_id}"));
        }
        if action == Action::Announce {
            if tail.is_empty() {
                attributes(&mut tail, form, &update.attributes.decode());
            }
            out.extend_from_slice(&tail);
        }
        out.push(b'\n');
    });
}

/// Appends the line of a session's change, states numbered as in RFC 6396 §4.4.1.
pub fn state(
    out: &mut Vec<u8>,
    form: Form,
    time: Timestamp,
    peer: &PeerHeader,
    (old, new): (u16, u16),
) {
    form.head(out, false, time, ("STATE", peer));
    put(out, format_args!("{old}|{new}\n"));
}

fn attributes(out: &mut Vec<u8>, form: Form, all: &PathAttributes) {
    let origin = match all.origin {
        Some(Origin::Igp) => "IGP",
        Some(Origin::Egp) => "EGP",
        Some(Origin::Incomplete) | None => "INCOMPLETE",
    };
    let hop = all.next_hop.unwrap_or(IpAddr::from([255; 4]));
    let (pref, med) = (all.local_pref.unwrap_or(0), all.med.unwrap_or(0));
    put(out, format_args!("|{}|{origin}|{}|{pref}|{med}", all.as_path, Address(hop)));
    let mut standard = all.communities.iter().filter_map(|community| match community {
        Community::Standard(value) => Some(*value),
        _ => None,
    });
    // bgpdump leaves this bar out in records of type 5.
    if !form.is_legacy {
        out.push(b'|');
    }
    if let Some(first) = standard.next() {
        community(out, first);
        standard.for_each(|value| {
            out.push(b' ');
            community(out, value);
        });
    }
    put(out, format_args!("|{}|", if all.atomic_aggregate { "AG" } else { "NAG" }));
    if let Some((asn, address)) = all.aggregator {
        put(out, format_args!("{} {address}", asn.0));
    }
    out.push(b'|');
}

/// The well-known communities by name (RFC 1997), the others by their two halves.
fn community(out: &mut Vec<u8>, value: u32) {
    match value {
        0xffff_ff01 => out.extend_from_slice(b"no-export"),
        0xffff_ff02 => out.extend_from_slice(b"no-advertise"),
        0xffff_ff03 => out.extend_from_slice(b"local-AS"),
        _ => put(out, format_args!("{}:{}", value >> 16, value & 0xffff)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_look_as_bgpdump_shows_them() {
        for (address, want) in [
            ("2001:df1:3100:0:182:54:128:2", "2001:df1:3100::182:54:128:2"),
            ("2001:504:0:2:0:19:9524:1", "2001:504::2:0:19:9524:1"),
            ("2001:db8::", "2001:db8::"),
            ("::", "::"),
            ("::1", "::1"),
            ("::5:0:0:1", "::5:0:0:1"),
            ("1:2:3:4:5:6:7:0", "1:2:3:4:5:6:7::"),
            ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"),
            ("::192.0.2.1", "::192.0.2.1"),
            ("::ffff:192.0.2.1", "::ffff:192.0.2.1"),
            ("192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(Address(address.parse().unwrap()).to_string(), want);
        }
    }
}
