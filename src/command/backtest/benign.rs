//! Benign routes: every prefix of the archives is registered with the origin that was seen first, so
//! that whatever is told is a false alarm.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use analytics::lake::LakeRoot;
use analytics::sql::Lake;
use ingest::session::interest::Keep;
use schemas::bgp::Prefix;
use schemas::registry::Registry;
use serde::Serialize;
use tokio::runtime::Runtime;

use super::incident::connection;
use crate::backtest::totals::Alarms;
use crate::command::span::micros;
use crate::command::table::{Answer, open};
use crate::config::Config;
use crate::replay::{Request, replay};

/// Prefixes that are registered at most.
const PREFIXES_MAX: usize = 1_000_000;

/// Alarms over benign archives.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Benign {
    /// Prefixes registered.
    pub(super) prefixes: usize,
    /// Length of the archives.
    pub(super) days: f64,
    /// Prefixes times days.
    pub(super) exposure_prefix_days: f64,
    /// Whether there was a table dump: without one nothing but origins is judged at first.
    pub(super) has_dump: bool,
    /// Alarms of each confidence, all of them named.
    pub(super) by_confidence: BTreeMap<String, Alarms>,
    /// Alarms of each severity that was told.
    pub(super) by_severity: BTreeMap<String, Alarms>,
    /// Alarms of each rule that was told.
    pub(super) by_rule: BTreeMap<String, Alarms>,
}

/// What the archives hold.
struct Content {
    /// Prefixes by the origin that was seen first.
    prefixes: BTreeMap<u32, Vec<Prefix>>,
    days: f64,
    has_dump: bool,
}

impl Benign {
    /// Reads the archives twice: once to know what they hold, once with all of it registered.
    ///
    /// # Errors
    /// What stops a replay, or a lake that cannot be read.
    pub(super) fn replayed(
        archives: &[PathBuf],
        mut config: Config,
        runtime: &Runtime,
    ) -> anyhow::Result<Self> {
        let temporary = tempfile::tempdir()?;
        let url = |name: &str| LakeRoot::at(temporary.path().join(name));
        let replayed = |config: &Config, lake: &LakeRoot| {
            let request = Request { config, lake, paths: archives, shards: None, append: false };
            replay(&request, |_, _| {})
        };
        config.log.keep = Keep::All;
        replayed(&config, &url("all"))?;
        let content = runtime.block_on(async { Content::of(&open(&url("all")).await?).await })?;
        let connections = content
            .prefixes
            .iter()
            .map(|(origin, prefixes)| connection(&format!("as{origin}"), prefixes, [origin]))
            .collect::<Result<Vec<_>, _>>()?;
        config.registry = Arc::new(Registry::new(1, connections, Vec::new())?);
        config.log.keep = Keep::Ours;
        replayed(&config, &url("ours"))?;
        runtime.block_on(async { Self::of(&open(&url("ours")).await?, &content).await })
    }

    async fn of(lake: &Lake, content: &Content) -> anyhow::Result<Self> {
        let prefixes = content.prefixes.values().map(Vec::len).sum();
        let exposure_prefix_days = prefixes as f64 * content.days;
        let mut by = [BTreeMap::new(), BTreeMap::new(), BTreeMap::new()];
        for (by, column) in by.iter_mut().zip(["confidence", "severity", "rule"]) {
            let sql = format!(
                "select {column}, count(*) from incidents where phase <> 'ignored' group by {column}"
            );
            for row in Answer::of(lake, &sql).await?.iter() {
                let alarms = row.text(1).parse().unwrap_or_default();
                by.insert(row.text(0).to_owned(), Alarms::over(alarms, exposure_prefix_days));
            }
        }
        let [mut by_confidence, by_severity, by_rule] = by;
        for confidence in ["low", "medium", "high"] {
            by_confidence
                .entry(confidence.to_owned())
                .or_insert_with(|| Alarms::over(0, exposure_prefix_days));
        }
        Ok(Self {
            prefixes,
            days: content.days,
            exposure_prefix_days,
            has_dump: content.has_dump,
            by_confidence,
            by_severity,
            by_rule,
        })
    }
}

impl Content {
    async fn of(lake: &Lake) -> anyhow::Result<Self> {
        let sql = format!(
            "select prefix, first_value(origin_asn order by event_time, source, source_offset) as origin \
             from route_updates where action = 'announce' and origin_asn is not null \
             group by prefix order by prefix limit {PREFIXES_MAX}"
        );
        let mut prefixes: BTreeMap<u32, Vec<Prefix>> = BTreeMap::new();
        for row in Answer::of(lake, &sql).await?.iter() {
            let (Ok(prefix), Ok(origin)) = (row.text(0).parse::<Prefix>(), row.text(1).parse())
            else {
                continue;
            };
            // Everything lies in a default route: it is nobody's to register.
            if prefix.length() > 0 {
                prefixes.entry(origin).or_default().push(prefix);
            }
        }
        let sql = format!(
            "select {}, {}, count(*) filter (where is_snapshot) from route_updates",
            micros("min(event_time)"),
            micros("max(event_time)")
        );
        let ends = Answer::of(lake, &sql).await?;
        let ends = ends.first();
        let secs = ends.and_then(|row| Some(row.time(1)?.secs_since(row.time(0)?)));
        let has_dump = ends.and_then(|row| row.number(2)).is_some_and(|rows| rows > 0.0);
        anyhow::ensure!(!prefixes.is_empty(), "the benign archives hold no route with an origin");
        Ok(Self { prefixes, days: secs.unwrap_or_default() as f64 / 86_400.0, has_dump })
    }
}
