//! `peerscope lake verify`: what is wrong with a lake, and what was compared to know that.

use std::io::Write as _;

use analytics::lake::store::Store;
use analytics::lake::verify::{Found, Kind, Verified, verify};
use analytics::sql::{Lake, Options};

use super::super::replay::progress_bar;
use super::super::sql::{Format, print_batch};
use super::super::table::Answer;
use super::super::{Ended, Global, runtime};
use super::Columns;

/// Hold every chain of every table against what must be true of it
#[derive(Debug, clap::Args)]
pub(super) struct Verify {
    /// Look at names and footers only, not at the rows
    #[arg(long)]
    quick: bool,

    /// Form of the list of what was found
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

impl Verify {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<Ended> {
        let root = global.lake()?;
        let store = Store::read_at(&root)?;
        let bar = progress_bar();
        let mut verified = verify(&store, !self.quick, &|table| bar.set_message(table.to_owned()))?;
        bar.set_message("ledger");
        let compared = runtime()?.block_on(async {
            let lake = Lake::open(&root, Options::default()).await?;
            ledger(&lake, &mut verified).await
        });
        bar.finish_and_clear();
        let compared = match compared {
            Ok(compared) => compared,
            // Files that cannot be read have been told of one by one.
            Err(_) if verified.is_damaged() => Vec::new(),
            Err(error) => return Err(error),
        };
        self.print(&verified, &compared)?;
        Ok(if verified.is_damaged() { Ended::Damaged } else { Ended::Well })
    }

    fn print(&self, verified: &Verified, compared: &[String]) -> anyhow::Result<()> {
        let found = &verified.found;
        let severity = |found: &Found| if found.kind.is_damage() { "damage" } else { "note" };
        if self.format != Format::Table || !found.is_empty() {
            let batch = Columns::default()
                .text("severity", found.iter().map(|found| severity(found).to_owned()))
                .text("kind", found.iter().map(|found| found.kind.as_str().to_owned()))
                .text("table", found.iter().map(|found| found.table.clone()))
                .text("place", found.iter().map(|found| found.place.clone()))
                .text("detail", found.iter().map(|found| found.detail.clone()))
                .batch()?;
            print_batch(&batch, self.format)?;
        }
        if self.format == Format::Table {
            let Verified { tables, chains, files, rows, bytes, .. } = verified;
            let mut out = std::io::stdout().lock();
            for line in compared {
                writeln!(out, "{line}")?;
            }
            let depth = if self.quick { ", rows not read" } else { "" };
            let damaged = found.iter().filter(|found| found.kind.is_damage()).count();
            let verdict = match damaged {
                0 => "clean".to_owned(),
                1 => "1 thing is damaged".to_owned(),
                more => format!("{more} things are damaged"),
            };
            writeln!(
                out,
                "{verdict}: {tables} tables, {chains} chains, {files} files, {rows} rows, {bytes} \
                 bytes{depth}"
            )?;
        }
        Ok(())
    }
}

/// Accepted elements of each source against the rows that came of them; what was compared, in words.
///
/// Of routes each accepted element is one row of its source. Samples are counted over all windows:
/// `latency` names the probe, not the input.
async fn ledger(lake: &Lake, verified: &mut Verified) -> anyhow::Result<Vec<String>> {
    if verified.is_export {
        return Ok(vec!["ledger: not compared, an export has none".to_owned()]);
    }
    let is_purged = |table: &str| verified.purged.contains(&table);
    if is_purged("ledger") || is_purged("route_updates") {
        let line = "ledger: not compared, older rows were purged";
        return Ok(vec![line.to_owned()]);
    }
    let accounts = Accounts::of(lake).await?;
    let is_open = !verified.open.is_empty();
    let mut compared = vec![accounts.routes(is_open, &mut verified.found)];
    compared.push(match is_open || is_purged("latency") || is_purged("latency_revisions") {
        true => "latency: not compared with ledger, windows are open or were purged".to_owned(),
        false => accounts.samples(lake, &mut verified.found).await?,
    });
    Ok(compared)
}

/// One source of the ledger beside its rows of `route_updates`.
struct Account {
    source: String,
    accepted: u64,
    late: u64,
    rows: Option<u64>,
}

struct Accounts(Vec<Account>);

impl Accounts {
    async fn of(lake: &Lake) -> anyhow::Result<Self> {
        let sql = "select coalesce(l.source, r.source), cast(l.accepted as bigint), \
                   cast(l.late as bigint), r.n \
                   from (select source, sum(accepted) as accepted, sum(late) as late \
                   from ledger group by source) l full outer join \
                   (select source, count(*) as n from route_updates group by source) r \
                   on l.source = r.source order by 1";
        let answer = Answer::of(lake, sql).await?;
        let accounts = answer.iter().map(|row| Account {
            source: row.text(0).to_owned(),
            accepted: row.text(1).parse().unwrap_or_default(),
            late: row.text(2).parse().unwrap_or_default(),
            rows: row.text(3).parse().ok(),
        });
        Ok(Self(accounts.collect()))
    }

    /// Sources of routes. While a log goes on its ledger may be behind its rows, never ahead.
    fn routes(&self, is_open: bool, found: &mut Vec<Found>) -> String {
        let (mut rows, mut sources) = (0, 0);
        for account in &self.0 {
            let Some(there) = account.rows else { continue };
            rows += there;
            sources += 1;
            if there < account.accepted || (there > account.accepted && !is_open) {
                let accepted = account.accepted;
                found.push(Found {
                    kind: Kind::Ledger,
                    table: "route_updates".to_owned(),
                    place: account.source.clone(),
                    detail: format!("{there} rows, {accepted} elements were accepted"),
                });
            }
        }
        let how = if is_open { "at least what" } else { "what" };
        format!(
            "route_updates: {rows} rows of {sources} sources held against {how} ledger accepted"
        )
    }

    /// Samples, over all windows: what was accepted is in a window, or was counted as too late or
    /// too many. A prefix with several owners counts for each.
    async fn samples(&self, lake: &Lake, found: &mut Vec<Found>) -> anyhow::Result<String> {
        let sql = "select cast(sum(cast(samples as bigint) + cast(lost as bigint)) as bigint), \
                   (select count(*) from (select prefix from connections where prefix is not null \
                   group by prefix having count(distinct connection) > 1)) from latency_final";
        let answer = Answer::of(lake, sql).await?;
        let number = |column| {
            let row = answer.first();
            row.map_or(0, |row| row.text(column).parse::<u64>().unwrap_or_default())
        };
        let (there, shared) = (number(0), number(1));
        let sources = self.0.iter().filter(|account| account.rows.is_none());
        let (accepted, late) = sources.fold((0, 0), |(accepted, late), account| {
            (accepted + account.accepted, late + account.late)
        });
        let wanted = u64::saturating_sub(accepted, late);
        if there < wanted || (there > wanted && shared == 0) {
            found.push(Found {
                kind: Kind::Ledger,
                table: "latency".to_owned(),
                place: "all windows".to_owned(),
                detail: format!("{there} samples, {accepted} were accepted and {late} came late"),
            });
        }
        let note = match shared {
            0 => String::new(),
            shared => format!(", {shared} prefixes with several owners count for each"),
        };
        Ok(format!("latency: {there} samples held against what ledger accepted{note}"))
    }
}
