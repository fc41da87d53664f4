//! Plots of a report as SVG.

use plotters::prelude::*;
use schemas::time::Timestamp;

use crate::command::span::Span;

const SIZE: (u32, u32) = (960, 320);
const SIZE_OF_LOSS: (u32, u32) = (960, 140);
const FONT: &str = "sans-serif";
/// Points further apart are not joined, seconds.
const GAP_SECS: i64 = 3_600;

/// What a line shows of an hour.
type Value = fn(&Hour) -> Option<f64>;
/// Lines of a plot, the topmost last.
const LINES: [(&str, RGBColor, Value); 4] = [
    ("usual median", RGBColor(160, 165, 170), |hour| hour.usual),
    ("99th percentile", RGBColor(227, 98, 9), |hour| hour.p99),
    ("95th percentile", RGBColor(3, 102, 214), |hour| hour.p95),
    ("median", RGBColor(34, 134, 58), |hour| hour.p50),
];

/// An hour of one series; milliseconds, none without an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hour {
    pub(super) start: Timestamp,
    pub(super) p50: Option<f64>,
    pub(super) p95: Option<f64>,
    pub(super) p99: Option<f64>,
    pub(super) usual: Option<f64>,
    pub(super) loss_percent: Option<f64>,
}

/// What is marked in a plot.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks {
    /// Findings: from, to.
    pub(super) findings: Vec<(Timestamp, Timestamp)>,
    /// Hours in which a route changed.
    pub(super) routes: Vec<Timestamp>,
}

/// Days of the calendar along the axis, so that its labels are days of the month.
#[derive(Clone, Copy, Debug)]
pub(super) struct Days {
    start: Timestamp,
    from: f64,
    to: f64,
}

impl Days {
    /// The whole days of a month that hold data.
    pub(super) fn of(month: Span, data: Span) -> Self {
        let mut days = Self { start: month.from, from: 0.0, to: 0.0 };
        days.from = days.place(data.from).floor();
        days.to = days.place(data.to).ceil().max(days.from + 1.0);
        days
    }

    fn place(&self, time: Timestamp) -> f64 {
        1.0 + time.secs_since(self.start) as f64 / 86_400.0
    }

    fn label(&self, day: f64) -> String {
        if self.to - self.from > 2.0 {
            return format!("{day:.0}");
        }
        let minutes = (day.fract() * 1_440.0).round();
        format!("{}. {:02.0}:{:02.0}", day.floor(), (minutes / 60.0).floor(), minutes % 60.0)
    }
}

/// Percentiles hour by hour on a logarithmic scale; none where there is nothing to draw.
///
/// # Errors
/// What the plotting library says.
pub(super) fn latency(hours: &[Hour], marks: &Marks, days: Days) -> anyhow::Result<Option<String>> {
    let Some((low, high)) = ends(hours) else { return Ok(None) };
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .x_label_area_size(28)
            .y_label_area_size(64)
            .build_cartesian_2d(days.from..days.to, (low..high).log_scale())?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(RGBColor(225, 228, 232))
            .label_style((FONT, 12))
            .x_label_formatter(&|day| days.label(*day))
            .y_label_formatter(&|value| number(*value))
            .y_desc("round trip, ms")
            .draw()?;
        chart.draw_series(marks.findings.iter().map(|(from, to)| {
            let (from, to) = (days.place(*from).max(days.from), days.place(*to).min(days.to));
            Rectangle::new([(from, low), (to, high)], RGBColor(215, 58, 73).mix(0.18).filled())
        }))?;
        chart.draw_series(marks.routes.iter().map(|time| {
            let place = days.place(*time);
            PathElement::new(
                [(place, low), (place, low * (high / low).powf(0.05))],
                RGBColor(88, 96, 105),
            )
        }))?;
        for (name, color, value) in LINES {
            let pieces = pieces(hours, value, days);
            for (piece, points) in pieces.into_iter().enumerate() {
                let drawn = chart
                    .draw_series(LineSeries::new(points, color.stroke_width(2)).point_size(1))?;
                if piece == 0 {
                    drawn.label(name).legend(move |(x, y)| {
                        PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2))
                    });
                }
            }
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.85))
            .label_font((FONT, 12))
            .draw()?;
        area.present()?;
    }
    Ok(Some(svg))
}

/// Share of lost probes hour by hour; none where nothing was lost.
///
/// # Errors
/// What the plotting library says.
pub(super) fn loss(hours: &[Hour], days: Days) -> anyhow::Result<Option<String>> {
    let high = hours.iter().filter_map(|hour| hour.loss_percent).fold(0.0_f64, f64::max);
    if high <= 0.0 {
        return Ok(None);
    }
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE_OF_LOSS).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .x_label_area_size(28)
            .y_label_area_size(64)
            .build_cartesian_2d(days.from..days.to, 0.0..high * 1.1)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(RGBColor(225, 228, 232))
            .label_style((FONT, 12))
            .y_labels(4)
            .x_label_formatter(&|day| days.label(*day))
            .y_label_formatter(&|value| number(*value))
            .y_desc("lost, %")
            .draw()?;
        chart.draw_series(hours.iter().filter_map(|hour| {
            let (from, to) = (days.place(hour.start), days.place(hour.start.plus_secs(GAP_SECS)));
            let points = [(from, 0.0), (to, hour.loss_percent?)];
            Some(Rectangle::new(points, RGBColor(215, 58, 73).filled()))
        }))?;
        area.present()?;
    }
    Ok(Some(svg))
}

/// The ends of the scale; none where nothing was answered.
fn ends(hours: &[Hour]) -> Option<(f64, f64)> {
    let values = LINES.iter().flat_map(|(_, _, value)| hours.iter().filter_map(value));
    let (low, high) =
        values.fold((f64::MAX, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
    let low = (low * 0.8).max(0.001);
    (high > 0.0).then(|| (low, (high * 1.25).max(low * 2.0)))
}

/// The points of a line, cut where an hour is missing.
fn pieces(hours: &[Hour], value: Value, days: Days) -> Vec<Vec<(f64, f64)>> {
    let known: Vec<(Timestamp, f64)> =
        hours.iter().filter_map(|hour| Some((hour.start, value(hour)?))).collect();
    known
        .chunk_by(|a, b| b.0.secs_since(a.0) <= GAP_SECS)
        .map(|piece| piece.iter().map(|(time, value)| (days.place(*time), *value)).collect())
        .collect()
}

/// A number with as many digits as a label bears.
fn number(value: f64) -> String {
    if value >= 10.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}
