//! Windows under the progress of their inputs.

use std::num::NonZeroU32;

use schemas::batch::{SampleEvent, SeriesEvent};
use schemas::time::MICROS_PER_SEC;

use super::*;

const MINUTE: i64 = 60;

/// One sample as a batch of its own; false if it came too late.
fn feed_from(
    windows: &mut Windows,
    is_live: bool,
    input: u32,
    time: Timestamp,
    rtt_us: Option<u32>,
) -> bool {
    let mut batch = EventBatch::starting(0, 0, is_live);
    batch.sources.push("probe".into());
    let series = batch.series.push(SeriesEvent {
        connection: 0,
        prefix: "192.0.2.0/24".parse().unwrap(),
        source: 0,
        input,
        statistic: Statistic::Sample,
    });
    let rtt_us = rtt_us.and_then(NonZeroU32::new);
    batch.append_samples(time, |samples| {
        samples.push(SampleEvent { event_time: time, series, rtt_us });
    });
    let late = windows.late;
    windows.begin();
    windows.add(&batch, 0, 1);
    windows.late == late
}

fn feed(windows: &mut Windows, secs: i64, rtt_us: Option<u32>) -> bool {
    feed_from(windows, false, 0, Timestamp::from_secs(secs), rtt_us)
}

/// Rows of minutes: minute, samples, lost, revision.
fn rows(closed: &[LatencyWindow], secs: u32) -> Vec<(i64, u32, u32, u32)> {
    let mine = closed.iter().filter(|window| window.secs() == secs);
    mine.map(|w| {
        let figures = w.summary.figures;
        (w.window.start.secs() / MINUTE, figures.samples, figures.lost, w.revision)
    })
    .collect()
}

fn passed(windows: &mut Windows, secs: i64) -> Vec<(i64, u32, u32, u32)> {
    let (mut closed, at) = (Vec::new(), Timestamp::from_secs(secs));
    windows.passed(&[0], at, at, &mut closed);
    rows(&closed, WINDOW_SECS)
}

#[test]
fn a_window_closes_when_its_input_has_passed_end_and_lateness() {
    let mut windows = Windows::new(LatencyOptions::default());
    assert!(feed(&mut windows, 5, Some(10)) && feed(&mut windows, 59, None));
    assert!(passed(&mut windows, 89).is_empty(), "lateness is 30 s");
    assert_eq!(passed(&mut windows, 90), [(0, 1, 1, 0)]);
    assert!(!feed(&mut windows, 59, Some(10)), "the window is closed");
}

#[test]
fn a_series_that_falls_silent_is_missed_three_times_and_then_forgotten() {
    let mut windows = Windows::new(LatencyOptions::default());
    for minute in 0..5 {
        feed(&mut windows, minute * MINUTE, Some(10));
    }
    let rows = passed(&mut windows, 60 * MINUTE);
    let silent: Vec<_> = rows.iter().filter(|(_, samples, ..)| *samples == 0).collect();
    assert_eq!(silent, [&(5, 0, 0, 0), &(6, 0, 0, 0), &(7, 0, 0, 0)]);
    assert_eq!(rows.len(), 8);
}

#[test]
fn the_end_of_a_log_closes_what_is_open_and_invents_no_silence() {
    let mut windows = Windows::new(LatencyOptions::default());
    for minute in 0..5 {
        feed(&mut windows, minute * MINUTE, Some(10));
    }
    let mut closed = Vec::new();
    windows.finish(&mut closed);
    assert_eq!(rows(&closed, WINDOW_SECS), [0, 1, 2, 3, 4].map(|minute| (minute, 1, 0, 0)));
    assert_eq!(rows(&closed, 300), [(0, 5, 0, 0)], "rolled up");
    assert_eq!((rows(&closed, 3_600).len(), rows(&closed, 86_400).len()), (1, 1));
}

#[test]
fn a_jump_of_a_year_costs_no_row_a_minute() {
    let mut windows = Windows::new(LatencyOptions::default());
    feed(&mut windows, 0, Some(10));
    feed(&mut windows, 31_536_000, Some(20));
    assert_eq!(passed(&mut windows, 40_000_000).len(), 2);
}

