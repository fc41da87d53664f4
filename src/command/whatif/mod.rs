//! `peerscope whatif`: findings that a new configuration would add, drop or change over a lake's past.
//!
//! The past is folded twice, with the configuration that the lake keeps and with the new one, and the
//! two are compared by (rule, connection, prefix, culprit). The lake stays as it is.

mod compare;
mod past;

use std::sync::Arc;

use analytics::lake::layout::INTERNAL;
use analytics::lake::{LakeRoot, Store};
use analytics::reference::Reference;
use analytics::shard::{FoldOptions, FoldSettings, Shard};
use analytics::sql::Lake;
use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray, UInt32Array};
use schemas::batch::Control;
use schemas::bgp::Prefix;
use schemas::connection::{Connection, WatchedAs};
use schemas::registry::Registry;
use schemas::time::Timestamp;

use super::span::{Length, micros};
use super::sql::{Format, print_batch};
use super::table::{Answer, open, quoted};
use super::{Ended, Global, runtime};
use crate::config::Config;
use crate::replay::{Kept, load_reference};
use compare::{Change, Difference};
use past::{Fold, fold};

/// Newly registered prefixes of which is told whether the lake stored anything.
const PREFIXES_TOLD_MAX: usize = 20;

/// Findings that a new configuration would add, drop or change; the lake stays as it is
#[derive(Debug, clap::Args)]
pub struct Whatif {
    /// How far back from the end of the lake, such as 2h, 1d or 30d
    #[arg(long, value_name = "LENGTH", default_value = "1d")]
    since: Length,

    /// Form of the list
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// A registry as a lake keeps it.
#[derive(serde::Deserialize)]
struct Contents {
    version: u32,
    connections: Vec<Connection>,
    watched: Vec<WatchedAs>,
}

/// Registry and settings of one fold.
struct Version {
    registry: Arc<Registry>,
    settings: FoldSettings,
}

impl Version {
    fn new(config: &Config) -> Self {
        let settings = FoldSettings {
            config_hash: config.hash(),
            detect: config.detect.clone(),
            latency: config.latency.clone(),
            backfill_after_secs: config.log.backfill_after_secs,
        };
        Self { registry: Arc::clone(&config.registry), settings }
    }

    /// The configuration that was last in force in a lake.
    fn kept(root: &LakeRoot) -> anyhow::Result<Self> {
        let store = Store::read_at(root)?;
        let read = |key: &str| {
            let bytes = store.get(key)?;
            bytes.ok_or_else(|| anyhow::anyhow!("{root} lacks {key}: it was changed by hand"))
        };
        let folder = format!("{INTERNAL}/settings");
        let last = store.list(&folder)?.pop().ok_or_else(|| {
            anyhow::anyhow!(
                "{root} keeps no settings: it was made by an earlier version; replay it into a new lake"
            )
        })?;
        let kept: Kept = serde_json::from_slice(&read(&format!("{folder}/{last}"))?)?;
        let contents: Contents = serde_json::from_slice(&read(&kept.registry)?)?;
        let registry = Registry::new(contents.version, contents.connections, contents.watched)?;
        let settings = FoldSettings {
            config_hash: kept.config_hash,
            detect: kept.detect,
            latency: kept.latency,
            backfill_after_secs: u32::MAX,
        };
        Ok(Self { registry: Arc::new(registry), settings })
    }

