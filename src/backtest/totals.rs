//! Totals: many verdicts and a stretch of benign routes as figures, with their bounds.

use std::collections::BTreeMap;

use serde::Serialize;

use super::judge::Verdict;

/// Chance that the true rate is above the bound.
const CHANCE: f64 = 0.05;
/// Halvings of the search for a bound.
const STEPS: u32 = 100;

/// A part of a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Share {
    /// The part.
    pub count: usize,
    /// The whole.
    pub of: usize,
}

/// All verdicts together.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Totals {
    /// Incidents found.
    pub recall: Share,
    /// Findings at medium or above that are about an incident and name its culprit.
    pub precision: Share,
    /// Incidents whose culprit is named right.
    pub culprit: Share,
    /// Incidents that are told by the right rule.
    pub rule: Share,
    /// Incidents in which another AS is named at high confidence.
    pub framed: Share,
    /// Of those found: told at medium or above by the third peer AS that believes.
    pub by_third_believer: Share,
    /// Of those whose end the archive holds: all their findings are over.
    pub closed: Share,
    /// Seconds from the first decidable update to the first row at medium or above: the median.
    pub detected_secs_median: Option<i64>,
    /// The longest.
    pub detected_secs_max: Option<i64>,
    /// Seconds from the end to the end of the findings: the longest.
    pub closed_secs_max: Option<i64>,
    /// Registered prefixes times days of the archives.
    pub exposure_prefix_days: f64,
    /// Findings about something else, by confidence.
    pub false_alarms: BTreeMap<String, usize>,
}

impl Totals {
    /// Sums verdicts; `exposure_prefix_days` is theirs.
    #[must_use]
    pub fn of<'v>(
        verdicts: impl Iterator<Item = &'v Verdict> + Clone,
        exposure_prefix_days: f64,
    ) -> Self {
        let share = |counts: fn(&Verdict) -> bool, of: fn(&Verdict) -> bool| Share {
            count: verdicts.clone().filter(|v| of(v) && counts(v)).count(),
            of: verdicts.clone().filter(|v| of(v)).count(),
        };
        let mut detected: Vec<i64> = verdicts.clone().filter_map(|v| v.detected_secs).collect();
        detected.sort_unstable();
        let mut false_alarms: BTreeMap<String, usize> = BTreeMap::new();
        for (confidence, count) in verdicts.clone().flat_map(|v| &v.false_alarms) {
            *false_alarms.entry(confidence.clone()).or_default() += count;
        }
        Self {
            recall: share(|v| v.found, |_| true),
            precision: Share {
                count: verdicts.clone().map(|v| v.findings_right).sum(),
                of: verdicts.clone().map(|v| v.findings).sum(),
            },
            culprit: share(|v| v.culprit_right, |_| true),
            rule: share(|v| v.rule_right, |_| true),
            framed: share(|v| !v.framed.is_empty(), |_| true),
            by_third_believer: share(
                |v| v.believers_at_detection.is_some_and(|believers| believers <= 3),
                |v| v.found,
            ),
            closed: share(|v| v.closed_secs.is_some(), |v| v.found && v.has_end),
            detected_secs_median: detected.get(detected.len() / 2).copied(),
            detected_secs_max: detected.last().copied(),
            closed_secs_max: verdicts.clone().filter_map(|v| v.closed_secs).max(),
            exposure_prefix_days,
            false_alarms,
        }
    }
}

/// Alarms over routes of which none is bad.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Alarms {
    /// How many.
    pub alarms: usize,
    /// By 1,000 prefixes and day.
    pub per_1000_prefix_days: f64,
    /// The same, with which 95 % of the luck are allowed for.
    pub per_1000_prefix_days_bound: f64,
}

impl Alarms {
    /// A rate and its one-sided 95 % bound; without exposure both are infinite.
    #[must_use]
    pub fn over(alarms: usize, exposure_prefix_days: f64) -> Self {
        let rate = |alarms: f64| 1_000.0 * alarms / exposure_prefix_days;
        Self {
            alarms,
            per_1000_prefix_days: rate(alarms as f64),
            per_1000_prefix_days_bound: rate(poisson_bound(alarms)),
        }
    }
}

/// The mean above which so few events or fewer have a chance of less than 5 % (the exact one-sided
/// bound of a Poisson mean).
#[must_use]
pub fn poisson_bound(events: usize) -> f64 {
    let (mut low, mut high) = (events as f64, 2.0 * events as f64 + 10.0);
    for _ in 0..STEPS {
        let middle = f64::midpoint(low, high);
        if at_most(events, middle) > CHANCE {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// The chance of so many events or fewer, for a mean.
fn at_most(events: usize, mean: f64) -> f64 {
    // Logarithms: the terms of a large mean are too small for a float.
    let mut log_term = -mean;
    let mut sum = log_term.exp();
    for event in 1..=events {
        log_term += mean.ln() - (event as f64).ln();
        sum += log_term.exp();
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of the tables of Garwood (1936).
    #[test]
    fn bounds_are_those_of_the_tables() {
        for (events, bound) in [(0, 2.996), (1, 4.744), (2, 6.296), (10, 16.962), (100, 118.08)] {
            let told = poisson_bound(events);
            assert!((told - bound).abs() < 0.01, "{events}: {told}");
        }
        let many = poisson_bound(20_000);
        assert!((20_233.0..20_240.0).contains(&many), "{many}");
    }

    #[test]
    fn rates_are_by_a_thousand_prefixes_and_day() {
        let alarms = Alarms::over(0, 500.0);
        assert_eq!((alarms.alarms, alarms.per_1000_prefix_days), (0, 0.0));
        assert!((alarms.per_1000_prefix_days_bound - 5.99).abs() < 0.01);
        assert!(Alarms::over(0, 0.0).per_1000_prefix_days_bound.is_infinite());
    }

    #[test]
    fn shares_are_of_what_could_be() {
        let good = Verdict {
            found: true,
            culprit_right: true,
            rule_right: true,
            has_end: true,
            closed_secs: Some(0),
            detected_secs: Some(4),
            believers_at_detection: Some(3),
            findings: 2,
            findings_right: 1,
            ..Verdict::default()
        };
        let open =
            Verdict { has_end: false, closed_secs: None, detected_secs: Some(9), ..good.clone() };
        let missed = Verdict { has_end: true, ..Verdict::default() };
        let totals = Totals::of([good, open, missed].iter(), 1.5);
        let share = |count, of| Share { count, of };
        assert_eq!((totals.recall, totals.precision), (share(2, 3), share(2, 4)));
        assert_eq!((totals.closed, totals.by_third_believer), (share(1, 1), share(2, 2)));
        assert_eq!((totals.detected_secs_median, totals.detected_secs_max), (Some(9), Some(9)));
        assert_eq!(Totals::of([].iter(), 0.0).recall, share(0, 0));
    }
}
