//! `findings`: what the detectors concluded, one row a transition.

use super::{Text, table};
use crate::bgp::{Asn, Prefix};
use crate::time::Timestamp;

table! {
    /// One transition of one finding.
    pub struct FindingRow by [time, finding_id, sequence] {
        /// 128 bits of SHA-256 over rule, connection, prefix, culprit at opening and event time of the opening, as 32 hexadecimal digits
        finding_id: Text,
        /// Transition of this finding, from 1
        sequence: u32,
        /// Event time of what caused the transition
        time: Timestamp,
        /// opened, updated, resolved, outdated, ignored, reopened, expired
        phase: &'static str,
        /// hijack, leak, suboptimal, visibility, hygiene, rpki, latency, feed, state
        kind: &'static str,
        /// The rule that fired; `describe rules` lists them
        rule: &'static str,
        /// information, warning, error or critical (Azure's words)
        severity: &'static str,
        /// Sum of the terms in `evidence`, the highest since the opening
        score: f64,
        /// low under 4, medium under 8, else high
        confidence: &'static str,
        /// The prefix that was seen; null where the finding is about none
        prefix: Option<Prefix>,
        /// First address, IPv4 mapped into ::ffff:0:0/96; null without a prefix
        prefix_first: Option<[u8; 16]>,
        /// Last address, IPv4 mapped into ::ffff:0:0/96; null without a prefix
        prefix_last: Option<[u8; 16]>,
        /// The registered prefix that it touches; null for a finding about an AS alone
        registered_prefix: Option<Prefix>,
        /// Connection that owns it; null for a finding about an AS alone
        connection: Option<Text>,
        /// Tenant of that connection; null where `connection` is
        tenant: Option<Text>,
        /// AS that did it; null where it cannot be told
        culprit_asn: Option<Asn>,
        /// AS that it was done to; null where none is known
        victim_asn: Option<Asn>,
        /// 1 to 6 (RFC 7908); null unless a leak
        leak_type: Option<u8>,
        /// Distinct AS numbers of the peers that hold the route now
        witnesses: u32,
        /// Event time of the opening
        opened_at: Timestamp,
        /// Event time of the end; null while open
        closed_at: Option<Timestamp>,
        /// Finding under which this one is grouped; null where it stands alone
        group_id: Option<Text>,
        /// Findings in that group; null where it stands alone
        group_size: Option<u32>,
        /// Path of the first witness before; null where it held none
        path_before: Option<Text>,
        /// Path of the first witness after; null where none was announced
        path_after: Option<Text>,
        /// valid, invalid or not_found (RFC 6811); null without VRPs
        rpki_state: Option<Text>,
        /// client, partner, edge, route or unknown: whose fault slower round trips are; null where they are not slower
        blame: Option<Text>,
        /// Median of the half hour before; null where samples are too few
        rtt_before_p50_us: Option<u32>,
        /// Median of the minutes after that were looked at; null where samples are too few
        rtt_after_p50_us: Option<u32>,
        /// 95th percentile of the half hour before; null where samples are too few
        rtt_before_p95_us: Option<u32>,
        /// 95th percentile of the minutes after that were looked at; null where samples are too few
        rtt_after_p95_us: Option<u32>,
        /// Lower end of the 95 % interval of the difference of medians, negative where it may be faster; null where samples are too few
        rtt_shift_low_us: Option<i32>,
        /// Upper end of the 95 % interval of the difference of medians; null where samples are too few
        rtt_shift_high_us: Option<i32>,
        /// Answered samples of the minutes that closed while it was open; null where rtt_before_p50_us is
        samples_affected: Option<u64>,
        /// The event that Azure would show; null where it has none
        azure_event: Option<&'static str>,
        /// Why it raises no alert; null where it may
        muted_by: Option<Text>,
        /// Hash of the registry, detection and latency settings in force
        config_hash: Text,
        /// The operator's word on it; null before there is one
        verdict: Option<Text>,
        /// One sentence for a person
        explanation: Text,
    }
}
