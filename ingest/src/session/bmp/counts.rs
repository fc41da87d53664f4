//! What a BMP session has met, counted.

use std::collections::BTreeMap;

use crate::decode::bmp::{Tlvs, kind};
use crate::session::update::UpdateCounts;

/// Types of statistics that are kept apart by number at most.
const UNKNOWN_STATISTICS_MAX: usize = 256;

/// Messages by type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageCounts {
    /// Route Monitoring.
    pub route_monitoring: u64,
    /// Statistics Report.
    pub statistics_report: u64,
    /// Peer Down.
    pub peer_down: u64,
    /// Peer Up.
    pub peer_up: u64,
    /// Initiation.
    pub initiation: u64,
    /// Termination.
    pub termination: u64,
    /// Route Mirroring.
    pub route_mirroring: u64,
    /// Other types, by number: skipped.
    pub unknown: BTreeMap<u8, u64>,
}

impl MessageCounts {
    #[inline]
    pub(super) fn count(&mut self, number: u8) {
        let count = match number {
            kind::ROUTE_MONITORING => &mut self.route_monitoring,
            kind::STATISTICS_REPORT => &mut self.statistics_report,
            kind::PEER_DOWN => &mut self.peer_down,
            kind::PEER_UP => &mut self.peer_up,
            kind::INITIATION => &mut self.initiation,
            kind::TERMINATION => &mut self.termination,
            kind::ROUTE_MIRRORING => &mut self.route_mirroring,
            _ => self.unknown.entry(number).or_default(),
        };
        *count += 1;
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        let known = self.route_monitoring
            + self.statistics_report
            + self.peer_down
            + self.peer_up
            + self.initiation
            + self.termination
            + self.route_mirroring;
        known + self.unknown.values().sum::<u64>()
    }
}

/// What a session has met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BmpCounts {
    /// Messages of version 3, by type, those refused included.
    pub messages: MessageCounts,
    /// Messages of version 4, a draft: skipped.
    pub draft_messages: u64,
    /// What its UPDATEs were.
    pub updates: UpdateCounts,
    /// Messages and streams refused, by reason.
    pub refused: BTreeMap<&'static str, u64>,
    /// Route Monitoring with a BGP message that is no UPDATE.
    pub other_messages: u64,
    /// Bytes behind the end of what a message holds, inside its frame.
    pub trailing_bytes: u64,
    /// UPDATEs whose AS numbers are of another width than their header says.
    pub width_guesses: u64,
    /// TLVs of Route Mirroring; the messages in them are not applied.
    pub mirrored_tlvs: u64,
    /// BGP messages among them.
    pub mirrored_messages: u64,
    /// Times that the router says it has lost mirrored messages.
    pub mirrored_losses: u64,
    /// Numbers in Statistics Reports.
    pub statistics: u64,
    /// Numbers of types that are not known, by type.
    pub unknown_statistics: BTreeMap<u16, u64>,
    /// Statistics of a size that no number has.
    pub opaque_statistics: u64,
    /// Reports that hold fewer or more numbers than they say.
    pub torn_reports: u64,
    /// Peer Ups with an OPEN that does not hold together.
    pub malformed_opens: u64,
    /// Peer Downs of peers that were not up.
    pub downs_without_up: u64,
    /// Peer Ups of a session that was known: for another table or family.
    pub ups_repeated: u64,
    /// Peer Ups of peers that were up with another session.
    pub ups_without_down: u64,
    /// Tables that had routes before any Peer Up.
    pub routes_without_peer_up: u64,
    /// Initiations with another name than the one in use, which stays.
    pub renamed: u64,
}

impl BmpCounts {
    #[cold]
    pub(super) fn refuse(&mut self, reason: &'static str) {
        *self.refused.entry(reason).or_default() += 1;
    }

    pub(super) fn unknown_statistic(&mut self, kind: u16) {
        let has_room = self.unknown_statistics.len() < UNKNOWN_STATISTICS_MAX;
        if has_room || self.unknown_statistics.contains_key(&kind) {
            *self.unknown_statistics.entry(kind).or_default() += 1;
        }
    }

    /// Counts the TLVs of one Route Mirroring message (RFC 7854 §4.7).
    pub(super) fn mirroring(&mut self, tlvs: Tlvs<'_>) {
        self.trailing_bytes += tlvs.torn_bytes() as u64;
        for (kind, value) in tlvs.iter() {
            self.mirrored_tlvs += 1;
            self.mirrored_messages += u64::from(kind == 0);
            self.mirrored_losses += u64::from(kind == 1 && value == [0, 1]);
        }
    }
}
