//! Lakes in real object stores, MinIO and Azurite: the same lake as on local disk, whatever is killed.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use analytics::lake::{LakeError, Store};

use crate::support::chain::{QUESTION, answer, make};
use crate::support::stores::{SCHEMES, Stores};
use crate::support::{Bench, files, stderr, stdout};

/// Writers of one key, and keys.
const WRITERS: usize = 8;
const RACES: usize = 50;
const KILLS: u32 = 6;

/// The program with the clients' environment.
fn command(bench: &Bench, stores: &Stores, arguments: &[&str]) -> Command {
    let mut command = bench.command(arguments);
    command.envs(stores.environment());
    command
}

fn expect(bench: &Bench, stores: &Stores, code: i32, arguments: &[&str]) -> String {
    let done = command(bench, stores, arguments).output().unwrap();
    let told = format!("{arguments:?}\n{}{}", stdout(&done), stderr(&done));
    assert_eq!(done.status.code(), Some(code), "{told}");
    stdout(&done)
}

#[test]
fn of_eight_writers_that_race_for_a_key_one_wins() {
    let Some(stores) = Stores::up() else { return };
    for scheme in SCHEMES {
        let root = stores.root(&format!("{scheme}://lake/races"));
        let writers: Vec<Store> = (0..WRITERS).map(|_| Store::open_at(&root).unwrap()).collect();
        let barrier = Barrier::new(WRITERS);
        let won: Vec<Vec<bool>> = std::thread::scope(|scope| {
            let race = |(number, store): (usize, &Store)| {
                let won = |race: usize| {
                    barrier.wait();
                    let contents = vec![u8::try_from(number).unwrap(); 10_000 + number];
                    match store.put(&format!("t/date=2026-03-04/{race}"), &contents) {
                        Ok(()) => true,
                        Err(LakeError::Differs { .. }) => false,
                        Err(other) => panic!("{other}"),
                    }
                };
                (0..RACES).map(won).collect::<Vec<_>>()
            };
            let threads = writers.iter().enumerate();
            let threads: Vec<_> = threads.map(|writer| scope.spawn(move || race(writer))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for race in 0..RACES {
            let writers_won = won.iter().enumerate().filter(|(_, won)| won[race]);
            let winners: Vec<usize> = writers_won.map(|(writer, _)| writer).collect();
            let [winner] = winners[..] else { panic!("{scheme}, {race}: {winners:?} won") };
            let there = writers[0].get(&format!("t/date=2026-03-04/{race}")).unwrap().unwrap();
            assert_eq!(there, vec![u8::try_from(winner).unwrap(); 10_000 + winner]);
        }
        assert_eq!(writers[0].list_all("t").unwrap().len(), RACES);
        assert_eq!(writers[0].list("_peerscope").unwrap(), Vec::<String>::new(), "no test is left");
    }
}

#[test]
fn a_store_reads_parts_lists_and_deletes() {
    let Some(stores) = Stores::up() else { return };
    for scheme in SCHEMES {
        let store = Store::open_at(&stores.root(&format!("{scheme}://lake/parts"))).unwrap();
        store.put("t/date=1/a.parquet", b"0123456789").unwrap();
        store.put("t/date=2/b.parquet", b"").unwrap();
        assert_eq!(store.get_end("t/date=1/a.parquet", 4).unwrap().unwrap(), b"6789");
        assert_eq!(store.get_end("t/date=1/a.parquet", 99).unwrap().unwrap(), b"0123456789");
        assert_eq!(store.get_range("t/date=1/a.parquet", 2..5).unwrap().unwrap(), b"234");
        assert_eq!(store.get_end("t/date=2/b.parquet", 4).unwrap().unwrap(), b"");
        assert!(store.get_end("t/date=3/c.parquet", 4).unwrap().is_none());
        assert!(store.get_range("t/date=3/c.parquet", 0..4).unwrap().is_none());
        assert_eq!(store.list("t").unwrap(), ["date=1", "date=2"]);
        store.delete("t/date=1/a.parquet").unwrap();
        store.delete("t/date=1/a.parquet").unwrap();
        store.put_over("t/date=2/b.parquet", b"over").unwrap();
        let all = store.list_all("t").unwrap();
        let all: Vec<_> = all.iter().map(|entry| (entry.key.as_str(), entry.bytes)).collect();
        assert_eq!(all, [("t/date=2/b.parquet", 4)], "{scheme}");
        // More than one page.
        for number in 0..1_100 {
            store.put(&format!("many/{number:04}"), b"x").unwrap();
        }
        assert_eq!(store.list("many").unwrap().len(), 1_100, "{scheme}");
        assert_eq!(store.list_all("many").unwrap().len(), 1_100, "{scheme}");
    }
}

#[test]
fn a_replay_into_a_bucket_is_the_lake_on_local_disk_and_reads_like_it() {
    let Some(stores) = Stores::up() else { return };
    let bench = Bench::with_demo_inputs();
    let replay = ["replay", "--config", "in/peerscope.toml", "in", "--lake"];
    bench.expect(0, &[&replay[..], &["local"]].concat());
    let local = files(&bench.path("local"));
    for scheme in SCHEMES {
        let url = format!("{scheme}://lake/deep/demo");
        expect(&bench, &stores, 0, &[&replay[..], &[&url]].concat());
        expect_same(&local, &stores.files(&url));
        let again = expect(&bench, &stores, 0, &[&replay[..], &[&url]].concat());
        assert!(again.starts_with("nothing to do"), "{again}");
        let id =
            &bench.ask("local", "select finding_id from incidents order by opened_at limit 1")[0];
        let whatif = ["whatif", "--config", "in/peerscope.toml", "--since", "30m"];
        let commands: [&[&str]; 10] = [
            &["sql", "-c", "select * from incidents order by finding_id", "--format", "csv"],
            &["sql", "--tenant", "contoso", "-c", "select count(*) from latency_final"],
            &["findings", "list"],
            &["findings", "show", id],
            &["rib", "192.0.2.0/24"],
            &["why", "contoso-seattle"],
            &["latency", "--every", "5m"],
            &whatif,
            &["lake", "verify"],
            &["lake", "stats"],
        ];
        for command in commands {
            let on = |lake| [command, &["--lake", lake]].concat();
            let here = expect(&bench, &stores, 0, &on("local")).replace("local", "LAKE");
            let there = expect(&bench, &stores, 0, &on(&url)).replace(&url, "LAKE");
            assert_eq!(there, here, "{command:?}");
        }
        expect(&bench, &stores, 0, &["findings", "mark", id, "true-positive", "--lake", &url]);
        let verdict = "select verdict from incidents where verdict is not null";
        let ask = ["sql", "--lake", &url, "--format", "csv", "-c", verdict];
        assert_eq!(expect(&bench, &stores, 0, &ask), "verdict\ntrue_positive\n");
        let export = ["lake", "export", "--tenant", "contoso", "--lake", &url, "--to"];
        let out = format!("{scheme}://lake/out");
        expect(&bench, &stores, 0, &[&export[..], &[&out]].concat());
        expect(&bench, &stores, 0, &["lake", "verify", "--lake", &out]);
    }
}

fn expect_same(local: &BTreeMap<String, Vec<u8>>, remote: &BTreeMap<String, Vec<u8>>) {
    assert_eq!(local.keys().collect::<Vec<_>>(), remote.keys().collect::<Vec<_>>());
    for (key, bytes) in local {
        assert_eq!(Some(bytes), remote.get(key), "{key} differs");
    }
}

#[test]
fn a_replay_killed_in_mid_put_and_run_again_leaves_the_files_of_an_undisturbed_one() {
    let Some(stores) = Stores::up() else { return };
    let bench = Bench::with_demo_inputs();
    let replay = ["replay", "--config", "in/peerscope.toml", "in", "--lake"];
    bench.expect(0, &[&replay[..], &["local"]].concat());
    let local = files(&bench.path("local"));
    for scheme in SCHEMES {
        let timed = format!("{scheme}://lake/timed");
        let timed = [&replay[..], &[&timed]].concat();
        let began = Instant::now();
        expect(&bench, &stores, 0, &timed);
        let whole = began.elapsed();
        let mut in_part = 0;
        for kill in 0..KILLS {
            let url = format!("{scheme}://lake/killed/{kill}");
            let arguments = [&replay[..], &[&url]].concat();
            let mut child = command(&bench, &stores, &arguments)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            // The puts of a replay this small lie at its end.
            let share = 0.6 + 0.4 * f64::from(kill) / f64::from(KILLS);
            std::thread::sleep(whole.mul_f64(share) + Duration::from_micros(u64::from(kill)));
            child.kill().unwrap();
            child.wait().unwrap();
            let store = Store::open_at(&stores.root(&url)).unwrap();
            for entry in store.list_all("").unwrap() {
                let is_test = entry.key.starts_with("_peerscope/selftest-");
                let there = store.get(&entry.key).unwrap().unwrap();
                let is_whole = is_test || local.get(&entry.key) == Some(&there);
                assert!(is_whole, "{url}/{} is not whole", entry.key);
                in_part += u32::from(entry.key.ends_with(".parquet"));
                if is_test {
                    store.delete(&entry.key).unwrap();
                }
            }
            expect(&bench, &stores, 0, &arguments);
            expect_same(&local, &stores.files(&url));
        }
        eprintln!("{scheme}: {KILLS} kills left {in_part} files in all");
    }
}

#[test]
fn two_replays_at_once_into_one_bucket_make_one_lake() {
    let Some(stores) = Stores::up() else { return };
    let bench = Bench::with_demo_inputs();
    for scheme in SCHEMES {
        let url = format!("{scheme}://lake/both");
        let arguments = ["replay", "--config", "in/peerscope.toml", "in", "--lake", &url];
        let children: Vec<_> = (0..2)
            .map(|_| command(&bench, &stores, &arguments).stdout(Stdio::null()).spawn().unwrap())
            .collect();
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
        expect(&bench, &stores, 0, &["lake", "verify", "--lake", &url]);
    }
}

#[test]
fn a_bucket_is_compacted_while_it_is_read_and_while_compactions_are_killed() {
    let Some(stores) = Stores::up() else { return };
    let bench = Bench::empty();
    for scheme in SCHEMES {
        let url = format!("{scheme}://lake/chains");
        make(&stores.root(&url));
        let compact = ["lake", "compact", "--after-hours", "0", "--lake", &url];
        let spawn = || {
            let mut command = command(&bench, &stores, &compact);
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        };
        let ask = ["sql", "--lake", &url, "--format", "csv", "-c", QUESTION];
        let expect_whole = || {
            let said = expect(&bench, &stores, 0, &ask);
            assert_eq!(said.lines().skip(1).collect::<Vec<_>>(), answer(), "{scheme}");
        };
        for kill in 1..=KILLS {
            let mut child = spawn();
            std::thread::sleep(Duration::from_millis(u64::from(kill) * 120));
            expect_whole();
            child.kill().unwrap();
            child.wait().unwrap();
            expect_whole();
        }
        let mut last = [spawn(), spawn()];
        while last.iter_mut().any(|child| child.try_wait().unwrap().is_none()) {
            expect_whole();
        }
        expect(&bench, &stores, 0, &compact);
        expect_whole();
        expect(&bench, &stores, 0, &["lake", "verify", "--lake", &url]);
        let compacted = stores.files(&url);
        let compacted = compacted.keys().filter(|key| key.starts_with("feed_gaps/"));
        assert_eq!(compacted.count(), 3 * 2 + 2 * 12, "{scheme}");
    }
}

#[test]
fn wrong_credentials_a_missing_bucket_and_a_silent_endpoint_have_their_exit_codes() {
    let Some(stores) = Stores::up() else { return };
    let bench = Bench::empty();
    let refused = |code, url: &str, variable: (&str, &str), told: &str| {
        let mut command = command(&bench, &stores, &["sql", "-c", "select 1", "--lake", url]);
        let done = command.env(variable.0, variable.1).output().unwrap();
        assert_eq!(done.status.code(), Some(code), "{}", stderr(&done));
        assert!(stderr(&done).contains(told), "{}", stderr(&done));
    };
    let none = ("PEERSCOPE_NONE", "");
    refused(1, "s3://lake/nothing", none, "no lake at s3://lake/nothing");
    refused(78, "s3://nowhere/x", none, "make it first");
    refused(78, "az://nowhere/x", none, "make it first");
    let secret = ("AWS_SECRET_ACCESS_KEY", "wrong");
    refused(1, "s3://lake/x", secret, "AWS_SECRET_ACCESS_KEY");
    refused(78, "s3://lake/x", ("AWS_ALLOW_HTTP", "false"), "without TLS");
    let silent = ("AWS_ENDPOINT_URL", "http://127.0.0.1:9");
    refused(69, "s3://lake/x", silent, "endpoint");
}
