//! `peerscope findings mark`: an operator's word on a finding, kept beside what the folds wrote.

use std::io::Write as _;

use analytics::lake::{LakeError, LakeRoot, Store, marks};
use analytics::sql::Lake;
use ingest::source::live::wall_clock;
use schemas::bgp::Asn;
use schemas::exception::Until;
use schemas::finding::Rule;
use schemas::tables::MarkRow;

use super::learn::{Learned, Lesson};
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

    /// Also write an exception into the configuration, so that it is told no more
    #[arg(long)]
    learn: bool,

    /// Last day on which the exception counts, such as 2026-12-31, or a time
    #[arg(long, value_name = "DAY", requires = "learn", value_parser = Until::read)]
    until: Option<Until>,
}

impl Mark {
    pub(super) async fn run(self, root: &LakeRoot, global: &Global) -> anyhow::Result<Ended> {
        anyhow::ensure!(
            !self.learn || self.verdict == Verdict::FalsePositive,
            "--learn is for a false-positive: an exception hides what was nothing"
        );
        let lake = open(root).await?;
        let id = id_of(&lake, &self.id).await?;
        let learned = match self.learn {
            true => Some(Learned::prepare(&self.lesson(&lake, &id).await?, global)?),
            false => None,
        };
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
        let store = Store::beside_at(root)?;
        for attempt in 1..=ATTEMPTS_MAX {
            let sql = format!(
                "select mark, verdict, note from marks where finding_id = {quoted_id} order by mark desc limit 1"
            );
            let last = Answer::of(&lake, &sql).await?;
            let note = self.note.as_deref().unwrap_or_default();
            let says_so = last.first().is_some_and(|row| {
                row.text(1) == self.verdict.as_str() && (note.is_empty() || row.text(2) == note)
            });
            let is_news = learned.as_ref().is_some_and(Learned::is_news);
            if says_so && !is_news {
                return told(&id, self.verdict, "is marked already as", learned.as_ref());
            }
            let number = last.first().and_then(|row| row.text(0).parse().ok()).unwrap_or(0_u32);
            let mark = MarkRow {
                finding_id: id.as_str().into(),
                mark: number.saturating_add(1),
                time: wall_clock(),
                tenant: text(1),
                connection: text(2),
                verdict: self.verdict.as_str(),
                learned: is_news,
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
        if let Some(learned) = &learned {
            learned.write()?;
        }
        told(&id, self.verdict, "is marked as", learned.as_ref())
    }

    /// What an exception for it names.
    async fn lesson(&self, lake: &Lake, id: &str) -> anyhow::Result<Lesson> {
        let sql = format!(
            "select rule, connection, prefix, culprit_asn, {} from incidents where finding_id = {}",
            micros("opened_at"),
            quoted(id)
        );
        let answer = Answer::of(lake, &sql).await?;
        let row = answer.first();
        let text = |column: usize| row.map_or("", |row| row.text(column));
        let rule = Rule::ALL.iter().find(|(_, word, _)| *word == text(0)).map(|(rule, ..)| *rule);
        let rule =
            rule.ok_or_else(|| anyhow::anyhow!("{:?} is no rule of this version", text(0)))?;
        let opened_at = row.and_then(|row| row.time(4)).unwrap_or_default();
        if let Some(until) = self.until.as_ref().filter(|until| !until.is_after(opened_at)) {
            anyhow::bail!("--until {until} is before the finding was opened, at {opened_at}");
        }
        Ok(Lesson {
            id: id.to_owned(),
            rule,
            connection: Some(text(1).to_owned()).filter(|name| !name.is_empty()),
            prefix: text(2).parse().ok(),
            culprit: text(3).parse().ok().map(Asn),
            opened_at,
            until: self.until.clone(),
            note: self.note.clone(),
        })
    }
}

fn told(id: &str, verdict: Verdict, how: &str, learned: Option<&Learned>) -> anyhow::Result<Ended> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{id} {how} {}", verdict.as_str())?;
    if let Some(learned) = learned {
        let path = learned.path().display();
        match learned.is_news() {
            true => writeln!(
                out,
                "written into {path}, obeyed from the next start or replay on:\n\n{}",
                learned.lines
            )?,
            false => writeln!(out, "{path} has an exception that covers it already")?,
        }
    }
    Ok(Ended::Well)
}
