//! A contestant of the benchmarks: the full table for some peers in rotonda-store, in memory, with
//! four bytes of meta data a route. Says in one line what that took.

use std::error::Error;
use std::fs::File;
use std::hint::black_box;
use std::io::BufReader;

use inetnum::addr::Prefix;
use rotonda_store::epoch;
use rotonda_store::match_options::{IncludeHistory, MatchOptions, MatchType};
use rotonda_store::prefix_record::{Record, RouteStatus};
use rotonda_store::rib::StarCastRib;
use rotonda_store::rib::config::MemoryOnlyConfig;
use rotonda_store::test_types::PrefixAs;

#[path = "../../src/hold.rs"]
mod hold;

use hold::{Meter, Route, Told};

/// Arguments: the table, peers, rows of it, and `--asks` to answer questions too.
fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or("TABLE PEERS ROWS [--asks]");
    let (path, peers, rows_max) = (next()?, next()?.parse()?, next()?.parse()?);
    let asks = next().is_ok();
    let reader = BufReader::new(zstd::Decoder::new(File::open(path)?)?);
    let table = hold::table(reader, rows_max)?;
    println!("{}", hold(&table, peers, asks)?.line());
    Ok(())
}

fn hold(table: &[Route], peers: u32, asks: bool) -> Result<Told, Box<dyn Error>> {
    let store =
        StarCastRib::<PrefixAs, MemoryOnlyConfig>::try_default().map_err(|e| format!("{e:?}"))?;
    let meter = Meter::start()?;
    for peer in 0..peers {
        for (net, length, origin) in table {
            let prefix = Prefix::new_relaxed((*net).into(), *length)?;
            let meta = PrefixAs::new_from_u32(*origin);
            let record = Record::new(peer, 0, RouteStatus::Active, meta);
            black_box(store.insert(&prefix, record, None).map_err(|e| format!("{e:?}"))?);
        }
    }
    let mut told = meter.stop()?;
    told.prefixes = store.prefixes_count().total() as u64;
    if asks {
        let guard = &epoch::pin();
        let options = MatchOptions {
            match_type: MatchType::ExactMatch,
            include_withdrawn: false,
            include_less_specifics: false,
            include_more_specifics: false,
            mui: None,
            include_history: IncludeHistory::None,
        };
        for (net, length) in hold::sample(table) {
            let asked = Prefix::new_relaxed(net.into(), length)?;
            let found =
                store.match_prefix(&asked, &options, guard).map_err(|e| format!("{e:?}"))?;
            let origins = found.records.iter().map(|record| record.meta.asn().into_u32());
            told.origins += origins.map(u64::from).sum::<u64>();
        }
    }
    Ok(told)
}
