//! `peerscope describe`: the reference pages, made from the code.

use std::io::Write as _;

use analytics::sql::ddl;
use schemas::finding::{FindingKind, LeakType, Phase, Rule, Severity, TermName};
use schemas::tables;

use super::Ended;

/// What is described.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Topic {
    /// Every table with columns, types, units, meanings
    Tables,
    /// Every key of the configuration
    Config,
    /// Rules, kinds, phases, severities and terms of findings
    Rules,
    /// Metrics of the running service
    Metrics,
    /// Table definitions for the stock datafusion-cli
    SqlDatafusion,
    /// Table definitions for DuckDB
    SqlDuckdb,
    /// Table definitions for Spark
    SqlSpark,
}

/// Tables, configuration, rules and DDL as text
#[derive(Debug, clap::Args)]
pub struct Describe {
    /// What is described
    #[arg(value_enum)]
    topic: Topic,
}

impl Describe {
    /// Runs the command.
    ///
    /// # Errors
    /// If stdout fails.
    pub fn run(self) -> anyhow::Result<Ended> {
        std::io::stdout().lock().write_all(page(self.topic).as_bytes())?;
        Ok(Ended::Well)
    }
}

/// The page of a topic.
#[must_use]
pub fn page(topic: Topic) -> String {
    match topic {
        Topic::Tables => tables::markdown(),
        Topic::Config => crate::config::markdown(),
        Topic::Rules => rules(),
        Topic::Metrics => crate::metrics::markdown(),
        Topic::SqlDatafusion => ddl::datafusion(),
        Topic::SqlDuckdb => ddl::duckdb(),
        Topic::SqlSpark => ddl::spark(),
    }
}

fn rules() -> String {
    let mut page = String::from("# Findings\n");
    let mut section = |title: &str, words: &mut dyn Iterator<Item = (&str, &str)>| {
        page.push_str(&format!("\n## {title}\n\n| word | meaning |\n|---|---|\n"));
        for (word, meaning) in words {
            page.push_str(&format!("| `{word}` |{meaning} |\n"));
        }
    };
    section("rule", &mut Rule::ALL.iter().map(|(_, word, meaning)| (*word, *meaning)));
    section("kind", &mut FindingKind::ALL.iter().map(|(_, word, meaning)| (*word, *meaning)));
    section("phase", &mut Phase::ALL.iter().map(|(_, word, meaning)| (*word, *meaning)));
    section("severity", &mut Severity::ALL.iter().map(|(_, word, meaning)| (*word, *meaning)));
    section("term", &mut TermName::ALL.iter().map(|(_, word, meaning)| (*word, *meaning)));
    section("leak_type", &mut LeakType::ALL.iter().map(|(_, word, meaning)| (*word, *meaning)));
    page
}
