//! What it takes to save the state of a fold and to restore it.
//!
//! `cargo run --release -p analytics --example state_speed -- [PREFIXES] [PEERS] [SERIES]`: a full table of
//! PREFIXES (1,000,000) for each of PEERS (35), each ten neighbours of one origin; then SERIES (100,000)
//! with a minute of sixty probes each that is open. Prints bytes and seconds.

#![allow(clippy::print_stdout, clippy::expect_used, reason = "a program that measures")]

use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Instant;

use analytics::shard::{FoldOptions, Shard};
use schemas::batch::{
    Action, Content, Control, EventBatch, MessageEvent, RouteEvent, SampleEvent, SeriesEvent,
};
use schemas::bgp::{AsPath, Asn, Community, Disposition, PathAttributes, PeerHeader, Prefix};
use schemas::registry::Registry;
use schemas::sample::Statistic;
use schemas::time::Timestamp;

/// Prefixes of one origin.
const OF_ONE_ORIGIN: u32 = 10;

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|text| text.parse().ok());
    let mut number = |usual: u32| numbers.next().unwrap_or(usual);
    let (prefixes, peers, series) = (number(1_000_000), number(35), number(100_000));
    let mut shard = Shard::new(0, 1, &FoldOptions::default(), Arc::default());
    shard.apply(&registry());
    let before = resident_bytes();
    let started = Instant::now();
    (0..peers).for_each(|peer| table(&mut shard, peer, prefixes));
    let grown = resident_bytes() - before;
    println!(
        "{} routes: folded in {:.1} s, the process grew by {:.0} MB",
        u64::from(prefixes) * u64::from(peers),
        started.elapsed().as_secs_f64(),
        megabytes(grown)
    );
    shard = measure("routes", shard);
    samples(&mut shard, series);
    println!("{} samples are open", u64::from(series) * 60);
    measure("routes and samples", shard);
}

fn measure(what: &str, shard: Shard) -> Shard {
    let started = Instant::now();
    let bytes = shard.save().expect("nothing waits");
    let saved = started.elapsed().as_secs_f64();
    println!("{what}: {:.0} MB saved in {saved:.2} s", megabytes(bytes.len() as u64));
    drop(shard);
    let (before, started) = (resident_bytes(), Instant::now());
    let restored = Shard::restore(&bytes, (0, 1), |_| Ok(Arc::default())).expect("what was saved");
    let seconds = started.elapsed().as_secs_f64();
    let grown = megabytes(resident_bytes().saturating_sub(before));
    println!("{what}: restored in {seconds:.2} s, the process grew by {grown:.0} MB");
    assert!(restored.save().expect("nothing waits") == bytes, "another state came back");
    restored
}

fn registry() -> EventBatch {
    let connection =
        r#"{"name": "probed", "prefixes": ["198.51.100.0/24"], "origin_asns": [64510]}"#;
    let connection = serde_json::from_str(connection).expect("a connection");
    let registry = Registry::new(1, vec![connection], Vec::new()).expect("a registry");
    let mut batch = EventBatch::starting(0, 0, true);
    batch.controls.push(Control::Registry { registry: Arc::new(registry), settings: None });
    batch.append(Timestamp::from_secs(0), Content::Control(0));
    batch
}

/// A peer tells its table: /24 after /24 from 16.0.0.0 on.
fn table(shard: &mut Shard, peer: u32, prefixes: u32) {
    let asn = Asn(65_536 + peer);
    let address = Ipv4Addr::from_bits(0xc633_6400 + peer).into();
    let header = Arc::new(PeerHeader::public("bench".into(), address, asn));
    for first in (0..prefixes).step_by(10_000) {
        let mut batch = EventBatch::starting(0, 0, true);
        batch.sources.push("table".into());
        batch.peers.push(Arc::clone(&header));
        for number in first..prefixes.min(first + 10_000) {
            if number % OF_ONE_ORIGIN == 0 || batch.attributes.is_empty() {
                batch.attributes.push(Arc::new(attributes(&header, number / OF_ONE_ORIGIN)));
            }
            let message = batch.messages.push(MessageEvent {
                event_time: Timestamp::from_secs(1),
                router_time: None,
                peer: 0,
                source: 0,
                source_offset: number.into(),
                attributes: Some(batch.attributes.len() as u32 - 1),
                disposition: Disposition::Accepted,
                is_snapshot: true,
            });
            let prefix = Prefix::v4_word(0x1000_0000 + (number << 8), 24);
            let action = Action::Announce;
            let route = RouteEvent { message, action, prefix, path_id: None, writes: false };
            let row = batch.routes.push(route);
            batch.append(Timestamp::from_secs(1), Content::Route(row));
        }
        shard.apply(&batch);
        let _ = shard.take_summaries();
        shard.rows = analytics::rows::Rows::default();
    }
}

fn attributes(peer: &PeerHeader, origin: u32) -> PathAttributes {
    let hops = [peer.asn.0, 3_356 + origin % 50, 6_000 + origin % 3_000, 100_000 + origin];
    PathAttributes {
        as_path: AsPath::sequence(hops),
        next_hop: Some(peer.address),
        communities: (0..4).map(|n| Community::Standard(0x0d1c_0000 + origin % 100 + n)).collect(),
        ..PathAttributes::default()
    }
}

/// A minute of sixty probes of each series.
fn samples(shard: &mut Shard, series: u32) {
    for first in (0..series).step_by(1_000) {
        let mut batch = EventBatch::starting(0, 0, true);
        batch.sources.push(format!("probe-{}", first / 1_000).into());
        for number in first..series.min(first + 1_000) {
            let prefix = Prefix::v4_word(0x6440_0000 + (number << 8), 24);
            let row = batch.series.push(SeriesEvent {
                connection: 0,
                prefix,
                source: 0,
                input: 0,
                statistic: Statistic::Sample,
            });
            for probe in 0..60 {
                let event_time = Timestamp::from_secs(i64::from(probe));
                let rtt_us = NonZeroU32::new(20_000 + (number * 7 + probe * 31) % 3_000);
                let sample = SampleEvent { event_time, series: row, rtt_us };
                let row = batch.samples.push(sample);
                batch.append(Timestamp::from_secs(60), Content::Sample(row));
            }
        }
        shard.apply(&batch);
    }
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// What the system counts for this process; 0 where it does not say.
fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4_096
}
