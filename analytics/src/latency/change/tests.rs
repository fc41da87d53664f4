//! How often the tests are wrong, counted on distributions that are known.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, Exp, LogNormal, Normal};

use super::*;
use crate::latency::baseline::Expected;

/// Round trips of about 25 ms.
#[derive(Clone, Copy, Debug)]
enum Shape {
    Normal,
    LogNormal,
    Exponential,
    /// Log-normal, told in whole steps of 5 ms: a handful of different values.
    Ties,
}

impl Shape {
    const ALL: [Self; 4] = [Self::Normal, Self::LogNormal, Self::Exponential, Self::Ties];

    /// `n` round trips, ascending, each later by `shift_us`.
    fn draw(self, random: &mut StdRng, n: usize, shift_us: f64) -> Vec<u32> {
        let normal = Normal::new(25_000.0, 2_500.0).unwrap();
        let log_normal = LogNormal::new(25_000_f64.ln(), 0.3).unwrap();
        let exponential = Exp::new(1.0 / 20_000.0).unwrap();
        let mut one = || {
            let rtt_us: f64 = match self {
                Self::Normal => normal.sample(random),
                Self::LogNormal | Self::Ties => log_normal.sample(random),
                Self::Exponential => 11_000.0 + exponential.sample(random),
            };
            let rtt_us = (rtt_us + shift_us).max(1.0);
            if matches!(self, Self::Ties) {
                (rtt_us / 5000.0).round() as u32 * 5000
            } else {
                rtt_us as u32
            }
        };
        let mut values: Vec<u32> = (0..n).map(|_| one()).collect();
        values.sort_unstable();
        values
    }

    /// The standard deviation of its median, times the root of n: what a shift is measured by.
    fn scale_us(self) -> f64 {
        match self {
            Self::Normal => 1.2533 * 2_500.0,
            Self::LogNormal | Self::Ties => 1.2533 * 0.3 * 25_000.0,
            Self::Exponential => 20_000.0,
        }
    }
}

fn counts(values: &[u32]) -> Counts {
    let mut counts = Counts::default();
    values.iter().for_each(|value| counts.add(*value, 1));
    counts
}

/// How often each test speaks, of so many trials: interval above zero or below (95 %), interval
/// above 0 (99 %), |z| > 1.96, z > 3.3; then the same two first ones on histograms.
#[derive(Debug, Default)]
struct Spoke {
    shift: f64,
    shift_up_99: f64,
    whitney: f64,
    whitney_far: f64,
    shift_binned: f64,
    whitney_binned: f64,
}

fn trials(shape: Shape, n: usize, m: usize, shift_us: f64, rounds: u32) -> Spoke {
    let mut random = StdRng::seed_from_u64(n as u64 * 31 + shift_us as u64);
    let mut spoke = Spoke::default();
    let each = 1.0 / f64::from(rounds);
    let add = |sum: &mut f64, spoke: bool| *sum += if spoke { each } else { 0.0 };
    for _ in 0..rounds {
        let (a, b) = (shape.draw(&mut random, n, 0.0), shape.draw(&mut random, m, shift_us));
        let (a, b) = (a.as_slice(), b.as_slice());
        let outside = |shift: MedianShift| shift.low_us > 0.0 || shift.high_us < 0.0;
        add(&mut spoke.shift, outside(median_shift(a, b, Confidence::P95).unwrap()));
        add(&mut spoke.shift_up_99, median_shift(a, b, Confidence::P99).unwrap().low_us > 0.0);
        let whitney = mann_whitney(a, b).unwrap();
        add(&mut spoke.whitney, whitney.z.abs() > 1.96);
        add(&mut spoke.whitney_far, whitney.z > 3.3);
        let (a, b) = (&counts(a), &counts(b));
        add(&mut spoke.shift_binned, outside(median_shift(a, b, Confidence::P95).unwrap()));
        add(&mut spoke.whitney_binned, mann_whitney(a, b).unwrap().z.abs() > 1.96);
    }
    spoke
}

/// Nothing changed. A 95 % interval must not exclude zero in more than 7 % of the trials, a 99 % one
/// lie above it in more than 1.2 %; |z| > 1.96 in about 5 %, z > 3.3 in less than 0.3 %. The bounds hold
/// three standard errors of the trials.
#[test]
fn without_a_change_the_tests_speak_as_rarely_as_they_say() {
    for shape in Shape::ALL {
        for (n, m, rounds) in [(10, 10, 3000), (30, 30, 3000), (100, 30, 2000), (1000, 300, 600)] {
            let spoke = trials(shape, n, m, 0.0, rounds);
            println!("H0 {shape:?} {n}/{m}: {spoke:?}");
            let of = format!("{shape:?} {n}/{m}: {spoke:?}");
            assert!(spoke.shift <= 0.07, "{of}");
            assert!(spoke.shift_up_99 <= 0.012, "{of}");
            assert!((0.03..=0.075).contains(&spoke.whitney), "{of}");
            assert!(spoke.whitney_far <= 0.003, "{of}");
            assert!(spoke.shift_binned <= 0.07, "{of}");
            assert!((0.03..=0.075).contains(&spoke.whitney_binned), "{of}");
        }
    }
}

