//! `peerscope findings show`: everything known of one finding, as a page of text.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use analytics::lake::LakeRoot;
use analytics::sql::Lake;

use super::graph::tree;
use crate::command::Ended;
use crate::command::cost::cost;
use crate::command::table::{Answer, Cells, open, quoted};

/// Witnesses shown one by one.
const WITNESSES_SHOWN_MAX: usize = 20;
/// Witnesses that are read for the trees at most.
const WITNESSES_READ_MAX: usize = 10_000;

/// Everything known of one finding
#[derive(Debug, clap::Args)]
pub(super) struct Show {
    /// Its id, or the first digits of it
    #[arg(value_name = "FINDING")]
    id: String,
}

/// The whole id of a finding that is named by its first digits.
///
/// # Errors
/// Digits that start no finding, or several.
pub(super) async fn id_of(lake: &Lake, digits: &str) -> anyhow::Result<String> {
    anyhow::ensure!(
        !digits.is_empty() && digits.chars().all(|digit| digit.is_ascii_hexdigit()),
        "{digits:?} is no finding id; `peerscope findings list` shows them"
    );
    let sql = format!(
        "select distinct finding_id from findings where finding_id like {} order by finding_id limit 2",
        quoted(&format!("{}%", digits.to_lowercase()))
    );
    let ids = Answer::of(lake, &sql).await?;
    let Some(id) = ids.first() else {
        anyhow::bail!("no finding starts with {digits}; `peerscope findings list` shows them");
    };
    anyhow::ensure!(ids.iter().count() == 1, "several findings start with {digits}");
    Ok(id.text(0).to_owned())
}

impl Show {
    /// `lake` is what was given with `--lake`, for the commands that are shown.
    pub(super) async fn run(self, root: &LakeRoot, lake: Option<&str>) -> anyhow::Result<Ended> {
        let option = lake.map(|lake| format!(" --lake {lake}")).unwrap_or_default();
        let lake = open(root).await?;
        let id = id_of(&lake, &self.id).await?;
        let text = Page::of(&lake, &id).await?.text(&lake, &option).await?;
        std::io::Write::write_all(&mut std::io::stdout().lock(), text.as_bytes())?;
        Ok(Ended::Well)
    }
}

/// What the columns of [`Page::state`] are called on the page.
const NAMED: [(&str, &str); 17] = [
    ("rule", "rule"),
    ("severity", "severity"),
    ("confidence", "confidence"),
    ("cast(round(score, 1) as varchar)", "score"),
    ("connection", "connection"),
    ("tenant", "tenant"),
    ("prefix", "prefix"),
    ("registered_prefix", "registered prefix"),
    ("culprit_asn", "culprit"),
    ("victim_asn", "victim"),
    ("rpki_state", "RPKI"),
    ("group_id", "group"),
    ("blame", "blame"),
    ("muted_by", "muted by"),
    ("azure_event", "Azure event"),
    ("verdict", "verdict"),
    ("config_hash", "settings"),
];

/// Columns of [`Page::state`] behind those that are named.
const MORE: [&str; 13] = [
    "explanation",
    "opened_at",
    "closed_at",
    "rtt_before_p50_us / 1000.0",
    "rtt_after_p50_us / 1000.0",
    "rtt_before_p95_us / 1000.0",
    "rtt_after_p95_us / 1000.0",
    "rtt_shift_low_us / 1000.0",
    "rtt_shift_high_us / 1000.0",
    "samples_affected",
    "connection as of_connection",
    "registered_prefix as of_registered",
    "prefix as of_prefix",
];

struct Page {
    id: String,
    /// The last state, one row.
    state: Answer,
    witnesses: Answer,
}

