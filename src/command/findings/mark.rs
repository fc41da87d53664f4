//! `peerscope findings mark`: an operator's word on a finding, kept beside what the folds wrote.

use std::io::Write as _;

use analytics::lake::{LakeError, LocalStore, marks};
use ingest::source::live::wall_clock;
use schemas::tables::MarkRow;

use super::show::id_of;
use crate::command::span::micros;
use crate::command::table::{Answer, open, quoted};
use crate::command::{Ended, Global};

/// Others may mark the same finding at the same time; so often the number is taken anew.
const ATTEMPTS_MAX: usize = 5;

/// What is said of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Verdict {
    /// It happened
    TruePositive,
    /// It was nothing
    FalsePositive,
    /// An earlier word is taken back
    Undecided,
}

impl Verdict {
    /// The word in the column.
    const fn as_str(self) -> &'static str {
        match self {
            Self::TruePositive => "true_positive",
            Self::FalsePositive => "false_positive",
            Self::Undecided => "undecided",
        }
    }
}

/// Say whether a finding was right
#[derive(Debug, clap::Args)]
pub(super) struct Mark {
    /// Its id, or the first digits of it
    #[arg(value_name = "FINDING")]
    id: String,

    /// What it was
    #[arg(value_enum)]
    verdict: Verdict,

    /// Why, for those who read it later
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

impl Mark {
    pub(super) async fn run(self, url: &str, _global: &Global) -> anyhow::Result<Ended> {
        let lake = open(url).await?;
        let id = id_of(&lake, &self.id).await?;
        let quoted_id = quoted(&id);
        let sql = format!(
            "select {}, tenant, connection from incidents where finding_id = {quoted_id}",
            micros("opened_at")
        );
        let finding = Answer::of(&lake, &sql).await?;
        let finding = finding.first();
        let text = |column: usize| {
            let text = finding.map_or("", |row| row.text(column));
            (!text.is_empty()).then(|| text.into())
        };
        let opened_at = finding.and_then(|row| row.time(0)).unwrap_or_default();
        let store = LocalStore::beside(url)?;
        for attempt in 1..=ATTEMPTS_MAX {
            let sql = format!(
                "select mark, verdict, note from marks where finding_id = {quoted_id} order by mark desc limit 1"
            );
            let last = Answer::of(&lake, &sql).await?;
            let note = self.note.as_deref().unwrap_or_default();
            let says_so = last.first().is_some_and(|row| {
                row.text(1) == self.verdict.as_str() && (note.is_empty() || row.text(2) == note)
            });
            if says_so {
                return told(&id, self.verdict, "is marked already as");
            }
            let number = last.first().and_then(|row| row.text(0).parse().ok()).unwrap_or(0_u32);
            let mark = MarkRow {
                finding_id: id.as_str().into(),
                mark: number.saturating_add(1),
                time: wall_clock(),
                tenant: text(1),
                connection: text(2),
                verdict: self.verdict.as_str(),
                learned: false,
                note: self.note.as_deref().map(Into::into),
            };
            match marks::put(&store, &mark, opened_at) {
                Err(LakeError::Differs { .. }) if attempt < ATTEMPTS_MAX => {}
                other => {
                    other?;
                    break;
                }
            }
        }
        store.sweep()?;
        told(&id, self.verdict, "is marked as")
    }
}

fn told(id: &str, verdict: Verdict, how: &str) -> anyhow::Result<Ended> {
    writeln!(std::io::stdout().lock(), "{id} {how} {}", verdict.as_str())?;
    Ok(Ended::Well)
}
