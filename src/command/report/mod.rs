//! `peerscope report`: a month of one connection as Markdown and HTML, with plots.
//!
//! The Markdown is written once; the HTML is that Markdown with the plots in its text, so that one
//! file can be sent by mail.

mod html;
mod page;
mod plot;

use std::fs;
use std::path::{Path, PathBuf};

use analytics::sql::Lake;
use anyhow::Context as _;

use super::span::{self, Span};
use super::table::{open, quoted};
use super::{Ended, Global, runtime};
use month::Month;

/// A month of one connection as Markdown and HTML, with plots
#[derive(Debug, clap::Args)]
pub struct Report {
    /// Logical name of the connection
    #[arg(value_name = "CONNECTION")]
    connection: String,

    /// Which month, such as 2026-03, else that of its newest window
    #[arg(long, value_name = "MONTH")]
    month: Option<Month>,

    /// Folder of the report
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
}

/// A text to be written beside others.
struct File {
    name: String,
    text: String,
}

impl Report {
    /// Runs the command.
    ///
    /// # Errors
    /// A lake that cannot be read, a connection that it does not know, a month without a window, a
    /// folder that cannot be written.
    pub fn run(self, global: &Global) -> anyhow::Result<Ended> {
        let root = global.lake()?;
        let files = runtime()?.block_on(async {
            let lake = open(&root).await?;
            span::known(&lake, &self.connection).await?;
            self.files(&lake).await
        })?;
        for path in write(&self.out, &files)? {
            std::io::Write::write_fmt(
                &mut std::io::stdout().lock(),
                format_args!("{}\n", path.display()),
            )?;
        }
        Ok(Ended::Well)
    }

    async fn files(&self, lake: &Lake) -> anyhow::Result<Vec<File>> {
        let of = format!("connection = {}", quoted(&self.connection));
        let Some(known) = Span::of_latency(lake, &of).await? else {
            anyhow::bail!("no round trip of {} is in this lake", self.connection);
        };
        let month = self.month.unwrap_or_else(|| Month::containing(known.to.plus_secs(-1)));
        let span = month.span();
        let of = format!("{of} and {}", span.filter("window_start"));
        let Some(data) = Span::of_latency(lake, &of).await? else {
            anyhow::bail!(
                "no round trip of {} is in {month}; this lake has some from {} to {}",
                self.connection,
                known.from,
                known.to
            );
        };
        let stem = format!("{}-{month}", file_name(&self.connection));
        let page = page::of(lake, &self.connection, month, data, &stem).await?;
        let title = format!("{} in {month}", self.connection);
        let html = html::page(&title, &page.markdown, &page.plots);
        let mut files = vec![
            File { name: format!("{stem}.md"), text: page.markdown },
            File { name: format!("{stem}.html"), text: html },
        ];
        files.extend(page.plots);
        Ok(files)
    }
}

/// A name that every file system takes.
fn file_name(name: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let name: String =
        name.chars().map(|letter| if plain(letter) { letter } else { '-' }).collect();
    name.trim_start_matches('.').to_owned()
}

fn write(folder: &Path, files: &[File]) -> anyhow::Result<Vec<PathBuf>> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let write = |file: &File| {
        let path = folder.join(&file.name);
        fs::write(&path, &file.text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    };
    files.iter().map(write).collect()
}

mod month {
    //! Months of the calendar, in UTC.

    use std::fmt;
    use std::str::FromStr;

    use schemas::time::Timestamp;

    use super::Span;

    /// A month, such as `2026-03`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) struct Month {
        year: u16,
        month: u8,
    }

    impl Month {
        /// The month that a time lies in.
        pub(super) fn containing(time: Timestamp) -> Self {
            time.day()
                .get(..7)
                .and_then(|text| text.parse().ok())
                .unwrap_or(Self { year: 1970, month: 1 })
        }

        /// From its first instant to that of the next month.
        pub(super) fn span(self) -> Span {
            let next = if self.month == 12 {
                Self { year: self.year + 1, month: 1 }
            } else {
                Self { month: self.month + 1, ..self }
            };
            Span { from: self.start(), to: next.start() }
        }

        fn start(self) -> Timestamp {
            format!("{self}-01T00:00:00Z").parse().unwrap_or(Timestamp::from_secs(0))
        }
    }

    impl fmt::Display for Month {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{:04}-{:02}", self.year, self.month)
        }
    }

    impl FromStr for Month {
        type Err = &'static str;

        fn from_str(text: &str) -> Result<Self, Self::Err> {
            let wrong = "a month is written like 2026-03";
            let (year, month) = text.split_once('-').ok_or(wrong)?;
            let (4, 2) = (year.len(), month.len()) else { return Err(wrong) };
            let (Ok(year @ 1970..=9998), Ok(month @ 1..=12)) = (year.parse(), month.parse()) else {
                return Err(wrong);
            };
            Ok(Self { year, month })
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_month_ends_where_the_next_begins() {
            let span = |text: &str| {
                let Span { from, to } = text.parse::<Month>().unwrap().span();
                (from.to_string(), to.secs_since(from) / 86_400)
            };
            assert_eq!(span("2026-12"), ("2026-12-01T00:00:00Z".to_owned(), 31));
            assert_eq!(span("2024-02"), ("2024-02-01T00:00:00Z".to_owned(), 29));
            for wrong in ["2026", "2026-13", "2026-00", "26-01", "2026-1", "1969-12", "x-y"] {
                assert!(wrong.parse::<Month>().is_err(), "{wrong}");
            }
        }
    }
}
