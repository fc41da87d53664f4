//! Round trips as few lines: runs of minutes that stand out, and runs without an answer.
//!
//! Usual is the baseline of that hour of the week where there is one, else the median of the minutes
//! around. A minute stands out by its median or its 95th percentile, above or below, by more than
//! four median deviations and more than a few milliseconds; or by what was lost.

use schemas::time::Timestamp;

use super::Event;

/// Least difference that is told, microseconds.
const SHIFT_MIN_US: f64 = 5_000.0;
/// Median absolute deviations that are noise.
const DEVIATIONS: f64 = 4.0;
/// Least share of lost probes, over the usual, that is told; and their least number.
const LOSS_MIN: f64 = 0.05;
const LOST_MIN: f64 = 3.0;
/// Minutes further apart are different runs, seconds.
const GAP_SECS: i64 = 180;

/// One minute of one series.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Minute {
    pub(super) start: Timestamp,
    pub(super) secs: i64,
    pub(super) samples: f64,
    pub(super) lost: f64,
    pub(super) p50_us: Option<f64>,
    pub(super) p95_us: Option<f64>,
    pub(super) baseline_p50_us: Option<f64>,
    pub(super) baseline_p95_us: Option<f64>,
}

impl Minute {
    fn loss(&self) -> f64 {
        let all = self.samples + self.lost;
        if all > 0.0 { self.lost / all } else { 0.0 }
    }
}

/// What a series is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Series {
    pub(super) connection: String,
    pub(super) prefix: String,
    pub(super) source: String,
}

/// A figure's usual value and how far it strays.
#[derive(Clone, Copy, Debug)]
struct Usual {
    value: f64,
    deviation: f64,
}

impl Usual {
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let values: Vec<f64> = values.collect();
        let value = median(values.clone())?;
        let deviation = median(values.iter().map(|v| (v - value).abs()).collect())?;
        Some(Self { value, deviation })
    }

    fn stands_out(self, value: f64) -> bool {
        (value - self.value).abs() > SHIFT_MIN_US.max(DEVIATIONS * self.deviation)
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Silent,
    Slower,
    Faster,
    Lossy,
}

/// Lines for the minutes of one series, in their order.
pub(super) fn lines(series: &Series, minutes: &[Minute]) -> Vec<Event> {
    let around = Around::of(minutes);
    let mut runs: Vec<(Kind, Vec<&Minute>)> = Vec::new();
    for minute in minutes {
        let Some(kind) = around.judge(minute) else { continue };
        match runs.last_mut() {
            Some((of, run))
                if *of == kind
                    && run.last().is_some_and(|last| {
                        minute.start.secs_since(last.start) < last.secs + GAP_SECS
                    }) =>
            {
                run.push(minute);
            }
            _ => runs.push((kind, vec![minute])),
        }
    }
    runs.iter().filter_map(|(kind, run)| around.event(series, *kind, run)).collect()
}

/// What is usual around.
struct Around {
    p50: Option<Usual>,
    p95: Option<Usual>,
    loss: f64,
}

impl Around {
    fn of(minutes: &[Minute]) -> Self {
        Self {
            p50: Usual::of(minutes.iter().filter_map(|minute| minute.p50_us)),
            p95: Usual::of(minutes.iter().filter_map(|minute| minute.p95_us)),
            loss: median(minutes.iter().map(Minute::loss).collect()).unwrap_or_default(),
        }
    }

    /// The usual median and 95th percentile of a minute.
    fn usual(&self, minute: &Minute) -> [Option<Usual>; 2] {
        let over = |usual: Option<Usual>, baseline: Option<f64>| {
            let deviation = usual.map_or(0.0, |usual| usual.deviation);
            baseline.map(|value| Usual { value, deviation }).or(usual)
        };
        [over(self.p50, minute.baseline_p50_us), over(self.p95, minute.baseline_p95_us)]
    }

    fn judge(&self, minute: &Minute) -> Option<Kind> {
        if minute.samples == 0.0 {
            return Some(Kind::Silent);
        }
        let usual = self.usual(minute);
        let out =
            usual.into_iter().zip([minute.p50_us, minute.p95_us]).find_map(|(usual, value)| {
                let (usual, value) = (usual?, value?);
                usual.stands_out(value).then_some(value > usual.value)
            });
        let is_lossy = minute.lost >= LOST_MIN && minute.loss() > self.loss + LOSS_MIN;
        match out {
            Some(true) => Some(Kind::Slower),
            Some(false) => Some(Kind::Faster),
            None => is_lossy.then_some(Kind::Lossy),
        }
    }

