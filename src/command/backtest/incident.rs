//! One incident: its archives through the pipeline of `replay` into a lake of its own, and what its
//! rows are worth.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use analytics::lake::LakeRoot;
use analytics::reference::Reference;
use analytics::sql::Lake;
use ingest::source::discover::{files_of, recognise};
use schemas::bgp::{Asn, Prefix};
use schemas::connection::Connection;
use schemas::registry::Registry;
use tokio::runtime::Runtime;

use crate::backtest::judge::{Row, Verdict, judge};
use crate::backtest::label::Label;
use crate::backtest::naive::{self, Said, Told, Word};
use crate::command::span::micros;
use crate::command::table::{Answer, open};
use crate::config::Config;
use crate::replay::{Request, load_reference, replay};

/// Words of peers that are read at most.
const WORDS_MAX: usize = 10_000_000;
/// Rows of findings that are read at most.
const ROWS_MAX: usize = 1_000_000;
const LABELS: [&str; 2] = ["label.toml", "label.json"];

/// An incident that was judged.
pub(super) struct Incident {
    pub(super) label: Label,
    pub(super) verdict: Verdict,
    pub(super) told: Told,
    pub(super) exposure_prefix_days: f64,
    /// What could not be read of its archives.
    pub(super) problems: Vec<String>,
}

/// The label of a folder, if it has one.
pub(super) fn label_file(folder: &Path) -> Option<PathBuf> {
    LABELS.iter().map(|name| folder.join(name)).find(|file| file.is_file())
}

/// Reads the label of a folder.
///
/// # Errors
/// A label that is refused, with its file.
pub(super) fn label(folder: &Path) -> anyhow::Result<Label> {
    let file =
        label_file(folder).ok_or_else(|| anyhow::anyhow!("{} holds no label", folder.display()))?;
    let fail = |error: &dyn std::fmt::Display| anyhow::anyhow!("{}: {error}", file.display());
    let text = std::fs::read_to_string(&file).map_err(|error| fail(&error))?;
    let is_json = file.extension().is_some_and(|end| end == "json");
    let mut label = Label::read(&text, is_json).map_err(|error| fail(&error))?;
    if label.event.is_empty() {
        label.event = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    }
    Ok(label)
}

impl Incident {
    /// Replays the archives of a folder with the label's prefix and its origin registered, nothing
    /// else, and judges what is told.
    ///
    /// # Errors
    /// What stops a replay, or a lake that cannot be read.
    pub(super) fn replayed(
        folder: &Path,
        label: Label,
        mut config: Config,
        runtime: &Runtime,
    ) -> anyhow::Result<Self> {
        let connection = connection("victim", &[label.registered_prefix], &label.victims)?;
        config.registry = Arc::new(Registry::new(1, vec![connection], Vec::new())?);
        let archives: Vec<PathBuf> = files_of(folder)?
            .into_iter()
            .filter(|file| label_file(folder).as_ref() != Some(file) && recognise(file).is_ok())
            .collect();
        anyhow::ensure!(!archives.is_empty(), "{} holds no archive", folder.display());
        let reference = load_reference(&config.reference)?;
        let temporary = tempfile::tempdir()?;
        let lake = LakeRoot::at(temporary.path().join("lake"));
        let request =
            Request { config: &config, lake: &lake, paths: &archives, shards: None, append: false };
        let outcome = replay(&request, |_, _| {})?;
        runtime.block_on(async {
            let lake = open(&lake).await?;
            let said = said(&lake).await?;
            let told = naive::table(&label, &said, |a, b| knows(&reference, a, b));
            let rows = rows(&lake).await?;
            let verdict = judge(&label, &rows, &told);
            let ends = said.first().zip(said.last());
            let secs = ends.map_or(0, |(first, last)| last.time.secs_since(first.time));
            let exposure_prefix_days = secs as f64 / 86_400.0;
            Ok(Self { label, verdict, told, exposure_prefix_days, problems: outcome.problems })
        })
    }
}

/// A connection with prefixes and the ASes that may originate them.
///
/// # Errors
/// Never for what a label can say.
pub(super) fn connection<'a>(
    name: &str,
    prefixes: &[Prefix],
    origins: impl IntoIterator<Item = &'a u32>,
) -> serde_json::Result<Connection> {
    let origins: Vec<u32> = origins.into_iter().copied().collect();
    let prefixes: Vec<String> = prefixes.iter().map(ToString::to_string).collect();
    serde_json::from_value(serde_json::json!({
        "name": name, "prefixes": prefixes, "origin_asns": origins,
    }))
}

/// Whether relationships or ASPA know a link.
fn knows(reference: &Reference, a: u32, b: u32) -> bool {
    reference.relationships.between(Asn(a), Asn(b)).is_some()
        || reference.aspas.attest(Asn(a), Asn(b))
}

/// What was said of routes, and which sessions fell, in its order: a table dump first.
async fn said(lake: &Lake) -> anyhow::Result<Vec<Said>> {
    let sql = format!(
        "select {} as t, is_snapshot, collector, peer_ip, peer_asn, prefix, path_id, action, as_path_text \
         from route_updates order by event_time, is_snapshot desc, source, source_offset limit {WORDS_MAX}",
        micros("event_time")
    );
    let routes = Answer::of(lake, &sql).await?;
    let sql = format!(
        "select {} as t, collector, peer_ip, peer_asn from sessions where state = 'down' \
         order by time, source, source_offset limit {WORDS_MAX}",
        micros("time")
    );
    let downs = Answer::of(lake, &sql).await?;
    let route = |text: &str| text.parse::<Prefix>().ok();
    let mut said: Vec<Said> = routes
        .iter()
        .filter_map(|row| {
            let path = || {
                let hops = row.text(8).split(|c: char| !c.is_ascii_digit());
                hops.filter_map(|asn| asn.parse().ok()).collect()
            };
            Some(Said {
                time: row.time(0)?,
                is_dump: row.text(1) == "true",
                peer: (row.text(2).to_owned(), row.text(3).to_owned()),
                peer_asn: row.text(4).parse().ok()?,
                route: (route(row.text(5))?, row.text(6).to_owned()),
                word: if row.text(7) == "announce" { Word::Path(path()) } else { Word::Nothing },
            })
        })
        .collect();
    said.extend(downs.iter().filter_map(|row| {
        Some(Said {
            time: row.time(0)?,
            is_dump: false,
            peer: (row.text(1).to_owned(), row.text(2).to_owned()),
            peer_asn: row.text(3).parse().ok()?,
            route: (Prefix::v4([0; 4], 0), String::new()),
            word: Word::Down,
        })
    }));
    said.sort_by_key(|said| said.time);
    Ok(said)
}

/// The rows of findings in the order in which they were told.
async fn rows(lake: &Lake) -> anyhow::Result<Vec<Row>> {
    let sql = format!(
        "select finding_id, {} as t, phase, kind, rule, severity, confidence, prefix, culprit_asn, witnesses from findings \
         order by time, finding_id, sequence limit {ROWS_MAX}",
        micros("time")
    );
    let answer = Answer::of(lake, &sql).await?;
    let rows = answer.iter().filter_map(|row| {
        let text = |column: usize| row.text(column).to_owned();
        Some(Row {
            finding_id: text(0),
            time: row.time(1)?,
            phase: text(2),
            kind: text(3),
            rule: text(4),
            severity: text(5),
            confidence: text(6),
            prefix: row.text(7).parse().ok(),
            culprit: row.text(8).parse().ok(),
            witnesses: row.text(9).parse().unwrap_or_default(),
        })
    });
    Ok(rows.collect())
}
