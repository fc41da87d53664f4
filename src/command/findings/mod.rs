//! `peerscope findings`: what the detectors found, and why.

mod graph;
mod learn;
mod mark;
mod show;

use analytics::lake::LakeRoot;
use std::fmt::Write as _;

use schemas::finding::FindingKind;

use super::span::known;
use super::sql::{Format, print_rows};
use super::table::{Answer, open, quoted};
use super::{Ended, Global, runtime};
use mark::Mark;
use show::Show;

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
    /// Say whether a finding was right
    Mark(Mark),
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

impl Findings {
    /// Runs the command.
    ///
    /// # Errors
    /// A lake that cannot be read, an id that names no finding or several.
    pub fn run(self, global: &Global) -> anyhow::Result<Ended> {
        let root = global.lake()?;
        runtime()?.block_on(async {
            match self.command {
                FindingsCommand::List(list) => list.run(&root).await,
                FindingsCommand::Mark(mark) => mark.run(&root, global).await,
                FindingsCommand::Show(show) => show.run(&root, global.lake.as_deref()).await,
            }
        })
    }
}

impl List {
    async fn run(self, root: &LakeRoot) -> anyhow::Result<Ended> {
        let lake = open(root).await?;
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
                       culprit_asn, witnesses, closed_at, verdict, finding_id, explanation";
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
