//! `peerscope findings`: what the detectors found, and why.

use std::fmt::Write as _;

use schemas::finding::FindingKind;

use super::span::known;
use super::sql::{Format, print_rows};
use super::table::{Answer, Cells, open, quoted};
use super::{Ended, Global, runtime};

/// Witnesses shown by `show`.
const WITNESSES_SHOWN_MAX: usize = 20;

/// What the detectors found
#[derive(Debug, clap::Args)]
pub struct Findings {
    #[command(subcommand)]
    command: FindingsCommand,
}

#[derive(Debug, clap::Subcommand)]
enum FindingsCommand {
    /// One line a finding, the latest state of each
    List(List),
    /// Everything known of one finding
    Show(Show),
}

/// One line a finding
#[derive(Debug, clap::Args)]
struct List {
    /// Only those that are open
    #[arg(long)]
    open: bool,

    /// Only those of this connection
    #[arg(long, value_name = "NAME")]
    connection: Option<String>,

    /// Only those of this kind: hijack, leak, ...
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,

    /// Findings at most, the newest ones
    #[arg(long, value_name = "COUNT", default_value_t = 1_000)]
    max: u32,

    /// Form of the list
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,

    /// Exit with 3 if anything is listed
    #[arg(long)]
    exit_code: bool,
}

/// Everything known of one finding
#[derive(Debug, clap::Args)]
struct Show {
    /// Its id, or the first digits of it
    #[arg(value_name = "FINDING")]
    id: String,
}

impl Findings {
    /// Runs the command.
    ///
    /// # Errors
    /// A lake that cannot be read, an id that names no finding or several.
    pub fn run(self, global: &Global) -> anyhow::Result<Ended> {
        let url = global.lake()?;
        runtime()?.block_on(async {
            match self.command {
                FindingsCommand::List(list) => list.run(&url).await,
                FindingsCommand::Show(show) => show.run(&url).await,
            }
        })
    }
}

impl List {
    async fn run(self, url: &str) -> anyhow::Result<Ended> {
        let lake = open(url).await?;
        if let Some(connection) = &self.connection {
            known(&lake, connection).await?;
        }
        let kinds: Vec<&str> = FindingKind::ALL.iter().map(|(_, word, _)| *word).collect();
        if let Some(kind) = self.kind.as_deref().filter(|kind| !kinds.contains(kind)) {
            anyhow::bail!("{kind:?} is no kind of finding; there are {}", kinds.join(", "));
        }
        let source = if self.open { "open_findings" } else { "incidents" };
        let mut filter = String::from("true");
        if let Some(connection) = &self.connection {
            write!(filter, " and connection = {}", quoted(connection))?;
        }
        if let Some(kind) = &self.kind {
            write!(filter, " and kind = {}", quoted(kind))?;
        }
        let columns = "opened_at, phase, rule, severity, confidence, prefix, connection, \
                       culprit_asn, witnesses, closed_at, finding_id, explanation";
        let newest = format!(
            "select {columns} from {source} where {filter} order by opened_at desc, finding_id limit {}",
            self.max
        );
        let sql = format!("select * from ({newest}) order by opened_at, finding_id");
        print_rows(&lake, &sql, self.format).await?;
        let found = self.exit_code && !Answer::of(&lake, &newest).await?.is_empty();
        Ok(if found { Ended::Found } else { Ended::Well })
    }
}

impl Show {
    async fn run(self, url: &str) -> anyhow::Result<Ended> {
        anyhow::ensure!(
            !self.id.is_empty() && self.id.chars().all(|digit| digit.is_ascii_hexdigit()),
            "{:?} is no finding id; `peerscope findings list` shows them",
            self.id
        );
        let lake = open(url).await?;
        let sql = format!(
            "select finding_id from incidents where finding_id like {} order by finding_id limit 2",
            quoted(&format!("{}%", self.id.to_lowercase()))
        );
        let ids = Answer::of(&lake, &sql).await?;
        let Some(id) = ids.first() else {
            anyhow::bail!(
                "no finding starts with {}; `peerscope findings list` shows them",
                self.id
            );
        };
        anyhow::ensure!(ids.iter().count() == 1, "several findings start with {}", self.id);
        let text = page(&lake, id.text(0)).await?;
        std::io::Write::write_all(&mut std::io::stdout().lock(), text.as_bytes())?;
        Ok(Ended::Well)
    }
}

/// A finding as a page of text.
async fn page(lake: &analytics::sql::Lake, id: &str) -> anyhow::Result<String> {
    let mut text = String::new();
    let quoted_id = quoted(id);
    let sql = format!(
        "select rule, severity, confidence, round(score, 1), explanation, connection, tenant, prefix, registered_prefix, \
         culprit_asn, victim_asn, path_before, path_after, muted_by, config_hash from incidents \
         where finding_id = {quoted_id}"
    );
    if let Some(row) = Answer::of(lake, &sql).await?.first() {
        writeln!(text, "{}\n\n{}\n", id, row.text(4))?;
        let named = [
            ("rule", 0),
            ("severity", 1),
            ("confidence", 2),
            ("score", 3),
            ("connection", 5),
            ("tenant", 6),
            ("prefix", 7),
            ("registered prefix", 8),
            ("culprit", 9),
            ("victim", 10),
            ("path before", 11),
            ("path after", 12),
            ("muted by", 13),
            ("settings", 14),
        ];
        for (name, column) in named.into_iter().filter(|(_, column)| !row.text(*column).is_empty())
        {
            writeln!(text, "  {name:<18}{}", row.text(column))?;
        }
    }
    let sql = format!(
        "select sequence, time, phase, confidence, score, witnesses from findings \
         where finding_id = {quoted_id} order by sequence"
    );
    writeln!(text, "\ntransitions")?;
    for row in Answer::of(lake, &sql).await?.iter() {
        let line = [row.text(1), row.text(2), row.text(3)].join("  ");
        let score = row.number(4).unwrap_or_default();
        let (sequence, witnesses) = (row.text(0), row.text(5));
        writeln!(text, "  {sequence:>3}  {line}  score {score:.1}  witnesses {witnesses}")?;
    }
    let sql = format!(
        "select weight, term, detail from evidence where finding_id = {quoted_id} and term <> 'witness' \
         and sequence = (select max(sequence) from evidence where finding_id = {quoted_id} and term <> 'witness') \
         order by weight desc, term"
    );
    writeln!(text, "\nscore")?;
    for row in Answer::of(lake, &sql).await?.iter() {
        let weight = row.number(0).unwrap_or_default();
        writeln!(text, "  {weight:+5.1}  {:<16}{}", row.text(1), row.text(2))?;
    }
    let sql = format!(
        "select first_seen, collector, peer_asn, path_before, path_after, source, source_offset, peer_ip from evidence \
         where finding_id = {quoted_id} and term = 'witness' order by first_seen, peer_asn, source_offset"
    );
    let witnesses = Answer::of(lake, &sql).await?;
    writeln!(text, "\nwitnesses")?;
    witnesses.iter().take(WITNESSES_SHOWN_MAX).try_for_each(|row| witness(row, &mut text))?;
    if let Some(more) =
        witnesses.iter().count().checked_sub(WITNESSES_SHOWN_MAX).filter(|more| *more > 0)
    {
        writeln!(text, "  and {more} more in `evidence`")?;
    }
    Ok(text)
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
