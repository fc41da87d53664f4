//! Round trips: traffic in, samples as JSON lines in order of time out.
//!
//! A sample is the great circle to the edge (a millisecond for 100 km), the access line, a
//! log-normal queue that follows the hour of the place, now and then a long tail, and rarely
//! nothing at all. While an incident lasts a share of the samples takes a detour or is lost. Times
//! are whole milliseconds, round trips whole microseconds; no fraction is ever printed.
//!
//! No bandwidth, no correlation from sample to sample.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use schemas::bgp::{Family, Prefix};
use schemas::time::{TimeWindow, Timestamp};

use super::geography::{Point, distance_km, round_trip_us};
use super::incidents::Effect;
use super::random::Random;
use super::scenario::{ConnectionPlan, PrefixPlan, Scenario};

/// Microseconds of the access line.
const ACCESS_US: u32 = 5_500;
/// Median of the queue at the quietest hour, in microseconds.
const QUEUE_US: f64 = 550.0;
/// Median of the long tail, in microseconds.
const TAIL_US: f64 = 3_500.0;
/// How many of a thousand samples have the long tail.
const TAIL_PERMILLE: u32 = 15;
/// How many of a thousand samples are lost on a good day.
const LOST_PERMILLE: u32 = 3;
/// Addresses used at the beginning of a block of clients.
const CLIENTS_MAX: u128 = 4_000;

/// One probe of one prefix.
#[derive(Clone, Debug)]
struct Traffic<'a> {
    clients: &'a [(Prefix, u32)],
    samples_per_minute: u32,
    base_us: u32,
    longitude: f64,
    sources: Vec<(&'a str, u32)>,
    effects: Vec<(TimeWindow, Effect)>,
}

/// One measured or lost round trip; ordered by time first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Sample<'a> {
    millis: u32,
    address: IpAddr,
    rtt_us: Option<u32>,
    source: &'a str,
}

/// All samples of a scenario.
#[must_use]
pub fn samples(scenario: &Scenario, random: &mut Random) -> Vec<u8> {
    let traffic: Vec<Traffic<'_>> = scenario
        .connections
        .iter()
        .filter(|connection| connection.state == "Active")
        .flat_map(|connection| connection.prefixes.iter().map(move |plan| (connection, plan)))
        .map(|(connection, plan)| Traffic::of(scenario, connection, plan))
        .collect();
    let a_minute: u32 = traffic.iter().map(|one| one.samples_per_minute).sum();
    let mut out = Vec::with_capacity(a_minute as usize * scenario.minutes as usize * 105);
    let mut minute_samples: Vec<Sample<'_>> = Vec::with_capacity(a_minute as usize * 5 / 4);
    for minute in 0..scenario.minutes {
        let start = scenario.start.plus_secs(i64::from(minute) * 60);
        minute_samples.clear();
        for one in &traffic {
            one.sample(start, random, &mut minute_samples);
        }
        strangers(scenario.strangers_per_minute, random, &mut minute_samples);
        minute_samples.sort_unstable();
        write(start, &minute_samples, &mut out);
    }
    out
}

impl<'a> Traffic<'a> {
    fn of(scenario: &Scenario, connection: &'a ConnectionPlan, plan: &'a PrefixPlan) -> Self {
        let place: Point = connection.place.point();
        let km = distance_km(place, connection.edge.point());
        let sources = connection.sources.iter().zip([0, 180, 320, 90].iter().cycle());
        let here = |effect: &Effect| {
            effect.prefix.covers(&plan.prefix) || plan.prefix.covers(&effect.prefix)
        };
        Self {
            clients: &plan.clients,
            samples_per_minute: plan.samples_per_minute,
            base_us: ACCESS_US + round_trip_us(km),
            longitude: connection.place.longitude,
            sources: sources.map(|(name, us)| (name.as_str(), *us)).collect(),
            effects: scenario.effects().filter(|(_, effect)| here(effect)).collect(),
        }
    }