#[test]
fn a_source_on_two_inputs_waits_for_the_slower_one() {
    let mut windows = Windows::new(LatencyOptions::default());
    feed(&mut windows, 5, Some(10));
    feed_from(&mut windows, false, 1, Timestamp(6 * MICROS_PER_SEC), Some(20));
    assert!(passed(&mut windows, 100).is_empty());
    let (mut closed, at) = (Vec::new(), Timestamp::from_secs(95));
    windows.passed(&[1], at, at, &mut closed);
    assert_eq!(rows(&closed, WINDOW_SECS), [(0, 2, 0, 0)]);
}

#[test]
fn an_input_without_progress_is_passed_over_and_makes_no_silence() {
    let mut windows = Windows::new(LatencyOptions::default());
    for minute in 0..4 {
        feed(&mut windows, minute * MINUTE, Some(10));
    }
    assert_eq!(passed(&mut windows, 200).len(), 2);
    // Log time goes on, the input does not.
    let mut closed = Vec::new();
    for secs in 201..=499 {
        windows.passed(&[], Timestamp::MIN, Timestamp::from_secs(secs), &mut closed);
    }
    assert!(closed.is_empty(), "it may still come");
    for secs in 500..2_000 {
        windows.passed(&[], Timestamp::MIN, Timestamp::from_secs(secs), &mut closed);
    }
    assert_eq!(rows(&closed, WINDOW_SECS), [(2, 1, 0, 0), (3, 1, 0, 0)], "and no silence");
}

/// Nobody ticked for an hour: an input may go on where it was, in the middle of a minute.
#[test]
fn after_an_outage_of_ours_an_input_has_its_time() {
    let mut windows = Windows::new(LatencyOptions::default());
    let at = Timestamp::from_secs;
    assert!(feed_from(&mut windows, true, 0, at(5), Some(10)));
    assert!(passed(&mut windows, 20).is_empty());
    let mut closed = Vec::new();
    for secs in 3_600..3_890 {
        windows.passed(&[], Timestamp::MIN, at(secs), &mut closed);
    }
    assert!(closed.is_empty(), "280 s of silence are not too long");
    assert!(feed_from(&mut windows, true, 0, at(55), Some(20)));
    windows.passed(&[0], at(95), at(3_890), &mut closed);
    assert_eq!((rows(&closed, WINDOW_SECS), windows.late), (vec![(0, 2, 0, 0)], 0));
    for secs in 3_891..4_500 {
        windows.passed(&[], Timestamp::MIN, at(secs), &mut closed);
    }
    assert_eq!(rows(&closed, WINDOW_SECS).len(), 1, "nothing is left, and no silence");
}

/// A file each hour, read minutes after its end: between them the input is passed over, and the next
/// file is on time.
#[test]
fn an_hourly_file_loses_nothing_and_makes_no_silence() {
    let mut windows = Windows::new(LatencyOptions::default());
    let (mut closed, mut read_until) = (Vec::new(), 0);
    for secs in 1..4 * 3_600 {
        let now = Timestamp::from_secs(secs);
        if secs % 3_600 == 240 {
            // The hour that ended four minutes ago.
            for minute in read_until / MINUTE..(secs - 240) / MINUTE {
                let time = Timestamp::from_secs(minute * MINUTE + 7);
                assert!(feed_from(&mut windows, true, 0, time, Some(10)), "minute {minute}");
            }
            read_until = secs - 240;
            windows.passed(&[0], Timestamp::from_secs(read_until), now, &mut closed);
        }
        windows.passed(&[], Timestamp::MIN, now, &mut closed);
    }
    let minutes: Vec<_> = (0..180).map(|minute| (minute, 1, 0, 0)).collect();
    assert_eq!(rows(&closed, WINDOW_SECS), minutes);
    assert_eq!(windows.late, 0);
}

#[test]
fn a_late_sample_makes_an_exact_revision_and_enters_the_roll_ups() {
    let mut windows = Windows::new(LatencyOptions::default());
    let live = |windows: &mut Windows, secs: i64, rtt: u32| {
        feed_from(windows, true, 0, Timestamp::from_secs(secs), Some(rtt))
    };
    assert!(live(&mut windows, 5, 30) && live(&mut windows, 6, 10));
    assert_eq!(passed(&mut windows, 90), [(0, 2, 0, 0)]);
    assert!(live(&mut windows, 7, 20) && live(&mut windows, 8, 40));
    assert!(passed(&mut windows, 100).is_empty(), "at most one row a minute");
    let (mut closed, at) = (Vec::new(), Timestamp::from_secs(121));
    windows.passed(&[0], at, at, &mut closed);
    assert_eq!(rows(&closed, WINDOW_SECS), [(0, 4, 0, 1)]);
    assert!(closed[0].summary.exact && closed[0].summary.percentiles.unwrap().p50 == 20);
    assert!(live(&mut windows, 9, 50));
    let (mut closed, at) = (Vec::new(), Timestamp::from_secs(360));
    windows.passed(&[0], at, at, &mut closed);
    assert_eq!(rows(&closed, WINDOW_SECS), [(0, 5, 0, 2)], "told before it is final");
    assert!(!live(&mut windows, 10, 60), "now it is");
    windows.finish(&mut closed);
    assert_eq!(rows(&closed, 300), [(0, 5, 0, 0)]);
}