/// A shift of six standard errors of a median difference is found nearly always, one of three mostly.
#[test]
fn a_shift_is_found_with_the_power_that_the_decision_states() {
    for shape in [Shape::Normal, Shape::LogNormal, Shape::Exponential] {
        for (n, m) in [(30_usize, 30_usize), (100, 30), (1000, 300)] {
            let error = shape.scale_us() * (1.0 / n as f64 + 1.0 / m as f64).sqrt();
            let [weak, strong] = [3.0, 6.0].map(|errors| trials(shape, n, m, errors * error, 400));
            println!("H1 {shape:?} {n}/{m}: {weak:?} {strong:?}");
            let of = format!("{shape:?} {n}/{m}: {weak:?} {strong:?}");
            assert!(weak.shift >= 0.60 && strong.shift >= 0.99, "{of}");
            assert!(weak.whitney >= 0.80 && strong.whitney >= 0.99, "{of}");
            assert!(strong.shift_up_99 >= 0.95 && strong.whitney_far >= 0.95, "{of}");
        }
    }
}

/// A path that became 5 ms slower on 25 ms, 30 probes on each side: what `detect` asks for.
#[test]
fn five_milliseconds_are_seen_with_thirty_probes() {
    for (shape, power) in [(Shape::Normal, 0.99), (Shape::LogNormal, 0.35)] {
        let spoke = trials(shape, 30, 30, 5_000.0, 400);
        println!("5 ms {shape:?}: {spoke:?}");
        assert!(spoke.shift >= power && spoke.shift_binned >= power - 0.05, "{shape:?} {spoke:?}");
    }
}

#[test]
fn the_interval_holds_the_true_shift_as_often_as_it_says() {
    for shape in [Shape::Normal, Shape::LogNormal, Shape::Exponential] {
        let mut random = StdRng::seed_from_u64(3);
        let holds = (0..2000).filter(|_| {
            let a = shape.draw(&mut random, 60, 0.0);
            let b = shape.draw(&mut random, 40, 7_000.0);
            let found = median_shift(a.as_slice(), b.as_slice(), Confidence::P95).unwrap();
            (found.low_us..=found.high_us).contains(&7_000.0)
        });
        let holds = holds.count();
        println!("{shape:?}: {holds} of 2000");
        assert!((1870..=1980).contains(&holds), "{shape:?}: {holds} of 2000");
    }
}

#[test]
fn a_worked_example_is_as_in_the_books() {
    // Sets without ties, U by hand: pairs in which the second is larger.
    let (a, b) = ([1, 3, 5, 7, 9].as_slice(), [2, 4, 6, 8, 10].as_slice());
    let found = mann_whitney(a, b).unwrap();
    assert_eq!(found.effect, 15.0 / 25.0);
    assert!((found.z - 2.5 / (25.0 * 11.0 / 12.0_f64).sqrt()).abs() < 1e-12);
    // With ties, by hand: 24.5 of 30 pairs; ties of 2, 4, 4: 30 / 12 * (12 - 126 / 110).
    let found = mann_whitney([1, 1, 2, 2, 3].as_slice(), [2, 2, 3, 3, 3, 4].as_slice()).unwrap();
    assert_eq!(found.effect, 24.5 / 30.0);
    assert!((found.z - 9.5 / (2.5 * (12.0 - 126.0 / 110.0_f64)).sqrt()).abs() < 1e-12);
    // Order statistics of 1..=25: c = 8, so the median's error is (18 - 8) / (2 * 10 / 5).
    let values: Vec<u32> = (1..=25).map(|i| i * 1000).collect();
    let found = median_shift(values.as_slice(), values.as_slice(), Confidence::P95).unwrap();
    assert_eq!(found.shift_us, 0.0);
    assert!((found.high_us - 1.959_964 * 2500.0 * 2_f64.sqrt()).abs() < 0.1, "{found:?}");
}

