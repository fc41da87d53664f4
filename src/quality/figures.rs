//! Figures: what came of many trials, and as a table.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use schemas::finding::Confidence;

use crate::simulator::trial::kinds::{KINDS, Kind};

/// What the contract asks of each kind: recall and culprit, in per cent.
pub const BARS: (f64, f64) = (99.0, 95.0);

/// What came of the incidents of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Incidents.
    pub staged: u64,
    /// Those of which no vantage point shows anything; they count nowhere else.
    pub unseen: u64,
    /// Those of which something was said.
    pub told: u64,
    /// Those that a right rule named, at any confidence.
    pub named: u64,
    /// Those that a right rule named, at the confidence that the kind asks for.
    pub found: u64,
    /// Of these, the right culprit in the first such row.
    pub culprit_first: u64,
    /// Of these, the right culprit in the first such row and in the last one.
    pub culprit: u64,
    /// Those in which another was named at high confidence.
    pub framed: u64,
    /// Of those found, over by the end.
    pub resolved: u64,
    /// From the first cause to the row that counts.
    pub delays_secs: Vec<i64>,
    /// Findings by other rules on the same ground, by rule and highest confidence.
    pub beside: BTreeMap<String, u64>,
}

/// What came of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Trials.
    pub seeds: u64,
    /// By kind.
    pub kinds: BTreeMap<&'static str, Tally>,
    /// Connections to which nothing happened.
    pub bystanders: u64,
    /// Findings about those, by their highest confidence.
    pub false_alarms: BTreeMap<Confidence, u64>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.staged += other.staged;
        self.unseen += other.unseen;
        self.told += other.told;
        self.named += other.named;
        self.found += other.found;
        self.culprit_first += other.culprit_first;
        self.culprit += other.culprit;
        self.framed += other.framed;
        self.resolved += other.resolved;
        self.delays_secs.extend(other.delays_secs);
        for (rule, count) in other.beside {
            *self.beside.entry(rule).or_default() += count;
        }
    }

    /// Incidents that can be found, found ones of a hundred.
    #[must_use]
    pub fn recall(&self) -> f64 {
        percent(self.found, self.staged - self.unseen)
    }

    /// Right culprits of a hundred found incidents.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        percent(self.culprit, self.found)
    }

    /// The delay that so many of a hundred do not exceed.
    fn delay(&self, percent: usize) -> String {
        let mut delays = self.delays_secs.clone();
        delays.sort_unstable();
        let rank = (delays.len() * percent).div_ceil(100).max(1) - 1;
        delays.get(rank).map_or_else(|| "-".to_owned(), ToString::to_string)
    }
}

/// A share in per cent; 0 of nothing.
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

impl Figures {
    /// Adds what came of other trials.
    pub fn add(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.bystanders += other.bystanders;
        for (kind, tally) in other.kinds {
            self.kinds.entry(kind).or_default().add(tally);
        }
        for (confidence, count) in other.false_alarms {
            *self.false_alarms.entry(confidence).or_default() += count;
        }
    }

    /// A row for each kind.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = String::from(
            "| kind | incidents | not to be seen | told % | named % | recall % | culprit % | \
             first culprit % | framed % | resolved % | s to find, median | 99 % | also told |\n\
             | --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --- |\n",
        );
        for kind in KINDS {
            if let Some(tally) = self.kinds.get(kind.name) {
                row(kind, tally, &mut text);
            }
        }
        let alarms: Vec<String> = Confidence::ALL
            .iter()
            .map(|(confidence, word, _)| {
                format!("{} {word}", self.false_alarms.get(confidence).unwrap_or(&0))
            })
            .collect();
        let _ = writeln!(
            text,
            "\n{} trials. About {} connections to which nothing happened: {}.",
            self.seeds,
            self.bystanders,
            alarms.join(", ")
        );
        text
    }
}

fn row(kind: &Kind, tally: &Tally, text: &mut String) {
    let decidable = tally.staged - tally.unseen;
    let of_kind = |figure: f64| match kind.has_culprit && tally.found > 0 {
        true => format!("{figure:.1}"),
        false => "-".to_owned(),
    };
    let mut beside: Vec<(&String, &u64)> = tally.beside.iter().collect();
    beside.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let beside: Vec<String> = beside
        .into_iter()
        .take(3)
        .map(|(rule, count)| format!("{rule} {:.1} %", percent(*count, decidable)))
        .collect();
    let _ = writeln!(
        text,
        "| {} | {} | {} | {:.1} | {:.1} | {:.1} | {} | {} | {} | {:.1} | {} | {} | {} |",
        kind.name,
        tally.staged,
        tally.unseen,
        percent(tally.told, decidable),
        percent(tally.named, decidable),
        tally.recall(),
        of_kind(tally.accuracy()),
        of_kind(percent(tally.culprit_first, tally.found)),
        of_kind(percent(tally.framed, decidable)),
        percent(tally.resolved, tally.found),
        tally.delay(50),
        tally.delay(99),
        beside.join(", ")
    );
}
