//! Baselines against the minutes themselves.

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, LogNormal};

use super::*;

const HOUR: i64 = 3600;
const WEEK: i64 = 168 * HOUR;

fn name(connection: &str) -> SeriesName {
    SeriesName {
        connection: connection.into(),
        prefix: "192.0.2.0/24".parse().unwrap(),
        source: "probe".into(),
        statistic: Statistic::Sample,
    }
}

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs)
}

/// Median and median absolute deviation of the minutes themselves; of an even number the mean of the two
/// in the middle.
fn exact(values: &[u32]) -> (u32, u32) {
    let median = |values: &[u32]| {
        let mut values = values.to_vec();
        values.sort_unstable();
        let upper = values[values.len() / 2];
        if values.len() % 2 == 1 { upper } else { (values[values.len() / 2 - 1] + upper) / 2 }
    };
    let middle = median(values);
    let deviations: Vec<u32> = values.iter().map(|value| value.abs_diff(middle)).collect();
    (middle, median(&deviations))
}

/// Three weeks of an hour: the first has no baseline, the second that of the first, the third that of
/// both, and the fourth knows the first no more. The hour itself never counts.
#[test]
fn an_hour_is_compared_with_the_same_hour_of_the_two_weeks_before() {
    let (mut baselines, series) = (Baselines::new(10), name("a"));
    let mut learn_hour = |start: i64, p50: u32| {
        let expected = baselines.expected(&series, at(start));
        for minute in 0..60 {
            assert!(baselines.learn(&series, at(start + minute * 60), p50, 2 * p50, 100));
            assert_eq!(baselines.expected(&series, at(start + minute * 60)), expected);
        }
        expected
    };
    assert_eq!(learn_hour(0, 200), None, "nothing is known");
    assert_eq!(learn_hour(HOUR, 100), None, "another hour of the week");
    let known = |p50_us, hours| Expected {
        p50_us,
        p50_mad_us: 0,
        p95_us: Some(2 * p50_us),
        p95_mad_us: Some(0),
        hours,
    };
    assert_eq!(learn_hour(WEEK, 220), Some(Expected { p95_us: Some(400), ..known(200, 1) }));
    let both = learn_hour(2 * WEEK, 250).unwrap();
    assert_eq!((both.p50_us, both.p50_mad_us, both.hours), (210, 10, 2), "between 200 and 220");
    assert_eq!(learn_hour(3 * WEEK, 200).unwrap().p50_us, 235, "the first week is too old");
    assert_eq!(baselines.expected(&series, at(6 * WEEK)), None, "nothing in two weeks");
    assert_eq!(baselines.expected(&name("b"), at(WEEK)), None, "nobody has heard of it");
}

#[test]
fn nineteen_minutes_are_too_few_and_twenty_enough_each_percentile_for_itself() {
    let (mut baselines, series) = (Baselines::new(10), name("a"));
    for minute in 0..19 {
        baselines.learn(&series, at(minute * 60), 200, 250, 100);
    }
    assert_eq!(baselines.expected(&series, at(WEEK)), None);
    baselines.learn(&series, at(19 * 60), 200, 250, P95_SAMPLES_MIN - 1);
    let thin = baselines.expected(&series, at(WEEK)).unwrap();
    assert_eq!((thin.p50_us, thin.p95_us, thin.p95_mad_us, thin.hours), (200, None, None, 1));
    baselines.learn(&series, at(20 * 60), 200, 250, P95_SAMPLES_MIN);
    assert_eq!(baselines.expected(&series, at(WEEK)).unwrap().p95_us, Some(250));
}

#[test]
fn a_minute_counts_once_and_not_when_its_hour_is_over() {
    let (mut baselines, series) = (Baselines::new(1), name("a"));
    assert!(!baselines.learn(&series, at(0), 200, 250, 0), "no sample");
    assert!(baselines.is_empty());
    assert!(baselines.learn(&series, at(60), 200, 250, 1));
    assert!(!baselines.learn(&series, at(60), 900, 950, 1), "known already");
    assert!(baselines.learn(&series, at(0), 200, 250, 1), "the hour is not over");
    assert!(baselines.learn(&series, at(HOUR), 200, 250, 1));
    assert!(!baselines.learn(&series, at(120), 200, 250, 1), "the hour is over");
    assert!(!baselines.learn(&name("b"), at(0), 200, 250, 1), "one series too many");
    assert_eq!((baselines.len(), baselines.refused()), (1, 1));
    assert!(baselines.learn(&name("a"), at(HOUR + 60), 200, 250, 1));
}