    fn fold(&self, reference: &Arc<Reference>, from: Timestamp) -> Fold {
        let options = FoldOptions {
            detect: self.settings.detect.clone(),
            latency: self.settings.latency.clone(),
        };
        let shard = Shard::new(0, 1, &options, Arc::clone(reference));
        let settings = serde_json::to_string(&self.settings).ok();
        let version = Control::Registry {
            registry: Arc::clone(&self.registry),
            settings: settings.map(Into::into),
        };
        Fold::begin(shard, version, from)
    }
}

impl Whatif {
    /// Runs the command.
    ///
    /// # Errors
    /// A configuration that is refused, a lake that cannot be read or keeps no configuration.
    pub fn run(self, global: &Global) -> anyhow::Result<Ended> {
        let config = global.load()?;
        let root = global.lake()?;
        let reference = load_reference(&config.reference)?;
        let reference = Arc::new(reference);
        runtime()?.block_on(async {
            let lake = open(&root).await?;
            let old = Version::kept(&root)?;
            let new = Version::new(&config);
            let Some((start, end)) = ends(&lake).await? else {
                anyhow::bail!("no route was ever told in this lake: there is no past to fold")
            };
            // Just before the first word: what that says is not held yet.
            let before_all = Timestamp(start.micros().saturating_sub(1));
            let from = end.plus_secs(-self.since.secs()).max(before_all);
            let mut folds = [old.fold(&reference, from), new.fold(&reference, from)];
            let folded = fold(&lake, from, &mut folds).await?;
            let [before, after] = &folds;
            let differences = before.findings.differences(&after.findings);
            notes(&lake, &old.registry, &new.registry, from).await?;
            if self.format != Format::Table {
                print_batch(&batch(&differences)?, self.format)?;
                return Ok(Ended::Well);
            }
            let count = |change| differences.iter().filter(|d| d.change == change).count();
            let text = format!(
                "{from} to {end}: {} routes held at its start and {} updates folded twice\n\
                 {} findings as it was, {} as it would be: {} added, {} dropped, {} changed\n{}",
                folded.held,
                folded.said,
                before.findings.len(),
                after.findings.len(),
                count(Change::Added),
                count(Change::Dropped),
                count(Change::Changed),
                lines(&differences)
            );
            std::io::Write::write_all(&mut std::io::stdout().lock(), text.as_bytes())?;
            Ok(Ended::Well)
        })
    }
}

/// When something was first and last told of a route.
async fn ends(lake: &Lake) -> anyhow::Result<Option<(Timestamp, Timestamp)>> {
    let sql = format!(
        "select {}, {} from (select coalesce(received_time, event_time) as t from route_updates \
         union all select time as t from sessions)",
        micros("min(t)"),
        micros("max(t)")
    );
    let answer = Answer::of(lake, &sql).await?;
    Ok(answer.first().and_then(|row| Some((row.time(0)?, row.time(1)?))))
}

/// Says what cannot be known: of a prefix that was not registered the filter stored nothing, or only
/// what touched another one.
async fn notes(lake: &Lake, old: &Registry, new: &Registry, from: Timestamp) -> anyhow::Result<()> {
    let was_registered = |domain: &str, prefix: &Prefix| {
        old.touches(domain, prefix).any(|touch| touch.owner.prefix.covers(prefix))
    };
    let added = new.connections().iter().flat_map(|connection| {
        let prefixes = connection.prefixes.iter().map(|registered| registered.prefix);
        prefixes.map(move |prefix| (connection, prefix))
    });
    let added: Vec<_> = added
        .filter(|(connection, prefix)| !was_registered(&connection.routing_domain, prefix))
        .collect();
    for (connection, prefix) in added.iter().take(PREFIXES_TOLD_MAX) {
        let sql = format!(
            "select prefix from route_updates where prefix_covers({}, prefix) limit 1",
            quoted(&prefix.to_string())
        );
        let stored = if Answer::of(lake, &sql).await?.is_empty() {
            "nothing about it is stored and nothing can be said"
        } else {
            "with keep = \"ours\" only what touched another registration is stored"
        };
        eprintln!(
            "peerscope: {prefix} of {} was not registered since {from}: {stored}",
            connection.name
        );
    }
    if let Some(more) = added.len().checked_sub(PREFIXES_TOLD_MAX).filter(|more| *more > 0) {
        eprintln!("peerscope: and {more} more prefixes that were not registered");
    }
    Ok(())
}

/// The differences for a person.
fn lines(differences: &[Difference]) -> String {
    let mut text = String::new();
    for difference in differences {
        let Difference { change, rule, connection, prefix, old, new, .. } = difference;
        let explanation = new.as_ref().or(old.as_ref()).map_or("", |found| &found.explanation);
        let words = |found: &Option<compare::Found>| found.as_ref().map(compare::Found::words);
        let words = match (words(old), words(new)) {
            (Some(old), Some(new)) if old != new => format!("{old} -> {new}"),
            (Some(words), None) | (_, Some(words)) => words,
            (None, None) => String::new(),
        };
        let moved = match (old, new) {
            (Some(old), Some(new)) if old.opened_at != new.opened_at => {
                format!(", opened at {} -> {}", old.opened_at, new.opened_at)
            }
            _ => String::new(),
        };
        let connection = if connection.is_empty() { "-" } else { connection };
        text.push_str(&format!(
            "\n{:<8} {}  {rule}  {connection}  {prefix}\n         {words}{moved}\n         {explanation}\n",
            change.as_str(),
            difference.opened_at(),
        ));
    }
    text
}

fn batch(differences: &[Difference]) -> anyhow::Result<RecordBatch> {
    let texts = |of: &dyn Fn(&Difference) -> Option<String>| -> ArrayRef {
        Arc::new(differences.iter().map(of).collect::<StringArray>())
    };
    let words = |found: &Option<compare::Found>| found.as_ref().map(compare::Found::words);
    let times: Vec<i64> = differences.iter().map(|d| d.opened_at().micros()).collect();
    let culprits: UInt32Array = differences.iter().map(|d| d.culprit).collect();
    Ok(RecordBatch::try_from_iter_with_nullable([
        ("change", texts(&|d| Some(d.change.as_str().to_owned())), false),
        (
            "opened_at",
            Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC")) as _,
            false,
        ),
        ("rule", texts(&|d| Some(d.rule.to_owned())), false),
        (
            "connection",
            texts(&|d| Some(d.connection.clone()).filter(|name| !name.is_empty())),
            true,
        ),
        ("prefix", texts(&|d| Some(d.prefix.clone())), false),
        ("culprit_asn", Arc::new(culprits) as _, true),
        ("was", texts(&|d| words(&d.old)), true),
        ("would_be", texts(&|d| words(&d.new)), true),
        (
            "explanation",
            texts(&|d| d.new.as_ref().or(d.old.as_ref()).map(|found| found.explanation.clone())),
            true,
        ),
    ])?)
}
