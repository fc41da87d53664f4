//! `peerscope why`: everything that happened around a moment, on one timeline.
//!
//! - [`subject`]: what is asked about: a connection or a prefix, as SQL.
//! - [`read`]: the lake's tables as events.
//! - [`routes`], [`latency`], [`registry`]: many rows to few lines, without IO.

mod latency;
mod read;
mod registry;
mod routes;
mod subject;

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array};
use schemas::time::Timestamp;

use super::span::{Length, Span};
use super::sql::{Format, print_batch};
use super::table::open;
use super::{Ended, Global, runtime};
use subject::Subject;

/// Everything that happened around a moment, on one timeline
#[derive(Debug, clap::Args)]
pub struct Why {
    /// Name of a connection, or a prefix such as 192.0.2.0/24
    #[arg(value_name = "CONNECTION|PREFIX")]
    subject: String,

    /// The moment, such as 2026-03-04T10:00:00Z, else that of its newest finding, route change or window
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,

    /// How long before and after the moment, such as 90s, 15m, 2h or 1d
    #[arg(long, value_name = "LENGTH", default_value = "15m")]
    since: Length,

    /// Lines of route changes at most; closer ones are told together
    #[arg(long, value_name = "COUNT", default_value_t = 60)]
    lines_max: usize,

    /// Form of the timeline
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// One line of the timeline.
#[derive(Clone, Debug, PartialEq)]
struct Event {
    time: Timestamp,
    /// The same as `time` for what takes no time.
    until: Timestamp,
    what: &'static str,
    connection: String,
    prefix: String,
    /// Rows told in this line.
    count: u64,
    text: String,
    finding_id: String,
}

impl Event {
    /// Something of one moment, the rest empty.
    fn at(time: Timestamp, what: &'static str) -> Self {
        Self {
            time,
            until: time,
            what,
            connection: String::new(),
            prefix: String::new(),
            count: 1,
            text: String::new(),
            finding_id: String::new(),
        }
    }
}

impl Why {
    /// Runs the command.
    ///
    /// # Errors
    /// A lake that cannot be read, a connection that it does not know.
    pub fn run(self, global: &Global) -> anyhow::Result<Ended> {
        let root = global.lake()?;
        runtime()?.block_on(async {
            let lake = open(&root).await?;
            let subject = Subject::find(&lake, &self.subject).await?;
            let Some(at) = subject.moment(&lake, self.at).await? else {
                anyhow::bail!("nothing about {} is in this lake", self.subject);
            };
            let span = Span {
                from: at.plus_secs(-self.since.secs()),
                // The end is not part of the span, the moment is.
                to: Timestamp(at.plus_secs(self.since.secs()).micros().saturating_add(1)),
            };
            let timeline = read::timeline(&lake, &subject, span, self.lines_max).await?;
            self.print(&subject, span, at, &timeline)?;
            timeline.notes.iter().for_each(|note| eprintln!("peerscope: {note}"));
            Ok(Ended::Well)
        })
    }

    fn print(
        &self,
        subject: &Subject,
        span: Span,
        at: Timestamp,
        timeline: &read::Timeline,
    ) -> anyhow::Result<()> {
        if self.format != Format::Table {
            return print_batch(&batch(&timeline.events)?, self.format);
        }
        let title = format!(
            "{}: {} before and after {at}\n",
            subject.title,
            super::span::duration(self.since.secs())
        );
        let text = format!("{title}\n{}", lines(&timeline.events, span));
        Ok(std::io::Write::write_all(&mut std::io::stdout().lock(), text.as_bytes())?)
    }
}

/// The timeline for a person.
fn lines(events: &[Event], span: Span) -> String {
    if events.is_empty() {
        return "nothing happened to it in this time\n".to_owned();
    }
    let is_long = span.to.secs_since(span.from) >= 86_400;
    let clock = |time: Timestamp| {
        let day = if is_long { time.day() + " " } else { String::new() };
        day + &time.time_of_day()
    };
    let of = |event: &Event| match event.prefix.as_str() {
        "" => event.connection.clone(),
        prefix => prefix.to_owned(),
    };
    let width = events.iter().map(|event| of(event).len()).max().unwrap_or_default();
    let mut text = String::new();
    for event in events {
        let secs = event.until.secs_since(event.time);
        let over = match event.what {
            "route" | "session" if secs > 0 => {
                format!(", until {}", clock(event.until))
            }
            _ => String::new(),
        };
        let id = event.finding_id.get(..8).map(|id| format!(" [{id}]")).unwrap_or_default();
        let (time, what, of) = (clock(event.time), event.what, of(event));
        // Writing into a text cannot fail.
        let _ = writeln!(text, "{time}  {what:<8} {of:<width$}  {}{over}{id}", event.text);
    }
    text
}

fn batch(events: &[Event]) -> anyhow::Result<RecordBatch> {
    let times = |of: fn(&Event) -> Timestamp| -> ArrayRef {
        let times: Vec<i64> = events.iter().map(|event| of(event).micros()).collect();
        Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"))
    };
    let texts = |of: fn(&Event) -> &str| -> ArrayRef {
        let texts = events.iter().map(|event| Some(of(event)).filter(|text| !text.is_empty()));
        Arc::new(texts.collect::<StringArray>())
    };
    let counts: ArrayRef =
        Arc::new(events.iter().map(|event| Some(event.count)).collect::<UInt64Array>());
    Ok(RecordBatch::try_from_iter_with_nullable([
        ("time", times(|event| event.time), false),
        ("until", times(|event| event.until), false),
        ("what", texts(|event| event.what), false),
        ("connection", texts(|event| &event.connection), true),
        ("prefix", texts(|event| &event.prefix), true),
        ("count", counts, false),
        ("text", texts(|event| &event.text), true),
        ("finding_id", texts(|event| &event.finding_id), true),
    ])?)
}
