//! `peerscope rib`: the routes held for a prefix, now or then, by peer.

use analytics::sql::Lake;
use schemas::bgp::Prefix;
use schemas::time::Timestamp;

use super::sql::{Format, print_rows};
use super::table::{Answer, open, quoted};
use super::{Ended, Global, runtime};

/// What is shown of a route.
const COLUMNS: &str = "prefix, peer_asn, peer_ip, collector, router, rib_view, path_id, \
    array_to_string(as_path, ' ') as as_path, origin_asn, next_hop, \
    array_to_string(communities, ' ') as communities, otc, stale, connection";

/// The routes held for a prefix, now or then, by peer
#[derive(Debug, clap::Args)]
pub struct Rib {
    /// The prefix, such as 192.0.2.0/24
    #[arg(value_name = "PREFIX")]
    prefix: Prefix,

    /// When, such as 2026-03-04T10:00:00Z, else at the end of what the lake has
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,

    /// Also the routes for prefixes around it
    #[arg(long)]
    covering: bool,

    /// Also the routes for prefixes inside it
    #[arg(long)]
    covered: bool,

    /// Form of the list
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

impl Rib {
    /// Runs the command.
    ///
    /// # Errors
    /// A lake that cannot be read.
    pub fn run(self, global: &Global) -> anyhow::Result<Ended> {
        let root = global.lake()?;
        runtime()?.block_on(async {
            let lake = open(&root).await?;
            let at = self.at.map_or(String::new(), |at| quoted(&at.to_string()));
            let sql = format!(
                "select {COLUMNS} from rib_at({at}) where {} order by prefix_first, \
                 prefix_last desc, collector, router, peer_asn, peer_ip, rib_view, path_id",
                self.filter()
            );
            print_rows(&lake, &sql, self.format).await?;
            self.explain_silence(&lake, &at).await?;
            Ok(Ended::Well)
        })
    }

    /// The prefixes that are asked for, as SQL.
    fn filter(&self) -> String {
        let prefix = quoted(&self.prefix.to_string());
        let mut filter = format!("prefix = {prefix}");
        if self.covering {
            filter.push_str(&format!(" or prefix_covers(prefix, {prefix})"));
        }
        if self.covered {
            filter.push_str(&format!(" or prefix_covers({prefix}, prefix)"));
        }
        format!("({filter})")
    }

    /// Where nothing is shown, says whether nothing was held or nothing was kept.
    async fn explain_silence(&self, lake: &Lake, at: &str) -> anyhow::Result<()> {
        let filter = self.filter();
        let held = format!("select prefix from rib_at({at}) where {filter} limit 1");
        if !Answer::of(lake, &held).await?.is_empty() {
            return Ok(());
        }
        let heard = format!("select prefix from route_updates where {filter} limit 1");
        if Answer::of(lake, &heard).await?.is_empty() {
            eprintln!(
                "peerscope: nothing about {} is in this lake: no peer spoke of it, or the filter \
                 kept nothing; with keep = \"ours\" only what touches a registered prefix is kept",
                self.prefix
            );
        } else {
            let when = self.at.map_or("at the end".to_owned(), |at| format!("at {at}"));
            eprintln!("peerscope: no peer held a route for {} {when}", self.prefix);
        }
        Ok(())
    }
}
