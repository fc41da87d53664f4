//! What a finding cost: latency before it and while it lasted.

use analytics::sql::Lake;

use super::table::{Answer, quoted};

/// Percentiles of the ten minutes before and of the time it lasted, in one sentence.
///
/// `of` is the connection and its registered prefix; `opened` and `closed` are times as SQL prints
/// them, `closed` empty while it is open.
///
/// # Errors
/// A lake that cannot be read.
pub(super) async fn cost(
    lake: &Lake,
    of: [&str; 2],
    opened: &str,
    closed: &str,
) -> anyhow::Result<String> {
    let until =
        if closed.is_empty() { "timestamp '2100-01-01'".to_owned() } else { quoted(closed) };
    let of = format!(
        "from latency_final where connection = {} and prefix = {}",
        quoted(of[0]),
        quoted(of[1])
    );
    let figures = "hdr_quantile(hdr_merge(hist_bucket, hist_count), 0.5) / 1000.0, \
                   hdr_quantile(hdr_merge(hist_bucket, hist_count), 0.95) / 1000.0, \
                   100.0 * sum(lost) / (sum(samples) + sum(lost))";
    let start = quoted(opened);
    let before = format!(
        "select {figures} {of} and window_start >= cast({start} as timestamp) - interval '10 minutes' \
         and window_start + interval '1 minute' <= cast({start} as timestamp)"
    );
    let during = format!(
        "select {figures} {of} and window_start >= cast({start} as timestamp) \
         and window_start < cast({until} as timestamp)"
    );
    let ended = if closed.is_empty() {
        "still open".to_owned()
    } else {
        let clock = if opened.get(..10) == closed.get(..10) { closed.get(11..19) } else { None };
        format!("over at {}", clock.unwrap_or(closed))
    };
    let (before, during) = (Answer::of(lake, &before).await?, Answer::of(lake, &during).await?);
    let (Some(before), Some(during)) = (before.first(), during.first()) else { return Ok(ended) };
    let change = |column: usize, unit: &str| match (before.number(column), during.number(column)) {
        (Some(a), Some(b)) => format!("{a:.1} to {b:.1}{unit}"),
        _ => "not measured".to_owned(),
    };
    Ok(format!(
        "{ended}; it cost: median {}, p95 {}, loss {}",
        change(0, " ms"),
        change(1, " ms"),
        change(2, " %")
    ))
}