#[test]
fn nothing_and_too_little_are_not_judged_and_equal_values_are_no_change() {
    let (few, none) = ([25_000; 9].as_slice(), [].as_slice());
    assert_eq!(median_shift(few, few, Confidence::P95), None);
    assert_eq!(mann_whitney(few, none), None);
    assert_eq!(mann_whitney(&Counts::default(), &counts(few)), None);
    let same = [25_000; 40].as_slice();
    assert_eq!(mann_whitney(same, same), Some(MannWhitney { z: 0.0, effect: 0.5 }));
    let slower = [25_100; 40].as_slice();
    let found = median_shift(&counts(same), &counts(slower), Confidence::P95).unwrap();
    assert!(found.low_us < 0.0 && found.high_us > 0.0, "a bucket may hide it: {found:?}");
    let found = median_shift(same, slower, Confidence::P95).unwrap();
    assert_eq!((found.low_us, found.high_us), (100.0, 100.0), "without buckets it is certain");
}

#[test]
fn huge_counts_are_no_harm() {
    let mut all = Counts::default();
    all.add(25_000, u64::MAX);
    all.add(26_000, u64::MAX);
    let found = mann_whitney(&all, &all).unwrap();
    assert!(found.z.is_finite() && found.effect.is_finite());
    assert!(median_shift(&all, &all, Confidence::P95).is_some());
}

fn expected() -> Expected {
    Expected { p50_us: 25_000, p50_mad_us: 337, p95_us: None, p95_mad_us: None, hours: 2 }
}

/// The number of minutes until a shift of `shift` standard deviations is told, on average.
fn run_length(shift: f64, runs: u32, seed: u64) -> f64 {
    let mut random = StdRng::seed_from_u64(seed);
    let normal = Normal::new(shift, 1.0).unwrap();
    let mut minutes = 0_u64;
    for _ in 0..runs {
        let mut cusum = Cusum::default();
        for minute in 0.. {
            minutes += 1;
            if cusum.score(Timestamp::from_secs(minute * 60), normal.sample(&mut random)).is_some()
            {
                break;
            }
        }
    }
    minutes as f64 / f64::from(runs)
}

/// Average run lengths of a one-sided CUSUM with k = 0.5 and h = 5: Montgomery, table 9.3 (two-sided
/// 465, so 930 for one side; 10.4; 4.01) and Siegmund's approximation (938).
#[test]
fn cusum_is_wrong_and_quick_as_the_tables_say() {
    let lengths = [run_length(0.0, 1500, 1), run_length(1.0, 4000, 2), run_length(2.0, 4000, 3)];
    println!("run lengths {lengths:?}");
    let [quiet, one, two] = lengths;
    assert!((850.0..1040.0).contains(&quiet), "{quiet}");
    assert!((10.0..10.8).contains(&one), "{one}");
    assert!((3.8..4.2).contains(&two), "{two}");
}

#[test]
fn a_shift_is_told_with_the_minute_in_which_it_began() {
    let mut cusum = Cusum::default();
    let mut push =
        |minute: i64, p50| cusum.push(Timestamp::from_secs(minute * 60), p50, &expected());
    for minute in 0..10 {
        assert_eq!(push(minute, 25_000 - 100 * (minute as u32 % 2)), None, "as usual");
    }
    assert_eq!(push(10, 60_000), None, "one minute alone is no shift");
    let found = push(11, 60_000).unwrap();
    assert_eq!((found.since, found.sum), (Timestamp::from_secs(600), 7.0));
    assert_eq!(push(12, 25_000), None, "it begins anew");
    assert_eq!((13..30).find_map(|minute| push(minute, 10_000)), None, "faster is no shift");
    assert_eq!((30..40).find_map(|minute| push(minute, 25_600)).unwrap().since.secs(), 1800);
}

#[test]
fn what_a_cusum_holds_is_the_same_after_json() {
    let (mut random, mut cusum) = (StdRng::seed_from_u64(5), Cusum::default());
    for minute in 0..2000 {
        let p50 = random.random_range(24_000..26_500);
        let mut restored: Cusum =
            serde_json::from_str(&serde_json::to_string(&cusum).unwrap()).unwrap();
        let time = Timestamp::from_secs(minute * 60);
        assert_eq!(restored.push(time, p50, &expected()), cusum.push(time, p50, &expected()));
        assert_eq!(restored, cusum);
    }
}

#[test]
fn a_baseline_without_spread_or_of_nothing_is_no_harm() {
    let flat = Expected { p50_us: 0, p50_mad_us: 0, ..expected() };
    let mut cusum = Cusum::default();
    for minute in 0..100 {
        let found = cusum.push(Timestamp::from_secs(minute * 60), u32::MAX, &flat);
        assert_eq!(found.is_some(), minute % 2 == 1, "{minute}");
    }
    let flat = Expected { p50_us: 25_000, p50_mad_us: 0, ..expected() };
    assert!((0..100).all(|_| cusum.push(Timestamp::from_secs(0), 25_100, &flat).is_none()));
}
