//! The routing state of the past: `rib_at` and `peerscope rib` against a plain fold of everything
//! that was said, over hours in which routes come, change and fall.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use ingest::encode::bgp::{Update, update};
use ingest::encode::mrt;
use peerscope::simulator::random::Random;
use schemas::bgp::{AsPath, Asn, Origin, PathAttributes, Prefix};
use schemas::time::Timestamp;
use support::{Bench, stderr, stdout};

const CONFIG: &str = "[[connection]]\nname = \"contoso-seattle\"\ntenant = \"contoso\"\n\
    prefixes = [\"192.0.2.0/24\"]\norigin_asns = [64510]\n";
const PEERS: u8 = 4;
const NETS: u8 = 12;
/// 2026-03-04T09:20:00Z
const START: i64 = 1_772_616_000;
const HOURS: i64 = 4;

fn prefix(net: u8) -> Prefix {
    Prefix::v4([192, 0, 2, net << 4], if net == 0 { 24 } else { 28 })
}

fn session(peer: u8) -> mrt::Session {
    mrt::Session {
        peer_address: Ipv4Addr::new(203, 0, 113, peer).into(),
        peer_asn: Asn(64_600 + u32::from(peer)),
        local_address: Ipv4Addr::new(203, 0, 113, 250).into(),
        local_asn: Asn(64_499),
    }
}

fn attributes(peer: u8, origin: u32) -> PathAttributes {
    PathAttributes {
        origin: Some(Origin::Igp),
        as_path: AsPath::sequence([64_600 + u32::from(peer), 64_500, origin]),
        next_hop: Some(IpAddr::V4(Ipv4Addr::new(203, 0, 113, peer))),
        ..PathAttributes::default()
    }
}

/// Four hours of updates: every second or third minute somebody says something, now and then a
/// session goes; and a silence of half an hour over a full hour.
fn archive() -> Vec<u8> {
    let mut random = Random::new(7);
    let mut out = Vec::new();
    let mut time = START;
    while time < START + HOURS * 3_600 {
        time += random.between(0, 40) as i64;
        if time % 7_200 > 6_300 {
            time += 1_800;
        }
        let peer = random.between(1, u64::from(PEERS)) as u8;
        let net = prefix(random.between(0, u64::from(NETS) - 1) as u8);
        let at = Timestamp::from_secs(time);
        match random.between(0, 60) {
            0 => {
                mrt::state_change(&mut out, at, &session(peer), 6, 1);
                mrt::state_change(&mut out, at.plus_secs(9), &session(peer), 5, 6);
                time += 9;
            }
            1 => mrt::state_change(&mut out, at, &session(peer), 5, 6),
            2..=15 => {
                let gone = Update { withdrawn: &[net], announced: &[], attributes: None };
                mrt::message(&mut out, at, &session(peer), &update(&gone));
            }
            _ => {
                let set = attributes(peer, 64_510 + random.between(0, 3) as u32);
                let told = Update { withdrawn: &[], announced: &[net], attributes: Some(&set) };
                mrt::message(&mut out, at, &session(peer), &update(&told));
            }
        }
    }
    out
}

fn replayed(shards: &str) -> Bench {
    let bench = Bench::empty();
    bench.write("peerscope.toml", CONFIG);
    bench.write("updates.mrt", archive());
    bench.expect(0, &["replay", "--lake", "l", "--shards", shards, "updates.mrt"]);
    bench
}

/// Peer and prefix; path and staleness.
type Held = BTreeMap<(String, String), (String, bool)>;

/// All that was said, in order: time in microseconds, and the CSV fields of the row.
fn said(bench: &Bench) -> Vec<(i64, Vec<String>)> {
    let routes = "select cast(event_time as bigint) as t, source_offset as o, action, peer_ip, prefix, \
                  array_to_string(as_path, ' ') as p from route_updates";
    let sessions = "select cast(time as bigint) as t, source_offset as o, state, peer_ip, '' as prefix, '' as p from sessions";
    let rows = bench.ask("l", &format!("{routes} union all {sessions} order by t, o"));
    let fields = rows.iter().map(|row| row.split(',').map(str::to_owned).collect::<Vec<_>>());
    fields.map(|fields| (fields[0].parse().unwrap(), fields)).collect()
}

fn plain_fold(said: &[(i64, Vec<String>)], until: i64) -> Held {
    let mut held = Held::new();
    for (_, fields) in said.iter().take_while(|(time, _)| *time <= until) {
        let key = (fields[3].clone(), fields[4].clone());
        match fields[2].as_str() {
            "announce" => drop(held.insert(key, (fields[5].clone(), false))),
            "withdraw" => drop(held.remove(&key)),
            "down" => held.retain(|(peer, _), _| *peer != fields[3]),
            "up" => {
                held.iter_mut().filter(|(key, _)| key.0 == fields[3]).for_each(|(_, r)| r.1 = true)
            }
            _ => {}
        }
    }
    held
}