impl Page {
    async fn of(lake: &Lake, id: &str) -> anyhow::Result<Self> {
        let quoted_id = quoted(id);
        let columns: Vec<&str> = NAMED.iter().map(|(column, _)| *column).chain(MORE).collect();
        let sql =
            format!("select {} from incidents where finding_id = {quoted_id}", columns.join(", "));
        let state = Answer::of(lake, &sql).await?;
        let sql = format!(
            "select first_seen, collector, peer_asn, path_before, path_after, source, source_offset, peer_ip \
             from evidence where finding_id = {quoted_id} and term = 'witness' \
             order by sequence, first_seen, peer_asn, source_offset limit {WITNESSES_READ_MAX}"
        );
        let witnesses = Answer::of(lake, &sql).await?;
        Ok(Self { id: id.to_owned(), state, witnesses })
    }

    async fn text(&self, lake: &Lake, option: &str) -> anyhow::Result<String> {
        let mut text = String::new();
        let Some(state) = self.state.first() else { return Ok(text) };
        let more = |index: usize| state.text(NAMED.len() + index);
        writeln!(text, "{}\n\n{}\n", self.id, more(0))?;
        for ((_, name), column) in NAMED.iter().zip(0..) {
            let value = state.text(column);
            if !value.is_empty() {
                let autonomous = if ["culprit", "victim"].contains(name) { "AS" } else { "" };
                writeln!(text, "  {name:<18}{autonomous}{value}")?;
            }
        }
        self.transitions(lake, &mut text).await?;
        self.score(lake, &mut text).await?;
        self.trees(&mut text)?;
        round_trips(lake, state, &mut text).await?;
        self.witnesses(&mut text)?;
        self.again([more(1), more(10), more(12)], option, &mut text)?;
        Ok(text)
    }

    async fn transitions(&self, lake: &Lake, text: &mut String) -> anyhow::Result<()> {
        let sql = format!(
            "select sequence, time, phase, confidence, score, witnesses, rule, culprit_asn from findings \
             where finding_id = {} order by sequence",
            quoted(&self.id)
        );
        writeln!(text, "\ntransitions")?;
        for row in Answer::of(lake, &sql).await?.iter() {
            let score = row.number(4).unwrap_or_default();
            let culprit = match row.text(7) {
                "" => String::new(),
                asn => format!("  AS{asn}"),
            };
            writeln!(
                text,
                "  {:>3}  {:<27}  {:<9} {:<6}  score {score:4.1}  {:>3} peer ASes  {}{culprit}",
                row.text(0),
                row.text(1),
                row.text(2),
                row.text(3),
                row.text(5),
                row.text(6),
            )?;
        }
        Ok(())
    }

    async fn score(&self, lake: &Lake, text: &mut String) -> anyhow::Result<()> {
        let id = quoted(&self.id);
        let sql = format!(
            "select weight, term, detail from evidence where finding_id = {id} and term <> 'witness' \
             and sequence = (select max(sequence) from evidence where finding_id = {id} and term <> 'witness') \
             order by weight desc, term"
        );
        writeln!(text, "\nscore")?;
        for row in Answer::of(lake, &sql).await?.iter() {
            let weight = row.number(0).unwrap_or_default();
            writeln!(text, "  {weight:+5.1}  {:<16}{}", row.text(1), row.text(2))?;
        }
        Ok(())
    }

    /// The paths of all witnesses before and after, each peer's first and last.
    fn trees(&self, text: &mut String) -> std::fmt::Result {
        let mut before: BTreeMap<[&str; 2], &str> = BTreeMap::new();
        let mut after: BTreeMap<[&str; 2], &str> = BTreeMap::new();
        for row in self.witnesses.iter() {
            let peer = [row.text(1), row.text(7)];
            before.entry(peer).or_insert(row.text(3));
            after.insert(peer, row.text(4));
        }
        if after.is_empty() {
            return Ok(());
        }
        let without = before.values().filter(|path| path.is_empty()).count();
        for (name, paths) in [("before", &before), ("after", &after)] {
            writeln!(text, "\npaths {name}, from the origin to the peers")?;
            let paths = paths.values().copied().filter(|path| !path.is_empty());
            tree(paths).iter().try_for_each(|line| writeln!(text, "  {line}"))?;
            if name == "before" && without > 0 {
                let peers = if without == 1 { "peer" } else { "peers" };
                writeln!(text, "  no route: {without} {peers}")?;
            }
        }
        Ok(())
    }

