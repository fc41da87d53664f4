//! Configuration errors: what, where, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use schemas::registry::RegistryError;
use toml::Spanned;
use toml::de::DeTable;

/// Unlike names further apart than this are no typing error.
const NEAR_MIN: f64 = 0.6;

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("{path}: {error}{hint}", path = path.display(), hint = if *is_default {
        "; name a configuration with --config or PEERSCOPE_CONFIG"
    } else {
        ""
    })]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
        /// Whether nobody named it.
        is_default: bool,
    },
    /// Something in it is wrong.
    #[error("{place}: {problem}")]
    Wrong {
        /// File, line and column.
        place: String,
        /// What is wrong and what to do.
        problem: String,
    },
}

impl ConfigError {
    /// An error of the TOML or of a value in it.
    pub(super) fn syntax(text: &str, path: &Path, error: &toml::de::Error) -> Self {
        let at = error.span().map_or(0, |span| span.start);
        let problem = unknown_key(error.message()).unwrap_or_else(|| error.message().to_owned());
        Self::Wrong { place: place(text, path, at), problem }
    }

    /// An error of the TOML of a `[source.*]`, which has the key `kind` too.
    pub(super) fn source(text: &str, path: &Path, error: &toml::de::Error) -> Self {
        let at = error.span().map_or(0, |span| span.start);
        let message = error.message();
        // Every source has a collector; the tables in it have neither that nor a kind.
        let keys = if message.contains("`collector`") {
            format!("{message}, `kind`")
        } else {
            message.to_owned()
        };
        let problem = unknown_key(&keys).unwrap_or_else(|| message.to_owned());
        Self::wrong(text, path, at, problem)
    }

    /// A problem at a place of the text.
    pub(super) fn wrong(text: &str, path: &Path, at: usize, problem: String) -> Self {
        Self::Wrong { place: place(text, path, at), problem }
    }

    /// A word that is not known, with the nearest one that is.
    pub(super) fn unknown(what: &str, unknown: &str, known: &[&str]) -> String {
        match nearest(unknown, known) {
            Some(nearest) => format!("unknown {what} `{unknown}`, did you mean `{nearest}`?"),
            None => format!("unknown {what} `{unknown}`, known here: {}", known.join(", ")),
        }
    }

    /// Registrations that contradict each other: both places are named.
    pub(super) fn registry(text: &str, path: &Path, error: &RegistryError) -> Self {
        let places = Places::of(text);
        let at = |find: &dyn Fn(&Places<'_>) -> Option<usize>| {
            place(text, path, places.as_ref().and_then(find).unwrap_or(0))
        };
        let (first, second) = match error {
            RegistryError::NameTwice { first, second, .. } => (
                Some(at(&|p| p.key("connection", *first, "name"))),
                at(&|p| p.key("connection", *second, "name")),
            ),
            RegistryError::OwnedTwice { first, second, .. } => {
                (Some(at(&|p| p.prefix(*first))), at(&|p| p.prefix(*second)))
            }
            RegistryError::WatchedTwice { first, second, .. } => (
                Some(at(&|p| p.key("asn", *first, "number"))),
                at(&|p| p.key("asn", *second, "number")),
            ),
            RegistryError::MaxLength { at: place, .. } => (None, at(&|p| p.prefix(*place))),
        };
        let problem = match first {
            Some(first) => format!("{error} (first at {first})"),
            None => error.to_string(),
        };
        Self::Wrong { place: second, problem }
    }
}

/// Where the values of a document stand.
struct Places<'t> {
    root: Spanned<DeTable<'t>>,
}

impl<'t> Places<'t> {
    fn of(text: &'t str) -> Option<Self> {
        DeTable::parse(text).ok().map(|root| Self { root })
    }

    fn entry(&self, list: &str, index: usize) -> Option<&DeTable<'t>> {
        self.root.get_ref().get(list)?.get_ref().as_array()?.get(index)?.get_ref().as_table()
    }

    fn key(&self, list: &str, index: usize, key: &str) -> Option<usize> {
        self.entry(list, index)?.get(key).map(|value| value.span().start)
    }

    fn prefix(&self, (connection, prefix): (usize, usize)) -> Option<usize> {
        let prefixes = self.entry("connection", connection)?.get("prefixes")?;
        Some(prefixes.get_ref().as_array()?.get(prefix)?.span().start)
    }
}

/// `FILE:LINE:COLUMN`, both counted from 1, columns in characters.
fn place(text: &str, path: &Path, at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("{}:{line}:{column}", path.display())
}

/// Turns serde's word on an unknown field into one with the nearest known key.
fn unknown_key(message: &str) -> Option<String> {
    let quoted: Vec<&str> =
        message.strip_prefix("unknown field ")?.split('`').skip(1).step_by(2).collect();
    let (unknown, known) = quoted.split_first()?;
    Some(ConfigError::unknown("key", unknown, known))
}

fn nearest<'k>(unknown: &str, known: &[&'k str]) -> Option<&'k str> {
    known
        .iter()
        .map(|key| (strsim::jaro_winkler(unknown, key), *key))
        .filter(|(likeness, _)| *likeness >= NEAR_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, key)| key)
}
