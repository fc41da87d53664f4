//! Tables about telling: Azure's prefix events, feed gaps, deliveries, silences.

use super::{Text, table};
use crate::bgp::Prefix;
use crate::time::Timestamp;

table! {
    /// One of Azure's eight prefix events.
    pub struct PrefixEventRow by [connection, time, event_type] {
        /// eventTimestamp
        time: Timestamp,
        /// Tenant of the connection
        tenant: Text,
        /// Connection that owns the prefix
        connection: Text,
        /// The registered prefix
        prefix: Prefix,
        /// eventType, one of eight
        event_type: &'static str,
        /// eventLevel: Information, Warning, Error or Critical
        event_level: &'static str,
        /// eventSummary
        event_summary: Text,
        /// eventDescription
        event_description: Text,
        /// Finding that tells the same; null where none does
        finding_id: Option<Text>,
    }
}

table! {
    /// A span in which a feed or an input was silent.
    pub struct FeedGapRow by [started_at, source] {
        /// Last word before
        started_at: Timestamp,
        /// First word after; null while silent
        ended_at: Option<Timestamp>,
        /// File, topic or listener
        source: Text,
        /// Collector; null for an input that is none
        collector: Option<Text>,
        /// What was missed, as far as it can be told
        reason: Text,
        /// Messages that are known to be lost; null where unknown
        lost: Option<u64>,
    }
}

table! {
    /// One attempt to deliver an alert.
    pub struct AlertDeliveryRow by [time, finding_id, sequence, target, attempt] {
        /// When it was tried
        time: Timestamp,
        /// The finding
        finding_id: Text,
        /// Its transition
        sequence: u32,
        /// Tenant of the finding; null where it has none
        tenant: Option<Text>,
        /// Connection of the finding; null where it has none
        connection: Option<Text>,
        /// Name of the target in the configuration
        target: Text,
        /// Attempt, from 1
        attempt: u32,
        /// delivered, retrying, failed or muted
        outcome: &'static str,
        /// HTTP status; null where none came back
        status: Option<u16>,
        /// Why it failed; null where it did not
        error: Option<Text>,
    }
}

table! {
    /// A span in which alerts are muted.
    pub struct SilenceRow by [starts_at, silence_id] {
        /// Identity of the silence
        silence_id: Text,
        /// When it starts
        starts_at: Timestamp,
        /// When it ends; null: until it is lifted
        ends_at: Option<Timestamp>,
        /// Tenant it covers; null: all
        tenant: Option<Text>,
        /// Connection it covers; null: all
        connection: Option<Text>,
        /// Prefix it covers; null: all
        prefix: Option<Prefix>,
        /// Who asked for it
        author: Text,
        /// Why
        reason: Text,
    }
}