    fn witnesses(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "\nwitnesses")?;
        self.witnesses.iter().take(WITNESSES_SHOWN_MAX).try_for_each(|row| witness(row, text))?;
        let count = self.witnesses.iter().count();
        if let Some(more) = count.checked_sub(WITNESSES_SHOWN_MAX).filter(|more| *more > 0) {
            writeln!(text, "  and {more} more in `evidence`")?;
        }
        Ok(())
    }

    /// Commands that show the evidence again: opening, connection, prefix.
    fn again(&self, of: [&str; 3], option: &str, text: &mut String) -> std::fmt::Result {
        let id = quoted(&self.id);
        let [opened, connection, prefix] = of;
        writeln!(text, "\nsee it again")?;
        let statements = [
            format!(
                "select sequence, term, weight, detail, peer_asn, path_before, path_after from evidence \
                 where finding_id = {id} order by sequence, term"
            ),
            format!(
                "select u.event_time, u.peer_asn, u.peer_ip, u.action, u.as_path_text from route_updates u \
                 join (select distinct source, source_offset from evidence where finding_id = {id}) e \
                 on u.source = e.source and u.source_offset = e.source_offset where u.prefix = {} \
                 order by u.event_time, u.peer_asn",
                quoted(prefix)
            ),
        ];
        for sql in statements {
            writeln!(text, "  peerscope sql{option} -c \"{sql}\"")?;
        }
        let subject = if connection.is_empty() { prefix } else { connection };
        if !subject.is_empty() {
            writeln!(text, "  peerscope why {subject} --at {opened}{option}")?;
        }
        if !prefix.is_empty() {
            writeln!(text, "  peerscope rib {prefix} --at {opened}{option}")?;
        }
        Ok(())
    }
}

/// Round trips before and after: as the finding holds them, else as the windows say.
async fn round_trips(lake: &Lake, state: Cells<'_>, text: &mut String) -> anyhow::Result<()> {
    let figure = |index: usize| state.number(NAMED.len() + index);
    let more = |index: usize| state.text(NAMED.len() + index);
    let change = |name: &str, before: Option<f64>, after: Option<f64>| {
        let told = |value: Option<f64>| value.map_or("?".to_owned(), |ms| format!("{ms:.1} ms"));
        format!("{name} {} before, {} after", told(before), told(after))
    };
    if figure(3).is_some() || figure(4).is_some() {
        let p50 = change("median", figure(3), figure(4));
        let p95 = change("p95", figure(5), figure(6));
        write!(text, "\nround trips\n  {p50}; {p95}")?;
        if let (Some(low), Some(high)) = (figure(7), figure(8)) {
            write!(text, "; the median moved by {low:.1} to {high:.1} ms (95 % interval)")?;
        }
        let samples = more(9);
        let samples = if samples.is_empty() { "0" } else { samples };
        writeln!(text, "; {samples} samples while it was open")?;
    } else if !more(10).is_empty() && !more(11).is_empty() {
        let cost = cost(lake, [more(10), more(11)], more(1), more(2)).await?;
        writeln!(text, "\nround trips of {}\n  {cost}", more(11))?;
    }
    Ok(())
}

fn witness(row: Cells<'_>, text: &mut String) -> std::fmt::Result {
    let before = if row.text(3).is_empty() { "no route" } else { row.text(3) };
    writeln!(
        text,
        "  {}  AS{} {} at {}  {} record {}\n       before: {before}\n       after:  {}",
        row.text(0),
        row.text(2),
        row.text(7),
        row.text(1),
        row.text(5),
        row.text(6),
        row.text(4),
    )
}
