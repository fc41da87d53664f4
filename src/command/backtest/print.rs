//! The figures of a backtest as text, JSON or CSV.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};

use super::benign::Benign;
use super::incident::Incident;
use super::{Form, Outcome};
use crate::backtest::totals::{Alarms, Share, Totals};
use crate::command::sql::{Format, print_batch};

/// Prints them.
///
/// # Errors
/// What stdout says.
pub(super) fn print(outcome: &Outcome, form: Form) -> anyhow::Result<()> {
    let text = match form {
        Form::Table => table(outcome),
        Form::Json => {
            let incidents: Vec<_> = outcome.incidents.iter().map(json).collect();
            let all = serde_json::json!({
                "incidents": incidents, "totals": outcome.totals, "benign": outcome.benign,
            });
            format!("{all:#}\n")
        }
        Form::Csv => return print_batch(&batch(&outcome.incidents)?, Format::Csv),
    };
    Ok(std::io::Write::write_all(&mut std::io::stdout().lock(), text.as_bytes())?)
}

fn json(incident: &Incident) -> serde_json::Value {
    let Incident { label, verdict, told, .. } = incident;
    let time = |time: Option<schemas::time::Timestamp>| time.map(|time| time.to_string());
    serde_json::json!({
        "event": label.event,
        "category": label.category.as_str(),
        "detail": label.detail,
        "bad_prefix": label.bad_prefix.to_string(),
        "culprits": label.culprits,
        "first_bad_at": time(told.first_bad_at),
        "decidable_at": time(told.decidable_at),
        "ended_at": time(told.ended_at),
        "verdict": verdict,
    })
}

fn list<T: ToString>(values: impl IntoIterator<Item = T>) -> String {
    values.into_iter().map(|value| value.to_string()).collect::<Vec<_>>().join(" ")
}

fn right(is_right: bool) -> &'static str {
    if is_right { "right" } else { "WRONG" }
}

/// Name and cells of an incident, as they stand in both lists.
fn cells(incident: &Incident) -> [(&'static str, String); 13] {
    let Incident { label, verdict, .. } = incident;
    let secs = |secs: Option<i64>| secs.map(|secs| secs.to_string()).unwrap_or_default();
    let believers = verdict.believers_at_detection;
    [
        ("event", label.event.clone()),
        ("category", label.category.as_str().to_owned()),
        ("detail", label.detail.clone()),
        ("found", if verdict.found { "found" } else { "MISSED" }.to_owned()),
        ("culprit", right(verdict.culprit_right).to_owned()),
        ("named", list(&verdict.named)),
        ("wanted", list(&label.culprits)),
        ("rule", right(verdict.rule_right).to_owned()),
        ("rules", list(&verdict.rules)),
        ("framed", list(&verdict.framed)),
        ("detected_secs", secs(verdict.detected_secs)),
        ("believers", believers.map(|count| count.to_string()).unwrap_or_default()),
        ("closed_secs", secs(verdict.closed_secs)),
    ]
}

fn batch(incidents: &[Incident]) -> anyhow::Result<RecordBatch> {
    let rows: Vec<_> = incidents.iter().map(cells).collect();
    let names = rows.first().map(|row| row.clone().map(|(name, _)| name)).unwrap_or_default();
    let columns = names.into_iter().zip(0..).map(|(name, column)| {
        let cell = |row: &[(&str, String); 13]| row.get(column).map(|(_, text)| text.clone());
        let texts: ArrayRef = Arc::new(rows.iter().map(cell).collect::<StringArray>());
        (name, texts, true)
    });
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

fn table(outcome: &Outcome) -> String {
    let mut text = String::new();
    if let Some(totals) = &outcome.totals {
        incidents(&outcome.incidents, &mut text);
        // Writing into a text cannot fail.
        let _ = self::totals(totals, &mut text);
    }
    if let Some(benign) = &outcome.benign {
        if !text.is_empty() {
            text.push('\n');
        }
        let _ = self::benign(benign, &mut text);
    }
    text
}

/// The incidents in columns as wide as what stands in them.
fn incidents(incidents: &[Incident], text: &mut String) {
    let rows: Vec<[(&str, String); 13]> = incidents.iter().map(cells).collect();
    let shown = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|(name, cell)| name.len().max(cell.len())).max().unwrap_or_default()
    };
    let widths: Vec<usize> = shown.iter().map(|column| width(*column)).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let cells = cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    if let Some(first) = rows.first() {
        text.push_str(&line(&mut first.iter().map(|(name, _)| *name)));
    }
    for row in &rows {
        text.push_str(&line(&mut row.iter().map(|(_, cell)| cell.as_str())));
    }
}

fn share(share: Share) -> String {
    let percent = 100.0 * share.count as f64 / share.of.max(1) as f64;
    format!("{} of {} ({percent:.0} %)", share.count, share.of)
}

fn totals(totals: &Totals, text: &mut String) -> std::fmt::Result {
    let secs = |secs: Option<i64>| secs.map_or("-".to_owned(), |secs| format!("{secs} s"));
    writeln!(text)?;
    let lines = [
        ("found (recall)", share(totals.recall)),
        ("culprit right", share(totals.culprit)),
        ("rule right", share(totals.rule)),
        ("others named at high", share(totals.framed)),
        ("findings right (precision)", share(totals.precision)),
        (
            "time to detect",
            format!(
                "median {}, longest {}",
                secs(totals.detected_secs_median),
                secs(totals.detected_secs_max)
            ),
        ),
        ("by the third peer AS", share(totals.by_third_believer)),
        (
            "closed, of those that end",
            format!("{}, at most {} late", share(totals.closed), secs(totals.closed_secs_max)),
        ),
    ];
    for (name, value) in lines {
        writeln!(text, "{name:<28}{value}")?;
    }
    let alarms: Vec<String> = totals
        .false_alarms
        .iter()
        .map(|(confidence, count)| format!("{count} {confidence}"))
        .collect();
    let alarms = if alarms.is_empty() { "none".to_owned() } else { alarms.join(", ") };
    let exposure = totals.exposure_prefix_days;
    writeln!(text, "{:<28}{alarms}, over {exposure:.2} prefix-days", "about something else")
}

fn benign(benign: &Benign, text: &mut String) -> std::fmt::Result {
    writeln!(
        text,
        "benign: {} prefixes for {:.2} hours, {:.1} prefix-days; every alarm is false",
        benign.prefixes,
        benign.days * 24.0,
        benign.exposure_prefix_days
    )?;
    if !benign.has_dump {
        writeln!(
            text,
            "without a table dump only origins are judged while it is learnt what is usual"
        )?;
    }
    writeln!(
        text,
        "{:<28}{:>8}{:>28}{:>14}",
        "", "alarms", "per 1,000 prefixes and day", "95 % bound"
    )?;
    let groups = [
        ("confidence", &benign.by_confidence),
        ("severity", &benign.by_severity),
        ("rule", &benign.by_rule),
    ];
    for (group, alarms) in groups {
        for (name, Alarms { alarms, per_1000_prefix_days, per_1000_prefix_days_bound }) in alarms {
            writeln!(
                text,
                "{:<28}{alarms:>8}{per_1000_prefix_days:>28.2}{per_1000_prefix_days_bound:>14.2}",
                format!("{group} {name}")
            )?;
        }
    }
    Ok(())
}