#[test]
fn a_series_is_forgotten_two_weeks_after_it_was_last_heard() {
    let (mut baselines, series) = (Baselines::new(1), name("a"));
    baselines.learn(&series, at(-5 * HOUR), 200, 250, 1);
    baselines.forget(at(2 * WEEK - 5 * HOUR));
    assert_eq!(baselines.len(), 1);
    baselines.forget(at(2 * WEEK - 4 * HOUR));
    assert!(baselines.is_empty());
    assert!(baselines.learn(&name("b"), at(0), 200, 250, 1), "its place is free");
}

/// What a series takes that is heard in every minute of two weeks, at the sample counts that matter. The
/// figures stand in `docs/decisions/0015-baselines.md`.
#[test]
fn a_series_of_two_weeks_is_as_small_as_the_decision_says() {
    for (samples, bytes_max) in [(10_u32, 23_000), (100, 17_500), (1000, 13_000)] {
        let mut random = StdRng::seed_from_u64(7);
        // A minute's median of n log-normal samples is about log-normal itself: 1.2533 sigma / sqrt(n).
        let sigma = 0.5 / f64::from(samples).sqrt();
        let p50 = LogNormal::new(25_000_f64.ln(), 1.2533 * sigma).unwrap();
        let p95 = LogNormal::new(57_000_f64.ln(), 2.11 * sigma).unwrap();
        let mut series = Series::default();
        for minute in 0..(337 * 60) {
            let p50 = p50.sample(&mut random) as u32;
            assert!(series.learn(at(minute * 60), p50, Some(p95.sample(&mut random) as u32)));
        }
        let bytes = series.heap_bytes() + size_of::<Series>();
        println!("{samples} samples a minute: {bytes} bytes a series");
        assert!(bytes < bytes_max, "{samples} samples a minute: {bytes} bytes");
    }
}

proptest! {
    #[test]
    fn a_baseline_is_that_of_the_minutes_themselves_within_what_a_slot_hides(
        seed in any::<u64>(),
        centre in 300..2_000_000_u32,
        spread in 0.0..0.4_f64,
        minutes in prop::collection::btree_set(0..120_i64, MINUTES_MIN..=120),
    ) {
        let mut random = StdRng::seed_from_u64(seed);
        let around = LogNormal::new(f64::from(centre).ln(), spread).unwrap();
        let (mut baselines, series) = (Baselines::new(1), name("a"));
        let mut values = Vec::new();
        for minute in minutes {
            let value = (around.sample(&mut random) as u32).max(1);
            values.push(value);
            let time = at((minute / 60) * WEEK + (minute % 60) * 60);
            prop_assert!(baselines.learn(&series, time, value, value, 100));
        }
        let (median, deviation) = exact(&values);
        let found = baselines.expected(&series, at(2 * WEEK)).unwrap();
        let off = |found: u32, exact: u32| f64::from(found.abs_diff(exact));
        prop_assert!(off(found.p50_us, median) <= 0.004 * f64::from(median));
        // Both the median and the minute at the rank of the deviation are off by half a slot of theirs.
        let slack = 0.004 * f64::from(median) + 0.004 * f64::from(median + deviation) + 1.0;
        prop_assert!(off(found.p50_mad_us, deviation) <= slack, "{found:?} {median} {deviation}");
        prop_assert_eq!((found.p95_us, found.p95_mad_us), (Some(found.p50_us), Some(found.p50_mad_us)));
    }

    #[test]
    fn the_order_within_an_hour_and_what_is_asked_between_do_not_matter(
        seed in any::<u64>(),
        shuffled in Just((0..60_i64).collect::<Vec<_>>()).prop_shuffle(),
        split in 0..60_usize,
    ) {
        let mut random = StdRng::seed_from_u64(seed);
        let value: Vec<u32> = (0..60).map(|_| random.random_range(1..60_000_000)).collect();
        let learn = |baselines: &mut Baselines, week: i64, minutes: &[i64]| {
            for minute in minutes {
                let p50 = value[*minute as usize];
                baselines.learn(&name("a"), at(week * WEEK + minute * 60), p50, p50, 50);
            }
        };
        let (mut one, mut other) = (Baselines::new(9), Baselines::new(9));
        for week in 0..3 {
            learn(&mut one, week, &(0..60).collect::<Vec<_>>());
            learn(&mut other, week, &shuffled[..split]);
            other.expected(&name("a"), at(week * WEEK));
            // Restored in the middle of an hour.
            let bytes = serde_json::to_vec(&other).unwrap();
            other = serde_json::from_slice(&bytes).unwrap();
            learn(&mut other, week, &shuffled[split..]);
        }
        learn(&mut one, 3, &[0]);
        learn(&mut other, 3, &[0]);
        prop_assert_eq!(serde_json::to_string(&one).unwrap(), serde_json::to_string(&other).unwrap());
        let ask = |baselines: &mut Baselines, week| baselines.expected(&name("a"), at(week * WEEK));
        for week in 1..6 {
            prop_assert_eq!(ask(&mut one, week), ask(&mut other, week));
        }
    }
}
