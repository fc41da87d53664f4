//! `latency` and its roll-ups: percentiles of round-trip times by prefix and window.

use super::{Text, table};
use crate::bgp::{Asn, Prefix};
use crate::time::{TimeWindow, Timestamp};

/// What every row of `latency` is of.
#[derive(Clone, Debug)]
pub struct LatencySeries {
    /// Tenant of the connection.
    pub tenant: Text,
    /// Logical name of the connection.
    pub connection: Text,
    /// Registered prefix.
    pub prefix: Prefix,
    /// Who measured.
    pub source: Text,
}

impl LatencyRow {
    /// The row of a window without an answer, of which nothing else is known: what is known is put over
    /// it.
    #[must_use]
    pub fn silent(window: TimeWindow, series: LatencySeries) -> Self {
        let LatencySeries { tenant, connection, prefix, source } = series;
        let secs = window.end.secs_since(window.start);
        Self {
            window_start: window.start,
            window_secs: u32::try_from(secs).unwrap_or(u32::MAX),
            tenant,
            connection,
            partner_asn: None,
            country: None,
            region: None,
            site: None,
            prefix,
            prefix_first: prefix.first_octets(),
            prefix_last: prefix.last_octets(),
            source,
            statistic: "sample",
            samples: 0,
            lost: 0,
            rtt_min_us: None,
            rtt_p50_us: None,
            rtt_p90_us: None,
            rtt_p95_us: None,
            rtt_p99_us: None,
            rtt_max_us: None,
            rtt_mean_us: None,
            jitter_us: None,
            p50_low_us: None,
            p50_high_us: None,
            p95_low_us: None,
            p95_high_us: None,
            exact: true,
            quality: "silent",
            baseline_p50_us: None,
            baseline_p95_us: None,
            route_epoch: None,
            route_role: None,
            as_hops: None,
            ingress_edge: None,
            geo_country: None,
            geo_subdivision: None,
            geo_asn: None,
            edge_nearest: None,
            edge_distance_km: None,
            geo_mismatch: None,
            hist_bucket: Vec::new(),
            hist_count: Vec::new(),
            revision: 0,
        }
    }
}

table! {
    /// One prefix of one connection and source in one closed window.
    pub struct LatencyRow by [
        connection, prefix_first, prefix_last, source, statistic, window_start, revision
    ] {
        /// Start of the window, inclusive
        window_start: Timestamp,
        /// Length of the window
        window_secs: u32,
        /// Tenant of the connection
        tenant: Text,
        /// Logical name of the connection
        connection: Text,
        /// AS number of the connectivity partner; null where none is registered
        partner_asn: Option<Asn>,
        /// Country of the registered location, ISO 3166-1; null where none is registered
        country: Option<Text>,
        /// Subdivision of the registered location, ISO 3166-2; null where none is registered
        region: Option<Text>,
        /// Site of the connection; null where none is registered
        site: Option<Text>,
        /// Registered prefix, canonical text
        prefix: Prefix,
        /// First address, IPv4 mapped into ::ffff:0:0/96
        prefix_first: [u8; 16],
        /// Last address, IPv4 mapped into ::ffff:0:0/96
        prefix_last: [u8; 16],
        /// Who measured
        source: Text,
        /// What a sample is: sample, min, srtt or avg; never mixed in one row
        statistic: &'static str,
        /// Answered probes
        samples: u32,
        /// Unanswered probes
        lost: u32,
        /// Smallest round trip; null without an answer
        rtt_min_us: Option<u32>,
        /// Median, nearest rank; null without an answer
        rtt_p50_us: Option<u32>,
        /// 90th percentile, nearest rank; null without an answer
        rtt_p90_us: Option<u32>,
        /// 95th percentile, nearest rank; null without an answer
        rtt_p95_us: Option<u32>,
        /// 99th percentile, nearest rank; null without an answer
        rtt_p99_us: Option<u32>,
        /// Largest round trip; null without an answer
        rtt_max_us: Option<u32>,
        /// Mean, rounded down; null without an answer
        rtt_mean_us: Option<u32>,
        /// Mean absolute difference of neighbours in event time (RFC 3393 §4.2); null below two answers
        jitter_us: Option<u32>,
        /// Lower end of the 95 % interval of the median; null where the window is too thin
        p50_low_us: Option<u32>,
        /// Upper end of the 95 % interval of the median; null where the window is too thin
        p50_high_us: Option<u32>,
        /// Lower end of the 95 % interval of the 95th percentile; null where the window is too thin
        p95_low_us: Option<u32>,
        /// Upper end of the 95 % interval of the 95th percentile; null where the window is too thin
        p95_high_us: Option<u32>,
        /// Whether the percentiles come from all samples and not from a histogram
        exact: bool,
        /// ok, or which percentiles are thin: low_n:p99 (below 100), low_n:p95 (below 20), low_n:p50 (below 10), silent (no answer)
        quality: &'static str,
        /// Usual median of that hour of the week; null before there is a baseline
        baseline_p50_us: Option<u32>,
        /// Usual 95th percentile of that hour of the week; null before there is a baseline
        baseline_p95_us: Option<u32>,
        /// Names the route in force at the start of the window, the same for the same route; null where none is known
        route_epoch: Option<u64>,
        /// primary or backup; null where no listed session with a role holds the route
        route_role: Option<Text>,
        /// Length of its collapsed path, without a listed session the commonest among the peers; null where no route is known
        as_hops: Option<u16>,
        /// Edge at which it enters, by the catalogue; null where no listed session holds it or the catalogue does not know
        ingress_edge: Option<Text>,
        /// Country of the prefix by GeoIP, ISO 3166-1; null without a database or where it does not know it
        geo_country: Option<Text>,
        /// Subdivision of the prefix by GeoIP, ISO 3166-2; null without a database or where it does not know it
        geo_subdivision: Option<Text>,
        /// AS number of the prefix by GeoIP; null without a database or where it does not know it
        geo_asn: Option<Asn>,
        /// Edge nearest to the registered location, else to that of GeoIP; null without a location or a catalogue
        edge_nearest: Option<Text>,
        /// Kilometres to that edge, less the accuracy radius where the location is that of GeoIP; null where edge_nearest is
        edge_distance_km: Option<u32>,
        /// Whether rtt_min_us is below 0.95 of what light in fibre needs for that distance and back; null without a distance or an answer
        geo_mismatch: Option<bool>,
        /// Highest equivalent value of each non-empty HdrHistogram bucket (1 us to 60 s, 2 digits), ascending
        hist_bucket: Vec<u32>,
        /// Samples in each of these buckets
        hist_count: Vec<u32>,
        /// 0 for the first row of a window, then counting up
        revision: u32,
    }
}
