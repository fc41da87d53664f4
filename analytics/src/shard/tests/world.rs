//! A small world in which everything may be said: some peers of two collectors, connections that come,
//! change and go, probes of two sources. Words in, the batches of all partitions out.

use proptest::prelude::*;
use schemas::bgp::{Family, Prefix, RibView};
use schemas::connection::{Connection, WatchedAs};

use super::*;

/// Prefixes that peers tell: ours, parts of ours, what is around ours, and strangers.
const PREFIXES: [&str; 9] = [
    "192.0.2.0/24",
    "192.0.2.128/25",
    "192.0.0.0/16",
    "198.51.100.0/24",
    "198.51.100.0/26",
    "203.0.113.0/24",
    "2001:db8:20::/44",
    "2001:db8:20:1::/64",
    "2001:db8::/32",
];
/// Behind these a peer's AS stands: right, foreign, made up, leaked, badly formed.
const PATHS: [&[u32]; 9] = [
    &[64_500, OWNER],
    &[64_501, OWNER],
    &[64_500, 64_511],
    &[64_502, 64_511, OWNER],
    &[64_501, 64_500, OWNER],
    &[64_500, 64_500, 64_500, OWNER],
    &[64_501, 64_777, OWNER],
    &[64_511, 64_502, 64_511, OWNER],
    &[64_500, 64_501, 64_503, 64_504, OWNER],
];
pub(super) const RELATIONSHIPS: &str = "64500|64510|-1\n64501|64510|-1\n64500|64501|0\n64502|64501|-1\n64502|64511|-1\n64601|64500|0\n";

/// One thing that is said.
#[derive(Clone, Debug)]
pub(super) enum Word {
    /// A peer has another route, or none.
    Route {
        peer: u8,
        prefix: usize,
        path: Option<usize>,
        path_id: Option<u32>,
        is_snapshot: bool,
    },
    /// So do several peers at once.
    Storm {
        peers: u8,
        prefix: usize,
        path: Option<usize>,
    },
    Session {
        peer: u8,
        state: PeerState,
    },
    Restart,
    Dumped,
    /// Minutes pass with their probes; how slow they are.
    Minutes {
        count: i64,
        slow_ms: u32,
    },
    /// Probes of a minute that is over.
    Late {
        minutes_ago: i64,
        count: u32,
    },
    /// Time passes without a word.
    Silence {
        secs: i64,
    },
    Registry {
        variant: u8,
        preset: u8,
        series_max: u32,
    },
    Commit,
    Gap,
}

pub(super) fn words(most: usize) -> impl Strategy<Value = Vec<Word>> {
    let path = || prop::option::weighted(0.8, 0..PATHS.len());
    let route =
        (0..8_u8, 0..PREFIXES.len(), path(), prop::option::weighted(0.1, 0..3_u32), any::<bool>())
            .prop_map(|(peer, prefix, path, path_id, is_snapshot)| Word::Route {
                peer,
                prefix,
                path,
                path_id,
                is_snapshot,
            });
    let storm = (1..8_u8, 0..PREFIXES.len(), path())
        .prop_map(|(peers, prefix, path)| Word::Storm { peers, prefix, path });
    let state = prop_oneof![
        3 => Just(PeerState::Up),
        3 => Just(PeerState::Down),
        1 => Just(PeerState::Stale),
        1 => Just(PeerState::EndOfRib(Family::Ipv4)),
        1 => Just(PeerState::EndOfRib(Family::Ipv6)),
        1 => Just(PeerState::Other(3)),
    ];
    let session = (0..8_u8, state).prop_map(|(peer, state)| Word::Session { peer, state });
    let minutes = (1..12_i64, prop_oneof![3 => Just(0_u32), 1 => Just(40)])
        .prop_map(|(count, slow_ms)| Word::Minutes { count, slow_ms });
    let silence = prop_oneof![
        6 => 1..120_i64,
        2 => 120..4_000_i64,
        1 => Just(86_400 * 7),
        1 => Just(86_400 / 3),
    ];
    let registry = (any::<u8>(), 0..3_u8, prop_oneof![4 => Just(1_000_u32), 1 => Just(2)])
        .prop_map(|(variant, preset, series_max)| Word::Registry { variant, preset, series_max });
    let word = prop_oneof![
        20 => route,
        10 => storm,
        6 => session,
        12 => minutes,
        4 => (0..7_i64, 1..40_u32).prop_map(|(minutes_ago, count)| Word::Late { minutes_ago, count }),
        8 => silence.prop_map(|secs| Word::Silence { secs }),
        3 => registry,
        2 => Just(Word::Commit),
        2 => Just(Word::Dumped),
        1 => Just(Word::Restart),
        1 => Just(Word::Gap),
    ];
    prop::collection::vec(word, 1..most)
}