    fn sample(&self, minute: Timestamp, random: &mut Random, out: &mut Vec<Sample<'a>>) {
        let spread = u64::from(self.samples_per_minute) * 13 / 100;
        let samples = u64::from(self.samples_per_minute) - spread + random.below(2 * spread + 1);
        let queue_us = QUEUE_US * daily_shape(minute, self.longitude);
        for _ in 0..samples {
            let millis = random.below(60_000) as u32;
            let Some((source, source_us)) = random.pick(&self.sources).copied() else {
                return;
            };
            let address = self.client(random);
            let mut delay = queue_us * (0.7 * random.normal()).exp();
            if random.chance(TAIL_PERMILLE) {
                delay += TAIL_US * (0.6 * random.normal()).exp();
            }
            let clean_us = self.base_us + source_us + delay as u32;
            let time = Timestamp(minute.0 + i64::from(millis) * 1_000);
            let rtt_us = match self.diverted(time, address, random) {
                Some(Detour::Lost) => None,
                _ if random.chance(LOST_PERMILLE) => None,
                Some(Detour::Longer(extra_us)) => Some(clean_us + extra_us),
                None => Some(clean_us),
            };
            out.push(Sample { millis, address, rtt_us, source });
        }
    }

    fn client(&self, random: &mut Random) -> IpAddr {
        let mut left = random.below(1000) as u32;
        for (block, permille) in self.clients {
            if left < *permille {
                return host(*block, random);
            }
            left -= permille;
        }
        self.clients
            .first()
            .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |(block, _)| host(*block, random))
    }

    /// What an incident does to this sample; a detour varies by a tenth around its length.
    fn diverted(&self, time: Timestamp, address: IpAddr, random: &mut Random) -> Option<Detour> {
        let mut now = self.effects.iter().filter(|(window, _)| window.contains(time));
        let (_, effect) = now.find(|(_, effect)| effect.prefix.contains(address))?;
        if !random.chance(effect.share_permille) {
            None
        } else if random.chance(effect.lost_permille) {
            Some(Detour::Lost)
        } else {
            let tenth = u64::from(effect.extra_us / 10);
            let extra_us = u64::from(effect.extra_us) - tenth / 2 + random.below(tenth + 1);
            Some(Detour::Longer(extra_us as u32))
        }
    }
}

/// What becomes of a diverted sample.
enum Detour {
    Lost,
    Longer(u32),
}

/// An address among the first of a block, never the first or the last of an IPv4 one.
fn host(block: Prefix, random: &mut Random) -> IpAddr {
    let usable = (block.last() - block.first()).saturating_sub(1).min(CLIENTS_MAX);
    let bits = block.first() + 1 + u128::from(random.below(usable as u64));
    match block.family() {
        Family::Ipv4 => IpAddr::V4(Ipv4Addr::from_bits(bits as u32)),
        Family::Ipv6 => IpAddr::V6(Ipv6Addr::from_bits(bits)),
    }
}

/// The queue over the day: 1 at 08:00 local time, 2 at 20:00.
fn daily_shape(time: Timestamp, longitude: f64) -> f64 {
    let hour = time.secs().rem_euclid(86_400) as f64 / 3600.0 + longitude / 15.0;
    1.5 + 0.5 * ((hour - 20.0) / 24.0 * std::f64::consts::TAU).cos()
}

/// Samples of addresses that nobody registered: 203.0.113.112/28 and 2001:db8:7fff::/48.
fn strangers(samples: u32, random: &mut Random, out: &mut Vec<Sample<'_>>) {
    let v4 = Prefix::v4([203, 0, 113, 112], 28);
    let v6 = Prefix::v6([0x20, 0x01, 0x0d, 0xb8, 0x7f, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 48);
    for _ in 0..samples {
        let address = host(if random.chance(500) { v4 } else { v6 }, random);
        let rtt_us = Some(random.between(20_000, 90_000) as u32);
        let millis = random.below(60_000) as u32;
        out.push(Sample { millis, address, rtt_us, source: "probe-stray-1" });
    }
}

/// Writes one minute. Writing to a vector cannot fail.
fn write(minute: Timestamp, samples: &[Sample<'_>], out: &mut Vec<u8>) {
    let (day, time) = (minute.day(), minute.time_of_day());
    let stamp = format!("{{\"time\":\"{day}T{}:", time.get(..5).unwrap_or_default());
    for sample in samples {
        let (secs, millis) = (sample.millis / 1000, sample.millis % 1000);
        out.extend_from_slice(stamp.as_bytes());
        let _ = write!(out, "{secs:02}.{millis:03}Z\",\"ip\":\"{}\",\"rtt_us\":", sample.address);
        let _ = match sample.rtt_us {
            Some(rtt_us) => write!(out, "{rtt_us}"),
            None => out.write_all(b"null"),
        };
        out.extend_from_slice(b",\"source\":\"");
        out.extend_from_slice(sample.source.as_bytes());
        out.extend_from_slice(b"\"}\n");
    }
}