    fn event(&self, series: &Series, kind: Kind, run: &[&Minute]) -> Option<Event> {
        let (first, last) = (run.first()?, run.last()?);
        let until = last.start.plus_secs(last.secs);
        let minutes = (until.secs_since(first.start) / 60).max(1);
        let lost: f64 = run.iter().map(|minute| minute.lost).sum();
        let text = if kind == Kind::Silent {
            format!("no answer for {minutes} min, {lost:.0} probes lost")
        } else {
            let worst = |figure: fn(&Minute) -> Option<f64>| {
                let values = run.iter().filter_map(|minute| figure(minute));
                if kind == Kind::Faster { values.reduce(f64::min) } else { values.reduce(f64::max) }
            };
            let [p50, p95] = self.usual(first);
            let figure = |usual: Option<Usual>, worst: Option<f64>| match (usual, worst) {
                (Some(usual), Some(worst)) => {
                    format!("usual {:.1} ms, now {:.1}", usual.value / 1e3, worst / 1e3)
                }
                _ => "not measured".to_owned(),
            };
            let word = match kind {
                Kind::Faster => "faster",
                Kind::Lossy => "lossy",
                _ => "slower",
            };
            let samples: f64 = run.iter().map(|minute| minute.samples).sum();
            format!(
                "{word} for {minutes} min: p95 {}; median {}; loss usual {:.1} %, now {:.1} %",
                figure(p95, worst(|minute| minute.p95_us)),
                figure(p50, worst(|minute| minute.p50_us)),
                100.0 * self.loss,
                100.0 * lost / (lost + samples).max(1.0),
            )
        };
        Some(Event {
            time: first.start,
            until,
            what: if kind == Kind::Silent { "silence" } else { "latency" },
            connection: series.connection.clone(),
            prefix: series.prefix.clone(),
            count: run.len() as u64,
            text: format!("{text} ({})", series.source),
            finding_id: String::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series() -> Series {
        let [connection, prefix, source] =
            ["contoso", "203.0.113.0/24", "probe"].map(str::to_owned);
        Series { connection, prefix, source }
    }

    fn minute(index: i64, p50_ms: f64, p95_ms: f64, lost: f64) -> Minute {
        Minute {
            start: Timestamp::from_secs(index * 60),
            secs: 60,
            samples: 100.0 - lost,
            lost,
            p50_us: (lost < 100.0).then_some(p50_ms * 1e3),
            p95_us: (lost < 100.0).then_some(p95_ms * 1e3),
            ..Minute::default()
        }
    }

    fn hour(disturbed: impl Fn(i64) -> Option<Minute>) -> Vec<Minute> {
        let noise = |index: i64| (index % 3) as f64 / 10.0;
        (0..60)
            .map(|i| disturbed(i).unwrap_or_else(|| minute(i, 6.4 + noise(i), 9.0 + noise(i), 0.0)))
            .collect()
    }

    /// A quiet hour says nothing; nine minutes of a slow tail are one line, though the median stays.
    #[test]
    fn minutes_that_stand_out_are_one_line_with_what_is_usual() {
        assert_eq!(lines(&series(), &hour(|_| None)), []);
        let slow = hour(|i| (8..17).contains(&i).then(|| minute(i, 6.6, 150.0 + i as f64, 20.0)));
        let told = lines(&series(), &slow);
        let [event] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!((event.time.secs(), event.until.secs(), event.what), (480, 1_020, "latency"));
        assert_eq!(
            event.text,
            "slower for 9 min: p95 usual 9.1 ms, now 166.0; median usual 6.5 ms, now 6.6; \
             loss usual 0.0 %, now 20.0 % (probe)"
        );
    }

    #[test]
    fn silence_loss_and_the_other_way_round_have_their_own_words() {
        let odd = hour(|i| match i {
            5..7 => Some(minute(i, 0.0, 0.0, 100.0)),
            20 => Some(minute(i, 6.4, 9.0, 30.0)),
            40..43 => Some(minute(i, 0.4, 1.0, 0.0)),
            _ => None,
        });
        let told = lines(&series(), &odd);
        let starts: Vec<&str> =
            told.iter().filter_map(|event| event.text.split([':', ',']).next()).collect();
        assert_eq!(starts, ["no answer for 2 min", "lossy for 1 min", "faster for 3 min"]);
        assert_eq!(told.first().map(|event| event.what), Some("silence"));
    }

    #[test]
    fn a_baseline_tells_what_the_minutes_around_cannot() {
        let with = |p50: f64| {
            let mut minutes = hour(|i| Some(minute(i, 60.0, 80.0, 0.0)));
            minutes.iter_mut().for_each(|m| m.baseline_p50_us = Some(p50));
            lines(&series(), &minutes).len()
        };
        assert_eq!((with(6_000.0), with(60_000.0)), (1, 0));
    }
}
