//! Lines of text over time: one character a step, and spans of time under them.

use schemas::time::Timestamp;

/// Levels of a line, lowest first.
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const WEEK_SECS: i64 = 604_800;
/// Steps that a person reads easily, seconds.
const STEPS_SECS: [i64; 13] =
    [60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400, WEEK_SECS];
/// Columns of a line at most.
const COLUMNS_MAX: i64 = 64;

/// The columns of a line: equal steps of time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    from: Timestamp,
    step_secs: i64,
    columns: usize,
}

impl Axis {
    /// The finest steps with which a span fits a line.
    pub(super) fn over(from: Timestamp, to: Timestamp) -> Self {
        let fits =
            |step: &&i64| to.secs_since(from.window_start(**step as u32)) <= *step * COLUMNS_MAX;
        let secs = to.secs_since(from);
        let weeks = (secs / (COLUMNS_MAX - 1) / WEEK_SECS + 1) * WEEK_SECS;
        let step_secs = STEPS_SECS.iter().find(fits).map_or(weeks, |step| *step);
        let from = from.window_start(u32::try_from(step_secs).unwrap_or(u32::MAX));
        let columns = to.secs_since(from).max(1).div_euclid(step_secs.max(1));
        let rest = i64::from(to.secs_since(from) % step_secs.max(1) != 0);
        Self { from, step_secs, columns: usize::try_from(columns + rest).unwrap_or(1).max(1) }
    }

    /// Length of a step.
    pub(super) const fn step_secs(&self) -> i64 {
        self.step_secs
    }

    /// Start of the first column.
    pub(super) const fn from(&self) -> Timestamp {
        self.from
    }

    /// The column of a time, the nearest one for a time outside.
    fn column(&self, time: Timestamp) -> usize {
        let column = time.secs_since(self.from).div_euclid(self.step_secs.max(1));
        usize::try_from(column).unwrap_or(0).min(self.columns - 1)
    }

    /// One character a column; blank where there is no point.
    pub(super) fn line(&self, points: impl Iterator<Item = (Timestamp, char)>) -> String {
        let mut line = vec![' '; self.columns];
        for (time, character) in points {
            if let Some(place) = line.get_mut(self.column(time)) {
                *place = character;
            }
        }
        line.into_iter().collect()
    }

    /// `├──┤ text` under the columns of a span; an open one reaches the end.
    pub(super) fn span(&self, from: Timestamp, to: Option<Timestamp>, text: &str) -> String {
        let start = self.column(from);
        let end = to.map_or(self.columns - 1, |to| self.column(to)).max(start);
        format!("{:start$}├{}┤ {text}", "", "─".repeat((end - start).saturating_sub(1)))
    }

    /// The times at both ends of a line, as long as the line.
    pub(super) fn ruler(&self) -> String {
        let end = self.from.plus_secs(self.step_secs * self.columns as i64);
        let long = end.secs_since(self.from) > 86_400;
        let label = |time: Timestamp| {
            let text = time.to_string();
            let range = if long { 5..10 } else { 11..16 };
            text.get(range).unwrap_or_default().to_owned()
        };
        let (from, to) = (label(self.from), label(end));
        format!("{from}{to:>width$}", width = self.columns.saturating_sub(from.len()))
    }
}

/// A logarithmic scale of [`LEVELS`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    /// From the lowest level at `low` to the highest at `high`, both above 0.
    pub(super) const fn new(low: f64, high: f64) -> Self {
        Self { low, high }
    }

    /// The ends of values, at least a factor of two apart, so that noise stays flat.
    pub(super) fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let values = values.filter(|value| *value > 0.0);
        let (low, high) = values
            .fold((f64::MAX, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
        (high > 0.0).then(|| Self { low, high: high.max(2.0 * low) })
    }

    /// Its ends.
    pub(super) const fn ends(&self) -> (f64, f64) {
        (self.low, self.high)
    }

    /// The level of a value.
    pub(super) fn level(&self, value: f64) -> char {
        let share = (value / self.low).log10() / (self.high / self.low).log10();
        let level = (share * LEVELS.len() as f64).max(0.0) as usize;
        LEVELS.get(level.min(LEVELS.len() - 1)).copied().unwrap_or(' ')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn the_finest_step_that_fits_is_taken() {
        let cases = [
            ("2026-03-04T10:00:00Z", "2026-03-04T11:00:00Z", 60, 60),
            ("2026-03-04T10:00:00Z", "2026-03-05T10:00:00Z", 1_800, 48),
            ("2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z", 43_200, 62),
            ("2026-03-04T10:00:00Z", "2026-03-04T10:00:00Z", 60, 1),
            ("2016-03-04T10:00:00Z", "2026-03-04T10:00:00Z", 5_443_200, 59),
        ];
        for (from, to, step_secs, columns) in cases {
            let axis = Axis::over(at(from), at(to));
            assert_eq!((axis.step_secs(), axis.columns), (step_secs, columns), "{from} {to}");
            assert!(axis.from() <= at(from));
        }
    }

    #[test]
    fn points_and_spans_stand_at_their_columns() {
        let axis = Axis::over(at("2026-03-04T10:00:00Z"), at("2026-03-04T10:08:00Z"));
        let points = [(at("2026-03-04T10:01:30Z"), 'a'), (at("2026-03-04T10:07:59Z"), 'b')];
        assert_eq!(axis.line(points.into_iter()), " a     b");
        let (from, to) = (at("2026-03-04T10:02:00Z"), at("2026-03-04T10:05:00Z"));
        assert_eq!(axis.span(from, Some(to), "leak"), "  ├──┤ leak");
        assert_eq!(axis.span(from, None, "leak"), "  ├────┤ leak");
        let axis = Axis::over(at("2026-03-04T10:00:00Z"), at("2026-03-04T10:20:00Z"));
        assert_eq!(axis.ruler(), "10:00          10:20");
    }

    #[test]
    fn a_scale_is_logarithmic_and_clamped() {
        let scale = Scale::new(5.0, 500.0);
        assert_eq!(
            [1.0, 5.0, 50.0, 500.0, 9_000.0].map(|v| scale.level(v)),
            ['▁', '▁', '▅', '█', '█']
        );
        assert!(Scale::of([0.0].into_iter()).is_none());
        assert_eq!(Scale::of([10.0, 11.0].into_iter()).map(|s| s.ends()), Some((10.0, 20.0)));
    }
}