fn rib_at(bench: &Bench, at: &str) -> Held {
    let sql = format!(
        "select peer_ip, prefix, array_to_string(as_path, ' '), stale from rib_at({at}) where session_role is null"
    );
    let rows = bench.ask("l", &sql);
    let fields = rows.iter().map(|row| row.split(',').map(str::to_owned).collect::<Vec<_>>());
    fields.map(|f| ((f[0].clone(), f[1].clone()), (f[2].clone(), f[3] == "true"))).collect()
}

#[test]
fn what_was_held_at_any_moment_is_a_fold_of_all_that_was_said() {
    let bench = replayed("1");
    let said = said(&bench);
    assert!(said.len() > 400, "{}", said.len());
    let hours =
        bench.ask("l", "select distinct cast(snapshot_time as bigint) as t from rib order by t");
    assert!(hours.len() >= 3, "{hours:?}");
    let mut stale = 0;
    let moments = (0..HOURS * 4 + 2).map(|quarter| START + quarter * 900 + quarter % 2);
    for at in moments {
        let text = format!("'{}'", Timestamp::from_secs(at));
        let plain = plain_fold(&said, at * 1_000_000);
        stale += plain.values().filter(|route| route.1).count();
        assert_eq!(rib_at(&bench, &text), plain, "at {text}");
    }
    assert!(stale > 0, "some routes waited for a refresh");
    assert_eq!(rib_at(&bench, ""), plain_fold(&said, i64::MAX), "at the end");
}

#[test]
fn a_snapshot_is_what_was_held_before_its_hour_in_any_number_of_shards() {
    let bench = replayed("1");
    let said = said(&bench);
    let rows = |bench: &Bench| {
        bench.ask("l", "select * exclude (date) from rib order by snapshot_time, prefix_first, prefix_last, peer_ip")
    };
    for hour in bench.ask("l", "select distinct cast(snapshot_time as bigint) from rib") {
        let sql = format!(
            "select peer_ip, prefix, array_to_string(as_path, ' '), stale from rib where cast(snapshot_time as bigint) = {hour}"
        );
        let rows = bench.ask("l", &sql);
        let fields = rows.iter().map(|row| row.split(',').map(str::to_owned).collect::<Vec<_>>());
        let held: Held = fields
            .map(|f| ((f[0].clone(), f[1].clone()), (f[2].clone(), f[3] == "true")))
            .collect();
        assert_eq!(held, plain_fold(&said, hour.parse::<i64>().unwrap() - 1), "{hour}");
    }
    for shards in ["3", "12"] {
        assert_eq!(rows(&bench), rows(&replayed(shards)), "{shards} shards");
    }
}

#[test]
fn the_command_lists_routes_by_peer_and_says_why_it_lists_none() {
    let bench = replayed("1");
    let rib = |arguments: &[&str]| {
        let all: Vec<&str> = ["rib", "--lake", "l", "--format", "csv"]
            .into_iter()
            .chain(arguments.iter().copied())
            .collect();
        let done = bench.expect(0, &all);
        (stdout(&done).lines().skip(1).map(str::to_owned).collect::<Vec<_>>(), stderr(&done))
    };
    let at = ["--at", "2026-03-04T12:00:00Z"];
    let (exact, _) = rib(&["192.0.2.0/24", at[0], at[1]]);
    let (inside, _) = rib(&["192.0.2.0/24", at[0], at[1], "--covered"]);
    let (around, _) = rib(&["192.0.2.16/28", at[0], at[1], "--covering"]);
    assert!(
        !exact.is_empty() && exact.iter().all(|line| line.starts_with("192.0.2.0/24,646")),
        "{exact:?}"
    );
    assert!(inside.len() > exact.len() && inside[..exact.len()] == exact, "{inside:?}");
    assert!(around[..exact.len()] == exact, "{around:?}");
    let (nothing, why) = rib(&["192.0.2.0/24", "--at", "2026-03-04T09:00:00Z"]);
    assert!(
        nothing.is_empty() && why.contains("no peer held a route for 192.0.2.0/24 at 2026"),
        "{why}"
    );
    let (nothing, why) = rib(&["198.51.100.0/24"]);
    assert!(nothing.is_empty() && why.contains("the filter kept nothing"), "{why}");
    bench.expect(2, &["rib", "192.0.2.1/24"]);
    bench.expect(2, &["rib", "192.0.2.0/24", "--at", "yesterday"]);
    let of_tenant = |tenant: &str| {
        let sql = "select count(*) from rib_at('2026-03-04T12:00:00Z')";
        let done = bench
            .expect(0, &["sql", "--lake", "l", "--tenant", tenant, "--format", "csv", "-c", sql]);
        stdout(&done).lines().nth(1).unwrap().to_owned()
    };
    assert_eq!(of_tenant("contoso"), inside.len().to_string());
    assert_eq!(of_tenant("fabrikam"), "0");
}
