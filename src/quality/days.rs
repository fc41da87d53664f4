//! Quiet days: what was said although nothing happened, per thousand prefixes and day.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use analytics::detect::DetectOptions;
use schemas::finding::{Confidence, FindingId, Transition};

use super::judge::{highest, is_loud};
use super::{QualityError, fold};
use crate::simulator::trial::facts::Facts;
use crate::simulator::trial::quiet_days::Day;

/// Alarms per thousand prefixes and day that the contract allows, at high and at medium confidence.
pub const ALARMS_MAX: (f64, f64) = (1.0, 10.0);

/// What was said of quiet days.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Days {
    /// Prefixes times days.
    pub prefix_days: u64,
    /// Of these, those to which something happened besides churn, by its word.
    pub happened: BTreeMap<&'static str, u64>,
    /// Findings, by their highest confidence.
    pub alarms: BTreeMap<Confidence, u64>,
    /// Findings by what happened (`churn` where nothing else did), rule and confidence.
    pub causes: BTreeMap<(&'static str, &'static str, Confidence), u64>,
}

impl Days {
    /// The day of a seed.
    ///
    /// # Errors
    /// [`QualityError`].
    pub fn of(seed: u64, prefixes: u32, detect: &DetectOptions) -> Result<Self, QualityError> {
        let (days, _) = Self::told(seed, prefixes, detect)?;
        Ok(days)
    }

    /// The day of a seed with all that was said.
    ///
    /// # Errors
    /// [`QualityError`].
    pub fn told(
        seed: u64,
        prefixes: u32,
        detect: &DetectOptions,
    ) -> Result<(Self, Vec<Transition>), QualityError> {
        let day = Day::of(seed, prefixes);
        let transitions = fold(&day.hear(), &Facts::of(&day.trial)?, detect)?;
        let mut days = Self { prefix_days: day.trial.plots.len() as u64, ..Self::default() };
        for happened in day.happened.iter().flatten() {
            *days.happened.entry(*happened).or_default() += 1;
        }
        let mut told: BTreeMap<FindingId, Vec<&Transition>> = BTreeMap::new();
        for transition in &transitions {
            told.entry(transition.finding.id).or_default().push(transition);
        }
        for rows in told.values().filter(|rows| is_loud(rows)) {
            let Some(last) = rows.last() else { continue };
            let plots = day.trial.plots.iter().zip(&day.happened);
            let mut about = plots.filter(|(plot, _)| plot.ground.holds(last.finding.prefix));
            let cause = about.next().and_then(|(_, happened)| *happened).unwrap_or("churn");
            let confidence = highest(rows);
            *days.alarms.entry(confidence).or_default() += 1;
            let cause = (cause, last.finding.rule.as_str(), confidence);
            *days.causes.entry(cause).or_default() += 1;
        }
        Ok((days, transitions))
    }

    /// Adds other days.
    pub fn add(&mut self, other: Self) {
        self.prefix_days += other.prefix_days;
        for (happened, count) in other.happened {
            *self.happened.entry(happened).or_default() += count;
        }
        for (confidence, count) in other.alarms {
            *self.alarms.entry(confidence).or_default() += count;
        }
        for (cause, count) in other.causes {
            *self.causes.entry(cause).or_default() += count;
        }
    }

    /// Alarms of a confidence per thousand prefixes and day.
    #[must_use]
    pub fn rate(&self, confidence: Confidence) -> f64 {
        let alarms = self.alarms.get(&confidence).copied().unwrap_or(0);
        alarms as f64 * 1_000.0 / self.prefix_days.max(1) as f64
    }

    /// Alarms by confidence, and by what happened.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = String::from(
            "| confidence | alarms | per 1,000 prefixes and day | allowed |\n| --- | --: | --: | --: |\n",
        );
        let allowed = [None, Some(ALARMS_MAX.1), Some(ALARMS_MAX.0)];
        for ((confidence, word, _), allowed) in Confidence::ALL.iter().zip(allowed) {
            let alarms = self.alarms.get(confidence).unwrap_or(&0);
            let allowed = allowed.map_or_else(|| "-".to_owned(), |most| most.to_string());
            let rate = self.rate(*confidence);
            let _ = writeln!(text, "| {word} | {alarms} | {rate:.2} | {allowed} |");
        }
        text.push_str(
            "\n| what happened | prefix-days | rule | confidence | alarms |\n| --- | --: | --- | --- | --: |\n",
        );
        for ((cause, rule, confidence), alarms) in &self.causes {
            let days = match *cause {
                "churn" => self.prefix_days - self.happened.values().sum::<u64>(),
                cause => self.happened.get(cause).copied().unwrap_or(0),
            };
            let word = confidence.as_str();
            let _ = writeln!(text, "| {cause} | {days} | {rule} | {word} | {alarms} |");
        }
        let silent: Vec<String> = self
            .happened
            .iter()
            .filter(|(cause, _)| !self.causes.keys().any(|(told, ..)| told == *cause))
            .map(|(cause, count)| format!("{cause} ({count})"))
            .collect();
        let silent = if silent.is_empty() { "nothing".to_owned() } else { silent.join(", ") };
        let _ = writeln!(text, "\n{} prefix-days. No word on: {silent}.", self.prefix_days);
        text
    }
}
