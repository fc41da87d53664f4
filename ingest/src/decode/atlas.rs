//! RIPE Atlas: one result of a ping or traceroute measurement in, its probes out
//! (<https://atlas.ripe.net/docs/apis/result-format/>, firmware 4400 and newer).
//!
//! Of a ping each element of `result` is a probe: an `rtt` in milliseconds, `{"x": "*"}` for one that
//! got no answer, `error` for one that could not be sent. Of a traceroute the replies of the destination
//! count, and the last hop's unanswered probes if it was not reached. Other types are refused.

use std::borrow::Cow;
use std::net::IpAddr;
use std::num::NonZeroU32;

use schemas::sample::{Statistic, Target};
use schemas::time::Timestamp;
use serde::Deserialize;

use super::rtt::{self, SampleError};

/// Replies of one result at most: Atlas sends at most 16 packets a hop.
const PROBES_MAX: usize = 256;

/// One result.
#[derive(Clone, Debug, PartialEq)]
pub struct AtlasResult {
    /// The probe and the measurement: `atlas-PROBE-MEASUREMENT`.
    pub source: String,
    /// Where it was sent to.
    pub destination: Option<Target>,
    /// Where it came from, as the world sees it.
    pub origin: Option<Target>,
    /// Its probes in the order of sending.
    pub probes: Vec<AtlasProbe>,
    /// What the values are.
    pub statistic: Statistic,
}

/// One packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AtlasProbe {
    /// When: that of the result, a microsecond later for each packet before it.
    pub time: Timestamp,
    /// Round trip in microseconds; none if it got no answer.
    pub rtt_us: Option<NonZeroU32>,
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(rename = "type", default)]
    kind: Cow<'a, str>,
    prb_id: u64,
    msm_id: u64,
    timestamp: i64,
    #[serde(default)]
    from: Cow<'a, str>,
    dst_addr: Option<Cow<'a, str>>,
    #[serde(default)]
    result: Vec<Part>,
}

/// An element of `result`: a packet of a ping, or a hop of a traceroute.
#[derive(Deserialize)]
struct Part {
    rtt: Option<f64>,
    x: Option<serde::de::IgnoredAny>,
    error: Option<serde::de::IgnoredAny>,
    from: Option<String>,
    #[serde(default)]
    result: Vec<Part>,
}

/// Reads one result.
///
/// # Errors
/// [`SampleError`] if it is none that holds round trips.
pub fn result(object: &[u8]) -> Result<AtlasResult, SampleError> {
    let wire: Wire<'_> = serde_json::from_slice(object)
        .map_err(|error| SampleError::Json { detail: error.to_string() })?;
    let address = |text: &str| text.parse::<IpAddr>().ok();
    let destination = wire.dst_addr.as_deref().and_then(address);
    let rtts: Vec<Option<f64>> = match wire.kind.as_ref() {
        "ping" => wire.result.iter().filter_map(probe).collect(),
        "traceroute" => traceroute(&wire.result, destination),
        other => {
            let (field, value) = ("type", other.to_owned());
            return Err(SampleError::Malformed { field, value, wanted: "ping or traceroute" });
        }
    };
    let start = rtt::epoch_whole(wire.timestamp);
    let probes = rtts.into_iter().take(PROBES_MAX).zip(0_i64..).map(|(millis, behind)| {
        // What is not between 1 us and 60 s got no answer that can be believed.
        let rtt_us = millis.and_then(|millis| rtt::rtt(millis * 1_000.0).ok());
        AtlasProbe { time: Timestamp(start.0 + behind), rtt_us }
    });
    let target = |address: IpAddr| Target::Address(address.to_canonical());
    Ok(AtlasResult {
        source: format!("atlas-{}-{}", wire.prb_id, wire.msm_id),
        destination: destination.map(target),
        origin: address(&wire.from).map(target),
        probes: probes.collect(),
        statistic: Statistic::Sample,
    })
}

/// The round trip of a packet, none if it was lost; none at all for what is no packet (late and
/// doubled replies have neither).
fn probe(part: &Part) -> Option<Option<f64>> {
    match (part.rtt, &part.x, &part.error) {
        (Some(rtt), ..) => Some(Some(rtt)),
        (None, Some(_), _) | (None, None, Some(_)) => Some(None),
        (None, None, None) => None,
    }
}

fn traceroute(hops: &[Part], destination: Option<IpAddr>) -> Vec<Option<f64>> {
    let is_from_destination = |part: &&Part| {
        let from = part.from.as_deref().and_then(|from| from.parse::<IpAddr>().ok());
        from.is_some() && from == destination
    };
    let reached: Vec<Option<f64>> = hops
        .iter()
        .flat_map(|hop| &hop.result)
        .filter(is_from_destination)
        .filter_map(|part| part.rtt.map(Some))
        .collect();
    if !reached.is_empty() {
        return reached;
    }
    let last = hops.last().map_or(&[][..], |hop| &hop.result);
    last.iter().filter(|part| part.rtt.is_none()).filter_map(probe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rtts(text: &str) -> Vec<Option<u32>> {
        let told = result(text.as_bytes()).unwrap();
        told.probes.iter().map(|probe| probe.rtt_us.map(NonZeroU32::get)).collect()
    }

    /// As the documentation of the format shows it.
    const PING: &str = r#"{"af":4,"avg":-1,"dst_addr":"192.0.2.7","dup":0,"from":"198.51.100.9","fw":5080,
        "lts":19,"max":-1,"min":-1,"msm_id":1001,"prb_id":77,"proto":"ICMP","rcvd":2,
        "result":[{"rtt":21.503},{"x":"*"},{"error":"sendto failed"},{"dup":1}],"sent":3,"size":48,
        "src_addr":"10.0.0.5","step":240,"timestamp":1772618400,"ttl":54,"type":"ping"}"#;

    #[test]
    fn every_packet_of_a_ping_is_a_probe_and_loss_is_told() {
        assert_eq!(rtts(PING), [Some(21_503), None, None]);
        let told = result(PING.as_bytes()).unwrap();
        assert_eq!(told.source, "atlas-77-1001");
        assert_eq!(told.destination, Some(Target::Address("192.0.2.7".parse().unwrap())));
        assert_eq!(told.origin, Some(Target::Address("198.51.100.9".parse().unwrap())));
        assert_eq!(told.probes[1].time, Timestamp(1_772_618_400_000_001));
    }

    #[test]
    fn of_a_traceroute_the_replies_of_the_destination_count() {
        let hops = r#"[{"hop":1,"result":[{"from":"10.0.0.1","rtt":0.5}]},
                       {"hop":2,"result":[{"from":"192.0.2.7","rtt":9.25},{"x":"*"}]}]"#;
        let trace = |hops: &str| {
            format!(
                r#"{{"type":"traceroute","prb_id":1,"msm_id":2,"timestamp":1772618400,
                    "dst_addr":"192.0.2.7","result":{hops}}}"#
            )
        };
        assert_eq!(rtts(&trace(hops)), [Some(9_250)]);
        let lost = r#"[{"hop":255,"result":[{"x":"*"},{"x":"*"},{"x":"*"}]}]"#;
        assert_eq!(rtts(&trace(lost)), [None, None, None]);
    }

    #[test]
    fn what_holds_no_round_trip_is_refused() {
        let dns = r#"{"type":"dns","prb_id":1,"msm_id":2,"timestamp":1772618400}"#;
        assert_eq!(result(dns.as_bytes()).unwrap_err().reason(), "malformed_field");
        assert_eq!(result(b"{").unwrap_err().reason(), "json");
    }
}