/// What is registered in a variant.
fn registry(version: u32, variant: u8) -> Registry {
    let bit = |bit: u8| variant >> bit & 1 == 1;
    let (more, state) = (
        if bit(0) { r#", "203.0.113.0/24""# } else { "" },
        if bit(1) { "PendingRemove" } else { "Active" },
    );
    let mut texts = vec![
        format!(
            r#"{{"name": "a", "prefixes": ["192.0.2.0/24"{more}], "origin_asns": [{OWNER}],
                "state": "{state}", "redundancy_group": "g", "partner": {{"name": "p", "asn": 64500}},
                "expect_upstreams": [64501], "primary_edge": "sea01", "sessions": [
                    {{"router": null, "peer_ip": "203.0.113.1", "role": "primary"}},
                    {{"router": null, "peer_ip": "203.0.113.2", "role": "backup"}}]}}"#
        ),
        r#"{"name": "b", "prefixes": ["198.51.100.0/24"], "redundancy_group": "g"}"#.to_owned(),
        r#"{"name": "c", "tenant": "t", "prefixes": ["2001:db8:20::/44"],
            "location": {"country": "US", "latitude": 47.600000000000001, "longitude": -122.3}}"#
            .to_owned(),
    ];
    if bit(2) {
        texts.insert(0, r#"{"name": "_", "prefixes": ["198.51.100.0/26"]}"#.to_owned());
    }
    if bit(3) {
        texts.pop();
    }
    let connections: Vec<Connection> =
        texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    let watched: WatchedAs =
        serde_json::from_str(r#"{"number": 64501, "peers": [64500], "originates": "registered"}"#)
            .unwrap();
    Registry::new(version, connections, bit(4).then_some(watched).into_iter().collect()).unwrap()
}

/// Says words, in the batches of all partitions.
pub(super) struct World {
    partitions: u32,
    is_live: bool,
    /// Log time.
    now: Timestamp,
    registry: Arc<Registry>,
    offset: u64,
    chance: u32,
}

impl World {
    pub(super) fn new(partitions: u32, is_live: bool) -> Self {
        let now = Timestamp::from_secs(1_772_618_400);
        let registry = Arc::new(registry(1, 0));
        Self { partitions, is_live, now, registry, offset: 0, chance: 1 }
    }

    /// The first words of a log.
    pub(super) fn begin(&self) -> Vec<EventBatch> {
        self.control(&Control::Registry { registry: Arc::clone(&self.registry), settings: None })
    }

    /// The batches of each partition, one after the other.
    pub(super) fn say(&mut self, word: &Word) -> Vec<Vec<EventBatch>> {
        self.now = self.now.plus_secs(1);
        match *word {
            Word::Route { peer, prefix, path, path_id, is_snapshot } => {
                vec![self.routes(peer..=peer, (prefix, path, path_id), is_snapshot)]
            }
            Word::Storm { peers, prefix, path } => {
                vec![self.routes(0..=peers, (prefix, path, None), false)]
            }
            Word::Session { peer, state } => vec![self.session(peer, state)],
            Word::Restart => {
                vec![self.control(&Control::Stale { collector: "c0".into(), event_time: self.now })]
            }
            Word::Dumped => {
                let collector = "c0".into();
                vec![self.control(&Control::EndOfRib { collector, event_time: self.now })]
            }
            Word::Minutes { count, slow_ms } => {
                (0..count).flat_map(|_| self.minute(slow_ms)).collect()
            }
            Word::Late { minutes_ago, count } => {
                let start = self.now.plus_secs(-60 * minutes_ago).window_start(60);
                vec![self.samples(start, count, 20_000)]
            }
            Word::Silence { secs } => {
                self.now = self.now.plus_secs(secs);
                vec![self.tick()]
            }
            Word::Registry { variant, preset, series_max } => {
                vec![self.edit(variant, preset, series_max)]
            }
            Word::Commit => vec![self.control(&Control::Commit { snapshot: false })],
            Word::Gap => vec![self.control(&Control::FeedGap {
                source: 0,
                collector: None,
                started_at: self.now.plus_secs(-9),
                ended_at: None,
                reason: "silent".into(),
                lost: Some(3),
            })],
        }
    }

    fn batches(&self) -> Vec<EventBatch> {
        let batch = |partition| {
            let mut batch = EventBatch::starting(partition, self.offset, self.is_live);
            batch.sources.extend(["updates", "probe-0", "probe-1"].map(Text::from));
            batch
        };
        (0..self.partitions).map(batch).collect()
    }

    fn control(&self, control: &Control) -> Vec<EventBatch> {
        let mut batches = self.batches();
        for batch in &mut batches {
            batch.controls.push(control.clone());
            batch.append(self.now, Content::Control(0));
        }
        batches
    }

    fn tick(&mut self) -> Vec<EventBatch> {
        // The second probe's input is late now and then.
        self.chance = self.chance.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let inputs = if self.chance >> 30 == 0 { vec![1] } else { vec![1, 2] };
        self.control(&Control::Tick { inputs, until: self.now })
    }

    fn edit(&mut self, variant: u8, preset: u8, series_max: u32) -> Vec<EventBatch> {
        self.registry = Arc::new(registry(self.registry.version + 1, variant));
        let preset = ["cautious", "balanced", "eager"][usize::from(preset)];
        let settings = format!(
            r#"{{"config_hash": "{variant}", "detect": {{"preset": "{preset}", "exception": [
                {{"rule": "flap", "connection": "a", "until": "2026-12-31", "reason": "x"}}]}},
                "latency": {{"series_max": {series_max}, "late_bytes_max": 2000}},
                "backfill_after_secs": 5000}}"#
        );
        let settings = (variant & 32 == 0).then(|| settings.into());
        self.control(&Control::Registry { registry: Arc::clone(&self.registry), settings })
    }

    fn header(peer: u8) -> Arc<PeerHeader> {
        let collector = if peer < 5 { "c0" } else { "c1" };
        let address = Ipv4Addr::new(203, 0, 113, peer).into();
        let header = PeerHeader::public(collector.into(), address, Asn(64_600 + u32::from(peer)));
        let rib_view = if peer == 7 { RibView::AdjRibOutPost } else { RibView::AdjRibInPre };
        Arc::new(PeerHeader { rib_view, router: (peer > 5).then(|| "r".into()), ..header })
    }

    fn session(&self, peer: u8, state: PeerState) -> Vec<EventBatch> {
        let mut batches = self.control(&Control::Peer {
            peer: 0,
            state,
            event_time: self.now,
            source: 0,
            source_offset: self.offset,
            local_ip: None,
            reason: None,
            prefixes_accepted: None,
        });
        batches.iter_mut().for_each(|batch| batch.peers.push(Self::header(peer)));
        batches
    }

    fn routes(
        &mut self,
        peers: std::ops::RangeInclusive<u8>,
        (prefix, path, path_id): (usize, Option<usize>, Option<u32>),
        is_snapshot: bool,
    ) -> Vec<EventBatch> {
        let mut batches = self.batches();
        let prefix: Prefix = PREFIXES[prefix].parse().unwrap();
        let domain = self.registry.domain("public");
        let writing = domain.writing_shard(&prefix, self.partitions);
        let touched: Vec<u32> = domain.touched_shards(&prefix, self.partitions).collect();
        for peer in peers {
            self.offset += 1;
            for batch in &mut batches {
                let writes = batch.partition == writing;
                if !writes && !touched.contains(&batch.partition) {
                    continue;
                }
                let attributes = path.map(|path| {
                    let first = 64_600 + u32::from(peer);
                    let path = [first].into_iter().chain(PATHS[path].iter().copied());
                    batch.attributes.push(Arc::new(PathAttributes {
                        as_path: AsPath::sequence(path),
                        med: Some(u32::from(peer) % 2),
                        otc: (peer == 3).then_some(Asn(64_500)),
                        ..PathAttributes::default()
                    }));
                    batch.attributes.len() as u32 - 1
                });
                batch.peers.push(Self::header(peer));
                let message = batch.messages.push(MessageEvent {
                    event_time: self.now,
                    router_time: None,
                    peer: batch.peers.len() as u32 - 1,
                    source: 0,
                    source_offset: self.offset,
                    attributes,
                    disposition: Disposition::Accepted,
                    is_snapshot,
                });
                let action = if path.is_some() { Action::Announce } else { Action::Withdraw };
                let route = RouteEvent { message, action, prefix, path_id, writes };
                let row = batch.routes.push(route);
                batch.append(self.now, Content::Route(row));
            }
        }
        batches
    }

    /// The probes of the minute under way, then its end.
    fn minute(&mut self, slow_ms: u32) -> Vec<Vec<EventBatch>> {
        let start = self.now.window_start(60);
        let samples = self.samples(start, 120, 20_000 + 1_000 * slow_ms);
        self.now = start.plus_secs(95);
        vec![samples, self.tick()]
    }

    fn samples(&mut self, start: Timestamp, count: u32, rtt_us: u32) -> Vec<EventBatch> {
        let mut batches = self.batches();
        let statistics = [Statistic::Sample, Statistic::Sample, Statistic::Min];
        for (connection, entry) in (0..).zip(self.registry.connections()) {
            let shard = self.registry.shard(connection, self.partitions);
            let Some(batch) = batches.get_mut(shard as usize) else { continue };
            for (number, registered) in (0..).zip(&entry.prefixes) {
                for (input, statistic) in (1..).zip(statistics).take(1 + (number + 1) % 3) {
                    let (prefix, source) = (registered.prefix, 1 + input % 2);
                    let series = SeriesEvent { connection, prefix, source, input, statistic };
                    let series = batch.series.push(series);
                    for probe in 0..count {
                        self.chance =
                            self.chance.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        let chance = self.chance >> 20;
                        let event_time = Timestamp(start.0 + i64::from(probe) * 480_000);
                        let is_lost = chance.is_multiple_of(50);
                        let rtt = if is_lost { 0 } else { rtt_us + chance % 2_000 };
                        let rtt_us = NonZeroU32::new(rtt);
                        let row = batch.samples.push(SampleEvent { event_time, series, rtt_us });
                        batch.append(self.now, Content::Sample(row));
                    }
                }
            }
        }
        batches
    }
}
