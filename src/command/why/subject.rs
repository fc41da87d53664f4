//! What is asked about: a connection or a prefix, and the rows of each table that concern it.

use analytics::sql::Lake;
use schemas::bgp::Prefix;
use schemas::time::Timestamp;

use crate::command::span::{known, micros};
use crate::command::table::{Answer, quoted};

/// Prefixes of a connection that are looked for by their addresses at most; beyond it only rows that
/// name the connection are.
const PREFIXES_MAX: usize = 64;

/// A connection with its prefixes, or a prefix with those that register it.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    pub(super) title: String,
    /// Connections that it concerns.
    pub(super) connections: Vec<String>,
    /// What may cover or lie in what is asked about.
    prefixes: Vec<Prefix>,
    is_prefix: bool,
}

impl Subject {
    /// Reads a prefix or the name of a connection.
    ///
    /// # Errors
    /// A connection that the lake does not know.
    pub(super) async fn find(lake: &Lake, text: &str) -> anyhow::Result<Self> {
        if let Ok(prefix) = text.parse::<Prefix>() {
            let sql = format!(
                "select distinct connection from connections where prefix is not null and \
                 (prefix_covers(prefix, {0}) or prefix_covers({0}, prefix)) order by connection",
                quoted(&prefix.to_string())
            );
            let owners = Answer::of(lake, &sql).await?;
            let connections: Vec<String> =
                owners.iter().map(|row| row.text(0).to_owned()).collect();
            let of = match connections.as_slice() {
                [] => ", which nobody registers".to_owned(),
                some => format!(" of {}", some.join(", ")),
            };
            let title = format!("{prefix}{of}");
            return Ok(Self { title, connections, prefixes: vec![prefix], is_prefix: true });
        }
        known(lake, text).await?;
        let sql = format!(
            "select distinct prefix from connections where connection = {} and prefix is not null",
            quoted(text)
        );
        let registered = Answer::of(lake, &sql).await?;
        let mut prefixes: Vec<Prefix> =
            registered.iter().filter_map(|row| row.text(0).parse().ok()).collect();
        prefixes.sort();
        Ok(Self {
            title: text.to_owned(),
            connections: vec![text.to_owned()],
            prefixes,
            is_prefix: false,
        })
    }

    /// Rows that name one of its connections.
    pub(super) fn named(&self) -> String {
        if self.connections.is_empty() {
            return "false".to_owned();
        }
        let names: Vec<String> = self.connections.iter().map(|name| quoted(name)).collect();
        format!("connection in ({})", names.join(", "))
    }

    /// Rows whose prefix covers one of its prefixes or lies in one.
    pub(super) fn touching(&self) -> String {
        if self.prefixes.is_empty() {
            return "false".to_owned();
        }
        let touches: Vec<String> = self
            .prefixes
            .iter()
            .map(|prefix| {
                let prefix = quoted(&prefix.to_string());
                format!("prefix_covers(prefix, {prefix}) or prefix_covers({prefix}, prefix)")
            })
            .collect();
        format!("({})", touches.join(" or "))
    }

    /// Routes of it: those that touch its prefixes and are not another connection's.
    pub(super) fn routes(&self) -> String {
        if self.prefixes.len() > PREFIXES_MAX {
            return self.named();
        }
        let (touching, named) = (self.touching(), self.named());
        if self.connections.is_empty() {
            touching
        } else {
            format!("{touching} and (connection is null or {named})")
        }
    }

    /// Windows of `latency`.
    pub(super) fn windows(&self) -> String {
        if self.is_prefix { self.touching() } else { self.named() }
    }

    /// Findings about it.
    pub(super) fn findings(&self) -> String {
        if self.is_prefix { self.routes() } else { self.named() }
    }

    /// The moment that is asked for, else that of its newest finding, else of the newest route change or
    /// session, else its last window.
    ///
    /// # Errors
    /// A lake that cannot be read.
    pub(super) async fn moment(
        &self,
        lake: &Lake,
        at: Option<Timestamp>,
    ) -> anyhow::Result<Option<Timestamp>> {
        if at.is_some() {
            return Ok(at);
        }
        let (routes, windows) = (self.routes(), self.windows());
        let happened = format!(
            "select {} from (select max(event_time) as t from route_updates where not is_snapshot and {routes} \
             union all select max(time) as t from sessions where {})",
            micros("max(t)"),
            self.named()
        );
        let newest = |table: &str, time: &str, of: &str| {
            format!("select {} from {table} where {of}", micros(&format!("max({time})")))
        };
        let found = newest("findings", "time", &self.findings());
        let measured = newest("latency", "window_start", &windows);
        let dumped = newest("route_updates", "event_time", &routes);
        for sql in [found, happened, measured, dumped] {
            let answer = Answer::of(lake, &sql).await?;
            if let Some(time) = answer.first().and_then(|row| row.time(0)) {
                return Ok(Some(time));
            }
        }
        Ok(None)
    }
}