#[test]
fn beyond_the_bytes_for_late_samples_the_histogram_takes_over_and_says_so() {
    let options = LatencyOptions { late_bytes_max: 0, ..LatencyOptions::default() };
    let mut windows = Windows::new(options);
    for rtt in [10_000, 20_000, 30_000] {
        feed_from(&mut windows, true, 0, Timestamp::from_secs(5), Some(rtt));
    }
    assert_eq!(passed(&mut windows, 90), [(0, 3, 0, 0)]);
    feed_from(&mut windows, true, 0, Timestamp::from_secs(5), Some(20_000));
    let (mut closed, at) = (Vec::new(), Timestamp::from_secs(121));
    windows.passed(&[0], at, at, &mut closed);
    assert_eq!(rows(&closed, WINDOW_SECS), [(0, 4, 0, 1)]);
    let summary = &closed[0].summary;
    assert!(!summary.exact);
    let p50 = summary.percentiles.unwrap().p50;
    assert!((20_000..=20_160).contains(&p50), "{p50} is within a bucket of the exact one");
}

/// Three samples fit, waiting ones too: the fourth makes a histogram of its window, and what then still
/// waits is told at once instead of a minute later.
#[test]
fn late_samples_that_wait_count_for_the_bytes_too() {
    let options = LatencyOptions { late_bytes_max: 3 * 12, ..LatencyOptions::default() };
    let mut windows = Windows::new(options);
    let late = |windows: &mut Windows| {
        feed_from(windows, true, 0, Timestamp::from_secs(5), Some(20_000));
    };
    (0..2).for_each(|_| late(&mut windows));
    assert_eq!(passed(&mut windows, 90), [(0, 2, 0, 0)]);
    late(&mut windows);
    assert!(passed(&mut windows, 91).is_empty(), "it waits for its minute");
    (0..4).for_each(|_| late(&mut windows));
    // Nothing is due before the revision at 120 s, but there is no room for five.
    let (mut closed, at) = (Vec::new(), Timestamp::from_secs(119));
    windows.passed(&[0], at, at, &mut closed);
    assert_eq!(rows(&closed, WINDOW_SECS), [(0, 7, 0, 1)]);
    assert!(!closed[0].summary.exact);
}

/// A probe falls silent, and what it measured meanwhile comes late: minute 4 was told as silent, minute 5
/// was not told; both are told with it. Minute 1 is final by then.
#[test]
fn late_samples_of_a_silent_minute_are_a_revision_of_it() {
    let mut windows = Windows::new(LatencyOptions::default());
    let at = |secs: i64| Timestamp::from_secs(secs);
    for minute in 0..4 {
        feed_from(&mut windows, true, 0, at(minute * MINUTE + 5), Some(20_000));
    }
    let told = passed(&mut windows, 4 * MINUTE + 30);
    assert_eq!(told.len(), 4);
    assert_eq!(passed(&mut windows, 7 * MINUTE), [(4, 0, 0, 0), (5, 0, 0, 0)]);
    for minute in [4, 5] {
        assert!(feed_from(&mut windows, true, 0, at(minute * MINUTE + 9), Some(30_000)));
    }
    assert_eq!(passed(&mut windows, 8 * MINUTE), [(6, 0, 0, 0), (4, 1, 0, 1), (5, 1, 0, 1)]);
    assert!(!feed_from(&mut windows, true, 0, at(MINUTE + 9), Some(1)), "{}", windows.late);
    assert_eq!(windows.late, 1);
}

#[test]
fn series_are_bounded_and_the_rest_is_counted() {
    let options = LatencyOptions { series_max: 0, ..LatencyOptions::default() };
    let mut windows = Windows::new(options);
    feed(&mut windows, 5, Some(10));
    assert_eq!((windows.refused, passed(&mut windows, 100).len()), (1, 0));
}
